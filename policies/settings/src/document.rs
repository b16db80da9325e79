//! From the texts of a settings document to numbers, with every fault and warning at its place in the document.

use std::collections::BTreeMap;

use crate::{Cluster, Resolved, Revision, unknown_annotations, unknown_keys};

/// Something wrong or useless in a settings document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: keys joined with dots, as in `profile.stable-window`.
    pub path: String,
    /// What, with what was found and what is allowed.
    pub message: String,
}

/// Path and message, which is what a policy hands on.
impl From<Problem> for (String, String) {
    fn from(problem: Problem) -> (String, String) {
        (problem.path, problem.message)
    }
}

/// The numbers for a reachable revision, and what in the texts has no effect; or all that is wrong with them.
///
/// `profile` and `annotations` are those of the settings document, and their paths are told as they are there.
pub fn resolve(
    profile: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    container_concurrency: u32,
) -> Result<(Resolved, Vec<Problem>), Vec<Problem>> {
    let in_profile = |key: &str| format!("profile.{key}");
    let in_service = |key: &str| format!("service.annotations.{key}");
    let cluster = Cluster::read(profile).map_err(|error| {
        let key = error.found.first().map_or("", |found| found.key.cluster_name());
        vec![Problem { path: in_profile(key), message: error.to_string() }]
    })?;
    let revision = Revision::read(&cluster, annotations).map_err(|errors| {
        errors
            .iter()
            .map(|error| Problem { path: in_service(&error.name), message: error.to_string() })
            .collect::<Vec<_>>()
    })?;
    let resolved = revision.resolve(container_concurrency, true).ok_or_else(|| {
        let message = format!(
            "class {:?} scales by rules of its own, expected kpa.autoscaling.knative.dev",
            revision.class()
        );
        vec![Problem { path: in_service("autoscaling.knative.dev/class"), message }]
    })?;
    let mut warnings = Vec::new();
    for warning in unknown_keys(profile) {
        warnings.push(Problem { path: in_profile(&warning.key), message: warning.to_string() });
    }
    for warning in unknown_annotations(annotations) {
        warnings.push(Problem { path: in_service(&warning.key), message: warning.to_string() });
    }
    Ok((resolved, warnings))
}
