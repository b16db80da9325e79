//! Orders: what a person asks the control loop to do. They are read and bounded here, and carried out there.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{ORDER_TIME, Shared, refuse};

/// The longest that a pin holds.
const PIN_AT_MOST: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The most replicas that are asked for by hand.
const REPLICAS_AT_MOST: u32 = 10_000;

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// So many replicas, whatever policies want.
    Pin {
        /// The service.
        service: String,
        /// How many.
        replicas: u32,
        /// How long; it ends by itself then.
        holds: Duration,
    },
    /// Policies decide again.
    Unpin {
        /// The service.
        service: String,
    },
    /// The policies are read again, and take over if they are in order.
    Swap {
        /// A policies file on the machine that Tidegate runs on, to be followed from now on; `None`: the one that is.
        policies: Option<String>,
    },
    /// The policies before decide again.
    Rollback,
}

/// An order and where its answer goes.
#[derive(Debug)]
pub struct Ordered {
    /// What is asked for.
    pub order: Order,
    /// What came of it. Who gave the order may have gone away.
    pub answer: oneshot::Sender<Result<Done, Refusal>>,
}

/// An order was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What was done, for people.
    pub message: String,
}

/// An order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// What it names is not there.
    Unknown(String),
    /// It would not do, as a policy that cannot be loaded.
    Refused(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinBody {
    service: String,
    replicas: u32,
    /// As Go writes durations.
    r#for: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceBody {
    service: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwapBody {
    policies: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoBody {}

pub(super) async fn pin(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let order = read(&body).and_then(|PinBody { service, replicas, r#for }| {
        let holds = tidegate_settings::parse_duration(&r#for)
            .and_then(|nanos| u64::try_from(nanos).ok())
            .map(Duration::from_nanos)
            .filter(|holds| *holds >= Duration::from_secs(1) && *holds <= PIN_AT_MOST)
            .ok_or_else(|| format!("for is {for:?}; a duration from 1s to 720h is expected"))?;
        if replicas > REPLICAS_AT_MOST {
            return Err(format!("replicas is {replicas}; at most {REPLICAS_AT_MOST} are expected"));
        }
        Ok(Order::Pin { service, replicas, holds })
    });
    give(&shared.admin.orders, order).await
}

pub(super) async fn unpin(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let order = read(&body).map(|ServiceBody { service }| Order::Unpin { service });
    give(&shared.admin.orders, order).await
}

pub(super) async fn swap(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let order = read(&body).map(|SwapBody { policies }| Order::Swap { policies });
    give(&shared.admin.orders, order).await
}

pub(super) async fn rollback(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let order = read(&body).map(|NoBody {}| Order::Rollback);
    give(&shared.admin.orders, order).await
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// Passes an order on and waits for what comes of it.
async fn give(orders: &mpsc::Sender<Ordered>, order: Result<Order, String>) -> Response {
    let order = match order {
        Ok(order) => order,
        Err(message) => return refuse(StatusCode::BAD_REQUEST, &message),
    };
    let (answer, answered) = oneshot::channel();
    if orders.try_send(Ordered { order, answer }).is_err() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many orders wait, or it stops");
    }
    match tokio::time::timeout(ORDER_TIME, answered).await {
        Ok(Ok(Ok(done))) => Json(json!({ "done": done.message })).into_response(),
        Ok(Ok(Err(Refusal::Unknown(message)))) => refuse(StatusCode::NOT_FOUND, &message),
        Ok(Ok(Err(Refusal::Refused(message)))) => refuse(StatusCode::CONFLICT, &message),
        Ok(Err(_)) => refuse(StatusCode::SERVICE_UNAVAILABLE, "it stops"),
        Err(_) => refuse(StatusCode::ACCEPTED, "it is under way still; the status will tell"),
    }
}
