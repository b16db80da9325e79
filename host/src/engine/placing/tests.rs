//! Placement with a policy that fails for some targets, through the engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::engine::{
    Action, Bounds, Engine, Event, Observation, Owner, Plan, Resources, TargetName, TargetSpec,
};
use crate::policy::wire::{
    Candidates, Explanation, PlacementInput, PlacementProgram, Request, Subject,
};

const TICK_MS: u64 = 2_000;

/// What the policy does when it is asked about bad targets, which are those with the settings `"bad"`.
#[derive(Clone, Copy)]
enum Bad {
    Names,
    NamesNobody,
}

/// Puts everything on the first node, if it may.
struct Picky {
    bad: Option<Bad>,
    /// How many replicas each call was about.
    asked: Arc<Mutex<Vec<usize>>>,
    /// What it was asked to rank.
    ranked: Arc<Mutex<Vec<Candidates>>>,
}

impl PlacementPolicy for Picky {
    fn digest(&self) -> &str {
        "native:picky"
    }
    fn inputs(&mut self) -> Result<Vec<PlacementInput>, CallError> {
        let name = "free-gpus".to_owned();
        Ok(vec![PlacementInput { subject: Subject::Node, name, required: true }])
    }
    fn bind(&mut self, settings: &str) -> Result<PlacementProgram, BindError> {
        Ok(PlacementProgram { params: settings.as_bytes().to_vec(), warnings: Vec::new() })
    }
    fn place(&mut self, asked: &Request) -> Result<Vec<Option<u32>>, CallError> {
        let n = asked.replicas.params_of.len();
        self.asked.lock().expect("nobody panics").push(n);
        let is_bad = |at: &u32| {
            asked.replicas.params[asked.replicas.params_of[*at as usize] as usize] == b"bad"
        };
        let culprits: Vec<u32> = (0..n as u32).filter(is_bad).collect();
        let culprits = match self.bad {
            None => return Ok(vec![Some(0); n]),
            Some(_) if culprits.is_empty() => return Ok(vec![Some(0); n]),
            Some(Bad::Names) => culprits,
            Some(Bad::NamesNobody) => Vec::new(),
        };
        let message = "these constraints are beyond me".to_owned();
        Err(CallError { kind: CallErrorKind::Refused, culprits, message })
    }
    fn explain(&mut self, _: &Request) -> Result<Vec<Explanation>, CallError> {
        Ok(Vec::new())
    }
    fn rank(&mut self, asked: &Candidates) -> Result<Vec<u32>, CallError> {
        self.ranked.lock().expect("nobody panics").push(asked.clone());
        Ok((0..asked.choices.len() as u32).collect())
    }
}

fn picky(bad: Option<Bad>) -> (Box<Picky>, Arc<Mutex<Vec<usize>>>) {
    let asked = Arc::default();
    (Box::new(Picky { bad, asked: Arc::clone(&asked), ranked: Arc::default() }), asked)
}

