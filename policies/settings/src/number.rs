//! Numbers and flags as Go writes them.

/// A float, as Go's `ParseFloat` reads decimals. Not a number and infinity are refused too: no setting means anything with them.
pub(crate) fn float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
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
