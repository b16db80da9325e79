//! What stands behind the plan for one target, for people: what each stage was asked with, what it said and why, what bounds made
//! of it, and where replicas went. Looking changes no plan.

use serde::Serialize;

use super::bound::{Chair, Column};
use super::chain::{FALLBACK, MAIN, Stage};
use super::plan::Clamp;
use super::target::{ReplicaId, Target, TargetId};
use super::words::Words;
use super::{BoundsNow, Engine};
use crate::policy::wire::{Causes, Explanation};
use crate::time::Time;

/// A target, and what each stage last said about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Its name.
    pub target: String,
    /// Replicas that the plan wants.
    pub desired: u32,
    /// Replicas that take requests.
    pub ready: u32,
    /// Replicas that are wanted and not ready.
    pub starting: u32,
    /// Replicas that end what they have.
    pub draining: u32,
    /// Requests at replicas, at the last report.
    pub in_flight: u32,
    /// Requests that waited, at the last report.
    pub waiting: u32,
    /// At least so many replicas.
    pub min: u32,
    /// At most so many; 0 is no limit.
    pub max: u32,
    /// The minimum is the initial scale, until that was once ready.
    pub is_initial: bool,
    /// The host gave it its activation scale, as its policies failed.
    pub is_activated: bool,
    /// The stages in order of the chain.
    pub stages: Vec<StageInspection>,
}

/// What a stage last said about a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageInspection {
    /// Its name.
    pub stage: String,
    /// The digest of the policy that last decided.
    pub digest: String,
    /// That is the fallback of the stage.
    pub is_fallback: bool,
    /// Its policy failed when last asked: what it said before stands, or what the failure mode made of it.
    pub is_failing: bool,
    /// It decides nothing more about this target until a person acts.
    pub is_closed: bool,
    /// Its policy is put aside until then, after failures in a row. Unix milliseconds.
    #[serde(rename = "quarantinedUntilMs")]
    pub quarantined_until: Option<Time>,
    /// When it was last asked; `None`: never. Unix milliseconds.
    #[serde(rename = "askedAtMs")]
    pub asked_at: Option<Time>,
    /// Why it was asked.
    pub causes: Vec<&'static str>,
    /// What it was asked with, in the order in which its policy wants it.
    pub inputs: Vec<InputRead>,
    /// Bytes of the state that it was handed.
    pub state_bytes: usize,
    /// Replicas that it last wanted applied, before bounds; `None`: it never did.
    pub wanted: Option<u32>,
    /// Whether its last decision was to be applied.
    pub is_applied: bool,
    /// The same within bounds: what the next stage sees.
    pub proposal: Option<u32>,
    /// The bound that changed it.
    pub clamp: Option<Clamp>,
    /// Until when it stands, as long as no input reads differently ([`Time::NEVER`]: for ever); `None`: it did not say. Unix
    /// milliseconds.
    #[serde(rename = "standsUntilMs")]
    pub stands_until: Option<Time>,
    /// Its outputs by name.
    pub outputs: Vec<Number>,
    /// Why, in the policy's words.
    pub reason: String,
    /// The numbers behind it, in the policy's order.
    pub figures: Vec<Number>,
}

/// A number with a name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Number {
    /// Its name.
    pub name: String,
    /// `None`: no data.
    pub value: Option<f64>,
}

/// An input of a policy as it was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InputRead {
    /// `window`, `fact`, `output` or `missing`.
    pub kind: &'static str,
    /// The signal, the fact, or the output.
    pub name: String,
    /// Of a window: its length. Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_s: Option<u32>,
    /// Of a window: how it averages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub averaging: Option<&'static str>,
    /// Of an output: the stage that gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// `None`: no data.
    pub value: Option<f64>,
    /// What it says, where it is a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A replica of the watched target that was given a place, or was among those that might leave.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// Counts the replicas of the target from 0.
    pub replica: u32,
    /// What happened to it.
    pub what: Move,
    /// Its node; `None`: there was none for it.
    pub node: Option<String>,
    /// Why, in the placement policy's words; empty where it had none.
    pub reason: String,
    /// The numbers behind it.
    pub figures: Vec<Number>,
}

