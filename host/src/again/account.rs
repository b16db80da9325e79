//! What came of deciding a journal again, told: what changed and why, what was checked, what is missing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::decider::told;
use super::rehearsal::Rehearsed;
use super::{Before, Difference, Taken, Unlike};
use crate::engine::{Engine, Plan};
use crate::journal::{API_VERSION, Begin, Gap, Header};
use crate::recorder::reason_of;
use crate::swap::ShadowRun;
use crate::time::Time;

/// Lines of a timeline that are kept; further ones are counted.
const LINES_AT_MOST: usize = 100_000;

/// What came of a journal: the document that `tidegate replay JOURNAL -o json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// `tidegate.dev/v1alpha1`.
    pub api_version: &'static str,
    /// `JournalReplay`.
    pub kind: &'static str,
    /// When it begins. Unix milliseconds.
    pub start_ms: Time,
    /// When its last step was. Unix milliseconds.
    pub end_ms: Time,
    /// Files that it consists of.
    pub segments: u64,
    /// Runs of the program that wrote into it.
    pub runs: u64,
    /// Steps that were decided again.
    pub steps: u64,
    /// Steps that could not be: what came before them is missing.
    pub undecided: u64,
    /// Snapshots at which the engine of now knew what the one of then did.
    pub snapshots_checked: u64,
    /// Engines that took over from another: policies, profile or services changed.
    pub successions: u64,
    /// Requests whose fate it has.
    pub requests: u64,
    /// Services and their targets, at the end.
    pub targets: u64,
    /// The policies that decided: digests, and the stages that had them.
    pub policies: BTreeMap<String, Vec<String>>,
    /// What is missing.
    pub gaps: Vec<Hole>,
    /// What happened, in order of time.
    pub timeline: Vec<Line>,
    /// Further lines.
    pub left_out: u64,
    /// Swaps that were rehearsed on it, in order of time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub swaps: Vec<Rehearsed>,
    /// The first step that is planned otherwise now; what follows it was not decided.
    pub difference: Option<Difference>,
    /// When that is. Unix milliseconds.
    pub difference_ms: Option<Time>,
    /// The first thing that the engine of now knows otherwise than a snapshot says; what follows it was not decided.
    pub unlike: Option<Unlike>,
    /// When that snapshot was taken. Unix milliseconds.
    pub unlike_ms: Option<Time>,
}

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hole {
    /// In or before which segment.
    pub segment: String,
    /// When the first missing entry was, or else the last before it. Unix milliseconds.
    pub from_ms: Time,
    /// From when on it can be decided again; `null`: never. Unix milliseconds.
    pub to_ms: Option<Time>,
    /// Why.
    pub why: String,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When. Unix milliseconds.
    pub at_ms: Time,
    /// What it is about, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub story: Story,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Story {
    /// Another number of replicas was wanted.
    Change {
        /// Before; `null`: nothing had been decided.
        from: Option<u32>,
        /// From then on.
        to: u32,
        /// Why.
        reason: String,
    },
    /// A policy gave no answer.
    Failure {
        /// Whose, why, and what was done instead.
        text: String,
    },
    /// Another engine took over.
    Succession {
        /// Who wanted it.
        who: String,
        /// What it was for.
        why: String,
    },
    /// What a note says.
    Note {
        /// What it is about.
        about: String,
        /// What it says.
        text: String,
    },
    /// A swap was rehearsed: from here on other policies decide beside those of then.
    Swap {
        /// What takes over.
        policies: String,
        /// What was not taken over as it was, a line each.
        told: Vec<String>,
    },
    /// The policies of a rehearsed swap want another number of replicas than was wanted then.
    Otherwise {
        /// What was wanted then.
        then: u32,
        /// What they want.
        to: u32,
        /// Why.
        reason: String,
    },
    /// The program was started again.
    Start,
    /// Entries are missing.
    Gap {
        /// Why.
        why: String,
    },
}

impl Default for Account {
    fn default() -> Account {
        Account {
            api_version: API_VERSION,
            kind: "JournalReplay",
            start_ms: Time::NEVER,
            end_ms: Time::ZERO,
            segments: 0,
            runs: 0,
            steps: 0,
            undecided: 0,
            snapshots_checked: 0,
            successions: 0,
            requests: 0,
            targets: 0,
            policies: BTreeMap::new(),
            gaps: Vec::new(),
            timeline: Vec::new(),
            left_out: 0,
            swaps: Vec::new(),
            difference: None,
            difference_ms: None,
            unlike: None,
            unlike_ms: None,
        }
    }
}

