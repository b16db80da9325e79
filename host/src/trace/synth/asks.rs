//! What each request of a synthetic load asks for: always the same, or drawn.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Span, SynthError};
use crate::seed::Draws;
use crate::trace::{Lengths, TokenDistribution, Work};

/// Lengths of prompts or answers. Tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Tokens {
    /// All the same.
    Fixed(u32),
    /// Drawn from a lognormal distribution through two quantiles.
    Drawn(Lengths),
}

impl Tokens {
    fn draw(&self, draws: &mut Draws) -> u32 {
        match self {
            Tokens::Fixed(tokens) => *tokens,
            Tokens::Drawn(lengths) => lengths.draw(draws),
        }
    }
}

impl FromStr for Tokens {
    type Err = SynthError;

    /// `512`, or the median and the 99 % quantile: `1024,4123`.
    fn from_str(text: &str) -> Result<Tokens, SynthError> {
        let wrong = || SynthError::Tokens { found: text.to_owned() };
        match text.split_once(',') {
            None => text.trim().parse().map(Tokens::Fixed).map_err(|_| wrong()),
            Some((p50, p99)) => {
                let [p50, p99] = [p50, p99].map(|text| text.trim().parse::<f64>());
                let lengths =
                    Lengths::through(p50.map_err(|_| wrong())?, p99.map_err(|_| wrong())?);
                Ok(Tokens::Drawn(lengths.map_err(|_| wrong())?))
            }
        }
    }
}

/// How long requests run, whatever else runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Durations {
    /// All the same.
    Fixed(Span),
    /// Drawn from a lognormal distribution through two quantiles.
    Drawn(DurationQuantiles),
}

/// Two quantiles of durations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DurationQuantiles {
    /// The median.
    pub p50: Span,
    /// Exceeded by one in a hundred.
    pub p99: Span,
}

impl Durations {
    pub(super) fn check(&self) -> Result<(), SynthError> {
        match self {
            Durations::Drawn(DurationQuantiles { p50, p99 }) if p50.is_zero() || p50 > p99 => {
                Err(SynthError::Durations { p50: *p50, p99: *p99 })
            }
            Durations::Fixed(_) | Durations::Drawn(_) => Ok(()),
        }
    }

    fn draw_us(&self, draws: &mut Draws) -> u64 {
        match self {
            Durations::Fixed(span) => span.us(),
            Durations::Drawn(DurationQuantiles { p50, p99 }) => {
                let sigma = Lengths::sigma(p50.us() as f64, p99.us() as f64);
                let drawn = p50.us() as f64 * draws.lognormal(sigma);
                // A hundred times the 99 % quantile is a slip of the tail, not a request.
                drawn.clamp(1.0, 100.0 * p99.us() as f64) as u64
            }
        }
    }
}

impl FromStr for Durations {
    type Err = SynthError;

    /// `2s`, or the median and the 99 % quantile: `2s,30s`.
    fn from_str(text: &str) -> Result<Durations, SynthError> {
        let durations = match text.split_once(',') {
            None => Durations::Fixed(text.trim().parse()?),
            Some((p50, p99)) => Durations::Drawn(DurationQuantiles {
                p50: p50.trim().parse()?,
                p99: p99.trim().parse()?,
            }),
        };
        durations.check()?;
        Ok(durations)
    }
}

/// What requests ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::trace) enum Asks {
    Tokens { prompt: Tokens, output: Tokens },
    Duration(Durations),
}

impl Asks {
    pub(in crate::trace) fn of(
        prompt: Option<Tokens>,
        output: Option<Tokens>,
        duration: Option<Durations>,
    ) -> Result<Asks, SynthError> {
        let usual = TokenDistribution::default();
        match (prompt, output, duration) {
            (prompt, output, None) => Ok(Asks::Tokens {
                prompt: prompt.unwrap_or(Tokens::Drawn(usual.prompt)),
                output: output.unwrap_or(Tokens::Drawn(usual.output)),
            }),
            (None, None, Some(duration)) => duration.check().map(|()| Asks::Duration(duration)),
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => Err(SynthError::TokensAndDuration),
        }
    }

    /// `prompts` is what prompts and durations are drawn from, `outputs` what answers are.
    pub(in crate::trace) fn draw(&self, prompts: &mut Draws, outputs: &mut Draws) -> Work {
        match self {
            Asks::Tokens { prompt, output } => {
                Work::Tokens { prompt: prompt.draw(prompts), output: output.draw(outputs) }
            }
            Asks::Duration(durations) => Work::Duration(durations.draw_us(prompts)),
        }
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tokens::Fixed(tokens) => write!(f, "{tokens}"),
            Tokens::Drawn(lengths) => {
                write!(f, "{} at the median, {} at the 99 % quantile", lengths.p50(), lengths.p99())
            }
        }
    }
}
