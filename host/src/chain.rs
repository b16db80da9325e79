//! From a policies file to policies that run: the components that it names are read, checked, compiled and put into their places.
//! Who calls it says in which sandbox, and tells a person what went wrong.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::definitions::policies::{PoliciesDefinition, PolicyRef, StageDefinition};
use crate::engine::{PLACEMENT, Stage};
use crate::policy::native::NativePlacement;
use crate::policy::{
    Limits, LoadError, Package, PlacementPolicy, Sandbox, SandboxError, ScalingPolicy, builtin,
    digest_of,
};
use crate::replay::Policies;

/// The components of a chain, loaded. Policies are made from it as often as they are wanted.
pub struct Chain {
    definition: PoliciesDefinition,
    stages: Vec<Links>,
    placement: Arc<Package>,
    /// The bytes of all of them, by digest.
    components: BTreeMap<String, Arc<[u8]>>,
}

/// The component of a stage, and the one that decides where it fails.
struct Links {
    policy: Arc<Package>,
    fallback: Option<Arc<Package>>,
}

/// A component that cannot be what the policies file wants it to be.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// There is no such built-in policy.
    #[error("no policy {name} is built in")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// Its file cannot be read.
    #[error("cannot read the policy {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not one that this host can run.
    #[error("cannot load the policy {policy}")]
    Load {
        /// Which, as in the policies file.
        policy: String,
        /// Why.
        source: LoadError,
    },
    /// A stage's own limits leave no room for it.
    #[error("cannot run the policy of {stage} within its limits")]
    Limits {
        /// The stage.
        stage: String,
        /// Why.
        source: SandboxError,
    },
    /// It stands under `scaling`.
    #[error("{policy} does not scale")]
    DoesNotScale {
        /// Which, as in the policies file.
        policy: String,
    },
    /// It stands under `placement`.
    #[error("{policy} does not place")]
    DoesNotPlace {
        /// Which, as in the policies file.
        policy: String,
    },
}

impl ChainError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ChainError::Unknown { name } => {
                let known: Vec<&str> = builtin::names().collect();
                Some(match tidegate_settings::nearest(name, builtin::names()) {
                    Some(nearest) => format!("did you mean builtin:{nearest}?"),
                    None => format!("there are {}", known.join(", ")),
                })
            }
            ChainError::Read { .. } | ChainError::Limits { .. } => None,
            ChainError::Load { source, .. } => source.hint(),
            ChainError::DoesNotScale { .. } => {
                Some("it is a placement policy: name it under `placement`".to_owned())
            }
            ChainError::DoesNotPlace { .. } => {
                Some("it is a scaling policy: name it under `scaling`".to_owned())
            }
        }
    }
}

impl Chain {
    /// Loads all that `definition` names, for stages with limits of their own in a sandbox like `sandbox` with those. What was loaded
    /// for one of the chains `known` with the same limits is taken from there, by the digest of its bytes.
    ///
    /// # Errors
    ///
    /// When a component cannot be read, cannot run here, or does not do what its place asks for.
    pub fn load(
        definition: &PoliciesDefinition,
        sandbox: &Sandbox,
        known: &[&Chain],
    ) -> Result<Chain, ChainError> {
        let components = RefCell::new(BTreeMap::new());
        let get = |named: &PolicyRef, limits: &Limits, stage: &str| {
            let component = bytes(named, limits)?;
            let digest = digest_of(&component);
            components.borrow_mut().insert(digest.clone(), Arc::from(&*component));
            let mut all = known.iter().flat_map(|chain| chain.packages());
            let is_it = |one: &&Arc<Package>| one.digest() == digest && one.limits() == limits;
            match all.find(is_it) {
                Some(package) => Ok(package.clone()),
                None => {
                    let own = sandbox
                        .within(limits)
                        .map_err(|source| ChainError::Limits { stage: stage.to_owned(), source })?;
                    load(&own, named, &component).map(Arc::new)
                }
            }
        };
        let scales = |named: &PolicyRef, limits: &Limits, stage: &str| {
            let package = get(named, limits, stage)?;
            let policy = shown(named);
            package.scaling().map_or(Err(ChainError::DoesNotScale { policy }), |_| Ok(package))
        };
        let links = |stage: &StageDefinition| {
            let fallback = stage.fallback.clone().map(PolicyRef::Builtin);
            let (limits, name) = (&definition.limits, &stage.name);
            let fallback =
                fallback.as_ref().map(|named| scales(named, &limits.all, name)).transpose()?;
            Ok(Links { policy: scales(&stage.policy, limits.of(name), name)?, fallback })
        };
        let stages = definition.scaling.iter().map(links).collect::<Result<_, ChainError>>()?;
        let limits = definition.limits.of(PLACEMENT);
        let placement = get(&definition.placement, limits, PLACEMENT)?;
        if placement.placement().is_none() {
            let policy = shown(&definition.placement);
            return Err(ChainError::DoesNotPlace { policy });
        }
        let components = components.into_inner();
        Ok(Chain { definition: definition.clone(), stages, placement, components })
    }

