//! What a check came to, as text for people and editors: one line a finding, beginning with its place.

use std::fmt::Write as _;

use super::{Checked, Finding, Report, Severity, counted};
use crate::report::{Ink, Style, plain};

impl Report {
    /// As text.
    pub fn render(&self, style: Style) -> String {
        let mut text = String::new();
        for file in &self.files {
            file.render(style, &mut text);
        }
        for file in &self.unchecked {
            let told = style.paint(Ink::Alarm, "not checked:");
            let _ = writeln!(text, "{}: {told} {}", plain(&file.file), plain(&file.message));
        }
        let _ = writeln!(text, "{}", self.counts());
        text
    }

    /// The last line.
    fn counts(&self) -> String {
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let found = match (errors, warnings) {
            (0, 0) => "no faults".to_owned(),
            (errors, 0) => counted(errors, "error"),
            (0, warnings) => counted(warnings, "warning"),
            (errors, warnings) => {
                format!("{}, {}", counted(errors, "error"), counted(warnings, "warning"))
            }
        };
        let checked = format!("{found} in {}", counted(self.files.len(), "file"));
        match self.unchecked.len() {
            0 => checked,
            some => format!("{checked}, {} not checked", counted(some, "file")),
        }
    }
}

impl Checked {
    fn render(&self, style: Style, text: &mut String) {
        for finding in &self.findings {
            finding.render(&plain(&self.file), style, text);
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        if errors == 0 {
            let about = if self.about.is_empty() { self.kind.about() } else { &self.about };
            let order = if warnings == 0 {
                style.paint(Ink::Up, "in order")
            } else {
                format!("in order but for {}", counted(warnings, "warning"))
            };
            let _ = writeln!(text, "{}: {about}, {order}", plain(&self.file));
        }
        for detail in &self.details {
            let _ = writeln!(text, "  {}", style.paint(Ink::Faint, &plain(detail)));
        }
    }
}

impl Finding {
    fn render(&self, file: &str, style: Style, text: &mut String) {
        let place = match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{file}:{line}:{column}:"),
            (Some(line), None) => format!("{file}:{line}:"),
            (None, _) => format!("{file}:"),
        };
        let weight = match self.severity {
            Severity::Error => style.paint(Ink::Alarm, "error:"),
            Severity::Warning => style.paint(Ink::Notice, "warning:"),
        };
        let message = plain(&self.message);
        let _ = writeln!(text, "{} {weight} {message}", style.paint(Ink::Strong, &place));
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  {} {}", style.paint(Ink::Faint, "hint:"), plain(hint));
        }
    }
}
