//! Two runs on one HTML page: their numbers, gates, where they part, and every service's plots with both runs on each other. It needs
//! nothing else: no script, no font, no address.

use std::fmt::Write as _;

use super::deltas::{Cells, cells, figures, over, setup, side_by_side, stood, told_services};
use super::markup::escaped;
use super::numbers::{clock, counted, short};
use super::plot::{Line, Mark, Merge, Plot, merged};
use super::service::span;
use super::stand::moved;
use super::table::services_by_arrivals;
use crate::compare::{Comparison, Delta, Parting};
use crate::engine::inspection::Move;
use crate::ledger::{Outcome, Series};

/// Services that are unfolded at first.
const OPEN: usize = 3;
/// Services whose numbers are told.
const TOLD: usize = 40;
/// Moves of replicas that are told of each side.
const MOVES: usize = 12;

/// Two runs as one HTML file; `a` and `b` are the outcomes that `comparison` was made of.
pub fn comparison_page(comparison: &Comparison, a: &Outcome, b: &Outcome) -> String {
    let title = format!("{} against {}", comparison.b.name, comparison.a.name);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <title>{title}</title><style>{}{}</style></head><body>\n<header><h1>{title}</h1><dl class=\"sides\">",
        include_str!("page.css"),
        include_str!("comparison.css"),
        title = escaped(&title)
    );
    for (letter, side) in [("A", &comparison.a), ("B", &comparison.b)] {
        let (name, setup) = (escaped(&side.name), escaped(&setup(side)));
        let _ =
            write!(html, "<dt>{letter}</dt><dd>{name} <span class=\"digest\">{setup}</span></dd>");
    }
    let _ = writeln!(
        html,
        "</dl><p class=\"hint\">Both replayed {}, {} of it, seed {}.</p></header>",
        escaped(&a.setup.traces.join(", ")),
        clock(a.setup.duration_s.min(b.setup.duration_s)),
        escaped(&a.setup.seed)
    );
    html += &gates(comparison);
    html += "<section><h2>Numbers</h2>";
    html += &table("all services", &comparison.metrics.iter().collect::<Vec<_>>());
    html += "</section>\n<section><h2 id=\"parting\">Where they part</h2>";
    html += &match &comparison.parting {
        None => {
            "<p>They never part: both planned the same for every service at every step.</p>".into()
        }
        Some(parting) => parted(parting),
    };
    html += "</section>\n<section><h2>Services</h2>";
    let order = services_by_arrivals(a);
    if order.len() > OPEN {
        html += "<p class=\"hint\">Those with most requests first. Open one to see it; what is open is printed.</p>";
    }
    let told = told_services(comparison, true);
    for (nth, &position) in order.iter().enumerate() {
        let name = &a.services[position].name;
        let Some(other) = b.services.iter().find(|service| service.name == *name) else { continue };
        let deltas =
            told.iter().find(|(told, _)| told == name).map(|(_, deltas)| deltas.as_slice());
        let differs = match deltas {
            Some(deltas) => summed_up(deltas),
            None if order.len() == 1 => summed_up(&comparison.metrics.iter().collect::<Vec<_>>()),
            None => "all numbers the same".to_owned(),
        };
        let _ = write!(
            html,
            "<details class=\"service\"{}><summary><h3>{}</h3> <span class=\"facts\">{differs}</span></summary>",
            if nth < OPEN { " open" } else { "" },
            escaped(name)
        );
        let parting = comparison.parting.as_ref().filter(|parting| {
            let target = parting.service.strip_prefix(name.as_str());
            target.is_some_and(|pool| pool.is_empty() || pool.starts_with('/'))
        });
        html += &plots(name, &a.services[position].series, &other.series, parting);
        if let Some(deltas) = deltas.filter(|_| nth < TOLD) {
            let title = counted(deltas.len() as u64, "number");
            let verb = if deltas.len() == 1 { "differs" } else { "differ" };
            let _ = write!(
                html,
                "<details class=\"list\"><summary>{title} {verb}</summary>{}</details>",
                table("", deltas)
            );
        }
        html += "</details>\n";
    }
    html + "</section>\n</body></html>\n"
}

