//! The numbers of an outcome by name: the one table from which gates (`tidegate compare --gate 'chat.wait_p99<=+0.5s'`) and
//! expectations of suites (`expired == 0 && gpu_minutes < 300`) read. The names are those of the document's `summary`
//! (`docs/replay.md`), and short ones beside them.
//!
//! - [`Reading::parse`] turns `wait_p99` or `chat.wait_s.p99` into a [`Reading`], and [`Reading::of`] finds its number in [`Sums`].
//! - [`Amount::parse`] turns `300`, `0.5s`, `20m`, `$3` or `5%` into a number in the metric's own unit.

use crate::ledger::{Summary, Sums};

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests, replicas, entries: whole numbers.
    Count,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// US dollars.
    Dollars,
}

/// A number of a [`Summary`].
#[derive(Debug)]
pub struct Metric {
    /// Its name in the document's `summary`.
    pub name: &'static str,
    /// A shorter name that means the same.
    pub short: Option<&'static str>,
    /// What people call it, in a table.
    pub title: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Whether more of it is better, or less.
    pub wanted: Wanted,
    read: fn(&Summary) -> f64,
}

/// Which way a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// More of it.
    More,
    /// Less of it.
    Less,
    /// The load is nobody's merit.
    Neither,
}

impl Metric {
    const fn wanted(self, wanted: Wanted) -> Metric {
        Metric { wanted, ..self }
    }

    /// Its number.
    pub fn of(&self, summary: &Summary) -> f64 {
        (self.read)(summary)
    }

    /// The metric of that name, long or short.
    pub fn named(name: &str) -> Option<&'static Metric> {
        METRICS.iter().find(|metric| metric.name == name || metric.short == Some(name))
    }
}

/// Every number of a summary, in the order in which people read them.
pub static METRICS: [Metric; 16] = [
    metric("requests.arrived", Some("arrived"), "arrived", Unit::Count, |s| {
        count(s.requests.arrived)
    })
    .wanted(Wanted::Neither),
    metric("requests.served", Some("served"), "served", Unit::Count, |s| count(s.requests.served))
        .wanted(Wanted::More),
    metric("requests.waited", Some("waited"), "waited", Unit::Count, |s| count(s.requests.waited)),
    metric("requests.expired", Some("expired"), "expired", Unit::Count, |s| {
        count(s.requests.expired)
    }),
    metric("requests.failed", Some("failed"), "failed", Unit::Count, |s| count(s.requests.failed)),
    metric("requests.unfinished", Some("unfinished"), "unfinished", Unit::Count, |s| {
        count(s.requests.unfinished)
    }),
    metric("wait_s.p50", Some("wait_p50"), "wait p50", Unit::Seconds, |s| s.wait_s.p50),
    metric("wait_s.p95", Some("wait_p95"), "wait p95", Unit::Seconds, |s| s.wait_s.p95),
    metric("wait_s.p99", Some("wait_p99"), "wait p99", Unit::Seconds, |s| s.wait_s.p99),
    metric("wait_s.max", Some("wait_max"), "wait max", Unit::Seconds, |s| s.wait_s.max),
    metric("cold_starts", None, "cold starts", Unit::Count, |s| count(s.cold_starts)),
    metric("replica_minutes", None, "replica-minutes", Unit::Minutes, |s| count(s.replica_minutes)),
    metric("gpu_minutes", None, "GPU-minutes", Unit::Minutes, |s| count(s.gpu_minutes)),
    metric("cost", None, "cost", Unit::Dollars, |s| s.cost),
    metric("max_replicas", None, "most replicas", Unit::Count, |s| f64::from(s.max_replicas)),
    metric("panics", None, "panics", Unit::Count, |s| count(s.panics)),
];

const fn metric(
    name: &'static str,
    short: Option<&'static str>,
    title: &'static str,
    unit: Unit,
    read: fn(&Summary) -> f64,
) -> Metric {
    Metric { name, short, title, unit, wanted: Wanted::Less, read }
}

/// Counts of a replay are far below 2⁵³, to which every whole number has an `f64` of its own.
fn count(count: u64) -> f64 {
    count as f64
}

/// A number of an outcome that somebody names: whole, or of one service.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Whose; `None`: all services together.
    pub service: Option<String>,
    /// Which.
    pub metric: &'static Metric,
}

/// A name that is no metric's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no metric {found}{}", nearest.map_or(String::new(), |name| format!(", did you mean {name}?")))]
pub struct UnknownMetric {
    /// What was written, without a service before it.
    pub found: String,
    /// The nearest name that there is.
    pub nearest: Option<&'static str>,
}

impl Reading {
    /// Reads `metric` or `service.metric`. Names of services may have dots: the longest known name at the end is the metric.
    ///
    /// # Errors
    ///
    /// When the text ends in no metric's name.
    pub fn parse(text: &str) -> Result<Reading, UnknownMetric> {
        if let Some(metric) = Metric::named(text) {
            return Ok(Reading { service: None, metric });
        }
        for (dot, _) in text.match_indices('.') {
            if let Some(metric) = Metric::named(&text[dot + 1..])
                && dot > 0
            {
                return Ok(Reading { service: Some(text[..dot].to_owned()), metric });
            }
        }
        let names =
            || METRICS.iter().flat_map(|metric| [Some(metric.name), metric.short]).flatten();
        let last = text.rsplit('.').next().unwrap_or(text);
        let near = |word: &str| tidegate_settings::nearest(word, names());
        let (found, nearest) = match near(text) {
            Some(nearest) => (text, Some(nearest)),
            None => (last, near(last)),
        };
        Err(UnknownMetric { found: found.to_owned(), nearest })
    }

