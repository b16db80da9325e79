//! A run that goes on from a snapshot in another engine, at any step, plans what it would have planned: recorded load, byte for
//! byte.

use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate::engine::{Engine, OnFailure, Options, Restored, Snapshot, Stage};
use tidegate::journal::{Header, Step, read};
use tidegate::policy::native::{NativePlacement, NativeScaling};
use tidegate::policy::wire::{Batch, Births, Decisions, Explanation, Inheritance, Program, States};
use tidegate::policy::{
    Answer, BindError, CallError, CallErrorKind, Limits, Package, PlacementPolicy, Sandbox,
    ScalingPolicy, builtin,
};

type Knative = NativeScaling<tidegate_knative::Knative>;
type ScaleToZero = NativeScaling<tidegate_scale_to_zero::ScaleToZero>;
type Affinity = NativePlacement<tidegate_affinity::Affinity>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the host is a folder of the repository")
}

/// What a replay saw, and before it what was settled.
fn recorded(arguments: &[&str]) -> (Header, Vec<Step>) {
    let folder = tempfile::tempdir().expect("a folder");
    let journal: PathBuf = folder.path().join("run.jsonl");
    let done = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(root())
        .arg("replay")
        .args(arguments)
        .arg("--journal")
        .arg(&journal)
        .output()
        .expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let bytes = std::fs::read(journal).expect("it was written");
    let (header, steps) = read(&bytes[..]).expect("it has a header");
    let steps = steps.collect::<Result<_, _>>().expect("all steps are whole");
    (header, steps)
}

/// Several services, and a node that is lost and comes back.
fn demo() -> (Header, Vec<Step>) {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = folder.path().join("faults.yaml");
    let lost = "faults:\n- nodeLost: {node: a40-0, atSeconds: 200, backAtSeconds: 400}\n";
    std::fs::write(&faults, lost).expect("it is written");
    let faults = faults.to_str().expect("it is text");
    recorded(&[
        "fixtures/traces/azure-llm-2023-code.csv.gz",
        "fixtures/traces/longtail-demo.csv.gz",
        "--services",
        "fixtures/manifests/demo.yaml",
        "--until",
        "10m",
        "--faults",
        faults,
    ])
}

