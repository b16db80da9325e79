use super::*;
use crate::engine::{
    Bounds, Engine, Event, Node, Observation, Options, Owner, Phase, Plan, ReplicaId, Report,
    Resources, Signal, StageFailure, TargetId, TargetName, TargetSpec,
};
use crate::policy::native::NativePlacement;

#[test]
fn a_series_has_a_value_a_second_and_an_end() {
    let mut series = Series::default();
    series.push(Time(10_000), [1, 0, 5, 0]);
    series.push(Time(10_900), [2, 0, 6, 0]);
    assert_eq!(series.desired, [2], "within one second the last counts");
    series.push(Time(13_000), [3, 1, 0, 6]);
    assert_eq!(series.desired, [2, 2, 2, 3], "seconds without a word were as the one before");
    assert_eq!((series.ends_s, series.waiting[3]), (13, 0));
    series.push(Time(100_000_000), [4, 4, 0, 0]);
    assert_eq!(series.desired.len(), SERIES_S);
    assert_eq!(series.desired[SERIES_S - 2], 3);
    for list in [&series.ready, &series.waiting, &series.in_flight] {
        assert_eq!(list.len(), SERIES_S);
    }
}

#[test]
fn the_document_reads_back_as_it_was_written() {
    let status = sample::status();
    let text = serde_json::to_string(&status).expect("it is JSON");
    assert_eq!(serde_json::from_str::<Status>(&text).expect("it reads back"), status);
}

#[test]
fn who_knows_the_past_is_told_what_is_new() {
    let status = sample::status();
    let told = status.since(5);
    assert_eq!(told.decisions.iter().map(|one| one.number).collect::<Vec<_>>(), [6, 7]);
    assert!(told.services.iter().all(|service| service.series.desired.len() == 1));
    let later = Status { at: status.at + 1_000, ..status.clone() };
    assert!(later.is_like(&status));
    let mut other = later;
    other.services[0].in_flight += 1;
    assert!(!other.is_like(&status));
}

#[test]
fn digests_are_cut_for_people() {
    assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
    assert_eq!(short("builtin"), "builtin");
}

/// An engine without stages: the initial scale stands.
fn engine(specs: &[(&str, u32)]) -> Engine {
    let options = Options { tick_ms: 2_000, explains: true, ..Options::default() };
    let placement = NativePlacement::<tidegate_affinity::Affinity>::new("affinity");
    let mut engine =
        Engine::new(options, Vec::new(), Box::new(placement), None).expect("it says what it wants");
    let spec = |&(name, initial): &(&str, u32)| TargetSpec {
        name: TargetName::of_service(name),
        tenant: "default".into(),
        owner: Owner::Tidegate,
        bounds: Bounds { min: 0, max: 4, initial },
        activation: 1,
        is_reachable: Some(true),
        scaling_settings: Vec::new(),
        placement_settings: r#"{"settings": {}}"#.into(),
        needs: Resources { cpu_milli: 0, memory_bytes: 0, gpus: 1 },
        weights_bytes: 0,
    };
    engine.add_targets(START, specs.iter().map(spec).collect()).expect("nothing is refused");
    engine
}

const START: Time = Time::TRACE_START;

fn node(gpus: u32) -> Event {
    Event::Nodes(vec![Node {
        name: "box".into(),
        labels: Default::default(),
        taints: Vec::new(),
        allocatable: Resources { cpu_milli: 8_000, memory_bytes: 1 << 36, gpus },
        gpu_memory_bytes: 48 << 30,
        gpu_class: "A40".into(),
        usd_per_gpu_hour: None,
        is_spot: false,
    }])
}

