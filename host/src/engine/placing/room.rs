//! Makes room on a fleet that is full: where requests wait for a service that has no replica and finds no place for one, idle replicas
//! of other services leave, as many as it takes, in the placement policy's order. Minimums and whoever has requests are left alone.

use super::grounds::{Grounds, give, take};
use super::{Placing, each_once};
use crate::engine::fleet::NodeId;
use crate::engine::plan::{Action, Plan, Yielded};
use crate::engine::replicas::{Replica, ReplicaState};
use crate::engine::target::{ReplicaId, Target, TargetId};
use crate::time::Time;

/// How often the policy is asked whether the room that was made so far would do, for one service in one step.
const ASKED_AT_MOST: usize = 32;

impl Placing {
    /// Lets idle replicas leave for services at zero that wait and find no place.
    pub(in crate::engine) fn make_room(
        &mut self,
        now: Time,
        targets: &mut [Target],
        plan: &mut Plan,
    ) {
        for position in 0..targets.len() {
            let Some(waits) = waits_for_room(position, targets) else { continue };
            self.grounds.count_free(targets);
            // What is on its way out makes room already.
            for target in targets.iter() {
                let leaving = target
                    .replicas
                    .iter()
                    .filter(|replica| matches!(replica.state, ReplicaState::Draining { .. }));
                for node in leaving.filter_map(Replica::node) {
                    self.grounds.free_up(node, target);
                }
            }
            if self.would_go(now, waits, targets).is_none()
                && let Some(leaving) = self.who_leaves(now, waits, targets, plan)
            {
                yield_to(waits, leaving, targets, plan);
            }
        }
    }

    /// Where the policy would put a replica, with what is taken to be free. What is free stays as it was.
    fn would_go(&mut self, now: Time, waits: ReplicaId, targets: &[Target]) -> Option<NodeId> {
        let free = self.grounds.free.clone();
        let placed = self.main.place(&mut self.grounds, now, &[waits], targets);
        self.grounds.free = free;
        placed.nodes.first().copied().flatten()
    }

    /// The fewest idle replicas, in the policy's order, that must leave for `waits` to find a place; `None`: it would not even so.
    fn who_leaves(
        &mut self,
        now: Time,
        waits: ReplicaId,
        targets: &[Target],
        plan: &mut Plan,
    ) -> Option<Vec<ReplicaId>> {
        let mut candidates: Vec<(usize, ReplicaId)> = Vec::new();
        let mut may_leave = Vec::new();
        for (position, target) in targets.iter().enumerate() {
            let spare = target.replicas.alive().saturating_sub(target.bounds_now().min);
            let idle: Vec<ReplicaId> = idle(position, target).collect();
            let is_its_own = target.group == targets[waits.target.index()].group;
            if spare == 0 || idle.is_empty() || is_its_own || target.pin.is_some() {
                continue;
            }
            candidates.extend(idle.into_iter().map(|id| (may_leave.len(), id)));
            may_leave.push(spare);
        }
        if candidates.is_empty() {
            return None;
        }
        let placer = &mut self.main;
        let asked = self.grounds.candidates(placer, now, &candidates, may_leave.clone(), targets);
        let answer = placer.policy.rank(&asked);
        let order =
            match answer.and_then(|order| each_once(&order, candidates.len()).map(|()| order)) {
                Ok(order) => order,
                Err(error) => {
                    let ids: Vec<ReplicaId> = candidates.iter().map(|(_, id)| *id).collect();
                    plan.failures.push(super::failure(&ids, &error, "hold"));
                    return None;
                }
            };
        let needs = targets[waits.target.index()].spec.needs;
        let mut left: Vec<(ReplicaId, NodeId)> = Vec::new();
        let mut asked = 0;
        for at in order {
            let (choice, id) = candidates[at as usize];
            let Some(node) = node_of(id, targets) else { continue };
            if may_leave[choice] == 0 || self.grounds.free.get(node.index()).is_none() {
                continue;
            }
            may_leave[choice] -= 1;
            self.grounds.free_up(node, &targets[id.target.index()]);
            left.push((id, node));
            if !self.grounds.free[node.index()].fits(&needs) || asked == ASKED_AT_MOST {
                continue;
            }
            asked += 1;
            if let Some(chosen) = self.would_go(now, waits, targets) {
                return Some(fewest(&mut self.grounds, chosen, waits, &left, targets));
            }
        }
        None
    }
}