type Scales =
    Vec<(&'static str, OnFailure, Box<dyn ScalingPolicy>, Option<Box<dyn ScalingPolicy>>)>;

/// A chain of policies, and how one is made.
type Chained = (Scales, Box<dyn PlacementPolicy>);
type Make = Box<dyn Fn() -> Chained>;

fn native() -> Chained {
    let knative = Box::new(Knative::new("knative"));
    let scale_to_zero = Box::new(ScaleToZero::new("scale-to-zero"));
    let stages: Scales = vec![
        ("knative", OnFailure::Hold, knative, None),
        ("scale-to-zero", OnFailure::Skip, scale_to_zero, None),
    ];
    (stages, Box::new(Affinity::new("affinity")))
}

/// The built-in components, compiled once.
struct Packages {
    knative: Package,
    scale_to_zero: Package,
    affinity: Package,
}

impl Packages {
    fn load(sandbox: &Sandbox) -> Packages {
        let package = |name| {
            let component = builtin::builtin(name).expect("it is built in");
            sandbox.load_trusted(component).expect("it loads")
        };
        let (knative, scale_to_zero) = (package("knative"), package("scale-to-zero"));
        Packages { knative, scale_to_zero, affinity: package("affinity") }
    }

    fn chain(&self) -> Chained {
        let scales = |package: &Package| -> Box<dyn ScalingPolicy> {
            Box::new(package.scaling().expect("it scales"))
        };
        let stages = vec![
            ("knative", OnFailure::Hold, scales(&self.knative), None),
            ("scale-to-zero", OnFailure::Skip, scales(&self.scale_to_zero), None),
        ];
        (stages, Box::new(self.affinity.placement().expect("it places")))
    }
}

fn sandbox() -> Sandbox {
    Sandbox::new(Limits::default()).expect("a sandbox")
}

/// Fails for one target in three, for minutes on end: some are put aside, others are not.
struct Flaky(Knative);

impl ScalingPolicy for Flaky {
    fn digest(&self) -> &str {
        "native:flaky"
    }
    fn bind(&mut self, settings: &str) -> Result<Program, BindError> {
        self.0.bind(settings)
    }
    fn init(&mut self, born: &Births) -> Result<States, CallError> {
        self.0.init(born)
    }
    fn decide(&mut self, seen: &Batch, columns: usize) -> Answer {
        let mut answer = self.0.decide(seen, columns);
        let is_bad = |at: &usize| (seen.at_ms / 60_000 + *at as u64).is_multiple_of(3);
        let fails = (0..seen.params_of.len()).filter(is_bad).map(|at| {
            let message = "it does not like the minute".to_owned();
            (at as u32, CallError { kind: CallErrorKind::Refused, culprits: Vec::new(), message })
        });
        answer.failed = fails.collect();
        let Decisions { states, .. } = &mut answer.decisions;
        let mut kept = States { bytes: Vec::new(), ends: Vec::new() };
        let mut from = 0;
        for (at, end) in states.ends.iter().enumerate() {
            if !is_bad(&at) {
                kept.bytes.extend_from_slice(&states.bytes[from..*end as usize]);
            }
            kept.ends.push(kept.bytes.len() as u32);
            from = *end as usize;
        }
        *states = kept;
        answer
    }
    fn explain(&mut self, seen: &Batch) -> Result<Vec<Explanation>, CallError> {
        self.0.explain(seen)
    }
    fn state_schema(&mut self) -> Result<String, CallError> {
        self.0.state_schema()
    }
    fn migrate(&mut self, from: &Inheritance) -> Result<States, CallError> {
        self.0.migrate(from)
    }
}

/// A first stage that fails now and then, with that failure mode.
fn flaky(on_failure: OnFailure) -> Chained {
    let (mut stages, placement) = native();
    let fallback: Option<Box<dyn ScalingPolicy>> =
        (on_failure == OnFailure::Fallback).then(|| Box::new(Knative::new("knative")) as _);
    let policy = Flaky(Knative::new("flaky"));
    stages[0] = ("knative", on_failure, Box::new(policy), fallback);
    (stages, placement)
}

fn engine(header: &Header, (scales, placement): Chained) -> Engine {
    let stages = scales.into_iter().map(|(name, on_failure, policy, fallback)| match fallback {
        None => Stage::new(name, policy, on_failure),
        Some(fallback) => Stage::with_fallback(name, policy, fallback),
    });
    let options = Options { keeps_s: 120, ..header.options.clone() };
    let fallback = Box::new(Affinity::new("affinity"));
    let engine = Engine::new(options, stages.collect(), placement, Some(fallback));
    let mut engine = engine.expect("the placement policy says what it wants");
    let targets = header.targets.iter().cloned().zip(header.counts.iter().copied());
    engine.add_counted_targets(header.start, targets.collect()).expect("they are bound");
    engine
}

/// The plans of a run in which `changes` says before which steps another engine goes on.
fn plans(
    header: &Header,
    steps: &[Step],
    make: &dyn Fn() -> Chained,
    mut changes: impl FnMut(usize) -> bool,
) -> Vec<String> {
    let mut engine_now = engine(header, make());
    let mut plans = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        if changes(at) {
            let snapshot = engine_now.snapshot();
            let text = serde_json::to_string(&snapshot).expect("it is written to memory");
            let read: Snapshot = serde_json::from_str(&text).expect("it is read");
            let mut next = engine(header, make());
            let restored = next.restore(step.seen.at, &read).expect("it goes on");
            let wakes_at = engine_now.wakes_at();
            assert_eq!(restored, Restored { wakes_at, ..Restored::default() }, "nothing is new");
            assert_eq!(next.snapshot(), snapshot, "before step {at}");
            engine_now = next;
        }
        let plan = engine_now.step(&step.seen);
        plans.push(serde_json::to_string(&plan).expect("it is written to memory"));
    }
    plans
}

/// One step in nine, drawn from a seed.
fn now_and_then(mut seed: u64) -> impl FnMut(usize) -> bool {
    move |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33).is_multiple_of(9)
    }
}

