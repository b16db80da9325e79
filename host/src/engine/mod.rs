//! Turns what was seen into what will be done: [`Engine::step`]. Synchronous and pure: time is part of the input; it reads no
//! clock, opens nothing, awaits nothing, iterates no hash map. It has never heard of pods, processes or traces.
//!
//! A step takes events in, asks the chain of scaling policies in three passes (changes and timers, pokes, ticks), each until
//! nothing changes, bounds what they want, and turns the difference to the replicas there are into actions, for which it asks
//! the placement policy. Planning again from a plan's own result changes nothing.

mod binding;
mod bound;
mod bounds;
mod chain;
mod fact;
pub mod fleet;
pub mod inspection;
pub mod observation;
mod placing;
pub mod plan;
mod recent;
pub mod replicas;
pub mod signal;
pub mod snapshot;
pub mod target;
pub mod windows;
mod words;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use binding::BindTargetError;
pub use bounds::BoundsNow;
pub use chain::{OnFailure, Stage};
pub use fleet::{Node, NodeId, Resources, Taint, TaintEffect};
pub use inspection::{Inspection, Moved, StageInspection};
pub use observation::{Counts, Event, Observation, Phase, Report};
pub use placing::PLACEMENT;
pub use plan::{
    Action, Change, Clamp, ClampRule, Plan, StageFailure, StageSaid, Unplaced, Yielded,
};
pub use replicas::{Replica, ReplicaSet, ReplicaState};
pub use signal::Signal;
pub use snapshot::{Restored, Snapshot};
pub use target::{Bounds, Owner, Pin, ReplicaId, TargetId, TargetName, TargetSpec};

use bound::Look;
use chain::{Chain, Pass};
use placing::Placing;
use target::{Marks, Target};
use words::Words;

use crate::policy::{CallError, PlacementPolicy};
use crate::time::Time;

/// The names of all facts that a scaling policy may ask for.
pub fn fact_names() -> impl Iterator<Item = &'static str> {
    fact::Fact::ALL.into_iter().map(fact::Fact::name)
}

/// Rounds in which a pass must settle. Knative's rules take three; a chain that does not settle is reported and left alone until
/// something happens.
const ROUNDS_AT_MOST: usize = 16;

/// How an engine runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Length of a tick. Milliseconds, at least 1.
    pub tick_ms: u64,
    /// Whether somebody reads: changes then carry their policies' words, which costs a call each.
    pub explains: bool,
    /// Whether requests always pass through the gateway, or only while the chain's output `gateway-in-path` says so or nothing
    /// is ready, as in Knative.
    pub gateway_is_always_in_path: bool,
    /// How long the seconds of every signal are kept as they were reported, so that policies that ask for other windows than those
    /// before them do not start blind. Seconds; 0 keeps none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keeps_s: u32,
    /// Whether idle replicas leave where a service that waits finds no place.
    #[serde(default)]
    pub makes_room: bool,
}

impl Default for Options {
    /// Knative's tick, nobody reads, the gateway is always in the path.
    fn default() -> Options {
        Options {
            tick_ms: 2_000,
            explains: false,
            gateway_is_always_in_path: true,
            keeps_s: 0,
            makes_room: false,
        }
    }
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Plans for a set of targets on a fleet of nodes.
pub struct Engine {
    options: Options,
    chain: Chain,
    placing: Placing,
    targets: Vec<Target>,
    words: Words,
    generation: u64,
    /// When the last plan was made, and when it asked to be woken.
    planned_at: Time,
    wakes_at: Time,
    warnings: Vec<String>,
}

/// A policy of a run, and what happens where it fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StagePolicy {
    /// The name of the stage, [`PLACEMENT`] for the placement policy.
    pub stage: String,
    /// The digest of its policy.
    pub digest: String,
    /// What the host does where that fails.
    pub on_failure: OnFailure,
    /// The digest of the policy that then decides, if one does.
    pub fallback: Option<String>,
}

