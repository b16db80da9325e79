//! A YAML file as a tree whose every part knows its line, so that a fault can be told where it stands.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::fault::DefinitionError;
use super::field::Notes;

/// A part of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    pub(super) line: u64,
    pub(super) value: Value,
}

/// What stands there. Numbers and flags keep the text as it was written: `13.0` stays `13.0`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Flag(bool, String),
    Number(serde_json::Number, String),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<Entry>),
}

/// A key and what it has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u64,
    pub(super) tree: Tree,
}

/// The documents of a file, empty ones left out, and those of a list (what `kubectl get -o yaml` prints) one by one. Of a key that is
/// there twice the first counts; that it is, is noted as a fault, and whoever reads the file goes on to the others.
pub(super) fn parse<'f>(
    text: &str,
    file: &'f str,
) -> Result<(Vec<Tree>, Notes<'f>), DefinitionError> {
    // Kubernetes' readers know `yes` and `on` as flags; here they are words, so that no label turns into one unnoticed.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
    };
    let documents: Vec<Spanned<Raw>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| {
            let at = error.location().map(|at| (at.line(), at.column()));
            DefinitionError::Syntax { path: file.to_owned(), message: error.to_string(), at }
        })?;
    let mut reader = Reader { text, notes: Notes::new(file) };
    let trees: Vec<Tree> = documents.into_iter().map(|raw| reader.tree(raw, "")).collect();
    Ok((trees.into_iter().flat_map(documents_of).collect(), reader.notes))
}

/// The path of what stands at a key.
pub(super) fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What a document stands for: itself, or the items of a list.
fn documents_of(mut document: Tree) -> Vec<Tree> {
    if let Value::Map(entries) = &mut document.value
        && entries.iter().any(|entry| {
            entry.key == "kind" && entry.tree.scalar().is_some_and(|kind| kind.ends_with("List"))
        })
        && let Some(items) = entries.iter_mut().find(|entry| entry.key == "items")
        && let Value::List(items) = &mut items.tree.value
        && !items.is_empty()
    {
        return std::mem::take(items);
    }
    vec![document]
}

impl Tree {
    /// The line of what stands at a path of keys and positions, such as `scaling.1.settings.minimum`; of as much of the path as
    /// there is, where there is less.
    pub(super) fn line_at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> u64 {
        let (mut tree, mut line) = (self, self.line);
        for part in path {
            let next = match &tree.value {
                Value::Map(entries) => entries
                    .iter()
                    .find(|entry| entry.key == part)
                    .map(|entry| (&entry.tree, entry.line)),
                Value::List(items) => part
                    .parse::<usize>()
                    .ok()
                    .and_then(|position| items.get(position))
                    .map(|item| (item, item.line)),
                Value::Null | Value::Flag(..) | Value::Number(..) | Value::Text(_) => None,
            };
            let Some(next) = next else { break };
            (tree, line) = next;
        }
        line
    }

    /// As JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Flag(flag, _) => (*flag).into(),
            Value::Number(number, _) => number.clone().into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(list) => list.iter().map(Tree::json).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.tree.json())).collect(),
            ),
        }
    }

    /// For people: a scalar as it was written, texts in quotes; else what it is.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Value::Null => "empty".to_owned(),
            Value::Flag(_, text) | Value::Number(_, text) => text.clone(),
            Value::Text(text) if text.chars().count() > 60 || text.contains('\n') => {
                "a long text".to_owned()
            }
            Value::Text(text) => format!("{text:?}"),
            Value::List(list) if list.is_empty() => "an empty list".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// The text of a scalar, as it was written.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Flag(_, text) | Value::Number(_, text) | Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }
}

