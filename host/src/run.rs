//! The loop: the backend lets the world run until something matters, the engine turns what was seen into a plan, the journal writes
//! both down, the backend sets the world on its way to the plan.

use crate::backend::Backend;
use crate::engine::{Engine, Observation, Plan};
use crate::journal::Journal;
use crate::time::Time;

/// Runs `engine` over `backend` until there is nothing more to come. `watch` sees every step once it is planned.
///
/// # Errors
///
/// When the backend cannot go on.
pub async fn run<B: Backend>(
    engine: &mut Engine,
    backend: &mut B,
    journal: &mut Journal<'_>,
    watch: &mut impl FnMut(&mut Engine, &Observation, &Plan, &mut B),
) -> Result<(), B::Error> {
    let mut wake_at = Time::ZERO;
    while let Some(seen) = backend.advance(wake_at).await? {
        let plan = engine.step(&seen); // `seen.at` is the only clock that the engine knows
        journal.record(&seen, &plan); // a journal that cannot write says so in the end and carries on
        backend.apply(&plan);
        watch(engine, &seen, &plan, backend);
        wake_at = engine.wakes_at(); // the plan's, unless another engine has taken over
    }
    Ok(())
}
