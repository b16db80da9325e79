//! Questions to a placement policy taken apart and put together otherwise.

use crate::policy::wire::{Candidates, Nodes, PlacementInput, Replicas, Request, Subject};

/// Entries of `list` at `positions`, column for column.
fn columns<T: Copy>(list: &[T], n: usize, positions: &[usize]) -> Vec<T> {
    let columns = list.chunks(n.max(1));
    columns.flat_map(|column| positions.iter().map(|&at| column[at])).collect()
}

/// The entries of several joined lists that belong to `positions`, and where each then ends.
fn joined<T: Copy>(list: &[T], ends: &[u32], positions: &[usize]) -> (Vec<T>, Vec<u32>) {
    let (mut all, mut now_ends) = (Vec::with_capacity(list.len()), Vec::with_capacity(ends.len()));
    for &at in positions {
        let begin = if at == 0 { 0 } else { ends[at - 1] as usize };
        all.extend_from_slice(&list[begin..ends[at] as usize]);
        now_ends.push(all.len() as u32);
    }
    (all, now_ends)
}

fn nodes_at(nodes: &Nodes, positions: &[usize]) -> Nodes {
    let (label_keys, label_ends) = joined(&nodes.label_keys, &nodes.label_ends, positions);
    let (label_values, _) = joined(&nodes.label_values, &nodes.label_ends, positions);
    let (taint_keys, taint_ends) = joined(&nodes.taint_keys, &nodes.taint_ends, positions);
    let (taint_values, _) = joined(&nodes.taint_values, &nodes.taint_ends, positions);
    let (taint_effects, _) = joined(&nodes.taint_effects, &nodes.taint_ends, positions);
    Nodes {
        names: columns(&nodes.names, nodes.names.len(), positions),
        label_keys,
        label_values,
        label_ends,
        taint_keys,
        taint_values,
        taint_effects,
        taint_ends,
        facts: columns(&nodes.facts, nodes.names.len(), positions),
    }
}

/// The same with its nodes in the order of `positions`.
pub(super) fn with_nodes(asked: &Request, positions: &[usize]) -> Request {
    Request {
        nodes: nodes_at(&asked.nodes, positions),
        replicas: Replicas {
            // Nodes are the innermost of the pairs' columns.
            pairs: columns(&asked.replicas.pairs, asked.nodes.names.len(), positions),
            ..asked.replicas.clone()
        },
        ..asked.clone()
    }
}

/// The same about the replicas at `positions`; one may stand there several times.
pub(super) fn with_replicas(asked: &Request, positions: &[usize]) -> Request {
    let (replicas, n) = (&asked.replicas, asked.nodes.names.len());
    let m = replicas.params_of.len();
    let of_column = replicas.pairs.chunks((m * n).max(1));
    let pairs = of_column
        .flat_map(|column| positions.iter().flat_map(|&at| &column[at * n..(at + 1) * n]))
        .copied()
        .collect();
    Request {
        replicas: Replicas {
            params: replicas.params.clone(),
            params_of: columns(&replicas.params_of, m, positions),
            facts: columns(&replicas.facts, m, positions),
            pairs,
        },
        ..asked.clone()
    }
}

/// The same about candidates in the order of `positions`.
pub(super) fn with_candidates(asked: &Candidates, positions: &[usize]) -> Candidates {
    let n = asked.choices.len();
    Candidates {
        params_of: columns(&asked.params_of, n, positions),
        node_of: columns(&asked.node_of, n, positions),
        choices: columns(&asked.choices, n, positions),
        facts: columns(&asked.facts, n, positions),
        ..asked.clone()
    }
}

/// The same with every text and every settings document at another position.
pub(super) fn renumbered(asked: &Request) -> Request {
    let mut anew = asked.clone();
    anew.words.reverse();
    let last = anew.words.len().saturating_sub(1) as u32;
    let Nodes { names, label_keys, label_values, taint_keys, taint_values, .. } = &mut anew.nodes;
    for words in [names, label_keys, label_values, taint_keys, taint_values] {
        words.iter_mut().for_each(|word| *word = last - *word);
    }
    anew.replicas.params.reverse();
    let last = anew.replicas.params.len().saturating_sub(1) as u32;
    anew.replicas.params_of.iter_mut().for_each(|of| *of = last - *of);
    anew
}

/// Positions of `n` in a few orders, the given one first.
pub(super) fn orders(n: usize) -> Vec<Vec<usize>> {
    let turned = |by: usize| (0..n).map(|at| (at + by) % n).collect::<Vec<_>>();
    let mut orders = vec![turned(0), (0..n).rev().collect(), turned(1), turned(n / 2)];
    orders.dedup();
    orders
}

/// A column of a placement policy, with where it is among those of its subject.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) subject: Subject,
    pub(super) name: String,
    pub(super) is_required: bool,
    pub(super) nth: usize,
}

/// The columns that `inputs` ask for.
pub(super) fn columns_of(inputs: &[PlacementInput]) -> Vec<Column> {
    let mut all: Vec<Column> = Vec::with_capacity(inputs.len());
    for input in inputs {
        let nth = all.iter().filter(|one| one.subject == input.subject).count();
        let (subject, name) = (input.subject, input.name.clone());
        all.push(Column { subject, name, is_required: input.required, nth });
    }
    all
}

/// The values of a column in `facts`, of which there are `n` to a column.
pub(super) fn values(facts: &mut [f64], nth: usize, n: usize) -> &mut [f64] {
    facts.get_mut(nth * n..(nth + 1) * n).unwrap_or_default()
}
