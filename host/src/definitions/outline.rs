//! What kind of file a text is, and on which line of it something stands: for messages about files that were read elsewhere.

use super::fault::{DefinitionError, Fault};
use super::field::At;
use super::openb;
use super::tree::{self, Tree};

/// The documents of a YAML file.
#[derive(Clone, Debug)]
pub struct Outline {
    documents: Vec<Tree>,
    faults: Vec<Fault>,
}

impl Outline {
    /// Reads a text; `file` is what messages call it.
    ///
    /// # Errors
    ///
    /// When it is no YAML.
    pub fn of(text: &str, file: &str) -> Result<Outline, DefinitionError> {
        let (documents, notes) = tree::parse(text, file)?;
        Ok(Outline { documents, faults: notes.faults })
    }

    /// The same, unless a key is there twice.
    ///
    /// # Errors
    ///
    /// When that is so; all such keys are told.
    pub fn or_faults(self) -> Result<Outline, DefinitionError> {
        if self.faults.is_empty() {
            return Ok(self);
        }
        Err(DefinitionError::Faults(self.faults, Vec::new()))
    }

    /// `apiVersion` and `kind` of the first document that has a kind.
    pub fn kind(&self) -> Option<(&str, &str)> {
        let heads = self.documents.iter().map(At::root);
        let mut kinds = heads
            .filter_map(|head| Some((head.key("apiVersion").unwrap_or(""), head.key("kind")?)));
        let first = kinds.next()?;
        // What stands beside services says nothing about the file.
        Some(if is_beside(first) {
            kinds.find(|kind| !is_beside(*kind)).unwrap_or(first)
        } else {
            first
        })
    }

    /// The keys of the first document.
    pub fn keys(&self) -> Vec<&str> {
        match self.documents.first().map(|tree| &tree.value) {
            Some(tree::Value::Map(entries)) => {
                entries.iter().map(|entry| entry.key.as_str()).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// Whether the file has no document.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The first document as JSON; null if there is none.
    pub fn json(&self) -> serde_json::Value {
        self.documents.first().map_or(serde_json::Value::Null, Tree::json)
    }

    /// The line of what stands at a path in the first document, keys and positions joined with dots or in brackets; of as much of
    /// the path as there is.
    pub fn line(&self, path: &[&str]) -> u64 {
        self.documents.first().map_or(1, |tree| tree.line_at(path.iter().copied()))
    }
}

/// Whether a text is the node list of the openb trace.
pub(crate) fn is_openb(text: &str) -> bool {
    openb::is_openb(text)
}

fn is_beside((version, kind): (&str, &str)) -> bool {
    version == "v1" && kind != "ConfigMap"
}
