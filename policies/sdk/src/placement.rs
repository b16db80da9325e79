//! What the author of a placement policy writes: which nodes suit a settings document, what a node is worth to a replica, and who
//! leaves first. The loop over replicas is made here: what a replica takes is gone for the next, and what does not fit is never
//! offered to the author.

use std::cmp::Ordering;
use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

pub use crate::bindings::placement::exports::tidegate::policy::placement::{
    Candidates, Guest, Input, Nodes as NodeColumns, Program, Replicas, Request, Subject,
    TaintEffect,
};
use crate::native::placement as native;
pub use crate::nodes::{Candidate, Node, Nodes, Replica, Resources, Taint, Word};
use crate::{Document, Explanation, Failure, Fault, Faults, Notes};

/// A policy that chooses nodes. Free CPU, memory and GPUs are looked after by the SDK, see [`Node::free`].
pub trait Placement: Sized + 'static {
    /// The author's part of a settings document.
    type Settings: DeserializeOwned;
    /// What `bind` makes of a document.
    type Params: Serialize + DeserializeOwned;
    /// The columns that the policy reads.
    type Inputs;
    /// What is known of a node for all replicas of one settings document; `()` for nothing.
    type Fit;
    /// What a node is worth to a replica; the largest wins. Among equals the first name does. See [`Ordered`] for floats.
    type Score: Ord;
    /// Who leaves first: the smallest. Among equals the one that was given first does.
    type Turn: Ord;

    /// Asks for columns. They are the same for all documents.
    fn inputs(want: &mut Inputs) -> Self::Inputs;

    /// Checks a document. What its author should know although it is accepted goes to `warnings`.
    fn bind(
        document: Document<Self::Settings>,
        warnings: &mut Faults,
    ) -> Result<Self::Params, Faults>;

    /// Says of each node, in their order, whether a replica with these params may go there at all. It is asked once for all of
    /// them, so labels and taints are best looked at here.
    fn suits(
        params: &Self::Params,
        inputs: &Self::Inputs,
        nodes: &Nodes<'_>,
    ) -> Vec<Result<Self::Fit, Obstacle>>;

    /// What a node that suits, and has room, is worth to a replica; or why it will not do.
    fn score(
        inputs: &Self::Inputs,
        fit: &Self::Fit,
        replica: &Replica<'_>,
        node: &Node<'_>,
    ) -> Result<Self::Score, Obstacle>;

    /// Where a replica stands in the order in which they leave. `node` is the one it is on, where that is among the nodes.
    fn turn(
        params: &Self::Params,
        inputs: &Self::Inputs,
        candidate: &Candidate<'_>,
        node: Option<&Node<'_>>,
    ) -> Self::Turn;

    /// Tells more about a choice, when somebody reads. Its reason is there already, as in `on node-a, best of 3`.
    fn tell(
        _inputs: &Self::Inputs,
        _fit: &Self::Fit,
        _replica: &Replica<'_>,
        _node: &Node<'_>,
        _notes: &mut Notes<'_>,
    ) {
    }

    /// Tells why a replica stands where it does, when somebody reads, in a few words such as `starting`. That it leaves, or is
    /// the third in turn and stays, is put in front.
    fn tell_turn(
        _params: &Self::Params,
        _inputs: &Self::Inputs,
        _candidate: &Candidate<'_>,
        _node: Option<&Node<'_>>,
        _notes: &mut Notes<'_>,
    ) {
    }
}

/// Why a node will not do, as it is said of one node and of several: `has the taint`, `have the taint`. Explanations count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle {
    one: &'static str,
    many: &'static str,
    about: Option<Word>,
}

impl Obstacle {
    /// As it is said of one node and of several, a verb in front.
    pub const fn new(one: &'static str, many: &'static str) -> Obstacle {
        Obstacle { one, many, about: None }
    }

    /// The same with a text of the request behind it, such as the taint's key.
    pub fn about(self, word: Word) -> Obstacle {
        Obstacle { about: Some(word), ..self }
    }

    /// As it is said of so many nodes.
    pub(crate) fn told(&self, count: usize, nodes: &Nodes<'_>) -> String {
        let verb = if count == 1 { self.one } else { self.many };
        match self.about {
            Some(word) => format!("{count} {verb} {}", nodes.text(word)),
            None => format!("{count} {verb}"),
        }
    }
}

/// A float with an order: NaN is the largest, so that what is not known comes last where small is good.
#[derive(Clone, Copy, Debug)]
pub struct Ordered(pub f64);

impl Ord for Ordered {
    fn cmp(&self, other: &Ordered) -> Ordering {
        let by_nan = || self.0.is_nan().cmp(&other.0.is_nan());
        self.0.partial_cmp(&other.0).unwrap_or_else(by_nan)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Ordered) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Ordered) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

