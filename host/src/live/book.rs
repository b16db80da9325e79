//! The services of a live run and their revisions: what the engine is told of them, where their requests come in, and how a changed
//! service rolls out. It starts nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::shares::Cut;
use crate::backend::local::machine::{Revision, Setup, Target};
use crate::clock::Clock;
use crate::definitions::service::Service;
use crate::engine::{Engine, Owner, Resources, TargetName};
use crate::gateway::Limits;
use crate::proxy::{self, Destination, Door, Route, Routes};
use crate::replay::target_specs;
use crate::swap::Targets;

const MICROSECONDS: f64 = 1e6;
/// Bytes that waiting requests of a service may hold, beside what stays in their clients' sockets.
const QUEUE_BYTES: u64 = 64 << 20;

/// How requests find services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Requests that no host and no path leads anywhere go by the `model` that they name.
    pub by_model: bool,
    /// Event streams are kept open with comments while they wait.
    pub sends_comments: bool,
}

/// A revision of a service.
#[derive(Clone)]
pub(super) struct Kept {
    /// Counts the revisions of the service from 1.
    pub(super) number: u32,
    pub(super) service: Service,
    pub(super) door: Arc<Door>,
    /// Its share of the requests.
    pub(super) weight: u32,
    /// It gets no requests any more, and leaves once it holds none.
    pub(super) is_leaving: bool,
}

/// All services, by name, each with its revisions, the oldest first. There is at least one.
#[derive(Clone)]
pub(super) struct Book {
    clock: Arc<Clock>,
    wake: Arc<Notify>,
    services: BTreeMap<String, Vec<Kept>>,
}

/// What a file of services changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Services that are new.
    pub(super) added: Vec<String>,
    /// Services that are no more.
    pub(super) removed: Vec<String>,
    /// Services with a new revision, and its number.
    pub(super) revised: Vec<(String, u32)>,
    /// Services of which only scaling or routes changed.
    pub(super) adjusted: Vec<String>,
}

impl Changed {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Changed::default()
    }
}

impl Book {
    pub(super) fn new(clock: Arc<Clock>, wake: Arc<Notify>) -> Book {
        Book { clock, wake, services: BTreeMap::new() }
    }

    /// Revisions of all services, in the engine's order.
    pub(super) fn revisions(&self) -> impl Iterator<Item = (&str, &Kept)> {
        self.services
            .iter()
            .flat_map(|(name, kept)| kept.iter().map(move |kept| (name.as_str(), kept)))
    }

    pub(super) fn revisions_of(&self, service: &str) -> Option<&[Kept]> {
        self.services.get(service).map(Vec::as_slice)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.services.keys().cloned().collect()
    }

    /// From now on these are the services. What a replica runs or takes, or what a door allows, cannot change: that is a new revision,
    /// which gets no requests yet unless it is the first.
    pub(super) fn follow(&mut self, services: Vec<Service>) -> Changed {
        let mut changed = Changed::default();
        let mut named: BTreeMap<String, Service> =
            services.into_iter().map(|service| (service.name.clone(), service)).collect();
        for (name, kept) in &mut self.services {
            match named.remove(name) {
                None => {
                    if kept.iter().any(|kept| !kept.is_leaving) {
                        changed.removed.push(name.clone());
                    }
                    for kept in kept {
                        (kept.weight, kept.is_leaving) = (0, true);
                    }
                }
                Some(service) => {
                    let last = kept.last_mut().expect("a service has a revision");
                    if last.service == service && !last.is_leaving {
                        continue;
                    }
                    if is_same_revision(&last.service, &service) && !last.is_leaving {
                        changed.adjusted.push(name.clone());
                        last.service = service;
                        continue;
                    }
                    let number = last.number + 1;
                    let is_gone = last.is_leaving;
                    let door = door(&service, &self.clock, &self.wake);
                    let weight = if is_gone { 100 } else { 0 };
                    kept.push(Kept { number, service, door, weight, is_leaving: false });
                    changed.revised.push((name.clone(), number));
                }
            }
        }
        for (name, service) in named {
            let door = door(&service, &self.clock, &self.wake);
            changed.added.push(name.clone());
            let first = Kept { number: 1, service, door, weight: 100, is_leaving: false };
            self.services.insert(name, vec![first]);
        }
        changed
    }

    /// The newest revision of a service gets `share` of its requests, of a hundred, the last that has any the rest.
    pub(super) fn shift(&mut self, service: &str, share: u32) {
        let Some(kept) = self.services.get_mut(service) else { return };
        let last = kept.len() - 1;
        // One that came up too late for the newest has none: it leaves.
        let before = kept[..last].iter().rposition(|kept| kept.weight > 0);
        for (nth, kept) in kept.iter_mut().enumerate() {
            kept.weight = match nth {
                nth if nth == last => share,
                nth if Some(nth) == before => 100 - share.min(100),
                _ => 0,
            };
            kept.is_leaving |= kept.weight == 0 && nth != last;
        }
    }

