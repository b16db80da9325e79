//! The rules at the very moment where a wait ends, and what else no recording of Knative happens to show: its decisions are recorded
//! a moment after whole seconds. What is expected is what the rules say (`pkg/reconciler/autoscaling/kpa`).

use std::collections::BTreeMap;

use tidegate_scale_to_zero::{Condition, Numbers, Phase, Sight, State, Verdict, Wait};

const NOW_MS: u64 = 1_000_000_000;
const INACTIVE: Phase = Phase::Inactive { timed_out: false };

fn numbers(profile: &[(&str, &str)]) -> Numbers {
    let profile: BTreeMap<String, String> =
        profile.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let resolved = tidegate_settings::resolve(&profile, &BTreeMap::new(), 0);
    Numbers::of(&resolved.expect("the settings are in order").0, 600_000)
}

/// A reachable, once ready service that nobody wants a replica of, behind a gateway that answers.
fn idle() -> Sight {
    Sight {
        at_ms: NOW_MS,
        proposal: Some(0),
        needs_gateway: true,
        ready: 1.0,
        min: 0,
        initial: 1,
        is_initialised: true,
        is_reachable: true,
        gateway_answers: true,
        in_path_since_ms: Some(0),
        is_only_change: false,
    }
}

/// A state that has been in `phase` for so long.
fn since(phase: Phase, for_s: u64) -> State {
    State { condition: Condition { phase, since_s: NOW_MS / 1_000 - for_s }, ..State::new(0) }
}

fn run(state: &mut State, profile: &[(&str, &str)], sight: Sight) -> Verdict {
    state.decide(&numbers(profile), &sight)
}

#[test]
fn a_wait_is_over_at_its_last_moment_or_just_after_it_as_knative_has_it() {
    let unready = Sight { ready: 0.0, is_initialised: false, ..idle() };
    let grace_left =
        |back_s: u64| Sight { in_path_since_ms: Some(NOW_MS - back_s * 1_000), ..idle() };
    let grace_first = &[("scale-to-zero-pod-retention-period", "10s")][..];
    for (what, phase, for_s, profile, sight, expected) in [
        ("59 s of the stable window", Phase::Active, 59, &[][..], idle(), Wait::StableWindow),
        ("the whole stable window", Phase::Active, 60, &[], idle(), Wait::Idle),
        ("the whole time to activate", Phase::Activating, 630, &[], unready, Wait::Activation),
        ("a second more", Phase::Activating, 631, &[], unready, Wait::GaveUp),
        ("29 s of grace", INACTIVE, 29, &[], grace_left(29), Wait::Grace),
        ("the whole grace, in the path", INACTIVE, 3, &[], grace_left(30), Wait::Zero),
        ("the whole grace, inactive", INACTIVE, 30, &[], grace_left(0), Wait::Zero),
        (
            "9 s of retention, shorter than grace",
            INACTIVE,
            9,
            grace_first,
            grace_left(3),
            Wait::Retention,
        ),
        ("the whole of it", INACTIVE, 10, grace_first, grace_left(3), Wait::Grace),
        ("the longer of both", INACTIVE, 30, grace_first, grace_left(3), Wait::Zero),
    ] {
        let mut state = since(phase, for_s);
        assert_eq!(run(&mut state, profile, sight).wait, expected, "{what}");
    }
}

#[test]
fn a_revision_that_becomes_inactive_behind_the_gateway_is_looked_at_again_after_three_seconds() {
    for (is_proxied, timer_ms) in [(true, Some(NOW_MS + 3_000)), (false, None)] {
        let mut state = State { is_proxied, ..since(Phase::Active, 60) };
        let verdict = run(&mut state, &[], idle());
        assert_eq!((verdict.wanted, verdict.apply), (Some(0), false));
        assert_eq!(state.timer_ms, timer_ms);
        assert_eq!(state.condition.phase, INACTIVE);
    }
}

#[test]
fn a_revision_with_fewer_ready_replicas_than_its_minimum_is_activating() {
    for (min, ready, expected) in [
        (0, 0.0, Phase::Activating),
        (0, 1.0, Phase::Active),
        (2, 1.0, Phase::Activating),
        (2, 2.0, Phase::Active),
    ] {
        let mut state = since(Phase::Active, 60);
        run(&mut state, &[], Sight { proposal: Some(2), min, ready, ..idle() });
        assert_eq!(state.condition.phase, expected, "{ready} of {min} ready");
    }
}

#[test]
fn the_gateway_is_needed_at_first_where_a_whole_request_is_lacking() {
    for (burst, expected) in
        [("-1", true), ("0", false), ("100", false), ("100.5", false), ("101", true)]
    {
        let first = numbers(&[("target-burst-capacity", burst)]).needs_gateway_at_first;
        assert_eq!(first, expected, "{burst}");
    }
}
