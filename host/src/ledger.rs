//! What a replay came to: the numbers that people compare. Their definitions are in `docs/replay.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Given up at their deadline.
    pub expired: u64,
    /// Refused because the queue was full, or lost with their replica.
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
