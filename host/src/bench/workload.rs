//! The work that benches measure: batches, engines with many services and the observations of their ticks, replays.

use std::error::Error;

use super::policy::MeasureError;
use super::{ReplayTimes, component_stages, now};
use crate::backend::sim::Faults;
use crate::definitions::model::Catalogue;
use crate::definitions::node::Fleet;
use crate::definitions::profile::Profile;
use crate::definitions::service::Service;
use crate::engine::{
    Bounds, Counts, Engine, Event, Observation, OnFailure, Options, Owner, Report, Resources,
    Signal, Stage, TargetId, TargetName, TargetSpec,
};
use crate::policy::native::{NativePlacement, Nowhere};
use crate::policy::wire::{Batch, Births, Causes, Source};
use crate::policy::{Sandbox, ScalingPolicy, builtin};
use crate::replay::{Load, Policies, Replay, Setting};
use crate::seed::Seed;
use crate::time::Time;
use crate::trace::{Item, TokenDistribution, Work};

/// Length of a tick. Milliseconds.
const TICK_MS: u64 = 2_000;

/// Many services of one tenant whose replicas something else owns, tick after tick.
pub struct Services {
    engine: Engine,
    count: u32,
    moves: bool,
    now: Time,
    tick: u64,
}

impl Services {
    /// `count` services with the built-in `gpu` profile, decided by a policy for each name in `stages`. With `moves`, load moves so
    /// much that every service wants another number of replicas than a tick ago, and the stages after the first are asked about
    /// all of them as well, until they settle; without, it moves a little.
    pub fn new(count: u32, moves: bool, stages: Vec<(&str, Box<dyn ScalingPolicy>)>) -> Services {
        Services::of(&document(), count, moves, stages)
    }

    /// The same with every setting of a built-in profile, its windows above all.
    pub fn of_profile(
        name: &str,
        count: u32,
        stages: Vec<(&str, Box<dyn ScalingPolicy>)>,
    ) -> Services {
        let profile = tidegate_settings::profile(name).expect("it is built in").config();
        let service = serde_json::json!({"annotations": {}, "containerConcurrency": 8});
        let document = serde_json::json!({"settings": {}, "profile": profile, "service": service});
        Services::of(&document.to_string(), count, false, stages)
    }

    fn of(
        document: &str,
        count: u32,
        moves: bool,
        stages: Vec<(&str, Box<dyn ScalingPolicy>)>,
    ) -> Services {
        let options = Options {
            tick_ms: TICK_MS,
            explains: false,
            gateway_is_always_in_path: true,
            ..Options::default()
        };
        let stages: Vec<Stage> = stages
            .into_iter()
            .map(|(name, policy)| Stage::new(name, policy, OnFailure::Hold))
            .collect();
        let settings = vec![document.to_owned(); stages.len()];
        let mut engine =
            Engine::new(options, stages, Box::new(Nowhere), None).expect("it asks for nothing");
        let specs = (0..count).map(|nth| {
            let spec = TargetSpec {
                name: TargetName::of_service(&format!("service-{nth:05}")),
                tenant: "default".into(),
                owner: Owner::Other,
                bounds: Bounds { min: 0, max: 0, initial: 1 },
                activation: 1,
                is_reachable: Some(true),
                scaling_settings: settings.clone(),
                placement_settings: "{}".into(),
                needs: Resources::default(),
                weights_bytes: 0,
            };
            (spec, Counts { ready: Some(2), starting: 0 })
        });
        let now = Time::TRACE_START;
        engine.add_counted_targets(now, specs.collect()).expect("the settings are in order");
        let mut services = Services { engine, count, moves, now, tick: 0 };
        // Past creation, panic at birth and the filling of windows.
        for _ in 0..200 {
            services.tick();
        }
        services
    }

