//! What will be done and why: the only output of a step.

use serde::{Deserialize, Serialize};

use super::fleet::NodeId;
use super::target::{ReplicaId, TargetId};
use crate::time::Time;

/// What to do next. It leaves no choice to whoever carries it out, and applying it twice is applying it once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// When it was made.
    pub at: Time,
    /// Counts plans; a backend refuses one that is older than the last it applied.
    pub generation: u64,
    /// When the engine wants to see the world again, whatever happens before; [`Time::NEVER`] where only an event matters. A
    /// report that comes while that is further off than the next tick is such an event.
    pub wake_at: Time,
    /// What changes, in order.
    pub actions: Vec<Action>,
    /// What was decided anew and why, in order of targets. A target whose decision stands is not in it.
    pub changes: Vec<Change>,
    /// Targets with replicas that find no place, in order. One about which the same was told before is not in it.
    #[serde(default)]
    pub unplaced: Vec<Unplaced>,
    /// Idle replicas that leave so that a service which waits finds a place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub yielded: Vec<Yielded>,
    /// Policies that failed or were put aside in this step.
    pub failures: Vec<StageFailure>,
}

/// Replicas of a target that find no place. They wait for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unplaced {
    /// The target.
    pub target: TargetId,
    /// How many of its replicas.
    pub replicas: u32,
    /// Why, in the placement policy's words, if somebody reads; empty otherwise.
    pub reason: String,
}

/// An idle replica that leaves for another service's sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Yielded {
    /// The replica.
    pub replica: ReplicaId,
    /// Who waits for a place.
    pub to: TargetId,
}

/// Something for a backend to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Bring a replica up on that node.
    Start {
        /// The new replica.
        replica: ReplicaId,
        /// Where it goes, by position in the observed nodes.
        node: NodeId,
    },
    /// Tell the owner of a target's replicas how many there should be.
    Scale {
        /// The target.
        target: TargetId,
        /// How many.
        to: u32,
    },
    /// Let a replica finish what it has, then end it.
    Drain {
        /// The replica.
        replica: ReplicaId,
    },
}

/// A decision that differs from the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The target.
    pub target: TargetId,
    /// Replicas wanted before; `None`: nothing had been decided.
    pub from: Option<u32>,
    /// Replicas wanted now.
    pub to: u32,
    /// What each stage said, in order of the chain.
    pub stages: Vec<StageSaid>,
    /// Bounds and guards that changed an answer.
    pub clamps: Vec<Clamp>,
}

/// What one stage said about a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSaid {
    /// Name of the stage.
    pub stage: String,
    /// The digest of the policy that decided: the stage's own, or the one that stood in for it. That of its own where none has
    /// decided yet.
    pub digest: String,
    /// Replicas it wanted; `None`: it left things as they were.
    pub wanted: Option<u32>,
    /// Its outputs by name, in the order in which its policy gives them; `None`: it gave no value.
    pub outputs: Vec<(String, Option<f64>)>,
    /// Its line for a timeline, if somebody reads; empty otherwise.
    pub reason: String,
}

/// A bound or guard of the host that changed an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clamp {
    /// After which stage; the chain's last stage for the final bounds.
    pub stage: String,
    /// Which bound.
    pub rule: ClampRule,
    /// What was asked.
    pub from: u32,
    /// What it became.
    pub to: u32,
}

/// The bounds and guards of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClampRule {
    /// At least the minimum.
    Min,
    /// At most the maximum.
    Max,
    /// At least the initial scale until that was once ready.
    Initial,
    /// The activation scale for a request that waits at zero while policies fail.
    Activation,
    /// No more than are left after idle replicas made room for a service that waits.
    Yielded,
    /// What a person pinned, whatever policies and bounds say.
    Pinned,
}

/// A policy that gave no answer for some targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageFailure {
    /// Name of the stage.
    pub stage: String,
    /// The targets without an answer, in order.
    pub targets: Vec<TargetId>,
    /// What happened, for people.
    pub message: String,
    /// What the host did instead: `hold`, `skip`, `fallback` or `closed`.
    pub instead: String,
    /// The policy is put aside until then after five failures in a row.
    pub quarantined_until: Option<Time>,
}
