//! Journals that the command line writes, decided again: with the same components, and with the same policies linked natively.

#[path = "journal/live.rs"]
mod live;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate::again::{Again, decide_again};
use tidegate::engine::{Engine, Event, OnFailure, Stage};
use tidegate::journal::{
    Begin, Header, Journal, KeepLimits, Request, Requests, SegmentWriter, Step, read,
};
use tidegate::policy::native::{NativePlacement, NativeScaling};
use tidegate::policy::{Limits, PlacementPolicy, Sandbox, ScalingPolicy, builtin};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the host is a folder of the repository")
}

/// The journal of the demo's first ten minutes, in which a node with replicas is lost and comes back.
fn journal() -> Vec<u8> {
    journal_with(0, &[])
}

/// The same with further arguments.
fn journal_with(exit: i32, arguments: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let (faults, journal) = (folder.path().join("faults.yaml"), folder.path().join("run.jsonl"));
    let lost = "faults:\n- nodeLost: {node: a40-0, atSeconds: 200, backAtSeconds: 400}\n";
    std::fs::write(&faults, lost).expect("it is written");
    let done = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(root())
        .args(["replay", "fixtures/traces/azure-llm-2023-code.csv.gz"])
        .arg("fixtures/traces/longtail-demo.csv.gz")
        .args(["--services", "fixtures/manifests/demo.yaml", "--until", "10m"])
        .arg("--faults")
        .arg(&faults)
        .arg("--journal")
        .arg(&journal)
        .args(arguments)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(exit), "{said}");
    std::fs::read(journal).expect("it was written")
}

