//! The status as server-sent events: all of it first, then each second what is new. Where nothing is but the time, only that is told.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::{Shared, refuse};
use crate::status::Status;

/// Events that wait for a client that reads slowly. It misses none of what counts: the next one has everything again.
const EVENTS_AT_MOST: usize = 2;
/// Events come no faster.
const PACE: Duration = Duration::from_millis(900);
/// A comment is sent when there was nothing for so long, so that nobody on the way takes the stream for dead.
const SILENCE: Duration = Duration::from_secs(15);

/// A stream until the client goes away or the program stops.
pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
    mut stopped: watch::Receiver<bool>,
) -> Response {
    let Ok(permit) = shared.streams.clone().try_acquire_owned() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many look already");
    };
    let (events, queue) = mpsc::channel(EVENTS_AT_MOST);
    let status = shared.admin.status.clone();
    tokio::spawn(async move {
        let _permit = permit;
        tokio::select! {
            _ = feed(status, &events) => {}
            () = events.closed() => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    (headers, Body::new(Queue(queue))).into_response()
}

/// Sends what is new until nobody wants it or nobody has it; an error is one or the other.
async fn feed(
    mut status: watch::Receiver<Arc<Status>>,
    events: &mpsc::Sender<Bytes>,
) -> Result<(), ()> {
    let mut known = status.borrow_and_update().clone();
    events.send(event("status", &*known)).await.map_err(drop)?;
    loop {
        tokio::time::sleep(PACE).await;
        match tokio::time::timeout(SILENCE, status.changed()).await {
            Err(_) => {
                events.send(Bytes::from_static(b": nothing new\n\n")).await.map_err(drop)?;
                continue;
            }
            Ok(changed) => changed.map_err(drop)?,
        }
        let now = status.borrow_and_update().clone();
        let number = known.decisions.last().map_or(0, |last| last.number);
        let told = if now.is_like(&known) {
            event("tick", &json!({ "at": now.at }))
        } else {
            event("change", &now.since(number))
        };
        events.send(told).await.map_err(drop)?;
        known = now;
    }
}

fn event(name: &str, data: &impl serde::Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("a status is JSON: its maps have text as keys");
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// A body of what a queue gives.
struct Queue(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Queue {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
