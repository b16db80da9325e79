//! KServe's InferenceService and Knative's Service, read as services. KServe's rules for what becomes of its fields are applied:
//! `minReplicas` and `maxReplicas` replace the annotations of the same meaning, `scaleTarget` and `scaleMetric` become some.

use super::field::{At, Fields, Notes, Unknown};
use super::launches;
use super::model::Catalogue;
use super::pod::{self, Hints};
use super::service::{PROGRESS_DEADLINE_MS, QUEUE_LIMIT, Service, TIMEOUT_S, check_replicas};
use super::settings::{Annotations, read_annotations, take_annotations};
use crate::engine::Resources;

/// What KServe gives a predictor that does not say (`resource` of its ConfigMap).
const PREDICTOR: Resources = Resources { cpu_milli: 1_000, memory_bytes: 2 << 30, gpus: 0 };

const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Keys of a component beside those of a pod.
const COMPONENT: [&str; 16] = [
    "annotations",
    "autoScaling",
    "batcher",
    "canaryTrafficPercent",
    "containerConcurrency",
    "deploymentStrategy",
    "labels",
    "logger",
    "maxReplicas",
    "minReplicas",
    "model",
    "name",
    "scaleMetric",
    "scaleMetricType",
    "scaleTarget",
    "timeout",
];

/// Frameworks by their own key, as once was usual, and whether each is for language models.
const FRAMEWORKS: [(&str, bool); 10] = [
    ("huggingface", true),
    ("lightgbm", false),
    ("onnx", false),
    ("paddle", false),
    ("pmml", false),
    ("pytorch", false),
    ("sklearn", false),
    ("tensorflow", false),
    ("triton", false),
    ("xgboost", false),
];

/// Keys of a model beside those of a container.
const MODEL: [&str; 8] = [
    "confidential",
    "modelFormat",
    "protocolVersion",
    "runtime",
    "runtimeVersion",
    "storage",
    "storageUri",
    "storageUris",
];

pub(super) fn read_inference_service(
    root: &At<'_>,
    catalogue: &Catalogue,
    notes: &mut Notes<'_>,
) -> Option<(u64, Service)> {
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    let fields = root.fields(&known, Unknown::Warned, notes)?;
    let metadata = read_metadata(&fields, notes);
    let spec = fields.need("spec", "a map with predictor", notes)?;
    let parts = ["predictor", "transformer", "explainer", "canary"];
    let spec = spec.fields(&parts, Unknown::Warned, notes)?;
    for part in ["transformer", "explainer"] {
        if let Some(at) = spec.get(part) {
            notes.warn(at.line, format!("{} is left out: only the predictor is scaled", at.path));
        }
    }
    let at = spec.need("predictor", "what serves the model", notes)?;
    let frameworks = FRAMEWORKS.iter().map(|(name, _)| *name);
    let known: Vec<_> = COMPONENT
        .into_iter()
        .chain(frameworks)
        .chain(["workerSpec", "storageUris"])
        .chain(pod::POD)
        .collect();
    let predictor = at.fields(&known, Unknown::Warned, notes)?;
    if let Some(at) = predictor.get("workerSpec") {
        at.refuse(notes, "nothing: a replica over several nodes cannot be scaled yet");
    }
    let (name, mut annotations) = metadata?;
    annotations.extend(read_annotations(predictor.get("annotations"), notes));
    let mut hints = hints_of(&annotations);
    let needs = read_implementation(&at, &predictor, &mut hints, notes);
    let mut service = bare(name, catalogue);
    service.needs = needs;
    service.pod = pod::constraints(&predictor, notes);
    if let Some(at) = annotations.get("serving.kserve.io/gke-accelerator") {
        let class = at.tree.json();
        service.pod["nodeSelector"]["cloud.google.com/gke-accelerator"] = class;
    }
    service.model = hints.model(name, root.line_of("metadata"), needs.gpus, catalogue, notes);
    read_scaling(&predictor, &mut service, &mut annotations, notes);
    take_annotations(&mut service, annotations, root.line_of("metadata"), notes);
    take_scale_target(&predictor, &mut service, notes);
    let frameworks = FRAMEWORKS.iter().map(|(name, _)| *name);
    let model = ["model"].into_iter().chain(frameworks).find_map(|key| predictor.get(key));
    service.launch = launches::of_predictor(&predictor, model.as_ref(), notes);
    launches::check(&service, root.line_of("metadata"), notes);
    Some((root.line_of("metadata"), service))
}

/// A service of which everything has Knative's default.
fn bare(name: &str, catalogue: &Catalogue) -> Service {
    Service {
        container_concurrency: 0,
        timeout_s: TIMEOUT_S,
        progress_deadline_ms: PROGRESS_DEADLINE_MS,
        queue_limit: QUEUE_LIMIT,
        ..Service::default_for(name, catalogue)
    }
}

