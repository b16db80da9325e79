//! Policies in other languages against their twin in Rust: the same programs, decisions and explanations, over random batches and
//! in a replay. A language whose tools are not installed is passed over, and a line on standard error says so; `make languages`
//! installs what it may and fails where something is missing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use insta::assert_snapshot;
use proptest::prelude::*;
use tidegate::policy::wire::{Batch, Births, Causes, Inheritance, States};
use tidegate::policy::{BindError, ComponentScaling, Limits, Package, Sandbox, ScalingPolicy};

/// A language, and what its policies need more than the default.
struct Language {
    name: &'static str,
    ending: &'static str,
    limits: fn() -> Limits,
    /// The same in a policies file.
    limits_text: &'static str,
}

const C: Language =
    Language { name: "c", ending: "c", limits: Limits::default, limits_text: "limits: {}" };
/// As `docs/languages.md` says.
const JAVASCRIPT: Language = Language {
    name: "js",
    ending: "js",
    limits: || Limits {
        memories: 3,
        fuel: 20_000_000,
        fuel_per_target: 200_000,
        ..Limits::default()
    },
    limits_text: "limits: {memories: 3, fuel: 20000000, fuelPerTarget: 200000}",
};
const LANGUAGES: [&Language; 2] = [&C, &JAVASCRIPT];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository")
}

/// Builds a policy as its author would, or says why it cannot be built here.
fn built(language: &Language, source: &str) -> Option<&'static Path> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages");
        std::fs::create_dir_all(&folder).expect("a folder of the build");
        folder
    });
    let name = Path::new(source).file_stem().expect("a file").to_string_lossy().into_owned();
    // Tests run side by side, and each builds for itself.
    let thread = format!("{:?}", std::thread::current().id());
    let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
    let out = folder.join(format!("{name}-{}-{thread}.wasm", language.name));
    let done = Command::new(format!("policies/sdk-{}/build", language.name))
        .current_dir(root())
        .env("TIDEGATE", env!("CARGO_BIN_EXE_tidegate"))
        .arg(format!("{source}.{}", language.ending))
        .arg(&out)
        .output()
        .expect("a shell script runs");
    let said = String::from_utf8_lossy(&done.stderr);
    match done.status.code() {
        Some(0) => Some(Box::leak(out.into_boxed_path())),
        Some(4) => {
            // Not `eprintln!`, which a test that passes swallows.
            let line = format!("\nPASSED OVER, not tested: {source}.{}: {said}", language.ending);
            std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
            None
        }
        _ => panic!("{source} does not build: {}{said}", String::from_utf8_lossy(&done.stdout)),
    }
}

fn load(file: &Path, limits: Limits) -> Package {
    let component = std::fs::read(file).expect("the build left it");
    let sandbox = Sandbox::new(limits).expect("a sandbox").in_process();
    sandbox.load(&component).expect("it loads")
}

fn scaling(package: &Package) -> ComponentScaling {
    package.scaling().expect("it scales")
}

const OFFICE_HOURS: [&str; 2] = [
    "policies/examples/office-hours-c/office_hours",
    "policies/examples/office-hours-js/office_hours",
];

/// The twin in Rust.
fn rust() -> PathBuf {
    Path::new(env!("TIDEGATE_GUESTS")).join("office-hours.wasm")
}

/// The policies of `sources` that can be built here, by language.
fn packages(sources: [&str; 2]) -> Vec<(&'static str, Package)> {
    let built = |(language, source): (&&'static Language, &str)| {
        let file = built(language, source)?;
        Some((language.name, load(file, (language.limits)())))
    };
    LANGUAGES.iter().zip(sources).filter_map(built).collect()
}

