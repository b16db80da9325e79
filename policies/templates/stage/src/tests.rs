use tidegate_policy::testing::Trial;

use super::Policy;

#[test]
fn a_part_is_spare_within_bounds_and_nothing_on_top_of_nothing() {
    let mut trial = Trial::<Policy>::new(r#"{"percent": 25, "atLeast": 2, "atMost": 6}"#);
    for (proposed, told) in [
        (0.0, "0"),
        (1.0, "3: 2 spare on top of 1"),
        (9.0, "12: 3 spare on top of 9"),
        (100.0, "106: 6 spare on top of 100"),
        (f64::NAN, "hold"),
    ] {
        assert_eq!(trial.see("proposal", proposed).decide().to_string(), told);
    }
}

#[test]
fn in_panic_spare_replicas_get_no_spare_ones() {
    let mut trial = Trial::<Policy>::new(r#"{"percent": 50, "atLeast": 1, "atMost": 6}"#);
    for (in_panic, proposed, ready, told) in [
        (1.0, 4.0, 1.0, "6: 2 spare on top of 4"),
        (1.0, 6.0, 6.0, "6"), // all of them are ready, and held
        (1.0, 8.0, 6.0, "12: 4 spare on top of 8"),
        (0.0, 8.0, 12.0, "12: 4 spare on top of 8"),
        (0.0, 2.0, 12.0, "3: 1 spare on top of 2"),
    ] {
        trial.see("in-panic", in_panic).see("ready-replicas", ready);
        let decided = trial.see("proposal", proposed).decide();
        assert_eq!(decided.to_string(), told);
    }
}

#[test]
fn settings_that_make_no_sense_are_told_with_their_place() {
    assert_eq!(
        Trial::<Policy>::faults(r#"{"percent": -5, "atLeast": 3, "atMost": 2}"#),
        [
            "settings.percent: found -5, expected 0 to 1000",
            "settings.atLeast: found 3, expected at most atMost, which is 2",
        ]
    );
}
