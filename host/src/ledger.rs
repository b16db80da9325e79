//! What a replay came to: the numbers that people compare. Their definitions are in `docs/replay.md`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All that a replay came to: the document that `-o json` prints, and what text and page are made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// `tidegate.dev/v1alpha1`.
    pub api_version: String,
    /// `Replay`.
    pub kind: String,
    /// How the run was set up.
    pub setup: Setup,
    /// The sums.
    pub summary: Sums,
    /// What happened, service by service, sorted by name.
    pub services: Vec<ServiceOutcome>,
    /// GPUs of each class over time, sorted by class.
    pub classes: Vec<ClassOutcome>,
    /// Policies that failed and replicas that found no place, and what was done instead. Equal ones are one, counted over the run.
    pub failures: Vec<FailureNote>,
    /// Chains of policies that took over in the middle of the run, in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub swaps: Vec<SwapNote>,
    /// What people should know about the input, in order.
    pub warnings: Vec<String>,
}

/// A chain of policies that took over in the middle of a run, or could not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwapNote {
    /// When. Seconds since the start.
    pub at_s: f64,
    /// The policies file, as it was named.
    pub policies: String,
    /// The stages from then on in order, the placement policy last.
    pub stages: Vec<PolicyNote>,
    /// What was not taken over as it was, a line each: states that were migrated or born anew, stages that are new or gone.
    pub told: Vec<String>,
    /// Why it would be refused live; `null`: it would not.
    pub refused: Option<String>,
}

/// How a run was set up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Setup {
    /// The version of the program.
    pub version: String,
    /// The version of the simulator's model: results of different ones are not to be compared.
    pub simulator: u32,
    /// The word that all randomness comes from.
    pub seed: String,
    /// The profile: a name, or the file.
    pub profile: String,
    /// Length of a tick. Milliseconds.
    pub tick_ms: u64,
    /// When the trace begins. Unix milliseconds.
    pub start_ms: u64,
    /// How long the run took in its own time. Seconds.
    pub duration_s: f64,
    /// The traces, as they were named, sorted.
    pub traces: Vec<String>,
    /// The stages in order, the placement policy last.
    pub policies: Vec<PolicyNote>,
    /// Nodes and their GPUs in all.
    pub nodes: u32,
    /// GPUs in all.
    pub gpus: u32,
}

/// A policy that decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyNote {
    /// The name of the stage, `placement` for the placement policy.
    pub stage: String,
    /// The digest of the component, or `native:NAME`.
    pub digest: String,
}

/// The sums of a run, whole and for each service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sums {
    /// All services together.
    #[serde(flatten)]
    pub whole: Summary,
    /// Each service by name.
    pub services: BTreeMap<String, Summary>,
}

/// What happened to a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceOutcome {
    /// Its name.
    pub name: String,
    /// The model that it serves.
    pub model: String,
    /// Decisions that differ from the one before, in order of time.
    pub changes: Vec<ChangeNote>,
    /// How it went over time.
    pub series: Series,
}

/// A decision that differs from the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeNote {
    /// Seconds since the start.
    pub at_s: f64,
    /// The pool of the service that it is about, where the service has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Replicas wanted before; `null`: nothing had been decided.
    pub from: Option<u32>,
    /// Replicas wanted now.
    pub to: u32,
    /// Replicas that were ready then.
    pub ready: u32,
    /// Requests that waited then.
    pub waiting: u32,
    /// Whether the service was in panic mode after the decision.
    pub in_panic: bool,
    /// Why, in the words of the last stage that wanted something else than was proposed to it; `initial scale` where none has decided.
    pub reason: String,
    /// Bounds and guards of the host that changed an answer, as `maximum: 12 → 10`.
    pub clamps: Vec<String>,
}

/// A service over time, in steps of equal length. All lists are equally long; entry `i` covers `i·step` to `(i+1)·step`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// Length of a step. Seconds.
    pub step_s: f64,
    /// Requests in flight, waiting ones included: their mean.
    pub demand: Vec<f64>,
    /// Requests that waited: the most at once, at the ends of seconds.
    pub waiting: Vec<u32>,
    /// Replicas that the plan wanted, at the end of the step.
    pub desired: Vec<u32>,
    /// Replicas that took requests, at the end of the step.
    pub ready: Vec<u32>,
    /// The longest wait of a request that was dispatched in the step. Seconds.
    pub wait_s: Vec<f64>,
    /// What the service had cost by the end of the step, in started minutes. US dollars.
    pub cost: Vec<f64>,
}

/// GPUs of one class over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassOutcome {
    /// The class, as `A40`.
    pub class: String,
    /// GPUs that there are.
    pub gpus: u32,
    /// Length of a step. Seconds; the same as that of the services' series.
    pub step_s: f64,
    /// GPUs that replicas had, at the end of each step.
    pub used: Vec<u32>,
}

/// What is done about replicas that the placement policy found no node for: they wait.
pub const UNPLACED: &str = "wait";

/// A policy that gave no answer, or replicas that the placement policy found no node for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureNote {
    /// Seconds since the start, of the first time.
    pub at_s: f64,
    /// Name of the stage.
    pub stage: String,
    /// The services without an answer, the first few of them.
    pub services: Vec<String>,
    /// What happened.
    pub message: String,
    /// What the host did instead: `hold`, `skip`, `fallback`, `closed`; `wait` where replicas found no node.
    pub instead: String,
    /// How often in the whole run.
    pub times: u64,
}

/// The sums over a replay, whole or for one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// What became of the requests.
    pub requests: Requests,
    /// From arrival to dispatch, over the served requests.
    pub wait_s: Waits,
    /// Replicas that went from wanted to ready.
    pub cold_starts: u64,
    /// From a replica's container start to its end, every started minute. Minutes.
    pub replica_minutes: u64,
    /// The same times its GPUs. GPU minutes.
    pub gpu_minutes: u64,
    /// The same minutes at the prices of their node classes: GPUs, vCPUs and memory. US dollars.
    pub cost: f64,
    /// Most replicas that existed at once, starting ones included, draining ones not.
    pub max_replicas: u32,
    /// Entries into panic mode.
    pub panics: u64,
}

/// What became of the requests: `arrived = served + expired + failed + unfinished`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Requests {
    /// All of them.
    pub arrived: u64,
    /// Answered in full.
    pub served: u64,
    /// Held longer than 0 s before they went to a replica. They are counted among the others too.
    pub waited: u64,
    /// Given up at their deadline, waiting or running.
    pub expired: u64,
    /// Refused because the queue was full, lost with their replica, still running when a draining replica's grace was over, or with a
    /// prompt larger than the server's cache.
    pub failed: u64,
    /// Still waiting or running at the end.
    pub unfinished: u64,
}

/// Quantiles of waits. Seconds, to a millisecond; above 2 s to three significant digits; 0 where nothing was served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Waits {
    /// Half of them were no longer.
    pub p50: f64,
    /// 95 in a hundred were no longer.
    pub p95: f64,
    /// 99 in a hundred were no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}
