//! Watches a run and keeps what its outcome is made of: decisions with their reasons, series over time, counts. Its memory does not
//! grow with the length of the run but for the list of decisions, which has an end. It decides nothing.

use std::collections::BTreeMap;

use crate::engine::{
    Action, Change, ClampRule, Engine, Event, NodeId, Observation, Phase, Plan, Signal, TargetId,
};
use crate::ledger::{ChangeNote, ClassOutcome, FailureNote, Series, ServiceOutcome};
use crate::time::Time;

/// Points of a series before its steps are made twice as long.
const POINTS_AT_MOST: usize = 1_000;
/// Points of all series together, so that ten thousand services fit in memory as well.
const POINTS_IN_ALL: usize = 1_000_000;
/// Decisions that are kept.
const CHANGES_AT_MOST: u64 = 50_000;
/// Services that a note on a failure names.
const SERVICES_NAMED: usize = 3;

/// What only the backend can say of a target at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Account {
    /// What the target has cost so far. US dollars.
    pub cost: f64,
    /// The longest wait of a request that was dispatched since this was last asked. Seconds.
    pub longest_wait_s: f64,
}

/// Counts that the engine's steps give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Replicas that went from wanted to ready.
    pub cold_starts: u64,
    /// Entries into panic mode.
    pub panics: u64,
    /// Most replicas at once, starting ones included, draining ones not.
    pub max_replicas: u32,
}

/// What a run came to, as far as a recorder can say.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Targets in the engine's order.
    pub targets: Vec<(ServiceOutcome, Counts)>,
    /// All targets together.
    pub whole: Counts,
    /// GPUs by class.
    pub classes: Vec<ClassOutcome>,
    /// Policies that failed.
    pub failures: Vec<FailureNote>,
    /// Decisions that were not kept.
    pub changes_left_out: u64,
    /// When the last step was.
    pub end: Time,
}

/// A recorder of one run.
pub struct Recorder {
    start: Time,
    end: Time,
    targets: Vec<Recorded>,
    whole: Counts,
    alive: u32,
    step_ms: u64,
    /// Steps that are complete.
    closed: usize,
    points_at_most: usize,
    classes: Vec<ClassOutcome>,
    /// The class of each node, by position in `classes`.
    class_of: Vec<Option<usize>>,
    failures: Vec<FailureNote>,
    changes: u64,
}

struct Recorded {
    outcome: ServiceOutcome,
    counts: Counts,
    alive: u32,
    in_panic: bool,
    desired: u32,
    ready: u32,
    waiting: u32,
    /// Of the step under way.
    demand_sum: f64,
    waiting_most: u32,
    cost: f64,
}

impl Recorder {
    /// A recorder for a run from `start` on, with the name and the model of each target, in the engine's order.
    pub fn new(start: Time, tick_ms: u64, targets: Vec<(String, String)>) -> Recorder {
        // Even, so that halving leaves nothing over.
        let points_at_most = (POINTS_IN_ALL / targets.len().max(1)).clamp(64, POINTS_AT_MOST) & !1;
        let step_ms = tick_ms.max(1);
        let recorded = |(name, model): (String, String)| Recorded {
            outcome: ServiceOutcome { name, model, changes: Vec::new(), series: Series::default() },
            counts: Counts::default(),
            alive: 0,
            in_panic: false,
            desired: 0,
            ready: 0,
            waiting: 0,
            demand_sum: 0.0,
            waiting_most: 0,
            cost: 0.0,
        };
        Recorder {
            start,
            end: start,
            targets: targets.into_iter().map(recorded).collect(),
            whole: Counts::default(),
            alive: 0,
            step_ms,
            closed: 0,
            points_at_most,
            classes: Vec::new(),
            class_of: Vec::new(),
            failures: Vec::new(),
            changes: 0,
        }
    }

