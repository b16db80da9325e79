//! Decides a journal again, entry by entry, over rotations, gaps and engines that took over from each other.

use serde::Serialize;
use serde_json::Value;

use super::{AgainError, bytes};
use crate::engine::{Engine, Plan, Snapshot};
use crate::journal::{Begin, Entry, Found, Gap, Header, Note, Requests, Step, Torn};
use crate::time::Time;

/// Goes through a journal with an engine of now.
#[derive(Default)]
pub struct Decider {
    running: Option<Running>,
    /// The run of the program that is read, and steps of it so far, lost ones included; `None`: not known.
    run: Option<(Time, u64)>,
    /// Something was read.
    has_begun: bool,
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
    /// An engine is wanted that is made as the header says and has no targets: [`Decider::begin`].
    Begin {
        /// What it begins with.
        begin: Box<Begin>,
        /// What was before it.
        before: Before,
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

/// What was before a beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: the journal begins with it.
    Nothing,
    /// All of it is there, and the engine that decided it knew what the snapshot says.
    Whole,
    /// All of it is there, but the engine of now knows something else.
    Unlike(Box<Unlike>),
    /// An earlier run of the program.
    OtherRun,
    /// Something is missing.
    Missing,
}

/// The first thing that an engine of now knows otherwise than the one of then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlike {
    /// Where it stands in the snapshot, as a JSON pointer.
    pub path: String,
    /// What the snapshot has there.
    pub recorded: Value,
    /// What the engine of now has there.
    pub decided: Value,
}

impl Decider {
    /// Takes what comes next in a journal.
    pub fn take(&mut self, found: Found) -> Taken {
        let is_first = matches!(found, Found::Segment(_));
        let taken = self.sort(found);
        self.has_begun |= !is_first;
        taken
    }

    fn sort(&mut self, found: Found) -> Taken {
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
        let before = self.before(&begin);
        self.run = Some((begin.run, begin.steps));
        let goes_on = |running: &Running| {
            running.header.policies == begin.header.policies
                && running.header.targets == begin.header.targets
        };
        if before == Before::Whole
            && begin.succession.is_none()
            && self.running.as_ref().is_some_and(goes_on)
        {
            return Taken::GoesOn;
        }
        self.running = None;
        Taken::Begin { begin, before }
    }

    fn before(&self, begin: &Begin) -> Before {
        if !self.has_begun {
            return Before::Nothing;
        }
        if begin.snapshot.is_none() {
            return Before::OtherRun;
        }
        if self.run != Some((begin.run, begin.steps)) || begin.gap.is_some() {
            return Before::Missing;
        }
        match (&self.running, &begin.snapshot) {
            (Some(running), Some(snapshot)) => unlike(&running.engine, snapshot)
                .map_or(Before::Whole, |unlike| Before::Unlike(Box::new(unlike))),
            // No engine could be made for what is before it.
            (None, _) | (_, None) => Before::Missing,
        }
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
                engine.restore(begin.at, snapshot)?;
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

/// What `engine` knows otherwise than `snapshot` says; `None`: they are the same, byte for byte.
fn unlike(engine: &Engine, snapshot: &Snapshot) -> Option<Unlike> {
    let own = engine.snapshot();
    let text = |snapshot: &Snapshot| {
        serde_json::to_vec(snapshot).expect("a snapshot has text for keys and is written to memory")
    };
    let (then, now) = (text(snapshot), text(&own));
    if then == now {
        return None;
    }
    let value =
        |text: &[u8]| -> Value { serde_json::from_slice(text).expect("it was just written") };
    Some(parting(String::new(), value(&then), value(&now)))
}

/// The first place at which two documents that differ do.
fn parting(path: String, recorded: Value, decided: Value) -> Unlike {
    match (recorded, decided) {
        (Value::Object(mut recorded), Value::Object(decided))
            if recorded.keys().eq(decided.keys()) =>
        {
            for (key, now) in decided {
                let then = recorded.remove(&key).expect("they have the same keys");
                if then != now {
                    return parting(format!("{path}/{key}"), then, now);
                }
            }
            Unlike { path, recorded: Value::Null, decided: Value::Null }
        }
        (Value::Array(recorded), Value::Array(decided)) if recorded.len() == decided.len() => {
            for (at, (then, now)) in recorded.into_iter().zip(decided).enumerate() {
                if then != now {
                    return parting(format!("{path}/{at}"), then, now);
                }
            }
            Unlike { path, recorded: Value::Null, decided: Value::Null }
        }
        (recorded, decided) => Unlike { path, recorded, decided },
    }
}
