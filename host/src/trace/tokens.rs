//! What the requests of a rate table ask for, which its rows do not say.

use crate::seed::Draws;

/// A drawn request or answer is never longer: the context that the demo's model has.
const LONGEST: f64 = 131_072.0;
/// The 99 % quantile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874_040_841;

/// Lengths of requests and answers, drawn independently of each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenDistribution {
    /// Of the request.
    pub prompt: Lengths,
    /// Of the answer.
    pub output: Lengths,
}

/// A lognormal distribution through two quantiles, as published statistics give them. Whole tokens, from 1 to 131,072.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lengths {
    /// Median. Tokens, at least 1.
    pub p50: f64,
    /// Exceeded by one in a hundred. Tokens, at least the median.
    pub p99: f64,
}

impl Default for TokenDistribution {
    /// As recorded in the conversation trace of Azure's LLM services, 2023: 1,024 tokens in and 115 out at the median.
    fn default() -> TokenDistribution {
        TokenDistribution {
            prompt: Lengths { p50: 1024.0, p99: 4123.0 },
            output: Lengths { p50: 115.0, p99: 601.0 },
        }
    }
}

impl Lengths {
    /// Prepared to draw from.
    pub(super) fn sigma(self) -> f64 {
        libm::log(self.p99 / self.p50) / NORMAL_P99
    }

    pub(super) fn draw(self, sigma: f64, draws: &mut Draws) -> u32 {
        (self.p50 * draws.lognormal(sigma)).round().clamp(1.0, LONGEST) as u32
    }
}
