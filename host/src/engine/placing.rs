//! Asks the placement policy where new replicas go and which leave first, keeps count of what is free on the nodes, and refuses
//! choices that do not fit. It has never heard of signals or stages.

use std::collections::BTreeMap;

use super::chain::BindTargetError;
use super::fleet::{Node, NodeId, Resources, TaintEffect};
use super::plan::{Action, Plan, StageFailure, Unplaced};
use super::replicas::ReplicaState;
use super::target::{ReplicaId, Target, TargetId};
use super::words::Words;
use crate::policy::wire::{
    self, Candidates, Nodes, PlacementInput, PlacementProgram, Replicas, Request, Subject,
};
use crate::policy::{CallError, PlacementPolicy};
use crate::time::Time;

/// The name of the placement policy in reports.
pub const PLACEMENT: &str = "placement";

/// The fleet, the policy that places on it, and the one that does so when that fails.
pub(super) struct Placing {
    main: Placer,
    fallback: Option<Placer>,
    nodes: Vec<Node>,
    free: Vec<Resources>,
    /// Labels, taints and names of the nodes as columns; facts are filled in for each request.
    columns: Nodes,
    words: Words,
    /// On which nodes a service's replicas have been: their weights are cached there.
    cached: BTreeMap<(String, NodeId), ()>,
    /// Something may have made room since the policy was last asked.
    pub(super) is_stale: bool,
    /// What was last told of each target with replicas that found no place.
    unplaced: BTreeMap<TargetId, Unplaced>,
}

struct Placer {
    policy: Box<dyn PlacementPolicy>,
    inputs: Vec<PlacementInput>,
    programs: Vec<PlacementProgram>,
    by_settings: BTreeMap<String, u32>,
}

impl Placer {
    fn new(mut policy: Box<dyn PlacementPolicy>) -> Result<Placer, CallError> {
        let inputs = policy.inputs()?;
        Ok(Placer { policy, inputs, programs: Vec::new(), by_settings: BTreeMap::new() })
    }

    fn names(&self, subject: Subject) -> impl Iterator<Item = &str> {
        self.inputs
            .iter()
            .filter(move |input| input.subject == subject)
            .map(|input| input.name.as_str())
    }
}

impl Placing {
    pub(super) fn new(
        policy: Box<dyn PlacementPolicy>,
        fallback: Option<Box<dyn PlacementPolicy>>,
    ) -> Result<Placing, CallError> {
        Ok(Placing {
            main: Placer::new(policy)?,
            fallback: fallback.map(Placer::new).transpose()?,
            nodes: Vec::new(),
            free: Vec::new(),
            columns: empty_columns(),
            words: Words::default(),
            cached: BTreeMap::new(),
            is_stale: true,
            unplaced: BTreeMap::new(),
        })
    }

    pub(super) fn digest(&self) -> &str {
        self.main.policy.digest()
    }

    pub(super) fn fallback_digest(&self) -> Option<&str> {
        self.fallback.as_ref().map(|placer| placer.policy.digest())
    }

    /// Checks a target's constraints. Returns what is worth a warning.
    pub(super) fn bind(&mut self, target: &Target) -> Result<Vec<String>, BindTargetError> {
        let settings = &target.spec.placement_settings;
        let mut warnings = Vec::new();
        for placer in std::iter::once(&mut self.main).chain(&mut self.fallback) {
            if placer.by_settings.contains_key(settings) {
                continue;
            }
            let program =
                placer.policy.bind(settings).map_err(|source| BindTargetError::Settings {
                    target: target.spec.name.to_string(),
                    stage: PLACEMENT.to_owned(),
                    source,
                })?;
            warnings.extend(program.warnings.iter().map(|fault| {
                format!("{}: {PLACEMENT}: {}: {}", target.spec.name, fault.path, fault.message)
            }));
            placer.by_settings.insert(settings.clone(), placer.programs.len() as u32);
            placer.programs.push(program);
        }
        Ok(warnings)
    }

    /// Takes in the nodes there are now. Replicas keep their room by the names of their nodes; those on a node that is gone are
    /// the backend's to report. Returns, for each node of before, where it is now.
    pub(super) fn see_nodes(&mut self, nodes: &[Node]) -> Vec<Option<NodeId>> {
        let now_at: BTreeMap<&str, u32> =
            nodes.iter().map(|node| node.name.as_str()).zip(0..).collect();
        let moved: Vec<Option<NodeId>> = self
            .nodes
            .iter()
            .map(|node| now_at.get(node.name.as_str()).map(|&position| NodeId(position)))
            .collect();
        let cached = std::mem::take(&mut self.cached);
        self.cached = cached
            .into_keys()
            .filter_map(|(name, node)| Some(((name, moved[node.index()]?), ())))
            .collect();
        self.nodes = nodes.to_vec();
        self.words = Words::default();
        self.columns = columns(&self.nodes, &mut self.words);
        self.is_stale = true;
        moved
    }

