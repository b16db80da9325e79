//! Policies that are plain Rust, written with the SDK and linked into this program: the fallback, the bench's baseline, and what
//! tests use. The SDK generates its own types from the same contract; fields are moved across, and nothing is copied but what a
//! call borrows.

use std::marker::PhantomData;

use tidegate_policy::native;
use tidegate_policy::placement;
use tidegate_policy::scaling as sdk;

use super::wire::{
    self, Batch, Births, Candidates, Decisions, Explanation, Fault, Inheritance, PlacementInput,
    PlacementProgram, Program, Request, Scope, States, Subject, TaintEffect,
};
use super::{Answer, BindError, CallError, CallErrorKind, PlacementPolicy, ScalingPolicy};

/// A scaling policy of the SDK as the engine sees it.
pub struct NativeScaling<P> {
    digest: String,
    policy: PhantomData<fn() -> P>,
}

impl<P: sdk::Together> NativeScaling<P> {
    /// The policy, by the name it goes by in reports.
    pub fn new(name: &str) -> NativeScaling<P> {
        NativeScaling { digest: format!("native:{name}"), policy: PhantomData }
    }
}

impl<P: sdk::Together> ScalingPolicy for NativeScaling<P> {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn bind(&mut self, settings: &str) -> Result<Program, BindError> {
        match native::bind::<P>(settings) {
            Ok(program) => Ok(from_program(program)),
            Err(faults) => Err(BindError::Faults(faults.into_iter().map(from_fault).collect())),
        }
    }

    fn init(&mut self, born: &Births) -> Result<States, CallError> {
        native::init::<P>(&to_births(born)).map(from_states).map_err(refused)
    }

    fn decide(&mut self, seen: &Batch, columns: usize) -> Answer {
        match native::decide::<P>(&to_batch(seen)) {
            Ok(decisions) => Answer {
                decisions: Decisions {
                    wanted: decisions.wanted,
                    apply: decisions.apply,
                    next_at_ms: decisions.next_at_ms,
                    outputs: decisions.outputs,
                    states: from_states(decisions.states),
                },
                failed: Vec::new(),
                fuel: 0,
            },
            Err(failure) => failed_whole(seen.params_of.len(), columns, &refused(failure)),
        }
    }

    fn explain(&mut self, seen: &Batch) -> Result<Vec<Explanation>, CallError> {
        let told = native::explain::<P>(&to_batch(seen)).map_err(refused)?;
        Ok(told.into_iter().map(from_explanation).collect())
    }

    fn state_schema(&mut self) -> Result<String, CallError> {
        Ok(P::STATE_SCHEMA.to_owned())
    }

    fn migrate(&mut self, from: &Inheritance) -> Result<States, CallError> {
        let old = sdk::States { bytes: from.old.bytes.clone(), ends: from.old.ends.clone() };
        let born = to_births(&from.born);
        let from = sdk::Inheritance { born, schema: from.schema.clone(), old };
        native::migrate::<P>(&from).map(from_states).map_err(refused)
    }
}

/// A placement policy of the SDK as the engine sees it.
pub struct NativePlacement<P> {
    digest: String,
    policy: PhantomData<fn() -> P>,
}

impl<P: placement::Placement> NativePlacement<P> {
    /// The policy, by the name it goes by in reports.
    pub fn new(name: &str) -> NativePlacement<P> {
        NativePlacement { digest: format!("native:{name}"), policy: PhantomData }
    }
}

impl<P: placement::Placement> PlacementPolicy for NativePlacement<P> {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn inputs(&mut self) -> Result<Vec<PlacementInput>, CallError> {
        let subject = |subject| match subject {
            placement::Subject::Node => Subject::Node,
            placement::Subject::Replica => Subject::Replica,
            placement::Subject::Pair => Subject::Pair,
            placement::Subject::Candidate => Subject::Candidate,
        };
        let input = |input: placement::Input| PlacementInput {
            subject: subject(input.subject),
            name: input.name,
            required: input.required,
        };
        Ok(native::placement::inputs::<P>().into_iter().map(input).collect())
    }

    fn bind(&mut self, settings: &str) -> Result<PlacementProgram, BindError> {
        match native::placement::bind::<P>(settings) {
            Ok(program) => Ok(PlacementProgram {
                params: program.params,
                warnings: program.warnings.into_iter().map(from_fault).collect(),
            }),
            Err(faults) => Err(BindError::Faults(faults.into_iter().map(from_fault).collect())),
        }
    }

    fn place(&mut self, asked: &Request) -> Result<Vec<Option<u32>>, CallError> {
        let chosen = native::placement::place::<P>(&to_request(asked)).map_err(refused)?;
        let node = |node| (node != native::placement::NO_NODE).then_some(node);
        Ok(chosen.into_iter().map(node).collect())
    }

    fn explain(&mut self, asked: &Request) -> Result<Vec<Explanation>, CallError> {
        let told = native::placement::explain::<P>(&to_request(asked)).map_err(refused)?;
        Ok(told.into_iter().map(from_explanation).collect())
    }

