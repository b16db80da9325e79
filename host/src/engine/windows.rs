//! Averages of a signal over the recent past, exactly as Knative keeps them: one-second buckets that hold sums, a running total,
//! and two ways to average. It has never heard of policies.
//!
//! The rules are `pkg/autoscaler/aggregation` of Knative Serving 1.23, restated. What surprises: silence at the end of a linear
//! window does not decay, silence between two values counts as zeros, and a window that was silent for as long as it is long
//! starts afresh, so that its first busy second counts in full.

use serde::{Deserialize, Serialize};

use super::Signal;

/// Longest window that a policy may ask for. Seconds.
pub const LONGEST_SPAN_S: u32 = 3_600;

/// How the buckets of a window become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Averaging {
    /// Their mean over the seconds since the first value, at most the span; rounded to six decimals.
    Linear,
    /// Their sum with weights that fall from newest to oldest and do not add up to 1 before the window is full.
    WeightedExponential,
}

impl Averaging {
    /// Its name in the catalogue.
    pub fn name(self) -> &'static str {
        match self {
            Averaging::Linear => "linear",
            Averaging::WeightedExponential => "weighted-exponential",
        }
    }

    /// The averaging of that name in the catalogue.
    pub fn named(name: &str) -> Option<Averaging> {
        match name {
            "linear" => Some(Averaging::Linear),
            "weighted-exponential" => Some(Averaging::WeightedExponential),
            _ => None,
        }
    }
}

/// Which average of which signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowSpec {
    /// The signal.
    pub signal: Signal,
    /// Length, 1 to [`LONGEST_SPAN_S`]. Seconds.
    pub span_s: u32,
    /// How to average.
    pub averaging: Averaging,
}

/// A window over one signal of one target.
#[derive(Clone, Debug)]
pub struct Window {
    spec: WindowSpec,
    /// The bucket of second `s` is `buckets[s % buckets.len()]`; as many as the span has seconds.
    buckets: Vec<f64>,
    /// Sum of the buckets, kept by adding and subtracting: recomputing it may differ in the last digit.
    total: f64,
    /// First and last second with a value, since the window last started afresh.
    written: Option<(u64, u64)>,
    /// Weight of the newest bucket; weighted windows only.
    smoothing: f64,
}

impl Window {
    /// An empty window.
    ///
    /// ```
    /// # use tidegate::engine::{Signal, windows::{Averaging, Window, WindowSpec}};
    /// let mut window = Window::new(WindowSpec { signal: Signal::Concurrency, span_s: 60, averaging: Averaging::Linear });
    /// assert_eq!(window.average(100), None);
    /// window.record(100, 6.0);
    /// window.record(102, 3.0); // second 101 counts as zero
    /// assert_eq!(window.average(102), Some(3.0));
    /// ```
    pub fn new(spec: WindowSpec) -> Window {
        let span = spec.span_s.clamp(1, LONGEST_SPAN_S);
        Window {
            spec,
            buckets: vec![0.0; span as usize],
            total: 0.0,
            written: None,
            smoothing: smoothing(span),
        }
    }

    /// What it averages.
    pub fn spec(&self) -> WindowSpec {
        self.spec
    }

    /// Adds `value` to the bucket of `second`. A second that has left the window is ignored.
    pub fn record(&mut self, second: u64, value: f64) {
        let span = self.span();
        let (first, last) = match self.written {
            Some((_, last)) if last >= second + span => return,
            Some((first, last)) => (first.min(second), last),
            None => (second, second),
        };
        if self.written.is_none() || second >= last + span {
            self.buckets.fill(0.0);
            self.total = 0.0;
            self.written = Some((second, second));
        } else {
            for between in last + 1..=second {
                let bucket = self.bucket(between);
                self.total -= self.buckets[bucket];
                self.buckets[bucket] = 0.0;
            }
            self.written = Some((first, last.max(second)));
        }
        let bucket = self.bucket(second);
        self.buckets[bucket] += value;
        self.total += value;
    }

    /// The average as of `second`, or `None` where nothing was recorded for longer than the span.
    pub fn average(&self, second: u64) -> Option<f64> {
        let (first, last) = self.written?;
        let silent = second.saturating_sub(last);
        if silent > self.span() {
            return None;
        }
        Some(match self.spec.averaging {
            Averaging::Linear => self.linear(first, last, silent),
            Averaging::WeightedExponential => self.weighted(last, silent),
        })
    }

