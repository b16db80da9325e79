//! Watches a run and keeps what its outcome is made of: decisions with their reasons, series over time, counts. Its memory does not
//! grow with the length of the run but for the list of decisions, which has an end. It decides nothing.

use crate::backend::Books;
use crate::engine::{
    Action, Change, ClampRule, Engine, Event, Observation, PLACEMENT, Plan, Signal, TargetId,
};
use crate::ledger::{ChangeNote, ClassOutcome, FailureNote, Series, ServiceOutcome, UNPLACED};
use crate::time::Time;

/// Points of a series before its steps are made twice as long.
const POINTS_AT_MOST: usize = 1_000;
/// Points of all series together, so that ten thousand services fit in memory as well.
const POINTS_IN_ALL: usize = 1_000_000;
/// Decisions that are kept.
const CHANGES_AT_MOST: u64 = 50_000;
/// Failures that differ and are kept.
const FAILURES_AT_MOST: usize = 1_000;
/// Services that a note on a failure names.
const SERVICES_NAMED: usize = 3;

/// What a run came to, as far as a recorder can say.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Services by position, each with its entries into panic mode.
    pub services: Vec<(ServiceOutcome, u64)>,
    /// GPUs by class.
    pub classes: Vec<ClassOutcome>,
    /// Policies that failed.
    pub failures: Vec<FailureNote>,
    /// Decisions that were not kept.
    pub changes_left_out: u64,
    /// Failures that were not kept.
    pub failures_left_out: u64,
    /// When the last step was.
    pub end: Time,
}

/// A service that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// The model that it serves.
    pub model: String,
    /// The names of its pools, each a target of the engine.
    pub pools: Vec<String>,
}

/// A recorder of one run.
pub struct Recorder {
    start: Time,
    end: Time,
    services: Vec<Recorded>,
    /// Of each target of the engine: positions of its service, and of its pool there.
    pool_of: Vec<(usize, usize)>,
    step_ms: u64,
    /// Steps that are complete.
    closed: usize,
    points_at_most: usize,
    classes: Vec<ClassOutcome>,
    failures: Vec<FailureNote>,
    failures_left_out: u64,
    changes: u64,
}

struct Recorded {
    outcome: ServiceOutcome,
    pools: Vec<Pool>,
    panics: u64,
    waiting: u32,
    /// Of the step under way.
    demand_sum: f64,
    waiting_most: u32,
    cost: f64,
}

/// A target as it was last seen.
struct Pool {
    name: String,
    in_panic: bool,
    desired: u32,
    ready: u32,
}

impl Recorded {
    /// What a pool is called: by its service alone where that has no other.
    fn name_of(&self, pool: usize) -> String {
        let service = &self.outcome.name;
        match self.pools.as_slice() {
            [_] => service.clone(),
            pools => format!("{service}/{}", pools[pool].name),
        }
    }

    fn sum(&self, of: fn(&Pool) -> u32) -> u32 {
        self.pools.iter().map(of).fold(0, u32::saturating_add)
    }
}

impl Recorder {
    /// A recorder for a run from `start` on. The engine's targets are the services' pools, one service after the other.
    pub fn new(start: Time, tick_ms: u64, services: Vec<Watched>) -> Recorder {
        // Even, so that halving leaves nothing over.
        let points_at_most = (POINTS_IN_ALL / services.len().max(1)).clamp(64, POINTS_AT_MOST) & !1;
        let step_ms = tick_ms.max(1);
        let pools = |(at, service): (usize, &Watched)| {
            (0..service.pools.len()).map(move |pool| (at, pool)).collect::<Vec<_>>()
        };
        let pool_of = services.iter().enumerate().flat_map(pools).collect();
        let pool = |name| Pool { name, in_panic: false, desired: 0, ready: 0 };
        let recorded = |Watched { name, model, pools }: Watched| Recorded {
            outcome: ServiceOutcome { name, model, changes: Vec::new(), series: Series::default() },
            pools: pools.into_iter().map(pool).collect(),
            panics: 0,
            waiting: 0,
            demand_sum: 0.0,
            waiting_most: 0,
            cost: 0.0,
        };
        Recorder {
            start,
            end: start,
            services: services.into_iter().map(recorded).collect(),
            pool_of,
            step_ms,
            closed: 0,
            points_at_most,
            classes: Vec::new(),
            failures: Vec::new(),
            failures_left_out: 0,
            changes: 0,
        }
    }

