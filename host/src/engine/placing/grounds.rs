//! What placement policies are shown: the nodes, what is free on them, and replicas on their way in or out, as columns. It does not
//! ask anybody.

use std::collections::{BTreeMap, BTreeSet};

use super::Placer;
use crate::engine::fleet::{Node, NodeId, Resources, TaintEffect};
use crate::engine::replicas::Replica;
use crate::engine::target::{ReplicaId, Target};
use crate::engine::words::Words;
use crate::policy::wire::{self, Candidates, Nodes, Replicas, Request};
use crate::time::Time;

/// How the contract says that a candidate is on no node that there is.
const NO_NODE: u32 = u32::MAX;

/// The nodes and what is known of them.
pub(in crate::engine) struct Grounds {
    pub(in crate::engine) nodes: Vec<Node>,
    pub(super) free: Vec<Resources>,
    /// Labels, taints and names of the nodes as columns; facts are filled in for each call.
    columns: Nodes,
    words: Words,
    /// The services of which replicas were started on each node: their weights are taken to be cached there.
    pub(in crate::engine) started: Vec<BTreeSet<String>>,
}

impl Grounds {
    pub(super) fn new() -> Grounds {
        let (nodes, free, started, words) = Default::default();
        Grounds { nodes, free, columns: empty_columns(), words, started }
    }

    /// Takes in the nodes there are now. Returns, for each node of before, where it is now.
    pub(in crate::engine) fn see_nodes(&mut self, nodes: &[Node]) -> Vec<Option<NodeId>> {
        let now_at: BTreeMap<&str, u32> =
            nodes.iter().map(|node| node.name.as_str()).zip(0..).collect();
        let moved: Vec<Option<NodeId>> = self
            .nodes
            .iter()
            .map(|node| now_at.get(node.name.as_str()).map(|&position| NodeId(position)))
            .collect();
        let mut started = vec![BTreeSet::new(); nodes.len()];
        for (services, node) in std::mem::take(&mut self.started).into_iter().zip(&moved) {
            if let Some(node) = node {
                started[node.index()] = services;
            }
        }
        self.started = started;
        self.nodes = nodes.to_vec();
        self.words = Words::default();
        self.columns = columns(&self.nodes, &mut self.words);
        moved
    }

    /// Notes that a replica of `service` starts on a node.
    pub(super) fn start(&mut self, service: &str, node: NodeId) {
        let services = &mut self.started[node.index()];
        if !services.contains(service) {
            services.insert(service.to_owned());
        }
    }

    pub(super) fn is_cached(&self, service: &str, node: NodeId) -> bool {
        self.started[node.index()].contains(service)
    }

    /// Counts afresh what the replicas leave free.
    pub(super) fn count_free(&mut self, targets: &[Target]) {
        self.free.clear();
        self.free.extend(self.nodes.iter().map(|node| node.allocatable));
        for target in targets {
            for node in target.replicas.iter().filter_map(Replica::node) {
                if let Some(free) = self.free.get_mut(node.index()) {
                    take(free, &target.spec.needs);
                }
            }
        }
    }

    /// What `placer` is asked about `pending`.
    pub(super) fn request(
        &self,
        placer: &Placer,
        now: Time,
        pending: &[ReplicaId],
        targets: &[Target],
    ) -> Request {
        let of = |id: &ReplicaId| &targets[id.target.index()];
        let mut facts = Vec::new();
        for column in &placer.columns.replicas {
            facts.extend(
                pending.iter().map(|id| column.map_or(f64::NAN, |column| column.read(of(id)))),
            );
        }
        let mut pairs = Vec::new();
        for column in &placer.columns.pairs {
            for id in pending {
                let read = |node| {
                    column.map_or(f64::NAN, |column| column.read(self, of(id), NodeId(node)))
                };
                pairs.extend((0..self.nodes.len() as u32).map(read));
            }
        }
        let (params, params_of) = placer.params(pending, targets);
        Request {
            at_ms: now.0,
            words: self.words.list().to_vec(),
            nodes: self.node_columns(placer),
            replicas: Replicas { params, params_of, facts, pairs },
        }
    }

