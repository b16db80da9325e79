//! The same for policies that choose nodes.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use crate::native::placement as native;
use crate::placement::{
    Candidates, NodeColumns, Placement, Replicas, Request, Subject, TaintEffect,
};

use super::MONDAY_MS;

/// Nodes, and replicas of one service that need a place on them.
///
/// ```ignore
/// let mut trial = Trial::<Policy>::new("{}", "{}");
/// trial.node("a", &[("free-gpus", 1.0), ("usd-per-gpu-hour", 2.0)]);
/// assert_eq!(trial.place(1), ["on a, the only one that will do"]);
/// ```
pub struct Trial<P> {
    params: Vec<u8>,
    nodes: BTreeMap<String, Node>,
    replica: BTreeMap<String, f64>,
    cached_on: Vec<String>,
    policy: PhantomData<P>,
}

#[derive(Default)]
struct Node {
    facts: BTreeMap<String, f64>,
    labels: Vec<(String, String)>,
    taints: Vec<(String, String, TaintEffect)>,
}

/// The texts of a call, each once.
#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn of(&mut self, text: &str) -> u32 {
        let at = self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.into());
            self.0.len() - 1
        });
        u32::try_from(at).expect("a test has few words")
    }
}

impl<P: Placement> Trial<P> {
    /// Binds these settings and, as they stand in its manifest, the pod's constraints: two JSON texts. A replica takes one GPU until
    /// it is told otherwise.
    pub fn new(settings: &str, pod: &str) -> Trial<P> {
        let program = native::bind::<P>(&document(settings, pod)).unwrap_or_else(|faults| {
            panic!("the settings are refused: {:?}", super::told(faults));
        });
        let replica = [("cpu", 0.0), ("memory-bytes", 0.0), ("gpus", 1.0)];
        Trial {
            params: program.params,
            nodes: BTreeMap::new(),
            replica: replica.map(|(name, value)| (name.to_owned(), value)).into(),
            cached_on: Vec::new(),
            policy: PhantomData,
        }
    }

    /// What is wrong with these settings and constraints; nothing where they are accepted.
    pub fn faults(settings: &str, pod: &str) -> Vec<String> {
        native::bind::<P>(&document(settings, pod)).map_or_else(super::told, |_| Vec::new())
    }

    /// A node with these facts. CPU and memory are free without end unless they are among them.
    pub fn node(&mut self, name: &str, facts: &[(&str, f64)]) -> &mut Trial<P> {
        let node = self.nodes.entry(name.into()).or_default();
        for (fact, value) in [("free-cpu", 1e6), ("free-memory-bytes", 1e15)].iter().chain(facts) {
            node.facts.insert((*fact).to_owned(), *value);
        }
        self
    }

    /// A label of a node.
    pub fn label(&mut self, node: &str, key: &str, value: &str) -> &mut Trial<P> {
        self.known(node).labels.push((key.into(), value.into()));
        self
    }

    /// A taint of a node.
    pub fn taint(
        &mut self,
        node: &str,
        key: &str,
        value: &str,
        effect: TaintEffect,
    ) -> &mut Trial<P> {
        self.known(node).taints.push((key.into(), value.into(), effect));
        self
    }

    /// The weights of the service's model lie on that node.
    pub fn cached(&mut self, node: &str) -> &mut Trial<P> {
        self.cached_on.push(node.into());
        self
    }

    /// A fact of each replica, as `weights-bytes`.
    pub fn replica(&mut self, fact: &str, value: f64) -> &mut Trial<P> {
        self.replica.insert(fact.into(), value);
        self
    }

