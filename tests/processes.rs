//! Children of this program, with real processes: how they start, serve, fail and end, and that none outlives it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tidegate::backend::local::process::{Child, Event, Exit, Settings, Start, Supervisor, Told};
use tidegate::backend::local::state::{Stale, State};
use tidegate::backend::local::{gpus, logs};
use tidegate::definitions::launch::{Launch, Port, Probe, Way};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;

/// Nothing here takes that long, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(120);

struct World {
    folder: tempfile::TempDir,
    supervisor: Supervisor,
    told: Receiver<Told>,
}

fn settings() -> Settings {
    Settings { program: env!("CARGO_BIN_EXE_tidegate").into(), log_bytes: 256 << 10 }
}

fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (state, stale) = State::open(&folder.path().join("state")).expect("it is free");
    assert_eq!(stale, None);
    let started = Supervisor::start(settings(), state, Handle::current());
    let (supervisor, told) = started.expect("it starts");
    World { folder, supervisor, told }
}

/// A shell that does that. A dollar before a dollar is one, as in Kubernetes.
fn sh(script: &str) -> Launch {
    command(&["sh", "-c", script])
}

fn command(words: &[&str]) -> Launch {
    Launch {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        env: Vec::new(),
        folder: None,
        port: Port::Given,
        startup: None,
        ready: Probe::default(),
        alive: None,
        grace_ms: 60_000,
    }
}

/// This test program in another part, which listens on `PORT`.
fn server(extra: &str) -> Launch {
    let me = std::env::current_exe().expect("it is known");
    let script = format!("{extra} exec '{}' --exact a_server --ignored --nocapture", me.display());
    let way = Way::Http { path: "/health".to_owned(), headers: Vec::new() };
    Launch { ready: Probe { way, ..Probe::default() }, ..sh(&script) }
}

impl World {
    fn launch(&self, launch: Launch) -> Child {
        self.launch_within(launch, 600_000)
    }

    fn launch_within(&self, launch: Launch, deadline_ms: u64) -> Child {
        let (target, env) = ("chat".to_owned(), gpus::variables(&[]));
        self.supervisor.launch(Start { target, replica: 7, launch, env, deadline_ms })
    }

    async fn next(&mut self) -> Event {
        let told = tokio::time::timeout(PATIENCE, self.told.recv()).await;
        let told = told.expect("something is told").expect("somebody tells");
        assert_eq!((told.target.as_str(), told.replica), ("chat", 7));
        told.event
    }

    async fn started(&mut self) -> (u32, u16) {
        match self.next().await {
            Event::Started { pid, port } => (pid, port),
            other => panic!("it did not start: {other:?}"),
        }
    }

    async fn failed(&mut self) -> (String, Option<Exit>, Vec<String>) {
        loop {
            match self.next().await {
                Event::Failed { reason, exit, last_lines } => return (reason, exit, last_lines),
                Event::Started { .. } | Event::Ready { .. } => {}
                other @ Event::Ended { .. } => panic!("nobody asked it to end: {other:?}"),
            }
        }
    }

    async fn ended(&mut self) -> Option<Exit> {
        match self.next().await {
            Event::Ended { exit } => exit,
            other => panic!("it did not end as it was asked: {other:?}"),
        }
    }

    fn logged(&self) -> String {
        let text = self.logged_so_far();
        assert!(!text.is_empty(), "there is a log");
        text
    }

    fn logged_so_far(&self) -> String {
        let all = logs::of_target(&self.folder.path().join("state"), "chat");
        let Some(log) = all.last() else { return String::new() };
        let bytes = log.read().expect("it can be read");
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(logs::parse);
        lines.map(|line| format!("{} {}\n", line.stream.name(), line.text)).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// What a file holds, as soon as it holds a whole line.
async fn written(path: &Path) -> String {
    until(|| std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))).await
}

async fn until<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = condition() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes to pass")
}

fn pid(text: &str) -> u32 {
    text.trim().parse().expect("it is the number of a process")
}

/// Whether a process is there and does anything.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    if cfg!(target_os = "linux") {
        let Ok(stat) = stat else { return false };
        return stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"));
    }
    let pid = Pid::from_raw(pid.cast_signed()).expect("it is the number of a process");
    rustix::process::test_kill_process(pid).is_ok()
}

