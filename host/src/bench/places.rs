//! What a placement policy takes: time, fuel and memory by the size of the fleet and the number of replicas.

use std::fmt::Write as _;

use serde::Serialize;

use super::median;
use super::policy::MeasureError;
use crate::policy::native::NativePlacement;
use crate::policy::wire::{
    Candidates, Nodes, PlacementInput, Replicas, Request, Subject, TaintEffect,
};
use crate::policy::{CallError, ComponentPlacement, Package, PlacementPolicy, Spent};
use crate::time::Time;

/// How much is to be decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetSize {
    /// Nodes that there are.
    pub nodes: u32,
    /// Replicas that need a place at once.
    pub replicas: u32,
}

/// The sizes that are measured: one replica on ever larger fleets, then many at once.
pub const FLEETS: [FleetSize; 6] = [
    FleetSize { nodes: 10, replicas: 1 },
    FleetSize { nodes: 100, replicas: 1 },
    FleetSize { nodes: 1_000, replicas: 1 },
    FleetSize { nodes: 10, replicas: 10 },
    FleetSize { nodes: 200, replicas: 100 },
    FleetSize { nodes: 1_000, replicas: 1_000 },
];

/// Choices on a fleet of one size.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacesMeasured {
    /// Nodes that there are.
    pub nodes: u32,
    /// Replicas that are placed at once; of as many that run, half leave.
    pub replicas: u32,
    /// Replicas that found a node.
    pub placed: u32,
    /// One replica placed by the component. Nanoseconds.
    pub place_ns: f64,
    /// One replica placed by plain Rust, where the policy is built in. Nanoseconds.
    pub native_ns: Option<f64>,
    /// One replica ranked by the component. Nanoseconds.
    pub rank_ns: f64,
    /// Fuel of placing them all.
    pub fuel: u64,
    /// Fuel that that may take.
    pub fuel_limit: u64,
    /// Most memory that an instance had. Bytes.
    pub memory_bytes: u64,
    /// What went wrong, where there was no answer; the other numbers then say little.
    pub failure: Option<String>,
}

/// The policy of that name as plain Rust.
pub(super) fn native(name: &str) -> Option<Box<dyn PlacementPolicy>> {
    match name {
        "affinity" => Some(Box::new(NativePlacement::<tidegate_affinity::Affinity>::new(name))),
        _ => None,
    }
}

pub(super) fn measured(
    package: &Package,
    policy: &mut ComponentPlacement,
    native: Option<&mut (dyn PlacementPolicy + 'static)>,
    settings: &serde_json::Value,
    size: FleetSize,
) -> Result<PlacesMeasured, MeasureError> {
    // Half of the nodes have the label, and a third of them a taint that is tolerated.
    let document = serde_json::json!({
        "settings": settings,
        "profile": {},
        "service": { "pod": {
            "nodeSelector": { "bench/half": "0" },
            "tolerations": [{ "key": "bench/spot", "operator": "Exists" }],
        } },
    })
    .to_string();
    let params = policy.bind(&document)?.params;
    let inputs = policy.inputs()?;
    let asked = request(&inputs, params.clone(), size);
    let candidates = candidates(&inputs, params, size);
    let FleetSize { nodes, replicas } = size;
    let mut one = PlacesMeasured {
        nodes,
        replicas,
        placed: 0,
        place_ns: 0.0,
        native_ns: None,
        rank_ns: 0.0,
        fuel: 0,
        fuel_limit: 0,
        memory_bytes: 0,
        failure: None,
    };
    package.take_most_memory();
    let placed = policy.place(&asked);
    one.memory_bytes = package.take_most_memory();
    Spent { fuel: one.fuel, limit: one.fuel_limit } = policy.spent();
    let failed = |what: &str, error: CallError| Some(format!("{what}: {}", error.message));
    match placed {
        Ok(placed) => one.placed = placed.iter().flatten().count() as u32,
        Err(error) => {
            one.failure = failed("no replica got a place", error);
            return Ok(one);
        }
    }
    if let Err(error) = policy.rank(&candidates) {
        one.failure = failed("nobody was ranked", error);
        return Ok(one);
    }
    let repeats = (200_000 / (nodes * replicas)).clamp(1, 500);
    let each = 1e9 / (f64::from(repeats) * f64::from(replicas));
    one.place_ns = each
        * median(|| {
            for _ in 0..repeats {
                std::hint::black_box(policy.place(&asked).is_ok());
            }
        });
    one.rank_ns = each
        * median(|| {
            for _ in 0..repeats {
                std::hint::black_box(policy.rank(&candidates).is_ok());
            }
        });
    if let Some(native) = native {
        native.bind(&document)?;
        one.native_ns = Some(
            each * median(|| {
                for _ in 0..repeats {
                    std::hint::black_box(native.place(&asked).is_ok());
                }
            }),
        );
    }
    Ok(one)
}

/// Appends a table for a person.
pub(super) fn render(places: &[PlacesMeasured], text: &mut String) {
    let has_native = places.iter().any(|one| one.native_ns.is_some());
    let native = if has_native { "   native ns" } else { "" };
    let _ = writeln!(
        text,
        "   nodes  replicas  one placed, ns{native}  one ranked, ns    fuel each  of the budget     memory"
    );
    for one in places {
        let sizes = format!("{:>8}  {:>8}", one.nodes, one.replicas);
        if let Some(failure) = &one.failure {
            let _ = writeln!(text, "{sizes}  failed: {failure}");
            continue;
        }
        let native = one.native_ns.map_or(String::new(), |native| format!("{native:>12.0}"));
        let _ = writeln!(
            text,
            "{sizes}  {:>14.0}{native}  {:>14.0}  {:>11.0}  {:>11.1} %  {:>6.0} KiB",
            one.place_ns,
            one.rank_ns,
            one.fuel as f64 / f64::from(one.replicas),
            one.fuel as f64 / one.fuel_limit as f64 * 100.0,
            one.memory_bytes as f64 / 1_024.0
        );
    }
    text.push_str(
        "\nHalf of the nodes have the label that the pods ask for. Fuel is the same on every machine; a call has as much as its\n\
         replicas, its nodes and each of the one on each of the other come to (`limits.fuelPerPair`).\n",
    );
}

/// Texts of a call, each once.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn of(&mut self, text: &str) -> u32 {
        let known = self.0.iter().position(|known| known == text);
        known.unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        }) as u32
    }
}

