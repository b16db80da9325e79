//! The last seconds of every signal as they were reported, so that a policy which asks for another window after a swap does not
//! start blind. What the windows of today hold is in `windows`.

use std::collections::VecDeque;

use super::Signal;
use super::observation::Report;
use super::windows::Window;

/// The values of one second, in the order of [`Signal::ALL`]; NaN is "none".
pub(super) type Values = [f64; Signal::ALL.len()];

/// The reported seconds of the recent past, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// Invariant: in order of seconds, each once, and none older than is kept.
    seconds: VecDeque<(u64, Values)>,
}

impl Recent {
    /// Those of `seconds` that are within `keeps_s` of the newest; `None` where they are out of order.
    pub(super) fn of(seconds: Vec<(u64, Values)>, keeps_s: u32) -> Option<Recent> {
        let is_sorted = seconds.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let mut recent = Recent { seconds: seconds.into() };
        recent.forget(keeps_s);
        is_sorted.then_some(recent)
    }

    /// Takes in what was reported; several reports of one second add up. A second that is older than is kept is left out.
    pub(super) fn take(&mut self, report: &Report, keeps_s: u32) {
        if keeps_s == 0 || report.values.iter().all(|value| value.is_nan()) {
            return;
        }
        // Nearly always the newest second, so it is looked for from behind.
        let after = self.seconds.iter().rev().take_while(|(second, _)| *second > report.second);
        let at = self.seconds.len() - after.count();
        match at.checked_sub(1).and_then(|at| self.seconds.get_mut(at)) {
            Some((second, values)) if *second == report.second => {
                for (sum, value) in values.iter_mut().zip(report.values) {
                    *sum = if sum.is_nan() {
                        value
                    } else if value.is_nan() {
                        *sum
                    } else {
                        *sum + value
                    };
                }
            }
            Some(_) | None => self.seconds.insert(at, (report.second, report.values)),
        }
        self.forget(keeps_s);
    }

    /// The seconds that are kept, in order.
    pub(super) fn seconds(&self) -> impl Iterator<Item = &(u64, Values)> {
        self.seconds.iter()
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// Records what is kept of a window's signal in it.
    pub(super) fn fill(&self, window: &mut Window) {
        let signal = window.spec().signal as usize;
        for (second, values) in &self.seconds {
            if !values[signal].is_nan() {
                window.record(*second, values[signal]);
            }
        }
    }

    fn forget(&mut self, keeps_s: u32) {
        let Some(&(newest, _)) = self.seconds.back() else { return };
        while self.seconds.front().is_some_and(|(second, _)| second + u64::from(keeps_s) <= newest)
        {
            self.seconds.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::windows::{Averaging, WindowSpec};
    use super::*;
    use proptest::prelude::*;

    fn report(second: u64, concurrency: f64) -> Report {
        let values = [concurrency, f64::NAN, 1.0, f64::NAN];
        Report { second, values, in_flight: 0, waiting: 0, oldest_wait_ms: 0 }
    }

    fn window(span_s: u32) -> Window {
        let spec = WindowSpec {
            signal: Signal::Concurrency,
            span_s,
            averaging: Averaging::WeightedExponential,
        };
        Window::new(spec)
    }

    #[test]
    fn seconds_add_up_late_ones_find_their_place_and_old_ones_go() {
        let mut recent = Recent::default();
        for (second, value) in [(10, 1.0), (12, 2.0), (12, 0.5), (11, 4.0), (2, 9.0), (14, 1.0)] {
            recent.take(&report(second, value), 4);
        }
        let kept: Vec<(u64, f64)> = recent.seconds().map(|(at, values)| (*at, values[0])).collect();
        assert_eq!(kept, [(11, 4.0), (12, 2.5), (14, 1.0)]);
        recent.take(&report(15, 1.0), 0);
        assert_eq!(recent.seconds().count(), 3, "who keeps nothing takes nothing in");
    }

    proptest! {
        #[test]
        fn a_window_that_is_filled_later_reads_as_one_that_was_there(
            span in 1u32..20,
            gaps in prop::collection::vec((0u64..25, 0u8..200), 1..60),
        ) {
            let (mut there, mut recent) = (window(span), Recent::default());
            let mut second = 1_000;
            for (gap, value) in gaps {
                second += gap;
                // Quarters, so that sums are exact whatever their order.
                let report = report(second, f64::from(value) / 4.0);
                there.record(second, report.values[0]);
                recent.take(&report, 100);
            }
            let mut later = window(span);
            recent.fill(&mut later);
            for at in second..second + 30 {
                prop_assert_eq!(there.average(at), later.average(at));
            }
        }
    }
}
