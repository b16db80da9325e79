//! `tidegate trace convert`, `synth` and `stat` as users type them: what is printed where, exit codes, equal bytes, and that what one
//! writes the others and `replay` read.

#[path = "support/command.rs"]
mod command;

use std::path::Path;
use std::process::{Command, Output};

use insta::assert_snapshot;

use command::text;

/// Runs a command line in the repository. `FOLDER` stands for a folder that goes with the test.
fn tidegate(folder: &Path, line: &str) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository");
    let place = folder.display().to_string();
    let words: Vec<String> =
        line.split_whitespace().map(|word| word.replace("FOLDER", &place)).collect();
    command::tidegate(root, &folder.join("cache"), &words)
}

/// What a run prints: results, then the rest, then its exit code if that is not 0.
fn said(folder: &Path, line: &str) -> String {
    let done = tidegate(folder, line);
    let [stdout, stderr] = [&done.stdout, &done.stderr].map(|bytes| text(bytes));
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
    assert_snapshot!(said(folder.path(), &format!("trace synth {shape} -O FOLDER/a.csv.gz")), @"wrote 3598 requests in 20m to FOLDER/a.csv.gz, 2.998 a second");
    said(folder.path(), &format!("trace synth {shape} -O FOLDER/b.csv.gz"));
    said(folder.path(), &format!("trace synth {shape} --seed ebb -O FOLDER/c.csv.gz"));
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).expect("it was written");
    assert_eq!(bytes("a.csv.gz"), bytes("b.csv.gz"));
    assert_ne!(bytes("a.csv.gz"), bytes("c.csv.gz"));
    assert_snapshot!(said(folder.path(), "trace stat FOLDER/a.csv.gz"), @r"
    window         19m 56s
    requests       3,598
    rate           3.01 requests/s mean, 32 in the busiest second, 11.1 over the busiest minute
    dispersion     12.61 of seconds, 312.10 of minutes (1 is Poisson)
    prompt tokens  1,035 median, 4,171 p99
    output tokens  117 median, 647 p99

    requests/s, the highest mean over 2s in each column
    27.5 ┤█▆▄                     ▁▇                     ▃▂▃                     ▃▅█
         ┤███                    ███                     ███                    ████
         ┤███                    ███                     ███                    ████
         ┤███                    ███                     ███                    ████
       0 ┤███▃▂▃▃▄▃▂▅▆▃▄▃▃▃▃▃▃▃▅▄███▃▃▃▃▃▃▄▄▄▃▃▃▆▃▃▃▆▂▃▃▆███▃▃▄▃▅▃▄▃▄▃▃▃▂▃▃▃▃▃▃▄████▅▄▄▂▃▂▃▄▃▃▃▂▄▃▃▃▃▅▃▃
          0                                                                                      19m 56s

    between arrivals                  prompt tokens                     output tokens
               ██                                 ████▂▂                              ▆▆██▅▅
             ▁███▇▁▃▁                           ▇▇██████                            ▇▇██████▆▆
    ▁▁▁▁▁▁▁▃▄████████▅▁               ▁▁  ▁▁▂▂▇▇██████████▃▃▁▁▁▁        ▁▁  ▁▁▁▁▃▃████████████▇▇▃▃▁▁▁▁
    5µs             10s               68                     10k        5                        1,468
    ");
    let replayed = said(folder.path(), "replay FOLDER/a.csv.gz --until 2m -o json --quiet");
    assert!(replayed.contains("\"chat\""), "{replayed}");
}

