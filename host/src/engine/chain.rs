//! The chain of scaling policies: which stage is asked about which target and why, and what becomes of its answer or of its
//! failure. How settings are bound is in `binding`, how a policy is asked in `bound`; bounds and replicas are elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::binding::BindTargetError;
use super::bound::{Bound, Chair, Due, Look, widest};
use super::plan::StageFailure;
use super::target::{Target, TargetId};
use super::words::Words;
use crate::policy::wire::{Causes, Explanation, Scope};
use crate::policy::{CallError, CallErrorKind, Quarantine, ScalingPolicy};
use crate::time::Time;

/// Targets in one call. A thousand fit in what an instance keeps resident, and a call's fixed cost is spread thin by then.
pub(super) const BATCH_AT_MOST: usize = 1_000;

/// What the host does about a target that a policy gave no decision for. Failure never means zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The last decision stands.
    Hold,
    /// The proposal passes through as if the stage were not there.
    Skip,
    /// A built-in policy decides instead.
    Fallback,
    /// The last decision stands, and the stage decides nothing about this target until a person acts.
    Closed,
}

impl OnFailure {
    /// The word for it in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            OnFailure::Hold => "hold",
            OnFailure::Skip => "skip",
            OnFailure::Fallback => "fallback",
            OnFailure::Closed => "closed",
        }
    }
}

/// One stage of the chain.
pub struct Stage {
    pub(super) name: String,
    on_failure: OnFailure,
    /// The policy, and after it the one that decides where it fails, with [`OnFailure::Fallback`] only.
    pub(super) policies: Vec<Bound>,
}

/// Position of a stage's own policy among its policies.
pub(super) const MAIN: usize = 0;
/// Position of the one that decides instead.
pub(super) const FALLBACK: usize = 1;

impl Stage {
    /// A stage that asks `policy` and treats its failures as `on_failure` says ([`OnFailure::Fallback`] holds: it has none).
    pub fn new(name: &str, policy: Box<dyn ScalingPolicy>, on_failure: OnFailure) -> Stage {
        Stage { name: name.to_owned(), on_failure, policies: vec![Bound::new(policy)] }
    }

    /// A stage that asks `policy`, and `fallback` about the targets for which that fails.
    pub fn with_fallback(
        name: &str,
        policy: Box<dyn ScalingPolicy>,
        fallback: Box<dyn ScalingPolicy>,
    ) -> Stage {
        let policies = vec![Bound::new(policy), Bound::new(fallback)];
        Stage { name: name.to_owned(), on_failure: OnFailure::Fallback, policies }
    }

    /// Its name in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digest of its policy.
    pub fn digest(&self) -> &str {
        self.policies[MAIN].policy.digest()
    }

    /// The digest of the policy that decides where that fails, if one does.
    pub fn fallback_digest(&self) -> Option<&str> {
        self.policies.get(FALLBACK).map(|bound| bound.policy.digest())
    }

    /// What the host does where its policy fails.
    pub fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    /// The digest of the policy that last decided about the target that has `seat`.
    pub(super) fn decided_by<'a>(&'a self, seat: &'a Seat) -> &'a str {
        let own = || self.policies[seat.decided_by].policy.digest();
        seat.inherited.as_deref().unwrap_or_else(own)
    }

    /// Whether its policy wants to hear when an input reads differently, with any settings bound so far.
    pub(super) fn hears_of_changes(&self) -> bool {
        self.policies[MAIN].causes.contains(Causes::CHANGE)
    }

    /// The names of the outputs that it gives, over all settings bound so far.
    pub(super) fn outputs(&self) -> &[String] {
        &self.policies[MAIN].outputs
    }
}

