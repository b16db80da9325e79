//! A gateway to point a load generator at. Not a check: it runs until it is stopped.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use tidegate::gateway::Limits;
use tidegate::proxy::Settings;

use crate::world::*;

/// `cargo test --release --locked --workspace --test gateway -- --ignored --nocapture by_hand`, then
/// `wrk -t1 -c8 -d10 --latency http://ADDRESS/` for each of the three addresses that it prints.
#[ignore = "runs until it is stopped"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_hand() {
    let limits = Limits { concurrency: 0, queue: 20_000, ..LIMITS };
    let settings = Settings { waiting: 20_000, connections: 30_000, ..Settings::default() };
    let mut world = World::new(settings.clone(), limits).await;
    let answer = Bytes::from_static(&[b'x'; 500]);
    let direct = replica(move |_| {
        let answer = answer.clone();
        async move { Response::new(Full::new(answer)) }
    })
    .await;
    world.replica(0, direct);
    let cold = World::new(settings, Limits { timeout_us: Some(600_000_000), ..limits }).await;
    println!("direct {direct}\ngateway {}\nat zero {}", world.address, cold.address);
    let held = Arc::new(cold);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut served = 0;
        while world.fates.try_recv().is_ok() {
            served += 1;
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
        if served > 0 || held.gateway.waiting() > 0 {
            println!("{served} served, {} wait at zero, {memory}", held.gateway.waiting());
        }
    }
}
