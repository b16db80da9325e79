//! What the gateway itself answers: fixed bodies in the form of OpenAI's errors. They name no address and no service.

use bytes::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use super::passage::Answer;

/// Says which of the gateway's reasons an answer has.
pub const REASON: HeaderName = HeaderName::from_static("tidegate-reason");

/// Why the gateway answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The request is not well formed, or could be read in two ways.
    Malformed,
    /// Its host names are missing, many, or contradict each other.
    BadHost,
    /// A method that a gateway does not pass on.
    MethodNotAllowed,
    /// It shows no valid key.
    Unauthorized,
    /// No service is there.
    NoRoute,
    /// The body does not tell the model, as far as it is looked at.
    NoModel,
    /// No such model.
    UnknownModel,
    /// Too many requests wait for the service.
    QueueFull,
    /// The requests that wait for the service hold too many bytes.
    QueueBytesFull,
    /// Too many requests wait in all.
    GatewayFull,
    /// The gateway is about to end.
    Ending,
    /// The deadline came while it waited for a replica.
    WaitExpired,
    /// The deadline came before the replica began an answer.
    AnswerExpired,
    /// The replica broke off, and the request cannot be sent again.
    ReplicaFailed,
    /// The client stopped in the middle of the body.
    SlowBody,
}

impl Reason {
    /// Status, OpenAI's `type`, OpenAI's `code` (ours too, in [`REASON`]), and what is told.
    fn parts(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        const INVALID: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        const BUSY: &str = "overloaded_error";
        match self {
            Reason::Malformed => (
                StatusCode::BAD_REQUEST,
                INVALID,
                "malformed_request",
                "The request is not well formed.",
            ),
            Reason::BadHost => (
                StatusCode::BAD_REQUEST,
                INVALID,
                "bad_host",
                "The request must name exactly one host.",
            ),
            Reason::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                INVALID,
                "method_not_allowed",
                "This method is not passed on.",
            ),
            Reason::Unauthorized => {
                (StatusCode::UNAUTHORIZED, INVALID, "invalid_api_key", "A valid API key is needed.")
            }
            Reason::NoRoute => (
                StatusCode::NOT_FOUND,
                INVALID,
                "no_route",
                "Nothing is served at this host and path.",
            ),
            Reason::NoModel => (
                StatusCode::BAD_REQUEST,
                INVALID,
                "model_missing",
                "The body must be a JSON object that names one `model` near its beginning.",
            ),
            Reason::UnknownModel => (
                StatusCode::NOT_FOUND,
                INVALID,
                "model_not_found",
                "This model is not served here.",
            ),
            Reason::QueueFull => (
                StatusCode::SERVICE_UNAVAILABLE,
                BUSY,
                "queue_full",
                "Too many requests wait for this service.",
            ),
            Reason::QueueBytesFull => (
                StatusCode::SERVICE_UNAVAILABLE,
                BUSY,
                "queue_bytes_full",
                "The requests that wait for this service hold too many bytes.",
            ),
            Reason::GatewayFull => {
                (StatusCode::SERVICE_UNAVAILABLE, BUSY, "gateway_full", "Too many requests wait.")
            }
            Reason::Ending => {
                (StatusCode::SERVICE_UNAVAILABLE, BUSY, "ending", "The gateway is being stopped.")
            }
            Reason::WaitExpired => (
                StatusCode::GATEWAY_TIMEOUT,
                SERVER,
                "wait_expired",
                "No replica was ready before the request's deadline.",
            ),
            Reason::AnswerExpired => (
                StatusCode::GATEWAY_TIMEOUT,
                SERVER,
                "answer_expired",
                "The replica did not answer before the request's deadline.",
            ),
            Reason::ReplicaFailed => (
                StatusCode::BAD_GATEWAY,
                SERVER,
                "replica_failed",
                "The replica broke off without an answer.",
            ),
            Reason::SlowBody => (
                StatusCode::REQUEST_TIMEOUT,
                INVALID,
                "slow_body",
                "The request's body stopped before its end.",
            ),
        }
    }

    /// The status that goes with it.
    pub fn status(self) -> StatusCode {
        self.parts().0
    }

    /// The error as OpenAI writes it.
    pub fn body(self) -> String {
        let (_, kind, code, message) = self.parts();
        format!(
            "{{\"error\":{{\"message\":\"{message}\",\"type\":\"{kind}\",\"param\":null,\"code\":\"{code}\"}}}}"
        )
    }

    /// The whole answer.
    pub(super) fn answer(self) -> Response<Answer> {
        let (status, _, code, _) = self.parts();
        let mut answer = Response::new(Answer::full(Bytes::from(self.body())));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(REASON, HeaderValue::from_static(code));
        match self {
            Reason::Malformed | Reason::BadHost | Reason::SlowBody => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Reason::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Reason::QueueFull | Reason::QueueBytesFull | Reason::GatewayFull => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Reason::Ending => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Reason::MethodNotAllowed
            | Reason::NoRoute
            | Reason::NoModel
            | Reason::UnknownModel
            | Reason::WaitExpired
            | Reason::AnswerExpired
            | Reason::ReplicaFailed => {}
        }
        answer
    }
}
