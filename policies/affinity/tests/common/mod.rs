//! Fleets and replicas as a person writes them, turned into requests, and answers turned back into names.
#![allow(dead_code, unreachable_pub, reason = "each file of tests uses its part")]

use std::collections::BTreeMap;

use tidegate_affinity::Affinity;
use tidegate_policy::native::placement::{self as native, NO_NODE};
use tidegate_policy::placement::{
    Candidates, NodeColumns, Replicas, Request, Subject, TaintEffect,
};

pub const GB: f64 = 1e9;

/// A node: 64 vCPUs, 512 GB and no GPU, unless it is said.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub taints: Vec<(String, String, TaintEffect)>,
    pub facts: BTreeMap<&'static str, f64>,
}

/// Reads a node: its name, then `key=value` labels, `key:Effect` or `key=value:Effect` taints, and `@fact=number` facts.
pub fn node(text: &str) -> Node {
    let mut words = text.split_whitespace();
    let mut node = Node {
        name: words.next().unwrap().into(),
        labels: Vec::new(),
        taints: Vec::new(),
        facts: BTreeMap::from([
            ("free-cpu", 64.0),
            ("free-memory-bytes", 512.0 * GB),
            ("free-gpus", 0.0),
        ]),
    };
    for word in words {
        if let Some(fact) = word.strip_prefix('@') {
            let (name, value) = fact.split_once('=').unwrap();
            let (name, unit) = match name {
                "gpus" => ("free-gpus", 1.0),
                "cpu" => ("free-cpu", 1.0),
                "memory" => ("free-memory-bytes", GB),
                "vram" => ("gpu-memory-bytes", GB),
                "price" => ("usd-per-gpu-hour", 1.0),
                other => panic!("{other} is no fact"),
            };
            node.facts.insert(name, value.parse::<f64>().unwrap() * unit);
        } else if let Some((taint, effect)) = word.split_once(':') {
            let (key, value) = taint.split_once('=').unwrap_or((taint, ""));
            let effect = match effect {
                "NoSchedule" => TaintEffect::NoSchedule,
                "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
                "NoExecute" => TaintEffect::NoExecute,
                other => panic!("{other} is no effect"),
            };
            node.taints.push((key.into(), value.into(), effect));
        } else {
            let (key, value) = word.split_once('=').unwrap();
            node.labels.push((key.into(), value.into()));
        }
    }
    node
}

/// Nodes, one a line.
pub fn fleet(text: &str) -> Vec<Node> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(node).collect()
}

/// A replica: its pod's constraints, what it takes, and on which nodes its weights are.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    pub pod: String,
    pub facts: BTreeMap<&'static str, f64>,
    pub cached_on: Vec<String>,
}

/// A replica with those constraints (JSON) that takes so many GPUs, 1 vCPU and 1 GB, with 1 GB of weights.
pub fn replica(pod: &str, gpus: u32) -> Replica {
    let facts =
        [("cpu", 1.0), ("memory-bytes", GB), ("gpus", f64::from(gpus)), ("weights-bytes", GB)];
    Replica { pod: pod.into(), facts: facts.into(), cached_on: Vec::new() }
}

impl Replica {
    pub fn with(mut self, fact: &'static str, value: f64) -> Replica {
        self.facts.insert(fact, value);
        self
    }

    pub fn cached_on(mut self, node: &str) -> Replica {
        self.cached_on.push(node.into());
        self
    }
}