/// A target's place at one stage: what the stage last said about it.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// Its places at the stage's policies.
    pub(super) chairs: Vec<Chair>,
    /// Replicas, before bounds, that the stage last wanted applied.
    pub(super) wanted: Option<u32>,
    /// Whether its last decision was to be applied.
    pub(super) is_applied: bool,
    /// A value for each output of the stage.
    pub(super) outputs: Vec<f64>,
    pub(super) next_at: Time,
    /// Its policy is asked when `next_at` has come; to others that only says until when ticks may be spared.
    pub(super) has_timer: bool,
    /// Its last decision differed from the one before, so a stage with cause `change` is asked again.
    pub(super) has_changed: bool,
    /// It was asked at least once.
    pub(super) was_asked: bool,
    /// The step in which its policy last failed: it is not asked again in that.
    pub(super) failed_in: u64,
    pub(super) quarantine: Quarantine,
    /// Its policy failed when last asked; when to ask again, and about what.
    pub(super) failing: Option<(Time, Causes)>,
    pub(super) is_closed: bool,
    /// The tick that it has answered, by the time when it was due.
    pub(super) ticked: Time,
    /// The step in which it last answered a poke, and in which it last decided.
    pub(super) poked_in: u64,
    pub(super) decided_in: u64,
    pub(super) decided_by: usize,
    /// The digest of the policy that last decided, where that was none of this chain.
    pub(super) inherited: Option<String>,
}

impl Seat {
    /// The value of a stage's output for this target; NaN where it gave none.
    pub(super) fn output(&self, position: usize) -> f64 {
        self.outputs.get(position).copied().unwrap_or(f64::NAN)
    }

    /// Whether its policy failed when last asked.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// When it must be asked without anything happening; [`Time::NEVER`] where it need not.
    pub(super) fn wakes_at(&self) -> Time {
        let is_set = self.has_timer && self.next_at != Time::ZERO && !self.is_closed;
        let timer = if is_set { self.next_at } else { Time::NEVER };
        self.failing
            .map_or(timer, |(retry, _)| if self.is_closed { timer } else { timer.min(retry) })
    }
}

/// Which causes a pass over the chain answers. Timers and changes come before pokes, pokes before ticks, as Knative's
/// reconciler and autoscaler would have it within one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Changes,
    Pokes,
    Ticks,
}

/// The stages in order.
pub(super) struct Chain {
    pub(super) stages: Vec<Stage>,
}

impl Chain {
    /// Asks for the first states of targets that have just got their seats.
    pub(super) fn init(
        &mut self,
        now: Time,
        targets: &mut [Target],
        new: &[TargetId],
    ) -> Result<(), BindTargetError> {
        for position in 0..self.stages.len() {
            let failed = self.bear(position, MAIN, now, targets, new);
            if let Some((id, source)) = failed.into_iter().next() {
                return Err(BindTargetError::Init {
                    target: targets[id.index()].spec.name.to_string(),
                    stage: self.stages[position].name.clone(),
                    source,
                });
            }
        }
        Ok(())
    }

    /// Whether a stage wants the next tick of `target`: one that ticks, unless its policy said that it may be spared it, every input
    /// reads as it did, and its windows are empty, which they stay until something is reported.
    pub(super) fn wants_tick(&self, target: &Target, look: &Look<'_>) -> bool {
        self.stages.iter().zip(&target.seats).enumerate().any(|(position, (stage, seat))| {
            let chair = &seat.chairs[MAIN];
            let ticks =
                stage.policies[MAIN].bindings[chair.binding as usize].causes.contains(Causes::TICK);
            let may_be_spared = seat.next_at > target.next_tick
                && chair.has_empty_windows(target, look.now)
                && stands(seat, position, target, look);
            ticks && !seat.is_closed && !may_be_spared
        })
    }

    /// Where the run of `candidates` ends that begins at `from` and is taken through the chain together, each call of a stage with
    /// part of it: before it is too long, but never within what some stage decides together, and at the end of a tenant.
    pub(super) fn run_end(
        &self,
        candidates: &[TargetId],
        from: usize,
        targets: &[Target],
    ) -> usize {
        let scope = self.scope();
        let target = |at: usize| &targets[candidates[at].index()];
        let mut to = from + 1;
        while to < candidates.len() && target(to).tenant == target(from).tenant {
            let is_free_to_cut = match scope {
                Scope::Target => true,
                Scope::Group => target(to).group != target(to - 1).group,
                Scope::Tenant => false,
            };
            if to - from >= BATCH_AT_MOST && is_free_to_cut {
                break;
            }
            to += 1;
        }
        to
    }

