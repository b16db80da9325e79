//! Two runs side by side for a terminal and for a job summary: their numbers, where they part first, gates.

use super::numbers::{clock, counted, dollars, measure, plain, short, short_digest};
use super::stand::{moved, rows};
use super::style::{Ink, Style, fitted, wrapped};
use crate::compare::{Checked, Comparison, Delta, Parting, SideNote, Stand};
use crate::engine::plan::ClampRule;
use crate::metrics::{Metric, Unit, Wanted};

/// Services that are told one by one where nobody asks for all.
const FEW: usize = 4;
/// The widest that names get. Characters.
const NAMES: usize = 40;
/// Moves of replicas that are told of each side.
const MOVES: usize = 4;

/// Two runs for a terminal. With `all`, every service is told, otherwise only where they are few.
pub fn comparison(comparison: &Comparison, all: bool, style: Style) -> String {
    let mut text = String::new();
    for (letter, side) in [("A", &comparison.a), ("B", &comparison.b)] {
        text += &style.paint(Ink::Strong, letter);
        text += &format!("  {}\n", plain(&side.name));
        for line in wrapped(&setup(side), style.wide() - 3) {
            text += &style.paint(Ink::Faint, &format!("   {line}\n"));
        }
    }
    text.push('\n');
    text += &table(comparison, all, style);
    text.push('\n');
    text += &match &comparison.parting {
        None => {
            "they never part: both planned the same for every service at every step\n".to_owned()
        }
        Some(parting) => parted(parting, style),
    };
    if !comparison.gates.is_empty() {
        text.push('\n');
        text += &gates(&comparison.gates, style);
    }
    text
}

/// Profile and policies of a side on one line.
pub(super) fn setup(side: &SideNote) -> String {
    let policies: Vec<String> = side
        .setup
        .policies
        .iter()
        .map(|policy| format!("{} {}", plain(&policy.stage), short_digest(&policy.digest)))
        .collect();
    format!("profile {}; {}", plain(&side.setup.profile), policies.join(", "))
}

/// The cells of a number: its name, A's, B's, how much more, and that as a share.
pub(super) struct Cells {
    pub(super) title: &'static str,
    pub(super) a: String,
    pub(super) b: String,
    pub(super) delta: String,
    pub(super) relative: String,
    /// Whether B is better; `None`: it is the same, or neither.
    pub(super) is_better: Option<bool>,
}

pub(super) fn cells(delta: &Delta) -> Cells {
    let metric = metric(delta.metric);
    let signed =
        |value: f64, told: String| format!("{}{told}", if value < 0.0 { "-" } else { "+" });
    let is_same = delta.delta == 0.0;
    let is_better = match metric.wanted {
        Wanted::Neither => None,
        Wanted::More => Some(delta.delta > 0.0),
        Wanted::Less => Some(delta.delta < 0.0),
    };
    Cells {
        title: metric.title,
        a: value(metric, delta.a),
        b: value(metric, delta.b),
        delta: match is_same {
            true => "same".to_owned(),
            false => signed(delta.delta, value(metric, delta.delta.abs())),
        },
        relative: match delta.relative {
            Some(share) if !is_same => signed(share, format!("{:.1} %", share.abs() * 100.0)),
            Some(_) | None => String::new(),
        },
        is_better: is_better.filter(|_| !is_same),
    }
}

fn metric(name: &str) -> &'static Metric {
    Metric::named(name).expect("a comparison has the table's metrics")
}

/// A number in its unit, as people read it.
fn value(metric: &Metric, value: f64) -> String {
    match metric.unit {
        Unit::Count | Unit::Minutes if value == value.trunc() => short(value),
        Unit::Count | Unit::Minutes => format!("{value:.1}"),
        Unit::Seconds if value == 0.0 => "0 s".to_owned(),
        Unit::Seconds => format!("{} s", measure(value)),
        Unit::Dollars => dollars(value),
    }
}

