//! Keeps spare replicas on top of what the stages before it want, for load that grows faster than a replica starts. A target of which
//! nothing is wanted gets none, so it still scales to zero.

use serde::{Deserialize, Serialize};
use tidegate_policy::{Causes, Column, Decision, Document, Faults, Notes, Scaling, Seen, Wants};

/// The policy.
#[derive(Debug)]
pub struct Policy;

tidegate_policy::export_scaling!(Policy);

/// What its user writes under `settings` of the stage.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// Spare replicas for every hundred that are wanted, rounded up.
    percent: f64,
    /// At least so many spare ones.
    at_least: u32,
    /// At most so many.
    at_most: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { percent: 20.0, at_least: 1, at_most: 4 }
    }
}

/// What `bind` makes of the settings: all that `decide` reads, the column of its input included.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    spare: Settings,
    proposal: Column,
    in_panic: Column,
    ready: Column,
}

impl Scaling for Policy {
    type Settings = Settings;
    type Params = Params;
    /// What was wanted last.
    type State = u32;
    // Count this up whenever the layout of `State` changes.
    const STATE_SCHEMA: &'static str = "template-stage/1";

    fn bind(document: Document<Settings>, want: &mut Wants) -> Result<Params, Faults> {
        let spare = document.settings;
        let mut faults = Faults::default();
        if !(0.0..=1_000.0).contains(&spare.percent) {
            let found = spare.percent;
            faults.push("settings.percent", format!("found {found}, expected 0 to 1000"));
        }
        if spare.at_least > spare.at_most {
            let (found, at_most) = (spare.at_least, spare.at_most);
            faults.push(
                "settings.atLeast",
                format!("found {found}, expected at most atMost, which is {at_most}"),
            );
        }
        // `CHANGE` comes whenever the stages before this one want something else.
        want.causes(Causes::CREATED | Causes::CHANGE);
        let (proposal, in_panic) = (want.output("proposal"), want.optional_output("in-panic"));
        let ready = want.fact("ready-replicas");
        faults.or(Params { spare, proposal, in_panic, ready })
    }

    fn init(_: &Params, _at_ms: u64, _ready: Option<f64>) -> u32 {
        0
    }

    fn decide(params: &Params, last: &mut u32, seen: &Seen<'_>, notes: &mut Notes<'_>) -> Decision {
        let Some(proposed) = seen.known(params.proposal).map(|proposed| proposed as u32) else {
            return Decision::hold().standing();
        };
        let Settings { percent, at_least, at_most } = params.spare;
        let part = (f64::from(proposed) * percent / 100.0).ceil() as u32;
        // In panic, `knative` keeps all that is ready, spare ones included: spare ones of these would have spare ones in turn.
        let is_ready = seen.known(params.ready).is_some_and(|ready| f64::from(proposed) <= ready);
        let is_held = seen.is(params.in_panic) && is_ready && proposed <= *last;
        let spare = match proposed {
            0 => 0,
            _ if is_held => *last - proposed,
            _ => part.clamp(at_least, at_most),
        };
        *last = proposed.saturating_add(spare);
        if spare > 0 {
            // Without a reason, that of the stage before stands in the timeline.
            notes.reason(|| format!("{spare} spare on top of {proposed}"));
        }
        notes.figure("proposed, replicas", f64::from(proposed));
        notes.figure("spare, replicas", f64::from(spare));
        Decision::replicas(*last).standing()
    }
}

#[cfg(test)]
mod tests;
