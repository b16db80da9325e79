//! The sums of a replay for a terminal: what became of the requests, what it took, and how it went over time.

use jiff::Timestamp;

use super::numbers::{clock, counted, grouped, hours_minutes, plain, short, short_digest};
use super::spark::spark;
use super::style::{Ink, Style, fitted, wrapped};
use super::table::{
    CAPACITY, Column, REQUESTS, WAITS, by_arrivals, services_by_arrivals, together,
};
use crate::ledger::{Outcome, Setup, Summary};

/// Services that get a row of their own; further ones are summed up.
const ROWS: usize = 12;
/// Services that are drawn over time.
const DRAWN: usize = 5;
/// Warnings and failures that are written out.
const NOTES: usize = 8;
/// The widest that names of services get. Characters.
const NAMES: usize = 24;

/// What a replay came to, for a terminal: two tables, a line of blocks for each of the largest services, how the run was set up,
/// warnings, and policies that failed.
pub fn summary(outcome: &Outcome, style: Style) -> String {
    let mut text = tables(outcome, style);
    text.push('\n');
    text += &drawn(outcome, style);
    for (name, told) in setup(&outcome.setup) {
        text += &note(name, Ink::Usual, &told, style);
    }
    text += &notes("warning", Ink::Notice, outcome.warnings.iter().map(|told| plain(told)), style);
    let failures = outcome.failures.iter().map(|failure| {
        format!(
            "{} at {}: {}; instead: {} ({})",
            plain(&failure.stage),
            clock(failure.at_s),
            plain(&failure.message),
            plain(&failure.instead),
            counted(failure.times, "time")
        )
    });
    text += &notes("failure", Ink::Alarm, failures, style);
    text
}

/// What became of the requests, and what that took.
pub(super) fn tables(outcome: &Outcome, style: Style) -> String {
    let rows = rows(outcome);
    let mut text = table(&rows, "requests", &[("", REQUESTS), ("wait, s:", WAITS)], style);
    text.push('\n');
    text + &table(&rows, "capacity", &[("", CAPACITY)], style)
}

/// A row of the tables: its name, its sums, and whether it stands for several services but not for all.
struct Row {
    name: String,
    sum: Summary,
    is_rest: bool,
    is_whole: bool,
}

fn rows(outcome: &Outcome) -> Vec<Row> {
    let services = by_arrivals(&outcome.summary);
    // A rest of one would take as many lines as the service itself.
    let own = if services.len() > ROWS + 1 { ROWS } else { services.len() };
    let (told, rest) = services.split_at(own);
    let row = |&(name, sum): &(&str, &Summary)| Row {
        name: fitted(&plain(name), NAMES),
        sum: sum.clone(),
        is_rest: false,
        is_whole: false,
    };
    let mut rows: Vec<Row> = told.iter().map(row).collect();
    if !rest.is_empty() {
        let name = format!("{} others", rest.len());
        rows.push(Row { name, sum: together(rest), is_rest: true, is_whole: false });
    }
    if services.len() > 1 {
        let sum = outcome.summary.whole.clone();
        rows.push(Row { name: "together".into(), sum, is_rest: false, is_whole: true });
    }
    rows
}

/// A table with the services as rows. Columns come in groups; a group's name stands before its first column.
fn table(rows: &[Row], title: &str, groups: &[(&str, &[Column])], style: Style) -> String {
    let first = rows.iter().map(|row| row.name.chars().count()).chain([title.len()]).max();
    let first = first.unwrap_or(0);
    let mut lines = vec![style.paint(Ink::Strong, &format!("{title:<first$}"))];
    lines.extend(rows.iter().map(|row| {
        let ink = if row.is_rest { Ink::Faint } else { Ink::Usual };
        style.paint(ink, &format!("{:<first$}", row.name))
    }));
    let mut whole = first;
    for (group, columns) in groups {
        for (i, column) in columns.iter().enumerate() {
            let head = match (i, *group) {
                (0, "") | (1.., _) => column.name.to_owned(),
                (0, group) => format!("  {group} {}", column.name),
            };
            let cell = |row: &Row| match row.is_rest && !column.adds_up {
                true => "–".into(),
                false => (column.cell)(&row.sum),
            };
            let cells: Vec<String> = rows.iter().map(cell).collect();
            let width = cells.iter().chain([&head]).map(|cell| cell.chars().count()).max();
            let width = width.unwrap_or(0);
            whole += 2 + width;
            lines[0] += &style.paint(Ink::Faint, &format!("  {head:>width$}"));
            for (line, (row, cell)) in lines[1..].iter_mut().zip(rows.iter().zip(&cells)) {
                let ink = match cell.as_str() {
                    "0" | "–" | "$0.00" => Ink::Faint,
                    _ if row.is_rest && column.ink == Ink::Usual => Ink::Faint,
                    _ => column.ink,
                };
                *line += &style.paint(ink, &format!("  {cell:>width$}"));
            }
        }
    }
    if rows.last().is_some_and(|row| row.is_whole) {
        lines.insert(lines.len() - 1, style.paint(Ink::Faint, &"─".repeat(whole)));
    }
    lines.join("\n") + "\n"
}

