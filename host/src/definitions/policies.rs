//! The policies file: which policies decide, in which order, with which settings of their own, and what happens when one fails.
//! It names components and does not load them.

use std::path::{Path, PathBuf};

use super::fault::{DefinitionError, read_text};
use super::field::{At, Fields, Notes, Unknown, is_ours};
use super::tree;
use crate::engine::{OnFailure, PLACEMENT};
use crate::policy::{ChainLimits, Limits};

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
    pub limits: ChainLimits,
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
            limits: ChainLimits::default(),
        }
    }

    /// Reads a policies file. Component files in it are relative to it.
    ///
    /// # Errors
    ///
    /// When it cannot be read, has unknown or missing keys, or names what there is not; all faults are told.
    pub fn read(path: &Path) -> Result<PoliciesDefinition, DefinitionError> {
        let (text, file) = read_text(path)?;
        Self::parse(&text, &file, path.parent().unwrap_or(Path::new("")))
    }

    /// The same from a text; `file` is what messages call it, and component files are relative to `folder`.
    ///
    /// # Errors
    ///
    /// When it has unknown or missing keys, or names what there is not; all faults are told.
    pub fn parse(
        text: &str,
        file: &str,
        folder: &Path,
    ) -> Result<PoliciesDefinition, DefinitionError> {
        let (documents, mut notes) = tree::parse(text, file)?;
        let mut definition = PoliciesDefinition { scaling: Vec::new(), ..Self::builtin() };
        match documents.as_slice() {
            [document] => definition.take(&At::root(document), folder, &mut notes),
            [] => notes.fault(1, "the file", "empty", "a document of kind Policies"),
            [_, second, ..] => {
                let expected = "one of kind Policies";
                notes.fault(second.line, "the file", "more than one document", expected);
            }
        }
        notes.or(definition).map(|(definition, _)| definition)
    }

    fn take(&mut self, root: &At<'_>, folder: &Path, notes: &mut Notes<'_>) {
        let known = ["apiVersion", "kind", "scaling", "placement", "limits"];
        let Some(fields) = root.fields(&known, Unknown::Refused, notes) else { return };
        if !is_ours(&fields, "Policies", notes) {
            return;
        }
        if let Some(at) = fields.get("limits") {
            self.limits.all = limits(&at, &Limits::default(), notes);
        }
        if let Some(at) = fields.need("scaling", "a list of stages", notes) {
            let stages = at.items(notes);
            if stages.is_empty() && at.is_list() {
                at.refuse(notes, "at least one stage");
            }
            for (position, at) in stages.iter().enumerate() {
                self.take_stage(at, position == 0, folder, notes);
            }
        }
        if let Some(at) = fields.get("placement")
            && let Some(fields) =
                at.fields(&["policy", "settings", "limits"], Unknown::Refused, notes)
        {
            if let Some(at) = fields.need("policy", A_POLICY, notes)
                && let Some(text) = at.text(notes)
            {
                self.placement = reference(text, folder);
            }
            self.placement_settings = settings(&fields);
            self.take_limits(&fields, PLACEMENT, notes);
        }
    }

    fn take_stage(&mut self, at: &At<'_>, is_first: bool, folder: &Path, notes: &mut Notes<'_>) {
        let known = ["policy", "name", "settings", "onFailure", "fallback", "limits"];
        let Some(fields) = at.fields(&known, Unknown::Refused, notes) else { return };
        let fallback = fields.get("fallback");
        let usual = match (&fallback, is_first) {
            (Some(_), _) => OnFailure::Fallback,
            (None, true) => OnFailure::Hold,
            (None, false) => OnFailure::Skip,
        };
        let on_failure = fields.or("onFailure", usual, notes, read_on_failure);
        let fallback = match (on_failure, fallback) {
            (OnFailure::Fallback, None) => {
                fields.need("fallback", A_BUILTIN, notes);
                None
            }
            (OnFailure::Fallback, Some(at)) => {
                match at.text(notes).map(|text| (text, reference(text, folder))) {
                    Some((_, PolicyRef::Builtin(name))) => Some(name),
                    Some((_, PolicyRef::File(_))) => {
                        at.refuse(notes, A_BUILTIN);
                        None
                    }
                    None => None,
                }
            }
            (OnFailure::Hold | OnFailure::Skip | OnFailure::Closed, Some(at)) => {
                at.refuse(notes, "nothing, unless onFailure is fallback");
                None
            }
            (OnFailure::Hold | OnFailure::Skip | OnFailure::Closed, None) => None,
        };
        let Some(text) = fields.need("policy", A_POLICY, notes).and_then(|at| at.text(notes))
        else {
            return;
        };
        let policy = reference(text, folder);
        let named = fields.get("name");
        let name = named
            .as_ref()
            .and_then(|at| at.text(notes))
            .map_or_else(|| policy.name(), str::to_owned);
        if self.scaling.iter().any(|stage| stage.name == name) {
            let line = named.map_or(at.line, |at| at.line);
            let found = format!("{name:?}");
            notes.fault(line, &fields.path("name"), found, "a name that no earlier stage has");
        }
        self.take_limits(&fields, &name, notes);
        let settings = settings(&fields);
        self.scaling.push(StageDefinition { name, policy, settings, on_failure, fallback });
    }
}

impl PoliciesDefinition {
    /// A stage's own limits: those of the file but for what it says otherwise.
    fn take_limits(&mut self, fields: &Fields<'_>, stage: &str, notes: &mut Notes<'_>) {
        if let Some(at) = fields.get("limits") {
            let own = limits(&at, &self.limits.all, notes);
            self.limits.own.insert(stage.to_owned(), own);
        }
    }
}

