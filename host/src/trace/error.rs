//! What can be wrong with a trace. Every message names the file, and where there is one the line and the column, with what
//! was found and what was expected.

use std::io;

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Standard input, a pipe or a folder.
    #[error(
        "{path} is not a regular file; a trace is read twice, first to check it whole, so write what comes from a pipe to a file"
    )]
    NotAFile {
        /// What was given.
        path: String,
    },
    /// A gzip file that was cut off.
    #[error("{path}: its gzip data ends too early, after line {line}")]
    Truncated {
        /// The file.
        path: String,
        /// The last whole line, 0 if there is none.
        line: u64,
    },
    /// A gzip file with wrong bytes in it.
    #[error("{path}: its gzip data is damaged, after line {line}")]
    Damaged {
        /// The file.
        path: String,
        /// The last whole line, 0 if there is none.
        line: u64,
        /// What the decoder said.
        source: io::Error,
    },
    /// Something else than text.
    #[error("{path}:{line}: expected CSV, plain or gzip, found bytes that are not text")]
    NotText {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
    },
    /// A line that no trace has.
    #[error("{path}:{line}: expected lines of text, found one of more than {limit_bytes} bytes")]
    LongLine {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// How long a line may be.
        limit_bytes: usize,
    },
    /// Nothing in it.
    #[error("{path}: expected a line of column names, found an empty file")]
    Empty {
        /// The file.
        path: String,
    },
    /// A header and nothing else.
    #[error("{path}: expected rows after the line of column names, found none")]
    NoRows {
        /// The file.
        path: String,
    },
    /// A column that every trace of this kind has.
    #[error("{path}: has no column {missing}; found {found}")]
    MissingColumn {
        /// The file.
        path: String,
        /// The column, with what it is for.
        missing: &'static str,
        /// The columns there are.
        found: String,
    },
    /// Two columns of one name.
    #[error("{path}: has two columns for {column}")]
    RepeatedColumn {
        /// The file.
        path: String,
        /// The name, of the column or of the service it gives, in its quotes.
        column: String,
    },
    /// Two columns that say different things about the same.
    #[error("{path}: has both `{first}` and `{second}`; expected one of them, as {why}")]
    ConflictingColumns {
        /// The file.
        path: String,
        /// One column.
        first: String,
        /// The other.
        second: String,
        /// What they would both decide.
        why: &'static str,
    },
    /// A row that is longer or shorter than the header.
    #[error("{path}:{line}: expected {expected} fields, as in the first line, found {found}")]
    FieldCount {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// Fields of the header.
        expected: usize,
        /// Fields of the row.
        found: usize,
    },
    /// A value that cannot be one.
    #[error("{path}:{line}: column `{column}`: expected {expected}, found {found}")]
    Field {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// The column.
        column: String,
        /// What it holds elsewhere.
        expected: &'static str,
        /// What stands there, in its quotes; long ones are cut.
        found: String,
    },
    /// Time that steps back.
    #[error(
        "{path}:{line}: column `{column}`: {at} comes before the row above, at {previous}; expected rows sorted by time"
    )]
    OutOfOrder {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// Its time, with its unit.
        at: String,
        /// The time of the row above.
        previous: String,
    },
    /// A row that says again what its minute or second had already said.
    #[error("{path}:{line}: {what} has a row already; expected one")]
    RepeatedRow {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// Which: the moment, and the service where there are several.
        what: String,
    },
    /// A rate table whose row has no known length.
    #[error(
        "{path}: expected at least two rows of rates, since a row lasts until the next one, found one"
    )]
    OneRate {
        /// The file.
        path: String,
    },
    /// Rates of one service in two tables: their arrivals would be the same draws.
    #[error(
        "{first} and {second} both hold rates of `{service}`; rename the column in one of them"
    )]
    RatesTwice {
        /// One file.
        first: String,
        /// The other.
        second: String,
        /// The service.
        service: String,
    },
    /// The file is not the one that was checked when it was opened.
    #[error("{path}:{line}: the file changed while it was read")]
    Changed {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
    },
    /// Quantiles that no distribution of lengths has.
    #[error(
        "a median of {p50} and a 99 % quantile of {p99} tokens; expected 1 to 131072, the median no more than the quantile"
    )]
    Lengths {
        /// The median.
        p50: f64,
        /// The 99 % quantile.
        p99: f64,
    },
    /// A window shorter than what it should hold.
    #[error("the window of {window_s} s is shorter than the trace, which ends at {end_s} s")]
    ShortWindow {
        /// The window.
        window_s: f64,
        /// The end of the trace.
        end_s: f64,
    },
}

impl TraceError {
    /// The file; the first of two. Empty where it is about none.
    pub fn path(&self) -> &str {
        match self {
            TraceError::Read { path, .. }
            | TraceError::NotAFile { path }
            | TraceError::Truncated { path, .. }
            | TraceError::Damaged { path, .. }
            | TraceError::NotText { path, .. }
            | TraceError::LongLine { path, .. }
            | TraceError::Empty { path }
            | TraceError::NoRows { path }
            | TraceError::MissingColumn { path, .. }
            | TraceError::RepeatedColumn { path, .. }
            | TraceError::ConflictingColumns { path, .. }
            | TraceError::FieldCount { path, .. }
            | TraceError::Field { path, .. }
            | TraceError::OutOfOrder { path, .. }
            | TraceError::RepeatedRow { path, .. }
            | TraceError::OneRate { path }
            | TraceError::Changed { path, .. } => path,
            TraceError::RatesTwice { first, .. } => first,
            TraceError::Lengths { .. } | TraceError::ShortWindow { .. } => "",
        }
    }

    /// The line, from 1, where it is about one.
    pub fn line(&self) -> Option<u64> {
        match self {
            TraceError::NotText { line, .. }
            | TraceError::LongLine { line, .. }
            | TraceError::FieldCount { line, .. }
            | TraceError::Field { line, .. }
            | TraceError::OutOfOrder { line, .. }
            | TraceError::RepeatedRow { line, .. }
            | TraceError::Changed { line, .. } => Some(*line),
            TraceError::MissingColumn { .. }
            | TraceError::RepeatedColumn { .. }
            | TraceError::ConflictingColumns { .. } => Some(1),
            TraceError::Read { .. }
            | TraceError::NotAFile { .. }
            | TraceError::Truncated { .. }
            | TraceError::Damaged { .. }
            | TraceError::Empty { .. }
            | TraceError::NoRows { .. }
            | TraceError::OneRate { .. }
            | TraceError::RatesTwice { .. }
            | TraceError::Lengths { .. }
            | TraceError::ShortWindow { .. } => None,
        }
    }

    /// The column, where it is about one.
    pub fn column(&self) -> Option<&str> {
        if let TraceError::Field { column, .. } = self {
            return Some(column);
        }
        if let TraceError::OutOfOrder { column, .. } = self { Some(column) } else { None }
    }

    /// Whether the rows after it can be read all the same.
    pub(super) fn is_of_row(&self) -> bool {
        matches!(
            self,
            TraceError::FieldCount { .. }
                | TraceError::Field { .. }
                | TraceError::OutOfOrder { .. }
                | TraceError::RepeatedRow { .. }
        )
    }
}
