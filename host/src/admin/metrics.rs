//! The status as Prometheus reads it. Names are a table in `docs/live.md`. What labels hold is bounded: services up to a number,
//! stages, short digests and our own words.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::status::{Health, ReplicaPhase, ServiceStatus, Status, short};

/// Services that have series of their own; a figure tells how many have none.
const SERVICES_AT_MOST: usize = 1_000;
/// Characters of a label's value.
const LABEL_AT_MOST: usize = 100;

/// The page that Prometheus reads.
pub(super) fn render(status: Arc<Status>) -> String {
    let mut registry = Registry::with_prefix("tidegate");
    registry.register_collector(Box::new(Page(status)));
    let mut page = String::new();
    encode(&mut page, &registry).expect("memory takes what is written");
    page
}

#[derive(Debug)]
struct Page(Arc<Status>);

/// One value and its labels.
type Value = (Vec<(&'static str, String)>, f64);

impl Collector for Page {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let status = &*self.0;
        let services = &status.services[..status.services.len().min(SERVICES_AT_MOST)];
        let of_services = |value: fn(&ServiceStatus) -> f64| -> Vec<Value> {
            services.iter().map(|one| (vec![service(&one.name)], value(one))).collect()
        };
        let one = |value: f64| -> Vec<Value> { vec![(Vec::new(), value)] };
        let truth = |is: bool| f64::from(u8::from(is));

        let version = vec![("version", label(&status.version))];
        gauge(&mut to, "build_info", "Always 1; the label tells", vec![(version, 1.0)])?;
        let started_s = status.started_at.0 as f64 / 1e3;
        gauge(
            &mut to,
            "start_time_seconds",
            "When the program started, Unix time",
            one(started_s),
        )?;
        gauge(
            &mut to,
            "dry_run",
            "Whether it decides without acting",
            one(truth(status.is_dry_run)),
        )?;
        gauge(
            &mut to,
            "services_left_out",
            "Services without series of their own here, as there are too many",
            one((status.services.len() - services.len()) as f64),
        )?;

        let desired = of_services(|one| f64::from(one.desired));
        gauge(&mut to, "desired_replicas", "Replicas that the plan wants", desired)?;
        let minimum = of_services(|one| f64::from(one.min));
        gauge(&mut to, "minimum_replicas", "At least so many replicas", minimum)?;
        let maximum = of_services(|one| f64::from(one.max));
        gauge(&mut to, "maximum_replicas", "At most so many replicas; 0 is no limit", maximum)?;
        let mut replicas = Vec::new();
        for one in services {
            for phase in ReplicaPhase::ALL {
                let count = one.replicas.iter().filter(|replica| replica.phase == phase).count();
                let labels = vec![service(&one.name), ("phase", phase.name().to_owned())];
                replicas.push((labels, count as f64));
            }
        }
        gauge(&mut to, "replicas", "Replicas by phase of their life", replicas)?;
        let waiting = of_services(|one| f64::from(one.waiting));
        gauge(&mut to, "requests_waiting", "Requests that wait", waiting)?;
        let in_flight = of_services(|one| f64::from(one.in_flight));
        gauge(&mut to, "requests_in_flight", "Requests at a replica", in_flight)?;
        let oldest = of_services(|one| one.oldest_wait_ms as f64 / 1e3);
        gauge(
            &mut to,
            "oldest_wait_seconds",
            "How long the oldest waiting request has waited",
            oldest,
        )?;
        let pinned = of_services(|one| f64::from(u8::from(one.pin.is_some())));
        gauge(&mut to, "pinned", "Whether a person numbered the replicas", pinned)?;
        let evicted = of_services(|one| f64::from(u8::from(one.is_evicted)));
        gauge(&mut to, "evicted", "Whether its replicas made room for another service", evicted)?;

        let mut requests = Vec::new();
        for one in status.totals.requests.iter().take(SERVICES_AT_MOST) {
            for (fate, count) in [
                ("served", one.served),
                ("expired", one.expired),
                ("failed", one.failed),
                ("refused", one.refused),
            ] {
                requests
                    .push((vec![service(&one.service), ("fate", fate.to_owned())], count as f64));
            }
        }
        counter(&mut to, "requests", "Requests by what became of them", requests)?;

        let mut decisions = Vec::new();
        for one in &status.totals.stages {
            for (result, count) in [("decided", one.decided), ("failed", one.failed)] {
                let labels = vec![stage(&one.stage), ("result", result.to_owned())];
                decisions.push((labels, count as f64));
            }
        }
        counter(
            &mut to,
            "decisions",
            "Decisions that changed something, and answers not given",
            decisions,
        )?;
        let clamps = status.totals.clamps.iter();
        let clamps = clamps.map(|(rule, count)| (vec![("reason", label(rule))], *count as f64));
        counter(&mut to, "clamps", "Bounds that changed an answer", clamps.collect())?;
        let swaps = status.totals.swaps.iter();
        let swaps = swaps
            .map(|(outcome, count)| (vec![("outcome", outcome.name().to_owned())], *count as f64));
        counter(&mut to, "policy_swaps", "Changes of policies", swaps.collect())?;
        let (mut health, mut shadows, mut differing) = (Vec::new(), Vec::new(), Vec::new());
        for one in &status.policies {
            let labels = vec![stage(&one.stage), ("digest", label(short(&one.digest)))];
            health.push((labels, truth(one.health == Health::Healthy)));
            if let Some(shadow) = &one.shadow {
                let labels = || vec![stage(&one.stage), ("digest", label(short(&shadow.digest)))];
                shadows.push((labels(), shadow.compared as f64));
                differing.push((labels(), shadow.differing as f64));
            }
        }
        gauge(&mut to, "policy_healthy", "Whether a policy answers", health)?;
        counter(
            &mut to,
            "shadow_decisions",
            "Decisions of policies in shadow that were compared",
            shadows,
        )?;
        counter(&mut to, "shadow_differing", "Those of them that differ", differing)?;

        counter(
            &mut to,
            "missed_ticks",
            "Ticks that came later than a whole tick",
            one(status.totals.missed_ticks as f64),
        )?;
        counter(
            &mut to,
            "replica_failures",
            "Replicas that failed",
            one(status.totals.replica_failures as f64),
        )?;
        histogram(
            &mut to,
            "step_seconds",
            "How long a step of the engine takes, policies included",
            status.totals.step_seconds_sum,
            status.totals.steps,
            &status.totals.step_seconds,
        )?;
        histogram(
            &mut to,
            "cold_start_seconds",
            "From a replica being wanted to its being ready",
            status.totals.cold_start_seconds_sum,
            status.totals.cold_starts,
            &status.totals.cold_start_seconds,
        )?;
        let mut gpus = Vec::new();
        for node in &status.nodes {
            for gpu in &node.gpus {
                let used: f64 = gpu.used_by.iter().map(|one| one.share).sum();
                let labels = vec![
                    ("node", label(&node.name)),
                    ("gpu", gpu.index.to_string()),
                    ("class", label(&gpu.class)),
                ];
                gpus.push((labels, used));
            }
        }
        gauge(&mut to, "gpu_used_ratio", "The part of a GPU that replicas have", gpus)?;
        let gpu_seconds = status.totals.gpu_seconds.iter();
        let gpu_seconds = gpu_seconds.map(|(class, s)| (vec![("class", label(class))], *s));
        counter(&mut to, "gpu_seconds", "GPU time that replicas had", gpu_seconds.collect())?;
        counter(
            &mut to,
            "cost_usd",
            "What that cost where prices are known",
            one(status.totals.cost_usd),
        )?;
        if let Some(journal) = &status.journal {
            gauge(&mut to, "journal_size_bytes", "The journal on disk", one(journal.bytes as f64))?;
            counter(
                &mut to,
                "journal_gaps",
                "Places where the journal misses something",
                one(journal.gaps as f64),
            )?;
            let writes = truth(journal.error.is_none());
            gauge(&mut to, "journal_writing", "Whether the journal is written", one(writes))?;
        }
        Ok(())
    }
}

fn gauge(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: Vec<Value>,
) -> fmt::Result {
    if values.is_empty() {
        return Ok(());
    }
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        if labels.is_empty() {
            family.encode_gauge(&value)?;
        } else {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
    }
    Ok(())
}

fn counter(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: Vec<Value>,
) -> fmt::Result {
    if values.is_empty() {
        return Ok(());
    }
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        if labels.is_empty() {
            family.encode_counter::<[(&str, &str); 0], f64, f64>(&value, None)?;
        } else {
            let mut one = family.encode_family(&labels)?;
            one.encode_counter::<[(&str, &str); 0], f64, f64>(&value, None)?;
        }
    }
    Ok(())
}

