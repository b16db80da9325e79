//! Policies that are plain Rust, written with the SDK and linked into this program: the fallback, the bench's baseline, and what
//! tests use. The SDK generates its own types from the same contract; fields are moved across, and nothing is copied but what a
//! call borrows.

use std::marker::PhantomData;

use tidegate_policy::native;
use tidegate_policy::scaling as sdk;

use super::wire::{self, Batch, Births, Decisions, Explanation, Fault, Program, Scope, States};
use super::{Answer, BindError, CallError, CallErrorKind, ScalingPolicy};

/// A scaling policy of the SDK as the engine sees it.
pub struct NativeScaling<P> {
    digest: String,
    policy: PhantomData<P>,
}

impl<P: sdk::Together> NativeScaling<P> {
    /// The policy, by the name it goes by in reports.
    pub fn new(name: &str) -> NativeScaling<P> {
        NativeScaling { digest: format!("native:{name}"), policy: PhantomData }
    }
}

impl<P: sdk::Together> ScalingPolicy for NativeScaling<P> {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn bind(&mut self, settings: &str) -> Result<Program, BindError> {
        match native::bind::<P>(settings) {
            Ok(program) => Ok(from_program(program)),
            Err(faults) => Err(BindError::Faults(faults.into_iter().map(from_fault).collect())),
        }
    }

    fn init(&mut self, born: &Births) -> Result<States, CallError> {
        let born = sdk::Births {
            at_ms: born.at_ms,
            params: born.params.clone(),
            params_of: born.params_of.clone(),
            ready: born.ready.clone(),
        };
        native::init::<P>(&born).map(from_states).map_err(refused)
    }

    fn decide(&mut self, seen: &Batch, columns: usize) -> Answer {
        match native::decide::<P>(&to_batch(seen)) {
            Ok(decisions) => Answer {
                decisions: Decisions {
                    wanted: decisions.wanted,
                    apply: decisions.apply,
                    next_at_ms: decisions.next_at_ms,
                    outputs: decisions.outputs,
                    states: from_states(decisions.states),
                },
                failed: Vec::new(),
                fuel: 0,
            },
            Err(failure) => failed_whole(seen.params_of.len(), columns, &refused(failure)),
        }
    }

    fn explain(&mut self, seen: &Batch) -> Result<Vec<Explanation>, CallError> {
        let told = native::explain::<P>(&to_batch(seen)).map_err(refused)?;
        let figure = |figure: tidegate_policy::Figure| wire::Figure {
            name: figure.name,
            value: figure.value,
        };
        let one = |told: tidegate_policy::Explanation| Explanation {
            reason: told.reason,
            figures: told.figures.into_iter().map(figure).collect(),
        };
        Ok(told.into_iter().map(one).collect())
    }

    fn state_schema(&mut self) -> Result<u32, CallError> {
        Ok(P::STATE_SCHEMA)
    }

    fn migrate(&mut self, schema: u32, old: &States) -> Result<States, CallError> {
        let old = sdk::States { bytes: old.bytes.clone(), ends: old.ends.clone() };
        native::migrate::<P>(schema, &old).map(from_states).map_err(refused)
    }
}

/// An answer in which every target of a batch failed for the same reason.
pub(super) fn failed_whole(targets: usize, columns: usize, error: &CallError) -> Answer {
    let decisions = Decisions {
        wanted: vec![0; targets],
        apply: vec![false; targets],
        next_at_ms: vec![0; targets],
        outputs: vec![f64::NAN; targets * columns],
        states: States { bytes: Vec::new(), ends: vec![0; targets] },
    };
    Answer {
        decisions,
        failed: (0..targets as u32).map(|at| (at, error.clone())).collect(),
        fuel: 0,
    }
}

fn refused(failure: tidegate_policy::Failure) -> CallError {
    CallError { kind: CallErrorKind::Refused, culprit: failure.culprit, message: failure.message }
}

fn from_fault(fault: tidegate_policy::Fault) -> Fault {
    Fault { path: fault.path, message: fault.message }
}

fn from_states(states: sdk::States) -> States {
    States { bytes: states.bytes, ends: states.ends }
}

fn from_program(program: sdk::Program) -> Program {
    let source = |source| match source {
        sdk::Source::Window(window) => wire::Source::Window(wire::Window {
            signal: window.signal,
            span_s: window.span_s,
            averaging: window.averaging,
        }),
        sdk::Source::Fact(name) => wire::Source::Fact(name),
        sdk::Source::Output(name) => wire::Source::Output(name),
    };
    Program {
        params: program.params,
        scope: match program.scope {
            sdk::Scope::Target => Scope::Target,
            sdk::Scope::Group => Scope::Group,
            sdk::Scope::Tenant => Scope::Tenant,
        },
        causes: from_causes(program.causes),
        inputs: program
            .inputs
            .into_iter()
            .map(|input| wire::Input { source: source(input.source), required: input.required })
            .collect(),
        outputs: program.outputs,
        warnings: program.warnings.into_iter().map(from_fault).collect(),
    }
}

/// Each cause of the one set of generated flags with its twin of the other.
const CAUSES: [(sdk::Causes, wire::Causes); 5] = [
    (sdk::Causes::CREATED, wire::Causes::CREATED),
    (sdk::Causes::TICK, wire::Causes::TICK),
    (sdk::Causes::POKE, wire::Causes::POKE),
    (sdk::Causes::CHANGE, wire::Causes::CHANGE),
    (sdk::Causes::TIMER, wire::Causes::TIMER),
];

fn from_causes(causes: sdk::Causes) -> wire::Causes {
    CAUSES
        .iter()
        .filter(|(one, _)| (causes & *one) == *one)
        .fold(wire::Causes::empty(), |all, (_, twin)| all | *twin)
}

fn to_causes(causes: wire::Causes) -> sdk::Causes {
    CAUSES
        .iter()
        .filter(|(_, twin)| (causes & *twin) == *twin)
        .fold(sdk::Causes::empty(), |all, (one, _)| all | *one)
}

fn to_batch(seen: &Batch) -> sdk::Batch {
    sdk::Batch {
        at_ms: seen.at_ms,
        causes_of: seen.causes_of.iter().map(|causes| to_causes(*causes)).collect(),
        params: seen.params.clone(),
        params_of: seen.params_of.clone(),
        groups: seen.groups.clone(),
        states: sdk::States { bytes: seen.states.bytes.clone(), ends: seen.states.ends.clone() },
        inputs: seen.inputs.clone(),
        words: seen.words.clone(),
    }
}
