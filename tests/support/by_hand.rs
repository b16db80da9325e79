//! A simulation without an engine: a test says which replicas start and leave, and looks at what comes of it.

use tidegate::backend::Backend as _;
use tidegate::backend::sim::{Sim, SimInput};
use tidegate::engine::{
    Action, Event, NodeId, Observation, Phase, Plan, ReplicaId, Report, TargetId,
};
use tidegate::time::Time;
use tidegate::trace::Item;

use super::{Load, START};

pub const TARGET: TargetId = TargetId(0);

pub struct ByHand {
    pub sim: Sim<Load>,
    generation: u64,
    /// Everything that was seen, with seconds since the start.
    pub seen: Vec<(f64, Event)>,
}

pub fn replica(ordinal: u32) -> ReplicaId {
    ReplicaId { target: TARGET, ordinal }
}

pub fn start(ordinal: u32, node: u32) -> Action {
    Action::Start { replica: replica(ordinal), node: NodeId(node) }
}

pub fn drain(ordinal: u32) -> Action {
    Action::Drain { replica: replica(ordinal) }
}

impl ByHand {
    pub fn new(input: SimInput, load: Vec<Item>) -> ByHand {
        let load: Vec<_> = load.into_iter().map(Ok).collect();
        let sim = Sim::new(input, load.into_iter()).expect("a simulation");
        let mut hand = ByHand { sim, generation: 0, seen: Vec::new() };
        hand.look(Time::ZERO);
        hand
    }

    pub fn look(&mut self, wake_at: Time) -> Option<Observation> {
        let seen = self.sim.run_until(wake_at).expect("it goes on")?;
        let at_s = seen.at.since(START) as f64 / 1e3;
        self.seen.extend(seen.events.iter().map(|event| (at_s, event.clone())));
        Some(seen)
    }

    pub fn apply(&mut self, actions: Vec<Action>) {
        self.generation += 1;
        let generation = self.generation;
        self.sim.apply(&Plan { at: self.sim.at(), generation, actions, ..Plan::default() });
    }

    /// Lets time pass until so many seconds after the start, or the end.
    pub fn until(&mut self, at_s: f64) {
        let at = START + (at_s * 1e3) as u64;
        while self.sim.at() < at && self.look(at).is_some() {}
    }

    /// Lets time pass until a replica reaches a phase. Seconds since the start.
    pub fn reaches(&mut self, ordinal: u32, phase: &Phase) -> f64 {
        for _ in 0..100_000 {
            let is_it = |(_, event): &&(f64, Event)| matches!(event, Event::Replica(id, it) if *id == replica(ordinal) && it == phase);
            if let Some((at_s, _)) = self.seen.iter().find(is_it) {
                return *at_s;
            }
            self.look(Time::NEVER).expect("it does not end before");
        }
        panic!("replica {ordinal} never is {phase:?}: {:?}", self.seen);
    }

    /// The phases of replicas that were seen, as text.
    pub fn phases(&self) -> String {
        let line = |(at_s, event): &(f64, Event)| match event {
            Event::Replica(id, phase) => Some(format!("{at_s:>8.3}  {} {phase:?}\n", id.ordinal)),
            Event::Nodes(nodes) => Some(format!("{at_s:>8.3}  {} nodes\n", nodes.len())),
            Event::Waiting(_) => Some(format!("{at_s:>8.3}  waiting\n")),
            Event::Report(..)
            | Event::Scraped(..)
            | Event::Counted(..)
            | Event::GatewayAnswers(..)
            | Event::Pin { .. }
            | Event::Unpin(_) => None,
        };
        self.seen.iter().filter_map(line).collect()
    }

    pub fn reports(&self) -> Vec<Report> {
        let report = |(_, event): &(f64, Event)| match event {
            Event::Report(_, report) => Some(*report),
            Event::Replica(..)
            | Event::Nodes(_)
            | Event::Scraped(..)
            | Event::Waiting(_)
            | Event::Counted(..)
            | Event::GatewayAnswers(..)
            | Event::Pin { .. }
            | Event::Unpin(_) => None,
        };
        self.seen.iter().filter_map(report).collect()
    }
}
