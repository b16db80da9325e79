//! What stands behind a decision, as lines: the inputs, figures and answers of each stage, and where replicas went.

use super::numbers::{clock, plain, short};
use crate::engine::inspection::{InputRead, Inspection, Move, Moved, StageInspection};
use crate::time::Time;

/// A number as people read it; a dash where there was no data.
pub(super) fn number(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        // To six digits after the point at most: what policies see to the last bit reads as what it is.
        Some(value) if value < 0.0 => format!("-{}", number(Some(-value))),
        Some(value) if value == value.trunc() && value < 1e15 => short(value),
        Some(value) => {
            let digits = if value < 0.01 { 6 } else { 3 };
            let text = format!("{value:.digits$}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

/// The same; where the name says that it is a moment in Unix time, as that since the `start` of the run.
pub(super) fn figure(name: &str, value: Option<f64>, start: Time) -> String {
    let ms = match value {
        Some(value) if name.ends_with("Unix ms") || name.ends_with("-since-ms") => value,
        Some(value) if name.ends_with("Unix s") => value * 1e3,
        Some(_) | None => return number(value),
    };
    if ms >= start.0 as f64 && ms < 1e15 {
        clock((ms - start.0 as f64) / 1e3)
    } else {
        number(value)
    }
}

/// What an input is, in words: `concurrency over 60 s, linear`.
pub(super) fn input_name(input: &InputRead) -> String {
    let name = plain(&input.name);
    match (input.span_s, input.averaging) {
        (Some(span), Some("linear")) => format!("{name} over {span} s"),
        (Some(span), Some(averaging)) => format!("{name} over {span} s, {averaging}"),
        (Some(_) | None, _) => match &input.stage {
            Some(stage) => format!("{name} of {}", plain(stage)),
            None => name,
        },
    }
}

/// What it read.
pub(super) fn input_value(input: &InputRead, start: Time) -> String {
    match (&input.text, input.kind) {
        (Some(text), _) => plain(text),
        (None, "missing") => "not given here".to_owned(),
        (None, _) => figure(&input.name, input.value, start),
    }
}

/// What a stage wants, in a word or two.
pub(super) fn wants(stage: &StageInspection) -> String {
    match (stage.wanted, stage.is_applied) {
        (None, _) => "nothing yet".to_owned(),
        (Some(wanted), true) => wanted.to_string(),
        (Some(wanted), false) => format!("{wanted} still"),
    }
}

/// Every number behind a target's plan with a name that tells its stage: to be put beside another's.
pub(super) fn rows(inspection: &Inspection, start: Time) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for stage in &inspection.stages {
        let name = plain(&stage.stage);
        for input in &stage.inputs {
            rows.push((format!("{name} reads {}", input_name(input)), input_value(input, start)));
        }
        for figure in &stage.figures {
            let value = self::figure(&figure.name, figure.value, start);
            rows.push((format!("{name}: {}", plain(&figure.name)), value));
        }
        rows.push((format!("{name} wants"), wants(stage)));
    }
    rows.push(("within bounds".to_owned(), inspection.desired.to_string()));
    rows
}

/// Where a replica went and why, on one line.
pub(super) fn moved(moved: &Moved) -> String {
    let Moved { replica, what, node, reason, .. } = moved;
    let node = node.as_deref().map(plain);
    let went = match (what, node.as_deref()) {
        (Move::Starts, Some(node)) => format!("starts on {node}"),
        (Move::Leaves, Some(node)) => format!("leaves {node}"),
        (Move::Stays, Some(node)) => format!("stays on {node}"),
        (Move::Leaves, None) => "leaves".to_owned(),
        (Move::Stays, None) => "stays".to_owned(),
        (Move::Starts | Move::Waits, _) => "waits for a node".to_owned(),
    };
    match reason.as_str() {
        "" => format!("replica {replica} {went}"),
        // The node and what happens there are told already.
        reason => {
            let reason = plain(reason);
            let told = [format!("on {}, ", node.as_deref().unwrap_or("")), "leaves, ".to_owned()];
            let rest = told.iter().find_map(|told| reason.strip_prefix(told.as_str()));
            format!("replica {replica} {went}: {}", rest.unwrap_or(&reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_policies_see_read_as_what_they_are() {
        let values = [
            None,
            Some(0.0),
            Some(12.0),
            Some(1_234.0),
            Some(2.099_999_9),
            Some(-197.5),
            Some(0.001_25),
        ];
        let told: Vec<String> = values.into_iter().map(number).collect();
        let moment = |name, value| figure(name, Some(value), Time(1_000_000));
        assert_eq!(moment("next look, Unix ms", 1_060_000.0), "0:01:00");
        assert_eq!(moment("gateway-in-path-since-ms", 2_000.0), "2,000", "before the run");
        assert_eq!(moment("wanted, replicas", 1_060_000.0), "1,060,000");
        assert_eq!(told, ["–", "0", "12", "1,234", "2.1", "-197.5", "0.00125"]);
    }
}
