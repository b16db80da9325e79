//! `tidegate up`: services on this machine, behind one address.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use owo_colors::OwoColorize as _;

use super::failure::{Exit, Failure, printable};
use super::output::Terminal;
use super::policies;
use crate::admin::guard::Guard;
use crate::backend::local::gpus::{self, Gpu};
use crate::backend::local::state;
use crate::definitions::model::Catalogue;
use crate::definitions::node::Fleet;
use crate::definitions::profile::Profile;
use crate::definitions::service::{self, Service};
use crate::journal::{KeepLimits, Source, Sources};
use crate::live::{self, Live, LiveError, Routing, Setting, Told, Weight};
use crate::proxy::{self, Keys};
use crate::swap;

pub(super) const EXAMPLES: &str = "Examples:
  tidegate up -f services.yaml
  tidegate up -f services.yaml --policies policies.yaml --listen 0.0.0.0:8080 --api-keys keys.txt
  tidegate up -f services.yaml --shadow other.yaml --dry-run";

/// How long files that are being read may keep the end waiting.
const LAST_WAIT: Duration = Duration::from_secs(1);

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

pub(super) fn run(args: &Arguments, terminal: &Terminal) -> Result<(), Failure> {
    let log = args.log;
    let setting = setting(args, terminal)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Environment, "cannot start threads", &error))?;
    let has_colors = terminal.has_colors && std::io::stderr().is_terminal();
    let is_quiet = terminal.is_quiet();
    let names = setting.services.iter().map(|service| service.name.chars().count());
    let width = names.max().unwrap_or(0).min(NAME_AT_MOST);
    let listener: live::Listener = Box::new(move |told| {
        if !is_quiet || told.weight > Weight::Info {
            // That nobody reads it any more is nothing to end for.
            let line = line(&told, log, width, has_colors);
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
        }
    });
    let services = setting.services.len();
    let done = runtime.block_on(async {
        let mut signals = Signals::new()
            .map_err(|error| Failure::new(Exit::Environment, "cannot hear signals", &error))?;
        let handle = tokio::runtime::Handle::current();
        let live = Live::start(setting, handle, listener).await.map_err(|error| cannot(&error))?;
        terminal.print(&format!(
            "tidegate: {services} service{} at http://{}; page and metrics at http://{}\n",
            if services == 1 { "" } else { "s" },
            live.address,
            live.admin
        ))?;
        signals.wait().await;
        terminal
            .remark("ends: requests that are in are answered first; once more to end at once\n");
        let grace = Duration::from_secs(args.grace);
        tokio::select! {
            is_clean = live.stop() => match is_clean {
                true => Ok(()),
                false => Err(Failure::plain(
                    Exit::Environment,
                    format!("not all requests were answered within {} s", grace.as_secs()),
                )),
            },
            () = signals.wait() => {
                Err(Failure::plain(Exit::Environment, "ended at once: requests were cut off"))
            }
        }
    });
    // A file that is read for ever, as a pipe that nobody writes to, keeps nobody here.
    runtime.shutdown_timeout(LAST_WAIT);
    done
}