    /// Two seconds of reports for every service, and the decisions about them. Gives how many were decided otherwise than before.
    pub fn tick(&mut self) -> usize {
        self.tick += 1;
        self.now = self.now + TICK_MS;
        let high = if self.moves { 4_000.0 } else { 1.5 };
        let mut events = Vec::with_capacity(2 * self.count as usize);
        for nth in 0..self.count {
            for back in [1, 0] {
                let mut values = [f64::NAN; Signal::ALL.len()];
                values[Signal::Concurrency as usize] =
                    f64::from(nth % 7) + if self.tick.is_multiple_of(2) { high } else { 1.0 };
                values[Signal::Arrivals as usize] = f64::from(nth % 5);
                events.push(Event::Report(
                    TargetId(nth),
                    Report {
                        second: self.now.second() - back,
                        values,
                        in_flight: 3,
                        waiting: 0,
                        oldest_wait_ms: 0,
                    },
                ));
            }
        }
        let plan = self.engine.step(&Observation { at: self.now, events, in_flight: Vec::new() });
        assert!(plan.failures.is_empty(), "{:?}", plan.failures);
        plan.changes.len()
    }
}

/// The settings document of a service with the `gpu` profile, without the delay and the panic that would keep decisions as they are.
pub fn document() -> String {
    document_with(&serde_json::json!({}))
}

/// The same with settings of the policy's own.
pub fn document_with(own: &serde_json::Value) -> String {
    let profile = tidegate_settings::profile("gpu").expect("it is built in").config();
    let settings = serde_json::json!({
        "settings": own,
        "profile": profile,
        "service": {
            "annotations": {
                "autoscaling.knative.dev/scale-down-delay": "0s",
                "autoscaling.knative.dev/window": "6s",
            },
            "containerConcurrency": 8,
        },
    });
    settings.to_string()
}

/// A batch of `count` targets under load for a policy, and how many outputs come back.
///
/// # Errors
///
/// When the policy refuses the built-in profile.
pub fn batch(policy: &mut dyn ScalingPolicy, count: u32) -> Result<(Batch, usize), Box<dyn Error>> {
    Ok(batch_with(policy, &document(), count)?)
}

/// The same with a settings document.
///
/// # Errors
///
/// When the policy refuses that, or cannot make first states.
pub fn batch_with(
    policy: &mut dyn ScalingPolicy,
    document: &str,
    count: u32,
) -> Result<(Batch, usize), MeasureError> {
    let program = policy.bind(document)?;
    let n = count as usize;
    let params = vec![program.params];
    let params_of = vec![0; n];
    let at_ms = Time::TRACE_START.0;
    let born = Births { at_ms, params: params.clone(), params_of, ready: vec![1.0; n] };
    let states = policy.init(&born)?;
    let mut inputs = Vec::with_capacity(program.inputs.len() * n);
    for input in &program.inputs {
        inputs.extend((0..count).map(|nth| match &input.source {
            Source::Window(_) => f64::from(nth % 97) + 0.25,
            Source::Fact(_) | Source::Output(_) => 1.0,
        }));
    }
    let has_texts = program.inputs.iter().any(
        |input| matches!(&input.source, Source::Fact(name) if name == "role" || name == "pool"),
    );
    let words: &[&str] = if has_texts { &["predictor", "default"] } else { &[] };
    let batch = Batch {
        at_ms: at_ms + TICK_MS,
        causes_of: vec![Causes::TICK; n],
        params,
        params_of: born.params_of,
        groups: (0..count).collect(),
        states,
        inputs,
        // What a fact that is a text reads as: the second of these.
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    };
    Ok((batch, program.outputs.len()))
}

/// A replay of dense load: 1,600 requests a second for one service, the mean of the busiest service of the recorded rates.
pub struct Dense(Replay);

/// A replay of a quiet day: 1.2 requests a second for 24 hours.
pub struct Quiet(Replay);

