//! The one clock of a live run: Unix time anchored at the start, carried on by a monotonic clock and led towards wall time gently, so
//! that it never steps back or jumps, whatever is done to the machine's time. Everything else is handed the time.

#![expect(clippy::disallowed_methods, reason = "this is where time comes from")]

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// How fast it is led towards wall time at most: microseconds a second.
const SLEW_PPM: i64 = 500;

/// A clock that never steps back. Shared by reference: all of it may be used at once from many threads.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    anchor_us: u64,
    /// What is added to the anchor and the monotonic clock. Microseconds.
    offset_us: AtomicI64,
    /// Up to where wall time was looked at. Microseconds since the start.
    slewed_us: AtomicU64,
    /// The latest time that was told.
    told_us: AtomicU64,
}

impl Clock {
    /// A clock that shows wall time now.
    pub fn start() -> Clock {
        Clock {
            started: Instant::now(),
            anchor_us: wall_us(),
            offset_us: AtomicI64::new(0),
            slewed_us: AtomicU64::new(0),
            told_us: AtomicU64::new(0),
        }
    }

    /// Now. Unix microseconds.
    pub fn now_us(&self) -> u64 {
        let now_us = (self.anchor_us + micros(self.started.elapsed()))
            .saturating_add_signed(self.offset_us.load(Ordering::Relaxed));
        self.told_us.fetch_max(now_us, Ordering::Relaxed).max(now_us)
    }

    /// Now, as the engine counts it: whole milliseconds, rounded down.
    pub fn now(&self) -> Time {
        Time(self.now_us() / 1_000)
    }

    /// How long until `at`; nothing if that has come.
    pub fn until_us(&self, at_us: u64) -> Duration {
        Duration::from_micros(at_us.saturating_sub(self.now_us()))
    }

    /// Leads the clock towards wall time, by at most 500 microseconds for each second since this was last called. Called now and then,
    /// from one place.
    pub fn slew(&self) {
        let elapsed_us = micros(self.started.elapsed());
        let since_us = elapsed_us - self.slewed_us.swap(elapsed_us, Ordering::Relaxed);
        let step_us = slew_step(wall_us() as i64 - self.now_us() as i64, since_us);
        self.offset_us.fetch_add(step_us, Ordering::Relaxed);
    }
}

/// By how much to move towards `off_us`, so long after the last move. Microseconds.
fn slew_step(off_us: i64, since_us: u64) -> i64 {
    let most_us = i64::try_from(since_us).unwrap_or(i64::MAX).saturating_mul(SLEW_PPM) / 1_000_000;
    off_us.clamp(-most_us, most_us)
}

fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}

fn micros(span: Duration) -> u64 {
    span.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_steps_back_and_tells_wall_time() {
        let clock = Clock::start();
        let told: Vec<u64> = (0..1_000)
            .map(|_| {
                clock.slew();
                clock.now_us()
            })
            .collect();
        assert!(told.is_sorted(), "a time was told that is before an earlier one");
        assert!(told[0].abs_diff(wall_us()) < 60_000_000, "it is a minute off");
    }

    #[test]
    fn a_jump_of_wall_time_is_followed_by_half_a_millisecond_a_second() {
        assert_eq!(slew_step(3_600_000_000, 1_000_000), 500);
        assert_eq!(slew_step(-3_600_000_000, 2_000_000), -1_000);
        assert_eq!(slew_step(120, 1_000_000), 120);
        assert_eq!(slew_step(-7, 0), 0);
    }
}
