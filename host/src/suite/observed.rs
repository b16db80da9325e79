//! Decides recorded observations with a whole chain: what was seen of services, second by second, goes through the engine, and the
//! decisions come out. No simulator: replicas are what the record says they were.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::table::{Rows, TableError};
use crate::backend::{Books, ClassUse};
use crate::definitions::model::Catalogue;
use crate::definitions::profile::Profile;
use crate::definitions::service::Service;
use crate::definitions::settings::LimitsError;
use crate::engine::{
    BindTargetError, Counts, Engine, Event, Observation, Options, Owner, Phase, ReplicaId, Report,
    Signal, TargetId, TargetName, TargetSpec,
};
use crate::journal::{self, JournalError};
use crate::ledger::{FailureNote, ServiceOutcome};
use crate::policy::CallError;
use crate::recorder::{Recorder, Watched};
use crate::replay::{Policies, target_specs};
use crate::time::Time;

/// What was seen, and of whom.
pub(super) struct Observations {
    start: Time,
    options: Options,
    targets: Vec<Target>,
    /// By moment, in order.
    seen: Vec<Observation>,
    end: Time,
}

struct Target {
    spec: TargetSpec,
    /// Nothing is said of its replicas, so what was wanted is there a second later.
    follows: bool,
}

/// Observations that cannot be decided.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObserveError {
    /// A table is not in order.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A journal is not in order.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A service's settings do not go with the profile.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The policies refuse a service.
    #[error(transparent)]
    Bind(#[from] BindTargetError),
    /// The placement policy does not say what it wants.
    #[error("the placement policy cannot say which columns it wants")]
    Placement(#[from] CallError),
}

/// What a chain decided about observations.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Observed {
    /// Services with their changes, in order of names.
    pub services: Vec<ServiceOutcome>,
    /// Policies that failed.
    pub failures: Vec<FailureNote>,
    /// Moments that were decided.
    pub steps: usize,
    /// How long it was. Seconds.
    pub duration_s: f64,
    /// What policies said when they were bound.
    pub warnings: Vec<String>,
}

/// From the first row to the last: every second between is an observation of its own.
const LONGEST_S: u64 = 7 * 86_400;
const COLUMNS: [&str; 10] = [
    "at",
    "service",
    "concurrency",
    "arrivals",
    "prompt-tokens",
    "output-tokens",
    "in-flight",
    "waiting",
    "ready",
    "starting",
];

