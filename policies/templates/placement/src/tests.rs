use tidegate_policy::placement::TaintEffect;
use tidegate_policy::testing::placement::Trial;

use super::Policy;

/// A cheap node with one free GPU, a dear one with two, and one of which the price is not known.
fn nodes(settings: &str, pod: &str) -> Trial<Policy> {
    let mut trial = Trial::<Policy>::new(settings, pod);
    trial
        .node("cheap", &[("free-gpus", 1.0), ("usd-per-gpu-hour", 1.0)])
        .node("dear", &[("free-gpus", 2.0), ("usd-per-gpu-hour", 4.0)])
        .node("other", &[("free-gpus", 1.0)])
        .label("dear", "zone", "a");
    trial
}

#[test]
fn the_cheapest_node_that_has_room_is_taken_and_what_is_not_known_comes_last() {
    assert_eq!(
        nodes("{}", "{}").place(5),
        [
            "on cheap, best of 3",
            "on dear, best of 2",
            "on dear, best of 2",
            "on other, the only one that will do",
            "no node: 3 lack a free GPU",
        ]
    );
}

#[test]
fn preferred_labels_come_before_price_and_a_selector_before_all() {
    assert_eq!(nodes(r#"{"prefer": {"zone": "a"}}"#, "{}").place(1), ["on dear, best of 3"]);
    let selected = nodes("{}", r#"{"nodeSelector": {"zone": "b"}}"#).place(1);
    assert_eq!(selected, ["no node: 3 lack the label zone"]);
}

#[test]
fn a_taint_keeps_away_whoever_does_not_tolerate_it() {
    let place = |tolerations: &str| {
        let mut trial = nodes("{}", &format!(r#"{{"tolerations": [{tolerations}]}}"#));
        trial.taint("cheap", "spot", "yes", TaintEffect::NoSchedule).place(1).remove(0)
    };
    for (tolerations, told) in [
        ("", "on dear, best of 2"),
        (r#"{"key": "spot"}"#, "on dear, best of 2"),
        (r#"{"key": "spot", "value": "yes"}"#, "on cheap, best of 3"),
        (r#"{"operator": "Exists"}"#, "on cheap, best of 3"),
        (r#"{"operator": "Exists", "effect": "NoExecute"}"#, "on dear, best of 2"),
    ] {
        assert_eq!(place(tolerations), told, "{tolerations}");
    }
}

#[test]
fn weights_must_fit_and_cached_ones_decide_between_equal_prices() {
    let mut trial = Trial::<Policy>::new("{}", "{}");
    for (node, gpu_memory) in [("a", 24e9), ("b", 80e9), ("c", 80e9)] {
        let facts = [("free-gpus", 8.0), ("gpu-memory-bytes", gpu_memory)];
        trial.node(node, &facts).node(node, &[("usd-per-gpu-hour", 1.0)]);
    }
    trial.replica("weights-bytes", 30e9);
    assert_eq!(trial.place(1), ["on b, best of 2"]);
    assert_eq!(trial.cached("c").place(1), ["on c, best of 2"]);
}

#[test]
fn who_is_not_ready_leaves_first_then_who_has_the_least_to_do() {
    let trial = nodes("{}", "{}");
    let ready = |in_flight| [("is-ready", 1.0), ("in-flight", in_flight)];
    assert_eq!(
        trial.rank(&[
            ("cheap", &ready(4.0)),
            ("dear", &ready(1.0)),
            ("dear", &[("is-ready", 0.0), ("in-flight", 0.0)]),
        ]),
        [2, 1, 0]
    );
}

#[test]
fn affinity_is_refused_rather_than_ignored() {
    let pod = r#"{"affinity": {"nodeAffinity": {}}}"#;
    assert_eq!(
        Trial::<Policy>::faults("{}", pod),
        [
            "service.pod.affinity: is not read by this policy: use a node selector, or builtin:affinity"
        ]
    );
    assert_eq!(Trial::<Policy>::faults("{}", r#"{"affinity": {}}"#), [""; 0]);
}
