//! Services: what is scaled, as people write it down (KServe's InferenceService, or a short form of our own). It knows nothing of
//! how it is scaled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::fault::{DefinitionError, Warning, read_text};
use super::field::{At, Fields, Notes, Unknown, is_ours};
use super::launch::Launch;
use super::model::{self, Catalogue, Model};
use super::pod::{self, Hints};
use super::quantity::Quantity;
use super::route::{self, Route};
use super::{API_VERSION, kserve, launches, settings, tree};
use crate::engine::Resources;

/// A service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Unique among the services of a run.
    pub name: String,
    /// The service of a trace whose load it gets, if that has another name.
    pub trace: Option<String>,
    /// At least so many replicas; `None`: the annotations and the profile say.
    pub min_replicas: Option<u32>,
    /// At most so many replicas, 0 for no limit; `None`: the annotations and the profile say.
    pub max_replicas: Option<u32>,
    /// Requests that one replica takes at once; 0 is no limit.
    pub container_concurrency: u32,
    /// How long a request may take from arrival to its last byte, waiting included. Seconds.
    pub timeout_s: f64,
    /// How long a first replica may take. Milliseconds.
    pub progress_deadline_ms: u64,
    /// Requests that may wait at once; further ones are refused.
    pub queue_limit: u32,
    /// Annotations that begin with `autoscaling.knative.dev/`, `serving.knative.dev/` or `policy.tidegate.dev/`.
    pub annotations: BTreeMap<String, String>,
    /// What one replica takes from a node.
    pub needs: Resources,
    /// `nodeSelector`, `affinity` and `tolerations` of the pod, as in the manifest. A JSON object.
    pub pod: serde_json::Value,
    /// What its replicas serve.
    pub model: Model,
    /// Kinds of capacity that its replicas may stand on, each scaled by itself; none: all alike.
    pub pools: Vec<Pool>,
    /// The process that a replica is; `None`: nobody says, or not in full, so that it can be simulated and not run.
    pub launch: Option<Launch>,
    /// By what requests find it.
    pub route: Route,
    /// The share of one GPU's memory that a replica takes, above 0 and below 1; `None`: GPUs are its own.
    pub gpu_share: Option<f64>,
    /// Percent of the requests that a changed manifest gets; the revision before it gets the others.
    pub canary_percent: Option<u32>,
}

/// A kind of capacity that replicas of a service may stand on, as a GPU class, on demand or spot.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Unique among the pools of the service.
    pub name: String,
    /// At least so many replicas; `None`: as the service for the first pool, none for the others.
    pub min_replicas: Option<u32>,
    /// At most so many replicas, 0 for no limit; `None`: as the service.
    pub max_replicas: Option<u32>,
    /// Constraints of its pods; what the pool does not say is the service's. A JSON object.
    pub pod: serde_json::Value,
}

/// What reading services came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// In the order of the file, names unique.
    pub services: Vec<Service>,
    /// Where each of them begins, in the same order. Lines, from 1.
    pub lines: Vec<u64>,
    /// What their author should know.
    pub warnings: Vec<Warning>,
}

/// Knative's `revision-timeout-seconds`.
pub(super) const TIMEOUT_S: f64 = 300.0;
/// Knative's progress deadline.
pub(super) const PROGRESS_DEADLINE_MS: u64 = 600_000;
/// Requests that a Knative activator holds for a revision.
pub(super) const QUEUE_LIMIT: u32 = 10_000;
/// What one replica takes at once where our own form does not say. KServe's and Knative's default is no limit.
const CONTAINER_CONCURRENCY: u32 = 8;
/// What one replica of our own form takes where it does not say. Assumed.
const NEEDS: Resources = Resources { cpu_milli: 4_000, memory_bytes: 32 << 30, gpus: 1 };

/// Reads the services of a file: KServe's InferenceService, a plain Knative Service, and our own short form, as many documents as
/// there are. A document of kind `Models` in it adds to `catalogue` for these services.
///
/// # Errors
///
/// When the file cannot be read or anything in it is wrong; all faults are told.
pub fn read(path: &Path, catalogue: &Catalogue) -> Result<Read, DefinitionError> {
    let (text, file) = read_text(path)?;
    parse(&text, &file, catalogue)
}

