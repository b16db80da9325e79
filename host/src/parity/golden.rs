//! A golden file: what Knative answered to a scenario, decision by decision.

use serde_json::Value;

use super::error::ReadError;
use super::numbers::Recorded;
use super::scenario::{MODES, Mode, Scenario};
use super::text::{Record, Text};
use crate::definitions::Fault;

/// A golden file.
#[derive(Debug)]
pub struct Golden {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) mode: Mode,
    /// Unix time of t = 0. Seconds.
    pub(super) epoch_s: u64,
    /// Line of the header.
    pub(super) line: u64,
    /// The numbers of the revision as Knative made them of the settings.
    pub(super) resolved: Recorded,
    /// In order of time; a poke before the regular decision of its second.
    pub(super) rows: Vec<Row>,
}

/// What was decided at a second.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) t_s: u64,
    /// An extra decision; end to end: there was one too.
    pub(super) is_poke: bool,
    /// End to end: whether a regular decision fell on this second.
    pub(super) is_tick: bool,
    pub(super) is_valid: bool,
    pub(super) desired: f64,
    pub(super) ebc: f64,
    pub(super) panic: bool,
    pub(super) max_panic: f64,
    /// `None`: no data.
    pub(super) stable: Option<f64>,
    pub(super) panic_avg: Option<f64>,
    pub(super) ready: f64,
    /// Closed: pods that exist after it.
    pub(super) pods: Option<f64>,
    pub(super) end_to_end: Option<EndToEnd>,
}

/// What an end-to-end row says beyond that.
#[derive(Debug)]
pub(super) struct EndToEnd {
    pub(super) decider: f64,
    pub(super) replicas: f64,
    pub(super) active: String,
    pub(super) sks: String,
    pub(super) activators: f64,
    pub(super) pa_desired: f64,
}

impl Golden {
    pub(super) fn read(text: &Text) -> Result<Golden, ReadError> {
        let mut records = text.records();
        let mut header = records.next().unwrap_or_else(|| text.first())?;
        header.required::<String>("kind")?;
        let name = header.required("name")?;
        let mode = header.word("mode", &MODES)?;
        header.optional::<String>("source")?;
        let epoch_s: u64 = header.required("epoch_s")?;
        if epoch_s > 1 << 40 {
            return Err(header.fault("epoch_s", &epoch_s.to_string(), "a Unix time in seconds"));
        }
        let resolved = Recorded::read(header.within("resolved")?, false)?;
        let line = header.line();
        header.end()?;
        let mut rows: Vec<Row> = Vec::new();
        for record in records {
            let record = record?;
            rows.push(row(record, mode, rows.last())?);
        }
        let path = text.path().to_owned();
        if rows.is_empty() {
            let expected = "a row for each decision behind the header";
            return Err(ReadError::Empty { path, found: "a header alone", expected });
        }
        Ok(Golden { path, name, mode, epoch_s, line, resolved, rows })
    }
}

impl Golden {
    /// It is of `scenario` by its name, and of something else by its mode.
    pub(super) fn of_another_mode(&self, scenario: &Scenario) -> ReadError {
        let word = |mode: Mode| {
            let known = MODES.iter().find(|(_, known)| *known == mode);
            known.map_or("", |(word, _)| word)
        };
        ReadError::Field(Box::new(Fault {
            file: self.path.clone(),
            line: self.line,
            field: "mode".into(),
            found: format!("{:?}", word(self.mode)),
            expected: format!("{:?}, as {} has it", word(scenario.mode), scenario.path),
            nearest: None,
        }))
    }
}

fn row(mut record: Record<'_>, mode: Mode, before: Option<&Row>) -> Result<Row, ReadError> {
    let t_s: u64 = record.required("t_s")?;
    let is_poke = record.optional("poke")?.unwrap_or(false);
    let is_after = before.is_none_or(|before| {
        before.t_s < t_s
            || (before.t_s == t_s && before.is_poke && !is_poke && mode != Mode::EndToEnd)
    });
    if !is_after {
        let expected = "a second after that of the row before, a poke first where there are two";
        return Err(record.fault("t_s", &t_s.to_string(), expected));
    }
    let row = Row {
        line: record.line(),
        t_s,
        is_poke,
        is_tick: if mode == Mode::EndToEnd { record.required("tick")? } else { !is_poke },
        is_valid: record.required("valid")?,
        desired: record.required("desired")?,
        ebc: record.required("ebc")?,
        panic: record.required("panic")?,
        max_panic: record.required("max_panic")?,
        stable: average(&mut record, "stable")?,
        panic_avg: average(&mut record, "panic_avg")?,
        ready: record.required("ready")?,
        pods: match mode {
            Mode::Closed => Some(record.required("pods")?),
            Mode::Open | Mode::EndToEnd => None,
        },
        end_to_end: match mode {
            Mode::EndToEnd => Some(EndToEnd {
                decider: record.required("decider")?,
                replicas: record.required("replicas")?,
                active: record.word("active", &ACTIVE)?.to_owned(),
                sks: record.word("sks", &SKS)?.to_owned(),
                activators: record.required("activators")?,
                pa_desired: record.required("pa_desired")?,
            }),
            Mode::Open | Mode::Closed => None,
        },
    };
    record.end()?;
    Ok(row)
}

pub(super) const ACTIVE: [(&str, &str); 3] =
    [("True", "True"), ("False", "False"), ("Unknown", "Unknown")];
pub(super) const SKS: [(&str, &str); 2] = [("Serve", "Serve"), ("Proxy", "Proxy")];

/// An average must be written down even where it is `null`, "no data".
fn average(record: &mut Record<'_>, name: &'static str) -> Result<Option<f64>, ReadError> {
    if !record.has(name) {
        return Err(record.fault(name, "missing", "a number, or null for no data"));
    }
    record.optional(name)
}

impl Row {
    /// What a message calls it.
    pub(super) fn at(&self) -> String {
        let poke = if self.is_poke && self.end_to_end.is_none() { "poke at " } else { "" };
        format!("{poke}{} s", self.t_s)
    }
}

/// An average as it is told.
pub(super) fn told(average: Option<f64>) -> Value {
    average.map_or(Value::Null, super::compare::number)
}
