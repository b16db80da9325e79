//! `tidegate logs`: what replicas print.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::Output;
use super::failure::{Exit, Failure};
use super::output::Terminal;
use crate::backend::local::logs::{self, Follower, Line, ReplicaLog};
use crate::backend::local::state;

pub(super) const EXAMPLES: &str = "Examples:
  tidegate logs chat
  tidegate logs chat -f --tail 20
  tidegate logs chat --previous
  tidegate logs chat --replica 3 -o json | jq -r .text";

/// How often it is looked for more.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `tidegate logs`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service, or one of its pools as chat/spot.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Go on printing what comes, until you stop it.
    #[arg(short, long)]
    follow: bool,
    /// Of this replica alone.
    #[arg(long, value_name = "N")]
    replica: Option<u32>,
    /// Only the last lines.
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Of the last replica that is no more.
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,
    /// Print when each line was printed.
    #[arg(short, long)]
    timestamps: bool,
    /// The folder in which `tidegate up` keeps its books; below $XDG_STATE_HOME or ~/.local/state if not given.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// What to print: with json an object a line.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The state folder that was named, or the usual one.
pub(super) fn state_folder(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(folder) = named {
        return Ok(folder.to_owned());
    }
    let (state, home) = (std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"));
    state::default_folder(state.as_deref(), home.as_deref()).ok_or_else(|| {
        let what = "neither XDG_STATE_HOME nor HOME says where the state folder is";
        Failure::plain(Exit::Input, what).hint("name one with --state")
    })
}

/// A replica whose log is read.
struct Source {
    target: String,
    replica: u32,
    follower: Follower,
}

/// Prints the logs that the arguments ask for.
pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    let folder = state_folder(args.state.as_deref())?;
    // The books name their logs by whole paths.
    let folder = folder.canonicalize().unwrap_or(folder);
    let mut sources = BTreeMap::new();
    for (target, log) in chosen(args, &folder, terminal)? {
        add(&mut sources, target, &log);
    }
    let mut lines = read(&mut sources)?;
    if let Some(tail) = args.tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let mut has_many = sources.len() > 1;
    print(args, &lines, has_many, terminal)?;
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(LOOK);
        for (target, log) in of_service(&folder, &args.service) {
            if log.is_running && args.replica.is_none_or(|replica| replica == log.replica) {
                add(&mut sources, target, &log);
            }
        }
        has_many |= sources.len() > 1;
        let lines = read(&mut sources)?;
        print(args, &lines, has_many, terminal)?;
    }
}

fn add(sources: &mut BTreeMap<PathBuf, Source>, target: String, log: &ReplicaLog) {
    let source = || Source { target, replica: log.replica, follower: Follower::new(&log.path) };
    sources.entry(log.path.clone()).or_insert_with(source);
}

/// The logs of a service: of its own target, or of its pools.
fn of_service(folder: &Path, service: &str) -> Vec<(String, ReplicaLog)> {
    let of_service = |target: &String| {
        target.split_once('/').map_or(target.as_str(), |(name, _)| name) == service
    };
    let is_meant = |target: &String| target == service || of_service(target);
    let mut all: Vec<_> = logs::targets(folder)
        .into_iter()
        .filter(is_meant)
        .flat_map(|target| {
            let logs = logs::of_target(folder, &target);
            logs.into_iter().map(move |log| (target.clone(), log))
        })
        .collect();
    all.sort_by_key(|(_, log)| log.started_ms);
    all
}

fn chosen(
    args: &Args,
    folder: &Path,
    terminal: &Terminal,
) -> Result<Vec<(String, ReplicaLog)>, Failure> {
    let mut all = of_service(folder, &args.service);
    let service = &args.service;
    if all.is_empty() {
        let known = logs::targets(folder);
        let nearest = tidegate_settings::nearest(service, known.iter().map(String::as_str));
        let what =
            format!("no replica of {service} has printed anything into {}", folder.display());
        let hint = match (nearest, known.is_empty()) {
            (Some(nearest), _) => format!("did you mean {nearest}?"),
            (None, false) => format!("there are logs of {}", known.join(", ")),
            (None, true) => {
                "does tidegate up keep its books elsewhere? name the folder with --state".to_owned()
            }
        };
        return Err(Failure::plain(Exit::Input, what).hint(hint));
    }
    if let Some(replica) = args.replica {
        let known: Vec<String> = all.iter().map(|(_, log)| log.replica.to_string()).collect();
        all.retain(|(_, log)| log.replica == replica);
        if all.is_empty() {
            let what = format!("there is no log of replica {replica} of {service}");
            let hint = format!("there are those of replicas {}", known.join(", "));
            return Err(Failure::plain(Exit::Input, what).hint(hint));
        }
    }
    let (running, mut ended): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, log)| log.is_running);
    if args.previous {
        let last = ended.pop().ok_or_else(|| {
            Failure::plain(Exit::Input, format!("no replica of {service} has ended yet"))
        })?;
        return Ok(vec![last]);
    }
    if running.is_empty() && !args.follow {
        let last = ended.pop().expect("there is one at least, and none runs");
        terminal.remark(&format!(
            "no replica of {service} runs; this is what the last one printed, #{}\n",
            last.1.replica
        ));
        return Ok(vec![last]);
    }
    Ok(running)
}

/// What there is to read, in the order of time.
fn read(sources: &mut BTreeMap<PathBuf, Source>) -> Result<Vec<(String, u32, Line)>, Failure> {
    let mut lines = Vec::new();
    for (path, source) in sources {
        let read = source.follower.read().map_err(|error| {
            Failure::new(Exit::Environment, format!("cannot read {}", path.display()), &error)
        })?;
        lines.extend(read.into_iter().map(|line| (source.target.clone(), source.replica, line)));
    }
    lines.sort_by(|(_, _, one), (_, _, other)| one.time.cmp(&other.time));
    Ok(lines)
}

fn print(
    args: &Args,
    lines: &[(String, u32, Line)],
    has_many: bool,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let mut text = String::new();
    for (target, replica, line) in lines {
        match args.output {
            Output::Json => {
                let object = serde_json::json!({
                    "time": line.time,
                    "target": target,
                    "replica": replica,
                    "stream": line.stream.name(),
                    "text": line.text,
                });
                text.push_str(&object.to_string());
            }
            Output::Text => {
                if args.timestamps {
                    text.push_str(&line.time);
                    text.push(' ');
                }
                if has_many {
                    let pool = target.split_once('/').map_or("", |(_, pool)| pool);
                    let shown = logs::printable(&format!("{pool}#{replica} "));
                    let is_plain = !terminal.has_colors;
                    // One colour for each, by its number.
                    let colored = format!("\u{1b}[3{}m{shown}\u{1b}[0m", 1 + replica % 6);
                    text.push_str(if is_plain { &shown } else { &colored });
                }
                text.push_str(&line.text);
            }
        }
        text.push('\n');
    }
    if text.is_empty() { Ok(()) } else { terminal.print(&text) }
}
