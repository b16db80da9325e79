//! What can be said on the command line. Names, values and help; what they do is elsewhere.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{build, docs, inspect, new};

/// Scales GPU inference replicas with policies that are tested before they touch a GPU.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 good · 1 a check failed · 2 usage, configuration or input · 3 a policy trapped or overran · 4 environment · 130 interrupted"
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(super) color: Color,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Begin a policy: a project that builds, with its tests.
    #[command(after_help = "Example:\n  tidegate new surge --template stage")]
    New(new::New),
    /// Build a policy's component, and put it where its policies file expects it.
    #[command(after_help = "Example:\n  tidegate build surge")]
    Build(build::Build),
    /// Say what a component is, what it asks for, and what it gives.
    #[command(
        after_help = "Examples:\n  tidegate inspect surge.wasm\n  tidegate inspect builtin:knative -o json"
    )]
    Inspect(inspect::Inspect),
    /// Serve models on this machine behind one address: started on the first request, scaled by policies, stopped when idle.
    #[command(after_help = super::up::EXAMPLES)]
    Up(Box<super::up::Arguments>),
    /// Run a recorded load through policies, in virtual time.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(Box<Replay>),
    /// Run a recorded load through two profiles, policies or components, and tell where and how they differ.
    #[command(after_help = super::compare::EXAMPLES)]
    Compare(Box<super::compare::Args>),
    /// Tell what stands behind a service's replicas at a moment: inputs, figures, proposals, bounds, nodes.
    #[command(after_help = super::why::EXAMPLES)]
    Why(Box<super::why::Args>),
    /// Tell what is wrong with files before anything runs: settings, services, nodes, traces, policies.
    #[command(after_help = super::check::EXAMPLES)]
    Check(super::check::Check),
    /// Look at the built-in profiles.
    #[command(subcommand)]
    Profile(super::profile::Profiles),
    /// Look at recorded load, convert it, or make some.
    #[command(subcommand)]
    Trace(Trace),
    /// Run the cases of suites: replays and decisions, held to expectations, snapshots and the contract.
    #[command(after_help = super::test::EXAMPLES)]
    Test(super::test::Args),
    /// Look at each snapshot that waits, and accept or reject it.
    #[command(after_help = "Example:\n  tidegate review")]
    Review(super::review::Args),
    /// Accept snapshots that wait: all, or those of some cases.
    #[command(after_help = "Example:\n  tidegate accept burst")]
    Accept(super::review::Args),
    /// Reject snapshots that wait: all, or those of some cases.
    #[command(after_help = "Example:\n  tidegate reject burst")]
    Reject(super::review::Args),
    /// List the snapshots that wait.
    #[command(after_help = "Example:\n  tidegate pending -o json")]
    Pending(super::review::PendingArgs),
    /// Look for load and faults under which policies break a promise, and write the smallest as a case of a suite.
    #[command(after_help = super::fuzz::EXAMPLES)]
    Fuzz(Box<super::fuzz::Args>),
    /// Hold policies to recordings of what Knative's own code decided.
    #[command(after_help = super::parity::EXAMPLES)]
    Parity(super::parity::Parity),
    /// Print what the replicas of a service print, of those that run here or ran last.
    #[command(after_help = super::logs::EXAMPLES)]
    Logs(super::logs::Args),
    /// Measure what a decision costs on this machine: of the built-in policies, native against sandboxed, or of a policy of yours.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(Bench),
    /// Serve OpenAI's API without a model: made-up words, as slowly as a model would. For trying out.
    #[command(after_help = super::fake_model::EXAMPLES)]
    FakeModel(super::fake_model::Args),
    /// Show what is live: services, replicas, GPUs, policies, decisions.
    #[command(after_help = super::top::EXAMPLES)]
    Top(super::top::Args),
    /// Make a component of a core module that clang left.
    #[command(
        after_help = "Example:\n  tidegate componentize office_hours.core.wasm -O office_hours.wasm"
    )]
    Componentize(super::componentize::Componentize),
    /// Print a manual page, or write those of all commands into a folder.
    #[command(
        after_help = "Examples:\n  tidegate man | man -l -\n  tidegate man ~/.local/share/man/man1"
    )]
    Man(docs::Man),
    /// Print a reference page, generated from this program: its command line, or the contract of policies.
    #[command(
        after_help = "Examples:\n  tidegate docs contract\n  tidegate docs --write docs/reference"
    )]
    Docs(docs::Docs),
    /// Print a completion script for a shell.
    #[command(
        after_help = "Example:\n  tidegate completions bash > ~/.local/share/bash-completion/completions/tidegate"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the JSON schema of a document that the program writes.
    #[command(after_help = "Example:\n  tidegate schema replay > replay.schema.json")]
    Schema {
        /// Which document.
        document: Document,
    },
    /// Compile a component from stdin to stdout; the host runs this in a process with limits of its own.
    #[command(name = crate::policy::COMPILE_SUBCOMMAND, hide = true)]
    Compile,
    /// Become a command, once the process that started this one has written that down.
    #[command(name = crate::backend::local::process::EXEC_SUBCOMMAND, hide = true)]
    Exec {
        /// The process that started this one.
        parent: u32,
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Read process groups from stdin and end those that are left when it closes.
    #[command(name = crate::backend::local::process::REAP_SUBCOMMAND, hide = true)]
    Reap,
}

