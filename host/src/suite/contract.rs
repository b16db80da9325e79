//! What every policy must keep to, checked on what it was asked in the cases and on variations of that: deterministic, order and batches
//! of no matter, nothing kept but its state, an answer to whatever is seen, and where its suite says so, monotone.

mod batches;
mod places;
mod requests;

use std::cell::Cell;
use std::collections::BTreeSet;

use serde::Serialize;

use super::recording::Heard;
use crate::policy::wire::{Batch, Decisions, Program, Scope, Source};
use crate::policy::{CallErrorKind, ComponentScaling, Limits, Package, ScalingPolicy as _};
use batches::{First, joined, of_target, reversed, select, targets};
pub use places::check_places;

/// Batches of which variations are tried.
const VARIED: usize = 24;
/// Targets of a batch that are asked about alone.
const ALONE: usize = 8;
/// More replicas for one target than anybody has.
const ABSURD: u32 = 1_000_000;
/// A batch of several that takes more than that share of its fuel gets no answer.
const FUEL_AT_MOST: f64 = 0.5;

/// What checking a policy came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// The policy's name.
    pub policy: String,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// Decisions that the cases asked it for.
    pub decisions: u64,
    /// The largest share of its fuel that a call took. 1 is all.
    pub fuel_share: f64,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What must hold, in a word or two.
    pub name: String,
    /// What came of it.
    pub outcome: CheckOutcome,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is", content = "message")]
pub enum CheckOutcome {
    /// It holds.
    Passed,
    /// It does not; what was found.
    Failed(String),
    /// Nothing that the cases asked could tell; why.
    Skipped(String),
}

impl Checked {
    /// Whether no check failed.
    pub fn holds(&self) -> bool {
        !self.checks.iter().any(|check| matches!(check.outcome, CheckOutcome::Failed(_)))
    }
}

/// Checks the policy `name` of `package` on what was `heard`. More of the inputs `monotone` must never make for fewer replicas.
pub fn check(
    name: &str,
    package: &Package,
    limits: &Limits,
    heard: &Heard,
    monotone: &[String],
) -> Checked {
    let subject = Subject { package, limits, heard, fuel_share: Cell::new(heard.fuel_share) };
    let mut checks = Vec::new();
    let mut note = |name: &str, outcome| checks.push(Check { name: name.to_owned(), outcome });
    note("deterministic", subject.deterministic());
    note("state alone", subject.keeps_nothing_else());
    note("order", subject.order());
    note("batch", subject.batch());
    note("any input", subject.any_input());
    note("explains", subject.explains());
    for input in monotone {
        note(&format!("monotone in {input}"), subject.monotone(input));
    }
    let fuel_share = subject.fuel_share.get();
    let share = format!("{:.0} % of its fuel at most", (fuel_share * 100.0).ceil());
    note(
        "fuel",
        if fuel_share > FUEL_AT_MOST {
            CheckOutcome::Failed(format!(
                "{share}: a batch of several services may take half, for the rest finds who is at fault"
            ))
        } else {
            CheckOutcome::Passed
        },
    );
    Checked { policy: name.to_owned(), checks, decisions: heard.decisions, fuel_share }
}

struct Subject<'a> {
    package: &'a Package,
    limits: &'a Limits,
    heard: &'a Heard,
    /// The largest share of its fuel that a call took.
    fuel_share: Cell<f64>,
}