/// The same for a live run: every service must say what process it is, and what is wrong with that is told. What our own form does
/// not say of CPU, memory and GPUs is none.
///
/// # Errors
///
/// As those of [`read`].
pub fn read_live(path: &Path, catalogue: &Catalogue) -> Result<Read, DefinitionError> {
    let (text, file) = read_text(path)?;
    parse_live(&text, &file, catalogue)
}

/// The same from a text; `file` is what messages call it.
///
/// # Errors
///
/// When anything in it is wrong; all faults are told.
pub fn parse(text: &str, file: &str, catalogue: &Catalogue) -> Result<Read, DefinitionError> {
    parse_with(text, file, false, catalogue)
}

/// [`read_live`] from a text.
///
/// # Errors
///
/// As those of [`read`].
pub fn parse_live(text: &str, file: &str, catalogue: &Catalogue) -> Result<Read, DefinitionError> {
    parse_with(text, file, true, catalogue)
}

fn parse_with(
    text: &str,
    file: &str,
    is_live: bool,
    catalogue: &Catalogue,
) -> Result<Read, DefinitionError> {
    let (documents, notes) = tree::parse(text, file)?;
    let mut notes = Notes { is_live, ..notes };
    let mut catalogue = catalogue.clone();
    let roots: Vec<At<'_>> = documents.iter().map(At::root).collect();
    for root in roots.iter().filter(|root| is_of(root, API_VERSION, model::KIND)) {
        catalogue.extend(root, &mut notes);
    }
    let mut drafts = Vec::new();
    for root in &roots {
        drafts.extend(read_document(root, &catalogue, &mut notes));
    }
    if documents.is_empty() {
        notes.fault(1, "the file", "empty", EXPECTED);
    }
    let mut names = BTreeSet::new();
    let (mut services, mut lines) = (Vec::new(), Vec::new());
    for (line, service) in drafts {
        if !names.insert(service.name.clone()) {
            let field = "the service's name";
            notes.fault(line, field, &service.name, "a name that no earlier service has");
        }
        check_routes(&services, &service, line, &mut notes);
        services.push(service);
        lines.push(line);
    }
    let (services, warnings) = notes.or(services)?;
    Ok(Read { services, lines, warnings })
}

const EXPECTED: &str = "InferenceService of serving.kserve.io/v1beta1, Service of serving.knative.dev/v1, or Services of tidegate.dev/v1alpha1";

fn is_of(root: &At<'_>, version: &str, kind: &str) -> bool {
    (root.key("apiVersion"), root.key("kind")) == (Some(version), Some(kind))
}

/// The services of a document, with the line of each.
fn read_document(
    root: &At<'_>,
    catalogue: &Catalogue,
    notes: &mut Notes<'_>,
) -> Vec<(u64, Service)> {
    match (root.key("apiVersion"), root.key("kind")) {
        (Some(API_VERSION), Some(model::KIND)) => Vec::new(),
        (Some(API_VERSION), Some("Services")) => read_own(root, catalogue, notes),
        (Some("serving.kserve.io/v1beta1"), Some("InferenceService")) => {
            kserve::read_inference_service(root, catalogue, notes).into_iter().collect()
        }
        (Some("serving.knative.dev/v1"), Some("Service")) => {
            kserve::read_knative_service(root, catalogue, notes).into_iter().collect()
        }
        // What stands beside services in files that people apply whole: accounts, secrets, claims.
        (Some("v1"), Some(kind)) if kind != "List" => {
            notes.warn(root.line, format!("{kind} of v1 is no service and has no effect"));
            Vec::new()
        }
        (Some(version), Some(kind)) => {
            let line = root.line_of("kind");
            notes.fault(line, "kind", format!("{kind} of {version}"), EXPECTED);
            Vec::new()
        }
        (_, kind) => {
            let missing = if kind.is_some() { "apiVersion" } else { "kind" };
            notes.fault(root.line, missing, "missing", EXPECTED);
            Vec::new()
        }
    }
}