/// The services that are told, each with the numbers that differ.
pub(super) fn told_services(comparison: &Comparison, all: bool) -> Vec<(&str, Vec<&Delta>)> {
    let services = &comparison.services;
    if services.len() < 2 || !all && services.len() > FEW {
        return Vec::new();
    }
    let differing = |deltas: &'_ [Delta]| -> bool { deltas.iter().any(|delta| delta.delta != 0.0) };
    services
        .iter()
        .filter(|(_, deltas)| differing(deltas))
        .map(|(name, deltas)| {
            (name.as_str(), deltas.iter().filter(|delta| delta.delta != 0.0).collect())
        })
        .collect()
}

fn table(comparison: &Comparison, all: bool, style: Style) -> String {
    let services = told_services(comparison, all);
    let whole: Vec<Cells> = comparison.metrics.iter().map(cells).collect();
    let inner: Vec<(String, Vec<Cells>)> = services
        .iter()
        .map(|(name, deltas)| {
            (fitted(&plain(name), NAMES), deltas.iter().map(|delta| cells(delta)).collect())
        })
        .collect();
    let every = || whole.iter().chain(inner.iter().flat_map(|(_, cells)| cells));
    let width = |cell: fn(&Cells) -> &str| {
        every().map(|cells| cell(cells).chars().count()).max().unwrap_or(0)
    };
    let title = width(|cells| cells.title) + 2;
    let (a, b) = (width(|cells| &cells.a).max(6), width(|cells| &cells.b).max(6));
    let (delta, relative) = (width(|cells| &cells.delta).max(6), width(|cells| &cells.relative));
    let row = |indent: usize, cells: &Cells| {
        let ink = match cells.is_better {
            None => Ink::Faint,
            Some(true) => Ink::Up,
            Some(false) => Ink::Notice,
        };
        let name = format!("{:indent$}{:<width$}", "", cells.title, width = title - indent);
        let sides = format!("  {:>a$}  {:>b$}", cells.a, cells.b);
        let change = format!("  {:>delta$}  {:>relative$}", cells.delta, cells.relative);
        format!("{name}{sides}{}", style.paint(ink, change.trim_end())) + "\n"
    };
    let head = format!("{:title$}  {:>a$}  {:>b$}  {:>delta$}", "", "A", "B", "B - A");
    let mut text = style.paint(Ink::Faint, &head) + "\n";
    for cells in &whole {
        text += &row(0, cells);
    }
    for (name, cells) in &inner {
        text += &style.paint(Ink::Strong, name);
        text.push('\n');
        for cells in cells {
            text += &row(2, cells);
        }
    }
    let same = comparison.services.len() - comparison_differing(comparison);
    if comparison.services.len() > 1 {
        let differ = comparison_differing(comparison);
        if inner.is_empty() && differ > 0 {
            let told = format!(
                "{differ} of {} services differ; --by-service tells them one by one\n",
                comparison.services.len()
            );
            text += &style.paint(Ink::Faint, &told);
        } else if same > 0 && differ > 0 {
            let told =
                format!("{}: all numbers the same\n", counted(same as u64, "further service"));
            text += &style.paint(Ink::Faint, &told);
        }
    }
    text
}

fn comparison_differing(comparison: &Comparison) -> usize {
    let differs = |deltas: &&Vec<Delta>| deltas.iter().any(|delta| delta.delta != 0.0);
    comparison.services.values().filter(differs).count()
}

