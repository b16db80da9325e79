//! Decides a journal again: what an earlier run saw goes through a fresh engine, and the first plan that is another one is found.
//! With the same policies by digest that finds nothing, ever; with others it finds where they begin to differ.

pub mod account;
mod decider;
pub mod recorded;

use serde::Serialize;

pub use account::{Account, Line, Story};
pub use decider::{Decider, Taken};

use crate::engine::{BindTargetError, Engine, Plan};
use crate::journal::{Header, JournalError, Step};

/// What came of deciding again.
#[derive(Clone, Debug, PartialEq)]
pub struct Again {
    /// Steps that were decided, the one that differs included.
    pub steps: usize,
    /// The first step with another plan; what follows it was not decided.
    pub difference: Option<Box<Difference>>,
}

/// A step that was planned otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Which, counted from 1.
    pub step: usize,
    /// The plan in the journal.
    pub recorded: Plan,
    /// The plan of now.
    pub decided: Plan,
}

/// A journal that cannot be decided again.
#[derive(Debug, thiserror::Error)]
pub enum AgainError {
    /// A step cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The policies do not take the targets.
    #[error(transparent)]
    Bind(#[from] BindTargetError),
    /// An engine cannot go on from a snapshot.
    #[error("what the engine knew cannot be taken over: {0}")]
    Snapshot(String),
}

/// Takes `engine`, which was made with the options of `header` and has no targets yet, through what `steps` saw. Plans are compared
/// byte for byte; what they say of digests is left out where the policies are not the journal's.
///
/// # Errors
///
/// When the policies refuse a target, or a step cannot be read.
pub fn decide_again(
    header: &Header,
    steps: impl IntoIterator<Item = Result<Step, JournalError>>,
    engine: &mut Engine,
) -> Result<Again, AgainError> {
    let targets = header.targets.iter().cloned().zip(header.counts.iter().copied()).collect();
    engine.add_counted_targets(header.start, targets)?;
    let is_the_same_chain = engine.policies() == header.policies;
    let mut decided = 0;
    for step in steps {
        let Step { seen, plan: mut recorded } = step?;
        let mut plan = engine.step(&seen);
        decided += 1;
        if !is_the_same_chain {
            forget_digests(&mut recorded);
            forget_digests(&mut plan);
        }
        if bytes(&recorded) != bytes(&plan) {
            let difference = Difference { step: decided, recorded, decided: plan };
            return Ok(Again { steps: decided, difference: Some(Box::new(difference)) });
        }
    }
    Ok(Again { steps: decided, difference: None })
}

fn bytes(plan: &Plan) -> Vec<u8> {
    serde_json::to_vec(plan).expect("a plan has text for keys and is written to memory")
}

fn forget_digests(plan: &mut Plan) {
    let said = plan.changes.iter_mut().flat_map(|change| &mut change.stages);
    said.for_each(|said| said.digest.clear());
}
