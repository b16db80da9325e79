//! Puts a replay together: recorded load, services, nodes, a profile and a chain of policies become an engine over a simulator, and a
//! run of it becomes an outcome. It decides nothing and prints nothing.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

use crate::backend::Backend;
use crate::backend::sim::{self, Faults, Sim, SimError, SimInput, SimInputError, SimService};
use crate::definitions::model::Catalogue;
use crate::definitions::node::Fleet;
use crate::definitions::profile::Profile;
use crate::definitions::service::Service;
use crate::definitions::settings::{LimitsError, PoolLimits};
use crate::engine::{
    BindTargetError, Bounds, Engine, Observation, Options, Owner, Plan, Stage, TargetId,
    TargetName, TargetSpec,
};
use crate::gateway::Limits;
use crate::journal::{API_VERSION, Begin, Header, Journal, Succession};
use crate::ledger::{Outcome, PolicyNote, Setup, Sums, SwapNote};
use crate::policy::{CallError, PlacementPolicy};
use crate::recorder::{Record, Recorder, Watched};
use crate::run::{Watch, run};
use crate::seed::Seed;
use crate::swap::lines;
use crate::time::Time;
use crate::trace::{Item, Merged, TraceError};

/// Whose the services of a replay are.
const TENANT: &str = "default";
const MICROSECONDS: f64 = 1e6;

/// All that a replay is given, beside the policies.
pub struct Setting {
    /// What arrives.
    pub load: Load,
    /// How the files of the load were named.
    pub traces: Vec<String>,
    /// The services that are defined. Load of another service gets a default one.
    pub services: Vec<Service>,
    /// The models that there are.
    pub catalogue: Catalogue,
    /// The nodes.
    pub fleet: Fleet,
    /// The cluster's settings.
    pub profile: Profile,
    /// What goes wrong.
    pub faults: Faults,
    /// The word that all randomness comes from.
    pub seed: String,
    /// When the trace begins.
    pub start: Time,
    /// How long the run may take in its own time. Milliseconds.
    pub until_ms: Option<u64>,
    /// Whether changes are told in the policies' words, which costs a call each.
    pub explains: bool,
    /// Whether idle replicas leave where a service that waits finds no place.
    pub makes_room: bool,
    /// What people should know of the files that were read.
    pub warnings: Vec<String>,
}

/// The policies of a replay.
pub struct Policies {
    /// The scaling stages, in order, each with its own settings.
    pub stages: Vec<(Stage, serde_json::Value)>,
    /// The placement policy, and its own settings.
    pub placement: (Box<dyn PlacementPolicy>, serde_json::Value),
    /// What places where that fails.
    pub fallback: Option<Box<dyn PlacementPolicy>>,
    /// What each of them may take; `None`: they run in no sandbox.
    pub limits: Option<crate::policy::ChainLimits>,
}

