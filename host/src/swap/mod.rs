//! Changes what decides while it decides: policies and profiles that change on disk are loaded, checked, tried on recent inputs and
//! take over between two ticks. What is bad is refused and says why; what turns out bad is taken back. `docs/swap.md` tells it step by
//! step. It has never heard of sockets, processes or the journal.
//!
//! The control loop calls it in few places: [`Recent::note`] before each step, [`Swapper::see`] after it, [`Swapper::poll`] once a
//! second; what that gives is prepared on a thread of its own ([`Candidate::prepare`]), and what comes of it is handed to
//! [`Swapper::switch`] between two steps.

mod candidate;
mod history;
mod recent;
mod refused;
mod shadow;
mod stamps;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use candidate::{Candidate, Loaded, Making, Ready, Sandboxes, Sources, Targets, targets_of};
pub use history::{Entry, History, What, lines};
pub use recent::{Moment, Recent, STEPS};
pub use refused::{Refused, RefusedKind};
pub use shadow::{Difference, Shadow, ShadowRun};

use crate::engine::{Engine, Plan, Restored, Snapshot};
use crate::time::Time;

use candidate::Prepared;
use stamps::Stamps;

/// Earlier chains that are kept loaded, to go back to.
pub const KEPT: usize = 3;
/// A chain that fails in so many steps …
const FAILURES: u32 = 3;
/// … within this time after it took over is taken back. Milliseconds.
const PROBATION_MS: u64 = 60_000;

/// Who wanted a swap that nobody asked for.
const BY_FILE: &str = "a changed file";
const BY_FAILURES: &str = "failures";

/// Knows what decides, what decided before, and what is about to.
pub struct Swapper {
    sources: Sources,
    making: Making,
    live: Arc<Loaded>,
    /// The latest in front.
    kept: VecDeque<Kept>,
    history: History,
    stamps: Stamps,
    probation: Option<Probation>,
    /// Counts what took over: a candidate that was prepared for an earlier one is out of date.
    number: u64,
    /// A candidate is being prepared.
    is_busy: bool,
    /// The files are to be read again, whatever they look like.
    is_wanted: Option<String>,
    /// The policies file that was followed until another one was named, of which it is not known yet whether it is in order.
    followed: Option<Option<PathBuf>>,
}

/// A chain that decided before, with the engine that it did so in, if that has the targets of now.
struct Kept {
    loaded: Arc<Loaded>,
    engine: Option<Engine>,
}

/// The time after a swap in which failures take it back.
struct Probation {
    until: Time,
    failures: u32,
    stages: BTreeSet<String>,
}

/// What came of a candidate.
pub enum Switched {
    /// It is what decides already.
    Same,
    /// It does not take over.
    Refused(Refused),
    /// It decides from now on.
    Over(Box<Succession>),
}

/// One engine went on from another.
pub struct Succession {
    /// When.
    pub at: Time,
    /// What the earlier one knew. The new one was restored from it at `at`.
    pub snapshot: Snapshot,
    /// What of it was not taken over as it was.
    pub restored: Restored,
    /// What came of trying it before.
    pub shadow: ShadowRun,
}

impl Swapper {
    /// Loads what decides first, and makes an engine of it, whose targets begin at `now`.
    ///
    /// # Errors
    ///
    /// When anything is wrong with its files.
    pub fn start(
        sources: Sources,
        making: Making,
        now: Time,
    ) -> Result<(Swapper, Engine), Refused> {
        let mut stamps = Stamps::default();
        let live = Arc::new(Loaded::read(&sources, &making, &[], &mut stamps)?);
        let engine = live
            .engine(&making, now)
            .map_err(|refused| refused.about(sources.policies.as_deref()))?;
        let swapper = Swapper {
            sources,
            making,
            live,
            kept: VecDeque::new(),
            history: History::default(),
            stamps,
            probation: None,
            number: 0,
            is_busy: false,
            is_wanted: None,
            followed: None,
        };
        Ok((swapper, engine))
    }

