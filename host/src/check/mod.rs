//! What is wrong with files, told before anything runs: every fault with its place, all at once. What kind a file is, is seen from
//! what is in it. The readers of `definitions`, `trace` and `policy` say what is wrong; this puts it together, and looks at how the
//! files that are given together go with each other.

mod chain;
mod kind;
mod place;
mod render;
mod sarif;
mod together;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::definitions::model::Catalogue;
use crate::definitions::node::Fleet;
use crate::definitions::policies::PoliciesDefinition;
use crate::definitions::profile::Profile;
use crate::definitions::suite::SuiteDefinition;
use crate::definitions::{DefinitionError, Fault, Warning, failures, service};
use crate::policy::{CallErrorKind, Limits, Sandbox, SandboxError};
use crate::trace::{Trace, TraceError};

pub use kind::{Kind, of as kind_of};
pub use place::{fault_told, faults_in_settings};
pub use sarif::sarif;

/// Faults of one trace that are told; a trace is long, and its rows are usually wrong in one way.
const TRACE_FAULTS: usize = 20;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used as it is.
    Error,
    /// It can, and its author should know something.
    Warning,
}

/// Something that a check came upon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// Where in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Where in the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// Which field: keys joined with dots, positions in brackets. Empty where it is about the whole file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What it is, in a sentence that stands alone.
    pub message: String,
    /// The known name that an unknown one resembles most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A file that was checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// As it was named.
    pub file: String,
    /// What it is.
    pub kind: Kind,
    /// What is in it, in a few words; empty where it could not be read to the end.
    pub about: String,
    /// What else there is to know of it, a line each.
    pub details: Vec<String>,
    /// In order of lines.
    pub findings: Vec<Finding>,
    /// Whether a policy trapped or overran its limits, so that it could not say what is wrong.
    #[serde(skip)]
    pub has_trapped: bool,
}

/// A file that could not be checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unchecked {
    /// As it was named.
    pub file: String,
    /// Why not.
    pub message: String,
}

/// All that was checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// In the order in which they were given.
    pub files: Vec<Checked>,
    /// Those of which nothing can be said.
    pub unchecked: Vec<Unchecked>,
}

/// A file with its content.
#[derive(Clone, Debug)]
pub struct Source {
    /// As it was named; what messages call it.
    pub name: String,
    /// Where it is; `None` for standard input.
    pub path: Option<std::path::PathBuf>,
    /// All of it, or the beginning.
    pub bytes: Vec<u8>,
    /// Whether that is all of it. Of a trace the beginning will do, as it is read from its file.
    pub is_whole: bool,
}

/// What files are checked against.
pub struct Context<'a> {
    /// The cluster's settings where no file has them.
    pub profile: Profile,
    /// Makes the sandbox that policies run in.
    pub sandbox: &'a dyn Fn(Limits) -> Result<Sandbox, SandboxError>,
}

/// What was read of all files, for looking at them together.
#[derive(Default)]
struct Known {
    profile: Option<(String, Profile)>,
    /// A profile among the files is out of order: nothing is held against one that it is not.
    has_broken_profile: bool,
    catalogue: Option<Catalogue>,
    services: Vec<together::ServicesFile>,
    fleet: Option<(String, Fleet)>,
    loads: Vec<String>,
    failures: Vec<together::FailuresFile>,
}

/// Checks files, each on its own and then against each other.
pub fn check(sources: &[Source], context: &Context<'_>) -> Report {
    let mut report = Report::default();
    let mut known = Known::default();
    let mut kinds = Vec::with_capacity(sources.len());
    for source in sources {
        let kind = kind::of(source).and_then(|kind| {
            if source.is_whole || kind == Kind::Trace {
                return Ok(kind);
            }
            let size = crate::policy::size(source.bytes.len() as u64);
            Err(format!("it has more than {size}, and nobody writes such a file by hand"))
        });
        if let Err(message) = &kind {
            let (file, message) = (source.name.clone(), message.clone());
            report.unchecked.push(Unchecked { file, message });
        }
        kinds.push(kind.ok());
    }
    // What others are read by comes first, in whatever order they were named; they are told in the order of their naming.
    let mut checked: BTreeMap<usize, Checked> = BTreeMap::new();
    for turn in Kind::IN_TURN {
        for (position, source) in sources.iter().enumerate() {
            if kinds[position] == Some(turn) {
                checked.insert(position, known.check_one(source, turn, sources, &kinds, context));
            }
        }
    }
    report.files = checked.into_values().collect();
    together::look(&known, &context.profile, &mut report.files);
    for file in &mut report.files {
        file.findings.sort_by_key(|finding| (finding.line, finding.severity));
    }
    report
}

