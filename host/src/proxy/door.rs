//! One service's gate and those who wait at it. Requests come with [`Door::arrive`] and wait for their [`Turn`]; the backend says which
//! replicas there are; the control loop fetches the reports.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::upstream::Pool;
use crate::clock::Clock;
use crate::engine::Report;
use crate::gateway::{Ask, Dispatch, Gate, Limits, Refused, ReplicaHandle, RequestHandle};

/// How long a replica that refused a connection gets no requests.
const LEFT_OUT: Duration = Duration::from_millis(500);

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
        /// Where it is, with the connections to it.
        to: Arc<Pool>,
        /// How long the request was held. Microseconds.
        waited_us: u64,
    },
    /// Its time is up.
    Expired,
}

/// What became of a service's requests since the door was made.
#[derive(Debug, Default)]
pub struct DoorCounts {
    /// Answered in full, whatever the status.
    pub served: AtomicU64,
    /// Ended by their deadline, waiting or running.
    pub expired: AtomicU64,
    /// Not taken in: too many wait.
    pub refused: AtomicU64,
    /// Given up by the gateway: the replica broke off.
    pub failed: AtomicU64,
    /// Given up by the client.
    pub gone_away: AtomicU64,
    /// Tried again at a replica.
    pub retried: AtomicU64,
    /// Came while no replica was ready.
    pub cold: AtomicU64,
}

/// The door of a service: shared by its requests, the backend and the control loop.
pub struct Door {
    clock: Arc<Clock>,
    inner: Mutex<Inner>,
    /// Told when the control loop should look: a request waits and nothing is ready.
    wake: Arc<Notify>,
    counts: DoorCounts,
}

struct Inner {
    gate: Gate,
    /// Who waits or runs, by the index of the request.
    visitors: Vec<Option<Visitor>>,
    /// Where replicas are, by the index of the replica.
    upstreams: Vec<Option<Arc<Pool>>>,
    /// A request began to wait while nothing was ready, and the control loop has not been told.
    is_starved: bool,
    /// Replicas that refused a connection, and the backend has not been told. No longer than there are replicas.
    refusing: Vec<ReplicaHandle>,
    /// Somebody looks after deadlines.
    is_timed: bool,
}

/// A request's ends of what its ticket holds. That both are dropped tells it that its time is up.
struct Visitor {
    /// While it waits.
    turn: Option<oneshot::Sender<Turn>>,
    _until_cut: oneshot::Sender<()>,
}

/// A request at a door. It gives up its place when it is dropped.
pub struct Ticket {
    door: Arc<Door>,
    request: RequestHandle,
    turn: oneshot::Receiver<Turn>,
    cut: oneshot::Receiver<()>,
    is_cold: bool,
    is_over: bool,
}

impl Door {
    /// A door without replicas. `wake` is told when a request waits for a service that has none, and when a replica refuses one.
    pub fn new(limits: Limits, clock: Arc<Clock>, wake: Arc<Notify>) -> Arc<Door> {
        let inner = Inner {
            gate: Gate::new(limits, clock.now_us()),
            visitors: Vec::new(),
            upstreams: Vec::new(),
            is_starved: false,
            refusing: Vec::new(),
            is_timed: false,
        };
        Arc::new(Door { clock, inner: Mutex::new(inner), wake, counts: DoorCounts::default() })
    }

