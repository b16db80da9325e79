//! What a person relies on when they set a limit, for `knative`, and what goes past it.

use proptest::prelude::*;
use tidegate_knative::{Averages, Numbers, State};

use crate::asked::{Asked, Row, START_MS, Said, Which, averages, ready};
use crate::random::Service;
use crate::{Case, case, config, turns};

/// Positions of `knative`'s outputs.
const EXCESS: usize = 0;
const IN_PANIC: usize = 2;
const HELD: usize = 3;

/// The turns of the first service of a case.
fn one(case: &Case) -> Vec<(u64, Row<'_>, Said)> {
    let mut asked = Asked::new(Which::Knative, Which::Knative.native());
    let mut firsts = Vec::new();
    for mut turn in turns(case, &mut asked) {
        firsts.extend(
            turn.rows.pop().zip(turn.said.pop()).map(|(row, said)| (turn.at_ms, row, said)),
        );
    }
    firsts
}

/// Whether there is anything to decide by.
fn has_data(row: &Row<'_>) -> bool {
    let is_always_behind_the_gateway = row.service.resolved.target_burst_capacity == -1.0;
    !row.ready.is_nan() && (!row.moment.stable.is_nan() || is_always_behind_the_gateway)
}

/// The most that one decision may want by itself: Knative's limit of one tick, or the activation scale, which goes past it.
fn most_at_once(row: &Row<'_>) -> f64 {
    let resolved = &row.service.resolved;
    let up = (resolved.max_scale_up_rate * row.ready.max(1.0)).ceil();
    let activation = resolved.activation_scale;
    if activation > 1 { up.max(f64::from(activation)) } else { up }
}

/// How long a count is held by the scale-down delay of a service, in whole slots; 0 without one.
fn held_ms(service: &Service) -> u64 {
    let (delay_ms, slot_ms) =
        (service.resolved.scale_down_delay_s * 1_000, service.resolved.tick_ms);
    delay_ms.div_ceil(slot_ms) * slot_ms
}

