//! Smaller tries than a given one, those first that take most away.

use std::collections::BTreeMap;

use super::Try;
use crate::backend::sim::{Fault, Faults};
use crate::trace::synth::{Part, ServiceLoad, Shape, Span, Synth};

/// Every try that is one step smaller. A chain of such steps ends: each takes something away or makes a number smaller.
pub(super) fn smaller(whole: &Try) -> Vec<Try> {
    let mut tries = Vec::new();
    for at in 0..whole.faults.faults.len() {
        let mut faults = whole.faults.faults.clone();
        faults.remove(at);
        tries.push(Try { load: whole.load.clone(), faults: Faults { faults } });
    }
    let services = whole.load.services();
    for name in services.keys() {
        let mut fewer = services.clone();
        fewer.remove(name);
        let is_hit = |fault: &&Fault| match fault {
            Fault::StartFails { service, .. } => service == name,
            Fault::NodeLost { .. } => false,
        };
        let faults = whole.faults.faults.iter().filter(|fault| !is_hit(fault)).cloned().collect();
        tries.extend(try_of(whole.load.length(), fewer, Faults { faults }));
    }
    if let Some(length) = shorter(whole.load.length()) {
        tries.extend(try_of(length, services.clone(), whole.faults.clone()));
    }
    for (name, load) in services {
        for shape in smaller_shapes(load.shape.parts()) {
            let mut other = services.clone();
            other.insert(name.clone(), ServiceLoad { shape, ..load.clone() });
            tries.extend(try_of(whole.load.length(), other, whole.faults.clone()));
        }
    }
    for (at, fault) in whole.faults.faults.iter().enumerate() {
        if let Fault::NodeLost { node, at_seconds, back_at_seconds: Some(_) } = fault {
            let mut faults = whole.faults.faults.clone();
            let (node, at_seconds) = (node.clone(), *at_seconds);
            faults[at] = Fault::NodeLost { node, at_seconds, back_at_seconds: None };
            tries.push(Try { load: whole.load.clone(), faults: Faults { faults } });
        }
    }
    tries
}

fn try_of(length: Span, services: BTreeMap<String, ServiceLoad>, faults: Faults) -> Option<Try> {
    // Without services there is no load to speak of.
    let load = Synth::new(length, services).ok()?;
    Some(Try { load, faults })
}

fn smaller_shapes(parts: &[Part]) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for at in 0..parts.len() {
        let mut fewer = parts.to_vec();
        fewer.remove(at);
        shapes.extend(Shape::of(fewer).ok());
        for part in simpler(&parts[at]) {
            let mut other = parts.to_vec();
            other[at] = part;
            shapes.extend(Shape::of(other).ok());
        }
    }
    shapes
}

/// The same part in fewer words, or with smaller numbers.
fn simpler(part: &Part) -> Vec<Part> {
    let mut parts = Vec::new();
    let zero = Span::default();
    match part {
        Part::Constant { rate } => {
            parts.extend(lower(*rate).map(|rate| Part::Constant { rate }));
        }
        Part::Steps(steps) => {
            for (at, rate) in steps {
                parts.push(Part::Constant { rate: *rate });
                let mut fewer = steps.clone();
                fewer.remove(at);
                if !fewer.is_empty() {
                    parts.push(Part::Steps(fewer));
                }
                let halved = lower(*rate).map(|rate| {
                    let mut other = steps.clone();
                    other.insert(*at, rate);
                    Part::Steps(other)
                });
                parts.extend(halved);
            }
        }
        Part::Ramp { from, to, at, over } => {
            parts.push(Part::Constant { rate: *to });
            let (from, to) = (*from, *to);
            parts.extend(lower(to).map(|to| Part::Ramp { from, to, at: *at, over: *over }));
            parts.extend(lower(from).map(|from| Part::Ramp { from, to, at: *at, over: *over }));
            parts.extend(shorter(*over).map(|over| Part::Ramp { from, to, at: *at, over }));
            if *at > zero {
                parts.push(Part::Ramp { from, to, at: zero, over: *over });
            }
        }
        Part::Sinus { mean, amplitude, period, at } => {
            parts.push(Part::Constant { rate: mean + amplitude });
            if *at > zero {
                let (mean, amplitude, period) = (*mean, *amplitude, *period);
                parts.push(Part::Sinus { mean, amplitude, period, at: zero });
            }
        }
        Part::Bursts { height, period, width, at } => {
            let (height, period, width, at) = (*height, *period, *width, *at);
            parts.push(Part::Constant { rate: height });
            if at > zero {
                parts.push(Part::Bursts { height, period, width, at: zero });
            }
            parts.extend(lower(height).map(|height| Part::Bursts { height, period, width, at }));
            parts.extend(shorter(width).map(|width| Part::Bursts { height, period, width, at }));
        }
        Part::Flash { at, peak, rise, hold, decay } => {
            let (at, peak, rise, hold, decay) = (*at, *peak, *rise, *hold, *decay);
            parts.push(Part::Constant { rate: peak });
            if at > zero {
                parts.push(Part::Flash { at: zero, peak, rise, hold, decay });
            }
            parts.extend(lower(peak).map(|peak| Part::Flash { at, peak, rise, hold, decay }));
            parts.extend(shorter(decay).map(|decay| Part::Flash { at, peak, rise, hold, decay }));
            parts.extend(shorter(rise).map(|rise| Part::Flash { at, peak, rise, hold, decay }));
        }
        Part::Diurnal { low, high, .. } => {
            parts.push(Part::Constant { rate: *high });
            parts.push(Part::Constant { rate: *low });
        }
        Part::OnOff { rate, on, off, at } => {
            let (rate, on, off, at) = (*rate, *on, *off, *at);
            parts.push(Part::Constant { rate });
            if at > zero {
                parts.push(Part::OnOff { rate, on, off, at: zero });
            }
            parts.extend(lower(rate).map(|rate| Part::OnOff { rate, on, off, at }));
            parts.extend(shorter(on).map(|on| Part::OnOff { rate, on, off, at }));
        }
    }
    parts
}

/// The next lower round rate: 5, 2, 1 of each power of ten.
fn lower(rate: f64) -> Option<f64> {
    const ROUND: [f64; 16] = [
        0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0,
        1_000.0,
    ];
    ROUND.iter().rev().find(|round| **round < rate).copied()
}

/// Half of a span, in whole seconds; nothing below one.
fn shorter(span: Span) -> Option<Span> {
    let half_s = span.us() / 2_000_000;
    (half_s > 0).then(|| Span::of_s(half_s))
}
