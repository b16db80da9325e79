//! A scenario through the production path: the engine with its windows, the chain of policies and bounds between the stages, in a
//! world as the recording describes it. `docs/parity.md` says in which order a second runs.

use tidegate_settings::{Aggregation, Cluster, Metric, Resolved, Revision};

use super::chain::{DEMAND_OUTPUTS, EXCESS, HELD, HeldChain, IN_PANIC};
use super::compare::{Fields, Rows};
use super::error::PlayError;
use super::golden::{Golden, Row, told};
use super::pods::Pods;
use super::scenario::{Mode, Scenario, Settings};
use crate::engine::windows::{Averaging, WindowSpec};
use crate::engine::{
    Bounds, Counts, Engine, Event, Observation, Options, Owner, Plan, Report, Resources, Signal,
    TargetId, TargetName, TargetSpec,
};
use crate::policy::native::Nowhere;
use crate::time::Time;

/// The only target of an engine that plays.
pub(super) const TARGET: TargetId = TargetId(0);
/// Knative's tick, which is not a setting there.
const TICK_MS: u64 = 2_000;
/// How far a weighted average may be off: the power function differs in its last bits between libraries.
const WEIGHTED_TOLERANCE: f64 = 1e-12;

/// What the world of a scenario is, and what came of it.
pub(super) struct Play<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) golden: &'a Golden,
    chain: &'a HeldChain,
    pub(super) engine: Engine,
    /// As they are now.
    pub(super) settings: Settings,
    pub(super) resolved: Resolved,
    /// The moment of second 0.
    pub(super) start: Time,
    pub(super) pods: Pods,
    pub(super) rows: Rows,
}

/// Plays a scenario and holds every answer to the recorded one.
pub(super) fn play(
    scenario: &Scenario,
    golden: &Golden,
    chain: &HeldChain,
) -> Result<Rows, PlayError> {
    let mut fields = Fields::default();
    let resolved = match resolve(&scenario.settings) {
        Ok(resolved) => resolved,
        Err(refused) => {
            // Knative took them, or there would be no recording.
            fields.push("resolved", format!("refused: {refused}"), "accepted");
            let mut rows = Rows::default();
            rows.take(fields, || header(golden));
            return Ok(rows);
        }
    };
    golden.resolved.compare(&resolved, None, &mut fields);
    let mut play = Play::new(scenario, golden, chain, resolved);
    play.rows.note(fields, || header(golden));
    match scenario.mode {
        Mode::Open | Mode::Closed => super::decisions::run(&mut play)?,
        Mode::EndToEnd => super::end_to_end::run(&mut play)?,
    }
    Ok(play.rows)
}

fn header(golden: &Golden) -> (String, u64, String) {
    (golden.path.clone(), golden.line, "the header".to_owned())
}

/// What Tidegate makes of settings, or why it refuses them.
fn resolve(settings: &Settings) -> Result<Resolved, String> {
    let cluster = Cluster::read(&settings.configmap).map_err(|error| error.to_string())?;
    let revision = Revision::read(&cluster, &settings.annotations)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))?;
    let is_reachable = settings.is_reachable != Some(false);
    revision
        .resolve(settings.container_concurrency, is_reachable)
        .ok_or_else(|| format!("class {} is another autoscaler's", revision.class()))
}

