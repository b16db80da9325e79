//! What a conversion has to say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Format, Oddity, Samples, shown};

/// What was converted, and what was odd: the document that `trace convert -o json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `tidegate.dev/v1alpha1`.
    pub api_version: String,
    /// `TraceConversion`.
    pub kind: String,
    /// The files, as they were named.
    pub files: Vec<String>,
    /// The format of each.
    pub formats: Vec<String>,
    /// Lines that were read, without those of column names.
    pub lines: u64,
    /// Rows that were written.
    pub rows: u64,
    /// Services in them.
    pub services: u64,
    /// The moment that became 0, as RFC 3339; `null` where times count from the trace's own start.
    pub starts_at: Option<String>,
    /// Until the last arrival, or the end of the last row. Seconds.
    pub length_s: f64,
    /// What was odd, and what became of it.
    pub notes: Vec<Note>,
    /// The samples of Prometheus; `null` for other formats.
    pub samples: Option<Samples>,
    /// Of a table that was written; 0 if none was. Microseconds.
    #[serde(skip)]
    pub(super) step_us: u64,
}

/// Something odd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// What.
    pub kind: Oddity,
    /// In how many lines.
    pub count: u64,
    /// The first of them, as `file:line`.
    pub first: String,
}

/// What was odd so far.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeMap<Oddity, (u64, String, u64)>);

impl Notes {
    pub(super) fn add(&mut self, kind: Oddity, path: &str, line: u64) {
        match self.0.get_mut(&kind) {
            Some((count, ..)) => *count += 1,
            None => {
                self.0.insert(kind, (1, path.to_owned(), line));
            }
        }
    }

    pub(super) fn list(self) -> Vec<Note> {
        let note = |(kind, (count, path, line)): (Oddity, (u64, String, u64))| Note {
            kind,
            count,
            first: format!("{path}:{line}"),
        };
        self.0.into_iter().map(note).collect()
    }
}

impl Report {
    pub(super) fn of(paths: &[PathBuf], formats: impl Iterator<Item = Format>) -> Report {
        Report {
            api_version: "tidegate.dev/v1alpha1".to_owned(),
            kind: "TraceConversion".to_owned(),
            files: paths.iter().map(|path| shown(path)).collect(),
            formats: formats.map(|format| format.name().to_owned()).collect(),
            ..Report::default()
        }
    }

    pub(super) fn set_start(&mut self, us: Option<i64>) {
        let at = us.and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
        self.starts_at = at.map(|at| at.to_string());
    }

    /// For a person.
    pub fn render(&self) -> String {
        let mut formats = self.formats.clone();
        formats.dedup();
        let mut text = String::new();
        let _ = writeln!(text, "read      {} as {}", self.files.join(", "), formats.join(", "));
        if self.lines > 0 {
            let _ = writeln!(text, "lines     {}", self.lines);
        }
        if let Some(samples) = &self.samples {
            let _ = writeln!(
                text,
                "samples   {} in {} series, one every {} s",
                samples.count, samples.series, samples.step_s
            );
        }
        let services = if self.services == 1 { "service" } else { "services" };
        let rows = if self.rows == 1 { "row" } else { "rows" };
        let _ = writeln!(text, "wrote     {} {rows}, {} {services}", self.rows, self.services);
        if let Some(starts_at) = &self.starts_at {
            let _ = writeln!(text, "starts    {starts_at}; replay it with --start {starts_at}");
        }
        for note in &self.notes {
            let label = if note.kind.is_fault() { "odd " } else { "note" };
            let (count, words, first) = (note.count, note.kind.words(), &note.first);
            let _ = writeln!(text, "{label}      {count} {words}, first {first}");
        }
        let samples = self.samples.clone().unwrap_or_default();
        for (count, words) in [
            (samples.not_numbers, "samples are NaN or infinite: taken as missing"),
            (samples.out_of_range, "samples are negative or absurdly high: taken as missing"),
            (samples.gaps, "times a series pauses: nothing is taken to arrive there"),
            (samples.resets, "times a counter went back: taken for restarts from 0"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "odd       {count} {words}");
            }
        }
        text
    }
}
