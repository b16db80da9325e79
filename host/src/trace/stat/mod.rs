//! What a load looks like, in one pass and in memory that does not grow with its length. Definitions are in `docs/traces.md`.

mod bars;
mod bins;
mod curve;
mod panels;
mod rated;
mod render;
#[cfg(test)]
mod tests;

use std::path::Path;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::bars::Bars;
use self::bars::Counting;
use self::bins::Bins;
pub use self::curve::Curve;
use self::curve::Drawing;
use super::{Item, Merged, TraceError, Work};
use crate::seed::Seed;

const SECOND_US: u64 = 1_000_000;
/// Services that are listed; the rest are summed.
const LISTED: usize = 20;

/// What a load looks like: the document that `trace stat -o json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stat {
    /// `tidegate.dev/v1alpha1`.
    pub api_version: String,
    /// `TraceStat`.
    pub kind: String,
    /// The files, as they were named.
    pub traces: Vec<String>,
    /// How long it was watched. All means and dispersions are over this. Seconds.
    pub window_s: f64,
    /// Services, those without a request included.
    pub services: u64,
    /// What arrives; `null` if nothing does.
    pub requests: Option<Requests>,
    /// What concurrency tables offer; `null` if there is none.
    pub offered: Option<Offered>,
    /// The services with the most requests, then the highest concurrency, then by name.
    pub top: Vec<Service>,
    /// The services that are not listed, together.
    pub rest: Rest,
}

/// What arrives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// How many.
    pub count: u64,
    /// Whether all of this is what tables of rates lead to expect, rather than what was counted. Peaks are then those of the rates.
    pub are_expected: bool,
    /// Mean over the window. Requests per second.
    pub mean_rps: f64,
    /// The busiest second, of those that begin at a whole one. Requests per second.
    pub peak_rps_1s: f64,
    /// The busiest minute, of those that begin at a whole one. Requests per second.
    pub peak_rps_60s: f64,
    /// Index of dispersion of the counts in seconds: variance over mean; 1 for Poisson arrivals.
    pub dispersion_1s: f64,
    /// Index of dispersion of the counts in minutes, the last of which may be short.
    pub dispersion_60s: f64,
    /// Tokens of the requests; `null` if none has any.
    pub prompt_tokens: Option<Quantiles>,
    /// Tokens of the answers; `null` if none has any.
    pub output_tokens: Option<Quantiles>,
    /// How long requests with a duration run, in milliseconds; `null` if none has one.
    pub duration_ms: Option<Quantiles>,
    /// Seconds from an arrival of a service to its next; `null` if there are none, or none are counted.
    pub gaps_s: Option<Bars>,
    /// Tokens of the requests; `null` as above.
    pub prompt_bars: Option<Bars>,
    /// Tokens of the answers; `null` as above.
    pub output_bars: Option<Bars>,
    /// Seconds that requests with a duration run; `null` as above.
    pub duration_bars: Option<Bars>,
    /// Requests per second over time.
    pub rate: Curve,
}

/// Quantiles with linear interpolation between neighbours, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quantiles {
    /// The median.
    pub p50: u64,
    /// Exceeded by one in a hundred.
    pub p99: u64,
}

/// What concurrency tables offer, all services together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Offered {
    /// Mean over the window. Requests in flight.
    pub mean: f64,
    /// The most at once. Requests in flight.
    pub peak: f64,
    /// Requests in flight over time.
    pub concurrency: Curve,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its name.
    pub name: String,
    /// How many arrive.
    pub requests: u64,
    /// The longest time between an arrival and the next; `null` if there are fewer than two. Seconds.
    pub longest_gap_s: Option<f64>,
    /// Mean concurrency that a table offers, over the window; 0 without one. Requests in flight.
    pub mean_offered: f64,
    /// Highest concurrency that a table offers. Requests in flight.
    pub peak_offered: f64,
    /// Requests per second over time; requests in flight where only those are known. The last step counts as a whole one.
    pub curve: Curve,
}

/// Services that are not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rest {
    /// How many.
    pub services: u64,
    /// Their requests.
    pub requests: u64,
}

/// Watches files, merged, until the last arrival's second is over or the longest table ends.
///
/// # Errors
/// As [`Merged::open`].
pub fn of<P: AsRef<Path>>(paths: &[P], seed: &Seed) -> Result<Stat, TraceError> {
    over(paths, seed, None)
}