impl Observations {
    /// What a table says. A signal holds until the next row of the service; seconds without a row before the last report it again.
    ///
    /// # Errors
    ///
    /// When columns are unknown, cells are not numbers, or settings do not go with the profile.
    pub(super) fn of_table(
        rows: &Rows,
        start: Time,
        services: &[Service],
        profile: &Profile,
        own_settings: &[serde_json::Value],
        placement_settings: &serde_json::Value,
    ) -> Result<Observations, ObserveError> {
        let head = &rows.rows[0];
        for name in &rows.names {
            if !COLUMNS.contains(&name.as_str()) {
                let nearest = tidegate_settings::nearest(name, COLUMNS);
                let expected =
                    nearest.map_or_else(|| format!("one of {}", COLUMNS.join(", ")), str::to_owned);
                return Err(rows.fault(head, "a column", name, expected).into());
            }
        }
        let service_column = rows.column("service");
        let only = services.first().filter(|_| services.len() == 1).map(|one| one.name.clone());
        let only = only.unwrap_or_else(|| "service".to_owned());
        let name = |row: &super::table::Row| {
            service_column.map_or(only.clone(), |at| row.cells[at].clone())
        };
        let mut names: Vec<String> = rows.rows.iter().map(name).collect();
        // As the engine has them: by service, then by pool.
        names.sort_by(|one, other| one.split('/').cmp(other.split('/')));
        names.dedup();
        let catalogue = Catalogue::builtin();
        let mut targets = Vec::with_capacity(names.len());
        for name in &names {
            let (of, pool) = match name.split_once('/') {
                Some((service, pool)) => (service, Some(pool)),
                None => (name.as_str(), None),
            };
            let defined = services.iter().find(|service| service.name == of).cloned();
            let service = defined.unwrap_or_else(|| Service::default_for(of, &catalogue));
            let pools = service.pools(&profile.settings)?;
            let known: Vec<String> = pools.iter().map(|pool| pool.name.clone()).collect();
            let settings = (own_settings, placement_settings);
            let specs = target_specs(&service, pools, Owner::Other, settings, profile);
            let spec = match pool {
                Some(pool) => specs.into_iter().find(|spec| spec.name.pool == pool),
                None => specs.into_iter().next().filter(|_| known.len() == 1),
            };
            let Some(spec) = spec else {
                let expected = format!("{of} with one of its pools, {}", known.join(", "));
                return Err(rows.fault(head, "a service", name, expected).into());
            };
            targets.push(Target { spec, follows: rows.column("ready").is_none() });
        }
        let mut by_second: BTreeMap<u64, BTreeMap<u32, &super::table::Row>> = BTreeMap::new();
        for row in &rows.rows {
            let position =
                names.iter().position(|known| *known == name(row)).expect("all were collected")
                    as u32;
            if row.at < start {
                return Err(rows
                    .fault(
                        row,
                        "at",
                        &row.cells[rows.column("at").unwrap_or(0)],
                        "no earlier than the start of the case",
                    )
                    .into());
            }
            by_second.entry(row.at.second()).or_default().insert(position, row);
        }
        let (Some(first), Some(last)) = (by_second.keys().next(), by_second.keys().next_back())
        else {
            unreachable!("a table has a row")
        };
        if last - first > LONGEST_S {
            let at = rows.column("at").unwrap_or(0);
            let row = rows.rows.iter().find(|row| row.at.second() == *last).unwrap_or(head);
            let expected = "no more than 7 days after the first row";
            return Err(rows.fault(row, "at", &row.cells[at], expected).into());
        }
        let mut holds: BTreeMap<u32, &super::table::Row> = BTreeMap::new();
        let mut counted: BTreeMap<u32, Counts> = BTreeMap::new();
        let mut seen = Vec::new();
        for second in *first..=*last {
            if let Some(rows) = by_second.get(&second) {
                holds.extend(rows.iter().map(|(position, row)| (*position, *row)));
            }
            let mut events = Vec::new();
            for (&position, row) in &holds {
                let id = TargetId(position);
                let number =
                    |name: &str| rows.column(name).map_or(Ok(f64::NAN), |at| rows.number(row, at));
                let count = |name: &str| match rows.column(name) {
                    Some(at) => rows.count(row, at),
                    None => Ok(None),
                };
                let mut values = [f64::NAN; Signal::ALL.len()];
                for signal in Signal::ALL {
                    values[signal as usize] = number(signal.name())?;
                }
                let (waiting, ready) = (count("waiting")?.unwrap_or(0), count("ready")?);
                let in_flight = count("in-flight")?.unwrap_or(0);
                if rows.column("ready").is_some() {
                    let counts = Counts { ready, starting: count("starting")?.unwrap_or(0) };
                    if counted.insert(position, counts) != Some(counts) {
                        events.push(Event::Counted(id, counts));
                    }
                }
                if values.iter().any(|value| !value.is_nan()) {
                    events.push(Event::Report(
                        id,
                        Report { second, values, in_flight, waiting, oldest_wait_ms: 0 },
                    ));
                }
                if waiting > 0 && ready == Some(0) {
                    events.push(Event::Waiting(id));
                }
            }
            // What is counted over a second is known at its end.
            seen.push(Observation {
                at: Time((second + 1) * 1_000),
                events,
                in_flight: Vec::new(),
            });
        }
        let options = Options {
            tick_ms: profile.cluster.tick_ms(),
            explains: true,
            gateway_is_always_in_path: true,
            ..Options::default()
        };
        let end = Time((last + 1) * 1_000);
        Ok(Observations { start, options, targets, seen, end })
    }