async fn gone(pids: impl IntoIterator<Item = u32>) {
    let pids: Vec<u32> = pids.into_iter().collect();
    until(|| pids.iter().all(|pid| !is_alive(*pid)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_ready_when_it_answers_and_ends_when_it_is_asked() {
    let mut world = world();
    let child = world.launch(server("echo on $PORT for $TIDEGATE_SERVICE; echo careful >&2;"));
    let (pid, port) = world.started().await;
    let Event::Ready { address } = world.next().await else { panic!("it gets ready") };
    assert_eq!((address.port(), address.ip().is_loopback()), (port, true));
    child.end();
    assert_eq!(world.ended().await, Some(Exit::Signal(15)));
    gone([pid]).await;
    let logged = world.logged();
    assert!(logged.contains(&format!("stdout on {port} for chat\n")), "{logged}");
    assert!(logged.contains("stderr careful\n"), "{logged}");
    assert_eq!(child.last_lines().1, ["careful"]);
    world.supervisor.close().await;
    assert_eq!(stale(world.folder.path()), None, "it ended in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_ready_is_told_with_the_last_answer_and_ended_with_its_children() {
    let mut world = world();
    let file = world.path("child");
    let script = format!("sleep 100000 & echo $! > '{}'; wait", file.display());
    let _child = world.launch_within(sh(&script), 700);
    let (pid_of_shell, port) = world.started().await;
    let (reason, exit, _) = world.failed().await;
    assert_eq!(reason, format!("it was not ready within 700 ms: nothing listens on port {port}"));
    assert_eq!(exit, Some(Exit::Signal(15)));
    gone([pid_of_shell, pid(&written(&file).await)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_leaves_by_itself_says_why() {
    for (script, reason, exit) in [
        (
            "echo loading; echo no CUDA device >&2; exit 3",
            "it ended before it was ready with exit code 3: no CUDA device",
            Exit::Code(3),
        ),
        (
            "echo only this",
            "it ended before it was ready with exit code 0: only this",
            Exit::Code(0),
        ),
        ("exit 1", "it ended before it was ready with exit code 1", Exit::Code(1)),
        (
            "printf 'a\\033[31mb' >&2; kill -9 $$$$",
            "it ended before it was ready with signal 9 (KILL) (it may be the system that had no memory left): a\u{fffd}[31mb",
            Exit::Signal(9),
        ),
    ] {
        let mut world = world();
        let _child = world.launch(sh(script));
        let (told, how, _) = world.failed().await;
        assert_eq!((told.as_str(), how), (reason, Some(exit)));
        assert!(
            world.logged().ends_with(&format!("stderr tidegate: {reason}\n")),
            "{}",
            world.logged()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_run_is_named() {
    let mut world = world();
    let text = world.path("text");
    std::fs::write(&text, "#!/nowhere/interpreter\n").expect("it can be written");
    let shown = text.display().to_string();
    let _one = world.launch(command(&["no-such-server", "--port", "$(PORT)"]));
    assert_eq!(
        world.failed().await,
        ("there is no command no-such-server in PATH".to_owned(), None, Vec::new())
    );
    let _two = world.launch(command(&[&shown]));
    assert_eq!(world.failed().await.0, format!("{shown} may not be run: it is not executable"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&text, mode).expect("it is ours");
    let _three = world.launch(command(&[&shown]));
    let (reason, exit, _) = world.failed().await;
    assert!(reason.starts_with(&format!("cannot run {shown}: No such file")), "{reason}");
    assert_eq!(exit, Some(Exit::Code(127)));
    let folder = Launch { folder: Some("/nowhere/at/all".into()), ..sh("true") };
    let _four = world.launch(folder);
    assert_eq!(world.failed().await.0, "there is no folder /nowhere/at/all to run in");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ignores_sigterm_is_killed_when_its_grace_is_over_with_all_it_started() {
    let mut world = world();
    let file = world.path("child");
    let script = format!(
        "trap '' TERM; sleep 100000 & echo $! > '{}'; while :; do sleep 1; done",
        file.display()
    );
    let child = world.launch(Launch { grace_ms: 300, ..sh(&script) });
    let (first, _) = world.started().await;
    let second = pid(&written(&file).await);
    child.end();
    assert_eq!(world.ended().await, Some(Exit::Signal(9)));
    gone([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_word_ends_the_grace_and_a_dropped_child_ends() {
    let mut world = world();
    let file = world.path("trapped");
    let script = format!("trap '' TERM; echo > '{}'; while :; do sleep 1; done", file.display());
    let child = world.launch(Launch { grace_ms: 3_600_000, ..sh(&script) });
    let (first, _) = world.started().await;
    written(&file).await;
    child.end();
    child.kill();
    assert_eq!(world.ended().await, Some(Exit::Signal(9)));
    let dropped = world.launch(sh("exec sleep 100000"));
    let (second, _) = world.started().await;
    drop(dropped);
    assert!(world.ended().await.is_some());
    gone([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_of_one_that_has_ended_do_not_stay() {
    let mut world = world();
    let file = world.path("child");
    // It holds the output open, too.
    let script = format!("sleep 100000 & echo $! > '{}'; exit 1", file.display());
    let _child = world.launch(sh(&script));
    assert_eq!(world.failed().await.1, Some(Exit::Code(1)));
    gone([pid(&written(&file).await)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_keeps_the_log_small_and_the_end_readable() {
    let mut world = world();
    let script = "i=0; while [ $i -lt 200 ]; do head -c 100000 /dev/zero | tr '\\0' 'x'; echo; i=$((i+1)); done; echo the end; exit 4";
    let _child = world.launch(sh(script));
    let (reason, exit, _) = world.failed().await;
    assert_eq!(
        (reason.as_str(), exit),
        ("it ended before it was ready with exit code 4: the end", Some(Exit::Code(4)))
    );
    let log = logs::of_target(&world.path("state"), "chat").pop().expect("there is one");
    let bytes = log.read().expect("it can be read");
    assert!(bytes.len() <= 2 * (256 << 10) + (64 << 10), "{} bytes", bytes.len());
    assert!(world.logged().contains("stdout the end\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_port_was_taken_gets_another_and_one_that_insists_is_told() {
    let mut world = world();
    let mark = world.path("mark");
    let mark = mark.display();
    let once = format!(
        "if [ ! -e '{mark}' ]; then touch '{mark}'; echo 'bind: Address already in use' >&2; exit 1; fi;"
    );
    let child = world.launch(server(&once));
    world.started().await;
    world.started().await;
    assert!(matches!(world.next().await, Event::Ready { .. }));
    assert!(world.logged().contains("it is started again on another port"), "{}", world.logged());
    child.end();
    world.ended().await;
    let always = world.launch(sh("echo 'bind: Address already in use' >&2; exit 1"));
    let (reason, _, _) = world.failed().await;
    assert!(reason.ends_with("exit code 1: bind: Address already in use"), "{reason}");
    drop(always);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    let _insists = world.launch(Launch { port: Port::Fixed(port), ..sh("exec sleep 100000") });
    let refused = format!("port {port} is taken: another program listens there");
    assert_eq!(world.failed().await, (refused, None, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_while_it_serves_is_ended() {
    let mut world = world();
    let alive = Probe { period_ms: Some(20), timeout_ms: 200, failures: 2, ..server("").ready };
    let _child = world.launch(Launch { alive: Some(alive), ..server("") });
    let (pid, _) = world.started().await;
    assert!(matches!(world.next().await, Event::Ready { .. }));
    let process = Pid::from_raw(pid.cast_signed()).expect("it is the number of a process");
    kill_process(process, Signal::STOP).expect("it is ours");
    let (reason, exit, _) = world.failed().await;
    assert_eq!(reason, "it did not answer well 2 times in a row: no answer within 200 ms");
    assert_eq!(exit, Some(Exit::Signal(9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_probe_has_a_patience_of_its_own() {
    let mut world = world();
    let startup = Probe { period_ms: Some(100), failures: 3, ..Probe::default() };
    let _child = world.launch(Launch { startup: Some(startup), ..sh("exec sleep 100000") });
    let (_, port) = world.started().await;
    let (reason, _, _) = world.failed().await;
    assert_eq!(reason, format!("it was not ready within 300 ms: nothing listens on port {port}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_sees_its_gpus_and_its_files_variables_and_not_the_hosts() {
    let mut world = world();
    let mut launch =
        sh("echo $URL $CUDA_VISIBLE_DEVICES ${TIDEGATE_RUN:+run} ${TIDEGATE_REPLICA}; exit 1");
    launch.env = vec![("URL".into(), "http://x:$(PORT)/$(TIDEGATE_SERVICE)".into())];
    let env = gpus::variables(&gpus::declared(2, "NVIDIA A40", 1));
    let start = Start { target: "chat".into(), replica: 7, launch, env, deadline_ms: 60_000 };
    let _child = world.supervisor.launch(start);
    let (_, port) = world.started().await;
    let (_, _, lines) = world.failed().await;
    assert_eq!(lines, [format!("http://x:{port}/chat 0,1 run 7")]);
}

/// What `tidegate logs` prints: exit code, results, the rest.
fn printed(state: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let done = command.arg("logs").arg("--state").arg(state).args(args).output();
    let done = done.expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it writes text");
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_those_of_replicas_that_run_else_of_the_last() {
    use std::io::{BufRead as _, BufReader};
    let mut world = world();
    let (state, go) = (world.path("state"), world.path("go"));
    let script = format!(
        "echo one; printf 'two \\033[2J\\n'; until [ -e '{}' ]; do sleep 0.1; done; echo late; exec sleep 100000",
        go.display()
    );
    let child = world.launch(sh(&script));
    world.started().await;
    until(|| world.logged_so_far().contains("two").then_some(())).await;
    let good = |text: &str| (Some(0), text.to_owned(), String::new());
    assert_eq!(printed(&state, &["chat"]), good("one\ntwo �[2J\n"));
    let last = ["chat", "--tail", "1", "--replica", "7"];
    assert_eq!(printed(&state, &last), good("two �[2J\n"));
    let (_, json, _) = printed(&state, &["chat", "--tail", "1", "-o", "json"]);
    let mut line: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert!(line["time"].take().as_str().is_some_and(|time| time.ends_with('Z')), "{json}");
    assert_eq!(
        line.to_string(),
        r#"{"replica":7,"stream":"stdout","target":"chat","text":"two �[2J","time":null}"#
    );
    let (code, _, said) = printed(&state, &["chat", "--previous"]);
    assert_eq!((code, said.as_str()), (Some(2), "error: no replica of chat has ended yet\n"));
    let (code, _, said) = printed(&state, &["chta"]);
    assert!(code == Some(2) && said.ends_with(" hint: did you mean chat?\n"), "{said}");
    let (code, _, said) = printed(&state, &["chat", "--replica", "8"]);
    let expected =
        "error: there is no log of replica 8 of chat\n hint: there are those of replicas 7\n";
    assert_eq!((code, said.as_str()), (Some(2), expected));

    let mut follower = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["logs", "chat", "-f", "--tail", "1", "--state"])
        .arg(&state)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("it is a pipe")).lines();
    let mut next = || lines.next().expect("it goes on").expect("it can be read");
    assert_eq!(next(), "two �[2J");
    std::fs::write(go, "").expect("it can be written");
    assert_eq!(next(), "late");
    follower.kill().expect("it is ours");
    follower.wait().expect("it is ours");

    child.end();
    world.ended().await;
    let (_, text, said) = printed(&state, &["chat", "--tail", "1"]);
    let expected = "no replica of chat runs; this is what the last one printed, #7\n";
    assert_eq!((text.as_str(), said.as_str()), ("late\n", expected));
    assert_eq!(printed(&state, &["chat", "-p", "--tail", "1"]), good("late\n"));
}

/// A run of this program that is killed: three children, grandchildren among them.
struct Run {
    process: std::process::Child,
    folder: PathBuf,
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Run {
    fn start(folder: &Path) -> Run {
        let me = std::env::current_exe().expect("it is known");
        let process = Command::new(me)
            .args(["--exact", "a_run", "--ignored", "--nocapture"])
            .env("TEST_FOLDER", folder)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        Run { process: process.expect("it starts"), folder: folder.to_owned() }
    }

    /// All its descendants, as soon as they are there.
    async fn pids(&self) -> BTreeSet<u32> {
        let mut pids = BTreeSet::new();
        for name in ["plain", "parent", "child", "grandchild"] {
            pids.insert(pid(&written(&self.folder.join(name)).await));
        }
        assert_eq!(pids.len(), 4);
        assert!(pids.iter().all(|pid| is_alive(*pid)));
        for name in ["plain", "parent", "child", "grandchild"] {
            std::fs::remove_file(self.folder.join(name)).expect("it is there");
        }
        pids
    }

    fn kill(self) {
        drop(self);
    }
}

/// What the last run left.
fn stale(folder: &Path) -> Option<Stale> {
    State::open(&folder.join("state")).expect("it is free").1
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_leave_no_orphans_and_each_next_start_is_told() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for _ in 0..20 {
        let run = Run::start(folder.path());
        let id = run.process.id();
        let pids = run.pids().await;
        let refused = State::open(&folder.path().join("state")).expect_err("it is in use");
        assert!(refused.to_string().ends_with(&format!("is in use by process {id}")), "{refused}");
        run.kill();
        gone(pids).await;
        let stale = stale(folder.path()).expect("it was killed");
        assert_eq!(stale.pid, id);
        assert!(stale.to_string().contains("did not end in order"), "{stale}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_where_the_reaper_was_killed_too_is_ended_by_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = Run::start(folder.path());
    let id = run.process.id();
    let pids = run.pids().await;
    let reaper = std::fs::read_dir("/proc")
        .expect("it is Linux")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent =
                stat.rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(2)?.parse().ok());
            line.ends_with("__reap\0") && parent == Some(id)
        });
    let reaper = Pid::from_raw(reaper.expect("there is one").cast_signed()).expect("it is one");
    // Who means to end everything of that name does not reach it.
    kill_process(reaper, Signal::TERM).expect("it is ours");
    kill_process(reaper, Signal::KILL).expect("it is ours");
    run.kill();
    let stale = stale(folder.path()).expect("it was killed");
    assert!(!stale.ended.is_empty(), "{stale:?}");
    assert!(stale.to_string().contains("these still ran and were ended: chat #"), "{stale}");
    gone(pids).await;
}

/// No test: a server for the others.
#[test]
#[ignore = "the other tests start it"]
#[expect(clippy::disallowed_methods, reason = "it is started with these variables")]
fn a_server() {
    use std::io::{Read as _, Write as _};
    let port: u16 = std::env::var("PORT").expect("it is given").parse().expect("it is a port");
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it is free");
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let _ = stream.read(&mut [0; 1_024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
}

/// No test: a run for the others to kill.
#[test]
#[ignore = "the other tests start it"]
#[expect(clippy::disallowed_methods, reason = "it is started with these variables")]
fn a_run() {
    let folder = PathBuf::from(std::env::var("TEST_FOLDER").expect("it is given"));
    let runtime = tokio::runtime::Runtime::new().expect("it can be made");
    let _context = runtime.enter();
    let (state, _) = State::open(&folder.join("state")).expect("it is free");
    let started = Supervisor::start(settings(), state, Handle::current());
    let (supervisor, mut told) = started.expect("it starts");
    let at = |name: &str| folder.join(name).display().to_string();
    let nested =
        format!("echo $$$$ > {}; sleep 100000 & echo $! > {}; wait", at("child"), at("grandchild"));
    let scripts = [
        format!("echo $$$$ > {}; exec sleep 100000", at("plain")),
        format!("echo $$$$ > {}; sh -c '{nested}' & wait", at("parent")),
    ];
    let mut children = Vec::new();
    for (replica, script) in (0..).zip(scripts) {
        let (target, env, deadline_ms) = ("chat".to_owned(), Vec::new(), 3_600_000);
        children.push(supervisor.launch(Start {
            target,
            replica,
            launch: sh(&script),
            env,
            deadline_ms,
        }));
    }
    while told.blocking_recv().is_some() {}
}