/// Settings documents as services have them.
fn documents() -> [String; 4] {
    [
        r#"{"minimum": 2}"#,
        r#"{"minimum": 7, "hours": {"from": 9, "to": 17, "utcOffset": 5.5}}"#,
        r#"{"minimum": 0, "hours": {"from": 0, "to": 24, "days": ["sunday", "wednesday"]}}"#,
        r#"{"minimum": 4294967295, "hours": {"to": 9, "days": ["friday"], "utcOffset": -11.75}}"#,
    ]
    .map(|settings| format!(r#"{{"settings": {settings}, "profile": {{"a": "\u00e9\n"}}}}"#))
}

/// What a stage before gives: mostly whole replicas, and what else there may be.
fn proposal() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0_u32..12).prop_map(f64::from),
        2 => Just(f64::NAN),
        1 => -1e15..1e15,
        1 => prop::sample::select(vec![0.0, -0.0, 2.999, 4_294_967_295.0, 4_294_967_296.0, 1e18, f64::INFINITY]),
    ]
}

/// Settings, proposal and causes of each target.
fn rows() -> impl Strategy<Value = Vec<(usize, f64, u8)>> {
    prop::collection::vec((0..4_usize, proposal(), 1_u8..32), 1..60)
}

fn batch(at_ms: u64, rows: &[(usize, f64, u8)], params: Vec<Vec<u8>>) -> Batch {
    Batch {
        at_ms,
        causes_of: rows.iter().map(|(_, _, bits)| causes(*bits)).collect(),
        params,
        params_of: rows.iter().map(|(of, _, _)| *of as u32).collect(),
        groups: (0..rows.len() as u32).collect(),
        states: States { bytes: Vec::new(), ends: vec![0; rows.len()] },
        inputs: rows.iter().map(|(_, proposal, _)| *proposal).collect(),
        words: Vec::new(),
    }
}

fn causes(bits: u8) -> Causes {
    let all = [Causes::CREATED, Causes::TICK, Causes::POKE, Causes::CHANGE, Causes::TIMER];
    let is_set = |(at, _): &(usize, Causes)| bits & (1 << at) != 0;
    let set = all.into_iter().enumerate().filter(is_set);
    set.fold(Causes::empty(), |causes, (_, cause)| causes | cause)
}

/// Everything that a policy says to some documents and a batch, but for its params, which are its own affair.
fn said(policy: &mut ComponentScaling, at_ms: u64, rows: &[(usize, f64, u8)]) -> String {
    let mut said = policy.state_schema().expect("it has one");
    let mut params = Vec::new();
    for document in documents() {
        let mut program = policy.bind(&document).expect("it binds");
        params.push(std::mem::take(&mut program.params));
        let _ = write!(said, "\n{program:?}");
    }
    let mut batch = batch(at_ms, rows, params);
    let born = Births {
        at_ms,
        params: batch.params.clone(),
        params_of: batch.params_of.clone(),
        ready: batch.inputs.clone(),
    };
    batch.states = policy.init(&born).expect("they are born");
    let answer = policy.decide(&batch, 0);
    let told = policy.explain(&batch).expect("it explains");
    let _ = write!(said, "\n{:?}\n{:?}\n{told:?}", answer.decisions, answer.failed);
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_language_says_what_its_twin_in_rust_says(
        // Twenty years around 2024, to the millisecond, and moments at the edge of what there is.
        at_ms in prop_oneof![8 => 1_388_534_400_000_u64..2_019_686_400_000, 1 => 0_u64..100_000_000, 1 => (1_u64 << 52)..(1 << 53) - (1 << 40)],
        rows in rows(),
    ) {
        static TWIN: OnceLock<Package> = OnceLock::new();
        static OTHERS: OnceLock<Vec<(&str, Package)>> = OnceLock::new();
        let mut twin = scaling(TWIN.get_or_init(|| load(&rust(), Limits::default())));
        let expected = said(&mut twin, at_ms, &rows);
        for (name, package) in OTHERS.get_or_init(|| packages(OFFICE_HOURS)) {
            prop_assert_eq!(&said(&mut scaling(package), at_ms, &rows), &expected, "{}", name);
        }
    }
}

