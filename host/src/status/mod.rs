//! What is live now, as one document: services with their replicas, nodes with their GPUs, policies, decisions, the journal. The control
//! loop makes it with a [`StatusBuilder`] and publishes it; the page, `tidegate top` and the metrics only read it.
//!
//! Times are Unix milliseconds. Text in it may come from anybody: manifests, policies, the output of children. Whoever shows it shows
//! it as text.

mod builder;
#[doc(hidden)]
pub mod sample;
mod series;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use builder::{Facts, Rules, StatusBuilder, World};
pub use series::{SERIES_S, Series};

use crate::time::Time;

/// What is live now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// When this was so.
    pub at: Time,
    /// When the program started.
    pub started_at: Time,
    /// The program's version.
    pub version: String,
    /// Whether it takes requests, or is about to end.
    pub phase: RunPhase,
    /// Whether it decides without acting.
    pub is_dry_run: bool,
    /// Sorted by name.
    pub services: Vec<ServiceStatus>,
    /// Sorted by name.
    pub nodes: Vec<NodeStatus>,
    /// In order of the chain, placement last.
    pub policies: Vec<PolicyStatus>,
    /// The latest, oldest first.
    pub decisions: Vec<Decision>,
    /// The latest, oldest first.
    pub swaps: Vec<SwapStatus>,
    /// `None`: no journal is written.
    pub journal: Option<JournalStatus>,
    /// What was counted since the start.
    pub totals: Totals,
}

/// Where the program is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunPhase {
    /// It has not decided yet.
    #[default]
    Starting,
    /// It takes requests.
    Running,
    /// It answers what it has and ends.
    Stopping,
}

/// A service: sums over its targets, then these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Replicas that the plan wants.
    pub desired: u32,
    /// Replicas that take requests.
    pub ready: u32,
    /// Replicas that are wanted and not ready.
    pub starting: u32,
    /// Replicas that end what they have.
    pub draining: u32,
    /// Failures since a replica last got ready.
    pub failed: u32,
    /// At least so many replicas.
    pub min: u32,
    /// At most so many; 0 is no limit.
    pub max: u32,
    /// Requests that wait.
    pub waiting: u32,
    /// Requests at a replica.
    pub in_flight: u32,
    /// How long the oldest of those that wait has waited. Milliseconds.
    pub oldest_wait_ms: u64,
    /// A number of replicas that a person asked for.
    pub pin: Option<Pin>,
    /// Whether its idle replicas made room for another service.
    pub is_evicted: bool,
    /// Whether its replicas are fake models.
    pub is_fake: bool,
    /// Its targets, by name.
    pub targets: Vec<TargetStatus>,
    /// Its replicas, by target and ordinal.
    pub replicas: Vec<ReplicaStatus>,
    /// The last minutes.
    pub series: Series,
}

/// A number of replicas that a person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// So many.
    pub replicas: u32,
    /// It ends then by itself.
    pub until: Time,
}

/// One thing that is scaled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// An immutable version of the service.
    pub revision: String,
    /// What its replicas do.
    pub role: String,
    /// GPU class, on demand or spot.
    pub pool: String,
    /// Replicas that the plan wants.
    pub desired: u32,
    /// Replicas that take requests.
    pub ready: u32,
    /// Replicas that are wanted and not ready.
    pub starting: u32,
    /// Replicas that end what they have.
    pub draining: u32,
    /// Failures since a replica last got ready.
    pub failed: u32,
    /// No new replica is started before that, after failures.
    pub back_off_until: Option<Time>,
    /// At least so many replicas.
    pub min: u32,
    /// At most so many; 0 is no limit.
    pub max: u32,
    /// Requests that wait.
    pub waiting: u32,
    /// Requests at a replica.
    pub in_flight: u32,
    /// How long the oldest of those that wait has waited. Milliseconds.
    pub oldest_wait_ms: u64,
    /// Why its replicas find no place; `None`: they do.
    pub unplaced: Option<String>,
    /// What was last decided, and by whom.
    pub decision: Option<Decision>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Its target's revision.
    pub revision: String,
    /// Its target's pool.
    pub pool: String,
    /// Counts the replicas of the target from 0; never used again.
    pub ordinal: u32,
    /// Where it is in its life.
    pub phase: ReplicaPhase,
    /// Since when it is there.
    pub since: Time,
    /// Why, in a few words; may be empty.
    pub reason: String,
    /// Its node.
    pub node: Option<String>,
    /// Its GPUs there, by index.
    pub gpus: Vec<u32>,
    /// Its process.
    pub pid: Option<u32>,
    /// Where it listens.
    pub port: Option<u16>,
    /// Requests that it holds.
    pub in_flight: u32,
}

