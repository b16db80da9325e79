//! `tidegate up`: services on this machine, behind one address.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::failure::{Exit, Failure};
use super::inputs;
use super::output::Terminal;
use crate::live::{self, LiveError, Setting, Told};

pub(super) const EXAMPLES: &str = "Examples:
  tidegate up -f services.yaml
  tidegate up -f services.yaml --policies policies.yaml --listen 0.0.0.0:8080 --api-keys keys.txt
  tidegate up -f services.yaml --shadow other.yaml --dry-run";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Services: KServe InferenceService manifests whose containers have a command, or the short form. Changes are followed.
    #[arg(short = 'f', long = "services", required = true, value_name = "FILE")]
    services: Vec<PathBuf>,
    /// Cluster settings: knative, gpu, gpu-2021, or a file with Knative's keys. Changes to the file are followed.
    #[arg(long, default_value = "gpu", value_name = "NAME|FILE")]
    profile: String,
    /// The chain of policies and their settings; the three built-in ones if not given. Changes are followed.
    #[arg(long, value_name = "FILE")]
    policies: Option<PathBuf>,
    /// Policies that decide beside these without acting; where they differ is shown.
    #[arg(long, value_name = "FILE")]
    shadow: Option<PathBuf>,
    /// What there is to place on; this machine and the GPUs that its driver tells of if not given.
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    /// Models beside the built-in catalogue.
    #[arg(long, value_name = "FILE")]
    models: Option<PathBuf>,
    /// Where requests come in.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the page, the metrics and orders are. Off loopback it needs a token.
    #[arg(long, default_value = "127.0.0.1:9091", value_name = "ADDRESS")]
    admin: SocketAddr,
    /// The token that the admin port asks for, the only line of a file.
    #[arg(long, value_name = "FILE")]
    admin_token: Option<PathBuf>,
    /// Names by which the admin port may be called beside those of loopback.
    #[arg(long, value_name = "HOST")]
    admin_host: Vec<String>,
    /// Keys of which every request must show one as `Authorization: Bearer`, a line each.
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Do not look into requests for the model that they name.
    #[arg(long)]
    no_model_routing: bool,
    /// Keep event streams open with comments while their model loads; their status is then 200 before it is known.
    #[arg(long)]
    comments: bool,
    /// Where journal, logs and what runs are kept; a folder below the user's state if not given.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// How large the journal may grow, in MiB.
    #[arg(long, default_value_t = 1_024, value_name = "MIB")]
    journal_mib: u64,
    /// Decide and write down, but start and stop nothing.
    #[arg(long)]
    dry_run: bool,
    /// How long the end may take: requests that are in are answered first. Seconds.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    grace: u64,
    /// How what happens is told on stderr.
    #[arg(long, value_enum, default_value_t = Log::Text, value_name = "FORM")]
    log: Log,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Log {
    /// For a person.
    Text,
    /// A JSON document a line.
    Json,
}
