//! The numbers that decide about one revision.

use serde::{Deserialize, Serialize};

use crate::annotations::{KPA_CLASS, Revision};
use crate::duration::NANOS_PER_SECOND;
use crate::keys::LEAST_TARGET;

/// Knative's fixed utilisation for requests per second.
const RPS_UTILIZATION: f64 = 0.7;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Requests in flight.
    Concurrency,
    /// Requests a second.
    Rps,
}

/// How a window averages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aggregation {
    /// The mean.
    #[serde(rename = "linear")]
    Linear,
    /// A decaying sum.
    #[serde(rename = "weightedExponential")]
    WeightedExponential,
}

/// The numbers that decide about one revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// What is counted.
    pub metric: Metric,
    /// How it is averaged.
    pub aggregation: Aggregation,
    /// What one replica should have, in the metric's unit: `total_value` times the utilisation, at least 0.01.
    pub target_value: f64,
    /// What one replica takes, in the metric's unit.
    pub total_value: f64,
    /// Length of the stable window. Seconds.
    pub stable_window_s: u32,
    /// Length of the panic window. Seconds, at least 1.
    pub panic_window_s: u32,
    /// How many times the ready replicas must be wanted to begin panic.
    pub panic_threshold: f64,
    /// How long demand must stay low before replicas go. Seconds.
    pub scale_down_delay_s: u64,
    /// Requests that must fit in beyond the present ones; −1: always through the gateway.
    pub target_burst_capacity: f64,
    /// Replicas when a request wakes the revision; 0 is none.
    pub activation_scale: u32,
    /// Replicas to begin with.
    pub initial_scale: u32,
    /// At least so many replicas.
    pub min_scale: u32,
    /// At most so many replicas; 0 is no limit.
    pub max_scale: u32,
    /// Whether requests can be routed to it.
    pub reachable: bool,
    /// How many times the ready replicas may be wanted at once.
    pub max_scale_up_rate: f64,
    /// What part of the ready replicas must stay at once: one over this.
    pub max_scale_down_rate: f64,
    /// Requests in flight that one gateway carries.
    pub activator_capacity: f64,
    /// Whether the last replica may go.
    pub enable_scale_to_zero: bool,
    /// How long the gateway must be in the path before the last replica goes. Nanoseconds.
    pub scale_to_zero_grace_period_ns: u64,
    /// How long the last replica stays after the revision became inactive. Nanoseconds.
    pub scale_to_zero_retention_ns: u64,
    /// Length of a tick, and of a slot of the scale-down delay. Milliseconds.
    pub tick_ms: u64,
}

impl Revision {
    /// The numbers for a revision whose replicas take `container_concurrency` requests at once (0: no limit). `None` if its class is
    /// not Knative's own, which then decides about it.
    pub fn resolve(&self, container_concurrency: u32, reachable: bool) -> Option<Resolved> {
        if self.class != KPA_CLASS {
            return None;
        }
        let over = &self.cluster;
        let (default, utilization) = match self.metric {
            Metric::Concurrency if container_concurrency == 0 => {
                (over.target_default, over.target_fraction)
            }
            Metric::Concurrency => (f64::from(container_concurrency), over.target_fraction),
            Metric::Rps => (over.rps_target_default, RPS_UTILIZATION),
        };
        let total = match self.target {
            None => default,
            Some(target) if self.metric == Metric::Concurrency && container_concurrency != 0 => {
                target.min(default)
            }
            Some(target) => target,
        };
        let utilization =
            self.utilization_percentage.map_or(utilization, |percentage| percentage / 100.0);
        Some(Resolved {
            metric: self.metric,
            aggregation: self.aggregation,
            target_value: LEAST_TARGET.max(total * utilization),
            total_value: total,
            stable_window_s: (over.stable_window_ns / NANOS_PER_SECOND) as u32,
            panic_window_s: panic_window_s(over.stable_window_ns, over.panic_window_percentage),
            panic_threshold: over.panic_threshold_percentage / 100.0,
            scale_down_delay_s: (over.scale_down_delay_ns / NANOS_PER_SECOND).unsigned_abs(),
            target_burst_capacity: over.target_burst_capacity,
            activation_scale: self.activation_scale,
            initial_scale: over.initial_scale,
            min_scale: if reachable { over.min_scale } else { 0 },
            max_scale: over.max_scale,
            reachable,
            max_scale_up_rate: over.max_scale_up_rate,
            max_scale_down_rate: over.max_scale_down_rate,
            activator_capacity: over.activator_capacity,
            enable_scale_to_zero: over.enable_scale_to_zero,
            scale_to_zero_grace_period_ns: over.grace_period_ns.unsigned_abs(),
            scale_to_zero_retention_ns: if reachable {
                over.retention_period_ns.unsigned_abs()
            } else {
                0
            },
            tick_ms: over.tick_ms(),
        })
    }

    /// The class that scales it.
    pub fn class(&self) -> &str {
        &self.class
    }
}

impl Resolved {
    /// How many gateways should carry the revision.
    pub fn activators(&self, ready: f64) -> f64 {
        activators(self.target_burst_capacity, self.total_value, self.activator_capacity, ready)
    }
}

/// How many gateways should carry a revision: Knative's number of activators, at least 2.
pub fn activators(burst: f64, total: f64, capacity: f64, ready: f64) -> f64 {
    if burst == 0.0 {
        return 2.0;
    }
    ((ready * total + burst.max(0.0)) / capacity).ceil().max(2.0)
}

/// The share of the stable window, to the nearest second, halves up; at least 1.
fn panic_window_s(stable_ns: i64, percentage: f64) -> u32 {
    let nanos = (stable_ns as f64 * percentage / 100.0) as i64;
    let seconds = (nanos + NANOS_PER_SECOND / 2) / NANOS_PER_SECOND;
    seconds.max(1) as u32
}
