//! Places each replica on the cheapest node that will do, preferred labels first. Among equally cheap nodes the one that has the
//! weights already, then the fullest, so that large replicas still find room.
//!
//! Of a pod's constraints it knows the node selector and tolerations; a pod with affinity is refused rather than placed wrongly.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_policy::placement::{
    Candidate, CandidateColumn, Inputs, Node, NodeColumn, Nodes, Obstacle, Ordered, PairColumn,
    Replica, ReplicaColumn, TaintEffect,
};
use tidegate_policy::{Document, Faults, Notes, Placement};

/// The policy.
#[derive(Debug)]
pub struct Policy;

tidegate_policy::export_placement!(Policy);

/// What its user writes under `settings` of the placement.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Nodes with these labels come first, however dear.
    prefer: BTreeMap<String, String>,
}

/// What `bind` makes of the settings and of the pod's constraints.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    prefer: BTreeMap<String, String>,
    selector: BTreeMap<String, String>,
    tolerations: Vec<Toleration>,
}

/// What of a pod's manifest is read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Pod {
    node_selector: BTreeMap<String, String>,
    tolerations: Vec<Toleration>,
}

/// One of a pod's tolerations, with Kubernetes' meaning.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Toleration {
    key: String,
    operator: String,
    value: String,
    effect: String,
}

/// The columns that it reads.
#[derive(Debug)]
pub struct Columns {
    price: NodeColumn,
    gpu_memory: NodeColumn,
    weights: ReplicaColumn,
    is_cached: PairColumn,
    is_ready: CandidateColumn,
    in_flight: CandidateColumn,
    node_price: CandidateColumn,
}

/// The part of a GPU's memory that weights may take; the rest is for requests.
const FOR_WEIGHTS: f64 = 0.9;

const LABEL: Obstacle = Obstacle::new("lacks the label", "lack the label");
const TAINT: Obstacle = Obstacle::new("has the taint", "have the taint");
const MEMORY: Obstacle = Obstacle::new("has too little GPU memory", "have too little GPU memory");

impl Placement for Policy {
    type Settings = Settings;
    type Params = Params;
    type Inputs = Columns;
    /// Whether the node is a preferred one.
    type Fit = bool;
    /// The largest wins: preferred, cheap, cached, few GPUs left.
    type Score = (bool, Reverse<Ordered>, bool, Reverse<u32>);
    /// The smallest leaves first: not ready, fewest requests, dearest node.
    type Turn = (bool, Ordered, Reverse<Ordered>);

    fn inputs(want: &mut Inputs) -> Columns {
        Columns {
            price: want.optional_node("usd-per-gpu-hour"),
            gpu_memory: want.optional_node("gpu-memory-bytes"),
            weights: want.optional_replica("weights-bytes"),
            is_cached: want.optional_pair("weights-cached"),
            is_ready: want.candidate("is-ready"),
            in_flight: want.optional_candidate("in-flight"),
            node_price: want.optional_candidate("usd-per-gpu-hour"),
        }
    }

    fn bind(document: Document<Settings>, _: &mut Faults) -> Result<Params, Faults> {
        let pod = &document.service.pod;
        let has_affinity = pod["affinity"].as_object().is_some_and(|rules| !rules.is_empty());
        if has_affinity {
            let message = "is not read by this policy: use a node selector, or builtin:affinity";
            return Err(Faults::one("service.pod.affinity", message));
        }
        let Pod { node_selector, tolerations } = match pod.is_null() {
            true => Pod::default(),
            false => Pod::deserialize(pod)
                .map_err(|error| Faults::one("service.pod", error.to_string()))?,
        };
        Ok(Params { prefer: document.settings.prefer, selector: node_selector, tolerations })
    }

    fn suits(params: &Params, _: &Columns, nodes: &Nodes<'_>) -> Vec<Result<bool, Obstacle>> {
        nodes.iter().map(|node| params.admit(&node, nodes)).collect()
    }

    fn score(
        columns: &Columns,
        is_preferred: &bool,
        replica: &Replica<'_>,
        node: &Node<'_>,
    ) -> Result<Self::Score, Obstacle> {
        let gpus = replica.needs.gpus;
        // A comparison with what is not known is false: such a node may do.
        if replica[columns.weights] > FOR_WEIGHTS * f64::from(gpus) * node[columns.gpu_memory] {
            return Err(MEMORY);
        }
        Ok((
            *is_preferred,
            Reverse(Ordered(node[columns.price])),
            replica.on(node, columns.is_cached) == 1.0,
            Reverse(node.free.gpus - gpus),
        ))
    }

    fn turn(
        _: &Params,
        columns: &Columns,
        candidate: &Candidate<'_>,
        _: Option<&Node<'_>>,
    ) -> Self::Turn {
        (
            candidate[columns.is_ready] == 1.0,
            Ordered(candidate[columns.in_flight]),
            Reverse(Ordered(candidate[columns.node_price])),
        )
    }

    fn tell(
        columns: &Columns,
        is_preferred: &bool,
        replica: &Replica<'_>,
        node: &Node<'_>,
        notes: &mut Notes<'_>,
    ) {
        notes.figure("preferred", f64::from(u8::from(*is_preferred)));
        notes.figure("price of a GPU, USD/h", node[columns.price]);
        notes.figure("weights cached", replica.on(node, columns.is_cached));
    }
}

impl Params {
    /// Whether the node is a preferred one; an obstacle where no replica may go there at all.
    fn admit(&self, node: &Node<'_>, nodes: &Nodes<'_>) -> Result<bool, Obstacle> {
        for (key, value) in &self.selector {
            if node.label(key) != Some(value) {
                return Err(nodes.word(key).map_or(LABEL, |key| LABEL.about(key)));
            }
        }
        for taint in node.taints().filter(|taint| taint.effect != TaintEffect::PreferNoSchedule) {
            let (key, value) = (nodes.text(taint.key), nodes.text(taint.value));
            let effect = match taint.effect {
                TaintEffect::NoExecute => "NoExecute",
                TaintEffect::NoSchedule | TaintEffect::PreferNoSchedule => "NoSchedule",
            };
            if !self.tolerations.iter().any(|toleration| toleration.covers(key, value, effect)) {
                return Err(TAINT.about(taint.key));
            }
        }
        Ok(self.prefer.iter().all(|(key, value)| node.label(key) == Some(value))
            && !self.prefer.is_empty())
    }
}

impl Toleration {
    fn covers(&self, key: &str, value: &str, effect: &str) -> bool {
        let is_any_value = self.operator == "Exists";
        (self.key == key || self.key.is_empty() && is_any_value)
            && (self.value == value || is_any_value)
            && (self.effect == effect || self.effect.is_empty())
    }
}

#[cfg(test)]
mod tests;
