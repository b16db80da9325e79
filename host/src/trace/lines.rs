//! Lines of a file, plain or gzip, in a buffer that does not grow with the file.
//!
//! Traces have no quotes and no line breaks in fields, so a line ends where the next line feed is. That keeps a stray quote or
//! a binary file from being read into memory whole, as a general reader of CSV would.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::TraceError;

const START_BYTES: usize = 64 << 10;
/// A header of ten thousand rate columns fits.
const LIMIT_BYTES: usize = 1 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// A file, line by line. Empty lines are left out, and line ends too, `\r\n` as well.
pub(super) struct Lines {
    path: Arc<str>,
    input: Input,
    /// What was read: `taken` bytes are done with, those up to `filled` wait.
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    /// Of the line that was given last, from 1.
    line: u64,
}

enum Input {
    Plain(BufReader<File>),
    Gzip(MultiGzDecoder<BufReader<File>>),
}

impl Lines {
    pub(super) fn open(path: &Path, name: &Arc<str>) -> Result<Lines, TraceError> {
        let unreadable = |source| TraceError::Read { path: name.to_string(), source };
        if &**name == "-" {
            return Err(TraceError::NotAFile { path: "standard input".to_owned() });
        }
        let file = File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(TraceError::NotAFile { path: name.to_string() });
        }
        let mut file = BufReader::with_capacity(START_BYTES, file);
        let is_gzip = file.fill_buf().map_err(unreadable)?.starts_with(&GZIP_MAGIC);
        Ok(Lines {
            path: Arc::clone(name),
            input: match is_gzip {
                true => Input::Gzip(MultiGzDecoder::new(file)),
                false => Input::Plain(file),
            },
            buffer: vec![0; START_BYTES],
            taken: 0,
            filled: 0,
            line: 0,
        })
    }

    /// The next line that is not empty, with its number; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, TraceError> {
        loop {
            let Some((from, to)) = self.next_range()? else { return Ok(None) };
            if from < to {
                return Ok(Some((self.line, &self.buffer[from..to])));
            }
        }
    }

    /// Where in the buffer the next line stands.
    fn next_range(&mut self) -> Result<Option<(usize, usize)>, TraceError> {
        let mut searched = self.taken;
        loop {
            if let Some(length) =
                self.buffer[searched..self.filled].iter().position(|&byte| byte == b'\n')
            {
                let (from, end) = (self.taken, searched + length);
                self.taken = end + 1;
                return Ok(Some(self.trimmed(from, end)));
            }
            // Reading moves what waits to the front of the buffer.
            let waiting = self.filled - self.taken;
            if self.read_more()? == 0 {
                if waiting == 0 {
                    return Ok(None);
                }
                let (from, end) = (self.taken, self.filled);
                self.taken = end;
                return Ok(Some(self.trimmed(from, end)));
            }
            searched = self.taken + waiting;
        }
    }

    fn trimmed(&mut self, mut from: usize, mut end: usize) -> (usize, usize) {
        self.line += 1;
        if self.buffer[from..end].ends_with(b"\r") {
            end -= 1;
        }
        if self.line == 1 && self.buffer[from..end].starts_with(BYTE_ORDER_MARK) {
            from += BYTE_ORDER_MARK.len();
        }
        (from, end)
    }

    fn read_more(&mut self) -> Result<usize, TraceError> {
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.filled == self.buffer.len() {
            if self.filled >= LIMIT_BYTES {
                return Err(TraceError::LongLine {
                    path: self.path.to_string(),
                    line: self.line + 1,
                    limit_bytes: LIMIT_BYTES,
                });
            }
            self.buffer.resize(2 * self.filled, 0);
        }
        loop {
            let space = &mut self.buffer[self.filled..];
            let read = match &mut self.input {
                Input::Plain(file) => file.read(space),
                Input::Gzip(decoder) => decoder.read(space),
            };
            match read {
                Ok(read) => {
                    self.filled += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failure(source)),
            }
        }
    }

    fn failure(&self, source: io::Error) -> TraceError {
        let (path, line) = (self.path.to_string(), self.line);
        match (&self.input, source.kind()) {
            (Input::Gzip(_), io::ErrorKind::UnexpectedEof) => TraceError::Truncated { path, line },
            (Input::Gzip(_), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
                TraceError::Damaged { path, line, source }
            }
            (Input::Plain(_) | Input::Gzip(_), _) => TraceError::Read { path, source },
        }
    }
}