/// What people ask for first: what was saved or spent more, and what that did to waits.
fn summed_up(deltas: &[&Delta]) -> String {
    let told = ["gpu_minutes", "cost", "wait_s.p95", "requests.expired"];
    let told = told.iter().filter_map(|name| {
        let delta = deltas.iter().find(|delta| delta.metric == *name)?;
        let Cells { title, delta: more, .. } = cells(delta);
        (delta.delta != 0.0).then(|| format!("{title} {more}"))
    });
    told.collect::<Vec<_>>().join(", ")
}

fn gates(comparison: &Comparison) -> String {
    if comparison.gates.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section><h2>Gates</h2><ul class=\"gates\">");
    for gate in &comparison.gates {
        let (class, word) =
            if gate.has_passed { ("passed", "✓ passed") } else { ("broken", "✕ failed") };
        let _ = write!(
            html,
            "<li class=\"{class}\"><b>{word}</b> <code>{}</code> {}</li>",
            escaped(&gate.gate),
            escaped(&figures(gate))
        );
    }
    html + "</ul></section>\n"
}

fn table(title: &str, deltas: &[&Delta]) -> String {
    let mut html = format!(
        "<div class=\"wide\"><table class=\"deltas\"><thead><tr><th>{title}</th><th>A</th><th>B</th><th>B − A</th><th></th></tr></thead><tbody>"
    );
    for Cells { title, a, b, delta, relative, is_better } in deltas.iter().map(|delta| cells(delta))
    {
        let class = match is_better {
            None if delta == "same" => "same",
            None => "",
            Some(true) => "better",
            Some(false) => "worse",
        };
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{title}</th><td>{a}</td><td>{b}</td><td class=\"{class}\">{delta}</td><td class=\"{class}\">{relative}</td></tr>"
        );
    }
    html + "</tbody></table></div>"
}

fn parted(parting: &Parting) -> String {
    let mut html = format!(
        "<p><b>{}</b>, over <b>{}</b>: {}.</p>",
        clock(parting.at_s),
        escaped(&parting.service),
        escaped(&over(parting))
    );
    for (letter, stand) in [("A", &parting.a), ("B", &parting.b)] {
        let _ = write!(
            html,
            "<div class=\"stood\"><p><span class=\"letter\">{letter}</span> {}</p>",
            escaped(&stood(stand))
        );
        let went = stand.moves.iter().filter(|one| one.what != Move::Stays);
        for one in went.take(MOVES) {
            let _ = write!(html, "<p class=\"moves\">{}</p>", escaped(&moved(one)));
        }
        html += "</div>";
    }
    html += "<div class=\"wide\"><table class=\"deltas\"><thead><tr><th>the numbers behind it</th><th>A</th><th>B</th></tr></thead><tbody>";
    let mut same = String::new();
    let mut alike = 0;
    for (name, a, b) in side_by_side(parting) {
        let (name, a, b, is_same) = (escaped(&name), escaped(&a), escaped(&b), a == b);
        if is_same {
            alike += 1;
            let _ = write!(same, "<tr><th scope=\"row\">{name}</th><td>{a}</td></tr>");
        } else {
            let _ = write!(html, "<tr><th scope=\"row\">{name}</th><td>{a}</td><td>{b}</td></tr>");
        }
    }
    html += "</tbody></table></div>";
    let _ = write!(
        html,
        "<details class=\"list\"><summary>{}: the same on both sides</summary><table class=\"deltas\"><tbody>{same}</tbody></table></details>",
        counted(alike, "further number")
    );
    html
}