    /// The targets among `candidates` that the stage at `position` must be asked about in this pass of step `number`.
    pub(super) fn due(
        &self,
        position: usize,
        pass: Pass,
        number: u64,
        candidates: &[TargetId],
        look: &Look<'_>,
        targets: &mut [Target],
    ) -> Vec<Due> {
        let mut due = Vec::new();
        for &id in candidates {
            let target = &targets[id.index()];
            let seat = &target.seats[position];
            let chair = &seat.chairs[MAIN];
            let wants =
                self.stages[position].policies[MAIN].bindings[chair.binding as usize].causes;
            let mut causes = Causes::empty();
            let mut retried = Causes::empty();
            match pass {
                Pass::Changes => {
                    if !seat.was_asked {
                        causes |= Causes::CREATED;
                    }
                    if seat.next_at != Time::ZERO && seat.next_at <= look.now {
                        causes |= Causes::TIMER;
                    }
                    if let Some((retry, about)) = seat.failing
                        && retry <= look.now
                    {
                        retried = about;
                    }
                }
                Pass::Pokes => {
                    let is_at_zero = target.is_poked && seat.wanted == Some(0);
                    if (is_at_zero || target.is_asked) && seat.poked_in != number {
                        causes |= Causes::POKE;
                    }
                }
                Pass::Ticks => {
                    if target.next_tick <= look.now && seat.ticked != target.next_tick {
                        causes |= Causes::TICK;
                    }
                }
            }
            if wants.contains(Causes::CHANGE)
                && (seat.has_changed || reads_differently(chair, position, target, look))
            {
                causes |= Causes::CHANGE;
            }
            causes &= wants;
            let is_spared = causes == Causes::TICK && stands(seat, position, target, look);
            let is_closed = seat.is_closed;
            let seat = &mut targets[id.index()].seats[position];
            if causes.contains(Causes::TICK) {
                seat.ticked = targets[id.index()].next_tick;
            }
            let seat = &mut targets[id.index()].seats[position];
            if causes.contains(Causes::POKE) {
                seat.poked_in = number;
            }
            let causes = causes | retried;
            if causes != Causes::empty() && !is_spared && !is_closed {
                due.push(Due { target: id, causes });
            }
        }
        self.complete_due(position, candidates, &mut due, targets);
        for one in &due {
            targets[one.target.index()].seats[position].was_asked = true;
        }
        due
    }

    /// Adds to `due` those among `candidates` that the stage at `position` decides together with one of them, for no cause of their
    /// own; and takes out those of which one was closed.
    fn complete_due(
        &self,
        position: usize,
        candidates: &[TargetId],
        due: &mut Vec<Due>,
        targets: &[Target],
    ) {
        let scope = self.stages[position].policies[MAIN].scope;
        if scope == Scope::Target || due.is_empty() {
            return;
        }
        let unit = |id: TargetId| unit(&targets[id.index()], scope);
        let units: BTreeSet<u32> = due.iter().map(|one| unit(one.target)).collect();
        let closed = candidates
            .iter()
            .filter(|id| targets[id.index()].seats[position].is_closed)
            .map(|id| unit(*id));
        let closed: BTreeSet<u32> = closed.collect();
        let causes: BTreeMap<TargetId, Causes> =
            due.drain(..).map(|one| (one.target, one.causes)).collect();
        due.extend(
            candidates
                .iter()
                .filter(|id| units.contains(&unit(**id)) && !closed.contains(&unit(**id)))
                .map(|&id| Due {
                    target: id,
                    causes: causes.get(&id).copied().unwrap_or(Causes::empty()),
                }),
        );
    }

    /// Adds to `candidates`, which are in order, the targets that some stage decides together with one of them.
    pub(super) fn complete(&self, candidates: &mut Vec<TargetId>, targets: &[Target]) {
        let scope = self.scope();
        if scope == Scope::Target || candidates.is_empty() {
            return;
        }
        let units: BTreeSet<u32> =
            candidates.iter().map(|id| unit(&targets[id.index()], scope)).collect();
        candidates.clear();
        candidates.extend(
            targets
                .iter()
                .zip(0..)
                .filter(|(target, _)| units.contains(&unit(target, scope)))
                .map(|(_, position)| TargetId(position)),
        );
    }

