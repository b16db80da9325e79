use tidegate_policy::native;
use tidegate_policy::scaling::{Batch, Births, Causes};

use super::SpotFirst;

/// What a service with the pools `on-demand` and `spot` is to have after each step: replicas on demand and on spot. A step is
/// seconds, the proposals to the two pools, and the ready spot replicas.
fn decide(settings: &str, steps: &[(u64, f64, f64, f64)]) -> Vec<(u32, u32)> {
    let document = format!(r#"{{"settings": {settings}}}"#);
    let program = native::bind::<SpotFirst>(&document).expect("the settings are in order");
    let (params, params_of) = (vec![program.params], vec![0, 0]);
    let born = Births {
        at_ms: 0,
        params: params.clone(),
        params_of: params_of.clone(),
        ready: vec![0.0; 2],
    };
    let mut states = native::init::<SpotFirst>(&born).expect("they are born");
    let mut decided = Vec::new();
    for (at_s, on_demand, spot, ready) in steps {
        let seen = Batch {
            at_ms: at_s * 1_000,
            causes_of: vec![Causes::CHANGE; 2],
            params: params.clone(),
            params_of: params_of.clone(),
            groups: vec![0, 0],
            states,
            inputs: vec![*on_demand, *spot, 0.0, *ready, 0.0, 1.0],
            words: vec!["on-demand".into(), "spot".into()],
        };
        let done = native::decide::<SpotFirst>(&seen).expect("the batch is in order");
        assert_eq!(done.apply, [true, true]);
        decided.push((done.wanted[0], done.wanted[1]));
        states = done.states;
    }
    decided
}

#[test]
fn what_is_wanted_is_spot_but_for_the_reserve() {
    let all_ready = |wanted: f64| (0, wanted, 0.0, wanted);
    for (wanted, expected) in [(0.0, (0, 0)), (1.0, (1, 0)), (2.0, (1, 1)), (9.0, (1, 8))] {
        assert_eq!(decide("{}", &[all_ready(wanted)]), [expected], "{wanted} wanted");
    }
    assert_eq!(decide(r#"{"reserve": 3}"#, &[all_ready(5.0)]), [(3, 2)]);
    assert_eq!(decide(r#"{"reserve": 0}"#, &[all_ready(1.0)]), [(0, 1)]);
    assert_eq!(decide("{}", &[(0, 2.0, 7.0, 9.0)]), [(1, 6)], "the largest proposal counts");
}

#[test]
fn capacity_on_demand_stands_in_for_spot_replicas_that_are_missing_for_too_long() {
    let steps = [
        (0, 5.0, 5.0, 0.0),   // asked for
        (119, 5.0, 5.0, 2.0), // still within patience
        (120, 5.0, 5.0, 2.0), // two are missing
        (130, 5.0, 5.0, 3.0), // one more has come
        (140, 5.0, 5.0, 4.0), // all are there
        (150, 5.0, 5.0, 3.0), // one is taken away: patience begins anew
        (271, 5.0, 5.0, 3.0),
        (280, 0.0, 0.0, 3.0), // nothing is wanted
    ];
    let expected = [(1, 4), (1, 4), (3, 4), (2, 4), (1, 4), (1, 4), (2, 4), (0, 0)];
    assert_eq!(decide("{}", &steps), expected);
}

#[test]
fn unknown_settings_are_told() {
    let faults = native::bind::<SpotFirst>(r#"{"settings": {"reserv": 1}}"#).expect_err("a slip");
    assert!(faults[0].message.starts_with("unknown field `reserv`"), "{faults:?}");
}