/// The profile where none is named.
pub(super) const PROFILE: &str = "gpu";

const REPLAY_EXAMPLES: &str = "Examples:
  tidegate replay load.csv.gz
  tidegate replay load.csv --services isvc.yaml --nodes nodes.yaml --profile knative
  tidegate replay load.csv --policies policies.yaml --report replay.html
  tidegate replay load.csv -o json | jq .summary.cost
  tidegate replay journal/                            (a journal is decided again, and held to its plans)
  tidegate replay journal/ --policy next.wasm         (what would have happened)";

/// What a replay is made of; every command that replays takes these.
#[derive(Clone, Debug, Args)]
pub(super) struct Inputs {
    /// Recorded load, CSV, plain or gzip; several are merged. Or one journal, a file or the folder of a live run.
    #[arg(required = true, value_name = "TRACE|JOURNAL")]
    pub(super) traces: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) world: World,
}

/// What a replay is made of beside its load.
#[derive(Clone, Debug, Args)]
pub(super) struct World {
    /// Cluster settings: knative, gpu, gpu-2021, or a file with Knative's keys (a pasted ConfigMap will do).
    #[arg(long, default_value = PROFILE, value_name = "NAME|FILE")]
    pub(super) profile: String,
    /// The chain of policies and their settings; the three built-in ones if not given.
    #[arg(long, value_name = "FILE")]
    pub(super) policies: Option<PathBuf>,
    /// Services: KServe InferenceService manifests, or the short form.
    #[arg(long, value_name = "FILE")]
    pub(super) services: Option<PathBuf>,
    /// Nodes: the own form, or openb's CSV; a fleet of three GPU classes if not given.
    #[arg(long, value_name = "FILE")]
    pub(super) nodes: Option<PathBuf>,
    /// Models beside the built-in catalogue.
    #[arg(long, value_name = "FILE")]
    pub(super) models: Option<PathBuf>,
    /// Failures to play: nodes lost, starts that fail.
    #[arg(long, value_name = "FILE")]
    pub(super) faults: Option<PathBuf>,
    /// Let idle replicas leave where requests wait for a service that finds no place, as `tidegate up` does.
    #[arg(long)]
    pub(super) make_room: bool,
    /// Any word: all randomness comes from it.
    #[arg(long, default_value = "tide", value_name = "WORD")]
    pub(super) seed: String,
    /// When the trace begins, as 2024-01-01T00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(super) start: Option<String>,
    /// Stop after that time, as 90m or 24h, whatever still runs.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) until: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    pub(super) inputs: Inputs,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
    /// Print every change, not only as many as one reads.
    #[arg(long)]
    pub(super) all: bool,
    /// Write a page with plots.
    #[arg(long, value_name = "FILE.html")]
    pub(super) report: Option<PathBuf>,
    /// Write down what was seen and planned, step by step: lines of JSON, or, in a file that ends in .tgj, compressed.
    #[arg(long, value_name = "FILE.jsonl|FILE.tgj")]
    pub(super) journal: Option<PathBuf>,
    /// Of a journal: what would have happened with this in place, a profile, a policies file or a component, as for `tidegate compare`;
    /// the recorded requests are simulated with both.
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) policy: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Trace {
    /// What a trace holds: requests, rates, bursts, tokens, services.
    #[command(after_help = "Example:\n  tidegate trace stat load.csv.gz")]
    Stat {
        /// Recorded load, CSV, plain or gzip; several are merged.
        #[arg(required = true, value_name = "TRACE")]
        traces: Vec<PathBuf>,
        /// Any word: the arrivals that a table of rates stands for come from it.
        #[arg(long, default_value = "tide", value_name = "WORD")]
        seed: String,
        /// What to print.
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Make a trace of the requests in a live run's journal.
    #[command(after_help = super::trace::export::EXAMPLES)]
    Export(super::trace::export::Arguments),
    /// Make a trace of what others recorded: Prometheus, access logs, public traces.
    #[command(after_help = super::trace::convert::EXAMPLES)]
    Convert(Box<super::trace::convert::Arguments>),
    /// Make a trace of a load that is described: steps, bursts, flash crowds, days.
    #[command(after_help = super::trace::synth::EXAMPLES)]
    Synth(Box<super::trace::synth::Arguments>),
    /// Send recorded load to a running server, each request at its time.
    #[command(after_help = super::trace::play::EXAMPLES)]
    Play(Box<super::trace::play::Arguments>),
}

const BENCH_EXAMPLES: &str = "Examples:
  tidegate bench
  tidegate bench knative
  tidegate bench office_hours.wasm --settings '{\"minimum\": 2}' -o json";

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// One policy: a component file, or the name of a built-in one; ticks and replays of the built-in ones if not given.
    #[arg(value_name = "POLICY")]
    pub(super) policy: Option<String>,
    /// Its own settings, as in a policies file: JSON, or a file with that or YAML.
    #[arg(long, value_name = "JSON|FILE", requires = "policy")]
    pub(super) settings: Option<String>,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Document {
    /// What `tidegate replay -o json` prints.
    Replay,
}
