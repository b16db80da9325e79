//! Numbers and times as people read them, and foreign text made harmless.

/// A moment or a span as `h:mm:ss`. Seconds; parts of one are dropped.
pub(crate) fn clock(seconds: f64) -> String {
    let whole = seconds as u64;
    format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
}

/// A moment as `h:mm`. Seconds; parts of a minute are dropped.
pub(crate) fn hours_minutes(seconds: f64) -> String {
    let minutes = seconds as u64 / 60;
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

/// A count with a comma every three digits.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A measured value to about three digits: `0`, `0.004`, `4.21`, `31.2`, `1,204`. In a column the points stand close.
pub(crate) fn measure(value: f64) -> String {
    if value == 0.0 {
        "0".into()
    } else if value < 0.1 {
        format!("{value:.3}")
    } else if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        grouped(value.round() as u64)
    }
}

/// The same, but a whole number is one: `2`, `0.5`.
pub(crate) fn short(value: f64) -> String {
    if value == value.trunc() {
        return grouped(value as u64);
    }
    let text = measure(value);
    if text.contains('.') { text.trim_end_matches('0').to_owned() } else { text }
}

/// US dollars: cents below a thousand, whole dollars above.
pub(crate) fn dollars(value: f64) -> String {
    if value < 1000.0 {
        format!("${value:.2}")
    } else {
        format!("${}", grouped(value.round() as u64))
    }
}

/// The same without cents where there are none: `$2`, `$0.50`.
pub(crate) fn round_dollars(value: f64) -> String {
    if value == value.trunc() { format!("${}", grouped(value as u64)) } else { dollars(value) }
}

/// `1 change`, `2 changes`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {thing}{ending}", grouped(count))
}

/// A digest that a person can compare at a glance: eight digits of a hash; `native:NAME` as it is.
pub(crate) fn short_digest(digest: &str) -> String {
    match digest.strip_prefix("sha256:") {
        Some(hash) => hash.chars().take(8).collect(),
        None => plain(digest),
    }
}

/// Characters of a text from outside that are shown; a policy may say anything, at any length.
const LONGEST: usize = 300;

/// `text` from outside on one line: what would move a terminal's cursor, colour it, or turn the direction of writing is shown as
/// its code, and what is too long is cut.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == LONGEST {
            shown.push('…');
            break;
        }
        match c {
            '\n' | '\t' => shown.push(' '),
            c if c.is_control() || is_invisible(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Zero width or direction marks, which make a text read as another; and the two code points that XML has no place for.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let shown: Vec<String> =
            [0.0, 0.004, 0.25, 2.0, 4.214, 31.26, 99.94, 1204.4].map(measure).into();
        assert_eq!(shown, ["0", "0.004", "0.25", "2.00", "4.21", "31.3", "99.9", "1,204"]);
        let shown: Vec<String> = [0.0, 0.5, 2.0, 2.5, 12.0, 4_000.0].map(short).into();
        assert_eq!(shown, ["0", "0.5", "2", "2.5", "12", "4,000"]);
        let shown: Vec<String> = [0, 999, 1_000, 1_234_567].map(grouped).into();
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(clock(3_661.9), "1:01:01");
        assert_eq!(clock(7.0 * 86_400.0), "168:00:00");
        assert_eq!(hours_minutes(3_661.9), "1:01");
        assert_eq!((dollars(3.456), dollars(12_345.6)), ("$3.46".into(), "$12,346".into()));
        assert_eq!((round_dollars(2.0), round_dollars(1.5)), ("$2".into(), "$1.50".into()));
        assert_eq!(
            (counted(1, "change"), counted(2, "change")),
            ("1 change".into(), "2 changes".into())
        );
        assert_eq!(short_digest("sha256:0123456789abcdef"), "01234567");
    }

    #[test]
    fn text_from_outside_cannot_steer_a_terminal() {
        assert_eq!(plain("\u{1b}[31mred\r\n\u{202e}x"), "\\u{1b}[31mred\\u{d} \\u{202e}x");
        assert_eq!(plain(&"x".repeat(10_000)).chars().count(), LONGEST + 1);
    }
}
