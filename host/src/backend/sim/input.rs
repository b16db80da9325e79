//! What a simulation is given, and why it may be refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::definitions::model::Model;
use crate::definitions::node::Fleet;
use crate::engine::Resources;
use crate::gateway::Limits;
use crate::seed::Seed;
use crate::time::Time;

/// All that a simulation is given beside the load.
#[derive(Clone, Debug)]
pub struct SimInput {
    /// When it begins.
    pub start: Time,
    /// Where its randomness comes from.
    pub seed: Seed,
    /// The nodes.
    pub fleet: Fleet,
    /// Service `i` is service `i` of the load. The engine's targets are their pools, one service after the other: sorted by name.
    pub services: Vec<SimService>,
    /// What goes wrong.
    pub faults: Faults,
    /// Length of a tick of the engine, counted from the start: reports are handed over in time for the next. Milliseconds.
    pub tick_ms: u64,
    /// When it ends at the latest.
    pub until: Option<Time>,
}

/// A service as the simulator needs to know it.
#[derive(Clone, Debug, PartialEq)]
pub struct SimService {
    /// Its name, which its randomness is drawn by.
    pub name: String,
    /// The names of its pools, sorted: each is a target of the engine. One of the name `default` where there is nothing to tell apart.
    pub pools: Vec<String>,
    /// Position of the pool that hears of a request that waits for a service without a ready replica.
    pub wakes: usize,
    /// What its replicas serve.
    pub model: Model,
    /// What a replica takes from a node. Its GPUs serve the model together.
    pub needs: Resources,
    /// What its gateway allows.
    pub limits: Limits,
    /// How long a replica that leaves may go on with what it has. Microseconds; `None`: as long as a request may take.
    pub grace_us: Option<u64>,
    /// Replicas that stay for good when nothing is left to do: its pools' minimums. 0 where it scales to zero.
    pub settled_at: u32,
}

/// What goes wrong in a simulation: the document of `--faults`.
///
/// ```yaml
/// faults:
///   - nodeLost: { node: a40-0, atSeconds: 600, backAtSeconds: 1200 }
///   - startFails: { service: llama, probability: 0.1 }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Faults {
    /// In any order.
    pub faults: Vec<Fault>,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// A node is lost with everything on it.
    #[serde(rename_all = "camelCase")]
    NodeLost {
        /// Its name.
        node: String,
        /// When. Seconds since the start.
        at_seconds: f64,
        /// When it is there again, empty. Seconds since the start; never where it is left out.
        #[serde(default)]
        back_at_seconds: Option<f64>,
    },
    /// Replicas of a service fail when their weights are loaded.
    #[serde(rename_all = "camelCase")]
    StartFails {
        /// Its name.
        service: String,
        /// Of each replica, 0 to 1; drawn by its ordinal.
        probability: f64,
    },
}

impl std::fmt::Display for Fault {
    /// For people, as `node a40-0 is lost at 30 s`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::NodeLost { node, at_seconds, back_at_seconds: None } => {
                write!(f, "node {node} is lost at {at_seconds} s")
            }
            Fault::NodeLost { node, at_seconds, back_at_seconds: Some(back) } => {
                write!(f, "node {node} is lost at {at_seconds} s and back at {back} s")
            }
            Fault::StartFails { service, probability } => {
                write!(f, "starts of {service} fail with probability {probability}")
            }
        }
    }
}

/// A simulation that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimInputError {
    /// A fault names a node that is not in the fleet.
    #[error("faults.{position}: the fleet has no node {node:?}")]
    UnknownNode {
        /// Which fault.
        position: usize,
        /// The name.
        node: String,
    },
    /// A fault names a service that is not there.
    #[error("faults.{position}: there is no service {service:?}")]
    UnknownService {
        /// Which fault.
        position: usize,
        /// The name.
        service: String,
    },
    /// A number of a fault is out of its range.
    #[error("faults.{position}.{field}: found {found}, expected {expected}")]
    OutOfRange {
        /// Which fault.
        position: usize,
        /// The field.
        field: &'static str,
        /// What it says.
        found: f64,
        /// What it may say.
        expected: &'static str,
    },
}

/// Faults by what they hit.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultPlan {
    /// When which node is lost (`false`) or back (`true`), in order. Microseconds since the start.
    pub(super) nodes: Vec<(u64, u32, bool)>,
    /// How likely a start fails, by service.
    pub(super) start_fails: Vec<f64>,
}

impl FaultPlan {
    pub(super) fn new(input: &SimInput) -> Result<FaultPlan, SimInputError> {
        let nodes: BTreeMap<&str, u32> =
            input.fleet.machines.iter().map(|one| one.node.name.as_str()).zip(0..).collect();
        let mut plan =
            FaultPlan { nodes: Vec::new(), start_fails: vec![0.0; input.services.len()] };
        let whole = |position, field, found: f64| {
            if (0.0..1e10).contains(&found) {
                return Ok(super::cold_start::microseconds(found));
            }
            let expected = "seconds since the start, 0 or more";
            Err(SimInputError::OutOfRange { position, field, found, expected })
        };
        for (position, fault) in input.faults.faults.iter().enumerate() {
            match fault {
                Fault::NodeLost { node, at_seconds, back_at_seconds } => {
                    let &index = nodes.get(node.as_str()).ok_or_else(|| {
                        SimInputError::UnknownNode { position, node: node.clone() }
                    })?;
                    let lost_us = whole(position, "nodeLost.atSeconds", *at_seconds)?;
                    plan.nodes.push((lost_us, index, false));
                    if let Some(back) = *back_at_seconds {
                        let field = "nodeLost.backAtSeconds";
                        let back_us = whole(position, field, back)?;
                        if back_us <= lost_us {
                            let expected = "a time after nodeLost.atSeconds";
                            return Err(SimInputError::OutOfRange {
                                position,
                                field,
                                found: back,
                                expected,
                            });
                        }
                        plan.nodes.push((back_us, index, true));
                    }
                }
                Fault::StartFails { service, probability } => {
                    let index =
                        input.services.iter().position(|one| one.name == *service).ok_or_else(
                            || SimInputError::UnknownService { position, service: service.clone() },
                        )?;
                    if !(0.0..=1.0).contains(probability) {
                        return Err(SimInputError::OutOfRange {
                            position,
                            field: "startFails.probability",
                            found: *probability,
                            expected: "0 to 1",
                        });
                    }
                    plan.start_fails[index] = *probability;
                }
            }
        }
        plan.nodes.sort_by_key(|&(at_us, node, is_back)| (at_us, node, is_back));
        Ok(plan)
    }
}
