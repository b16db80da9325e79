use tidegate_policy::native;
use tidegate_policy::scaling::{Batch, Births, Causes};

use super::TokenRate;

const SETTINGS: &str = r#"{"outputTokensPerSecond": 1000}"#;

/// What is wanted, or `None` to leave things, and why. `tokens`: output and prompt tokens a second over the long window, then the
/// same over the short one.
fn decide(causes: Causes, tokens: [f64; 4], waiting: f64, ready: f64) -> (Option<u32>, String) {
    let document = format!(r#"{{"settings": {SETTINGS}}}"#);
    let program = native::bind::<TokenRate>(&document).expect("the settings are in order");
    let born = Births {
        at_ms: 0,
        params: vec![program.params.clone()],
        params_of: vec![0],
        ready: vec![ready],
    };
    let mut inputs = tokens.to_vec();
    inputs.extend([waiting, ready]);
    let seen = Batch {
        at_ms: 0,
        causes_of: vec![causes],
        params: vec![program.params],
        params_of: vec![0],
        groups: vec![0],
        states: native::init::<TokenRate>(&born).expect("it is born"),
        inputs,
        words: vec![],
    };
    let decided = native::decide::<TokenRate>(&seen).expect("the batch is in order");
    let told = native::explain::<TokenRate>(&seen).expect("the batch is in order");
    (decided.apply[0].then_some(decided.wanted[0]), told[0].reason.clone())
}

#[test]
fn replicas_follow_tokens_up_at_once_and_down_after_the_window() {
    let none = [f64::NAN; 4];
    for (what, causes, tokens, waiting, ready, wanted, reason) in [
        (
            "steady",
            Causes::TICK,
            [1500.0, 0.0, 1500.0, 0.0],
            0.0,
            2.0,
            Some(2),
            "1500 tokens/s at 1000 a replica",
        ),
        (
            "exactly full",
            Causes::TICK,
            [2000.0, 0.0, 100.0, 0.0],
            0.0,
            2.0,
            Some(2),
            "2000 tokens/s at 1000 a replica",
        ),
        (
            "prompts count a tenth",
            Causes::TICK,
            [500.0, 6000.0, 0.0, 0.0],
            0.0,
            1.0,
            Some(2),
            "1100 tokens/s at 1000 a replica",
        ),
        (
            "a rise counts at once",
            Causes::TICK,
            [500.0, 0.0, 3500.0, 0.0],
            0.0,
            1.0,
            Some(4),
            "3500 tokens/s at 1000 a replica",
        ),
        (
            "a queue shows first",
            Causes::TICK,
            [900.0, 0.0, 900.0, 0.0],
            40.0,
            1.0,
            Some(4),
            "40 wait for 1 ready",
        ),
        ("woken", Causes::POKE, none, 1.0, 0.0, Some(1), "1 wait for 0 ready"),
        ("idle", Causes::TICK, [0.0; 4], 0.0, 1.0, Some(0), "0 tokens/s at 1000 a replica"),
        ("no data", Causes::TICK, none, 0.0, 1.0, None, "no data"),
    ] {
        assert_eq!(decide(causes, tokens, waiting, ready), (wanted, reason.to_owned()), "{what}");
    }
}

#[test]
fn settings_that_make_no_sense_are_told_with_their_place() {
    let faults = |settings: &str| -> Vec<String> {
        let document = format!(r#"{{"settings": {settings}}}"#);
        let faults = native::bind::<TokenRate>(&document).expect_err("they make no sense");
        faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
    };
    assert_eq!(
        faults(r#"{"outputTokensPerSecond": 0, "waitingPerReplica": -1, "windowSeconds": 5}"#),
        [
            "settings.outputTokensPerSecond: found 0, expected a number above 0",
            "settings.waitingPerReplica: found -1, expected a number above 0",
            "settings.windowSeconds: found 5, expected 15 to 3600",
        ]
    );
}
