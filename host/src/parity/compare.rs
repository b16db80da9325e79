//! Where our answers are held to the recorded ones: row by row, field by field, the first row that differs kept whole.

use serde::Serialize;
use serde_json::Value;

/// A field of which the two sides say different things.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDifference {
    /// Its name in the recording.
    pub field: String,
    /// What ours is; `null`: no data.
    pub ours: Value,
    /// What was recorded.
    pub theirs: Value,
}

/// A row whose answers differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowDifference {
    /// The file that it stands in.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// Which it is: the second of a scenario, the case.
    pub at: String,
    /// Its fields that differ, in the order of the recording's format.
    pub fields: Vec<FieldDifference>,
}

/// Fields of a row that differ.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<FieldDifference>);

impl Fields {
    /// Notes one.
    pub(super) fn push(&mut self, field: &str, ours: impl Into<Value>, theirs: impl Into<Value>) {
        let (ours, theirs) = (ours.into(), theirs.into());
        self.0.push(FieldDifference { field: field.to_owned(), ours, theirs });
    }

    /// Notes a number that is not the same to the last bit.
    pub(super) fn number(&mut self, field: &str, ours: f64, theirs: f64) {
        if ours != theirs {
            self.push(field, number(ours), number(theirs));
        }
    }

    /// Notes a flag that is not the same; ours comes as a policy gives it, 1 and 0.
    pub(super) fn flag(&mut self, field: &str, ours: f64, theirs: bool) {
        if ours != f64::from(u8::from(theirs)) {
            let ours = match ours {
                1.0 => Value::Bool(true),
                0.0 => Value::Bool(false),
                other => number(other),
            };
            self.push(field, ours, theirs);
        }
    }

    /// Notes a text that is not the same.
    pub(super) fn text(&mut self, field: &str, ours: &str, theirs: &str) {
        if ours != theirs {
            self.push(field, ours, theirs);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What came of the rows of a recording so far.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// How many were compared.
    pub(super) compared: u64,
    /// How many of them differ.
    pub(super) differing: u64,
    /// The first that does.
    pub(super) first: Option<RowDifference>,
}

impl Rows {
    /// Takes a row in. `place`: its file, its line and what it is called, asked for only where it is told.
    pub(super) fn take(&mut self, fields: Fields, place: impl FnOnce() -> (String, u64, String)) {
        self.compared += 1;
        self.note(fields, place);
    }

    /// The same for what is no row of its own: between two rows, or over all of them.
    pub(super) fn note(&mut self, fields: Fields, place: impl FnOnce() -> (String, u64, String)) {
        if fields.is_empty() {
            return;
        }
        self.differing += 1;
        self.first.get_or_insert_with(|| {
            let (file, line, at) = place();
            RowDifference { file, line, at, fields: fields.0 }
        });
    }
}

/// A number as JSON has it, a whole one without a fraction; `null` for NaN.
pub(super) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        Value::from(value as i64)
    } else {
        serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}
