//! The connections to one replica. A request gets one that is free, or a new one; it is kept for the next when the answer has been
//! read to its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::http::request::Parts;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::door::Upstream;
use super::outgoing::{Outgoing, Source};

/// Free connections that are kept for one replica.
const KEPT: usize = 256;
/// How long one is kept: less than the five seconds after which uvicorn, under most model servers, closes it. A request that meets the
/// close might not be sent again.
const KEPT_FOR: Duration = Duration::from_secs(4);

/// A replica's address and the connections to it.
#[derive(Debug)]
pub struct Pool {
    upstream: Upstream,
    free: Mutex<VecDeque<(Instant, http1::SendRequest<Outgoing>)>>,
    /// One connection takes all gRPC calls.
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Outgoing>>>,
}

/// Why a replica did not begin an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It takes no connection. Nothing was sent.
    Refused,
    /// It broke a fresh connection off unanswered.
    BrokeOff,
    /// A kept connection turned out to be closed.
    WasStale,
}

/// The connection that an answer comes from. It is closed when this is dropped before the answer's end.
pub(super) struct Lease {
    pool: Arc<Pool>,
    sender: http1::SendRequest<Outgoing>,
    body: Arc<Source>,
}

/// What a request is made of, to be sent as often as it takes.
pub(super) struct Letter<'a> {
    pub(super) head: &'a Parts,
    pub(super) body: &'a Arc<Source>,
    pub(super) is_grpc: bool,
    /// No kept connection is used: one turned out to be closed.
    pub(super) is_fresh: bool,
    pub(super) connect_timeout: Duration,
}

impl Pool {
    /// No connections yet.
    pub fn new(upstream: Upstream) -> Pool {
        Pool { upstream, free: Mutex::default(), shared: tokio::sync::Mutex::default() }
    }

    /// Where the replica is.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Sends a request and waits for the head of the answer. `on_connect` is called for every connection that is opened.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        letter: &Letter<'_>,
        on_connect: impl Fn(),
    ) -> Result<(Response<Incoming>, Option<Lease>), Trouble> {
        if letter.is_grpc {
            return self.exchange_shared(letter, on_connect).await;
        }
        let kept = if letter.is_fresh { None } else { self.take_free().await };
        let (mut sender, is_kept) = match kept {
            Some(sender) => (sender, true),
            None => {
                on_connect();
                (self.connect(letter.connect_timeout).await?, false)
            }
        };
        match sender.send_request(letter.request(Version::HTTP_11)).await {
            Ok(answer) => {
                Ok((answer, Some(Lease { pool: self.clone(), sender, body: letter.body.clone() })))
            }
            Err(_) if is_kept => Err(Trouble::WasStale),
            Err(_) => Err(Trouble::BrokeOff),
        }
    }

    async fn exchange_shared(
        &self,
        letter: &Letter<'_>,
        on_connect: impl Fn(),
    ) -> Result<(Response<Incoming>, Option<Lease>), Trouble> {
        let mut shared = self.shared.lock().await;
        let kept = shared.as_ref().filter(|sender| !sender.is_closed()).cloned();
        let is_kept = kept.is_some();
        let mut sender = match kept {
            Some(sender) => sender,
            None => {
                on_connect();
                let stream = self.dial(letter.connect_timeout).await?;
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(20));
                let handshake = builder.handshake(TokioIo::new(stream)).await;
                let (sender, connection) = handshake.map_err(|_| Trouble::BrokeOff)?;
                tokio::spawn(connection);
                shared.insert(sender).clone()
            }
        };
        drop(shared);
        match sender.send_request(letter.request(Version::HTTP_2)).await {
            Ok(answer) => Ok((answer, None)),
            Err(_) if is_kept => Err(Trouble::WasStale),
            Err(_) => Err(Trouble::BrokeOff),
        }
    }

    async fn dial(&self, timeout: Duration) -> Result<TcpStream, Trouble> {
        let dialled =
            tokio::time::timeout(timeout, TcpStream::connect(self.upstream.address)).await;
        let stream = dialled.ok().and_then(Result::ok).ok_or(Trouble::Refused)?;
        // Latency alone suffers where this is not possible.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    async fn connect(&self, timeout: Duration) -> Result<http1::SendRequest<Outgoing>, Trouble> {
        let stream = self.dial(timeout).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(64 * 1024).max_headers(200);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|_| Trouble::BrokeOff)?;
        // It ends with its last sender, or when the replica closes it.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    async fn take_free(&self) -> Option<http1::SendRequest<Outgoing>> {
        loop {
            let mut sender = {
                let mut free = self.free.lock().expect("nothing panics while it is held");
                while free.front().is_some_and(|(since, _)| since.elapsed() > KEPT_FOR) {
                    free.pop_front();
                }
                free.pop_back()?.1
            };
            // The answer was read, but its connection may not have said yet that it takes the next request.
            if !sender.is_closed() && sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }
}

impl Letter<'_> {
    fn request(&self, version: Version) -> Request<Outgoing> {
        let mut request = Request::new(Outgoing::new(self.body.clone()));
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.headers_mut() = self.head.headers.clone();
        *request.version_mut() = version;
        request
    }
}

impl Lease {
    /// The answer was read to its end: the connection may take the next request.
    pub(super) fn give_back(self) {
        // An answer can come before the request's body has ended: nobody shall wait for that.
        if self.sender.is_closed() || !self.body.is_sent() {
            return;
        }
        let mut free = self.pool.free.lock().expect("nothing panics while it is held");
        if free.len() >= KEPT {
            free.pop_front();
        }
        free.push_back((Instant::now(), self.sender));
    }
}
