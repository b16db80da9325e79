//! `tidegate replay`: reads what the arguments name, runs it, and prints what came of it.

use std::fs::File;
use std::io::{BufWriter, Write};

use super::args::{self, Output};
use super::failure::{Exit, Failure};
use super::output::{Terminal, write_file};
use super::{inputs, journal};
use crate::journal::{SegmentWriter, is_journal};
use crate::ledger::{FailureNote, Outcome, UNPLACED};
use crate::replay::{Replay, ReplayError};
use crate::report::{self, Style};

pub(super) fn run(args: &args::Replay, terminal: &Terminal) -> Result<(), Failure> {
    if args.inputs.traces.iter().any(|path| is_journal(path)) {
        return journal::replay(args, terminal);
    }
    if args.policy.is_some() {
        return Err(Failure::plain(Exit::Input, "--policy is for a journal, and this is a trace")
            .hint("--policies says what decides, and `tidegate compare` runs a trace twice"));
    }
    let setting = inputs::read(&args.inputs)?;
    let chain = inputs::policies(&args.inputs.world)?;
    let named = setting.traces.join(", ");
    let fails = |error: ReplayError| inputs::cannot_replay(&named, &args.inputs.world, &error);
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
            let file = BufWriter::new(file);
            let framed = path.extension().is_some_and(|ending| ending == "tgj");
            Some(match framed {
                true => Box::new(SegmentWriter::new(file).map_err(|error| {
                    let what = format!("cannot write {}", path.display());
                    Failure::new(Exit::Environment, what, &error)
                })?) as Box<dyn Write>,
                false => Box::new(file),
            })
        }
    };
    let bar = terminal.progress(Some(replay.load_ms() / 1_000));
    let outcome = replay
        .run(journal.as_mut().map(|to| to.as_mut() as &mut dyn Write), &mut |at_ms| {
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
    let mut hint =
        format!("what was decided instead is above; the first time was at {} s", first.at_s);
    if first.message.contains(" of the fuel") || first.message.contains("its fuel of") {
        hint.push_str(
            "\nmore is allowed by `limits.fuel` and `limits.fuelPerTarget` of the policies file",
        );
    }
    Err(Failure::plain(Exit::Policy, what).causes([cause]).hint(hint))
}

fn text(outcome: &Outcome, all: bool, terminal: &Terminal) -> String {
    let style = Style { colour: terminal.has_colors, width: terminal.width() };
    let limit = (!all).then_some(report::LINES);
    format!("{}\n{}", report::timeline(outcome, style, limit), report::summary(outcome, style))
}