fn hints_of<'a>(annotations: &Annotations<'a>) -> Hints<'a> {
    let said = |name: &str| annotations.get(name).cloned();
    Hints {
        model: said("tidegate.dev/model"),
        loader: said("tidegate.dev/loader"),
        engine: said("tidegate.dev/engine"),
        place: "the annotation tidegate.dev/model",
        ..Hints::default()
    }
}

/// The name and the annotations.
fn read_metadata<'a>(
    fields: &Fields<'a>,
    notes: &mut Notes<'_>,
) -> Option<(&'a str, Annotations<'a>)> {
    let metadata = fields.need("metadata", "a map with name", notes)?;
    let metadata = metadata.fields(&METADATA, Unknown::Warned, notes)?;
    let name = metadata.need("name", "a name", notes).and_then(|at| at.text(notes));
    Some((name?, read_annotations(metadata.get("annotations"), notes)))
}

/// What serves the model: `model`, a framework's own key, or containers. What a replica takes.
fn read_implementation<'a>(
    at: &At<'a>,
    predictor: &Fields<'a>,
    hints: &mut Hints<'a>,
    notes: &mut Notes<'_>,
) -> Resources {
    let known: Vec<_> = MODEL.into_iter().chain(pod::CONTAINER).collect();
    let mut main = None;
    if let Some(model) = predictor.get("model")
        && let Some(fields) = model.fields(&known, Unknown::Warned, notes)
    {
        let format = fields.get("modelFormat").and_then(|at| at.key("name"));
        let is_small = |(name, is_language): &(&str, bool)| !is_language && Some(*name) == format;
        hints.is_small = FRAMEWORKS.iter().any(is_small);
        main = Some(fields);
    }
    for (framework, is_language) in FRAMEWORKS {
        if main.is_none()
            && let Some(model) = predictor.get(framework)
        {
            hints.is_small = !is_language;
            main = model.fields(&known, Unknown::Warned, notes);
        }
    }
    let containers = predictor.get("containers").map_or(Vec::new(), |at| at.items(notes));
    if main.is_none() && containers.is_empty() {
        let all: Vec<_> = FRAMEWORKS.iter().map(|(name, _)| *name).collect();
        let expected = format!("model, containers, or one of {}", all.join(", "));
        notes.fault(at.line, &predictor.path("model"), "missing", expected);
    }
    let mut needs = Resources::default();
    if let Some(main) = &main {
        read_addresses(main, hints, notes);
        hints.container(main, notes);
        needs = pod::needs(main, PREDICTOR, notes);
    }
    for (position, container) in containers.iter().enumerate() {
        let name = container.key("name");
        let Some(fields) = container.fields(&pod::CONTAINER, Unknown::Warned, notes) else {
            continue;
        };
        let is_predictor = name == Some("kserve-container") || (name.is_none() && position == 0);
        // Beside a model, KServe merges the container of this name into the server's.
        if is_predictor && main.is_some() {
            hints.container(&fields, notes);
            continue;
        }
        if is_predictor {
            hints.container(&fields, notes);
        }
        let default = if is_predictor { PREDICTOR } else { Resources::default() };
        pod::add(&mut needs, pod::needs(&fields, default, notes));
    }
    needs
}

fn read_addresses<'a>(model: &Fields<'a>, hints: &mut Hints<'a>, notes: &mut Notes<'_>) {
    if let Some(address) = model.get("storageUri").and_then(|at| at.text(notes)) {
        hints.addresses.push(address.to_owned());
    }
    for at in model.get("storageUris").map_or(Vec::new(), |at| at.items(notes)) {
        hints.addresses.extend(at.key("uri").map(str::to_owned));
    }
    let path = model.get("storage").and_then(|at| at.key("path"));
    hints.addresses.extend(path.map(str::to_owned));
}

/// The scaling block.
fn read_scaling(
    predictor: &Fields<'_>,
    service: &mut Service,
    annotations: &mut Annotations<'_>,
    notes: &mut Notes<'_>,
) {
    let min = predictor.or("minReplicas", 1, notes, |at, notes| at.count(0, notes));
    let max = predictor.or("maxReplicas", 0, notes, |at, notes| at.count(0, notes));
    service.min_replicas = Some(min);
    service.max_replicas = (max > 0).then_some(max);
    check_replicas(predictor, service.min_replicas, service.max_replicas, notes);
    for (name, field, value) in
        [("min-scale", "minReplicas", min), ("max-scale", "maxReplicas", max)]
    {
        if let Some(at) = annotations.remove(&format!("autoscaling.knative.dev/{name}")) {
            notes.warn(
                at.line,
                format!(
                    "{} has no effect: KServe writes it from {field}, which is {value}",
                    at.path
                ),
            );
        }
    }
    let concurrency = predictor.get("containerConcurrency");
    service.container_concurrency = concurrency.and_then(|at| at.count(0, notes)).unwrap_or(0);
    if let Some(timeout) = predictor.get("timeout").and_then(|at| at.count(1, notes)) {
        service.timeout_s = f64::from(timeout);
    }
    if let Some(at) = predictor.get("canaryTrafficPercent") {
        let percent = at.tree.scalar().and_then(|text| text.parse().ok()).filter(|it| *it <= 100);
        if percent.is_none() {
            at.refuse(notes, "a whole number from 0 to 100");
        }
        service.canary_percent = percent;
    }
    let class = annotations.get("serving.kserve.io/autoscalerClass");
    if let Some((at, class @ ("hpa" | "keda" | "none"))) =
        class.and_then(|at| Some((at, at.tree.scalar()?)))
    {
        notes.warn(at.line, format!("autoscalerClass {class} has no effect: policies decide"));
    }
    let mode = annotations.get("serving.kserve.io/deploymentMode");
    if let Some((at, mode)) = mode.and_then(|at| Some((at, at.tree.scalar()?)))
        && !["Knative", "Serverless"].contains(&mode)
    {
        let message = format!(
            "deploymentMode {mode} has no effect: it is taken as Knative, where requests wait for the first replica"
        );
        notes.warn(at.line, message);
    }
    if let Some(at) = predictor.get("autoScaling") {
        notes.warn(at.line, format!("{} has no effect: policies decide", at.path));
    }
}

