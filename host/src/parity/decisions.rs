//! Open and closed scenarios: what the first stage decides about demand, before bounds and without the rules of the last replica.

use super::compare::Fields;
use super::error::PlayError;
use super::golden::Row;
use super::play::{Play, TARGET};
use super::scenario::{Mode, Second};
use crate::engine::{Counts, Event};

/// Second by second: settings, ready pods, stats, poke, then the regular decision.
pub(super) fn run(play: &mut Play<'_>) -> Result<(), PlayError> {
    let initial = play.scenario.initial_ready;
    play.pods.grow(initial, 0);
    // `now` of a decision is exactly the second; the state is born with the pods that are ready then.
    play.create(initial)?;
    let is_closed = play.scenario.mode == Mode::Closed;
    let (scenario, golden) = (play.scenario, play.golden);
    let mut rows = golden.rows.iter().peekable();
    for (t, second) in (0u64..).zip(&scenario.seconds) {
        play.update(t)?;
        let ready = if is_closed { play.pods.ready(t) } else { second.ready };
        let mut events = events(play, t, ready, second);
        if second.is_poked {
            play.step_before_tick(t, true, std::mem::take(&mut events))?;
            let row = rows.next_if(|row| row.t_s == t && row.is_poke);
            answer(play, t, ready, row, "a poke");
        }
        play.step(t, events)?;
        if t > 0 && t.is_multiple_of(2) {
            let row = rows.next_if(|row| row.t_s == t && !row.is_poke);
            answer(play, t, ready, row, "a decision");
        }
        while let Some(row) = rows.next_if(|row| row.t_s <= t) {
            play.miss(row.t_s, row.line, "none", &row.at());
        }
    }
    if let Some(row) = rows.next() {
        play.miss(row.t_s, row.line, "none: the scenario is over", &row.at());
    }
    Ok(())
}

fn events(play: &Play<'_>, t: u64, ready: u32, second: &Second) -> Vec<Event> {
    let known = (!second.has_ready_error).then_some(ready);
    let mut events = vec![Event::Counted(TARGET, Counts { ready: known, starting: 0 })];
    // These stats come from pods, and such do not poke.
    if let Some(concurrency) = second.concurrency {
        events.push(Event::Scraped(TARGET, play.report(t, concurrency, second.rps)));
    }
    for extra in &second.extra {
        let report = play.report(extra.at_s, extra.concurrency, extra.rps);
        events.push(Event::Scraped(TARGET, report));
    }
    events
}

/// A decision was made at second `t`, with so many pods ready; `row` is what Knative's was.
fn answer(play: &mut Play<'_>, t: u64, ready: u32, row: Option<&Row>, what: &str) {
    if play.scenario.mode == Mode::Closed && play.is_applied() {
        scale(play, t);
    }
    let Some(row) = row else {
        play.miss(t, play.golden.line, what, "no row");
        return;
    };
    let mut fields = Fields::default();
    play.compare(row, true, &mut fields);
    fields.number("ready", f64::from(ready), row.ready);
    if let Some(pods) = row.pods {
        fields.number("pods", f64::from(play.pods.all()), pods);
    }
    let path = &play.golden.path;
    play.rows.take(fields, || (path.clone(), row.line, row.at()));
}

/// Pods follow what is wanted, within bounds. Surplus ones vanish at once, those that would be ready last first.
fn scale(play: &mut Play<'_>, t: u64) {
    let (min, max) = (play.resolved.min_scale, play.resolved.max_scale);
    let wanted = play.wanted().unwrap_or(0).max(min);
    let wanted = if max == 0 { wanted } else { wanted.min(max.max(min)) };
    play.pods.grow(wanted, t.saturating_add(play.scenario.pod_start_s));
    play.pods.shrink_by_ready_time(wanted);
}