#[test]
fn what_plans_and_events_say_becomes_the_document() {
    let mut engine = engine(&[("llama", 2), ("whisper", 0)]);
    let rules = Rules { started_at: START, version: "0".into(), is_dry_run: false };
    let mut builder = StatusBuilder::new(rules);
    let mut step = |builder: &mut StatusBuilder, after_s: u64, events: Vec<Event>| {
        let seen = Observation { at: START + after_s * 1_000, events, in_flight: Vec::new() };
        let plan = engine.step(&seen);
        builder.see(&engine, &seen, &plan, 400);
        let mut world = World {
            phase: RunPhase::Running,
            nodes: vec![NodeStatus { name: "box".into(), gpus: Vec::new() }],
            ..World::default()
        };
        let pin = Pin { replicas: 3, until: START + 10_000 };
        world.pins.insert("whisper".into(), pin);
        let loading = Facts {
            phase: Some((ReplicaPhase::Loading, START + 1_000)),
            reason: "reads its weights".into(),
            gpus: vec![0],
            pid: Some(7),
            port: Some(70),
            in_flight: None,
        };
        world.replicas.insert((TargetName::of_service("llama"), 1), loading);
        let failed = Facts {
            phase: Some((ReplicaPhase::Failed, START)),
            reason: "exit code 1".into(),
            ..Facts::default()
        };
        world.replicas.insert((TargetName::of_service("whisper"), 4), failed);
        builder.build(seen.at, &engine, &world)
    };
    let of_llama = |ordinal| ReplicaId { target: TargetId(0), ordinal };
    step(&mut builder, 0, vec![node(2)]);
    let report = Report {
        second: START.second() + 2,
        values: [f64::NAN; Signal::ALL.len()],
        in_flight: 5,
        waiting: 3,
        oldest_wait_ms: 1_500,
    };
    let status = step(
        &mut builder,
        3,
        vec![Event::Replica(of_llama(0), Phase::Ready), Event::Report(TargetId(0), report)],
    );
    let llama = &status.services[0];
    assert_eq!((llama.desired, llama.ready, llama.starting), (2, 1, 1));
    assert_eq!((llama.waiting, llama.in_flight, llama.oldest_wait_ms), (3, 5, 1_500));
    assert_eq!(llama.series.desired, [2, 2, 2, 2]);
    assert_eq!(llama.series.ready.back(), Some(&1));
    let shown: Vec<_> =
        llama.replicas.iter().map(|one| (one.ordinal, one.phase, one.node.as_deref())).collect();
    assert_eq!(
        shown,
        [(0, ReplicaPhase::Ready, Some("box")), (1, ReplicaPhase::Loading, Some("box"))]
    );
    let decision = llama.targets[0].decision.as_ref().expect("the initial scale was decided");
    assert_eq!((decision.from, decision.to, &*decision.reason), (None, 2, "initial scale"));
    assert_eq!((status.totals.cold_starts, status.totals.cold_start_seconds_sum), (1, 3.0));
    assert_eq!(status.totals.steps, 2);
    let whisper = &status.services[1];
    assert_eq!(whisper.pin, Some(Pin { replicas: 3, until: START + 10_000 }));
    assert_eq!(
        whisper.replicas[0].reason, "exit code 1",
        "what failed is shown without the engine"
    );

    let later = step(
        &mut builder,
        11,
        vec![Event::Replica(of_llama(1), Phase::Failed { reason: "exit code 1".into() })],
    );
    assert_eq!(later.services[1].pin, None, "a pin ends by itself");
    assert_eq!(later.services[0].failed, 1);
    assert_eq!(later.totals.replica_failures, 1);
    assert_eq!(later.totals.cold_starts, 1, "what failed was no cold start");
}

#[test]
fn policies_are_as_healthy_as_their_last_answers() {
    let engine = engine(&[("llama", 0)]);
    let rules = Rules { started_at: START, version: "0".into(), is_dry_run: false };
    let mut builder = StatusBuilder::new(rules);
    let failure = |quarantined_until| StageFailure {
        stage: "knative".into(),
        targets: vec![TargetId(0)],
        message: "out of fuel".into(),
        instead: "hold".into(),
        quarantined_until,
    };
    let mut policy = sample::status().policies.swap_remove(0);
    policy.health = Health::Healthy;
    let world = World { policies: vec![policy], ..World::default() };
    let fail = |builder: &mut StatusBuilder, after_s: u64, until| {
        let at = START + after_s * 1_000;
        let plan = Plan { at, failures: vec![failure(until)], ..Plan::default() };
        builder.see(&engine, &Observation { at, ..Observation::default() }, &plan, 10);
    };
    let health = |builder: &mut StatusBuilder, after_s: u64| {
        let policy = builder.build(START + after_s * 1_000, &engine, &world).policies[0].clone();
        (policy.health, policy.failures)
    };
    assert_eq!(health(&mut builder, 0), (Health::Healthy, 0));
    fail(&mut builder, 1, None);
    assert_eq!(health(&mut builder, 2), (Health::Failing, 1));
    fail(&mut builder, 3, Some(START + 60_000));
    assert_eq!(health(&mut builder, 50), (Health::Quarantined, 2));
    assert_eq!(health(&mut builder, 100), (Health::Healthy, 2));
    let swap = sample::status().swaps[0].clone();
    builder.swapped(SwapStatus { stage: "knative".into(), ..swap });
    assert_eq!(health(&mut builder, 101), (Health::Healthy, 0));
}
