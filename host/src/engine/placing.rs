//! Asks the placement policy where new replicas go and which leave first, keeps count of what is free on the nodes, and refuses
//! choices that do not fit. It has never heard of signals or stages.

mod columns;
mod grounds;
mod room;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Options;
use super::binding::BindTargetError;
use super::fleet::{Node, NodeId};
use super::inspection::Moved;
use super::plan::{Action, Plan, StageFailure, Unplaced};
use super::replicas::{Replica, ReplicaState};
use super::target::{ReplicaId, Target, TargetId};
use crate::policy::wire::{Explanation, PlacementProgram};
use crate::policy::{BindError, CallError, CallErrorKind, PlacementPolicy};
use crate::time::Time;

use columns::Columns;
use grounds::{Grounds, take};

/// Replicas that are placed in one go, shared by the targets that have some waiting; the rest is placed a tick later.
const PLACED_AT_ONCE: usize = 4_000;

/// The name of the placement policy in reports.
pub const PLACEMENT: &str = "placement";

/// Calls of one policy for the replicas that wait at one moment. It finds one bad target among thousands, and several among
/// hundreds; those that it does not get to are asked about a tick later.
const CALLS_AT_MOST: usize = 32;

/// The fleet, the policy that places on it, and the one that does so when that fails.
pub(super) struct Placing {
    main: Placer,
    fallback: Option<Placer>,
    pub(super) grounds: Grounds,
    /// Something may have made room since the policy was last asked.
    pub(super) is_stale: bool,
    /// When to ask again although nothing happened, since somebody was at fault; otherwise never.
    pub(super) retry_at: Time,
    /// What was last told of each target with replicas that found no place.
    pub(super) unplaced: BTreeMap<TargetId, Unplaced>,
    /// The target of which somebody wants to know where its replicas went and why, and what came of that in this step.
    pub(super) watched: Option<TargetId>,
    pub(super) moved: Vec<Moved>,
}

struct Placer {
    policy: Box<dyn PlacementPolicy>,
    columns: Columns,
    programs: Vec<PlacementProgram>,
    by_settings: BTreeMap<String, u32>,
}

impl Placer {
    fn new(mut policy: Box<dyn PlacementPolicy>) -> Result<Placer, CallError> {
        let columns = Columns::of(&policy.inputs()?)?;
        Ok(Placer { policy, columns, programs: Vec::new(), by_settings: BTreeMap::new() })
    }

    /// The params that a call about `replicas` needs, each once, and which of them each replica has.
    fn params(&self, replicas: &[ReplicaId], targets: &[Target]) -> (Vec<Vec<u8>>, Vec<u32>) {
        let mut params = Vec::new();
        let mut positions: BTreeMap<u32, u32> = BTreeMap::new();
        let of = replicas.iter().map(|id| {
            let settings = &targets[id.target.index()].spec.placement_settings;
            let program =
                self.by_settings.get(settings).copied().expect(
                    "a target's placement settings are bound before it gets or changes them",
                );
            *positions.entry(program).or_insert_with(|| {
                params.push(self.programs[program as usize].params.clone());
                params.len() as u32 - 1
            })
        });
        let of = of.collect();
        (params, of)
    }

