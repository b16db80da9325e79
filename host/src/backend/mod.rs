//! Where replicas live. A backend also owns time: the engine only ever sees the times in observations.

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
