//! What a pod says that matters for scaling and placing: what its containers take, where it may go, and which model it serves.

use serde_json::json;

use super::field::{At, Fields, Notes};
use super::model::{Catalogue, Model};
use super::quantity::Quantity;
use crate::engine::Resources;

/// The resource that counts whole GPUs.
const GPU: &str = "nvidia.com/gpu";
/// Accelerators of others; a MIG device is a part of a GPU.
const OTHER_ACCELERATORS: [&str; 4] =
    ["amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi", "nvidia.com/mig-"];

/// A container's keys in Kubernetes.
pub(super) const CONTAINER: [&str; 24] = [
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
];

/// A pod's keys in Kubernetes.
pub(super) const POD: [&str; 41] = [
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "ephemeralContainers",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "hostname",
    "imagePullSecrets",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
    "workloadRef",
];

/// The constraints of a pod that goes anywhere.
pub(super) fn no_constraints() -> serde_json::Value {
    json!({"nodeSelector": {}, "affinity": {}, "tolerations": []})
}

/// `nodeSelector`, `affinity` and `tolerations`, as they stand there. The placement policy reads them closely.
pub(super) fn constraints(fields: &Fields<'_>, notes: &mut Notes<'_>) -> serde_json::Value {
    let mut constraints = no_constraints();
    if let Some(at) = fields.get("nodeSelector") {
        for (key, at) in at.entries(notes) {
            if let Some(value) = at.text(notes) {
                constraints["nodeSelector"][key] = value.into();
            }
        }
    }
    if let Some(at) = fields.get("affinity") {
        if at.is_map() {
            constraints["affinity"] = at.tree.json();
        } else {
            at.refuse(notes, "a map");
        }
    }
    if let Some(at) = fields.get("tolerations") {
        constraints["tolerations"] = at.items(notes).iter().map(|at| at.tree.json()).collect();
    }
    constraints
}

/// What a container takes, `default` where it does not say.
pub(super) fn needs(
    container: &Fields<'_>,
    default: Resources,
    notes: &mut Notes<'_>,
) -> Resources {
    let mut needs = default;
    let Some(at) = container.get("resources") else { return needs };
    let known = ["limits", "requests", "claims"];
    let Some(fields) = at.fields(&known, super::field::Unknown::Warned, notes) else {
        return needs;
    };
    let mut gpus: Option<(u32, &str)> = None;
    // Kubernetes takes the limit for a request that is missing; so limits come first and requests replace them.
    for key in ["limits", "requests"] {
        for (resource, at) in fields.get(key).map_or(Vec::new(), |at| at.entries(notes)) {
            match resource {
                "cpu" => {
                    needs.cpu_milli = at.amount(Quantity::milli, notes).unwrap_or(needs.cpu_milli);
                }
                "memory" => {
                    needs.memory_bytes =
                        at.amount(Quantity::units, notes).unwrap_or(needs.memory_bytes);
                }
                resource if is_accelerator(resource) => {
                    if resource != GPU && key == "limits" {
                        notes.warn(at.line, format!("{} is counted as whole GPUs", at.path));
                    }
                    let count = whole(&at, notes).unwrap_or(0);
                    match gpus {
                        Some((limit, of)) if of == resource && limit != count => {
                            at.refuse(notes, format!("the limit, which is {limit}"));
                        }
                        Some(_) | None => gpus = Some((count, resource)),
                    }
                }
                _ => {}
            }
        }
    }
    needs.gpus = gpus.map_or(needs.gpus, |(count, _)| count);
    needs
}

fn is_accelerator(resource: &str) -> bool {
    resource == GPU || OTHER_ACCELERATORS.iter().any(|other| resource.starts_with(other))
}

/// A number of GPUs: a quantity without a fraction.
fn whole(at: &At<'_>, notes: &mut Notes<'_>) -> Option<u32> {
    let quantity = at.quantity(notes)?;
    let count = quantity.milli().filter(|milli| milli % 1000 == 0);
    let count = count.and_then(|milli| u32::try_from(milli / 1000).ok());
    if count.is_none() {
        at.refuse(notes, "a whole number of GPUs");
    }
    count
}

/// One more container in a pod.
pub(super) fn add(one: &mut Resources, other: Resources) {
    one.cpu_milli = one.cpu_milli.saturating_add(other.cpu_milli);
    one.memory_bytes = one.memory_bytes.saturating_add(other.memory_bytes);
    one.gpus = one.gpus.saturating_add(other.gpus);
}

