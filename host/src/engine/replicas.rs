//! The replicas of one target: `pending → starting → ready → draining → gone`, and `failed` with back-off. It counts and keeps
//! them; who goes where and who leaves first is the placement policy's choice, made in `placing`.

use serde::{Deserialize, Serialize};

use super::fleet::NodeId;
use super::observation::Phase;
use crate::time::Time;

/// The first wait after a replica failed; it doubles with each failure in a row.
const BACK_OFF_FIRST_MS: u64 = 10_000;
/// The longest wait after failures in a row.
const BACK_OFF_LONGEST_MS: u64 = 300_000;
/// Failures are forgotten when nothing failed for so long, as kubelet does.
const FORGETS_MS: u64 = 600_000;
/// Replicas of one target that wait for a place at a time. A policy may want four billion; no more than these are kept in mind.
const PENDING_AT_MOST: u32 = 1_000;

/// Where a replica is whose node is gone.
const NO_NODE: NodeId = NodeId(u32::MAX);

/// Where a replica is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ReplicaState {
    /// Wanted, without a place.
    Pending,
    /// Has a place; its backend brings it up.
    Starting {
        /// Its node.
        node: NodeId,
    },
    /// Takes requests.
    Ready {
        /// Its node.
        node: NodeId,
        /// Requests that it holds.
        in_flight: u32,
    },
    /// Takes no more requests and ends those it has.
    Draining {
        /// Its node.
        node: NodeId,
    },
}

/// One replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replica {
    /// Its ordinal within the target; never used again.
    pub ordinal: u32,
    /// When it was wanted.
    pub since: Time,
    /// Where it is in its life.
    pub state: ReplicaState,
}

impl Replica {
    /// The node that it takes room on.
    pub fn node(&self) -> Option<NodeId> {
        match self.state {
            ReplicaState::Pending => None,
            ReplicaState::Starting { node }
            | ReplicaState::Ready { node, .. }
            | ReplicaState::Draining { node } => Some(node),
        }
    }
}

/// The replicas of one target, in order of ordinals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct ReplicaSet {
    list: Vec<Replica>,
    next_ordinal: u32,
    failures_in_a_row: u32,
    /// Failures that the next wait is as long for.
    strikes: u32,
    failed_at: Time,
    back_off_until: Time,
    /// Why the last one failed; empty once one has got ready since.
    failure: String,
    ready: u32,
    pending: u32,
    starting: u32,
    draining: u32,
}

/// The same without what can be counted again.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    list: Vec<Replica>,
    next_ordinal: u32,
    failures_in_a_row: u32,
    strikes: u32,
    failed_at: Time,
    back_off_until: Time,
}

impl From<ReplicaSet> for Written {
    fn from(set: ReplicaSet) -> Written {
        let ReplicaSet { list, next_ordinal, failures_in_a_row, strikes, failed_at, .. } = set;
        let back_off_until = set.back_off_until;
        Written { list, next_ordinal, failures_in_a_row, strikes, failed_at, back_off_until }
    }
}

impl TryFrom<Written> for ReplicaSet {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<ReplicaSet, &'static str> {
        let Written { list, next_ordinal, failures_in_a_row, strikes, failed_at, .. } = written;
        let is_sorted = list.windows(2).all(|pair| pair[0].ordinal < pair[1].ordinal);
        if !is_sorted || list.last().is_some_and(|last| last.ordinal >= next_ordinal) {
            return Err("replicas are out of order");
        }
        let mut set = ReplicaSet { next_ordinal, failures_in_a_row, strikes, ..Self::default() };
        (set.failed_at, set.back_off_until) = (failed_at, written.back_off_until);
        for replica in list {
            *set.count(replica.state) += 1;
            set.list.push(replica);
        }
        Ok(set)
    }
}