/// What happened to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Move {
    /// It starts there.
    Starts,
    /// No node takes it: it waits.
    Waits,
    /// It is on its way out.
    Leaves,
    /// It might have left and stays.
    Stays,
}

impl Moved {
    pub(super) fn placed(id: ReplicaId, node: Option<String>, why: Option<Explanation>) -> Moved {
        let what = if node.is_some() { Move::Starts } else { Move::Waits };
        Moved::new(id, what, node, why)
    }

    pub(super) fn ranked(
        id: ReplicaId,
        node: Option<String>,
        leaves: bool,
        why: Option<Explanation>,
    ) -> Moved {
        Moved::new(id, if leaves { Move::Leaves } else { Move::Stays }, node, why)
    }

    fn new(id: ReplicaId, what: Move, node: Option<String>, why: Option<Explanation>) -> Moved {
        let (reason, figures) = told(why);
        Moved { replica: id.ordinal, what, node, reason, figures }
    }
}

impl Engine {
    /// From now on, notes where replicas of that target go and why, step by step: [`Engine::moved`]. It costs a call for each step
    /// in which some move.
    pub fn watch(&mut self, id: TargetId) {
        self.placing.watched = Some(id);
    }

    /// Where replicas of the watched target went in the last step; those that might have left in the placement policy's order.
    pub fn moved(&self) -> &[Moved] {
        &self.placing.moved
    }

    /// The target of that name: the service's, with what is out of the ordinary after it, or the service's alone where it has but
    /// one target.
    pub fn target_named(&self, name: &str) -> Option<TargetId> {
        let whole = self.specs().position(|spec| spec.name.to_string() == name);
        let mut of_service = self.specs().enumerate().filter(|(_, spec)| spec.name.service == name);
        let alone = || match (of_service.next(), of_service.next()) {
            (Some((position, _)), None) => Some(position),
            (Some(_) | None, _) => None,
        };
        whole.or_else(alone).map(|position| TargetId(position as u32))
    }

    /// What stands behind the plan for a target as of `now`, the time of the last step. It asks its policies for their words.
    pub fn inspect(&mut self, now: Time, id: TargetId) -> Inspection {
        let stages =
            (0..self.chain.stages.len()).map(|at| self.inspect_stage(at, now, id)).collect();
        let target = &self.targets[id.index()];
        let BoundsNow { min, max, is_initial } = target.bounds_now();
        Inspection {
            target: target.spec.name.to_string(),
            desired: target.desired,
            ready: target.ready().unwrap_or(0),
            starting: target.starting(),
            draining: target.replicas.draining(),
            in_flight: target.levels.in_flight,
            waiting: target.levels.waiting,
            min,
            max,
            is_initial,
            is_activated: target.is_activated,
            stages,
        }
    }

