//! Models that fail.

use rustix::process::Signal;

use crate::client::{Load, ask};
use crate::world::{Place, Up, fake, services, signal};

pub fn a_model_that_cannot_load_is_backed_off_and_says_why() {
    let broken = "- name: broken
  command: [tidegate, fake-model, --model, broken, --load-time, 100ms, --fail-load]
  ready: {http: /health}
  timeout: 4s
";
    let place = Place::new(&services(&[broken.to_owned(), fake("well", "200ms", "")]));
    let up = Up::start(&place);
    let answer = up.complete("broken", 2);
    assert_eq!(answer.status, 504, "{answer:?}");
    assert_eq!(answer.header("tidegate-reason"), Some("wait_expired"), "{answer:?}");
    up.until_log("cannot load, as it was told to fail");
    assert_eq!(up.complete("well", 2).status, 200);
    // It is wanted again; the back-off holds all the same.
    let again = up.complete("broken", 2);
    assert_eq!(again.status, 504, "{again:?}");
    let service = up.until_service("broken", "is backed off", |service| {
        service["targets"][0]["backOffUntil"].as_u64().is_some()
    });
    assert!(service["failed"].as_u64() >= Some(1), "{service:#}");
    let why = service["replicas"][0]["reason"].as_str().unwrap_or("");
    assert!(why.contains("cannot load, as it was told to fail"), "{service:#}");
    let failures = up.log().matches("broken: replica").count();
    assert!(failures <= 3, "{failures} within seconds\n{}", up.log());
    assert_eq!(up.complete("well", 2).status, 200);
    up.end_well();
}

pub fn a_replica_that_is_killed_under_load_is_replaced_and_its_requests_go_elsewhere() {
    let more = "minReplicas: 2\nmaxReplicas: 2\ncontainerConcurrency: 4";
    let place = Place::new(&services(&[fake("chat", "300ms", more)]));
    let up = Up::start(&place);
    up.until_ready("chat", 2);
    let load = Load::start(up.gateway, "chat", 6, 10);
    // What has no body can go anywhere as long as nothing has come back.
    let plain = Load::asking(up.gateway, "chat", 2, |gateway, service| {
        ask(gateway, "GET", &format!("/{service}/v1/models"), "", &[])
    });
    up.until("load goes through", || {
        (load.tally().answered >= 20 && plain.tally().answered >= 20).then_some(())
    });
    let killed = up.pids("chat")[0];
    signal(killed, Signal::KILL);
    up.until_log("signal 9 (KILL)");
    up.until_service("chat", "has two others", |service| {
        let replicas = service["replicas"].as_array().cloned().unwrap_or_default();
        let is_killed = |one: &serde_json::Value| one["pid"] == u64::from(killed);
        service["ready"] == 2 && !replicas.iter().any(is_killed)
    });
    let so_far = load.tally().answered;
    up.until("load goes on", || (load.tally().answered >= so_far + 20).then_some(()));
    assert_eq!(plain.stop().failed, Vec::<String>::new());
    // A body that was sent is not sent twice: those that were with the one that was killed are told.
    let lost = load.stop().failed;
    assert!(lost.len() <= 4, "{lost:#?}");
    assert!(lost.iter().all(|answer| answer.contains("502") && answer.contains("replica_failed")));
    up.end_well();
}