    fn rank(&mut self, asked: &Candidates) -> Result<Vec<u32>, CallError> {
        native::placement::rank::<P>(&to_candidates(asked)).map_err(refused)
    }

    fn explain_rank(&mut self, asked: &Candidates) -> Result<Vec<Explanation>, CallError> {
        let told = native::placement::explain_rank::<P>(&to_candidates(asked)).map_err(refused)?;
        Ok(told.into_iter().map(from_explanation).collect())
    }
}

/// Places nothing: for targets whose replicas something else owns.
#[derive(Debug)]
pub struct Nowhere;

impl PlacementPolicy for Nowhere {
    fn digest(&self) -> &str {
        "native:nowhere"
    }
    fn inputs(&mut self) -> Result<Vec<wire::PlacementInput>, CallError> {
        Ok(Vec::new())
    }
    fn bind(&mut self, _: &str) -> Result<wire::PlacementProgram, BindError> {
        Ok(wire::PlacementProgram { params: Vec::new(), warnings: Vec::new() })
    }
    fn place(&mut self, asked: &wire::Request) -> Result<Vec<Option<u32>>, CallError> {
        Ok(vec![None; asked.replicas.params_of.len()])
    }
    fn explain(&mut self, _: &wire::Request) -> Result<Vec<Explanation>, CallError> {
        Ok(Vec::new())
    }
    fn rank(&mut self, _: &wire::Candidates) -> Result<Vec<u32>, CallError> {
        Ok(Vec::new())
    }
}

/// An answer in which every target of a batch failed for the same reason.
pub(super) fn failed_whole(targets: usize, columns: usize, error: &CallError) -> Answer {
    let decisions = Decisions {
        wanted: vec![0; targets],
        apply: vec![false; targets],
        next_at_ms: vec![0; targets],
        outputs: vec![f64::NAN; targets * columns],
        states: States { bytes: Vec::new(), ends: vec![0; targets] },
    };
    Answer {
        decisions,
        failed: (0..targets as u32).map(|at| (at, error.clone())).collect(),
        fuel: 0,
    }
}

fn refused(failure: tidegate_policy::Failure) -> CallError {
    let tidegate_policy::Failure { culprits, message } = failure;
    CallError { kind: CallErrorKind::Refused, culprits, message }
}

fn from_fault(fault: tidegate_policy::Fault) -> Fault {
    Fault { path: fault.path, message: fault.message }
}

fn from_explanation(told: tidegate_policy::Explanation) -> Explanation {
    let figure =
        |figure: tidegate_policy::Figure| wire::Figure { name: figure.name, value: figure.value };
    Explanation { reason: told.reason, figures: told.figures.into_iter().map(figure).collect() }
}

fn from_states(states: sdk::States) -> States {
    States { bytes: states.bytes, ends: states.ends }
}

fn from_program(program: sdk::Program) -> Program {
    let source = |source| match source {
        sdk::Source::Window(window) => wire::Source::Window(wire::Window {
            signal: window.signal,
            span_s: window.span_s,
            averaging: window.averaging,
        }),
        sdk::Source::Fact(name) => wire::Source::Fact(name),
        sdk::Source::Output(name) => wire::Source::Output(name),
    };
    Program {
        params: program.params,
        scope: match program.scope {
            sdk::Scope::Target => Scope::Target,
            sdk::Scope::Group => Scope::Group,
            sdk::Scope::Tenant => Scope::Tenant,
        },
        causes: from_causes(program.causes),
        inputs: program
            .inputs
            .into_iter()
            .map(|input| wire::Input { source: source(input.source), required: input.required })
            .collect(),
        outputs: program.outputs,
        warnings: program.warnings.into_iter().map(from_fault).collect(),
    }
}

/// Each cause of the one set of generated flags with its twin of the other.
const CAUSES: [(sdk::Causes, wire::Causes); 5] = [
    (sdk::Causes::CREATED, wire::Causes::CREATED),
    (sdk::Causes::TICK, wire::Causes::TICK),
    (sdk::Causes::POKE, wire::Causes::POKE),
    (sdk::Causes::CHANGE, wire::Causes::CHANGE),
    (sdk::Causes::TIMER, wire::Causes::TIMER),
];

fn from_causes(causes: sdk::Causes) -> wire::Causes {
    CAUSES
        .iter()
        .filter(|(one, _)| (causes & *one) == *one)
        .fold(wire::Causes::empty(), |all, (_, twin)| all | *twin)
}

fn to_causes(causes: wire::Causes) -> sdk::Causes {
    CAUSES
        .iter()
        .filter(|(_, twin)| (causes & *twin) == *twin)
        .fold(sdk::Causes::empty(), |all, (one, _)| all | *one)
}

fn to_batch(seen: &Batch) -> sdk::Batch {
    sdk::Batch {
        at_ms: seen.at_ms,
        causes_of: seen.causes_of.iter().map(|causes| to_causes(*causes)).collect(),
        params: seen.params.clone(),
        params_of: seen.params_of.clone(),
        groups: seen.groups.clone(),
        states: sdk::States { bytes: seen.states.bytes.clone(), ends: seen.states.ends.clone() },
        inputs: seen.inputs.clone(),
        words: seen.words.clone(),
    }
}

