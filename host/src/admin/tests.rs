//! Over real sockets, with a client that writes its requests by hand, as no browser would.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::order::{Done, Order, Refusal};
use super::*;
use crate::status::sample;

struct Port {
    port: u16,
    status: watch::Sender<Arc<Status>>,
    orders: mpsc::Receiver<Ordered>,
    stop: oneshot::Sender<()>,
}

async fn open(token: Option<&str>) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound");
    let clock = Arc::new(Clock::start());
    let now = sample::status_at(clock.now());
    let (status, seen) = watch::channel(Arc::new(now));
    let (to_loop, orders) = mpsc::channel(ORDERS_AT_MOST);
    let (stop, stopped) = oneshot::channel();
    let guard = Guard::new(address.ip(), Vec::new(), token.map(str::to_owned));
    let guard = guard.expect("it is loopback");
    let admin = Admin { guard, status: seen, orders: to_loop, clock };
    tokio::spawn(serve(admin, listener, async move {
        let _ = stopped.await;
    }));
    Port { port: address.port(), status, orders, stop }
}

impl Port {
    async fn send(&self, request: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens");
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        stream
    }

    async fn ask(&self, request: &str, headers: &str, body: &str) -> String {
        let mut stream = self.send(request, headers, body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("answers are text")
    }
}

const HOST: &str = "host: localhost\r\n";
const JSON: &str = "host: localhost\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn it_shows_the_page_the_status_metrics_and_health() {
    let port = open(None).await;
    for (path, has) in [
        ("/", "<!DOCTYPE html>"),
        ("/page.js", "textContent"),
        ("/page.css", "prefers-color-scheme"),
        ("/api/status", "\"isDryRun\":true"),
        ("/metrics", "tidegate_desired_replicas{"),
        ("/healthz", "ok"),
        ("/readyz", "ok"),
    ] {
        let answer = port.ask(&format!("GET {path}"), HOST, "").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        assert!(answer.contains(has), "{path}: {answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{path}");
    }
    port.status.send_modify(|status| {
        *status = Arc::new(Status { phase: RunPhase::Stopping, ..(**status).clone() });
    });
    assert!(port.ask("GET /readyz", HOST, "").await.starts_with("HTTP/1.1 503 "));
    port.status.send_modify(|status| {
        *status = Arc::new(Status { at: status.at - 60_000, ..(**status).clone() });
    });
    assert!(port.ask("GET /healthz", HOST, "").await.contains("has said nothing for 60 s"));
}

#[tokio::test]
async fn the_page_makes_no_markup_of_what_it_shows() {
    for forbidden in
        ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "//cdn"]
    {
        assert!(!SCRIPT.contains(forbidden), "{forbidden}");
    }
    for forbidden in ["onclick=", "onload=", "style=", "<script>", "http:", "https:"] {
        assert!(!PAGE.contains(forbidden), "{forbidden}");
    }
    // What a browser would run is JSON, and is told to be nothing else.
    let port = open(None).await;
    let answer = port.ask("GET /api/status", HOST, "").await;
    assert!(answer.contains("<script>alert"), "the sample has no markup to show");
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    assert!(answer.contains("x-content-type-options: nosniff\r\n"), "{answer}");
}