impl ReplicaSet {
    /// All of them, draining ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Replica> {
        self.list.iter()
    }

    /// Replicas that take requests.
    pub fn ready(&self) -> u32 {
        self.ready
    }

    /// Replicas that are wanted and not ready, those without a place included.
    pub fn starting(&self) -> u32 {
        self.pending + self.starting
    }

    /// Replicas without a place.
    pub fn pending(&self) -> u32 {
        self.pending
    }

    /// Replicas that end what they have.
    pub fn draining(&self) -> u32 {
        self.draining
    }

    /// Replicas that exist and are not about to leave.
    pub fn alive(&self) -> u32 {
        self.ready + self.pending + self.starting
    }

    /// Failures since a replica last got ready.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// Until when no new replica is started after failures.
    pub fn back_off_until(&self) -> Time {
        self.back_off_until
    }

    /// Why the last replica failed that was held against its target; empty if none did since one got ready.
    pub fn failure(&self) -> &str {
        &self.failure
    }

    /// Adds pending replicas until `wanted` are alive, unless failures hold that back. Whether it added any.
    pub(super) fn grow(&mut self, now: Time, wanted: u32) -> bool {
        let missing =
            wanted.saturating_sub(self.alive()).min(PENDING_AT_MOST.saturating_sub(self.pending));
        if missing == 0 || now < self.back_off_until {
            return false;
        }
        for _ in 0..missing {
            let state = ReplicaState::Pending;
            self.list.push(Replica { ordinal: self.next_ordinal, since: now, state });
            self.next_ordinal += 1;
        }
        self.pending += missing;
        true
    }

    /// Drops up to `surplus` replicas without a place, youngest first; nobody has heard of them yet. How many it dropped.
    pub(super) fn drop_pending(&mut self, surplus: u32) -> u32 {
        let mut left = surplus.min(self.pending);
        let dropped = left;
        for position in (0..self.list.len()).rev() {
            if left > 0 && self.list[position].state == ReplicaState::Pending {
                self.list.remove(position);
                left -= 1;
            }
        }
        self.pending -= dropped;
        dropped
    }

    /// Gives a pending replica its place.
    pub(super) fn place(&mut self, ordinal: u32, node: NodeId) {
        self.change(ordinal, |_| Some(ReplicaState::Starting { node }));
    }

    /// Sends a replica on its way out. Whether it was there to go.
    pub(super) fn drain(&mut self, ordinal: u32) -> bool {
        self.change(ordinal, |replica| match replica.state {
            ReplicaState::Starting { node } | ReplicaState::Ready { node, .. } => {
                Some(ReplicaState::Draining { node })
            }
            ReplicaState::Pending | ReplicaState::Draining { .. } => None,
        })
    }

    /// Takes in what the backend saw of a replica. Late news of a replica that is no more is ignored, and a draining one does
    /// not come back. Whether anything changed.
    pub(super) fn see(&mut self, now: Time, ordinal: u32, phase: &Phase) -> bool {
        match phase {
            Phase::Pulling | Phase::Loading | Phase::Draining => false,
            Phase::Ready => {
                let changed = self.change(ordinal, |replica| match replica.state {
                    ReplicaState::Starting { node } => {
                        Some(ReplicaState::Ready { node, in_flight: 0 })
                    }
                    ReplicaState::Pending
                    | ReplicaState::Ready { .. }
                    | ReplicaState::Draining { .. } => None,
                });
                if changed {
                    self.failures_in_a_row = 0;
                    self.back_off_until = Time::ZERO;
                    self.failure.clear();
                }
                changed
            }
            Phase::Gone => self.remove(ordinal).is_some(),
            Phase::Failed { reason } => {
                let Some(replica) = self.remove(ordinal) else { return false };
                // A node that is gone says nothing about the replica, and of several that fail together one counts.
                let is_held_against_it = !matches!(replica.state, ReplicaState::Draining { .. })
                    && replica.node() != Some(NO_NODE)
                    && now >= self.back_off_until;
                if is_held_against_it {
                    if now.since(self.failed_at) > FORGETS_MS {
                        self.strikes = 0;
                    }
                    // One that served and then failed is replaced at once the first time; a server that fails whenever it is
                    // asked something is not.
                    let has_served = matches!(replica.state, ReplicaState::Ready { .. });
                    if !has_served || self.strikes > 0 {
                        let doublings = (self.strikes - u32::from(has_served)).min(10);
                        self.back_off_until =
                            now + (BACK_OFF_FIRST_MS << doublings).min(BACK_OFF_LONGEST_MS);
                    }
                    self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                    self.strikes = self.strikes.saturating_add(1);
                    self.failed_at = now;
                    self.failure.clone_from(reason);
                }
                true
            }
        }
    }

    /// Takes in how many requests a replica holds.
    pub(super) fn see_in_flight(&mut self, ordinal: u32, holds: u32) {
        self.change(ordinal, |replica| match replica.state {
            ReplicaState::Ready { node, .. } => {
                Some(ReplicaState::Ready { node, in_flight: holds })
            }
            ReplicaState::Pending
            | ReplicaState::Starting { .. }
            | ReplicaState::Draining { .. } => None,
        });
    }

    /// Follows the nodes to their new positions. A replica whose node is gone keeps a position that no node has until its
    /// backend tells what became of it.
    pub(super) fn move_nodes(&mut self, moved: &[Option<NodeId>]) {
        for replica in &mut self.list {
            match &mut replica.state {
                ReplicaState::Pending => {}
                ReplicaState::Starting { node }
                | ReplicaState::Ready { node, .. }
                | ReplicaState::Draining { node } => {
                    *node = moved.get(node.index()).copied().flatten().unwrap_or(NO_NODE);
                }
            }
        }
    }

    /// Whether each of them is on one of the first `nodes` nodes, or on none that there is.
    pub(super) fn are_on(&self, nodes: usize) -> bool {
        let mut on = self.list.iter().filter_map(Replica::node);
        on.all(|node| node == NO_NODE || node.index() < nodes)
    }

    fn position(&self, ordinal: u32) -> Option<usize> {
        self.list.binary_search_by_key(&ordinal, |replica| replica.ordinal).ok()
    }

    fn change(&mut self, ordinal: u32, to: impl FnOnce(&Replica) -> Option<ReplicaState>) -> bool {
        let Some(position) = self.position(ordinal) else { return false };
        let Some(state) = to(&self.list[position]) else { return false };
        *self.count(self.list[position].state) -= 1;
        self.list[position].state = state;
        *self.count(state) += 1;
        true
    }

    fn remove(&mut self, ordinal: u32) -> Option<Replica> {
        let replica = self.list.remove(self.position(ordinal)?);
        *self.count(replica.state) -= 1;
        Some(replica)
    }

    fn count(&mut self, state: ReplicaState) -> &mut u32 {
        match state {
            ReplicaState::Pending => &mut self.pending,
            ReplicaState::Starting { .. } => &mut self.starting,
            ReplicaState::Ready { .. } => &mut self.ready,
            ReplicaState::Draining { .. } => &mut self.draining,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(0);

    fn starting(count: u32) -> ReplicaSet {
        let mut set = ReplicaSet::default();
        set.grow(Time(0), count);
        (0..count).for_each(|ordinal| set.place(ordinal, NODE));
        set
    }

    #[test]
    fn a_draining_replica_does_not_come_back() {
        let mut set = starting(1);
        assert!(set.drain(0));
        assert!(!set.see(Time(5), 0, &Phase::Ready));
        assert_eq!((set.ready(), set.draining(), set.alive()), (0, 1, 0));
        assert!(set.see(Time(6), 0, &Phase::Gone));
        assert_eq!(set.iter().count(), 0);
    }

    #[test]
    fn failures_in_a_row_hold_new_replicas_back_for_ever_longer_up_to_five_minutes() {
        let mut set = ReplicaSet::default();
        let mut now = Time(0);
        let mut waits = Vec::new();
        for ordinal in 0..7 {
            assert!(set.grow(now, 1), "the wait is over at {now}");
            set.place(ordinal, NODE);
            set.see(now, ordinal, &Phase::Failed { reason: "out of memory".into() });
            waits.push(set.back_off_until().since(now) / 1_000);
            assert!(!set.grow(set.back_off_until() - 1, 1));
            now = set.back_off_until();
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(set.failure(), "out of memory");
        set.grow(now, 1);
        set.place(7, NODE);
        set.see(now, 7, &Phase::Ready);
        assert_eq!((set.failures_in_a_row(), set.back_off_until()), (0, Time::ZERO));
        assert_eq!(set.failure(), "");
    }

    #[test]
    fn a_replica_that_served_is_replaced_at_once_but_one_that_keeps_failing_is_not() {
        let mut set = ReplicaSet::default();
        let mut now = Time(0);
        let mut waits = Vec::new();
        for ordinal in 0..5 {
            assert!(set.grow(now, 1));
            set.place(ordinal, NODE);
            set.see(now, ordinal, &Phase::Ready);
            set.see(now, ordinal, &Phase::Failed { reason: "killed".into() });
            waits.push(set.back_off_until().since(now) / 1_000);
            now = now.max(set.back_off_until());
        }
        assert_eq!(waits, [0, 10, 20, 40, 80]);
        now = now + FORGETS_MS + 1;
        set.grow(now, 1);
        set.place(5, NODE);
        set.see(now, 5, &Phase::Ready);
        set.see(now, 5, &Phase::Failed { reason: "killed".into() });
        assert_eq!(set.back_off_until().since(now), 0, "ten quiet minutes later all is forgotten");
    }

    #[test]
    fn replicas_that_fail_together_count_once_and_those_of_a_lost_node_not_at_all() {
        let mut set = starting(4);
        let failed = || Phase::Failed { reason: "out of memory".into() };
        set.move_nodes(&[None]);
        set.see(Time(0), 0, &failed());
        assert_eq!((set.failures_in_a_row(), set.back_off_until()), (0, Time::ZERO));
        let mut set = starting(4);
        (0..4).for_each(|ordinal| {
            set.see(Time(0), ordinal, &failed());
        });
        assert_eq!((set.failures_in_a_row(), set.back_off_until()), (1, Time(10_000)));
    }

    #[test]
    fn four_billion_replicas_are_no_more_than_a_thousand_pending_ones() {
        let mut set = ReplicaSet::default();
        assert!(set.grow(Time(0), u32::MAX));
        assert!(!set.grow(Time(1), u32::MAX));
        assert_eq!(set.pending(), 1_000);
    }

    #[test]
    fn pending_replicas_are_dropped_youngest_first_and_ordinals_are_not_used_again() {
        let mut set = ReplicaSet::default();
        set.grow(Time(0), 3);
        assert_eq!(set.drop_pending(2), 2);
        assert_eq!(set.iter().map(|replica| replica.ordinal).collect::<Vec<_>>(), [0]);
        set.grow(Time(1), 2);
        assert_eq!(set.iter().map(|replica| replica.ordinal).collect::<Vec<_>>(), [0, 3]);
    }
}
