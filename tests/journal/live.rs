//! Real runs of `tidegate up` with fake models, whose journals are decided again bit for bit.

#![expect(clippy::disallowed_methods, reason = "a live run takes time, and a test waits for it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::tidegate;

/// What a machine that has much else to do may take for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with the files of a live run.
struct Place {
    folder: tempfile::TempDir,
}

/// A live run. It is killed if its test fails.
struct Up {
    child: Child,
    address: String,
    admin: String,
    /// What it says on stderr, line by line.
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder") };
        for name in ["nodes.yaml", "profile.yaml", "policies.yaml"] {
            let from = crate::root().join("fixtures/live").join(name);
            std::fs::copy(from, place.path(name)).expect("it is copied");
        }
        let guest = Path::new(env!("TIDEGATE_GUESTS")).join("office-hours.wasm");
        std::fs::copy(guest, place.path("office-hours.wasm")).expect("the build left it");
        place.services(&[("chat", 8), ("code", 4)]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file as editors do: whole, at once.
    fn write(&self, name: &str, text: &str) {
        let part = self.path("part");
        std::fs::write(&part, text).expect("it is written");
        std::fs::rename(part, self.path(name)).expect("it is renamed");
    }

    /// Services with fake models that load at once, each with its concurrency, which makes a revision.
    fn services(&self, services: &[(&str, u32)]) {
        let mut text = "apiVersion: tidegate.dev/v1alpha1\nkind: Services\nservices:\n".to_owned();
        for (name, concurrency) in services {
            text += &format!(
                "- name: {name}\n  command: [{}, fake-model, --model, {name}, --load-time, 50ms, --decode-tokens-per-s, \"400\"]\n  ready: {{http: /health}}\n  containerConcurrency: {concurrency}\n  maxReplicas: 2\n",
                env!("CARGO_BIN_EXE_tidegate")
            );
        }
        self.write("services.yaml", &text);
    }

    /// The chain of the fixture, with a further stage that keeps one replica.
    fn keep_one(&self) {
        let days = "[monday, tuesday, wednesday, thursday, friday, saturday, sunday]";
        let stage = format!(
            "builtin:knative\n  - {{policy: office-hours.wasm, settings: {{minimum: 1, hours: {{from: 0, to: 24, days: {days}}}}}}}"
        );
        let text = std::fs::read_to_string(self.path("policies.yaml")).expect("it is there");
        self.write("policies.yaml", &text.replace("builtin:knative", &stage));
    }

    fn up(&self) -> Up {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["up", "-f", &self.shown("services.yaml")])
            .args(["--nodes", &self.shown("nodes.yaml"), "--profile", &self.shown("profile.yaml")])
            .args(["--policies", &self.shown("policies.yaml"), "--state", &self.shown("state")])
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut first = String::new();
        let stdout = child.stdout.take().expect("it is a pipe");
        BufReader::new(stdout).read_line(&mut first).expect("it is text");
        let (to, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if to.send(line).is_err() {
                    break;
                }
            }
        });
        let addresses: Vec<String> = first
            .split("http://")
            .skip(1)
            .filter_map(|rest| rest.split([';', '\n']).next().map(str::to_owned))
            .collect();
        let mut up =
            Up { child, address: String::new(), admin: String::new(), lines, said: Vec::new() };
        let [address, admin] = addresses.as_slice() else {
            up.lines.iter().for_each(|line| up.said.push(line));
            panic!("it says {first:?} and {}", up.said.join("\n"))
        };
        (up.address, up.admin) = (address.clone(), admin.clone());
        up
    }

    fn journal(&self) -> String {
        self.shown("state/journal")
    }
}

