//! What journals do as a whole: lines and segments, a thread that writes, disks that do not.

use super::*;
use crate::engine::{Event, Report, TargetId};

pub(crate) fn header() -> Header {
    Header {
        api_version: API_VERSION.to_owned(),
        kind: "Journal".to_owned(),
        start: Time::ZERO,
        options: Options {
            tick_ms: 2_000,
            explains: true,
            gateway_is_always_in_path: true,
            ..Options::default()
        },
        policies: Vec::new(),
        limits: None,
        stage_limits: std::collections::BTreeMap::new(),
        targets: Vec::new(),
        counts: Vec::new(),
        sources: None,
    }
}

fn written() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut journal = Journal::new(&mut bytes, &header());
    let values = [0.1 + 0.2, f64::NAN, 1e-300, 3.0];
    let report = Report { second: 7, values, in_flight: 1, waiting: 2, oldest_wait_ms: 3 };
    let seen = Observation {
        at: Time(7_000),
        events: vec![Event::Report(TargetId(0), report)],
        in_flight: Vec::new(),
    };
    journal.record(&seen, &Plan { at: Time(7_000), wake_at: Time::NEVER, ..Plan::default() });
    assert!(journal.finish().is_none());
    bytes
}

#[test]
fn numbers_come_back_to_the_last_bit_and_nan_as_nan() {
    let bytes = written();
    let (_, mut steps) = read(&bytes[..]).expect("it has a header");
    let step = steps.next().expect("a step").expect("in order");
    let Event::Report(_, report) = &step.seen.events[0] else { panic!("a report was written") };
    assert_eq!(
        report.values.map(f64::to_bits),
        [0.1 + 0.2, f64::NAN, 1e-300, 3.0].map(f64::to_bits)
    );
    assert_eq!(step.plan.wake_at, Time::NEVER);
    assert!(steps.next().is_none());
}

#[test]
fn a_step_that_was_cut_off_ends_the_journal_wherever_it_was_cut() {
    let bytes = written();
    let header = bytes.iter().position(|&byte| byte == b'\n').expect("a header") + 1;
    for end in header..bytes.len() - 1 {
        let (_, steps) = read(&bytes[..end]).expect("the header is whole");
        assert_eq!(steps.filter_map(Result::ok).count(), 0, "cut at {end}");
    }
}

#[test]
fn a_journal_that_cannot_write_carries_on_and_says_so_in_the_end() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut journal = Journal::new(Full, &header());
    journal.record(&Observation::default(), &Plan::default());
    assert_eq!(journal.finish().map(|error| error.kind()), Some(std::io::ErrorKind::StorageFull));
}

#[test]
fn another_version_is_refused_by_name() {
    let text = String::from_utf8(written()).expect("JSON").replace(API_VERSION, "tidegate.dev/v9");
    let error = read(text.as_bytes()).err().expect("refused");
    assert_eq!(
        error.to_string(),
        "the journal is of version tidegate.dev/v9, and this program reads tidegate.dev/v1alpha1"
    );
}

/// A step at a moment, with numbers that are hard to write.
fn step(at: u64) -> (Observation, Plan) {
    let values = [at as f64 / 3.0, f64::NAN, -0.0, 1e-300];
    let report = Report { second: at / 1_000, values, in_flight: 1, waiting: 2, oldest_wait_ms: 3 };
    let events = vec![Event::Report(TargetId(0), report)];
    let seen = Observation { at: Time(at), events, in_flight: Vec::new() };
    (seen, Plan { at: Time(at), generation: at, wake_at: Time(at + 1_000), ..Plan::default() })
}

fn begin(at: u64) -> Begin {
    Begin::from_snapshot(Time(at), header(), snapshot(at))
}

/// What an engine knew that had no targets and made its last plan at a moment.
fn snapshot(at: u64) -> Snapshot {
    let text = format!(
        r#"{{"format":1,"at":{at},"wakesAt":{at},"generation":1,"tickMs":2000,"stages":[],"placement":"","words":[],
        "ground":{{"nodes":[],"started":[],"isStale":false,"retryAt":0}},"targets":[]}}"#
    );
    serde_json::from_str(&text).expect("it is as a snapshot is written")
}

