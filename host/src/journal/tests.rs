//! What journals do as a whole: lines and segments, a thread that writes, disks that do not.

use super::*;
use crate::engine::{Event, Report, TargetId};

fn header() -> Header {
    Header {
        api_version: API_VERSION.to_owned(),
        kind: "Journal".to_owned(),
        start: Time::ZERO,
        options: Options { tick_ms: 2_000, explains: true, gateway_is_always_in_path: true, ..Options::default() },
        policies: Vec::new(),
        limits: None,
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
    assert_eq!(
        journal.finish().map(|error| error.kind()),
        Some(std::io::ErrorKind::StorageFull)
    );
}

#[test]
fn another_version_is_refused_by_name() {
    let text =
        String::from_utf8(written()).expect("JSON").replace(API_VERSION, "tidegate.dev/v9");
    let error = read(text.as_bytes()).err().expect("refused");
    assert_eq!(
        error.to_string(),
        "the journal is of version tidegate.dev/v9, and this program reads tidegate.dev/v1alpha1"
    );
}
