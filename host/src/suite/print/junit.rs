//! A run in the form that CI systems read: JUnit's XML.

use std::fmt::Write as _;

use super::{Verdict, details, wrongs, wrongs_of_policy, wrongs_of_suite};
use crate::report::Style;
use crate::report::numbers::plain;
use crate::suite::Report;

/// One `testsuite` a suite: its cases, its policies' contracts, and the suite itself where something is wrong with it.
pub fn junit(report: &Report) -> String {
    let mut xml =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tidegate\">\n".to_owned();
    for suite in &report.suites {
        let file = suite.file.display().to_string();
        let mut cases: Vec<Case> = suite
            .cases
            .iter()
            .map(|case| Case {
                name: case.name.clone(),
                class: file.clone(),
                took_s: case.took_s,
                is_error: matches!(Verdict::of(case), Verdict::Broken | Verdict::Trapped),
                kind: Verdict::of(case).name(),
                wrong: wrongs(case),
                text: details(case, Style::PLAIN),
            })
            .collect();
        cases.extend(suite.policies.iter().map(|policy| Case {
            name: format!("policy {}", policy.policy),
            class: file.clone(),
            took_s: 0.0,
            is_error: false,
            kind: "contract",
            wrong: wrongs_of_policy(policy),
            text: String::new(),
        }));
        let wrong = wrongs_of_suite(suite);
        if !wrong.is_empty() {
            cases.push(Case {
                name: "the suite".to_owned(),
                class: file.clone(),
                took_s: 0.0,
                is_error: suite.broken.is_some(),
                kind: "suite",
                wrong,
                text: String::new(),
            });
        }
        let count = |is_error| {
            cases.iter().filter(|case| !case.wrong.is_empty() && case.is_error == is_error).count()
        };
        let took: f64 = suite.cases.iter().map(|case| case.took_s).sum();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{took:.3}\">",
            escaped(&file),
            cases.len(),
            count(false),
            count(true)
        );
        cases.iter().for_each(|case| xml += &case.render());
        xml += "  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

struct Case {
    name: String,
    class: String,
    took_s: f64,
    is_error: bool,
    kind: &'static str,
    wrong: Vec<String>,
    text: String,
}

impl Case {
    fn render(&self) -> String {
        let (name, class) = (escaped(&plain(&self.name)), escaped(&plain(&self.class)));
        let head = format!(
            "    <testcase name=\"{name}\" classname=\"{class}\" time=\"{:.3}\"",
            self.took_s
        );
        let Some(first) = self.wrong.first() else { return head + "/>\n" };
        let element = if self.is_error { "error" } else { "failure" };
        let text = if self.text.is_empty() { self.wrong.join("\n") } else { self.text.clone() };
        format!(
            "{head}>\n      <{element} type=\"{}\" message=\"{}\">{}</{element}>\n    </testcase>\n",
            self.kind,
            escaped(&plain(first)),
            escaped(&text)
        )
    }
}

/// Text without what XML takes for its own, or has no place for.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => escaped.push(letter),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}