impl Up {
    /// Waits until it says so.
    fn hears(&mut self, what: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let is_it = line.contains(what);
                    self.said.push(line);
                    if is_it {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{what} was never said:\n{}", self.said.join("\n"))
                }
            }
        }
    }

    fn post(&self, address: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("there is a clock");
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .expect("it takes requests");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Asks a model, which is started for it where there is none.
    fn ask(&self, service: &str) {
        let body = format!("{{\"model\":\"{service}\",\"prompt\":\"a tide\",\"max_tokens\":4}}");
        let answer = self.post(&self.address, "/v1/completions", &body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn order(&self, path: &str, body: &str) {
        let answer = self.post(&self.admin, path, body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Ends it in good order.
    fn end(mut self) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args(["-TERM", &pid]).status().expect("there is a kill");
        assert!(done.success());
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                assert!(status.success(), "{status}: {}", self.said.join("\n"));
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end: {}", self.said.join("\n"));
    }

    /// As a loss of power ends it.
    fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Decides a journal again; the document of it, and what it says to people.
fn again(journal: &str) -> (serde_json::Value, String) {
    let (exit, told, said) = tidegate(&["replay", journal, "-o", "json"]);
    assert_eq!(exit, Some(0), "{said}{}", told.chars().take(4_000).collect::<String>());
    let (_, text, _) = tidegate(&["replay", journal]);
    (serde_json::from_str(&told).expect("a document"), text)
}

#[test]
fn a_live_run_with_swaps_pins_a_rollback_and_a_rollout_is_decided_again_bit_for_bit() {
    let place = Place::new();
    let mut up = place.up();
    up.ask("chat");
    place.keep_one();
    up.hears("other policies decide");
    up.ask("code");
    up.order("/api/pin", r#"{"service":"code","replicas":2,"for":"1m"}"#);
    up.hears("by hand");
    up.order("/api/policy/rollback", "{}");
    up.hears("the policies before decide again");
    up.order("/api/unpin", r#"{"service":"code"}"#);
    up.ask("chat");
    // Another concurrency is another revision, which starts before the one before it leaves.
    place.services(&[("chat", 4), ("code", 4), ("embed", 8)]);
    up.hears("revision 1 has left");
    up.ask("embed");
    up.ask("chat");
    up.end();

    let journal = place.journal();
    let (told, text) = again(&journal);
    assert!(told["steps"].as_u64() > Some(10), "{text}");
    assert!(told["successions"].as_u64() >= Some(4), "{text}");
    assert_eq!(told["snapshotsChecked"], told["successions"], "{text}");
    assert_eq!((&told["undecided"], &told["runs"]), (&0.into(), &1.into()), "{text}");
    assert_eq!(told["gaps"], serde_json::json!([]), "{text}");
    assert_eq!(told["requests"], 5, "{text}");
    assert!(text.contains("byte for byte") && text.contains("by hand"), "{text}");

    // What stood behind a service, over all that took over.
    for service in ["code", "embed"] {
        let (exit, why, said) =
            tidegate(&["why", service, "--at", "2100-01-01", "--journal", &journal]);
        assert_eq!((exit, said.as_str()), (Some(0), ""), "{why}");
        assert!(why.contains(service), "{why}");
    }
    let (exit, _, said) = tidegate(&["why", "chta", "--at", "0:00:10", "--journal", &journal]);
    assert_eq!(exit, Some(2), "{said}");
    assert!(said.contains("there is no service chta"), "{said}");

    // What would have happened, with the services, nodes and profile of then.
    let (exit, told, said) =
        tidegate(&["replay", &journal, "--policies", &place.shown("policies.yaml")]);
    assert_eq!(exit, Some(0), "{said}");
    assert!(told.starts_with("A  then\n") && told.contains("profile.yaml"), "{told}");
    let (exit, told, said) = tidegate(&[
        "replay",
        &journal,
        "--policies",
        &place.shown("policies.yaml"),
        "--profile",
        "gpu",
    ]);
    assert_eq!(exit, Some(0), "{said}");
    assert!(!told.contains("profile.yaml"), "{told}");
    let trace = place.shown("load.csv");
    let (exit, told, said) = tidegate(&["trace", "export", &journal, "-O", &trace, "-o", "json"]);
    assert_eq!(exit, Some(0), "{said}");
    let told: serde_json::Value = serde_json::from_str(&told).expect("a document");
    assert_eq!((&told["requests"], &told["assumed"]), (&5.into(), &0.into()), "{told}");

    // A swap, rehearsed on what was seen.
    let swap = format!("0:00:01={}", place.shown("policies.yaml"));
    let (exit, text, said) = tidegate(&["replay", &journal, "--swap", &swap]);
    assert_eq!(exit, Some(0), "{said}{text}");
    assert!(text.contains("stage office-hours is new"), "{text}");
    assert!(text.contains("in the shadow of what decided then; "), "{text}");
    let late = format!("2100-01-01={}", place.shown("policies.yaml"));
    let (exit, _, said) = tidegate(&["replay", &journal, "--swap", &late]);
    assert_eq!(exit, Some(2), "{said}");
}

#[test]
fn two_runs_in_one_folder_are_decided_again_each_from_its_beginning() {
    let place = Place::new();
    let up = place.up();
    up.ask("chat");
    up.kill();
    let up = place.up();
    up.ask("code");
    up.end();
    let (told, text) = again(&place.journal());
    assert_eq!((&told["runs"], &told["undecided"]), (&2.into(), &0.into()), "{text}");
    assert!(text.contains("the program was started again"), "{text}");
}
