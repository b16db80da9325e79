//! What a restored engine has, with policies that are plain Rust. That its plans are those of the old one is tested on recorded
//! load in `tests/snapshot.rs`.

use std::sync::Arc;

use super::super::tests::scripted::*;
use super::super::*;
use super::{Snapshot, causes, number};
use crate::policy::wire::{Causes, Source, Window as WindowWanted};

fn again(snapshot: &Snapshot) -> Snapshot {
    let text = serde_json::to_string(snapshot).expect("it is written to memory");
    let read = serde_json::from_str(&text).expect("it is read");
    assert_eq!(*snapshot, read);
    read
}

#[test]
fn causes_come_back_by_their_bits() {
    for set in 0..32 {
        assert_eq!(number(causes(set)), set);
    }
    assert_eq!(number(Causes::all()), 31, "a new cause needs a bit");
}

#[test]
fn a_target_that_is_new_begins_and_one_that_is_gone_is_told_with_its_replicas() {
    let mut old = one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 5, 2), spec("b", 0, 5, 1)]);
    old.step(0, vec![nodes(8)]);
    let snapshot = again(&old.engine.snapshot());
    let mut new = one_stage(as_many, OnFailure::Hold, vec![spec("b", 0, 5, 1), spec("c", 0, 5, 1)]);
    let now = START + SECOND;
    let restored = new.engine.restore(now, &snapshot).expect("it goes on");
    assert_eq!(restored.new_targets, [TargetName::of_service("c")]);
    let gone: Vec<_> =
        restored.gone.iter().map(|gone| (gone.target.to_string(), gone.replicas)).collect();
    assert_eq!(gone, [("a".to_owned(), 2)]);
    assert_eq!(restored.wakes_at, now, "it has come already");
    // The replica of b is there, under its ordinal, and is not started again; c's is.
    assert_eq!(new.step(2, Vec::new()), "start 1/0 1: -→1 wake never");
}

#[test]
fn a_window_that_nobody_had_is_filled_from_the_seconds_that_were_kept() {
    let with = |span_s, keeps_s| {
        let heard: Heard = Arc::default();
        let window = WindowWanted { signal: "arrivals".into(), span_s, averaging: "linear".into() };
        let inputs = vec![Source::Window(window)];
        let stages = vec![stage(&heard, "first", Causes::TICK, inputs, as_many, OnFailure::Hold)];
        let mut bench = bench(stages, heard, vec![spec("a", 0, 9, 1)]);
        bench.engine.options.keeps_s = keeps_s;
        bench
    };
    let mut old = with(2, 10);
    old.step(0, vec![nodes(8)]);
    for s in 1..9 {
        old.step(s, vec![report(0, s, s as f64)]);
    }
    let snapshot = again(&old.engine.snapshot());
    for (keeps_s, mean) in [(10, 5.5), (0, 5.5)] {
        let mut new = with(6, keeps_s);
        new.engine.restore(START + 8 * SECOND, &snapshot).expect("it goes on");
        assert_eq!(new.engine.targets[0].windows[0].average(START.second() + 8), Some(mean));
        assert_eq!(new.engine.targets[0].recent.seconds().count(), keeps_s.min(8) as usize);
    }
    // Without them, the window of the same signal is taken up, as far as it reaches.
    let mut blind = with(2, 0);
    blind.step(0, vec![nodes(8)]);
    for s in 1..9 {
        blind.step(s, vec![report(0, s, s as f64)]);
    }
    let mut new = with(6, 0);
    new.engine.restore(START + 8 * SECOND, &blind.engine.snapshot()).expect("it goes on");
    assert_eq!(new.engine.targets[0].windows[0].average(START.second() + 8), Some(7.5));
}

#[test]
fn a_stage_that_is_new_begins_with_what_stood_at_its_place_and_is_asked_at_once() {
    fn more(_: u64, _: Causes, inputs: &[f64]) -> Option<Said> {
        Some(Said { wanted: inputs[0] as u32 + 1, ..Said::default() })
    }
    let specs = || vec![spec("a", 0, 9, 1)];
    let mut old = one_stage(as_many, OnFailure::Hold, specs());
    old.step(0, vec![nodes(9)]);
    old.step(2, vec![phase(0, 0, Phase::Ready), report(0, 2, 3.0)]);
    let heard: Heard = Arc::default();
    let stages = vec![
        stage(
            &heard,
            "first",
            Causes::TICK | Causes::POKE,
            vec![window()],
            as_many,
            OnFailure::Hold,
        ),
        stage(&heard, "second", Causes::CREATED, vec![proposal()], more, OnFailure::Skip),
    ];
    let mut new = bench(stages, heard, specs());
    let now = START + 3 * SECOND;
    let restored = new.engine.restore(now, &again(&old.engine.snapshot())).expect("it goes on");
    assert_eq!(restored.new_stages, ["second"]);
    assert_eq!(restored.wakes_at, now);
    assert_eq!(new.engine.stage(TargetId(0), "second").expect("it is there").wanted, Some(3));
    assert_eq!(new.step(3, Vec::new()), "start 0/3 0: 3→4 wake 4s");
}

