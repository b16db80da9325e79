//! One service's gate and those who wait at it. Requests come with [`Door::arrive`] and wait for their [`Turn`]; the backend says which
//! replicas there are; the control loop fetches the reports.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::engine::Report;
use crate::gateway::{Ask, Dispatch, Gate, Limits, Refused, ReplicaHandle, RequestHandle};

/// Where a replica takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its address.
    pub address: SocketAddr,
    /// Which replica of its target it is.
    pub ordinal: u32,
}

/// What a request that waited is told.
#[derive(Clone, Debug)]
pub enum Turn {
    /// Go there.
    Go {
        /// The replica within the gate.
        replica: ReplicaHandle,
        /// Where it is.
        upstream: Arc<Upstream>,
        /// How long the request was held. Microseconds.
        waited_us: u64,
    },
    /// Its time is up.
    Expired,
}

/// The door of a service: shared by its requests, the backend and the control loop.
pub struct Door {
    clock: Arc<Clock>,
    inner: Mutex<Inner>,
    /// Told when the control loop should look: a request waits and nothing is ready.
    wake: Arc<Notify>,
}

struct Inner {
    gate: Gate,
    /// Who waits, by the index of the request.
    waiters: Vec<Option<oneshot::Sender<Turn>>>,
    /// Where replicas are, by the index of the replica.
    upstreams: Vec<Option<Arc<Upstream>>>,
    /// A request came while nothing was ready, and the control loop has not been told.
    is_starved: bool,
}

/// A request at a door. It gives up its place when it is dropped.
pub struct Ticket {
    door: Arc<Door>,
    request: RequestHandle,
    turn: oneshot::Receiver<Turn>,
}

impl Door {
    /// A door without replicas. `wake` is told when a request waits for a service that has none.
    pub fn new(limits: Limits, clock: Arc<Clock>, wake: Arc<Notify>) -> Arc<Door> {
        let inner = Inner {
            gate: Gate::new(limits, clock.now_us()),
            waiters: Vec::new(),
            upstreams: Vec::new(),
            is_starved: false,
        };
        Arc::new(Door { clock, inner: Mutex::new(inner), wake })
    }

    /// A request comes in.
    ///
    /// # Errors
    ///
    /// When it would have to wait and there is no room for it.
    pub fn arrive(self: &Arc<Self>, ask: Ask) -> Result<Ticket, Refused> {
        let (to_waiter, turn) = oneshot::channel();
        let now_us = self.clock.now_us();
        let mut inner = self.lock();
        let request = inner.gate.arrive(now_us, ask)?;
        let at = request.index();
        if inner.waiters.len() <= at {
            inner.waiters.resize_with(at + 1, || None);
        }
        inner.waiters[at] = Some(to_waiter);
        inner.dispatch(now_us);
        if inner.gate.ready() == 0 {
            inner.is_starved = true;
            self.wake.notify_one();
        }
        Ok(Ticket { door: self.clone(), request, turn })
    }

    /// A replica takes requests from now on.
    pub fn replica_ready(&self, upstream: Upstream) -> ReplicaHandle {
        let now_us = self.clock.now_us();
        let mut inner = self.lock();
        let replica = inner.gate.replica_ready(now_us, upstream.ordinal);
        let at = replica.index();
        if inner.upstreams.len() <= at {
            inner.upstreams.resize(at + 1, None);
        }
        inner.upstreams[at] = Some(Arc::new(upstream));
        inner.dispatch(now_us);
        replica
    }

    /// A replica takes no more requests; those it has go on.
    pub fn drain(&self, replica: ReplicaHandle) {
        self.lock().gate.drain(self.clock.now_us(), replica);
    }

    /// A replica is no more.
    pub fn remove(&self, replica: ReplicaHandle) {
        let mut inner = self.lock();
        inner.gate.remove(self.clock.now_us(), replica);
        inner.upstreams[replica.index()] = None;
    }

    /// Requests that a replica holds.
    pub fn load_of(&self, replica: ReplicaHandle) -> u32 {
        self.lock().gate.load_of(replica)
    }

    /// The reports of the seconds that have ended.
    pub fn take_reports(&self) -> Vec<Report> {
        self.lock().gate.take_reports(self.clock.now_us()).collect()
    }

    /// Whether a request came while nothing was ready since this was last asked.
    pub fn take_starved(&self) -> bool {
        std::mem::take(&mut self.lock().is_starved)
    }

    /// Whether the current second will have a report as things are.
    pub fn is_reporting(&self) -> bool {
        self.lock().gate.is_reporting()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("whoever held it did not panic: nothing here does on input")
    }
}

impl Inner {
    /// Requests go to replicas as far as there is room.
    fn dispatch(&mut self, now_us: u64) {
        while let Some(Dispatch { request, replica, waited_us }) = self.gate.dispatch(now_us) {
            let upstream = self.upstreams[replica.index()].clone();
            let upstream = upstream.expect("a replica that takes requests has an address");
            let waiter = self.waiters[request.index()].take();
            // Who went away meanwhile gives up the place when the ticket is dropped.
            let _ = waiter.map(|waiter| waiter.send(Turn::Go { replica, upstream, waited_us }));
        }
    }
}

impl Ticket {
    /// Waits for the turn.
    pub async fn turn(&mut self) -> Turn {
        (&mut self.turn).await.unwrap_or(Turn::Expired)
    }

    /// The answer's last byte was passed on. `output_tokens` is 0 where that is not known.
    pub fn end(self, output_tokens: u32) {
        let now_us = self.door.clock.now_us();
        let mut inner = self.door.lock();
        inner.gate.end(now_us, self.request, output_tokens);
        inner.dispatch(now_us);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let now_us = self.door.clock.now_us();
        let mut inner = self.door.lock();
        // Nothing is left to give up where the request ended or expired.
        if inner.gate.give_up(now_us, self.request).is_some() {
            inner.waiters[self.request.index()] = None;
            inner.dispatch(now_us);
        }
    }
}
