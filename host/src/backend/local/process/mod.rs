//! Child processes: each is started in a group of its own, asked until it is ready, listened to, and ended. It knows nothing of
//! engines and gateways: whoever holds the [`Supervisor`] starts children and reads what becomes of them.
//!
//! A child lives no longer than this program, however that ends: see `shim` and `reaper`.

mod find;
mod life;
mod output;
mod ports;
mod probe;
mod reaper;
mod shim;
mod spawner;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

pub use reaper::{SUBCOMMAND as REAP_SUBCOMMAND, reap};
pub use shim::{SUBCOMMAND as EXEC_SUBCOMMAND, exec};

use super::state::State;
use crate::definitions::launch::Launch;
use output::Tail;
use spawner::Order;

/// What children of one run have in common: its name. It tells them from strangers after a crash.
pub const RUN_VARIABLE: &str = "TIDEGATE_RUN";
/// What the host's own variables begin with; of those that it was given itself, children get none.
const OWN_VARIABLES: &str = "TIDEGATE_";

/// Events that nobody has read yet. A child tells four in its life, and who tells one waits for room.
const EVENTS: usize = 1_024;

/// How children are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This program: it is started as what stands between it and its children.
    pub program: PathBuf,
    /// How long a log may be, its older half not counted. Bytes.
    pub log_bytes: u64,
}

impl Settings {
    /// The size of a log where nobody says. Bytes.
    pub const LOG_BYTES: u64 = 8 << 20;

    /// Those of this very program.
    ///
    /// # Errors
    ///
    /// When the system does not say which program this is.
    pub fn of_this_program() -> std::io::Result<Settings> {
        // Linux finds it there although the file was replaced meanwhile.
        let program = match cfg!(target_os = "linux") {
            true => PathBuf::from("/proc/self/exe"),
            false => std::env::current_exe()?,
        };
        Ok(Settings { program, log_bytes: Settings::LOG_BYTES })
    }
}

/// A child to start.
#[derive(Clone, Debug)]
pub struct Start {
    /// The target that it is a replica of.
    pub target: String,
    /// Its ordinal.
    pub replica: u32,
    /// What to run.
    pub launch: Launch,
    /// Variables that the host gives, as those of its GPUs; they win over those of the file.
    pub env: Vec<(String, String)>,
    /// How long it may take until it is ready. Milliseconds.
    pub deadline_ms: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |signal: i32| match signal {
            1 => "HUP",
            2 => "INT",
            3 => "QUIT",
            4 => "ILL",
            6 => "ABRT",
            8 => "FPE",
            9 => "KILL",
            11 => "SEGV",
            15 => "TERM",
            _ => "",
        };
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) if name(*signal).is_empty() => write!(f, "signal {signal}"),
            Exit::Signal(signal) => write!(f, "signal {signal} ({})", name(*signal)),
        }
    }
}

/// What becomes of a child. First `Started`, perhaps `Ready`, and at last `Failed` or `Ended`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It runs. Again, if its port was taken and it got another.
    Started {
        /// Its process, and the id of its group.
        pid: u32,
        /// Where it is to listen.
        port: u16,
    },
    /// It takes requests.
    Ready {
        /// Where.
        address: SocketAddr,
    },
    /// It is no more, and nobody asked it to end.
    Failed {
        /// Why, fit to be printed.
        reason: String,
        /// How it ended; `None`: it could not be started.
        exit: Option<Exit>,
        /// The last lines that it printed, diagnostics if there were any.
        last_lines: Vec<String>,
    },
    /// It is no more, as it was asked.
    Ended {
        /// How; `None`: it had not been started yet.
        exit: Option<Exit>,
    },
}

/// What became of which child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The target that it is a replica of.
    pub target: String,
    /// Its ordinal.
    pub replica: u32,
    /// What became of it.
    pub event: Event,
}

/// What somebody wants of a child; each wants more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Run,
    End,
    Kill,
}

/// A child. Dropping it asks it to end.
#[derive(Debug)]
pub struct Child {
    wish: watch::Sender<Wish>,
    stdout: Tail,
    stderr: Tail,
}

impl Child {
    /// Asks it to end: SIGTERM to its group, SIGKILL when its grace period is over. It is told when it has ended.
    pub fn end(&self) {
        self.wish_for(Wish::End);
    }

    /// Ends it at once: SIGKILL to its group.
    pub fn kill(&self) {
        self.wish_for(Wish::Kill);
    }

    fn wish_for(&self, wish: Wish) {
        self.wish.send_if_modified(|now| {
            let is_more = wish > *now;
            *now = (*now).max(wish);
            is_more
        });
    }

    /// The last lines that it printed: output and diagnostics, fit to be printed.
    pub fn last_lines(&self) -> (Vec<String>, Vec<String>) {
        (self.stdout.lines(), self.stderr.lines())
    }
}

/// Starts children and tells what becomes of them.
#[derive(Clone, Debug)]
pub struct Supervisor {
    settings: Arc<Settings>,
    runtime: Handle,
    orders: mpsc::Sender<Order>,
    events: mpsc::Sender<Told>,
    ports: ports::Ports,
}

impl Supervisor {
    /// One whose children are awaited on `runtime`, with the books in `state`. The receiver must be read: children wait when it is
    /// full.
    ///
    /// # Errors
    ///
    /// When a thread or the process that ends children after a crash cannot be started.
    pub fn start(
        settings: Settings,
        state: State,
        runtime: Handle,
    ) -> std::io::Result<(Supervisor, mpsc::Receiver<Told>)> {
        let program = settings.program.clone();
        let orders = spawner::start(program, settings.log_bytes, state, runtime.clone())?;
        let (events, told) = mpsc::channel(EVENTS);
        let (settings, ports) = (Arc::new(settings), ports::Ports::default());
        Ok((Supervisor { settings, runtime, orders, events, ports }, told))
    }

    /// Sets a child on its way, and returns at once.
    pub fn launch(&self, start: Start) -> Child {
        let (wish, wished) = watch::channel(Wish::Run);
        let (stdout, stderr) = (Tail::default(), Tail::default());
        let life = life::Life {
            start,
            program: self.settings.program.clone(),
            orders: self.orders.clone(),
            events: self.events.clone(),
            ports: self.ports.clone(),
            stdout: stdout.clone(),
            stderr: stderr.clone(),
            log: None,
        };
        self.runtime.spawn(life.live(wished));
        Child { wish, stdout, stderr }
    }

    /// Closes the books, so that the next run knows that this one ended in order. Called when all children have ended; those that
    /// have not are ended, and are left in the books.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.orders.send(Order::Close { done }).await.is_ok() {
            let _ = closed.await;
        }
    }
}