fn read_all(folder: &Path) -> Vec<Found> {
    open(folder).expect("it is there").map(|found| found.expect("it can be read")).collect()
}

/// The moments of the steps that are there, and of the beginnings, which are negative.
fn moments(found: &[Found]) -> Vec<i64> {
    let moment = |found: &Found| match found {
        Found::Entry(Entry::Step(step)) => Some(step.seen.at.0 as i64),
        Found::Entry(Entry::Begin(begin)) => Some(-(begin.at.0 as i64)),
        Found::Entry(Entry::Requests(_) | Entry::Note(_)) | Found::Segment(_) | Found::Torn(_) => {
            None
        }
    };
    found.iter().filter_map(moment).collect()
}

/// Waits until `journal` says so.
fn until(journal: &Journal<'_>, what: &str, is_so: impl Fn(&Journal<'_>) -> bool) {
    // Ten seconds of a machine that has much else to do.
    for _ in 0..10_000 {
        if is_so(journal) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{what} did not come to be: {:?}", journal.health());
}

#[test]
fn a_live_journal_rotates_by_size_and_reads_as_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = KeepLimits { segment_bytes: 2_000, ..KeepLimits::default() };
    let mut journal = Journal::live(folder.path(), limits, begin(1)).expect("a thread");
    for at in 2..400 {
        let (seen, plan) = step(at);
        journal.record(&seen, &plan);
        if at % 50 == 0 {
            until(&journal, "a frame", |journal| journal.wants_snapshot());
            journal.begin(begin(at));
        }
    }
    assert!(journal.finish().is_none());
    let found = read_all(folder.path());
    let steps: Vec<i64> = moments(&found).into_iter().filter(|&at| at > 0).collect();
    assert_eq!(steps, (2..400).collect::<Vec<i64>>());
    let segments = found.iter().filter(|found| matches!(found, Found::Segment(_))).count();
    assert_eq!(segments, 8, "one and seven rotations");
    let mut read = 0;
    for found in &found {
        match found {
            Found::Entry(Entry::Begin(begin)) => {
                assert_eq!((begin.run, begin.steps, begin.gap), (Time(1), read, None));
            }
            Found::Entry(Entry::Step(_)) => read += 1,
            Found::Entry(Entry::Requests(_) | Entry::Note(_)) | Found::Segment(_) => {}
            Found::Torn(torn) => panic!("{torn:?}"),
        }
    }
}

#[test]
fn the_oldest_segments_go_when_all_are_too_large() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = KeepLimits { segment_bytes: 1_000, segment_ms: u64::MAX, total_bytes: 4_000 };
    let mut journal = Journal::live(folder.path(), limits, begin(1)).expect("a thread");
    for at in 2..1_000 {
        let (seen, plan) = step(at);
        journal.record(&seen, &plan);
        if at % 100 == 0 {
            until(&journal, "a frame", |journal| journal.wants_snapshot());
            journal.begin(begin(at));
        }
    }
    assert!(journal.finish().is_none());
    let found = moments(&read_all(folder.path()));
    assert!(found[0] < -1, "the first segment is gone: {}", found[0]);
    assert_eq!(found.last(), Some(&999));
    let sizes = std::fs::read_dir(folder.path()).expect("a folder");
    let total: u64 = sizes.map(|one| one.expect("a file").metadata().expect("a size").len()).sum();
    // The last segment may grow beyond its limit until a snapshot comes.
    assert!(total < 12_000, "{total} bytes are left");
}

