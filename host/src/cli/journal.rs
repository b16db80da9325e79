//! Journals as arguments: the engine that decides one again, with the policies that decided it then, and what `tidegate replay` does
//! with one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{self, Output, World};
use super::failure::{Exit, Failure};
use super::output::Terminal;
use super::{compare, inputs, policies};
use crate::again::recorded::{Recorded, recorded};
use crate::again::rehearsal::{Planned, Rehearsal, RehearsalError, Rehearsed};
use crate::again::{Account, AgainError, Decider, Taken};
use crate::chain::Chain;
use crate::definitions::model::Catalogue;
use crate::definitions::node::Fleet;
use crate::definitions::policies::{PoliciesDefinition, PolicyRef, StageDefinition};
use crate::definitions::profile::Profile;
use crate::definitions::service;
use crate::engine::{Engine, PLACEMENT, Stage, StagePolicy};
use crate::journal::{self, Entry, Found, Header, JournalError, Reader, component_path};
use crate::live::Cut;
use crate::policy::{builtin, digest_of};
use crate::replay::{Load, Setting};
use crate::report::{self, Style};
use crate::time::Time;

/// A journal that is read, with the components that decided it.
pub(super) struct Opened {
    shown: String,
    reader: Reader,
    components: Components,
}

impl Opened {
    /// Opens it. Components are looked for in this program, beside the journal, and in the policies file that is given.
    pub(super) fn new(path: &Path, world: &World) -> Result<Opened, Failure> {
        let shown = path.display().to_string();
        let reader = journal::open(path).map_err(|error| cannot_read(&shown, &error))?;
        Ok(Opened { shown, reader, components: Components::of(path, world)? })
    }

    /// The next of it, and what came of deciding that again. An engine is made where one is wanted. It is over before a step or a
    /// beginning later than `until`.
    pub(super) fn next(
        &mut self,
        decider: &mut Decider,
        until: Time,
    ) -> Result<Option<Taken>, Failure> {
        let Some(found) = self.reader.next() else { return Ok(None) };
        let found: Found = found.map_err(|error: JournalError| cannot_read(&self.shown, &error))?;
        if let Found::Entry(entry @ (Entry::Step(_) | Entry::Begin(_))) = &found
            && entry.at() > until
        {
            return Ok(None);
        }
        let taken = decider.take(found);
        if let Taken::Begin { begin, .. } = &taken {
            let engine = self.components.engine(&begin.header)?;
            decider.begin(engine, begin).map_err(|error| {
                let exit = match &error {
                    AgainError::Bind(error) => policies::exit_of(error),
                    AgainError::Journal(_) | AgainError::Restore(_) => Exit::Input,
                };
                Failure::new(exit, format!("cannot decide {} again", self.shown), &error)
            })?;
        }
        Ok(Some(taken))
    }

    /// Files of it that are left to read.
    pub(super) fn files_left(&self) -> usize {
        self.reader.files_left()
    }
}

fn cannot_read(shown: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Exit::Input, format!("cannot read the journal {shown}"), error)
}

/// Where the policies of a journal are looked for.
struct Components {
    known: Vec<(String, PolicyRef)>,
    /// A folder of segments, or the one that a file is in.
    beside: PathBuf,
    /// What decided last: what of it decides on is not loaded once more.
    last: Option<Chain>,
}

impl Components {
    fn of(path: &Path, world: &World) -> Result<Components, Failure> {
        let given = world.policies.as_ref().map(|_| inputs::chain(world)).transpose()?;
        let mut known: Vec<(String, PolicyRef)> = builtin::names()
            .filter_map(|name| {
                let component = builtin::builtin(name)?;
                Some((digest_of(component), PolicyRef::Builtin(name.to_owned())))
            })
            .collect();
        let files = given.iter().flat_map(|chain| {
            chain.scaling.iter().map(|stage| &stage.policy).chain([&chain.placement])
        });
        for file in files {
            if let PolicyRef::File(path) = file {
                let bytes = std::fs::read(path).map_err(|error| {
                    let what = format!("cannot read the policy {}", path.display());
                    Failure::new(Exit::Input, what, &error)
                })?;
                known.push((digest_of(&bytes), file.clone()));
            }
        }
        let beside = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
        Ok(Components { known, beside: beside.to_owned(), last: None })
    }

