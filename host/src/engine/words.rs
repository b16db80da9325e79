//! Texts that cross to policies as positions in a list: each text once, in order of first use.

use std::collections::BTreeMap;

/// A list of distinct texts.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    list: Vec<String>,
    positions: BTreeMap<String, u32>,
}

impl Words {
    /// The position of `text`, which is added if it is new.
    pub(super) fn intern(&mut self, text: &str) -> u32 {
        if let Some(&position) = self.positions.get(text) {
            return position;
        }
        let position = self.list.len() as u32;
        self.list.push(text.to_owned());
        self.positions.insert(text.to_owned(), position);
        position
    }

    /// The position of `text` as an input; NaN where it was never interned.
    pub(super) fn position(&self, text: &str) -> f64 {
        self.positions.get(text).map_or(f64::NAN, |&position| f64::from(position))
    }

    /// The texts in order.
    pub(super) fn list(&self) -> &[String] {
        &self.list
    }
}
