//! Shapes: how many requests per second there are, as a function of time. A shape is a sum of parts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Span, SynthError};

/// More than this in a second cannot be told apart in microseconds.
const HIGHEST_RATE: f64 = 1e6;
const DAY_S: f64 = 86_400.0;
/// After so many half-lives, less than one in four billion of a crowd is left.
const HALF_LIVES: u64 = 32;
/// A curve is taken as even over its length by so many.
const STEPS_OF_A_CURVE: u64 = 512;
const SHORTEST_STEP_US: u64 = 1_000;
const LONGEST_STEP_US: u64 = 1_000_000;
/// The same for a day.
const DAYS_STEP_US: u64 = 10_000_000;

/// One part of a shape. Rates are in requests per second, 0 to 1,000,000; moments are since the load's start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Part {
    /// Always the same.
    Constant {
        /// The rate.
        rate: f64,
    },
    /// From each moment on its rate, until the next; nothing before the first.
    Steps(BTreeMap<Span, f64>),
    /// From one rate to another in a straight line; the first before it, the second after it.
    Ramp {
        /// The rate before.
        from: f64,
        /// The rate after.
        to: f64,
        /// When it begins.
        #[serde(default, skip_serializing_if = "Span::is_zero")]
        at: Span,
        /// How long it takes.
        over: Span,
    },
    /// A wave around a mean, which begins there and goes up first. What would be less than nothing is nothing.
    Sinus {
        /// The rate in the middle.
        mean: f64,
        /// How far it goes up and down from there.
        amplitude: f64,
        /// From one crest to the next.
        period: Span,
        /// When it goes up through its middle.
        #[serde(default, skip_serializing_if = "Span::is_zero")]
        at: Span,
    },
    /// A rate for a while, again and again, and nothing between.
    Bursts {
        /// The rate in a burst.
        height: f64,
        /// From the begin of one to that of the next.
        period: Span,
        /// How long each lasts.
        width: Span,
        /// When the first begins.
        #[serde(default, skip_serializing_if = "Span::is_zero")]
        at: Span,
    },
    /// A flash crowd: up in a straight line, some time at its peak, then half of it for each half-life.
    Flash {
        /// When the first come.
        at: Span,
        /// The rate at its peak.
        peak: f64,
        /// From the first to the peak.
        rise: Span,
        /// How long the peak lasts.
        #[serde(default, skip_serializing_if = "Span::is_zero")]
        hold: Span,
        /// In which half of them leave.
        decay: Span,
    },
    /// Days: a wave between a low at night and a high by day, and weekends with less.
    Diurnal {
        /// The rate twelve hours from the peak.
        low: f64,
        /// The rate at the peak.
        high: f64,
        /// The time of day of the peak.
        #[serde(default = "afternoon", skip_serializing_if = "is_afternoon")]
        peak_at: Span,
        /// What Saturdays and Sundays are multiplied by.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        weekend: f64,
        /// How far the load's start is into a week that begins on Monday; `5d` is a Saturday.
        #[serde(default, skip_serializing_if = "Span::is_zero")]
        starts: Span,
    },
    /// On for a while, off for a while, again and again; on first.
    OnOff {
        /// The rate while it is on.
        rate: f64,
        /// How long it is on.
        on: Span,
        /// How long it is off.
        off: Span,
        /// When it goes on first.
        #[serde(default, skip_serializing_if = "Span::is_zero")]
        at: Span,
    },
}

fn afternoon() -> Span {
    Span::of_s(14 * 3600)
}

fn is_afternoon(span: &Span) -> bool {
    *span == afternoon()
}

fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_one(factor: &f64) -> bool {
    *factor == 1.0
}

