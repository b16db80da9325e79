//! Listens to what a policy is asked in a case, and keeps a sample of it for the contract checks. What it answers is not touched.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::policy::wire::{Batch, Births, Decisions, Explanation, Inheritance, Program, States};
use crate::policy::{Answer, BindError, CallError, Limits, ScalingPolicy};

/// Settings documents that are kept.
const KEPT_OF_EACH: usize = 32;
/// Batches that are kept: the first few, then ever fewer of them, spread over the whole run.
const BATCHES_KEPT: usize = 48;

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
    calls: u64,
    stride: u64,
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
    }
}

impl Recording {
    /// An empty one, of a policy that runs within `limits`.
    pub fn new(limits: Limits) -> Recording {
        Recording { limits, heard: Mutex::new(Heard { stride: 1, ..Heard::default() }) }
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
        heard.calls += 1;
        if answer.failed.is_empty() && heard.calls.is_multiple_of(heard.stride) {
            heard.batches.push((seen.clone(), columns, answer.decisions.clone()));
            if heard.batches.len() >= BATCHES_KEPT {
                // Every second one of the later half goes: the beginning of a run is where policies differ most.
                let mut position = 0;
                heard.batches.retain(|_| {
                    position += 1;
                    position <= BATCHES_KEPT / 4 || position % 2 == 0
                });
                heard.stride *= 2;
            }
        }
    }
}

/// A policy that is listened to.
pub(super) struct Watched<P> {
    inner: P,
    to: Arc<Recording>,
}

impl<P: ScalingPolicy> Watched<P> {
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
