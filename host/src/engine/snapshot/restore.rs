//! Goes on from a snapshot: what a target had is taken over by name, states of another layout are migrated or born anew, and what
//! could not be taken over is told.

use std::collections::{BTreeMap, BTreeSet};

use super::super::binding::BindTargetError;
use super::super::bound::{Asked, Bound, Chair};
use super::super::chain::{BATCH_AT_MOST, Chain, MAIN, Seat, Stage};
use super::super::plan::Unplaced;
use super::super::recent::Recent;
use super::super::target::{Levels, Target, TargetId, TargetName};
use super::super::windows::Window;
use super::super::words::Words;
use super::super::{Engine, next_tick};
use super::{ChairKept, FORMAT, SeatKept, Snapshot, StageKept, TargetKept, WindowKept, causes};
use crate::policy::wire::States;
use crate::policy::{CallError, CallErrorKind};
use crate::time::Time;

/// Calls of `migrate` of one stage. It finds several bad targets among thousands; those that it does not get to are born anew.
const CALLS_AT_MOST: usize = 64;

/// What came of going on from a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// When the engine must see the world, whatever happens before. It has come already if anything is not as it was.
    pub wakes_at: Time,
    /// Targets that were not in the snapshot: they begin.
    pub new_targets: Vec<TargetName>,
    /// Targets of the snapshot that this engine does not have.
    pub gone: Vec<Gone>,
    /// Stages that the snapshot does not have.
    pub new_stages: Vec<String>,
    /// Stages of the snapshot that this engine does not have. What their policies remembered is lost.
    pub gone_stages: Vec<String>,
    /// Stages whose policies took states of another layout over.
    pub migrated: Vec<Migrated>,
    /// Targets whose states could not be taken over: they were born anew.
    pub born_anew: Vec<BornAnew>,
}

/// A target of a snapshot that the engine does not have. What its replicas take from nodes is not counted any more: keep it as a
/// target until it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Whose it was.
    pub tenant: String,
    /// Which it was.
    pub target: TargetName,
    /// Its replicas, draining ones included.
    pub replicas: u32,
}

/// States of another layout that a policy took over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The stage.
    pub stage: String,
    /// The layout that they had.
    pub from: String,
    /// How many.
    pub targets: usize,
}

/// Targets whose states a policy did not take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BornAnew {
    /// The stage.
    pub stage: String,
    /// The targets.
    pub targets: Vec<TargetName>,
    /// Why, for people.
    pub why: String,
    /// It did not refuse: it trapped, took too much or answered nonsense.
    pub has_failed: bool,
}

/// A snapshot that an engine cannot go on from. What it knows is then to be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It was taken by a version that this one does not know.
    #[error("the snapshot is of format {found}, and this program reads {FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
    /// What it says cannot be.
    #[error("the snapshot is out of order: {what}")]
    Malformed {
        /// What is amiss.
        what: String,
    },
    /// A policy could not make a first state.
    #[error(transparent)]
    Bind(#[from] BindTargetError),
}

/// A state that its stage's policy cannot read as it is.
struct Heir {
    target: TargetId,
    /// Its layout; `None`: not known.
    schema: Option<String>,
    state: Vec<u8>,
}

impl Snapshot {
    /// What only a snapshot that was written by somebody else can have wrong.
    fn check(&self) -> Result<(), RestoreError> {
        if self.format != FORMAT {
            return Err(RestoreError::Format { found: self.format });
        }
        let malformed = |what: String| Err(RestoreError::Malformed { what });
        let nodes = self.ground.nodes.len();
        if self.ground.started.len() != nodes {
            return malformed(format!(
                "it has {nodes} nodes and says of {} what was started there",
                self.ground.started.len()
            ));
        }
        if self.stages.iter().any(|stage| stage.policies.is_empty()) {
            return malformed("a stage has no policy".to_owned());
        }
        let mut names = BTreeSet::new();
        for target in &self.targets {
            let name = &target.name;
            if !names.insert((&target.tenant, name)) {
                return malformed(format!("{name} is in it twice"));
            }
            if target.seats.len() != self.stages.len() {
                return malformed(format!(
                    "{name} has {} seats at {} stages",
                    target.seats.len(),
                    self.stages.len()
                ));
            }
            if !target.replicas.are_on(nodes) {
                return malformed(format!("a replica of {name} is on a node that is not in it"));
            }
        }
        Ok(())
    }
}

