//! The calls of the contract as plain functions over any policy: what a component exports, and what a host that links policies
//! natively calls. No call panics on what it is given; what is malformed is a [`Failure`].

pub mod placement;

use crate::scaling::{
    Batch, Births, Decision, Decisions, Inheritance, Program, Scope, Seen, States, Target, Together,
};
use crate::wire::{
    Params, StateReader, StateWriter, all_at_fault, decode_state, encode_params, failure,
    failure_of, same_length,
};
use crate::{Document, Explanation, Failure, Fault, Faults, Notes, Wants};

/// Checks a settings document and compiles it.
pub fn bind<P: Together>(settings: &str) -> Result<Program, Vec<Fault>> {
    let mut wants = Wants::new();
    let params = Document::read(settings)
        .and_then(|document| P::bind(document, &mut wants))
        .map_err(Faults::into_vec)?;
    let bytes = encode_params(wants.output_count(), &params).map_err(|error| {
        Faults::one("", format!("compiled settings do not encode: {error}")).into_vec()
    })?;
    Ok(wants.into_program(bytes, P::SCOPE))
}

/// The first state of each target.
pub fn init<P: Together>(born: &Births) -> Result<States, Failure> {
    let targets = born.params_of.len();
    same_length("ready", born.ready.len(), targets)?;
    let params = Params::<P::Params>::decode(&born.params);
    let mut states = StateWriter::with_capacity(targets, 0);
    for (at, (of, ready)) in born.params_of.iter().zip(&born.ready).enumerate() {
        let params = params.of(at, *of).map_err(|first| {
            all_at_fault(targets, first, |at| params.of(at, born.params_of[at]).map(drop))
        })?;
        states.push(at, &P::init(params, born.at_ms, known(*ready)))?;
    }
    Ok(states.finish())
}

/// Decides for every target of the batch.
pub fn decide<P: Together>(seen: &Batch) -> Result<Decisions, Failure> {
    run::<P>(seen, None)
}

/// The same decisions in words, one a target.
pub fn explain<P: Together>(seen: &Batch) -> Result<Vec<Explanation>, Failure> {
    let nothing = Explanation { reason: String::new(), figures: Vec::new() };
    let mut told = vec![nothing; seen.causes_of.len()];
    run::<P>(seen, Some(&mut told))?;
    Ok(told)
}

/// States of another layout in the policy's own; those of its own are taken as they are.
pub fn migrate<P: Together>(from: &Inheritance) -> Result<States, Failure> {
    let Inheritance { born, schema, old } = from;
    let targets = born.params_of.len();
    same_length("ready", born.ready.len(), targets)?;
    same_length("old states", old.ends.len(), targets)?;
    let params = Params::<P::Params>::decode(&born.params);
    let mut reader = StateReader::new(old);
    let mut states = StateWriter::with_capacity(targets, old.bytes.len());
    let mut one = |at: usize| {
        let bytes = reader.next(at)?;
        if schema == P::STATE_SCHEMA {
            return states.push_bytes(at, bytes);
        }
        let params = params.of(at, born.params_of[at])?;
        let state = P::migrate(schema, bytes, params, born.at_ms, known(born.ready[at]))
            .map_err(|message| failure_of(at, message))?;
        states.push(at, &state)
    };
    let failures: Vec<Failure> = (0..targets).filter_map(|at| one(at).err()).collect();
    match failures.first() {
        None => Ok(states.finish()),
        Some(first) => {
            let mut others = failures.iter().cloned();
            let next = |_| others.next().map_or(Ok(()), Err);
            Err(all_at_fault(failures.len(), first.clone(), next))
        }
    }
}

/// Ready replicas as authors see them.
fn known(ready: f64) -> Option<f64> {
    (!ready.is_nan()).then_some(ready)
}

/// The one way in which decisions are made, with `told` as long as the batch if somebody reads.
fn run<P: Together>(seen: &Batch, told: Option<&mut [Explanation]>) -> Result<Decisions, Failure> {
    let targets = seen.causes_of.len();
    same_length("params-of", seen.params_of.len(), targets)?;
    same_length("groups", seen.groups.len(), targets)?;
    same_length("states", seen.states.ends.len(), targets)?;
    if !seen.inputs.len().is_multiple_of(targets) {
        let entries = seen.inputs.len();
        return Err(failure(format!("inputs has {entries} entries for {targets} targets")));
    }
    let params = Params::<P::Params>::decode(&seen.params);
    decide_all::<P>(seen, &params, told).map_err(|first| {
        let mut states = StateReader::new(&seen.states);
        all_at_fault(targets, first, |at| {
            let bytes = states.next(at);
            params.of(at, seen.params_of[at])?;
            decode_state::<P::State>(at, bytes?).map(drop)
        })
    })
}

