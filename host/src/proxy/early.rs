//! An event stream whose head was sent before a replica answered: comments keep it open, as proxies and clients give up on silence.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::Interval;

use super::passage::{Answer, Cut};

/// What is said while a replica comes up. Clients of event streams ignore comments.
const WAITING: &[u8] = b": waiting\n\n";
/// The largest error of a replica that is told as an event. Bytes.
const TOLD: usize = 16 * 1024;

/// The body of such an answer.
pub(super) struct Early {
    state: State,
    ticks: Interval,
}

enum State {
    Waits(Pin<Box<dyn Future<Output = Response<Answer>> + Send>>),
    /// The replica answers with events.
    Flows(Box<Answer>),
    /// It answers with something else, or nobody does: that is told as an event, once it is there.
    Fails(Box<Answer>, Vec<u8>),
    Ended,
}

impl Early {
    pub(super) fn new(
        answer: Pin<Box<dyn Future<Output = Response<Answer>> + Send>>,
        ticks: Interval,
    ) -> Early {
        Early { state: State::Waits(answer), ticks }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            match &mut self.state {
                State::Waits(answer) => match answer.as_mut().poll(cx) {
                    Poll::Ready(answer) => {
                        let is_good = answer.status() == StatusCode::OK && is_events(&answer);
                        let body = Box::new(answer.into_body());
                        self.state =
                            if is_good { State::Flows(body) } else { State::Fails(body, vec![]) };
                    }
                    Poll::Pending => {
                        std::task::ready!(self.ticks.poll_tick(cx));
                        return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(WAITING)))));
                    }
                },
                State::Flows(body) => return Pin::new(body.as_mut()).poll_frame(cx),
                State::Fails(body, told) => {
                    match std::task::ready!(Pin::new(body.as_mut()).poll_frame(cx)) {
                        Some(Ok(frame)) => {
                            let bytes = frame.into_data().unwrap_or_default();
                            let room = TOLD - told.len();
                            told.extend_from_slice(&bytes[..bytes.len().min(room)]);
                        }
                        Some(Err(cut)) => {
                            self.state = State::Ended;
                            return Poll::Ready(Some(Err(cut)));
                        }
                        None => {
                            let event = event(told);
                            self.state = State::Ended;
                            return Poll::Ready(Some(Ok(Frame::data(event))));
                        }
                    }
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}

fn is_events(answer: &Response<Answer>) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}

/// An error as OpenAI's servers tell it in the middle of a stream: an event whose data is the error's body, on one line.
fn event(told: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(told);
    let line: Vec<&str> = text.split_whitespace().collect();
    Bytes::from(format!("event: error\ndata: {}\n\ndata: [DONE]\n\n", line.join(" ")))
}
