//! Request-stat cases: what requests become in the per-second report. Two gates see them, one of a service at zero, whose report is
//! held to that of Knative's activator, and one with a ready replica, held to that of its queue proxy; a meter counts the proxied share.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{Fields, Rows};
use super::error::ReadError;
use super::text::{Record, Text, shown};
use crate::engine::{Report, Signal};
use crate::gateway::{Ask, Gate, Limits, Meter, RequestHandle};

/// How far an average may be off: it is a sum of products. Requests.
const TOLERANCE: f64 = 1e-12;
const SECOND_US: u64 = 1_000_000;
const WIDE: Limits =
    Limits { concurrency: 0, queue: u32::MAX, queue_bytes: None, timeout_us: None };
const QUEUE_PROXY: [&str; 5] =
    ["ms", "concurrency", "proxied_concurrency", "count", "proxied_count"];
const ACTIVATOR: [&str; 3] = ["ms", "concurrency", "count"];

/// A file of request-stat cases.
#[derive(Debug)]
pub struct RequestCases {
    pub(super) path: String,
    cases: Vec<RequestCase>,
}

/// Requests of a few seconds, and what was counted of them.
#[derive(Debug)]
struct RequestCase {
    line: u64,
    id: String,
    desc: String,
    until_ms: u64,
    events: Vec<RequestEvent>,
    queue_proxy: Vec<[f64; QUEUE_PROXY.len()]>,
    activator: Vec<[f64; ACTIVATOR.len()]>,
}

#[derive(Clone, Copy, Debug)]
struct RequestEvent {
    at_ms: u64,
    is_arrival: bool,
    /// It came through the activator.
    is_proxied: bool,
}

impl RequestCases {
    pub(super) fn read(text: &Text) -> Result<RequestCases, ReadError> {
        let cases = text.records().map(|record| case(record?)).collect::<Result<_, _>>()?;
        Ok(RequestCases { path: text.path().to_owned(), cases })
    }

    /// Each case by itself, with a name for it.
    pub(super) fn split(self) -> impl Iterator<Item = (String, RequestCases)> {
        let RequestCases { path, cases } = self;
        cases.into_iter().map(move |case| {
            (
                format!("{} {}", case.id, case.desc),
                RequestCases { path: path.clone(), cases: vec![case] },
            )
        })
    }

    /// Holds every case to ours.
    pub(super) fn hold(&self) -> Rows {
        let mut rows = Rows::default();
        for case in &self.cases {
            let mut fields = Fields::default();
            case.compare(&mut fields);
            let at = || format!("case {}, {}", case.id, case.desc);
            rows.take(fields, || (self.path.clone(), case.line, at()));
        }
        rows
    }
}

fn case(mut record: Record<'_>) -> Result<RequestCase, ReadError> {
    let id = record.required("id")?;
    let desc = record.optional("desc")?.unwrap_or_default();
    let until_ms: u64 = record.required("until_ms")?;
    if until_ms > 86_400_000 {
        return Err(record.fault("until_ms", &until_ms.to_string(), "a day at most"));
    }
    let list: Vec<Value> = record.required("events")?;
    let mut events: Vec<RequestEvent> = Vec::with_capacity(list.len());
    let (mut open, mut open_proxied) = (0i64, 0i64);
    for (at, value) in list.iter().enumerate() {
        let read = event(value).filter(|event| {
            let count = if event.is_proxied { &mut open_proxied } else { &mut open };
            *count += if event.is_arrival { 1 } else { -1 };
            let before = events.last().map_or(0, |before| before.at_ms);
            *count >= 0 && before <= event.at_ms && event.at_ms <= until_ms
        });
        events.push(read.ok_or_else(|| {
            let expected = "a time in ms, up to until_ms and none before that of the event before, and in, out, pin or pout; none ends that did not begin";
            record.fault(&format!("events[{at}]"), &shown(value), expected)
        })?);
    }
    let case = RequestCase {
        line: record.line(),
        id,
        desc,
        until_ms,
        events,
        queue_proxy: reports(&mut record, "queue_proxy", &QUEUE_PROXY)?,
        activator: reports(&mut record, "activator", &ACTIVATOR)?,
    };
    record.end()?;
    Ok(case)
}

fn event(value: &Value) -> Option<RequestEvent> {
    let [at_ms, kind] = value.as_array()?.as_slice() else { return None };
    let (is_arrival, is_proxied) = match kind.as_str()? {
        "in" => (true, false),
        "out" => (false, false),
        "pin" => (true, true),
        "pout" => (false, true),
        _ => return None,
    };
    Some(RequestEvent { at_ms: at_ms.as_u64()?, is_arrival, is_proxied })
}