impl Account {
    /// Takes in what came of an entry. `segment` is where that stands, `engine` what decided it.
    pub fn see(&mut self, taken: &Taken, segment: &str, engine: Option<&Engine>) {
        match taken {
            Taken::Segment(_) => self.segments += 1,
            Taken::Begin { begin, before } => self.begins(begin, before, segment),
            Taken::GoesOn => self.snapshots_checked += 1,
            Taken::Step { step, plan, is_same } => {
                self.passes(plan.at);
                self.steps += 1;
                if !is_same && self.difference.is_none() {
                    let nth = (self.steps + self.undecided) as usize;
                    let (recorded, decided) = (step.plan.clone(), plan.clone());
                    self.difference = Some(Difference { step: nth, recorded, decided });
                    self.difference_ms = Some(plan.at);
                }
                self.tell(plan, engine);
            }
            Taken::Undecided(step) => {
                self.passes(step.plan.at);
                self.undecided += 1;
            }
            Taken::Requests(requests) => self.requests += requests.len() as u64 + requests.left_out,
            Taken::Note(note) => {
                let (about, text) = (note.about.shown().to_owned(), note.text.clone());
                self.push(note.at, note.service.clone(), Story::Note { about, text });
            }
            Taken::Torn(torn) => {
                let why = format!("{} at byte {}", torn.why, torn.at);
                self.misses(segment, self.end_ms, why);
            }
        }
    }

    /// Whether all that was decided again is as it was.
    pub fn is_same(&self) -> bool {
        self.difference.is_none() && self.unlike.is_none()
    }

    fn begins(&mut self, begin: &Begin, before: &Before, segment: &str) {
        let at = begin.at;
        self.start_ms = self.start_ms.min(at);
        self.runs += u64::from(matches!(before, Before::Nothing | Before::OtherRun));
        match before {
            Before::Nothing => {}
            Before::Whole => self.snapshots_checked += 1,
            Before::Unlike(unlike) => {
                self.unlike = Some((**unlike).clone());
                self.unlike_ms = Some(at);
            }
            Before::OtherRun => self.push(at, None, Story::Start),
            Before::Missing => {
                // A tear was told where it was; what it leads to ends here.
                if self.gaps.last().is_none_or(|hole| hole.to_ms.is_some()) {
                    let from = begin.gap.map_or(self.end_ms, |gap: Gap| gap.from);
                    self.misses(segment, from, told(begin.gap));
                }
            }
        }
        if let Some(hole) = self.gaps.last_mut() {
            hole.to_ms = hole.to_ms.or(Some(at));
        }
        if let Some(succession) = &begin.succession {
            self.successions += 1;
            let (who, why) = (succession.who.clone(), succession.why.clone());
            self.push(at, None, Story::Succession { who, why });
        }
        self.names(&begin.header);
    }

    fn names(&mut self, header: &Header) {
        self.targets = header.targets.len() as u64;
        for policy in &header.policies {
            let stages = self.policies.entry(policy.digest.clone()).or_default();
            if !stages.contains(&policy.stage) {
                stages.push(policy.stage.clone());
            }
        }
    }

    /// Takes in a rehearsed swap.
    pub(super) fn tell_swap(&mut self, swap: Rehearsed) {
        let (policies, told) = (swap.policies.clone(), swap.told.clone());
        self.push(swap.at_ms, None, Story::Swap { policies, told });
        self.swaps.push(swap);
    }

    /// Takes in how the last rehearsed swap is doing. Of its differences, `told` were told before.
    pub(super) fn tell_rehearsed(&mut self, run: &ShadowRun, told: &mut u64) {
        let new = (run.differences - *told) as usize;
        *told = run.differences;
        for one in run.last.iter().skip(run.last.len().saturating_sub(new)) {
            let (then, to, reason) = (one.real, one.shadow, one.shadow_reason.clone());
            let story = Story::Otherwise { then, to, reason };
            self.push(one.at, Some(one.target.clone()), story);
        }
        let Some(swap) = self.swaps.last_mut() else { return };
        swap.steps += 1;
        swap.differences += new as u64;
        if swap.failures.len() < run.failures.len() {
            swap.failures.clone_from(&run.failures);
        }
        swap.failed_steps = swap.failed_steps.max(run.failed_steps);
    }

    fn tell(&mut self, plan: &Plan, engine: Option<&Engine>) {
        let name = |id: crate::engine::TargetId| {
            engine?.specs().nth(id.index()).map(|spec| spec.name.to_string())
        };
        for change in &plan.changes {
            let reason = reason_of(change).to_owned();
            let story = Story::Change { from: change.from, to: change.to, reason };
            self.push(plan.at, name(change.target), story);
        }
        for failure in &plan.failures {
            let text = format!("{}: {} ({})", failure.stage, failure.message, failure.instead);
            let first = failure.targets.first().and_then(|&target| name(target));
            self.push(plan.at, first, Story::Failure { text });
        }
    }

    fn misses(&mut self, segment: &str, from_ms: Time, why: String) {
        self.push(from_ms, None, Story::Gap { why: why.clone() });
        self.gaps.push(Hole { segment: segment.to_owned(), from_ms, to_ms: None, why });
    }

    fn passes(&mut self, at: Time) {
        self.start_ms = self.start_ms.min(at);
        self.end_ms = self.end_ms.max(at);
    }

    fn push(&mut self, at_ms: Time, target: Option<String>, story: Story) {
        if self.timeline.len() < LINES_AT_MOST {
            self.timeline.push(Line { at_ms, target, story });
        } else {
            self.left_out += 1;
        }
    }
}
