//! `tidegate parity` as users type it, on the program that the build left: what is printed where, and exit codes.

#[path = "support/command.rs"]
mod command;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use command::text;

const NAME: &str = "start-one-default";

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/kpa-golden")
}

/// A recording, unpacked.
fn unpacked(name: &str) -> String {
    let file = std::fs::File::open(recordings().join(name)).expect("the file is there");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("it unpacks");
    text
}

/// A folder with one scenario and its golden file.
fn one_scenario() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for part in ["scenario", "golden"] {
        let name = format!("{NAME}.{part}.jsonl");
        let text = unpacked(&format!("{name}.gz"));
        std::fs::write(folder.path().join(name), text).expect("it is written");
    }
    folder
}

/// Writes another text for a line of a file.
fn change(folder: &Path, part: &str, from: &str, to: &str) {
    let path = folder.join(format!("{NAME}.{part}.jsonl"));
    let text = std::fs::read_to_string(&path).expect("it is there");
    assert!(text.contains(from), "{from} is in {}", path.display());
    std::fs::write(path, text.replacen(from, to, 1)).expect("it is written");
}

/// What a run prints, what it says, and its exit code; `folder` is written as `DIR`.
fn tidegate(folder: &Path, line: &[&str]) -> String {
    let line = [&["parity"], line].concat();
    let done = command::tidegate(folder, &folder.join("cache"), &line);
    let code = done.status.code().expect("no signal ended it");
    let said = format!("{}{}exit code {code}", text(&done.stdout), text(&done.stderr));
    said.replace(&folder.display().to_string(), "DIR")
}

#[test]
fn every_recording_is_equal_native_and_sandboxed() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = recordings().display().to_string();
    let said = tidegate(folder.path(), &[&all]);
    assert_eq!(said.lines().count(), 207 + 3 + 2, "a line each, the counts, the exit code: {said}");
    assert!(said.lines().take(210).all(|line| line.starts_with("equal ")), "{said}");
    assert_snapshot!(tidegate(folder.path(), &[&all, "--native", "--quiet"]), @r"
    all equal: 207 scenarios (37,271 rows), 541 settings cases, 40 request-stat cases, 92 sample sizes
    exit code 0
    ");
}

