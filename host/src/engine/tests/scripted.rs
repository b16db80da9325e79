//! An engine to try things on: policies that say what a function says, the first node that fits, and a plan as a line of text.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use super::super::*;
use crate::policy::wire::{
    Batch, Births, Candidates, Causes, Decisions, Explanation, Inheritance, Input, PlacementInput,
    PlacementProgram, Program, Request, Scope, Source, States, Subject, Window,
};
use crate::policy::{Answer, BindError, CallError, CallErrorKind, PlacementPolicy, ScalingPolicy};

/// What a scripted policy says about one target: its inputs and causes in, its decision out; `None` fails.
pub(in crate::engine) type Says = fn(at_ms: u64, causes: Causes, inputs: &[f64]) -> Option<Said>;

#[derive(Clone, Copy, Default)]
pub(in crate::engine) struct Said {
    pub(in crate::engine) wanted: u32,
    pub(in crate::engine) leave: bool,
    pub(in crate::engine) next_at_ms: u64,
    pub(in crate::engine) output: f64,
}

/// A policy that says what a function says and writes down what it was asked.
pub(in crate::engine) struct Scripted {
    pub(in crate::engine) causes: Causes,
    pub(in crate::engine) inputs: Vec<Source>,
    pub(in crate::engine) says: Says,
    pub(in crate::engine) heard: Arc<Mutex<String>>,
    pub(in crate::engine) name: &'static str,
    pub(in crate::engine) scope: Scope,
}

impl ScalingPolicy for Scripted {
    fn digest(&self) -> &str {
        self.name
    }

    fn bind(&mut self, _: &str) -> Result<Program, BindError> {
        let inputs = self
            .inputs
            .iter()
            .map(|source| Input { source: source.clone(), required: true })
            .collect();
        let outputs = vec![format!("{}-output", self.name)];
        Ok(Program {
            params: Vec::new(),
            scope: self.scope,
            causes: self.causes,
            inputs,
            outputs,
            warnings: Vec::new(),
        })
    }

    fn init(&mut self, born: &Births) -> Result<States, CallError> {
        Ok(States {
            bytes: vec![0; born.params_of.len()],
            ends: (1..=born.params_of.len() as u32).collect(),
        })
    }

    fn decide(&mut self, seen: &Batch, _: usize) -> Answer {
        let n = seen.params_of.len();
        let mut said = Vec::new();
        let mut failed = Vec::new();
        for i in 0..n {
            let inputs: Vec<f64> = (0..self.inputs.len()).map(|k| seen.inputs[k * n + i]).collect();
            let _ = write!(
                self.heard.lock().expect("nobody panics"),
                "{}@{}{:?} ",
                self.name,
                seen.at_ms % 1_000_000,
                inputs
            );
            said.push((self.says)(seen.at_ms, seen.causes_of[i], &inputs).unwrap_or_else(|| {
                let message = "no answer for want of one".to_owned();
                failed.push((
                    i as u32,
                    CallError { kind: CallErrorKind::Refused, culprits: Vec::new(), message },
                ));
                Said::default()
            }));
        }
        let decisions = Decisions {
            wanted: said.iter().map(|one| one.wanted).collect(),
            apply: said.iter().map(|one| !one.leave).collect(),
            next_at_ms: said.iter().map(|one| one.next_at_ms).collect(),
            outputs: said.iter().map(|one| one.output).collect(),
            states: States { bytes: vec![0; n], ends: (1..=n as u32).collect() },
        };
        Answer { decisions, failed, fuel: 0 }
    }

    fn explain(&mut self, seen: &Batch) -> Result<Vec<Explanation>, CallError> {
        let reason = format!("{} saw {:?}", self.name, seen.inputs);
        Ok(vec![Explanation { reason, figures: Vec::new() }])
    }

    fn state_schema(&mut self) -> Result<String, CallError> {
        Ok("scripted/1".to_owned())
    }

    fn migrate(&mut self, from: &Inheritance) -> Result<States, CallError> {
        Ok(from.old.clone())
    }
}

/// Places on the first node with a free GPU; the youngest leaves first.
pub(in crate::engine) struct FirstFit;

impl PlacementPolicy for FirstFit {
    fn digest(&self) -> &str {
        "native:first-fit"
    }

    fn inputs(&mut self) -> Result<Vec<PlacementInput>, CallError> {
        let input =
            |subject, name: &str| PlacementInput { subject, name: name.to_owned(), required: true };
        Ok(vec![input(Subject::Node, "free-gpus"), input(Subject::Candidate, "started-at-ms")])
    }

    fn bind(&mut self, _: &str) -> Result<PlacementProgram, BindError> {
        Ok(PlacementProgram { params: Vec::new(), warnings: Vec::new() })
    }

    fn place(&mut self, asked: &Request) -> Result<Vec<Option<u32>>, CallError> {
        let mut free = asked.nodes.facts.clone();
        Ok((0..asked.replicas.params_of.len())
            .map(|_| {
                let node = free.iter().position(|&free| free >= 1.0)?;
                free[node] -= 1.0;
                Some(node as u32)
            })
            .collect())
    }

    fn explain(&mut self, _: &Request) -> Result<Vec<Explanation>, CallError> {
        Ok(Vec::new())
    }

    fn rank(&mut self, asked: &Candidates) -> Result<Vec<u32>, CallError> {
        Ok((0..asked.choices.len() as u32).rev().collect())
    }
}

/// What scripted policies were asked.
pub(in crate::engine) type Heard = Arc<Mutex<String>>;

pub(in crate::engine) const START: Time = Time::TRACE_START;
pub(in crate::engine) const SECOND: u64 = 1_000;

