//! Command lines as users type them, on the program that the build left: what is printed where, exit codes, and equal bytes.

#[path = "support/command.rs"]
mod command;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use insta::assert_snapshot;

use command::text;

const CODE: &str = "fixtures/traces/azure-llm-2023-code.csv.gz";
const LONGTAIL: &str = "fixtures/traces/longtail-demo.csv.gz";
const DEMO: [&str; 4] = ["--services", "fixtures/manifests/demo.yaml", "--profile", "gpu"];

/// Runs a command line in the repository, as a user without terminal would. Machine code is cached below `folder`.
fn tidegate(folder: &Path, line: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository");
    command::tidegate(root, &folder.join("cache"), line)
}

/// What a good run prints.
fn prints(folder: &Path, line: &[&str]) -> String {
    let done = tidegate(folder, line);
    assert!(done.status.success(), "{}", text(&done.stderr));
    text(&done.stdout)
}

/// The same without the digests of components, which are the compiler's doing.
fn prints_for_review(folder: &Path, line: &[&str]) -> String {
    let is_digest = |word: &str| word.len() == 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut text = prints(folder, line);
    let words: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("policies"))
        .flat_map(|line| line.split([' ', ',']))
        .filter(|word| is_digest(word))
        .map(str::to_owned)
        .collect();
    assert!(words.len() > 2, "there are three policies at least");
    words.iter().for_each(|word| text = text.replace(word.as_str(), "DIGEST"));
    text
}

/// How a run fails: its exit code and what it says, with `folder` written as `DIR`.
fn fails(folder: &Path, line: &[&str]) -> String {
    let done = tidegate(folder, line);
    let code = done.status.code().expect("no signal ended it");
    let said = text(&done.stderr).replace(&folder.display().to_string(), "DIR");
    assert_eq!(text(&done.stdout), "", "results are for those that there are");
    format!("{said}exit code {code}")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A file in `folder`, as an argument.
fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("it is written");
    path.display().to_string()
}

fn guest(name: &str) -> PathBuf {
    Path::new(env!("TIDEGATE_GUESTS")).join(name)
}

fn replay<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["replay", CODE, LONGTAIL], &DEMO[..], &["--until", "10m"], more].concat()
}

