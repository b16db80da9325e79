//! The author's path on the program that the build left: a project is begun, built and inspected, offline and outside the repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use insta::assert_snapshot;

/// Cargo's target folder for all projects of these tests: what they depend on is compiled once, and kept from run to run.
fn target() -> PathBuf {
    let of_tests = Path::new(env!("CARGO_TARGET_TMPDIR"));
    of_tests.join("author")
}

/// Runs a program in `folder`, without network.
fn run(program: &str, folder: &Path, line: &[&str]) -> Output {
    Command::new(program)
        .current_dir(folder)
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_TARGET_DIR", target())
        .env("CARGO_TERM_COLOR", "never")
        .env("XDG_CACHE_HOME", folder.join("cache"))
        // What this test was built with is not what projects are built with.
        .env_remove("CARGO")
        .env_remove("RUSTFLAGS")
        // Where it is set, nothing is written.
        .env_remove("CI")
        .args(line)
        .output()
        .expect("it starts")
}

fn tidegate(folder: &Path, line: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_tidegate"), folder, line)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it writes text")
}

/// What a good run prints.
fn prints(folder: &Path, line: &[&str]) -> String {
    let done = tidegate(folder, line);
    assert!(done.status.success(), "{line:?}: {}", text(&done.stderr));
    text(&done.stdout)
}