/// `scaleTarget` and `scaleMetric` as annotations; they win over those that somebody wrote.
fn take_scale_target(predictor: &Fields<'_>, service: &mut Service, notes: &mut Notes<'_>) {
    let mut set = |name: &str, value: String| {
        service.annotations.insert(format!("autoscaling.knative.dev/{name}"), value);
    };
    if let Some(at) = predictor.get("scaleMetric") {
        match at.tree.scalar() {
            Some(metric @ ("concurrency" | "rps")) => set("metric", metric.to_owned()),
            Some("cpu" | "memory") => {
                let shown = at.tree.shown();
                notes.warn(at.line, format!("{} {shown} is not counted here, and scaleTarget has no effect with it: concurrency is", at.path));
                return;
            }
            Some(_) | None => at.refuse(notes, "concurrency, rps, cpu or memory"),
        }
    }
    let target = predictor.get("scaleTarget").and_then(|at| at.count(1, notes));
    if let Some(target) = target {
        set("target", target.to_string());
    }
}

/// A plain Knative Service: its template is the pod, its annotations say everything about scaling.
pub(super) fn read_knative_service(
    root: &At<'_>,
    catalogue: &Catalogue,
    notes: &mut Notes<'_>,
) -> Option<(u64, Service)> {
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    let fields = root.fields(&known, Unknown::Warned, notes)?;
    let metadata = read_metadata(&fields, notes);
    let spec = fields.need("spec", "a map with template", notes)?;
    let spec = spec.fields(&["template", "traffic"], Unknown::Warned, notes)?;
    let template = spec.need("template", "a map with spec", notes)?;
    let template = template.fields(&["metadata", "spec"], Unknown::Warned, notes)?;
    let mut annotations = match template.get("metadata") {
        Some(at) => {
            let fields = at.fields(&METADATA, Unknown::Warned, notes)?;
            read_annotations(fields.get("annotations"), notes)
        }
        None => Annotations::new(),
    };
    let at = template.need("spec", "a map with containers", notes)?;
    let own = [
        "containerConcurrency",
        "timeoutSeconds",
        "responseStartTimeoutSeconds",
        "idleTimeoutSeconds",
    ];
    let known: Vec<_> = own.into_iter().chain(pod::POD).collect();
    let pod = at.fields(&known, Unknown::Warned, notes)?;
    let (name, outer) = metadata?;
    // Of the service's own annotations only ours matter: Knative reads a revision's from the template.
    annotations.extend(outer.into_iter().filter(|(name, _)| name.starts_with("tidegate.dev/")));
    let mut hints = hints_of(&annotations);
    let mut service = bare(name, catalogue);
    service.needs = Resources::default();
    let containers = pod.need("containers", "a list of containers", notes);
    for container in containers.map_or(Vec::new(), |at| at.items(notes)) {
        if let Some(fields) = container.fields(&pod::CONTAINER, Unknown::Warned, notes) {
            hints.container(&fields, notes);
            pod::add(&mut service.needs, pod::needs(&fields, Resources::default(), notes));
        }
    }
    service.pod = pod::constraints(&pod, notes);
    let concurrency = pod.get("containerConcurrency");
    service.container_concurrency = concurrency.and_then(|at| at.count(0, notes)).unwrap_or(0);
    if let Some(timeout) = pod.get("timeoutSeconds").and_then(|at| at.count(1, notes)) {
        service.timeout_s = f64::from(timeout);
    }
    let line = root.line_of("metadata");
    service.model = hints.model(name, line, service.needs.gpus, catalogue, notes);
    take_annotations(&mut service, annotations, line, notes);
    service.launch = launches::of_pod(&pod, notes);
    launches::check(&service, line, notes);
    Some((line, service))
}
