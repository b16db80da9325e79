use tidegate_policy::native;
use tidegate_policy::scaling::{Batch, Births, Causes};

use super::WarmPool;

/// What services of one GPU a replica are to have after each step. A step is seconds, and for each service what it is proposed;
/// what it was last given is ready.
fn decide(gpus: u32, steps: &[(u64, &[u32])]) -> Vec<Vec<u32>> {
    let n = steps[0].1.len();
    let document = format!(r#"{{"settings": {{"gpus": {gpus}}}}}"#);
    let program = native::bind::<WarmPool>(&document).expect("the settings are in order");
    let (params, params_of) = (vec![program.params], vec![0; n]);
    let mut ready = vec![0.0; n];
    let born = Births {
        at_ms: 0,
        params: params.clone(),
        params_of: params_of.clone(),
        ready: ready.clone(),
    };
    let mut states = native::init::<WarmPool>(&born).expect("they are born");
    let mut decided = Vec::new();
    for (at_s, proposals) in steps {
        let mut inputs: Vec<f64> = proposals.iter().map(|count| f64::from(*count)).collect();
        inputs.extend(&ready);
        inputs.extend(vec![1.0; n]);
        let seen = Batch {
            at_ms: at_s * 1_000,
            causes_of: vec![Causes::CHANGE; n],
            params: params.clone(),
            params_of: params_of.clone(),
            groups: (0..n as u32).collect(),
            states,
            inputs,
            words: vec![],
        };
        let done = native::decide::<WarmPool>(&seen).expect("the batch is in order");
        ready = done.wanted.iter().map(|count| f64::from(*count)).collect();
        states = done.states;
        decided.push(done.wanted);
    }
    decided
}

#[test]
fn the_services_used_last_stay_warm_within_the_pool() {
    let steps: [(u64, &[u32]); 5] = [
        (10, &[1, 0, 0]), // the first is used
        (20, &[0, 2, 0]), // then the second
        (30, &[0, 0, 1]), // then the third: two idle ones, room for one
        (40, &[0, 0, 0]), // all are idle: the third was used last
        (50, &[1, 0, 0]), // the first comes back
    ];
    let one = decide(1, &steps);
    assert_eq!(one, [[1, 0, 0], [1, 2, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]]);
    let two = decide(2, &steps);
    assert_eq!(two, [[1, 0, 0], [1, 2, 0], [1, 1, 1], [0, 1, 1], [1, 1, 1]]);
    let none = decide(0, &steps);
    assert_eq!(none, [[1, 0, 0], [0, 2, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]);
}
