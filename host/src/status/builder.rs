//! Makes the document of what is live from what the engine plans and what the world around it knows. Pure: it is handed the time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{
    Decision, Health, JournalStatus, NodeStatus, Pin, PolicyStatus, ReplicaPhase, ReplicaStatus,
    RequestTotals, RunPhase, Series, ServiceStatus, StageTotals, Status, SwapStatus, TargetStatus,
    Totals,
};
use crate::engine::{ClampRule, Engine, Event, Observation, Phase, Plan, ReplicaState, TargetName};
use crate::recorder::reason_of;
use crate::time::Time;

/// Decisions that are kept: a screen or two for each of those who look.
const DECISIONS_AT_MOST: usize = 200;
/// Swaps that are kept.
const SWAPS_AT_MOST: usize = 50;
/// Upper bounds of how long a step takes. Seconds.
const STEP_BOUNDS_S: [f64; 10] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
/// Upper bounds of how long a cold start takes. Seconds.
const COLD_START_BOUNDS_S: [f64; 11] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0];
/// How long a policy counts as failing after it failed. Milliseconds.
const FAILING_MS: u64 = 30_000;

/// What does not change while the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// When it started.
    pub started_at: Time,
    /// Its version.
    pub version: String,
    /// Whether it decides without acting.
    pub is_dry_run: bool,
}

/// What a backend knows of a replica beyond what the engine does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where it is in its life and since when, if not as the engine has it.
    pub phase: Option<(ReplicaPhase, Time)>,
    /// Why, in a few words.
    pub reason: String,
    /// Its GPUs, by index on its node.
    pub gpus: Vec<u32>,
    /// Its process.
    pub pid: Option<u32>,
    /// Where it listens.
    pub port: Option<u16>,
    /// Requests that it holds, as of now; `None`: as the engine has it.
    pub in_flight: Option<u32>,
}

/// All that others know: backend, gateway, swaps, journal.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Whether requests are taken.
    pub phase: RunPhase,
    /// Replicas by target and ordinal. One that the engine does not have (any more) is shown as well, if it has a phase: what failed
    /// and is not started yet.
    pub replicas: BTreeMap<(TargetName, u32), Facts>,
    /// Services whose replicas a person numbered.
    pub pins: BTreeMap<String, Pin>,
    /// Services whose idle replicas made room for others.
    pub evicted: Vec<String>,
    /// Services whose replicas are fake models.
    pub fake: Vec<String>,
    /// Nodes with who has their GPUs.
    pub nodes: Vec<NodeStatus>,
    /// Policies as they were loaded. Health and failures are added here from what plans said.
    pub policies: Vec<PolicyStatus>,
    /// The journal.
    pub journal: Option<JournalStatus>,
    /// Requests by service.
    pub requests: Vec<RequestTotals>,
    /// GPU-seconds by class.
    pub gpu_seconds: Vec<(String, f64)>,
    /// What those cost. US dollars.
    pub cost_usd: f64,
    /// Ticks that came later than one whole tick.
    pub missed_ticks: u64,
}

/// Makes a [`Status`] of what it sees.
pub struct StatusBuilder {
    rules: Rules,
    number: u64,
    decisions: VecDeque<Decision>,
    swaps: VecDeque<SwapStatus>,
    targets: BTreeMap<TargetName, Seen>,
    series: BTreeMap<String, Series>,
    failures: BTreeMap<String, Failures>,
    /// Ready replicas whose start was counted, and since when others are wanted.
    starts: BTreeMap<(TargetName, u32), Time>,
    totals: Totals,
}

/// What is remembered of a target.
#[derive(Default)]
struct Seen {
    waiting: u32,
    in_flight: u32,
    oldest_wait_ms: u64,
    unplaced: Option<String>,
    decision: Option<Decision>,
}

#[derive(Default)]
struct Failures {
    count: u64,
    last: Option<(Time, String)>,
    quarantined_until: Option<Time>,
}

impl StatusBuilder {
    /// A builder of a program that starts.
    pub fn new(rules: Rules) -> StatusBuilder {
        let totals = Totals {
            step_seconds: STEP_BOUNDS_S.map(|bound| (bound, 0)).to_vec(),
            cold_start_seconds: COLD_START_BOUNDS_S.map(|bound| (bound, 0)).to_vec(),
            ..Totals::default()
        };
        StatusBuilder {
            rules,
            number: 0,
            decisions: VecDeque::new(),
            swaps: VecDeque::new(),
            targets: BTreeMap::new(),
            series: BTreeMap::new(),
            failures: BTreeMap::new(),
            starts: BTreeMap::new(),
            totals,
        }
    }