fn reports<const N: usize>(
    record: &mut Record<'_>,
    name: &'static str,
    columns: &[&str; N],
) -> Result<Vec<[f64; N]>, ReadError> {
    let list: Vec<Value> = record.required(name)?;
    let report = |(at, value): (usize, &Value)| {
        let numbers: Option<Vec<f64>> =
            value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
        numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| {
            let expected = format!("the numbers {}", columns.join(", "));
            record.fault(&format!("{name}[{at}]"), &shown(value), &expected)
        })
    };
    list.iter().enumerate().map(report).collect()
}

impl RequestCase {
    fn compare(&self, fields: &mut Fields) {
        let (queue_proxy, activator) = self.play();
        compare("queue_proxy", &QUEUE_PROXY, &queue_proxy, &self.queue_proxy, fields);
        compare("activator", &ACTIVATOR, &activator, &self.activator, fields);
    }

    /// What our gates report.
    fn play(&self) -> (Vec<[f64; 5]>, Vec<[f64; 3]>) {
        let mut at_zero = Gate::new(WIDE, 0);
        let mut ready = Gate::new(WIDE, 0);
        ready.replica_ready(0, 0);
        let mut proxied = Proxied { meter: Meter::new(0), seconds: Vec::new() };
        let mut open: BTreeMap<bool, Vec<[RequestHandle; 2]>> = BTreeMap::new();
        let mut activator = Vec::new();
        for event in &self.events {
            let at_us = event.at_ms * 1_000;
            proxied.close(at_us);
            // What was due before the event is of whole seconds; what the event itself brings is of this moment.
            activator.extend(at_zero.take_reports(at_us).map(|report| row(&report, None)));
            let open = open.entry(event.is_proxied).or_default();
            if event.is_arrival {
                let both = [&mut at_zero, &mut ready]
                    .map(|gate| gate.arrive(at_us, Ask::default()).expect("the queue is endless"));
                open.push(both);
                if event.is_proxied {
                    proxied.meter.arrived();
                    proxied.meter.begins(at_us);
                }
            } else if let Some([one, other]) = open.pop() {
                at_zero.give_up(at_us, one);
                ready.give_up(at_us, other);
                if event.is_proxied {
                    proxied.meter.ends(at_us);
                }
            }
            let at_once = at_zero.take_reports(at_us);
            activator.extend(at_once.map(|report| row(&report, Some(event.at_ms))));
        }
        let until_us = self.until_ms * 1_000;
        activator.extend(at_zero.take_reports(until_us).map(|report| row(&report, None)));
        proxied.close(until_us);
        let queue_proxy = ready
            .take_reports(until_us)
            .zip(&proxied.seconds)
            .map(|(report, (concurrency, arrivals))| {
                let [ms, all, count] = row(&report, None);
                [ms, all, *concurrency, count, *arrivals]
            })
            .collect();
        (queue_proxy, activator)
    }
}

/// The share of requests that came through the activator: average and arrivals of each second.
struct Proxied {
    meter: Meter,
    seconds: Vec<(f64, f64)>,
}

impl Proxied {
    /// Closes the seconds that ended by `now_us`. What happens as a second ends belongs to the next.
    fn close(&mut self, now_us: u64) {
        while (self.seconds.len() as u64 + 1) * SECOND_US <= now_us {
            let counted = self.meter.take((self.seconds.len() as u64 + 1) * SECOND_US);
            self.seconds.push((counted.concurrency, counted.arrivals as f64));
        }
    }
}

/// A report as the recording has it. `at_ms`: when it was made, if not at the end of its second.
fn row(report: &Report, at_ms: Option<u64>) -> [f64; 3] {
    let value = |signal: Signal| report.values[signal as usize];
    let at_ms = at_ms.unwrap_or(report.second * 1_000);
    [at_ms as f64, value(Signal::Concurrency), value(Signal::Arrivals)]
}

/// Notes the first report of a side that differs.
fn compare<const N: usize>(
    side: &str,
    columns: &[&str; N],
    ours: &[[f64; N]],
    theirs: &[[f64; N]],
    fields: &mut Fields,
) {
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let differing = (0..N).find(|column| {
            let tolerance = if columns[*column].ends_with("concurrency") { TOLERANCE } else { 0.0 };
            (ours[*column] - theirs[*column]).abs() > tolerance
        });
        if let Some(column) = differing {
            let field = format!("{side}[{at}] {}", columns[column]);
            return fields.number(&field, ours[column], theirs[column]);
        }
    }
    let count = format!("{side} reports");
    fields.number(&count, ours.len() as f64, theirs.len() as f64);
}
