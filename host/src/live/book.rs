//! The services of a live run and their revisions: what the engine is told of them, where their requests come in, and how a changed
//! service rolls out. It starts nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::shares::Cut;
use crate::backend::local::machine::{Revision, Setup, Target};
use crate::clock::Clock;
use crate::definitions::profile::Profile;
use crate::definitions::service::Service;
use crate::definitions::settings::LimitsError;
use crate::engine::{Owner, TargetName, TargetSpec};
use crate::gateway::Limits;
use crate::proxy::{self, Destination, Door, Route, Routes};
use crate::replay::target_specs;

const MICROSECONDS: f64 = 1e6;
/// Bytes that waiting requests of a service may hold, beside what stays in their clients' sockets.
const QUEUE_BYTES: u64 = 64 << 20;

/// The settings of the stages and of the placement policy, as a policies file has them.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnSettings {
    /// A document a scaling stage.
    pub stages: Vec<serde_json::Value>,
    /// That of the placement policy.
    pub placement: serde_json::Value,
}

/// How requests find services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Requests that no host and no path leads anywhere go by the `model` that they name.
    pub by_model: bool,
    /// Event streams are kept open with comments while they wait.
    pub sends_comments: bool,
}

/// A revision of a service.
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

    pub(super) fn revisions_of(&mut self, service: &str) -> Option<&mut Vec<Kept>> {
        self.services.get_mut(service)
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

    /// Forgets revisions that `is_gone` says have left.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&str, u32) -> bool) -> bool {
        let before: usize = self.services.values().map(Vec::len).sum();
        for (name, kept) in &mut self.services {
            kept.retain(|kept| !(kept.is_leaving && is_gone(name, kept.number)));
        }
        self.services.retain(|_, kept| !kept.is_empty());
        before != self.services.values().map(Vec::len).sum::<usize>()
    }

    /// What engine and machine are told, in one order.
    ///
    /// # Errors
    ///
    /// When settings of a service do not go with the profile.
    pub(super) fn setup(
        &self,
        cut: &Cut,
        own: &OwnSettings,
        profile: &Profile,
    ) -> Result<(Vec<TargetSpec>, Setup), LimitsError> {
        let mut setup = Setup::default();
        let mut targets: Vec<(TargetSpec, Target)> = Vec::new();
        for (_, kept) in self.revisions() {
            let pools = kept.service.pools(&profile.settings)?;
            let wakes: BTreeMap<String, bool> =
                pools.iter().map(|pool| (pool.name.clone(), pool.wakes)).collect();
            let own = (own.stages.as_slice(), &own.placement);
            let specs = target_specs(&kept.service, pools, Owner::Tidegate, own, profile);
            let needs = cut.needs(&kept.service);
            for mut spec in specs {
                spec.name.revision = kept.number.to_string();
                spec.needs = needs;
                spec.is_reachable = Some(!kept.is_leaving);
                let is_woken = wakes.get(&spec.name.pool).copied().unwrap_or(true);
                let revision = setup.revisions.len();
                let target = Target { name: spec.name.clone(), revision, is_woken };
                targets.push((spec, target));
            }
            let launch = kept.service.launch.clone();
            setup.revisions.push(Revision {
                door: kept.door.clone(),
                launch: launch.expect("whoever starts services checks that they can be started"),
                deadline_ms: kept.service.progress_deadline_ms,
                drain_ms: (kept.service.timeout_s * 1e3) as u64,
                gpus: needs.gpus,
            });
        }
        targets.sort_by(|(one, _), (other, _)| {
            (&one.tenant, &one.name).cmp(&(&other.tenant, &other.name))
        });
        let specs;
        (specs, setup.targets) = targets.into_iter().unzip();
        Ok((specs, setup))
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

/// The first of the targets of a revision.
pub(super) fn first_target(service: &str, kept: &Kept) -> TargetName {
    let pools = kept.service.pools.iter().map(|pool| pool.name.clone());
    let pool = pools.min().unwrap_or_else(|| "default".to_owned());
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
