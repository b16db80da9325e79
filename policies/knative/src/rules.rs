//! One decision, in Knative's order of operations. Pure numbers: columns and words are unknown here.

use serde::{Deserialize, Serialize};
use tidegate_policy::Decision;
use tidegate_settings::Resolved;

use crate::delay::Delay;

/// The numbers of one revision that decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// What one replica should have, in the metric's unit.
    pub target: f64,
    /// What one replica takes, in the metric's unit.
    pub total: f64,
    /// Requests that must fit in beyond the present ones; −1: always through the gateway.
    pub burst_capacity: f64,
    /// How many times the ready replicas must be wanted to begin panic.
    pub panic_threshold: f64,
    /// How many times the ready replicas may be wanted at once.
    pub up_rate: f64,
    /// What part of the ready replicas must stay at once: one over this.
    pub down_rate: f64,
    /// Replicas when a request wakes the revision; up to 1 has no effect.
    pub activation: u32,
    /// Replicas to begin with.
    pub initial: u32,
    /// Length of the stable window. Seconds.
    pub stable_window_s: u32,
    /// Length of the panic window. Seconds.
    pub panic_window_s: u32,
    /// How long demand must stay low before replicas go. Seconds.
    pub delay_s: u64,
    /// Length of a tick, and so of a slot of the delay. Milliseconds.
    pub tick_ms: u64,
}

/// The two averages that a decision is made of, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Averages {
    /// Over the stable window.
    pub stable: f64,
    /// Over the panic window.
    pub panic: f64,
}

impl Numbers {
    /// Those of a revision.
    pub fn of(resolved: &Resolved) -> Numbers {
        Numbers {
            target: resolved.target_value,
            total: resolved.total_value,
            burst_capacity: resolved.target_burst_capacity,
            panic_threshold: resolved.panic_threshold,
            up_rate: resolved.max_scale_up_rate,
            down_rate: resolved.max_scale_down_rate,
            activation: resolved.activation_scale,
            initial: resolved.initial_scale,
            stable_window_s: resolved.stable_window_s,
            panic_window_s: resolved.panic_window_s,
            delay_s: resolved.scale_down_delay_s,
            tick_ms: resolved.tick_ms,
        }
    }

    /// The averages of two windows, NaN being an empty one. No data if the stable window is empty, unless all requests come
    /// through the gateway, which would have reported any. An empty panic window beside a stable one that is not is 0.
    pub fn averages(&self, stable: f64, panic: f64) -> Option<Averages> {
        if stable.is_nan() && self.burst_capacity != -1.0 {
            return None;
        }
        let or_zero = |average: f64| if average.is_nan() { 0.0 } else { average };
        Some(Averages { stable: or_zero(stable), panic: or_zero(panic) })
    }

    /// The excess burst capacity before anything was decided.
    fn initial_excess(&self) -> f64 {
        if self.burst_capacity == 0.0 || self.burst_capacity == -1.0 {
            return self.burst_capacity;
        }
        (f64::from(self.initial) * self.total - self.burst_capacity).trunc()
    }
}

/// What is remembered about a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// When the threshold was last exceeded; nothing outside panic mode.
    pub panic_since_ms: Option<u64>,
    /// The largest count since panic began; 0 after leaving it.
    pub held: u32,
    /// The excess burst capacity last decided. Requests.
    pub excess: f64,
    /// The window of the scale-down delay. Whether there is one, and how long it is, is settled at birth.
    pub delay: Option<Delay>,
}

