//! `tidegate test`, `review`, `accept`, `reject` and `pending` as users type them, in a folder of their own; and the suites of this
//! repository, held to their snapshots.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use insta::assert_snapshot;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the host is a folder of the repository")
}

/// A folder with a suite in it, and a cache of machine code that all tests of this file share.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn with(suite: &str) -> Folder {
        let folder = Folder { folder: tempfile::tempdir().expect("a folder") };
        folder.write(
            "suite.yaml",
            &format!("apiVersion: tidegate.dev/v1alpha1\nkind: Suite\n{suite}"),
        );
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("it is written");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("it is there")
    }

    fn names(&self, name: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(name)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn runs(&self, line: &[&str]) -> Output {
        tidegate(self.folder.path(), line)
    }

    /// What a command prints and says, and its exit code; without how long it took.
    fn tells(&self, line: &[&str]) -> String {
        let done = self.runs(line);
        let code = done.status.code().expect("no signal ended it");
        let said = text(&done.stdout) + &text(&done.stderr);
        let is_time = |line: &&str| line.contains(" in ") && line.ends_with(" s");
        let lines: Vec<String> = said
            .lines()
            .map(|line| match is_time(&line) {
                true => {
                    line.rsplit_once(" in ").map_or(line, |(before, _)| before).to_owned()
                        + " in TIME"
                }
                false => line.to_owned(),
            })
            .collect();
        format!("{}\nexit code {code}", lines.join("\n"))
    }
}

fn tidegate(folder: &Path, line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder)
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env_remove("CI")
        .env_remove("NO_COLOR")
        .args(line)
        .output()
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it writes text")
}

/// One case on a step of load, which takes no time to replay.
const STEP: &str = "cases:
- name: a step up
  load:
    for: 10m
    services:
      chat: { shape: { constant: { rate: 2 } }, arrivals: even, duration: 4s }
  services: services.yaml
  expect: expired == 0 && gpu_minutes < 100
";

const SERVICES: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Services
services:
- { name: chat, model: llama-3.1-8b, containerConcurrency: 4 }
";

fn step() -> Folder {
    let folder = Folder::with(STEP);
    folder.write("services.yaml", SERVICES);
    folder
}

/// Takes the first snapshot.
fn accepted() -> Folder {
    let folder = step();
    let done = folder.runs(&["test", "--accept"]);
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    folder
}

#[test]
fn a_first_run_shows_what_a_case_comes_to_and_an_accepted_one_passes() {
    let folder = step();
    assert_snapshot!(folder.tells(&["test"]), @"");
    assert_eq!(folder.names("snapshots"), ["a-step-up.snap.new"]);
    assert_snapshot!(folder.tells(&["pending"]), @"");
    assert_snapshot!(folder.tells(&["accept"]), @"");
    assert_eq!(folder.names("snapshots"), ["a-step-up.snap"]);
    assert_snapshot!(folder.tells(&["test"]), @"");
    assert_snapshot!(folder.read("snapshots/a-step-up.snap"), @"");
}

#[test]
fn a_changed_policy_shows_as_a_diff_that_ends_with_what_it_costs() {
    let folder = accepted();
    folder.write(
        "services.yaml",
        &SERVICES.replace("containerConcurrency: 4", "containerConcurrency: 2"),
    );
    assert_snapshot!(folder.tells(&["test"]), @"");
    assert_eq!(folder.names("snapshots"), ["a-step-up.snap", "a-step-up.snap.new"]);
    assert_snapshot!(folder.tells(&["reject", "step"]), @"");
    assert_eq!(folder.names("snapshots"), ["a-step-up.snap"]);
}

#[test]
fn an_expectation_that_does_not_hold_is_told_with_its_numbers() {
    let folder = accepted();
    let suite = folder
        .read("suite.yaml")
        .replace("gpu_minutes < 100", "chat.gpu_minutes / served < 1% && cost < $0.01");
    folder.write("suite.yaml", &suite);
    assert_snapshot!(folder.tells(&["test"]), @"");
}

