//! Policies that each break one rule, and what the checks say of them.

use super::*;
use crate::policy::native::NativePlacement;
use crate::policy::wire::{
    Explanation, Nodes, PlacementInput, PlacementProgram, Replicas, TaintEffect,
};
use crate::policy::{BindError, Spent};

/// What a policy does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Slip {
    None,
    /// Every second call is answered otherwise.
    Memory,
    /// It counts nothing down.
    Crowds,
    /// It takes the node in the middle.
    Position,
    /// It puts the first replica where the last one is to go.
    LooksAhead,
    /// It falls over a price that is not known.
    Price,
    /// It ranks the first candidate twice.
    Twice,
    /// It says that there is no node where it found one.
    Words,
    /// It says that one leaves that stays.
    Turn,
    /// It takes nearly all of its fuel.
    Fuel,
}

struct FirstFit {
    slip: Slip,
    calls: u32,
}

const COLUMNS: [(Subject, &str, bool); 4] = [
    (Subject::Node, "free-gpus", true),
    (Subject::Node, "usd-per-gpu-hour", false),
    (Subject::Replica, "gpus", true),
    (Subject::Candidate, "in-flight", false),
];

impl PlacementPolicy for FirstFit {
    fn digest(&self) -> &str {
        "native:first-fit"
    }

    fn inputs(&mut self) -> Result<Vec<PlacementInput>, CallError> {
        let input = |(subject, name, required): (Subject, &str, bool)| PlacementInput {
            subject,
            name: name.to_owned(),
            required,
        };
        Ok(COLUMNS.map(input).to_vec())
    }

    fn bind(&mut self, _: &str) -> Result<PlacementProgram, BindError> {
        Ok(PlacementProgram { params: Vec::new(), warnings: Vec::new() })
    }

    fn place(&mut self, asked: &Request) -> Result<Places, CallError> {
        self.calls += 1;
        let n = asked.nodes.names.len();
        let mut free = asked.nodes.facts[..n].to_vec();
        let prices = &asked.nodes.facts[n..2 * n];
        if self.slip == Slip::Price && prices.iter().any(|price| price.is_nan()) {
            let message = "it panicked over a price".to_owned();
            return Err(CallError { kind: CallErrorKind::Trapped, culprits: Vec::new(), message });
        }
        let mut places: Places = Vec::new();
        for needs in &asked.replicas.facts {
            let fits = (0..n).filter(|at| free[*at] >= *needs);
            let mut at = fits.clone().next();
            if self.slip == Slip::Memory && self.calls.is_multiple_of(2) {
                at = None;
            }
            if self.slip == Slip::Position {
                at = fits.clone().nth(fits.count() / 2);
            }
            if let Some(at) = at.filter(|_| self.slip != Slip::Crowds) {
                free[at] -= needs;
            }
            places.push(at.map(|at| at as u32));
        }
        if self.slip == Slip::LooksAhead {
            let last = places.len() - 1;
            places.swap(0, last);
        }
        Ok(places)
    }

    fn explain(&mut self, asked: &Request) -> Result<Vec<Explanation>, CallError> {
        let told = |node: Option<u32>| Explanation {
            reason: match node {
                Some(_) if self.slip == Slip::Words => "no node: all are full".to_owned(),
                Some(node) => format!("on n{node}, the first"),
                None => "no node: too few GPUs".to_owned(),
            },
            figures: Vec::new(),
        };
        Ok(FirstFit { slip: Slip::None, calls: 0 }.place(asked)?.into_iter().map(told).collect())
    }

    fn rank(&mut self, asked: &Candidates) -> Result<Vec<u32>, CallError> {
        let mut order: Vec<u32> = (0..asked.choices.len() as u32).collect();
        order.sort_by(|one, other| {
            asked.facts[*one as usize].total_cmp(&asked.facts[*other as usize])
        });
        if self.slip == Slip::Twice {
            order[1] = order[0];
        }
        Ok(order)
    }

    fn explain_rank(&mut self, asked: &Candidates) -> Result<Vec<Explanation>, CallError> {
        let order = self.rank(asked)?;
        let leaves = asked.leaving[0] as usize;
        Ok((0..asked.choices.len() as u32)
            .map(|at| {
                let is_leaving = order[..leaves].contains(&at) != (self.slip == Slip::Turn);
                let reason = if is_leaving { "leaves" } else { "stays" }.to_owned();
                Explanation { reason, figures: Vec::new() }
            })
            .collect())
    }

    fn spent(&self) -> Spent {
        Spent { fuel: if self.slip == Slip::Fuel { 95 } else { 10 }, limit: 100 }
    }
}

/// Three nodes with two GPUs each and a label, and replicas that need one, two, one and one.
fn asked() -> Request {
    Request {
        at_ms: 1_000,
        words: ["n0", "n1", "n2", "zone", "a", "spot", ""].map(str::to_owned).to_vec(),
        nodes: Nodes {
            names: vec![0, 1, 2],
            label_keys: vec![3, 3],
            label_values: vec![4, 4],
            label_ends: vec![1, 1, 2],
            taint_keys: vec![5],
            taint_values: vec![6],
            taint_effects: vec![TaintEffect::PreferNoSchedule],
            taint_ends: vec![0, 1, 1],
            facts: vec![2.0, 2.0, 2.0, 1.0, 1.0, 1.5],
        },
        replicas: Replicas {
            params: vec![Vec::new()],
            params_of: vec![0; 4],
            facts: vec![1.0, 2.0, 1.0, 1.0],
            pairs: Vec::new(),
        },
    }
}

