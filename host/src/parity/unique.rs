//! JSON in which a key may stand once: of two, a reader would have to leave one out, and nobody would hear of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A text as JSON, and the path of the first key that is there twice.
pub(super) fn parse(text: &str) -> Result<(Value, Option<String>), serde_json::Error> {
    let mut twice = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let part = Part { path: String::new(), twice: &mut twice };
    let value = part.deserialize(&mut reader)?;
    reader.end()?;
    Ok((value, twice))
}

/// A value that is about to be read.
struct Part<'a> {
    path: String,
    twice: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        // A zero has no sign: no policy is to tell two apart.
        let number = serde_json::Number::from_f64(number + 0.0);
        number.map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            let part = Part { path, twice: &mut *self.twice };
            match seq.next_element_seed(part)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = match self.path.as_str() {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            if fields.contains_key(&key) {
                self.twice.get_or_insert_with(|| path.clone());
            }
            let value = map.next_value_seed(Part { path, twice: &mut *self.twice })?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_twice_is_told_by_its_path() {
        let cases = [
            (r#"{"a": 1, "b": [{"c": 1.5}, {"c": null}]}"#, None),
            (r#"{"a": 1, "a": 1}"#, Some("a")),
            (r#"{"a": 1, "b": [{}, {"c": 1, "c": 2}], "a": 2}"#, Some("b[1].c")),
            (r#"{"a": {"b": 1, "\u0062": 2}}"#, Some("a.b")),
        ];
        for (text, twice) in cases {
            let (value, found) = parse(text).expect("it is JSON");
            assert_eq!(found.as_deref(), twice, "{text}");
            let plain: Value = serde_json::from_str(text).expect("it is JSON");
            assert_eq!(value, plain, "{text}");
        }
        assert!(parse("{} {}").is_err() && parse("[1,").is_err());
        assert_eq!(parse("-0.0").expect("it is JSON").0.to_string(), "0.0");
    }
}
