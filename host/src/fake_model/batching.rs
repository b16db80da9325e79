//! The simulator's batching server in real time: who runs, how far each has come, and one timer for all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::metrics::Counts;
use crate::backend::sim::Speed;
use crate::backend::sim::server::{Sequence, Server};
use crate::clock::Clock;

/// Requests that a server holds, waiting ones included. Model servers have no such bound; this one is for tests, which want to see
/// where a queue grows without end.
const HELD_AT_MOST: usize = 20_000;

/// What runs. Shared by requests and by the one task that drives it.
pub(super) struct Batching {
    clock: Arc<Clock>,
    inner: Mutex<Inner>,
    /// Told when something came in, so that the timer may be set anew.
    wake: Notify,
}

struct Inner {
    server: Server<u64>,
    next_request: u64,
    seats: BTreeMap<u64, Seat>,
    counts: Counts,
    ended: Vec<(u64, u32)>,
}

/// A request that runs or waits.
struct Seat {
    arrived_us: u64,
    prompt_tokens: u32,
    /// Whether each token matters, or only the last.
    streams: bool,
    /// Tokens that were told.
    written: u32,
    has_first: bool,
    progress: Arc<Mutex<Progress>>,
}

#[derive(Default)]
struct Progress {
    written: u32,
    is_over: bool,
    waker: Option<Waker>,
}

/// A request's place. It gives that up when dropped.
pub(super) struct Place {
    batching: Arc<Batching>,
    request: u64,
    progress: Arc<Mutex<Progress>>,
}

/// How much runs and waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Levels {
    pub(super) running: usize,
    pub(super) waiting: usize,
    /// From 0 to 1.
    pub(super) cache_use: f64,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its prompt fits no cache.
    TooLong,
    /// Too many wait.
    Full,
}

impl Batching {
    pub(super) fn new(speed: Speed, clock: Arc<Clock>) -> Arc<Batching> {
        let inner = Inner {
            server: Server::new(speed),
            next_request: 0,
            seats: BTreeMap::new(),
            counts: Counts::default(),
            ended: Vec::new(),
        };
        Arc::new(Batching { clock, inner: Mutex::new(inner), wake: Notify::new() })
    }

    /// A request comes in.
    pub(super) fn join(
        self: &Arc<Self>,
        prompt: u32,
        output: u32,
        streams: bool,
    ) -> Result<Place, Refused> {
        let now_us = self.clock.now_us();
        let mut inner = self.lock();
        inner.catch_up(now_us);
        let request = inner.next_request;
        let sequence = Sequence { request, prompt, output };
        if !inner.server.could_hold(&sequence) {
            return Err(Refused::TooLong);
        }
        if inner.seats.len() >= HELD_AT_MOST {
            return Err(Refused::Full);
        }
        inner.next_request += 1;
        let progress = Arc::new(Mutex::new(Progress::default()));
        let seat = Seat {
            arrived_us: now_us,
            prompt_tokens: prompt,
            streams,
            written: 0,
            has_first: false,
            progress: progress.clone(),
        };
        inner.seats.insert(request, seat);
        inner.server.join(now_us, sequence);
        drop(inner);
        self.wake.notify_one();
        Ok(Place { batching: self.clone(), request, progress })
    }

    /// Tells requests how far they have come, for ever.
    pub(super) async fn drive(&self) {
        loop {
            let next_us = {
                let now_us = self.clock.now_us();
                let mut inner = self.lock();
                inner.catch_up(now_us);
                inner.tell(now_us)
            };
            match next_us {
                None => self.wake.notified().await,
                Some(next_us) => {
                    // No shorter than the timer's own grain: what falls due meanwhile is told together.
                    let span = self.clock.until_us(next_us).max(Duration::from_millis(1));
                    tokio::select! {
                        () = tokio::time::sleep(span) => {}
                        () = self.wake.notified() => {}
                    }
                }
            }
        }
    }

    pub(super) fn levels(&self) -> Levels {
        let mut inner = self.lock();
        inner.catch_up(self.clock.now_us());
        Levels {
            running: inner.server.running(),
            waiting: inner.server.waiting(),
            cache_use: inner.server.cache_use(),
        }
    }

    /// What was counted since the start.
    pub(super) fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("whoever held it did not panic: nothing here does on input")
    }
}

impl Inner {
    /// Ends all that is due.
    fn catch_up(&mut self, now_us: u64) {
        while let Some(at_us) = self.server.next_us()
            && at_us <= now_us
        {
            let mut ended = std::mem::take(&mut self.ended);
            self.server.advance(|request, written| ended.push((request, written)));
            for (request, written) in ended.drain(..) {
                if let Some(mut seat) = self.seats.remove(&request) {
                    seat.reach(&mut self.counts, at_us, written, true);
                    self.counts.finished += 1;
                }
            }
            self.ended = ended;
            for (request, written) in self.server.written(at_us) {
                if let Some(seat) = self.seats.get_mut(&request)
                    && !seat.has_first
                {
                    seat.reach(&mut self.counts, at_us, written, false);
                }
            }
        }
    }

    /// Tells streams what was written; when the next token or end is due.
    fn tell(&mut self, now_us: u64) -> Option<u64> {
        let mut is_streaming = false;
        for (request, written) in self.server.written(now_us) {
            if let Some(seat) = self.seats.get_mut(&request)
                && seat.streams
            {
                is_streaming = true;
                seat.reach(&mut self.counts, now_us, written, false);
            }
        }
        if is_streaming { self.server.next_token_us(now_us) } else { self.server.next_us() }
    }
}

impl Seat {
    fn reach(&mut self, counts: &mut Counts, at_us: u64, written: u32, is_over: bool) {
        if !self.has_first {
            self.has_first = true;
            counts.prompt_tokens += u64::from(self.prompt_tokens);
            counts.first_token_us(at_us.saturating_sub(self.arrived_us));
        }
        counts.generation_tokens += u64::from(written.saturating_sub(self.written));
        if written == self.written && !is_over {
            return;
        }
        self.written = written;
        if !self.streams && !is_over {
            return;
        }
        let waker = {
            let mut progress = self.progress.lock().expect("nothing panics while it is held");
            progress.written = written;
            progress.is_over = is_over;
            progress.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Place {
    /// Which request it is, counted from 0.
    pub(super) fn request(&self) -> u64 {
        self.request
    }

    /// Tokens that are written, once there are more than `known` or no more will come.
    pub(super) fn poll_written(&self, context: &mut Context<'_>, known: u32) -> Poll<(u32, bool)> {
        let mut progress = self.progress.lock().expect("nothing panics while it is held");
        if progress.written > known || progress.is_over {
            return Poll::Ready((progress.written, progress.is_over));
        }
        progress.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits for the whole answer.
    pub(super) async fn whole(&self) -> u32 {
        std::future::poll_fn(|context| self.poll_written(context, u32::MAX)).await.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now_us = self.batching.clock.now_us();
        let mut inner = self.batching.lock();
        if inner.seats.remove(&self.request).is_some() {
            inner.catch_up(now_us);
            inner.server.give_up(now_us, self.request);
            inner.counts.aborted += 1;
            drop(inner);
            self.batching.wake.notify_one();
        }
    }
}
