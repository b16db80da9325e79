//! The pure core of the gateway: queue, pick of a replica, deadline, per-second report. The simulator and the real gateway use it
//! alike. It has no sockets and no clock: times are Unix microseconds, handed in, never stepping back.
//!
//! There is a [`Gate`] for each service. Whoever drives it tells it what happened (a request arrived or ended, a replica came or
//! went), and then asks until there is nothing more: [`Gate::dispatch`] which request goes to which replica, [`Gate::expire`]
//! whose time is up. A request holds its place at its replica until it is told that it ended, whatever becomes of the replica.

mod meter;
mod split;
#[cfg(test)]
mod tests;

pub use meter::{Counted, Meter};
pub use split::Split;

use crate::engine::{Report, Signal};
use crate::heap::IndexedHeap;

const SECOND_US: u64 = 1_000_000;
/// No index: the end of a list, no replica.
const NONE: u32 = u32::MAX;

/// What a gate allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that one replica takes at once; 0 is no limit.
    pub concurrency: u32,
    /// Requests that may wait at once; further ones are refused.
    pub queue: u32,
    /// Bytes that waiting requests may hold in all; further requests are refused. `None` is no limit.
    pub queue_bytes: Option<u64>,
    /// How long a request may take from arrival to its last byte, whether it waits or runs: both end at their deadline, as
    /// Knative's `timeoutSeconds` has it. Microseconds; `None` is no limit.
    pub timeout_us: Option<u64>,
}

/// A request within one gate. It stands for that request only: once the request ended, it stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestHandle {
    index: u32,
    generation: u32,
}

impl RequestHandle {
    /// A small number, unique among the requests that the gate holds.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A replica within one gate, from ready until it is removed and its last request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaHandle(u32);

impl ReplicaHandle {
    /// A small number, unique among the replicas that the gate knows.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why a request was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many requests wait as may.
    QueueFull,
    /// Waiting requests hold as many bytes as they may.
    QueueBytesFull,
}

/// What a gate needs to know of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Tokens of the prompt; 0 where that is not known.
    pub prompt_tokens: u32,
    /// Bytes that it holds while it waits.
    pub bytes: u32,
}

/// A request goes to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The request.
    pub request: RequestHandle,
    /// Where it goes.
    pub replica: ReplicaHandle,
    /// How long it was held. Microseconds.
    pub waited_us: u64,
}

/// A request that the gate let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Which; from now on its handle stands for nothing.
    pub request: RequestHandle,
    /// When it arrived.
    pub arrived_us: u64,
    /// Where it was and since when; `None`: it waited.
    pub at: Option<(ReplicaHandle, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    generation: u32,
    /// Its replica, or [`NONE`] while it waits.
    replica: u32,
    arrived_us: u64,
    dispatched_us: u64,
    /// Neighbours among all requests, in order of arrival.
    alive: Links,
    /// Neighbours among those that wait, in order of arrival.
    waiting: Links,
    ask: Ask,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    before: u32,
    after: u32,
}

const UNLINKED: Links = Links { before: NONE, after: NONE };

#[derive(Clone, Copy, Debug)]
struct Replica {
    ordinal: u32,
    load: u32,
    /// Takes requests.
    is_ready: bool,
    /// Is ready, but gets no requests for a moment.
    is_aside: bool,
    /// Is not coming back: forgotten once its last request has ended.
    is_removed: bool,
}

/// The requests of one service between arrival and end, and the replicas that take them.
#[derive(Clone, Debug)]
pub struct Gate {
    limits: Limits,
    requests: Vec<Request>,
    free_requests: Vec<u32>,
    alive: Links,
    waiting: Links,
    waiting_count: u32,
    waiting_bytes: u64,
    in_flight: u32,
    replicas: Vec<Replica>,
    free_replicas: Vec<u32>,
    /// Replicas that take requests, by load and then ordinal.
    by_load: IndexedHeap<(u32, u32)>,
    /// Replicas that are left out, and until when. A few at most.
    aside: Vec<(u64, u32)>,
    ready: u32,
    meter: Meter,
    /// The end of the current second.
    second_ends_us: u64,
    was_busy: bool,
    /// What of the current second was reported already: requests in flight, arrivals.
    reported: Option<(f64, u64)>,
    reports: Vec<Report>,
    /// It was told that somebody waits and nothing is ready.
    is_known_to_starve: bool,
}

