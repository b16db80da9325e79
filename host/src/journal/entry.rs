//! What stands in a journal: entries, a line of JSON each.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::Header;
use super::requests::Requests;
use crate::engine::{Observation, Plan};
use crate::time::Time;

/// All that an engine knew: a fresh one that is restored from it goes on as the one it was taken of.
pub type Snapshot = serde_json::Value;

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// From here on it can be decided again, whatever is missing before.
    Begin(Box<Begin>),
    /// One step.
    Step(Step),
    /// What became of requests.
    Requests(Requests),
    /// Something that people should know of.
    Note(Note),
}

/// All that must be known to decide the steps that follow: the first entry of every segment, and one inside a segment where policies,
/// profile or services change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Begin {
    /// When.
    pub at: Time,
    /// How the engine was made.
    pub header: Header,
    /// What it was then given to know; `None`: nothing, its targets are taken in anew.
    pub snapshot: Option<Snapshot>,
    /// Which run of the program it is: when that began.
    pub run: Time,
    /// Steps of that run until here. Who has read fewer lacks some.
    pub steps: u64,
    /// Why there is another engine from here on; `None`: it is the one that there was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succession: Option<Succession>,
    /// What is missing before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

impl Begin {
    /// The beginning of a run that nothing was before.
    pub fn first(header: Header) -> Begin {
        let at = header.start;
        Begin { at, header, snapshot: None, run: at, steps: 0, succession: None, gap: None }
    }

    /// The engine that was made as `header` says goes on from `snapshot`, at `at`. Run, steps and gap are set by who keeps it.
    pub fn from_snapshot(at: Time, header: Header, snapshot: Snapshot) -> Begin {
        Begin { at, snapshot: Some(snapshot), run: at, ..Begin::first(header) }
    }
}

/// Why an engine took over from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Succession {
    /// Who wanted it: a file that changed, a person, the host itself.
    pub who: String,
    /// What it was for.
    pub why: String,
}

/// Entries that could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// When the first of them was.
    pub from: Time,
    /// How many.
    pub dropped: u64,
}

impl Gap {
    /// Both of two gaps.
    pub fn and(self, other: Option<Gap>) -> Gap {
        let Some(other) = other else { return self };
        Gap { from: self.from.min(other.from), dropped: self.dropped + other.dropped }
    }
}

/// What the engine was given, and what it planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What the engine was given.
    pub seen: Observation,
    /// What it planned.
    pub plan: Plan,
}

/// Something that people should know of and that no decision hangs on: whatever one does hang on is in a step or a [`Begin`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// When.
    pub at: Time,
    /// What it is about.
    pub about: About,
    /// The service that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// For people.
    pub text: String,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// Policies, profile or services were changed.
    Swap,
    /// They were to be, and were not.
    RefusedSwap,
    /// They were changed back.
    Rollback,
    /// A person holds a service at a number of replicas, or no longer does.
    Pin,
    /// A policy that decides nothing would have decided otherwise.
    Shadow,
    /// What the backend has to say.
    Backend,
}

impl About {
    /// As people read it.
    pub fn shown(self) -> &'static str {
        match self {
            About::Swap => "swap",
            About::RefusedSwap => "refused swap",
            About::Rollback => "rollback",
            About::Pin => "pin",
            About::Shadow => "shadow",
            About::Backend => "backend",
        }
    }
}

/// A step that is only looked at.
#[derive(Serialize)]
pub(super) struct StepRef<'a> {
    pub(super) seen: &'a Observation,
    pub(super) plan: &'a Plan,
}

/// The lines that are no step.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Tagged<B, R, N> {
    Begin(B),
    Requests(R),
    Note(N),
}

impl Entry {
    /// When it was.
    pub fn at(&self) -> Time {
        match self {
            Entry::Begin(begin) => begin.at,
            Entry::Step(step) => step.seen.at,
            Entry::Requests(requests) => Time(requests.second * 1_000),
            Entry::Note(note) => note.at,
        }
    }

    /// Writes its line.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Entry::Begin(begin) => line(to, &Tagged::<_, (), ()>::Begin(begin)),
            Entry::Step(Step { seen, plan }) => line(to, &StepRef { seen, plan }),
            Entry::Requests(requests) => line(to, &Tagged::<(), _, ()>::Requests(requests)),
            Entry::Note(note) => line(to, &Tagged::<(), (), _>::Note(note)),
        }
    }

    /// Reads a line that is not the first of a file.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn read(line: &[u8]) -> Result<Entry, serde_json::Error> {
        let is_tagged = [&b"{\"begin\""[..], b"{\"requests\"", b"{\"note\""]
            .iter()
            .any(|start| line.starts_with(start));
        if !is_tagged {
            return serde_json::from_slice(line).map(Entry::Step);
        }
        Ok(match serde_json::from_slice(line)? {
            Tagged::Begin(begin) => Entry::Begin(begin),
            Tagged::Requests(requests) => Entry::Requests(requests),
            Tagged::Note(note) => Entry::Note(note),
        })
    }

    /// About how much memory it takes. Bytes.
    pub(super) fn weight(&self) -> usize {
        match self {
            // A snapshot is most of it, and is seldom.
            Entry::Begin(begin) => 4_096 + begin.header.targets.len() * 8_192,
            Entry::Step(step) => weight_of(&step.seen, &step.plan),
            Entry::Requests(requests) => 128 + requests.len() * 64,
            Entry::Note(note) => 128 + note.text.len(),
        }
    }
}

/// About how much memory a step takes. Bytes.
pub(super) fn weight_of(seen: &Observation, plan: &Plan) -> usize {
    // Nodes carry their labels: a node is some hundred bytes, and an event that names them all names many.
    let event = |event: &crate::engine::Event| match event {
        crate::engine::Event::Nodes(nodes) => nodes.len() * 1_024,
        crate::engine::Event::Report(..)
        | crate::engine::Event::Scraped(..)
        | crate::engine::Event::Waiting(_)
        | crate::engine::Event::Replica(..)
        | crate::engine::Event::Counted(..)
        | crate::engine::Event::GatewayAnswers(..)
        | crate::engine::Event::Pin { .. }
        | crate::engine::Event::Unpin(_) => 96,
    };
    let seen_bytes: usize = seen.events.iter().map(event).sum();
    256 + seen_bytes
        + seen.in_flight.len() * 16
        + plan.actions.len() * 16
        + plan.changes.len() * 1_024
        + (plan.unplaced.len() + plan.failures.len()) * 512
}

pub(super) fn line(to: &mut impl Write, document: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, document)?;
    to.write_all(b"\n")
}
