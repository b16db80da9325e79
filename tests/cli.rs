//! Command lines as users type them, on the program that the build left: what is printed where, exit codes, and equal bytes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use insta::assert_snapshot;

const CODE: &str = "fixtures/traces/azure-llm-2023-code.csv.gz";
const LONGTAIL: &str = "fixtures/traces/longtail-demo.csv.gz";
const DEMO: [&str; 4] = ["--services", "fixtures/manifests/demo.yaml", "--profile", "gpu"];

/// Runs a command line in the repository, as a user without terminal would. Machine code is cached below `folder`.
fn tidegate(folder: &Path, line: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository");
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(root)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env_remove("NO_COLOR")
        .args(line)
        .output()
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it writes text")
}

/// What a good run prints.
fn prints(folder: &Path, line: &[&str]) -> String {
    let done = tidegate(folder, line);
    assert!(done.status.success(), "{}", text(&done.stderr));
    text(&done.stdout)
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
    assert_snapshot!(prints(folder.path(), &replay(&[])), @"");
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
    assert!(checked > 100, "only {checked} objects were checked");
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
    assert_snapshot!(fails(folder, &["replay", "nowhere.csv"]), @"");
    let bad = file(folder, "bad.csv", "time,prompt_tokens,output_tokens\n0,5,5\n");
    assert_snapshot!(fails(folder, &["replay", &bad]), @"");
    assert_snapshot!(fails(folder, &["replay", LONGTAIL, "--profile", "gpus"]), @"");
    assert_snapshot!(fails(folder, &["replay", LONGTAIL, "--until", "soon"]), @"");
    assert_snapshot!(fails(folder, &["replay"]), @"");
}

fn policies(folder: &Path, name: &str, component: &Path, more: &str) -> String {
    let component = component.display();
    let text = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n- policy: {component}\n{more}"
    );
    file(folder, name, text)
}

#[test]
fn a_policy_that_cannot_be_run_ends_with_exit_code_3() {
    let folder = folder();
    let folder = folder.path();
    let (office, hostile) = (folder.join("office-hours.wasm"), folder.join("hostile.wasm"));
    std::fs::copy(guest("office-hours.wasm"), &office).expect("the build left it");
    std::fs::copy(guest("hostile.wasm"), &hostile).expect("the build left it");

    let loops = "  settings: {misbehave: bind-loop}\n";
    let looping = policies(folder, "looping.yaml", &hostile, loops);
    assert_snapshot!(fails(folder, &["replay", LONGTAIL, "--quiet", "--policies", &looping]), @"");

    let small = policies(folder, "small.yaml", &office, "limits: {packageBytes: 1000}\n");
    let limit = fails(folder, &["replay", LONGTAIL, "--quiet", "--policies", &small]);
    assert!(limit.contains("more than the limit of 1000"), "{limit}");
    assert!(limit.contains("raise `limits.packageBytes` in the policies file"), "{limit}");
    assert!(limit.ends_with("exit code 3"), "{limit}");

    let text = folder.join("text.wasm");
    std::fs::write(&text, "(component)").expect("it is written");
    let text = policies(folder, "text.yaml", &text, "");
    assert_snapshot!(fails(folder, &["replay", LONGTAIL, "--quiet", "--policies", &text]), @"");
}

#[test]
fn a_report_that_cannot_be_written_ends_with_exit_code_4() {
    let folder = folder();
    let report = folder.path().join("missing/report.html").display().to_string();
    let line = ["replay", LONGTAIL, "--quiet", "--until", "1m", "--report", &report];
    assert_snapshot!(fails(folder.path(), &line), @"");
}

#[test]
fn a_component_is_compiled_out_of_process_whatever_the_program_is_called() {
    let folder = folder();
    let program = folder.path().join("tg");
    std::fs::copy(env!("CARGO_BIN_EXE_tidegate"), &program).expect("it is copied");
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
    assert_snapshot!(prints(folder.path(), &line), @"");
}

#[test]
fn a_trace_is_summed_up() {
    let folder = folder();
    assert_snapshot!(prints(folder.path(), &["trace", "stat", LONGTAIL]), @"");
}

#[test]
fn shells_get_completions() {
    let folder = folder();
    let script = prints(folder.path(), &["completions", "bash"]);
    assert!(script.contains("_tidegate()") && script.contains("--policies"), "{script}");
    assert!(!script.contains("__compile"), "what is for the program itself is not completed");
}
