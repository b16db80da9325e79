//! Reading the fields of a file one by one: each fault is noted with its place, and reading goes on to the next.

use super::fault::{DefinitionError, Fault, Warning};
use super::quantity::{Quantity, parse_quantity};
use super::tree::{self, Tree, Value};

/// What reading a file comes upon.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    pub(super) file: &'a str,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Warning>,
    /// Whether the file is read for a live run, where what a process needs must be there and what only a simulation needs need not.
    pub(super) is_live: bool,
}

/// What to do about a key that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Refused,
    Warned,
}

/// A part of a file with the way to it.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) tree: &'a Tree,
    /// Line of the key, where it has one: that is where a person looks first.
    pub(super) line: u64,
    pub(super) path: String,
}

/// A map, whose keys are asked for by name.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    at: At<'a>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(file: &'a str) -> Notes<'a> {
        Notes { file, faults: Vec::new(), warnings: Vec::new(), is_live: false }
    }

    /// What `read` makes of a part that only a live run needs: in others its faults and warnings are nobody's business, and it gives
    /// nothing where there was a fault.
    pub(super) fn live<T>(&mut self, read: impl FnOnce(&mut Notes<'_>) -> Option<T>) -> Option<T> {
        let mut own = Notes { is_live: self.is_live, ..Notes::new(self.file) };
        let value = read(&mut own);
        let value = value.filter(|_| own.faults.is_empty());
        if self.is_live {
            // What other parts told already is not told twice.
            own.faults.retain(|fault| !self.faults.contains(fault));
            own.warnings.retain(|warning| !self.warnings.contains(warning));
            self.faults.append(&mut own.faults);
            self.warnings.append(&mut own.warnings);
        }
        value
    }

    pub(super) fn fault(
        &mut self,
        line: u64,
        field: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.faults.push(Fault {
            file: self.file.to_owned(),
            line: line.max(1),
            field: field.to_owned(),
            found: found.into(),
            expected: expected.into(),
            nearest: None,
        });
    }

    /// A name that nobody knows, where another is expected.
    pub(super) fn fault_near(&mut self, line: u64, field: &str, found: &str, nearest: &str) {
        self.fault(line, field, found, nearest);
        if let Some(fault) = self.faults.last_mut() {
            fault.nearest = Some(nearest.to_owned());
        }
    }

    pub(super) fn warn(&mut self, line: u64, message: impl Into<String>) {
        self.warn_near(line, "", message, None);
    }

    /// A warning about a field, and the known name that it resembles.
    pub(super) fn warn_near(
        &mut self,
        line: u64,
        field: &str,
        message: impl Into<String>,
        nearest: Option<String>,
    ) {
        self.warnings.push(Warning {
            file: self.file.to_owned(),
            line: line.max(1),
            field: field.to_owned(),
            message: message.into(),
            nearest,
        });
    }

    /// `value` with the warnings, unless there was a fault.
    pub(super) fn or<T>(mut self, value: T) -> Result<(T, Vec<Warning>), DefinitionError> {
        self.warnings.sort_by_key(|warning| warning.line);
        if self.faults.is_empty() {
            return Ok((value, self.warnings));
        }
        self.faults.sort_by_key(|fault| fault.line);
        Err(DefinitionError::Faults(self.faults, self.warnings))
    }
}

impl<'a> At<'a> {
    /// A whole document.
    pub(super) fn root(tree: &'a Tree) -> At<'a> {
        At { tree, line: tree.line, path: String::new() }
    }

    /// Notes that it is not what it should be.
    pub(super) fn refuse(&self, notes: &mut Notes<'_>, expected: impl Into<String>) {
        let field = if self.path.is_empty() { "the document" } else { &self.path };
        notes.fault(self.line, field, self.tree.shown(), expected);
    }

    /// Its keys, all of which must be among `known`.
    pub(super) fn fields(
        &self,
        known: &[&str],
        unknown: Unknown,
        notes: &mut Notes<'_>,
    ) -> Option<Fields<'a>> {
        let Value::Map(entries) = &self.tree.value else {
            self.refuse(notes, "a map");
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let nearest = tidegate_settings::nearest(&entry.key, known.iter().copied());
            let path = self.join(&entry.key);
            match (unknown, nearest) {
                (Unknown::Refused, Some(nearest)) => {
                    notes.fault_near(entry.line, &path, "no known key", nearest);
                }
                (Unknown::Refused, None) => {
                    let all = known.join(", ");
                    notes.fault(entry.line, &path, "no known key", format!("one of {all}"));
                }
                (Unknown::Warned, nearest) => {
                    let did_you_mean = nearest
                        .map_or(String::new(), |nearest| format!("; did you mean {nearest}?"));
                    notes.warn_near(
                        entry.line,
                        &path,
                        format!("{path} is no known key and has no effect{did_you_mean}"),
                        nearest.map(str::to_owned),
                    );
                }
            }
        }
        Some(Fields { at: self.clone() })
    }

