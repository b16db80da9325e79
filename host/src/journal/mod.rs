//! What a run saw and planned, so that it can be looked into later and decided again; live also what became of every request. The
//! simulator and the live loop write one format (`docs/journal.md`): entries, a line of JSON each, as plain text or in segments of
//! checksummed frames ([`segment`]). It records what it is given and decides nothing.

pub mod entry;
mod keeper;
pub mod live;
pub mod read;
pub mod requests;
pub mod segment;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use entry::{About, Begin, Entry, Gap, Note, Snapshot, Step, Succession};
pub use live::{Health, KeepLimits};
pub use read::{Found, JournalError, Reader, is_journal, open, read};
pub use requests::{Fate, Request, RequestLog, Requests};
pub use segment::{SegmentWriter, Torn};

use crate::engine::{Counts, Engine, Observation, Options, Plan, StagePolicy, TargetSpec};
use crate::policy::{ChainLimits, Limits};
use crate::time::Time;
use entry::{StepRef, line};
use live::Live;

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
    /// What those stages may take that have limits of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stage_limits: BTreeMap<String, Limits>,
    /// The targets with all their settings, in the engine's order.
    pub targets: Vec<TargetSpec>,
    /// What there was of each target's replicas at the start, where something else owns them.
    pub counts: Vec<Counts>,
    /// What was configured, for those who ask what would have happened otherwise; no decision hangs on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Sources>,
}

/// What a run was configured with, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sources {
    /// The files of services.
    pub services: Vec<Source>,
    /// The file of nodes, or what was detected in its form; `None`: the built-in fleet.
    pub nodes: Option<Source>,
    /// The file of models beside the built-in ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Source>,
    /// The name of the profile.
    pub profile: String,
    /// All its keys.
    pub profile_settings: BTreeMap<String, String>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name, without its folder.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Header {
    /// The header of a run of `engine`, which took its targets in at `start` and has made no step yet.
    pub fn of(engine: &Engine, start: Time, limits: Option<ChainLimits>) -> Header {
        let (limits, stage_limits) = limits.map(|limits| (limits.all, limits.own)).unzip();
        Header {
            api_version: API_VERSION.to_owned(),
            kind: "Journal".to_owned(),
            start,
            options: engine.options().clone(),
            policies: engine.policies(),
            limits,
            stage_limits: stage_limits.unwrap_or_default(),
            targets: engine.specs().cloned().collect(),
            counts: engine.counts().collect(),
            sources: None,
        }
    }

    /// What its policies may take; the usual, where they ran in no sandbox.
    pub fn chain_limits(&self) -> ChainLimits {
        let all = self.limits.clone().unwrap_or_default();
        ChainLimits { all, own: self.stage_limits.clone() }
    }
}

/// Where a run is written down. One that cannot write says so and the run carries on without.
pub struct Journal<'a>(To<'a>);

enum To<'a> {
    Nothing,
    /// A file, until it cannot be written.
    File {
        to: Box<dyn Write + 'a>,
        trouble: Option<std::io::Error>,
        /// When it began, and its steps so far.
        run: Time,
        steps: u64,
    },
    Folder(Live),
}

impl<'a> Journal<'a> {
    /// A journal that keeps nothing.
    pub fn none() -> Journal<'a> {
        Journal(To::Nothing)
    }

    /// A journal that goes to `to` line by line: as plain text, or framed where that is a [`SegmentWriter`].
    pub fn new(to: impl Write + 'a, header: &Header) -> Journal<'a> {
        let to = Box::new(to);
        let mut journal = Journal(To::File { to, trouble: None, run: header.start, steps: 0 });
        journal.line(header);
        journal
    }

    /// A journal of segments in a folder, written by a thread of its own.
    ///
    /// # Errors
    ///
    /// When there can be no thread. A folder that cannot be written is no error: [`Journal::health`] tells, and it is tried again.
    pub fn live(folder: &Path, limits: KeepLimits, begin: Begin) -> std::io::Result<Journal<'a>> {
        Live::start(folder, limits, begin).map(|live| Journal(To::Folder(live)))
    }

    /// Writes a step down.
    pub fn record(&mut self, seen: &Observation, plan: &Plan) {
        match &mut self.0 {
            To::Nothing => {}
            To::File { steps, .. } => {
                *steps += 1;
                self.line(&StepRef { seen, plan });
            }
            To::Folder(live) if live.is_keeping() => {
                live.take(Entry::Step(Step { seen: seen.clone(), plan: plan.clone() }));
            }
            To::Folder(live) => live.skip(seen.at),
        }
    }

    /// Whether [`Journal::begin`] should be called now, with a snapshot of the engine: a segment is full, or entries were lost.
    pub fn wants_snapshot(&self) -> bool {
        match &self.0 {
            To::Nothing | To::File { .. } => false,
            To::Folder(live) => live.wants_snapshot(),
        }
    }

    /// From here on it can be decided again from a snapshot: asked for, or as another engine takes over.
    pub fn begin(&mut self, begin: Begin) {
        match &mut self.0 {
            To::Nothing => {}
            To::File { run, steps, .. } => {
                let begin = Begin { run: *run, steps: *steps, ..begin };
                self.entry(&Entry::Begin(Box::new(begin)));
            }
            To::Folder(live) => live.begin(begin),
        }
    }

    /// Writes down what became of requests.
    pub fn requests(&mut self, requests: Requests) {
        self.take(Entry::Requests(requests));
    }

    /// Writes down something that people should know of.
    pub fn note(&mut self, note: Note) {
        self.take(Entry::Note(note));
    }

    /// Keeps a component beside the segments of a folder, so that what it decided can be decided again.
    pub fn keep_component(&mut self, digest: &str, component: Arc<[u8]>) {
        match &mut self.0 {
            To::Nothing | To::File { .. } => {}
            To::Folder(live) => live.keep_component(digest, component),
        }
    }

    /// How the journal of a live run is doing; `None`: it is none.
    pub fn health(&self) -> Option<Health> {
        match &self.0 {
            To::Nothing | To::File { .. } => None,
            To::Folder(live) => Some(live.health()),
        }
    }

    /// Ends it. Returns what kept it from writing, if anything did: it then ends before the run does.
    pub fn finish(self) -> Option<std::io::Error> {
        match self.0 {
            To::Nothing => None,
            To::File { mut to, trouble, .. } => match trouble {
                Some(trouble) => Some(trouble),
                None => to.flush().err(),
            },
            To::Folder(live) => live.finish().trouble.map(std::io::Error::other),
        }
    }

    /// Whether nothing waits for the disk.
    #[cfg(test)]
    fn is_drained(&self) -> bool {
        match &self.0 {
            To::Nothing | To::File { .. } => true,
            To::Folder(live) => live.is_drained(),
        }
    }

    fn take(&mut self, entry: Entry) {
        match &mut self.0 {
            To::Nothing => {}
            To::File { .. } => self.entry(&entry),
            To::Folder(live) => live.take(entry),
        }
    }

    fn entry(&mut self, entry: &Entry) {
        if let To::File { to, trouble: trouble @ None, .. } = &mut self.0 {
            *trouble = entry.write(to).err();
        }
    }

    fn line(&mut self, document: &impl Serialize) {
        if let To::File { to, trouble: trouble @ None, .. } = &mut self.0 {
            *trouble = line(to, document).err();
        }
    }
}

/// Where a folder of segments keeps the component of a digest.
pub fn component_path(folder: &Path, digest: &str) -> PathBuf {
    keeper::component_path(folder, digest)
}