#[test]
fn a_check_writes_nothing_and_fails_over_snapshots_that_no_case_has() {
    let folder = step();
    let done = folder.runs(&["test", "--check"]);
    assert_eq!((done.status.code(), folder.names("snapshots")), (Some(1), Vec::new()));

    let folder = accepted();
    let before = folder.read("snapshots/a-step-up.snap");
    folder.write("services.yaml", &SERVICES.replace("4 }", "2 }"));
    assert_eq!(folder.runs(&["test", "--check"]).status.code(), Some(1));
    assert_eq!(folder.names("snapshots"), ["a-step-up.snap"]);
    assert_eq!(folder.read("snapshots/a-step-up.snap"), before);

    let folder = accepted();
    std::fs::copy(folder.path("snapshots/a-step-up.snap"), folder.path("snapshots/gone.snap"))
        .expect("it is copied");
    assert_eq!(folder.runs(&["test"]).status.code(), Some(0));
    assert_snapshot!(folder.tells(&["test", "--check"]), @"");
}

#[test]
fn where_ci_is_set_a_run_is_a_check() {
    let folder = step();
    let done = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder.folder.path())
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("CI", "true")
        .arg("test")
        .output()
        .expect("it starts");
    assert_eq!((done.status.code(), folder.names("snapshots")), (Some(1), Vec::new()));
}

#[test]
fn another_simulator_is_told_as_such_and_not_as_a_changed_policy() {
    let folder = accepted();
    let old = folder.read("snapshots/a-step-up.snap");
    let old = old.replace("simulator: 1", "simulator: 0").replace("chat  ", "chta  ");
    folder.write("snapshots/a-step-up.snap", &old);
    let told = folder.tells(&["test"]);
    assert!(
        told.contains(
            "the simulator changed: this snapshot was made by its model 0, and this is model 1."
        ),
        "{told}"
    );
}

#[test]
fn faults_of_a_suite_are_told_all_at_once_with_their_lines() {
    let folder = Folder::with(
        "default: {}
cases:
- name: one
  trace: a.csv
- name: two
  traces: a.csv
  load: {}
  expect: expird == 0
- name: Two!
  traces: a.csv
  policy: builtin:knative
  snapshot: false
- name: three
  policies: { scaling: [{ policy: builtin:knative, onfailure: hold }] }
  load: { for: 1h, services: { a: { shape: { constant: { rat: 2 } } } } }
",
    );
    assert_snapshot!(folder.tells(&["test"]), @"");
}

#[test]
fn what_a_case_names_and_is_not_there_breaks_that_case_only() {
    let folder = Folder::with(
        "cases:
- name: no trace
  traces: missing.csv
- name: no service
  load: { for: 1m, services: { chat: { shape: { constant: { rate: 1 } } } } }
  expect: chta.expired == 0
- name: no component
  policy: missing.wasm
  inputs: |
    at
    0
- name: no such input
  policy: builtin:knative
  inputs: |
    at concurency
    0  1
- name: a good one
  policy: builtin:knative
  inputs: |
    at concurrency ready-replicas wanted
    0  0           0              0
",
    );
    assert_snapshot!(folder.tells(&["test", "--accept"]), @"");
}

#[test]
fn a_policy_that_traps_ends_with_exit_code_three() {
    let folder = Folder::with(
        "cases:
- name: hostile
  policy: hostile.wasm
  settings: { decide: trap }
  inputs: |
    at
    0
",
    );
    std::fs::copy(
        Path::new(env!("TIDEGATE_GUESTS")).join("hostile.wasm"),
        folder.path("hostile.wasm"),
    )
    .expect("the build left it");
    let told = folder.tells(&["test"]);
    assert!(told.ends_with("exit code 3"), "{told}");
}

#[test]
fn rows_that_want_something_else_are_told_with_their_lines_and_why() {
    let folder = Folder::with(
        "cases:
- name: rows
  policy: builtin:knative
  profile: knative
  containerConcurrency: 10
  snapshot: false
  inputs: |
    at  concurrency  ready-replicas  wanted
    0   7            1               1
    2   100          1               14
    4   -            1               3
",
    );
    assert_snapshot!(folder.tells(&["test"]), @"");
}

