//! What a person orders, and who may.

use serde_json::json;

use crate::client::ask;
use crate::world::{Place, Up, fake, refused, services};

pub fn a_pin_holds_is_shown_and_ends_by_itself() {
    let place = Place::new(&services(&[fake("chat", "200ms", "")]));
    let up = Up::start(&place);
    up.until_ready("chat", 0);
    let done = up.order("/api/pin", &json!({"service": "chat", "replicas": 2, "for": "12s"}));
    assert_eq!(done.status, 200, "{done:?}");
    let service = up.until_ready("chat", 2);
    assert_eq!(service["pin"]["replicas"], 2, "{service:#}");
    // Idle for longer than the stable window: they are still there when the pin ends, and only then do they leave.
    let until = service["pin"]["until"].as_u64().expect("a moment");
    let service =
        up.until_service("chat", "is not pinned any more", |service| service["pin"].is_null());
    let _ = (until, service);
    up.until_ready("chat", 0);
    assert!(up.status()["at"].as_u64() >= Some(until), "it held until then");
    let done = up.order("/api/pin", &json!({"service": "chat", "replicas": 1, "for": "1h"}));
    assert_eq!(done.status, 200, "{done:?}");
    up.until_ready("chat", 1);
    let done = up.order("/api/unpin", &json!({"service": "chat"}));
    assert_eq!(done.status, 200, "{done:?}");
    up.until_service("chat", "is not pinned", |service| service["pin"].is_null());
    up.until_ready("chat", 0);
    let unknown = up.order("/api/pin", &json!({"service": "chatt", "replicas": 1, "for": "1h"}));
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("did you mean chat?"), "{unknown:?}");
    up.end_well();
}

pub fn the_admin_port_is_not_for_everybody() {
    let place = Place::new(&services(&[fake("chat", "200ms", "")]));
    let (code, told) = refused(&place, &["--admin", "0.0.0.0:0"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("without a token"), "{told}");
    let up = Up::start(&place);
    let pin = json!({"service": "chat", "replicas": 1, "for": "1h"}).to_string();
    let json = ("Content-Type", "application/json");
    for (why, headers) in [
        ("another name", [("Host", "evil.example"), json]),
        ("another site", [("Origin", "http://evil.example"), json]),
        ("another site, as browsers say", [("Sec-Fetch-Site", "cross-site"), json]),
    ] {
        for (method, path) in [("GET", "/api/status"), ("POST", "/api/pin")] {
            let answer = ask(up.admin, method, path, &pin, &headers).expect("an answer");
            assert_eq!(answer.status, 403, "{why}: {method} {path}: {answer:?}");
        }
    }
    for path in ["/api/pin", "/api/unpin", "/api/policy/swap", "/api/policy/rollback"] {
        assert_eq!(up.get(path).status, 405, "{path}");
    }
    let plain = ask(up.admin, "POST", "/api/pin", &pin, &[]).expect("an answer");
    assert_eq!(plain.status, 415, "{plain:?}");
    assert!(up.service("chat")["pin"].is_null());
    up.until("it is ready", || (up.get("/readyz").status == 200).then_some(()));
    for path in ["/", "/healthz", "/metrics"] {
        assert_eq!(up.get(path).status, 200, "{path}");
    }
    up.end_well();
    place.write("token", "0123456789abcdef\n");
    let token = place.path("token").display().to_string();
    let up = Up::with(&place, &["--admin", "0.0.0.0:0", "--admin-token", &token]);
    let address = ([127, 0, 0, 1], up.admin.port()).into();
    let with = |key: &str| {
        let key = format!("Bearer {key}");
        ask(address, "GET", "/api/status", "", &[("Authorization", &key)])
            .expect("an answer")
            .status
    };
    assert_eq!([with("wrong"), with("0123456789abcdef")], [401, 200]);
}
