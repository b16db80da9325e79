//! What is bounded: queues, deadlines, the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use tidegate::gateway::Limits;
use tidegate::proxy::{Destination, Outcome, Routes, Settings, Upstream};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::world::*;

/// A replica that answers when it is told to.
async fn slow(go: Arc<Notify>) -> std::net::SocketAddr {
    replica(move |_| {
        let go = go.clone();
        async move {
            go.notified().await;
            go.notify_one();
            Response::new(Full::new(Bytes::from_static(b"done")))
        }
    })
    .await
}

#[tokio::test]
async fn a_full_queue_refuses_with_a_reason_and_when_to_come_again() {
    let mut world = World::new(Settings::default(), Limits { queue: 2, ..LIMITS }).await;
    let clients = [world.connect(get("/")).await, world.connect(get("/")).await];
    when("two wait", || world.door.waiting() == 2).await;
    let told = world.get("/").await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: 5\r\n"), "{told}");
    assert!(told.contains("tidegate-reason: queue_full\r\n"), "{told}");
    let fate = world.fate().await;
    assert_eq!((fate.outcome, fate.status), (Outcome::Refused, 503));
    world.replica(0, named("one").await);
    for mut client in clients {
        assert!(rest(&mut client).await.ends_with("one"));
    }
}

#[tokio::test]
async fn a_flood_that_fills_the_gateway_leaves_room_for_other_services() {
    let world = World::new(Settings { waiting: 20, ..Settings::default() }, LIMITS).await;
    let other = world.door(LIMITS);
    world.gateway.set_routes(Routes::new([
        route("/flood", Destination::Service(service(&world.door, 0, false))),
        route("/other", Destination::Service(service(&other, 1, false))),
    ]));
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(world.connect(get("/flood")).await);
    }
    when("all wait", || world.gateway.waiting() == 20).await;
    let told = world.get("/flood").await;
    assert!(
        told.starts_with("HTTP/1.1 503") && told.contains("tidegate-reason: gateway_full"),
        "{told}"
    );
    let mut client = world.connect(get("/other")).await;
    when("it waits too", || other.waiting() == 1).await;
    other.replica_ready(Upstream { address: named("other").await, ordinal: 0 });
    assert!(rest(&mut client).await.ends_with("other"));
}

#[tokio::test]
async fn the_deadline_ends_what_waits_and_what_runs() {
    let limits = Limits { timeout_us: Some(150_000), ..LIMITS };
    let mut world = World::new(Settings::default(), limits).await;
    let told = world.get("/").await;
    assert!(told.starts_with("HTTP/1.1 504") && told.contains("wait_expired"), "{told}");
    let fate = world.fate().await;
    assert_eq!((fate.outcome, fate.status), (Outcome::Expired, 504));
    assert!(fate.took_us >= 150_000 && fate.waited_us >= 150_000, "{fate:?}");

    let silent = world.replica(0, slow(Arc::default()).await);
    let told = world.get("/").await;
    assert!(told.starts_with("HTTP/1.1 504") && told.contains("answer_expired"), "{told}");
    assert_eq!(world.fate().await.outcome, Outcome::Expired);
    world.door.drain(silent);
    world.door.remove(silent);

    let endless = raw(|mut stream| async move {
        until(&mut stream, "\r\n\r\n").await;
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("it reads");
        while stream.write_all(b"5\r\nhello\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    world.replica(1, endless);
    let told = world.get("/").await;
    assert!(told.contains("hello") && !told.ends_with("0\r\n\r\n"), "the stream is cut: {told}");
    let fate = world.fate().await;
    assert_eq!((fate.outcome, fate.status), (Outcome::Expired, 200));
    assert_eq!((world.door.in_flight(), world.door.waiting()), (0, 0));
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_place() {
    let mut world = World::plain().await;
    let with_body = world.connect(post("/", &"x".repeat(100_000))).await;
    let without = world.connect(get("/")).await;
    when("both wait", || world.door.waiting() == 2).await;
    drop((with_body, without));
    when("nobody waits", || world.door.waiting() == 0).await;
    assert_eq!(world.fate().await.outcome, Outcome::GoneAway);
    assert_eq!(world.fate().await.outcome, Outcome::GoneAway);
    world.replica(0, slow(Arc::default()).await);
    let running = world.connect(get("/")).await;
    when("it runs", || world.door.in_flight() == 1).await;
    drop(running);
    when("nothing runs", || world.door.in_flight() == 0).await;
    assert_eq!(world.fate().await.outcome, Outcome::GoneAway);
    assert_eq!(world.door.counts().gone_away.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn at_the_end_all_that_is_in_is_answered() {
    let limits = Limits { concurrency: 30, ..LIMITS };
    let mut world = World::new(Settings::default(), limits).await;
    let go = Arc::new(Notify::new());
    world.replica(0, slow(go.clone()).await);
    let mut clients = Vec::new();
    for _ in 0..50 {
        // They would keep their connections open.
        clients.push(world.connect("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await);
    }
    when("30 run and 20 wait", || (world.door.in_flight(), world.door.waiting()) == (30, 20)).await;
    world.stop();
    let address = world.address;
    let refuses = || std::net::TcpStream::connect(address).is_err();
    when("no connection is taken", refuses).await;
    go.notify_one();
    for mut client in clients {
        let told = rest(&mut client).await;
        assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("done"), "{told}");
    }
    assert!(world.ended().await.is_clean);
}

#[tokio::test]
async fn what_still_waits_when_the_grace_ends_is_refused() {
    let grace = Duration::from_millis(50);
    let mut world = World::new(Settings { grace, ..Settings::default() }, LIMITS).await;
    let mut client = world.connect(get("/")).await;
    when("it waits", || world.door.waiting() == 1).await;
    world.stop();
    let told = rest(&mut client).await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: 1\r\n"), "{told}");
    assert!(told.contains("tidegate-reason: ending"), "{told}");
    assert!(!world.ended().await.is_clean);
}

#[tokio::test]
async fn a_reader_that_reads_nothing_is_cut_off() {
    let stalled_reader = Duration::from_millis(200);
    let head_timeout = Duration::from_millis(100);
    let settings = Settings { stalled_reader, head_timeout, ..Settings::default() };
    let mut world = World::new(settings, LIMITS).await;
    let address =
        replica(|_| async move { Response::new(Full::new(Bytes::from(vec![b'x'; 64 << 20]))) })
            .await;
    world.replica(0, address);
    let client = world.connect(get("/")).await;
    assert_eq!(world.fate().await.outcome, Outcome::GoneAway);
    assert_eq!(world.gateway.counts().stalled_readers.load(Ordering::Relaxed), 1);
    drop(client);
}
