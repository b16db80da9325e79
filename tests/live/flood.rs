//! Clients that ask for too much.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::Load;
use crate::world::{Place, Up, complete, fake, services};

pub fn one_service_flooded_does_not_hurt_the_others() {
    // Two run at once for a second each, ten wait: of two hundred, most are refused.
    let flooded =
        "maxReplicas: 1\nminReplicas: 1\ncontainerConcurrency: 2\nqueueLimit: 10\ntimeout: 20s";
    let place = Place::new(&services(&[
        fake("flooded", "200ms", flooded),
        fake("one", "200ms", "minReplicas: 1"),
        fake("two", "200ms", "minReplicas: 1"),
    ]));
    let up = Up::start(&place);
    for name in ["flooded", "one", "two"] {
        up.until_ready(name, 1);
    }
    let others = ["one", "two"].map(|name| Load::start(up.gateway, name, 2, 2));
    let gateway = up.gateway;
    let flood: Vec<_> =
        (0..200).map(|_| thread::spawn(move || complete(gateway, "flooded", 50))).collect();
    let mut refused = 0;
    for client in flood {
        let answer = client.join().expect("it does not panic").expect("an answer");
        match answer.status {
            200 => {}
            503 => {
                refused += 1;
                assert_eq!(answer.header("tidegate-reason"), Some("queue_full"), "{answer:?}");
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert!(refused >= 100, "{refused}");
    for load in others {
        let tally = load.stop();
        assert!(tally.answered > 0);
        assert_eq!(tally.failed, Vec::<String>::new());
    }
    up.end_well();
}

pub fn a_thousand_slow_heads_do_not_hurt_honest_clients() {
    slow_heads(1_000);
}

pub fn five_thousand_slow_heads_do_not_hurt_honest_clients() {
    slow_heads(5_000);
}

/// Opens connections that never finish their heads, while honest clients ask.
fn slow_heads(count: usize) {
    let place = Place::new(&services(&[fake("chat", "200ms", "minReplicas: 1")]));
    let up = Up::start(&place);
    up.until_ready("chat", 1);
    let load = Load::start(up.gateway, "chat", 2, 2);
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })
        .expect("a limit may be raised as far as the system lets it");
    let mut slow = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(up.gateway).expect("it is let in");
        // Some are closed for others by now: that is the gateway's choice.
        let _ = stream.write_all(b"GET /chat/v1/models HTTP/1.1\r\nHost: x\r\nX-Slow: ");
        slow.push(stream);
    }
    let so_far = load.tally().answered;
    up.until("honest clients go on", || (load.tally().answered >= so_far + 20).then_some(()));
    let tally = load.stop();
    assert_eq!(tally.failed, Vec::<String>::new());
    assert_eq!(slow.len(), count);
    drop(slow);
    up.end_well();
}
