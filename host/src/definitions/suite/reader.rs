//! Reads a suite's document field by field: each fault is noted with its place, and reading goes on to the next.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{
    Around, Asked, CaseDefinition, CaseKind, ContractDefinition, Inline, KIND, LoadSource,
    Observed, PoliciesSource, SuiteDefinition, Table,
};
use crate::definitions::API_VERSION;
use crate::definitions::fault::DefinitionError;
use crate::definitions::field::{At, Fields, Notes, Unknown, is_ours};
use crate::definitions::model::Catalogue;
use crate::definitions::node::Fleet;
use crate::definitions::policies::{PoliciesDefinition, reference};
use crate::definitions::profile::Profile;
use crate::definitions::service;
use crate::definitions::tree::Value;
use crate::suite::expectation::{Expectation, Subject};

const AROUND: [&str; 10] = [
    "services", "nodes", "models", "faults", "profile", "policies", "settings", "seed", "start",
    "until",
];
const OF_CASE: [&str; 8] =
    ["name", "traces", "load", "observations", "policy", "inputs", "expect", "snapshot"];
const OF_ASKED: [&str; 2] = ["annotations", "containerConcurrency"];

pub(super) struct Reader<'a> {
    pub(super) folder: &'a Path,
    pub(super) file: &'a str,
}

