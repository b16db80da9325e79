//! Knative's rules for the last replica: when it may go, and whether requests pass through the gateway. What demand wants is told by
//! the stages before it, bounds are the host's; this policy turns a wanted zero into a zero that drops nothing.
//!
//! The rules are those of Knative Serving 1.23 (`pkg/reconciler/autoscaling/kpa`). One decision is one run of its reconciler: the
//! host asks again for as long as something changes.

mod condition;
mod rules;

use serde::{Deserialize, Serialize};
use tidegate_policy::{
    Causes, Column, Decision, Document, Faults, Notes, Output, Scaling, Seen, Wants,
};

pub use condition::{Condition, Phase};
pub use rules::{Numbers, Sight, State, Verdict, Wait};

/// The policy.
#[derive(Debug)]
pub struct ScaleToZero;

tidegate_policy::export_scaling!(ScaleToZero);

/// It has no settings of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

/// What `bind` makes of a document: the numbers, and the columns that it reads and gives.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    numbers: Numbers,
    proposal: Column,
    needs_gateway: Column,
    ready: Column,
    min: Column,
    initial: Column,
    is_initialised: Column,
    reachable: Column,
    gateway_answers: Column,
    in_path_since: Column,
    active: Output,
    in_path: Output,
    activators: Output,
    desired_scale: Output,
}

impl Scaling for ScaleToZero {
    type Settings = Settings;
    type Params = Params;
    type State = State;
    const STATE_SCHEMA: &'static str = "scale-to-zero/1";

    fn bind(document: Document<Settings>, want: &mut Wants) -> Result<Params, Faults> {
        let Document { profile, service, .. } = document;
        let (resolved, warnings) = tidegate_settings::resolve(
            &profile,
            &service.annotations,
            service.container_concurrency,
        )
        .map_err(|problems| problems.into_iter().map(Into::into).collect::<Faults>())?;
        warnings.into_iter().for_each(|warning| want.warn(warning.path, warning.message));

        want.causes(Causes::CREATED | Causes::CHANGE | Causes::TIMER);
        Ok(Params {
            proposal: want.output("proposal"),
            needs_gateway: want.optional_output("needs-gateway"),
            ready: want.fact("ready-replicas"),
            min: want.fact("min-replicas"),
            initial: want.fact("initial-replicas"),
            is_initialised: want.fact("is-initialised"),
            reachable: want.optional_fact("reachable"),
            gateway_answers: want.fact("gateway-answers"),
            in_path_since: want.fact("gateway-in-path-since-ms"),
            active: want.gives("active"),
            in_path: want.gives("gateway-in-path"),
            activators: want.gives("activators"),
            desired_scale: want.gives("desired-scale"),
            numbers: Numbers::of(&resolved, service.progress_deadline_ms),
        })
    }

    fn init(_params: &Params, at_ms: u64, _ready: Option<f64>) -> State {
        State::new(at_ms)
    }

    fn decide(
        params: &Params,
        state: &mut State,
        seen: &Seen<'_>,
        notes: &mut Notes<'_>,
    ) -> Decision {
        let Some(ready) = seen.known(params.ready) else {
            notes.reason(|| "ready replicas are not known".into());
            give(params, state, f64::NAN, notes);
            return Decision::hold().until(state.next_at_ms());
        };
        let needs_gateway = seen.known(params.needs_gateway);
        let sight = Sight {
            at_ms: seen.at_ms,
            proposal: seen.known(params.proposal).map(|proposal| proposal as u32),
            needs_gateway: needs_gateway
                .map_or(params.numbers.needs_gateway_at_first, |needs| needs == 1.0),
            ready,
            min: seen.known(params.min).unwrap_or(0.0) as u32,
            initial: seen.known(params.initial).unwrap_or(1.0) as u32,
            is_initialised: seen.is(params.is_initialised),
            is_reachable: seen[params.reachable] != 0.0, // not known counts as reachable
            gateway_answers: seen.is(params.gateway_answers),
            in_path_since_ms: seen.known(params.in_path_since).map(|since| since as u64),
            is_only_change: seen.causes == Causes::CHANGE,
        };
        let verdict = state.decide(&params.numbers, &sight);
        notes.reason(|| verdict.wait.told(state, &params.numbers));
        if notes.is_read() {
            figures(state, &sight, notes);
        }
        give(params, state, ready, notes);
        let decision = match verdict.wanted {
            Some(wanted) if verdict.apply => Decision::replicas(wanted),
            Some(wanted) => Decision { wanted, ..Decision::hold() },
            None => Decision::hold(),
        };
        decision.until(state.next_at_ms())
    }
}

fn give(params: &Params, state: &State, ready: f64, notes: &mut Notes<'_>) {
    notes.give(params.active, state.condition.phase.as_output());
    notes.give_flag(params.in_path, state.is_proxied);
    notes.give(params.activators, params.numbers.activators(ready));
    notes.give(params.desired_scale, state.desired.map_or(-1.0, f64::from));
}

fn figures(state: &State, sight: &Sight, notes: &mut Notes<'_>) {
    let count = |count: Option<u32>| count.map_or(f64::NAN, f64::from);
    let flag = |flag: bool| f64::from(u8::from(flag));
    for (name, value) in [
        ("proposed, replicas", count(sight.proposal)),
        ("ready replicas", sight.ready),
        ("minimum, replicas", f64::from(sight.min)),
        ("initial, replicas", f64::from(sight.initial)),
        ("was initialised", flag(sight.is_initialised)),
        ("gateway answers", flag(sight.gateway_answers)),
        ("gateway wanted in the path", flag(sight.needs_gateway)),
        (
            "gateway in the path since, Unix ms",
            sight.in_path_since_ms.map_or(f64::NAN, |ms| ms as f64),
        ),
        ("active: 1, inactive: 0, activating: -1", state.condition.phase.as_output()),
        ("in this condition since, Unix s", state.condition.since_s as f64),
        ("next look, Unix ms", state.timer_ms.map_or(f64::NAN, |ms| ms as f64)),
    ] {
        notes.figure(name, value);
    }
}