/// Where a replica is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicaPhase {
    /// Wanted, without a place.
    Pending,
    /// It has a place.
    Placed,
    /// Its node fetches what it runs.
    Pulling,
    /// It reads its weights and starts up.
    Loading,
    /// It takes requests.
    Ready,
    /// It takes no more requests and ends those it has.
    Draining,
    /// It is no more, against the plan.
    Failed,
}

impl ReplicaPhase {
    /// All of them, in order of a life.
    pub const ALL: [ReplicaPhase; 7] = [
        ReplicaPhase::Pending,
        ReplicaPhase::Placed,
        ReplicaPhase::Pulling,
        ReplicaPhase::Loading,
        ReplicaPhase::Ready,
        ReplicaPhase::Draining,
        ReplicaPhase::Failed,
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            ReplicaPhase::Pending => "pending",
            ReplicaPhase::Placed => "placed",
            ReplicaPhase::Pulling => "pulling",
            ReplicaPhase::Loading => "loading",
            ReplicaPhase::Ready => "ready",
            ReplicaPhase::Draining => "draining",
            ReplicaPhase::Failed => "failed",
        }
    }
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its GPUs, by index.
    pub gpus: Vec<GpuStatus>,
}

/// A GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GpuStatus {
    /// Its index on the node.
    pub index: u32,
    /// Its class, as `A40`.
    pub class: String,
    /// Its memory. Bytes.
    pub memory_bytes: u64,
    /// Who has it.
    pub used_by: Vec<GpuUse>,
}

/// A replica on a GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GpuUse {
    /// Its service.
    pub service: String,
    /// Which of its replicas.
    pub ordinal: u32,
    /// The part that it takes, from 0 to 1.
    pub share: f64,
}

/// A policy that decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Its stage; `placement` for the placement policy.
    pub stage: String,
    /// Where it comes from: a file, or `builtin:NAME`.
    pub source: String,
    /// Its digest, whole.
    pub digest: String,
    /// Whether it scales or places.
    pub kind: PolicyKind,
    /// Since when it decides.
    pub since: Time,
    /// Whether it answers.
    pub health: Health,
    /// Failures since then.
    pub failures: u64,
    /// What the last of them said.
    pub last_failure: Option<String>,
    /// What its failure leads to: `hold`, `skip`, `fallback`, `closed`.
    pub on_failure: String,
    /// Another policy that is asked the same and not heeded.
    pub shadow: Option<ShadowStatus>,
}

/// What a policy is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Numbers of replicas.
    Scaling,
    /// Nodes.
    Placement,
}

/// Whether a policy answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It does.
    Healthy,
    /// It failed lately.
    Failing,
    /// It is put aside, for some targets at least.
    Quarantined,
}

/// A policy in shadow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowStatus {
    /// Where it comes from.
    pub source: String,
    /// Its digest, whole.
    pub digest: String,
    /// Since when it is asked.
    pub since: Time,
    /// Decisions that were compared.
    pub compared: u64,
    /// Those of them that differ.
    pub differing: u64,
    /// The last that differs, in words.
    pub last: Option<String>,
}

/// A decision that differs from the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Counts the decisions since the start.
    pub number: u64,
    /// When.
    pub at: Time,
    /// The service.
    pub service: String,
    /// What of it, where it has more than one target: revision, role, pool, as far as they are out of the ordinary.
    pub target: String,
    /// Replicas wanted before; `None`: nothing had been decided.
    pub from: Option<u32>,
    /// Replicas wanted now.
    pub to: u32,
    /// Why, in the policy's words; may be empty.
    pub reason: String,
    /// The stage that made the difference.
    pub stage: String,
    /// The digest of the policy that decided there, whole.
    pub digest: String,
    /// Bounds that changed an answer, in words.
    pub clamps: Vec<String>,
}

