//! The one table of settings: what each is called, where it may be written, its default, kind and range. Everything that reads,
//! checks or tells about a setting goes by it.

use std::collections::BTreeMap;

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
            Kind::Duration => "a duration with its unit, as in 30s",
            Kind::Text => "a text",
        }
    }
}

/// A setting's two spellings as an annotation, without the prefix, and what is allowed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// As it is written today.
    pub name: &'static str,
    /// As it was written once; read only where the other is absent.
    pub old: Option<&'static str>,
    /// What is allowed, for people.
    pub range: &'static str,
}

/// A setting of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the ConfigMap and the value that it has there when absent.
    pub cluster: Option<(&'static str, &'static str)>,
    /// What is allowed in the ConfigMap, for people.
    pub range: &'static str,
    /// Its annotation.
    pub annotation: Option<Annotation>,
    /// How it is written.
    pub kind: Kind,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $kind:ident, $cluster:expr, $range:literal, $annotation:expr;)*) => {
        /// A setting. In the order of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Key { $($(#[$doc])* $name),* }

        impl Key {
            /// Every setting.
            pub const ALL: [Key; [$(Key::$name),*].len()] = [$(Key::$name),*];

            /// What the table says about it.
            pub const fn setting(self) -> Setting {
                match self {
                    $(Key::$name => Setting { cluster: $cluster, range: $range, annotation: $annotation, kind: Kind::$kind }),*
                }
            }
        }
    };
}

/// An annotation that was also written in camel case once.
const fn both(name: &'static str, old: &'static str, range: &'static str) -> Option<Annotation> {
    Some(Annotation { name, old: Some(old), range })
}

/// An annotation of one spelling.
const fn only(name: &'static str, range: &'static str) -> Option<Annotation> {
    Some(Annotation { name, old: None, range })
}

settings! {
    /// Share of a replica's concurrency that is aimed at.
    ContainerConcurrencyTargetPercentage: Float, Some(("container-concurrency-target-percentage", "70")),
        "above 0 and at most 100 per cent; up to 1 it is a fraction",
        both("target-utilization-percentage", "targetUtilizationPercentage", "1 to 100");
    /// Requests in flight that an unlimited replica takes.
    ContainerConcurrencyTargetDefault: Float, Some(("container-concurrency-target-default", "100")),
        "at least 0.01 after the percentage", only("target", "at least 0.01");
    /// Requests a second that a replica takes.
    RequestsPerSecondTargetDefault: Float, Some(("requests-per-second-target-default", "200")), "at least 0.01", None;
    /// Requests that must fit in beyond the present ones before the gateway leaves the path.
    TargetBurstCapacity: Float, Some(("target-burst-capacity", "211")), "0 or more, or -1",
        both("target-burst-capacity", "targetBurstCapacity", "0 or more, or -1");
    /// Length of the long window.
    StableWindow: Duration, Some(("stable-window", "60s")), "6s to 1h, whole seconds", only("window", "6s to 1h, whole seconds");
    /// Length of the short window, of the long one.
    PanicWindowPercentage: Float, Some(("panic-window-percentage", "10.0")), "1 to 100",
        both("panic-window-percentage", "panicWindowPercentage", "1 to 100");
    /// How many times the ready replicas must be wanted to begin panic.
    PanicThresholdPercentage: Float, Some(("panic-threshold-percentage", "200.0")), "any number",
        both("panic-threshold-percentage", "panicThresholdPercentage", "110 to 1000");
    /// How many times the ready replicas may be wanted at once.
    MaxScaleUpRate: Float, Some(("max-scale-up-rate", "1000.0")), "above 1", None;
    /// What part of the ready replicas must stay at once.
    MaxScaleDownRate: Float, Some(("max-scale-down-rate", "2.0")), "above 1", None;
    /// Whether the last replica may go.
    EnableScaleToZero: Flag, Some(("enable-scale-to-zero", "true")), "true or false", None;
    /// How long the gateway must be in the path before the last replica goes.
    ScaleToZeroGracePeriod: Duration, Some(("scale-to-zero-grace-period", "30s")), "above 0s", None;
    /// How long the last replica stays after the revision became inactive.
    ScaleToZeroPodRetentionPeriod: Duration, Some(("scale-to-zero-pod-retention-period", "0s")), "0s or more",
        both("scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod", "0s to 1h");
    /// How long demand must stay low before replicas go.
    ScaleDownDelay: Duration, Some(("scale-down-delay", "0s")), "0s or more, whole seconds",
        both("scale-down-delay", "scaleDownDelay", "0s to 1h, whole seconds");
    /// Replicas to begin with.
    InitialScale: Whole, Some(("initial-scale", "1")), "0 or more; 0 only with allow-zero-initial-scale",
        both("initial-scale", "initialScale", "0 or more; 0 only if the cluster allows it");
    /// Whether a revision may begin without replicas.
    AllowZeroInitialScale: Flag, Some(("allow-zero-initial-scale", "false")), "true or false", None;
    /// At least so many replicas.
    MinScale: Whole, Some(("min-scale", "0")), "0 or more", both("min-scale", "minScale", "0 to 2147483647");
    /// At most so many replicas.
    MaxScale: Whole, Some(("max-scale", "0")), "0 or more; 1 to max-scale-limit if that is set",
        both("max-scale", "maxScale", "0 to 2147483647");
    /// What no maximum may exceed.
    MaxScaleLimit: Whole, Some(("max-scale-limit", "0")), "0 or more", None;
    /// Requests in flight that one gateway carries.
    ActivatorCapacity: Float, Some(("activator-capacity", "100.0")), "at least 1", None;
    /// Who scales.
    Class: Text, Some(("pod-autoscaler-class", "kpa.autoscaling.knative.dev")), "any text",
        only("class", "kpa.autoscaling.knative.dev, hpa.autoscaling.knative.dev, or a class outside knative.dev");
    /// How long a tick is; also the length of a slot of the scale-down delay. Tidegate's own: Knative has 2 s built in.
    TickInterval: Duration, Some(("tick-interval", "2s")), "100ms to 1h, whole milliseconds", None;
    /// Replicas when a request wakes the revision.
    ActivationScale: Whole, None, "", only("activation-scale", "at least 2, within min-scale and max-scale");
    /// What is counted.
    Metric: Text, None, "", only("metric", "concurrency or rps");
    /// How it is averaged.
    MetricAggregationAlgorithm: Text, None, "",
        both("metric-aggregation-algorithm", "metricAggregationAlgorithm", "linear or weighted-exponential");
}