    /// What `placer` is asked about the replicas `of` choices, of each of which some leave.
    pub(super) fn candidates(
        &self,
        placer: &Placer,
        now: Time,
        of: &[(usize, ReplicaId)],
        leaving: Vec<u32>,
        targets: &[Target],
    ) -> Candidates {
        let ids: Vec<ReplicaId> = of.iter().map(|(_, id)| *id).collect();
        let replicas: Vec<Option<&Replica>> = ids
            .iter()
            .map(|id| {
                let its = &targets[id.target.index()].replicas;
                its.iter().find(|replica| replica.ordinal == id.ordinal)
            })
            .collect();
        let mut facts = Vec::new();
        for column in &placer.columns.candidates {
            facts.extend(replicas.iter().map(|replica| {
                column
                    .zip(*replica)
                    .map_or(f64::NAN, |(column, replica)| column.read(self, replica))
            }));
        }
        let node_of = replicas.iter().map(|replica| {
            let node = replica.and_then(Replica::node);
            node.filter(|node| node.index() < self.nodes.len()).map_or(NO_NODE, |node| node.0)
        });
        let (params, params_of) = placer.params(&ids, targets);
        Candidates {
            at_ms: now.0,
            words: self.words.list().to_vec(),
            nodes: self.node_columns(placer),
            params,
            params_of,
            node_of: node_of.collect(),
            choices: of.iter().map(|(choice, _)| *choice as u32).collect(),
            leaving,
            facts,
        }
    }

    fn node_columns(&self, placer: &Placer) -> Nodes {
        let mut nodes = self.columns.clone();
        for column in &placer.columns.nodes {
            let read = |node| column.map_or(f64::NAN, |column| column.read(self, NodeId(node)));
            nodes.facts.extend((0..self.nodes.len() as u32).map(read));
        }
        nodes
    }
}

/// Takes what a replica needs from what is free.
pub(super) fn take(free: &mut Resources, needs: &Resources) {
    free.cpu_milli = free.cpu_milli.saturating_sub(needs.cpu_milli);
    free.memory_bytes = free.memory_bytes.saturating_sub(needs.memory_bytes);
    free.gpus = free.gpus.saturating_sub(needs.gpus);
}

/// Gives back what a replica took.
pub(super) fn give(free: &mut Resources, needs: &Resources) {
    free.cpu_milli = free.cpu_milli.saturating_add(needs.cpu_milli);
    free.memory_bytes = free.memory_bytes.saturating_add(needs.memory_bytes);
    free.gpus = free.gpus.saturating_add(needs.gpus);
}

fn empty_columns() -> Nodes {
    Nodes {
        names: Vec::new(),
        label_keys: Vec::new(),
        label_values: Vec::new(),
        label_ends: Vec::new(),
        taint_keys: Vec::new(),
        taint_values: Vec::new(),
        taint_effects: Vec::new(),
        taint_ends: Vec::new(),
        facts: Vec::new(),
    }
}

fn columns(nodes: &[Node], words: &mut Words) -> Nodes {
    let mut columns = empty_columns();
    for node in nodes {
        columns.names.push(words.intern(&node.name));
        for (key, value) in &node.labels {
            columns.label_keys.push(words.intern(key));
            columns.label_values.push(words.intern(value));
        }
        columns.label_ends.push(columns.label_keys.len() as u32);
        for taint in &node.taints {
            columns.taint_keys.push(words.intern(&taint.key));
            columns.taint_values.push(words.intern(&taint.value));
            columns.taint_effects.push(match taint.effect {
                TaintEffect::NoSchedule => wire::TaintEffect::NoSchedule,
                TaintEffect::PreferNoSchedule => wire::TaintEffect::PreferNoSchedule,
                TaintEffect::NoExecute => wire::TaintEffect::NoExecute,
            });
        }
        columns.taint_ends.push(columns.taint_keys.len() as u32);
    }
    columns
}