type Chain = (Vec<(&'static str, OnFailure, Box<dyn ScalingPolicy>)>, Box<dyn PlacementPolicy>);

fn sandboxed() -> Chain {
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox");
    let package = |name| {
        let component = builtin::builtin(name).expect("it is built in");
        sandbox.load_trusted(component).expect("it loads")
    };
    let scales =
        |name| -> Box<dyn ScalingPolicy> { Box::new(package(name).scaling().expect("it scales")) };
    let stages = vec![
        ("knative", OnFailure::Hold, scales("knative")),
        ("scale-to-zero", OnFailure::Skip, scales("scale-to-zero")),
    ];
    (stages, Box::new(package("affinity").placement().expect("it places")))
}

fn native() -> Chain {
    let stages: Vec<(_, _, Box<dyn ScalingPolicy>)> = vec![
        (
            "knative",
            OnFailure::Hold,
            Box::new(NativeScaling::<tidegate_knative::Knative>::new("knative")),
        ),
        (
            "scale-to-zero",
            OnFailure::Skip,
            Box::new(NativeScaling::<tidegate_scale_to_zero::ScaleToZero>::new("scale-to-zero")),
        ),
    ];
    (stages, Box::new(NativePlacement::<tidegate_affinity::Affinity>::new("affinity")))
}

fn engine(header: &Header, (stages, placement): Chain) -> Engine {
    let stages = stages
        .into_iter()
        .map(|(name, on_failure, policy)| Stage::new(name, policy, on_failure))
        .collect();
    let fallback = NativePlacement::<tidegate_affinity::Affinity>::new("affinity");
    Engine::new(header.options.clone(), stages, placement, Some(Box::new(fallback)))
        .expect("the placement policy says what it wants")
}

fn again(journal: &[u8], chain: Chain) -> (Engine, Again) {
    let (header, steps) = read(journal).expect("it has a header");
    let mut engine = engine(&header, chain);
    let again = decide_again(&header, steps, &mut engine).expect("it is read to its end");
    (engine, again)
}

#[test]
fn a_journal_decided_again_gives_its_plans_byte_for_byte_in_the_sandbox_and_natively() {
    let journal = journal();
    let (header, steps) = read(&journal[..]).expect("it has a header");
    let steps: Vec<Step> = steps.collect::<Result<_, _>>().expect("all steps are whole");
    assert_eq!(header.limits, Some(Limits::default()));
    assert_eq!(header.counts.len(), header.targets.len());
    let nodes = |step: &&Step| step.seen.events.iter().any(|seen| matches!(seen, Event::Nodes(_)));
    assert_eq!(steps.iter().filter(nodes).count(), 3, "all nodes, one less, all nodes");
    assert!(steps.iter().any(|step| step.plan.changes.iter().any(|change| change.to > 1)));

    let (engine, same) = again(&journal, sandboxed());
    assert_eq!(engine.policies(), header.policies);
    assert_eq!(same, Again { steps: steps.len(), difference: None });

    let (engine, same) = again(&journal, native());
    assert_ne!(engine.policies(), header.policies);
    assert_eq!(same, Again { steps: steps.len(), difference: None });
}

#[test]
fn every_stage_says_which_policy_decided_and_what_it_gave() {
    let journal = journal();
    let (header, steps) = read(&journal[..]).expect("it has a header");
    let steps: Vec<Step> = steps.collect::<Result<_, _>>().expect("all steps are whole");
    let said = |step: &Step| step.plan.changes.clone().into_iter().flat_map(|one| one.stages);
    let mut panics = 0;
    for said in steps.iter().flat_map(said) {
        let of = header.policies.iter().find(|of| of.stage == said.stage).expect("it is a stage");
        assert_eq!(said.digest, of.digest);
        panics += usize::from(said.outputs.contains(&("in-panic".to_owned(), Some(1.0))));
    }
    assert!(panics > 0, "the demo begins with a panic");
}

#[test]
fn a_journal_with_a_policy_that_fails_is_decided_again_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let hostile = Path::new(env!("TIDEGATE_GUESTS")).join("hostile.wasm");
    let chain = folder.path().join("policies.yaml");
    let text = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n- policy: builtin:knative\n- policy: {}\n  settings: {{misbehave: trap}}\nlimits: {{fuel: 200000}}\n",
        hostile.display()
    );
    std::fs::write(&chain, text).expect("it is written");
    let journal = journal_with(3, &["--policies", &chain.display().to_string()]);

    let (header, steps) = read(&journal[..]).expect("it has a header");
    let steps: Vec<Step> = steps.collect::<Result<_, _>>().expect("all steps are whole");
    let limits = header.limits.clone().expect("they ran in a sandbox");
    assert_eq!(limits, Limits { fuel: 200_000, ..Limits::default() });
    let failed = |step: &Step| step.plan.failures.iter().any(|one| one.instead == "skip");
    assert!(steps.iter().any(failed));

    let sandbox = Sandbox::new(limits).expect("a sandbox").in_process();
    let hostile = std::fs::read(hostile).expect("the build left it");
    let hostile = sandbox.load(&hostile).expect("it loads").scaling().expect("it scales");
    let (mut stages, placement) = sandboxed();
    stages[1] = ("hostile", OnFailure::Skip, Box::new(hostile));
    let mut engine = engine(&header, (stages, placement));
    let count = steps.len();
    let same = decide_again(&header, steps.into_iter().map(Ok), &mut engine)
        .expect("it is read to its end");
    assert_eq!(engine.policies(), header.policies);
    assert_eq!(same, Again { steps: count, difference: None });
}

#[test]
fn the_first_plan_that_differs_is_found() {
    let journal = journal();
    let text = String::from_utf8(journal).expect("JSON");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = lines.iter().rposition(|line| line.contains("\"Start\"")).expect("replicas start");
    let mut step: Step = serde_json::from_str(&lines[at]).expect("a step");
    step.plan.actions.clear();
    lines[at] = serde_json::to_string(&step).expect("JSON");
    let (_, found) = again(lines.join("\n").as_bytes(), native());
    let difference = found.difference.expect("a plan was changed");
    assert_eq!((found.steps, difference.step), (at, at), "the header is line 0");
    assert!(difference.recorded.actions.is_empty() && !difference.decided.actions.is_empty());
}

