//! Every settings case that Knative's own code answered: which keys are refused and for what kind of reason, else the numbers.
//! `fixtures/kpa-golden/README.md` says what the fields mean.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};
use tidegate_settings::{Cluster, PREFIX, Revision};

const CASES: &str = "../../fixtures/kpa-golden/cases.resolve.jsonl.gz";

fn cases() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(CASES);
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).expect("the file is there"))
        .read_to_string(&mut text)
        .expect("it unpacks");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is a document")).collect()
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).expect("it is a map of texts")
}

/// What Knative would answer, in the words of the recording.
fn answer(case: &Value) -> Value {
    let cluster = match Cluster::read(&texts(&case["configmap"])) {
        Ok(cluster) => cluster,
        Err(error) => {
            let keys: Vec<_> = error.found.iter().map(|found| found.key.cluster_name()).collect();
            let error = json!({"keys": keys, "reason": error.reason.word()});
            return json!({"config_error": error, "annotation_errors": [], "resolved": null});
        }
    };
    let revision = match Revision::read(&cluster, &texts(&case["annotations"])) {
        Ok(revision) => revision,
        Err(errors) => {
            let errors: Vec<_> = errors
                .iter()
                .map(|error| json!({"key": error.key.annotation_name(), "reason": error.reason.word()}))
                .collect();
            return json!({"config_error": null, "annotation_errors": errors, "resolved": null});
        }
    };
    let concurrency = case["container_concurrency"].as_u64().expect("a count") as u32;
    let resolved = revision.resolve(concurrency, case["reachability"] != "Unreachable");
    let resolved = resolved.map(|resolved| {
        let activators = resolved.activators(case["ready_pods"].as_f64().expect("a count"));
        let mut numbers = serde_json::to_value(&resolved).expect("it is a document");
        let numbers = numbers.as_object_mut().expect("it has fields");
        for name in ["scale_to_zero_grace_period", "scale_to_zero_retention"] {
            let nanos = numbers.remove(&format!("{name}_ns")).expect("it is a field");
            let seconds = nanos.as_f64().expect("a number") / 1e9;
            numbers.insert(format!("{name}_s"), seconds.into());
        }
        numbers.remove("tick_ms").expect("Tidegate has its own");
        numbers.insert("num_activators".to_owned(), activators.into());
        numbers.clone()
    });
    json!({"config_error": null, "annotation_errors": [], "resolved": resolved})
}

/// The same with every number a float, so that 1 and 1.0 are equal.
fn in_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(list) => list.iter().map(in_floats).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), in_floats(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

#[test]
fn every_recorded_case_is_answered_as_knative_answered_it() {
    let cases = cases();
    assert_eq!(cases.len(), 541);
    let differing: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let expected = json!({
                "config_error": case["config_error"],
                "annotation_errors": case["annotation_errors"],
                "resolved": with_algorithm(&case["resolved"]),
            });
            let (found, expected) = (in_floats(&answer(case)), in_floats(&expected));
            (found != expected).then(|| format!("{}: {found}\n  instead of {expected}", case["id"]))
        })
        .collect();
    assert!(differing.is_empty(), "{} differ\n{}", differing.len(), differing.join("\n"));
}

/// The numbers as recorded, but with the algorithm that an annotation's word stands for: the recording has the word as it was
/// written, and one that Knative does not know behaves as linear.
fn with_algorithm(resolved: &Value) -> Value {
    let mut resolved = resolved.clone();
    if let Some(word) = resolved.get_mut("aggregation") {
        let is_weighted = *word == "weighted-exponential" || *word == "weightedExponential";
        *word = if is_weighted { "weightedExponential" } else { "linear" }.into();
    }
    resolved
}

/// A ConfigMap or annotations as `name: value` lines, and what is said about them.
fn told(config: &str, annotations: &str) -> String {
    let map = |text: &str, prefix: &str| -> BTreeMap<String, String> {
        let pairs = text.split(", ").filter_map(|pair| pair.split_once(": "));
        pairs.map(|(key, value)| (format!("{prefix}{key}"), value.to_owned())).collect()
    };
    let cluster = match Cluster::read(&map(config, "")) {
        Ok(cluster) => cluster,
        Err(error) => return format!("{}: {error}", error.reason.word()),
    };
    let Err(errors) = Revision::read(&cluster, &map(annotations, PREFIX)) else {
        return "in order".to_owned();
    };
    let lines: Vec<_> =
        errors.iter().map(|error| format!("{}: {error}", error.reason.word())).collect();
    lines.join("\n").replace(PREFIX, "")
}

