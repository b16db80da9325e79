use tidegate_policy::testing::Trial;

use super::Policy;

/// A trial that has seen a day with 40 requests in flight from 08:00 to 18:00 and none otherwise. It is midnight again.
fn after_a_day(settings: &str) -> Trial<Policy> {
    let mut trial = Trial::<Policy>::new(settings);
    trial.see("proposal", 0.0).see("concurrency", 0.0).decide();
    for hour in 0..24 {
        let in_flight = if (8..18).contains(&hour) { 40.0 } else { f64::NAN };
        let decided = trial.pass_s(3_600).see("concurrency", in_flight).decide();
        assert_eq!(decided.wanted, Some(0), "it only learns on its first day");
    }
    trial.see("concurrency", f64::NAN);
    trial
}

#[test]
fn replicas_start_before_the_load_that_came_the_day_before() {
    let mut trial = after_a_day(r#"{"target": 10, "leadMin": 10}"#);
    for _ in 0..7 {
        assert_eq!(trial.pass_s(3_600).decide().wanted, Some(0), "nothing came then");
    }
    let before = trial.pass_s(49 * 60 + 59).decide();
    assert_eq!((before.wanted, before.stands_ms), (Some(0), Some(1_000)));
    let soon = trial.pass_s(1).decide();
    assert_eq!(soon.to_string(), "4: usually 40.0 in flight in 10 minutes");
}

#[test]
fn what_is_proposed_stands_where_it_is_more() {
    let mut trial = after_a_day(r#"{"target": 10}"#);
    trial.pass_s(9 * 3_600).see("proposal", 9.0).see("concurrency", 80.0);
    assert_eq!(trial.decide().to_string(), "9");
}

#[test]
fn a_day_with_twice_the_load_raises_the_floor_step_by_step() {
    let mut trial = after_a_day(r#"{"target": 10, "leadMin": 0}"#);
    let mut floors = Vec::new();
    trial.pass_s(8 * 3_600).decide();
    trial.see("concurrency", 80.0);
    for _ in 0..6 {
        floors.extend(trial.pass_s(3_600).decide().wanted);
    }
    assert_eq!(floors, [6, 7, 7, 8, 8, 8]);
}

#[test]
fn settings_that_make_no_sense_are_told_with_their_place() {
    assert_eq!(
        Trial::<Policy>::faults(r#"{"target": -1, "leadMin": 1000}"#),
        [
            "settings.target: found -1, expected above 0",
            "settings.leadMin: found 1000, expected at most 720",
        ]
    );
}
