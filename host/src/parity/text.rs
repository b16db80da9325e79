//! Files of JSON lines, plain or gzip, as records whose fields are taken by name. Whatever is missing, of another kind or unknown is
//! told with file, line and field.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use super::error::ReadError;
use super::unique;
use crate::definitions::Fault;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The largest file, unpacked. A scenario of a whole day has a fiftieth of that.
const LIMIT_BYTES: u64 = 256 << 20;
/// How much of a wrong value a message shows. Characters.
const SHOWN: usize = 40;

/// A file as text.
pub(super) struct Text {
    path: String,
    text: String,
}

impl Text {
    /// Reads a file, unpacking it where it is gzip.
    pub(super) fn read(path: &Path) -> Result<Text, ReadError> {
        let shown = path.display().to_string();
        let fails = |source| ReadError::Read { path: shown.clone(), source };
        let mut packed = Vec::new();
        // What never ends, as a device or a pipe, is read no further than a file may be long.
        std::fs::File::open(path)
            .and_then(|file| file.take(LIMIT_BYTES + 1).read_to_end(&mut packed))
            .map_err(fails)?;
        let mut bytes = Vec::new();
        if packed.starts_with(&GZIP_MAGIC) {
            let unpacked = MultiGzDecoder::new(packed.as_slice());
            unpacked.take(LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(fails)?;
        } else {
            bytes = packed;
        }
        if bytes.len() as u64 > LIMIT_BYTES {
            return Err(ReadError::TooLarge { path: shown, limit_bytes: LIMIT_BYTES });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let whole = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = whole.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            ReadError::NotAnObject {
                path: shown.clone(),
                line,
                found: "bytes that are not text".into(),
            }
        })?;
        Ok(Text { path: shown, text })
    }

    /// The file, as it was named.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Its lines that are not empty, in order.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<Record<'_>, ReadError>> {
        let lines = self.text.lines().zip(1u64..).filter(|(line, _)| !line.trim().is_empty());
        lines.map(|(line, number)| self.record(line, number))
    }

    /// The first of them.
    pub(super) fn first(&self) -> Result<Record<'_>, ReadError> {
        self.records().next().unwrap_or_else(|| {
            Err(ReadError::Empty {
                path: self.path.clone(),
                found: "no line",
                expected: "a line for each thing that was recorded",
            })
        })
    }

    fn record(&self, text: &str, line: u64) -> Result<Record<'_>, ReadError> {
        let found = match unique::parse(text) {
            Ok((_, Some(field))) => {
                return Err(ReadError::Field(Box::new(Fault {
                    file: self.path.clone(),
                    line,
                    field,
                    found: "there twice".to_owned(),
                    expected: "each key once".to_owned(),
                    nearest: None,
                })));
            }
            Ok((Value::Object(fields), None)) => {
                let place = Place { path: &self.path, line };
                return Ok(Record { place, within: String::new(), fields, known: Vec::new() });
            }
            Ok((other, None)) => shown(&other),
            Err(error) => format!("none: it breaks off at column {}", error.column()),
        };
        Err(ReadError::NotAnObject { path: self.path.clone(), line, found })
    }
}

#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a str,
    line: u64,
}

/// An object on a line of its own, or within one. Its fields are taken one after the other.
pub(super) struct Record<'a> {
    place: Place<'a>,
    /// What its fields' names begin with in messages, as `resolved.`.
    within: String,
    fields: Map<String, Value>,
    /// The fields that were asked for.
    known: Vec<&'static str>,
}

/// What a field can be.
pub(super) trait Kind: Sized {
    /// In words.
    const EXPECTED: &'static str;
    /// `None` where it is something else.
    fn of(value: &Value) -> Option<Self>;
}

impl Kind for f64 {
    const EXPECTED: &'static str = "a number";
    fn of(value: &Value) -> Option<f64> {
        value.as_f64()
    }
}

impl Kind for i64 {
    const EXPECTED: &'static str = "a whole number";
    fn of(value: &Value) -> Option<i64> {
        let whole = |value: &f64| value.fract() == 0.0 && value.abs() < 9e15;
        value.as_i64().or_else(|| Some(value.as_f64().filter(whole)? as i64))
    }
}

impl Kind for u64 {
    const EXPECTED: &'static str = "a whole number of at least 0";
    fn of(value: &Value) -> Option<u64> {
        u64::try_from(i64::of(value)?).ok()
    }
}

impl Kind for u32 {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295";
    fn of(value: &Value) -> Option<u32> {
        u32::try_from(i64::of(value)?).ok()
    }
}

