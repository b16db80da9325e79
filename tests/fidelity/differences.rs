//! By how much the simulator is off what happened live.

use std::fmt;

use super::story::{Service, Steps, Story};
use super::worlds::LENGTH_S;

/// What is measured of a service. Errors are the simulator's: simulated less live.
#[derive(Clone, Debug)]
pub struct Differences {
    pub service: String,
    /// Mean absolute difference of ready replicas, over the mean that there were live.
    pub ready: f64,
    /// The same of desired replicas.
    pub desired: f64,
    /// Crossings of a level by desired replicas that only one world has: a rise from 1 to 3 crosses 2 and 3.
    pub unmatched: usize,
    /// Crossings that both have.
    pub matched: usize,
    /// How far apart those are: the mean and the largest. Seconds.
    pub moments_s: (f64, f64),
    /// Cold starts: live, and by how many the simulator is off.
    pub cold_starts: (u64, i64),
    /// How long they take on average: live, and by how much the simulator is off. Seconds.
    pub cold_start_s: (f64, f64),
    /// Served, expired and failed, live, and by how many the simulator is off.
    pub requests: [(u64, i64); 3],
    /// p50, p99 and maximum of waits, live, and by how much the simulator is off. Seconds.
    pub waits_s: [(f64, f64); 3],
}

/// How far off the simulator may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub ready: f64,
    pub desired: f64,
    pub unmatched: usize,
    pub moments_s: (f64, f64),
    pub cold_starts: i64,
    pub cold_start_s: f64,
    /// Of all requests of the service, as a part.
    pub requests: f64,
    pub waits_s: [f64; 3],
}

pub fn differences(live: &Story, simulated: &Story) -> Vec<Differences> {
    assert!(live.keys().eq(simulated.keys()), "both have the same services");
    live.iter().map(|(name, one)| of(name, one, &simulated[name])).collect()
}

fn of(name: &str, live: &Service, simulated: &Service) -> Differences {
    let off = |live: &Steps, simulated: &Steps| {
        let mean = live.mean_with(live, LENGTH_S, |one, _| one);
        live.mean_with(simulated, LENGTH_S, |one, other| (one - other).abs()) / mean
    };
    let (mut apart, mut unmatched) = (Vec::new(), 0);
    for level in 1..=live.desired.most().max(simulated.desired.most()) {
        let (ours, theirs) = (simulated.desired.crossings(level), live.desired.crossings(level));
        for (ours, theirs) in [(ours.0, theirs.0), (ours.1, theirs.1)] {
            unmatched += ours.len().abs_diff(theirs.len());
            apart.extend(ours.iter().zip(&theirs).map(|(one, other)| (one - other).abs()));
        }
    }
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len().max(1) as f64;
    let pair = |live: f64, simulated: f64| (live, simulated - live);
    let count = |live: u64, simulated: u64| (live, simulated as i64 - live as i64);
    let (ours, theirs) = (simulated.counts, live.counts);
    Differences {
        service: name.to_owned(),
        ready: off(&live.ready, &simulated.ready),
        desired: off(&live.desired, &simulated.desired),
        unmatched,
        matched: apart.len(),
        moments_s: (mean(&apart), apart.iter().copied().fold(0.0, f64::max)),
        cold_starts: count(live.cold_starts.len() as u64, simulated.cold_starts.len() as u64),
        cold_start_s: pair(mean(&live.cold_starts), mean(&simulated.cold_starts)),
        requests: [
            count(theirs.served, ours.served),
            count(theirs.expired, ours.expired),
            count(theirs.failed, ours.failed),
        ],
        waits_s: [
            pair(live.waits.p50, simulated.waits.p50),
            pair(live.waits.p99, simulated.waits.p99),
            pair(live.waits.max, simulated.waits.max),
        ],
    }
}

impl Differences {
    /// What is further off than it may be, for people.
    pub fn beyond(&self, bounds: &Bounds) -> Vec<String> {
        let all: u64 = self.requests.iter().map(|(live, _)| live).sum();
        let most = bounds.requests * all as f64;
        let mut checks = vec![
            ("ready replicas over time", self.ready, bounds.ready),
            ("desired replicas over time", self.desired, bounds.desired),
            ("unmatched decisions", self.unmatched as f64, bounds.unmatched as f64),
            ("moments of decisions, mean, s", self.moments_s.0, bounds.moments_s.0),
            ("moments of decisions, largest, s", self.moments_s.1, bounds.moments_s.1),
            ("cold starts", self.cold_starts.1.abs() as f64, bounds.cold_starts as f64),
            ("length of cold starts, s", self.cold_start_s.1.abs(), bounds.cold_start_s),
        ];
        for (what, (_, off)) in ["served", "expired", "failed"].into_iter().zip(self.requests) {
            checks.push((what, off.abs() as f64, most));
        }
        let waits = ["p50 of waits, s", "p99 of waits, s", "longest wait, s"];
        for ((what, (_, off)), bound) in waits.into_iter().zip(self.waits_s).zip(bounds.waits_s) {
            checks.push((what, off.abs(), bound));
        }
        let far = checks.into_iter().filter(|(_, off, bound)| off > bound);
        let say = |(what, off, bound): (&str, f64, f64)| {
            format!("{}: {what}: {off:.3} off, at most {bound:.3} expected", self.service)
        };
        far.map(say).collect()
    }
}

/// A row of a table of Markdown.
impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: f64| part * 100.0;
        let (ready, desired) = (percent(self.ready), percent(self.desired));
        write!(f, "| {} | {ready:.1} % | {desired:.1} % |", self.service)?;
        let all = self.matched + self.unmatched;
        let (mean_s, most_s) = self.moments_s;
        write!(f, " {} of {all} | {mean_s:.2}, {most_s:.2} s |", self.matched)?;
        let ((live, off), (took_s, off_s)) = (self.cold_starts, self.cold_start_s);
        write!(f, " {live} ({off:+}) of {took_s:.3} ({off_s:+.3}) s |")?;
        for (live, off) in self.requests {
            write!(f, " {live} ({off:+}) |")?;
        }
        for (live, off) in self.waits_s {
            write!(f, " {live:.2} ({off:+.2}) |")?;
        }
        Ok(())
    }
}
