//! The calls of the placement contract as plain functions over any policy.

use std::collections::BTreeMap;

use crate::nodes::{Candidate, Node, Nodes, Replica, Resources};
use crate::placement::{Candidates, Input, Inputs, Obstacle, Placement, Program, Request, Subject};
use crate::wire::{Params, all_at_fault, encode_params};
use crate::{Document, Explanation, Failure, Fault, Faults, Notes};

/// The answer for a replica for which no node will do.
pub const NO_NODE: u32 = u32::MAX;

/// The columns that the policy wants.
pub fn inputs<P: Placement>() -> Vec<Input> {
    let mut want = Inputs::new();
    P::inputs(&mut want);
    want.into_vec()
}

/// Checks a settings document and compiles it.
pub fn bind<P: Placement>(settings: &str) -> Result<Program, Vec<Fault>> {
    let mut warnings = Faults::default();
    let params = Document::read(settings)
        .and_then(|document| P::bind(document, &mut warnings))
        .map_err(Faults::into_vec)?;
    let params = encode_params(0, &params).map_err(|error| {
        Faults::one("", format!("compiled settings do not encode: {error}")).into_vec()
    })?;
    Ok(Program { params, warnings: warnings.into_vec() })
}

/// A node for each replica, by position, or [`NO_NODE`].
pub fn place<P: Placement>(asked: &Request) -> Result<Vec<u32>, Failure> {
    run::<P>(asked, None)
}

/// The same choices in words, one a replica.
pub fn explain<P: Placement>(asked: &Request) -> Result<Vec<Explanation>, Failure> {
    let nothing = Explanation { reason: String::new(), figures: Vec::new() };
    let mut told = vec![nothing; asked.replicas.params_of.len()];
    run::<P>(asked, Some(&mut told))?;
    Ok(told)
}

/// The positions of all candidates, those that should leave first in front.
pub fn rank<P: Placement>(asked: &Candidates) -> Result<Vec<u32>, Failure> {
    order::<P>(asked, None)
}

/// The same order in words, one a candidate.
pub fn explain_rank<P: Placement>(asked: &Candidates) -> Result<Vec<Explanation>, Failure> {
    let nothing = Explanation { reason: String::new(), figures: Vec::new() };
    let mut told = vec![nothing; asked.choices.len()];
    let ranked = order::<P>(asked, Some(&mut told))?;
    let mut of_choice = vec![0_u32; asked.leaving.len()];
    asked.choices.iter().for_each(|choice| of_choice[*choice as usize] += 1);
    let mut before = vec![0_u32; asked.leaving.len()];
    for at in ranked {
        let choice = asked.choices[at as usize] as usize;
        before[choice] += 1;
        let (turn, of) = (before[choice], of_choice[choice]);
        let leaves = if turn <= asked.leaving[choice] { "leaves" } else { "stays" };
        let reason = &mut told[at as usize].reason;
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        *reason = format!("{leaves}, {turn} of {of} in turn{why}");
    }
    Ok(told)
}

/// The one way in which candidates are ordered, with `told` as long as they are if somebody reads.
fn order<P: Placement>(
    asked: &Candidates,
    mut told: Option<&mut [Explanation]>,
) -> Result<Vec<u32>, Failure> {
    let mut want = Inputs::new();
    let inputs = P::inputs(&mut want);
    let nodes = Nodes::of(&asked.words, &asked.nodes, want.count(Subject::Node))?;
    Candidate::check(asked, want.count(Subject::Candidate))?;
    let count = asked.choices.len();
    let params = Params::<P::Params>::decode(&asked.params);
    let seen = |at: usize| {
        let candidate = Candidate::of(asked, at)?;
        Ok((params.of(at, asked.params_of[at])?, candidate, candidate.node(&nodes)?))
    };
    let mut turns: Vec<(P::Turn, u32)> = Vec::with_capacity(count);
    for at in 0..count {
        let (params, candidate, node) =
            seen(at).map_err(|first| all_at_fault(count, first, |at| seen(at).map(drop)))?;
        if let Some(told) = told.as_deref_mut().map(|told| &mut told[at]) {
            let notes = &mut Notes::new(&mut [], Some(told));
            P::tell_turn(params, &inputs, &candidate, node.as_ref(), notes);
        }
        turns.push((P::turn(params, &inputs, &candidate, node.as_ref()), at as u32));
    }
    turns.sort();
    Ok(turns.into_iter().map(|(_, at)| at).collect())
}

/// What one settings document makes of the nodes.
struct Suited<F> {
    /// Those that suit, by position.
    fits: Vec<(usize, F)>,
    /// How many do not, by what is in the way.
    unfit: BTreeMap<Obstacle, usize>,
}

