//! The one table of settings: what each is called, where it may be written, its default, kind and range, and as what it is refused
//! beyond that range. Everything that reads, checks or tells about a setting goes by it, and its rows stand in the order of the
//! checks. Rules that join two settings are in `cluster` and `annotations`.

use std::collections::BTreeMap;

use crate::annotations::{HPA_CLASS, KPA_CLASS};
use crate::range::{Range, SECOND, Step};
use crate::reason::Reason;

/// What annotations of the autoscaler begin with.
pub const PREFIX: &str = "autoscaling.knative.dev/";

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A decimal number.
    Float,
    /// A whole number of 32 bits.
    Whole,
    /// `true` or `false`, in Go's spellings.
    Flag,
    /// A duration in Go's spelling.
    Duration,
    /// Any text.
    Text,
}

impl Kind {
    /// What to write, in a few words.
    pub fn is_written(self) -> &'static str {
        match self {
            Kind::Float => "a number",
            Kind::Whole => "a whole number",
            Kind::Flag => "true or false",
            Kind::Duration => "a duration with its unit (as in 30s)",
            Kind::Text => "a text",
        }
    }
}

/// A setting's key in the ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InCluster {
    /// The key.
    pub name: &'static str,
    /// What it is where it is absent: Knative's default.
    pub default: &'static str,
    /// What is allowed.
    pub range: Range,
    /// As what a value outside is refused.
    pub(crate) reason: Reason,
}

/// A setting's two spellings as an annotation, without the prefix, and what is allowed there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Annotation {
    /// As it is written today.
    pub name: &'static str,
    /// As it was written once; read only where the other is absent.
    pub old: Option<&'static str>,
    /// What is allowed.
    pub range: Range,
    /// As what a value outside is refused.
    pub(crate) reason: Reason,
}

/// A setting of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Its key in the ConfigMap.
    pub cluster: Option<InCluster>,
    /// Its annotation.
    pub annotation: Option<Annotation>,
    /// How it is written.
    pub kind: Kind,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ident, $cluster:expr, $annotation:expr;)*) => {
        /// A setting. In the order of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Key { $($(#[doc = $doc])* $name),* }

        impl Key {
            /// Every setting, in the order in which Knative checks their ranges.
            pub const ALL: [Key; [$(Key::$name),*].len()] = [$(Key::$name),*];

            /// What the table says about it.
            pub const fn setting(self) -> Setting {
                match self {
                    $(Key::$name => Setting { cluster: $cluster, annotation: $annotation, kind: Kind::$kind }),*
                }
            }

            /// What it is, in a sentence.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Key::$name => concat!($($doc),*).trim_ascii()),*
                }
            }
        }
    };
}

/// A key of the ConfigMap.
const fn key(
    name: &'static str,
    default: &'static str,
    range: Range,
    reason: Reason,
) -> Option<InCluster> {
    Some(InCluster { name, default, range, reason })
}

/// A key of the ConfigMap that may be whatever can be read.
const fn any(name: &'static str, default: &'static str) -> Option<InCluster> {
    key(name, default, Range::Any, Reason::Unparsable)
}

/// An annotation that was also written in camel case once.
const fn both(
    name: &'static str,
    old: &'static str,
    range: Range,
    reason: Reason,
) -> Option<Annotation> {
    Some(Annotation { name, old: Some(old), range, reason })
}

/// An annotation of one spelling.
const fn only(name: &'static str, range: Range, reason: Reason) -> Option<Annotation> {
    Some(Annotation { name, old: None, range, reason })
}

/// The least that a replica's target may be. Requests, or requests a second.
pub(crate) const LEAST_TARGET: f64 = 0.01;
const BURST: Range = Range::at_least(0.0).or(-1.0);
const WINDOW: Range = Range::up_to_an_hour(6.0 * SECOND).whole(Step::Seconds);
const PER_CENT: Range = Range::within(1.0, 100.0);
const COUNT: Range = Range::at_least(0.0);
const COUNT_OF_32_BITS: Range = Range::within(0.0, i32::MAX as f64);

