//! What children print: line by line into a file of limited size, and the last lines in memory, for reasons. It never stops reading,
//! whatever becomes of the file.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::backend::local::logs::{LogFile, Stream, record};

/// A line that is longer is written in parts.
const LINE_AT_MOST: usize = 16 << 10;
/// Lines kept in memory for each stream, and how long each may be. Bytes.
const LINES_KEPT: usize = 20;
const KEPT_AT_MOST: usize = 1 << 10;
/// What is read at once. Bytes.
const CHUNK: usize = 32 << 10;

/// The last lines of a stream, fit to be printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(&line[..line.len().min(KEPT_AT_MOST)]);
        let line = crate::backend::local::logs::printable(line.trim_end());
        if line.is_empty() {
            return;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// A file that several streams write to.
pub(super) type Log = Arc<Mutex<LogFile>>;

/// Reads a stream to its end.
pub(super) async fn capture(
    mut from: impl AsyncRead + Unpin,
    stream: Stream,
    tail: Tail,
    log: Log,
) {
    let mut lines = Lines::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        let mut text = Vec::new();
        let mut keep = |line: &[u8], is_whole: bool| {
            tail.push(line);
            record(&mut text, stream, line, is_whole);
        };
        if read == 0 {
            lines.end(&mut keep);
        } else {
            lines.take(&chunk[..read], &mut keep);
        }
        if !text.is_empty() {
            // Disks can be slow, and this thread serves others; meanwhile the child waits, and nobody else.
            let log = log.clone();
            let write = move || log.lock().unwrap_or_else(PoisonError::into_inner).write(&text);
            if tokio::task::spawn_blocking(write).await.is_err() {
                return;
            }
        }
        if read == 0 {
            return;
        }
    }
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Gives `keep` each line that ends here, and parts of those that are too long.
    fn take(&mut self, mut bytes: &[u8], keep: &mut impl FnMut(&[u8], bool)) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let room = LINE_AT_MOST - self.begun.len();
            let length = end.unwrap_or(bytes.len());
            if length > room {
                self.begun.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
                keep(&self.begun, false);
                self.begun.clear();
                continue;
            }
            self.begun.extend_from_slice(&bytes[..length]);
            bytes = bytes.get(length + 1..).unwrap_or_default();
            if end.is_some() {
                keep(&self.begun, true);
                self.begun.clear();
            }
        }
    }

    fn end(&mut self, keep: &mut impl FnMut(&[u8], bool)) {
        if !self.begun.is_empty() {
            keep(&self.begun, true);
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Lines::default();
        let mut kept = Vec::new();
        let mut keep = |line: &[u8], is_whole: bool| kept.push((line.to_vec(), is_whole));
        chunks.iter().for_each(|chunk| lines.take(chunk, &mut keep));
        lines.end(&mut keep);
        kept
    }

    #[test]
    fn lines_are_cut_wherever_chunks_end() {
        let whole = |text: &str| (text.as_bytes().to_vec(), true);
        assert_eq!(cut(&[b"a\nb", b"c\n\nd"]), [whole("a"), whole("bc"), whole(""), whole("d")]);
        assert_eq!(cut(&[b"", b"\n"]), [whole("")]);
        let long = vec![b'x'; 2 * LINE_AT_MOST + 1];
        let lengths: Vec<_> =
            cut(&[&long]).iter().map(|(line, whole)| (line.len(), *whole)).collect();
        assert_eq!(lengths, [(LINE_AT_MOST, false), (LINE_AT_MOST, false), (1, true)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_added(bytes in prop::collection::vec(prop::sample::select(vec![b'a', b'\n', 0xff]), 0..200), at in 0usize..200) {
            let at = at.min(bytes.len());
            let mut joined: Vec<u8> = Vec::new();
            for (line, _) in cut(&[&bytes[..at], &bytes[at..]]) {
                joined.extend(line);
                joined.push(b'\n');
            }
            let mut expected = bytes.clone();
            if expected.last().is_some_and(|last| *last != b'\n') {
                expected.push(b'\n');
            }
            prop_assert_eq!(joined, expected);
        }
    }

    #[test]
    fn the_last_lines_are_kept_short_and_without_what_a_terminal_would_obey() {
        let tail = Tail::default();
        (0..30).for_each(|nth| tail.push(format!("line {nth}\u{1b}[2J\r").as_bytes()));
        tail.push(&[b'y'; 5_000]);
        tail.push(b"   ");
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES_KEPT, "line 11\u{fffd}[2J"));
        assert_eq!(lines.last().map(String::len), Some(KEPT_AT_MOST));
    }
}