impl Gate {
    /// A gate without requests and replicas.
    pub fn new(limits: Limits, now_us: u64) -> Gate {
        Gate {
            limits,
            requests: Vec::new(),
            free_requests: Vec::new(),
            alive: UNLINKED,
            waiting: UNLINKED,
            waiting_count: 0,
            waiting_bytes: 0,
            in_flight: 0,
            replicas: Vec::new(),
            free_replicas: Vec::new(),
            by_load: IndexedHeap::new(),
            aside: Vec::new(),
            ready: 0,
            meter: Meter::new(now_us),
            second_ends_us: (now_us / SECOND_US + 1) * SECOND_US,
            was_busy: false,
            reported: None,
            reports: Vec::new(),
            is_known_to_starve: false,
        }
    }

    /// A request arrives. It waits until [`Gate::dispatch`] gives it away, which may be at once.
    ///
    /// # Errors
    ///
    /// When it would have to wait and there is no room for it.
    pub fn arrive(&mut self, now_us: u64, ask: Ask) -> Result<RequestHandle, Refused> {
        self.close_seconds(now_us);
        self.bring_back(now_us);
        if self.waiting_count > 0 || self.roomiest().is_none() {
            if self.waiting_count >= self.limits.queue {
                self.meter.arrived();
                return Err(Refused::QueueFull);
            }
            let bytes = self.waiting_bytes + u64::from(ask.bytes);
            if self.limits.queue_bytes.is_some_and(|limit| bytes > limit) {
                self.meter.arrived();
                return Err(Refused::QueueBytesFull);
            }
        }
        let is_first = self.begins_afresh(now_us);
        self.meter.arrived();
        self.meter.begins(now_us);
        let fresh = Request {
            generation: 0,
            replica: NONE,
            arrived_us: now_us,
            dispatched_us: now_us,
            alive: UNLINKED,
            waiting: UNLINKED,
            ask,
        };
        let index = match self.free_requests.pop() {
            Some(index) => {
                let generation = self.requests[index as usize].generation;
                self.requests[index as usize] = Request { generation, ..fresh };
                index
            }
            None => {
                self.requests.push(fresh);
                self.requests.len() as u32 - 1
            }
        };
        link_before(NONE, &mut self.requests, &mut self.alive, index, |request| &mut request.alive);
        self.join_queue(index, NONE);
        if is_first {
            self.report_first(now_us, 1.0, 1);
        }
        Ok(self.handle(index))
    }

    /// The longest waiting request goes to the ready replica with the fewest, the lowest ordinal among equals. `None` when nobody
    /// waits or every replica is full.
    pub fn dispatch(&mut self, now_us: u64) -> Option<Dispatch> {
        if self.waiting_count == 0 {
            return None;
        }
        self.bring_back(now_us);
        let replica = self.roomiest()?;
        self.close_seconds(now_us);
        let index = self.waiting.after;
        self.leave_queue(index);
        let request = &mut self.requests[index as usize];
        request.replica = replica;
        request.dispatched_us = now_us;
        let waited_us = now_us.saturating_sub(request.arrived_us);
        self.meter.prompted(request.ask.prompt_tokens);
        self.in_flight += 1;
        self.load(replica, 1);
        Some(Dispatch { request: self.handle(index), replica: ReplicaHandle(replica), waited_us })
    }

    /// The next request whose deadline has come. Whoever drives the gate stops it where it runs.
    pub fn expire(&mut self, now_us: u64) -> Option<Left> {
        if self.next_deadline_us()? > now_us {
            return None;
        }
        self.close_seconds(now_us);
        let oldest = self.handle(self.alive.after);
        self.leave(now_us, oldest)
    }

    /// When the next deadline is; `None`: nobody has one.
    pub fn next_deadline_us(&self) -> Option<u64> {
        let oldest = self.requests.get(self.alive.after as usize)?;
        Some(oldest.arrived_us.saturating_add(self.limits.timeout_us?))
    }

