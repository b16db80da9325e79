//! A service's settings: its annotations, its limits, and the documents that policies get.

use std::collections::BTreeMap;

use serde_json::json;
use tidegate_settings::{Cluster, PREFIX, Reason, Revision};

use super::field::{At, Notes};
use super::route;
use super::service::{Pool, Service};
use crate::engine::Bounds;

const MIN_SCALE: &str = "autoscaling.knative.dev/min-scale";
const MAX_SCALE: &str = "autoscaling.knative.dev/max-scale";
const PROGRESS_DEADLINE: &str = "serving.knative.dev/progress-deadline";
/// What annotations begin with that are settings of a user's own policies.
const POLICY_PREFIX: &str = "policy.tidegate.dev/";
/// What our own annotations begin with, and all of them.
const OWN_PREFIX: &str = "tidegate.dev/";
const OWN: [&str; 9] = [
    "tidegate.dev/engine",
    "tidegate.dev/gpu-share",
    "tidegate.dev/host",
    "tidegate.dev/loader",
    "tidegate.dev/model",
    "tidegate.dev/model-names",
    "tidegate.dev/path-prefix",
    "tidegate.dev/queue-limit",
    "tidegate.dev/trace",
];

/// Annotations as they were written, each with its place.
pub(super) type Annotations<'a> = BTreeMap<String, At<'a>>;

/// What the host keeps to, whatever policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Least, most and first replicas.
    pub bounds: Bounds,
    /// Replicas that a request waiting at zero gets when every policy fails. At least 1.
    pub activation: u32,
}

/// A pool of a service, as the engine gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolLimits {
    /// Its name; `default` where the service has no pools.
    pub name: String,
    /// What the host keeps to.
    pub limits: Limits,
    /// Constraints of its pods. A JSON object.
    pub pod: serde_json::Value,
    /// Whether a request that waits at zero wakes this one: the pool that was written first.
    pub wakes: bool,
}

/// Settings of a service that do not go with the profile. One line a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.service, .faults))]
pub struct LimitsError {
    /// The service.
    pub service: String,
    /// Where in the settings document, and what.
    pub faults: Vec<tidegate_settings::Problem>,
}

fn lines(service: &str, faults: &[tidegate_settings::Problem]) -> String {
    let line = |fault: &tidegate_settings::Problem| format!("service {service}: {}", fault.message);
    faults.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Service {
    /// Its annotations, those included that stand for its least and most replicas, as KServe writes them.
    pub fn all_annotations(&self) -> BTreeMap<String, String> {
        let mut all = self.annotations.clone();
        for (name, replicas) in [(MIN_SCALE, self.min_replicas), (MAX_SCALE, self.max_replicas)] {
            if let Some(replicas) = replicas {
                all.insert(name.to_owned(), replicas.to_string());
            }
        }
        all
    }

    /// The limits that its annotations and the profile come to, by the rules that the policies go by.
    ///
    /// # Errors
    ///
    /// When a value is out of its range, or the revision's class is not Knative's own.
    pub fn limits(&self, profile: &BTreeMap<String, String>) -> Result<Limits, LimitsError> {
        let annotations = self.all_annotations();
        tidegate_settings::resolve(profile, &annotations, self.container_concurrency)
            .map(|(resolved, _)| Limits {
                bounds: Bounds {
                    min: resolved.min_scale,
                    max: resolved.max_scale,
                    initial: resolved.initial_scale,
                },
                activation: resolved.activation_scale.max(1),
            })
            .map_err(|faults| LimitsError { service: self.name.clone(), faults })
    }

    /// Its pools, sorted by name, with the limits of each. A service without pools is one of the name `default`. The first that is
    /// written begins with the initial scale and has the service's least replicas; the others begin with none.
    ///
    /// # Errors
    ///
    /// As those of [`limits`](Service::limits).
    pub fn pools(
        &self,
        profile: &BTreeMap<String, String>,
    ) -> Result<Vec<PoolLimits>, LimitsError> {
        let whole = self.limits(profile)?;
        if self.pools.is_empty() {
            let (name, pod) = ("default".to_owned(), self.pod.clone());
            return Ok(vec![PoolLimits { name, limits: whole, pod, wakes: true }]);
        }
        let pool = |(position, pool): (usize, &Pool)| {
            let is_first = position == 0;
            let of_first = |replicas: u32| if is_first { replicas } else { 0 };
            let bounds = Bounds {
                min: pool.min_replicas.unwrap_or(of_first(whole.bounds.min)),
                max: pool.max_replicas.unwrap_or(whole.bounds.max),
                initial: of_first(whole.bounds.initial),
            };
            let limits = Limits { bounds, activation: whole.activation };
            PoolLimits { name: pool.name.clone(), limits, pod: pool.pod.clone(), wakes: is_first }
        };
        let mut pools: Vec<PoolLimits> = self.pools.iter().enumerate().map(pool).collect();
        pools.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pools)
    }

    /// The settings document of a scaling stage, with the stage's own settings. JSON; `docs/signals.md` describes it.
    pub fn scaling_document(
        &self,
        own: &serde_json::Value,
        profile: &BTreeMap<String, String>,
    ) -> String {
        self.document(own, profile).to_string()
    }

    /// The settings document of the placement policy: the same with the constraints of a pool's pods.
    pub fn placement_document(
        &self,
        pod: &serde_json::Value,
        own: &serde_json::Value,
        profile: &BTreeMap<String, String>,
    ) -> String {
        let mut document = self.document(own, profile);
        document["service"]["pod"] = pod.clone();
        document.to_string()
    }

    fn document(
        &self,
        own: &serde_json::Value,
        profile: &BTreeMap<String, String>,
    ) -> serde_json::Value {
        json!({
            "settings": own,
            "profile": profile,
            "service": {
                "annotations": self.all_annotations(),
                "containerConcurrency": self.container_concurrency,
                "progressDeadlineMs": self.progress_deadline_ms,
            },
        })
    }
}

