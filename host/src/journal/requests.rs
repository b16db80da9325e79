//! What became of requests: collected where they end, second by second, and kept as columns, which compress to a few bytes each.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

/// Requests that are kept until somebody fetches them. At 20,000 a second that is five seconds; further ones are only counted.
const KEPT_AT_MOST: usize = 100_000;

/// What became of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Answered in full.
    #[default]
    Served,
    /// Its time was up.
    Expired,
    /// There was no room for it to wait.
    Refused,
    /// Its replica was lost, or answered with an error of its own.
    Failed,
    /// The client went away.
    GivenUp,
}

/// A request that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// When it came. Unix milliseconds.
    pub arrived_ms: u64,
    /// How long it was held before a replica had it; all the time, if none ever had. Milliseconds.
    pub waited_ms: u64,
    /// How long the replica had it. Milliseconds.
    pub took_ms: u64,
    /// What became of it.
    pub fate: Fate,
    /// Tokens of the prompt and of the answer; 0 where they are not known.
    pub tokens: (u32, u32),
    /// Whether there was no replica when it came.
    pub is_cold: bool,
}

/// The requests that ended within a second. All columns are equally long, a row a request; one that is all zeros is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requests {
    /// Whole seconds since 1970.
    pub second: u64,
    /// The services that are named below.
    pub services: Vec<String>,
    /// Whose each request was, by position in `services`.
    pub of: Vec<u32>,
    /// How long before the end of the second each came. Milliseconds.
    ago_ms: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waited_ms: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    took_ms: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fate: Vec<Fate>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    prompt: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    output: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cold: Vec<u8>,
    /// Further ones, of which nothing is known: more ended than can be kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

impl Requests {
    /// Those that ended in `second`, each with its service.
    pub fn of(second: u64, requests: &[(String, Request)], left_out: u64) -> Requests {
        let mut positions: BTreeMap<&str, u32> = BTreeMap::new();
        for (service, _) in requests {
            positions.insert(service, 0);
        }
        for (position, at) in positions.values_mut().zip(0..) {
            *position = at;
        }
        let end_ms = (second + 1) * 1_000;
        let rows = || requests.iter().map(|(_, request)| request);
        Requests {
            second,
            of: requests.iter().map(|(service, _)| positions[service.as_str()]).collect(),
            services: positions.into_keys().map(str::to_owned).collect(),
            ago_ms: rows().map(|one| end_ms.saturating_sub(one.arrived_ms)).collect(),
            waited_ms: column(rows().map(|one| one.waited_ms)),
            took_ms: column(rows().map(|one| one.took_ms)),
            fate: column(rows().map(|one| one.fate)),
            prompt: column(rows().map(|one| one.tokens.0)),
            output: column(rows().map(|one| one.tokens.1)),
            cold: column(rows().map(|one| u8::from(one.is_cold))),
            left_out,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Each with its service. Columns that are too short, which no writer leaves, read as zeros.
    pub fn rows(&self) -> impl Iterator<Item = (&str, Request)> {
        let end_ms = self.second.saturating_add(1).saturating_mul(1_000);
        self.of.iter().enumerate().filter_map(move |(at, &service)| {
            let service = self.services.get(service as usize)?;
            let ago_ms = self.ago_ms.get(at).copied().unwrap_or(0);
            let request = Request {
                arrived_ms: end_ms.saturating_sub(ago_ms),
                waited_ms: cell(&self.waited_ms, at),
                took_ms: cell(&self.took_ms, at),
                fate: cell(&self.fate, at),
                tokens: (cell(&self.prompt, at), cell(&self.output, at)),
                is_cold: cell(&self.cold, at) != 0,
            };
            Some((service.as_str(), request))
        })
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A column, empty if it says nothing.
fn column<T: Default + PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let values: Vec<T> = values.collect();
    if values.iter().all(|value| *value == T::default()) { Vec::new() } else { values }
}

fn cell<T: Copy + Default>(column: &[T], at: usize) -> T {
    column.get(at).copied().unwrap_or_default()
}

/// Where requests are noted as they end, from any thread, until the control loop fetches them.
#[derive(Debug, Default)]
pub struct RequestLog {
    inner: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    requests: Vec<(String, Request)>,
    left_out: u64,
}

impl RequestLog {
    /// A request of `service` has ended.
    pub fn note(&self, service: &str, request: Request) {
        let mut kept = self.lock();
        // More than can be fetched in time must not fill the memory.
        if kept.requests.len() < KEPT_AT_MOST {
            kept.requests.push((service.to_owned(), request));
        } else {
            kept.left_out += 1;
        }
    }

    /// Those that ended since this was last asked, as those of `second`; `None`: there were none.
    pub fn take(&self, second: u64) -> Option<Requests> {
        let Kept { requests, left_out } = std::mem::take(&mut *self.lock());
        if requests.is_empty() && left_out == 0 {
            return None;
        }
        Some(Requests::of(second, &requests, left_out))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.inner.lock().expect("whoever held it did not panic: nothing here does")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_fetched_once_with_all_that_is_known_of_them() {
        let log = RequestLog::default();
        let one = Request { arrived_ms: 5_000, took_ms: 1_300, ..Request::default() };
        let other = Request {
            arrived_ms: 900,
            waited_ms: 4_000,
            took_ms: 1_950,
            fate: Fate::Failed,
            tokens: (120, 7),
            is_cold: true,
        };
        log.note("code", one);
        log.note("chat", other);
        let taken = log.take(6).expect("two ended");
        assert_eq!(taken.rows().collect::<Vec<_>>(), [("code", one), ("chat", other)]);
        assert_eq!(log.take(7), None);
    }

    #[test]
    fn more_requests_than_can_be_kept_are_counted() {
        let log = RequestLog::default();
        for _ in 0..KEPT_AT_MOST + 3 {
            log.note("chat", Request { arrived_ms: 1_000, ..Request::default() });
        }
        let taken = log.take(1).expect("there are many");
        assert_eq!((taken.len(), taken.left_out), (KEPT_AT_MOST, 3));
    }

    #[test]
    fn columns_that_say_nothing_are_left_out_and_a_row_of_nobody_is_no_row() {
        let one = ("chat".to_owned(), Request { arrived_ms: 1_250, ..Request::default() });
        let mut requests = Requests::of(1, &[one], 0);
        let text = serde_json::to_string(&requests).expect("every key is text");
        insta::assert_snapshot!(text, @r#"{"second":1,"services":["chat"],"of":[0],"agoMs":[750]}"#);
        requests.of.push(9);
        assert_eq!(requests.rows().count(), 1);
    }
}
