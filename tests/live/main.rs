//! `tidegate up` as a whole: real processes, sockets and files. Nothing here asserts how fast something is.
//!
//! Most cases only wait, so they run beside each other; those that would disturb others, or be disturbed, run alone after them.
#![expect(unreachable_pub, reason = "modules of a test")]

mod client;
mod ending;
mod failing;
mod flood;
mod idle;
mod orders;
mod page;
mod rollout;
mod room;
mod swapping;
mod waking;
mod world;

use libtest_mimic::{Arguments, Trial};

/// Cases that run at once.
const TOGETHER: usize = 6;

type Case = (&'static str, fn());

/// A test named after its function.
macro_rules! cases {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),+),+]
    };
}

const BESIDE_EACH_OTHER: &[Case] = cases! {
    waking: the_first_request_starts_a_replica_and_idleness_stops_it;
    ending: sigterm_answers_what_is_in_even_where_nothing_is_ready,
        a_second_signal_ends_it_at_once,
        nothing_outlives_a_kill_and_the_next_start_says_what_it_found,
        two_runs_do_not_share_a_state_folder;
    failing: a_model_that_cannot_load_is_backed_off_and_says_why,
        a_replica_that_is_killed_under_load_is_replaced_and_its_requests_go_elsewhere;
    room: an_idle_replica_makes_room_and_a_busy_one_does_not,
        two_services_share_a_gpu;
    rollout: a_new_revision_takes_over_without_a_failed_request,
        without_room_for_both_the_old_revision_leaves_first,
        a_canary_gets_its_share_and_is_promoted,
        services_come_and_go_and_a_bad_file_changes_nothing;
    swapping: a_bad_file_is_refused_and_one_that_traps_is_taken_back,
        a_shadow_tells_where_it_differs_and_a_dry_run_starts_nothing;
    orders: a_pin_holds_is_shown_and_ends_by_itself,
        the_admin_port_is_not_for_everybody;
    idle: a_hundred_services_at_zero_are_cheap_and_well;
    page: the_page_shows_what_is_live_and_text_stays_text;
};

const ALONE: &[Case] = cases! {
    swapping: swaps_under_load_lose_no_request_and_no_tick;
    flood: one_service_flooded_does_not_hurt_the_others,
        a_thousand_slow_heads_do_not_hurt_honest_clients;
};

const LONG: &[Case] = cases! {
    swapping: a_minute_of_swaps_under_load_loses_no_request_and_no_tick;
    flood: five_thousand_slow_heads_do_not_hurt_honest_clients;
};

fn trials(cases: &[Case], are_long: bool) -> Vec<Trial> {
    let trial = |(name, case): &Case| {
        let case = *case;
        let run = move || {
            case();
            Ok(())
        };
        Trial::test(*name, run).with_ignored_flag(are_long)
    };
    cases.iter().map(trial).collect()
}

fn main() {
    let mut arguments = Arguments::from_args();
    let asked = arguments.test_threads;
    arguments.test_threads = asked.or(Some(TOGETHER));
    let together = libtest_mimic::run(&arguments, trials(BESIDE_EACH_OTHER, false));
    arguments.test_threads = Some(1);
    let alone = [trials(ALONE, false), trials(LONG, true)].into_iter().flatten().collect();
    let alone = libtest_mimic::run(&arguments, alone);
    together.exit_if_failed();
    alone.exit();
}
