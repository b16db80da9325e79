//! `tidegate parity` as users type it, on the program that the build left: what is printed where, and exit codes.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use insta::assert_snapshot;

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
    let done = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env_remove("NO_COLOR")
        .arg("parity")
        .args(line)
        .output()
        .expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
    let code = done.status.code().expect("no signal ended it");
    let said = format!("{}{}exit code {code}", text(done.stdout), text(done.stderr));
    said.replace(&folder.display().to_string(), "DIR")
}

#[test]
fn every_recording_is_equal_native_and_sandboxed() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = recordings().display().to_string();
    let said = tidegate(folder.path(), &[&all]);
    assert_eq!(said.lines().count(), 207 + 3 + 2, "a line each, the counts, the exit code: {said}");
    assert!(said.lines().take(210).all(|line| line.starts_with("equal ")), "{said}");
    assert_snapshot!(tidegate(folder.path(), &[&all, "--native", "--quiet"]), @"");
}

#[test]
fn a_changed_number_is_named_with_both_sides() {
    let folder = one_scenario();
    assert_snapshot!(tidegate(folder.path(), &["."]), @"");
    change(
        folder.path(),
        "golden",
        r#"{"t_s":20,"valid":true,"desired":1"#,
        r#"{"t_s":20,"valid":true,"desired":3"#,
    );
    change(folder.path(), "golden", r#""t_s":30,"valid":true"#, r#""t_s":30,"valid":false"#);
    assert_snapshot!(tidegate(folder.path(), &[".", "--native"]), @"");
    let said = tidegate(folder.path(), &[".", "-o", "json"]);
    let json = said.strip_suffix("exit code 1").expect("it differs");
    let document: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(document["isEqual"], false);
    assert_snapshot!(serde_json::to_string_pretty(&document).expect("JSON"), @"");
}

#[test]
fn what_cannot_be_read_is_exit_code_2_with_file_line_and_field() {
    let folder = one_scenario();
    change(folder.path(), "golden", r#","desired":"#, r#","desird":"#);
    change(folder.path(), "scenario", r#"{"t_s":3,"#, r#"{"t_s":3"#);
    assert_snapshot!(tidegate(folder.path(), &["."]), @"");
    let folder = one_scenario();
    assert_snapshot!(tidegate(folder.path(), &[&format!("{NAME}.scenario.jsonl")]), @"");
    std::fs::write(folder.path().join("other.jsonl"), "{\"t_s\":0}\n").expect("it is written");
    assert_snapshot!(tidegate(folder.path(), &["."]), @"");
    assert_snapshot!(tidegate(folder.path(), &["nowhere"]), @"");
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
    assert_snapshot!(tidegate(folder.path(), &[".", "--policies", "same.yaml"]), @"");
    file("other.yaml", "- policy: builtin:scale-to-zero\n");
    assert_snapshot!(tidegate(folder.path(), &[".", "--policies", "other.yaml"]), @"");
    let hostile = Path::new(env!("TIDEGATE_GUESTS")).join("hostile.wasm");
    std::fs::copy(hostile, folder.path().join("hostile.wasm")).expect("the build left it");
    file("mute.yaml", "- policy: hostile.wasm\n");
    assert_snapshot!(tidegate(folder.path(), &[".", "--policies", "mute.yaml"]), @"");
    file("loops.yaml", "- policy: hostile.wasm\n  settings: {misbehave: bind-loop}\n");
    assert_snapshot!(tidegate(folder.path(), &[".", "--policies", "loops.yaml"]), @"");
}
