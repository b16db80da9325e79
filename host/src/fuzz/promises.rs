//! What every policy promises, whatever its author expects beside that.

use super::Breach;
use crate::ledger::{Outcome, ServiceOutcome, UNPLACED};

/// A request may wait at zero for so long before somebody must want a replica. Seconds; a tick or a little more.
const ASLEEP_S: f64 = 10.0;
/// How long a run of changes may be without a request. Anything that still moves after so many will not settle.
const RESTLESS_CHANGES: usize = 50;
/// How long the longest of the usual windows and delays is, after which nothing of the load is seen any more. Seconds.
const FORGOTTEN_S: f64 = 7_200.0;

/// The promise that a run broke, if it broke one: no policy fails, whoever waits at zero is seen to, and without load a service comes to
/// rest. `load_s`: how long the load was, in seconds.
pub fn broken(outcome: &Outcome, load_s: f64) -> Option<Breach> {
    failed(outcome)
        .or_else(|| outcome.services.iter().find_map(asleep))
        .or_else(|| outcome.services.iter().find_map(|service| restless(service, load_s)))
}

fn failed(outcome: &Outcome) -> Option<Breach> {
    let failure = outcome.failures.iter().find(|failure| failure.instead != UNPLACED)?;
    Some(Breach {
        promise: format!("policy {} never fails", failure.stage),
        seen: format!("at {} s, {} times: {}", failure.at_s, failure.times, failure.message),
    })
}

fn asleep(service: &ServiceOutcome) -> Option<Breach> {
    let series = &service.series;
    let steps = (ASLEEP_S / series.step_s).ceil().max(2.0) as usize;
    let waits = |at: &usize| series.waiting[*at] > 0 && series.desired[*at] == 0;
    let mut run = 0;
    for at in 0..series.waiting.len() {
        run = if waits(&at) { run + 1 } else { 0 };
        if run > steps {
            let since_s = (at + 1 - run) as f64 * series.step_s;
            return Some(Breach {
                promise: format!("who waits for {} at zero is seen to", service.name),
                seen: format!("requests wait from {since_s} s on, and no replica is wanted"),
            });
        }
    }
    None
}

fn restless(service: &ServiceOutcome, load_s: f64) -> Option<Breach> {
    let late = service.changes.iter().filter(|change| change.at_s > load_s + FORGOTTEN_S).count();
    (late > RESTLESS_CHANGES).then(|| Breach {
        promise: format!("{} comes to rest without load", service.name),
        seen: format!("{late} changes more than {FORGOTTEN_S} s after the load"),
    })
}
