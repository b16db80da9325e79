//! A run as workflow commands of GitHub Actions, which show as annotations on the suite's file.

use super::{Verdict, wrongs, wrongs_of_policy, wrongs_of_suite};
use crate::report::numbers::plain;
use crate::suite::{Report, SnapshotState, diff};

/// One command for each case, policy and suite with something wrong, and one notice that sums it up.
pub fn github(report: &Report) -> String {
    let mut text = String::new();
    for suite in &report.suites {
        let file = suite.file.display().to_string();
        let mut command = |line: u64, name: &str, wrong: Vec<String>| {
            if !wrong.is_empty() {
                text += &format!(
                    "::error file={},line={line},title={}::{}\n",
                    property(&plain(&file)),
                    property(&plain(name)),
                    message(&lines(&wrong))
                );
            }
        };
        for case in &suite.cases {
            let mut wrong = wrongs(case);
            if let SnapshotState::Changed { before, now, .. } = &case.snapshot {
                let deltas = diff::deltas(&before.head.info, &now.head.info);
                wrong.extend(deltas.iter().map(diff::CostDelta::shown));
            }
            command(case.line, &format!("{}: {}", case.name, Verdict::of(case).name()), wrong);
        }
        for policy in &suite.policies {
            command(1, &format!("policy {}", policy.policy), wrongs_of_policy(policy));
        }
        command(1, "suite", wrongs_of_suite(suite));
    }
    let tally = super::Tally::of(report);
    let cases: usize = report.suites.iter().map(|suite| suite.cases.len()).sum();
    text + &format!("::notice title=tidegate test::{} of {cases} cases passed\n", tally.passed)
}

/// Without what a log would obey; lines stay lines.
fn lines(wrong: &[String]) -> String {
    let plain: Vec<String> = wrong.iter().flat_map(|wrong| wrong.lines()).map(plain).collect();
    plain.join("\n")
}

fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}
