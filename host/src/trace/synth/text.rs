//! Shapes as one line of text: `constant:2+bursts:height=40,period=10m,width=30s`. Nothing in it needs quotes in a shell.
//!
//! The fields are those of the description in YAML, read by the same rules, so that there is one list of them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Part, Span, SynthError};

const NAMES: [&str; 8] =
    ["constant", "steps", "ramp", "sinus", "bursts", "flash", "diurnal", "on-off"];

/// Rates that are read of a shape to tell about how many requests it has.
const READINGS: u32 = 1_000;

/// How many requests per second there are, as a function of time: the sum of some parts.
///
/// Written as text, or in YAML also as a part, or as a list of texts and parts.
///
/// ```
/// # use tidegate::trace::synth::Shape;
/// let shape: Shape = "constant:2+bursts:height=40,period=10m,width=30s".parse().unwrap();
/// assert_eq!(shape.rate_at(0), 42.0);
/// assert_eq!(shape.rate_at(60_000_000), 2.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Invariant: at least one, each checked.
    parts: Vec<Part>,
}

impl Shape {
    /// The sum of these.
    ///
    /// # Errors
    /// When there is none, or when one has a value that it cannot have.
    pub fn of(parts: Vec<Part>) -> Result<Shape, SynthError> {
        if parts.is_empty() {
            return Err(SynthError::NoParts);
        }
        parts.iter().try_for_each(Part::check)?;
        Ok(Shape { parts })
    }

    /// What it is the sum of.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The rate so many microseconds after the load's start. Requests per second.
    pub fn rate_at(&self, at_us: u64) -> f64 {
        self.parts.iter().map(|part| part.rate_at(at_us)).sum()
    }

    /// About how many requests there are in the first `length`: the mean of rates that are read at even distances.
    pub(super) fn requests_in(&self, length: Span) -> f64 {
        let step_us = length.us() as f64 / f64::from(READINGS);
        let rates =
            (0..READINGS).map(|nth| self.rate_at(((f64::from(nth) + 0.5) * step_us) as u64));
        rates.sum::<f64>() / f64::from(READINGS) * length.seconds()
    }
}

impl FromStr for Shape {
    type Err = SynthError;

    fn from_str(text: &str) -> Result<Shape, SynthError> {
        Shape::of(text.split('+').map(part).collect::<Result<_, _>>()?)
    }
}

fn part(text: &str) -> Result<Part, SynthError> {
    let text = text.trim();
    let (name, fields) = text.split_once(':').unwrap_or((text, ""));
    let name = name.trim();
    if !NAMES.contains(&name) {
        let expected = match tidegate_settings::nearest(name, NAMES) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("expected {}", NAMES.join(", ")),
        };
        return Err(SynthError::UnknownShape { found: name.to_owned(), expected });
    }
    let mut map = Map::new();
    for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.trim(), value.trim()),
            // The only field that there is needs no name.
            None if name == "constant" => ("rate", field),
            None => {
                return Err(SynthError::NoValue { part: name.to_owned(), found: field.to_owned() });
            }
        };
        let number = value.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
        let value = match value {
            "0" => Value::from(0),
            text => number.map_or_else(|| Value::from(text), Value::Number),
        };
        if map.insert(key.to_owned(), value).is_some() {
            return Err(SynthError::Twice { part: name.to_owned(), field: key.to_owned() });
        }
    }
    let document = Value::Object(Map::from_iter([(name.to_owned(), Value::Object(map))]));
    serde_json::from_value(document)
        .map_err(|error| SynthError::Fields { part: name.to_owned(), why: error.to_string() })
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str("+")?;
            }
            if let Part::Constant { rate } = part {
                write!(f, "constant:{rate}")?;
                continue;
            }
            f.write_str(part.name())?;
            let document = serde_json::to_value(part).map_err(|_| fmt::Error)?;
            let fields = document.get(part.name()).and_then(Value::as_object);
            for (index, (key, value)) in fields.into_iter().flatten().enumerate() {
                f.write_str(if index == 0 { ":" } else { "," })?;
                match (value.as_f64(), value.as_str()) {
                    (Some(number), _) => write!(f, "{key}={number}")?,
                    (None, text) => write!(f, "{key}={}", text.unwrap_or_default())?,
                }
            }
        }
        Ok(())
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Shape, D::Error> {
        struct Shapes;
        impl<'de> Visitor<'de> for Shapes {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a shape such as `constant:2`, or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Shape, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Shape, A::Error> {
                let part = Part::deserialize(MapAccessDeserializer::new(map))?;
                Shape::of(vec![part]).map_err(A::Error::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
                let mut parts = Vec::new();
                while let Some(shape) = list.next_element::<Shape>()? {
                    parts.extend(shape.parts);
                }
                Shape::of(parts).map_err(A::Error::custom)
            }
        }
        from.deserialize_any(Shapes)
    }
}

impl JsonSchema for Shape {
    fn schema_name() -> Cow<'static, str> {
        "Shape".into()
    }

    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        let part = schemas.subschema_for::<Part>();
        let text = schemars::json_schema!({
            "type": "string",
            "description": "Parts joined by +, as constant:2+bursts:height=40,period=10m,width=30s."
        });
        schemars::json_schema!({
            "description": "How many requests per second there are, as a function of time.",
            "anyOf": [text, part, { "type": "array", "minItems": 1, "items": { "anyOf": [text, part] } }]
        })
    }
}
