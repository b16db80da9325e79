//! What is done beside the loop after each of its steps: orders of people, files that changed, rollouts, the journal's further entries,
//! and the status that others see. It runs on the loop's thread, so nothing in it waits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};

use super::book::{Book, Kept, Routing, first_target};
use super::rollout::{Do, Rollouts, Seen};
use super::shares::Cut;
use super::told::{Listener, Told, Weight};
use super::view;
use crate::admin::order::{Done, Order, Ordered, Refusal};
use crate::backend::local::machine::Machine;
use crate::clock::Clock;
use crate::definitions::service::Service;
use crate::engine::{Engine, Event, Observation, Phase, Plan, TargetId, TargetName};
use crate::journal::{
    About, Begin, Header, Journal, Note, Request, Requests, Source, Sources, Succession,
};
use crate::proxy::{Fate, Gateway, Outcome};
use crate::recorder::reason_of;
use crate::run::Watch;
use crate::status::{Pin, RunPhase, Status, StatusBuilder};
use crate::swap::{Candidate, Moment, Ready, Recent, RefusedKind, Shadow, Swapper, Switched};
use crate::time::Time;

/// Fates that are fetched after one step; the rest is fetched after the next.
const FATES_AT_ONCE: usize = 10_000;

/// Something that the watchers of files have to offer.
pub(super) enum Offer {
    /// The files of services, read anew.
    Services(Vec<Service>, Vec<Source>),
    /// They cannot be read: what is wrong, for people.
    BadServices(String),
    /// A candidate was looked at.
    Ready(Box<Ready>),
}

/// Services on their way to the engine: they are these once it has taken them.
pub(super) struct Pending {
    book: Book,
    rollouts: Rollouts,
    /// The files that they were read from.
    files: Vec<Source>,
    /// The services as they were read, where that is what changes.
    services: Option<Vec<Service>>,
    /// Who wants it, and what is told when it is done.
    told: (About, String, String),
}

/// All that is beside the loop.
pub(super) struct Control {
    pub(super) clock: Arc<Clock>,
    pub(super) book: Book,
    pub(super) rollouts: Rollouts,
    pub(super) cut: Cut,
    pub(super) routing: Routing,
    pub(super) gateway: Arc<Gateway>,
    pub(super) swapper: Swapper,
    pub(super) recent: Recent,
    pub(super) shadow: Option<(PathBuf, Shadow)>,
    pub(super) pending: Option<Pending>,
    /// Where candidates are prepared, and where they then come back.
    pub(super) workshop: Workshop,
    pub(super) tick_ms: u64,
    pub(super) sources: Sources,
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
    /// Differences of the shadow that were told.
    pub(super) differences: u64,
    /// Services that were read and are to be followed.
    pub(super) wanted: Option<(Vec<Service>, Vec<Source>)>,
    pub(super) gpu_seconds: BTreeMap<String, f64>,
    pub(super) cost_usd: f64,
    pub(super) looked_at: Time,
    pub(super) published: u64,
    pub(super) missed_ticks: u64,
    pub(super) wakes_at: Time,
    pub(super) started_at: Time,
}

/// Where candidates are prepared: on threads that may take their time.
pub(super) struct Workshop {
    pub(super) runtime: Handle,
    pub(super) offers: mpsc::Sender<Offer>,
    pub(super) nudge: Arc<Notify>,
}

impl Workshop {
    fn prepare(&self, candidate: Candidate, moment: Moment) {
        let (offers, nudge) = (self.offers.clone(), self.nudge.clone());
        self.runtime.spawn_blocking(move || {
            let ready = Box::new(candidate.prepare(&moment));
            // A loop that has ended wants nothing any more.
            let _ = offers.blocking_send(Offer::Ready(ready));
            nudge.notify_one();
        });
    }
}

impl Control {
    /// The header of a journal that `engine` decides in.
    pub(super) fn header(&self, engine: &Engine, at: Time) -> Header {
        let live = self.swapper.live();
        let limits = Some(live.chain().definition().limits.clone());
        let sources = Sources {
            profile: live.profile().name.clone(),
            profile_settings: live.profile().settings.clone(),
            ..self.sources.clone()
        };
        Header { sources: Some(sources), ..Header::of(engine, at, limits) }
    }

    /// Services, or their revisions, change once the engine has taken them. Whether that is under way; where something else is, it is
    /// tried again after another step.
    fn propose(&mut self, engine: &Engine, pending: Pending) -> bool {
        if self.pending.is_some() || self.swapper.is_busy() {
            return false;
        }
        let floor = |service: &str, number| pending.rollouts.floor(service, number);
        let targets = pending.book.targets(&self.cut, floor);
        let candidate = self.swapper.with_targets(&pending.told.1, targets);
        self.workshop.prepare(candidate, self.recent.moment(engine));
        self.pending = Some(pending);
        true
    }

