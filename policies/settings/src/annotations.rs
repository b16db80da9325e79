//! A revision's annotations: checked all together, as admission does, and read over the cluster's settings.

use std::collections::BTreeMap;
use std::fmt;

use crate::cluster::Cluster;
use crate::duration::parse_duration;
use crate::keys::{Annotation, Key, Kind};
use crate::number::{Whole, float, whole};
use crate::reason::Reason;
use crate::resolve::{Aggregation, Metric};

/// The class that Tidegate's policies decide for.
pub(crate) const KPA_CLASS: &str = "kpa.autoscaling.knative.dev";
pub(crate) const HPA_CLASS: &str = "hpa.autoscaling.knative.dev";

/// Why an annotation is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationError {
    /// Which setting it is.
    pub key: Key,
    /// The annotation as it was written, prefix included.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What is wrong.
    pub reason: Reason,
    /// What is allowed, for people.
    pub expected: String,
}

impl std::error::Error for AnnotationError {}

impl fmt::Display for AnnotationError {
    /// What was found and what is allowed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {:?}, expected {}", self.name, self.value, self.expected)
    }
}

/// A revision's settings: its annotations over the cluster's.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    pub(crate) cluster: Cluster,
    pub(crate) class: String,
    pub(crate) metric: Metric,
    pub(crate) aggregation: Aggregation,
    /// Requests, or requests a second, for each replica.
    pub(crate) target: Option<f64>,
    pub(crate) utilization_percentage: Option<f64>,
    pub(crate) activation_scale: u32,
}

impl Revision {
    /// Checks annotations and reads them over `cluster`. All faults are told, sorted by annotation.
    pub fn read(
        cluster: &Cluster,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Revision, Vec<AnnotationError>> {
        let mut checker = Checker { annotations, errors: Vec::new() };
        checker.class();
        checker.scales(cluster);
        for key in Key::ALL {
            checker.number(key);
        }
        checker.words(cluster);
        checker.initial_scale(cluster);
        if checker.errors.is_empty() {
            return Ok(Revision::of_sound(cluster, annotations));
        }
        checker.errors.sort_by_key(|error| error.key.annotation_name());
        Err(checker.errors)
    }

    fn of_sound(cluster: &Cluster, annotations: &BTreeMap<String, String>) -> Revision {
        let text = |key: Key| key.annotated(annotations).map(|(_, value)| value);
        let number = |key: Key| text(key).and_then(float);
        let count =
            |key: Key| text(key).and_then(|text| whole(text).value()).map(i32::unsigned_abs);
        let span = |key: Key| text(key).and_then(parse_duration);
        let mut over = cluster.clone();
        let set = |place: &mut f64, value: Option<f64>| *place = value.unwrap_or(*place);
        set(&mut over.target_burst_capacity, number(Key::TargetBurstCapacity));
        set(&mut over.panic_window_percentage, number(Key::PanicWindowPercentage));
        set(&mut over.panic_threshold_percentage, number(Key::PanicThresholdPercentage));
        let set = |place: &mut i64, value: Option<i64>| *place = value.unwrap_or(*place);
        set(&mut over.stable_window_ns, span(Key::StableWindow));
        set(&mut over.retention_period_ns, span(Key::ScaleToZeroPodRetentionPeriod));
        set(&mut over.scale_down_delay_ns, span(Key::ScaleDownDelay));
        let set = |place: &mut u32, value: Option<u32>| *place = value.unwrap_or(*place);
        set(&mut over.initial_scale, count(Key::InitialScale));
        set(&mut over.min_scale, count(Key::MinScale));
        set(&mut over.max_scale, count(Key::MaxScale));
        Revision {
            class: text(Key::Class).unwrap_or(&cluster.class).to_owned(),
            metric: if text(Key::Metric) == Some("rps") {
                Metric::Rps
            } else {
                Metric::Concurrency
            },
            aggregation: match text(Key::MetricAggregationAlgorithm) {
                Some("weighted-exponential" | "weightedExponential") => {
                    Aggregation::WeightedExponential
                }
                _ => Aggregation::Linear,
            },
            target: number(Key::ContainerConcurrencyTargetDefault),
            utilization_percentage: number(Key::ContainerConcurrencyTargetPercentage),
            activation_scale: count(Key::ActivationScale).unwrap_or(0),
            cluster: over,
        }
    }
}

struct Checker<'a> {
    annotations: &'a BTreeMap<String, String>,
    errors: Vec<AnnotationError>,
}

