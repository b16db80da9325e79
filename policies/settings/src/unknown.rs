//! Keys that nobody knows, and the known one that each resembles most.

use std::collections::BTreeMap;

use crate::keys::{Key, PREFIX};

/// A key that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key.
    pub key: String,
    /// The known one that it resembles most, if one does.
    pub nearest: Option<String>,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no such setting: {}", self.key)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// The keys of a ConfigMap that mean nothing. Those that begin with `_`, as `_example`, are comments.
pub fn unknown_keys(config: &BTreeMap<String, String>) -> Vec<Warning> {
    let known: Vec<String> =
        Key::ALL.iter().filter_map(|key| Some(key.setting().cluster?.name.to_owned())).collect();
    unknown(config.keys().filter(|key| !key.starts_with('_')), &known)
}

/// The annotations of the autoscaler that mean nothing.
pub fn unknown_annotations(annotations: &BTreeMap<String, String>) -> Vec<Warning> {
    let mut known = Vec::new();
    for annotation in Key::ALL.iter().filter_map(|key| key.setting().annotation) {
        known.push(format!("{PREFIX}{}", annotation.name));
        known.extend(annotation.old.map(|old| format!("{PREFIX}{old}")));
    }
    unknown(annotations.keys().filter(|key| key.starts_with(PREFIX)), &known)
}

fn unknown<'a>(keys: impl Iterator<Item = &'a String>, known: &[String]) -> Vec<Warning> {
    keys.filter(|key| !known.contains(key))
        .map(|key| Warning {
            key: key.clone(),
            nearest: nearest(key, known.iter().map(String::as_str)).map(str::to_owned),
        })
        .collect()
}

/// The known word that `word` resembles most, if one does: further away than a third of it, it is another word. The autoscaler's
/// prefix, if it has that, counts for nothing.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (distance(word, known), known))
        .min()
        .filter(|(distance, known)| distance * 3 <= known.len() - prefix_len(known))
        .map(|(_, known)| known)
}

fn prefix_len(key: &str) -> usize {
    if key.starts_with(PREFIX) { PREFIX.len() } else { 0 }
}

/// How many letters must be put in, taken out, changed or swapped with the next to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let changed = above[j] + usize::from(a[i] != b[j]);
            let mut least = changed.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_is_near_and_another_word_is_not() {
        for (word, expected) in [
            ("model", Some("model")),
            ("modle", Some("model")),
            ("mode", Some("model")),
            ("minReplica", Some("minReplicas")),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, ["model", "minReplicas"]), expected, "{word}");
        }
        assert_eq!(nearest("model", []), None);
    }
}
