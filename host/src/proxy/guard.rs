//! Watches the bytes that an HTTP/1 client sends, beside the parser that reads them, for what a lenient parser settles silently and a
//! less lenient one behind it might settle differently: two lengths, a length beside a transfer coding, any coding but `chunked`, lines
//! that end without a carriage return. It answers nothing and changes nothing: it only tells which head is not to be trusted, and whether
//! a head has begun and not ended.

/// Bytes of a line's beginning that are kept: enough for what is looked for.
const KEPT: usize = 96;

/// What the next bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Between two requests.
    Between,
    Head,
    Body {
        left: u64,
    },
    ChunkSize,
    Chunk {
        left: u64,
    },
    Trailers,
    /// Nothing is looked at any more.
    Off,
}

/// Follows one connection.
#[derive(Debug)]
pub(super) struct Guard {
    part: Part,
    line: Vec<u8>,
    /// The whole length of the line so far, and its last byte.
    line_length: usize,
    last: u8,
    is_first_line: bool,
    length: Option<u64>,
    is_chunked: bool,
    /// Heads that have ended.
    heads: u64,
    /// The first head that is not to be trusted, counted from 0. All after it are not looked at.
    fault: Option<u64>,
}

impl Guard {
    pub(super) fn new() -> Guard {
        Guard {
            part: Part::Between,
            line: Vec::new(),
            line_length: 0,
            last: 0,
            is_first_line: true,
            length: None,
            is_chunked: false,
            heads: 0,
            fault: None,
        }
    }

    /// A head has begun and has not ended, or is at fault.
    pub(super) fn is_mid_head(&self) -> bool {
        self.part == Part::Head || self.fault.is_some()
    }

    /// Heads that have ended.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// The first head that is not to be trusted.
    pub(super) fn fault(&self) -> Option<u64> {
        self.fault
    }

    /// The next bytes of the client.
    pub(super) fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.part {
                Part::Off => return,
                Part::Between => {
                    if !matches!(bytes[0], b'\r' | b'\n') {
                        self.part = Part::Head;
                        (self.is_first_line, self.length, self.is_chunked) = (true, None, false);
                        continue;
                    }
                    &bytes[1..]
                }
                Part::Body { left } => {
                    let (rest, left) = skip(bytes, left);
                    self.part = if left == 0 { Part::Between } else { Part::Body { left } };
                    rest
                }
                Part::Chunk { left } => {
                    let (rest, left) = skip(bytes, left);
                    self.part = if left == 0 { Part::ChunkSize } else { Part::Chunk { left } };
                    rest
                }
                Part::Head | Part::ChunkSize | Part::Trailers => self.see_line(bytes),
            };
        }
    }

    fn see_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr(b'\n', bytes);
        let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let room = KEPT - self.line.len().min(KEPT);
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        self.line_length += piece.len();
        self.last = piece.last().copied().unwrap_or(self.last);
        if end.is_none() {
            return rest;
        }
        let is_bare = self.line_length == 0 || self.last != b'\r';
        let mut line = std::mem::take(&mut self.line);
        let length = std::mem::take(&mut self.line_length);
        self.last = 0;
        if is_bare {
            self.is_at_fault();
        } else {
            line.truncate(length - 1);
            self.end_line(&line, length - 1 > KEPT);
        }
        line.clear();
        self.line = line;
        &rest[1..]
    }

    fn end_line(&mut self, line: &[u8], is_cut: bool) {
        match self.part {
            Part::Head if line.is_empty() => {
                self.heads += 1;
                self.part = match (self.is_chunked, self.length) {
                    (true, _) => Part::ChunkSize,
                    (false, Some(left)) if left > 0 => Part::Body { left },
                    (false, _) => Part::Between,
                };
            }
            Part::Head if std::mem::take(&mut self.is_first_line) => {
                // HTTP/2 has frames and none of these questions.
                if line == b"PRI * HTTP/2.0" {
                    self.part = Part::Off;
                }
            }
            Part::Head => self.end_field(line, is_cut),
            Part::ChunkSize => {
                let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                let size = std::str::from_utf8(&line[..digits]).unwrap_or_default();
                self.part = match u64::from_str_radix(size, 16) {
                    Ok(0) => Part::Trailers,
                    // The chunk and the line's end after it.
                    Ok(size) => Part::Chunk { left: size.saturating_add(2) },
                    // The parser refuses it.
                    Err(_) => Part::Off,
                };
            }
            Part::Trailers if line.is_empty() => self.part = Part::Between,
            Part::Trailers | Part::Between | Part::Body { .. } | Part::Chunk { .. } | Part::Off => {
            }
        }
    }

    fn end_field(&mut self, line: &[u8], is_cut: bool) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let name = line[..colon].trim_ascii();
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits =
                std::str::from_utf8(value).ok().filter(|_| value.iter().all(u8::is_ascii_digit));
            let length = digits.and_then(|digits| digits.parse().ok());
            if length.is_none() || self.length.is_some() || self.is_chunked || is_cut {
                return self.is_at_fault();
            }
            self.length = length;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_chunked = value.eq_ignore_ascii_case(b"chunked");
            if !is_chunked || self.is_chunked || self.length.is_some() || is_cut {
                return self.is_at_fault();
            }
            self.is_chunked = true;
        } else if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            self.is_at_fault();
        }
    }

    fn is_at_fault(&mut self) {
        // Where it is in a chunked body, that request has been handed on, and the next is not to be trusted.
        self.fault = Some(self.heads);
        self.part = Part::Off;
    }
}

fn skip(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (&bytes[here..], left - here as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heads that ended, the fault, and whether a head is unfinished.
    type Seen = (u64, Option<u64>, bool);

    fn seen(bytes: &[u8], by: usize) -> Seen {
        let mut guard = Guard::new();
        bytes.chunks(by).for_each(|piece| guard.see(piece));
        (guard.heads(), guard.fault(), guard.is_mid_head())
    }

    #[test]
    fn heads_are_followed_through_bodies_and_what_is_ambiguous_is_told() {
        let long = format!("POST / HTTP/1.1\r\nContent-Length: {}5\r\n\r\nhello", "0".repeat(200));
        let cases: Vec<(&str, Seen)> = vec![
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", (1, None, false)),
            ("\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHo", (1, None, true)),
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe\nloGET / HTTP/1.1\r\n\r\n",
                (2, None, false),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhe\nlo\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                (2, None, false),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                (0, Some(0), true),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n",
                (0, Some(0), true),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
                (0, Some(0), true),
            ),
            ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello", (0, Some(0), true)),
            ("POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello", (0, Some(0), true)),
            (&long, (0, Some(0), true)),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", (0, Some(0), true)),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", (0, Some(0), true)),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\n",
                (0, Some(0), true),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                (0, Some(0), true),
            ),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", (0, Some(0), true)),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", (0, Some(0), true)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", (0, Some(0), true)),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", (0, Some(0), true)),
            ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nA: b\n\r\n", (1, Some(1), true)),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n",
                (1, Some(1), true),
            ),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\n\n", (0, None, false)),
        ];
        for (bytes, expected) in cases {
            for by in [1, 2, 7, 1_000] {
                assert_eq!(seen(bytes.as_bytes(), by), expected, "{bytes:?} by {by}");
            }
        }
    }
}