    /// Takes in a step of `engine`. `books` are asked when a step of the series ends.
    pub fn see(&mut self, engine: &Engine, seen: &Observation, plan: &Plan, books: &impl Books) {
        // Reports are on the seconds before this moment, all else is on the moment itself.
        for event in &seen.events {
            if let Event::Report(id, report) | Event::Scraped(id, report) = event {
                // Each pool is told the load of the whole service.
                let (service, 0) = self.pool_of[id.index()] else { continue };
                let service = &mut self.services[service];
                let demand = report.values[Signal::Concurrency as usize];
                service.demand_sum += if demand.is_nan() { 0.0 } else { demand };
                service.waiting = report.waiting;
                service.waiting_most = service.waiting_most.max(report.waiting);
            }
        }
        self.close_until(seen.at, books);
        self.end = seen.at;
        let mut touched: Vec<TargetId> = Vec::new();
        for event in &seen.events {
            match event {
                Event::Nodes(_) => {}
                Event::Replica(id, _) => touched.push(id.target),
                Event::Report(id, _)
                | Event::Scraped(id, _)
                | Event::Counted(id, _)
                | Event::Waiting(id)
                | Event::GatewayAnswers(id, _)
                | Event::Pin { target: id, .. }
                | Event::Unpin(id) => touched.push(*id),
            }
        }
        touched.extend(plan.actions.iter().map(|action| match action {
            Action::Start { replica, .. } | Action::Drain { replica } => replica.target,
            Action::Scale { target, .. } => *target,
        }));
        touched.extend(plan.changes.iter().map(|change| change.target));
        touched.sort_unstable();
        touched.dedup();
        for id in touched {
            self.look_at(engine, id);
        }
        for change in &plan.changes {
            self.note_change(seen.at, change);
        }
        for unplaced in &plan.unplaced {
            self.note_failure(FailureNote {
                at_s: self.seconds(seen.at),
                stage: PLACEMENT.to_owned(),
                services: vec![self.name_of(unplaced.target)],
                message: match unplaced.reason.as_str() {
                    "" => "no node takes a replica".to_owned(),
                    reason => reason.to_owned(),
                },
                instead: UNPLACED.to_owned(),
                times: 1,
            });
        }
        for failure in &plan.failures {
            let services = failure.targets.iter().take(SERVICES_NAMED);
            let services = services.map(|id| self.name_of(*id)).collect();
            self.note_failure(FailureNote {
                at_s: self.seconds(seen.at),
                stage: failure.stage.clone(),
                services,
                message: failure.message.clone(),
                instead: failure.instead.clone(),
                times: 1,
            });
        }
    }

    fn name_of(&self, target: TargetId) -> String {
        let (service, pool) = self.pool_of[target.index()];
        self.services[service].name_of(pool)
    }

    /// Notes a failure, or counts it where the like of it is known.
    fn note_failure(&mut self, note: FailureNote) {
        let known = self.failures.iter().rposition(|known| {
            known.stage == note.stage
                && known.message == note.message
                && known.instead == note.instead
                && known.services == note.services
        });
        match known {
            Some(known) => self.failures[known].times += 1,
            None if self.failures.len() < FAILURES_AT_MOST => self.failures.push(note),
            None => self.failures_left_out += 1,
        }
    }

    /// Ends the record. The last step of the series may be shorter than the others.
    pub fn finish(mut self, books: &impl Books) -> Record {
        if self.end > self.start + self.closed as u64 * self.step_ms || self.closed == 0 {
            self.close(1, books);
        }
        let step_s = self.step_ms as f64 / 1e3;
        let mut services: Vec<(ServiceOutcome, u64)> =
            self.services.into_iter().map(|service| (service.outcome, service.panics)).collect();
        services.iter_mut().for_each(|(outcome, _)| outcome.series.step_s = step_s);
        self.classes.iter_mut().for_each(|class| class.step_s = step_s);
        Record {
            services,
            classes: self.classes,
            failures: self.failures,
            failures_left_out: self.failures_left_out,
            changes_left_out: self.changes.saturating_sub(CHANGES_AT_MOST),
            end: self.end,
        }
    }

