//! A request's body on its way to a replica. It stays with the client until a replica is chosen, but for what was looked at; and it can be
//! sent again as long as nothing of it was sent.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
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
    is_sent: AtomicBool,
    is_given_up: AtomicBool,
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
            is_sent: AtomicBool::new(is_empty),
            is_given_up: AtomicBool::new(false),
        })
    }

    /// Something of it was sent, or may have been.
    pub(super) fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Acquire)
    }

    /// All of it was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Acquire)
    }

    /// The client broke off in the middle, or took too long.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    /// None of it has been read from the client but what was looked at.
    pub(super) fn is_unread(&self) -> bool {
        !self.is_empty && !self.is_started()
    }

    /// It will not be sent.
    pub(super) fn discard(&self) {
        let parts = self.parts.lock().expect("nothing panics while it is held").take();
        if let Some(parts) = parts {
            discard(parts.rest);
        }
    }
}

/// How much of a body that nobody wants is read all the same, and for how long.
const DISCARDED: (usize, Duration) = (1 << 20, Duration::from_secs(2));

/// Reads some of a body that nobody wants: a connection that is closed on a client that still writes takes the answer with it.
pub(super) fn discard(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let (mut left, time) = DISCARDED;
        let read = async {
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    break;
                }
            }
        };
        // What is not read by then is the client's loss.
        let _ = tokio::time::timeout(time, read).await;
    });
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
                if this.is_done || parts.rest.is_end_stream() {
                    this.source.is_sent.store(true, Ordering::Release);
                }
                if matches!(&frame, Some(Err(_))) {
                    this.source.is_given_up.store(true, Ordering::Release);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Broken::Client)))
            }
            Poll::Pending => {
                let idle = parts.idle;
                let idle = this.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                ready!(idle.as_mut().poll(cx));
                this.is_done = true;
                this.source.is_given_up.store(true, Ordering::Release);
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
            None => self.source.size,
            Some(_) => SizeHint::new(),
        }
    }
}
