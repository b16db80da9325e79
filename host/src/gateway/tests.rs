//! The gate by hand, and against a plain restatement of its rules. Its reports are held to what Knative's own code counted in
//! `tests/knative_golden.rs`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits =
    Limits { concurrency: 2, queue: 3, queue_bytes: None, timeout_us: Some(10 * SECOND_US) };

fn ask() -> Ask {
    Ask::default()
}

fn dispatches(gate: &mut Gate, now_us: u64) -> Vec<(RequestHandle, ReplicaHandle)> {
    std::iter::from_fn(|| gate.dispatch(now_us)).map(|one| (one.request, one.replica)).collect()
}

#[test]
fn a_request_goes_to_the_replica_with_the_fewest_the_lowest_ordinal_among_equals() {
    let mut gate = Gate::new(LIMITS, 0);
    let (seven, three) = (gate.replica_ready(0, 7), gate.replica_ready(0, 3));
    let mut went = Vec::new();
    for now_us in 0..4 {
        gate.arrive(now_us, ask()).expect("there is room");
        went.extend(dispatches(&mut gate, now_us).iter().map(|(_, replica)| *replica));
    }
    assert_eq!(went, [three, seven, three, seven]);
    assert_eq!((gate.load_of(three), gate.load_of(seven), gate.in_flight()), (2, 2, 4));
}

#[test]
fn full_replicas_make_requests_wait_in_order_and_a_full_queue_refuses() {
    let mut gate = Gate::new(LIMITS, 0);
    gate.replica_ready(0, 0);
    let all: Vec<_> =
        (0..6).map(|now_us| gate.arrive(now_us, ask())).map_while(Result::ok).collect();
    assert_eq!(all.len(), 3, "nobody was dispatched yet, so all but three are refused");
    let first = dispatches(&mut gate, 6);
    assert_eq!(first.iter().map(|(request, _)| *request).collect::<Vec<_>>(), all[..2]);
    gate.end(7, all[0], 10).expect("it ran");
    assert_eq!(dispatches(&mut gate, 7).first().map(|(request, _)| *request), Some(all[2]));
    for _ in 0..3 {
        gate.arrive(8, ask()).expect("three may wait");
    }
    assert_eq!(gate.arrive(8, ask()), Err(Refused::QueueFull));
}

#[test]
fn that_somebody_waits_and_nothing_is_ready_is_told_once_until_it_was_otherwise() {
    let mut gate = Gate::new(LIMITS, 0);
    assert!(!gate.begins_to_starve(), "nobody waits");
    let first = gate.arrive(0, ask()).expect("there is room");
    assert!(gate.begins_to_starve());
    gate.arrive(1, ask()).expect("there is room");
    assert!(!gate.begins_to_starve(), "that is known");
    let replica = gate.replica_ready(2, 0);
    assert_eq!(dispatches(&mut gate, 2).len(), 2);
    assert!(!gate.begins_to_starve());
    gate.drain(3, replica);
    assert!(!gate.begins_to_starve(), "who runs does not wait");
    gate.arrive(4, ask()).expect("there is room");
    assert!(gate.begins_to_starve(), "the only replica drains");
    gate.give_up(5, first);
    let waits = gate.arrive(5, ask()).expect("there is room");
    assert!(!gate.begins_to_starve());
    gate.give_up(6, waits);
    while gate.expire(20 * SECOND_US).is_some() {}
    assert!(!gate.begins_to_starve(), "nobody waits any more");
    gate.arrive(20 * SECOND_US, ask()).expect("there is room");
    assert!(gate.begins_to_starve());
}

#[test]
fn a_queue_without_places_takes_what_can_run_at_once_and_bytes_count_while_they_wait() {
    let mut gate = Gate::new(Limits { queue: 0, ..LIMITS }, 0);
    assert_eq!(gate.arrive(0, ask()), Err(Refused::QueueFull));
    gate.replica_ready(0, 0);
    gate.arrive(0, ask()).expect("it can run");
    let mut gate = Gate::new(Limits { queue_bytes: Some(100), ..LIMITS }, 0);
    gate.arrive(0, Ask { bytes: 80, ..ask() }).expect("there is room");
    assert_eq!(gate.arrive(0, Ask { bytes: 30, ..ask() }), Err(Refused::QueueBytesFull));
    gate.replica_ready(1, 0);
    assert_eq!(dispatches(&mut gate, 1).len(), 1);
    gate.arrive(1, Ask { bytes: 30, ..ask() }).expect("the first waits no more");
}

#[test]
fn waiting_and_running_requests_end_at_their_deadlines() {
    let mut gate = Gate::new(Limits { concurrency: 1, ..LIMITS }, 0);
    let replica = gate.replica_ready(0, 0);
    let runs = gate.arrive(100, ask()).expect("there is room");
    gate.dispatch(100).expect("it runs");
    let waits = gate.arrive(200, ask()).expect("there is room");
    assert_eq!(gate.next_deadline_us(), Some(10_000_100));
    assert_eq!(gate.expire(10_000_099), None);
    let left = gate.expire(10_000_100).expect("its time is up");
    assert_eq!((left.request, left.at), (runs, Some((replica, 100))));
    assert_eq!(gate.expire(10_000_199), None);
    let left = gate.expire(10_000_200).expect("its time is up");
    assert_eq!((left.request, left.arrived_us, left.at), (waits, 200, None));
    assert_eq!((gate.in_flight(), gate.waiting(), gate.next_deadline_us()), (0, 0, None));
    assert_eq!(gate.end(10_000_300, runs, 1), None, "its handle stands for nothing");
}

