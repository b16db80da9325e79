//! Which suites a command is about, and how a case becomes what the suite library runs: files read, policies loaded once for all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::args::World;
use super::failure::{Exit, Failure};
use super::{inputs, policies};
use crate::definitions::policies::{PoliciesDefinition, PolicyRef, StageDefinition};
use crate::definitions::suite::{
    Around, Asked, CaseDefinition, CaseKind, LoadSource, PoliciesSource,
};
use crate::engine::{OnFailure, PLACEMENT};
use crate::policy::{ChainLimits, Limits, Package, Sandbox};
use crate::replay::Load;
use crate::seed::Seed;
use crate::suite::chain::{Chain, Packages};
use crate::suite::{Broken, Fault, Made, MadeAround};
use crate::trace::Merged;

/// Folders below the current one in which suites are looked for.
const DEPTH: usize = 12;

/// What the words of a command line choose: suites by their files and folders, cases by parts of their names.
pub(super) struct Chosen {
    /// Suite files, in order.
    pub(super) suites: Vec<PathBuf>,
    /// Parts of names, in lower case; a case is chosen if it has one of them. None: all are.
    parts: Vec<String>,
}

impl Chosen {
    /// What `words` choose. A word that is a file or a folder, or looks like one, names suites; another one is a part of a name.
    pub(super) fn of(words: &[String]) -> Result<Chosen, Failure> {
        let (mut suites, mut parts, mut has_paths) = (Vec::new(), Vec::new(), false);
        for word in words {
            let path = Path::new(word);
            if path.is_dir() {
                has_paths = true;
                find(path, DEPTH, &mut suites)?;
            } else if path.is_file() || word.ends_with(".yaml") || word.ends_with(".yml") {
                has_paths = true;
                suites.push(path.to_owned());
            } else {
                parts.push(word.to_lowercase());
            }
        }
        if !has_paths {
            find(Path::new("."), DEPTH, &mut suites)?;
        }
        suites.sort();
        suites.dedup();
        if suites.is_empty() {
            let what =
                "there is no suite here: no file suite.yaml and none that ends in .suite.yaml";
            return Err(Failure::plain(Exit::Input, what)
                .hint("name one, or go to the folder that has one; docs/test-a-policy.md says how to write it"));
        }
        Ok(Chosen { suites, parts })
    }

    /// Whether a case of that name in that suite is chosen.
    pub(super) fn has(&self, suite: &Path, case: &str) -> bool {
        let name = format!("{}: {case}", suite.display()).to_lowercase();
        self.parts.is_empty() || self.parts.iter().any(|part| name.contains(part))
    }

    /// What to say where nothing is chosen of `names`.
    pub(super) fn nothing<'a>(&self, what: &str, names: impl Iterator<Item = &'a str>) -> Failure {
        let known: Vec<&str> = names.collect();
        let parts = self.parts.join(" or ");
        let failure = Failure::plain(Exit::Input, format!("no {what} has {parts} in its name"));
        let nearest = self
            .parts
            .iter()
            .find_map(|part| tidegate_settings::nearest(part, known.iter().copied()));
        match nearest {
            Some(nearest) => failure.hint(format!("did you mean {nearest}?")),
            None if known.is_empty() => failure,
            None => failure.hint(format!("there are {}", known.join(", "))),
        }
    }
}

/// The suites in a folder and those below it, without what is hidden or built.
fn find(folder: &Path, depth: usize, suites: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let fails = |error: std::io::Error| {
        Failure::new(Exit::Environment, format!("cannot look into {}", folder.display()), &error)
    };
    for entry in std::fs::read_dir(folder).map_err(fails)? {
        let entry = entry.map_err(fails)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder == Path::new(".") { PathBuf::from(&name) } else { entry.path() };
        let kind = entry.file_type().map_err(fails)?;
        if kind.is_dir() {
            let is_left_out = name.starts_with('.') || name == "target" || name == "node_modules";
            if depth > 0 && !is_left_out {
                find(&path, depth - 1, suites)?;
            }
        } else if name == "suite.yaml" || name == "suite.yml" || name.ends_with(".suite.yaml") {
            suites.push(path);
        }
    }
    Ok(())
}

/// Makes cases. Components are read, compiled and linked once and shared by all cases.
#[derive(Default)]
pub(super) struct Maker {
    sandboxes: Mutex<BTreeMap<Limits, Shared>>,
}

struct Shared {
    sandbox: Sandbox,
    packages: BTreeMap<PolicyRef, Arc<Package>>,
}

impl Maker {
    /// What `case` is made of.
    pub(super) fn make(&self, case: &CaseDefinition) -> Result<Made, Broken> {
        self.made(case).map_err(broken)
    }

    fn made(&self, case: &CaseDefinition) -> Result<Made, Failure> {
        let around = &case.around;
        let world = world(around);
        let own = inputs::Own {
            services: around.own_services.as_ref(),
            nodes: around.own_nodes.as_ref(),
            profile: around.own_profile.as_ref(),
        };
        let definition = match &case.kind {
            CaseKind::Asked(asked) => chain_of(asked),
            CaseKind::Replay(_) | CaseKind::Observed(_) => chain(around)?,
        };
        let around = match &case.kind {
            CaseKind::Replay(source) => {
                let (load, traces) = load(source, &world.seed)?;
                MadeAround::Replay(Box::new(inputs::world(&world, &own, load, traces)?))
            }
            CaseKind::Observed(_) | CaseKind::Asked(_) => {
                let nothing =
                    Load { services: Vec::new(), end_us: 0, items: Box::new(std::iter::empty()) };
                let setting = inputs::world(&world, &own, nothing, Vec::new())?;
                MadeAround::Decisions {
                    start: setting.start,
                    services: setting.services,
                    profile: Box::new(setting.profile),
                    warnings: setting.warnings,
                }
            }
        };
        Ok(Made { chain: self.loaded(definition)?, around })
    }

