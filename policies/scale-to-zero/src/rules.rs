//! One run of the rules: wanted replicas in, wanted replicas out, with waits. Columns and words are unknown here.

use serde::{Deserialize, Serialize};
use tidegate_settings::{Resolved, activators};

use crate::condition::{Condition, Phase};

/// How long after the progress deadline an activation is given up.
const ACTIVATION_BUFFER_MS: u64 = 30_000;
/// How long after becoming inactive behind the gateway the rules are run again.
const REQUEUE_MS: u64 = 3_000;
/// How often a probe asks the gateway, how long it tries, and how long after its end the rules are run again.
const PROBE_EVERY_MS: u64 = 1_000;
const PROBE_FOR_MS: u64 = 45_000;
const AFTER_PROBE_MS: u64 = 1_000;

/// The numbers of one revision that decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Whether the last replica may go.
    pub may_be_zero: bool,
    /// How long it must be active before it may become inactive. Milliseconds.
    pub stable_window_ms: u64,
    /// How long the gateway must be in the path before the last replica goes. Milliseconds.
    pub grace_ms: u64,
    /// How long the last replica stays after becoming inactive. Milliseconds.
    pub retention_ms: u64,
    /// How long it may be activating before that is given up. Milliseconds.
    pub activation_ms: u64,
    /// Requests that must fit in beyond the present ones; −1: always through the gateway, which is then not probed.
    pub burst_capacity: f64,
    /// What one replica takes, in the metric's unit.
    pub total: f64,
    /// Requests in flight that one gateway carries.
    pub gateway_capacity: f64,
    /// Whether the gateway is needed in the path before any stage has said so.
    pub needs_gateway_at_first: bool,
}

impl Numbers {
    /// Those of a revision.
    pub fn of(resolved: &Resolved, progress_deadline_ms: u64) -> Numbers {
        let burst = resolved.target_burst_capacity;
        let initial_room = f64::from(resolved.initial_scale) * resolved.total_value;
        Numbers {
            may_be_zero: resolved.enable_scale_to_zero,
            stable_window_ms: u64::from(resolved.stable_window_s) * 1000,
            grace_ms: resolved.scale_to_zero_grace_period_ns.div_ceil(1_000_000),
            retention_ms: resolved.scale_to_zero_retention_ns.div_ceil(1_000_000),
            activation_ms: progress_deadline_ms.saturating_add(ACTIVATION_BUFFER_MS),
            burst_capacity: burst,
            total: resolved.total_value,
            gateway_capacity: resolved.activator_capacity,
            // Cut off to a whole number as Knative does: less than one short is not short.
            needs_gateway_at_first: burst == -1.0
                || burst != 0.0 && (initial_room - burst).trunc() < 0.0,
        }
    }

    /// How many gateways should carry the revision.
    pub fn activators(&self, ready: f64) -> f64 {
        activators(self.burst_capacity, self.total, self.gateway_capacity, ready)
    }
}

/// What a run sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// Now. Unix milliseconds.
    pub at_ms: u64,
    /// Replicas that the stages before want, within bounds; nothing was decided yet if `None`.
    pub proposal: Option<u32>,
    /// Whether the gateway is needed in the path while replicas are wanted.
    pub needs_gateway: bool,
    /// Ready replicas.
    pub ready: f64,
    /// The lower bound in force: 0 if unreachable, the initial scale while that binds.
    pub min: u32,
    /// The initial scale.
    pub initial: u32,
    /// Whether it was once ready.
    pub is_initialised: bool,
    /// Whether requests can be routed to it.
    pub is_reachable: bool,
    /// Whether the gateway answers on the public address.
    pub gateway_answers: bool,
    /// Since when the gateway is in the path.
    pub in_path_since_ms: Option<u64>,
    /// Whether nothing but an input's change makes the rules run.
    pub is_only_change: bool,
}

