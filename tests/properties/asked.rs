//! The two policies of Knative as things that are asked about rows: from moments of services to the columns of a batch and back.

use std::sync::OnceLock;

use tidegate::policy::native::NativeScaling;
use tidegate::policy::wire::{Batch, Births, Causes, Program, Source, States};
use tidegate::policy::{Limits, Package, Sandbox, ScalingPolicy, builtin};

use crate::random::{Moment, Ready, Service};

pub const START_MS: u64 = 1_704_067_200_000;

/// Which policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Which {
    Knative,
    ScaleToZero,
}

impl Which {
    pub const BOTH: [Which; 2] = [Which::Knative, Which::ScaleToZero];

    pub fn native(self) -> Box<dyn ScalingPolicy> {
        match self {
            Which::Knative => Box::new(NativeScaling::<tidegate_knative::Knative>::new("knative")),
            Which::ScaleToZero => {
                Box::new(NativeScaling::<tidegate_scale_to_zero::ScaleToZero>::new("scale-to-zero"))
            }
        }
    }

    pub fn sandboxed(self) -> Box<dyn ScalingPolicy> {
        static PACKAGES: OnceLock<[Package; 2]> = OnceLock::new();
        let [knative, zero] = PACKAGES.get_or_init(|| {
            let sandbox = Sandbox::new(Limits::default()).expect("a sandbox");
            ["knative", "scale-to-zero"].map(|name| {
                let component = builtin::builtin(name).expect("it is built in");
                sandbox.load_trusted(component).expect("it loads")
            })
        });
        let package = match self {
            Which::Knative => knative,
            Which::ScaleToZero => zero,
        };
        Box::new(package.scaling().expect("it scales"))
    }
}

/// What a policy said about one target, with outputs as bits, since NaN does not equal itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub wanted: u32,
    pub apply: bool,
    pub next_at_ms: u64,
    pub outputs: Vec<u64>,
    pub state: Vec<u8>,
}

impl Said {
    pub fn output(&self, at: usize) -> f64 {
        f64::from_bits(self.outputs[at])
    }
}

/// One target to be asked about.
#[derive(Clone)]
pub struct Row<'a> {
    pub service: &'a Service,
    pub moment: Moment,
    pub ready: f64,
    pub state: Vec<u8>,
}

/// A policy with the settings of some services bound to it.
pub struct Asked {
    which: Which,
    policy: Box<dyn ScalingPolicy>,
}

impl Asked {
    pub fn new(which: Which, policy: Box<dyn ScalingPolicy>) -> Asked {
        Asked { which, policy }
    }

    pub fn bind(&mut self, service: &Service) -> Program {
        let program = self.policy.bind(&service.document);
        program.unwrap_or_else(|error| panic!("{error}: {:?}: {}", error, service.document))
    }

    /// The first states, for services with so many ready replicas.
    pub fn born(&mut self, of: &[(&Service, f64)]) -> Vec<Vec<u8>> {
        let params = of.iter().map(|(service, _)| self.bind(service).params).collect();
        let params_of = (0..of.len() as u32).collect();
        let ready = of.iter().map(|(_, ready)| *ready).collect();
        let born = Births { at_ms: START_MS, params, params_of, ready };
        split(&self.policy.init(&born).expect("they are born"))
    }

