//! `tidegate trace export`: the requests of a live run's journal as a trace.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::sink::Sink;
use crate::again::recorded::recorded;
use crate::cli::args::Output;
use crate::cli::failure::{Exit, Failure};
use crate::cli::journal::tell_what_is_assumed;
use crate::cli::output::Terminal;
use crate::journal;
use crate::report::{clock, counted, grouped};
use crate::trace::Item;
use crate::trace::synth::Span;
use crate::trace::write::{Requests, WriteError};

pub(in crate::cli) const EXAMPLES: &str = "Examples:
  tidegate trace export journal/ -O yesterday.csv.gz --since 24h
  tidegate trace export journal/ | head";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The journal: the folder of a live run, or one of its segments.
    #[arg(value_name = "JOURNAL")]
    journal: PathBuf,
    /// Only requests that came so long before its end, or later. [default: all]
    #[arg(long, value_name = "DURATION")]
    since: Option<Span>,
    /// The file to write, gzip if it ends in .gz; stdout if not given.
    #[arg(short = 'O', long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How to say what was exported: on stderr for a person, or on stdout for a program.
    #[arg(short, long, value_enum, default_value_t = Output::Text, requires_if("json", "out"))]
    output: Output,
}

pub(in crate::cli) fn run(args: &Arguments, terminal: &Terminal) -> Result<(), Failure> {
    let what = format!("cannot export {}", args.journal.display());
    let found = journal::open(&args.journal)
        .map_err(|error| Failure::new(Exit::Input, what.clone(), &error))?;
    let bar = terminal.progress(None);
    bar.set_message("reading");
    let load = recorded(found, args.since.map(|since| since.us() / 1_000))
        .map_err(|error| Failure::new(Exit::Input, what.clone(), &error))?;
    bar.finish_and_clear();
    tell_what_is_assumed(&load, terminal);
    let mut sink = Sink::open(args.out.as_deref())?;
    let mut to = Requests::new(&mut sink);
    for item in &load.items {
        let Item::Arrival { at_us, service, work } = *item else { continue };
        match to.write(at_us, &load.services[service as usize], work) {
            Ok(()) => {}
            Err(WriteError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Failure::new(Exit::Environment, what, &error)),
        }
    }
    sink.finish()?;
    let start = jiff::Timestamp::from_millisecond(load.start.0 as i64).unwrap_or_default();
    match args.output {
        Output::Json => {
            let told = json!({
                "apiVersion": journal::API_VERSION,
                "kind": "TraceExport",
                "start": start.to_string(),
                "durationS": load.end_us as f64 / 1e6,
                "requests": load.items.len(),
                "services": load.services,
                "assumed": load.assumed,
                "leftOut": load.left_out,
                "gaps": load.gaps,
            });
            let text = serde_json::to_string_pretty(&told).expect("every key is text");
            terminal.print(&(text + "\n"))
        }
        Output::Text => {
            terminal.remark(&format!(
                "{} requests of {} over {}; its time 0 is {start}, which --start gives a replay\n",
                grouped(load.items.len() as u64),
                counted(load.services.len() as u64, "service"),
                clock(load.end_us as f64 / 1e6),
            ));
            Ok(())
        }
    }
}
