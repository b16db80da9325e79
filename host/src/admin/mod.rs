//! The admin port: a page, the status as JSON and as server-sent events, metrics, health, and orders. It only reads what the control
//! loop publishes and passes orders on to it; it decides nothing.
//!
//! Nothing changes on GET. Who may ask is decided in [`guard`] before anything else: on loopback whoever names loopback, elsewhere
//! whoever has the token; pages of other sites never.

mod events;
pub mod guard;
mod metrics;
pub mod order;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::clock::Clock;
use crate::status::{RunPhase, Status};
use guard::{Denied, Guard};
use order::Ordered;

/// Streams of events at a time: people who look, not a feed.
const STREAMS_AT_MOST: usize = 64;
/// Bytes of an order.
const ORDER_AT_MOST: usize = 64 << 10;
/// Orders that wait for the control loop; more than a person gives.
pub const ORDERS_AT_MOST: usize = 16;
/// How long the control loop may be silent before it counts as stuck. Milliseconds.
const STUCK_MS: u64 = 15_000;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The page takes its script and its style from here and nothing from elsewhere.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the admin port is made of.
pub struct Admin {
    /// Who may ask.
    pub guard: Guard,
    /// What is live.
    pub status: watch::Receiver<Arc<Status>>,
    /// Where orders go.
    pub orders: mpsc::Sender<Ordered>,
    /// The one clock.
    pub clock: Arc<Clock>,
}

struct Shared {
    admin: Admin,
    streams: Arc<Semaphore>,
}

/// Serves on `listener` until `stop`. Streams of events end with it.
///
/// # Errors
///
/// When the listener fails for good.
pub async fn serve(
    admin: Admin,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (stopping, stopped) = watch::channel(false);
    let stop = async move {
        stop.await;
        stopping.send_replace(true);
    };
    axum::serve(listener, router(admin, stopped)).with_graceful_shutdown(stop).await
}

fn router(admin: Admin, stopped: watch::Receiver<bool>) -> Router {
    let shared = Arc::new(Shared { admin, streams: Arc::new(Semaphore::new(STREAMS_AT_MOST)) });
    let fixed = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text) })
    };
    Router::new()
        .route("/", fixed("text/html; charset=utf-8", PAGE))
        .route("/page.css", fixed("text/css; charset=utf-8", STYLE))
        .route("/page.js", fixed("text/javascript; charset=utf-8", SCRIPT))
        .route("/api/status", get(status))
        .route(
            "/api/events",
            get(move |shared: State<Arc<Shared>>| events::stream(shared, stopped.clone())),
        )
        .route("/api/pin", post(order::pin))
        .route("/api/unpin", post(order::unpin))
        .route("/api/policy/swap", post(order::swap))
        .route("/api/policy/rollback", post(order::rollback))
        .route("/metrics", get(measured))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "nothing is there") })
        .method_not_allowed_fallback(|| async {
            refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "another method is meant: GET reads, POST orders",
            )
        })
        .layer(DefaultBodyLimit::max(ORDER_AT_MOST))
        .layer(middleware::from_fn_with_state(shared.clone(), admit))
        .with_state(shared)
}

/// Lets in who may ask, and sends every answer off with what browsers should know.
async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let changes = request.method() != Method::GET && request.method() != Method::HEAD;
    let mut response = match shared.admin.guard.admit(changes, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denied) => {
            let mut response = refuse(denied.status(), denied.message());
            if denied == Denied::Token {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    };
    let headers = response.headers_mut();
    headers.remove(ALLOW);
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<Shown> {
    let status = shared.admin.status.borrow().clone();
    Json(Shown(status))
}

/// An `Arc` that is written as what it holds.
struct Shown(Arc<Status>);

impl serde::Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

async fn measured(State(shared): State<Arc<Shared>>) -> Response {
    let status = shared.admin.status.borrow().clone();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], metrics::render(status)).into_response()
}

/// Whether the control loop still turns.
async fn healthy(State(shared): State<Arc<Shared>>) -> Response {
    let silent_ms = shared.admin.clock.now().since(shared.admin.status.borrow().at);
    if silent_ms <= STUCK_MS {
        return "ok\n".into_response();
    }
    let told = format!("the control loop has said nothing for {} s", silent_ms / 1_000);
    refuse(StatusCode::SERVICE_UNAVAILABLE, &told)
}

/// Whether requests are taken.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let phase = shared.admin.status.borrow().phase;
    match phase {
        RunPhase::Running => healthy(State(shared)).await,
        RunPhase::Starting => refuse(StatusCode::SERVICE_UNAVAILABLE, "it starts"),
        RunPhase::Stopping => refuse(StatusCode::SERVICE_UNAVAILABLE, "it stops"),
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

/// How long an order may take before whoever gave it is told that it is under way.
const ORDER_TIME: Duration = Duration::from_secs(30);