    fn join(&self, key: &str) -> String {
        tree::joined(&self.path, key)
    }

    /// Its entries, whatever they are called.
    pub(super) fn entries(&self, notes: &mut Notes<'_>) -> Vec<(&'a str, At<'a>)> {
        let Value::Map(entries) = &self.tree.value else {
            self.refuse(notes, "a map");
            return Vec::new();
        };
        let at = |key: &str, line, tree| At { tree, line, path: self.join(key) };
        entries
            .iter()
            .map(|entry| (entry.key.as_str(), at(&entry.key, entry.line, &entry.tree)))
            .collect()
    }

    /// Its items.
    pub(super) fn items(&self, notes: &mut Notes<'_>) -> Vec<At<'a>> {
        let Value::List(items) = &self.tree.value else {
            self.refuse(notes, "a list");
            return Vec::new();
        };
        let at = |(nth, tree): (usize, &'a Tree)| At {
            tree,
            line: tree.line,
            path: format!("{}[{nth}]", self.path),
        };
        items.iter().enumerate().map(at).collect()
    }

    /// A text.
    pub(super) fn text(&self, notes: &mut Notes<'_>) -> Option<&'a str> {
        match &self.tree.value {
            Value::Text(text) => Some(text),
            Value::Number(_, written) | Value::Flag(_, written) => {
                self.refuse(notes, format!("a text: write \"{written}\""));
                None
            }
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.refuse(notes, "a text");
                None
            }
        }
    }

    /// A text, or a number or flag as it was written.
    pub(super) fn scalar(&self, notes: &mut Notes<'_>) -> Option<&'a str> {
        let text = self.tree.scalar();
        if text.is_none() {
            self.refuse(notes, "a text");
        }
        text
    }

    /// A flag.
    pub(super) fn flag(&self, notes: &mut Notes<'_>) -> Option<bool> {
        if let Value::Flag(flag, _) = self.tree.value {
            return Some(flag);
        }
        self.refuse(notes, "true or false");
        None
    }

    /// A whole number of at least `least`.
    pub(super) fn count(&self, least: u32, notes: &mut Notes<'_>) -> Option<u32> {
        if let Value::Number(number, _) = &self.tree.value
            && let Some(count) = number.as_u64().and_then(|count| u32::try_from(count).ok())
            && count >= least
        {
            return Some(count);
        }
        self.refuse(notes, format!("a whole number of at least {least}"));
        None
    }

    /// A number of at least 0, or above 0.
    pub(super) fn number(&self, may_be_zero: bool, notes: &mut Notes<'_>) -> Option<f64> {
        if let Value::Number(number, _) = &self.tree.value
            && let Some(number) = number.as_f64()
            && (number > 0.0 || (may_be_zero && number == 0.0))
        {
            return Some(number);
        }
        self.refuse(notes, if may_be_zero { "a number of at least 0" } else { "a number above 0" });
        None
    }

    /// A Kubernetes quantity.
    pub(super) fn quantity(&self, notes: &mut Notes<'_>) -> Option<Quantity> {
        let quantity = self.tree.scalar().and_then(parse_quantity);
        if quantity.is_none() {
            self.refuse(notes, "a quantity, as 4, 500m or 16Gi");
        }
        quantity
    }

    /// An amount of a Kubernetes quantity, in the unit that `unit` gives.
    pub(super) fn amount(
        &self,
        unit: fn(Quantity) -> Option<u64>,
        notes: &mut Notes<'_>,
    ) -> Option<u64> {
        let amount = unit(self.quantity(notes)?);
        if amount.is_none() {
            self.refuse(notes, "less than 2⁶⁴");
        }
        amount
    }

    /// Its keys, whatever they are called; nothing where it is no map. Notes nothing.
    pub(super) fn map(&self) -> Option<Fields<'a>> {
        self.is_map().then(|| Fields { at: self.clone() })
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.tree.value, Value::Map(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.tree.value, Value::List(_))
    }

    /// The text of a key, if it is a map that has it; notes nothing.
    pub(super) fn key(&self, key: &str) -> Option<&'a str> {
        let Value::Map(entries) = &self.tree.value else { return None };
        entries.iter().find(|entry| entry.key == key)?.tree.scalar()
    }

