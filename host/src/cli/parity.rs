//! `tidegate parity`: holds the policies to recordings of what Knative decided.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use owo_colors::OwoColorize as _;
use serde::Serialize;
use serde_json::Value;

use super::args::Output;
use super::failure::{Exit, Failure};
use super::output::Terminal;
use super::policies;
use crate::definitions::policies::PoliciesDefinition;
use crate::parity::{self, Held, HeldChain, Kind, PlayError, RowDifference};
use crate::report::grouped;
use crate::report::numbers::plain;

/// Shown below the help.
pub(super) const EXAMPLES: &str = "Examples:
  tidegate parity fixtures/kpa-golden
  tidegate parity step.scenario.jsonl step.golden.jsonl --native
  tidegate parity recordings/ --policies mine.yaml -o json | jq .isEqual";

/// How many faults of files are told.
const FAULTS_TOLD: usize = 20;

/// What to hold to what.
#[derive(Debug, clap::Args)]
pub(super) struct Parity {
    /// Recordings, plain or gzip; of a folder all that end in .jsonl or .jsonl.gz. docs/parity.md has the formats.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,
    /// Hold the policies linked into this program to them, not the sandboxed components.
    #[arg(long, conflicts_with = "policies")]
    native: bool,
    /// Hold this chain to them: its first stage must give the outputs of `knative`.
    #[arg(long, value_name = "FILE")]
    policies: Option<PathBuf>,
    /// What to print. With --quiet the text has only what differs, and the last line.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Plays everything and prints what came of it.
pub(super) fn run(args: &Parity, terminal: &Terminal) -> Result<(), Failure> {
    let bar = terminal.progress(None);
    let read = |path: &std::path::Path| bar.set_message(format!("reading {}", path.display()));
    let recordings = parity::read(&args.paths, read).map_err(|faults| cannot_read(&faults))?;
    bar.finish_and_clear();
    let (chain, against) = chain(args)?;
    let bar = terminal.progress(Some(recordings.len() as u64));
    let mut held = Vec::with_capacity(recordings.len());
    for recording in &recordings {
        bar.set_message(recording.name().to_owned());
        held.push(
            recording
                .hold(&chain)
                .map_err(|error| cannot_play(&error, args.policies.as_deref()))?,
        );
        bar.inc(1);
    }
    bar.finish_and_clear();
    let document = Document::of(against, held);
    terminal.print(&match args.output {
        Output::Text => document.render(terminal),
        Output::Json => serde_json::to_string_pretty(&document).expect("every key is text") + "\n",
    })?;
    if document.is_equal { Ok(()) } else { Err(Failure::of_checks()) }
}

/// The policies that are held to the recordings, and what to call them.
fn chain(args: &Parity) -> Result<(HeldChain, String), Failure> {
    if args.native {
        return Ok((HeldChain::native(), "native".to_owned()));
    }
    match &args.policies {
        None => Ok((policies::chain(&PoliciesDefinition::builtin())?, "sandboxed".to_owned())),
        Some(path) => {
            let shown = path.display().to_string();
            let definition = PoliciesDefinition::read(path).map_err(|error| {
                Failure::new(Exit::Input, format!("cannot read the policies in {shown}"), &error)
            })?;
            Ok((policies::chain(&definition)?, shown))
        }
    }
}

fn cannot_read(faults: &[parity::ReadError]) -> Failure {
    let told = faults.iter().take(FAULTS_TOLD).map(|fault| {
        let mut text = fault.to_string();
        if let Some(source) = std::error::Error::source(fault) {
            let _ = write!(text, ": {source}");
        }
        text
    });
    let more = faults.len().saturating_sub(FAULTS_TOLD);
    let more = (more > 0).then(|| format!("and {more} more"));
    Failure::plain(Exit::Input, "cannot read the recordings").causes(told.chain(more))
}

fn cannot_play(error: &PlayError, file: Option<&std::path::Path>) -> Failure {
    let (exit, faults) = match error {
        PlayError::Bind { source, .. } => {
            (policies::exit_of(source), policies::faults_of(source, file))
        }
        PlayError::NoOutput { .. } => (Exit::Input, Vec::new()),
        PlayError::Failed { .. } => (Exit::Policy, Vec::new()),
    };
    Failure::new(exit, "cannot hold the policies to the recordings", error).causes(faults)
}

/// What `-o json` prints. `docs/parity.md` defines it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    api_version: &'static str,
    kind: &'static str,
    /// `native`, `sandboxed`, or the policies file.
    policies: String,
    is_equal: bool,
    totals: BTreeMap<Kind, Total>,
    recordings: Vec<Held>,
}

