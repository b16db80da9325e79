//! The work that benches measure: engines with many services and the observations of their ticks.

use crate::engine::{
    Bounds, Counts, Engine, Event, Observation, OnFailure, Options, Owner, Report, Resources,
    Signal, Stage, TargetId, TargetName, TargetSpec,
};
use crate::policy::wire::{Candidates, Explanation, PlacementInput, PlacementProgram, Request};
use crate::policy::{BindError, CallError, PlacementPolicy, ScalingPolicy};
use crate::time::Time;

/// Length of a tick. Milliseconds.
const TICK_MS: u64 = 2_000;

/// Many services of one tenant whose replicas something else owns, tick after tick.
pub struct Services {
    engine: Engine,
    count: u32,
    now: Time,
    tick: u64,
}

impl Services {
    /// `count` services with the built-in `gpu` profile, decided by a policy for each name in `stages`.
    pub fn new(count: u32, stages: Vec<(&str, Box<dyn ScalingPolicy>)>) -> Services {
        let options =
            Options { tick_ms: TICK_MS, explains: false, gateway_is_always_in_path: true };
        let document = document();
        let stages: Vec<Stage> = stages
            .into_iter()
            .map(|(name, policy)| Stage::new(name, policy, OnFailure::Hold))
            .collect();
        let settings = vec![document; stages.len()];
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
        let mut services = Services { engine, count, now, tick: 0 };
        // Past creation, panic at birth and the filling of windows.
        for _ in 0..200 {
            services.tick();
        }
        services
    }

    /// Two seconds of reports for every service, and the decisions about them. Load moves up and down so that every service wants
    /// another number of replicas than a tick ago, and every stage is asked about every service.
    pub fn tick(&mut self) -> usize {
        self.tick += 1;
        self.now = self.now + TICK_MS;
        let mut events = Vec::with_capacity(2 * self.count as usize);
        for nth in 0..self.count {
            for back in [1, 0] {
                let mut values = [f64::NAN; Signal::ALL.len()];
                values[Signal::Concurrency as usize] =
                    f64::from(nth % 7) + if self.tick.is_multiple_of(2) { 4_000.0 } else { 1.0 };
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
    let profile = tidegate_settings::profile("gpu").expect("it is built in").config();
    let settings = serde_json::json!({
        "settings": {},
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

/// Places nothing.
struct Nowhere;

impl PlacementPolicy for Nowhere {
    fn digest(&self) -> &str {
        "native:nowhere"
    }
    fn inputs(&mut self) -> Result<Vec<PlacementInput>, CallError> {
        Ok(Vec::new())
    }
    fn bind(&mut self, _: &str) -> Result<PlacementProgram, BindError> {
        Ok(PlacementProgram { params: Vec::new(), warnings: Vec::new() })
    }
    fn place(&mut self, asked: &Request) -> Result<Vec<Option<u32>>, CallError> {
        Ok(vec![None; asked.replicas.params_of.len()])
    }
    fn explain(&mut self, _: &Request) -> Result<Vec<Explanation>, CallError> {
        Ok(Vec::new())
    }
    fn rank(&mut self, _: &Candidates) -> Result<Vec<u32>, CallError> {
        Ok(Vec::new())
    }
}
