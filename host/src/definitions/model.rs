//! The model catalogue: what a model weighs and how it is loaded and served, with the source of each figure in
//! `fixtures/models/`. It knows nothing of services or nodes.

/// A model as the simulator needs to know it. Sizes are in GB, 10⁹ bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its name in the catalogue, as `llama-3.1-8b`.
    pub name: String,
    /// Weights, over all GPUs of a replica together. GB.
    pub weights_gb: f64,
    /// Parameters. Billions.
    pub parameters_billion: f64,
    /// Key and value cache of one token. Bytes.
    pub kv_bytes_per_token: f64,
    /// Image of the server, without weights. GB.
    pub image_gb: f64,
    /// How weights get to the GPU.
    pub loader: Loader,
    /// Start of the engine, after the weights are there. Seconds.
    pub engine_s: f64,
    /// Compilation and graph capture; 0 where there is a cache or nothing to compile. Seconds.
    pub compile_s: f64,
    /// What the first request after a start takes longer. Seconds.
    pub warm_s: f64,
    /// Host work of one iteration. Milliseconds.
    pub host_ms: f64,
    /// Host work of one iteration for each running sequence. Milliseconds.
    pub per_sequence_ms: f64,
    /// Sequences that the engine runs at once at most.
    pub max_sequences: u32,
}

/// How weights get from where they are kept to the GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Loader {
    /// Its name in the catalogue, as `tensorizer-nvme-pvc`.
    pub name: String,
    /// What a load takes before the first byte. Seconds.
    pub fixed_s: f64,
    /// How fast one replica can read at most. GB/s.
    pub gb_s: f64,
    /// Which way the bytes come, and so with whom they share it.
    pub path: LoadPath,
}

/// Which way weights come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadPath {
    /// From a store that all nodes share, over the node's link: both are shared by those that load at once.
    SharedStore,
    /// From a disk of the node, shared by those that load on it.
    NodeDisk,
    /// From the node's memory, shared with nobody.
    NodeMemory,
}
