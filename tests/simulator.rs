//! The simulator: replicas and nodes by hand, then whole runs under the engine with the built-in policies, from the first arrival
//! until the last replica has left.

mod support;

use insta::assert_snapshot;
use proptest::prelude::*;
use support::by_hand::{ByHand, TARGET, drain, start};
use support::{
    Ran, World, a40, arrivals, fleet, gpu, input, llama_8b, loader, run, service, set_up, sort,
};
use tidegate::backend::sim::{Fault, Faults, Sim, SimInputError};
use tidegate::backend::{Backend as _, Books as _};
use tidegate::definitions::model::{LoadPath, Model};
use tidegate::engine::{Bounds, Phase, Plan};
use tidegate::seed::Seed;
use tidegate::time::Time;
use tidegate::trace::{Item, Work};

const CHAT: Work = Work::Tokens { prompt: 500, output: 100 };
const SECOND_US: u64 = 1_000_000;

/// One service named `llama` with `model` on one node of eight A40.
fn world(model: Model, concurrency: u32) -> World {
    World::new(fleet(1, 8, &a40()), vec![service("llama", model, concurrency)])
}

fn by_hand(world: World, load: Vec<Item>) -> ByHand {
    ByHand::new(input(world), load)
}

fn gpt_j(fixed_s: f64, gb_s: f64) -> Model {
    Model {
        name: "gpt-j-6b".into(),
        weights_gb: 12.1,
        parameters_billion: 6.05,
        kv_bytes_per_token: 458_752.0,
        loader: loader(fixed_s, gb_s, LoadPath::SharedStore),
        engine_s: 3.0,
        ..llama_8b()
    }
}

/// Seconds from start to ready of 1,000 replicas, each alone, in order.
fn cold_starts(world: impl Fn() -> World) -> Vec<f64> {
    let ready = |ordinal| {
        let mut hand = by_hand(world(), arrivals(0, [1e5], CHAT));
        hand.apply(vec![start(ordinal, 0)]);
        hand.reaches(ordinal, &Phase::Ready)
    };
    let mut all: Vec<f64> = (0..1_000).map(ready).collect();
    all.sort_by(f64::total_cmp);
    all
}

