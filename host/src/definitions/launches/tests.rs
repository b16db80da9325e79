use crate::definitions::launch::{Launch, Port, Probe, Way};
use crate::definitions::model::Catalogue;
use crate::definitions::service::{Read, Service, parse, parse_live};

const FILE: &str = "models/s.yaml";

fn live(text: &str) -> Read {
    parse_live(text, FILE, &Catalogue::builtin()).expect("it is in order")
}

fn told(text: &str) -> String {
    parse_live(text, FILE, &Catalogue::builtin()).expect_err("it is out of order").to_string()
}

fn warned(text: &str) -> String {
    let warnings = live(text).warnings;
    warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn own(lines: &str) -> String {
    format!("apiVersion: tidegate.dev/v1alpha1\nkind: Services\nservices:\n{lines}")
}

fn predictor(lines: &str) -> String {
    format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: a}}\nspec:\n  predictor:\n    maxReplicas: 1\n{lines}"
    )
}

fn container(lines: &str) -> String {
    predictor(&format!("    containers:\n    - name: kserve-container\n{lines}"))
}

fn shown(service: &Service) -> String {
    let Some(Launch { command, env, folder, port, startup, ready, alive, grace_ms }) =
        &service.launch
    else {
        return "nothing to run".to_owned();
    };
    let probe = |name: &str, probe: &Probe| {
        let Probe { way, port, initial_delay_ms, period_ms, timeout_ms, failures } = probe;
        let way = match way {
            Way::Tcp => "tcp".to_owned(),
            Way::Http { path, headers } => format!("{path} {headers:?}"),
        };
        format!(
            "{name}: {way} at {port:?} after {initial_delay_ms} every {period_ms:?} for {timeout_ms}, {failures} times"
        )
    };
    let mut lines = vec![format!("{} at {port:?} in {folder:?}, {grace_ms} ms", command.join(" "))];
    lines.extend(env.iter().map(|(name, value)| format!("{name}={value}")));
    lines.extend(startup.as_ref().map(|it| probe("startup", it)));
    lines.push(probe("ready", ready));
    lines.extend(alive.as_ref().map(|it| probe("alive", it)));
    lines.join("\n")
}

fn runs(text: &str) -> String {
    live(text).services.iter().map(shown).collect::<Vec<_>>().join("\n")
}

#[test]
fn our_own_form_says_what_runs() {
    let short = own("- {name: a, command: [serve, --port, $(PORT)]}\n");
    assert_eq!(
        runs(&short),
        "serve --port $(PORT) at Given in None, 30000 ms\nready: tcp at None after 0 every None for 1000, 3 times"
    );
    let service = live(&short).services.remove(0);
    assert_eq!(
        service.needs,
        crate::engine::Resources::default(),
        "a live run counts what is asked for"
    );
    assert_eq!(service.route.model_names, ["a"]);
    let long = own(
        "- name: a\n  command: [serve, 8]\n  args: [-v]\n  env: {A: 1, B: $(A)}\n  workingDir: sub\n  port: 8000\n  maxReplicas: 1\n  ready: {http: health, period: 2s, timeout: 3s, failures: 4, initialDelay: 5s}\n  alive: {tcp: true, port: 9000}\n  gracePeriod: 1m\n",
    );
    assert_eq!(
        runs(&long),
        "serve 8 -v at Fixed(8000) in Some(\"models/sub\"), 60000 ms\nA=1\nB=$(A)\nready: /health [] at None after 5000 every Some(2000) for 3000, 4 times\nalive: tcp at Some(9000) after 0 every None for 1000, 3 times"
    );
    assert_eq!(warned(&long), "");
}

#[test]
fn a_predictors_container_says_what_runs_as_kubernetes_has_it() {
    let text = container(
        "      image: x\n      command: [serve]\n      args: [--port, \"8080\"]\n      env:\n      - {name: A, value: b}\n      - {name: TOKEN, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}\n      ports: [{name: http, containerPort: 8080}, {name: metrics, containerPort: 9090}]\n      startupProbe: {httpGet: {path: /, port: http}, failureThreshold: 30, periodSeconds: 1}\n      readinessProbe: {httpGet: {path: /v1/models, port: 8080, httpHeaders: [{name: X-A, value: b}]}, initialDelaySeconds: 2, periodSeconds: 0}\n      livenessProbe: {tcpSocket: {port: metrics}, timeoutSeconds: 7}\n    terminationGracePeriodSeconds: 90\n",
    );
    assert_eq!(
        runs(&text),
        "serve --port 8080 at Fixed(8080) in None, 90000 ms\nA=b\nstartup: / [] at None after 0 every Some(1000) for 1000, 30 times\nready: /v1/models [(\"X-A\", \"b\")] at None after 2000 every None for 1000, 3 times\nalive: tcp at Some(9090) after 0 every None for 7000, 3 times"
    );
    assert_eq!(
        warned(&text),
        "models/s.yaml:14: spec.predictor.containers[0].env[1].valueFrom.secretKeyRef is left out: there is nothing here to take it from"
    );
    let told_where =
        container("      command: [sh, -c, 'serve $PORT']\n      ports: [{containerPort: 8080}]\n");
    assert_eq!(live(&told_where).services[0].launch.as_ref().map(|it| it.port), Some(Port::Given));
}

