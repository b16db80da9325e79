//! Answers of Prometheus' range queries, `/api/v1/query_range`: a matrix of samples, each a time and a number as text.
//!
//! A sample says what was so when it was taken, and is taken to hold until the next step. Series of one service are added up. A series
//! that is not there at a step adds nothing: Prometheus leaves a series out when its pods are gone, and then nothing arrives there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConvertError, Options, shown};
use crate::trace::lines::Content;
use crate::trace::write::Table;

/// Labels that usually say which service it is, the likeliest first.
const LABELS: [&str; 12] = [
    "service",
    "service_name",
    "destination_service_name",
    "inferenceservice",
    "model_name",
    "model",
    "app",
    "deployment",
    "job",
    "namespace",
    "host",
    "__name__",
];
const MINUTE_S: f64 = 60.0;
/// 100 years of seconds.
const LONGEST_S: f64 = 3_155_760_000.0;
/// A trace has no higher rate or concurrency.
const HIGHEST_RATE: f64 = 1e6;
const HIGHEST_CONCURRENCY: f64 = 1e9;
/// Samples do not come faster than this; scrapes that are closer are one that was repeated.
const SHORTEST_STEP_S: f64 = 0.001;

/// What the samples are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// Requests per second, as `sum by (service) (rate(http_requests_total[1m]))` gives.
    #[default]
    Rate,
    /// Requests in flight, as `sum by (service) (vllm:num_requests_running)` gives.
    Concurrency,
    /// A counter of requests as it is, `http_requests_total`. A sample below the one before it is a restart from 0, and is what came
    /// since, as in Prometheus' `rate`.
    Counter,
}

/// What was odd about samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    /// How many there are.
    pub count: u64,
    /// In so many series.
    pub series: u64,
    /// That are NaN or infinite, and are taken as if they were not there.
    pub not_numbers: u64,
    /// That are negative or absurdly high, and are taken as if they were not there.
    pub out_of_range: u64,
    /// Steps at which a series that was there before is not, or has no number; nothing is taken to arrive.
    pub gaps: u64,
    /// Times that a counter went back, which is taken for a restart.
    pub resets: u64,
    /// The label that names services.
    pub label: Option<String>,
    /// Time from one sample to the next. Seconds.
    pub step_s: f64,
}

