//! Kubernetes' node affinity over GPU classes: node selector, required and preferred affinity, taints and tolerations decide which
//! nodes suit; of those, replicas are packed onto the node on which the fewest GPUs stay free, so that large replicas find room.
//!
//! Constraints come as they stand in the pod's manifest (`service.pod`), and mean what they mean to kube-scheduler.

mod constraints;
mod pod;

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use tidegate_policy::placement::{
    Candidate, CandidateColumn, Inputs, Node, NodeColumn, Nodes, Obstacle, Ordered, PairColumn,
    Replica, ReplicaColumn,
};
use tidegate_policy::{Document, Faults, Notes, Placement};

pub use constraints::{Constraints, Effect, Term, Test, Toleration};

/// The policy.
#[derive(Debug)]
pub struct Affinity;

tidegate_policy::export_placement!(Affinity);

/// Its own settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// What part of a GPU's memory the server may use, above 0 and at most 1; vLLM's `--gpu-memory-utilization`.
    pub gpu_memory_utilization: f64,
}

impl Default for Settings {
    /// vLLM's.
    fn default() -> Settings {
        Settings { gpu_memory_utilization: 0.9 }
    }
}

/// Memory of a GPU that a server takes beside weights and KV cache (CUDA context, activations). Bytes; measured for vLLM.
const RUNTIME_BYTES: f64 = 0.5e9;

/// kube-scheduler's weights of its plugins `TaintToleration` and `NodeAffinity`.
const TAINTS_WEIGHT: u64 = 3;
const AFFINITY_WEIGHT: u64 = 2;

const TOO_LITTLE_GPU_MEMORY: Obstacle = Obstacle::new(
    "has too little GPU memory for the weights",
    "have too little GPU memory for the weights",
);

/// What `bind` makes of a document.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    constraints: Constraints<String>,
    gpu_memory_utilization: f64,
}

/// The columns that it reads.
#[derive(Debug)]
pub struct Columns {
    gpu_memory: NodeColumn,
    price: NodeColumn,
    weights: ReplicaColumn,
    is_cached: PairColumn,
    is_ready: CandidateColumn,
    in_flight: CandidateColumn,
    started: CandidateColumn,
}

/// What is known of a node for all replicas of one document.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// What preferred terms and taints make of it.
    preference: u64,
    /// Weights of the preferred terms that match.
    preferred: u64,
    /// Memory of each GPU that weights may take. Bytes; infinite where the node's is not known.
    weights_bytes_per_gpu: f64,
}

/// What a node is worth: preferences first, then how tightly it is packed, then what saves time and money.
pub type Score = (u64, Reverse<u32>, bool, Reverse<Ordered>, Reverse<u64>, Reverse<u64>);

impl Placement for Affinity {
    type Settings = Settings;
    type Params = Params;
    type Inputs = Columns;
    type Fit = Fit;
    type Score = Score;
    type Turn = (bool, Ordered, Reverse<Ordered>);

    fn inputs(want: &mut Inputs) -> Columns {
        Columns {
            gpu_memory: want.optional_node("gpu-memory-bytes"),
            price: want.optional_node("usd-per-gpu-hour"),
            weights: want.optional_replica("weights-bytes"),
            is_cached: want.optional_pair("weights-cached"),
            is_ready: want.candidate("is-ready"),
            in_flight: want.optional_candidate("in-flight"),
            started: want.candidate("started-at-ms"),
        }
    }

    fn bind(document: Document<Settings>, warnings: &mut Faults) -> Result<Params, Faults> {
        let mut faults = Faults::default();
        let gpu_memory_utilization = document.settings.gpu_memory_utilization;
        if !(gpu_memory_utilization > 0.0 && gpu_memory_utilization <= 1.0) {
            faults.push(
                "settings.gpuMemoryUtilization",
                format!("found {gpu_memory_utilization}, expected above 0 and at most 1"),
            );
        }
        match pod::read(&document.service.pod, "service.pod", warnings) {
            Ok(constraints) => faults.or(Params { constraints, gpu_memory_utilization }),
            Err(more) => {
                more.into_vec()
                    .into_iter()
                    .for_each(|fault| faults.push(fault.path, fault.message));
                Err(faults)
            }
        }
    }