#[test]
fn a_file_describes_several_services() {
    let folder = folder();
    let text = "for: 1m\nservices:\n  chat: { shape: 'constant:0.1', arrivals: even, prompt: 512, output: 64 }\n  code:\n    shape: [ 'constant:0.05' ]\n    arrivals: even\n    prompt: 7\n    output: 7\n";
    std::fs::write(folder.path().join("load.yaml"), text).expect("it is written");
    assert_snapshot!(said(folder.path(), "trace synth --from FOLDER/load.yaml"), @r"
    t_s,model,prompt_tokens,output_tokens
    5,chat,512,64
    10,code,7,7
    15,chat,512,64
    25,chat,512,64
    30,code,7,7
    35,chat,512,64
    45,chat,512,64
    50,code,7,7
    55,chat,512,64
    wrote 9 requests in 1m, 0.150 a second
    ");
    assert_snapshot!(said(folder.path(), "trace synth --from FOLDER/load.yaml --for 2m -O FOLDER/x.csv -o json"), @r#"
    {
      "apiVersion": "tidegate.dev/v1alpha1",
      "kind": "TraceSynthesis",
      "requests": 18,
      "services": 2,
      "windowS": 120.0,
      "meanRps": 0.15
    }
    "#);
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
    assert_snapshot!(all, @r"
    $ trace synth --shape constnat:5 --for 1h
    error: invalid value 'constnat:5' for '--shape <SHAPE>': there is no shape `constnat`; did you mean constant?

    For more information, try '--help'.
    exit code 2

    $ trace synth --shape constant:5
    error: the following required arguments were not provided:
      --for <DURATION>

    Usage: tidegate trace synth --shape <SHAPE> --for <DURATION>

    For more information, try '--help'.
    exit code 2

    $ trace synth --shape constant:0 --for 1h
    error: nothing arrives: the load has no request
     hint: a higher rate, a longer --for or another --seed
    exit code 2

    $ trace synth --from FOLDER/typo.yaml
    error: cannot read the load in FOLDER/typo.yaml
    cause: error: line 3 column 32: unknown field `promt`, expected one of shape, arrivals, prompt, output, duration
            --> <input>:3:32
             |
           1 | for: 1m
           2 | services:
           3 |   chat: { shape: 'constant:1', promt: 3 }
             |                                ^ unknown field `promt`, expected one of shape, arrivals, prompt, output, duration
    exit code 2

    $ trace synth --from FOLDER/mixed.yaml -O FOLDER/out.csv
    error: cannot write the load as one trace
    cause: b asks for tokens, but the rows before it for a duration; a trace has one of them, so write two
    exit code 2

    $ trace synth --from FOLDER/none.yaml
    error: cannot read the load in FOLDER/none.yaml
    cause: No such file or directory (os error 2)
    exit code 2

    $ trace synth --shape constant:5 --for 1m -O FOLDER/no/out.csv
    error: cannot write FOLDER/no/out.csv
    cause: No such file or directory (os error 2)
     hint: does the folder exist, and may you write to it?
    exit code 4
    ");
    assert!(
        !folder.path().join("out.csv").exists() && !folder.path().join("out.csv.part").exists()
    );
}

#[test]
fn logs_become_traces_that_replay() {
    let folder = folder();
    let line = "trace convert fixtures/logs/combined.log --where path=/v1/models/ --field service=path.3 -O FOLDER/load.csv.gz";
    assert_snapshot!(said(folder.path(), line), @r"
    read      fixtures/logs/combined.log as access-log
    lines     6
    wrote     4 rows, 2 services
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z
    odd       1 left out: not of the format, first fixtures/logs/combined.log:4
    note      1 left out: not what --where asks for, first fixtures/logs/combined.log:2
    note      4 have whole seconds: spread within their second, first fixtures/logs/combined.log:1
    ");
    assert_snapshot!(said(folder.path(), "trace stat FOLDER/load.csv.gz"), @r"
    window         6s
    requests       4, 2 services
    rate           0.667 requests/s mean, 2 in the busiest second, 0.067 over the busiest minute
    dispersion     0.83 of seconds, 0.00 of minutes (1 is Poisson)
    duration       1,670 ms median, 28,447 ms p99

    requests/s, the highest mean over 1s in each column
    2 ┤  █
      ┤  █
      ┤▄ █  ▄
      ┤█ █  █
    0 ┤█ █  █
       0   6s

    between arrivals                       duration
    ████                                   █          █  █     █
    ████                                   █          █  █     █
    ████                                   █          █  █     █
    1.5s 3.2s                              10ms              32s

    service            requests  longest gap  over time                                          busiest
    llama                     3         2.8s  █·█··█                                                 1/s
    mistral                   1               ··█···                                                 1/s
    each to its own scale; busiest is its highest mean over 1s
    ");
    let replayed = said(folder.path(), "replay FOLDER/load.csv.gz -o json --quiet");
    assert!(replayed.contains("\"llama\"") && replayed.contains("\"mistral\""), "{replayed}");

    assert_snapshot!(said(folder.path(), "trace convert fixtures/logs/prometheus-rates.json"), @r"
    t_s,chat_rps,embed_rps
    0,1.5,10
    60,3,0
    120,0.25,12
    180,0.5,12
    read      fixtures/logs/prometheus-rates.json as prometheus
    samples   10 in 3 series, one every 60 s
    wrote     4 rows, 2 services
    starts    2024-05-06T09:00:00Z; replay it with --start 2024-05-06T09:00:00Z
    odd       2 samples are NaN or infinite: taken as missing
    odd       2 times a series pauses: nothing is taken to arrive there
    ");
    said(
        folder.path(),
        "trace convert fixtures/logs/prometheus-rates.json --metric concurrency -O FOLDER/in-flight.csv",
    );
    assert_snapshot!(said(folder.path(), "trace stat FOLDER/in-flight.csv"), @r"
    window         4m
    in flight      9.81 mean, 12.5 at most, 2 services

    in flight, the highest mean over 1s in each column
    12.5 ┤▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅                       ███████████████████████████████████████████████
         ┤████████████████████████                       ███████████████████████████████████████████████
         ┤████████████████████████                       ███████████████████████████████████████████████
         ┤████████████████████████▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂███████████████████████████████████████████████
       0 ┤██████████████████████████████████████████████████████████████████████████████████████████████
          0                                                                                           4m

    service          mean in flight  peak  over time
    embed                      8.50    12  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇···············██████████████████████████████
    chat                       1.31     3  ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄████████████████▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂
    each to its own scale
    ");
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
    assert_snapshot!(all, @r#"
    $ trace convert fixtures/logs/none.log
    error: cannot convert fixtures/logs/none.log
    cause: cannot read fixtures/logs/none.log
    cause: No such file or directory (os error 2)
    exit code 2

    $ trace convert fixtures/logs/README.md
    error: cannot convert fixtures/logs/README.md
    cause: fixtures/logs/README.md:1: expected a line of a known format, found `# Logs`; --from names the format, and --field what its fields mean
     hint: such as --from jsonl --field time=ts --field service=model --field duration=took:ms
    exit code 2

    $ trace convert fixtures/logs/calls.jsonl
    error: cannot convert fixtures/logs/calls.jsonl
    cause: fixtures/logs/calls.jsonl: which field is the time? --field time=NAME says so; found `req`, `took_ms`, `ts`, `usage`
     hint: such as --from jsonl --field time=ts --field service=model --field duration=took:ms
    exit code 2

    $ trace convert fixtures/logs/calls.jsonl --field tme=ts
    error: cannot convert that way
    cause: --field tme=ts: `tme` is unknown, did you mean time?
    exit code 2

    $ trace convert fixtures/logs/combined.log --strict --service web -O FOLDER/out.csv
    error: cannot convert fixtures/logs/combined.log
    cause: fixtures/logs/combined.log:4: expected a line of an access log: client, [time], "request", status, bytes, found `2024/05/06 09:00:04 [error] 7#7: *12 ups…`
    exit code 2

    $ trace convert fixtures/logs/common.log --from prometeus
    error: cannot convert that way
    cause: there is no format `prometeus`; did you mean prometheus?
    exit code 2

    $ trace convert fixtures/logs/common.log --where /v1
    error: --where is /v1, expected a field and how it begins
     hint: as path=/v1/
    exit code 2

    $ trace convert fixtures/logs/prometheus-rates.json --to requests
    error: cannot convert fixtures/logs/prometheus-rates.json
    cause: prometheus has no requests, only rates; a replay draws requests from them, so convert --to rates
    exit code 2

    $ trace convert fixtures/logs/prometheus-rates.json fixtures/logs/common.log
    error: cannot convert fixtures/logs/prometheus-rates.json, fixtures/logs/common.log
    cause: fixtures/logs/prometheus-rates.json: prometheus has rates rather than requests, unlike other files; convert them each for itself
    exit code 2

    $ trace convert FOLDER/late.log -O FOLDER/out.csv
    error: cannot convert FOLDER/late.log
    cause: FOLDER/late.log:4: arrived 3480 s before a request further up; expected no more than the window of 5m that lines are sorted in
     hint: try --window 59m, or sort the file; if it is several logs in one, give each for itself
    exit code 2
    "#);
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
    assert_snapshot!(said(folder.path(), line), @r#"
    {
      "apiVersion": "tidegate.dev/v1alpha1",
      "kind": "TraceConversion",
      "files": [
        "fixtures/logs/calls.jsonl"
      ],
      "formats": [
        "jsonl"
      ],
      "lines": 5,
      "rows": 4,
      "services": 2,
      "startsAt": "2024-05-06T09:00:00Z",
      "lengthS": 4.9,
      "notes": [
        {
          "kind": "badTime",
          "count": 1,
          "first": "fixtures/logs/calls.jsonl:4"
        }
      ],
      "samples": null
    }
    "#);
}

#[test]
fn a_week_of_rates_is_summed_up_without_drawing_it() {
    assert_snapshot!(said(folder().path(), "trace stat fixtures/traces/servegen-rates-7d.csv.gz"), @r"
    window         7d
    requests       1,739,542,942, 3 services expected, as tables of rates say
    rate           2,876 requests/s mean, 4,881 in the busiest second, 4,881 over the busiest minute
    dispersion     169.80 of seconds, 10129.23 of minutes (1 is Poisson)
    prompt tokens  1,024 median, 4,123 p99
    output tokens  115 median, 601 p99

    requests/s, the highest mean over 17m 4s in each column
    4,685 ┤           ▁                    ▁▂                 ▁▁     ▁    ▁▅▅▁    ▂▄▃█▂▂▆▄▂     ▂▃    ▂
          ┤     ▃▃▃▄▂▂█▅▁    ▂     ▄▂  ▁ ▁▄██▁▃▃▄▆▅    ▁▁▃▇▅▇███▅▁   █▇ ▁█████▆▆▅▇█████████▇▇▅▆███▇  ██▅
          ┤▄▄▅▄▃█████████▆▆▄▁█▇▅▄▆▇██▆▄█▆██████████▅▆▆▅███████████▂▁▄███████████████████████████████▆███
          ┤█████████████████████████████████████████████████████████████████████████████████████████████
        0 ┤█████████████████████████████████████████████████████████████████████████████████████████████
           0                                                                                          7d

    service            requests  over time                                                       busiest
    m-mid            969,886,340  ▄▅▄▄▆▅▄▄▅▄▅▄▅▅▄▄▄▄▄▅▄▅▅▅▅▅▄▅▅▄▅▆▂▆▇▇▆▃▃▆▄▇███████▅██▅▆███▇▆▄▄▆  2,615/s
    m-small          642,921,544  ▄▃▄▄▅▅▆▇█▆▃▃▅▅▅▆█▇▄▄▆█▆▅▆█▆▄▄▅▆▇▇▆▇▇▄▄▅▆▅▆▆█▆▄▅▆▇▆▇▇▇▅▄▄▆▆▅▆▆█  1,679/s
    m-large          126,735,058  ▆▅▅▆████▇▇█▄▃▅▅▅▅▅▅▅▅▅▅▅▅▅▆▄▄▄▄▄▅▅▅▅▆▅▆▆▅▅▅▆▄▄▄▄▅▅▅▇▆▄▄▃▅▇▇▆▇▇    346/s
    each to its own scale; busiest is its highest mean over 2h 17m
    ");
}
