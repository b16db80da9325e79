//! What is done beside the loop after each of its steps: orders of people, files that changed, rollouts, the journal's further entries,
//! and the status that others see. It runs on the loop's thread, so nothing in it waits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, watch};

use super::book::{Book, Kept, OwnSettings, Routing, first_target};
use super::rollout::{Do, Rollouts, Seen};
use super::shares::Cut;
use super::told::{Listener, Told, Weight};
use super::view;
use crate::admin::order::{Done, Order, Ordered, Refusal};
use crate::backend::local::machine::Machine;
use crate::clock::Clock;
use crate::definitions::profile::Profile;
use crate::definitions::service::Service;
use crate::engine::{
    Engine, Event, Observation, Options, Phase, Plan, TargetId, TargetSpec,
};
use crate::journal::{About, Begin, Header, Journal, Note, Request, Requests, Sources, Succession};
use crate::proxy::{Fate, Gateway, Outcome};
use crate::recorder::reason_of;
use crate::replay::Policies;
use crate::status::{Pin, PolicyStatus, RunPhase, Status, StatusBuilder};
use crate::time::Time;

/// Fates that are fetched after one step; the rest is fetched after the next.
const FATES_AT_ONCE: usize = 10_000;

/// Loads the chain of policies anew. What is wrong comes back as text for people.
pub type LoadPolicies = Arc<dyn Fn() -> Result<Policies, String> + Send + Sync>;

/// Something that the watchers of files have to offer.
pub(super) enum Offer {
    /// The files of services, read anew.
    Services(Vec<Service>),
    /// They cannot be read: what is wrong, for people.
    BadServices(String),
}

/// All that is beside the loop.
pub(super) struct Control {
    pub(super) clock: Arc<Clock>,
    pub(super) book: Book,
    pub(super) rollouts: Rollouts,
    pub(super) cut: Cut,
    pub(super) profile: Profile,
    pub(super) routing: Routing,
    pub(super) gateway: Arc<Gateway>,
    pub(super) load_policies: LoadPolicies,
    pub(super) options: Options,
    pub(super) sources: Sources,
    pub(super) policies: Vec<PolicyStatus>,
    pub(super) journal_folder: PathBuf,
    pub(super) orders: mpsc::Receiver<Ordered>,
    pub(super) offers: mpsc::Receiver<Offer>,
    pub(super) fates: mpsc::Receiver<Fate>,
    /// Whose each fate is, by the number that the routes gave: names are only added.
    pub(super) registry: Vec<String>,
    pub(super) status: StatusBuilder,
    pub(super) publish: watch::Sender<Arc<Status>>,
    pub(super) phase: watch::Receiver<RunPhase>,
    pub(super) tell: Listener,
    pub(super) pins: BTreeMap<String, Pin>,
    /// Revisions whose replicas were told to end.
    pub(super) ended: BTreeSet<(String, u32)>,
    pub(super) gpu_seconds: BTreeMap<String, f64>,
    pub(super) cost_usd: f64,
    pub(super) looked_at: Time,
    pub(super) published: u64,
    pub(super) missed_ticks: u64,
    pub(super) wakes_at: Time,
}

/// A first engine, or one that takes over.
pub(super) struct Made {
    pub(super) engine: Engine,
    pub(super) setup: crate::backend::local::machine::Setup,
    pub(super) header: Header,
}

impl Control {
    /// An engine for the services and policies as they are now.
    pub(super) fn make(&mut self, now: Time) -> Result<Made, String> {
        let Policies { stages, placement, fallback, limits } = (self.load_policies)()?;
        let (stages, own): (Vec<_>, Vec<_>) = stages.into_iter().unzip();
        let (placement, placement_settings) = placement;
        let own = OwnSettings { stages: own, placement: placement_settings };
        let (mut specs, setup) =
            self.book.setup(&self.cut, &own, &self.profile).map_err(|error| error.to_string())?;
        self.raise_floors(&mut specs);
        let mut engine = Engine::new(self.options.clone(), stages, placement, fallback)
            .map_err(|error| error.to_string())?;
        engine.add_targets(now, specs).map_err(|error| shown(&error))?;
        let header =
            Header { sources: Some(self.sources.clone()), ..Header::of(&engine, now, limits) };
        Ok(Made { engine, setup, header })
    }