enum Raw {
    Null,
    Flag(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

struct Reader<'t, 'f> {
    text: &'t str,
    notes: Notes<'f>,
}

impl Reader<'_, '_> {
    fn tree(&mut self, raw: Spanned<Raw>, path: &str) -> Tree {
        let written =
            |otherwise: String| slice(raw.defined, self.text).map_or(otherwise, str::to_owned);
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Flag(flag) => Value::Flag(flag, written(flag.to_string())),
            Raw::Number(number) => Value::Number(number.clone(), written(number.to_string())),
            Raw::Text(text) => Value::Text(text),
            Raw::List(list) => {
                let items = list.into_iter().enumerate();
                Value::List(
                    items.map(|(nth, raw)| self.tree(raw, &format!("{path}[{nth}]"))).collect(),
                )
            }
            Raw::Map(entries) => Value::Map(self.entries(entries, path)),
        };
        Tree { line: raw.referenced.line(), value }
    }

    fn entries(&mut self, entries: Vec<(Spanned<String>, Spanned<Raw>)>, path: &str) -> Vec<Entry> {
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        let mut kept = Vec::with_capacity(entries.len());
        for (key, raw) in entries {
            let line = key.referenced.line();
            let below = joined(path, &key.value);
            if let Some(first) = lines.get(&key.value) {
                let found = format!("there again, after line {first}");
                self.notes.fault(line, &below, found, "each key once");
                continue;
            }
            lines.insert(key.value.clone(), line);
            kept.push(Entry { line, tree: self.tree(raw, &below), key: key.value });
        }
        kept
    }
}

/// The text that stands at a place of the file.
fn slice(at: Location, text: &str) -> Option<&str> {
    let start = usize::try_from(at.span().byte_offset()?).ok()?;
    let length = usize::try_from(at.span().byte_len()?).ok()?;
    let written = text.get(start..start.checked_add(length)?)?.trim();
    (!written.is_empty()).then_some(written)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Raw, E> {
        Ok(Raw::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Raw, E> {
        let as_text = || Raw::Text(number.to_string());
        // A zero has no sign: no policy is to tell two apart.
        let number = number + 0.0;
        Ok(serde_json::Number::from_f64(number).map_or_else(as_text, Raw::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_knows_its_line_and_numbers_keep_their_spelling() {
        let documents = parse(
            "a: 13.0\nb:\n  - {c: 0x10, d: yes}\n  - null\n---\n---\n\"e\": |\n  x\n  y\n",
            "f.yaml",
        )
        .expect("it is in order")
        .0;
        let shown: Vec<_> = documents.iter().map(|tree| tree.json().to_string()).collect();
        assert_eq!(shown, [r#"{"a":13.0,"b":[{"c":16,"d":"yes"},null]}"#, r#"{"e":"x\ny\n"}"#]);
        let Value::Map(entries) = &documents[0].value else { panic!("it is a map") };
        assert_eq!((entries[0].tree.scalar(), entries[0].line), (Some("13.0"), 1));
        let Value::List(list) = &entries[1].tree.value else { panic!("it is a list") };
        let Value::Map(entries) = &list[0].value else { panic!("it is a map") };
        assert_eq!((entries[0].tree.shown(), entries[1].line), ("0x10".to_owned(), 3));
        assert_eq!((documents[1].line, list[1].line), (7, 4));
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_place() {
        let error = parse("a: [1\nb: 2\n", "f.yaml").expect_err("a bracket is missing");
        let error = error.to_string();
        assert!(error.starts_with("f.yaml: ") && error.contains("line"), "{error}");
    }

    #[test]
    fn a_key_that_is_there_twice_is_a_fault_and_its_first_value_counts() {
        let text = "a: 1\nb:\n- {c: 1, d: 2, c: 3}\na: 2\n";
        let (documents, notes) = parse(text, "f.yaml").expect("it is YAML");
        assert_eq!(documents[0].json().to_string(), r#"{"a":1,"b":[{"c":1,"d":2}]}"#);
        let told = notes.or(()).expect_err("keys are there twice").to_string();
        insta::assert_snapshot!(told, @r"
        f.yaml:3: b[0].c is there again, after line 3, expected each key once
        f.yaml:4: a is there again, after line 1, expected each key once
        ");
    }

    #[test]
    fn the_items_of_a_list_are_documents() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n---\nkind: List\nitems: []\n";
        let (documents, _) = parse(text, "f.yaml").expect("it is in order");
        let shown: Vec<_> = documents.iter().map(|tree| (tree.line, tree.json())).collect();
        assert_eq!(
            shown,
            [
                (4, serde_json::json!({"kind": "A"})),
                (5, serde_json::json!({"kind": "B"})),
                (7, serde_json::json!({"kind": "List", "items": []})),
            ]
        );
    }

    #[test]
    fn a_zero_has_no_sign() {
        let (documents, _) = parse("a: -0.0\n", "f.yaml").expect("it is in order");
        assert_eq!(documents[0].json().to_string(), r#"{"a":0.0}"#);
    }
}
