//! What a placement policy sees: nodes, replicas and candidates as views of a request's columns. All positions were checked when
//! the views were made.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Index;

use crate::Failure;
use crate::placement::{
    CandidateColumn, Candidates, NodeColumn, NodeColumns, PairColumn, ReplicaColumn, Request,
    TaintEffect,
};
use crate::wire::{failure, failure_of};

/// A text of a request. Equal texts are equal words, so that comparing costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(u32);

/// What a node has free or a replica takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a vCPU.
    pub cpu_milli: u64,
    /// Main memory. Bytes.
    pub memory_bytes: u64,
    /// Whole GPUs.
    pub gpus: u32,
}

impl Resources {
    /// Of three columns: vCPUs, bytes, GPUs. What is not known, or negative, is 0.
    fn of(cpu: f64, memory_bytes: f64, gpus: f64) -> Resources {
        Resources {
            cpu_milli: (cpu * 1e3).round() as u64,
            memory_bytes: memory_bytes as u64,
            gpus: gpus as u32,
        }
    }

    /// Whether `needs` fits in here.
    pub fn fits(&self, needs: &Resources) -> bool {
        needs.gpus <= self.gpus
            && needs.cpu_milli <= self.cpu_milli
            && needs.memory_bytes <= self.memory_bytes
    }

    /// What is left after `needs` was taken from here.
    pub(crate) fn less(&self, needs: &Resources) -> Resources {
        Resources {
            cpu_milli: self.cpu_milli.saturating_sub(needs.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_sub(needs.memory_bytes),
            gpus: self.gpus.saturating_sub(needs.gpus),
        }
    }
}

/// A mark on a node that keeps replicas away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taint {
    /// Its key.
    pub key: Word,
    /// Its value; the empty text where it has none.
    pub value: Word,
    /// What it keeps away.
    pub effect: TaintEffect,
}

/// All nodes of a call, as they are before anything is placed or leaves.
pub struct Nodes<'a> {
    words: &'a [String],
    columns: &'a NodeColumns,
    free: Vec<Resources>,
    by_text: OnceCell<HashMap<&'a str, u32>>,
}

impl<'a> Nodes<'a> {
    /// Checks the columns of the nodes, of which there are `columns` with facts.
    pub(crate) fn of(
        words: &'a [String],
        nodes: &'a NodeColumns,
        columns: usize,
    ) -> Result<Nodes<'a>, Failure> {
        let count = nodes.names.len();
        joined("labels", &nodes.label_ends, count, &[&nodes.label_keys, &nodes.label_values])?;
        joined("taints", &nodes.taint_ends, count, &[&nodes.taint_keys, &nodes.taint_values])?;
        length("taint-effects", nodes.taint_effects.len(), nodes.taint_keys.len())?;
        length("facts of nodes", nodes.facts.len(), columns * count)?;
        let texts = [
            &nodes.names,
            &nodes.label_keys,
            &nodes.label_values,
            &nodes.taint_keys,
            &nodes.taint_values,
        ];
        let largest = texts.into_iter().flatten().max().copied();
        if let Some(word) = largest.filter(|&word| word as usize >= words.len()) {
            return Err(failure(format!("word {word} of {} asked for", words.len())));
        }
        let fact = |column: usize, at: usize| nodes.facts[column * count + at];
        let free = (0..count).map(|at| Resources::of(fact(0, at), fact(1, at), fact(2, at)));
        Ok(Nodes { words, columns: nodes, free: free.collect(), by_text: OnceCell::new() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// They, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Node<'a>> {
        self.free.iter().enumerate().map(|(at, free)| self.with(at, *free))
    }

    /// A text of the request as a word. Without such a word no node has it as a name, and no label or taint as key or value.
    pub fn word(&self, text: &str) -> Option<Word> {
        let by_text =
            self.by_text.get_or_init(|| self.words.iter().map(String::as_str).zip(0..).collect());
        by_text.get(text).copied().map(Word)
    }

    /// The text of a word of this request.
    pub fn text(&self, word: Word) -> &'a str {
        text(self.words, word)
    }

    pub(crate) fn free(&self) -> &[Resources] {
        &self.free
    }

    /// Node `at` while it has so much free.
    pub(crate) fn with(&self, at: usize, free: Resources) -> Node<'a> {
        Node { words: self.words, columns: self.columns, at, free }
    }
}

/// A node.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    words: &'a [String],
    columns: &'a NodeColumns,
    at: usize,
    /// What it has free now: replicas that were given a place in this call have taken theirs.
    pub free: Resources,
}

impl<'a> Node<'a> {
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        text(self.words, self.name_word())
    }

    /// Its name as a word.
    pub fn name_word(&self) -> Word {
        Word(self.columns.names[self.at])
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&'a str> {
        let mut labels = self.labels();
        labels
            .find(|(known, _)| text(self.words, *known) == key)
            .map(|(_, value)| text(self.words, value))
    }

    /// Its labels, as key and value.
    pub fn labels(&self) -> impl Iterator<Item = (Word, Word)> + 'a {
        let nodes = self.columns;
        range(&nodes.label_ends, self.at)
            .map(|at| (Word(nodes.label_keys[at]), Word(nodes.label_values[at])))
    }

    /// The value of a label, by words.
    pub fn label_word(&self, key: Word) -> Option<Word> {
        let nodes = self.columns;
        let range = range(&nodes.label_ends, self.at);
        let at = nodes.label_keys[range.clone()].iter().position(|known| *known == key.0)?;
        Some(Word(nodes.label_values[range.start + at]))
    }

    /// Its taints.
    pub fn taints(&self) -> impl Iterator<Item = Taint> + 'a {
        let nodes = self.columns;
        range(&nodes.taint_ends, self.at).map(|at| Taint {
            key: Word(nodes.taint_keys[at]),
            value: Word(nodes.taint_values[at]),
            effect: nodes.taint_effects[at],
        })
    }
}

