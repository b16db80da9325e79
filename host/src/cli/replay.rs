//! `tidegate replay`: reads what the arguments name, runs it, and prints what came of it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::args::{self, Output};
use super::failure::{Exit, Failure};
use super::output::{Terminal, write_file};
use super::policies;
use crate::backend::sim::Faults;
use crate::definitions::Warning;
use crate::definitions::model::Catalogue;
use crate::definitions::node::Fleet;
use crate::definitions::policies::PoliciesDefinition;
use crate::definitions::profile::Profile;
use crate::definitions::service;
use crate::ledger::{FailureNote, Outcome, UNPLACED};
use crate::replay::{Replay, ReplayError, Setting};
use crate::report::{self, Style};
use crate::seed::Seed;
use crate::time::Time;
use crate::trace::Merged;

/// Longest `--until`. A century of virtual time is a slip of the finger.
const LONGEST_UNTIL_S: f64 = 100.0 * 365.0 * 86_400.0;

pub(super) fn run(args: &args::Replay, terminal: &Terminal) -> Result<(), Failure> {
    let setting = read(args)?;
    let chain = match &args.policies {
        Some(path) => PoliciesDefinition::read(path)
            .map_err(|error| Failure::new(Exit::Input, cannot_read("policies", path), &error))?,
        None => PoliciesDefinition::builtin(),
    };
    let chain = policies::load(&chain)?;
    let named = setting.traces.join(", ");
    let fails = |error: ReplayError| {
        let exit = match &error {
            ReplayError::Placement(_) => Exit::Policy,
            ReplayError::Bind(error) => policies::exit_of(error),
            ReplayError::LoadTwice { .. }
            | ReplayError::Limits(_)
            | ReplayError::Faults(_)
            | ReplayError::Load(_) => Exit::Input,
        };
        let faults = match &error {
            ReplayError::Bind(error) => policies::faults_of(error),
            _ => Vec::new(),
        };
        Failure::new(exit, format!("cannot replay {named}"), &error).causes(faults)
    };
    let replay = Replay::new(setting, chain).map_err(fails)?;
    for warning in replay.warnings() {
        terminal.remark(&format!("warning: {warning}\n"));
    }

    let mut journal = match &args.journal {
        None => None,
        Some(path) => {
            let file = File::create(path).map_err(|error| {
                Failure::new(Exit::Environment, format!("cannot write {}", path.display()), &error)
            })?;
            Some(BufWriter::new(file))
        }
    };
    let bar = terminal.progress(Some(replay.load_ms() / 1_000));
    let outcome = replay
        .run(journal.as_mut().map(|file| file as &mut dyn Write), &mut |at_ms| {
            bar.set_position(at_ms / 1_000);
        })
        .map_err(fails)?;
    bar.finish_and_clear();

    if let Some(path) = &args.report {
        write_file(path, &report::page(&outcome))?;
    }
    match args.output {
        Output::Json => terminal.print(&report::json(&outcome))?,
        Output::Text => terminal.print(&text(&outcome, args.all, terminal))?,
    }
    if let Some(path) = &args.report {
        terminal.remark(&format!("report: {}\n", path.display()));
    }
    policies_decided(&outcome)
}

/// A replay in which a policy gave no answer ran to its end, but it is no proof of that policy.
fn policies_decided(outcome: &Outcome) -> Result<(), Failure> {
    let failed: Vec<&FailureNote> =
        outcome.failures.iter().filter(|failure| failure.instead != UNPLACED).collect();
    let Some(first) = failed.first() else { return Ok(()) };
    let times: u64 = failed.iter().map(|failure| failure.times).sum();
    let what = format!("{} failed, {times} times in all policies together", first.stage);
    let cause = format!("{} (for {})", first.message, first.services.join(", "));
    let hint = format!("what was decided instead is above; the first time was at {} s", first.at_s);
    Err(Failure::plain(Exit::Policy, what).causes([cause]).hint(hint))
}

fn text(outcome: &Outcome, all: bool, terminal: &Terminal) -> String {
    let style = Style { colour: terminal.has_colors, width: terminal.width() };
    let limit = (!all).then_some(report::LINES);
    format!("{}\n{}", report::timeline(outcome, style, limit), report::summary(outcome, style))
}

