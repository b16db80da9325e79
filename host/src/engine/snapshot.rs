//! All that an engine knows of its targets, by name, in a form that can be written down: [`Engine::snapshot`]. A new engine, with
//! other policies or targets, goes on from it: [`Engine::restore`]. A swap of policies, changed services and a restart are this one
//! mechanism. With the same policies and targets the new engine's plans are those of the old one, byte for byte.
//!
//! What can be made again from settings (bindings, columns, bounds) is not in it, and neither are the settings.

mod exact;
mod restore;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use restore::{BornAnew, Gone, Migrated, RestoreError, Restored};

use super::chain::{Seat, Stage};
use super::fleet::Node;
use super::observation::Counts;
use super::recent::Recent;
use super::replicas::ReplicaSet;
use super::target::{Levels, Marks, Pin, Target, TargetName};
use super::windows::{Window, WindowSpec};
use super::{Engine, TargetId};
use crate::policy::Quarantine;
use crate::policy::wire::Causes;
use crate::time::Time;

use exact::{Bytes, Exact};

/// The version of the format; another one is refused.
pub const FORMAT: u32 = 1;

/// All that an engine knows between two steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    format: u32,
    /// When the last plan was made.
    at: Time,
    /// When that asked to be woken.
    wakes_at: Time,
    generation: u64,
    tick_ms: u64,
    stages: Vec<StageKept>,
    /// The digest of the placement policy.
    placement: String,
    /// Texts by the positions that stand for them in what policies were asked with.
    words: Vec<String>,
    ground: GroundKept,
    /// In the engine's order.
    targets: Vec<TargetKept>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StageKept {
    name: String,
    /// Its policy, and after it the one that stands in for it.
    policies: Vec<PolicyKept>,
    /// Names of the outputs, in the order in which seats have them.
    outputs: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyKept {
    digest: String,
    /// The layout of its states; `None`: it could not say.
    schema: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroundKept {
    nodes: Vec<Node>,
    /// The services of which replicas were started on each of them.
    started: Vec<BTreeSet<String>>,
    is_stale: bool,
    retry_at: Time,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TargetKept {
    tenant: String,
    name: TargetName,
    marks: Marks,
    created_at: Time,
    next_tick: Time,
    is_tick_spared: bool,
    wakes_at: Time,
    is_initialised: bool,
    gateway_since: Option<Time>,
    gateway_answers: bool,
    windows: Vec<WindowKept>,
    recent: Vec<(u64, [Exact; super::Signal::ALL.len()])>,
    /// In order of the stages.
    seats: Vec<SeatKept>,
    replicas: ReplicaSet,
    counted: Counts,
    scaled_to: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    yields_to: Option<u32>,
    unpinned: u32,
    pin: Option<Pin>,
    desired: u32,
    planned: Option<u32>,
    in_flight: u32,
    waiting: u32,
    oldest_wait_ms: u64,
    concurrency: Exact,
    is_activated: bool,
    is_poked: bool,
    is_asked: bool,
    is_touched: bool,
    /// How many replicas were last told to have no place, and why.
    unplaced: Option<(u32, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WindowKept {
    spec: WindowSpec,
    total: Exact,
    /// The first and the last second with a value, and what there is from the one to the other, as far as the window reaches.
    written: Option<(u64, u64, Vec<Exact>)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SeatKept {
    chairs: Vec<ChairKept>,
    wanted: Option<u32>,
    is_applied: bool,
    outputs: Vec<Exact>,
    next_at: Time,
    has_changed: bool,
    was_asked: bool,
    failed_in: u64,
    quarantine: Quarantine,
    /// When to ask again after a failure, and about which causes.
    failing: Option<(Time, u8)>,
    is_closed: bool,
    ticked: Time,
    poked_in: u64,
    decided_in: u64,
    decided_by: usize,
    inherited: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChairKept {
    state: Option<Bytes>,
    asked: Option<AskedKept>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AskedKept {
    at: Time,
    causes: u8,
    inputs: Vec<Exact>,
    state: Bytes,
}

impl Snapshot {
    /// When the last plan was made before it was taken; [`Time::ZERO`]: none was.
    pub fn at(&self) -> Time {
        self.at
    }

    /// The number of that plan.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Names of the targets that are in it, with their tenants.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &TargetName)> {
        self.targets.iter().map(|target| (target.tenant.as_str(), &target.name))
    }

    /// The nodes that there were.
    pub fn nodes(&self) -> &[Node] {
        &self.ground.nodes
    }

    /// The replicas of a target; `None`: it is not in it.
    pub fn replicas(&self, tenant: &str, name: &TargetName) -> Option<&ReplicaSet> {
        let its = |target: &&TargetKept| target.tenant == tenant && target.name == *name;
        self.targets.iter().find(its).map(|target| &target.replicas)
    }
}

impl Engine {
    /// All that it knows, to be gone on from by another engine: [`Engine::restore`].
    pub fn snapshot(&self) -> Snapshot {
        let placing = &self.placing;
        let unplaced = |id: TargetId| {
            placing.unplaced.get(&id).map(|told| (told.replicas, told.reason.clone()))
        };
        let targets = self.targets.iter().zip(0..);
        Snapshot {
            format: FORMAT,
            at: self.planned_at,
            wakes_at: self.wakes_at,
            generation: self.generation,
            tick_ms: self.options.tick_ms,
            stages: self.chain.stages.iter().map(stage).collect(),
            placement: placing.digest().to_owned(),
            words: self.words.list().to_vec(),
            ground: GroundKept {
                nodes: placing.grounds.nodes.clone(),
                started: placing.grounds.started.clone(),
                is_stale: placing.is_stale,
                retry_at: placing.retry_at,
            },
            targets: targets.map(|(one, at)| target(one, unplaced(TargetId(at)))).collect(),
        }
    }
}

fn stage(stage: &Stage) -> StageKept {
    let policies = stage.policies.iter().map(|bound| PolicyKept {
        digest: bound.policy.digest().to_owned(),
        schema: bound.schema.clone(),
    });
    StageKept {
        name: stage.name().to_owned(),
        policies: policies.collect(),
        outputs: stage.outputs().to_vec(),
    }
}

fn target(target: &Target, unplaced: Option<(u32, String)>) -> TargetKept {
    let Levels { in_flight, waiting, oldest_wait_ms, concurrency } = target.levels;
    TargetKept {
        tenant: target.spec.tenant.clone(),
        name: target.spec.name.clone(),
        marks: target.marks.clone(),
        created_at: target.created_at,
        next_tick: target.next_tick,
        is_tick_spared: target.is_tick_spared,
        wakes_at: target.wakes_at,
        is_initialised: target.is_initialised,
        gateway_since: target.gateway_since,
        gateway_answers: target.gateway_answers,
        windows: target.windows.iter().map(window).collect(),
        recent: seconds(&target.recent),
        seats: target.seats.iter().map(seat).collect(),
        replicas: target.replicas.clone(),
        counted: target.counted,
        scaled_to: target.scaled_to,
        yields_to: target.yields_to,
        unpinned: target.unpinned,
        pin: target.pin,
        desired: target.desired,
        planned: target.planned,
        in_flight,
        waiting,
        oldest_wait_ms,
        concurrency: Exact(concurrency),
        is_activated: target.is_activated,
        is_poked: target.is_poked,
        is_asked: target.is_asked,
        is_touched: target.is_touched,
        unplaced,
    }
}

fn seconds(recent: &Recent) -> Vec<(u64, [Exact; super::Signal::ALL.len()])> {
    recent.seconds().map(|(second, values)| (*second, values.map(Exact))).collect()
}

fn window(window: &Window) -> WindowKept {
    let (total, written) = window.contents();
    let exact = |(first, last, values): (_, _, Vec<f64>)| {
        (first, last, values.into_iter().map(Exact).collect())
    };
    WindowKept { spec: window.spec(), total: Exact(total), written: written.map(exact) }
}

fn seat(seat: &Seat) -> SeatKept {
    let chairs = seat.chairs.iter().map(|chair| ChairKept {
        state: chair.state.clone().map(Bytes),
        asked: chair.asked.as_ref().map(|asked| AskedKept {
            at: asked.at,
            causes: number(asked.causes),
            inputs: asked.inputs.iter().copied().map(Exact).collect(),
            state: Bytes(asked.state.clone()),
        }),
    });
    SeatKept {
        chairs: chairs.collect(),
        wanted: seat.wanted,
        is_applied: seat.is_applied,
        outputs: seat.outputs.iter().copied().map(Exact).collect(),
        next_at: seat.next_at,
        has_changed: seat.has_changed,
        was_asked: seat.was_asked,
        failed_in: seat.failed_in,
        quarantine: seat.quarantine,
        failing: seat.failing.map(|(retry, about)| (retry, number(about))),
        is_closed: seat.is_closed,
        ticked: seat.ticked,
        poked_in: seat.poked_in,
        decided_in: seat.decided_in,
        decided_by: seat.decided_by,
        inherited: seat.inherited.clone(),
    }
}

/// The causes in the order of their bits.
const CAUSES: [Causes; 5] =
    [Causes::CREATED, Causes::TICK, Causes::POKE, Causes::CHANGE, Causes::TIMER];

fn number(causes: Causes) -> u8 {
    let set = CAUSES.iter().enumerate().filter(|(_, cause)| causes.contains(**cause));
    set.map(|(bit, _)| 1 << bit).sum()
}

fn causes(number: u8) -> Causes {
    let set = CAUSES.iter().enumerate().filter(|(bit, _)| number & 1 << bit != 0);
    set.fold(Causes::empty(), |all, (_, cause)| all | *cause)
}
