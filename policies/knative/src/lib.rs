//! Knative's KPA autoscaler: from two averages and the ready replicas to a number of replicas. It decides about demand alone;
//! bounds are the host's, and the last replica is `scale-to-zero`'s.
//!
//! Settings are Knative's: the profile's ConfigMap and the service's annotations. The rules and their order, floats included, are
//! those of Knative Serving 1.23 (`pkg/autoscaler/scaling/autoscaler.go`).

mod delay;
mod rules;

use serde::{Deserialize, Serialize};
use tidegate_policy::{
    Averaging, Causes, Column, Decision, Document, Faults, Notes, Output, Scaling, Seen, Wants,
};
use tidegate_settings::{Aggregation, Metric};

pub use delay::Delay;
pub use rules::{Averages, Numbers, State, Verdict};

/// The policy.
#[derive(Debug)]
pub struct Knative;

tidegate_policy::export_scaling!(Knative);

/// It has no settings of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

/// What `bind` makes of a document: the numbers, and the columns that it reads and gives.
#[derive(Debug, Serialize, Deserialize)]
pub struct Params {
    numbers: Numbers,
    metric: Metric,
    stable: Column,
    panic: Column,
    ready: Column,
    reachable: Column,
    excess: Output,
    needs_gateway: Output,
    in_panic: Output,
    held: Output,
}

impl Scaling for Knative {
    type Settings = Settings;
    type Params = Params;
    type State = State;
    const STATE_SCHEMA: &'static str = "knative/1";

    fn bind(document: Document<Settings>, want: &mut Wants) -> Result<Params, Faults> {
        let Document { profile, service, .. } = document;
        let (resolved, warnings) = tidegate_settings::resolve(
            &profile,
            &service.annotations,
            service.container_concurrency,
        )
        .map_err(|problems| problems.into_iter().map(Into::into).collect::<Faults>())?;
        warnings.into_iter().for_each(|warning| want.warn(warning.path, warning.message));

        want.causes(Causes::TICK | Causes::POKE);
        let signal = match resolved.metric {
            Metric::Concurrency => "concurrency",
            Metric::Rps => "arrivals",
        };
        let averaging = match resolved.aggregation {
            Aggregation::Linear => Averaging::Linear,
            Aggregation::WeightedExponential => Averaging::WeightedExponential,
        };
        Ok(Params {
            metric: resolved.metric,
            stable: want.window(signal, resolved.stable_window_s, averaging),
            panic: want.window(signal, resolved.panic_window_s, averaging),
            ready: want.fact("ready-replicas"),
            reachable: want.optional_fact("reachable"),
            excess: want.gives("excess-burst-capacity"),
            needs_gateway: want.gives("needs-gateway"),
            in_panic: want.gives("in-panic"),
            held: want.gives("held-replicas"),
            numbers: Numbers::of(&resolved),
        })
    }

    fn init(params: &Params, at_ms: u64, ready: Option<f64>) -> State {
        State::new(&params.numbers, at_ms, ready)
    }

    fn decide(
        params: &Params,
        state: &mut State,
        seen: &Seen<'_>,
        notes: &mut Notes<'_>,
    ) -> Decision {
        let numbers = &params.numbers;
        let is_reachable = seen[params.reachable] != 0.0; // not known counts as reachable
        let averages = numbers.averages(seen[params.stable], seen[params.panic]);
        let ready = seen.known(params.ready);
        let decision = match (ready, averages) {
            (Some(ready), Some(averages)) => {
                let verdict = state.decide(numbers, seen.at_ms, ready, averages, is_reachable);
                tell(params, &verdict, ready, averages, notes);
                Decision::replicas(verdict.desired).until(verdict.stands_until_ms)
            }
            // Nothing is learnt and nothing changes, however often the same is seen.
            (None, _) => {
                notes.reason(|| "ready replicas are not known".into());
                Decision::hold().standing()
            }
            (_, None) => {
                notes.reason(|| "no data".into());
                Decision::hold().standing()
            }
        };
        notes.give(params.excess, state.excess);
        notes.give_flag(params.needs_gateway, state.excess < 0.0);
        notes.give_flag(params.in_panic, state.panic_since_ms.is_some());
        notes.give(params.held, f64::from(state.held));
        decision
    }
}

/// The reason in one line, and every number on the way to it.
fn tell(params: &Params, verdict: &Verdict, ready: f64, averages: Averages, notes: &mut Notes<'_>) {
    let numbers = &params.numbers;
    let (unit, is_flowing) = match params.metric {
        Metric::Concurrency => ("requests", "in flight"),
        Metric::Rps => ("requests/s", "requests/s"),
    };
    notes.reason(|| {
        let Verdict { desired, by_stable, by_panic, in_panic, undelayed, .. } = *verdict;
        // What a window adds up from its parts can be a hair below zero, which nobody wants to read; adding 0 makes −0 a 0.
        let (stable, panic) = (averages.stable.max(0.0) + 0.0, averages.panic.max(0.0) + 0.0);
        let (over, below) = (numbers.panic_window_s, numbers.stable_window_s);
        if desired > undelayed {
            format!(
                "scale-down delay: {desired} were wanted within {} s, now {undelayed}",
                numbers.delay_s
            )
        } else if in_panic && desired > by_panic.max(by_stable) {
            format!(
                "panic: holds {desired}, now {panic:.1} {is_flowing} over {over} s want {by_panic}"
            )
        } else if in_panic && by_panic >= by_stable {
            format!("panic: {panic:.1} {is_flowing} over {over} s wants {desired}, {ready} ready")
        } else {
            let mode = if in_panic { "panic: " } else { "" };
            format!("{mode}{stable:.1} {is_flowing} over {below} s wants {desired}, {ready} ready")
        }
    });
    if !notes.is_read() {
        return;
    }
    let figures = [
        ("stable average", averages.stable),
        ("panic average", averages.panic),
        ("target of a replica", numbers.target),
        ("total of a replica", numbers.total),
    ];
    for (name, value) in figures {
        notes.figure(&format!("{name}, {unit}"), value);
    }
    for (name, value) in [
        ("ready replicas", ready),
        ("most replicas at once", verdict.up),
        ("fewest replicas at once", verdict.down),
        ("wanted by the stable average, before rates", verdict.raw_stable),
        ("wanted by the panic average, before rates", verdict.raw_panic),
        ("wanted by the stable average, replicas", f64::from(verdict.by_stable)),
        ("wanted by the panic average, replicas", f64::from(verdict.by_panic)),
        (
            "panic average over ready, of the threshold",
            verdict.raw_panic / ready.max(1.0) / numbers.panic_threshold,
        ),
        ("wanted before the scale-down delay, replicas", f64::from(verdict.undelayed)),
        ("wanted, replicas", f64::from(verdict.desired)),
        ("excess burst capacity, requests", verdict.excess),
    ] {
        notes.figure(name, value);
    }
}
