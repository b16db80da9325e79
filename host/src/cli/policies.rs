//! Where the command line runs policies, and what it tells a person when they cannot be loaded: every command that takes a chain
//! tells it alike.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::{Exit, Failure};
use crate::chain::{self, Chain, ChainError};
use crate::check;
pub(super) use crate::check::fault_told as told;
use crate::definitions::policies::{PoliciesDefinition, PolicyRef};
use crate::engine::BindTargetError;
use crate::parity;
use crate::policy::{Limits, LoadError, Package, PlacementPolicy, Sandbox, ScalingPolicy};
use crate::replay::Policies;
use crate::swap::Sandboxes;

/// Loads all that `chain` names.
pub(super) fn load(chain: &PoliciesDefinition) -> Result<Policies, Failure> {
    loaded(chain, &[]).map(|chain| chain.policies())
}

/// The same, to make policies of as often as they are wanted. What one of the chains `known` has is not loaded once more.
pub(super) fn loaded(chain: &PoliciesDefinition, known: &[&Chain]) -> Result<Chain, Failure> {
    let sandbox = sandbox(chain.limits.all.clone())?;
    Chain::load(chain, &sandbox, known).map_err(|error| refused(&error))
}

/// The scaling policies that `chain` names, to be made anew for each recording that they are held to.
pub(super) fn chain(chain: &PoliciesDefinition) -> Result<parity::HeldChain, Failure> {
    let sandbox = sandbox(chain.limits.all.clone())?;
    let mut links = Vec::with_capacity(chain.scaling.len());
    for definition in &chain.scaling {
        let own = within(&sandbox, chain.limits.of(&definition.name))?;
        let policy = parity::make(package(&own, &definition.policy)?)
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

/// One with other limits that compiles and keeps as `sandbox` does.
pub(super) fn within(sandbox: &Sandbox, limits: &Limits) -> Result<Sandbox, Failure> {
    sandbox.within(limits).map_err(|error| Failure::new(Exit::Input, "cannot run policies", &error))
}

/// Makes sandboxes of this process, as they are wanted.
pub(super) fn sandboxes() -> Result<Sandboxes, Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(Exit::Environment, "cannot find this program, which compiles policies", &error)
    })?;
    let cache = cache_folder();
    Ok(Arc::new(move |limits| {
        let sandbox = Sandbox::new(limits)?.with_compiler(&program);
        Ok(match &cache {
            Some(folder) => sandbox.with_cache(folder),
            None => sandbox,
        })
    }))
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
    refused(&ChainError::DoesNotScale { policy: chain::shown(named) })
}

pub(super) fn places(
    package: &Package,
    named: &PolicyRef,
) -> Result<Box<dyn PlacementPolicy>, Failure> {
    match package.placement() {
        Some(policy) => Ok(Box::new(policy)),
        None => Err(refused(&ChainError::DoesNotPlace { policy: chain::shown(named) })),
    }
}

pub(super) fn package(sandbox: &Sandbox, named: &PolicyRef) -> Result<Package, Failure> {
    chain::package(sandbox, named).map_err(|error| refused(&error))
}

/// A component as it lies in its file or in this program.
pub(super) fn bytes(named: &PolicyRef, limits: &Limits) -> Result<Cow<'static, [u8]>, Failure> {
    chain::bytes(named, limits).map_err(|error| refused(&error))
}

/// Reads a component file, but no more than a byte beyond what is allowed.
pub(super) fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, Failure> {
    chain::read(path, limits).map_err(|error| refused(&error))
}

pub(super) fn cannot_load(named: &PolicyRef, error: &LoadError) -> Failure {
    let what = format!("cannot load the policy {}", chain::shown(named));
    let failure = Failure::new(exit_of_load(error), what, error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A file that is no component at all is a slip in a path, not a policy that misbehaves.
fn exit_of_load(error: &LoadError) -> Exit {
    if error.is_of_no_component() { Exit::Input } else { Exit::Policy }
}

fn refused(error: &ChainError) -> Failure {
    let failure = match error {
        ChainError::Read { source, .. } => Failure::new(Exit::Input, error.to_string(), source),
        ChainError::Limits { source, .. } => Failure::new(Exit::Input, error.to_string(), source),
        ChainError::Load { source, .. } => {
            Failure::new(exit_of_load(source), error.to_string(), source)
        }
        ChainError::Unknown { .. }
        | ChainError::DoesNotScale { .. }
        | ChainError::DoesNotPlace { .. } => Failure::plain(Exit::Input, error.to_string()),
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
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
