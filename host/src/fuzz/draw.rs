//! Draws a try. Numbers are round ones, as a person would write them: what is found is to be read.

use std::collections::BTreeMap;

use super::{Ground, Try};
use crate::backend::sim::{Fault, Faults};
use crate::seed::Draws;
use crate::trace::synth::{Part, ServiceLoad, Shape, Span, Synth};

/// Requests a second that shapes are made of.
const RATES: [f64; 12] = [0.01, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0];
/// Lengths that shapes are made of. Seconds. Among them those that policies have as their own: ticks, windows, delays.
const SPANS_S: [u64; 14] = [1, 2, 5, 6, 10, 20, 30, 60, 90, 120, 180, 300, 600, 1_800];

/// A try within `ground`.
pub(super) fn draw(ground: &Ground, draws: &mut Draws) -> Try {
    let longest_s = (ground.longest.us() / 1_000_000).max(1);
    let shortest_s = longest_s.min(60);
    let length_s = shortest_s + below(draws, longest_s - shortest_s + 1) / 60 * 60;
    let mut services = BTreeMap::new();
    for service in &ground.services {
        // One at least, and often one alone: what happens to it is easier to read.
        let is_last = services.is_empty() && Some(service) == ground.services.last();
        if is_last || draws.uniform() < 0.6 {
            services.insert(service.clone(), load(ground, length_s, draws));
        }
    }
    let load = Synth::new(Span::of_s(length_s), services).expect("it has length and services");
    let mut faults = Vec::new();
    while draws.uniform() < 0.3 && faults.len() < 3 {
        faults.push(fault(ground, load.services(), length_s, draws));
    }
    Try { load, faults: Faults { faults } }
}

fn load(ground: &Ground, length_s: u64, draws: &mut Draws) -> ServiceLoad {
    let parts = (0..=below(draws, 3)).map(|_| part(ground, length_s, draws)).collect();
    ServiceLoad::of(Shape::of(parts).expect("each part is drawn within its ranges"))
}

fn part(ground: &Ground, length_s: u64, draws: &mut Draws) -> Part {
    let rate = |draws: &mut Draws| {
        let allowed = RATES.iter().filter(|rate| **rate <= ground.highest_rate).count().max(1);
        RATES[below(draws, allowed as u64) as usize].min(ground.highest_rate)
    };
    let span = |draws: &mut Draws| {
        let allowed = SPANS_S.iter().filter(|span| **span <= length_s).count().max(1);
        Span::of_s(SPANS_S[below(draws, allowed as u64) as usize])
    };
    let at = |draws: &mut Draws| Span::of_s(below(draws, length_s.div_ceil(10)) * 10);
    match below(draws, 6) {
        0 => Part::Constant { rate: rate(draws) },
        1 => {
            let steps = 1 + below(draws, 4);
            Part::Steps((0..steps).map(|_| (at(draws), rate(draws))).collect())
        }
        2 => Part::Ramp { from: rate(draws), to: rate(draws), at: at(draws), over: span(draws) },
        3 => {
            let (one, other) = (span(draws), span(draws));
            let (width, period) = (one.min(other), one.max(other));
            Part::Bursts { height: rate(draws), period, width, at: at(draws) }
        }
        4 => Part::Flash {
            at: at(draws),
            peak: rate(draws),
            rise: span(draws),
            hold: Span::default(),
            decay: span(draws),
        },
        _ => Part::OnOff { rate: rate(draws), on: span(draws), off: span(draws), at: at(draws) },
    }
}

fn fault(
    ground: &Ground,
    services: &BTreeMap<String, ServiceLoad>,
    length_s: u64,
    draws: &mut Draws,
) -> Fault {
    if ground.nodes.is_empty() || draws.uniform() < 0.4 {
        let service = services.keys().nth(below(draws, services.len() as u64) as usize);
        let service = service.expect("there is load for one at least").clone();
        return Fault::StartFails { service, probability: (1 + below(draws, 9)) as f64 / 10.0 };
    }
    let node = ground.nodes[below(draws, ground.nodes.len() as u64) as usize].clone();
    let at_s = below(draws, length_s.div_ceil(10)) * 10;
    let back_at_seconds =
        (draws.uniform() < 0.5).then(|| (at_s + 10 * (1 + below(draws, 60))) as f64);
    Fault::NodeLost { node, at_seconds: at_s as f64, back_at_seconds }
}

/// A whole number below `end`, which is at least 1.
fn below(draws: &mut Draws, end: u64) -> u64 {
    (draws.uniform() * end as f64) as u64
}