/// Targets with two replicas each, of which those at `bad` are bad, on one node with room for all.
fn engine(
    count: usize,
    bad: &[usize],
    policy: Box<Picky>,
    fallback: Option<Box<dyn PlacementPolicy>>,
) -> (Engine, Plan) {
    let options = Options {
        tick_ms: TICK_MS,
        explains: false,
        gateway_is_always_in_path: true,
        ..Options::default()
    };
    let mut engine =
        Engine::new(options, Vec::new(), policy, fallback).expect("the columns are known");
    let spec = |at: usize| TargetSpec {
        name: TargetName::of_service(&format!("service-{at:04}")),
        tenant: "default".into(),
        owner: Owner::Tidegate,
        bounds: Bounds { min: 0, max: 0, initial: 2 },
        activation: 1,
        is_reachable: Some(true),
        scaling_settings: Vec::new(),
        placement_settings: if bad.contains(&at) { "bad" } else { "good" }.into(),
        needs: Resources { cpu_milli: 0, memory_bytes: 0, gpus: 1 },
        weights_bytes: 0,
    };
    engine.add_targets(Time(0), (0..count).map(spec).collect()).expect("they are accepted");
    let gpus = Resources { cpu_milli: 0, memory_bytes: 0, gpus: 10_000 };
    let node = Node {
        name: "node".into(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        allocatable: gpus,
        gpu_memory_bytes: 0,
        gpu_class: String::new(),
        usd_per_gpu_hour: None,
        is_spot: false,
    };
    let plan = engine.step(&Observation {
        at: Time(0),
        events: vec![Event::Nodes(vec![node])],
        in_flight: Vec::new(),
    });
    (engine, plan)
}

/// The targets that got both replicas started.
fn started(plan: &Plan) -> Vec<u32> {
    let starts = plan.actions.iter().filter_map(|action| match action {
        Action::Start { replica, .. } => Some(replica.target.0),
        Action::Drain { .. } | Action::Scale { .. } => None,
    });
    let mut twice: Vec<u32> = starts.collect();
    twice.sort_unstable();
    twice
        .chunks(2)
        .filter(|pair| pair.len() == 2 && pair[0] == pair[1])
        .map(|pair| pair[0])
        .collect()
}

#[test]
fn targets_at_fault_are_left_out_and_asked_about_again_a_tick_later() {
    for (bad, calls) in [(Bad::Names, 2), (Bad::NamesNobody, 14)] {
        let (policy, asked) = picky(Some(bad));
        let (mut engine, plan) = engine(64, &[17], policy, None);
        assert_eq!(started(&plan), (0..64).filter(|at| *at != 17).collect::<Vec<_>>());
        let failed: Vec<_> = plan.failures.iter().map(|failure| &failure.targets[..]).collect();
        assert_eq!(failed, [[TargetId(17)]]);
        assert!(
            asked.lock().expect("nobody panics").len() <= calls,
            "{:?}",
            asked.lock().expect("nobody panics")
        );
        assert_eq!(plan.wake_at, Time(TICK_MS));

        asked.lock().expect("nobody panics").clear();
        let nothing = |at| Observation { at, events: Vec::new(), in_flight: Vec::new() };
        engine.step(&nothing(Time(1)));
        assert!(asked.lock().expect("nobody panics").is_empty(), "nothing has changed");
        let plan = engine.step(&nothing(Time(TICK_MS)));
        assert_eq!(*asked.lock().expect("nobody panics"), [2]);
        assert_eq!(plan.wake_at, Time(2 * TICK_MS));
    }
}

#[test]
fn a_policy_that_always_fails_is_not_asked_without_end() {
    let all: Vec<usize> = (0..1_000).collect();
    let (policy, asked) = picky(Some(Bad::NamesNobody));
    let (_, plan) = engine(1_000, &all, policy, None);
    assert_eq!(asked.lock().expect("nobody panics").len(), CALLS_AT_MOST);
    assert_eq!(started(&plan), [0_u32; 0]);
    let mut failed: Vec<TargetId> =
        plan.failures.iter().flat_map(|failure| failure.targets.clone()).collect();
    failed.sort();
    failed.dedup();
    assert_eq!(failed.len(), 1_000);
}

#[test]
fn the_fallback_places_those_at_fault_and_nothing_is_left_to_ask() {
    let (policy, _) = picky(Some(Bad::NamesNobody));
    let (fallback, asked) = picky(None);
    let (_, plan) = engine(8, &[2, 5], policy, Some(fallback));
    assert_eq!(started(&plan), (0..8).collect::<Vec<_>>());
    assert_eq!(*asked.lock().expect("nobody panics"), [4]);
    assert!(plan.failures.iter().all(|failure| failure.instead == "fallback"));
    assert!(plan.wake_at > Time(TICK_MS) || plan.wake_at == Time::NEVER);
}

#[test]
fn who_ranks_sees_the_nodes_the_params_and_how_many_leave() {
    let (policy, _) = picky(None);
    let ranked = Arc::clone(&policy.ranked);
    let (mut engine, _) = engine(2, &[1], policy, None);
    let id = TargetId(1);
    let spec = engine.specs().nth(1).expect("there are two").clone();
    let bounds = Bounds { max: 1, initial: 0, ..spec.bounds };
    engine.change_target(Time(5), id, TargetSpec { bounds, ..spec }).expect("it is accepted");
    engine.step(&Observation { at: Time(5), events: Vec::new(), in_flight: Vec::new() });
    let asked =
        ranked.lock().expect("nobody panics").first().expect("one of two must leave").clone();
    assert_eq!(asked.params, [b"bad".to_vec()]);
    assert_eq!((asked.params_of, asked.node_of), (vec![0, 0], vec![0, 0]));
    assert_eq!((asked.choices, asked.leaving), (vec![0, 0], vec![1]));
    assert_eq!(asked.words[asked.nodes.names[0] as usize], "node");
    assert_eq!(asked.nodes.facts, [9_996.0], "replicas that may leave take up their room");
}
