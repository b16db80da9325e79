//! What a setting may be: one value that both checks it and tells people about it, so that the two cannot part.

use crate::duration::{NANOS_PER_SECOND, shown_duration};
use crate::keys::Kind;
use crate::reason::Reason;

/// What a setting may be, beside being written as its [`Kind`] has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Whatever can be read.
    Any,
    /// Numbers; durations as nanoseconds.
    Numbers(Numbers),
    /// Words.
    Words {
        /// Those that people are told.
        listed: &'static [&'static str],
        /// Those that are taken too.
        also: &'static [&'static str],
    },
}

/// Numbers from a least to a greatest one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    least: f64,
    /// Whether the least is the first that is not allowed.
    is_open: bool,
    most: Option<f64>,
    /// One number outside that is allowed all the same.
    or: Option<f64>,
    step: Step,
    /// What else there is to know, for people.
    note: &'static str,
}

/// What numbers must be multiples of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Of nothing.
    Any,
    /// Durations of whole seconds.
    Seconds,
    /// Durations of whole milliseconds.
    Milliseconds,
}

/// An hour. Nanoseconds.
const HOUR: f64 = 3600.0 * SECOND;
/// A second. Nanoseconds.
pub(crate) const SECOND: f64 = NANOS_PER_SECOND as f64;

impl Range {
    pub(crate) const fn at_least(least: f64) -> Range {
        Range::numbers(least, false, None)
    }

    pub(crate) const fn above(least: f64) -> Range {
        Range::numbers(least, true, None)
    }

    pub(crate) const fn within(least: f64, most: f64) -> Range {
        Range::numbers(least, false, Some(most))
    }

    pub(crate) const fn above_up_to(least: f64, most: f64) -> Range {
        Range::numbers(least, true, Some(most))
    }

    pub(crate) const fn up_to_an_hour(least: f64) -> Range {
        Range::numbers(least, false, Some(HOUR))
    }

    pub(crate) const fn words(
        listed: &'static [&'static str],
        also: &'static [&'static str],
    ) -> Range {
        Range::Words { listed, also }
    }

    const fn numbers(least: f64, is_open: bool, most: Option<f64>) -> Range {
        Range::Numbers(Numbers { least, is_open, most, or: None, step: Step::Any, note: "" })
    }

    /// The same, and `number` besides.
    pub(crate) const fn or(self, number: f64) -> Range {
        match self {
            Range::Numbers(numbers) => Range::Numbers(Numbers { or: Some(number), ..numbers }),
            Range::Any | Range::Words { .. } => self,
        }
    }

    /// The same in steps.
    pub(crate) const fn whole(self, step: Step) -> Range {
        match self {
            Range::Numbers(numbers) => Range::Numbers(Numbers { step, ..numbers }),
            Range::Any | Range::Words { .. } => self,
        }
    }

    /// The same, with something else that people should know.
    pub(crate) const fn noted(self, note: &'static str) -> Range {
        match self {
            Range::Numbers(numbers) => Range::Numbers(Numbers { note, ..numbers }),
            Range::Any | Range::Words { .. } => self,
        }
    }

    /// Whether a number is neither too small nor too large.
    pub(crate) fn holds(&self, number: f64) -> bool {
        let Range::Numbers(range) = self else { return true };
        let is_from = if range.is_open { number > range.least } else { number >= range.least };
        (is_from && range.most.is_none_or(|most| number <= most)) || range.or == Some(number)
    }

    /// Whether a word is one of those that are allowed.
    pub(crate) fn has(&self, word: &str) -> bool {
        match self {
            Range::Words { listed, also } => listed.contains(&word) || also.contains(&word),
            Range::Any | Range::Numbers(_) => true,
        }
    }

    /// What a duration must be a multiple of.
    pub(crate) fn step(&self) -> Step {
        match self {
            Range::Numbers(numbers) => numbers.step,
            Range::Any | Range::Words { .. } => Step::Any,
        }
    }

    /// For people, as in `6s to 1h, whole seconds`. Empty where anything goes.
    pub fn told(&self, kind: Kind) -> String {
        let range = match self {
            Range::Any => return String::new(),
            Range::Words { listed, .. } => return listed.join(" or "),
            Range::Numbers(range) => range,
        };
        let number = |number: f64| match kind {
            Kind::Duration => shown_duration(number as i64),
            Kind::Float | Kind::Whole | Kind::Flag | Kind::Text => number.to_string(),
        };
        let least = number(range.least);
        let mut told = match (range.most.map(number), range.is_open) {
            (Some(most), false) => format!("{least} to {most}"),
            (Some(most), true) => format!("above {least} and at most {most}"),
            (None, true) => format!("above {least}"),
            (None, false) if range.least == 0.0 => format!("{least} or more"),
            (None, false) => format!("at least {least}"),
        };
        if let Some(or) = range.or {
            told.push_str(&format!(", or {}", number(or)));
        }
        told.push_str(match range.step {
            Step::Any => "",
            Step::Seconds => ", whole seconds",
            Step::Milliseconds => ", whole milliseconds",
        });
        if !range.note.is_empty() {
            told.push_str("; ");
            told.push_str(range.note);
        }
        told
    }

    /// What to write, for people: the kind, and the range where there is one.
    pub(crate) fn told_in_full(&self, kind: Kind) -> String {
        match (kind, self.told(kind)) {
            (Kind::Text, range) if !range.is_empty() => range,
            (_, range) if range.is_empty() => kind.is_written().to_owned(),
            (_, range) => format!("{}, {range}", kind.is_written()),
        }
    }
}

impl Step {
    /// Whether it divides a duration.
    pub(crate) fn divides(self, nanos: i64) -> bool {
        match self {
            Step::Any => true,
            Step::Seconds => nanos % NANOS_PER_SECOND == 0,
            Step::Milliseconds => nanos % 1_000_000 == 0,
        }
    }

    /// As what a duration that it does not divide is refused, where there is a reason of its own for that.
    pub(crate) fn reason(self) -> Option<Reason> {
        match self {
            Step::Seconds => Some(Reason::NotWholeSeconds),
            Step::Any | Step::Milliseconds => None,
        }
    }
}
