//! Where replicas live. A backend also owns time: the engine only ever sees the times in observations.

pub mod local;
pub mod sim;

use crate::engine::{Observation, Plan};
use crate::time::Time;

/// Where replicas live: a simulator, this machine, or Kubernetes.
pub trait Backend {
    /// What can end a run against the plan.
    type Error;

    /// Lets the world run until `wake_at` or until something happens that the engine should see. `None` when there is nothing more
    /// to come.
    fn advance(
        &mut self,
        wake_at: Time,
    ) -> impl Future<Output = Result<Option<Observation>, Self::Error>>;

    /// Sets the world on its way to `plan` and returns at once; what came of it is seen later. Applying a plan twice is the same as
    /// applying it once, and one that is older than the last is refused.
    fn apply(&mut self, plan: &Plan);
}

/// What only a backend knows of a run, now: for those who watch it.
pub trait Books {
    /// What the service at that position has cost so far. US dollars.
    fn cost(&self, service: usize) -> f64;
    /// The longest wait of a request that was dispatched since this was last asked; 0 if there was none. Microseconds.
    fn take_longest_wait_us(&self, service: usize) -> u64;
    /// GPUs of each class, sorted by class.
    fn classes(&self) -> &[ClassUse];
}

/// GPUs of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassUse {
    /// The class, as `A40`.
    pub class: String,
    /// GPUs that there are, on nodes that are lost too.
    pub gpus: u32,
    /// GPUs that replicas have now, from their start to their end.
    pub used: u32,
}
