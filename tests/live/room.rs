//! Who gets the GPU.

use crate::client::Load;
use crate::world::{Place, Up, fake, services};

pub fn an_idle_replica_makes_room_and_a_busy_one_does_not() {
    // An hour of retention: only that another waits can end them sooner.
    let more = "gpus: 1\nmaxReplicas: 1\nannotations: {autoscaling.knative.dev/scale-to-zero-pod-retention-period: 1h}";
    let place = Place::new(&services(&[fake("one", "200ms", more), fake("two", "200ms", more)]));
    let up = Up::start(&place);
    assert_eq!(up.complete("one", 2).status, 200);
    up.until_ready("one", 1);
    assert_eq!(up.complete("two", 2).status, 200, "one was idle");
    up.until_log("makes room for two");
    up.until_ready("one", 0);
    let load = Load::start(up.gateway, "two", 2, 20);
    up.until("two is busy", || (load.tally().answered >= 2).then_some(()));
    let gateway = up.gateway;
    let waits = std::thread::spawn(move || crate::world::complete(gateway, "one", 2));
    up.until_service("one", "finds no place", |service| {
        service["targets"][0]["unplaced"].is_string()
    });
    let before = load.tally().answered;
    up.until("two goes on", || (load.tally().answered >= before + 10).then_some(()));
    let tally = load.stop();
    assert_eq!(tally.failed, Vec::<String>::new());
    let answer = waits.join().expect("it does not panic").expect("an answer");
    assert_eq!(answer.status, 200, "two is idle now: {answer:?}");
    up.end_well();
}

pub fn two_services_share_a_gpu() {
    let half = |name: &str| {
        format!(
            "- name: {name}
  command: [sh, -c, 'env > {name}.env && exec \"$0\" fake-model --load-time 100ms', {:?}]
  workingDir: .
  ready: {{http: /health}}
  gpuShare: 0.5
  minReplicas: 1
",
            env!("CARGO_BIN_EXE_tidegate")
        )
    };
    let place = Place::new(&services(&[half("one"), half("two")]));
    let up = Up::start(&place);
    up.until_ready("one", 1);
    up.until_ready("two", 1);
    for name in ["one", "two"] {
        let told = std::fs::read_to_string(place.path(&format!("{name}.env")));
        let told = told.expect("it wrote its variables");
        let devices: Vec<&str> =
            told.lines().filter(|line| line.starts_with("CUDA_VISIBLE_DEVICES=")).collect();
        assert_eq!(devices, ["CUDA_VISIBLE_DEVICES=0"]);
        assert_eq!(up.complete(name, 2).status, 200);
    }
    let status = up.status();
    let uses = status["nodes"][0]["gpus"][0]["usedBy"].as_array().expect("a GPU").clone();
    let mut uses: Vec<(&str, f64)> = uses
        .iter()
        .map(|one| (one["service"].as_str().unwrap_or(""), one["share"].as_f64().unwrap_or(0.0)))
        .collect();
    uses.sort_by(|one, other| one.0.cmp(other.0));
    assert_eq!(uses, [("one", 0.5), ("two", 0.5)]);
    up.end_well();
}