/// What was decided, and the way there. Replicas, except where said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// What is wanted.
    pub desired: u32,
    /// Excess burst capacity. Requests.
    pub excess: f64,
    /// Until when all this stays the same if the inputs do, state included. Unix milliseconds; 0: not even until the next tick.
    pub stands_until_ms: u64,
    /// Whether it is in panic mode.
    pub in_panic: bool,
    /// At most so many by the rate.
    pub up: f64,
    /// At least so many by the rate.
    pub down: f64,
    /// By the stable average, before the rates.
    pub raw_stable: f64,
    /// By the panic average, before the rates.
    pub raw_panic: f64,
    /// By the stable average.
    pub by_stable: u32,
    /// By the panic average.
    pub by_panic: u32,
    /// Before the scale-down delay.
    pub undelayed: u32,
}

impl State {
    /// At birth. With two or more ready replicas it starts in panic mode: they are kept for a stable window, so that a controller
    /// that starts anew drops nothing.
    pub fn new(numbers: &Numbers, at_ms: u64, ready: Option<f64>) -> State {
        let ready = ready.unwrap_or(0.0);
        State {
            panic_since_ms: (ready > 1.0).then_some(at_ms),
            held: replicas(ready),
            excess: numbers.initial_excess(),
            delay: Delay::new(numbers.delay_s.saturating_mul(1000), numbers.tick_ms),
        }
    }

    /// Decides. `ready`: the ready replicas.
    pub fn decide(
        &mut self,
        numbers: &Numbers,
        at_ms: u64,
        ready: f64,
        averages: Averages,
        is_reachable: bool,
    ) -> Verdict {
        let at_least_one = ready.max(1.0);
        let up = (numbers.up_rate * at_least_one).ceil();
        let down = if is_reachable { (at_least_one / numbers.down_rate).floor() } else { 0.0 };
        let raw_stable = (averages.stable / numbers.target).ceil();
        let raw_panic = (averages.panic / numbers.target).ceil();
        // The upper limit wins, and the activation scale goes past it.
        let within = |raw: f64| {
            let count = replicas(raw.max(down).min(up));
            if numbers.activation > 1 && raw > 0.0 { count.max(numbers.activation) } else { count }
        };
        let (by_stable, by_panic) = (within(raw_stable), within(raw_panic));

        let is_over = raw_panic / at_least_one >= numbers.panic_threshold;
        if is_over {
            self.panic_since_ms = Some(at_ms);
        } else if self.panic_ends_ms(numbers).is_some_and(|end| end < at_ms) {
            self.panic_since_ms = None;
            self.held = 0;
        }
        let mut undelayed = by_stable;
        if self.panic_since_ms.is_some() {
            self.held = self.held.max(by_stable).max(by_panic);
            undelayed = self.held;
        }

        let mut desired = undelayed;
        // In panic mode under load the state moves on with every decision.
        let mut stands_until_ms = if is_over { 0 } else { Decision::FOR_EVER };
        if let Some(end) = self.panic_ends_ms(numbers) {
            stands_until_ms = stands_until_ms.min(end.saturating_add(1));
        }
        if let Some(delay) = self.delay.as_mut().filter(|_| is_reachable) {
            desired = delay.record(at_ms, undelayed);
            stands_until_ms = stands_until_ms.min(delay.stands_until_ms(undelayed));
        }
        self.excess = match numbers.burst_capacity {
            0.0 => 0.0,
            capacity if capacity > 0.0 => {
                (ready * numbers.total - capacity - averages.panic).floor()
            }
            _ => -1.0,
        };
        let (excess, in_panic) = (self.excess, self.panic_since_ms.is_some());
        Verdict {
            desired,
            excess,
            stands_until_ms,
            in_panic,
            up,
            down,
            raw_stable,
            raw_panic,
            by_stable,
            by_panic,
            undelayed,
        }
    }

    /// The last moment of panic, should the threshold not be exceeded again.
    fn panic_ends_ms(&self, numbers: &Numbers) -> Option<u64> {
        let window_ms = u64::from(numbers.stable_window_s) * 1000;
        Some(self.panic_since_ms?.saturating_add(window_ms))
    }
}

/// As a count: whole already, and no more than a count can be.
fn replicas(count: f64) -> u32 {
    count as u32
}