impl Subject<'_> {
    /// The policy as if nobody had asked it anything but to bind.
    fn fresh(&self) -> ComponentScaling {
        let mut policy = self.package.scaling().expect("it was asked, so it scales");
        for (settings, _) in &self.heard.bound {
            // It was accepted before; what is not now shows in what it decides.
            let _ = policy.bind(settings);
        }
        policy
    }

    fn asks(
        &self,
        policy: &mut ComponentScaling,
        seen: &Batch,
        columns: usize,
    ) -> Result<Decisions, (CallErrorKind, String)> {
        let answer = policy.decide(seen, columns);
        let share = answer.fuel as f64 / self.limits.fuel(targets(seen)) as f64;
        self.fuel_share.set(self.fuel_share.get().max(share));
        match answer.failed.into_iter().next() {
            None => Ok(answer.decisions),
            Some((_, error)) => Err((error.kind, error.message)),
        }
    }

    fn deterministic(&self) -> CheckOutcome {
        let mut policy = self.fresh();
        for (seen, columns, _) in &self.heard.batches {
            let once = self.asks(&mut policy, seen, *columns);
            let twice = self.asks(&mut policy, seen, *columns);
            match (once, twice) {
                (Ok(once), Ok(twice)) => {
                    if let Some(told) = First::difference(seen, *columns, &once, &twice) {
                        return CheckOutcome::Failed(format!(
                            "asked twice with the same, {}",
                            told.told("first", "then")
                        ));
                    }
                }
                (Err((_, message)), _) | (_, Err((_, message))) => {
                    return CheckOutcome::Failed(format!("asked again with the same, {message}"));
                }
            }
        }
        self.tried(self.heard.batches.len())
    }

    /// What was decided in a run is decided again by a policy that has not been through that run.
    fn keeps_nothing_else(&self) -> CheckOutcome {
        for (seen, columns, decided) in &self.heard.batches {
            let mut policy = self.fresh();
            match self.asks(&mut policy, seen, *columns) {
                Ok(anew) => {
                    if let Some(told) = First::difference(seen, *columns, decided, &anew) {
                        return CheckOutcome::Failed(format!(
                            "with the same state in a fresh instance, {}",
                            told.told("in the run", "then")
                        ));
                    }
                }
                Err((_, message)) => {
                    return CheckOutcome::Failed(format!("in a fresh instance, {message}"));
                }
            }
        }
        self.tried(self.heard.batches.len())
    }

    fn order(&self) -> CheckOutcome {
        let mut policy = self.fresh();
        let mut tried = 0;
        for (seen, columns) in self.of_several() {
            let Ok(decided) = self.asks(&mut policy, &seen, columns) else { continue };
            let (turned, order) = reversed(&seen);
            tried += 1;
            match self.asks(&mut policy, &turned, columns) {
                Ok(anew) => {
                    let anew = batches::rearranged(&anew, &order, columns);
                    if let Some(told) = First::difference(&seen, columns, &decided, &anew) {
                        return CheckOutcome::Failed(format!(
                            "with its targets in another order, {}",
                            told.told("before", "then")
                        ));
                    }
                }
                Err((_, message)) => {
                    return CheckOutcome::Failed(format!(
                        "with its targets in another order, {message}"
                    ));
                }
            }
        }
        self.tried(tried)
    }

    /// Where each target stands alone, a batch of n gives what n batches of one give.
    fn batch(&self) -> CheckOutcome {
        if self.scope() != Scope::Target {
            return CheckOutcome::Skipped("it decides about several targets together".to_owned());
        }
        let mut policy = self.fresh();
        let mut tried = 0;
        for (seen, columns) in self.of_several() {
            let Ok(decided) = self.asks(&mut policy, &seen, columns) else { continue };
            for position in 0..targets(&seen).min(ALONE) {
                let alone = select(&seen, &[position as u32]);
                let program = self.program(&alone, 0);
                // With fewer columns of outputs than the batch has, the rest is not read.
                let its = program.map_or(columns, |program| program.outputs.len()).min(columns);
                let anew = match self.asks(&mut policy, &alone, its) {
                    Ok(anew) => anew,
                    Err((_, message)) => {
                        return CheckOutcome::Failed(format!(
                            "asked about one of several alone, {message}"
                        ));
                    }
                };
                tried += 1;
                let (one, other) = (of_target(&decided, position, its), of_target(&anew, 0, its));
                if one != other {
                    let told = First { at_ms: seen.at_ms, one, other };
                    return CheckOutcome::Failed(format!(
                        "asked about one of several alone, {}",
                        told.told("in the batch", "alone")
                    ));
                }
            }
        }
        self.tried(tried)
    }

    /// An answer in order to whatever is seen: each input not known, zero, and far more; and all of them not known.
    fn any_input(&self) -> CheckOutcome {
        let mut policy = self.fresh();
        let heard = self.heard;
        let mut tried = 0;
        for (seen, columns, _) in heard.batches.iter().take(VARIED) {
            let n = targets(seen);
            let of = seen.inputs.len() / n.max(1);
            let labels = self.program(seen, 0).map(labels).unwrap_or_default();
            let mut variations = vec![(seen.clone(), "as it was".to_owned())];
            let with = |change: &dyn Fn(usize, f64) -> f64| {
                let mut varied = seen.clone();
                for (at, value) in varied.inputs.iter_mut().enumerate() {
                    *value = change(at / n, *value);
                }
                varied
            };
            variations.push((with(&|_, _| f64::NAN), "with nothing known".to_owned()));
            for column in 0..of {
                let name = labels.get(column).map_or("an input", String::as_str);
                for (change, told) in [
                    ((|_| f64::NAN) as fn(f64) -> f64, "not known"),
                    (|_| 0.0, "0"),
                    (|value| value * 10.0 + 1.0, "ten times as large"),
                ] {
                    let varied =
                        with(&|at, value| if at == column { change(value) } else { value });
                    variations.push((varied, format!("with {name} {told}")));
                }
            }
            for (varied, what) in variations {
                tried += 1;
                let decided = match self.asks(&mut policy, &varied, *columns) {
                    Ok(decided) => decided,
                    // A policy may say that it cannot decide; what it may not is fall over.
                    Err((CallErrorKind::Refused, _)) => continue,
                    Err((_, message)) => return CheckOutcome::Failed(format!("{what}, {message}")),
                };
                if let Some(told) = nonsense(&varied, &decided) {
                    return CheckOutcome::Failed(format!("{what}, {told}"));
                }
            }
        }
        self.tried(tried)
    }

    fn explains(&self) -> CheckOutcome {
        let mut policy = self.fresh();
        for (seen, ..) in self.heard.batches.iter().take(VARIED) {
            if let Err(error) = policy.explain(seen) {
                return CheckOutcome::Failed(format!("it cannot tell why: {error}"));
            }
        }
        self.tried(self.heard.batches.len())
    }

    fn monotone(&self, input: &str) -> CheckOutcome {
        let known: BTreeSet<String> = self
            .heard
            .bound
            .iter()
            .flat_map(|(_, program)| program.inputs.iter().map(|input| name_of(&input.source)))
            .collect();
        if !known.contains(input) {
            let nearest = tidegate_settings::nearest(input, known.iter().map(String::as_str));
            let expected = nearest.map_or_else(
                || known.iter().cloned().collect::<Vec<_>>().join(", "),
                str::to_owned,
            );
            return CheckOutcome::Failed(format!("it asks for no {input}, expected {expected}"));
        }
        let mut policy = self.fresh();
        let heard = self.heard;
        let mut tried = 0;
        for (seen, columns, _) in &heard.batches {
            let n = targets(seen);
            let mut before = seen.clone();
            let Ok(mut decided) = self.asks(&mut policy, &before, *columns) else { continue };
            for _ in 0..4 {
                let mut more = before.clone();
                let mut is_more = false;
                for at in 0..more.inputs.len() {
                    let (column, target) = (at / n, at % n);
                    let source = self
                        .program(seen, target)
                        .and_then(|program| program.inputs.get(column))
                        .map(|input| name_of(&input.source));
                    if source.as_deref() == Some(input) && !more.inputs[at].is_nan() {
                        more.inputs[at] = more.inputs[at] * 1.5 + 0.5;
                        is_more = true;
                    }
                }
                if !is_more {
                    break;
                }
                let Ok(then) = self.asks(&mut policy, &more, *columns) else { break };
                tried += 1;
                for target in 0..n {
                    let (was, is) = (decided.wanted[target], then.wanted[target]);
                    if decided.apply[target] && then.apply[target] && is < was {
                        let values = |batch: &Batch| {
                            let of = batch.inputs.iter().skip(target).step_by(n);
                            let program = self.program(seen, target);
                            let inputs = program
                                .map(|program| program.inputs.as_slice())
                                .unwrap_or_default();
                            let named =
                                of.zip(inputs).filter(|(_, one)| name_of(&one.source) == input);
                            named
                                .map(|(value, _)| format!("{value:.3}"))
                                .collect::<Vec<_>>()
                                .join(" and ")
                        };
                        return CheckOutcome::Failed(format!(
                            "with {input} of {} it wants {was}, with {} only {is}",
                            values(&before),
                            values(&more)
                        ));
                    }
                }
                (before, decided) = (more, then);
            }
        }
        self.tried(tried)
    }

    fn tried(&self, times: usize) -> CheckOutcome {
        if times > 0 {
            return CheckOutcome::Passed;
        }
        CheckOutcome::Skipped("no case asks it for that".to_owned())
    }

    /// Batches of several targets: those that were heard, and one of what was heard about single ones.
    fn of_several(&self) -> Vec<(Batch, usize)> {
        let heard = self.heard.batches.iter();
        let mut several: Vec<(Batch, usize)> = heard
            .clone()
            .filter(|(seen, ..)| targets(seen) > 1)
            .take(VARIED)
            .map(|(seen, columns, _)| (seen.clone(), *columns))
            .collect();
        if self.scope() == Scope::Target {
            let single: Vec<(&Batch, usize)> = heard
                .filter(|(seen, ..)| targets(seen) == 1 && seen.words.is_empty())
                .take(ALONE)
                .map(|(seen, columns, _)| (seen, *columns))
                .collect();
            if single.len() > 1 {
                several.push(joined(&single));
            }
        }
        several
    }

    fn scope(&self) -> Scope {
        let scopes = self.heard.bound.iter().map(|(_, program)| program.scope);
        scopes.fold(Scope::Target, |widest, scope| match (widest, scope) {
            (Scope::Tenant, _) | (_, Scope::Tenant) => Scope::Tenant,
            (Scope::Group, _) | (_, Scope::Group) => Scope::Group,
            (Scope::Target, Scope::Target) => Scope::Target,
        })
    }

    /// What the settings of a target of a batch were bound to.
    fn program(&self, seen: &Batch, target: usize) -> Option<&Program> {
        let params = seen.params.get(*seen.params_of.get(target)? as usize)?;
        self.heard.bound.iter().map(|(_, program)| program).find(|one| one.params == *params)
    }
}

/// What is wrong with decisions as such.
fn nonsense(seen: &Batch, decided: &Decisions) -> Option<String> {
    if let Some(wanted) = decided.wanted.iter().find(|wanted| **wanted > ABSURD) {
        return Some(format!("it wants {wanted} replicas"));
    }
    if let Some(at) = decided.next_at_ms.iter().find(|at| **at != 0 && **at < seen.at_ms) {
        return Some(format!(
            "its decision stands until {} ms before it was made",
            seen.at_ms - at
        ));
    }
    let output = decided.outputs.iter().find(|output| output.is_infinite())?;
    Some(format!("it gives an output of {output}"))
}

/// The name of an input in the catalogue.
pub(super) fn name_of(source: &Source) -> String {
    match source {
        Source::Window(window) => window.signal.clone(),
        Source::Fact(name) | Source::Output(name) => name.clone(),
    }
}

fn labels(program: &Program) -> Vec<String> {
    let label = |source: &Source| match source {
        Source::Window(window) => format!("{} over {} s", window.signal, window.span_s),
        Source::Fact(name) | Source::Output(name) => name.clone(),
    };
    program.inputs.iter().map(|input| label(&input.source)).collect()
}
