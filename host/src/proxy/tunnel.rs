//! A connection that was upgraded, to a websocket say: bytes both ways, until either side ends, nothing moves, or time is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Phase;
use super::client::Client;
use super::fate::Outcome;
use super::passage::Passage;

/// Bytes that are on their way in one direction at once.
const BUFFER: usize = 16 * 1024;

/// Passes bytes on between a client and a replica that agreed to. `client` keeps its place among the connections meanwhile.
pub(super) async fn run(
    client: Arc<Client>,
    mut passage: Passage,
    of_client: OnUpgrade,
    of_replica: OnUpgrade,
) {
    passage.fate.outcome = Outcome::Failed;
    let (Ok(here), Ok(there)) = (of_client.await, of_replica.await) else { return };
    let gateway = passage.gateway().clone();
    let mut phase = gateway.phase.subscribe();
    let idle = gateway.settings.idle_answer;
    let moved_us = AtomicU64::new(gateway.clock.now_us());
    let told = |_: usize| moved_us.store(gateway.clock.now_us(), Ordering::Relaxed);
    let passed = pass_both(here, there, &told);
    let mut passed = std::pin::pin!(passed);
    let outcome = loop {
        tokio::select! {
            () = passed.as_mut() => break Outcome::Served,
            _ = passage.ticket().cut() => break Outcome::Expired,
            _ = phase.wait_for(|phase| *phase == Phase::Over) => break Outcome::Failed,
            () = tokio::time::sleep(idle) => {
                let still_us = gateway.clock.now_us() - moved_us.load(Ordering::Relaxed);
                if u128::from(still_us) >= idle.as_micros() {
                    break Outcome::GoneAway;
                }
            }
        }
    };
    passage.fate.outcome = outcome;
    drop((passage, client));
}

async fn pass_both(here: Upgraded, there: Upgraded, told: &impl Fn(usize)) {
    let (mut from_here, mut to_here) = tokio::io::split(TokioIo::new(here));
    let (mut from_there, mut to_there) = tokio::io::split(TokioIo::new(there));
    tokio::join!(
        pass(&mut from_here, &mut to_there, told),
        pass(&mut from_there, &mut to_here, told)
    );
}

/// Passes bytes on until the one side ends, and tells the other.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    told: &impl Fn(usize),
) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        told(length);
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
        told(length);
    }
    // It may be closed already.
    let _ = to.shutdown().await;
}
