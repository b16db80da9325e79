//! Bytes on their way: streams, trailers, upgrades, both protocols; and replicas that break.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate::proxy::{Outcome, Routes, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::world::*;

async fn http2(world: &World) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(world.address).await.expect("it listens");
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("it speaks");
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn a_stream_is_passed_on_chunk_by_chunk_and_its_events_are_counted() {
    let mut world = World::plain().await;
    let go_on = Arc::new(Notify::new());
    let told = go_on.clone();
    let address = raw(move |mut stream| {
        let told = told.clone();
        async move {
            until(&mut stream, "\r\n\r\n").await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.expect("it reads");
            for event in ["one", "two", "[DONE]"] {
                let event = format!("data: {event}\n\n");
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                stream.write_all(chunk.as_bytes()).await.expect("it reads");
                told.notified().await;
            }
            stream.write_all(b"0\r\n\r\n").await.expect("it reads");
        }
    })
    .await;
    world.replica(0, address);
    let mut client = world.connect(get("/")).await;
    for event in ["data: one", "data: two", "data: [DONE]"] {
        until(&mut client, event).await;
        go_on.notify_one();
    }
    assert!(rest(&mut client).await.ends_with("0\r\n\r\n"));
    let fate = world.fate().await;
    assert_eq!((fate.outcome, fate.status, fate.output_tokens), (Outcome::Served, 200, 2));
    assert!(fate.first_byte_us.is_some_and(|first| first <= fate.took_us));
}

#[tokio::test]
async fn grpc_goes_through_http_2_on_both_sides_with_its_trailers() {
    let world = World::plain().await;
    let address = replica(|request: Request<Incoming>| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        let host = request.uri().authority().expect("it is named").to_string();
        let said = request.into_body().collect().await.expect("it comes").to_bytes();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("said-at", host.parse().expect("plain"));
        Response::new(
            Full::new(said).with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) }),
        )
    })
    .await;
    world.replica(0, address);
    let request = Request::post("http://a.example/pkg.Service/Call")
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"\0\0\0\0\x02hi")))
        .expect("a request");
    let answer = http2(&world).await.send_request(request).await.expect("an answer");
    let body = answer.into_body().collect().await.expect("it comes");
    let trailers = body.trailers().expect("they come").clone();
    assert_eq!(body.to_bytes(), &b"\0\0\0\0\x02hi"[..]);
    assert_eq!(
        (&trailers["grpc-status"], &trailers["said-at"]),
        (&"0".parse().expect("plain"), &"a.example".parse().expect("plain"))
    );
}

