//! `tidegate compare` as users type it: tables, where two runs part, gates and exit codes.

#[path = "support/command.rs"]
mod command;

use std::path::{Path, PathBuf};
use std::process::Output;

use insta::assert_snapshot;

use command::text;

const LOAD: [&str; 7] = [
    "--trace",
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

fn compare(a: &str, b: &str, more: &[&str]) -> Output {
    tidegate(&[&["compare", a, b], &LOAD[..], more].concat())
}

/// What is printed, without the digests of components, which are the compiler's doing, and the exit code.
fn told(done: &Output) -> String {
    let is_digest = |word: &str| word.len() == 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut shown = text(&done.stdout);
    let digests: Vec<String> = shown
        .split([' ', ',', ';', '.', '\n'])
        .filter(|word| is_digest(word) && word.bytes().any(|b| b.is_ascii_alphabetic()))
        .map(str::to_owned)
        .collect();
    digests.iter().for_each(|word| shown = shown.replace(word.as_str(), "DIGEST"));
    format!("{shown}exit code {}", done.status.code().expect("no signal ended it"))
}

/// How it fails: what it says, and its exit code.
fn fails(done: &Output) -> String {
    assert_eq!(text(&done.stdout), "", "results are for those that there are");
    let code = done.status.code().expect("no signal ended it");
    format!("{}exit code {code}", text(&done.stderr))
}

fn guest(name: &str) -> PathBuf {
    Path::new(env!("TIDEGATE_GUESTS")).join(name)
}

fn file(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("it is written");
    path.display().to_string()
}

#[test]
fn two_profiles_are_told_with_their_numbers_and_where_they_part() {
    let gates = ["--gate", "gpu_minutes<=+60%", "--gate", "code.wait_p99 <= +0.5s"];
    assert_snapshot!(told(&compare("gpu", "knative", &gates)), @r"
    A  gpu
       profile gpu; knative DIGEST, scale-to-zero DIGEST, placement DIGEST
    B  knative
       profile knative; knative DIGEST, scale-to-zero DIGEST, placement DIGEST

                            A       B    B - A
    arrived             1,640   1,640     same
    served              1,639   1,638       -1    -0.1 %
    waited                570   1,194     +624  +109.5 %
    expired                 0       0     same
    failed                  0       0     same
    unfinished              1       2       +1  +100.0 %
    wait p50              0 s  4.12 s  +4.12 s
    wait p95           7.98 s  34.3 s  +26.3 s  +329.9 %
    wait p99           16.0 s  37.7 s  +21.7 s  +135.5 %
    wait max           36.1 s  38.6 s  +2.46 s    +6.8 %
    cold starts            14      53      +39  +278.6 %
    replica-minutes       108     164      +56   +51.9 %
    GPU-minutes           108     164      +56   +51.9 %
    cost                $2.69   $4.05   +$1.37   +50.9 %
    most replicas          14      33      +19  +135.7 %
    panics                  2       5       +3  +150.0 %
    code
      served            1,482   1,481       -1    -0.1 %
      waited              558   1,182     +624  +111.8 %
      unfinished            0       1       +1
      wait p50            0 s  7.37 s  +7.37 s
      wait p95         7.93 s  34.4 s  +26.5 s  +333.9 %
      wait p99         10.0 s  37.8 s  +27.7 s  +275.8 %
      wait max         36.1 s  38.6 s  +2.46 s    +6.8 %
      cold starts          12      51      +39  +325.0 %
      replica-minutes      93     152      +59   +63.4 %
      GPU-minutes          93     152      +59   +63.4 %
      cost              $2.31   $3.75   +$1.44   +62.3 %
      most replicas        12      32      +20  +166.7 %
      panics                1       4       +3  +300.0 %
    longtail
      replica-minutes      15      12       -3   -20.0 %
      GPU-minutes          15      12       -3   -20.0 %
      cost              $0.37   $0.30   -$0.07   -20.0 %

    they part at 0:00:08, over code: knative wants otherwise
      A  stays at 2 (knative: panic: 9.7 in flight over 23 s wants 2, 0 ready)
      B  2 → 3: panic: 12.0 in flight over 6 s wants 3, 0 ready
         replica 2 starts on a40-0: best of 6

                                                                  A       B
      knative reads concurrency over 60 s                         –   9.735
      knative reads concurrency over 6 s                          –      12
      knative reads concurrency over 180 s                    9.735       –
      knative reads concurrency over 23 s                     9.735       –
      knative: panic average, requests                        9.735      12
      knative: target of a replica, requests                    6.8     5.6
      knative: most replicas at once                             20   1,000
      knative: wanted by the panic average, before rates          2       3
      knative: wanted by the panic average, replicas              2       3
      knative: panic average over ready, of the threshold         1     1.5
      knative: wanted before the scale-down delay, replicas       2       3
      knative: wanted, replicas                                   2       3
      knative: excess burst capacity, requests                 -221    -223
      knative wants                                               2       3
      scale-to-zero reads proposal of knative                     2       3
      scale-to-zero: proposed, replicas                           2       3
      scale-to-zero wants                                         2       3
      within bounds                                               2       3
      26 further numbers behind it: the same on both sides

    gates
      passed  gpu_minutes<=+60%       108 → 164, at most 172.8
      FAILED  code.wait_p99 <= +0.5s  10.0 s → 37.8 s, at most 10.5 s
    1 of 2 gates failed
    exit code 1
    ");
}

#[test]
fn equal_sides_never_part_and_pass_every_gate_that_asks_for_no_more() {
    let gates = ["--gate", "cost<=+0%", "--gate", "wait_max==+0s", "--gate", "expired==0"];
    assert_snapshot!(told(&compare("gpu", "gpu", &gates)), @r"
    A  gpu
       profile gpu; knative DIGEST, scale-to-zero DIGEST, placement DIGEST
    B  gpu
       profile gpu; knative DIGEST, scale-to-zero DIGEST, placement DIGEST

                            A       B   B - A
    arrived             1,640   1,640    same
    served              1,639   1,639    same
    waited                570     570    same
    expired                 0       0    same
    failed                  0       0    same
    unfinished              1       1    same
    wait p50              0 s     0 s    same
    wait p95           7.98 s  7.98 s    same
    wait p99           16.0 s  16.0 s    same
    wait max           36.1 s  36.1 s    same
    cold starts            14      14    same
    replica-minutes       108     108    same
    GPU-minutes           108     108    same
    cost                $2.69   $2.69    same
    most replicas          14      14    same
    panics                  2       2    same

    they never part: both planned the same for every service at every step

    gates
      passed  cost<=+0%      $2.69 → $2.69, at most $2.69
      passed  wait_max==+0s  36.1 s → 36.1 s, exactly 36.1 s
      passed  expired==0     0 → 0, exactly 0
    3 gates passed
    exit code 0
    ");
}

#[test]
fn a_job_summary_is_markdown() {
    let more = ["-o", "github", "--gate", "cost<=+5%"];
    assert_snapshot!(told(&compare("gpu", "fixtures/profiles/patient.yaml", &more)), @r"
    ### fixtures/profiles/patient.yaml against gpu

    - ✅ `cost<=+5%`: $2.69 → $2.19, at most $2.82

    | all services | A | B | B - A | |
    | --- | ---: | ---: | ---: | ---: |
    | arrived | 1,640 | 1,640 | same |  |
    | served | 1,639 | 1,639 | same |  |
    | waited | 570 | 577 | +7 | +1.2 % |
    | expired | 0 | 0 | same |  |
    | failed | 0 | 0 | same |  |
    | unfinished | 1 | 1 | same |  |
    | wait p50 | 0 s | 0 s | same |  |
    | wait p95 | 7.98 s | 10.3 s | +2.35 s | +29.4 % |
    | wait p99 | 16.0 s | 16.0 s | same |  |
    | wait max | 36.1 s | 36.1 s | same |  |
    | cold starts | 14 | 11 | -3 | -21.4 % |
    | replica-minutes | 108 | 88 | -20 | -18.5 % |
    | GPU-minutes | 108 | 88 | -20 | -18.5 % |
    | cost | $2.69 | $2.19 | -$0.50 | -18.5 % |
    | most replicas | 14 | 11 | -3 | -21.4 % |
    | panics | 2 | 1 | -1 | -50.0 % |

    | code | A | B | B - A | |
    | --- | ---: | ---: | ---: | ---: |
    | waited | 558 | 565 | +7 | +1.3 % |
    | wait p95 | 7.93 s | 10.3 s | +2.36 s | +29.8 % |
    | wait p99 | 10.0 s | 14.5 s | +4.41 s | +43.9 % |
    | cold starts | 12 | 10 | -2 | -16.7 % |
    | replica-minutes | 93 | 78 | -15 | -16.1 % |
    | GPU-minutes | 93 | 78 | -15 | -16.1 % |
    | cost | $2.31 | $1.94 | -$0.37 | -16.1 % |
    | most replicas | 12 | 10 | -2 | -16.7 % |

    | longtail | A | B | B - A | |
    | --- | ---: | ---: | ---: | ---: |
    | cold starts | 2 | 1 | -1 | -50.0 % |
    | replica-minutes | 15 | 10 | -5 | -33.3 % |
    | GPU-minutes | 15 | 10 | -5 | -33.3 % |
    | cost | $0.37 | $0.25 | -$0.12 | -33.3 % |
    | most replicas | 2 | 1 | -1 | -50.0 % |
    | panics | 1 | 0 | -1 | -100.0 % |

    They part at 0:00:36, over longtail: knative wants otherwise.

    - A: 1 → 2: panic: 7.5 in flight over 23 s wants 2, 1 ready
    - B: stays at 1 (knative: 5.2 in flight over 300 s wants 1, 1 ready)

    A: profile gpu; knative DIGEST, scale-to-zero DIGEST, placement DIGEST. B: profile fixtures/profiles/patient.yaml; knative DIGEST, scale-to-zero DIGEST, placement DIGEST.
    exit code 0
    ");
}

#[test]
fn a_component_takes_the_place_of_a_stage() {
    let folder = tempfile::tempdir().expect("a folder");
    let policies = file(
        folder.path(),
        "policies.yaml",
        "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n- policy: builtin:knative\n- policy: builtin:scale-to-zero\n",
    );
    let component = guest("hostile.wasm").display().to_string();
    let both = format!("{policies},{component}");
    let done = compare(&policies, &both, &["-o", "json"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let document: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let digest = |side: &str, at: usize| document[side]["setup"]["policies"][at]["digest"].clone();
    assert_ne!(digest("a", 0), digest("b", 0), "the first stage is another policy");
    assert_eq!(digest("a", 1), digest("b", 1));
    assert_eq!(document["parting"]["over"], "knative", "under the name of the stage");
    assert_eq!(document["metrics"].as_array().map(Vec::len), Some(16));

    let elsewhere = compare(&policies, &both, &["--stage", "scale-to-zero", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&elsewhere.stdout).expect("JSON");
    let digest = |side: &str, at: usize| document[side]["setup"]["policies"][at]["digest"].clone();
    assert_eq!(digest("a", 0), digest("b", 0));
    assert_ne!(digest("a", 1), digest("b", 1));
    // A placement policy goes where nodes are chosen without being told to.
    let places = compare("gpu", "builtin:affinity", &["-o", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&places.stdout).expect("JSON");
    assert_eq!(document["parting"], serde_json::Value::Null);
}

#[test]
fn what_cannot_be_compared_is_said_before_anything_runs() {
    let gate = |gate| fails(&compare("gpu", "knative", &["--gate", gate]));
    assert_snapshot!(gate("gpu_minuts<=+5%"), @r"
    error: cannot use a gate
    cause: gate `gpu_minuts<=+5%`, column 1
    cause: there is no metric gpu_minuts, did you mean gpu_minutes?
     hint: the names are those of the summary in docs/replay.md, and the short ones of docs/compare.md
    exit code 2
    ");
    assert_snapshot!(gate("chat.wait_p99<=5%"), @r"
    error: cannot use a gate
    cause: gate `chat.wait_p99<=5%`, column 16: 5% is a part of A's number, expected a sign before it, as +5%
     hint: the names are those of the summary in docs/replay.md, and the short ones of docs/compare.md
    exit code 2
    ");
    assert_snapshot!(gate("cod.cost<=1"), @r"
    error: gate `cod.cost<=1`, column 1: there is no service cod
     hint: did you mean code?
    exit code 2
    ");
    assert_snapshot!(fails(&compare("gpu", "knatve", &[])), @r"
    error: cannot use the profile knatve
    cause: profile knatve is neither built in nor a file, expected knative
    exit code 2
    ");
    assert_snapshot!(fails(&compare("gpu,knative", "gpu", &[])), @r"
    error: gpu,knative names a profile twice
     hint: a profile, a policies file and components may stand beside each other, the first two once each
    exit code 2
    ");
    assert_snapshot!(fails(&compare("gpu", "builtin:knative", &["--stage", "first"])), @r"
    error: there is no stage first
     hint: there are knative, scale-to-zero and placement
    exit code 2
    ");
}

#[test]
fn the_page_has_both_runs_in_it_and_nothing_from_outside() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("compare.html").display().to_string();
    let done = compare("gpu", "knative", &["--report", &page, "--gate", "cost<=+5%"]);
    assert_eq!(done.status.code(), Some(1));
    let html = std::fs::read_to_string(&page).expect("it was written");
    for part in ["side-a", "side-b", "Where they part", "✕ failed", "cost&lt;=+5%", "they part at"]
    {
        assert!(html.contains(part), "{part}");
    }
    for outside in ["<script", "http://", "https://", "@import", "src="] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn equal_command_lines_print_equal_bytes() {
    let line = ["-o", "json"];
    let (one, other) = (compare("gpu", "knative", &line), compare("gpu", "knative", &line));
    assert_eq!(one.stdout, other.stdout);
}
