//! Why a recording cannot be read, or cannot be played.

use std::io;

use crate::definitions::Fault;
use crate::engine::BindTargetError;

/// Why a recording cannot be read. Every message names the file, and where there is one the line and the field.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or a folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file with more in it than any recording.
    #[error("{path} holds more than {} MiB, which no recording does", .limit_bytes >> 20)]
    TooLarge {
        /// The file.
        path: String,
        /// How much a file may hold, unpacked.
        limit_bytes: u64,
    },
    /// A file with nothing in it, or a folder without recordings.
    #[error("{path} holds {found}, expected {expected}")]
    Empty {
        /// Which.
        path: String,
        /// What is in it.
        found: &'static str,
        /// What should be.
        expected: &'static str,
    },
    /// A line that is no JSON object.
    #[error("{path}:{line}: expected a JSON object, found {found}")]
    NotAnObject {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// What is there.
        found: String,
    },
    /// A field that is missing, or says what it must not.
    #[error("{0}")]
    Field(Box<Fault>),
    /// A field that no such line has.
    #[error("{path}:{line}: no such field: {field}{}", did_you_mean(.nearest))]
    UnknownField {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// The field.
        field: String,
        /// The known one that it resembles most.
        nearest: Option<String>,
    },
    /// A file whose first line is that of no recording.
    #[error(
        "{path}:1: this is no recording that is known: expected the first line of a scenario or a golden file, a settings case, a request-stat case or a sample size"
    )]
    UnknownKind {
        /// The file.
        path: String,
    },
    /// A scenario without golden file, or the other way round.
    #[error(
        "{path}: no {missing} file in its folder has the name {name}, and one alone says nothing"
    )]
    Unpaired {
        /// The file.
        path: String,
        /// The name in its header.
        name: String,
        /// What is not there.
        missing: &'static str,
    },
    /// Two files that say they are the same.
    #[error("{path}: its name {name} is that of {other} too, and only one can be meant")]
    Twice {
        /// The file.
        path: String,
        /// The name in its header.
        name: String,
        /// The other one.
        other: String,
    },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

/// Why a recording cannot be played. That an answer differs is none of these.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// A policy does not take the settings.
    #[error("{name}: the chain does not take its settings")]
    Bind {
        /// The scenario.
        name: String,
        /// Why.
        source: Box<BindTargetError>,
    },
    /// A policy lacks an output that is compared.
    #[error("stage {stage} gives no output {output}, which is held to the recordings")]
    NoOutput {
        /// The stage.
        stage: String,
        /// The output.
        output: &'static str,
    },
    /// A policy gave no decision.
    #[error("{name}: stage {stage} failed at {t_s} s: {message}")]
    Failed {
        /// The scenario.
        name: String,
        /// The stage.
        stage: String,
        /// When.
        t_s: u64,
        /// What it said.
        message: String,
    },
}