    /// Takes in a step of `engine` that took `took_us`.
    pub fn see(&mut self, engine: &Engine, seen: &Observation, plan: &Plan, took_us: u64) {
        let names: Vec<&TargetName> = engine.specs().map(|spec| &spec.name).collect();
        self.totals.steps += 1;
        count_within(&mut self.totals.step_seconds, took_us as f64 / 1e6);
        self.totals.step_seconds_sum += took_us as f64 / 1e6;
        for event in &seen.events {
            match event {
                Event::Report(id, report) | Event::Scraped(id, report) => {
                    let target = self.targets.entry(names[id.index()].clone()).or_default();
                    target.waiting = report.waiting;
                    target.in_flight = report.in_flight;
                    target.oldest_wait_ms = report.oldest_wait_ms;
                }
                Event::Replica(id, Phase::Failed { .. }) => {
                    self.totals.replica_failures += 1;
                    self.starts.remove(&(names[id.target.index()].clone(), id.ordinal));
                }
                Event::Replica(id, Phase::Ready) => {
                    let key = (names[id.target.index()].clone(), id.ordinal);
                    if let Some(since) = self.starts.remove(&key) {
                        let took_s = seen.at.since(since) as f64 / 1e3;
                        self.totals.cold_starts += 1;
                        self.totals.cold_start_seconds_sum += took_s;
                        count_within(&mut self.totals.cold_start_seconds, took_s);
                    }
                }
                Event::Replica(id, Phase::Gone) => {
                    self.starts.remove(&(names[id.target.index()].clone(), id.ordinal));
                }
                Event::Replica(_, Phase::Pulling | Phase::Loading | Phase::Draining)
                | Event::Nodes(_)
                | Event::Waiting(_)
                | Event::Counted(..)
                | Event::GatewayAnswers(..)
                | Event::Pin { .. }
                | Event::Unpin(_) => {}
            }
        }
        for action in &plan.actions {
            if let crate::engine::Action::Start { replica, .. } = action {
                let wanted = engine.replicas(replica.target).iter();
                let mut wanted = wanted.filter(|one| one.ordinal == replica.ordinal);
                let since = wanted.next().map_or(plan.at, |one| one.since);
                self.starts.insert((names[replica.target.index()].clone(), replica.ordinal), since);
            }
        }
        for unplaced in &plan.unplaced {
            let reason = match unplaced.reason.as_str() {
                "" => format!("no node takes {} more", unplaced.replicas),
                reason => reason.to_owned(),
            };
            let name = names[unplaced.target.index()].clone();
            self.targets.entry(name).or_default().unplaced = Some(reason);
        }
        for change in &plan.changes {
            self.decided(names[change.target.index()], plan.at, change);
        }
        for failure in &plan.failures {
            let targets = failure.targets.len() as u64;
            self.stage(&failure.stage).failed += targets;
            let known = self.failures.entry(failure.stage.clone()).or_default();
            known.count += 1;
            known.last = Some((plan.at, failure.message.clone()));
            known.quarantined_until = known.quarantined_until.max(failure.quarantined_until);
        }
    }

    /// Takes in what came of a swap. What the policy before it did wrong is forgotten where the new one decides.
    pub fn swapped(&mut self, swap: SwapStatus) {
        if swap.outcome != super::SwapOutcome::Refused {
            self.failures.remove(&swap.stage);
        }
        match self.totals.swaps.iter_mut().find(|(outcome, _)| *outcome == swap.outcome) {
            Some((_, count)) => *count += 1,
            None => self.totals.swaps.push((swap.outcome, 1)),
        }
        push_within(&mut self.swaps, swap, SWAPS_AT_MOST);
    }