pub(in crate::engine) fn window() -> Source {
    Source::Window(Window { signal: "concurrency".into(), span_s: 4, averaging: "linear".into() })
}

pub(in crate::engine) fn fact(name: &str) -> Source {
    Source::Fact(name.into())
}

pub(in crate::engine) fn proposal() -> Source {
    Source::Output("proposal".into())
}

/// An engine with one node of `gpus` GPUs, targets of those names and bounds, and scripted stages.
pub(in crate::engine) struct Bench {
    pub(in crate::engine) engine: Engine,
    pub(in crate::engine) heard: Arc<Mutex<String>>,
}

pub(in crate::engine) fn stage(
    bench: &Arc<Mutex<String>>,
    name: &'static str,
    causes: Causes,
    inputs: Vec<Source>,
    says: Says,
    on_failure: OnFailure,
) -> Stage {
    Stage::new(
        name,
        Box::new(Scripted {
            causes,
            inputs,
            says,
            heard: bench.clone(),
            name,
            scope: Scope::Target,
        }),
        on_failure,
    )
}

pub(in crate::engine) fn spec(name: &str, min: u32, max: u32, initial: u32) -> TargetSpec {
    TargetSpec {
        name: TargetName::of_service(name),
        tenant: "default".into(),
        owner: Owner::Tidegate,
        bounds: Bounds { min, max, initial },
        activation: 1,
        is_reachable: Some(true),
        scaling_settings: Vec::new(),
        placement_settings: "{}".into(),
        needs: Resources { cpu_milli: 0, memory_bytes: 0, gpus: 1 },
        weights_bytes: 0,
    }
}

pub(in crate::engine) fn bench(
    stages: Vec<Stage>,
    heard: Arc<Mutex<String>>,
    specs: Vec<TargetSpec>,
) -> Bench {
    let options = Options {
        tick_ms: 2 * SECOND,
        explains: true,
        gateway_is_always_in_path: true,
        ..Options::default()
    };
    let mut engine =
        Engine::new(options, stages, Box::new(FirstFit), None).expect("it says what it wants");
    engine.add_targets(START, specs).expect("the settings are fine");
    Bench { engine, heard }
}

impl Bench {
    /// Steps at `s` seconds with those events; gives what was planned, a line.
    pub(in crate::engine) fn step(&mut self, s: u64, events: Vec<Event>) -> String {
        let plan = self.engine.step(&Observation {
            at: START + s * SECOND,
            events,
            in_flight: Vec::new(),
        });
        let mut line = String::new();
        for action in &plan.actions {
            let _ = match action {
                Action::Start { replica, .. } => {
                    write!(line, "start {}/{} ", replica.target.0, replica.ordinal)
                }
                Action::Scale { target, to } => write!(line, "scale {} to {to} ", target.0),
                Action::Drain { replica } => {
                    write!(line, "drain {}/{} ", replica.target.0, replica.ordinal)
                }
            };
        }
        for change in &plan.changes {
            let from = change.from.map_or("-".to_owned(), |from| from.to_string());
            let _ = write!(line, "{}: {from}→{} ", change.target.0, change.to);
            for clamp in &change.clamps {
                let _ = write!(line, "({:?} {}→{}) ", clamp.rule, clamp.from, clamp.to);
            }
        }
        for failure in &plan.failures {
            let aside = failure.quarantined_until.map_or(String::new(), |until| {
                format!(", aside until {}s", until.since(START) / SECOND)
            });
            let StageFailure { stage, message, instead, .. } = failure;
            let _ = write!(line, "[{stage} failed: {message}, {instead}{aside}] ");
        }
        let _ = match plan.wake_at {
            Time::NEVER => write!(line, "wake never"),
            wake => write!(line, "wake {}s", wake.since(START) / SECOND),
        };
        line
    }

    pub(in crate::engine) fn heard(&mut self) -> String {
        std::mem::take(&mut *self.heard.lock().expect("nobody panics")).trim().to_owned()
    }
}

pub(in crate::engine) fn nodes(gpus: u32) -> Event {
    Event::Nodes(vec![Node {
        name: "node-a".into(),
        labels: Default::default(),
        taints: Vec::new(),
        allocatable: Resources { cpu_milli: 0, memory_bytes: 0, gpus },
        gpu_memory_bytes: 0,
        gpu_class: "A40".into(),
        usd_per_gpu_hour: None,
        is_spot: false,
    }])
}

pub(in crate::engine) fn report(target: u32, s: u64, concurrency: f64) -> Event {
    let values = [concurrency, concurrency, f64::NAN, f64::NAN];
    Event::Report(
        TargetId(target),
        Report { second: START.second() + s, values, in_flight: 0, waiting: 0, oldest_wait_ms: 0 },
    )
}

pub(in crate::engine) fn phase(target: u32, ordinal: u32, phase: Phase) -> Event {
    Event::Replica(ReplicaId { target: TargetId(target), ordinal }, phase)
}

/// As many replicas as requests in flight; no data leaves things, until something is reported.
pub(in crate::engine) fn as_many(_: u64, _: Causes, inputs: &[f64]) -> Option<Said> {
    Some(match inputs[0] {
        nothing if nothing.is_nan() => {
            Said { leave: true, next_at_ms: u64::MAX, ..Said::default() }
        }
        load => Said { wanted: load.ceil() as u32, ..Said::default() },
    })
}

pub(in crate::engine) fn one_stage(
    says: Says,
    on_failure: OnFailure,
    specs: Vec<TargetSpec>,
) -> Bench {
    let heard = Arc::default();
    let stages =
        vec![stage(&heard, "first", Causes::TICK | Causes::POKE, vec![window()], says, on_failure)];
    bench(stages, heard, specs)
}
