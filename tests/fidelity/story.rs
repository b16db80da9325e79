//! What happened in one of the worlds, as its own journal has it: decisions, replicas and requests of each service over time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidegate::engine::{Action, Event, Phase, ReplicaId};
use tidegate::journal::{Entry, Fate, Found, open};

/// A number over time: when it changed, in seconds since the load began, and to what. It is 0 before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps(pub Vec<(f64, u32)>);

impl Steps {
    pub fn set(&mut self, at_s: f64, value: u32) {
        if self.0.last().map_or(0, |last| last.1) != value {
            self.0.push((at_s, value));
        }
    }

    pub fn at(&self, at_s: f64) -> u32 {
        self.0.iter().take_while(|step| step.0 <= at_s).last().map_or(0, |step| step.1)
    }

    /// When it rose to `level` or above, and when it fell below.
    pub fn crossings(&self, level: u32) -> (Vec<f64>, Vec<f64>) {
        let (mut rises, mut falls) = (Vec::new(), Vec::new());
        let mut before = 0;
        for &(at_s, value) in &self.0 {
            if before < level && value >= level {
                rises.push(at_s);
            }
            if before >= level && value < level {
                falls.push(at_s);
            }
            before = value;
        }
        (rises, falls)
    }

    pub fn most(&self) -> u32 {
        self.0.iter().map(|step| step.1).max().unwrap_or(0)
    }

    /// The mean over the first `length_s` seconds of a function of this number and another one.
    pub fn mean_with(&self, other: &Steps, length_s: f64, of: impl Fn(f64, f64) -> f64) -> f64 {
        let mut moments: Vec<f64> = self.0.iter().chain(&other.0).map(|step| step.0).collect();
        moments.extend([0.0, length_s]);
        moments.retain(|at_s| (0.0..=length_s).contains(at_s));
        moments.sort_by(f64::total_cmp);
        let span = |pair: &[f64]| {
            let at_s = (pair[0] + pair[1]) / 2.0;
            (pair[1] - pair[0]) * of(f64::from(self.at(at_s)), f64::from(other.at(at_s)))
        };
        moments.windows(2).map(span).sum::<f64>() / length_s
    }
}

/// How many requests met with what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub served: u64,
    pub expired: u64,
    pub failed: u64,
}

/// How long served requests were held, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waits {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// What happened to a service.
#[derive(Clone, Debug, Default)]
pub struct Service {
    pub desired: Steps,
    pub ready: Steps,
    /// From each replica's start to its being ready, in seconds.
    pub cold_starts: Vec<f64>,
    pub counts: Counts,
    pub waits: Waits,
}

pub type Story = BTreeMap<String, Service>;

/// Reads a journal, whose load began at `start_ms`. A journal of the simulator has no requests: those are in its outcome.
pub fn read(path: &Path, start_ms: f64) -> Story {
    let mut names: Vec<String> = Vec::new();
    let mut story = Story::new();
    let mut ready: BTreeSet<ReplicaId> = BTreeSet::new();
    let mut started: BTreeMap<ReplicaId, f64> = BTreeMap::new();
    let mut waits: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for found in open(path).expect("there is a journal") {
        let entry = match found.expect("it can be read") {
            Found::Entry(entry) => entry,
            Found::Segment(_) => continue,
            Found::Torn(torn) => panic!("the journal is torn: {torn:?}"),
        };
        match entry {
            Entry::Begin(begin) => {
                names = begin.header.targets.iter().map(|spec| spec.name.service.clone()).collect();
                for name in &names {
                    story.entry(name.clone()).or_default();
                }
            }
            Entry::Step(step) => {
                let at_s = (step.seen.at.0 as f64 - start_ms) / 1e3;
                let service = |id: ReplicaId| names[id.target.index()].clone();
                let mut touched = BTreeSet::new();
                for event in &step.seen.events {
                    let Event::Replica(id, phase) = event else { continue };
                    touched.insert(id.target);
                    match phase {
                        Phase::Ready => {
                            ready.insert(*id);
                            let since_s = started.remove(id).expect("it was started");
                            let service = story.get_mut(&service(*id)).expect("it is known");
                            service.cold_starts.push(at_s - since_s);
                        }
                        Phase::Pulling | Phase::Loading => {}
                        Phase::Draining | Phase::Gone => {
                            ready.remove(id);
                        }
                        Phase::Failed { reason } => panic!("{} failed: {reason}", service(*id)),
                    }
                }
                for action in &step.plan.actions {
                    match action {
                        Action::Start { replica, .. } => {
                            started.insert(*replica, at_s);
                        }
                        Action::Drain { replica } => {
                            ready.remove(replica);
                            touched.insert(replica.target);
                        }
                        Action::Scale { .. } => unreachable!("replicas are Tidegate's own"),
                    }
                }
                for change in &step.plan.changes {
                    let service = story.get_mut(&names[change.target.index()]).expect("known");
                    service.desired.set(at_s, change.to);
                }
                for target in touched {
                    let count = ready.iter().filter(|id| id.target == target).count() as u32;
                    let service = story.get_mut(&names[target.index()]).expect("it is known");
                    service.ready.set(at_s, count);
                }
            }
            Entry::Requests(requests) => {
                assert_eq!(requests.left_out, 0, "the journal kept what became of all requests");
                for (name, request) in requests.rows() {
                    let counts = &mut story.get_mut(name).expect("it is known").counts;
                    match request.fate {
                        Fate::Served => {
                            counts.served += 1;
                            let waited_s = request.waited_ms as f64 / 1e3;
                            waits.entry(name.to_owned()).or_default().push(waited_s);
                        }
                        Fate::Expired => counts.expired += 1,
                        Fate::Refused | Fate::Failed | Fate::GivenUp => counts.failed += 1,
                    }
                }
            }
            Entry::Note(_) => {}
        }
    }
    for (name, mut waits) in waits {
        waits.sort_by(f64::total_cmp);
        let at = |part: f64| waits[((waits.len() as f64 * part).ceil() as usize).max(1) - 1];
        story.get_mut(&name).expect("it is known").waits =
            Waits { p50: at(0.5), p99: at(0.99), max: at(1.0) };
    }
    story
}
