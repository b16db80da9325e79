//! What a backend has seen: the only input of a step.

use serde::{Deserialize, Serialize};

use super::fleet::Node;
use super::signal::Signal;
use super::target::{ReplicaId, TargetId};
use crate::time::Time;

/// What was seen since the last step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Now: the only clock that the engine knows.
    pub at: Time,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Requests that a replica holds, for each replica of which that has changed.
    pub in_flight: Vec<(ReplicaId, u32)>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The nodes that there are now, all of them, sorted by name. The first observation has one.
    Nodes(Vec<Node>),
    /// What the gateway counted over a second.
    Report(TargetId, Report),
    /// What the replicas themselves said of a second, scraped: as a report, but it does not poke, for nobody waits who is there.
    Scraped(TargetId, Report),
    /// A request waits for a target without a ready replica.
    Waiting(TargetId),
    /// A replica moved on.
    Replica(ReplicaId, Phase),
    /// How many replicas there are, of a target whose replicas something else owns.
    Counted(TargetId, Counts),
    /// Whether the gateway answers on the target's public address.
    GatewayAnswers(TargetId, bool),
    /// A person wants exactly so many replicas, whatever policies and bounds say.
    Pin {
        /// Of this target.
        target: TargetId,
        /// How many.
        replicas: u32,
        /// Policies decide again from then on.
        until: Time,
    },
    /// Policies decide again from now on.
    Unpin(TargetId),
}

impl Event {
    /// The same about targets at other positions; `None` where the one that it is about is no more.
    pub fn of_targets(self, now_at: impl Fn(TargetId) -> Option<TargetId>) -> Option<Event> {
        Some(match self {
            Event::Nodes(nodes) => Event::Nodes(nodes),
            Event::Report(id, report) => Event::Report(now_at(id)?, report),
            Event::Scraped(id, report) => Event::Scraped(now_at(id)?, report),
            Event::Waiting(id) => Event::Waiting(now_at(id)?),
            Event::Replica(id, phase) => {
                Event::Replica(ReplicaId { target: now_at(id.target)?, ..id }, phase)
            }
            Event::Counted(id, counts) => Event::Counted(now_at(id)?, counts),
            Event::GatewayAnswers(id, answers) => Event::GatewayAnswers(now_at(id)?, answers),
            Event::Pin { target, replicas, until } => {
                Event::Pin { target: now_at(target)?, replicas, until }
            }
            Event::Unpin(id) => Event::Unpin(now_at(id)?),
        })
    }
}

/// How many replicas there are of a target whose replicas something else owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Take requests; `None`: they could not be counted.
    pub ready: Option<u32>,
    /// Wanted and not ready.
    pub starting: u32,
}

/// Where a replica is in its life, as its backend sees it. `pending` and `placed` are the engine's own words: before a
/// backend has heard of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Its node fetches the image.
    Pulling,
    /// It reads its weights and starts up.
    Loading,
    /// It takes requests.
    Ready,
    /// It takes no more requests and ends those it has.
    Draining,
    /// It is no more, as planned.
    Gone,
    /// It is no more, or never came up, against the plan.
    Failed {
        /// Why, in a few words.
        reason: String,
    },
}

/// What the gateway counted for a target over one second. Several reports of one second add up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whole seconds since 1970: the bucket.
    pub second: u64,
    /// A value for each of [`Signal::ALL`]; NaN is "none", and `null` where this is written.
    #[serde(with = "nan_as_null")]
    pub values: [f64; Signal::ALL.len()],
    /// Requests at a replica, now.
    pub in_flight: u32,
    /// Requests that wait, now.
    pub waiting: u32,
    /// How long the oldest of them has waited. Milliseconds.
    pub oldest_wait_ms: u64,
}

/// JSON has no NaN.
mod nan_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Signal;

    type Values = [f64; Signal::ALL.len()];

    pub(super) fn serialize<S: Serializer>(values: &Values, to: S) -> Result<S::Ok, S::Error> {
        values.map(|value| Some(value).filter(|value| !value.is_nan())).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Values, D::Error> {
        let values: [Option<f64>; Signal::ALL.len()] = Deserialize::deserialize(from)?;
        Ok(values.map(|value| value.unwrap_or(f64::NAN)))
    }
}
