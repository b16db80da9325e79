//! Spot capacity first, with a reserve on demand. A stage behind another, over the pools of a service: what that one wants is the
//! whole service's, and is divided here. What spot capacity owes for too long, capacity on demand gives until it is there.

use serde::{Deserialize, Serialize};
use tidegate_policy::{Causes, Column, Decision, Document, Faults, Scope, Target, Together, Wants};

/// The policy.
#[derive(Debug)]
pub struct SpotFirst;

tidegate_policy::export_scaling!(SpotFirst);

/// What its user writes under `settings`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// The pool that may be taken away at any time. Every other pool is on demand; the first of them by name has the reserve.
    spot_pool: String,
    /// At least so many replicas on demand while any are wanted.
    reserve: u32,
    /// How long spot replicas may be missing before capacity on demand stands in. Seconds.
    patience_seconds: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { spot_pool: "spot".into(), reserve: 1, patience_seconds: 120 }
    }
}

/// The settings, and the columns that are read.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    settings: Settings,
    proposal: Column,
    ready: Column,
    pool: Column,
}

/// Since when a spot pool has had fewer ready replicas than it should. Unix milliseconds.
pub type Short = Option<u64>;

impl Together for SpotFirst {
    type Settings = Settings;
    type Params = Params;
    type State = Short;
    const SCOPE: Scope = Scope::Group;
    const STATE_SCHEMA: &'static str = "spot-first/1";

    fn bind(document: Document<Settings>, want: &mut Wants) -> Result<Params, Faults> {
        want.causes(Causes::CREATED | Causes::CHANGE | Causes::TIMER);
        let (proposal, ready) = (want.output("proposal"), want.fact("ready-replicas"));
        Ok(Params { settings: document.settings, proposal, ready, pool: want.fact("pool") })
    }

    fn init(_: &Params, _at_ms: u64, _ready: Option<f64>) -> Short {
        None
    }

    fn decide(pools: &mut [Target<'_, SpotFirst>]) {
        let proposed = |pool: &Target<'_, SpotFirst>| pool.seen.known(pool.params.proposal);
        // Each pool is proposed what the whole service needs, by its own windows and ready replicas: the largest counts.
        let Some(wanted) = pools.iter().filter_map(proposed).reduce(f64::max) else { return };
        let wanted = wanted as u32;
        let is_spot = |pool: &Target<'_, SpotFirst>| {
            pool.seen.word(pool.params.pool) == Some(&pool.params.settings.spot_pool)
        };
        let spot_at = pools.iter().position(is_spot);
        let on_demand_at = pools.iter().position(|pool| !is_spot(pool));
        let mut missing = 0;
        let mut until_ms = Decision::FOR_EVER;
        if let Some(at) = spot_at {
            let spot = &mut pools[at];
            let reserve = if on_demand_at.is_some() { spot.params.settings.reserve } else { 0 };
            let asked = wanted.saturating_sub(reserve);
            let ready = spot.seen.known(spot.params.ready).unwrap_or(0.0) as u32;
            let short = asked.saturating_sub(ready);
            spot.state = if short > 0 { spot.state.or(Some(spot.seen.at_ms)) } else { None };
            if let Some(since_ms) = spot.state {
                let patience_s = spot.params.settings.patience_seconds;
                let over_ms = since_ms + u64::from(patience_s) * 1_000;
                if spot.seen.at_ms < over_ms {
                    until_ms = over_ms;
                } else {
                    missing = short;
                }
            }
            spot.decision = Decision::replicas(asked).until(until_ms);
            spot.notes.reason(|| format!("{wanted} wanted, {reserve} of them on demand"));
            spot.notes.figure("missing for too long, replicas", f64::from(missing));
        }
        for (at, pool) in pools.iter_mut().enumerate().filter(|(at, _)| Some(*at) != spot_at) {
            if Some(at) != on_demand_at {
                pool.decision = Decision::replicas(0).until(until_ms);
                continue;
            }
            let reserve = if spot_at.is_some() { pool.params.settings.reserve } else { u32::MAX };
            let asked = wanted.min(reserve).saturating_add(missing);
            pool.decision = Decision::replicas(asked).until(until_ms);
            pool.notes.reason(|| match missing {
                0 => format!("the reserve of {wanted} wanted"),
                _ => format!("the reserve of {wanted} wanted, and {missing} for missing spot ones"),
            });
        }
    }
}

#[cfg(test)]
mod tests;