    /// The decisions about rows, in one batch. Params stand in the batch in the order of rows, each once.
    pub fn decide(&mut self, at_ms: u64, rows: &[Row<'_>]) -> Vec<Said> {
        let programs: Vec<Program> = rows.iter().map(|row| self.bind(row.service)).collect();
        let n = rows.len();
        let columns = programs.iter().map(|program| program.inputs.len()).max().unwrap_or(0);
        let outputs = programs.iter().map(|program| program.outputs.len()).max().unwrap_or(0);
        let mut batch = Batch {
            at_ms,
            causes_of: Vec::new(),
            params: Vec::new(),
            params_of: Vec::new(),
            groups: (0..n as u32).collect(),
            states: States { bytes: Vec::new(), ends: Vec::new() },
            inputs: vec![f64::NAN; columns * n],
            words: Vec::new(),
        };
        for (i, (row, program)) in rows.iter().zip(&programs).enumerate() {
            let known = batch.params.iter().position(|params| *params == program.params);
            batch.params_of.push(known.unwrap_or(batch.params.len()) as u32);
            if known.is_none() {
                batch.params.push(program.params.clone());
            }
            batch.causes_of.push(self.causes(row.moment));
            batch.states.bytes.extend_from_slice(&row.state);
            batch.states.ends.push(batch.states.bytes.len() as u32);
            let mut windows = averages(row).into_iter();
            for (column, input) in program.inputs.iter().enumerate() {
                batch.inputs[column * n + i] = match &input.source {
                    // The policy asks for the stable window first.
                    Source::Window(_) => windows.next().expect("there are two windows at most"),
                    Source::Fact(name) | Source::Output(name) => named(name, at_ms, row),
                };
            }
        }
        let answer = self.policy.decide(&batch, outputs);
        assert!(answer.failed.is_empty(), "{:?}", answer.failed);
        let decisions = answer.decisions;
        let states = split(&decisions.states);
        let said = |(i, state): (usize, Vec<u8>)| Said {
            wanted: decisions.wanted[i],
            apply: decisions.apply[i],
            next_at_ms: decisions.next_at_ms[i],
            outputs: (0..programs[i].outputs.len())
                .map(|column| decisions.outputs[column * n + i].to_bits())
                .collect(),
            state,
        };
        states.into_iter().enumerate().map(said).collect()
    }

    /// `knative` hears ticks and pokes; `scale-to-zero` whatever the moment says.
    fn causes(&self, moment: Moment) -> Causes {
        let all = [Causes::CREATED, Causes::TICK, Causes::POKE, Causes::CHANGE, Causes::TIMER];
        match self.which {
            Which::Knative => Causes::TICK,
            Which::ScaleToZero => all
                .into_iter()
                .enumerate()
                .filter(|(at, _)| moment.causes & (1 << at) != 0)
                .fold(Causes::empty(), |causes, (_, cause)| causes | cause),
        }
    }
}

/// What the stable and the panic window read. Two of equal length are one.
pub fn averages(row: &Row<'_>) -> [f64; 2] {
    let (moment, resolved) = (row.moment, &row.service.resolved);
    let is_one = resolved.stable_window_s == resolved.panic_window_s;
    let panic = if is_one { moment.stable } else { moment.panic };
    [moment.stable, panic].map(|load| load * resolved.target_value)
}

fn named(name: &str, at_ms: u64, row: &Row<'_>) -> f64 {
    let moment = row.moment;
    let flag = |bit: u8| f64::from(moment.flags >> bit & 1);
    let bounds = row.service.bounds;
    match name {
        "ready-replicas" => row.ready,
        "reachable" => moment.reachable,
        "proposal" => moment.proposal,
        "needs-gateway" => flag(0),
        "is-initialised" => flag(1),
        "gateway-answers" => flag(2),
        "gateway-in-path-since-ms" if flag(3) == 0.0 => f64::NAN,
        "gateway-in-path-since-ms" => (at_ms - moment.in_path_ms) as f64,
        "min-replicas" => f64::from(bounds.min),
        "initial-replicas" => f64::from(bounds.initial),
        other => panic!("the policies ask for {other}, which this test does not give"),
    }
}

fn split(states: &States) -> Vec<Vec<u8>> {
    let begins = [0].into_iter().chain(states.ends.iter().copied());
    let piece = |(from, to): (u32, &u32)| states.bytes[from as usize..*to as usize].to_vec();
    begins.zip(&states.ends).map(piece).collect()
}

/// Ready replicas at a moment, after so many were wanted.
pub fn ready(moment: Moment, wanted: u32) -> f64 {
    match moment.ready {
        Ready::AsWanted => f64::from(wanted.min(1_000_000)),
        Ready::Are(count) => f64::from(count),
        Ready::Unknown => f64::NAN,
    }
}
