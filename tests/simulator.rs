//! The simulator under the engine with the built-in policies: whole runs, from the first arrival until the last replica has left.

mod support;

use support::{World, a40, arrivals, fleet, llama_8b, run, service, set_up};
use tidegate::backend::Backend as _;
use tidegate::engine::{Phase, TargetId};
use tidegate::seed::Seed;
use tidegate::time::Time;
use tidegate::trace::{Item, Work};

const CHAT: Work = Work::Tokens { prompt: 500, output: 100 };

#[test]
fn requests_from_zero_wait_for_one_cold_start_and_all_are_served() {
    let world = World::new(fleet(1, 8, &a40()), vec![service("llama", llama_8b(), 8)]);
    let ran = run(world, arrivals(0, (0..60).map(|second| 400.0 + f64::from(second)), CHAT));
    let summary = ran.summary("llama");
    assert_eq!((summary.requests.arrived, summary.requests.served), (60, 60));
    assert_eq!(ran.started()[..2], [0.0, 400.0], "the initial scale, and for the first request");
    let ready = ran.reached(|phase| *phase == Phase::Ready);
    assert_eq!(ready.len() as u64, summary.cold_starts);
    let gone = ran.reached(|phase| *phase == Phase::Gone);
    assert_eq!(gone.len(), ready.len());
    println!("{summary:?} {ready:?} {gone:?} {:?}", ran.started());
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
        println!("  {whole:?} {:?}", sim.summary(TargetId(0)).requests);
    }
}