/// Demand and ready replicas of the largest services over time.
fn drawn(outcome: &Outcome, style: Style) -> String {
    let order = services_by_arrivals(outcome);
    let largest: Vec<_> = order.iter().take(DRAWN).map(|&i| &outcome.services[i]).collect();
    let names = largest.iter().map(|service| plain(&service.name).chars().count());
    let name = names.max().unwrap_or(0).clamp("over time".len(), NAMES);
    let cells = style.wide().saturating_sub(name + 2 + 9 + 2 + 8).min(72);
    let mut text = String::new();
    let duration_s = outcome.setup.duration_s;
    if largest.is_empty() {
        return text;
    }
    let end = hours_minutes(duration_s);
    let scale = format!("0:00{end:>0$}", cells - "0:00".len());
    text += &style.paint(Ink::Strong, &format!("{:<name$}", "over time"));
    text += &style.paint(Ink::Faint, &format!("  {:<9}  {scale}  most\n", ""));
    for service in largest {
        let series = &service.series;
        let ready: Vec<f64> = series.ready.iter().map(|&ready| f64::from(ready)).collect();
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let (most_demand, most_ready) = (most(&series.demand), most(&ready));
        let title = fitted(&plain(&service.name), name);
        text += &format!("{title:<name$}  in flight  ");
        text += &style.paint(Ink::Usual, &spark(&series.demand, most_demand, cells));
        text += &format!("  {}\n", short(most_demand));
        text += &format!("{:<name$}  ready      ", "");
        text += &style.paint(Ink::Down, &spark(&ready, most_ready, cells));
        text += &format!("  {}\n", short(most_ready));
    }
    text.push('\n');
    text
}

/// How the run was set up: pairs of a name and what there is to say.
pub(super) fn setup(setup: &Setup) -> Vec<(&'static str, String)> {
    let start =
        i64::try_from(setup.start_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let start = match start {
        Some(start) => start.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        None => format!("{} ms", setup.start_ms),
    };
    let traces: Vec<String> = setup.traces.iter().map(|name| plain(name)).collect();
    let policies: Vec<String> = setup
        .policies
        .iter()
        .map(|policy| format!("{} {}", plain(&policy.stage), short_digest(&policy.digest)))
        .collect();
    vec![
        (
            "replayed",
            format!("{} from {start} on, {} long", traces.join(", "), clock(setup.duration_s)),
        ),
        (
            "set-up",
            format!(
                "profile {}, a tick every {} s, seed {}, {} with {}",
                plain(&setup.profile),
                short(setup.tick_ms as f64 / 1000.0),
                plain(&setup.seed),
                counted(u64::from(setup.nodes), "node"),
                counted(u64::from(setup.gpus), "GPU"),
            ),
        ),
        ("policies", policies.join(", ")),
        (
            "made by",
            format!("tidegate {}, simulator model {}", plain(&setup.version), setup.simulator),
        ),
    ]
}

fn notes(name: &str, ink: Ink, all: impl Iterator<Item = String>, style: Style) -> String {
    let all: Vec<String> = all.collect();
    let mut text: String =
        all.iter().take(NOTES).map(|told| note(name, ink, told, style)).collect();
    if all.len() > NOTES {
        let more = format!("and {} more", grouped((all.len() - NOTES) as u64));
        text += &note("", Ink::Faint, &more, style);
    }
    text
}

/// A name and a text beside it, wrapped in its own column.
fn note(name: &str, ink: Ink, told: &str, style: Style) -> String {
    let name_ink = if ink == Ink::Usual { Ink::Faint } else { ink };
    let lines = wrapped(told, style.wide() - 10);
    let mut text = style.paint(name_ink, &format!("{name:<8}"));
    for (i, line) in lines.iter().enumerate() {
        text += if i == 0 { "  " } else { "          " };
        text += line;
        text.push('\n');
    }
    text
}