impl Engine {
    /// Goes on from what another engine knew. This one has its targets; what it knows of them is forgotten.
    ///
    /// A target of the same name has what it had: windows of equal span, signal and averaging exactly, others filled from the seconds
    /// that were kept, replicas, proposals, timers, failures. Stages are matched by name. The state bytes of a policy with the digest or
    /// the layout of the one before are taken as they are; of another layout they are given to `migrate`, and what that refuses is
    /// born anew. What is held against a policy is forgotten where another one has taken its place. Where nothing is new, the plans
    /// from here on are those of the engine that the snapshot was taken of.
    ///
    /// # Errors
    ///
    /// When the snapshot cannot be, or a policy cannot make a first state.
    pub fn restore(&mut self, now: Time, from: &Snapshot) -> Result<Restored, RestoreError> {
        from.check()?;
        self.begin_again(now);
        let mut restored = Restored::default();
        let its_stages: Vec<Option<usize>> =
            self.chain.stages.iter().map(|stage| from.stage(stage.name())).collect();
        let stages = self.chain.stages.iter().zip(&its_stages);
        let new = stages.filter(|(_, its)| its.is_none()).map(|(stage, _)| stage.name().to_owned());
        restored.new_stages = new.collect();
        let kept =
            from.stages.iter().enumerate().filter(|(at, _)| !its_stages.contains(&Some(*at)));
        restored.gone_stages = kept.map(|(_, stage)| stage.name.clone()).collect();
        let is_same_chain = self.chain.stages.len() == from.stages.len()
            && self.chain.stages.iter().zip(&from.stages).all(|(stage, kept)| {
                stage.name() == kept.name
                    && stage.policies.len() == kept.policies.len()
                    && stage
                        .policies
                        .iter()
                        .zip(&kept.policies)
                        .all(|(bound, kept)| bound.policy.digest() == kept.digest)
            });

        self.generation = from.generation;
        self.planned_at = from.at;
        self.placing.grounds.see_nodes(&from.ground.nodes);
        self.placing.grounds.started.clone_from(&from.ground.started);
        self.placing.retry_at = from.ground.retry_at;
        let mut is_placing_anew = self.placing.digest() != from.placement;

        let mut left: BTreeMap<(String, TargetName), &TargetKept> = from
            .targets
            .iter()
            .map(|target| ((target.tenant.clone(), target.name.clone()), target))
            .collect();
        let mut heirs: Vec<Vec<Heir>> = self.chain.stages.iter().map(|_| Vec::new()).collect();
        let mut is_all_as_it_was = is_same_chain && self.options.tick_ms == from.tick_ms;
        for (target, position) in self.targets.iter_mut().zip(0..) {
            let id = TargetId(position);
            let key = (target.spec.tenant.clone(), target.spec.name.clone());
            let Some(kept) = left.remove(&key) else {
                restored.new_targets.push(target.spec.name.clone());
                continue;
            };
            target.take_over(kept, self.options.keeps_s)?;
            let is_as_it_was = target.marks == kept.marks;
            is_placing_anew |= !is_as_it_was;
            is_all_as_it_was &= is_as_it_was;
            target.is_touched |= !is_same_chain || !is_as_it_was;
            if self.options.tick_ms != from.tick_ms {
                target.next_tick = next_tick(target.created_at, now, self.options.tick_ms);
            }
            for (position, its_stage) in its_stages.iter().enumerate() {
                let stage = &self.chain.stages[position];
                let Some(at) = *its_stage else {
                    take_a_new_seat(position, target);
                    continue;
                };
                let heir = Taking {
                    now,
                    stage,
                    kept_stage: &from.stages[at],
                    has_same_settings: settings(target.marks.settings.get(position))
                        == settings(kept.marks.settings.get(at)),
                    words: (&from.words, &self.words),
                }
                .seat(&mut target.seats[position], &kept.seats[at]);
                heirs[position].extend(heir.map(|(schema, state)| Heir {
                    target: id,
                    schema,
                    state,
                }));
            }
            if let Some((replicas, reason)) = kept.unplaced.clone() {
                self.placing.unplaced.insert(id, Unplaced { target: id, replicas, reason });
            }
        }
        restored.gone = left
            .into_values()
            .map(|kept| Gone {
                tenant: kept.tenant.clone(),
                target: kept.name.clone(),
                replicas: kept.replicas.iter().count() as u32,
            })
            .collect();
        is_all_as_it_was &= restored.gone.is_empty() && restored.new_targets.is_empty();
        is_placing_anew |= !restored.gone.is_empty();
        self.placing.is_stale = from.ground.is_stale || is_placing_anew;

        for (position, heirs) in heirs.into_iter().enumerate() {
            inherit(&mut self.chain, position, now, &mut self.targets, heirs, &mut restored);
        }
        let all: Vec<TargetId> = (0..self.targets.len() as u32).map(TargetId).collect();
        self.chain.init(now, &mut self.targets, &all)?;
        self.wakes_at = if is_all_as_it_was && !is_placing_anew {
            from.wakes_at
        } else {
            from.wakes_at.min(now)
        };
        restored.wakes_at = self.wakes_at;
        Ok(restored)
    }
}