    /// The widest scope of all stages.
    fn scope(&self) -> Scope {
        let scopes = self.stages.iter().flat_map(|stage| &stage.policies).map(|bound| bound.scope);
        scopes.fold(Scope::Target, widest)
    }

    /// Asks the stage at `position` about `due`, in one call, and takes its answers in. What failed goes to `failures`.
    pub(super) fn ask(
        &mut self,
        position: usize,
        number: u64,
        due: &[Due],
        look: &Look<'_>,
        targets: &mut [Target],
        failures: &mut Vec<StageFailure>,
    ) {
        let now = look.now;
        let scope = self.stages[position].policies[MAIN].scope;
        let is_aside = |one: &Due| {
            let seat = &targets[one.target.index()].seats[position];
            seat.quarantine.until(now).is_some() || seat.failed_in == number
        };
        let key = |one: &Due| match scope {
            Scope::Target => one.target.0,
            Scope::Group | Scope::Tenant => unit(&targets[one.target.index()], scope),
        };
        // What is decided together is put aside together.
        let aside: BTreeSet<u32> = due.iter().filter(|one| is_aside(one)).map(key).collect();
        let (mut failed, asked): (Vec<Due>, Vec<Due>) =
            due.iter().partition(|one| !aside.is_empty() && aside.contains(&key(one)));
        let mut told: Vec<(CallError, Vec<TargetId>)> = Vec::new();
        for (at, error) in self.call(position, MAIN, number, &asked, look, targets) {
            let one = asked[at as usize];
            failed.push(one);
            match told
                .iter_mut()
                .find(|(known, _)| known.kind == error.kind && known.message == error.message)
            {
                Some((_, ids)) => ids.push(one.target),
                None => told.push((error, vec![one.target])),
            }
        }
        let stage = &self.stages[position];
        for (error, ids) in told {
            let mut until = None;
            for id in &ids {
                let seat = &mut targets[id.index()].seats[position];
                seat.failed_in = number;
                if error.kind != CallErrorKind::NotAsked {
                    until = until.max(seat.quarantine.failed(now));
                }
            }
            failures.push(StageFailure {
                stage: stage.name.clone(),
                targets: ids,
                message: error.message,
                instead: stage.on_failure.name().to_owned(),
                quarantined_until: until,
            });
        }
        if !failed.is_empty() {
            failed.sort_by_key(|one| one.target);
            // They count as asked with what there was to see, or else they would be asked again at once.
            for one in &failed {
                let target = &mut targets[one.target.index()];
                let columns = std::mem::take(&mut target.seats[position].chairs[MAIN].columns);
                let inputs =
                    columns.iter().map(|column| column.read(position, target, look)).collect();
                let chair = &mut target.seats[position].chairs[MAIN];
                chair.columns = columns;
                chair.asked.get_or_insert_default().inputs = inputs;
            }
            self.instead(position, number, &failed, look, targets, failures);
        }
    }

    /// Asks the stage at `position`, which has decided about a target in step `number`, for its words. What was decided together
    /// is explained together.
    pub(super) fn explain(
        &mut self,
        position: usize,
        number: u64,
        id: TargetId,
        targets: &[Target],
        words: &Words,
    ) -> Result<Explanation, CallError> {
        let target = &targets[id.index()];
        let which = target.seats[position].decided_by;
        let bound = &mut self.stages[position].policies[which];
        let is_together = |other: &Target| match bound.scope {
            Scope::Target => false,
            Scope::Group => other.group == target.group,
            Scope::Tenant => other.tenant == target.tenant,
        };
        let looked_at = match bound.scope {
            Scope::Target => id.index()..id.index() + 1,
            Scope::Group | Scope::Tenant => 0..targets.len(),
        };
        let mut chairs = Vec::new();
        let mut which_one = 0;
        for at in looked_at {
            let other = &targets[at];
            let seat = &other.seats[position];
            if at == id.index() {
                which_one = chairs.len();
            } else if !is_together(other) || seat.decided_in != number || seat.decided_by != which {
                continue;
            }
            chairs.push((&seat.chairs[which], other.group));
        }
        bound.explain(&chairs, which_one, words)
    }

