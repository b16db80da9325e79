//! `tidegate compare`: replays one load twice, side by side, and tells how the two differ.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use clap::ValueEnum;
use indicatif::ProgressBar;

use super::args::{Inputs, Output, World};
use super::failure::{Exit, Failure};
use super::output::{Terminal, write_file};
use super::{inputs, journal, policies};
use crate::again::recorded::Recorded;
use crate::compare::{Comparison, Gate, Parting, Stand, Trail};
use crate::definitions::policies::{PoliciesDefinition, PolicyRef};
use crate::engine::{Action, Engine, Observation, PLACEMENT, Plan, TargetId};
use crate::ledger::{Outcome, UNPLACED};
use crate::policy::{Limits, builtin, load};
use crate::replay::{Policies, Replay, ReplayError};
use crate::report::{self, Style};
use crate::time::Time;

pub(super) const EXAMPLES: &str = "A and B are each a profile (a built-in name or a file), a policies file, or a component (a .wasm file, or builtin:NAME),
or several of these with commas between them; what a file is, its content says. What they leave open, --profile and
--policies say for both. A component takes the place of the stage that has its file's name, or else of the first stage.

Gates hold B to conditions: [SERVICE.]METRIC, then <=, <, >=, > or ==, then a number. With a sign it is relative to A's.

Examples:
  tidegate compare gpu knative --trace load.csv.gz
  tidegate compare policies.yaml policies.yaml,next.wasm --trace load.csv --services isvc.yaml
  tidegate compare gpu patient.yaml --trace load.csv --gate 'gpu_minutes<=+5%' --gate 'chat.wait_p99<=+0.5s'
  tidegate compare gpu knative --trace load.csv --report compare.html";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What B is held against.
    #[arg(value_name = "A")]
    a: String,
    /// What is tried.
    #[arg(value_name = "B")]
    b: String,
    /// Recorded load, CSV, plain or gzip; several are merged.
    #[arg(long = "trace", required = true, num_args = 1.., value_name = "TRACE")]
    traces: Vec<PathBuf>,
    #[command(flatten)]
    world: World,
    /// The stage whose place a component takes; `placement` for the placement policy.
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// A condition on B's numbers, as gpu_minutes<=+5%; exit code 1 where one fails.
    #[arg(long = "gate", value_name = "GATE")]
    gates: Vec<String>,
    /// Tell every service's numbers, not only where they are few.
    #[arg(long)]
    by_service: bool,
    /// Write a page with the plots of both on each other.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For a person.
    Text,
    /// For a program.
    Json,
    /// Markdown, for the summary of a job or a comment.
    Github,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    let gates: Vec<Gate> = args
        .gates
        .iter()
        .map(|text| {
            Gate::parse(text).map_err(|error| {
                let names = "the names are those of the summary in docs/replay.md, and the short ones of docs/compare.md";
                Failure::new(Exit::Input, "cannot use a gate", &error).hint(names)
            })
        })
        .collect::<Result<_, Failure>>()?;
    let sides = [Side::read(&args.a, args)?, Side::read(&args.b, args)?];
    let bar = terminal.progress(Some(0));
    let Compared { comparison, a, b } = compared(&sides, &gates, &bar, terminal)?;
    if let Some(path) = &args.report {
        write_file(path, &report::comparison_page(&comparison, &a, &b))?;
    }
    let style = Style { colour: terminal.has_colors, width: terminal.width() };
    terminal.print(&match args.output {
        Form::Text => report::comparison(&comparison, args.by_service, style),
        Form::Json => serde_json::to_string_pretty(&comparison).expect("every key is text") + "\n",
        Form::Github => report::comparison_markdown(&comparison, args.by_service),
    })?;
    if let Some(path) = &args.report {
        terminal.remark(&format!("report: {}\n", path.display()));
    }
    policies_decided([("A", &a), ("B", &b)])?;
    if comparison.has_passed() { Ok(()) } else { Err(Failure::of_checks()) }
}

/// The requests of a journal.
pub(super) struct Recording {
    pub(super) recorded: Arc<Recorded>,
    /// The journal, as it was named.
    pub(super) shown: String,
}

