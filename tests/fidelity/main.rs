//! The same scenario, files, load and seed in the simulator and live, with child processes and sockets: do both tell the same story?
//! `docs/fidelity.md` has the method and what was measured.
//!
//! What makes this robust on a machine that others use as well: it compares decisions, counts and waits of seconds, none of which are
//! the machine's speed, since fake models take their time from timers; the bounds leave room for decisions that a busy machine moves by
//! a tick; and if the load itself could not be sent in time, it says that rather than that the simulator is wrong. That the bounds can
//! be missed is shown by simulating other load times, which they must tell apart from what happened.

#![expect(unreachable_pub, reason = "modules of a test")]

mod differences;
mod plot;
mod story;
mod worlds;

use std::sync::OnceLock;
use std::time::Duration;

use differences::{Bounds, differences};
use story::Story;
use worlds::{file, live, load, simulated};

/// The largest errors of the measured runs that begin with a second are 5.7 % and 4.7 % of replicas, a decision or two a tick apart, and
/// 0.02 s of waits. Replicas get three times that and moments twice, since a busy machine moves a decision by a tick; waits get a third of a
/// second, which is what the phase of the load alone may make.
const BOUNDS: Bounds = Bounds {
    ready: 0.17,
    desired: 0.15,
    unmatched: 0,
    moments_s: (1.0, 2.5),
    cold_starts: 0,
    cold_start_s: 0.15,
    requests: 0.02,
    waits_s: [0.35, 0.35, 0.35],
};

/// One live run for all tests.
fn happened() -> &'static Story {
    static HAPPENED: OnceLock<Story> = OnceLock::new();
    HAPPENED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        live(&load(folder.path()), folder.path(), Duration::ZERO)
    })
}

/// The simulator's story where the services' file is changed in so many places.
fn told_with(changes: &[(&str, &str)]) -> Story {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = std::fs::read_to_string(file("services.yaml")).expect("it is there");
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is in it");
        text = text.replace(from, to);
    }
    let services = folder.path().join("services.yaml");
    std::fs::write(&services, text).expect("it is written");
    simulated(&load(folder.path()), &services, folder.path())
}

/// What is beyond the bounds.
fn beyond(told: &Story) -> Vec<String> {
    let all = differences(happened(), told);
    for one in &all {
        println!("{one}");
    }
    all.iter().flat_map(|one| one.beyond(&BOUNDS)).collect()
}

#[test]
fn the_simulator_tells_what_happens_live() {
    let told = told_with(&[]);
    for (name, service) in &told {
        assert!(!service.desired.crossings(1).1.is_empty(), "{name} goes to zero");
        assert!(service.ready.most() > 1, "{name} grows");
    }
    let beyond = beyond(&told);
    assert!(beyond.is_empty(), "{}", beyond.join("\n"));
}

#[test]
fn another_load_time_is_told_apart_from_what_happened() {
    // Each of these alone: the slowest model a second slower, and the quickest.
    let wrong = [
        ("startSeconds: 3.02", "startSeconds: 4.02"),
        ("startSeconds: 1.02", "startSeconds: 2.02"),
    ];
    for (from, to) in wrong {
        let beyond = beyond(&told_with(&[(from, to)]));
        println!("{}", beyond.join("\n"));
        let shows = |what: &str| beyond.iter().any(|line| line.contains(what));
        assert!(
            shows("length of cold starts"),
            "{to} instead of {from} is not seen in cold starts"
        );
        assert!(shows("wait"), "{to} instead of {from} is not seen in waits");
    }
}

/// Measures again what `docs/fidelity.md` says and draws its plot:
/// `FIDELITY_RUNS=5 cargo test --release --locked --workspace --test fidelity -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes, and is there to measure"]
#[expect(clippy::disallowed_methods, reason = "how often is asked of whoever measures")]
fn measure() {
    let runs = std::env::var("FIDELITY_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5);
    let told = told_with(&[]);
    for run in 1..=runs {
        let folder = tempfile::tempdir().expect("a folder");
        // The load begins at another part of a second each time.
        let late = Duration::from_millis(if run % 2 == 0 { 137 * run } else { 0 });
        let happened = live(&load(folder.path()), folder.path(), late);
        let busy = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let busy = busy.split_whitespace().next().unwrap_or("?").to_owned();
        println!("run {run}, load of the machine {busy}, begins {} ms late", late.as_millis());
        for one in differences(&happened, &told) {
            println!("{one}");
        }
        if run == runs {
            let path = worlds::root().join("docs/fidelity.svg");
            std::fs::write(path, plot::svg(&happened, &told)).expect("it is written");
        }
    }
}