#[test]
fn words_choose_cases_and_a_word_that_chooses_none_is_a_slip() {
    let folder = accepted();
    assert_snapshot!(folder.tells(&["test", "stap"]), @"");
    assert_eq!(folder.runs(&["test", "STEP"]).status.code(), Some(0));
    assert_eq!(folder.runs(&["test", "suite.yaml", "step"]).status.code(), Some(0));
    let empty = tempfile::tempdir().expect("a folder");
    let done = tidegate(empty.path(), &["test"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("there is no suite here"), "{}", text(&done.stderr));
}

#[test]
fn a_review_asks_only_where_somebody_can_answer() {
    let folder = step();
    folder.runs(&["test"]);
    assert_snapshot!(folder.tells(&["review"]), @"");
    folder.runs(&["accept"]);
    assert_snapshot!(folder.tells(&["review"]), @"");
}

#[test]
fn every_form_of_output_tells_the_same_failures() {
    let folder = accepted();
    let suite = folder
        .read("suite.yaml")
        .replace("gpu_minutes < 100", "gpu_minutes < 1 && cost < 1 && wait_p99 < 1ms");
    folder.write("suite.yaml", &suite);
    let json: serde_json::Value =
        serde_json::from_slice(&folder.runs(&["test", "-o", "json"]).stdout).expect("JSON");
    assert_eq!((&json["failed"], &json["passed"]), (&1.into(), &0.into()));
    assert_eq!(json["suites"][0]["cases"][0]["verdict"], "failed");
    assert_snapshot!(folder.tells(&["test", "-o", "tap"]), @"");
    assert_snapshot!(folder.tells(&["test", "-o", "github"]), @"");
    let junit = text(&folder.runs(&["test", "-o", "junit"]).stdout);
    let (mut open, mut failures) = (Vec::new(), 0);
    // Every element that is opened is closed, in order; texts have no sharp brackets of their own.
    for tag in junit.split('<').skip(1).map(|rest| rest.split('>').next().expect("it ends")) {
        match tag {
            tag if tag.starts_with('?') || tag.ends_with('/') => {}
            tag if tag.starts_with('/') => assert_eq!(open.pop(), tag.strip_prefix('/')),
            tag => open.push(tag.split(' ').next().expect("it has a name")),
        }
        failures += usize::from(tag.starts_with("failure "));
    }
    assert_eq!((open.as_slice(), failures), (&[][..], 1), "{junit}");
    assert!(junit.contains("message=\"gpu_minutes &lt; 1: gpu_minutes is "), "{junit}");
}

#[test]
fn what_was_seen_in_a_journal_is_decided_again_by_the_chain_of_the_case() {
    let folder = step();
    folder.write(
        "load.csv",
        &(0..200).fold("t_s,duration_s\n".to_owned(), |text, s| text + &format!("{s},9\n")),
    );
    let done = folder.runs(&["replay", "load.csv", "--journal", "seen.jsonl", "--until", "10m"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    folder.write(
        "suite.yaml",
        "apiVersion: tidegate.dev/v1alpha1
kind: Suite
cases:
- name: seen
  observations: seen.jsonl
  expect: failures == 0 && changes > 1
",
    );
    assert_snapshot!(folder.tells(&["test"]), @"");
}

#[test]
fn runs_are_alike_however_many_cases_run_at_the_same_time() {
    let run = |jobs: &str| {
        let done =
            tidegate(root(), &["test", "tests/suites", "--check", "-o", "json", "--jobs", jobs]);
        let mut json: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
        json["tookS"] = 0.into();
        for case in json["suites"][0]["cases"].as_array_mut().expect("cases") {
            case["tookS"] = 0.into();
        }
        json
    };
    assert_eq!(run("1"), run("4"));
}

#[test]
fn the_built_in_policies_pass_their_suite() {
    let done = tidegate(root(), &["test", "tests/suites", "--check"]);
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
}

#[test]
fn office_hours_passes_its_suite() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = root().join("policies/examples/office-hours");
    std::fs::copy(example.join("suite.yaml"), folder.path().join("suite.yaml")).expect("a suite");
    std::fs::create_dir(folder.path().join("snapshots")).expect("a folder");
    for entry in std::fs::read_dir(example.join("snapshots")).expect("snapshots") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|ending| ending == "snap") {
            let name = path.file_name().expect("a name");
            std::fs::copy(&path, folder.path().join("snapshots").join(name)).expect("it is copied");
        }
    }
    let component = Path::new(env!("TIDEGATE_GUESTS")).join("office-hours.wasm");
    std::fs::copy(component, folder.path().join("office_hours.wasm")).expect("the build left it");
    let done = tidegate(folder.path(), &["test", "--check"]);
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
}
