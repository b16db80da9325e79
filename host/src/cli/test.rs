//! `tidegate test`: runs suites and prints what came of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::ValueEnum;

use super::failure::{Exit, Failure};
use super::output::Terminal;
use super::suites::{Chosen, Maker};
use crate::definitions::suite::{CaseDefinition, SuiteDefinition};
use crate::report::Style;
use crate::suite::{self, Fault, Options, Report, Update, print};

pub(super) const EXAMPLES: &str = "Examples:
  tidegate test                        every suite.yaml and *.suite.yaml below this folder
  tidegate test burst                  the cases with `burst` in their name
  tidegate test policies/suite.yaml --accept
  tidegate test --check -o junit > results.xml";

/// How often files are looked at while watching.
const POLL: Duration = Duration::from_millis(300);

/// What `tidegate test` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Suites (files or folders), and parts of names of cases; all below this folder if not given.
    #[arg(value_name = "SUITE|FILTER")]
    words: Vec<String>,
    /// Write nothing; orphaned snapshots fail too. Usual where CI is set.
    #[arg(long, conflicts_with = "accept")]
    check: bool,
    /// Take what cases come to as their snapshots.
    #[arg(long)]
    accept: bool,
    /// Cases that run at the same time; as many as there are processors if not given.
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    /// Run again whenever a file of a suite changes, until interrupted.
    #[arg(long, conflicts_with = "check")]
    watch: bool,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person.
    Text,
    /// For a program.
    Json,
    /// JUnit's XML, for CI systems.
    Junit,
    /// Annotations of GitHub Actions.
    Github,
    /// Test Anything Protocol.
    Tap,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    if !args.watch {
        return once(args, terminal).done;
    }
    loop {
        let Once { files, changed_at: before, done } = once(args, terminal);
        if let Err(failure) = done {
            terminal.say(&failure.render());
        }
        terminal.remark(&format!("watching {} files; ^C ends it\n", files.len()));
        while changed_at(&files) == before {
            std::thread::sleep(POLL);
        }
        terminal.say("\n");
    }
}

/// One run of everything.
struct Once {
    /// The files that it depends on.
    files: Vec<PathBuf>,
    /// When each of them was changed last before it began, so that a change in the middle of it is not missed.
    changed_at: Vec<Option<SystemTime>>,
    done: Result<(), Failure>,
}

/// Runs everything once.
fn once(args: &Args, terminal: &Terminal) -> Once {
    let ended = |files: Vec<PathBuf>, done| {
        let changed_at = changed_at(&files);
        Once { files, changed_at, done }
    };
    let chosen = match Chosen::of(&args.words) {
        Ok(chosen) => chosen,
        Err(failure) => return ended(Vec::new(), Err(failure)),
    };
    let mut files = chosen.suites.clone();
    let suites = match read(&chosen, terminal) {
        Ok(suites) => suites,
        Err(failure) => return ended(files, Err(failure)),
    };
    files.extend(suites.iter().flat_map(SuiteDefinition::files));
    files.sort();
    files.dedup();
    let before = ended(files, Ok(()));
    Once { done: tested(args, &chosen, &suites, terminal), ..before }
}

/// Reads the suites; what is wrong with any of them is told of all.
fn read(chosen: &Chosen, terminal: &Terminal) -> Result<Vec<SuiteDefinition>, Failure> {
    let mut suites = Vec::with_capacity(chosen.suites.len());
    let mut faults = Vec::new();
    for path in &chosen.suites {
        match SuiteDefinition::read(path) {
            Ok((suite, warnings)) => {
                for warning in warnings {
                    terminal.remark(&format!("warning: {warning}\n"));
                }
                suites.push(suite);
            }
            Err(error) => {
                let failure = Failure::new(Exit::Input, "", &error);
                faults.extend(failure.into_parts().1.into_iter().filter(|told| !told.is_empty()));
            }
        }
    }
    if faults.is_empty() {
        return Ok(suites);
    }
    let named = match chosen.suites.as_slice() {
        [one] => format!("cannot use the suite {}", one.display()),
        _ => "cannot use all suites".to_owned(),
    };
    Err(Failure::plain(Exit::Input, named).causes(faults))
}

