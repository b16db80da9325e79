//! Finds whoever is at fault in a batch that failed, and gets the others their decisions, all within the fuel of one batch. Pure:
//! it is handed the call. Groups are never split, and a tenant's batch fails whole.

use super::limits::Limits;
use super::wire::{Batch, Decisions, Scope, States};
use super::{Answer, CallError, CallErrorKind};

/// Fuel that each further call is charged beside what it uses: what a fresh instance costs in time. It keeps a policy that fails
/// at once, always, from being asked without end.
const COST_OF_ASKING: u64 = 2_500;

/// Decides for a batch. `call` asks the policy with at most that much fuel; it returns what it gave and the fuel it took.
///
/// The first call gets half of the fuel, unless there is nothing to isolate. Of the rest, each further call gets an eighth of what
/// a batch of its size would: four targets that loop among a thousand are found, and the others decided.
pub(super) fn decide(
    seen: &Batch,
    columns: usize,
    scope: Scope,
    limits: &Limits,
    mut call: impl FnMut(&Batch, u64) -> (Result<Decisions, CallError>, u64),
) -> Answer {
    let n = seen.params_of.len();
    let all: Vec<u32> = (0..n as u32).collect();
    let budget = limits.fuel(n);
    let is_one = units(seen, scope, &all) <= 1;
    let (answered, took) = call(seen, if is_one { budget } else { budget / 2 });
    let error = match answered.and_then(|decisions| checked(decisions, n, columns, true)) {
        Ok(decisions) => return Answer { decisions, failed: Vec::new(), fuel: took },
        Err(error) => error,
    };

    let mut merged = Merged::new(n, columns);
    let mut fuel = took;
    let mut undecided = vec![];
    blame(seen, scope, all, error, &mut undecided, &mut merged.failed);
    while let Some(positions) = undecided.pop() {
        fuel = fuel.saturating_add(COST_OF_ASKING);
        let left = budget.saturating_sub(fuel);
        if left == 0 {
            fuel = budget;
            let message = format!(
                "it was not decided about: the fuel of {budget} was spent on finding who is at fault"
            );
            let error = CallError { kind: CallErrorKind::OutOfFuel, culprit: None, message };
            merged.failed.extend(positions.into_iter().map(|at| (at, error.clone())));
            continue;
        }
        let part = part(seen, &positions);
        let (answered, took) = call(&part, left.min(limits.fuel(positions.len()) / 8));
        fuel = fuel.saturating_add(took);
        match answered.and_then(|decisions| checked(decisions, positions.len(), columns, false)) {
            Ok(decisions) => merged.take(positions, decisions),
            Err(error) => {
                blame(seen, scope, positions, error, &mut undecided, &mut merged.failed);
            }
        }
    }
    merged.finish(fuel)
}

/// After a call about `positions` failed: who failed for good, and about whom to ask again.
fn blame(
    seen: &Batch,
    scope: Scope,
    positions: Vec<u32>,
    mut error: CallError,
    undecided: &mut Vec<Vec<u32>>,
    failed: &mut Vec<(u32, CallError)>,
) {
    let named = error.culprit.and_then(|at| positions.get(at as usize).copied());
    error.culprit = named;
    if units(seen, scope, &positions) <= 1 {
        failed.extend(positions.into_iter().map(|at| (at, error.clone())));
        return;
    }
    if let Some(culprit) = named {
        let (its, others): (Vec<u32>, Vec<u32>) =
            positions.into_iter().partition(|&at| is_together(seen, scope, at, culprit));
        failed.extend(its.into_iter().map(|at| (at, error.clone())));
        undecided.push(others);
        return;
    }
    // The boundary of two units that is nearest to the middle.
    let middle = positions.len() / 2;
    let is_boundary = |at: &usize| !is_together(seen, scope, positions[*at - 1], positions[*at]);
    let boundary = (1..positions.len())
        .filter(is_boundary)
        .min_by_key(|at| at.abs_diff(middle))
        .expect("two units have a boundary");
    let mut first = positions;
    let second = first.split_off(boundary);
    undecided.push(second);
    undecided.push(first);
}

fn is_together(seen: &Batch, scope: Scope, one: u32, other: u32) -> bool {
    match scope {
        Scope::Target => one == other,
        Scope::Group => seen.groups[one as usize] == seen.groups[other as usize],
        Scope::Tenant => true,
    }
}

/// How many parts `positions` could be asked about in: at most two are counted.
fn units(seen: &Batch, scope: Scope, positions: &[u32]) -> usize {
    let is_boundary = |pair: &&[u32]| !is_together(seen, scope, pair[0], pair[1]);
    positions.len().min(1) + positions.windows(2).filter(is_boundary).take(1).count()
}