    /// Counts afresh what the replicas leave free.
    fn count_free(&mut self, targets: &[Target]) {
        self.free.clear();
        self.free.extend(self.nodes.iter().map(|node| node.allocatable));
        for target in targets {
            for node in target.replicas.iter().filter_map(super::replicas::Replica::node) {
                if let Some(free) = self.free.get_mut(node.index()) {
                    take(free, &target.spec.needs);
                }
            }
        }
    }

    /// Gives pending replicas a place, as far as there is one. Longest waiting first. What finds none is told in the policy's words
    /// if somebody reads, once for as long as it stays the same.
    pub(super) fn place_pending(
        &mut self,
        now: Time,
        explains: bool,
        targets: &mut [Target],
        plan: &mut Plan,
    ) {
        let Plan { actions, failures, unplaced, .. } = plan;
        if !self.is_stale {
            return;
        }
        self.is_stale = false;
        let mut pending: Vec<(Time, ReplicaId)> = Vec::new();
        for (position, target) in
            targets.iter().enumerate().filter(|(_, target)| target.replicas.pending() > 0)
        {
            let waiting =
                target.replicas.iter().filter(|replica| replica.state == ReplicaState::Pending);
            let id = TargetId(position as u32);
            pending.extend(waiting.map(|replica| {
                (replica.since, ReplicaId { target: id, ordinal: replica.ordinal })
            }));
        }
        if pending.is_empty() {
            self.unplaced.clear();
            return;
        }
        pending.sort();
        self.count_free(targets);
        let pending: Vec<ReplicaId> = pending.into_iter().map(|(_, id)| id).collect();
        let request = self.request(&self.main, now, &pending, targets);
        let mut chosen = self
            .main
            .policy
            .place(&request)
            .and_then(|chosen| self.check(&pending, &chosen, targets).map(|()| chosen));
        if let Err(error) = &chosen {
            let instead = if self.fallback.is_some() { "fallback" } else { "hold" };
            failures.push(failure(&pending, error, instead));
            if let Some(fallback) = &self.fallback {
                let request = self.request(fallback, now, &pending, targets);
                let placed = self.fallback.as_mut().map(|fallback| fallback.policy.place(&request));
                chosen = placed
                    .unwrap_or(Ok(Vec::new()))
                    .and_then(|chosen| self.check(&pending, &chosen, targets).map(|()| chosen));
                if let Err(error) = &chosen {
                    failures.push(failure(&pending, error, "hold"));
                }
            }
        }
        let Ok(chosen) = chosen else { return };
        let mut left: BTreeMap<TargetId, (usize, u32)> = BTreeMap::new();
        for (position, (replica, _)) in
            pending.iter().zip(&chosen).enumerate().filter(|(_, (_, node))| node.is_none())
        {
            left.entry(replica.target).or_insert((position, 0)).1 += 1;
        }
        self.unplaced.retain(|target, _| left.contains_key(target));
        let explained = if explains && !left.is_empty() {
            self.main.policy.explain(&request).unwrap_or_default()
        } else {
            Vec::new()
        };
        for (target, (position, replicas)) in left {
            let reason = explained.get(position).map_or(String::new(), |told| told.reason.clone());
            let now = Unplaced { target, replicas, reason };
            if self.unplaced.get(&target) != Some(&now) {
                self.unplaced.insert(target, now.clone());
                unplaced.push(now);
            }
        }
        for (&replica, node) in pending.iter().zip(chosen) {
            let Some(node) = node else { continue };
            let node = NodeId(node);
            let target = &mut targets[replica.target.index()];
            target.replicas.place(replica.ordinal, node);
            self.cached.insert((target.spec.name.service.clone(), node), ());
            actions.push(Action::Start { replica, node });
        }
    }