impl Dense {
    /// Ready to run.
    ///
    /// # Errors
    ///
    /// When a built-in policy does not load.
    pub fn new(sandbox: &Sandbox) -> Result<Dense, Box<dyn Error>> {
        replay(sandbox, poisson(1_600.0, 600.0), 600.0).map(Dense)
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// None that should be.
    pub fn run(self) -> Result<ReplayTimes, Box<dyn Error>> {
        timed("dense: 3,200 requests a tick", self.0)
    }
}

impl Quiet {
    /// Ready to run.
    ///
    /// # Errors
    ///
    /// When a built-in policy does not load.
    pub fn new(sandbox: &Sandbox) -> Result<Quiet, Box<dyn Error>> {
        replay(sandbox, poisson(1.2, 86_400.0), 86_400.0).map(Quiet)
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// None that should be.
    pub fn run(self) -> Result<ReplayTimes, Box<dyn Error>> {
        timed("quiet: 24 h at 1.2 requests/s", self.0)
    }
}

fn timed(load: &'static str, replay: Replay) -> Result<ReplayTimes, Box<dyn Error>> {
    let begun = now();
    let outcome = replay.run(None, &mut |_| {})?;
    let seconds = begun.elapsed().as_secs_f64();
    let ticks = (outcome.setup.duration_s * 1e3) as u64 / outcome.setup.tick_ms;
    Ok(ReplayTimes { load, requests: outcome.summary.whole.requests.arrived, ticks, seconds })
}

/// A replay of `load` for one small model a service, on a fleet that has room, through the three built-in policies, sandboxed. It
/// ends after `until_s` seconds.
///
/// # Errors
///
/// When a built-in policy does not load.
pub fn replay(sandbox: &Sandbox, load: Load, until_s: f64) -> Result<Replay, Box<dyn Error>> {
    let catalogue = Catalogue::builtin();
    let service = |name: &String| Service {
        model: catalogue.default_small_model().clone(),
        container_concurrency: 64,
        ..Service::default_for(name, &catalogue)
    };
    let services = load.services.iter().map(service).collect();
    let mut fleet = Fleet::builtin();
    let first = fleet.machines[0].clone();
    fleet.machines.extend((0..200).map(|nth| {
        let mut machine = first.clone();
        machine.node.name = format!("bench-{nth:03}");
        machine
    }));
    fleet.machines.sort_by(|one, other| one.node.name.cmp(&other.node.name));
    let place = sandbox.load_trusted(builtin::builtin("affinity").ok_or("it is not built in")?)?;
    let policies = Policies {
        stages: component_stages(sandbox)?
            .into_iter()
            .map(|(name, policy)| {
                (Stage::new(name, policy, OnFailure::Hold), serde_json::json!({}))
            })
            .collect(),
        placement: (Box::new(place.placement().ok_or("it does not place")?), serde_json::json!({})),
        fallback: Some(Box::new(NativePlacement::<tidegate_affinity::Affinity>::new("affinity"))),
        limits: Some(sandbox.limits().clone().into()),
    };
    let setting = Setting {
        load,
        traces: vec!["bench".to_owned()],
        services,
        catalogue,
        fleet,
        profile: Profile::find("gpu")?.0,
        faults: Faults::default(),
        seed: "bench".to_owned(),
        start: Time::TRACE_START,
        until_ms: Some((until_s * 1e3) as u64),
        explains: false,
        makes_room: false,
        warnings: Vec::new(),
    };
    Ok(Replay::new(setting, policies)?)
}

/// Seeded Poisson arrivals, with the lengths that rate tables have where nobody says.
fn poisson(rate: f64, duration_s: f64) -> Load {
    let seed = Seed::new("bench");
    let (mut gaps, mut lengths) =
        (seed.draws("arrivals", "load", 0), seed.draws("tokens", "load", 0));
    let tokens = TokenDistribution::default();
    let mut at_us = 0;
    let items = std::iter::from_fn(move || {
        at_us += (gaps.exponential(1.0 / rate) * 1e6) as u64;
        let (prompt, output) = (tokens.prompt.draw(&mut lengths), tokens.output.draw(&mut lengths));
        let work = Work::Tokens { prompt, output };
        (at_us < (duration_s * 1e6) as u64).then_some(Ok(Item::Arrival { at_us, service: 0, work }))
    });
    Load {
        services: vec!["load".to_owned()],
        end_us: (duration_s * 1e6) as u64,
        items: Box::new(items),
    }
}