impl Known {
    fn check_one(
        &mut self,
        source: &Source,
        kind: Kind,
        sources: &[Source],
        kinds: &[Option<Kind>],
        context: &Context<'_>,
    ) -> Checked {
        let mut checked = Checked::new(&source.name, kind);
        let text = String::from_utf8_lossy(&source.bytes);
        let text = text.as_ref();
        let file = source.name.as_str();
        match kind {
            Kind::Profile => {
                if let Some(profile) = checked.take(Profile::parse(text, file)) {
                    checked.about = match profile.settings.len() {
                        0 => "a profile of Knative's defaults".to_owned(),
                        some => format!("a profile with {}", counted(some, "setting")),
                    };
                    self.profile.get_or_insert((file.to_owned(), profile));
                } else {
                    self.has_broken_profile = true;
                }
            }
            Kind::Models => {
                let before = self.catalogue.take().unwrap_or_else(Catalogue::builtin);
                let catalogue = checked.take(before.clone().parse(text, file));
                checked.about = "models for the catalogue".to_owned();
                self.catalogue = Some(catalogue.unwrap_or(before));
            }
            Kind::Services => {
                let catalogue = self.catalogue.clone().unwrap_or_else(Catalogue::builtin);
                let read = service::parse(text, file, &catalogue);
                let read = read.map(|mut read| {
                    let warnings = std::mem::take(&mut read.warnings);
                    (read, warnings)
                });
                if let Some(read) = checked.take(read) {
                    checked.about = counted(read.services.len(), "service");
                    let (file, text) = (file.to_owned(), text.to_owned());
                    self.services.push(together::ServicesFile { file, text, read });
                }
            }
            Kind::Nodes => {
                if let Some(fleet) = checked.take(Fleet::parse(text, file)) {
                    let gpus = fleet.machines.iter().map(|one| one.node.allocatable.gpus as usize);
                    let nodes = counted(fleet.machines.len(), "node");
                    checked.about = format!("{nodes} with {}", counted(gpus.sum(), "GPU"));
                    self.fleet.get_or_insert((file.to_owned(), fleet));
                }
            }
            Kind::Faults => {
                let read = failures::parse(text, file).map(|faults| (faults, Vec::new()));
                if let Some(faults) = checked.take(read) {
                    checked.about = counted(faults.faults.len(), "fault") + " to play";
                    let (file, text) = (file.to_owned(), text.to_owned());
                    self.failures.push(together::FailuresFile { file, text, faults });
                }
            }
            Kind::Trace => self.check_trace(source, &mut checked),
            Kind::Suite => {
                let path = source.path.as_deref().unwrap_or(Path::new(""));
                if let Some(suite) = checked.take(SuiteDefinition::parse(text, file, path)) {
                    checked.about = counted(suite.cases.len(), "case");
                }
            }
            Kind::Policies => {
                let folder = source.path.as_deref().and_then(Path::parent);
                let folder = folder.unwrap_or(Path::new(""));
                let read = PoliciesDefinition::parse(text, file, folder);
                if let Some(definition) = checked.take(read.map(|read| (read, Vec::new()))) {
                    checked.about = format!(
                        "{} and a placement policy",
                        counted(definition.scaling.len(), "scaling stage")
                    );
                    chain::policies(
                        &definition,
                        text,
                        self.profile(context),
                        context,
                        &mut checked,
                    );
                }
            }
            Kind::Component => {
                chain::component(&source.bytes, self.profile(context), context, &mut checked);
            }
            Kind::Settings => {
                let components = sources.iter().zip(kinds);
                let components: Vec<&Source> = components
                    .filter(|(_, kind)| **kind == Some(Kind::Component))
                    .map(|(source, _)| source)
                    .collect();
                let profile = self.profile(context);
                chain::settings(text, &components, profile, context, &mut checked);
            }
        }
        checked
    }

    /// The profile among the files, or the one that was named.
    fn profile<'b>(&'b self, context: &'b Context<'_>) -> &'b Profile {
        self.profile.as_ref().map_or(&context.profile, |(_, profile)| profile)
    }

    fn check_trace(&mut self, source: &Source, checked: &mut Checked) {
        let Some(path) = &source.path else {
            checked.error("a trace is read twice, first to check it whole: write it to a file");
            return;
        };
        match Trace::check(path, TRACE_FAULTS) {
            Ok(trace) => {
                let services = counted(trace.services().len(), "service");
                let long = crate::report::clock(trace.end_us() as f64 / 1e6);
                checked.about = format!("load of {services}, {long} long");
                self.loads.extend(trace.services().iter().cloned());
            }
            Err(errors) => {
                if errors.len() == TRACE_FAULTS {
                    checked.details.push(format!("no more than {TRACE_FAULTS} faults are told"));
                }
                checked.findings.extend(errors.iter().map(Finding::of_trace));
            }
        }
    }
}

