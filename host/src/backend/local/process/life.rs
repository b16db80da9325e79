//! The life of one child, from its start to its end.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::PoisonError;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::output::{Log, Tail, capture};
use super::ports::{self, Ports, Taken};
use super::probe::{self, seconds};
use super::spawner::{Order, Spawn, Spawned};
use super::{Event, Exit, Start, Told, Wish, find, shim};
use crate::backend::local::logs::{Stream, record};
use crate::backend::local::system;
use crate::definitions::launch::{PERIOD_MS, Port, Probe};

/// How often a child whose port was taken gets another.
const OTHER_PORTS: u32 = 4;
/// How long those may take to end that are left of a group whose first process has ended.
const LEFTOVERS: Duration = Duration::from_secs(1);
/// How long what a child printed last may take to be read. Its pipe may be held by somebody outside its group.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long one may take to end that failed its probes.
const GRACE_OF_FAILED: Duration = Duration::from_secs(5);
/// How often one that starts is asked, where nobody says: the longer it takes, the more rarely.
const ASK_MIN: Duration = Duration::from_millis(10);
const ASK_MAX: Duration = Duration::from_millis(250);
const ASK_SHARE: u32 = 200;

pub(super) struct Life {
    pub(super) start: Start,
    pub(super) program: PathBuf,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) events: mpsc::Sender<Told>,
    pub(super) ports: Ports,
    pub(super) stdout: Tail,
    pub(super) stderr: Tail,
    pub(super) log: Option<Log>,
}

/// Why a child is no more.
enum End {
    Asked(Option<Exit>),
    PortTaken(String, Exit),
    Failed(String, Option<Exit>),
}

/// Until when it must be ready, and how long that is, as people wrote it.
struct Deadline {
    at: Instant,
    told_ms: u64,
}

/// A child that runs.
struct Running {
    child: tokio::process::Child,
    pid: u32,
    port: u16,
    captures: Vec<JoinHandle<()>>,
}

impl Life {
    /// Lives it, and tells of it.
    pub(super) async fn live(mut self, mut wish: watch::Receiver<Wish>) {
        let deadline = Instant::now() + Duration::from_millis(self.start.deadline_ms);
        let mut attempts = 0;
        let event = loop {
            match self.attempt(&mut wish, deadline).await {
                End::Asked(exit) => break Event::Ended { exit },
                End::PortTaken(reason, _) if attempts < OTHER_PORTS => {
                    attempts += 1;
                    self.remark(&format!("{reason}; it is started again on another port"));
                }
                End::PortTaken(reason, exit) => break self.failed(reason, Some(exit)),
                End::Failed(reason, exit) => break self.failed(reason, exit),
            }
        };
        if let Event::Failed { reason, .. } = &event {
            self.remark(reason);
        }
        self.tell(event).await;
    }

    fn failed(&self, reason: String, exit: Option<Exit>) -> Event {
        Event::Failed { reason, exit, last_lines: self.last_lines() }
    }

    /// Diagnostics, else output.
    fn last_lines(&self) -> Vec<String> {
        let lines = self.stderr.lines();
        if lines.is_empty() { self.stdout.lines() } else { lines }
    }

    async fn tell(&self, event: Event) {
        let Start { target, replica, .. } = &self.start;
        let told = Told { target: target.clone(), replica: *replica, event };
        // Where nobody listens any more, nobody is to be told.
        let _ = self.events.send(told).await;
    }

    /// Writes a line of our own into its log.
    fn remark(&self, text: &str) {
        if let Some(log) = &self.log {
            let mut line = Vec::new();
            record(&mut line, Stream::Stderr, format!("tidegate: {text}").as_bytes(), true);
            log.lock().unwrap_or_else(PoisonError::into_inner).write(&line);
        }
    }