/// Recordings of a kind, together.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Total {
    recordings: u64,
    rows: u64,
    /// Recordings that differ.
    differing: u64,
}

impl Document {
    fn of(policies: String, recordings: Vec<Held>) -> Document {
        let mut totals: BTreeMap<Kind, Total> = BTreeMap::new();
        for held in &recordings {
            let total = totals.entry(held.kind).or_default();
            total.recordings += 1;
            total.rows += held.rows;
            total.differing += u64::from(held.differing > 0);
        }
        let is_equal = recordings.iter().all(|held| held.differing == 0);
        let (api_version, kind) = ("tidegate.dev/v1alpha1", "Parity");
        Document { api_version, kind, policies, is_equal, totals, recordings }
    }

    /// A line for each recording, what differs below it, and the counts.
    fn render(&self, terminal: &Terminal) -> String {
        let mut text = String::new();
        let widest = |width: fn(&Held) -> usize| self.recordings.iter().map(width).max();
        let kinds = widest(|held| held.kind.word().len()).unwrap_or(0);
        let names = widest(|held| plain(&held.name).chars().count()).unwrap_or(0);
        let rows = widest(|held| grouped(held.rows).len()).unwrap_or(0);
        for held in &self.recordings {
            if held.differing == 0 && terminal.is_quiet() {
                continue;
            }
            let word = match (held.differing == 0, terminal.has_colors) {
                (true, false) => "equal  ".to_owned(),
                (true, true) => "equal  ".green().to_string(),
                (false, false) => "differs".to_owned(),
                (false, true) => "differs".red().to_string(),
            };
            let _ = writeln!(
                text,
                "{word}  {:<kinds$}  {:<names$}  {:>rows$} {}",
                held.kind.word(),
                plain(&held.name),
                grouped(held.rows),
                noun(held.kind, held.rows),
            );
            if let Some(first) = &held.first {
                text += &row(held, first);
            }
        }
        text + &self.last_line()
    }

    fn last_line(&self) -> String {
        let of = |kinds: &[Kind]| {
            let totals = kinds.iter().filter_map(|kind| self.totals.get(kind));
            totals.fold((0, 0), |(recordings, rows), total| {
                (recordings + total.recordings, rows + total.rows)
            })
        };
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let mut parts = Vec::new();
        let (scenarios, rows) = of(&[Kind::Open, Kind::Closed, Kind::EndToEnd]);
        if scenarios > 0 {
            let (many, rows) = (grouped(scenarios), grouped(rows));
            parts.push(format!("{many} scenario{} ({rows} rows)", plural(scenarios)));
        }
        for (kind, name) in [
            (Kind::Settings, "settings case"),
            (Kind::RequestStats, "request-stat case"),
            (Kind::SampleSizes, "sample size"),
        ] {
            let (_, cases) = of(&[kind]);
            if cases > 0 {
                parts.push(format!("{} {name}{}", grouped(cases), plural(cases)));
            }
        }
        let differing: u64 = self.totals.values().map(|total| total.differing).sum();
        let outcome = match (differing, self.recordings.len()) {
            (0, _) => "all equal".to_owned(),
            (differing, all) => format!("{differing} of {all} recordings differ"),
        };
        format!("{outcome}: {}\n", parts.join(", "))
    }
}

fn noun(kind: Kind, rows: u64) -> &'static str {
    match (kind, rows == 1) {
        (Kind::Open | Kind::Closed | Kind::EndToEnd, true) => "row",
        (Kind::Open | Kind::Closed | Kind::EndToEnd, false) => "rows",
        (Kind::Settings | Kind::RequestStats | Kind::SampleSizes, true) => "case",
        (Kind::Settings | Kind::RequestStats | Kind::SampleSizes, false) => "cases",
    }
}

/// The first row that differs, with both sides' numbers.
fn row(held: &Held, first: &RowDifference) -> String {
    let RowDifference { file, line, at, fields } = first;
    let mut text = format!("         {}:{line}: {}", plain(file), plain(at));
    if held.differing > 1 {
        let _ = write!(text, ", the first of {}", grouped(held.differing));
    }
    text.push('\n');
    let names = fields.iter().map(|field| field.field.chars().count()).max().unwrap_or(0);
    let ours = fields.iter().map(|field| shown(&field.ours).chars().count()).max().unwrap_or(0);
    for field in fields {
        let _ = writeln!(
            text,
            "         {:<names$}  {:<ours$}  Knative {}",
            field.field,
            shown(&field.ours),
            shown(&field.theirs),
        );
    }
    text
}

/// A value as people read it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "no data".to_owned(),
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}
