//! Listens to what a policy is asked in a case, and keeps a sample of it for the contract checks. What it answers is not touched.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::policy::wire::{
    Batch, Births, Candidates, Decisions, Explanation, Inheritance, PlacementInput,
    PlacementProgram, Program, Request, States,
};
use crate::policy::{Answer, BindError, CallError, Limits, PlacementPolicy, ScalingPolicy, Spent};

/// Settings documents that are kept.
const KEPT_OF_EACH: usize = 32;
/// Batches that are kept: the first few, then ever fewer of them, spread over the whole run.
const BATCHES_KEPT: usize = 48;
/// Replicas times nodes of the largest question about places that is kept: it is asked again many times.
const PAIRS_KEPT: usize = 20_000;

/// What one policy was asked in the cases of a suite.
#[derive(Debug)]
pub struct Recording {
    limits: Limits,
    heard: Mutex<Heard>,
}

/// A sample of what was asked.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Settings documents with what they were bound to.
    pub bound: Vec<(String, Program)>,
    /// Batches with the number of output columns and what was decided; those in which a target failed are not among them.
    pub batches: Vec<(Batch, usize, Decisions)>,
    /// Decisions that were asked for.
    pub decisions: u64,
    /// The largest share of its fuel that a `decide` took. 1 is all.
    pub fuel_share: f64,
    /// What it was asked about places, if it places.
    pub places: HeardPlaces,
    seen: Seen,
}

/// A sample of what a placement policy was asked.
#[derive(Clone, Debug, Default)]
pub struct HeardPlaces {
    /// Settings documents that it accepted.
    pub bound: Vec<String>,
    /// Replicas that needed a place, with what each was given.
    pub requests: Vec<(Request, Vec<Option<u32>>)>,
    /// Replicas of which some were to leave, with the order that came back.
    pub ranked: Vec<(Candidates, Vec<u32>)>,
    /// Replicas that were placed or ranked.
    pub decisions: u64,
    /// The largest share of its fuel that a call took. 1 is all.
    pub fuel_share: f64,
    requests_seen: Seen,
    ranked_seen: Seen,
}

/// How many calls there were, and of how many one is kept.
#[derive(Clone, Copy, Debug)]
struct Seen {
    calls: u64,
    stride: u64,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { calls: 0, stride: 1 }
    }
}

/// Keeps `one` if its turn has come. Every second one of the later half goes when there are too many: the beginning of a run is
/// where policies differ most.
fn keep<T>(kept: &mut Vec<T>, seen: &mut Seen, one: impl FnOnce() -> T) {
    seen.calls += 1;
    if !seen.calls.is_multiple_of(seen.stride) {
        return;
    }
    kept.push(one());
    if kept.len() >= BATCHES_KEPT {
        let mut position = 0;
        kept.retain(|_| {
            position += 1;
            position <= BATCHES_KEPT / 4 || position % 2 == 0
        });
        seen.stride *= 2;
    }
}

impl HeardPlaces {
    fn take_in(&mut self, other: &HeardPlaces) {
        for settings in &other.bound {
            if !self.bound.contains(settings) {
                self.bound.push(settings.clone());
            }
        }
        self.requests.extend(other.requests.iter().cloned());
        self.ranked.extend(other.ranked.iter().cloned());
        self.decisions += other.decisions;
        self.fuel_share = self.fuel_share.max(other.fuel_share);
    }
}

impl Heard {
    /// Takes in what another case heard of the same policy.
    pub fn take_in(&mut self, other: &Heard) {
        for (settings, program) in &other.bound {
            if !self.bound.iter().any(|(known, _)| known == settings) {
                self.bound.push((settings.clone(), program.clone()));
            }
        }
        self.batches.extend(other.batches.iter().cloned());
        self.decisions += other.decisions;
        self.fuel_share = self.fuel_share.max(other.fuel_share);
        self.places.take_in(&other.places);
    }
}

impl Recording {
    /// An empty one, of a policy that runs within `limits`.
    pub fn new(limits: Limits) -> Recording {
        Recording { limits, heard: Mutex::new(Heard::default()) }
    }