#[test]
fn every_language_refuses_the_settings_that_its_twin_refuses() {
    let twin = load(&rust(), Limits::default());
    let others = packages(OFFICE_HOURS);
    for settings in [
        r#"{"minimum": 2}"#,
        r#"{"minimum": 2, "hours": {}}"#,
        r#"{}"#,
        r#"{"minimum": null}"#,
        r#"{"minimum": -1}"#,
        r#"{"minimum": 1.5}"#,
        r#"{"minimum": "2"}"#,
        r#"{"minimum": 4294967296}"#,
        r#"{"minimum": 2, "hour": {}}"#,
        r#"{"minimum": 2, "hours": null}"#,
        r#"{"minimum": 2, "hours": {"form": 8}}"#,
        r#"{"minimum": 2, "hours": {"from": 18, "to": 8}}"#,
        r#"{"minimum": 2, "hours": {"to": 25}}"#,
        r#"{"minimum": 2, "hours": {"days": []}}"#,
        r#"{"minimum": 2, "hours": {"days": ["monday", "mon"]}}"#,
        r#"{"minimum": 2, "hours": {"days": [1]}}"#,
        r#"{"minimum": 2, "hours": {"days": "monday"}}"#,
        r#"{"minimum": 2, "hours": {"utcOffset": 14.25}}"#,
        r#"{"minimum": 2, "hours": {"utcOffset": -1.4e1}}"#,
        r#"{"minimum": 2, "hours": {"utcOffset": "1"}}"#,
        r#"[]"#,
    ] {
        let paths = |package: &Package| -> Vec<String> {
            match scaling(package).bind(&format!(r#"{{"settings": {settings}}}"#)) {
                Ok(_) => Vec::new(),
                Err(BindError::Faults(faults)) => {
                    faults.into_iter().map(|fault| fault.path).collect()
                }
                Err(BindError::Call(error)) => panic!("{settings}: {error}"),
            }
        };
        let expected = paths(&twin);
        for (name, package) in &others {
            let found = paths(package);
            assert_eq!(found.is_empty(), expected.is_empty(), "{name}: {settings}: {found:?}");
            assert!(
                expected.first().is_none_or(|first| found.iter().any(|path| path == first)),
                "{name}: {settings}: {found:?} without {expected:?}"
            );
        }
    }
}

/// Counters in each language over three decisions, each in fresh instances that get what the last one left.
fn count(policy: &mut ComponentScaling) -> String {
    let mut text = String::new();
    let bind = |policy: &mut ComponentScaling, settings: &str| {
        policy.bind(&format!(r#"{{"settings": {settings}}}"#)).expect("it binds")
    };
    let one = bind(policy, r#"{"step": 1, "warn": true}"#);
    let ten = bind(policy, r#"{"step": 10, "factor": 0.1}"#);
    let _ = writeln!(
        text,
        "causes {:?}\noutputs {:?}\nwarnings {:?}",
        one.causes, one.outputs, one.warnings
    );
    for input in &one.inputs {
        let _ = writeln!(text, "input {:?}, required: {}", input.source, input.required);
    }
    let params = vec![one.params, ten.params];
    let params_of = vec![0, 1, 0];
    let ready = vec![f64::NAN, 2.0, 3.0];
    let born = Births {
        at_ms: 5,
        params: params.clone(),
        params_of: params_of.clone(),
        ready: ready.clone(),
    };
    let mut states = policy.init(&born).expect("they are born");
    // JavaScript has no number as large as the one that means it.
    let until = |at_ms: &u64| match at_ms {
        0x7fff_ffff_ffff_fc00..=u64::MAX => "for ever".to_owned(),
        at_ms => at_ms.to_string(),
    };
    for turn in 1..=3 {
        let batch = Batch {
            at_ms: turn * 1_000,
            causes_of: vec![Causes::TICK, Causes::CREATED | Causes::TICK, Causes::POKE],
            params: params.clone(),
            params_of: params_of.clone(),
            groups: vec![4, 4, 9],
            states: States { bytes: states.bytes.clone(), ends: states.ends.clone() },
            inputs: [ready.clone(), vec![7.5, f64::NAN, 1.0], vec![1.0, 0.0, 1.0]].concat(),
            words: vec!["prefill".to_owned(), "dé\u{1f30a}code".to_owned()],
        };
        let told = policy.explain(&batch).expect("it explains");
        let answer = policy.decide(&batch, 2);
        assert_eq!(answer.failed, []);
        let decided = answer.decisions;
        let _ = writeln!(
            text,
            "{turn} s: {:?} {:?} {} {:?}",
            decided.wanted,
            decided.apply,
            decided.next_at_ms.iter().map(until).collect::<Vec<_>>().join(", "),
            decided.outputs
        );
        if turn == 3 {
            told.iter().for_each(|one| text += &format!("{one:?}\n"));
        }
        states = decided.states;
    }
    let moved = |policy: &mut ComponentScaling, schema: &str, old: &States| {
        let born = Births {
            at_ms: 5,
            params: params.clone(),
            params_of: params_of.clone(),
            ready: ready.clone(),
        };
        let old = States { bytes: old.bytes.clone(), ends: old.ends.clone() };
        policy.migrate(&Inheritance { born, schema: schema.to_owned(), old })
    };
    assert_eq!(moved(policy, "counter/1", &states), Ok(states));
    let other = moved(policy, "other/7", &States { bytes: vec![], ends: vec![0; 3] });
    let _ = writeln!(text, "{}", other.expect_err("it cannot read that"));
    text
}

#[test]
fn what_an_author_can_do_in_one_language_comes_to_the_same_in_every() {
    let packages = packages(["fixtures/languages/counter"; 2]);
    insta::allow_duplicates! {
        for (name, package) in &packages {
            let counted = count(&mut scaling(package));
            insta::with_settings!({ description => format!("counter in {name}") }, {
                assert_snapshot!(counted, @r#"
                causes (CREATED|TICK|POKE)
                outputs ["count", "twice"]
                warnings [Fault { path: "settings.warn", message: "found true, and here it is" }]
                input Source::Fact("ready-replicas"), required: false
                input Source::Window(Window { signal: "concurrency", span-s: 60, averaging: "linear" }), required: true
                input Source::Fact("role"), required: true
                1 s: [0, 22, 5] [false, true, true] for ever, 2000, 2000 [2.0, 20.0, 2.0, 4.0, 40.0, NaN]
                2 s: [0, 32, 6] [false, true, true] for ever, 3000, 3000 [3.0, 30.0, 3.0, 6.0, 60.0, NaN]
                3 s: [0, 42, 7] [false, true, true] for ever, 4000, 4000 [4.0, 40.0, 4.0, 8.0, 80.0, NaN]
                Explanation { reason: "dé🌊code: 4 decisions of group 4", figures: [Figure { name: "first ready, replicas", value: NaN }, Figure { name: "now, requests", value: 7.5 }] }
                Explanation { reason: "prefill: 40 decisions of group 4", figures: [Figure { name: "first ready, replicas", value: 2.0 }, Figure { name: "now, requests", value: NaN }] }
                Explanation { reason: "dé🌊code: 4 decisions of group 9", figures: [Figure { name: "first ready, replicas", value: 3.0 }, Figure { name: "now, requests", value: 1.0 }] }
                state of layout other/7 cannot be turned into layout counter/1
                "#);
            });
        }
    }
}

#[test]
fn a_target_whose_state_is_not_the_policys_is_named_and_the_others_are_decided() {
    for (name, package) in packages(["fixtures/languages/counter"; 2]) {
        let mut policy = scaling(&package);
        let program = policy.bind(r#"{"settings": {"step": 1}}"#).expect("it binds");
        let (params, params_of) = (vec![program.params], vec![0; 3]);
        let ready = vec![1.0; 3];
        let born = Births { at_ms: 5, params: params.clone(), params_of: params_of.clone(), ready };
        let born = policy.init(&born).expect("they are born");
        // The second one's state ends in the middle of what it should be.
        let end = born.ends[0] as usize;
        let (first, second) = (&born.bytes[..end], &born.bytes[..end / 2]);
        let states = States {
            bytes: [first, second, first].concat(),
            ends: vec![end as u32, (end + end / 2) as u32, (2 * end + end / 2) as u32],
        };
        let batch = Batch {
            at_ms: 1,
            causes_of: vec![Causes::TICK; 3],
            params,
            params_of,
            groups: vec![0, 1, 2],
            states,
            inputs: vec![1.0; 9],
            words: vec!["a".to_owned(), "b".to_owned()],
        };
        let answer = policy.decide(&batch, 2);
        let failed: Vec<u32> = answer.failed.iter().map(|(at, _)| *at).collect();
        assert_eq!(failed, [1], "{name}: {:?}", answer.failed);
        assert_eq!((answer.decisions.wanted[0], answer.decisions.wanted[2]), (3, 3), "{name}");
    }
}

/// A replay's document without the digest of the policy.
fn replayed(folder: &Path, policy: &Path, limits: &str) -> serde_json::Value {
    std::fs::create_dir_all(folder).expect("a folder of its own");
    std::fs::copy(policy, folder.join("office_hours.wasm")).expect("it is copied");
    let chain = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n- policy: builtin:knative\n- policy: office_hours.wasm\n  settings: {{minimum: 2, hours: {{utcOffset: 1}}}}\n- policy: builtin:scale-to-zero\n{limits}\n"
    );
    let chain_file = folder.join("policies.yaml");
    std::fs::write(&chain_file, chain).expect("it is written");
    let done = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(root())
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .args(["replay", "fixtures/traces/longtail-demo.csv.gz", "-o", "json"])
        .args(["--start", "2024-01-01T16:30Z", "--policies"])
        .arg(chain_file)
        .output()
        .expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut document: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    for policy in document["setup"]["policies"].as_array_mut().expect("a list of policies") {
        if policy["stage"] == "office_hours" || policy["stage"] == "office-hours" {
            policy["digest"] = "of the language".into();
        }
    }
    document
}

#[test]
fn a_replay_comes_to_the_same_in_every_language() {
    let folder = tempfile::tempdir().expect("a folder of its own");
    let expected = replayed(&folder.path().join("rust"), &rust(), "");
    assert!(
        expected.to_string().contains("office hours until 18:00: at least 2"),
        "the policy made a difference"
    );
    for (language, source) in LANGUAGES.iter().zip(OFFICE_HOURS) {
        let Some(file) = built(language, source) else { continue };
        let found = replayed(&folder.path().join(language.name), file, language.limits_text);
        assert_eq!(found, expected, "{}", language.name);
    }
}

#[test]
#[ignore = "it measures: cargo test --release --locked --workspace --test languages -- --ignored --nocapture"]
fn what_a_decision_costs() {
    let mut files = vec![("rust", rust(), Limits::default())];
    for (language, source) in LANGUAGES.iter().zip(OFFICE_HOURS) {
        let Some(file) = built(language, source) else { continue };
        files.push((language.name, file.to_owned(), (language.limits)()));
    }
    println!(
        "language    size, kB  load, ms   bind, µs | batch     ns a decision  fuel a decision"
    );
    for (name, file, limits) in files {
        let begun = now();
        let package = load(&file, limits);
        let loaded = begun.elapsed();
        let mut policy = scaling(&package);
        let document = &documents()[0];
        let bind_ns = median(|| drop(policy.bind(document)));
        let params = policy.bind(document).expect("it binds").params;
        let size = std::fs::metadata(&file).expect("it is there").len();
        for targets in [1_usize, 100, 1_000, 10_000] {
            let rows = vec![(0, 1.0, 1); targets];
            let batch = batch(1_704_104_000_000, &rows, vec![params.clone()]);
            let mut fuel = 0;
            let ns = median(|| {
                let answer = policy.decide(&batch, 0);
                assert!(answer.failed.is_empty(), "{:?}", answer.failed.first());
                fuel = answer.fuel;
            });
            println!(
                "{name:<10}  {:>9.1} {:>9.1} {:>10.1} | {targets:>6} {:>16.0} {:>16.1}",
                size as f64 / 1e3,
                loaded.as_secs_f64() * 1e3,
                bind_ns / 1e3,
                ns / targets as f64,
                fuel as f64 / targets as f64,
            );
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds that `work` takes: the median of some rounds, after one that does not count.
fn median(mut work: impl FnMut()) -> f64 {
    work();
    let mut times: Vec<u128> = (0..101)
        .map(|_| {
            let begun = now();
            work();
            begun.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    times[50] as f64
}
