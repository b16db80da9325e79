//! The engine's own rules, with policies that are plain Rust.

pub(super) mod scripted;

use std::sync::{Arc, Mutex};

use super::*;
use crate::policy::wire::{
    Batch, Births, Candidates, Causes, Explanation, Inheritance, PlacementInput, PlacementProgram,
    Program, Request, Scope, Source, States, Window,
};
use crate::policy::{Answer, BindError, CallError, PlacementPolicy, ScalingPolicy};
use scripted::*;

#[test]
fn the_initial_scale_is_started_first_and_the_load_decides_from_then_on() {
    let mut bench = one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 5, 1)]);
    assert_eq!(bench.step(0, vec![nodes(8)]), "start 0/0 0: -→1 wake 2s");
    assert_eq!(
        bench.step(2, vec![phase(0, 0, Phase::Ready), report(0, 1, 3.0), report(0, 2, 2.0)]),
        "start 0/1 start 0/2 0: 1→3 wake 4s"
    );
    assert_eq!(
        bench.step(4, vec![report(0, 3, 30.0), report(0, 4, 90.0)]),
        "start 0/3 start 0/4 0: 3→5 (Max 32→5) wake 6s"
    );
}

#[test]
fn a_settled_plan_stays_settled() {
    let mut bench = one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 5, 1)]);
    bench.step(0, vec![nodes(8)]);
    bench.step(2, vec![phase(0, 0, Phase::Ready), report(0, 2, 3.0)]);
    for _ in 0..3 {
        assert_eq!(bench.step(2, Vec::new()), "wake 4s");
    }
}

#[test]
fn ticks_are_spared_while_windows_are_empty_and_come_back_on_the_grid() {
    let mut bench = one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 5, 1)]);
    bench.step(0, vec![nodes(8)]);
    assert_eq!(
        bench.step(2, Vec::new()),
        "wake never",
        "asked once, it said that it may be spared"
    );
    assert_eq!(bench.step(7, vec![report(0, 7, 2.0)]), "wake 8s");
    assert_eq!(bench.step(8, vec![report(0, 8, 2.0)]), "start 0/1 0: 1→2 wake 10s");
    assert_eq!(bench.heard(), "first@200000[NaN] first@208000[2.0]".replace("200000", "202000"));
}

#[test]
fn a_late_tick_is_not_lost() {
    let mut bench = one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 5, 1)]);
    bench.step(0, vec![nodes(8), report(0, 0, 1.0)]);
    assert_eq!(bench.step(5, vec![report(0, 5, 3.0)]), "start 0/1 start 0/2 0: 1→3 wake 6s");
}

#[test]
fn a_poke_is_answered_at_zero_only() {
    let mut bench = one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 5, 0)]);
    assert_eq!(bench.step(0, vec![nodes(8)]), "0: -→0 wake 2s");
    assert_eq!(
        bench.step(1, vec![report(0, 1, 1.0), Event::Waiting(TargetId(0))]),
        "wake 2s",
        "nothing was decided yet: not zero"
    );
    assert_eq!(bench.step(2, vec![report(0, 2, 0.0)]), "start 0/0 0: 0→1 wake 4s");
    for s in [4, 6, 8] {
        bench.step(s, vec![report(0, s, 0.0)]);
    }
    assert_eq!(bench.engine.view(TargetId(0)).desired, 0);
    assert_eq!(
        bench.step(9, vec![report(0, 9, 1.0), Event::Waiting(TargetId(0))]),
        "start 0/1 0: 0→1 wake 10s"
    );
}

#[test]
fn what_replicas_say_of_themselves_does_not_poke() {
    let mut bench = one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 5, 0)]);
    bench.step(0, vec![nodes(8), report(0, 0, 0.0)]);
    bench.step(2, Vec::new());
    let scraped = |event| match event {
        Event::Report(id, report) => Event::Scraped(id, report),
        other => other,
    };
    assert_eq!(bench.step(3, vec![scraped(report(0, 3, 9.0))]), "wake 4s");
    assert_eq!(bench.step(4, Vec::new()), "start 0/0 start 0/1 start 0/2 0: 0→3 wake 6s");
}