#[test]
fn a_changed_number_is_named_with_both_sides() {
    let folder = one_scenario();
    assert_snapshot!(tidegate(folder.path(), &["."]), @r"
    equal    open  start-one-default  180 rows
    all equal: 1 scenario (180 rows)
    exit code 0
    ");
    change(
        folder.path(),
        "golden",
        r#"{"t_s":20,"valid":true,"desired":1"#,
        r#"{"t_s":20,"valid":true,"desired":3"#,
    );
    change(folder.path(), "golden", r#""t_s":30,"valid":true"#, r#""t_s":30,"valid":false"#);
    assert_snapshot!(tidegate(folder.path(), &[".", "--native"]), @r"
    differs  open  start-one-default  180 rows
             ./start-one-default.golden.jsonl:11: 20 s, the first of 2
             desired  1  Knative 3
    1 of 1 recordings differ: 1 scenario (180 rows)
    exit code 1
    ");
    let said = tidegate(folder.path(), &[".", "-o", "json"]);
    let json = said.strip_suffix("exit code 1").expect("it differs");
    let document: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(document["isEqual"], false);
    assert_snapshot!(serde_json::to_string_pretty(&document).expect("JSON"), @r#"
    {
      "apiVersion": "tidegate.dev/v1alpha1",
      "isEqual": false,
      "kind": "Parity",
      "policies": "sandboxed",
      "recordings": [
        {
          "differing": 2,
          "files": [
            "./start-one-default.scenario.jsonl",
            "./start-one-default.golden.jsonl"
          ],
          "first": {
            "at": "20 s",
            "fields": [
              {
                "field": "desired",
                "ours": 1,
                "theirs": 3
              }
            ],
            "file": "./start-one-default.golden.jsonl",
            "line": 11
          },
          "kind": "open",
          "name": "start-one-default",
          "rows": 180
        }
      ],
      "totals": {
        "open": {
          "differing": 1,
          "recordings": 1,
          "rows": 180
        }
      }
    }
    "#);
}

#[test]
fn what_cannot_be_read_is_exit_code_2_with_file_line_and_field() {
    let folder = one_scenario();
    change(folder.path(), "golden", r#","desired":"#, r#","desird":"#);
    change(folder.path(), "scenario", r#"{"t_s":3,"#, r#"{"t_s":3"#);
    assert_snapshot!(tidegate(folder.path(), &["."]), @r"
    error: cannot read the recordings
    cause: ./start-one-default.golden.jsonl:2: desired is missing, expected a number
    cause: ./start-one-default.scenario.jsonl:5: expected a JSON object, found none: it breaks off at column 9
    exit code 2
    ");
    let folder = one_scenario();
    assert_snapshot!(tidegate(folder.path(), &[&format!("{NAME}.scenario.jsonl")]), @r"
    error: cannot read the recordings
    cause: start-one-default.scenario.jsonl: no golden file in its folder has the name start-one-default, and one alone says nothing
    exit code 2
    ");
    std::fs::write(folder.path().join("other.jsonl"), "{\"t_s\":0}\n").expect("it is written");
    assert_snapshot!(tidegate(folder.path(), &["."]), @r"
    error: cannot read the recordings
    cause: ./other.jsonl:1: this is no recording that is known: expected the first line of a scenario or a golden file, a settings case, a request-stat case or a sample size
    exit code 2
    ");
    assert_snapshot!(tidegate(folder.path(), &["nowhere"]), @r"
    error: cannot read the recordings
    cause: cannot read nowhere: No such file or directory (os error 2)
    exit code 2
    ");
}

#[test]
fn a_chain_of_ones_own_is_held_to_the_recordings() {
    let folder = one_scenario();
    let file = |name: &str, scaling: &str| {
        let text =
            format!("apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n{scaling}");
        std::fs::write(folder.path().join(name), text).expect("it is written");
    };
    file("same.yaml", "- policy: builtin:knative\n  name: ours\n");
    assert_snapshot!(tidegate(folder.path(), &[".", "--policies", "same.yaml"]), @r"
    equal    open  start-one-default  180 rows
    all equal: 1 scenario (180 rows)
    exit code 0
    ");
    file("other.yaml", "- policy: builtin:scale-to-zero\n");
    assert_snapshot!(tidegate(folder.path(), &[".", "--policies", "other.yaml"]), @r"
    error: cannot hold the policies to the recordings
    cause: start-one-default: the chain does not take its settings
    cause: scale-to-zero requires the output proposal for golden, but no stage comes before it
    exit code 2
    ");
    let hostile = Path::new(env!("TIDEGATE_GUESTS")).join("hostile.wasm");
    std::fs::copy(hostile, folder.path().join("hostile.wasm")).expect("the build left it");
    file("mute.yaml", "- policy: hostile.wasm\n");
    assert_snapshot!(tidegate(folder.path(), &[".", "--policies", "mute.yaml"]), @r"
    error: cannot hold the policies to the recordings
    cause: stage hostile gives no output excess-burst-capacity, which is held to the recordings
    exit code 2
    ");
    file("loops.yaml", "- policy: hostile.wasm\n  settings: {misbehave: bind-loop}\n");
    assert_snapshot!(tidegate(folder.path(), &[".", "--policies", "loops.yaml"]), @r"
    error: cannot hold the policies to the recordings
    cause: start-one-default: the chain does not take its settings
    cause: hostile does not accept the settings of golden
    cause: it used up its fuel of 20,000,000 in `hostile_guest::Hostile::bind`: an endless loop, or too much work for one call
    exit code 3
    ");
}

#[test]
fn what_recordings_are_called_reaches_no_terminal_as_it_is_and_a_case_has_one_answer() {
    let folder = one_scenario();
    for kind in ["scenario", "golden"] {
        change(
            folder.path(),
            kind,
            r#""name":"start-one-default""#,
            r#""name":"a\u001b[31m\nall equal""#,
        );
    }
    let said = tidegate(folder.path(), &["."]);
    assert!(!said.contains('\u{1b}') && said.contains("exit code 0"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("all equal")).count(), 1, "{said}");

    let case = r#"{"id":"x","configmap":{},"annotations":{},"container_concurrency":0,"ready_pods":1,"config_error":{"keys":["a"],"reason":"negative"},"annotation_errors":[{"key":"b","reason":"invalid"}]}"#;
    std::fs::write(folder.path().join("cases.jsonl"), format!("{case}\n")).expect("it is written");
    let said = tidegate(folder.path(), &["cases.jsonl"]);
    assert!(said.ends_with("exit code 2") && said.contains("one answer"), "{said}");
}

#[test]
fn a_key_that_is_there_twice_is_refused_with_its_place() {
    let folder = one_scenario();
    change(folder.path(), "golden", r#""desired":"#, r#""desired":99,"desired":"#);
    assert_snapshot!(tidegate(folder.path(), &["."]), @r"
    error: cannot read the recordings
    cause: ./start-one-default.golden.jsonl:2: desired is there twice, expected each key once
    exit code 2
    ");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_never_ends_is_read_no_further_than_a_module_may_be_long() {
    let folder = tempfile::tempdir().expect("a folder");
    let done = command::tidegate(folder.path(), folder.path(), &["componentize", "/dev/zero"]);
    assert_eq!(done.status.code(), Some(2));
    assert_snapshot!(text(&done.stderr), @"error: cannot read /dev/zero: it has more than 64 MiB, which no policy needs");
}