    /// Whether the stage at `position` decided about `target` in step `number`.
    pub(super) fn has_decided(position: usize, number: u64, target: &Target) -> bool {
        target.seats[position].decided_in == number
    }

    /// Does what the stage's failure mode says about targets that its policy gave no decision for.
    fn instead(
        &mut self,
        position: usize,
        number: u64,
        failed: &[Due],
        look: &Look<'_>,
        targets: &mut [Target],
        failures: &mut Vec<StageFailure>,
    ) {
        for one in failed {
            let target = &mut targets[one.target.index()];
            let proposal = target.proposal_before(position);
            let seat = &mut target.seats[position];
            // A tick comes again by itself; what else was asked is asked again a tick later.
            let about = one.causes & !Causes::TICK;
            let retry = match seat.quarantine.until(look.now) {
                _ if about == Causes::empty() => Time::NEVER,
                Some(until) => until,
                None => look.now + look.options.tick_ms,
            };
            seat.failing = Some(match seat.failing {
                Some((earlier, unanswered)) if earlier > look.now => {
                    (retry.min(earlier), about | unanswered)
                }
                Some((_, unanswered)) => (retry, about | unanswered),
                None => (retry, about),
            });
            seat.next_at = Time::ZERO;
            seat.has_changed = false;
            match self.stages[position].on_failure {
                OnFailure::Hold | OnFailure::Fallback => {}
                OnFailure::Skip => seat.wanted = proposal.or(seat.wanted),
                OnFailure::Closed => seat.is_closed = true,
            }
        }
        if self.stages[position].policies.len() <= FALLBACK {
            return;
        }
        if let Some((_, error)) =
            self.call(position, FALLBACK, number, failed, look, targets).into_iter().next()
        {
            failures.push(StageFailure {
                stage: self.stages[position].name.clone(),
                targets: failed.iter().map(|one| one.target).collect(),
                message: format!("the fallback failed too: {}", error.message),
                instead: OnFailure::Hold.name().to_owned(),
                quarantined_until: None,
            });
        }
    }

    /// Asks one of a stage's policies, and takes in what it decided. What failed is returned by position in `due`.
    fn call(
        &mut self,
        position: usize,
        which: usize,
        number: u64,
        due: &[Due],
        look: &Look<'_>,
        targets: &mut [Target],
    ) -> Vec<(u32, CallError)> {
        if due.is_empty() {
            return Vec::new();
        }
        let ids: Vec<TargetId> = due.iter().map(|one| one.target).collect();
        let unborn = self.bear(position, which, look.now, targets, &ids);
        let mut failed: Vec<(u32, CallError)> = Vec::new();
        let mut born: Vec<u32> = (0..due.len() as u32).collect();
        if !unborn.is_empty() {
            let error_of = |at: &u32| {
                let id = due[*at as usize].target;
                unborn.iter().find(|(unborn, _)| *unborn == id).map(|(_, error)| error.clone())
            };
            failed.extend(born.iter().filter_map(|at| Some((*at, error_of(at)?))));
            born.retain(|at| error_of(at).is_none());
        }
        let alive: Vec<Due> = born.iter().map(|at| due[*at as usize]).collect();
        if alive.is_empty() {
            return failed;
        }
        let (own, bound) = own_outputs(&mut self.stages[position].policies, which);
        let undecided =
            bound.decide(position, which, &alive, look, targets, |target, decision, outputs| {
                let seat = &mut target.seats[position];
                let outputs = own.as_ref().map_or(outputs.to_vec(), |at| {
                    at.iter().map(|at| at.map_or(f64::NAN, |at| outputs[at])).collect()
                });
                let wanted = if decision.is_applied { Some(decision.wanted) } else { seat.wanted };
                let same_outputs = seat.outputs.len() == outputs.len()
                    && seat
                        .outputs
                        .iter()
                        .zip(&outputs)
                        .all(|(one, other)| one.to_bits() == other.to_bits());
                seat.has_changed = !same_outputs
                    || wanted != seat.wanted
                    || decision.is_applied != seat.is_applied;
                seat.wanted = wanted;
                seat.is_applied = decision.is_applied;
                seat.outputs = outputs;
                seat.decided_in = number;
                seat.decided_by = which;
                seat.inherited = None;
                if which == MAIN {
                    seat.next_at = decision.next_at;
                    seat.failing = None;
                    seat.quarantine.succeeded();
                    // What stood in for it starts afresh next time.
                    seat.chairs.iter_mut().skip(FALLBACK).for_each(|chair| chair.state = None);
                }
            });
        failed.extend(undecided.into_iter().map(|(at, error)| (born[at as usize], error)));
        failed.sort_by_key(|(at, _)| *at);
        failed
    }

