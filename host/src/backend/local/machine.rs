//! This machine as a backend: plans are carried out with child processes, and the engine sees what becomes of them and what the doors
//! of the services counted. It decides nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::allotment::{Allotment, Ask};
use super::gpus::{self, Gpu};
use super::process::{Child, Event as Told, Start, Supervisor, Told as Tale};
use crate::backend::Backend;
use crate::clock::Clock;
use crate::definitions::launch::Launch;
use crate::engine::{
    Action, Event, Node, NodeId, Observation, Phase, Plan, ReplicaId, TargetId, TargetName,
};
use crate::gateway::ReplicaHandle;
use crate::proxy::{Door, Upstream};
use crate::time::Time;

const SECOND_US: u64 = 1_000_000;
/// How often it is looked whether a draining replica has ended what it has.
const DRAIN_LOOK_US: u64 = 10_000;

/// A revision of a service on this machine.
#[derive(Clone)]
pub struct Revision {
    /// Where its requests come in.
    pub door: Arc<Door>,
    /// What a replica runs.
    pub launch: Launch,
    /// How long a replica may take until it is ready. Milliseconds.
    pub deadline_ms: u64,
    /// How long a draining replica may take to end what it has. Milliseconds.
    pub drain_ms: u64,
    /// GPUs that a replica takes, in the units of the nodes' GPUs.
    pub gpus: u32,
}

/// A target of the engine on this machine.
#[derive(Clone)]
pub struct Target {
    /// Its name, by which it is known whatever its position.
    pub name: TargetName,
    /// Its revision, by position.
    pub revision: usize,
    /// Whether a request that waits at zero is told of it: it is the revision's only pool, or the first.
    pub is_woken: bool,
}

/// What the services come to on this machine, in the engine's order.
#[derive(Clone, Default)]
pub struct Setup {
    /// Revisions of services.
    pub revisions: Vec<Revision>,
    /// The engine's targets.
    pub targets: Vec<Target>,
}

/// A node of this machine, with its GPUs.
pub struct Place {
    /// As the engine sees it.
    pub node: Node,
    /// Its GPUs.
    pub gpus: Vec<Gpu>,
    /// Which of them are taken, by position.
    pub taken: Allotment,
    /// What a whole GPU counts as for the engine.
    pub parts_per_gpu: u32,
}

impl Place {
    /// A node of which nothing is taken.
    pub fn new(node: Node, gpus: Vec<Gpu>, parts_per_gpu: u32) -> Place {
        let taken = Allotment::new(gpus.len());
        Place { node, gpus, taken, parts_per_gpu }
    }

    /// What a replica asks for that takes so many parts.
    fn ask(&self, parts: u32) -> Ask {
        if parts.is_multiple_of(self.parts_per_gpu) {
            Ask::Whole(parts / self.parts_per_gpu)
        } else {
            Ask::Share(f64::from(parts) / f64::from(self.parts_per_gpu))
        }
    }
}

/// A replica of this machine, as a person may want to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaView {
    /// Which.
    pub id: ReplicaId,
    /// Its node.
    pub node: NodeId,
    /// GPUs of the node that it has.
    pub gpus: Vec<u32>,
    /// Its process, once it has one.
    pub pid: Option<u32>,
    /// Where it listens, once that is known.
    pub port: Option<u16>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Since when.
    pub since: Time,
    /// Requests that it holds.
    pub in_flight: u32,
}

/// Where a replica is in its life.
enum Stage {
    /// It comes up.
    Starting,
    /// It takes requests.
    Ready(ReplicaHandle),
    /// It ends what it has, until then at most.
    Draining(ReplicaHandle, u64),
    /// It was asked to end.
    Ending(Option<ReplicaHandle>),
}

struct Replica {
    /// Dropped, it ends; `None`: nothing is carried out.
    child: Option<Child>,
    node: NodeId,
    gpus: Vec<u32>,
    pid: Option<u32>,
    address: Option<SocketAddr>,
    port: Option<u16>,
    stage: Stage,
    since: Time,
    told_in_flight: u32,
}