#[test]
fn a_pin_holds_against_policies_and_bounds_is_told_and_ends_by_itself_in_any_engine() {
    let pin = |replicas, s: u64| {
        vec![Event::Pin { target: TargetId(0), replicas, until: START + s * SECOND }]
    };
    let fresh = || one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 5, 1)]);
    let mut bench = fresh();
    bench.step(0, vec![nodes(20)]);
    bench.step(2, vec![phase(0, 0, Phase::Ready), report(0, 2, 2.0)]);
    assert_eq!(
        bench.step(3, pin(7, 9)),
        "start 0/2 start 0/3 start 0/4 start 0/5 start 0/6 0: 2→7 (Pinned 2→7) wake 4s"
    );
    assert_eq!(bench.engine.pin(TargetId(0)).map(|pin| pin.replicas), Some(7));
    assert_eq!(bench.step(4, vec![report(0, 4, 4.0)]), "wake 6s", "what policies say is nothing");
    let mut next = fresh();
    next.engine.restore(START + 5 * SECOND, &again(&bench.engine.snapshot())).expect("it goes on");
    assert_eq!(next.step(8, vec![report(0, 8, 2.0)]), "wake 9s", "it wakes for the end of the pin");
    assert_eq!(
        next.step(9, Vec::new()),
        "drain 0/6 drain 0/5 drain 0/4 drain 0/3 drain 0/2 0: 7→2 wake 10s"
    );
    assert_eq!(next.engine.pin(TargetId(0)), None);
    // By hand it ends at once, and a target can be held at zero.
    assert_eq!(next.step(9, pin(0, 99)), "drain 0/1 drain 0/0 0: 2→0 (Pinned 2→0) wake 10s");
    let line = next.step(9, vec![Event::Waiting(TargetId(0)), report(0, 9, 5.0)]);
    assert_eq!(line, "wake 10s");
    assert_eq!(
        next.step(9, vec![Event::Unpin(TargetId(0))]),
        "start 0/7 start 0/8 0: 0→2 wake 10s"
    );
}

#[test]
fn what_cannot_be_is_refused_and_never_panics() {
    let mut bench = one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 5, 1)]);
    bench.step(0, vec![nodes(8)]);
    bench.step(2, vec![phase(0, 0, Phase::Ready), report(0, 2, 2.0)]);
    let text = serde_json::to_string(&bench.engine.snapshot()).expect("it is written to memory");
    let told = |from: &str, to: &str| {
        let wrong = text.replacen(from, to, 1);
        assert_ne!(wrong, text, "{from}");
        let snapshot: Snapshot = match serde_json::from_str(&wrong) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                return error.to_string().split(" at line").next().unwrap_or("").to_owned();
            }
        };
        let mut fresh = one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 5, 1)]);
        fresh.engine.restore(START, &snapshot).expect_err("it cannot be").to_string()
    };
    insta::assert_snapshot!(told("\"format\":1", "\"format\":2"), @"the snapshot is of format 2, and this program reads 1");
    insta::assert_snapshot!(told("\"node\":0", "\"node\":5"), @"the snapshot is out of order: a replica of a is on a node that is not in it");
    insta::assert_snapshot!(told("\"started\":[[\"a\"]]", "\"started\":[]"), @"the snapshot is out of order: it has 1 nodes and says of 0 what was started there");
    insta::assert_snapshot!(told("\"spanS\":4", "\"spanS\":4000000000"), @"the snapshot is out of order: a window of a");
    insta::assert_snapshot!(told("\"nextOrdinal\":2", "\"nextOrdinal\":1"), @"replicas are out of order");
    insta::assert_snapshot!(told("\"generation\"", "\"generatoin\""), @"unknown field `generatoin`, expected one of `format`, `at`, `wakesAt`, `generation`, `tickMs`, `stages`, `placement`, `words`, `ground`, `targets`");
}
