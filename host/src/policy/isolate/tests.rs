//! Isolation with scripted calls: no Wasm, and fuel as the script says.

use super::super::wire::Causes;
use super::*;

/// What a scripted policy does when a batch contains one of the bad targets.
#[derive(Clone, Copy)]
enum Bad {
    /// It burns all that it is given.
    Loops,
    /// It traps after the usual work.
    Traps,
    /// It says which target it was.
    Names,
    /// It says which targets they were, all of them.
    NamesAll,
}

/// A group for each target, the bad ones among them.
fn batch(groups: &[u32]) -> Batch {
    let n = groups.len();
    Batch {
        at_ms: 1,
        causes_of: vec![Causes::TICK; n],
        params: vec![vec![0], vec![1]],
        params_of: (0..n as u32).map(|at| at % 2).collect(),
        groups: groups.to_vec(),
        // Its own position is a target's state, by which the script knows it.
        states: States {
            bytes: (0..n as u32).flat_map(u32::to_le_bytes).collect(),
            ends: (1..=n as u32).map(|at| at * 4).collect(),
        },
        inputs: (0..2 * n as u32).map(f64::from).collect(),
        words: Vec::new(),
    }
}

/// Who failed, how much fuel that took, and every batch that was asked about.
fn run(groups: &[u32], scope: Scope, bad: &[u32], how: Bad) -> (Answer, Vec<Vec<u32>>) {
    let seen = batch(groups);
    let limits = Limits::default();
    let mut asked = Vec::new();
    let answer = decide(
        &seen,
        1,
        scope,
        &limits,
        |_| 1,
        |part, fuel| {
            let n = part.params_of.len();
            let them: Vec<u32> = part
                .states
                .bytes
                .chunks(4)
                .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")))
                .collect();
            for (nth, at) in them.iter().enumerate() {
                assert_eq!(part.inputs[nth], f64::from(*at), "its first input came with it");
                assert_eq!(part.inputs[n + nth], f64::from(*at) + groups.len() as f64);
                assert_eq!(part.params[part.params_of[nth] as usize], [(*at % 2) as u8]);
                assert_eq!(part.groups[nth], groups[*at as usize]);
            }
            // About what the built-in policies take.
            let work = 9_000 + 2_000 * n as u64;
            let culprit = them.iter().position(|at| bad.contains(at));
            asked.push(them.clone());
            let all: Vec<u32> =
                (0..n as u32).filter(|at| bad.contains(&them[*at as usize])).collect();
            let error = |kind, culprits| CallError { kind, culprits, message: "bad".to_owned() };
            match (culprit, how) {
                (Some(_), Bad::Loops) => (Err(error(CallErrorKind::OutOfFuel, Vec::new())), fuel),
                (Some(_), Bad::Traps) => {
                    (Err(error(CallErrorKind::Trapped, Vec::new())), work.min(fuel))
                }
                (Some(at), Bad::Names) => {
                    (Err(error(CallErrorKind::Refused, vec![at as u32])), work.min(fuel))
                }
                (Some(_), Bad::NamesAll) => {
                    (Err(error(CallErrorKind::Refused, all)), work.min(fuel))
                }
                (None, _) if work > fuel => {
                    (Err(error(CallErrorKind::OutOfFuel, Vec::new())), fuel)
                }
                (None, _) => {
                    let decisions = Decisions {
                        wanted: them.iter().map(|at| at + 100).collect(),
                        apply: vec![true; n],
                        next_at_ms: vec![7; n],
                        outputs: them.iter().map(|at| f64::from(*at)).collect(),
                        states: part.states.clone(),
                    };
                    (Ok(decisions), work)
                }
            }
        },
    );
    (answer, asked)
}

/// Whether all but the failed have exactly their own decisions.
fn check(answer: &Answer, n: usize, failed: &[u32]) {
    let found: Vec<u32> = answer.failed.iter().map(|(at, _)| *at).collect();
    assert_eq!(found, failed);
    assert!(answer.fuel <= Limits::default().fuel(n));
    let decisions = &answer.decisions;
    assert_eq!(decisions.states.ends.len(), n);
    for at in 0..n {
        let state = state_of(&decisions.states, at);
        if failed.contains(&(at as u32)) {
            assert!(state.is_empty() && decisions.outputs[at].is_nan());
        } else {
            assert_eq!(decisions.wanted[at], at as u32 + 100);
            assert_eq!(decisions.outputs[at], at as f64);
            assert_eq!(state, (at as u32).to_le_bytes());
        }
    }
}

