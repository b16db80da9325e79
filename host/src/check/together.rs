//! How files that are given together go with each other: services with the profile, with the nodes and with the load; failures
//! with nodes and services.

use std::collections::BTreeSet;

use tidegate_settings::Problem;

use super::{Checked, Finding, Known};
use crate::backend::sim::{Fault, Faults};
use crate::definitions::Outline;
use crate::definitions::node::Fleet;
use crate::definitions::profile::Profile;
use crate::definitions::service::{Read, Service};
use crate::replay;

/// Services with the text they were read from.
pub(super) struct ServicesFile {
    pub(super) file: String,
    pub(super) text: String,
    pub(super) read: Read,
}

/// Failures to play with the text they were read from.
pub(super) struct FailuresFile {
    pub(super) file: String,
    pub(super) text: String,
    pub(super) faults: Faults,
}

/// Looks at all that was read together, and adds what it finds to the files that it is about.
pub(super) fn look(known: &Known, named: &Profile, files: &mut [Checked]) {
    let profile = known.profile.as_ref().map_or(named, |(_, profile)| profile);
    let read = known.services.iter().flat_map(|file| &file.read.services);
    let wanted: BTreeSet<&String> =
        read.map(|service| service.trace.as_ref().unwrap_or(&service.name)).collect();
    let unwanted = known.loads.iter().find(|load| !wanted.contains(load)).map(String::as_str);
    for services in &known.services {
        let mut findings = Vec::new();
        for (service, line) in services.read.services.iter().zip(&services.read.lines) {
            let at = ServiceText { text: &services.text, line: *line, service };
            if known.profile.is_some() || !known.has_broken_profile {
                at.with_profile(profile, &mut findings);
            }
            if let Some((file, fleet)) = &known.fleet {
                at.with_nodes(file, fleet, &mut findings);
            }
            if !known.loads.is_empty() {
                at.with_load(&known.loads, unwanted, &mut findings);
            }
        }
        add(files, &services.file, findings);
    }
    for failures in &known.failures {
        add(files, &failures.file, unknown_names(failures, known));
    }
}

fn add(files: &mut [Checked], name: &str, findings: Vec<Finding>) {
    if let Some(file) = files.iter_mut().find(|file| file.file == name) {
        file.findings.extend(findings);
    }
}

/// A service and where it stands.
struct ServiceText<'a> {
    text: &'a str,
    line: u64,
    service: &'a Service,
}

impl ServiceText<'_> {
    /// The line of a word that belongs to the service: the first at or after its own that has it.
    fn line_of(&self, word: &str) -> u64 {
        let lines = (1..).zip(self.text.lines()).skip_while(|(line, _)| *line < self.line);
        lines.into_iter().find(|(_, text)| text.contains(word)).map_or(self.line, |(line, _)| line)
    }

    fn finding(&self, message: &str, word: &str) -> Finding {
        let message = format!("service {}: {message}", self.service.name);
        Finding::error(&message).at(self.line_of(word), word)
    }

    fn with_profile(&self, profile: &Profile, findings: &mut Vec<Finding>) {
        let annotations = self.service.all_annotations();
        let read = tidegate_settings::resolve(
            &profile.settings,
            &annotations,
            self.service.container_concurrency,
        );
        let word = |problem: &Problem| {
            let path = problem.path.strip_prefix("service.annotations.");
            path.filter(|name| self.service.annotations.contains_key(*name))
                .unwrap_or("")
                .to_owned()
        };
        for problem in read.err().unwrap_or_default() {
            let message = format!("{}, with the profile {}", problem.message, profile.name);
            findings.push(self.finding(&message, &word(&problem)));
        }
    }

    /// Labels that no node has, and needs that no node can meet.
    fn with_nodes(&self, file: &str, fleet: &Fleet, findings: &mut Vec<Finding>) {
        let mut told = BTreeSet::new();
        let pods = self.service.pools.iter().map(|pool| &pool.pod);
        for (label, value) in std::iter::once(&self.service.pod).chain(pods).flat_map(wanted_labels)
        {
            let nodes = fleet.machines.iter().map(|machine| &machine.node.labels);
            let values: BTreeSet<&str> =
                nodes.clone().filter_map(|labels| labels.get(label).map(String::as_str)).collect();
            let (message, word, nearest) = if values.is_empty() {
                let labels: BTreeSet<&str> =
                    nodes.flat_map(|labels| labels.keys().map(String::as_str)).collect();
                let nearest = tidegate_settings::nearest(label, labels);
                (format!("no node of {file} has the label {label}"), label, nearest)
            } else if let Some(value) = value.filter(|value| !values.contains(value)) {
                let nearest = tidegate_settings::nearest(value, values.iter().copied());
                (format!("no node of {file} has {label} {value:?}"), value, nearest)
            } else {
                continue;
            };
            let did_you_mean =
                nearest.map_or(String::new(), |nearest| format!("; did you mean {nearest}?"));
            let message = format!("{message}{did_you_mean}");
            if told.insert(message.clone()) {
                findings.push(self.finding(&message, word).into_warning().near(nearest));
            }
        }
        let needs = self.service.needs;
        let has_room = fleet.machines.iter().any(|machine| {
            let has = machine.node.allocatable;
            has.gpus >= needs.gpus
                && has.cpu_milli >= needs.cpu_milli
                && has.memory_bytes >= needs.memory_bytes
        });
        if !has_room {
            let message = format!(
                "no node of {file} has room for a replica, which takes {} GPUs, {} CPUs and {} GiB",
                needs.gpus,
                needs.cpu_milli as f64 / 1e3,
                needs.memory_bytes >> 30
            );
            findings.push(self.finding(&message, ""));
        }
    }

    fn with_load(&self, loads: &[String], unwanted: Option<&str>, findings: &mut Vec<Finding>) {
        let load = self.service.trace.as_ref().unwrap_or(&self.service.name);
        if loads.contains(load) {
            return;
        }
        let nearest = tidegate_settings::nearest(load, loads.iter().map(String::as_str));
        let message = match nearest {
            Some(nearest) => format!("no trace has the load of {load}; did you mean {nearest}?"),
            None => format!("no trace has the load of {load}"),
        };
        let mut finding = self.finding(&message, "").into_warning().near(nearest);
        if let Some(other) = nearest.or(unwanted) {
            finding.hint =
                Some(format!("if the load of {other} is its, {}", replay::annotated(other)));
        }
        findings.push(finding);
    }
}

