//! What a run saw and planned, a line a step, so that a run can be looked into later and decided again. JSON, one document a
//! line: a header, then steps. It records what it is given and decides nothing.

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::engine::{Counts, Engine, Observation, Options, Plan, StagePolicy, TargetSpec};
use crate::policy::Limits;
use crate::time::Time;

/// The version of the format; another one is refused.
pub const API_VERSION: &str = "tidegate.dev/v1alpha1";

/// The first line: everything that was settled before the first step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// [`API_VERSION`].
    pub api_version: String,
    /// `Journal`.
    pub kind: String,
    /// When the targets were taken in.
    pub start: Time,
    /// How the engine ran.
    pub options: Options,
    /// The policies and what happens where one fails, in order of the stages, the placement policy last.
    pub policies: Vec<StagePolicy>,
    /// What each policy may take; `None`: they ran in no sandbox.
    pub limits: Option<Limits>,
    /// The targets with all their settings, in the engine's order.
    pub targets: Vec<TargetSpec>,
    /// What there was of each target's replicas at the start, where something else owns them.
    pub counts: Vec<Counts>,
}

impl Header {
    /// The header of a run of `engine`, which took its targets in at `start` and has made no step yet.
    pub fn of(engine: &Engine, start: Time, limits: Option<Limits>) -> Header {
        Header {
            api_version: API_VERSION.to_owned(),
            kind: "Journal".to_owned(),
            start,
            options: engine.options().clone(),
            policies: engine.policies(),
            limits,
            targets: engine.specs().cloned().collect(),
            counts: engine.counts().collect(),
        }
    }
}

/// A further line: one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What the engine was given.
    pub seen: Observation,
    /// What it planned.
    pub plan: Plan,
}

/// What every version's header has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    api_version: String,
}

#[derive(Serialize)]
struct StepRef<'a> {
    seen: &'a Observation,
    plan: &'a Plan,
}

/// Where a run is written down. One that cannot write says so once and carries on without.
pub struct Journal<'a> {
    to: Option<Box<dyn Write + 'a>>,
    trouble: Option<std::io::Error>,
}