    /// Whether `average` will be `None` from `second` on unless something is recorded.
    pub fn is_empty(&self, second: u64) -> bool {
        self.written.is_none_or(|(_, last)| second.saturating_sub(last) > self.span())
    }

    /// Changes the span while values are in it; `now` is the clock's second. The most recent seconds are kept, and the window
    /// then claims a full old span even if it had less (Knative's rule).
    pub fn resize(&mut self, now: u64, span_s: u32) {
        let old_span = self.span();
        let new_span = u64::from(span_s.clamp(1, LONGEST_SPAN_S));
        self.spec.span_s = new_span as u32;
        if new_span == old_span {
            return;
        }
        let old = std::mem::replace(&mut self.buckets, vec![0.0; new_span as usize]);
        self.smoothing = smoothing(new_span as u32);
        self.total = 0.0;
        let Some((_, last)) = self.written else { return };
        if now.saturating_sub(last) > old_span {
            self.written = None;
            return;
        }
        for back in 0..old_span.min(new_span).min(last + 1) {
            let value = old[((last - back) % old_span) as usize];
            let bucket = self.bucket(last - back);
            self.buckets[bucket] = value;
            self.total += value;
        }
        self.written = Some(((last + 1).saturating_sub(old_span), last));
    }

    /// All that it holds beside its spec: the total, and the first and last second with a value and what there is from
    /// [`Window::since`] the one to the other.
    pub(super) fn contents(&self) -> (f64, Option<(u64, u64, Vec<f64>)>) {
        let values = |(first, last)| {
            let from = self.since(first, last);
            (first, last, (from..=last).map(|second| self.buckets[self.bucket(second)]).collect())
        };
        (self.total, self.written.map(values))
    }

    /// A window that holds what [`Window::contents`] gave; `None` where that cannot be.
    pub(super) fn holding(
        spec: WindowSpec,
        total: f64,
        contents: Option<(u64, u64, &[f64])>,
    ) -> Option<Window> {
        if spec.span_s == 0 || spec.span_s > LONGEST_SPAN_S {
            return None;
        }
        let mut window = Window::new(spec);
        window.total = total;
        if let Some((first, last, values)) = contents {
            if last < first || values.len() as u64 != last - window.since(first, last) + 1 {
                return None;
            }
            for (second, value) in (window.since(first, last)..).zip(values) {
                let bucket = window.bucket(second);
                window.buckets[bucket] = *value;
            }
            window.written = Some((first, last));
        }
        Some(window)
    }

    /// Records its seconds, as far as they have a value, in one of another length.
    pub(super) fn refill(&self, other: &mut Window) {
        let Some((first, last)) = self.written else { return };
        for second in self.since(first, last)..=last {
            other.record(second, self.buckets[self.bucket(second)]);
        }
    }

    /// The earliest second that still has a bucket.
    fn since(&self, first: u64, last: u64) -> u64 {
        first.max((last + 1).saturating_sub(self.span()))
    }

    fn linear(&self, first: u64, last: u64, silent: u64) -> f64 {
        let span = self.span();
        if silent >= span {
            return 0.0;
        }
        let mut total = self.total;
        for gone in last + 1..=last + silent {
            total -= self.buckets[self.bucket(gone)];
        }
        let seconds = (last - first + 1).min(span - silent);
        (total / seconds as f64 * 1e6).round() / 1e6
    }

    fn weighted(&self, last: u64, silent: u64) -> f64 {
        let keep = 1.0 - self.smoothing;
        let mut weight = self.smoothing * libm::pow(keep, silent as f64);
        let mut sum = 0.0;
        for back in 0..(self.span() - silent).min(last + 1) {
            sum += self.buckets[self.bucket(last - back)] * weight;
            weight *= keep;
        }
        sum
    }

    fn span(&self) -> u64 {
        self.buckets.len() as u64
    }

    fn bucket(&self, second: u64) -> usize {
        (second % self.span()) as usize
    }
}

