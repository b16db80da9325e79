//! What kind of file something is, seen from what is in it. A further kind is a variant here with its place among the turns, a line
//! in [`of_kind`], and an arm where each kind is checked.

use serde::Serialize;

use super::Source;
use crate::definitions::{Outline, is_openb};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The cluster's settings: a map of Knative's keys, or a ConfigMap.
    Profile,
    /// KServe's and Knative's manifests, or our own short form.
    Services,
    /// What replicas run on.
    Nodes,
    /// Models beside the built-in catalogue.
    Models,
    /// A chain of policies.
    Policies,
    /// Recorded load.
    Trace,
    /// Failures to play.
    Faults,
    /// A policy.
    Component,
    /// A settings document, as a policy gets it.
    Settings,
    /// Cases that policies must pass.
    Suite,
}

/// Keys of a settings document.
const SETTINGS: [&str; 3] = ["settings", "profile", "service"];

impl Kind {
    /// The order in which files are checked: what others are read by comes first.
    pub(super) const IN_TURN: [Kind; 10] = [
        Kind::Profile,
        Kind::Models,
        Kind::Nodes,
        Kind::Services,
        Kind::Trace,
        Kind::Faults,
        Kind::Policies,
        Kind::Component,
        Kind::Settings,
        Kind::Suite,
    ];

    /// The word for it in output for programs.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Profile => "profile",
            Kind::Services => "services",
            Kind::Nodes => "nodes",
            Kind::Models => "models",
            Kind::Policies => "policies",
            Kind::Trace => "trace",
            Kind::Faults => "faults",
            Kind::Component => "component",
            Kind::Settings => "settings",
            Kind::Suite => "suite",
        }
    }

    /// What such a file is, in a few words.
    pub(super) fn about(self) -> &'static str {
        match self {
            Kind::Profile => "cluster settings: Knative's keys, or a ConfigMap",
            Kind::Services => "services: KServe and Knative manifests, or the short form",
            Kind::Nodes => "nodes and GPU classes",
            Kind::Models => "models beside the built-in catalogue",
            Kind::Policies => "a chain of policies",
            Kind::Trace => "recorded load",
            Kind::Faults => "failures to play",
            Kind::Component => "a policy as a component",
            Kind::Settings => "a settings document of a policy",
            Kind::Suite => "cases that policies must pass",
        }
    }
}

/// What kind a file is, or why that cannot be told.
///
/// # Errors
///
/// In a sentence, where it is of no kind that the program reads.
pub fn of(source: &Source) -> Result<Kind, String> {
    let bytes = source.bytes.as_slice();
    let is_named = |ending: &str| source.name.ends_with(ending);
    if bytes.starts_with(b"\0asm") || is_named(".wasm") || is_named(".wat") {
        return Ok(Kind::Component);
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Kind::Trace);
    }
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        // A beginning may end within a letter.
        Err(error) if !source.is_whole && error.error_len().is_none() => {
            str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or("")
        }
        Err(_) => return Err("it is neither text nor a component nor gzip".to_owned()),
    };
    if source.path.is_none() && text.trim().is_empty() {
        return Err("it is empty: what was to write it has written nothing".to_owned());
    }
    if is_openb(text) {
        return Ok(Kind::Nodes);
    }
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let is_header = first.contains(',') && !first.contains([':', '{', '[', '#']);
    if is_named(".csv") || is_header {
        return Ok(Kind::Trace);
    }
    // What is no YAML is told with its place by the reader of whatever it was meant to be.
    let Ok(outline) = Outline::of(text, &source.name) else { return Ok(guess(text)) };
    match outline.kind() {
        Some((version, kind)) => of_kind(version, kind),
        None if outline.is_empty() => Ok(Kind::Profile),
        None => of_keys(&outline.keys()),
    }
}

fn of_kind(version: &str, kind: &str) -> Result<Kind, String> {
    let ours = [
        ("Services", Kind::Services),
        ("Nodes", Kind::Nodes),
        ("Models", Kind::Models),
        ("Policies", Kind::Policies),
        ("Suite", Kind::Suite),
    ];
    if let Some((_, kind)) = ours.iter().find(|(name, _)| *name == kind) {
        return Ok(*kind);
    }
    if kind == "ConfigMap" {
        return Ok(Kind::Profile);
    }
    if ["serving.kserve.io/", "serving.knative.dev/"].iter().any(|group| version.starts_with(group))
    {
        return Ok(Kind::Services);
    }
    let known = ours.iter().map(|(name, _)| *name).chain(["ConfigMap", "InferenceService"]);
    let version = if version.is_empty() { "no version" } else { version };
    Err(match tidegate_settings::nearest(kind, known.clone()) {
        Some(nearest) => format!("it is a {kind} of {version}; did you mean {nearest}?"),
        None => {
            let known = known.collect::<Vec<_>>().join(", ");
            format!("it is a {kind} of {version}, which is none of {known}")
        }
    })
}

fn of_keys(keys: &[&str]) -> Result<Kind, String> {
    if keys.contains(&"faults") {
        return Ok(Kind::Faults);
    }
    if !keys.is_empty() && keys.iter().all(|key| SETTINGS.contains(key)) {
        return Ok(Kind::Settings);
    }
    let known = tidegate_settings::Key::ALL.map(tidegate_settings::Key::cluster_name);
    let is_like = |key: &&str| {
        *key == "_example"
            || tidegate_settings::nearest(key, known).is_some_and(|near| !near.is_empty())
    };
    if keys.iter().any(is_like) {
        return Ok(Kind::Profile);
    }
    match keys.first() {
        Some(first) => {
            Err(format!("nothing says what it is: it has no kind, and begins with {first}"))
        }
        None => Err("it is neither a map nor a table".to_owned()),
    }
}

/// What a text that is no YAML was most likely meant to be.
fn guess(text: &str) -> Kind {
    let says = |word: &str| text.lines().any(|line| line.trim_start().starts_with(word));
    let kinds = [
        ("kind: Nodes", Kind::Nodes),
        ("kind: Models", Kind::Models),
        ("kind: Policies", Kind::Policies),
        ("kind: Suite", Kind::Suite),
        ("kind: ConfigMap", Kind::Profile),
        ("kind: ", Kind::Services),
        ("faults:", Kind::Faults),
        ("{", Kind::Settings),
    ];
    kinds.into_iter().find(|(word, _)| says(word)).map_or(Kind::Profile, |(_, kind)| kind)
}
