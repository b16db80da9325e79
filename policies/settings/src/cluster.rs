//! The cluster's settings: a ConfigMap, read and checked in Knative's order; the first fault refuses it whole.

use std::collections::BTreeMap;
use std::fmt;

use crate::duration::parse_duration;
use crate::keys::{Key, Kind, LEAST_TARGET, READING_ORDER};
use crate::number::{flag, float, whole};
use crate::range::Range;
use crate::reason::Reason;

/// A cluster's settings, checked. Durations in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Share of a replica's concurrency that is aimed at, 0 to 1.
    pub target_fraction: f64,
    /// Requests in flight that an unlimited replica takes.
    pub target_default: f64,
    /// Requests a second that a replica takes.
    pub rps_target_default: f64,
    /// Requests that must fit in beyond the present ones; −1: always through the gateway.
    pub target_burst_capacity: f64,
    /// Length of the long window.
    pub stable_window_ns: i64,
    /// Length of the short window, per cent of the long one.
    pub panic_window_percentage: f64,
    /// Per cent of the ready replicas that must be wanted to begin panic.
    pub panic_threshold_percentage: f64,
    /// How many times the ready replicas may be wanted at once.
    pub max_scale_up_rate: f64,
    /// What part of the ready replicas must stay at once: one over this.
    pub max_scale_down_rate: f64,
    /// Whether the last replica may go.
    pub enable_scale_to_zero: bool,
    /// How long the gateway must be in the path before the last replica goes.
    pub grace_period_ns: i64,
    /// How long the last replica stays after the revision became inactive.
    pub retention_period_ns: i64,
    /// How long demand must stay low before replicas go.
    pub scale_down_delay_ns: i64,
    /// Replicas to begin with.
    pub initial_scale: u32,
    /// Whether a revision may begin without replicas.
    pub allow_zero_initial_scale: bool,
    /// At least so many replicas.
    pub min_scale: u32,
    /// At most so many replicas; 0 is no limit.
    pub max_scale: u32,
    /// What no maximum may exceed; 0 is no limit.
    pub max_scale_limit: u32,
    /// Requests in flight that one gateway carries.
    pub activator_capacity: f64,
    /// Who scales revisions that do not say.
    pub class: String,
    /// Length of a tick.
    pub tick_ns: i64,
}

/// Why a ConfigMap is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The keys at fault: one, or two that do not go together.
    pub found: Vec<Found>,
    /// What is wrong.
    pub reason: Reason,
    /// What is allowed, for people.
    pub expected: String,
    /// Another key that makes it wrong, where one does: the limit that a maximum is above.
    pub because_of: Option<Key>,
}

/// A key of a ConfigMap with what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: String,
    /// Whether it is absent, and the value is the default.
    pub is_default: bool,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    /// Key, what was found and what is allowed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, Found { key, value, is_default }) in self.found.iter().enumerate() {
            let and = if nth == 0 { "" } else { " and " };
            let default = if *is_default { " by default" } else { "" };
            write!(f, "{and}{} is {value:?}{default}", key.cluster_name())?;
        }
        write!(f, ", expected {}", self.expected)
    }
}

impl Cluster {
    /// Reads a ConfigMap; what is absent has Knative's default. Unknown keys are ignored here: see
    /// [`unknown_keys`](crate::unknown_keys).
    pub fn read(config: &BTreeMap<String, String>) -> Result<Cluster, ConfigError> {
        let reader = Reader { config };
        for key in READING_ORDER {
            reader.check_form(key)?;
        }
        for key in Key::ALL {
            reader.check_range(key)?;
            reader.check_with_others(key)?;
        }
        Ok(Cluster {
            target_fraction: reader.fraction(),
            target_default: reader.float(Key::ContainerConcurrencyTargetDefault),
            rps_target_default: reader.float(Key::RequestsPerSecondTargetDefault),
            target_burst_capacity: reader.float(Key::TargetBurstCapacity),
            stable_window_ns: reader.nanos(Key::StableWindow),
            panic_window_percentage: reader.float(Key::PanicWindowPercentage),
            panic_threshold_percentage: reader.float(Key::PanicThresholdPercentage),
            max_scale_up_rate: reader.float(Key::MaxScaleUpRate),
            max_scale_down_rate: reader.float(Key::MaxScaleDownRate),
            enable_scale_to_zero: reader.flag(Key::EnableScaleToZero),
            grace_period_ns: reader.nanos(Key::ScaleToZeroGracePeriod),
            retention_period_ns: reader.nanos(Key::ScaleToZeroPodRetentionPeriod),
            scale_down_delay_ns: reader.nanos(Key::ScaleDownDelay),
            initial_scale: reader.whole(Key::InitialScale).unsigned_abs(),
            allow_zero_initial_scale: reader.flag(Key::AllowZeroInitialScale),
            min_scale: reader.whole(Key::MinScale).unsigned_abs(),
            max_scale: reader.whole(Key::MaxScale).unsigned_abs(),
            max_scale_limit: reader.whole(Key::MaxScaleLimit).unsigned_abs(),
            activator_capacity: reader.float(Key::ActivatorCapacity),
            class: reader.text(Key::Class).to_owned(),
            tick_ns: reader.nanos(Key::TickInterval),
        })
    }