#[test]
fn a_model_with_a_command_and_a_knative_service_run_too() {
    let model = predictor(
        "    model:\n      modelFormat: {name: huggingface}\n      storageUri: hf://Qwen/Qwen3-32B\n      command: [vllm, serve, --port, $(PORT)]\n",
    );
    assert!(runs(&model).starts_with("vllm serve --port $(PORT) at Given"), "{}", runs(&model));
    assert_eq!(
        warned(&model),
        "models/s.yaml:9: spec.predictor.model.storageUri: nothing is fetched; the command must find the weights itself"
    );
    let knative = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: k}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: side, command: [side]}\n      - {name: main, command: [main], ports: [{containerPort: 8080}]}\n";
    assert!(runs(knative).starts_with("main at Fixed(8080)"), "{}", runs(knative));
    assert_eq!(
        warned(knative),
        "models/s.yaml:3: service k: every replica would listen on port 8080, so one at a time can run here; write $(PORT) where the port goes, or at most one replica\nmodels/s.yaml:8: spec.template.spec.containers[0] is left out: a replica is one process"
    );
}

#[test]
fn what_cannot_run_is_refused_with_what_to_write_and_still_replays() {
    let model = predictor(
        "    model: {modelFormat: {name: huggingface}, storageUri: hf://Qwen/Qwen3-32B}\n",
    );
    assert_eq!(
        told(&model),
        "models/s.yaml:7: spec.predictor.model.command is missing, expected the command that starts the server on this machine, as [vllm, serve, my-model, --port, $(PORT)]: there are no serving runtimes here"
    );
    let image = container("      image: example/server:1\n      args: [--model, x]\n");
    assert!(told(&image).ends_with("containers[0].command is missing, expected the command that starts the server on this machine, as [vllm, serve, my-model, --port, $(PORT)]: an image cannot be run, for there is no container engine here"), "{}", told(&image));
    assert!(
        told(&own("- name: a\n")).starts_with("models/s.yaml:4: services[0].command is missing")
    );
    for text in [model, image, own("- name: a\n")] {
        let read = parse(&text, FILE, &Catalogue::builtin()).expect("it can be simulated");
        assert_eq!(read.services[0].launch, None);
    }
}