    /// A request comes in. Called within a tokio runtime, which then also looks after deadlines.
    ///
    /// # Errors
    ///
    /// When it would have to wait and there is no room for it.
    pub fn arrive(self: &Arc<Self>, ask: Ask) -> Result<Ticket, Refused> {
        let (to_visitor, turn) = oneshot::channel();
        let (until_cut, cut) = oneshot::channel();
        let now_us = self.clock.now_us();
        let mut inner = self.lock();
        let request = inner.gate.arrive(now_us, ask)?;
        let at = request.index();
        if inner.visitors.len() <= at {
            inner.visitors.resize_with(at + 1, || None);
        }
        inner.visitors[at] = Some(Visitor { turn: Some(to_visitor), _until_cut: until_cut });
        inner.dispatch(now_us);
        let is_cold = inner.gate.ready() == 0;
        if is_cold {
            self.counts.cold.fetch_add(1, Ordering::Relaxed);
        }
        inner.see_starving(&self.wake);
        if !inner.is_timed && inner.gate.next_deadline_us().is_some() {
            inner.is_timed = true;
            tokio::spawn(keep_deadlines(Arc::downgrade(self), self.clock.clone()));
        }
        Ok(Ticket { door: self.clone(), request, turn, cut, is_cold, is_over: false })
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
        inner.upstreams[at] = Some(Arc::new(Pool::new(upstream)));
        inner.dispatch(now_us);
        inner.see_starving(&self.wake);
        replica
    }

    /// A replica takes no more requests; those it has go on.
    pub fn drain(&self, replica: ReplicaHandle) {
        let mut inner = self.lock();
        inner.gate.drain(self.clock.now_us(), replica);
        inner.refusing.retain(|other| *other != replica);
        inner.see_starving(&self.wake);
    }

    /// A replica is no more.
    pub fn remove(&self, replica: ReplicaHandle) {
        let mut inner = self.lock();
        inner.gate.remove(self.clock.now_us(), replica);
        inner.refusing.retain(|other| *other != replica);
        inner.upstreams[replica.index()] = None;
        inner.see_starving(&self.wake);
    }

    /// Requests that a replica holds.
    pub fn load_of(&self, replica: ReplicaHandle) -> u32 {
        self.lock().gate.load_of(replica)
    }

    /// Requests that wait.
    pub fn waiting(&self) -> u32 {
        self.lock().gate.waiting()
    }

    /// Requests at a replica.
    pub fn in_flight(&self) -> u32 {
        self.lock().gate.in_flight()
    }

    /// Replicas that take requests.
    pub fn ready(&self) -> u32 {
        self.lock().gate.ready()
    }

    /// What became of requests.
    pub fn counts(&self) -> &DoorCounts {
        &self.counts
    }

    /// The reports of the seconds that have ended.
    pub fn take_reports(&self) -> Vec<Report> {
        let mut inner = self.lock();
        inner.gate.take_reports(self.clock.now_us()).collect()
    }

    /// Whether requests began to wait while nothing was ready since this was last asked. `wake` is told of it, once and not for each.
    pub fn take_starved(&self) -> bool {
        std::mem::take(&mut self.lock().is_starved)
    }

    /// Replicas that refused a connection, or broke a fresh one off unanswered, since this was last asked. `wake` is told of each.
    pub fn take_refusing(&self) -> Vec<ReplicaHandle> {
        std::mem::take(&mut self.lock().refusing)
    }

    /// Whether the current second will have a report as things are.
    pub fn is_reporting(&self) -> bool {
        self.lock().gate.is_reporting()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("whoever held it did not panic: nothing here does on input")
    }
}

/// Ends requests whose time is up, as long as there are any with a deadline. It sleeps until the oldest one's: deadlines of a service
/// come in the order of arrival.
async fn keep_deadlines(door: Weak<Door>, clock: Arc<Clock>) {
    loop {
        let next_us = {
            let Some(door) = door.upgrade() else { return };
            let now_us = clock.now_us();
            let mut inner = door.lock();
            while let Some(left) = inner.gate.expire(now_us) {
                inner.visitors[left.request.index()] = None;
            }
            inner.dispatch(now_us);
            inner.see_starving(&door.wake);
            match inner.gate.next_deadline_us() {
                Some(next_us) => next_us,
                None => {
                    inner.is_timed = false;
                    return;
                }
            }
        };
        tokio::time::sleep(clock.until_us(next_us)).await;
    }
}

