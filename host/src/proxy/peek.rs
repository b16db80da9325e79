//! What the beginning of an OpenAI request's body tells: which model it is for, and whether the answer shall be a stream. The body may
//! be cut off anywhere.

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The value of `model`.
    pub(super) model: Option<String>,
    /// `stream` is true.
    pub(super) is_stream: bool,
    /// `model` is given more than once: others may read it differently.
    pub(super) is_ambiguous: bool,
}

/// Reads the fields of the outermost object, as far as the body goes. What is not JSON has none.
pub(super) fn asked(body: &[u8]) -> Asked {
    let mut asked = Asked::default();
    let mut text = Text { bytes: body, at: 0 };
    // Whatever ends early leaves what was found before.
    let _ = text.object(&mut asked);
    asked
}

struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Text<'_> {
    fn object(&mut self, asked: &mut Asked) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            let start = self.space()?;
            let is_text = self.bytes[start] == b'"';
            match key.as_str() {
                "model" if is_text => {
                    let model = self.string()?;
                    asked.is_ambiguous |= asked.model.replace(model).is_some();
                }
                "stream" => {
                    self.value()?;
                    asked.is_stream = self.bytes[start..self.at].trim_ascii() == b"true";
                }
                _ => self.value()?,
            }
            self.expect(b',')?;
        }
    }

    /// Where the next byte is that is no white space.
    fn space(&mut self) -> Option<usize> {
        let rest = self.bytes.get(self.at..)?;
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        Some(self.at)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        let at = self.space()?;
        self.at += 1;
        (self.bytes[at] == byte).then_some(())
    }

    /// A whole string, as it is meant.
    fn string(&mut self) -> Option<String> {
        let start = self.space()?;
        self.skip_string()?;
        serde_json::from_slice(&self.bytes[start..self.at]).ok()
    }

    fn skip_string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            let at = self.at + memchr::memchr2(b'"', b'\\', self.bytes.get(self.at..)?)?;
            let is_end = self.bytes[at] == b'"';
            self.at = at + if is_end { 1 } else { 2 };
            if is_end {
                return Some(());
            }
        }
    }

    /// Steps over a value of any kind.
    fn value(&mut self) -> Option<()> {
        let mut depth = 0u32;
        loop {
            let at = self.space()?;
            match self.bytes[at] {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                _ => {
                    let rest = &self.bytes[at..];
                    let ends = |byte: &u8| {
                        matches!(byte, b',' | b':' | b']' | b'}' | b'"' | b'{' | b'[')
                            || byte.is_ascii_whitespace()
                    };
                    // Without an end, the number or word may go on beyond what is here.
                    let length = rest.iter().position(ends)?;
                    if length == 0 {
                        return None;
                    }
                    self.at += length;
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(body: &str) -> (Option<String>, bool, bool) {
        let Asked { model, is_stream, is_ambiguous } = asked(body.as_bytes());
        (model, is_stream, is_ambiguous)
    }

    #[test]
    fn model_and_stream_are_found_at_the_outermost_level_only() {
        let cases = [
            (r#"{"model":"a","stream":true}"#, Some("a"), true, false),
            (" {\n \"stream\" : true ,\n\"model\": \"a/b:c\" }", Some("a/b:c"), true, false),
            (
                r#"{"messages":[{"model":"no","content":"},\"model\":\"no\""}],"model":"yes"}"#,
                Some("yes"),
                false,
                false,
            ),
            (
                r#"{"metadata":{"model":"no","stream":true},"n":[1,[2,{}]],"model":"yes","stream":false}"#,
                Some("yes"),
                false,
                false,
            ),
            (r#"{"mod\u0065l":"a"}"#, Some("a"), false, false),
            (r#"{"model":"a","model":"b"}"#, Some("b"), false, true),
            (r#"{"model":7}"#, None, false, false),
            (r#"{"prompt":"no model"}"#, None, false, false),
            (r#"{"model":"cut o"#, None, false, false),
            (r#"{"model":"a","messages":[{"content":"cut o"#, Some("a"), false, false),
            (r#"["model","a"]"#, None, false, false),
            ("", None, false, false),
            ("{", None, false, false),
            ("model=a", None, false, false),
            (r#"{"a"]"model":"b"}"#, None, false, false),
        ];
        for (body, model, is_stream, is_ambiguous) in cases {
            assert_eq!(told(body), (model.map(str::to_owned), is_stream, is_ambiguous), "{body}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_makes_it_panic_or_hang(body in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ atrue1model\n".to_vec()), 0..80)) {
            asked(&body);
        }

        #[test]
        fn what_is_found_in_a_part_is_found_in_the_whole(cut in 0usize..90) {
            let body = r#"{"n":1,"messages":[{"role":"user","content":"hi"}],"model":"llama","stream":true,"seed":3}"#;
            let (part, whole) = (asked(&body.as_bytes()[..cut.min(body.len())]), asked(body.as_bytes()));
            prop_assert!(part.model.is_none() || part.model == whole.model);
            prop_assert!(!part.is_stream || whole.is_stream);
        }
    }
}
