//! One service on the page: four plots over the same hours, and the list of what was decided and why.

use std::fmt::Write as _;

use super::changes::{Event, most_telling, runs};
use super::markup::escaped;
use super::numbers::{clock, counted, dollars, grouped, measure, plain, short};
use super::plot::{Line, Mark, Merge, Plot, merged};
use super::spark::spark;
use crate::ledger::{Outcome, ServiceOutcome, Summary};

/// Moments that are marked in a service's plots and listed below them.
const MARKS: usize = 60;
/// Lists that are longer are folded at first.
const OPEN: usize = 20;

/// The section of the service at `position` of the outcome.
pub(super) fn section(outcome: &Outcome, position: usize, is_open: bool) -> String {
    let service = &outcome.services[position];
    let none = Summary::default();
    let sum = outcome.summary.services.get(&service.name).unwrap_or(&none);
    let series = &service.series;
    let most = series.demand.iter().copied().fold(0.0, f64::max);
    let mut html = format!(
        "<details class=\"service\" id=\"s{position}\"{}><summary><h3>{}</h3> <span class=\"model\">{}</span> \
         <span class=\"spark\" aria-hidden=\"true\">{}</span> <span class=\"facts\">· {}, p95 wait {} s, {}, {}</span></summary>",
        if is_open { " open" } else { "" },
        escaped(&service.name),
        escaped(&service.model),
        spark(&series.demand, most, 32),
        counted(sum.requests.arrived, "request"),
        measure(sum.wait_s.p95),
        counted(sum.cold_starts, "cold start"),
        dollars(sum.cost),
    );
    let events = events(outcome, service);
    let told = most_telling(&events, MARKS);
    html += &plots(service, position, &told);
    html += &list(position, &told, events.len() - told.len());
    html + "</details>"
}

/// The service's changes, and the failures that say they concern it.
fn events<'a>(outcome: &'a Outcome, service: &'a ServiceOutcome) -> Vec<Event<'a>> {
    let failures =
        outcome.failures.iter().filter(|failure| failure.services.contains(&service.name));
    let mut events: Vec<Event<'a>> =
        runs(service).into_iter().map(Event::Changed).chain(failures.map(Event::Failed)).collect();
    events.sort_by(|a, b| a.at_s().total_cmp(&b.at_s()));
    events
}

fn plots(service: &ServiceOutcome, position: usize, told: &[Event<'_>]) -> String {
    let name = &service.name;
    let series = &service.series;
    let counts =
        |counts: &[u32], merge| merged(counts.iter().map(|&count| f64::from(count)), merge);
    let (demand, each) = merged(series.demand.iter().copied(), Merge::Mean);
    let (waiting, _) = counts(&series.waiting, Merge::Most);
    let (desired, _) = counts(&series.desired, Merge::Last);
    let (ready, _) = counts(&series.ready, Merge::Last);
    let (waits, _) = merged(series.wait_s.iter().copied(), Merge::Most);
    let step_s = series.step_s * each as f64;
    let most = |values: &[f64]| short(values.iter().copied().fold(0.0, f64::max));
    let line =
        |class: &str, values, is_area| Line { class: class.into(), values, is_area, label: None };
    let plot = |alt, height, lines, is_whole| Plot {
        alt,
        height,
        step_s,
        lines,
        limit: None,
        marks: Vec::new(),
        is_whole,
        number: short,
        has_hours: false,
    };
    let mut html = format!(
        "<figure><figcaption><b>In flight</b>, requests, waiting ones included, mean of {}</figcaption>",
        span(step_s)
    );
    let alt = format!("Requests in flight of {name} over time, at most {}", most(&demand));
    html += &plot(alt, 80, vec![line("demand", demand, true)], false).svg();
    html += "</figure><figure class=\"marked\"><figcaption><b>Replicas</b> <svg class=\"key\"><line class=\"line ready\" x1=\"0\" x2=\"22\" y1=\"6\" y2=\"6\"/></svg> ready \
             <svg class=\"key\"><line class=\"line desired\" x1=\"0\" x2=\"22\" y1=\"6\" y2=\"6\"/></svg> desired \
             <span class=\"keys\">▲ more ▼ fewer <span class=\"panic\">◆ in panic mode</span> <span class=\"failed\">✕ a policy failed</span></span></figcaption>";
    let alt = format!(
        "Replicas of {name} over time: at most {} ready and {} desired, with {} explained below",
        most(&ready),
        most(&desired),
        counted(told.len() as u64, "change")
    );
    let lines = vec![line("ready", ready, true), line("desired", desired, false)];
    let marks = told.iter().enumerate().map(|(i, event)| mark(position, i + 1, event)).collect();
    html += &Plot { marks, ..plot(alt, 110, lines, true) }.svg();
    html += "</figure><figure><figcaption><b>Waiting</b>, requests, the most at once</figcaption>";
    let alt = format!("Requests of {name} that waited over time, at most {}", most(&waiting));
    html += &plot(alt, 54, vec![line("waiting", waiting, true)], true).svg();
    html += "</figure><figure class=\"last\"><figcaption><b>Longest wait</b>, seconds, of the requests dispatched then</figcaption>";
    let alt = format!("Longest wait of requests of {name} over time, at most {} s", most(&waits));
    html +=
        &Plot { has_hours: true, ..plot(alt, 54, vec![line("wait", waits, true)], false) }.svg();
    html + "</figure>"
}

/// A span as words: `10 s`, `2 min`.
pub(super) fn span(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{} s", short(seconds))
    } else {
        format!("{} min", short(seconds / 60.0))
    }
}

