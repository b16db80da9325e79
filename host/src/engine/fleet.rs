//! The nodes that take replicas, and what is free on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A node within one engine: a handle, given in the order of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl NodeId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a node has or a replica takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a vCPU.
    pub cpu_milli: u64,
    /// Main memory. Bytes.
    pub memory_bytes: u64,
    /// Whole GPUs.
    pub gpus: u32,
}

impl Resources {
    /// Whether `needs` fits in here.
    pub fn fits(&self, needs: &Resources) -> bool {
        needs.cpu_milli <= self.cpu_milli
            && needs.memory_bytes <= self.memory_bytes
            && needs.gpus <= self.gpus
    }
}

/// What keeps replicas away that do not tolerate it. Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaintEffect {
    /// New replicas stay away.
    NoSchedule,
    /// New replicas stay away if they can.
    PreferNoSchedule,
    /// New replicas stay away, running ones leave.
    NoExecute,
}

/// A mark on a node that keeps replicas away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value; may be empty.
    #[serde(default)]
    pub value: String,
    /// What it does.
    pub effect: TaintEffect,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique in the fleet.
    pub name: String,
    /// Labels that node affinity reads; the GPU class is one of them (`gpu.nvidia.com/class`).
    pub labels: BTreeMap<String, String>,
    /// Marks that keep replicas away.
    pub taints: Vec<Taint>,
    /// What it has for replicas.
    pub allocatable: Resources,
    /// Memory of each of its GPUs. Bytes; 0 without GPUs.
    pub gpu_memory_bytes: u64,
    /// Its GPU class; empty without GPUs.
    pub gpu_class: String,
    /// Price of one GPU. US dollars an hour; `None`: not known.
    pub usd_per_gpu_hour: Option<f64>,
    /// May be taken away at any time.
    pub is_spot: bool,
}
