//! What every placement policy must keep to, checked on what it was asked in the cases and on variations of that: deterministic, no
//! node with more than it has room for, order and numbering of no matter, an answer to whatever is seen, words that agree with it.

use std::cell::Cell;

use super::requests::{
    Column, columns_of, orders, renumbered, values, with_candidates, with_nodes, with_replicas,
};
use super::{Check, CheckOutcome, Checked};
use crate::policy::wire::{Candidates, Request, Subject};
use crate::policy::{CallError, CallErrorKind, PlacementPolicy};
use crate::suite::recording::HeardPlaces;

/// Questions of which variations are tried.
const VARIED: usize = 12;
/// Replicas of a question that are asked about alone.
const ALONE: usize = 4;
/// A call that takes more than that share of its fuel leaves no room for a fleet that is harder to decide about.
const FUEL_AT_MOST: f64 = 0.8;
/// What is free on a node, and what of it a replica needs, as the catalogue names them.
const ROOM: [(&str, &str); 3] =
    [("free-gpus", "gpus"), ("free-cpu", "cpu"), ("free-memory-bytes", "memory-bytes")];

type Places = Vec<Option<u32>>;
/// What another value is made of a value by.
type Change = fn(f64) -> f64;

/// Checks a placement policy on what was `heard`; `fresh` gives it as if nobody had asked it anything.
pub fn check_places(
    name: &str,
    fresh: &dyn Fn() -> Box<dyn PlacementPolicy>,
    heard: &HeardPlaces,
) -> Checked {
    let columns = fresh().inputs().map(|inputs| columns_of(&inputs)).unwrap_or_default();
    let subject = Heeded { fresh, heard, columns, fuel_share: Cell::new(heard.fuel_share) };
    let mut checks = Vec::new();
    let mut note = |name: &str, outcome: Result<CheckOutcome, String>| {
        let outcome = outcome.unwrap_or_else(CheckOutcome::Failed);
        checks.push(Check { name: name.to_owned(), outcome });
    };
    note("deterministic", subject.deterministic());
    note("room", subject.room());
    note("order", subject.order());
    note("any input", subject.any_input());
    note("ranks", subject.ranks());
    note("explains", subject.explains());
    let fuel_share = subject.fuel_share.get();
    let fuel = if fuel_share > FUEL_AT_MOST {
        Err(format!(
            "{:.0} % of its fuel at most: a fleet with more labels and taints takes more, and a fifth is to be left for that",
            (fuel_share * 100.0).ceil()
        ))
    } else {
        Ok(CheckOutcome::Passed)
    };
    note("fuel", fuel);
    Checked { policy: name.to_owned(), checks, decisions: heard.decisions, fuel_share }
}

struct Heeded<'a> {
    fresh: &'a dyn Fn() -> Box<dyn PlacementPolicy>,
    heard: &'a HeardPlaces,
    columns: Vec<Column>,
    /// The largest share of its fuel that a call took.
    fuel_share: Cell<f64>,
}

