//! Connections to the server, kept while they are of use, and one request over one of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::tally::{Answer, Came};
use crate::clock::Clock;

type Line = SendRequest<Full<Bytes>>;

/// Connections that nobody uses at the moment.
pub(super) struct Lines {
    address: SocketAddr,
    timeout: Duration,
    idle: Mutex<Vec<Line>>,
}

/// Why there was no answer.
type Trouble = Box<dyn std::error::Error + Send + Sync>;

impl Lines {
    pub(super) fn new(address: SocketAddr, timeout: Duration) -> Lines {
        Lines { address, timeout, idle: Mutex::new(Vec::new()) }
    }

    /// Sends a request and waits for the answer's last byte.
    pub(super) async fn send(
        self: &Arc<Self>,
        clock: &Clock,
        service: u32,
        request: Request<Full<Bytes>>,
    ) -> Answer {
        let sent_us = clock.now_us();
        let mut answer =
            Answer { service, first_us: 0, took_us: 0, waited_us: 0, came: Came::Nothing };
        let done = tokio::time::timeout(self.timeout, self.exchange(clock, request, &mut answer));
        answer_came(done.await, &mut answer);
        let took_us = clock.now_us().saturating_sub(sent_us);
        answer.first_us = answer.first_us.saturating_sub(sent_us);
        answer.took_us = took_us;
        answer
    }

    async fn exchange(
        &self,
        clock: &Clock,
        request: Request<Full<Bytes>>,
        answer: &mut Answer,
    ) -> Result<u16, Trouble> {
        let (mut line, response) = self.head(request).await?;
        answer.waited_us = waited_us(&response);
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if answer.first_us == 0 && frame?.is_data() {
                answer.first_us = clock.now_us();
            }
        }
        if line.ready().await.is_ok() {
            self.idle().push(line);
        }
        Ok(status)
    }

    /// The head of the answer. A kept connection that the server has closed meanwhile is no answer of the server: the request goes
    /// over a new one.
    async fn head(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Line, Response<Incoming>), Trouble> {
        let kept = self.idle().pop();
        if let Some(mut line) = kept
            && line.ready().await.is_ok()
        {
            match line.try_send_request(request).await {
                Ok(response) => return Ok((line, response)),
                Err(mut failed) => match failed.take_message() {
                    Some(request) => return self.fresh(request).await,
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        self.fresh(request).await
    }

    async fn fresh(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Line, Response<Incoming>), Trouble> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut line, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the line; what went wrong is seen there.
        tokio::spawn(connection);
        let response = line.send_request(request).await?;
        Ok((line, response))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.idle.lock().expect("nothing panics while it is held")
    }
}

fn answer_came(done: Result<Result<u16, Trouble>, tokio::time::error::Elapsed>, to: &mut Answer) {
    to.came = match done {
        Ok(Ok(status)) => Came::Status(status),
        Ok(Err(trouble)) => Came::Broken(trouble.to_string()),
        Err(_) => Came::Nothing,
    };
}

/// What the server says of how long it held the request: `Server-Timing: queue;dur=` in milliseconds.
fn waited_us(response: &Response<Incoming>) -> u64 {
    let said = response.headers().get("server-timing").and_then(|value| value.to_str().ok());
    let queued =
        said.and_then(|said| said.split(',').map(str::trim).find(|part| part.starts_with("queue")));
    let ms = queued
        .and_then(|part| part.split("dur=").nth(1)?.split(';').next()?.trim().parse::<f64>().ok());
    ms.filter(|ms| ms.is_finite() && *ms > 0.0).map_or(0, |ms| (ms * 1e3) as u64)
}
