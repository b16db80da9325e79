//! The log files of replicas: a file a replica, in Kubernetes' format (`TIME STREAM F|P TEXT`), cut off at a size; and reading them.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::state;

/// Files of replicas that are no more, kept for each target.
const KEPT: usize = 16;
/// Text without an end is a line when it is longer. Bytes.
const LINE_AT_MOST: usize = 1 << 20;

/// What a replica printed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Its output.
    Stdout,
    /// Its diagnostics, and remarks of Tidegate about it.
    Stderr,
}

impl Stream {
    /// As it stands in the file.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// A file that is written to until it is full; then it becomes the older half, and a new one begins.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    bytes_at_most: u64,
    /// Records that could not be written since one could.
    lost: u64,
}

impl LogFile {
    /// A file of at most `bytes_at_most`, its older half not counted. It is made when something is written to it.
    pub fn new(path: PathBuf, bytes_at_most: u64) -> LogFile {
        LogFile { path, file: None, bytes: 0, bytes_at_most, lost: 0 }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds records. What cannot be written is lost, and that is said when something can be written again.
    pub fn write(&mut self, records: &[u8]) {
        if self.bytes > 0 && self.bytes + records.len() as u64 > self.bytes_at_most {
            self.file = None;
            let _ = std::fs::rename(&self.path, older(&self.path));
            self.bytes = 0;
        }
        let mut text = Vec::new();
        if self.lost > 0 {
            let told = format!("tidegate: {} times output was lost here", self.lost);
            record(&mut text, Stream::Stderr, told.as_bytes(), true);
        }
        text.extend_from_slice(records);
        let written = self.open().and_then(|file| file.write_all(&text));
        if written.is_err() {
            self.lost += 1;
            self.file = None;
        } else {
            self.lost = 0;
            self.bytes += text.len() as u64;
        }
    }

    fn open(&mut self) -> std::io::Result<&mut File> {
        if self.file.is_none() {
            use std::os::unix::fs::OpenOptionsExt as _;
            let mut options = OpenOptions::new();
            let file = options.create(true).append(true).mode(0o600).open(&self.path)?;
            self.bytes = file.metadata()?.len();
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("it was opened"))
    }
}

/// The older half of a file.
fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// Adds a record to `text`, with the time of now.
pub fn record(text: &mut Vec<u8>, stream: Stream, line: &[u8], is_whole: bool) {
    let now = jiff::Timestamp::now();
    let tag = if is_whole { 'F' } else { 'P' };
    let _ = write!(text, "{now:.3} {} {tag} ", stream.name());
    text.extend_from_slice(line);
    text.push(b'\n');
}

/// Text of others without the control characters that a terminal would obey.
pub fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// A line that a replica printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, as it stands in the file.
    pub time: String,
    /// To where.
    pub stream: Stream,
    /// Whether the line ends here, or goes on in the next record.
    pub is_whole: bool,
    /// What, fit to be printed.
    pub text: String,
}

/// Reads a record; nothing where it is none.
pub fn parse(record: &[u8]) -> Option<Line> {
    let record = String::from_utf8_lossy(record);
    let mut fields = record.splitn(4, ' ');
    let time = fields.next().filter(|time| time.parse::<jiff::Timestamp>().is_ok())?;
    let stream = match fields.next()? {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    let is_whole = fields.next()? == "F";
    let text = printable(fields.next().unwrap_or("").trim_end_matches(['\r', '\n']));
    Some(Line { time: time.to_owned(), stream, is_whole, text })
}

/// The log of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaLog {
    /// Its ordinal.
    pub replica: u32,
    /// When it began. Unix milliseconds.
    pub started_ms: u64,
    /// The file.
    pub path: PathBuf,
    /// Whether the replica is there.
    pub is_running: bool,
}

impl ReplicaLog {
    /// All that is kept of it, the older half first.
    ///
    /// # Errors
    ///
    /// When a file is there and cannot be read.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for path in [older(&self.path), self.path.clone()] {
            match std::fs::read(&path) {
                Ok(read) => bytes.extend(read),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }
}