/// Watches files, merged, for a window whose length is known: a trace that was cut at minute 35 says nothing about the quiet
/// seconds between its last arrival and the cut. Microseconds.
///
/// # Errors
/// As [`Merged::open`], and if the window ends before the trace does.
pub fn over<P: AsRef<Path>>(
    paths: &[P],
    seed: &Seed,
    window_us: Option<u64>,
) -> Result<Stat, TraceError> {
    let merged = Merged::open(paths, seed)?;
    let mut watch = Watch::new(merged.services().len());
    let is_rated = merged.rates().is_some();
    if !is_rated {
        for item in merged.items() {
            watch.see(&item?);
        }
    }
    let least_us = watch.least_window_us().max(merged.end_us());
    let window_us = match window_us {
        Some(window_us) if window_us < least_us => {
            let [window_s, end_s] = [window_us, least_us].map(seconds);
            return Err(TraceError::ShortWindow { window_s, end_s });
        }
        Some(window_us) => window_us,
        None => least_us.div_ceil(SECOND_US) * SECOND_US,
    };
    let traces = paths.iter().map(|path| path.as_ref().display().to_string()).collect();
    if is_rated {
        watch.expected = rated::rated(&merged, &mut watch.services, window_us)?;
    }
    Ok(watch.sum(traces, merged.services(), window_us))
}

/// The sums of the pass.
struct Watch {
    count: u64,
    seconds: Bins,
    minutes: Bins,
    prompt: Histogram<u64>,
    output: Histogram<u64>,
    duration_ms: Histogram<u64>,
    gaps: Counting,
    prompts: Counting,
    outputs: Counting,
    durations: Counting,
    rate: Drawing,
    last_us: u64,
    services: Vec<Watched>,
    offered: Option<OfferedSoFar>,
    /// What tables of rates lead to expect, where there is nothing else.
    expected: Option<Requests>,
}

#[derive(Clone)]
struct Watched {
    requests: u64,
    /// The same, of tables of rates.
    expected: f64,
    curve: Drawing,
    last_us: Option<u64>,
    longest_gap_us: Option<u64>,
    /// In flight since `offered_since_us`, and what came before, times how long.
    offered: f64,
    offered_since_us: u64,
    offered_area: f64,
    peak_offered: f64,
}

/// All services' concurrency, until the moment that was seen last.
struct OfferedSoFar {
    at_us: u64,
    area: f64,
    peak: f64,
    curve: Drawing,
}

impl Watched {
    fn new() -> Watched {
        Watched {
            requests: 0,
            expected: 0.0,
            curve: Drawing::small(),
            last_us: None,
            longest_gap_us: None,
            offered: 0.0,
            offered_since_us: 0,
            offered_area: 0.0,
            peak_offered: 0.0,
        }
    }
}

impl Watch {
    fn new(services: usize) -> Watch {
        // Five digits keep every count up to 262,143 exact. The memory grows with the highest value, to 20 MB at most.
        let histogram = || Histogram::new(5).expect("five digits are allowed");
        Watch {
            count: 0,
            seconds: Bins::new(SECOND_US),
            minutes: Bins::new(60 * SECOND_US),
            prompt: histogram(),
            output: histogram(),
            duration_ms: histogram(),
            gaps: Counting::default(),
            prompts: Counting::default(),
            outputs: Counting::default(),
            durations: Counting::default(),
            rate: Drawing::new(),
            last_us: 0,
            services: vec![Watched::new(); services],
            offered: None,
            expected: None,
        }
    }

    fn see(&mut self, item: &Item) {
        match *item {
            Item::Arrival { at_us, service, work } => self.see_arrival(at_us, service, work),
            Item::Offered { at_us, service, concurrency } => {
                self.see_offered(at_us, service, concurrency);
            }
        }
    }

    fn see_arrival(&mut self, at_us: u64, service: u32, work: Work) {
        self.count += 1;
        self.last_us = at_us;
        self.seconds.add(at_us);
        self.minutes.add(at_us);
        self.rate.add(at_us, 1.0);
        match work {
            Work::Tokens { prompt, output } => {
                self.prompt.saturating_record(u64::from(prompt));
                self.output.saturating_record(u64::from(output));
                self.prompts.add(u64::from(prompt));
                self.outputs.add(u64::from(output));
            }
            Work::Duration(us) => {
                self.duration_ms.saturating_record(us / 1_000);
                self.durations.add(us);
            }
        }
        let service = &mut self.services[service as usize];
        service.requests += 1;
        service.curve.add(at_us, 1e6);
        if let Some(last_us) = service.last_us.replace(at_us) {
            let gap_us = at_us - last_us;
            service.longest_gap_us = service.longest_gap_us.max(Some(gap_us));
            self.gaps.add(gap_us);
        }
    }

    fn see_offered(&mut self, at_us: u64, service: u32, concurrency: f64) {
        self.advance_offered(at_us);
        let service = &mut self.services[service as usize];
        service.offered_area += service.offered * (at_us - service.offered_since_us) as f64;
        if service.requests == 0 {
            service.curve.add_over(service.offered_since_us, at_us, service.offered);
        }
        service.offered = concurrency;
        service.offered_since_us = at_us;
        service.peak_offered = service.peak_offered.max(concurrency);
    }

