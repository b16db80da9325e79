//! Answers as OpenAI's API has them: whole, or as server-sent events with a chunk for each token. An answer's body makes its bytes when
//! they are asked for, so a client that reads slowly holds nothing but its place.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde_json::json;

use super::ask::{Ask, Form};
use super::batching::Place;
use super::words::Text;

/// Chunks that are made at once for a client that has fallen behind.
const CHUNKS_AT_ONCE: u32 = 64;

/// The body of any answer.
pub(super) enum AnswerBody {
    /// All of it; `None` once it was taken.
    Whole(Option<Bytes>),
    /// Token by token.
    Stream(Box<TokenStream>),
}

/// A stream of tokens.
pub(super) struct TokenStream {
    place: Place,
    model: Arc<str>,
    text: Text,
    ask: Ask,
    created_s: u64,
    sent: u32,
    is_over: bool,
}

/// What an answer is made of beside its tokens.
pub(super) struct Heading<'a> {
    pub(super) model: &'a str,
    pub(super) request: u64,
    /// Unix seconds.
    pub(super) created_s: u64,
}

impl AnswerBody {
    pub(super) fn whole(text: impl Into<Bytes>) -> AnswerBody {
        AnswerBody::Whole(Some(text.into()))
    }

    pub(super) fn stream(
        place: Place,
        model: Arc<str>,
        text: Text,
        ask: Ask,
        created_s: u64,
    ) -> AnswerBody {
        let stream = TokenStream { place, model, text, ask, created_s, sent: 0, is_over: false };
        AnswerBody::Stream(Box::new(stream))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            AnswerBody::Whole(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            AnswerBody::Stream(stream) => stream.poll(context).map(|bytes| bytes.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Whole(bytes) => bytes.is_none(),
            AnswerBody::Stream(stream) => stream.is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            AnswerBody::Stream(_) => SizeHint::default(),
        }
    }
}

impl TokenStream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let (written, ends) = ready!(self.place.poll_written(context, self.sent));
        let until = written.min(self.sent + CHUNKS_AT_ONCE);
        let mut events = String::new();
        for nth in self.sent..until {
            self.chunk(&mut events, nth, ends && nth + 1 == written);
        }
        self.sent = until;
        if ends && self.sent == written {
            self.is_over = true;
            if self.ask.includes_usage {
                self.usage(&mut events);
            }
            events.push_str("data: [DONE]\n\n");
        }
        Poll::Ready(Some(Frame::data(events.into())))
    }

    fn chunk(&self, events: &mut String, nth: u32, is_last: bool) {
        let (blank, word) = self.text.word(nth);
        self.head(events);
        let _ = match self.ask.form {
            Form::Text => write!(events, r#"{{"index":0,"text":"{blank}{word}","logprobs":null"#),
            Form::Chat => {
                let role = if nth == 0 { r#""role":"assistant","# } else { "" };
                write!(
                    events,
                    r#"{{"index":0,"delta":{{{role}"content":"{blank}{word}"}},"logprobs":null"#
                )
            }
        };
        let reason = if is_last { r#""length""# } else { "null" };
        let _ = write!(events, r#","finish_reason":{reason}}}]}}"#);
        events.push_str("\n\n");
    }

    /// The chunk that ends a stream whose client wants its count of tokens.
    fn usage(&self, events: &mut String) {
        self.head(events);
        let usage = usage(self.ask.prompt_tokens, self.sent);
        let _ = write!(events, "],\"usage\":{usage}}}\n\n");
    }

    /// Up to the list of choices.
    fn head(&self, events: &mut String) {
        let (prefix, object) = match self.ask.form {
            Form::Text => ("fake-cmpl", "text_completion"),
            Form::Chat => ("fake-chatcmpl", "chat.completion.chunk"),
        };
        let (request, created_s) = (self.place.request(), self.created_s);
        let model = serde_json::Value::from(&*self.model);
        let _ = write!(
            events,
            r#"data: {{"id":"{prefix}-{request}","object":"{object}","created":{created_s},"model":{model},"system_fingerprint":"fake","choices":["#
        );
    }
}

/// A whole answer of `written` tokens.
pub(super) fn whole(heading: &Heading<'_>, ask: &Ask, text: Text, written: u32) -> String {
    let text = text.whole(written);
    let (prefix, object, choice) = match ask.form {
        Form::Text => (
            "fake-cmpl",
            "text_completion",
            json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": "length" }),
        ),
        Form::Chat => (
            "fake-chatcmpl",
            "chat.completion",
            json!({ "index": 0, "message": { "role": "assistant", "content": text }, "logprobs": null, "finish_reason": "length" }),
        ),
    };
    json!({
        "id": format!("{prefix}-{}", heading.request),
        "object": object,
        "created": heading.created_s,
        "model": heading.model,
        "system_fingerprint": "fake",
        "choices": [choice],
        "usage": usage(ask.prompt_tokens, written),
    })
    .to_string()
}

/// An error as OpenAI's API has it.
pub(super) fn error(kind: &str, message: &str) -> String {
    json!({ "error": { "message": format!("fake model: {message}"), "type": kind, "param": null, "code": null } })
        .to_string()
}

fn usage(prompt: u32, written: u32) -> serde_json::Value {
    json!({ "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": u64::from(prompt) + u64::from(written) })
}
