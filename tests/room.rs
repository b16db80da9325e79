//! One GPU, several models: idle replicas make room for a service that waits.

#[expect(dead_code, reason = "what other tests of the simulator need")]
mod support;

use insta::assert_snapshot;
use support::{World, a40, arrivals, fleet, llama_8b, run, service};
use tidegate::definitions::model::Model;
use tidegate::engine::Bounds;
use tidegate::trace::{Item, Work};

const CHAT: Work = Work::Tokens { prompt: 200, output: 100 };

/// Two models that fit one at a time, each kept for an hour after its last request.
fn world(min: u32) -> World {
    let quick = || Model { engine_s: 5.0, ..llama_8b() };
    let mut world = World::new(
        fleet(1, 1, &a40()),
        vec![service("amber", quick(), 8), service("blue", quick(), 8)],
    );
    world.bounds = Bounds { min, max: 1, initial: 0 };
    world.annotations = serde_json::json!({
        "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "1h"
    });
    world.until_s = Some(900);
    world
}

/// A request for amber, one for blue while amber idles, and one for amber again.
fn in_turns() -> Vec<Item> {
    let mut load = arrivals(0, [100.0, 500.0], CHAT);
    load.extend(arrivals(1, [200.0], CHAT));
    load.sort_by_key(|item| match item {
        Item::Arrival { at_us, .. } | Item::Offered { at_us, .. } => *at_us,
    });
    load
}

#[test]
fn an_idle_replica_leaves_for_a_service_that_waits_whatever_its_retention() {
    let ran = run(World { makes_room: true, ..world(0) }, in_turns());
    for (name, arrived) in [("amber", 2), ("blue", 1)] {
        let requests = ran.summary(name).requests;
        assert_eq!((requests.arrived, requests.served), (arrived, arrived), "{name}");
    }
    assert_snapshot!(ran.told(), @r"
      0.000  1 nodes
      0.000  wanted 0
      0.000  wanted 0
    100.000  waiting
    100.000  wanted 1
    100.000  start 0 on node 0
    102.500  0 Pulling
    103.000  0 Loading
    115.673  0 Ready
    200.000  waiting
    200.000  wanted 0
    200.000  wanted 1
    200.000  drain 0
    200.000  0 Gone
    200.000  start 0 on node 0
    202.500  0 Pulling
    203.000  0 Loading
    234.482  0 Ready
    500.000  waiting
    500.000  wanted 1
    500.000  wanted 0
    500.000  drain 0
    500.000  0 Gone
    500.000  start 1 on node 0
    502.500  1 Pulling
    503.000  1 Loading
    516.500  1 Ready
    ");
}

#[test]
fn without_that_the_service_waits_until_its_deadline() {
    let ran = run(world(0), in_turns());
    let requests = ran.summary("blue").requests;
    assert_eq!((requests.arrived, requests.expired), (1, 1));
}

#[test]
fn a_minimum_is_left_alone() {
    let ran = run(World { makes_room: true, ..world(1) }, in_turns());
    let requests = ran.summary("blue").requests;
    assert_eq!((requests.arrived, requests.expired), (1, 1));
    assert!(ran.steps.iter().all(|(_, plan)| plan.yielded.is_empty()));
}

#[test]
fn whoever_has_requests_is_left_alone() {
    // amber is asked every second, and each answer takes longer than that.
    let mut load = arrivals(0, (0..200).map(|second| 100.0 + f64::from(second)), CHAT);
    load.extend(arrivals(1, [200.5], CHAT));
    load.sort_by_key(|item| match item {
        Item::Arrival { at_us, .. } | Item::Offered { at_us, .. } => *at_us,
    });
    let ran = run(World { makes_room: true, ..world(0) }, load);
    let amber = ran.summary("amber").requests;
    assert_eq!(amber.served, 200, "{amber:?}");
    let yielded: Vec<f64> = ran
        .steps
        .iter()
        .filter(|(_, plan)| !plan.yielded.is_empty())
        .map(|(seen, _)| seen.at.since(support::START) as f64 / 1e3)
        .collect();
    assert_eq!(yielded.len(), 1);
    assert!(yielded[0] > 300.0, "amber had requests until then: {yielded:?}");
}