fn mark(position: usize, number: usize, event: &Event<'_>) -> Mark {
    let (glyph, class) = match event {
        Event::Failed(_) => ("✕", "failed"),
        Event::Changed(run) if run.first.in_panic => ("◆", "panic"),
        Event::Changed(run) if run.last.to < run.first.from.unwrap_or(0) => ("▼", "down"),
        Event::Changed(_) => ("▲", "up"),
    };
    let Told { at, desired, why, .. } = told(event);
    let story = format!("{at}, {desired}: {why}");
    Mark { at_s: event.at_s(), glyph, class, number, link: format!("s{position}-{number}"), story }
}

/// What there is to say about an event, as text that is not escaped yet.
struct Told {
    at: String,
    ready: String,
    waiting: String,
    desired: String,
    mode: &'static str,
    why: String,
    clamps: String,
}

fn told(event: &Event<'_>) -> Told {
    match event {
        Event::Changed(run) => {
            let change = run.first;
            let to = run.last.to;
            let mut reason = plain(&run.last.reason);
            if let Some(pool) = &change.pool {
                reason = format!("{}: {reason}", plain(pool));
            }
            let why = match run.steps {
                1 => reason,
                steps => {
                    format!("in {} steps until {}: {reason}", grouped(steps), clock(run.last.at_s))
                }
            };
            Told {
                at: clock(change.at_s),
                ready: change.ready.to_string(),
                waiting: grouped(u64::from(change.waiting)),
                desired: change.from.map_or(to.to_string(), |from| format!("{from} → {to}")),
                mode: if change.in_panic { "panic" } else { "" },
                why,
                clamps: change
                    .clamps
                    .iter()
                    .map(|clamp| format!("[{}]", plain(clamp)))
                    .collect::<Vec<_>>()
                    .join(" "),
            }
        }
        Event::Failed(failure) => Told {
            at: clock(failure.at_s),
            ready: String::new(),
            waiting: String::new(),
            desired: "no decision".into(),
            mode: "fault",
            why: format!(
                "policy {} failed {}: {}",
                plain(&failure.stage),
                counted(failure.times, "time"),
                plain(&failure.message)
            ),
            clamps: format!("[instead: {}]", plain(&failure.instead)),
        },
    }
}

fn list(position: usize, events: &[Event<'_>], left_out: usize) -> String {
    let mut title = counted(events.len() as u64, "change");
    if left_out > 0 {
        let _ = write!(
            title,
            "; {} more are left out: the first of each kind and the largest are shown",
            grouped(left_out as u64)
        );
    }
    let mut html = format!(
        "<details class=\"list\"{}><summary>{title}</summary><table class=\"changes\"><thead><tr><th>№</th><th>at</th>\
         <th>ready</th><th>waiting</th><th>desired</th><th>mode</th><th class=\"why\">reason</th></tr></thead><tbody>",
        if events.len() <= OPEN { " open" } else { "" }
    );
    for (i, event) in events.iter().enumerate() {
        let Told { at, ready, waiting, desired, mode, why, clamps } = told(event);
        let number = i + 1;
        let (desired, why, clamps) = (escaped(&desired), escaped(&why), escaped(&clamps));
        let _ = write!(
            html,
            "<tr id=\"s{position}-{number}\"><td>{number}</td><td>{at}</td><td>{ready}</td><td>{waiting}</td><td>{desired}</td>\
             <td class=\"mode\">{mode}</td><td class=\"why\">{why} <span class=\"clamp\">{clamps}</span></td></tr>"
        );
    }
    html + "</tbody></table></details>"
}