/// What `bind` says to those constraints: params and warnings, or faults, each as `path: message`.
pub fn bind(pod: &str) -> Result<(Vec<u8>, Vec<String>), Vec<String>> {
    bind_document(&format!(r#"{{"settings": {{}}, "service": {{"pod": {pod}}}}}"#))
}

pub fn bind_document(document: &str) -> Result<(Vec<u8>, Vec<String>), Vec<String>> {
    let told = |faults: Vec<tidegate_policy::Fault>| {
        faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
    };
    match native::bind::<Affinity>(document) {
        Ok(program) => Ok((program.params, told(program.warnings))),
        Err(faults) => Err(told(faults)),
    }
}

pub fn request(nodes: &[Node], replicas: &[Replica]) -> Request {
    let inputs = native::inputs::<Affinity>();
    let names = |subject| {
        inputs.iter().filter(move |input| input.subject == subject).map(|input| input.name.as_str())
    };
    let mut words: Vec<String> = Vec::new();
    let mut word = |text: &str| {
        let at = words.iter().position(|known| known == text).unwrap_or_else(|| {
            words.push(text.into());
            words.len() - 1
        });
        at as u32
    };
    let mut columns = NodeColumns {
        names: nodes.iter().map(|node| word(&node.name)).collect(),
        label_keys: vec![],
        label_values: vec![],
        label_ends: vec![],
        taint_keys: vec![],
        taint_values: vec![],
        taint_effects: vec![],
        taint_ends: vec![],
        facts: vec![],
    };
    for node in nodes {
        for (key, value) in &node.labels {
            columns.label_keys.push(word(key));
            columns.label_values.push(word(value));
        }
        columns.label_ends.push(columns.label_keys.len() as u32);
        for (key, value, effect) in &node.taints {
            columns.taint_keys.push(word(key));
            columns.taint_values.push(word(value));
            columns.taint_effects.push(*effect);
        }
        columns.taint_ends.push(columns.taint_keys.len() as u32);
    }
    let fact =
        |facts: &BTreeMap<&str, f64>, name: &str| facts.get(name).copied().unwrap_or(f64::NAN);
    for name in names(Subject::Node) {
        columns.facts.extend(nodes.iter().map(|node| fact(&node.facts, name)));
    }
    let mut facts = Vec::new();
    for name in names(Subject::Replica) {
        facts.extend(replicas.iter().map(|replica| fact(&replica.facts, name)));
    }
    let mut pairs = Vec::new();
    for name in names(Subject::Pair) {
        assert_eq!(name, "weights-cached");
        for replica in replicas {
            pairs.extend(
                nodes
                    .iter()
                    .map(|node| f64::from(u8::from(replica.cached_on.contains(&node.name)))),
            );
        }
    }
    let mut pods: Vec<&str> = Vec::new();
    let params_of = replicas.iter().map(|replica| {
        let at = pods.iter().position(|pod| *pod == replica.pod).unwrap_or_else(|| {
            pods.push(&replica.pod);
            pods.len() - 1
        });
        at as u32
    });
    let params_of = params_of.collect();
    let params =
        pods.iter().map(|pod| bind(pod).expect("the constraints are in order").0).collect();
    Request {
        at_ms: 0,
        words,
        nodes: columns,
        replicas: Replicas { params, params_of, facts, pairs },
    }
}

/// The name of each replica's node, or `-`.
pub fn place(nodes: &[Node], replicas: &[Replica]) -> Vec<String> {
    let chosen =
        native::place::<Affinity>(&request(nodes, replicas)).expect("the request is in order");
    let name = |node: u32| match node {
        NO_NODE => "-".into(),
        node => nodes[node as usize].name.clone(),
    };
    chosen.into_iter().map(name).collect()
}

/// Why each replica is where it is, or nowhere.
pub fn explain(nodes: &[Node], replicas: &[Replica]) -> Vec<String> {
    let told =
        native::explain::<Affinity>(&request(nodes, replicas)).expect("the request is in order");
    told.into_iter().map(|told| told.reason).collect()
}

/// The order in which candidates leave. Each is (choice, ready, in flight, started at).
pub fn rank(candidates: &[(u32, bool, f64, u64)]) -> Vec<u32> {
    native::rank::<Affinity>(&asked(candidates)).expect("the columns are in order")
}

/// Why each leaves or stays.
pub fn explain_rank(candidates: &[(u32, bool, f64, u64)]) -> Vec<String> {
    let told =
        native::explain_rank::<Affinity>(&asked(candidates)).expect("the columns are in order");
    told.into_iter().map(|told| told.reason).collect()
}

/// One of each choice leaves; there are no nodes, and no constraints.
fn asked(candidates: &[(u32, bool, f64, u64)]) -> Candidates {
    let inputs = native::inputs::<Affinity>();
    let mut facts = Vec::new();
    for input in inputs.iter().filter(|input| input.subject == Subject::Candidate) {
        facts.extend(candidates.iter().map(|(_, is_ready, in_flight, started)| {
            match input.name.as_str() {
                "is-ready" => f64::from(u8::from(*is_ready)),
                "in-flight" => *in_flight,
                "started-at-ms" => *started as f64,
                other => panic!("{other} is not known here"),
            }
        }));
    }
    let choices: Vec<u32> = candidates.iter().map(|(choice, ..)| *choice).collect();
    let request = request(&[], &[]);
    Candidates {
        at_ms: 0,
        words: request.words,
        nodes: request.nodes,
        params: vec![native::bind::<Affinity>(r#"{"settings": {}}"#).expect("it binds").params],
        params_of: vec![0; choices.len()],
        node_of: vec![NO_NODE; choices.len()],
        leaving: vec![1; choices.iter().max().map_or(0, |most| *most as usize + 1)],
        choices,
        facts,
    }
}
