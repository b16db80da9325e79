//! Times as logs write them, digit by digit into whole microseconds.

const DAY_S: i64 = 86_400;
const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl Unit {
    pub(super) fn named(name: &str) -> Option<Unit> {
        match name {
            "s" => Some(Unit::Seconds),
            "ms" => Some(Unit::Milliseconds),
            "us" => Some(Unit::Microseconds),
            "ns" => Some(Unit::Nanoseconds),
            _ => None,
        }
    }
}

/// A moment that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Since 1970, or since a trace's start. Microseconds.
    pub(super) us: i64,
    /// Whether it was written in whole seconds, and so stands for all of that second.
    pub(super) is_whole_second: bool,
}

/// RFC 3339 (with a space for the `T` and without an offset too, which is UTC then), the time of access logs
/// (`10/Oct/2000:13:55:36 -0700`), or a number. Without a unit, a number below 10¹¹ is of seconds, below 10¹⁴ of milliseconds, below
/// 10¹⁷ of microseconds, else of nanoseconds: all of them years from 1973 to 5138.
pub(super) fn moment(text: &str, unit: Option<Unit>) -> Option<Moment> {
    let text = text.trim().as_bytes();
    match text {
        [_, _, b'/', ..] => access(text),
        [_, _, _, _, b'-', ..] => rfc3339(text),
        _ => number(text, unit),
    }
}

/// A duration: a number of the unit, or seconds; or as Go writes it, `1.5ms`. Microseconds.
pub(super) fn duration_us(text: &str, unit: Option<Unit>) -> Option<u64> {
    let text = text.trim();
    let us = match scaled(text.as_bytes(), unit.unwrap_or(Unit::Seconds)) {
        Some((us, _)) => us,
        None => tidegate_settings::parse_duration(text)? / 1_000,
    };
    u64::try_from(us).ok()
}

fn number(text: &[u8], unit: Option<Unit>) -> Option<Moment> {
    let unit = unit.unwrap_or_else(|| {
        match text.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            ..=11 => Unit::Seconds,
            12..=14 => Unit::Milliseconds,
            15..=17 => Unit::Microseconds,
            18.. => Unit::Nanoseconds,
        }
    });
    let (us, has_decimals) = scaled(text, unit)?;
    Some(Moment { us, is_whole_second: unit == Unit::Seconds && !has_decimals })
}

/// Microseconds, and whether there are decimals. What is below a microsecond is cut.
fn scaled(text: &[u8], unit: Unit) -> Option<(i64, bool)> {
    let (whole, decimals) = match text.iter().position(|&byte| byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    // How many decimals count as microseconds; nanoseconds have three digits too many.
    let kept = match unit {
        Unit::Seconds => 6,
        Unit::Milliseconds => 3,
        Unit::Microseconds | Unit::Nanoseconds => 0,
    };
    let whole = digits(whole)?;
    let fraction = fraction(decimals, kept)?;
    let us = match unit {
        Unit::Nanoseconds => whole / 1_000,
        Unit::Seconds | Unit::Milliseconds | Unit::Microseconds => {
            whole.checked_mul(10i64.pow(kept))?.checked_add(fraction)?
        }
    };
    Some((us, !decimals.is_empty()))
}

/// The first `kept` decimals as a whole number.
fn fraction(decimals: &[u8], kept: u32) -> Option<i64> {
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |place: u32| decimals.get(place as usize).map_or(0, |byte| i64::from(byte - b'0'));
    Some((0..kept).fold(0, |value, place| 10 * value + digit(place)))
}

fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.iter()
        .try_fold(0i64, |value, byte| value.checked_mul(10)?.checked_add(i64::from(byte - b'0')))
}

fn rfc3339(text: &[u8]) -> Option<Moment> {
    if text.len() < 19 || text[7] != b'-' || !matches!(text[10], b'T' | b't' | b' ') {
        return None;
    }
    let day = day(digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?)?;
    let second = second_of_day(&text[11..19])?;
    let rest = &text[19..];
    let decimals = match rest {
        [b'.' | b',', rest @ ..] => {
            rest.iter().position(|byte| !byte.is_ascii_digit()).map_or(rest, |end| &rest[..end])
        }
        _ => &[],
    };
    let zone = match rest {
        [b'.' | b',', ..] => &rest[1 + decimals.len()..],
        _ => rest,
    };
    let us = (day * DAY_S + second - offset(zone)?) * 1_000_000 + fraction(decimals, 6)?;
    Some(Moment { us, is_whole_second: decimals.is_empty() })
}