/// A fact of the node.
impl Index<NodeColumn> for Node<'_> {
    type Output = f64;

    fn index(&self, column: NodeColumn) -> &f64 {
        &self.columns.facts[column.0 * self.columns.names.len() + self.at]
    }
}

/// A replica that needs a place.
#[derive(Clone, Copy)]
pub struct Replica<'a> {
    asked: &'a Request,
    at: usize,
    /// What it takes.
    pub needs: Resources,
}

impl<'a> Replica<'a> {
    /// Checks the columns of the replicas.
    pub(crate) fn check(asked: &Request, columns: usize, pairs: usize) -> Result<(), Failure> {
        let replicas = &asked.replicas;
        let (count, nodes) = (replicas.params_of.len(), asked.nodes.names.len());
        length("facts of replicas", replicas.facts.len(), columns * count)?;
        length("pairs", replicas.pairs.len(), pairs * count * nodes)
    }

    /// Replica `at` of a request that was checked.
    pub(crate) fn of(asked: &'a Request, at: usize) -> Result<Replica<'a>, Failure> {
        let fact = |column: usize| {
            let needs = asked.replicas.facts[column * asked.replicas.params_of.len() + at];
            // A need that is not known could not be taken from what is free.
            if needs >= 0.0 {
                return Ok(needs);
            }
            let name = ["cpu", "memory-bytes", "gpus"][column];
            Err(failure_of(at, format!("{name} is {needs}, expected what the replica takes")))
        };
        Ok(Replica { asked, at, needs: Resources::of(fact(0)?, fact(1)?, fact(2)?) })
    }

    /// A fact of this replica on that node.
    pub fn on(&self, node: &Node<'_>, column: PairColumn) -> f64 {
        let (replicas, nodes) = (self.asked.replicas.params_of.len(), self.asked.nodes.names.len());
        self.asked.replicas.pairs[(column.0 * replicas + self.at) * nodes + node.at]
    }
}

/// A fact of the replica.
impl Index<ReplicaColumn> for Replica<'_> {
    type Output = f64;

    fn index(&self, column: ReplicaColumn) -> &f64 {
        &self.asked.replicas.facts[column.0 * self.asked.replicas.params_of.len() + self.at]
    }
}

/// A replica that might leave.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Now. Unix milliseconds.
    pub at_ms: u64,
    /// How many of those that it is chosen from leave.
    pub leaving: u32,
    candidates: &'a Candidates,
    at: usize,
}

impl<'a> Candidate<'a> {
    /// Checks the columns of the candidates, of which there are `columns` with facts.
    pub(crate) fn check(candidates: &Candidates, columns: usize) -> Result<(), Failure> {
        let count = candidates.choices.len();
        length("params-of", candidates.params_of.len(), count)?;
        length("node-of", candidates.node_of.len(), count)?;
        length("facts of candidates", candidates.facts.len(), columns * count)
    }

    /// Candidate `at` of a call that was checked.
    pub(crate) fn of(candidates: &'a Candidates, at: usize) -> Result<Candidate<'a>, Failure> {
        let choice = candidates.choices[at];
        let leaving = candidates.leaving.get(choice as usize).copied().ok_or_else(|| {
            failure_of(at, format!("choice {choice} of {} asked for", candidates.leaving.len()))
        })?;
        Ok(Candidate { at_ms: candidates.at_ms, leaving, candidates, at })
    }

    /// The node that it is on, where it is on one of them.
    pub(crate) fn node(&self, nodes: &Nodes<'a>) -> Result<Option<Node<'a>>, Failure> {
        match self.candidates.node_of[self.at] {
            u32::MAX => Ok(None),
            node => match nodes.free().get(node as usize) {
                Some(free) => Ok(Some(nodes.with(node as usize, *free))),
                None => Err(failure_of(self.at, format!("node {node} of {}", nodes.len()))),
            },
        }
    }
}

/// A fact of the candidate.
impl Index<CandidateColumn> for Candidate<'_> {
    type Output = f64;

    fn index(&self, column: CandidateColumn) -> &f64 {
        &self.candidates.facts[column.0 * self.candidates.choices.len() + self.at]
    }
}

fn text(words: &[String], word: Word) -> &str {
    words.get(word.0 as usize).map_or("", String::as_str)
}

/// Which entries of joined lists belong to node `at`.
fn range(ends: &[u32], at: usize) -> std::ops::Range<usize> {
    let start = at.checked_sub(1).map_or(0, |before| ends[before] as usize);
    start..ends[at] as usize
}

fn length(name: &str, found: usize, expected: usize) -> Result<(), Failure> {
    if found == expected {
        return Ok(());
    }
    Err(failure(format!("{name}: {found} entries, expected {expected}")))
}

/// Refuses lists that are joined with ends that do not go up to their length.
fn joined(name: &str, ends: &[u32], nodes: usize, lists: &[&[u32]]) -> Result<(), Failure> {
    length(&format!("ends of {name}"), ends.len(), nodes)?;
    if !ends.is_sorted() {
        return Err(failure(format!("ends of {name} go down")));
    }
    let last = ends.last().map_or(0, |end| *end as usize);
    lists.iter().try_for_each(|list| length(name, list.len(), last))
}