/// The wish to end: SIGTERM, or Ctrl-C.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What the files and arguments come to.
fn setting(args: &Arguments, terminal: &Terminal) -> Result<Setting, Failure> {
    let mut warnings = Vec::new();
    let catalogue = match &args.models {
        None => Catalogue::builtin(),
        Some(path) => {
            let (read, noted) = Catalogue::read(path)
                .map_err(|error| Failure::new(Exit::Input, cannot_read("models", path), &error))?;
            warnings.extend(noted.iter().map(ToString::to_string));
            read
        }
    };
    let (services, noted) = read_services(&args.services, &catalogue)?;
    warnings.extend(noted);
    let (profile, noted) = Profile::find(&args.profile).map_err(|error| {
        Failure::new(Exit::Input, format!("cannot use the profile {}", args.profile), &error)
    })?;
    warnings.extend(noted.iter().map(ToString::to_string));
    let (fleet, gpus, nodes) = nodes(args.nodes.as_deref(), &mut warnings)?;
    for warning in &warnings {
        terminal.remark(&format!("warning: {warning}\n"));
    }
    let sources = Sources {
        services: args.services.iter().map(|path| live::source(path)).collect(),
        nodes: nodes.or_else(|| args.nodes.as_deref().map(live::source)),
        models: args.models.as_deref().map(live::source),
        profile: profile.name.clone(),
        profile_settings: profile.settings.clone(),
    };
    let keys = match &args.api_keys {
        None => Keys::default(),
        Some(path) => keys(path)?,
    };
    let token = match &args.admin_token {
        None => None,
        Some(path) => Some(read(path, "token")?.trim().to_owned()),
    };
    let guard = Guard::new(args.admin.ip(), args.admin_host.clone(), token).map_err(|error| {
        Failure::new(Exit::Input, "the admin port would be open to everybody", &error)
            .hint("--admin-token FILE names the token; or leave --admin on loopback")
    })?;
    let state = match &args.state {
        Some(path) => path.clone(),
        None => state_folder()?,
    };
    let files = args.services.clone();
    let reading = (files.clone(), catalogue.clone());
    Ok(Setting {
        services,
        service_files: (
            files,
            Arc::new(move || {
                let (files, catalogue) = &reading;
                read_services(files, catalogue).map(|(services, _)| services).map_err(text)
            }),
        ),
        policies: swap::Sources { policies: args.policies.clone(), profile: args.profile.clone() },
        shadow: args.shadow.clone(),
        sandboxes: policies::sandboxes()?,
        fleet: (fleet, gpus),
        sources,
        listen: args.listen,
        gateway: gateway(keys, Duration::from_secs(args.grace), terminal),
        routing: Routing { by_model: !args.no_model_routing, sends_comments: args.comments },
        admin: (args.admin, guard),
        state,
        journal: KeepLimits { total_bytes: args.journal_mib << 20, ..KeepLimits::default() },
        is_dry_run: args.dry_run,
    })
}

/// What the gateway allows: no more connections than there can be.
fn gateway(keys: Keys, grace: Duration, terminal: &Terminal) -> proxy::Settings {
    let mut gateway = proxy::Settings { keys, grace, ..proxy::Settings::default() };
    if let Some(open_files) = live::files::raise_open_files() {
        let connections = live::files::connections_with(open_files);
        if connections < gateway.connections {
            terminal.remark(&format!(
                "warning: at most {open_files} files can be open, so {connections} connections at once; `ulimit -Hn` tells, and whoever runs the machine can raise it\n"
            ));
            gateway.connections = connections;
        }
    }
    gateway
}

/// The services of all files, with what their authors should know. What a service cannot be started without is asked for here.
fn read_services(
    files: &[PathBuf],
    catalogue: &Catalogue,
) -> Result<(Vec<Service>, Vec<String>), Failure> {
    let mut all: Vec<Service> = Vec::new();
    let mut warnings = Vec::new();
    for path in files {
        let read = service::read_live(path, catalogue)
            .map_err(|error| Failure::new(Exit::Input, cannot_read("services", path), &error))?;
        warnings.extend(read.warnings.iter().map(ToString::to_string));
        for service in read.services {
            if all.iter().any(|other| other.name == service.name) {
                let what =
                    format!("{}: service {} is in another file too", path.display(), service.name);
                return Err(Failure::plain(Exit::Input, what));
            }
            all.push(service);
        }
    }
    Ok((all, warnings))
}

/// What there is to place on: what a file declares, or this machine, with the GPUs of each node and the machine in the form of a file.
type Nodes = (Fleet, BTreeMap<String, Vec<Gpu>>, Option<Source>);

fn nodes(declared: Option<&Path>, warnings: &mut Vec<String>) -> Result<Nodes, Failure> {
    if let Some(path) = declared {
        let (fleet, noted) = Fleet::read(path)
            .map_err(|error| Failure::new(Exit::Input, cannot_read("nodes", path), &error))?;
        warnings.extend(noted.iter().map(ToString::to_string));
        return Ok((fleet, BTreeMap::new(), None));
    }
    let gpus = gpus::detect().unwrap_or_else(|none| {
        warnings.push(format!("{none}: services run on the processor; --nodes declares GPUs"));
        Vec::new()
    });
    let found = gpus::this_host(&gpus).found();
    let of = |positions: &Vec<usize>| positions.iter().map(|at| gpus[*at].clone()).collect();
    let gpus_of = found.gpus_of.iter().map(|(node, its)| (node.clone(), of(its))).collect();
    let text = serde_json::json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Nodes",
        "nodes": found.fleet.machines.iter().map(|machine| {
            let node = &machine.node;
            let mut one = serde_json::json!({
                "name": node.name,
                "cpu": format!("{}m", node.allocatable.cpu_milli),
                "memory": node.allocatable.memory_bytes.to_string(),
                "hasImages": machine.has_images,
                "scheduleSeconds": machine.schedule_s,
                "imageThereSeconds": machine.image_there_s,
            });
            if node.allocatable.gpus > 0 {
                one["gpus"] = node.allocatable.gpus.into();
                one["gpuClass"] = node.gpu_class.clone().into();
            }
            one
        }).collect::<Vec<_>>(),
    });
    let source = Source { name: "this machine".to_owned(), text: text.to_string() };
    Ok((found.fleet, gpus_of, Some(source)))
}