impl Checked {
    fn new(file: &str, kind: Kind) -> Checked {
        Checked {
            file: file.to_owned(),
            kind,
            about: String::new(),
            details: Vec::new(),
            findings: Vec::new(),
            has_trapped: false,
        }
    }

    /// What was read, unless there were faults; these and the warnings are noted.
    fn take<T>(&mut self, read: Result<(T, Vec<Warning>), DefinitionError>) -> Option<T> {
        match read {
            Ok((read, warnings)) => {
                self.findings.extend(warnings.iter().map(Finding::of_warning));
                Some(read)
            }
            Err(DefinitionError::Faults(faults, warnings)) => {
                self.findings.extend(faults.iter().map(Finding::of_fault));
                self.findings.extend(warnings.iter().map(Finding::of_warning));
                None
            }
            Err(DefinitionError::Syntax { message, at, .. }) => {
                let mut finding = Finding::error(&message);
                if let Some((line, column)) = at {
                    (finding.line, finding.column) = (Some(line), Some(column));
                    // The place stands in front already.
                    let place = format!(" at line {line}, column {column}");
                    finding.message = message.replace(&place, "");
                }
                self.findings.push(finding);
                None
            }
            Err(error @ (DefinitionError::Read { .. } | DefinitionError::Unknown { .. })) => {
                self.error(&error.to_string());
                None
            }
        }
    }

    fn error(&mut self, message: &str) {
        self.findings.push(Finding::error(message));
    }

    /// How many of its findings weigh so much.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

impl Finding {
    fn error(message: &str) -> Finding {
        Finding {
            severity: Severity::Error,
            line: None,
            column: None,
            path: String::new(),
            message: message.to_owned(),
            nearest: None,
            hint: None,
        }
    }

    fn at(self, line: u64, path: &str) -> Finding {
        Finding { line: Some(line), path: path.to_owned(), ..self }
    }

    fn about(self, path: &str) -> Finding {
        Finding { path: path.to_owned(), ..self }
    }

    fn into_warning(self) -> Finding {
        Finding { severity: Severity::Warning, ..self }
    }

    fn near(self, nearest: Option<&str>) -> Finding {
        Finding { nearest: nearest.map(str::to_owned), ..self }
    }

    fn of_fault(fault: &Fault) -> Finding {
        let message = format!("{} is {}, expected {}", fault.field, fault.found, fault.expected);
        Finding::error(&message).at(fault.line, &fault.field).near(fault.nearest.as_deref())
    }

    fn of_warning(warning: &Warning) -> Finding {
        let finding = Finding::error(&warning.message).at(warning.line, &warning.field);
        finding.near(warning.nearest.as_deref()).into_warning()
    }

    fn of_trace(error: &TraceError) -> Finding {
        let (path, line) = (error.path(), error.line());
        let told = error.to_string();
        let mut finding = Finding::error(&told);
        // The place stands in front already.
        let rest = told.strip_prefix(path).unwrap_or(&told);
        let rest = line.and_then(|line| rest.strip_prefix(&format!(":{line}"))).unwrap_or(rest);
        finding.message = rest.strip_prefix(": ").unwrap_or(rest).to_owned();
        finding.line = line;
        finding.path = error.column().unwrap_or_default().to_owned();
        if let Some(source) = std::error::Error::source(error) {
            finding.message = format!("{}: {source}", finding.message);
        }
        finding
    }
}

impl Report {
    /// How many findings of all files weigh so much.
    pub fn count(&self, severity: Severity) -> usize {
        self.files.iter().map(|file| file.count(severity)).sum()
    }

    /// Whether a policy trapped or overran while it was checked.
    pub fn has_trapped(&self) -> bool {
        self.files.iter().any(|file| file.has_trapped)
    }

    /// As JSON; `docs/check.md` describes it.
    pub fn json(&self) -> String {
        let document = serde_json::json!({
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "Check",
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "files": self.files,
            "unchecked": self.unchecked,
        });
        serde_json::to_string_pretty(&document).expect("every key is text") + "\n"
    }
}

/// Whether a call ended because of what the policy did, and not with an answer.
fn is_trap(kind: CallErrorKind) -> bool {
    match kind {
        CallErrorKind::Trapped
        | CallErrorKind::OutOfFuel
        | CallErrorKind::OutOfTime
        | CallErrorKind::OutOfSpace
        | CallErrorKind::Malformed => true,
        CallErrorKind::Refused | CallErrorKind::NotAsked => false,
    }
}

fn counted(count: usize, thing: &str) -> String {
    crate::report::counted(count as u64, thing)
}
