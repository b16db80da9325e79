//! Journals in: a folder of segments or a single file, framed or plain lines, entry by entry, up to the last good one of each.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::entry::{Begin, Entry, Step};
use super::segment::{MAGIC, SegmentReader, Torn, read_up_to};
use super::{API_VERSION, Header};

/// What a segment's file is called after its number.
pub(super) const ENDING: &str = ".tgj";

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file ended before its header, or could not be read.
    #[error("cannot read the journal at line {line}")]
    Read {
        /// Counted from 1.
        line: usize,
        /// Why.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("line {line} of the journal is not {expected}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What was expected there.
        expected: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It was written by a version that this one does not know.
    #[error("the journal is of version {found}, and this program reads {API_VERSION}")]
    Version {
        /// What the header says.
        found: String,
    },
    /// A file of it cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A folder is no journal.
    #[error("{path} holds no segment of a journal (files named as 00000001.tgj)")]
    Empty {
        /// The folder.
        path: String,
    },
    /// Something is wrong with one of several segments.
    #[error("segment {name}")]
    Segment {
        /// Its file's name.
        name: String,
        /// What is wrong.
        source: Box<JournalError>,
    },
}

/// What every version's header has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    api_version: String,
}

/// What comes next in a journal.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and nearly all are entries")]
pub enum Found {
    /// A further segment begins.
    Segment(String),
    /// An entry.
    Entry(Entry),
    /// The segment ends here, before its writer was done; what was after that is lost.
    Torn(Torn),
}

/// Lines of a file, framed or plain, told apart by how it begins.
enum Lines<R> {
    Framed(SegmentReader<R>),
    Plain { from: R, line: Vec<u8> },
}

/// The entries of one file.
struct Entries<R> {
    lines: Lines<R>,
    /// Lines so far.
    count: usize,
    /// Where the last whole plain line ended.
    good: u64,
    torn: Option<Torn>,
}

impl<R: BufRead> Entries<Chained<R>> {
    fn new(mut from: R) -> io::Result<Entries<Chained<R>>> {
        let mut begins = vec![0; MAGIC.len()];
        let bytes = read_up_to(&mut from, &mut begins)?;
        begins.truncate(bytes);
        let is_framed = begins == MAGIC;
        // Its writer ended before it had said what it is.
        let is_stub = MAGIC.starts_with(&begins) && !is_framed;
        let torn = is_stub.then_some(Torn { at: 0, why: "the segment was only just begun" });
        if is_framed || is_stub {
            begins.clear();
        }
        let from = Cursor::new(begins).chain(from);
        let lines = match is_framed {
            true => Lines::Framed(SegmentReader::after_magic(from)),
            false => Lines::Plain { from, line: Vec::new() },
        };
        Ok(Entries { lines, count: 0, good: 0, torn })
    }
}

type Chained<R> = io::Chain<Cursor<Vec<u8>>, R>;

impl<R: BufRead> Entries<R> {
    /// The next entry; `None`: it is over, or what follows was torn.
    fn next(&mut self) -> Result<Option<Entry>, JournalError> {
        self.count += 1;
        let number = self.count;
        let unreadable = |source| JournalError::Read { line: number, source };
        // Bytes, not text: a last line may be cut off within a character.
        let (line, is_whole) = match &mut self.lines {
            Lines::Framed(reader) => match reader.next_line() {
                Ok(Some(line)) => (line, true),
                Ok(None) => {
                    self.torn = reader.torn();
                    return self.end();
                }
                Err(source) => return Err(unreadable(source)),
            },
            Lines::Plain { from, line } => {
                line.clear();
                from.read_until(b'\n', line).map_err(unreadable)?;
                if line.is_empty() {
                    return self.end();
                }
                self.good += line.len() as u64;
                let is_whole = line.last() == Some(&b'\n');
                (line.strip_suffix(b"\n").unwrap_or(line), is_whole)
            }
        };
        let read = match self.count {
            1 => first(line),
            _ => Entry::read(line),
        };
        match read {
            Ok(Entry::Begin(begin)) if begin.header.api_version != API_VERSION => {
                Err(JournalError::Version { found: begin.header.api_version })
            }
            Ok(entry) => Ok(Some(entry)),
            Err(error) if !is_whole && error.is_eof() && number > 1 => {
                let at = self.good - line.len() as u64;
                self.torn = Some(Torn { at, why: "a line is cut off" });
                Ok(None)
            }
            Err(source) => {
                // Of another version, anything may look otherwise.
                if number == 1
                    && let Ok(version) = serde_json::from_slice::<Version>(line)
                    && version.api_version != API_VERSION
                {
                    return Err(JournalError::Version { found: version.api_version });
                }
                let expected = if number == 1 { "a journal's header" } else { "a step" };
                Err(JournalError::Syntax { line: number, expected, source })
            }
        }
    }

    /// A file of which not even the first line is there is an error unless its segment was torn before.
    fn end(&self) -> Result<Option<Entry>, JournalError> {
        if self.count == 1 && self.torn.is_none() && matches!(self.lines, Lines::Plain { .. }) {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(JournalError::Read { line: 1, source });
        }
        Ok(None)
    }
}

