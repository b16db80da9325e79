//! Policies and profiles that change on disk while they decide.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use insta::assert_snapshot;
use tidegate::definitions::model::Catalogue;
use tidegate::definitions::service;
use tidegate::engine::{
    Action, Engine, Event, Node, Observation, Options, Phase, Plan, Report, Resources, TargetId,
};
use tidegate::policy::Sandbox;
use tidegate::swap::{
    Making, Recent, Refused, RefusedKind, Sources, Swapper, Switched, What, targets_of,
};
use tidegate::time::Time;

const START: Time = Time::TRACE_START;
const SECOND: u64 = 1_000;

const SERVICES: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: Services
services:
- {name: chat, model: llama-3.1-8b, containerConcurrency: 10}
- {name: code, model: llama-3.1-8b, containerConcurrency: 4}
";
const VERSION: &str = "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\n";
const USUAL: &str = "scaling:\n- policy: builtin:knative\n- policy: builtin:scale-to-zero\n";
const PROFILE: &str = "stable-window: 60s\n";

/// An installation with its files, and a world in which every replica is ready at once.
struct World {
    folder: tempfile::TempDir,
    swapper: Swapper,
    engine: Engine,
    recent: Recent,
    now: Time,
    events: Vec<Event>,
    /// The last plan.
    plan: Plan,
}

fn guests() -> &'static Path {
    Path::new(env!("TIDEGATE_GUESTS"))
}

/// One folder of machine code for all tests of a run, so that each component is compiled once.
fn cache() -> &'static Path {
    static CACHE: OnceLock<tempfile::TempDir> = OnceLock::new();
    CACHE.get_or_init(|| tempfile::tempdir().expect("a folder")).path()
}

fn making() -> Making {
    let services = service::parse(SERVICES, "services.yaml", &Catalogue::builtin());
    Making {
        options: Options { tick_ms: 0, explains: true, keeps_s: 600, ..Options::default() },
        targets: targets_of(services.expect("they are in order").services),
        sandboxes: Arc::new(|limits| Ok(Sandbox::new(limits)?.in_process().with_cache(cache()))),
    }
}

impl World {
    fn new() -> World {
        World::with(USUAL)
    }

