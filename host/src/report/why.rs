//! Why a service has the replicas that it has, for a terminal: from what the policies saw down to the nodes.

use jiff::Timestamp;

use super::deltas::clamp;
use super::numbers::{clock, counted, grouped, plain, short_digest};
use super::stand::{figure, input_name, input_value, moved, wants};
use super::style::{Ink, Style, wrapped};
use crate::engine::inspection::{Inspection, Move, Number, StageInspection};
use crate::time::Time;
use crate::why::{ChangeAt, FailureAt, MovedAt, Why};

/// Moves of replicas that are told.
const MOVES: usize = 12;
/// Failures that are told.
const FAILURES: usize = 8;
/// Where the text of a named line begins.
const INDENT: usize = 10;

/// Why a target has the replicas that it has. With `lists`, the changes of the span that was asked about come first.
pub fn why(why: &Why, lists: bool, style: Style) -> String {
    let mut text = String::new();
    if lists {
        text += &list(why, style);
        text.push('\n');
    }
    let force = &why.in_force;
    let head = format!("{} at {}", plain(&force.target), clock(seconds(why, why.at_ms)));
    text += &style.paint(Ink::Strong, &head);
    text += &format!(
        " ({}): {} wanted\n",
        calendar(why.at_ms),
        counted(u64::from(force.desired), "replica")
    );
    let counts = [
        (force.ready, "ready"),
        (force.starting, "starting"),
        (force.draining, "draining"),
        (force.in_flight, "requests in flight"),
        (force.waiting, "waiting"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, word)| *count > 0 || matches!(*word, "ready" | "requests in flight"))
        .map(|(count, word)| format!("{} {word}", grouped(u64::from(*count))))
        .collect();
    text += &named("there are", Ink::Usual, &counts.join(", "), style);
    text += &named("bounds", Ink::Usual, &bounds(force), style);
    if force.is_activated {
        let told =
            "the host gave it its activation scale: a request waited at zero while policies failed";
        text += &named("guard", Ink::Alarm, told, style);
    }
    if why.step_ms + 1_000 < why.at_ms {
        let told = format!(
            "nothing was looked at since {}: nothing happened, or the run was over",
            clock(seconds(why, why.step_ms))
        );
        text += &named("note", Ink::Faint, &told, style);
    }
    text += &match &why.changed {
        None => named("changed", Ink::Usual, "never until then", style),
        Some(changed) => {
            let told = format!(
                "at {}, {}",
                clock(seconds(why, changed.change.at_ms)),
                change(&changed.change)
            );
            named("changed", Ink::Usual, &told, style)
        }
    };
    text += &failures(why, style);
    if let Some(changed) = &why.changed
        && !is_told_by(&changed.inspection, force)
    {
        let at = clock(seconds(why, changed.change.at_ms));
        text += &title(&format!("what changed it, at {at}"), style);
        text += &stages(why, &changed.inspection, None, style);
        text += &title("what stands behind it now", style);
        text += &stages(why, force, Some(&changed.inspection), style);
    } else {
        text += &stages(why, force, None, style);
    }
    text += &moves(why, style);
    text
}

/// Whether all that is to be said of one is said of the other: no stage was asked in between.
fn is_told_by(one: &Inspection, other: &Inspection) -> bool {
    one.stages.len() == other.stages.len()
        && one.stages.iter().zip(&other.stages).all(|(one, other)| one.asked_at == other.asked_at)
}

fn title(told: &str, style: Style) -> String {
    format!("\n{}\n", style.paint(Ink::Strong, told))
}

fn seconds(why: &Why, at: Time) -> f64 {
    at.since(why.start_ms) as f64 / 1e3
}

