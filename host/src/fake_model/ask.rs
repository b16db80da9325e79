//! What a request asks for: the part of OpenAI's bodies that decides how long an answer takes.

use serde::Deserialize;

use super::words;

/// What is answered where a request does not say how long an answer may be.
const OUTPUT_TOKENS: u32 = 16;
/// No answer is longer.
const OUTPUT_TOKENS_AT_MOST: u32 = 1_000_000;

/// Which of the two interfaces a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `/v1/completions`
    Text,
    /// `/v1/chat/completions`
    Chat,
}

/// A request as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) form: Form,
    pub(super) prompt: String,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) streams: bool,
    pub(super) includes_usage: bool,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    prompt: Option<Prompt>,
    #[serde(default)]
    messages: Option<Vec<Message>>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Prompt {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// Reads a request's body.
///
/// # Errors
///
/// In words, when it is no JSON or lacks its prompt.
pub(super) fn read(form: Form, body: &[u8]) -> Result<Ask, String> {
    let body: Body = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let (prompt, prompt_tokens) = match form {
        Form::Text => match body.prompt.ok_or("prompt is missing")? {
            Prompt::Text(text) => counted(text),
            Prompt::Texts(texts) => counted(texts.join("\n")),
            Prompt::Tokens(tokens) => (format!("{tokens:?}"), tokens.len().max(1) as u32),
        },
        Form::Chat => {
            let messages = body.messages.ok_or("messages are missing")?;
            let texts = messages.into_iter().flat_map(|message| match message.content {
                None => Vec::new(),
                Some(Content::Text(text)) => vec![text],
                Some(Content::Parts(parts)) => parts.into_iter().map(|part| part.text).collect(),
            });
            counted(texts.collect::<Vec<_>>().join("\n"))
        }
    };
    let output_tokens = body.max_completion_tokens.or(body.max_tokens).unwrap_or(OUTPUT_TOKENS);
    Ok(Ask {
        form,
        prompt,
        prompt_tokens,
        output_tokens: output_tokens.clamp(1, OUTPUT_TOKENS_AT_MOST),
        streams: body.stream.unwrap_or(false),
        includes_usage: body.stream_options.is_some_and(|options| options.include_usage),
    })
}

fn counted(text: String) -> (String, u32) {
    let tokens = words::tokens(&text);
    (text, tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_come_in_every_form_that_clients_send() {
        for (form, body, tokens) in [
            (Form::Text, r#"{"prompt": "one two three"}"#, 3),
            (Form::Text, r#"{"prompt": ["one two", "three"]}"#, 3),
            (Form::Text, r#"{"prompt": [5, 6, 7, 8]}"#, 4),
            (Form::Text, r#"{"prompt": ""}"#, 1),
            (Form::Chat, r#"{"messages": [{"role": "user", "content": "one two"}]}"#, 2),
            (Form::Chat, r#"{"messages": [{"content": [{"type": "text", "text": "one"}]}]}"#, 1),
            (Form::Chat, r#"{"messages": [{"role": "assistant", "content": null}]}"#, 1),
        ] {
            assert_eq!(read(form, body.as_bytes()).map(|ask| ask.prompt_tokens), Ok(tokens));
        }
        for (form, body) in
            [(Form::Text, "{}"), (Form::Chat, r#"{"prompt": "x"}"#), (Form::Text, "no")]
        {
            assert!(read(form, body.as_bytes()).is_err(), "{body}");
        }
    }
}