/// Puts records together to lines.
#[derive(Debug, Default)]
struct Joiner {
    rest: Vec<u8>,
    begun: [Option<Line>; 2],
}

impl Joiner {
    fn take(&mut self, bytes: &[u8]) -> Vec<Line> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let left = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, left);
        let mut lines = Vec::new();
        for line in whole.split(|byte| *byte == b'\n').filter_map(parse) {
            let begun = &mut self.begun[usize::from(line.stream == Stream::Stderr)];
            let line = match begun.take() {
                Some(first) => Line { time: first.time, text: first.text + &line.text, ..line },
                None => line,
            };
            // Without an end it is a line all the same when it grows beyond what anybody reads.
            if line.is_whole || line.text.len() > LINE_AT_MOST {
                lines.push(line);
            } else {
                *begun = Some(line);
            }
        }
        lines
    }
}

/// Reads a log as it grows, whatever becomes of its older half.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// The file that is read, and how far.
    inode: Option<u64>,
    offset: u64,
    joiner: Joiner,
}

impl Follower {
    /// From the beginning of what is kept.
    pub fn new(path: &Path) -> Follower {
        Follower { path: path.to_owned(), inode: None, offset: 0, joiner: Joiner::default() }
    }

    /// The lines since it was last asked.
    ///
    /// # Errors
    ///
    /// When a file is there and cannot be read.
    pub fn read(&mut self) -> std::io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let older = open(&older(&self.path))?;
        let current = open(&self.path)?;
        // The older half is read where nothing was read yet, or where it is the file that was being read.
        if let Some((file, inode)) = older
            && (self.inode.is_none() || Some(inode) == self.inode)
        {
            self.take(file, inode, &mut lines)?;
        }
        if let Some((file, inode)) = current {
            if self.inode != Some(inode) {
                self.offset = 0;
            }
            self.take(file, inode, &mut lines)?;
        }
        Ok(lines)
    }

    fn take(&mut self, mut file: File, inode: u64, lines: &mut Vec<Line>) -> std::io::Result<()> {
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        self.offset += file.read_to_end(&mut bytes)? as u64;
        self.inode = Some(inode);
        lines.extend(self.joiner.take(&bytes));
        Ok(())
    }
}