#[test]
fn cold_starts_take_as_long_as_published() {
    let eight = |mut world: World, class| {
        world.fleet = fleet(1, 8, &class);
        world.services[0].needs.gpus = 8;
        world
    };
    let a10g = || gpu("A10G", 24.0, 0.45, 81.0);
    let on = |mut world: World, class| {
        world.fleet = fleet(1, 8, &class);
        world
    };
    let llama = |fixed_s, gb_s, path, engine_s| Model {
        loader: loader(fixed_s, gb_s, path),
        engine_s,
        ..llama_8b()
    };
    let bloom = || Model {
        weights_gb: 352.0,
        loader: loader(10.0, 1.2, LoadPath::SharedStore),
        engine_s: 3.0,
        ..llama_8b()
    };
    let cold_image = || {
        let mut world = world(Model { image_gb: 10.0, ..gpt_j(5.7, 5.0) }, 1);
        world.fleet.machines[0].has_images = false;
        world
    };
    use LoadPath::{NodeMemory, SharedStore};
    type Case = (&'static str, Box<dyn Fn() -> World>, (f64, f64), Option<(f64, f64)>);
    let cases: [Case; 8] = [
        (
            "GPT-J, tensorizer",
            Box::new(|| world(gpt_j(5.7, 5.0), 1)),
            (12.0, 17.0),
            Some((30.0, 45.0)),
        ),
        ("GPT-J, transformers", Box::new(|| world(gpt_j(9.5, 2.2), 1)), (19.0, 25.0), None),
        (
            "8B from an object store",
            Box::new(move || on(world(llama(0.0, 3.3, SharedStore, 20.0), 1), a10g())),
            (23.0, 29.0),
            None,
        ),
        // Published: 62 to 70 s until ready. Here the usual 20 s of the engine and 3 s of schedule and image come on top of the
        // load, and the whole is 1.5 s longer than that.
        (
            "8B from network block storage",
            Box::new(move || on(world(llama(0.0, 0.34, SharedStore, 20.0), 1), a10g())),
            (70.0, 72.0),
            None,
        ),
        (
            "176B over eight A100",
            Box::new(move || eight(world(bloom(), 1), gpu("A100", 80.0, 1.4, 205.0))),
            (240.0, 360.0),
            None,
        ),
        // 1.2 to 1.8 and 4 to 5 s of waking up, and 3 s of schedule and image, which a sleeping server does not need.
        (
            "8B asleep in host memory",
            Box::new(move || world(llama(0.16, 12.5, NodeMemory, 0.0), 1)),
            (4.2, 4.8),
            None,
        ),
        (
            "8B asleep on disk",
            Box::new(move || world(llama(0.56, 4.1, NodeMemory, 0.0), 1)),
            (7.0, 8.0),
            None,
        ),
        // 2 to 8 minutes more than the first.
        ("an image of 10 GB that is not there", Box::new(cold_image), (132.0, 497.0), None),
    ];
    for (name, world, median, last) in cases {
        let all = cold_starts(world);
        assert!((median.0..=median.1).contains(&all[500]), "{name}: median {}", all[500]);
        if let Some(last) = last {
            assert!((last.0..=last.1).contains(&all[990]), "{name}: 99th percentile {}", all[990]);
        }
    }
}

#[test]
fn ten_replicas_that_load_from_one_store_share_it() {
    let mut world = world(gpt_j(0.0, 5.0), 1);
    world.fleet = fleet(10, 1, &a40());
    let mut hand = by_hand(world, arrivals(0, [1e5], CHAT));
    hand.apply((0..10).map(|one| start(one, one)).collect());
    let first_byte_s = hand.reaches(0, &Phase::Loading);
    let last_s = (0..10).map(|one| hand.reaches(one, &Phase::Ready)).fold(0.0, f64::max);
    assert!(last_s - first_byte_s >= 24.0, "{last_s} after {first_byte_s}");
    // Over a link of 1 GB/s, two on one node take as long as their bytes need, and one on another half of that.
    let mut world = self::world(gpt_j(0.0, 50.0), 1);
    world.fleet = fleet(2, 2, &a40());
    world.fleet.store_gb_s = 50.0;
    world.fleet.machines.iter_mut().for_each(|machine| machine.link_gb_s = 1.0);
    let mut hand = by_hand(world, arrivals(0, [1e5], CHAT));
    hand.apply(vec![start(0, 0), start(1, 0), start(2, 1)]);
    let ready: Vec<f64> = (0..3).map(|one| hand.reaches(one, &Phase::Ready)).collect();
    let close = |one: f64, other: f64| (one - other).abs() < 0.01;
    assert!(close(ready[0], 3.0 + 24.2 + 3.0) && close(ready[1], ready[0]), "{ready:?}");
    assert!(close(ready[2], 3.0 + 12.1 + 3.0), "{ready:?}");
}

#[test]
fn a_burst_on_one_warm_replica_waits_as_long_as_arithmetic_says() {
    let load = arrivals(0, vec![100.0; 100], Work::Duration(400_000));
    let mut hand = by_hand(world(gpt_j(5.7, 5.0), 1), load);
    hand.apply(vec![start(0, 0)]);
    hand.until(200.0);
    let summary = hand.sim.summary(TARGET.index());
    assert_eq!((summary.requests.served, summary.requests.waited), (100, 99));
    let waits = summary.wait_s;
    assert!((waits.p50 - 19.6).abs() < 0.02 && (waits.max - 39.6).abs() < 0.02, "{waits:?}");
}

#[test]
fn only_the_first_request_waits_for_what_only_the_first_waits_for() {
    let model = Model { warm_s: 6.0, ..gpt_j(5.7, 5.0) };
    let alone = Work::Tokens { prompt: 100, output: 1 };
    let times = |warm_s: f64| {
        let model = Model { warm_s, ..model.clone() };
        let mut hand = by_hand(world(model, 8), arrivals(0, [100.0, 101.0], alone));
        hand.apply(vec![start(0, 0)]);
        hand.until(130.0);
        let busy = hand.reports().iter().map(|report| report.values[0]).sum::<f64>();
        (hand.sim.summary(TARGET.index()).requests.served, busy)
    };
    let (cold, warm) = (times(6.0), times(0.0));
    assert_eq!((cold.0, warm.0), (2, 2));
    assert!((cold.1 - warm.1 - 6.0).abs() < 0.001, "{cold:?} {warm:?}");
}

#[test]
fn a_draining_replica_ends_what_it_has_and_takes_nothing_more() {
    let work = Work::Duration(20 * SECOND_US);
    let mut hand = by_hand(world(gpt_j(5.7, 5.0), 1), arrivals(0, [50.0, 55.0], work));
    hand.apply(vec![start(0, 0)]);
    hand.until(52.0);
    hand.apply(vec![drain(0)]);
    hand.until(80.0);
    let requests = hand.sim.summary(TARGET.index()).requests;
    assert_eq!((requests.served, requests.unfinished), (1, 1));
    // That it drains is no news that the engine is woken for.
    assert_snapshot!(hand.phases(), @r"
       0.000  1 nodes
       2.500  0 Pulling
       3.000  0 Loading
      13.222  0 Ready
      53.000  0 Draining
      55.000  waiting
      70.000  0 Gone
    ");
}

#[test]
fn grace_that_is_over_fails_what_a_draining_replica_still_has() {
    let mut world = world(gpt_j(5.7, 5.0), 1);
    world.services[0].grace_us = Some(5 * SECOND_US);
    let mut hand = by_hand(world, arrivals(0, [50.0], Work::Duration(20 * SECOND_US)));
    hand.apply(vec![start(0, 0)]);
    hand.until(52.0);
    hand.apply(vec![drain(0)]);
    assert_eq!(hand.reaches(0, &Phase::Gone), 57.0);
    let summary = hand.sim.summary(TARGET.index());
    assert_eq!((summary.requests.failed, summary.requests.served), (1, 0));
}

#[test]
fn waiting_and_running_requests_expire_and_leave_their_places_to_others() {
    let mut world = world(gpt_j(5.7, 5.0), 1);
    world.services[0].limits.timeout_us = Some(10 * SECOND_US);
    let load = sort(
        [
            arrivals(0, [50.0], Work::Duration(30 * SECOND_US)),
            arrivals(0, [51.0, 52.0], Work::Duration(9_500_000)),
        ]
        .concat(),
    );
    let mut hand = by_hand(world, load);
    hand.apply(vec![start(0, 0)]);
    hand.until(80.0);
    // The first runs out at 60 s; the second has 1 s of its 9.5 then; the third runs out while it waits or runs.
    let requests = hand.sim.summary(TARGET.index()).requests;
    assert_eq!((requests.expired, requests.served, requests.unfinished), (3, 0, 0));
}

#[test]
fn a_prompt_larger_than_the_cache_fails_and_weights_larger_than_the_gpu_never_get_ready() {
    let huge = Work::Tokens { prompt: 1_000_000, output: 1 };
    let mut hand = by_hand(world(llama_8b(), 8), arrivals(0, [100.0], huge));
    hand.apply(vec![start(0, 0)]);
    hand.until(101.0);
    assert_eq!(hand.sim.summary(TARGET.index()).requests.failed, 1);
    let model = Model { weights_gb: 60.0, ..llama_8b() };
    let mut hand = by_hand(world(model, 8), arrivals(0, [100.0], CHAT));
    hand.apply(vec![start(0, 0)]);
    hand.until(90.0);
    assert_snapshot!(hand.phases(), @r#"
       0.000  1 nodes
       2.500  0 Pulling
       3.000  0 Loading
      19.802  0 Failed { reason: "llama-3.1-8b has 60 GB of weights, and 1 × A40 keep 42.7 GB for them" }
    "#);
}

#[test]
fn started_minutes_are_billed_from_container_start_to_end() {
    let mut hand = by_hand(world(gpt_j(5.7, 5.0), 1), arrivals(0, [1e4], CHAT));
    hand.apply(vec![start(0, 0), start(1, 0)]);
    let started_s = hand.reaches(0, &Phase::Loading);
    assert_eq!(hand.sim.classes()[0].used, 2);
    hand.until(started_s + 60.0);
    let minute = 1.28 + 4.0 * 0.01 + 32.0 * 0.005;
    let cost = |hand: &ByHand, minutes: u64| {
        let summary = hand.sim.summary(TARGET.index());
        assert_eq!((summary.replica_minutes, summary.gpu_minutes), (minutes, minutes));
        assert_eq!(hand.sim.cost(TARGET.index()), summary.cost);
        assert!((summary.cost - minutes as f64 / 60.0 * minute).abs() < 1e-9, "{summary:?}");
    };
    cost(&hand, 2);
    hand.until(started_s + 61.0);
    hand.apply(vec![drain(1)]);
    hand.until(started_s + 500.0);
    cost(&hand, 2 + 9);
    assert_eq!(hand.sim.classes()[0].used, 1);
}

#[test]
fn a_plan_that_is_not_newer_than_the_last_is_refused() {
    let mut hand = by_hand(world(gpt_j(5.7, 5.0), 1), arrivals(0, [1e4], CHAT));
    hand.apply(vec![start(0, 0)]);
    let stale = Plan { generation: 1, actions: vec![start(1, 0)], ..Plan::default() };
    hand.sim.apply(&stale);
    hand.until(100.0);
    assert_eq!(hand.sim.summary(TARGET.index()).max_replicas, 1);
}

#[test]
fn offered_load_wakes_a_service_at_zero_and_is_reported_as_it_is() {
    let offered =
        |at_s: u64, concurrency| Item::Offered { at_us: at_s * SECOND_US, service: 0, concurrency };
    let load = vec![offered(300, 12.5), offered(840, 0.0)];
    let ran = run(world(gpt_j(5.7, 5.0), 10), load);
    assert_eq!(ran.summary("llama").requests.arrived, 0);
    assert!(ran.started().contains(&300.0), "{:?}", ran.started());
    let series = ran.concurrency("llama");
    assert!(series.iter().filter(|(_, value)| *value == 12.5).count() > 500, "{series:?}");
}

#[test]
fn a_lost_node_fails_what_ran_there_and_the_engine_starts_elsewhere_at_once() {
    let mut world = world(gpt_j(5.7, 5.0), 10);
    world.fleet = fleet(2, 1, &a40());
    world.bounds = Bounds { min: 1, max: 1, initial: 1 };
    world.services[0].settled_at = 1;
    let (node, at_seconds) = ("a40-000".to_owned(), 100.25);
    world.faults.faults = vec![Fault::NodeLost { node, at_seconds, back_at_seconds: Some(130.0) }];
    let ran =
        run(world, arrivals(0, (0..20).map(|n| 90.0 + f64::from(n)), Work::Duration(1_500_000)));
    assert_snapshot!(ran.told(), @r#"
       0.000  2 nodes
       0.000  wanted 1
       0.000  start 0 on node 0
       2.500  0 Pulling
       3.000  0 Loading
      13.222  0 Ready
     100.250  1 nodes
     100.250  0 Failed { reason: "node a40-000 was lost" }
     100.250  start 1 on node 0
     101.000  waiting
     102.750  1 Pulling
     103.250  1 Loading
     113.997  1 Ready
    "#);
    let requests = ran.summary("llama").requests;
    assert_eq!((requests.arrived, requests.served, requests.failed), (20, 18, 2));
}

#[test]
fn starts_that_always_fail_do_not_keep_a_run_going_for_ever() {
    let mut world = world(gpt_j(5.7, 5.0), 10);
    let fails = Fault::StartFails { service: "llama".into(), probability: 1.0 };
    world.faults.faults = vec![fails];
    world.bounds = Bounds { min: 1, max: 0, initial: 1 };
    let ran = run(world, arrivals(0, [10.0], CHAT));
    let summary = ran.summary("llama");
    assert_eq!((summary.requests.expired, summary.cold_starts), (1, 0));
    let last = ran.steps.last().expect("it ran").0.at;
    assert!(last.since(support::START) < 3 * 3_600_000, "{last}");
}

#[test]
fn about_as_many_starts_fail_as_a_fault_asks() {
    let fails = |probability| {
        let one = |ordinal| {
            let mut world = world(gpt_j(5.7, 5.0), 10);
            let fault = Fault::StartFails { service: "llama".into(), probability };
            world.faults.faults = vec![fault];
            let mut hand = by_hand(world, arrivals(0, [1e4], CHAT));
            hand.apply(vec![start(ordinal, 0)]);
            hand.until(200.0);
            hand.sim.summary(TARGET.index()).cold_starts == 0
        };
        (0..400).filter(|ordinal| one(*ordinal)).count()
    };
    assert_eq!((fails(0.0), fails(1.0)), (0, 400));
    assert!((80..=120).contains(&fails(0.25)), "{}", fails(0.25));
}

#[test]
fn faults_are_read_from_a_document_and_say_what_is_wrong_with_it() {
    let text = r#"{"faults": [
        {"nodeLost": {"node": "a40-000", "atSeconds": 600, "backAtSeconds": 1200}},
        {"startFails": {"service": "llama", "probability": 0.1}}
    ]}"#;
    let faults: Faults = serde_json::from_str(text).expect("faults");
    let refused = |faults: Vec<Fault>| -> String {
        let mut world = world(gpt_j(5.7, 5.0), 1);
        world.faults.faults = faults;
        let sim: Result<Sim<support::Load>, SimInputError> =
            Sim::new(input(world), Vec::new().into_iter());
        sim.err().map_or(String::new(), |error| error.to_string())
    };
    assert_eq!(refused(faults.faults), "");
    let lost = |node: &str, at_seconds, back_at_seconds| {
        vec![Fault::NodeLost { node: node.into(), at_seconds, back_at_seconds }]
    };
    let fails = |service: &str, probability| {
        vec![Fault::StartFails { service: service.into(), probability }]
    };
    for (faults, message) in [
        (lost("b", 1.0, None), "faults.0: the fleet has no node \"b\""),
        (
            lost("a40-000", -1.0, None),
            "faults.0.nodeLost.atSeconds: found -1, expected seconds since the start, 0 or more",
        ),
        (
            lost("a40-000", 2.0, Some(1.0)),
            "faults.0.nodeLost.backAtSeconds: found 1, expected a time after nodeLost.atSeconds",
        ),
        (fails("gptj", 0.5), "faults.0: there is no service \"gptj\""),
        (fails("llama", f64::NAN), "faults.0.startFails.probability: found NaN, expected 0 to 1"),
    ] {
        assert_eq!(refused(faults), message);
    }
}

#[test]
fn requests_from_zero_wait_for_one_cold_start_and_the_run_ends_when_the_last_replica_has_left() {
    let world = world(Model { engine_s: 5.0, ..llama_8b() }, 8);
    let ran = run(world, arrivals(0, (0..60).map(|second| 400.0 + f64::from(second)), CHAT));
    let summary = ran.summary("llama");
    assert_eq!((summary.requests.arrived, summary.requests.served), (60, 60));
    assert_eq!(ran.started()[..2], [0.0, 400.0], "the initial scale, and for the first request");
    assert_snapshot!(ran.told(), @r"
       0.000  1 nodes
       0.000  wanted 1
       0.000  start 0 on node 0
       2.500  0 Pulling
       3.000  0 Loading
      16.014  0 Ready
      76.000  wanted 0
      76.000  drain 0
      76.000  0 Gone
     400.000  waiting
     400.000  wanted 1
     400.000  start 1 on node 0
     402.500  1 Pulling
     403.000  1 Loading
     410.000  wanted 2
     410.000  start 2 on node 0
     412.500  2 Pulling
     413.000  2 Loading
     414.000  wanted 3
     414.000  start 3 on node 0
     416.500  3 Pulling
     416.539  1 Ready
     417.000  3 Loading
     420.000  wanted 4
     420.000  start 4 on node 0
     422.500  4 Pulling
     423.000  4 Loading
     425.442  2 Ready
     430.876  3 Ready
     435.641  4 Ready
     486.000  wanted 2
     486.000  drain 4
     486.000  drain 3
     486.000  4 Gone
     486.000  3 Gone
     488.000  wanted 1
     488.000  drain 2
     488.000  2 Gone
     524.000  wanted 0
     524.000  drain 1
     524.000  1 Gone
    ");
}

#[test]
fn a_run_ends_at_its_until_and_what_is_left_is_unfinished() {
    let mut world = world(llama_8b(), 1);
    world.until_s = Some(450);
    let ran = run(world, arrivals(0, (0..600).map(f64::from), CHAT));
    let requests = ran.summary("llama").requests;
    assert_eq!(ran.steps.last().expect("it ran").0.at, support::START + 450_000);
    assert_eq!(requests.arrived, 451);
    assert!(requests.unfinished > 0 && adds_up(&ran), "{requests:?}");
}

#[test]
fn a_run_ends_two_hours_after_its_load_where_replicas_stay_for_good() {
    let mut world = world(llama_8b(), 8);
    world.bounds = Bounds { min: 2, max: 0, initial: 1 };
    let ran = run(world, arrivals(0, [100.0], CHAT));
    let last_s = ran.steps.last().expect("it ran").0.at.since(support::START) / 1_000;
    assert!((7_200..7_500).contains(&last_s), "{last_s}: it does not know that two is the minimum");
    let mut world = self::world(llama_8b(), 8);
    world.bounds = Bounds { min: 2, max: 0, initial: 1 };
    world.services[0].settled_at = 2;
    let ran = run(world, arrivals(0, [100.0], CHAT));
    let last_s = ran.steps.last().expect("it ran").0.at.since(support::START) / 1_000;
    assert!((100..200).contains(&last_s), "{last_s}: it knows");
}

#[test]
fn every_second_is_reported_once_and_in_time_for_its_tick() {
    let ran = run(world(llama_8b(), 8), arrivals(0, [0.5, 300.25, 301.0, 1_000.0], CHAT));
    let mut last = 0;
    for (seen, _) in &ran.steps {
        for event in &seen.events {
            if let tidegate::engine::Event::Report(_, report) = event {
                // The first at zero comes at once, in the second that runs.
                let is_first = report.values[0] == 1.0 && report.second * 1_000 != seen.at.0;
                assert!(report.second > last || is_first, "{report:?} after {last}");
                let late_ms = seen.at.0 - report.second * 1_000;
                assert!(late_ms < support::TICK_MS, "{report:?} at {}", seen.at);
                last = report.second;
            }
        }
    }
    assert!(last > 0);
}

/// Whether every request of every service is accounted for.
fn adds_up(ran: &Ran) -> bool {
    (0..ran.names.len()).all(|index| {
        let requests = ran.sim.summary(index).requests;
        let sum = requests.served + requests.expired + requests.failed + requests.unfinished;
        requests.arrived == sum
    })
}

/// Everything that a run saw, planned and came to.
fn bytes(ran: &Ran) -> String {
    let steps = serde_json::to_string(&ran.steps).expect("it can be written");
    let summaries: Vec<_> = ran.names.iter().map(|name| ran.summary(name)).collect();
    format!("{steps}{summaries:?}{:?}", ran.sim.whole_summary())
}

/// A drawn world of three services and its load; `order` is how the services stand in it.
fn drawn(seed: u64, order: [u32; 3]) -> (World, Vec<Item>) {
    let mut draws = Seed::new("worlds").draws("world", "all", seed);
    let names = ["chat", "code", "tail"];
    let mut services = Vec::new();
    let mut load = Vec::new();
    for (number, name) in (0..).zip(names) {
        let mut one =
            service(name, gpt_j(5.7 * draws.uniform(), 5.0), (draws.uniform() * 6.0) as u32);
        one.model.max_sequences = 1 + (draws.uniform() * 8.0) as u32;
        one.limits.queue = (draws.uniform() * 60.0) as u32;
        one.limits.timeout_us = Some((draws.uniform() * 80e6) as u64 + 1);
        one.grace_us = (draws.uniform() < 0.5).then(|| (draws.uniform() * 20e6) as u64);
        services.push(one);
        let mut at_us = 0.0;
        let mean_us = 5e5 + 2e7 * draws.uniform() * draws.uniform();
        while at_us < 600e6 {
            at_us += draws.exponential(mean_us) * if draws.uniform() < 0.02 { 40.0 } else { 1.0 };
            let work = if draws.uniform() < 0.3 {
                Work::Duration((draws.exponential(3e6)) as u64)
            } else {
                let (prompt, output) = (draws.exponential(800.0), draws.exponential(120.0));
                Work::Tokens { prompt: prompt as u32, output: output as u32 }
            };
            let service = order.iter().position(|one| *one == number).expect("a permutation");
            load.push(Item::Arrival { at_us: at_us as u64, service: service as u32, work });
        }
    }
    let mut world = World::new(
        fleet(3, 2, &a40()),
        order.iter().map(|one| services[*one as usize].clone()).collect(),
    );
    let node = "a40-001".to_owned();
    world.faults.faults = vec![
        Fault::NodeLost { node, at_seconds: 600.0 * draws.uniform(), back_at_seconds: Some(650.0) },
        Fault::StartFails { service: "code".into(), probability: 0.3 },
    ];
    let by_time = |item: &Item| match item {
        Item::Arrival { at_us, .. } | Item::Offered { at_us, .. } => *at_us,
    };
    load.sort_by_key(by_time);
    (world, load)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_run_twice_and_with_services_in_another_order_gives_the_same_bytes(seed: u64) {
        let once = {
            let (world, load) = drawn(seed, [0, 1, 2]);
            run(world, load)
        };
        prop_assert!(adds_up(&once));
        let whole = once.sim.whole_summary();
        prop_assert!(whole.requests.served > 0 && whole.requests.unfinished == 0, "{:?}", whole);
        for order in [[0, 1, 2], [2, 0, 1], [1, 0, 2]] {
            let (world, load) = drawn(seed, order);
            prop_assert!(bytes(&run(world, load)) == bytes(&once), "{order:?}");
        }
    }
}

/// Poisson arrivals of `per_s` a second, dealt out to services in turn, without keeping them.
fn stream(
    count: u64,
    per_s: f64,
    services: u32,
    mean: (f64, f64),
) -> impl Iterator<Item = Result<Item, std::convert::Infallible>> {
    let mut draws = Seed::new("stream").draws("arrivals", "all", 0);
    let mut at_us = 0.0;
    (0..count).map(move |number| {
        at_us += draws.exponential(1e6 / per_s);
        let prompt = draws.exponential(mean.0) as u32;
        let output = draws.exponential(mean.1) as u32;
        let service = (number % u64::from(services)) as u32;
        Ok(Item::Arrival { at_us: at_us as u64, service, work: Work::Tokens { prompt, output } })
    })
}

/// Not a test: how fast a dense and a quiet load run, engine included and without it. `cargo test -- --ignored --nocapture`.
#[test]
#[ignore = "measures, and asserts nothing"]
#[expect(clippy::disallowed_methods, reason = "it measures wall time")]
fn speed_of_a_dense_and_of_a_quiet_load() {
    let services = |count: u32| {
        (0..count).map(|n| service(&format!("service-{n:02}"), llama_8b(), 8)).collect::<Vec<_>>()
    };
    for (name, count, per_s, how_many) in
        [("dense", 2_000_000, 300.0, 10), ("quiet", 86_400, 1.0, 1), ("idle", 60, 0.001, 26)]
    {
        let mut world = World::new(fleet(100, 8, &a40()), services(how_many));
        world.fleet.store_gb_s = 200.0;
        let (mut engine, mut sim) = set_up(world, stream(count, per_s, how_many, (500.0, 100.0)));
        let begun = std::time::Instant::now();
        let (mut wake_at, mut steps, mut engine_s) = (Time::ZERO, 0u64, 0.0);
        while let Some(seen) = sim.run_until(wake_at).expect("it goes on") {
            let before = std::time::Instant::now();
            let plan = engine.step(&seen);
            engine_s += before.elapsed().as_secs_f64();
            sim.apply(&plan);
            (wake_at, steps) = (plan.wake_at, steps + 1);
        }
        let all_s = begun.elapsed().as_secs_f64();
        let whole = sim.whole_summary();
        println!(
            "{name}: {} requests, {steps} steps, {} replicas at most: {all_s:.2} s, engine {engine_s:.2} s, simulator {:.0} ns a request",
            whole.requests.arrived,
            whole.max_replicas,
            (all_s - engine_s) * 1e9 / whole.requests.arrived as f64
        );
        println!("  {whole:?} {:?}", sim.summary(0).requests);
    }
}