    /// A node for each of `pending`, as far as there is one, and who is at fault for what. What is given a place is taken from
    /// what is free.
    ///
    /// A target at fault costs the others nothing but calls: those that the policy names are left out, and where it names
    /// nobody, the targets are halved until they are found.
    fn place(
        &mut self,
        grounds: &mut Grounds,
        now: Time,
        pending: &[ReplicaId],
        targets: &[Target],
    ) -> Placed {
        let mut placed = Placed { nodes: vec![None; pending.len()], failed: Vec::new() };
        let mut undecided = VecDeque::from([(0..pending.len()).collect::<Vec<usize>>()]);
        let mut calls = 0;
        while let Some(part) = undecided.pop_front() {
            let ids: Vec<ReplicaId> = part.iter().map(|&at| pending[at]).collect();
            if calls == CALLS_AT_MOST {
                let message = format!(
                    "it was not asked again: {CALLS_AT_MOST} calls were spent on finding who is at fault"
                );
                let kind = CallErrorKind::OutOfFuel;
                placed.failed.push((part, CallError { kind, culprits: Vec::new(), message }));
                continue;
            }
            calls += 1;
            let request = grounds.request(self, now, &ids, targets);
            let error = match self
                .policy
                .place(&request)
                .and_then(|nodes| check(grounds, &ids, &nodes, targets).map(|()| nodes))
            {
                Ok(nodes) => {
                    for (at, node) in part.into_iter().zip(nodes) {
                        let Some(node) = node else { continue };
                        let needs = &targets[pending[at].target.index()].spec.needs;
                        take(&mut grounds.free[node as usize], needs);
                        placed.nodes[at] = Some(NodeId(node));
                    }
                    continue;
                }
                Err(error) => error,
            };
            let culprits: BTreeSet<TargetId> = error
                .culprits
                .iter()
                .filter_map(|&at| ids.get(at as usize).map(|id| id.target))
                .collect();
            let everybody: Vec<TargetId> =
                ids.iter().map(|id| id.target).collect::<BTreeSet<_>>().into_iter().collect();
            if everybody.len() == 1 || culprits.len() == everybody.len() {
                placed.failed.push((part, error));
            } else if culprits.is_empty() {
                let middle = everybody[everybody.len() / 2];
                let (first, second): (Vec<usize>, Vec<usize>) =
                    part.into_iter().partition(|&at| pending[at].target < middle);
                undecided.extend([first, second]);
            } else {
                let (theirs, others): (Vec<usize>, Vec<usize>) =
                    part.into_iter().partition(|&at| culprits.contains(&pending[at].target));
                placed.failed.push((theirs, error));
                undecided.push_back(others);
            }
        }
        placed
    }
}

/// A settings document with nothing of the author's in it; what the installation knows stays.
fn without_settings(document: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(document) {
        Ok(serde_json::Value::Object(mut document)) => {
            document.insert("settings".to_owned(), serde_json::json!({}));
            serde_json::Value::Object(document).to_string()
        }
        Ok(_) | Err(_) => document.to_owned(),
    }
}

/// What asking about replicas came to.
struct Placed {
    nodes: Vec<Option<NodeId>>,
    /// Positions of those at fault together, or not asked about for want of calls, with why.
    failed: Vec<(Vec<usize>, CallError)>,
}