impl Heeded<'_> {
    fn fresh(&self) -> Box<dyn PlacementPolicy> {
        let mut policy = (self.fresh)();
        for settings in &self.heard.bound {
            // It was accepted before; what is not now shows in what it chooses.
            let _ = policy.bind(settings);
        }
        policy
    }

    fn places(
        &self,
        policy: &mut dyn PlacementPolicy,
        asked: &Request,
    ) -> Result<Places, CallError> {
        let places = policy.place(asked);
        self.note(policy);
        places
    }

    fn ranking(
        &self,
        policy: &mut dyn PlacementPolicy,
        asked: &Candidates,
    ) -> Result<Vec<u32>, CallError> {
        let order = policy.rank(asked);
        self.note(policy);
        order
    }

    fn note(&self, policy: &dyn PlacementPolicy) {
        self.fuel_share.set(self.fuel_share.get().max(policy.spent().share()));
    }

    /// What was chosen in a run is chosen again, twice, by a policy that has not been through that run.
    fn deterministic(&self) -> Result<CheckOutcome, String> {
        let again = |error: CallError| format!("asked again with the same, {}", error.message);
        for (asked, chosen) in &self.heard.requests {
            let mut policy = self.fresh();
            for _ in 0..2 {
                let anew = self.places(&mut *policy, asked).map_err(again)?;
                if let Some(at) =
                    (0..chosen.len()).find(|&at| chosen[at] != anew.get(at).copied().flatten())
                {
                    return Err(format!(
                        "asked again with the same, at {} ms it puts replica {at} {}, not {}",
                        asked.at_ms,
                        shown(asked, anew.get(at).copied().flatten()),
                        shown(asked, chosen[at])
                    ));
                }
            }
        }
        for (asked, order) in &self.heard.ranked {
            let mut policy = self.fresh();
            for _ in 0..2 {
                if self.ranking(&mut *policy, asked).map_err(again)? != *order {
                    return Err(format!(
                        "asked again with the same, at {} ms others leave first",
                        asked.at_ms
                    ));
                }
            }
        }
        Ok(self.tried(self.heard.requests.len() + self.heard.ranked.len()))
    }

    /// No node is given what it has no room for, as the fleet was and with ever less room in it.
    fn room(&self) -> Result<CheckOutcome, String> {
        if !ROOM.iter().any(|(free, _)| self.column(Subject::Node, free).is_some()) {
            return Ok(CheckOutcome::Skipped(
                "it asks for no column that says what is free".to_owned(),
            ));
        }
        let mut policy = self.fresh();
        for (asked, _) in self.heard.requests.iter().take(VARIED) {
            let m = asked.replicas.params_of.len();
            let crowd: Vec<usize> = (0..4 * m).map(|at| at % m).collect();
            let with_free = |part: f64| {
                let mut varied = asked.clone();
                let n = varied.nodes.names.len();
                for (free, _) in ROOM {
                    let Some(nth) = self.column(Subject::Node, free) else { continue };
                    for value in values(&mut varied.nodes.facts, nth, n) {
                        *value = (*value * part).floor();
                    }
                }
                varied
            };
            for (varied, what) in [
                (asked.clone(), "as it was"),
                (with_replicas(asked, &crowd), "with every replica four times"),
                (with_free(0.5), "with half as much free"),
                (with_free(0.0), "with nothing free"),
            ] {
                self.answers(&mut *policy, &varied, what)?;
            }
        }
        Ok(self.tried(self.heard.requests.len()))
    }

    /// Asks, and says what is wrong with the answer as such. A policy may say that it cannot decide; what it may not is fall over.
    fn answers(
        &self,
        policy: &mut dyn PlacementPolicy,
        asked: &Request,
        what: &str,
    ) -> Result<(), String> {
        match self.places(policy, asked) {
            Ok(chosen) => match self.misfit(asked, &chosen) {
                Some(told) => Err(format!("{what}, {told}")),
                None => Ok(()),
            },
            Err(error) if error.kind == CallErrorKind::Refused => Ok(()),
            Err(error) => Err(format!("{what}, {}", error.message)),
        }
    }

    /// The first choice of a node that has no room for it. What is not known is no claim.
    fn misfit(&self, asked: &Request, chosen: &[Option<u32>]) -> Option<String> {
        let (n, m) = (asked.nodes.names.len(), asked.replicas.params_of.len());
        if chosen.len() != m {
            return Some(format!("it gives {} places for {m} replicas", chosen.len()));
        }
        for (free, need) in ROOM {
            let column = |subject, name| self.column(subject, name);
            let (Some(of_nodes), Some(of_replicas)) =
                (column(Subject::Node, free), column(Subject::Replica, need))
            else {
                continue;
            };
            let (mut facts, mut needs) = (asked.nodes.facts.clone(), asked.replicas.facts.clone());
            let (left, needs) =
                (values(&mut facts, of_nodes, n), values(&mut needs, of_replicas, m));
            for (replica, node) in chosen.iter().enumerate() {
                let Some(node) = *node else { continue };
                let Some(left) = left.get_mut(node as usize) else {
                    return Some(format!("it puts replica {replica} on node {node} of {n}"));
                };
                // Thousandths of a vCPU add up to what is not quite a number.
                if needs[replica] > *left + 1e-6 {
                    return Some(format!(
                        "it puts replica {replica}, which needs {} {need}, {}, where {left} of {free} is left",
                        needs[replica],
                        shown(asked, Some(node))
                    ));
                }
                *left -= needs[replica];
            }
        }
        None
    }

    fn order(&self) -> Result<CheckOutcome, String> {
        let mut policy = self.fresh();
        let mut tried = 0;
        for (asked, chosen) in self.heard.requests.iter().take(VARIED) {
            tried += 1;
            let told = |what: &str, error: CallError| format!("{what}, {}", error.message);
            let what = "with its texts and settings at other positions";
            let anew = self.places(&mut *policy, &renumbered(asked));
            let anew = anew.map_err(|error| told(what, error))?;
            differs(asked, chosen, &anew, what)?;
            let m = chosen.len();
            if m > 1 {
                let what = "without the replicas behind it";
                let in_front: Vec<usize> = (0..m / 2).collect();
                let anew = self.places(&mut *policy, &with_replicas(asked, &in_front));
                let anew = anew.map_err(|error| told(what, error))?;
                differs(asked, &chosen[..m / 2], &anew, what)?;
            }
            for at in (0..m).step_by(m.div_ceil(ALONE)) {
                let alone = with_replicas(asked, &[at]);
                let mut picks = Vec::new();
                for order in orders(asked.nodes.names.len()) {
                    let what = "with its nodes in another order";
                    let anew = self.places(&mut *policy, &with_nodes(&alone, &order));
                    let anew = anew.map_err(|error| told(what, error))?;
                    let node = anew.first().copied().flatten();
                    picks.push((node.and_then(|node| order.get(node as usize).copied()), order));
                }
                if let Some((one, other)) = untied(&picks) {
                    return Err(format!(
                        "with its nodes in another order, a replica goes {}, before {}",
                        shown(&alone, other.map(|at| at as u32)),
                        shown(&alone, one.map(|at| at as u32))
                    ));
                }
            }
        }
        for (asked, _) in self.heard.ranked.iter().take(VARIED) {
            tried += 1;
            for choice in 0..asked.leaving.len() as u32 {
                let mut picks = Vec::new();
                for order in orders(asked.choices.len()) {
                    let varied = with_candidates(asked, &order);
                    let ranked = self.ranking(&mut *policy, &varied);
                    let ranked = ranked.map_err(|error| {
                        format!("with candidates in another order, {}", error.message)
                    })?;
                    let first = ranked
                        .into_iter()
                        .find(|&at| varied.choices.get(at as usize) == Some(&choice));
                    picks.push((first.map(|at| order[at as usize]), order));
                }
                if let Some((Some(one), Some(other))) = untied(&picks) {
                    return Err(format!(
                        "with candidates in another order, candidate {other} leaves first, before {one}"
                    ));
                }
            }
        }
        Ok(self.tried(tried))
    }

    /// An answer in order to whatever is seen: each column 0 and far larger, and those that are optional not known.
    fn any_input(&self) -> Result<CheckOutcome, String> {
        let mut policy = self.fresh();
        let changes: [(Change, &str); 3] = [
            (|_| f64::NAN, "not known"),
            (|_| 0.0, "0"),
            (|value| value * 10.0 + 1.0, "ten times as large"),
        ];
        let mut variations: Vec<(Vec<&Column>, Change, String)> = Vec::new();
        let optional: Vec<&Column> = self.columns.iter().filter(|one| !one.is_required).collect();
        variations.push((optional, |_| f64::NAN, "with nothing optional known".to_owned()));
        for column in &self.columns {
            for (change, told) in changes {
                if told != "not known" || !column.is_required {
                    let what = format!("with {} {told}", column.name);
                    variations.push((vec![column], change, what));
                }
            }
        }
        for (asked, _) in self.heard.requests.iter().take(VARIED) {
            let (n, m) = (asked.nodes.names.len(), asked.replicas.params_of.len());
            for (columns, change, what) in &variations {
                let mut varied = asked.clone();
                for column in columns {
                    let nth = column.nth;
                    let values = match column.subject {
                        Subject::Node => values(&mut varied.nodes.facts, nth, n),
                        Subject::Replica => values(&mut varied.replicas.facts, nth, m),
                        Subject::Pair => values(&mut varied.replicas.pairs, nth, m * n),
                        Subject::Candidate => continue,
                    };
                    values.iter_mut().for_each(|value| *value = change(*value));
                }
                self.answers(&mut *policy, &varied, what)?;
            }
        }
        for (asked, _) in self.heard.ranked.iter().take(VARIED) {
            let (n, count) = (asked.nodes.names.len(), asked.choices.len());
            for (columns, change, what) in &variations {
                let mut varied = asked.clone();
                for column in columns {
                    let nth = column.nth;
                    let values = match column.subject {
                        Subject::Node => values(&mut varied.nodes.facts, nth, n),
                        Subject::Candidate => values(&mut varied.facts, nth, count),
                        Subject::Replica | Subject::Pair => continue,
                    };
                    values.iter_mut().for_each(|value| *value = change(*value));
                }
                match self.ranking(&mut *policy, &varied) {
                    Ok(order) => {
                        each_once(&order, count).map_err(|told| format!("{what}, {told}"))?
                    }
                    Err(error) if error.kind == CallErrorKind::Refused => {}
                    Err(error) => return Err(format!("{what}, {}", error.message)),
                }
            }
        }
        Ok(self.tried(self.heard.requests.len() + self.heard.ranked.len()))
    }

    /// Those who might leave come back all, each once.
    fn ranks(&self) -> Result<CheckOutcome, String> {
        let mut policy = self.fresh();
        for (asked, _) in &self.heard.ranked {
            let order = self.ranking(&mut *policy, asked).map_err(|error| error.message)?;
            each_once(&order, asked.choices.len())?;
        }
        Ok(self.tried(self.heard.ranked.len()))
    }

    /// It tells why, and its words agree with what it chose.
    fn explains(&self) -> Result<CheckOutcome, String> {
        let mut policy = self.fresh();
        for (asked, _) in self.heard.requests.iter().take(VARIED) {
            let chosen = self.places(&mut *policy, asked).map_err(|error| error.message)?;
            let told = policy.explain(asked);
            let told = told.map_err(|error| format!("it cannot tell why: {}", error.message))?;
            for (at, (node, told)) in chosen.iter().zip(&told).enumerate() {
                let says_none = told.reason.starts_with("no node");
                let named =
                    asked.nodes.names.iter().map(|&word| asked.words[word as usize].as_str());
                let said = told
                    .reason
                    .strip_prefix("on ")
                    .map(|rest| rest.split(',').next().unwrap_or(rest));
                let says = said.and_then(|said| named.clone().position(|name| name == said));
                let agrees = match node {
                    None => !told.reason.is_empty() && says.is_none(),
                    Some(node) => !says_none && says.is_none_or(|says| says == *node as usize),
                };
                if !agrees {
                    return Err(format!(
                        "it puts replica {at} {} and says `{}`",
                        shown(asked, *node),
                        told.reason
                    ));
                }
            }
        }
        for (asked, _) in self.heard.ranked.iter().take(VARIED) {
            let order = self.ranking(&mut *policy, asked).map_err(|error| error.message)?;
            let told = policy.explain_rank(asked);
            let told =
                told.map_err(|error| format!("it cannot tell who leaves: {}", error.message))?;
            let mut left = asked.leaving.clone();
            for at in order {
                let Some(choice) = left.get_mut(asked.choices[at as usize] as usize) else {
                    continue;
                };
                let leaves = *choice > 0;
                *choice = choice.saturating_sub(1);
                let Some(told) = told.get(at as usize) else { continue };
                let wrong = if leaves { "stays" } else { "leaves" };
                if told.reason.starts_with(wrong) {
                    return Err(format!(
                        "candidate {at} {}, and it says `{}`",
                        if leaves { "leaves" } else { "stays" },
                        told.reason
                    ));
                }
            }
        }
        Ok(self.tried(self.heard.requests.len() + self.heard.ranked.len()))
    }

    fn column(&self, subject: Subject, name: &str) -> Option<usize> {
        let found = self.columns.iter().find(|one| one.subject == subject && one.name == name);
        found.map(|column| column.nth)
    }

    fn tried(&self, times: usize) -> CheckOutcome {
        match times {
            0 => CheckOutcome::Skipped("no case asks it for that".to_owned()),
            _ => CheckOutcome::Passed,
        }
    }
}

