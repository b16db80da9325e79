//! Tables of rates, summed up from what they say. Their arrivals would take minutes to draw, and say no more than the rates do.

use super::curve::Drawing;
use super::{Quantiles, Requests, SECOND_US, Watched, seconds};
use crate::trace::{Merged, TokenDistribution, TraceError};

/// What is expected in each second or minute.
struct Bins {
    width_us: u64,
    /// The bin that is being filled, and what is expected in it.
    index: u64,
    expected: f64,
    /// Of the bins that are done with.
    sum: f64,
    sum_of_squares: f64,
    peak: f64,
}

impl Bins {
    fn new(width_us: u64) -> Bins {
        Bins { width_us, index: 0, expected: 0.0, sum: 0.0, sum_of_squares: 0.0, peak: 0.0 }
    }

    /// From one moment to another, which come in order, so many are expected in a microsecond.
    fn add(&mut self, mut from_us: u64, to_us: u64, per_us: f64) {
        self.go_to(from_us / self.width_us);
        while from_us < to_us {
            let index = from_us / self.width_us;
            // All bins that this fills are alike, so that a day at one rate is one step.
            let whole = (to_us / self.width_us).saturating_sub(index + 1);
            if from_us.is_multiple_of(self.width_us) && whole > 0 {
                self.go_to(index);
                let expected = per_us * self.width_us as f64;
                self.sum += expected * whole as f64;
                self.sum_of_squares += expected * expected * whole as f64;
                self.peak = self.peak.max(expected);
                self.index = index + whole;
                from_us = self.index * self.width_us;
                continue;
            }
            self.go_to(index);
            let end_us = to_us.min((index + 1) * self.width_us);
            self.expected += per_us * (end_us - from_us) as f64;
            from_us = end_us;
        }
    }

    fn go_to(&mut self, index: u64) {
        if index != self.index {
            self.peak = self.peak.max(self.expected);
            self.sum += self.expected;
            self.sum_of_squares += self.expected * self.expected;
            (self.index, self.expected) = (index, 0.0);
        }
    }

    /// The most that is expected in one, and the dispersion of counts that are Poisson around what is expected: 1 + its variance over
    /// its mean.
    fn finish(mut self, window_us: u64) -> (f64, f64) {
        self.go_to(u64::MAX);
        let bins = window_us.div_ceil(self.width_us) as f64;
        let mean = self.sum / bins;
        let variance = (self.sum_of_squares / bins - mean * mean).max(0.0);
        (self.peak, 1.0 + if mean > 0.0 { variance / mean } else { 0.0 })
    }
}

/// What is expected to arrive, and when; and each service's part of it. Nothing if some trace is no table of rates.
pub(super) fn rated(
    merged: &Merged,
    services: &mut [Watched],
    window_us: u64,
) -> Result<Option<Requests>, TraceError> {
    let Some(tables) = merged.rates() else { return Ok(None) };
    let mut tables: Vec<_> = tables.collect::<Result<_, _>>()?;
    let mut live = Vec::new();
    for (rows, _) in &mut tables {
        live.push(rows.advance()?);
    }
    let (mut in_seconds, mut in_minutes) = (Bins::new(SECOND_US), Bins::new(60 * SECOND_US));
    let mut rate = Drawing::new();
    let (mut at_us, mut count) = (0, 0.0);
    loop {
        // Up to the next moment at which a row of any table begins or ends.
        let mut until_us = u64::MAX;
        for ((rows, _), live) in tables.iter_mut().zip(&mut live) {
            while *live && rows.span_us().1 <= at_us {
                *live = rows.advance()?;
            }
            if *live {
                let (start_us, end_us) = rows.span_us();
                until_us = until_us.min(if at_us < start_us { start_us } else { end_us });
            }
        }
        if until_us == u64::MAX {
            break;
        }
        let mut total = 0.0;
        for ((rows, positions), live) in tables.iter().zip(&live) {
            if !*live || rows.span_us().0 > at_us {
                continue;
            }
            for (rps, position) in rows.rates().iter().zip(positions) {
                let service = &mut services[*position];
                service.expected += rps * seconds(until_us - at_us);
                service.curve.add_over(at_us, until_us, *rps);
                total += rps;
            }
        }
        in_seconds.add(at_us, until_us, total / 1e6);
        in_minutes.add(at_us, until_us, total / 1e6);
        rate.add_over(at_us, until_us, total);
        count += total * seconds(until_us - at_us);
        at_us = until_us;
    }
    for service in services {
        service.requests = service.expected.round() as u64;
    }
    let (peak_1s, dispersion_1s) = in_seconds.finish(window_us);
    let (peak_60s, dispersion_60s) = in_minutes.finish(window_us);
    let TokenDistribution { prompt, output } = TokenDistribution::default();
    let tokens = |p50: f64, p99: f64| Some(Quantiles { p50: p50 as u64, p99: p99 as u64 });
    Ok((count > 0.0).then(|| Requests {
        count: count.round() as u64,
        are_expected: true,
        mean_rps: count / seconds(window_us),
        peak_rps_1s: peak_1s,
        peak_rps_60s: peak_60s / 60.0,
        dispersion_1s,
        dispersion_60s,
        prompt_tokens: tokens(prompt.p50(), prompt.p99()),
        output_tokens: tokens(output.p50(), output.p99()),
        duration_ms: None,
        gaps_s: None,
        prompt_bars: None,
        output_bars: None,
        duration_bars: None,
        rate: rate.over_time(window_us),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_stretches_are_the_sum_of_short_ones() {
        let of = |pieces: &[(u64, u64, f64)]| {
            let mut bins = Bins::new(1_000);
            pieces.iter().for_each(|(from, to, rate)| bins.add(*from, *to, *rate));
            bins.finish(10_000)
        };
        let long = of(&[(0, 4_500, 2.0), (4_500, 9_250, 1.0)]);
        let short: Vec<_> =
            (0..185).map(|n| (n * 50, n * 50 + 50, if n < 90 { 2.0 } else { 1.0 })).collect();
        let short = of(&short);
        assert_eq!(long.0, 2_000.0);
        assert!(
            (long.1 - short.1).abs() < 1e-9 && (long.0 - short.0).abs() < 1e-9,
            "{long:?} {short:?}"
        );
        assert_eq!(of(&[(0, 10_000, 3.0)]), (3_000.0, 1.0));
    }
}