/// What is remembered about a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where it stands.
    pub condition: Condition,
    /// Whether requests pass through the gateway.
    pub is_proxied: bool,
    /// Replicas wanted last, as the status tells them.
    pub desired: Option<u32>,
    /// The one pending timer; the earliest wins. Unix milliseconds.
    pub timer_ms: Option<u64>,
    /// When the probe that is under way began. Unix milliseconds.
    pub probe_since_ms: Option<u64>,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Replicas wanted; `None`: not known yet.
    pub wanted: Option<u32>,
    /// Whether replicas are to be set to that.
    pub apply: bool,
    /// Why.
    pub wait: Wait,
}

/// Why a run came to what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing was decided yet.
    NoDecision,
    /// Replicas are wanted.
    Wanted,
    /// Scale to zero is switched off.
    SwitchedOff,
    /// It is activating, and no replica is wanted any more.
    Activation,
    /// Activating took too long.
    GaveUp,
    /// It has not been active for a stable window.
    StableWindow,
    /// It has been idle for long enough to become inactive.
    Idle,
    /// The gateway does not answer yet.
    Gateway,
    /// The last replica is retained.
    Retention,
    /// The gateway has not been in the path for long enough.
    Grace,
    /// The last replica may go.
    Zero,
}

impl Wait {
    /// In one line; nothing where the stages before it have said it all.
    pub(crate) fn told(self, state: &State, numbers: &Numbers) -> String {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        match self {
            Wait::NoDecision => "nothing decided yet".into(),
            Wait::Wanted => String::new(),
            Wait::SwitchedOff => "scale to zero is switched off".into(),
            Wait::Activation => {
                format!("activating for at most {} s", seconds(numbers.activation_ms))
            }
            Wait::GaveUp => {
                format!("no replica got ready within {} s", seconds(numbers.activation_ms))
            }
            Wait::StableWindow => {
                format!(
                    "active for less than the stable window of {} s",
                    seconds(numbers.stable_window_ms)
                )
            }
            Wait::Idle => format!(
                "idle for the whole stable window of {} s",
                seconds(numbers.stable_window_ms)
            ),
            Wait::Gateway => "the gateway does not answer yet".into(),
            Wait::Retention => {
                format!("the last replica is retained for {} s", seconds(numbers.retention_ms))
            }
            Wait::Grace => {
                format!("the gateway must be in the path for {} s", seconds(numbers.grace_ms))
            }
            Wait::Zero if state.condition.phase == (Phase::Inactive { timed_out: true }) => {
                "gave up activating".into()
            }
            Wait::Zero => {
                "inactive, and the gateway is in the path: the last replica may go".into()
            }
        }
    }
}

impl State {
    /// At birth: activating.
    pub fn new(at_ms: u64) -> State {
        State {
            condition: Condition { phase: Phase::Activating, since_s: at_ms / 1000 },
            is_proxied: true,
            desired: None,
            timer_ms: None,
            probe_since_ms: None,
        }
    }

    /// When the rules must run again. Until then a run that sees the same changes nothing.
    pub fn next_at_ms(&self) -> u64 {
        self.timer_ms.unwrap_or(u64::MAX)
    }

    /// Runs the rules once.
    pub fn decide(&mut self, numbers: &Numbers, sight: &Sight) -> Verdict {
        if self.timer_ms.is_some_and(|timer| timer <= sight.at_ms) {
            self.timer_ms = None;
        }
        let (wanted, apply, wait) = self.wanted(numbers, sight);

        let threshold =
            if sight.is_initialised { sight.min.max(1) } else { sight.min.max(sight.initial) };
        self.is_proxied = wanted.is_none_or(|wanted| wanted == 0) || sight.needs_gateway;
        self.condition.step(sight.at_ms, wanted, sight.ready, threshold);
        self.desired = wanted.or(self.desired);
        Verdict { wanted, apply, wait }
    }

