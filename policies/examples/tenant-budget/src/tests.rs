use proptest::prelude::*;
use tidegate_policy::native;
use tidegate_policy::scaling::{Batch, Births, Causes};

use super::TenantBudget;

/// What services get of a budget: each has a weight, GPUs a replica, and a proposal.
fn share(gpus: u32, services: &[(f64, u32, f64)]) -> Vec<Option<u32>> {
    let n = services.len();
    let document = |(weight, ..): &(f64, u32, f64)| {
        format!(
            r#"{{"settings": {{"gpus": {gpus}}}, "service": {{"annotations": {{"policy.tidegate.dev/weight": "{weight}"}}}}}}"#
        )
    };
    let params: Vec<Vec<u8>> = services
        .iter()
        .map(|service| native::bind::<TenantBudget>(&document(service)).expect("in order").params)
        .collect();
    let params_of: Vec<u32> = (0..n as u32).collect();
    let born = Births {
        at_ms: 0,
        params: params.clone(),
        params_of: params_of.clone(),
        ready: vec![0.0; n],
    };
    let mut inputs: Vec<f64> = services.iter().map(|(.., proposal)| *proposal).collect();
    inputs.extend(services.iter().map(|(_, gpus, _)| f64::from(*gpus)));
    let seen = Batch {
        at_ms: 0,
        causes_of: vec![Causes::CHANGE; n],
        params,
        params_of: params_of.clone(),
        groups: params_of,
        states: native::init::<TenantBudget>(&born).expect("it has no state"),
        inputs,
        words: vec![],
    };
    let decided = native::decide::<TenantBudget>(&seen).expect("the batch is in order");
    decided
        .wanted
        .iter()
        .zip(&decided.apply)
        .map(|(wanted, apply)| apply.then_some(*wanted))
        .collect()
}

#[test]
fn what_fits_stands_and_what_does_not_is_shared_by_weight() {
    let unknown = f64::NAN;
    for (what, gpus, services, expected) in [
        ("all fits", 8, vec![(1.0, 1, 3.0), (1.0, 2, 2.0)], vec![Some(3), Some(2)]),
        ("equal shares", 4, vec![(1.0, 1, 9.0), (1.0, 1, 9.0)], vec![Some(2), Some(2)]),
        ("by weight", 6, vec![(2.0, 1, 9.0), (1.0, 1, 9.0)], vec![Some(4), Some(2)]),
        (
            "what one leaves the other takes",
            6,
            vec![(1.0, 1, 1.0), (1.0, 1, 9.0)],
            vec![Some(1), Some(5)],
        ),
        (
            "the large ones count by their GPUs",
            8,
            vec![(1.0, 4, 2.0), (1.0, 1, 9.0)],
            vec![Some(1), Some(4)],
        ),
        (
            "too large for what is left",
            3,
            vec![(1.0, 4, 1.0), (1.0, 1, 9.0)],
            vec![Some(0), Some(3)],
        ),
        ("no GPU needed", 0, vec![(1.0, 0, 5.0), (1.0, 1, 1.0)], vec![Some(5), Some(0)]),
        ("not known yet", 4, vec![(1.0, 1, unknown), (1.0, 1, 9.0)], vec![None, Some(4)]),
    ] {
        assert_eq!(share(gpus, &services), expected, "{what}");
    }
}

#[test]
fn a_weight_that_is_none_is_told_with_its_place() {
    let document = r#"{"settings": {"gpus": 1}, "service": {"annotations": {"policy.tidegate.dev/weight": "much"}}}"#;
    let faults = native::bind::<TenantBudget>(document).expect_err("it is no number");
    assert_eq!(faults[0].path, "service.annotations.policy.tidegate.dev/weight");
    assert_eq!(faults[0].message, "found \"much\", expected a number from 0.001 to 1000");
}

proptest! {
    /// The budget holds, nobody gets more than wanted, and nobody is denied a replica that would fit.
    #[test]
    fn the_budget_holds_and_is_used_up(
        gpus in 0u32..64,
        services in prop::collection::vec((0.1f64..8.0, 1u32..8, 0u32..20), 1..8),
    ) {
        let asked: Vec<(f64, u32, f64)> =
            services.iter().map(|(weight, gpus, wanted)| (*weight, *gpus, f64::from(*wanted))).collect();
        let got: Vec<u32> = share(gpus, &asked).into_iter().map(|got| got.expect("known")).collect();
        let used: u32 = got.iter().zip(&services).map(|(got, (_, gpus, _))| got * gpus).sum();
        prop_assert!(used <= gpus);
        for (got, (_, each, wanted)) in got.iter().zip(&services) {
            prop_assert!(got <= wanted);
            prop_assert!(got == wanted || used + each > gpus);
        }
    }
}