fn read(path: &Path, what: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::Input, format!("cannot read the {what} in {}", path.display()), &error)
    })
}

/// Keys, a line each; lines that begin with # say something else.
fn keys(path: &Path) -> Result<Keys, Failure> {
    let text = read(path, "keys")?;
    let keys: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if keys.is_empty() {
        let what = format!("{} has no key: everybody would be let in", path.display());
        return Err(Failure::plain(Exit::Input, what));
    }
    Ok(Keys::new(keys))
}

fn state_folder() -> Result<PathBuf, Failure> {
    let from = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty());
    let folder = state::default_folder(from("XDG_STATE_HOME").as_deref(), from("HOME").as_deref());
    folder.ok_or_else(|| {
        Failure::plain(Exit::Environment, "there is no home to keep journal and logs in")
            .hint("--state FOLDER names another place")
    })
}

fn cannot_read(what: &str, path: &Path) -> String {
    format!("cannot read the {what} in {}", path.display())
}

fn cannot(error: &LiveError) -> Failure {
    let exit = match error {
        LiveError::State(_) | LiveError::Listen { .. } | LiveError::System { .. } => {
            Exit::Environment
        }
        LiveError::Share(_)
        | LiveError::FitsNowhere { .. }
        | LiveError::NoCommand { .. }
        | LiveError::Policies(_) => Exit::Input,
    };
    let failure = Failure::new(exit, "cannot start", error);
    match error {
        LiveError::FitsNowhere { .. } => failure
            .hint("--nodes declares what there is; a service of our own form that needs no GPU says `gpus: 0`"),
        LiveError::Listen { .. } => failure.hint("--listen and --admin name other addresses"),
        LiveError::State(_)
        | LiveError::System { .. }
        | LiveError::Share(_)
        | LiveError::NoCommand { .. }
        | LiveError::Policies(_) => failure,
    }
}

/// A failure on one line, for those who see it in a log.
fn text(failure: Failure) -> String {
    failure.into_parts().1.join(": ").replace('\n', "; ")
}

/// Columns that names of services get, at most; a longer one pushes its line to the right.
const NAME_AT_MOST: usize = 24;

/// A line of diagnostics, names of services `width` columns wide.
fn line(told: &Told, log: Log, width: usize, has_colors: bool) -> String {
    match log {
        Log::Json => serde_json::to_string(told).expect("every key is text") + "\n",
        Log::Text => {
            let at = jiff::Timestamp::from_millisecond(told.at.0 as i64)
                .map_or_else(|_| told.at.to_string(), |at| at.strftime("%H:%M:%S%.3f").to_string());
            let service = format!("{:<width$}", printable(&told.service));
            let text = printable(&told.text);
            if !has_colors {
                return format!("{at}  {service}  {text}\n");
            }
            let (at, service) = (at.dimmed(), service.bold());
            match told.weight {
                Weight::Info => format!("{at}  {service}  {text}\n"),
                Weight::Warning => format!("{at}  {service}  {}\n", text.yellow()),
                Weight::Error => format!("{at}  {service}  {}\n", text.red()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

    #[test]
    fn lines_are_aligned_and_hold_nothing_that_a_terminal_obeys() {
        let told = |service: &str, text: &str| Told {
            at: Time(1_760_000_000_123),
            weight: Weight::Warning,
            service: service.into(),
            text: text.into(),
        };
        let lines = [
            told("chat", "0 → 1: a request waits"),
            told("", "the policies are refused"),
            told("embedding-of-everything", "failed: \u{1b}[2Jexit code 1"),
        ];
        let lines = lines.map(|told| line(&told, Log::Text, 9, false));
        insta::assert_snapshot!(lines.concat(), @r"
        08:53:20.123  chat       0 → 1: a request waits
        08:53:20.123             the policies are refused
        08:53:20.123  embedding-of-everything  failed: �[2Jexit code 1
        ");
        let json = line(&told("chat", "x"), Log::Json, 9, true);
        assert_eq!(
            json,
            "{\"at\":1760000000123,\"weight\":\"warning\",\"service\":\"chat\",\"text\":\"x\"}\n"
        );
    }
}