#[test]
fn every_fault_is_told_with_its_place() {
    let text = own(
        "- name: a\n  command: []\n  port: 0\n  env: {PORT: 1, TIDEGATE_X: y, \"A=B\": c}\n- name: b\n  command: [\"\"]\n- name: c\n  command: [x]\n  ready: {http: /a b, tcp: true}\n  alive: {https: /}\n  gpus: 2\n  gpuShare: 0.5\n  host: a_b\n  pathPrefix: /../x\n  modelNames: []\n- {name: d, command: [x], gpuShare: 1}\n- {name: e, command: [x], host: A.example, modelNames: [d]}\n- {name: f, command: [x], host: a.EXAMPLE}\n",
    );
    insta::assert_snapshot!(told(&text), @r#"
    models/s.yaml:5: services[0].command is an empty list, expected the command that starts the server on this machine, as [vllm, serve, my-model, --port, $(PORT)]
    models/s.yaml:6: services[0].port is 0, expected a port, from 1 to 65535
    models/s.yaml:7: services[0].env.PORT is PORT, expected nothing: the host gives PORT; a server that insists on a port has it in port, or in containerPort
    models/s.yaml:7: services[0].env.TIDEGATE_X is TIDEGATE_X, expected another name: variables that begin with TIDEGATE_ are the host's
    models/s.yaml:7: services[0].env.A=B is "A=B", expected a variable: a name without =, and a text
    models/s.yaml:9: services[1].command[0] is "", expected a word of a command line
    models/s.yaml:12: services[2].ready.tcp is true, expected nothing beside http
    models/s.yaml:13: services[2].alive.https is no known key, expected http
    models/s.yaml:15: services[2].gpuShare is 0.5, expected nothing with 2 GPUs: a share is one of a single GPU
    models/s.yaml:16: services[2].host is "a_b", expected a host without a port, as chat.example.com
    models/s.yaml:17: services[2].pathPrefix is "/../x", expected a path of plain parts, as /chat
    models/s.yaml:18: services[2].modelNames is an empty list, expected names of models, none of them empty
    models/s.yaml:19: services[3].gpuShare is 1, expected a share of one GPU's memory above 0 and below 1, as 0.5
    models/s.yaml:20: the service's model names is d, which leads to d too, expected names of models that no earlier service has
    models/s.yaml:21: the service's route is a.example, which leads to e too, expected a route that no earlier service has
    "#);
    let text = container(
        "      command: [x]\n      envFrom: [{secretRef: {name: s}}]\n      env:\n      - {name: T, valueFrom: {secretKeyRef: {name: s, key: k}}}\n      - {name: N, value: 8}\n      - {value: x}\n      ports: [{containerPort: 70000}]\n      readinessProbe: {exec: {command: [true]}}\n      startupProbe: {httpGet: {scheme: HTTPS, host: example.com, port: web}}\n      livenessProbe: {httpGet: {path: \"/a b\"}, failureThreshold: 0}\n    canaryTrafficPercent: 101\n",
    );
    insta::assert_snapshot!(told(&text), @r#"
    models/s.yaml:10: spec.predictor.containers[0].envFrom is a list, expected nothing: there are neither config maps nor secrets here; write the variables in env
    models/s.yaml:12: spec.predictor.containers[0].env[0].valueFrom.secretKeyRef is a reference, expected a plain value: there is no cluster here to take it from
    models/s.yaml:13: spec.predictor.containers[0].env[1].value is 8, expected a text: write "8"
    models/s.yaml:14: spec.predictor.containers[0].env[2].name is missing, expected a name
    models/s.yaml:15: spec.predictor.containers[0].ports[0].containerPort is 70000, expected a port, from 1 to 65535
    models/s.yaml:16: spec.predictor.containers[0].readinessProbe.exec is exec, which is not asked here, expected httpGet or tcpSocket
    models/s.yaml:17: spec.predictor.containers[0].startupProbe.httpGet.scheme is "HTTPS", expected HTTP
    models/s.yaml:17: spec.predictor.containers[0].startupProbe.httpGet.host is "example.com", expected nothing: a replica is asked on this machine
    models/s.yaml:17: spec.predictor.containers[0].startupProbe.httpGet.port is "web", expected a port, from 1 to 65535, or the name of one in ports
    models/s.yaml:18: spec.predictor.containers[0].livenessProbe.httpGet.path is "/a b", expected a path, as /health
    models/s.yaml:18: spec.predictor.containers[0].livenessProbe.failureThreshold is 0, expected a whole number of at least 1
    models/s.yaml:19: spec.predictor.canaryTrafficPercent is 101, expected a whole number from 0 to 100
    "#);
}

#[test]
fn what_nothing_defines_or_has_no_effect_is_said_in_a_live_run_alone() {
    let text = own(
        "- name: a\n  maxReplicas: 1\n  command: [x, $(PORT), $(A), $(B), $$(C)]\n  env: {A: b, CUDA_VISIBLE_DEVICES: 3}\n",
    );
    insta::assert_snapshot!(warned(&text), @r"
    models/s.yaml:6: services[0].command[3]: nothing defines B, so $(B) stays as it is
    models/s.yaml:7: services[0].env.CUDA_VISIBLE_DEVICES: CUDA_VISIBLE_DEVICES has no effect: it is what the placement chose
    ");
    let read = parse(&text, FILE, &Catalogue::builtin()).expect("it is in order");
    assert!(
        read.warnings.iter().all(|warning| warning.message.contains("model")),
        "{:?}",
        read.warnings
    );
}

#[test]
fn annotations_say_by_what_requests_find_a_service() {
    let text = container("      command: [x]\n").replace(
        "metadata: {name: a}",
        "metadata:\n  name: a\n  annotations: {tidegate.dev/host: Chat.Example.com, tidegate.dev/path-prefix: /v1/chat/, tidegate.dev/model-names: \"a, b\", tidegate.dev/gpu-share: \"0.25\"}",
    );
    let text =
        text.replace("    maxReplicas: 1\n", "    maxReplicas: 1\n    canaryTrafficPercent: 20\n");
    let service = live(&text).services.remove(0);
    assert_eq!(service.route.host.as_deref(), Some("chat.example.com"));
    assert_eq!(service.route.path_prefix.as_deref(), Some("/v1/chat"));
    assert_eq!(service.route.model_names, ["a", "b"]);
    assert_eq!((service.gpu_share, service.canary_percent), (Some(0.25), Some(20)));
}
