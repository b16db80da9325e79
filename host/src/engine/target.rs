//! What is scaled: targets and their replicas, and what the engine is told about them before anything runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bounds::BoundsNow;
use super::chain::Seat;
use super::fleet::Resources;
use super::observation::{Counts, Report};
use super::recent::Recent;
use super::replicas::ReplicaSet;
use super::signal::Signal;
use super::windows::Window;
use crate::time::Time;

/// A target within one engine: a handle, given in the order of [`TargetName`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetId(pub u32);

impl TargetId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One replica for good: ordinals are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId {
    /// Whose replica it is.
    pub target: TargetId,
    /// Counts the replicas of the target from 0.
    pub ordinal: u32,
}

/// One thing that is scaled. Order by name is the order of everything: batches, chunks, reports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetName {
    /// The service; targets of one service are a group.
    pub service: String,
    /// An immutable version of the service.
    pub revision: String,
    /// What its replicas do: `predictor`, or `prefill` and `decode`.
    pub role: String,
    /// GPU class, on demand or spot; `default` where the service names none.
    pub pool: String,
}

impl TargetName {
    /// The only target of a service: revision 1, role `predictor`, pool `default`.
    pub fn of_service(service: &str) -> TargetName {
        TargetName {
            service: service.into(),
            revision: "1".into(),
            role: "predictor".into(),
            pool: "default".into(),
        }
    }
}

impl fmt::Display for TargetName {
    /// The service, and after it only what is out of the ordinary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.service)?;
        for (part, usual) in
            [(&self.revision, "1"), (&self.role, "predictor"), (&self.pool, "default")]
        {
            if part != usual {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}

/// Limits of the host on a target's replicas, outside every policy's reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// At least so many; counts as 0 for an unreachable revision. Wins over `max`.
    pub min: u32,
    /// At most so many; 0 is no limit.
    pub max: u32,
    /// How many to begin with; at least so many until that many were once ready, if above 1.
    pub initial: u32,
}

/// Who makes and ends the replicas of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// The engine: it names each one and says where it goes.
    #[default]
    Tidegate,
    /// Something else, as a Deployment: the engine says how many, and is told how many there are.
    Other,
}

/// All that the engine is told about a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetSpec {
    /// Which target it is.
    pub name: TargetName,
    /// Whose it is; batches never mix tenants.
    pub tenant: String,
    /// Who makes and ends its replicas.
    pub owner: Owner,
    /// Limits of the host.
    pub bounds: Bounds,
    /// Replicas that a request waiting at zero gets when every policy fails. At least 1.
    pub activation: u32,
    /// Whether requests can be routed to it. `None`: not known, which counts as reachable.
    pub is_reachable: Option<bool>,
    /// The settings document for each scaling stage, in order of the chain. JSON.
    pub scaling_settings: Vec<String>,
    /// The settings document for the placement policy. JSON.
    pub placement_settings: String,
    /// What one replica takes from a node.
    pub needs: Resources,
    /// Weights of the model, to be held by the GPUs of one replica together. Bytes.
    pub weights_bytes: u64,
}

/// A person's word that holds against policies and bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    /// Replicas that there are to be.
    pub replicas: u32,
    /// From then on it holds no longer.
    pub until: Time,
}

/// What settings a target has, as numbers that differ where those do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Marks {
    /// Of all that the engine was told about it.
    pub(super) whole: u64,
    /// Of the settings document for each scaling stage.
    pub(super) settings: Vec<u64>,
}

impl Marks {
    pub(super) fn of(spec: &TargetSpec) -> Marks {
        let whole = serde_json::to_vec(spec).expect("a target has text for keys");
        let settings = spec.scaling_settings.iter().map(|document| mark(document.as_bytes()));
        Marks { whole: mark(&whole), settings: settings.collect() }
    }
}

/// FNV-1a. Nobody gains by making two settings look alike: the first tick puts right what that leaves undone.
fn mark(bytes: &[u8]) -> u64 {
    let step = |mark: u64, byte: &u8| (mark ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// What the gateway last said of a target's requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Levels {
    pub(super) in_flight: u32,
    pub(super) waiting: u32,
    pub(super) oldest_wait_ms: u64,
    /// Requests in flight over the last second, waiting ones included.
    pub(super) concurrency: f64,
}

/// A target as the engine keeps it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) spec: TargetSpec,
    pub(super) marks: Marks,
    /// The same number for all targets of a tenant.
    pub(super) tenant: u32,
    /// The same number for all targets of a service.
    pub(super) group: u32,
    pub(super) created_at: Time,
    pub(super) next_tick: Time,
    /// No stage wanted the next tick when the last plan was made.
    pub(super) is_tick_spared: bool,
    /// When a stage must be asked without anything happening, as of the last plan.
    pub(super) wakes_at: Time,
    /// Whether the initial scale was once ready.
    pub(super) is_initialised: bool,
    /// Since when the gateway is in the path of its requests.
    pub(super) gateway_since: Option<Time>,
    pub(super) gateway_answers: bool,
    pub(super) windows: Vec<Window>,
    /// What was reported of every signal, where that is kept.
    pub(super) recent: Recent,
    pub(super) seats: Vec<Seat>,
    pub(super) replicas: ReplicaSet,
    /// What was last counted, where something else owns the replicas.
    pub(super) counted: Counts,
    /// What their owner was last told.
    pub(super) scaled_to: Option<u32>,
    /// No more than so many, since idle ones made room for another service.
    pub(super) yields_to: Option<u32>,
    /// Replicas that the chain wants, within bounds.
    pub(super) unpinned: u32,
    pub(super) pin: Option<Pin>,
    /// Replicas that the plan wants: those of the pin, or else what the chain wants.
    pub(super) desired: u32,
    /// What `desired` was when the last plan was made; `None`: there was none.
    pub(super) planned: Option<u32>,
    pub(super) levels: Levels,
    /// The host gave it its activation scale, as its policies failed; until they answer again it keeps that.
    pub(super) is_activated: bool,
    /// A request waits although no replica is ready.
    pub(super) is_poked: bool,
    /// A decision about it was asked for, whatever was wanted last.
    pub(super) is_asked: bool,
    /// Something happened that stages may want to hear of.
    pub(super) is_touched: bool,
}