fn to_births(born: &Births) -> sdk::Births {
    sdk::Births {
        at_ms: born.at_ms,
        params: born.params.clone(),
        params_of: born.params_of.clone(),
        ready: born.ready.clone(),
    }
}

fn to_candidates(asked: &Candidates) -> placement::Candidates {
    placement::Candidates {
        at_ms: asked.at_ms,
        words: asked.words.clone(),
        nodes: to_nodes(&asked.nodes),
        params: asked.params.clone(),
        params_of: asked.params_of.clone(),
        node_of: asked.node_of.clone(),
        choices: asked.choices.clone(),
        leaving: asked.leaving.clone(),
        facts: asked.facts.clone(),
    }
}

fn to_nodes(nodes: &wire::Nodes) -> placement::NodeColumns {
    let effect = |effect: &TaintEffect| match effect {
        TaintEffect::NoSchedule => placement::TaintEffect::NoSchedule,
        TaintEffect::PreferNoSchedule => placement::TaintEffect::PreferNoSchedule,
        TaintEffect::NoExecute => placement::TaintEffect::NoExecute,
    };
    placement::NodeColumns {
        names: nodes.names.clone(),
        label_keys: nodes.label_keys.clone(),
        label_values: nodes.label_values.clone(),
        label_ends: nodes.label_ends.clone(),
        taint_keys: nodes.taint_keys.clone(),
        taint_values: nodes.taint_values.clone(),
        taint_effects: nodes.taint_effects.iter().map(effect).collect(),
        taint_ends: nodes.taint_ends.clone(),
        facts: nodes.facts.clone(),
    }
}

fn to_request(asked: &Request) -> placement::Request {
    let replicas = &asked.replicas;
    placement::Request {
        at_ms: asked.at_ms,
        words: asked.words.clone(),
        nodes: to_nodes(&asked.nodes),
        replicas: placement::Replicas {
            params: replicas.params.clone(),
            params_of: replicas.params_of.clone(),
            facts: replicas.facts.clone(),
            pairs: replicas.pairs.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One node of that name with one free GPU, and two replicas that need one.
    fn request(inputs: &[PlacementInput], params: Vec<u8>) -> Request {
        let count = |subject| inputs.iter().filter(|input| input.subject == subject).count();
        Request {
            at_ms: 0,
            words: vec!["node-a".into(), "spot".into(), String::new()],
            nodes: wire::Nodes {
                names: vec![0],
                label_keys: vec![],
                label_values: vec![],
                label_ends: vec![0],
                taint_keys: vec![1],
                taint_values: vec![2],
                taint_effects: vec![TaintEffect::PreferNoSchedule],
                taint_ends: vec![1],
                facts: inputs
                    .iter()
                    .filter(|input| input.subject == Subject::Node)
                    .map(|input| if input.name == "free-gpus" { 1.0 } else { f64::NAN })
                    .collect(),
            },
            replicas: wire::Replicas {
                params: vec![params],
                params_of: vec![0, 0],
                facts: inputs
                    .iter()
                    .filter(|input| input.subject == Subject::Replica)
                    .flat_map(|input| [if input.name == "gpus" { 1.0 } else { 0.0 }; 2])
                    .collect(),
                pairs: vec![0.0; 2 * count(Subject::Pair)],
            },
        }
    }

    #[test]
    fn affinity_places_through_the_trait_of_the_engine_and_none_stands_for_no_node() {
        let mut policy = NativePlacement::<tidegate_affinity::Affinity>::new("affinity");
        let inputs = policy.inputs().expect("a native policy knows its inputs");
        let program = policy.bind(r#"{"settings": {}}"#).expect("no constraints are in order");
        let asked = request(&inputs, program.params);
        assert_eq!(policy.place(&asked), Ok(vec![Some(0), None]));
        let told = policy.explain(&asked).expect("what is placed can be explained");
        let told: Vec<&str> = told.iter().map(|told| told.reason.as_str()).collect();
        assert_eq!(told, ["on node-a, the only one that will do", "no node: 1 lacks a free GPU"]);
        assert_eq!(policy.digest(), "native:affinity");
    }

    #[test]
    fn settings_that_affinity_refuses_come_back_with_their_path() {
        let mut policy = NativePlacement::<tidegate_affinity::Affinity>::new("affinity");
        let document =
            r#"{"settings": {}, "service": {"pod": {"tolerations": [{"operator": "Is"}]}}}"#;
        let Err(BindError::Faults(faults)) = policy.bind(document) else {
            panic!("a toleration with an operator that there is not was accepted");
        };
        let told: Vec<String> =
            faults.iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect();
        assert_eq!(
            told,
            [r#"service.pod.tolerations.0.operator: found "Is", expected Exists or Equal"#]
        );
    }
}