impl<'a> Journal<'a> {
    /// A journal that keeps nothing.
    pub fn none() -> Journal<'a> {
        Journal { to: None, trouble: None }
    }

    /// A journal that goes to `to`.
    pub fn new(to: impl Write + 'a, header: &Header) -> Journal<'a> {
        let mut journal = Journal { to: Some(Box::new(to)), trouble: None };
        journal.line(header);
        journal
    }

    /// Writes a step down.
    pub fn record(&mut self, seen: &Observation, plan: &Plan) {
        if self.to.is_some() {
            self.line(&StepRef { seen, plan });
        }
    }

    /// Ends it. Returns what kept it from writing, if anything did: it then ends before the run does.
    pub fn finish(mut self) -> Option<std::io::Error> {
        if let Some(to) = &mut self.to
            && let Err(error) = to.flush()
        {
            self.trouble.get_or_insert(error);
        }
        self.trouble
    }

    fn line(&mut self, document: &impl Serialize) {
        let Some(to) = &mut self.to else { return };
        let written = serde_json::to_writer(&mut *to, document)
            .map_err(std::io::Error::from)
            .and_then(|()| to.write_all(b"\n"));
        if let Err(error) = written {
            self.trouble = Some(error);
            self.to = None;
        }
    }
}

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file ended before its header, or could not be read.
    #[error("cannot read the journal at line {line}")]
    Read {
        /// Counted from 1.
        line: usize,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("line {line} of the journal is not {expected}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What was expected there.
        expected: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It was written by a version that this one does not know.
    #[error("the journal is of version {found}, and this program reads {API_VERSION}")]
    Version {
        /// What the header says.
        found: String,
    },
}

/// Reads a journal: its header, and its steps one by one. A last line that was cut off ends it without an error.
///
/// # Errors
///
/// When the first line is no header of this version; a step that cannot be read is an item.
pub fn read<R: BufRead>(
    from: R,
) -> Result<(Header, impl Iterator<Item = Result<Step, JournalError>>), JournalError> {
    // Bytes, not text: a last line may be cut off within a character.
    let mut lines = from.split(b'\n').zip(1usize..);
    let first = lines
        .next()
        .map_or_else(|| Err(std::io::ErrorKind::UnexpectedEof.into()), |(line, _)| line);
    let first = first.map_err(|source| JournalError::Read { line: 1, source })?;
    let syntax = |line, expected| move |source| JournalError::Syntax { line, expected, source };
    let version: Version =
        serde_json::from_slice(&first).map_err(syntax(1, "a journal's header"))?;
    if version.api_version != API_VERSION {
        return Err(JournalError::Version { found: version.api_version });
    }
    let header = serde_json::from_slice(&first).map_err(syntax(1, "a journal's header"))?;
    let mut lines = lines.peekable();
    let steps = std::iter::from_fn(move || {
        let (line, number) = lines.next()?;
        let text = match line {
            Ok(text) => text,
            Err(source) => return Some(Err(JournalError::Read { line: number, source })),
        };
        match serde_json::from_slice(&text) {
            Err(error) if error.is_eof() && lines.peek().is_none() => None,
            read => Some(read.map_err(syntax(number, "a step"))),
        }
    });
    Ok((header, steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Event, Report, TargetId};

    fn header() -> Header {
        Header {
            api_version: API_VERSION.to_owned(),
            kind: "Journal".to_owned(),
            start: Time::ZERO,
            options: Options {
                tick_ms: 2_000,
                explains: true,
                gateway_is_always_in_path: true,
                keeps_s: 0,
            },
            policies: Vec::new(),
            limits: None,
            targets: Vec::new(),
            counts: Vec::new(),
        }
    }

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut journal = Journal::new(&mut bytes, &header());
        let values = [0.1 + 0.2, f64::NAN, 1e-300, 3.0];
        let report = Report { second: 7, values, in_flight: 1, waiting: 2, oldest_wait_ms: 3 };
        let seen = Observation {
            at: Time(7_000),
            events: vec![Event::Report(TargetId(0), report)],
            in_flight: Vec::new(),
        };
        journal.record(&seen, &Plan { at: Time(7_000), wake_at: Time::NEVER, ..Plan::default() });
        assert!(journal.finish().is_none());
        bytes
    }

    #[test]
    fn numbers_come_back_to_the_last_bit_and_nan_as_nan() {
        let bytes = written();
        let (_, mut steps) = read(&bytes[..]).expect("it has a header");
        let step = steps.next().expect("a step").expect("in order");
        let Event::Report(_, report) = &step.seen.events[0] else { panic!("a report was written") };
        assert_eq!(
            report.values.map(f64::to_bits),
            [0.1 + 0.2, f64::NAN, 1e-300, 3.0].map(f64::to_bits)
        );
        assert_eq!(step.plan.wake_at, Time::NEVER);
        assert!(steps.next().is_none());
    }

    #[test]
    fn a_step_that_was_cut_off_ends_the_journal_wherever_it_was_cut() {
        let bytes = written();
        let header = bytes.iter().position(|&byte| byte == b'\n').expect("a header") + 1;
        for end in header..bytes.len() - 1 {
            let (_, steps) = read(&bytes[..end]).expect("the header is whole");
            assert_eq!(steps.filter_map(Result::ok).count(), 0, "cut at {end}");
        }
    }

    #[test]
    fn a_journal_that_cannot_write_carries_on_and_says_so_in_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut journal = Journal::new(Full, &header());
        journal.record(&Observation::default(), &Plan::default());
        assert_eq!(
            journal.finish().map(|error| error.kind()),
            Some(std::io::ErrorKind::StorageFull)
        );
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let text =
            String::from_utf8(written()).expect("JSON").replace(API_VERSION, "tidegate.dev/v9");
        let error = read(text.as_bytes()).err().expect("refused");
        assert_eq!(
            error.to_string(),
            "the journal is of version tidegate.dev/v9, and this program reads tidegate.dev/v1alpha1"
        );
    }
}