    /// Asks for the first states of those among `ids` that have none yet. Those that a policy could not make one for are returned
    /// in order, with why; a bad target is found by halving, and the others get theirs.
    pub(super) fn bear(
        &mut self,
        position: usize,
        which: usize,
        now: Time,
        targets: &mut [Target],
        ids: &[TargetId],
    ) -> Vec<(TargetId, CallError)> {
        let chair = |target: &Target| target.seats[position].chairs[which].state.is_none();
        let unborn: Vec<TargetId> =
            ids.iter().copied().filter(|id| chair(&targets[id.index()])).collect();
        let bound = &mut self.stages[position].policies[which];
        let mut failed = Vec::new();
        // The next to be asked is last, so that failures come out in order.
        let mut chunks: Vec<&[TargetId]> = unborn.chunks(BATCH_AT_MOST).rev().collect();
        while let Some(chunk) = chunks.pop() {
            match bound.init(now, position, which, targets, chunk) {
                Ok(states) => {
                    for (id, state) in chunk.iter().zip(states) {
                        targets[id.index()].seats[position].chairs[which].state = Some(state);
                    }
                }
                Err(error) if chunk.len() == 1 => failed.push((chunk[0], error)),
                Err(_) => {
                    let (first, second) = chunk.split_at(chunk.len() / 2);
                    chunks.extend([second, first]);
                }
            }
        }
        failed
    }
}

/// The policy at `which`, and, for one that stands in, where each output of the stage's own policy stands among its outputs.
fn own_outputs(policies: &mut [Bound], which: usize) -> (Option<Vec<Option<usize>>>, &mut Bound) {
    let own = (which != MAIN).then(|| {
        let theirs = &policies[which].outputs;
        policies[MAIN]
            .outputs
            .iter()
            .map(|name| theirs.iter().position(|other| other == name))
            .collect()
    });
    (own, &mut policies[which])
}

/// What `target` is decided together with at a stage of that scope, as a number.
fn unit(target: &Target, scope: Scope) -> u32 {
    match scope {
        Scope::Target | Scope::Group => target.group,
        Scope::Tenant => target.tenant,
    }
}

/// Whether an input that wakes reads differently than when the policy was last asked.
fn reads_differently(chair: &Chair, position: usize, target: &Target, look: &Look<'_>) -> bool {
    let Some(asked) = &chair.asked else { return true };
    let mut columns = chair.columns.iter().zip(&asked.inputs).filter(|(column, _)| column.wakes());
    columns.any(|(column, was)| column.read(position, target, look).to_bits() != was.to_bits())
}

/// Whether the policy said that its decision stands until later if every input does, and every input does.
fn stands(seat: &Seat, position: usize, target: &Target, look: &Look<'_>) -> bool {
    let chair = &seat.chairs[MAIN];
    let Some(asked) = &chair.asked else { return false };
    seat.failing.is_none()
        && seat.next_at > look.now
        && chair
            .columns
            .iter()
            .zip(&asked.inputs)
            .all(|(column, was)| column.read(position, target, look).to_bits() == was.to_bits())
}
