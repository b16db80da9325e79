//! A replay as text, as JSON and as a page. It prints the [`Outcome`] that it is given: it plans nothing, counts nothing that the
//! ledger could have counted, and opens nothing.
//!
//! - [`timeline`] and [`summary`] are for a terminal; [`Columns`] prints the timeline's lines one by one while a replay runs.
//! - [`page`] is one HTML file without a script, and without a reference to anything outside.
//! - [`json`] is the outcome as it is; [`schema`] and `docs/replay.md` describe it.

mod account;
mod brief;
mod changes;
mod comparison;
mod deltas;
mod markup;
pub(crate) mod numbers;
mod page;
mod plot;
mod service;
mod spark;
mod stand;
pub(crate) mod style;
mod summary;
mod table;
mod timeline;
mod why;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use crate::ledger::Outcome;

pub use account::account;
pub use brief::brief;
pub use comparison::comparison_page;
pub use deltas::{comparison, comparison_markdown};
pub use numbers::grouped;
pub(crate) use numbers::{clock, counted, plain};
pub use page::page;
pub(crate) use style::Ink;
pub use style::Style;
pub use summary::summary;
pub use timeline::{Columns, timeline};
pub use why::why;

/// How many lines a timeline has where nobody asks for another number.
pub const LINES: usize = 60;

/// The outcome as JSON, indented; keys in the order of `docs/replay.md`, a line break at the end.
pub fn json(outcome: &Outcome) -> String {
    let mut text = serde_json::to_string_pretty(outcome).expect("every key of an outcome is text");
    text.push('\n');
    text
}

/// The JSON schema of [`json`]'s document, as it stands in `docs/replay.schema.json`.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Outcome);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}
