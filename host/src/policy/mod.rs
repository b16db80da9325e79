//! Policies as the engine sees them: one trait for each kind, which a sandboxed component and a plain Rust function both
//! provide, so that the engine's own tests need no Wasm. What crosses is in [`wire`]; traces and Kubernetes are unknown here.

pub mod builtin;
mod call;
mod compile;
mod component;
pub mod facts;
mod isolate;
pub mod keys;
mod limits;
pub mod load;
pub mod native;
mod panic;
mod places;
pub mod quarantine;
mod sandbox;
mod told;
pub mod wire;
pub mod wrap;

pub use compile::{SUBCOMMAND as COMPILE_SUBCOMMAND, compile_child};
pub use component::ComponentScaling;
pub use facts::Facts;
pub use limits::{ChainLimits, Limits};
pub use load::LoadError;
pub use places::ComponentPlacement;
pub use quarantine::Quarantine;
pub use sandbox::{Package, Sandbox, SandboxError, digest_of};
pub(crate) use told::size;

use wire::{
    Batch, Births, Candidates, Decisions, Explanation, Fault, Inheritance, PlacementInput,
    PlacementProgram, Program, Request, States,
};

/// A call that gave no answer, told for people: what happened, at which limit, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// What kind of failure it was.
    pub kind: CallErrorKind,
    /// The positions in the call of whoever is at fault, where the policy named them.
    pub culprits: Vec<u32>,
    /// One sentence, lower case, without a full stop.
    pub message: String,
}

/// How a call can fail. The exit code and the metrics go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallErrorKind {
    /// The policy returned a failure of its own.
    Refused,
    /// It trapped: a panic, an out-of-bounds access, an unreachable instruction.
    Trapped,
    /// It used up its fuel.
    OutOfFuel,
    /// Nothing is held against the target: the fuel of its batch was spent on finding others at fault.
    NotAsked,
    /// It overran the wall-clock backstop.
    OutOfTime,
    /// It asked for more memory, table, stack or output than it may have.
    OutOfSpace,
    /// It answered, but not what was asked: the wrong number of decisions, states that end before they begin.
    Malformed,
}

/// Settings that were not accepted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BindError {
    /// The policy found faults in them: all it found.
    #[error("{} in the settings", if .0.len() == 1 { "a fault".to_owned() } else { format!("{} faults", .0.len()) })]
    Faults(Vec<Fault>),
    /// The policy could not say.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What a batch came to. Every target either has its entry in `decisions` or is among `failed`, never both.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Columns as long as the batch. The entries of failed targets mean nothing, and their states are empty.
    pub decisions: Decisions,
    /// Positions of the targets that got no decision, in order, with why.
    pub failed: Vec<(u32, CallError)>,
    /// Fuel that the whole batch took, isolation included; 0 for native policies.
    pub fuel: u64,
}

/// Decides how many. See `wit/policy.wit`, interface `scaling`, for what each call means.
pub trait ScalingPolicy: Send {
    /// The digest of the component, `sha256:…`, or `native:NAME`; it stands on every decision.
    fn digest(&self) -> &str;
    /// Checks and compiles a settings document.
    fn bind(&mut self, settings: &str) -> Result<Program, BindError>;
    /// The first states of targets.
    fn init(&mut self, born: &Births) -> Result<States, CallError>;
    /// Decides for a batch of which `columns` outputs come back. Finds a bad target and decides the others without it, all
    /// within one budget.
    fn decide(&mut self, seen: &Batch, columns: usize) -> Answer;
    /// The same decisions in words, one a target.
    fn explain(&mut self, seen: &Batch) -> Result<Vec<Explanation>, CallError>;
    /// The name of the layout of its state, as `knative/1`.
    fn state_schema(&mut self) -> Result<String, CallError>;
    /// States of another layout in its own layout.
    fn migrate(&mut self, from: &Inheritance) -> Result<States, CallError>;
}

/// Decides where. See `wit/policy.wit`, interface `placement`, for what each call means.
pub trait PlacementPolicy: Send {
    /// The digest of the component, `sha256:…`, or `native:NAME`.
    fn digest(&self) -> &str;
    /// The columns it wants.
    fn inputs(&mut self) -> Result<Vec<PlacementInput>, CallError>;
    /// Checks and compiles a settings document.
    fn bind(&mut self, settings: &str) -> Result<PlacementProgram, BindError>;
    /// A node for each replica, by position; `None` where none will do now.
    fn place(&mut self, asked: &Request) -> Result<Vec<Option<u32>>, CallError>;
    /// The same choices in words, one a replica.
    fn explain(&mut self, asked: &Request) -> Result<Vec<Explanation>, CallError>;
    /// The positions of all candidates, each once, those that should leave first in front.
    fn rank(&mut self, asked: &Candidates) -> Result<Vec<u32>, CallError>;
    /// The same order in words, one a candidate; none from a policy that has no words.
    fn explain_rank(&mut self, _asked: &Candidates) -> Result<Vec<Explanation>, CallError> {
        Ok(Vec::new())
    }
    /// What the last `place` or `rank` took; nothing for native policies.
    fn spent(&self) -> Spent {
        Spent::default()
    }
}

/// Fuel of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// What it took.
    pub fuel: u64,
    /// What it might have taken.
    pub limit: u64,
}

impl Spent {
    /// The share of its fuel that it took. 1 is all.
    pub fn share(self) -> f64 {
        if self.limit == 0 { 0.0 } else { self.fuel as f64 / self.limit as f64 }
    }
}
