//! Whether a revision is activating, active or inactive, and since when: Knative's Active condition.

use serde::{Deserialize, Serialize};

/// Where a revision stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Replicas are wanted and not enough of them are ready.
    Activating,
    /// Enough replicas are ready.
    Active,
    /// No replica is wanted.
    Inactive {
        /// It gave up activating: no replica got ready in time.
        timed_out: bool,
    },
}

impl Phase {
    /// As the output `active`.
    pub fn as_output(self) -> f64 {
        match self {
            Phase::Activating => -1.0,
            Phase::Active => 1.0,
            Phase::Inactive { .. } => 0.0,
        }
    }
}

/// Where a revision stands, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Where it stands.
    pub phase: Phase,
    /// Since when. Unix seconds: Kubernetes keeps no fraction, and the waits are counted from there.
    pub since_s: u64,
}

impl Condition {
    /// For how long it has stood there. Milliseconds.
    pub fn age_ms(&self, at_ms: u64) -> u64 {
        at_ms.saturating_sub(self.since_s.saturating_mul(1000))
    }

    /// When it will have stood there for so long. Unix milliseconds.
    pub fn ends_ms(&self, after_ms: u64) -> u64 {
        self.since_s.saturating_mul(1000).saturating_add(after_ms)
    }

    /// The next condition. `wanted`: replicas, `None` for "not known yet"; `threshold`: ready replicas that make it active.
    pub fn step(&mut self, at_ms: u64, wanted: Option<u32>, ready: f64, threshold: u32) {
        let is_inactive = matches!(self.phase, Phase::Inactive { .. });
        let holds_on = wanted.is_some_and(|wanted| wanted > 0) || !is_inactive;
        let phase = if wanted == Some(0) || threshold == 0 {
            // It goes to zero while activating only if that took too long.
            Phase::Inactive { timed_out: self.phase == Phase::Activating && threshold > 0 }
        } else if !holds_on {
            self.phase
        } else if ready < f64::from(threshold) {
            Phase::Activating
        } else {
            Phase::Active
        };
        if phase != self.phase {
            *self = Condition { phase, since_s: at_ms / 1000 };
        }
    }
}
