//! Numbers and flags as Go writes them.

/// A float, as Go's `ParseFloat` reads decimals, underscores between digits included. What it reads beside them is refused: not a
/// number and infinity, with which no setting means anything, and hexadecimal floats.
pub(crate) fn float(text: &str) -> Option<f64> {
    let value: f64 = if text.contains('_') {
        let is_digit = |part: Option<u8>| part.is_some_and(|letter| letter.is_ascii_digit());
        let mut parts = text.split('_');
        let mut before = parts.next()?;
        for part in parts {
            if !is_digit(before.bytes().last()) || !is_digit(part.bytes().next()) {
                return None;
            }
            before = part;
        }
        text.replace('_', "").parse().ok()?
    } else {
        text.parse().ok()?
    };
    value.is_finite().then_some(value)
}

/// A whole number. [`Whole::Outside`] where it is one but does not fit into 32 bits.
pub(crate) fn whole(text: &str) -> Whole {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match text.parse::<i32>() {
        Ok(value) => Whole::Is(value),
        Err(error) if matches!(error.kind(), PosOverflow | NegOverflow) => Whole::Outside,
        Err(_) => Whole::Not,
    }
}

/// What a text is as a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Is(i32),
    Outside,
    Not,
}

impl Whole {
    pub(crate) fn value(self) -> Option<i32> {
        match self {
            Whole::Is(value) => Some(value),
            Whole::Outside | Whole::Not => None,
        }
    }
}

/// A flag, as Go's `ParseBool` reads it.
pub(crate) fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_read_as_go_reads_them() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("+1", Some(1.0)),
            ("-1", Some(-1.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1E-2", Some(0.01)),
            ("1e-400", Some(0.0)),
            ("1_000", Some(1000.0)),
            ("1_0.5", Some(10.5)),
            ("1e400", None),
            ("", None),
            (".", None),
            ("+", None),
            ("--1", None),
            (" 1", None),
            ("1 ", None),
            ("1,5", None),
            ("1f", None),
            ("0x10", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("1_.5", None),
            ("½", None),
        ] {
            assert_eq!(float(text), expected, "{text}");
        }
    }

    /// Knative takes all of these, and computes nonsense with most.
    #[test]
    fn no_number_infinity_and_hexadecimal_floats_are_refused_though_go_reads_them() {
        for text in ["NaN", "nan", "inf", "+Inf", "-infinity", "0x1p4", "0x_1.8p-2"] {
            assert_eq!(float(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_decimal_and_have_32_bits() {
        for (text, expected) in [
            ("7", Whole::Is(7)),
            ("+7", Whole::Is(7)),
            ("-0", Whole::Is(0)),
            ("007", Whole::Is(7)),
            ("2147483647", Whole::Is(i32::MAX)),
            ("2147483648", Whole::Outside),
            ("-2147483649", Whole::Outside),
            ("99999999999999999999", Whole::Outside),
            ("1.0", Whole::Not),
            ("1e3", Whole::Not),
            ("1_000", Whole::Not),
            ("0x1", Whole::Not),
            ("", Whole::Not),
            ("+", Whole::Not),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
    }
}