    /// What it was loaded from.
    pub fn definition(&self) -> &PoliciesDefinition {
        &self.definition
    }

    /// Makes its policies.
    pub fn policies(&self) -> Policies {
        let scaling = |package: &Package| -> Box<dyn ScalingPolicy> {
            Box::new(package.scaling().expect("it scales, or it would not have been loaded"))
        };
        let stages = self.definition.scaling.iter().zip(&self.stages).map(|(stage, links)| {
            let policy = scaling(&links.policy);
            let made = match &links.fallback {
                None => Stage::new(&stage.name, policy, stage.on_failure),
                Some(fallback) => Stage::with_fallback(&stage.name, policy, scaling(fallback)),
            };
            (made, stage.settings.clone())
        });
        let placement: Box<dyn PlacementPolicy> = Box::new(
            self.placement.placement().expect("it places, or it would not have been loaded"),
        );
        Policies {
            stages: stages.collect(),
            placement: (placement, self.definition.placement_settings.clone()),
            fallback: Some(Box::new(NativePlacement::<tidegate_affinity::Affinity>::new(
                "affinity",
            ))),
            limits: Some(self.definition.limits.clone()),
        }
    }

    /// Its components as they were read, by digest.
    pub fn components(&self) -> impl Iterator<Item = (&str, Arc<[u8]>)> {
        self.components.iter().map(|(digest, component)| (digest.as_str(), component.clone()))
    }

    /// The digests of its components: of each stage its policy's and that of what stands in for it, and the placement policy's.
    pub(crate) fn digests(&self) -> (Vec<(&str, Option<&str>)>, &str) {
        let links = self.stages.iter().map(|links| {
            (links.policy.digest(), links.fallback.as_ref().map(|package| package.digest()))
        });
        (links.collect(), self.placement.digest())
    }

    fn packages(&self) -> impl Iterator<Item = &Arc<Package>> {
        let links =
            self.stages.iter().flat_map(|links| [Some(&links.policy), links.fallback.as_ref()]);
        links.flatten().chain([&self.placement])
    }
}

/// Reads and loads one component.
///
/// # Errors
///
/// When it cannot be read, or cannot run here.
pub fn package(sandbox: &Sandbox, named: &PolicyRef) -> Result<Package, ChainError> {
    load(sandbox, named, &bytes(named, sandbox.limits())?)
}

fn load(sandbox: &Sandbox, named: &PolicyRef, component: &[u8]) -> Result<Package, ChainError> {
    let loaded = match named {
        PolicyRef::Builtin(_) => sandbox.load_trusted(component),
        PolicyRef::File(_) => sandbox.load(component),
    };
    loaded.map_err(|source| ChainError::Load { policy: shown(named), source })
}

/// A component as it lies in its file or in this program.
///
/// # Errors
///
/// When there is none.
pub fn bytes(named: &PolicyRef, limits: &Limits) -> Result<Cow<'static, [u8]>, ChainError> {
    match named {
        PolicyRef::Builtin(name) => builtin::builtin(name)
            .map(Cow::Borrowed)
            .ok_or_else(|| ChainError::Unknown { name: name.clone() }),
        PolicyRef::File(path) => read(path, limits).map(Cow::Owned),
    }
}

/// Reads a component file, but no more than a byte beyond what is allowed.
///
/// # Errors
///
/// When it cannot be read.
pub fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, ChainError> {
    let mut component = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| {
            file.take((limits.package_bytes as u64).saturating_add(1)).read_to_end(&mut component)
        })
        .map_err(|source| ChainError::Read { path: path.to_owned(), source })?;
    Ok(component)
}

/// A policy as the policies file names it.
pub fn shown(named: &PolicyRef) -> String {
    match named {
        PolicyRef::Builtin(name) => format!("builtin:{name}"),
        PolicyRef::File(path) => path.display().to_string(),
    }
}
