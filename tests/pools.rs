//! A service on two kinds of capacity, divided by a policy of scope `group`, from the command line.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const SERVICES: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: Services
services:
  - name: code
    trace: azure-llm-2023-code
    model: llama-3.1-8b
    pools:
      - name: on-demand
        nodeSelector: {capacity: on-demand}
      - name: spot
        nodeSelector: {capacity: spot}
";

const NODES: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: Nodes
nodes:
  - {name: od, count: 4, cpu: 96, memory: 512Gi, gpus: 8, gpuClass: A40, labels: {capacity: on-demand}}
  - {name: spot, count: 4, cpu: 96, memory: 512Gi, gpus: 8, gpuClass: A40, labels: {capacity: spot}, spot: true}
";

const FAULTS: &str = "\
faults:
  - nodeLost: {node: spot-0, atSeconds: 500}
  - nodeLost: {node: spot-1, atSeconds: 500}
  - nodeLost: {node: spot-2, atSeconds: 500}
  - nodeLost: {node: spot-3, atSeconds: 500}
";

/// The outcome of a replay of half an hour of code completion with a reserve of two replicas on demand; with `faults`, all spot
/// nodes are lost after 500 s.
fn replay(has_faults: bool) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("it is written");
    };
    let guest = Path::new(env!("TIDEGATE_GUESTS")).join("spot-first.wasm");
    let policies = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Policies\nscaling:\n  - policy: builtin:knative\n  - policy: {}\n    name: spot-first\n    settings: {{reserve: 2}}\n  - policy: builtin:scale-to-zero\n",
        guest.display()
    );
    write("services.yaml", SERVICES);
    write("nodes.yaml", NODES);
    write("policies.yaml", &policies);
    write("faults.yaml", FAULTS);
    let trace =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/traces/azure-llm-2023-code.csv.gz");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.current_dir(folder.path()).arg("replay").arg(trace).args([
        "--services",
        "services.yaml",
        "--nodes",
        "nodes.yaml",
        "--policies",
        "policies.yaml",
        "--until",
        "30m",
        "-o",
        "json",
    ]);
    if has_faults {
        command.args(["--faults", "faults.yaml"]);
    }
    let done = command.output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("it is JSON")
}

/// What a pool was to have over time: seconds and replicas.
fn desired(outcome: &Value, pool: &str) -> Vec<(f64, u64)> {
    let changes = outcome["services"][0]["changes"].as_array().expect("a list");
    let of_pool = changes.iter().filter(|change| change["pool"] == pool);
    of_pool
        .map(|change| {
            (change["atS"].as_f64().expect("seconds"), change["to"].as_u64().expect("replicas"))
        })
        .collect()
}

fn at(desired: &[(f64, u64)], at_s: f64) -> u64 {
    desired.iter().take_while(|(from_s, _)| *from_s <= at_s).last().map_or(0, |(_, to)| *to)
}

#[test]
fn spot_capacity_carries_all_but_the_reserve() {
    let outcome = replay(false);
    let (on_demand, spot) = (desired(&outcome, "on-demand"), desired(&outcome, "spot"));
    // Once the first cold starts are over, which took longer than its patience.
    let shares = [520.0, 900.0].map(|at_s| (at(&on_demand, at_s), at(&spot, at_s)));
    assert!(shares.iter().all(|(on_demand, spot)| *on_demand == 2 && *spot > 2), "{shares:?}");
    let requests = &outcome["summary"]["requests"];
    let count = |name: &str| requests[name].as_u64().expect("a count");
    assert_eq!(
        count("arrived"),
        count("served") + count("expired") + count("failed") + count("unfinished")
    );
    assert_eq!((count("expired"), count("failed")), (0, 0));
    let series = &outcome["services"][0]["series"]["desired"];
    let most = series.as_array().expect("a list").iter().filter_map(Value::as_u64).max();
    assert!(most >= spot.iter().map(|(_, to)| *to).max(), "the series is of all pools");
}

#[test]
fn capacity_on_demand_stands_in_when_spot_nodes_are_lost() {
    let outcome = replay(true);
    let (on_demand, spot) = (desired(&outcome, "on-demand"), desired(&outcome, "spot"));
    assert_eq!(at(&on_demand, 499.0), 2);
    // The next burst wants spot replicas from 568 s on; patience is over 120 s later, and what is missing is asked for on demand.
    assert_eq!((at(&on_demand, 687.0), at(&on_demand, 689.0) > 2), (2, true));
    let (stands_in, missing) = (at(&on_demand, 700.0), at(&spot, 700.0));
    assert!(missing > 0);
    assert_eq!(stands_in, 2 + missing);
    assert_eq!(outcome["summary"]["requests"]["expired"], 0);
}