    /// The document of now.
    pub fn build(&mut self, now: Time, engine: &Engine, world: &World) -> Arc<Status> {
        let mut services: BTreeMap<&str, ServiceStatus> = BTreeMap::new();
        // Each pool of a revision is told the load of the whole revision.
        let mut loads: BTreeMap<(&str, &str), (u32, u32)> = BTreeMap::new();
        for (position, spec) in engine.specs().enumerate() {
            let id = crate::engine::TargetId(position as u32);
            let name = &spec.name;
            let seen = self.targets.entry(name.clone()).or_default();
            let (view, set) = (engine.view(id), engine.replicas(id));
            if set.pending() == 0 {
                seen.unplaced = None;
            }
            let back_off = Some(set.back_off_until()).filter(|until| *until > now);
            let target = TargetStatus {
                revision: name.revision.clone(),
                role: name.role.clone(),
                pool: name.pool.clone(),
                desired: view.desired,
                ready: view.ready,
                starting: view.starting,
                draining: view.draining,
                failed: set.failures_in_a_row(),
                back_off_until: back_off,
                min: spec.bounds.min,
                max: spec.bounds.max,
                waiting: seen.waiting,
                in_flight: seen.in_flight,
                oldest_wait_ms: seen.oldest_wait_ms,
                unplaced: seen.unplaced.clone(),
                decision: seen.decision.clone(),
            };
            let service = services.entry(&name.service).or_insert_with(|| ServiceStatus {
                name: name.service.clone(),
                pin: world.pins.get(&name.service).copied().filter(|pin| pin.until > now),
                is_evicted: world.evicted.contains(&name.service),
                is_fake: world.fake.contains(&name.service),
                ..ServiceStatus::default()
            });
            service.add(&target);
            let load = loads.entry((&name.service, &name.revision)).or_default();
            *load = (load.0.max(seen.waiting), load.1.max(seen.in_flight));
            service.targets.push(target);
            let own = (name.clone(), 0)..=(name.clone(), u32::MAX);
            let mut known: BTreeMap<u32, &Facts> =
                world.replicas.range(own).map(|((_, ordinal), facts)| (*ordinal, facts)).collect();
            for replica in set.iter() {
                let facts = known.remove(&replica.ordinal).cloned().unwrap_or_default();
                let (phase, in_flight) = match replica.state {
                    ReplicaState::Pending => (ReplicaPhase::Pending, 0),
                    ReplicaState::Starting { .. } => (ReplicaPhase::Placed, 0),
                    ReplicaState::Ready { in_flight, .. } => (ReplicaPhase::Ready, in_flight),
                    ReplicaState::Draining { .. } => (ReplicaPhase::Draining, 0),
                };
                let (phase, since) = facts.phase.unwrap_or((phase, replica.since));
                let node = replica.node().and_then(|node| world.nodes.get(node.index()));
                service.replicas.push(ReplicaStatus {
                    node: node.map(|node| node.name.clone()),
                    ..shown(name, replica.ordinal, phase, since, in_flight, facts)
                });
            }
            for (ordinal, facts) in known {
                if let Some((phase, since)) = facts.phase {
                    service.replicas.push(shown(name, ordinal, phase, since, 0, facts.clone()));
                }
            }
        }
        for ((service, _), (waiting, in_flight)) in loads {
            let service = services.get_mut(service).expect("each load is of a service");
            service.waiting += waiting;
            service.in_flight += in_flight;
        }
        let services: Vec<ServiceStatus> = services.into_values().collect();
        let names: Vec<String> = services.iter().map(|service| service.name.clone()).collect();
        self.series.retain(|name, _| names.binary_search(name).is_ok());
        let services = services.into_iter().map(|service| self.with_series(now, service)).collect();
        self.totals.missed_ticks = world.missed_ticks;
        self.totals.requests.clone_from(&world.requests);
        self.totals.gpu_seconds.clone_from(&world.gpu_seconds);
        self.totals.cost_usd = world.cost_usd;
        let policies = world.policies.iter().map(|policy| self.with_health(now, policy)).collect();
        Arc::new(Status {
            at: now,
            started_at: self.rules.started_at,
            version: self.rules.version.clone(),
            phase: world.phase,
            is_dry_run: self.rules.is_dry_run,
            services,
            nodes: world.nodes.clone(),
            policies,
            decisions: self.decisions.iter().cloned().collect(),
            swaps: self.swaps.iter().cloned().collect(),
            journal: world.journal.clone(),
            totals: self.totals.clone(),
        })
    }

    fn with_series(&mut self, now: Time, service: ServiceStatus) -> ServiceStatus {
        let series = self.series.entry(service.name.clone()).or_default();
        series.push(now, [service.desired, service.ready, service.waiting, service.in_flight]);
        ServiceStatus { series: series.clone(), ..service }
    }

