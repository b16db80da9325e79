//! `tidegate trace convert`, `synth` and `stat` as users type them: what is printed where, exit codes, equal bytes, and that what one
//! writes the others and `replay` read.

use std::path::Path;
use std::process::{Command, Output};

use insta::assert_snapshot;

/// Runs a command line in the repository. `FOLDER` stands for a folder that goes with the test.
fn tidegate(folder: &Path, line: &str) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository");
    let place = folder.display().to_string();
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(root)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env_remove("NO_COLOR")
        .args(line.split_whitespace().map(|word| word.replace("FOLDER", &place)))
        .output()
        .expect("it starts")
}

/// What a run prints: results, then the rest, then its exit code if that is not 0.
fn said(folder: &Path, line: &str) -> String {
    let done = tidegate(folder, line);
    let [stdout, stderr] =
        [&done.stdout, &done.stderr].map(|bytes| String::from_utf8(bytes.clone()).expect("text"));
    let said = format!("{stdout}{stderr}").replace(&folder.display().to_string(), "FOLDER");
    match done.status.code() {
        Some(0) => said,
        code => format!("{said}exit code {}", code.expect("no signal ended it")),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is room")
}

#[test]
fn a_shape_becomes_a_trace_that_is_the_same_each_time() {
    let folder = folder();
    let shape = "--shape constant:1+bursts:height=20,period=5m,width=30s --for 20m --service chat";
    assert_snapshot!(said(folder.path(), &format!("trace synth {shape} -O FOLDER/a.csv.gz")), @"");
    said(folder.path(), &format!("trace synth {shape} -O FOLDER/b.csv.gz"));
    said(folder.path(), &format!("trace synth {shape} --seed ebb -O FOLDER/c.csv.gz"));
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).expect("it was written");
    assert_eq!(bytes("a.csv.gz"), bytes("b.csv.gz"));
    assert_ne!(bytes("a.csv.gz"), bytes("c.csv.gz"));
    assert_snapshot!(said(folder.path(), "trace stat FOLDER/a.csv.gz"), @"");
    let replayed = said(folder.path(), "replay FOLDER/a.csv.gz --until 2m -o json --quiet");
    assert!(replayed.contains("\"chat\""), "{replayed}");
}

#[test]
fn a_file_describes_several_services() {
    let folder = folder();
    let text = "for: 1m\nservices:\n  chat: { shape: 'constant:0.1', arrivals: even, prompt: 512, output: 64 }\n  code:\n    shape: [ 'constant:0.05' ]\n    arrivals: even\n    prompt: 7\n    output: 7\n";
    std::fs::write(folder.path().join("load.yaml"), text).expect("it is written");
    assert_snapshot!(said(folder.path(), "trace synth --from FOLDER/load.yaml"), @"");
    assert_snapshot!(said(folder.path(), "trace synth --from FOLDER/load.yaml --for 2m -O FOLDER/x.csv -o json"), @"");
}

#[test]
fn a_load_that_cannot_be_is_refused_with_what_would_do() {
    let folder = folder();
    for (name, text) in [
        ("typo.yaml", "for: 1m\nservices:\n  chat: { shape: 'constant:1', promt: 3 }\n"),
        (
            "mixed.yaml",
            "for: 1m\nservices:\n  a: { shape: 'constant:1', duration: 1s }\n  b: { shape: 'constant:1' }\n",
        ),
    ] {
        std::fs::write(folder.path().join(name), text).expect("it is written");
    }
    let mut all = String::new();
    for line in [
        "trace synth --shape constnat:5 --for 1h",
        "trace synth --shape constant:5",
        "trace synth --shape constant:0 --for 1h",
        "trace synth --from FOLDER/typo.yaml",
        "trace synth --from FOLDER/mixed.yaml -O FOLDER/out.csv",
        "trace synth --from FOLDER/none.yaml",
        "trace synth --shape constant:5 --for 1m -O FOLDER/no/out.csv",
    ] {
        all.push_str(&format!("$ {line}\n{}\n\n", said(folder.path(), line)));
    }
    assert_snapshot!(all, @"");
    assert!(
        !folder.path().join("out.csv").exists() && !folder.path().join("out.csv.part").exists()
    );
}

