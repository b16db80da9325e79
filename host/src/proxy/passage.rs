//! One request on its way, from its door to the answer's last byte; and the answers that clients read.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tokio::time::Sleep;

use super::client::InProgress;
use super::door::Ticket;
use super::early::Early;
use super::fate::{Fate, Outcome};
use super::tokens::Tally;
use super::upstream::Lease;
use super::{Gateway, Revision};

/// Why an answer was cut off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("the request's deadline came")]
    Expired,
    #[error("the replica broke off")]
    Replica(#[source] hyper::Error),
    #[error("the replica sent nothing for too long")]
    Idle,
    #[error("the client read nothing for too long")]
    Stalled,
}

/// A request that came to a door. When it is dropped, it gives up its place and its fate is noted; until something else is said, its
/// client went away.
pub(super) struct Passage {
    gateway: Arc<Gateway>,
    revision: Revision,
    ticket: Option<Ticket>,
    pub(super) fate: Fate,
}

impl Passage {
    pub(super) fn new(gateway: Arc<Gateway>, revision: Revision, arrived_us: u64) -> Passage {
        let fate = Fate {
            target: revision.target,
            arrived_us,
            waited_us: 0,
            first_byte_us: None,
            took_us: 0,
            outcome: Outcome::GoneAway,
            status: 0,
            prompt_tokens: 0,
            output_tokens: 0,
            is_cold: false,
        };
        Passage { gateway, revision, ticket: None, fate }
    }

    pub(super) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(super) fn let_in(&mut self, ticket: Ticket) {
        self.fate.is_cold = ticket.is_cold();
        self.ticket = Some(ticket);
    }

    pub(super) fn ticket(&mut self) -> &mut Ticket {
        self.ticket.as_mut().expect("it was let in")
    }

    /// Requests that wait for the same service.
    pub(super) fn waiting_at_door(&self) -> u32 {
        self.revision.door.waiting()
    }

    pub(super) fn since_arrival_us(&self) -> u64 {
        self.gateway.clock.now_us().saturating_sub(self.fate.arrived_us)
    }

    fn begin_answer(&mut self) {
        if self.fate.first_byte_us.is_none() {
            self.fate.first_byte_us = Some(self.since_arrival_us());
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            self.note();
            return;
        };
        if self.fate.outcome == Outcome::Served {
            ticket.end(self.fate.prompt_tokens, self.fate.output_tokens);
        } else {
            drop(ticket);
        }
        self.note();
    }
}