/// Where the runs part, and what each did then.
fn parted(parting: &Parting, style: Style) -> String {
    let head = format!("they part at {}, over {}", clock(parting.at_s), plain(&parting.service));
    let mut text = style.paint(Ink::Strong, &head);
    text += &format!(": {}\n", over(parting));
    for (letter, stand) in [("A", &parting.a), ("B", &parting.b)] {
        let mut lines = wrapped(&stood(stand), style.wide() - 5).into_iter();
        text += &format!(
            "  {}  {}\n",
            style.paint(Ink::Strong, letter),
            lines.next().unwrap_or_default()
        );
        lines.for_each(|line| text += &format!("     {line}\n"));
        let told =
            stand.moves.iter().filter(|one| one.what != crate::engine::inspection::Move::Stays);
        for one in told.clone().take(MOVES) {
            for line in wrapped(&moved(one), style.wide() - 5) {
                text += &style.paint(Ink::Faint, &format!("     {line}\n"));
            }
        }
        let more = told.count().saturating_sub(MOVES);
        if more > 0 {
            text += &style.paint(Ink::Faint, &format!("     and {more} more\n"));
        }
    }
    text.push('\n');
    let mut numbers = side_by_side(parting);
    let all = numbers.len();
    numbers.retain(|(_, a, b)| a != b);
    let name = numbers.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    let (a, b) = (
        numbers.iter().map(|(_, a, _)| a.chars().count()).max().unwrap_or(0).max(6),
        numbers.iter().map(|(.., b)| b.chars().count()).max().unwrap_or(0).max(6),
    );
    text += &style.paint(Ink::Faint, &format!("  {:name$}  {:>a$}  {:>b$}\n", "", "A", "B"));
    for (title, one, other) in &numbers {
        text += &format!("  {title:<name$}  {one:>a$}  {other:>b$}\n");
    }
    let same = counted((all - numbers.len()) as u64, "further number");
    text += &style.paint(Ink::Faint, &format!("  {same} behind it: the same on both sides\n"));
    text
}

/// What it was that differed, in words.
pub(super) fn over(parting: &Parting) -> String {
    match parting.over.as_str() {
        "bounds" => "the stages want the same, and bounds make something else of it".to_owned(),
        "placement" => "as many replicas are wanted, and they go or leave elsewhere".to_owned(),
        "replicas" => "as many replicas are wanted, but their backend's news differ".to_owned(),
        stage => format!("{} wants otherwise", plain(stage)),
    }
}

/// What a side did, on one line.
pub(super) fn stood(stand: &Stand) -> String {
    let Some(change) = &stand.change else {
        let last = stand.inspection.stages.iter().rev().find(|stage| !stage.reason.is_empty());
        let why = last.map_or(String::new(), |stage| {
            format!(" ({}: {})", plain(&stage.stage), plain(&stage.reason))
        });
        return format!("stays at {}{why}", stand.inspection.desired);
    };
    let from = change.from.map_or(String::new(), |from| format!("{from} → "));
    let clamps: String = change.clamps.iter().map(|one| format!(" [{}]", clamp(one))).collect();
    format!("{from}{}: {}{clamps}", change.to, plain(&change.reason))
}

/// A clamp as the timeline tells it.
pub(super) fn clamp(clamp: &crate::engine::Clamp) -> String {
    let rule = match clamp.rule {
        ClampRule::Min => "minimum",
        ClampRule::Max => "maximum",
        ClampRule::Initial => "initial scale",
        ClampRule::Activation => "activation scale",
        ClampRule::Yielded => "room for another service",
        ClampRule::Pinned => "pinned",
    };
    format!("{rule}: {} → {}", clamp.from, clamp.to)
}

/// The numbers behind both, stage by stage: inputs, figures, what was wanted.
pub(super) fn side_by_side(parting: &Parting) -> Vec<(String, String, String)> {
    let start = parting.at_ms - (parting.at_s * 1e3).round() as u64;
    let (a, b) = (rows(&parting.a.inspection, start), rows(&parting.b.inspection, start));
    let absent = || "–".to_owned();
    let mut lines: Vec<(String, String, String)> = Vec::new();
    let mut taken = vec![false; b.len()];
    for (name, value) in &a {
        let other = b.iter().enumerate().find(|(at, (other, _))| !taken[*at] && other == name);
        let told = other.map_or_else(absent, |(at, (_, value))| {
            taken[at] = true;
            value.clone()
        });
        lines.push((name.clone(), value.clone(), told));
    }
    // What only B has goes after what it has in common with A of the same stage.
    for (at, (name, value)) in b.iter().enumerate().filter(|(at, _)| !taken[*at]) {
        let before = b[..at]
            .iter()
            .rev()
            .find_map(|(before, _)| lines.iter().position(|(known, ..)| known == before));
        lines.insert(before.map_or(0, |at| at + 1), (name.clone(), absent(), value.clone()));
    }
    lines
}