impl Key {
    /// Its key in the ConfigMap; empty if it has none.
    pub fn cluster_name(self) -> &'static str {
        self.setting().cluster.map_or("", |(name, _)| name)
    }

    /// What a text must be to be allowed in the ConfigMap, for people.
    pub(crate) fn cluster_range(self) -> &'static str {
        self.setting().range
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

/// A key that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key.
    pub key: String,
    /// The known one that it resembles most, if one does.
    pub nearest: Option<String>,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no such setting: {}", self.key)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// The keys of a ConfigMap that mean nothing. Those that begin with `_`, as `_example`, are comments.
pub fn unknown_keys(config: &BTreeMap<String, String>) -> Vec<Warning> {
    let known: Vec<String> =
        Key::ALL.iter().filter_map(|key| Some(key.setting().cluster?.0.to_owned())).collect();
    unknown(config.keys().filter(|key| !key.starts_with('_')), &known)
}

/// The annotations of the autoscaler that mean nothing.
pub fn unknown_annotations(annotations: &BTreeMap<String, String>) -> Vec<Warning> {
    let mut known = Vec::new();
    for annotation in Key::ALL.iter().filter_map(|key| key.setting().annotation) {
        known.push(format!("{PREFIX}{}", annotation.name));
        known.extend(annotation.old.map(|old| format!("{PREFIX}{old}")));
    }
    unknown(annotations.keys().filter(|key| key.starts_with(PREFIX)), &known)
}

fn unknown<'a>(keys: impl Iterator<Item = &'a String>, known: &[String]) -> Vec<Warning> {
    keys.filter(|key| !known.contains(key))
        .map(|key| Warning {
            key: key.clone(),
            nearest: nearest(key, known.iter().map(String::as_str)).map(str::to_owned),
        })
        .collect()
}

/// The known word that `word` resembles most, if one does: further away than a third of it, it is another word. The autoscaler's
/// prefix, if it has that, counts for nothing.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (distance(word, known), known))
        .min()
        .filter(|(distance, known)| distance * 3 <= known.len() - prefix_len(known))
        .map(|(_, known)| known)
}

fn prefix_len(key: &str) -> usize {
    if key.starts_with(PREFIX) { PREFIX.len() } else { 0 }
}

/// How many letters must be put in, taken out, changed or swapped with the next to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let changed = above[j] + usize::from(a[i] != b[j]);
            let mut least = changed.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_is_near_and_another_word_is_not() {
        for (word, expected) in [
            ("model", Some("model")),
            ("modle", Some("model")),
            ("mode", Some("model")),
            ("minReplica", Some("minReplicas")),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, ["model", "minReplicas"]), expected, "{word}");
        }
        assert_eq!(nearest("model", []), None);
    }
}
