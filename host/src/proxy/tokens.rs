//! Counts the tokens of an answer as it passes by, from what OpenAI's servers write: `usage` where there is one, else the number of
//! events of a stream.

use memchr::memmem;

/// Longest thing looked for, with the number behind it.
const CARRY: usize = 48;
const COMPLETION: &[u8] = b"\"completion_tokens\"";
const PROMPT: &[u8] = b"\"prompt_tokens\"";
const EVENT: &[u8] = b"\ndata:";
const DONE: &[u8] = b"\ndata: [DONE]";

/// Tokens seen so far.
#[derive(Debug)]
pub(super) struct Tally {
    /// Events count: it is an event stream.
    is_stream: bool,
    /// The end of what was seen: what is looked for may lie across two chunks. Begins with a line's end, since the first event may
    /// be the first line.
    tail: Vec<u8>,
    events: u32,
    completion: Option<u32>,
    prompt: Option<u32>,
}

impl Tally {
    /// A tally for an answer of that content type; `None` where nothing can be told.
    pub(super) fn of(content_type: Option<&[u8]>) -> Option<Tally> {
        let kind = content_type?.split(|byte| *byte == b';').next()?.trim_ascii();
        let is_stream = kind.eq_ignore_ascii_case(b"text/event-stream");
        (is_stream || kind.eq_ignore_ascii_case(b"application/json")).then(|| Tally {
            is_stream,
            tail: b"\n".to_vec(),
            events: 0,
            completion: None,
            prompt: None,
        })
    }

    /// The next bytes of the answer.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        // Where two chunks meet: enough of both to see what lies across.
        let old = self.tail.len();
        self.tail.extend_from_slice(&bytes[..bytes.len().min(CARRY)]);
        let seam = std::mem::take(&mut self.tail);
        self.scan(&seam, old, 0);
        self.scan(bytes, 0, CARRY);
        if bytes.len() >= CARRY {
            self.tail.extend_from_slice(&bytes[bytes.len() - CARRY..]);
        } else {
            self.tail.extend_from_slice(&seam[seam.len().saturating_sub(CARRY)..]);
        }
    }

    /// Counts events whose last byte is at `counted` or later, and before `until` where that is not 0.
    fn scan(&mut self, bytes: &[u8], seen: usize, skipped: usize) {
        if self.is_stream {
            let last = |at: usize| at + EVENT.len() - 1;
            let in_seam = |at: usize| last(at) >= seen && last(at) < seen + CARRY;
            let is_new =
                |at: &usize| if skipped == 0 { in_seam(*at) } else { last(*at) >= skipped };
            let new = memmem::find_iter(bytes, EVENT).filter(is_new).count();
            self.events = self.events.saturating_add(new as u32);
        }
        // A number that is cut off by the end of a chunk is read again in full across the seam.
        if let Some(tokens) = last_number(bytes, COMPLETION) {
            self.completion = Some(tokens);
        }
        if let Some(tokens) = last_number(bytes, PROMPT) {
            self.prompt = Some(tokens);
        }
    }

    /// Tokens of the prompt; 0 where the answer did not tell.
    pub(super) fn prompt_tokens(&self) -> u32 {
        self.prompt.unwrap_or(0)
    }

    /// Tokens of the answer: as it told itself, else the events of a stream without the one that ends it.
    pub(super) fn output_tokens(&self) -> u32 {
        let is_done = memmem::find(&self.tail, DONE).is_some();
        self.completion.unwrap_or(self.events.saturating_sub(u32::from(is_done)))
    }
}

/// The number that is last given under that key.
fn last_number(bytes: &[u8], key: &[u8]) -> Option<u32> {
    let rest = &bytes[memmem::rfind(bytes, key)? + key.len()..];
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(kind: &str, answer: &str, chunk: usize) -> (u32, u32) {
        let mut tally = Tally::of(Some(kind.as_bytes())).expect("it can be told");
        answer.as_bytes().chunks(chunk).for_each(|chunk| tally.see(chunk));
        (tally.prompt_tokens(), tally.output_tokens())
    }

    #[test]
    fn usage_and_events_are_counted_however_the_answer_is_cut() {
        let event = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
        let plain = format!("{}data: [DONE]\n\n", event.repeat(7));
        let told = format!(
            "{}data: {{\"usage\": {{\"prompt_tokens\": 31, \"completion_tokens\" : 1207}}}}\n\ndata: [DONE]\n\n",
            event.repeat(3)
        );
        let json = r#"{"choices":[{"text":"say \"completion_tokens\": 5"}],"usage":{"prompt_tokens":12,"completion_tokens":345,"total_tokens":357}}"#;
        let cases = [
            ("text/event-stream; charset=utf-8", plain.as_str(), (0, 7)),
            ("text/event-stream", told.as_str(), (31, 1207)),
            ("application/json", json, (12, 345)),
            ("application/json", r#"{"object":"list"}"#, (0, 0)),
            ("text/event-stream", ": waiting\n\ndata: a\n\ndata: b\n\n", (0, 2)),
            ("text/event-stream", "", (0, 0)),
        ];
        for (kind, answer, expected) in cases {
            for chunk in [1, 2, 3, 7, 30, 47, 48, 49, 64, 100, 10_000] {
                assert_eq!(counted(kind, answer, chunk), expected, "{answer} by {chunk}");
            }
        }
    }

    #[test]
    fn other_answers_are_left_alone() {
        assert!(Tally::of(None).is_none());
        assert!(Tally::of(Some(b"application/grpc")).is_none());
        assert!(Tally::of(Some(b"text/html")).is_none());
    }
}
