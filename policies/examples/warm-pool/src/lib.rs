//! Keeps the services warm that were used last, as many as there are GPUs for it: rather than that each keeps its last replica for
//! a fixed time, the long tail shares a pool. A stage behind `scale-to-zero`, whose retention can then be short.

use serde::{Deserialize, Serialize};
use tidegate_policy::{
    Causes, Column, Decision, Document, Faults, Output, Scope, Target, Together, Wants,
};

/// The policy.
#[derive(Debug)]
pub struct WarmPool;

tidegate_policy::export_scaling!(WarmPool);

/// What its user writes under `settings`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// GPUs that idle replicas of all services of a tenant may have together.
    gpus: u32,
}

/// The settings, and the columns that are read and given.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    gpus: u32,
    proposal: Column,
    ready: Column,
    gpus_per_replica: Column,
    is_warm: Output,
}

/// When the service last wanted a replica. Unix milliseconds.
pub type LastUsed = u64;

impl Together for WarmPool {
    type Settings = Settings;
    type Params = Params;
    type State = LastUsed;
    const SCOPE: Scope = Scope::Tenant;
    const STATE_SCHEMA: &'static str = "warm-pool/1";

    fn bind(document: Document<Settings>, want: &mut Wants) -> Result<Params, Faults> {
        want.causes(Causes::CREATED | Causes::CHANGE);
        Ok(Params {
            gpus: document.settings.gpus,
            proposal: want.output("proposal"),
            ready: want.fact("ready-replicas"),
            gpus_per_replica: want.fact("gpus-per-replica"),
            is_warm: want.gives("is-warm"),
        })
    }

    fn init(_: &Params, at_ms: u64, _ready: Option<f64>) -> LastUsed {
        at_ms
    }

    fn decide(services: &mut [Target<'_, WarmPool>]) {
        let mut idle = Vec::new();
        for (at, service) in services.iter_mut().enumerate() {
            let Some(proposed) = service.seen.known(service.params.proposal) else { continue };
            service.decision = Decision::replicas(proposed as u32).standing();
            if proposed > 0.0 {
                service.state = service.seen.at_ms;
            } else if service.seen[service.params.ready] >= 1.0 {
                idle.push(at);
            }
        }
        // Only what is up is kept; nothing is started for this. The one used last stays longest.
        idle.sort_by_key(|at| std::cmp::Reverse(services[*at].state));
        let mut free = services.iter().map(|service| service.params.gpus).max().unwrap_or(0);
        for at in idle {
            let service = &mut services[at];
            let gpus = service.seen.known(service.params.gpus_per_replica).unwrap_or(1.0) as u32;
            let is_warm = gpus <= free;
            service.notes.give_flag(service.params.is_warm, is_warm);
            if is_warm {
                free -= gpus;
                service.decision = Decision::replicas(1).standing();
                service.notes.reason(|| "kept warm: among those used last".into());
            } else {
                service.notes.reason(|| "others were used later, and the warm pool is full".into());
            }
        }
    }
}

#[cfg(test)]
mod tests;
