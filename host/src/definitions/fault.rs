//! What is wrong with a file that somebody wrote, and what they should know although it is accepted.

use std::fmt;
use std::io::Read as _;

/// A fault in a definition file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// Which field: keys joined with dots, positions in brackets, as in `nodes[2].gpuClass`.
    pub field: String,
    /// What it says.
    pub found: String,
    /// What it may say.
    pub expected: String,
    /// The known name that it resembles most, where a name is not known.
    pub nearest: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {} is {}, expected {}",
            self.file, self.line, self.field, self.found, self.expected
        )
    }
}

/// What the author of a file should know although it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// Which field, where it is about one.
    pub field: String,
    /// What it is.
    pub message: String,
    /// The known name that it resembles most, where a name is not known.
    pub nearest: Option<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// A definition file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML, or no CSV. The message has line and column.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// What is wrong and where.
        message: String,
        /// Line and column, from 1, where they are known.
        at: Option<(u64, u64)>,
    },
    /// A name that is neither built in nor a file.
    #[error("{what} {name} is neither built in nor a file, expected {expected}")]
    Unknown {
        /// What was looked for, as `profile`.
        what: &'static str,
        /// The name.
        name: String,
        /// What there is.
        expected: String,
    },
    /// All that is wrong with it, in order of lines, a line of text each; and what else its author should know.
    #[error("{}", lines(.0))]
    Faults(Vec<Fault>, Vec<Warning>),
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// The largest file that people write. Bytes.
const LARGEST: u64 = 16 << 20;

/// Reads a whole file, unless it is larger than any that a person writes.
pub(super) fn read_text(path: &std::path::Path) -> Result<(String, String), DefinitionError> {
    let shown = path.display().to_string();
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
        .and_then(|length| match length as u64 <= LARGEST {
            true => Ok(()),
            false => Err(std::io::Error::other(format!("it has more than {} MiB", LARGEST >> 20))),
        });
    match read {
        Ok(()) => Ok((text, shown)),
        Err(source) => Err(DefinitionError::Read { path: shown, source }),
    }
}
