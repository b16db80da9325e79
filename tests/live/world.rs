//! A real `tidegate up` in a folder of its own, with ports from the system: started, asked, waited for, ended.
#![expect(clippy::disallowed_methods, reason = "it waits in real time, but not for ever")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use crate::client::{Answer, ask};

/// How long anything may take that a test waits for: far longer than it takes on a machine that has more to do.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// Knative's keys, as short as they go.
pub const PROFILE: &str = "\
tick-interval: \"1s\"
stable-window: \"6s\"
panic-window-percentage: \"20\"
scale-to-zero-grace-period: \"1s\"
scale-to-zero-pod-retention-period: \"0s\"
";
const NODES: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: Nodes
nodes:
- {name: box, cpu: 64, memory: 256Gi, gpus: 1, gpuClass: A40}
";
pub const POLICIES: &str = "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\n";
/// The chain that decides where nobody says another.
pub const USUAL: &str = "scaling:\n- policy: builtin:knative\n- policy: builtin:scale-to-zero\n";

/// A service of a fake model that takes no GPU. `load` is how long it loads; `more` is added to its keys.
pub fn fake(name: &str, load: &str, more: &str) -> String {
    format!(
        "- name: {name}
  command: [tidegate, fake-model, --model, {name}, --load-time, {load}, --decode-tokens-per-s, \"100\"]
  ready: {{http: /health}}
{}",
        more.lines().map(|line| format!("  {line}\n")).collect::<String>()
    )
}

pub fn services(all: &[String]) -> String {
    format!("apiVersion: tidegate.dev/v1alpha1\nkind: Services\nservices:\n{}", all.concat())
}

/// The body of a request that gets so many tokens.
pub fn prompt(model: &str, tokens: u32) -> String {
    json!({"model": model, "prompt": "tide", "max_tokens": tokens}).to_string()
}

/// The folder of a run.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A folder with everything that a run needs.
    pub fn new(services: &str) -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder") };
        place.write("services.yaml", services);
        place.write("profile.yaml", PROFILE);
        place.write("nodes.yaml", NODES);
        place.write("policies.yaml", &format!("{POLICIES}{USUAL}"));
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file in its place, as an editor does.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.path(&format!(".{name}.new"));
        std::fs::write(&new, text).expect("it is written");
        std::fs::rename(new, self.path(name)).expect("it is renamed");
    }

    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let path = |name: &str| self.path(name).display().to_string();
        command.args(["up", "-f", &path("services.yaml"), "--profile", &path("profile.yaml")]);
        command.args(["--nodes", &path("nodes.yaml"), "--policies", &path("policies.yaml")]);
        command.args(["--state", &path("state"), "--listen", "127.0.0.1:0"]);
        if !more.contains(&"--admin") {
            command.args(["--admin", "127.0.0.1:0"]);
        }
        command.args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A run of `up`. Dropped, it is killed.
pub struct Up {
    pub gateway: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    listens: Option<std::thread::JoinHandle<()>>,
}

impl Up {
    pub fn start(place: &Place) -> Up {
        Up::with(place, &[])
    }

