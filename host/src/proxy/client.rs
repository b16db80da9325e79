//! One client's connection: its bytes, how far it is, and whether it should go on.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, Sleep};

use super::guard::Guard;
use super::heads::{Heads, Unfinished};
use super::passage::Line;
use super::{Gateway, Settings};

/// What a connection and its requests know of each other.
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) gateway: Arc<Gateway>,
    /// HTTP/1: one request at a time. The socket tells whether the client is still there.
    socket: Option<Arc<OwnedReadHalf>>,
    /// Requests whose answers are not handed over.
    at_work: AtomicU32,
    /// Requests that have come.
    pub(super) requests: AtomicU64,
    /// When it was last at work. Microseconds.
    idle_since_us: AtomicU64,
    /// The first head that is not to be trusted.
    pub(super) fault: AtomicU64,
    /// It is no HTTP any more.
    pub(super) is_tunnel: AtomicBool,
    /// Answers that are being passed on.
    lines: Mutex<Vec<Weak<Line>>>,
    /// Told when the connection shall end since too many heads of its address are unfinished.
    pub(super) evicted: Arc<Notify>,
    unfinished: Mutex<Option<Unfinished>>,
    /// Its place among all connections, held until nothing of it is left.
    _place: OwnedSemaphorePermit,
}

/// What to do with a connection.
pub(super) enum Next {
    /// Look again after that time.
    Look(Duration),
    /// It has been idle for too long.
    End,
    /// Its client reads nothing.
    Break,
}

impl Client {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        address: IpAddr,
        socket: Option<Arc<OwnedReadHalf>>,
        evicted: Arc<Notify>,
        unfinished: Unfinished,
        place: OwnedSemaphorePermit,
    ) -> Arc<Client> {
        let now_us = gateway.clock.now_us();
        Arc::new(Client {
            address,
            gateway,
            socket,
            at_work: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            idle_since_us: AtomicU64::new(now_us),
            fault: AtomicU64::new(u64::MAX),
            is_tunnel: AtomicBool::new(false),
            lines: Mutex::default(),
            evicted,
            unfinished: Mutex::new(Some(unfinished)),
            _place: place,
        })
    }

    /// A request came: its position among those of the connection, and what holds the connection open.
    pub(super) fn begin(self: &Arc<Self>) -> (u64, InProgress) {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            self.head_ended();
        }
        (number, InProgress(self.clone()))
    }

    /// HTTP/1's head has begun, but its end is not there.
    fn head_began(&self, heads: &Heads) {
        let mut unfinished = self.unfinished.lock().expect("nothing panics while it is held");
        if unfinished.is_none() {
            *unfinished = Some(heads.begin(Instant::now(), self.address, self.evicted.clone()));
        }
    }

    fn head_ended(&self) {
        self.unfinished.lock().expect("nothing panics while it is held").take();
    }

    /// An answer is passed on from now.
    pub(super) fn passes(&self, line: &Arc<Line>) {
        let mut lines = self.lines.lock().expect("nothing panics while it is held");
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(line));
    }

    /// Whether the client has closed its side. Where the connection is read all the time anyway, that ends the request by itself.
    pub(super) fn is_gone(&self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut ready = Box::pin(socket.ready(Interest::READABLE));
        match ready.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(Ok(ready)) => ready.is_read_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    /// What to do with the connection now.
    pub(super) fn next(&self, settings: &Settings) -> Next {
        let now_us = self.gateway.clock.now_us();
        if self.at_work.load(Ordering::Relaxed) == 0 {
            let limit = match self.requests.load(Ordering::Relaxed) {
                0 => settings.head_timeout,
                _ => settings.idle_connection,
            };
            let idle_us = now_us.saturating_sub(self.idle_since_us.load(Ordering::Relaxed));
            let left = limit.saturating_sub(Duration::from_micros(idle_us));
            return if left.is_zero() { Next::End } else { Next::Look(left) };
        }
        let since_us = now_us.saturating_sub(settings.stalled_reader.as_micros() as u64);
        let lines = self.lines.lock().expect("nothing panics while it is held").clone();
        let mut is_stalled = false;
        for line in lines.iter().filter_map(Weak::upgrade) {
            if line.give_up_if_stalled(since_us) {
                is_stalled = true;
                self.gateway.counts.stalled_readers.fetch_add(1, Ordering::Relaxed);
            }
        }
        match is_stalled && self.socket.is_some() {
            true => Next::Break,
            false => Next::Look(settings.stalled_reader / 3),
        }
    }
}

/// Holds a connection open while a request of it is at work.
pub(super) struct InProgress(Arc<Client>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.idle_since_us.store(self.0.gateway.clock.now_us(), Ordering::Relaxed);
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bytes of an HTTP/1 connection, watched.
pub(super) struct Wire {
    read: Arc<OwnedReadHalf>,
    write: OwnedWriteHalf,
    client: Arc<Client>,
    guard: Option<Guard>,
    /// Until when the head that has begun must end.
    head_ends: Option<Instant>,
    late: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) fn new(
        read: Arc<OwnedReadHalf>,
        write: OwnedWriteHalf,
        client: Arc<Client>,
        head_ends: Instant,
    ) -> Wire {
        Wire {
            read,
            write,
            client,
            guard: Some(Guard::new()),
            head_ends: Some(head_ends),
            late: None,
        }
    }

    fn see(&mut self, bytes: &[u8]) {
        let Some(guard) = &mut self.guard else { return };
        if self.client.is_tunnel.load(Ordering::Relaxed) {
            (self.guard, self.head_ends, self.late) = (None, None, None);
            return;
        }
        let heads = guard.heads();
        guard.see(bytes);
        if let Some(fault) = guard.fault() {
            self.client.fault.store(fault, Ordering::Relaxed);
        }
        if guard.heads() != heads || !guard.is_mid_head() {
            (self.head_ends, self.late) = (None, None);
        }
        if guard.is_mid_head() && self.head_ends.is_none() {
            self.head_ends = Some(Instant::now() + self.client.gateway.settings.head_timeout);
        }
    }

    /// Nothing is there to read. Whether a head takes too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(ends) = self.head_ends else { return Poll::Pending };
        if self.client.is_tunnel.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if self.late.is_none() {
            self.client.head_began(&self.client.gateway.heads);
            self.late = Some(Box::pin(tokio::time::sleep_until(ends)));
        }
        let late = self.late.as_mut().expect("it was just made");
        late.as_mut().poll(cx)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.read.as_ref().as_ref().poll_read_ready(cx)?.is_pending() {
                std::task::ready!(this.poll_late(cx));
                this.client.gateway.counts.slow_heads.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let before = buf.filled().len();
            match this.read.try_read_buf(buf) {
                Ok(_) => {
                    let filled = buf.filled();
                    let was_late = this.late.is_some();
                    this.see(&filled[before..]);
                    if was_late && this.late.is_none() {
                        this.client.head_ended();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().write).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().write).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_shutdown(cx)
    }
}
