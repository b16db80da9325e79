//! The simulator: nodes, replicas and requests as events in virtual time. `docs/simulator.md` has the model, its sources, its
//! measured errors and what it leaves out. It knows nothing of policies, and reads no clock and no file.
//!
//! Inside, times are Unix microseconds; what the engine sees are milliseconds, rounded up: at a moment that the engine sees,
//! everything up to it has happened. Among things that happen at the same microsecond, nodes come first, then replicas and
//! deadlines by service and ordinal, then arrivals. A second that ends at that moment is closed before its arrivals and ends
//! count, so the next second has them, and its report is part of what the engine sees then.

mod account;
mod cold_start;
mod input;
mod lives;
mod outcome;
mod replica;
pub(crate) mod server;
mod speed;

pub use input::{Fault, Faults, SimInput, SimInputError, SimService};
pub use speed::{Speed, TooLarge};

use self::account::Account;
use self::cold_start::{Images, Transfers};
use self::input::FaultPlan;
use self::lives::tie;
use self::replica::{Replica, Stage};
use super::{Backend, ClassUse};
use crate::definitions::node::Fleet;
use crate::engine::{Action, Event, Observation, Plan, ReplicaId, TargetId};
use crate::gateway::{Ask, Dispatch, Gate, Left, RequestHandle};
use crate::heap::IndexedHeap;
use crate::seed::Seed;
use crate::time::Time;
use crate::trace::{Item, Work};

/// The version of the simulator's model: results of different ones are not to be compared.
pub const MODEL_VERSION: u32 = 1;

const SECOND_US: u64 = 1_000_000;
/// A run ends when nothing has changed for so long after the load: a policy keeps its replicas for good.
const QUIET_US: u64 = 2 * 3_600 * SECOND_US;
/// A run ends so long after the load, whatever a policy does then.
const AFTERMATH_US: u64 = 24 * 3_600 * SECOND_US;

/// A simulation that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SimError<E> {
    /// The load could not be read.
    #[error(transparent)]
    Load(E),
    /// The load names a service that is not there.
    #[error("the load is for service {service}, and there are {services}, counted from 0")]
    UnknownService {
        /// Its position.
        service: u32,
        /// Services that there are.
        services: usize,
    },
    /// The plan asks somebody else for replicas. Here there is nobody else.
    #[error("the plan scales target {}, whose replicas are the simulator's to start one by one", target.0)]
    ScaledWhole {
        /// The target.
        target: TargetId,
    },
}

/// A service with everything that happens to it.
struct Service {
    input: SimService,
    start_fails: f64,
    grace_us: u64,
    gate: Gate,
    account: Account,
    /// The engine's target that is its first pool; the others follow.
    first: TargetId,
    /// Its replicas and the slot of each, in order.
    replicas: Vec<(ReplicaId, u32)>,
    /// The slot of each replica at the gate, by handle.
    slots: Vec<u32>,
    /// What each request at the gate asks for, by handle.
    work: Vec<Work>,
    starting: u32,
    draining: u32,
    has_deadline: bool,
}

/// A simulated fleet under the load of `items`.
pub struct Sim<I> {
    start_us: u64,
    now_us: u64,
    until_us: u64,
    tick_us: u64,
    seed: Seed,
    fleet: Fleet,
    /// GPUs by class, and the class of each machine.
    classes: Vec<ClassUse>,
    class_of: Vec<Option<usize>>,
    services: Vec<Service>,
    /// The service of each of the engine's targets.
    service_of: Vec<u32>,
    replicas: Vec<Option<Replica>>,
    free_slots: Vec<u32>,
    /// What is due when: deadlines by service, then replicas by slot. Ties go by service and ordinal.
    due: IndexedHeap<(u64, u64)>,
    transfers: Transfers,
    images: Images,
    node_faults: std::iter::Peekable<std::vec::IntoIter<(u64, u32, bool)>>,
    is_lost: Vec<bool>,
    /// The machines that the engine knows, by [`NodeId`].
    observed: Vec<u32>,
    items: I,
    next_item: Option<Item>,
    is_load_over: bool,
    generation: u64,
    /// What the engine is still to be told.
    events: Vec<Event>,
    must_tell: bool,
    to_be_told: Vec<u32>,
    has_begun: bool,
    /// Requests at replicas.
    running: u64,
    /// Replicas that start or are ready, now and at most.
    alive: u32,
    max_alive: u32,
    /// When a request or a replica last got further, and the same for requests alone.
    changed_us: u64,
    requested_us: u64,
    trouble: Option<TargetId>,
    ended: Vec<RequestHandle>,
}

