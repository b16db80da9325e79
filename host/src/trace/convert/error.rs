//! What can be wrong with a log.

use super::Span;
use crate::trace::TraceError;
use crate::trace::write::WriteError;

/// Why files cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A file that cannot be read.
    #[error(transparent)]
    Read(#[from] TraceError),
    /// A trace that cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An empty file.
    #[error("{path}: expected a log, found nothing")]
    Nothing {
        /// The file.
        path: String,
    },
    /// A file whose first bytes say nothing.
    #[error(
        "{path}:1: expected a line of a known format, found {found}; --from names the format, and --field what its fields mean"
    )]
    UnknownContent {
        /// The file.
        path: String,
        /// Its first line.
        found: String,
    },
    /// A format that is not there.
    #[error("there is no format `{found}`; {expected}")]
    UnknownFormat {
        /// What was asked for.
        found: String,
        /// The nearest, or all.
        expected: String,
    },
    /// A map of fields that is none.
    #[error("--field {text}: {why}")]
    Field {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Records without a field for their time.
    #[error("{path}: which field is the time? --field time=NAME says so; found {found}")]
    NoTimeField {
        /// The file.
        path: String,
        /// The fields there are.
        found: String,
    },
    /// A column that the map names.
    #[error("{path}:1: has no column `{missing}`; {hint}")]
    MissingColumn {
        /// The file.
        path: String,
        /// The column.
        missing: String,
        /// The nearest, or all.
        hint: String,
    },
    /// A table of our own.
    #[error(
        "{path}: is a table already; expected requests, with prompt_tokens and output_tokens, or duration_s"
    )]
    NoRequestsInIt {
        /// The file.
        path: String,
    },
    /// A line that is not right, where that is an error.
    #[error("{path}:{line}: expected {expected}, found {found}")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// What it should hold.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A line that stands too far behind.
    #[error(
        "{path}:{line}: arrived {by_s} s before a request further up; expected no more than the window of {window} that lines are sorted in"
    )]
    Late {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// How much earlier than the newest so far.
        by_s: f64,
        /// How long lines wait for such.
        window: Span,
    },
    /// A request that is longer after the start than a trace lasts.
    #[error(
        "{path}:{line}: arrives {length} after the start, expected up to {longest}; is its time right?"
    )]
    TooLong {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// Since the start.
        length: Span,
        /// What may be.
        longest: Span,
    },
    /// Requests with and without a duration.
    #[error(
        "{path}:{line}: some requests have a duration, and some have not; expected the same of all"
    )]
    SomeDurations {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
    },
    /// Times since 1970 in one file, and since its own start in another.
    #[error("{path}: its times count from another start than those of the other files")]
    MixedTimes {
        /// One of them.
        path: String,
    },
    /// Requests in one file, and a table in another.
    #[error(
        "{path}: {format} has rates rather than requests, unlike other files; convert them each for itself"
    )]
    MixedKinds {
        /// The file.
        path: String,
        /// Its format.
        format: &'static str,
    },
    /// Requests are wanted of something that has none.
    #[error(
        "{format} has no requests, only rates; a replay draws requests from them, so convert --to rates"
    )]
    OnlyRates {
        /// The format.
        format: &'static str,
    },
    /// Nothing came of it.
    #[error("nothing is left to write: no request, or no sample")]
    NoRequests,
    /// A document that is none.
    #[error("{path}: expected the answer of a range query")]
    Json {
        /// The file.
        path: String,
        /// What the reader said.
        source: serde_json::Error,
    },
    /// An answer of another kind.
    #[error("{path}: expected {expected}, found {found}")]
    Prometheus {
        /// The file.
        path: String,
        /// What it should hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// Series that do not say whose they are.
    #[error(
        "{path}: a series has no label `{label}`; --service-label names another, or --service the only service; found {found}"
    )]
    NoLabel {
        /// The file.
        path: String,
        /// The label.
        label: String,
        /// The labels there are.
        found: String,
    },
    /// Odd samples, where that is an error.
    #[error(
        "{not_numbers} samples are NaN or infinite, and {out_of_range} negative or absurdly high"
    )]
    OddSamples {
        /// NaN or infinite.
        not_numbers: u64,
        /// Negative or too high.
        out_of_range: u64,
    },
}