#[tokio::test]
async fn both_protocols_reach_replicas_that_speak_http_1() {
    let world = World::plain().await;
    let address = replica(|request: Request<Incoming>| async move {
        let host = request.headers()["host"].to_str().expect("plain").to_owned();
        let from = request.headers()["x-forwarded-for"].to_str().expect("plain").to_owned();
        let (version, path) = (request.version(), request.uri().to_string());
        let body = request.into_body().collect().await.expect("it comes").to_bytes();
        Response::new(Full::new(Bytes::from(format!(
            "{version:?} {host} {path} {from} {}",
            body.len()
        ))))
    })
    .await;
    world.replica(0, address);
    let big = "x".repeat(300_000);
    let request = Request::post("http://A.example:80/a?b=c").header("x-forwarded-for", "6.6.6.6");
    let request = request.body(Full::new(Bytes::from(big.clone()))).expect("a request");
    let answer = http2(&world).await.send_request(request).await.expect("an answer");
    let body = answer.into_body().collect().await.expect("it comes").to_bytes();
    assert_eq!(body, "HTTP/1.1 A.example:80 /a?b=c 127.0.0.1 300000");
    let told = world.talk(post("/x", &big)).await;
    assert!(told.ends_with("HTTP/1.1 a.example /x 127.0.0.1 300000"), "{told}");
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let mut world = World::plain().await;
    let address = raw(|mut stream| async move {
        let head = until(&mut stream, "\r\n\r\n").await;
        assert!(
            head.contains("upgrade: websocket") && head.contains("connection: upgrade"),
            "{head}"
        );
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("it reads");
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    world.replica(0, address);
    let head = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut client = world.connect(head).await;
    let answer = until(&mut client, "\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 101") && answer.contains("upgrade: websocket"),
        "{answer}"
    );
    for said in ["ping", "\r\n\n\0\0", "pong"] {
        client.write_all(said.as_bytes()).await.expect("it reads");
        assert_eq!(until(&mut client, said).await, said);
    }
    assert_eq!(world.door.in_flight(), 1, "it holds its place");
    drop(client);
    assert_eq!(world.fate().await.outcome, Outcome::Served);
    assert_eq!(world.door.in_flight(), 0);
}

#[tokio::test]
async fn connections_to_a_replica_are_used_again() {
    let world = World::plain().await;
    world.replica(0, named("one").await);
    let mut client = world.connect("").await;
    for _ in 0..20 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("it reads");
        until(&mut client, "\r\n\r\none").await;
    }
    assert_eq!(world.gateway.counts().connects.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_request_of_which_nothing_was_sent_goes_to_another_replica() {
    let world = World::plain().await;
    let broken = raw(|mut stream| async move {
        until(&mut stream, "\r\n\r\n").await;
    })
    .await;
    let refusing = world.replica(0, nobody().await);
    let breaking = world.replica(1, broken);
    world.replica(2, named("good").await);
    for _ in 0..50 {
        let told = world.get("/").await;
        assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("good"), "{told}");
    }
    let mut told = world.door.take_refusing();
    told.sort_unstable();
    assert_eq!(told, [refusing, breaking], "the backend hears of both");
    assert!(world.door.counts().retried.load(Ordering::Relaxed) >= 2);
    let told = world.talk(post("/", "hello")).await;
    assert!(told.ends_with("good") || told.contains("replica_failed"), "{told}");
}

#[tokio::test]
async fn a_request_whose_body_was_begun_is_delivered_once() {
    let mut world = World::plain().await;
    let deliveries = Arc::new(AtomicU32::new(0));
    let count = deliveries.clone();
    let address = raw(move |mut stream| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            until(&mut stream, "hello").await;
        }
    })
    .await;
    world.replica(0, address);
    world.replica(1, address);
    let told = world.talk(post("/", "hello")).await;
    assert!(
        told.starts_with("HTTP/1.1 502") && told.contains("tidegate-reason: replica_failed"),
        "{told}"
    );
    assert_eq!(
        (deliveries.load(Ordering::Relaxed), world.fate().await.outcome),
        (1, Outcome::Failed)
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_off_for_the_client_too() {
    let mut world = World::plain().await;
    let address = raw(|mut stream| async move {
        until(&mut stream, "\r\n\r\n").await;
        let part = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        stream.write_all(part.as_bytes()).await.expect("it reads");
    })
    .await;
    world.replica(0, address);
    let told = world.get("/").await;
    assert!(told.contains("hello") && !told.ends_with("0\r\n\r\n"), "{told}");
    assert_eq!(world.fate().await.outcome, Outcome::Failed);
}

#[tokio::test]
async fn a_request_at_zero_waits_for_a_replica_and_is_told_so() {
    let mut world = World::plain().await;
    let mut client = world.connect(post("/", "{}")).await;
    when("it waits", || world.door.waiting() == 1).await;
    assert!(world.door.take_starved());
    let usage = r#"{"usage":{"prompt_tokens":7,"completion_tokens":9}}"#;
    let address = replica(move |_| async move {
        let mut answer = Response::new(Full::new(Bytes::from_static(usage.as_bytes())));
        answer.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        answer.headers_mut().insert("server-timing", HeaderValue::from_static("model;dur=1"));
        answer
    })
    .await;
    world.replica(0, address);
    let told = rest(&mut client).await;
    assert!(
        told.contains("tidegate-cold-start: true") && told.contains("server-timing: queue;dur="),
        "{told}"
    );
    assert!(told.contains("server-timing: model;dur=1") && told.ends_with(usage), "{told}");
    let fate = world.fate().await;
    assert_eq!((fate.prompt_tokens, fate.output_tokens, fate.is_cold), (7, 9, true));
    assert!(fate.waited_us > 0 && fate.waited_us <= fate.took_us);
    let told = world.get("/").await;
    assert!(!told.contains("cold-start") && !told.contains("queue;dur"), "it did not wait: {told}");
    when("tokens are reported", || {
        let sum = |sum: f64, at: usize, reports: &[tidegate::engine::Report]| {
            sum + reports.iter().map(|report| report.values[at]).sum::<f64>()
        };
        let reports = world.door.take_reports();
        (sum(0.0, 2, &reports), sum(0.0, 3, &reports)) != (0.0, 0.0)
    })
    .await;
}

#[tokio::test]
async fn an_event_stream_that_waits_is_kept_open_with_comments() {
    let after = std::time::Duration::from_millis(20);
    let settings = Settings { comment_after: after, comment_every: after, ..Settings::default() };
    let world = World::new(settings, LIMITS).await;
    world.gateway.set_routes(Routes::new([everywhere(service(&world.door, 0, true))]));
    let mut events = world.connect(post("/", r#"{"stream":true}"#)).await;
    let mut plain = world.connect(post("/", r#"{"stream":false}"#)).await;
    let head = until(&mut events, ": waiting\n\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("tidegate-cold-start: true"),
        "{head}"
    );
    until(&mut events, ": waiting\n\n").await;
    let address = replica(|request: Request<Incoming>| async move {
        let body = request.into_body().collect().await.expect("it comes").to_bytes();
        let mut answer = Response::new(Full::new(Bytes::from(format!(
            "data: {}\n\n",
            String::from_utf8_lossy(&body)
        ))));
        answer.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
        answer
    })
    .await;
    world.replica(0, address);
    assert!(rest(&mut events).await.contains("data: {\"stream\":true}\n\n"));
    let told = rest(&mut plain).await;
    assert!(
        told.ends_with("data: {\"stream\":false}\n\n") && !told.contains(": waiting"),
        "{told}"
    );
}

#[tokio::test]
async fn what_fails_after_an_early_head_is_told_as_an_event() {
    let after = std::time::Duration::from_millis(20);
    let settings = Settings { comment_after: after, comment_every: after, ..Settings::default() };
    let world = World::new(settings, LIMITS).await;
    world.gateway.set_routes(Routes::new([everywhere(service(&world.door, 0, true))]));
    let head =
        "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n";
    let mut client = world.connect(head).await;
    until(&mut client, ": waiting\n\n").await;
    let address = replica(|_| async move {
        let mut answer =
            Response::new(Full::new(Bytes::from_static(b"{\"error\":\n {\"code\":\"x\"}}")));
        *answer.status_mut() = hyper::StatusCode::BAD_REQUEST;
        answer
    })
    .await;
    world.replica(0, address);
    let told = rest(&mut client).await;
    assert!(
        told.contains("event: error\ndata: {\"error\": {\"code\":\"x\"}}\n\ndata: [DONE]\n\n"),
        "{told}"
    );
}

#[tokio::test]
async fn a_head_request_and_answers_without_a_body_end_at_once() {
    let mut world = World::plain().await;
    let address = replica(|_| async move {
        let mut answer = Response::new(Empty::<Bytes>::new());
        *answer.status_mut() = hyper::StatusCode::NO_CONTENT;
        answer
    })
    .await;
    world.replica(0, address);
    let told = world.talk(get("/").replace("GET", "HEAD")).await;
    assert!(told.starts_with("HTTP/1.1 204"), "{told}");
    let fate = world.fate().await;
    assert_eq!((fate.outcome, fate.status), (Outcome::Served, 204));
    let mut byte = [0; 1];
    let mut client = world.connect(get("/")).await;
    client.read_exact(&mut byte).await.expect("an answer");
}
