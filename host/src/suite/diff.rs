//! What changed in a snapshot, line by line, and what that costs.

use similar::{ChangeTag, TextDiff};

use super::snapshot::{Info, Snapshot};
use crate::metrics::{Metric, Unit};
use crate::report::numbers::{dollars, grouped, measure};
use crate::report::style::{Ink, Style};

/// Lines of a diff that are shown around what changed.
const CONTEXT: usize = 3;

/// The numbers that a change is told by, where they differ or not; the others only where they do.
const ALWAYS: [&str; 4] = ["gpu_minutes", "cost", "wait_s.p99", "requests.expired"];
const IF_CHANGED: [&str; 7] = [
    "requests.failed",
    "requests.unfinished",
    "wait_s.p95",
    "cold_starts",
    "changes",
    "wanted_min",
    "wanted_max",
];

/// A number before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct CostDelta {
    /// What people call it.
    pub title: String,
    /// Its name.
    pub name: String,
    /// What it was.
    pub before: f64,
    /// What it is.
    pub now: f64,
    unit: Unit,
}

/// The lines that differ between two texts, with a few around them and their numbers on both sides.
pub fn lines(before: &str, now: &str, style: Style) -> String {
    let diff = TextDiff::from_lines(before, now);
    let most = before.lines().count().max(now.lines().count());
    let width = most.to_string().len().max(2);
    let number = |at: Option<usize>| at.map_or(String::new(), |at| (at + 1).to_string());
    let mut text = String::new();
    for (nth, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if nth > 0 {
            text += &style.paint(Ink::Faint, &format!("{:>1$} ┊\n", "", 2 * width + 1));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, ink) = match change.tag() {
                ChangeTag::Equal => (' ', Ink::Faint),
                ChangeTag::Delete => ('-', Ink::Alarm),
                ChangeTag::Insert => ('+', Ink::Up),
            };
            let numbers = format!(
                "{:>width$} {:>width$} │",
                number(change.old_index()),
                number(change.new_index())
            );
            text += &style.paint(Ink::Faint, &numbers);
            let line = format!("{sign}{}", change.value().trim_end_matches('\n'));
            text += &style.paint(ink, line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// What the change costs: the numbers that a person asks for first, and what else differs.
pub fn deltas(before: &Info, now: &Info) -> Vec<CostDelta> {
    let delta = |name: &str| {
        let (was, is) = (*before.numbers.get(name)?, *now.numbers.get(name)?);
        let metric = Metric::named(name);
        Some(CostDelta {
            title: metric.map_or_else(|| name.replace('_', " "), |metric| metric.title.to_owned()),
            name: name.to_owned(),
            before: was,
            now: is,
            unit: metric.map_or(Unit::Count, |metric| metric.unit),
        })
    };
    let always = ALWAYS.iter().filter_map(|name| delta(name));
    let others = IF_CHANGED.iter().filter_map(|name| delta(name));
    always.chain(others.filter(|one| one.before != one.now)).collect()
}

impl CostDelta {
    /// `GPU-minutes 294 → 341 (+16 %)`; `expired 0` where nothing changed.
    pub fn shown(&self) -> String {
        let value = |value: f64| match self.unit {
            Unit::Seconds => format!("{} s", measure(value)),
            Unit::Dollars => dollars(value),
            Unit::Count | Unit::Minutes if value.fract() == 0.0 && value >= 0.0 => {
                grouped(value as u64)
            }
            Unit::Count | Unit::Minutes => format!("{value}"),
        };
        let CostDelta { title, before, now, .. } = self;
        if before == now {
            return format!("{title} {}", value(*now));
        }
        let share = (now - before) / before * 100.0;
        let change = match share.is_finite() {
            true if share.abs() < 0.5 => String::new(),
            true => {
                let sign = if share > 0.0 { '+' } else { '−' };
                format!(" ({sign}{} %)", grouped(share.abs().round() as u64))
            }
            false => String::new(),
        };
        format!("{title} {} → {}{change}", value(*before), value(*now))
    }

    /// Whether more of it is worse, and there is more.
    pub fn is_worse(&self) -> bool {
        self.now > self.before
    }

    /// Whether it is as it was.
    pub fn is_same(&self) -> bool {
        self.now == self.before
    }
}

/// The versions of the simulator's model, where a snapshot was made by another one than this.
pub fn other_simulator(before: &Snapshot, now: &Snapshot) -> Option<(u32, u32)> {
    let (was, is) = (before.head.info.simulator?, now.head.info.simulator?);
    (was != is).then_some((was, is))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_what_changed_with_a_few_lines_around_it() {
        let before: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let now = before.replace("line 3\n", "line three\n").replace("line 17\n", "");
        insta::assert_snapshot!(lines(&before, &now, Style::PLAIN), @r"
         1  1 │ line 1
         2  2 │ line 2
         3    │-line 3
            3 │+line three
         4  4 │ line 4
         5  5 │ line 5
         6  6 │ line 6
              ┊
        14 14 │ line 14
        15 15 │ line 15
        16 16 │ line 16
        17    │-line 17
        18 17 │ line 18
        19 18 │ line 19
        20 19 │ line 20
        ");
    }

    #[test]
    fn what_a_change_costs_is_told_in_the_units_of_its_numbers() {
        let info = |numbers: &[(&str, f64)]| Info {
            numbers: numbers.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            ..Info::default()
        };
        let before = info(&[
            ("gpu_minutes", 294.0),
            ("cost", 7.284),
            ("wait_s.p99", 30.0),
            ("requests.expired", 0.0),
            ("cold_starts", 40.0),
            ("panics", 2.0),
        ]);
        let now = info(&[
            ("gpu_minutes", 341.0),
            ("cost", 8.443),
            ("wait_s.p99", 21.3),
            ("requests.expired", 3.0),
            ("cold_starts", 40.0),
            ("panics", 3.0),
        ]);
        let told: Vec<String> = deltas(&before, &now).iter().map(CostDelta::shown).collect();
        assert_eq!(
            told,
            [
                "GPU-minutes 294 → 341 (+16 %)",
                "cost $7.28 → $8.44 (+16 %)",
                "wait p99 30.0 s → 21.3 s (−29 %)",
                "expired 0 → 3"
            ]
        );
        let told: Vec<String> = deltas(&before, &before).iter().map(CostDelta::shown).collect();
        assert_eq!(told, ["GPU-minutes 294", "cost $7.28", "wait p99 30.0 s", "expired 0"]);
    }
}