/// A column of nodes: read it as `node[column]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeColumn(pub(crate) usize);

/// A column of replicas that need a place: read it as `replica[column]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaColumn(pub(crate) usize);

/// A column of replicas on nodes: read it as `replica.on(node, column)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairColumn(pub(crate) usize);

/// A column of replicas that might leave: read it as `candidate[column]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandidateColumn(pub(crate) usize);

/// What a placement policy asks for. Names are those of `docs/signals.md`; asking twice for the same is asking once. What an
/// installation cannot give makes it refuse the policy, unless it is optional: then it reads NaN.
#[derive(Debug)]
pub struct Inputs(Vec<Input>);

impl Inputs {
    /// Free room and needs are always asked for, in this order and before all else: `Nodes` and `Replica` read them by position.
    pub(crate) fn new() -> Inputs {
        let mut want = Inputs(Vec::new());
        for name in ["free-cpu", "free-memory-bytes", "free-gpus"] {
            want.node(name);
        }
        for name in ["cpu", "memory-bytes", "gpus"] {
            want.replica(name);
        }
        want
    }

    /// A fact of each node. Free CPU, memory and GPUs are in [`Node::free`], where choices already made count.
    pub fn node(&mut self, name: &str) -> NodeColumn {
        NodeColumn(self.ask(Subject::Node, name, true))
    }

    /// A fact of each node that not every installation gives.
    pub fn optional_node(&mut self, name: &str) -> NodeColumn {
        NodeColumn(self.ask(Subject::Node, name, false))
    }

    /// A fact of each replica that needs a place. Its CPU, memory and GPUs are in [`Replica::needs`].
    pub fn replica(&mut self, name: &str) -> ReplicaColumn {
        ReplicaColumn(self.ask(Subject::Replica, name, true))
    }

    /// A fact of each replica that not every installation gives.
    pub fn optional_replica(&mut self, name: &str) -> ReplicaColumn {
        ReplicaColumn(self.ask(Subject::Replica, name, false))
    }

    /// A fact of each replica on each node.
    pub fn pair(&mut self, name: &str) -> PairColumn {
        PairColumn(self.ask(Subject::Pair, name, true))
    }

    /// A fact of each replica on each node that not every installation gives.
    pub fn optional_pair(&mut self, name: &str) -> PairColumn {
        PairColumn(self.ask(Subject::Pair, name, false))
    }

    /// A fact of each replica that might leave.
    pub fn candidate(&mut self, name: &str) -> CandidateColumn {
        CandidateColumn(self.ask(Subject::Candidate, name, true))
    }

    /// A fact of each replica that might leave that not every installation gives.
    pub fn optional_candidate(&mut self, name: &str) -> CandidateColumn {
        CandidateColumn(self.ask(Subject::Candidate, name, false))
    }

    /// The position of a column among those of its subject.
    fn ask(&mut self, subject: Subject, name: &str, required: bool) -> usize {
        let mut of_subject = self.0.iter_mut().filter(|input| input.subject == subject);
        if let Some(at) = of_subject.position(|input| input.name == name) {
            if let Some(known) = self.0.iter_mut().filter(|input| input.subject == subject).nth(at)
            {
                known.required |= required;
            }
            return at;
        }
        self.0.push(Input { subject, name: name.into(), required });
        self.count(subject) - 1
    }

    /// How many columns of a subject were asked for.
    pub(crate) fn count(&self, subject: Subject) -> usize {
        self.0.iter().filter(|input| input.subject == subject).count()
    }

    pub(crate) fn into_vec(self) -> Vec<Input> {
        self.0
    }
}

/// The component's face of a placement policy; made by [`export_placement!`](crate::export_placement).
#[doc(hidden)]
pub struct ExportPlacement<P>(PhantomData<P>);

impl<P: Placement> Guest for ExportPlacement<P> {
    fn inputs() -> Vec<Input> {
        native::inputs::<P>()
    }

    fn bind(settings: String) -> Result<Program, Vec<Fault>> {
        native::bind::<P>(&settings)
    }

    fn place(asked: Request) -> Result<Vec<u32>, Failure> {
        native::place::<P>(&asked)
    }

    fn explain(asked: Request) -> Result<Vec<Explanation>, Failure> {
        native::explain::<P>(&asked)
    }

    fn rank(asked: Candidates) -> Result<Vec<u32>, Failure> {
        native::rank::<P>(&asked)
    }

    fn explain_rank(asked: Candidates) -> Result<Vec<Explanation>, Failure> {
        native::explain_rank::<P>(&asked)
    }
}
