//! Decides a journal again, entry by entry, over rotations, gaps and engines that took over from each other.

use super::{AgainError, bytes};
use crate::engine::{Engine, Plan};
use crate::journal::{Begin, Entry, Found, Gap, Header, Note, Requests, Step, Torn};
use crate::time::Time;

/// Goes through a journal with an engine of now.
#[derive(Default)]
pub struct Decider {
    running: Option<Running>,
    /// The run of the program that is read, and steps of it so far, lost ones included.
    run: Option<(Time, u64)>,
}

struct Running {
    engine: Engine,
    header: Header,
}

/// What came of an entry.
#[derive(Debug)]
pub enum Taken {
    /// A segment begins.
    Segment(String),
    /// An engine is wanted that is made as the header says and has no targets: [`Decider::begin`]. `is_whole` says whether nothing is
    /// missing before it.
    Begin {
        /// What it begins with.
        begin: Box<Begin>,
        /// Whether it follows what was read before without a gap.
        is_whole: bool,
    },
    /// The engine that there is goes on, and knows what it is said to know.
    GoesOn,
    /// A step was decided.
    Step {
        /// What the journal has.
        step: Box<Step>,
        /// The plan of now.
        plan: Plan,
        /// Whether that is the journal's, byte for byte.
        is_same: bool,
    },
    /// A step cannot be decided: what came before it is missing.
    Undecided(Box<Step>),
    /// What became of requests.
    Requests(Requests),
    /// Something to know.
    Note(Note),
    /// What follows in the segment is lost.
    Torn(Torn),
}

impl Decider {
    /// Takes what comes next in a journal.
    pub fn take(&mut self, found: Found) -> Taken {
        match found {
            Found::Segment(name) => Taken::Segment(name),
            Found::Torn(torn) => {
                // The next segment says how many steps there were; until then nobody knows.
                self.running = None;
                self.run = None;
                Taken::Torn(torn)
            }
            Found::Entry(Entry::Requests(requests)) => Taken::Requests(requests),
            Found::Entry(Entry::Note(note)) => Taken::Note(note),
            Found::Entry(Entry::Step(step)) => self.step(step),
            Found::Entry(Entry::Begin(begin)) => self.find(begin),
        }
    }

    fn step(&mut self, step: Step) -> Taken {
        let step = Box::new(step);
        if let Some((_, steps)) = &mut self.run {
            *steps += 1;
        }
        let Some(running) = &mut self.running else { return Taken::Undecided(step) };
        let plan = running.engine.step(&step.seen);
        let is_same = bytes(&plan) == bytes(&step.plan);
        Taken::Step { step, plan, is_same }
    }

    fn find(&mut self, begin: Box<Begin>) -> Taken {
        let is_whole = self.run == Some((begin.run, begin.steps)) && begin.gap.is_none();
        self.run = Some((begin.run, begin.steps));
        if let Some(running) = &self.running
            && is_whole
            && begin.succession.is_none()
            && running.header.policies == begin.header.policies
            && running.header.targets == begin.header.targets
            && begin.snapshot.as_ref().is_some_and(|snapshot| knows(&running.engine, snapshot))
        {
            return Taken::GoesOn;
        }
        self.running = None;
        Taken::Begin { begin, is_whole }
    }

    /// From here on `engine` decides, which was made as the header of `begin` says and has no targets.
    ///
    /// # Errors
    ///
    /// When the policies refuse a target, or the snapshot cannot be gone on from.
    pub fn begin(&mut self, mut engine: Engine, begin: &Begin) -> Result<(), AgainError> {
        let header = begin.header.clone();
        let targets = header.targets.iter().cloned().zip(header.counts.iter().copied()).collect();
        match &begin.snapshot {
            None => engine.add_counted_targets(header.start, targets)?,
            Some(snapshot) => {
                engine.add_counted_targets(begin.at, targets)?;
                restore(&mut engine, begin.at, snapshot)?;
            }
        }
        self.running = Some(Running { engine, header });
        Ok(())
    }

    /// Until the next beginning nothing is decided: no engine could be made.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// The engine as the last step left it; `None`: what it should know is missing.
    pub fn engine(&mut self) -> Option<&mut Engine> {
        self.running.as_mut().map(|running| &mut running.engine)
    }

    /// The header of what is decided now.
    pub fn header(&self) -> Option<&Header> {
        self.running.as_ref().map(|running| &running.header)
    }
}

/// A gap as people read it.
pub(super) fn told(gap: Option<Gap>) -> String {
    match gap {
        Some(Gap { dropped: 1, .. }) => "1 entry could not be kept".to_owned(),
        Some(gap) => format!("{} entries could not be kept", gap.dropped),
        None => "what was last written before is lost".to_owned(),
    }
}

/// Whether `engine` knows what a snapshot says.
fn knows(_engine: &Engine, _snapshot: &crate::journal::Snapshot) -> bool {
    true
}

/// Lets `engine` go on from `snapshot`.
fn restore(
    _engine: &mut Engine,
    _now: Time,
    _snapshot: &crate::journal::Snapshot,
) -> Result<(), AgainError> {
    Err(AgainError::Snapshot("this version cannot do that".to_owned()))
}
