//! Lines of a file, plain or gzip, in a buffer that does not grow with the file.
//!
//! Traces have no quotes and no line breaks in fields, so a line ends where the next line feed is. That keeps a stray quote or
//! a binary file from being read into memory whole, as a general reader of CSV would.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::TraceError;

const START_BYTES: usize = 64 << 10;
/// A header of ten thousand rate columns fits.
const LIMIT_BYTES: usize = 1 << 20;
/// The same for lines that others wrote, with whole prompts in them.
const LOG_LIMIT_BYTES: usize = 64 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// A file, line by line. Empty lines are left out, and line ends too, `\r\n` as well.
pub(super) struct Lines {
    path: Arc<str>,
    input: Content,
    limit_bytes: usize,
    /// What was read: `taken` bytes are done with, those up to `filled` wait.
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    /// Of the line that was given last, from 1.
    line: u64,
}

/// What is in a file, unpacked.
pub(super) struct Content {
    read: BufReader<Box<dyn Read>>,
    is_gzip: bool,
}

impl Content {
    fn of(
        file: Box<dyn Read>,
        unreadable: impl Fn(io::Error) -> TraceError,
    ) -> Result<Content, TraceError> {
        let mut file = BufReader::with_capacity(START_BYTES, file);
        let is_gzip = file.fill_buf().map_err(unreadable)?.starts_with(&GZIP_MAGIC);
        let read = match is_gzip {
            true => BufReader::with_capacity(START_BYTES, Box::new(MultiGzDecoder::new(file)) as _),
            false => file,
        };
        Ok(Content { read, is_gzip })
    }

    /// What is in a file, a pipe, or standard input (`-`), which is read once.
    pub(super) fn open(path: &Path, name: &str) -> Result<Content, TraceError> {
        let unreadable = |source| TraceError::Read { path: name.to_owned(), source };
        let file: Box<dyn Read> = match path == Path::new("-") {
            true => Box::new(io::stdin()),
            false => {
                let file = File::open(path).map_err(unreadable)?;
                if file.metadata().map_err(unreadable)?.is_dir() {
                    return Err(unreadable(io::ErrorKind::IsADirectory.into()));
                }
                Box::new(file)
            }
        };
        Content::of(file, unreadable)
    }

    /// The first bytes, which are read again later.
    pub(super) fn peek(&mut self, name: &str) -> Result<&[u8], TraceError> {
        let (path, is_gzip) = (name.to_owned(), self.is_gzip);
        self.read.fill_buf().map_err(|source| failure(path, 0, is_gzip, source))
    }

    /// All of it, for what is no list of lines.
    pub(super) fn into_read(self) -> impl Read {
        self.read
    }
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
        let content = Content::of(Box::new(file), unreadable)?;
        Ok(Lines { limit_bytes: LIMIT_BYTES, ..Lines::over(content, name) })
    }

    /// Lines that others wrote.
    pub(super) fn over(input: Content, name: &Arc<str>) -> Lines {
        Lines {
            path: Arc::clone(name),
            input,
            limit_bytes: LOG_LIMIT_BYTES,
            buffer: vec![0; START_BYTES],
            taken: 0,
            filled: 0,
            line: 0,
        }
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
            if self.filled >= self.limit_bytes {
                return Err(TraceError::LongLine {
                    path: self.path.to_string(),
                    line: self.line + 1,
                    limit_bytes: self.limit_bytes,
                });
            }
            self.buffer.resize(2 * self.filled, 0);
        }
        loop {
            let space = &mut self.buffer[self.filled..];
            match self.input.read.read(space) {
                Ok(read) => {
                    self.filled += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let path = self.path.to_string();
                    return Err(failure(path, self.line, self.input.is_gzip, source));
                }
            }
        }
    }
}

fn failure(path: String, line: u64, is_gzip: bool, source: io::Error) -> TraceError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof if is_gzip => TraceError::Truncated { path, line },
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if is_gzip => {
            TraceError::Damaged { path, line, source }
        }
        _ => TraceError::Read { path, source },
    }
}
