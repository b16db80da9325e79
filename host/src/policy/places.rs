//! A placement policy that is a component: each call in a fresh instance, within limits, with every position that comes back
//! checked.

use wasmtime::component::ComponentExportIndex;

use super::call::{Allowance, Caller};
use super::component::{COLUMNS_AT_MOST, checked_params, refused};
use super::isolate::malformed;
use super::load::PLACEMENT;
use super::told::{clean, clean_explanations, clean_faults};
use super::wire::{
    Candidates, Explanation, Failure, Fault, PlacementInput, PlacementProgram, Request,
};
use super::{BindError, CallError, PlacementPolicy, Spent};

/// How the contract says that no node will do.
const NOWHERE: u32 = u32::MAX;

/// A component as the engine sees it. Made by [`Package::placement`](super::Package::placement).
pub struct ComponentPlacement {
    digest: String,
    caller: Caller,
    functions: Functions,
    spent: Spent,
}

struct Functions {
    inputs: ComponentExportIndex,
    bind: ComponentExportIndex,
    place: ComponentExportIndex,
    explain: ComponentExportIndex,
    rank: ComponentExportIndex,
    explain_rank: ComponentExportIndex,
}

impl ComponentPlacement {
    pub(super) fn new(digest: &str, caller: Caller) -> ComponentPlacement {
        let function = |name| caller.function(PLACEMENT, name);
        let functions = Functions {
            inputs: function("inputs"),
            bind: function("bind"),
            place: function("place"),
            explain: function("explain"),
            rank: function("rank"),
            explain_rank: function("explain-rank"),
        };
        ComponentPlacement { digest: digest.to_owned(), caller, functions, spent: Spent::default() }
    }

    /// What a call may take that looks at `replicas` and, for each of them, at `nodes`.
    fn allowance(&self, replicas: usize, nodes: usize) -> Allowance {
        let limits = &self.caller.limits;
        let pairs =
            limits.fuel_per_pair.saturating_mul(replicas as u64).saturating_mul(nodes as u64);
        Allowance {
            fuel: limits.fuel(replicas.saturating_add(nodes)).saturating_add(pairs),
            output_bytes: limits.output(replicas),
            targets: replicas,
        }
    }

    fn rare(&self, replicas: usize, nodes: usize) -> Allowance {
        let allowance = self.allowance(replicas, nodes);
        Allowance { fuel: allowance.fuel.max(self.caller.limits.fuel_of_rare_calls), ..allowance }
    }
}

impl PlacementPolicy for ComponentPlacement {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn inputs(&mut self) -> Result<Vec<PlacementInput>, CallError> {
        let function = &self.functions.inputs;
        let (inputs, _) = self.caller.call::<_, Vec<PlacementInput>>(function, (), self.rare(0, 0));
        let clean_one = |input: PlacementInput| PlacementInput { name: clean(input.name), ..input };
        let inputs: Vec<PlacementInput> = inputs?.into_iter().map(clean_one).collect();
        if inputs.len() > COLUMNS_AT_MOST {
            let found = inputs.len();
            return Err(malformed(format!("it has {found} inputs, more than {COLUMNS_AT_MOST}")));
        }
        Ok(inputs)
    }

    fn bind(&mut self, settings: &str) -> Result<PlacementProgram, BindError> {
        let (bound, _) = self.caller.call::<_, Result<PlacementProgram, Vec<Fault>>>(
            &self.functions.bind,
            (settings,),
            self.rare(0, 0),
        );
        let program = bound?.map_err(|faults| BindError::Faults(clean_faults(faults)))?;
        checked_params(&program.params)?;
        Ok(PlacementProgram { warnings: clean_faults(program.warnings), ..program })
    }

    fn place(&mut self, asked: &Request) -> Result<Vec<Option<u32>>, CallError> {
        let (replicas, nodes) = (asked.replicas.params_of.len(), asked.nodes.names.len());
        let allowance = self.allowance(replicas, nodes);
        let (placed, fuel) = self.caller.call::<_, Result<Vec<u32>, Failure>>(
            &self.functions.place,
            (asked,),
            allowance,
        );
        self.spent = Spent { fuel, limit: allowance.fuel };
        let placed = placed?.map_err(refused)?;
        checked_places(placed, replicas, nodes)
    }