#[test]
fn every_built_in_chain_goes_on_byte_for_byte_from_snapshots_at_random_steps() {
    let (header, steps) = demo();
    assert!(steps.len() > 300, "{}", steps.len());
    let flaky_ones = [OnFailure::Hold, OnFailure::Skip, OnFailure::Fallback, OnFailure::Closed];
    let mut chains: Vec<(String, Make)> = vec![("native".to_owned(), Box::new(native))];
    let packages = Packages::load(&sandbox());
    chains.push(("sandboxed".to_owned(), Box::new(move || packages.chain())));
    for mode in flaky_ones {
        chains.push((format!("flaky, {}", mode.name()), Box::new(move || flaky(mode))));
    }
    for (name, make) in &chains {
        let whole = plans(&header, &steps, make, |_| false);
        if name == "sandboxed" {
            let recorded =
                steps.iter().map(|step| serde_json::to_string(&step.plan).expect("text"));
            assert!(recorded.eq(whole.iter().cloned()), "they are the plans of the replay");
        }
        let failures = whole.iter().filter(|plan| plan.contains("it does not like")).count();
        assert_eq!(failures > 0, name.starts_with("flaky"), "{name}");
        let parts = plans(&header, &steps, make, now_and_then(1));
        for (at, (one, other)) in whole.iter().zip(&parts).enumerate() {
            assert_eq!(one, other, "{name}, step {at}");
        }
    }
}

/// A service on two kinds of capacity, one of which is lost, divided by a policy of scope `group`; with that policy's bytes.
fn pools() -> (Header, Vec<Step>, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let guest = Path::new(env!("TIDEGATE_GUESTS")).join("spot-first.wasm");
    let scaling = format!(
        "scaling:\n- policy: builtin:knative\n- {{policy: {}, name: spot-first, settings: {{reserve: 2}}}}\n- policy: builtin:scale-to-zero\n",
        guest.display()
    );
    let (version, pools) =
        ("apiVersion: tidegate.dev/v1alpha1\n", [("on-demand", "od"), ("spot", "spot")]);
    let pool =
        pools.map(|(name, _)| format!("{{name: {name}, nodeSelector: {{capacity: {name}}}}}"));
    let services = format!(
        "services: [{{name: code, trace: azure-llm-2023-code, model: llama-3.1-8b, pools: [{}]}}]\n",
        pool.join(", ")
    );
    let node = pools.map(|(name, node)| format!("- {{name: {node}, count: 4, cpu: 96, memory: 512Gi, gpus: 2, gpuClass: A40, labels: {{capacity: {name}}}}}\n"));
    let lost =
        [0, 1, 2, 3].map(|spot| format!("- nodeLost: {{node: spot-{spot}, atSeconds: 500}}\n"));
    let written = [
        ("policies", format!("{version}kind: Policies\n{scaling}")),
        ("services", format!("{version}kind: Services\n{services}")),
        ("nodes", format!("{version}kind: Nodes\nnodes:\n{}", node.concat())),
        ("faults", format!("faults:\n{}", lost.concat())),
    ];
    let mut arguments = vec![
        "fixtures/traces/azure-llm-2023-code.csv.gz".to_owned(),
        "--until".to_owned(),
        "15m".to_owned(),
    ];
    for (name, text) in written {
        let path = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&path, text).expect("it is written");
        arguments.extend([format!("--{name}"), path.display().to_string()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (header, steps) = recorded(&arguments);
    (header, steps, std::fs::read(guest).expect("it was built"))
}

#[test]
fn pools_that_are_divided_together_go_on_byte_for_byte_too() {
    let (header, steps, guest) = pools();
    assert_eq!(header.targets.len(), 2);
    let sandbox = sandbox();
    let packages = Packages::load(&sandbox);
    let spot_first = sandbox.load_trusted(&guest).expect("it loads");
    let make = || {
        let (mut stages, placement) = packages.chain();
        let policy: Box<dyn ScalingPolicy> = Box::new(spot_first.scaling().expect("it scales"));
        stages.insert(1, ("spot-first", OnFailure::Skip, policy, None));
        (stages, placement)
    };
    let whole = plans(&header, &steps, &make, |_| false);
    assert!(whole.iter().filter(|plan| plan.contains("\"changes\":[{")).count() > 10);
    for seed in [3, 4] {
        let parts = plans(&header, &steps, &make, now_and_then(seed));
        for (at, (one, other)) in whole.iter().zip(&parts).enumerate() {
            assert_eq!(one, other, "seed {seed}, step {at}");
        }
    }
}
