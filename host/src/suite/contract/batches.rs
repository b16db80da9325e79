//! Batches taken apart and put together otherwise, and what differs between two answers.

use crate::policy::wire::{Batch, Decisions, States};

pub(super) fn targets(seen: &Batch) -> usize {
    seen.params_of.len()
}

/// The targets at `positions`, in that order.
pub(super) fn select(seen: &Batch, positions: &[u32]) -> Batch {
    let n = targets(seen);
    let of = |list: &[u32]| positions.iter().map(|&at| list[at as usize]).collect();
    let mut states = States { bytes: Vec::new(), ends: Vec::new() };
    for &at in positions {
        states.bytes.extend_from_slice(state(&seen.states, at as usize));
        states.ends.push(states.bytes.len() as u32);
    }
    let columns = seen.inputs.chunks(n.max(1));
    Batch {
        at_ms: seen.at_ms,
        causes_of: positions.iter().map(|&at| seen.causes_of[at as usize]).collect(),
        params: seen.params.clone(),
        params_of: of(&seen.params_of),
        groups: of(&seen.groups),
        states,
        inputs: columns
            .flat_map(|column| positions.iter().map(|&at| column[at as usize]))
            .collect(),
        words: seen.words.clone(),
    }
}

/// The last target first, and for each position of that where it was.
pub(super) fn reversed(seen: &Batch) -> (Batch, Vec<u32>) {
    let order: Vec<u32> = (0..targets(seen) as u32).rev().collect();
    (select(seen, &order), order)
}

/// Decisions about targets in `order` as they stand in the order of positions.
pub(super) fn rearranged(decided: &Decisions, order: &[u32], columns: usize) -> Decisions {
    let n = order.len();
    let mut at = vec![0; n];
    for (now, before) in order.iter().enumerate() {
        at[*before as usize] = now;
    }
    let mut states = States { bytes: Vec::new(), ends: Vec::new() };
    for &now in &at {
        states.bytes.extend_from_slice(state(&decided.states, now));
        states.ends.push(states.bytes.len() as u32);
    }
    Decisions {
        wanted: at.iter().map(|&now| decided.wanted[now]).collect(),
        apply: at.iter().map(|&now| decided.apply[now]).collect(),
        next_at_ms: at.iter().map(|&now| decided.next_at_ms[now]).collect(),
        outputs: (0..columns)
            .flat_map(|column| at.iter().map(move |&now| decided.outputs[column * n + now]))
            .collect(),
        states,
    }
}

/// Batches of one target each as one batch, at the time of the first, each target a service of its own.
pub(super) fn joined(single: &[(&Batch, usize)]) -> (Batch, usize) {
    let n = single.len();
    let columns = single.iter().map(|(seen, _)| seen.inputs.len()).max().unwrap_or(0);
    let mut all = Batch {
        at_ms: single.iter().map(|(seen, _)| seen.at_ms).max().unwrap_or(0),
        causes_of: Vec::new(),
        params: Vec::new(),
        params_of: Vec::new(),
        groups: (0..n as u32).collect(),
        states: States { bytes: Vec::new(), ends: Vec::new() },
        inputs: vec![f64::NAN; columns * n],
        words: Vec::new(),
    };
    for (i, (seen, _)) in single.iter().enumerate() {
        all.causes_of.extend_from_slice(&seen.causes_of);
        let params = &seen.params[seen.params_of[0] as usize];
        let known = all.params.iter().position(|known| known == params);
        let position = known.unwrap_or_else(|| {
            all.params.push(params.clone());
            all.params.len() - 1
        });
        all.params_of.push(position as u32);
        all.states.bytes.extend_from_slice(state(&seen.states, 0));
        all.states.ends.push(all.states.bytes.len() as u32);
        for (column, value) in seen.inputs.iter().enumerate() {
            all.inputs[column * n + i] = *value;
        }
    }
    (all, single.iter().map(|(_, columns)| *columns).max().unwrap_or(0))
}

fn state(states: &States, at: usize) -> &[u8] {
    let start = if at == 0 { 0 } else { states.ends[at - 1] as usize };
    &states.bytes[start..states.ends[at] as usize]
}

/// All that was decided about one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    wanted: u32,
    is_applied: bool,
    next_at_ms: u64,
    outputs: Vec<u64>,
    state: Vec<u8>,
}