    /// Its number; `None` where there is no such service.
    pub fn of(&self, sums: &Sums) -> Option<f64> {
        let summary = match &self.service {
            None => &sums.whole,
            Some(service) => sums.services.get(service)?,
        };
        Some(self.metric.of(summary))
    }
}

impl std::fmt::Display for Reading {
    /// As it may be written: the service, a dot, the metric's name in the document.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.service {
            None => f.write_str(self.metric.name),
            Some(service) => write!(f, "{service}.{}", self.metric.name),
        }
    }
}

/// A number that somebody writes beside a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// In the metric's own unit.
    Plain(f64),
    /// Parts in a hundred.
    Percent(f64),
}

/// A number with a unit that its metric does not have, or no number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is no amount of {metric}, expected {expected}", if found.is_empty() { "nothing" } else { found })]
pub struct AmountError {
    /// What was written.
    pub found: String,
    /// The metric's name.
    pub metric: &'static str,
    /// What may stand there.
    pub expected: &'static str,
}

impl Amount {
    /// Reads a number without a sign, with or without a unit that goes with `metric`: `ms`, `s`, `m` or `h` for times, `$` on either
    /// side for money, `%` for all. Without one it is in the metric's own unit.
    ///
    /// # Errors
    ///
    /// When it is no number, or the unit is another's.
    pub fn parse(text: &str, metric: &Metric) -> Result<Amount, AmountError> {
        let wrong = || AmountError {
            found: text.to_owned(),
            metric: metric.name,
            expected: match metric.unit {
                Unit::Count => "a number, as 12, or a percentage, as 5%",
                Unit::Seconds => {
                    "a time, as 0.5s, 250ms or 2m (seconds without a unit), or a percentage, as 5%"
                }
                Unit::Minutes => "minutes, as 300, 300m or 5h, or a percentage, as 5%",
                Unit::Dollars => "US dollars, as 12.50 or $12.50, or a percentage, as 5%",
            },
        };
        let dollars = text.strip_prefix('$');
        let rest = dollars.unwrap_or(text);
        let digits =
            rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (number, unit) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let factor = match (unit, metric.unit, dollars) {
            ("%", _, None) => return Ok(Amount::Percent(number)),
            ("", _, None) | ("" | "$", Unit::Dollars, _) => 1.0,
            ("ms", Unit::Seconds, None) => 1e-3,
            ("s", Unit::Seconds, None) | ("m", Unit::Minutes, None) => 1.0,
            ("m", Unit::Seconds, None) | ("h", Unit::Minutes, None) => 60.0,
            ("h", Unit::Seconds, None) => 3_600.0,
            ("s", Unit::Minutes, None) => 1.0 / 60.0,
            (_, Unit::Count | Unit::Seconds | Unit::Minutes | Unit::Dollars, _) => {
                return Err(wrong());
            }
        };
        Ok(Amount::Plain(number * factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_number_of_the_document_and_no_other() {
        let document = serde_json::to_value(Summary::default()).expect("a summary is JSON");
        let mut names = Vec::new();
        for (key, value) in document.as_object().expect("an object") {
            match value.as_object() {
                None => names.push(key.clone()),
                Some(object) => names.extend(object.keys().map(|inner| format!("{key}.{inner}"))),
            }
        }
        let mut known: Vec<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
        names.sort();
        known.sort();
        assert_eq!(names, known);
    }

    #[test]
    fn names_are_read_whole_and_of_services_with_dots_in_them() {
        for (text, expected) in [
            ("cost", "cost"),
            ("expired", "requests.expired"),
            ("wait_p99", "wait_s.p99"),
            ("wait_s.p99", "wait_s.p99"),
            ("chat.wait_s.p99", "chat.wait_s.p99"),
            ("team.chat.v2.gpu_minutes", "team.chat.v2.gpu_minutes"),
        ] {
            assert_eq!(
                Reading::parse(text).map(|reading| reading.to_string()),
                Ok(expected.into())
            );
        }
        for (text, expected) in [
            ("gpu_minuts", "there is no metric gpu_minuts, did you mean gpu_minutes?"),
            ("chat.gpu_minuts", "there is no metric gpu_minuts, did you mean gpu_minutes?"),
            ("wait.p99", "there is no metric wait.p99, did you mean wait_p99?"),
            ("", "there is no metric "),
            (".cost", "there is no metric .cost, did you mean cost?"),
        ] {
            let error = Reading::parse(text).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn amounts_come_in_the_units_that_go_with_their_metric() {
        let metric = |name| Metric::named(name).expect("it is one");
        for (text, name, expected) in [
            ("300", "gpu_minutes", Amount::Plain(300.0)),
            ("5h", "gpu_minutes", Amount::Plain(300.0)),
            ("250ms", "wait_p99", Amount::Plain(0.25)),
            ("2m", "wait_p99", Amount::Plain(120.0)),
            ("$3.5", "cost", Amount::Plain(3.5)),
            ("3.5$", "cost", Amount::Plain(3.5)),
            ("5%", "expired", Amount::Percent(5.0)),
        ] {
            assert_eq!(Amount::parse(text, metric(name)), Ok(expected), "{text}");
        }
        for (text, name) in [
            ("", "cost"),
            ("5s", "cost"),
            ("$5", "expired"),
            ("5q", "wait_p99"),
            ("1.2.3", "cost"),
            ("$5%", "cost"),
        ] {
            assert!(Amount::parse(text, metric(name)).is_err(), "{text} of {name}");
        }
    }
}
