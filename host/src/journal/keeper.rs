//! Writes segments into a folder: when one ends and the next begins, what is done when the disk does not take it, which of them go when
//! there are too many. It is handed the time, and has no thread.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::{Begin, Entry, Gap};
use super::live::{KeepLimits, Shared};
use super::read::{ENDING, number_of};
use super::segment::SegmentWriter;
use crate::time::Time;

/// Where components are, beside the segments.
pub(super) const COMPONENTS: &str = "components";
/// A frame is ended so long after its first entry: what a crash of the program may cost. Microseconds.
const FRAME_US: u64 = 250_000;
/// The disk is made sure of at most so often: what a loss of power may cost. Microseconds.
const SYNC_US: u64 = 1_000_000;
/// After trouble with the disk it is tried again so much later. Microseconds.
const RETRY_US: u64 = 5_000_000;

/// A file that is written.
pub(super) trait Output: Write + Send {
    /// Makes sure that what was written outlasts a loss of power.
    fn sync(&mut self) -> io::Result<()>;
}

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

type Open = Box<dyn FnMut(&Path) -> io::Result<Box<dyn Output>> + Send>;

/// A folder, and how files in it are made.
pub(super) struct Disk {
    pub(super) folder: PathBuf,
    pub(super) open: Open,
}

impl Disk {
    /// A folder of this machine, made when the first file is.
    pub(super) fn folder(folder: &Path) -> Disk {
        let open = |path: &Path| -> io::Result<Box<dyn Output>> {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(path)?))
        };
        Disk { folder: folder.to_owned(), open: Box::new(open) }
    }
}

/// Writes what it is given.
pub(super) struct Keeper {
    disk: Disk,
    limits: KeepLimits,
    shared: Arc<Shared>,
    segment: Option<Segment>,
    /// Could not be kept since the last segment began.
    lost: Option<Gap>,
    /// The disk is not tried before that.
    retry_us: u64,
}

struct Segment {
    to: SegmentWriter<Box<dyn Output>>,
    name: String,
    /// By the time of its entries.
    began: Time,
    /// Entries of the frame that is not written yet.
    unwritten: u64,
    /// When the first of them was.
    first_unwritten: Time,
    /// When the frame must be ended.
    frame_due_us: u64,
    /// When the disk must be made sure of.
    sync_due_us: u64,
    /// Its bytes that were told.
    told_bytes: u64,
}

