//! Times and durations of the whole program: whole milliseconds, handed in, never read from a clock.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A moment, in Unix milliseconds. Never steps back within a run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The first moment of all; an engine that has not run yet wakes here.
    pub const ZERO: Time = Time(0);
    /// Later than any other: never.
    pub const NEVER: Time = Time(u64::MAX);
    /// Where a trace without a start of its own begins: Monday 2024-01-01T00:00Z.
    pub const TRACE_START: Time = Time(1_704_067_200_000);

    /// A moment as people write it: RFC 3339, a day, or a day with a time, in UTC where no offset is given; 1970 or later.
    pub fn of_calendar(text: &str) -> Option<Time> {
        let zoned = text.parse::<jiff::Timestamp>();
        let civil = || {
            let moment = text.parse::<jiff::civil::DateTime>()?;
            jiff::tz::TimeZone::UTC.to_timestamp(moment)
        };
        let at = zoned.or_else(|_| civil()).ok()?;
        u64::try_from(at.as_millisecond()).ok().map(Time)
    }

    /// Whole seconds since 1970, the index of a one-second bucket.
    pub fn second(self) -> u64 {
        self.0 / 1_000
    }

    /// Milliseconds from `earlier` to here; 0 if it is not earlier.
    pub fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Time {
    type Output = Time;

    /// So many milliseconds later; [`Time::NEVER`] stays never.
    fn add(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }
}

impl Sub<u64> for Time {
    type Output = Time;

    /// So many milliseconds earlier, 1970 at the earliest.
    fn sub(self, ms: u64) -> Time {
        Time(self.0.saturating_sub(ms))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