    /// A new revision has at least as many replicas as the old one until it takes over.
    fn raise_floors(&self, specs: &mut [TargetSpec]) {
        let mut raised: BTreeSet<(String, String)> = BTreeSet::new();
        for spec in specs {
            let number = spec.name.revision.parse().unwrap_or(0);
            let floor = self.rollouts.floor(&spec.name.service, number);
            let key = (spec.name.service.clone(), spec.name.revision.clone());
            if floor > spec.bounds.min && raised.insert(key) {
                spec.bounds.min = floor;
                spec.bounds.initial = floor.max(spec.bounds.initial);
            }
        }
    }

    /// Another engine takes over, for the services as they are now. What could not be is told; the one that there was goes on then.
    fn succeed(
        &mut self,
        engine: &mut Engine,
        machine: &mut Machine,
        journal: &mut Journal<'_>,
        (who, why): (&str, String),
    ) -> Result<(), String> {
        let now = self.clock.now();
        let mut made = self.make(now)?;
        let snapshot = engine.snapshot();
        made.engine.restore(now, &snapshot).map_err(|error| shown(&error))?;
        *engine = made.engine;
        machine.follow(made.setup);
        let begin = Begin {
            succession: Some(Succession { who: who.to_owned(), why }),
            ..Begin::from_snapshot(now, made.header, document(engine))
        };
        journal.begin(begin);
        self.set_routes();
        Ok(())
    }

    /// Requests find the services as they are now.
    pub(super) fn set_routes(&mut self) {
        for name in self.book.names() {
            if !self.registry.contains(&name) {
                self.registry.push(name);
            }
        }
        let at = |service: &str| self.registry.iter().position(|name| name == service);
        let routes = self.book.routes(self.routing, |name| at(&name.service).map(|at| at as u32));
        self.gateway.set_routes(routes);
    }

    /// After a step of the loop.
    pub(super) fn after(
        &mut self,
        engine: &mut Engine,
        seen: &Observation,
        plan: &Plan,
        machine: &mut Machine,
        journal: &mut Journal<'_>,
    ) {
        if seen.at.since(self.wakes_at) > self.options.tick_ms && self.wakes_at > Time::ZERO {
            self.missed_ticks += 1;
        }
        self.wakes_at = plan.wake_at;
        self.status.see(engine, seen, plan, machine.planned_in_us());
        self.tell_step(engine, seen, plan);
        self.keep_fates(seen.at, journal);
        if journal.wants_snapshot() {
            let limits = None;
            let header =
                Header { sources: Some(self.sources.clone()), ..Header::of(engine, seen.at, limits) };
            journal.begin(Begin::from_snapshot(seen.at, header, document(engine)));
        }
        while let Ok(ordered) = self.orders.try_recv() {
            let done = self.carry_out(ordered.order, machine, journal);
            // Who gave the order may have gone away.
            let _ = ordered.answer.send(done);
        }
        while let Ok(offer) = self.offers.try_recv() {
            self.take_offer(offer, engine, machine, journal);
        }
        self.roll_on(engine, machine, journal);
        self.account(seen.at, machine);
        self.publish(engine, machine, journal);
    }

    fn say(&mut self, weight: Weight, service: &str, text: String) {
        let at = self.clock.now();
        (self.tell)(Told { at, weight, service: service.to_owned(), text });
    }

    fn note(&mut self, journal: &mut Journal<'_>, about: About, service: &str, text: String) {
        let weight = match about {
            About::RefusedSwap | About::Rollback => Weight::Warning,
            About::Swap | About::Pin | About::Shadow | About::Backend => Weight::Info,
        };
        self.say(weight, service, text.clone());
        let service = Some(service.to_owned()).filter(|name| !name.is_empty());
        journal.note(Note { at: self.clock.now(), about, service, text });
    }