/// Replicas as child processes.
pub struct Machine {
    clock: Arc<Clock>,
    supervisor: Supervisor,
    tales: mpsc::Receiver<Tale>,
    /// Doors tell it of requests that wait at zero.
    wake: Arc<Notify>,
    /// True once nothing more is to be done.
    over: watch::Receiver<bool>,
    setup: Setup,
    places: Vec<Place>,
    by_name: BTreeMap<String, TargetId>,
    replicas: BTreeMap<ReplicaId, Replica>,
    /// The last failure of targets of which no replica got ready since, by name: which, when and why.
    failed: BTreeMap<String, (u32, Time, String)>,
    /// Children of targets that are no more, until they have ended.
    orphans: BTreeMap<(String, u32), Child>,
    generation: u64,
    events: Vec<Event>,
    has_begun: bool,
    /// The second in which the engine last saw reports.
    seen_second: u64,
    /// When the last observation was handed over, and how long it took until its plan came. Microseconds.
    observed_us: u64,
    planned_in_us: u64,
    /// Somebody wants the engine to look although nothing happened.
    nudge: Arc<Notify>,
    is_nudged: bool,
    is_dry: bool,
}

impl Machine {
    /// A machine without replicas. With `is_dry` no plan is carried out.
    pub fn new(
        clock: Arc<Clock>,
        (supervisor, tales): (Supervisor, mpsc::Receiver<Tale>),
        places: Vec<Place>,
        wake: Arc<Notify>,
        over: watch::Receiver<bool>,
        is_dry: bool,
    ) -> Machine {
        Machine {
            clock,
            supervisor,
            tales,
            wake,
            over,
            setup: Setup::default(),
            places,
            by_name: BTreeMap::new(),
            replicas: BTreeMap::new(),
            failed: BTreeMap::new(),
            orphans: BTreeMap::new(),
            generation: 0,
            events: Vec::new(),
            has_begun: false,
            seen_second: 0,
            observed_us: 0,
            planned_in_us: 0,
            nudge: Arc::default(),
            is_nudged: false,
            is_dry,
        }
    }

    /// From now on these are the services. Replicas of targets that are there under the same name stay; the others end.
    pub fn follow(&mut self, setup: Setup) {
        let names: Vec<String> =
            self.setup.targets.iter().map(|target| target.name.to_string()).collect();
        self.by_name = (0..)
            .zip(&setup.targets)
            .map(|(at, target)| (target.name.to_string(), TargetId(at)))
            .collect();
        let before = std::mem::replace(&mut self.setup, setup);
        self.failed.retain(|name, _| self.by_name.contains_key(name));
        let now_at: Vec<Option<TargetId>> =
            names.iter().map(|name| self.by_name.get(name).copied()).collect();
        self.events = std::mem::take(&mut self.events)
            .into_iter()
            .filter_map(|event| event.of_targets(|id| now_at[id.index()]))
            .collect();
        for (id, replica) in std::mem::take(&mut self.replicas) {
            let name = &names[id.target.index()];
            match self.by_name.get(name) {
                Some(&target) => {
                    self.replicas.insert(ReplicaId { target, ..id }, replica);
                }
                None => {
                    let door = &before.revisions[before.targets[id.target.index()].revision].door;
                    if let Stage::Ready(handle) | Stage::Draining(handle, _) = replica.stage {
                        door.drain(handle);
                    }
                    self.places[replica.node.index()].taken.give_back(&(name.clone(), id.ordinal));
                    if let Some(child) = replica.child {
                        child.end();
                        self.orphans.insert((name.clone(), id.ordinal), child);
                    }
                }
            }
        }
    }

    /// Adds something for the engine to see at the next step.
    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Told, it lets the engine look although nothing happened.
    pub fn nudge(&self) -> Arc<Notify> {
        self.nudge.clone()
    }

    /// How long the last plan took. Microseconds.
    pub fn planned_in_us(&self) -> u64 {
        self.planned_in_us
    }