    fn with(policies: &str) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("it is written");
        };
        write("policies.yaml", &format!("{VERSION}{policies}"));
        write("profile.yaml", PROFILE);
        let sources = Sources {
            policies: Some(folder.path().join("policies.yaml")),
            profile: folder.path().join("profile.yaml").display().to_string(),
        };
        let (swapper, engine) = Swapper::start(sources, making(), START).expect("it starts");
        let node = |name: &str| Node {
            name: name.to_owned(),
            labels: Default::default(),
            taints: Vec::new(),
            allocatable: Resources { cpu_milli: 1 << 20, memory_bytes: 1 << 50, gpus: 64 },
            gpu_memory_bytes: 48_000_000_000,
            gpu_class: "A40".into(),
            usd_per_gpu_hour: None,
            is_spot: false,
        };
        let events = vec![Event::Nodes(vec![node("node-a"), node("node-b")])];
        let (recent, plan) = (Recent::default(), Plan::default());
        World { folder, swapper, engine, recent, now: START, events, plan }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file in its place, as an editor does.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path("new"), bytes).expect("it is written");
        std::fs::rename(self.path("new"), self.path(name)).expect("it is renamed");
    }

    fn policies(&self, text: &str) {
        self.write("policies.yaml", format!("{VERSION}{text}"));
    }

    /// Lets so many milliseconds pass. In whole seconds both services report `load` requests in flight.
    fn pass(&mut self, ms: u64, load: impl Fn(u64) -> f64) {
        self.now = self.now + ms;
        let mut events = std::mem::take(&mut self.events);
        if self.now.0.is_multiple_of(SECOND) {
            let second = self.now.second() - 1;
            let value = load(self.now.since(START) / SECOND);
            let values = [value, value, value * 100.0, value * 20.0];
            let (in_flight, waiting, oldest_wait_ms) = (value as u32, 0, 0);
            let report = Report { second, values, in_flight, waiting, oldest_wait_ms };
            events.extend([0, 1].map(|target| Event::Report(TargetId(target), report)));
        }
        let seen = Observation { at: self.now, events, in_flight: Vec::new() };
        self.recent.note(&self.engine, &seen);
        self.plan = self.engine.step(&seen);
        for action in &self.plan.actions {
            self.events.extend(match action {
                Action::Start { replica, .. } => Some(Event::Replica(*replica, Phase::Ready)),
                Action::Drain { replica } => Some(Event::Replica(*replica, Phase::Gone)),
                Action::Scale { .. } => None,
            });
        }
    }

    fn seconds(&mut self, seconds: u64, load: impl Fn(u64) -> f64) {
        (0..seconds).for_each(|_| self.pass(SECOND, &load));
    }

    /// Looks at the files, and lets what is there take over.
    fn look(&mut self) -> Option<Switched> {
        let candidate = self.swapper.poll()?;
        let ready = candidate.prepare(&self.recent.moment(&self.engine));
        let switched = self.swapper.switch(&mut self.engine, self.now, ready);
        if let Switched::Over(_) = &switched {
            self.recent.restart();
        }
        Some(switched)
    }

    fn refused(&mut self) -> Refused {
        match self.look() {
            Some(Switched::Refused(refused)) => refused,
            Some(Switched::Same) => panic!("nothing is new"),
            Some(Switched::Over(_)) => panic!("it took over"),
            None => panic!("nothing has changed"),
        }
    }

    fn swap(&mut self) -> tidegate::swap::Succession {
        match self.look() {
            Some(Switched::Over(succession)) => *succession,
            Some(Switched::Refused(refused)) => panic!("refused: {refused}"),
            Some(Switched::Same) => panic!("nothing is new"),
            None => panic!("nothing has changed"),
        }
    }

    fn desired(&self) -> [u32; 2] {
        [0, 1].map(|target| self.engine.view(TargetId(target)).desired)
    }

    /// A text without the name of the folder.
    fn plain(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn waves(second: u64) -> f64 {
    ((second * 7) % 40) as f64
}

#[test]
fn a_swap_between_equal_policies_changes_no_plan_and_misses_no_tick_ten_times_a_second() {
    let (mut still, mut moving) = (World::new(), World::new());
    let mut swaps = 0;
    for step in 1..=600 {
        // Another limit is another chain with the same policies.
        moving.policies(&format!("{USUAL}limits: {{fuel: {}}}\n", 100_000 + step % 2));
        moving.swap();
        swaps += 1;
        still.pass(100, waves);
        moving.pass(100, waves);
        assert_eq!(
            serde_json::to_string(&still.plan).expect("text"),
            serde_json::to_string(&moving.plan).expect("text"),
            "step {step}"
        );
    }
    assert_eq!(swaps, 600);
    assert!(still.desired()[0] > 1);
    assert_eq!(moving.swapper.kept().count(), 3);
    assert_eq!(moving.swapper.history().entries().count(), 50);
}

#[test]
fn between_different_policies_every_tick_is_asked_and_every_decision_names_what_decided() {
    let mut world = World::new();
    let guest = guests().join("token-rate.wasm");
    assert!(guest.exists(), "{}", guest.display());
    let other = format!(
        "scaling:\n- {{policy: {}, name: knative, settings: {{outputTokensPerSecond: 100}}}}\n- policy: builtin:scale-to-zero\n",
        guest.display()
    );
    world.seconds(3, waves);
    let digests = |world: &World| -> Vec<String> {
        world.engine.policies().into_iter().map(|policy| policy.digest).collect()
    };
    let mut known = Vec::new();
    let mut said = 0;
    for step in 0..600_u64 {
        let (text, next) = if step % 2 == 0 { (other.as_str(), 1) } else { (USUAL, 0) };
        world.policies(text);
        let succession = world.swap();
        assert_eq!(succession.restored.new_targets, []);
        assert_eq!(succession.restored.wakes_at, world.now, "it is to see the world at once");
        let now = digests(&world);
        if known.len() < 2 {
            known.push(now.clone());
        }
        world.pass(100, waves);
        assert_eq!(world.plan.failures, [], "step {step}, {next}");
        for change in &world.plan.changes {
            for (stage, digest) in change.stages.iter().zip(&now) {
                said += 1;
                let is_one = known.iter().flatten().any(|known| *known == stage.digest);
                assert!(is_one, "{} of {known:?}", stage.digest);
                // What did not decide anew names who decided before.
                let has_decided = !stage.reason.is_empty();
                assert!(!has_decided || stage.digest == *digest, "step {step}: {stage:?}");
            }
        }
        if world.now.since(START).is_multiple_of(2 * SECOND) {
            let stage = &world.engine.inspect(world.now, TargetId(0)).stages[0];
            assert_eq!(stage.asked_at, Some(world.now), "step {step}: a tick was missed");
        }
    }
    assert!(said > 5, "{said}");
}

#[test]
fn what_is_refused_says_why_and_what_decided_decides_on() {
    let (mut still, mut world) = (World::new(), World::new());
    let profile = format!("{PROFILE}panic-window-percentage: \"10\"\n");
    let mut refused: Vec<(String, Refused)> = Vec::new();
    let mut both = |world: &mut World| {
        still.seconds(2, waves);
        world.seconds(2, waves);
        assert_eq!(
            serde_json::to_string(&still.plan).expect("text"),
            serde_json::to_string(&world.plan).expect("text")
        );
    };
    both(&mut world);
    let knative = "scaling:\n- policy: builtin:knative\n";
    for text in [
        "scaling:\n- policy: [\n",
        "scaling:\n\t- policy: builtin:knative\n",
        "scaling: []\n",
        "scaling:\n- policy: builtin:knatvie\n",
        "scaling:\n- policy: builtin:affinity\n",
        "scaling:\n- policy: builtin:knative\n- policy: builtin:knative\n",
        "scaling:\n- policy: gone.wasm\n",
        "scaling:\n- policy: .\n",
        "scaling:\n- policy: policies.yaml\n",
        "scaling:\n- {policy: builtin:knative, settings: {no-such: 1}}\n",
        "scaling:\n- {policy: builtin:knative, onFailure: fall}\n",
        "scaling:\n- {policy: builtin:knative, onFailure: fallback}\n",
        "scaling:\n- {policy: builtin:knative, fallback: gone.wasm}\n",
        "scaling:\n- {policy: builtin:knative, fallback: builtin:affinity}\n",
        "scaling:\n- policy: builtin:scale-to-zero\n",
        "scalling:\n- policy: builtin:knative\n",
        "scaling: builtin:knative\n",
        "scaling:\n- builtin:knative\n",
        &format!("{knative}placement: {{policy: builtin:knative}}\n"),
        &format!("{knative}placement: {{policy: gone.wasm}}\n"),
        &format!("{knative}placement: builtin:affinity\n"),
        &format!("{knative}limits: {{fuel: lots}}\n"),
        &format!("{knative}limits: {{fule: 1}}\n"),
        &format!("{knative}limits: {{packageBytes: -1}}\n"),
        &format!("{knative}limits: {{fuelOfRareCalls: 10}}\n"),
        &format!("{knative}limits: {{fuel: 0, fuelPerTarget: 10}}\n"),
        &format!("{knative}---\n{knative}"),
    ] {
        world.policies(text);
        let why = world.refused();
        refused.push((text.lines().last().unwrap_or("").trim().to_owned(), why));
        both(&mut world);
    }
    world.write("policies.yaml", "");
    refused.push(("empty".to_owned(), world.refused()));
    both(&mut world);
    std::fs::remove_file(world.path("policies.yaml")).expect("it is removed");
    refused.push(("removed".to_owned(), world.refused()));
    both(&mut world);
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/hostile");
    let mut names: Vec<PathBuf> = std::fs::read_dir(hostile)
        .expect("it is there")
        .map(|entry| entry.expect("it is read").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "wat"))
        .collect();
    names.sort();
    for path in names {
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let component = wat::parse_file(&path).expect("it is a component");
        world.write("new.wasm", component);
        world.policies(&format!("# {name}\nscaling:\n- policy: new.wasm\n"));
        refused.push((name, world.refused()));
        both(&mut world);
    }
    let hostile = guests().join("hostile.wasm");
    for word in ["bind-trap", "bind-loop", "init-trap", "init-loop", "trap", "loop"] {
        let text = format!("{{policy: {}, settings: {{misbehave: {word}}}}}", hostile.display());
        world.policies(&format!("scaling:\n- {text}\n- policy: builtin:scale-to-zero\n"));
        refused.push((word.to_owned(), world.refused()));
        both(&mut world);
    }
    world.policies(USUAL);
    assert!(matches!(world.look(), Some(Switched::Same)));
    for text in [
        "stable-window: 1s\n",
        "stable-window: [\n",
        "max-scale-up-rate: \"0\"\n",
        "stable-window: soon\n",
    ] {
        world.write("profile.yaml", text);
        refused.push((text.trim().to_owned(), world.refused()));
        both(&mut world);
    }
    assert!(refused.len() >= 50, "{}", refused.len());
    assert_eq!(world.swapper.history().entries().count(), 50);
    assert!(
        world
            .swapper
            .history()
            .entries()
            .all(|entry| matches!(entry.what, What::Refused | What::Unchanged))
    );
    let mut told = String::new();
    for (what, refused) in refused {
        let file = refused.file.as_deref().map_or("-".to_owned(), |file| world.plain(file));
        let file = file.replace(&format!("{}/", guests().display()), "");
        let line = refused.line.map_or(String::new(), |line| format!(":{line}"));
        let first = world.plain(refused.message.lines().next().unwrap_or(""));
        // Where exactly a policy was stopped is another test's.
        let first = first.split(" in `").next().unwrap_or("");
        let _ = writeln!(told, "{what} | {:?} | {file}{line} | {first}", refused.kind);
    }
    let told = told.replace(&format!("{}/", guests().display()), "");
    assert_snapshot!(told, @r#"
    - policy: [ | Definition | policies.yaml:4 | policies.yaml: unclosed bracket '[' at line 4, column 11
    - policy: builtin:knative | Definition | policies.yaml:4 | policies.yaml: tabs disallowed within this context (block indentation) at line 4, column 2
    scaling: [] | Definition | policies.yaml:3 | policies.yaml:3: scaling is an empty list, expected at least one stage
    - policy: builtin:knatvie | Component | policies.yaml | no policy knatvie is built in
    - policy: builtin:affinity | Component | policies.yaml | builtin:affinity does not scale
    - policy: builtin:knative | Definition | policies.yaml:5 | policies.yaml:5: scaling[1].name is "knative", expected a name that no earlier stage has
    - policy: gone.wasm | Read | gone.wasm | cannot read the policy gone.wasm: No such file or directory (os error 2)
    - policy: . | Read | . | cannot read the policy .: Is a directory (os error 21)
    - policy: policies.yaml | Component | policies.yaml | cannot load the policy policies.yaml: this is not Wasm: the file begins with `apiVersion:`
    - {policy: builtin:knative, settings: {no-such: 1}} | Settings | policies.yaml | knative does not accept the settings of chat: a fault in the settings
    - {policy: builtin:knative, onFailure: fall} | Definition | policies.yaml:4 | policies.yaml:4: scaling[0].onFailure is "fall", expected hold, skip, fallback or closed
    - {policy: builtin:knative, onFailure: fallback} | Definition | policies.yaml:4 | policies.yaml:4: scaling[0].fallback is missing, expected a built-in policy, as builtin:knative
    - {policy: builtin:knative, fallback: gone.wasm} | Definition | policies.yaml:4 | policies.yaml:4: scaling[0].fallback is "gone.wasm", expected a built-in policy, as builtin:knative
    - {policy: builtin:knative, fallback: builtin:affinity} | Component | policies.yaml | builtin:affinity does not scale
    - policy: builtin:scale-to-zero | Input | policies.yaml | scale-to-zero requires the output proposal for chat, but no stage comes before it
    - policy: builtin:knative | Definition | policies.yaml:1 | policies.yaml:1: scaling is missing, expected a list of stages
    scaling: builtin:knative | Definition | policies.yaml:3 | policies.yaml:3: scaling is "builtin:knative", expected a list
    - builtin:knative | Definition | policies.yaml:4 | policies.yaml:4: scaling[0] is "builtin:knative", expected a map
    placement: {policy: builtin:knative} | Component | policies.yaml | builtin:knative does not place
    placement: {policy: gone.wasm} | Read | gone.wasm | cannot read the policy gone.wasm: No such file or directory (os error 2)
    placement: builtin:affinity | Definition | policies.yaml:5 | policies.yaml:5: placement is "builtin:affinity", expected a map
    limits: {fuel: lots} | Definition | policies.yaml:5 | policies.yaml:5: limits.fuel is "lots", expected a whole number
    limits: {fule: 1} | Definition | policies.yaml:5 | policies.yaml:5: limits.fule is no known key, expected fuel
    limits: {packageBytes: -1} | Definition | policies.yaml:5 | policies.yaml:5: limits.packageBytes is -1, expected a whole number
    limits: {fuelOfRareCalls: 10} | Failed | policies.yaml | knative does not accept the settings of chat: it used up its fuel of 100,000
    limits: {fuel: 0, fuelPerTarget: 10} | Failed | policies.yaml | knative cannot make a first state for chat: it used up its fuel of 10
    - policy: builtin:knative | Definition | policies.yaml:6 | policies.yaml:6: the file is more than one document, expected one of kind Policies
    empty | Definition | policies.yaml:1 | policies.yaml:1: the file is empty, expected a document of kind Policies
    removed | Read | policies.yaml | cannot read policies.yaml: No such file or directory (os error 2)
    another-version | Component | new.wasm | cannot load the policy new.wasm: the component exports tidegate:policy/scaling@0.2.0, and this host serves tidegate:policy/scaling@0.1.0
    another-world | Component | new.wasm | cannot load the policy new.wasm: the component exports run, not tidegate:policy/scaling@0.1.0 or tidegate:policy/placement@0.1.0
    core-module | Component | new.wasm | cannot load the policy new.wasm: this is a core module, not a component
    declares-memories | Component | new.wasm | cannot load the policy new.wasm: the component declares 50 memories, and one is allowed
    declares-memory | Component | new.wasm | cannot load the policy new.wasm: the component declares a memory of 4096 MiB, more than the limit of 64 MiB
    declares-table | Component | new.wasm | cannot load the policy new.wasm: the component declares tables of 4294967295 elements, more than the limit of 10000
    functions-of-other-types | Component | new.wasm | cannot load the policy new.wasm: the component's tidegate:policy/scaling@0.1.0 is not the contract's: failed to convert function to given type: type mismatch with parameters: expected 1-tuple, found 0-tuple
    grows-memory-at-start | Component | new.wasm | cannot load the policy new.wasm: the component does not start: it wants 64.1 MiB of memory, more than the limit of 64 MiB
    grows-table-at-start | Component | new.wasm | cannot load the policy new.wasm: the component does not start: it wants a table of 10001 elements, more than the limit of 10000
    imports-a-function | Component | new.wasm | cannot load the policy new.wasm: the component imports print, and a policy imports nothing
    imports-debug | Component | new.wasm | cannot load the policy new.wasm: the component imports tidegate:policy/debug@0.1.0#print, and a policy imports nothing
    imports-wasi | Component | new.wasm | cannot load the policy new.wasm: the component imports wasi:clocks/wall-clock@0.2.0#now, wasi:clocks/wall-clock@0.2.0#resolution, and a policy imports nothing
    lacks-a-function | Component | new.wasm | cannot load the policy new.wasm: the component's tidegate:policy/placement@0.1.0 is not the contract's: there is no function `inputs`
    loops-at-start | Component | new.wasm | cannot load the policy new.wasm: the component does not start: it used up its fuel of 20,000,000
    recurses-at-start | Component | new.wasm | cannot load the policy new.wasm: the component does not start: its stack grew over 512 KiB: endless recursion, or very deep
    traps-at-start | Component | new.wasm | cannot load the policy new.wasm: the component does not start: it panicked or gave up on purpose
    bind-trap | Failed | policies.yaml | hostile does not accept the settings of chat: it panicked
    bind-loop | Failed | policies.yaml | hostile does not accept the settings of chat: it used up its fuel of 20,000,000
    init-trap | Failed | policies.yaml | hostile cannot make a first state for chat: it panicked
    init-loop | Failed | policies.yaml | hostile cannot make a first state for chat: it used up its fuel of 110,000
    trap | Shadow | policies.yaml | it failed in 11 of the last 100 steps, where what decides now did not: hostile: it panicked
    loop | Shadow | policies.yaml | it failed in 11 of the last 102 steps, where what decides now did not: hostile: it used up its share of the fuel
    stable-window: 1s | Definition | profile.yaml:1 | profile.yaml:1: stable-window is "1s", expected 6s to 1h, whole seconds
    stable-window: [ | Definition | profile.yaml:1 | profile.yaml: unclosed bracket '[' at line 1, column 16
    max-scale-up-rate: "0" | Definition | profile.yaml:1 | profile.yaml:1: max-scale-up-rate is "0", expected above 1
    stable-window: soon | Definition | profile.yaml:1 | profile.yaml:1: stable-window is "soon", expected a duration with its unit (as in 30s), 6s to 1h, whole seconds
    "#);
    // And a good one takes over after all that.
    world.write("profile.yaml", &profile);
    world.swap();
}

#[test]
fn a_policy_that_traps_live_is_taken_back_after_its_third_failure() {
    let mut world = World::new();
    world.seconds(10, waves);
    let before = world.swapper.live().digest().to_owned();
    let guest = guests().join("hostile.wasm");
    let text = format!(
        "scaling:\n- {{policy: {}, name: knative, settings: {{misbehave: trap}}}}\n- policy: builtin:scale-to-zero\n",
        guest.display()
    );
    world.policies(&text);
    let refused = world.refused();
    assert_eq!(refused.kind, RefusedKind::Shadow);
    let told = refused.message.split(" in `").next().unwrap_or("");
    assert_snapshot!(told, @"it failed in 7 of the last 10 steps, where what decides now did not: knative: it panicked");
    // Had nothing been seen lately, it would have got through.
    world.recent.restart();
    world.swapper.want("somebody");
    world.swap();
    let desired = world.desired();
    let mut steps = 0;
    while !world.swapper.see(&world.plan) {
        world.pass(SECOND, waves);
        assert_eq!(world.desired(), desired, "failure never means zero");
        steps += 1;
        assert!(steps < 10);
    }
    world.swapper.go_back(&mut world.engine, world.now, None).expect("there is an earlier one");
    world.recent.restart();
    assert_eq!(world.swapper.live().digest(), before);
    world.seconds(4, waves);
    assert_eq!(world.plan.failures, []);
    assert!(world.look().is_none(), "the files are not read again before they change");
    let told: Vec<_> = world
        .swapper
        .history()
        .entries()
        .map(|entry| (entry.what, entry.by.as_str(), entry.from == before))
        .collect();
    assert_eq!(
        told,
        [
            (What::Refused, "a changed file", true),
            (What::Swapped, "somebody", true),
            (What::RolledBack, "failures", false)
        ]
    );
    let none = world.swapper.go_back(&mut world.engine, world.now, Some("somebody"));
    assert_eq!(
        none.err().expect("there is none").to_string(),
        "there is no earlier chain to go back to"
    );
}

#[test]
fn a_candidate_is_tried_on_what_was_seen_and_differing_decisions_are_told() {
    let mut world = World::new();
    world.seconds(300, waves);
    world.write(
        "profile.yaml",
        format!("{PROFILE}container-concurrency-target-percentage: \"35\"\n"),
    );
    let succession = world.swap();
    let shadow = succession.shadow;
    assert!(shadow.steps >= 120 && shadow.steps < 240, "{}", shadow.steps);
    assert!(shadow.differences > 0);
    let last = shadow.last.back().expect("there is one");
    assert!(last.shadow > last.real, "{last:?}");
    assert!(!last.shadow_reason.is_empty() && !last.real_reason.is_empty(), "{last:?}");
    let entry = world.swapper.history().entries().last().expect("it was noted");
    assert_eq!((entry.steps, entry.differences), (shadow.steps, shadow.differences));

    // The same chain in the shadow of itself never differs, and never acts.
    let own = world.path("policies.yaml");
    let mut shadow = world.swapper.shadow(&own, &world.engine, world.now).expect("it loads");
    let three = guests().join("hostile.wasm");
    let text = format!("scaling:\n- policy: {}\n", three.display());
    world.write("other.yaml", format!("{VERSION}{text}"));
    let other = world.path("other.yaml");
    let mut other = world.swapper.shadow(&other, &world.engine, world.now).expect("it loads");
    for _ in 0..120 {
        world.pass(SECOND, waves);
        let seen = world.recent.moment(&world.engine).seen;
        let seen = seen.last().expect("there is one");
        shadow.see(&world.engine, seen, &world.plan);
        other.see(&world.engine, seen, &world.plan);
    }
    assert_eq!((shadow.run().steps, shadow.run().differences), (120, 0), "{:?}", shadow.run().last);
    let last = other.run().last.back().expect("it wants three, whatever happens");
    assert_eq!((last.shadow, other.run().steps), (3, 120));
    assert_eq!(other.run().failed_steps, 0, "{:?}", other.run().failures);
}

#[test]
fn services_that_change_are_a_swap_too_and_what_is_under_way_is_looked_at_again() {
    let mut world = World::new();
    world.seconds(20, waves);
    let before = world.desired();
    world.write("profile.yaml", format!("{PROFILE}max-scale: \"20\"\n"));
    let under_way = world.swapper.poll().expect("it has changed");
    assert!(world.swapper.poll().is_none(), "one at a time");
    let moment = world.recent.moment(&world.engine);
    let under_way = under_way.prepare(&moment);
    let fewer =
        SERVICES.replace("- {name: code, model: llama-3.1-8b, containerConcurrency: 4}\n", "");
    let fewer = service::parse(&fewer, "services.yaml", &Catalogue::builtin()).expect("in order");
    let candidate = world.swapper.with_targets("services.yaml", targets_of(fewer.services));
    let ready = candidate.prepare(&moment);
    let Switched::Over(succession) = world.swapper.switch(&mut world.engine, world.now, ready)
    else {
        panic!("it takes over");
    };
    let gone = &succession.restored.gone;
    assert_eq!(
        (gone.len(), gone[0].target.to_string(), gone[0].replicas),
        (1, "code".to_owned(), before[1])
    );
    assert_eq!(world.engine.view(TargetId(0)).desired, before[0]);
    let switched = world.swapper.switch(&mut world.engine, world.now, under_way);
    let Switched::Refused(refused) = switched else { panic!("it is out of date") };
    assert_eq!(refused.kind, RefusedKind::Stale);
    world.recent.restart();
    world.swap();
    assert_eq!(world.engine.specs().count(), 1, "with the services of now");
}
