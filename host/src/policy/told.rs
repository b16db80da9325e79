//! What policies say, made fit for terminals, logs and journals: no control characters, and not without end.

use super::wire::{Explanation, Fault};

/// Characters of one message, reason or name. What people write is far shorter.
const LONGEST: usize = 1_000;

/// The text without control characters, cut off where it is too long.
pub(super) fn clean(text: String) -> String {
    let is_fit = text.len() <= LONGEST && !text.contains(char::is_control);
    if is_fit { text } else { cut(&text, LONGEST) }
}

/// A name as it fits into a sentence.
pub(super) fn shortened(name: &str) -> String {
    cut(name, 80)
}

fn cut(text: &str, longest: usize) -> String {
    let plain = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    let mut cut: String = text.chars().take(longest).map(plain).collect();
    if text.chars().nth(longest).is_some() {
        cut.push('…');
    }
    cut
}

/// A large number as people read it: `20,000,000`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut told = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

/// A number of bytes as people read it, with one decimal where it is not whole.
pub(crate) fn size(bytes: u64) -> String {
    let told = |unit: u64, name| {
        let tenths = (u128::from(bytes) * 10).div_ceil(u128::from(unit));
        let (whole, rest) = (tenths / 10, tenths % 10);
        if rest == 0 { format!("{whole} {name}") } else { format!("{whole}.{rest} {name}") }
    };
    match bytes {
        0..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => told(1_024, "KiB"),
        _ => told(1_048_576, "MiB"),
    }
}

/// Faults or warnings of one settings document that are told; nobody reads more.
const FAULTS_AT_MOST: usize = 50;

/// Faults and warnings.
pub(super) fn clean_faults(faults: Vec<Fault>) -> Vec<Fault> {
    let one = |fault: Fault| Fault { path: clean(fault.path), message: clean(fault.message) };
    faults.into_iter().take(FAULTS_AT_MOST).map(one).collect()
}

/// Reasons and figures.
pub(super) fn clean_explanations(mut told: Vec<Explanation>) -> Vec<Explanation> {
    for one in &mut told {
        one.reason = clean(std::mem::take(&mut one.reason));
        for figure in &mut one.figures {
            figure.name = clean(std::mem::take(&mut figure.name));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits_and_never_as_less_than_they_are() {
        for (bytes, told) in [
            (0, "0 bytes"),
            (1_023, "1023 bytes"),
            (65_536, "64 KiB"),
            (65_537, "64.1 KiB"),
            (64 << 20, "64 MiB"),
            ((64 << 20) + 1, "64.1 MiB"),
            (u64::MAX, "17592186044416 MiB"),
        ] {
            assert_eq!(size(bytes), told);
        }
    }

    #[test]
    fn large_numbers_have_their_thousands_apart() {
        for (number, told) in [(0, "0"), (999, "999"), (1_000, "1,000"), (20_000_000, "20,000,000")]
        {
            assert_eq!(count(number), told);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_replaced_and_what_is_long_is_cut() {
        for (said, told) in [
            ("plain words", "plain words"),
            ("über 3 µs", "über 3 µs"),
            ("\u{1b}[2Jgone", "\u{fffd}[2Jgone"),
            ("one\ntwo\r", "one\u{fffd}two\u{fffd}"),
        ] {
            assert_eq!(clean(said.to_owned()), told);
        }
        assert_eq!(clean("é".repeat(5_000)).chars().count(), LONGEST + 1);
        assert_eq!(shortened(&"x".repeat(81)).chars().count(), 81);
    }
}
