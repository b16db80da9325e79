//! The chain through the engine: windows from reports, both policies, bounds between the stages, and an owner that makes and ends
//! pods, with reports that go missing and pods that nobody can count.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::sample::select;
use tidegate::engine::{
    Action, Counts, Engine, Event, Observation, OnFailure, Options, Owner, Plan, Report, Resources,
    Signal, Stage, TargetId, TargetName, TargetSpec,
};
use tidegate::policy::native::Nowhere;
use tidegate::policy::wire::{Batch, Births, Explanation, Inheritance, Program, Source, States};
use tidegate::policy::{Answer, BindError, CallError, ScalingPolicy};
use tidegate::time::Time;

use crate::asked::Which;
use crate::config;
use crate::random::{self, Service};

const START: Time = Time::TRACE_START;
/// An owner with a quota.
const PODS_AT_MOST: usize = 300;

/// What happens to one service before a step.
#[derive(Clone, Copy, Debug)]
struct Beat {
    /// Load of the second, in replicas' targets; `None`: the report is missing.
    load: Option<f64>,
    is_counted: bool,
    answers: bool,
}

/// A service, how long its pods take to get ready, whether it can be reached, and what happens to it.
#[derive(Clone, Debug)]
struct Life {
    service: Service,
    pod_start_s: u64,
    is_reachable: Option<bool>,
    beats: Vec<Beat>,
}

/// Lives of services side by side, and the seconds between the steps.
#[derive(Clone, Debug)]
struct World {
    lives: Vec<Life>,
    pauses_s: Vec<u64>,
    gateway_is_always_in_path: bool,
}

const BEATS: usize = 40;

fn world(services: usize) -> impl Strategy<Value = World> {
    let load = prop_oneof![
        4 => 0.0..4.0, 3 => Just(0.0), 1 => (0_u32..60).prop_map(f64::from), 2 => Just(1e9),
    ];
    // Load stays for a while: one draw, and for how many beats it holds.
    let stretch = (prop::option::weighted(0.85, load), 1_usize..14);
    let loads = prop::collection::vec(stretch, 1..8).prop_map(|stretches| {
        let each = stretches.into_iter().flat_map(|(load, beats)| std::iter::repeat_n(load, beats));
        let mut loads: Vec<Option<f64>> = each.take(BEATS).collect();
        loads.resize(BEATS, Some(0.0));
        loads
    });
    let flags =
        prop::collection::vec((prop::bool::weighted(0.95), prop::bool::weighted(0.9)), BEATS);
    let reachable = select(vec![Some(true), Some(true), None, Some(false)]);
    let life = (random::service(), 0_u64..40, reachable, loads, flags).prop_map(
        |(service, pod_start_s, is_reachable, loads, flags)| Life {
            service,
            pod_start_s,
            is_reachable,
            beats: loads
                .into_iter()
                .zip(flags)
                .map(|(load, (is_counted, answers))| Beat { load, is_counted, answers })
                .collect(),
        },
    );
    let pause = prop_oneof![8 => Just(1_u64), 2 => 2_u64..8, 1 => select(vec![31_u64, 70, 700])];
    let parts = (
        prop::collection::vec(life, 1..=services),
        prop::collection::vec(pause, BEATS),
        any::<bool>(),
    );
    parts.prop_map(|(lives, pauses_s, gateway_is_always_in_path)| World {
        lives,
        pauses_s,
        gateway_is_always_in_path,
    })
}

/// The engine over a world, with its pods.
struct Play<'a> {
    world: &'a World,
    engine: Engine,
    /// The target of each life.
    ids: Vec<TargetId>,
    /// Since when each pod of each life is ready. Seconds.
    pods: Vec<Vec<u64>>,
}