    fn seconds(&self, at: Time) -> f64 {
        at.since(self.start) as f64 / 1e3
    }

    fn look_at(&mut self, engine: &Engine, id: TargetId) {
        let view = engine.view(id);
        let in_panic = engine.output(id, "in-panic") == 1.0;
        let (service, pool) = self.pool_of[id.index()];
        let service = &mut self.services[service];
        let pool = &mut service.pools[pool];
        service.panics += u64::from(in_panic && !pool.in_panic);
        pool.in_panic = in_panic;
        (pool.desired, pool.ready) = (view.desired, view.ready);
    }

    fn note_change(&mut self, at: Time, change: &Change) {
        self.changes += 1;
        if self.changes > CHANGES_AT_MOST {
            return;
        }
        let at_s = self.seconds(at);
        let (service, pool) = self.pool_of[change.target.index()];
        let service = &mut self.services[service];
        let has_pools = service.pools.len() > 1;
        let pool = &service.pools[pool];
        let mut clamps: Vec<String> = Vec::new();
        for clamp in &change.clamps {
            let rule = match clamp.rule {
                ClampRule::Min => "minimum",
                ClampRule::Max => "maximum",
                ClampRule::Initial => "initial scale",
                ClampRule::Activation => "activation scale",
                ClampRule::Yielded => "room for another service",
                ClampRule::Pinned => "pinned",
            };
            let told = format!("{rule}: {} → {}", clamp.from, clamp.to);
            if !clamps.contains(&told) {
                clamps.push(told);
            }
        }
        service.outcome.changes.push(ChangeNote {
            at_s,
            pool: has_pools.then(|| pool.name.clone()),
            from: change.from,
            to: change.to,
            ready: pool.ready,
            waiting: service.waiting,
            in_panic: pool.in_panic,
            reason: reason_of(change).to_owned(),
            clamps,
        });
    }

    /// Completes the steps of the series that end at `at` or before.
    fn close_until(&mut self, at: Time, books: &impl Books) {
        let elapsed = at.since(self.start);
        loop {
            let due = (elapsed / self.step_ms) as usize;
            if due <= self.closed {
                return;
            }
            let room = self.points_at_most - self.closed;
            if room == 0 {
                self.double();
                continue;
            }
            self.close((due - self.closed).min(room), books);
        }
    }

    /// Completes `steps` steps in which nothing happened but in the last.
    fn close(&mut self, steps: usize, books: &impl Books) {
        let step_s = self.step_ms as f64 / 1e3;
        for (position, service) in self.services.iter_mut().enumerate() {
            let cost = books.cost(position);
            let longest_wait_s = books.take_longest_wait_us(position) as f64 / 1e6;
            let desired = service.sum(|pool| pool.desired);
            let ready = service.sum(|pool| pool.ready);
            let series = &mut service.outcome.series;
            let before = service.cost;
            for nth in 0..steps {
                let in_last = |value: f64| if nth + 1 == steps { value } else { 0.0 };
                series.demand.push(round(in_last(service.demand_sum / step_s), 1e3));
                series.waiting.push(if nth + 1 == steps { service.waiting_most } else { 0 });
                series.desired.push(desired);
                series.ready.push(ready);
                series.wait_s.push(round(in_last(longest_wait_s), 1e3));
                let share = (nth + 1) as f64 / steps as f64;
                series.cost.push(round(before + (cost - before) * share, 1e6));
            }
            service.cost = cost;
            service.demand_sum = 0.0;
            service.waiting_most = 0;
        }
        for (position, class) in books.classes().iter().enumerate() {
            if position == self.classes.len() {
                let (class, gpus) = (class.class.clone(), class.gpus);
                self.classes.push(ClassOutcome { class, gpus, step_s: 0.0, used: Vec::new() });
            }
            self.classes[position].used.extend(std::iter::repeat_n(class.used, steps));
        }
        self.closed += steps;
    }