const A_POLICY: &str = "a policy: builtin:NAME, or a component file";
const A_BUILTIN: &str = "a built-in policy, as builtin:knative";

fn settings(fields: &Fields<'_>) -> serde_json::Value {
    fields.get("settings").map_or_else(|| serde_json::json!({}), |at| at.tree.json())
}

fn read_on_failure(at: &At<'_>, notes: &mut Notes<'_>) -> Option<OnFailure> {
    let all = [OnFailure::Hold, OnFailure::Skip, OnFailure::Fallback, OnFailure::Closed];
    let word = at.text(notes)?;
    let found = all.into_iter().find(|one| one.name() == word);
    if found.is_none() {
        at.refuse(notes, "hold, skip, fallback or closed");
    }
    found
}

/// The usual limits with those that are written.
fn limits(at: &At<'_>, usual: &Limits, notes: &mut Notes<'_>) -> Limits {
    let all = serde_json::to_value(usual).expect("every key is text");
    let Some(all) = all.as_object() else { return usual.clone() };
    let known: Vec<&str> = all.keys().map(String::as_str).collect();
    let Some(fields) = at.fields(&known, Unknown::Refused, notes) else { return usual.clone() };
    let mut written = all.clone();
    for key in known {
        let Some(at) = fields.get(key) else { continue };
        let number = at.tree.json();
        let alone =
            serde_json::Value::Object([(key.to_owned(), number.clone())].into_iter().collect());
        if serde_json::from_value::<Limits>(alone).is_ok() {
            written.insert(key.to_owned(), number);
        } else {
            at.refuse(notes, "a whole number");
        }
    }
    serde_json::from_value(serde_json::Value::Object(written))
        .expect("each of them was read on its own")
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

    fn parse(body: &str) -> Result<PoliciesDefinition, DefinitionError> {
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
        let all = Limits { package_bytes: 1_000, ..Limits::default() };
        assert_eq!(read.limits, all.into());
        let unknown = parse("scaling:\n- policy: builtin:knative\nlimits: {packagebytes: 1}\n")
            .expect_err("no such limit")
            .to_string();
        assert!(unknown.contains("packagebytes") && unknown.contains("packageBytes"), "{unknown}");
    }

    #[test]
    fn a_stages_own_limits_are_those_of_the_file_but_for_what_it_says() {
        let read = parse(
            "scaling:\n- policy: builtin:knative\n- policy: a.wasm\n  limits: {fuel: 7, memories: 3}\nplacement: {policy: p.wasm, limits: {fuelPerPair: 9}}\nlimits: {fuel: 5, packageBytes: 1000}\n",
        )
        .expect("it is in order");
        let all = Limits { fuel: 5, package_bytes: 1_000, ..Limits::default() };
        assert_eq!(read.limits.of("knative"), &all);
        assert_eq!(read.limits.of("a"), &Limits { fuel: 7, memories: 3, ..all.clone() });
        assert_eq!(read.limits.of(PLACEMENT), &Limits { fuel_per_pair: 9, ..all });
        let unknown = parse("scaling:\n- policy: a.wasm\n  limits: {fule: 1, memories: many}\n")
            .expect_err("no such limit")
            .to_string();
        insta::assert_snapshot!(unknown, @r#"
        policies.yaml:5: scaling[0].limits.fule is no known key, expected fuel
        policies.yaml:5: scaling[0].limits.memories is "many", expected a whole number
        "#);
    }

    #[test]
    fn faults_name_the_field_what_was_found_and_what_was_expected() {
        let told = |body: &str| parse(body).expect_err("it is out of order").to_string();
        insta::assert_snapshot!(told("scaling: []\n"), @"policies.yaml:3: scaling is an empty list, expected at least one stage");
        insta::assert_snapshot!(told("scaling:\n- policy: builtin:knative\n- policy: builtin:knative\n- policy: a.wasm\n  onFailure: fallback\n- policy: b.wasm\n  fallback: b.wasm\n- policy: c.wasm\n  onfailure: hold\n- name: d\n- policy: e.wasm\n  onFailure: stop\n- policy: f.wasm\n  onFailure: hold\n  fallback: builtin:knative\nplacment: {}\nplacement: {setings: {}}\nlimits: {fuel: lots, packagebytes: 1}\n"), @r#"
        policies.yaml:5: scaling[1].name is "knative", expected a name that no earlier stage has
        policies.yaml:6: scaling[2].fallback is missing, expected a built-in policy, as builtin:knative
        policies.yaml:9: scaling[3].fallback is "b.wasm", expected a built-in policy, as builtin:knative
        policies.yaml:11: scaling[4].onfailure is no known key, expected onFailure
        policies.yaml:12: scaling[5].policy is missing, expected a policy: builtin:NAME, or a component file
        policies.yaml:14: scaling[6].onFailure is "stop", expected hold, skip, fallback or closed
        policies.yaml:17: scaling[7].fallback is "builtin:knative", expected nothing, unless onFailure is fallback
        policies.yaml:18: placment is no known key, expected placement
        policies.yaml:19: placement.setings is no known key, expected settings
        policies.yaml:19: placement.policy is missing, expected a policy: builtin:NAME, or a component file
        policies.yaml:20: limits.packagebytes is no known key, expected packageBytes
        policies.yaml:20: limits.fuel is "lots", expected a whole number
        "#);
        insta::assert_snapshot!(told("limits: {}\n"), @"policies.yaml:1: scaling is missing, expected a list of stages");
    }
}
