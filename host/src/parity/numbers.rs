//! The numbers of a revision by the names that recordings have for them: ours, and Knative's.

use serde_json::Value;
use tidegate_settings::{Aggregation, Metric, NANOS_PER_SECOND, Resolved};

use super::compare::{Fields, number};
use super::error::ReadError;
use super::text::Record;

/// What they are called, in order. The last is given for settings cases only.
const NAMES: [&str; 21] = [
    "metric",
    AGGREGATION,
    "total_value",
    "target_value",
    "stable_window_s",
    "panic_window_s",
    "panic_threshold",
    "max_scale_up_rate",
    "max_scale_down_rate",
    "scale_down_delay_s",
    "target_burst_capacity",
    "activator_capacity",
    "activation_scale",
    "initial_scale",
    "min_scale",
    "max_scale",
    "reachable",
    "enable_scale_to_zero",
    "scale_to_zero_grace_period_s",
    RETENTION,
    "num_activators",
];
const AGGREGATION: &str = "aggregation";
const WEIGHTED: &str = "weighted-exponential";
const RETENTION: &str = "scale_to_zero_retention_s";

/// Numbers that Knative made of settings, in the order of the names.
#[derive(Debug)]
pub(super) struct Recorded(Vec<Value>);

impl Recorded {
    pub(super) fn read(mut record: Record<'_>, of_a_case: bool) -> Result<Recorded, ReadError> {
        let mut values = Vec::with_capacity(NAMES.len());
        for name in &NAMES[..NAMES.len() - usize::from(!of_a_case)] {
            values.push(match *name {
                "metric" | AGGREGATION => Value::String(record.required(name)?),
                "reachable" | "enable_scale_to_zero" => Value::Bool(record.required(name)?),
                _ => number(record.required(name)?),
            });
        }
        record.end()?;
        Ok(Recorded(values))
    }

    /// Notes in `fields` where ours differ. `ready`: of a settings case. A golden header has the retention as it is set, which
    /// counts as 0 for an unreachable revision; a case has it as it counts. A word for the aggregation that Knative does not know is
    /// recorded as it was written, where it was not refused; Knative then averages linearly.
    pub(super) fn compare(&self, ours: &Resolved, ready: Option<f64>, fields: &mut Fields) {
        let is_reachable = ours.reachable;
        for ((name, theirs), ours) in NAMES.iter().zip(&self.0).zip(values(ours, ready)) {
            let is_equal = match *name {
                RETENTION if ready.is_none() && !is_reachable => true,
                AGGREGATION => (ours == WEIGHTED) == (*theirs == WEIGHTED),
                _ => ours == *theirs,
            };
            if !is_equal {
                fields.push(name, ours, theirs.clone());
            }
        }
    }
}

fn values(ours: &Resolved, ready: Option<f64>) -> [Value; NAMES.len()] {
    let seconds = |nanos: u64| number(nanos as f64 / NANOS_PER_SECOND as f64);
    let count = |count: u32| number(f64::from(count));
    let metric = match ours.metric {
        Metric::Concurrency => "concurrency",
        Metric::Rps => "rps",
    };
    let aggregation = match ours.aggregation {
        Aggregation::Linear => "linear",
        Aggregation::WeightedExponential => WEIGHTED,
    };
    [
        Value::from(metric),
        Value::from(aggregation),
        number(ours.total_value),
        number(ours.target_value),
        count(ours.stable_window_s),
        count(ours.panic_window_s),
        number(ours.panic_threshold),
        number(ours.max_scale_up_rate),
        number(ours.max_scale_down_rate),
        number(ours.scale_down_delay_s as f64),
        number(ours.target_burst_capacity),
        number(ours.activator_capacity),
        count(ours.activation_scale),
        count(ours.initial_scale),
        count(ours.min_scale),
        count(ours.max_scale),
        Value::from(ours.reachable),
        Value::from(ours.enable_scale_to_zero),
        seconds(ours.scale_to_zero_grace_period_ns),
        seconds(ours.scale_to_zero_retention_ns),
        number(ready.map_or(f64::NAN, |ready| ours.activators(ready))),
    ]
}
