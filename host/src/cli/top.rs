//! `tidegate top`: what is live, in a terminal.

use std::io::IsTerminal as _;

use super::args::Output;
use super::failure::{Exit, Failure};
use super::orders::Port;
use super::output::Terminal;
use crate::top::{plain, watch};

pub(super) const EXAMPLES: &str = "Keys: arrows mark a service, enter shows it with its replicas and decisions, esc goes back, q quits. Where stdout is no terminal
the status is printed once. -o json prints the document that the admin port gives at /api/status.

Examples:
  tidegate top
  tidegate top --admin http://127.0.0.1:9091 --once
  tidegate top -o json | jq '.services[] | {name, desired, ready, waiting}'";

/// Arguments of `tidegate top`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    port: Port,
    /// Print once, as text.
    #[arg(long)]
    once: bool,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Shows or prints the status.
pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    let asking = args.port.open()?;
    let status = asking.status()?;
    match args.output {
        Output::Json => {
            let text = serde_json::to_string_pretty(&status).expect("a status is JSON");
            terminal.print(&format!("{text}\n"))
        }
        Output::Text if args.once || !std::io::stdout().is_terminal() => {
            terminal.print(&plain(status, terminal.width() as u16))
        }
        Output::Text => watch(&asking.address, status, &asking.runtime)
            .map_err(|error| Failure::new(Exit::Environment, "cannot draw", &error)),
    }
}
