//! Values of a row. Decimals of seconds become whole microseconds digit by digit, so that no rounding of floats moves an arrival.

use super::TraceError;

const CENTURY_S: u64 = 3_155_760_000;
const DECIMALS: usize = 6;
/// More than this in a second cannot be told apart in microseconds.
const HIGHEST_RATE: f64 = 1e6;
const HIGHEST_CONCURRENCY: f64 = 1e9;
const LONGEST_QUOTE: usize = 40;

pub(super) const MINUTE_US: u64 = 60_000_000;

/// What a field should hold: how it is read, and how it is described to whoever wrote something else.
pub(super) struct Expected<T> {
    words: &'static str,
    read: fn(&[u8]) -> Option<T>,
}

pub(super) const SECONDS: Expected<u64> =
    Expected { words: "seconds such as 12.345, 0 to 3155760000 (100 years)", read: seconds_us };
pub(super) const MINUTE: Expected<u64> =
    Expected { words: "a whole minute, 0 to 52596000 (100 years)", read: minute_us };
pub(super) const TOKENS: Expected<u32> =
    Expected { words: "a whole number of tokens, 0 to 4294967295", read: tokens };
pub(super) const RATE: Expected<f64> = Expected {
    words: "requests per second such as 212.78, 0 to 1000000",
    read: |field| number(field, HIGHEST_RATE),
};
pub(super) const CONCURRENCY: Expected<f64> = Expected {
    words: "requests in flight such as 2.5, 0 to 1000000000",
    read: |field| number(field, HIGHEST_CONCURRENCY),
};

/// Where a field stands, for messages.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) path: &'a str,
    pub(super) line: u64,
    pub(super) column: &'a str,
}

impl Place<'_> {
    pub(super) fn read<T>(self, field: &[u8], expected: &Expected<T>) -> Result<T, TraceError> {
        match (expected.read)(field.trim_ascii()) {
            Some(value) => Ok(value),
            None => Err(self.wrong(field, expected.words)),
        }
    }

    /// A name: text that is not empty.
    pub(super) fn name(self, field: &[u8]) -> Result<&str, TraceError> {
        match str::from_utf8(field) {
            Ok(name) if !name.is_empty() && !name.chars().any(char::is_control) => Ok(name),
            Ok(_) | Err(_) => Err(self.wrong(field, "a name")),
        }
    }

    fn wrong(self, field: &[u8], expected: &'static str) -> TraceError {
        TraceError::Field {
            path: self.path.to_owned(),
            line: self.line,
            column: self.column.to_owned(),
            expected,
            found: quoted(field),
        }
    }
}

/// What stands in a file, as a message may show it: short, printable, in its quotes.
pub(super) fn quoted(field: &[u8]) -> String {
    if field.is_empty() {
        return "nothing".to_owned();
    }
    let text = String::from_utf8_lossy(field);
    let mut short = String::from("`");
    for char in text.chars().take(LONGEST_QUOTE) {
        match char.is_control() {
            true => short.extend(char.escape_default()),
            false => short.push(char),
        }
    }
    if text.chars().nth(LONGEST_QUOTE).is_some() {
        short.push('…');
    }
    short.push('`');
    short
}

/// What is wrong with a row that has not as many fields as the header.
pub(super) fn wrong_count(path: &str, line: u64, row: &[u8], expected: usize) -> TraceError {
    let is_text = |row: &str| !row.chars().any(|char| char.is_control() && char != '\t');
    let path = path.to_owned();
    if !str::from_utf8(row).is_ok_and(is_text) {
        return TraceError::NotText { path, line };
    }
    let found = row.split(|&byte| byte == b',').count();
    TraceError::FieldCount { path, line, expected, found }
}

/// Microseconds as seconds, in full: `1.25 s`.
pub(super) fn in_seconds(at_us: u64) -> String {
    let text = format!("{}.{:06}", at_us / 1_000_000, at_us % 1_000_000);
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

fn seconds_us(field: &[u8]) -> Option<u64> {
    let (whole, decimals) = match field.iter().position(|&byte| byte == b'.') {
        Some(point) => (&field[..point], Some(&field[point + 1..])),
        None => (field, None),
    };
    let micros = match decimals {
        Some(decimals) => micros(decimals)?,
        None => 0,
    };
    let at_us = digits(whole, CENTURY_S)? * 1_000_000 + micros;
    (at_us <= CENTURY_S * 1_000_000).then_some(at_us)
}

/// Decimals beyond the sixth are cut, which keeps the order.
fn micros(decimals: &[u8]) -> Option<u64> {
    let (kept, cut) = decimals.split_at(decimals.len().min(DECIMALS));
    if !cut.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits(kept, 999_999)? * 10u64.pow((DECIMALS - kept.len()) as u32))
}

fn minute_us(field: &[u8]) -> Option<u64> {
    digits(field, CENTURY_S / 60).map(|minute| minute * MINUTE_US)
}

fn tokens(field: &[u8]) -> Option<u32> {
    digits(field, u64::from(u32::MAX)).and_then(|tokens| u32::try_from(tokens).ok())
}

/// At least one digit, nothing else, and no more than `most`.
fn digits(field: &[u8], most: u64) -> Option<u64> {
    if field.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &byte in field {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (value <= most).then_some(value)
}

fn number(field: &[u8], most: f64) -> Option<f64> {
    // Rust also reads `inf`, `nan` and `+1`, which no trace should hold.
    if !field.first().is_some_and(|first| first.is_ascii_digit() || *first == b'.') {
        return None;
    }
    let value: f64 = str::from_utf8(field).ok()?.parse().ok()?;
    (value.is_finite() && (0.0..=most).contains(&value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_are_read_digit_by_digit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0.000", Some(0)),
            ("2080.769", Some(2_080_769_000)),
            // As a float times a million, this is 8345677999.999999.
            ("8345.678", Some(8_345_678_000)),
            ("1.0000019", Some(1_000_001)),
            ("3155760000", Some(3_155_760_000_000_000)),
            ("3155760000.000001", None),
            ("99999999999999999999999", None),
            ("", None),
            (".", None),
            ("1.", None),
            (".5", None),
            ("1.2.3", None),
            ("1.00000x", None),
            ("1.0000000x", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("nan", None),
        ] {
            assert_eq!(seconds_us(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_in_full_is_read_back(at_us in 0..=CENTURY_S * 1_000_000) {
            let text = in_seconds(at_us);
            prop_assert_eq!(seconds_us(text.trim_end_matches(" s").as_bytes()), Some(at_us));
        }
    }
}
