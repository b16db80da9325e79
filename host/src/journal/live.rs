//! The journal of a live run: a thread of its own writes segments into a folder. Whoever hands entries over never waits for a disk:
//! what there is no room for is dropped and counted, and the journal goes on from the next snapshot.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::entry::{Begin, Entry, Gap};
use super::keeper::{Disk, Keeper};
use crate::clock::Clock;
use crate::time::Time;

/// Entries that may wait for the disk.
const ENTRIES_AT_MOST: usize = 10_000;
/// What these may take in memory. Bytes, as estimated; with many services a step is large, and 10,000 of them would be gigabytes.
const BYTES_AT_MOST: usize = 64 << 20;
/// How long the end of a run waits for the disk.
const FINISH_AT_MOST: Duration = Duration::from_secs(5);

/// How a journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepLimits {
    /// A segment that is so large is followed by another. Bytes.
    pub segment_bytes: u64,
    /// One that is so old, likewise. Milliseconds.
    pub segment_ms: u64,
    /// All segments together: the oldest go first. Bytes.
    pub total_bytes: u64,
}

impl Default for KeepLimits {
    /// Segments of 16 MiB or an hour, 1 GiB in all.
    fn default() -> KeepLimits {
        KeepLimits { segment_bytes: 16 << 20, segment_ms: 3_600_000, total_bytes: 1 << 30 }
    }
}

/// How a journal is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The segment that is written.
    pub segment: Option<String>,
    /// Bytes that went to disk in this run.
    pub written_bytes: u64,
    /// Entries that could not be kept in this run.
    pub dropped: u64,
    /// What is wrong with the disk now; `None`: nothing.
    pub trouble: Option<String>,
}

/// What both sides see.
#[derive(Default)]
pub(super) struct Shared {
    /// Estimated bytes of what waits.
    pub(super) waiting_bytes: AtomicUsize,
    /// The writer wants to begin a segment, and needs a snapshot for it.
    pub(super) wants_snapshot: AtomicBool,
    pub(super) health: Mutex<Health>,
}

impl Shared {
    pub(super) fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().expect("whoever held it did not panic: nothing here does")
    }
}

/// What goes to the thread.
pub(super) enum Message {
    Entry(Entry, usize),
    /// A component, by its digest.
    Component(String, Arc<[u8]>),
}

/// The side that hands entries over.
pub struct Live {
    to: Option<SyncSender<Message>>,
    shared: Arc<Shared>,
    /// What was dropped since the last snapshot that got through. Until the next does, everything is.
    gap: Option<Gap>,
    run: Time,
    steps: u64,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Begins a journal in `folder`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// When there can be no thread. A folder that cannot be written is no error: [`Live::health`] tells, and it is tried again.
    pub fn start(folder: &Path, limits: KeepLimits, begin: Begin) -> std::io::Result<Live> {
        Live::start_on(Disk::folder(folder), limits, begin)
    }

    pub(super) fn start_on(disk: Disk, limits: KeepLimits, begin: Begin) -> std::io::Result<Live> {
        let (to, from) = sync_channel(ENTRIES_AT_MOST);
        let (tell_end, ended) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let keeper = Keeper::new(disk, limits, shared.clone());
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            write(&from, keeper);
            let _ = tell_end.send(());
        })?;
        let (run, steps) = (begin.run, begin.steps);
        let mut live =
            Live { to: Some(to), shared, gap: None, run, steps, ended, thread: Some(thread) };
        live.begin(begin);
        Ok(live)
    }

    /// Takes an entry that is no beginning.
    pub fn take(&mut self, entry: Entry) {
        self.steps += u64::from(matches!(entry, Entry::Step(_)));
        let at = entry.at();
        if self.gap.is_some() || !self.sends(entry) {
            self.drop_one(at);
        }
    }

    /// Whether a step would be kept if it were handed over now.
    pub fn is_keeping(&self) -> bool {
        self.gap.is_none()
    }

    /// A step is not handed over, as it would not be kept.
    pub fn skip(&mut self, at: Time) {
        self.steps += 1;
        self.drop_one(at);
    }

    /// Takes a beginning; what it says of run, steps and gap is set here.
    pub fn begin(&mut self, begin: Begin) {
        let at = begin.at;
        let begin = Begin { run: self.run, steps: self.steps, gap: self.gap, ..begin };
        self.shared.wants_snapshot.store(false, Ordering::Relaxed);
        if self.sends(Entry::Begin(Box::new(begin))) {
            let told = self.gap.take().map_or(0, |gap| gap.dropped);
            self.shared.health().dropped += told;
        } else {
            self.drop_one(at);
        }
    }

    /// Keeps a component beside the segments, so that what it decided can be decided again. One that there is no room for now is not
    /// kept.
    pub fn keep_component(&mut self, digest: &str, component: Arc<[u8]>) {
        if let Some(to) = &self.to {
            let _ = to.try_send(Message::Component(digest.to_owned(), component));
        }
    }

    /// Whether a beginning with a snapshot should be handed over: a segment is full, or entries were lost.
    pub fn wants_snapshot(&self) -> bool {
        let has_room = self.shared.waiting_bytes.load(Ordering::Relaxed) < BYTES_AT_MOST / 2;
        self.shared.wants_snapshot.load(Ordering::Relaxed) || (self.gap.is_some() && has_room)
    }

    /// How it is doing.
    pub fn health(&self) -> Health {
        let mut health = self.shared.health().clone();
        health.dropped += self.gap.map_or(0, |gap| gap.dropped);
        health
    }

    /// Ends it, when all is on disk, or after some seconds of waiting for that.
    pub fn finish(mut self) -> Health {
        self.to = None;
        if self.ended.recv_timeout(FINISH_AT_MOST) != Err(RecvTimeoutError::Timeout)
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
        self.health()
    }

    /// Whether nothing waits for the disk.
    #[cfg(test)]
    pub(super) fn is_drained(&self) -> bool {
        self.shared.waiting_bytes.load(Ordering::Relaxed) == 0
    }

    fn sends(&self, entry: Entry) -> bool {
        let Some(to) = &self.to else { return false };
        let weight = entry.weight();
        let waiting = &self.shared.waiting_bytes;
        if waiting.load(Ordering::Relaxed) + weight > BYTES_AT_MOST
            // A single one that is larger than all may be goes if nothing else waits.
            && waiting.load(Ordering::Relaxed) > 0
        {
            return false;
        }
        waiting.fetch_add(weight, Ordering::Relaxed);
        match to.try_send(Message::Entry(entry, weight)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                waiting.fetch_sub(weight, Ordering::Relaxed);
                false
            }
        }
    }

    fn drop_one(&mut self, at: Time) {
        self.gap = Some(Gap { from: at, dropped: 1 }.and(self.gap));
    }
}

/// The thread: takes what comes until nobody is left to send.
fn write(from: &Receiver<Message>, mut keeper: Keeper) {
    // Only for spans: the times in entries are those of the run.
    let clock = Clock::start();
    loop {
        let wait = Duration::from_micros(keeper.due_us(clock.now_us()));
        match from.recv_timeout(wait) {
            Ok(Message::Entry(entry, weight)) => {
                keeper.take(clock.now_us(), entry);
                keeper.shared().waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
            }
            Ok(Message::Component(digest, component)) => keeper.keep(&digest, &component),
            Err(RecvTimeoutError::Timeout) => keeper.settle(clock.now_us()),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    keeper.end(clock.now_us());
}
