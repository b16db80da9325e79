//! Why a service has the replicas that it has: watches one target of a run and keeps the decision in force at a moment, the one that
//! changed it, and where replicas went. It decides nothing and prints nothing.

use serde::Serialize;

use crate::engine::inspection::Moved;
use crate::engine::{Change, Clamp, Engine, Inspection, Plan, StageFailure, TargetId};
use crate::recorder::reason_of;
use crate::time::Time;

/// Moves of replicas and failures that are kept since the last change.
const KEPT_AT_MOST: usize = 200;

/// What came of watching one target until a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// When the run began. Unix milliseconds.
    pub start_ms: Time,
    /// The moment that was asked about. Unix milliseconds.
    pub at_ms: Time,
    /// The last step at that moment or before. Unix milliseconds.
    pub step_ms: Time,
    /// What stood then.
    pub in_force: Inspection,
    /// The last change of the number of replicas until then; `None`: there was none.
    pub changed: Option<Moment>,
    /// Where replicas went, from that change on.
    pub moves: Vec<MovedAt>,
    /// Failures of policies over this target, from that change on.
    pub failures: Vec<FailureAt>,
    /// Changes of the span that was asked about, in order.
    pub changes: Vec<ChangeAt>,
}

/// A change, and what stood behind it then.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// What changed.
    #[serde(flatten)]
    pub change: ChangeAt,
    /// What stood behind it.
    pub inspection: Inspection,
}

/// A decision that differs from the one before.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeAt {
    /// When. Unix milliseconds.
    pub at_ms: Time,
    /// Replicas wanted before; `None`: nothing had been decided.
    pub from: Option<u32>,
    /// Replicas wanted now.
    pub to: u32,
    /// Replicas that were ready then.
    pub ready: u32,
    /// Requests that waited then.
    pub waiting: u32,
    /// Why, in the words of the stage that made the difference.
    pub reason: String,
    /// Bounds and guards that changed an answer.
    pub clamps: Vec<Clamp>,
}

/// A move of a replica.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MovedAt {
    /// When. Unix milliseconds.
    pub at_ms: Time,
    /// What moved where.
    #[serde(flatten)]
    pub moved: Moved,
}

/// A failure of a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureAt {
    /// When it happened first. Unix milliseconds.
    pub at_ms: Time,
    /// The stage.
    pub stage: String,
    /// What happened.
    pub message: String,
    /// What the host did instead.
    pub instead: String,
    /// How often since then, with the same words.
    pub times: u64,
}

/// Watches a target until a moment.
pub struct Watcher {
    target: TargetId,
    start: Time,
    from: Time,
    to: Time,
    last: Time,
    changed: Option<Moment>,
    moves: Vec<MovedAt>,
    failures: Vec<FailureAt>,
    changes: Vec<ChangeAt>,
}

impl Watcher {
    /// A watcher of `target` in a run of `engine` that begins at `start`. It asks about `to`, and lists the changes from `from` on
    /// ([`Time::NEVER`]: none).
    pub fn new(
        engine: &mut Engine,
        target: TargetId,
        start: Time,
        from: Time,
        to: Time,
    ) -> Watcher {
        engine.watch(target);
        Watcher {
            target,
            start,
            from,
            to,
            last: start,
            changed: None,
            moves: Vec::new(),
            failures: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// The run goes on in another engine, which has the target under another number.
    pub fn follow(&mut self, engine: &mut Engine, target: TargetId) {
        engine.watch(target);
        self.target = target;
    }

    /// Takes in a step. One after the moment is none of its business: whoever runs the engine stops before it.
    pub fn see(&mut self, engine: &mut Engine, plan: &Plan) {
        debug_assert!(plan.at <= self.to, "the run goes on after the moment");
        self.last = plan.at;
        if let Some(change) = plan.changes.iter().find(|change| change.target == self.target) {
            self.moves.clear();
            self.failures.clear();
            let inspection = engine.inspect(plan.at, self.target);
            let change = change_at(plan.at, change, &inspection);
            if plan.at >= self.from {
                self.changes.push(change.clone());
            }
            self.changed = Some(Moment { change, inspection });
        }
        let moved = engine.moved().iter().cloned();
        self.moves.extend(moved.map(|moved| MovedAt { at_ms: plan.at, moved }));
        let target = self.target;
        for failure in plan.failures.iter().filter(|failure| failure.targets.contains(&target)) {
            self.fail(plan.at, failure);
        }
        // The last ones are those in force.
        self.moves.drain(..self.moves.len().saturating_sub(KEPT_AT_MOST));
        self.failures.drain(..self.failures.len().saturating_sub(KEPT_AT_MOST));
    }

    fn fail(&mut self, at_ms: Time, failure: &StageFailure) {
        let StageFailure { stage, message, instead, .. } = failure;
        let is_known = |known: &&mut FailureAt| {
            known.stage == *stage && known.message == *message && known.instead == *instead
        };
        match self.failures.iter_mut().rev().find(is_known) {
            Some(known) => known.times += 1,
            None => self.failures.push(FailureAt {
                at_ms,
                stage: stage.clone(),
                message: message.clone(),
                instead: instead.clone(),
                times: 1,
            }),
        }
    }

    /// What stood at the moment, with `engine` as it was left by the last step until then.
    pub fn finish(self, engine: &mut Engine) -> Why {
        Why {
            start_ms: self.start,
            at_ms: self.to,
            step_ms: self.last,
            in_force: engine.inspect(self.last, self.target),
            changed: self.changed,
            moves: self.moves,
            failures: self.failures,
            changes: self.changes,
        }
    }
}

/// A change as it is told.
pub fn change_at(at_ms: Time, change: &Change, inspection: &Inspection) -> ChangeAt {
    ChangeAt {
        at_ms,
        from: change.from,
        to: change.to,
        ready: inspection.ready,
        waiting: inspection.waiting,
        reason: reason_of(change).to_owned(),
        clamps: change.clamps.clone(),
    }
}