/// A target as others may see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetView {
    /// Replicas that the plan wants.
    pub desired: u32,
    /// Replicas that take requests.
    pub ready: u32,
    /// Replicas that are wanted and not ready.
    pub starting: u32,
    /// Replicas that end what they have.
    pub draining: u32,
    /// Requests that wait, at the last report.
    pub waiting: u32,
    /// Requests in flight over the last second, waiting ones included.
    pub concurrency: f64,
}

/// What a stage last said about a target.
#[derive(Clone, Copy)]
pub struct StageView<'a> {
    /// Replicas, before bounds, that it last wanted applied; `None`: it never did.
    pub wanted: Option<u32>,
    /// Whether its last decision was to be applied.
    pub is_applied: bool,
    outputs: &'a [String],
    seat: &'a chain::Seat,
}

impl StageView<'_> {
    /// Whether its policy announced an output of that name.
    pub fn gives(&self, name: &str) -> bool {
        self.outputs.iter().any(|output| output == name)
    }

    /// The value of one of its outputs; NaN where it gave none.
    pub fn output(&self, name: &str) -> f64 {
        self.outputs
            .iter()
            .position(|output| output == name)
            .map_or(f64::NAN, |position| self.seat.output(position))
    }
}

impl Engine {
    /// An engine that asks `stages` in order, and `placement` (or `fallback`, where that fails) about nodes.
    ///
    /// # Errors
    ///
    /// When a placement policy cannot say which columns it wants.
    pub fn new(
        options: Options,
        stages: Vec<Stage>,
        placement: Box<dyn PlacementPolicy>,
        fallback: Option<Box<dyn PlacementPolicy>>,
    ) -> Result<Engine, CallError> {
        let placing = Placing::new(placement, fallback)?;
        let (targets, words, warnings) = (Vec::new(), Words::default(), Vec::new());
        Ok(Engine {
            options,
            chain: Chain { stages },
            placing,
            targets,
            words,
            generation: 0,
            planned_at: Time::ZERO,
            wakes_at: Time::ZERO,
            warnings,
        })
    }

    /// Takes in the targets of a run, once, in order of names. Their states are born here; their initial replicas are part of
    /// the first plan.
    ///
    /// # Errors
    ///
    /// When a policy refuses a target's settings or requires an input that this installation does not give; nothing runs then.
    pub fn add_targets(
        &mut self,
        now: Time,
        specs: Vec<TargetSpec>,
    ) -> Result<(), BindTargetError> {
        self.add_counted_targets(
            now,
            specs.into_iter().map(|spec| (spec, Counts::default())).collect(),
        )
    }

    /// The same for targets whose replicas something else owns, with those there are.
    ///
    /// # Errors
    ///
    /// As [`Engine::add_targets`].
    pub fn add_counted_targets(
        &mut self,
        now: Time,
        mut specs: Vec<(TargetSpec, Counts)>,
    ) -> Result<(), BindTargetError> {
        specs.sort_by(|(one, _), (other, _)| {
            (&one.tenant, &one.name).cmp(&(&other.tenant, &other.name))
        });
        let (mut group, mut tenant) = (0, 0);
        for (spec, counts) in specs {
            if let Some(last) = self.targets.last() {
                let is_of_another = last.spec.tenant != spec.tenant;
                tenant = last.tenant + u32::from(is_of_another);
                group = last.group
                    + u32::from(is_of_another || last.spec.name.service != spec.name.service);
            }
            let mut target = Target::new(spec, tenant, group, now, self.options.tick_ms);
            target.counted = counts;
            self.warnings.extend(self.chain.seat(&mut target, &mut self.words)?);
            self.warnings.extend(self.placing.bind(&target)?);
            self.targets.push(target);
        }
        let all: Vec<TargetId> = (0..self.targets.len() as u32).map(TargetId).collect();
        self.chain.init(now, &mut self.targets, &all)
    }

