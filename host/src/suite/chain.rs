//! The policies of a case: components that were loaded once and are shared by all cases, each of which gets policies of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::recording::{Recording, Watched};
use crate::definitions::policies::{PoliciesDefinition, PolicyRef};
use crate::engine::{PLACEMENT, Stage};
use crate::policy::native::NativePlacement;
use crate::policy::{Limits, Package, PlacementPolicy, ScalingPolicy};
use crate::replay::Policies;

/// A chain whose components are loaded.
#[derive(Clone)]
pub struct Chain {
    definition: PoliciesDefinition,
    packages: Packages,
}

/// Loaded components, by what they may take.
pub type Packages = BTreeMap<(PolicyRef, Limits), Arc<Package>>;

/// What the recordings of a case go by: the policy's name in the suite's reports.
pub type Recordings = BTreeMap<PolicyRef, Arc<Recording>>;

impl Chain {
    /// A chain of `packages`, which has every policy that `definition` names, and each does what its place asks for.
    pub fn new(definition: PoliciesDefinition, packages: Packages) -> Chain {
        Chain { definition, packages }
    }

    /// What it is made of.
    pub fn definition(&self) -> &PoliciesDefinition {
        &self.definition
    }

    /// The component of a policy that it names, as the first place that has it may run it.
    pub fn package(&self, policy: &PolicyRef) -> &Arc<Package> {
        self.within(policy, self.limits(policy))
    }

    /// What the first place that has this policy may take.
    pub fn limits(&self, policy: &PolicyRef) -> &Limits {
        let limits = &self.definition.limits;
        match self.definition.scaling.iter().find(|stage| stage.policy == *policy) {
            Some(stage) => limits.of(&stage.name),
            None if self.definition.placement == *policy => limits.of(PLACEMENT),
            None => &limits.all,
        }
    }

    fn within(&self, policy: &PolicyRef, limits: &Limits) -> &Arc<Package> {
        let key = (policy.clone(), limits.clone());
        self.packages.get(&key).expect("every policy of the chain was loaded")
    }

    /// The scaling policies that it names, each once.
    pub fn scaling(&self) -> Vec<&PolicyRef> {
        let mut named: Vec<&PolicyRef> =
            self.definition.scaling.iter().map(|stage| &stage.policy).collect();
        named.sort();
        named.dedup();
        named
    }

    /// Policies for one run. What is asked of them goes to `recordings`.
    pub fn policies(&self, recordings: &Recordings) -> Policies {
        let limits = &self.definition.limits;
        let scales = |policy: &PolicyRef, limits: &Limits| -> Box<dyn ScalingPolicy> {
            let package = self.within(policy, limits);
            let inner = package.scaling().expect("it was loaded for a place where it scales");
            match recordings.get(policy) {
                Some(recording) => Box::new(Watched::new(inner, recording.clone())),
                None => Box::new(inner),
            }
        };
        let stage = |stage: &crate::definitions::policies::StageDefinition| {
            let policy = scales(&stage.policy, limits.of(&stage.name));
            let made = match &stage.fallback {
                None => Stage::new(&stage.name, policy, stage.on_failure),
                Some(name) => {
                    let fallback = scales(&PolicyRef::Builtin(name.clone()), &limits.all);
                    Stage::with_fallback(&stage.name, policy, fallback)
                }
            };
            (made, stage.settings.clone())
        };
        let places = &self.definition.placement;
        let placement = self.within(places, limits.of(PLACEMENT)).placement();
        let placement = placement.expect("it was loaded for a place where it places");
        let placement: Box<dyn PlacementPolicy> = match recordings.get(places) {
            Some(recording) => Box::new(Watched::new(placement, recording.clone())),
            None => Box::new(placement),
        };
        Policies {
            stages: self.definition.scaling.iter().map(stage).collect(),
            placement: (placement, self.definition.placement_settings.clone()),
            fallback: Some(Box::new(NativePlacement::<tidegate_affinity::Affinity>::new(
                "affinity",
            ))),
            limits: Some(limits.clone()),
        }
    }
}
