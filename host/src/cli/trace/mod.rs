//! `tidegate trace`.

pub(super) mod convert;
pub(super) mod export;
pub(super) mod play;
mod sink;
pub(super) mod synth;

use std::path::PathBuf;

use super::args::Output;
use super::failure::{Exit, Failure};
use super::output::Terminal;
use crate::seed::Seed;
use crate::trace::stat;

/// `tidegate trace stat`: what traces hold.
pub(super) fn stat(
    traces: &[PathBuf],
    seed: &str,
    output: Output,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let names: Vec<String> = traces.iter().map(|path| path.display().to_string()).collect();
    let bar = terminal.progress(None);
    bar.set_message("reading");
    let stat = stat::of(traces, &Seed::new(seed)).map_err(|error| {
        Failure::new(Exit::Input, format!("cannot sum up {}", names.join(", ")), &error)
    })?;
    bar.finish_and_clear();
    terminal.print(&match output {
        Output::Text => stat.render(terminal.width()),
        Output::Json => serde_json::to_string_pretty(&stat).expect("every key is text") + "\n",
    })
}
