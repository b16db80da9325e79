//! What holds for Knative's two policies whatever the settings and the load: that the sandbox changes nothing, that targets do not
//! touch each other, that a state is all there is to remember, and the limits that a person relies on. Seeds are fixed, so a run
//! is the same every time. `scripts/mutants` shows that recorded decisions notice single mistakes.
#![expect(unreachable_pub, reason = "modules of a test")]

mod asked;
mod chain;
mod limits;
mod random;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use asked::{Asked, Row, START_MS, Said, Which, ready};
use random::{Moment, Service};

/// The same cases in every run.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2_026),
        ..ProptestConfig::default()
    }
}

/// Services with what is seen of each, and the pauses between the decisions about all of them.
#[derive(Clone, Debug)]
struct Case {
    services: Vec<(Service, Vec<Moment>)>,
    pauses: Vec<u64>,
}

const TURNS: usize = 10;

fn case(services: usize) -> impl Strategy<Value = Case> {
    let service = (random::service(), random::moments(TURNS));
    let parts = (
        prop::collection::vec(service, 1..=services),
        prop::collection::vec(random::pause(), TURNS),
    );
    parts.prop_map(|(services, pauses)| Case { services, pauses })
}

/// What is asked about in one turn and what was said, in the order of services.
struct Turn<'a> {
    at_ms: u64,
    rows: Vec<Row<'a>>,
    said: Vec<Said>,
}

/// Every turn of a case, each on the states of the one before.
fn turns<'a>(case: &'a Case, asked: &mut Asked) -> Vec<Turn<'a>> {
    let first = |(service, moments): &'a (Service, Vec<Moment>)| (service, ready(moments[0], 1));
    let born: Vec<_> = case.services.iter().map(first).collect();
    let mut states = asked.born(&born);
    let mut wanted = vec![1; born.len()];
    let mut at_ms = START_MS;
    let mut turns = Vec::new();
    for (turn, pause) in case.pauses.iter().enumerate() {
        at_ms += pause;
        let mut rows = Vec::new();
        for (((service, moments), state), wanted) in case.services.iter().zip(states).zip(&wanted) {
            let moment = moments[turn];
            rows.push(Row { service, moment, ready: ready(moment, *wanted), state });
        }
        let said = asked.decide(at_ms, &rows);
        states = said.iter().map(|said| said.state.clone()).collect();
        for (wanted, said) in wanted.iter_mut().zip(&said).filter(|(_, said)| said.apply) {
            *wanted = said.wanted;
        }
        turns.push(Turn { at_ms, rows, said });
    }
    turns
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn the_sandbox_decides_as_the_same_policy_does_natively(case in case(6)) {
        for which in Which::BOTH {
            let mut native = Asked::new(which, which.native());
            let mut sandboxed = Asked::new(which, which.sandboxed());
            for (service, _) in &case.services {
                prop_assert_eq!(native.bind(service), sandboxed.bind(service));
            }
            for (ours, theirs) in turns(&case, &mut native).iter().zip(turns(&case, &mut sandboxed)) {
                prop_assert_eq!(&ours.said, &theirs.said);
            }
        }
    }

    #[test]
    fn a_batch_says_what_as_many_batches_of_one_say(case in case(6)) {
        for which in Which::BOTH {
            for policy in [which.native(), which.sandboxed()] {
                let mut asked = Asked::new(which, policy);
                for turn in turns(&case, &mut asked) {
                    for (row, said) in turn.rows.iter().zip(&turn.said) {
                        let alone = asked.decide(turn.at_ms, std::slice::from_ref(row));
                        prop_assert_eq!(&alone[0], said);
                    }
                }
            }
        }
    }

    #[test]
    fn the_order_of_targets_changes_no_decision(case in case(6), by in any::<prop::sample::Index>(), turned in any::<bool>()) {
        for (which, policy) in Which::BOTH.into_iter().flat_map(|which| [(which, which.native()), (which, which.sandboxed())]) {
            let mut asked = Asked::new(which, policy);
            let order = |n: usize| {
                let mut order: Vec<usize> = (0..n).collect();
                order.rotate_left(by.index(n));
                if turned { order.reverse() }
                order
            };
            for turn in turns(&case, &mut asked) {
                let order = order(turn.rows.len());
                let rows: Vec<Row<'_>> = order.iter().map(|at| turn.rows[*at].clone()).collect();
                let said = asked.decide(turn.at_ms, &rows);
                for (at, said) in order.iter().zip(&said) {
                    prop_assert_eq!(&turn.said[*at], said);
                }
            }
        }
    }

    #[test]
    fn a_state_is_all_that_is_remembered(case in case(4)) {
        for which in Which::BOTH {
            let mut native = Asked::new(which, which.native());
            for turn in turns(&case, &mut native) {
                // Others that have heard of nothing before, and the same one again.
                let mut fresh = Asked::new(which, which.native());
                let mut sandboxed = Asked::new(which, which.sandboxed());
                for asked in [&mut fresh, &mut sandboxed, &mut native] {
                    prop_assert_eq!(&turn.said, &asked.decide(turn.at_ms, &turn.rows));
                }
            }
        }
    }
}
