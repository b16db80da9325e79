use std::convert::Infallible;

use super::*;
use crate::trace::synth::Part;

fn ground() -> Ground {
    Ground {
        services: vec!["chat".into(), "code".into()],
        nodes: vec!["a".into(), "b".into()],
        longest: Span::of_s(3_600),
        highest_rate: 100.0,
    }
}

/// A hunt for whatever `breaks` says no to.
fn found(seed: &str, breaks: impl Fn(&Try) -> bool) -> Option<Found> {
    let breach = || Breach { promise: "it holds".into(), seen: String::new() };
    let mut run = |tried: &Try| Ok::<_, Infallible>(breaks(tried).then(breach));
    match hunt(&ground(), &Seed::new(seed), 200, &mut run, &mut |_| {}) {
        Ok(found) => found,
        Err(never) => match never {},
    }
}

fn highest(tried: &Try, service: &str) -> f64 {
    let Some(load) = tried.load.services().get(service) else { return 0.0 };
    let end_us = tried.load.length().us();
    (0..end_us).step_by(1_000_000).map(|at_us| load.shape.rate_at(at_us)).fold(0.0, f64::max)
}

#[test]
fn what_breaks_is_made_as_small_as_it_still_breaks() {
    let found = found("tide", |tried| highest(tried, "chat") > 20.0).expect("some load is as high");
    insta::assert_snapshot!(serde_json::to_string(&found.smallest.load).expect("it is text"), @r#"{"for":"1s","services":{"chat":{"shape":"constant:50"}}}"#);
    assert_eq!(found.smallest.faults.faults, []);
    assert!(found.shrinks.1 > 0);
}

#[test]
fn a_fault_that_matters_stays() {
    let is_lost = |fault: &crate::backend::sim::Fault| matches!(fault, crate::backend::sim::Fault::NodeLost { node, .. } if node == "b");
    let found =
        found("tide", |tried| tried.faults.faults.iter().any(is_lost)).expect("it is drawn");
    assert_eq!(found.smallest.faults.faults.len(), 1);
    assert_eq!(found.smallest.load.services().len(), 1);
    assert!(found.smallest.load.length() < Span::of_s(60));
}

#[test]
fn the_same_seed_finds_the_same_and_what_holds_is_not_found() {
    let breaks = |tried: &Try| highest(tried, "code") > 50.0;
    assert_eq!(found("tide", breaks), found("tide", breaks));
    assert_ne!(found("tide", breaks), found("ebb", breaks));
    assert_eq!(found("tide", |_| false), None);
}

#[test]
fn another_promise_is_not_taken_for_the_one_that_was_broken() {
    let mut run = |tried: &Try| {
        let promise = if highest(tried, "chat") > 20.0 { "high" } else { "low" };
        Ok::<_, Infallible>(Some(Breach { promise: promise.into(), seen: String::new() }))
    };
    let found = hunt(&ground(), &Seed::new("tide"), 1, &mut run, &mut |_| {});
    let found = found.expect("it runs").expect("everything breaks");
    let is_high = highest(&found.smallest, "chat") > 20.0;
    assert_eq!(found.breach.promise == "high", is_high);
}

#[test]
fn every_try_is_one_that_can_be_played() {
    let (ground, seed) = (ground(), Seed::new("tide"));
    for round in 0..300 {
        let tried = draw::draw(&ground, &mut seed.draws("fuzz", "", round));
        assert!(tried.load.length() <= ground.longest);
        for load in tried.load.services().values() {
            for part in load.shape.parts() {
                let Part::Constant { rate } = part else { continue };
                assert!(*rate > 0.0 && *rate <= ground.highest_rate);
            }
        }
        let before = shrink::smaller(&tried);
        assert!(before.iter().all(|smaller| *smaller != tried), "a step takes something away");
    }
}
