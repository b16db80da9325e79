//! Every scenario that Knative's own code answered, through the engine: its windows, the chain of policies, bounds between the
//! stages; once with the policies linked natively, once with the sandboxed components that ship. `fixtures/kpa-golden/README.md` says what the files mean and in which order a second runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate::engine::windows::{Averaging, WindowSpec};
use tidegate::engine::{
    Action, Bounds, Counts, Engine, Event, Observation, OnFailure, Options, Owner, Report,
    Resources, Signal, Stage, TargetId, TargetName, TargetSpec,
};
use tidegate::policy::native::{NativeScaling, Nowhere};
use tidegate::policy::{Limits, Package, Sandbox, ScalingPolicy, builtin};
use tidegate::time::Time;

const TARGET: TargetId = TargetId(0);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/kpa-golden")
}

fn lines(name: &str) -> Vec<Value> {
    let file =
        std::fs::File::open(folder().join(format!("{name}.jsonl.gz"))).expect("the file is there");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("it unpacks");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is a document")).collect()
}

/// Where the policies of a scenario come from.
enum Policies {
    Native,
    Sandboxed { knative: Box<Package>, zero: Box<Package> },
}

impl Policies {
    fn sandboxed() -> Policies {
        let sandbox = Sandbox::new(Limits::default()).expect("a sandbox");
        let package = |name| {
            let component = builtin::builtin(name).expect("it is built in");
            Box::new(sandbox.load_trusted(component).expect("it loads"))
        };
        Policies::Sandboxed { knative: package("knative"), zero: package("scale-to-zero") }
    }

    fn knative(&self) -> Box<dyn ScalingPolicy> {
        match self {
            Policies::Native => {
                Box::new(NativeScaling::<tidegate_knative::Knative>::new("knative"))
            }
            Policies::Sandboxed { knative, .. } => Box::new(knative.scaling().expect("it scales")),
        }
    }

    fn zero(&self) -> Box<dyn ScalingPolicy> {
        match self {
            Policies::Native => {
                Box::new(NativeScaling::<tidegate_scale_to_zero::ScaleToZero>::new("scale-to-zero"))
            }
            Policies::Sandboxed { zero, .. } => Box::new(zero.scaling().expect("it scales")),
        }
    }
}

/// A scenario as it is played: the engine, and the pods that the scenario's world has.
struct Play {
    engine: Engine,
    header: Value,
    resolved: Value,
    start: Time,
    /// Ready time of each pod, in order of creation. Seconds.
    pods: Vec<u64>,
    pod_start_s: u64,
    is_e2e: bool,
    stages: usize,
    differences: String,
}

impl Play {
    fn new(policies: &Policies, header: &Value, golden: &Value) -> Play {
        let is_e2e = header["mode"] == "e2e";
        let resolved = golden["resolved"].clone();
        let mut stages = vec![Stage::new("knative", policies.knative(), OnFailure::Hold)];
        if is_e2e {
            stages.push(Stage::new("scale-to-zero", policies.zero(), OnFailure::Skip));
        }
        let count = stages.len();
        let options = Options { tick_ms: 2_000, explains: false, gateway_is_always_in_path: false };
        let engine =
            Engine::new(options, stages, Box::new(Nowhere), None).expect("it asks for nothing");
        // Everything runs 1 ms after the whole second, and decisions 1 ms after that.
        let start = Time(golden["epoch_s"].as_u64().expect("an epoch") * 1_000 + 1);
        Play {
            engine,
            header: header.clone(),
            resolved,
            start,
            pods: Vec::new(),
            pod_start_s: header["pod_start_s"].as_u64().unwrap_or(0),
            is_e2e,
            stages: count,
            differences: String::new(),
        }
    }

    fn spec(&self) -> TargetSpec {
        let count = |key: &str| self.resolved[key].as_u64().unwrap_or(0) as u32;
        let settings = serde_json::json!({
            "settings": {},
            "profile": self.header["configmap"],
            "service": {
                "annotations": self.header["annotations"],
                "containerConcurrency": self.header["container_concurrency"],
                "progressDeadlineMs": self.header["progress_deadline_s"].as_u64().unwrap_or(600) * 1_000,
            }
        });
        let bounds = if self.is_e2e {
            Bounds {
                min: count("min_scale"),
                max: count("max_scale"),
                initial: count("initial_scale"),
            }
        } else {
            Bounds { min: 0, max: 0, initial: 0 }
        };
        TargetSpec {
            name: TargetName::of_service("golden"),
            tenant: "default".into(),
            owner: Owner::Other,
            bounds,
            activation: 1,
            is_reachable: match self.header["reachability"].as_str() {
                Some("Reachable") => Some(true),
                Some("Unreachable") => Some(false),
                _ => None,
            },
            scaling_settings: vec![settings.to_string(); self.stages],
            placement_settings: "{}".into(),
            needs: Resources::default(),
            weights_bytes: 0,
        }
    }

