//! How a run ends, and what it leaves.

use std::thread;

use rustix::process::Signal;

use crate::world::{Place, Up, complete, fake, refused, runs, services, signal, wait};

pub fn sigterm_answers_what_is_in_even_where_nothing_is_ready() {
    let warm = fake("warm", "200ms", "minReplicas: 1\ncontainerConcurrency: 200");
    let place = Place::new(&services(&[warm, fake("cold", "1s", "containerConcurrency: 200")]));
    let up = Up::start(&place);
    up.until_ready("warm", 1);
    let gateway = up.gateway;
    // A third of them waits at zero; the others run for two seconds.
    let client = |nth: usize| {
        let service = if nth.is_multiple_of(3) { "cold" } else { "warm" };
        thread::spawn(move || complete(gateway, service, 100))
    };
    let clients: Vec<_> = (0..200).map(client).collect();
    up.until("200 requests are in", || {
        let of = |name: &str| {
            let service = up.service(name);
            service["waiting"].as_u64().unwrap_or(0) + service["inFlight"].as_u64().unwrap_or(0)
        };
        (of("warm") + of("cold") == 200).then_some(())
    });
    let children = up.pids("warm");
    assert!(!children.is_empty());
    up.end_well();
    for client in clients {
        let answer = client.join().expect("it does not panic").expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(children.into_iter().all(|pid| !runs(pid)));
}

pub fn a_second_signal_ends_it_at_once() {
    let place = Place::new(&services(&[fake("chat", "200ms", "minReplicas: 1")]));
    let up = Up::start(&place);
    up.until_ready("chat", 1);
    let children = up.pids("chat");
    let gateway = up.gateway;
    // It would run for minutes.
    let client = thread::spawn(move || complete(gateway, "chat", 30_000));
    up.until_service("chat", "runs it", |service| service["inFlight"] == 1);
    signal(up.pid(), Signal::TERM);
    up.until_log("requests that are in are answered first");
    let (status, log) = up.end();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(log.contains("requests were cut off"), "{log}");
    assert!(client.join().expect("it does not panic").is_err());
    for pid in children {
        wait(|| (!runs(pid)).then_some(())).unwrap_or_else(|| panic!("{pid} is an orphan"));
    }
}

pub fn nothing_outlives_a_kill_and_the_next_start_says_what_it_found() {
    let place = Place::new(&services(&[fake("chat", "200ms", "minReplicas: 2")]));
    let up = Up::start(&place);
    up.until_ready("chat", 2);
    let children = up.pids("chat");
    assert_eq!(children.len(), 2);
    let killed = up.pid();
    up.kill();
    for pid in children {
        wait(|| (!runs(pid)).then_some(())).unwrap_or_else(|| panic!("{pid} is an orphan"));
    }
    let up = Up::start(&place);
    up.until_log(&format!("process {killed}, did not end in order"));
    up.until_ready("chat", 2);
    up.end_well();
    let log = Up::start(&place).end_well();
    assert!(!log.contains("did not end in order"), "{log}");
}

pub fn two_runs_do_not_share_a_state_folder() {
    let place = Place::new(&services(&[fake("chat", "200ms", "")]));
    let up = Up::start(&place);
    let (code, told) = refused(&place, &[]);
    assert_eq!(code, Some(4), "{told}");
    assert!(told.contains(&format!("is in use by process {}", up.pid())), "{told}");
    assert_eq!(up.complete("chat", 2).status, 200, "the first goes on");
    up.end_well();
}