/// Reads everything but the policies.
fn read(args: &args::Replay) -> Result<Setting, Failure> {
    let input = |what: String| {
        move |error: &(dyn std::error::Error + 'static)| Failure::new(Exit::Input, what, error)
    };
    let seed = Seed::new(&args.seed);
    let mut traces: Vec<String> =
        args.traces.iter().map(|path| path.display().to_string()).collect();
    // Their order means nothing, so it does not show.
    traces.sort();
    let load = Merged::open(&args.traces, &seed)
        .map_err(|error| input(format!("cannot replay {}", traces.join(", ")))(&error))?;
    let mut warnings = Vec::new();
    let catalogue = match &args.models {
        None => Catalogue::builtin(),
        Some(path) => told(
            Catalogue::read(path).map_err(|error| input(cannot_read("models", path))(&error))?,
            &mut warnings,
        ),
    };
    let services = match &args.services {
        None => Vec::new(),
        Some(path) => {
            let read = service::read(path, &catalogue)
                .map_err(|error| input(cannot_read("services", path))(&error))?;
            warnings.extend(read.warnings.iter().map(ToString::to_string));
            read.services
        }
    };
    let fleet = match &args.nodes {
        None => Fleet::builtin(),
        Some(path) => told(
            Fleet::read(path).map_err(|error| input(cannot_read("nodes", path))(&error))?,
            &mut warnings,
        ),
    };
    let profile = told(
        Profile::find(&args.profile)
            .map_err(|error| input(format!("cannot use the profile {}", args.profile))(&error))?,
        &mut warnings,
    );
    let faults = match &args.faults {
        None => Faults::default(),
        Some(path) => read_faults(path)?,
    };
    Ok(Setting {
        load: (&load).into(),
        traces,
        services,
        catalogue,
        fleet,
        profile,
        faults,
        seed: args.seed.clone(),
        start: start(args.start.as_deref())?,
        until_ms: until(args.until.as_deref())?,
        explains: true,
        warnings,
    })
}

/// What was read; what its author should know of it goes to `warnings`.
fn told<T>((read, noted): (T, Vec<Warning>), warnings: &mut Vec<String>) -> T {
    warnings.extend(noted.iter().map(ToString::to_string));
    read
}

fn cannot_read(what: &str, path: &Path) -> String {
    format!("cannot read the {what} in {}", path.display())
}

fn read_faults(path: &PathBuf) -> Result<Faults, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Exit::Input, cannot_read("faults", path), &error))?;
    serde_saphyr::from_str(&text)
        .map_err(|error| Failure::new(Exit::Input, cannot_read("faults", path), &error))
}

/// A moment as people write it: RFC 3339, a day, or a day with a time, in UTC where no offset is given.
fn start(text: Option<&str>) -> Result<Time, Failure> {
    let Some(text) = text else { return Ok(Time::TRACE_START) };
    let zoned = text.parse::<jiff::Timestamp>();
    let civil = || {
        let moment = text.parse::<jiff::civil::DateTime>()?;
        jiff::tz::TimeZone::UTC.to_timestamp(moment)
    };
    let at = zoned.or_else(|_| civil()).ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    at.map(Time).ok_or_else(|| {
        Failure::plain(
            Exit::Input,
            format!("--start is {text}, expected a time of day and year, 1970 or later"),
        )
        .hint("as 2024-01-01T00:00Z, or 2024-01-01 for its first moment in UTC")
    })
}

/// A duration as Kubernetes writes it. Milliseconds.
fn until(text: Option<&str>) -> Result<Option<u64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let seconds = tidegate_settings::parse_duration(text)
        .map(|nanos| nanos as f64 / tidegate_settings::NANOS_PER_SECOND as f64)
        .filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST_UNTIL_S);
    seconds.map(|seconds| Some((seconds * 1e3) as u64)).ok_or_else(|| {
        Failure::plain(Exit::Input, format!("--until is {text}, expected a duration above 0"))
            .hint("as 90m, 24h or 1h30m")
    })
}