    /// Forgets revisions that leave and of which `is_gone` says that nothing is left. Which.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&str, u32) -> bool) -> Vec<(String, u32)> {
        let mut forgotten = Vec::new();
        for (name, kept) in &mut self.services {
            kept.retain(|kept| {
                let goes = kept.is_leaving && is_gone(name, kept.number);
                if goes {
                    forgotten.push((name.clone(), kept.number));
                }
                !goes
            });
        }
        self.services.retain(|_, kept| !kept.is_empty());
        forgotten
    }

    /// What engines are told of the services as they are now. `floor` gives replicas that a revision is to have at least.
    pub(super) fn targets(&self, cut: &Cut, floor: impl Fn(&str, u32) -> u32) -> Targets {
        struct One {
            service: Service,
            revision: u32,
            is_reachable: bool,
            needs: Resources,
            floor: u32,
        }
        let one = |(name, kept): (&str, &Kept)| One {
            service: kept.service.clone(),
            revision: kept.number,
            is_reachable: !kept.is_leaving,
            needs: cut.needs(&kept.service),
            floor: floor(name, kept.number),
        };
        let all: Vec<One> = self.revisions().map(one).collect();
        Arc::new(move |own, placement, profile| {
            let mut specs = Vec::new();
            for one in &all {
                let pools = one.service.pools(&profile.settings)?;
                let first = pools.iter().find(|pool| pool.wakes).map(|pool| pool.name.clone());
                let made =
                    target_specs(&one.service, pools, Owner::Tidegate, (own, placement), profile);
                specs.extend(made.into_iter().map(|mut spec| {
                    if Some(&spec.name.pool) == first.as_ref() && one.floor > spec.bounds.min {
                        spec.bounds.min = one.floor;
                    }
                    spec.name.revision = one.revision.to_string();
                    spec.needs = one.needs;
                    spec.is_reachable = Some(one.is_reachable);
                    spec
                }));
            }
            Ok(specs)
        })
    }

    /// What the machine is told of the targets of `engine`, in their order.
    pub(super) fn setup(&self, engine: &Engine, cut: &Cut) -> Setup {
        let mut setup = Setup::default();
        let mut position: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (name, kept) in self.revisions() {
            position.insert((name.to_owned(), kept.number.to_string()), setup.revisions.len());
            let launch = kept.service.launch.clone();
            setup.revisions.push(Revision {
                door: kept.door.clone(),
                launch: launch.expect("whoever starts services checks that they can be started"),
                deadline_ms: kept.service.progress_deadline_ms,
                drain_ms: (kept.service.timeout_s * 1e3) as u64,
                gpus: cut.needs(&kept.service).gpus,
            });
        }
        for spec in engine.specs() {
            let key = (spec.name.service.clone(), spec.name.revision.clone());
            let revision =
                *position.get(&key).expect("the engine's targets are made of the book's");
            let (name, kept) = self.revisions().nth(revision).expect("it was just counted");
            let is_woken = spec.name == first_target(name, kept);
            setup.targets.push(Target { name: spec.name.clone(), revision, is_woken });
        }
        setup
    }

    /// Where requests go. `target_of` gives the position by which a revision's requests are noted.
    pub(super) fn routes(
        &self,
        routing: Routing,
        target_of: impl Fn(&TargetName) -> Option<u32>,
    ) -> Routes {
        let mut routes = Vec::new();
        let mut models = BTreeMap::new();
        for (name, kept) in &self.services {
            let Some(last) = kept.iter().rev().find(|kept| !kept.is_leaving) else { continue };
            let revisions = kept.iter().map(|kept| proxy::Revision {
                door: kept.door.clone(),
                target: target_of(&first_target(name, kept)).unwrap_or(0),
                weight: kept.weight,
            });
            let service = proxy::Service::new(revisions.collect(), routing.sends_comments);
            let to = || Destination::Service(service.clone());
            let route = &last.service.route;
            let mut add = |host: Option<&str>, prefix: &str, strips_prefix| {
                let (host, prefix) = (host.map(str::to_owned), prefix.to_owned());
                routes.push(Route { host, prefix, strips_prefix, to: to() });
            };
            let prefix = route.path_prefix.as_deref().unwrap_or("");
            if let Some(host) = &route.host {
                add(Some(host), prefix, !prefix.is_empty());
            } else if !prefix.is_empty() {
                add(None, prefix, true);
            }
            // Always there: whoever knows the service's name finds it.
            add(None, &format!("/{name}"), true);
            models.extend(route.model_names.iter().map(|model| (model.clone(), service.clone())));
        }
        if routing.by_model {
            let to = Destination::Models(models);
            routes.push(Route { host: None, prefix: String::new(), strips_prefix: false, to });
        }
        Routes::new(routes)
    }
}

/// The target of a revision that is told of requests which wait: the pool that was written first.
pub(super) fn first_target(service: &str, kept: &Kept) -> TargetName {
    let written_first = kept.service.pools.first().map(|pool| pool.name.clone());
    let pool = written_first.unwrap_or_else(|| "default".to_owned());
    TargetName { revision: kept.number.to_string(), pool, ..TargetName::of_service(service) }
}

/// Whether replicas of the one can serve as replicas of the other, behind the same door.
fn is_same_revision(one: &Service, other: &Service) -> bool {
    let fixed = |service: &Service| Service {
        min_replicas: None,
        max_replicas: None,
        annotations: BTreeMap::new(),
        route: Default::default(),
        canary_percent: None,
        trace: None,
        progress_deadline_ms: 0,
        ..service.clone()
    };
    fixed(one) == fixed(other)
}

fn door(service: &Service, clock: &Arc<Clock>, wake: &Arc<Notify>) -> Arc<Door> {
    let limits = Limits {
        concurrency: service.container_concurrency,
        queue: service.queue_limit,
        queue_bytes: Some(QUEUE_BYTES),
        timeout_us: Some((service.timeout_s * MICROSECONDS) as u64),
    };
    Door::new(limits, clock.clone(), wake.clone())
}