    fn find(&self, stage: &str, digest: &str) -> Result<PolicyRef, Failure> {
        if let Some((_, policy)) = self.known.iter().find(|(known, _)| known == digest) {
            return Ok(policy.clone());
        }
        let kept = component_path(&self.beside, digest);
        // A file by that name is taken only for what it is.
        if std::fs::read(&kept).is_ok_and(|bytes| digest_of(&bytes) == digest) {
            return Ok(PolicyRef::File(kept));
        }
        let name = kept.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Err(Failure::plain(
            Exit::Input,
            format!("{stage} was decided by {digest}, which is not here"),
        )
        .hint(format!(
            "it is no policy of this program's; copy its component to components/{name} beside the journal"
        )))
    }

    /// The chain that a header tells of, with the settings of its first target.
    fn chain(&self, header: &Header) -> Result<PoliciesDefinition, Failure> {
        let mut chain = PoliciesDefinition {
            limits: header.chain_limits(),
            scaling: Vec::new(),
            ..PoliciesDefinition::builtin()
        };
        let first = header.targets.first();
        let own = |document: &str| {
            let document: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
            document.get("settings").cloned().unwrap_or_else(|| serde_json::json!({}))
        };
        for policy in &header.policies {
            let reference = self.find(&policy.stage, &policy.digest)?;
            if policy.stage == PLACEMENT {
                chain.placement = reference;
                if let Some(target) = first {
                    chain.placement_settings = own(&target.placement_settings);
                }
                continue;
            }
            let document = first.and_then(|one| one.scaling_settings.get(chain.scaling.len()));
            chain.scaling.push(StageDefinition {
                name: policy.stage.clone(),
                policy: reference,
                settings: document.map_or_else(|| serde_json::json!({}), |document| own(document)),
                on_failure: policy.on_failure,
                fallback: self.fallback(policy)?,
            });
        }
        Ok(chain)
    }

    fn fallback(&self, policy: &StagePolicy) -> Result<Option<String>, Failure> {
        let Some(digest) = policy.fallback.as_ref().filter(|_| policy.stage != PLACEMENT) else {
            return Ok(None);
        };
        match self.find(&format!("the fallback of {}", policy.stage), digest)? {
            PolicyRef::Builtin(name) => Ok(Some(name)),
            PolicyRef::File(path) => Err(Failure::plain(
                Exit::Input,
                format!(
                    "the fallback of {} is {}, expected a built-in policy",
                    policy.stage,
                    path.display()
                ),
            )),
        }
    }

    /// An engine with the policies of a journal, found by their digests.
    fn engine(&mut self, header: &Header) -> Result<Engine, Failure> {
        let known: Vec<&Chain> = self.last.iter().collect();
        let chain = policies::loaded(&self.chain(header)?, &known)?;
        let loaded = chain.policies();
        self.last = Some(chain);
        let stages: Vec<Stage> = loaded.stages.into_iter().map(|(stage, _)| stage).collect();
        Engine::new(header.options.clone(), stages, loaded.placement.0, loaded.fallback).map_err(
            |error| {
                let what = "the placement policy cannot say which columns it wants";
                Failure::new(Exit::Policy, what, &error)
            },
        )
    }
}

