//! The cluster's settings: a ConfigMap, read and checked in Knative's order; the first fault refuses it whole.

use std::collections::BTreeMap;
use std::fmt;

use crate::duration::{NANOS_PER_SECOND, parse_duration};
use crate::keys::{Key, Kind};
use crate::number::{flag, float, whole};
use crate::reason::Reason;

/// The least that a replica's target may be. Requests, or requests a second.
pub(crate) const LEAST_TARGET: f64 = 0.01;
/// Range of the stable window. Nanoseconds.
pub(crate) const STABLE_WINDOW: std::ops::RangeInclusive<i64> =
    6 * NANOS_PER_SECOND..=3600 * NANOS_PER_SECOND;

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
    /// The keys at fault, with what stands there (the default, where they are absent).
    pub found: Vec<(Key, String)>,
    /// What is wrong.
    pub reason: Reason,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    /// Key, what was found and what is allowed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (key, value)) in self.found.iter().enumerate() {
            let and = if nth == 0 { "" } else { " and " };
            write!(f, "{and}{} is {value:?}", key.cluster_name())?;
        }
        write!(f, ", expected {}", self.expected())
    }
}

impl ConfigError {
    /// What is allowed, for people.
    pub fn expected(&self) -> String {
        let Some((key, _)) = self.found.first() else { return String::new() };
        match self.reason {
            Reason::Unparsable => key.setting().kind.is_written().to_owned(),
            Reason::MinAboveMax => "a maximum of 0 or at least the minimum".to_owned(),
            Reason::ProductTooSmall => format!("a product of at least {LEAST_TARGET}"),
            _ => key.cluster_range().to_owned(),
        }
    }
}

impl Cluster {
    /// Reads a ConfigMap; what is absent has Knative's default. Unknown keys are ignored here: see
    /// [`unknown_keys`](crate::unknown_keys).
    pub fn read(config: &BTreeMap<String, String>) -> Result<Cluster, ConfigError> {
        let reader = Reader { config };
        for key in Key::ALL.into_iter().filter(|key| key.setting().cluster.is_some()) {
            reader.check_form(key)?;
        }
        reader.check_ranges()?;
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
        let (name, default) =
            key.setting().cluster.expect("only keys of the ConfigMap are read here");
        self.config.get(name).map_or(default, String::as_str)
    }

    fn error(&self, keys: &[Key], reason: Reason) -> ConfigError {
        let found = keys.iter().map(|key| (*key, self.text(*key).to_owned())).collect();
        ConfigError { found, reason }
    }

    fn check_form(&self, key: Key) -> Result<(), ConfigError> {
        let text = self.text(key);
        let is_well_formed = match key.setting().kind {
            Kind::Float => float(text).is_some(),
            Kind::Whole => whole(text).value().is_some(),
            Kind::Flag => flag(text).is_some(),
            Kind::Duration => parse_duration(text).is_some(),
            Kind::Text => true,
        };
        if is_well_formed { Ok(()) } else { Err(self.error(&[key], Reason::Unparsable)) }
    }

    /// The range checks, in Knative's order.
    fn check_ranges(&self) -> Result<(), ConfigError> {
        use Reason as R;
        let require = |holds: bool, keys: &[Key], reason: R| {
            if holds { Ok(()) } else { Err(self.error(keys, reason)) }
        };
        let delay = self.nanos(Key::ScaleDownDelay);
        require(
            self.nanos(Key::ScaleToZeroGracePeriod) > 0,
            &[Key::ScaleToZeroGracePeriod],
            R::NotPositive,
        )?;
        require(delay >= 0, &[Key::ScaleDownDelay], R::Negative)?;
        require(delay % NANOS_PER_SECOND == 0, &[Key::ScaleDownDelay], R::NotWholeSeconds)?;
        let retention = Key::ScaleToZeroPodRetentionPeriod;
        require(self.nanos(retention) >= 0, &[retention], R::Negative)?;
        let burst = self.float(Key::TargetBurstCapacity);
        require(
            burst >= 0.0 || burst == -1.0,
            &[Key::TargetBurstCapacity],
            R::NeitherNonnegativeNorMinusOne,
        )?;
        let percentage = Key::ContainerConcurrencyTargetPercentage;
        let fraction = self.fraction();
        require(fraction > 0.0 && fraction <= 1.0, &[percentage], R::OutOfRange)?;
        let total = Key::ContainerConcurrencyTargetDefault;
        require(
            fraction * self.float(total) >= LEAST_TARGET,
            &[total, percentage],
            R::ProductTooSmall,
        )?;
        let rps = Key::RequestsPerSecondTargetDefault;
        require(self.float(rps) >= LEAST_TARGET, &[rps], R::TooSmall)?;
        require(self.float(Key::ActivatorCapacity) >= 1.0, &[Key::ActivatorCapacity], R::TooSmall)?;
        for rate in [Key::MaxScaleUpRate, Key::MaxScaleDownRate] {
            require(self.float(rate) > 1.0, &[rate], R::TooSmall)?;
        }
        let stable = self.nanos(Key::StableWindow);
        require(STABLE_WINDOW.contains(&stable), &[Key::StableWindow], R::OutOfRange)?;
        require(stable % NANOS_PER_SECOND == 0, &[Key::StableWindow], R::NotWholeSeconds)?;
        let panic = self.float(Key::PanicWindowPercentage);
        require((1.0..=100.0).contains(&panic), &[Key::PanicWindowPercentage], R::OutOfRange)?;
        let initial = self.whole(Key::InitialScale);
        let least = i32::from(!self.flag(Key::AllowZeroInitialScale));
        require(initial >= least, &[Key::InitialScale], R::TooSmall)?;
        let (min, max) = (self.whole(Key::MinScale), self.whole(Key::MaxScale));
        let limit = self.whole(Key::MaxScaleLimit);
        require(min >= 0, &[Key::MinScale], R::TooSmall)?;
        let within = if limit > 0 { (1..=limit).contains(&max) } else { max >= 0 };
        require(within, &[Key::MaxScale], R::OutOfRange)?;
        require(limit >= 0, &[Key::MaxScaleLimit], R::TooSmall)?;
        require(max == 0 || min <= max, &[Key::MaxScale, Key::MinScale], R::MinAboveMax)?;
        let tick = self.nanos(Key::TickInterval);
        let is_tick =
            (100_000_000..=3600 * NANOS_PER_SECOND).contains(&tick) && tick % 1_000_000 == 0;
        require(is_tick, &[Key::TickInterval], R::OutOfRange)
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
