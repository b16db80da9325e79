//! The requests of a journal as load: to be written as a trace, or run through a simulator with other policies.

use std::collections::BTreeMap;

use crate::journal::{Entry, Fate, Found, Header, JournalError, Request};
use crate::time::Time;
use crate::trace::{Item, Work};

/// What was asked of a run, in order of arrival.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Of the last engine that is in the journal.
    pub header: Header,
    /// When it begins: the whole second of its first request, or later if less was asked for.
    pub start: Time,
    /// The services, sorted.
    pub services: Vec<String>,
    /// What arrived, by position of the service.
    pub items: Vec<Item>,
    /// When it is over. Microseconds since the start.
    pub end_us: u64,
    /// Requests of which it is not known what they asked for, as they were not served: they ask for what is usual for their service.
    pub assumed: u64,
    /// Requests of which nothing is known but that they were.
    pub left_out: u64,
    /// Times that entries are missing.
    pub gaps: u64,
}

/// A journal that is no load.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// It cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is nothing in it.
    #[error(
        "it has no requests: a simulator's journal has none (its load is its trace), a live one's come with the gateway"
    )]
    Nothing,
}

/// Collects the requests of a journal: all, or those that arrived in its last `since_ms`.
///
/// # Errors
///
/// When it cannot be read, or has no requests.
pub fn recorded(
    found: impl Iterator<Item = Result<Found, JournalError>>,
    since_ms: Option<u64>,
) -> Result<Recorded, RecordedError> {
    let mut header = None;
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    let mut rows: Vec<(u32, Request)> = Vec::new();
    let (mut left_out, mut gaps, mut end) = (0, 0, Time::ZERO);
    for found in found {
        match found? {
            Found::Segment(_) => {}
            Found::Torn(_) => gaps += 1,
            Found::Entry(Entry::Begin(begin)) => {
                gaps += u64::from(begin.gap.is_some());
                header = Some(begin.header);
            }
            Found::Entry(Entry::Step(step)) => end = end.max(step.seen.at),
            Found::Entry(Entry::Note(_)) => {}
            Found::Entry(Entry::Requests(requests)) => {
                left_out += requests.left_out;
                end = end.max(Time((requests.second + 1) * 1_000));
                for (service, request) in requests.rows() {
                    let next = names.len() as u32;
                    let position = match names.get(service) {
                        Some(&position) => position,
                        None => *names.entry(service.to_owned()).or_insert(next),
                    };
                    rows.push((position, request));
                }
            }
        }
    }
    let from = since_ms.map_or(0, |since| end.0.saturating_sub(since));
    rows.retain(|(_, request)| request.arrived_ms >= from);
    rows.sort_by_key(|(service, request)| (request.arrived_ms, *service));
    let (Some(header), Some((_, first))) = (header, rows.first()) else {
        return Err(RecordedError::Nothing);
    };
    let start = Time((first.arrived_ms / 1_000 * 1_000).max(from));
    let work = Asked::of(&rows, names.len());
    let mut by_position = vec![0; names.len()];
    for (sorted, &position) in names.values().enumerate() {
        by_position[position as usize] = sorted as u32;
    }
    let mut assumed = 0;
    let item = |(service, request): &(u32, Request)| {
        let (work, is_assumed) = work.of_request(*service, request);
        assumed += u64::from(is_assumed);
        let at_us = (request.arrived_ms - start.0) * 1_000;
        Item::Arrival { at_us, service: by_position[*service as usize], work }
    };
    let items: Vec<Item> = rows.iter().map(item).collect();
    let end_us = end.since(start) * 1_000;
    let services = names.into_keys().collect();
    Ok(Recorded { header, start, services, items, end_us, assumed, left_out, gaps })
}

/// What requests ask for: tokens where all that were served say so, or else how long they took.
struct Asked {
    in_tokens: bool,
    /// By service: the median of those that were served.
    usual: Vec<Work>,
}