impl<I, E> Sim<I>
where
    I: Iterator<Item = Result<Item, E>>,
{
    /// A simulation that has not begun.
    ///
    /// # Errors
    ///
    /// When a fault names what is not there or has a number out of range.
    pub fn new(input: SimInput, items: I) -> Result<Sim<I>, SimInputError> {
        let faults = FaultPlan::new(&input)?;
        let start_us = input.start.0 * 1_000;
        let (classes, class_of) = outcome::classes(&input.fleet);
        let pools_of = |(position, service): (u32, &SimService)| {
            std::iter::repeat_n(position, service.pools.len())
        };
        let service_of: Vec<u32> = (0..).zip(&input.services).flat_map(pools_of).collect();
        let mut targets = 0;
        let service = |(input, start_fails): (SimService, f64)| Service {
            grace_us: input.grace_us.or(input.limits.timeout_us).unwrap_or(u64::MAX),
            gate: Gate::new(input.limits, start_us),
            first: {
                targets += input.pools.len() as u32;
                TargetId(targets - input.pools.len() as u32)
            },
            input,
            start_fails,
            account: Account::new(),
            replicas: Vec::new(),
            slots: Vec::new(),
            work: Vec::new(),
            starting: 0,
            draining: 0,
            has_deadline: false,
        };
        let mut nodes = faults.nodes;
        nodes.iter_mut().for_each(|(at_us, ..)| *at_us += start_us);
        Ok(Sim {
            start_us,
            now_us: start_us,
            until_us: input.until.map_or(u64::MAX, |until| until.0.saturating_mul(1_000)),
            tick_us: input.tick_ms.max(1) * 1_000,
            seed: input.seed,
            classes,
            class_of,
            services: input.services.into_iter().zip(faults.start_fails).map(service).collect(),
            service_of,
            replicas: Vec::new(),
            free_slots: Vec::new(),
            due: IndexedHeap::new(),
            transfers: Transfers::new(&input.fleet),
            images: Images::default(),
            node_faults: nodes.into_iter().peekable(),
            is_lost: vec![false; input.fleet.machines.len()],
            observed: Vec::new(),
            fleet: input.fleet,
            items,
            next_item: None,
            is_load_over: false,
            generation: 0,
            events: Vec::new(),
            must_tell: false,
            to_be_told: Vec::new(),
            has_begun: false,
            running: 0,
            alive: 0,
            max_alive: 0,
            changed_us: start_us,
            requested_us: start_us,
            trouble: None,
            ended: Vec::new(),
        })
    }

    /// What [`Backend::advance`] does, without the ceremony of being awaited.
    ///
    /// # Errors
    ///
    /// When the load cannot be read, or it or the plan asks for what is not there.
    pub fn run_until(&mut self, wake_at: Time) -> Result<Option<Observation>, SimError<E>> {
        if let Some(target) = self.trouble {
            return Err(SimError::ScaledWhole { target });
        }
        if !self.has_begun {
            self.has_begun = true;
            self.tell_nodes();
            self.read_item()?;
            return Ok(Some(self.observe()));
        }
        if self.now_us >= self.until_us.min(self.end_us()) {
            return Ok(None);
        }
        let wake_us = wake_at.0.saturating_mul(1_000);
        let mut limit_us =
            wake_us.min(self.next_report_us(wake_us)).min(self.until_us).max(self.now_us);
        loop {
            if self.must_tell {
                limit_us = limit_us.min(self.now_us);
            }
            limit_us = whole_ms(limit_us.min(self.end_us()));
            if !self.happen(limit_us)? {
                break;
            }
        }
        self.now_us = limit_us;
        Ok(Some(self.observe()))
    }

    /// Lets the next thing happen, if it does so by `limit_us`.
    fn happen(&mut self, limit_us: u64) -> Result<bool, SimError<E>> {
        let due = self.due.least();
        let due_us = due.map_or(u64::MAX, |((at_us, _), _)| at_us);
        let fault_us = self.node_faults.peek().map_or(u64::MAX, |(at_us, ..)| *at_us);
        let item_us = match &self.next_item {
            Some(Item::Arrival { at_us, .. } | Item::Offered { at_us, .. }) => {
                self.start_us.saturating_add(*at_us).max(self.now_us)
            }
            None => u64::MAX,
        };
        if due_us.min(fault_us).min(item_us) > limit_us {
            return Ok(false);
        }
        if fault_us <= due_us && fault_us <= item_us {
            let Some((at_us, node, is_back)) = self.node_faults.next() else { return Ok(false) };
            self.now_us = self.now_us.max(at_us);
            self.move_node(node, is_back);
        } else if due_us <= item_us {
            let Some((_, index)) = due else { return Ok(false) };
            self.now_us = due_us;
            match index.checked_sub(self.services.len() as u32) {
                None => self.expire(index as usize),
                Some(slot) => self.advance_replica(slot),
            }
        } else {
            self.now_us = item_us;
            self.take_item()?;
        }
        Ok(true)
    }

    fn read_item(&mut self) -> Result<(), SimError<E>> {
        self.next_item = self.items.next().transpose().map_err(SimError::Load)?;
        self.is_load_over = self.next_item.is_none();
        Ok(())
    }

    fn take_item(&mut self) -> Result<(), SimError<E>> {
        let Some(item) = self.next_item.take() else { return Ok(()) };
        let (Item::Arrival { service, .. } | Item::Offered { service, .. }) = item;
        if service as usize >= self.services.len() {
            return Err(SimError::UnknownService { service, services: self.services.len() });
        }
        match item {
            Item::Arrival { work, .. } => self.arrive(service as usize, work),
            Item::Offered { concurrency, .. } => {
                self.services[service as usize].gate.offer(self.now_us, concurrency);
                self.poke(service as usize);
            }
        }
        self.requested_us = self.now_us;
        self.changed_us = self.now_us;
        self.read_item()
    }
}

