//! Policies that misbehave: what a person is told, and that everybody else is decided about as if nothing had happened.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use insta::assert_snapshot;
use tidegate::engine::{
    Bounds, Counts, Engine, Event, Observation, OnFailure, Options, Owner, Resources, Stage,
    TargetId, TargetName, TargetSpec,
};
use tidegate::policy::native::{NativeScaling, Nowhere};
use tidegate::policy::wire::{Batch, Births, Causes, Inheritance, States};
use tidegate::policy::{ComponentScaling, Limits, LoadError, Package, Sandbox, ScalingPolicy as _};
use tidegate::time::Time;
use tidegate_policy::{Causes as Wanted, Decision, Document, Faults, Notes, Scaling, Seen, Wants};

const TICK_MS: u64 = 2_000;

/// The policy of `fixtures/hostile/guest`.
fn hostile() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let file = Path::new(env!("TIDEGATE_GUESTS")).join("hostile.wasm");
        std::fs::read(file).expect("the build left it")
    })
}

fn package(limits: Limits) -> Package {
    Sandbox::new(limits).expect("a sandbox").in_process().load(hostile()).expect("it loads")
}

fn scaling() -> ComponentScaling {
    static PACKAGE: OnceLock<Package> = OnceLock::new();
    PACKAGE.get_or_init(|| package(Limits::default())).scaling().expect("it scales")
}

fn settings(misbehave: &str) -> String {
    serde_json::json!({"settings": {"misbehave": misbehave}}).to_string()
}

/// An engine over services that differ in how they make the policy misbehave.
struct World {
    engine: Engine,
    services: Vec<&'static str>,
    now: Time,
    told: String,
}

