//! No more GPUs for all services of a tenant together than it pays for. A stage behind another: what that one wants stands while it
//! fits, and is shared by weight when it does not.

use serde::{Deserialize, Serialize};
use tidegate_policy::{
    Causes, Column, Decision, Document, Faults, Output, Scope, Target, Together, Wants,
};

/// The policy.
#[derive(Debug)]
pub struct TenantBudget;

tidegate_policy::export_scaling!(TenantBudget);

/// A service's annotation for its weight: twice the weight is twice the GPUs when they are short. 1 where it is absent.
const WEIGHT: &str = "policy.tidegate.dev/weight";

/// What its user writes under `settings`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// GPUs that all services of the tenant may have together.
    gpus: u32,
}

/// The settings and the weight of a service, and the columns that are read and given.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    gpus: u32,
    weight: f64,
    proposal: Column,
    gpus_per_replica: Column,
    denied: Output,
}

impl Together for TenantBudget {
    type Settings = Settings;
    type Params = Params;
    type State = ();
    const SCOPE: Scope = Scope::Tenant;
    const STATE_SCHEMA: &'static str = "tenant-budget/1";

    fn bind(document: Document<Settings>, want: &mut Wants) -> Result<Params, Faults> {
        let mut faults = Faults::default();
        let weight = match document.service.annotations.get(WEIGHT) {
            None => 1.0,
            Some(text) => text.parse().unwrap_or(f64::NAN),
        };
        if !(0.001..=1000.0).contains(&weight) {
            let found = &document.service.annotations[WEIGHT];
            let message = format!("found {found:?}, expected a number from 0.001 to 1000");
            faults.push(format!("service.annotations.{WEIGHT}"), message);
        }
        want.causes(Causes::CREATED | Causes::CHANGE);
        let (proposal, gpus_per_replica) = (want.output("proposal"), want.fact("gpus-per-replica"));
        let denied = want.gives("denied-replicas");
        let gpus = document.settings.gpus;
        faults.or(Params { gpus, weight, proposal, gpus_per_replica, denied })
    }

    fn init(_: &Params, _at_ms: u64, _ready: Option<f64>) {}

    fn decide(services: &mut [Target<'_, TenantBudget>]) {
        let mut free = services.iter().map(|service| service.params.gpus).max().unwrap_or(0);
        let mut shares: Vec<Share> = services.iter().map(Share::of).collect();
        // One replica after the other goes to whoever has least for its weight and still fits.
        while let Some(next) = shares
            .iter_mut()
            .filter(|share| share.granted < share.proposed && share.gpus <= free)
            .min_by(|one, other| one.has_for_weight().total_cmp(&other.has_for_weight()))
        {
            free -= next.gpus;
            // What takes no GPU is not held back, and no budget bounds how much of it there is.
            next.granted = if next.gpus == 0 { next.proposed } else { next.granted + 1 };
        }
        for (service, share) in services.iter_mut().zip(shares) {
            if !share.is_known {
                continue;
            }
            let denied = share.proposed - share.granted;
            service.decision = Decision::replicas(share.granted).standing();
            service.notes.give(service.params.denied, f64::from(denied));
            if denied > 0 {
                let (proposed, budget) = (share.proposed, service.params.gpus);
                service
                    .notes
                    .reason(|| format!("{denied} of {proposed} denied: {budget} GPUs are all"));
            }
        }
    }
}

/// What a service wants and gets.
struct Share {
    is_known: bool,
    proposed: u32,
    granted: u32,
    gpus: u32,
    weight: f64,
}

impl Share {
    fn of(service: &Target<'_, TenantBudget>) -> Share {
        let proposal = service.seen.known(service.params.proposal);
        Share {
            is_known: proposal.is_some(),
            proposed: proposal.unwrap_or(0.0) as u32,
            granted: 0,
            gpus: service.seen.known(service.params.gpus_per_replica).unwrap_or(1.0) as u32,
            weight: service.params.weight,
        }
    }

    fn has_for_weight(&self) -> f64 {
        f64::from(self.granted) * f64::from(self.gpus) / self.weight
    }
}

#[cfg(test)]
mod tests;
