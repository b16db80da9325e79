//! Colour and width of text: the only place that knows escape codes.

use owo_colors::OwoColorize as _;

/// How text is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether escape codes for colour may be written.
    pub colour: bool,
    /// Characters of a line. Reasons wrap there; below 80 the lines stay as wide as at 80.
    pub width: usize,
}

impl Style {
    /// Without colour, 100 characters wide: for files and pipes.
    pub const PLAIN: Style = Style { colour: false, width: 100 };

    /// `text` in `ink`; as it is where colour is off or nothing is to be seen.
    pub(crate) fn paint(self, ink: Ink, text: &str) -> String {
        if !self.colour || text.trim().is_empty() {
            return text.to_owned();
        }
        match ink {
            Ink::Usual => text.to_owned(),
            Ink::Faint => text.dimmed().to_string(),
            Ink::Strong => text.bold().to_string(),
            Ink::Up => text.green().to_string(),
            Ink::Down => text.cyan().to_string(),
            Ink::Notice => text.yellow().to_string(),
            Ink::Alarm => text.red().to_string(),
        }
    }

    pub(crate) fn wide(self) -> usize {
        self.width.max(80)
    }
}

/// What a piece of text is, which decides its colour. No colour says what the words do not say too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Usual,
    Faint,
    Strong,
    Up,
    Down,
    Notice,
    Alarm,
}

/// `text` in lines of at most `width` characters, broken at spaces only. At least one line.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line from the start");
        let taken = line.chars().count();
        if taken > 0 && taken + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if taken > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// `text`, cut in the middle where it is longer than `width` characters: names often differ at both ends.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= width {
        return text.to_owned();
    }
    let tail = (width - 1) / 2;
    let head = width - 1 - tail;
    chars[..head].iter().chain(&['…']).chain(&chars[chars.len() - tail..]).collect()
}
