//! Days and hours of a week in Unix milliseconds: a policy has no clock and no calendar.

use serde::{Deserialize, Serialize};
use tidegate_policy::Faults;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// When the office is open: local time.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Hours {
    /// The hour at which it opens, 0 to 23.
    pub from: u32,
    /// The hour at which it closes, above `from`, at most 24.
    pub to: u32,
    /// On these days of the week.
    pub days: Vec<Day>,
    /// How far local time is ahead of UTC, −14 to 14. Hours; 5.5 is five and a half.
    pub utc_offset: f64,
}

impl Default for Hours {
    /// Monday to Friday, 8 to 18, UTC.
    fn default() -> Hours {
        let days = vec![Day::Monday, Day::Tuesday, Day::Wednesday, Day::Thursday, Day::Friday];
        Hours { from: 8, to: 18, days, utc_offset: 0.0 }
    }
}

/// A day of the week, by its English name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// A week as days go by since 1970-01-01, which was a Thursday.
const WEEK: [Day; 7] = [
    Day::Thursday,
    Day::Friday,
    Day::Saturday,
    Day::Sunday,
    Day::Monday,
    Day::Tuesday,
    Day::Wednesday,
];

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Whether the office is open.
    pub is_open: bool,
    /// Until when that stays so, at least. Unix milliseconds; `u64::MAX`: for ever.
    pub until_ms: u64,
}

impl Hours {
    /// Tells what is wrong with them.
    pub fn check(&self, faults: &mut Faults) {
        if self.to > 24 {
            faults.push("settings.hours.to", format!("found {}, expected at most 24", self.to));
        } else if self.from >= self.to {
            let (from, to) = (self.from, self.to);
            faults
                .push("settings.hours.from", format!("found {from}, expected an hour before {to}"));
        }
        if self.days.is_empty() {
            faults.push("settings.hours.days", "found an empty list, expected days as monday");
        }
        if !(-14.0..=14.0).contains(&self.utc_offset) {
            let found = self.utc_offset;
            faults.push(
                "settings.hours.utcOffset",
                format!("found {found}, expected -14 to 14 hours"),
            );
        }
    }

    /// Whether the office is open then, and until when that stays so.
    pub fn at(&self, at_ms: u64) -> Moment {
        let offset_ms = (self.utc_offset * HOUR_MS as f64) as i64;
        let Some(local_ms) =
            i64::try_from(at_ms).ok().and_then(|at_ms| at_ms.checked_add(offset_ms))
        else {
            return Moment { is_open: false, until_ms: u64::MAX };
        };
        let (today, in_day_ms) = (local_ms.div_euclid(DAY_MS), local_ms.rem_euclid(DAY_MS));
        let (from_ms, to_ms) = (i64::from(self.from) * HOUR_MS, i64::from(self.to) * HOUR_MS);
        let is_working = |day: i64| self.days.contains(&WEEK[day.rem_euclid(7) as usize]);
        let in_unix = |day: i64, in_day_ms: i64| {
            day.checked_mul(DAY_MS)
                .and_then(|ms| ms.checked_add(in_day_ms - offset_ms))
                .and_then(|ms| u64::try_from(ms).ok())
                .unwrap_or(u64::MAX)
        };
        if is_working(today) && (from_ms..to_ms).contains(&in_day_ms) {
            return Moment { is_open: true, until_ms: in_unix(today, to_ms) };
        }
        let first = if in_day_ms < from_ms { today } else { today + 1 };
        let opens = (first..first + 7).find(|day| is_working(*day));
        Moment { is_open: false, until_ms: opens.map_or(u64::MAX, |day| in_unix(day, from_ms)) }
    }
}
