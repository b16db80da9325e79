//! Trying a policy out in a test of its own: inputs by name, decisions as a person reads them. What is in between is what a host
//! would do. For tests only: what is wrong panics, and says what would be right.

pub mod placement;

use std::marker::PhantomData;

use crate::scaling::{Batch, Births, Causes, Program, Scope, Source, States, Together};
use crate::{Fault, native};

/// Monday 2024-01-01T00:00Z, when a trial begins unless it is told otherwise. Unix milliseconds.
pub const MONDAY_MS: u64 = 1_704_067_200_000;

/// One target of a scaling policy that is asked again and again; its state goes from one decision to the next.
///
/// ```ignore
/// let mut trial = Trial::<Policy>::new(r#"{"target": 4}"#);
/// trial.see("concurrency", 9.0);
/// assert_eq!(trial.decide().to_string(), "3: 9.0 in flight at 4 a replica");
/// ```
pub struct Trial<P> {
    program: Program,
    state: Option<States>,
    at_ms: u64,
    inputs: Vec<f64>,
    policy: PhantomData<P>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Replicas; nothing: they are left as they are.
    pub wanted: Option<u32>,
    /// Why, in the policy's words.
    pub reason: String,
    /// Until when it stands if every input does: milliseconds from now. Nothing: the policy does not say.
    pub stands_ms: Option<u64>,
    outputs: Vec<(String, f64)>,
}

impl Decided {
    /// The value of an output; NaN where none was given.
    pub fn output(&self, name: &str) -> f64 {
        let found = self.outputs.iter().find(|(known, _)| known == name);
        let known = || self.outputs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        found.unwrap_or_else(|| panic!("no output {name}; there are {:?}", known())).1
    }
}

/// `3: the reason`, or `hold: the reason`.
impl std::fmt::Display for Decided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.wanted {
            Some(wanted) => write!(f, "{wanted}")?,
            None => f.write_str("hold")?,
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

impl<P: Together> Trial<P> {
    /// Binds these settings, a JSON text. Every input reads NaN until it is told otherwise.
    pub fn new(settings: &str) -> Trial<P> {
        let program = native::bind::<P>(&document(settings))
            .unwrap_or_else(|faults| panic!("the settings are refused: {:?}", told(faults)));
        let inputs = vec![f64::NAN; program.inputs.len()];
        Trial { program, state: None, at_ms: MONDAY_MS, inputs, policy: PhantomData }
    }

    /// What is wrong with these settings, as `settings.target: found 0, expected above 0`; nothing where they are accepted.
    pub fn faults(settings: &str) -> Vec<String> {
        native::bind::<P>(&document(settings)).map_or_else(told, |_| Vec::new())
    }

    /// From now on the input reads `value`; NaN is "no data". Its name is that of a signal (every window over it), a fact, an output
    /// of an earlier stage, or `proposal`.
    pub fn see(&mut self, name: &str, value: f64) -> &mut Trial<P> {
        let mut is_known = false;
        for (input, reads) in self.program.inputs.iter().zip(&mut self.inputs) {
            if name_of(&input.source) == name {
                (*reads, is_known) = (value, true);
            }
        }
        let asked = || self.program.inputs.iter().map(|input| name_of(&input.source));
        assert!(
            is_known,
            "the policy asks for no {name}, but for {:?}",
            asked().collect::<Vec<_>>()
        );
        self
    }

    /// Lets time pass.
    pub fn pass_s(&mut self, seconds: u64) -> &mut Trial<P> {
        self.at_ms += 1_000 * seconds;
        self
    }

    /// Asks the policy: at first because the target has come into being, then for all regular causes that it asked for.
    pub fn decide(&mut self) -> Decided {
        let regular = self.program.causes & (Causes::TICK | Causes::CHANGE | Causes::TIMER);
        self.decide_because(if self.state.is_some() { regular } else { Causes::CREATED })
    }

    /// Asks the policy, and says why.
    pub fn decide_because(&mut self, causes: Causes) -> Decided {
        let params = vec![self.program.params.clone()];
        let states = self.state.take().unwrap_or_else(|| {
            let (params, params_of, ready) = (params.clone(), vec![0], vec![f64::NAN]);
            let born = Births { at_ms: self.at_ms, params, params_of, ready };
            native::init::<P>(&born).expect("what was bound here is in order")
        });
        let seen = Batch {
            at_ms: self.at_ms,
            causes_of: vec![causes],
            params,
            params_of: vec![0],
            groups: vec![0],
            states,
            inputs: self.inputs.clone(),
            words: Vec::new(),
        };
        let decided = native::decide::<P>(&seen).expect("the batch is in order");
        let mut told = native::explain::<P>(&seen).expect("the batch is in order");
        let next_at_ms = decided.next_at_ms[0];
        self.state = Some(decided.states);
        Decided {
            wanted: decided.apply[0].then_some(decided.wanted[0]),
            reason: told.remove(0).reason,
            stands_ms: (next_at_ms > 0).then(|| next_at_ms.saturating_sub(self.at_ms)),
            outputs: self.program.outputs.iter().cloned().zip(decided.outputs).collect(),
        }
    }

    /// What is decided together.
    pub fn scope(&self) -> Scope {
        self.program.scope
    }
}

fn name_of(source: &Source) -> &str {
    match source {
        Source::Window(window) => &window.signal,
        Source::Fact(name) | Source::Output(name) => name,
    }
}

fn document(settings: &str) -> String {
    format!(r#"{{"settings": {settings}}}"#)
}

fn told(faults: Vec<Fault>) -> Vec<String> {
    faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
}