    /// What decides now.
    pub fn live(&self) -> &Arc<Loaded> {
        &self.live
    }

    /// What decided before and can decide again, the latest first.
    pub fn kept(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.kept.iter().map(|kept| &kept.loaded)
    }

    /// What was swapped.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Whether a candidate is being prepared.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Wants the files read again at the next [`Swapper::poll`], although they look as they did; `by` says who that is.
    pub fn want(&mut self, by: &str) {
        self.is_wanted = Some(by.to_owned());
    }

    /// From now on policies come from another file, unless it is refused: then the one before is followed on. It is read at the next [`Swapper::poll`].
    pub fn read_from(&mut self, policies: PathBuf, by: &str) {
        let before = self.sources.policies.replace(policies);
        self.followed.get_or_insert(before);
        self.want(by);
    }

    /// A candidate, if files have changed or somebody wants one. It only looks at them from outside, so that it may be called every
    /// second; one candidate is prepared at a time.
    pub fn poll(&mut self) -> Option<Candidate> {
        if self.is_busy {
            return None;
        }
        let wanted = self.is_wanted.take();
        let changed = || self.stamps.have_changed().then(|| BY_FILE.to_owned());
        let by = wanted.or_else(changed)?;
        Some(self.candidate(by, candidate::What::Files(self.sources.clone()), self.making.clone()))
    }

    /// A candidate with the chain that decides now and other targets: services have changed. One that is being prepared then will be
    /// out of date, and its files are read again.
    pub fn with_targets(&mut self, by: &str, targets: Targets) -> Candidate {
        let making = Making { targets, ..self.making.clone() };
        if self.is_busy {
            self.number += 1;
            self.is_wanted.get_or_insert_with(|| BY_FILE.to_owned());
        }
        self.candidate(by.to_owned(), candidate::What::Live, making)
    }

    fn candidate(&mut self, by: String, what: candidate::What, making: Making) -> Candidate {
        self.is_busy = true;
        Candidate {
            number: self.number,
            by,
            what,
            making,
            live: self.live.clone(),
            kept: self.kept().cloned().collect(),
        }
    }

    /// Lets a candidate take over from `engine`, unless something speaks against it. The next step is to be made at once, or when
    /// [`Engine::wakes_at`] says.
    pub fn switch(&mut self, engine: &mut Engine, now: Time, ready: Ready) -> Switched {
        if ready.number != self.number {
            // Whatever has taken over in between may have read these files before they changed.
            if ready.stamps.is_some() {
                self.is_wanted.get_or_insert(ready.by);
            }
            return Switched::Refused(Refused::outdated());
        }
        self.is_busy = false;
        if let Some(stamps) = ready.stamps {
            self.stamps = stamps;
        }
        let entry = Entry {
            at: now,
            what: What::Refused,
            by: ready.by,
            from: self.live.digest().to_owned(),
            to: ready.digest,
            steps: 0,
            differences: 0,
            refused: None,
            told: Vec::new(),
        };
        let prepared = match ready.outcome {
            Ok(None) => {
                self.history.add(Entry { what: What::Unchanged, ..entry });
                return Switched::Same;
            }
            Ok(Some(prepared)) => prepared,
            Err(refused) => {
                self.history.add(Entry { refused: Some(refused.clone()), ..entry });
                if let Some(before) = self.followed.take() {
                    self.sources.policies = before;
                    self.want(BY_FILE);
                }
                return Switched::Refused(refused);
            }
        };
        self.followed = None;
        let Prepared { loaded, engine: mut next, shadow } = prepared;
        let snapshot = engine.snapshot();
        let restored = match next.restore(now, &snapshot) {
            Ok(restored) => restored,
            Err(error) => {
                let refused = Refused::restore(&error);
                self.history.add(Entry { refused: Some(refused.clone()), ..entry });
                return Switched::Refused(refused);
            }
        };
        let before = std::mem::replace(engine, next);
        let (steps, differences) = (shadow.steps, shadow.differences);
        let told = lines(&restored);
        self.history.add(Entry { what: What::Swapped, steps, differences, told, ..entry });
        self.number += 1;
        if Arc::ptr_eq(&loaded, &self.live) {
            // The same chain about other targets: earlier engines are of no use.
            self.making = ready.making;
            self.kept.iter_mut().for_each(|kept| kept.engine = None);
        } else {
            let stages = loaded.changed_stages(&self.live);
            self.probation = Some(Probation { until: now + PROBATION_MS, failures: 0, stages });
            let earlier = std::mem::replace(&mut self.live, loaded);
            self.kept.push_front(Kept { loaded: earlier, engine: Some(before) });
            self.kept.truncate(KEPT);
        }
        Switched::Over(Box::new(Succession { at: now, snapshot, restored, shadow }))
    }

