//! The suite file: cases that a policy must pass. It says what a case is made of and reads none of the files that cases name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fault::{DefinitionError, Warning, read_text};
use super::field::{At, Fields, Notes, Unknown, is_ours};
use super::policies::{PoliciesDefinition, PolicyRef, reference};
use super::tree::{self, Value};
use crate::suite::expectation::{Expectation, Subject};
use crate::trace::synth::Synth;

/// What `kind` says.
pub(super) const KIND: &str = "Suite";

/// A whole suite.
#[derive(Clone, Debug)]
pub struct SuiteDefinition {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The cases, in order. At least one.
    pub cases: Vec<CaseDefinition>,
    /// What every policy that the cases name must keep to.
    pub contract: ContractDefinition,
}

/// A case.
#[derive(Clone, Debug)]
pub struct CaseDefinition {
    /// Its name, unique in its suite.
    pub name: String,
    /// The name as part of a file name: letters, digits and single hyphens. Unique in its suite.
    pub slug: String,
    /// Where it begins in the file.
    pub line: u64,
    /// What is around it.
    pub around: Around,
    /// What happens in it.
    pub kind: CaseKind,
    /// What must hold in the end.
    pub expect: Vec<Expectation>,
    /// Whether what it comes to is held to a snapshot.
    pub has_snapshot: bool,
}

/// What happens in a case.
#[derive(Clone, Debug)]
pub enum CaseKind {
    /// Load runs through the policies in the simulator.
    Replay(LoadSource),
    /// Recorded observations are decided by the chain, without a simulator.
    Observed(Observed),
    /// One policy is asked with inputs as they stand.
    Asked(Asked),
}

/// Where load comes from.
#[derive(Clone, Debug)]
pub enum LoadSource {
    /// Trace files.
    Traces(Vec<PathBuf>),
    /// Shapes of rates.
    Shapes(Box<Synth>),
}

/// A table of what was seen, or where one is.
#[derive(Clone, Debug, PartialEq)]
pub enum Table {
    /// In the suite itself; `line` is that of its first row.
    Inline {
        /// Rows of columns, the first of them names.
        text: String,
        /// Where it begins in the suite.
        line: u64,
    },
    /// In a file of its own.
    File(PathBuf),
}

/// Recorded observations.
#[derive(Clone, Debug)]
pub struct Observed {
    /// A row a second and service; or, in a file that ends in `.jsonl`, a journal.
    pub observations: Table,
}

/// One policy and what it is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which.
    pub policy: PolicyRef,
    /// Its own settings.
    pub settings: serde_json::Value,
    /// The service's annotations.
    pub annotations: BTreeMap<String, String>,
    /// Requests that a replica takes at once; 0 is no limit.
    pub container_concurrency: u32,
    /// A row a decision.
    pub inputs: Table,
}

/// What is around a case. Files are relative to where the program runs.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Services.
    pub services: Option<PathBuf>,
    /// Nodes.
    pub nodes: Option<PathBuf>,
    /// Models beside the catalogue.
    pub models: Option<PathBuf>,
    /// Failures to play.
    pub faults: Option<PathBuf>,
    /// A profile's name or file.
    pub profile: Option<String>,
    /// The chain.
    pub policies: Option<PoliciesSource>,
    /// Settings of stages by name, instead of those of the chain.
    pub settings: BTreeMap<String, serde_json::Value>,
    /// The word that all randomness comes from.
    pub seed: Option<String>,
    /// When it begins, as the command line has it.
    pub start: Option<String>,
    /// When it stops, as the command line has it.
    pub until: Option<String>,
}

/// Where a chain is.
#[derive(Clone, Debug)]
pub enum PoliciesSource {
    /// In a policies file.
    File(PathBuf),
    /// In the suite itself.
    Inline(PoliciesDefinition),
}

/// What policies must keep to, beside what every policy must.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContractDefinition {
    /// Names of inputs by policy: more of them never makes for fewer replicas.
    pub monotone: BTreeMap<String, Vec<String>>,
    /// Whether policies are checked at all.
    pub is_off: bool,
}

const AROUND: [&str; 10] = [
    "services", "nodes", "models", "faults", "profile", "policies", "settings", "seed", "start",
    "until",
];
const OF_CASE: [&str; 8] =
    ["name", "traces", "load", "observations", "policy", "inputs", "expect", "snapshot"];
const OF_ASKED: [&str; 2] = ["annotations", "containerConcurrency"];

impl SuiteDefinition {
    /// Reads a suite file. Files in it are relative to it.
    ///
    /// # Errors
    ///
    /// When it cannot be read or anything in it is wrong; all faults are told.
    pub fn read(path: &Path) -> Result<(SuiteDefinition, Vec<Warning>), DefinitionError> {
        let (text, file) = read_text(path)?;
        SuiteDefinition::parse(&text, &file, path)
    }

