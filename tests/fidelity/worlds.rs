//! One scenario in two worlds: with child processes and sockets in real time, and in the simulator.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidegate::clock::Clock;
use tidegate::player::{self, Settings, Target};
use tidegate::seed::Seed;
use tidegate::trace::Merged;

use super::story::{Counts, Story, Waits, read};

/// From the first second of the load until every service is at zero again, and a little more.
pub const LENGTH_S: f64 = 78.0;
const SEED: &str = "tide";

/// The same word in both worlds: the file of that name in the scenario's folder.
pub fn file(name: &str) -> PathBuf {
    root().join("fixtures/live/fidelity").join(name)
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the host is a folder of the repository")
}

fn tidegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.current_dir(root());
    command
}

/// The options that both worlds are given.
fn common(command: &mut Command) -> &mut Command {
    command
        .arg("--nodes")
        .arg(file("nodes.yaml"))
        .arg("--profile")
        .arg(file("profile.yaml"))
        .arg("--policies")
        .arg(file("policies.yaml"))
}

/// The load as a trace.
pub fn load(folder: &Path) -> PathBuf {
    let path = folder.join("load.csv");
    let mut command = tidegate();
    command.args(["trace", "synth", "--seed", SEED, "--from"]).arg(file("load.yaml"));
    done(command.arg("-O").arg(&path));
    path
}

/// Runs a command to its end, which must be a good one; what it printed.
fn done(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output.stdout
}

/// The simulator, with these services.
pub fn simulated(trace: &Path, services: &Path, folder: &Path) -> Story {
    let journal = folder.join("simulated.jsonl");
    let mut command = tidegate();
    command.arg("replay").arg(trace).arg("--services").arg(services);
    command.args(["--make-room", "-o", "json", "--seed", SEED, "--journal"]).arg(&journal);
    let outcome: Value = serde_json::from_slice(&done(common(&mut command))).expect("JSON");
    let start_ms = outcome["setup"]["startMs"].as_f64().expect("it says when it began");
    let mut story = read(&journal, start_ms);
    for (name, service) in &mut story {
        let summary = &outcome["summary"]["services"][name];
        let count = |key: &str| summary["requests"][key].as_u64().expect("a count");
        let wait = |key: &str| summary["wait_s"][key].as_f64().expect("a number");
        assert_eq!(count("unfinished"), 0);
        service.counts =
            Counts { served: count("served"), expired: count("expired"), failed: count("failed") };
        service.waits = Waits { p50: wait("p50"), p99: wait("p99"), max: wait("max") };
    }
    story
}

/// A running `tidegate up`, asked to end when dropped.
struct Up(Child);

impl Up {
    fn end(&mut self) {
        if let Ok(None) = self.0.try_wait()
            && let Some(pid) = rustix::process::Pid::from_raw(self.0.id() as i32)
        {
            // It may have ended in this moment.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.end();
    }
}

/// This machine. The load begins with a second of the clock, as it does in the simulator, and `late` of it later.
pub fn live(trace: &Path, folder: &Path, late: Duration) -> Story {
    let state = folder.join("state");
    let mut command = tidegate();
    command.arg("up").arg("-f").arg(file("services.yaml")).arg("--state").arg(&state);
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let log = std::fs::File::create(folder.join("up.log")).expect("a file");
    common(&mut command).stdout(Stdio::piped()).stderr(log);
    let mut up = Up(command.spawn().expect("it starts"));
    let mut said = String::new();
    let stdout = up.0.stdout.take().expect("it was asked for");
    BufReader::new(stdout).read_line(&mut said).expect("it says where it is");
    let address = said.split_whitespace().find_map(|word| word.strip_prefix("http://"));
    let address = address.expect("it says where it is").trim_end_matches(';');

    let load = Merged::open(&[trace], &Seed::new(SEED)).expect("it was just written");
    let settings = Settings {
        target: Target::new(&format!("http://{address}"), None, false).expect("an address"),
        speed: 1.0,
        tokens_per_s: 50.0,
        timeout: Duration::from_secs(60),
    };
    let clock = Arc::new(Clock::start());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let start_us = runtime.block_on(async {
        let begins_us = (clock.now_us() / 1_000_000 + 2) * 1_000_000 + late.as_micros() as u64;
        tokio::time::sleep(clock.until_us(begins_us)).await;
        let start_us = clock.now_us();
        let playing = player::play(load.items(), load.services(), &settings, &clock, |_, _| {});
        let played = playing.await.expect("the load can be sent");
        assert!(
            played.latest_ms < 250.0,
            "requests were sent up to {} ms late: this machine has too much to do to measure on",
            played.latest_ms
        );
        let over_us = start_us + (LENGTH_S * 1e6) as u64;
        tokio::time::sleep(clock.until_us(over_us)).await;
        start_us
    });
    up.end();
    let journal = state.join("journal");
    // What was decided follows from what was seen, and from nothing else.
    done(tidegate().arg("replay").arg(&journal));
    read(&journal, start_us as f64 / 1e3)
}