/// Of those that `left`, in order, the ones on `chosen` without whom there is no room there.
fn fewest(
    grounds: &mut Grounds,
    chosen: NodeId,
    waits: ReplicaId,
    left: &[(ReplicaId, NodeId)],
    targets: &[Target],
) -> Vec<ReplicaId> {
    let needs = &targets[waits.target.index()].spec.needs;
    let free = &mut grounds.free[chosen.index()];
    let mut leaving: Vec<ReplicaId> =
        left.iter().filter(|(_, node)| *node == chosen).map(|(id, _)| *id).collect();
    // Those that the policy would rather keep come last: they are taken back first.
    for at in (0..leaving.len()).rev() {
        let mut without = *free;
        take(&mut without, &targets[leaving[at].target.index()].spec.needs);
        if without.fits(needs) {
            *free = without;
            leaving.remove(at);
        }
    }
    leaving
}

/// The replica of a target that waits for a place although requests wait for it, if nothing of its service runs or comes up.
fn waits_for_room(position: usize, targets: &[Target]) -> Option<ReplicaId> {
    let target = &targets[position];
    if target.levels.waiting == 0 || target.replicas.pending() == 0 {
        return None;
    }
    let is_served = targets.iter().filter(|other| other.group == target.group).any(|other| {
        other.replicas.ready() > 0 || other.replicas.starting() > other.replicas.pending()
    });
    let first = target.replicas.iter().find(|replica| replica.state == ReplicaState::Pending)?;
    let id = ReplicaId { target: TargetId(position as u32), ordinal: first.ordinal };
    (!is_served).then_some(id)
}

/// Replicas that hold nothing, of a target for which nothing waits and nothing was in flight in the last second.
fn idle(position: usize, target: &Target) -> impl Iterator<Item = ReplicaId> {
    let is_quiet = target.levels.waiting == 0 && target.levels.concurrency == 0.0;
    let is_idle = move |replica: &&Replica| {
        is_quiet && matches!(replica.state, ReplicaState::Ready { in_flight: 0, .. })
    };
    target.replicas.iter().filter(is_idle).map(move |replica| ReplicaId {
        target: TargetId(position as u32),
        ordinal: replica.ordinal,
    })
}

fn node_of(id: ReplicaId, targets: &[Target]) -> Option<NodeId> {
    let its = &targets[id.target.index()].replicas;
    its.iter().find(|replica| replica.ordinal == id.ordinal)?.node()
}

/// Sends `leaving` on their way out, and notes for whom. Their targets want no more than is left until a request waits for them or
/// their policies want as few themselves.
fn yield_to(waits: ReplicaId, leaving: Vec<ReplicaId>, targets: &mut [Target], plan: &mut Plan) {
    for replica in leaving {
        let target = &mut targets[replica.target.index()];
        if target.replicas.drain(replica.ordinal) {
            target.yields_to = Some(target.replicas.alive());
            target.desired = target.replicas.alive();
            target.is_touched = true;
            plan.actions.push(Action::Drain { replica });
            plan.yielded.push(Yielded { replica, to: waits.target });
        }
    }
}

impl Grounds {
    /// Takes a replica of `target` on that node to be gone.
    fn free_up(&mut self, node: NodeId, target: &Target) {
        if let Some(free) = self.free.get_mut(node.index()) {
            give(free, &target.spec.needs);
        }
    }
}
