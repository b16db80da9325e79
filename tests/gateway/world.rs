//! A gateway on a port of its own, replicas that behave as a test wants, and clients that write what they please.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tidegate::clock::Clock;
use tidegate::gateway::{Limits, ReplicaHandle};
use tidegate::proxy::{
    Destination, Door, Ended, Fate, Gateway, Revision, Route, Routes, Service, Settings, Upstream,
    serve,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Long enough for anything that happens at all.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) const LIMITS: Limits =
    Limits { concurrency: 0, queue: 100, queue_bytes: None, timeout_us: Some(60_000_000) };

/// A gateway that serves one service at every host and path, until routes are set.
pub(crate) struct World {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) address: SocketAddr,
    pub(crate) door: Arc<Door>,
    pub(crate) fates: mpsc::Receiver<Fate>,
    clock: Arc<Clock>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Ended>,
}

impl World {
    pub(crate) async fn new(settings: Settings, limits: Limits) -> World {
        let clock = Arc::new(Clock::start());
        let (gateway, fates) = Gateway::new(settings, clock.clone());
        let door = Door::new(limits, clock.clone(), Arc::default());
        let listener = tidegate::proxy::bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            let _ = stopped.await;
        };
        let ended = tokio::spawn(serve(listener, gateway.clone(), stopped));
        let world = World { gateway, address, door, fates, clock, stop: Some(stop), ended };
        world.gateway.set_routes(Routes::new([everywhere(service(&world.door, 0, false))]));
        world
    }

    pub(crate) async fn plain() -> World {
        World::new(Settings::default(), LIMITS).await
    }

    pub(crate) fn door(&self, limits: Limits) -> Arc<Door> {
        Door::new(limits, self.clock.clone(), Arc::default())
    }

    pub(crate) fn replica(&self, ordinal: u32, address: SocketAddr) -> ReplicaHandle {
        self.door.replica_ready(Upstream { address, ordinal })
    }

    /// Writes bytes to a new connection and reads what comes until it is closed.
    pub(crate) async fn talk(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect(bytes).await;
        rest(&mut stream).await
    }

    pub(crate) async fn connect(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(bytes.as_ref()).await.expect("it reads");
        stream
    }

    /// The answer to a `GET` of that path.
    pub(crate) async fn get(&self, path: &str) -> String {
        self.talk(get(path)).await
    }

    pub(crate) async fn fate(&mut self) -> Fate {
        let fate = tokio::time::timeout(SOON, self.fates.recv()).await;
        fate.expect("a fate comes").expect("the gateway is there")
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().expect("it was not stopped").send(());
    }

    pub(crate) async fn ended(self) -> Ended {
        tokio::time::timeout(SOON, self.ended).await.expect("it ends").expect("it did not panic")
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// What comes until the connection ends, or breaks.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut told = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut told)).await;
    let _ = read.expect("the connection ends");
    String::from_utf8_lossy(&told).into_owned()
}

/// Reads until that text has come.
pub(crate) async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut told = Vec::new();
    let read = async {
        let mut byte = [0; 1];
        while !String::from_utf8_lossy(&told).contains(text) {
            assert_eq!(stream.read(&mut byte).await.expect("it is open"), 1, "{told:?}");
            told.push(byte[0]);
        }
    };
    tokio::time::timeout(SOON, read).await.expect("it comes");
    String::from_utf8_lossy(&told).into_owned()
}

/// Waits until something is so.
pub(crate) async fn when(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

pub(crate) fn service(door: &Arc<Door>, target: u32, sends_comments: bool) -> Arc<Service> {
    Service::new(vec![Revision { door: door.clone(), target, weight: 1 }], sends_comments)
}

pub(crate) fn everywhere(service: Arc<Service>) -> Route {
    route("", Destination::Service(service))
}

pub(crate) fn route(prefix: &str, to: Destination) -> Route {
    Route { host: None, prefix: prefix.to_owned(), strips_prefix: false, to }
}

/// A replica that answers each request with what `answer` makes of it.
pub(crate) async fn replica<F, A, B>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer.clone();
                    async move { Ok::<_, Infallible>(answer(request).await) }
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A replica that says its name.
pub(crate) async fn named(name: &'static str) -> SocketAddr {
    replica(move |_| async move { Response::new(Full::new(Bytes::from_static(name.as_bytes()))) })
        .await
}

/// A replica that does with each connection what `serve` does.
pub(crate) async fn raw<F, A>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("it is bound")
}
