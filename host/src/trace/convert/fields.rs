//! Which field of a record means what.

use std::borrow::Cow;

use serde_json::Value;

use super::ConvertError;
use super::time::Unit;

const KEYS: [&str; 6] = ["time", "end", "duration", "service", "prompt", "output"];

/// A field of a record, by its name or, in JSON, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub(super) path: String,
    pub(super) unit: Option<Unit>,
}

impl Field {
    pub(super) fn named(path: &str) -> Field {
        Field { path: path.to_owned(), unit: None }
    }

    pub(super) fn of(path: &str, unit: Unit) -> Field {
        Field { path: path.to_owned(), unit: Some(unit) }
    }
}

/// Which field of a record means what; what is absent is not recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldMap {
    /// When the request arrived.
    pub time: Option<Field>,
    /// When it was done with, from which its duration leads back to its arrival.
    pub end: Option<Field>,
    /// How long it took.
    pub duration: Option<Field>,
    /// Whose it is.
    pub service: Option<Field>,
    /// Tokens of the request.
    pub prompt: Option<Field>,
    /// Tokens of the answer.
    pub output: Option<Field>,
}

impl FieldMap {
    /// Takes in `KEY=FIELD` or `KEY=FIELD:UNIT`.
    ///
    /// # Errors
    /// When it is neither, or the key is unknown.
    pub fn set(&mut self, text: &str) -> Result<(), ConvertError> {
        let wrong = |why: String| ConvertError::Field { text: text.to_owned(), why };
        let Some((key, path)) = text.split_once('=') else {
            return Err(wrong(format!(
                "expected one of {} and a field, as time=ts",
                KEYS.join(", ")
            )));
        };
        let (path, unit) = match path.rsplit_once(':').map(|(path, unit)| (path, Unit::named(unit)))
        {
            Some((path, Some(unit))) => (path, Some(unit)),
            Some((_, None)) | None => (path, None),
        };
        if path.is_empty() {
            return Err(wrong("the field has no name".to_owned()));
        }
        let slot = match key {
            "time" => &mut self.time,
            "end" => &mut self.end,
            "duration" => &mut self.duration,
            "service" => &mut self.service,
            "prompt" => &mut self.prompt,
            "output" => &mut self.output,
            _ => {
                return Err(wrong(match tidegate_settings::nearest(key, KEYS) {
                    Some(nearest) => format!("`{key}` is unknown, did you mean {nearest}?"),
                    None => format!("`{key}` is unknown, expected one of {}", KEYS.join(", ")),
                }));
            }
        };
        *slot = Some(Field { path: path.to_owned(), unit });
        Ok(())
    }

    /// This, and what `other` has beside it.
    pub(super) fn or(self, other: FieldMap) -> FieldMap {
        FieldMap {
            // A time of either kind says when, so one that is asked for replaces both.
            end: self.end.or(if self.time.is_none() { other.end } else { None }),
            time: self.time.or(other.time),
            duration: self.duration.or(other.duration),
            service: self.service.or(other.service),
            prompt: self.prompt.or(other.prompt),
            output: self.output.or(other.output),
        }
    }

    pub(super) fn has_time(&self) -> bool {
        self.time.is_some() || self.end.is_some()
    }

    pub(super) fn has_tokens(&self) -> bool {
        self.prompt.is_some() || self.output.is_some()
    }

    /// The texts of one record, each found by `get`.
    pub(super) fn texts<'a>(&self, get: impl Fn(&Field) -> Option<Cow<'a, str>>) -> Texts<'a> {
        let get = |field: &Option<Field>| field.as_ref().and_then(&get);
        Texts {
            time: get(&self.time),
            end: get(&self.end),
            duration: get(&self.duration),
            service: get(&self.service),
            prompt: get(&self.prompt),
            output: get(&self.output),
        }
    }
}

/// What stands in the fields of one record.
#[derive(Debug, Default)]
pub(super) struct Texts<'a> {
    pub(super) time: Option<Cow<'a, str>>,
    pub(super) end: Option<Cow<'a, str>>,
    pub(super) duration: Option<Cow<'a, str>>,
    pub(super) service: Option<Cow<'a, str>>,
    pub(super) prompt: Option<Cow<'a, str>>,
    pub(super) output: Option<Cow<'a, str>>,
}

/// A value in a document: by its name, or by a path of names with dots between. A name may have dots of its own.
pub(super) fn at_path<'a>(value: &'a Value, path: &str) -> Option<Cow<'a, str>> {
    let object = value.as_object()?;
    if let Some(found) = object.get(path) {
        return match found {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
    }
    path.match_indices('.')
        .find_map(|(dot, _)| at_path(object.get(&path[..dot])?, &path[dot + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_into_documents_and_names_may_have_dots() {
        let document = serde_json::json!({
            "request": { "host": "a", "size": 12 }, "http.host": "b", "k8s.io": { "pod": { "name": "c" } }
        });
        for (path, expected) in [
            ("request.host", Some("a")),
            ("request.size", Some("12")),
            ("http.host", Some("b")),
            ("k8s.io.pod.name", Some("c")),
            ("request", None),
            ("request.hosts", None),
        ] {
            assert_eq!(at_path(&document, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_map_is_read_from_words() {
        let mut map = FieldMap::default();
        map.set("time=ts:ms").unwrap();
        map.set("service=request.host:8080").unwrap();
        assert_eq!(map.time, Some(Field::of("ts", Unit::Milliseconds)));
        assert_eq!(map.service, Some(Field::named("request.host:8080")));
        for (text, expected) in [
            (
                "ts",
                "--field ts: expected one of time, end, duration, service, prompt, output and a field, as time=ts",
            ),
            ("tim=ts", "--field tim=ts: `tim` is unknown, did you mean time?"),
            ("time=", "--field time=: the field has no name"),
        ] {
            assert_eq!(map.set(text).unwrap_err().to_string(), expected);
        }
    }
}
