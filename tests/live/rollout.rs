//! Services that change while they serve.

use crate::client::Load;
use crate::world::{Place, Up, fake, services};

fn version(name: &str, version: &str, more: &str) -> String {
    fake(name, "300ms", &format!("env: {{VERSION: \"{version}\"}}\n{more}"))
}

pub fn a_new_revision_takes_over_without_a_failed_request() {
    let of = |number: &str| {
        services(&[version("chat", number, "minReplicas: 2\ncontainerConcurrency: 4")])
    };
    let place = Place::new(&of("1"));
    let up = Up::start(&place);
    up.until_ready("chat", 2);
    let before = up.pids("chat");
    let load = Load::start(up.gateway, "chat", 6, 10);
    up.until("load goes through", || (load.tally().answered >= 10).then_some(()));
    place.write("services.yaml", &of("2"));
    up.until_log("revision 2 takes all of its requests: 2 ready");
    up.until_log("revision 1 has left");
    up.until_service("chat", "has only replicas of revision 2", |service| {
        let replicas = service["replicas"].as_array().cloned().unwrap_or_default();
        replicas.len() >= 2 && replicas.iter().all(|one| one["revision"] == "2")
    });
    let so_far = load.tally().answered;
    up.until("load goes on", || (load.tally().answered >= so_far + 10).then_some(()));
    let tally = load.stop();
    assert_eq!(tally.failed, Vec::<String>::new());
    assert!(before.into_iter().all(|pid| !crate::world::runs(pid)));
    up.end_well();
}

pub fn without_room_for_both_the_old_revision_leaves_first() {
    let of = |number: &str| {
        services(&[version(
            "chat",
            number,
            "gpus: 1\nminReplicas: 1\nmaxReplicas: 1\ncontainerConcurrency: 4",
        )])
    };
    let place = Place::new(&of("1"));
    let up = Up::start(&place);
    up.until_ready("chat", 1);
    let load = Load::start(up.gateway, "chat", 3, 10);
    up.until("load goes through", || (load.tally().answered >= 10).then_some(()));
    place.write("services.yaml", &of("2"));
    up.until_log("there is no room for two revisions");
    up.until_service("chat", "has one replica of revision 2", |service| {
        let replicas = service["replicas"].as_array().cloned().unwrap_or_default();
        replicas.len() == 1 && replicas[0]["revision"] == "2" && service["ready"] == 1
    });
    let so_far = load.tally().answered;
    up.until("load goes on", || (load.tally().answered >= so_far + 10).then_some(()));
    assert_eq!(load.stop().failed, Vec::<String>::new());
    up.end_well();
}

pub fn a_canary_gets_its_share_and_is_promoted() {
    let of = |number: &str, percent: &str| {
        format!(
            "apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: chat}}
spec:
  predictor:
    minReplicas: 1
{percent}
    containers:
    - name: kserve-container
      command: [tidegate, fake-model, --model, v{number}, --load-time, 200ms]
      readinessProbe: {{httpGet: {{path: /health}}}}
"
        )
    };
    let place = Place::new(&of("1", ""));
    let up = Up::start(&place);
    up.until_ready("chat", 1);
    place.write("services.yaml", &of("2", "    canaryTrafficPercent: 25"));
    up.until_log("revision 2 takes 25 %");
    let load = Load::start(up.gateway, "chat", 2, 1);
    up.until("400 answers", || (load.tally().answered >= 400).then_some(()));
    let tally = load.stop();
    assert_eq!(tally.failed, Vec::<String>::new());
    let new = tally.models.iter().filter(|model| *model == "fake-v2").count();
    let share = new as f64 / tally.models.len() as f64;
    assert!((0.2..=0.3).contains(&share), "{new} of {}", tally.models.len());
    place.write("services.yaml", &of("2", "    canaryTrafficPercent: 100"));
    up.until_log("revision 1 has left");
    let load = Load::start(up.gateway, "chat", 2, 1);
    up.until("20 answers", || (load.tally().answered >= 20).then_some(()));
    let tally = load.stop();
    assert_eq!(tally.failed, Vec::<String>::new());
    assert!(tally.models.iter().all(|model| model == "fake-v2"), "{:?}", tally.models);
    up.end_well();
}

pub fn services_come_and_go_and_a_bad_file_changes_nothing() {
    let chat = || fake("chat", "200ms", "minReplicas: 1");
    let place = Place::new(&services(&[chat(), fake("old", "200ms", "minReplicas: 1")]));
    let up = Up::start(&place);
    up.until_ready("chat", 1);
    up.until_ready("old", 1);
    let before = up.pids("chat");
    for (bad, why) in [
        (services(&["- {name: chat, command: [x], minReplica: 1}\n".to_owned()]), "minReplica"),
        (services(&["- {name: chat}\n".to_owned()]), "command"),
        (services(&[fake("chat", "1s", "gpus: 7")]), "7 GPUs"),
        (services(&[fake("chat", "1s", "gpuShare: 0.5")]), "needs another start"),
        ("services: [".to_owned(), "services.yaml"),
    ] {
        let told = up.log().len();
        place.write("services.yaml", &bad);
        up.until(&format!("{why}: refused"), || {
            let log = up.log();
            log[told..]
                .lines()
                .any(|line| line.contains("the services stay as they are") && line.contains(why))
                .then_some(())
        });
        assert_eq!(up.complete("chat", 1).status, 200);
        assert_eq!(up.complete("old", 1).status, 200);
    }
    place.write("services.yaml", &services(&[chat(), fake("new", "200ms", "")]));
    up.until_log("services changed: new: new; gone: old");
    assert_eq!(up.complete("new", 1).status, 200);
    up.until("old is gone", || up.service("old").is_null().then_some(()));
    assert_eq!(up.complete("old", 1).status, 404);
    assert_eq!(up.pids("chat"), before, "chat never changed");
    // Back again, as a service like any other.
    place.write("services.yaml", &services(&[chat(), fake("old", "200ms", "")]));
    up.until("old is back", || (up.complete("old", 1).status == 200).then_some(()));
    up.end_well();
}
