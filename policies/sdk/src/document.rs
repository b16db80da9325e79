//! Reading a settings document: the envelope that `docs/signals.md` describes, with the author's own settings inside.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};

use crate::Fault;

/// A settings document. The author's part is `settings`; the rest is what the installation knows about the service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Document<S> {
    /// The stage's own settings.
    pub settings: S,
    /// The cluster's settings: a Knative ConfigMap, text to text.
    #[serde(default)]
    pub profile: BTreeMap<String, String>,
    /// The service that is scaled.
    #[serde(default)]
    pub service: Service,
}

/// What a settings document says about the service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Annotations that begin with `autoscaling.knative.dev/`, `serving.knative.dev/` or `policy.tidegate.dev/`.
    pub annotations: BTreeMap<String, String>,
    /// Requests a replica takes at once; 0 is no limit.
    pub container_concurrency: u32,
    /// How long a first replica may take. Milliseconds.
    pub progress_deadline_ms: u64,
    /// The pod's constraints as in its manifest: `nodeSelector`, `affinity`, `tolerations`. Placement only; otherwise null.
    pub pod: serde_json::Value,
}

impl Default for Service {
    /// No annotations, no limit, Knative's progress deadline of 600 s.
    fn default() -> Service {
        Service {
            annotations: BTreeMap::new(),
            container_concurrency: 0,
            progress_deadline_ms: 600_000,
            pod: serde_json::Value::Null,
        }
    }
}

impl<S: DeserializeOwned> Document<S> {
    /// Reads a document. A fault names the place in it: `settings.tiers.2.replicas`.
    pub fn read(text: &str) -> Result<Document<S>, Faults> {
        let mut json = serde_json::Deserializer::from_str(text);
        let document = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            Faults::one(dotted(error.path()), without_position(&error.inner().to_string()))
        })?;
        match json.end() {
            Ok(()) => Ok(document),
            Err(error) => Err(Faults::one("", without_position(&error.to_string()))),
        }
    }
}

/// Faults in a settings document; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// A single fault. See [`Fault`] for what the texts should be.
    pub fn one(path: impl Into<String>, message: impl Into<String>) -> Faults {
        let mut faults = Faults::default();
        faults.push(path, message);
        faults
    }

    /// One fault more.
    pub fn push(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Fault { path: path.into(), message: message.into() });
    }

    /// `value` if there is no fault, else the faults.
    pub fn or<T>(self, value: T) -> Result<T, Faults> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// As they cross.
    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}

/// From pairs of a path and a message, as whoever reads a part of the document for a policy tells them.
impl FromIterator<(String, String)> for Faults {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Faults {
        let mut faults = Faults::default();
        pairs.into_iter().for_each(|(path, message)| faults.push(path, message));
        faults
    }
}

/// Keys and positions joined with dots.
fn dotted(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut parts = Vec::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => parts.push(index.to_string()),
            Segment::Map { key } => parts.push(key.clone()),
            Segment::Enum { variant } => parts.push(variant.clone()),
            Segment::Unknown => {}
        }
    }
    parts.join(".")
}

/// The host puts the document together, so a line and column in it would tell its author nothing.
fn without_position(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |end| &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Settings {
        tiers: Vec<Tier>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Tier {
        replicas: u32,
    }

    fn check(text: &str) -> (String, String) {
        let fault = Document::<Settings>::read(text).unwrap_err().into_vec().remove(0);
        (fault.path, fault.message)
    }

    #[test]
    fn a_wrong_value_is_told_with_its_place() {
        let (path, message) =
            check(r#"{"settings": {"tiers": [{"replicas": 1}, {"replicas": "x"}]}}"#);
        assert_eq!(path, "settings.tiers.1.replicas");
        assert_eq!(message, r#"invalid type: string "x", expected u32"#);
    }

    #[test]
    fn a_missing_key_is_told_with_the_place_that_lacks_it() {
        let (path, message) = check(r#"{"settings": {}}"#);
        assert_eq!((path.as_str(), message.as_str()), ("settings", "missing field `tiers`"));
    }

    #[test]
    fn what_is_not_json_is_a_fault() {
        for text in ["", "{", "[]", r#"{"settings": {"tiers": []}} x"#] {
            assert_eq!(Document::<Settings>::read(text).unwrap_err().into_vec().len(), 1, "{text}");
        }
    }

    #[test]
    fn the_installations_part_may_be_left_out() {
        let document = Document::<Settings>::read(r#"{"settings": {"tiers": []}}"#).unwrap();
        assert_eq!(document.service.progress_deadline_ms, 600_000);
        assert!(document.profile.is_empty());
    }
}
