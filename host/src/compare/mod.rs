//! Two runs over the same load side by side: their numbers, where they part first and why, and whether gates hold. It runs nothing
//! and prints nothing.

pub mod gate;
pub mod side;
mod trail;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::inspection::Moved;
use crate::engine::{Engine, Inspection, Plan, TargetId};
use crate::journal::API_VERSION;
use crate::ledger::{Outcome, Setup, Summary};
use crate::metrics::METRICS;
use crate::time::Time;
use crate::why::{ChangeAt, change_at};

pub use gate::{Checked, Gate, GateError};
pub use trail::Trail;

/// Two runs over the same load.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// `tidegate.dev/v1alpha1`.
    pub api_version: &'static str,
    /// `Comparison`.
    pub kind: &'static str,
    /// The one that B is held against.
    pub a: SideNote,
    /// The other one.
    pub b: SideNote,
    /// Every number of the summary, all services together.
    pub metrics: Vec<Delta>,
    /// The same for each service.
    pub services: BTreeMap<String, Vec<Delta>>,
    /// Where they part first; `null`: never.
    pub parting: Option<Parting>,
    /// The gates, in the order in which they were given.
    pub gates: Vec<Checked>,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideNote {
    /// As it was named.
    pub name: String,
    /// How its run was set up.
    pub setup: Setup,
}

/// A number of both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delta {
    /// Its name in the document's `summary`.
    pub metric: &'static str,
    /// A's.
    pub a: f64,
    /// B's.
    pub b: f64,
    /// How much more B's is.
    pub delta: f64,
    /// The same as a share of A's; `null` where that is 0.
    pub relative: Option<f64>,
}

/// The first moment at which two runs plan otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parting {
    /// When, since the start. Seconds.
    pub at_s: f64,
    /// When. Unix milliseconds.
    pub at_ms: Time,
    /// Over which target.
    pub service: String,
    /// What decided otherwise: the name of the first stage that did, `bounds`, `placement`, or `replicas`.
    pub over: String,
    /// What A did then.
    pub a: Stand,
    /// What B did then.
    pub b: Stand,
}

/// What a run planned for a target at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stand {
    /// The decision that differs from the one before; `null`: what was wanted before was wanted still.
    pub change: Option<ChangeAt>,
    /// What stood behind it.
    pub inspection: Inspection,
    /// Where replicas went.
    pub moves: Vec<Moved>,
}

impl Stand {
    /// What `engine` planned for `target` in its last step, at `at`; `plan` is that step's, if it made one then.
    pub fn of(engine: &mut Engine, at: Time, target: TargetId, plan: Option<&Plan>) -> Stand {
        let inspection = engine.inspect(at, target);
        let changes = plan.map_or(&[][..], |plan| &plan.changes);
        let change = changes.iter().find(|change| change.target == target);
        let change = change.map(|change| change_at(at, change, &inspection));
        let moves = if plan.is_some() { engine.moved().to_vec() } else { Vec::new() };
        Stand { change, inspection, moves }
    }
}

impl Parting {
    /// Two stands at `at` in runs that began at `start`.
    pub fn of(start: Time, at: Time, a: Stand, b: Stand) -> Parting {
        let over = over(&a, &b);
        let at_s = at.since(start) as f64 / 1e3;
        Parting { at_s, at_ms: at, service: a.inspection.target.clone(), over, a, b }
    }
}

/// What decided otherwise.
fn over(a: &Stand, b: &Stand) -> String {
    let (its, others) = (&a.inspection.stages, &b.inspection.stages);
    for at in 0..its.len().max(others.len()) {
        match (its.get(at), others.get(at)) {
            (Some(one), Some(other)) if one.wanted != other.wanted => return one.stage.clone(),
            (Some(one), Some(other)) if one.proposal != other.proposal => {
                return "bounds".to_owned();
            }
            // One chain is longer: what it ends with decides there, if that makes a difference.
            (Some(one), None) | (None, Some(one))
                if a.inspection.desired != b.inspection.desired =>
            {
                return one.stage.clone();
            }
            (Some(_) | None, Some(_) | None) => {}
        }
    }
    if a.inspection.desired != b.inspection.desired {
        return "bounds".to_owned();
    }
    if a.moves != b.moves { "placement".to_owned() } else { "replicas".to_owned() }
}

impl Comparison {
    /// Puts two outcomes side by side. Gates must be of services that there are.
    pub fn of(
        [a, b]: [(&str, &Outcome); 2],
        parting: Option<Parting>,
        gates: &[Gate],
    ) -> Comparison {
        let sides = (&a.1.summary, &b.1.summary);
        let none = Summary::default();
        let names = sides.0.services.keys().chain(sides.1.services.keys());
        let service = |name: &String| {
            let one = sides.0.services.get(name).unwrap_or(&none);
            (name.clone(), deltas(one, sides.1.services.get(name).unwrap_or(&none)))
        };
        let note = |(name, outcome): (&str, &Outcome)| SideNote {
            name: name.to_owned(),
            setup: outcome.setup.clone(),
        };
        Comparison {
            api_version: API_VERSION,
            kind: "Comparison",
            metrics: deltas(&sides.0.whole, &sides.1.whole),
            services: names.map(service).collect(),
            parting,
            gates: gates.iter().filter_map(|gate| gate.check(sides.0, sides.1)).collect(),
            a: note(a),
            b: note(b),
        }
    }

    /// Whether every gate holds.
    pub fn has_passed(&self) -> bool {
        self.gates.iter().all(|gate| gate.has_passed)
    }
}

fn deltas(a: &Summary, b: &Summary) -> Vec<Delta> {
    let delta = |metric: &crate::metrics::Metric| {
        let (a, b) = (metric.of(a), metric.of(b));
        // Waits are told to a millisecond and money to a cent at most: what binary fractions leave over is no difference.
        let delta = ((b - a) * 1e6).round() / 1e6;
        let relative = (a != 0.0).then(|| ((b - a) / a * 1e6).round() / 1e6);
        Delta { metric: metric.name, a, b, delta, relative }
    };
    METRICS.iter().map(delta).collect()
}