/// Runs the requests of a journal twice: with `chain`, which decided then, and with what `other` names in its place.
pub(super) fn recorded(
    then: &Recording,
    chain: PoliciesDefinition,
    other: &str,
    world: &World,
    output: Output,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let (changed, theirs) = named_over(other, world, None, chain.clone())?;
    let of = |name, world, chain| Side { name, load: Offered::Recorded(then, world), chain };
    let sides = [of("then", world.clone(), chain), of(other, changed, theirs)];
    let bar = terminal.progress(Some(0));
    let compared = compared(&sides, &[], &bar, terminal)?;
    let style = Style { colour: terminal.has_colors, width: terminal.width() };
    terminal.print(&match output {
        Output::Text => report::comparison(&compared.comparison, false, style),
        Output::Json => {
            let text = serde_json::to_string_pretty(&compared.comparison);
            text.expect("every key is text") + "\n"
        }
    })?;
    policies_decided([("A", &compared.a), ("B", &compared.b)])
}

/// Where a side's load is from.
enum Offered<'a> {
    Files(Inputs),
    /// A journal, with what is said of the world beside what that says itself.
    Recorded(&'a Recording, World),
}

/// One of the two, as its arguments have it.
struct Side<'a> {
    name: &'a str,
    load: Offered<'a>,
    chain: PoliciesDefinition,
}

/// Both runs, and how they differ.
struct Compared {
    comparison: Comparison,
    a: Outcome,
    b: Outcome,
}

/// Runs both sides and looks at where they part.
fn compared(
    sides: &[Side<'_>; 2],
    gates: &[Gate],
    bar: &ProgressBar,
    terminal: &Terminal,
) -> Result<Compared, Failure> {
    let [a, b] = both(sides, |side| side.run(bar))?;
    bar.finish_and_clear();
    warn(&a.outcome, &b.outcome, terminal);
    services_are_there(gates, &a.outcome)?;

    let parting = match a.trail.parting(&b.trail) {
        None => None,
        Some((at, target)) => {
            let bar = terminal.progress(None);
            bar.set_message("looking at where they part");
            let [one, other] = both(sides, |side| side.stand(at, target))?;
            bar.finish_and_clear();
            Some(Parting::of(Time(a.outcome.setup.start_ms), at, one, other))
        }
    };
    let comparison =
        Comparison::of([(sides[0].name, &a.outcome), (sides[1].name, &b.outcome)], parting, gates);
    Ok(Compared { comparison, a: a.outcome, b: b.outcome })
}

/// What a side's run came to.
struct Ran {
    outcome: Outcome,
    trail: Trail,
}

/// Does the same for both sides at once, each in a thread of its own: neither hears of the other.
fn both<T: Send>(
    [a, b]: &[Side<'_>; 2],
    what: impl Fn(&Side<'_>) -> Result<T, Failure> + Sync,
) -> Result<[T; 2], Failure> {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| what(b));
        let one = what(a);
        let joined = |thread: ScopedJoinHandle<'_, Result<T, Failure>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let other = joined(other);
        Ok([one?, other?])
    })
}

/// What a part of a side's name stands for.
enum Part {
    Profile,
    Policies,
    Component(PolicyRef),
}

/// What `name` changes of `world`, and the chain of policies that this comes to.
pub(super) fn named(
    name: &str,
    world: &World,
    stage: Option<&str>,
) -> Result<(World, PoliciesDefinition), Failure> {
    let chain = inputs::chain(world)?;
    named_over(name, world, stage, chain)
}

/// The same where `chain` stands if the name has no policies file.
fn named_over(
    name: &str,
    world: &World,
    stage: Option<&str>,
    chain: PoliciesDefinition,
) -> Result<(World, PoliciesDefinition), Failure> {
    let mut world = world.clone();
    let mut components = Vec::new();
    let (mut has_profile, mut has_policies) = (false, false);
    let twice = |what: &str| {
        Failure::plain(Exit::Input, format!("{name} names {what} twice"))
            .hint("a profile, a policies file and components may stand beside each other, the first two once each")
    };
    for part in name.split(',').map(str::trim) {
        match kind(part)? {
            Part::Profile if has_profile => return Err(twice("a profile")),
            Part::Policies if has_policies => return Err(twice("a policies file")),
            Part::Profile => {
                has_profile = true;
                part.clone_into(&mut world.profile);
            }
            Part::Policies => {
                has_policies = true;
                world.policies = Some(PathBuf::from(part));
            }
            Part::Component(policy) => components.push(policy),
        }
    }
    let mut chain = if has_policies { inputs::chain(&world)? } else { chain };
    for policy in components {
        put_in_place(&mut chain, policy, stage)?;
    }
    Ok((world, chain))
}

