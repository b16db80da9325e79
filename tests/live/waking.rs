//! From zero and back.

use crate::world::{Place, Up, fake, services};

pub fn the_first_request_starts_a_replica_and_idleness_stops_it() {
    let place = Place::new(&services(&[fake("chat", "300ms", "")]));
    let up = Up::start(&place);
    for turn in 0..2 {
        up.until_ready("chat", 0);
        let answer = up.complete("chat", 2);
        assert_eq!(answer.status, 200, "{turn}: {answer:?}");
        assert_eq!(answer.header("tidegate-cold-start"), Some("true"), "{answer:?}");
        let timing = answer.header("server-timing").expect("it waited").to_owned();
        assert!(timing.starts_with("queue;dur="), "{timing}");
        let waited = timing["queue;dur=".len()..].split(',').next();
        let waited_ms: f64 = waited.and_then(|ms| ms.parse().ok()).expect("a number");
        assert!(waited_ms >= 300.0, "it loads 300 ms: {timing}");
        up.until_service("chat", "is ready", |service| service["ready"] == 1);
        let warm = up.complete("chat", 2);
        assert_eq!((warm.status, warm.header("tidegate-cold-start")), (200, None), "{warm:?}");
        up.until_ready("chat", 0);
    }
    let log = up.end_well();
    assert!(log.contains("has ended"), "{log}");
}
