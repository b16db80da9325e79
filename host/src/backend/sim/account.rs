//! What a service's requests and replicas came to, and what they cost, at any moment of a simulation.

use std::cell::Cell;

use hdrhistogram::Histogram;

use crate::definitions::node::Machine;
use crate::engine::Resources;
use crate::ledger::{Requests, Summary, Waits};

const MINUTE_US: u64 = 60_000_000;
const MINUTES_AN_HOUR: f64 = 60.0;
const BYTES_A_GB: f64 = 1e9;

/// The account of one service.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) requests: Requests,
    /// Waits of served requests. Milliseconds, three significant digits.
    waits: Histogram<u64>,
    pub(super) cold_starts: u64,
    /// Of the replicas that are no more.
    replica_minutes: u64,
    gpu_minutes: u64,
    cost: f64,
    alive: u32,
    max_alive: u32,
    longest_wait_us: Cell<u64>,
}

/// A replica as the bill sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// When its container started.
    pub(super) started_us: u64,
    pub(super) gpus: u32,
    pub(super) usd_per_hour: f64,
}

impl Life {
    /// Every minute that was started.
    fn minutes(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.started_us).div_ceil(MINUTE_US).max(1)
    }

    fn cost(&self, now_us: u64) -> f64 {
        self.minutes(now_us) as f64 / MINUTES_AN_HOUR * self.usd_per_hour
    }
}

/// What a replica costs on a machine: its GPUs, vCPUs and memory. US dollars an hour. A GPU without a price costs nothing.
pub(super) fn usd_per_hour(needs: &Resources, machine: &Machine) -> f64 {
    let gpu = machine.gpu.as_ref().and_then(|gpu| gpu.usd_per_gpu_hour).unwrap_or(0.0);
    f64::from(needs.gpus) * gpu
        + needs.cpu_milli as f64 / 1e3 * machine.usd_per_vcpu_hour
        + needs.memory_bytes as f64 / BYTES_A_GB * machine.usd_per_memory_gb_hour
}

impl Account {
    pub(super) fn new() -> Account {
        Account {
            requests: Requests::default(),
            waits: Histogram::new(3).expect("three digits are allowed"),
            cold_starts: 0,
            replica_minutes: 0,
            gpu_minutes: 0,
            cost: 0.0,
            alive: 0,
            max_alive: 0,
            longest_wait_us: Cell::new(0),
        }
    }

    pub(super) fn dispatched(&mut self, waited_us: u64) {
        if waited_us > 0 {
            self.requests.waited += 1;
            self.longest_wait_us.set(self.longest_wait_us.get().max(waited_us));
        }
    }

    pub(super) fn served(&mut self, waited_us: u64) {
        self.requests.served += 1;
        self.waits.record((waited_us + 500) / 1_000).expect("the histogram grows");
    }

    /// A replica is wanted.
    pub(super) fn starts(&mut self) {
        self.alive += 1;
        self.max_alive = self.max_alive.max(self.alive);
    }

    /// A replica is wanted no more, or is no more.
    pub(super) fn leaves(&mut self) {
        self.alive -= 1;
    }

    pub(super) fn alive(&self) -> u32 {
        self.alive
    }

    pub(super) fn ended(&mut self, now_us: u64, life: &Life) {
        let minutes = life.minutes(now_us);
        self.replica_minutes += minutes;
        self.gpu_minutes += minutes * u64::from(life.gpus);
        self.cost += life.cost(now_us);
    }

    /// The longest wait of a request that was dispatched since this was last asked. Microseconds.
    pub(super) fn take_longest_wait_us(&self) -> u64 {
        self.longest_wait_us.take()
    }

    /// What it cost until now, with the replicas that there are.
    pub(super) fn cost(&self, now_us: u64, lives: impl Iterator<Item = Life>) -> f64 {
        lives.fold(self.cost, |sum, life| sum + life.cost(now_us))
    }

    /// The sums until now, with the requests and replicas that there are.
    pub(super) fn summary(
        &self,
        now_us: u64,
        unfinished: u64,
        lives: impl Iterator<Item = Life>,
    ) -> Summary {
        let mut whole = self.clone();
        for life in lives {
            whole.ended(now_us, &life);
        }
        Summary {
            requests: Requests { unfinished, ..self.requests.clone() },
            wait_s: waits(&self.waits),
            cold_starts: self.cold_starts,
            replica_minutes: whole.replica_minutes,
            gpu_minutes: whole.gpu_minutes,
            cost: whole.cost,
            max_replicas: self.max_alive,
            panics: 0,
        }
    }

    pub(super) fn add_waits_to(&self, all: &mut Histogram<u64>) {
        all.add(&self.waits).expect("the histogram grows");
    }
}

/// Quantiles in seconds.
pub(super) fn waits(waits: &Histogram<u64>) -> Waits {
    let seconds = |ms: u64| ms as f64 / 1e3;
    Waits {
        p50: seconds(waits.value_at_quantile(0.5)),
        p95: seconds(waits.value_at_quantile(0.95)),
        p99: seconds(waits.value_at_quantile(0.99)),
        max: seconds(waits.max()),
    }
}
