//! The last minutes of a service: a value a second.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// How far series go back. Seconds.
pub const SERIES_S: usize = 600;

/// A value a second for each of four things; all lists are of one length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// The second of the last values. Unix seconds.
    pub ends_s: u64,
    /// Replicas that the plan wants.
    pub desired: VecDeque<u32>,
    /// Replicas that take requests.
    pub ready: VecDeque<u32>,
    /// Requests that wait.
    pub waiting: VecDeque<u32>,
    /// Requests at a replica.
    pub in_flight: VecDeque<u32>,
}

impl Series {
    /// Takes in how things are: `desired`, `ready`, `waiting`, `in_flight`. Within one second the last counts; seconds without a
    /// word were as the one before.
    pub(super) fn push(&mut self, at: Time, values: [u32; 4]) {
        let second = at.second();
        let missed = if self.desired.is_empty() { 1 } else { second.saturating_sub(self.ends_s) };
        self.ends_s = self.ends_s.max(second);
        let lists = [&mut self.desired, &mut self.ready, &mut self.waiting, &mut self.in_flight];
        for (list, value) in lists.into_iter().zip(values) {
            let before = list.back().copied().unwrap_or(value);
            if missed == 0 {
                list.pop_back();
            }
            for _ in 1..missed.min(SERIES_S as u64) {
                list.push_back(before);
            }
            list.push_back(value);
            while list.len() > SERIES_S {
                list.pop_front();
            }
        }
    }

    /// The last values alone.
    pub(super) fn last(&self) -> Series {
        let last = |list: &VecDeque<u32>| list.back().copied().into_iter().collect();
        Series {
            ends_s: self.ends_s,
            desired: last(&self.desired),
            ready: last(&self.ready),
            waiting: last(&self.waiting),
            in_flight: last(&self.in_flight),
        }
    }
}