fn leaving() -> Candidates {
    let Request { at_ms, words, nodes, replicas } = asked();
    Candidates {
        at_ms,
        words,
        nodes,
        params: replicas.params,
        params_of: vec![0; 4],
        node_of: vec![0, 1, 0, u32::MAX],
        choices: vec![0; 4],
        leaving: vec![2],
        facts: vec![3.0, 1.0, 2.0, 0.0],
    }
}

/// What fails of a policy that was asked the two questions.
fn failed(slip: Slip) -> String {
    let mut policy = FirstFit { slip, calls: 0 };
    let (request, candidates) = (asked(), leaving());
    let mut heard = HeardPlaces::default();
    heard.requests.push((request.clone(), policy.place(&request).unwrap_or(vec![None; 4])));
    heard.ranked.push((candidates.clone(), policy.rank(&candidates).expect("it ranks")));
    let fresh = || -> Box<dyn PlacementPolicy> { Box::new(FirstFit { slip, calls: 0 }) };
    let checked = check_places("first-fit", &fresh, &heard);
    assert_eq!(checked.checks.len(), 7);
    let told = checked.checks.iter().filter_map(|check| match &check.outcome {
        CheckOutcome::Failed(told) => Some(format!("{}: {told}", check.name)),
        CheckOutcome::Passed | CheckOutcome::Skipped(_) => None,
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_policy_without_a_slip_keeps_the_contract() {
    assert_eq!(failed(Slip::None), "");
}

#[test]
fn each_slip_is_found_and_told() {
    insta::assert_snapshot!(failed(Slip::Memory), @r"
    deterministic: asked again with the same, at 1000 ms it puts replica 0 nowhere, not on n0
    order: without the replicas behind it, replica 0 goes nowhere, before on n0
    ");
    insta::assert_snapshot!(failed(Slip::Crowds), @r"
    room: as it was, it puts replica 1, which needs 2 gpus, on n0, where 1 of free-gpus is left
    any input: with nothing optional known, it puts replica 1, which needs 2 gpus, on n0, where 1 of free-gpus is left
    explains: it puts replica 1 on n0 and says `on n1, the first`
    ");
    insta::assert_snapshot!(failed(Slip::Position), @r"
    order: with its nodes in another order, a replica goes on n2, before on n1
    explains: it puts replica 0 on n1 and says `on n0, the first`
    ");
    insta::assert_snapshot!(failed(Slip::LooksAhead), @r"
    order: without the replicas behind it, replica 0 goes on n1, before on n2
    explains: it puts replica 0 on n2 and says `on n0, the first`
    ");
    insta::assert_snapshot!(failed(Slip::Price), @"any input: with nothing optional known, it panicked over a price");
    insta::assert_snapshot!(failed(Slip::Twice), @r"
    any input: with nothing optional known, it ranks [0, 0, 2, 3], which is not each of 4 candidates once
    ranks: it ranks [3, 3, 2, 0], which is not each of 4 candidates once
    ");
    insta::assert_snapshot!(failed(Slip::Words), @"explains: it puts replica 0 on n0 and says `no node: all are full`");
    insta::assert_snapshot!(failed(Slip::Turn), @"explains: candidate 3 leaves, and it says `stays`");
    insta::assert_snapshot!(failed(Slip::Fuel), @"fuel: 95 % of its fuel at most: a fleet with more labels and taints takes more, and a fifth is to be left for that");
}

#[test]
fn what_no_case_asks_is_left_out_and_affinity_needs_no_case_to_be_told_so() {
    let fresh = || -> Box<dyn PlacementPolicy> {
        Box::new(NativePlacement::<tidegate_affinity::Affinity>::new("affinity"))
    };
    let checked = check_places("affinity", &fresh, &HeardPlaces::default());
    let skipped = checked.checks.iter().filter(|check| {
        check.outcome == CheckOutcome::Skipped("no case asks it for that".to_owned())
    });
    assert_eq!(skipped.count(), 6);
}

#[test]
fn ties_go_to_one_end_of_the_list_and_what_is_no_tie_does_not() {
    let picks = |of: &[(usize, [usize; 3])]| {
        of.iter().map(|(pick, order)| (Some(*pick), order.to_vec())).collect::<Vec<_>>()
    };
    // 0 and 2 are equally good, and the first of the two is taken; then the last; then now this one, now that.
    assert_eq!(untied(&picks(&[(0, [0, 1, 2]), (2, [2, 1, 0]), (2, [1, 2, 0])])), None);
    assert_eq!(untied(&picks(&[(2, [0, 1, 2]), (0, [2, 1, 0]), (0, [1, 2, 0])])), None);
    let untied_ones = untied(&picks(&[(0, [0, 1, 2]), (2, [2, 1, 0]), (0, [1, 2, 0])]));
    assert_eq!(untied_ones, Some((Some(0), Some(2))));
    let lost = vec![(Some(0), vec![0, 1]), (None, vec![1, 0])];
    assert_eq!(untied(&lost), Some((Some(0), None)));
}