#[test]
fn bad_targets_are_found_and_all_others_decided_within_one_budget() {
    for how in [Bad::Loops, Bad::Traps, Bad::Names, Bad::NamesAll] {
        for (n, bad) in [
            (1, vec![0]),
            (2, vec![1]),
            (3, vec![0]),
            (10, vec![9]),
            (30, vec![12]),
            (100, vec![0]),
            (1_000, vec![500]),
            (1_000, vec![3, 400, 999]),
        ] {
            let groups: Vec<u32> = (0..n).collect();
            let (answer, _) = run(&groups, Scope::Target, &bad, how);
            check(&answer, n as usize, &bad);
        }
    }
}

#[test]
fn a_batch_without_a_fault_is_one_call_with_half_the_fuel_and_a_single_target_gets_all() {
    let (answer, asked) = run(&[0, 1, 2], Scope::Target, &[], Bad::Loops);
    check(&answer, 3, &[]);
    assert_eq!((asked.len(), answer.fuel), (1, 15_000));
    let (answer, asked) = run(&[0], Scope::Target, &[0], Bad::Loops);
    check(&answer, 1, &[0]);
    assert_eq!((asked.len(), answer.fuel), (1, 110_000));
}

#[test]
fn a_group_is_never_split_and_fails_whole() {
    let groups = [0, 0, 0, 1, 1, 2, 3, 3, 3, 3];
    for how in [Bad::Loops, Bad::Traps, Bad::Names, Bad::NamesAll] {
        let (answer, asked) = run(&groups, Scope::Group, &[4], how);
        check(&answer, groups.len(), &[3, 4]);
        for part in &asked {
            for (at, group) in groups.iter().enumerate() {
                let has = |at: usize| part.contains(&(at as u32));
                let with_it: Vec<bool> =
                    (0..groups.len()).filter(|other| groups[*other] == *group).map(has).collect();
                assert!(with_it.iter().all(|one| *one == has(at)), "{part:?}");
            }
        }
    }
}

#[test]
fn a_tenants_batch_fails_whole_after_one_call() {
    let (answer, asked) = run(&[0, 1, 2], Scope::Tenant, &[1], Bad::Traps);
    check(&answer, 3, &[0, 1, 2]);
    assert_eq!(asked.len(), 1);
}

#[test]
fn a_policy_that_always_fails_is_not_asked_without_end() {
    let groups: Vec<u32> = (0..1_000).collect();
    for how in [Bad::Loops, Bad::Traps, Bad::Names, Bad::NamesAll] {
        let (answer, asked) = run(&groups, Scope::Target, &groups, how);
        check(&answer, 1_000, &groups);
        assert!(asked.len() <= 1_040, "{} calls", asked.len());
    }
}

#[test]
fn a_culprit_that_is_not_in_the_batch_is_nobody() {
    let seen = batch(&[0, 1, 2, 3]);
    let limits = Limits::default();
    let answer = decide(
        &seen,
        1,
        Scope::Target,
        &limits,
        |_| 1,
        |_, _| {
            let message = "bad".to_owned();
            (Err(CallError { kind: CallErrorKind::Refused, culprits: vec![9], message }), 0)
        },
    );
    let failed: Vec<(u32, bool)> =
        answer.failed.iter().map(|(at, error)| (*at, error.culprits.is_empty())).collect();
    assert_eq!(failed, [(0, true), (1, true), (2, true), (3, true)]);
}

#[test]
fn culprits_that_are_named_together_go_together() {
    let groups: Vec<u32> = (0..1_000).collect();
    let bad: Vec<u32> = (0..1_000).step_by(3).collect();
    let (answer, asked) = run(&groups, Scope::Target, &bad, Bad::NamesAll);
    check(&answer, 1_000, &bad);
    assert_eq!(asked.len(), 2);
    assert!(answer.failed.iter().all(|(at, error)| error.culprits == [*at]));
    let (_, asked) = run(&groups, Scope::Target, &groups, Bad::NamesAll);
    assert_eq!(asked.len(), 1, "nobody is left to ask about");
}

#[test]
fn states_must_be_as_many_as_targets_and_end_in_order_within_the_bytes() {
    let check = |ends: &[u32], n| {
        let states = States { bytes: vec![0; 4], ends: ends.to_vec() };
        checked_states(&states, n).map_err(|error| error.message)
    };
    assert_eq!(check(&[0, 2, 4], 3), Ok(()));
    assert_eq!(check(&[], 0), Ok(()));
    for (ends, n, message) in [
        (&[4][..], 2, "it gave 1 states for 2 targets"),
        (&[2, 1], 2, "state 1 is said to be bytes 2 to 1 of 4"),
        (&[2, 5], 2, "state 1 is said to be bytes 2 to 5 of 4"),
        (&[u32::MAX], 1, "state 0 is said to be bytes 0 to 4294967295 of 4"),
    ] {
        assert_eq!(check(ends, n), Err(message.to_owned()));
    }
}