/// A share of one GPU, for a replica that takes `gpus`. Notes what is wrong with it.
pub(super) fn gpu_share(at: &At<'_>, gpus: u32, notes: &mut Notes<'_>) -> Option<f64> {
    let share = at.tree.scalar().and_then(|text| text.parse::<f64>().ok());
    let share = share.filter(|share| *share > 0.0 && *share < 1.0);
    if share.is_none() {
        at.refuse(notes, "a share of one GPU's memory above 0 and below 1, as 0.5");
    } else if gpus > 1 {
        at.refuse(notes, format!("nothing with {gpus} GPUs: a share is one of a single GPU"));
    }
    share.filter(|_| gpus <= 1)
}

/// The annotations at `at`, all of which must be texts.
pub(super) fn read_annotations<'a>(at: Option<At<'a>>, notes: &mut Notes<'_>) -> Annotations<'a> {
    let entries = at.map_or(Vec::new(), |at| at.entries(notes));
    entries
        .into_iter()
        .filter(|(_, at)| at.text(notes).is_some())
        .map(|(key, at)| (key.to_owned(), at))
        .collect()
}

/// Takes those annotations over that mean something: settings of Knative into the service, our own into its fields. Whatever is
/// wrong with them under every profile is a fault here, where the line is known.
pub(super) fn take_annotations(
    service: &mut Service,
    annotations: Annotations<'_>,
    line: u64,
    notes: &mut Notes<'_>,
) {
    for (name, at) in &annotations {
        let text = at.tree.scalar().unwrap_or("");
        if [PREFIX, "serving.knative.dev/", POLICY_PREFIX].iter().any(|one| name.starts_with(one)) {
            service.annotations.insert(name.clone(), text.to_owned());
        } else if name.starts_with(OWN_PREFIX) && !OWN.contains(&name.as_str()) {
            let nearest = tidegate_settings::nearest(name, OWN);
            let message = match nearest {
                Some(nearest) => format!("{name} is no known annotation; did you mean {nearest}?"),
                None => format!("{name} is no known annotation, expected {}", OWN.join(", ")),
            };
            notes.warn_near(at.line, &at.path, message, nearest.map(str::to_owned));
        }
    }
    if let Some(at) = annotations.get("tidegate.dev/trace") {
        service.trace = at.tree.scalar().map(str::to_owned);
    }
    if let Some(at) = annotations.get("tidegate.dev/queue-limit") {
        match at.tree.scalar().and_then(|text| text.parse().ok()) {
            Some(limit) => service.queue_limit = limit,
            None => at.refuse(notes, "a whole number of requests"),
        }
    }
    if let Some(at) = annotations.get("tidegate.dev/host") {
        service.route.host = route::host(at, notes);
    }
    if let Some(at) = annotations.get("tidegate.dev/path-prefix") {
        service.route.path_prefix = route::path_prefix(at, notes);
    }
    if let Some(at) = annotations.get("tidegate.dev/model-names") {
        service.route.model_names = route::model_names(at, notes);
    }
    if let Some(at) = annotations.get("tidegate.dev/gpu-share") {
        service.gpu_share = gpu_share(at, service.needs.gpus, notes);
    }
    if let Some(at) = annotations.get(PROGRESS_DEADLINE) {
        let nanos = at.tree.scalar().and_then(tidegate_settings::parse_duration);
        match nanos.and_then(|nanos| u64::try_from(nanos / 1_000_000).ok()).filter(|ms| *ms > 0) {
            Some(ms) => service.progress_deadline_ms = ms,
            None => at.refuse(notes, "a duration above 0s, as in 10m"),
        }
    }
    for warning in tidegate_settings::unknown_annotations(&service.annotations) {
        if let Some(at) = annotations.get(&warning.key) {
            notes.warn_near(at.line, &at.path, warning.to_string(), warning.nearest);
        }
    }
    let lenient = BTreeMap::from([("allow-zero-initial-scale".to_owned(), "true".to_owned())]);
    let cluster = Cluster::read(&lenient).expect("Knative's defaults are in order");
    for error in Revision::read(&cluster, &service.all_annotations()).err().unwrap_or_default() {
        // One that nobody wrote stands for a field, and fields were compared already.
        if error.reason == Reason::MaxBelowMin && !annotations.contains_key(&error.name) {
            continue;
        }
        let (line, path) = annotations
            .get(&error.name)
            .map_or((line, error.name.clone()), |at| (at.line, at.path.clone()));
        notes.fault(line, &path, format!("{:?}", error.value), error.expected);
    }
}
