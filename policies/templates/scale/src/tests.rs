use tidegate_policy::Causes;
use tidegate_policy::testing::Trial;

use super::Policy;

#[test]
fn it_goes_up_at_once_and_down_when_fewer_were_enough_for_the_whole_delay() {
    let mut trial = Trial::<Policy>::new(r#"{"target": 4, "scaleDownDelayS": 60}"#);
    let mut at = |seconds, in_flight| {
        trial.pass_s(seconds).see("concurrency", in_flight).decide().to_string()
    };
    assert_eq!(at(0, 3.0), "1: 3.0 in flight at 4 a replica");
    assert_eq!(at(2, 17.0), "5: 17.0 in flight at 4 a replica");
    assert_eq!(at(30, 8.0), "5: 8.0 in flight at 4 a replica; 5 were needed lately");
    assert_eq!(at(28, 2.0), "5: 2.0 in flight at 4 a replica; 5 were needed lately");
    assert_eq!(at(2, 2.0), "2: 2.0 in flight at 4 a replica; 2 were needed lately");
    assert_eq!(at(90, 0.0), "0: 0.0 in flight at 4 a replica");
}

#[test]
fn without_data_replicas_stay_but_who_waits_at_zero_gets_one() {
    let mut trial = Trial::<Policy>::new("{}");
    assert_eq!(trial.decide().wanted, None);
    assert_eq!(trial.decide_because(Causes::POKE).wanted, Some(1));
    assert_eq!(trial.see("concurrency", 0.0).decide_because(Causes::POKE).wanted, Some(1));
}

#[test]
fn settings_that_make_no_sense_are_told_with_their_place() {
    assert_eq!(
        Trial::<Policy>::faults(r#"{"target": 0, "windowS": 0, "scaleDownDelayS": 9999}"#),
        [
            "settings.target: found 0, expected above 0",
            "settings.windowS: found 0, expected 1 to 3600",
            "settings.scaleDownDelayS: found 9999, expected at most 3600",
        ]
    );
}
