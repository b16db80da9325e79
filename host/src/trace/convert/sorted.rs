//! Requests in order. A log is written when requests end, so one that took long stands behind others that arrived after it. What was
//! read waits until the newest arrival is a window later, and leaves in order; memory is what arrives within a window.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::record::Record;

/// More than this do not wait, however long the window: about 200 MB.
const WAITING: usize = 4 << 20;

/// The requests that wait.
pub(super) struct Window {
    length_us: i64,
    waiting: BinaryHeap<Reverse<Record>>,
    newest_us: i64,
    /// When the last one that left had arrived.
    left_us: i64,
}

impl Window {
    pub(super) fn new(length_us: u64) -> Window {
        let length_us = i64::try_from(length_us).unwrap_or(i64::MAX);
        Window { length_us, waiting: BinaryHeap::new(), newest_us: i64::MIN, left_us: i64::MIN }
    }

    /// Takes one in; if it comes too late, says by how many microseconds.
    pub(super) fn push(&mut self, record: Record) -> Result<(), u64> {
        if record.at_us < self.left_us {
            return Err(self.newest_us.abs_diff(record.at_us));
        }
        self.newest_us = self.newest_us.max(record.at_us);
        self.waiting.push(Reverse(record));
        Ok(())
    }

    /// The next one, if none that is still to come may be before it.
    pub(super) fn ready(&mut self) -> Option<Record> {
        let Reverse(first) = self.waiting.peek()?;
        let is_old = first.at_us < self.newest_us.saturating_sub(self.length_us);
        if is_old || self.waiting.len() > WAITING { self.pop() } else { None }
    }

    /// The next one, when nothing more is to come.
    pub(super) fn pop(&mut self) -> Option<Record> {
        let Reverse(record) = self.waiting.pop()?;
        self.left_us = record.at_us;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::Asked;
    use super::*;

    proptest! {
        #[test]
        fn what_is_late_by_no_more_than_the_window_leaves_in_order(
            gaps in prop::collection::vec((0i64..50, 0i64..=100), 1..200),
        ) {
            let mut window = Window::new(100);
            let (mut now, mut left, mut line) = (0, Vec::new(), 0);
            for (gap, late) in gaps {
                now += gap;
                line += 1;
                let record = Record { at_us: now - late, line, service: 0, asks: Asked::Unknown };
                prop_assert_eq!(window.push(record), Ok(()));
                while let Some(record) = window.ready() {
                    left.push(record);
                }
            }
            while let Some(record) = window.pop() {
                left.push(record);
            }
            prop_assert!(left.is_sorted());
            prop_assert_eq!(left.len() as u64, line);
        }
    }

    #[test]
    fn what_is_later_is_refused_with_how_late_it_is() {
        let mut window = Window::new(10);
        let mut push = |at_us| {
            let pushed = window.push(Record { at_us, line: 0, service: 0, asks: Asked::Unknown });
            while window.ready().is_some() {}
            pushed
        };
        assert_eq!([0, 20, 5, 31, 19].map(&mut push), [Ok(()), Ok(()), Ok(()), Ok(()), Err(12)]);
    }
}
