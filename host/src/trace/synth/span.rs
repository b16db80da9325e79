//! Lengths of time as people write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SynthError;

const DAY_US: u64 = 86_400_000_000;
const LONGEST_US: u64 = 36_525 * DAY_US;
const EXPECTED: &str = "a duration such as 90s, 1h30m or 7d, up to 100 years";

/// A length of time in whole microseconds, written as `90s`, `1h30m`, `250ms` or `7d`.
///
/// ```
/// # use tidegate::trace::synth::Span;
/// let week: Span = "7d".parse().unwrap();
/// assert_eq!(week.seconds(), 604_800.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

impl Span {
    /// So many microseconds.
    pub const fn of_us(us: u64) -> Span {
        Span(us)
    }

    /// So many seconds.
    pub const fn of_s(seconds: u64) -> Span {
        Span(seconds * 1_000_000)
    }

    /// In microseconds.
    pub const fn us(self) -> u64 {
        self.0
    }

    /// In seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Span {
    type Err = SynthError;

    /// Go's durations, as Kubernetes writes them, with days before them.
    fn from_str(text: &str) -> Result<Span, SynthError> {
        let wrong = || SynthError::Span { found: text.to_owned() };
        let (days, rest) = match text.split_once('d') {
            Some((days, rest)) => (days.parse::<u32>().map_err(|_| wrong())?, rest),
            None => (0, text),
        };
        let nanos = match (rest, text) {
            ("", text) if !text.is_empty() => 0,
            (rest, _) => tidegate_settings::parse_duration(rest).ok_or_else(wrong)?,
        };
        let us = u64::try_from(nanos).map_err(|_| wrong())? / 1_000 + u64::from(days) * DAY_US;
        if us > LONGEST_US { Err(wrong()) } else { Ok(Span(us)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, us) in [
            ("d", DAY_US),
            ("h", 3_600_000_000),
            ("m", 60_000_000),
            ("s", 1_000_000),
            ("ms", 1_000),
            ("us", 1),
        ] {
            if rest >= us {
                write!(f, "{}{unit}", rest / us)?;
                rest %= us;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        struct Spans;
        impl Visitor<'_> for Spans {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }

            // A number lacks its unit, but nothing is nothing in every unit.
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Span, E> {
                match number {
                    0 => Ok(Span(0)),
                    _ => Err(E::custom(SynthError::Span { found: number.to_string() })),
                }
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Span, E> {
                Err(E::custom(SynthError::Span { found: number.to_string() }))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Span, E> {
                match number {
                    0 => Ok(Span(0)),
                    _ => Err(E::custom(SynthError::Span { found: number.to_string() })),
                }
            }
        }
        from.deserialize_any(Spans)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time, such as 90s, 1h30m or 7d.",
            "pattern": "^([0-9]+d)?([0-9.]+(ns|us|µs|ms|s|m|h))*$|^0$"
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_gos_durations_with_days() {
        for (text, us) in [
            ("0", Some(0)),
            ("90s", Some(90_000_000)),
            ("1h30m", Some(5_400_000_000)),
            ("7d", Some(604_800_000_000)),
            ("1d12h", Some(129_600_000_000)),
            ("0.25s", Some(250_000)),
            ("", None),
            ("d", None),
            ("90", None),
            ("-1s", None),
            ("1.5d", None),
            ("40000d", None),
            ("soon", None),
        ] {
            assert_eq!(text.parse::<Span>().ok().map(Span::us), us, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(us in 0..LONGEST_US) {
            prop_assert_eq!(Span(us).to_string().parse::<Span>().unwrap(), Span(us));
        }
    }
}
