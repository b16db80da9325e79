//! One request from its head to the head of its answer: who it is for, whether there is room, the wait for a replica, and the replica's
//! answer, from another one where the first is lost.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};

use super::answer::Reason;
use super::client::Client;
use super::early::Early;
use super::fate::Outcome;
use super::outgoing::{Source, discard};
use super::passage::{Answer, Line, Passage};
use super::peek::{Asked, asked};
use super::routes::{Destination, Host, Service, host_of};
use super::upstream::{Lease, Letter, Pool, Trouble};
use super::{ALWAYS_WAITING, Gateway, Phase, Turn, headers, tunnel};
use crate::gateway::{Ask, Refused, ReplicaHandle};

/// How often a request is sent again where a replica broke off unanswered. Refused connections do not count: they only make it wait.
const RESENT: u32 = 5;
/// How often it is looked whether the client of a waiting request, whose body nobody reads yet, is still there.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Answers one request of a client.
pub(super) async fn handle(
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let (number, in_progress) = client.begin();
    let is_trusted = number < client.fault.load(Ordering::Relaxed);
    let (head, body) = request.into_parts();
    let mut body = Some(body);
    let admitted = match is_trusted {
        true => admit(&client, Request::from_parts(head, ()), &mut body).await,
        false => Err(Reason::Malformed),
    };
    let answer = match admitted {
        Ok(Admitted::Errand(errand)) => errand.run_visibly().await,
        Ok(Admitted::Answer(answer)) => *answer,
        Err(reason) => {
            count(&client.gateway, reason);
            if let Some(body) = body.take().filter(|_| is_trusted) {
                discard(body);
            }
            reason.answer()
        }
    };
    Ok(answer.map(|body| body.during(in_progress)))
}

/// Counts a request that came to no door.
fn count(gateway: &Gateway, reason: Reason) {
    let counts = &gateway.counts;
    let count = match reason {
        Reason::NoRoute | Reason::UnknownModel => &counts.unrouted,
        Reason::Unauthorized => &counts.unauthorized,
        Reason::Malformed
        | Reason::BadHost
        | Reason::MethodNotAllowed
        | Reason::NoModel
        | Reason::SlowBody => &counts.malformed,
        // These are noted as fates.
        Reason::QueueFull
        | Reason::QueueBytesFull
        | Reason::GatewayFull
        | Reason::Ending
        | Reason::WaitExpired
        | Reason::AnswerExpired
        | Reason::ReplicaFailed => return,
    };
    count.fetch_add(1, Ordering::Relaxed);
}

enum Admitted {
    Errand(Box<Errand>),
    Answer(Box<Response<Answer>>),
}

/// A request that is let in.
struct Errand {
    client: Arc<Client>,
    passage: Passage,
    head: Parts,
    body: Arc<Source>,
    upgrade: Option<OnUpgrade>,
    is_grpc: bool,
    sends_comments: bool,
    /// It has gone to a replica, at least once.
    is_sent: Arc<AtomicBool>,
    /// How long it waited; `None`: a replica took it at once.
    queued_us: Option<u64>,
}