    /// A replica answered a request in full, with so many tokens. `None` when the request is gone already.
    pub fn end(&mut self, now_us: u64, request: RequestHandle, output_tokens: u32) -> Option<Left> {
        self.close_seconds(now_us);
        let left = self.leave(now_us, request)?;
        self.meter.answered(output_tokens);
        Some(left)
    }

    /// An answer told how many tokens its prompt had, where [`Ask::prompt_tokens`] did not: they count from now on.
    pub fn prompted(&mut self, now_us: u64, tokens: u32) {
        self.close_seconds(now_us);
        self.meter.prompted(tokens);
    }

    /// A request is given up: its client left, or its replica was lost. `None` when it is gone already.
    pub fn give_up(&mut self, now_us: u64, request: RequestHandle) -> Option<Left> {
        self.close_seconds(now_us);
        self.leave(now_us, request)
    }

    /// A request whose replica was lost before it answered anything waits again, in its place by arrival. Whether it was at
    /// a replica.
    pub fn retry(&mut self, now_us: u64, request: RequestHandle) -> bool {
        let Some(index) = self.index(request) else { return false };
        let replica = self.requests[index as usize].replica;
        if replica == NONE {
            return false;
        }
        self.close_seconds(now_us);
        self.requests[index as usize].replica = NONE;
        self.in_flight -= 1;
        self.load(replica, -1);
        let arrived_us = self.requests[index as usize].arrived_us;
        let mut next = self.waiting.after;
        while let Some(one) = self.requests.get(next as usize)
            && one.arrived_us <= arrived_us
        {
            next = one.waiting.after;
        }
        self.join_queue(index, next);
        true
    }

    /// A replica takes requests from now on. Ordinals decide between replicas that are equally loaded.
    ///
    /// A second that ends at this very moment counts it as ready, as in Knative's order of events.
    pub fn replica_ready(&mut self, now_us: u64, ordinal: u32) -> ReplicaHandle {
        self.close_seconds(now_us.saturating_sub(1));
        let fresh =
            Replica { ordinal, load: 0, is_ready: true, is_aside: false, is_removed: false };
        let index = match self.free_replicas.pop() {
            Some(index) => {
                self.replicas[index as usize] = fresh;
                index
            }
            None => {
                self.replicas.push(fresh);
                self.replicas.len() as u32 - 1
            }
        };
        self.ready += 1;
        self.by_load.set(index, (0, ordinal));
        ReplicaHandle(index)
    }

    /// A replica takes no more requests; those it has go on.
    pub fn drain(&mut self, now_us: u64, replica: ReplicaHandle) {
        self.close_seconds(now_us.saturating_sub(1));
        let one = &mut self.replicas[replica.index()];
        if one.is_ready {
            one.is_ready = false;
            self.ready -= 1;
            if std::mem::take(&mut one.is_aside) {
                self.aside.retain(|(_, other)| *other != replica.0);
            } else {
                self.by_load.remove(replica.0);
            }
        }
    }

    /// A ready replica gets no requests until then: it refused one. It still counts as ready, since whoever looks after replicas
    /// decides whether it is.
    pub fn set_aside(&mut self, replica: ReplicaHandle, until_us: u64) {
        let one = &mut self.replicas[replica.index()];
        if one.is_ready && !one.is_aside {
            one.is_aside = true;
            self.by_load.remove(replica.0);
            self.aside.push((until_us, replica.0));
        }
    }

    /// A replica is no more. Its requests stay until they are given up or tried again.
    pub fn remove(&mut self, now_us: u64, replica: ReplicaHandle) {
        self.drain(now_us, replica);
        let one = &mut self.replicas[replica.index()];
        if !std::mem::replace(&mut one.is_removed, true) && one.load == 0 {
            self.free_replicas.push(replica.0);
        }
    }

    /// From now on the service holds so many requests in flight besides those that arrive: load that is known as a level only.
    pub fn offer(&mut self, now_us: u64, concurrency: f64) {
        self.close_seconds(now_us);
        let is_first = concurrency > 0.0 && self.begins_afresh(now_us);
        self.meter.offer(now_us, concurrency);
        if is_first {
            self.report_first(now_us, concurrency.min(1.0), 0);
        }
    }