    /// A candidate was looked at: it takes over, or says why not.
    fn switch(
        &mut self,
        ready: Ready,
        engine: &mut Engine,
        machine: &mut Machine,
        journal: &mut Journal<'_>,
    ) {
        match self.swapper.switch(engine, self.clock.now(), ready) {
            // Something took over in between. What is pending now, if anything, came after it and is still being looked at.
            Switched::Refused(refused) if refused.kind == RefusedKind::Stale => {}
            Switched::Same => {
                self.pending = None;
                self.tell_swap();
            }
            Switched::Refused(refused) => {
                self.pending = None;
                let text = view::refused(&refused);
                self.note(journal, About::RefusedSwap, "", text);
                self.tell_swap();
            }
            Switched::Over(succession) => {
                let told = match self.pending.take() {
                    Some(pending) => {
                        (self.book, self.rollouts) = (pending.book, pending.rollouts);
                        self.sources.services = pending.files;
                        pending.told
                    }
                    None => {
                        self.tell_swap();
                        let text = view::swapped(&succession, &self.swapper);
                        (About::Swap, "a changed file".to_owned(), text)
                    }
                };
                self.succeeded(*succession, told, engine, machine, journal);
            }
        }
    }

    /// Another engine decides: machine, journal, routes and shadow follow.
    fn succeeded(
        &mut self,
        succession: crate::swap::Succession,
        (about, who, text): (About, String, String),
        engine: &mut Engine,
        machine: &mut Machine,
        journal: &mut Journal<'_>,
    ) {
        let now = self.clock.now();
        self.recent.restart();
        self.tick_ms = engine.options().tick_ms;
        machine.follow(self.book.setup(engine, &self.cut));
        let (at, header) = (succession.at, self.header(engine, succession.at));
        let begin = Begin {
            succession: Some(Succession { who, why: text.clone() }),
            ..Begin::from_snapshot(at, header, succession.snapshot)
        };
        journal.begin(begin);
        self.keep_components(journal);
        self.set_routes();
        self.note(journal, about, "", text);
        if let Some((path, _)) = &self.shadow {
            let path = path.clone();
            match self.swapper.shadow(&path, engine, now) {
                Ok(shadow) => self.shadow = Some((path, shadow)),
                Err(refused) => {
                    self.shadow = None;
                    let text = format!("the shadow ends: {}", view::refused(&refused));
                    self.note(journal, About::Shadow, "", text);
                }
            }
        }
    }

    /// What decides is kept beside the journal, so that it can decide again.
    pub(super) fn keep_components(&self, journal: &mut Journal<'_>) {
        for (digest, component) in self.swapper.live().chain().components() {
            journal.keep_component(digest, component);
        }
    }

