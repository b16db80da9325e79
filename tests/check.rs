//! `tidegate check` and `tidegate profile` as users type them: what is told of files that are wrong, and of those in `fixtures`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository")
}

/// A folder with files, in which `tidegate` runs.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Folder {
        let folder = Folder(tempfile::tempdir().expect("a folder"));
        for (name, content) in files {
            std::fs::write(folder.0.path().join(name), content).expect("it is written");
        }
        folder
    }

    fn run(&self, line: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(self.0.path())
            .env("XDG_CACHE_HOME", self.0.path().join("cache"))
            .args(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // It may have ended without reading.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    /// What a check prints, stderr behind stdout, and its exit code.
    fn check(&self, arguments: &[&str]) -> String {
        self.check_with(arguments, "")
    }

    fn check_with(&self, arguments: &[&str], input: &str) -> String {
        let done = self.run(&[&["check"], arguments].concat(), input);
        let code = done.status.code().expect("no signal ended it");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
        format!("{}{}exit code {code}", text(done.stdout), text(done.stderr))
    }
}

/// Checks one file of that name.
fn check(name: &str, content: &str) -> String {
    Folder::with(&[(name, content)]).check(&[name])
}

fn fixture(path: &str) -> String {
    root().join("fixtures").join(path).display().to_string()
}

fn own(kind: &str, rest: &str) -> String {
    format!("apiVersion: tidegate.dev/v1alpha1\nkind: {kind}\n{rest}")
}

/// A component of the tests, in the folder that the build left.
fn guest(name: &str) -> PathBuf {
    Path::new(env!("TIDEGATE_GUESTS")).join(name)
}

/// A component in text form, as a binary.
fn component(wat: &str) -> Vec<u8> {
    let file = root().join("fixtures/hostile").join(wat);
    wat::parse_file(file).expect("it is in order")
}

#[test]
fn a_file_that_is_wrong_is_told_line_by_line() {
    assert_snapshot!(check("profile.yaml", "stable-window: 2s\nmax-scale-up-rat: 20\nmin-scale: 5\nmax-scale: 3\n"), @r#"
    profile.yaml:1: error: stable-window is "2s", expected 6s to 1h, whole seconds
    profile.yaml:2: warning: no such setting: max-scale-up-rat; did you mean max-scale-up-rate?
    profile.yaml:3: error: min-scale is "5", expected a max-scale of at least min-scale, or 0 for none
    profile.yaml:4: error: max-scale is "3", expected a max-scale of at least min-scale, or 0 for none
    3 errors, 1 warning in 1 file
    exit code 1
    "#);
    assert_snapshot!(check("isvc.yaml", "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: a\n  annotations:\n    autoscaling.knative.dev/target: lots\n    autoscaling.knative.dev/windw: 60s\nspec:\n  predictor:\n    minReplica: 1\n    maxReplicas: two\n    model: {storageUri: hf://Qwen/Qwen3-32B}\n"), @r#"
    isvc.yaml:6: error: metadata.annotations.autoscaling.knative.dev/target is "lots", expected a number, at least 0.01
    isvc.yaml:7: warning: no such setting: autoscaling.knative.dev/windw; did you mean autoscaling.knative.dev/window?
    isvc.yaml:10: warning: spec.predictor.minReplica is no known key and has no effect; did you mean minReplicas?
    isvc.yaml:11: error: spec.predictor.maxReplicas is "two", expected a whole number of at least 0
    2 errors, 2 warnings in 1 file
    exit code 1
    "#);
    assert_snapshot!(check("services.yaml", &own("Services", "services:\n- {name: a, modle: x}\n- {name: a}\n")), @r"
    services.yaml:4: error: services[0].modle is no known key, expected model
    services.yaml:4: warning: service a: nothing says which model it serves; it is taken as llama-3.1-8b, unless model says which
    services.yaml:5: error: the service's name is a, expected a name that no earlier service has
    services.yaml:5: warning: service a: nothing says which model it serves; it is taken as llama-3.1-8b, unless model says which
    2 errors, 2 warnings in 1 file
    exit code 1
    ");
    assert_snapshot!(check("nodes.yaml", &own("Nodes", "nodes:\n- {name: a, cpu: lots, memory: 1Gi, gpus: 1, gpuClass: A4}\n")), @r#"
    nodes.yaml:4: error: nodes[0].cpu is "lots", expected a quantity, as 4, 500m or 16Gi
    nodes.yaml:4: error: nodes[0].gpuClass is "A4", expected A40
    2 errors in 1 file
    exit code 1
    "#);
    assert_snapshot!(check("models.yaml", &own("Models", "models:\n- {name: a, loader: sleep-9}\n")), @r#"
    models.yaml:4: error: models[0].loader is "sleep-9", expected sleep-1
    models.yaml:4: error: models[0].engine is missing, expected the name of an engine
    models.yaml:4: error: models[0].parametersBillion is missing, expected a number above 0
    models.yaml:4: error: models[0].kvBytesPerToken is missing, expected a number of at least 0
    4 errors in 1 file
    exit code 1
    "#);
    assert_snapshot!(check("faults.yaml", "faults:\n- nodeLos: {node: a}\n- startFails: {service: a, probability: 2}\n"), @r"
    faults.yaml:2: error: faults[0].nodeLos is no known key, expected nodeLost
    faults.yaml:3: error: faults[1].startFails.probability is 2, expected 0 to 1
    2 errors in 1 file
    exit code 1
    ");
    assert_snapshot!(check("load.csv", "t_s,prompt_tokens,output_tokens\n0,1,2\nx,1,2\n5,1\n4,a,2\n6,1,1\n3,1,1\n"), @r"
    load.csv:3: error: column `t_s`: expected seconds such as 12.345, 0 to 3155760000 (100 years), found `x`
    load.csv:4: error: expected 3 fields, as in the first line, found 2
    load.csv:5: error: column `prompt_tokens`: expected a whole number of tokens, 0 to 4294967295, found `a`
    load.csv:7: error: column `t_s`: 3 s comes before the row above, at 6 s; expected rows sorted by time
    4 errors in 1 file
    exit code 1
    ");
    assert_snapshot!(check("rates.csv", "t_s,a_rps\n0,1\n60,-1\n120\n60,1\n"), @r"
    rates.csv:3: error: column `a_rps`: expected requests per second such as 212.78, 0 to 1000000, found `-1`
    rates.csv:4: error: expected 2 fields, as in the first line, found 1
    2 errors in 1 file
    exit code 1
    ");
    assert_snapshot!(check("minutes.csv", "minute,app,concurrency\n0,a,1\n0,a,2\n1,b,lots\n1,,1\n"), @r"
    minutes.csv:3: error: minute 0 of `a` has a row already; expected one
    minutes.csv:4: error: column `concurrency`: expected requests in flight such as 2.5, 0 to 1000000000, found `lots`
    minutes.csv:5: error: column `app`: expected a name, found nothing
    3 errors in 1 file
    exit code 1
    ");
    assert_snapshot!(check("broken.yaml", "kind: Policies\nscaling: [\n"), @r"
    broken.yaml:2:10: error: unclosed bracket '['
    1 error in 1 file
    exit code 1
    ");
    assert_snapshot!(check("settings.json", "{\"settings\": {\"minimum\": 2},\n \"service\": {\"annotations\": {\"autoscaling.knative.dev/target\": \"0\"}}}"), @r"
    settings.json:1: error: settings.minimum: unknown field `minimum`, there are no fields
    1 error in 1 file
    exit code 1
    ");
}

#[test]
fn a_policies_file_is_told_all_that_is_wrong_with_its_chain() {
    let policies = own(
        "Policies",
        "scaling:\n- policy: builtin:scale-to-zer\n- policy: builtin:knative\n  settings:\n    minimum: 2\n- policy: builtin:affinity\n- policy: gone.wasm\n  fallback: builtin:knativ\nplacement:\n  policy: builtin:knative\n",
    );
    assert_snapshot!(check("policies.yaml", &policies), @r"
    policies.yaml:4: error: scaling[0].policy: no policy scale-to-zer is built in; did you mean builtin:scale-to-zero?
    policies.yaml:7: error: scaling[1].settings.minimum: unknown field `minimum`, there are no fields
    policies.yaml:8: error: scaling[2].policy: this policy does not scale
    policies.yaml:9: error: scaling[3].policy: cannot read gone.wasm: No such file or directory (os error 2)
    policies.yaml:10: error: scaling[3].fallback: no policy knativ is built in; did you mean builtin:knative?
    policies.yaml:12: error: placement.policy: this policy does not place
    6 errors in 1 file
    exit code 1
    ");
    let misspelt = own(
        "Policies",
        "scaling:\n- policy: office-hours.wasm\n  limits: {fuel: 200000}\n  settings:\n    minimun: 2\n    hours: {form: 9, tow: 3}\nplacement:\n  policy: builtin:affinity\n  settings: {gpuClas: 1}\n",
    );
    let folder = Folder::with(&[("policies.yaml", &misspelt)]);
    std::fs::copy(guest("office-hours.wasm"), folder.0.path().join("office-hours.wasm"))
        .expect("a copy");
    assert_snapshot!(folder.check(&["policies.yaml"]), @r"
    policies.yaml:6: error: scaling[0].settings: missing field `minimum`
    policies.yaml:7: error: scaling[0].settings.minimun: unknown field `minimun`, expected `minimum` or `hours`; did you mean `minimum`?
    policies.yaml:8: error: scaling[0].settings.hours.form: unknown field `form`, expected one of `from`, `to`, `days`, `utcOffset`; did you mean `from`?
    policies.yaml:8: error: scaling[0].settings.hours.tow: unknown field `tow`, expected one of `from`, `to`, `days`, `utcOffset`
    policies.yaml:11: error: placement.settings.gpuClas: unknown field `gpuClas`, expected `gpuMemoryUtilization`
    5 errors in 1 file
    exit code 1
    ");
    let reversed =
        own("Policies", "scaling:\n- policy: builtin:scale-to-zero\n- policy: builtin:knative\n");
    assert_snapshot!(check("policies.yaml", &reversed), @r"
    policies.yaml:4: error: scaling[0].policy: scale-to-zero needs the proposal of earlier stages, but is the first
    1 error in 1 file
    exit code 1
    ");
    let limited =
        own("Policies", "scaling:\n- policy: builtin:knative\nlimits: {fuelOfRareCalls: 10}\n");
    // Which function it was in depends on how the policy was compiled.
    let told = check("policies.yaml", &limited);
    let (before, rest) = told.split_once(" in `").expect("the function is told");
    let told = format!("{before} in `FUNCTION`{}", rest.split_once('`').expect("it ends").1);
    assert_snapshot!(told, @r"
    policies.yaml:4: error: scaling[0]: it cannot say whether it takes the settings: it used up its fuel of 100,000 in `FUNCTION`: an endless loop, or too much work for one call
    1 error in 1 file
    error: a policy trapped or overran while it was checked
    exit code 3
    ");
}

#[test]
fn a_component_is_told_what_it_is_or_why_it_cannot_be_one() {
    let folder = Folder::with(&[("settings.json", "{\"settings\": {\"minimum\": \"two\"}}")]);
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.0.path().join(name), bytes).expect("it is written");
    };
    let office_hours = std::fs::read(guest("office-hours.wasm")).expect("the build left it");
    file("office-hours.wasm", &office_hours);
    file("wasi.wasm", &component("imports-wasi.wat"));
    file("module.wasm", &component("core-module.wat"));
    file("trap.wasm", &component("traps-at-start.wat"));
    file("text.wasm", b"(component)");
    let size = |text: String| {
        let lines = text.lines().map(|line| match line.split_once(", ") {
            Some((head, tail)) if tail.contains("KiB of 4 MiB") => {
                format!("{head}, SIZE of {}", tail.split_once(" of ").map_or("", |(_, rest)| rest))
            }
            Some(_) | None => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(size(folder.check(&["office-hours.wasm"])), @r"
    office-hours.wasm: warning: it needs settings: missing field `minimum`
    office-hours.wasm: a scaling policy, SIZE of 4 MiB, in order but for 1 warning
      exports   tidegate:policy/scaling@0.1.0
      imports   nothing
      settings  minimum, hours.from, hours.to, hours.days, hours.utcOffset
    1 warning in 1 file
    exit code 0
    ");
    assert_snapshot!(size(folder.check(&["settings.json", "office-hours.wasm"])), @r#"
    settings.json:1: error: settings.minimum: invalid type: string "two", expected u32
    office-hours.wasm: warning: it needs settings: missing field `minimum`
    office-hours.wasm: a scaling policy, SIZE of 4 MiB, in order but for 1 warning
      exports   tidegate:policy/scaling@0.1.0
      imports   nothing
      settings  minimum, hours.from, hours.to, hours.days, hours.utcOffset
    1 error, 1 warning in 2 files
    exit code 1
    "#);
    assert_snapshot!(folder.check(&["wasi.wasm", "module.wasm", "text.wasm"]), @r"
    wasi.wasm: error: the component imports wasi:clocks/wall-clock@0.2.0#now, wasi:clocks/wall-clock@0.2.0#resolution, and a policy imports nothing
      hint: build for wasm32-unknown-unknown, which has no WASI; from C, Python or JavaScript with the options that stub WASI out (`--stub-wasi`)
    module.wasm: error: this is a core module, not a component
      hint: link with `wasm-component-ld`, as in `-C linker=wasm-component-ld`, or wrap the module with `wasm-tools component new`
    text.wasm: error: this is not Wasm: the file begins with `(component)`
      hint: this is the text format: turn it into a binary with `wasm-tools parse`
    3 errors in 3 files
    exit code 1
    ");
    assert_snapshot!(folder.check(&["trap.wasm"]), @r"
    trap.wasm: error: the component does not start: it panicked or gave up on purpose in `start`
      hint: do less in a start function or a static initialiser
    1 error in 1 file
    error: a policy trapped or overran while it was checked
    exit code 3
    ");
}

#[test]
fn files_that_are_given_together_are_checked_together() {
    let services = own(
        "Services",
        "services:\n- name: code\n  nodeSelector: {gpu.nvidia.com/clas: A40}\n  gpus: 16\n- name: chat\n  maxReplicas: 20\n  affinity:\n    nodeAffinity:\n      requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n        - matchExpressions:\n          - {key: gpu.nvidia.com/class, operator: In, values: [A41, A40]}\n",
    );
    let folder = Folder::with(&[
        ("services.yaml", services.as_str()),
        ("profile.yaml", "max-scale-limit: 10\nmax-scale: 5\n"),
        (
            "faults.yaml",
            "faults:\n- nodeLost: {node: a40-00, atSeconds: 1}\n- startFails: {service: cod, probability: 1}\n",
        ),
    ]);
    let nodes = fixture("nodes/default.yaml");
    let found = folder.check(&["services.yaml", "profile.yaml", "faults.yaml", &nodes]);
    assert_snapshot!(found.replace(&nodes, "nodes.yaml"), @r#"
    services.yaml:4: error: service code: no node of nodes.yaml has room for a replica, which takes 16 GPUs, 4 CPUs and 32 GiB
    services.yaml:4: warning: service code: nothing says which model it serves; it is taken as llama-3.1-8b, unless model says which
    services.yaml:5: warning: service code: no node of nodes.yaml has the label gpu.nvidia.com/clas; did you mean gpu.nvidia.com/class?
    services.yaml:7: error: service chat: autoscaling.knative.dev/max-scale is "20", expected 1 to 10, the cluster's max-scale-limit, with the profile profile.yaml
    services.yaml:7: warning: service chat: nothing says which model it serves; it is taken as llama-3.1-8b, unless model says which
    services.yaml:14: warning: service chat: no node of nodes.yaml has gpu.nvidia.com/class "A41"; did you mean A40?
    profile.yaml: a profile with 2 settings, in order
    faults.yaml:2: error: faults[0].nodeLost.node: there is no node a40-00; did you mean a40-0?
    faults.yaml:3: error: faults[1].startFails.service: there is no service cod; did you mean code?
    nodes.yaml: 8 nodes with 64 GPUs, in order
    4 errors, 4 warnings in 4 files
    exit code 1
    "#);
}

#[test]
fn what_is_no_file_of_ours_is_not_checked_and_the_others_are() {
    let folder = Folder::with(&[
        ("profile.yaml", "stable-window: 90s\n"),
        ("policies.yaml", "apiVersion: tidegate.dev/v1alpha1\nkind: Polices\n"),
        ("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\n"),
        ("other.yaml", "colour: red\n"),
    ]);
    let all = ["profile.yaml", "policies.yaml", "deployment.yaml", "other.yaml", "gone.yaml"];
    assert_snapshot!(folder.check(&all), @r"
    profile.yaml: a profile with 1 setting, in order
    policies.yaml: not checked: it is a Polices of tidegate.dev/v1alpha1; did you mean Policies?
    deployment.yaml: not checked: it is a Deployment of apps/v1, which is none of Services, Nodes, Models, Policies, Suite, ConfigMap, InferenceService
    other.yaml: not checked: nothing says what it is: it has no kind, and begins with colour
    gone.yaml: not checked: cannot read it: No such file or directory (os error 2)
    no faults in 1 file, 4 files not checked
    error: cannot check policies.yaml
    cause: it is a Polices of tidegate.dev/v1alpha1; did you mean Policies?
    exit code 2
    ");
}

#[test]
fn a_config_map_comes_through_standard_input() {
    let text = std::fs::read_to_string(fixture("profiles/knative-config-autoscaler.yaml"))
        .expect("it is there");
    let folder = Folder::with(&[]);
    assert_snapshot!(folder.check_with(&["-"], &text), @r"
    <stdin>: a profile of Knative's defaults, in order
    no faults in 1 file
    exit code 0
    ");
    let edited = text.replace("stable-window: \"60s\"", "stable-window: \"90s\"");
    assert_snapshot!(folder.check_with(&["-"], &edited), @r"
    <stdin>:27: warning: data._example was edited and has no effect: settings stand directly below data
    <stdin>: a profile of Knative's defaults, in order but for 1 warning
    1 warning in 1 file
    exit code 0
    ");
    assert_snapshot!(folder.check_with(&["-", "--strict"], &edited), @r"
    <stdin>:27: warning: data._example was edited and has no effect: settings stand directly below data
    <stdin>: a profile of Knative's defaults, in order but for 1 warning
    1 warning in 1 file
    exit code 1
    ");
    assert_snapshot!(folder.check_with(&["-"], ""), @r"
    <stdin>: not checked: it is empty: what was to write it has written nothing
    no faults in 0 files, 1 file not checked
    error: cannot check <stdin>
    cause: it is empty: what was to write it has written nothing
    exit code 2
    ");
}

#[test]
fn every_fixture_is_in_order_or_refused_for_what_it_is() {
    let mut files = Vec::new();
    for place in ["manifests", "profiles", "nodes", "models", "traces"] {
        let entries = std::fs::read_dir(fixture(place)).expect("the folder is there");
        for entry in entries {
            let path = entry.expect("it can be read").path();
            let name = path.display().to_string();
            let is_table_of_classes = name.ends_with("gpu-classes.csv");
            if !name.ends_with(".md") && !is_table_of_classes {
                files.push(name);
            }
        }
    }
    files.sort();
    let folder = Folder::with(&[]);
    let found: Vec<String> = files
        .iter()
        .map(|file| {
            let found = folder.check(&[file]);
            let kept = found.lines().filter(|line| {
                line.contains("error:")
                    || line.contains(" in order")
                    || line.contains("not checked")
            });
            kept.collect::<Vec<_>>().join("\n").replace(&fixture(""), "")
        })
        .collect();
    assert_snapshot!(found.join("\n"), @r"
    manifests/canary-10.yaml: 1 service, in order but for 1 warning
    manifests/demo.yaml: 2 services, in order
    manifests/flowers-container-concurrency.yaml: 1 service, in order but for 1 warning
    manifests/flowers-gpu-kpa-target.yaml: 1 service, in order but for 1 warning
    manifests/hf-llama2-7b.yaml: 1 service, in order
    manifests/hf-llama3-8b.yaml: 1 service, in order
    manifests/hf-llama3-local-model-cache.yaml: 1 service, in order
    manifests/hf-llama3-multinode-workerspec.yaml:14: error: spec.predictor.workerSpec is a map, expected nothing: a replica over several nodes cannot be scaled yet
    manifests/hpa-sklearn.yaml: 1 service, in order but for 4 warnings
    manifests/keda-opt-prometheus.yaml: 1 service, in order but for 3 warnings
    manifests/kpa-gpu-scale-metric.yaml: 1 service, in order but for 1 warning
    manifests/llama-31-8b-scale-to-zero-s3.yaml: 1 service, in order
    manifests/llmisvc-llama-hpa.yaml:2: error: kind is LLMInferenceService of serving.kserve.io/v1alpha2, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1
    manifests/llmisvc-qwen2-7b.yaml:2: error: kind is LLMInferenceService of serving.kserve.io/v1alpha2, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1
    manifests/mnist-pvc-v1alpha2.yaml:2: error: kind is InferenceService of serving.kserve.io/v1alpha2, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1
    manifests/own-bloom-176b-fallback.yaml: 1 service, in order
    manifests/own-gptj-a40.yaml: 1 service, in order
    manifests/own-knative-stable-diffusion.yaml: 1 service, in order but for 1 warning
    manifests/qwen-keda-scaled.yaml: 1 service, in order but for 3 warnings
    manifests/rollout-strategy-multidoc.yaml: 3 services, in order but for 7 warnings
    manifests/sklearn-canary-percent.yaml: 1 service, in order but for 1 warning
    manifests/tensorflow-gpu-annotation.yaml: 1 service, in order but for 1 warning
    manifests/torchserve-bloom-560m.yaml: 1 service, in order but for 2 warnings
    manifests/transformer-collocation.yaml: 1 service, in order but for 1 warning
    manifests/transformer-node-selector-tolerations.yaml: 1 service, in order but for 2 warnings
    manifests/triton-multi-model.yaml: 1 service, in order but for 1 warning
    models/catalogue.yaml: models for the catalogue, in order
    nodes/default.yaml: 8 nodes with 64 GPUs, in order
    nodes/openb-nodes-a.csv: 1,020 nodes with 4,155 GPUs, in order but for 2 warnings
    profiles/config-autoscaler.yaml: a profile with 3 settings, in order
    profiles/knative-config-autoscaler.yaml: a profile of Knative's defaults, in order
    profiles/patient.yaml: a profile with 9 settings, in order
    traces/aibrix-8min-up-down.csv.gz: load of 1 service, 0:07:35 long, in order
    traces/azure-functions-2019-apps.csv:1: error: has no column `t_s`, the time of each row; found `app`, `invocations_per_day`, `avg_memory_mb`, `max_concurrency`, `cold_starts_knative_default`, `cold_starts_femux`
    traces/azure-functions-2019-concurrency.csv.gz: load of 60 services, 24:00:00 long, in order
    traces/azure-functions-2021-sample.csv: load of 31 services, 0:20:00 long, in order
    traces/azure-llm-2023-code.csv.gz: load of 1 service, 0:34:40 long, in order
    traces/longtail-demo.csv.gz: load of 1 service, 3:59:35 long, in order
    traces/mooncake-synthetic.csv.gz: load of 1 service, 0:08:30 long, in order
    traces/servegen-deepseek-r1-24h.csv.gz: load of 1 service, 23:59:56 long, in order
    traces/servegen-longtail-7d.csv.gz: load of 26 services, 167:59:58 long, in order
    traces/servegen-rates-1d.csv: load of 2 services, 24:00:00 long, in order
    traces/servegen-rates-7d.csv.gz: load of 3 services, 168:00:00 long, in order
    ");
}

#[test]
fn findings_come_as_json_and_as_sarif() {
    let folder =
        Folder::with(&[("a b.yaml", "stable-windo: 60s\nmin-scale: -1\n"), ("c.yaml", "a: [\n")]);
    assert_snapshot!(folder.check(&["a b.yaml", "-o", "json"]), @r#"
    {
      "apiVersion": "tidegate.dev/v1alpha1",
      "errors": 1,
      "files": [
        {
          "about": "",
          "details": [],
          "file": "a b.yaml",
          "findings": [
            {
              "line": 1,
              "message": "no such setting: stable-windo; did you mean stable-window?",
              "nearest": "stable-window",
              "path": "stable-windo",
              "severity": "warning"
            },
            {
              "line": 2,
              "message": "min-scale is \"-1\", expected 0 or more",
              "path": "min-scale",
              "severity": "error"
            }
          ],
          "kind": "profile"
        }
      ],
      "kind": "Check",
      "unchecked": [],
      "warnings": 1
    }
    exit code 1
    "#);
    let done = folder.run(&["check", "a b.yaml", "c.yaml", "gone.yaml", "-o", "sarif"], "");
    let log: serde_json::Value = serde_json::from_slice(&done.stdout).expect("it is JSON");
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("a list");
    let results = run["results"].as_array().expect("a list");
    let told: Vec<String> = results
        .iter()
        .map(|result| {
            let rule = &rules[result["ruleIndex"].as_u64().expect("a position") as usize]["id"];
            assert_eq!(*rule, result["ruleId"]);
            let place = &result["locations"][0]["physicalLocation"];
            format!(
                "{} {} {} {}: {}",
                result["ruleId"],
                result["level"],
                place["artifactLocation"]["uri"],
                place["region"],
                result["message"]["text"]
            )
        })
        .collect();
    assert_snapshot!(told.join("\n"), @r#"
    "profile" "warning" "a%20b.yaml" {"startLine":1}: "no such setting: stable-windo; did you mean stable-window?"
    "profile" "error" "a%20b.yaml" {"startLine":2}: "min-scale is \"-1\", expected 0 or more"
    "profile" "error" "c.yaml" {"startColumn":4,"startLine":1}: "unclosed bracket '['"
    "#);
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    assert_eq!(invocation["toolExecutionNotifications"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_profile_that_is_shown_is_one_that_reads_as_itself() {
    let folder = Folder::with(&[]);
    for name in ["knative", "gpu", "gpu-2021"] {
        let shown = folder.run(&["profile", "show", name], "").stdout;
        std::fs::write(folder.0.path().join("shown.yaml"), shown).expect("it is written");
        let numbers = |name: &str| folder.run(&["profile", "show", name, "--resolved"], "").stdout;
        assert_eq!(numbers("shown.yaml"), numbers(name), "{name}");
    }
    let list = String::from_utf8(folder.run(&["profile", "list"], "").stdout).expect("text");
    assert_snapshot!(list, @r"
    knative   Knative's defaults
    gpu       values for GPU inference that CoreWeave publishes in its documentation, August 2026
    gpu-2021  an older published tuning for GPU inference, with a tick of 15 s
    ");
    let shown = String::from_utf8(folder.run(&["profile", "show", "gpu"], "").stdout);
    let set = shown.expect("text");
    let set: Vec<&str> = set
        .lines()
        .skip_while(|line| *line != "data:")
        .take_while(|line| !line.contains("The rest"))
        .collect();
    assert_snapshot!(set.join("\n"), @r#"
    data:

      # How long the gateway must be in the path before the last replica goes. Above 0s.
      scale-to-zero-grace-period: "60s"

      # How long demand must stay low before replicas go. 0s or more, whole seconds.
      scale-down-delay: "60s"

      # How long the last replica stays after the revision became inactive. 0s or more.
      scale-to-zero-pod-retention-period: "30m"

      # Share of a replica's concurrency that is aimed at. Above 0 and at most 100; up to 1 it is a fraction.
      container-concurrency-target-percentage: "85"

      # How many times the ready replicas may be wanted at once. Above 1.
      max-scale-up-rate: "20"

      # What part of the ready replicas must stay at once: one over this. Above 1.
      max-scale-down-rate: "1.1"

      # Length of the long window. 6s to 1h, whole seconds.
      stable-window: "180s"

      # Length of the short window, per cent of the long one. 1 to 100.
      panic-window-percentage: "13.0"

      # Per cent of the ready replicas that must be wanted to begin panic.
      panic-threshold-percentage: "200"
    "#);
}

#[test]
fn the_tick_of_a_profile_stands_in_every_form_of_a_timeline() {
    let folder = Folder::with(&[]);
    let trace = fixture("traces/longtail-demo.csv.gz");
    let replay = |more: &[&str]| {
        let line = ["replay", &trace, "--profile", "gpu-2021", "--until", "2m"];
        let done = folder.run(&[&line, more].concat(), "");
        assert!(done.status.success());
        String::from_utf8(done.stdout).expect("text")
    };
    assert!(replay(&["--report", "page.html"]).contains("a tick every 15 s"));
    let page = std::fs::read_to_string(folder.0.path().join("page.html")).expect("it is written");
    assert!(page.contains("a tick every 15 s"));
    assert!(replay(&["-o", "json"]).contains("\"tickMs\": 15000"));
}

#[test]
fn what_kubectl_prints_of_several_objects_is_read_as_its_items() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: serving.kserve.io/v1beta1\n  kind: InferenceService\n  metadata: {name: chat, annotations: {tidegate.dev/model: opt-30b, serving.kserve.io/deploymentMode: RawDeployment}}\n  spec:\n    predictor:\n      minReplica: 0\n      model: {modelFormat: {name: huggingface}}\n- apiVersion: v1\n  kind: Secret\n";
    assert_snapshot!(Folder::with(&[]).check_with(&["-"], list), @r"
    <stdin>:6: warning: deploymentMode RawDeployment has no effect: it is taken as Knative, where requests wait for the first replica
    <stdin>:9: warning: spec.predictor.minReplica is no known key and has no effect; did you mean minReplicas?
    <stdin>:11: warning: Secret of v1 is no service and has no effect
    <stdin>: 1 service, in order but for 3 warnings
    3 warnings in 1 file
    exit code 0
    ");
    let maps = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: config-gc}, data: {a: b}}\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: config-autoscaler}\n  data: {stable-window: 2s}\n";
    assert_snapshot!(Folder::with(&[]).check_with(&["-"], maps), @r#"
    <stdin>:8: error: stable-window is "2s", expected 6s to 1h, whole seconds
    1 error in 1 file
    exit code 1
    "#);
    assert_snapshot!(Folder::with(&[]).check_with(&["-"], "kind: ConfigMap\nmetadata: {name: config-gc}\ndata: {stable-window: 60s, max-scale-limit: \"10\", max-scale: \"20\"}\n"), @r#"
    <stdin>:2: warning: the ConfigMap is called config-gc: Knative reads config-autoscaler, and this one has no effect there
    <stdin>:3: error: max-scale is "20", expected 1 to 10, the max-scale-limit
    1 error, 1 warning in 1 file
    exit code 1
    "#);
}

#[test]
fn a_key_that_is_there_twice_hides_no_other_fault() {
    let text = "stable-window: 60s\npanic-threshold-percentage: x\nstable-window: 2s\nscale-down-delay: 60\n";
    assert_snapshot!(check("profile.yaml", text), @r#"
    profile.yaml:2: error: panic-threshold-percentage is "x", expected a number
    profile.yaml:3: error: stable-window is there again, after line 1, expected each key once
    profile.yaml:4: error: scale-down-delay is "60", expected a duration with its unit (as in 30s), 0s or more, whole seconds
    3 errors in 1 file
    exit code 1
    "#);
    assert_snapshot!(check("settings.yaml", "settings: {a: 1, a: 2}\n"), @r"
    settings.yaml:1: error: settings.a is there again, after line 1, expected each key once
    1 error in 1 file
    exit code 1
    ");
}

#[test]
fn standard_input_that_is_empty_is_a_fault() {
    assert_snapshot!(Folder::with(&[]).check_with(&["-"], " \n"), @r"
    <stdin>: not checked: it is empty: what was to write it has written nothing
    no faults in 0 files, 1 file not checked
    error: cannot check <stdin>
    cause: it is empty: what was to write it has written nothing
    exit code 2
    ");
}

#[test]
fn a_file_name_is_shown_without_what_a_terminal_would_obey() {
    let told = check("a\u{1b}[31m.yaml", "kind: ConfigMap\n");
    assert!(!told.contains('\u{1b}'), "{told:?}");
    assert!(told.starts_with(r"a\u{1b}[31m.yaml:1: warning:"), "{told:?}");
}

#[test]
fn a_service_without_load_is_told_what_to_write_for_the_load_that_no_service_wants() {
    let services = own("Services", "services:\n- {name: chat, model: opt-30b}\n");
    let folder = Folder::with(&[("s.yaml", &services), ("t.csv", "t_s,duration_s\n0,1\n")]);
    assert_snapshot!(folder.check(&["s.yaml", "t.csv"]), @r#"
    s.yaml:4: warning: service chat: no trace has the load of chat
      hint: if the load of t is its, annotate that with tidegate.dev/trace: "t"
    s.yaml: 1 service, in order but for 1 warning
    t.csv: load of 1 service, 0:00:00 long, in order
    1 warning in 2 files
    exit code 0
    "#);
}

#[test]
fn a_replay_tells_faults_of_settings_as_a_check_does() {
    let policies = own(
        "Policies",
        "scaling:\n- policy: builtin:knative\n- policy: builtin:scale-to-zero\n  name: zero\n  settings:\n    grace: 3\n",
    );
    let folder = Folder::with(&[("p.yaml", &policies), ("t.csv", "t_s,duration_s\n0,1\n")]);
    let told = |line: &[&str]| {
        let done = folder.run(line, "");
        let code = done.status.code().expect("no signal ended it");
        let stderr = String::from_utf8(done.stderr).expect("it writes text");
        format!("{stderr}exit code {code}")
    };
    let line = ["replay", "t.csv", "--policies", "p.yaml", "--quiet"];
    assert_snapshot!(told(&line), @r"
    error: cannot replay t.csv
    cause: zero does not accept the settings of t
    cause: a fault in the settings
    cause: p.yaml:8: scaling[1].settings.grace: unknown field `grace`, there are no fields
    exit code 2
    ");
    for (policy, file) in [("text.wasm", &b"no Wasm"[..]), ("module.wasm", b"\0asm\x01\0\0\0")] {
        std::fs::write(folder.0.path().join(policy), file).expect("it is written");
        let policies = own("Policies", &format!("scaling:\n- policy: {policy}\n"));
        std::fs::write(folder.0.path().join("p.yaml"), policies).expect("it is written");
        assert!(told(&line).ends_with("exit code 2"), "{policy} is no component");
    }
}