    fn inspect_stage(&mut self, position: usize, now: Time, id: TargetId) -> StageInspection {
        let decided_in = self.targets[id.index()].seats[position].decided_in;
        let decided_by = self.targets[id.index()].seats[position].decided_by;
        let is_failing = self.targets[id.index()].seats[position].is_failing();
        // What its own policy was last asked with is then no longer what it last decided by.
        // Nor does a policy know what another one thought, nor what it thought of other settings.
        let seat = &self.targets[id.index()].seats[position];
        let is_its_own = seat.inherited.is_none() && seat.chairs[decided_by].asked.is_some();
        let is_explained = decided_in > 0 && is_its_own && !(is_failing && decided_by == MAIN);
        let explained = is_explained
            .then(|| self.chain.explain(position, decided_in, id, &self.targets, &self.words));
        let (reason, figures) = match explained {
            None => (String::new(), Vec::new()),
            Some(Ok(explanation)) => told(Some(explanation)),
            Some(Err(error)) => (format!("no explanation: {error}"), Vec::new()),
        };
        let target = &self.targets[id.index()];
        let seat = &target.seats[position];
        let stage = &self.chain.stages[position];
        let chair = &seat.chairs[seat.decided_by];
        let asked = chair.asked.as_ref().filter(|_| decided_in > 0 || is_failing);
        let bounded = seat.wanted.map(|wanted| target.bounds_now().apply(wanted).0);
        let value = |at: usize| Some(seat.output(at)).filter(|value| !value.is_nan());
        let outputs = stage.outputs().iter().zip(0..);
        StageInspection {
            stage: stage.name().to_owned(),
            digest: stage.decided_by(seat).to_owned(),
            is_fallback: seat.decided_by == FALLBACK,
            is_failing,
            is_closed: seat.is_closed,
            quarantined_until: seat.quarantine.until(now),
            asked_at: asked.map(|asked| asked.at),
            causes: asked.map_or(Vec::new(), |asked| causes(asked.causes)),
            inputs: inputs(
                &self.chain.stages,
                seat.decided_by,
                position,
                chair,
                target,
                &self.words,
            ),
            state_bytes: asked.map_or(0, |asked| asked.state.len()),
            wanted: seat.wanted,
            is_applied: seat.is_applied,
            proposal: bounded,
            clamp: seat.wanted.and_then(|wanted| target.bounds_now().clamp(stage.name(), wanted)),
            stands_until: Some(seat.next_at).filter(|&next| next != Time::ZERO),
            outputs: outputs
                .map(|(name, at)| Number { name: name.clone(), value: value(at) })
                .collect(),
            reason,
            figures,
        }
    }
}

/// What a policy was last asked with.
fn inputs(
    stages: &[Stage],
    which: usize,
    position: usize,
    chair: &Chair,
    target: &Target,
    words: &Words,
) -> Vec<InputRead> {
    let Some(asked) = &chair.asked else { return Vec::new() };
    let program = &stages[position].policies[which].bindings[chair.binding as usize];
    let columns = chair.columns.iter().zip(&asked.inputs).zip(&program.inputs);
    let read = columns.map(|((column, &value), wanted)| {
        let mut read = InputRead {
            kind: "missing",
            name: String::new(),
            span_s: None,
            averaging: None,
            stage: None,
            value: Some(value).filter(|value| !value.is_nan()),
            text: None,
        };
        match *column {
            Column::Window(at) => {
                let spec = target.windows[at].spec();
                read.kind = "window";
                read.name = spec.signal.name().to_owned();
                read.span_s = Some(spec.span_s);
                read.averaging = Some(spec.averaging.name());
            }
            Column::Fact(fact) => {
                read.kind = "fact";
                read.name = fact.name().to_owned();
                if fact.is_text() {
                    read.text = read.value.and_then(|at| words.list().get(at as usize).cloned());
                    read.value = None;
                }
            }
            Column::Proposal => {
                read.kind = "output";
                read.name = "proposal".to_owned();
                read.stage = position.checked_sub(1).map(|at| stages[at].name().to_owned());
            }
            Column::Output { stage, output } => {
                read.kind = "output";
                read.name = stages[stage].outputs()[output].clone();
                read.stage = Some(stages[stage].name().to_owned());
            }
            Column::Missing => read.name = super::binding::named(&wanted.source),
        }
        read
    });
    read.collect()
}

fn causes(causes: Causes) -> Vec<&'static str> {
    let all = [
        (Causes::CREATED, "created"),
        (Causes::TICK, "tick"),
        (Causes::POKE, "poke"),
        (Causes::CHANGE, "change"),
        (Causes::TIMER, "timer"),
    ];
    all.into_iter().filter(|(cause, _)| causes.contains(*cause)).map(|(_, name)| name).collect()
}

fn told(explanation: Option<Explanation>) -> (String, Vec<Number>) {
    let Some(Explanation { reason, figures }) = explanation else { return Default::default() };
    let number = |figure: crate::policy::wire::Figure| Number {
        name: figure.name,
        value: Some(figure.value).filter(|value| value.is_finite()),
    };
    (reason, figures.into_iter().map(number).collect())
}
