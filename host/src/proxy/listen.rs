//! Accepts connections, speaks HTTP/1.1 or HTTP/2 on them as the client begins, and ends in good order.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::client::{Client, Next, Wire};
use super::errand::handle;
use super::{Gateway, Phase};

/// How an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A request's head, on either protocol. Bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// Lines of a request's head.
const HEAD_LINES: usize = 100;
/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 4_096;
/// What requests that are refused at the very end have to hear it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// All that was in was answered within the grace.
    pub is_clean: bool,
}

/// A listener with room for bursts of connections.
///
/// # Errors
///
/// When the address cannot be had.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves clients until `shutdown`, then answers what is in, waiting or running, for as long as the grace allows.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    shutdown: impl Future<Output = ()>,
) -> Ended {
    let mut shutdown = pin!(shutdown);
    let total =
        gateway.settings.connections.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let places = Arc::new(Semaphore::new(total));
    loop {
        let place = tokio::select! {
            () = &mut shutdown => break,
            place = places.clone().acquire_owned() => place.expect("it is never closed"),
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                gateway.counts.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection(gateway.clone(), stream, peer, place));
            }
            // Out of files, say: others may end meanwhile.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    gateway.phase.send_replace(Phase::Draining);
    let all_ended = || places.acquire_many(total as u32);
    let is_clean = timeout(gateway.settings.grace, all_ended()).await.is_ok();
    if !is_clean {
        gateway.phase.send_replace(Phase::Over);
        // Whatever is left then is cut by the end of the runtime.
        let _ = timeout(LAST_WORDS * 2, all_ended()).await;
    }
    Ended { is_clean }
}

async fn connection(
    gateway: Arc<Gateway>,
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
) {
    // Latency alone suffers where this is not possible.
    let _ = stream.set_nodelay(true);
    let evicted = Arc::new(Notify::new());
    let now = Instant::now();
    let head_ends = now + gateway.settings.head_timeout;
    let unfinished = gateway.heads.begin(now, peer.ip(), evicted.clone());
    let begun = tokio::select! {
        begun = timeout_at(head_ends, begins_http2(&stream)) => begun,
        () = evicted.notified() => Ok(Ok(None)),
    };
    let is_http2 = match begun {
        Ok(Ok(Some(is_http2))) => is_http2,
        Ok(Err(_)) => return,
        Ok(Ok(None)) | Err(_) => {
            gateway.counts.slow_heads.fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    if is_http2 {
        let client = Client::new(gateway, peer.ip(), None, evicted, unfinished, place);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(100)
            .max_header_list_size(HEAD_BYTES as u32)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(128)
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(256 * 1024)
            .max_send_buf_size(64 * 1024)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        let serving = client.clone();
        let service = service_fn(move |request| handle(serving.clone(), request));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        look_after(&client, Box::pin(connection), http2::Connection::graceful_shutdown).await;
    } else {
        let (read, write) = stream.into_split();
        let read = Arc::new(read);
        let socket = Some(read.clone());
        let client = Client::new(gateway, peer.ip(), socket, evicted, unfinished, place);
        let wire = Wire::new(read, write, client.clone(), head_ends);
        let mut builder = http1::Builder::new();
        builder
            // The wire keeps time: the parser's own timer would run between requests too.
            .header_read_timeout(None)
            .max_headers(HEAD_LINES)
            .max_header_size(HEAD_BYTES)
            .max_buf_size(HEAD_BYTES);
        let serving = client.clone();
        let service = service_fn(move |request| handle(serving.clone(), request));
        let connection = builder.serve_connection(TokioIo::new(wire), service).with_upgrades();
        let end = http1::UpgradeableConnection::graceful_shutdown;
        look_after(&client, Box::pin(connection), end).await;
    }
}

/// Whether a client begins with HTTP/2; `None`: it closed before that was clear.
async fn begins_http2(stream: &TcpStream) -> std::io::Result<Option<bool>> {
    let mut begin = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut begin).await?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if begin[..length] != PREFACE[..length] || length == PREFACE.len() {
            return Ok(Some(length == PREFACE.len() && begin == PREFACE));
        }
        // The same bytes are there until more come: rare, and over when the head's time is.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Drives a connection to its end, and ends it where it idles, stalls, or the gateway ends.
async fn look_after<C: Future>(
    client: &Arc<Client>,
    mut connection: Pin<Box<C>>,
    end: impl Fn(Pin<&mut C>),
) {
    let gateway = &client.gateway;
    let mut phase = gateway.phase.subscribe();
    if *phase.borrow() > Phase::Open {
        // It came in at the last moment.
        phase.mark_changed();
    }
    let mut look = pin!(tokio::time::sleep(gateway.settings.head_timeout));
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = client.evicted.notified() => {
                gateway.counts.slow_heads.fetch_add(1, Ordering::Relaxed);
                return;
            }
            () = look.as_mut() => match client.next(&gateway.settings) {
                Next::Look(after) => look.as_mut().reset(Instant::now() + after),
                Next::Break => return,
                Next::End if client.requests.load(Ordering::Relaxed) == 0 => {
                    gateway.counts.slow_heads.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Next::End => {
                    end(connection.as_mut());
                    // An HTTP/2 client gets to hear it, if it reads.
                    let _ = timeout(LAST_WORDS, connection.as_mut()).await;
                    return;
                }
            },
            changed = phase.changed() => {
                let phase = if changed.is_ok() { *phase.borrow_and_update() } else { Phase::Over };
                if phase > Phase::Open {
                    end(connection.as_mut());
                }
                if phase == Phase::Over {
                    let _ = timeout(LAST_WORDS, connection.as_mut()).await;
                    return;
                }
            }
        }
    }
}