    /// Gives a target other settings or bounds while it lives: from the next step on it is decided by them. What policies remember
    /// and what windows hold stays, and so does what a replica takes from a node.
    ///
    /// # Errors
    ///
    /// When a policy refuses the settings or an input is missing; the target is then as it was.
    pub fn change_target(
        &mut self,
        now: Time,
        id: TargetId,
        spec: TargetSpec,
    ) -> Result<(), BindTargetError> {
        let target = &mut self.targets[id.index()];
        let spec = TargetSpec {
            name: target.spec.name.clone(),
            tenant: target.spec.tenant.clone(),
            owner: target.spec.owner,
            // Replicas that run take what they took. Another size is another revision.
            needs: target.spec.needs,
            weights_bytes: target.spec.weights_bytes,
            ..spec
        };
        let before = std::mem::replace(&mut target.spec, spec);
        // Placement first: it only learns a document, so nothing is to be taken back if the chain refuses.
        let bound = self
            .placing
            .bind(target)
            .and_then(|placing| self.chain.bind(target, now).map(|scaling| (scaling, placing)));
        match bound {
            Ok((scaling, placing)) => {
                self.warnings.extend(scaling.into_iter().chain(placing));
                target.marks = Marks::of(&target.spec);
                target.is_touched = true;
                self.placing.is_stale = true;
                Ok(())
            }
            Err(error) => {
                target.spec = before;
                Err(error)
            }
        }
    }

    /// Targets, by [`TargetId`].
    pub fn specs(&self) -> impl Iterator<Item = &TargetSpec> {
        self.targets.iter().map(|target| &target.spec)
    }

    /// What policies said when settings were bound, for people.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How it runs.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What was last counted of each target's replicas, where something else owns them; before the first step, what they began with.
    pub fn counts(&self) -> impl Iterator<Item = Counts> {
        self.targets.iter().map(|target| target.counted)
    }

    /// The policies in order of the stages, the placement policy last.
    pub fn policies(&self) -> Vec<StagePolicy> {
        let of = |stage: &Stage| StagePolicy {
            stage: stage.name().to_owned(),
            digest: stage.digest().to_owned(),
            on_failure: stage.on_failure(),
            fallback: stage.fallback_digest().map(str::to_owned),
        };
        let fallback = self.placing.fallback_digest().map(str::to_owned);
        let placement = StagePolicy {
            stage: PLACEMENT.to_owned(),
            digest: self.placing.digest().to_owned(),
            on_failure: if fallback.is_some() { OnFailure::Fallback } else { OnFailure::Hold },
            fallback,
        };
        self.chain.stages.iter().map(of).chain([placement]).collect()
    }

    /// A target as others may see it.
    pub fn view(&self, id: TargetId) -> TargetView {
        let target = &self.targets[id.index()];
        TargetView {
            desired: target.desired,
            ready: target.ready().unwrap_or(0),
            starting: target.starting(),
            draining: target.replicas.draining(),
            waiting: target.levels.waiting,
            concurrency: target.levels.concurrency,
        }
    }

    /// Whether idle replicas of a target made room for another service, and it has not asked for them since.
    pub fn has_yielded(&self, id: TargetId) -> bool {
        self.targets[id.index()].yields_to.is_some()
    }

    /// What a person pinned a target to; `None`: policies decide about it.
    pub fn pin(&self, id: TargetId) -> Option<Pin> {
        self.targets[id.index()].pin
    }

    /// When it wants to see the world again, whatever happens before: what the last plan said.
    pub fn wakes_at(&self) -> Time {
        self.wakes_at
    }

    /// The replicas of a target.
    pub fn replicas(&self, id: TargetId) -> &ReplicaSet {
        &self.targets[id.index()].replicas
    }

