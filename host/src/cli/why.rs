//! `tidegate why`: replays, or decides a journal again, until a moment, and tells what stands behind a service's replicas then.

use std::path::{Path, PathBuf};

use super::args::{Inputs, Output, World};
use super::failure::{Exit, Failure};
use super::inputs;
use super::journal::Opened;
use super::output::Terminal;
use crate::again::{Decider, Taken};
use crate::engine::{Engine, Observation, Plan, TargetId};
use crate::replay::Replay;
use crate::report::{self, Style};
use crate::time::Time;
use crate::why::{Watcher, Why};

pub(super) const EXAMPLES: &str = "Examples:
  tidegate why chat --at 0:14:24 load.csv.gz --services isvc.yaml
  tidegate why chat --at 2024-01-01T08:30Z load.csv.gz --profile knative -o json
  tidegate why chat --from 0:10:00 --to 0:20:00 load.csv.gz
  tidegate why chat --at 864s --journal run.jsonl";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose replicas.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// When: since the start, as 0:14:24 or 864s, or by the calendar, as 2024-01-01T08:30Z.
    #[arg(long, value_name = "TIME", required_unless_present = "to", conflicts_with = "to")]
    at: Option<String>,
    /// List the changes from then on.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until then, and tell what stands behind the last of them.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Recorded load, as for `tidegate replay`.
    #[arg(required_unless_present = "journal", conflicts_with = "journal", value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// Decide this journal again instead: a file that `tidegate replay --journal` wrote, or the folder of a live run; of the other
    /// inputs only --policies counts, for its components.
    #[arg(long, value_name = "JOURNAL")]
    journal: Option<PathBuf>,
    #[command(flatten)]
    world: World,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    let why = match &args.journal {
        None => of_replay(args, terminal)?,
        Some(path) => of_journal(args, path, terminal)?,
    };
    let style = Style { colour: terminal.has_colors, width: terminal.width() };
    terminal.print(&match args.output {
        Output::Text => report::why(&why, args.from.is_some(), style),
        Output::Json => serde_json::to_string_pretty(&why).expect("every key is text") + "\n",
    })
}

fn of_replay(args: &Args, terminal: &Terminal) -> Result<Why, Failure> {
    let inputs = Inputs { traces: args.traces.clone(), world: args.world.clone() };
    let setting = inputs::read(&inputs)?;
    let start = setting.start;
    let (from, to) = span(args, start)?;
    let named = setting.traces.join(", ");
    let chain = inputs::policies(&inputs.world)?;
    let fails = |error| inputs::cannot_replay(&named, &args.world, &error);
    let mut replay = Replay::new(setting, chain).map_err(fails)?;
    for warning in replay.warnings() {
        terminal.remark(&format!("warning: {warning}\n"));
    }
    replay.end_after(to);
    let target = target(replay.engine(), &args.service)?;
    let mut watcher = Watcher::new(replay.engine(), target, start, from, to);
    let bar = terminal.progress(Some(to.since(start).min(replay.load_ms()) / 1_000));
    let mut watch = |engine: &mut Engine, seen: &Observation, plan: &Plan| {
        bar.set_position(seen.at.since(start) / 1_000);
        watcher.see(engine, plan);
    };
    let (_, mut engine) = replay.run_watched(None, &mut watch).map_err(fails)?;
    bar.finish_and_clear();
    Ok(watcher.finish(&mut engine))
}

fn of_journal(args: &Args, path: &Path, terminal: &Terminal) -> Result<Why, Failure> {
    let mut opened = Opened::new(path, &args.world)?;
    let mut decider = Decider::default();
    let mut watching: Option<(Watcher, Time)> = None;
    let (mut otherwise, mut lacks, mut nth) = (None, None, 0u64);
    let bar = terminal.progress(None);
    let mut until = Time::NEVER;
    while let Some(taken) = opened.next(&mut decider, until)? {
        match taken {
            // Where another engine takes over it is watched, under whatever number it has the target.
            Taken::Begin { begin, is_whole } => {
                let engine = decider.engine().expect("it was just made");
                let target = target(engine, &args.service)?;
                match &mut watching {
                    Some((watcher, _)) => {
                        lacks = lacks.or((!is_whole).then_some(begin.at));
                        watcher.follow(engine, target);
                    }
                    None => {
                        let start = begin.at;
                        let (from, to) = span(args, start)?;
                        let watcher = Watcher::new(engine, target, start, from, to);
                        (watching, until) = (Some((watcher, start)), to);
                    }
                }
            }
            Taken::Step { step, plan, is_same } => {
                nth += 1;
                let (watcher, start) = watching.as_mut().expect("a step has an engine");
                bar.set_message(format!("step {nth}"));
                if !is_same && otherwise.is_none() {
                    otherwise = Some((nth, step.seen.at.since(*start)));
                }
                watcher.see(decider.engine().expect("it decided"), &plan);
            }
            Taken::Undecided(_) => nth += 1,
            Taken::Segment(_)
            | Taken::GoesOn
            | Taken::Requests(_)
            | Taken::Note(_)
            | Taken::Torn(_) => {}
        }
    }
    bar.finish_and_clear();
    let nothing = || {
        let what = format!("cannot tell anything from the journal {}", path.display());
        Failure::plain(Exit::Input, what).hint("what an engine knew at that moment is lost")
    };
    let (watcher, start) = watching.ok_or_else(nothing)?;
    if let Some((nth, ms)) = otherwise {
        terminal.remark(&format!(
            "warning: step {nth} of the journal, {} s after its start, is planned otherwise now although the components are the same: what is told is what would be decided now\n",
            ms as f64 / 1e3
        ));
    }
    if let Some(at) = lacks {
        terminal.remark(&format!(
            "warning: the journal lacks entries until {} s after its start: what changed in between is not told\n",
            at.since(start) as f64 / 1e3
        ));
    }
    Ok(watcher.finish(decider.engine().ok_or_else(nothing)?))
}

