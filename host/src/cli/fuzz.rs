//! `tidegate fuzz`: hunts for load and faults under which policies break a promise, and writes the smallest as a case of a suite.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::World;
use super::failure::{Exit, Failure};
use super::output::{Terminal, write_file};
use super::suites::Maker;
use super::{compare, inputs};
use crate::backend::sim::Faults;
use crate::definitions::policies::{PoliciesDefinition, PolicyRef};
use crate::engine::PLACEMENT;
use crate::fuzz::{self, Breach, Found, Ground, PROMISES, Progress, Try};
use crate::ledger::Outcome;
use crate::policy::Limits;
use crate::replay::{Load, Replay, Setting};
use crate::report::Style;
use crate::report::numbers::counted;
use crate::report::style::Ink;
use crate::seed::Seed;
use crate::suite::chain::{Chain, Recordings};
use crate::suite::expectation::{Expectation, Subject};
use crate::suite::outcome::number_of;
use crate::trace::synth::Span;

pub(super) const EXAMPLES: &str = "POLICY is a policies file, a component (a .wasm file, or builtin:NAME), a profile, or several of these with commas between
them, as for compare. Whatever is expected, three promises are kept an eye on: no policy fails (failures == 0), whoever waits at zero
is seen to (asleep_s <= 10), and without load everything comes to rest (late_changes <= 20).

Exit code 0 where nothing was found, 1 where something was.

Examples:
  tidegate fuzz policies.yaml
  tidegate fuzz next.wasm --services isvc.yaml --nodes nodes.yaml --expect 'expired == 0'
  tidegate fuzz builtin:knative --expect 'wait_p99 <= 60s' --rounds 1000 -O slow.suite.yaml";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What is tried.
    #[arg(value_name = "POLICY")]
    policy: String,
    #[command(flatten)]
    world: World,
    /// The stage whose place a component takes; `placement` for the placement policy.
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// A condition that must hold, as in a suite: `expired == 0`.
    #[arg(long = "expect", value_name = "CONDITION")]
    expectations: Vec<String>,
    /// How many loads are tried.
    #[arg(long, default_value_t = 200, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long a load may be.
    #[arg(long = "for", default_value = "30m", value_name = "DURATION")]
    longest: Span,
    /// The most requests a second of a part of a load.
    #[arg(long, default_value_t = 20.0, value_name = "RATE")]
    highest_rate: f64,
    /// Where the smallest is written to; a number is added where something has that name.
    #[arg(short = 'O', long, default_value = "found.suite.yaml", value_name = "FILE.yaml")]
    out: PathBuf,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = super::args::Output::Text)]
    output: super::args::Output,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    let expectations = expectations(args)?;
    if !(args.highest_rate.is_finite() && args.highest_rate > 0.0) || args.longest.us() < 1_000_000
    {
        let what = format!(
            "found --highest-rate {} --for {}, expected a rate above 0 and at least 1s",
            args.highest_rate, args.longest
        );
        return Err(Failure::plain(Exit::Input, what));
    }
    let (world, definition) = compare::named(&args.policy, &args.world, args.stage.as_deref())?;
    let chain = Maker::default().loaded(definition)?;
    let (ground, given) = ground(args, &world)?;
    let bar = terminal.progress(Some(u64::from(args.rounds)));
    let mut told = |progress: Progress| match progress {
        Progress::Tried(rounds) => bar.set_position(u64::from(rounds)),
        Progress::Shrinking(tries) => {
            bar.set_message(format!("found one; smaller ones tried: {tries}"))
        }
    };
    let mut play = |tried: &Try| {
        let outcome = play(tried, &world, &chain)?;
        Ok::<_, Failure>(breach(&outcome, &expectations))
    };
    let seed = Seed::new(&world.seed);
    let found = fuzz::hunt(&ground, &seed, args.rounds, &mut play, &mut told)?;
    bar.finish_and_clear();
    let Some(found) = found else {
        return terminal.print(&match args.output {
            super::args::Output::Json => {
                json_text(&json!({"found": null, "rounds": args.rounds, "seed": world.seed}))
            }
            super::args::Output::Text => format!(
                "nothing found in {}: {}\n",
                counted(u64::from(args.rounds), "load"),
                texts(&expectations).join(", ")
            ),
        });
    };
    let out = free(&args.out);
    let written = write_case(args, &out, &world, chain.definition(), &given, &found)?;
    terminal.print(&match args.output {
        super::args::Output::Json => json_text(&json!({
            "found": {
                "promise": found.breach.promise,
                "seen": found.breach.seen,
                "load": found.smallest.load,
                "faults": found.smallest.faults.faults,
            },
            "rounds": found.round,
            "seed": world.seed,
            "files": written,
        })),
        super::args::Output::Text => text(&found, &written, terminal),
    })?;
    Err(Failure::of_checks())
}

fn json_text(value: &serde_json::Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("every key is text");
    text.push('\n');
    text
}

