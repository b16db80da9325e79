//! Counts what came back.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

/// A longer time counts as this one. Microseconds.
const LONGEST_US: u64 = 86_400_000_000;

/// What became of one request.
pub(super) struct Answer {
    pub(super) service: u32,
    /// To the first byte of the body; 0 where none came. Microseconds.
    pub(super) first_us: u64,
    /// To the last one.
    pub(super) took_us: u64,
    /// How long the server says that it held the request.
    pub(super) waited_us: u64,
    pub(super) came: Came,
}

/// What came back.
pub(super) enum Came {
    /// An answer, whole.
    Status(u16),
    /// The connection failed.
    Broken(String),
    /// No whole answer in time.
    Nothing,
}

/// What sending a load came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Played {
    /// How long it took, from the first request to the last answer. Seconds.
    pub duration_s: f64,
    /// How late requests were sent, at most: above a few milliseconds the client is what was measured. Milliseconds.
    pub latest_ms: f64,
    /// All services together.
    pub whole: ServicePlayed,
    /// Each by itself, sorted by name.
    pub services: BTreeMap<String, ServicePlayed>,
}

/// What became of the requests of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePlayed {
    /// Requests that were due.
    pub requests: u64,
    /// Answered with a status of 200 to 299.
    pub good: u64,
    /// Answers by any other status.
    pub refused: BTreeMap<u16, u64>,
    /// Connections that failed before the answer was whole, by reason.
    pub broken: BTreeMap<String, u64>,
    /// No whole answer in time.
    pub unanswered: u64,
    /// Not sent, as too many were under way.
    pub left_out: u64,
    /// Good ones that the server held for more than a millisecond, as it says.
    pub held: u64,
    /// How long it held those. Milliseconds.
    pub held_ms: Quantiles,
    /// Good ones, to the first byte. Milliseconds.
    pub first_byte_ms: Quantiles,
    /// Good ones, to the last byte. Milliseconds.
    pub whole_ms: Quantiles,
}

/// Quantiles; 0 where there was nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half of them are at most that.
    pub p50: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

struct Times {
    held: Histogram<u64>,
    first: Histogram<u64>,
    whole: Histogram<u64>,
}

impl Times {
    fn new() -> Times {
        let histogram = || Histogram::new_with_bounds(1, LONGEST_US, 3).expect("they are in order");
        Times { held: histogram(), first: histogram(), whole: histogram() }
    }

    fn of(&self, counted: ServicePlayed) -> ServicePlayed {
        ServicePlayed {
            held: self.held.len(),
            held_ms: quantiles(&self.held),
            first_byte_ms: quantiles(&self.first),
            whole_ms: quantiles(&self.whole),
            ..counted
        }
    }
}

fn quantiles(of: &Histogram<u64>) -> Quantiles {
    let ms = |us: u64| us as f64 / 1e3;
    Quantiles {
        p50: ms(of.value_at_quantile(0.5)),
        p99: ms(of.value_at_quantile(0.99)),
        max: ms(of.max()),
    }
}

/// Counts as answers come.
pub(super) struct Tally {
    names: Vec<String>,
    counted: Vec<(ServicePlayed, Times)>,
    whole: Times,
    latest_us: u64,
}

impl Tally {
    pub(super) fn new(services: &[String]) -> Tally {
        let nothing = |_: &String| (ServicePlayed::default(), Times::new());
        Tally {
            names: services.to_vec(),
            counted: services.iter().map(nothing).collect(),
            whole: Times::new(),
            latest_us: 0,
        }
    }

    pub(super) fn sent(&mut self, service: u32, late_us: u64) {
        self.latest_us = self.latest_us.max(late_us);
        self.counted[service as usize].0.requests += 1;
    }

    pub(super) fn left_out(&mut self, service: u32) {
        self.counted[service as usize].0.left_out += 1;
    }

    pub(super) fn take(&mut self, answer: Answer) {
        let (counted, times) = &mut self.counted[answer.service as usize];
        match answer.came {
            Came::Status(200..=299) => {
                counted.good += 1;
                for times in [times, &mut self.whole] {
                    times.first.saturating_record(answer.first_us);
                    times.whole.saturating_record(answer.took_us);
                    if answer.waited_us > 1_000 {
                        times.held.saturating_record(answer.waited_us);
                    }
                }
            }
            Came::Status(status) => *counted.refused.entry(status).or_default() += 1,
            Came::Broken(reason) => *counted.broken.entry(reason).or_default() += 1,
            Came::Nothing => counted.unanswered += 1,
        }
    }

    pub(super) fn finish(self, took_us: u64) -> Played {
        let mut whole = ServicePlayed::default();
        let mut services = BTreeMap::new();
        for (name, (counted, times)) in self.names.into_iter().zip(self.counted) {
            whole.requests += counted.requests;
            whole.good += counted.good;
            whole.unanswered += counted.unanswered;
            whole.left_out += counted.left_out;
            for (status, times) in &counted.refused {
                *whole.refused.entry(*status).or_default() += times;
            }
            for (reason, times) in &counted.broken {
                *whole.broken.entry(reason.clone()).or_default() += times;
            }
            services.insert(name, times.of(counted));
        }
        Played {
            duration_s: took_us as f64 / 1e6,
            latest_ms: self.latest_us as f64 / 1e3,
            whole: self.whole.of(whole),
            services,
        }
    }
}
