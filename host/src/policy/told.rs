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

/// Faults and warnings.
pub(super) fn clean_faults(faults: Vec<Fault>) -> Vec<Fault> {
    let one = |fault: Fault| Fault { path: clean(fault.path), message: clean(fault.message) };
    faults.into_iter().map(one).collect()
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