/// Says where `anew` differs from what was chosen.
fn differs(
    asked: &Request,
    chosen: &[Option<u32>],
    anew: &[Option<u32>],
    what: &str,
) -> Result<(), String> {
    let at = (0..chosen.len()).find(|&at| anew.get(at) != Some(&chosen[at]));
    at.map_or(Ok(()), |at| {
        Err(format!(
            "{what}, replica {at} goes {}, before {}",
            shown(asked, anew.get(at).copied().flatten()),
            shown(asked, chosen[at])
        ))
    })
}

/// Two picks that no tie explains. Each pick stands with the order in which it was made. What is equally good may go to whoever
/// stands first, or to whoever stands last, but in every order to the same of the two.
fn untied<T: Copy + PartialEq>(picks: &[(Option<T>, Vec<T>)]) -> Option<(Option<T>, Option<T>)> {
    let (first, _) = picks.first()?;
    let other = picks.iter().map(|(pick, _)| *pick).find(|pick| pick != first)?;
    let all: Option<Vec<T>> = picks.iter().map(|(pick, _)| *pick).collect();
    let is_tie = all.is_some_and(|all| {
        let ends_at = |is_first: bool| {
            picks.iter().all(|(pick, order)| {
                let mut standing = order.iter().filter(|one| all.contains(one));
                let end = if is_first { standing.next() } else { standing.next_back() };
                end == pick.as_ref()
            })
        };
        ends_at(true) || ends_at(false)
    });
    (!is_tie).then_some((*first, other))
}

fn each_once(order: &[u32], count: usize) -> Result<(), String> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if sorted.iter().copied().eq(0..count as u32) {
        return Ok(());
    }
    Err(format!("it ranks {order:?}, which is not each of {count} candidates once"))
}

fn shown(asked: &Request, node: Option<u32>) -> String {
    let name = |node: u32| {
        let word = asked.nodes.names.get(node as usize)?;
        asked.words.get(*word as usize)
    };
    match node {
        None => "nowhere".to_owned(),
        Some(node) => {
            format!("on {}", name(node).map_or("a node that is not there", String::as_str))
        }
    }
}

#[cfg(test)]
mod tests;