/// A disk that does as it is told.
struct Told {
    file: std::fs::File,
    works: Arc<std::sync::atomic::AtomicBool>,
    gate: Arc<std::sync::Mutex<()>>,
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _open = self.gate.lock().expect("nobody panics with it");
        if !self.works.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.file.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl keeper::Output for Told {
    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Fault {
    works: Arc<std::sync::atomic::AtomicBool>,
    gate: Arc<std::sync::Mutex<()>>,
}

impl Fault {
    fn none() -> Fault {
        Fault { works: Arc::new(true.into()), gate: Arc::default() }
    }

    fn disk(&self, folder: &Path) -> keeper::Disk {
        let (works, gate) = (self.works.clone(), self.gate.clone());
        let open = move |path: &Path| -> std::io::Result<Box<dyn keeper::Output>> {
            let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
            Ok(Box::new(Told { file, works: works.clone(), gate: gate.clone() }))
        };
        keeper::Disk { folder: folder.to_owned(), open: Box::new(open) }
    }
}

#[test]
fn a_disk_that_does_not_move_costs_entries_that_are_counted_and_no_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let fault = Fault::none();
    let live = live::Live::start_on(fault.disk(folder.path()), KeepLimits::default(), begin(1));
    let mut journal = Journal(To::Folder(live.expect("a thread")));
    until(&journal, "a segment", |journal| {
        journal.health().is_some_and(|one| one.segment.is_some())
    });
    let stuck = fault.gate.lock().expect("nobody panics with it");
    let mut at = 2;
    // The writer holds some in its frame; then the channel is full, and what comes is dropped.
    while journal.health().is_some_and(|one| one.dropped < 500) {
        let (seen, plan) = step(at);
        journal.record(&seen, &plan);
        at += 1;
        assert!(at < 100_000, "nothing is ever dropped");
    }
    drop(stuck);
    until(&journal, "the wish for a snapshot", |journal| journal.wants_snapshot());
    // Until it has room again it may drop that too.
    until(&journal, "an empty channel", |journal| journal.is_drained());
    journal.begin(begin(at));
    let (seen, plan) = step(at + 1);
    journal.record(&seen, &plan);
    let health = journal.health().expect("it is live");
    assert!(journal.finish().is_none());

    let found = read_all(folder.path());
    let gap = found.iter().rev().find_map(|found| match found {
        Found::Entry(Entry::Begin(begin)) => begin.gap,
        Found::Entry(Entry::Step(_) | Entry::Requests(_) | Entry::Note(_))
        | Found::Segment(_)
        | Found::Torn(_) => None,
    });
    let gap = gap.expect("entries were lost");
    assert!(gap.dropped >= 500 && health.dropped >= gap.dropped, "{gap:?}, {health:?}");
    let moments = moments(&found);
    assert_eq!(moments[moments.len() - 2..], [-(at as i64), at as i64 + 1]);
    let kept = moments.iter().filter(|&&at| at > 0).count() as u64;
    assert_eq!(kept + gap.dropped, at - 1, "every step is there or counted");
    assert_eq!(gap.from, Time(at - gap.dropped));
}

#[test]
fn a_full_disk_is_told_and_the_journal_goes_on_from_the_next_snapshot() {
    use std::sync::atomic::Ordering::SeqCst;
    let folder = tempfile::tempdir().expect("a folder");
    let fault = Fault::none();
    let shared = Arc::new(live::Shared::default());
    let mut keeper =
        keeper::Keeper::new(fault.disk(folder.path()), KeepLimits::default(), shared.clone());
    let entry = |at| {
        let (seen, plan) = step(at);
        Entry::Step(Step { seen, plan })
    };
    let second = 1_000_000;
    keeper.take(0, Entry::Begin(Box::new(begin(1))));
    keeper.take(second, entry(2));
    keeper.settle(2 * second);
    fault.works.store(false, SeqCst);
    keeper.take(3 * second, entry(3));
    keeper.settle(4 * second);
    let told = shared.health().clone();
    assert!(told.trouble.as_deref().is_some_and(|text| text.contains("cannot write the journal")));
    assert_eq!((told.dropped, told.segment), (1, None));
    keeper.take(5 * second, entry(4));
    assert!(!shared.wants_snapshot.load(SeqCst), "the disk is left alone for a while");
    keeper.take(6 * second, Entry::Begin(Box::new(begin(5))));
    keeper.settle(10 * second);
    assert!(shared.wants_snapshot.load(SeqCst));
    // It is tried, and fails again.
    keeper.take(10 * second, Entry::Begin(Box::new(begin(6))));
    fault.works.store(true, SeqCst);
    keeper.settle(16 * second);
    keeper.take(16 * second, Entry::Begin(Box::new(begin(7))));
    keeper.take(17 * second, entry(8));
    keeper.end(18 * second);
    assert_eq!(shared.health().trouble, None);

    let found: Vec<Found> = read_all(folder.path());
    assert_eq!(moments(&found), [-1, 2, -7, 8]);
    let Some(Found::Entry(Entry::Begin(last))) = found.iter().rev().nth(1) else {
        panic!("a beginning before the last step")
    };
    assert_eq!(last.gap, Some(Gap { from: Time(3), dropped: 4 }));
}

#[test]
fn components_are_kept_once_by_their_digests_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal =
        Journal::live(folder.path(), KeepLimits::default(), begin(1)).expect("a thread");
    for (digest, component) in [("sha256:00ff", "one"), ("sha256:00ff", "two"), ("../../x", "y")] {
        journal.keep_component(digest, Arc::from(component.as_bytes()));
    }
    assert!(journal.finish().is_none());
    let kept = std::fs::read(component_path(folder.path(), "sha256:00ff")).expect("it is kept");
    assert_eq!(kept, b"one");
    let mut names: Vec<String> = std::fs::read_dir(folder.path().join("components"))
        .expect("a folder")
        .map(|one| one.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["------x.wasm", "sha256-00ff.wasm"]);
}

