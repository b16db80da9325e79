//! `tidegate policy`: the policies that decide live, what was swapped, and swapping them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::args::Output;
use super::failure::{Exit, Failure, printable};
use super::orders::{Asking, Port, print};
use super::output::Terminal;
use crate::status::{Health, PolicyStatus, Status, SwapOutcome, SwapStatus, short};
use crate::time::Time;

const LIST_EXAMPLES: &str = "Examples:
  tidegate policy list
  tidegate policy list -o json | jq '.[] | {stage, digest, health}'";
const SWAP_EXAMPLES: &str = "The new policies are read, checked, compiled and tried on the last steps; then they decide. What is not in order is refused, and
what decided before decides on: exit code 1.

Examples:
  tidegate policy swap                                (the file is read again)
  tidegate policy swap --policies next.yaml           (another one is followed from now on)";
const ROLLBACK_EXAMPLES: &str = "Example:
  tidegate policy rollback";
const HISTORY_EXAMPLES: &str = "Examples:
  tidegate policy history
  tidegate policy history -o json | jq '.[] | select(.outcome == \"refused\") | .fault'";

/// How often the status is asked whether a swap is over.
const LOOK: Duration = Duration::from_millis(250);
/// How often at most: two minutes.
const LOOKS: u32 = 480;
/// Who wants what is ordered through the admin port.
const BY: &str = "a person";

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Policy {
    /// List the policies that decide: digest, health, failures, and what a shadow would do otherwise.
    #[command(after_help = LIST_EXAMPLES)]
    List(Plain),
    /// Have the policies file read again, or another one, and wait for what comes of it.
    #[command(after_help = SWAP_EXAMPLES)]
    Swap(Swap),
    /// Have the policies before decide again.
    #[command(after_help = ROLLBACK_EXAMPLES)]
    Rollback(Plain),
    /// Tell what was swapped and refused since the start, a line an attempt.
    #[command(after_help = HISTORY_EXAMPLES)]
    History(Plain),
}

/// Arguments of what needs no more.
#[derive(Debug, clap::Args)]
pub(super) struct Plain {
    #[command(flatten)]
    port: Port,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Arguments of `tidegate policy swap`.
#[derive(Debug, clap::Args)]
pub(super) struct Swap {
    /// A policies file on the machine that `tidegate up` runs on, to be followed from now on; the one that is, if not given.
    #[arg(long, value_name = "FILE")]
    policies: Option<PathBuf>,
    #[command(flatten)]
    port: Port,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Runs one of them.
pub(super) fn run(command: &Policy, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        Policy::List(args) => {
            let status = args.port.open()?.status()?;
            match args.output {
                Output::Text => terminal.print(&printable(&list(&status))),
                Output::Json => document(&status.policies, terminal),
            }
        }
        Policy::Swap(args) => swap(args, terminal),
        Policy::Rollback(args) => {
            let what = "cannot go back";
            let given = args.port.open()?.order("/api/policy/rollback", &json!({}), what)?;
            print(&given, args.output, terminal)
        }
        Policy::History(args) => {
            let status = args.port.open()?.status()?;
            match args.output {
                Output::Text => terminal.print(&printable(&history(&status))),
                Output::Json => document(&status.swaps, terminal),
            }
        }
    }
}

fn document(what: &impl serde::Serialize, terminal: &Terminal) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(what).expect("a status is JSON");
    terminal.print(&format!("{text}\n"))
}