#[test]
fn every_reason_is_told_with_the_key_what_was_found_and_what_is_allowed() {
    for (config, annotations, expected) in [
        (
            "stable-window: 60",
            "",
            r#"unparsable: stable-window is "60", expected a duration with its unit (as in 30s), 6s to 1h, whole seconds"#,
        ),
        (
            "max-scale-up-rate: fast",
            "",
            r#"unparsable: max-scale-up-rate is "fast", expected a number, above 1"#,
        ),
        (
            "panic-threshold-percentage: high",
            "",
            r#"unparsable: panic-threshold-percentage is "high", expected a number"#,
        ),
        (
            "enable-scale-to-zero: maybe",
            "",
            r#"unparsable: enable-scale-to-zero is "maybe", expected true or false"#,
        ),
        (
            "min-scale: 1.5",
            "",
            r#"unparsable: min-scale is "1.5", expected a whole number, 0 or more"#,
        ),
        (
            "scale-to-zero-grace-period: 0s",
            "",
            r#"not_positive: scale-to-zero-grace-period is "0s", expected above 0s"#,
        ),
        (
            "scale-to-zero-pod-retention-period: -1s",
            "",
            r#"negative: scale-to-zero-pod-retention-period is "-1s", expected 0s or more"#,
        ),
        (
            "target-burst-capacity: -2",
            "",
            r#"neither_nonnegative_nor_minus_one: target-burst-capacity is "-2", expected 0 or more, or -1"#,
        ),
        (
            "container-concurrency-target-percentage: 101",
            "",
            r#"out_of_range: container-concurrency-target-percentage is "101", expected above 0 and at most 100; up to 1 it is a fraction"#,
        ),
        (
            "stable-window: 2h",
            "",
            r#"out_of_range: stable-window is "2h", expected 6s to 1h, whole seconds"#,
        ),
        (
            "tick-interval: 10ms",
            "",
            r#"out_of_range: tick-interval is "10ms", expected 100ms to 1h, whole milliseconds"#,
        ),
        (
            "tick-interval: 100.5ms",
            "",
            r#"out_of_range: tick-interval is "100.5ms", expected 100ms to 1h, whole milliseconds"#,
        ),
        (
            "max-scale-down-rate: 1",
            "",
            r#"too_small: max-scale-down-rate is "1", expected above 1"#,
        ),
        (
            "activator-capacity: 0.5",
            "",
            r#"too_small: activator-capacity is "0.5", expected at least 1"#,
        ),
        (
            "initial-scale: 0",
            "",
            r#"too_small: initial-scale is "0", expected at least 1, or allow-zero-initial-scale to be true"#,
        ),
        (
            "initial-scale: -1",
            "",
            r#"too_small: initial-scale is "-1", expected 0 or more; 0 only with allow-zero-initial-scale"#,
        ),
        (
            "max-scale: 20, max-scale-limit: 10",
            "",
            r#"out_of_range: max-scale is "20", expected 1 to 10, the max-scale-limit"#,
        ),
        (
            "max-scale-limit: 10",
            "",
            r#"out_of_range: max-scale is "0" by default, expected 1 to 10, the max-scale-limit"#,
        ),
        (
            "stable-window: 6.5s",
            "",
            r#"not_whole_seconds: stable-window is "6.5s", expected 6s to 1h, whole seconds"#,
        ),
        (
            "container-concurrency-target-default: 0.001",
            "",
            r#"product_too_small: container-concurrency-target-default is "0.001" and container-concurrency-target-percentage is "70" by default, expected a target of at least 0.01, one times the other"#,
        ),
        (
            "min-scale: 5, max-scale: 3",
            "",
            r#"min_above_max: max-scale is "3" and min-scale is "5", expected a max-scale of at least min-scale, or 0 for none"#,
        ),
        (
            "",
            "window: 60",
            r#"invalid: window is "60", expected a duration with its unit (as in 30s), 6s to 1h, whole seconds"#,
        ),
        ("", "target: lots", r#"invalid: target is "lots", expected a number, at least 0.01"#),
        (
            "",
            "target-burst-capacity: -2",
            r#"invalid: target-burst-capacity is "-2", expected a number, 0 or more, or -1"#,
        ),
        (
            "",
            "min-scale: none",
            r#"invalid: min-scale is "none", expected a whole number, 0 to 2147483647"#,
        ),
        ("", "metric: cpu", r#"invalid: metric is "cpu", expected concurrency or rps"#),
        (
            "",
            "class: hpa.autoscaling.knative.dev, metric: ",
            r#"invalid: metric is "", expected the name of a metric"#,
        ),
        (
            "",
            "class: kpa.autoscaling.knative.dev, metric-aggregation-algorithm: mean",
            r#"invalid: metric-aggregation-algorithm is "mean", expected linear or weighted-exponential"#,
        ),
        (
            "",
            "class: vpa.autoscaling.knative.dev",
            r#"invalid: class is "vpa.autoscaling.knative.dev", expected kpa.autoscaling.knative.dev, hpa.autoscaling.knative.dev, or a class outside knative.dev"#,
        ),
        (
            "",
            "panic-threshold-percentage: 100",
            r#"out_of_bounds: panic-threshold-percentage is "100", expected 110 to 1000"#,
        ),
        (
            "",
            "panicWindowPercentage: 0.5",
            r#"out_of_bounds: panicWindowPercentage is "0.5", expected 1 to 100"#,
        ),
        (
            "",
            "scale-down-delay: 2h",
            r#"out_of_bounds: scale-down-delay is "2h", expected 0s to 1h, whole seconds"#,
        ),
        (
            "",
            "scale-down-delay: 1.5s",
            r#"not_whole_seconds: scale-down-delay is "1.5s", expected 0s to 1h, whole seconds"#,
        ),
        ("", "min-scale: -1", r#"out_of_bounds: min-scale is "-1", expected 0 to 2147483647"#),
        ("", "target: 0", r#"too_small: target is "0", expected at least 0.01"#),
        (
            "",
            "initial-scale: -1",
            r#"negative: initial-scale is "-1", expected 0 or more; 0 only if the cluster allows it"#,
        ),
        (
            "",
            "initial-scale: 0",
            r#"zero_not_allowed: initial-scale is "0", expected at least 1, as the cluster's allow-zero-initial-scale is false"#,
        ),
        (
            "",
            "min-scale: 3, max-scale: 2",
            r#"max_below_min: max-scale is "2", expected a max-scale of at least min-scale, which is 3, or of 0 for none
max_below_min: min-scale is "3", expected a max-scale of at least min-scale, which is 3, or of 0 for none"#,
        ),
        (
            "max-scale-limit: 10, max-scale: 5",
            "max-scale: 0",
            r#"unlimited_not_allowed: max-scale is "0", expected 1 to 10, the cluster's max-scale-limit"#,
        ),
        (
            "max-scale-limit: 10, max-scale: 5",
            "max-scale: 11",
            r#"out_of_bounds: max-scale is "11", expected 1 to 10, the cluster's max-scale-limit"#,
        ),
        ("", "activation-scale: 1", r#"too_small: activation-scale is "1", expected at least 2"#),
        (
            "",
            "activation-scale: 2, min-scale: 3",
            r#"activation_below_min: activation-scale is "2", expected at least min-scale, which is 3"#,
        ),
        (
            "",
            "activation-scale: 4, max-scale: 3",
            r#"activation_above_max: activation-scale is "4", expected at most max-scale, which is 3"#,
        ),
    ] {
        assert_eq!(told(config, annotations), expected, "{config} {annotations}");
    }
}

#[test]
fn of_several_faults_in_a_config_map_the_one_that_knative_comes_upon_first_is_told() {
    for (config, first) in [
        ("stable-window: x, max-scale-up-rate: x, target-burst-capacity: x", "max-scale-up-rate"),
        ("stable-window: x, max-scale-up-rate: 0", "stable-window"),
        ("stable-window: 1s, scale-down-delay: -1s", "scale-down-delay"),
        ("panic-window-percentage: 0, stable-window: 6.5s", "stable-window"),
        ("max-scale-limit: -1, max-scale: -1", "max-scale"),
        ("tick-interval: 1ms, min-scale: 5, max-scale: 3", "max-scale"),
    ] {
        let found = told(config, "");
        let key = found.split(": ").nth(1).and_then(|rest| rest.split(' ').next());
        assert_eq!(key, Some(first), "{config}: {found}");
    }
}