impl Engine {
    /// Forgets what it knows, unless it has made no step yet.
    fn begin_again(&mut self, now: Time) {
        self.placing.unplaced.clear();
        if self.generation == 0 {
            return;
        }
        for target in &mut self.targets {
            let windows = target.windows.iter().map(|window| Window::new(window.spec()));
            let seats = target.seats.iter_mut().map(|seat| Seat {
                chairs: seat
                    .chairs
                    .iter_mut()
                    .map(|chair| Chair {
                        binding: chair.binding,
                        columns: std::mem::take(&mut chair.columns),
                        ..Chair::default()
                    })
                    .collect(),
                has_timer: seat.has_timer,
                ..Seat::default()
            });
            let (windows, seats) = (windows.collect(), seats.collect());
            let (spec, counted) = (target.spec.clone(), target.counted);
            let new = Target::new(spec, target.tenant, target.group, now, self.options.tick_ms);
            *target = Target { windows, seats, counted, ..new };
        }
    }
}

impl Snapshot {
    fn stage(&self, name: &str) -> Option<usize> {
        self.stages.iter().position(|kept| kept.name == name)
    }
}

/// A settings document that is not there is as good as an empty one: it has no mark.
fn settings(mark: Option<&u64>) -> Option<u64> {
    mark.copied()
}

impl Target {
    /// Takes over all but what it has at the stages. Its seats and windows are those of its new policies already.
    fn take_over(&mut self, kept: &TargetKept, keeps_s: u32) -> Result<(), RestoreError> {
        let malformed =
            |what: &str| RestoreError::Malformed { what: format!("{what} of {}", kept.name) };
        let recent = kept.recent.iter().map(|(at, values)| (*at, values.map(|value| value.0)));
        let recent: Vec<_> = recent.collect();
        let windows = kept.windows.iter().map(window).collect::<Option<Vec<_>>>();
        let windows = windows.ok_or_else(|| malformed("a window"))?;
        let whole = Recent::of(recent.clone(), u32::MAX).ok_or_else(|| malformed("the seconds"))?;
        for to_fill in &mut self.windows {
            fill(to_fill, &windows, &whole);
        }
        self.recent = if keeps_s == 0 {
            Recent::default()
        } else {
            Recent::of(recent, keeps_s).expect("they are in order, as was seen")
        };
        self.created_at = kept.created_at;
        self.next_tick = kept.next_tick;
        self.is_tick_spared = kept.is_tick_spared;
        self.wakes_at = kept.wakes_at;
        self.is_initialised = kept.is_initialised;
        self.gateway_since = kept.gateway_since;
        self.gateway_answers = kept.gateway_answers;
        self.replicas = kept.replicas.clone();
        self.counted = kept.counted;
        self.scaled_to = kept.scaled_to;
        self.yields_to = kept.yields_to;
        self.unpinned = kept.unpinned;
        self.pin = kept.pin;
        self.desired = kept.desired;
        self.planned = kept.planned;
        self.levels = Levels {
            in_flight: kept.in_flight,
            waiting: kept.waiting,
            oldest_wait_ms: kept.oldest_wait_ms,
            concurrency: kept.concurrency.0,
        };
        self.is_activated = kept.is_activated;
        self.is_poked = kept.is_poked;
        self.is_asked = kept.is_asked;
        self.is_touched = kept.is_touched;
        Ok(())
    }
}

fn window(kept: &WindowKept) -> Option<Window> {
    let values: Option<(u64, u64, Vec<f64>)> = kept
        .written
        .as_ref()
        .map(|(first, last, values)| (*first, *last, values.iter().map(|value| value.0).collect()));
    let contents = values.as_ref().map(|(first, last, values)| (*first, *last, values.as_slice()));
    Window::holding(kept.spec, kept.total.0, contents)
}

/// Gives a window what an equal one held, or else what was kept of its signal, or else what a window of another length over it held.
fn fill(window: &mut Window, kept: &[Window], recent: &Recent) {
    let spec = window.spec();
    if let Some(equal) = kept.iter().find(|kept| kept.spec() == spec) {
        *window = equal.clone();
    } else if !recent.is_empty() {
        recent.fill(window);
    } else {
        let alike = kept.iter().filter(|kept| {
            kept.spec().signal == spec.signal && kept.spec().averaging == spec.averaging
        });
        if let Some(longest) = alike.max_by_key(|kept| kept.spec().span_s) {
            longest.refill(window);
        }
    }
}

