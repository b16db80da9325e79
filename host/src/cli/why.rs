//! `tidegate why`: replays, or decides a journal again, until a moment, and tells what stands behind a service's replicas then.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::args::{Inputs, Output, World};
use super::failure::{Exit, Failure};
use super::output::Terminal;
use super::{inputs, policies};
use crate::definitions::policies::{PoliciesDefinition, PolicyRef, StageDefinition};
use crate::engine::{Engine, Observation, PLACEMENT, Plan, Stage, StagePolicy, TargetId};
use crate::journal::{self, Header};
use crate::policy::{builtin, digest_of};
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
    /// Decide this journal again instead, as `tidegate replay --journal` writes it; of the other inputs only --policies counts, for
    /// its components.
    #[arg(long, value_name = "FILE.jsonl")]
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
    let shown = path.display();
    let cannot_read = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Input, format!("cannot read the journal {shown}"), error)
    };
    let file = File::open(path).map_err(|error| cannot_read(&error))?;
    let (header, steps) =
        journal::read(BufReader::new(file)).map_err(|error| cannot_read(&error))?;
    let start = header.start;
    let (from, to) = span(args, start)?;
    let mut engine = engine_of(&header, &args.world)?;
    let targets = header.targets.iter().cloned().zip(header.counts.iter().copied()).collect();
    engine.add_counted_targets(start, targets).map_err(|error| {
        Failure::new(policies::exit_of(&error), format!("cannot decide {shown} again"), &error)
    })?;
    let target = target(&engine, &args.service)?;
    let mut watcher = Watcher::new(&mut engine, target, start, from, to);
    let bar = terminal.progress(None);
    let bytes = |plan: &Plan| serde_json::to_vec(plan).expect("a plan is written to memory");
    let mut otherwise = None;
    for (step, nth) in steps.zip(1u64..) {
        let step = step.map_err(|error| cannot_read(&error))?;
        if step.seen.at > to {
            break;
        }
        bar.set_message(format!("step {nth}"));
        let plan = engine.step(&step.seen);
        if otherwise.is_none() && bytes(&plan) != bytes(&step.plan) {
            otherwise = Some((nth, step.seen.at));
        }
        watcher.see(&mut engine, &plan);
    }
    bar.finish_and_clear();
    if let Some((nth, at)) = otherwise {
        terminal.remark(&format!(
            "warning: step {nth} of the journal, {} s after its start, is planned otherwise now although the components are the same: what is told is what would be decided now\n",
            at.since(start) as f64 / 1e3
        ));
    }
    Ok(watcher.finish(&mut engine))
}

/// An engine with the policies of a journal, found by their digests.
fn engine_of(header: &Header, world: &World) -> Result<Engine, Failure> {
    let given = world.policies.as_ref().map(|_| inputs::chain(world)).transpose()?;
    let mut known: Vec<(String, PolicyRef)> = builtin::names()
        .filter_map(|name| {
            let component = builtin::builtin(name)?;
            Some((digest_of(component), PolicyRef::Builtin(name.to_owned())))
        })
        .collect();
    let files = given.iter().flat_map(|chain| {
        chain.scaling.iter().map(|stage| &stage.policy).chain([&chain.placement])
    });
    for file in files {
        if let PolicyRef::File(path) = file {
            let bytes = std::fs::read(path).map_err(|error| {
                let what = format!("cannot read the policy {}", path.display());
                Failure::new(Exit::Input, what, &error)
            })?;
            known.push((digest_of(&bytes), file.clone()));
        }
    }
    let find = |stage: &str, digest: &str| {
        let found = known.iter().find(|(known, _)| known == digest);
        found.map(|(_, policy)| policy.clone()).ok_or_else(|| {
            Failure::plain(Exit::Input, format!("{stage} was decided by {digest}, which is not here"))
                .hint("it is no policy of this program's; name its component in a policies file and give that with --policies")
        })
    };
    let fallback = |policy: &StagePolicy| -> Result<Option<String>, Failure> {
        let Some(digest) = policy.fallback.as_ref().filter(|_| policy.stage != PLACEMENT) else {
            return Ok(None);
        };
        match find(&format!("the fallback of {}", policy.stage), digest)? {
            PolicyRef::Builtin(name) => Ok(Some(name)),
            PolicyRef::File(path) => Err(Failure::plain(
                Exit::Input,
                format!(
                    "the fallback of {} is {}, expected a built-in policy",
                    policy.stage,
                    path.display()
                ),
            )),
        }
    };
    let mut chain = PoliciesDefinition {
        limits: header.limits.clone().unwrap_or_default(),
        scaling: Vec::new(),
        ..PoliciesDefinition::builtin()
    };
    for policy in &header.policies {
        let reference = find(&policy.stage, &policy.digest)?;
        if policy.stage == PLACEMENT {
            chain.placement = reference;
            continue;
        }
        chain.scaling.push(StageDefinition {
            name: policy.stage.clone(),
            policy: reference,
            settings: serde_json::json!({}),
            on_failure: policy.on_failure,
            fallback: fallback(policy)?,
        });
    }
    let loaded = policies::load(&chain)?;
    let stages: Vec<Stage> = loaded.stages.into_iter().map(|(stage, _)| stage).collect();
    Engine::new(header.options.clone(), stages, loaded.placement.0, loaded.fallback).map_err(
        |error| {
            Failure::new(
                Exit::Policy,
                "the placement policy cannot say which columns it wants",
                &error,
            )
        },
    )
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
