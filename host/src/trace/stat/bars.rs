//! How often values of each size are: counts in bins that grow by a constant ratio, so that a microsecond and a day fit one picture.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bins in a decade.
const PER_DECADE: f64 = 6.0;

/// Counts of values by size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bars {
    /// Values that are 0.
    pub zeros: u64,
    /// Where the first bin begins.
    pub from: f64,
    /// A bin ends at this times its begin: the sixth root of 10.
    pub ratio: f64,
    /// Entry `i` is the count of values from `from·ratioⁱ` to `from·ratioⁱ⁺¹`.
    pub counts: Vec<u64>,
}

/// Bars that are being counted. Values are whole numbers of the smallest unit.
#[derive(Default)]
pub(super) struct Counting {
    zeros: u64,
    counts: Vec<u64>,
    /// The bin of the value that came last, since many are alike: from, to, which.
    last: (u64, u64, usize),
}

impl Counting {
    pub(super) fn add(&mut self, value: u64) {
        if value == 0 {
            self.zeros += 1;
            return;
        }
        if value < self.last.0 || value >= self.last.1 {
            let bin = (libm::log10(value as f64) * PER_DECADE + 1e-9).floor();
            let edge = |bin: f64| libm::exp10(bin / PER_DECADE).ceil() as u64;
            self.last = (edge(bin).min(value), edge(bin + 1.0).max(value + 1), bin as usize);
        }
        let bin = self.last.2;
        if self.counts.len() <= bin {
            self.counts.resize(bin + 1, 0);
        }
        self.counts[bin] += 1;
    }

    /// The bars from the first that is not empty on; `unit` is the smallest unit in that of the bars. Nothing if nothing was counted.
    pub(super) fn bars(self, unit: f64) -> Option<Bars> {
        let first = self.counts.iter().position(|count| *count > 0);
        if first.is_none() && self.zeros == 0 {
            return None;
        }
        let first = first.unwrap_or(0);
        Some(Bars {
            zeros: self.zeros,
            from: unit * libm::exp10(first as f64 / PER_DECADE),
            ratio: libm::exp10(1.0 / PER_DECADE),
            counts: self.counts.get(first..).unwrap_or_default().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_is_counted_in_the_bin_that_holds_it(
            values in prop::collection::vec(prop_oneof![0u64..10, 0u64..100_000, any::<u32>().prop_map(u64::from)], 1..50),
        ) {
            let mut counting = Counting::default();
            values.iter().for_each(|value| counting.add(*value));
            let bars = counting.bars(1.0).unwrap();
            prop_assert_eq!(bars.zeros + bars.counts.iter().sum::<u64>(), values.len() as u64);
            for (index, count) in bars.counts.iter().enumerate() {
                let edge = |index: usize| bars.from * libm::pow(bars.ratio, index as f64);
                // Values at an edge may fall to either side, as floats have it.
                let inside = |margin: f64| {
                    let (from, to) = (edge(index) * (1.0 + margin), edge(index + 1) * (1.0 - margin));
                    values.iter().filter(|value| (from..to).contains(&(**value as f64))).count() as u64
                };
                prop_assert!(inside(1e-6) <= *count && *count <= inside(-1e-6), "{}", index);
            }
        }
    }
}