fn calendar(at: Time) -> String {
    let moment = i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(
        || at.to_string(),
        |moment| moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

fn bounds(inspection: &Inspection) -> String {
    let max = match inspection.max {
        0 => "no maximum".to_owned(),
        max => format!("at most {max}"),
    };
    let min = match inspection.is_initial {
        true => format!("at least {}, the initial scale", inspection.min),
        false => format!("at least {}", inspection.min),
    };
    format!("{min}, {max}")
}

fn change(change: &ChangeAt) -> String {
    let from = change.from.map_or(String::new(), |from| format!("{from} → "));
    let clamps: String = change.clamps.iter().map(|one| format!(" [{}]", clamp(one))).collect();
    let reason = match change.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", plain(reason)),
    };
    format!("{from}{}{reason}{clamps}", change.to)
}

fn list(why: &Why, style: Style) -> String {
    let mut text = style.paint(Ink::Faint, "     at  ready  waiting  desired     reason") + "\n";
    for one in &why.changes {
        let desired = match one.from {
            Some(from) => format!("{from} → {}", one.to),
            None => one.to.to_string(),
        };
        let clamps: String = one.clamps.iter().map(|one| format!(" [{}]", clamp(one))).collect();
        let told = format!("{}{clamps}", plain(&one.reason));
        let mut lines = wrapped(&told, style.wide().saturating_sub(37)).into_iter();
        let at = clock(seconds(why, one.at_ms));
        let ink = match one.from {
            Some(from) if one.to < from => Ink::Down,
            Some(_) | None => Ink::Up,
        };
        text += &format!(
            "{at}  {:>5}  {:>7}  {}  {}\n",
            one.ready,
            one.waiting,
            style.paint(ink, &format!("{desired:<10}")),
            lines.next().unwrap_or_default()
        );
        lines.for_each(|line| text += &format!("{:36}{line}\n", ""));
    }
    if why.changes.is_empty() {
        text += "nothing changed in that time\n";
    }
    text
}

/// A name and a text beside it, wrapped in its own column.
fn named(name: &str, ink: Ink, told: &str, style: Style) -> String {
    let name_ink = if ink == Ink::Usual { Ink::Faint } else { ink };
    let mut text = String::new();
    for (nth, line) in wrapped(told, style.wide() - INDENT - 2).into_iter().enumerate() {
        let name = if nth == 0 { name } else { "" };
        text += &format!("{}  {line}\n", style.paint(name_ink, &format!("{name:<INDENT$}")));
    }
    text
}

fn failures(why: &Why, style: Style) -> String {
    let mut text = String::new();
    for FailureAt { at_ms, stage, message, instead, times } in
        why.failures.iter().rev().take(FAILURES)
    {
        let told = format!(
            "{} at {}: {}; instead: {} ({})",
            plain(stage),
            clock(seconds(why, *at_ms)),
            plain(message),
            plain(instead),
            counted(*times, "time")
        );
        text += &named("failure", Ink::Alarm, &told, style);
    }
    text
}

/// Every stage; those that were not asked since `before` in a line.
fn stages(why: &Why, inspection: &Inspection, before: Option<&Inspection>, style: Style) -> String {
    let mut text = String::new();
    for (nth, stage) in inspection.stages.iter().enumerate() {
        text.push('\n');
        let by = if stage.is_fallback { ", its fallback" } else { "" };
        let digest = short_digest(&stage.digest);
        text += &style.paint(Ink::Strong, &format!("{}. {}", nth + 1, plain(&stage.stage)));
        text += &style.paint(Ink::Faint, &format!("  {digest}{by}"));
        text.push('\n');
        let earlier = before.and_then(|before| before.stages.get(nth));
        if let Some(earlier) = earlier.filter(|earlier| *earlier == stage) {
            let at = earlier.asked_at.map_or(String::new(), |at| clock(seconds(why, at)));
            text +=
                &named("asked", Ink::Usual, &format!("at {at}, as above, and not since"), style);
            continue;
        }
        text += &self::stage(why, stage, style);
    }
    text
}

fn stage(why: &Why, stage: &StageInspection, style: Style) -> String {
    let mut text = String::new();
    let asked = match stage.asked_at {
        None => "never".to_owned(),
        Some(at) if stage.causes.is_empty() => {
            format!("at {}, with others that it decides together with", clock(seconds(why, at)))
        }
        Some(at) => format!("at {}, cause: {}", clock(seconds(why, at)), stage.causes.join(", ")),
    };
    text += &named("asked", Ink::Usual, &asked, style);
    if stage.is_closed {
        text += &named(
            "closed",
            Ink::Alarm,
            "it failed, and decides nothing more until a person acts",
            style,
        );
    } else if stage.is_failing {
        let until = stage.quarantined_until.map_or(String::new(), |until| {
            format!("; it is put aside until {}", clock(seconds(why, until)))
        });
        text += &named(
            "failing",
            Ink::Alarm,
            &format!("it gave no answer when last asked{until}"),
            style,
        );
    }
    let inputs: Vec<(String, String)> = stage
        .inputs
        .iter()
        .map(|input| (input_name(input), input_value(input, why.start_ms)))
        .collect();
    text += &columns("reads", &inputs, style);
    if stage.state_bytes > 0 {
        text += &named("state", Ink::Usual, &counted(stage.state_bytes as u64, "byte"), style);
    }
    let told = |one: &Number| (plain(&one.name), figure(&one.name, one.value, why.start_ms));
    let figures: Vec<(String, String)> = stage.figures.iter().map(told).collect();
    text += &columns("figures", &figures, style);
    let outputs: Vec<(String, String)> = stage.outputs.iter().map(told).collect();
    text += &columns("gives", &outputs, style);
    let reason = match stage.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", plain(reason)),
    };
    let still = match (stage.wanted, stage.is_applied) {
        (Some(_), false) => ", which is left as it was",
        (Some(_) | None, _) => "",
    };
    let wanted = stage.wanted.map_or_else(|| wants(stage), |wanted| wanted.to_string());
    text += &named("wants", Ink::Usual, &format!("{wanted}{still}{reason}"), style);
    if let Some(until) = stage.stands_until {
        let until = match until {
            Time::NEVER => "for ever".to_owned(),
            until => format!("until {}", clock(seconds(why, until))),
        };
        let told = format!("{until}, as long as no input reads differently");
        text += &named("stands", Ink::Usual, &told, style);
    }
    if let Some(one) = &stage.clamp {
        text += &named("bounds", Ink::Notice, &clamp(one), style);
    }
    text
}

