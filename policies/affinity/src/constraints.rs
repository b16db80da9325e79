//! A pod's constraints on nodes, and whether a node meets them. The semantics are those of kube-scheduler: node selector and node
//! affinity of `component-helpers/scheduling/corev1/nodeaffinity`, operators of `apimachinery/pkg/labels/selector.go`
//! (`Requirement.Matches`), tolerations of `api/core/v1/toleration.go` (`ToleratesTaint`).

use serde::{Deserialize, Serialize};
use tidegate_policy::placement::{Node, Nodes, Obstacle, Taint, TaintEffect, Word};

/// A pod's constraints. Texts are `String` as they are written, and `Option<Word>` as one request knows them: none is a text that
/// stands on no node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraints<T> {
    /// `nodeSelector`: labels and the values that they must have.
    pub selector: Vec<(T, T)>,
    /// Required node affinity: at least one of these must match. `None`: there is no such requirement.
    pub required: Option<Vec<Term<T>>>,
    /// Preferred node affinity: what each term is worth where it matches, 1 to 100.
    pub preferred: Vec<(u32, Term<T>)>,
    /// Which taints do not keep the pod away.
    pub tolerations: Vec<Toleration<T>>,
}

/// A term of node affinity: all of it must match. One without anything in it matches nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term<T> {
    /// `matchExpressions`: a label, and what must be true of it.
    pub labels: Vec<(T, Test<T>)>,
    /// `matchFields` on `metadata.name`.
    pub names: Vec<Test<T>>,
}

/// What must be true of a label that may be absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test<T> {
    /// It is there and has one of these values.
    In(Vec<T>),
    /// It is absent or has none of these values.
    NotIn(Vec<T>),
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
    /// It is there, an integer, and larger.
    Gt(i64),
    /// It is there, an integer, and smaller.
    Lt(i64),
}

/// A toleration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toleration<T> {
    /// The taint's key; `None`: any.
    pub key: Option<T>,
    /// The taint's value; `None`: any (operator `Exists`).
    pub value: Option<T>,
    /// The taint's effect; `None`: any.
    pub effect: Option<Effect>,
}

/// What a tolerated taint does; Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// New replicas stay away.
    NoSchedule,
    /// New replicas stay away if they can.
    PreferNoSchedule,
    /// New replicas stay away, running ones leave.
    NoExecute,
}

const NOT_SELECTED: Obstacle =
    Obstacle::new("does not match the node selector", "do not match the node selector");
const NOT_REQUIRED: Obstacle =
    Obstacle::new("does not match the node affinity", "do not match the node affinity");
const TAINTED: Obstacle = Obstacle::new("has the taint", "have the taint");

impl Constraints<String> {
    /// The same with each text as the word that it is in a request.
    pub fn in_words(&self, nodes: &Nodes<'_>) -> Constraints<Option<Word>> {
        let word = |text: &String| nodes.word(text);
        let test = |test: &Test<String>| match test {
            Test::In(values) => Test::In(values.iter().map(word).collect()),
            Test::NotIn(values) => Test::NotIn(values.iter().map(word).collect()),
            Test::Exists => Test::Exists,
            Test::DoesNotExist => Test::DoesNotExist,
            Test::Gt(bound) => Test::Gt(*bound),
            Test::Lt(bound) => Test::Lt(*bound),
        };
        let term = |term: &Term<String>| Term {
            labels: term.labels.iter().map(|(key, of)| (word(key), test(of))).collect(),
            names: term.names.iter().map(test).collect(),
        };
        Constraints {
            selector: self.selector.iter().map(|(key, value)| (word(key), word(value))).collect(),
            required: self.required.as_ref().map(|terms| terms.iter().map(term).collect()),
            preferred: self.preferred.iter().map(|(weight, of)| (*weight, term(of))).collect(),
            tolerations: self
                .tolerations
                .iter()
                .map(|toleration| Toleration {
                    key: toleration.key.as_ref().map(word),
                    value: toleration.value.as_ref().map(word),
                    effect: toleration.effect,
                })
                .collect(),
        }
    }
}

impl Constraints<Option<Word>> {
    /// Whether the pod may go to that node, room aside; if not, the first thing that is in the way.
    pub fn admit(&self, node: &Node<'_>, nodes: &Nodes<'_>) -> Result<(), Obstacle> {
        let is_selected = |(key, value): &(Option<Word>, Option<Word>)| {
            let found = key.and_then(|key| node.label_word(key));
            found.is_some() && found == *value
        };
        if !self.selector.iter().all(is_selected) {
            return Err(NOT_SELECTED);
        }
        if let Some(terms) = &self.required
            && !terms.iter().any(|term| term.matches(node, nodes))
        {
            return Err(NOT_REQUIRED);
        }
        let keeps_away = |taint: &Taint| match taint.effect {
            TaintEffect::NoSchedule | TaintEffect::NoExecute => !self.tolerate(taint),
            TaintEffect::PreferNoSchedule => false,
        };
        node.taints().find(keeps_away).map_or(Ok(()), |taint| Err(TAINTED.about(taint.key)))
    }

    /// The weights of the preferred terms that match, together.
    pub fn preference(&self, node: &Node<'_>, nodes: &Nodes<'_>) -> u64 {
        let matching = self.preferred.iter().filter(|(_, term)| term.matches(node, nodes));
        matching.map(|(weight, _)| u64::from(*weight)).sum()
    }

    /// How many taints ask the pod to stay away if it can.
    pub fn discouraged(&self, node: &Node<'_>) -> u64 {
        let discourages =
            |taint: &Taint| taint.effect == TaintEffect::PreferNoSchedule && !self.tolerate(taint);
        node.taints().filter(discourages).count() as u64
    }

    fn tolerate(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| {
            toleration.key.is_none_or(|key| key == Some(taint.key))
                && toleration.value.is_none_or(|value| value == Some(taint.value))
                && toleration.effect.is_none_or(|effect| effect.is(taint.effect))
        })
    }
}

impl Term<Option<Word>> {
    fn matches(&self, node: &Node<'_>, nodes: &Nodes<'_>) -> bool {
        let is_empty = self.labels.is_empty() && self.names.is_empty();
        let label = |key: &Option<Word>| key.and_then(|key| node.label_word(key));
        !is_empty
            && self.labels.iter().all(|(key, test)| test.is_met(label(key), nodes))
            && self.names.iter().all(|test| test.is_met(Some(node.name_word()), nodes))
    }
}

impl Test<Option<Word>> {
    fn is_met(&self, found: Option<Word>, nodes: &Nodes<'_>) -> bool {
        let integer = || nodes.text(found?).parse::<i64>().ok();
        match self {
            Test::In(values) => found.is_some() && values.contains(&found),
            Test::NotIn(values) => found.is_none() || !values.contains(&found),
            Test::Exists => found.is_some(),
            Test::DoesNotExist => found.is_none(),
            Test::Gt(bound) => integer().is_some_and(|value| value > *bound),
            Test::Lt(bound) => integer().is_some_and(|value| value < *bound),
        }
    }
}

impl Effect {
    fn is(self, effect: TaintEffect) -> bool {
        let twin = match self {
            Effect::NoSchedule => TaintEffect::NoSchedule,
            Effect::PreferNoSchedule => TaintEffect::PreferNoSchedule,
            Effect::NoExecute => TaintEffect::NoExecute,
        };
        twin == effect
    }
}