impl Passage {
    fn note(&mut self) {
        self.fate.took_us = self.since_arrival_us();
        let counts = self.revision.door.counts();
        let count = match self.fate.outcome {
            Outcome::Served => &counts.served,
            Outcome::Expired => &counts.expired,
            Outcome::Refused => &counts.refused,
            Outcome::Failed => &counts.failed,
            Outcome::GoneAway => &counts.gone_away,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if self.gateway.fates.try_send(self.fate).is_err() {
            self.gateway.counts.fates_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The body of an answer to a client.
pub(super) struct Answer {
    kind: Kind,
    /// The connection is at work until the answer has been handed over.
    _in_progress: Option<InProgress>,
}

enum Kind {
    Full(Option<Bytes>),
    Passed(Arc<Line>),
    Early(Box<Early>),
}

impl Answer {
    pub(super) fn full(bytes: Bytes) -> Answer {
        let bytes = (!bytes.is_empty()).then_some(bytes);
        Answer { kind: Kind::Full(bytes), _in_progress: None }
    }

    pub(super) fn early(early: Early) -> Answer {
        Answer { kind: Kind::Early(Box::new(early)), _in_progress: None }
    }

    pub(super) fn passed(line: Arc<Line>) -> Answer {
        Answer { kind: Kind::Passed(line), _in_progress: None }
    }

    pub(super) fn during(mut self, in_progress: InProgress) -> Answer {
        self._in_progress = Some(in_progress);
        self
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.get_mut().kind {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
            Kind::Passed(line) => line.poll_frame(cx),
            Kind::Early(early) => early.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Passed(line) => line.is_end_stream(),
            Kind::Early(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Passed(line) => line.size_hint(),
            Kind::Early(_) => SizeHint::default(),
        }
    }
}

/// An answer on its way from a replica to a client, a chunk at a time: the next is asked for when the client's connection took the last.
/// The connection looks after those of its lines that stall, which are asked for nothing.
pub(super) struct Line {
    flow: Mutex<State>,
    /// When a chunk was handed over, until the next is asked for; 0 then. Microseconds.
    handed_us: AtomicU64,
}

enum State {
    Flows(Box<Flow>),
    Ended,
    Stalled,
}

struct Flow {
    from: Incoming,
    passage: Passage,
    tally: Option<Tally>,
    lease: Option<Lease>,
    timeout: Duration,
    idle: Option<Pin<Box<Sleep>>>,
}

impl Line {
    /// What a replica answers, to be passed on.
    pub(super) fn new(
        headers: &HeaderMap,
        from: Incoming,
        passage: Passage,
        lease: Option<Lease>,
    ) -> Arc<Line> {
        let is_plain = !headers.contains_key(CONTENT_ENCODING);
        let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
        let tally = if is_plain { Tally::of(kind) } else { None };
        let timeout = passage.gateway.settings.idle_answer;
        let flow = Flow { from, passage, tally, lease, timeout, idle: None };
        let state = match flow.from.is_end_stream() {
            true => {
                flow.end();
                State::Ended
            }
            false => State::Flows(Box::new(flow)),
        };
        Arc::new(Line { flow: Mutex::new(state), handed_us: AtomicU64::new(0) })
    }

    /// Gives the answer up when the client has not taken a chunk since before then. Whether it did.
    pub(super) fn give_up_if_stalled(&self, since_us: u64) -> bool {
        let handed_us = self.handed_us.load(Ordering::Relaxed);
        if handed_us == 0 || handed_us > since_us {
            return false;
        }
        let mut state = self.flow.lock().expect("nothing panics while it is held");
        let was_flowing = matches!(*state, State::Flows(_));
        if was_flowing {
            *state = State::Stalled;
        }
        was_flowing
    }

    pub(super) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.handed_us.store(0, Ordering::Relaxed);
        let mut state = self.flow.lock().expect("nothing panics while it is held");
        let flow = match &mut *state {
            State::Flows(flow) => flow,
            State::Ended => return Poll::Ready(None),
            State::Stalled => return Poll::Ready(Some(Err(Cut::Stalled))),
        };
        let polled = std::task::ready!(flow.poll(cx));
        let is_over = !matches!(&polled, Some(Ok(_))) || flow.from.is_end_stream();
        if !is_over {
            self.handed_us.store(flow.passage.gateway.clock.now_us(), Ordering::Relaxed);
        } else if let State::Flows(flow) = std::mem::replace(&mut *state, State::Ended) {
            drop(state);
            match &polled {
                None | Some(Ok(_)) => flow.end(),
                Some(Err(_)) => drop(flow),
            }
        }
        Poll::Ready(polled)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        matches!(*self.flow.lock().expect("nothing panics while it is held"), State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.flow.lock().expect("nothing panics while it is held") {
            State::Flows(flow) => flow.from.size_hint(),
            State::Ended => SizeHint::with_exact(0),
            State::Stalled => SizeHint::default(),
        }
    }
}

impl Flow {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if Pin::new(self.passage.ticket().cut()).poll(cx).is_ready() {
            self.passage.fate.outcome = Outcome::Expired;
            return Poll::Ready(Some(Err(Cut::Expired)));
        }
        match Pin::new(&mut self.from).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.idle = None;
                if let Some(bytes) = frame.data_ref() {
                    self.passage.begin_answer();
                    if let Some(tally) = &mut self.tally {
                        tally.see(bytes);
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(source))) => {
                self.passage.fate.outcome = Outcome::Failed;
                Poll::Ready(Some(Err(Cut::Replica(source))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let timeout = self.timeout;
                let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                std::task::ready!(idle.as_mut().poll(cx));
                self.passage.fate.outcome = Outcome::Failed;
                Poll::Ready(Some(Err(Cut::Idle)))
            }
        }
    }

    /// The answer was passed on to its end.
    fn end(mut self) {
        self.passage.begin_answer();
        self.passage.fate.outcome = Outcome::Served;
        if let Some(tally) = &self.tally {
            self.passage.fate.prompt_tokens = tally.prompt_tokens();
            self.passage.fate.output_tokens = tally.output_tokens();
        }
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}