/// How a run fails: what it says, and its exit code.
fn fails(folder: &Path, line: &[&str]) -> String {
    let done = tidegate(folder, line);
    let code = done.status.code().expect("no signal ended it");
    assert_eq!(text(&done.stdout), "", "results are for those that there are");
    format!("{}exit code {code}", text(&done.stderr))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_new_policy_passes_its_tests_and_builds_offline_into_the_same_bytes_twice() {
    let folder = folder();
    let here = folder.path();
    assert_snapshot!(prints(here, &["new", "surge", "--template", "stage"]), @r"
    surge began with the template stage: keeps spare replicas on top of what the stages before it want.

    next      cd surge
              cargo test        # its tests, natively
              tidegate build    # leaves surge.wasm
              tidegate test     # replays load.csv, held to expectations and a snapshot
    ");
    let surge = here.join("surge");

    let tested = run("cargo", &surge, &["test", "--locked", "--quiet"]);
    assert!(tested.status.success(), "{}", text(&tested.stderr));
    assert!(text(&tested.stdout).contains("3 passed"), "{}", text(&tested.stdout));

    let built = json(&prints(&surge, &["build", "-o", "json"]));
    assert_eq!(built["world"], "scaling-policy");
    assert_eq!(built["file"], "surge.wasm");
    let lock = std::fs::read(surge.join("Cargo.lock")).expect("it has one");
    assert_eq!(text(&lock), text(&locked(here, "surge")), "cargo takes the lock file as it is");

    // Another folder, and nothing of the first build left: the same component.
    let elsewhere = here.join("elsewhere");
    prints(here, &["new", "elsewhere/surge", "--template", "stage"]);
    let again = json(&prints(&elsewhere, &["build", "surge", "-o", "json"]));
    assert_eq!(again["digest"], built["digest"]);
    assert_eq!(again["file"], "surge/surge.wasm");

    assert_snapshot!(stable(&prints(&surge, &["inspect", "surge.wasm"])), @r"
    policy     surge.wasm
    world      scaling-policy
    interface  tidegate:policy/scaling@0.1.0
    imports    nothing
    takes      percent  a number
               atLeast  a whole number
               atMost   a whole number

    settings   {}
    scope      target
    causes     created, change
    state      surge/1
    outputs    none
    inputs     output  proposal
               output  in-panic        optional
               fact    ready-replicas
    ");
    let inspected = json(&prints(&surge, &["inspect", "surge.wasm", "-o", "json"]));
    assert_eq!(inspected["scaling"]["accepted"]["inputs"][0]["name"], "proposal");
    assert_eq!(inspected["imports"], serde_json::json!([]));

    std::fs::write(surge.join("settings.yaml"), "percent: -5\natleast: 1\n")
        .expect("it is written");
    let refused = fails(&surge, &["inspect", "surge.wasm", "--settings", "settings.yaml"]);
    assert_snapshot!(refused, @r"
    error: surge.wasm refuses its settings
    cause: settings.atleast: unknown field `atleast`, expected one of `percent`, `atLeast`, `atMost`
    exit code 2
    ");

    ten_minutes_of(&surge);

    // The rows of its snapshot are those of a replay.
    let replay =
        ["replay", "load.csv", "--policies", "policies.yaml", "--services", "services.yaml"];
    let replayed = prints(&surge, &replay);
    let snapshot =
        std::fs::read_to_string(surge.join("snapshots/a-burst.snap")).expect("it has one");
    let timeline = snapshot.split("\n---\n").nth(1).expect("text behind the head");
    let timeline = timeline.split("\n\n").next().expect("it is the first paragraph");
    assert!(replayed.starts_with(timeline.trim_end()), "{timeline}\n{replayed}");
}

/// What an author does next in the project at `surge`: the suite passes, a number changes, the suite shows what that costs, a gate
/// refuses it and lets the old one through, the snapshot is taken, and the number goes back.
fn ten_minutes_of(surge: &Path) {
    let passes = |line: &[&str]| prints(surge, line);
    let told = |line: &[&str]| {
        let done = tidegate(surge, line);
        assert_eq!(done.status.code(), Some(1), "{line:?}: {}", text(&done.stderr));
        text(&done.stdout)
    };
    passes(&["test", "--check"]);
    let before = std::fs::read_to_string(surge.join("policies.yaml")).expect("it has one");
    let after = before.replace("atLeast: 1", "atLeast: 4");
    assert_ne!(before, after, "the template has changed");
    std::fs::write(surge.join("next.yaml"), &after).expect("it is written");
    std::fs::write(surge.join("policies.yaml"), &after).expect("it is written");
    let diff = told(&["test"]);
    assert!(diff.contains("changed a burst") && diff.contains("it costs  GPU-minutes "), "{diff}");
    passes(&["accept"]);
    passes(&["test", "--check"]);
    std::fs::write(surge.join("policies.yaml"), &before).expect("it is written");
    let compare = ["compare", "policies.yaml", "next.yaml", "--trace", "load.csv", "--services"];
    let compare = [&compare[..], &["services.yaml", "--gate"]].concat();
    let refused = told(&[&compare[..], &["gpu_minutes<=+5%"]].concat());
    assert!(refused.contains("FAILED  gpu_minutes<=+5%"), "{refused}");
    passes(&[&compare[..], &["wait_p99<=+0.5s"]].concat());
    told(&["test"]);
    passes(&["test", "--accept"]);
    passes(&["test", "--check"]);
}

/// The lock file of a fresh project of that name.
fn locked(here: &Path, name: &str) -> Vec<u8> {
    let folder = here.join("fresh").join(name);
    prints(here, &["new", &folder.display().to_string(), "--template", "stage"]);
    std::fs::read(folder.join("Cargo.lock")).expect("it has one")
}

/// Without what depends on the compiler.
fn stable(text: &str) -> String {
    let is_stable = |line: &&str| {
        !["digest", "size", "functions", "memory", "made by"]
            .iter()
            .any(|key| line.starts_with(key))
    };
    text.lines().filter(is_stable).map(|line| format!("{line}\n")).collect()
}

/// The others need no test of their own: their sources are tested where they lie. That they build as projects is what is left.
#[test]
fn every_template_builds_and_replays_its_load() {
    let folder = folder();
    for template in ["scale", "placement", "forecast"] {
        prints(folder.path(), &["new", template, "--template", template]);
        let project = folder.path().join(template);
        prints(&project, &["build"]);
        let line =
            ["replay", "load.csv", "--policies", "policies.yaml", "--until", "26h", "-o", "json"];
        let replayed = json(&prints(&project, &line));
        assert!(replayed["summary"]["requests"]["served"].as_u64() > Some(100), "{template}");
    }
}

#[test]
fn what_a_beginner_gets_wrong_is_told_with_what_to_do() {
    let folder = folder();
    let here = folder.path();
    std::fs::create_dir(here.join("full")).expect("it is made");
    std::fs::write(here.join("full/notes.txt"), "mine").expect("it is written");
    for (line, told) in [
        (
            &["new", "full", "--template", "scale"][..],
            "full is there already and not an empty folder",
        ),
        (&["new", "full/notes.txt", "--template", "scale"], "is no name for a policy"),
        (&["new", "Surge", "--template", "scale"], "`Surge` is no name for a policy"),
        (&["new", "serde", "--template", "scale"], "a package that policies are built from has it"),
        (&["new", "surge", "--template", "scales"], "a similar value exists: 'scale'"),
        (&["new", "surge"], "--template <TEMPLATE>"),
        (&["build", "full"], "full has neither Cargo.toml nor a C file"),
        (&["inspect", "full/notes.txt"], "this is not Wasm: the file begins with `mine`"),
        (&["inspect", "builtin:knativ"], "no policy knativ is built in"),
        (&["docs"], "<PAGE>"),
    ] {
        let said = fails(here, line);
        assert!(said.contains(told), "{line:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(here.join("full")).expect("still there").count(), 1);
}

#[test]
fn a_policy_in_c_is_built_from_its_one_file() {
    let folder = folder();
    let here = folder.path();
    let source = include_str!("../policies/examples/office-hours-c/office_hours.c");
    let source = source.replace("../../sdk-c/tidegate.h", "tidegate.h");
    std::fs::write(here.join("office_hours.c"), &source).expect("it is written");
    let without = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(here)
        .env("CLANG", "no-such-clang")
        .arg("build")
        .output()
        .expect("it starts");
    assert_eq!(without.status.code(), Some(4));
    assert_snapshot!(text(&without.stderr), @r"
    error: cannot build the policy in this folder
    cause: cannot run no-such-clang
    cause: No such file or directory (os error 2)
     hint: install clang and lld: `apt install clang lld`, or `brew install llvm lld`
    ");
    if Command::new("wasm-ld").arg("--version").output().is_err() {
        return;
    }
    let built = json(&prints(here, &["build", "-o", "json"]));
    assert_eq!(
        (&built["file"], &built["world"]),
        (&"office_hours.wasm".into(), &"scaling-policy".into())
    );
    let inspected = prints(here, &["inspect", "office_hours.wasm"]);
    assert!(inspected.contains("takes      minimum"), "{inspected}");

    std::fs::write(here.join("other.c"), "").expect("it is written");
    assert!(fails(here, &["build"]).contains("there are 2 C files: office_hours.c, other.c"));
    std::fs::remove_file(here.join("other.c")).expect("it was there");
    std::fs::write(here.join("office_hours.c"), source + "int").expect("it is written");
    let wrong = fails(here, &["build"]);
    assert!(
        wrong.contains("error: expected") && wrong.contains("clang could not build it"),
        "{wrong}"
    );
    assert!(wrong.ends_with("exit code 2"), "{wrong}");
}

#[test]
fn a_missing_tool_is_named_with_where_to_get_it() {
    let folder = folder();
    prints(folder.path(), &["new", "surge", "--template", "scale"]);
    let without = |name: &str, value: &str| {
        let done = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(folder.path().join("surge"))
            .env(name, value)
            .arg("build")
            .output()
            .expect("it starts");
        format!("{}exit code {}", text(&done.stderr), done.status.code().expect("no signal"))
    };
    assert_snapshot!(without("CARGO", "no-such-cargo"), @r"
    error: cannot build the policy in this folder
    cause: cannot run no-such-cargo
    cause: No such file or directory (os error 2)
     hint: install Rust from https://rustup.rs, and see that its programs are on the PATH
    exit code 4
    ");
    assert_snapshot!(without("RUSTC", "no-such-rustc"), @r"
    error: cannot build the policy in this folder
    cause: cannot run no-such-rustc
    cause: No such file or directory (os error 2)
     hint: install Rust from https://rustup.rs, and see that its programs are on the PATH
    exit code 4
    ");
}

#[test]
fn what_does_not_compile_is_told_in_the_compilers_words() {
    let folder = folder();
    prints(folder.path(), &["new", "broken", "--template", "stage"]);
    let broken = folder.path().join("broken");
    std::fs::write(broken.join("src/lib.rs"), "fn decide() -> u32 { \"two\" }\n").expect("written");
    let said = fails(&broken, &["build"]);
    assert!(said.contains("error[E0308]: mismatched types") && said.contains("src/lib.rs:1:"));
    assert!(said.contains("cause: cargo could not build it: see above"), "{said}");
    assert!(said.ends_with("exit code 2"), "{said}");
}

/// One policy that goes wrong as its setting `atMost` says.
#[test]
fn a_policy_that_goes_wrong_is_told_of_with_function_place_and_reason() {
    let folder = folder();
    prints(folder.path(), &["new", "wrong", "--template", "stage"]);
    let wrong = folder.path().join("wrong");
    let source = std::fs::read_to_string(wrong.join("src/lib.rs")).expect("it is there");
    let line = "        let part = ";
    assert_eq!(source.matches(line).count(), 1, "the template has changed");
    let slips = "        match at_most { // this line is told
            101 => assert!(proposed > 90, \"found {proposed} replicas\"),
            102 => assert_eq!([1, 2][at_most as usize + proposed as usize], 3),
            103 => drop((proposed > 90).then_some(1).expect(\"there are more\")),
            104 => drop(at_least - (proposed + 90)),
            105 => panic!(\"not today\"),
            106 => while std::hint::black_box(proposed) < 90 {},
            _ => {}
        }
";
    let at = source.lines().position(|one| one.starts_with(line)).expect("it has it") + 1;
    std::fs::write(wrong.join("src/lib.rs"), source.replace(line, &(slips.to_owned() + line)))
        .expect("it is written");
    prints(&wrong, &["build"]);
    let mut told = String::new();
    for at_most in 101..=106 {
        let chain = format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n- policy: builtin:knative\n\
             - policy: wrong.wasm\n  settings: {{atMost: {at_most}}}\n"
        );
        std::fs::write(wrong.join("policies.yaml"), chain).expect("it is written");
        let line =
            ["replay", "load.csv", "--policies", "policies.yaml", "--until", "1m", "--quiet"];
        let done = tidegate(&wrong, &line);
        assert_eq!(done.status.code(), Some(3));
        let said = text(&done.stderr);
        let cause = said.lines().find_map(|line| line.strip_prefix("cause: ")).expect("it has one");
        told.push_str(&format!("{cause}\n"));
    }
    for nth in 0..=8 {
        told = told.replace(&format!("lib.rs:{}", at + nth), &format!("lib.rs:TOLD+{nth}"));
    }
    assert_snapshot!(told, @r"
    it panicked in `wrong::Policy::decide` at src/lib.rs:TOLD+1: found … replicas (for chat)
    it panicked in `wrong::Policy::decide` at src/lib.rs:TOLD+2: index out of bounds (for chat)
    it panicked in `wrong::Policy::decide` at src/lib.rs:TOLD+3: there are more (for chat)
    it panicked in `wrong::Policy::decide` at src/lib.rs:TOLD+4: attempt to subtract with overflow (for chat)
    it panicked in `wrong::Policy::decide` at src/lib.rs:TOLD+5: not today (for chat)
    it used up its fuel of 110,000 in `wrong::Policy::decide`: an endless loop, or too much work for one target (for chat)
    ");
}

#[test]
fn the_pages_of_reference_are_those_that_the_program_makes() {
    let folder = folder();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository");
    for page in ["cli", "contract"] {
        let made = prints(folder.path(), &["docs", page]);
        let file = root.join("docs/reference").join(page).with_extension("md");
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            made == kept,
            "{} is not what the program says of itself; renew it with\n  \
             target/release/tidegate docs --write docs/reference",
            file.display()
        );
    }
}

#[test]
fn every_command_has_a_manual_page_and_every_shell_its_completions() {
    let folder = folder();
    prints(folder.path(), &["man", "pages"]);
    let page = |name: &str| {
        std::fs::read_to_string(folder.path().join("pages").join(name)).expect("it was written")
    };
    assert!(page("tidegate.1").contains(".TH tidegate 1"));
    assert!(page("tidegate-trace-stat.1").contains("tidegate trace stat"));
    assert!(!folder.path().join("pages/tidegate-__compile.1").exists(), "it is hidden");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = prints(folder.path(), &["completions", shell]);
        assert!(script.contains("inspect") && script.contains("template"), "{shell}");
    }
}
