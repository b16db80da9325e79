//! A placement policy as an author writes one, and what the SDK makes of calls that are not in order.

use serde::{Deserialize, Serialize};
use tidegate_policy::native::placement::{self as native, NO_NODE};
use tidegate_policy::placement::{
    Candidate, CandidateColumn, Candidates, Inputs, Node, NodeColumns, Nodes, Obstacle, Ordered,
    Placement, Replica, Replicas, Request, Subject,
};
use tidegate_policy::{Document, Faults};

/// Only in one zone; where the most GPUs are free; the longest running leave first.
struct OneZone;

tidegate_policy::export_placement!(OneZone);

#[derive(Serialize, Deserialize)]
struct Zone {
    zone: String,
}

const ELSEWHERE: Obstacle = Obstacle::new("is in another zone", "are in another zone");

impl Placement for OneZone {
    type Settings = Zone;
    type Params = Zone;
    type Inputs = CandidateColumn;
    type Fit = ();
    type Score = u32;
    type Turn = Ordered;

    fn inputs(want: &mut Inputs) -> CandidateColumn {
        want.candidate("started-at-ms")
    }

    fn bind(document: Document<Zone>, _: &mut Faults) -> Result<Zone, Faults> {
        Ok(document.settings)
    }

    fn suits(params: &Zone, _: &CandidateColumn, nodes: &Nodes<'_>) -> Vec<Result<(), Obstacle>> {
        let is_here = |node: Node<'_>| node.label("zone") == Some(&params.zone);
        nodes.iter().map(|node| if is_here(node) { Ok(()) } else { Err(ELSEWHERE) }).collect()
    }

    fn score(
        _: &CandidateColumn,
        _: &(),
        _: &Replica<'_>,
        node: &Node<'_>,
    ) -> Result<u32, Obstacle> {
        Ok(node.free.gpus)
    }

    fn turn(
        _: &Zone,
        started: &CandidateColumn,
        candidate: &Candidate<'_>,
        _: Option<&Node<'_>>,
    ) -> Ordered {
        Ordered(candidate[*started])
    }
}

