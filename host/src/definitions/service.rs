//! Services: what is scaled, as people write it down (KServe's InferenceService, or a short form of our own). It knows nothing of
//! how it is scaled.

use std::collections::BTreeMap;

use super::model::Model;
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
    /// Annotations that begin with `autoscaling.knative.dev/` or `serving.knative.dev/`.
    pub annotations: BTreeMap<String, String>,
    /// What one replica takes from a node.
    pub needs: Resources,
    /// `nodeSelector`, `affinity` and `tolerations` of the pod, as in the manifest. A JSON object.
    pub pod: serde_json::Value,
    /// What its replicas serve.
    pub model: Model,
}
