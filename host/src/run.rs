//! The loop: the backend lets the world run until something matters, the engine turns what was seen into a plan, the journal writes
//! both down, the backend sets the world on its way to the plan.

use crate::backend::Backend;
use crate::engine::{Engine, Observation, Plan};
use crate::journal::Journal;
use crate::time::Time;

/// Who watches a run, and may let another engine take over between two steps.
pub trait Watch<B> {
    /// The engine is about to be shown that.
    fn before(&mut self, _engine: &Engine, _seen: &Observation) {}

    /// It was planned, and the backend has begun to carry it out.
    fn after(
        &mut self,
        engine: &mut Engine,
        seen: &Observation,
        plan: &Plan,
        backend: &mut B,
        journal: &mut Journal<'_>,
    );
}

impl<B, F: FnMut(&mut Engine, &Observation, &Plan, &mut B)> Watch<B> for F {
    fn after(
        &mut self,
        engine: &mut Engine,
        seen: &Observation,
        plan: &Plan,
        backend: &mut B,
        _: &mut Journal<'_>,
    ) {
        self(engine, seen, plan, backend);
    }
}

/// Runs `engine` over `backend` until there is nothing more to come.
///
/// # Errors
///
/// When the backend cannot go on.
pub async fn run<B: Backend>(
    engine: &mut Engine,
    backend: &mut B,
    journal: &mut Journal<'_>,
    watch: &mut impl Watch<B>,
) -> Result<(), B::Error> {
    let mut wake_at = Time::ZERO;
    while let Some(seen) = backend.advance(wake_at).await? {
        watch.before(engine, &seen);
        let plan = engine.step(&seen); // `seen.at` is the only clock that the engine knows
        journal.record(&seen, &plan); // a journal that cannot write says so in the end and carries on
        backend.apply(&plan);
        watch.after(engine, &seen, &plan, backend, journal);
        wake_at = engine.wakes_at(); // the plan's, unless another engine has taken over
    }
    Ok(())
}