impl Asked {
    fn of(rows: &[(u32, Request)], services: usize) -> Asked {
        let served = || rows.iter().filter(|(_, request)| request.fate == Fate::Served);
        let in_tokens =
            served().all(|(_, request)| request.tokens.0 > 0) && served().next().is_some();
        let mut seen: Vec<Vec<(u64, u64)>> = vec![Vec::new(); services];
        for (service, request) in served() {
            let (prompt, output) = request.tokens;
            let asked = match in_tokens {
                true => (u64::from(prompt), u64::from(output)),
                false => (request.took_ms, 0),
            };
            seen[*service as usize].push(asked);
        }
        let median = |mut values: Vec<u64>| {
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(1)
        };
        let usual = |asked: Vec<(u64, u64)>| {
            let one = median(asked.iter().map(|(one, _)| *one).collect());
            let other = median(asked.iter().map(|(_, other)| *other).collect());
            match in_tokens {
                true => Work::Tokens { prompt: one as u32, output: other as u32 },
                false => Work::Duration(one * 1_000),
            }
        };
        Asked { in_tokens, usual: seen.into_iter().map(usual).collect() }
    }

    /// And whether that is assumed.
    fn of_request(&self, service: u32, request: &Request) -> (Work, bool) {
        let (prompt, output) = request.tokens;
        match (self.in_tokens, request.fate) {
            (true, _) if prompt > 0 => (Work::Tokens { prompt, output }, false),
            (false, Fate::Served) => (Work::Duration(request.took_ms * 1_000), false),
            (true | false, _) => (self.usual[service as usize], true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Begin, Requests};

    fn of(requests: &[(&str, Request)], since_ms: Option<u64>) -> Result<Recorded, RecordedError> {
        let header = crate::journal::tests::header();
        let rows: Vec<(String, Request)> =
            requests.iter().map(|(name, request)| ((*name).to_owned(), *request)).collect();
        let entries = [
            Entry::Begin(Box::new(Begin::first(header))),
            Entry::Requests(Requests::of(70, &rows, 2)),
        ];
        recorded(entries.into_iter().map(|entry| Ok(Found::Entry(entry))), since_ms)
    }

    fn told(recorded: &Recorded) -> Vec<String> {
        let line = |item: &Item| {
            let service = &recorded.services[item.service() as usize];
            let Item::Arrival { at_us, work, .. } = item else { panic!("only arrivals") };
            format!("{at_us} {service} {work:?}")
        };
        recorded.items.iter().map(line).collect()
    }

    #[test]
    fn requests_are_load_in_order_of_arrival_and_those_that_nobody_served_ask_for_the_usual() {
        let served = |arrived_ms, took_ms| Request { arrived_ms, took_ms, ..Request::default() };
        let refused = Request { arrived_ms: 69_500, fate: Fate::Refused, ..Request::default() };
        let requests =
            [("web", served(70_100, 40)), ("code", served(68_250, 900)), ("web", refused)];
        let load = of(&requests, None).expect("there are requests");
        assert_eq!(load.start, Time(68_000));
        assert_eq!((load.assumed, load.left_out, load.end_us), (1, 2, 3_000_000));
        let expected = [
            "250000 code Duration(900000)",
            "1500000 web Duration(40000)",
            "2100000 web Duration(40000)",
        ];
        assert_eq!(told(&load), expected);
        let late = of(&requests, Some(1_500)).expect("there are requests");
        assert_eq!((late.start, late.items.len()), (Time(69_500), 2));
    }

    #[test]
    fn where_all_that_were_served_count_tokens_load_is_tokens() {
        let one = |prompt, fate| Request {
            arrived_ms: 70_000,
            tokens: (prompt, 9),
            fate,
            ..Request::default()
        };
        let load = of(&[("chat", one(120, Fate::Served)), ("chat", one(0, Fate::Expired))], None);
        let works = told(&load.expect("there are requests"));
        assert_eq!(works[0], works[1]);
        assert!(works[0].ends_with("Tokens { prompt: 120, output: 9 }"), "{works:?}");
    }

    #[test]
    fn a_journal_without_requests_is_no_load() {
        assert!(matches!(of(&[], None), Err(RecordedError::Nothing)));
    }
}