    fn suits(params: &Params, columns: &Columns, nodes: &Nodes<'_>) -> Vec<Result<Fit, Obstacle>> {
        let constraints = params.constraints.in_words(nodes);
        let mut suited: Vec<Result<(u64, u64, f64), Obstacle>> = Vec::with_capacity(nodes.len());
        let (mut most_preferred, mut most_discouraged) = (1, 1);
        for node in nodes.iter() {
            suited.push(constraints.admit(&node, nodes).map(|()| {
                let preferred = constraints.preference(&node, nodes);
                let discouraged = constraints.discouraged(&node);
                most_preferred = most_preferred.max(preferred);
                most_discouraged = most_discouraged.max(discouraged);
                let memory = node[columns.gpu_memory];
                let memory = if memory > 0.0 { memory } else { f64::INFINITY };
                (preferred, discouraged, params.gpu_memory_utilization * memory - RUNTIME_BYTES)
            }));
        }
        // As kube-scheduler does, both are taken as parts of the largest there is, and then weighed; in integers, so that
        // nothing is rounded.
        let fit = |(preferred, discouraged, weights_bytes_per_gpu)| Fit {
            preference: TAINTS_WEIGHT * (most_discouraged - discouraged) * most_preferred
                + AFFINITY_WEIGHT * preferred * most_discouraged,
            preferred,
            weights_bytes_per_gpu,
        };
        suited.into_iter().map(|node| node.map(fit)).collect()
    }

    fn score(
        columns: &Columns,
        fit: &Fit,
        replica: &Replica<'_>,
        node: &Node<'_>,
    ) -> Result<Score, Obstacle> {
        let needs = &replica.needs;
        if needs.gpus > 0
            && replica[columns.weights] > f64::from(needs.gpus) * fit.weights_bytes_per_gpu
        {
            return Err(TOO_LITTLE_GPU_MEMORY);
        }
        Ok((
            fit.preference,
            Reverse(node.free.gpus - needs.gpus),
            replica.on(node, columns.is_cached) == 1.0,
            Reverse(Ordered(node[columns.price])),
            Reverse(node.free.cpu_milli - needs.cpu_milli),
            Reverse(node.free.memory_bytes - needs.memory_bytes),
        ))
    }

    fn turn(
        _: &Params,
        columns: &Columns,
        candidate: &Candidate<'_>,
        _: Option<&Node<'_>>,
    ) -> (bool, Ordered, Reverse<Ordered>) {
        (
            candidate[columns.is_ready] == 1.0,
            Ordered(candidate[columns.in_flight]),
            Reverse(Ordered(candidate[columns.started])),
        )
    }

    fn tell_turn(
        _: &Params,
        columns: &Columns,
        candidate: &Candidate<'_>,
        _: Option<&Node<'_>>,
        notes: &mut Notes<'_>,
    ) {
        let in_flight = candidate[columns.in_flight];
        notes.reason(|| match (candidate[columns.is_ready] == 1.0, in_flight) {
            (false, _) => "starting".into(),
            (true, unknown) if unknown.is_nan() => "ready".into(),
            (true, 0.0) => "idle".into(),
            (true, some) => format!("{some} in flight"),
        });
        notes.figure("in flight, requests", in_flight);
        notes.figure("wanted since, Unix ms", candidate[columns.started]);
    }

    fn tell(
        columns: &Columns,
        fit: &Fit,
        replica: &Replica<'_>,
        node: &Node<'_>,
        notes: &mut Notes<'_>,
    ) {
        for (name, value) in [
            ("preferred terms that match, weights", fit.preferred as f64),
            ("GPUs left free", f64::from(node.free.gpus)),
            ("weights cached", replica.on(node, columns.is_cached)),
            ("price of a GPU, USD/h", node[columns.price]),
        ] {
            notes.figure(name, value);
        }
    }
}