    /// The name of a target.
    pub fn name_of(&self, id: TargetId) -> &TargetName {
        &self.setup.targets[id.index()].name
    }

    /// The target of that name.
    pub fn target_of(&self, name: &str) -> Option<TargetId> {
        self.by_name.get(name).copied()
    }

    /// GPUs that a replica of a target takes, in the units of the nodes' GPUs.
    pub fn gpus_of(&self, id: TargetId) -> u32 {
        self.setup.revisions[self.setup.targets[id.index()].revision].gpus
    }

    /// The nodes, in the engine's order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// What there is, in order.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaView> {
        self.replicas.iter().map(|(&id, replica)| ReplicaView {
            id,
            node: replica.node,
            gpus: replica.gpus.clone(),
            pid: replica.pid,
            port: replica.port,
            phase: match replica.stage {
                Stage::Starting => Phase::Loading,
                Stage::Ready(_) => Phase::Ready,
                Stage::Draining(..) | Stage::Ending(_) => Phase::Draining,
            },
            since: replica.since,
            in_flight: replica.told_in_flight,
        })
    }

    /// The last failure of each target of which no replica got ready since: which replica, when and why.
    pub fn failed(&self) -> impl Iterator<Item = (&TargetName, u32, Time, &str)> {
        self.failed.iter().filter_map(|(name, (ordinal, at, reason))| {
            let name = self.name_of(self.target_of(name)?);
            Some((name, *ordinal, *at, reason.as_str()))
        })
    }

    /// The longest that a child may take to end after it was asked to.
    pub fn longest_grace(&self) -> Duration {
        let graces = self.setup.revisions.iter().map(|revision| revision.launch.grace_ms);
        Duration::from_millis(graces.max().unwrap_or(0))
    }

    /// Asks all children to end and waits until they have. Each is given its own grace by who supervises it.
    pub async fn end(mut self) {
        let started = self.replicas.values().filter_map(|replica| replica.child.as_ref());
        let mut left = started.map(Child::end).count() + self.orphans.len();
        while left > 0
            && let Some(tale) = self.tales.recv().await
        {
            if matches!(tale.event, Told::Ended { .. } | Told::Failed { .. }) {
                left -= 1;
            }
        }
    }

    fn door(&self, target: TargetId) -> &Arc<Door> {
        &self.setup.revisions[self.setup.targets[target.index()].revision].door
    }

    /// What became of a child.
    fn hear(&mut self, tale: Tale) {
        let is_over = matches!(tale.event, Told::Ended { .. } | Told::Failed { .. });
        if is_over && self.orphans.remove(&(tale.target.clone(), tale.replica)).is_some() {
            return;
        }
        let Some(&target) = self.by_name.get(&tale.target) else { return };
        let id = ReplicaId { target, ordinal: tale.replica };
        let door = self.door(target).clone();
        let now = self.clock.now();
        let Some(replica) = self.replicas.get_mut(&id) else { return };
        match tale.event {
            Told::Started { pid, port } => {
                (replica.pid, replica.port) = (Some(pid), Some(port));
                self.events.push(Event::Replica(id, Phase::Loading));
            }
            Told::Ready { address } => {
                if let Stage::Starting = replica.stage {
                    let handle = door.replica_ready(Upstream { address, ordinal: id.ordinal });
                    replica.stage = Stage::Ready(handle);
                    replica.address = Some(address);
                    replica.since = now;
                    self.failed.remove(&tale.target);
                    self.events.push(Event::Replica(id, Phase::Ready));
                }
            }
            Told::Failed { reason, .. } => {
                if matches!(replica.stage, Stage::Draining(..) | Stage::Ending(_)) {
                    return self.forget(id, Phase::Gone);
                }
                self.failed.insert(tale.target, (id.ordinal, now, reason.clone()));
                self.forget(id, Phase::Failed { reason });
            }
            Told::Ended { .. } => self.forget(id, Phase::Gone),
        }
    }

    /// A replica is no more.
    fn forget(&mut self, id: ReplicaId, phase: Phase) {
        let Some(replica) = self.replicas.remove(&id) else { return };
        if let Stage::Ready(handle) | Stage::Draining(handle, _) | Stage::Ending(Some(handle)) =
            replica.stage
        {
            self.door(id.target).remove(handle);
        }
        let name = self.setup.targets[id.target.index()].name.to_string();
        self.places[replica.node.index()].taken.give_back(&(name, id.ordinal));
        self.events.push(Event::Replica(id, phase));
    }

    /// Ends draining replicas that hold nothing more, or whose time is up.
    fn look_after_drains(&mut self) {
        let now_us = self.clock.now_us();
        let (targets, revisions) = (&self.setup.targets, &self.setup.revisions);
        for (id, replica) in &mut self.replicas {
            let Stage::Draining(handle, until_us) = replica.stage else { continue };
            let door = &revisions[targets[id.target.index()].revision].door;
            if now_us >= until_us || door.load_of(handle) == 0 {
                replica.stage = Stage::Ending(Some(handle));
                replica.child.iter().for_each(Child::end);
            }
        }
    }

    fn start(&mut self, id: ReplicaId, node: NodeId) {
        if self.replicas.contains_key(&id) {
            return;
        }
        let target = &self.setup.targets[id.target.index()];
        let revision = &self.setup.revisions[target.revision];
        let name = target.name.to_string();
        let Some(place) = self.places.get_mut(node.index()) else {
            let reason = "its node is gone".to_owned();
            self.events.push(Event::Replica(id, Phase::Failed { reason }));
            return;
        };
        let ask = place.ask(revision.gpus);
        let given = match place.taken.take(&(name.clone(), id.ordinal), ask) {
            Ok(given) => given,
            Err(error) => {
                let reason = format!("{}: {error}", place.node.name);
                self.events.push(Event::Replica(id, Phase::Failed { reason }));
                return;
            }
        };
        let given: Vec<Gpu> = given.into_iter().map(|at| place.gpus[at].clone()).collect();
        let start = Start {
            target: name,
            replica: id.ordinal,
            launch: revision.launch.clone(),
            env: gpus::variables(&given),
            deadline_ms: revision.deadline_ms,
        };
        let child = (!self.is_dry).then(|| self.supervisor.launch(start));
        let replica = Replica {
            child,
            node,
            gpus: given.iter().map(|gpu| gpu.index).collect(),
            pid: None,
            address: None,
            port: None,
            stage: Stage::Starting,
            since: self.clock.now(),
            told_in_flight: 0,
        };
        self.replicas.insert(id, replica);
    }

    fn drain(&mut self, id: ReplicaId) {
        let target = &self.setup.targets[id.target.index()];
        let revision = &self.setup.revisions[target.revision];
        let until_us = self.clock.now_us() + revision.drain_ms * 1_000;
        let Some(replica) = self.replicas.get_mut(&id) else { return };
        match replica.stage {
            Stage::Starting => {
                replica.stage = Stage::Ending(None);
                match &replica.child {
                    Some(child) => child.end(),
                    None => self.forget(id, Phase::Gone),
                }
            }
            Stage::Ready(handle) => {
                revision.door.drain(handle);
                replica.stage = Stage::Draining(handle, until_us);
                replica.since = self.clock.now();
                self.events.push(Event::Replica(id, Phase::Draining));
                self.look_after_drains();
            }
            Stage::Draining(..) | Stage::Ending(_) => {}
        }
    }

    /// Whether a second will have a report.
    fn is_reporting(&self) -> bool {
        self.setup.revisions.iter().any(|revision| revision.door.is_reporting())
    }

    /// When to look again although nobody said anything. Unix microseconds.
    fn next_look_us(&self, wake_at: Time) -> u64 {
        let now_us = self.clock.now_us();
        let mut at_us = wake_at.0.saturating_mul(1_000);
        if self.is_reporting() {
            at_us = at_us.min((now_us / SECOND_US + 1) * SECOND_US);
        }
        let drains = |replica: &Replica| matches!(replica.stage, Stage::Draining(..));
        if self.replicas.values().any(drains) {
            at_us = at_us.min(now_us + DRAIN_LOOK_US);
        }
        at_us
    }

    /// Whether the engine must see something at once.
    fn must_tell(&mut self) -> bool {
        for position in 0..self.setup.targets.len() {
            let target = &self.setup.targets[position];
            let door = &self.setup.revisions[target.revision].door;
            if target.is_woken && door.take_starved() {
                self.events.push(Event::Waiting(TargetId(position as u32)));
            }
        }
        !self.events.is_empty()
    }

    /// What has been seen since the last time.
    fn observe(&mut self) -> Observation {
        // A second may end while this is looked at. Its reports are then seen at once in another step, and none is of a time to come: what
        // was looked at counts from before, the moment from after.
        self.seen_second = self.clock.now().second();
        let mut events = Vec::new();
        for (position, revision) in self.setup.revisions.iter().enumerate() {
            let reports = revision.door.take_reports();
            let of_it = self.setup.targets.iter().zip(0..);
            for (_, id) in of_it.filter(|(target, _)| target.revision == position) {
                events.extend(reports.iter().map(|report| Event::Report(TargetId(id), *report)));
            }
        }
        // A report of what came first is seen before that it waits.
        events.append(&mut self.events);
        let mut in_flight = Vec::new();
        let (targets, revisions) = (&self.setup.targets, &self.setup.revisions);
        for (&id, replica) in &mut self.replicas {
            if let Stage::Ready(handle) = replica.stage {
                let holds = revisions[targets[id.target.index()].revision].door.load_of(handle);
                if holds != replica.told_in_flight {
                    replica.told_in_flight = holds;
                    in_flight.push((id, holds));
                }
            }
        }
        self.observed_us = self.clock.now_us();
        Observation { at: Time(self.observed_us / 1_000), events, in_flight }
    }
}

