//! Synthetic load: shapes of rates become arrivals. Described in YAML or in a line of text; `docs/traces.md` has both.
//!
//! Everything is drawn from a seed word with a generator per service, part and purpose: another service, another part of a shape or
//! another length of prompts moves no arrival of what was there before, and a longer load begins with the shorter one.

mod arrivals;
mod asks;
mod shape;
mod span;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(in crate::trace) use asks::Asks;
pub use asks::{DurationQuantiles, Durations, Tokens};
pub use shape::Part;
pub use span::Span;
pub use text::Shape;

use crate::replay::Load;
use crate::seed::Seed;

/// The most requests of a load, about: a day of 2,000 a second.
const LARGEST_REQUESTS: f64 = 2e8;

/// Load that is described rather than recorded: services with a shape each, for some time.
///
/// ```
/// # use tidegate::{seed::Seed, trace::synth::Synth};
/// let text = r#"{ "for": "10m", "services": { "chat": { "shape": "constant:2", "arrivals": "even" } } }"#;
/// let synth: Synth = serde_json::from_str(text).unwrap();
/// assert_eq!(synth.load(&Seed::new("tide")).items.count(), 1_200);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Description", into = "Description")]
#[schemars(with = "Description")]
pub struct Synth {
    /// Invariant: above 0.
    length: Span,
    /// Invariant: at least one, with names and requests that are checked.
    services: BTreeMap<String, ServiceLoad>,
}

/// Synthetic load, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Description {
    /// How long it is.
    #[serde(rename = "for")]
    length: Span,
    /// The services that get it, by name.
    services: BTreeMap<String, ServiceLoad>,
}

/// What one service gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceLoad {
    /// How many requests per second, over time.
    pub shape: Shape,
    /// How the arrivals fall within that.
    #[serde(default, skip_serializing_if = "Arrivals::is_usual")]
    pub arrivals: Arrivals,
    /// Tokens of the requests: a number, or `p50` and `p99`; those of Azure's conversation trace if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Tokens>,
    /// Tokens of the answers, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Tokens>,
    /// How long a request runs, instead of tokens: a duration, or `p50` and `p99`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Durations>,
}

impl ServiceLoad {
    /// Poisson arrivals of a shape, with the usual tokens.
    pub fn of(shape: Shape) -> ServiceLoad {
        let (arrivals, prompt, output, duration) = (Arrivals::Poisson, None, None, None);
        ServiceLoad { shape, arrivals, prompt, output, duration }
    }
}

/// How arrivals fall within a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// As a Poisson process, as those of many users who do not know of each other.
    #[default]
    Poisson,
    /// At even distances, as those of a load generator.
    Even,
}

impl Arrivals {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_usual(&self) -> bool {
        *self == Arrivals::default()
    }
}

/// What is wrong with the description of a load.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// A length of time that is none.
    #[error("expected a duration such as 90s, 1h30m or 7d, up to 100 years, found `{found}`")]
    Span {
        /// What stands there.
        found: String,
    },
    /// A part with a name that none has.
    #[error("there is no shape `{found}`; {expected}")]
    UnknownShape {
        /// What stands there.
        found: String,
        /// The nearest, or all there are.
        expected: String,
    },
    /// A field without its value.
    #[error("{part}: `{found}` has no value; expected a field and its value, as height=40")]
    NoValue {
        /// The part.
        part: String,
        /// What stands there.
        found: String,
    },
    /// A field that is given twice.
    #[error("{part}: `{field}` is given twice")]
    Twice {
        /// The part.
        part: String,
        /// The field.
        field: String,
    },
    /// Fields that a part does not have, or lacks.
    #[error("{part}: {why}")]
    Fields {
        /// The part.
        part: String,
        /// What is wrong with them.
        why: String,
    },
    /// A value that a part cannot have.
    #[error("{part}: {field} is {found}, expected {expected}")]
    Value {
        /// The part.
        part: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A list of parts without any.
    #[error("a shape has no part; expected at least one, as constant:2")]
    NoParts,
    /// Lengths of prompts or answers that are none.
    #[error(
        "expected tokens, as 512, or as 1024,4123 for the median and the 99 % quantile, found `{found}`"
    )]
    Tokens {
        /// What stands there.
        found: String,
    },
    /// Durations that no distribution has.
    #[error(
        "a median of {p50} and a 99 % quantile of {p99}; expected both above 0, the median no more than the quantile"
    )]
    Durations {
        /// The median.
        p50: Span,
        /// The 99 % quantile.
        p99: Span,
    },
    /// Both ways to say what a request asks for.
    #[error(
        "tokens and a duration are given; expected one of them, as each would say what a request asks for"
    )]
    TokensAndDuration,
    /// Something about one service.
    #[error("service {service}")]
    Service {
        /// The service.
        service: String,
        /// What.
        source: Box<SynthError>,
    },
    /// A name that no trace can hold.
    #[error(
        "`{0}` is no name of a service; expected text without commas, line breaks and spaces at its ends"
    )]
    Name(String),
    /// More than anybody replays: a slip of the finger in a length or a rate.
    #[error(
        "about {requests:.0} requests are asked for, expected at most {LARGEST_REQUESTS:.0}: a shorter load, or lower rates"
    )]
    TooMany {
        /// How many it would have, about.
        requests: f64,
    },
    /// A load without services, or without length.
    #[error("the load has no {0}")]
    Nothing(&'static str),
}

impl Synth {
    /// Load for some services, for so long.
    ///
    /// # Errors
    /// When there are none, when it has no length, when it has far more requests than anybody replays, or when a service asks for tokens and for a duration.
    pub fn new(length: Span, services: BTreeMap<String, ServiceLoad>) -> Result<Synth, SynthError> {
        if length.is_zero() {
            return Err(SynthError::Nothing("length"));
        }
        if services.is_empty() {
            return Err(SynthError::Nothing("services"));
        }
        for (name, load) in &services {
            let is_name = !name.is_empty()
                && name.trim() == name
                && !name.chars().any(|char| char == ',' || char.is_control());
            if !is_name {
                return Err(SynthError::Name(name.clone()));
            }
            Asks::of(load.prompt, load.output, load.duration).map_err(|source| {
                SynthError::Service { service: name.clone(), source: Box::new(source) }
            })?;
        }
        let requests: f64 = services.values().map(|load| load.shape.requests_in(length)).sum();
        if requests > LARGEST_REQUESTS {
            return Err(SynthError::TooMany { requests });
        }
        Ok(Synth { length, services })
    }

    /// How long it is.
    pub fn length(&self) -> Span {
        self.length
    }

    /// The services that get it.
    pub fn services(&self) -> &BTreeMap<String, ServiceLoad> {
        &self.services
    }

    /// What arrives, drawn as it is asked for. Services are in the order of their names; the load is over when its length is, not
    /// at the last arrival.
    pub fn load(&self, seed: &Seed) -> Load {
        Load {
            services: self.services.keys().cloned().collect(),
            end_us: self.length.us(),
            items: Box::new(arrivals::Drawn::new(self, seed).map(Ok)),
        }
    }
}

impl TryFrom<Description> for Synth {
    type Error = String;

    fn try_from(Description { length, services }: Description) -> Result<Synth, String> {
        Synth::new(length, services).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        })
    }
}

impl From<Synth> for Description {
    fn from(Synth { length, services }: Synth) -> Description {
        Description { length, services }
    }
}
