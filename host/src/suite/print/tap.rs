//! A run in the Test Anything Protocol, version 13.

use std::fmt::Write as _;

use super::{wrongs, wrongs_of_policy, wrongs_of_suite};
use crate::report::numbers::plain;
use crate::suite::Report;

/// A line a case, a policy, and a suite with something wrong beside them; what is wrong stands below in comments.
pub fn tap(report: &Report) -> String {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for suite in &report.suites {
        let file = suite.file.display();
        for case in &suite.cases {
            lines.push((format!("{file}: {}", case.name), wrongs(case)));
        }
        for policy in &suite.policies {
            lines.push((format!("{file}: policy {}", policy.policy), wrongs_of_policy(policy)));
        }
        let wrong = wrongs_of_suite(suite);
        if !wrong.is_empty() {
            lines.push((format!("{file}: the suite"), wrong));
        }
    }
    let mut text = format!("TAP version 13\n1..{}\n", lines.len());
    for (nth, (name, wrong)) in lines.iter().enumerate() {
        let word = if wrong.is_empty() { "ok" } else { "not ok" };
        // A hash would begin a directive.
        let _ = writeln!(text, "{word} {} - {}", nth + 1, plain(name).replace('#', " "));
        for line in wrong.iter().flat_map(|wrong| wrong.lines()) {
            let _ = writeln!(text, "# {}", plain(line));
        }
    }
    text
}
