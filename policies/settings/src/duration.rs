//! Durations as Go writes them: `1h30m`, `1.5s`, `-2ms`.

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Reads a duration exactly as Go's `time.ParseDuration` does. Nanoseconds; nothing for what Go refuses: no unit (except `0`), an
/// unknown unit, more than 2⁶³ nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (term, after) = term(rest)?;
        total = total.checked_add(term).filter(|total| *total <= 1 << 63)?;
        rest = after;
    }
    match (is_negative, i64::try_from(total)) {
        (false, total) => total.ok(),
        (true, Ok(total)) => Some(-total),
        (true, Err(_)) => Some(i64::MIN),
    }
}

/// A duration in the largest unit that it is a whole number of: `1h`, `90s`, `100ms`.
pub(crate) fn shown_duration(nanos: i64) -> String {
    let units = [
        (3600 * NANOS_PER_SECOND, "h"),
        (60 * NANOS_PER_SECOND, "m"),
        (NANOS_PER_SECOND, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
    ];
    let fits = units.iter().find(|(unit, _)| nanos != 0 && nanos % unit == 0);
    match fits {
        _ if nanos == 0 => "0s".to_owned(),
        Some((unit, name)) => format!("{}{name}", nanos / unit),
        None => format!("{nanos}ns"),
    }
}

/// One number with its unit, and what is behind it.
fn term(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let unit: u64 = match unit {
        "ns" => 1,
        // Micro sign and Greek mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let fits = |value: &u64| *value <= 1 << 63;
    let whole = if whole.is_empty() { 0 } else { whole.parse().ok().filter(fits)? };
    let nanos: u64 = unit.checked_mul(whole).filter(fits)?;
    let nanos = nanos.checked_add(fraction_of(fraction, unit)).filter(fits)?;
    Some((nanos, rest))
}

/// The fraction of a unit, cut off to whole nanoseconds: Go's float arithmetic, its cut-off of digits that do not fit included.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0u64, 1.0f64);
    for digit in digits.bytes() {
        if value > (i64::MAX as u64) / 10 {
            break;
        }
        let next = value * 10 + u64::from(digit - b'0');
        if next > 1 << 63 {
            break;
        }
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("5s", 5_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1h1m1.5s", 3_661_500_000_000),
            ("+.5s", 500_000_000),
            ("1.5\u{b5}s", 1_500),
            ("-0.5ms", -500_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("3us", 3_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("1ns1ns", 2),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("0.100000000000000000000h", 360_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("2540400h10m10.000000000s", 9_145_440_610_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_in_the_largest_unit_that_fits_and_reads_back() {
        for (nanos, shown) in [
            (0, "0s"),
            (3_600_000_000_000, "1h"),
            (90_000_000_000, "90s"),
            (180_000_000_000, "3m"),
            (100_000_000, "100ms"),
            (-1_500, "-1500ns"),
            (2_000, "2us"),
        ] {
            assert_eq!(shown_duration(nanos), shown);
            assert_eq!(parse_duration(shown), Some(nanos));
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            "-",
            "+",
            "3",
            "s",
            ".s",
            "-.",
            ".",
            "1x",
            "1 s",
            " 1s",
            "1s ",
            "1d",
            "1S",
            "1e3s",
            "1_000s",
            "infs",
            "1h 1m",
            "9223372036.854775808s",
            "--1s",
            "9223372036854775808ns",
            "3000000h",
            "9223372036854775.808us1h",
            "1\u{fc}",
            "é",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