impl Service {
    /// A service of a trace that nobody has described: the default model on one GPU, eight requests at once, and whatever else is
    /// the default of our own form.
    pub fn default_for(name: &str, catalogue: &Catalogue) -> Service {
        Service {
            name: name.to_owned(),
            trace: None,
            min_replicas: None,
            max_replicas: None,
            container_concurrency: CONTAINER_CONCURRENCY,
            timeout_s: TIMEOUT_S,
            progress_deadline_ms: PROGRESS_DEADLINE_MS,
            queue_limit: QUEUE_LIMIT,
            annotations: BTreeMap::new(),
            needs: NEEDS,
            pod: pod::no_constraints(),
            model: catalogue.default_model().clone(),
            pools: Vec::new(),
            launch: None,
            route: Route { model_names: vec![name.to_owned()], ..Route::default() },
            gpu_share: None,
            canary_percent: None,
        }
    }
}

/// Notes a way to `service` that leads to an earlier one as well.
fn check_routes(earlier: &[Service], service: &Service, line: u64, notes: &mut Notes<'_>) {
    let route = &service.route;
    for other in earlier.iter().filter(|other| other.name != service.name) {
        let is_same =
            (&route.host, &route.path_prefix) == (&other.route.host, &other.route.path_prefix);
        if is_same && (route.host.is_some() || route.path_prefix.is_some()) {
            let ways = [&route.host, &route.path_prefix].into_iter().flatten();
            let found = ways.map(String::as_str).collect::<String>();
            let found = format!("{found}, which leads to {} too", other.name);
            notes.fault(line, "the service's route", found, "a route that no earlier service has");
        }
        if let Some(name) = route.model_names.iter().find(|it| other.route.model_names.contains(it))
        {
            let found = format!("{name}, which leads to {} too", other.name);
            let expected = "names of models that no earlier service has";
            notes.fault(line, "the service's model names", found, expected);
        }
    }
}

/// Reads our own form: a list of services, or a map by name.
fn read_own(root: &At<'_>, catalogue: &Catalogue, notes: &mut Notes<'_>) -> Vec<(u64, Service)> {
    let known = ["apiVersion", "kind", "services"];
    let Some(fields) = root.fields(&known, Unknown::Refused, notes) else { return Vec::new() };
    if !is_ours(&fields, "Services", notes) {
        return Vec::new();
    }
    let Some(at) = fields.need("services", "a list of services", notes) else { return Vec::new() };
    let mut services = Vec::new();
    if at.is_map() {
        for (name, at) in at.entries(notes) {
            services.extend(read_one(&at, Some(name), catalogue, notes));
        }
    } else {
        for at in at.items(notes) {
            services.extend(read_one(&at, None, catalogue, notes));
        }
    }
    services
}