    /// What was heard so far.
    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("nobody panics while it listens")
    }

    fn bound(&self, settings: &str, program: &Program) {
        let mut heard = self.heard();
        let is_known = heard.bound.iter().any(|(known, _)| known == settings);
        if !is_known && heard.bound.len() < KEPT_OF_EACH {
            heard.bound.push((settings.to_owned(), program.clone()));
        }
    }

    fn decided(&self, seen: &Batch, columns: usize, answer: &Answer) {
        let mut heard = self.heard();
        let targets = seen.params_of.len();
        heard.decisions += targets as u64;
        let share = answer.fuel as f64 / self.limits.fuel(targets) as f64;
        heard.fuel_share = heard.fuel_share.max(share);
        if answer.failed.is_empty() {
            let Heard { batches, seen: turns, .. } = &mut *heard;
            keep(batches, turns, || (seen.clone(), columns, answer.decisions.clone()));
        }
    }

    fn placed(&self, asked: &Request, nodes: &[Option<u32>], spent: Spent) {
        let HeardPlaces { requests, requests_seen, .. } =
            &mut self.places(nodes.len(), spent).places;
        if nodes.len() * asked.nodes.names.len() <= PAIRS_KEPT {
            keep(requests, requests_seen, || (asked.clone(), nodes.to_vec()));
        }
    }

    fn ranked(&self, asked: &Candidates, order: &[u32], spent: Spent) {
        let HeardPlaces { ranked, ranked_seen, .. } = &mut self.places(order.len(), spent).places;
        if order.len() + asked.nodes.names.len() <= PAIRS_KEPT {
            keep(ranked, ranked_seen, || (asked.clone(), order.to_vec()));
        }
    }

    /// With a call about so many replicas counted.
    fn places(&self, replicas: usize, spent: Spent) -> MutexGuard<'_, Heard> {
        let mut heard = self.heard();
        heard.places.decisions += replicas as u64;
        heard.places.fuel_share = heard.places.fuel_share.max(spent.share());
        heard
    }
}

/// A policy that is listened to.
pub(super) struct Watched<P> {
    inner: P,
    to: Arc<Recording>,
}

impl<P> Watched<P> {
    pub(super) fn new(inner: P, to: Arc<Recording>) -> Watched<P> {
        Watched { inner, to }
    }
}

impl<P: ScalingPolicy> ScalingPolicy for Watched<P> {
    fn digest(&self) -> &str {
        self.inner.digest()
    }

    fn bind(&mut self, settings: &str) -> Result<Program, BindError> {
        let program = self.inner.bind(settings)?;
        self.to.bound(settings, &program);
        Ok(program)
    }

    fn init(&mut self, born: &Births) -> Result<States, CallError> {
        self.inner.init(born)
    }

    fn decide(&mut self, seen: &Batch, columns: usize) -> Answer {
        let answer = self.inner.decide(seen, columns);
        self.to.decided(seen, columns, &answer);
        answer
    }

    fn explain(&mut self, seen: &Batch) -> Result<Vec<Explanation>, CallError> {
        self.inner.explain(seen)
    }

    fn state_schema(&mut self) -> Result<String, CallError> {
        self.inner.state_schema()
    }

    fn migrate(&mut self, from: &Inheritance) -> Result<States, CallError> {
        self.inner.migrate(from)
    }
}

impl<P: PlacementPolicy> PlacementPolicy for Watched<P> {
    fn digest(&self) -> &str {
        self.inner.digest()
    }

    fn inputs(&mut self) -> Result<Vec<PlacementInput>, CallError> {
        self.inner.inputs()
    }

    fn bind(&mut self, settings: &str) -> Result<PlacementProgram, BindError> {
        let program = self.inner.bind(settings)?;
        let bound = &mut self.to.heard().places.bound;
        if !bound.iter().any(|known| known == settings) && bound.len() < KEPT_OF_EACH {
            bound.push(settings.to_owned());
        }
        Ok(program)
    }

    fn place(&mut self, asked: &Request) -> Result<Vec<Option<u32>>, CallError> {
        let nodes = self.inner.place(asked)?;
        self.to.placed(asked, &nodes, self.inner.spent());
        Ok(nodes)
    }

    fn explain(&mut self, asked: &Request) -> Result<Vec<Explanation>, CallError> {
        self.inner.explain(asked)
    }

    fn rank(&mut self, asked: &Candidates) -> Result<Vec<u32>, CallError> {
        let order = self.inner.rank(asked)?;
        self.to.ranked(asked, &order, self.inner.spent());
        Ok(order)
    }

    fn explain_rank(&mut self, asked: &Candidates) -> Result<Vec<Explanation>, CallError> {
        self.inner.explain_rank(asked)
    }

    fn spent(&self) -> Spent {
        self.inner.spent()
    }
}
