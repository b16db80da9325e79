//! `tidegate pin` and `tidegate unpin`, and what all commands that ask the admin port share.

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::args::Output;
use super::failure::{Exit, Failure};
use super::output::Terminal;
use crate::admin::client::{self, Address, ClientError, Given};
use crate::status::Status;

pub(super) const PIN_EXAMPLES: &str = "Examples:
  tidegate pin chat 2 --for 2h
  tidegate pin chat 0 --for 10m                       (it stays down, whoever asks)";

pub(super) const UNPIN_EXAMPLES: &str = "Example:
  tidegate unpin chat";

/// Where the admin port is.
#[derive(Debug, clap::Args)]
pub(super) struct Port {
    /// The admin port of the Tidegate that is meant; TIDEGATE_ADMIN_TOKEN has its token if it wants one.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9091")]
    admin: Address,
}

/// Somebody who may be asked.
pub(super) struct Asking {
    pub(super) address: Address,
    pub(super) runtime: Runtime,
}

impl Port {
    pub(super) fn open(&self) -> Result<Asking, Failure> {
        #[expect(clippy::disallowed_methods, reason = "the edge: a secret is no argument")]
        let token = std::env::var("TIDEGATE_ADMIN_TOKEN").ok().filter(|token| !token.is_empty());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Environment, "cannot start", &error))?;
        Ok(Asking { address: self.admin.clone().with_token(token), runtime })
    }
}

impl Asking {
    pub(super) fn status(&self) -> Result<Status, Failure> {
        self.runtime
            .block_on(client::fetch(&self.address))
            .map_err(|error| cannot("cannot get the status", &error))
    }

    /// Gives an order; `what` could not be done if that fails.
    pub(super) fn order(&self, path: &str, body: &Value, what: &str) -> Result<Given, Failure> {
        self.runtime
            .block_on(client::order(&self.address, path, body))
            .map_err(|error| cannot(what, &error))
    }
}

/// Why nothing came of asking, with what to do about it.
fn cannot(what: &str, error: &ClientError) -> Failure {
    let (exit, hint) = match error {
        ClientError::Connect { .. } => (
            Exit::Environment,
            Some("is tidegate up running? it says where its page is; --admin names that address"),
        ),
        // What an order names is not there, or is not well formed: the answer says it all.
        ClientError::Refused { status: 400 | 404, message, .. } => {
            return Failure::plain(Exit::Input, format!("{what}: {message}"));
        }
        ClientError::Refused { status: 409, message, .. } => {
            return Failure::plain(Exit::Check, format!("{what}: {message}"));
        }
        ClientError::Refused { status: 401, .. } => {
            (Exit::Environment, Some("put its token into TIDEGATE_ADMIN_TOKEN"))
        }
        ClientError::Refused { status: 503, .. } => (Exit::Environment, None),
        ClientError::Slow { .. }
        | ClientError::Broken { .. }
        | ClientError::Refused { .. }
        | ClientError::Unreadable { .. }
        | ClientError::Token => {
            (Exit::Environment, Some("is that the admin port of a tidegate of this version?"))
        }
    };
    let failure = Failure::new(exit, what, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Arguments of `tidegate pin`.
#[derive(Debug, clap::Args)]
pub(super) struct Pin {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// So many replicas, whatever policies want.
    #[arg(value_name = "REPLICAS")]
    replicas: u32,
    /// How long, from 1s to 720h: it ends by itself then.
    #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
    holds: String,
    #[command(flatten)]
    port: Port,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Arguments of `tidegate unpin`.
#[derive(Debug, clap::Args)]
pub(super) struct Unpin {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: String,
    #[command(flatten)]
    port: Port,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Pins a service.
pub(super) fn pin(args: &Pin, terminal: &Terminal) -> Result<(), Failure> {
    let body = json!({ "service": args.service, "replicas": args.replicas, "for": args.holds });
    let what = format!("cannot pin {}", args.service);
    let given = args.port.open()?.order("/api/pin", &body, &what)?;
    print(&given, args.output, terminal)
}

/// Lets policies decide about a service again.
pub(super) fn unpin(args: &Unpin, terminal: &Terminal) -> Result<(), Failure> {
    let body = json!({ "service": args.service });
    let what = format!("cannot unpin {}", args.service);
    let given = args.port.open()?.order("/api/unpin", &body, &what)?;
    print(&given, args.output, terminal)
}

/// Prints what came of an order.
pub(super) fn print(given: &Given, output: Output, terminal: &Terminal) -> Result<(), Failure> {
    let (word, text) = match given {
        Given::Done(text) => ("done", text),
        Given::UnderWay(text) => ("underWay", text),
    };
    match output {
        Output::Text => terminal.print(&format!("{}\n", super::failure::printable(text))),
        Output::Json => terminal.print(&format!("{}\n", json!({ word: text }))),
    }
}