impl Inner {
    /// Requests go to replicas as far as there is room.
    fn dispatch(&mut self, now_us: u64) {
        while let Some(Dispatch { request, replica, waited_us }) = self.gate.dispatch(now_us) {
            let to = self.upstreams[replica.index()].clone();
            let to = to.expect("a replica that takes requests has an address");
            let visitor = self.visitors[request.index()].as_mut();
            let turn = visitor.and_then(|visitor| visitor.turn.take());
            // Who went away meanwhile gives up the place when the ticket is dropped.
            let _ = turn.map(|turn| turn.send(Turn::Go { replica, to, waited_us }));
        }
    }

    /// Whoever looks after replicas is told when somebody begins to wait for one.
    fn see_starving(&mut self, wake: &Notify) {
        if self.gate.begins_to_starve() {
            self.is_starved = true;
            wake.notify_one();
        }
    }
}

impl Ticket {
    /// Waits for the turn.
    pub async fn turn(&mut self) -> Turn {
        (&mut self.turn).await.unwrap_or(Turn::Expired)
    }

    /// The turn, if it has come.
    pub fn try_turn(&mut self) -> Option<Turn> {
        match self.turn.try_recv() {
            Ok(turn) => Some(turn),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Turn::Expired),
        }
    }

    /// Whether nothing was ready when it came.
    pub fn is_cold(&self) -> bool {
        self.is_cold
    }

    /// Ready once the request's time is up, whether it waits or runs.
    pub fn cut(&mut self) -> &mut oneshot::Receiver<()> {
        &mut self.cut
    }

    /// The replica lost the request before it answered anything: it waits again, in its place by arrival. A replica that `refuses` is
    /// left out for a moment, and the backend is told. Whether there was still time.
    pub fn retry(&mut self, replica: ReplicaHandle, refuses: bool) -> bool {
        let (to_visitor, turn) = oneshot::channel();
        let door = &self.door;
        let now_us = door.clock.now_us();
        let mut inner = door.lock();
        if !inner.gate.retry(now_us, self.request) {
            return false;
        }
        if let Some(visitor) = &mut inner.visitors[self.request.index()] {
            visitor.turn = Some(to_visitor);
        }
        // A handle may stand for a newer replica once the old one is gone; then this costs that one a moment at worst.
        if refuses && inner.upstreams[replica.index()].is_some() {
            inner.gate.set_aside(replica, now_us + LEFT_OUT.as_micros() as u64);
            if !inner.refusing.contains(&replica) {
                inner.refusing.push(replica);
            }
            door.wake.notify_one();
            let door = Arc::downgrade(door);
            tokio::spawn(async move {
                tokio::time::sleep(LEFT_OUT).await;
                let Some(door) = door.upgrade() else { return };
                let now_us = door.clock.now_us();
                door.lock().dispatch(now_us);
            });
        }
        inner.dispatch(now_us);
        inner.see_starving(&door.wake);
        drop(inner);
        self.turn = turn;
        self.door.counts.retried.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The answer's last byte was passed on. Tokens are 0 where they are not known.
    pub fn end(mut self, prompt_tokens: u32, output_tokens: u32) {
        self.is_over = true;
        let now_us = self.door.clock.now_us();
        let mut inner = self.door.lock();
        if inner.gate.end(now_us, self.request, output_tokens).is_some() {
            inner.visitors[self.request.index()] = None;
            if prompt_tokens > 0 {
                inner.gate.prompted(now_us, prompt_tokens);
            }
            inner.dispatch(now_us);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let now_us = self.door.clock.now_us();
        let mut inner = self.door.lock();
        // Nothing is left to give up where the request expired.
        if inner.gate.give_up(now_us, self.request).is_some() {
            inner.visitors[self.request.index()] = None;
            inner.dispatch(now_us);
            inner.see_starving(&self.door.wake);
        }
    }
}