fn swap(args: &Swap, terminal: &Terminal) -> Result<(), Failure> {
    let asking = args.port.open()?;
    let before = last_number(&asking.status()?);
    let body = match &args.policies {
        None => json!({}),
        Some(path) => json!({ "policies": named(path) }),
    };
    asking.order("/api/policy/swap", &body, "cannot swap the policies")?;
    let bar = terminal.progress(None);
    bar.set_message("the new policies are checked and tried on recent steps");
    let came = wait(&asking, before);
    bar.finish_and_clear();
    let Some(came) = came? else {
        let what = "the new policies are still being looked at";
        let hint = "tidegate policy history tells what comes of it";
        return Err(Failure::plain(Exit::Environment, what).hint(hint));
    };
    match args.output {
        Output::Json => document(&came, terminal)?,
        Output::Text if came.outcome != SwapOutcome::Refused => {
            terminal.print(&printable(&(told(&came).join("\n") + "\n")))?;
        }
        Output::Text => {}
    }
    match (&came.fault, args.output) {
        (Some(_), Output::Json) => Err(Failure::of_checks()),
        (Some(fault), Output::Text) => {
            let what = "the policies are refused; what decided before decides on";
            let failure = Failure::plain(Exit::Check, what).causes([fault.text()]);
            Err(match &fault.hint {
                Some(hint) => failure.hint(hint.clone()),
                None => failure,
            })
        }
        (None, _) => Ok(()),
    }
}

/// A file as the program that is to read it finds it: it may run in another folder.
fn named(path: &Path) -> String {
    let whole = path.exists().then(|| std::path::absolute(path).ok()).flatten();
    whole.as_deref().unwrap_or(path).display().to_string()
}

fn last_number(status: &Status) -> u64 {
    status.swaps.last().map_or(0, |swap| swap.number)
}

/// What came of an attempt that a person wanted, after those up to `before`; `None`: it takes very long.
fn wait(asking: &Asking, before: u64) -> Result<Option<SwapStatus>, Failure> {
    for _ in 0..LOOKS {
        let status = asking.status()?;
        let mut new = status.swaps.into_iter().filter(|swap| swap.number > before);
        if let Some(came) = new.find(|swap| swap.by == BY) {
            return Ok(Some(came));
        }
        std::thread::sleep(LOOK);
    }
    Ok(None)
}

/// What came of an attempt that was not refused, a line each.
fn told(swap: &SwapStatus) -> Vec<String> {
    let to = short(swap.to.as_deref().unwrap_or_default());
    let first = match swap.outcome {
        SwapOutcome::Unchanged => format!("nothing is new: {to} decides already"),
        SwapOutcome::Swapped
        | SwapOutcome::WentBack
        | SwapOutcome::RolledBack
        | SwapOutcome::Refused => {
            let (differ, steps) = (swap.differences, swap.steps);
            format!("{to} decides, no longer {}", short(&swap.from))
                + &format!("; tried on {steps} steps before, {differ} decisions differ")
        }
    };
    std::iter::once(first).chain(swap.told.iter().map(|line| format!("  {line}"))).collect()
}

fn list(status: &Status) -> String {
    let rows = status.policies.iter().map(|policy| {
        let health = match policy.health {
            Health::Healthy => "healthy",
            Health::Failing => "failing",
            Health::Quarantined => "put aside",
        };
        [
            policy.stage.clone(),
            policy.source.clone(),
            short(&policy.digest).to_owned(),
            span(status.at.since(policy.since)),
            health.to_owned(),
            policy.failures.to_string(),
        ]
    });
    let head = ["STAGE", "SOURCE", "DIGEST", "DECIDES FOR", "HEALTH", "FAILURES"];
    let rows: Vec<[String; 6]> = rows.collect();
    let mut lines = table(head, &rows, &[5]).into_iter();
    let mut text = lines.next().unwrap_or_default() + "\n";
    for (policy, line) in status.policies.iter().zip(lines) {
        let _ = writeln!(text, "{line}");
        below(&mut text, policy);
    }
    text
}

/// What is said of a policy below its line.
fn below(text: &mut String, policy: &PolicyStatus) {
    if let Some(failure) = policy.last_failure.as_ref().filter(|_| policy.failures > 0) {
        let _ = writeln!(text, "  last failure ({}): {failure}", policy.on_failure);
    }
    if let Some(shadow) = &policy.shadow {
        let (source, digest) = (&shadow.source, short(&shadow.digest));
        let (differing, compared) = (shadow.differing, shadow.compared);
        let _ = write!(
            text,
            "  in its shadow: {source} {digest}, {differing} of {compared} decisions differ"
        );
        let last = shadow.last.as_ref().map_or(String::new(), |last| format!("; last: {last}"));
        let _ = writeln!(text, "{last}");
    }
}