    /// Closes the seconds that ended by `now_us`, and hands over their reports and those before, in order.
    ///
    /// A report carries the second at which it is made: that of the time from 41 to 42 s is in bucket 42, and a decision at 42 s
    /// sees it. There is one where a replica is ready at that moment, or something was in flight, or was in the second before.
    /// What happens at the very moment at which a second ends belongs to the next.
    ///
    /// The first request for a service that has no ready replica and of which nothing was reported lately is reported at once,
    /// as a request in flight and an arrival; the report of its second is of the time since it came, less that. This is how
    /// Knative's activator makes the autoscaler see a request before a second is over.
    pub fn take_reports(&mut self, now_us: u64) -> std::vec::Drain<'_, Report> {
        self.close_seconds(now_us);
        self.reports.drain(..)
    }

    /// Whether the current second will have a report as things are.
    pub fn is_reporting(&self) -> bool {
        self.ready > 0 || self.was_busy || self.reported.is_some() || !self.meter.is_idle()
    }

    /// Whether somebody has begun to wait for a service without a ready replica since this was last asked. Asked after whatever may
    /// change that, and true once: who waits then needs no further word until a replica was ready, or nobody waited.
    pub fn begins_to_starve(&mut self) -> bool {
        let starves = self.ready == 0 && (self.waiting_count > 0 || self.offered() > 0.0);
        let was_known = std::mem::replace(&mut self.is_known_to_starve, starves);
        starves && !was_known
    }

    /// Requests at a replica.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Requests that wait.
    pub fn waiting(&self) -> u32 {
        self.waiting_count
    }

    /// Replicas that take requests.
    pub fn ready(&self) -> u32 {
        self.ready
    }

    /// The level that [`Gate::offer`] set.
    pub fn offered(&self) -> f64 {
        self.meter.offered()
    }

    /// Requests that a replica holds.
    pub fn load_of(&self, replica: ReplicaHandle) -> u32 {
        self.replicas[replica.index()].load
    }

    /// Replicas that were left out long enough take requests again.
    fn bring_back(&mut self, now_us: u64) {
        let (replicas, by_load) = (&mut self.replicas, &mut self.by_load);
        self.aside.retain(|&(until_us, replica)| {
            if until_us > now_us {
                return true;
            }
            let one = &mut replicas[replica as usize];
            one.is_aside = false;
            by_load.set(replica, (one.load, one.ordinal));
            false
        });
    }

    /// The ready replica with the fewest requests, if it has room.
    fn roomiest(&self) -> Option<u32> {
        let ((load, _), replica) = self.by_load.least()?;
        (self.limits.concurrency == 0 || load < self.limits.concurrency).then_some(replica)
    }

    fn handle(&self, index: u32) -> RequestHandle {
        RequestHandle { index, generation: self.requests[index as usize].generation }
    }

    fn index(&self, request: RequestHandle) -> Option<u32> {
        let found = self.requests.get(request.index())?;
        (found.generation == request.generation).then_some(request.index)
    }

    fn leave(&mut self, now_us: u64, request: RequestHandle) -> Option<Left> {
        let index = self.index(request)?;
        let Request { replica, arrived_us, dispatched_us, .. } = self.requests[index as usize];
        self.meter.ends(now_us);
        if replica == NONE {
            self.leave_queue(index);
        } else {
            self.in_flight -= 1;
            self.load(replica, -1);
        }
        unlink(&mut self.requests, &mut self.alive, index, |request| &mut request.alive);
        let gone = &mut self.requests[index as usize];
        gone.generation = gone.generation.wrapping_add(1);
        self.free_requests.push(index);
        let at = (replica != NONE).then_some((ReplicaHandle(replica), dispatched_us));
        Some(Left { request, arrived_us, at })
    }

    fn join_queue(&mut self, index: u32, next: u32) {
        let (requests, ends) = (&mut self.requests, &mut self.waiting);
        link_before(next, requests, ends, index, |request| &mut request.waiting);
        self.waiting_count += 1;
        self.waiting_bytes += u64::from(self.requests[index as usize].ask.bytes);
    }

    fn leave_queue(&mut self, index: u32) {
        unlink(&mut self.requests, &mut self.waiting, index, |request| &mut request.waiting);
        self.waiting_count -= 1;
        self.waiting_bytes -= u64::from(self.requests[index as usize].ask.bytes);
    }

    fn load(&mut self, replica: u32, change: i32) {
        let one = &mut self.replicas[replica as usize];
        one.load = one.load.checked_add_signed(change).expect("only what was added is taken away");
        if one.is_ready {
            if !one.is_aside {
                self.by_load.set(replica, (one.load, one.ordinal));
            }
        } else if one.is_removed && one.load == 0 {
            self.free_replicas.push(replica);
        }
    }

    /// Makes the reports of the seconds that ended by `now_us`.
    fn close_seconds(&mut self, now_us: u64) {
        while self.second_ends_us <= now_us {
            if !self.is_reporting() {
                // Nothing will be said until something happens, and nothing does before `now_us`.
                self.second_ends_us = (now_us / SECOND_US + 1) * SECOND_US;
                self.meter = Meter::new(self.second_ends_us - SECOND_US);
                return;
            }
            self.close_second();
        }
    }

    fn close_second(&mut self) {
        let at_us = self.second_ends_us;
        let counted = self.meter.take(at_us);
        let is_busy = counted.concurrency > 0.0;
        let reported = self.reported.take();
        if is_busy || self.was_busy || self.ready > 0 || reported.is_some() {
            let (in_flight, arrivals) = reported.unwrap_or_default();
            self.report(
                at_us,
                Counted {
                    concurrency: (counted.concurrency - in_flight).max(0.0),
                    arrivals: counted.arrivals - arrivals,
                    ..counted
                },
            );
        }
        self.was_busy = is_busy;
        self.second_ends_us += SECOND_US;
    }

    /// Whether load that comes now is the first for a service at zero. Time is counted from it then.
    fn begins_afresh(&mut self, now_us: u64) -> bool {
        let is_first = self.ready == 0 && !self.is_reporting();
        if is_first {
            self.meter = Meter::new(now_us);
        }
        is_first
    }

    /// The first load for a service at zero does not wait for the end of the second.
    fn report_first(&mut self, now_us: u64, concurrency: f64, arrivals: u64) {
        self.reported = Some((concurrency, arrivals));
        self.report(now_us, Counted { concurrency, arrivals, ..Counted::default() });
    }

    fn report(&mut self, at_us: u64, counted: Counted) {
        let values = Signal::ALL.map(|signal| match signal {
            Signal::Concurrency => counted.concurrency,
            Signal::Arrivals => counted.arrivals as f64,
            Signal::PromptTokens => counted.prompt_tokens as f64,
            Signal::OutputTokens => counted.output_tokens as f64,
        });
        let oldest = self.requests.get(self.waiting.after as usize);
        self.reports.push(Report {
            second: at_us / SECOND_US,
            values,
            in_flight: self.in_flight,
            waiting: self.waiting_count,
            oldest_wait_ms: oldest
                .map_or(0, |oldest| at_us.saturating_sub(oldest.arrived_us) / 1_000),
        });
    }
}

/// Puts `index` in front of `next`, or last where that is [`NONE`]. The lists run through the requests themselves; `ends.after`
/// is the first of a list and `ends.before` the last.
fn link_before(
    next: u32,
    requests: &mut [Request],
    ends: &mut Links,
    index: u32,
    links: impl Fn(&mut Request) -> &mut Links,
) {
    let before = match requests.get_mut(next as usize) {
        Some(one) => std::mem::replace(&mut links(one).before, index),
        None => std::mem::replace(&mut ends.before, index),
    };
    match requests.get_mut(before as usize) {
        Some(one) => links(one).after = index,
        None => ends.after = index,
    }
    *links(&mut requests[index as usize]) = Links { before, after: next };
}

fn unlink(
    requests: &mut [Request],
    ends: &mut Links,
    index: u32,
    links: impl Fn(&mut Request) -> &mut Links,
) {
    let Links { before, after } = *links(&mut requests[index as usize]);
    match requests.get_mut(before as usize) {
        Some(one) => links(one).after = after,
        None => ends.after = after,
    }
    match requests.get_mut(after as usize) {
        Some(one) => links(one).before = before,
        None => ends.before = before,
    }
}
