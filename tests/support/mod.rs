//! A small world for tests of the simulator: a model, GPU classes, a fleet, and the engine with the built-in policies, linked
//! natively, over it.
#![expect(unreachable_pub, reason = "a module of a test")]

pub mod by_hand;

use tidegate::backend::Backend as _;
use tidegate::backend::sim::{Faults, Sim, SimInput, SimService};
use tidegate::definitions::model::{LoadPath, Loader, Model};
use tidegate::definitions::node::{Fleet, GpuClass, Machine};
use tidegate::engine::{
    Action, Bounds, Engine, Event, Node, Observation, OnFailure, Options, Owner, Plan, Resources,
    Stage, TargetName, TargetSpec,
};
use tidegate::gateway::Limits;
use tidegate::ledger::Summary;
use tidegate::policy::native::NativeScaling;
use tidegate::policy::wire::{
    Candidates, Explanation, PlacementInput, PlacementProgram, Request, Subject,
};
use tidegate::policy::{BindError, CallError, PlacementPolicy};
use tidegate::seed::Seed;
use tidegate::time::Time;
use tidegate::trace::{Item, Work};

pub const START: Time = Time::TRACE_START;
pub const TICK_MS: u64 = 2_000;

/// Places on the first node with enough free GPUs; the youngest leaves first.
struct FirstFit;

impl PlacementPolicy for FirstFit {
    fn digest(&self) -> &str {
        "native:first-fit"
    }

    fn inputs(&mut self) -> Result<Vec<PlacementInput>, CallError> {
        let input =
            |subject, name: &str| PlacementInput { subject, name: name.to_owned(), required: true };
        Ok(vec![input(Subject::Node, "free-gpus"), input(Subject::Replica, "gpus")])
    }

    fn bind(&mut self, _: &str) -> Result<PlacementProgram, BindError> {
        Ok(PlacementProgram { params: Vec::new(), warnings: Vec::new() })
    }

    fn place(&mut self, asked: &Request) -> Result<Vec<Option<u32>>, CallError> {
        let mut free = asked.nodes.facts.clone();
        let place = |&gpus: &f64| {
            let node = free.iter().position(|&free| free >= gpus)?;
            free[node] -= gpus;
            Some(node as u32)
        };
        Ok(asked.replicas.facts.iter().map(place).collect())
    }

    fn explain(&mut self, _: &Request) -> Result<Vec<Explanation>, CallError> {
        Ok(Vec::new())
    }

    fn rank(&mut self, asked: &Candidates) -> Result<Vec<u32>, CallError> {
        Ok((0..asked.choices.len() as u32).rev().collect())
    }
}

pub fn loader(fixed_s: f64, gb_s: f64, path: LoadPath) -> Loader {
    Loader { name: "test".into(), fixed_s, gb_s, path }
}

/// Llama-3.1-8B as a current server runs it, with figures of `docs/simulator.md`.
pub fn llama_8b() -> Model {
    Model {
        name: "llama-3.1-8b".into(),
        weights_gb: 16.06,
        parameters_billion: 8.03,
        kv_bytes_per_token: 131_072.0,
        image_gb: 8.0,
        loader: loader(5.7, 5.0, LoadPath::SharedStore),
        engine_s: 20.0,
        compile_s: 0.0,
        warm_s: 0.0,
        host_ms: 5.0,
        per_sequence_ms: 0.1,
        max_sequences: 256,
    }
}

/// A class by its name, memory in GB, effective bandwidth in TB/s and effective arithmetic in TFLOP/s.
pub fn gpu(name: &str, memory_gb: f64, bandwidth_tb_s: f64, tflops: f64) -> GpuClass {
    GpuClass {
        name: name.into(),
        memory_gb,
        bandwidth_tb_s,
        tflops,
        host_link_gb_s: 25.0,
        usd_per_gpu_hour: Some(1.28),
    }
}

pub fn a40() -> GpuClass {
    gpu("A40", 48.0, 0.54, 105.0)
}