    /// Settings that change while the target lives.
    fn update(&mut self, t: u64, update: &Value) {
        for part in ["configmap", "annotations"] {
            for (key, value) in update[part].as_object().into_iter().flatten() {
                self.header[part][key] = value.clone();
            }
        }
        let texts = |part: &str| -> BTreeMap<String, String> {
            serde_json::from_value(self.header[part].clone()).expect("texts")
        };
        let concurrency = self.header["container_concurrency"].as_u64().unwrap_or(0) as u32;
        let (resolved, _) =
            tidegate_settings::resolve(&texts("configmap"), &texts("annotations"), concurrency)
                .expect("in order");
        self.resolved["stable_window_s"] = resolved.stable_window_s.into();
        self.resolved["panic_window_s"] = resolved.panic_window_s.into();
        let (now, spec) = (self.start + t * 1_000, self.spec());
        self.engine.change_target(now, TARGET, spec).expect("in order");
    }

    fn ready(&self, t: u64) -> u32 {
        self.pods.iter().filter(|ready| **ready <= t).count() as u32
    }

    /// A step of the engine, and what it tells the owner of the pods.
    fn step(&mut self, t: u64, after_ms: u64, events: Vec<Event>) {
        let at = self.start + t * 1_000 + after_ms;
        let plan = self.engine.step(&Observation { at, events, in_flight: Vec::new() });
        assert!(plan.failures.is_empty(), "{:?}", plan.failures);
        for action in plan.actions {
            if let Action::Scale { to, .. } = action
                && self.is_e2e
            {
                self.scale(t, to);
                let counts = Counts { ready: Some(self.ready(t)), starting: 0 };
                self.step(t, after_ms, vec![Event::Counted(TARGET, counts)]);
            }
        }
    }

    /// Missing pods are made; surplus ones vanish: those that are not ready first, then the youngest.
    fn scale(&mut self, t: u64, to: u32) {
        while (self.pods.len() as u32) < to {
            self.pods.push(t + self.pod_start_s);
        }
        while self.pods.len() as u32 > to {
            let unready = self.pods.iter().rposition(|ready| *ready > t);
            self.pods.remove(unready.unwrap_or(self.pods.len() - 1));
        }
    }

    fn report(t: u64, epoch_s: u64, concurrency: f64, rps: f64) -> Event {
        let _ = t;
        let mut values = [f64::NAN; Signal::ALL.len()];
        values[Signal::Concurrency as usize] = concurrency;
        values[Signal::Arrivals as usize] = rps;
        Event::Report(
            TARGET,
            Report { second: epoch_s, values, in_flight: 0, waiting: 0, oldest_wait_ms: 0 },
        )
    }

    fn differ(
        &mut self,
        row: &Value,
        field: &str,
        ours: impl std::fmt::Display,
        theirs: impl std::fmt::Display,
    ) {
        if self.differences.lines().count() < 4 {
            let _ =
                writeln!(self.differences, "  t={} {field}: {ours}, Knative {theirs}", row["t_s"]);
        }
    }

