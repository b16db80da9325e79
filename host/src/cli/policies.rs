//! From a policies file to policies that run: components are read, loaded and put into their places. What to tell a person when that
//! fails is here too, as every command that takes a chain tells it alike.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::failure::{Exit, Failure};
use crate::check;
pub(super) use crate::check::fault_told as told;
use crate::definitions::policies::{PoliciesDefinition, PolicyRef, StageDefinition};
use crate::engine::{BindTargetError, OnFailure, Stage};
use crate::parity;
use crate::policy;
use crate::policy::native::NativePlacement;
use crate::policy::{Limits, LoadError, Package, PlacementPolicy, Sandbox, ScalingPolicy, builtin};
use crate::replay::Policies;

/// Loads all that `chain` names.
pub(super) fn load(chain: &PoliciesDefinition) -> Result<Policies, Failure> {
    let sandbox = sandbox(chain.limits.clone())?;
    let mut stages = Vec::with_capacity(chain.scaling.len());
    for definition in &chain.scaling {
        stages.push((stage(&sandbox, definition)?, definition.settings.clone()));
    }
    let placement = places(&package(&sandbox, &chain.placement)?, &chain.placement)?;
    Ok(Policies {
        stages,
        placement: (placement, chain.placement_settings.clone()),
        fallback: Some(Box::new(NativePlacement::<tidegate_affinity::Affinity>::new("affinity"))),
        limits: Some(chain.limits.clone()),
    })
}

/// The scaling policies that `chain` names, to be made anew for each recording that they are held to.
pub(super) fn chain(chain: &PoliciesDefinition) -> Result<parity::HeldChain, Failure> {
    let sandbox = sandbox(chain.limits.clone())?;
    let mut links = Vec::with_capacity(chain.scaling.len());
    for definition in &chain.scaling {
        let policy = parity::make(package(&sandbox, &definition.policy)?)
            .ok_or_else(|| does_not_scale(&definition.policy))?;
        let (name, settings) = (definition.name.clone(), definition.settings.clone());
        links.push(parity::Link { name, settings, policy });
    }
    Ok(parity::HeldChain::new(links))
}

/// The sandbox of this process, with a cache of machine code where the user has a folder for such things.
pub(super) fn sandbox(limits: Limits) -> Result<Sandbox, Failure> {
    let sandbox = sandbox_without_cache(limits)?;
    Ok(match cache_folder() {
        Some(folder) => sandbox.with_cache(&folder),
        None => sandbox,
    })
}

/// The sandbox of this process, which compiles everything anew: what is not trusted in a process of its own, by this program under
/// whatever name it has.
pub(super) fn sandbox_without_cache(limits: Limits) -> Result<Sandbox, Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Environment, "cannot find this program, which compiles policies", &error)
    })?;
    let exit = if limits == Limits::default() { Exit::Environment } else { Exit::Input };
    Sandbox::new(limits)
        .map(|sandbox| sandbox.with_compiler(&program))
        .map_err(|error| Failure::new(exit, "cannot run policies", &error))
}

pub(super) fn cache_folder() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge: where caches go is said by the environment"
    )]
    let from =
        |name: &str| std::env::var(name).ok().filter(|path| !path.is_empty()).map(PathBuf::from);
    let caches = from("XDG_CACHE_HOME").or_else(|| Some(from("HOME")?.join(".cache")))?;
    Some(caches.join("tidegate"))
}

fn stage(sandbox: &Sandbox, definition: &StageDefinition) -> Result<Stage, Failure> {
    let policy = scales(&package(sandbox, &definition.policy)?, &definition.policy)?;
    let Some(fallback) = &definition.fallback else {
        return Ok(Stage::new(&definition.name, policy, definition.on_failure));
    };
    debug_assert_eq!(definition.on_failure, OnFailure::Fallback);
    let reference = PolicyRef::Builtin(fallback.clone());
    let fallback = scales(&package(sandbox, &reference)?, &reference)?;
    Ok(Stage::with_fallback(&definition.name, policy, fallback))
}

pub(super) fn scales(
    package: &Package,
    named: &PolicyRef,
) -> Result<Box<dyn ScalingPolicy>, Failure> {
    match package.scaling() {
        Some(policy) => Ok(Box::new(policy)),
        None => Err(does_not_scale(named)),
    }
}

fn does_not_scale(named: &PolicyRef) -> Failure {
    Failure::plain(Exit::Input, format!("{} does not scale", shown(named)))
        .hint("it is a placement policy: name it under `placement`")
}

pub(super) fn places(
    package: &Package,
    named: &PolicyRef,
) -> Result<Box<dyn PlacementPolicy>, Failure> {
    match package.placement() {
        Some(policy) => Ok(Box::new(policy)),
        None => Err(Failure::plain(Exit::Input, format!("{} does not place", shown(named)))
            .hint("it is a scaling policy: name it under `scaling`")),
    }
}

pub(super) fn package(sandbox: &Sandbox, named: &PolicyRef) -> Result<Package, Failure> {
    let component = bytes(named, sandbox.limits())?;
    match named {
        PolicyRef::Builtin(_) => sandbox.load_trusted(&component),
        PolicyRef::File(_) => sandbox.load(&component),
    }
    .map_err(|error| cannot_load(named, &error))
}

/// A component as it lies in its file or in this program.
pub(super) fn bytes(named: &PolicyRef, limits: &Limits) -> Result<Cow<'static, [u8]>, Failure> {
    match named {
        PolicyRef::Builtin(name) => builtin::builtin(name).map(Cow::Borrowed).ok_or_else(|| {
            let known: Vec<&str> = builtin::names().collect();
            Failure::plain(Exit::Input, format!("no policy {name} is built in")).hint(
                match tidegate_settings::nearest(name, builtin::names()) {
                    Some(nearest) => format!("did you mean builtin:{nearest}?"),
                    None => format!("there are {}", known.join(", ")),
                },
            )
        }),
        PolicyRef::File(path) => read(path, limits).map(Cow::Owned),
    }
}

/// Reads a component file, but no more than a byte beyond what is allowed.
pub(super) fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, Failure> {
    policy::load::read(path, limits).map_err(|error| {
        Failure::new(Exit::Input, format!("cannot read the policy {}", path.display()), &error)
    })
}

pub(super) fn cannot_load(named: &PolicyRef, error: &LoadError) -> Failure {
    // A file that is no component at all is a slip in a path, not a policy that misbehaves.
    let exit = if error.is_of_no_component() { Exit::Input } else { Exit::Policy };
    let failure = Failure::new(exit, format!("cannot load the policy {}", shown(named)), error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn shown(named: &PolicyRef) -> String {
    match named {
        PolicyRef::Builtin(name) => format!("builtin:{name}"),
        PolicyRef::File(path) => path.display().to_string(),
    }
}

/// The exit code for settings that a policy did not take: they are wrong, or the policy itself failed over them.
pub(super) fn exit_of(error: &BindTargetError) -> Exit {
    if error.is_by_policy() { Exit::Policy } else { Exit::Input }
}

/// The faults that a policy found in settings, each a line; with its place, where the settings stand in a policies file.
pub(super) fn faults_of(error: &BindTargetError, file: Option<&Path>) -> Vec<String> {
    let Some((stage, faults)) = error.faults() else { return Vec::new() };
    let placed = file.map_or(Vec::new(), |file| check::faults_in_settings(file, stage, faults));
    if placed.is_empty() { faults.iter().map(told).collect() } else { placed }
}