    async fn attempt(&mut self, wish: &mut watch::Receiver<Wish>, deadline: Instant) -> End {
        if is_over(wish) {
            return End::Asked(None);
        }
        let port = match self.start.launch.port {
            Port::Given => self.ports.any(),
            Port::Fixed(port) => self.ports.fixed(port),
        };
        let taken = match port {
            Ok(taken) => taken,
            Err(reason) => return End::Failed(reason, None),
        };
        let mut running = match self.spawn(&taken).await {
            Ok(running) => running,
            Err(reason) => return End::Failed(reason, None),
        };
        let (pid, port) = (running.pid, taken.port);
        self.tell(Event::Started { pid, port }).await;
        let mut is_ready = false;
        let ended = tokio::select! {
            // Whoever ends by himself, ends; that he was asked to as well, changes nothing.
            biased;
            status = running.child.wait() => Ok(status),
            () = wished(wish) => Err(None),
            reason = self.watch_over(port, deadline, &mut is_ready) => Err(Some(reason)),
        };
        let (status, reason) = match ended {
            Ok(status) => (status, None),
            Err(None) => {
                let grace = Duration::from_millis(self.start.launch.grace_ms);
                (end(&mut running, wish, grace).await, None)
            }
            Err(Some(reason)) => {
                let grace = Duration::from_millis(self.start.launch.grace_ms).min(GRACE_OF_FAILED);
                (end(&mut running, wish, grace).await, Some(reason))
            }
        };
        let was_asked = is_over(wish);
        self.clean_up(running).await;
        let exit = status.map_or(Exit::Code(-1), exit_of);
        match reason {
            Some(reason) => End::Failed(reason, Some(exit)),
            None if was_asked => End::Asked(Some(exit)),
            None => self.left_by_itself(exit, is_ready),
        }
    }

    fn left_by_itself(&self, exit: Exit, is_ready: bool) -> End {
        let lines = self.last_lines();
        let last = lines.last().map_or("", String::as_str);
        if let (Exit::Code(126 | 127), Some(why)) = (exit, last.strip_prefix(shim::COMPLAINT)) {
            return End::Failed(format!("cannot run {why}"), Some(exit));
        }
        let when = if is_ready { "while it served" } else { "before it was ready" };
        let killed = match exit {
            Exit::Signal(9) => " (it may be the system that had no memory left)",
            Exit::Code(_) | Exit::Signal(_) => "",
        };
        let colon = if last.is_empty() { "" } else { ": " };
        let reason = format!("it ended {when} with {exit}{killed}{colon}{last}");
        if !is_ready && self.start.launch.port == Port::Given && ports::is_taken(&lines) {
            return End::PortTaken(reason, exit);
        }
        End::Failed(reason, Some(exit))
    }