    /// Decisions, failures and what became of replicas.
    fn tell_step(&mut self, engine: &Engine, seen: &Observation, plan: &Plan) {
        let names: Vec<String> = engine.specs().map(|spec| spec.name.to_string()).collect();
        for event in &seen.events {
            let Event::Replica(id, phase) = event else { continue };
            let name = &names[id.target.index()];
            let (weight, text) = match phase {
                Phase::Ready => (Weight::Info, "is ready".to_owned()),
                Phase::Gone => (Weight::Info, "has ended".to_owned()),
                Phase::Failed { reason } => (Weight::Warning, format!("failed: {reason}")),
                Phase::Pulling | Phase::Loading | Phase::Draining => continue,
            };
            self.say(weight, name, format!("replica {} {text}", id.ordinal));
        }
        for change in &plan.changes {
            let from = change.from.map_or(String::new(), |from| format!("{from} → "));
            let reason = match reason_of(change) {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            self.say(Weight::Info, &names[change.target.index()], format!("{from}{}{reason}", change.to));
        }
        for yielded in &plan.yielded {
            let text = format!(
                "replica {} makes room for {}, which waits",
                yielded.replica.ordinal,
                names[yielded.to.index()]
            );
            self.say(Weight::Info, &names[yielded.replica.target.index()], text);
        }
        for unplaced in &plan.unplaced {
            let text = match unplaced.reason.as_str() {
                "" => format!("{} replicas find no place", unplaced.replicas),
                reason => format!("{} replicas find no place: {reason}", unplaced.replicas),
            };
            self.say(Weight::Warning, &names[unplaced.target.index()], text);
        }
        for failure in &plan.failures {
            let text =
                format!("stage {} failed ({}): {}", failure.stage, failure.instead, failure.message);
            self.say(Weight::Error, "", text);
        }
    }

    /// What became of requests goes to the journal.
    fn keep_fates(&mut self, at: Time, journal: &mut Journal<'_>) {
        let mut ended: Vec<(String, Request)> = Vec::new();
        while ended.len() < FATES_AT_ONCE
            && let Ok(fate) = self.fates.try_recv()
        {
            let Some(name) = self.registry.get(fate.target as usize) else { continue };
            ended.push((name.clone(), request(&fate)));
        }
        if !ended.is_empty() {
            journal.requests(Requests::of(at.second(), &ended, 0));
        }
    }

    fn carry_out(
        &mut self,
        order: Order,
        machine: &mut Machine,
        journal: &mut Journal<'_>,
    ) -> Result<Done, Refusal> {
        match order {
            Order::Pin { service, replicas, holds } => {
                let targets = self.targets_of(&service, machine)?;
                let until = self.clock.now() + holds.as_millis() as u64;
                for (nth, target) in targets.into_iter().enumerate() {
                    let replicas = if nth == 0 { replicas } else { 0 };
                    machine.tell(Event::Pin { target, replicas, until });
                }
                self.pins.insert(service.clone(), Pin { replicas, until });
                let message =
                    format!("{service} has {replicas} replicas by hand until {}", clock_time(until));
                self.note(journal, About::Pin, &service, message.clone());
                Ok(Done { message })
            }
            Order::Unpin { service } => {
                for target in self.targets_of(&service, machine)? {
                    machine.tell(Event::Unpin(target));
                }
                self.pins.remove(&service);
                let message = format!("policies decide about {service} again");
                self.note(journal, About::Pin, &service, message.clone());
                Ok(Done { message })
            }
            Order::Swap { .. } | Order::Rollback { .. } => {
                Err(Refusal::Refused("policies are swapped by changing the policies file".to_owned()))
            }
        }
    }

    /// The targets of the revision of a service that takes its requests, the one that is woken first.
    fn targets_of(&mut self, service: &str, machine: &Machine) -> Result<Vec<TargetId>, Refusal> {
        let known = self.book.names();
        let unknown = || {
            let near = tidegate_settings::nearest(service, known.iter().map(String::as_str));
            let near = near.map_or(String::new(), |name| format!("; did you mean {name}?"));
            Refusal::Unknown(format!("there is no service {service}{near}"))
        };
        let kept = self.book.revisions_of(service).ok_or_else(unknown)?;
        let last = kept.iter().rev().find(|kept| !kept.is_leaving).ok_or_else(unknown)?;
        let mut targets = targets_of(service, last, machine);
        let first = machine.target_of(&first_target(service, last).to_string());
        targets.sort_by_key(|id| (Some(*id) != first, *id));
        Ok(targets)
    }

    fn take_offer(
        &mut self,
        offer: Offer,
        engine: &mut Engine,
        machine: &mut Machine,
        journal: &mut Journal<'_>,
    ) {
        let services = match offer {
            Offer::Services(services) => services,
            Offer::BadServices(why) => {
                let text = format!("the services stay as they are: {why}");
                return self.note(journal, About::RefusedSwap, "", text);
            }
        };
        match Cut::new(&self.cut.fleet, &services) {
            Ok(cut) if cut.parts_per_gpu == self.cut.parts_per_gpu => {}
            Ok(_) => {
                let text = "the services stay as they are: that GPUs are shared, or no longer, needs another start";
                return self.note(journal, About::RefusedSwap, "", text.to_owned());
            }
            Err(error) => {
                let text = format!("the services stay as they are: {error}");
                return self.note(journal, About::RefusedSwap, "", text);
            }
        }
        let changed = self.book.follow(services);
        if changed.is_nothing() {
            return;
        }
        for (service, number) in &changed.revised {
            let ready = engine
                .specs()
                .zip(0..)
                .filter(|(spec, _)| spec.name.service == *service)
                .map(|(_, at)| engine.view(TargetId(at)).ready)
                .sum();
            self.rollouts.begin(service, *number, ready);
            let text = format!("revision {number} starts");
            self.note(journal, About::Swap, service, text);
        }
        for service in &changed.removed {
            self.rollouts.forget(service);
        }
        let told = view::changed(&changed);
        match self.succeed(engine, machine, journal, ("the services' files", told.clone())) {
            Ok(()) => self.note(journal, About::Swap, "", told),
            Err(error) => {
                let text = format!("the services cannot be followed: {error}");
                self.note(journal, About::RefusedSwap, "", text);
            }
        }
    }

    /// Rollouts go on, and revisions that have left are forgotten.
    fn roll_on(&mut self, engine: &mut Engine, machine: &mut Machine, journal: &mut Journal<'_>) {
        let is_settled =
            |kept: &Kept| !kept.is_leaving && kept.weight == 100;
        let names: Vec<String> = self
            .book
            .names()
            .into_iter()
            .filter(|name| {
                let kept = self.book.revisions_of(name);
                kept.is_some_and(|kept| kept.len() > 1 || !kept.iter().all(is_settled))
            })
            .collect();
        let mut has_shifted = false;
        for name in names {
            let Some(kept) = self.book.revisions_of(&name) else { continue };
            let share = kept.last().and_then(|kept| kept.service.canary_percent).unwrap_or(100);
            let revisions: Vec<(u32, bool, Seen)> = kept
                .iter()
                .map(|kept| (kept.number, kept.is_leaving, seen_of(&name, kept, engine, machine)))
                .collect();
            for todo in self.rollouts.next(self.clock.now(), &name, &revisions, share) {
                match todo {
                    Do::Shift { share, told } => {
                        self.shift(&name, share);
                        self.note(journal, About::Swap, &name, told);
                        has_shifted = true;
                    }
                    Do::End(number) => self.end(&name, number, machine),
                }
            }
        }
        let ended = &self.ended;
        let is_gone = |service: &str, number: u32| {
            let of_it = |name: &crate::engine::TargetName| {
                name.service == service && name.revision == number.to_string()
            };
            ended.contains(&(service.to_owned(), number))
                && engine.specs().zip(0..).filter(|(spec, _)| of_it(&spec.name)).all(|(_, at)| {
                    engine.replicas(TargetId(at)).iter().next().is_none()
                })
        };
        let has_left = self.book.forget(is_gone);
        if has_left {
            let book = &mut self.book;
            self.ended.retain(|(service, number)| {
                book.revisions_of(service)
                    .is_some_and(|kept| kept.iter().any(|kept| kept.number == *number))
            });
        }
        if has_shifted || has_left {
            let why = if has_shifted { "requests shift to a revision" } else { "a revision has left" };
            if let Err(error) = self.succeed(engine, machine, journal, ("rollout", why.to_owned())) {
                let text = format!("a rollout cannot go on: {error}");
                self.note(journal, About::RefusedSwap, "", text);
            }
        }
    }

    /// The newest revision of a service gets `share` of its requests, of a hundred, those before it the rest.
    fn shift(&mut self, service: &str, share: u32) {
        let Some(kept) = self.book.revisions_of(service) else { return };
        let last = kept.len() - 1;
        for (nth, kept) in kept.iter_mut().enumerate() {
            kept.weight = match nth {
                nth if nth == last => share,
                nth if nth + 1 == last => 100 - share,
                _ => 0,
            };
            kept.is_leaving |= kept.weight == 0 && nth != last;
        }
    }

    /// The replicas of a revision end, once.
    fn end(&mut self, service: &str, number: u32, machine: &mut Machine) {
        if !self.ended.insert((service.to_owned(), number)) {
            return;
        }
        let Some(kept) = self.book.revisions_of(service) else { return };
        let Some(kept) = kept.iter().find(|kept| kept.number == number) else { return };
        for target in targets_of(service, kept, machine) {
            machine.tell(Event::Pin { target, replicas: 0, until: Time::NEVER });
        }
    }

    /// Counts what GPUs were taken for how long.
    fn account(&mut self, now: Time, machine: &Machine) {
        let span_s = now.since(self.looked_at.max(Time(1))) as f64 / 1e3;
        if self.looked_at > Time::ZERO {
            for (class, gpus, usd) in view::taken(machine) {
                *self.gpu_seconds.entry(class).or_default() += gpus * span_s;
                self.cost_usd += usd * span_s / 3_600.0;
            }
        }
        self.looked_at = now;
    }

    /// Others see what is live, once a second or when something changed.
    fn publish(&mut self, engine: &Engine, machine: &Machine, journal: &Journal<'_>) {
        let now = self.clock.now();
        self.pins.retain(|_, pin| pin.until > now);
        if now.second() == self.published && *self.phase.borrow() == self.publish.borrow().phase {
            return;
        }
        self.published = now.second();
        let world = view::world(self, engine, machine, journal);
        let status = self.status.build(now, engine, &world);
        self.publish.send_replace(status);
    }
}

/// The targets of a revision, in order.
fn targets_of(service: &str, kept: &Kept, machine: &Machine) -> Vec<TargetId> {
    let pools: Vec<String> = match kept.service.pools.as_slice() {
        [] => vec!["default".to_owned()],
        pools => pools.iter().map(|pool| pool.name.clone()).collect(),
    };
    let name = first_target(service, kept);
    let id = |pool: String| {
        machine.target_of(&crate::engine::TargetName { pool, ..name.clone() }.to_string())
    };
    let mut targets: Vec<TargetId> = pools.into_iter().filter_map(id).collect();
    targets.sort();
    targets
}

/// What there is of a revision.
fn seen_of(service: &str, kept: &Kept, engine: &Engine, machine: &Machine) -> Seen {
    let mut seen = Seen { waiting: kept.door.waiting(), ..Seen::default() };
    for id in targets_of(service, kept, machine) {
        let set = engine.replicas(id);
        seen.ready += set.ready();
        seen.pending += set.pending();
        seen.starting += set.starting() - set.pending();
        seen.draining += set.draining();
    }
    seen
}

/// A request as the journal keeps it.
fn request(fate: &Fate) -> Request {
    use crate::journal::Fate as Kept;
    let held_us = fate.waited_us.min(fate.took_us);
    Request {
        arrived_ms: fate.arrived_us / 1_000,
        waited_ms: held_us / 1_000,
        took_ms: (fate.took_us - held_us) / 1_000,
        fate: match fate.outcome {
            Outcome::Served => Kept::Served,
            Outcome::Expired => Kept::Expired,
            Outcome::Refused => Kept::Refused,
            Outcome::Failed => Kept::Failed,
            Outcome::GoneAway => Kept::GivenUp,
        },
        tokens: (fate.prompt_tokens, fate.output_tokens),
        is_cold: fate.is_cold,
    }
}

/// What an engine knows, as the journal keeps it.
fn document(engine: &Engine) -> serde_json::Value {
    serde_json::to_value(engine.snapshot()).expect("a snapshot has text for keys")
}

/// An error with what it came from, on a line.
pub(super) fn shown(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A moment as people read it.
fn clock_time(at: Time) -> String {
    jiff::Timestamp::from_millisecond(at.0 as i64)
        .map_or_else(|_| at.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Requests that a service's doors counted.
pub(super) fn counted(kept: &Kept) -> [u64; 4] {
    let counts = kept.door.counts();
    let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    [
        read(&counts.served),
        read(&counts.expired),
        read(&counts.failed) + read(&counts.gone_away),
        read(&counts.refused),
    ]
}
