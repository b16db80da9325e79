//! What is read from service files: every manifest of `fixtures/manifests`, and what is wrong with others.

use std::collections::BTreeMap;
use std::path::Path;

use super::DefinitionError;
use super::model::Catalogue;
use super::service::{Read, Service, parse, read};

fn read_text(text: &str) -> Result<Read, DefinitionError> {
    parse(text, "s.yaml", &Catalogue::builtin())
}

fn one(text: &str) -> Service {
    read_text(text).expect("it is in order").services.remove(0)
}

fn told(text: &str) -> String {
    read_text(text).expect_err("it is out of order").to_string()
}

fn warned(text: &str) -> String {
    let warnings = read_text(text).expect("it is in order").warnings;
    warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// An InferenceService with these lines in its predictor.
fn predictor(lines: &str) -> String {
    inference("", lines)
}

/// The same with these lines among its annotations.
fn annotated(lines: &str) -> String {
    inference(&format!("  annotations:\n{lines}"), "    model: {storageUri: hf://Qwen/Qwen3-32B}\n")
}

fn inference(metadata: &str, predictor: &str) -> String {
    format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: a\n{metadata}spec:\n  predictor:\n{predictor}"
    )
}

/// Our own form with these lines for a service.
fn own(lines: &str) -> String {
    format!("apiVersion: tidegate.dev/v1alpha1\nkind: Services\nservices:\n{lines}")
}

/// A service in a few lines.
fn summary(service: &Service) -> String {
    let max = service.max_replicas.map_or("-".to_owned(), |max| max.to_string());
    let min = service.min_replicas.map_or("-".to_owned(), |min| min.to_string());
    let mut lines = vec![format!(
        "{}: {}, {min} to {max} replicas of {} GPUs, {} m CPU, {} MiB; at once {}, {} s",
        service.name,
        service.model.name,
        service.needs.gpus,
        service.needs.cpu_milli,
        service.needs.memory_bytes >> 20,
        service.container_concurrency,
        service.timeout_s,
    )];
    lines.extend(service.trace.iter().map(|trace| format!("  trace {trace}")));
    lines.extend(service.annotations.iter().map(|(key, value)| format!("  {key}: {value}")));
    for (key, constraint) in service.pod.as_object().expect("it is a map") {
        let is_empty = ["{}", "[]"].contains(&constraint.to_string().as_str());
        lines.extend((!is_empty).then(|| format!("  {key} {constraint}")));
    }
    lines.join("\n")
}