/// `count` nodes of that many GPUs each, with a store of 5 GB/s in all.
pub fn fleet(count: u32, gpus: u32, class: &GpuClass) -> Fleet {
    let machine = |number: u32| Machine {
        node: Node {
            name: format!("{}-{number:03}", class.name.to_lowercase()),
            labels: [("gpu.nvidia.com/class".to_owned(), class.name.clone())].into(),
            taints: Vec::new(),
            allocatable: Resources { cpu_milli: 128_000, memory_bytes: 1 << 40, gpus },
            gpu_memory_bytes: (class.memory_gb * 1e9) as u64,
            gpu_class: class.name.clone(),
            usd_per_gpu_hour: class.usd_per_gpu_hour,
            is_spot: false,
        },
        gpu: Some(class.clone()),
        link_gb_s: 5.0,
        disk_gb_s: 5.0,
        pull_gb_s: 0.05,
        schedule_s: 2.5,
        image_there_s: 0.5,
        has_images: true,
        usd_per_vcpu_hour: 0.01,
        usd_per_memory_gb_hour: 0.005,
    };
    Fleet { machines: (0..count).map(machine).collect(), store_gb_s: 5.0 }
}

pub fn service(name: &str, model: Model, concurrency: u32) -> SimService {
    SimService {
        pools: vec!["default".into()],
        wakes: 0,
        name: name.into(),
        model,
        needs: Resources { cpu_milli: 4_000, memory_bytes: 32_000_000_000, gpus: 1 },
        limits: Limits {
            concurrency,
            queue: 10_000,
            queue_bytes: None,
            timeout_us: Some(300_000_000),
        },
        grace_us: None,
        settled_at: 0,
    }
}

/// A world, ready to run.
pub struct World {
    pub seed: String,
    pub fleet: Fleet,
    /// In any order: it is sorted before it runs.
    pub services: Vec<SimService>,
    /// Scaling annotations of every service.
    pub annotations: serde_json::Value,
    pub bounds: Bounds,
    pub faults: Faults,
    pub until_s: Option<u64>,
    pub explains: bool,
    pub makes_room: bool,
}

impl World {
    pub fn new(fleet: Fleet, services: Vec<SimService>) -> World {
        World {
            seed: "tide".into(),
            fleet,
            services,
            annotations: serde_json::json!({}),
            bounds: Bounds { min: 0, max: 0, initial: 1 },
            faults: Faults::default(),
            until_s: None,
            explains: false,
            makes_room: false,
        }
    }
}

pub type Load = std::vec::IntoIter<Result<Item, std::convert::Infallible>>;

/// A world that has run.
pub struct Ran {
    pub sim: Sim<Load>,
    /// Names of the services, by target.
    pub names: Vec<String>,
    /// Every observation and plan.
    pub steps: Vec<(Observation, Plan)>,
}

impl Ran {
    pub fn summary(&self, name: &str) -> Summary {
        let at = self.names.iter().position(|known| known == name).expect("the service is there");
        self.sim.summary(at)
    }

    /// Seconds and values of the reported concurrency of a service.
    pub fn concurrency(&self, name: &str) -> Vec<(u64, f64)> {
        let at = self.names.iter().position(|known| known == name).expect("the service is there");
        let value = |event: &Event| match event {
            Event::Report(target, report) if target.index() == at => {
                Some((report.second - START.second(), report.values[0]))
            }
            _ => None,
        };
        self.steps.iter().flat_map(|(seen, _)| seen.events.iter().filter_map(value)).collect()
    }

    /// What happened to replicas, and what was wanted, as a timeline.
    pub fn told(&self) -> String {
        let mut text = String::new();
        for (seen, plan) in &self.steps {
            let at_s = seen.at.since(START) as f64 / 1e3;
            let mut line = |what: String| text += &format!("{at_s:>8.3}  {what}\n");
            for event in &seen.events {
                match event {
                    Event::Replica(id, phase) => line(format!("{} {phase:?}", id.ordinal)),
                    Event::Nodes(nodes) => line(format!("{} nodes", nodes.len())),
                    Event::Waiting(_) => line("waiting".into()),
                    _ => {}
                }
            }
            for change in &plan.changes {
                line(format!("wanted {}", change.to));
            }
            for action in &plan.actions {
                match action {
                    Action::Start { replica, node } => {
                        line(format!("start {} on node {}", replica.ordinal, node.0));
                    }
                    Action::Drain { replica } => line(format!("drain {}", replica.ordinal)),
                    Action::Scale { .. } => {}
                }
            }
        }
        text
    }

    /// Seconds from the start to each start of a replica.
    pub fn started(&self) -> Vec<f64> {
        let times = self.steps.iter().flat_map(|(seen, plan)| {
            let is_it = |action: &&Action| matches!(action, Action::Start { .. });
            vec![seen.at.since(START) as f64 / 1e3; plan.actions.iter().filter(is_it).count()]
        });
        times.collect()
    }
}

