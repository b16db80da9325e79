//! End-to-end scenarios: the whole chain with bounds between its stages, a deployment that follows, and the last replica that goes
//! and comes back.

use super::compare::Fields;
use super::error::PlayError;
use super::golden::{EndToEnd, Row};
use super::play::{Play, TARGET};
use crate::engine::{Action, Counts, Event, Plan};

const ACTIVE: &str = "active";
const IN_PATH: &str = "gateway-in-path";
const ACTIVATORS: &str = "activators";
const DESIRED_SCALE: &str = "desired-scale";

/// Everything runs 1 ms after the whole second, one after the other: the probe's answer, timers, readiness, the stat, which pokes by
/// itself where nothing is wanted, then the regular decision.
pub(super) fn run(play: &mut Play<'_>) -> Result<(), PlayError> {
    play.start = play.start + 1;
    play.pods.grow(play.resolved.initial_scale, play.scenario.pod_start_s);
    play.create(play.pods.ready(0))?;
    let (scenario, golden) = (play.scenario, play.golden);
    let mut rows = golden.rows.iter().peekable();
    let mut last: Option<&Row> = None;
    let mut probe = Probe { answers: true, in_path_since: None };
    let (mut was_busy, mut is_asked) = (false, false);
    for (t, second) in (0u64..).zip(&scenario.seconds) {
        if second.pods_fail {
            play.pods.delay(t);
        }
        if let Some(answers) = probe.changes(play, t) {
            before_tick(play, t, vec![Event::GatewayAnswers(TARGET, answers)])?;
        }
        if t > 0 {
            before_tick(play, t, Vec::new())?;
        }
        let counted = counted(play, t);
        before_tick(play, t, vec![counted])?;
        let concurrency = second.concurrency.unwrap_or(0.0);
        if play.pods.ready(t) > 0 || concurrency > 0.0 || was_busy {
            let report = play.report(t, concurrency, second.rps);
            before_tick(play, t, vec![Event::Report(TARGET, report)])?;
        }
        was_busy = concurrency > 0.0;
        let plan = play.step(t, Vec::new())?;
        follow(play, t, plan)?;
        match rows.next_if(|row| row.t_s == t) {
            Some(row) => {
                is_asked |= row.is_tick || row.is_poke;
                let mut fields = Fields::default();
                play.compare(row, is_asked, &mut fields);
                compare(play, t, row, &mut fields);
                let path = &golden.path;
                play.rows.take(fields, || (path.clone(), row.line, row.at()));
                last = Some(row);
            }
            None => stands(play, t, last),
        }
    }
    if let Some(row) = rows.next() {
        play.miss(row.t_s, row.line, "none: the scenario is over", &row.at());
    }
    Ok(())
}

fn before_tick(play: &mut Play<'_>, t: u64, events: Vec<Event>) -> Result<(), PlayError> {
    let plan = play.step_before_tick(t, false, events)?;
    follow(play, t, plan)
}

/// Does to the deployment what the plan says, and lets the engine see it, until it says nothing.
fn follow(play: &mut Play<'_>, t: u64, mut plan: Plan) -> Result<(), PlayError> {
    while let Some(to) = plan.actions.iter().rev().find_map(|action| match action {
        Action::Scale { to, .. } => Some(*to),
        Action::Start { .. } | Action::Drain { .. } => None,
    }) {
        play.pods.grow(to, t.saturating_add(play.scenario.pod_start_s));
        play.pods.shrink_by_age(to, t);
        let counted = counted(play, t);
        plan = play.step_before_tick(t, false, vec![counted])?;
    }
    Ok(())
}

fn counted(play: &Play<'_>, t: u64) -> Event {
    Event::Counted(TARGET, Counts { ready: Some(play.pods.ready(t)), starting: 0 })
}

/// Whether the activator answers the probe: a while after it became the backing.
struct Probe {
    answers: bool,
    in_path_since: Option<u64>,
}

impl Probe {
    /// Whether it answers at second `t`, if that is another than before.
    fn changes(&mut self, play: &Play<'_>, t: u64) -> Option<bool> {
        let delay_s = play.scenario.probe_delay_s;
        if delay_s == 0 {
            return None;
        }
        let before = t.saturating_sub(1);
        let is_in_path = play.engine.output(TARGET, IN_PATH) != 0.0 || play.pods.ready(before) == 0;
        self.in_path_since = is_in_path.then(|| self.in_path_since.unwrap_or(before));
        let answers = self.in_path_since.is_some_and(|since| t >= since.saturating_add(delay_s));
        (std::mem::replace(&mut self.answers, answers) != answers).then_some(answers)
    }
}

/// What became of the decision.
fn compare(play: &Play<'_>, t: u64, row: &Row, fields: &mut Fields) {
    fields.number("ready", f64::from(play.pods.ready(t)), row.ready);
    let Some(theirs) = &row.end_to_end else { return };
    compare_state(play, theirs, fields);
}

fn compare_state(play: &Play<'_>, theirs: &EndToEnd, fields: &mut Fields) {
    let output = |name: &str| play.engine.output(TARGET, name);
    let active = match output(ACTIVE) {
        1.0 => "True",
        0.0 => "False",
        _ => "Unknown",
    };
    let sks = if output(IN_PATH) == 1.0 { "Proxy" } else { "Serve" };
    fields.number("decider", play.wanted().map_or(-1.0, f64::from), theirs.decider);
    fields.number("replicas", f64::from(play.pods.all()), theirs.replicas);
    fields.text("active", active, &theirs.active);
    fields.text("sks", sks, &theirs.sks);
    fields.number("activators", output(ACTIVATORS), theirs.activators);
    fields.number("pa_desired", output(DESIRED_SCALE), theirs.pa_desired);
}

/// Knative wrote no row at second `t`: there was no decision, and its state stood as in the row before. So must ours.
fn stands(play: &mut Play<'_>, t: u64, last: Option<&Row>) {
    if t > 0 && t.is_multiple_of(2) {
        play.miss(t, play.golden.line, "a decision", "no row");
        return;
    }
    let Some(last) = last else { return };
    let mut fields = Fields::default();
    compare(play, t, last, &mut fields);
    let path = &play.golden.path;
    let at = || format!("{t} s, where Knative's state is that of {} s", last.t_s);
    play.rows.note(fields, || (path.clone(), last.line, at()));
}