#[test]
fn a_journal_that_was_cut_off_is_read_to_its_last_whole_step_wherever_that_was() {
    let journal = journal();
    let ends: Vec<usize> = (0..journal.len()).filter(|&at| journal[at] == b'\n').collect();
    // The longest of the last steps, which has reasons with characters of several bytes, begins and ends here.
    let last = (ends.len() - 40..ends.len()).max_by_key(|&at| ends[at] - ends[at - 1]);
    let last = last.expect("there are steps");
    let (from, to) = (ends[last - 1] + 1, ends[last]);
    for cut in from..=to {
        let (_, steps) = read(&journal[..cut]).expect("the header is whole");
        let steps: Result<Vec<Step>, _> = steps.collect();
        let whole = steps.unwrap_or_else(|error| panic!("cut at {}: {error}", cut - from));
        assert_eq!(whole.len(), last - usize::from(cut < to), "cut at {}", cut - from);
    }
}

/// Nothing here is to depend on where a test runs.
#[test]
fn a_journal_names_no_place_on_the_machine() {
    let text = String::from_utf8(journal()).expect("JSON");
    let folder: PathBuf = root().to_owned();
    assert!(!text.contains(&folder.display().to_string()));
}

/// Runs the program at the root.
fn tidegate(arguments: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .current_dir(root())
        .args(arguments)
        .output()
        .expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn a_journal_in_frames_and_one_in_lines_are_replayed_alike_and_a_difference_is_exit_code_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (lines, frames, changed) = (path("run.jsonl"), path("run.tgj"), path("changed.jsonl"));
    let text = journal();
    std::fs::write(&lines, &text).expect("it is written");
    let file = std::fs::File::create(&frames).expect("it is made");
    let mut writer = SegmentWriter::new(file).expect("it is written");
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        writer.write_all(line).expect("it is written");
        writer.flush().expect("it is written");
    }
    let [one, other] = [&lines, &frames].map(|path| tidegate(&["replay", path]));
    assert_eq!(one, other);
    assert_eq!((one.0, one.2.as_str()), (Some(0), ""));
    assert!(one.1.contains("steps again: the same plans, byte for byte"), "{}", one.1);
    for at in ["60s", "0:05:00"] {
        let [one, other] = [&lines, &frames]
            .map(|path| tidegate(&["why", "longtail", "--at", at, "--journal", path]));
        assert_eq!(one, other);
        assert_eq!(one.0, Some(0), "{}", one.2);
    }

    let text = String::from_utf8(text).expect("JSON");
    let (first, rest) = text.split_once("\"wake_at\":17").expect("a step wakes");
    std::fs::write(&changed, format!("{first}\"wake_at\":18{rest}")).expect("it is written");
    let (exit, told, _) = tidegate(&["replay", &changed]);
    assert_eq!(exit, Some(1), "{told}");
    assert!(told.contains("step 1 is planned otherwise"), "{told}");
    assert!(told.contains("\nrecorded   {") && told.contains("\ndecided    {"), "{told}");
}

#[test]
fn a_live_journal_is_decided_again_and_its_requests_are_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let (header, steps) = {
        let journal = journal();
        let (header, steps) = read(&journal[..]).expect("it has a header");
        (header, steps.collect::<Result<Vec<Step>, _>>().expect("all steps are whole"))
    };
    let place = folder.path().join("journal");
    let mut live = Journal::live(&place, KeepLimits::default(), Begin::first(header.clone()))
        .expect("a thread");
    let request =
        |at: u64| Request { arrived_ms: header.start.0 + at, took_ms: 150, ..Request::default() };
    for (step, nth) in steps.iter().zip(0u64..) {
        live.record(&step.seen, &step.plan);
        let second = step.seen.at.second();
        if nth % 10 == 0 {
            let rows = [("code".to_owned(), request(nth * 100))];
            live.requests(Requests::of(second + 60, &rows, 0));
        }
    }
    assert!(live.finish().is_none());
    let place = place.display().to_string();
    let (exit, told, said) = tidegate(&["replay", &place]);
    assert_eq!(exit, Some(0), "{said}");
    let expected = format!("{} steps again: the same plans, byte for byte", steps.len());
    assert!(told.contains(&expected), "{told}");

    let trace = folder.path().join("load.csv").display().to_string();
    let (exit, _, said) = tidegate(&["trace", "export", &place, "-O", &trace]);
    assert_eq!(exit, Some(0), "{said}");
    let rows = std::fs::read_to_string(&trace).expect("it was written");
    assert_eq!(rows.lines().count(), 1 + steps.len().div_ceil(10));
    assert!(rows.starts_with("t_s,model,duration_s\n0,code,0.15\n1,code,0.15\n"), "{rows:.80}");

    let (exit, told, said) = tidegate(&["replay", &place, "--policy", "knative"]);
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("what follows is simulated, A too"), "{said}");
    assert!(told.starts_with("A  then\n") && told.contains("\nB  knative\n"), "{told}");
}

