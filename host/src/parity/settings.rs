//! Settings cases: which ConfigMaps and annotations are refused, why, and what numbers the others come to.

use serde_json::Value;
use tidegate_settings::{Cluster, PREFIX, Resolved, Revision};

use super::compare::{Fields, Rows};
use super::error::ReadError;
use super::numbers::Recorded;
use super::scenario::{Settings, reachability};
use super::text::{Record, Text};

/// A file of settings cases.
#[derive(Debug)]
pub struct SettingsCases {
    pub(super) path: String,
    cases: Vec<Case>,
}

#[derive(Debug)]
struct Case {
    line: u64,
    id: String,
    settings: Settings,
    ready: f64,
    answer: Answer,
}

/// What settings come to, Knative's or ours. Keys stand for themselves: as the recording writes them.
#[derive(Debug)]
enum Answer {
    /// The cluster's settings are refused, for the first reason found.
    RefusedCluster { keys: Vec<String>, reason: String },
    /// The annotations are refused: keys with reasons, sorted.
    RefusedAnnotations(Vec<(String, String)>),
    /// The numbers; `None`: another autoscaler's class.
    Accepted(Option<Recorded>),
}

impl SettingsCases {
    pub(super) fn read(text: &Text) -> Result<SettingsCases, ReadError> {
        let cases = text.records().map(|record| case(record?)).collect::<Result<_, _>>()?;
        Ok(SettingsCases { path: text.path().to_owned(), cases })
    }

    /// Each case by itself, with a name for it.
    pub(super) fn split(self) -> impl Iterator<Item = (String, SettingsCases)> {
        let SettingsCases { path, cases } = self;
        cases.into_iter().map(move |case| {
            (case.id.clone(), SettingsCases { path: path.clone(), cases: vec![case] })
        })
    }

    /// Holds every case to ours.
    pub(super) fn hold(&self) -> Rows {
        let mut rows = Rows::default();
        for case in &self.cases {
            let mut fields = Fields::default();
            case.compare(&mut fields);
            rows.take(fields, || (self.path.clone(), case.line, format!("case {}", case.id)));
        }
        rows
    }
}

fn case(mut record: Record<'_>) -> Result<Case, ReadError> {
    let id = record.required("id")?;
    let settings = Settings {
        configmap: record.required("configmap")?,
        annotations: record.required("annotations")?,
        container_concurrency: record.required("container_concurrency")?,
        is_reachable: reachability(&mut record)?.flatten(),
    };
    let ready: u32 = record.required("ready_pods")?;
    let cluster = record.within_if_there("config_error")?;
    let annotations = record.each("annotation_errors")?;
    let resolved = record.within_if_there("resolved")?;
    let resolved = resolved.map(|record| Recorded::read(record, true)).transpose()?;
    let line = record.line();
    record.end()?;
    let answer = if let Some(mut error) = cluster {
        let (keys, reason) = (error.texts("keys")?, error.required("reason")?);
        error.end()?;
        Answer::RefusedCluster { keys, reason }
    } else if !annotations.is_empty() {
        let refused = annotations.into_iter().map(|mut error| {
            let pair = (error.required("key")?, error.required("reason")?);
            error.end()?;
            Ok(pair)
        });
        Answer::RefusedAnnotations(refused.collect::<Result<_, ReadError>>()?)
    } else {
        Answer::Accepted(resolved)
    };
    Ok(Case { line, id, settings, ready: f64::from(ready), answer })
}

/// The same, ours.
enum Ours {
    RefusedCluster { keys: Vec<String>, reason: String },
    RefusedAnnotations(Vec<(String, String)>),
    Accepted(Option<Box<Resolved>>),
}

impl Ours {
    fn of(settings: &Settings) -> Ours {
        let cluster = match Cluster::read(&settings.configmap) {
            Ok(cluster) => cluster,
            Err(error) => {
                let mut keys: Vec<String> =
                    error.found.iter().map(|found| found.key.cluster_name().to_owned()).collect();
                keys.sort();
                return Ours::RefusedCluster { keys, reason: error.reason.word().to_owned() };
            }
        };
        match Revision::read(&cluster, &settings.annotations) {
            Err(errors) => {
                let refused = errors
                    .iter()
                    .map(|error| (error.key.annotation_name(), error.reason.word().to_owned()));
                let mut refused: Vec<_> = refused.collect();
                refused.sort();
                Ours::RefusedAnnotations(refused)
            }
            Ok(revision) => {
                let is_reachable = settings.is_reachable != Some(false);
                let resolved = revision.resolve(settings.container_concurrency, is_reachable);
                Ours::Accepted(resolved.map(Box::new))
            }
        }
    }

    fn told(&self) -> Value {
        match self {
            Ours::RefusedCluster { keys, reason } => of_cluster(keys, reason),
            Ours::RefusedAnnotations(refused) => of_annotations(refused),
            Ours::Accepted(resolved) => accepted(resolved.is_some()),
        }
    }
}

impl Case {
    fn compare(&self, fields: &mut Fields) {
        let ours = Ours::of(&self.settings);
        let (field, theirs) = match (&self.answer, &ours) {
            (Answer::Accepted(Some(theirs)), Ours::Accepted(Some(ours))) => {
                return theirs.compare(ours, Some(self.ready), fields);
            }
            (Answer::RefusedCluster { keys, reason }, _) => {
                let mut keys = keys.clone();
                keys.sort();
                ("config_error", of_cluster(&keys, reason))
            }
            (Answer::RefusedAnnotations(refused), _) => {
                let mut refused = refused.clone();
                refused.sort();
                ("annotation_errors", of_annotations(&refused))
            }
            (Answer::Accepted(theirs), _) => ("resolved", accepted(theirs.is_some())),
        };
        let ours = ours.told();
        if ours != theirs {
            fields.push(field, ours, theirs);
        }
    }
}

fn of_cluster(keys: &[String], reason: &str) -> Value {
    Value::from(format!("refused: {} {reason}", keys.join(" and ")))
}

fn of_annotations(refused: &[(String, String)]) -> Value {
    let one = |(key, reason): &(String, String)| {
        format!("{} {reason}", key.strip_prefix(PREFIX).unwrap_or(key))
    };
    Value::from(format!("refused: {}", refused.iter().map(one).collect::<Vec<_>>().join(", ")))
}

fn accepted(is_ours: bool) -> Value {
    Value::from(if is_ours { "accepted" } else { "accepted, as another autoscaler's class" })
}
