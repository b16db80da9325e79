//! The thread that starts children. Linux ties a child's life to the thread that started it, so it is one thread that stays as long
//! as there are children; it also keeps the books of them, because a child may only run once it is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::output::Log;
use super::reaper::Reaper;
use super::{OWN_VARIABLES, RUN_VARIABLE, shim};
use crate::backend::local::logs::{self, LogFile};
use crate::backend::local::state::{Group, State};
use crate::backend::local::system;
use crate::definitions::launch::CommandLine;

/// Orders that wait. Whoever gives one waits for its answer, so more than a few are only there when many start at once.
const ORDERS: usize = 64;

pub(super) enum Order {
    Spawn {
        what: Box<Spawn>,
        done: oneshot::Sender<std::io::Result<Spawned>>,
    },
    Forget {
        group: u32,
    },
    /// Closes the books and answers.
    Close {
        done: oneshot::Sender<()>,
    },
}

/// A process to start.
pub(super) struct Spawn {
    pub(super) target: String,
    pub(super) replica: u32,
    pub(super) line: CommandLine,
    pub(super) folder: Option<PathBuf>,
    pub(super) now_ms: u64,
    /// The file that it wrote to when it was started before, on another port.
    pub(super) log: Option<Log>,
}

/// A process that was started.
pub(super) struct Spawned {
    pub(super) child: Child,
    pub(super) pid: u32,
    pub(super) log: Log,
}

struct Spawner {
    program: PathBuf,
    log_bytes: u64,
    state: State,
    reaper: Reaper,
    /// Of each group.
    logs: BTreeMap<u32, PathBuf>,
    runtime: Handle,
}

/// Starts the thread. It ends when nobody can give it orders any more.
pub(super) fn start(
    program: PathBuf,
    log_bytes: u64,
    state: State,
    runtime: Handle,
) -> std::io::Result<mpsc::Sender<Order>> {
    let reaper = Reaper::start(&program)?;
    let (orders, mut next) = mpsc::channel(ORDERS);
    let logs = BTreeMap::new();
    let mut spawner = Spawner { program, log_bytes, state, reaper, logs, runtime };
    std::thread::Builder::new().name("children".to_owned()).spawn(move || {
        let mut closed = None;
        while let Some(order) = next.blocking_recv() {
            match order {
                Order::Spawn { what, done } => {
                    // Who asked has gone: what runs then is ended, as nobody would.
                    if let Err(Ok(spawned)) = done.send(spawner.spawn(*what)) {
                        system::signal_group(spawned.pid, rustix::process::Signal::KILL);
                        spawner.forget(spawned.pid);
                    }
                }
                Order::Forget { group } => spawner.forget(group),
                Order::Close { done } => {
                    closed = Some(done);
                    break;
                }
            }
        }
        drop(spawner);
        if let Some(done) = closed {
            let _ = done.send(());
        }
    })?;
    Ok(orders)
}

impl Spawner {
    fn spawn(&mut self, what: Spawn) -> std::io::Result<Spawned> {
        let runtime = self.runtime.clone();
        let _context = runtime.enter();
        let mut command = Command::new(&self.program);
        command
            .arg(shim::SUBCOMMAND)
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(&what.line.program)
            .args(&what.line.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // What the host was told, as its keys, is not for its children.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(OWN_VARIABLES) {
                command.env_remove(name);
            }
        }
        command.envs(&what.line.env).env(RUN_VARIABLE, self.state.run());
        if let Some(folder) = &what.folder {
            command.current_dir(folder);
        }
        let running: BTreeSet<PathBuf> = self.logs.values().cloned().collect();
        let state = self.state.folder();
        let (log, path) = match what.log {
            Some(log) => {
                let path = log.lock().map_or(PathBuf::new(), |log| log.path().to_owned());
                (log, path)
            }
            None => {
                let path = logs::begin(state, &what.target, what.replica, what.now_ms, &running)?;
                (Arc::new(Mutex::new(LogFile::new(path.clone(), self.log_bytes))), path)
            }
        };
        let mut child = command.spawn()?;
        let pid = child.id().expect("nobody has waited for it");
        let started = system::start_of(pid).unwrap_or_default();
        self.logs.insert(pid, path.clone());
        let group = Group { pid, started, target: what.target, replica: what.replica, log: path };
        if let Err(error) = self.state.add(group) {
            tracing::warn!(%error, folder = %self.state.folder().display(), "cannot write down a child");
        }
        let gate = child.stdin.take().expect("its input is a pipe");
        let opened = self.reaper.watch(pid).and_then(|()| {
            // Only now does it become the command: whatever happens to this process, somebody ends it.
            File::from(gate.into_owned_fd()?).write_all(b".")
        });
        if let Err(error) = opened {
            // It waits for a word that does not come, and goes.
            self.forget(pid);
            return Err(error);
        }
        Ok(Spawned { child, pid, log })
    }

    fn forget(&mut self, group: u32) {
        self.logs.remove(&group);
        if let Err(error) = self.state.remove(group) {
            tracing::warn!(%error, folder = %self.state.folder().display(), "cannot write down that a child is gone");
        }
        if let Err(error) = self.reaper.forget(group) {
            tracing::warn!(%error, "cannot start the process that ends children after a crash");
        }
    }
}
