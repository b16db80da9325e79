//! The suite file: cases that a policy must pass. It says what a case is made of and reads none of the files that cases name.

mod reader;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fault::{DefinitionError, Warning, read_text};
use super::field::At;
use super::policies::{PoliciesDefinition, PolicyRef};
use super::tree;
use crate::suite::expectation::Expectation;
use crate::trace::synth::Synth;
use reader::Reader;

/// What `kind` says.
const KIND: &str = "Suite";

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

/// A document that stands in the suite itself, where otherwise a file is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inline {
    /// It as a text of its own, with its first line where it has it in the suite.
    pub text: String,
    /// The suite's file, which messages name.
    pub file: String,
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
    /// Services that stand in the suite. Where they do, no file is named.
    pub own_services: Option<Inline>,
    /// Nodes, likewise.
    pub own_nodes: Option<Inline>,
    /// A profile, likewise.
    pub own_profile: Option<Inline>,
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

    pub(crate) fn parse(
        text: &str,
        file: &str,
        path: &Path,
    ) -> Result<(SuiteDefinition, Vec<Warning>), DefinitionError> {
        let (documents, mut notes) = tree::parse(text, file)?;
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