    fn compare(&mut self, row: &Value) {
        let knative = self.engine.stage(TARGET, "knative").expect("the stage is there");
        let (wanted, is_applied) = (knative.wanted, knative.is_applied);
        let outputs: BTreeMap<&str, f64> = ["excess-burst-capacity", "in-panic", "held-replicas"]
            .iter()
            .map(|name| (*name, knative.output(name)))
            .collect();
        let valid = row["valid"].as_bool().expect("a flag");
        if !self.is_e2e && is_applied != valid {
            self.differ(row, "valid", is_applied, valid);
        }
        if valid {
            let theirs = row["desired"].as_f64().expect("a number");
            if wanted.map(f64::from) != Some(theirs) {
                self.differ(row, "desired", wanted.map_or(-1, i64::from), theirs);
            }
            let theirs = row["ebc"].as_f64().expect("a number");
            if outputs["excess-burst-capacity"] != theirs {
                self.differ(row, "ebc", outputs["excess-burst-capacity"], theirs);
            }
        }
        if wanted.is_some() {
            let theirs = f64::from(u8::from(row["panic"].as_bool().expect("a flag")));
            if outputs["in-panic"] != theirs {
                self.differ(row, "panic", outputs["in-panic"], theirs);
            }
            let theirs = row["max_panic"].as_f64().expect("a number");
            if outputs["held-replicas"] != theirs {
                self.differ(row, "max_panic", outputs["held-replicas"], theirs);
            }
        }
        let averaging = if self.resolved["aggregation"] == "linear" {
            Averaging::Linear
        } else {
            Averaging::WeightedExponential
        };
        let signal =
            if self.resolved["metric"] == "rps" { Signal::Arrivals } else { Signal::Concurrency };
        for (field, span) in [("stable", "stable_window_s"), ("panic_avg", "panic_window_s")] {
            let spec = WindowSpec {
                signal,
                span_s: self.resolved[span].as_u64().expect("a span") as u32,
                averaging,
            };
            let at = self.start + row["t_s"].as_u64().expect("a second") * 1_000;
            let ours = self.engine.average(TARGET, spec, at);
            let theirs = row[field].as_f64();
            let is_equal = match (ours, theirs) {
                (Some(ours), Some(theirs)) if averaging == Averaging::Linear => ours == theirs,
                (Some(ours), Some(theirs)) => {
                    (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0)
                }
                // An empty panic window beside a stable one that is not empty reads 0, and Knative says "no data" for both
                // windows by the stable one alone; without anything to scrape it says 0 for nothing.
                (None, Some(theirs)) => theirs == 0.0,
                (_, None) => true,
            };
            if !is_equal {
                self.differ(row, field, format!("{ours:?}"), format!("{theirs:?}"));
            }
        }
        if !self.is_e2e {
            return;
        }
        let zero = self.engine.stage(TARGET, "scale-to-zero").expect("the stage is there");
        let active = match zero.output("active") {
            1.0 => "True",
            0.0 => "False",
            _ => "Unknown",
        };
        let mode = if zero.output("gateway-in-path") == 1.0 { "Proxy" } else { "Serve" };
        let (activators, desired_scale) = (zero.output("activators"), zero.output("desired-scale"));
        for (field, ours) in [("active", active), ("sks", mode)] {
            if row[field] != ours {
                self.differ(row, field, ours, &row[field]);
            }
        }
        let ready = self.ready(row["t_s"].as_u64().expect("a second"));
        for (field, ours) in [
            ("decider", wanted.map_or(-1.0, f64::from)),
            ("replicas", self.pods.len() as f64),
            ("ready", f64::from(ready)),
            ("activators", activators),
            ("pa_desired", desired_scale),
        ] {
            if row[field].as_f64() != Some(ours) {
                self.differ(row, field, ours, &row[field]);
            }
        }
    }
}

fn play_open_or_closed(policies: &Policies, name: &str, is_closed: bool) -> String {
    let (scenario, golden) = (lines(&format!("{name}.scenario")), lines(&format!("{name}.golden")));
    let mut play = Play::new(policies, &scenario[0], &golden[0]);
    let epoch_s = golden[0]["epoch_s"].as_u64().expect("an epoch");
    let initial = scenario[0]["initial_ready_pods"].as_u64().unwrap_or(0) as u32;
    let spec = play.spec();
    play.pods = vec![0; initial as usize];
    // `now` of a decision is exactly the second; the state is born with the pods that are ready then.
    play.start = Time(epoch_s * 1_000);
    play.engine
        .add_counted_targets(play.start, vec![(spec, Counts { ready: Some(initial), starting: 0 })])
        .expect("bound");
    let mut rows = golden[1..].iter().peekable();
    let updates = scenario[0]["updates"].as_array().cloned().unwrap_or_default();
    let (min, max) = (
        play.resolved["min_scale"].as_u64().unwrap_or(0) as u32,
        play.resolved["max_scale"].as_u64().unwrap_or(0) as u32,
    );
    for line in &scenario[1..] {
        let t = line["t_s"].as_u64().expect("a second");
        for update in updates.iter().filter(|update| update["t_s"].as_u64() == Some(t)) {
            play.update(t, update);
        }
        let ready = if is_closed {
            Some(play.ready(t))
        } else {
            line["ready_pods"].as_u64().map(|ready| ready as u32)
        };
        let ready = if line["ready_error"].as_bool() == Some(true) {
            None
        } else {
            Some(ready.unwrap_or(0))
        };
        let mut events = vec![Event::Counted(TARGET, Counts { ready, starting: 0 })];
        if let Some(concurrency) = line["concurrency"].as_f64() {
            events.push(Play::report(
                t,
                epoch_s + t,
                concurrency,
                line["rps"].as_f64().unwrap_or(0.0),
            ));
        }
        for extra in line["extra"].as_array().into_iter().flatten() {
            let number = |key: &str| extra[key].as_f64().unwrap_or(0.0);
            let second = epoch_s + number("at_s") as u64;
            let (concurrency, rps) = (
                number("concurrency") - number("proxied_concurrency"),
                number("rps") - number("proxied_rps"),
            );
            events.push(Play::report(t, second, concurrency, rps));
        }
        play.step(t, 0, events);
        while let Some(row) = rows.next_if(|row| row["t_s"].as_u64() == Some(t)) {
            if row["poke"].as_bool() == Some(true) {
                continue;
            }
            play.compare(row);
            if is_closed && row["valid"].as_bool() == Some(true) {
                let wanted = play
                    .engine
                    .stage(TARGET, "knative")
                    .and_then(|stage| stage.wanted)
                    .unwrap_or(0)
                    .max(min);
                let wanted = if max == 0 { wanted } else { wanted.min(max.max(min)) };
                while (play.pods.len() as u32) < wanted {
                    play.pods.push(t + play.pod_start_s);
                }
                while play.pods.len() as u32 > wanted {
                    let last = play
                        .pods
                        .iter()
                        .enumerate()
                        .max_by_key(|(at, ready)| (**ready, *at))
                        .map(|(at, _)| at);
                    play.pods.remove(last.expect("there is one"));
                }
            }
        }
    }
    play.differences
}