fn engine(world: &World, names: &[String]) -> Engine {
    let stages = vec![
        Stage::new(
            "knative",
            Box::new(NativeScaling::<tidegate_knative::Knative>::new("knative")),
            OnFailure::Hold,
        ),
        Stage::new(
            "scale-to-zero",
            Box::new(NativeScaling::<tidegate_scale_to_zero::ScaleToZero>::new("scale-to-zero")),
            OnFailure::Skip,
        ),
    ];
    let options = Options {
        tick_ms: TICK_MS,
        explains: world.explains,
        makes_room: world.makes_room,
        ..Options::default()
    };
    let mut engine = Engine::new(options, stages, Box::new(FirstFit), None).expect("it starts");
    let spec = |name: &String| {
        let service = world.services.iter().find(|one| one.name == *name).expect("it is there");
        let settings = serde_json::json!({
            "settings": {},
            "profile": {},
            "service": {
                "annotations": world.annotations,
                "containerConcurrency": service.limits.concurrency,
                "progressDeadlineMs": 600_000,
            }
        });
        TargetSpec {
            name: TargetName::of_service(name),
            tenant: "default".into(),
            owner: Owner::Tidegate,
            bounds: world.bounds,
            activation: 1,
            is_reachable: Some(true),
            scaling_settings: vec![settings.to_string(); 2],
            placement_settings: "{}".into(),
            needs: service.needs,
            weights_bytes: (service.model.weights_gb * 1e9) as u64,
        }
    };
    engine.add_targets(START, names.iter().map(spec).collect()).expect("bound");
    engine
}

/// The engine and a simulation of `world`, whose services are sorted by name already, under `load`.
pub fn set_up<I, E>(world: World, load: I) -> (Engine, Sim<I>)
where
    I: Iterator<Item = Result<Item, E>>,
{
    let names: Vec<String> = world.services.iter().map(|one| one.name.clone()).collect();
    let engine = engine(&world, &names);
    (engine, Sim::new(input(world), load).expect("a simulation"))
}

/// What the simulation of a world is given.
pub fn input(world: World) -> SimInput {
    SimInput {
        start: START,
        seed: Seed::new(&world.seed),
        fleet: world.fleet,
        services: world.services,
        faults: world.faults,
        tick_ms: TICK_MS,
        until: world.until_s.map(|until_s| START + until_s * 1_000),
    }
}

/// Runs a world under `load`, whose services are positions in the world's list.
pub fn run(mut world: World, load: Vec<Item>) -> Ran {
    let mut names: Vec<String> = world.services.iter().map(|one| one.name.clone()).collect();
    names.sort();
    let target = |service: u32| {
        let name = &world.services[service as usize].name;
        names.iter().position(|known| known == name).expect("it is there") as u32
    };
    let item = |item| match item {
        Item::Arrival { at_us, service, work } => {
            Item::Arrival { at_us, service: target(service), work }
        }
        Item::Offered { at_us, service, concurrency } => {
            Item::Offered { at_us, service: target(service), concurrency }
        }
    };
    let load: Vec<_> = load.into_iter().map(|one| Ok(item(one))).collect();
    world.services.sort_by(|one, other| one.name.cmp(&other.name));
    let (mut engine, mut sim) = set_up(world, load.into_iter());
    let mut steps = Vec::new();
    let mut wake_at = Time::ZERO;
    while let Some(seen) = sim.run_until(wake_at).expect("it goes on") {
        let plan = engine.step(&seen);
        assert_eq!(plan.failures, [], "at {}", seen.at);
        sim.apply(&plan);
        sim.apply(&plan); // twice is once
        wake_at = plan.wake_at;
        steps.push((seen, plan));
        assert!(steps.len() < 200_000, "it does not end: {:?}", &steps[steps.len() - 3..]);
    }
    Ran { sim, names, steps }
}

/// Requests of one service at those seconds.
pub fn arrivals(service: u32, at_s: impl IntoIterator<Item = f64>, work: Work) -> Vec<Item> {
    let item = |at_s: f64| Item::Arrival { at_us: (at_s * 1e6).round() as u64, service, work };
    at_s.into_iter().map(item).collect()
}

pub fn sort(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by_key(|item| match item {
        Item::Arrival { at_us, service, .. } | Item::Offered { at_us, service, .. } => {
            (*at_us, *service)
        }
    });
    items
}
