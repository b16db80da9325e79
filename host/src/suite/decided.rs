//! What was decided about recorded inputs, as a table that a person reads.

use std::collections::BTreeMap;

use crate::policy::CallErrorKind;
use crate::report::numbers::{clock, counted, plain};
use crate::report::style::wrapped;
use crate::time::Time;

/// Rows that are shown, those that differ from the one before first.
const ROWS_AT_MOST: usize = 40;
/// Characters of a line.
const WIDTH: usize = 100;
/// The narrowest that the column of reasons gets.
const REASON: usize = 24;

/// Decisions about the rows of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Decided {
    /// The names of the columns that were given, without the time.
    pub columns: Vec<String>,
    /// The names of the outputs.
    pub outputs: Vec<String>,
    /// A row a decision.
    pub decisions: Vec<Decision>,
    /// Where another decision was wanted, a line each.
    pub mismatches: Vec<String>,
    /// Rows without a decision.
    pub failures: Vec<(CallErrorKind, String)>,
    /// What the policy says of its settings.
    pub warnings: Vec<String>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Decision {
    /// When.
    pub at: Time,
    /// About which service; empty where the table has none.
    pub service: String,
    /// The cells of the row.
    pub cells: Vec<String>,
    /// Replicas; `None`: things are left as they are.
    pub wanted: Option<u32>,
    /// Until when it stands; 0 where the policy does not say. Unix milliseconds.
    pub next_at_ms: u64,
    /// A value for each output; NaN where there is none.
    pub outputs: Vec<f64>,
    /// Why.
    pub reason: String,
    /// What happened instead of a decision.
    pub failure: Option<String>,
}

impl Decided {
    /// The numbers of all services, or of one, by name.
    pub(super) fn numbers(&self, service: Option<&str>) -> BTreeMap<&'static str, f64> {
        let its: Vec<&Decision> = self
            .decisions
            .iter()
            .filter(|decision| service.is_none_or(|name| decision.service == name))
            .collect();
        let wanted = its.iter().filter_map(|decision| decision.wanted).map(f64::from);
        let failures = its.iter().filter(|decision| decision.failure.is_some()).count();
        [
            ("rows", its.len() as f64),
            ("changes", self.changes(service) as f64),
            ("failures", failures as f64),
            ("wanted_min", wanted.clone().fold(f64::NAN, f64::min)),
            ("wanted_max", wanted.fold(f64::NAN, f64::max)),
        ]
        .into()
    }

    /// The services, in order.
    pub(super) fn services(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.decisions.iter().map(|decision| decision.service.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Decisions that want another number than the one before about the same service.
    fn changes(&self, service: Option<&str>) -> usize {
        let mut last: BTreeMap<&str, u32> = BTreeMap::new();
        let mut changes = 0;
        for decision in &self.decisions {
            let Some(wanted) = decision.wanted else { continue };
            if service.is_some_and(|name| decision.service != name) {
                continue;
            }
            let before = last.insert(&decision.service, wanted);
            changes += usize::from(before.is_some_and(|before| before != wanted));
        }
        changes
    }

    /// The outputs with another value than before, each with its name.
    fn outputs_that_differ(&self, before: &[f64], now: &[f64]) -> Vec<String> {
        let was = |at: usize| before.get(at).copied().unwrap_or(f64::NAN);
        let differs = |(at, value): &(usize, f64)| {
            was(*at) != *value && !(was(*at).is_nan() && value.is_nan())
        };
        let told = |(at, now): (usize, f64)| format!("{} {}", plain(&self.outputs[at]), value(now));
        now.iter().copied().enumerate().filter(differs).map(told).collect()
    }

    /// The table: what was seen, and what came of it. Long ones show the rows that differ from the one before.
    pub(super) fn render(&self, start: Time) -> String {
        let mut last: BTreeMap<&str, &Decision> = BTreeMap::new();
        let is_long = self.decisions.len() > ROWS_AT_MOST;
        let mut shown: Vec<&Decision> = Vec::new();
        for decision in &self.decisions {
            let before = last.insert(&decision.service, decision);
            let is_news = before.is_none_or(|before| {
                before.wanted != decision.wanted || before.failure != decision.failure
            });
            if is_news || !is_long {
                shown.push(decision);
            }
        }
        let news = shown.len();
        let left_out = self.decisions.len() - news.min(ROWS_AT_MOST);
        shown.truncate(ROWS_AT_MOST);
        let has_until = shown.iter().any(|decision| decision.next_at_ms != 0);
        let mut head = vec!["at".to_owned()];
        head.extend(self.columns.iter().cloned());
        head.push("wanted".to_owned());
        if has_until {
            head.push("until".to_owned());
        }
        let mut lines = vec![head];
        for decision in &shown {
            let mut line = vec![clock(decision.at.since(start) as f64 / 1e3)];
            line.extend(decision.cells.iter().map(|cell| plain(cell)));
            line.push(match (&decision.failure, decision.wanted) {
                (Some(_), _) => "failed".to_owned(),
                (None, None) => "hold".to_owned(),
                (None, Some(wanted)) => wanted.to_string(),
            });
            if has_until {
                line.push(until(decision.next_at_ms, start));
            }
            lines.push(line);
        }
        let mut outputs: BTreeMap<&str, &[f64]> = BTreeMap::new();
        let told: Vec<String> = shown
            .iter()
            .map(|one| {
                let mut told = plain(one.failure.as_deref().unwrap_or(&one.reason));
                let before = outputs.insert(&one.service, &one.outputs).unwrap_or_default();
                for clause in self.outputs_that_differ(before, &one.outputs) {
                    told += if told.is_empty() { "" } else { "; " };
                    told += &clause;
                }
                told
            })
            .collect();
        let widths: Vec<usize> = (0..lines[0].len())
            .map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0))
            .collect();
        let before: usize = widths.iter().map(|width| width + 2).sum();
        let room = WIDTH.saturating_sub(before).max(REASON);
        let mut text = String::new();
        for (at, line) in lines.iter().enumerate() {
            for (cell, width) in line.iter().zip(&widths) {
                let is_text = cell.starts_with(|c: char| c.is_alphabetic()) && at > 0;
                let is_word = is_text && cell != "hold" && cell != "failed" && cell != "ever";
                match is_word {
                    true => text += &format!("{cell:<width$}  "),
                    false => text += &format!("{cell:>width$}  "),
                }
            }
            let reason = match at.checked_sub(1) {
                None => "reason; outputs that differ from the row before",
                Some(at) => &told[at],
            };
            let reason = wrapped(reason, room).join(&format!("\n{}", " ".repeat(before)));
            text += &reason;
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        if left_out > 0 {
            text += &format!("and {} more", counted(left_out as u64, "row"));
            // Nobody need look for what is not there.
            text += if news <= ROWS_AT_MOST { ", in which nothing else is wanted\n" } else { "\n" };
        }
        text
    }
}

fn value(value: f64) -> String {
    if value.is_nan() {
        "not known".to_owned()
    } else if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

fn until(at_ms: u64, start: Time) -> String {
    match at_ms {
        0 => "-".to_owned(),
        u64::MAX => "ever".to_owned(),
        at_ms => clock(Time(at_ms).since(start) as f64 / 1e3),
    }
}