/// Nodes a, b and c with 2, 1 and 8 free GPUs, the last in another zone, and four replicas that need one.
fn request() -> Request {
    let params =
        native::bind::<OneZone>(r#"{"settings": {"zone": "here"}}"#).expect("it is in order");
    let words = ["a", "b", "c", "zone", "here", "there"];
    Request {
        at_ms: 0,
        words: words.map(String::from).to_vec(),
        nodes: NodeColumns {
            names: vec![0, 1, 2],
            label_keys: vec![3, 3, 3],
            label_values: vec![4, 4, 5],
            label_ends: vec![1, 2, 3],
            taint_keys: vec![],
            taint_values: vec![],
            taint_effects: vec![],
            taint_ends: vec![0, 0, 0],
            facts: vec![9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 2.0, 1.0, 8.0],
        },
        replicas: Replicas {
            params: vec![params.params],
            params_of: vec![0; 4],
            facts: [[1.0; 4], [1.0; 4], [1.0; 4]].concat(),
            pairs: vec![],
        },
    }
}

#[test]
fn what_a_replica_takes_is_gone_for_the_next() {
    assert_eq!(native::place::<OneZone>(&request()), Ok(vec![0, 0, 1, NO_NODE]));
    let told = native::explain::<OneZone>(&request()).expect("the request is in order");
    let told: Vec<&str> = told.iter().map(|told| told.reason.as_str()).collect();
    assert_eq!(
        told,
        [
            "on a, best of 2",
            "on a, best of 2",
            "on b, the only one that will do",
            "no node: 2 lack a free GPU, 1 is in another zone",
        ]
    );
}

#[test]
fn free_room_and_needs_are_always_asked_for() {
    let names = |subject| -> Vec<String> {
        let inputs = native::inputs::<OneZone>().into_iter();
        inputs.filter(|input| input.subject == subject).map(|input| input.name).collect()
    };
    assert_eq!(names(Subject::Node), ["free-cpu", "free-memory-bytes", "free-gpus"]);
    assert_eq!(names(Subject::Replica), ["cpu", "memory-bytes", "gpus"]);
    assert_eq!(names(Subject::Pair), [""; 0]);
    assert_eq!(names(Subject::Candidate), ["started-at-ms"]);
}

#[test]
fn asking_twice_is_asking_once_and_required_if_one_of_them_is() {
    struct Twice;
    impl Placement for Twice {
        type Settings = ();
        type Params = ();
        type Inputs = ();
        type Fit = ();
        type Score = ();
        type Turn = ();
        fn inputs(want: &mut Inputs) {
            let (one, other) = (want.optional_node("gpus"), want.optional_node("is-spot"));
            assert_ne!(one, other);
            assert_eq!(want.node("gpus"), one);
        }
        fn bind(_: Document<()>, _: &mut Faults) -> Result<(), Faults> {
            Ok(())
        }
        fn suits((): &(), (): &(), nodes: &Nodes<'_>) -> Vec<Result<(), Obstacle>> {
            vec![Ok(()); nodes.len()]
        }
        fn score((): &(), (): &(), _: &Replica<'_>, _: &Node<'_>) -> Result<(), Obstacle> {
            Ok(())
        }
        fn turn((): &(), (): &(), _: &Candidate<'_>, _: Option<&Node<'_>>) {}
    }
    let asked: Vec<(String, bool)> = native::inputs::<Twice>()
        .into_iter()
        .skip(6)
        .map(|input| (input.name, input.required))
        .collect();
    assert_eq!(asked, [("gpus".to_owned(), true), ("is-spot".to_owned(), false)]);
}

#[test]
fn a_request_that_is_not_in_order_is_a_failure_and_no_panic() {
    type Spoil = fn(&mut Request);
    let cases: [(Spoil, &[u32], &str); 11] = [
        (|asked| asked.nodes.facts.truncate(8), &[], "facts of nodes: 8 entries, expected 9"),
        (|asked| asked.nodes.label_ends.truncate(2), &[], "ends of labels: 2 entries, expected 3"),
        (|asked| asked.nodes.label_ends = vec![2, 1, 3], &[], "ends of labels go down"),
        (|asked| asked.nodes.label_values.push(0), &[], "labels: 4 entries, expected 3"),
        (|asked| asked.nodes.taint_ends[2] = 1, &[], "taints: 0 entries, expected 1"),
        (|asked| asked.nodes.label_values[0] = 9, &[], "word 9 of 6 asked for"),
        (
            |asked| asked.replicas.facts.truncate(3),
            &[],
            "facts of replicas: 3 entries, expected 12",
        ),
        (|asked| asked.replicas.pairs.push(1.0), &[], "pairs: 1 entries, expected 0"),
        (|asked| asked.replicas.params_of[2] = 7, &[2], "params 7 of 1 asked for"),
        (
            |asked| {
                asked.replicas.params_of = vec![7, 0, 0, 7];
                asked.replicas.facts[9] = -1.0;
            },
            &[0, 1, 3],
            "params 7 of 1 asked for (2 more are at fault)",
        ),
        (
            |asked| asked.replicas.facts[9] = f64::NAN,
            &[1],
            "gpus is NaN, expected what the replica takes",
        ),
    ];
    for (spoil, culprits, message) in cases {
        let mut asked = request();
        spoil(&mut asked);
        let failure = native::place::<OneZone>(&asked).expect_err(message);
        assert_eq!((failure.culprits.as_slice(), failure.message.as_str()), (culprits, message));
    }
    let mut asked = request();
    asked.replicas.params[0].push(0);
    let failure = native::place::<OneZone>(&asked).expect_err("a byte too many");
    assert_eq!(failure.culprits, [0, 1, 2, 3]);
}

/// Two replicas on node a and one on no node that is known, one of which leaves.
fn candidates() -> Candidates {
    let request = request();
    Candidates {
        at_ms: 0,
        words: request.words,
        nodes: request.nodes,
        params: request.replicas.params,
        params_of: vec![0; 3],
        node_of: vec![0, 0, NO_NODE],
        choices: vec![0; 3],
        leaving: vec![1],
        facts: vec![5.0, 3.0, 4.0],
    }
}

#[test]
fn who_leaves_is_told_by_the_same_order() {
    assert_eq!(native::rank::<OneZone>(&candidates()), Ok(vec![1, 2, 0]));
    let told = native::explain_rank::<OneZone>(&candidates()).expect("the columns are in order");
    let told: Vec<&str> = told.iter().map(|told| told.reason.as_str()).collect();
    assert_eq!(told, ["stays, 3 of 3 in turn", "leaves, 1 of 3 in turn", "stays, 2 of 3 in turn"]);
}

#[test]
fn candidates_that_are_not_in_order_are_a_failure_and_no_panic() {
    type Spoil = fn(&mut Candidates);
    let cases: [(Spoil, &[u32], &str); 6] = [
        (|asked| asked.facts.truncate(2), &[], "facts of candidates: 2 entries, expected 3"),
        (|asked| asked.node_of.truncate(2), &[], "node-of: 2 entries, expected 3"),
        (|asked| asked.params_of.push(0), &[], "params-of: 4 entries, expected 3"),
        (|asked| asked.node_of[1] = 3, &[1], "node 3 of 3"),
        (
            |asked| asked.leaving.clear(),
            &[0, 1, 2],
            "choice 0 of 0 asked for (2 more are at fault)",
        ),
        (|asked| asked.params_of[2] = 1, &[2], "params 1 of 1 asked for"),
    ];
    for (spoil, culprits, message) in cases {
        let mut asked = candidates();
        spoil(&mut asked);
        let failure = native::rank::<OneZone>(&asked).expect_err(message);
        assert_eq!((failure.culprits.as_slice(), failure.message.as_str()), (culprits, message));
    }
}

#[test]
fn what_is_not_known_is_the_largest() {
    let mut floats = [f64::NAN, f64::INFINITY, -f64::NAN, 0.0, -1.0].map(Ordered);
    floats.sort();
    assert_eq!(floats.map(|float| float.0.to_string()), ["-1", "0", "inf", "NaN", "NaN"]);
    assert_eq!(Ordered(0.0), Ordered(-0.0));
}