impl<'a> Play<'a> {
    fn new(
        scenario: &'a Scenario,
        golden: &'a Golden,
        chain: &'a HeldChain,
        resolved: Resolved,
    ) -> Play<'a> {
        let options = Options {
            tick_ms: TICK_MS,
            explains: false,
            gateway_is_always_in_path: false,
            ..Options::default()
        };
        let stages = chain.links(stage_count(scenario.mode)).iter().map(|link| link.stage());
        let engine = Engine::new(options, stages.collect(), Box::new(Nowhere), None)
            .expect("this placement policy asks for nothing");
        Play {
            scenario,
            golden,
            chain,
            engine,
            settings: scenario.settings.clone(),
            resolved,
            start: Time(golden.epoch_s * 1_000),
            pods: Pods::default(),
            rows: Rows::default(),
        }
    }

    /// Gives the engine its target, which has so many ready pods.
    pub(super) fn create(&mut self, ready: u32) -> Result<(), PlayError> {
        let counts = Counts { ready: Some(ready), starting: 0 };
        self.engine
            .add_counted_targets(self.start, vec![(self.spec(), counts)])
            .map_err(|source| self.cannot_bind(source))?;
        let first = self.engine.stage(TARGET, self.chain.first()).expect("a chain has a stage");
        match DEMAND_OUTPUTS.iter().find(|output| !first.gives(output)) {
            None => Ok(()),
            Some(output) => {
                Err(PlayError::NoOutput { stage: self.chain.first().to_owned(), output })
            }
        }
    }

    /// Takes in the settings that change at second `t`.
    pub(super) fn update(&mut self, t: u64) -> Result<(), PlayError> {
        for update in self.scenario.updates.iter().filter(|update| update.t_s == t) {
            update.apply(&mut self.settings);
            match resolve(&self.settings) {
                Ok(resolved) => self.resolved = resolved,
                Err(refused) => {
                    let mut fields = Fields::default();
                    fields.push("updates", format!("refused: {refused}"), "accepted");
                    self.rows.note(fields, || header(self.golden));
                    continue;
                }
            }
            let (now, spec) = (self.start + t * 1_000, self.spec());
            self.engine
                .change_target(now, TARGET, spec)
                .map_err(|source| self.cannot_bind(source))?;
        }
        Ok(())
    }

    /// Steps the engine at second `t`, up to the regular decision if one is due.
    pub(super) fn step(&mut self, t: u64, events: Vec<Event>) -> Result<Plan, PlayError> {
        let plan = self.engine.step(&self.seen(t, events));
        self.sound(t, plan)
    }

    /// The same, but for the regular decision: something else is to happen before that. With an extra one where `is_poked`.
    pub(super) fn step_before_tick(
        &mut self,
        t: u64,
        is_poked: bool,
        events: Vec<Event>,
    ) -> Result<Plan, PlayError> {
        let poked: &[TargetId] = if is_poked { &[TARGET] } else { &[] };
        let plan = self.engine.step_before_ticks(&self.seen(t, events), poked);
        self.sound(t, plan)
    }

    /// What was counted over a second, as an event's content.
    pub(super) fn report(&self, second: u64, concurrency: f64, rps: f64) -> Report {
        let mut values = [f64::NAN; Signal::ALL.len()];
        values[Signal::Concurrency as usize] = concurrency;
        values[Signal::Arrivals as usize] = rps;
        let second = self.golden.epoch_s + second;
        Report { second, values, in_flight: 0, waiting: 0, oldest_wait_ms: 0 }
    }

    /// Replicas, before bounds, that the first stage last wanted; `None`: it never did.
    pub(super) fn wanted(&self) -> Option<u32> {
        self.engine.stage(TARGET, self.chain.first()).and_then(|stage| stage.wanted)
    }

    /// Whether its last decision was valid.
    pub(super) fn is_applied(&self) -> bool {
        self.engine.stage(TARGET, self.chain.first()).is_some_and(|stage| stage.is_applied)
    }

    /// What the first stage decided and what it saw, against `row`. `is_asked`: whether it has decided about anything yet.
    pub(super) fn compare(&self, row: &Row, is_asked: bool, fields: &mut Fields) {
        let stage = self.engine.stage(TARGET, self.chain.first()).expect("a chain has a stage");
        let is_valid = f64::from(u8::from(stage.is_applied));
        fields.flag("valid", is_valid, row.is_valid);
        // Where a decision is not valid, its numbers mean nothing.
        if row.is_valid {
            fields.number("desired", stage.wanted.map_or(f64::NAN, f64::from), row.desired);
            fields.number("ebc", stage.output(EXCESS), row.ebc);
        }
        if is_asked {
            fields.flag("panic", stage.output(IN_PANIC), row.panic);
            fields.number("max_panic", stage.output(HELD), row.max_panic);
        }
        self.compare_averages(row, fields);
    }

    fn compare_averages(&self, row: &Row, fields: &mut Fields) {
        let (averaging, tolerance) = match self.resolved.aggregation {
            Aggregation::Linear => (Averaging::Linear, 0.0),
            Aggregation::WeightedExponential => {
                (Averaging::WeightedExponential, WEIGHTED_TOLERANCE)
            }
        };
        let signal = match self.resolved.metric {
            Metric::Concurrency => Signal::Concurrency,
            Metric::Rps => Signal::Arrivals,
        };
        let second = self.start.second() + row.t_s;
        let window = |span_s: u32| {
            let window = self.engine.window(TARGET, WindowSpec { signal, span_s, averaging })?;
            Some(window.average(second))
        };
        let (stable, panic) =
            (window(self.resolved.stable_window_s), window(self.resolved.panic_window_s));
        let (Some(stable), Some(panic)) = (stable, panic) else {
            fields.push("stable", "the policy asks for no such windows", told(row.stable));
            return;
        };
        // Knative answers "no data" for both windows where the stable one is empty and there is something to scrape, which there is
        // unless the burst capacity is −1. In every other case an empty window is 0.
        let is_no_data = stable.is_none() && self.resolved.target_burst_capacity != -1.0;
        let answer = |ours: Option<f64>| (!is_no_data).then(|| ours.unwrap_or(0.0));
        for (field, ours, theirs) in
            [("stable", answer(stable), row.stable), ("panic_avg", answer(panic), row.panic_avg)]
        {
            let is_equal = match (ours, theirs) {
                (Some(ours), Some(theirs)) => (ours - theirs).abs() <= tolerance * theirs.abs(),
                (None, None) => true,
                (None, Some(_)) | (Some(_), None) => false,
            };
            if !is_equal {
                fields.push(field, told(ours), told(theirs));
            }
        }
    }

    /// Knative decided at second `t`, and there is no row for it, or one too many.
    pub(super) fn miss(&mut self, t: u64, line: u64, ours: &str, theirs: &str) {
        let mut fields = Fields::default();
        fields.push("decision", ours, theirs);
        let path = &self.golden.path;
        self.rows.note(fields, || (path.clone(), line, format!("{t} s")));
    }

    fn seen(&self, t: u64, events: Vec<Event>) -> Observation {
        Observation { at: self.start + t * 1_000, events, in_flight: Vec::new() }
    }

    fn sound(&self, t: u64, plan: Plan) -> Result<Plan, PlayError> {
        match plan.failures.first() {
            None => Ok(plan),
            Some(failure) => Err(PlayError::Failed {
                name: self.scenario.name.clone(),
                stage: failure.stage.clone(),
                t_s: t,
                message: failure.message.clone(),
            }),
        }
    }

    fn cannot_bind(&self, source: crate::engine::BindTargetError) -> PlayError {
        PlayError::Bind { name: self.scenario.name.clone(), source: Box::new(source) }
    }

    fn spec(&self) -> TargetSpec {
        let Settings { configmap, annotations, container_concurrency, is_reachable } =
            &self.settings;
        let links = self.chain.links(stage_count(self.scenario.mode));
        let document = |own: &serde_json::Value| {
            serde_json::json!({
                "settings": own,
                "profile": configmap,
                "service": {
                    "annotations": annotations,
                    "containerConcurrency": container_concurrency,
                    "progressDeadlineMs": self.scenario.progress_deadline_s.saturating_mul(1_000),
                }
            })
        };
        // Open and closed scenarios have decisions before bounds.
        let bounds = match self.scenario.mode {
            Mode::Open | Mode::Closed => Bounds { min: 0, max: 0, initial: 0 },
            Mode::EndToEnd => Bounds {
                min: self.resolved.min_scale,
                max: self.resolved.max_scale,
                initial: self.resolved.initial_scale,
            },
        };
        TargetSpec {
            name: TargetName::of_service("golden"),
            tenant: "default".into(),
            owner: Owner::Other,
            bounds,
            activation: 1,
            is_reachable: *is_reachable,
            scaling_settings: links
                .iter()
                .map(|link| document(&link.settings).to_string())
                .collect(),
            placement_settings: "{}".into(),
            needs: Resources::default(),
            weights_bytes: 0,
        }
    }
}

/// How many stages of the chain a scenario goes through: all it has end to end, else the first, which decides about demand.
fn stage_count(mode: Mode) -> usize {
    match mode {
        Mode::Open | Mode::Closed => 1,
        Mode::EndToEnd => usize::MAX,
    }
}
