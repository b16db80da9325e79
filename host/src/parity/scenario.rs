//! A scenario: settings, and what load and pods did, second by second. The input that was given to Knative.

use std::collections::BTreeMap;

use super::error::ReadError;
use super::text::{Record, Text};

/// How the pods of a scenario behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As the scenario says, whatever is decided.
    Open,
    /// As was decided, a while later; zero means zero.
    Closed,
    /// As Knative's reconciler has it, scale to zero included.
    #[serde(rename = "e2e")]
    EndToEnd,
}

pub(super) const MODES: [(&str, Mode); 3] =
    [("open", Mode::Open), ("closed", Mode::Closed), ("e2e", Mode::EndToEnd)];

/// Settings of a revision, as texts.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Cluster settings that differ from Knative's defaults.
    pub(super) configmap: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    /// Requests that a pod takes at once; 0: no limit.
    pub(super) container_concurrency: u32,
    /// `None`: not known, which counts as reachable.
    pub(super) is_reachable: Option<bool>,
}

/// A scenario file.
#[derive(Debug)]
pub struct Scenario {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) settings: Settings,
    /// Ready pods when the decider is created; open and closed.
    pub(super) initial_ready: u32,
    /// From wanted to ready. Seconds.
    pub(super) pod_start_s: u64,
    /// Until the activator answers the probe after it became the backing; end to end. Seconds.
    pub(super) probe_delay_s: u64,
    /// The cluster's progress deadline; end to end. Seconds.
    pub(super) progress_deadline_s: u64,
    pub(super) updates: Vec<Update>,
    /// Entry `t` is second `t`.
    pub(super) seconds: Vec<Second>,
}

/// Settings that change.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) t_s: u64,
    configmap: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    container_concurrency: Option<u32>,
    is_reachable: Option<Option<bool>>,
}

/// What happened in a second.
#[derive(Debug)]
pub(super) struct Second {
    /// Requests in flight, all pods together; `None`: no stat this second.
    pub(super) concurrency: Option<f64>,
    /// Requests that arrived.
    pub(super) rps: f64,
    /// Ready pods; open.
    pub(super) ready: u32,
    /// The pod count cannot be read.
    pub(super) has_ready_error: bool,
    /// There is an extra decision before the regular one.
    pub(super) is_poked: bool,
    /// Stats beside the main one, in order.
    pub(super) extra: Vec<Extra>,
    /// Pods do not become ready; end to end.
    pub(super) pods_fail: bool,
}

/// A stat beside the main one, less its proxied share.
#[derive(Debug)]
pub(super) struct Extra {
    /// The whole second that it is for.
    pub(super) at_s: u64,
    pub(super) concurrency: f64,
    pub(super) rps: f64,
}

impl Update {
    /// Merges it into `settings`.
    pub(super) fn apply(&self, settings: &mut Settings) {
        settings.configmap.extend(self.configmap.clone());
        settings.annotations.extend(self.annotations.clone());
        if let Some(concurrency) = self.container_concurrency {
            settings.container_concurrency = concurrency;
        }
        if let Some(reachable) = self.is_reachable {
            settings.is_reachable = reachable;
        }
    }
}