/// A stage that there was not before begins with what stood at its place, as if its policy had left that as it was.
fn take_a_new_seat(position: usize, target: &mut Target) {
    let before = position.checked_sub(1).and_then(|before| target.seats[before].wanted);
    let stood = before.or(target.planned.map(|_| target.unpinned));
    let seat = &mut target.seats[position];
    seat.wanted = stood;
    // It was born before its target's replicas were known.
    seat.chairs.iter_mut().for_each(|chair| chair.state = None);
}

/// A seat that is being taken over.
struct Taking<'a> {
    now: Time,
    stage: &'a Stage,
    kept_stage: &'a StageKept,
    has_same_settings: bool,
    /// The texts by position, then and now.
    words: (&'a [String], &'a Words),
}

impl Taking<'_> {
    /// Takes over what `kept` has. Returns a state that the stage's policy cannot read as it is, with its layout.
    fn seat(&self, seat: &mut Seat, kept: &SeatKept) -> Option<(Option<String>, Vec<u8>)> {
        let mut heir = None;
        for (which, (chair, bound)) in seat.chairs.iter_mut().zip(&self.stage.policies).enumerate()
        {
            chair.state = None;
            let its = kept.chairs.get(which).zip(self.kept_stage.policies.get(which));
            let Some((kept, policy)) = its else { continue };
            let is_same = bound.policy.digest() == policy.digest;
            let state = kept.state.as_ref().map(|state| &state.0);
            if is_same || bound.schema.is_some() && bound.schema == policy.schema {
                chair.state = state.cloned();
            } else if which == MAIN
                && let Some(state) = state
            {
                heir = Some((policy.schema.clone(), state.clone()));
            }
            chair.asked = None;
            if is_same && self.has_same_settings {
                chair.asked = self.asked(chair, kept);
            }
        }
        let is_same = self.has_policy_of(MAIN);
        seat.wanted = kept.wanted;
        seat.is_applied = kept.is_applied;
        seat.outputs = self.outputs(kept);
        seat.next_at = kept.next_at;
        seat.has_changed = kept.has_changed;
        seat.was_asked = kept.was_asked;
        seat.failing = kept.failing.map(|(retry, about)| (retry, causes(about)));
        seat.ticked = kept.ticked;
        seat.poked_in = kept.poked_in;
        seat.decided_in = kept.decided_in;
        seat.decided_by = kept.decided_by.min(self.stage.policies.len() - 1);
        let decided = kept.inherited.as_ref();
        let decided = decided
            .or_else(|| self.kept_stage.policies.get(kept.decided_by).map(|policy| &policy.digest));
        let now = self.stage.policies[seat.decided_by].policy.digest();
        seat.inherited = decided.filter(|then| kept.decided_in > 0 && *then != now).cloned();
        if is_same {
            seat.failed_in = kept.failed_in;
            seat.quarantine = kept.quarantine;
            seat.is_closed = kept.is_closed;
        } else if let Some((retry, _)) = &mut seat.failing {
            // What the one before it left unanswered, it is asked about at once.
            *retry = (*retry).min(self.now);
        }
        heir
    }

    fn has_policy_of(&self, which: usize) -> bool {
        let digest =
            |bound: &Bound| bound.policy.digest() == self.kept_stage.policies[which].digest;
        self.stage.policies.get(which).is_some_and(digest)
    }

    /// What a policy was last asked with, if it reads the same columns now.
    fn asked(&self, chair: &Chair, kept: &ChairKept) -> Option<Asked> {
        let kept = kept.asked.as_ref().filter(|kept| kept.inputs.len() == chair.columns.len())?;
        let (then, now) = self.words;
        let inputs = chair.columns.iter().zip(&kept.inputs).map(|(column, value)| {
            let text = then.get(value.0 as usize).filter(|_| !value.0.is_nan());
            match column.is_text() {
                true => text.map_or(f64::NAN, |text| now.position(text)),
                false => value.0,
            }
        });
        Some(Asked {
            at: kept.at,
            causes: causes(kept.causes),
            inputs: inputs.collect(),
            state: kept.state.0.clone(),
        })
    }

    /// The values of the stage's outputs, by name.
    fn outputs(&self, kept: &SeatKept) -> Vec<f64> {
        let names = self.stage.outputs();
        let given =
            &self.kept_stage.outputs[..self.kept_stage.outputs.len().min(kept.outputs.len())];
        if names.starts_with(given) {
            return kept.outputs.iter().take(given.len()).map(|value| value.0).collect();
        }
        let value = |name: &String| {
            let at = given.iter().position(|given| given == name);
            at.map_or(f64::NAN, |at| kept.outputs[at].0)
        };
        names.iter().map(value).collect()
    }
}

