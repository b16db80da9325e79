//! Finds whoever is at fault in a batch that failed, and gets the others their decisions, all within the fuel of one batch. Pure:
//! it is handed the call. Groups are never split, and a tenant's batch fails whole.

use std::collections::{BTreeSet, VecDeque};

use super::limits::Limits;
use super::told::count;
use super::wire::{Batch, Decisions, Scope, States};
use super::{Answer, CallError, CallErrorKind};

/// Fuel that each further call is charged beside what it uses, and more for each target: what a fresh instance and copies cost in
/// time. It keeps a policy that fails at once, always, from being asked without end.
const COST_OF_ASKING: u64 = 500;
const COST_OF_ASKING_PER_TARGET: u64 = 20;

/// Decides for a batch of which `columns` outputs come back, and `columns_of` it from a part. `call` asks the policy with at most
/// that much fuel; it returns what it gave and the fuel it took.
///
/// If the batch fails and the policy names who is at fault, it is asked again without all of them. Otherwise the batch is taken apart, first
/// into about as many parts as each has targets, then those parts that failed into single ones. An endless loop burns all that
/// it is given, so the calls are given less than all: see [`first_share`] and [`later_share`].
pub(super) fn decide(
    seen: &Batch,
    columns: usize,
    scope: Scope,
    limits: &Limits,
    columns_of: impl Fn(&Batch) -> usize,
    mut call: impl FnMut(&Batch, u64) -> (Result<Decisions, CallError>, u64),
) -> Answer {
    let n = seen.params_of.len();
    let budget = limits.fuel(n);
    let all: Vec<u32> = (0..n as u32).collect();
    let is_one = is_one_unit(seen, scope, &all);
    let (answered, took) = call(seen, if is_one { budget } else { first_share(limits, n) });
    let error = match answered.and_then(|decisions| checked(decisions, n, columns)) {
        Ok(decisions) => return Answer { decisions, failed: Vec::new(), fuel: took },
        Err(error) => error,
    };

    let mut fuel = took;
    let mut merged = Merged::new(n, columns);
    // Part by part in turn: whoever is in good company is decided before fuel is spent on finding out more about the bad.
    let mut undecided = VecDeque::new();
    blame(seen, scope, all, error, &mut undecided, &mut merged.failed);
    while let Some(positions) = undecided.pop_front() {
        let m = positions.len();
        fuel += COST_OF_ASKING + COST_OF_ASKING_PER_TARGET * m as u64;
        let left = budget.saturating_sub(fuel);
        if left == 0 {
            let message = format!(
                "it was not asked about alone: the fuel of {} was spent on finding who is at fault",
                count(budget)
            );
            let error = CallError { kind: CallErrorKind::NotAsked, culprits: Vec::new(), message };
            merged.failed.extend(positions.into_iter().map(|at| (at, error.clone())));
            continue;
        }
        let others: usize = undecided.iter().map(Vec::len).sum();
        let part = part(seen, &positions);
        let (answered, took) = call(&part, later_share(limits, m, m + others, left));
        fuel += took;
        match answered.and_then(|decisions| checked(decisions, m, columns_of(&part))) {
            Ok(decisions) => merged.take(positions, decisions),
            Err(error) => {
                blame(seen, scope, positions, error, &mut undecided, &mut merged.failed);
            }
        }
    }
    merged.finish(fuel.min(budget))
}

/// Fuel of the call for the whole batch: half of what its targets bring, and a quarter of what it has anyway. The built-in
/// policies take less than half of that.
fn first_share(limits: &Limits, targets: usize) -> u64 {
    limits.fuel / 4 + limits.fuel_per_target.saturating_mul(targets as u64) / 2
}