impl<I> Sim<I> {
    fn arrive(&mut self, index: usize, work: Work) {
        let now_us = self.now_us;
        let service = &mut self.services[index];
        service.account.requests.arrived += 1;
        let prompt_tokens = match work {
            Work::Tokens { prompt, .. } => prompt,
            Work::Duration(_) => 0,
        };
        let Ok(request) = service.gate.arrive(now_us, Ask { prompt_tokens, bytes: 0 }) else {
            service.account.requests.failed += 1;
            return;
        };
        if service.work.len() <= request.index() {
            service.work.resize(request.index() + 1, work);
        }
        service.work[request.index()] = work;
        if !service.has_deadline
            && let Some(deadline_us) = service.gate.next_deadline_us()
        {
            service.has_deadline = true;
            self.due.set(index as u32, (deadline_us, deadline_tie(service)));
        }
        self.dispatch(index);
        self.poke(index);
    }

    /// Requests go to replicas as far as there is room.
    fn dispatch(&mut self, index: usize) {
        let (now_us, behind_services) = (self.now_us, self.services.len() as u32);
        let service = &mut self.services[index];
        while let Some(Dispatch { request, replica, waited_us }) = service.gate.dispatch(now_us) {
            service.account.dispatched(waited_us);
            let slot = service.slots[replica.index()];
            let work = service.work[request.index()];
            let one = self.replicas[slot as usize].as_mut().expect("the gate knows it");
            let Stage::Ready(running) = &mut one.stage else { continue };
            if running.accept(now_us, request, work) {
                self.running += 1;
                if let Some(next_us) = running.next_us() {
                    self.due.set(behind_services + slot, (next_us, tie(one.id)));
                }
                if !one.is_to_be_told {
                    one.is_to_be_told = true;
                    self.to_be_told.push(slot);
                }
            } else {
                service.gate.give_up(now_us, request);
                service.account.requests.failed += 1;
            }
        }
    }

    /// Requests that a replica ended give up their places, and others take them.
    fn end(&mut self, index: usize, slot: u32, ended: &[RequestHandle]) {
        let service = &mut self.services[index];
        for &request in ended {
            let output = match service.work[request.index()] {
                Work::Tokens { output, .. } => output,
                Work::Duration(_) => 0,
            };
            if let Some(Left { arrived_us, at: Some((_, dispatched_us)), .. }) =
                service.gate.end(self.now_us, request, output)
            {
                service.account.served(dispatched_us - arrived_us);
                self.running -= 1;
            }
        }
        self.changed_us = self.now_us;
        self.requested_us = self.now_us;
        self.told_soon(slot);
        if self.services[index].gate.waiting() > 0 {
            self.dispatch(index);
        }
    }

    /// Requests whose time is up leave, wherever they are.
    fn expire(&mut self, index: usize) {
        while let Some(left) = self.services[index].gate.expire(self.now_us) {
            let service = &mut self.services[index];
            service.account.requests.expired += 1;
            self.changed_us = self.now_us;
            self.requested_us = self.now_us;
            if let Some((handle, _)) = left.at {
                let (slot, work) =
                    (service.slots[handle.index()], service.work[left.request.index()]);
                self.running -= 1;
                self.interrupt(slot, left.request, work);
            }
        }
        self.dispatch(index);
        self.poke(index);
        let service = &mut self.services[index];
        match service.gate.next_deadline_us() {
            Some(deadline_us) => self.due.set(index as u32, (deadline_us, deadline_tie(service))),
            None => {
                service.has_deadline = false;
                self.due.remove(index as u32);
            }
        }
    }