/// A change of policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapStatus {
    /// When.
    pub at: Time,
    /// The stage; `placement` for the placement policy.
    pub stage: String,
    /// What decided before.
    pub from: String,
    /// What was to decide then.
    pub to: String,
    /// What came of it.
    pub outcome: SwapOutcome,
    /// What asked for it and why it came out so, in words.
    pub message: String,
}

/// What came of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapOutcome {
    /// The new one decides.
    Swapped,
    /// The old one decides on.
    Refused,
    /// The new one failed, and the old one decides again.
    RolledBack,
}

impl SwapOutcome {
    /// All of them.
    pub const ALL: [SwapOutcome; 3] =
        [SwapOutcome::Swapped, SwapOutcome::Refused, SwapOutcome::RolledBack];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            SwapOutcome::Swapped => "swapped",
            SwapOutcome::Refused => "refused",
            SwapOutcome::RolledBack => "rolled-back",
        }
    }
}

/// What the journal is like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalStatus {
    /// Its folder.
    pub path: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Files.
    pub segments: u64,
    /// Places where something is missing.
    pub gaps: u64,
    /// Why it does not write; `None`: it does.
    pub error: Option<String>,
}

/// What was counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Steps of the engine.
    pub steps: u64,
    /// Ticks that came later than one whole tick.
    pub missed_ticks: u64,
    /// By stage, those of the chain in order.
    pub stages: Vec<StageTotals>,
    /// Bounds that changed an answer, by rule.
    pub clamps: Vec<(String, u64)>,
    /// Swaps by outcome.
    pub swaps: Vec<(SwapOutcome, u64)>,
    /// How long a step took: upper bound in seconds, and steps that took no longer than it and longer than the one before. What took
    /// longer than the last is in `steps` alone.
    pub step_seconds: Vec<(f64, u64)>,
    /// All steps together. Seconds.
    pub step_seconds_sum: f64,
    /// From being wanted to being ready, by upper bound in seconds, as `step_seconds`.
    pub cold_start_seconds: Vec<(f64, u64)>,
    /// Cold starts.
    pub cold_starts: u64,
    /// All cold starts together. Seconds.
    pub cold_start_seconds_sum: f64,
    /// Requests by service.
    pub requests: Vec<RequestTotals>,
    /// GPU-seconds by class.
    pub gpu_seconds: Vec<(String, f64)>,
    /// What those cost where prices are known. US dollars.
    pub cost_usd: f64,
    /// Replicas that failed.
    pub replica_failures: u64,
}

/// What was decided at a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageTotals {
    /// The stage.
    pub stage: String,
    /// Decisions that differ from the one before and that it made the difference in.
    pub decided: u64,
    /// Answers that it did not give, by target.
    pub failed: u64,
}

/// What became of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestTotals {
    /// Their service.
    pub service: String,
    /// Answered.
    pub served: u64,
    /// Waited until their time was up.
    pub expired: u64,
    /// Lost with their replica, or given up by whoever asked.
    pub failed: u64,
    /// Not let in, as too many waited.
    pub refused: u64,
}

/// The first digits of a digest: enough for people.
pub fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

impl Status {
    /// The same with only the last point of each series, and only decisions after `number`: for those who know the rest.
    pub fn since(&self, number: u64) -> Status {
        let mut status = Status { decisions: Vec::new(), ..self.clone() };
        let later = self.decisions.iter().filter(|decision| decision.number > number);
        status.decisions = later.cloned().collect();
        for service in &mut status.services {
            service.series = service.series.last();
        }
        status
    }

    /// Whether it tells the same as `other`, but for the time and the series.
    pub fn is_like(&self, other: &Status) -> bool {
        let number = |status: &Status| status.decisions.last().map(|last| last.number);
        let services = |status: &Status| -> Vec<ServiceStatus> {
            let plain = |service: &ServiceStatus| ServiceStatus {
                series: Series::default(),
                targets: service.targets.clone(),
                replicas: service.replicas.clone(),
                name: service.name.clone(),
                ..*service
            };
            status.services.iter().map(plain).collect()
        };
        number(self) == number(other)
            && self.phase == other.phase
            && self.is_dry_run == other.is_dry_run
            && self.nodes == other.nodes
            && self.policies == other.policies
            && self.swaps == other.swaps
            && self.journal == other.journal
            && services(self) == services(other)
    }
}
