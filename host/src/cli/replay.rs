//! `tidegate replay`: reads what the arguments name, runs it, and prints what came of it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::args::{self, Output};
use super::failure::{Exit, Failure};
use super::output::{Terminal, write_file};
use super::{compare, inputs, journal, policies, why};
use crate::definitions::policies::PoliciesDefinition;
use crate::journal::{SegmentWriter, is_journal};
use crate::ledger::{FailureNote, Outcome, UNPLACED};
use crate::replay::{Replay, ReplayError};
use crate::report::{self, Style};
use crate::time::Time;

pub(super) fn run(args: &args::Replay, terminal: &Terminal) -> Result<(), Failure> {
    if args.inputs.traces.iter().any(|path| is_journal(path)) {
        return journal::replay(args, terminal);
    }
    if args.policy.is_some() {
        return Err(Failure::plain(Exit::Input, "--policy is for a journal, and this is a trace")
            .hint("--policies says what decides, and `tidegate compare` runs a trace twice"));
    }
    let setting = inputs::read(&args.inputs)?;
    let chain = inputs::chain(&args.inputs.world)?;
    let swaps = swaps(&args.swaps, setting.start)?;
    let named = setting.traces.join(", ");
    let fails = |error: ReplayError| inputs::cannot_replay(&named, &args.inputs.world, &error);
    let mut replay = Replay::new(setting, policies::load(&chain)?).map_err(fails)?;
    for (at, file, chain) in &swaps {
        replay.swap(*at, file, policies::load(chain)?).map_err(fails)?;
    }
    // Where there are swaps, both runs that are compared say theirs.
    for warning in replay.warnings().iter().filter(|_| swaps.is_empty()) {
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
    let comparison = match swaps.as_slice() {
        [] => None,
        swaps => Some(compare::rehearsed(&args.inputs, &chain, swaps, terminal)?),
    };
    match (args.output, &comparison) {
        (Output::Json, None) => terminal.print(&report::json(&outcome))?,
        (Output::Json, Some(comparison)) => {
            let told = serde_json::json!({
                "apiVersion": outcome.api_version,
                "kind": "Rehearsal",
                "replay": outcome,
                "comparison": comparison,
            });
            let text = serde_json::to_string_pretty(&told).expect("every key is text");
            terminal.print(&(text + "\n"))?;
        }
        (Output::Text, None) => terminal.print(&text(&outcome, args.all, terminal))?,
        (Output::Text, Some(comparison)) => {
            let style = Style { colour: terminal.has_colors, width: terminal.width() };
            let limit = (!args.all).then_some(report::LINES);
            terminal.print(&format!(
                "{}\n{}\n{}",
                report::timeline(&outcome, style, limit),
                report::swaps(&outcome, style),
                report::comparison(comparison, false, style)
            ))?;
        }
    }
    if let Some(path) = &args.report {
        terminal.remark(&format!("report: {}\n", path.display()));
    }
    if outcome.swaps.len() < swaps.len() {
        let what = "the run was over before every swap could take place";
        return Err(Failure::plain(Exit::Input, what));
    }
    for swap in &outcome.swaps {
        if let Some(why) = &swap.refused {
            let what = format!("{} would be refused", swap.policies);
            return Err(Failure::plain(Exit::Policy, what).causes([why.clone()]));
        }
    }
    policies_decided(&outcome)
}

/// What `--swap` says: when, and what takes over.
pub(super) fn swaps(texts: &[String], start: Time) -> Result<Vec<compare::Swap>, Failure> {
    let read = |text: &String| {
        let Some((at, file)) = text.split_once('=') else {
            return Err(Failure::plain(Exit::Input, format!("--swap is {text}, expected AT=FILE"))
                .hint("as 0:10:00=next.yaml"));
        };
        let definition = PoliciesDefinition::read(Path::new(file)).map_err(|error| {
            Failure::new(Exit::Input, format!("cannot read the policies in {file}"), &error)
        })?;
        Ok((why::moment("--swap", at, start)?, file.to_owned(), definition))
    };
    let mut swaps: Vec<compare::Swap> = texts.iter().map(read).collect::<Result<_, _>>()?;
    swaps.sort_by_key(|(at, ..)| *at);
    Ok(swaps)
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