impl<'a> Side<'a> {
    fn read(name: &'a str, args: &Args) -> Result<Side<'a>, Failure> {
        let (world, chain) = named(name, &args.world, args.stage.as_deref())?;
        let load = Offered::Files(Inputs { traces: args.traces.clone(), world });
        Ok(Side { name, load, chain })
    }

    fn replay(&self) -> Result<Replay, Failure> {
        let setting = match &self.load {
            Offered::Files(inputs) => inputs::read(inputs)?,
            Offered::Recorded(then, world) => journal::setting(then, world)?,
        };
        let policies: Policies = policies::load(&self.chain)?;
        Replay::new(setting, policies).map_err(|error| self.cannot(&error))
    }

    fn cannot(&self, error: &ReplayError) -> Failure {
        let traces: Vec<String> = match &self.load {
            Offered::Files(inputs) => {
                inputs.traces.iter().map(|path| path.display().to_string()).collect()
            }
            Offered::Recorded(then, _) => vec![then.shown.clone()],
        };
        inputs::cannot_replay(&format!("{} with {}", traces.join(", "), self.name), error)
    }

    /// Runs it to its end.
    fn run(&self, bar: &ProgressBar) -> Result<Ran, Failure> {
        let replay = self.replay()?;
        let start = replay.start();
        bar.inc_length(replay.load_ms() / 1_000);
        let mut trail = Trail::default();
        let mut told_s = 0;
        let mut watch = |_: &mut Engine, seen: &Observation, plan: &Plan| {
            let now_s = seen.at.since(start) / 1_000;
            if now_s > told_s {
                bar.inc(now_s - told_s);
                told_s = now_s;
            }
            trail.see(plan);
        };
        let ran = replay.run_watched(None, &mut watch);
        let (outcome, _) = ran.map_err(|error| self.cannot(&error))?;
        Ok(Ran { outcome, trail })
    }

    /// Runs it again until `at`, and tells what it planned for `target` then.
    fn stand(&self, at: Time, target: TargetId) -> Result<Stand, Failure> {
        let mut replay = self.replay()?;
        replay.end_after(at);
        replay.engine().watch(target);
        let mut stand = None;
        let mut watch = |engine: &mut Engine, _: &Observation, plan: &Plan| {
            if plan.at == at {
                // A moment may have several steps: what was planned for the target counts, be it before the last of them.
                let touches = touches(plan, target);
                if touches || stand.is_none() {
                    stand = Some(Stand::of(engine, at, target, Some(plan)));
                }
            }
        };
        let ran = replay.run_watched(None, &mut watch);
        let (_, mut engine) = ran.map_err(|error| self.cannot(&error))?;
        // It is over before that moment.
        Ok(stand.unwrap_or_else(|| Stand::of(&mut engine, at, target, None)))
    }
}

fn touches(plan: &Plan, target: TargetId) -> bool {
    let is_acted_on = |action: &Action| match action {
        Action::Start { replica, .. } | Action::Drain { replica } => replica.target == target,
        Action::Scale { target: scaled, .. } => *scaled == target,
    };
    plan.changes.iter().any(|change| change.target == target)
        || plan.actions.iter().any(is_acted_on)
}

/// What `part` of a side's name stands for, by its content.
fn kind(part: &str) -> Result<Part, Failure> {
    if let Some(name) = part.strip_prefix("builtin:") {
        let known: Vec<&str> = builtin::names().collect();
        if !known.contains(&name) {
            return Err(Failure::plain(Exit::Input, format!("no policy {name} is built in"))
                .hint(format!("there are {}", known.join(", "))));
        }
        return Ok(Part::Component(PolicyRef::Builtin(name.to_owned())));
    }
    if tidegate_settings::profile(part).is_some() || !Path::new(part).exists() {
        // Where there is neither, who reads profiles says so, with the nearest name.
        return Ok(Part::Profile);
    }
    let mut begins = Vec::new();
    std::fs::File::open(part)
        .and_then(|file| file.take(1 << 20).read_to_end(&mut begins))
        .map_err(|error| Failure::new(Exit::Input, format!("cannot read {part}"), &error))?;
    if begins.starts_with(b"\0asm") {
        return Ok(Part::Component(PolicyRef::File(PathBuf::from(part))));
    }
    let is_policies = String::from_utf8_lossy(&begins).lines().any(|line| {
        let value = line.strip_prefix("kind:").map(|rest| rest.split('#').next().unwrap_or(rest));
        value.is_some_and(|value| value.trim().trim_matches(['"', '\'']) == "Policies")
    });
    Ok(if is_policies { Part::Policies } else { Part::Profile })
}

/// Puts a component in the place of a stage, whose name and settings stay.
fn put_in_place(
    chain: &mut PoliciesDefinition,
    policy: PolicyRef,
    stage: Option<&str>,
) -> Result<(), Failure> {
    if stage == Some(PLACEMENT) {
        chain.placement = policy;
        return Ok(());
    }
    let own = match &policy {
        PolicyRef::Builtin(name) => name.clone(),
        PolicyRef::File(path) => {
            path.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-")
        }
    };
    let named = |name: &str| chain.scaling.iter().position(|stage| stage.name == name);
    let at = match stage {
        None if !scales(&policy, &chain.limits.all) => {
            chain.placement = policy;
            return Ok(());
        }
        None => named(&own).unwrap_or(0),
        Some(name) => named(name).ok_or_else(|| {
            let names: Vec<&str> = chain.scaling.iter().map(|stage| stage.name.as_str()).collect();
            Failure::plain(Exit::Input, format!("there is no stage {name}"))
                .hint(format!("there are {} and {PLACEMENT}", names.join(", ")))
        })?,
    };
    chain.scaling[at].policy = policy;
    Ok(())
}

/// Whether a component scales. Of one that cannot be used, loading says why.
fn scales(policy: &PolicyRef, limits: &Limits) -> bool {
    let check = |bytes: &[u8]| load::scales(bytes, limits).unwrap_or(true);
    match policy {
        PolicyRef::Builtin(name) => builtin::builtin(name).is_none_or(check),
        PolicyRef::File(path) => std::fs::read(path).map_or(true, |bytes| check(&bytes)),
    }
}

/// Says what people should know of the input; what both have to say, once.
fn warn(a: &Outcome, b: &Outcome, terminal: &Terminal) {
    for warning in &a.warnings {
        let whose = if b.warnings.contains(warning) { "" } else { "A: " };
        terminal.remark(&format!("warning: {whose}{warning}\n"));
    }
    for warning in b.warnings.iter().filter(|warning| !a.warnings.contains(warning)) {
        terminal.remark(&format!("warning: B: {warning}\n"));
    }
}

/// Refuses gates over services that there are not.
fn services_are_there(gates: &[Gate], outcome: &Outcome) -> Result<(), Failure> {
    let names = || outcome.summary.services.keys().map(String::as_str);
    for gate in gates {
        let Some(service) = &gate.reading.service else { continue };
        if !outcome.summary.services.contains_key(service) {
            let what = format!("gate `{}`, column 1: there is no service {service}", gate.text);
            let hint = match tidegate_settings::nearest(service, names()) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("there are {}", names().take(8).collect::<Vec<_>>().join(", ")),
            };
            return Err(Failure::plain(Exit::Input, what).hint(hint));
        }
    }
    Ok(())
}

/// A run in which a policy gave no answer is no proof of that policy.
fn policies_decided(sides: [(&str, &Outcome); 2]) -> Result<(), Failure> {
    for (letter, outcome) in sides {
        let Some(first) = outcome.failures.iter().find(|failure| failure.instead != UNPLACED)
        else {
            continue;
        };
        let what = format!("{} of {letter} failed, first at {} s", first.stage, first.at_s);
        let cause = format!("{} (for {})", first.message, first.services.join(", "));
        return Err(Failure::plain(Exit::Policy, what).causes([cause]));
    }
    Ok(())
}