/// What was decided about the target at a position, with its first `columns` outputs.
pub(super) fn of_target(decided: &Decisions, at: usize, columns: usize) -> Decided {
    let n = decided.wanted.len();
    Decided {
        wanted: decided.wanted[at],
        is_applied: decided.apply[at],
        next_at_ms: decided.next_at_ms[at],
        outputs: (0..columns).map(|column| decided.outputs[column * n + at].to_bits()).collect(),
        state: state(&decided.states, at).to_vec(),
    }
}

/// The first target about which two answers differ.
#[derive(Debug)]
pub(super) struct First {
    pub(super) at_ms: u64,
    pub(super) one: Decided,
    pub(super) other: Decided,
}

impl First {
    /// Where two answers to one batch differ first.
    pub(super) fn difference(
        seen: &Batch,
        columns: usize,
        one: &Decisions,
        other: &Decisions,
    ) -> Option<First> {
        (0..targets(seen)).find_map(|at| {
            let (one, other) = (of_target(one, at, columns), of_target(other, at, columns));
            (one != other).then_some(First { at_ms: seen.at_ms, one, other })
        })
    }

    /// For people: what each of the two says.
    pub(super) fn told(&self, one: &str, other: &str) -> String {
        let (a, b) = (&self.one, &self.other);
        let what = if a.wanted != b.wanted {
            format!("it wants {} {one} and {} {other}", a.wanted, b.wanted)
        } else if a.is_applied != b.is_applied {
            let told = |is_applied| if is_applied { "decides" } else { "holds" };
            format!("it {} {one} and {} {other}", told(a.is_applied), told(b.is_applied))
        } else if a.outputs != b.outputs {
            let values = |outputs: &[u64]| {
                outputs
                    .iter()
                    .map(|bits| f64::from_bits(*bits).to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            format!(
                "it gives outputs {} {one} and {} {other}",
                values(&a.outputs),
                values(&b.outputs)
            )
        } else if a.next_at_ms != b.next_at_ms {
            format!(
                "its decision stands until {} ms {one} and {} ms {other}",
                a.next_at_ms, b.next_at_ms
            )
        } else {
            format!("the state that it leaves is another {one} and {other}")
        };
        format!("{what} (at {} ms)", self.at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::wire::Causes;

    fn batch() -> Batch {
        Batch {
            at_ms: 7,
            causes_of: vec![Causes::TICK, Causes::POKE, Causes::CHANGE],
            params: vec![vec![1], vec![2]],
            params_of: vec![0, 1, 0],
            groups: vec![0, 1, 2],
            states: States { bytes: b"abbccc".to_vec(), ends: vec![1, 3, 6] },
            inputs: vec![1.0, 2.0, 3.0, 10.0, 20.0, 30.0],
            words: Vec::new(),
        }
    }

    #[test]
    fn a_batch_taken_apart_and_joined_is_the_batch_again() {
        let parts: Vec<Batch> = (0..3).map(|at| select(&batch(), &[at])).collect();
        assert_eq!(parts[1].inputs, [2.0, 20.0]);
        assert_eq!(parts[1].states.bytes, b"bb");
        let (whole, columns) = joined(&parts.iter().zip(1..).collect::<Vec<_>>());
        assert_eq!((whole, columns), (batch(), 3));
    }

    #[test]
    fn what_is_reversed_and_rearranged_stands_where_it_stood() {
        let (turned, order) = reversed(&batch());
        assert_eq!(turned.inputs, [3.0, 2.0, 1.0, 30.0, 20.0, 10.0]);
        assert_eq!(turned.states, States { bytes: b"cccbba".to_vec(), ends: vec![3, 5, 6] });
        let decided = Decisions {
            wanted: vec![3, 2, 1],
            apply: vec![true, false, true],
            next_at_ms: vec![30, 20, 10],
            outputs: turned.inputs.clone(),
            states: turned.states.clone(),
        };
        let again = rearranged(&decided, &order, 2);
        assert_eq!((again.wanted, again.next_at_ms), (vec![1, 2, 3], vec![10, 20, 30]));
        assert_eq!((again.outputs, again.states), (batch().inputs, batch().states));
    }
}