/// What a gate came to, as figures: A's, B's, and what B's was held against.
pub(super) fn figures(gate: &Checked) -> String {
    let metric = metric(gate.metric);
    let told = |number| value(metric, number);
    let relation = match gate.relation {
        "<=" => "at most",
        "<" => "below",
        ">=" => "at least",
        ">" => "above",
        "==" => "exactly",
        other => unreachable!("a gate has no relation {other}"),
    };
    let note =
        gate.note.filter(|_| !gate.has_passed).map_or(String::new(), |note| format!("; {note}"));
    format!("{} → {}, {relation} {}{note}", told(gate.a), told(gate.b), told(gate.bound))
}

fn gates(gates: &[Checked], style: Style) -> String {
    let width = gates.iter().map(|gate| gate.gate.chars().count()).max().unwrap_or(0);
    let mut text = style.paint(Ink::Strong, "gates") + "\n";
    for gate in gates {
        let (word, ink) =
            if gate.has_passed { ("passed", Ink::Up) } else { ("FAILED", Ink::Alarm) };
        let name = format!("{:<width$}", plain(&gate.gate));
        text += &format!("  {}  {name}  {}\n", style.paint(ink, word), figures(gate));
    }
    let failed = gates.iter().filter(|gate| !gate.has_passed).count();
    text += &match failed {
        0 => format!("{} passed\n", counted(gates.len() as u64, "gate")),
        failed => format!("{failed} of {} failed\n", counted(gates.len() as u64, "gate")),
    };
    text
}

/// Two runs in Markdown, for the summary of a job or a comment.
pub fn comparison_markdown(comparison: &Comparison, all: bool) -> String {
    let safe = |text: &str| plain(text).replace('|', "\\|").replace('<', "&lt;").replace('`', "'");
    let mut text =
        format!("### {} against {}\n\n", safe(&comparison.b.name), safe(&comparison.a.name));
    for gate in &comparison.gates {
        let mark = if gate.has_passed { "✅" } else { "❌" };
        // Within a code span nothing is markup but its end.
        let code = plain(&gate.gate).replace('`', "'");
        text += &format!("- {mark} `{code}`: {}\n", figures(gate));
    }
    if !comparison.gates.is_empty() {
        text.push('\n');
    }
    let mut table = |title: &str, deltas: &[&Delta]| {
        text += &format!(
            "| {} | A | B | B - A | |\n| --- | ---: | ---: | ---: | ---: |\n",
            safe(title)
        );
        for cells in deltas.iter().map(|delta| cells(delta)) {
            let Cells { title, a, b, delta, relative, .. } = cells;
            text += &format!("| {title} | {a} | {b} | {delta} | {relative} |\n");
        }
        text.push('\n');
    };
    table("all services", &comparison.metrics.iter().collect::<Vec<_>>());
    for (name, deltas) in told_services(comparison, all) {
        table(name, &deltas);
    }
    text += &match &comparison.parting {
        None => "They never part.\n".to_owned(),
        Some(parting) => format!(
            "They part at {}, over {}: {}.\n\n- A: {}\n- B: {}\n",
            clock(parting.at_s),
            safe(&parting.service),
            over(parting),
            safe(&stood(&parting.a)),
            safe(&stood(&parting.b)),
        ),
    };
    text += &format!("\nA: {}. B: {}.\n", safe(&setup(&comparison.a)), safe(&setup(&comparison.b)));
    text
}
