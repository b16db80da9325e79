//! Signs that a policy does not see to a service, or does not leave it alone: numbers of a replay that its summary does not have.

use crate::ledger::ServiceOutcome;

/// How long after the last request of a service nothing of it is seen any more, by the longest of windows and delays. Seconds.
const FORGOTTEN_S: f64 = 7_200.0;

/// The longest time in which requests waited for `service` and no replica of it was wanted. Seconds, in steps of its series.
pub(super) fn asleep_s(service: &ServiceOutcome) -> f64 {
    let series = &service.series;
    let (mut run, mut longest) = (0u32, 0);
    for (waiting, desired) in series.waiting.iter().zip(&series.desired) {
        run = if *waiting > 0 && *desired == 0 { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    f64::from(longest) * series.step_s
}

/// Decisions about `service` that differ from the one before and came when its last request was long forgotten.
pub(super) fn late_changes(service: &ServiceOutcome) -> f64 {
    let series = &service.series;
    let is_busy = |at: &usize| series.demand[*at] > 0.0 || series.waiting[*at] > 0;
    let steps = (0..series.demand.len()).rev().find(is_busy).map_or(0, |last| last + 1);
    let forgotten_s = steps as f64 * series.step_s + FORGOTTEN_S;
    service.changes.iter().filter(|change| change.at_s > forgotten_s).count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{ChangeNote, Series};

    fn service(waiting: &[u32], desired: &[u32], changes_s: &[f64]) -> ServiceOutcome {
        let change = |at_s: &f64| ChangeNote {
            at_s: *at_s,
            pool: None,
            from: Some(1),
            to: 2,
            ready: 1,
            waiting: 0,
            in_panic: false,
            reason: String::new(),
            clamps: Vec::new(),
        };
        ServiceOutcome {
            name: "chat".into(),
            model: String::new(),
            changes: changes_s.iter().map(change).collect(),
            series: Series {
                step_s: 2.0,
                demand: vec![0.0; waiting.len()],
                waiting: waiting.to_vec(),
                desired: desired.to_vec(),
                ..Series::default()
            },
        }
    }

    #[test]
    fn only_who_waits_while_nothing_is_wanted_waits_asleep() {
        for (waiting, desired, expected) in [
            (vec![0, 0, 0], vec![0, 0, 0], 0.0),
            (vec![1, 1, 1], vec![1, 1, 1], 0.0),
            (vec![1, 1, 0, 1], vec![0, 0, 0, 0], 4.0),
            (vec![1, 1, 1, 1], vec![0, 1, 0, 0], 4.0),
        ] {
            assert_eq!(
                asleep_s(&service(&waiting, &desired, &[])),
                expected,
                "{waiting:?} {desired:?}"
            );
        }
    }

    #[test]
    fn changes_are_late_two_hours_after_the_last_request() {
        let one = service(&[0, 3, 0], &[1, 1, 1], &[3.0, 7_203.0, 7_205.0, 9_000.0]);
        assert_eq!(late_changes(&one), 2.0, "the last one waited until 4 s");
        assert_eq!(late_changes(&service(&[0], &[1], &[7_000.0])), 0.0);
    }
}
