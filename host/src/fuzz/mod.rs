//! Looks for load and faults under which policies break a promise, and makes what it finds as small as it can. It knows how tries are
//! made and made smaller; whoever calls it runs them and says what a promise is.
//!
//! Everything is drawn from a seed word, a generator for each try: the same hunt finds the same try.

mod draw;
mod shrink;

use crate::backend::sim::Faults;
use crate::seed::Seed;
use crate::trace::synth::{Span, Synth};

/// What a hunt moves within.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The services that load may be for, sorted. At least one.
    pub services: Vec<String>,
    /// The nodes that may be lost, sorted.
    pub nodes: Vec<String>,
    /// How long the load of a try may be.
    pub longest: Span,
    /// The most requests a second that a part of a shape may have.
    pub highest_rate: f64,
}

/// One load, and what goes wrong in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Try {
    /// What arrives.
    pub load: Synth,
    /// What goes wrong.
    pub faults: Faults,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which: a smaller try must break the same.
    pub promise: String,
    /// What was seen of it, with numbers.
    pub seen: String,
}

/// What every policy promises, whatever its author expects beside that, as conditions on a replay: no policy fails, whoever waits at
/// zero is seen to, and without load everything comes to rest.
pub const PROMISES: [&str; 3] = ["failures == 0", "asleep_s <= 10", "late_changes <= 20"];

/// What a hunt came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The smallest try that breaks the promise.
    pub smallest: Try,
    /// What it breaks.
    pub breach: Breach,
    /// Which of the tries it was found in, counted from 1.
    pub round: u32,
    /// How often smaller ones were tried, and how often one still broke the promise.
    pub shrinks: (u32, u32),
}

/// How far a hunt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many tries were made.
    Tried(u32),
    /// Something was found, and so many smaller tries were made.
    Shrinking(u32),
}

/// Tries that are made to find a smaller one, at most.
const SHRINKS_AT_MOST: u32 = 400;

/// Makes up to `rounds` tries from `seed`; the first that breaks a promise is made smaller. `run` plays a try and says what it breaks.
///
/// # Errors
///
/// When a try cannot be played.
pub fn hunt<E>(
    ground: &Ground,
    seed: &Seed,
    rounds: u32,
    run: &mut impl FnMut(&Try) -> Result<Option<Breach>, E>,
    progress: &mut impl FnMut(Progress),
) -> Result<Option<Found>, E> {
    for round in 1..=rounds {
        progress(Progress::Tried(round - 1));
        let tried = draw::draw(ground, &mut seed.draws("fuzz", "", u64::from(round)));
        if let Some(breach) = run(&tried)? {
            let (smallest, breach, shrinks) = make_smaller(tried, breach, run, progress)?;
            return Ok(Some(Found { smallest, breach, round, shrinks }));
        }
    }
    progress(Progress::Tried(rounds));
    Ok(None)
}

/// Takes the first smaller try that still breaks the promise, again and again, until none does.
fn make_smaller<E>(
    mut smallest: Try,
    mut breach: Breach,
    run: &mut impl FnMut(&Try) -> Result<Option<Breach>, E>,
    progress: &mut impl FnMut(Progress),
) -> Result<(Try, Breach, (u32, u32)), E> {
    let (mut tries, mut shrinks) = (0, 0);
    'smaller: loop {
        for smaller in shrink::smaller(&smallest) {
            if tries == SHRINKS_AT_MOST {
                break 'smaller;
            }
            progress(Progress::Shrinking(tries));
            tries += 1;
            if let Some(same) = run(&smaller)?.filter(|other| other.promise == breach.promise) {
                (smallest, breach) = (smaller, same);
                shrinks += 1;
                continue 'smaller;
            }
        }
        break;
    }
    Ok((smallest, breach, (tries, shrinks)))
}

#[cfg(test)]
mod tests;