#[test]
fn a_draining_replica_takes_no_requests_and_a_lost_ones_requests_may_be_tried_again() {
    let mut gate = Gate::new(LIMITS, 0);
    let (one, two) = (gate.replica_ready(0, 0), gate.replica_ready(0, 1));
    let all: Vec<_> =
        (0..3).map(|now_us| gate.arrive(now_us, ask()).expect("there is room")).collect();
    dispatches(&mut gate, 3); // the first and third to `one`
    gate.drain(4, two);
    let last = gate.arrive(5, ask()).expect("there is room");
    assert_eq!((dispatches(&mut gate, 5), gate.ready()), (vec![], 1));
    gate.remove(6, one);
    assert!(gate.retry(6, all[2]) && gate.retry(6, all[0]));
    assert!(!gate.retry(6, all[0]), "it waits already");
    let three = gate.replica_ready(7, 2);
    assert_eq!(dispatches(&mut gate, 7), [(all[0], three), (all[2], three)], "by arrival");
    gate.end(8, all[0], 0);
    assert_eq!(dispatches(&mut gate, 8), [(last, three)]);
    gate.remove(9, two);
    assert_eq!(gate.load_of(two), 1, "it is kept until its last request is told of");
    gate.give_up(9, all[1]).expect("it ran");
}

#[test]
fn a_replica_that_is_set_aside_gets_nothing_until_its_time_and_still_counts_as_ready() {
    let mut gate = Gate::new(LIMITS, 0);
    let (one, two) = (gate.replica_ready(0, 0), gate.replica_ready(0, 1));
    let first = gate.arrive(0, ask()).expect("there is room");
    assert_eq!(dispatches(&mut gate, 0), [(first, one)]);
    gate.set_aside(one, 500);
    assert!(gate.retry(1, first));
    assert_eq!((dispatches(&mut gate, 1), gate.ready()), (vec![(first, two)], 2));
    gate.set_aside(two, 400);
    let second = gate.arrive(2, ask()).expect("it may wait");
    assert_eq!(dispatches(&mut gate, 399), []);
    assert_eq!(dispatches(&mut gate, 400), [(second, two)]);
    let third = gate.arrive(500, ask()).expect("there is room");
    assert_eq!(dispatches(&mut gate, 500), [(third, one)]);
    gate.set_aside(one, 900);
    gate.remove(600, one);
    gate.end(600, third, 0);
    let again = gate.replica_ready(601, 7);
    assert_eq!(again, one, "its place is taken by the next");
    gate.end(700, first, 0);
    let fourth = gate.arrive(900, ask()).expect("there is room");
    assert_eq!(dispatches(&mut gate, 900), [(fourth, again)]);
    assert_eq!((gate.load_of(again), gate.ready()), (1, 2));
}

/// Second, concurrency, arrivals of each report.
fn told(gate: &mut Gate, now_us: u64) -> Vec<(u64, f64, f64)> {
    let told = |report: Report| {
        let [concurrency, arrivals, ..] = report.values;
        (report.second, concurrency, arrivals)
    };
    gate.take_reports(now_us).map(told).collect()
}

#[test]
fn a_second_is_reported_where_a_replica_is_ready_or_something_is_or_just_was_in_flight() {
    let mut gate = Gate::new(LIMITS, 0);
    assert_eq!(told(&mut gate, 5 * SECOND_US), []);
    let replica = gate.replica_ready(6 * SECOND_US, 0);
    assert_eq!(told(&mut gate, 7 * SECOND_US), [(6, 0.0, 0.0), (7, 0.0, 0.0)]);
    let request = gate.arrive(7_500_000, ask()).expect("there is room");
    gate.dispatch(7_500_000);
    gate.remove(7_500_000, replica);
    gate.give_up(8_000_000, request);
    assert_eq!(told(&mut gate, 12 * SECOND_US), [(8, 0.5, 1.0), (9, 0.0, 0.0)]);
}

#[test]
fn the_first_request_at_zero_is_reported_at_once_and_not_twice() {
    let mut gate = Gate::new(LIMITS, 0);
    gate.arrive(3_250_000, ask()).expect("there is room");
    let at_once: Vec<Report> = gate.take_reports(3_250_000).collect();
    assert_eq!((at_once[0].second, at_once[0].waiting, at_once.len()), (3, 1, 1));
    assert_eq!(at_once[0].values[..2], [1.0, 1.0]);
    gate.arrive(3_250_000, ask()).expect("there is room");
    assert_eq!(told(&mut gate, 5 * SECOND_US), [(4, 1.0, 1.0), (5, 2.0, 0.0)]);
}