/// `tidegate replay JOURNAL`.
pub(super) fn replay(args: &args::Replay, terminal: &Terminal) -> Result<(), Failure> {
    let path = &args.inputs.traces[0];
    if args.inputs.traces.len() > 1 {
        let what = format!("{} is a journal, which is replayed alone", path.display());
        return Err(Failure::plain(Exit::Input, what)
            .hint("`tidegate trace export` makes a trace of it, which can be merged with others"));
    }
    let world = &args.inputs.world;
    if !args.swaps.is_empty() && world.policies.is_some() {
        let what = "--swap rehearses on what decided then, and --policies replaces that";
        return Err(Failure::plain(Exit::Input, what));
    }
    match (&args.policy, &world.policies) {
        (Some(other), _) => return what_if(args, other, terminal),
        (None, Some(other)) => return what_if(args, &other.display().to_string(), terminal),
        (None, None) => {}
    }
    let mut opened = Opened::new(path, world)?;
    let mut decider = Decider::default();
    let mut account = Account::default();
    let mut swaps = (!args.swaps.is_empty()).then_some(args.swaps.as_slice());
    let mut rehearsal = Rehearsal::new([]);
    let files = opened.files_left() as u64;
    let bar = terminal.progress(Some(files));
    let mut segment = String::new();
    while let Some(taken) = opened.next(&mut decider, Time::NEVER)? {
        if let Taken::Segment(name) = &taken {
            segment.clone_from(name);
            bar.set_position(files - opened.files_left() as u64);
        }
        if let (Taken::Begin { begin, .. }, Some(texts)) = (&taken, swaps) {
            rehearsal = Rehearsal::new(planned(texts, begin.at)?);
            swaps = None;
        }
        account.see(&taken, &segment, decider.engine().as_deref());
        rehearsal.see(&taken, &mut decider, &mut account).map_err(|error| {
            let exit = match &error {
                RehearsalError::Bind(error) => policies::exit_of(error),
                RehearsalError::Placement(_) => Exit::Policy,
                RehearsalError::Restore(_) | RehearsalError::Shadow(_) => Exit::Input,
            };
            Failure::new(exit, "the swap would be refused", &error)
        })?;
        if !account.is_same() {
            break;
        }
    }
    bar.finish_and_clear();
    let style = Style { colour: terminal.has_colors, width: terminal.width() };
    let limit = (!args.all).then_some(report::LINES);
    terminal.print(&match args.output {
        Output::Json => serde_json::to_string_pretty(&account).expect("every key is text") + "\n",
        Output::Text => report::account(&account, style, limit),
    })?;
    if !account.is_same() {
        return Err(Failure::of_checks());
    }
    if let Some(late) = rehearsal.ahead().next() {
        let what = format!("the journal is over before {} could take over", late.named);
        return Err(Failure::plain(Exit::Input, what));
    }
    let failed = |swap: &&Rehearsed| swap.refused.is_some() || swap.failed_steps > 0;
    if let Some(swap) = account.swaps.iter().find(failed) {
        let what = format!("{} failed where it was rehearsed", swap.policies);
        let causes = swap.refused.iter().chain(&swap.failures).cloned();
        return Err(Failure::plain(Exit::Policy, what).causes(causes));
    }
    Ok(())
}

/// The swaps that are to be rehearsed, loaded.
fn planned(texts: &[String], start: Time) -> Result<Vec<Planned>, Failure> {
    let load = |(at, named, chain): compare::Swap| {
        Ok(Planned { at, named, chain: policies::loaded(&chain, &[])? })
    };
    super::replay::swaps(texts, start)?.into_iter().map(load).collect()
}

/// What would have happened: the recorded requests through a simulator, once with the policies of then and once with `other`.
fn what_if(args: &args::Replay, other: &str, terminal: &Terminal) -> Result<(), Failure> {
    let path = &args.inputs.traces[0];
    let shown = path.display().to_string();
    let opened = journal::open(path).map_err(|error| cannot_read(&shown, &error))?;
    let bar = terminal.progress(None);
    bar.set_message("reading");
    let load = recorded(opened, None).map_err(|error| cannot_read(&shown, &error))?;
    bar.finish_and_clear();
    let recorded = Arc::new(load);
    tell_what_is_assumed(&recorded, terminal);
    let chain = Components::of(path, &args.inputs.world)?.chain(&recorded.header)?;
    terminal.remark(
        "what follows is simulated, A too: replicas, their starts and their speed are the simulator's, only the requests are those of the journal\n",
    );
    let then = compare::Recording { recorded, shown };
    compare::recorded(&then, chain, other, &args.inputs.world, args.output, terminal)
}