    /// Counts the failures of a new chain in what was just planned. Whether it is to be taken back at once: [`Swapper::go_back`].
    pub fn see(&mut self, plan: &Plan) -> bool {
        let Some(probation) = &mut self.probation else { return false };
        if plan.at > probation.until {
            self.probation = None;
            return false;
        }
        let is_its = |stage: &String| probation.stages.contains(stage);
        let fails = plan.failures.iter().any(|failure| is_its(&failure.stage));
        probation.failures += u32::from(fails);
        probation.failures >= FAILURES
    }

    /// Lets the chain that decided before decide again: for a person who wants that, or, where [`Swapper::see`] says so, with nobody
    /// in `by`.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot go on; what decides decides on.
    pub fn go_back(
        &mut self,
        engine: &mut Engine,
        now: Time,
        by: Option<&str>,
    ) -> Result<Succession, Refused> {
        self.probation = None;
        let Some(kept) = self.kept.pop_front() else { return Err(Refused::no_earlier()) };
        let what = if by.is_some() { What::WentBack } else { What::RolledBack };
        let mut entry = Entry {
            at: now,
            what,
            by: by.unwrap_or(BY_FAILURES).to_owned(),
            from: self.live.digest().to_owned(),
            to: Some(kept.loaded.digest().to_owned()),
            steps: 0,
            differences: 0,
            refused: None,
            told: Vec::new(),
        };
        let snapshot = engine.snapshot();
        let made = match kept.engine {
            Some(engine) => Ok(engine),
            None => kept.loaded.engine(&self.making, now),
        };
        let gone_on = made.and_then(|mut next| {
            let restored = next.restore(now, &snapshot);
            restored.map(|restored| (next, restored)).map_err(|error| Refused::restore(&error))
        });
        let (next, restored) = match gone_on {
            Ok(gone_on) => gone_on,
            Err(refused) => {
                entry.what = What::Refused;
                self.history.add(Entry { refused: Some(refused.clone()), ..entry });
                return Err(refused);
            }
        };
        *engine = next;
        self.live = kept.loaded;
        self.number += 1;
        // What is being prepared was compared with what has just gone.
        if std::mem::take(&mut self.is_busy) {
            self.is_wanted.get_or_insert_with(|| BY_FILE.to_owned());
        }
        self.history.add(Entry { told: lines(&restored), ..entry });
        Ok(Succession { at: now, snapshot, restored, shadow: ShadowRun::default() })
    }

    /// Loads another policies file, with the profile of now, to decide in the shadow of `engine`. This takes its time.
    ///
    /// # Errors
    ///
    /// When anything is wrong with it.
    pub fn shadow(&self, policies: &Path, engine: &Engine, now: Time) -> Result<Shadow, Refused> {
        let sources = Sources { policies: Some(policies.to_owned()), ..self.sources.clone() };
        let known: Vec<_> = self.kept().chain([&self.live]).map(|one| one.chain()).collect();
        let loaded = Loaded::read(&sources, &self.making, &known, &mut Stamps::default())?;
        let made = loaded.engine(&self.making, now);
        let made = made.map_err(|refused| refused.about(Some(policies)))?;
        Shadow::new(made, now, &engine.snapshot())
    }
}
