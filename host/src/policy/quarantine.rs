//! When a policy is left alone: after five failures in a row, for a time that doubles from 1 s to 5 min with each further one.
//! Pure: times are passed in.

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Failures in a row after which a policy is put aside.
pub const FAILURES_IN_A_ROW: u32 = 5;
const FIRST_MS: u64 = 1_000;
const LONGEST_MS: u64 = 300_000;

/// The record of one policy's failures, for one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quarantine {
    failures: u32,
    /// When it last failed; being asked twice at one moment is failing once.
    failed_at: Option<Time>,
    until: Option<Time>,
}

impl Quarantine {
    /// It failed once more. Gives until when it is put aside, if it is.
    pub fn failed(&mut self, now: Time) -> Option<Time> {
        if self.failed_at == Some(now) {
            return self.until;
        }
        self.failed_at = Some(now);
        self.failures = self.failures.saturating_add(1);
        self.until = self
            .failures
            .checked_sub(FAILURES_IN_A_ROW)
            .map(|more| now + (FIRST_MS << more.min(20)).min(LONGEST_MS));
        self.until
    }

    /// It answered: all is forgotten.
    pub fn succeeded(&mut self) {
        *self = Quarantine::default();
    }

    /// Until when it is put aside, if it is at `now`.
    pub fn until(&self, now: Time) -> Option<Time> {
        self.until.filter(|&until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_put_a_policy_aside_for_longer_each_time() {
        let mut quarantine = Quarantine::default();
        let mut now = Time(0);
        let mut waits = Vec::new();
        for _ in 0..15 {
            let until = quarantine.failed(now);
            assert_eq!(quarantine.failed(now), until, "twice at one moment is once");
            waits.push(until.map_or(0, |until| until.since(now)) / 1_000);
            assert_eq!(quarantine.until(now), until);
            now = until.unwrap_or(now + 1);
            assert_eq!(quarantine.until(now), None, "asked again when the time is over");
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        quarantine.succeeded();
        assert_eq!(quarantine.failed(now), None);
    }
}