#[test]
fn a_segment_that_was_torn_is_read_to_its_last_good_frame_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    for run in [1, 100] {
        let mut journal =
            Journal::live(folder.path(), KeepLimits::default(), begin(run)).expect("a thread");
        for at in run + 1..run + 5 {
            let (seen, plan) = step(at);
            journal.record(&seen, &plan);
        }
        assert!(journal.finish().is_none());
    }
    let first = folder.path().join("00000001.tgj");
    let bytes = std::fs::read(&first).expect("it is there");
    std::fs::write(&first, &bytes[..bytes.len() - 3]).expect("it is written");
    let found = read_all(folder.path());
    assert_eq!(moments(&found), [-1, -100, 101, 102, 103, 104]);
    assert!(matches!(found[2], Found::Torn(Torn { why: "a frame is cut off", .. })), "{found:?}");
}

proptest::proptest! {
    #[test]
    fn any_entries_come_back_as_they_were(kinds in proptest::collection::vec(0u8..4, 0..40), cut in 0usize..60) {
        let entry = |(at, kind): (u64, &u8)| match kind {
            0 => Entry::Begin(Box::new(Begin {
                succession: (at % 2 == 0).then(|| Succession { who: "ana".into(), why: "a \"try\"\n".into() }),
                gap: (at % 3 == 0).then_some(Gap { from: Time(at), dropped: at }),
                ..begin(at)
            })),
            1 => {
                // Without NaN, which is no equal of itself.
                let (seen, plan) = (Observation { at: Time(at), ..Observation::default() }, step(at).1);
                Entry::Step(Step { seen, plan })
            }
            2 => {
                let one = Request { arrived_ms: at, waited_ms: at * 7, fate: Fate::Expired, ..Request::default() };
                Entry::Requests(Requests::of(at, &[("größe".to_owned(), one)], at % 2))
            }
            _ => Entry::Note(Note { at: Time(at), about: About::Pin, service: None, text: "two\nlines".into() }),
        };
        let entries: Vec<Entry> = (1..).zip(&kinds).map(entry).collect();
        let mut bytes = Vec::new();
        let mut writer = SegmentWriter::new(&mut bytes).expect("memory takes it");
        Entry::Begin(Box::new(begin(0))).write(&mut writer).expect("memory takes it");
        for (at, entry) in entries.iter().enumerate() {
            entry.write(&mut writer).expect("memory takes it");
            if at == cut {
                writer.flush().expect("memory takes it");
            }
        }
        writer.flush().expect("memory takes it");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("00000007.tgj");
        std::fs::write(&path, &bytes).expect("it is written");
        for place in [folder.path(), &path] {
            let found: Vec<Entry> = read_all(place)
                .into_iter()
                .filter_map(|found| match found {
                    Found::Entry(entry) => Some(entry),
                    Found::Segment(_) => None,
                    Found::Torn(torn) => panic!("{torn:?}"),
                })
                .skip(1)
                .collect();
            proptest::prop_assert_eq!(&found, &entries);
        }
    }
}
