//! The server: which path answers what, and its life from loading to the last answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::answer::{self, AnswerBody, Heading};
use super::ask::{self, Form};
use super::batching::{Batching, Refused};
use super::words::Text;
use super::{CrashAfter, Ended, Hang, Settings, Told, metrics};
use crate::clock::Clock;
use crate::seed::Seed;

/// Bytes of a request's body.
const BODY_AT_MOST: usize = 32 << 20;
/// How long nothing is taken after the system had no descriptor for a connection.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Ready,
    Stopping,
}

struct State {
    settings: Settings,
    id: Arc<str>,
    clock: Arc<Clock>,
    batching: Arc<Batching>,
    phase: watch::Sender<Phase>,
    seed: Seed,
    /// Requests for completions that came.
    requests: AtomicU64,
    crash: Notify,
}

/// Serves until `stop`, then answers what it has. `told` hears of its life.
pub async fn serve(
    settings: Settings,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    told: impl Fn(Told),
) -> Ended {
    let clock = Arc::new(Clock::start());
    let state = Arc::new(State {
        id: settings.id().into(),
        batching: Batching::new(settings.speed(), clock.clone()),
        clock,
        phase: watch::Sender::new(Phase::Loading),
        seed: Seed::new(&settings.seed),
        settings,
        requests: AtomicU64::new(0),
        crash: Notify::new(),
    });
    let mut stop = pin!(stop);
    let mut life = pin!(life(&state, &told));
    let mut driver = pin!(state.batching.drive());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut stop => break,
            ended = &mut life => return ended,
            () = state.crash.notified() => return Ended::Crashed,
            () = &mut driver => unreachable!("it drives for ever"),
            // Connections that ended are forgotten.
            Some(_) = connections.join_next() => {}
            taken = listener.accept() => match taken {
                Ok((stream, _)) => {
                    connections.spawn(connection(state.clone(), stream));
                }
                Err(_) => tokio::time::sleep(OUT_OF_SOCKETS).await,
            },
        }
    }
    drop(listener);
    state.phase.send_replace(Phase::Stopping);
    let levels = state.batching.levels();
    told(Told::Stopping { running: levels.running + levels.waiting });
    loop {
        tokio::select! {
            () = state.crash.notified() => return Ended::Crashed,
            () = &mut driver => unreachable!("it drives for ever"),
            ended = connections.join_next() => if ended.is_none() { break },
        }
    }
    Ended::Stopped
}

/// Loads, then waits for its time to crash.
async fn life(state: &State, told: &impl Fn(Told)) -> Ended {
    if state.settings.hang == Some(Hang::Load) {
        return std::future::pending().await;
    }
    tokio::time::sleep(state.settings.load_time).await;
    if state.settings.fails_to_load {
        return Ended::FailedToLoad;
    }
    state.phase.send_replace(Phase::Ready);
    told(Told::Ready);
    match state.settings.crash_after {
        Some(CrashAfter::Time(span)) => {
            tokio::time::sleep(span).await;
            Ended::Crashed
        }
        Some(CrashAfter::Requests(_)) | None => std::future::pending().await,
    }
}

/// One connection until its end, or until its last answer once the server stops.
async fn connection(state: Arc<State>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut phase = state.phase.subscribe();
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(handle(&state, request).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A client that breaks off is its own affair.
        _ = connection.as_mut() => return,
        _ = phase.wait_for(|phase| *phase == Phase::Stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn handle(state: &State, request: Request<Incoming>) -> Response<AnswerBody> {
    if state.settings.hang == Some(Hang::All) {
        return std::future::pending().await;
    }
    let phase = *state.phase.borrow();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match (&method, path.as_str()) {
        (&Method::GET, "/health") => match phase {
            Phase::Loading => error(StatusCode::SERVICE_UNAVAILABLE, "it loads"),
            Phase::Ready => plain("ok\n"),
            Phase::Stopping => error(StatusCode::SERVICE_UNAVAILABLE, "it stops"),
        },
        (&Method::GET, "/metrics") => {
            plain(metrics::render(&state.id, state.batching.levels(), &state.batching.counts()))
        }
        (&Method::GET, "/v1/models") if phase != Phase::Loading => {
            let model = json!({ "id": &*state.id, "object": "model", "created": 0, "owned_by": "tidegate fake-model" });
            json_of(json!({ "object": "list", "data": [model] }).to_string())
        }
        (&Method::POST, "/v1/completions") => complete(state, phase, Form::Text, request).await,
        (&Method::POST, "/v1/chat/completions") => {
            complete(state, phase, Form::Chat, request).await
        }
        (_, "/v1/models") if phase == Phase::Loading => {
            error(StatusCode::SERVICE_UNAVAILABLE, "it loads")
        }
        (_, "/health" | "/metrics" | "/v1/models" | "/v1/completions" | "/v1/chat/completions") => {
            error(StatusCode::METHOD_NOT_ALLOWED, "another method is meant")
        }
        (_, _) => error(StatusCode::NOT_FOUND, "nothing is there"),
    }
}

async fn complete(
    state: &State,
    phase: Phase,
    form: Form,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    if phase == Phase::Loading {
        return error(StatusCode::SERVICE_UNAVAILABLE, "it loads");
    }
    let nth = state.requests.fetch_add(1, Ordering::Relaxed);
    if let Some(CrashAfter::Requests(count)) = state.settings.crash_after
        && nth >= count
    {
        state.crash.notify_one();
        return std::future::pending().await;
    }
    let Ok(body) = Limited::new(request.into_body(), BODY_AT_MOST).collect().await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 32 MiB, or broke off");
    };
    if state.settings.hang == Some(Hang::Requests) {
        return std::future::pending().await;
    }
    if state.settings.error_rate > 0.0
        && state.seed.draws("error", &state.id, nth).uniform() < state.settings.error_rate
    {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "an error, as it was told to make some");
    }
    let ask = match ask::read(form, &body.to_bytes()) {
        Ok(ask) => ask,
        Err(message) => return error(StatusCode::BAD_REQUEST, &message),
    };
    let place = match state.batching.join(ask.prompt_tokens, ask.output_tokens, ask.streams) {
        Ok(place) => place,
        Err(Refused::TooLong) => {
            return error(StatusCode::BAD_REQUEST, "the prompt is longer than its cache");
        }
        Err(Refused::Full) => {
            return error(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait");
        }
    };
    let text = Text::new(&state.settings.seed, &ask.prompt);
    let created_s = state.clock.now().second();
    if ask.streams {
        let body = AnswerBody::stream(place, state.id.clone(), text, ask, created_s);
        let mut response = respond(StatusCode::OK, "text/event-stream", body);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        return response;
    }
    let written = place.whole().await;
    let heading = Heading { model: &state.id, request: place.request(), created_s };
    json_of(answer::whole(&heading, &ask, text, written))
}

fn respond(status: StatusCode, kind: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("tidegate-fake-model", HeaderValue::from_static("true"));
    response
}

fn json_of(text: String) -> Response<AnswerBody> {
    respond(StatusCode::OK, "application/json", AnswerBody::whole(text))
}

fn plain(text: impl Into<bytes::Bytes>) -> Response<AnswerBody> {
    respond(StatusCode::OK, "text/plain; version=0.0.4", AnswerBody::whole(text))
}

fn error(status: StatusCode, message: &str) -> Response<AnswerBody> {
    let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
    respond(status, "application/json", AnswerBody::whole(answer::error(kind, message)))
}