    fn parse(
        text: &str,
        file: &str,
        path: &Path,
    ) -> Result<(SuiteDefinition, Vec<Warning>), DefinitionError> {
        let documents = tree::parse(text, file)?;
        let mut notes = Notes::new(file);
        let reader = Reader { folder: path.parent().unwrap_or(Path::new("")), file };
        let suite = match documents.as_slice() {
            [document] => reader.suite(&At::root(document), path, &mut notes),
            [] => {
                notes.fault(1, "the file", "empty", "a suite");
                None
            }
            [_, second, ..] => {
                notes.fault(second.line, "the file", "several documents", "one suite");
                None
            }
        };
        let none = || SuiteDefinition {
            file: path.to_owned(),
            cases: Vec::new(),
            contract: ContractDefinition::default(),
        };
        notes.or(suite.unwrap_or_else(none))
    }

    /// Every file that its cases name, and itself.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.file.clone()];
        let table = |table: &Table, files: &mut Vec<PathBuf>| {
            if let Table::File(path) = table {
                files.push(path.clone());
            }
        };
        for case in &self.cases {
            let around = &case.around;
            let named = [&around.services, &around.nodes, &around.models, &around.faults];
            files.extend(named.into_iter().flatten().cloned());
            files.extend(around.profile.iter().map(PathBuf::from).filter(|path| path.exists()));
            match &case.kind {
                CaseKind::Replay(LoadSource::Traces(traces)) => {
                    files.extend(traces.iter().cloned())
                }
                CaseKind::Replay(LoadSource::Shapes(_)) => {}
                CaseKind::Observed(observed) => table(&observed.observations, &mut files),
                CaseKind::Asked(asked) => {
                    table(&asked.inputs, &mut files);
                    files.extend(file_of(&asked.policy));
                }
            }
            match &around.policies {
                Some(PoliciesSource::File(path)) => {
                    files.push(path.clone());
                    if let Ok(chain) = PoliciesDefinition::read(path) {
                        files.extend(files_of(&chain));
                    }
                }
                Some(PoliciesSource::Inline(chain)) => files.extend(files_of(chain)),
                None => {}
            }
        }
        files.sort();
        files.dedup();
        files
    }
}

fn file_of(policy: &PolicyRef) -> Option<PathBuf> {
    match policy {
        PolicyRef::Builtin(_) => None,
        PolicyRef::File(path) => Some(path.clone()),
    }
}

fn files_of(chain: &PoliciesDefinition) -> Vec<PathBuf> {
    let stages = chain.scaling.iter().map(|stage| &stage.policy);
    stages.chain([&chain.placement]).filter_map(file_of).collect()
}

struct Reader<'a> {
    folder: &'a Path,
    file: &'a str,
}

impl Reader<'_> {
    fn suite(&self, root: &At<'_>, path: &Path, notes: &mut Notes<'_>) -> Option<SuiteDefinition> {
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
        file("services", &mut around.services, notes);
        file("nodes", &mut around.nodes, notes);
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
        if let Some(name) = fields.get("profile").and_then(|at| at.scalar(notes)) {
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

    fn policies(&self, at: &At<'_>, notes: &mut Notes<'_>) -> Option<PoliciesSource> {
        if let Value::Text(text) = &at.tree.value {
            return Some(PoliciesSource::File(self.folder.join(text)));
        }
        let at_first = at.fields(&["scaling", "placement", "limits"], Unknown::Refused, notes)?;
        at_first.need("scaling", "a list of stages", notes)?;
        let mut document = at.tree.json();
        document["apiVersion"] = super::API_VERSION.into();
        document["kind"] = "Policies".into();
        match PoliciesDefinition::parse(&document.to_string(), self.file, self.folder) {
            Ok(chain) => Some(PoliciesSource::Inline(chain)),
            Err(error) => {
                let told = error.to_string();
                let told = told.lines().next().unwrap_or_default();
                let told = told.strip_prefix(self.file).unwrap_or(told).trim_start_matches(": ");
                // Line and column are those of the text that was made of it.
                let told = match told.split_once(": ") {
                    Some((place, rest)) if place.contains("column") => rest,
                    Some(("error", rest)) => rest.split_once(": ").map_or(rest, |(_, rest)| rest),
                    Some(_) | None => told,
                };
                let (found, expected) = told
                    .split_once(", expected ")
                    .unwrap_or((told, "what a policies file may say"));
                notes.fault(at.line, &at.path, format!("not in order ({found})"), expected);
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