impl Scenario {
    pub(super) fn read(text: &Text) -> Result<Scenario, ReadError> {
        let mut records = text.records();
        let mut header = records.next().unwrap_or_else(|| text.first())?;
        header.required::<String>("kind")?;
        let name = header.required("name")?;
        header.optional::<String>("desc")?;
        header.optional::<String>("profile")?;
        let mode = header.word("mode", &MODES)?;
        let settings = Settings {
            configmap: header.required("configmap")?,
            annotations: header.required("annotations")?,
            container_concurrency: header.required("container_concurrency")?,
            is_reachable: reachability(&mut header)?.flatten(),
        };
        let initial_ready = header.optional("initial_ready_pods")?.unwrap_or(0);
        let pod_start_s = header.optional("pod_start_s")?.unwrap_or(0);
        let probe_delay_s = header.optional("activator_probe_delay_s")?.unwrap_or(0);
        let progress_deadline_s = header.optional("progress_deadline_s")?.unwrap_or(600);
        let last_s: u64 = header.required("duration_s")?;
        let updates = header.each("updates")?.into_iter().map(update).collect::<Result<_, _>>()?;
        let header_line = header.line();
        header.end()?;

        let mut seconds = Vec::new();
        for record in records {
            seconds.push(second(record?, seconds.len() as u64, mode)?);
        }
        if seconds.len() as u64 != last_s.saturating_add(1) {
            return Err(ReadError::Field(Box::new(crate::definitions::Fault {
                file: text.path().to_owned(),
                line: header_line,
                field: "duration_s".into(),
                found: last_s.to_string(),
                expected: format!("the last of its {} seconds, from 0 on", seconds.len()),
                nearest: None,
            })));
        }
        let path = text.path().to_owned();
        Ok(Scenario {
            path,
            name,
            mode,
            settings,
            initial_ready,
            pod_start_s,
            probe_delay_s,
            progress_deadline_s,
            updates,
            seconds,
        })
    }
}

/// `None` where the field is absent.
pub(super) fn reachability(record: &mut Record<'_>) -> Result<Option<Option<bool>>, ReadError> {
    const WORDS: [(&str, Option<bool>); 3] =
        [("Reachable", Some(true)), ("Unreachable", Some(false)), ("", None)];
    if !record.has("reachability") {
        return Ok(None);
    }
    record.word("reachability", &WORDS).map(Some)
}

fn update(mut record: Record<'_>) -> Result<Update, ReadError> {
    let update = Update {
        t_s: record.required("t_s")?,
        configmap: record.optional("configmap")?.unwrap_or_default(),
        annotations: record.optional("annotations")?.unwrap_or_default(),
        container_concurrency: record.optional("container_concurrency")?,
        is_reachable: reachability(&mut record)?,
    };
    record.end()?;
    Ok(update)
}

fn second(mut record: Record<'_>, expected_s: u64, mode: Mode) -> Result<Second, ReadError> {
    let t_s: u64 = record.required("t_s")?;
    if t_s != expected_s {
        return Err(record.fault(
            "t_s",
            &t_s.to_string(),
            &format!("{expected_s}: a line for each second, from 0 on"),
        ));
    }
    let has_ready_error = record.optional("ready_error")?.unwrap_or(false);
    let ready = match record.optional("ready_pods")? {
        None if mode == Mode::Open && !has_ready_error => record.required("ready_pods")?,
        ready => ready.unwrap_or(0),
    };
    let second = Second {
        concurrency: record.optional("concurrency")?,
        rps: record.optional("rps")?.unwrap_or(0.0),
        ready,
        has_ready_error,
        is_poked: record.optional("poke")?.unwrap_or(false),
        extra: record.each("extra")?.into_iter().map(extra).collect::<Result<_, _>>()?,
        pods_fail: record.optional("pods_fail")?.unwrap_or(false),
    };
    if mode == Mode::EndToEnd && (second.is_poked || !second.extra.is_empty() || has_ready_error) {
        // The rules of this mode poke by themselves, and its pods can always be counted.
        let field = if second.is_poked {
            "poke"
        } else if has_ready_error {
            "ready_error"
        } else {
            "extra"
        };
        return Err(record.fault(field, "there", "none where the mode is \"e2e\""));
    }
    record.end()?;
    Ok(second)
}

fn extra(mut record: Record<'_>) -> Result<Extra, ReadError> {
    let at_s: f64 = record.required("at_s")?;
    if !(0.0..9e15).contains(&at_s) {
        return Err(record.fault("at_s", &at_s.to_string(), "a time of at least 0"));
    }
    let mut number =
        |name: &'static str| Ok(record.optional::<f64>(name)?.unwrap_or(0.0)) as Result<f64, _>;
    let extra = Extra {
        at_s: at_s as u64,
        concurrency: number("concurrency")? - number("proxied_concurrency")?,
        rps: number("rps")? - number("proxied_rps")?,
    };
    record.end()?;
    Ok(extra)
}