#[test]
fn a_replay_prints_a_timeline_and_a_summary() {
    let folder = folder();
    assert_snapshot!(prints_for_review(folder.path(), &replay(&[])), @r"
         at  service   ready  waiting   desired   mode   reason
    0:00:00  code          0                 1           initial scale
    0:00:00  longtail      0                 1           initial scale
    0:00:04  code          0       12    1 → 12   panic  in 10 steps until 0:04:04: 75.6 in flight over
                                                         23 s wants 12, 5 ready
    0:00:36  longtail      1        3    1 → 2    panic  7.5 in flight over 23 s wants 2, 1 ready
    0:04:52  longtail      1             2 → 1           1.6 in flight over 180 s wants 1, 2 ready
    0:08:12  code         10            12 → 10          0.8 in flight over 180 s wants 10, 12 ready
    0:09:12  code          9            10 → 9           0.5 in flight over 180 s wants 9, 10 ready

    requests  arrived  served  waited  expired  failed  unfinished    wait, s: p50   p95   p99   max
    code        1,482   1,482     558        0       0           0               0  7.93  10.0  36.1
    longtail      158     157      12        0       0           1               0  10.9  21.2  31.7
    ────────────────────────────────────────────────────────────────────────────────────────────────
    together    1,640   1,639     570        0       0           1               0  7.98  16.0  36.1

    capacity  cold starts  replica-minutes  GPU-minutes   cost  most replicas  panics
    code               12               93           93  $2.31             12       1
    longtail            2               15           15  $0.37              2       1
    ─────────────────────────────────────────────────────────────────────────────────
    together           14              108          108  $2.69             14       2

    over time             0:00                                                              0:10  most
    code       in flight  ▁▁▁▂▄▃▁··············▁▁▅▂▂▅█▆▁▁▁▂▁▁▁▁▁▁▁▁▁···▁···▁▁·········▁▁···▂▅█▅▁  124
               ready      ····▂▂▂▂▃▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▆█████████████████████████▇▇▇▇▇▇▇▆▆▆▆▆  12
    longtail   in flight  ▁▃▆██▅▁▂▂▂▁▂▂▂▁▂▃▂▃▃▄▂▃▁▃▃▃▁▁▃▂▂▃▂▁▂▂▁▁▂▄▃▂▁▂·▁▃▃▂▁▁▁▁▃▃·▂▂▃▃▂▂▂▂▁▄▃▂▂  11
               ready      ····▄▄▄▄███████████████████████████▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄  2

    replayed  fixtures/traces/azure-llm-2023-code.csv.gz, fixtures/traces/longtail-demo.csv.gz from
              2024-01-01 00:00 UTC on, 0:10:00 long
    set-up    profile gpu, a tick every 2 s, seed tide, 8 nodes with 64 GPUs
    policies  knative DIGEST, scale-to-zero DIGEST, placement DIGEST
    made by   tidegate 0.1.0, simulator model 1
    ");
}

#[test]
fn the_document_has_every_key_that_its_schema_requires_and_no_other() {
    let folder = folder();
    let document: serde_json::Value =
        serde_json::from_str(&prints(folder.path(), &replay(&["-o", "json"]))).expect("JSON");
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../docs/replay.schema.json")).expect("JSON");
    let mut checked = 0;
    check(&schema, &schema, &document, "", &mut checked);
    assert!(checked > 30, "only {checked} objects were checked");
}

/// Holds `document` to the keys and simple types of `part` of `schema`.
fn check(
    schema: &serde_json::Value,
    part: &serde_json::Value,
    document: &serde_json::Value,
    at: &str,
    checked: &mut usize,
) {
    if let Some(reference) = part["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("it points into the schema");
        let part = schema.pointer(pointer).unwrap_or_else(|| panic!("no {reference}"));
        return check(schema, part, document, at, checked);
    }
    for part in part["allOf"].as_array().into_iter().flatten() {
        check(schema, part, document, at, checked);
    }
    if let Some(object) = document.as_object() {
        *checked += 1;
        for key in part["required"].as_array().into_iter().flatten() {
            let key = key.as_str().expect("keys are text");
            assert!(object.contains_key(key), "{at} has no {key}");
        }
        for (key, value) in object {
            let known = part["properties"].get(key);
            let Some(known) = known.or_else(|| part.get("additionalProperties")) else {
                panic!("the schema has no {at}.{key}")
            };
            check(schema, known, value, &format!("{at}.{key}"), checked);
        }
    }
    for (position, value) in document.as_array().into_iter().flatten().enumerate() {
        check(schema, &part["items"], value, &format!("{at}[{position}]"), checked);
    }
    let types: Vec<&str> = match &part["type"] {
        serde_json::Value::String(one) => vec![one],
        serde_json::Value::Array(several) => {
            several.iter().filter_map(|one| one.as_str()).collect()
        }
        _ => return,
    };
    let is = |name: &&str| match *name {
        "null" => document.is_null(),
        "boolean" => document.is_boolean(),
        "integer" => document.is_u64() || document.is_i64(),
        "number" => document.is_number(),
        "string" => document.is_string(),
        "array" => document.is_array(),
        "object" => document.is_object(),
        other => panic!("the schema has a type {other}"),
    };
    assert!(types.iter().any(is), "{at} is {document}, expected {types:?}");
}

#[test]
fn equal_inputs_give_equal_bytes_in_whatever_order_the_traces_are_named() {
    let folder = folder();
    let (one, other) = (folder.path().join("one.html"), folder.path().join("other.html"));
    let report = |path: &Path| path.display().to_string();
    let first = prints(folder.path(), &replay(&["-o", "json", "--report", &report(&one)]));
    let second = prints(folder.path(), &replay(&["-o", "json", "--report", &report(&other)]));
    assert!(first == second, "two runs differ");
    let read = |path: &Path| std::fs::read(path).expect("the report was written");
    assert!(read(&one) == read(&other), "two reports differ");

    let line = |traces: [&'static str; 2]| {
        [&["replay"], &traces[..], &DEMO[..], &["--until", "10m", "--all"]].concat()
    };
    let forth = prints(folder.path(), &line([CODE, LONGTAIL]));
    let back = prints(folder.path(), &line([LONGTAIL, CODE]));
    assert!(forth == back, "the order of traces shows");
}

#[test]
fn mistakes_end_with_exit_code_2_and_say_what_is_wrong_where() {
    let folder = folder();
    let folder = folder.path();
    assert_snapshot!(fails(folder, &["replay", "nowhere.csv"]), @r"
    error: cannot replay nowhere.csv
    cause: cannot read nowhere.csv
    cause: No such file or directory (os error 2)
    exit code 2
    ");
    let bad = file(folder, "bad.csv", "time,prompt_tokens,output_tokens\n0,5,5\n");
    assert_snapshot!(fails(folder, &["replay", &bad]), @r"
    error: cannot replay DIR/bad.csv
    cause: DIR/bad.csv: has no column `t_s`, the time of each row; found `time`, `prompt_tokens`, `output_tokens`
    exit code 2
    ");
    assert_snapshot!(fails(folder, &["replay", LONGTAIL, "--profile", "gpus"]), @r"
    error: cannot use the profile gpus
    cause: profile gpus is neither built in nor a file, expected gpu
    exit code 2
    ");
    assert_snapshot!(fails(folder, &["replay", LONGTAIL, "--until", "soon"]), @r"
    error: --until is soon, expected a duration above 0
     hint: as 90m, 24h or 1h30m
    exit code 2
    ");
    assert_snapshot!(fails(folder, &["replay"]), @r"
    error: the following required arguments were not provided:
      <TRACE|JOURNAL>...

    Usage: tidegate replay <TRACE|JOURNAL>...

    For more information, try '--help'.
    exit code 2
    ");
}

fn policies(folder: &Path, name: &str, component: &Path, more: &str) -> String {
    let component = component.display();
    let text = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n- policy: {component}\n{more}"
    );
    file(folder, name, text)
}

#[test]
fn a_policy_that_cannot_be_run_ends_with_exit_code_3_and_what_is_no_component_with_2() {
    let folder = folder();
    let folder = folder.path();
    let (office, hostile) = (folder.join("office-hours.wasm"), folder.join("hostile.wasm"));
    std::fs::copy(guest("office-hours.wasm"), &office).expect("the build left it");
    std::fs::copy(guest("hostile.wasm"), &hostile).expect("the build left it");

    let loops = "  settings: {misbehave: bind-loop}\n";
    let looping = policies(folder, "looping.yaml", &hostile, loops);
    assert_snapshot!(fails(folder, &["replay", LONGTAIL, "--quiet", "--policies", &looping]), @r"
    error: cannot replay fixtures/traces/longtail-demo.csv.gz
    cause: hostile does not accept the settings of m-large-c155
    cause: it used up its fuel of 20,000,000 in `hostile_guest::Hostile::bind`: an endless loop, or too much work for one call
    exit code 3
    ");

    let small = policies(folder, "small.yaml", &office, "limits: {packageBytes: 1000}\n");
    let limit = fails(folder, &["replay", LONGTAIL, "--quiet", "--policies", &small]);
    assert!(limit.contains("more than the limit of 1000"), "{limit}");
    assert!(limit.contains("raise `limits.packageBytes` in the policies file"), "{limit}");
    assert!(limit.ends_with("exit code 3"), "{limit}");

    let text = folder.join("text.wasm");
    std::fs::write(&text, "(component)").expect("it is written");
    let text = policies(folder, "text.yaml", &text, "");
    assert_snapshot!(fails(folder, &["replay", LONGTAIL, "--quiet", "--policies", &text]), @r"
    error: cannot load the policy DIR/text.wasm
    cause: this is not Wasm: the file begins with `(component)`
     hint: this is the text format: turn it into a binary with `wasm-tools parse`
    exit code 2
    ");
}

#[test]
fn a_report_that_cannot_be_written_ends_with_exit_code_4() {
    let folder = folder();
    let report = folder.path().join("missing/report.html").display().to_string();
    let line = ["replay", LONGTAIL, "--quiet", "--until", "1m", "--report", &report];
    assert_snapshot!(fails(folder.path(), &line), @r"
    error: cannot write DIR/missing/report.html
    cause: No such file or directory (os error 2)
     hint: does the folder exist, and may you write to it?
    exit code 4
    ");
}

#[test]
fn a_component_is_compiled_out_of_process_whatever_the_program_is_called() {
    let built = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    // A link in a folder beside it, for a file that was just written may be too busy to run.
    let beside = built.parent().expect("it is in a folder");
    let folder = tempfile::tempdir_in(beside).expect("a folder");
    let program = folder.path().join("tg");
    std::fs::hard_link(built, &program).expect("it is linked");
    let component = folder.path().join("office-hours.wasm");
    std::fs::copy(guest("office-hours.wasm"), &component).expect("the build left it");
    let policies = policies(
        folder.path(),
        "policies.yaml",
        &component,
        "limits: {compileMemoryBytes: 1000000}\n",
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository");
    let done = Command::new(program)
        .current_dir(root)
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .args(["replay", LONGTAIL, "--quiet", "--policies", &policies])
        .output()
        .expect("it starts");
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(3), "{said}");
    assert!(said.contains("limits.compileMemoryBytes"), "{said}");
}

#[test]
fn office_hours_keep_two_replicas_from_eight_o_clock_on() {
    let folder = folder();
    let component = folder.path().join("office-hours.wasm");
    std::fs::copy(guest("office-hours.wasm"), &component).expect("the build left it");
    let chain = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n- policy: builtin:knative\n- policy: {}\n  settings: {{minimum: 2}}\n- policy: builtin:scale-to-zero\n",
        component.display()
    );
    let policies = file(folder.path(), "policies.yaml", chain);
    let line = ["replay", LONGTAIL, "--policies", &policies, "--start", "2024-01-01T07:50Z"];
    let line = [&line[..], &DEMO[..], &["--until", "20m"]].concat();
    assert_snapshot!(prints_for_review(folder.path(), &line), @r"
         at  service   ready  waiting   desired   mode   reason
    0:00:00  code          0                 1           initial scale
    0:00:00  longtail      0                 1           initial scale
    0:00:36  longtail      1        3    1 → 2    panic  7.5 in flight over 23 s wants 2, 1 ready
    0:04:52  longtail      1             2 → 1           1.6 in flight over 180 s wants 1, 2 ready
    0:10:00  code          1             1 → 2           office hours until 18:00: at least 2
    0:10:00  longtail      1             1 → 2           office hours until 18:00: at least 2

    requests  arrived  served  waited  expired  failed  unfinished    wait, s: p50  p95   p99   max
    longtail      318     316      12        0       0           2               0    0  16.8  31.2
    code            0       0       0        0       0           0               0    0     0     0
    ───────────────────────────────────────────────────────────────────────────────────────────────
    together      318     316      12        0       0           2               0    0  16.8  31.2

    capacity  cold starts  replica-minutes  GPU-minutes   cost  most replicas  panics
    longtail            3               35           35  $0.87              2       1
    code                2               30           30  $0.75              2       0
    ─────────────────────────────────────────────────────────────────────────────────
    together            5               65           65  $1.62              4       1

    over time             0:00                                                              0:20  most
    longtail   in flight  ▃██▂▂▂▂▂▃▃▄▃▃▃▃▂▃▂▂▂▄▂▂▃▃▁▁▃▂▃▃▂▂▄▂▆▁···▅▂▇▇▁▄▆▂▃▂▅▄▁▁▁·█▃▃▃▂·▄▂▃▃▄·▁▄  11
               ready      ·▄▄███████████████▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄██████████████████████████████████  2
    code       in flight  ······································································  0
               ready      ·▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄██████████████████████████████████  2

    replayed  fixtures/traces/longtail-demo.csv.gz from 2024-01-01 07:50 UTC on, 0:20:00 long
    set-up    profile gpu, a tick every 2 s, seed tide, 8 nodes with 64 GPUs
    policies  knative DIGEST, office-hours DIGEST, scale-to-zero DIGEST, placement DIGEST
    made by   tidegate 0.1.0, simulator model 1
    warning   service code gets no load: no trace has azure-llm-2023-code, they have m-large-c155
    ");
}

#[test]
fn a_trace_is_summed_up() {
    let folder = folder();
    assert_snapshot!(prints(folder.path(), &["trace", "stat", LONGTAIL]), @r"
    window         4h
    requests       981
    rate           0.068 requests/s mean, 10 in the busiest second, 0.917 over the busiest minute
    dispersion     2.65 of seconds, 24.57 of minutes (1 is Poisson)
    prompt tokens  1,061 median, 2,032 p99
    output tokens  96 median, 548 p99

    requests/s, the highest mean over 16s in each column
    1.69 ┤                                    ▁  █
         ┤      ▃                             █  █                     ▂▆
         ┤   ▁▂▅█                            ▄██▂█                  ▄▇▇██
         ┤▄▁▁████▆                           █████                  █████
       0 ┤████████                       ▂ ▆▆█████                  █████                       ▂▅▃▂▂▂▂▃
          0                                                                                           4h

    between arrivals                  prompt tokens                     output tokens
            ▄▆█▂                                  ██                            ██
        ▃ ▆▇████                          ▁▁▅▅▁▁▃▃██                          ▅▅██▇▇
    █▃▅█████████▇▄▃▁▁  ▁              ▁▁▁▁██████████                    ▁▁▂▂▄▄██████████▆▆▃▃
    1ms               1h              147      2,154                    15               681
    ");
}

#[test]
fn shells_get_completions() {
    let folder = folder();
    let script = prints(folder.path(), &["completions", "bash"]);
    assert!(script.contains("_tidegate()") && script.contains("--policies"), "{script}");
}
