//! What the requests of a rate table ask for, which its rows do not say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TraceError;
use crate::seed::Draws;

/// A drawn request or answer is never longer: the context that the demo's model has.
const LONGEST: f64 = 131_072.0;
/// The 99 % quantile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874_040_841;

/// Lengths of requests and answers, drawn independently of each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenDistribution {
    /// Of the request.
    pub prompt: Lengths,
    /// Of the answer.
    pub output: Lengths,
}

/// A lognormal distribution through two quantiles, as published statistics give them. Whole tokens, from 1 to 131,072.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Quantiles", into = "Quantiles")]
#[schemars(with = "Quantiles")]
pub struct Lengths {
    /// Invariant: 1 ≤ `p50` ≤ `p99` ≤ 131,072.
    quantiles: Quantiles,
    /// Of the logarithm.
    sigma: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Quantiles {
    /// The median. Tokens.
    p50: f64,
    /// Exceeded by one in a hundred. Tokens.
    p99: f64,
}

impl Default for TokenDistribution {
    /// As recorded in the conversation trace of Azure's LLM services, 2023: 1,024 tokens in and 115 out at the median.
    fn default() -> TokenDistribution {
        let recorded =
            |p50, p99| Lengths::through(p50, p99).expect("recorded quantiles are in order");
        TokenDistribution { prompt: recorded(1024.0, 4123.0), output: recorded(115.0, 601.0) }
    }
}

impl Lengths {
    /// Half of all are up to `p50` tokens long, and 99 in a hundred up to `p99`.
    ///
    /// # Errors
    /// Unless 1 ≤ `p50` ≤ `p99` ≤ 131,072.
    pub fn through(p50: f64, p99: f64) -> Result<Lengths, TraceError> {
        if !(1.0 <= p50 && p50 <= p99 && p99 <= LONGEST) {
            return Err(TraceError::Lengths { p50, p99 });
        }
        Ok(Lengths { quantiles: Quantiles { p50, p99 }, sigma: Lengths::sigma(p50, p99) })
    }

    /// Of the logarithm of a lognormal distribution through these two quantiles.
    pub(super) fn sigma(p50: f64, p99: f64) -> f64 {
        libm::log(p99 / p50) / NORMAL_P99
    }

    /// The median. Tokens.
    pub fn p50(&self) -> f64 {
        self.quantiles.p50
    }

    /// Exceeded by one in a hundred. Tokens.
    pub fn p99(&self) -> f64 {
        self.quantiles.p99
    }

    /// The tokens of one prompt or answer.
    pub fn draw(&self, draws: &mut Draws) -> u32 {
        let drawn = self.quantiles.p50 * draws.lognormal(self.sigma);
        drawn.round().clamp(1.0, LONGEST) as u32
    }
}

impl TryFrom<Quantiles> for Lengths {
    type Error = TraceError;

    fn try_from(Quantiles { p50, p99 }: Quantiles) -> Result<Lengths, TraceError> {
        Lengths::through(p50, p99)
    }
}

impl From<Lengths> for Quantiles {
    fn from(lengths: Lengths) -> Quantiles {
        lengths.quantiles
    }
}