proptest! {
    #![proptest_config(config(512))]

    /// Past the limit of the present tick go exactly three things: the activation scale; in panic mode, what was wanted since it began,
    /// and what was ready when it began at birth; and with a scale-down delay, what was wanted within the delay. (The minimum goes
    /// past it too, and is the host's.)
    #[test]
    fn no_decision_is_above_the_up_limit_but_by_the_named_exceptions(case in case(1)) {
        let mut in_panic_at_most = 0.0_f64;
        let mut before: Vec<(u64, f64)> = Vec::new();
        for (nth, (at_ms, row, said)) in one(&case).into_iter().enumerate() {
            if nth == 0 && row.ready > 1.0 {
                in_panic_at_most = row.ready; // it is born in panic mode, and keeps what is ready
            }
            if !has_data(&row) {
                continue;
            }
            let is_in_panic = said.output(IN_PANIC) == 1.0;
            in_panic_at_most = if is_in_panic { in_panic_at_most.max(most_at_once(&row)) } else { 0.0 };
            let mut most = most_at_once(&row).max(in_panic_at_most);
            if row.moment.reachable != 0.0 && held_ms(row.service) > 0 {
                let slots_ms = held_ms(row.service) + row.service.resolved.tick_ms;
                before.push((at_ms, most));
                let recent = before.iter().filter(|(then, _)| then + slots_ms > at_ms);
                most = recent.fold(0.0, |most, (_, one)| most.max(*one));
            }
            prop_assert!(f64::from(said.wanted) <= most, "{} is above {most} at turn {nth}", said.wanted);
        }
    }

    /// The scale-down delay alone may let a count go in panic mode, if that was wanted before panic began; what panic itself holds
    /// never falls, and no decision is below it.
    #[test]
    fn nothing_goes_down_in_panic_mode(case in case(1)) {
        let (mut last, mut was_in_panic) = (None::<Said>, false);
        for (nth, (_, row, said)) in one(&case).into_iter().enumerate() {
            if !has_data(&row) {
                continue;
            }
            let in_panic = |said: &Said| said.output(IN_PANIC) == 1.0;
            was_in_panic |= in_panic(&said);
            if in_panic(&said) {
                prop_assert!(f64::from(said.wanted) >= said.output(HELD), "turn {nth}: {said:?}");
            } else {
                // Before the first panic it is what was ready at birth: at most 1, or there would have been panic.
                prop_assert!(said.output(HELD) <= f64::from(u8::from(!was_in_panic)), "turn {nth}: {said:?}");
            }
            if let Some(last) = last.filter(|last| in_panic(last) && in_panic(&said)) {
                prop_assert!(said.output(HELD) >= last.output(HELD), "turn {nth}: {last:?} {said:?}");
                if held_ms(row.service) == 0 {
                    prop_assert!(said.wanted >= last.wanted, "turn {nth}: {last:?} {said:?}");
                }
            }
            last = Some(said);
        }
    }

    /// The rate down, which an unreachable revision does not have.
    #[test]
    fn no_decision_is_below_the_down_limit(case in case(1)) {
        for (nth, (_, row, said)) in one(&case).into_iter().enumerate() {
            if has_data(&row) && row.moment.reachable != 0.0 {
                let least = (row.ready.max(1.0) / row.service.resolved.max_scale_down_rate).floor();
                prop_assert!(f64::from(said.wanted) >= least, "turn {nth}: {} is below {least}", said.wanted);
            }
        }
    }

    /// With a target burst capacity of −1 the windows of a silent service read 0, as nothing can have bypassed the gateway.
    #[test]
    fn no_data_changes_nothing(case in case(1)) {
        let mut asked = Asked::new(Which::Knative, Which::Knative.native());
        let mut last: Option<Said> = None;
        for (at_ms, row, said) in one(&case) {
            if !has_data(&row) {
                prop_assert!(!said.apply);
                prop_assert_eq!(&said.state, &row.state);
                prop_assert_eq!(said.next_at_ms, u64::MAX, "it stands for as long as there is no data");
                if let Some(last) = &last {
                    prop_assert_eq!(&said.outputs, &last.outputs);
                }
            } else {
                prop_assert!(said.apply);
                let mut idle = row.clone();
                idle.moment.stable = if row.moment.stable.is_nan() { 0.0 } else { row.moment.stable };
                idle.moment.panic = if row.moment.panic.is_nan() { 0.0 } else { row.moment.panic };
                prop_assert_eq!(&asked.decide(at_ms, &[idle])[0], &said);
            }
            last = Some(said);
        }
    }

    /// What a policy says of how long its decision stands spares ticks, so it must be true to the last millisecond.
    #[test]
    fn a_decision_that_stands_is_made_again_until_it_ends(case in case(1), part in 0.0..1.0_f64) {
        let mut asked = Asked::new(Which::Knative, Which::Knative.native());
        for (at_ms, row, said) in one(&case) {
            let stands_ms = said.next_at_ms.min(at_ms + 7_200_000).saturating_sub(at_ms);
            for later_ms in [(stands_ms as f64 * part) as u64, stands_ms.saturating_sub(1)] {
                let mut later = row.clone();
                later.state.clone_from(&said.state);
                let again = &asked.decide(at_ms + later_ms, &[later])[0];
                if stands_ms > 0 {
                    prop_assert_eq!(&Said { next_at_ms: said.next_at_ms, ..again.clone() }, &said, "{} ms later", later_ms);
                }
            }
        }
    }

    /// The rules with a state that stays in memory, beside the policy, whose state is bytes between any two decisions.
    #[test]
    fn a_state_kept_as_bytes_is_the_state_kept_in_memory(case in case(1)) {
        let (service, moments) = &case.services[0];
        let numbers = Numbers::of(&service.resolved);
        let mut state = State::new(&numbers, START_MS, Some(ready(moments[0], 1)).filter(|ready| !ready.is_nan()));
        for (at_ms, row, said) in one(&case) {
            if has_data(&row) {
                let or_zero = |average: f64| if average.is_nan() { 0.0 } else { average };
                let [stable, panic] = averages(&row).map(or_zero);
                let averages = Averages { stable, panic };
                let verdict = state.decide(&numbers, at_ms, row.ready, averages, row.moment.reachable != 0.0);
                prop_assert_eq!(said.wanted, verdict.desired);
                prop_assert_eq!(said.next_at_ms, verdict.stands_until_ms);
            }
            prop_assert_eq!(said.output(EXCESS), state.excess);
            prop_assert_eq!(said.output(IN_PANIC) == 1.0, state.panic_since_ms.is_some());
            prop_assert_eq!(said.output(HELD), f64::from(state.held));
        }
    }
}