    pub fn with(place: &Place, more: &[&str]) -> Up {
        let mut child = place.command(more).spawn().expect("it starts");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("it is piped");
        let listens = std::thread::spawn({
            let log = log.clone();
            move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(&line);
                    log.push('\n');
                }
            }
        });
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut lines = stdout.lines();
        let Some(Ok(line)) = lines.next() else {
            let status = child.wait();
            let _ = listens.join();
            panic!("it ended at its start: {status:?}\n{}", text(&log));
        };
        let mut addresses = line.split("http://").skip(1).map(|rest| {
            let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
            rest[..end.unwrap_or(rest.len())].parse().expect("an address")
        });
        let mut next = || addresses.next().expect("two addresses are told");
        let (gateway, admin) = (next(), next());
        Up { gateway, admin, child, log, listens: Some(listens) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it told so far.
    pub fn log(&self) -> String {
        text(&self.log)
    }

    /// A completion of so many tokens.
    pub fn complete(&self, service: &str, tokens: u32) -> Answer {
        complete(self.gateway, service, tokens).expect("an answer")
    }

    pub fn get(&self, path: &str) -> Answer {
        ask(self.admin, "GET", path, "", &[]).expect("the admin port answers")
    }

    pub fn order(&self, path: &str, body: &Value) -> Answer {
        let json = [("Content-Type", "application/json")];
        ask(self.admin, "POST", path, &body.to_string(), &json).expect("the admin port answers")
    }

    pub fn status(&self) -> Value {
        let answer = self.get("/api/status");
        serde_json::from_str(&answer.body).expect("a document")
    }

    /// What the status says of a service.
    pub fn service(&self, name: &str) -> Value {
        let status = self.status();
        let services = status["services"].as_array().expect("services");
        let found = services.iter().find(|service| service["name"] == name);
        found.cloned().unwrap_or(Value::Null)
    }

    /// Processes of the replicas of a service.
    pub fn pids(&self, name: &str) -> Vec<u32> {
        let service = self.service(name);
        let replicas = service["replicas"].as_array().cloned().unwrap_or_default();
        replicas.iter().filter_map(|one| one["pid"].as_u64()).map(|pid| pid as u32).collect()
    }

    /// Waits until there is something, and gives it.
    pub fn until<T>(&self, what: &str, found: impl FnMut() -> Option<T>) -> T {
        wait(found).unwrap_or_else(|| {
            panic!("{what}: that never came\n{}\n{:#}", self.log(), self.status())
        })
    }

    /// Waits until the status says so of a service.
    pub fn until_service(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        self.until(&format!("{name} {what}"), || Some(self.service(name)).filter(|it| is_so(it)))
    }

    /// Waits until so many replicas of a service are ready, and no other is there.
    pub fn until_ready(&self, name: &str, count: u64) -> Value {
        self.until_service(name, &format!("has {count} ready"), |service| {
            let replicas = service["replicas"].as_array().map_or(0, Vec::len) as u64;
            service["ready"] == count && replicas == count
        })
    }

    pub fn until_log(&self, text: &str) {
        self.until(&format!("{text:?} in the log"), || self.log().contains(text).then_some(()));
    }

    /// Asks it to end, and waits until it has.
    pub fn end(mut self) -> (ExitStatus, String) {
        signal(self.pid(), Signal::TERM);
        let status = wait(|| self.child.try_wait().expect("it is a child of this test"));
        let status = status.unwrap_or_else(|| panic!("it does not end\n{}", self.log()));
        let _ = self.listens.take().expect("once").join();
        (status, self.log())
    }

    /// Asks it to end, which it does in order.
    pub fn end_well(self) -> String {
        let (status, log) = self.end();
        assert!(status.success(), "{status}\n{log}");
        log
    }

    /// Kills it without a word.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("it is there");
        let _ = self.child.wait();
        self.log()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what it told:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(log: &Mutex<String>) -> String {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

pub fn complete(gateway: SocketAddr, service: &str, tokens: u32) -> std::io::Result<Answer> {
    let path = format!("/{service}/v1/completions");
    let json = [("Content-Type", "application/json")];
    ask(gateway, "POST", &path, &prompt(service, tokens), &json)
}

/// Waits until there is something, as long as patience lasts.
pub fn wait<T>(mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return Some(found);
        }
        if Instant::now() > until {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

pub fn signal(pid: u32, signal: Signal) {
    kill_process(id(pid), signal).unwrap_or_else(|error| panic!("process {pid}: {error}"));
}

/// Whether a process runs: one that has ended and that nobody has asked about yet does not.
pub fn runs(pid: u32) -> bool {
    match of_process(pid, "stat") {
        Some(stat) => !stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z')),
        None => !cfg!(target_os = "linux") && test_kill_process(id(pid)).is_ok(),
    }
}

fn id(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process has a number above zero")
}

/// Runs `up` where it ends by itself: its exit code and diagnostics.
pub fn refused(place: &Place, more: &[&str]) -> (Option<i32>, String) {
    let mut child = place.command(more).spawn().expect("it starts");
    let status = wait(|| child.try_wait().expect("it is a child of this test"));
    let Some(status) = status else {
        let _ = child.kill();
        panic!("it starts all the same");
    };
    let mut told = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut told).expect("it is text");
    (status.code(), told)
}

/// What Linux tells of a process; nothing elsewhere.
pub fn of_process(pid: u32, file: &str) -> Option<String> {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(file)).ok()
}