/// Names and values below each other, in as many columns as fit.
fn columns(name: &str, values: &[(String, String)], style: Style) -> String {
    if values.is_empty() {
        return String::new();
    }
    let names = values.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let numbers = values.iter().map(|(_, value)| value.chars().count()).max().unwrap_or(0);
    let room = style.wide() - INDENT - 2;
    let each = ((room + 4) / (names + 2 + numbers + 4)).clamp(1, 2);
    let rows = values.len().div_ceil(each);
    let mut text = String::new();
    for row in 0..rows {
        let name = if row == 0 { name } else { "" };
        let cells: Vec<String> = (0..each)
            .filter_map(|column| values.get(column * rows + row))
            .map(|(name, value)| format!("{name:<names$}  {value:>numbers$}"))
            .collect();
        text += &style.paint(Ink::Faint, &format!("{name:<INDENT$}"));
        text += &format!("  {}\n", cells.join("    "));
    }
    text
}

fn moves(why: &Why, style: Style) -> String {
    if why.moves.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", style.paint(Ink::Strong, "replicas since that change"));
    let told: Vec<&MovedAt> =
        why.moves.iter().filter(|one| one.moved.what != Move::Stays).collect();
    for one in told.iter().take(MOVES) {
        let line = format!("{}  ", clock(seconds(why, one.at_ms)));
        for (nth, part) in
            wrapped(&moved(&one.moved), style.wide() - INDENT).into_iter().enumerate()
        {
            let at = if nth == 0 { line.as_str() } else { "" };
            text += &format!("{at:<9}{part}\n");
        }
    }
    if told.len() > MOVES {
        let more = format!("         and {} more", told.len() - MOVES);
        text += &(style.paint(Ink::Faint, &more) + "\n");
    }
    let stay = why.moves.len() - told.len();
    if stay > 0 {
        let told =
            format!("         {} that might have left stayed", counted(stay as u64, "replica"));
        text += &(style.paint(Ink::Faint, &told) + "\n");
    }
    text
}