/// The one way in which choices are made, with `told` as long as the replicas if somebody reads.
fn run<P: Placement>(
    asked: &Request,
    mut told: Option<&mut [Explanation]>,
) -> Result<Vec<u32>, Failure> {
    let mut want = Inputs::new();
    let inputs = P::inputs(&mut want);
    let nodes = Nodes::of(&asked.words, &asked.nodes, want.count(Subject::Node))?;
    Replica::check(asked, want.count(Subject::Replica), want.count(Subject::Pair))?;
    let params = Params::<P::Params>::decode(&asked.replicas.params);
    let seen =
        |at: usize| Ok((params.of(at, asked.replicas.params_of[at])?, Replica::of(asked, at)?));
    let mut suited: Vec<Option<Suited<P::Fit>>> =
        asked.replicas.params.iter().map(|_| None).collect();

    let mut free = nodes.free().to_vec();
    let count = asked.replicas.params_of.len();
    let mut chosen = Vec::with_capacity(count);
    for (at, of) in asked.replicas.params_of.iter().enumerate() {
        let (params, replica) =
            seen(at).map_err(|first| all_at_fault(count, first, |at| seen(at).map(drop)))?;
        let suited = suited[*of as usize]
            .get_or_insert_with(|| suit::<P>(params, &inputs, &nodes, told.is_some()));
        let mut told = told.as_deref_mut().map(|told| &mut told[at]);
        let mut tally = told.is_some().then(|| suited.unfit.clone());
        let best = choose::<P>(&inputs, suited, &replica, &nodes, &free, tally.as_mut());
        if let (Some(told), Some(tally)) = (&mut told, &tally) {
            told.reason = reason(best.as_ref().map(|best| best.0), tally, &replica, &nodes);
        }
        let Some((node, fit)) = best else {
            chosen.push(NO_NODE);
            continue;
        };
        let at = node.at();
        free[at] = free[at].less(&replica.needs);
        if let Some(told) = told {
            let node = nodes.with(at, free[at]);
            P::tell(&inputs, fit, &replica, &node, &mut Notes::new(&mut [], Some(told)));
        }
        chosen.push(u32::try_from(at).expect("positions of nodes came as u32"));
    }
    Ok(chosen)
}

fn suit<P: Placement>(
    params: &P::Params,
    inputs: &P::Inputs,
    nodes: &Nodes<'_>,
    is_read: bool,
) -> Suited<P::Fit> {
    let mut suited = Suited { fits: Vec::with_capacity(nodes.len()), unfit: BTreeMap::new() };
    for (at, fit) in P::suits(params, inputs, nodes).into_iter().take(nodes.len()).enumerate() {
        match fit {
            Ok(fit) => suited.fits.push((at, fit)),
            Err(obstacle) if is_read => *suited.unfit.entry(obstacle).or_default() += 1,
            Err(_) => {}
        }
    }
    suited
}

/// The best node for a replica. `tally` counts what is in the way on the others.
fn choose<'a, P: Placement>(
    inputs: &P::Inputs,
    suited: &'a Suited<P::Fit>,
    replica: &Replica<'_>,
    nodes: &'a Nodes<'_>,
    free: &[Resources],
    mut tally: Option<&mut BTreeMap<Obstacle, usize>>,
) -> Option<(Node<'a>, &'a P::Fit)> {
    let mut best: Option<(P::Score, Node<'a>, &P::Fit)> = None;
    for (at, fit) in &suited.fits {
        let node = nodes.with(*at, free[*at]);
        let score = if node.free.fits(&replica.needs) {
            P::score(inputs, fit, replica, &node)
        } else {
            Err(lack(&node.free, &replica.needs))
        };
        match score {
            Ok(score) => {
                let is_better = best.as_ref().is_none_or(|(most, other, _)| {
                    score.cmp(most).then_with(|| other.name().cmp(node.name())).is_gt()
                });
                if is_better {
                    best = Some((score, node, fit));
                }
            }
            Err(obstacle) => {
                if let Some(tally) = &mut tally {
                    *tally.entry(obstacle).or_default() += 1;
                }
            }
        }
    }
    best.map(|(_, node, fit)| (node, fit))
}

const NO_GPUS: Obstacle = Obstacle::new("lacks", "lack");
const NO_CPU: Obstacle = Obstacle::new("lacks free CPU", "lack free CPU");
const NO_MEMORY: Obstacle = Obstacle::new("lacks free memory", "lack free memory");

/// What is too little: GPUs first, which are what people look for.
fn lack(free: &Resources, needs: &Resources) -> Obstacle {
    if free.gpus < needs.gpus {
        NO_GPUS
    } else if free.cpu_milli < needs.cpu_milli {
        NO_CPU
    } else {
        NO_MEMORY
    }
}

/// The choice in one line. What is in the way on most nodes comes first.
fn reason(
    best: Option<Node<'_>>,
    tally: &BTreeMap<Obstacle, usize>,
    replica: &Replica<'_>,
    nodes: &Nodes<'_>,
) -> String {
    if let Some(node) = best {
        let could = nodes.len() - tally.values().sum::<usize>();
        let name = node.name();
        return if could == 1 {
            format!("on {name}, the only one that will do")
        } else {
            format!("on {name}, best of {could}")
        };
    }
    if nodes.is_empty() {
        return "no node: there is none".into();
    }
    let mut counted: Vec<(usize, String)> = tally
        .iter()
        .map(|(obstacle, count)| {
            let told = obstacle.told(*count, nodes);
            let gpus = match replica.needs.gpus {
                1 => " a free GPU".to_owned(),
                gpus => format!(" {gpus} free GPUs"),
            };
            (*count, if *obstacle == NO_GPUS { told + &gpus } else { told })
        })
        .collect();
    counted.sort_by(|(a, told_a), (b, told_b)| b.cmp(a).then_with(|| told_a.cmp(told_b)));
    let counted: Vec<String> = counted.into_iter().map(|(_, told)| told).collect();
    format!("no node: {}", counted.join(", "))
}
