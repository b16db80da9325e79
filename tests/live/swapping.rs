//! Policies that change while they decide.
#![expect(clippy::disallowed_methods, reason = "it writes files for a while")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Load;
use crate::world::{POLICIES, Place, USUAL, Up, fake, services};

/// The usual chain, with what is done where its second stage fails: each of them makes it another one.
fn on_failure(mode: &str) -> String {
    let usual =
        "scaling:\n- policy: builtin:knative\n- {policy: \"builtin:scale-to-zero\", onFailure: ";
    format!("{POLICIES}{usual}{mode}}}\n")
}

/// A chain of the guest that misbehaves in that way, and otherwise wants three replicas.
fn hostile(misbehave: &str) -> String {
    let guest = Path::new(env!("TIDEGATE_GUESTS")).join("hostile.wasm").display().to_string();
    format!(
        "{POLICIES}scaling:\n- {{name: hostile, policy: {guest:?}, settings: {{misbehave: {misbehave}}}}}\n"
    )
}

fn swaps(status: &Value, outcome: &str) -> u64 {
    let swaps = status["totals"]["swaps"].as_array().cloned().unwrap_or_default();
    swaps.iter().find(|one| one[0] == outcome).and_then(|one| one[1].as_u64()).unwrap_or(0)
}

pub fn swaps_under_load_lose_no_request_and_no_tick() {
    swap_for(Duration::from_secs(6));
}

pub fn a_minute_of_swaps_under_load_loses_no_request_and_no_tick() {
    swap_for(Duration::from_secs(60));
}

/// Replaces the policies file ten times a second under load.
fn swap_for(span: Duration) {
    let place = Place::new(&services(&[
        fake("chat", "200ms", "minReplicas: 1\nmaxReplicas: 3\ncontainerConcurrency: 4"),
        fake("code", "200ms", "maxReplicas: 2\ncontainerConcurrency: 4"),
    ]));
    let up = Up::start(&place);
    up.until_ready("chat", 1);
    let loads = ["chat", "code"].map(|name| Load::start(up.gateway, name, 3, 5));
    let until = Instant::now() + span;
    let mut written = 0;
    while Instant::now() < until {
        written += 1;
        place.write("policies.yaml", &on_failure(["hold", "closed"][written % 2]));
        // Files are looked at once a second; this has it done at once.
        let done = up.order("/api/policy/swap", &json!({}));
        assert_eq!(done.status, 200, "{done:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    place.write("policies.yaml", &on_failure("skip"));
    let mut swapped = 0;
    up.until("the last one decides", || {
        let status = up.status();
        let before = std::mem::replace(&mut swapped, swaps(&status, "swapped"));
        (swapped > 0 && swapped == before).then_some(())
    });
    for load in loads {
        let tally = load.stop();
        assert!(tally.answered > 0);
        assert_eq!(tally.failed, Vec::<String>::new());
    }
    let status = up.status();
    assert!(swapped >= written as u64 / 2, "{swapped} swaps of {written}");
    assert_eq!(swaps(&status, "refused"), 0, "{:#}", status["swaps"]);
    assert_eq!(status["totals"]["missedTicks"], 0, "{:#}", status["totals"]);
    let digests: BTreeSet<&str> = status["policies"]
        .as_array()
        .expect("policies")
        .iter()
        .filter_map(|one| one["digest"].as_str())
        .collect();
    for decision in status["decisions"].as_array().expect("decisions") {
        let digest = decision["digest"].as_str().expect("a digest");
        // Settings change, components do not: whatever decided is one of the two.
        assert!(digest.is_empty() || digests.contains(digest), "{decision:#} not of {digests:?}");
    }
    up.end_well();
}

pub fn a_bad_file_is_refused_and_one_that_traps_is_taken_back() {
    let place = Place::new(&services(&[fake("chat", "200ms", "minReplicas: 1\nmaxReplicas: 1")]));
    let up = Up::start(&place);
    up.until_ready("chat", 1);
    let last = |what: &str| {
        let status = up.status();
        let swaps = status["swaps"].as_array().cloned().unwrap_or_default();
        swaps.last().filter(|swap| swap["outcome"] == what).cloned()
    };

    place.write("policies.yaml", &format!("{POLICIES}scaling:\n- policy: builtin:knativ\n"));
    let refused = up.until("it is refused", || last("refused"));
    let message = refused["fault"].to_string();
    assert!(message.contains("knative"), "it tells the nearest name: {message}");
    up.until_log("refused, what decides stays");
    assert_eq!(up.complete("chat", 1).status, 200);

    place.write("policies.yaml", &on_failure("closed"));
    let first = up.until("it decides", || last("swapped"));
    // In order when it is tried on what there was: it minds two replicas that are ready.
    place.write("policies.yaml", &hostile("trap-at-two-ready"));
    let second = up.until("it decides", || {
        last("swapped").filter(|swap| swap["from"] == first["to"] && swap["to"] != first["to"])
    });
    let pin = up.order("/api/pin", &json!({"service": "chat", "replicas": 2, "for": "1h"}));
    assert_eq!(pin.status, 200, "{pin:?}");
    let back = up.until("it is taken back", || last("rolled-back"));
    assert_eq!((&back["from"], &back["to"]), (&second["to"], &second["from"]), "{back:#}");
    up.until_log("the policies before decide again: the new one failed three times");
    assert_eq!(up.complete("chat", 1).status, 200);

    // Then a person goes back further, as far as it goes.
    let done = up.order("/api/policy/rollback", &json!({}));
    assert_eq!(done.status, 200, "{done:?}");
    let back = up.until("the first decides", || last("went-back"));
    assert_eq!((&back["from"], &back["to"]), (&first["to"], &first["from"]), "{back:#}");
    let none = up.order("/api/policy/rollback", &json!({}));
    assert_eq!(none.status, 409, "{none:?}");
    assert_eq!(up.complete("chat", 1).status, 200);
    up.end_well();
}

pub fn a_shadow_tells_where_it_differs_and_a_dry_run_starts_nothing() {
    let place = Place::new(&services(&[fake(
        "chat",
        "200ms",
        "minReplicas: 1\nmaxReplicas: 4\ncontainerConcurrency: 4",
    )]));
    place.write("shadow.yaml", &hostile("nothing"));
    let shadow = place.path("shadow.yaml").display().to_string();
    let up = Up::with(&place, &["--shadow", &shadow]);
    up.until_ready("chat", 1);
    let load = Load::start(up.gateway, "chat", 2, 20);
    up.until("the shadow differs", || {
        let status = up.status();
        let policies = status["policies"].as_array().cloned().unwrap_or_default();
        policies.iter().any(|one| one["shadow"]["differing"].as_u64() > Some(0)).then_some(())
    });
    up.until_log("the shadow wants");
    assert_eq!(load.stop().failed, Vec::<String>::new());
    up.end_well();

    let place = Place::new(&services(&[fake("chat", "200ms", "minReplicas: 1\ntimeout: 2s")]));
    place.write("policies.yaml", &format!("{POLICIES}{USUAL}"));
    let up = Up::with(&place, &["--dry-run"]);
    let service = up.until_service("chat", "is wanted", |service| service["desired"] == 1);
    assert_eq!(service["ready"], 0);
    assert_eq!(up.status()["isDryRun"], true);
    let answer = up.complete("chat", 1);
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(up.pids("chat").is_empty());
    let logs = std::fs::read_dir(place.path("state/logs")).map_or(0, Iterator::count);
    assert_eq!(logs, 0, "nothing was started");
    up.end_well();
}