/// A plot of both runs: what is drawn, how steps merge, whether values are whole, how high.
type Drawn = (&'static str, fn(&Series) -> Vec<f64>, Merge, bool, u32);

fn counts(values: &[u32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

const PLOTS: [Drawn; 5] = [
    ("Desired replicas", |series| counts(&series.desired), Merge::Last, true, 100),
    ("Ready replicas", |series| counts(&series.ready), Merge::Last, true, 100),
    ("Waiting requests, the most at once", |series| counts(&series.waiting), Merge::Most, true, 70),
    ("Longest wait, seconds", |series| series.wait_s.clone(), Merge::Most, false, 70),
    ("Cost so far, US dollars", |series| series.cost.clone(), Merge::Last, false, 70),
];

fn plots(name: &str, a: &Series, b: &Series, parting: Option<&Parting>) -> String {
    let mut html = String::new();
    for (nth, (title, values, merge, is_whole, height)) in PLOTS.into_iter().enumerate() {
        let step_s = a.step_s.max(b.step_s);
        let (mut one, mut other) = (
            stretched(values(a), a.step_s, step_s, merge),
            stretched(values(b), b.step_s, step_s, merge),
        );
        let steps = one.len().max(other.len());
        // The run that is over first stays as it ended: at what it cost, with nothing more to come.
        let over = |values: &[f64]| {
            if title.starts_with("Cost") { values.last().copied().unwrap_or(0.0) } else { 0.0 }
        };
        let (end_a, end_b) = (over(&one), over(&other));
        one.resize(steps, end_a);
        other.resize(steps, end_b);
        let (one, each) = merged(one.into_iter(), merge);
        let (other, _) = merged(other.into_iter(), merge);
        let most = |values: &[f64]| short(values.iter().copied().fold(0.0, f64::max));
        let (most_a, most_b) = (most(&one), most(&other));
        let is_last = nth + 1 == PLOTS.len();
        let key = |class: &str, letter: &str, most: &str| {
            format!(
                " <span class=\"pair\"><svg class=\"key\"><line class=\"line {class}\" x1=\"0\" x2=\"22\" y1=\"6\" y2=\"6\"/></svg> {letter}, at most {most}</span>"
            )
        };
        let marks = parting.filter(|_| nth == 0).map(|parting| Mark {
            at_s: parting.at_s,
            glyph: "◆",
            class: "panic",
            number: 1,
            link: "parting".to_owned(),
            story: format!("they part at {}: {}", clock(parting.at_s), over_words(parting)),
        });
        let _ = write!(
            html,
            "<figure class=\"{}\"><figcaption><b>{title}</b>{}{} in steps of {}</figcaption>",
            match (is_last, marks.is_some()) {
                (true, _) => "last",
                (false, true) => "marked",
                (false, false) => "",
            },
            key("side-a", "A", &most_a),
            key("side-b", "B", &most_b),
            span(step_s * each as f64)
        );
        let line = |class: &str, values, is_area| Line {
            class: class.into(),
            values,
            is_area,
            label: None,
        };
        let plot = Plot {
            alt: format!("{title} of {name} over time: A at most {most_a}, B at most {most_b}"),
            height,
            step_s: step_s * each as f64,
            lines: vec![line("side-a", one, true), line("side-b", other, false)],
            limit: None,
            marks: marks.into_iter().collect(),
            is_whole,
            number: short,
            has_hours: is_last,
        };
        html += &plot.svg();
        html += "</figure>";
    }
    html
}

fn over_words(parting: &Parting) -> String {
    format!("A {}; B {}", stood(&parting.a), stood(&parting.b))
}

/// `values` in steps of `step_s` instead of `own_s`, which is that or a half of it, a quarter, and so on.
fn stretched(values: Vec<f64>, own_s: f64, step_s: f64, merge: Merge) -> Vec<f64> {
    let each = (step_s / own_s.max(1e-3)).round().max(1.0) as usize;
    if each == 1 {
        return values;
    }
    let part = |part: &[f64]| match merge {
        Merge::Mean => part.iter().sum::<f64>() / part.len() as f64,
        Merge::Most => part.iter().copied().fold(0.0, f64::max),
        Merge::Last => part[part.len() - 1],
    };
    values.chunks(each).map(part).collect()
}