/// The part of a batch that is about `positions`, with the params that these have and no others: bad params may be what fails.
fn part(seen: &Batch, positions: &[u32]) -> Batch {
    let n = seen.params_of.len();
    let columns = seen.inputs.len().checked_div(n).unwrap_or(0);
    let mut part = Batch {
        at_ms: seen.at_ms,
        causes_of: Vec::with_capacity(positions.len()),
        params: Vec::new(),
        params_of: Vec::with_capacity(positions.len()),
        groups: Vec::with_capacity(positions.len()),
        states: States { bytes: Vec::new(), ends: Vec::with_capacity(positions.len()) },
        inputs: Vec::with_capacity(columns * positions.len()),
        words: seen.words.clone(),
    };
    let mut moved = vec![None; seen.params.len()];
    for at in positions.iter().map(|at| *at as usize) {
        part.causes_of.push(seen.causes_of[at]);
        part.groups.push(seen.groups[at]);
        let of = seen.params_of[at] as usize;
        let of = *moved[of].get_or_insert_with(|| {
            part.params.push(seen.params[of].clone());
            part.params.len() as u32 - 1
        });
        part.params_of.push(of);
        part.states.bytes.extend_from_slice(state_of(&seen.states, at));
        part.states.ends.push(part.states.bytes.len() as u32);
    }
    for column in 0..columns {
        part.inputs.extend(positions.iter().map(|at| seen.inputs[column * n + *at as usize]));
    }
    part
}

/// The state bytes of target `at`; ends that are out of order are checked where they come in.
fn state_of(states: &States, at: usize) -> &[u8] {
    let start = at.checked_sub(1).map_or(0, |before| states.ends[before] as usize);
    states.bytes.get(start..states.ends[at] as usize).unwrap_or_default()
}

/// Decisions that are as long as they must be. A part of a batch may have fewer columns of outputs than the whole: those of its
/// own programs.
fn checked(
    decisions: Decisions,
    n: usize,
    columns: usize,
    is_whole: bool,
) -> Result<Decisions, CallError> {
    let entries = decisions.outputs.len();
    let are_outputs_good = if is_whole {
        entries == columns * n
    } else {
        n > 0 && entries.is_multiple_of(n) && entries / n <= columns
    };
    for (what, found) in [
        ("decisions", decisions.wanted.len()),
        ("flags `apply`", decisions.apply.len()),
        ("times `next-at-ms`", decisions.next_at_ms.len()),
    ] {
        if found != n {
            return Err(malformed(format!("it gave {found} {what} for {}", targets(n))));
        }
    }
    if !are_outputs_good {
        let message =
            format!("it gave {entries} output values for {} and {columns} columns", targets(n));
        return Err(malformed(message));
    }
    checked_states(&decisions.states, n)?;
    Ok(decisions)
}

/// States as many as there are targets, each of which ends where the next one begins.
pub(super) fn checked_states(states: &States, n: usize) -> Result<(), CallError> {
    if states.ends.len() != n {
        let message = format!("it gave {} states for {}", states.ends.len(), targets(n));
        return Err(malformed(message));
    }
    let mut start = 0;
    for (at, &end) in states.ends.iter().enumerate() {
        if end < start || end as usize > states.bytes.len() {
            let length = states.bytes.len();
            return Err(malformed(format!(
                "state {at} is said to be bytes {start} to {end} of {length}"
            )));
        }
        start = end;
    }
    Ok(())
}

pub(super) fn malformed(message: String) -> CallError {
    CallError { kind: CallErrorKind::Malformed, culprit: None, message }
}

pub(super) fn targets(n: usize) -> String {
    if n == 1 { "1 target".to_owned() } else { format!("{n} targets") }
}

/// Decisions of several calls, put together in the order of the batch.
struct Merged {
    columns: usize,
    parts: Vec<Decisions>,
    /// For each target, the part that decided about it and its position there.
    from: Vec<Option<(usize, usize)>>,
    failed: Vec<(u32, CallError)>,
}

impl Merged {
    fn new(n: usize, columns: usize) -> Merged {
        Merged { columns, parts: Vec::new(), from: vec![None; n], failed: Vec::new() }
    }

    fn take(&mut self, positions: Vec<u32>, decisions: Decisions) {
        for (nth, at) in positions.into_iter().enumerate() {
            self.from[at as usize] = Some((self.parts.len(), nth));
        }
        self.parts.push(decisions);
    }

    fn finish(mut self, fuel: u64) -> Answer {
        let n = self.from.len();
        let mut whole = Decisions {
            wanted: Vec::with_capacity(n),
            apply: Vec::with_capacity(n),
            next_at_ms: Vec::with_capacity(n),
            outputs: vec![f64::NAN; n * self.columns],
            states: States { bytes: Vec::new(), ends: Vec::with_capacity(n) },
        };
        for (at, from) in self.from.iter().enumerate() {
            if let Some((part, nth)) = *from {
                let part = &self.parts[part];
                whole.wanted.push(part.wanted[nth]);
                whole.apply.push(part.apply[nth]);
                whole.next_at_ms.push(part.next_at_ms[nth]);
                let length = part.wanted.len();
                for (column, values) in part.outputs.chunks_exact(length).enumerate() {
                    whole.outputs[column * n + at] = values[nth];
                }
                whole.states.bytes.extend_from_slice(state_of(&part.states, nth));
            } else {
                whole.wanted.push(0);
                whole.apply.push(false);
                whole.next_at_ms.push(0);
            }
            whole.states.ends.push(whole.states.bytes.len() as u32);
        }
        self.failed.sort_by_key(|(at, _)| *at);
        Answer { decisions: whole, failed: self.failed, fuel }
    }
}
