//! A run of suites as text, and in the forms that other programs read.

mod github;
mod json;
mod junit;
mod tap;
mod text;

pub use github::github;
pub use json::{json, pending_json};
pub use junit::junit;
pub use tap::tap;
pub use text::{change, details, text};

use super::contract::{CheckOutcome, Checked};
use super::diff::other_simulator;
use super::{Broken, CaseReport, Report, SnapshotState, SuiteReport};

/// How a case or a policy ended, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Passed,
    /// It has no accepted snapshot yet.
    New,
    /// It came to something else than its snapshot.
    Changed,
    /// An expectation or a check does not hold.
    Failed,
    /// A policy gave no answer.
    Trapped,
    /// It could not be run.
    Broken,
}

impl Verdict {
    /// Of a case: the gravest of what is wrong with it.
    pub fn of(case: &CaseReport) -> Verdict {
        if case.broken.is_some() {
            return Verdict::Broken;
        }
        if !case.failures.is_empty() {
            return Verdict::Trapped;
        }
        if !case.unmet.is_empty() {
            return Verdict::Failed;
        }
        match case.snapshot {
            SnapshotState::New { .. } => Verdict::New,
            SnapshotState::Changed { .. } => Verdict::Changed,
            SnapshotState::None | SnapshotState::Same | SnapshotState::Accepted { .. } => {
                Verdict::Passed
            }
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::New => "new",
            Verdict::Changed => "changed",
            Verdict::Failed => "failed",
            Verdict::Trapped => "trapped",
            Verdict::Broken => "broken",
        }
    }
}

/// How many of a run's cases and checks ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases that passed.
    pub passed: usize,
    /// Cases without an accepted snapshot.
    pub new: usize,
    /// Cases that came to something else than their snapshot.
    pub changed: usize,
    /// Cases with an expectation that does not hold.
    pub failed: usize,
    /// Cases in which a policy gave no answer.
    pub trapped: usize,
    /// Cases and suites that could not be run.
    pub broken: usize,
    /// Cases that were not chosen.
    pub skipped: usize,
    /// Contract checks that failed.
    pub checks_failed: usize,
    /// Snapshots that no case has.
    pub orphans: usize,
    /// Snapshots that were accepted.
    pub accepted: usize,
}

impl Tally {
    /// Of a whole run.
    pub fn of(report: &Report) -> Tally {
        let mut tally = Tally::default();
        for suite in &report.suites {
            tally.skipped += suite.skipped;
            tally.orphans += suite.orphans.len();
            tally.broken += usize::from(suite.broken.is_some());
            let checks = suite.policies.iter().flat_map(|policy| &policy.checks);
            tally.checks_failed +=
                checks.filter(|check| matches!(check.outcome, CheckOutcome::Failed(_))).count();
            for case in &suite.cases {
                tally.accepted +=
                    usize::from(matches!(case.snapshot, SnapshotState::Accepted { .. }));
                *match Verdict::of(case) {
                    Verdict::Passed => &mut tally.passed,
                    Verdict::New => &mut tally.new,
                    Verdict::Changed => &mut tally.changed,
                    Verdict::Failed => &mut tally.failed,
                    Verdict::Trapped => &mut tally.trapped,
                    Verdict::Broken => &mut tally.broken,
                } += 1;
            }
        }
        tally
    }
}

/// What is wrong with a case, a line each, without its diff: for the forms that other programs read.
fn wrongs(case: &CaseReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(broken) = &case.broken {
        lines.extend(told(broken));
    }
    lines.extend(case.failures.iter().map(|failure| format!("policy failed: {failure}")));
    lines.extend(case.unmet.iter().flat_map(|unmet| &unmet.because).cloned());
    match &case.snapshot {
        SnapshotState::New { file, .. } => {
            lines.push(format!("there is no snapshot {} yet", file.display()));
        }
        SnapshotState::Changed { before, now, file } => {
            lines.push(match other_simulator(before, now) {
                Some((was, is)) => format!(
                    "the simulator changed: {} was made by model {was}, and this is model {is}",
                    file.display()
                ),
                None => format!("it differs from {}", file.display()),
            });
        }
        SnapshotState::None | SnapshotState::Same | SnapshotState::Accepted { .. } => {}
    }
    lines
}

fn told(broken: &Broken) -> Vec<String> {
    let hint = broken.hint.iter().map(|hint| format!("hint: {hint}"));
    broken.told.iter().flat_map(|told| told.lines().map(str::to_owned)).chain(hint).collect()
}

/// What is wrong with a policy, a line each.
fn wrongs_of_policy(policy: &Checked) -> Vec<String> {
    let failed = policy.checks.iter().filter_map(|check| match &check.outcome {
        CheckOutcome::Failed(message) => Some(format!("{}: {message}", check.name)),
        CheckOutcome::Passed | CheckOutcome::Skipped(_) => None,
    });
    failed.collect()
}

/// What is wrong with a suite beside its cases and policies, a line each.
fn wrongs_of_suite(suite: &SuiteReport) -> Vec<String> {
    let broken = suite.broken.iter().flat_map(told);
    let orphan = |path: &std::path::PathBuf| format!("no case has the snapshot {}", path.display());
    broken.chain(suite.orphans.iter().map(orphan)).collect()
}