fn tested(
    args: &Args,
    chosen: &Chosen,
    suites: &[SuiteDefinition],
    terminal: &Terminal,
) -> Result<(), Failure> {
    let update = match (args.accept, args.check || (is_ci() && !args.watch)) {
        (true, _) => Update::Accept,
        (false, true) => Update::Check,
        (false, false) => Update::Pending,
    };
    let is_chosen =
        |suite: &SuiteDefinition, case: &CaseDefinition| chosen.has(&suite.file, &case.name);
    let count = suites
        .iter()
        .flat_map(|suite| suite.cases.iter().map(move |case| (suite, case)))
        .filter(|(suite, case)| is_chosen(suite, case))
        .count();
    if count == 0 {
        let names = suites.iter().flat_map(|suite| &suite.cases).map(|case| case.name.as_str());
        return Err(chosen.nothing("case", names));
    }
    let maker = Maker::default();
    let bar = terminal.progress(Some(count as u64));
    let options = Options {
        update,
        jobs: args.jobs.map_or_else(
            || std::thread::available_parallelism().map_or(1, usize::from),
            usize::from,
        ),
        is_chosen: &is_chosen,
        make: &|case| maker.make(case),
        progress: &|name, done| {
            bar.set_position(done as u64);
            bar.set_message(name.to_owned());
        },
    };
    let report = suite::run(suites, &options);
    bar.finish_and_clear();
    for warning in warnings(&report) {
        terminal.remark(&format!("warning: {warning}\n"));
    }
    let style = Style { colour: terminal.has_colors, width: terminal.width() };
    terminal.print(&match args.output {
        Format::Text => print::text(&report, style, update),
        Format::Json => print::json(&report),
        Format::Junit => print::junit(&report),
        Format::Github => print::github(&report),
        Format::Tap => print::tap(&report),
    })?;
    match exit(&report, update) {
        None => Ok(()),
        Some(Exit::Check) => Err(Failure::of_checks()),
        Some(exit) => Err(Failure::told(exit)),
    }
}

/// What people should know, each once, with the first case that it came from.
fn warnings(report: &Report) -> Vec<String> {
    let mut known: Vec<&str> = Vec::new();
    let mut told = Vec::new();
    for suite in &report.suites {
        for case in &suite.cases {
            for warning in &case.warnings {
                if !known.contains(&warning.as_str()) {
                    known.push(warning);
                    told.push(format!("{}: {warning}", case.name));
                }
            }
        }
    }
    told
}

/// The exit code for what is gravest.
fn exit(report: &Report, update: Update) -> Option<Exit> {
    let cases = || report.suites.iter().flat_map(|suite| &suite.cases);
    let of_suites = report.suites.iter().filter_map(|suite| suite.broken.as_ref());
    let faults: Vec<Fault> = cases()
        .filter_map(|case| case.broken.as_ref())
        .chain(of_suites)
        .map(|one| one.by)
        .collect();
    if faults.contains(&Fault::Policy) || cases().any(|case| !case.failures.is_empty()) {
        return Some(Exit::Policy);
    }
    if faults.contains(&Fault::Environment) {
        return Some(Exit::Environment);
    }
    if faults.contains(&Fault::Input) {
        return Some(Exit::Input);
    }
    let tally = print::Tally::of(report);
    let is_failed = cases().any(|case| !case.passed())
        || tally.checks_failed > 0
        || (tally.orphans > 0 && update == Update::Check);
    is_failed.then_some(Exit::Check)
}

fn is_ci() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the edge: CI is a convention of CI systems")]
    let said = std::env::var("CI");
    said.is_ok_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// When each file was changed last; nothing for one that is not there.
fn changed_at(files: &[PathBuf]) -> Vec<Option<SystemTime>> {
    let of = |path: &Path| std::fs::metadata(path).and_then(|there| there.modified()).ok();
    files.iter().map(|path| of(path)).collect()
}