    /// What the stage `name` last said about a target.
    pub fn stage(&self, id: TargetId, name: &str) -> Option<StageView<'_>> {
        let position = self.chain.stages.iter().position(|stage| stage.name() == name)?;
        let seat = &self.targets[id.index()].seats[position];
        Some(StageView {
            wanted: seat.wanted,
            is_applied: seat.is_applied,
            outputs: self.chain.stages[position].outputs(),
            seat,
        })
    }

    /// The window that some policy asked for; `None`: none did.
    pub fn window(&self, id: TargetId, spec: windows::WindowSpec) -> Option<&windows::Window> {
        self.targets[id.index()].windows.iter().find(|known| known.spec() == spec)
    }

    /// The output `name` of the last stage that gives it; NaN where none did.
    pub fn output(&self, id: TargetId, name: &str) -> f64 {
        let target = &self.targets[id.index()];
        let found = self.chain.stages.iter().zip(&target.seats).rev().find_map(|(stage, seat)| {
            stage
                .outputs()
                .iter()
                .position(|output| output == name)
                .map(|position| seat.output(position))
        });
        found.unwrap_or(f64::NAN)
    }

    /// Takes the real world's replicas for its own, as `real` has them, which has the same targets: it decides in its shadow.
    pub fn follow(&mut self, real: &Engine) {
        for (target, real) in self.targets.iter_mut().zip(&real.targets) {
            target.replicas = real.replicas.clone();
            target.counted = real.counted;
        }
        self.placing.grounds.started.clone_from(&real.placing.grounds.started);
        self.placing.is_stale = true;
    }

    /// What to do about what was seen.
    pub fn step(&mut self, seen: &Observation) -> Plan {
        self.plan(seen, &[Pass::Changes, Pass::Pokes, Pass::Ticks])
    }

    /// The same, but for ticks that are due: they stay due, for the next step at this moment. About each of `poked` there is an extra
    /// decision, whatever was wanted last. For worlds in which several things happen at one moment, one after the other.
    pub fn step_before_ticks(&mut self, seen: &Observation, poked: &[TargetId]) -> Plan {
        for id in poked {
            self.targets[id.index()].is_asked = true;
        }
        self.plan(seen, &[Pass::Changes, Pass::Pokes])
    }

    fn plan(&mut self, seen: &Observation, passes: &[Pass]) -> Plan {
        self.generation += 1;
        let now = seen.at;
        let mut plan = Plan { at: now, generation: self.generation, ..Plan::default() };
        self.placing.moved.clear();
        self.take_in(seen);
        for pass in passes {
            self.run_pass(*pass, now, &mut plan);
        }
        for target in &mut self.targets {
            if target.next_tick <= now && passes.contains(&Pass::Ticks) {
                target.next_tick = next_tick(target.created_at, now, self.options.tick_ms);
            }
            target.is_poked = false;
            target.is_asked = false;
        }
        self.placing.place_pending(now, &self.options, &mut self.targets, &mut plan);
        if self.options.makes_room {
            self.placing.make_room(now, &mut self.targets, &mut plan);
        }
        self.tell_changes(&mut plan);
        plan.wake_at = self.wake_at(now);
        (self.planned_at, self.wakes_at) = (now, plan.wake_at);
        plan
    }

    fn take_in(&mut self, seen: &Observation) {
        for target in self
            .targets
            .iter_mut()
            .filter(|target| target.is_tick_spared && target.next_tick < seen.at)
        {
            target.next_tick = next_tick(target.created_at, seen.at - 1, self.options.tick_ms);
        }
        let keeps_s = self.options.keeps_s;
        for event in &seen.events {
            match event {
                Event::Nodes(nodes) => {
                    let moved = self.placing.see_nodes(nodes);
                    self.targets.iter_mut().for_each(|target| target.replicas.move_nodes(&moved));
                }
                Event::Report(id, report) => {
                    let target = &mut self.targets[id.index()];
                    target.report(report, keeps_s);
                    // Whoever reports requests while nothing is wanted pokes, as Knative's activator does.
                    target.is_poked |=
                        target.levels.concurrency > 0.0 && target.gateway_since.is_some();
                }
                Event::Scraped(id, report) => self.targets[id.index()].report(report, keeps_s),
                Event::Waiting(id) => {
                    let target = &mut self.targets[id.index()];
                    target.is_poked = true;
                    target.levels.waiting = target.levels.waiting.max(1);
                }
                Event::Replica(id, phase) => {
                    let target = &mut self.targets[id.target.index()];
                    if target.replicas.see(seen.at, id.ordinal, phase) {
                        target.is_touched = true;
                        self.placing.is_stale |=
                            matches!(phase, Phase::Gone | Phase::Failed { .. });
                    }
                }
                Event::Counted(id, counts) => {
                    let target = &mut self.targets[id.index()];
                    target.is_touched |= target.counted != *counts;
                    target.counted = *counts;
                }
                Event::GatewayAnswers(id, answers) => {
                    let target = &mut self.targets[id.index()];
                    target.is_touched |= target.gateway_answers != *answers;
                    target.gateway_answers = *answers;
                }
                Event::Pin { target, replicas, until } => {
                    let target = &mut self.targets[target.index()];
                    target.pin = Some(Pin { replicas: *replicas, until: *until });
                    target.is_touched = true;
                }
                Event::Unpin(id) => {
                    let target = &mut self.targets[id.index()];
                    target.is_touched |= target.pin.take().is_some();
                }
            }
        }
        for target in &mut self.targets {
            target.is_touched |= target.pin.take_if(|pin| pin.until <= seen.at).is_some();
        }
        for (id, holds) in &seen.in_flight {
            self.targets[id.target.index()].replicas.see_in_flight(id.ordinal, *holds);
        }
    }

    /// Asks the stages about the causes of this pass, until nothing changes.
    fn run_pass(&mut self, pass: Pass, now: Time, plan: &mut Plan) {
        let mut candidates: Vec<TargetId> = Vec::new();
        for (position, target) in self.targets.iter_mut().enumerate() {
            let is_candidate = match pass {
                Pass::Changes => target.is_touched || target.wakes_at <= now,
                Pass::Pokes => target.is_poked || target.is_asked,
                Pass::Ticks => target.next_tick <= now,
            };
            if is_candidate {
                target.is_touched = false;
                candidates.push(TargetId(position as u32));
            }
        }
        self.chain.complete(&mut candidates, &self.targets);
        let mut from = 0;
        while from < candidates.len() {
            let to = self.chain.run_end(&candidates, from, &self.targets);
            self.run_rounds(pass, now, candidates[from..to].to_vec(), plan);
            from = to;
        }
    }

    /// Asks the stages about `candidates`, of one tenant and not too many for one call, until nothing changes.
    fn run_rounds(
        &mut self,
        pass: Pass,
        now: Time,
        mut candidates: Vec<TargetId>,
        plan: &mut Plan,
    ) {
        let number = self.generation;
        let mut round = 0;
        while !candidates.is_empty() {
            let mut asked = vec![false; candidates.len()];
            for position in 0..self.chain.stages.len() {
                if round > 0 && !self.chain.stages[position].hears_of_changes() {
                    continue;
                }
                let look = Look { now, options: &self.options, words: &self.words };
                let due =
                    self.chain.due(position, pass, number, &candidates, &look, &mut self.targets);
                self.chain.ask(
                    position,
                    number,
                    &due,
                    &look,
                    &mut self.targets,
                    &mut plan.failures,
                );
                let mut due = due.iter().map(|one| one.target).peekable();
                for (id, asked) in candidates.iter().zip(&mut asked) {
                    *asked |= due.next_if_eq(id).is_some();
                }
            }
            let moved = self.settle(now, &candidates, plan);
            let mut unsettled = asked.iter().zip(&moved).map(|(asked, moved)| *asked || *moved);
            candidates.retain(|_| unsettled.next().unwrap_or(false));
            round += 1;
            if round == ROUNDS_AT_MOST && !candidates.is_empty() {
                plan.failures.push(StageFailure {
                    stage: self.chain.stages.last().map_or(String::new(), |stage| stage.name().to_owned()),
                    targets: candidates,
                    message: format!("the chain does not settle: after {ROUNDS_AT_MOST} rounds its stages still change what they said"),
                    instead: OnFailure::Hold.name().to_owned(),
                    quarantined_until: None,
                });
                return;
            }
        }
    }

    /// Bounds what the chain wants for `ids` and brings their replicas in line. Whether anything changed that a stage may have
    /// asked for, for each of them.
    fn settle(&mut self, now: Time, ids: &[TargetId], plan: &mut Plan) -> Vec<bool> {
        let mut surplus = Vec::new();
        let mut moved = vec![false; ids.len()];
        let alive_before: Vec<u32> =
            ids.iter().map(|id| self.targets[id.index()].replicas.alive()).collect();
        for (&id, moved) in ids.iter().zip(&mut moved) {
            let target = &mut self.targets[id.index()];
            *moved |= target.initialise();
            let wanted = target.seats.last().and_then(|seat| seat.wanted);
            target.unpinned = target.bounds_now().apply(wanted.unwrap_or(target.unpinned)).0;
            target.is_activated = target.is_failing()
                && (target.is_activated || target.unpinned == 0 && target.is_starved());
            if target.is_activated {
                target.unpinned = target.unpinned.max(target.activation());
            }
            target.desired = match target.pin {
                Some(pin) => pin.replicas,
                None => target.yielding(target.unpinned),
            };
            match target.spec.owner {
                Owner::Other if target.scaled_to == Some(target.desired) => {}
                Owner::Other => {
                    target.scaled_to = Some(target.desired);
                    plan.actions.retain(
                        |action| !matches!(action, Action::Scale { target, .. } if *target == id),
                    );
                    plan.actions.push(Action::Scale { target: id, to: target.desired });
                }
                Owner::Tidegate => {
                    self.placing.is_stale |= target.replicas.grow(now, target.desired);
                    let over = target.replicas.alive().saturating_sub(target.desired);
                    if over > 0 {
                        let left = over - target.replicas.drop_pending(over);
                        if left > 0 {
                            surplus.push((id, left));
                        }
                    }
                }
            }
            if !self.options.gateway_is_always_in_path {
                *moved |= self.follow_gateway(id, now);
            }
        }
        self.placing.drain_surplus(
            now,
            &surplus,
            &mut self.targets,
            &mut plan.actions,
            &mut plan.failures,
        );
        for ((id, before), moved) in ids.iter().zip(alive_before).zip(&mut moved) {
            *moved |= self.targets[id.index()].replicas.alive() != before;
        }
        moved
    }

    /// Keeps since when the gateway is in the path of a target's requests. Whether that changed.
    fn follow_gateway(&mut self, id: TargetId, now: Time) -> bool {
        let wanted = self.output(id, "gateway-in-path");
        let target = &mut self.targets[id.index()];
        let is_in_path = wanted != 0.0 || target.ready() == Some(0);
        let changed = is_in_path != target.gateway_since.is_some();
        if changed {
            target.gateway_since = is_in_path.then_some(now);
        }
        changed
    }

    /// Notes for each target what is decided anew, with the policies' words if somebody reads.
    fn tell_changes(&mut self, plan: &mut Plan) {
        // A policy that could not explain itself once is not asked again in this step.
        let mut is_mute = vec![false; self.chain.stages.len()];
        for position in 0..self.targets.len() {
            let target = &self.targets[position];
            if target.planned == Some(target.desired) {
                continue;
            }
            let mut change = Change {
                target: TargetId(position as u32),
                from: target.planned,
                to: target.desired,
                stages: Vec::new(),
                clamps: Vec::new(),
            };
            for (stage, seat) in target.seats.iter().enumerate() {
                let name = self.chain.stages[stage].name().to_owned();
                change.clamps.extend(
                    seat.wanted.and_then(|wanted| target.bounds_now().clamp(&name, wanted)),
                );
                let mut reason = String::new();
                if self.options.explains
                    && !is_mute[stage]
                    && Chain::has_decided(stage, self.generation, target)
                {
                    reason = match self.chain.explain(
                        stage,
                        self.generation,
                        change.target,
                        &self.targets,
                        &self.words,
                    ) {
                        Ok(explanation) => explanation.reason,
                        Err(error) => {
                            is_mute[stage] = true;
                            format!("no explanation: {error}")
                        }
                    };
                }
                let decided = &self.chain.stages[stage];
                let value = |at: usize| Some(seat.output(at)).filter(|value| !value.is_nan());
                change.stages.push(StageSaid {
                    stage: name,
                    digest: decided.decided_by(seat).to_owned(),
                    wanted: seat.wanted,
                    outputs: decided.outputs().iter().cloned().zip((0..).map(value)).collect(),
                    reason,
                });
            }
            if let Some(to) = target.yields_to.filter(|_| target.pin.is_none()) {
                let wanted = target.seats.last().and_then(|seat| seat.wanted);
                let from = wanted.map_or(to, |wanted| target.bounds_now().apply(wanted).0);
                if from > to {
                    let stage = PLACEMENT.to_owned();
                    change.clamps.push(Clamp { stage, rule: ClampRule::Yielded, from, to });
                }
            }
            // Without the guard, what the chain wants, or else what was planned before, would have stood.
            let wanted = target.seats.last().and_then(|seat| seat.wanted);
            let before = target.planned.unwrap_or(target.spec.bounds.initial);
            let unguarded = target.bounds_now().apply(wanted.unwrap_or(before)).0;
            let last = || self.chain.stages.last().map_or("", Stage::name).to_owned();
            if target.is_starved() && unguarded == 0 && target.unpinned > 0 {
                let (rule, to) = (ClampRule::Activation, target.unpinned);
                change.clamps.push(Clamp { stage: last(), rule, from: 0, to });
            }
            if target.pin.is_some() && target.desired != target.unpinned {
                let (rule, from) = (ClampRule::Pinned, target.unpinned);
                change.clamps.push(Clamp { stage: last(), rule, from, to: target.desired });
            }
            plan.changes.push(change);
            self.targets[position].planned = Some(self.targets[position].desired);
        }
    }

    /// When something is due although nothing happens. A target whose windows are all empty has no ticks to come: the first
    /// report wakes it.
    fn wake_at(&mut self, now: Time) -> Time {
        let mut earliest = self.placing.retry_at;
        let look = Look { now, options: &self.options, words: &self.words };
        for target in &mut self.targets {
            target.is_tick_spared = !self.chain.wants_tick(target, &look);
            if !target.is_tick_spared {
                earliest = earliest.min(target.next_tick);
            }
            target.wakes_at =
                target.seats.iter().map(chain::Seat::wakes_at).min().unwrap_or(Time::NEVER);
            let is_short =
                target.spec.owner == Owner::Tidegate && target.replicas.alive() < target.desired;
            if is_short && target.replicas.back_off_until() > now {
                target.wakes_at = target.wakes_at.min(target.replicas.back_off_until());
            }
            if let Some(pin) = target.pin {
                target.wakes_at = target.wakes_at.min(pin.until);
            }
            earliest = earliest.min(target.wakes_at);
        }
        earliest
    }
}

/// The first tick after `now` of a target that was created at `created_at`.
fn next_tick(created_at: Time, now: Time, tick_ms: u64) -> Time {
    created_at + (now.since(created_at) / tick_ms.max(1) + 1) * tick_ms.max(1)
}