#[test]
fn every_manifest_reads_as_what_it_says_or_is_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/manifests");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    let mut table = String::new();
    for name in names {
        let path = folder.join(&name);
        let shown = path.display().to_string();
        let text = match read(&path, &Catalogue::builtin()) {
            Ok(read) => {
                let services = read.services.iter().map(summary);
                let warnings = read.warnings.iter().map(|warning| format!("! {warning}"));
                services.chain(warnings).collect::<Vec<_>>().join("\n")
            }
            Err(error) => format!("refused: {error}"),
        };
        table.push_str(&format!("# {name}\n{}\n", text.replace(&shown, "")));
    }
    insta::assert_snapshot!(table, @r#"
    # canary-10.yaml
    my-model: small-default, 1 to - replicas of 0 GPUs, 1000 m CPU, 2048 MiB; at once 0, 300 s
    ! :3: service my-model: no known model is called gs://kfserving-examples/models/tensorflow/flowers-2; it is taken as small-default, unless the annotation tidegate.dev/model says which
    # demo.yaml
    code: llama-3.1-8b, 0 to 32 replicas of 1 GPUs, 4000 m CPU, 32768 MiB; at once 8, 300 s
      trace azure-llm-2023-code
      affinity {"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"preference":{"matchExpressions":[{"key":"gpu.nvidia.com/class","operator":"In","values":["A40"]}]},"weight":100}],"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"gpu.nvidia.com/class","operator":"In","values":["A40","RTX_A5000"]}]}]}}}
    longtail: llama-3.1-8b, 0 to 4 replicas of 1 GPUs, 4000 m CPU, 32768 MiB; at once 8, 300 s
      trace m-large-c155
      affinity {"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"preference":{"matchExpressions":[{"key":"gpu.nvidia.com/class","operator":"In","values":["A40"]}]},"weight":100}],"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"gpu.nvidia.com/class","operator":"In","values":["A40","RTX_A5000"]}]}]}}}
    # flowers-container-concurrency.yaml
    flowers-sample: small-default, 1 to - replicas of 0 GPUs, 1000 m CPU, 2048 MiB; at once 10, 300 s
    ! :3: service flowers-sample: no known model is called gs://kfserving-examples/models/tensorflow/flowers; it is taken as small-default, unless the annotation tidegate.dev/model says which
    # flowers-gpu-kpa-target.yaml
    flowers-sample-gpu: small-default, 1 to - replicas of 1 GPUs, 1000 m CPU, 2048 MiB; at once 0, 300 s
      autoscaling.knative.dev/target: 1
    ! :3: service flowers-sample-gpu: no known model is called gs://kfserving-examples/models/tensorflow/flowers; it is taken as small-default, unless the annotation tidegate.dev/model says which
    # hf-llama2-7b.yaml
    huggingface-llama2: llama-2-7b, 1 to - replicas of 1 GPUs, 6000 m CPU, 24576 MiB; at once 0, 300 s
    # hf-llama3-8b.yaml
    llama3-8b: llama-3-8b, 1 to - replicas of 1 GPUs, 6000 m CPU, 24576 MiB; at once 0, 300 s
    # hf-llama3-local-model-cache.yaml
    huggingface-llama3: llama-3-8b, 1 to - replicas of 1 GPUs, 6000 m CPU, 24576 MiB; at once 0, 300 s
    # hf-llama3-multinode-workerspec.yaml
    refused: :14: spec.predictor.workerSpec is a map, expected nothing: a replica over several nodes cannot be scaled yet
    # hpa-sklearn.yaml
    sklearn-iris-hpa: small-default, 1 to - replicas of 0 GPUs, 100 m CPU, 128 MiB; at once 0, 300 s
    ! :3: service sklearn-iris-hpa: no known model is called gs://kfserving-examples/models/sklearn/1.0/model; it is taken as small-default, unless the annotation tidegate.dev/model says which
    ! :6: deploymentMode Standard has no effect: it is taken as Knative, where requests wait for the first replica
    ! :7: autoscalerClass hpa has no effect: policies decide
    ! :11: spec.predictor.scaleMetric "cpu" is not counted here, and scaleTarget has no effect with it: concurrency is
    # keda-opt-prometheus.yaml
    huggingface-fbopt: opt-125m, 1 to 5 replicas of 0 GPUs, 1000 m CPU, 4096 MiB; at once 0, 300 s
    ! :6: deploymentMode Standard has no effect: it is taken as Knative, where requests wait for the first replica
    ! :7: autoscalerClass keda has no effect: policies decide
    ! :30: spec.predictor.autoScaling has no effect: policies decide
    # kpa-gpu-scale-metric.yaml
    flowers-sample-gpu: small-default, 1 to - replicas of 1 GPUs, 1000 m CPU, 2048 MiB; at once 0, 300 s
      autoscaling.knative.dev/metric: concurrency
      autoscaling.knative.dev/target: 1
    ! :3: service flowers-sample-gpu: no known model is called gs://kfserving-examples/models/tensorflow/flowers; it is taken as small-default, unless the annotation tidegate.dev/model says which
    # llama-31-8b-scale-to-zero-s3.yaml
    llama-31-8b-instruct: llama-3.1-8b, 0 to - replicas of 1 GPUs, 24000 m CPU, 49152 MiB; at once 0, 300 s
      nodeSelector {"node.kubernetes.io/instance-type":"g5.8xlarge"}
    # llmisvc-llama-hpa.yaml
    refused: :2: kind is LLMInferenceService of serving.kserve.io/v1alpha2, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1
    # llmisvc-qwen2-7b.yaml
    refused: :2: kind is LLMInferenceService of serving.kserve.io/v1alpha2, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1
    # mnist-pvc-v1alpha2.yaml
    refused: :2: kind is InferenceService of serving.kserve.io/v1alpha2, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1
    # own-bloom-176b-fallback.yaml
    bloom-176b: bloom-176b, 0 to 2 replicas of 8 GPUs, 12000 m CPU, 65536 MiB; at once 1, 1800 s
      affinity {"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"preference":{"matchExpressions":[{"key":"gpu.nvidia.com/class","operator":"In","values":["A100_NVLINK_80GB"]}]},"weight":20}],"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"gpu.nvidia.com/class","operator":"In","values":["A100_NVLINK_80GB","H100_NVLINK_80GB"]}]}]}}}
    # own-gptj-a40.yaml
    gptj-6b: gptj-6b, 0 to 10 replicas of 1 GPUs, 4000 m CPU, 16384 MiB; at once 1, 300 s
      autoscaling.knative.dev/scale-to-zero-pod-retention-period: 10m
      affinity {"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"gpu.nvidia.com/class","operator":"In","values":["A40","RTX_A6000"]},{"key":"topology.kubernetes.io/region","operator":"In","values":["ORD1"]}]}]}}}
    # own-knative-stable-diffusion.yaml
    stable-diffusion: llama-3.1-8b, - to - replicas of 1 GPUs, 4000 m CPU, 16384 MiB; at once 1, 600 s
      autoscaling.knative.dev/max-scale: 8
      autoscaling.knative.dev/metric: concurrency
      autoscaling.knative.dev/min-scale: 0
      autoscaling.knative.dev/panic-window-percentage: 13.0
      autoscaling.knative.dev/target: 1
      autoscaling.knative.dev/window: 180s
      affinity {"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"gpu.nvidia.com/vram","operator":"Gt","values":["15"]},{"key":"gpu.nvidia.com/class","operator":"NotIn","values":["Tesla_V100_NVLINK"]}]}]}}}
    ! :4: service stable-diffusion: nothing says which model it serves; it is taken as llama-3.1-8b, unless the annotation tidegate.dev/model says which
    # qwen-keda-scaled.yaml
    huggingface-qwen: qwen2.5-0.5b, 1 to 5 replicas of 1 GPUs, 1000 m CPU, 4096 MiB; at once 0, 300 s
    ! :6: deploymentMode Standard has no effect: it is taken as Knative, where requests wait for the first replica
    ! :7: autoscalerClass keda has no effect: policies decide
    ! :32: spec.predictor.autoScaling has no effect: policies decide
    # rollout-strategy-multidoc.yaml
    rollout-strategy-example: small-default, 1 to - replicas of 0 GPUs, 1000 m CPU, 2048 MiB; at once 0, 300 s
    configmap-defaults-example: small-default, 1 to - replicas of 0 GPUs, 1000 m CPU, 2048 MiB; at once 0, 300 s
    multinode-example: small-default, 1 to - replicas of 0 GPUs, 1000 m CPU, 2048 MiB; at once 0, 300 s
    ! :3: service rollout-strategy-example: no known model is called s3://my-bucket/model; it is taken as small-default, unless the annotation tidegate.dev/model says which
    ! :7: deploymentMode Standard has no effect: it is taken as Knative, where requests wait for the first replica
    ! :23: spec.transformer is left out: only the predictor is scaled
    ! :43: service configmap-defaults-example: no known model is called s3://my-bucket/model; it is taken as small-default, unless the annotation tidegate.dev/model says which
    ! :47: deploymentMode Standard has no effect: it is taken as Knative, where requests wait for the first replica
    ! :64: service multinode-example: no known model is called s3://my-bucket/llm-model; it is taken as small-default, unless the annotation tidegate.dev/model says which
    ! :68: deploymentMode Standard has no effect: it is taken as Knative, where requests wait for the first replica
    # sklearn-canary-percent.yaml
    sklearn-iris: small-default, 1 to - replicas of 0 GPUs, 100 m CPU, 256 MiB; at once 0, 300 s
    ! :3: service sklearn-iris: no known model is called gs://kserve-examples/models/sklearn/1.0/model-2; it is taken as small-default, unless the annotation tidegate.dev/model says which
    # tensorflow-gpu-annotation.yaml
    tensorflow-gpu: small-default, 1 to - replicas of 1 GPUs, 1000 m CPU, 2048 MiB; at once 0, 300 s
      nodeSelector {"cloud.google.com/gke-accelerator":"nvidia-tesla-t4"}
    ! :3: service tensorflow-gpu: no known model is called gs://kfserving-examples/models/tensorflow/flowers; it is taken as small-default, unless the annotation tidegate.dev/model says which
    # torchserve-bloom-560m.yaml
    torchserve-bloom-560m: small-default, 1 to - replicas of 1 GPUs, 4000 m CPU, 16384 MiB; at once 0, 300 s
    ! :3: service torchserve-bloom-560m: no known model is called pvc://model-cache; it is taken as small-default, unless the annotation tidegate.dev/model says which
    ! :14: spec.nodeName is no known key and has no effect
    # transformer-collocation.yaml
    custom-transformer-collocation: small-default, 1 to - replicas of 0 GPUs, 200 m CPU, 512 MiB; at once 0, 300 s
    ! :3: service custom-transformer-collocation: no known model is called gs://kfserving-examples/models/torchserve/image_classifier/v1; it is taken as small-default, unless the annotation tidegate.dev/model says which
    # transformer-node-selector-tolerations.yaml
    torch-transformer: small-default, 1 to - replicas of 1 GPUs, 1000 m CPU, 2048 MiB; at once 0, 300 s
      nodeSelector {"myLabel2":"true"}
    ! :3: service torch-transformer: no known model is called gs://kfserving-examples/models/torchscript; it is taken as small-default, unless the annotation tidegate.dev/model says which
    ! :6: spec.transformer is left out: only the predictor is scaled
    # triton-multi-model.yaml
    triton-mms: small-default, 1 to - replicas of 0 GPUs, 1000 m CPU, 2048 MiB; at once 0, 300 s
    ! :3: service triton-mms: nothing says which model it serves; it is taken as small-default, unless the annotation tidegate.dev/model says which
    "#);
}

#[test]
fn kserve_fields_become_the_annotations_that_kserve_makes_of_them() {
    let service = one(&inference(
        "  annotations:\n    autoscaling.knative.dev/max-scale: \"9\"\n    autoscaling.knative.dev/target: \"3\"\n    autoscaling.knative.dev/window: 60s\n    other.dev/x: \"1\"\n",
        "    annotations: {autoscaling.knative.dev/window: 90s}\n    scaleTarget: 5\n    scaleMetric: rps\n    maxReplicas: 4\n    model: {storageUri: hf://Qwen/Qwen3-32B}\n",
    ));
    let all: Vec<_> = service
        .all_annotations()
        .into_iter()
        .map(|(key, value)| format!("{}: {value}", key.rsplit('/').next().unwrap_or("")))
        .collect();
    assert_eq!(all, ["max-scale: 4", "metric: rps", "min-scale: 1", "target: 5", "window: 90s"]);
}

#[test]
fn limits_agree_with_what_the_policies_resolve() {
    let profile = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let model = "    model: {storageUri: hf://Qwen/Qwen3-32B}\n";
    for (what, text, settings, expected) in [
        ("KServe's default is one", predictor(model), profile(&[]), (1, 0, 1, 1)),
        (
            "KServe's minimum wins over the profile's",
            predictor(&format!("    minReplicas: 0\n{model}")),
            profile(&[("min-scale", "2"), ("max-scale", "7"), ("initial-scale", "3")]),
            (0, 7, 3, 1),
        ),
        (
            "our own form leaves it to the profile",
            own("- {name: a}\n"),
            profile(&[("min-scale", "2")]),
            (2, 0, 1, 1),
        ),
        (
            "no maximum is a maximum too",
            own(
                "- {name: a, maxReplicas: 0, annotations: {autoscaling.knative.dev/activation-scale: \"3\"}}\n",
            ),
            profile(&[("max-scale", "7")]),
            (0, 0, 1, 3),
        ),
    ] {
        let limits = one(&text).limits(&settings).expect("they go together");
        let bounds = limits.bounds;
        assert_eq!((bounds.min, bounds.max, bounds.initial, limits.activation), expected, "{what}");
    }
    let refused = one(&own("- {name: a, minReplicas: 2, maxReplicas: 20}\n"))
        .limits(&profile(&[("max-scale-limit", "10"), ("max-scale", "5")]));
    insta::assert_snapshot!(refused.expect_err("20 is above the limit"), @r#"service a: autoscaling.knative.dev/max-scale is "20", expected 1 to 10, the cluster's max-scale-limit"#);
    let other =
        own("- {name: a, annotations: {autoscaling.knative.dev/class: mine.example.com}}\n");
    insta::assert_snapshot!(one(&other).limits(&profile(&[])).expect_err("it scales itself"), @r#"service a: class "mine.example.com" scales by rules of its own, expected kpa.autoscaling.knative.dev"#);
}

#[test]
fn settings_documents_have_all_that_policies_read() {
    let service =
        one(&own("- {name: a, minReplicas: 1, progressDeadline: 20m, nodeSelector: {zone: b}}\n"));
    let profile = BTreeMap::from([("stable-window".to_owned(), "180s".to_owned())]);
    let own = serde_json::json!({"minimum": 2});
    insta::assert_snapshot!(service.scaling_document(&own, &profile), @r#"{"profile":{"stable-window":"180s"},"service":{"annotations":{"autoscaling.knative.dev/min-scale":"1"},"containerConcurrency":8,"progressDeadlineMs":1200000},"settings":{"minimum":2}}"#);
    insta::assert_snapshot!(service.placement_document(&service.pod, &own, &profile), @r#"{"profile":{"stable-window":"180s"},"service":{"annotations":{"autoscaling.knative.dev/min-scale":"1"},"containerConcurrency":8,"pod":{"affinity":{},"nodeSelector":{"zone":"b"},"tolerations":[]},"progressDeadlineMs":1200000},"settings":{"minimum":2}}"#);
}

#[test]
fn our_own_form_says_in_a_line_what_differs_from_the_default() {
    let read = read_text(&own("- name: chat\n  trace: conv\n  model: gptj-6b\n  engine: vllm\n  loader: sleep-1\n  maxReplicas: 3\n  containerConcurrency: 2\n  timeout: 90s\n  queueLimit: 10\n  gpus: 2\n  cpu: 500m\n  memory: 1Gi\n  tolerations: [{key: spot, operator: Exists}]\n- {name: 10012}\n")).expect("it is in order");
    assert_eq!(read.warnings, [super::Warning {
        file: "s.yaml".to_owned(),
        line: 17,
        field: String::new(),
        nearest: None,
        message: "service 10012: nothing says which model it serves; it is taken as llama-3.1-8b, unless model says which".to_owned(),
    }]);
    let text: Vec<_> = read.services.iter().map(summary).collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    chat: gptj-6b, - to 3 replicas of 2 GPUs, 500 m CPU, 1024 MiB; at once 2, 90 s
      trace conv
      tolerations [{"key":"spot","operator":"Exists"}]
    10012: llama-3.1-8b, - to - replicas of 1 GPUs, 4000 m CPU, 32768 MiB; at once 8, 300 s
    "#);
    let chat = &read.services[0];
    assert_eq!((chat.model.compile_s, chat.model.loader.name.as_str()), (20.0, "sleep-1"));
    assert_eq!((chat.queue_limit, chat.progress_deadline_ms), (10, 600_000));
    let by_name = read_text(&own("  b: {model: opt-30b}\n  a: {model: opt-30b}\n"));
    let names: Vec<_> =
        by_name.expect("a map does too").services.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["b", "a"]);
}

#[test]
fn pools_take_over_from_their_service_what_they_do_not_say() {
    let service = one(&own(
        "- name: a\n  minReplicas: 1\n  maxReplicas: 9\n  nodeSelector: {zone: b}\n  tolerations: [{key: x, operator: Exists}]\n  pools:\n  - {name: steady}\n  - {name: cheap, maxReplicas: 4, nodeSelector: {capacity: spot}}\n",
    ));
    let pools = service.pools(&BTreeMap::new()).expect("they go with Knative's defaults");
    let told: Vec<String> = pools
        .iter()
        .map(|pool| {
            let bounds = pool.limits.bounds;
            let (wakes, pod) = (if pool.wakes { ", wakes" } else { "" }, &pool.pod);
            format!(
                "{}: {}..{}, first {}{wakes} {pod}",
                pool.name, bounds.min, bounds.max, bounds.initial
            )
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    cheap: 0..4, first 0 {"affinity":{},"nodeSelector":{"capacity":"spot"},"tolerations":[{"key":"x","operator":"Exists"}]}
    steady: 1..9, first 1, wakes {"affinity":{},"nodeSelector":{"zone":"b"},"tolerations":[{"key":"x","operator":"Exists"}]}
    "#);
    let wrong =
        told_of_pools("- {name: x}\n  - {name: x, minReplicas: 3, maxReplicas: 2}\n  - {nam: y}\n");
    insta::assert_snapshot!(wrong, @r"
    s.yaml:7: services[0].pools[1] is x, expected a name that no earlier pool of the service has
    s.yaml:7: services[0].pools[1].maxReplicas is 2, expected 0 (no limit) or at least minReplicas, which is 3
    s.yaml:8: services[0].pools[2].nam is no known key, expected name
    s.yaml:8: services[0].pools[2].name is missing, expected a name
    ");
}

/// What is said about these pools.
fn told_of_pools(lines: &str) -> String {
    told(&own(&format!("- name: a\n  pools:\n  {lines}")))
}

#[test]
fn a_file_may_bring_its_own_models() {
    let text = format!(
        "{}---\napiVersion: tidegate.dev/v1alpha1\nkind: Models\nmodels:\n- {{name: mine, parametersBillion: 3, kvBytesPerToken: 1, loader: sleep-1, engine: vllm}}\n",
        own("- {name: a, model: mine}\n")
    );
    assert_eq!(one(&text).model.weights_gb, 6.0);
}

#[test]
fn a_trace_service_that_nobody_described_has_the_default_model_on_one_gpu() {
    let service = Service::default_for("m-mid-c98", &Catalogue::builtin());
    insta::assert_snapshot!(summary(&service), @"m-mid-c98: llama-3.1-8b, - to - replicas of 1 GPUs, 4000 m CPU, 32768 MiB; at once 8, 300 s");
    let limits = service.limits(&BTreeMap::new()).expect("they go together");
    assert_eq!((limits.bounds.min, limits.bounds.max), (0, 0));
}

#[test]
fn arguments_of_the_server_say_what_it_does() {
    let service = one(&predictor(
        "    model:\n      modelFormat: {name: huggingface}\n      args: [--model, Qwen/Qwen3-32B, --enforce-eager, --max-num-seqs=32]\n      resources: {limits: {nvidia.com/gpu: 2}}\n    annotations: {tidegate.dev/engine: vllm}\n",
    ));
    let model = service.model;
    assert_eq!(model.name, "qwen3-32b");
    assert_eq!((model.compile_s, model.max_sequences, service.needs.gpus), (0.0, 32, 2));
}

#[test]
fn every_fault_in_a_manifest_is_told_with_its_place() {
    insta::assert_snapshot!(told(&predictor("    minReplicas: -1\n    maxReplicas: two\n    containerConcurrency: 1.5\n    timeout: 0\n    scaleMetric: latency\n    nodeSelector: {vram: 48}\n    tolerations: {}\n    model:\n      storageUri: 7\n      resources:\n        limits: {cpu: lots, memory: 1Gib, nvidia.com/gpu: 500m}\n")), @r#"
    s.yaml:7: spec.predictor.minReplicas is -1, expected a whole number of at least 0
    s.yaml:8: spec.predictor.maxReplicas is "two", expected a whole number of at least 0
    s.yaml:9: spec.predictor.containerConcurrency is 1.5, expected a whole number of at least 0
    s.yaml:10: spec.predictor.timeout is 0, expected a whole number of at least 1
    s.yaml:11: spec.predictor.scaleMetric is "latency", expected concurrency, rps, cpu or memory
    s.yaml:12: spec.predictor.nodeSelector.vram is 48, expected a text: write "48"
    s.yaml:13: spec.predictor.tolerations is a map, expected a list
    s.yaml:15: spec.predictor.model.storageUri is 7, expected a text: write "7"
    s.yaml:17: spec.predictor.model.resources.limits.cpu is "lots", expected a quantity, as 4, 500m or 16Gi
    s.yaml:17: spec.predictor.model.resources.limits.memory is "1Gib", expected a quantity, as 4, 500m or 16Gi
    s.yaml:17: spec.predictor.model.resources.limits.nvidia.com/gpu is "500m", expected a whole number of GPUs
    "#);
    insta::assert_snapshot!(told(&predictor("    minReplicas: 3\n    maxReplicas: 2\n    workerSpec: {pipelineParallelSize: 2}\n    model: {resources: {limits: {nvidia.com/gpu: 2}, requests: {nvidia.com/gpu: 1}}}\n")), @r"
    s.yaml:8: spec.predictor.maxReplicas is 2, expected 0 (no limit) or at least minReplicas, which is 3
    s.yaml:9: spec.predictor.workerSpec is a map, expected nothing: a replica over several nodes cannot be scaled yet
    s.yaml:10: spec.predictor.model.resources.requests.nvidia.com/gpu is 1, expected the limit, which is 2
    ");
    insta::assert_snapshot!(told(&annotated("    autoscaling.knative.dev/window: 2s\n    autoscaling.knative.dev/target: lots\n    autoscaling.knative.dev/panic-window-percentage: 10\n    serving.knative.dev/progress-deadline: soon\n    tidegate.dev/model: lama-3.1-8b\n    tidegate.dev/loader: tensorizer\n    tidegate.dev/engine: vlm\n    tidegate.dev/queue-limit: many\n")), @r#"
    s.yaml:6: metadata.annotations.autoscaling.knative.dev/window is "2s", expected 6s to 1h, whole seconds
    s.yaml:7: metadata.annotations.autoscaling.knative.dev/target is "lots", expected a number, at least 0.01
    s.yaml:8: metadata.annotations.autoscaling.knative.dev/panic-window-percentage is 10, expected a text: write "10"
    s.yaml:9: metadata.annotations.serving.knative.dev/progress-deadline is "soon", expected a duration above 0s, as in 10m
    s.yaml:10: metadata.annotations.tidegate.dev/model is "lama-3.1-8b", expected llama-3.1-8b
    s.yaml:11: metadata.annotations.tidegate.dev/loader is "tensorizer", expected one of deepspeed-176b, safetensors-local-nvme, safetensors-network-block, safetensors-nvme-pvc, safetensors-page-cache, sleep-1, sleep-2, store-local-nvme, streamer-network-block, streamer-object-store, tensorizer-nvme-pvc, tensorizer-object-store, tensorizer-object-store-near, transformers-nvme-pvc
    s.yaml:12: metadata.annotations.tidegate.dev/engine is "vlm", expected vllm
    s.yaml:13: metadata.annotations.tidegate.dev/queue-limit is "many", expected a whole number of requests
    "#);
    insta::assert_snapshot!(told(&predictor("    minReplicas: 1\n")), @"s.yaml:6: spec.predictor.model is missing, expected model, containers, or one of huggingface, lightgbm, onnx, paddle, pmml, pytorch, sklearn, tensorflow, triton, xgboost");
    insta::assert_snapshot!(told("apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {generateName: a-}\nspec: {}\n---\nkind: InferenceService\n---\n- 7\n"), @r"
    s.yaml:3: metadata.name is missing, expected a name
    s.yaml:4: spec.predictor is missing, expected what serves the model
    s.yaml:6: apiVersion is missing, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1
    s.yaml:8: kind is missing, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1
    ");
    insta::assert_snapshot!(told("apiVersion: serving.kserve.io/v1alpha1\nkind: ClusterServingRuntime\n"), @"s.yaml:2: kind is ClusterServingRuntime of serving.kserve.io/v1alpha1, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1");
    insta::assert_snapshot!(told("# nothing\n"), @"s.yaml:1: the file is empty, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1");
    insta::assert_snapshot!(told("a: [\n"), @"s.yaml: unclosed bracket '[' at line 1, column 4");
}

#[test]
fn every_fault_in_our_own_form_is_told_with_its_place() {
    insta::assert_snapshot!(told(&own("- {name: a, modle: x, timeout: soon, cpu: 1, memory: -1, minReplicas: 2, maxReplicas: 1}\n- {model: opt-30b}\n- {name: a, model: opt-300b, annotations: [x]}\n- {name: a}\n")), @r#"
    s.yaml:4: services[0].modle is no known key, expected model
    s.yaml:4: services[0].maxReplicas is 1, expected 0 (no limit) or at least minReplicas, which is 2
    s.yaml:4: services[0].memory is -1, expected a quantity, as 4, 500m or 16Gi
    s.yaml:4: services[0].timeout is "soon", expected a duration above 0, as 300 (seconds), 30s or 10m
    s.yaml:5: services[1].name is missing, expected a name
    s.yaml:6: services[2].annotations is a list, expected a map
    s.yaml:6: services[2].model is "opt-300b", expected opt-30b
    s.yaml:6: the service's name is a, expected a name that no earlier service has
    s.yaml:7: the service's name is a, expected a name that no earlier service has
    "#);
    insta::assert_snapshot!(told("apiVersion: tidegate.dev/v1alpha1\nkind: Services\n"), @"s.yaml:1: services is missing, expected a list of services");
    insta::assert_snapshot!(told("apiVersion: tidegate.dev/v1beta1\nkind: Services\n"), @"s.yaml:2: kind is Services of tidegate.dev/v1beta1, expected InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1");
}

#[test]
fn what_has_no_effect_is_said() {
    insta::assert_snapshot!(warned(&predictor("    minReplica: 0\n    frobnicate: 1\n    logger: {mode: all}\n    canaryTrafficPercent: 10\n    model: {storageURI: x, storageUri: s3://b/Qwen3-32B, resources: {limits: {amd.com/gpu: 1}}}\n")), @r"
    s.yaml:7: spec.predictor.minReplica is no known key and has no effect; did you mean minReplicas?
    s.yaml:8: spec.predictor.frobnicate is no known key and has no effect
    s.yaml:11: spec.predictor.model.storageURI is no known key and has no effect; did you mean storageUri?
    s.yaml:11: spec.predictor.model.resources.limits.amd.com/gpu is counted as whole GPUs
    ");
    insta::assert_snapshot!(warned(&annotated("    autoscaling.knative.dev/min-scale: \"2\"\n    tidegate.dev/modle: x\n    serving.kserve.io/autoscalerClass: hpa\n")), @r"
    s.yaml:6: metadata.annotations.autoscaling.knative.dev/min-scale has no effect: KServe writes it from minReplicas, which is 1
    s.yaml:7: tidegate.dev/modle is no known annotation; did you mean tidegate.dev/model?
    s.yaml:8: autoscalerClass hpa has no effect: policies decide
    ");
    let beside = format!("{}---\napiVersion: v1\nkind: Secret\n", annotated("    a.b/c: d\n"));
    insta::assert_snapshot!(warned(&beside), @"s.yaml:11: Secret of v1 is no service and has no effect");
}