impl World {
    /// Services by name, with the setting of each for each stage.
    fn new(stages: Vec<Stage>, services: &[(&'static str, &[&str])]) -> World {
        let options = Options {
            tick_ms: TICK_MS,
            explains: false,
            gateway_is_always_in_path: false,
            ..Options::default()
        };
        let mut engine =
            Engine::new(options, stages, Box::new(Nowhere), None).expect("it asks for nothing");
        let spec = |(name, misbehave): &(&'static str, &[&str])| {
            let spec = TargetSpec {
                name: TargetName::of_service(name),
                tenant: "default".into(),
                owner: Owner::Other,
                bounds: Bounds { min: 0, max: 10, initial: 1 },
                activation: 1,
                is_reachable: Some(true),
                scaling_settings: misbehave.iter().map(|one| settings(one)).collect(),
                placement_settings: "{}".into(),
                needs: Resources::default(),
                weights_bytes: 0,
            };
            (spec, Counts { ready: Some(1), starting: 0 })
        };
        let now = Time::TRACE_START;
        engine
            .add_counted_targets(now, services.iter().map(spec).collect())
            .expect("they are accepted");
        let services = services.iter().map(|(name, _)| *name).collect();
        World { engine, services, now, told: String::new() }
    }

    fn step(&mut self, events: Vec<Event>) {
        let plan = self.engine.step(&Observation { at: self.now, events, in_flight: Vec::new() });
        for failure in plan.failures {
            let whom: Vec<&str> =
                failure.targets.iter().map(|id| self.services[id.index()]).collect();
            let at_s = self.now.since(Time::TRACE_START) / 1_000;
            let _ = write!(
                self.told,
                "{at_s} s, {}, {}: {}; {}",
                failure.stage,
                whom.join(" and "),
                failure.message,
                failure.instead
            );
            let _ = match failure.quarantined_until {
                Some(until) => {
                    writeln!(self.told, ", put aside for {} s", until.since(self.now) / 1_000)
                }
                None => writeln!(self.told),
            };
        }
    }

    fn tick(&mut self) {
        self.now = self.now + TICK_MS;
        self.step(Vec::new());
    }

    fn ready(&mut self, service: u32, ready: u32) {
        let counts = Counts { ready: Some(ready), starting: 0 };
        self.step(vec![Event::Counted(TargetId(service), counts)]);
    }

    /// What every service is to have.
    fn desired(&mut self) {
        for at in 0..self.services.len() {
            let desired = self.engine.view(TargetId(at as u32)).desired;
            let _ = writeln!(self.told, "{}: {desired} desired", self.services[at]);
        }
    }
}

/// One step with three services, of which the second makes the policy misbehave.
fn decide(misbehave: &'static str) -> String {
    decide_by(scaling(), misbehave)
}

/// The same with so much fuel that other limits are reached first.
fn decide_with_much_fuel(misbehave: &'static str) -> String {
    static PACKAGE: OnceLock<Package> = OnceLock::new();
    let limits = Limits { fuel: 4_000_000_000, ..Limits::default() };
    let policy = PACKAGE.get_or_init(|| package(limits)).scaling().expect("it scales");
    decide_by(policy, misbehave)
}

fn decide_by(policy: ComponentScaling, misbehave: &'static str) -> String {
    let stage = Stage::new("hostile", Box::new(policy), OnFailure::Hold);
    let mut world =
        World::new(vec![stage], &[("alpha", &[""]), ("bad", &[misbehave]), ("omega", &[""])]);
    world.step(Vec::new());
    world.desired();
    world.told
}

#[test]
fn an_endless_loop_ends_and_the_others_are_decided() {
    assert_snapshot!(decide("loop"), @r"
    0 s, hostile, bad: it used up its share of the fuel in `hostile_guest::Hostile::decide`: an endless loop, or too much work for one target; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
}

#[test]
fn a_panic_is_told_with_its_place_and_the_others_are_decided() {
    assert_snapshot!(decide("trap"), @r"
    0 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:83: this target is more than I can bear; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
}

#[test]
fn memory_without_end_is_refused_and_the_others_are_decided() {
    assert_snapshot!(decide_with_much_fuel("memory"), @"
    0 s, hostile, bad: it wants 101.2 MiB of memory, more than the limit of 64 MiB; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
    assert_snapshot!(decide_with_much_fuel("memory-in-steps"), @"
    0 s, hostile, bad: it wants 64.9 MiB of memory, more than the limit of 64 MiB; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
}

#[test]
fn endless_recursion_ends_and_the_others_are_decided() {
    assert_snapshot!(decide_with_much_fuel("recursion"), @"
    0 s, hostile, bad: it left its memory, or recursed without end, in `hostile_guest::descend`; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
}

#[test]
fn an_answer_that_is_huge_or_not_what_was_asked_is_refused_and_the_others_are_decided() {
    assert_snapshot!(decide_with_much_fuel("huge-output"), @"
    0 s, hostile, bad: its answer is larger than 1.1 MiB; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
    assert_snapshot!(decide("too-few"), @"
    0 s, hostile, bad: it gave 0 decisions for 1 target; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
    assert_snapshot!(decide("too-many"), @"
    0 s, hostile, bad: it gave 2 decisions for 1 target; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
    assert_snapshot!(decide("no-outputs"), @"
    0 s, hostile, bad: it gave 0 output values for 1 target, which is not 1 each; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
    assert_snapshot!(decide("states-beyond"), @"
    0 s, hostile, bad: state 0 is said to be bytes 0 to 9999 of 1; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
}

#[test]
fn a_failure_of_the_policys_own_concerns_whom_it_names_or_whom_it_fails_for() {
    assert_snapshot!(decide("culprit"), @"
    0 s, hostile, bad: the settings of this target make no sense together; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
    assert_snapshot!(decide("wrong-culprit"), @"
    0 s, hostile, bad: somebody else is to blame; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
    assert_snapshot!(decide("refuse"), @"
    0 s, hostile, bad: not today; hold
    alpha: 3 desired
    bad: 1 desired
    omega: 3 desired
    ");
}

#[test]
fn numbers_that_are_none_are_taken_out_and_replicas_stay_within_bounds() {
    for misbehave in ["nan", "infinity"] {
        let stage = Stage::new("hostile", Box::new(scaling()), OnFailure::Hold);
        let mut world = World::new(vec![stage], &[("alpha", &[""]), ("bad", &[misbehave])]);
        world.step(Vec::new());
        assert_eq!(world.told, "", "{misbehave} is an answer");
        assert_eq!(world.engine.output(TargetId(0), "told"), 1.0);
        assert!(world.engine.output(TargetId(1), "told").is_nan());
    }
    assert_snapshot!(decide("four-billion"), @"
    alpha: 3 desired
    bad: 10 desired
    omega: 3 desired
    ");
}

/// What binding or the first state come to.
fn begin(misbehave: &str) -> String {
    let mut policy = scaling();
    match policy.bind(&settings(misbehave)) {
        Ok(program) => {
            let born = Births {
                at_ms: 1,
                params: vec![program.params],
                params_of: vec![0, 0],
                ready: vec![1.0; 2],
            };
            policy.init(&born).expect_err("it misbehaves").to_string()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_goes_wrong_while_binding_and_at_birth_is_told() {
    assert_snapshot!(begin("bind-loop"), @"it used up its fuel of 20,000,000 in `hostile_guest::Hostile::bind`: an endless loop, or too much work for one call");
    assert_snapshot!(begin("bind-trap"), @"it panicked in `hostile_guest::Hostile::bind` at /tidegate/fixtures/hostile/guest/src/lib.rs:35: no settings please me");
    assert_snapshot!(begin("bind-faults"), @"its answer is larger than 1 MiB");
    assert_snapshot!(begin("init-loop"), @"it used up its fuel of 120,000 in `hostile_guest::Hostile::init`: an endless loop, or too much work for a batch of 2 targets");
    assert_snapshot!(begin("init-trap"), @"it panicked in `hostile_guest::Hostile::init` at /tidegate/fixtures/hostile/guest/src/lib.rs:62: nobody is born here");
    assert_snapshot!(begin("init-few"), @"it gave 0 states for 2 targets");
}

#[test]
fn a_policy_that_does_not_explain_or_migrate_hurts_nobody() {
    let mut policy = scaling();
    let batch = batch(&mut policy, &["explain-loop"]);
    assert_snapshot!(policy.explain(&batch).unwrap_err(), @"it used up its fuel of 20,000,000 in `hostile_guest::Hostile::explain`: an endless loop, or too much work for one target");
    let states = || States { bytes: vec![7], ends: vec![1] };
    let born = || Births {
        at_ms: 1,
        params: batch.params.clone(),
        params_of: vec![0],
        ready: vec![f64::NAN],
    };
    let from =
        |schema: &str| Inheritance { born: born(), schema: schema.to_owned(), old: states() };
    assert_snapshot!(policy.migrate(&from("loop/1")).unwrap_err(), @"it used up its fuel of 20,000,000 in `hostile_guest::Hostile::migrate`: an endless loop, or too much work for one target");
    assert_snapshot!(policy.migrate(&from("other/3")).unwrap_err(), @"layout other/3 is not known");
    assert_eq!(policy.migrate(&from("hostile/0")), Ok(states()));
    assert_eq!(policy.state_schema(), Ok("hostile/1".to_owned()));
}

#[test]
fn no_policy_writes_escape_codes_to_a_terminal() {
    let mut policy = scaling();
    let batch = batch(&mut policy, &["explain-escapes"]);
    let told = policy.explain(&batch).expect("it explains").remove(0);
    assert_eq!(told.reason, "\u{fffd}[2Jgone\u{fffd}");
    assert_eq!(told.figures[0].name, "\u{fffd}[31mred");
}

#[test]
fn five_failures_in_a_row_put_a_policy_aside_for_the_target_that_breaks_it() {
    let stage = Stage::new("hostile", Box::new(scaling()), OnFailure::Hold);
    let mut world = World::new(vec![stage], &[("alpha", &[""]), ("bad", &["trap"])]);
    world.step(Vec::new());
    for _ in 0..6 {
        world.tick();
    }
    world.desired();
    assert_snapshot!(world.told, @r"
    0 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:83: this target is more than I can bear; hold
    2 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:83: this target is more than I can bear; hold
    4 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:83: this target is more than I can bear; hold
    6 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:83: this target is more than I can bear; hold
    8 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:83: this target is more than I can bear; hold, put aside for 1 s
    10 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:83: this target is more than I can bear; hold, put aside for 2 s
    12 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:83: this target is more than I can bear; hold, put aside for 4 s
    alpha: 3 desired
    bad: 1 desired
    ");
}

#[test]
fn a_stage_that_holds_keeps_the_last_decision() {
    let stage = Stage::new("hostile", Box::new(scaling()), OnFailure::Hold);
    let mut world = World::new(vec![stage], &[("bad", &["trap-at-two-ready"])]);
    world.step(Vec::new());
    world.ready(0, 2);
    world.tick();
    world.desired();
    assert_snapshot!(world.told, @r"
    2 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:84: two is one too many; hold
    bad: 3 desired
    ");
}

#[test]
fn a_stage_that_is_skipped_lets_the_proposal_pass() {
    let stages = vec![
        Stage::new("first", Box::new(scaling()), OnFailure::Hold),
        Stage::new("second", Box::new(scaling()), OnFailure::Skip),
    ];
    let mut world = World::new(stages, &[("bad", &["", "trap"])]);
    world.step(Vec::new());
    world.desired();
    assert_snapshot!(world.told, @r"
    0 s, second, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:83: this target is more than I can bear; skip
    bad: 3 desired
    ");
}

/// Wants five replicas, whatever its settings.
struct Five;

impl Scaling for Five {
    type Settings = serde_json::Value;
    type Params = ();
    type State = ();
    const STATE_SCHEMA: &'static str = "five/1";

    fn bind(_: Document<Self::Settings>, want: &mut Wants) -> Result<(), Faults> {
        want.causes(Wanted::CREATED | Wanted::TICK);
        Ok(())
    }
    fn init(_: &(), _: u64, _: Option<f64>) {}
    fn decide(_: &(), _: &mut (), _: &Seen<'_>, _: &mut Notes<'_>) -> Decision {
        Decision::replicas(5)
    }
}

#[test]
fn a_stage_with_a_fallback_asks_it_about_the_target_that_failed_and_no_other() {
    let fallback = Box::new(NativeScaling::<Five>::new("five"));
    let stage = Stage::with_fallback("hostile", Box::new(scaling()), fallback);
    let mut world = World::new(vec![stage], &[("alpha", &[""]), ("bad", &["trap"])]);
    world.step(Vec::new());
    world.desired();
    assert_snapshot!(world.told, @r"
    0 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:83: this target is more than I can bear; fallback
    alpha: 3 desired
    bad: 5 desired
    ");
}

/// Announces an output under the name of what stages propose.
struct Presumptuous;

impl Scaling for Presumptuous {
    type Settings = serde_json::Value;
    type Params = ();
    type State = ();
    const STATE_SCHEMA: &'static str = "presumptuous/1";

    fn bind(_: Document<Self::Settings>, want: &mut Wants) -> Result<(), Faults> {
        want.gives("proposal");
        Ok(())
    }
    fn init(_: &(), _: u64, _: Option<f64>) {}
    fn decide(_: &(), _: &mut (), _: &Seen<'_>, _: &mut Notes<'_>) -> Decision {
        Decision::hold()
    }
}

#[test]
#[should_panic(expected = "announces an output `proposal`, which is a reserved name")]
fn no_output_may_be_called_proposal() {
    let policy = Box::new(NativeScaling::<Presumptuous>::new("presumptuous"));
    World::new(vec![Stage::new("first", policy, OnFailure::Hold)], &[("alpha", &[""])]);
}

#[test]
fn a_stage_that_closes_is_not_asked_again() {
    let stage = Stage::new("hostile", Box::new(scaling()), OnFailure::Closed);
    let mut world = World::new(vec![stage], &[("alpha", &[""]), ("bad", &["trap-at-two-ready"])]);
    world.step(Vec::new());
    world.ready(1, 2);
    world.tick();
    world.ready(1, 1);
    world.tick();
    world.desired();
    assert_snapshot!(world.told, @r"
    2 s, hostile, bad: it panicked in `hostile_guest::Hostile::decide` at /tidegate/fixtures/hostile/guest/src/lib.rs:84: two is one too many; closed
    alpha: 3 desired
    bad: 3 desired
    ");
}

/// A batch of targets with these ways to misbehave.
fn batch(policy: &mut ComponentScaling, misbehave: &[&str]) -> Batch {
    let n = misbehave.len();
    let params =
        misbehave.iter().map(|one| policy.bind(&settings(one)).expect("it binds").params).collect();
    Batch {
        at_ms: 1,
        causes_of: vec![Causes::TICK; n],
        params,
        params_of: (0..n as u32).collect(),
        groups: (0..n as u32).collect(),
        states: States { bytes: vec![7; n], ends: (1..=n as u32).collect() },
        inputs: vec![1.0; n],
        words: Vec::new(),
    }
}

#[test]
fn a_policy_remembers_nothing_but_its_state() {
    let mut policy = scaling();
    let batch = batch(&mut policy, &["count", "count"]);
    for _ in 0..3 {
        assert_eq!(policy.decide(&batch, 1).decisions.wanted, [1, 1]);
    }
}

#[test]
fn the_same_batch_is_answered_with_the_same_bytes_for_the_same_fuel_failures_included() {
    let mut policy = scaling();
    let mut kinds = [""; 40];
    for (at, kind) in [(1, "loop"), (3, "trap"), (20, "too-few"), (39, "culprit")] {
        kinds[at] = kind;
    }
    let batch = batch(&mut policy, &kinds);
    let first = policy.decide(&batch, 1);
    let failed: Vec<u32> = first.failed.iter().map(|(at, _)| *at).collect();
    assert_eq!(failed, [1, 3, 20, 39]);
    let second = scaling().decide(&batch, 1);
    // NaN, which failed targets have, does not equal itself.
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}

/// Why a component is not loaded, and what to do about it.
fn refusal(component: &[u8]) -> String {
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox").in_process();
    let Err(error) = sandbox.load(component) else { return "it is loaded".to_owned() };
    let mut told = format!("error: {error}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let _ = write!(told, "\ncause: {cause}");
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        let _ = write!(told, "\n hint: {hint}");
    }
    told
}

fn refusal_of(fixture: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures/hostile")
        .join(fixture)
        .with_extension("wat");
    refusal(&wat::parse_file(file).expect("it is the text format"))
}

#[test]
fn a_start_function_that_misbehaves_is_found_when_the_component_is_loaded() {
    assert_snapshot!(refusal_of("loops-at-start"), @r"
    error: the component does not start
    cause: it used up its fuel of 20,000,000 in `start`: an endless loop, or too much work for one call
     hint: do less in a start function or a static initialiser
    ");
    assert_snapshot!(refusal_of("traps-at-start"), @"
    error: the component does not start
    cause: it panicked or gave up on purpose in `start`
     hint: do less in a start function or a static initialiser
    ");
    assert_snapshot!(refusal_of("grows-memory-at-start"), @"
    error: the component does not start
    cause: it wants 64.1 MiB of memory, more than the limit of 64 MiB
     hint: do less in a start function or a static initialiser
    ");
    assert_snapshot!(refusal_of("grows-table-at-start"), @"
    error: the component does not start
    cause: it wants a table of 10001 elements, more than the limit of 10000
     hint: do less in a start function or a static initialiser
    ");
    assert_snapshot!(refusal_of("recurses-at-start"), @"
    error: the component does not start
    cause: its stack grew over 512 KiB: endless recursion, or very deep
     hint: do less in a start function or a static initialiser
    ");
}

#[test]
fn a_component_that_declares_too_much_is_not_compiled() {
    assert_snapshot!(refusal_of("declares-memory"), @"
    error: the component declares a memory of 4096 MiB, more than the limit of 64 MiB
     hint: look for large static arrays, or raise `limits.memoryBytes` in the policies file
    ");
    assert_snapshot!(refusal_of("declares-memories"), @"
    error: the component declares 50 memories, and one is allowed
     hint: link everything into one module, or raise `limits.memories` in the policies file
    ");
    assert_snapshot!(refusal_of("declares-table"), @"
    error: the component declares tables of 4294967295 elements, more than the limit of 10000
     hint: raise `limits.tableElements` in the policies file
    ");
}

#[test]
fn a_component_that_imports_anything_is_refused_by_its_name() {
    assert_snapshot!(refusal_of("imports-wasi"), @"
    error: the component imports wasi:clocks/wall-clock@0.2.0#now, wasi:clocks/wall-clock@0.2.0#resolution, and a policy imports nothing
     hint: build for wasm32-unknown-unknown, which has no WASI; from C, Python or JavaScript with the options that stub WASI out (`--stub-wasi`)
    ");
    assert_snapshot!(refusal_of("imports-debug"), @"
    error: the component imports tidegate:policy/debug@0.1.0#print, and a policy imports nothing
     hint: build the policy without debug output, which no command links yet
    ");
    assert_snapshot!(refusal_of("imports-a-function"), @"
    error: the component imports print, and a policy imports nothing
     hint: export one of the worlds of `wit/policy.wit` and import nothing; time and load come as arguments
    ");
}

#[test]
fn a_component_of_another_world_or_version_is_refused_with_both() {
    assert_snapshot!(refusal_of("another-world"), @"
    error: the component exports run, not tidegate:policy/scaling@0.1.0 or tidegate:policy/placement@0.1.0
     hint: export `scaling-policy`, `placement-policy` or `policy` of `wit/policy.wit`
    ");
    assert_snapshot!(refusal_of("another-version"), @"
    error: the component exports tidegate:policy/scaling@0.2.0, and this host serves tidegate:policy/scaling@0.1.0
     hint: build against the `wit/policy.wit` of this release
    ");
    assert_snapshot!(refusal_of("lacks-a-function"), @"
    error: the component's tidegate:policy/placement@0.1.0 is not the contract's: there is no function `inputs`
     hint: build against the `wit/policy.wit` of this release, unchanged
    ");
    assert_snapshot!(refusal_of("functions-of-other-types"), @"
    error: the component's tidegate:policy/scaling@0.1.0 is not the contract's: failed to convert function to given type: type mismatch with parameters: expected 1-tuple, found 0-tuple
     hint: build against the `wit/policy.wit` of this release, unchanged
    ");
}

#[test]
fn what_is_not_a_component_is_refused_for_what_it_is() {
    assert_snapshot!(refusal_of("core-module"), @"
    error: this is a core module, not a component
     hint: link with `wasm-component-ld`, as in `-C linker=wasm-component-ld`, or wrap the module with `wasm-tools component new`
    ");
    assert_snapshot!(refusal(b""), @"
    error: this is not Wasm: the file is empty
     hint: give the `.wasm` file that the build left
    ");
    assert_snapshot!(refusal(b"\x7fELF\x02\x01\x01\x00"), @"
    error: this is not Wasm: the file begins with the bytes 7f 45 4c 46 02 01 01 00
     hint: give the `.wasm` file that the build left
    ");
    assert_snapshot!(refusal(b"(component)"), @"
    error: this is not Wasm: the file begins with `(component)`
     hint: this is the text format: turn it into a binary with `wasm-tools parse`
    ");
    assert_snapshot!(refusal(b"\0asm\x0d\0\x01\0\x07"), @"
    error: the component is not valid
    cause: unexpected end-of-file (at offset 0x9)
     hint: build it again: the file may be cut off or damaged
    ");
}

#[test]
fn a_package_or_a_function_that_is_too_large_is_not_compiled() {
    assert_snapshot!(refusal(&vec![0; (4 << 20) + 1]), @"
    error: the component has 4.1 MiB, more than the limit of 4 MiB
     hint: build with opt-level, lto and strip as `policies/Cargo.toml` does, or raise `limits.packageBytes` in the policies file
    ");
    let body = "i32.const 1 drop ".repeat(30_000);
    let module = |name: &str| {
        wat::parse_str(format!("(component (core module (func) (func {name} {body})))"))
            .expect("it is the text format")
    };
    assert_snapshot!(refusal(&module("$table_of_everything")), @"
    error: the function table_of_everything has a body of 87.9 KiB, more than the limit of 64 KiB
     hint: split the function, or turn large tables in code into data, or raise `limits.functionBytes` in the policies file
    ");
    assert_snapshot!(refusal(&module("")), @"
    error: function 1 has a body of 87.9 KiB, more than the limit of 64 KiB
     hint: split the function, or turn large tables in code into data, or raise `limits.functionBytes` in the policies file
    ");
    let many = format!("(component (core module {}))", "(func)".repeat(10_001));
    assert_snapshot!(refusal(&wat::parse_str(many).expect("it is the text format")), @"
    error: the component has more than 10000 functions
     hint: build with lto, so that functions that nothing calls are left out, or raise `limits.functions` in the policies file
    ");
}

#[test]
fn limits_are_settings() {
    let limits = Limits { package_bytes: 1_000, ..Limits::default() };
    let refused = Sandbox::new(limits).expect("a sandbox").in_process().load(hostile());
    assert!(matches!(refused, Err(LoadError::TooLarge { limit: 1_000, .. })));
}