impl Part {
    /// Its name, as it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Part::Constant { .. } => "constant",
            Part::Steps(_) => "steps",
            Part::Ramp { .. } => "ramp",
            Part::Sinus { .. } => "sinus",
            Part::Bursts { .. } => "bursts",
            Part::Flash { .. } => "flash",
            Part::Diurnal { .. } => "diurnal",
            Part::OnOff { .. } => "on-off",
        }
    }

    /// Whether its values make sense.
    ///
    /// # Errors
    /// When a rate is negative or too high, or something that lasts takes no time.
    pub(super) fn check(&self) -> Result<(), SynthError> {
        let rate = |field: &'static str, rate: f64| {
            let is_fine = rate.is_finite() && (0.0..=HIGHEST_RATE).contains(&rate);
            let expected = "0 to 1000000 requests/s";
            match is_fine {
                true => Ok(()),
                false => Err(self.wrong(field, rate.to_string(), expected)),
            }
        };
        let lasts = |field: &'static str, span: Span| match span.is_zero() {
            true => Err(self.wrong(field, span.to_string(), "a duration above 0")),
            false => Ok(()),
        };
        match self {
            Part::Constant { rate: value } => rate("rate", *value),
            Part::Steps(steps) if steps.is_empty() => {
                Err(self.wrong("steps", "none".to_owned(), "a moment and its rate, as 10m=5"))
            }
            Part::Steps(steps) => steps.values().try_for_each(|value| rate("rate", *value)),
            Part::Ramp { from, to, at: _, over } => {
                rate("from", *from).and(rate("to", *to)).and(lasts("over", *over))
            }
            Part::Sinus { mean, amplitude, period, at: _ } => {
                rate("mean", *mean).and(rate("amplitude", *amplitude)).and(lasts("period", *period))
            }
            Part::Bursts { height, period, width, at: _ } => {
                rate("height", *height)
                    .and(lasts("width", *width))
                    .and(lasts("period", *period))?;
                match width > period {
                    true => Err(self.wrong("width", width.to_string(), "no more than the period")),
                    false => Ok(()),
                }
            }
            Part::Flash { at: _, peak, rise: _, hold: _, decay } => {
                rate("peak", *peak).and(lasts("decay", *decay))
            }
            Part::Diurnal { low, high, peak_at, weekend, starts: _ } => {
                rate("low", *low).and(rate("high", *high)).and(rate("weekend", *weekend))?;
                match peak_at.seconds() < DAY_S {
                    true => Ok(()),
                    false => {
                        let expected = "a time of day, 0s to 24h";
                        Err(self.wrong("peak-at", peak_at.to_string(), expected))
                    }
                }
            }
            Part::OnOff { rate: value, on, off: _, at: _ } => {
                rate("rate", *value).and(lasts("on", *on))
            }
        }
    }

    fn wrong(&self, field: &'static str, found: String, expected: &'static str) -> SynthError {
        SynthError::Value { part: self.name(), field, found, expected }
    }

    /// The rate at a moment.
    pub fn rate_at(&self, at_us: u64) -> f64 {
        let since = |begin: Span| at_us.checked_sub(begin.us());
        match self {
            Part::Constant { rate } => *rate,
            Part::Steps(steps) => {
                steps.range(..=Span::of_us(at_us)).next_back().map_or(0.0, |(_, rate)| *rate)
            }
            Part::Ramp { from, to, at, over } => {
                let done = since(*at).map_or(0.0, |us| us as f64 / over.us() as f64).min(1.0);
                from + (to - from) * done
            }
            Part::Sinus { mean, amplitude, period, at } => {
                let turn = (at_us as f64 - at.us() as f64) / period.us() as f64;
                let wave = libm::sin(std::f64::consts::TAU * (turn - turn.floor()));
                (mean + amplitude * wave).max(0.0)
            }
            Part::Bursts { height, period, width, at } => {
                let is_on = since(*at).is_some_and(|us| us % period.us() < width.us());
                if is_on { *height } else { 0.0 }
            }
            Part::Flash { at, peak, rise, hold, decay } => {
                let Some(us) = since(*at) else { return 0.0 };
                if us < rise.us() {
                    return peak * us as f64 / rise.us() as f64;
                }
                let leaving_us = (us - rise.us()).saturating_sub(hold.us());
                if leaving_us >= decay.us().saturating_mul(HALF_LIVES) {
                    return 0.0;
                }
                peak * libm::exp2(-(leaving_us as f64) / decay.us() as f64)
            }
            Part::Diurnal { low, high, peak_at, weekend, starts } => {
                let in_week_s = (starts.us() + at_us) as f64 / 1e6 % (7.0 * DAY_S);
                let turn = (in_week_s - peak_at.seconds()) / DAY_S;
                let wave = libm::cos(std::f64::consts::TAU * (turn - turn.floor()));
                let rate = low + (high - low) * (1.0 + wave) / 2.0;
                if in_week_s < 5.0 * DAY_S { rate } else { rate * weekend }
            }
            Part::OnOff { rate, on, off, at } => {
                let is_on = since(*at).is_some_and(|us| us % (on.us() + off.us()) < on.us());
                if is_on { *rate } else { 0.0 }
            }
        }
    }

    /// Until when the rate is even, or may be taken as even, from a moment on. Always later than that.
    pub(super) fn even_until(&self, at_us: u64) -> u64 {
        let curved = |length: Span| next(at_us, step(length));
        let period = |begin: Span, period: u64, width: u64| match at_us.checked_sub(begin.us()) {
            None => begin.us(),
            Some(us) => {
                let (turn_us, within_us) = (at_us - us % period, us % period);
                turn_us + if within_us < width { width } else { period }
            }
        };
        match self {
            Part::Constant { .. } => u64::MAX,
            Part::Steps(steps) => {
                let later = steps.range(Span::of_us(at_us + 1)..).next();
                later.map_or(u64::MAX, |(at, _)| at.us())
            }
            Part::Ramp { at, over, .. } => match at.us() + over.us() {
                _ if at_us < at.us() => at.us(),
                end_us if at_us < end_us => curved(*over).min(end_us),
                _ => u64::MAX,
            },
            Part::Sinus { period, .. } => curved(*period),
            Part::Bursts { period: every, width, at, .. } => period(*at, every.us(), width.us()),
            Part::Flash { at, rise, hold, decay, .. } => {
                let peak_us = at.us() + rise.us();
                let leave_us = peak_us + hold.us();
                let end_us = leave_us.saturating_add(decay.us().saturating_mul(HALF_LIVES));
                match at_us {
                    _ if at_us < at.us() => at.us(),
                    _ if at_us < peak_us => curved(*rise).min(peak_us),
                    _ if at_us < leave_us => leave_us,
                    _ if at_us < end_us => curved(*decay).min(end_us),
                    _ => u64::MAX,
                }
            }
            // Midnights are multiples of a step, unless the load begins in the middle of one.
            Part::Diurnal { starts, .. } => next(at_us + starts.us(), DAYS_STEP_US) - starts.us(),
            Part::OnOff { on, off, at, .. } => period(*at, on.us() + off.us(), on.us()),
        }
    }
}

/// How long a curve of that length may be taken as even.
fn step(length: Span) -> u64 {
    (length.us() / STEPS_OF_A_CURVE).clamp(SHORTEST_STEP_US, LONGEST_STEP_US)
}

/// The next multiple of a step.
fn next(at_us: u64, step_us: u64) -> u64 {
    (at_us / step_us + 1) * step_us
}
