//! At least so many replicas in office hours. A stage behind another: outside office hours what that one wants stands as it is.

mod hours;

use serde::Deserialize;
use tidegate_policy::{Causes, Column, Decision, Document, Faults, Notes, Scaling, Seen, Wants};

use hours::Hours;

/// The policy.
#[derive(Debug)]
pub struct OfficeHours;

tidegate_policy::export_scaling!(OfficeHours);

/// What its user writes under `settings`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// At least so many replicas in office hours.
    minimum: u32,
    /// When the office is open.
    #[serde(default)]
    hours: Hours,
}

impl Scaling for OfficeHours {
    type Settings = Settings;
    type Params = (u32, Hours, Column);
    type State = ();
    const STATE_SCHEMA: &'static str = "office-hours/1";

    fn bind(document: Document<Settings>, want: &mut Wants) -> Result<Self::Params, Faults> {
        let Settings { minimum, hours } = document.settings;
        let mut faults = Faults::default();
        hours.check(&mut faults);
        want.causes(Causes::CREATED | Causes::CHANGE | Causes::TIMER);
        faults.or((minimum, hours, want.output("proposal")))
    }

    fn init(_: &Self::Params, _at_ms: u64, _ready: Option<f64>) {}

    fn decide(
        (minimum, hours, proposal): &Self::Params,
        _: &mut (),
        seen: &Seen<'_>,
        notes: &mut Notes<'_>,
    ) -> Decision {
        let now = hours.at(seen.at_ms);
        let proposed = seen.known(*proposal).map(|proposed| proposed as u32);
        let decision = match proposed {
            Some(proposed) if proposed >= *minimum || !now.is_open => Decision::replicas(proposed),
            _ if now.is_open => {
                notes.reason(|| format!("office hours until {}:00: at least {minimum}", hours.to));
                Decision::replicas(*minimum)
            }
            _ => Decision::hold(),
        };
        decision.until(now.until_ms)
    }
}

#[cfg(test)]
mod tests;