#[test]
fn offered_load_is_reported_as_it_is_and_counts_no_requests() {
    let mut gate = Gate::new(LIMITS, 0);
    gate.replica_ready(0, 0);
    gate.offer(0, 3.3);
    gate.offer(2_500_000, 0.0);
    let expected = [(1, 3.3, 0.0), (2, 3.3, 0.0), (3, 1.65, 0.0), (4, 0.0, 0.0)];
    assert_eq!(told(&mut gate, 4 * SECOND_US), expected);
}

#[test]
fn tokens_count_when_a_prompt_is_handed_over_and_when_an_answer_ends() {
    let mut gate = Gate::new(LIMITS, 0);
    gate.replica_ready(0, 0);
    let request = gate.arrive(10, Ask { prompt_tokens: 70, bytes: 0 }).expect("there is room");
    gate.dispatch(10);
    gate.end(1_500_000, request, 9);
    let values: Vec<_> =
        gate.take_reports(2_000_000).map(|report| report.values[2..].to_vec()).collect();
    assert_eq!(values, [[70.0, 0.0], [0.0, 9.0]]);
}

/// A gate told in the plainest words: lists that are searched.
#[derive(Default)]
struct Plain {
    waiting: Vec<u32>,
    running: Vec<(u32, u32)>,
    ready: Vec<u32>,
}

proptest! {
    #[test]
    fn a_gate_does_what_plain_lists_do(
        concurrency in 0u32..4,
        steps in prop::collection::vec((0u8..6, 0u32..40), 1..150),
    ) {
        let mut gate = Gate::new(Limits { concurrency, queue: 5, queue_bytes: None, timeout_us: None }, 0);
        let mut plain = Plain::default();
        let mut requests: BTreeMap<u32, RequestHandle> = BTreeMap::new();
        let mut replicas: BTreeMap<u32, ReplicaHandle> = BTreeMap::new();
        let (mut next_request, mut next_replica) = (0, 0);
        for (step, (what, which)) in steps.into_iter().enumerate() {
            let now_us = step as u64 * 300_000;
            let any = |list: Vec<u32>| (!list.is_empty()).then(|| list[which as usize % list.len()]);
            match what {
                0 | 1 => {
                    let load = |one: u32| plain.running.iter().filter(|(_, at)| *at == one).count() as u32;
                    let has_room = plain.ready.iter().any(|one| concurrency == 0 || load(*one) < concurrency);
                    let taken = gate.arrive(now_us, ask());
                    prop_assert_eq!(taken.is_ok(), plain.waiting.len() < 5 || (plain.waiting.is_empty() && has_room));
                    if let Ok(handle) = taken {
                        requests.insert(next_request, handle);
                        plain.waiting.push(next_request);
                        next_request += 1;
                    }
                }
                2 => if let Some(one) = any(requests.keys().copied().collect()) {
                    let handle = requests.remove(&one).expect("it is there");
                    let left = gate.end(now_us, handle, 1).expect("it is there");
                    prop_assert_eq!(left.at.is_some(), plain.running.iter().any(|(it, _)| *it == one));
                    plain.running.retain(|(it, _)| *it != one);
                    plain.waiting.retain(|it| *it != one);
                    prop_assert_eq!(gate.end(now_us, handle, 1), None);
                },
                3 => {
                    replicas.insert(next_replica, gate.replica_ready(now_us, next_replica));
                    plain.ready.push(next_replica);
                    next_replica += 1;
                }
                4 => if let Some(one) = any(plain.ready.clone()) {
                    gate.drain(now_us, replicas[&one]);
                    plain.ready.retain(|it| *it != one);
                },
                _ => if let Some(one) = any(replicas.keys().copied().collect()) {
                    gate.remove(now_us, replicas.remove(&one).expect("it is there"));
                    plain.ready.retain(|it| *it != one);
                    let mut lost: Vec<u32> =
                        plain.running.iter().filter(|(_, at)| *at == one).map(|(it, _)| *it).collect();
                    plain.running.retain(|(_, at)| *at != one);
                    lost.sort_unstable();
                    for it in &lost {
                        prop_assert!(gate.retry(now_us, requests[it]));
                    }
                    plain.waiting.extend(lost);
                    plain.waiting.sort_unstable();
                },
            }
            while let Some(went) = gate.dispatch(now_us) {
                let first = plain.waiting.remove(0);
                prop_assert_eq!(went.request, requests[&first]);
                let load = |one: u32| plain.running.iter().filter(|(_, at)| *at == one).count() as u32;
                let to = plain.ready.iter().copied().min_by_key(|one| (load(*one), *one)).expect("one is ready");
                prop_assert_eq!(went.replica, replicas[&to]);
                prop_assert!(concurrency == 0 || load(to) < concurrency);
                plain.running.push((first, to));
            }
            let counts = (gate.waiting() as usize, gate.in_flight() as usize, gate.ready() as usize);
            prop_assert_eq!(counts, (plain.waiting.len(), plain.running.len(), plain.ready.len()));
        }
    }
}