/// Weight of the newest bucket of a weighted window: so that the weights of the whole span leave out a ten-thousandth, at
/// least 0.2. The ten-thousandth is the double nearest 0.0001; `1.0 - 0.9999` is another number.
fn smoothing(span_s: u32) -> f64 {
    (1.0 - libm::pow(0.0001, 1.0 / f64::from(span_s))).max(0.2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(span_s: u32, averaging: Averaging) -> Window {
        Window::new(WindowSpec { signal: Signal::Concurrency, span_s, averaging })
    }

    /// Records `values` at the seconds from 1,000 on (`None`: no value) and gives the average at each of them and for `after`
    /// seconds more.
    fn averages(mut window: Window, values: &[Option<f64>], after: u64) -> Vec<Option<f64>> {
        let mut seen = Vec::new();
        for (second, value) in (1_000..).zip(values.iter().copied().chain((0..after).map(|_| None)))
        {
            if let Some(value) = value {
                window.record(second, value);
            }
            seen.push(window.average(second));
        }
        seen
    }

    #[test]
    fn a_new_window_averages_only_the_seconds_since_its_first_value() {
        let seen = averages(window(6, Averaging::Linear), &[Some(6.0), Some(3.0), Some(0.0)], 0);
        assert_eq!(seen, [Some(6.0), Some(4.5), Some(3.0)]);
    }

    #[test]
    fn silence_at_the_end_does_not_decay_then_reads_zero_once_then_nothing() {
        let seen = averages(window(3, Averaging::Linear), &[Some(4.0), Some(4.0), Some(4.0)], 4);
        assert_eq!(seen[2..], [Some(4.0), Some(4.0), Some(4.0), Some(0.0), None]);
    }

    #[test]
    fn silence_between_values_counts_as_zeros() {
        assert_eq!(
            averages(window(6, Averaging::Linear), &[Some(9.0), None, Some(0.0)], 0)[2],
            Some(3.0)
        );
    }

    #[test]
    fn after_a_silence_of_the_span_one_busy_second_counts_in_full() {
        let mut window = window(6, Averaging::Linear);
        window.record(1_000, 1.0);
        window.record(1_006, 12.0);
        assert_eq!(window.average(1_006), Some(12.0));
    }

    #[test]
    fn values_of_one_second_add_up_and_late_ones_go_to_their_own_second() {
        let mut window = window(6, Averaging::Linear);
        window.record(1_002, 1.0);
        window.record(1_002, 2.0);
        window.record(1_001, 3.0);
        assert_eq!(window.average(1_002), Some(3.0));
        window.record(996, 1e9);
        assert_eq!(
            window.average(1_002),
            Some(3.0),
            "a second that has left the window is ignored"
        );
    }

    #[test]
    fn averages_are_rounded_to_six_decimals() {
        let seen = averages(window(3, Averaging::Linear), &[Some(1.0), Some(0.0), Some(0.0)], 0);
        assert_eq!(seen[2], Some(0.333333));
    }

    #[test]
    fn a_weighted_window_under_reports_until_it_is_full_and_decays_in_silence() {
        let seen = averages(window(6, Averaging::WeightedExponential), &[Some(10.0); 6], 2);
        let seen: Vec<f64> = seen.into_iter().flatten().collect();
        assert!(seen[0] > 7.84 && seen[0] < 7.85, "{seen:?}");
        assert!(seen[5] > 9.998 && seen[5] < 10.0, "{seen:?}");
        assert!(seen[6] < 2.2 && seen[7] < seen[6], "{seen:?}");
    }

    #[test]
    fn a_resized_window_keeps_the_most_recent_seconds_and_claims_a_full_old_span() {
        let mut window = window(4, Averaging::Linear);
        window.record(1_000, 8.0);
        window.resize(1_000, 8);
        assert_eq!(window.average(1_000), Some(2.0));
        window.resize(1_000, 1);
        assert_eq!(window.average(1_000), Some(8.0));
    }

    proptest! {
        #[test]
        fn a_full_linear_window_is_the_mean_of_its_seconds(span in 1u32..40, values in prop::collection::vec(0.0f64..1e3, 40..90)) {
            let seen = averages(window(span, Averaging::Linear), &values.iter().copied().map(Some).collect::<Vec<_>>(), 0);
            let recent = &values[values.len() - span as usize..];
            let mean = recent.iter().sum::<f64>() / f64::from(span);
            prop_assert!((seen.last().unwrap().unwrap() - mean).abs() <= 1e-6);
        }

        #[test]
        fn a_second_outside_every_order_never_panics(span in 1u32..10, seconds in prop::collection::vec(0u64..40, 1..40)) {
            let mut window = window(span, Averaging::Linear);
            for second in seconds {
                window.record(second, 1.0);
                window.average(second);
                window.resize(second, span + (second % 3) as u32);
            }
        }
    }
}
