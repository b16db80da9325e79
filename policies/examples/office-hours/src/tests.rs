use proptest::prelude::*;
use tidegate_policy::native;
use tidegate_policy::scaling::{Batch, Births, Causes};

use super::OfficeHours;
use crate::hours::{Day, Hours};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// 2024-01-01T00:00Z, a Monday.
const MONDAY: u64 = 1_704_067_200_000;

/// What the policy says about one target for which the stage before it wants `proposal`: replicas or `hold`, until when (days,
/// hours and minutes from that Monday), and why.
fn decide(settings: &str, at_ms: u64, proposal: f64) -> String {
    let document = format!(r#"{{"settings": {settings}}}"#);
    let program = native::bind::<OfficeHours>(&document).expect("the settings are in order");
    let born = Births {
        at_ms,
        params: vec![program.params.clone()],
        params_of: vec![0],
        ready: vec![f64::NAN],
    };
    let seen = Batch {
        at_ms,
        causes_of: vec![Causes::CHANGE],
        params: vec![program.params],
        params_of: vec![0],
        groups: vec![0],
        states: native::init::<OfficeHours>(&born).expect("it has no state"),
        inputs: vec![proposal],
        words: vec![],
    };
    let decided = native::decide::<OfficeHours>(&seen).expect("the batch is in order");
    let told = native::explain::<OfficeHours>(&seen).expect("the batch is in order");
    let wanted = if decided.apply[0] { decided.wanted[0].to_string() } else { "hold".into() };
    let until = decided.next_at_ms[0] - MONDAY;
    let (days, hours, minutes) = (until / DAY, until % DAY / HOUR, until % HOUR / MINUTE);
    format!("{wanted} until {days}d {hours:02}:{minutes:02} {}", told[0].reason).trim_end().into()
}

#[test]
fn in_office_hours_there_are_at_least_so_many_and_outside_the_proposal_stands() {
    let two = r#"{"minimum": 2}"#;
    let india = r#"{"minimum": 2, "hours": {"from": 9, "utcOffset": 5.5}}"#;
    let sunday = r#"{"minimum": 3, "hours": {"from": 0, "to": 24, "days": ["sunday"]}}"#;
    for (name, settings, at, proposal, expected) in [
        ("before they begin", two, 7 * HOUR + 59 * MINUTE, 0.0, "0 until 0d 08:00"),
        (
            "at the edge",
            two,
            8 * HOUR,
            0.0,
            "2 until 0d 18:00 office hours until 18:00: at least 2",
        ),
        ("enough already", two, 12 * HOUR, 5.0, "5 until 0d 18:00"),
        ("over at the edge", two, 18 * HOUR, 1.0, "1 until 1d 08:00"),
        ("over the weekend", two, 4 * DAY + 20 * HOUR, 1.0, "1 until 7d 08:00"),
        (
            "no proposal in hours",
            two,
            9 * HOUR,
            f64::NAN,
            "2 until 0d 18:00 office hours until 18:00: at least 2",
        ),
        ("no proposal outside", two, 20 * HOUR, f64::NAN, "hold until 1d 08:00"),
        (
            "ahead of UTC",
            india,
            3 * HOUR + 30 * MINUTE,
            1.0,
            "2 until 0d 12:30 office hours until 18:00: at least 2",
        ),
        ("ahead of UTC, before", india, 3 * HOUR + 29 * MINUTE, 1.0, "1 until 0d 03:30"),
        (
            "a whole day",
            sunday,
            6 * DAY,
            1.0,
            "3 until 7d 00:00 office hours until 24:00: at least 3",
        ),
        ("once a week", sunday, 7 * DAY, 1.0, "1 until 13d 00:00"),
    ] {
        assert_eq!(decide(settings, MONDAY + at, proposal), expected, "{name}");
    }
}

#[test]
fn settings_that_make_no_sense_are_told_with_their_place() {
    let faults = |settings: &str| -> Vec<String> {
        let document = format!(r#"{{"settings": {settings}}}"#);
        let faults = native::bind::<OfficeHours>(&document).expect_err("they make no sense");
        faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
    };
    assert_eq!(
        faults(r#"{"minimum": 2, "hours": {"from": 18, "to": 8, "days": [], "utcOffset": 20}}"#),
        [
            "settings.hours.from: found 18, expected an hour before 8",
            "settings.hours.days: found an empty list, expected days as monday",
            "settings.hours.utcOffset: found 20, expected -14 to 14 hours",
        ]
    );
    assert_eq!(faults("{}"), ["settings: missing field `minimum`"]);
    let unknown = faults(r#"{"minimum": 2, "hours": {"days": ["monday", "mon"]}}"#);
    assert!(unknown[0].starts_with("settings.hours.days.1: unknown variant `mon`"), "{unknown:?}");
}

fn any_hours() -> impl Strategy<Value = Hours> {
    let days = prop::sample::subsequence(
        vec![Day::Monday, Day::Tuesday, Day::Wednesday, Day::Friday, Day::Sunday],
        1..=5,
    );
    (0u32..24, 0u32..24, days, -28i32..=28).prop_map(|(one, other, days, half_hours)| Hours {
        from: one.min(other),
        to: one.max(other) + 1,
        days,
        utc_offset: f64::from(half_hours) / 2.0,
    })
}

proptest! {
    /// What is said to stand until a moment stands until then, minute by minute; and at that moment it is said anew.
    #[test]
    fn nothing_changes_before_it_is_said_to(hours in any_hours(), minute in 0..14 * 24 * 60u64) {
        let at = MONDAY + minute * MINUTE;
        let now = hours.at(at);
        prop_assert!(now.until_ms > at);
        for between in (at..now.until_ms).step_by(MINUTE as usize) {
            prop_assert_eq!(hours.at(between), now);
        }
        prop_assert!(hours.at(now.until_ms).until_ms > now.until_ms);
        prop_assert!(now.is_open || hours.at(now.until_ms).is_open, "a wait ends with opening");
    }
}
