//! Lines of access logs: common, combined, with a virtual host before them, or with the time a request took behind them.

use std::borrow::Cow;

/// One line, in parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AccessLine<'a> {
    /// The virtual host, where the line begins with one.
    pub(super) host: Option<&'a str>,
    pub(super) time: &'a str,
    /// `GET /v1/models/llama/infer HTTP/1.1`.
    pub(super) request: &'a str,
    pub(super) status: &'a str,
    /// Seconds, as nginx writes its `$request_time`.
    pub(super) request_time: Option<&'a str>,
}

impl<'a> AccessLine<'a> {
    /// Takes a line apart; nothing if it is none.
    pub(super) fn of(line: &'a str) -> Option<AccessLine<'a>> {
        let (client, rest) = line.split_once(" [")?;
        let (time, rest) = rest.split_once(']')?;
        let words: Vec<&str> = client.split_ascii_whitespace().collect();
        // Host, client, identity and user; the first is the virtual host's.
        let host = (words.len() >= 4).then(|| words[0].split(':').next().unwrap_or(words[0]));
        let (request, rest) = quoted(rest.trim_start())?;
        let mut words = rest.trim_start().splitn(3, ' ');
        let status =
            words.next().filter(|status| status.len() == 3 && status.parse::<u16>().is_ok())?;
        let bytes = words.next()?;
        if bytes != "-" && bytes.parse::<u64>().is_err() {
            return None;
        }
        let request_time = request_time(words.next().unwrap_or_default());
        Some(AccessLine { host, time, request, status, request_time })
    }

    /// A field by its name: `time`, `host`, `method`, `path`, `path.2` (its second part), `status`, `request_time`.
    pub(super) fn field(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut words = self.request.split(' ');
        let method = words.next();
        let path = words.next().map(|path| path.split(['?', '#']).next().unwrap_or(path));
        let found = match name {
            "time" => Some(self.time),
            "host" => self.host,
            "method" => method,
            "path" => path,
            "status" => Some(self.status),
            "request_time" => self.request_time,
            _ => {
                let nth: usize = name.strip_prefix("path.")?.parse().ok()?;
                let mut parts = path?.split('/').filter(|part| !part.is_empty());
                parts.nth(nth.checked_sub(1)?)
            }
        };
        found.map(Cow::Borrowed)
    }
}

/// Text in quotes at the start, with `\"` within it, and what is behind it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return Some((&text[..at], &text[at + 1..])),
            _ => at += 1,
        }
    }
    None
}

/// What stands behind the two quoted texts of a combined line, or the status of a common one: seconds with decimals, bare or as
/// `rt=0.123`.
fn request_time(mut rest: &str) -> Option<&str> {
    rest = rest.trim_start();
    while let Some((_, behind)) = quoted(rest) {
        rest = behind.trim_start();
    }
    let mut words = rest.split_ascii_whitespace();
    words.find_map(|word| {
        let value = match word.split_once('=') {
            Some(("rt" | "request_time", value)) => value.trim_matches('"'),
            Some(_) => return None,
            None => word,
        };
        let is_seconds = value.contains('.')
            && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && value.parse::<f64>().is_ok();
        is_seconds.then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind_are_taken_apart() {
        for (line, expected) in [
            (
                r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
                Some((None, "/apache_pb.gif", "200", None)),
            ),
            (
                r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "POST /v1/models/llama/infer?x=1 HTTP/1.1" 503 - "-" "curl/8" 0.125"#,
                Some((None, "/v1/models/llama/infer", "503", Some("0.125"))),
            ),
            (
                r#"llama.example.org:443 10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a HTTP/1.1" 200 5 "-" "say \"hi\" [x]""#,
                Some((Some("llama.example.org"), "/a", "200", None)),
            ),
            (
                r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a HTTP/1.1" 200 5 "-" "x" rt=1.5 uct="0.0""#,
                Some((None, "/a", "200", Some("1.5"))),
            ),
            // Apache's %D, in microseconds, has no point; it is not guessed at.
            (
                r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a HTTP/1.1" 200 5 "-" "x" 1500"#,
                Some((None, "/a", "200", None)),
            ),
            (r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a HTTP/1.1 200 5"#, None),
            (r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a" OK 5"#, None),
            (r#"10.0.0.1 - - 10/Oct/2000:13:55:36 "GET /a" 200 5"#, None),
            ("2024/01/01 00:00:00 [error] 7#7: *1 upstream timed out", None),
            (r#"a [b] "\"#, None),
            ("", None),
        ] {
            let found = AccessLine::of(line);
            let path = found.as_ref().and_then(|line| line.field("path"));
            let found = found.as_ref().map(|line| {
                (line.host, path.as_deref().unwrap_or_default(), line.status, line.request_time)
            });
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn parts_of_the_path_count_from_one() {
        let line =
            AccessLine { request: "GET /v1/models/llama?x HTTP/1.1", ..AccessLine::default() };
        for (name, expected) in [
            ("path.1", Some("v1")),
            ("path.3", Some("llama")),
            ("path.4", None),
            ("path.0", None),
            ("x", None),
        ] {
            assert_eq!(line.field(name).as_deref(), expected, "{name}");
        }
    }
}
