//! What is scaled: targets and their replicas, and what the engine is told about them before anything runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fleet::Resources;

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

/// All that the engine is told about a target.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSpec {
    /// Which target it is.
    pub name: TargetName,
    /// Whose it is; batches never mix tenants.
    pub tenant: String,
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