    fn wanted(&mut self, numbers: &Numbers, sight: &Sight) -> (Option<u32>, bool, Wait) {
        let bounded = match sight.proposal {
            Some(proposal) => proposal,
            None if self.condition.phase == Phase::Activating => sight.min,
            None => return (None, false, Wait::NoDecision),
        };
        if bounded > 0 {
            return (Some(bounded), true, Wait::Wanted);
        }
        if !numbers.may_be_zero {
            return (Some(1), true, Wait::SwitchedOff);
        }
        let (at_ms, age_ms) = (sight.at_ms, self.condition.age_ms(sight.at_ms));
        match self.condition.phase {
            Phase::Activating if age_ms > numbers.activation_ms => (Some(0), true, Wait::GaveUp),
            Phase::Activating => {
                // The whole period from now, not its rest: a look in between can make this up to twice as long.
                self.wake_at(at_ms.saturating_add(numbers.activation_ms));
                (None, false, Wait::Activation)
            }
            Phase::Active if age_ms >= numbers.stable_window_ms => {
                if self.is_proxied {
                    self.wake_at(at_ms.saturating_add(REQUEUE_MS));
                }
                (Some(0), false, Wait::Idle)
            }
            Phase::Active => {
                self.wake_at(self.condition.ends_ms(numbers.stable_window_ms));
                (Some(1), true, Wait::StableWindow)
            }
            Phase::Inactive { .. } => {
                let (apply, wait) = self.last_replica(numbers, sight, age_ms);
                (Some(0), apply, wait)
            }
        }
    }

    /// Whether the last replica of an inactive revision goes now.
    fn last_replica(&mut self, numbers: &Numbers, sight: &Sight, age_ms: u64) -> (bool, Wait) {
        if numbers.burst_capacity != -1.0 && !self.gateway_answers(sight) {
            return (false, Wait::Gateway);
        }
        let retention_ms = if sight.is_reachable { numbers.retention_ms } else { 0 };
        if age_ms >= numbers.grace_ms.max(retention_ms) {
            return (true, Wait::Zero);
        }
        if age_ms < retention_ms {
            self.wake_at(self.condition.ends_ms(retention_ms));
            return (false, Wait::Retention);
        }
        // Its condition, too, is kept in whole seconds.
        let since_ms = sight.in_path_since_ms.map_or(sight.at_ms, |since| since / 1000 * 1000);
        let grace_ends_ms = since_ms.saturating_add(numbers.grace_ms);
        if grace_ends_ms <= sight.at_ms {
            return (true, Wait::Zero);
        }
        self.wake_at(grace_ends_ms);
        (false, Wait::Grace)
    }

    /// Knative asks the gateway itself: at once, and if there is no answer, every second for 45 s; the rules run again one second
    /// after the end of that. Here the host tells when the gateway begins to answer, so the end of the probe is computed.
    fn gateway_answers(&mut self, sight: &Sight) -> bool {
        let under_way =
            self.probe_since_ms.filter(|since| sight.at_ms < since.saturating_add(PROBE_FOR_MS));
        match (sight.gateway_answers, under_way) {
            (true, Some(since)) if sight.is_only_change => {
                // What made the rules run is the answer itself: Knative would see it at the probe's next turn.
                let turns = (sight.at_ms - since.min(sight.at_ms)).div_ceil(PROBE_EVERY_MS);
                self.probe_since_ms = None;
                self.wake_at(
                    since.saturating_add(turns * PROBE_EVERY_MS).saturating_add(AFTER_PROBE_MS),
                );
                false
            }
            (true, _) => {
                self.probe_since_ms = None;
                true
            }
            (false, Some(_)) => false,
            (false, None) => {
                self.probe_since_ms = Some(sight.at_ms);
                self.wake_at(sight.at_ms.saturating_add(PROBE_FOR_MS + AFTER_PROBE_MS));
                false
            }
        }
    }

    /// Sets the timer, unless an earlier one is pending.
    fn wake_at(&mut self, at_ms: u64) {
        self.timer_ms = Some(self.timer_ms.map_or(at_ms, |pending| pending.min(at_ms)));
    }
}