/// Says what of a journal's load is not as it was.
pub(super) fn tell_what_is_assumed(load: &Recorded, terminal: &Terminal) {
    if load.assumed > 0 {
        terminal.remark(&format!(
            "warning: {} of {} requests were not served, so what they asked for is not known: the median of their service is assumed\n",
            report::grouped(load.assumed),
            report::grouped(load.items.len() as u64)
        ));
    }
    if load.left_out > 0 {
        terminal.remark(&format!(
            "warning: {} further requests are only counted in the journal and are missing here\n",
            report::grouped(load.left_out)
        ));
    }
    if load.gaps > 0 {
        terminal.remark(&format!(
            "warning: the journal lacks entries in {} places, and with them requests\n",
            load.gaps
        ));
    }
}

/// What a replay of a journal's requests is given: what the run was configured with, as far as the journal says so.
pub(super) fn setting(then: &compare::Recording, world: &World) -> Result<Setting, Failure> {
    let Recorded { header, start, services, items, end_us, .. } = &*then.recorded;
    let sources = header.sources.clone().unwrap_or_default();
    let wrong = |what: &str, error: &(dyn std::error::Error + 'static)| {
        Failure::new(Exit::Input, format!("cannot use the {what} in {}", then.shown), error)
    };
    // What is named on the command line wins; a default is no name.
    let told = |error: crate::definitions::DefinitionError, what: &str| wrong(what, &error);
    let catalogue = match (&world.models, &sources.models) {
        (Some(path), _) => Catalogue::read(path).map_err(|error| told(error, "models"))?.0,
        (None, None) => Catalogue::builtin(),
        (None, Some(file)) => {
            let read = Catalogue::builtin().parse(&file.text, &file.name);
            read.map_err(|error| wrong("models", &error))?.0
        }
    };
    let mut defined = Vec::new();
    if let Some(path) = &world.services {
        let read = service::read_live(path, &catalogue);
        defined.extend(read.map_err(|error| told(error, "services"))?.services);
    }
    for file in sources.services.iter().filter(|_| world.services.is_none()) {
        let read = service::parse_live(&file.text, &file.name, &catalogue);
        defined.extend(read.map_err(|error| wrong("services", &error))?.services);
    }
    let fleet = match (&world.nodes, &sources.nodes) {
        (Some(path), _) => Fleet::read(path).map_err(|error| told(error, "nodes"))?.0,
        (None, None) => Fleet::builtin(),
        (None, Some(file)) => {
            let read = Fleet::parse(&file.text, &file.name);
            read.map_err(|error| wrong("nodes", &error))?.0
        }
    };
    // GPUs are shared as they were then.
    let cut = Cut::new(&fleet, &defined).map_err(|error| wrong("services", &error))?;
    for service in &mut defined {
        // The requests of a journal are the services', whatever trace a service names.
        (service.needs, service.gpu_share, service.trace) = (cut.needs(service), None, None);
    }
    let machines = cut.parts.into_iter().map(|part| part.machine).collect();
    let fleet = Fleet { machines, ..fleet };
    let own = serde_json::to_string(&sources.profile_settings).expect("every key is text");
    let profile = if header.sources.is_none() || world.names_profile {
        Profile::find(&world.profile)
    } else {
        Profile::parse(&own, &sources.profile)
    };
    let (items, services) = (items.clone(), services.clone());
    Ok(Setting {
        load: Load { services, end_us: *end_us, items: Box::new(items.into_iter().map(Ok)) },
        traces: vec![then.shown.clone()],
        services: defined,
        catalogue,
        fleet,
        profile: profile.map_err(|error| wrong("profile", &error))?.0,
        faults: crate::backend::sim::Faults::default(),
        seed: world.seed.clone(),
        start: Time(start.0),
        until_ms: None,
        explains: true,
        makes_room: header.options.makes_room,
        warnings: Vec::new(),
    })
}
