//! Which changes are told, and as how many: small steps for one reason read as one run, and where there are too many, the most
//! telling ones are kept.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::ledger::{ChangeNote, FailureNote, Outcome, ServiceOutcome};

/// One change of a service, or several small ones that read as one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    /// Name of the service.
    pub(super) service: &'a str,
    /// The first of them; it has the time, and what was ready and waiting then.
    pub(super) first: &'a ChangeNote,
    /// The last of them; it has the count in the end, and the reason for it.
    pub(super) last: &'a ChangeNote,
    /// How many they are.
    pub(super) steps: u64,
}

/// A line of the timeline.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event<'a> {
    /// A service's count changed.
    Changed(Run<'a>),
    /// A policy gave no answer.
    Failed(&'a FailureNote),
}

impl Run<'_> {
    /// What changed: the service, or the pool of it.
    pub(super) fn name(&self) -> String {
        name_of(self.service, self.first)
    }
}

/// What a change of `service` is about: the service, or a pool of it.
pub(super) fn name_of(service: &str, change: &ChangeNote) -> String {
    match &change.pool {
        Some(pool) => format!("{service}/{pool}"),
        None => service.to_owned(),
    }
}

impl Event<'_> {
    pub(super) fn at_s(&self) -> f64 {
        match self {
            Event::Changed(run) => run.first.at_s,
            Event::Failed(failure) => failure.at_s,
        }
    }

    /// The service that changed, or the stage that failed.
    fn about(&self) -> &str {
        match self {
            Event::Changed(run) => run.service,
            Event::Failed(failure) => &failure.stage,
        }
    }

    /// What it shares with others of its kind: the first of a kind tells more than the tenth.
    fn kind(&self) -> String {
        match self {
            Event::Changed(run) => {
                let ways = match run.first.from {
                    None => "created",
                    Some(0) => "from zero",
                    Some(_) if run.last.to == 0 => "to zero",
                    Some(from) if from < run.last.to => "up",
                    Some(_) => "down",
                };
                let change = run.first;
                let clamps = !change.clamps.is_empty();
                format!("{ways} {} {clamps} {}", change.in_panic, words(&change.reason))
            }
            Event::Failed(failure) => {
                format!("failed {} {}", failure.stage, words(&failure.message))
            }
        }
    }

    fn size(&self) -> u32 {
        match self {
            Event::Changed(run) => run.first.from.unwrap_or(0).abs_diff(run.last.to),
            Event::Failed(failure) => failure.services.len() as u32,
        }
    }
}

/// All that happened, in order of time, then of names.
pub(super) fn events(outcome: &Outcome) -> Vec<Event<'_>> {
    let runs = outcome.services.iter().flat_map(runs).map(Event::Changed);
    let mut events: Vec<Event<'_>> =
        runs.chain(outcome.failures.iter().map(Event::Failed)).collect();
    events.sort_by(|a, b| a.at_s().total_cmp(&b.at_s())); // stable: services are in order of names already
    events
}

/// A service's changes in order of time, small steps for one reason folded.
pub(super) fn runs(service: &ServiceOutcome) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    let mut rest = &service.changes[..];
    while let Some(first) = rest.first() {
        let steps =
            1 + rest.windows(2).take_while(|pair| continues(first, &pair[0], &pair[1])).count();
        // Two lines are as easily read as one that stands for two.
        let steps = if steps < 3 { 1 } else { steps };
        let last = &rest[steps - 1];
        runs.push(Run { service: &service.name, first, last, steps: steps as u64 });
        rest = &rest[steps..];
    }
    runs
}

/// The longest time between two steps of a run. Seconds.
const PAUSE_S: f64 = 600.0;

/// Steps of any size that follow one another so closely are one burst. Seconds.
const BURST_S: f64 = 10.0;

/// Whether `next` is another step in the direction of `before`, small or soon after it, for the reason that `first` had.
fn continues(first: &ChangeNote, before: &ChangeNote, next: &ChangeNote) -> bool {
    let Some(start) = first.from else { return false };
    let is_small = |change: &ChangeNote| {
        let from = change.from.unwrap_or(0);
        from.abs_diff(change.to) <= (from / 8).max(1)
    };
    let is_awake = |change: &ChangeNote| change.from != Some(0) && change.to > 0;
    let falls = |change: &ChangeNote| change.from.unwrap_or(0) > change.to;
    start > 0
        && is_awake(before)
        && is_awake(next)
        && (is_small(before) && is_small(next) || next.at_s - before.at_s <= BURST_S)
        && falls(before) == falls(next)
        && next.pool == first.pool
        && next.from == Some(before.to)
        && next.at_s - before.at_s <= PAUSE_S
        && next.in_panic == first.in_panic
        && words(&next.reason) == words(&first.reason)
        && next.clamps.is_empty() == first.clamps.is_empty()
}

/// `text` without its numbers: what two reasons of one kind have in common.
fn words(text: &str) -> String {
    let mut words = String::new();
    for c in text.chars() {
        let is_number = c.is_ascii_digit() || (c == '.' && words.ends_with('#'));
        match is_number {
            true if words.ends_with('#') => {}
            true => words.push('#'),
            false => words.push(c),
        }
    }
    words
}

/// The `limit` most telling of `events`, still in order: the first of each kind, the largest of each service, the largest of each
/// stretch of time (there are `limit` of them), then the largest.
pub(super) fn most_telling<'a>(events: &[Event<'a>], limit: usize) -> Vec<Event<'a>> {
    if events.len() <= limit {
        return events.to_vec();
    }
    let mut by_size: Vec<usize> = (0..events.len()).collect();
    by_size.sort_by_key(|&i| Reverse(events[i].size())); // stable: of equals the earliest comes first
    let end_s = events.last().map_or(0.0, Event::at_s).max(1.0);
    let stretch = |event: &Event<'_>| (event.at_s() / end_s * limit as f64) as u64;
    let firsts = first_each(0..events.len(), |i| events[i].kind());
    let largest = first_each(by_size.iter().copied(), |i| events[i].about());
    let spread = first_each(by_size.iter().copied(), |i| stretch(&events[i]));
    let mut kept = by_size;
    kept.sort_by_key(|i| (!firsts.contains(i), !largest.contains(i), !spread.contains(i)));
    kept.truncate(limit);
    kept.sort_unstable();
    kept.into_iter().map(|i| events[i]).collect()
}

/// Of `order`, those that are the first with their key.
fn first_each<K: Ord>(
    order: impl Iterator<Item = usize>,
    key: impl Fn(usize) -> K,
) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    order.filter(|&i| seen.insert(key(i))).collect()
}