    /// Length of a tick. Milliseconds.
    pub fn tick_ms(&self) -> u64 {
        self.tick_ns.unsigned_abs() / 1_000_000
    }
}

/// The texts of a ConfigMap with the table's defaults behind them.
struct Reader<'a> {
    config: &'a BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    fn text(&self, key: Key) -> &'a str {
        let cluster = key.setting().cluster.expect("only keys of the ConfigMap are read here");
        self.config.get(cluster.name).map_or(cluster.default, String::as_str)
    }

    fn refuse(&self, keys: &[Key], reason: Reason, expected: String) -> Result<(), ConfigError> {
        let found = keys.iter().map(|&key| Found {
            key,
            value: self.text(key).to_owned(),
            is_default: !self.config.contains_key(key.cluster_name()),
        });
        Err(ConfigError { found: found.collect(), reason, expected, because_of: None })
    }

    /// Whether the text of a key can be read at all.
    fn check_form(&self, key: Key) -> Result<(), ConfigError> {
        let text = self.text(key);
        let setting = key.setting();
        let is_well_formed = match setting.kind {
            Kind::Float => float(text).is_some(),
            Kind::Whole => whole(text).value().is_some(),
            Kind::Flag => flag(text).is_some(),
            Kind::Duration => parse_duration(text).is_some(),
            Kind::Text => true,
        };
        if is_well_formed {
            return Ok(());
        }
        let range = setting.cluster.map_or(Range::Any, |cluster| cluster.range);
        self.refuse(&[key], Reason::Unparsable, range.told_in_full(setting.kind))
    }

    /// The range that the table gives a key, and then its precision.
    fn check_range(&self, key: Key) -> Result<(), ConfigError> {
        let setting = key.setting();
        let Some(cluster) = setting.cluster else { return Ok(()) };
        let (number, nanos) = match setting.kind {
            Kind::Float => (self.float(key), 0),
            Kind::Whole => (f64::from(self.whole(key)), 0),
            Kind::Duration => (self.nanos(key) as f64, self.nanos(key)),
            Kind::Flag | Kind::Text => return Ok(()),
        };
        if !cluster.range.holds(number) {
            return self.refuse(&[key], cluster.reason, cluster.range.told(setting.kind));
        }
        if !cluster.range.step().divides(nanos) {
            let reason = cluster.range.step().reason().unwrap_or(cluster.reason);
            return self.refuse(&[key], reason, cluster.range.told(setting.kind));
        }
        Ok(())
    }

    /// What a key must be in view of others, told when it is that key's turn.
    fn check_with_others(&self, key: Key) -> Result<(), ConfigError> {
        let limit = || self.whole(Key::MaxScaleLimit);
        if key == Key::ContainerConcurrencyTargetPercentage {
            let total = Key::ContainerConcurrencyTargetDefault;
            if self.fraction() * self.float(total) < LEAST_TARGET {
                let expected = format!("a target of at least {LEAST_TARGET}, one times the other");
                return self.refuse(&[total, key], Reason::ProductTooSmall, expected);
            }
        }
        if key == Key::InitialScale
            && self.whole(key) == 0
            && !self.flag(Key::AllowZeroInitialScale)
        {
            let expected = "at least 1, or allow-zero-initial-scale to be true".to_owned();
            return self.refuse(&[key], Reason::TooSmall, expected);
        }
        if key == Key::MaxScale && limit() > 0 && !(1..=limit()).contains(&self.whole(key)) {
            let expected = format!("1 to {}, the max-scale-limit", limit());
            let because_of = Some(Key::MaxScaleLimit);
            return self
                .refuse(&[key], Reason::OutOfRange, expected)
                .map_err(|error| ConfigError { because_of, ..error });
        }
        if key == Key::MaxScaleLimit {
            let (min, max) = (self.whole(Key::MinScale), self.whole(Key::MaxScale));
            if max != 0 && min > max {
                let expected = "a max-scale of at least min-scale, or 0 for none".to_owned();
                let keys = [Key::MaxScale, Key::MinScale];
                return self.refuse(&keys, Reason::MinAboveMax, expected);
            }
        }
        Ok(())
    }

    /// The share as a fraction: up to 1 it is one already.
    fn fraction(&self) -> f64 {
        let value = self.float(Key::ContainerConcurrencyTargetPercentage);
        if value > 1.0 { value / 100.0 } else { value }
    }

    fn float(&self, key: Key) -> f64 {
        float(self.text(key)).expect("its form was checked")
    }

    fn whole(&self, key: Key) -> i32 {
        whole(self.text(key)).value().expect("its form was checked")
    }

    fn flag(&self, key: Key) -> bool {
        flag(self.text(key)).expect("its form was checked")
    }

    fn nanos(&self, key: Key) -> i64 {
        parse_duration(self.text(key)).expect("its form was checked")
    }
}
