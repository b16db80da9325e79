//! Where replicas go among the nodes that suit, and who leaves first.

mod common;

use common::{GB, explain, fleet, place, rank, replica};
use proptest::prelude::*;

fn preferred(terms: &[(u32, &str)]) -> String {
    let terms: Vec<String> = terms
        .iter()
        .map(|(weight, class)| {
            format!(
                r#"{{"weight": {weight}, "preference": {{"matchExpressions": [{{"key": "class", "operator": "In", "values": ["{class}"]}}]}}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"affinity": {{"nodeAffinity": {{"preferredDuringSchedulingIgnoredDuringExecution": [{}]}}}}}}"#,
        terms.join(", ")
    )
}

#[test]
fn replicas_go_where_the_fewest_gpus_stay_free() {
    let nodes = fleet("a @gpus=8\nb @gpus=2\nc @gpus=4");
    let one = replica("{}", 1);
    assert_eq!(place(&nodes, &[one.clone(), one.clone(), one.clone()]), ["b", "b", "c"]);
    assert_eq!(place(&nodes, &[replica("{}", 4), one.clone(), replica("{}", 8)]), ["c", "b", "a"]);
    assert_eq!(place(&nodes, &[replica("{}", 9)]), ["-"]);
    let without = replica("{}", 0);
    assert_eq!(
        place(&fleet("a @gpus=8\ncpu"), &[without]),
        ["cpu"],
        "GPU nodes are left to those that need GPUs"
    );
}

#[test]
fn among_equally_tight_nodes_cached_weights_then_price_then_the_name_decide() {
    let one = replica("{}", 1);
    let priced = fleet("a @gpus=1 @price=2\nb @gpus=1 @price=1\nc @gpus=1");
    assert_eq!(
        place(&priced, &[one.clone(), one.clone(), one.clone()]),
        ["b", "a", "c"],
        "not known is dearest"
    );
    assert_eq!(place(&priced, &[one.clone().cached_on("a")]), ["a"]);
    let tighter = fleet("a @gpus=1\nb @gpus=2");
    assert_eq!(
        place(&tighter, &[one.clone().cached_on("b")]),
        ["a"],
        "packing comes before the cache"
    );
    let cpu = fleet("a @gpus=1 @cpu=9\nb @gpus=1 @cpu=8\nc @gpus=1 @cpu=8");
    assert_eq!(place(&cpu, &[one.clone(), one.clone(), one]), ["b", "c", "a"]);
}

/// kube-scheduler weighs taints 3 and affinity 2, each as a part of the largest there is
/// (`pkg/scheduler/apis/config/v1/default_plugins.go`, `plugins/helper/normalize_score.go`).
#[test]
fn preferred_terms_come_before_packing_and_add_up() {
    let nodes = fleet("a class=A40 @gpus=1\nb class=H100 @gpus=8\nc class=T4 @gpus=1");
    let on = |terms: &[(u32, &str)]| place(&nodes, &[replica(&preferred(terms), 1)]).remove(0);
    assert_eq!(on(&[(1, "H100")]), "b");
    assert_eq!(on(&[(50, "H100"), (51, "T4")]), "c");
    assert_eq!(on(&[(50, "H100"), (30, "T4"), (30, "T4")]), "c");
    assert_eq!(on(&[(100, "V100")]), "a", "a preference that nobody meets changes nothing");
    let full = fleet("a class=A40 @gpus=0\nb class=H100 @gpus=8");
    assert_eq!(
        place(&full, &[replica(&preferred(&[(100, "A40")]), 1)]),
        ["b"],
        "it is no requirement"
    );

    let soft = fleet(
        "a class=A40 @gpus=1 spot:PreferNoSchedule\nb class=H100 @gpus=8\nc class=H100 @gpus=9",
    );
    assert_eq!(place(&soft, &[replica("{}", 1)]), ["b"]);
    assert_eq!(
        place(&soft, &[replica(&preferred(&[(100, "A40")]), 1)]),
        ["b"],
        "a taint weighs more"
    );
    let tolerant = r#"{"tolerations": [{"key": "spot", "operator": "Exists"}]}"#;
    assert_eq!(place(&soft, &[replica(tolerant, 1)]), ["a"]);
    assert_eq!(place(&soft[..1], &[replica("{}", 1)]), ["a"], "and does not forbid");
}

/// 0.9 of each GPU's memory, less 0.5 GB, together.
#[test]
fn weights_must_fit_in_the_gpus_together() {
    let nodes = fleet("a @gpus=8 @vram=48\nb @gpus=8 @vram=80");
    let on = |gpus: u32, weights: f64| {
        place(&nodes, &[replica("{}", gpus).with("weights-bytes", weights * GB)]).remove(0)
    };
    for (gpus, weights, expected) in [
        (1, 42.7, "a"),
        (1, 42.8, "b"),
        (1, 71.5, "b"),
        (1, 71.6, "-"),
        (2, 85.4, "a"),
        (8, 352.0, "b"),
        (8, 573.0, "-"),
        (0, 573.0, "a"),
    ] {
        assert_eq!(on(gpus, weights), expected, "{weights} GB on {gpus} GPUs");
    }
    let unknown = fleet("a @gpus=1");
    assert_eq!(place(&unknown, &[replica("{}", 1).with("weights-bytes", 1e12)]), ["a"]);
    assert_eq!(place(&nodes, &[replica("{}", 1).with("weights-bytes", f64::NAN)]), ["a"]);
}

#[test]
fn cpu_that_is_split_into_tenths_fits_to_the_last_one() {
    let nodes = fleet("a @cpu=0.3");
    let tenth = replica("{}", 0).with("cpu", 0.1);
    assert_eq!(place(&nodes, &vec![tenth; 4]), ["a", "a", "a", "-"]);
}

#[test]
fn choices_are_told() {
    let nodes = fleet("a @gpus=1\nb @gpus=1\nc @gpus=0");
    let one = replica("{}", 1);
    assert_eq!(
        explain(&nodes, &[one.clone(), one.clone(), one]),
        ["on a, best of 2", "on b, the only one that will do", "no node: 3 lack a free GPU"]
    );
}

#[test]
fn starting_replicas_leave_first_then_the_idlest_then_the_youngest() {
    let candidates = [
        (0, true, 0.0, 10),
        (0, true, 0.0, 20),
        (0, false, 0.0, 5),
        (0, true, 3.0, 90),
        (0, false, 0.0, 7),
        (1, true, 0.0, 20),
        (0, true, f64::NAN, 99),
    ];
    assert_eq!(rank(&candidates), [4, 2, 1, 5, 0, 3, 6]);
    assert_eq!(rank(&[]), [] as [u32; 0]);
}

fn any_node(at: usize) -> impl Strategy<Value = common::Node> {
    let class = prop::sample::select(vec!["class=A40", "class=H100", ""]);
    let taint = prop::sample::select(vec!["", "", "spot:NoSchedule", "spot:PreferNoSchedule"]);
    let price = prop::sample::select(vec!["", "@price=1", "@price=2"]);
    (class, taint, price, 0u32..9, 0u32..9).prop_map(move |(class, taint, price, gpus, cpu)| {
        common::node(&format!("n{at} {class} {taint} {price} @gpus={gpus} @cpu={cpu} @vram=48"))
    })
}

fn any_fleet() -> impl Strategy<Value = Vec<common::Node>> {
    (1usize..8).prop_flat_map(|count| (0..count).map(any_node).collect::<Vec<_>>())
}

fn any_replica() -> impl Strategy<Value = common::Replica> {
    let pod = prop::sample::select(vec![
        "{}".to_owned(),
        r#"{"nodeSelector": {"class": "A40"}}"#.to_owned(),
        r#"{"tolerations": [{"operator": "Exists"}]}"#.to_owned(),
        preferred(&[(10, "H100"), (20, "A40")]),
    ]);
    (pod, 0u32..5, 0u32..30, 0usize..8).prop_map(|(pod, gpus, tenths, cached)| {
        replica(&pod, gpus).with("cpu", f64::from(tenths) / 10.0).cached_on(&format!("n{cached}"))
    })
}

proptest! {
    #[test]
    fn no_node_is_over_committed_and_none_with_room_is_overlooked(
        nodes in any_fleet(),
        replicas in prop::collection::vec(any_replica(), 0..12),
    ) {
        let mut free: Vec<(f64, f64)> =
            nodes.iter().map(|node| (node.facts["free-gpus"], node.facts["free-cpu"] * 1e3)).collect();
        for (replica, on) in replicas.iter().zip(place(&nodes, &replicas)) {
            let (gpus, milli) = (replica.facts["gpus"], (replica.facts["cpu"] * 1e3).round());
            let alone = |node: &common::Node| {
                let mut large = node.clone();
                large.facts.extend([("free-gpus", 99.0), ("free-cpu", 99.0)]);
                place(&[large], std::slice::from_ref(replica)) != ["-"]
            };
            match nodes.iter().position(|node| node.name == on) {
                Some(at) => {
                    free[at].0 -= gpus;
                    free[at].1 -= milli;
                    prop_assert!(free[at].0 >= 0.0 && free[at].1 >= 0.0, "{on} has {:?} left", free[at]);
                    prop_assert!(alone(&nodes[at]));
                }
                None => for (node, (free_gpus, free_milli)) in nodes.iter().zip(&free) {
                    prop_assert!(*free_gpus < gpus || *free_milli < milli || !alone(node));
                }
            }
        }
    }

    #[test]
    fn the_order_of_nodes_does_not_matter(
        (nodes, shuffled) in any_fleet().prop_flat_map(|nodes| (Just(nodes.clone()), Just(nodes).prop_shuffle())),
        replicas in prop::collection::vec(any_replica(), 0..12),
    ) {
        prop_assert_eq!(place(&nodes, &replicas), place(&shuffled, &replicas));
        prop_assert_eq!(explain(&nodes, &replicas), explain(&shuffled, &replicas));
    }

    #[test]
    fn what_is_explained_is_what_is_chosen(
        nodes in any_fleet(),
        replicas in prop::collection::vec(any_replica(), 0..12),
    ) {
        for (on, told) in place(&nodes, &replicas).into_iter().zip(explain(&nodes, &replicas)) {
            let expected = if on == "-" { "no node: ".to_owned() } else { format!("on {on}, ") };
            prop_assert!(told.starts_with(&expected), "{told} of {on}");
        }
    }

    #[test]
    fn every_candidate_is_ranked_once(
        candidates in prop::collection::vec((0u32..3, any::<bool>(), 0.0..4.0f64, 0u64..5), 0..20),
    ) {
        let mut ranked = rank(&candidates);
        ranked.sort();
        prop_assert_eq!(ranked, (0..candidates.len() as u32).collect::<Vec<u32>>());
    }
}