fn read_one(
    at: &At<'_>,
    name: Option<&str>,
    catalogue: &Catalogue,
    notes: &mut Notes<'_>,
) -> Option<(u64, Service)> {
    let known = [
        "name",
        "trace",
        "model",
        "loader",
        "engine",
        "minReplicas",
        "maxReplicas",
        "containerConcurrency",
        "timeout",
        "progressDeadline",
        "queueLimit",
        "gpus",
        "cpu",
        "memory",
        "nodeSelector",
        "affinity",
        "tolerations",
        "annotations",
        "pools",
        "host",
        "pathPrefix",
        "modelNames",
        "gpuShare",
    ];
    let known: Vec<_> = known.into_iter().chain(launches::OWN).collect();
    let known = if name.is_some() { &known[1..] } else { &known[..] };
    let fields = at.fields(known, Unknown::Refused, notes)?;
    let name = match name {
        Some(name) => name,
        None => fields.need("name", "a name", notes)?.scalar(notes)?,
    };
    let mut service = Service::default_for(name, catalogue);
    let count = |key: &str, notes: &mut Notes<'_>| fields.get(key)?.count(0, notes);
    service.min_replicas = count("minReplicas", notes);
    service.max_replicas = count("maxReplicas", notes);
    check_replicas(&fields, service.min_replicas, service.max_replicas, notes);
    service.container_concurrency =
        count("containerConcurrency", notes).unwrap_or(CONTAINER_CONCURRENCY);
    service.queue_limit = count("queueLimit", notes).unwrap_or(QUEUE_LIMIT);
    // A machine at hand has what it has: what nobody asks for is not counted there.
    let default = if notes.is_live { Resources::default() } else { NEEDS };
    service.needs.gpus = count("gpus", notes).unwrap_or(default.gpus);
    let amount = |key: &str, unit: fn(Quantity) -> Option<u64>, notes: &mut Notes<'_>| {
        fields.get(key)?.amount(unit, notes)
    };
    service.needs.cpu_milli = amount("cpu", Quantity::milli, notes).unwrap_or(default.cpu_milli);
    service.needs.memory_bytes =
        amount("memory", Quantity::units, notes).unwrap_or(default.memory_bytes);
    service.timeout_s = fields
        .get("timeout")
        .and_then(|at| at.duration_ms(notes))
        .map_or(TIMEOUT_S, |ms| ms as f64 / 1e3);
    service.progress_deadline_ms =
        fields.or("progressDeadline", PROGRESS_DEADLINE_MS, notes, At::duration_ms);
    let trace = fields.get("trace").and_then(|at| at.scalar(notes));
    service.trace = trace.map(str::to_owned);
    service.pod = pod::constraints(&fields, notes);
    service.pools = fields.get("pools").map_or(Vec::new(), |at| read_pools(&at, &service, notes));
    let annotations = settings::read_annotations(fields.get("annotations"), notes);
    let hints = Hints {
        model: fields.get("model"),
        loader: fields.get("loader"),
        engine: fields.get("engine"),
        addresses: Vec::new(),
        args: Vec::new(),
        place: "model",
        is_small: false,
    };
    service.model = hints.model(name, at.line, service.needs.gpus, catalogue, notes);
    settings::take_annotations(&mut service, annotations, at.line, notes);
    let mut route = Route {
        host: fields.get("host").and_then(|at| route::host(&at, notes)),
        path_prefix: fields.get("pathPrefix").and_then(|at| route::path_prefix(&at, notes)),
        model_names: fields
            .get("modelNames")
            .map_or(Vec::new(), |at| route::model_names(&at, notes)),
    };
    // What annotations say stands where the keys do not.
    route.host = route.host.or(service.route.host);
    route.path_prefix = route.path_prefix.or(service.route.path_prefix);
    if route.model_names.is_empty() {
        route.model_names = service.route.model_names;
    }
    service.route = route;
    if let Some(at) = fields.get("gpuShare") {
        service.gpu_share = settings::gpu_share(&at, service.needs.gpus, notes);
    }
    service.launch = launches::of_own(&fields, notes);
    launches::check(&service, at.line, notes);
    Some((at.line, service))
}

/// Reads the pools of a service of which all else but the model is known.
fn read_pools(at: &At<'_>, service: &Service, notes: &mut Notes<'_>) -> Vec<Pool> {
    let known = ["name", "minReplicas", "maxReplicas", "nodeSelector", "affinity", "tolerations"];
    let mut pools: Vec<Pool> = Vec::new();
    for at in at.items(notes) {
        let Some(fields) = at.fields(&known, Unknown::Refused, notes) else { continue };
        let Some(name) = fields.need("name", "a name", notes).and_then(|at| at.scalar(notes))
        else {
            continue;
        };
        if pools.iter().any(|known| known.name == name) {
            notes.fault(at.line, &at.path, name, "a name that no earlier pool of the service has");
        }
        let count = |key: &str, notes: &mut Notes<'_>| fields.get(key)?.count(0, notes);
        let (min_replicas, max_replicas) =
            (count("minReplicas", notes), count("maxReplicas", notes));
        check_replicas(&fields, min_replicas, max_replicas, notes);
        let mut pod = service.pod.clone();
        if let (Some(pod), serde_json::Value::Object(own)) =
            (pod.as_object_mut(), pod::constraints(&fields, notes))
        {
            pod.extend(own.into_iter().filter(|(key, _)| fields.get(key).is_some()));
        }
        pools.push(Pool { name: name.to_owned(), min_replicas, max_replicas, pod });
    }
    pools
}

/// Notes a maximum below the minimum.
pub(super) fn check_replicas(
    fields: &Fields<'_>,
    min: Option<u32>,
    max: Option<u32>,
    notes: &mut Notes<'_>,
) {
    if let (Some(at), Some(min), Some(max)) = (fields.get("maxReplicas"), min, max)
        && max != 0
        && max < min
    {
        at.refuse(notes, format!("0 (no limit) or at least minReplicas, which is {min}"));
    }
}