fn target(engine: &Engine, name: &str) -> Result<TargetId, Failure> {
    engine.target_named(name).ok_or_else(|| {
        let names: Vec<String> = engine.specs().map(|spec| spec.name.to_string()).collect();
        let of_service = engine.specs().filter(|spec| spec.name.service == name);
        let pools: Vec<String> = of_service.map(|spec| spec.name.to_string()).collect();
        if !pools.is_empty() {
            let what =
                format!("{name} stands on {} pools, each of which is decided about", pools.len());
            return Failure::plain(Exit::Input, what)
                .hint(format!("name one: {}", pools.join(", ")));
        }
        let nearest = tidegate_settings::nearest(name, names.iter().map(String::as_str));
        let hint = match nearest {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("there are {}", first_few(&names)),
        };
        Failure::plain(Exit::Input, format!("there is no service {name}")).hint(hint)
    })
}

/// The first few of some names.
fn first_few(names: &[String]) -> String {
    let told = names.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 8 { format!("{told} and {} more", names.len() - 8) } else { told }
}

/// From when on changes are listed, and until when is looked.
fn span(args: &Args, start: Time) -> Result<(Time, Time), Failure> {
    let read = |name: &str, text: &Option<String>| {
        text.as_ref().map(|text| moment(name, text, start)).transpose()
    };
    let to = read("--at", &args.at)?.or(read("--to", &args.to)?);
    let to = to.expect("clap asks for one of the two");
    let from = read("--from", &args.from)?.unwrap_or(Time::NEVER);
    if args.from.is_some() && from > to {
        let what = "--from is later than the moment until which is looked";
        return Err(Failure::plain(Exit::Input, what));
    }
    Ok((from, to))
}

/// A moment of a run: `h:mm:ss` or a duration since its start, or a time of the calendar.
fn moment(name: &str, text: &str, start: Time) -> Result<Time, Failure> {
    let since = |ms: f64| start + ms.round() as u64;
    if let Some(seconds) = clock_s(text) {
        return Ok(since(seconds * 1e3));
    }
    let duration = tidegate_settings::parse_duration(text).filter(|&nanos| nanos >= 0);
    if let Some(nanos) = duration {
        return Ok(since(nanos as f64 / 1e6));
    }
    let wrong = |why: &str| {
        Failure::plain(Exit::Input, format!("{name} is {text}, {why}"))
            .hint("as 0:14:24 or 864s since the start, or 2024-01-01T08:30Z by the calendar")
    };
    match Time::of_calendar(text) {
        None => Err(wrong("expected a time")),
        Some(at) if at < start => Err(wrong("which is before the run begins")),
        Some(at) => Ok(at),
    }
}

/// `h:mm:ss`, with parts of a second or without. Seconds.
fn clock_s(text: &str) -> Option<f64> {
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if parts.next().is_some() || ![hours, minutes, seconds].into_iter().all(is_number) {
        return None;
    }
    let hours: u32 = hours.parse().ok()?;
    let minutes: u32 = minutes.parse().ok().filter(|minutes| *minutes < 60)?;
    let seconds: f64 = seconds.parse().ok().filter(|seconds| *seconds < 60.0)?;
    Some(f64::from(hours) * 3_600.0 + f64::from(minutes) * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let start = Time::TRACE_START;
        let since = |text| moment("--at", text, start).ok().map(|at| at.since(start));
        for (text, expected) in [
            ("0:14:24", Some(864_000)),
            ("26:00:00.5", Some(93_600_500)),
            ("864s", Some(864_000)),
            ("1h30m", Some(5_400_000)),
            ("0", Some(0)),
            ("2024-01-01T08:30Z", Some(30_600_000)),
            ("2024-01-01", Some(0)),
            ("2023-12-31", None),
            ("0:60:00", None),
            ("14:24", None),
            ("1:2:3:4", None),
            ("-5s", None),
            ("soon", None),
        ] {
            assert_eq!(since(text), expected, "{text}");
        }
    }
}