fn play_e2e(policies: &Policies, name: &str) -> String {
    let (scenario, golden) = (lines(&format!("{name}.scenario")), lines(&format!("{name}.golden")));
    let mut play = Play::new(policies, &scenario[0], &golden[0]);
    let epoch_s = golden[0]["epoch_s"].as_u64().expect("an epoch");
    let probe_delay_s = scenario[0]["activator_probe_delay_s"].as_u64().unwrap_or(0);
    let initial = play.resolved["initial_scale"].as_u64().unwrap_or(0) as u32;
    play.scale(0, initial);
    let spec = play.spec();
    let counts =
        |play: &Play, t| Event::Counted(TARGET, Counts { ready: Some(play.ready(t)), starting: 0 });
    let created = play.start + 1;
    let ready = Counts { ready: Some(play.ready(0)), starting: 0 };
    play.engine.add_counted_targets(created, vec![(spec, ready)]).expect("bound");
    let mut rows = golden[1..].iter().peekable();
    let mut was_busy = false;
    let mut answers = true;
    let mut in_path_since: Option<u64> = None;
    for line in &scenario[1..] {
        let t = line["t_s"].as_u64().expect("a second");
        if line["pods_fail"].as_bool() == Some(true) {
            for ready in play.pods.iter_mut().filter(|ready| **ready == t) {
                *ready += 1;
            }
        }
        if probe_delay_s > 0 {
            let mode = play.engine.output(TARGET, "gateway-in-path");
            let is_in_path = mode != 0.0 || play.ready(t.saturating_sub(1)) == 0;
            in_path_since = is_in_path.then(|| in_path_since.unwrap_or(t.saturating_sub(1)));
            let now = in_path_since.is_some_and(|since| t >= since + probe_delay_s);
            if now != answers {
                answers = now;
                play.step(t, u64::from(t == 0), vec![Event::GatewayAnswers(TARGET, now)]);
            }
        }
        if t == 0 {
            let at = counts(&play, t);
            play.step(t, 1, vec![at]);
        } else {
            play.step(t, 0, Vec::new());
            let at = counts(&play, t);
            play.step(t, 0, vec![at]);
        }
        let concurrency = line["concurrency"].as_f64().unwrap_or(0.0);
        if play.ready(t) > 0 || concurrency > 0.0 || was_busy {
            let report =
                Play::report(t, epoch_s + t, concurrency, line["rps"].as_f64().unwrap_or(0.0));
            play.step(t, u64::from(t == 0), vec![report]);
        }
        was_busy = concurrency > 0.0;
        play.step(t, 1, Vec::new());
        while let Some(row) = rows.next_if(|row| row["t_s"].as_u64() == Some(t)) {
            play.compare(row);
        }
    }
    play.differences
}

#[test]
fn every_scenario_gives_knatives_answers_natively() {
    check(&Policies::Native);
}

#[test]
fn every_scenario_gives_knatives_answers_in_the_sandbox() {
    check(&Policies::sandboxed());
}

fn check(policies: &Policies) {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("the folder is there")
        .filter_map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .ok()?
                .strip_suffix(".scenario.jsonl.gz")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 207);
    let mut report = String::new();
    let mut different = 0;
    for name in &names {
        let header = &lines(&format!("{name}.scenario"))[0];
        let differences = match header["mode"].as_str() {
            Some("open") => play_open_or_closed(policies, name, false),
            Some("closed") => play_open_or_closed(policies, name, true),
            _ => play_e2e(policies, name),
        };
        if !differences.is_empty() {
            different += 1;
            let _ = write!(report, "{name}\n{differences}");
        }
    }
    assert!(different == 0, "{different} of {} scenarios differ\n{report}", names.len());
}