/// Has the policy of the stage at `position` migrate states of other layouts. Those that it does not are left to be born anew, and
/// told.
fn inherit(
    chain: &mut Chain,
    position: usize,
    now: Time,
    targets: &mut [Target],
    heirs: Vec<Heir>,
    restored: &mut Restored,
) {
    let stage = &mut chain.stages[position];
    let mut anew: BTreeMap<(String, bool), Vec<TargetId>> = BTreeMap::new();
    let mut migrated: BTreeMap<String, usize> = BTreeMap::new();
    let mut parts: Vec<Vec<Heir>> = Vec::new();
    for heir in heirs {
        if heir.schema.is_none() {
            let why = "the layout of what the policy before it left is not known";
            anew.entry((why.to_owned(), false)).or_default().push(heir.target);
            continue;
        }
        let tenant = |heir: &Heir| targets[heir.target.index()].tenant;
        match parts.last_mut() {
            Some(last)
                if last.len() < BATCH_AT_MOST
                    && last[0].schema == heir.schema
                    && tenant(&last[0]) == tenant(&heir) =>
            {
                last.push(heir);
            }
            Some(_) | None => parts.push(vec![heir]),
        }
    }
    let mut calls = 0;
    while let Some(part) = parts.pop() {
        let ids: Vec<TargetId> = part.iter().map(|heir| heir.target).collect();
        let schema = part[0].schema.clone().expect("those without a layout were left out");
        if calls == CALLS_AT_MOST {
            let why = format!("migrate was not asked again after {CALLS_AT_MOST} calls");
            anew.entry((why, false)).or_default().extend(ids);
            continue;
        }
        calls += 1;
        let error = match stage.policies[MAIN].migrate(
            now,
            position,
            MAIN,
            targets,
            &ids,
            (&schema, joined(&part)),
        ) {
            Ok(states) => {
                *migrated.entry(schema).or_default() += ids.len();
                for (id, state) in ids.iter().zip(states) {
                    targets[id.index()].seats[position].chairs[MAIN].state = Some(state);
                }
                continue;
            }
            Err(error) => error,
        };
        let culprits: BTreeSet<usize> = error.culprits.iter().map(|&at| at as usize).collect();
        let (bad, mut good): (Vec<_>, Vec<_>) =
            part.into_iter().enumerate().partition(|(at, _)| culprits.contains(at));
        if bad.is_empty() && good.len() > 1 {
            let second = good.split_off(good.len() / 2);
            parts.extend(
                [second, good].map(|half| half.into_iter().map(|(_, heir)| heir).collect()),
            );
            continue;
        }
        let at_fault = if bad.is_empty() { std::mem::take(&mut good) } else { bad };
        let has_failed = error.kind != CallErrorKind::Refused;
        anew.entry((told(&error), has_failed))
            .or_default()
            .extend(at_fault.iter().map(|(_, heir)| heir.target));
        if !good.is_empty() {
            parts.push(good.into_iter().map(|(_, heir)| heir).collect());
        }
    }
    let name = stage.name().to_owned();
    restored.migrated.extend(migrated.into_iter().map(|(from, targets)| Migrated {
        stage: name.clone(),
        from,
        targets,
    }));
    restored.born_anew.extend(anew.into_iter().map(|((why, has_failed), mut ids)| {
        ids.sort_unstable();
        let targets = ids.iter().map(|id| targets[id.index()].spec.name.clone()).collect();
        BornAnew { stage: name.clone(), targets, why, has_failed }
    }));
}

fn told(error: &CallError) -> String {
    match error.kind {
        CallErrorKind::Refused => error.message.clone(),
        CallErrorKind::Trapped
        | CallErrorKind::OutOfFuel
        | CallErrorKind::NotAsked
        | CallErrorKind::OutOfTime
        | CallErrorKind::OutOfSpace
        | CallErrorKind::Malformed => format!("migrate failed: {}", error.message),
    }
}

fn joined(heirs: &[Heir]) -> States {
    let mut states = States { bytes: Vec::new(), ends: Vec::new() };
    for heir in heirs {
        states.bytes.extend_from_slice(&heir.state);
        states.ends.push(states.bytes.len() as u32);
    }
    states
}
