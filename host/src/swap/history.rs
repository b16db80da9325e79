//! What was swapped, when, by whom, and what came of it.

use std::collections::VecDeque;

use serde::Serialize;

use super::Refused;
use crate::engine::Restored;
use crate::time::Time;

/// Entries that are kept; the oldest go.
const KEPT: usize = 50;

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When. Unix milliseconds.
    pub at: Time,
    /// What happened.
    pub what: What,
    /// Who or what wanted it, as `a changed file`.
    pub by: String,
    /// The digest of the chain that decided before.
    pub from: String,
    /// The digest of the chain that was to decide; `None`: it could not be read that far.
    pub to: Option<String>,
    /// Recent steps that it was tried on, and how many decisions differed there.
    pub steps: u64,
    /// See `steps`.
    pub differences: u64,
    /// Why it was refused.
    pub refused: Option<Refused>,
    /// What was not taken over as it was, a line each.
    pub told: Vec<String>,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It decides.
    Swapped,
    /// What decided before decides on.
    Refused,
    /// An earlier one decides again, since somebody wanted that.
    WentBack,
    /// An earlier one decides again, since the new one failed.
    RolledBack,
}

/// The last attempts.
#[derive(Clone, Debug, Default)]
pub struct History {
    entries: VecDeque<Entry>,
}

impl History {
    /// The entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn add(&mut self, entry: Entry) {
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }
}

/// What was not taken over as it was, a line each.
pub fn lines(restored: &Restored) -> Vec<String> {
    let Restored { new_targets, gone, new_stages, gone_stages, migrated, born_anew, wakes_at: _ } =
        restored;
    let mut lines = Vec::new();
    lines.extend(new_stages.iter().map(|stage| format!("stage {stage} is new")));
    lines.extend(
        gone_stages.iter().map(|stage| format!("stage {stage} is gone, with what it remembered")),
    );
    lines.extend(migrated.iter().map(|one| {
        let states = if one.targets == 1 { "state" } else { "states" };
        format!("{}: {} {states} of layout {} migrated", one.stage, one.targets, one.from)
    }));
    lines.extend(born_anew.iter().map(|one| {
        let targets: Vec<String> = one.targets.iter().take(5).map(ToString::to_string).collect();
        let more = one.targets.len() - targets.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}: {}{more} begin anew: {}", one.stage, targets.join(", "), one.why)
    }));
    lines.extend(new_targets.iter().map(|target| format!("{target} is new")));
    lines.extend(gone.iter().map(|one| match one.replicas {
        0 => format!("{} is gone", one.target),
        1 => format!("{} is gone, with 1 replica", one.target),
        replicas => format!("{} is gone, with {replicas} replicas", one.target),
    }));
    lines
}
