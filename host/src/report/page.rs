//! A replay as one HTML file that needs nothing else: no script, no font, no address. What comes from outside is text in it,
//! never markup.

use std::fmt::Write as _;

use super::markup::escaped;
use super::numbers::{clock, counted, dollars, grouped, measure, plain, round_dollars, short};
use super::plot::{Line, Merge, Plot, merged};
use super::service::{section, span};
use super::style::{Ink, fitted};
use super::summary::setup;
use super::table::{CAPACITY, Column, REQUESTS, WAITS, services_by_arrivals};
use crate::ledger::{Outcome, Summary};

/// Services that are unfolded at first.
const OPEN: usize = 3;
/// The widest that names of services get in the table. Characters.
const NAMES: usize = 28;
/// Warnings and failures that are written out.
const NOTES: usize = 50;
/// Classes that are told apart by colour and dashes.
const CLASSES: usize = 6;

/// What a replay came to as one HTML file: sums, GPUs and cost over time, then every service with its plots and with what was
/// decided and why.
pub fn page(outcome: &Outcome) -> String {
    let title = outcome.setup.traces.join(", ");
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <title>Replay of {title}</title><style>{}</style></head><body>\n<header><h1>Replay of {title}</h1>",
        include_str!("page.css"),
        title = escaped(&title)
    );
    html += &headline(outcome);
    html += "</header>\n<section><h2>Sums</h2>";
    html += &sums(outcome);
    html += "</section>\n";
    html += &notes(outcome);
    html += "<section><h2>All services together</h2>";
    html += &gpus(outcome);
    html += &cost(outcome);
    html += "</section>\n<section><h2>Services</h2>";
    let order = services_by_arrivals(outcome);
    if order.len() > OPEN {
        html += "<p class=\"hint\">Those with most requests first. Open one to see it; what is open is printed.</p>";
    }
    for (i, &position) in order.iter().enumerate() {
        html += &section(outcome, position, i < OPEN);
        html.push('\n');
    }
    html += "</section>\n<section><h2>Set-up</h2><dl class=\"setup\">";
    for (name, told) in setup(&outcome.setup) {
        let _ = write!(html, "<dt>{name}</dt><dd>{}</dd>", escaped(&told));
    }
    for policy in &outcome.setup.policies {
        let (stage, digest) = (escaped(&policy.stage), escaped(&policy.digest));
        let _ = write!(html, "<dt>{stage}</dt><dd class=\"digest\">{digest}</dd>");
    }
    html + "</dl></section>\n</body></html>\n"
}

/// The figures that people ask for first.
fn headline(outcome: &Outcome) -> String {
    let Summary { requests, wait_s, cold_starts, gpu_minutes, cost, .. } = &outcome.summary.whole;
    let share = |part: u64| match requests.arrived {
        0 => "–".into(),
        all => format!("{} %", short((part as f64 / all as f64 * 1000.0).floor() / 10.0)),
    };
    let figures = [
        (grouped(requests.arrived), format!("requests in {}", clock(outcome.setup.duration_s))),
        (share(requests.served), "served".into()),
        (share(requests.waited), "had to wait".into()),
        (format!("{} s", measure(wait_s.p95)), "wait, 95 in 100 no longer".into()),
        (grouped(*cold_starts), "cold starts".into()),
        (grouped(*gpu_minutes), "GPU-minutes".into()),
        (dollars(*cost), "cost".into()),
    ];
    let mut html = String::from("<dl class=\"headline\">");
    for (value, name) in figures {
        let _ = write!(html, "<div><dd>{value}</dd><dt>{name}</dt></div>");
    }
    html + "</dl>"
}

fn sums(outcome: &Outcome) -> String {
    let groups: [(&str, &[Column]); 3] =
        [("requests", REQUESTS), ("wait, seconds", WAITS), ("capacity", CAPACITY)];
    let mut html = String::from("<div class=\"wide\"><table class=\"sums\"><thead><tr><td></td>");
    for (group, columns) in groups {
        let _ = write!(
            html,
            "<th class=\"group\" colspan=\"{}\" scope=\"colgroup\">{group}</th>",
            columns.len()
        );
    }
    html += "</tr><tr><th scope=\"col\">service</th>";
    for column in groups.iter().flat_map(|(_, columns)| *columns) {
        let _ = write!(
            html,
            "<th scope=\"col\" title=\"{}\">{}</th>",
            escaped(column.meaning),
            column.name
        );
    }
    html += "</tr></thead><tbody>";
    let mut row = |name: &str, class: &str, sum: &Summary| {
        let _ = write!(html, "<tr class=\"{class}\"><th scope=\"row\">{name}</th>");
        for (_, columns) in groups {
            for (i, column) in columns.iter().enumerate() {
                let cell = (column.cell)(sum);
                let first = if i == 0 { "first " } else { "" };
                let ink = match (cell.as_str(), column.ink) {
                    ("0", _) => "zero",
                    (_, Ink::Alarm | Ink::Notice) => "alarm",
                    (_, Ink::Usual | Ink::Faint | Ink::Strong | Ink::Up | Ink::Down) => "",
                };
                let _ = write!(html, "<td class=\"{first}{ink}\">{cell}</td>");
            }
        }
        html.push_str("</tr>");
    };
    if outcome.summary.services.len() != 1 {
        row("all together", "whole", &outcome.summary.whole);
    }
    let order = services_by_arrivals(outcome);
    for position in order {
        let name = &outcome.services[position].name;
        if let Some(sum) = outcome.summary.services.get(name) {
            let name = escaped(&fitted(&plain(name), NAMES));
            row(&format!("<a href=\"#s{position}\">{name}</a>"), "", sum);
        }
    }
    html + "</tbody></table></div>"
}