    /// The engine is told at once when somebody begins to wait for a service without a ready replica.
    fn poke(&mut self, index: usize) {
        let service = &mut self.services[index];
        if service.gate.begins_to_starve() {
            let pool = service.first.0 + service.input.wakes as u32;
            self.events.push(Event::Waiting(TargetId(pool)));
            self.must_tell = true;
        }
    }

    /// The engine is told how many requests a replica holds, when it next sees anything.
    fn told_soon(&mut self, slot: u32) {
        if let Some(replica) = &mut self.replicas[slot as usize]
            && !replica.is_to_be_told
        {
            replica.is_to_be_told = true;
            self.to_be_told.push(slot);
        }
    }

    fn tell_nodes(&mut self) {
        self.observed = (0..self.fleet.machines.len() as u32)
            .filter(|at| !self.is_lost[*at as usize])
            .collect();
        let node = |&at: &u32| self.fleet.machines[at as usize].node.clone();
        self.events.push(Event::Nodes(self.observed.iter().map(node).collect()));
        self.must_tell = true;
    }

    /// What the engine is told now: what moved in order of time, reports by service and second, requests by replica.
    fn observe(&mut self) -> Observation {
        let at = Time(self.now_us / 1_000);
        let mut seen =
            Observation { at, events: std::mem::take(&mut self.events), in_flight: Vec::new() };
        for service in &mut self.services {
            let pools = service.first.0..service.first.0 + service.input.pools.len() as u32;
            for report in service.gate.take_reports(self.now_us) {
                // Every pool sees the load of the whole service: how to share it is a policy's to say.
                let told = |pool| Event::Report(TargetId(pool), report);
                seen.events.extend(pools.clone().map(told));
            }
        }
        for slot in self.to_be_told.drain(..) {
            let Some(replica) = &mut self.replicas[slot as usize] else { continue };
            let Stage::Ready(running) = &replica.stage else { continue };
            let service = &self.services[self.service_of[replica.id.target.index()] as usize];
            let holds = service.gate.load_of(running.handle);
            if std::mem::take(&mut replica.is_to_be_told) && replica.told_in_flight != holds {
                replica.told_in_flight = holds;
                seen.in_flight.push((replica.id, holds));
            }
        }
        seen.in_flight.sort_unstable_by_key(|(id, _)| *id);
        self.must_tell = false;
        seen
    }

    /// When a report is due that the engine must see at once, because it would not look before its next tick otherwise.
    fn next_report_us(&self, wake_us: u64) -> u64 {
        let second_us = (self.now_us / SECOND_US + 1) * SECOND_US;
        let tick_us = self.start_us + (second_us - self.start_us).next_multiple_of(self.tick_us);
        let is_late = wake_us > tick_us;
        if is_late && self.services.iter().any(|service| service.gate.is_reporting()) {
            second_us
        } else {
            u64::MAX
        }
    }

    /// When it ends as things are: with the second in which the last thing happened, so that its report is told too; or once
    /// nothing has come of the policies' doings for long enough.
    fn end_us(&self) -> u64 {
        if !self.is_load_over || self.running > 0 {
            return u64::MAX;
        }
        if self.is_done() {
            return self.now_us.next_multiple_of(SECOND_US);
        }
        let quiet_us = self.changed_us + QUIET_US;
        quiet_us.min(self.requested_us + AFTERMATH_US).max(self.now_us)
    }

    /// Whether nothing is left to come: no load, no request, and every service's replicas are gone or settled.
    fn is_done(&self) -> bool {
        self.is_load_over
            && self.running == 0
            && !self.must_tell
            && self.services.iter().all(|service| {
                let alive = service.account.alive();
                service.starting == 0
                    && service.draining == 0
                    && service.gate.waiting() == 0
                    && service.gate.offered() == 0.0
                    && (alive == 0 || alive == service.input.settled_at)
            })
    }
}

/// The order of a service's deadline among what is due at the same time.
fn deadline_tie(service: &Service) -> u64 {
    u64::from(service.first.0) << 32
}

/// Rounded up to a whole millisecond.
fn whole_ms(at_us: u64) -> u64 {
    at_us.div_ceil(1_000).saturating_mul(1_000)
}

impl<I, E> Backend for Sim<I>
where
    I: Iterator<Item = Result<Item, E>>,
{
    type Error = SimError<E>;

    async fn advance(&mut self, wake_at: Time) -> Result<Option<Observation>, SimError<E>> {
        self.run_until(wake_at)
    }

    fn apply(&mut self, plan: &Plan) {
        if plan.generation <= self.generation {
            return;
        }
        self.generation = plan.generation;
        for action in &plan.actions {
            match *action {
                Action::Start { replica, node } => self.start(replica, node),
                Action::Drain { replica } => self.drain(replica),
                Action::Scale { target, .. } => self.trouble = Some(target),
            }
        }
    }
}