settings! {
    /// How long the gateway must be in the path before the last replica goes.
    ScaleToZeroGracePeriod: Duration,
        key("scale-to-zero-grace-period", "30s", Range::above(0.0), Reason::NotPositive), None;
    /// How long demand must stay low before replicas go.
    ScaleDownDelay: Duration,
        key("scale-down-delay", "0s", Range::at_least(0.0).whole(Step::Seconds), Reason::Negative),
        both("scale-down-delay", "scaleDownDelay", Range::up_to_an_hour(0.0).whole(Step::Seconds), Reason::OutOfBounds);
    /// How long the last replica stays after the revision became inactive.
    ScaleToZeroPodRetentionPeriod: Duration,
        key("scale-to-zero-pod-retention-period", "0s", Range::at_least(0.0), Reason::Negative),
        both("scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod", Range::up_to_an_hour(0.0), Reason::OutOfBounds);
    /// Requests that must fit in beyond the present ones before the gateway leaves the path.
    TargetBurstCapacity: Float,
        key("target-burst-capacity", "211", BURST, Reason::NeitherNonnegativeNorMinusOne),
        both("target-burst-capacity", "targetBurstCapacity", BURST, Reason::Invalid);
    /// Share of a replica's concurrency that is aimed at.
    ContainerConcurrencyTargetPercentage: Float,
        key("container-concurrency-target-percentage", "70", Range::above_up_to(0.0, 100.0).noted("up to 1 it is a fraction"), Reason::OutOfRange),
        both("target-utilization-percentage", "targetUtilizationPercentage", PER_CENT, Reason::OutOfBounds);
    /// Requests in flight that an unlimited replica takes.
    ContainerConcurrencyTargetDefault: Float, any("container-concurrency-target-default", "100"),
        only("target", Range::at_least(LEAST_TARGET), Reason::TooSmall);
    /// Requests a second that a replica takes.
    RequestsPerSecondTargetDefault: Float,
        key("requests-per-second-target-default", "200", Range::at_least(LEAST_TARGET), Reason::TooSmall), None;
    /// Requests in flight that one gateway carries.
    ActivatorCapacity: Float, key("activator-capacity", "100.0", Range::at_least(1.0), Reason::TooSmall), None;
    /// How many times the ready replicas may be wanted at once.
    MaxScaleUpRate: Float, key("max-scale-up-rate", "1000.0", Range::above(1.0), Reason::TooSmall), None;
    /// What part of the ready replicas must stay at once: one over this.
    MaxScaleDownRate: Float, key("max-scale-down-rate", "2.0", Range::above(1.0), Reason::TooSmall), None;
    /// Length of the long window.
    StableWindow: Duration, key("stable-window", "60s", WINDOW, Reason::OutOfRange), only("window", WINDOW, Reason::OutOfBounds);
    /// Length of the short window, per cent of the long one.
    PanicWindowPercentage: Float, key("panic-window-percentage", "10.0", PER_CENT, Reason::OutOfRange),
        both("panic-window-percentage", "panicWindowPercentage", PER_CENT, Reason::OutOfBounds);
    /// Replicas to begin with.
    InitialScale: Whole,
        key("initial-scale", "1", COUNT.noted("0 only with allow-zero-initial-scale"), Reason::TooSmall),
        both("initial-scale", "initialScale", COUNT.noted("0 only if the cluster allows it"), Reason::Negative);
    /// At least so many replicas.
    MinScale: Whole, key("min-scale", "0", COUNT, Reason::TooSmall), both("min-scale", "minScale", COUNT_OF_32_BITS, Reason::OutOfBounds);
    /// At most so many replicas; 0 is no limit.
    MaxScale: Whole, key("max-scale", "0", COUNT, Reason::OutOfRange), both("max-scale", "maxScale", COUNT_OF_32_BITS, Reason::OutOfBounds);
    /// What no maximum may exceed; 0 is no limit.
    MaxScaleLimit: Whole, key("max-scale-limit", "0", COUNT, Reason::TooSmall), None;
    /// Per cent of the ready replicas that must be wanted to begin panic.
    PanicThresholdPercentage: Float, any("panic-threshold-percentage", "200.0"),
        both("panic-threshold-percentage", "panicThresholdPercentage", Range::within(110.0, 1000.0), Reason::OutOfBounds);
    /// Whether the last replica may go.
    EnableScaleToZero: Flag, any("enable-scale-to-zero", "true"), None;
    /// Whether a revision may begin without replicas.
    AllowZeroInitialScale: Flag, any("allow-zero-initial-scale", "false"), None;
    /// Who scales revisions that do not say.
    Class: Text, any("pod-autoscaler-class", KPA_CLASS), only("class", Range::words(&[KPA_CLASS, HPA_CLASS], &[]), Reason::Invalid);
    /// How long a tick is; also the length of a slot of the scale-down delay. Tidegate's own: Knative has 2 s built in.
    TickInterval: Duration,
        key("tick-interval", "2s", Range::up_to_an_hour(0.1 * SECOND).whole(Step::Milliseconds), Reason::OutOfRange), None;
    /// Replicas when a request wakes the revision.
    ActivationScale: Whole, None, only("activation-scale", Range::at_least(2.0), Reason::TooSmall);
    /// What is counted.
    Metric: Text, None, only("metric", Range::words(&["concurrency", "rps"], &[]), Reason::Invalid);
    /// How it is averaged.
    MetricAggregationAlgorithm: Text, None,
        both("metric-aggregation-algorithm", "metricAggregationAlgorithm", Range::words(&["linear", "weighted-exponential"], &["weightedExponential", ""]), Reason::Invalid);
}