impl Placing {
    pub(super) fn new(
        policy: Box<dyn PlacementPolicy>,
        fallback: Option<Box<dyn PlacementPolicy>>,
    ) -> Result<Placing, CallError> {
        Ok(Placing {
            main: Placer::new(policy)?,
            fallback: fallback.map(Placer::new).transpose()?,
            grounds: Grounds::new(),
            is_stale: true,
            retry_at: Time::NEVER,
            unplaced: BTreeMap::new(),
            watched: None,
            moved: Vec::new(),
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
        let placers = std::iter::once((&mut self.main, false));
        for (placer, is_fallback) in placers.chain(self.fallback.as_mut().map(|one| (one, true))) {
            if placer.by_settings.contains_key(settings) {
                continue;
            }
            let bound = match placer.policy.bind(settings) {
                // What was written for another policy need not mean anything to the fallback: it has its defaults then.
                Err(BindError::Faults(_)) if is_fallback => {
                    placer.policy.bind(&without_settings(settings))
                }
                bound => bound,
            };
            let program = bound.map_err(|source| BindTargetError::Settings {
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
        self.is_stale = true;
        self.grounds.see_nodes(nodes)
    }

    /// Gives pending replicas a place, as far as there is one. Longest waiting first. What finds none is told in the policy's words
    /// if somebody reads, once for as long as it stays the same. Who is at fault, and is not placed by the fallback, is asked about
    /// again a tick later.
    pub(super) fn place_pending(
        &mut self,
        now: Time,
        options: &Options,
        targets: &mut [Target],
        plan: &mut Plan,
    ) {
        let Plan { actions, failures, unplaced, .. } = plan;
        if !self.is_stale && now < self.retry_at {
            return;
        }
        self.is_stale = false;
        self.retry_at = Time::NEVER;
        let mut pending: Vec<(Time, ReplicaId)> = Vec::new();
        let waits = |target: &&Target| target.replicas.pending() > 0;
        // Nobody crowds the others out, and nobody makes the request larger than it need be.
        let share = (PLACED_AT_ONCE / targets.iter().filter(waits).count().max(1)).max(1);
        let mut is_cut = false;
        for (position, target) in targets.iter().enumerate().filter(|(_, target)| waits(target)) {
            is_cut |= target.replicas.pending() as usize > share;
            let waiting =
                target.replicas.iter().filter(|replica| replica.state == ReplicaState::Pending);
            let id = TargetId(position as u32);
            pending.extend(waiting.take(share).map(|replica| {
                (replica.since, ReplicaId { target: id, ordinal: replica.ordinal })
            }));
        }
        if pending.is_empty() {
            self.unplaced.clear();
            return;
        }
        pending.sort();
        self.grounds.count_free(targets);
        let pending: Vec<ReplicaId> = pending.into_iter().map(|(_, id)| id).collect();
        let free = self.grounds.free.clone();
        let Placed { nodes: mut chosen, failed } =
            self.main.place(&mut self.grounds, now, &pending, targets);
        let instead = if self.fallback.is_some() { "fallback" } else { "hold" };
        let mut at_fault = told(&pending, failed, instead, failures);
        let mut explained: BTreeMap<usize, Explanation> = BTreeMap::new();
        let is_good = |at: &usize| at_fault.binary_search(at).is_err();
        let is_told = |at: &usize| {
            is_good(at)
                && (options.explains && chosen[*at].is_none()
                    || Some(pending[*at].target) == self.watched)
        };
        if (0..pending.len()).any(|at| is_told(&at)) {
            // Asked about as they were placed: without those at fault, and with everything free that was free before.
            let free_now = std::mem::replace(&mut self.grounds.free, free);
            let good: Vec<usize> = (0..pending.len()).filter(is_good).collect();
            let ids: Vec<ReplicaId> = good.iter().map(|&at| pending[at]).collect();
            let request = self.grounds.request(&self.main, now, &ids, targets);
            self.grounds.free = free_now;
            let told = self.main.policy.explain(&request).unwrap_or_default();
            explained = good.into_iter().zip(told).collect();
        }
        if let Some(fallback) = self.fallback.as_mut().filter(|_| !at_fault.is_empty()) {
            let again: Vec<ReplicaId> = at_fault.iter().map(|&at| pending[at]).collect();
            let Placed { nodes, failed } = fallback.place(&mut self.grounds, now, &again, targets);
            for (&at, node) in at_fault.iter().zip(nodes) {
                chosen[at] = node;
            }
            let failed = told(&again, failed, "hold", failures);
            at_fault = failed.into_iter().map(|nth| at_fault[nth]).collect();
        }
        if !at_fault.is_empty() {
            self.retry_at = now + options.tick_ms;
        }
        // That no policy could say where they go is told as a failure.
        let at_fault: BTreeSet<usize> = at_fault.into_iter().collect();
        let mut left: BTreeMap<TargetId, usize> = BTreeMap::new();
        for (position, (replica, _)) in
            pending.iter().zip(&chosen).enumerate().filter(|(_, (_, node))| node.is_none())
        {
            if at_fault.contains(&position) {
                continue;
            }
            left.entry(replica.target).or_insert(position);
        }
        let mut is_some_placed = false;
        for (position, (&replica, node)) in pending.iter().zip(chosen).enumerate() {
            if Some(replica.target) == self.watched {
                let node = node.map(|node| self.grounds.nodes[node.index()].name.clone());
                let why = explained.get(&position).cloned();
                self.moved.push(Moved::placed(replica, node, why));
            }
            let Some(node) = node else { continue };
            let target = &mut targets[replica.target.index()];
            target.replicas.place(replica.ordinal, node);
            self.grounds.start(&target.spec.name.service, node);
            actions.push(Action::Start { replica, node });
            is_some_placed = true;
        }
        if is_cut && is_some_placed {
            self.retry_at = now + options.tick_ms;
        }
        self.unplaced.retain(|target, _| left.contains_key(target));
        for (target, position) in left {
            let replicas = targets[target.index()].replicas.pending();
            let reason = explained.get(&position).filter(|_| options.explains);
            let reason = reason.map_or(String::new(), |told| told.reason.clone());
            let now = Unplaced { target, replicas, reason };
            if self.unplaced.get(&target) != Some(&now) {
                self.unplaced.insert(target, now.clone());
                unplaced.push(now);
            }
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
        self.grounds.count_free(targets);
        let leaving: Vec<u32> = surplus.iter().map(|(_, count)| *count).collect();
        let mut instead = self.fallback.as_ref().map_or("hold", |_| "fallback");
        let mut ranked = None;
        for placer in std::iter::once(&mut self.main).chain(&mut self.fallback) {
            let asked = self.grounds.candidates(placer, now, &candidates, leaving.clone(), targets);
            let answer = placer.policy.rank(&asked);
            match answer.and_then(|order| each_once(&order, candidates.len()).map(|()| order)) {
                Ok(order) => {
                    let is_watched = |(_, id): &(usize, ReplicaId)| Some(id.target) == self.watched;
                    let told = match candidates.iter().any(is_watched) {
                        true => placer.policy.explain_rank(&asked).unwrap_or_default(),
                        false => Vec::new(),
                    };
                    ranked = Some((order, told));
                    break;
                }
                Err(error) => failures.push(failure(&ids, &error, instead)),
            }
            instead = "hold";
        }
        let Some((ranked, told)) = ranked else { return };
        let mut left = leaving;
        for position in ranked {
            let (choice, replica) = candidates[position as usize];
            if Some(replica.target) == self.watched {
                let its = &targets[replica.target.index()].replicas;
                let found = its.iter().find(|other| other.ordinal == replica.ordinal);
                let node = found.and_then(Replica::node);
                let node = node.and_then(|node| self.grounds.nodes.get(node.index()));
                let node = node.map(|node| node.name.clone());
                let why = told.get(position as usize).cloned();
                self.moved.push(Moved::ranked(replica, node, left[choice] > 0, why));
            }
            if left[choice] > 0 && targets[replica.target.index()].replicas.drain(replica.ordinal) {
                left[choice] -= 1;
                actions.push(Action::Drain { replica });
            }
        }
    }
}

/// Refuses choices that name no node, or one without room for them all.
fn check(
    grounds: &Grounds,
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
    let mut free = grounds.free.clone();
    for (replica, node) in pending.iter().zip(chosen) {
        let Some(node) = node else { continue };
        let target = &targets[replica.target.index()];
        let Some(left) = free.get_mut(*node as usize) else {
            return Err(malformed(format!(
                "a replica of {} was sent to node {node} of {}",
                target.spec.name,
                grounds.nodes.len()
            )));
        };
        if !left.fits(&target.spec.needs) {
            let node = &grounds.nodes[*node as usize].name;
            return Err(malformed(format!(
                "a replica of {} was sent to {node}, where it does not fit",
                target.spec.name
            )));
        }
        take(left, &target.spec.needs);
    }
    Ok(())
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
    CallError { kind: CallErrorKind::Malformed, culprits: Vec::new(), message }
}

/// Tells of those that failed, once for each thing that went wrong. Returns their positions, in order.
fn told(
    pending: &[ReplicaId],
    failed: Vec<(Vec<usize>, CallError)>,
    instead: &str,
    failures: &mut Vec<StageFailure>,
) -> Vec<usize> {
    let mut by_message: BTreeMap<String, (CallError, Vec<usize>)> = BTreeMap::new();
    for (positions, error) in failed {
        let (_, all) = by_message.entry(error.message.clone()).or_insert((error, Vec::new()));
        all.extend(positions);
    }
    let mut at_fault = Vec::new();
    for (error, positions) in by_message.into_values() {
        let ids: Vec<ReplicaId> = positions.iter().map(|&at| pending[at]).collect();
        failures.push(failure(&ids, &error, instead));
        at_fault.extend(positions);
    }
    at_fault.sort_unstable();
    at_fault
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

#[cfg(test)]
mod tests;