    async fn spawn(&mut self, taken: &Taken) -> Result<Running, String> {
        let Start { target, replica, launch, env, .. } = &self.start;
        let mut given = env.clone();
        for (name, value) in [
            ("PORT", taken.port.to_string()),
            ("TIDEGATE_SERVICE", target.clone()),
            ("TIDEGATE_REPLICA", replica.to_string()),
        ] {
            given.push((name.to_owned(), value));
        }
        let mut line = launch.command_line(&given);
        let folder = launch.folder.as_deref();
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(format!("there is no folder {} to run in", folder.display()));
        }
        let path = line.env.get("PATH").map(Into::into).or_else(|| std::env::var_os("PATH"));
        let found =
            find::find(&line.program, folder.unwrap_or(Path::new("")), &path.unwrap_or_default());
        line.program = match found {
            Ok(program) => program.display().to_string(),
            // Whoever runs this program without having installed it means this one.
            Err(_) if line.program == "tidegate" => self.program.display().to_string(),
            Err(reason) => return Err(reason),
        };
        let what = Box::new(Spawn {
            target: target.clone(),
            replica: *replica,
            line,
            folder: launch.folder.clone(),
            now_ms: u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0),
            log: self.log.clone(),
        });
        let program = what.line.program.clone();
        let (done, spawned) = oneshot::channel();
        let is_sent = self.orders.send(Order::Spawn { what, done }).await.is_ok();
        let spawned = if is_sent { spawned.await.ok() } else { None };
        let spawned = spawned.ok_or("nobody starts processes any more")?;
        let Spawned { mut child, pid, log } =
            spawned.map_err(|error| format!("cannot start {program}: {error}"))?;
        self.log = Some(log.clone());
        let mut captures = Vec::new();
        if let Some(stream) = child.stdout.take() {
            let tail = self.stdout.clone();
            captures.push(tokio::spawn(capture(stream, Stream::Stdout, tail, log.clone())));
        }
        if let Some(stream) = child.stderr.take() {
            let tail = self.stderr.clone();
            captures.push(tokio::spawn(capture(stream, Stream::Stderr, tail, log)));
        }
        Ok(Running { child, pid, port: taken.port, captures })
    }

    /// Asks it until it is ready, and then whether it is well. Returns when it is to be ended, with why.
    async fn watch_over(&self, port: u16, deadline: Instant, is_ready: &mut bool) -> String {
        let launch = &self.start.launch;
        let begun = Instant::now();
        let deadline = Deadline { at: deadline, told_ms: self.start.deadline_ms };
        if let Some(startup) = &launch.startup {
            let most_ms = startup.period_ms.unwrap_or(PERIOD_MS) * u64::from(startup.failures);
            let told_ms = startup.initial_delay_ms + most_ms;
            let own = Deadline { at: begun + Duration::from_millis(told_ms), told_ms };
            let first = if own.at < deadline.at { &own } else { &deadline };
            if let Err(reason) = until_well(startup, port, begun, first).await {
                return reason;
            }
        }
        let from = match until_well(&launch.ready, port, begun, &deadline).await {
            Ok(from) => from,
            Err(reason) => return reason,
        };
        *is_ready = true;
        self.tell(Event::Ready { address: SocketAddr::new(from, port) }).await;
        let Some(alive) = &launch.alive else { return std::future::pending().await };
        sleep_until(begun + Duration::from_millis(alive.initial_delay_ms)).await;
        let mut failures = 0;
        loop {
            sleep(Duration::from_millis(alive.period_ms.unwrap_or(PERIOD_MS))).await;
            match probe::ask(alive, port).await {
                Ok(_) => failures = 0,
                Err(reason) => {
                    failures += 1;
                    if failures >= alive.failures {
                        return format!(
                            "it did not answer well {failures} times in a row: {reason}"
                        );
                    }
                }
            }
        }
    }

    /// Ends what is left of its group, reads its last words, and closes its books.
    async fn clean_up(&self, running: Running) {
        let group = running.pid;
        system::signal_group(group, Signal::TERM);
        let begun = Instant::now();
        while system::is_group(group) && begun.elapsed() < LEFTOVERS {
            sleep(Duration::from_millis(5)).await;
        }
        system::signal_group(group, Signal::KILL);
        let until = Instant::now() + LAST_WORDS;
        for mut capture in running.captures {
            if timeout_at(until, &mut capture).await.is_err() {
                capture.abort();
            }
        }
        let _ = self.orders.send(Order::Forget { group }).await;
        tracing::debug!(group, port = running.port, "a child is gone");
    }
}

/// Whether somebody wants it to end; so does who dropped it.
fn is_over(wish: &watch::Receiver<Wish>) -> bool {
    wish.has_changed().is_err() || *wish.borrow() != Wish::Run
}

/// Waits until somebody wants it to end.
async fn wished(wish: &mut watch::Receiver<Wish>) {
    while !is_over(wish) {
        if wish.changed().await.is_err() {
            return;
        }
    }
}

/// SIGTERM, `grace`, SIGKILL; each to the whole group. A wish for more ends the grace.
async fn end(
    running: &mut Running,
    wish: &mut watch::Receiver<Wish>,
    grace: Duration,
) -> std::io::Result<ExitStatus> {
    let at_once = async {
        while *wish.borrow() != Wish::Kill {
            if wish.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    system::signal_group(running.pid, Signal::TERM);
    tokio::select! {
        status = timeout(grace, running.child.wait()) => {
            if let Ok(status) = status {
                return status;
            }
        }
        () = at_once => {}
    }
    system::signal_group(running.pid, Signal::KILL);
    running.child.wait().await
}

/// Asks until the answer is good. From where it came; else why it never was.
async fn until_well(
    probe: &Probe,
    port: u16,
    begun: Instant,
    deadline: &Deadline,
) -> Result<std::net::IpAddr, String> {
    let mut told = "it was not asked yet".to_owned();
    let asking = async {
        sleep_until(begun + Duration::from_millis(probe.initial_delay_ms)).await;
        loop {
            match probe::ask(probe, port).await {
                Ok(from) => return from,
                Err(reason) => told = reason,
            }
            let often = || (begun.elapsed() / ASK_SHARE).clamp(ASK_MIN, ASK_MAX);
            sleep(probe.period_ms.map_or_else(often, Duration::from_millis)).await;
        }
    };
    let asked = timeout_at(deadline.at, asking).await;
    asked.map_err(|_| format!("it was not ready within {}: {told}", seconds(deadline.told_ms)))
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}