/// A replay that cannot be, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Two services want the load of one.
    #[error("services {first} and {second} both want the load of {load}")]
    LoadTwice {
        /// The load's name.
        load: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A service's settings do not go with the profile.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The policies refuse a service.
    #[error(transparent)]
    Bind(#[from] BindTargetError),
    /// The placement policy does not say what it wants.
    #[error("the placement policy cannot say which columns it wants")]
    Placement(#[from] CallError),
    /// The faults are not in order.
    #[error(transparent)]
    Faults(#[from] SimInputError),
    /// The load could not be read to its end.
    #[error(transparent)]
    Load(#[from] SimError<TraceError>),
}

/// What arrives in a replay.
pub struct Load {
    /// Whose it is, by position.
    pub services: Vec<String>,
    /// When it is over. Microseconds since the start.
    pub end_us: u64,
    /// What arrives, in order of time.
    pub items: Items,
}

/// What arrives, in order of time.
pub type Items = Box<dyn Iterator<Item = Result<Item, TraceError>>>;

impl From<&Merged> for Load {
    fn from(traces: &Merged) -> Load {
        Load {
            services: traces.services().to_vec(),
            end_us: traces.end_us(),
            items: Box::new(traces.items()),
        }
    }
}

/// A replay, ready to run.
pub struct Replay {
    engine: Engine,
    sim: Sim<Items>,
    /// What the policies may take.
    policy_limits: Option<crate::policy::ChainLimits>,
    setup: Setup,
    services: Vec<Watched>,
    warnings: Vec<String>,
    start: Time,
    /// When the load is over.
    load_ends: Time,
    /// No step is made after that.
    last: Time,
    /// The services with their pools, and the profile: what engines are told of the targets.
    served: Vec<(Service, Vec<PoolLimits>)>,
    profile: Profile,
    /// What takes over in the middle, in order of time.
    swaps: VecDeque<Swapping>,
}

/// A chain of policies that takes over at a moment.
struct Swapping {
    at: Time,
    named: String,
    engine: Engine,
    limits: Option<crate::policy::ChainLimits>,
}

/// A simulator that ends after a moment. It is cut off before a step, so that the steps until then are those of a whole run.
struct Until<'a> {
    sim: &'a mut Sim<Items>,
    last: Time,
    /// When the next chain takes over: a step is made then.
    swaps_at: Time,
}

impl Backend for Until<'_> {
    type Error = SimError<TraceError>;

    async fn advance(&mut self, wake_at: Time) -> Result<Option<Observation>, Self::Error> {
        let seen = self.sim.advance(wake_at.min(self.swaps_at)).await?;
        Ok(seen.filter(|seen| seen.at <= self.last))
    }

    fn apply(&mut self, plan: &Plan) {
        self.sim.apply(plan);
    }
}

impl Replay {
    /// Puts a replay together.
    ///
    /// # Errors
    ///
    /// When services, bounds, settings or faults are not in order; nothing has run then.
    pub fn new(setting: Setting, policies: Policies) -> Result<Replay, ReplayError> {
        let Setting { load, profile, start, mut warnings, .. } = setting;
        let services =
            with_defaults(setting.services, &load.services, &setting.catalogue, &mut warnings)?;
        let tick_ms = profile.cluster.tick_ms();
        let options = Options {
            tick_ms,
            explains: setting.explains,
            makes_room: setting.makes_room,
            ..Options::default()
        };
        let mut served = Vec::with_capacity(services.len());
        let mut simulated = Vec::with_capacity(services.len());
        for (service, _) in &services {
            let pools = service.pools(&profile.settings)?;
            let settled =
                |bounds: Bounds| bounds.min.max(u32::from(!profile.cluster.enable_scale_to_zero));
            simulated.push(SimService {
                name: service.name.clone(),
                pools: pools.iter().map(|pool| pool.name.clone()).collect(),
                wakes: pools.iter().position(|pool| pool.wakes).unwrap_or(0),
                model: service.model.clone(),
                needs: service.needs,
                limits: Limits {
                    concurrency: service.container_concurrency,
                    queue: service.queue_limit,
                    queue_bytes: None,
                    timeout_us: Some((service.timeout_s * MICROSECONDS) as u64),
                },
                grace_us: None,
                settled_at: pools.iter().map(|pool| settled(pool.limits.bounds)).sum(),
            });
            served.push((service.clone(), pools));
        }
        let policy_limits = policies.limits.clone();
        let engine = engine_of(policies, options, (&served, &profile), start)?;
        // What the readers of profile and services said, every policy says again.
        let is_said = |warning: &&String| {
            warning.contains(": profile.") || warning.contains(": service.annotations.")
        };
        let of_policies = engine.warnings().iter().filter(|warning| !is_said(warning));
        warnings.extend(of_policies.cloned());
        warnings.extend(setting.faults.faults.iter().map(|fault| format!("played: {fault}")));

        let setup = Setup {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            simulator: sim::MODEL_VERSION,
            seed: setting.seed.clone(),
            profile: profile.name.clone(),
            tick_ms,
            start_ms: start.0,
            duration_s: 0.0,
            traces: setting.traces,
            policies: policy_notes(&engine),
            nodes: setting.fleet.machines.len() as u32,
            gpus: setting
                .fleet
                .machines
                .iter()
                .map(|one| one.node.allocatable.gpus)
                .fold(0, u32::saturating_add),
        };
        let load_ends = start + load.end_us.div_ceil(1_000);
        let items = renamed(load, &services);
        let input = SimInput {
            start,
            seed: Seed::new(&setting.seed),
            fleet: setting.fleet,
            services: simulated,
            faults: setting.faults,
            tick_ms,
            until: setting.until_ms.map(|ms| start + ms),
        };
        let pools: Vec<Vec<String>> =
            input.services.iter().map(|service| service.pools.clone()).collect();
        let sim = Sim::new(input, items)?;
        let services = services
            .into_iter()
            .zip(pools)
            .map(|((service, _), pools)| Watched {
                name: service.name,
                model: service.model.name,
                pools,
            })
            .collect();
        Ok(Replay {
            engine,
            sim,
            policy_limits,
            setup,
            services,
            warnings,
            start,
            load_ends,
            last: Time::NEVER,
            served,
            profile,
            swaps: VecDeque::new(),
        })
    }

    /// Lets other policies, from the file `named`, take over at `at`, as a swap of a live run does.
    ///
    /// # Errors
    ///
    /// When they refuse a service's settings.
    pub fn swap(&mut self, at: Time, named: &str, policies: Policies) -> Result<(), ReplayError> {
        let (limits, options) = (policies.limits.clone(), self.engine.options().clone());
        let served = (self.served.as_slice(), &self.profile);
        let engine = engine_of(policies, options, served, self.start)?;
        self.swaps.push_back(Swapping { at, named: named.to_owned(), engine, limits });
        self.swaps.make_contiguous().sort_by_key(|swap| swap.at);
        Ok(())
    }

    /// Has it said where replicas of a target go, whichever engine decides.
    pub fn watch(&mut self, target: TargetId) {
        self.engine.watch(target);
        self.swaps.iter_mut().for_each(|swap| swap.engine.watch(target));
    }

    /// What is worth a warning before it runs.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// When it begins.
    pub fn start(&self) -> Time {
        self.start
    }

    /// Its engine, which has made no step yet.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Lets it end after the last step at `moment` or before, which are the steps that it would have made anyway.
    pub fn end_after(&mut self, moment: Time) {
        self.last = moment;
    }

    /// How long the load is. Milliseconds.
    pub fn load_ms(&self) -> u64 {
        self.load_ends.since(self.start)
    }

    /// Runs to the end. `progress` hears how far the run has come, in milliseconds of its own time. With a `journal`, every step is
    /// written there; what kept it from that is among the warnings.
    ///
    /// # Errors
    ///
    /// When the load cannot be read to its end.
    pub fn run(
        self,
        journal: Option<&mut dyn Write>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Outcome, ReplayError> {
        let start = self.start;
        let mut watch =
            |_: &mut Engine, seen: &Observation, _: &Plan| progress(seen.at.since(start));
        self.run_watched(journal, &mut watch).map(|(outcome, _)| outcome)
    }

    /// The same; `watch` sees every step once it is planned, and the engine is handed back as it is in the end.
    ///
    /// # Errors
    ///
    /// When the load cannot be read to its end.
    pub fn run_watched(
        mut self,
        journal: Option<&mut dyn Write>,
        watch: &mut dyn FnMut(&mut Engine, &Observation, &Plan),
    ) -> Result<(Outcome, Engine), ReplayError> {
        let mut journal = match journal {
            None => Journal::none(),
            Some(to) => Journal::new(to, &Header::of(&self.engine, self.start, self.policy_limits)),
        };
        let recorder = Recorder::new(self.start, self.setup.tick_ms, self.services);
        let swaps_at = self.swaps.front().map_or(Time::NEVER, |swap| swap.at);
        let mut seeing =
            Seeing { recorder, watch, start: self.start, swaps: self.swaps, swapped: Vec::new() };
        let mut world = Until { sim: &mut self.sim, last: self.last, swaps_at };
        let running = run(&mut self.engine, &mut world, &mut journal, &mut seeing);
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers needs nothing from the system")
            .block_on(running)?;
        if let Some(error) = journal.finish() {
            self.warnings.push(format!("the journal ends early: {error}"));
        }
        for late in &seeing.swaps {
            self.warnings.push(format!(
                "the run was over before {} could take over at {} s",
                late.named,
                late.at.since(self.start) as f64 / 1e3
            ));
        }
        let record = seeing.recorder.finish(&self.sim);
        let outcome = outcome(self.setup, self.warnings, &self.sim, record);
        Ok((Outcome { swaps: seeing.swapped, ..outcome }, self.engine))
    }
}

/// Watches a run, and lets other chains take over.
struct Seeing<'a> {
    recorder: Recorder,
    watch: &'a mut dyn FnMut(&mut Engine, &Observation, &Plan),
    start: Time,
    swaps: VecDeque<Swapping>,
    swapped: Vec<SwapNote>,
}

impl Watch<Until<'_>> for Seeing<'_> {
    fn after(
        &mut self,
        engine: &mut Engine,
        seen: &Observation,
        plan: &Plan,
        world: &mut Until<'_>,
        journal: &mut Journal<'_>,
    ) {
        self.recorder.see(engine, seen, plan, world.sim);
        (self.watch)(engine, seen, plan);
        while self.swaps.front().is_some_and(|swap| swap.at <= seen.at) {
            let Some(swap) = self.swaps.pop_front() else { return };
            self.swap(swap, engine, seen.at, journal);
        }
        world.swaps_at = self.swaps.front().map_or(Time::NEVER, |swap| swap.at);
    }
}

impl Seeing<'_> {
    fn swap(&mut self, swap: Swapping, engine: &mut Engine, at: Time, journal: &mut Journal<'_>) {
        let Swapping { named, engine: mut next, limits, .. } = swap;
        let snapshot = engine.snapshot();
        let restored = next.restore(at, &snapshot);
        let (told, refused) = match &restored {
            Ok(restored) => {
                let failed = restored.born_anew.iter().find(|anew| anew.has_failed);
                (lines(restored), failed.map(|anew| format!("{}: {}", anew.stage, anew.why)))
            }
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let stages = policy_notes(&next);
        if refused.is_none() {
            *engine = next;
            let why = format!("{named} takes over");
            journal.begin(Begin {
                succession: Some(Succession { who: "a rehearsal".to_owned(), why }),
                ..Begin::from_snapshot(at, Header::of(engine, at, limits), snapshot)
            });
        }
        let at_s = at.since(self.start) as f64 / 1e3;
        self.swapped.push(SwapNote { at_s, policies: named, stages, told, refused });
    }
}

fn policy_notes(engine: &Engine) -> Vec<PolicyNote> {
    let note = |policy: crate::engine::StagePolicy| PolicyNote {
        stage: policy.stage,
        digest: policy.digest,
    };
    engine.policies().into_iter().map(note).collect()
}

/// An engine that asks `policies` about services whose targets begin at `start`.
fn engine_of(
    policies: Policies,
    options: Options,
    (served, profile): (&[(Service, Vec<PoolLimits>)], &Profile),
    start: Time,
) -> Result<Engine, ReplayError> {
    let (stages, own): (Vec<Stage>, Vec<_>) = policies.stages.into_iter().unzip();
    let (placement, placement_settings) = policies.placement;
    let mut engine = Engine::new(options, stages, placement, policies.fallback)?;
    let specs = served.iter().flat_map(|(service, pools)| {
        let settings = (own.as_slice(), &placement_settings);
        target_specs(service, pools.clone(), Owner::Tidegate, settings, profile)
    });
    engine.add_targets(start, specs.collect())?;
    Ok(engine)
}

/// What the engine is told about the pools of `service`, with the settings of the stages and those of the placement policy.
pub(crate) fn target_specs(
    service: &Service,
    pools: Vec<PoolLimits>,
    owner: Owner,
    (own_settings, placement_settings): (&[serde_json::Value], &serde_json::Value),
    profile: &Profile,
) -> Vec<TargetSpec> {
    let spec = |pool: PoolLimits| TargetSpec {
        name: TargetName { pool: pool.name, ..TargetName::of_service(&service.name) },
        tenant: TENANT.to_owned(),
        owner,
        bounds: pool.limits.bounds,
        activation: pool.limits.activation,
        is_reachable: Some(true),
        scaling_settings: own_settings
            .iter()
            .map(|own| service.scaling_document(own, &profile.settings))
            .collect(),
        placement_settings: service.placement_document(
            &pool.pod,
            placement_settings,
            &profile.settings,
        ),
        needs: service.needs,
        weights_bytes: (service.model.weights_gb * 1e9) as u64,
    };
    pools.into_iter().map(spec).collect()
}

/// The sums of the simulator and the record of the decisions as one document.
fn outcome(
    mut setup: Setup,
    mut warnings: Vec<String>,
    sim: &Sim<Items>,
    record: Record,
) -> Outcome {
    let Record {
        services: recorded,
        classes,
        failures,
        changes_left_out,
        failures_left_out,
        end: _,
    } = record;
    for (left_out, what) in [(changes_left_out, "changes"), (failures_left_out, "failures")] {
        if left_out > 0 {
            warnings.push(format!("{left_out} further {what} are not listed"));
        }
    }
    setup.duration_s = sim.at().since(Time(setup.start_ms)) as f64 / 1e3;
    let mut sums = Sums { whole: sim.whole_summary(), services: BTreeMap::new() };
    let mut services = Vec::with_capacity(recorded.len());
    for (position, (service, panics)) in recorded.into_iter().enumerate() {
        let mut summary = sim.summary(position);
        summary.panics = panics;
        sums.whole.panics += panics;
        sums.services.insert(service.name.clone(), summary);
        services.push(service);
    }
    Outcome {
        api_version: API_VERSION.to_owned(),
        kind: "Replay".to_owned(),
        setup,
        summary: sums,
        services,
        classes,
        failures,
        swaps: Vec::new(),
        warnings,
    }
}

/// What to write where a service gets the load of another name.
pub(crate) fn annotated(load: &str) -> String {
    format!("annotate that with tidegate.dev/trace: {}", serde_json::json!(load))
}

/// The services sorted by name, each with the name of the load it gets; load without a service gets a default one.
fn with_defaults(
    defined: Vec<Service>,
    loads: &[String],
    catalogue: &Catalogue,
    warnings: &mut Vec<String>,
) -> Result<Vec<(Service, String)>, ReplayError> {
    let mut by_load: BTreeMap<String, Service> = BTreeMap::new();
    let mut idle = None;
    for service in defined {
        let load = service.trace.clone().unwrap_or_else(|| service.name.clone());
        if !loads.contains(&load) {
            warnings.push(format!(
                "service {} gets no load: no trace has {load}, they have {}",
                service.name,
                first_few(loads)
            ));
            idle.get_or_insert(service.name.clone());
        }
        if let Some(first) = by_load.get(&load) {
            let (first, second) = (first.name.clone(), service.name);
            return Err(ReplayError::LoadTwice { load, first, second });
        }
        by_load.insert(load, service);
    }
    let missing: Vec<&String> = loads.iter().filter(|load| !by_load.contains_key(*load)).collect();
    if let Some(first) = missing.first() {
        let others = match missing.len() {
            1 => String::new(),
            more => format!(" and {} more", more - 1),
        };
        let default = Service::default_for(first, catalogue);
        warnings.push(format!(
            "no service is defined for the load of {first}{others}: {} on {} GPU, {} requests a replica is assumed{}",
            default.model.name,
            default.needs.gpus,
            default.container_concurrency,
            idle.map_or(String::new(), |idle| format!("; if it is that of {idle}, {}", annotated(first)))
        ));
    }
    for load in missing {
        by_load.insert(load.clone(), Service::default_for(load, catalogue));
    }
    let mut services: Vec<(Service, String)> =
        by_load.into_iter().map(|(load, service)| (service, load)).collect();
    services.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    Ok(services)
}

/// The items of `load`, with the positions of the services that get them.
fn renamed(load: Load, services: &[(Service, String)]) -> Items {
    let position = |load: &String| {
        let position = services.iter().position(|(_, wanted)| wanted == load);
        position.expect("every load has a service") as u32
    };
    let positions: Vec<u32> = load.services.iter().map(position).collect();
    Box::new(load.items.map(move |item| {
        item.map(|item| match item {
            Item::Arrival { at_us, service, work } => {
                Item::Arrival { at_us, service: positions[service as usize], work }
            }
            Item::Offered { at_us, service, concurrency } => {
                Item::Offered { at_us, service: positions[service as usize], concurrency }
            }
        })
    }))
}

/// The first few of some names.
fn first_few(names: &[String]) -> String {
    let named = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{named} and {} more", names.len() - 3) } else { named }
}