#[test]
fn an_extra_decision_leaves_the_tick_of_its_moment_due() {
    fn counts(_: u64, causes: Causes, inputs: &[f64]) -> Option<Said> {
        let wanted = inputs[0] as u32 + 2 * u32::from(causes.contains(Causes::POKE));
        Some(Said { wanted, ..Said::default() })
    }
    let mut bench = one_stage(counts, OnFailure::Hold, vec![spec("a", 0, 5, 1)]);
    bench.step(0, vec![nodes(8), report(0, 0, 1.0)]);
    let at = |s: u64| Observation { at: START + s * SECOND, ..Observation::default() };
    let id = TargetId(0);
    bench.engine.step_before_ticks(&at(2), &[]);
    assert_eq!(bench.engine.stage(id, "first").expect("it is there").wanted, None);
    bench.engine.step_before_ticks(&at(2), &[id]);
    assert_eq!(bench.engine.stage(id, "first").expect("it is there").wanted, Some(3));
    bench.step(2, Vec::new());
    assert_eq!(bench.engine.stage(id, "first").expect("it is there").wanted, Some(1));
}

#[test]
fn a_second_stage_hears_proposals_within_bounds_and_facts_and_its_own_timers() {
    fn second(at_ms: u64, causes: Causes, inputs: &[f64]) -> Option<Said> {
        let timer = if causes.contains(Causes::TIMER) { 0 } else { at_ms + 3 * SECOND };
        Some(Said {
            wanted: inputs[0].max(1.0) as u32,
            leave: inputs[0].is_nan(),
            next_at_ms: timer,
            output: inputs[1],
        })
    }
    let heard = Arc::default();
    let stages = vec![
        stage(&heard, "first", Causes::TICK, vec![window()], as_many, OnFailure::Hold),
        stage(
            &heard,
            "second",
            Causes::CREATED | Causes::CHANGE | Causes::TIMER,
            vec![proposal(), fact("ready-replicas")],
            second,
            OnFailure::Skip,
        ),
    ];
    let mut bench = bench(stages, heard, vec![spec("a", 0, 4, 1)]);
    let mut lines = String::new();
    for (s, events) in [
        (0, vec![nodes(8)]),
        (1, vec![phase(0, 0, Phase::Ready)]),
        (2, vec![report(0, 2, 9.0)]),
        (4, vec![report(0, 4, 9.0)]),
        (5, vec![]),
    ] {
        let plan = bench.step(s, events);
        lines += &format!(
            "{s}s {plan}\n   {}\n",
            bench.heard().replace("first@20", "first@").replace("second@20", "second@")
        );
    }
    insta::assert_snapshot!(lines, @r"
    0s start 0/0 0: -→1 wake 2s
       second@0000[NaN, 0.0] second@0000[NaN, 0.0]
    1s wake 2s
       second@1000[NaN, 1.0] second@1000[NaN, 1.0]
    2s start 0/1 start 0/2 start 0/3 0: 1→4 (Max 9→4) wake 4s
       first@2000[9.0] second@2000[4.0, 1.0] second@2000[4.0, 1.0]
    4s wake 5s
       first@4000[6.0]
    5s wake 6s
       second@5000[4.0, 1.0]
    ");
}

#[test]
fn failing_policies_hold_and_never_mean_zero_and_are_put_aside_after_five() {
    let mut bench = one_stage(|_, _, _| None, OnFailure::Hold, vec![spec("a", 0, 5, 2)]);
    let mut lines = bench.step(0, vec![nodes(8)]) + "\n";
    for s in [2, 4, 6, 8, 10, 11, 12, 14] {
        lines += &format!("{s}s {}\n", bench.step(s, vec![report(0, s, 0.0)]));
    }
    insta::assert_snapshot!(lines, @r"
    start 0/0 start 0/1 0: -→2 wake 2s
    2s [first failed: no answer for want of one, hold] wake 4s
    4s [first failed: no answer for want of one, hold] wake 6s
    6s [first failed: no answer for want of one, hold] wake 8s
    8s [first failed: no answer for want of one, hold] wake 10s
    10s [first failed: no answer for want of one, hold, aside until 11s] wake 12s
    11s wake 12s
    12s [first failed: no answer for want of one, hold, aside until 14s] wake 14s
    14s [first failed: no answer for want of one, hold, aside until 18s] wake 16s
    ");
}

#[test]
fn a_change_names_the_policy_that_decided_be_it_the_one_that_stands_in() {
    let heard = Arc::default();
    let scripted = |name, says: Says| {
        let heard = Arc::clone(&heard);
        Box::new(Scripted {
            causes: Causes::TICK,
            inputs: vec![window()],
            says,
            heard,
            name,
            scope: Scope::Target,
        })
    };
    let stage =
        Stage::with_fallback("first", scripted("own", |_, _, _| None), scripted("other", as_many));
    let mut bench = bench(vec![stage], Arc::clone(&heard), vec![spec("a", 0, 5, 1)]);
    let mut digest = |s: u64, events: Vec<Event>| {
        let seen = Observation { at: START + s * SECOND, events, in_flight: Vec::new() };
        bench.engine.step(&seen).changes[0].stages[0].digest.clone()
    };
    assert_eq!(digest(0, vec![nodes(8)]), "own", "nobody has decided yet");
    assert_eq!(digest(2, vec![report(0, 2, 3.0)]), "other");
    let policies = bench.engine.policies();
    assert_eq!(
        (policies[0].digest.as_str(), policies[0].fallback.as_deref()),
        ("own", Some("other"))
    );
}

#[test]
fn a_request_that_waits_at_zero_gets_its_activation_scale_though_every_policy_fails() {
    let mut activated = spec("a", 0, 5, 0);
    activated.activation = 2;
    let mut bench = one_stage(|_, _, _| None, OnFailure::Hold, vec![activated]);
    bench.step(0, vec![nodes(8)]);
    bench.step(2, Vec::new());
    let waiting = Event::Waiting(TargetId(0));
    assert_eq!(bench.step(3, vec![waiting]), "start 0/0 start 0/1 0: 0→2 (Activation 0→2) wake 4s");
}

#[test]
fn an_activation_scale_stays_until_a_policy_answers_again() {
    fn answers_at_first_and_in_the_end(at_ms: u64, _: Causes, _: &[f64]) -> Option<Said> {
        let s = (at_ms - START.0) / SECOND;
        (s <= 2 || s >= 8).then_some(Said::default())
    }
    let mut bench =
        one_stage(answers_at_first_and_in_the_end, OnFailure::Hold, vec![spec("a", 0, 5, 0)]);
    let waiting = || Event::Waiting(TargetId(0));
    let lines = [
        bench.step(0, vec![nodes(8)]),
        bench.step(2, Vec::new()),
        bench.step(3, vec![waiting()]),
        bench.step(5, vec![phase(0, 0, Phase::Ready), report(0, 5, 1.0)]),
        bench.step(6, vec![report(0, 6, 1.0)]),
        bench.step(8, vec![report(0, 8, 0.0)]),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    0: -→0 wake 2s
    wake 4s
    start 0/0 0: 0→1 (Activation 0→1) [first failed: no answer for want of one, hold] wake 4s
    [first failed: no answer for want of one, hold] wake 6s
    [first failed: no answer for want of one, hold] wake 7s
    drain 0/0 0: 1→0 wake 10s
    ");
}

#[test]
fn a_tick_is_not_spared_where_a_fact_reads_differently() {
    fn on_facts_only(_: u64, _: Causes, inputs: &[f64]) -> Option<Said> {
        Some(Said { wanted: inputs[0] as u32, next_at_ms: u64::MAX, ..Said::default() })
    }
    let heard = Arc::default();
    let inputs = vec![fact("waiting")];
    let stages = vec![stage(&heard, "first", Causes::TICK, inputs, on_facts_only, OnFailure::Hold)];
    let mut bench = bench(stages, heard, vec![spec("a", 0, 5, 0)]);
    bench.step(0, vec![nodes(8)]);
    assert_eq!(bench.step(2, Vec::new()), "wake never", "it stands as long as nobody waits");
    assert_eq!(bench.step(3, vec![Event::Waiting(TargetId(0))]), "wake 4s");
    assert_eq!(bench.step(4, Vec::new()), "start 0/0 0: 0→1 wake never");
}

#[test]
fn a_policy_that_was_put_aside_is_left_alone_until_its_time_is_over() {
    let heard = Arc::default();
    let inputs = vec![fact("ready-replicas")];
    let causes = Causes::CREATED | Causes::CHANGE | Causes::TICK;
    let stages = vec![stage(&heard, "first", causes, inputs, |_, _, _| None, OnFailure::Hold)];
    let mut bench = bench(stages, heard, vec![spec("a", 0, 5, 1)]);
    let mut lines = bench.step(0, vec![nodes(8)]) + "\n";
    for s in [2, 4, 6, 8] {
        lines += &format!("{s}s {}\n", bench.step(s, Vec::new()));
    }
    lines += &format!("ready {}\n", bench.step(8, vec![phase(0, 0, Phase::Ready)]));
    insta::assert_snapshot!(lines, @r"
    start 0/0 0: -→1 [first failed: no answer for want of one, hold] wake 2s
    2s [first failed: no answer for want of one, hold] wake 4s
    4s [first failed: no answer for want of one, hold] wake 6s
    6s [first failed: no answer for want of one, hold] wake 8s
    8s [first failed: no answer for want of one, hold, aside until 9s] wake 9s
    ready wake 9s
    ");
}

#[test]
fn an_output_that_only_another_services_settings_give_is_missing() {
    let stages = || {
        let heard: Arc<Mutex<String>> = Arc::default();
        let later = vec![Source::Output("first-output".into())];
        let mut first = Scripted {
            causes: Causes::TICK,
            inputs: vec![window()],
            says: as_many,
            heard: heard.clone(),
            name: "first",
            scope: Scope::Target,
        };
        // The program for one document gives no output; that for another does.
        struct Moody(Scripted);
        impl ScalingPolicy for Moody {
            fn digest(&self) -> &str {
                self.0.digest()
            }
            fn bind(&mut self, settings: &str) -> Result<Program, BindError> {
                let mut program = self.0.bind(settings)?;
                if settings == "silent" {
                    program.outputs.clear();
                }
                Ok(program)
            }
            fn init(&mut self, born: &Births) -> Result<States, CallError> {
                self.0.init(born)
            }
            fn decide(&mut self, seen: &Batch, columns: usize) -> Answer {
                self.0.decide(seen, columns)
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
        first.name = "first";
        let second = stage(&heard, "second", Causes::CHANGE, later, as_many, OnFailure::Skip);
        vec![Stage::new("first", Box::new(Moody(first)), OnFailure::Hold), second]
    };
    let options = Options {
        tick_ms: 2 * SECOND,
        explains: false,
        gateway_is_always_in_path: true,
        ..Options::default()
    };
    let mut engine =
        Engine::new(options, stages(), Box::new(FirstFit), None).expect("it says what it wants");
    let with = |name: &str, settings: &str| TargetSpec {
        scaling_settings: vec![settings.to_owned(), String::new()],
        ..spec(name, 0, 5, 1)
    };
    let error = engine.add_targets(START, vec![with("a", "telling"), with("b", "silent")]);
    assert_eq!(
        error.expect_err("b's program gives nothing").to_string(),
        "second requires the output first-output for b, but no earlier stage gives it"
    );
}

#[test]
fn targets_of_a_service_are_decided_together_whichever_of_them_is_due() {
    let heard: Arc<Mutex<String>> = Arc::default();
    let grouped = Scripted {
        causes: Causes::CHANGE,
        inputs: vec![fact("ready-replicas")],
        says: |_, _, _| Some(Said { wanted: 1, ..Said::default() }),
        heard: heard.clone(),
        name: "grouped",
        scope: Scope::Group,
    };
    let stages = vec![Stage::new("grouped", Box::new(grouped), OnFailure::Hold)];
    let pool = |service: &str, pool: &str| {
        let mut spec = spec(service, 0, 5, 1);
        spec.name.pool = pool.into();
        spec
    };
    let specs = vec![pool("a", "h100"), pool("a", "spot"), pool("b", "h100")];
    let mut bench = bench(stages, heard, specs);
    bench.step(0, vec![nodes(8)]);
    bench.heard();
    bench.step(1, vec![phase(1, 0, Phase::Ready)]);
    assert_eq!(bench.heard(), "grouped@201000[0.0] grouped@201000[1.0]", "a's two, and not b");
}

#[test]
fn the_guard_of_a_waiting_request_is_told_only_where_it_made_the_difference() {
    let mut bench = one_stage(|_, _, _| None, OnFailure::Hold, vec![spec("a", 0, 5, 1)]);
    bench.step(0, vec![nodes(8)]);
    bench.step(2, Vec::new());
    let raised = spec("a", 2, 5, 1);
    bench
        .engine
        .change_target(START + 3 * SECOND, TargetId(0), raised)
        .expect("the stage takes it");
    let waiting = Event::Waiting(TargetId(0));
    assert_eq!(bench.step(3, vec![waiting]), "start 0/1 0: 1→2 wake 4s");
}

#[test]
fn what_has_no_place_waits_and_takes_what_gets_free() {
    let mut bench =
        one_stage(as_many, OnFailure::Hold, vec![spec("a", 0, 9, 2), spec("b", 0, 9, 1)]);
    assert_eq!(bench.step(0, vec![nodes(2)]), "start 0/0 start 0/1 0: -→2 1: -→1 wake 2s");
    assert_eq!(bench.engine.view(TargetId(1)).starting, 1);
    let failed = Phase::Failed { reason: "exit code 1".into() };
    assert_eq!(
        bench.step(1, vec![phase(0, 1, failed)]),
        "start 1/0 wake 2s",
        "a's next one waits for its back-off"
    );
}

#[test]
fn a_choice_that_does_not_fit_is_refused_as_a_whole() {
    struct Crowd;
    impl PlacementPolicy for Crowd {
        fn digest(&self) -> &str {
            "native:crowd"
        }
        fn inputs(&mut self) -> Result<Vec<PlacementInput>, CallError> {
            Ok(Vec::new())
        }
        fn bind(&mut self, _: &str) -> Result<PlacementProgram, BindError> {
            Ok(PlacementProgram { params: Vec::new(), warnings: Vec::new() })
        }
        fn place(&mut self, asked: &Request) -> Result<Vec<Option<u32>>, CallError> {
            Ok(vec![Some(0); asked.replicas.params_of.len()])
        }
        fn explain(&mut self, _: &Request) -> Result<Vec<Explanation>, CallError> {
            Ok(Vec::new())
        }
        fn rank(&mut self, _: &Candidates) -> Result<Vec<u32>, CallError> {
            Ok(vec![0, 0])
        }
    }
    let heard: Arc<Mutex<String>> = Arc::default();
    let stages =
        vec![stage(&heard, "first", Causes::TICK, vec![window()], as_many, OnFailure::Hold)];
    let options = Options {
        tick_ms: 2 * SECOND,
        explains: false,
        gateway_is_always_in_path: true,
        ..Options::default()
    };
    let mut engine = Engine::new(options, stages, Box::new(Crowd), Some(Box::new(FirstFit)))
        .expect("it says what it wants");
    engine.add_targets(START, vec![spec("a", 0, 9, 1)]).expect("the settings are fine");
    let mut bench = Bench { engine, heard };
    let lines = [
        bench.step(0, vec![nodes(2)]),
        bench.step(2, vec![phase(0, 0, Phase::Ready), report(0, 2, 3.0)]),
        bench.step(4, vec![phase(0, 1, Phase::Ready), report(0, 3, 0.0), report(0, 4, 0.0)]),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    start 0/0 0: -→1 wake 2s
    start 0/1 0: 1→3 [placement failed: a replica of a was sent to node-a, where it does not fit, fallback] wake 4s
    drain 0/1 0: 3→1 [placement failed: the order of who leaves names 0 twice, or there are only 2, fallback] wake 6s
    ");
}

#[test]
fn a_chain_that_does_not_settle_is_reported_and_left_alone() {
    fn restless(_: u64, _: Causes, inputs: &[f64]) -> Option<Said> {
        thread_local!(static TURN: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
        let turn = TURN.with(|turn| turn.replace(turn.get() + 1));
        Some(Said { wanted: 1 + turn % 2, output: inputs[0], ..Said::default() })
    }
    let heard = Arc::default();
    let stages = vec![stage(
        &heard,
        "first",
        Causes::CHANGE,
        vec![fact("starting-replicas")],
        restless,
        OnFailure::Hold,
    )];
    let mut bench = bench(stages, heard, vec![spec("a", 0, 5, 1)]);
    let planned = bench.step(0, vec![nodes(8)]);
    assert!(planned.contains("the chain does not settle: after 16 rounds"), "{planned}");
}

#[test]
fn a_required_input_that_nobody_gives_is_refused_by_name() {
    let refused = |source: Source| {
        let heard: Arc<Mutex<String>> = Arc::default();
        let stages =
            vec![stage(&heard, "first", Causes::TICK, vec![source], as_many, OnFailure::Hold)];
        let options = Options {
            tick_ms: 2 * SECOND,
            explains: false,
            gateway_is_always_in_path: true,
            ..Options::default()
        };
        let mut engine =
            Engine::new(options, stages, Box::new(FirstFit), None).expect("it says what it wants");
        engine
            .add_targets(START, vec![spec("a", 0, 5, 1)])
            .expect_err("it must be refused")
            .to_string()
    };
    let odd = |signal: &str, span_s, averaging: &str| {
        Source::Window(Window { signal: signal.into(), span_s, averaging: averaging.into() })
    };
    let told = [
        refused(fact("kv-use")),
        refused(proposal()),
        refused(Source::Output("in-panic".into())),
        refused(odd("gpu-heat", 60, "linear")),
        refused(odd("concurrency", 0, "linear")),
        refused(odd("concurrency", 60, "median")),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
    first requires the fact kv-use for a, but this installation does not give it
    first requires the output proposal for a, but no stage comes before it
    first requires the output in-panic for a, but no earlier stage gives it
    first requires the window gpu-heat over 60 s, linear for a, but there is no signal gpu-heat
    first requires the window concurrency over 0 s, linear for a, but a window has 1 to 3600 seconds
    first requires the window concurrency over 60 s, median for a, but there is no averaging median
    ");
}

#[test]
fn the_order_in_which_targets_are_given_does_not_matter() {
    let plans = |names: &[&str]| {
        let specs = names.iter().map(|name| spec(name, 0, 5, 1)).collect();
        let mut bench = one_stage(as_many, OnFailure::Hold, specs);
        let first = bench.step(0, vec![nodes(4)]);
        first + &bench.step(2, vec![report(0, 2, 3.0), report(1, 2, 1.0), report(2, 2, 2.0)])
    };
    assert_eq!(plans(&["a", "b", "c"]), plans(&["c", "a", "b"]));
}

#[test]
fn replicas_that_something_else_owns_are_counted_and_their_number_is_told() {
    let mut other = spec("a", 0, 5, 1);
    other.owner = Owner::Other;
    let mut bench = one_stage(as_many, OnFailure::Hold, vec![other]);
    let counted = |ready| Event::Counted(TargetId(0), Counts { ready, starting: 0 });
    assert_eq!(bench.step(0, vec![nodes(8), counted(Some(0))]), "scale 0 to 1 0: -→1 wake 2s");
    assert_eq!(
        bench.step(2, vec![counted(Some(1)), report(0, 2, 3.0)]),
        "scale 0 to 3 0: 1→3 wake 4s"
    );
    assert_eq!(bench.step(2, Vec::new()), "wake 4s", "told once");
    assert_eq!(bench.engine.view(TargetId(0)).ready, 1);
}