fn open(path: &Path) -> std::io::Result<Option<(File, u64)>> {
    use std::os::unix::fs::MetadataExt as _;
    match File::open(path) {
        Ok(file) => {
            let inode = file.metadata()?.ino();
            Ok(Some((file, inode)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The folder of a target's logs. Names of targets may have characters that those of folders have not.
pub fn folder_of(state: &Path, target: &str) -> PathBuf {
    state.join("logs").join(escape(target))
}

fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(char::from(byte)),
            // A name of dots alone would be another folder.
            b'.' if !escaped.is_empty() => escaped.push('.'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn unescape(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let hex = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Targets that have logs, sorted.
pub fn targets(state: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(state.join("logs")).into_iter().flatten();
    let names = entries.filter_map(|entry| unescape(entry.ok()?.file_name().to_str()?));
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The file for a replica that begins now. Files of the oldest replicas that are no more are removed; `running` are those that are.
///
/// # Errors
///
/// When the folder cannot be made.
pub fn begin(
    state: &Path,
    target: &str,
    replica: u32,
    now_ms: u64,
    running: &BTreeSet<PathBuf>,
) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = folder_of(state, target);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let mut ended = files(&folder);
    ended.retain(|(_, _, path)| !running.contains(path));
    for (_, _, path) in ended.iter().take(ended.len().saturating_sub(KEPT - 1)) {
        let _ = std::fs::remove_file(older(path));
        let _ = std::fs::remove_file(path);
    }
    Ok(folder.join(format!("{now_ms:013}-{replica}.log")))
}

/// Files of a folder with when each began and whose it is, the oldest first.
fn files(folder: &Path) -> Vec<(u64, u32, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let stem = name.strip_suffix(".log").or_else(|| name.strip_suffix(".log.1"))?;
            let (started, replica) = stem.split_once('-')?;
            let (started, replica) = (started.parse().ok()?, replica.parse().ok()?);
            Some((started, replica, folder.join(format!("{stem}.log"))))
        })
        .collect();
    files.sort();
    files.dedup();
    files
}

/// The logs of a target's replicas, the oldest first.
pub fn of_target(state: &Path, target: &str) -> Vec<ReplicaLog> {
    let running = state::running_logs(state);
    files(&folder_of(state, target))
        .into_iter()
        .map(|(started_ms, replica, path)| {
            let is_running = running.contains(&path);
            ReplicaLog { replica, started_ms, path, is_running }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_targets_come_back_and_stay_in_their_folder() {
        for name in ["chat", "chat/spot", "..", ".", "a.b", "ä %41", "a\\b"] {
            let escaped = escape(name);
            assert_eq!(unescape(&escaped).as_deref(), Some(name));
            assert!(!escaped.contains('/') && !escaped.starts_with('.'), "{escaped}");
        }
    }

    #[test]
    fn records_read_as_they_were_written() {
        let mut text = Vec::new();
        record(&mut text, Stream::Stderr, b"two words \x1b[1m\xff", false);
        let line = parse(&text).expect("it is a record");
        assert_eq!(
            (line.stream, line.is_whole, line.text.as_str()),
            (Stream::Stderr, false, "two words \u{fffd}[1m\u{fffd}")
        );
        for torn in [
            "",
            "2026-01-01T00:00:00.000Z",
            "2026-01-01T00:00:00.000Z stdin F x",
            "yesterday stdout F x",
        ] {
            assert_eq!(parse(torn.as_bytes()), None, "{torn}");
        }
    }

    #[test]
    fn a_file_keeps_its_size_and_the_newest() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path =
            begin(folder.path(), "chat", 3, 1_000, &BTreeSet::new()).expect("it can be made");
        let mut log = LogFile::new(path.clone(), 4_000);
        for nth in 0..1_000 {
            let mut text = Vec::new();
            record(&mut text, Stream::Stdout, format!("line {nth}").as_bytes(), true);
            log.write(&text);
        }
        let [found] = of_target(folder.path(), "chat").try_into().expect("there is one");
        assert_eq!((found.replica, found.started_ms, found.is_running), (3, 1_000, false));
        let bytes = found.read().expect("it can be read");
        assert!(bytes.len() <= 8_000, "{} bytes", bytes.len());
        let last = bytes.split(|byte| *byte == b'\n').filter_map(parse).next_back();
        assert_eq!(last.map(|line| line.text).as_deref(), Some("line 999"));
        assert_eq!(targets(folder.path()), ["chat"]);
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_told() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("later").join("a.log");
        let mut log = LogFile::new(path.clone(), 4_000);
        log.write(b"one\n");
        log.write(b"two\n");
        std::fs::create_dir(folder.path().join("later")).expect("it can be made");
        log.write(b"three\n");
        let text = std::fs::read_to_string(path).expect("it is there");
        assert!(
            text.ends_with("stderr F tidegate: 2 times output was lost here\nthree\n"),
            "{text}"
        );
    }

    #[test]
    fn logs_of_the_oldest_that_ended_are_removed_and_of_none_that_runs() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut first = BTreeSet::new();
        for nth in 0..40 {
            let path =
                begin(folder.path(), "a", nth, u64::from(nth), &first).expect("it can be made");
            std::fs::write(&path, "").expect("it can be written");
            if nth == 0 {
                first.insert(path);
            }
        }
        let left: Vec<u32> = of_target(folder.path(), "a").iter().map(|log| log.replica).collect();
        let expected: Vec<u32> = std::iter::once(0).chain(24..40).collect();
        assert_eq!(left, expected);
    }
}