/// Fuel of a call for `m` of the `undecided` targets: half of their share of what is left, but never so little that a policy
/// like the built-in ones could not decide. With this, several targets that loop among a thousand are found, and one among ten.
fn later_share(limits: &Limits, m: usize, undecided: usize, left: u64) -> u64 {
    let least = limits.fuel / 100 * 15 + limits.fuel_per_target / 4 * m as u64;
    let fair = left / undecided as u64 * m as u64 / 2;
    least.max(fair).min(left)
}

/// After a call about `positions` failed: who failed for good, and about whom to ask again.
fn blame(
    seen: &Batch,
    scope: Scope,
    positions: Vec<u32>,
    error: CallError,
    undecided: &mut VecDeque<Vec<u32>>,
    failed: &mut Vec<(u32, CallError)>,
) {
    // By position in the whole batch. Whom the call was not about is nobody.
    let named: BTreeSet<u32> =
        error.culprits.iter().filter_map(|&at| positions.get(at as usize).copied()).collect();
    let error = CallError { culprits: Vec::new(), ..error };
    let told = |at: u32| {
        let culprits = named.contains(&at).then_some(at).into_iter().collect();
        (at, CallError { culprits, ..error.clone() })
    };
    if is_one_unit(seen, scope, &positions) {
        failed.extend(positions.into_iter().map(told));
        return;
    }
    if !named.is_empty() {
        let units: BTreeSet<u32> = named.iter().map(|&at| unit(seen, scope, at)).collect();
        let (theirs, others): (Vec<u32>, Vec<u32>) =
            positions.into_iter().partition(|&at| units.contains(&unit(seen, scope, at)));
        failed.extend(theirs.into_iter().map(told));
        if !others.is_empty() {
            undecided.push_back(others);
        }
        return;
    }
    let size = positions.len().isqrt();
    let mut part: Vec<u32> = Vec::new();
    for together in
        positions.chunk_by(|&one, &other| unit(seen, scope, one) == unit(seen, scope, other))
    {
        if !part.is_empty() && part.len() + together.len() > size {
            undecided.push_back(std::mem::take(&mut part));
        }
        part.extend_from_slice(together);
    }
    undecided.push_back(part);
}

/// The same number for what must be asked about together.
fn unit(seen: &Batch, scope: Scope, at: u32) -> u32 {
    match scope {
        Scope::Target => at,
        Scope::Group => seen.groups[at as usize],
        Scope::Tenant => 0,
    }
}

/// Whether `positions` cannot be asked about apart.
fn is_one_unit(seen: &Batch, scope: Scope, positions: &[u32]) -> bool {
    positions.windows(2).all(|pair| unit(seen, scope, pair[0]) == unit(seen, scope, pair[1]))
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

/// Decisions that are as long as they must be.
fn checked(decisions: Decisions, n: usize, columns: usize) -> Result<Decisions, CallError> {
    for (what, found) in [
        ("decisions", decisions.wanted.len()),
        ("flags `apply`", decisions.apply.len()),
        ("times `next-at-ms`", decisions.next_at_ms.len()),
    ] {
        if found != n {
            return Err(malformed(format!("it gave {found} {what} for {}", targets(n))));
        }
    }
    let entries = decisions.outputs.len();
    if entries != columns * n {
        let of = targets(n);
        return Err(malformed(format!(
            "it gave {entries} output values for {of}, which is not {columns} each"
        )));
    }
    checked_states(&decisions.states, n)?;
    Ok(decisions)
}

/// State of one target, which the host keeps. Bytes.
const STATE_AT_MOST: u32 = 16 << 10;

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
        if end - start > STATE_AT_MOST {
            let length = end - start;
            return Err(CallError {
                culprits: vec![at as u32],
                ..malformed(format!("state {at} has {length} bytes, more than {STATE_AT_MOST}"))
            });
        }
        start = end;
    }
    Ok(())
}

pub(super) fn malformed(message: String) -> CallError {
    CallError { kind: CallErrorKind::Malformed, culprits: Vec::new(), message }
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

#[cfg(test)]
mod tests;