    /// Makes steps twice as long.
    fn double(&mut self) {
        let later =
            |list: &mut Vec<u32>| *list = list.chunks(2).map(|pair| pair[pair.len() - 1]).collect();
        for service in &mut self.services {
            let series = &mut service.outcome.series;
            series.demand = series
                .demand
                .chunks(2)
                .map(|pair| round(pair.iter().sum::<f64>() / 2.0, 1e3))
                .collect();
            series.waiting =
                series.waiting.chunks(2).map(|pair| *pair.iter().max().unwrap_or(&0)).collect();
            later(&mut series.desired);
            later(&mut series.ready);
            series.wait_s = series
                .wait_s
                .chunks(2)
                .map(|pair| pair.iter().copied().fold(0.0, f64::max))
                .collect();
            series.cost = series.cost.chunks(2).map(|pair| pair[pair.len() - 1]).collect();
        }
        self.classes.iter_mut().for_each(|class| later(&mut class.used));
        self.closed /= 2;
        self.step_ms *= 2;
    }
}

/// The words of the stage that made the difference: the last that wanted something else than was proposed to it. Where that one
/// had nothing to say in this step, those of the last one that had.
pub(crate) fn reason_of(change: &Change) -> &str {
    let within_bounds = |stage: &str, wanted: u32| {
        let clamp = change.clamps.iter().find(|clamp| {
            let is_bound = !matches!(clamp.rule, ClampRule::Activation | ClampRule::Pinned);
            clamp.stage == stage && clamp.from == wanted && is_bound
        });
        clamp.map_or(wanted, |clamp| clamp.to)
    };
    let mut proposal = None;
    let mut decisive = "";
    for stage in &change.stages {
        let Some(wanted) = stage.wanted else { continue };
        if proposal != Some(wanted) {
            decisive = &stage.reason;
        }
        proposal = Some(within_bounds(&stage.stage, wanted));
    }
    if proposal.is_none() && change.from.is_none() {
        return "initial scale";
    }
    if !decisive.is_empty() {
        return decisive;
    }
    let said = change.stages.iter().rev().find(|stage| !stage.reason.is_empty());
    said.map_or("", |stage| &stage.reason)
}

/// To so many parts of 1: a series is looked at, and needs no more digits than that.
fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Clamp, StageSaid};

    #[test]
    fn the_reason_is_that_of_the_last_stage_that_wanted_something_else() {
        let max = |stage: &str, from, to| Clamp {
            stage: stage.to_owned(),
            rule: ClampRule::Max,
            from,
            to,
        };
        for (what, from, said, clamps, expected) in [
            (
                "the second agrees",
                Some(1),
                [(Some(3), "busy"), (Some(3), "as proposed")],
                vec![],
                "busy",
            ),
            (
                "the second objects",
                Some(1),
                [(Some(0), "idle"), (Some(1), "in grace")],
                vec![],
                "in grace",
            ),
            (
                "the second agrees with what bounds left of it",
                Some(1),
                [(Some(12), "busy"), (Some(10), "as proposed")],
                vec![max("first", 12, 10)],
                "busy",
            ),
            (
                "the first was not asked in this step",
                Some(1),
                [(Some(0), ""), (Some(0), "the grace is over")],
                vec![],
                "the grace is over",
            ),
            (
                "the second left things as they were",
                Some(1),
                [(Some(2), "busy"), (None, "")],
                vec![],
                "busy",
            ),
            ("nobody has decided", None, [(None, "no data"), (None, "")], vec![], "initial scale"),
            (
                "decided at once",
                None,
                [(Some(2), "office hours"), (None, "")],
                vec![],
                "office hours",
            ),
            ("nobody reads", Some(1), [(Some(2), ""), (Some(2), "")], vec![], ""),
        ] {
            let stage = |name: &str, (wanted, reason): (Option<u32>, &str)| StageSaid {
                stage: name.to_owned(),
                digest: String::new(),
                wanted,
                outputs: Vec::new(),
                reason: reason.to_owned(),
            };
            let stages = vec![stage("first", said[0]), stage("second", said[1])];
            let change = Change { target: TargetId(0), from, to: 1, stages, clamps };
            assert_eq!(reason_of(&change), expected, "{what}");
        }
    }
}
