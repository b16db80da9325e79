//! Sends recorded load to a running server, each request at its time: what a replay does to a simulator, done to the real thing. It is
//! a client and knows nothing of who answers.
//!
//! A request asks for as many tokens as the trace says, in OpenAI's form; one of which only the duration is recorded asks for as many
//! as take that long at a given speed.

mod ask;
mod line;
mod tally;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

pub use ask::{Target, TargetError};
pub use tally::{Played, Quantiles, ServicePlayed};

use crate::clock::Clock;
use crate::trace::{Item, TraceError};
use ask::Ask;
use line::Lines;
use tally::Tally;

/// Requests under way at once. A server that answers nothing must not make the client run out of memory.
const UNDER_WAY_AT_MOST: usize = 20_000;
/// Answers that wait to be counted; counting is quicker than answering.
const ANSWERS_AT_MOST: usize = 1_024;

/// How load is sent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to, and in what form.
    pub target: Target,
    /// How many times faster than recorded. Above 0.
    pub speed: f64,
    /// Tokens a second of a request of which only the duration is recorded.
    pub tokens_per_s: f64,
    /// How long to wait for an answer's last byte.
    pub timeout: Duration,
}

/// Load that could not be sent to its end.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// It could not be read.
    #[error(transparent)]
    Load(#[from] TraceError),
    /// The target's name means no address.
    #[error("cannot find the address of {host}")]
    Address {
        /// Its host and port.
        host: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Sends `items`, whose services have these names, and counts what comes back. `progress` hears how far the load has come, in
/// microseconds of the trace, and how many requests are under way.
///
/// # Errors
///
/// When the load cannot be read to its end or the target has no address. What a server answers is no error: it is counted.
pub async fn play(
    items: impl Iterator<Item = Result<Item, TraceError>>,
    services: &[String],
    settings: &Settings,
    clock: &Arc<Clock>,
    mut progress: impl FnMut(u64, usize),
) -> Result<Played, PlayError> {
    let host = settings.target.authority();
    let found = tokio::net::lookup_host(host)
        .await
        .and_then(|mut all| all.next().ok_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()));
    let address: SocketAddr =
        found.map_err(|source| PlayError::Address { host: host.to_owned(), source })?;
    let lines = Arc::new(Lines::new(address, settings.timeout));
    let room = Arc::new(Semaphore::new(UNDER_WAY_AT_MOST));
    let (answers, mut counted) = mpsc::channel(ANSWERS_AT_MOST);
    let mut tally = Tally::new(services);
    let start_us = clock.now_us();
    let mut under_way = JoinSet::new();
    for item in items {
        let Item::Arrival { at_us, service, work } = item? else { continue };
        let due_us = start_us + (at_us as f64 / settings.speed) as u64;
        loop {
            tokio::select! {
                biased;
                Some(answer) = counted.recv() => tally.take(answer),
                () = tokio::time::sleep(clock.until_us(due_us)) => break,
            }
            while under_way.try_join_next().is_some() {}
        }
        progress(at_us, under_way.len());
        tally.sent(service, clock.now_us().saturating_sub(due_us));
        let Ok(place) = room.clone().try_acquire_owned() else {
            tally.left_out(service);
            continue;
        };
        let ask = Ask { work, name: services[service as usize].clone() };
        let request = settings.target.request(&ask, settings.tokens_per_s);
        let (lines, answers, clock) = (lines.clone(), answers.clone(), clock.clone());
        under_way.spawn(async move {
            let answer = lines.send(&clock, service, request).await;
            drop(place);
            // Nobody counts any more only where the whole run is given up.
            let _ = answers.send(answer).await;
        });
    }
    drop(answers);
    while let Some(answer) = counted.recv().await {
        tally.take(answer);
        while under_way.try_join_next().is_some() {}
    }
    Ok(tally.finish(clock.now_us().saturating_sub(start_us)))
}
