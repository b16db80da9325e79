//! Which nodes suit a pod: Kubernetes' semantics, case by case, and what is said to constraints that are not in order.

mod common;

use common::{bind, bind_document, explain, fleet, place, replica};

/// The names of the nodes that a pod without needs would be admitted to.
fn admitted(pod: &str, nodes: &str) -> String {
    let names: Vec<String> = fleet(nodes)
        .into_iter()
        .filter(|node| place(std::slice::from_ref(node), &[replica(pod, 0)]) != ["-"])
        .map(|node| node.name)
        .collect();
    names.join(" ")
}

fn required(terms: &str) -> String {
    format!(
        r#"{{"affinity": {{"nodeAffinity": {{"requiredDuringSchedulingIgnoredDuringExecution": {{"nodeSelectorTerms": {terms}}}}}}}}}"#
    )
}

fn expression(key: &str, operator: &str, values: &str) -> String {
    format!(r#"{{"key": "{key}", "operator": "{operator}", "values": {values}}}"#)
}

/// `apimachinery/pkg/labels/selector.go`, `Requirement.Matches`; bounds and values are `strconv.ParseInt(…, 10, 64)`.
#[test]
fn each_operator_means_what_it_means_to_kubernetes() {
    let nodes = "a40 class=A40 vram=48
        h100 class=H100 vram=80
        cpu kind=cpu
        odd class=A40 vram=large
        empty class=";
    for (operator, key, values, expected) in [
        ("In", "class", r#"["A40"]"#, "a40 odd"),
        ("In", "class", r#"["A40", "H100"]"#, "a40 h100 odd"),
        ("In", "class", r#"["a40"]"#, ""),
        ("In", "class", r#"[""]"#, "empty"),
        ("In", "colour", r#"["A40"]"#, ""),
        ("NotIn", "class", r#"["A40"]"#, "h100 cpu empty"),
        ("NotIn", "class", r#"["A40", "H100", ""]"#, "cpu"),
        ("NotIn", "colour", r#"["red"]"#, "a40 h100 cpu odd empty"),
        ("Exists", "class", "[]", "a40 h100 odd empty"),
        ("Exists", "colour", "[]", ""),
        ("DoesNotExist", "class", "[]", "cpu"),
        ("DoesNotExist", "colour", "[]", "a40 h100 cpu odd empty"),
        ("Gt", "vram", r#"["48"]"#, "h100"),
        ("Gt", "vram", r#"["47"]"#, "a40 h100"),
        ("Gt", "vram", r#"["-1"]"#, "a40 h100"),
        ("Lt", "vram", r#"["80"]"#, "a40"),
        ("Lt", "vram", r#"["48"]"#, ""),
        ("Lt", "colour", r#"["9223372036854775807"]"#, ""),
    ] {
        let terms = format!(r#"[{{"matchExpressions": [{}]}}]"#, expression(key, operator, values));
        assert_eq!(admitted(&required(&terms), nodes), expected, "{key} {operator} {values}");
    }
}

/// `component-helpers/scheduling/corev1/nodeaffinity/nodeaffinity.go`: terms are ORed, what is in a term is ANDed, and an empty
/// term matches nothing.
#[test]
fn terms_are_alternatives_and_a_term_holds_as_a_whole() {
    let nodes = "a class=A40 zone=1\nb class=A40 zone=2\nc class=H100 zone=1";
    let a40 = expression("class", "In", r#"["A40"]"#);
    let h100 = expression("class", "In", r#"["H100"]"#);
    let zone_1 = expression("zone", "In", r#"["1"]"#);
    let named = |operator, name| {
        format!(
            r#""matchFields": [{{"key": "metadata.name", "operator": "{operator}", "values": ["{name}"]}}]"#
        )
    };
    for (terms, expected) in [
        (format!(r#"[{{"matchExpressions": [{a40}, {zone_1}]}}]"#), "a"),
        (
            format!(r#"[{{"matchExpressions": [{a40}]}}, {{"matchExpressions": [{h100}]}}]"#),
            "a b c",
        ),
        ("[{}]".into(), ""),
        (format!(r#"[{{}}, {{"matchExpressions": [{h100}]}}]"#), "c"),
        (format!("[{{{}}}]", named("In", "b")), "b"),
        (format!("[{{{}}}]", named("NotIn", "b")), "a c"),
        (format!(r#"[{{"matchExpressions": [{a40}], {}}}]"#, named("NotIn", "b")), "a"),
    ] {
        assert_eq!(admitted(&required(&terms), nodes), expected, "{terms}");
    }
}

#[test]
fn a_node_selector_holds_beside_the_affinity() {
    let nodes = "a class=A40 zone=1\nb class=A40 zone=2\nc zone=1";
    assert_eq!(admitted(r#"{"nodeSelector": {"class": "A40", "zone": "1"}}"#, nodes), "a");
    assert_eq!(admitted(r#"{"nodeSelector": {}}"#, nodes), "a b c");
    assert_eq!(admitted(r#"{"nodeSelector": {"class": "B"}}"#, nodes), "");
    let mut both = required(&format!(
        r#"[{{"matchExpressions": [{}]}}]"#,
        expression("zone", "In", r#"["1"]"#)
    ));
    both.insert_str(1, r#""nodeSelector": {"class": "A40"}, "#);
    assert_eq!(admitted(&both, nodes), "a");
}

/// `api/core/v1/toleration.go`, `ToleratesTaint`, and the scheduler's plugin `tainttoleration`, whose filter looks at
/// `NoSchedule` and `NoExecute` alone.
#[test]
fn taints_keep_away_what_does_not_tolerate_them() {
    let nodes = "plain
        spot spot:NoSchedule
        team team=a:NoSchedule
        leave spot:NoExecute
        soft spot:PreferNoSchedule
        both spot:NoSchedule team=a:NoExecute";
    for (tolerations, expected) in [
        ("[]", "plain soft"),
        (r#"[{"operator": "Exists"}]"#, "plain spot team leave soft both"),
        (r#"[{"operator": "Exists", "effect": "NoSchedule"}]"#, "plain spot team soft"),
        (r#"[{"key": "spot", "operator": "Exists"}]"#, "plain spot leave soft"),
        (
            r#"[{"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]"#,
            "plain leave soft",
        ),
        (r#"[{"key": "spot"}]"#, "plain spot leave soft"),
        (r#"[{"key": "spot", "operator": "Equal", "value": "yes"}]"#, "plain soft"),
        (r#"[{"key": "team", "operator": "Equal", "value": "a"}]"#, "plain team soft"),
        (r#"[{"key": "team", "value": "b"}]"#, "plain soft"),
        (
            r#"[{"key": "team", "value": "a"}, {"key": "spot", "operator": "Exists"}]"#,
            "plain spot team leave soft both",
        ),
        (r#"[{"key": "colour", "operator": "Exists"}]"#, "plain soft"),
    ] {
        assert_eq!(
            admitted(&format!(r#"{{"tolerations": {tolerations}}}"#), nodes),
            expected,
            "{tolerations}"
        );
    }
}

#[test]
fn why_there_is_no_node_is_counted() {
    let nodes = fleet(
        "a class=A40 @gpus=0
         b class=A40 @gpus=0
         c class=A40 @gpus=8 spot:NoSchedule
         d class=T4 @gpus=8
         e class=A40 @gpus=8 @vram=1",
    );
    let pod = r#"{"nodeSelector": {"class": "A40"}}"#;
    assert_eq!(
        explain(&nodes, &[replica(pod, 1), replica(pod, 8).with("cpu", 65.0)]),
        [
            "no node: 2 lack a free GPU, 1 does not match the node selector, 1 has the taint spot, 1 has too little GPU memory for the weights",
            "no node: 2 lack 8 free GPUs, 1 does not match the node selector, 1 has the taint spot, 1 lacks free CPU",
        ]
    );
    assert_eq!(explain(&[], &[replica("{}", 0)]), ["no node: there is none"]);
    assert_eq!(
        explain(&nodes[..1], &[replica("{}", 0), replica("{}", 0).with("memory-bytes", 1e12)]),
        ["on a, the only one that will do", "no node: 1 lacks free memory"]
    );
}

#[test]
fn every_fault_is_told_with_its_place_what_was_found_and_what_is_allowed() {
    let pod = r#"{
        "nodeSelector": {"vram": 48, "class": ["A40"]},
        "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [
                    {"key": "class", "operator": "In", "values": ["A40"]},
                    {"key": "class", "operator": "Inn", "values": ["A40"]},
                    {"key": "class", "operator": "In", "values": []},
                    {"key": "class", "operator": "NotIn"},
                    {"key": "class", "operator": "Exists", "values": ["A40"]},
                    {"key": "vram", "operator": "Gt", "values": ["16Gi"]},
                    {"key": "vram", "operator": "Lt", "values": ["1", "2"]},
                    {"key": "vram", "operator": "Gt", "values": [16]},
                    {"operator": "Exists"},
                    {"key": "", "operator": "Exists"},
                    {"key": "class"}
                ]},
                {"matchFields": [
                    {"key": "metadata.uid", "operator": "In", "values": ["a"]},
                    {"key": "metadata.name", "operator": "Exists", "values": ["a"]},
                    {"key": "metadata.name", "operator": "In", "values": ["a", "b"]}
                ]},
                "A40"
            ]},
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 0, "preference": {}},
                {"weight": 101, "preference": {}},
                {"preference": {}},
                {"weight": 1}
            ]
        }},
        "tolerations": [
            {"key": "spot", "operator": "Is"},
            {"value": "spot"},
            {"key": "spot", "operator": "Exists", "value": "x"},
            {"key": "spot", "effect": "Never"},
            {"key": "spot", "operator": "Exists", "tolerationSeconds": 5},
            {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "5"}
        ]
    }"#;
    let expected = "
nodeSelector.class: found a list, expected text
nodeSelector.vram: found 48, expected text, as \"48\"
R.0.matchExpressions.1.operator: found \"Inn\", expected In, NotIn, Exists, DoesNotExist, Gt or Lt
R.0.matchExpressions.2.values: found none, expected at least one value with operator In
R.0.matchExpressions.3.values: found none, expected at least one value with operator NotIn
R.0.matchExpressions.4.values: found a list, expected none with operator Exists
R.0.matchExpressions.5.values: found \"16Gi\", expected exactly one integer with operator Gt
R.0.matchExpressions.6.values: found 2 values, expected exactly one integer with operator Lt
R.0.matchExpressions.7.values.0: found 16, expected text, as \"16\"
R.0.matchExpressions.8.key: missing, expected the key of a label
R.0.matchExpressions.9.key: found \"\", expected the key of a label
R.0.matchExpressions.10.operator: missing, expected In, NotIn, Exists, DoesNotExist, Gt or Lt
R.1.matchFields.0.key: found \"metadata.uid\", expected metadata.name
R.1.matchFields.1.operator: found \"Exists\", expected In or NotIn
R.1.matchFields.2.values: found 2 values, expected the name of one node
R.2: found \"A40\", expected keys with values
P.0.weight: found 0, expected a whole number from 1 to 100
P.1.weight: found 101, expected a whole number from 1 to 100
P.2.weight: missing, expected a whole number from 1 to 100
P.3.preference: missing, expected a term
tolerations.0.operator: found \"Is\", expected Exists or Equal
tolerations.1.operator: found nothing, expected Exists where there is no key
tolerations.2.value: found \"x\", expected none with operator Exists
tolerations.3.effect: found \"Never\", expected NoSchedule, PreferNoSchedule or NoExecute
tolerations.4.tolerationSeconds: found 5, expected none, unless effect is NoExecute
tolerations.5.tolerationSeconds: found \"5\", expected a whole number of seconds";
    let found: Vec<String> = bind(pod)
        .expect_err("it is full of faults")
        .into_iter()
        .map(|fault| {
            let affinity = "service.pod.affinity.nodeAffinity";
            let scheduling = "DuringSchedulingIgnoredDuringExecution";
            fault
                .replace(&format!("{affinity}.required{scheduling}.nodeSelectorTerms"), "R")
                .replace(&format!("{affinity}.preferred{scheduling}"), "P")
                .replace("service.pod.", "")
        })
        .collect();
    assert_eq!(found.join("\n"), expected.trim());
}

#[test]
fn shapes_that_are_not_kubernetes_are_faults_too() {
    let told = |pod: &str| bind(pod).expect_err("it is not in order").join("; ");
    let affinity = "service.pod.affinity";
    for (pod, expected) in [
        (r#""A40""#, r#"service.pod: found "A40", expected keys with values"#.to_owned()),
        (
            r#"{"nodeSelector": []}"#,
            "service.pod.nodeSelector: found an empty list, expected keys with values".to_owned(),
        ),
        (
            r#"{"affinity": {"nodeAffinity": 1}}"#,
            format!("{affinity}.nodeAffinity: found 1, expected keys with values"),
        ),
        (
            r#"{"tolerations": {"key": "spot"}}"#,
            "service.pod.tolerations: found keys with values, expected a list".to_owned(),
        ),
        (
            &required("[]"),
            format!(
                "{affinity}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: found an empty list, expected at least one term"
            ),
        ),
        (
            r#"{"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}"#,
            format!(
                "{affinity}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: missing, expected a list of terms"
            ),
        ),
    ] {
        assert_eq!(told(pod), expected);
    }
    for pod in ["null", "{}", r#"{"affinity": null, "nodeSelector": null, "tolerations": null}"#] {
        assert_eq!(bind(pod).expect("nothing is in order").1, Vec::<String>::new(), "{pod}");
    }
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let pod = r#"{
        "nodeName": "a",
        "affinity": {
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []},
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": {"matchLabels": {"class": "A40"}}}
            ]}
        }
    }"#;
    assert_eq!(
        bind(pod).expect("it is accepted").1,
        [
            "service.pod.nodeName: has no effect, known are nodeSelector, affinity and tolerations",
            "service.pod.affinity.podAntiAffinity: has no effect: replicas are placed by nodes alone",
            "service.pod.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution.0.preference.matchLabels: has no effect, known are matchExpressions and matchFields",
        ]
    );
}

#[test]
fn settings_of_its_own_are_checked_beside_the_constraints() {
    let told = |document: &str| bind_document(document).expect_err("it is not in order");
    assert_eq!(
        told(r#"{"settings": {"gpuMemoryUtilization": 1.1}, "service": {"pod": []}}"#),
        [
            "settings.gpuMemoryUtilization: found 1.1, expected above 0 and at most 1",
            "service.pod: found an empty list, expected keys with values",
        ]
    );
    let unknown = told(r#"{"settings": {"spread": true}}"#);
    assert!(unknown[0].starts_with("settings.spread: unknown field `spread`"), "{unknown:?}");
}