    /// Takes in what was offered until now, once all changes of the last moment are known.
    fn advance_offered(&mut self, at_us: u64) {
        let so_far = self.offered.get_or_insert_with(|| OfferedSoFar {
            at_us: 0,
            area: 0.0,
            peak: 0.0,
            curve: Drawing::new(),
        });
        if at_us > so_far.at_us {
            // Summed anew and in order, so that no error of rounding lives on.
            let total: f64 = self.services.iter().map(|service| service.offered).sum();
            so_far.peak = so_far.peak.max(total);
            so_far.area += total * (at_us - so_far.at_us) as f64;
            so_far.curve.add_over(so_far.at_us, at_us, total);
            so_far.at_us = at_us;
        }
    }

    /// Up to the end of the last arrival's second.
    fn least_window_us(&self) -> u64 {
        (self.last_us / SECOND_US + 1) * SECOND_US
    }

    fn sum(mut self, traces: Vec<String>, names: &[String], window_us: u64) -> Stat {
        if self.offered.is_some() {
            self.advance_offered(window_us);
        }
        let mut top: Vec<Service> = (names.iter().zip(&self.services))
            .map(|(name, watched)| Service {
                name: name.clone(),
                requests: watched.requests,
                longest_gap_s: watched.longest_gap_us.map(seconds),
                mean_offered: watched.offered_area / window_us as f64,
                peak_offered: watched.peak_offered,
                curve: watched.curve.clone().over_steps(window_us),
            })
            .collect();
        top.sort_by(|a, b| {
            (b.requests.cmp(&a.requests))
                .then_with(|| b.mean_offered.total_cmp(&a.mean_offered))
                .then_with(|| a.name.cmp(&b.name))
        });
        let others = top.split_off(top.len().min(LISTED));
        let rest = Rest {
            services: others.len() as u64,
            requests: others.iter().map(|service| service.requests).sum(),
        };
        let offered = self.offered.take().map(|offered| Offered {
            mean: offered.area / window_us as f64,
            peak: offered.peak,
            concurrency: offered.curve.over_time(window_us),
        });
        Stat {
            api_version: "tidegate.dev/v1alpha1".to_owned(),
            kind: "TraceStat".to_owned(),
            traces,
            window_s: seconds(window_us),
            services: names.len() as u64,
            requests: self.requests(window_us),
            offered,
            top,
            rest,
        }
    }

    fn requests(mut self, window_us: u64) -> Option<Requests> {
        if let Some(expected) = self.expected.take() {
            return Some(expected);
        }
        (self.count > 0).then(|| Requests {
            count: self.count,
            are_expected: false,
            mean_rps: self.count as f64 / seconds(window_us),
            peak_rps_1s: self.seconds.peak() as f64,
            peak_rps_60s: self.minutes.peak() as f64 / 60.0,
            dispersion_1s: self.seconds.dispersion(window_us),
            dispersion_60s: self.minutes.dispersion(window_us),
            prompt_tokens: quantiles(&self.prompt),
            output_tokens: quantiles(&self.output),
            duration_ms: quantiles(&self.duration_ms),
            gaps_s: self.gaps.bars(1e-6),
            prompt_bars: self.prompts.bars(1.0),
            output_bars: self.outputs.bars(1.0),
            duration_bars: self.durations.bars(1e-6),
            rate: self.rate.per_second(window_us),
        })
    }
}

fn quantiles(histogram: &Histogram<u64>) -> Option<Quantiles> {
    (!histogram.is_empty())
        .then(|| Quantiles { p50: quantile(histogram, 50), p99: quantile(histogram, 99) })
}

/// The value at rank `percent`·(n - 1)/100, counted from 0; between two ranks the line between their values, rounded down.
/// A histogram's own quantiles take the upper of the two.
fn quantile(histogram: &Histogram<u64>, percent: u64) -> u64 {
    let rank_hundredths = u128::from(percent) * u128::from(histogram.len() - 1);
    let (rank, share) = ((rank_hundredths / 100) as u64, (rank_hundredths % 100) as u64);
    let mut below = 0;
    let mut lower = None;
    for step in histogram.iter_recorded() {
        below += step.count_since_last_iteration();
        let value = histogram.lowest_equivalent(step.value_iterated_to());
        if lower.is_none() && rank < below {
            lower = Some(value);
        }
        if let Some(lower) = lower
            && (share == 0 || rank + 1 < below)
        {
            return lower + (value - lower) * share / 100;
        }
    }
    lower.unwrap_or(0)
}

fn seconds(us: u64) -> f64 {
    us as f64 / SECOND_US as f64
}