    /// Takes in a step of `engine`. `account` says what only the backend knows; it is asked when a step of the series ends.
    pub fn see(
        &mut self,
        engine: &Engine,
        seen: &Observation,
        plan: &Plan,
        account: &mut impl FnMut(TargetId) -> Account,
    ) {
        // Reports are on the seconds before this moment, all else is on the moment itself.
        for event in &seen.events {
            if let Event::Report(id, report) = event {
                let target = &mut self.targets[id.index()];
                let demand = report.values[Signal::Concurrency as usize];
                target.demand_sum += if demand.is_nan() { 0.0 } else { demand };
                target.waiting = report.waiting;
                target.waiting_most = target.waiting_most.max(report.waiting);
            }
        }
        self.close_until(seen.at, engine, account);
        self.end = seen.at;
        let mut touched: Vec<TargetId> = Vec::new();
        for event in &seen.events {
            match event {
                Event::Nodes(nodes) => self.see_nodes(nodes),
                Event::Report(id, _) => touched.push(*id),
                Event::Replica(id, phase) => {
                    self.targets[id.target.index()].counts.cold_starts +=
                        u64::from(*phase == Phase::Ready);
                    touched.push(id.target);
                }
                Event::Counted(id, _) | Event::Waiting(id) | Event::GatewayAnswers(id, _) => {
                    touched.push(*id);
                }
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
        for failure in &plan.failures {
            let services = failure.targets.iter().take(SERVICES_NAMED);
            let services =
                services.map(|id| self.targets[id.index()].outcome.name.clone()).collect();
            let note = FailureNote {
                at_s: self.seconds(seen.at),
                stage: failure.stage.clone(),
                services,
                message: failure.message.clone(),
                instead: failure.instead.clone(),
                times: 1,
            };
            match self.failures.iter_mut().rev().find(|known| {
                known.stage == note.stage
                    && known.message == note.message
                    && known.instead == note.instead
            }) {
                Some(known) => known.times += 1,
                None => self.failures.push(note),
            }
        }
    }

    /// Ends the record. The last step of the series may be shorter than the others.
    pub fn finish(
        mut self,
        engine: &Engine,
        account: &mut impl FnMut(TargetId) -> Account,
    ) -> Record {
        if self.end > self.start + self.closed as u64 * self.step_ms || self.closed == 0 {
            self.close(1, engine, account);
        }
        let step_s = self.step_ms as f64 / 1e3;
        let mut targets: Vec<(ServiceOutcome, Counts)> =
            self.targets.into_iter().map(|target| (target.outcome, target.counts)).collect();
        targets.iter_mut().for_each(|(outcome, _)| outcome.series.step_s = step_s);
        self.classes.iter_mut().for_each(|class| class.step_s = step_s);
        for (outcome, counts) in &targets {
            debug_assert_eq!(outcome.series.demand.len(), self.closed);
            self.whole.cold_starts += counts.cold_starts;
            self.whole.panics += counts.panics;
        }
        Record {
            targets,
            whole: self.whole,
            classes: self.classes,
            failures: self.failures,
            changes_left_out: self.changes.saturating_sub(CHANGES_AT_MOST),
            end: self.end,
        }
    }

    fn seconds(&self, at: Time) -> f64 {
        at.since(self.start) as f64 / 1e3
    }

    fn see_nodes(&mut self, nodes: &[crate::engine::Node]) {
        let mut gpus: BTreeMap<&str, u32> = BTreeMap::new();
        for node in nodes.iter().filter(|node| !node.gpu_class.is_empty()) {
            *gpus.entry(&node.gpu_class).or_default() += node.allocatable.gpus;
        }
        for (class, count) in gpus {
            match self.classes.iter_mut().find(|known| known.class == class) {
                // A node that was lost is missed; what there was at most is what the plot shows.
                Some(known) => known.gpus = known.gpus.max(count),
                None => self.classes.push(ClassOutcome {
                    class: class.to_owned(),
                    gpus: count,
                    step_s: 0.0,
                    used: vec![0; self.closed],
                }),
            }
        }
        self.classes.sort_by(|one, other| one.class.cmp(&other.class));
        self.class_of = nodes
            .iter()
            .map(|node| self.classes.iter().position(|class| class.class == node.gpu_class))
            .collect();
    }

    fn look_at(&mut self, engine: &Engine, id: TargetId) {
        let view = engine.view(id);
        let in_panic = engine.output(id, "in-panic") == 1.0;
        let target = &mut self.targets[id.index()];
        target.counts.panics += u64::from(in_panic && !target.in_panic);
        target.in_panic = in_panic;
        (target.desired, target.ready) = (view.desired, view.ready);
        let alive = view.ready + view.starting;
        self.alive = self.alive - target.alive + alive;
        target.alive = alive;
        target.counts.max_replicas = target.counts.max_replicas.max(alive);
        self.whole.max_replicas = self.whole.max_replicas.max(self.alive);
    }

    fn note_change(&mut self, at: Time, change: &Change) {
        self.changes += 1;
        if self.changes > CHANGES_AT_MOST {
            return;
        }
        let at_s = self.seconds(at);
        let target = &mut self.targets[change.target.index()];
        let said = change.stages.iter().rev().find(|stage| !stage.reason.is_empty());
        let reason = match (change.from, said) {
            (None, _) => "initial scale".to_owned(),
            (Some(_), Some(stage)) => stage.reason.clone(),
            (Some(_), None) => String::new(),
        };
        let mut clamps: Vec<String> = Vec::new();
        for clamp in &change.clamps {
            let rule = match clamp.rule {
                ClampRule::Min => "minimum",
                ClampRule::Max => "maximum",
                ClampRule::Initial => "initial scale",
                ClampRule::Activation => "activation scale",
            };
            let told = format!("{rule}: {} → {}", clamp.from, clamp.to);
            if !clamps.contains(&told) {
                clamps.push(told);
            }
        }
        target.outcome.changes.push(ChangeNote {
            at_s,
            from: change.from,
            to: change.to,
            ready: target.ready,
            waiting: target.waiting,
            in_panic: target.in_panic,
            reason,
            clamps,
        });
    }

    /// Completes the steps of the series that end at `at` or before.
    fn close_until(
        &mut self,
        at: Time,
        engine: &Engine,
        account: &mut impl FnMut(TargetId) -> Account,
    ) {
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
            self.close((due - self.closed).min(room), engine, account);
        }
    }

    /// Completes `steps` steps in which nothing happened but in the last.
    fn close(
        &mut self,
        steps: usize,
        engine: &Engine,
        account: &mut impl FnMut(TargetId) -> Account,
    ) {
        let step_s = self.step_ms as f64 / 1e3;
        for (position, target) in self.targets.iter_mut().enumerate() {
            let Account { cost, longest_wait_s } = account(TargetId(position as u32));
            let series = &mut target.outcome.series;
            let before = target.cost;
            for nth in 0..steps {
                let in_last = |value: f64| if nth + 1 == steps { value } else { 0.0 };
                series.demand.push(round(in_last(target.demand_sum / step_s), 1e3));
                series.waiting.push(if nth + 1 == steps { target.waiting_most } else { 0 });
                series.desired.push(target.desired);
                series.ready.push(target.ready);
                series.wait_s.push(round(in_last(longest_wait_s), 1e3));
                let share = (nth + 1) as f64 / steps as f64;
                series.cost.push(round(before + (cost - before) * share, 1e6));
            }
            target.cost = cost;
            target.demand_sum = 0.0;
            target.waiting_most = 0;
        }
        let mut used = vec![0; self.classes.len()];
        for (spec, position) in engine.specs().zip(0..) {
            let replicas = engine.replicas(TargetId(position));
            for NodeId(node) in replicas.iter().filter_map(|replica| replica.node()) {
                if let Some(Some(class)) = self.class_of.get(node as usize) {
                    used[*class] += spec.needs.gpus;
                }
            }
        }
        for (class, used) in self.classes.iter_mut().zip(used) {
            class.used.extend(std::iter::repeat_n(used, steps));
        }
        self.closed += steps;
    }

    /// Makes steps twice as long.
    fn double(&mut self) {
        let later =
            |list: &mut Vec<u32>| *list = list.chunks(2).map(|pair| pair[pair.len() - 1]).collect();
        for target in &mut self.targets {
            let series = &mut target.outcome.series;
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

/// To so many parts of 1: a series is looked at, and needs no more digits than that.
fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