#[derive(Deserialize)]
struct Answer {
    status: Option<String>,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType", default)]
    kind: String,
    #[serde(default)]
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// The samples of some files as a table.
pub(super) struct Read {
    pub(super) table: Table,
    pub(super) start_us: i64,
    /// Of the table.
    pub(super) step_us: u64,
    pub(super) samples: Samples,
}

pub(super) fn read(
    files: Vec<(PathBuf, Content)>,
    options: &Options,
) -> Result<Read, ConvertError> {
    let mut all: Vec<(String, Series)> = Vec::new();
    for (path, content) in files {
        let path = shown(&path);
        all.extend(series(&path, content)?.into_iter().map(|series| (path.clone(), series)));
    }
    let mut samples = Samples { series: all.len() as u64, ..Samples::default() };
    let times = || all.iter().flat_map(|(_, series)| series.values.iter().map(|(at_s, _)| *at_s));
    let (first_s, last_s) =
        times().fold((f64::MAX, f64::MIN), |(first, last), at_s| (first.min(at_s), last.max(at_s)));
    let Some((path, _)) = all.first().filter(|_| first_s <= last_s) else {
        return Err(ConvertError::NoRequests);
    };
    // Not a number is not in the range either.
    if !(first_s >= 0.0 && last_s - first_s <= LONGEST_S && last_s <= 1e11) {
        return Err(ConvertError::Prometheus {
            path: path.clone(),
            expected: "samples within a century",
            found: format!("{first_s} to {last_s} s"),
        });
    }
    let label = label(path, &all, options)?;
    let step_s = step(&all).unwrap_or(MINUTE_S);
    samples.step_s = step_s;
    samples.label.clone_from(&label);
    let start_s = match options.start_us {
        Some(start_us) => start_us as f64 / 1e6,
        None => first_s,
    };
    let table_step_s = match options.metric {
        Metric::Rate | Metric::Counter => step_s,
        Metric::Concurrency => MINUTE_S,
    };
    if (last_s - start_s) / table_step_s > 5e7 {
        return Err(ConvertError::Prometheus {
            path: path.clone(),
            expected: "fewer than 50 million steps",
            found: format!("{step_s} s a step"),
        });
    }
    let mut table = Table::default();
    for (path, series) in &all {
        let service = match (&options.service, &label) {
            (Some(name), _) => name.clone(),
            (None, Some(label)) => match series.metric.get(label) {
                Some(name) if !name.is_empty() => name.replace([',', '\n', '\r'], "_"),
                Some(_) | None => return Err(no_label(path, label, series)),
            },
            (None, None) => "prometheus".to_owned(),
        };
        for (at_s, held_s, value) in values(series, options.metric, step_s, &mut samples) {
            add(
                &mut table,
                &service,
                [at_s - start_s, held_s, value],
                table_step_s,
                options.metric,
            );
        }
    }
    let start_us = (start_s * 1e6) as i64;
    Ok(Read { table, start_us, step_us: (table_step_s * 1e6) as u64, samples })
}

fn series(path: &str, content: Content) -> Result<Vec<Series>, ConvertError> {
    let json = |source| ConvertError::Json { path: path.to_owned(), source };
    let wrong = |expected, found: String| ConvertError::Prometheus {
        path: path.to_owned(),
        expected,
        found,
    };
    let answer: Answer =
        serde_json::from_reader(std::io::BufReader::new(content.into_read())).map_err(json)?;
    if answer.status.as_deref() == Some("error") {
        let said = answer.error.unwrap_or_else(|| "an error without words".to_owned());
        return Err(wrong("an answer with data", format!("the error: {said}")));
    }
    let Some(data) = answer.data else {
        return Err(wrong("`data` with a `result`", "neither".to_owned()));
    };
    if data.kind != "matrix" {
        let expected = "the matrix that /api/v1/query_range answers with";
        return Err(wrong(expected, format!("resultType `{}`", data.kind)));
    }
    serde_json::from_value(data.result).map_err(json)
}

/// The label that names services: the one that is asked for, else the likeliest that all series have and that tells them apart.
fn label(
    path: &str,
    all: &[(String, Series)],
    options: &Options,
) -> Result<Option<String>, ConvertError> {
    if options.service.is_some() {
        return Ok(None);
    }
    if let Some(label) = &options.service_label {
        return match all.iter().find(|(_, series)| !series.metric.contains_key(label)) {
            Some((path, series)) => Err(no_label(path, label, series)),
            None => Ok(Some(label.clone())),
        };
    }
    let everywhere =
        |label: &&&str| all.iter().all(|(_, series)| series.metric.contains_key(**label));
    let usual = LABELS.iter().find(everywhere).map(|label| (*label).to_owned());
    match (usual, all) {
        (Some(label), _) => Ok(Some(label)),
        (None, [_]) => Ok(None),
        (None, _) => Err(no_label(path, "service", &all[0].1)),
    }
}

fn no_label(path: &str, label: &str, series: &Series) -> ConvertError {
    let labels: Vec<String> = series.metric.keys().map(|label| format!("`{label}`")).collect();
    ConvertError::NoLabel {
        path: path.to_owned(),
        label: label.to_owned(),
        found: if labels.is_empty() { "none".to_owned() } else { labels.join(", ") },
    }
}

/// The shortest time between two samples of a series: longer ones are gaps.
fn step(all: &[(String, Series)]) -> Option<f64> {
    let pairs = all.iter().flat_map(|(_, series)| series.values.windows(2));
    pairs
        .map(|pair| pair[1].0 - pair[0].0)
        .filter(|step| *step >= SHORTEST_STEP_S)
        .min_by(f64::total_cmp)
}

/// The values of a series that are numbers: when each begins, how long it holds, what it is.
fn values(
    series: &Series,
    metric: Metric,
    step_s: f64,
    samples: &mut Samples,
) -> Vec<(f64, f64, f64)> {
    let mut values = Vec::with_capacity(series.values.len());
    let mut before: Option<(f64, f64)> = None;
    for (at_s, text) in &series.values {
        samples.count += 1;
        let value = match text.parse::<f64>() {
            Ok(value) if value.is_finite() => value,
            Ok(_) | Err(_) => {
                samples.not_numbers += 1;
                continue;
            }
        };
        let highest = match metric {
            Metric::Rate => HIGHEST_RATE,
            Metric::Concurrency => HIGHEST_CONCURRENCY,
            Metric::Counter => f64::MAX,
        };
        if value < 0.0 || value > highest {
            samples.out_of_range += 1;
            continue;
        }
        if let Some((before_s, _)) = before {
            // Half a step is room for a scrape that was late.
            samples.gaps += u64::from(at_s - before_s > 1.5 * step_s);
        }
        match (metric, before.replace((*at_s, value))) {
            (Metric::Rate | Metric::Concurrency, _) => values.push((*at_s, step_s, value)),
            // A counter's first sample says nothing about when it came to be.
            (Metric::Counter, None) => {}
            (Metric::Counter, Some((before_s, counted))) if *at_s > before_s => {
                samples.resets += u64::from(value < counted);
                let came = if value < counted { value } else { value - counted };
                let rate = came / (at_s - before_s);
                if rate > HIGHEST_RATE {
                    samples.out_of_range += 1;
                } else {
                    values.push((before_s, at_s - before_s, rate));
                }
            }
            (Metric::Counter, Some(_)) => {}
        }
    }
    values
}

/// Adds what holds from a moment on for some time to the steps that it falls into, as its share of each.
fn add(table: &mut Table, service: &str, held: [f64; 3], step_s: f64, metric: Metric) {
    let [from_s, held_s, value] = held;
    let (from_s, to_s) = (from_s.max(0.0), from_s + held_s);
    let mut step = match metric {
        // A sample of a rate belongs to the step that it stands at, whatever the float says.
        Metric::Rate => (from_s / step_s).round() as usize,
        Metric::Counter | Metric::Concurrency => (from_s / step_s).floor() as usize,
    };
    if metric == Metric::Rate {
        if to_s > 0.0 {
            table.add(service, step, value);
        }
        return;
    }
    loop {
        let (begins_s, ends_s) = (step as f64 * step_s, (step + 1) as f64 * step_s);
        let share = (to_s.min(ends_s) - from_s.max(begins_s)) / step_s;
        if share <= 1e-9 {
            return;
        }
        table.add(service, step, value * share);
        step += 1;
    }
}