    fn with_health(&self, now: Time, policy: &PolicyStatus) -> PolicyStatus {
        let Some(failures) = self.failures.get(&policy.stage) else { return policy.clone() };
        let is_recent = failures.last.as_ref().is_some_and(|(at, _)| now.since(*at) < FAILING_MS);
        let health = match failures.quarantined_until {
            Some(until) if until > now => Health::Quarantined,
            Some(_) | None if is_recent => Health::Failing,
            Some(_) | None => Health::Healthy,
        };
        PolicyStatus {
            health,
            failures: failures.count,
            last_failure: failures.last.as_ref().map(|(_, message)| message.clone()),
            ..policy.clone()
        }
    }

    fn decided(&mut self, name: &TargetName, at: Time, change: &crate::engine::Change) {
        let reason = reason_of(change);
        let had_a_say = change.stages.iter().rev().filter(|stage| stage.wanted.is_some());
        let decisive = had_a_say
            .clone()
            .find(|stage| stage.reason == reason)
            .or_else(|| had_a_say.clone().next())
            .or(change.stages.last());
        let (stage, digest) = decisive
            .map_or(Default::default(), |stage| (stage.stage.clone(), stage.digest.clone()));
        let mut clamps: Vec<String> = Vec::new();
        for clamp in &change.clamps {
            let rule = match clamp.rule {
                ClampRule::Min => "minimum",
                ClampRule::Max => "maximum",
                ClampRule::Initial => "initial scale",
                ClampRule::Activation => "activation scale",
                ClampRule::Pinned => "pinned",
                ClampRule::Yielded => "room for another service",
            };
            match self.totals.clamps.iter_mut().find(|(known, _)| known == rule) {
                Some((_, count)) => *count += 1,
                None => self.totals.clamps.push((rule.to_owned(), 1)),
            }
            let told = format!("{rule}: {} → {}", clamp.from, clamp.to);
            if !clamps.contains(&told) {
                clamps.push(told);
            }
        }
        self.stage(&stage).decided += 1;
        self.number += 1;
        let decision = Decision {
            number: self.number,
            at,
            service: name.service.clone(),
            target: name.to_string()[name.service.len()..].trim_start_matches('/').to_owned(),
            from: change.from,
            to: change.to,
            reason: reason.to_owned(),
            stage,
            digest,
            clamps,
        };
        self.targets.entry(name.clone()).or_default().decision = Some(decision.clone());
        push_within(&mut self.decisions, decision, DECISIONS_AT_MOST);
    }

    fn stage(&mut self, name: &str) -> &mut StageTotals {
        let stages = &mut self.totals.stages;
        let position = stages.iter().position(|known| known.stage == name).unwrap_or_else(|| {
            stages.push(StageTotals { stage: name.to_owned(), ..StageTotals::default() });
            stages.len() - 1
        });
        &mut stages[position]
    }
}

impl ServiceStatus {
    /// Adds a target to the sums, but for its requests, which other targets may have been told of as well.
    fn add(&mut self, target: &TargetStatus) {
        let is_first = self.targets.is_empty();
        self.desired = self.desired.saturating_add(target.desired);
        self.ready += target.ready;
        self.starting += target.starting;
        self.draining += target.draining;
        self.failed += target.failed;
        self.min = self.min.saturating_add(target.min);
        self.max = if target.max == 0 || (self.max == 0 && !is_first) {
            0
        } else {
            self.max.saturating_add(target.max)
        };
        self.oldest_wait_ms = self.oldest_wait_ms.max(target.oldest_wait_ms);
    }
}

fn shown(
    name: &TargetName,
    ordinal: u32,
    phase: ReplicaPhase,
    since: Time,
    in_flight: u32,
    facts: Facts,
) -> ReplicaStatus {
    ReplicaStatus {
        revision: name.revision.clone(),
        pool: name.pool.clone(),
        ordinal,
        phase,
        since,
        reason: facts.reason,
        node: None,
        gpus: facts.gpus,
        pid: facts.pid,
        port: facts.port,
        in_flight: facts.in_flight.unwrap_or(in_flight),
    }
}

fn push_within<T>(ring: &mut VecDeque<T>, value: T, at_most: usize) {
    ring.push_back(value);
    while ring.len() > at_most {
        ring.pop_front();
    }
}

fn count_within(buckets: &mut [(f64, u64)], value: f64) {
    if let Some((_, count)) = buckets.iter_mut().find(|(bound, _)| value <= *bound) {
        *count += 1;
    }
}
