//! Clients that mean harm, or do some.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::proxy::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::*;

/// What came over each connection to a replica.
type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

/// A replica that writes down every byte and answers whatever comes.
async fn recorder(seen: Seen) -> std::net::SocketAddr {
    raw(move |mut stream| {
        let seen = seen.clone();
        async move {
            let at = {
                let mut seen = seen.lock().expect("no panic");
                seen.push(Vec::new());
                seen.len() - 1
            };
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                seen.lock().expect("no panic")[at].extend_from_slice(&buffer[..length]);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                let _ = stream.write_all(answer).await;
            }
        }
    })
    .await
}

/// Requests with something hidden in them, each a way to be read twice.
fn smuggled() -> Vec<String> {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = hidden.len();
    let mut all = Vec::new();
    let mut add = |fields: String, body: String| {
        all.push(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"));
    };
    for coding in [
        "chunked",
        "Chunked",
        "chunked ",
        "\tchunked",
        "xchunked",
        "chunked, identity",
        "identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        "\"chunked\"",
        "chunked;q=1",
        "\x0bchunked",
        ", chunked",
        "chunked,",
    ] {
        for length in [format!("{length}"), "0".into(), "5".into()] {
            add(
                format!("Content-Length: {length}\r\nTransfer-Encoding: {coding}\r\n"),
                format!("0\r\n\r\n{hidden}"),
            );
            add(
                format!("Transfer-Encoding: {coding}\r\nContent-Length: {length}\r\n"),
                format!("0\r\n\r\n{hidden}"),
            );
        }
        if coding.trim().to_lowercase() != "chunked" {
            add(format!("Transfer-Encoding: {coding}\r\n"), format!("0\r\n\r\n{hidden}"));
        }
    }
    for lengths in [["0", "5"], ["5", "0"], ["0", "0"], ["+0", "0"]] {
        let [one, two] = lengths;
        add(format!("Content-Length: {one}\r\nContent-Length: {two}\r\n"), hidden.into());
        add(format!("Content-Length: {one}, {two}\r\n"), hidden.into());
    }
    for length in ["+0", "-1", "0x0", "0 0", "", " ", "1e1", "99999999999999999999", "0;", "٠"] {
        add(format!("Content-Length: {length}\r\n"), hidden.into());
    }
    for name in [
        "Transfer-Encoding ",
        "Transfer-Encoding\t",
        " Transfer-Encoding",
        "Transfer\u{0}-Encoding",
    ] {
        add(format!("Content-Length: 0\r\n{name}: chunked\r\n"), format!("0\r\n\r\n{hidden}"));
        add(format!("{name}: chunked\r\n"), format!("0\r\n\r\n{hidden}"));
    }
    for fields in [
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nContent-Length: 0\r\n",
        "X: y\rContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\nX: y\r\n",
        "Content-Length: 0\n\n",
    ] {
        add(fields.to_owned(), hidden.into());
    }
    for size in ["0x0", "-0", "+0", "g", " 0", "0\n", "\r\n0"] {
        add("Transfer-Encoding: chunked\r\n".into(), format!("{size}\r\n\r\n{hidden}"));
    }
    all
}

#[tokio::test]
async fn a_replica_sees_one_request_for_each_whatever_is_hidden_in_it() {
    let soon = Duration::from_millis(500);
    let settings = Settings { idle_connection: soon, head_timeout: soon, ..Settings::default() };
    let settings = Settings { idle_request: soon, ..settings };
    let world = Arc::new(World::new(settings, LIMITS).await);
    let seen = Seen::default();
    world.replica(0, recorder(seen.clone()).await);
    let all = smuggled();
    assert!(all.len() >= 120, "{}", all.len());
    let asked: Vec<_> = all
        .into_iter()
        .map(|bytes| {
            let world = world.clone();
            tokio::spawn(async move { (world.talk(&bytes).await, bytes) })
        })
        .collect();
    let mut refused = 0;
    let total = asked.len();
    for one in asked {
        let (told, bytes) = one.await.expect("no panic");
        assert!(told.matches("HTTP/1.1 ").count() <= 1, "{bytes:?}: {told}");
        refused += usize::from(told.starts_with("HTTP/1.1 400"));
    }
    // A few get as far as a replica, and break there: their heads are good and their chunks are not.
    assert!(refused + 10 >= total, "{refused} of {total} were refused");
    for seen in seen.lock().expect("no panic").iter() {
        let seen = String::from_utf8_lossy(seen).to_lowercase();
        assert!(seen.matches(" http/1.1\r\n").count() <= 1, "{seen}");
        assert!(!seen.contains("/hidden"), "{seen}");
        assert!(!seen.contains("content-length") || !seen.contains("transfer-encoding"), "{seen}");
    }
    assert!(world.get("/").await.ends_with("ok"), "honest requests go on");
}

#[tokio::test]
async fn a_second_request_on_the_connection_is_one_of_its_own() {
    let world = World::plain().await;
    world.replica(0, named("one").await);
    let two = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(world.talk(two).await.matches("HTTP/1.1 200").count(), 2);
    let bad = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let told = world.talk(bad).await;
    assert!(
        told.contains("HTTP/1.1 200") && told.contains("tidegate-reason: malformed_request"),
        "{told}"
    );
}

#[tokio::test]
async fn hosts_that_are_missing_doubled_or_contradict_each_other_are_refused() {
    let world = World::plain().await;
    world.replica(0, named("one").await);
    for head in [
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let told = world.talk(head).await;
        assert!(told.starts_with("HTTP/1.1 400") && told.contains("bad_host"), "{head}: {told}");
    }
    for method in ["CONNECT a:80", "TRACE /"] {
        let told = world
            .talk(format!("{method} HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n"))
            .await;
        assert!(told.starts_with("HTTP/1.1 405"), "{method}: {told}");
    }
}

#[tokio::test]
async fn heads_that_never_end_are_closed_and_others_are_served_meanwhile() {
    let head_timeout = Duration::from_millis(400);
    let world = World::new(Settings { head_timeout, ..Settings::default() }, LIMITS).await;
    world.replica(0, named("one").await);
    let mut slow = Vec::new();
    for begin in ["", "G", "PRI * HT", "GET / HTTP/1.1\r\nHost: a\r\nX: "] {
        for _ in 0..25 {
            slow.push(world.connect(begin).await);
        }
    }
    // A connection that has served a request gets no longer for the next head.
    let mut later = world.connect("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT").await;
    until(&mut later, "one").await;
    slow.push(later);
    assert!(world.get("/").await.ends_with("one"));
    for mut stream in slow {
        assert_eq!(rest(&mut stream).await, "", "nothing is said to it");
    }
    assert_eq!(world.gateway.counts().slow_heads.load(Ordering::Relaxed), 101);
}

#[tokio::test]
async fn too_many_unfinished_heads_of_an_address_make_room_for_new_ones() {
    let head_timeout = Duration::from_secs(3_600);
    let settings = Settings { unfinished_heads: 10, head_timeout, ..Settings::default() };
    let world = World::new(settings, LIMITS).await;
    world.replica(0, named("one").await);
    let mut slow = Vec::new();
    for _ in 0..10 {
        slow.push(world.connect("GET / HTTP/1.1\r\n").await);
    }
    let mut first = slow.remove(0);
    let closed = async {
        // Once the first have had their time, each that comes more ends one of them.
        loop {
            slow.push(world.connect("GET / HTTP/1.1\r\n").await);
            assert!(world.get("/").await.ends_with("one"), "honest ones are served");
            let ended =
                tokio::time::timeout(Duration::from_millis(20), first.read(&mut [0; 8])).await;
            if ended.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, closed).await.expect("the oldest is closed");
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let world = World::plain().await;
    world.replica(0, named("one").await);
    for (count, size) in [(1, 17_000), (90, 300), (101, 1)] {
        let field = format!("X: {}\r\n", "y".repeat(size));
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", field.repeat(count));
        let told = world.talk(head).await;
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 431"), "{count} {size}: {told}");
    }
}

#[tokio::test]
async fn a_body_that_stops_is_given_up() {
    let idle_request = Duration::from_millis(100);
    let world = World::new(Settings { idle_request, ..Settings::default() }, LIMITS).await;
    let address = raw(|mut stream| async move {
        until(&mut stream, "never").await;
    })
    .await;
    world.replica(0, address);
    let told = world.talk("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
    assert!(told.starts_with("HTTP/1.1 408") && told.contains("slow_body"), "{told}");
    when("its place is free", || world.door.in_flight() == 0).await;
}