impl Kind for bool {
    const EXPECTED: &'static str = "true or false";
    fn of(value: &Value) -> Option<bool> {
        value.as_bool()
    }
}

impl Kind for String {
    const EXPECTED: &'static str = "a text";
    fn of(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }
}

impl Kind for BTreeMap<String, String> {
    const EXPECTED: &'static str = "an object of texts";
    fn of(value: &Value) -> Option<Self> {
        let text =
            |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        value.as_object()?.iter().map(text).collect()
    }
}

impl Kind for Vec<Value> {
    const EXPECTED: &'static str = "a list";
    fn of(value: &Value) -> Option<Self> {
        value.as_array().cloned()
    }
}

impl Kind for Map<String, Value> {
    const EXPECTED: &'static str = "an object";
    fn of(value: &Value) -> Option<Self> {
        value.as_object().cloned()
    }
}

impl<'a> Record<'a> {
    /// The line, from 1.
    pub(super) fn line(&self) -> u64 {
        self.place.line
    }

    /// Whether it has such a field, `null` or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A field that must be there.
    pub(super) fn required<T: Kind>(&mut self, name: &'static str) -> Result<T, ReadError> {
        self.optional(name)?.ok_or_else(|| self.fault(name, "missing", T::EXPECTED))
    }

    /// A field that may be absent, or `null`, which is the same.
    pub(super) fn optional<T: Kind>(&mut self, name: &'static str) -> Result<Option<T>, ReadError> {
        self.known.push(name);
        match self.fields.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match T::of(&value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.fault(name, &shown(&value), T::EXPECTED)),
            },
        }
    }

    /// A field that must be one of some words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Result<T, ReadError> {
        let found: String = self.required(name)?;
        let word = words.iter().find(|(word, _)| *word == found);
        word.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let all: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.fault(name, &format!("{found:?}"), &format!("one of {}", all.join(", ")))
        })
    }

    /// An object within it that must be there.
    pub(super) fn within(&mut self, name: &'static str) -> Result<Record<'a>, ReadError> {
        let fields: Map<String, Value> = self.required(name)?;
        Ok(self.part(format!("{}{name}.", self.within), fields))
    }

    /// An object within it that may be absent, or `null`.
    pub(super) fn within_if_there(
        &mut self,
        name: &'static str,
    ) -> Result<Option<Record<'a>>, ReadError> {
        let fields: Option<Map<String, Value>> = self.optional(name)?;
        Ok(fields.map(|fields| self.part(format!("{}{name}.", self.within), fields)))
    }

    /// The texts of a list within it that must be there.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Vec<String>, ReadError> {
        let list: Vec<Value> = self.required(name)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let all = list.iter().map(text).collect::<Option<_>>();
        all.ok_or_else(|| self.fault(name, &shown(&Value::Array(list)), "a list of texts"))
    }

    /// The objects of a list within it, which may be absent.
    pub(super) fn each(&mut self, name: &'static str) -> Result<Vec<Record<'a>>, ReadError> {
        let list: Vec<Value> = self.optional(name)?.unwrap_or_default();
        let part = |(value, at): (Value, usize)| match value {
            Value::Object(fields) => Ok(self.part(format!("{}{name}[{at}].", self.within), fields)),
            other => Err(self.fault(&format!("{name}[{at}]"), &shown(&other), "an object")),
        };
        list.into_iter().zip(0..).map(part).collect()
    }

    /// Everything was asked for: what is left is unknown.
    pub(super) fn end(self) -> Result<(), ReadError> {
        let Some(field) = self.fields.keys().next() else { return Ok(()) };
        Err(ReadError::UnknownField {
            path: self.place.path.to_owned(),
            line: self.place.line,
            field: format!("{}{field}", self.within),
            nearest: tidegate_settings::nearest(field, self.known.iter().copied())
                .map(str::to_owned),
        })
    }

    fn part(&self, within: String, fields: Map<String, Value>) -> Record<'a> {
        Record { place: self.place, within, fields, known: Vec::new() }
    }

    /// Says that a field is not as it must be.
    pub(super) fn fault(&self, name: &str, found: &str, expected: &str) -> ReadError {
        ReadError::Field(Box::new(Fault {
            file: self.place.path.to_owned(),
            line: self.place.line,
            field: format!("{}{name}", self.within),
            found: found.to_owned(),
            expected: expected.to_owned(),
            nearest: None,
        }))
    }
}

/// A value as a message shows it.
pub(super) fn shown(value: &Value) -> String {
    let whole = value.to_string();
    match whole.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}
