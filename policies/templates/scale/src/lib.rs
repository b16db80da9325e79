//! Scales by concurrency: as many replicas as it takes for each to have `target` requests in flight. Up at once; down when so few
//! were enough for all of `scaleDownDelayS`. Zero is wanted when nothing is in flight; `builtin:scale-to-zero` behind this
//! stage sees to it that the last replica goes without losing a request.

use serde::{Deserialize, Serialize};
use tidegate_policy::{
    Averaging, Causes, Column, Decision, Document, Faults, Notes, Scaling, Seen, Wants,
};

/// The policy.
#[derive(Debug)]
pub struct Policy;

tidegate_policy::export_scaling!(Policy);

/// What its user writes under `settings` of the stage. Whole seconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// Requests that a replica should have in flight.
    target: f64,
    /// What is in flight is averaged over so long.
    window_s: u32,
    /// For so long must fewer replicas have been enough before any goes.
    scale_down_delay_s: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { target: 8.0, window_s: 30, scale_down_delay_s: 300 }
    }
}

/// What `bind` makes of the settings: all that `decide` reads, the columns of its inputs included.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    target: f64,
    delay_ms: u64,
    in_flight: Column,
}

/// What is remembered of a target: what was needed within the delay and not less since, latest last; so counts go down, and the
/// first is the most.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State(Vec<(u64, u32)>);

impl State {
    /// The most that was needed within the delay, now included.
    fn most(&mut self, at_ms: u64, needed: u32, delay_ms: u64) -> u32 {
        self.0
            .retain(|(since_ms, more)| *more > needed && since_ms.saturating_add(delay_ms) > at_ms);
        self.0.push((at_ms, needed));
        self.0[0].1
    }
}

impl Scaling for Policy {
    type Settings = Settings;
    type Params = Params;
    type State = State;
    // Count this up whenever `State` changes its layout, or old bytes are read as new ones.
    const STATE_SCHEMA: &'static str = "template-scale/1";

    fn bind(document: Document<Settings>, want: &mut Wants) -> Result<Params, Faults> {
        let Settings { target, window_s, scale_down_delay_s } = document.settings;
        let mut faults = Faults::default();
        if !(target > 0.0 && target.is_finite()) {
            faults.push("settings.target", format!("found {target}, expected above 0"));
        }
        if !(1..=3_600).contains(&window_s) {
            faults.push("settings.windowS", format!("found {window_s}, expected 1 to 3600"));
        }
        if scale_down_delay_s > 3_600 {
            let found = scale_down_delay_s;
            faults
                .push("settings.scaleDownDelayS", format!("found {found}, expected at most 3600"));
        }
        want.causes(Causes::CREATED | Causes::TICK | Causes::POKE);
        let in_flight = want.window("concurrency", window_s, Averaging::Linear);
        faults.or(Params { target, delay_ms: 1_000 * u64::from(scale_down_delay_s), in_flight })
    }

    fn init(_: &Params, _at_ms: u64, _ready: Option<f64>) -> State {
        State::default()
    }

    fn decide(
        params: &Params,
        state: &mut State,
        seen: &Seen<'_>,
        notes: &mut Notes<'_>,
    ) -> Decision {
        let is_poked = seen.causes & Causes::POKE == Causes::POKE;
        let Some(in_flight) = seen.known(params.in_flight) else {
            // Nothing was reported: what there is stays, but a request that waits at zero gets a replica.
            return if is_poked { Decision::replicas(1) } else { Decision::hold() };
        };
        let needed = (in_flight / params.target).ceil() as u32;
        let needed = needed.max(u32::from(is_poked));
        let wanted = state.most(seen.at_ms, needed, params.delay_ms);
        notes.reason(|| {
            let told = format!("{in_flight:.1} in flight at {} a replica", params.target);
            if wanted > needed { format!("{told}; {wanted} were needed lately") } else { told }
        });
        notes.figure("in flight, requests", in_flight);
        notes.figure("needed now, replicas", f64::from(needed));
        Decision::replicas(wanted)
    }
}

#[cfg(test)]
mod tests;
