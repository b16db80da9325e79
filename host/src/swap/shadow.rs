//! A second chain that decides every step on the same inputs and on the real world's replicas, and does nothing: where would it have
//! decided otherwise? So a candidate is tried before it takes over, and so `--shadow` watches a policy for days.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::engine::{Engine, Observation, Plan, Snapshot, TargetId};
use crate::recorder::reason_of;
use crate::time::Time;

use super::Refused;

/// Differing decisions that are kept with their reasons; the oldest go.
pub(super) const KEPT: usize = 100;
/// Different failures that are kept.
const FAILURES_KEPT: usize = 20;

/// A moment from which on the shadow wanted another number of replicas than the real chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// When. Unix milliseconds.
    pub at: Time,
    /// The target.
    pub target: String,
    /// Replicas that the real chain wanted.
    pub real: u32,
    /// Replicas that the shadow wanted.
    pub shadow: u32,
    /// Why, in the words of the real chain's last change; empty where it had none.
    pub real_reason: String,
    /// The same of the shadow's.
    pub shadow_reason: String,
}

/// What came of a shadow so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowRun {
    /// Steps that it decided.
    pub steps: u64,
    /// Decisions that differ: a target that is wanted otherwise counts once for each pair of numbers.
    pub differences: u64,
    /// The last of them.
    pub last: VecDeque<Difference>,
    /// Steps in which one of its policies failed.
    pub failed_steps: u64,
    /// What happened there, each once, as `STAGE: MESSAGE`.
    pub failures: Vec<String>,
}

/// An engine in the shadow of another one.
pub struct Shadow {
    engine: Engine,
    run: ShadowRun,
    /// What each target was last wanted at by both, and why.
    targets: Vec<Seen>,
}

#[derive(Clone, Default)]
struct Seen {
    wanted: Option<(u32, u32)>,
    real: String,
    shadow: String,
}

impl Shadow {
    /// Lets `engine`, which has the same targets, go on from what the real one knew.
    ///
    /// # Errors
    ///
    /// When its policies cannot take that over, or its targets are not the same.
    pub fn new(mut engine: Engine, now: Time, from: &Snapshot) -> Result<Shadow, Refused> {
        let own = engine.specs().map(|spec| (spec.tenant.as_str(), &spec.name));
        if !own.eq(from.targets()) {
            return Err(Refused::other_targets());
        }
        engine.restore(now, from).map_err(|error| Refused::restore(&error))?;
        let targets = vec![Seen::default(); engine.specs().count()];
        Ok(Shadow { engine, run: ShadowRun::default(), targets })
    }

    /// Decides what `real` has just decided: it saw `seen` and made `plan` of it.
    pub fn see(&mut self, real: &Engine, seen: &Observation, plan: &Plan) {
        let own = self.engine.step(seen);
        self.run.steps += 1;
        if !own.failures.is_empty() {
            self.run.failed_steps += 1;
            for failure in &own.failures {
                let told = format!("{}: {}", failure.stage, failure.message);
                if self.run.failures.len() < FAILURES_KEPT && !self.run.failures.contains(&told) {
                    self.run.failures.push(told);
                }
            }
        }
        for change in &plan.changes {
            self.targets[change.target.index()].real = reason_of(change).to_owned();
        }
        for change in &own.changes {
            self.targets[change.target.index()].shadow = reason_of(change).to_owned();
        }
        for (position, target) in self.targets.iter_mut().enumerate() {
            let id = TargetId(position as u32);
            let wanted = (real.view(id).desired, self.engine.view(id).desired);
            if target.wanted.replace(wanted) == Some(wanted) || wanted.0 == wanted.1 {
                continue;
            }
            let spec = self.engine.specs().nth(position).expect("it is one of them");
            self.run.differences += 1;
            if self.run.last.len() == KEPT {
                self.run.last.pop_front();
            }
            self.run.last.push_back(Difference {
                at: seen.at,
                target: spec.name.to_string(),
                real: wanted.0,
                shadow: wanted.1,
                real_reason: target.real.clone(),
                shadow_reason: target.shadow.clone(),
            });
        }
        self.engine.follow(real);
    }

    /// What came of it so far.
    pub fn run(&self) -> &ShadowRun {
        &self.run
    }

    /// Ends it.
    pub(super) fn into_parts(self) -> (Engine, ShadowRun) {
        (self.engine, self.run)
    }

    /// The digests of its policies, by stage.
    pub fn policies(&self) -> BTreeMap<String, String> {
        self.engine.policies().into_iter().map(|policy| (policy.stage, policy.digest)).collect()
    }
}
