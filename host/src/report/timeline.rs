//! What was decided and why, a line a change, over all services in order of time.

use super::changes::{Event, Run, events, most_telling};
use super::numbers::{clock, counted, grouped, plain};
use super::style::{Ink, Style, fitted};
use crate::ledger::{ChangeNote, FailureNote, Outcome};

/// The widest that names of services get. Characters.
const NAMES: usize = 24;
/// The narrowest that the column of reasons gets. Characters.
const REASON: usize = 20;

/// The timeline's columns, fixed before the first line: one by one while a replay runs, or all at once by [`timeline`].
#[derive(Clone, Debug)]
pub struct Columns {
    at: usize,
    service: usize,
    style: Style,
}

impl Columns {
    /// Columns that fit `services` and a run of `duration_s` seconds; 0 where that is not known yet.
    pub fn new<'a>(
        services: impl IntoIterator<Item = &'a str>,
        duration_s: f64,
        style: Style,
    ) -> Columns {
        let at = clock(duration_s).len();
        let longest = services.into_iter().map(|name| plain(name).chars().count()).max();
        // What the other columns and a narrow reason leave.
        let room = style.wide().saturating_sub(at + 38 + REASON).min(NAMES);
        Columns { at, service: longest.unwrap_or(0).min(room).max("service".len()), style }
    }

    /// The names of the columns.
    pub fn head(&self) -> String {
        let (at, service) = (self.at, self.service);
        let head = format!(
            "{:>at$}  {:<service$}  {:>5}  {:>7}   desired   {:<5}  reason",
            "at", "service", "ready", "waiting", "mode"
        );
        self.style.paint(Ink::Faint, &head) + "\n"
    }

    /// One change, with the line break at its end. A long reason goes on below, in its own column.
    pub fn line(&self, service: &str, change: &ChangeNote) -> String {
        self.run(&Run { service, first: change, last: change, steps: 1 })
    }

    fn run(&self, run: &Run<'_>) -> String {
        let change = run.first;
        let (at, to) = (clock(change.at_s), run.last.to);
        let waiting = match change.waiting {
            0 => String::new(),
            waiting => grouped(u64::from(waiting)),
        };
        let (from, arrow) = match change.from {
            Some(from) => (from.to_string(), "→"),
            None => (String::new(), " "),
        };
        let desired = match change.from {
            Some(from) if from > to => Ink::Down,
            Some(_) | None => Ink::Up,
        };
        let mode = if change.in_panic { "panic" } else { "" };
        let mut reason = plain(&run.last.reason);
        if change.in_panic
            && let Some(rest) = reason.strip_prefix("panic: ")
        {
            reason = rest.to_owned(); // the column before says it
        }
        if run.steps > 1 {
            let until = clock(run.last.at_s);
            reason = format!("in {} steps until {until}: {reason}", grouped(run.steps));
        }
        let mut told = words(Ink::Usual, &reason);
        // A clamp stays on one line.
        told.extend(change.clamps.iter().map(|clamp| (Ink::Notice, format!("[{}]", plain(clamp)))));
        let cells = [
            (Ink::Faint, format!("{at:>0$}", self.at)),
            (Ink::Usual, self.name(&run.name())),
            (Ink::Usual, format!("{:>5}", change.ready)),
            (Ink::Notice, format!("{waiting:>7}")),
            (desired, format!("{from:>3} {arrow} {to:<3}")),
            (Ink::Alarm, format!("{mode:<5}")),
        ];
        self.row(&cells, &told)
    }

    fn failure(&self, failure: &FailureNote) -> String {
        let services = match failure.services.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} +{}", rest.len()),
        };
        let times = match failure.times {
            0 | 1 => String::new(),
            times => format!(", {} times in a row", grouped(times)),
        };
        let (stage, message) = (plain(&failure.stage), plain(&failure.message));
        let mut told = words(Ink::Alarm, &format!("policy {stage} failed{times}:"));
        told.extend(words(Ink::Usual, &format!("{message};")));
        told.extend(words(Ink::Notice, &format!("instead: {}", plain(&failure.instead))));
        let cells = [
            (Ink::Faint, format!("{:>1$}", clock(failure.at_s), self.at)),
            (Ink::Usual, self.name(&services)),
            (Ink::Usual, " ".repeat(5 + 2 + 7)),
            (Ink::Usual, " ".repeat(9)),
            (Ink::Alarm, "fault".into()),
        ];
        self.row(&cells, &told)
    }

    fn name(&self, service: &str) -> String {
        format!("{:<1$}", fitted(&plain(service), self.service), self.service)
    }

    /// The cells, and what is told in the last column, wrapped between words.
    fn row(&self, cells: &[(Ink, String)], told: &[(Ink, String)]) -> String {
        let before: usize = cells.iter().map(|(_, cell)| cell.chars().count() + 2).sum();
        let width = self.style.wide().saturating_sub(before).max(REASON);
        let mut row = String::new();
        for (ink, cell) in cells {
            row += &self.style.paint(*ink, cell);
            row += "  ";
        }
        let mut taken = 0;
        for (ink, word) in told {
            let wide = word.chars().count();
            if taken > 0 && taken + 1 + wide > width {
                row.push('\n');
                row += &" ".repeat(before);
                taken = 0;
            } else if taken > 0 {
                row.push(' ');
                taken += 1;
            }
            row += &self.style.paint(*ink, word);
            taken += wide;
        }
        row.truncate(row.trim_end().len());
        row.push('\n');
        row
    }
}

fn words(ink: Ink, text: &str) -> Vec<(Ink, String)> {
    text.split_whitespace().map(|word| (ink, word.to_owned())).collect()
}

/// Changes and reasons only, a line a change, small steps for one reason on one line; policies that failed stand among them.
///
/// At most `limit` changes, the first of each kind and the largest of each service and stretch of time; a last line says how many more there are. `None`: all.
pub fn timeline(outcome: &Outcome, style: Style, limit: Option<usize>) -> String {
    let (mut text, left_out) = told(outcome, style, limit);
    if left_out > 0 {
        let more = format!(
            "and {} more: the first of each kind and the largest are shown; --all shows all",
            counted(left_out as u64, "line")
        );
        text += &style.paint(Ink::Faint, &more);
        text.push('\n');
    }
    text
}

/// The lines of a timeline, and how many were left out.
pub(super) fn told(outcome: &Outcome, style: Style, limit: Option<usize>) -> (String, usize) {
    let all = events(outcome);
    let mut names: Vec<String> =
        outcome.services.iter().map(|service| service.name.clone()).collect();
    names.extend(all.iter().filter_map(|event| match event {
        Event::Changed(run) => run.first.pool.is_some().then(|| run.name()),
        Event::Failed(_) => None,
    }));
    let names = names.iter().map(String::as_str);
    let columns = Columns::new(names, outcome.setup.duration_s, style);
    let told = most_telling(&all, limit.unwrap_or(usize::MAX));
    let mut text = columns.head();
    for event in &told {
        text += &match event {
            Event::Changed(run) => columns.run(run),
            Event::Failed(failure) => columns.failure(failure),
        };
    }
    (text, all.len() - told.len())
}