fn history(status: &Status) -> String {
    if status.swaps.is_empty() {
        return "nothing was swapped since the start\n".to_owned();
    }
    let rows = status.swaps.iter().map(|swap| {
        let was_tried = swap.steps > 0;
        let differ = if was_tried {
            format!("{} of {}", swap.differences, swap.steps)
        } else {
            "–".into()
        };
        let to = swap.to.as_deref().map_or("–", short);
        let why = match &swap.fault {
            Some(fault) => fault.text(),
            None => swap.told.join("; "),
        };
        [
            clock(swap.at),
            swap.outcome.name().to_owned(),
            short(&swap.from).to_owned(),
            to.to_owned(),
            differ,
            swap.by.clone(),
            why,
        ]
    });
    let head = ["AT (UTC)", "OUTCOME", "FROM", "TO", "DIFFER", "BY", ""];
    let rows: Vec<[String; 7]> = rows.collect();
    table(head, &rows, &[4]).join("\n") + "\n"
}

/// Lines of columns as wide as they need; `right` are those that end alike.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], right: &[usize]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (column, cell) in cells.into_iter().enumerate() {
            let room = widths[column];
            let _ = match right.contains(&column) {
                true => write!(line, "{cell:>room$}  "),
                false => write!(line, "{cell:<room$}  "),
            };
        }
        line.trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(head)).chain(rows).collect()
}

fn clock(at: Time) -> String {
    jiff::Timestamp::from_millisecond(at.0 as i64)
        .map_or_else(|_| at.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// A span of time in one unit, rounded down.
fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..120 => format!("{s} s"),
        120..7_200 => format!("{} min", s / 60),
        7_200..172_800 => format!("{} h", s / 3_600),
        172_800.. => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn policies_are_listed_with_what_fails_and_what_a_shadow_would_do() {
        insta::assert_snapshot!(list(&sample::status()), @r"
        STAGE          SOURCE                   DIGEST        DECIDES FOR  HEALTH   FAILURES
        knative        builtin:knative          9f2c41d07be6  6 min        healthy         0
          in its shadow: policies/surge.wasm 5e5e11aa22bb, 7 of 100 decisions differ; last: llama-3-8b: 5 instead of 3
        scale-to-zero  policies/retention.wasm  17ab90c2d4e5  6 min        failing         2
          last failure (hold): out of fuel after 110000 instructions
        placement      builtin:affinity         c01dfe55a7b2  6 min        healthy         0
        ");
    }

    #[test]
    fn history_is_a_line_an_attempt_with_the_reason_of_a_refusal() {
        insta::assert_snapshot!(history(&sample::status()), @r"
        AT (UTC)             OUTCOME  FROM          TO              DIFFER  BY
        2025-10-09 08:47:00  swapped  77aa00bb11cc  17ab90c2d4e5  3 of 120  a changed file  stage surge is gone, with what it remembered
        2025-10-09 08:51:50  refused  17ab90c2d4e5  –                    –  a person        policies/next.yaml:7: surge.wasm imports wasi:cli/environment
        ");
        let none = Status { swaps: Vec::new(), ..sample::status() };
        assert_eq!(history(&none), "nothing was swapped since the start\n");
    }

    #[test]
    fn what_came_of_a_swap_is_told_in_words() {
        let swapped = sample::status().swaps.swap_remove(0);
        insta::assert_snapshot!(told(&swapped).join("\n"), @r"
        17ab90c2d4e5 decides, no longer 77aa00bb11cc; tried on 120 steps before, 3 decisions differ
          stage surge is gone, with what it remembered
        ");
        let same = SwapStatus { outcome: SwapOutcome::Unchanged, told: Vec::new(), ..swapped };
        insta::assert_snapshot!(told(&same).join("\n"), @"nothing is new: 17ab90c2d4e5 decides already");
    }
}