fn histogram(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    sum: f64,
    count: u64,
    buckets: &[(f64, u64)],
) -> fmt::Result {
    let inside: u64 = buckets.iter().map(|(_, count)| count).sum();
    let mut buckets = buckets.to_vec();
    buckets.push((f64::MAX, count.saturating_sub(inside)));
    let mut family = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
    family.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
}

fn service(name: &str) -> (&'static str, String) {
    ("service", label(name))
}

fn stage(name: &str) -> (&'static str, String) {
    ("stage", label(name))
}

/// A label's value as the format wants it, and not longer than anybody reads.
fn label(text: &str) -> String {
    let mut value = String::new();
    for character in text.chars().take(LABEL_AT_MOST) {
        match character {
            '\\' => value.push_str("\\\\"),
            '"' => value.push_str("\\\""),
            '\n' => value.push_str("\\n"),
            other => value.push(other),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn figures_have_our_prefix_units_and_labels() {
        let page = render(Arc::new(sample::status()));
        for line in [
            "tidegate_desired_replicas{service=\"llama-3-8b\"} 3.0",
            "tidegate_replicas{service=\"llama-3-8b\",phase=\"ready\"} 3.0",
            "tidegate_requests_waiting{service=\"mistral-7b\"} 12.0",
            "tidegate_oldest_wait_seconds{service=\"mistral-7b\"} 4.21",
            "tidegate_decisions_total{stage=\"scale-to-zero\",result=\"failed\"} 2.0",
            "tidegate_policy_healthy{stage=\"knative\",digest=\"9f2c41d07be6\"} 1.0",
            "tidegate_shadow_differing_total{stage=\"knative\",digest=\"5e5e11aa22bb\"} 7.0",
            "tidegate_step_seconds_bucket{le=\"0.01\"} 511",
            "tidegate_step_seconds_bucket{le=\"+Inf\"} 512",
            "tidegate_cold_start_seconds_count 5",
            "tidegate_missed_ticks_total 0.0",
            "# EOF",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn labels_hold_what_nobody_foresaw_and_are_bounded() {
        let mut status = sample::status();
        status.services[0].name = "a\"} 1\nevil{x=\"\\".into();
        status.services[1].name = "x".repeat(5_000);
        let one = status.services[2].clone();
        status.services.extend(std::iter::repeat_n(one, 2_000));
        let page = render(Arc::new(status));
        assert!(page.contains(r#"{service="a\"} 1\nevil{x=\"\\"}"#), "{}", &page[..2_000]);
        assert!(page.lines().all(|line| line.len() < 200));
        assert_eq!(page.matches("tidegate_desired_replicas{").count(), SERVICES_AT_MOST);
        assert!(page.contains("tidegate_services_left_out 1003.0"));
    }
}
