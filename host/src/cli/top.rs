//! `tidegate top`: what is live, in a terminal.

use std::io::IsTerminal as _;

use super::args::Output;
use super::failure::{Exit, Failure};
use super::output::Terminal;
use crate::top::{Address, FetchError, fetch, plain, watch};

pub(super) const EXAMPLES: &str = "Keys: arrows mark a service, enter shows it with its replicas and decisions, esc goes back, q quits. Where stdout is no terminal
the status is printed once. -o json prints the document that the admin port gives at /api/status.

Examples:
  tidegate top
  tidegate top --admin http://127.0.0.1:9091 --once
  tidegate top -o json | jq '.services[] | {name, desired, ready, waiting}'";

/// Arguments of `tidegate top`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The admin port of the Tidegate that is looked at; TIDEGATE_ADMIN_TOKEN has its token if it wants one.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9091")]
    admin: Address,
    /// Print once, as text.
    #[arg(long)]
    once: bool,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Shows or prints the status.
pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    #[expect(clippy::disallowed_methods, reason = "the edge: a secret is no argument")]
    let token = std::env::var("TIDEGATE_ADMIN_TOKEN").ok().filter(|token| !token.is_empty());
    let address = args.admin.clone().with_token(token);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Environment, "cannot start", &error))?;
    let status = runtime.block_on(fetch(&address)).map_err(|error| {
        let hint = match &error {
            FetchError::Connect { .. } => {
                "is tidegate up running there? --admin names another address"
            }
            FetchError::Refused { status: 401, .. } => "put its token into TIDEGATE_ADMIN_TOKEN",
            FetchError::Slow { .. }
            | FetchError::Broken { .. }
            | FetchError::Refused { .. }
            | FetchError::Unreadable { .. }
            | FetchError::Token => "is that the admin port of a tidegate of this version?",
        };
        Failure::new(Exit::Environment, "cannot get the status", &error).hint(hint)
    })?;
    match args.output {
        Output::Json => {
            let text = serde_json::to_string_pretty(&status).expect("a status is JSON");
            terminal.print(&format!("{text}\n"))
        }
        Output::Text if args.once || !std::io::stdout().is_terminal() => {
            terminal.print(&plain(status, terminal.width() as u16))
        }
        Output::Text => watch(&address, status, &runtime)
            .map_err(|error| Failure::new(Exit::Environment, "cannot draw", &error)),
    }
}