impl Reader<'_> {
    pub(super) fn suite(
        &self,
        root: &At<'_>,
        path: &Path,
        notes: &mut Notes<'_>,
    ) -> Option<SuiteDefinition> {
        let known = ["apiVersion", "kind", "defaults", "contract", "cases"];
        let fields = root.fields(&known, Unknown::Refused, notes)?;
        is_ours(&fields, KIND, notes);
        let defaults = match fields.get("defaults") {
            None => Around::default(),
            Some(at) => match at.fields(&AROUND, Unknown::Refused, notes) {
                Some(fields) => self.around(&fields, Around::default(), notes),
                None => Around::default(),
            },
        };
        let contract = self.contract(&fields, notes);
        let items = fields.need("cases", "a list of cases", notes)?.items(notes);
        if items.is_empty() {
            notes.fault(fields.line(), "cases", "empty", "at least one case");
        }
        let mut cases: Vec<CaseDefinition> = Vec::new();
        for at in items {
            let Some(case) = self.case(&at, &defaults, notes) else { continue };
            if let Some(same) = cases.iter().find(|other| other.slug == case.slug) {
                let expected = format!(
                    "a name that differs from {:?} in letters or digits: both have the snapshot {}.snap",
                    same.name, case.slug
                );
                notes.fault(
                    case.line,
                    &format!("{}.name", at.path),
                    format!("{:?}", case.name),
                    expected,
                );
            }
            cases.push(case);
        }
        Some(SuiteDefinition { file: path.to_owned(), cases, contract })
    }

    fn contract(&self, fields: &Fields<'_>, notes: &mut Notes<'_>) -> ContractDefinition {
        let mut contract = ContractDefinition::default();
        let Some(at) = fields.get("contract") else { return contract };
        if let Value::Flag(flag, _) = at.tree.value {
            contract.is_off = !flag;
            return contract;
        }
        let Some(fields) = at.fields(&["monotone"], Unknown::Refused, notes) else {
            return contract;
        };
        if let Some(at) = fields.get("monotone") {
            for (policy, at) in at.entries(notes) {
                let names = at
                    .items(notes)
                    .iter()
                    .filter_map(|at| at.text(notes))
                    .map(str::to_owned)
                    .collect();
                contract.monotone.insert(policy.to_owned(), names);
            }
        }
        contract
    }

    /// What `fields` say of what is around a case; what they leave out is as in `defaults`.
    fn around(&self, fields: &Fields<'_>, defaults: Around, notes: &mut Notes<'_>) -> Around {
        let mut around = defaults;
        let file = |key: &str, place: &mut Option<PathBuf>, notes: &mut Notes<'_>| {
            if let Some(text) = fields.get(key).and_then(|at| at.text(notes)) {
                *place = Some(self.folder.join(text));
            }
        };
        if let Some(own) = self.own("services", "Services", fields, notes) {
            (around.services, around.own_services) = (None, Some(own));
        } else if fields.get("services").is_some() {
            around.own_services = None;
            file("services", &mut around.services, notes);
        }
        if let Some(own) = self.own("nodes", "Nodes", fields, notes) {
            (around.nodes, around.own_nodes) = (None, Some(own));
        } else if fields.get("nodes").is_some() {
            around.own_nodes = None;
            file("nodes", &mut around.nodes, notes);
        }
        file("models", &mut around.models, notes);
        file("faults", &mut around.faults, notes);
        let text = |key: &str, place: &mut Option<String>, notes: &mut Notes<'_>| {
            if let Some(text) = fields.get(key).and_then(|at| at.scalar(notes)) {
                *place = Some(text.to_owned());
            }
        };
        text("seed", &mut around.seed, notes);
        text("start", &mut around.start, notes);
        text("until", &mut around.until, notes);
        if let Some(own) = self.own("profile", "", fields, notes) {
            (around.profile, around.own_profile) = (None, Some(own));
        } else if let Some(name) = fields.get("profile").and_then(|at| at.scalar(notes)) {
            around.own_profile = None;
            let path = self.folder.join(name);
            let is_file = tidegate_settings::profile(name).is_none() && path.exists();
            around.profile =
                Some(if is_file { path.display().to_string() } else { name.to_owned() });
        }
        if let Some(at) = fields.get("policies") {
            around.policies = self.policies(&at, notes).or(around.policies);
        }
        if let Some(at) = fields.get("settings") {
            for (stage, at) in at.entries(notes) {
                around.settings.insert(stage.to_owned(), at.tree.json());
            }
        }
        around
    }

    /// The document under `key`, where that is a map or a list and not the name of a file; what is wrong with it is noted. A list
    /// is what a document of that kind has under this key, and a map without a kind is one of that kind.
    fn own(
        &self,
        key: &str,
        kind: &str,
        fields: &Fields<'_>,
        notes: &mut Notes<'_>,
    ) -> Option<Inline> {
        let at = fields.get(key)?;
        let mut document = match &at.tree.value {
            Value::List(_) if !kind.is_empty() => serde_json::json!({ key: at.tree.json() }),
            Value::Map(_) => at.tree.json(),
            Value::List(_) | Value::Null | Value::Flag(..) | Value::Number(..) | Value::Text(_) => {
                return None;
            }
        };
        if !kind.is_empty() && document.get("kind").is_none() {
            document["apiVersion"] = API_VERSION.into();
            document["kind"] = kind.into();
        }
        // What is told of it is told of the line where it begins.
        let text = "\n".repeat(at.line.saturating_sub(1) as usize) + &document.to_string();
        let checked = match key {
            "nodes" => Fleet::parse(&text, self.file).map(drop),
            "profile" => Profile::parse(&text, self.file).map(drop),
            // A model that they name may be one of the case's own.
            _ if fields.get("models").is_some() => Ok(()),
            _ => service::parse(&text, self.file, &Catalogue::builtin()).map(drop),
        };
        match checked {
            Ok(()) => {}
            Err(DefinitionError::Faults(faults, _)) => {
                for fault in faults {
                    // A list stands under its key once, not twice.
                    let of_list = fault.field.strip_prefix(key).filter(|_| at.is_list());
                    let field = match of_list {
                        Some(rest) => format!("{}{rest}", at.path),
                        None => format!("{}.{}", at.path, fault.field),
                    };
                    notes.fault(at.line, &field, fault.found, fault.expected);
                }
            }
            Err(error) => at.refuse(notes, error.to_string()),
        }
        Some(Inline { text, file: self.file.to_owned() })
    }

    fn policies(&self, at: &At<'_>, notes: &mut Notes<'_>) -> Option<PoliciesSource> {
        if let Value::Text(text) = &at.tree.value {
            return Some(PoliciesSource::File(self.folder.join(text)));
        }
        let at_first = at.fields(&["scaling", "placement", "limits"], Unknown::Refused, notes)?;
        at_first.need("scaling", "a list of stages", notes)?;
        let mut document = at.tree.json();
        document["apiVersion"] = API_VERSION.into();
        document["kind"] = "Policies".into();
        match PoliciesDefinition::parse(&document.to_string(), self.file, self.folder) {
            Ok(chain) => Some(PoliciesSource::Inline(chain)),
            // Lines are those of the text that was made of it.
            Err(DefinitionError::Faults(faults, _)) => {
                for fault in faults {
                    let field = format!("{}.{}", at.path, fault.field);
                    notes.fault(at.line, &field, fault.found, fault.expected);
                }
                None
            }
            Err(error) => {
                notes.fault(at.line, &at.path, error.to_string(), "what a policies file may say");
                None
            }
        }
    }

    fn case(
        &self,
        at: &At<'_>,
        defaults: &Around,
        notes: &mut Notes<'_>,
    ) -> Option<CaseDefinition> {
        let mut known: Vec<&str> = OF_CASE.iter().chain(&AROUND).copied().collect();
        known.extend(OF_ASKED);
        let fields = at.fields(&known, Unknown::Refused, notes)?;
        let name_at = fields.need("name", "a name", notes)?;
        let name = name_at.scalar(notes)?.to_owned();
        let slug = slug(&name);
        if slug.is_empty() {
            name_at.refuse(notes, "a name with a letter or a digit in it");
        }
        let around = self.around(&fields, defaults.clone(), notes);
        let given: Vec<&str> = ["traces", "load", "observations", "inputs"]
            .into_iter()
            .filter(|key| fields.get(key).is_some())
            .collect();
        let kind = match given.as_slice() {
            [one] => self.kind(one, &fields, notes),
            [] => {
                let expected = "traces or load (a replay), observations or inputs (decisions)";
                notes.fault(
                    at.line,
                    &format!("{} ({name})", at.path),
                    "without load or inputs",
                    expected,
                );
                None
            }
            [.., last] => {
                let found = format!("beside {}", given[..given.len() - 1].join(" and "));
                notes.fault(
                    at.line_of(last),
                    &fields.path(last),
                    found,
                    "one of traces, load, observations and inputs",
                );
                None
            }
        };
        if !given.contains(&"inputs") {
            for key in ["policy", "annotations", "containerConcurrency"] {
                if let Some(at) = fields.get(key) {
                    notes.fault(
                        at.line,
                        &at.path,
                        "set",
                        "nothing: it goes with inputs only; policies names a chain",
                    );
                }
            }
        }
        let subject = match kind {
            Some(CaseKind::Observed(_) | CaseKind::Asked(_)) => Subject::Decisions,
            Some(CaseKind::Replay(_)) | None => Subject::Replay,
        };
        let expect =
            fields.get("expect").map(|at| expectations(&at, subject, notes)).unwrap_or_default();
        let has_snapshot = fields.or("snapshot", true, notes, At::flag);
        if !has_snapshot && expect.is_empty() && subject == Subject::Replay {
            notes.fault(
                at.line_of("snapshot"),
                &fields.path("snapshot"),
                "false",
                "an expectation then: this case cannot fail",
            );
        }
        Some(CaseDefinition {
            name,
            slug,
            line: at.line,
            around,
            kind: kind?,
            expect,
            has_snapshot,
        })
    }

    fn kind(&self, key: &str, fields: &Fields<'_>, notes: &mut Notes<'_>) -> Option<CaseKind> {
        let at = fields.get(key)?;
        match key {
            "traces" => {
                let traces: Vec<PathBuf> = if at.is_list() {
                    at.items(notes)
                        .iter()
                        .filter_map(|at| at.text(notes))
                        .map(|text| self.folder.join(text))
                        .collect()
                } else {
                    vec![self.folder.join(at.text(notes)?)]
                };
                if traces.is_empty() {
                    at.refuse(notes, "at least one trace");
                }
                Some(CaseKind::Replay(LoadSource::Traces(traces)))
            }
            "load" => match serde_json::from_value(at.tree.json()) {
                Ok(synth) => Some(CaseKind::Replay(LoadSource::Shapes(Box::new(synth)))),
                Err(error) => {
                    at.refuse(notes, format!("a load as docs/traces.md has it; {error}"));
                    None
                }
            },
            "observations" => {
                Some(CaseKind::Observed(Observed { observations: self.table(&at, notes)? }))
            }
            _ => {
                let expected = "a policy, as builtin:knative or a component file";
                let policy = fields.need("policy", expected, notes)?.text(notes)?;
                let mut annotations = BTreeMap::new();
                if let Some(at) = fields.get("annotations") {
                    for (key, at) in at.entries(notes) {
                        annotations.insert(key.to_owned(), at.scalar(notes)?.to_owned());
                    }
                }
                let settings = fields.get("settings");
                Some(CaseKind::Asked(Asked {
                    policy: reference(policy, self.folder),
                    settings: settings.map_or_else(|| serde_json::json!({}), |at| at.tree.json()),
                    annotations,
                    container_concurrency: fields.or(
                        "containerConcurrency",
                        0,
                        notes,
                        |at, notes| at.count(0, notes),
                    ),
                    inputs: self.table(&at, notes)?,
                }))
            }
        }
    }

    /// A table: a text of several lines is one, a text of one line names a file.
    fn table(&self, at: &At<'_>, notes: &mut Notes<'_>) -> Option<Table> {
        let text = at.text(notes)?;
        if text.trim().contains('\n') {
            return Some(Table::Inline { text: text.to_owned(), line: at.line + 1 });
        }
        Some(Table::File(self.folder.join(text.trim())))
    }
}

fn expectations(at: &At<'_>, subject: Subject, notes: &mut Notes<'_>) -> Vec<Expectation> {
    let one = [at.clone()];
    let items = if at.is_list() { at.items(notes) } else { one.into() };
    let mut expectations = Vec::new();
    for at in items {
        let Some(text) = at.text(notes) else { continue };
        match Expectation::parse(text, subject) {
            Ok(expectation) => expectations.push(expectation),
            Err(error) => {
                let found = format!("`{}`", text.trim());
                notes.fault(at.line, &at.path, found, format!("a condition; {error}"));
            }
        }
    }
    expectations
}

/// A name as part of a file name: what is neither letter nor digit is a hyphen, and no two are neighbours.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.chars().flat_map(char::to_lowercase) {
        if letter.is_alphanumeric() {
            slug.push(letter);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        // File systems end at 255 bytes, and there is more to a file's name than this.
        if slug.len() > 120 {
            break;
        }
    }
    slug.trim_end_matches('-').to_owned()
}
