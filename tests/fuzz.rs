//! `tidegate fuzz` from the command line: what it finds, how small it makes that, what it writes, and exit codes.

#[path = "support/command.rs"]
mod command;

use std::path::Path;

use insta::assert_snapshot;

use command::text;

/// What a command line prints on both streams, and its exit code.
fn tidegate(folder: &Path, line: &[&str]) -> String {
    let done = command::tidegate(folder, &folder.join("cache"), line);
    let code = done.status.code().expect("no signal ended it");
    format!("{}{}exit code {code}", text(&done.stdout), text(&done.stderr))
}

fn written(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect("it is written")
}

/// A chain whose one stage is the hostile guest in that mood.
fn hostile(folder: &Path, settings: &str) {
    let guest = Path::new(env!("TIDEGATE_GUESTS")).join("hostile.wasm");
    let text = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n  - policy: {}\n    name: hostile\n    settings: {settings}\n",
        guest.display()
    );
    std::fs::write(folder.join("policies.yaml"), text).expect("it is written");
}

#[test]
fn what_breaks_an_expectation_is_written_as_a_case_that_breaks_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = ["fuzz", "builtin:knative", "--expect", "expired == 0", "--profile", "knative"];
    assert_snapshot!(tidegate(folder.path(), &line), @r#"
    expired == 0 does not hold: expired is 3; first, at 1196.948 s: placement: no node takes a replica
    load    {"for":"23m","services":{"service":{"shape":"constant:1+ramp:at=16m,from=0.02,over=1s,to=2"}}}
    fault   starts of service fail with probability 0.4
    found   in load 19 of the hunt, made smaller in 11 steps of 88 tries
    written found.suite.yaml, found.suite.faults.yaml
    exit code 1
    "#);
    assert_snapshot!(written(folder.path(), "found.suite.yaml"), @r#"
    # Found by: tidegate fuzz builtin:knative --profile knative --expect 'expired == 0'
    # expired == 0: expired is 3; first, at 1196.948 s: placement: no node takes a replica
    apiVersion: tidegate.dev/v1alpha1
    kind: Suite
    cases:
      - name: "expired == 0 does not always hold"
        profile: knative
        seed: "tide"
        load: {"for":"23m","services":{"service":{"shape":"constant:1+ramp:at=16m,from=0.02,over=1s,to=2"}}}
        faults: "found.suite.faults.yaml"
        expect: ["expired == 0"]
        snapshot: false
    "#);
    assert_snapshot!(written(folder.path(), "found.suite.faults.yaml"), @r#"faults: [{"startFails":{"probability":0.4,"service":"service"}}]"#);
    let tested = tidegate(folder.path(), &["test", "found.suite.yaml"]);
    assert!(tested.ends_with("exit code 1"), "{tested}");
    assert!(tested.contains("expired == 0"), "{tested}");
    let again = tidegate(folder.path(), &line);
    let written = again.lines().find(|line| line.starts_with("written"));
    assert_eq!(written, Some("written found-2.suite.yaml, found-2.suite.faults.yaml"));
}

#[test]
fn a_policy_that_fails_is_found_without_any_expectation() {
    let folder = tempfile::tempdir().expect("a folder");
    hostile(folder.path(), r#"{"misbehave": "loop"}"#);
    let found = tidegate(folder.path(), &["fuzz", "policies.yaml", "-o", "json", "--rounds", "3"]);
    assert!(found.ends_with("exit code 1"), "{found}");
    assert!(found.contains(r#""promise": "failures == 0""#), "{found}");
}

#[test]
fn the_built_in_policies_keep_what_every_policy_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    for profile in ["knative", "gpu"] {
        let line = ["fuzz", "builtin:knative", "--profile", profile, "--rounds", "60"];
        let said = tidegate(folder.path(), &line);
        let expected = "nothing found in 60 loads: failures == 0, asleep_s <= 10, late_changes <= 20\nexit code 0";
        assert_eq!(said, expected, "{profile}");
    }
}

#[test]
fn slips_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_snapshot!(tidegate(folder.path(), &["fuzz", "gpu", "--expect", "expird == 0"]), @r"
    error: cannot use the condition `expird == 0`
    cause: at column 1: there is no number expird, did you mean expired?
    exit code 2
    ");
    assert_snapshot!(tidegate(folder.path(), &["fuzz", "gpu", "--highest-rate", "0"]), @r"
    error: found --highest-rate 0 --for 30m, expected a rate above 0 and at least 1s
    exit code 2
    ");
}

#[test]
fn what_was_found_with_faults_and_an_end_of_the_callers_own_is_found_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = "faults:\n- startFails: {service: service, probability: 1}\n";
    std::fs::write(folder.path().join("f.yaml"), faults).expect("it is written");
    let line = [
        "fuzz",
        "gpu",
        "--faults",
        "f.yaml",
        "--until",
        "20m",
        "--expect",
        "served == arrived",
        "--quiet",
    ];
    let found = tidegate(folder.path(), &line);
    assert!(found.ends_with("exit code 1"), "{found}");
    let suite = written(folder.path(), "found.suite.yaml");
    let command = suite.lines().next().expect("a line");
    assert_eq!(
        command,
        "# Found by: tidegate fuzz gpu --faults f.yaml --until 20m --expect 'served == arrived'"
    );
    let tested = tidegate(folder.path(), &["test", "found.suite.yaml", "--quiet"]);
    assert!(tested.ends_with("exit code 1"), "{tested}");
    let checked = tidegate(folder.path(), &["check", "found.suite.yaml"]);
    assert_eq!(checked, "found.suite.yaml: 1 case, in order\nno faults in 1 file\nexit code 0");
}
