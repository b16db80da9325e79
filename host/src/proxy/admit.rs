//! Finds out who a request is for and whether it may come in, and makes its head one for a replica.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Response, Uri, Version};

use super::answer::Reason;
use super::client::Client;
use super::errand::Errand;
use super::fate::Outcome;
use super::outgoing::Source;
use super::passage::{Answer, Passage};
use super::peek::{Asked, asked};
use super::routes::{Destination, Host, Service, host_of};
use super::{Gateway, headers};
use crate::gateway::{Ask, Refused};

/// What a request comes to at the entrance.
pub(super) enum Admitted {
    Errand(Box<Errand>),
    Answer(Box<Response<Answer>>),
}

/// Finds out who a request is for, and lets it in there.
pub(super) async fn admit(
    client: &Arc<Client>,
    mut request: Request<()>,
    body: &mut Option<Incoming>,
) -> Result<Admitted, Reason> {
    let gateway = &client.gateway;
    let settings = &gateway.settings;
    let arrived_us = gateway.clock.now_us();
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Reason::MethodNotAllowed);
    }
    let host = host_of(&request).map_err(|_| Reason::BadHost)?;
    if !settings.keys.let_in(request.headers()) {
        return Err(Reason::Unauthorized);
    }
    let routes = gateway.routes();
    let plain = host.as_ref().map(|host| host.plain.as_str());
    let route = routes.find(plain, request.uri().path()).ok_or(Reason::NoRoute)?;
    let stripped = if route.strips_prefix { route.prefix.len() } else { 0 };
    let upgrade = match headers::upgrade(request.headers()) {
        Some(protocol) if request.version() == Version::HTTP_11 => {
            Some((protocol, hyper::upgrade::on(&mut request)))
        }
        Some(_) | None => None,
    };
    let (mut head, ()) = request.into_parts();
    let mut seen = Bytes::new();
    let mut told = Asked::default();
    let service = match &route.to {
        Destination::Service(service) => {
            if service.sends_comments && head.method == Method::POST {
                (seen, told) = peek(gateway, body.as_mut()).await?;
            }
            service
        }
        Destination::Models(models) => {
            let path = &head.uri.path()[route.prefix.len()..];
            if head.method == Method::GET && matches!(path, "/v1/models" | "/models") {
                return Ok(Admitted::Answer(Box::new(list(models.keys()))));
            }
            (seen, told) = peek(gateway, body.as_mut()).await?;
            let model =
                told.model.as_ref().filter(|_| !told.is_ambiguous).ok_or(Reason::NoModel)?;
            models.get(model).ok_or(Reason::UnknownModel)?
        }
    };
    let revision = service.pick().ok_or(Reason::NoRoute)?.clone();
    let is_grpc = head.version == Version::HTTP_2 && is_grpc(&head);
    let bytes = held_bytes(&head, &seen);
    let sends_comments = sends_comments(service, &head, &told);
    rewrite(&mut head, client, host.as_ref(), stripped, is_grpc);
    let upgrade = upgrade.map(|(protocol, on)| {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol);
        on
    });
    let door = revision.door.clone();
    let mut passage = Passage::new(gateway.clone(), revision, arrived_us);
    match door.arrive(Ask { prompt_tokens: 0, bytes }) {
        Ok(ticket) => passage.let_in(ticket),
        Err(refused) => {
            let reason = match refused {
                Refused::QueueFull => Reason::QueueFull,
                Refused::QueueBytesFull => Reason::QueueBytesFull,
            };
            return Err(refuse(passage, reason));
        }
    }
    Ok(Admitted::Errand(Box::new(Errand {
        client: client.clone(),
        passage,
        head,
        body: Source::new(seen, body.take().expect("it is taken once"), settings.idle_request),
        upgrade,
        is_grpc,
        sends_comments,
        is_sent: Arc::default(),
        queued_us: None,
    })))
}

fn refuse(mut passage: Passage, reason: Reason) -> Reason {
    passage.fate.outcome = Outcome::Refused;
    passage.fate.status = reason.status().as_u16();
    reason
}

/// Reads the beginning of a body, as far as it takes to know the model.
async fn peek(gateway: &Gateway, body: Option<&mut Incoming>) -> Result<(Bytes, Asked), Reason> {
    let body = body.expect("nobody has taken it yet");
    let settings = &gateway.settings;
    let mut seen = BytesMut::new();
    let mut parsed = 0;
    let read = async {
        while seen.len() < settings.peek_bytes {
            let Some(frame) = body.frame().await else { break };
            let frame = frame.map_err(|_| Reason::Malformed)?;
            // Trailers end the body.
            let Some(data) = frame.data_ref() else { break };
            seen.extend_from_slice(data);
            // Looked at again when there is twice as much: however small the pieces are, that stays cheap.
            if seen.len() >= 2 * parsed {
                parsed = seen.len();
                let told = asked(&seen[..seen.len().min(settings.peek_bytes)]);
                if told.model.is_some() && (told.is_stream || body.is_end_stream()) {
                    break;
                }
            }
        }
        Ok(())
    };
    let in_time = tokio::time::timeout(settings.idle_request, read).await;
    in_time.map_err(|_| Reason::SlowBody)??;
    let told = asked(&seen[..seen.len().min(settings.peek_bytes)]);
    Ok((seen.freeze(), told))
}

/// The models of a route, as OpenAI lists them.
fn list<'a>(models: impl Iterator<Item = &'a String>) -> Response<Answer> {
    let data: Vec<_> = models
        .map(|id| serde_json::json!({ "id": id, "object": "model", "created": 0, "owned_by": "tidegate" }))
        .collect();
    let list = serde_json::json!({ "object": "list", "data": data });
    let mut answer = Response::new(Answer::full(Bytes::from(list.to_string())));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn is_grpc(head: &Parts) -> bool {
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.get(..16).is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/grpc"))
}

fn sends_comments(service: &Service, head: &Parts, told: &Asked) -> bool {
    let accepts = |value: &HeaderValue| {
        let kinds = value.to_str().unwrap_or_default().split([',', ';']);
        kinds.into_iter().any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
    };
    service.sends_comments
        && (told.is_stream || head.headers.get_all(ACCEPT).into_iter().any(accepts))
}

/// What a waiting request holds: its head, and what was looked at of its body.
fn held_bytes(head: &Parts, seen: &Bytes) -> u32 {
    let lines = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let path = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    u32::try_from(lines.sum::<usize>() + path + seen.len()).unwrap_or(u32::MAX)
}

/// Makes a request's head one for a replica.
fn rewrite(head: &mut Parts, client: &Client, host: Option<&Host>, stripped: usize, is_grpc: bool) {
    let settings = &client.gateway.settings;
    let host = host.map(|host| &host.given);
    headers::to_replica(&mut head.headers, client.address, host);
    if !settings.keys.is_empty() && !settings.passes_keys {
        head.headers.remove(AUTHORIZATION);
    }
    if let Some(host) = host {
        head.headers.insert(HOST, host.clone());
    }
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = match &path[stripped.min(path.len())..] {
        rest if rest.starts_with('/') => rest.parse(),
        rest => format!("/{rest}").parse(),
    };
    let mut parts = hyper::http::uri::Parts::default();
    parts.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
    if is_grpc {
        // HTTP/2 names the host in the request's target.
        let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        parts.authority = Some(authority.unwrap_or(Authority::from_static("localhost")));
        parts.scheme = Some(Scheme::HTTP);
        head.headers.remove(HOST);
    }
    head.uri = Uri::from_parts(parts).expect("a path, or all three parts");
}