impl Target {
    pub(super) fn new(
        spec: TargetSpec,
        tenant: u32,
        group: u32,
        now: Time,
        tick_ms: u64,
    ) -> Target {
        let desired = spec.bounds.now(spec.is_reachable, false).apply(spec.bounds.initial).0;
        Target {
            marks: Marks::of(&spec),
            spec,
            tenant,
            group,
            created_at: now,
            next_tick: now + tick_ms,
            is_tick_spared: false,
            wakes_at: Time::NEVER,
            is_initialised: false,
            gateway_since: Some(now),
            gateway_answers: true,
            windows: Vec::new(),
            recent: Recent::default(),
            seats: Vec::new(),
            replicas: ReplicaSet::default(),
            counted: Counts::default(),
            scaled_to: None,
            yields_to: None,
            unpinned: desired,
            pin: None,
            desired,
            planned: None,
            levels: Levels::default(),
            is_activated: false,
            is_poked: false,
            is_asked: false,
            is_touched: true,
        }
    }

    pub(super) fn bounds_now(&self) -> BoundsNow {
        self.spec.bounds.now(self.spec.is_reachable, self.is_initialised)
    }

    /// What is left of `desired` where idle replicas made room for another service. That ends when a request waits, or the policies
    /// want as few themselves.
    pub(super) fn yielding(&mut self, desired: u32) -> u32 {
        let is_wanted = self.is_poked || self.levels.waiting > 0;
        self.yields_to = self.yields_to.filter(|to| !is_wanted && desired > *to);
        self.yields_to.unwrap_or(desired)
    }

    /// What the stage before `position` wants, within bounds; `None` where it has not said yet.
    pub(super) fn proposal_before(&self, position: usize) -> Option<u32> {
        let wanted = self.seats[position.checked_sub(1)?].wanted?;
        Some(self.bounds_now().apply(wanted).0)
    }

    /// Replicas that take requests; `None`: not known.
    pub(super) fn ready(&self) -> Option<u32> {
        match self.spec.owner {
            Owner::Tidegate => Some(self.replicas.ready()),
            Owner::Other => self.counted.ready,
        }
    }

    /// Replicas that are wanted and not ready.
    pub(super) fn starting(&self) -> u32 {
        match self.spec.owner {
            Owner::Tidegate => self.replicas.starting(),
            Owner::Other => self.counted.starting,
        }
    }

    /// Whether a request waits at zero and a policy that should see to it fails: the host does it then.
    pub(super) fn is_starved(&self) -> bool {
        (self.is_poked || self.levels.waiting > 0) && self.ready() == Some(0) && self.is_failing()
    }

    /// Whether a policy of its chain failed when last asked.
    pub(super) fn is_failing(&self) -> bool {
        self.seats.iter().any(Seat::is_failing)
    }

    /// The replicas that a request waiting at zero gets when policies fail.
    pub(super) fn activation(&self) -> u32 {
        self.bounds_now().apply(self.spec.activation.max(1)).0.max(1)
    }

    /// Takes in what the gateway counted over a second.
    pub(super) fn report(&mut self, report: &Report, keeps_s: u32) {
        self.recent.take(report, keeps_s);
        for window in &mut self.windows {
            let value = report.values[window.spec().signal as usize];
            if !value.is_nan() {
                window.record(report.second, value);
            }
        }
        self.levels = Levels {
            in_flight: report.in_flight,
            waiting: report.waiting,
            oldest_wait_ms: report.oldest_wait_ms,
            concurrency: report.values[Signal::Concurrency as usize],
        };
    }

    /// Marks the initial scale as reached for good, if it is. Whether it was not before.
    pub(super) fn initialise(&mut self) -> bool {
        let min = if self.spec.is_reachable == Some(false) { 0 } else { self.spec.bounds.min };
        let reached =
            !self.is_initialised && self.ready().unwrap_or(0) >= min.max(self.spec.bounds.initial);
        self.is_initialised |= reached;
        reached
    }
}
