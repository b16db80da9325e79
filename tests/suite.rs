//! `tidegate test`, `review`, `accept`, `reject` and `pending` as users type them, in a folder of their own; and the suites of this
//! repository, held to their snapshots.

#[path = "support/command.rs"]
mod command;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use insta::assert_snapshot;

use command::text;

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
                false => without_fuel(line),
            })
            .collect();
        format!("{}\nexit code {code}", lines.join("\n"))
    }
}

/// A line without the share of fuel in it, which every change of the SDK moves.
fn without_fuel(line: &str) -> String {
    let Some((before, after)) = line.split_once(" % of its fuel") else { return line.to_owned() };
    let before = before.trim_end_matches(|c: char| c.is_ascii_digit());
    format!("{before}N % of its fuel{after}")
}

fn tidegate(folder: &Path, line: &[&str]) -> Output {
    command::tidegate(folder, Path::new(env!("CARGO_TARGET_TMPDIR")), line)
}

/// One case on a step of load, which takes no time to replay.
const STEP: &str = "cases:
- name: a step up
  load:
    for: 10m
    services:
      chat: { shape: { constant: { rate: 2 } }, arrivals: even, duration: 4s }
  services: services.yaml
  expect: expired == 0 && gpu_minutes < 300
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
    assert_snapshot!(folder.tells(&["test"]), @r"
    suite.yaml
      new     a step up  0:50:08 266 GPU-min  $4.60  wait p99 32.6 s
      passed  policy affinity  deterministic, room, order, any input, ranks, explains,
                N % of its fuel at most, 172 decisions
      passed  policy knative  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 577 decisions
      passed  policy scale-to-zero  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 100 decisions

    ── new: a step up ──────────────────────────────────────────────────────────────────────────────────
    snapshot  snapshots/a-step-up.snap is new
         at  service  ready  waiting   desired   mode   reason
    0:00:00  chat         0                 1           initial scale
    0:00:06  chat         0       12    1 → 21   panic  in 19 steps until 0:00:50: 68.7 in flight over
                                                        23 s wants 21, 5 ready
    0:05:08  chat        19            21 → 15          in 3 steps until 0:07:08: 8.0 in flight over 180
                                                        s wants 15, 17 ready
    0:08:08  chat        13            15 → 13          8.0 in flight over 180 s wants 13, 15 ready
    0:09:08  chat        11            13 → 11          8.0 in flight over 180 s wants 11, 13 ready
    0:10:08  chat        10            11 → 1           in 10 steps until 0:19:08: 0.0 in flight over
                                                        180 s wants 1, 2 ready
    0:50:08  chat         0             1 → 0           0.0 in flight over 180 s wants 0, 0 ready

    requests  arrived  served  waited  expired  failed  unfinished    wait, s: p50   p95   p99   max
    chat        1,200   1,200     126        0       0           0               0  21.3  32.6  34.3

    capacity  cold starts  replica-minutes  GPU-minutes   cost  most replicas  panics
    chat               21              266          266  $4.60             21       1

    0 passed, 1 new in TIME
    tidegate review shows each snapshot and asks; tidegate accept takes all of them
    exit code 1
    ");
    assert_eq!(folder.names("snapshots"), ["a-step-up.snap.new"]);
    assert_snapshot!(folder.tells(&["pending"]), @r"
    new       snapshots/a-step-up.snap  a step up
    exit code 0
    ");
    assert_snapshot!(folder.tells(&["accept"]), @r"
    accepted  snapshots/a-step-up.snap
    exit code 0
    ");
    assert_eq!(folder.names("snapshots"), ["a-step-up.snap"]);
    assert_snapshot!(folder.tells(&["test"]), @r"
    suite.yaml
      passed  a step up  0:50:08 266 GPU-min  $4.60  wait p99 32.6 s
      passed  policy affinity  deterministic, room, order, any input, ranks, explains,
                N % of its fuel at most, 172 decisions
      passed  policy knative  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 577 decisions
      passed  policy scale-to-zero  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 100 decisions

    1 passed in TIME
    exit code 0
    ");
    assert_snapshot!(folder.read("snapshots/a-step-up.snap"), @r#"
    ---
    source: suite.yaml
    description: "shapes of chat"
    expression: "a step up"
    info:
      kind: replay
      simulator: 1
      numbers:
        cold_starts: 21
        cost: 4.5991
        gpu_minutes: 266
        max_replicas: 21
        panics: 1
        replica_minutes: 266
        requests.arrived: 1200
        requests.expired: 0
        requests.failed: 0
        requests.served: 1200
        requests.unfinished: 0
        requests.waited: 126
        wait_s.max: 34.335
        wait_s.p50: 0
        wait_s.p95: 21.311
        wait_s.p99: 32.639
    ---
         at  service  ready  waiting   desired   mode   reason
    0:00:00  chat         0                 1           initial scale
    0:00:06  chat         0       12    1 → 21   panic  in 19 steps until 0:00:50: 68.7 in flight over
                                                        23 s wants 21, 5 ready
    0:05:08  chat        19            21 → 15          in 3 steps until 0:07:08: 8.0 in flight over 180
                                                        s wants 15, 17 ready
    0:08:08  chat        13            15 → 13          8.0 in flight over 180 s wants 13, 15 ready
    0:09:08  chat        11            13 → 11          8.0 in flight over 180 s wants 11, 13 ready
    0:10:08  chat        10            11 → 1           in 10 steps until 0:19:08: 0.0 in flight over
                                                        180 s wants 1, 2 ready
    0:50:08  chat         0             1 → 0           0.0 in flight over 180 s wants 0, 0 ready

    requests  arrived  served  waited  expired  failed  unfinished    wait, s: p50   p95   p99   max
    chat        1,200   1,200     126        0       0           0               0  21.3  32.6  34.3

    capacity  cold starts  replica-minutes  GPU-minutes   cost  most replicas  panics
    chat               21              266          266  $4.60             21       1
    "#);
}

#[test]
fn a_changed_policy_shows_as_a_diff_that_ends_with_what_it_costs() {
    let folder = accepted();
    folder.write(
        "services.yaml",
        &SERVICES.replace("containerConcurrency: 4", "containerConcurrency: 2"),
    );
    assert_snapshot!(folder.tells(&["test"]), @r"
    suite.yaml
      failed  a step up  0:57:48 678 GPU-min  $13.82  wait p99 38.0 s
      passed  policy affinity  deterministic, room, order, any input, ranks, explains,
                N % of its fuel at most, 463 decisions
      passed  policy knative  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 807 decisions
      passed  policy scale-to-zero  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 156 decisions

    ── failed: a step up ───────────────────────────────────────────────────────────────────────────────
    expected  expired == 0 && gpu_minutes < 300
              gpu_minutes < 300: gpu_minutes is 678
    snapshot  snapshots/a-step-up.snap
     1  1 │      at  service  ready  waiting   desired   mode   reason
     2  2 │ 0:00:00  chat         0                 1           initial scale
     3    │-0:00:06  chat         0       12    1 → 21   panic  in 19 steps until 0:00:50: 68.7 in flight over
     4    │-                                                    23 s wants 21, 5 ready
     5    │-0:05:08  chat        19            21 → 15          in 3 steps until 0:07:08: 8.0 in flight over 180
     6    │-                                                    s wants 15, 17 ready
     7    │-0:08:08  chat        13            15 → 13          8.0 in flight over 180 s wants 13, 15 ready
     8    │-0:09:08  chat        11            13 → 11          8.0 in flight over 180 s wants 11, 13 ready
     9    │-0:10:08  chat        10            11 → 1           in 10 steps until 0:19:08: 0.0 in flight over
    10    │-                                                    180 s wants 1, 2 ready
    11    │-0:50:08  chat         0             1 → 0           0.0 in flight over 180 s wants 0, 0 ready
        3 │+0:00:04  chat         0        8    1 → 49   panic  in 25 steps until 0:01:02: 81.8 in flight over
        4 │+                                                    23 s wants 49, 5 ready
        5 │+0:05:48  chat        44            49 → 23          in 7 steps until 0:11:48: 3.3 in flight over 180
        6 │+                                                    s wants 23, 26 ready
        7 │+0:12:48  chat        20            23 → 20          0.6 in flight over 180 s wants 20, 23 ready
        8 │+0:13:48  chat        18            20 → 14          in 3 steps until 0:15:48: 0.0 in flight over 180
        9 │+                                                    s wants 14, 16 ready
       10 │+0:16:48  chat        12            14 → 12          0.0 in flight over 180 s wants 12, 14 ready
       11 │+0:17:48  chat        10            12 → 10          0.0 in flight over 180 s wants 10, 12 ready
       12 │+0:18:48  chat         9            10 → 1           in 9 steps until 0:26:48: 0.0 in flight over 180
       13 │+                                                    s wants 1, 2 ready
       14 │+0:57:48  chat         0             1 → 0           0.0 in flight over 180 s wants 0, 0 ready
    12 15 │
    13 16 │ requests  arrived  served  waited  expired  failed  unfinished    wait, s: p50   p95   p99   max
    14    │-chat        1,200   1,200     126        0       0           0               0  21.3  32.6  34.3
       17 │+chat        1,200   1,200     203        0       0           0               0  33.6  38.0  39.1
    15 18 │
    16    │-capacity  cold starts  replica-minutes  GPU-minutes   cost  most replicas  panics
    17    │-chat               21              266          266  $4.60             21       1
       19 │+capacity  cold starts  replica-minutes  GPU-minutes    cost  most replicas  panics
       20 │+chat               49              678          678  $13.82             49       1
    it costs  GPU-minutes 266 → 678 (+155 %)   cost $4.60 → $13.82 (+201 %)
              wait p99 32.6 s → 38.0 s (+16 %)   expired 0   wait p95 21.3 s → 33.6 s (+58 %)
              cold starts 21 → 49 (+133 %)

    0 passed, 1 failed in TIME
    exit code 1
    ");
    assert_eq!(folder.names("snapshots"), ["a-step-up.snap", "a-step-up.snap.new"]);
    assert_snapshot!(folder.tells(&["reject", "step"]), @r"
    rejected  snapshots/a-step-up.snap
    exit code 0
    ");
    assert_eq!(folder.names("snapshots"), ["a-step-up.snap"]);
}

#[test]
fn an_expectation_that_does_not_hold_is_told_with_its_numbers() {
    let folder = accepted();
    let suite = folder
        .read("suite.yaml")
        .replace("gpu_minutes < 300", "chat.gpu_minutes / served < 1% && cost < $0.01");
    folder.write("suite.yaml", &suite);
    assert_snapshot!(folder.tells(&["test"]), @r"
    suite.yaml
      failed  a step up  0:50:08 266 GPU-min  $4.60  wait p99 32.6 s
      passed  policy affinity  deterministic, room, order, any input, ranks, explains,
                N % of its fuel at most, 172 decisions
      passed  policy knative  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 577 decisions
      passed  policy scale-to-zero  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 100 decisions

    ── failed: a step up ───────────────────────────────────────────────────────────────────────────────
    expected  expired == 0 && chat.gpu_minutes / served < 1% && cost < $0.01
              chat.gpu_minutes / served < 1%: chat.gpu_minutes is 266, served is 1,200; the left side is
              0.2217
              cost < $0.01: cost is $4.60

    0 passed, 1 failed in TIME
    exit code 1
    ");
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
    assert_snapshot!(folder.tells(&["test", "--check"]), @r"
    suite.yaml
      passed  a step up  0:50:08 266 GPU-min  $4.60  wait p99 32.6 s
      passed  policy affinity  deterministic, room, order, any input, ranks, explains,
                N % of its fuel at most, 172 decisions
      passed  policy knative  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 577 decisions
      passed  policy scale-to-zero  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 100 decisions

    ── orphan: snapshots/gone.snap ─────────────────────────────────────────────────────────────────────
    no case has this snapshot: remove the file, or name the case as it was

    1 passed, 1 orphaned snapshot in TIME
    exit code 1
    ");
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
- name: One more
  traces: a.csv
  policy: builtin:knative
  snapshot: false
- name: one, more!
  traces: a.csv
- name: three
  policies: { scaling: [{ policy: builtin:knative, onfailure: hold }] }
  load: { for: 1h, services: { a: { shape: { constant: { rat: 2 } } } } }
",
    );
    assert_snapshot!(folder.tells(&["test"]), @r#"
    error: cannot use the suite suite.yaml
    cause: suite.yaml:3: default is no known key, expected defaults
           suite.yaml:5: cases[0] (one) is without load or inputs, expected traces or load (a replay), observations or inputs (decisions)
           suite.yaml:6: cases[0].trace is no known key, expected traces
           suite.yaml:9: cases[1].load is beside traces, expected one of traces, load, observations and inputs
           suite.yaml:10: cases[1].expect is `expird == 0`, expected a condition; at column 1: there is no number expird, did you mean expired?
           suite.yaml:13: cases[2].policy is set, expected nothing: it goes with inputs only; policies names a chain
           suite.yaml:14: cases[2].snapshot is false, expected an expectation then: this case cannot fail
           suite.yaml:15: cases[3].name is "one, more!", expected a name that differs from "One more" in letters or digits: both have the snapshot one-more.snap
           suite.yaml:18: cases[4].policies.scaling[0].onfailure is no known key, expected onFailure
           suite.yaml:19: cases[4].load is a map, expected a load as docs/traces.md has it; unknown field `rat`, expected `rate`
    exit code 2
    "#);
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
    assert_snapshot!(folder.tells(&["test", "--accept"]), @r"
    suite.yaml
      broken  no trace
      broken  no service
      broken  no component
      broken  no such input
      passed  a good one     1 decision, 0 changes, 0 to 0 wanted  accepted, new
      passed  policy knative  deterministic, state alone, order (not tried), batch (not tried),
                any input, explains, N % of its fuel at most, 1 decision

    ── broken: no trace ────────────────────────────────────────────────────────────────────────────────
    cannot replay missing.csv
    cannot read missing.csv
    No such file or directory (os error 2)

    ── broken: no service ──────────────────────────────────────────────────────────────────────────────
    expect `chta.expired == 0`: there is no service chta, expected chat

    ── broken: no component ────────────────────────────────────────────────────────────────────────────
    cannot read the policy missing.wasm
    No such file or directory (os error 2)

    ── broken: no such input ───────────────────────────────────────────────────────────────────────────
    suite.yaml:18: a column is concurency, expected concurrency

    1 passed, 4 broken, 1 snapshot accepted in TIME
    exit code 2
    ");
}

#[test]
fn a_policy_that_traps_ends_with_exit_code_three() {
    let folder = Folder::with(
        "cases:
- name: hostile
  policy: hostile.wasm
  settings: { misbehave: trap }
  inputs: |
    at ready-replicas
    0  1
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
fn a_policy_that_does_not_keep_the_contract_is_told_by_what_was_tried() {
    let folder = Folder::with(
        "contract: { monotone: { hostile: [redy-replicas] } }
cases:
- name: no trap here
  policy: hostile.wasm
  settings: { misbehave: trap-at-two-ready }
  snapshot: false
  inputs: |
    at ready-replicas wanted
    0  0.1            3
",
    );
    std::fs::copy(
        Path::new(env!("TIDEGATE_GUESTS")).join("hostile.wasm"),
        folder.path("hostile.wasm"),
    )
    .expect("the build left it");
    assert_snapshot!(folder.tells(&["test"]), @r"
    suite.yaml
      passed  no trap here  1 decision, 0 changes, 3 to 3 wanted
      failed  policy hostile  deterministic, state alone, order (not tried), batch (not tried),
                NOT any input, explains, NOT monotone in redy-replicas, N % of its fuel at most,
                1 decision

    ── failed: policy hostile ──────────────────────────────────────────────────────────────────────────
    any input: with ready-replicas ten times as large, it panicked in `hostile_guest::Hostile::decide`
    at /tidegate/fixtures/hostile/guest/src/lib.rs:84: two is one too many
    monotone in redy-replicas: it asks for no redy-replicas, expected ready-replicas

    1 passed, 2 contract checks failed in TIME
    exit code 1
    ");
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
    assert_snapshot!(folder.tells(&["test"]), @r"
    suite.yaml
      failed  rows  3 decisions, 1 change, 1 to 15 wanted
      passed  policy knative  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 3 decisions

    ── failed: rows ────────────────────────────────────────────────────────────────────────────────────
    expected  `wanted` of 2 rows
              suite.yaml:12: at 2: wanted 14, decided 15 (panic: 100.0 in flight over 6 s wants 15, 1
              ready)
              suite.yaml:13: at 4: wanted 3, decided hold (no data)

    0 passed, 1 failed in TIME
    exit code 1
    ");
}

#[test]
fn words_choose_cases_and_a_word_that_chooses_none_is_a_slip() {
    let folder = accepted();
    assert_snapshot!(folder.tells(&["test", "stap"]), @r"
    error: no case has stap in its name
     hint: there are a step up
    exit code 2
    ");
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
    assert_snapshot!(folder.tells(&["review"]), @r"
    error: review asks questions, and this is no terminal; 1 wait
     hint: tidegate pending lists them, tidegate accept or reject decides without asking
    exit code 2
    ");
    folder.runs(&["accept"]);
    assert_snapshot!(folder.tells(&["review"]), @r"
    no snapshot waits
    exit code 0
    ");
}

/// A run that goes on until it is dropped, with what it prints as it comes.
struct Watching {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Watching {
    fn of(folder: &Folder) -> Watching {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(folder.folder.path())
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .env_remove("CI")
            .args(["test", "--watch"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            use std::io::BufRead as _;
            for line in std::io::BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Watching { child, lines }
    }

    /// The last line of the next run.
    fn sums_up(&self) -> String {
        let deadline = std::time::Duration::from_secs(120);
        loop {
            let line = self.lines.recv_timeout(deadline).expect("a run ends before the deadline");
            if let Some((sum, _)) = line.split_once(" in ").filter(|_| line.ends_with(" s")) {
                return sum.to_owned();
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn whoever_watches_sees_another_run_whenever_a_file_of_the_suite_changes() {
    let folder = accepted();
    let watching = Watching::of(&folder);
    assert_eq!(watching.sums_up(), "1 passed");
    folder.write("services.yaml", &SERVICES.replace("Concurrency: 4", "Concurrency: 2"));
    assert_eq!(watching.sums_up(), "0 passed, 1 failed");
    // A file that cannot be read ends nothing, and no run says so on stdout.
    folder.write("suite.yaml", "cases: [");
    folder.write("services.yaml", SERVICES);
    folder.write("suite.yaml", &format!("apiVersion: tidegate.dev/v1alpha1\nkind: Suite\n{STEP}"));
    assert_eq!(watching.sums_up(), "1 passed");
}

#[test]
fn services_nodes_and_a_profile_may_stand_in_the_suite() {
    let folder = accepted();
    let named = text(&folder.runs(&["test", "-o", "json"]).stdout);
    let own = STEP.replace(
        "  services: services.yaml\n",
        "  services:\n  - { name: chat, model: llama-3.1-8b, containerConcurrency: 4 }\n",
    );
    let suite = |cases: &str| {
        folder.write(
            "suite.yaml",
            &format!("apiVersion: tidegate.dev/v1alpha1\nkind: Suite\n{cases}"),
        );
    };
    suite(&own);
    let numbers = |json: &str| {
        let report: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
        let case = report["suites"][0]["cases"][0].clone();
        (case["verdict"].clone(), case["numbers"].clone())
    };
    let here = text(&folder.runs(&["test", "-o", "json"]).stdout);
    assert_eq!(numbers(&here), numbers(&named));
    // Everything of its own, by defaults, and a case that names a file all the same.
    suite(&format!(
        "defaults:\n  services: {{services: [{{name: chat, model: llama-3.1-8b}}]}}\n  nodes:\n  - {{name: one, gpuClass: A40, gpus: 2, cpu: 96, memory: 512Gi}}\n  profile: {{scale-to-zero-grace-period: 10s}}\n{}{}",
        own.replace("expired == 0 && gpu_minutes < 300", "max_replicas <= 2"),
        STEP.strip_prefix("cases:\n")
            .expect("it begins so")
            .replace("a step up", "with files")
            .replace("expired == 0 && gpu_minutes < 300", "max_replicas <= 2 && chat.arrived > 0",),
    ));
    let report = text(&folder.runs(&["test", "--accept", "-o", "json"]).stdout);
    let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
    assert_eq!(report["failed"], 0, "{report:#}");
    assert_eq!(report["accepted"], 2, "{report:#}");
}

#[test]
fn what_is_wrong_with_what_stands_in_the_suite_is_told_with_its_place() {
    let folder = Folder::with(
        "cases:
- name: a
  load: { for: 1m, services: { chat: { shape: { constant: { rate: 1 } } } } }
  services:
  - { name: chat, containerConcurency: 4 }
  nodes: { nods: [] }
  profile: { stable-window: 1 }
",
    );
    assert_snapshot!(folder.tells(&["test"]), @r#"
    error: cannot use the suite suite.yaml
    cause: suite.yaml:6: cases[0].services[0].containerConcurency is no known key, expected containerConcurrency
           suite.yaml:8: cases[0].nodes.nods is no known key, expected nodes
           suite.yaml:8: cases[0].nodes.nodes is missing, expected a list of nodes
           suite.yaml:9: cases[0].profile.stable-window is "1", expected a duration with its unit (as in 30s), 6s to 1h, whole seconds
    exit code 2
    "#);
}

#[test]
fn every_form_of_output_tells_the_same_failures() {
    let folder = accepted();
    let suite = folder
        .read("suite.yaml")
        .replace("gpu_minutes < 300", "gpu_minutes < 1 && cost < 1 && wait_p99 < 1ms");
    folder.write("suite.yaml", &suite);
    let json: serde_json::Value =
        serde_json::from_slice(&folder.runs(&["test", "-o", "json"]).stdout).expect("JSON");
    assert_eq!((&json["failed"], &json["passed"]), (&1.into(), &0.into()));
    assert_eq!(json["suites"][0]["cases"][0]["verdict"], "failed");
    assert_snapshot!(folder.tells(&["test", "-o", "tap"]), @r"
    TAP version 13
    1..4
    not ok 1 - suite.yaml: a step up
    # gpu_minutes < 1: gpu_minutes is 266
    # cost < 1: cost is $4.60
    # wait_p99 < 1ms: wait_p99 is 32.639 s
    ok 2 - suite.yaml: policy affinity
    ok 3 - suite.yaml: policy knative
    ok 4 - suite.yaml: policy scale-to-zero
    exit code 1
    ");
    assert_snapshot!(folder.tells(&["test", "-o", "github"]), @r"
    ::error file=suite.yaml,line=4,title=a step up%3A failed::gpu_minutes < 1: gpu_minutes is 266%0Acost < 1: cost is $4.60%0Await_p99 < 1ms: wait_p99 is 32.639 s
    ::notice title=tidegate test::0 of 1 cases passed
    exit code 1
    ");
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
    assert_snapshot!(folder.tells(&["test"]), @r"
    suite.yaml
      new     seen  0:10:00 11 changes, 1 to 6 wanted
      passed  policy knative  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 273 decisions
      passed  policy scale-to-zero  deterministic, state alone, order, batch, any input, explains,
                N % of its fuel at most, 36 decisions

    ── new: seen ───────────────────────────────────────────────────────────────────────────────────────
    snapshot  snapshots/seen.snap is new
         at  service  ready  waiting   desired   mode   reason
    0:00:00  load         0                 1           initial scale
    0:00:14  load         0       14    1 → 2    panic  7.0 in flight over 23 s wants 2, 0 ready
    0:00:26  load         0       26    2 → 3    panic  15.0 in flight over 23 s wants 3, 0 ready
    0:00:32  load         0       32    3 → 4    panic  21.0 in flight over 23 s wants 4, 0 ready
    0:00:40  load         1       32    4 → 5    panic  29.0 in flight over 23 s wants 5, 1 ready
    0:00:46  load         1       30    5 → 6    panic  34.1 in flight over 23 s wants 6, 1 ready
    0:05:04  load         6             6 → 5           4.0 in flight over 180 s wants 5, 6 ready
    0:06:04  load         5             5 → 4           1.0 in flight over 180 s wants 4, 5 ready
    0:07:04  load         4             4 → 3           0.0 in flight over 180 s wants 3, 4 ready
    0:08:04  load         3             3 → 2           0.0 in flight over 180 s wants 2, 3 ready
    0:09:04  load         2             2 → 1           0.0 in flight over 180 s wants 1, 2 ready

    0 passed, 1 new in TIME
    tidegate review shows each snapshot and asks; tidegate accept takes all of them
    exit code 1
    ");
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

#[test]
fn observations_that_are_a_year_apart_are_refused_with_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let suite = "apiVersion: tidegate.dev/v1alpha1\nkind: Suite\ncases:\n- name: far apart\n  observations: |\n    at concurrency ready\n    1 1 1\n    31536000 1 1\n";
    std::fs::write(folder.path().join("suite.yaml"), suite).expect("it is written");
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .arg("test")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("suite.yaml:8: ") && said.contains("no more than 7 days"), "{said}");
}

#[test]
fn no_name_of_a_case_commands_a_terminal_or_a_ci_system() {
    let folder = accepted();
    let suite = folder.read("suite.yaml");
    let suite = suite.replace("gpu_minutes < 300", "gpu_minutes < 1");
    let named = suite.replace("name: a step up", r#"name: "a\e[31m\n::set-env name=x::y%0A#""#);
    assert_ne!(named, suite, "the case has another name");
    folder.write("suite.yaml", &named);
    for form in ["tap", "github", "junit"] {
        let told = text(&folder.runs(&["test", "-o", form]).stdout);
        assert!(told.contains("[31m"), "{told:?}");
        assert!(!told.contains('\u{1b}'), "{told:?}");
        assert!(!told.lines().any(|line| line.starts_with("::set-env")), "{told:?}");
        // There a percent sign begins a letter of its own.
        assert!(form != "github" || told.contains("y%250A"), "{told:?}");
    }
}
