//! The facts of a target that policies may ask for by name, and how each is read. `docs/signals.md` is the catalogue for
//! readers; a new fact is one variant here and a row there.

use super::Options;
use super::target::Target;
use super::words::Words;

/// A number about a target, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    ReadyReplicas,
    StartingReplicas,
    DrainingReplicas,
    FailedReplicas,
    MinReplicas,
    MaxReplicas,
    InitialReplicas,
    IsInitialised,
    Reachable,
    GatewayAnswers,
    GatewayInPathSinceMs,
    InFlight,
    Waiting,
    OldestWaitS,
    TickMs,
    GpusPerReplica,
    Role,
    Pool,
}

impl Fact {
    pub(super) const ALL: [Fact; 18] = [
        Fact::ReadyReplicas,
        Fact::StartingReplicas,
        Fact::DrainingReplicas,
        Fact::FailedReplicas,
        Fact::MinReplicas,
        Fact::MaxReplicas,
        Fact::InitialReplicas,
        Fact::IsInitialised,
        Fact::Reachable,
        Fact::GatewayAnswers,
        Fact::GatewayInPathSinceMs,
        Fact::InFlight,
        Fact::Waiting,
        Fact::OldestWaitS,
        Fact::TickMs,
        Fact::GpusPerReplica,
        Fact::Role,
        Fact::Pool,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Fact::ReadyReplicas => "ready-replicas",
            Fact::StartingReplicas => "starting-replicas",
            Fact::DrainingReplicas => "draining-replicas",
            Fact::FailedReplicas => "failed-replicas",
            Fact::MinReplicas => "min-replicas",
            Fact::MaxReplicas => "max-replicas",
            Fact::InitialReplicas => "initial-replicas",
            Fact::IsInitialised => "is-initialised",
            Fact::Reachable => "reachable",
            Fact::GatewayAnswers => "gateway-answers",
            Fact::GatewayInPathSinceMs => "gateway-in-path-since-ms",
            Fact::InFlight => "in-flight",
            Fact::Waiting => "waiting",
            Fact::OldestWaitS => "oldest-wait-s",
            Fact::TickMs => "tick-ms",
            Fact::GpusPerReplica => "gpus-per-replica",
            Fact::Role => "role",
            Fact::Pool => "pool",
        }
    }

    pub(super) fn named(name: &str) -> Option<Fact> {
        Fact::ALL.into_iter().find(|fact| fact.name() == name)
    }

    /// Whether a stage with cause `change` is asked again when it reads differently. What moves with every request does not.
    pub(super) fn wakes(self) -> bool {
        !matches!(self, Fact::InFlight | Fact::Waiting | Fact::OldestWaitS)
    }

    /// Whether it reads the position of a text.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Fact::Role | Fact::Pool)
    }

    /// What it reads now; NaN is "not known".
    pub(super) fn read(self, target: &Target, options: &Options, words: &Words) -> f64 {
        let truth = |known: Option<bool>| known.map_or(f64::NAN, |is| f64::from(u8::from(is)));
        let bounds = target.bounds_now();
        match self {
            Fact::ReadyReplicas => target.ready().map_or(f64::NAN, f64::from),
            Fact::StartingReplicas => f64::from(target.starting()),
            Fact::DrainingReplicas => f64::from(target.replicas.draining()),
            Fact::FailedReplicas => f64::from(target.replicas.failures_in_a_row()),
            Fact::MinReplicas => f64::from(bounds.min),
            Fact::MaxReplicas => f64::from(bounds.max),
            Fact::InitialReplicas => f64::from(target.spec.bounds.initial),
            Fact::IsInitialised => truth(Some(target.is_initialised)),
            Fact::Reachable => truth(target.spec.is_reachable),
            Fact::GatewayAnswers => truth(Some(target.gateway_answers)),
            Fact::GatewayInPathSinceMs => {
                target.gateway_since.map_or(f64::NAN, |since| since.0 as f64)
            }
            Fact::InFlight => f64::from(target.levels.in_flight),
            Fact::Waiting => f64::from(target.levels.waiting),
            Fact::OldestWaitS => target.levels.oldest_wait_ms as f64 / 1e3,
            Fact::TickMs => options.tick_ms as f64,
            Fact::GpusPerReplica => f64::from(target.spec.needs.gpus),
            Fact::Role => words.position(&target.spec.name.role),
            Fact::Pool => words.position(&target.spec.name.pool),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Signal;

    /// The names in the first column of the catalogue's tables below `heading`, and whether the row says `yes` under *Wakes*.
    fn catalogue(heading: &str) -> Vec<(String, bool)> {
        let page = include_str!("../../../docs/signals.md");
        let section = page.split("\n## ").find(|section| section.starts_with(heading));
        let rows =
            section.expect("the section is there").lines().filter(|row| row.starts_with("| `"));
        let mut names = Vec::new();
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let wakes = cells.get(4) == Some(&"yes");
            names.extend(
                cells[1].split(", ").map(|name| (name.trim_matches('`').to_owned(), wakes)),
            );
        }
        names.sort();
        names
    }

    #[test]
    fn the_catalogue_lists_every_fact_and_says_which_wake() {
        let mut facts: Vec<_> =
            Fact::ALL.iter().map(|fact| (fact.name().to_owned(), fact.wakes())).collect();
        facts.sort();
        assert_eq!(catalogue("Facts of a target"), facts);
    }

    #[test]
    fn the_catalogue_lists_every_signal_and_averaging() {
        let named = |name: &str| {
            Signal::named(name).is_some()
                || crate::engine::windows::Averaging::named(name).is_some()
        };
        let listed = catalogue("Signals, for windows");
        assert!(listed.iter().all(|(name, _)| named(name)), "{listed:?}");
        assert_eq!(listed.len(), Signal::ALL.len() + 2, "{listed:?}");
    }
}
