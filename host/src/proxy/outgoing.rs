//! A request's body on its way to a replica. It stays with the client until a replica is chosen, but for what was looked at; and it can be
//! sent again as long as nothing of it was sent.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the client sent nothing for too long")]
    Idle,
    #[error("the client broke off")]
    Client(#[source] hyper::Error),
    #[error("the body was sent before")]
    Sent,
}

/// A body, whoever sends it.
pub(super) struct Source {
    parts: Mutex<Option<SourceParts>>,
    is_started: AtomicBool,
    is_empty: bool,
    size: SizeHint,
    is_late: AtomicBool,
}

struct SourceParts {
    /// What was looked at, in order.
    seen: Option<Bytes>,
    rest: Incoming,
    idle: Duration,
}

impl Source {
    pub(super) fn new(seen: Bytes, rest: Incoming, idle: Duration) -> Arc<Source> {
        let is_empty = seen.is_empty() && rest.is_end_stream();
        let mut size = SizeHint::new();
        let more = rest.size_hint();
        let here = seen.len() as u64;
        size.set_lower(more.lower().saturating_add(here));
        if let Some(upper) = more.upper().and_then(|upper| upper.checked_add(here)) {
            size.set_upper(upper);
        }
        let parts = SourceParts { seen: Some(seen).filter(|seen| !seen.is_empty()), rest, idle };
        Arc::new(Source {
            parts: Mutex::new(Some(parts)),
            is_started: AtomicBool::new(false),
            is_empty,
            size,
            is_late: AtomicBool::new(false),
        })
    }

    /// Something of it was sent, or may have been.
    pub(super) fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Acquire)
    }

    /// The client took too long.
    pub(super) fn is_late(&self) -> bool {
        self.is_late.load(Ordering::Acquire)
    }

    /// None of it has been read from the client but what was looked at.
    pub(super) fn is_unread(&self) -> bool {
        !self.is_empty && !self.is_started()
    }
}

/// A body that a connection to a replica sends.
pub(super) struct Outgoing {
    source: Arc<Source>,
    /// Taken from the source at the first byte.
    parts: Option<SourceParts>,
    idle: Option<Pin<Box<Sleep>>>,
    is_done: bool,
}

impl Outgoing {
    pub(super) fn new(source: Arc<Source>) -> Outgoing {
        Outgoing { is_done: source.is_empty, source, parts: None, idle: None }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if this.is_done {
            return Poll::Ready(None);
        }
        if this.parts.is_none() {
            let mut parts = this.source.parts.lock().expect("nothing panics while it is held");
            this.parts = parts.take();
        }
        let Some(parts) = &mut this.parts else { return Poll::Ready(Some(Err(Broken::Sent))) };
        this.source.is_started.store(true, Ordering::Release);
        if let Some(seen) = parts.seen.take() {
            return Poll::Ready(Some(Ok(Frame::data(seen))));
        }
        match Pin::new(&mut parts.rest).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.idle = None;
                this.is_done = frame.is_none();
                Poll::Ready(frame.map(|frame| frame.map_err(Broken::Client)))
            }
            Poll::Pending => {
                let idle = parts.idle;
                let idle = this.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                ready!(idle.as_mut().poll(cx));
                this.is_done = true;
                this.source.is_late.store(true, Ordering::Release);
                Poll::Ready(Some(Err(Broken::Idle)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_read = |parts: &SourceParts| parts.seen.is_none() && parts.rest.is_end_stream();
        self.is_done || self.parts.as_ref().is_some_and(is_read)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.parts {
            None => self.source.size.clone(),
            Some(_) => SizeHint::new(),
        }
    }
}
