//! Heads on their way through: what belongs to one connection is taken out, what tells of the client is written anew.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{
    self, CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};

/// Headers that belong to one connection, beside those that `Connection` names.
const HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];
/// Headers that tell who a request comes from: whatever a client says of that is not believed.
const FORWARDED: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-real-ip",
];

/// Takes out what belongs to one connection. Trailers stay announced, since they are passed on.
pub(super) fn strip_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Nobody may have these taken out.
        .filter(|name| *name != header::HOST && *name != CONTENT_LENGTH)
        .collect();
    let takes_trailers = headers.get_all(TE).into_iter().any(|value| has_token(value, "trailers"));
    for name in named.iter().chain(&HOP) {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The protocol that a client asks to go on with, if it may: everything but HTTP/2, which would be a second way in.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = headers.get_all(CONNECTION).into_iter().any(|value| has_token(value, "upgrade"));
    let protocol = headers.get(UPGRADE)?;
    (asks && !has_token(protocol, "h2c") && !has_token(protocol, "h2")).then(|| protocol.clone())
}

/// Writes a request's headers anew for a replica.
pub(super) fn to_replica(headers: &mut HeaderMap, client: IpAddr, host: Option<&HeaderValue>) {
    strip_hop(headers);
    for name in FORWARDED {
        headers.remove(name);
    }
    // Its length is that of the body that is sent; the gateway has said `100 Continue` itself.
    headers.remove(CONTENT_LENGTH);
    headers.remove(EXPECT);
    let text = client.to_canonical().to_string();
    let client = HeaderValue::from_str(&text).expect("an address is plain text");
    headers.insert("x-forwarded-for", client);
    headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host.clone());
    }
}

/// Takes out of an answer what belongs to the connection to the replica, and what only the gateway says.
pub(super) fn to_client(headers: &mut HeaderMap) {
    strip_hop(headers);
    headers.remove(TE);
    headers.remove(&super::answer::REASON);
    headers.remove(COLD_START);
}

/// Set on answers of requests that came while nothing was ready.
pub(super) const COLD_START: &str = "tidegate-cold-start";

/// Whether a list of tokens has one, whatever its case.
pub(super) fn has_token(value: &HeaderValue, token: &str) -> bool {
    let tokens = value.to_str().unwrap_or_default().split(',');
    tokens.into_iter().any(|one| one.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = &'static [(&'static str, &'static str)];

    fn map(pairs: Pairs) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn text(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("plain")))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_belongs_to_a_connection_or_lies_about_the_client_does_not_reach_a_replica() {
        let mut headers = map(&[
            ("host", "a"),
            ("connection", "close, X-Mine, host"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("expect", "100-continue"),
            ("content-length", "5"),
            ("accept", "*/*"),
        ]);
        let host = HeaderValue::from_static("a");
        to_replica(&mut headers, "::ffff:127.0.0.1".parse().expect("an address"), Some(&host));
        insta::assert_snapshot!(text(&headers).join("\n"), @r"
        accept: */*
        host: a
        te: trailers
        x-forwarded-for: 127.0.0.1
        x-forwarded-host: a
        x-forwarded-proto: http
        ");
    }

    #[test]
    fn upgrades_are_passed_on_but_those_to_http_2() {
        let cases: [(Pairs, Option<&str>); 5] = [
            (&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")], Some("websocket")),
            (&[("connection", "upgrade"), ("upgrade", "h2c")], None),
            (&[("connection", "upgrade"), ("upgrade", "websocket, h2c")], None),
            (&[("connection", "keep-alive"), ("upgrade", "websocket")], None),
            (&[("connection", "upgrade")], None),
        ];
        for (headers, expected) in cases {
            let found = upgrade(&map(headers));
            assert_eq!(
                found.as_ref().and_then(|value| value.to_str().ok()),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_replica_cannot_speak_for_the_gateway() {
        let mut headers = map(&[
            ("tidegate-cold-start", "true"),
            ("tidegate-reason", "queue_full"),
            ("connection", "close"),
            ("content-type", "text/plain"),
            ("trailer", "grpc-status"),
        ]);
        to_client(&mut headers);
        assert_eq!(text(&headers), ["content-type: text/plain", "trailer: grpc-status"]);
    }
}