/// Decides for one target, service or tenant after the other, and gives up at the first that is at fault.
fn decide_all<P: Together>(
    seen: &Batch,
    params: &Params<P::Params>,
    mut told: Option<&mut [Explanation]>,
) -> Result<Decisions, Failure> {
    let targets = seen.causes_of.len();
    let columns = params.outputs;
    let mut states = StateReader::new(&seen.states);
    let mut answer = Answer {
        wanted: Vec::with_capacity(targets),
        apply: Vec::with_capacity(targets),
        next_at_ms: Vec::with_capacity(targets),
        outputs: vec![f64::NAN; columns * targets],
        states: StateWriter::with_capacity(targets, seen.states.bytes.len() + 8 * targets),
    };
    let mut row = vec![f64::NAN; columns * targets.min(1)];
    let mut start = 0;
    while start < targets {
        let end = match P::SCOPE {
            Scope::Target => start + 1,
            Scope::Group => {
                let others = &seen.groups[start..];
                start + others.iter().take_while(|group| **group == others[0]).count()
            }
            Scope::Tenant => targets,
        };
        let told = told.as_deref_mut().map(|told| &mut told[start..end]);
        if let Scope::Target = P::SCOPE {
            // The path that counts: nothing is allocated for a target.
            row.fill(f64::NAN);
            let mut target = Target::<P> {
                params: params.of(start, seen.params_of[start])?,
                state: decode_state(start, states.next(start)?)?,
                seen: Seen::of(seen, start),
                notes: Notes::new(&mut row, told.and_then(|told| told.first_mut())),
                decision: Decision::hold(),
            };
            P::decide(std::slice::from_mut(&mut target));
            let Target { state, decision, .. } = target;
            answer.push(start, targets, decision, &row, &state)?;
        } else {
            together::<P>(seen, start..end, params, &mut states, told, &mut answer)?;
        }
        start = end;
    }
    Ok(Decisions {
        wanted: answer.wanted,
        apply: answer.apply,
        next_at_ms: answer.next_at_ms,
        outputs: answer.outputs,
        states: answer.states.finish(),
    })
}

/// Decides for a run of targets in one call of the policy.
fn together<P: Together>(
    seen: &Batch,
    range: std::ops::Range<usize>,
    params: &Params<P::Params>,
    states: &mut StateReader<'_>,
    told: Option<&mut [Explanation]>,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let columns = params.outputs;
    let start = range.start;
    let mut rows = vec![f64::NAN; columns * range.len()];
    let mut unused = rows.as_mut_slice();
    let mut told = told.map(|told| told.iter_mut());
    let mut targets = Vec::with_capacity(range.len());
    for at in range.clone() {
        let (row, rest) = std::mem::take(&mut unused).split_at_mut(columns);
        unused = rest;
        targets.push(Target::<P> {
            params: params.of(at, seen.params_of[at])?,
            state: decode_state(at, states.next(at)?)?,
            seen: Seen::of(seen, at),
            notes: Notes::new(row, told.as_mut().and_then(Iterator::next)),
            decision: Decision::hold(),
        });
    }
    P::decide(&mut targets);
    let decided: Vec<(Decision, P::State)> =
        targets.into_iter().map(|target| (target.decision, target.state)).collect();
    for (nth, (decision, state)) in decided.iter().enumerate() {
        let row = &rows[nth * columns..(nth + 1) * columns];
        answer.push(start + nth, seen.causes_of.len(), *decision, row, state)?;
    }
    Ok(())
}

/// The columns of the answer while they grow.
struct Answer {
    wanted: Vec<u32>,
    apply: Vec<bool>,
    next_at_ms: Vec<u64>,
    outputs: Vec<f64>,
    states: StateWriter,
}

impl Answer {
    fn push<S: serde::Serialize>(
        &mut self,
        at: usize,
        targets: usize,
        decision: Decision,
        row: &[f64],
        state: &S,
    ) -> Result<(), Failure> {
        self.wanted.push(decision.wanted);
        self.apply.push(decision.apply);
        self.next_at_ms.push(decision.next_at_ms);
        for (column, value) in row.iter().enumerate() {
            self.outputs[column * targets + at] = *value;
        }
        self.states.push(at, state)
    }
}