/// Labels that a pod asks for, with the value where it must have one: of the node selector, and of node affinity by `In`.
fn wanted_labels(pod: &serde_json::Value) -> Vec<(&str, Option<&str>)> {
    let mut wanted = Vec::new();
    for (label, value) in pod["nodeSelector"].as_object().into_iter().flatten() {
        wanted.push((label.as_str(), value.as_str()));
    }
    let affinity = &pod["affinity"]["nodeAffinity"];
    let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let preferred = &affinity["preferredDuringSchedulingIgnoredDuringExecution"];
    let terms = required.as_array().into_iter().flatten();
    let terms = terms
        .chain(preferred.as_array().into_iter().flatten().map(|weighted| &weighted["preference"]));
    for expression in terms.flat_map(|term| term["matchExpressions"].as_array()).flatten() {
        let Some(label) = expression["key"].as_str() else { continue };
        match expression["operator"].as_str() {
            Some("In") => {
                let values = expression["values"].as_array().into_iter().flatten();
                wanted.extend(values.filter_map(|value| Some((label, Some(value.as_str()?)))));
            }
            Some("Exists" | "Gt" | "Lt") => wanted.push((label, None)),
            Some(_) | None => {}
        }
    }
    wanted
}

/// Nodes and services that failures name and that no file has.
fn unknown_names(failures: &FailuresFile, known: &Known) -> Vec<Finding> {
    let outline = Outline::of(&failures.text, &failures.file).ok();
    let services: Vec<&str> = known
        .services
        .iter()
        .flat_map(|file| file.read.services.iter().map(|service| service.name.as_str()))
        .collect();
    let nodes = known.fleet.iter().flat_map(|(_, fleet)| &fleet.machines);
    let nodes: Vec<&str> = nodes.map(|machine| machine.node.name.as_str()).collect();
    let mut findings = Vec::new();
    for (position, fault) in failures.faults.faults.iter().enumerate() {
        let (what, field, name, all) = match fault {
            Fault::NodeLost { node, .. } => ("node", "nodeLost", node, &nodes),
            Fault::StartFails { service, .. } => ("service", "startFails", service, &services),
        };
        // Without such a file nobody can say.
        if all.is_empty() || all.contains(&name.as_str()) {
            continue;
        }
        let nearest = tidegate_settings::nearest(name, all.iter().copied());
        let did_you_mean =
            nearest.map_or(String::new(), |nearest| format!("; did you mean {nearest}?"));
        let position_text = position.to_string();
        let keys = ["faults", position_text.as_str(), field, what];
        let line = outline.as_ref().map_or(1, |outline| outline.line(&keys));
        let path = format!("faults[{position}].{field}.{what}");
        let message = format!("{path}: there is no {what} {name}{did_you_mean}");
        findings.push(Finding::error(&message).at(line, &path).near(nearest));
    }
    findings
}