    /// What a journal saw. Settings of services and bounds are the journal's; those of the stages are `own_settings`.
    ///
    /// # Errors
    ///
    /// When it cannot be read to its end.
    pub(super) fn of_journal(
        from: impl BufRead,
        own_settings: &[serde_json::Value],
        placement_settings: &serde_json::Value,
    ) -> Result<Observations, ObserveError> {
        let (header, steps) = journal::read(from)?;
        let targets = header
            .targets
            .iter()
            .map(|spec| {
                let document = spec.scaling_settings.first().map_or("{}", String::as_str);
                let with = |document: &str, own: &serde_json::Value| {
                    let mut document: serde_json::Value =
                        serde_json::from_str(document).unwrap_or_else(|_| serde_json::json!({}));
                    document["settings"] = own.clone();
                    document.to_string()
                };
                let spec = TargetSpec {
                    owner: Owner::Other,
                    scaling_settings: own_settings.iter().map(|own| with(document, own)).collect(),
                    placement_settings: with(&spec.placement_settings, placement_settings),
                    ..spec.clone()
                };
                Target { spec, follows: false }
            })
            .collect();
        let mut lives: BTreeMap<ReplicaId, bool> = BTreeMap::new();
        let mut counted: BTreeMap<TargetId, Counts> = BTreeMap::new();
        let mut seen = Vec::new();
        let mut end = header.start;
        for step in steps {
            let step = step?;
            let mut events = Vec::new();
            let mut touched = Vec::new();
            for event in step.seen.events {
                match event {
                    Event::Nodes(_) => {}
                    Event::Replica(id, phase) => {
                        touched.push(id.target);
                        match phase {
                            Phase::Pulling | Phase::Loading => lives.insert(id, false),
                            Phase::Ready => lives.insert(id, true),
                            Phase::Draining | Phase::Gone | Phase::Failed { .. } => {
                                lives.remove(&id)
                            }
                        };
                    }
                    Event::Report(..)
                    | Event::Scraped(..)
                    | Event::Waiting(_)
                    | Event::Counted(..)
                    | Event::GatewayAnswers(..)
                    | Event::Pin { .. }
                    | Event::Unpin(_) => events.push(event),
                }
            }
            touched.sort_unstable();
            touched.dedup();
            for id in touched {
                let its = lives.iter().filter(|(replica, _)| replica.target == id);
                let ready = its.clone().filter(|(_, is_ready)| **is_ready).count() as u32;
                let counts = Counts { ready: Some(ready), starting: its.count() as u32 - ready };
                if counted.insert(id, counts) != Some(counts) {
                    events.push(Event::Counted(id, counts));
                }
            }
            end = step.seen.at;
            seen.push(Observation { at: step.seen.at, events, in_flight: Vec::new() });
        }
        let options = Options { explains: true, ..header.options };
        Ok(Observations { start: header.start, options, targets, seen, end })
    }

    /// When they begin.
    pub(super) fn start(&self) -> Time {
        self.start
    }

