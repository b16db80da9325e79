//! The sums as rows of named cells, one definition of the columns for terminal and page.

use super::numbers::{dollars, grouped, measure};
use super::style::Ink;
use crate::ledger::{Outcome, Requests, Summary, Sums, Waits};

/// A column of the sums.
pub(super) struct Column {
    /// What stands over it.
    pub(super) name: &'static str,
    /// What it means, for a tooltip.
    pub(super) meaning: &'static str,
    /// Its cell in the row of a sum; `None`: it cannot be summed up over several services.
    pub(super) cell: fn(&Summary) -> String,
    /// Whether several services have a value of their own.
    pub(super) adds_up: bool,
    /// How a value other than zero is to be seen.
    pub(super) ink: Ink,
}

const fn column(name: &'static str, meaning: &'static str, cell: fn(&Summary) -> String) -> Column {
    Column { name, meaning, cell, adds_up: true, ink: Ink::Usual }
}

/// What became of the requests.
pub(super) const REQUESTS: &[Column] = &[
    column("arrived", "requests in all", |s| grouped(s.requests.arrived)),
    column("served", "answered in full", |s| grouped(s.requests.served)),
    column("waited", "held longer than 0 s before they went to a replica", |s| {
        grouped(s.requests.waited)
    }),
    Column {
        ink: Ink::Alarm,
        ..column("expired", "given up at their deadline", |s| grouped(s.requests.expired))
    },
    Column {
        ink: Ink::Alarm,
        ..column("failed", "refused because the queue was full, or lost with their replica", |s| {
            grouped(s.requests.failed)
        })
    },
    Column {
        ink: Ink::Notice,
        ..column("unfinished", "still waiting or running at the end", |s| {
            grouped(s.requests.unfinished)
        })
    },
];

/// How long the served ones waited.
pub(super) const WAITS: &[Column] = &[
    Column {
        adds_up: false,
        ..column("p50", "half of the served requests waited no longer", |s| measure(s.wait_s.p50))
    },
    Column {
        adds_up: false,
        ..column("p95", "95 in a hundred waited no longer", |s| measure(s.wait_s.p95))
    },
    Column {
        adds_up: false,
        ..column("p99", "99 in a hundred waited no longer", |s| measure(s.wait_s.p99))
    },
    column("max", "the longest wait", |s| measure(s.wait_s.max)),
];

/// What it took.
pub(super) const CAPACITY: &[Column] = &[
    column("cold starts", "replicas that went from wanted to ready", |s| grouped(s.cold_starts)),
    column(
        "replica-minutes",
        "every started minute from a replica's container start to its end",
        |s| grouped(s.replica_minutes),
    ),
    column("GPU-minutes", "the same times its GPUs", |s| grouped(s.gpu_minutes)),
    column(
        "cost",
        "the same minutes at the prices of their node classes: GPUs, vCPUs and memory",
        |s| dollars(s.cost),
    ),
    Column {
        adds_up: false,
        ..column(
            "most replicas",
            "that existed at once, starting ones included, draining ones not",
            |s| grouped(u64::from(s.max_replicas)),
        )
    },
    column("panics", "entries into panic mode", |s| grouped(s.panics)),
];

/// Names of the services, those with most arrivals first; equal ones by name.
pub(super) fn by_arrivals(sums: &Sums) -> Vec<(&str, &Summary)> {
    let mut services: Vec<_> =
        sums.services.iter().map(|(name, sum)| (name.as_str(), sum)).collect();
    services.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.requests.arrived)); // stable: names are in order
    services
}

/// Positions in `outcome.services`, those with most arrivals first.
pub(super) fn services_by_arrivals(outcome: &Outcome) -> Vec<usize> {
    let arrived = |i: usize| {
        let sum = outcome.summary.services.get(&outcome.services[i].name);
        std::cmp::Reverse(sum.map_or(0, |sum| sum.requests.arrived))
    };
    let mut order: Vec<usize> = (0..outcome.services.len()).collect();
    order.sort_by_key(|&i| arrived(i));
    order
}

/// Several services as one, for the columns that add up. The longest wait is the longest of theirs; the other quantiles stay 0.
pub(super) fn together(services: &[(&str, &Summary)]) -> Summary {
    let mut all = Summary::default();
    for (_, one) in services {
        let Requests { arrived, served, waited, expired, failed, unfinished } = &mut all.requests;
        *arrived += one.requests.arrived;
        *served += one.requests.served;
        *waited += one.requests.waited;
        *expired += one.requests.expired;
        *failed += one.requests.failed;
        *unfinished += one.requests.unfinished;
        all.wait_s = Waits { max: all.wait_s.max.max(one.wait_s.max), ..all.wait_s };
        all.cold_starts += one.cold_starts;
        all.replica_minutes += one.replica_minutes;
        all.gpu_minutes += one.gpu_minutes;
        all.cost += one.cost;
        all.panics += one.panics;
    }
    all
}
