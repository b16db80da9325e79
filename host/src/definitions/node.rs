//! Nodes and GPU classes: what the fleet is made of, what it costs, and how fast it is. It knows nothing of services.

use crate::engine::Node;

/// The machines that replicas run on.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// Sorted by name, names unique.
    pub machines: Vec<Machine>,
    /// What the store of weights that all nodes share gives in all. GB/s.
    pub store_gb_s: f64,
}

/// A node, and what only the simulator and the bill need to know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// As the engine knows it.
    pub node: Node,
    /// The class of its GPUs; `None` without GPUs.
    pub gpu: Option<GpuClass>,
    /// Its link to the shared store. GB/s.
    pub link_gb_s: f64,
    /// Its own disk. GB/s.
    pub disk_gb_s: f64,
    /// How fast it pulls images. GB of compressed image a second.
    pub pull_gb_s: f64,
    /// Whether images of servers are there already.
    pub has_images: bool,
    /// Price of a vCPU. US dollars an hour.
    pub usd_per_vcpu_hour: f64,
    /// Price of memory. US dollars an hour for a GB.
    pub usd_per_memory_gb_hour: f64,
}

/// A class of GPUs.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuClass {
    /// The value of the label `gpu.nvidia.com/class`, as `A40`.
    pub name: String,
    /// Memory of one. GB.
    pub memory_gb: f64,
    /// Memory bandwidth that a server gets. TB/s, the same as GB/ms.
    pub bandwidth_tb_s: f64,
    /// Dense half-precision arithmetic that a server gets. TFLOP/s.
    pub tflops: f64,
    /// The link between node and GPU. GB/s.
    pub host_link_gb_s: f64,
    /// Price of one. US dollars an hour; `None`: not known.
    pub usd_per_gpu_hour: Option<f64>,
}