/// An engine with the policies of `header`, as it is when its run begins.
fn begun(header: &Header) -> Engine {
    let mut engine = engine(header, sandboxed());
    let targets = header.targets.iter().cloned().zip(header.counts.iter().copied()).collect();
    engine.add_counted_targets(header.start, targets).expect("they are bound");
    engine
}

/// Writes a run of what `steps` saw into a folder, as a live one is: in small segments, with a snapshot wherever one is wanted.
fn run_live(place: &Path, header: &Header, steps: &[Step]) {
    let mut engine = begun(header);
    // Forty steps take more than that, however quiet.
    let limits = KeepLimits { segment_bytes: 400, ..KeepLimits::default() };
    let mut live = Journal::live(place, limits, Begin::first(header.clone())).expect("a thread");
    for (nth, step) in steps.iter().enumerate() {
        let plan = engine.step(&step.seen);
        live.record(&step.seen, &plan);
        // A minute of a machine that has much else to do, until the thread has seen what it was given.
        let mut patience = 60_000;
        while nth % 40 == 39 && !live.wants_snapshot() && patience > 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
            patience -= 1;
        }
        if live.wants_snapshot() {
            let at = step.seen.at;
            let header = Header { limits: header.limits.clone(), ..Header::of(&engine, at, None) };
            live.begin(Begin::from_snapshot(at, header, engine.snapshot()));
        }
    }
    assert!(live.finish().is_none());
}

/// What came of deciding a folder again, which is good.
fn decided(place: &Path) -> serde_json::Value {
    let place = place.display().to_string();
    let (exit, told, said) = tidegate(&["replay", &place, "-o", "json"]);
    assert_eq!(exit, Some(0), "{said}{}", told.chars().take(4_000).collect::<String>());
    serde_json::from_str(&told).expect("a document")
}

#[test]
fn segments_are_decided_again_over_rotations_a_gap_a_torn_tail_and_a_restart() {
    let bytes = journal();
    let (header, steps) = read(&bytes[..]).expect("it has a header");
    let steps: Vec<Step> = steps.collect::<Result<_, _>>().expect("all steps are whole");
    let folder = tempfile::tempdir().expect("a folder");
    let (place, half) = (folder.path(), steps.len() / 2);
    run_live(place, &header, &steps[..half]);
    let told = decided(place);
    let segments = told["segments"].as_u64().expect("a number");
    assert!(segments >= 4, "{segments}");
    assert_eq!(told["snapshotsChecked"], segments - 1, "every rotation is held against the engine");
    assert_eq!((&told["steps"], &told["undecided"]), (&half.into(), &0.into()));

    // The program is started again, after its last segment was torn.
    let segment = |nth: u64| place.join(format!("{nth:08}.tgj"));
    let last = std::fs::read(segment(segments)).expect("it is there");
    std::fs::write(segment(segments), &last[..last.len() - 3]).expect("it is written");
    let later = Header { start: steps[half].seen.at, ..header.clone() };
    run_live(place, &later, &steps[half..]);
    let told = decided(place);
    assert_eq!((&told["runs"], &told["undecided"]), (&2.into(), &0.into()));
    assert_eq!(told["gaps"].as_array().map(Vec::len), Some(1));
    let why = told["gaps"][0]["why"].as_str().expect("a text");
    assert!(why.contains("cut off") || why.contains("checksum"), "{why}");

    // Without its second segment there is a gap, and what follows goes on from the snapshot after it. One segment alone will do.
    std::fs::remove_file(segment(2)).expect("it is there");
    let told = decided(place);
    assert_eq!(told["gaps"].as_array().map(Vec::len), Some(2));
    assert_eq!((&told["undecided"], told["difference"].is_null()), (&0.into(), true));
    let told = decided(&segment(3));
    assert!(told["steps"].as_u64() > Some(0) && told["gaps"] == serde_json::json!([]));
}

