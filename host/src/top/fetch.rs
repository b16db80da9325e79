//! Fetches the status from the admin port.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::status::Status;

/// Longer than that nobody looks at a screen that stands still.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a status.
const STATUS_AT_MOST: usize = 256 << 20;

/// Where an admin port is, and what lets one in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    token: Option<String>,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody is there.
    #[error("nobody answers at {at}")]
    Connect {
        /// Where.
        at: String,
        /// Why.
        source: std::io::Error,
    },
    /// It takes too long.
    #[error("{at} has not answered within {} s", PATIENCE.as_secs())]
    Slow {
        /// Where.
        at: String,
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
    /// Its answer is not a status.
    #[error("what {at} answers is not a status that this version reads")]
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
        const EXPECTED: &str = "an address such as http://127.0.0.1:8081 is expected";
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
pub async fn fetch(address: &Address) -> Result<Status, FetchError> {
    let slow = |_| FetchError::Slow { at: address.at() };
    tokio::time::timeout(PATIENCE, fetch_slowly(address)).await.map_err(slow)?
}

async fn fetch_slowly(address: &Address) -> Result<Status, FetchError> {
    let at = address.at();
    let bare = address.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, address.port))
        .await
        .map_err(|source| FetchError::Connect { at: at.clone(), source })?;
    let broken =
        |source: hyper::Error| FetchError::Broken { at: at.clone(), source: source.into() };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = "/api/status".parse().expect("it is a path");
    let headers = request.headers_mut();
    headers.insert(HOST, at.parse().expect("addresses are read so that they fit"));
    if let Some(token) = &address.token {
        let bearer =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| FetchError::Token)?;
        headers.insert(AUTHORIZATION, bearer);
    }
    let asking = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), STATUS_AT_MOST).collect().await;
        let body = body.map_err(|source| FetchError::Broken { at: at.clone(), source })?.to_bytes();
        if !status.is_success() {
            let said = serde_json::from_slice::<serde_json::Value>(&body).ok();
            let said = said.and_then(|said| said["error"].as_str().map(str::to_owned));
            let message = said.unwrap_or_else(|| "it does not say why".to_owned());
            return Err(FetchError::Refused { at: at.clone(), status: status.as_u16(), message });
        }
        serde_json::from_slice(&body)
            .map_err(|source| FetchError::Unreadable { at: at.clone(), source })
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