#[tokio::test]
async fn strangers_are_refused_before_anything_is_looked_at() {
    let mut port = open(None).await;
    let body = r#"{"service": "whisper", "replicas": 1, "for": "1h"}"#;
    for (request, headers, status) in [
        ("GET /", "host: rebound.example\r\n", "403"),
        ("GET /healthz", "", "403"),
        ("GET /api/status", "host: localhost\r\norigin: http://evil.example\r\n", "403"),
        ("POST /api/pin", "host: localhost\r\ncontent-type: text/plain\r\n", "415"),
        (
            "POST /api/pin",
            "host: localhost\r\norigin: null\r\ncontent-type: application/json\r\n",
            "403",
        ),
        ("GET /api/pin", HOST, "405"),
        ("GET /api/policy/rollback", HOST, "405"),
        ("POST /api/status", JSON, "405"),
        ("GET /nothing", HOST, "404"),
    ] {
        let answer = port.ask(request, headers, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request} {headers}: {answer}"
        );
    }
    assert!(port.orders.try_recv().is_err(), "an order came through");

    let port = open(Some("0123456789abcdef")).await;
    for path in ["/", "/page.js", "/api/status", "/api/events", "/metrics", "/healthz", "/readyz"] {
        let answer = port.ask(&format!("GET {path}"), HOST, "").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
        assert!(answer.contains("www-authenticate: Bearer\r\n"), "{path}: {answer}");
    }
    let with_token = "host: localhost\r\nauthorization: Bearer 0123456789abcdef\r\n";
    assert!(port.ask("GET /healthz", with_token, "").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn orders_are_passed_on_and_their_answers_come_back() {
    let mut port = open(None).await;
    let cases = [
        (
            "/api/pin",
            r#"{"service": "whisper", "replicas": 2, "for": "1h30m"}"#,
            Order::Pin {
                service: "whisper".into(),
                replicas: 2,
                holds: Duration::from_secs(5_400),
            },
        ),
        ("/api/unpin", r#"{"service": "whisper"}"#, Order::Unpin { service: "whisper".into() }),
        (
            "/api/policy/swap",
            r#"{"policies": "next.yaml"}"#,
            Order::Swap { policies: Some("next.yaml".into()) },
        ),
        ("/api/policy/rollback", "{}", Order::Rollback),
    ];
    for (path, body, expected) in cases {
        for (reply, status, has) in [
            (Ok(Done { message: "done so".into() }), "200", "{\"done\":\"done so\"}"),
            (Err(Refusal::Unknown("no such thing".into())), "404", "no such thing"),
            (Err(Refusal::Refused("it would not do".into())), "409", "it would not do"),
        ] {
            let mut stream = port.send(&format!("POST {path}"), JSON, body).await;
            let Ordered { order, answer } = port.orders.recv().await.expect("an order comes");
            assert_eq!(order, expected);
            answer.send(reply).expect("the port waits for it");
            let mut told = String::new();
            stream.read_to_string(&mut told).await.expect("an answer comes");
            assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
            assert!(told.contains(has), "{told}");
        }
    }
    for body in [
        "",
        "{}",
        r#"{"service": "x", "replicas": 2}"#,
        r#"{"service": "x", "replicas": 2, "for": "never"}"#,
        r#"{"service": "x", "replicas": 2, "for": "-1h"}"#,
        r#"{"service": "x", "replicas": 2, "for": "9000h"}"#,
        r#"{"service": "x", "replicas": 20000, "for": "1h"}"#,
        r#"{"service": "x", "replicas": -1, "for": "1h"}"#,
        r#"{"service": "x", "replicas": 1, "for": "1h", "more": 1}"#,
    ] {
        let answer = port.ask("POST /api/pin", JSON, body).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body}: {answer}");
    }
    let long = format!(r#"{{"service": "{}"}}"#, "x".repeat(ORDER_AT_MOST));
    assert!(port.ask("POST /api/unpin", JSON, &long).await.starts_with("HTTP/1.1 413 "));
    assert!(port.orders.try_recv().is_err(), "an order came through");
}

#[tokio::test]
async fn events_tell_all_first_then_what_is_new_and_end_with_the_program() {
    let port = open(None).await;
    let mut stream = port.send("GET /api/events", HOST, "").await;
    let mut heard = String::new();
    read_until(&mut stream, &mut heard, "event: status\n").await;
    read_until(&mut stream, &mut heard, "\n\n").await;
    port.status.send_modify(|status| {
        *status = Arc::new(Status { at: status.at + 1_000, ..(**status).clone() });
    });
    read_until(&mut stream, &mut heard, "event: tick\ndata: {\"at\":").await;
    port.status.send_modify(|status| {
        let mut next = (**status).clone();
        next.services[0].waiting = 7_777;
        *status = Arc::new(next);
    });
    read_until(&mut stream, &mut heard, "event: change\n").await;
    read_until(&mut stream, &mut heard, "\"waiting\":7777").await;
    let _ = port.stop.send(());
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest));
    let _ = end.await.expect("the stream ends");
}

async fn read_until(stream: &mut TcpStream, heard: &mut String, what: &str) {
    let reading = async {
        while !heard.contains(what) {
            let mut part = vec![0; 1 << 16];
            let count = stream.read(&mut part).await.expect("the stream goes on");
            assert!(count > 0, "it ended before {what:?}: {heard}");
            heard.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        let at = heard.find(what).expect("it is there") + what.len();
        heard.drain(..at);
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it comes");
}

/// Serves the made-up status, so that the page can be looked at: `ADMIN_PAGE_SECONDS=600 cargo test … looked_at -- --ignored --nocapture`
/// prints where.
#[tokio::test]
#[ignore = "for people who want to look at the page"]
async fn a_made_up_status_can_be_looked_at() {
    let port = open(None).await;
    #[expect(clippy::disallowed_methods, reason = "whoever looks says how long")]
    let seconds = std::env::var("ADMIN_PAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    println!("http://127.0.0.1:{}/", port.port);
    for _ in 0..seconds.unwrap_or(60) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        port.status.send_modify(|status| {
            *status = Arc::new(Status { at: status.at + 1_000, ..(**status).clone() });
        });
    }
}