/// What must hold: the promises of every policy first, then what the caller expects.
fn expectations(args: &Args) -> Result<Vec<Expectation>, Failure> {
    let parse = |text: &str| {
        Expectation::parse(text, Subject::Replay).map_err(|error| {
            Failure::new(Exit::Input, format!("cannot use the condition `{text}`"), &error)
        })
    };
    let own = args.expectations.iter().map(String::as_str);
    PROMISES.into_iter().chain(own).map(parse).collect()
}

fn texts(expectations: &[Expectation]) -> Vec<&str> {
    expectations.iter().map(Expectation::text).collect()
}

/// The services and nodes that tries may be about, and the faults that each of them has.
fn ground(args: &Args, world: &World) -> Result<(Ground, Faults), Failure> {
    let nothing = Load { services: Vec::new(), end_us: 0, items: Box::new(std::iter::empty()) };
    let Setting { services, fleet, faults, .. } =
        inputs::world(world, &inputs::Own::default(), nothing, Vec::new())?;
    let mut services: Vec<String> =
        services.into_iter().map(|service| service.trace.unwrap_or(service.name)).collect();
    services.sort();
    if services.is_empty() {
        services.push("service".to_owned());
    }
    let mut nodes: Vec<String> =
        fleet.machines.into_iter().map(|machine| machine.node.name).collect();
    nodes.sort();
    let (longest, highest_rate) = (args.longest, args.highest_rate);
    Ok((Ground { services, nodes, longest, highest_rate }, faults))
}

/// Runs a try to its end.
fn play(tried: &Try, world: &World, chain: &Chain) -> Result<Outcome, Failure> {
    let load = tried.load.load(&Seed::new(&world.seed));
    let mut setting = inputs::world(world, &inputs::Own::default(), load, Vec::new())?;
    setting.faults.faults.extend(tried.faults.faults.iter().cloned());
    // Nobody reads the reasons.
    setting.explains = false;
    let cannot = |error| inputs::cannot_replay("a load that was made up", world, &error);
    let replay = Replay::new(setting, chain.policies(&Recordings::new())).map_err(cannot)?;
    replay.run(None, &mut |_| {}).map_err(cannot)
}

/// The first condition that does not hold.
fn breach(outcome: &Outcome, expectations: &[Expectation]) -> Option<Breach> {
    expectations.iter().find_map(|expectation| {
        let unmet = expectation.check(&|name| number_of(outcome, name))?;
        let prefix = format!("{}: ", unmet.text);
        let told = |line: &String| line.strip_prefix(&prefix).unwrap_or(line).to_owned();
        let mut seen = unmet.because.iter().map(told).collect::<Vec<_>>().join("; ");
        if let Some(failure) = outcome.failures.first() {
            let _ = write!(
                seen,
                "; first, at {} s: {}: {}",
                failure.at_s, failure.stage, failure.message
            );
        }
        Some(Breach { promise: unmet.text, seen })
    })
}

/// `out`, or the first of its name with a number that nothing has yet: what earlier hunts found stays.
fn free(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let endings = [".suite.yaml", ".suite.yml", ".yaml", ".yml"];
    let ending = endings.into_iter().find(|ending| name.ends_with(ending)).unwrap_or("");
    let stem = &name[..name.len() - ending.len()];
    let others = (2..).map(|nth: u64| out.with_file_name(format!("{stem}-{nth}{ending}")));
    let mut all = std::iter::once(out.to_owned()).chain(others);
    let is_free = |path: &PathBuf| !path.exists() && !path.with_extension("faults.yaml").exists();
    all.find(is_free).expect("numbers do not end")
}

/// Writes what was found as a suite, and its faults beside it. Gives the files.
fn write_case(
    args: &Args,
    out: &Path,
    world: &World,
    chain: &PoliciesDefinition,
    given: &Faults,
    found: &Found,
) -> Result<Vec<String>, Failure> {
    let folder = out.parent().unwrap_or(Path::new(""));
    // Paths in a suite are relative to it.
    let path = |path: &Path| -> Result<String, Failure> {
        if folder == Path::new("") {
            return Ok(path.display().to_string());
        }
        let whole = std::path::absolute(path).map_err(|error| {
            Failure::new(Exit::Environment, format!("cannot find {}", path.display()), &error)
        })?;
        Ok(whole.display().to_string())
    };
    let mut text = format!(
        "# Found by: tidegate fuzz {}{}\n# {}: {}\napiVersion: tidegate.dev/v1alpha1\nkind: Suite\ncases:\n",
        args.policy,
        options(args),
        found.breach.promise,
        found.breach.seen
    );
    let mut written = Vec::new();
    let name = format!("{} does not always hold", found.breach.promise);
    let _ = writeln!(text, "  - name: {}", flow(&json!(name)));
    if Path::new(&world.profile).is_file() {
        let _ = writeln!(text, "    profile: {}", flow(&json!(path(Path::new(&world.profile))?)));
    } else {
        let _ = writeln!(text, "    profile: {}", world.profile);
    }
    let files = [("services", &world.services), ("nodes", &world.nodes), ("models", &world.models)];
    for (key, file) in files {
        if let Some(file) = file {
            let _ = writeln!(text, "    {key}: {}", flow(&json!(path(file)?)));
        }
    }
    let _ = writeln!(text, "    seed: {}", flow(&json!(world.seed)));
    if let Some(start) = &world.start {
        let _ = writeln!(text, "    start: {}", flow(&json!(start)));
    }
    if let Some(policies) = policies(world, chain, &path)? {
        let _ = writeln!(text, "    policies: {}", flow(&policies));
    }
    let _ = writeln!(
        text,
        "    load: {}",
        flow(&serde_json::to_value(&found.smallest.load).expect("every key is text"))
    );
    if let Some(until) = &world.until {
        let _ = writeln!(text, "    until: {}", flow(&json!(until)));
    }
    let mut faults = given.faults.clone();
    faults.extend(found.smallest.faults.faults.iter().cloned());
    if !faults.is_empty() {
        let beside = out.with_extension("faults.yaml");
        let faults = flow(&json!(faults));
        write_file(&beside, &format!("faults: {faults}\n"))?;
        let name = beside.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let _ = writeln!(text, "    faults: {}", flow(&json!(name)));
        written.push(beside.display().to_string());
    }
    let _ =
        writeln!(text, "    expect: [{}]\n    snapshot: false", flow(&json!(found.breach.promise)));
    write_file(out, &text)?;
    written.insert(0, out.display().to_string());
    Ok(written)
}

