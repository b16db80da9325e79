//! `tidegate why` as users type it: what stands behind a decision, in a replay and in a journal of it; and `tidegate bench POLICY`.

#[path = "support/command.rs"]
mod command;

use std::path::{Path, PathBuf};
use std::process::Output;

use insta::assert_snapshot;

use command::text;

const LOAD: [&str; 6] = [
    "fixtures/traces/azure-llm-2023-code.csv.gz",
    "fixtures/traces/longtail-demo.csv.gz",
    "--services",
    "fixtures/manifests/demo.yaml",
    "--until",
    "10m",
];

fn tidegate(line: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository");
    command::tidegate(root, Path::new(env!("CARGO_TARGET_TMPDIR")), line)
}

/// What a good run prints, without the digests of components, which are the compiler's doing.
fn prints(line: &[&str]) -> String {
    let done = tidegate(line);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let shown = text(&done.stdout);
    let lines = shown.lines().map(|line| match line.split_once("  ") {
        Some((stage, digest))
            if stage.contains(". ") && digest.bytes().take(8).all(|b| b.is_ascii_hexdigit()) =>
        {
            format!("{stage}  DIGEST{}", &digest[8..])
        }
        Some(_) | None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn fails(line: &[&str]) -> String {
    let done = tidegate(line);
    assert_eq!(text(&done.stdout), "", "results are for those that there are");
    let code = done.status.code().expect("no signal ended it");
    format!("{}exit code {code}", text(&done.stderr))
}

fn why<'a>(service: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["why", service], &LOAD[..], more].concat()
}

fn guest(name: &str) -> PathBuf {
    Path::new(env!("TIDEGATE_GUESTS")).join(name)
}

#[test]
fn a_decision_is_told_from_what_the_policies_saw_down_to_the_nodes() {
    assert_snapshot!(prints(&why("code", &["--at", "0:04:04"])), @r"
    code at 0:04:04 (2024-01-01 00:04:04 UTC): 12 replicas wanted
    there are   5 ready, 7 starting, 40 requests in flight, 5 waiting
    bounds      at least 0, at most 32
    changed     at 0:04:04, 11 → 12: panic: 75.6 in flight over 23 s wants 12, 5 ready

    1. knative  DIGEST
    asked       at 0:04:04, cause: tick
    reads       concurrency over 180 s  13.622    ready-replicas               5
                concurrency over 23 s   75.648    reachable                    1
    state       27 bytes
    figures     stable average, requests                      13.622
                panic average, requests                       75.648
                target of a replica, requests                    6.8
                total of a replica, requests                       8
                ready replicas                                     5
                most replicas at once                            100
                fewest replicas at once                            4
                wanted by the stable average, before rates         3
                wanted by the panic average, before rates         12
                wanted by the stable average, replicas             4
                wanted by the panic average, replicas             12
                panic average over ready, of the threshold       1.2
                wanted before the scale-down delay, replicas      12
                wanted, replicas                                  12
                excess burst capacity, requests                 -247
    gives       excess-burst-capacity  -247    in-panic                  1
                needs-gateway             1    held-replicas            12
    wants       12: panic: 75.6 in flight over 23 s wants 12, 5 ready

    2. scale-to-zero  DIGEST
    asked       at 0:04:04, cause: change
    reads       proposal of knative            12    is-initialised                  1
                needs-gateway of knative        1    reachable                       1
                ready-replicas                  5    gateway-answers                 1
                min-replicas                    0    gateway-in-path-since-ms  0:00:00
                initial-replicas                1
    state       17 bytes
    figures     proposed, replicas                           12
                ready replicas                                5
                minimum, replicas                             0
                initial, replicas                             1
                was initialised                               1
                gateway answers                               1
                gateway wanted in the path                    1
                gateway in the path since, Unix ms      0:00:00
                active: 1, inactive: 0, activating: -1        1
                in this condition since, Unix s         0:00:34
                next look, Unix ms                      0:10:30
    gives       active            1    activators        3
                gateway-in-path   1    desired-scale    12
    wants       12
    stands      until 0:10:30, as long as no input reads differently

    replicas since that change
    0:04:04  replica 11 starts on a40-1: best of 5
    ");
}

#[test]
fn what_stands_now_is_told_beside_what_changed_it_and_who_left() {
    assert_snapshot!(prints(&why("code", &["--at", "0:08:20"])), @r"
    code at 0:08:20 (2024-01-01 00:08:20 UTC): 10 replicas wanted
    there are   10 ready, 0 requests in flight
    bounds      at least 0, at most 32
    changed     at 0:08:12, 12 → 10: 0.8 in flight over 180 s wants 10, 12 ready

    what changed it, at 0:08:12

    1. knative  DIGEST
    asked       at 0:08:12, cause: tick
    reads       concurrency over 180 s  0.783    ready-replicas             12
                concurrency over 23 s       0    reachable                   1
    state       27 bytes
    figures     stable average, requests                      0.783
                panic average, requests                           0
                target of a replica, requests                   6.8
                total of a replica, requests                      8
                ready replicas                                   12
                most replicas at once                           240
                fewest replicas at once                          10
                wanted by the stable average, before rates        1
                wanted by the panic average, before rates         0
                wanted by the stable average, replicas           10
                wanted by the panic average, replicas            10
                panic average over ready, of the threshold        0
                wanted before the scale-down delay, replicas     10
                wanted, replicas                                 10
                excess burst capacity, requests                -115
    gives       excess-burst-capacity  -115    in-panic                  0
                needs-gateway             1    held-replicas             0
    wants       10: 0.8 in flight over 180 s wants 10, 12 ready

    2. scale-to-zero  DIGEST
    asked       at 0:08:12, cause: change
    reads       proposal of knative            10    is-initialised                  1
                needs-gateway of knative        1    reachable                       1
                ready-replicas                 10    gateway-answers                 1
                min-replicas                    0    gateway-in-path-since-ms  0:00:00
                initial-replicas                1
    state       17 bytes
    figures     proposed, replicas                           10
                ready replicas                               10
                minimum, replicas                             0
                initial, replicas                             1
                was initialised                               1
                gateway answers                               1
                gateway wanted in the path                    1
                gateway in the path since, Unix ms      0:00:00
                active: 1, inactive: 0, activating: -1        1
                in this condition since, Unix s         0:00:34
                next look, Unix ms                      0:10:30
    gives       active            1    activators        3
                gateway-in-path   1    desired-scale    10
    wants       10
    stands      until 0:10:30, as long as no input reads differently

    what stands behind it now

    1. knative  DIGEST
    asked       at 0:08:20, cause: tick
    reads       concurrency over 180 s  0.667    ready-replicas             10
                concurrency over 23 s       0    reachable                   1
    state       27 bytes
    figures     stable average, requests                      0.667
                panic average, requests                           0
                target of a replica, requests                   6.8
                total of a replica, requests                      8
                ready replicas                                   10
                most replicas at once                           200
                fewest replicas at once                           9
                wanted by the stable average, before rates        1
                wanted by the panic average, before rates         0
                wanted by the stable average, replicas            9
                wanted by the panic average, replicas             9
                panic average over ready, of the threshold        0
                wanted before the scale-down delay, replicas      9
                wanted, replicas                                 10
                excess burst capacity, requests                -131
    gives       excess-burst-capacity  -131    in-panic                  0
                needs-gateway             1    held-replicas             0
    wants       10: scale-down delay: 10 were wanted within 60 s, now 9

    2. scale-to-zero  DIGEST
    asked       at 0:08:12, as above, and not since

    replicas since that change
    0:08:12  replica 11 leaves a40-1: 1 of 12 in turn: idle
    0:08:12  replica 10 leaves a40-1: 2 of 12 in turn: idle
             10 replicas that might have left stayed
    ");
}

#[test]
fn the_changes_of_a_span_are_listed() {
    let list = prints(&why("code", &["--from", "0:03:54", "--to", "500s"]));
    let list: Vec<&str> = list.lines().take_while(|line| !line.is_empty()).collect();
    assert_snapshot!(list.join("\n"), @r"
         at  ready  waiting  desired     reason
    0:03:54      5       59  5 → 6       panic: 38.6 in flight over 23 s wants 6, 5 ready
    0:03:56      5       93  6 → 8       panic: 48.5 in flight over 23 s wants 8, 5 ready
    0:03:58      5       77  8 → 9       panic: 58.8 in flight over 23 s wants 9, 5 ready
    0:04:00      5       53  9 → 10      panic: 66.0 in flight over 23 s wants 10, 5 ready
    0:04:02      5       31  10 → 11     panic: 72.0 in flight over 23 s wants 11, 5 ready
    0:04:04      5        5  11 → 12     panic: 75.6 in flight over 23 s wants 12, 5 ready
    0:08:12     10        0  12 → 10     0.8 in flight over 180 s wants 10, 12 ready
    ");
}

#[test]
fn a_journal_tells_the_same_as_the_replay_that_wrote_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("run.jsonl").display().to_string();
    prints(&[&["replay"], &LOAD[..], &["--journal", &journal]].concat());
    for at in ["0:00:00", "0:00:36", "0:04:52", "2024-01-01T00:09:59.5Z"] {
        let of_journal =
            prints(&["why", "longtail", "--at", at, "--journal", &journal, "-o", "json"]);
        assert_eq!(of_journal, prints(&why("longtail", &["--at", at, "-o", "json"])), "{at}");
    }
    let text = std::fs::read_to_string(&journal).expect("it was written");
    let digest = text.split("\"digest\":\"").nth(1).expect("it has digests");
    let digest = &digest[..digest.find('"').expect("a digest ends")];
    std::fs::write(&journal, text.replace(digest, "sha256:00")).expect("it is written");
    assert_snapshot!(fails(&["why", "code", "--at", "60s", "--journal", &journal]), @r"
    error: knative was decided by sha256:00, which is not here
     hint: it is no policy of this program's; copy its component to components/sha256-00.wasm beside the journal
    exit code 2
    ");
}

#[test]
fn a_policy_that_fails_is_told_with_what_was_done_instead() {
    let folder = tempfile::tempdir().expect("a folder");
    let policies = folder.path().join("policies.yaml");
    let hostile = guest("hostile.wasm").display().to_string();
    std::fs::write(
        &policies,
        format!("apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n- policy: builtin:knative\n- policy: {hostile}\n  settings: {{misbehave: trap}}\n- policy: builtin:scale-to-zero\n"),
    )
    .expect("it is written");
    let policies = policies.display().to_string();
    let shown = prints(&why("longtail", &["--at", "0:01:00", "--policies", &policies]));
    let told = |line: &&str| {
        ["failure", "failing", "wants", "1.", "2.", "3."].iter().any(|word| line.starts_with(word))
    };
    assert_snapshot!(shown.lines().filter(told).collect::<Vec<_>>().join("\n"), @r"
    failure     hostile at 0:00:39: it panicked in `hostile_guest::Hostile::decide` at
    1. knative  DIGEST
    wants       2: panic: 7.5 in flight over 23 s wants 2, 1 ready
    2. hostile  DIGEST
    failing     it gave no answer when last asked; it is put aside until 0:00:39
    wants       2, which is left as it was
    3. scale-to-zero  DIGEST
    wants       2
    1. knative  DIGEST
    wants       2: panic: holds 2, now 3.6 in flight over 23 s want 1
    2. hostile  DIGEST
    failing     it gave no answer when last asked; it is put aside until 0:01:11
    wants       2, which is left as it was
    3. scale-to-zero  DIGEST
    ");
}

#[test]
fn what_cannot_be_told_is_said() {
    assert_snapshot!(fails(&why("cod", &["--at", "60s"])), @r"
    error: there is no service cod
     hint: did you mean code?
    exit code 2
    ");
    assert_snapshot!(fails(&why("code", &["--at", "soon"])), @r"
    error: --at is soon, expected a time
     hint: as 0:14:24 or 864s since the start, or 2024-01-01T08:30Z by the calendar
    exit code 2
    ");
    assert_snapshot!(fails(&why("code", &["--at", "2023-12-31"])), @r"
    error: --at is 2023-12-31, which is before the run begins
     hint: as 0:14:24 or 864s since the start, or 2024-01-01T08:30Z by the calendar
    exit code 2
    ");
    assert_snapshot!(fails(&why("code", &["--from", "90s", "--to", "60s"])), @r"
    error: --from is later than the moment until which is looked
    exit code 2
    ");
}

#[test]
fn one_policy_is_measured_with_its_own_settings() {
    let policy = guest("office-hours.wasm").display().to_string();
    let measure = || {
        let line = ["bench", &policy, "--settings", r#"{"minimum": 2}"#, "-o", "json"];
        let document: serde_json::Value = serde_json::from_str(&prints(&line)).expect("JSON");
        let decisions = document["decisions"].as_array().expect("a list").clone();
        decisions
            .iter()
            .map(|one| [&one["batch"], &one["fuel"], &one["memoryBytes"]].map(|n| n.as_u64()))
            .collect::<Vec<_>>()
    };
    let first = measure();
    assert_eq!(first.len(), 5);
    for [batch, fuel, memory] in &first {
        assert!(fuel > batch && *memory > Some(0), "{first:?}");
    }
    assert_eq!(first, measure(), "fuel and memory are the same in every run");
}

#[test]
fn a_policy_that_places_is_measured_by_nodes_and_replicas() {
    let line = ["bench", "affinity", "-o", "json"];
    let document: serde_json::Value = serde_json::from_str(&prints(&line)).expect("JSON");
    assert_eq!(document["decisions"].as_array().map(Vec::len), Some(0));
    let places = document["places"].as_array().expect("a list");
    assert_eq!(places.len(), 6);
    for one in places {
        assert!(one["failure"].is_null(), "{one}");
        let number = |key: &str| one[key].as_f64().expect("a number");
        let (fuel, limit) = (number("fuel"), number("fuelLimit"));
        assert!(fuel > number("nodes") && fuel < limit && number("memoryBytes") > 0.0, "{one}");
        assert!(number("placed") > 0.0 && number("placed") <= number("replicas"), "{one}");
        assert!(number("placeNs") > 0.0 && number("rankNs") > 0.0, "{one}");
        assert!(number("nativeNs") > 0.0, "{one}");
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    let policy = guest("office-hours.wasm").display().to_string();
    let shown = |line: &[&str]| fails(line).replace(&policy, "office-hours.wasm");
    assert_snapshot!(shown(&["bench", "knativ"]), @r"
    error: there is no file knativ, and no policy of that name is built in
     hint: did you mean knative?
    exit code 2
    ");
    assert_snapshot!(shown(&["bench", &policy]), @r"
    error: cannot measure office-hours.wasm
    cause: it does not accept the settings
    cause: a fault in the settings
    cause: settings: missing field `minimum`
    exit code 2
    ");
    assert_snapshot!(shown(&["bench", &policy, "--settings", "{minimum}"]), @r"
    error: cannot read the settings {minimum}
    cause: key must be a string at line 1 column 2
    exit code 2
    ");
}
