//! Starts replicas before the load comes that usually comes at this time of day: a floor under what the stages before it want.
//!
//! It learns the usual load of each hour of the day, and how today compares with it so far. Both are exponential
//! averages, as in Holt and Winters' method with a multiplicative season and no trend. For a first whole day it only learns.

use serde::{Deserialize, Serialize};
use tidegate_policy::{
    Averaging, Causes, Column, Decision, Document, Faults, Notes, Scaling, Seen, Wants,
};

/// The policy.
#[derive(Debug)]
pub struct Policy;

tidegate_policy::export_scaling!(Policy);

/// What is learnt about at once. Shorter ones make a larger state, and reading that is what most of this policy's fuel is for.
const SLOT_S: u32 = 3_600;
const SLOT_MS: u64 = 3_600_000;
const SLOTS: u64 = 24;
/// How much of what is new goes into the usual load of an hour, once a day, and into today's level, once an hour.
const OF_A_DAY: f64 = 0.3;
const OF_A_SLOT: f64 = 0.3;

/// What its user writes under `settings` of the stage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// Requests that a replica should have in flight.
    target: f64,
    /// So long before the load comes are its replicas started. Whole minutes.
    lead_min: u32,
    /// No more replicas than that because of a forecast.
    at_most: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { target: 8.0, lead_min: 10, at_most: 8 }
    }
}

/// What `bind` makes of the settings: all that `decide` reads, the columns of its inputs included.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    target: f64,
    lead_ms: u64,
    at_most: u32,
    in_flight: Column,
    proposal: Column,
}

/// What is remembered of a target.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// The usual requests in flight of each hour since 00:00 UTC; nothing where it was not yet seen.
    usual: Vec<Option<f64>>,
    /// Today's load as a multiple of the usual one.
    level: f64,
    /// The hour, counted since 1970, that goes on.
    slot: u64,
}

impl State {
    fn new(at_ms: u64) -> State {
        State { usual: vec![None; SLOTS as usize], level: 1.0, slot: at_ms / SLOT_MS }
    }

    fn usual(&self, slot: u64) -> Option<f64> {
        self.usual.get((slot % SLOTS) as usize).copied().flatten()
    }

    /// A slot is over, in which so much was in flight on average.
    fn learn(&mut self, slot: u64, in_flight: f64) {
        let usual = self.usual(slot);
        if let Some(usual) = usual.filter(|usual| *usual > 0.0) {
            // One odd day is no reason for a tenfold floor.
            let now = (in_flight / usual).clamp(0.25, 4.0);
            self.level += OF_A_SLOT * (now - self.level);
        }
        let learnt = usual.map_or(in_flight, |usual| usual + OF_A_DAY * (in_flight - usual));
        if let Some(kept) = self.usual.get_mut((slot % SLOTS) as usize) {
            *kept = Some(learnt);
        }
    }

    /// What will be in flight then; nothing where that slot was never seen.
    fn forecast(&self, at_ms: u64) -> Option<f64> {
        self.usual(at_ms / SLOT_MS).map(|usual| usual * self.level)
    }
}

impl Scaling for Policy {
    type Settings = Settings;
    type Params = Params;
    type State = State;
    // Count this up whenever `State` changes its layout, or old bytes are read as new ones.
    const STATE_SCHEMA: &'static str = "template-forecast/1";

    fn bind(document: Document<Settings>, want: &mut Wants) -> Result<Params, Faults> {
        let Settings { target, lead_min, at_most } = document.settings;
        let mut faults = Faults::default();
        if !(target > 0.0 && target.is_finite()) {
            faults.push("settings.target", format!("found {target}, expected above 0"));
        }
        if lead_min > 720 {
            faults.push("settings.leadMin", format!("found {lead_min}, expected at most 720"));
        }
        // No ticks: its timer comes at the end of each slot, and `CHANGE` when another number is proposed.
        want.causes(Causes::CREATED | Causes::CHANGE | Causes::TIMER);
        faults.or(Params {
            target,
            lead_ms: 60_000 * u64::from(lead_min),
            at_most,
            in_flight: want.window("concurrency", SLOT_S, Averaging::Linear),
            proposal: want.proposal(),
        })
    }

    fn init(_: &Params, at_ms: u64, _ready: Option<f64>) -> State {
        State::new(at_ms)
    }

    fn decide(
        params: &Params,
        state: &mut State,
        seen: &Seen<'_>,
        notes: &mut Notes<'_>,
    ) -> Decision {
        let slot = seen.at_ms / SLOT_MS;
        if slot > state.slot {
            // The window reaches back over the slot that is just over; no data is no load.
            state.learn(slot - 1, seen.known(params.in_flight).unwrap_or(0.0));
            state.slot = slot;
        }
        let then_ms = seen.at_ms.saturating_add(params.lead_ms);
        let forecast = state.forecast(then_ms).unwrap_or(0.0);
        let floor = ((forecast / params.target).ceil() as u32).min(params.at_most);
        notes.figure("forecast, requests in flight", forecast);
        notes.figure("today, of the usual load", state.level);

        let decision = match seen.known(params.proposal).map(|proposed| proposed as u32) {
            Some(proposed) if proposed >= floor => Decision::replicas(proposed),
            None if floor == 0 => Decision::hold(),
            Some(_) | None => {
                let minutes = params.lead_ms / 60_000;
                notes.reason(|| format!("usually {forecast:.1} in flight in {minutes} minutes"));
                Decision::replicas(floor)
            }
        };
        // Asked again when this slot is over, and when the forecast is for another one.
        let ends_ms = |at_ms: u64| (at_ms / SLOT_MS + 1).saturating_mul(SLOT_MS) - at_ms;
        decision.until(seen.at_ms.saturating_add(ends_ms(seen.at_ms).min(ends_ms(then_ms))))
    }
}

#[cfg(test)]
mod tests;
