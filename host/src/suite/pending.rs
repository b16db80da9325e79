//! Snapshots that wait for a decision: which there are, and what becomes of them.

use std::path::{Path, PathBuf};

use super::snapshot::{self, Snapshot, SnapshotError};

/// A snapshot that waits for a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// The suite that it belongs to.
    pub suite: PathBuf,
    /// The case's name, as the snapshot has it.
    pub case: String,
    /// Where the accepted one is, or will be.
    pub file: PathBuf,
    /// The accepted one, if there is one.
    pub before: Option<Snapshot>,
    /// What waits.
    pub now: Snapshot,
}

impl Pending {
    /// What waits for a decision in a suite, in order of files.
    ///
    /// # Errors
    ///
    /// When a snapshot cannot be read.
    pub fn of(suite: &Path) -> Result<Vec<Pending>, SnapshotError> {
        let mut waiting = Vec::new();
        for path in snapshot::files_of(suite)? {
            let accepted = path.with_extension("");
            if path.extension().is_none_or(|ending| ending != "new") {
                continue;
            }
            let Some(now) = Snapshot::read(&path)? else { continue };
            waiting.push(Pending {
                suite: suite.to_owned(),
                case: now.head.expression.clone(),
                before: Snapshot::read(&accepted)?,
                file: accepted,
                now,
            });
        }
        Ok(waiting)
    }

    /// Makes it the accepted one.
    ///
    /// # Errors
    ///
    /// When the file system would not.
    pub fn accept(&self) -> Result<(), SnapshotError> {
        self.now.write(&self.file)?;
        remove(&snapshot::pending_of(&self.file))
    }

    /// Takes it away; the accepted one stays.
    ///
    /// # Errors
    ///
    /// When the file system would not.
    pub fn reject(&self) -> Result<(), SnapshotError> {
        remove(&snapshot::pending_of(&self.file))
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), SnapshotError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(SnapshotError::File { what: "remove", path: path.display().to_string(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
