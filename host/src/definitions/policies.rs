//! The policies file: which policies decide, in which order, with which settings of their own, and what happens when one fails.
//! It names components and does not load them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::engine::OnFailure;
use crate::policy::Limits;

/// A component by name or by file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyRef {
    /// One that is part of this program: `builtin:NAME`.
    Builtin(String),
    /// A component file, as the person wrote it, relative to the policies file.
    File(PathBuf),
}

/// One scaling stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StageDefinition {
    /// Its name in reports: the policy's, unless the file says another.
    pub name: String,
    /// Which component.
    pub policy: PolicyRef,
    /// Its settings, the `settings` part of the settings document.
    pub settings: serde_json::Value,
    /// What the host does where it fails.
    pub on_failure: OnFailure,
    /// The built-in policy that decides where it fails, with [`OnFailure::Fallback`].
    pub fallback: Option<String>,
}

/// A whole policies file.
#[derive(Clone, Debug, PartialEq)]
pub struct PoliciesDefinition {
    /// The scaling stages, in order. At least one.
    pub scaling: Vec<StageDefinition>,
    /// The placement policy.
    pub placement: PolicyRef,
    /// Its settings.
    pub placement_settings: serde_json::Value,
    /// What each policy may take.
    pub limits: Limits,
}

/// A policies file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoliciesError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what a policies file must be. The message has line and column.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// What is wrong and where.
        message: String,
    },
    /// A value is not one of those allowed.
    #[error("{path}: {field} is {found}, expected {expected}")]
    Value {
        /// The file.
        path: String,
        /// The field.
        field: String,
        /// What it says.
        found: String,
        /// What it may say.
        expected: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PoliciesFile {
    api_version: String,
    kind: String,
    scaling: Vec<StageEntry>,
    #[serde(default)]
    placement: Option<PlacementEntry>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StageEntry {
    policy: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    settings: Option<serde_json::Value>,
    #[serde(default)]
    on_failure: Option<OnFailure>,
    #[serde(default)]
    fallback: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PlacementEntry {
    policy: String,
    #[serde(default)]
    settings: Option<serde_json::Value>,
}

impl PoliciesDefinition {
    /// The default chain: `knative`, then `scale-to-zero`, placed by `affinity`.
    pub fn builtin() -> PoliciesDefinition {
        let stage = |name: &str, on_failure| StageDefinition {
            name: name.to_owned(),
            policy: PolicyRef::Builtin(name.to_owned()),
            settings: serde_json::json!({}),
            on_failure,
            fallback: None,
        };
        PoliciesDefinition {
            scaling: vec![
                stage("knative", OnFailure::Hold),
                stage("scale-to-zero", OnFailure::Skip),
            ],
            placement: PolicyRef::Builtin("affinity".to_owned()),
            placement_settings: serde_json::json!({}),
            limits: Limits::default(),
        }
    }

    /// Reads a policies file. Component files in it are relative to it.
    ///
    /// # Errors
    ///
    /// When it cannot be read, has unknown or missing keys, or names what there is not.
    pub fn read(path: &Path) -> Result<PoliciesDefinition, PoliciesError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| PoliciesError::Read { path: shown.clone(), source })?;
        Self::parse(&text, &shown, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads the text of a policies file that is called `path`. Component files in it are relative to `folder`.
    ///
    /// # Errors
    ///
    /// As [`PoliciesDefinition::read`].
    pub(super) fn parse(
        text: &str,
        path: &str,
        folder: &Path,
    ) -> Result<PoliciesDefinition, PoliciesError> {
        let file: PoliciesFile = serde_saphyr::from_str(text).map_err(|error| {
            PoliciesError::Syntax { path: path.to_owned(), message: error.to_string() }
        })?;
        let value = |field: &str, found: &str, expected: &str| PoliciesError::Value {
            path: path.to_owned(),
            field: field.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        };
        if file.api_version != "tidegate.dev/v1alpha1" {
            return Err(value("apiVersion", &file.api_version, "tidegate.dev/v1alpha1"));
        }
        if file.kind != "Policies" {
            return Err(value("kind", &file.kind, "Policies"));
        }
        if file.scaling.is_empty() {
            return Err(value("scaling", "empty", "at least one stage"));
        }
        let mut scaling: Vec<StageDefinition> = Vec::new();
        for (position, entry) in file.scaling.into_iter().enumerate() {
            let field = |name: &str| format!("scaling[{position}].{name}");
            let policy = reference(&entry.policy, folder);
            let name = entry.name.unwrap_or_else(|| policy.name());
            if scaling.iter().any(|stage| stage.name == name) {
                return Err(value(&field("name"), &name, "a name that no earlier stage has"));
            }
            let usual = if position == 0 { OnFailure::Hold } else { OnFailure::Skip };
            let on_failure = entry.on_failure.unwrap_or(if entry.fallback.is_some() {
                OnFailure::Fallback
            } else {
                usual
            });
            let fallback = match (on_failure, entry.fallback) {
                (OnFailure::Fallback, Some(fallback)) => match reference(&fallback, folder) {
                    PolicyRef::Builtin(name) => Some(name),
                    PolicyRef::File(_) => {
                        return Err(value(
                            &field("fallback"),
                            &fallback,
                            "a built-in policy, as builtin:knative",
                        ));
                    }
                },
                (OnFailure::Fallback, None) => {
                    return Err(value(
                        &field("fallback"),
                        "missing",
                        "a built-in policy, as builtin:knative",
                    ));
                }
                (_, Some(fallback)) => {
                    return Err(value(
                        &field("fallback"),
                        &fallback,
                        "nothing, unless onFailure is fallback",
                    ));
                }
                (_, None) => None,
            };
            let settings = entry.settings.unwrap_or_else(|| serde_json::json!({}));
            scaling.push(StageDefinition { name, policy, settings, on_failure, fallback });
        }
        let placement = file
            .placement
            .unwrap_or(PlacementEntry { policy: "builtin:affinity".to_owned(), settings: None });
        Ok(PoliciesDefinition {
            scaling,
            placement: reference(&placement.policy, folder),
            placement_settings: placement.settings.unwrap_or_else(|| serde_json::json!({})),
            limits: file.limits,
        })
    }
}

impl PolicyRef {
    /// The name to call it by: the built-in's, or the file's without folder and ending.
    pub fn name(&self) -> String {
        match self {
            PolicyRef::Builtin(name) => name.clone(),
            PolicyRef::File(path) => path.file_stem().map_or_else(
                || path.display().to_string(),
                |stem| stem.to_string_lossy().into_owned(),
            ),
        }
    }
}

pub(in crate::definitions) fn reference(text: &str, folder: &Path) -> PolicyRef {
    match text.strip_prefix("builtin:") {
        Some(name) => PolicyRef::Builtin(name.to_owned()),
        None => PolicyRef::File(folder.join(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<PoliciesDefinition, PoliciesError> {
        let text = format!("apiVersion: tidegate.dev/v1alpha1\nkind: Policies\n{body}");
        PoliciesDefinition::parse(&text, "policies.yaml", Path::new("here"))
    }

    #[test]
    fn stages_hold_and_skip_unless_they_say_otherwise_and_files_are_relative() {
        let read = parse(
            "scaling:\n- policy: builtin:knative\n- policy: wasm/office_hours.wasm\n  settings: {minimum: 2}\n- policy: builtin:scale-to-zero\n  fallback: builtin:scale-to-zero\n",
        )
        .expect("it is in order");
        let modes: Vec<_> =
            read.scaling.iter().map(|stage| (stage.name.as_str(), stage.on_failure)).collect();
        assert_eq!(
            modes,
            [
                ("knative", OnFailure::Hold),
                ("office_hours", OnFailure::Skip),
                ("scale-to-zero", OnFailure::Fallback)
            ]
        );
        assert_eq!(read.scaling[1].policy, PolicyRef::File("here/wasm/office_hours.wasm".into()));
        assert_eq!(read.scaling[1].settings, serde_json::json!({"minimum": 2}));
        assert_eq!(read.placement, PolicyRef::Builtin("affinity".into()));
    }

    #[test]
    fn limits_that_are_not_written_are_the_usual_ones() {
        let read = parse("scaling:\n- policy: builtin:knative\nlimits: {packageBytes: 1000}\n")
            .expect("it is in order");
        assert_eq!(read.limits, Limits { package_bytes: 1_000, ..Limits::default() });
        let unknown = parse("scaling:\n- policy: builtin:knative\nlimits: {packagebytes: 1}\n")
            .expect_err("no such limit")
            .to_string();
        assert!(unknown.contains("packagebytes") && unknown.contains("packageBytes"), "{unknown}");
    }

    #[test]
    fn faults_name_the_field_what_was_found_and_what_was_expected() {
        let told = |body: &str| parse(body).expect_err("it is out of order").to_string();
        for (body, expected) in [
            ("scaling: []\n", "policies.yaml: scaling is empty, expected at least one stage"),
            (
                "scaling:\n- policy: builtin:knative\n- policy: builtin:knative\n",
                "policies.yaml: scaling[1].name is knative, expected a name that no earlier stage has",
            ),
            (
                "scaling:\n- policy: a.wasm\n  onFailure: fallback\n",
                "policies.yaml: scaling[0].fallback is missing, expected a built-in policy, as builtin:knative",
            ),
            (
                "scaling:\n- policy: a.wasm\n  fallback: b.wasm\n",
                "policies.yaml: scaling[0].fallback is b.wasm, expected a built-in policy, as builtin:knative",
            ),
        ] {
            assert_eq!(told(body), expected);
        }
        let unknown = told("scaling:\n- policy: a.wasm\n  onfailure: hold\n");
        assert!(unknown.contains("onfailure") && unknown.contains("onFailure"), "{unknown}");
    }
}