/// What tells which model a service serves, and how.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints<'a> {
    /// Where somebody says it outright.
    pub(super) model: Option<At<'a>>,
    pub(super) loader: Option<At<'a>>,
    pub(super) engine: Option<At<'a>>,
    /// Addresses of weights, the likeliest first.
    pub(super) addresses: Vec<String>,
    /// The server's arguments.
    pub(super) args: Vec<String>,
    /// Where the author could say it outright, for people.
    pub(super) place: &'static str,
    /// Served by a framework that is not for language models.
    pub(super) is_small: bool,
}

impl<'a> Hints<'a> {
    /// Takes in what a container says.
    pub(super) fn container(&mut self, container: &Fields<'a>, notes: &mut Notes<'_>) {
        for env in container.get("env").map_or(Vec::new(), |at| at.items(notes)) {
            if let (Some("STORAGE_URI" | "MODEL_URI" | "MODEL_ID"), Some(value)) =
                (env.key("name"), env.key("value"))
            {
                self.addresses.push(value.to_owned());
            }
        }
        for key in ["command", "args"] {
            for at in container.get(key).map_or(Vec::new(), |at| at.items(notes)) {
                self.args.extend(at.scalar(notes).map(str::to_owned));
            }
        }
    }

    /// The value of an argument: `--key=value`, or the argument after `--key`.
    fn arg(&self, keys: &[&str]) -> Option<&str> {
        let mut args = self.args.iter();
        while let Some(arg) = args.next() {
            let (key, value) = arg.split_once('=').unwrap_or((arg, ""));
            if keys.contains(&key) {
                return if key == arg { args.next().map(String::as_str) } else { Some(value) };
            }
        }
        None
    }

    /// The model of the service `name`: what is said outright, else what the weights' address or the server's arguments name, else
    /// the model of the service's own name, else a default, with a warning.
    pub(super) fn model(
        &self,
        name: &str,
        line: u64,
        gpus: u32,
        catalogue: &Catalogue,
        notes: &mut Notes<'_>,
    ) -> Model {
        let from_args = self.arg(&["--model_id", "--model-id", "--model"]);
        let mut named = self.addresses.iter().map(String::as_str).chain(from_args).peekable();
        let described = named.peek().copied();
        let is_small = self.is_small || gpus == 0;
        let default =
            if is_small { catalogue.default_small_model() } else { catalogue.default_model() };
        let mut model = match &self.model {
            Some(at) => {
                let written = at.scalar(notes).unwrap_or("");
                let found = catalogue.find(written);
                if found.is_none() && !written.is_empty() {
                    at.refuse(notes, catalogue.expected_model(written));
                }
                found.unwrap_or(default).clone()
            }
            None => {
                let found = named.find_map(|name| catalogue.find(name));
                found.or_else(|| catalogue.find(name)).unwrap_or_else(|| {
                    let unknown = described.map_or_else(
                        || "nothing says which model it serves".to_owned(),
                        |described| format!("no known model is called {described}"),
                    );
                    // Nobody asks how fast a model is that really runs.
                    if !notes.is_live {
                        notes.warn(line, format!("service {name}: {unknown}; it is taken as {}, unless {} says which", default.name, self.place));
                    }
                    default
                }).clone()
            }
        };
        self.adjust(&mut model, catalogue, notes);
        model
    }

    fn adjust(&self, model: &mut Model, catalogue: &Catalogue, notes: &mut Notes<'_>) {
        if let Some((at, name)) = self.loader.as_ref().and_then(|at| Some((at, at.scalar(notes)?)))
        {
            match catalogue.loader(name) {
                Some(loader) => model.loader = loader.clone(),
                None => at.refuse(notes, catalogue.expected_loader(name)),
            }
        }
        if let Some((at, name)) = self.engine.as_ref().and_then(|at| Some((at, at.scalar(notes)?)))
        {
            match catalogue.engine(name) {
                Some(engine) => model.run_by(engine),
                None => at.refuse(notes, catalogue.expected_engine(name)),
            }
        }
        // vLLM neither compiles nor captures graphs then.
        if self.args.iter().any(|arg| arg == "--enforce-eager") {
            model.compile_s = 0.0;
        }
        let sequences = self.arg(&["--max-num-seqs", "--max_num_seqs"]);
        if let Some(sequences) = sequences.and_then(|text| text.parse().ok()).filter(|n| *n > 0) {
            model.max_sequences = sequences;
        }
    }
}