    /// A chain with its components loaded, each once for all chains of this maker.
    pub(super) fn loaded(&self, definition: PoliciesDefinition) -> Result<Chain, Failure> {
        let mut sandboxes = self.sandboxes.lock().expect("nobody panics while it loads");
        let mut package = |policy: &PolicyRef, limits: &Limits| {
            if !sandboxes.contains_key(limits) {
                let sandbox = match sandboxes.values().next() {
                    Some(shared) => policies::within(&shared.sandbox, limits)?,
                    None => policies::sandbox(limits.clone())?,
                };
                sandboxes.insert(limits.clone(), Shared { sandbox, packages: BTreeMap::new() });
            }
            sandboxes.get_mut(limits).expect("it was put there").package(policy)
        };
        let limits = &definition.limits;
        let mut packages = Packages::new();
        let fallbacks = definition
            .scaling
            .iter()
            .filter_map(|stage| stage.fallback.clone())
            .map(|name| (PolicyRef::Builtin(name), &limits.all));
        let scaling = definition
            .scaling
            .iter()
            .map(|stage| (stage.policy.clone(), limits.of(&stage.name)))
            .chain(fallbacks);
        for (policy, limits) in scaling {
            let package = package(&policy, limits)?;
            policies::scales(&package, &policy)?;
            packages.insert((policy, limits.clone()), package);
        }
        let (placement, limits) = (definition.placement.clone(), limits.of(PLACEMENT).clone());
        let package = package(&placement, &limits)?;
        policies::places(&package, &placement)?;
        packages.insert((placement, limits), package);
        Ok(Chain::new(definition, packages))
    }
}

impl Shared {
    fn package(&mut self, policy: &PolicyRef) -> Result<Arc<Package>, Failure> {
        if let Some(package) = self.packages.get(policy) {
            return Ok(package.clone());
        }
        let package = Arc::new(policies::package(&self.sandbox, policy)?);
        self.packages.insert(policy.clone(), package.clone());
        Ok(package)
    }
}

/// What the command line of a replay would say.
fn world(around: &Around) -> World {
    World {
        profile: around.profile.clone().unwrap_or_else(|| "gpu".to_owned()),
        names_profile: true,
        policies: None,
        services: around.services.clone(),
        nodes: around.nodes.clone(),
        models: around.models.clone(),
        faults: around.faults.clone(),
        make_room: false,
        seed: around.seed.clone().unwrap_or_else(|| "tide".to_owned()),
        start: around.start.clone(),
        until: around.until.clone(),
    }
}

fn load(source: &LoadSource, seed: &str) -> Result<(Load, Vec<String>), Failure> {
    match source {
        LoadSource::Traces(paths) => {
            let name = |path: &PathBuf| {
                path.file_name().unwrap_or_default().to_string_lossy().into_owned()
            };
            let mut names: Vec<String> = paths.iter().map(name).collect();
            names.sort();
            let merged = Merged::open(paths, &Seed::new(seed)).map_err(|error| {
                Failure::new(Exit::Input, format!("cannot replay {}", names.join(", ")), &error)
            })?;
            Ok(((&merged).into(), names))
        }
        LoadSource::Shapes(synth) => {
            let services: Vec<&str> = synth.services().keys().map(String::as_str).collect();
            Ok((synth.load(&Seed::new(seed)), vec![format!("shapes of {}", services.join(", "))]))
        }
    }
}

/// The chain of a case, with the settings that the case has for its stages.
fn chain(around: &Around) -> Result<PoliciesDefinition, Failure> {
    let mut chain = match &around.policies {
        None => PoliciesDefinition::builtin(),
        Some(PoliciesSource::Inline(chain)) => chain.clone(),
        Some(PoliciesSource::File(path)) => PoliciesDefinition::read(path).map_err(|error| {
            let what = format!("cannot read the policies in {}", path.display());
            Failure::new(Exit::Input, what, &error)
        })?,
    };
    for (name, settings) in &around.settings {
        let names: Vec<String> = chain.scaling.iter().map(|stage| stage.name.clone()).collect();
        match chain.scaling.iter_mut().find(|stage| stage.name == *name) {
            Some(stage) => stage.settings = settings.clone(),
            None => {
                let nearest = tidegate_settings::nearest(name, names.iter().map(String::as_str));
                let expected = nearest.map_or_else(|| names.join(", "), str::to_owned);
                let what = format!("settings.{name} is no stage of the chain, expected {expected}");
                return Err(Failure::plain(Exit::Input, what));
            }
        }
    }
    Ok(chain)
}

/// A chain of the one policy that is asked.
fn chain_of(asked: &Asked) -> PoliciesDefinition {
    let stage = StageDefinition {
        name: asked.policy.name(),
        policy: asked.policy.clone(),
        settings: asked.settings.clone(),
        on_failure: OnFailure::Hold,
        fallback: None,
    };
    PoliciesDefinition {
        scaling: vec![stage],
        limits: ChainLimits::default(),
        ..PoliciesDefinition::builtin()
    }
}

fn broken(failure: Failure) -> Broken {
    let (exit, told, hint) = failure.into_parts();
    let by = match exit {
        Exit::Check | Exit::Input => Fault::Input,
        Exit::Policy => Fault::Policy,
        Exit::Environment => Fault::Environment,
    };
    Broken { by, told, hint }
}
