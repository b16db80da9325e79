//! Text inside HTML.

use super::numbers::plain;

/// Text from outside for an element or a quoted attribute: control characters shown as codes, markup as what it is.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in plain(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