/// Warnings, and policies that failed.
fn notes(outcome: &Outcome) -> String {
    let mut html = String::new();
    let warnings = outcome.warnings.iter().map(|told| escaped(told));
    let failures = outcome.failures.iter().map(|failure| {
        let services: Vec<String> = failure.services.iter().map(|name| escaped(name)).collect();
        format!(
            "<b>{}</b> at {}, {}, {}: {}; instead: {}",
            escaped(&failure.stage),
            clock(failure.at_s),
            counted(failure.times, "time"),
            services.join(", "),
            escaped(&failure.message),
            escaped(&failure.instead)
        )
    });
    for (title, all) in
        [("Warnings", warnings.collect::<Vec<_>>()), ("Policies that failed", failures.collect())]
    {
        if all.is_empty() {
            continue;
        }
        let _ = write!(html, "<section class=\"notes\"><h2>{title}</h2><ul>");
        for told in all.iter().take(NOTES) {
            let _ = write!(html, "<li>{told}</li>");
        }
        if all.len() > NOTES {
            let _ = write!(html, "<li>and {} more</li>", grouped((all.len() - NOTES) as u64));
        }
        html += "</ul></section>\n";
    }
    html
}

/// GPUs of all classes on each other.
fn gpus(outcome: &Outcome) -> String {
    let mut layers = Vec::new();
    let mut keys = String::new();
    let mut sum: Vec<f64> = Vec::new();
    let mut each = 1;
    for (i, class) in outcome.classes.iter().enumerate() {
        let (used, merged) = merged(class.used.iter().map(|&gpus| f64::from(gpus)), Merge::Last);
        each = merged;
        let most = used.iter().copied().fold(0.0, f64::max);
        sum.resize(sum.len().max(used.len()), 0.0);
        for (sum, used) in sum.iter_mut().zip(&used) {
            *sum += used;
        }
        let (name, number) = (escaped(&class.class), i % CLASSES);
        let _ = write!(
            keys,
            " <span class=\"pair\"><svg class=\"key\"><rect class=\"area class{number}\" y=\"2\" width=\"22\" height=\"10\"/><line class=\"line class{number}\" x1=\"0\" x2=\"22\" y1=\"2\" y2=\"2\"/></svg> {name}, at most {} of {}</span>",
            short(most),
            grouped(u64::from(class.gpus))
        );
        if most > 0.0 {
            let class = class.class.clone();
            let values = sum.clone();
            layers.push(Line {
                class: format!("class{number}"),
                values,
                is_area: true,
                label: Some(class),
            });
        }
    }
    layers.reverse(); // the highest first: those below are drawn over it
    let all = outcome.classes.iter().map(|class| f64::from(class.gpus)).sum::<f64>();
    let most = sum.iter().copied().fold(0.0, f64::max);
    // A line far above would press everything else flat.
    let limit = (all <= 3.0 * most).then_some(all);
    let there = match limit {
        Some(all) => format!(
            "<span class=\"pair\"><svg class=\"key\"><line class=\"line limit\" x1=\"0\" x2=\"22\" y1=\"6\" y2=\"6\"/></svg> {} there are</span>",
            short(all)
        ),
        None => format!("{} there are, above the plot", short(all)),
    };
    let step_s = outcome.classes.first().map_or(1.0, |class| class.step_s) * each as f64;
    let plot = Plot {
        alt: format!("GPUs in use over time by class: at most {} of {}", short(most), short(all)),
        height: 120,
        step_s,
        lines: layers,
        limit,
        marks: Vec::new(),
        is_whole: true,
        number: short,
        has_hours: false,
    };
    format!(
        "<figure><figcaption><b>GPUs in use</b>, by class, on each other{keys} {there}</figcaption>{}</figure>",
        plot.svg()
    )
}

fn cost(outcome: &Outcome) -> String {
    let steps = outcome.services.iter().map(|service| service.series.cost.len()).max().unwrap_or(0);
    let at = |step: usize| {
        let costs = outcome.services.iter().map(|service| &service.series.cost);
        costs.filter_map(|cost| cost.get(step).or(cost.last())).sum::<f64>()
    };
    let (values, each) = merged((0..steps).map(at), Merge::Last);
    let step_s =
        outcome.services.first().map_or(1.0, |service| service.series.step_s) * each as f64;
    let total = dollars(outcome.summary.whole.cost);
    let plot = Plot {
        alt: format!("Cost over time, {total} in the end"),
        height: 70,
        step_s,
        lines: vec![Line { class: "cost".into(), values, is_area: true, label: None }],
        limit: None,
        marks: Vec::new(),
        is_whole: false,
        number: round_dollars,
        has_hours: true,
    };
    format!(
        "<figure class=\"last\"><figcaption><b>Cost so far</b>, US dollars, {total} in the end; a step is {}</figcaption>{}</figure>",
        span(step_s),
        plot.svg()
    )
}