/// A fleet with a few labels a node. Every fact that the catalogue has is known.
fn fleet(inputs: &[PlacementInput], count: u32) -> (Nodes, Vec<String>) {
    let mut texts = Texts::default();
    let keys = ["bench/half", "bench/zone", "kubernetes.io/arch"].map(|key| texts.of(key));
    let halves = ["0", "1"].map(|value| texts.of(value));
    let zones = ["a", "b", "c"].map(|value| texts.of(value));
    let (arch, spot, empty) = (texts.of("amd64"), texts.of("bench/spot"), texts.of(""));
    let mut words = texts.0;
    let mut nodes = Nodes {
        names: Vec::new(),
        label_keys: Vec::new(),
        label_values: Vec::new(),
        label_ends: Vec::new(),
        taint_keys: Vec::new(),
        taint_values: Vec::new(),
        taint_effects: Vec::new(),
        taint_ends: Vec::new(),
        facts: Vec::new(),
    };
    for nth in 0..count {
        nodes.names.push(words.len() as u32);
        words.push(format!("node-{nth:05}"));
        nodes.label_keys.extend(keys);
        nodes.label_values.extend([
            halves[nth as usize % halves.len()],
            zones[nth as usize % zones.len()],
            arch,
        ]);
        nodes.label_ends.push(nodes.label_keys.len() as u32);
        if nth % 3 == 0 {
            nodes.taint_keys.push(spot);
            nodes.taint_values.push(empty);
            nodes.taint_effects.push(TaintEffect::NoSchedule);
        }
        nodes.taint_ends.push(nodes.taint_keys.len() as u32);
    }
    for name in names(inputs, Subject::Node) {
        nodes.facts.extend((0..count).map(|nth| match name {
            "free-cpu" => 96.0,
            "free-memory-bytes" => 768e9,
            "free-gpus" => f64::from(nth % 9),
            "gpus" => 8.0,
            "gpu-memory-bytes" => 48e9,
            "usd-per-gpu-hour" => 1.0 + f64::from(nth % 5) / 10.0,
            "is-spot" => f64::from(u8::from(nth % 3 == 0)),
            _ => f64::NAN,
        }));
    }
    (nodes, words)
}

fn names(inputs: &[PlacementInput], subject: Subject) -> impl Iterator<Item = &str> {
    inputs.iter().filter(move |one| one.subject == subject).map(|one| one.name.as_str())
}

fn request(inputs: &[PlacementInput], params: Vec<u8>, size: FleetSize) -> Request {
    let (nodes, words) = fleet(inputs, size.nodes);
    let replicas = size.replicas;
    let mut facts = Vec::new();
    for name in names(inputs, Subject::Replica) {
        facts.extend((0..replicas).map(|_| match name {
            "cpu" => 4.0,
            "memory-bytes" => 32e9,
            "gpus" => 1.0,
            "weights-bytes" => 16e9,
            _ => f64::NAN,
        }));
    }
    let mut pairs = Vec::new();
    for name in names(inputs, Subject::Pair) {
        pairs.extend((0..replicas * size.nodes).map(|nth| match name {
            "weights-cached" => f64::from(u8::from(nth % 7 == 0)),
            _ => f64::NAN,
        }));
    }
    let params_of = vec![0; replicas as usize];
    let replicas = Replicas { params: vec![params], params_of, facts, pairs };
    Request { at_ms: Time::TRACE_START.0, words, nodes, replicas }
}

fn candidates(inputs: &[PlacementInput], params: Vec<u8>, size: FleetSize) -> Candidates {
    let (nodes, words) = fleet(inputs, size.nodes);
    let count = size.replicas;
    let mut facts = Vec::new();
    for name in names(inputs, Subject::Candidate) {
        facts.extend((0..count).map(|nth| match name {
            "is-ready" => f64::from(u8::from(nth % 10 != 0)),
            "in-flight" => f64::from(nth % 5),
            "started-at-ms" => (Time::TRACE_START.0 - u64::from(nth) * 1_000) as f64,
            "usd-per-gpu-hour" => 1.0 + f64::from(nth % 5) / 10.0,
            _ => f64::NAN,
        }));
    }
    Candidates {
        at_ms: Time::TRACE_START.0,
        words,
        nodes,
        params: vec![params],
        params_of: vec![0; count as usize],
        node_of: (0..count).map(|nth| nth % size.nodes).collect(),
        choices: vec![0; count as usize],
        leaving: vec![count / 2],
        facts,
    }
}
