//! Why a candidate does not take over, for people: which file, which line, and what to do about it.

use std::error::Error;
use std::path::Path;

use serde::Serialize;

use crate::chain::ChainError;
use crate::definitions::DefinitionError;
use crate::definitions::policies::PolicyRef;
use crate::definitions::settings::LimitsError;
use crate::engine::BindTargetError;
use crate::engine::snapshot::{BornAnew, RestoreError};
use crate::policy::{BindError, CallError, SandboxError};

use super::shadow::ShadowRun;

/// A candidate that does not take over. What decided before decides on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct Refused {
    /// What kind of fault it is.
    pub kind: RefusedKind,
    /// The file that is at fault, as it was named.
    pub file: Option<String>,
    /// The line of the first fault, from 1.
    pub line: Option<u64>,
    /// What is wrong, with what stands behind it; a line for each fault.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What is wrong with a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedKind {
    /// A file cannot be read.
    Read,
    /// A file does not say what it may say.
    Definition,
    /// A component cannot run here.
    Component,
    /// A policy does not accept its settings.
    Settings,
    /// A policy requires what this installation does not give.
    Input,
    /// A policy failed when it was asked to begin.
    Failed,
    /// A policy failed on recent inputs, where the one before it did not.
    Shadow,
    /// A policy failed when it was given the states of the one before it.
    Migrate,
    /// There is nothing to go back to, or something else has taken over in between.
    Stale,
}

impl Refused {
    fn new(kind: RefusedKind, message: String) -> Refused {
        Refused { kind, file: None, line: None, message, hint: None }
    }

    fn of(kind: RefusedKind, error: &dyn Error) -> Refused {
        Refused::new(kind, chain(error))
    }

    fn in_file(self, file: &Path) -> Refused {
        Refused { file: Some(file.display().to_string()), ..self }
    }

    /// One that is about that file, unless it is about another one already.
    pub(super) fn about(self, file: Option<&Path>) -> Refused {
        match file {
            Some(file) if self.file.is_none() => self.in_file(file),
            Some(_) | None => self,
        }
    }

    pub(super) fn definition(error: &DefinitionError) -> Refused {
        let (kind, file, line) = match error {
            DefinitionError::Read { path, .. } => (RefusedKind::Read, Some(path.clone()), None),
            DefinitionError::Syntax { path, at, .. } => {
                (RefusedKind::Definition, Some(path.clone()), at.map(|(line, _)| line))
            }
            DefinitionError::Unknown { .. } => (RefusedKind::Definition, None, None),
            DefinitionError::Faults(faults, _) => {
                let first = faults.first();
                let file = first.map(|fault| fault.file.clone());
                (RefusedKind::Definition, file, first.map(|fault| fault.line))
            }
        };
        Refused { file, line, ..Refused::of(kind, error) }
    }

    pub(super) fn chain(error: &ChainError) -> Refused {
        let kind = match error {
            ChainError::Read { .. } => RefusedKind::Read,
            ChainError::Unknown { .. }
            | ChainError::Load { .. }
            | ChainError::Limits { .. }
            | ChainError::DoesNotScale { .. }
            | ChainError::DoesNotPlace { .. } => RefusedKind::Component,
        };
        let refused = Refused { hint: error.hint(), ..Refused::of(kind, error) };
        match error {
            ChainError::Read { path, .. } => refused.in_file(path),
            ChainError::Load { policy, .. }
            | ChainError::DoesNotScale { policy }
            | ChainError::DoesNotPlace { policy } => match policy.strip_prefix("builtin:") {
                None => refused.in_file(Path::new(policy)),
                Some(_) => refused,
            },
            ChainError::Unknown { .. } | ChainError::Limits { .. } => refused,
        }
    }

    pub(super) fn sandbox(error: &SandboxError) -> Refused {
        Refused::of(RefusedKind::Component, error)
    }

    pub(super) fn limits(error: &LimitsError) -> Refused {
        Refused::of(RefusedKind::Definition, error)
    }

    pub(super) fn placement(error: &CallError) -> Refused {
        let message = format!("the placement policy cannot say which columns it wants: {error}");
        Refused::new(RefusedKind::Failed, message)
    }

    pub(super) fn bind(error: &BindTargetError) -> Refused {
        let kind = match error {
            BindTargetError::Settings { source: BindError::Faults(_), .. } => RefusedKind::Settings,
            BindTargetError::Settings { source: BindError::Call(_), .. }
            | BindTargetError::Init { .. } => RefusedKind::Failed,
            BindTargetError::Input { .. } => RefusedKind::Input,
        };
        let mut refused = Refused::of(kind, error);
        if let BindTargetError::Settings { source: BindError::Faults(faults), .. } = error {
            for fault in faults {
                refused.message += &match fault.path.as_str() {
                    "" => format!("\n{}", fault.message),
                    path => format!("\n{path}: {}", fault.message),
                };
            }
        }
        refused
    }

    pub(super) fn restore(error: &RestoreError) -> Refused {
        match error {
            RestoreError::Bind(error) => Refused::bind(error),
            RestoreError::Format { .. } | RestoreError::Malformed { .. } => {
                Refused::of(RefusedKind::Stale, error)
            }
        }
    }

    pub(super) fn shadow(run: &ShadowRun) -> Refused {
        let first = run.failures.first().map_or("", String::as_str);
        let message = format!(
            "it failed in {} of the last {} steps, where what decides now did not: {first}",
            run.failed_steps, run.steps
        );
        Refused::new(RefusedKind::Shadow, message)
    }

    pub(super) fn migrate(anew: &BornAnew) -> Refused {
        let message =
            format!("{}: it cannot take over from the policy before it: {}", anew.stage, anew.why);
        Refused::new(RefusedKind::Migrate, message)
    }

    pub(super) fn other_targets() -> Refused {
        let message = "its targets are not those that are decided about".to_owned();
        Refused::new(RefusedKind::Stale, message)
    }

    pub(super) fn outdated() -> Refused {
        let message = "something else has taken over since it was prepared".to_owned();
        Refused::new(RefusedKind::Stale, message)
    }

    pub(super) fn no_earlier() -> Refused {
        let message = "there is no earlier chain to go back to".to_owned();
        Refused::new(RefusedKind::Stale, message)
    }
}

/// An error with what stands behind it.
fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        told += &format!(": {source}");
        next = source.source();
    }
    told
}

/// The file of a policy, if it is one.
pub(super) fn file_of(named: &PolicyRef) -> Option<&Path> {
    match named {
        PolicyRef::Builtin(_) => None,
        PolicyRef::File(path) => Some(path),
    }
}