/// The options that the hunt was given, as on its command line.
fn options(args: &Args) -> String {
    let world = &args.world;
    let mut text = String::new();
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let given = [
        ("--profile", Some(world.profile.clone()).filter(|profile| profile != "gpu")),
        ("--policies", path(&world.policies)),
        ("--services", path(&world.services)),
        ("--nodes", path(&world.nodes)),
        ("--models", path(&world.models)),
        ("--faults", path(&world.faults)),
        ("--seed", Some(world.seed.clone()).filter(|seed| seed != "tide")),
        ("--start", world.start.clone()),
        ("--until", world.until.clone()),
        ("--stage", args.stage.clone()),
        ("--for", Some(args.longest.to_string()).filter(|longest| longest != "30m")),
        ("--highest-rate", Some(args.highest_rate.to_string()).filter(|rate| rate != "20")),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            let _ = write!(text, " {name} {value}");
        }
    }
    for expected in &args.expectations {
        let _ = write!(text, " --expect '{expected}'");
    }
    text
}

/// YAML on one line. JSON is that.
fn flow(value: &serde_json::Value) -> String {
    serde_json::to_string(value).expect("every key is text")
}

/// The chain as a suite has it: nothing where it is the usual one, its file where it is as that says.
fn policies(
    world: &World,
    chain: &PoliciesDefinition,
    path: &impl Fn(&Path) -> Result<String, Failure>,
) -> Result<Option<serde_json::Value>, Failure> {
    if *chain == PoliciesDefinition::builtin() {
        return Ok(None);
    }
    if let Some(file) = &world.policies
        && inputs::chain(world)? == *chain
    {
        return Ok(Some(json!(path(file)?)));
    }
    let named = |policy: &PolicyRef| match policy {
        PolicyRef::Builtin(name) => Ok(format!("builtin:{name}")),
        PolicyRef::File(file) => path(file),
    };
    let mut scaling = Vec::new();
    for stage in &chain.scaling {
        let mut one = BTreeMap::from([
            ("policy", json!(named(&stage.policy)?)),
            ("name", json!(stage.name)),
            ("settings", stage.settings.clone()),
            ("onFailure", json!(stage.on_failure.name())),
        ]);
        if let Some(fallback) = &stage.fallback {
            one.insert("fallback", json!(format!("builtin:{fallback}")));
        }
        if let Some(limits) = chain.limits.own.get(&stage.name) {
            one.insert("limits", json!(limits));
        }
        scaling.push(one);
    }
    let mut placement =
        json!({"policy": named(&chain.placement)?, "settings": chain.placement_settings});
    if let Some(limits) = chain.limits.own.get(PLACEMENT) {
        placement["limits"] = json!(limits);
    }
    let mut whole = json!({"scaling": scaling, "placement": placement});
    if chain.limits.all != Limits::default() {
        whole["limits"] = json!(chain.limits.all);
    }
    Ok(Some(whole))
}

fn text(found: &Found, written: &[String], terminal: &Terminal) -> String {
    let style = Style { colour: terminal.has_colors, width: terminal.width() };
    let mut text = style.paint(Ink::Alarm, &format!("{} does not hold", found.breach.promise));
    let _ = writeln!(text, ": {}", found.breach.seen);
    let _ = writeln!(
        text,
        "load    {}",
        flow(&serde_json::to_value(&found.smallest.load).expect("every key is text"))
    );
    for fault in &found.smallest.faults.faults {
        let _ = writeln!(text, "fault   {fault}");
    }
    let (tries, shrinks) = found.shrinks;
    let _ = writeln!(
        text,
        "found   in load {} of the hunt, made smaller in {} of {tries} tries\nwritten {}",
        found.round,
        counted(u64::from(shrinks), "step"),
        written.join(", ")
    );
    text
}