impl Keeper {
    pub(super) fn new(disk: Disk, limits: KeepLimits, shared: Arc<Shared>) -> Keeper {
        Keeper { disk, limits, shared, segment: None, lost: None, retry_us: 0 }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How long nothing has to be done unless an entry comes. Microseconds.
    pub(super) fn due_us(&self, now_us: u64) -> u64 {
        let due_us = match &self.segment {
            Some(segment) => segment.frame_due_us.min(segment.sync_due_us),
            None => self.retry_us.max(now_us + RETRY_US / 10),
        };
        due_us.saturating_sub(now_us).clamp(1_000, 60_000_000)
    }

    /// Takes an entry.
    pub(super) fn take(&mut self, now_us: u64, entry: Entry) {
        let at = entry.at();
        match entry {
            Entry::Begin(begin) if self.opens(&begin) => self.open(now_us, *begin),
            entry => {
                let done = match &mut self.segment {
                    Some(segment) => segment.push(now_us, at, &entry),
                    None => {
                        self.lose(at, 1);
                        return self.settle(now_us);
                    }
                };
                self.after(now_us, done);
            }
        }
        if self.segment.as_ref().is_some_and(|segment| self.is_full(segment, at)) {
            self.shared.wants_snapshot.store(true, Ordering::Relaxed);
        }
        self.settle(now_us);
    }

    /// Does what is due.
    pub(super) fn settle(&mut self, now_us: u64) {
        if let Some(segment) = &mut self.segment {
            let done = segment.settle(now_us);
            self.after(now_us, done);
        } else if now_us >= self.retry_us {
            self.shared.wants_snapshot.store(true, Ordering::Relaxed);
        }
    }

    /// Writes down what is there, for good.
    pub(super) fn end(&mut self, now_us: u64) {
        if let Some(segment) = &mut self.segment {
            segment.frame_due_us = now_us;
            segment.sync_due_us = segment.sync_due_us.min(now_us);
            let done = segment.settle(now_us).and_then(|()| segment.to.get_mut().sync());
            self.after(now_us, done);
        }
        self.segment = None;
    }

    /// Keeps a component by its digest, if it is not there.
    pub(super) fn keep(&mut self, digest: &str, component: &[u8]) {
        let path = component_path(&self.disk.folder, digest);
        if path.exists() {
            return;
        }
        let part = path.with_extension("part");
        let _ = fs::remove_file(&part);
        let kept = (self.disk.open)(&part)
            .and_then(|mut file| file.write_all(component).and_then(|()| file.sync()))
            .and_then(|()| fs::rename(&part, &path));
        if let Err(error) = kept {
            self.tell(Some(format!("cannot keep the component {digest}: {error}")));
        }
    }

    /// Whether a beginning begins a segment: the first, one that follows a full one, one after a gap. Another is a succession within.
    fn opens(&self, begin: &Begin) -> bool {
        let Some(segment) = &self.segment else { return true };
        begin.gap.is_some() || begin.succession.is_none() || self.is_full(segment, begin.at)
    }

    fn is_full(&self, segment: &Segment, now: Time) -> bool {
        segment.to.written() + segment.to.pending() as u64 / 4 >= self.limits.segment_bytes
            || now.since(segment.began) >= self.limits.segment_ms
    }

    /// Ends the segment that there is and begins another.
    fn open(&mut self, now_us: u64, begin: Begin) {
        let at = begin.at;
        self.end(now_us);
        // What was dropped before it came here is counted already.
        self.lost = begin.gap.map(|gap| gap.and(self.lost)).or(self.lost);
        if now_us < self.retry_us {
            return self.lose(at, 1);
        }
        let begin = Begin { gap: self.lost, ..begin };
        match self.try_open(now_us, &begin) {
            Ok(segment) => {
                self.tell(None);
                self.shared.health().segment = Some(segment.name.clone());
                self.shared.wants_snapshot.store(false, Ordering::Relaxed);
                self.lost = None;
                self.segment = Some(segment);
                self.prune();
            }
            Err(error) => {
                self.trouble(now_us, &error);
                self.lose(at, 1);
            }
        }
    }

    fn try_open(&mut self, now_us: u64, begin: &Begin) -> io::Result<Segment> {
        let last = self.segments().last().and_then(|(path, _)| number_of(path)).unwrap_or(0);
        let name = format!("{:08}{ENDING}", last + 1);
        let path = self.disk.folder.join(&name);
        let file = (self.disk.open)(&path)?;
        let segment = Keeper::begun(now_us, name, file, begin);
        if segment.is_err() {
            // A segment without its beginning is of no use.
            let _ = fs::remove_file(&path);
        }
        segment
    }

    fn begun(
        now_us: u64,
        name: String,
        file: Box<dyn Output>,
        begin: &Begin,
    ) -> io::Result<Segment> {
        let mut segment = Segment {
            to: SegmentWriter::new(file)?,
            name,
            began: begin.at,
            unwritten: 0,
            first_unwritten: begin.at,
            frame_due_us: now_us,
            sync_due_us: u64::MAX,
            told_bytes: 0,
        };
        segment.push(now_us, begin.at, &Entry::Begin(Box::new(begin.clone())))?;
        // So its beginning is not left to chance.
        segment.to.flush()?;
        segment.unwritten = 0;
        Ok(segment)
    }

    /// Sees to what came of writing.
    fn after(&mut self, now_us: u64, done: io::Result<()>) {
        let Some(segment) = &mut self.segment else { return };
        match done {
            Ok(()) => {
                let more = segment.to.written() - segment.told_bytes;
                segment.told_bytes += more;
                if more > 0 {
                    self.shared.health().written_bytes += more;
                }
            }
            Err(error) => {
                let (from, lost) = (segment.first_unwritten, segment.unwritten);
                self.segment = None;
                self.trouble(now_us, &error);
                self.lose(from, lost);
            }
        }
    }

    fn lose(&mut self, at: Time, entries: u64) {
        if entries == 0 {
            return;
        }
        self.lost = Some(Gap { from: at, dropped: entries }.and(self.lost));
        self.shared.health().dropped += entries;
    }

    /// Something is wrong with the disk: told once, and tried again later.
    fn trouble(&mut self, now_us: u64, error: &io::Error) {
        self.retry_us = now_us + RETRY_US;
        self.shared.health().segment = None;
        self.tell(Some(format!("cannot write the journal: {error}")));
    }

    fn tell(&self, trouble: Option<String>) {
        self.shared.health().trouble = trouble;
    }

    /// Removes the oldest segments while there are too many bytes of them. The one that is written stays.
    fn prune(&mut self) {
        let segments = self.segments();
        let mut total: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
        for (path, bytes) in segments.iter().rev().skip(1).rev() {
            // The one that begins may become as large as a segment may be.
            if total + self.limits.segment_bytes <= self.limits.total_bytes {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= bytes;
            }
        }
    }

    /// The segments there are and their sizes, the oldest first.
    fn segments(&self) -> Vec<(PathBuf, u64)> {
        let Ok(entries) = fs::read_dir(&self.disk.folder) else { return Vec::new() };
        let mut found: Vec<(PathBuf, u64)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let path = entry.path();
                number_of(&path)?;
                Some((path, entry.metadata().map_or(0, |metadata| metadata.len())))
            })
            .collect();
        found.sort_by_key(|(path, _)| number_of(path));
        found
    }
}

impl Segment {
    fn push(&mut self, now_us: u64, at: Time, entry: &Entry) -> io::Result<()> {
        if self.unwritten == 0 {
            (self.first_unwritten, self.frame_due_us) = (at, now_us + FRAME_US);
        }
        self.unwritten += 1;
        entry.write(&mut self.to)?;
        if self.to.pending() == 0 {
            self.written(now_us);
        }
        Ok(())
    }

    fn settle(&mut self, now_us: u64) -> io::Result<()> {
        if now_us >= self.frame_due_us {
            if self.unwritten > 0 {
                self.to.flush()?;
            }
            self.written(now_us);
        }
        if now_us >= self.sync_due_us {
            self.to.get_mut().sync()?;
            self.sync_due_us = u64::MAX;
        }
        Ok(())
    }

    fn written(&mut self, now_us: u64) {
        if self.unwritten > 0 && self.sync_due_us == u64::MAX {
            self.sync_due_us = now_us + SYNC_US;
        }
        (self.unwritten, self.frame_due_us) = (0, u64::MAX);
    }
}

/// Where a component is kept.
pub(super) fn component_path(folder: &Path, digest: &str) -> PathBuf {
    // A digest is `sha256:` and hexadecimal digits; whatever else stands there, it leads to no other folder.
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = digest.chars().map(safe).collect();
    folder.join(COMPONENTS).join(format!("{name}.wasm"))
}