impl Backend for Machine {
    type Error = Infallible;

    async fn advance(&mut self, wake_at: Time) -> Result<Option<Observation>, Infallible> {
        if !self.has_begun {
            self.has_begun = true;
            let nodes = self.places.iter().map(|place| place.node.clone()).collect();
            self.events.insert(0, Event::Nodes(nodes));
        }
        loop {
            self.look_after_drains();
            let look_us = self.next_look_us(wake_at);
            let now_us = self.clock.now_us();
            let has_ended = now_us / SECOND_US > self.seen_second && self.is_reporting();
            let is_due = has_ended || now_us >= wake_at.0.saturating_mul(1_000);
            if self.must_tell() || is_due || std::mem::take(&mut self.is_nudged) {
                return Ok(Some(self.observe()));
            }
            let Machine { over, tales, wake, nudge, clock, is_nudged, .. } = &mut *self;
            let tale = tokio::select! {
                biased;
                ended = over.wait_for(|over| *over) => {
                    // A sender that is gone wants nothing more either.
                    drop(ended);
                    return Ok(None);
                }
                Some(tale) = tales.recv() => Some(tale),
                () = wake.notified() => None,
                () = nudge.notified() => {
                    *is_nudged = true;
                    None
                }
                () = tokio::time::sleep(clock.until_us(look_us)) => None,
            };
            if let Some(tale) = tale {
                self.hear(tale);
            }
        }
    }

    fn apply(&mut self, plan: &Plan) {
        if plan.generation <= self.generation && self.generation > 0 {
            return;
        }
        self.generation = plan.generation;
        self.planned_in_us = self.clock.now_us().saturating_sub(self.observed_us);
        for action in &plan.actions {
            match action {
                Action::Start { replica, node } => self.start(*replica, *node),
                Action::Drain { replica } => self.drain(*replica),
                // Replicas here are nobody else's: no target is given to another owner.
                Action::Scale { .. } => {}
            }
        }
    }
}
