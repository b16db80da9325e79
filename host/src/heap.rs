//! The least of a changing set, by small indices: each index has at most one key, which may change or go at any time. It knows
//! nothing of what the keys mean. The gateway keeps replicas by load in one, the simulator what happens next.

/// Indices by key, least first. Every operation takes logarithmic time and none allocates, once the set has been as large.
#[derive(Clone, Debug)]
pub(crate) struct IndexedHeap<K> {
    /// A binary heap by key.
    entries: Vec<(K, u32)>,
    /// Where each index stands in `entries`; [`ABSENT`] where it has no key.
    positions: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

impl<K: Ord + Copy> IndexedHeap<K> {
    pub(crate) fn new() -> IndexedHeap<K> {
        IndexedHeap { entries: Vec::new(), positions: Vec::new() }
    }

    /// The least key and its index. Equal keys come in no particular order: whoever cares makes them differ.
    pub(crate) fn least(&self) -> Option<(K, u32)> {
        self.entries.first().copied()
    }

    /// Gives `index` a key, or another one.
    pub(crate) fn set(&mut self, index: u32, key: K) {
        if self.positions.len() <= index as usize {
            self.positions.resize(index as usize + 1, ABSENT);
        }
        let at = self.positions[index as usize];
        if at == ABSENT {
            self.entries.push((key, index));
            self.rise(self.entries.len() - 1, (key, index));
        } else {
            self.settle(at as usize, (key, index));
        }
    }

    /// Takes the key of `index` away, if it has one.
    pub(crate) fn remove(&mut self, index: u32) {
        let Some(at) = self.positions.get_mut(index as usize) else { return };
        let at = std::mem::replace(at, ABSENT);
        if at == ABSENT {
            return;
        }
        let last = self.entries.pop().expect("the index is in here");
        if last.1 != index {
            self.settle(at as usize, last);
        }
    }

    /// Puts `entry` into the free place at `at` or wherever it belongs from there.
    fn settle(&mut self, at: usize, entry: (K, u32)) {
        if at > 0 && entry.0 < self.entries[(at - 1) / 2].0 {
            self.rise(at, entry);
        } else {
            self.sink(at, entry);
        }
    }

    fn rise(&mut self, mut at: usize, entry: (K, u32)) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.entries[parent].0 <= entry.0 {
                break;
            }
            self.put(at, self.entries[parent]);
            at = parent;
        }
        self.put(at, entry);
    }

    fn sink(&mut self, mut at: usize, entry: (K, u32)) {
        loop {
            let mut child = 2 * at + 1;
            if child >= self.entries.len() {
                break;
            }
            if child + 1 < self.entries.len() && self.entries[child + 1].0 < self.entries[child].0 {
                child += 1;
            }
            if entry.0 <= self.entries[child].0 {
                break;
            }
            self.put(at, self.entries[child]);
            at = child;
        }
        self.put(at, entry);
    }

    fn put(&mut self, at: usize, entry: (K, u32)) {
        self.entries[at] = entry;
        self.positions[entry.1 as usize] = at as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_least_is_that_of_a_plain_search(
            steps in prop::collection::vec((0u32..12, prop::option::of(0u32..30)), 1..200),
        ) {
            let mut heap = IndexedHeap::new();
            let mut plain = BTreeMap::new();
            for (index, key) in steps {
                match key {
                    Some(key) => {
                        heap.set(index, (key, index));
                        plain.insert(index, key);
                    }
                    None => {
                        heap.remove(index);
                        plain.remove(&index);
                    }
                }
                let least = plain.iter().map(|(index, key)| ((*key, *index), *index)).min();
                prop_assert_eq!(heap.least(), least);
            }
        }
    }
}
