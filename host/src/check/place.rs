//! Where in a file something belongs that is found later than its reader could, as what a policy finds in its settings.

use std::path::Path;

use super::{Checked, Finding};
use crate::definitions::Outline;
use crate::definitions::policies::PoliciesDefinition;
use crate::policy::wire::Fault;

/// Where in a file something belongs.
pub(super) struct Place<'a> {
    pub(super) outline: Option<&'a Outline>,
    /// Keys and positions, joined with dots.
    pub(super) path: String,
}

impl Place<'_> {
    pub(super) fn whole() -> Place<'static> {
        Place { outline: None, path: String::new() }
    }

    /// The same, and on from there.
    pub(super) fn finding(&self, message: &str, on: &str) -> Finding {
        let joined = [self.path.as_str(), on];
        let parts: Vec<&str> = joined
            .iter()
            .flat_map(|path| path.split('.'))
            .filter(|part| !part.is_empty())
            .collect();
        let mut path = String::new();
        for part in &parts {
            match part.parse::<usize>() {
                Ok(position) => path.push_str(&format!("[{position}]")),
                Err(_) if path.is_empty() => path.push_str(part),
                Err(_) => path.push_str(&format!(".{part}")),
            }
        }
        let message =
            if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") };
        let mut finding = Finding::error(&message);
        finding.line = self.outline.map(|outline| outline.line(&parts));
        finding.path = path;
        finding
    }

    pub(super) fn error(&self, message: &str, nearest: Option<&str>, checked: &mut Checked) {
        checked.findings.push(self.finding(message, "").near(nearest));
    }

    /// What a policy found in its settings.
    pub(super) fn of_settings(&self, fault: &Fault) -> Finding {
        match nearest_in(&fault.message) {
            Some(nearest) => {
                let message = format!("{}; did you mean `{nearest}`?", fault.message);
                self.finding(&message, &fault.path).near(Some(nearest))
            }
            None => self.finding(&fault.message, &fault.path),
        }
    }
}

/// What the policy of `stage` (or the placement policy) found in the settings that it has in the policies file `file`: a line a
/// fault, each with its place, as a check tells them. Nothing where the file cannot be read any more or has no such stage.
pub fn faults_in_settings(file: &Path, stage: &str, faults: &[Fault]) -> Vec<String> {
    let shown = file.display().to_string();
    let Ok(definition) = PoliciesDefinition::read(file) else { return Vec::new() };
    let Ok(text) = std::fs::read_to_string(file) else { return Vec::new() };
    let Ok(outline) = Outline::of(&text, &shown) else { return Vec::new() };
    let path = match definition.scaling.iter().position(|known| known.name == stage) {
        Some(position) => format!("scaling.{position}"),
        None if stage == crate::engine::PLACEMENT => "placement".to_owned(),
        None => return Vec::new(),
    };
    let place = Place { outline: Some(&outline), path };
    let told = |fault: &Fault| {
        // What is not the stage's own stands in another file.
        if !fault.path.is_empty() && fault.path.split('.').next() != Some("settings") {
            return fault_told(fault);
        }
        let finding = place.of_settings(fault);
        format!("{shown}:{}: {}", finding.line.unwrap_or(1), finding.message)
    };
    faults.iter().map(told).collect()
}

/// A fault on a line, where nobody knows the file.
pub fn fault_told(fault: &Fault) -> String {
    match fault.path.as_str() {
        "" => fault.message.clone(),
        path => format!("{path}: {}", fault.message),
    }
}

/// The known key that an unknown one resembles most, of a message in the words of serde, which Rust policies use: the unknown one in
/// backticks first, then the known ones.
fn nearest_in(message: &str) -> Option<&str> {
    let names = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = names.split_once('`')?;
    tidegate_settings::nearest(unknown, rest.split('`').skip(1).step_by(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_the_known_one_that_it_resembles() {
        let cases = [
            ("unknown field `gracee`, there are no fields", None),
            ("unknown field `minimun`, expected `minimum`", Some("minimum")),
            ("unknown field `minimun`, expected `minimum` or `headroom`", Some("minimum")),
            ("unknown field `hedroom`, expected one of `a`, `headroom`, `b`", Some("headroom")),
            ("invalid type: string `minimun`, expected `minimum`", None),
        ];
        for (message, nearest) in cases {
            assert_eq!(nearest_in(message), nearest, "{message}");
        }
    }
}
