//! The policies of a case: components that were loaded once and are shared by all cases, each of which gets policies of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::recording::{Recording, Watched};
use crate::definitions::policies::{PoliciesDefinition, PolicyRef};
use crate::engine::Stage;
use crate::policy::native::NativePlacement;
use crate::policy::{Package, PlacementPolicy, ScalingPolicy};
use crate::replay::Policies;

/// A chain whose components are loaded.
#[derive(Clone)]
pub struct Chain {
    definition: PoliciesDefinition,
    packages: BTreeMap<PolicyRef, Arc<Package>>,
}

/// What the recordings of a case go by: the policy's name in the suite's reports.
pub type Recordings = BTreeMap<PolicyRef, Arc<Recording>>;

impl Chain {
    /// A chain of `packages`, which has every policy that `definition` names, and each does what its place asks for.
    pub fn new(
        definition: PoliciesDefinition,
        packages: BTreeMap<PolicyRef, Arc<Package>>,
    ) -> Chain {
        Chain { definition, packages }
    }

    /// What it is made of.
    pub fn definition(&self) -> &PoliciesDefinition {
        &self.definition
    }

    /// The component of a policy that it names.
    pub fn package(&self, policy: &PolicyRef) -> &Arc<Package> {
        self.packages.get(policy).expect("every policy of the chain was loaded")
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
        let scales = |policy: &PolicyRef| -> Box<dyn ScalingPolicy> {
            let package = self.package(policy);
            let inner = package.scaling().expect("it was loaded for a place where it scales");
            match recordings.get(policy) {
                Some(recording) => Box::new(Watched::new(inner, recording.clone())),
                None => Box::new(inner),
            }
        };
        let stage = |stage: &crate::definitions::policies::StageDefinition| {
            let policy = scales(&stage.policy);
            let made = match &stage.fallback {
                None => Stage::new(&stage.name, policy, stage.on_failure),
                Some(name) => {
                    let fallback = scales(&PolicyRef::Builtin(name.clone()));
                    Stage::with_fallback(&stage.name, policy, fallback)
                }
            };
            (made, stage.settings.clone())
        };
        let places = &self.definition.placement;
        let placement = self.package(places).placement();
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
            limits: Some(self.definition.limits.clone()),
        }
    }
}
