//! Asks the admin port of a Tidegate that runs: for its status, and to carry out orders.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::ORDER_TIME;
use crate::status::Status;

/// Longer than that nobody looks at a screen that stands still.
const PATIENCE: Duration = Duration::from_secs(5);
/// Orders are answered within [`ORDER_TIME`], done or not.
const ORDER_PATIENCE: Duration = Duration::from_secs(ORDER_TIME.as_secs() + 5);
/// Bytes of a status.
const STATUS_AT_MOST: usize = 256 << 20;

/// Where an admin port is, and what lets one in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    token: Option<String>,
}

/// What came of an order that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// It was carried out: what was done, for people.
    Done(String),
    /// It takes its time: the status will tell.
    UnderWay(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error("nobody answers at {at}")]
    Connect {
        /// Where.
        at: String,
        /// Why.
        source: std::io::Error,
    },
    /// It takes too long.
    #[error("{at} has not answered within {within_s} s")]
    Slow {
        /// Where.
        at: String,
        /// How long was waited. Seconds.
        within_s: u64,
    },
    /// The connection breaks.
    #[error("the connection to {at} broke")]
    Broken {
        /// Where.
        at: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers something else.
    #[error("{at} answers {status}: {message}")]
    Refused {
        /// Where.
        at: String,
        /// The status code.
        status: u16,
        /// What it says.
        message: String,
    },
    /// Its answer is not a document that is expected.
    #[error("what {at} answers is not what this version reads")]
    Unreadable {
        /// Where.
        at: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A token that cannot be sent.
    #[error("the token has characters that no header may have")]
    Token,
}

impl FromStr for Address {
    type Err = &'static str;

    /// Reads `http://HOST:PORT`; the scheme and the path may be left out.
    fn from_str(text: &str) -> Result<Address, Self::Err> {
        const EXPECTED: &str = "an address such as http://127.0.0.1:9091 is expected";
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or(EXPECTED)?;
        let is_plain = |one: char| one.is_ascii_alphanumeric() || "-._:[]".contains(one);
        if host.is_empty() || !host.chars().all(is_plain) {
            return Err(EXPECTED);
        }
        let port = port.parse().map_err(|_| EXPECTED)?;
        Ok(Address { host: host.to_owned(), port, token: None })
    }
}

impl Address {
    /// The same with what lets one in.
    pub fn with_token(self, token: Option<String>) -> Address {
        Address { token, ..self }
    }

    fn at(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Fetches the status once.
///
/// # Errors
///
/// When nobody answers in time, or something else than a status.
pub async fn fetch(address: &Address) -> Result<Status, ClientError> {
    let (_, body) = ask(address, Method::GET, "/api/status", Bytes::new(), PATIENCE).await?;
    read(address, &body)
}

/// Gives an order: `path` says which, as `/api/pin`.
///
/// # Errors
///
/// When nobody answers in time, or it is refused.
pub async fn order(
    address: &Address,
    path: &str,
    body: &serde_json::Value,
) -> Result<Given, ClientError> {
    let text = Bytes::from(body.to_string());
    let (status, body) = ask(address, Method::POST, path, text, ORDER_PATIENCE).await?;
    let said: serde_json::Value = read(address, &body)?;
    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    Ok(match status {
        StatusCode::ACCEPTED => Given::UnderWay(text("error")),
        _ => Given::Done(text("done")),
    })
}

fn read<T: DeserializeOwned>(address: &Address, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body)
        .map_err(|source| ClientError::Unreadable { at: address.at(), source })
}

/// Sends a request and reads the whole answer, if it is a good one.
async fn ask(
    address: &Address,
    method: Method,
    path: &str,
    body: Bytes,
    patience: Duration,
) -> Result<(StatusCode, Bytes), ClientError> {
    let slow = |_| ClientError::Slow { at: address.at(), within_s: patience.as_secs() };
    tokio::time::timeout(patience, ask_slowly(address, method, path, body)).await.map_err(slow)?
}

async fn ask_slowly(
    address: &Address,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), ClientError> {
    let at = address.at();
    let bare = address.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, address.port))
        .await
        .map_err(|source| ClientError::Connect { at: at.clone(), source })?;
    let broken =
        |source: hyper::Error| ClientError::Broken { at: at.clone(), source: source.into() };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let is_order = method == Method::POST;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("it is a path");
    let headers = request.headers_mut();
    headers.insert(HOST, at.parse().expect("addresses are read so that they fit"));
    if is_order {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(token) = &address.token {
        let bearer =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
        headers.insert(AUTHORIZATION, bearer);
    }
    let asking = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), STATUS_AT_MOST).collect().await;
        let body =
            body.map_err(|source| ClientError::Broken { at: at.clone(), source })?.to_bytes();
        if status.is_success() {
            return Ok((status, body));
        }
        let said = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let said = said.and_then(|said| said["error"].as_str().map(str::to_owned));
        let message = said.unwrap_or_else(|| "it does not say why".to_owned());
        Err(ClientError::Refused { at: at.clone(), status: status.as_u16(), message })
    };
    // The connection ends when the answer was read and the sender is gone; its own end is of no interest.
    let mut asking = std::pin::pin!(asking);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        answer = &mut asking => answer,
        ended = &mut connection => match ended {
            Ok(()) => asking.await,
            Err(source) => Err(broken(source)),
        },
    }
}