    /// The last attempt to swap is shown.
    fn tell_swap(&mut self) {
        if let Some(entry) = self.swapper.history().entries().last() {
            self.status.swapped(view::swap(entry));
        }
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
    fn after_step(
        &mut self,
        engine: &mut Engine,
        seen: &Observation,
        plan: &Plan,
        machine: &mut Machine,
        journal: &mut Journal<'_>,
    ) {
        if seen.at.since(self.wakes_at) > self.tick_ms && self.wakes_at > Time::ZERO {
            self.missed_ticks += 1;
        }
        self.wakes_at = plan.wake_at;
        self.status.see(engine, seen, plan, machine.planned_in_us());
        self.tell_step(engine, seen, plan);
        if let Some((_, shadow)) = &mut self.shadow {
            shadow.see(engine, seen, plan);
        }
        self.tell_shadow(journal);
        self.keep_fates(seen.at, journal);
        if journal.wants_snapshot() {
            let header = self.header(engine, seen.at);
            journal.begin(Begin::from_snapshot(seen.at, header, engine.snapshot()));
        }
        if self.swapper.see(plan) {
            // What came of it is told and shown.
            let _ = self.go_back(None, engine, machine, journal);
        }
        while let Ok(ordered) = self.orders.try_recv() {
            let done = self.carry_out(ordered.order, engine, machine, journal);
            // Who gave the order may have gone away.
            let _ = ordered.answer.send(done);
        }
        while let Ok(offer) = self.offers.try_recv() {
            self.take_offer(offer, engine, machine, journal);
        }
        self.roll_on(engine, machine);
        if self.pending.is_none()
            && let Some(candidate) = self.swapper.poll()
        {
            self.workshop.prepare(candidate, self.recent.moment(engine));
        }
        self.account(seen.at, machine);
        self.publish(engine, machine, journal);
    }

    /// The chain that decided before decides again.
    fn go_back(
        &mut self,
        by: Option<&str>,
        engine: &mut Engine,
        machine: &mut Machine,
        journal: &mut Journal<'_>,
    ) -> Result<String, String> {
        let done = self.swapper.go_back(engine, self.clock.now(), by);
        self.tell_swap();
        match done {
            Ok(succession) => {
                let why = by.map_or("the new one failed three times", |_| "a person wants it");
                let text = format!("the policies before decide again: {why}");
                let who = by.unwrap_or("failures").to_owned();
                // Services that were about to be followed are tried anew; rollouts find out by themselves.
                let services = self.pending.take().and_then(|pending| {
                    let files = pending.files;
                    pending.services.map(|services| (services, files))
                });
                self.wanted = self.wanted.take().or(services);
                let told = (About::Rollback, who, text.clone());
                self.succeeded(succession, told, engine, machine, journal);
                Ok(text)
            }
            Err(refused) => {
                let text = view::refused(&refused);
                self.note(journal, About::RefusedSwap, "", text.clone());
                Err(text)
            }
        }
    }

    /// What a shadow would have done otherwise since the last step.
    fn tell_shadow(&mut self, journal: &mut Journal<'_>) {
        let Some((_, shadow)) = &self.shadow else { return };
        let run = shadow.run();
        let new = (run.differences - self.differences) as usize;
        self.differences = run.differences;
        let told: Vec<(String, String)> =
            run.last.iter().rev().take(new).rev().map(view::difference).collect();
        for (target, text) in told {
            self.note(journal, About::Shadow, &target, text);
        }
    }

    /// Tells that something does not work, though the run goes on.
    pub(super) fn warn(&mut self, text: String) {
        self.say(Weight::Error, "", text);
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
            self.say(
                Weight::Info,
                &names[change.target.index()],
                format!("{from}{}{reason}", change.to),
            );
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
            let text = format!(
                "stage {} failed ({}): {}",
                failure.stage, failure.instead, failure.message
            );
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
            let took_us = (fate.outcome == Outcome::Served).then_some(fate.took_us);
            if fate.outcome != Outcome::Refused {
                self.status.ended(name, fate.waited_us.min(fate.took_us), took_us);
            }
            ended.push((name.clone(), request(&fate)));
        }
        if !ended.is_empty() {
            journal.requests(Requests::of(at.second(), &ended, 0));
        }
    }

    /// The run is over: what became of requests since the last step goes to the journal, too.
    pub(super) fn finish(&mut self, journal: &mut Journal<'_>) {
        while !self.fates.is_empty() {
            self.keep_fates(self.clock.now(), journal);
        }
    }