impl<'a> Play<'a> {
    /// `names` gives the name of each life, by which the engine orders them.
    fn new(world: &'a World, names: &[usize], stages: [Box<dyn ScalingPolicy>; 2]) -> Play<'a> {
        let [knative, zero] = stages;
        let stages = vec![
            Stage::new("knative", knative, OnFailure::Hold),
            Stage::new("scale-to-zero", zero, OnFailure::Skip),
        ];
        let always = world.gateway_is_always_in_path;
        let options = Options {
            tick_ms: 2_000,
            explains: false,
            gateway_is_always_in_path: always,
            ..Options::default()
        };
        let mut engine =
            Engine::new(options, stages, Box::new(Nowhere), None).expect("it asks for nothing");
        let specs = world.lives.iter().zip(names).map(|(life, name)| TargetSpec {
            name: TargetName::of_service(&format!("service-{name}")),
            tenant: "default".into(),
            owner: Owner::Other,
            bounds: life.service.bounds,
            activation: 1,
            is_reachable: life.is_reachable,
            scaling_settings: vec![life.service.document.clone(); 2],
            placement_settings: "{}".into(),
            needs: Resources::default(),
            weights_bytes: 0,
        });
        let specs = specs.map(|spec| (spec, Counts { ready: Some(0), starting: 0 })).collect();
        engine.add_counted_targets(START, specs).expect("the settings are in order");
        let ids = names.iter().map(|name| TargetId(*name as u32)).collect();
        Play { world, engine, ids, pods: vec![Vec::new(); names.len()] }
    }

    fn events(&self, beat: usize, second: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for ((life, id), pods) in self.world.lives.iter().zip(&self.ids).zip(&self.pods) {
            let Beat { load, is_counted, answers } = life.beats[beat];
            let ready = pods.iter().filter(|ready| **ready <= second).count() as u32;
            let counts =
                Counts { ready: is_counted.then_some(ready), starting: pods.len() as u32 - ready };
            events.push(Event::Counted(*id, counts));
            events.push(Event::GatewayAnswers(*id, answers));
            let Some(load) = load else { continue };
            let mut values = [f64::NAN; Signal::ALL.len()];
            values[Signal::Concurrency as usize] = load * life.service.resolved.target_value;
            values[Signal::Arrivals as usize] = load * life.service.resolved.target_value;
            let waiting = u32::from(load > 0.0 && ready == 0);
            let report = Report { second, values, in_flight: 0, waiting, oldest_wait_ms: 0 };
            events.push(Event::Report(*id, report));
        }
        events
    }

    /// The owner does as it is told.
    fn scale(&mut self, actions: &[Action], second: u64) {
        for action in actions {
            let Action::Scale { target, to } = action else {
                panic!("{action:?} for replicas of others")
            };
            let life = self.ids.iter().position(|id| id == target).expect("it is one of them");
            let from_s = second + self.world.lives[life].pod_start_s;
            self.pods[life].resize(PODS_AT_MOST.min(*to as usize), from_s);
        }
    }

    /// All that was said about a life, numbers as bits.
    fn told(&self, life: usize) -> String {
        let id = self.ids[life];
        let mut told = format!("desired {}", self.engine.view(id).desired);
        for (stage, outputs) in [
            ("knative", ["excess-burst-capacity", "needs-gateway", "in-panic", "held-replicas"]),
            ("scale-to-zero", ["active", "gateway-in-path", "activators", "desired-scale"]),
        ] {
            let view = self.engine.stage(id, stage).expect("the stage is there");
            let _ = write!(told, ", {stage} {:?} {}", view.wanted, view.is_applied);
            outputs.iter().for_each(|name| {
                let _ = write!(told, " {:x}", view.output(name).to_bits());
            });
        }
        told
    }

    /// Lives through the world. `look` sees the engine after each step.
    fn run(mut self, mut look: impl FnMut(&mut Play<'_>, usize, &Plan)) {
        let mut at = START;
        for beat in 0..BEATS {
            at = at + self.world.pauses_s[beat] * 1_000;
            let events = self.events(beat, at.second());
            let plan = self.engine.step(&Observation { at, events, in_flight: Vec::new() });
            assert!(plan.failures.is_empty(), "{:?}", plan.failures);
            look(&mut self, beat, &plan);
            self.scale(&plan.actions, at.second());
        }
    }
}

fn native() -> [Box<dyn ScalingPolicy>; 2] {
    Which::BOTH.map(Which::native)
}

/// What was said about each life, step after step.
fn transcripts(
    world: &World,
    names: &[usize],
    stages: [Box<dyn ScalingPolicy>; 2],
) -> Vec<Vec<String>> {
    let mut told = vec![Vec::new(); world.lives.len()];
    Play::new(world, names, stages).run(|play, _, plan| {
        for (life, told) in told.iter_mut().enumerate() {
            told.push(format!("{} {}", plan.at.second(), play.told(life)));
        }
    });
    told
}

/// A policy that notes the proposals it was shown.
struct Noting {
    policy: Box<dyn ScalingPolicy>,
    column: usize,
    proposals: Arc<Mutex<Vec<f64>>>,
}

impl ScalingPolicy for Noting {
    fn digest(&self) -> &str {
        self.policy.digest()
    }
    fn bind(&mut self, settings: &str) -> Result<Program, BindError> {
        let program = self.policy.bind(settings)?;
        let is_it = |source: &Source| matches!(source, Source::Output(name) if name == "proposal");
        let column = program.inputs.iter().position(|input| is_it(&input.source));
        self.column = column.expect("it asks for the proposal");
        Ok(program)
    }
    fn init(&mut self, born: &Births) -> Result<States, CallError> {
        self.policy.init(born)
    }
    fn decide(&mut self, seen: &Batch, columns: usize) -> Answer {
        let n = seen.params_of.len();
        self.proposals
            .lock()
            .expect("nobody panics")
            .extend(&seen.inputs[self.column * n..(self.column + 1) * n]);
        self.policy.decide(seen, columns)
    }
    fn explain(&mut self, seen: &Batch) -> Result<Vec<Explanation>, CallError> {
        self.policy.explain(seen)
    }
    fn state_schema(&mut self) -> Result<String, CallError> {
        self.policy.state_schema()
    }
    fn migrate(&mut self, from: &Inheritance) -> Result<States, CallError> {
        self.policy.migrate(from)
    }
}

/// The least and the most that bounds allow. The minimum wins over the maximum, and an unreachable revision has none.
fn allowed(life: &Life, was_ready: bool) -> (u32, u32) {
    let bounds = life.service.bounds;
    let least = match life.is_reachable {
        Some(false) => 0,
        _ if bounds.initial > 1 && !was_ready => bounds.min.max(bounds.initial),
        _ => bounds.min,
    };
    let most = if bounds.max == 0 { u32::MAX } else { bounds.max.max(least) };
    (least, most)
}

proptest! {
    #![proptest_config(config(160))]

    #[test]
    fn the_chain_comes_to_the_same_natively_and_in_the_sandbox(world in world(3)) {
        let names: Vec<usize> = (0..world.lives.len()).collect();
        let sandboxed = Which::BOTH.map(Which::sandboxed);
        prop_assert_eq!(transcripts(&world, &names, native()), transcripts(&world, &names, sandboxed));
    }

    #[test]
    fn another_order_of_services_comes_to_the_same_for_each(world in world(4)) {
        let names: Vec<usize> = (0..world.lives.len()).collect();
        let reversed: Vec<usize> = names.iter().rev().copied().collect();
        prop_assert_eq!(transcripts(&world, &names, native()), transcripts(&world, &reversed, native()));
    }

    #[test]
    fn a_second_step_at_the_same_moment_changes_nothing(world in world(2)) {
        let names: Vec<usize> = (0..world.lives.len()).collect();
        Play::new(&world, &names, native()).run(|play, beat, first| {
            let second = first.at.second();
            let told: Vec<String> = names.iter().map(|life| play.told(*life)).collect();
            // What was counted is counted again; a report would be another one.
            let mut events = play.events(beat, second);
            events.retain(|event| !matches!(event, Event::Report(..)));
            let again = Observation { at: first.at, events, in_flight: Vec::new() };
            let again = play.engine.step(&again);
            assert_eq!((&again.actions[..], &again.changes[..]), (&[][..], &[][..]), "at {second}");
            assert_eq!(again.wake_at, first.wake_at, "at {second}");
            let told_again: Vec<String> = names.iter().map(|life| play.told(*life)).collect();
            assert_eq!(told, told_again, "at {second}");
        });
    }

    #[test]
    fn what_is_proposed_and_what_is_planned_is_within_bounds(world in world(1)) {
        let [knative, zero] = native();
        let proposals = Arc::new(Mutex::new(Vec::new()));
        let noting = Noting { policy: zero, column: 0, proposals: Arc::clone(&proposals) };
        let life = &world.lives[0];
        let mut was_ready = false;
        Play::new(&world, &[0], [knative, Box::new(noting)]).run(|play, _, plan| {
            let second = plan.at.second();
            // What is proposed before the initial scale counts as reached may still be raised to it.
            let before = allowed(life, was_ready);
            let bounds = life.service.bounds;
            let enough = if life.is_reachable == Some(false) { bounds.initial } else { bounds.min.max(bounds.initial) };
            let view = play.engine.view(TargetId(0));
            was_ready |= view.ready >= enough;
            let (least, most) = allowed(life, was_ready);
            assert!((least..=most).contains(&view.desired), "at {second}: {} in {least} to {most}", view.desired);
            for proposal in std::mem::take(&mut *proposals.lock().expect("nobody panics")).into_iter().filter(|proposal| !proposal.is_nan()) {
                let (least, most) = (f64::from(least), f64::from(before.1.max(most)));
                assert!((least..=most).contains(&proposal), "at {second}: {proposal} in {least} to {most}");
            }
        });
    }
}