    /// Sends `surplus` replicas of each target on their way out, in the policy's order.
    pub(super) fn drain_surplus(
        &mut self,
        now: Time,
        surplus: &[(TargetId, u32)],
        targets: &mut [Target],
        actions: &mut Vec<Action>,
        failures: &mut Vec<StageFailure>,
    ) {
        if surplus.is_empty() {
            return;
        }
        let mut candidates: Vec<(usize, ReplicaId)> = Vec::new();
        for (choice, (id, _)) in surplus.iter().enumerate() {
            let target = &targets[id.index()];
            let may_leave = target.replicas.iter().filter(|replica| {
                matches!(replica.state, ReplicaState::Starting { .. } | ReplicaState::Ready { .. })
            });
            candidates.extend(
                may_leave
                    .map(|replica| (choice, ReplicaId { target: *id, ordinal: replica.ordinal })),
            );
        }
        let ids: Vec<ReplicaId> = candidates.iter().map(|(_, id)| *id).collect();
        let asked = self.candidates(&self.main, now, &candidates, targets);
        let ranked = self
            .main
            .policy
            .rank(&asked)
            .and_then(|ranked| each_once(&ranked, candidates.len()).map(|()| ranked));
        let ranked = match (ranked, &mut self.fallback) {
            (Ok(ranked), _) => ranked,
            (Err(error), None) => {
                failures.push(failure(&ids, &error, "hold"));
                return;
            }
            (Err(error), Some(_)) => {
                failures.push(failure(&ids, &error, "fallback"));
                let Some(asked) = self
                    .fallback
                    .as_ref()
                    .map(|fallback| self.candidates(fallback, now, &candidates, targets))
                else {
                    return;
                };
                let ranked = self
                    .fallback
                    .as_mut()
                    .map_or(Ok(Vec::new()), |fallback| fallback.policy.rank(&asked));
                match ranked
                    .and_then(|ranked| each_once(&ranked, candidates.len()).map(|()| ranked))
                {
                    Ok(ranked) => ranked,
                    Err(error) => {
                        failures.push(failure(&ids, &error, "hold"));
                        return;
                    }
                }
            }
        };
        let mut left: Vec<u32> = surplus.iter().map(|(_, count)| *count).collect();
        for position in ranked {
            let (choice, replica) = candidates[position as usize];
            if left[choice] > 0 && targets[replica.target.index()].replicas.drain(replica.ordinal) {
                left[choice] -= 1;
                actions.push(Action::Drain { replica });
            }
        }
    }

    /// Refuses choices that name no node, or one without room for them all.
    fn check(
        &self,
        pending: &[ReplicaId],
        chosen: &[Option<u32>],
        targets: &[Target],
    ) -> Result<(), CallError> {
        if chosen.len() != pending.len() {
            return Err(malformed(format!(
                "{} replicas need a place and {} choices came back",
                pending.len(),
                chosen.len()
            )));
        }
        let mut free = self.free.clone();
        for (replica, node) in pending.iter().zip(chosen) {
            let Some(node) = node else { continue };
            let target = &targets[replica.target.index()];
            let Some(left) = free.get_mut(*node as usize) else {
                return Err(malformed(format!(
                    "a replica of {} was sent to node {node} of {}",
                    target.spec.name,
                    self.nodes.len()
                )));
            };
            if !left.fits(&target.spec.needs) {
                let node = &self.nodes[*node as usize].name;
                return Err(malformed(format!(
                    "a replica of {} was sent to {node}, where it does not fit",
                    target.spec.name
                )));
            }
            take(left, &target.spec.needs);
        }
        Ok(())
    }

    fn request(
        &self,
        placer: &Placer,
        now: Time,
        pending: &[ReplicaId],
        targets: &[Target],
    ) -> Request {
        let mut nodes = self.columns.clone();
        for name in placer.names(Subject::Node) {
            nodes.facts.extend(
                self.nodes.iter().zip(&self.free).map(|(node, free)| node_fact(name, node, free)),
            );
        }
        let of = |id: &ReplicaId| &targets[id.target.index()];
        let mut facts = Vec::new();
        for name in placer.names(Subject::Replica) {
            facts.extend(pending.iter().map(|id| replica_fact(name, of(id))));
        }
        let mut pairs = Vec::new();
        for name in placer.names(Subject::Pair) {
            for id in pending {
                let service = &of(id).spec.name.service;
                pairs.extend(
                    (0..self.nodes.len() as u32)
                        .map(|node| self.pair_fact(name, service, NodeId(node))),
                );
            }
        }
        let mut params = Vec::new();
        let mut positions: BTreeMap<u32, u32> = BTreeMap::new();
        let params_of = pending.iter().map(|id| {
            let program = placer
                .by_settings
                .get(&of(id).spec.placement_settings)
                .copied()
                .unwrap_or_default();
            *positions.entry(program).or_insert_with(|| {
                params.push(placer.programs[program as usize].params.clone());
                params.len() as u32 - 1
            })
        });
        let params_of = params_of.collect();
        let words = self.words.list().to_vec();
        Request {
            at_ms: now.0,
            words,
            nodes,
            replicas: Replicas { params, params_of, facts, pairs },
        }
    }