    /// Where a key of a map stands; where the map does, if it has no such key.
    pub(super) fn line_of(&self, key: &str) -> u64 {
        let Value::Map(entries) = &self.tree.value else { return self.line };
        entries.iter().find(|entry| entry.key == key).map_or(self.line, |entry| entry.line)
    }

    /// A duration: seconds as a number, or as in `30s`. Milliseconds.
    pub(super) fn duration_ms(&self, notes: &mut Notes<'_>) -> Option<u64> {
        let ms = match &self.tree.value {
            Value::Number(number, _) => number.as_u64().and_then(|s| s.checked_mul(1000)),
            Value::Text(text) => tidegate_settings::parse_duration(text)
                .and_then(|nanos| u64::try_from(nanos / 1_000_000).ok()),
            Value::Null | Value::Flag(..) | Value::List(_) | Value::Map(_) => None,
        };
        let ms = ms.filter(|ms| *ms > 0);
        if ms.is_none() {
            self.refuse(notes, "a duration above 0, as 300 (seconds), 30s or 10m");
        }
        ms
    }
}

impl<'a> Fields<'a> {
    /// What `key` has; nothing where it is absent or empty.
    pub(super) fn get(&self, key: &str) -> Option<At<'a>> {
        let Value::Map(entries) = &self.at.tree.value else { return None };
        entries
            .iter()
            .find(|entry| entry.key == key && entry.tree.value != Value::Null)
            .map(|entry| At { tree: &entry.tree, line: entry.line, path: self.at.join(key) })
    }

    /// What `key` has; a fault where it is absent.
    pub(super) fn need(&self, key: &str, expected: &str, notes: &mut Notes<'_>) -> Option<At<'a>> {
        let found = self.get(key);
        if found.is_none() {
            notes.fault(self.at.line, &self.at.join(key), "missing", expected);
        }
        found
    }

    /// What `key` is, read by `read`; `default` where it is absent.
    pub(super) fn or<T>(
        &self,
        key: &str,
        default: T,
        notes: &mut Notes<'_>,
        read: impl FnOnce(&At<'a>, &mut Notes<'_>) -> Option<T>,
    ) -> T {
        self.get(key).and_then(|at| read(&at, notes)).unwrap_or(default)
    }

    /// A number of at least 0; `default` where it is absent.
    pub(super) fn number_or(&self, key: &str, default: f64, notes: &mut Notes<'_>) -> f64 {
        self.or(key, default, notes, |at, notes| at.number(true, notes))
    }

    /// A number above 0; `default` where it is absent.
    pub(super) fn rate_or(&self, key: &str, default: f64, notes: &mut Notes<'_>) -> f64 {
        self.or(key, default, notes, |at, notes| at.number(false, notes))
    }

    pub(super) fn line(&self) -> u64 {
        self.at.line
    }

    /// What the path of one of its keys is.
    pub(super) fn path(&self, key: &str) -> String {
        self.at.join(key)
    }
}

/// Whether a document is one of ours, of that kind; notes what is wrong with its head.
pub(super) fn is_ours(fields: &Fields<'_>, kind: &str, notes: &mut Notes<'_>) -> bool {
    let mut is = |key: &str, expected: &str| match fields.need(key, expected, notes) {
        None => false,
        Some(at) if at.tree.scalar() == Some(expected) => true,
        Some(at) => {
            at.refuse(notes, expected);
            false
        }
    };
    is("apiVersion", super::API_VERSION) & is("kind", kind)
}