    /// Decides all of it.
    ///
    /// # Errors
    ///
    /// When the policies refuse a service.
    pub(super) fn decide(self, policies: Policies) -> Result<Observed, ObserveError> {
        let stages = policies.stages.into_iter().map(|(stage, _)| stage).collect();
        let mut engine =
            Engine::new(self.options.clone(), stages, policies.placement.0, policies.fallback)?;
        let follows: Vec<bool> = self.targets.iter().map(|target| target.follows).collect();
        // What the first moment says of replicas was so before anything was decided.
        let first = self.seen.first().map_or(&[][..], |seen| &seen.events);
        let counts = |position: u32| {
            let its = first.iter().find_map(|event| match event {
                Event::Counted(id, counts) if id.0 == position => Some(*counts),
                Event::Nodes(_)
                | Event::Report(..)
                | Event::Scraped(..)
                | Event::Waiting(_)
                | Event::Replica(..)
                | Event::Counted(..)
                | Event::GatewayAnswers(..)
                | Event::Pin { .. }
                | Event::Unpin(_) => None,
            });
            its.unwrap_or(Counts { ready: Some(0), starting: 0 })
        };
        let targets = self.targets.into_iter().zip(0..);
        let targets = targets.map(|(target, position)| (target.spec, counts(position)));
        engine.add_counted_targets(self.start, targets.collect())?;
        let mut services: Vec<Watched> = Vec::new();
        for TargetName { service, pool, .. } in engine.specs().map(|spec| &spec.name) {
            match services.last_mut().filter(|last| last.name == *service) {
                Some(last) => last.pools.push(pool.clone()),
                None => services.push(Watched {
                    name: service.clone(),
                    model: String::new(),
                    pools: vec![pool.clone()],
                }),
            }
        }
        let mut recorder = Recorder::new(self.start, self.options.tick_ms, services);
        let mut steps = 0;
        let mut ready = vec![0; follows.len()];
        let mut see = |engine: &mut Engine, seen: &Observation| {
            let plan = engine.step(seen);
            steps += 1;
            recorder.see(engine, seen, &plan, &NoBooks);
            plan.wake_at
        };
        let answers = |id| Event::GatewayAnswers(TargetId(id), true);
        let first = Observation {
            at: self.start,
            events: (0..follows.len() as u32).map(answers).collect(),
            in_flight: Vec::new(),
        };
        let mut wake_at = see(&mut engine, &first);
        for mut seen in self.seen {
            while wake_at < seen.at && wake_at > Time::ZERO {
                let nothing = Observation { at: wake_at, ..Observation::default() };
                let next = see(&mut engine, &nothing);
                // A plan never asks to be woken in the past; should one, it is not asked again.
                wake_at = if next > wake_at { next } else { seen.at };
            }
            for (position, _) in follows.iter().enumerate().filter(|(_, follows)| **follows) {
                let id = TargetId(position as u32);
                let desired = engine.view(id).desired;
                if std::mem::replace(&mut ready[position], desired) != desired {
                    seen.events
                        .push(Event::Counted(id, Counts { ready: Some(desired), starting: 0 }));
                }
            }
            wake_at = see(&mut engine, &seen);
        }
        let warnings = engine.warnings().to_vec();
        let record = recorder.finish(&NoBooks);
        Ok(Observed {
            services: record.services.into_iter().map(|(service, _)| service).collect(),
            failures: record.failures,
            steps,
            duration_s: self.end.since(self.start) as f64 / 1e3,
            warnings,
        })
    }
}

impl Observed {
    /// A number of all services, or of one, by its name in expectations.
    pub(super) fn number(&self, service: Option<&str>, name: &str) -> f64 {
        let its = self.services.iter().filter(|one| service.is_none_or(|name| one.name == name));
        let wanted = its.clone().flat_map(|one| &one.changes).map(|change| f64::from(change.to));
        match name {
            "rows" => self.steps as f64,
            "changes" => wanted.count() as f64,
            "failures" => {
                let notes = self.failures.iter().filter(|note| {
                    service.is_none_or(|name| note.services.iter().any(|one| one == name))
                });
                notes.map(|note| note.times).sum::<u64>() as f64
            }
            "wanted_min" => wanted.fold(f64::NAN, f64::min),
            "wanted_max" => wanted.fold(f64::NAN, f64::max),
            _ => f64::NAN,
        }
    }
}

/// Nothing runs, so nothing is in the books.
struct NoBooks;

impl Books for NoBooks {
    fn cost(&self, _: usize) -> f64 {
        0.0
    }

    fn take_longest_wait_us(&self, _: usize) -> u64 {
        0
    }

    fn classes(&self) -> &[ClassUse] {
        &[]
    }
}
