//! The simulator under the engine with the built-in policies: whole runs, from the first arrival until the last replica has left.

mod support;

use support::{World, a40, arrivals, fleet, llama_8b, run, service};
use tidegate::engine::Phase;
use tidegate::trace::Work;

const CHAT: Work = Work::Tokens { prompt: 500, output: 100 };

#[test]
fn requests_from_zero_wait_for_one_cold_start_and_all_are_served() {
    let world = World::new(fleet(1, 8, &a40()), vec![service("llama", llama_8b(), 8)]);
    let ran = run(world, arrivals(0, (0..60).map(|second| 400.0 + f64::from(second)), CHAT));
    let summary = ran.summary("llama");
    assert_eq!((summary.requests.arrived, summary.requests.served), (60, 60));
    assert_eq!(ran.started()[..2], [0.0, 400.0], "the initial scale, and for the first request");
    let ready = ran.reached(|phase| *phase == Phase::Ready);
    assert_eq!(ready.len() as u64, summary.cold_starts);
    let gone = ran.reached(|phase| *phase == Phase::Gone);
    assert_eq!(gone.len(), ready.len());
    println!("{summary:?} {ready:?} {gone:?} {:?}", ran.started());
}