    fn candidates(
        &self,
        placer: &Placer,
        now: Time,
        of: &[(usize, ReplicaId)],
        targets: &[Target],
    ) -> Candidates {
        let mut facts = Vec::new();
        for name in placer.names(Subject::Candidate) {
            for (_, id) in of {
                let target = &targets[id.target.index()];
                let replica = target.replicas.iter().find(|replica| replica.ordinal == id.ordinal);
                facts.push(replica.map_or(f64::NAN, |replica| {
                    let price = || self.nodes.get(replica.node()?.index())?.usd_per_gpu_hour;
                    match (name, replica.state) {
                        ("is-ready", ReplicaState::Ready { .. }) => 1.0,
                        ("is-ready", _) => 0.0,
                        ("in-flight", ReplicaState::Ready { in_flight, .. }) => {
                            f64::from(in_flight)
                        }
                        ("in-flight", _) => 0.0,
                        ("started-at-ms", _) => replica.since.0 as f64,
                        ("usd-per-gpu-hour", _) => price().unwrap_or(f64::NAN),
                        _ => f64::NAN,
                    }
                }));
            }
        }
        Candidates {
            at_ms: now.0,
            choices: of.iter().map(|(choice, _)| *choice as u32).collect(),
            facts,
        }
    }

    fn pair_fact(&self, name: &str, service: &str, node: NodeId) -> f64 {
        match name {
            "weights-cached" => {
                f64::from(u8::from(self.cached.contains_key(&(service.to_owned(), node))))
            }
            _ => f64::NAN,
        }
    }
}

fn node_fact(name: &str, node: &Node, free: &Resources) -> f64 {
    match name {
        "free-cpu" => free.cpu_milli as f64 / 1e3,
        "free-memory-bytes" => free.memory_bytes as f64,
        "free-gpus" => f64::from(free.gpus),
        "gpus" => f64::from(node.allocatable.gpus),
        "gpu-memory-bytes" => node.gpu_memory_bytes as f64,
        "usd-per-gpu-hour" => node.usd_per_gpu_hour.unwrap_or(f64::NAN),
        "is-spot" => f64::from(u8::from(node.is_spot)),
        _ => f64::NAN,
    }
}

fn replica_fact(name: &str, target: &Target) -> f64 {
    match name {
        "cpu" => target.spec.needs.cpu_milli as f64 / 1e3,
        "memory-bytes" => target.spec.needs.memory_bytes as f64,
        "gpus" => f64::from(target.spec.needs.gpus),
        "weights-bytes" => target.spec.weights_bytes as f64,
        _ => f64::NAN,
    }
}

fn take(free: &mut Resources, needs: &Resources) {
    free.cpu_milli = free.cpu_milli.saturating_sub(needs.cpu_milli);
    free.memory_bytes = free.memory_bytes.saturating_sub(needs.memory_bytes);
    free.gpus = free.gpus.saturating_sub(needs.gpus);
}

fn each_once(ranked: &[u32], count: usize) -> Result<(), CallError> {
    let mut seen = vec![false; count];
    for &position in ranked {
        match seen.get_mut(position as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => {
                return Err(malformed(format!(
                    "the order of who leaves names {position} twice, or there are only {count}"
                )));
            }
        }
    }
    if ranked.len() == count {
        Ok(())
    } else {
        Err(malformed(format!("{count} candidates were given and {} came back", ranked.len())))
    }
}

fn malformed(message: String) -> CallError {
    CallError { kind: crate::policy::CallErrorKind::Malformed, culprit: None, message }
}

fn failure(replicas: &[ReplicaId], error: &CallError, instead: &str) -> StageFailure {
    let mut targets: Vec<TargetId> = replicas.iter().map(|id| id.target).collect();
    targets.sort();
    targets.dedup();
    let message = error.message.clone();
    StageFailure {
        stage: PLACEMENT.to_owned(),
        targets,
        message,
        instead: instead.to_owned(),
        quarantined_until: None,
    }
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