/// The order in which Knative reads the keys of the ConfigMap, before it checks any range: of several that do not read, it tells of
/// the first. Tidegate's own comes last.
pub(crate) const READING_ORDER: [Key; 21] = [
    Key::Class,
    Key::EnableScaleToZero,
    Key::AllowZeroInitialScale,
    Key::MaxScaleUpRate,
    Key::MaxScaleDownRate,
    Key::ContainerConcurrencyTargetPercentage,
    Key::ContainerConcurrencyTargetDefault,
    Key::RequestsPerSecondTargetDefault,
    Key::TargetBurstCapacity,
    Key::PanicWindowPercentage,
    Key::ActivatorCapacity,
    Key::PanicThresholdPercentage,
    Key::InitialScale,
    Key::MinScale,
    Key::MaxScale,
    Key::MaxScaleLimit,
    Key::StableWindow,
    Key::ScaleDownDelay,
    Key::ScaleToZeroGracePeriod,
    Key::ScaleToZeroPodRetentionPeriod,
    Key::TickInterval,
];

impl Key {
    /// Its key in the ConfigMap; empty if it has none.
    pub fn cluster_name(self) -> &'static str {
        self.setting().cluster.map_or("", |cluster| cluster.name)
    }

    /// The annotation as it is found, and its value; the old spelling only where the present one is absent.
    pub(crate) fn annotated(
        self,
        annotations: &BTreeMap<String, String>,
    ) -> Option<(String, &str)> {
        let annotation = self.setting().annotation?;
        [Some(annotation.name), annotation.old].into_iter().flatten().find_map(|name| {
            let name = format!("{PREFIX}{name}");
            let value = annotations.get(&name)?;
            Some((name, value.as_str()))
        })
    }

    /// The annotation's present name, with the prefix; empty if it has none.
    pub fn annotation_name(self) -> String {
        self.setting().annotation.map_or_else(String::new, |a| format!("{PREFIX}{}", a.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_config_map_is_read_once_and_has_a_default_within_its_range() {
        let mut read = READING_ORDER.to_vec();
        read.sort();
        let keys: Vec<_> =
            Key::ALL.into_iter().filter(|key| key.setting().cluster.is_some()).collect();
        assert_eq!(read, keys);
        crate::Cluster::read(&BTreeMap::new()).expect("the defaults are in order");
    }
}
