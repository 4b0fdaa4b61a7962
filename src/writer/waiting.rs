//! Telling of waits and slow writes: the event `lock-wait`, at most one in five seconds for all waits since the last
//! one, and the event `slow-write`. Nothing is gathered, and no holder looked for, while nobody listens.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Waited, Writer, lock};
use crate::error::{Result, StoreError};
use crate::histogram::milliseconds;
use crate::reply::{Event, EventKind, LockWaitEvent, SlowKind, SlowWriteEvent};
use crate::turn::Urgency;

/// Between two events `lock-wait`.
const APART: Duration = Duration::from_secs(5);
/// A wait that lasts so long is told of before it has ended.
const LONG: Duration = Duration::from_secs(1);
/// A write that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);
/// So much of a statement is told.
const MOST_CHARS: usize = 1_000;

/// Waits that nobody has been told of.
#[derive(Debug, Default)]
pub struct LockReports {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    waits: u64,
    total: Duration,
    longest: Duration,
}

impl LockReports {
    fn is_due(&self, now: Instant) -> bool {
        lock(&self.state).is_due(now)
    }

    /// Adds a wait, or the part of it that no event has told; gives the event if it is due.
    fn add(
        &self,
        untold: Duration,
        whole: Duration,
        holder_pid: Option<u32>,
        now: Instant,
    ) -> Option<LockWaitEvent> {
        let mut state = lock(&self.state);
        state.waits += 1;
        state.total += untold;
        state.longest = state.longest.max(whole);
        if !state.is_due(now) {
            return None;
        }
        let event = LockWaitEvent {
            count: state.waits,
            total_ms: milliseconds(state.total),
            longest_ms: milliseconds(state.longest),
            holder_pid,
        };
        *state = State {
            told: Some(now),
            ..State::default()
        };
        Some(event)
    }
}

impl State {
    fn is_due(&self, now: Instant) -> bool {
        self.told
            .is_none_or(|told| now.saturating_duration_since(told) >= APART)
    }
}

/// One wait, as far as it has been told.
#[derive(Default)]
struct Report {
    told: Duration,
    /// Who held the lock, looked for only when an event is due; `None` inside when that cannot be known.
    holder: Option<Option<u32>>,
}

impl Writer {
    /// Waits for the lock by `FileLock::wait`, and tells of it; gives how long it waited and how often it tried.
    pub fn wait_for_lock(
        &self,
        urgency: &dyn Fn() -> Urgency,
        begin: &mut dyn FnMut() -> Result<()>,
        give_up: &mut dyn FnMut(Waited) -> Option<StoreError>,
    ) -> (Waited, Result<()>) {
        let mut start = None;
        let mut attempts = 0;
        let mut report = None;
        let outcome = self.file_lock.wait(
            urgency,
            &mut || {
                attempts += 1;
                begin()
            },
            &mut |waited| {
                let now = Instant::now();
                // Asked here, because most writes find the lock free.
                if start.is_none() {
                    start = Some(now.checked_sub(waited.time).unwrap_or(now));
                    report = self.is_wanted(EventKind::LockWait).then(Report::default);
                }
                if let Some(report) = &mut report {
                    self.goes_on(report, waited.time, now);
                }
                give_up(waited)
            },
        );
        let now = Instant::now();
        let time = start.map_or(Duration::ZERO, |start| now - start);
        if let Some(report) = &report {
            self.report(report.told, time, report.holder.flatten(), now);
        }
        (Waited { time, attempts }, outcome)
    }

    /// A try at the lock has failed.
    fn goes_on(&self, report: &mut Report, waited: Duration, now: Instant) {
        if !self.lock_reports.is_due(now) {
            return;
        }
        // Now, while it is held: after the wait nobody could tell who had it.
        let holder = *report
            .holder
            .get_or_insert_with(|| self.engine.lock_holder());
        if waited >= LONG {
            self.report(report.told, waited, holder, now);
            *report = Report {
                told: waited,
                holder: None,
            };
        }
    }

    fn report(&self, told: Duration, waited: Duration, holder: Option<u32>, now: Instant) {
        let untold = waited.saturating_sub(told);
        if let Some(event) = self.lock_reports.add(untold, waited, holder, now) {
            self.emit(&Event::LockWait(event));
        }
    }

    /// Tells of a write that has taken long: `wanted` is when it began to wait for its turn or for the lock, `waited`
    /// how long it did and how often it tried, `sql` the statement that it was or that began it.
    pub fn tell_if_slow(&self, kind: SlowKind, wanted: Instant, waited: Waited, sql: Option<&str>) {
        let took = wanted.elapsed();
        if took <= SLOW || !self.is_wanted(EventKind::SlowWrite) {
            return;
        }
        self.emit(&Event::SlowWrite(SlowWriteEvent {
            kind,
            waited_ms: milliseconds(waited.time),
            took_ms: milliseconds(took),
            attempts: waited.attempts,
            sql: sql.map(|sql| sql.chars().take(MOST_CHARS).collect()),
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::counts::Counts;
    use crate::engine::fake::Fake;
    use crate::tail_cache::TailCache;
    use crate::testing::{Told, options};

    #[test]
    fn many_waits_are_told_in_one_event_and_the_next_comes_when_its_time_has_passed() {
        let reports = LockReports::default();
        let start = Instant::now();
        let ms = Duration::from_millis;
        let first = reports.add(ms(3), ms(3), Some(7), start);
        assert_eq!(
            first,
            Some(LockWaitEvent {
                count: 1,
                total_ms: 3.0,
                longest_ms: 3.0,
                holder_pid: Some(7)
            })
        );
        for _ in 0..10 {
            assert_eq!(reports.add(ms(2), ms(2), None, start + ms(4_999)), None);
            assert!(!reports.is_due(start + ms(4_999)));
        }
        assert!(reports.is_due(start + APART));
        let second = reports.add(ms(9), ms(9), None, start + APART);
        assert_eq!(
            second.map(|event| (event.count, event.total_ms, event.longest_ms)),
            Some((11, 29.0, 9.0))
        );
        assert_eq!(reports.add(ms(1), ms(1), None, start + APART), None);
    }

    #[test]
    fn a_wait_that_lasts_is_told_of_before_it_has_ended_and_its_rest_afterwards() {
        let options = options();
        let fake = Fake::new(&options.timeframes);
        fake.set_locked(true);
        let counts = Arc::new(Counts::new(fake.clone(), &options.timeframes));
        let writer = Writer::new(fake, counts, Arc::new(TailCache::new(0)), &options);
        let told = Told::new();
        writer.add_listener(told.clone());
        let start = Instant::now();
        let mut report = Report::default();
        let mut goes_on = |waited| writer.goes_on(&mut report, waited, start + waited);
        let seconds = Duration::from_secs;
        goes_on(LONG / 2);
        assert!(told.events().is_empty(), "it may be over soon");
        goes_on(seconds(2));
        goes_on(seconds(4));
        goes_on(seconds(7));
        writer.report(report.told, seconds(8), None, start + seconds(12));
        let told: Vec<_> = told
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::LockWait(event) => {
                    Some((event.total_ms, event.longest_ms, event.holder_pid))
                }
                _ => None,
            })
            .collect();
        assert_eq!(
            told,
            [
                (2_000.0, 2_000.0, Some(4_711)),
                (5_000.0, 7_000.0, Some(4_711)),
                (1_000.0, 8_000.0, None)
            ]
        );
    }
}