    fn explain(&mut self, asked: &Request) -> Result<Vec<Explanation>, CallError> {
        let (replicas, nodes) = (asked.replicas.params_of.len(), asked.nodes.names.len());
        let (told, _) = self.caller.call::<_, Result<Vec<Explanation>, Failure>>(
            &self.functions.explain,
            (asked,),
            self.rare(replicas, nodes),
        );
        let told = told?.map_err(refused)?;
        if told.len() != replicas {
            let found = told.len();
            return Err(malformed(format!("it gave {found} explanations for {replicas} replicas")));
        }
        Ok(clean_explanations(told))
    }

    fn rank(&mut self, asked: &Candidates) -> Result<Vec<u32>, CallError> {
        let (n, nodes) = (asked.choices.len(), asked.nodes.names.len());
        let allowance = self.allowance(n, nodes);
        let (ranked, fuel) = self.caller.call::<_, Result<Vec<u32>, Failure>>(
            &self.functions.rank,
            (asked,),
            allowance,
        );
        self.spent = Spent { fuel, limit: allowance.fuel };
        let ranked = ranked?.map_err(refused)?;
        checked_ranks(ranked, n)
    }

    fn explain_rank(&mut self, asked: &Candidates) -> Result<Vec<Explanation>, CallError> {
        let (n, nodes) = (asked.choices.len(), asked.nodes.names.len());
        let (told, _) = self.caller.call::<_, Result<Vec<Explanation>, Failure>>(
            &self.functions.explain_rank,
            (asked,),
            self.rare(n, nodes),
        );
        let told = told?.map_err(refused)?;
        if told.len() != n {
            let found = told.len();
            return Err(malformed(format!("it gave {found} explanations for {n} candidates")));
        }
        Ok(clean_explanations(told))
    }

    fn spent(&self) -> Spent {
        self.spent
    }
}

/// A place for each replica, on a node that there is.
fn checked_places(
    placed: Vec<u32>,
    replicas: usize,
    nodes: usize,
) -> Result<Vec<Option<u32>>, CallError> {
    if placed.len() != replicas {
        let found = placed.len();
        return Err(malformed(format!("it gave {found} places for {replicas} replicas")));
    }
    let place = |(at, node): (usize, u32)| match node {
        NOWHERE => Ok(None),
        node if (node as usize) < nodes => Ok(Some(node)),
        node => Err(malformed(format!("it put replica {at} on node {node} of {nodes}"))),
    };
    placed.into_iter().enumerate().map(place).collect()
}

/// Every candidate, once.
fn checked_ranks(ranked: Vec<u32>, n: usize) -> Result<Vec<u32>, CallError> {
    if ranked.len() != n {
        return Err(malformed(format!("it ranked {} of {n} candidates", ranked.len())));
    }
    let mut is_ranked = vec![false; n];
    for &at in &ranked {
        match is_ranked.get_mut(at as usize) {
            Some(is_ranked @ false) => *is_ranked = true,
            Some(_) => return Err(malformed(format!("it ranked candidate {at} twice"))),
            None => return Err(malformed(format!("it ranked candidate {at} of {n}"))),
        }
    }
    Ok(ranked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_as_many_as_replicas_and_on_nodes_that_there_are() {
        let check =
            |placed: &[u32]| checked_places(placed.to_vec(), 2, 3).map_err(|error| error.message);
        assert_eq!(check(&[2, NOWHERE]), Ok(vec![Some(2), None]));
        assert_eq!(check(&[0]), Err("it gave 1 places for 2 replicas".to_owned()));
        assert_eq!(check(&[0, 0, 0]), Err("it gave 3 places for 2 replicas".to_owned()));
        assert_eq!(check(&[0, 3]), Err("it put replica 1 on node 3 of 3".to_owned()));
    }

    #[test]
    fn ranks_name_every_candidate_once() {
        let check =
            |ranked: &[u32]| checked_ranks(ranked.to_vec(), 3).map_err(|error| error.message);
        assert_eq!(check(&[2, 0, 1]), Ok(vec![2, 0, 1]));
        assert_eq!(check(&[2, 0]), Err("it ranked 2 of 3 candidates".to_owned()));
        assert_eq!(check(&[2, 0, 2]), Err("it ranked candidate 2 twice".to_owned()));
        assert_eq!(check(&[2, 0, 3]), Err("it ranked candidate 3 of 3".to_owned()));
        assert_eq!(check(&[2, 0, u32::MAX]), Err("it ranked candidate 4294967295 of 3".to_owned()));
    }
}