/// `10/Oct/2000:13:55:36 -0700`.
fn access(text: &[u8]) -> Option<Moment> {
    if text.len() < 20 || text[6] != b'/' || text[11] != b':' {
        return None;
    }
    let month = MONTHS.iter().position(|month| *month == &text[3..6])? as i64 + 1;
    let day = day(digits(&text[7..11])?, month, digits(&text[..2])?)?;
    let second = second_of_day(&text[12..20])?;
    let us = (day * DAY_S + second - offset(text[20..].trim_ascii())?) * 1_000_000;
    Some(Moment { us, is_whole_second: true })
}

/// `13:55:36`; a leap second is the one before it.
fn second_of_day(text: &[u8]) -> Option<i64> {
    if text[2] != b':' || text[5] != b':' {
        return None;
    }
    let [hour, minute, second] = [&text[..2], &text[3..5], &text[6..8]].map(digits);
    let (hour, minute, second) = (hour?, minute?, second?);
    (hour < 24 && minute < 60 && second <= 60).then(|| hour * 3_600 + minute * 60 + second.min(59))
}

/// Seconds east of Greenwich.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        b"" | b"Z" | b"z" => return Some(0),
        [sign @ (b'+' | b'-'), a, b, b':', c, d] | [sign @ (b'+' | b'-'), a, b, c, d] => {
            (sign, digits(&[*a, *b])?, digits(&[*c, *d])?)
        }
        [sign @ (b'+' | b'-'), a, b] => (sign, digits(&[*a, *b])?, 0),
        _ => return None,
    };
    let east = hours * 3_600 + minutes * 60;
    (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -east } else { east })
}

/// Days since 1970-01-01 in the calendar of today, from that year on (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn day(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=length).contains(&day) {
        return None;
    }
    // Years begin in March, so that the day that may be missing is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_logs_write_them() {
        for (text, unit, expected) in [
            ("2023-11-16T18:15:46.6805900Z", None, Some(1_700_158_546_680_590)),
            ("2023-11-16 18:15:46.6805900", None, Some(1_700_158_546_680_590)),
            ("2024-05-10 00:00:00.009930+00:00", None, Some(1_715_299_200_009_930)),
            ("2024-05-10T02:00:00+0200", None, Some(1_715_299_200_000_000)),
            ("2024-05-10T00:00:00,5-01", None, Some(1_715_302_800_500_000)),
            ("10/Oct/2000:13:55:36 -0700", None, Some(971_211_336_000_000)),
            ("1715299200", None, Some(1_715_299_200_000_000)),
            ("1715299200.25", None, Some(1_715_299_200_250_000)),
            ("1715299200250", None, Some(1_715_299_200_250_000)),
            ("1715299200250000", None, Some(1_715_299_200_250_000)),
            ("1715299200250000999", None, Some(1_715_299_200_250_000)),
            ("27482", Some(Unit::Milliseconds), Some(27_482_000)),
            ("5", None, Some(5_000_000)),
            ("2024-02-30T00:00:00Z", None, None),
            ("2024-13-01T00:00:00Z", None, None),
            ("2024-01-01T24:00:00Z", None, None),
            ("2024-01-01T00:00:00+25:00", None, None),
            ("2024-01-01", None, None),
            ("10/Okt/2000:13:55:36 -0700", None, None),
            ("-5", None, None),
            ("1e9", None, None),
            ("", None, None),
            ("99999999999999999999", None, None),
        ] {
            assert_eq!(moment(text, unit).map(|moment| moment.us), expected, "{text}");
        }
    }

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (text, unit, expected) in [
            ("0.125", None, Some(125_000)),
            ("18", Some(Unit::Milliseconds), Some(18_000)),
            ("1500", Some(Unit::Nanoseconds), Some(1)),
            ("1.5ms", None, Some(1_500)),
            ("2m", Some(Unit::Milliseconds), Some(120_000_000)),
            ("-", None, None),
            ("-1s", None, None),
            ("soon", None, None),
        ] {
            assert_eq!(duration_us(text, unit), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_that_another_writer_wrote_is_read_back(us in 0i64..4_102_444_800_000_000) {
            let text = jiff::Timestamp::from_microsecond(us).unwrap().to_string();
            prop_assert_eq!(moment(&text, None).map(|moment| moment.us), Some(us), "{}", text);
        }

        #[test]
        fn no_text_is_too_much(text in "[0-9TZ:/.+ Oct-]{0,40}") {
            moment(&text, None);
            duration_us(&text, Some(Unit::Milliseconds));
        }
    }
}