#[test]
fn an_engine_that_knows_something_else_than_a_snapshot_is_told_where() {
    let bytes = journal();
    let (header, steps) = read(&bytes[..]).expect("it has a header");
    let steps: Vec<Step> = steps.collect::<Result<_, _>>().expect("all steps are whole");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.jsonl");
    let mut engine = begun(&header);
    let mut text = Vec::new();
    let mut written = Journal::new(&mut text, &header);
    for step in &steps[..20] {
        let plan = engine.step(&step.seen);
        written.record(&step.seen, &plan);
    }
    let at = steps[19].seen.at;
    let header = Header { limits: header.limits.clone(), ..Header::of(&engine, at, None) };
    written.begin(Begin::from_snapshot(at, header, engine.snapshot()));
    assert!(written.finish().is_none());
    std::fs::write(&path, &text).expect("it is written");
    assert_eq!(decided(&path)["snapshotsChecked"], 1);

    let text = String::from_utf8(text).expect("JSON");
    let begin = text.rfind("\"generation\":20").expect("a snapshot has it");
    let (before, after) = text.split_at(begin);
    let after = after.replacen("\"generation\":20", "\"generation\":21", 1);
    std::fs::write(&path, before.to_owned() + &after).expect("it is written");
    let (exit, told, _) = tidegate(&["replay", &path.display().to_string()]);
    assert_eq!(exit, Some(1), "{told}");
    assert!(told.contains("/generation at 0:"), "{told}");
}

#[test]
fn a_swap_that_is_rehearsed_on_a_trace_shows_what_took_over_and_its_journal_decides_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let guest = Path::new(env!("TIDEGATE_GUESTS")).join("office-hours.wasm");
    let chain = |stage: &str| {
        format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n- policy: builtin:knative\n{stage}- policy: builtin:scale-to-zero\n"
        )
    };
    let days = "[monday, tuesday, wednesday, thursday, friday, saturday, sunday]";
    let stage = format!(
        "- {{policy: {}, settings: {{minimum: 1, hours: {{from: 0, to: 24, days: {days}}}}}}}\n",
        guest.display()
    );
    std::fs::write(path("next.yaml"), chain(&stage)).expect("it is written");
    std::fs::write(path("back.yaml"), chain("")).expect("it is written");
    let (next, back) =
        (format!("2m={}", path("next.yaml")), format!("0:04:00={}", path("back.yaml")));
    let (exit, told, said) = tidegate(&[
        "replay",
        "fixtures/traces/azure-llm-2023-code.csv.gz",
        "--until",
        "6m",
        "--swap",
        &next,
        "--swap",
        &back,
        "--journal",
        &path("run.tgj"),
    ]);
    assert_eq!(exit, Some(0), "{said}");
    for what in [
        "swap at 0:02:00: ",
        "  stage office-hours is new\n",
        "swap at 0:04:00: ",
        "  stage office-hours is gone, with what it remembered\n",
        "A  without the swap\n",
        "B  with it\n",
    ] {
        assert!(told.contains(what), "{what}: {told}");
    }
    // Its component is looked for beside the journal.
    let (exit, _, said) = tidegate(&["replay", &path("run.tgj")]);
    assert_eq!(exit, Some(2), "{said}");
    let digest = said.split("sha256:").nth(1).and_then(|rest| rest.split(',').next());
    let name = format!("components/sha256-{}.wasm", digest.expect("it is named"));
    std::fs::create_dir(path("components")).expect("it is made");
    std::fs::copy(guest, path(&name)).expect("it is copied");
    let told = decided(Path::new(&path("run.tgj")));
    assert_eq!((&told["successions"], &told["snapshotsChecked"]), (&2.into(), &2.into()));
}