#[test]
fn logs_become_traces_that_replay() {
    let folder = folder();
    let line = "trace convert fixtures/logs/combined.log --where path=/v1/models/ --field service=path.3 -O FOLDER/load.csv.gz";
    assert_snapshot!(said(folder.path(), line), @"");
    assert_snapshot!(said(folder.path(), "trace stat FOLDER/load.csv.gz"), @"");
    let replayed = said(folder.path(), "replay FOLDER/load.csv.gz -o json --quiet");
    assert!(replayed.contains("\"llama\"") && replayed.contains("\"mistral\""), "{replayed}");

    assert_snapshot!(said(folder.path(), "trace convert fixtures/logs/prometheus-rates.json"), @"");
    said(
        folder.path(),
        "trace convert fixtures/logs/prometheus-rates.json --metric concurrency -O FOLDER/in-flight.csv",
    );
    assert_snapshot!(said(folder.path(), "trace stat FOLDER/in-flight.csv"), @"");
}

#[test]
fn a_log_may_come_from_a_pipe() {
    use std::io::Write as _;
    let folder = folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["trace", "convert", "-", "--service", "calls", "-q"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .current_dir(folder.path())
        .spawn()
        .expect("it starts");
    let log = b"{\"timestamp\": 1500, \"input_length\": 6758, \"output_length\": 500}\n";
    child.stdin.take().expect("it is piped").write_all(log).expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    assert_eq!(done.stdout, b"t_s,model,prompt_tokens,output_tokens\n1.5,calls,6758,500\n");
}

#[test]
fn a_log_that_cannot_be_read_is_refused_with_what_would_do() {
    let folder = folder();
    let line = |minute: u32| {
        format!("h - - [06/May/2024:09:{minute:02}:00 +0000] \"GET / HTTP/1.1\" 200 5\n")
    };
    std::fs::write(folder.path().join("late.log"), line(50) + &line(0) + &line(59) + &line(1))
        .expect("it is written");
    let mut all = String::new();
    for line in [
        "trace convert fixtures/logs/none.log",
        "trace convert fixtures/logs/README.md",
        "trace convert fixtures/logs/calls.jsonl",
        "trace convert fixtures/logs/calls.jsonl --field tme=ts",
        "trace convert fixtures/logs/combined.log --strict --service web -O FOLDER/out.csv",
        "trace convert fixtures/logs/common.log --from prometeus",
        "trace convert fixtures/logs/common.log --where /v1",
        "trace convert fixtures/logs/prometheus-rates.json --to requests",
        "trace convert fixtures/logs/prometheus-rates.json fixtures/logs/common.log",
        "trace convert FOLDER/late.log -O FOLDER/out.csv",
    ] {
        all.push_str(&format!("$ {line}\n{}\n\n", said(folder.path(), line)));
    }
    assert_snapshot!(all, @"");
    assert!(!folder.path().join("out.csv").exists());
    assert!(
        said(folder.path(), "trace convert FOLDER/late.log --window 1h -q -O FOLDER/out.csv")
            .is_empty()
    );
}

#[test]
fn what_was_converted_is_told_to_programs() {
    let folder = folder();
    let line = "trace convert fixtures/logs/calls.jsonl --field end=ts --field duration=took_ms:ms --field service=req.model -O FOLDER/x.csv -o json";
    assert_snapshot!(said(folder.path(), line), @"");
}

#[test]
fn a_week_of_rates_is_summed_up_without_drawing_it() {
    assert_snapshot!(said(folder().path(), "trace stat fixtures/traces/servegen-rates-7d.csv.gz"), @"");
}