impl<'a> Checker<'a> {
    fn found(&self, key: Key) -> Option<&'a str> {
        key.annotated(self.annotations).map(|(_, value)| value)
    }

    /// What the table says of it as an annotation.
    fn annotation(key: Key) -> Annotation {
        key.setting().annotation.expect("only annotations are checked here")
    }

    /// Refuses what was found; the table says what would be right.
    fn refuse(&mut self, key: Key, reason: Reason) {
        let (range, kind) = (Checker::annotation(key).range, key.setting().kind);
        let is_unread = reason == Reason::Invalid;
        let expected = if is_unread { range.told_in_full(kind) } else { range.told(kind) };
        self.refuse_saying(key, reason, expected);
    }

    fn refuse_saying(&mut self, key: Key, reason: Reason, expected: String) {
        if let Some((name, value)) = key.annotated(self.annotations) {
            self.errors.push(AnnotationError {
                key,
                name,
                value: value.to_owned(),
                reason,
                expected,
            });
        }
    }

    fn class(&mut self) {
        let key = Key::Class;
        if let Some(class) = self.found(key)
            && class.ends_with(".knative.dev")
            && !Checker::annotation(key).range.has(class)
        {
            let expected = format!("{KPA_CLASS}, {HPA_CLASS}, or a class outside knative.dev");
            self.refuse_saying(key, Reason::Invalid, expected);
        }
    }

    /// A whole number of at least 0; 0 where there is none.
    fn count(&mut self, key: Key) -> i32 {
        match self.found(key).map(whole) {
            None => 0,
            Some(Whole::Is(value)) if Checker::annotation(key).range.holds(value.into()) => value,
            Some(Whole::Is(_) | Whole::Outside) => {
                self.refuse(key, Checker::annotation(key).reason);
                0
            }
            Some(Whole::Not) => {
                self.refuse(key, Reason::Invalid);
                0
            }
        }
    }

    fn scales(&mut self, cluster: &Cluster) {
        let before = self.errors.len();
        let min = self.count(Key::MinScale);
        let max = self.count(Key::MaxScale);
        let is_max_sound = !self.errors[before..].iter().any(|error| error.key == Key::MaxScale);
        if max != 0 && max < min {
            for key in [Key::MaxScale, Key::MinScale] {
                let expected =
                    format!("a max-scale of at least min-scale, which is {min}, or of 0 for none");
                self.refuse_saying(key, Reason::MaxBelowMin, expected);
            }
        }
        let limit = cluster.max_scale_limit;
        if limit > 0 && is_max_sound && self.found(Key::MaxScale).is_some() {
            let expected = format!("1 to {limit}, the cluster's max-scale-limit");
            if max.unsigned_abs() > limit {
                self.refuse_saying(Key::MaxScale, Reason::OutOfBounds, expected);
            } else if max == 0 {
                self.refuse_saying(Key::MaxScale, Reason::UnlimitedNotAllowed, expected);
            }
        }
        let key = Key::ActivationScale;
        match self.found(key).map(|text| whole(text).value()) {
            None => {}
            Some(None) => self.refuse(key, Reason::Invalid),
            Some(Some(value)) if value < min => {
                self.refuse_saying(
                    key,
                    Reason::ActivationBelowMin,
                    format!("at least min-scale, which is {min}"),
                );
            }
            Some(Some(value)) if max > 0 && value > max => {
                self.refuse_saying(
                    key,
                    Reason::ActivationAboveMax,
                    format!("at most max-scale, which is {max}"),
                );
            }
            Some(Some(value)) if !Checker::annotation(key).range.holds(value.into()) => {
                self.refuse(key, Checker::annotation(key).reason);
            }
            Some(Some(_)) => {}
        }
    }

    /// A number or a duration that the table alone says all about. Counts have rules of their own.
    fn number(&mut self, key: Key) {
        let (Some(annotation), Some(text)) = (key.setting().annotation, self.found(key)) else {
            return;
        };
        let read = match key.setting().kind {
            Kind::Float => float(text).map(|number| (number, 0)),
            Kind::Duration => parse_duration(text).map(|nanos| (nanos as f64, nanos)),
            Kind::Whole | Kind::Flag | Kind::Text => return,
        };
        match read {
            None => self.refuse(key, Reason::Invalid),
            Some((number, _)) if !annotation.range.holds(number) => {
                self.refuse(key, annotation.reason);
            }
            Some((_, nanos)) if !annotation.range.step().divides(nanos) => {
                self.refuse(key, annotation.range.step().reason().unwrap_or(annotation.reason));
            }
            Some(_) => {}
        }
    }

    fn words(&mut self, cluster: &Cluster) {
        let annotated_class = self.found(Key::Class);
        let class = annotated_class.unwrap_or(&cluster.class);
        if let Some(metric) = self.found(Key::Metric) {
            let is_known = match class {
                KPA_CLASS => Checker::annotation(Key::Metric).range.has(metric),
                HPA_CLASS => !metric.is_empty(),
                _ => true,
            };
            if !is_known && class == HPA_CLASS {
                self.refuse_saying(Key::Metric, Reason::Invalid, "the name of a metric".to_owned());
            } else if !is_known {
                self.refuse(Key::Metric, Reason::Invalid);
            }
        }
        if annotated_class == Some(KPA_CLASS)
            && let Some(word) = self.found(Key::MetricAggregationAlgorithm)
            && !Checker::annotation(Key::MetricAggregationAlgorithm).range.has(word)
        {
            self.refuse(Key::MetricAggregationAlgorithm, Reason::Invalid);
        }
    }

    fn initial_scale(&mut self, cluster: &Cluster) {
        let key = Key::InitialScale;
        match self.found(key).map(|text| whole(text).value()) {
            None => {}
            Some(None) => self.refuse(key, Reason::Invalid),
            Some(Some(value)) if !Checker::annotation(key).range.holds(value.into()) => {
                self.refuse(key, Checker::annotation(key).reason);
            }
            Some(Some(0)) if !cluster.allow_zero_initial_scale => {
                let expected =
                    "at least 1, as the cluster's allow-zero-initial-scale is false".to_owned();
                self.refuse_saying(key, Reason::ZeroNotAllowed, expected);
            }
            Some(Some(_)) => {}
        }
    }
}
