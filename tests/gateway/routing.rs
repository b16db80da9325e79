//! Who a request is for: hosts, paths, models, weights, keys.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use tidegate::proxy::{Destination, Keys, Revision, Route, Routes, Service, Settings, Upstream};

use crate::world::*;

#[tokio::test]
async fn hosts_and_prefixes_lead_to_their_services_and_routes_change_while_it_runs() {
    let world = World::plain().await;
    let other = world.door(LIMITS);
    world.replica(0, named("one").await);
    let echo = replica(|request: Request<Incoming>| async move {
        Response::new(Full::new(Bytes::from(request.uri().to_string())))
    })
    .await;
    other.replica_ready(Upstream { address: echo, ordinal: 0 });
    assert!(world.get("/two/x").await.ends_with("one"));
    let two = Destination::Service(service(&other, 1, false));
    world.gateway.set_routes(Routes::new([
        Route { host: Some("A.example".into()), strips_prefix: true, ..route("/two", two) },
        route("", Destination::Service(service(&world.door, 0, false))),
    ]));
    assert!(world.get("/two/x?y=/two").await.ends_with("\r\n\r\n/x?y=/two"));
    assert!(world.get("/two").await.ends_with("\r\n\r\n/"));
    assert!(world.get("/two?q").await.ends_with("\r\n\r\n/?q"));
    let elsewhere = world.get("/one").await;
    assert!(
        elsewhere.starts_with("HTTP/1.1 404") && elsewhere.contains(r#""code":"no_route""#),
        "{elsewhere}"
    );
    assert!(world.talk(get("/two").replace("a.example", "b.example:90")).await.ends_with("one"));
}

#[tokio::test]
async fn models_lead_to_their_services_within_the_beginning_of_the_body() {
    let world = World::plain().await;
    let length = |name: &'static str| {
        replica(move |request: Request<Incoming>| async move {
            let body = request.into_body().collect().await.expect("it comes").to_bytes();
            Response::new(Full::new(Bytes::from(format!("{name} {}", body.len()))))
        })
    };
    let other = world.door(LIMITS);
    world.replica(0, length("llama").await);
    other.replica_ready(Upstream { address: length("qwen").await, ordinal: 0 });
    let models = BTreeMap::from([
        ("llama".to_owned(), service(&world.door, 0, false)),
        ("org/qwen".to_owned(), service(&other, 1, false)),
    ]);
    world.gateway.set_routes(Routes::new([route("", Destination::Models(models))]));
    let early = format!(r#"{{"model":"org/qwen","prompt":"{}"}}"#, "x".repeat(200_000));
    let within = format!(r#"{{"prompt":"{}","model":"llama"}}"#, "x".repeat(60_000));
    let beyond = format!(r#"{{"prompt":"{}","model":"llama"}}"#, "x".repeat(65_536));
    let cases = [
        (r#"{"model":"llama"}"#, "llama 17"),
        (&early, "qwen 200032"),
        (&within, "llama 60029"),
        (&beyond, r#""code":"model_missing"}}"#),
        (r#"{"prompt":"x"}"#, r#""code":"model_missing"}}"#),
        (r#"{"model":"llama","model":"org/qwen"}"#, r#""code":"model_missing"}}"#),
        ("not json", r#""code":"model_missing"}}"#),
        (r#"{"model":"gpt"}"#, r#""code":"model_not_found"}}"#),
    ];
    for (body, expected) in cases {
        let told = world.talk(post("/v1/completions", body)).await;
        assert!(told.ends_with(expected), "{told} is not {expected}");
        assert!(!told.contains("127.0.0.1"), "{told}");
    }
    let list = world.get("/v1/models").await;
    assert!(list.contains(r#""id":"llama""#) && list.contains(r#""id":"org/qwen""#), "{list}");
}

#[tokio::test]
async fn revisions_share_requests_by_weight() {
    let world = World::plain().await;
    let other = world.door(LIMITS);
    world.replica(0, named("old").await);
    other.replica_ready(Upstream { address: named("new").await, ordinal: 0 });
    let revisions = vec![
        Revision { door: world.door.clone(), target: 0, weight: 9 },
        Revision { door: other, target: 1, weight: 1 },
    ];
    world.gateway.set_routes(Routes::new([everywhere(Service::new(revisions, false))]));
    let mut new = 0;
    for _ in 0..40 {
        new += u32::from(world.get("/").await.ends_with("new"));
    }
    assert_eq!(new, 4);
}

#[tokio::test]
async fn keys_are_asked_for_and_kept_from_replicas() {
    for passes_keys in [false, true] {
        let keys = Keys::new(["sk-right"]);
        let world = World::new(Settings { keys, passes_keys, ..Settings::default() }, LIMITS).await;
        let address = replica(|request: Request<Incoming>| async move {
            let shown = request.headers().contains_key("authorization");
            Response::new(Full::new(Bytes::from(format!("shown: {shown}"))))
        })
        .await;
        world.replica(0, address);
        for head in ["", "Authorization: Bearer sk-wrong\r\n", "Authorization: sk-right\r\n"] {
            let told =
                world.talk(get("/").replace("Connection", &format!("{head}Connection"))).await;
            assert!(
                told.starts_with("HTTP/1.1 401") && told.contains("www-authenticate: Bearer"),
                "{told}"
            );
            assert!(
                told.ends_with(
                    r#""type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
                ),
                "{told}"
            );
        }
        let told = world
            .talk(get("/").replace("Connection", "Authorization: Bearer sk-right\r\nConnection"))
            .await;
        assert!(told.ends_with(&format!("shown: {passes_keys}")), "{told}");
    }
}