/// The first line: the header alone, or what a segment begins with.
fn first(line: &[u8]) -> Result<Entry, serde_json::Error> {
    if line.starts_with(b"{\"begin\"") {
        return Entry::read(line);
    }
    serde_json::from_slice::<Header>(line)
        .map(|header| Entry::Begin(Box::new(Begin::first(header))))
}

/// Reads a journal that is one file: its header, and its steps one by one. A last line or frame that was cut off ends it without an
/// error.
///
/// # Errors
///
/// When the first line is no header of this version; a step that cannot be read is an item.
pub fn read<R: BufRead>(
    from: R,
) -> Result<(Header, impl Iterator<Item = Result<Step, JournalError>>), JournalError> {
    let mut entries =
        Entries::new(from).map_err(|source| JournalError::Read { line: 1, source })?;
    let header = match entries.next()? {
        Some(Entry::Begin(begin)) => begin.header,
        Some(Entry::Step(_) | Entry::Requests(_) | Entry::Note(_)) | None => {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(JournalError::Read { line: 1, source });
        }
    };
    let mut is_over = false;
    let steps = std::iter::from_fn(move || {
        while !is_over {
            match entries.next() {
                Ok(Some(Entry::Step(step))) => return Some(Ok(step)),
                Ok(Some(Entry::Begin(_) | Entry::Requests(_) | Entry::Note(_))) => {}
                Ok(None) => is_over = true,
                Err(error) => {
                    is_over = matches!(error, JournalError::Read { .. });
                    return Some(Err(error));
                }
            }
        }
        None
    });
    Ok((header, steps))
}

/// A journal, from its first entry to its last.
pub struct Reader {
    /// Those to come.
    files: VecDeque<PathBuf>,
    is_folder: bool,
    now: Option<(String, Entries<Chained<BufReader<File>>>)>,
}

/// Opens a journal: a folder of segments, or one file.
///
/// # Errors
///
/// When there is none.
pub fn open(path: &Path) -> Result<Reader, JournalError> {
    let is_folder = path.is_dir();
    let files = if is_folder { segments(path)? } else { vec![path.to_owned()] };
    if files.is_empty() {
        return Err(JournalError::Empty { path: path.display().to_string() });
    }
    if !is_folder {
        // What cannot be opened is told now.
        open_file(path)?;
    }
    Ok(Reader { files: files.into(), is_folder, now: None })
}

/// Whether `path` is a journal and not, say, a trace: a folder, or a file that begins as one.
pub fn is_journal(path: &Path) -> bool {
    if path.is_dir() {
        return true;
    }
    let Ok(mut file) = File::open(path) else { return false };
    let mut begins = [0; 512];
    let Ok(bytes) = read_up_to(&mut file, &mut begins) else { return false };
    let begins = &begins[..bytes];
    begins.starts_with(MAGIC)
        || begins.starts_with(b"{\"apiVersion\":\"tidegate.dev/")
            && begins.windows(16).any(|part| part == b"\"kind\":\"Journal\"")
}

/// The segments of a folder, the oldest first.
pub(super) fn segments(folder: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let fails = |source| JournalError::Open { path: folder.display().to_string(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fails)? {
        let path = entry.map_err(fails)?.path();
        if number_of(&path).is_some() {
            found.push(path);
        }
    }
    found.sort_by_key(|path| number_of(path));
    Ok(found)
}

/// The number of a segment, by the name of its file.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?;
    name.parse().ok().filter(|_| name.bytes().all(|byte| byte.is_ascii_digit()))
}

fn open_file(path: &Path) -> Result<BufReader<File>, JournalError> {
    let file = File::open(path);
    let fails = |source| JournalError::Open { path: path.display().to_string(), source };
    Ok(BufReader::with_capacity(64 << 10, file.map_err(fails)?))
}

impl Reader {
    /// How many files it has that are not read to their end.
    pub fn files_left(&self) -> usize {
        self.files.len() + usize::from(self.now.is_some())
    }

    fn advance(&mut self) -> Result<Option<Found>, JournalError> {
        let Some((name, entries)) = &mut self.now else {
            let Some(path) = self.files.pop_front() else { return Ok(None) };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file = open_file(&path)?;
            let entries =
                Entries::new(file).map_err(|source| JournalError::Read { line: 1, source })?;
            self.now = Some((name.clone(), entries));
            return Ok(Some(Found::Segment(name)));
        };
        let found = entries.next();
        let torn = entries.torn;
        let found = match found {
            Err(source) if self.is_folder => {
                let (name, source) = (name.clone(), Box::new(source));
                return Err(JournalError::Segment { name, source });
            }
            found => found?,
        };
        if let Some(entry) = found {
            return Ok(Some(Found::Entry(entry)));
        }
        self.now = None;
        match torn {
            Some(torn) => Ok(Some(Found::Torn(torn))),
            None => self.advance(),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Found, JournalError>;

    fn next(&mut self) -> Option<Result<Found, JournalError>> {
        let found = self.advance();
        if found.is_err() {
            (self.files, self.now) = (VecDeque::new(), None);
        }
        found.transpose()
    }
}