    /// Where so many replicas go, and why: an explanation each.
    pub fn place(&self, count: usize) -> Vec<String> {
        let mut words = Words::default();
        let nodes = self.columns(&mut words);
        let replicas = Replicas {
            params: vec![self.params.clone()],
            params_of: vec![0; count],
            facts: self.asked(Subject::Replica, |name| {
                vec![self.replica.get(name).copied().unwrap_or(f64::NAN); count]
            }),
            pairs: self.asked(Subject::Pair, |name| match name {
                "weights-cached" => {
                    let is_cached = |node| f64::from(u8::from(self.cached_on.contains(node)));
                    (0..count).flat_map(|_| self.nodes.keys().map(is_cached)).collect()
                }
                _ => vec![f64::NAN; count * self.nodes.len()],
            }),
        };
        let asked = Request { at_ms: MONDAY_MS, words: words.0, nodes, replicas };
        native::place::<P>(&asked).expect("the request is in order");
        let told = native::explain::<P>(&asked).expect("the request is in order");
        told.into_iter().map(|explanation| explanation.reason).collect()
    }

    /// Who leaves first of replicas with these facts, each on a node: their positions.
    pub fn rank(&self, candidates: &[(&str, &[(&str, f64)])]) -> Vec<u32> {
        let mut words = Words::default();
        let nodes = self.columns(&mut words);
        let node_of = |(node, _): &(&str, _)| {
            let at = self.nodes.keys().position(|known| known == node);
            at.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX)
        };
        let fact = |(_, facts): &(&str, &[(&str, f64)]), name: &str| {
            let found = facts.iter().find(|(known, _)| *known == name);
            found.map_or(f64::NAN, |(_, value)| *value)
        };
        let asked = Candidates {
            at_ms: MONDAY_MS,
            words: words.0,
            nodes,
            params: vec![self.params.clone()],
            params_of: vec![0; candidates.len()],
            node_of: candidates.iter().map(node_of).collect(),
            choices: vec![0; candidates.len()],
            leaving: vec![1],
            facts: self.asked(Subject::Candidate, |name| {
                candidates.iter().map(|candidate| fact(candidate, name)).collect()
            }),
        };
        native::rank::<P>(&asked).expect("the call is in order")
    }

    fn known(&mut self, node: &str) -> &mut Node {
        self.nodes.get_mut(node).unwrap_or_else(|| panic!("there is no node {node} yet"))
    }

    /// The columns of a subject that the policy asks for, one after the other.
    fn asked(&self, subject: Subject, column: impl Fn(&str) -> Vec<f64>) -> Vec<f64> {
        let inputs = native::inputs::<P>();
        let of_subject = inputs.iter().filter(|input| input.subject == subject);
        of_subject.flat_map(|input| column(&input.name)).collect()
    }

    fn columns(&self, words: &mut Words) -> NodeColumns {
        let mut columns = NodeColumns {
            names: Vec::new(),
            label_keys: Vec::new(),
            label_values: Vec::new(),
            label_ends: Vec::new(),
            taint_keys: Vec::new(),
            taint_values: Vec::new(),
            taint_effects: Vec::new(),
            taint_ends: Vec::new(),
            facts: self.asked(Subject::Node, |name| {
                let fact = |node: &Node| node.facts.get(name).copied().unwrap_or(f64::NAN);
                self.nodes.values().map(fact).collect()
            }),
        };
        let end = |entries: &[u32]| u32::try_from(entries.len()).expect("a test has few");
        for (name, node) in &self.nodes {
            columns.names.push(words.of(name));
            for (key, value) in &node.labels {
                columns.label_keys.push(words.of(key));
                columns.label_values.push(words.of(value));
            }
            columns.label_ends.push(end(&columns.label_keys));
            for (key, value, effect) in &node.taints {
                columns.taint_keys.push(words.of(key));
                columns.taint_values.push(words.of(value));
                columns.taint_effects.push(*effect);
            }
            columns.taint_ends.push(end(&columns.taint_keys));
        }
        columns
    }
}

fn document(settings: &str, pod: &str) -> String {
    format!(r#"{{"settings": {settings}, "service": {{"pod": {pod}}}}}"#)
}
