//! Room for programs that know nothing of the line, such as Python's sqlite3 or better-sqlite3. SQLite's busy handler tries
//! again and again, in the end only each 100 ms, and would hardly ever meet a moment in which the lock is free: so while
//! such a program has the database open, backfill keeps off the lock for a ninth of the time, and for `WINDOW` in each
//! `PERIOD`, in which everybody who waits tries at least once. Live and synchronous writes do not keep off.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// A little longer than the longest pause of SQLite's busy handler (sqliteDefaultBusyCallback in main.c).
const WINDOW: Duration = Duration::from_millis(105);
const PERIOD: Duration = Duration::from_millis(1_000);
/// Of the time that the lock was held, so much is left free: one part in so many.
const SHARE: u32 = 8;

/// When backfill keeps off, in milliseconds of a clock that all processes share. It may lie in memory shared by them; all
/// zeros is a beginning.
#[repr(C)]
#[derive(Default)]
pub struct Room {
    free_until: AtomicU64,
    window_ended: AtomicU64,
}

impl Room {
    /// Leaves room after the lock was held for so long.
    pub fn leave(&self, now: Duration, held: Duration) {
        let (mut until, now) = (now + held / SHARE, millis(now));
        let ended = self.window_ended.load(SeqCst);
        if now.saturating_sub(ended) >= millis(PERIOD) || ended > now + millis(PERIOD) {
            until = Duration::from_millis(now) + WINDOW;
            self.window_ended.store(millis(until), SeqCst);
        }
        self.free_until.fetch_max(millis(until), SeqCst);
    }

    /// How long backfill has to keep off yet.
    pub fn left(&self, now: Duration) -> Duration {
        let until = self.free_until.load(SeqCst);
        let left = Duration::from_millis(until).saturating_sub(now);
        if left > PERIOD {
            // Nobody leaves so much: the memory holds nonsense.
            let _ = self
                .free_until
                .compare_exchange(until, millis(now), SeqCst, SeqCst);
            return Duration::ZERO;
        }
        left
    }
}

/// Whole milliseconds, as shared memory holds times.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_waiter_that_tries_each_100_ms_meets_a_free_moment_within_each_period() {
        let room = Room::default();
        let mut now = START;
        let mut tries = Vec::new();
        while now < START + Duration::from_secs(10) {
            let held = Duration::from_millis(20);
            let try_at = Duration::from_millis(millis(now).next_multiple_of(100));
            now += held;
            room.leave(now, held);
            let left = room.left(now);
            if (now..now + left).contains(&try_at.max(now)) && left >= Duration::from_millis(100) {
                tries.push(now);
            }
            now += left;
        }
        assert!(tries.len() >= 8, "{tries:?}");
    }

    #[test]
    fn a_fifth_of_the_time_at_most_is_left_free() {
        let room = Room::default();
        let (mut now, mut free) = (START, Duration::ZERO);
        while now < START + Duration::from_secs(20) {
            let held = Duration::from_millis(20);
            now += held;
            room.leave(now, held);
            free += room.left(now);
            now += room.left(now);
        }
        assert!(
            free > Duration::from_secs(3) && free <= Duration::from_secs(4),
            "{free:?}"
        );
    }

    #[test]
    fn nonsense_keeps_nobody_off() {
        let room = Room::default();
        room.free_until.store(u64::MAX, SeqCst);
        room.window_ended.store(u64::MAX, SeqCst);
        assert_eq!(room.left(START), Duration::ZERO);
        room.leave(START, Duration::from_millis(8));
        assert!(room.left(START) <= WINDOW);
        room.free_until.store(u64::MAX, SeqCst);
        assert_eq!(room.left(START), Duration::ZERO);
    }
}
