//! Something over time, in a bounded number of steps that become coarser as time goes on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const STEPS: usize = 1024;
/// Enough for a line in a table.
const FEW_STEPS: usize = 128;
const FIRST_STEP_US: u64 = 1_000_000;

/// Something over time, as means over steps of equal length; the window may cut the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Curve {
    /// Length of a step: seconds, doubled until 1,024 steps are enough, or 128 of one service.
    pub step_s: f64,
    /// Entry `i` is the mean from `i·step` to `(i+1)·step`.
    pub means: Vec<f64>,
}

/// A curve that is being drawn.
#[derive(Clone)]
pub(super) struct Drawing {
    most_steps: usize,
    step_us: u64,
    /// What fell into each step: a count, or an amount times microseconds.
    amounts: Vec<f64>,
}

impl Drawing {
    pub(super) fn new() -> Drawing {
        Drawing { most_steps: STEPS, step_us: FIRST_STEP_US, amounts: Vec::new() }
    }

    /// One of few steps, since there may be many of them.
    pub(super) fn small() -> Drawing {
        Drawing { most_steps: FEW_STEPS, ..Drawing::new() }
    }

    pub(super) fn add(&mut self, at_us: u64, amount: f64) {
        *self.step_at(at_us) += amount;
    }

    /// Adds `value` for all the time from one moment to another.
    pub(super) fn add_over(&mut self, from_us: u64, to_us: u64, value: f64) {
        if value == 0.0 || from_us >= to_us {
            return;
        }
        // First makes room, since that may make the steps longer.
        self.step_at(to_us - 1);
        let mut at_us = from_us;
        while at_us < to_us {
            let end_us = to_us.min((at_us / self.step_us + 1) * self.step_us);
            *self.step_at(at_us) += value * (end_us - at_us) as f64;
            at_us = end_us;
        }
    }

    fn step_at(&mut self, at_us: u64) -> &mut f64 {
        while at_us / self.step_us >= self.most_steps as u64 {
            self.amounts = self.amounts.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.step_us *= 2;
        }
        let index = (at_us / self.step_us) as usize;
        if index >= self.amounts.len() {
            self.amounts.resize(index + 1, 0.0);
        }
        &mut self.amounts[index]
    }

    /// What was added, per second.
    pub(super) fn per_second(self, window_us: u64) -> Curve {
        self.curve(window_us, 1e6)
    }

    /// What was added over time, as its mean.
    pub(super) fn over_time(self, window_us: u64) -> Curve {
        self.curve(window_us, 1.0)
    }

    /// The same, the last step taken for a whole one: it may be so short that its mean says nothing.
    pub(super) fn over_steps(mut self, window_us: u64) -> Curve {
        self.step_at(window_us.saturating_sub(1));
        let whole_us = window_us.div_ceil(self.step_us) * self.step_us;
        self.curve(whole_us, 1.0)
    }

    fn curve(mut self, window_us: u64, scale: f64) -> Curve {
        self.step_at(window_us.saturating_sub(1));
        let means = self.amounts.iter().enumerate().map(|(index, amount)| {
            let from_us = index as u64 * self.step_us;
            let length_us = self.step_us.min(window_us - from_us);
            scale * amount / length_us as f64
        });
        Curve { means: means.collect(), step_s: self.step_us as f64 / 1e6 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_step_is_as_long_as_the_window_leaves_it() {
        let mut drawing = Drawing::new();
        drawing.add(0, 3.0);
        drawing.add(2_100_000, 2.0);
        let curve = drawing.per_second(2_500_000);
        assert_eq!(curve, Curve { step_s: 1.0, means: vec![3.0, 0.0, 4.0] });
    }

    proptest! {
        #[test]
        fn nothing_is_lost_when_steps_become_longer(
            spans in prop::collection::vec((0u64..5_000_000_000, 1u64..3_000_000_000, 1u8..9), 1..50),
        ) {
            let mut drawing = Drawing::new();
            let (mut end_us, mut expected) = (0, 0.0);
            for (gap_us, length_us, value) in spans {
                let from_us = end_us + gap_us;
                end_us = from_us + length_us;
                drawing.add_over(from_us, end_us, f64::from(value));
                expected += f64::from(value) * length_us as f64;
            }
            prop_assert!(drawing.amounts.len() <= STEPS);
            // Whole numbers below 2⁵³ are summed without rounding.
            prop_assert_eq!(drawing.amounts.iter().sum::<f64>(), expected);
        }
    }
}