    fn carry_out(
        &mut self,
        order: Order,
        engine: &mut Engine,
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
                let message = format!(
                    "{service} has {replicas} replicas by hand until {}",
                    clock_time(until)
                );
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
            Order::Swap { policies } => {
                match policies {
                    Some(path) => self.swapper.read_from(path.into(), "a person"),
                    None => self.swapper.want("a person"),
                }
                let message = "the policies are read again; the history tells what comes of it";
                Ok(Done { message: message.to_owned() })
            }
            Order::Rollback => {
                let done = self.go_back(Some("a person"), engine, machine, journal);
                done.map(|message| Done { message }).map_err(Refusal::Refused)
            }
        }
    }

    /// The targets of the revision of a service that takes its requests, the one that is woken first.
    fn targets_of(&self, service: &str, machine: &Machine) -> Result<Vec<TargetId>, Refusal> {
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
        let (services, files) = match offer {
            Offer::Services(services, files) => (services, files),
            Offer::BadServices(why) => {
                let text = format!("the services stay as they are: {why}");
                return self.note(journal, About::RefusedSwap, "", text);
            }
            Offer::Ready(ready) => return self.switch(*ready, engine, machine, journal),
        };
        let why = match Cut::new(&self.cut.fleet, &services) {
            Ok(cut) if cut.parts_per_gpu == self.cut.parts_per_gpu => {
                super::check(&services, &self.cut).err().map(|error| error.to_string())
            }
            Ok(_) => Some("that GPUs are shared, or no longer, needs another start".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            let text = format!("the services stay as they are: {why}");
            return self.note(journal, About::RefusedSwap, "", text);
        }
        self.wanted = Some((services, files));
        self.follow_services(engine);
    }

    /// The services that were last read take the place of those of now, as soon as nothing else is under way.
    fn follow_services(&mut self, engine: &Engine) {
        let Some((services, files)) = self.wanted.clone() else { return };
        let (mut book, mut rollouts) = (self.book.clone(), self.rollouts.clone());
        let changed = book.follow(services.clone());
        if changed.is_nothing() {
            self.wanted = None;
            return;
        }
        for (service, number) in &changed.revised {
            let its = engine.specs().zip(0..).filter(|(spec, _)| spec.name.service == *service);
            let ready = its.map(|(_, at)| engine.view(TargetId(at)).ready).sum();
            rollouts.begin(service, *number, ready);
        }
        for service in &changed.removed {
            rollouts.forget(service);
        }
        let told = (About::Swap, "the services' files".to_owned(), view::changed(&changed));
        let pending = Pending { book, rollouts, files, services: Some(services), told };
        if self.propose(engine, pending) {
            self.wanted = None;
        }
    }

    /// Rollouts go on, and revisions that have left are forgotten.
    fn roll_on(&mut self, engine: &Engine, machine: &mut Machine) {
        self.follow_services(engine);
        if self.pending.is_some() {
            return;
        }
        let is_settled = |kept: &Kept| !kept.is_leaving && kept.weight == 100;
        let (mut book, mut rollouts) = (self.book.clone(), self.rollouts.clone());
        let mut told = Vec::new();
        for name in self.book.names() {
            let Some(kept) = self.book.revisions_of(&name) else { continue };
            if kept.len() == 1 && kept.iter().all(is_settled) {
                continue;
            }
            let share = kept.last().and_then(|kept| kept.service.canary_percent).unwrap_or(100);
            let revisions: Vec<(u32, bool, Seen)> = kept
                .iter()
                .map(|kept| (kept.number, kept.is_leaving, seen_of(&name, kept, engine, machine)))
                .collect();
            for todo in rollouts.next(self.clock.now(), &name, &revisions, share) {
                match todo {
                    Do::Shift { share, told: text } => {
                        book.shift(&name, share);
                        told.push(format!("{name}: {text}"));
                    }
                    Do::End(number) => self.end(&name, number, machine),
                }
            }
        }
        let ended = &self.ended;
        let is_gone = |service: &str, number: u32| {
            let of_it =
                |name: &TargetName| name.service == service && name.revision == number.to_string();
            let mut its = engine.specs().zip(0..).filter(|(spec, _)| of_it(&spec.name));
            ended.contains(&(service.to_owned(), number))
                && its.all(|(_, at)| engine.replicas(TargetId(at)).iter().next().is_none())
        };
        for (service, number) in book.forget(is_gone) {
            told.push(format!("{service}: revision {number} has left"));
            if book.revisions_of(&service).is_none_or(|kept| kept.len() == 1) {
                rollouts.forget(&service);
            }
        }
        if told.is_empty() {
            // What was learnt meanwhile, as since when there is no room.
            self.rollouts = rollouts;
            return;
        }
        let told = (About::Swap, "a rollout".to_owned(), told.join("; "));
        // Where something else is under way, this is found again after another step.
        let files = self.sources.services.clone();
        let pending = Pending { book, rollouts, files, services: None, told };
        let _ = self.propose(engine, pending);
    }

    /// The replicas of a revision end, once.
    fn end(&mut self, service: &str, number: u32, machine: &mut Machine) {
        if !self.ended.insert((service.to_owned(), number)) {
            return;
        }
        let kept = self.book.revisions_of(service);
        let kept = kept.and_then(|kept| kept.iter().find(|kept| kept.number == number));
        let Some(kept) = kept else { return };
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

impl Watch<Machine> for Control {
    fn before(&mut self, engine: &Engine, seen: &Observation) {
        self.clock.slew();
        self.recent.note(engine, seen);
    }

    fn after(
        &mut self,
        engine: &mut Engine,
        seen: &Observation,
        plan: &Plan,
        machine: &mut Machine,
        journal: &mut Journal<'_>,
    ) {
        self.after_step(engine, seen, plan, machine, journal);
    }
}

/// The targets of a revision, in order.
fn targets_of(service: &str, kept: &Kept, machine: &Machine) -> Vec<TargetId> {
    let pools: Vec<String> = match kept.service.pools.as_slice() {
        [] => vec!["default".to_owned()],
        pools => pools.iter().map(|pool| pool.name.clone()).collect(),
    };
    let name = first_target(service, kept);
    let id = |pool: String| machine.target_of(&TargetName { pool, ..name.clone() }.to_string());
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