/// Finds out who a request is for, and lets it in there.
async fn admit(
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

/// A request is counted as waiting, in all, until this is dropped.
struct Waits(Arc<Gateway>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Errand {
    /// Runs it; where the client wants events and the wait is long, the head of the answer goes out early.
    async fn run_visibly(self: Box<Self>) -> Response<Answer> {
        if !self.sends_comments {
            return self.run().await;
        }
        let settings = &self.passage.gateway().settings;
        let (after, every) = (settings.comment_after, settings.comment_every);
        let (is_sent, is_cold) = (self.is_sent.clone(), self.passage.fate.is_cold);
        let mut run: Pin<Box<dyn Future<Output = Response<Answer>> + Send>> = Box::pin(self.run());
        match tokio::time::timeout(after, &mut run).await {
            Ok(answer) => return answer,
            // What the replica says will be known: its status should not be guessed.
            Err(_) if is_sent.load(Ordering::Relaxed) => return run.await,
            Err(_) => {}
        }
        let mut answer =
            Response::new(Answer::early(Early::new(run, tokio::time::interval(every))));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if is_cold {
            headers.insert(headers::COLD_START, HeaderValue::from_static("true"));
        }
        answer
    }

    async fn run(mut self: Box<Self>) -> Response<Answer> {
        let mut is_first = true;
        let mut resent = 0;
        let mut is_fresh = false;
        loop {
            let turn = match self.passage.ticket().try_turn() {
                Some(turn) => turn,
                None => match self.wait(is_first).await {
                    Ok(turn) => turn,
                    Err(reason) => return self.fail(reason),
                },
            };
            is_first = false;
            let Turn::Go { replica, to, waited_us } = turn else {
                return self.fail(Reason::WaitExpired);
            };
            self.passage.fate.waited_us = waited_us;
            self.is_sent.store(true, Ordering::Relaxed);
            // Boxed, so that what waits does not hold room for what comes later.
            let trouble = match Box::pin(self.send(&to, is_fresh)).await {
                Ok(Some((answer, lease))) => return self.pass_on(answer, lease),
                Ok(None) => return self.fail(Reason::AnswerExpired),
                Err(trouble) => trouble,
            };
            match self.try_again(trouble, replica, &mut resent) {
                Ok(()) => is_fresh = trouble == Trouble::WasStale,
                Err(reason) => return self.fail(reason),
            }
        }
    }

    /// Waits for a turn. It ends when the client goes away, and when the gateway does.
    async fn wait(&mut self, is_first: bool) -> Result<Turn, Reason> {
        let gateway = self.passage.gateway().clone();
        let waiting = gateway.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(gateway.clone());
        if is_first
            && waiting >= gateway.settings.waiting
            && self.passage.waiting_at_door() > ALWAYS_WAITING
        {
            return Err(Reason::GatewayFull);
        }
        let mut phase = gateway.phase.subscribe();
        let result = loop {
            tokio::select! {
                biased;
                turn = self.passage.ticket().turn() => break Ok(turn),
                _ = phase.wait_for(|phase| *phase == Phase::Over) => break Err(Reason::Ending),
                () = tokio::time::sleep(LOOK_EVERY), if self.body.is_unread() => {
                    if self.client.is_gone() {
                        break Err(Reason::SlowBody);
                    }
                }
            }
        };
        self.queued_us = Some(self.passage.since_arrival_us());
        result
    }

    /// Sends it to a replica. `None`: its time is up.
    async fn send(
        &mut self,
        to: &Arc<Pool>,
        is_fresh: bool,
    ) -> Result<Option<(Response<Incoming>, Option<Lease>)>, Trouble> {
        let gateway = self.passage.gateway().clone();
        let letter = Letter {
            head: &self.head,
            body: &self.body,
            is_grpc: self.is_grpc,
            is_fresh,
            connect_timeout: gateway.settings.connect_timeout,
        };
        let on_connect = || {
            gateway.counts.connects.fetch_add(1, Ordering::Relaxed);
        };
        tokio::select! {
            biased;
            answered = to.exchange(&letter, on_connect) => answered.map(Some),
            _ = self.passage.ticket().cut() => Ok(None),
        }
    }

    /// The replica did not begin an answer: the request waits again, if it may be sent twice.
    fn try_again(
        &mut self,
        trouble: Trouble,
        replica: ReplicaHandle,
        resent: &mut u32,
    ) -> Result<(), Reason> {
        if self.body.is_given_up() {
            return Err(Reason::SlowBody);
        }
        let refuses = match trouble {
            Trouble::Refused => true,
            Trouble::BrokeOff | Trouble::WasStale => {
                *resent += 1;
                if self.body.is_started() || *resent > RESENT {
                    return Err(Reason::ReplicaFailed);
                }
                trouble == Trouble::BrokeOff
            }
        };
        match self.passage.ticket().retry(replica, refuses) {
            true => Ok(()),
            false => Err(Reason::AnswerExpired),
        }
    }

    /// Answers in place of a replica.
    fn fail(mut self: Box<Self>, reason: Reason) -> Response<Answer> {
        let fate = &mut self.passage.fate;
        fate.outcome = match reason {
            Reason::WaitExpired | Reason::AnswerExpired => Outcome::Expired,
            Reason::ReplicaFailed => Outcome::Failed,
            Reason::GatewayFull | Reason::Ending => Outcome::Refused,
            Reason::SlowBody => Outcome::GoneAway,
            Reason::Malformed
            | Reason::BadHost
            | Reason::MethodNotAllowed
            | Reason::Unauthorized
            | Reason::NoRoute
            | Reason::NoModel
            | Reason::UnknownModel
            | Reason::QueueFull
            | Reason::QueueBytesFull => unreachable!("told before a request is let in"),
        };
        fate.status = reason.status().as_u16();
        if !self.is_sent.load(Ordering::Relaxed) {
            fate.waited_us = self.queued_us.unwrap_or(0);
        }
        if fate.outcome == Outcome::Refused {
            self.passage.gateway().counts.overloaded.fetch_add(1, Ordering::Relaxed);
        }
        self.body.discard();
        let mut answer = reason.answer();
        self.tell_of_wait(&mut answer);
        answer
    }

    /// Passes a replica's answer on.
    fn pass_on(
        mut self: Box<Self>,
        mut answer: Response<Incoming>,
        lease: Option<Lease>,
    ) -> Response<Answer> {
        self.passage.fate.status = answer.status().as_u16();
        let protocol = answer.headers().get(UPGRADE).cloned();
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return match (self.upgrade.take(), protocol) {
                (Some(of_client), Some(protocol)) => self.tunnel(answer, of_client, protocol),
                _ => self.fail(Reason::ReplicaFailed),
            };
        }
        headers::to_client(answer.headers_mut());
        *answer.version_mut() = Version::HTTP_11;
        self.tell_of_wait(&mut answer);
        let Errand { client, passage, .. } = *self;
        let (head, body) = answer.into_parts();
        let line = Line::new(&head.headers, body, passage, lease);
        client.passes(&line);
        Response::from_parts(head, Answer::passed(line))
    }

    fn tunnel(
        self: Box<Self>,
        mut answer: Response<Incoming>,
        of_client: OnUpgrade,
        protocol: HeaderValue,
    ) -> Response<Answer> {
        let of_replica = hyper::upgrade::on(&mut answer);
        headers::to_client(answer.headers_mut());
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        answer.headers_mut().insert(UPGRADE, protocol);
        let mut answer = answer.map(|_| Answer::full(Bytes::new()));
        self.tell_of_wait(&mut answer);
        let Errand { client, passage, .. } = *self;
        client.is_tunnel.store(true, Ordering::Relaxed);
        tokio::spawn(tunnel::run(client, passage, of_client, of_replica));
        answer
    }

    /// Says on the answer that, and how long, the request waited for a replica.
    fn tell_of_wait<B>(&self, answer: &mut Response<B>) {
        if self.passage.fate.is_cold {
            answer.headers_mut().insert(headers::COLD_START, HeaderValue::from_static("true"));
        }
        if let Some(queued_us) = self.queued_us {
            let took_us = self.passage.since_arrival_us();
            let ms = |us: u64| format!("{}.{:03}", us / 1_000, us % 1_000);
            let text = format!(
                "queue;dur={}, upstream;dur={}",
                ms(queued_us),
                ms(took_us.saturating_sub(queued_us))
            );
            let value = HeaderValue::from_str(&text).expect("it is plain text");
            answer.headers_mut().append("server-timing", value);
        }
    }
}
