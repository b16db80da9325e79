//! What the engine saw in the last steps, and what it knew before them: what a candidate is tried on.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::{Engine, Observation, Snapshot};

/// Steps that a candidate is tried on, at least, once there were so many.
pub const STEPS: usize = 120;

/// The observations of the last steps, with a snapshot from before the first of them. At most twice [`STEPS`] are kept: by then
/// there is a later snapshot to begin from.
#[derive(Default)]
pub struct Recent {
    /// What was known before the first of `seen`; `None`: nothing has happened yet.
    before: Option<Arc<Snapshot>>,
    seen: VecDeque<Arc<Observation>>,
    /// What was known before the last of them, by how many there are before it.
    middle: Option<(usize, Arc<Snapshot>)>,
}

/// A moment of a run: what an engine knows, and what it knew some steps ago with what it saw since.
#[derive(Clone)]
pub struct Moment {
    /// What it knows.
    pub now: Arc<Snapshot>,
    /// What it knew before all of `seen`.
    pub before: Arc<Snapshot>,
    /// What it saw since.
    pub seen: Vec<Arc<Observation>>,
}

impl Recent {
    /// Notes what `engine` is about to be shown. Call it before each step.
    pub fn note(&mut self, engine: &Engine, seen: &Observation) {
        if self.before.is_none() {
            self.before = Some(Arc::new(engine.snapshot()));
        }
        if self.seen.len() == STEPS && self.middle.is_none() {
            self.middle = Some((STEPS, Arc::new(engine.snapshot())));
        }
        self.seen.push_back(Arc::new(seen.clone()));
        if self.seen.len() == 2 * STEPS
            && let Some((steps, snapshot)) = self.middle.take()
        {
            self.seen.drain(..steps);
            self.before = Some(snapshot);
        }
    }

    /// Forgets everything: another engine takes over, and targets may have other handles.
    pub fn restart(&mut self) {
        *self = Recent::default();
    }

    /// What to try a candidate on, as of now.
    pub fn moment(&self, engine: &Engine) -> Moment {
        let now = Arc::new(engine.snapshot());
        let before = self.before.clone().unwrap_or_else(|| now.clone());
        Moment { now, before, seen: self.seen.iter().cloned().collect() }
    }
}
