//! One request from its head to the head of its answer: the wait for a replica, and the replica's answer, from another one where the first
//! is lost.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};

use super::admit::{Admitted, admit};
use super::answer::Reason;
use super::client::Client;
use super::early::Early;
use super::fate::Outcome;
use super::outgoing::{Source, discard};
use super::passage::{Answer, Line, Passage};
use super::upstream::{Lease, Letter, Pool, Trouble};
use super::{ALWAYS_WAITING, Gateway, Phase, Turn, headers, tunnel};
use crate::gateway::ReplicaHandle;

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

/// A request that is let in.
pub(super) struct Errand {
    pub(super) client: Arc<Client>,
    pub(super) passage: Passage,
    pub(super) head: Parts,
    pub(super) body: Arc<Source>,
    pub(super) upgrade: Option<OnUpgrade>,
    pub(super) is_grpc: bool,
    pub(super) sends_comments: bool,
    /// It has gone to a replica, at least once.
    pub(super) is_sent: Arc<AtomicBool>,
    /// How long it waited; `None`: a replica took it at once.
    pub(super) queued_us: Option<u64>,
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
