//! The writer on a scripted engine: whatever goes wrong, every accepted write is settled exactly once with what is
//! true of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Asker, Waited, Work, Writer};
use crate::candle::TimeRange;
use crate::counts::Counts;
use crate::engine::Engine;
use crate::engine::fake::{Act, Fake, Gate, Point, busy, constraint, full, io_error_at_commit};
use crate::error::{Code, Failure, StoreError, Written};
use crate::jobs::{JobId, JobNumbers};
use crate::options::{Breaker, Options, Retry};
use crate::queue::{Accounts, Amount, Offer, Priority};
use crate::reply::{Answer, Event, LockWaitEvent, Reply, Sink, SlowKind, SlowWriteEvent};
use crate::tail_cache::TailCache;
use crate::testing::{FRAME, SYMBOL, Told, options, owned, packed, statement, wait_for};
use crate::timeframe::Timeframe;

fn offer(priority: Priority, deadline: Option<Instant>) -> Offer {
    Offer {
        deadline,
        ..Offer::new(priority, Instant::now())
    }
}

/// A writer on a fake engine.
struct Bench {
    fake: Arc<Fake>,
    writer: Arc<Writer>,
    told: Arc<Told>,
}

impl Bench {
    fn new() -> Self {
        Self::with(&options())
    }

    fn with(options: &Options) -> Self {
        let fake = Fake::new(&options.timeframes);
        let engine: Arc<dyn Engine> = fake.clone();
        let counts = Arc::new(Counts::new(engine.clone(), &options.timeframes));
        let writer = Writer::new(engine, counts, Arc::new(TailCache::new(0)), options);
        let told = Told::new();
        writer.add_listener(told.clone());
        Self { fake, writer, told }
    }

    fn reply(&self, id: u64) -> Reply {
        Reply {
            sink: self.told.clone(),
            id,
        }
    }

    fn push(&self, id: u64, work: Work, priority: Priority, deadline: Option<Instant>) -> u64 {
        self.writer
            .enqueue(work, offer(priority, deadline), self.reply(id))
            .unwrap_or_else(|error| panic!("write {id} was not accepted: {error}"))
    }

    fn live(&self, id: u64, candles: &[(i64, f64)]) -> u64 {
        self.push(id, upsert(candles), Priority::Live, None)
    }

    fn backfill(&self, id: u64, candles: &[(i64, f64)]) -> u64 {
        self.push(id, upsert(candles), Priority::Backfill, None)
    }

    fn run(&self, id: u64, sql: &[&str]) -> u64 {
        let statements = sql.iter().map(|sql| statement(sql)).collect();
        self.push(id, Work::Statements(statements), Priority::Live, None)
    }

    /// Keeps the writer thread before its first lock, so that what is pushed next goes into one group.
    fn hold(&self) -> Arc<Gate> {
        let gate = self.fake.stop_at(Point::Begin);
        self.live(HOLD, &[(0, 0.0)]);
        gate.wait();
        gate
    }

    fn close_of(&self, time: i64) -> Option<f64> {
        self.fake.close_of(FRAME, SYMBOL, time)
    }

    fn in_flight(&self) -> u64 {
        self.writer
            .queue
            .numbers(Instant::now())
            .0
            .in_flight
            .commands
    }

    /// Everything settled, each once, and the thread ends.
    fn end(self) {
        self.writer.shut_down(soon());
        self.told.assert_once_each();
        assert_eq!(self.in_flight(), 0);
        assert!(self.writer.queue.oldest().is_none());
    }
}

/// The write that keeps the thread busy in `Bench::hold`.
const HOLD: u64 = 1_000;

fn upsert(candles: &[(i64, f64)]) -> Work {
    Work::Upsert {
        timeframe: FRAME,
        symbol: SYMBOL.into(),
        rows: owned(candles),
    }
}

fn delete(after: i64, before: i64) -> Work {
    Work::Delete {
        timeframe: FRAME,
        symbol: SYMBOL.into(),
        range: TimeRange { after, before },
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn every_write_is_told_what_it_did() {
    let bench = Bench::new();
    let gate = bench.hold();
    let sequence = bench.live(1, &[(1, 1.0), (2, 1.0)]);
    bench.live(2, &[(2, 1.0), (3, 1.0)]);
    bench.live(3, &[(1, 2.0), (2, 1.0), (4, 1.0)]);
    bench.push(4, delete(1, 4), Priority::Live, None);
    bench.run(5, &["note a", "note b"]);
    gate.open();
    // Of the candles that several of them write only the newest is written.
    let first = bench.told.written(1);
    assert_eq!((first.sequence, first.coalesced), (sequence, 2));
    let second = bench.told.written(2);
    assert_eq!((second.inserted, second.coalesced), (1, 1));
    let third = bench.told.written(3);
    assert_eq!((third.inserted, third.coalesced), (3, 0));
    assert_eq!(bench.told.written(4).deleted, 2);
    assert!(matches!(bench.told.outcome(5), Ok(Answer::Ran(ran)) if ran.results.len() == 2));
    assert_eq!(bench.fake.notes(), ["a", "b"]);
    assert_eq!(bench.fake.calls(Point::Commit), 1, "one group");
    bench.end();
}

#[test]
fn a_write_that_fails_fails_alone_and_its_neighbours_commit() {
    for wrong in ["wrong", "end", "end and succeed", "defer"] {
        let bench = Bench::new();
        let gate = bench.hold();
        bench.live(1, &[(1, 1.0)]);
        bench.run(2, &["note before", wrong, "note after"]);
        bench.live(3, &[(3, 3.0)]);
        bench.run(4, &["note neighbour"]);
        gate.open();
        assert_eq!(bench.told.written(1).inserted, 1, "{wrong}");
        let error = bench.told.error(2);
        assert_eq!(error.code, Code::Constraint, "{wrong}");
        assert_eq!(error.written, Some(Written::No), "{wrong}");
        assert_eq!(bench.told.written(3).inserted, 1, "{wrong}");
        assert!(bench.told.outcome(4).is_ok(), "{wrong}");
        assert_eq!(
            bench.fake.notes(),
            ["neighbour"],
            "{wrong}: all of it or nothing"
        );
        assert_eq!(bench.close_of(3), Some(3.0));
        bench.end();
    }
}

#[test]
fn a_write_that_fails_at_any_place_of_a_group_fails_alone() {
    for place in 0..4 {
        let bench = Bench::new();
        let gate = bench.hold();
        // In the group, then alone. The write that holds the thread is the first of the group.
        let before = std::iter::repeat_n(Act::Pass, place + 1);
        let alone = std::iter::repeat_n(Act::Pass, place + 1);
        let fail = || Act::Fail(constraint());
        bench.fake.script(
            Point::Upsert,
            before.chain([fail()]).chain(alone).chain([fail()]),
        );
        for id in 0..4 {
            bench.live(id, &[(id as i64 + 1, 1.0)]);
        }
        gate.open();
        for id in 0..4 {
            let outcome = bench.told.outcome(id);
            assert_eq!(outcome.is_err(), id == place as u64, "{place}: {id}");
            assert_eq!(
                bench.close_of(id as i64 + 1).is_some(),
                id != place as u64,
                "{place}: {id}"
            );
        }
        bench.end();
    }
}

#[test]
fn a_lock_that_is_taken_is_waited_out() {
    let bench = Bench::new();
    bench
        .fake
        .script(Point::Begin, std::iter::repeat_n(Act::Fail(busy()), 5));
    bench.live(1, &[(1, 1.0)]);
    assert_eq!(bench.told.written(1).inserted, 1);
    let numbers = bench.writer.file_lock.numbers();
    assert_eq!((numbers.waits, numbers.timeouts), (1, 0));
    bench.end();
}

#[test]
fn a_file_that_is_locked_while_it_is_opened_is_waited_out() {
    let bench = Bench::new();
    bench
        .fake
        .script(Point::Open, std::iter::repeat_n(Act::Fail(busy()), 3));
    bench.live(1, &[(1, 1.0)]);
    assert_eq!(bench.told.written(1).inserted, 1);
    bench.end();
}

#[test]
fn a_lock_that_is_lost_half_way_undoes_the_group_and_writes_it_again() {
    for point in [Point::Upsert, Point::Commit] {
        let bench = Bench::new();
        let gate = bench.hold();
        let busy = || Act::Fail(busy());
        bench.fake.script(point, [busy(), Act::Pass, busy()]);
        bench.live(1, &[(1, 1.0)]);
        bench.live(2, &[(1, 2.0)]);
        gate.open();
        assert_eq!(bench.told.written(1).coalesced, 1);
        assert_eq!(bench.told.written(2).inserted, 1);
        assert_eq!(bench.close_of(1), Some(2.0));
        bench.end();
    }
}

#[test]
fn a_file_that_cannot_be_opened_fails_what_waits_and_is_tried_again() {
    let bench = Bench::new();
    let denied = StoreError::new(Code::Permission, "the fake may not be opened");
    bench.fake.script(Point::Open, [Act::Fail(denied)]);
    bench.live(1, &[(1, 1.0)]);
    let error = bench.told.error(1);
    assert_eq!(
        (error.code, error.written),
        (Code::Permission, Some(Written::No))
    );
    bench.live(2, &[(1, 1.0)]);
    assert_eq!(bench.told.written(2).inserted, 1);
    bench.end();
}

#[test]
fn a_deadline_that_passes_while_the_lock_is_taken_leaves_the_write_absent() {
    let bench = Bench::new();
    bench.fake.set_locked(true);
    let deadline = Some(Instant::now() + Duration::from_millis(5));
    bench.push(1, upsert(&[(1, 1.0)]), Priority::Live, deadline);
    bench.live(2, &[(2, 2.0)]);
    let error = bench.told.error(1);
    assert_eq!(
        (error.code, error.written),
        (Code::Timeout, Some(Written::No))
    );
    assert_eq!(error.holder_pid, Some(4_711));
    assert!(!bench.told.is_settled(2), "it has no deadline");
    bench.fake.set_locked(false);
    assert_eq!(bench.told.written(2).inserted, 1);
    assert_eq!(bench.close_of(1), None);
    bench.end();
}

#[test]
fn a_deadline_that_passes_while_the_token_is_held_leaves_the_write_absent() {
    let bench = Bench::new();
    let held = bench.writer.token.take(Asker::Caller, None);
    let deadline = Some(Instant::now() + Duration::from_millis(5));
    bench.push(1, upsert(&[(1, 1.0)]), Priority::Live, deadline);
    bench.live(2, &[(2, 2.0)]);
    assert_eq!(bench.told.error(1).code, Code::Timeout);
    assert!(!bench.told.is_settled(2));
    drop(held);
    assert_eq!(bench.told.written(2).inserted, 1);
    assert_eq!(bench.close_of(1), None);
    bench.end();
}

#[test]
fn a_write_that_has_begun_is_told_the_truth_however_late() {
    let bench = Bench::new();
    let gate = bench.fake.stop_at(Point::Commit);
    let deadline = Some(Instant::now() + Duration::from_secs(1));
    let sequence = bench.push(1, upsert(&[(1, 1.0)]), Priority::Live, deadline);
    gate.wait();
    let late = StoreError::new(Code::Aborted, "too late");
    assert!(!bench.writer.withdraw(sequence, late));
    gate.open();
    assert_eq!(bench.told.written(1).inserted, 1);
    bench.end();
}

#[test]
fn a_withdrawn_write_is_absent() {
    let bench = Bench::new();
    let gate = bench.hold();
    let sequence = bench.live(1, &[(1, 1.0)]);
    let unwanted = || StoreError::new(Code::Aborted, "unwanted").not_written();
    assert!(bench.writer.withdraw(sequence, unwanted()));
    assert!(!bench.writer.withdraw(sequence, unwanted()), "only once");
    assert_eq!(bench.told.error(1).code, Code::Aborted);
    gate.open();
    bench.told.written(HOLD);
    assert_eq!(bench.close_of(1), None);
    bench.end();
}

#[test]
fn what_was_accepted_before_the_disk_was_full_is_kept_and_written_in_its_order() {
    for point in [Point::Begin, Point::Upsert, Point::Commit] {
        let bench = Bench::with(&quick_to_recover());
        let gate = bench.hold();
        let is_full = || Act::Fail(full());
        bench.fake.script(point, [Act::Pass, is_full(), is_full()]);
        bench.fake.script(Point::Probe, [is_full()]);
        bench.run(1, &["note a"]);
        bench.live(2, &[(1, 1.0)]);
        bench.run(3, &["note b"]);
        gate.open();
        bench.told.written(HOLD);
        for id in [1, 3] {
            assert!(bench.told.outcome(id).is_ok(), "{point:?}");
        }
        assert_eq!(bench.told.written(2).inserted, 1, "{point:?}");
        assert_eq!(bench.fake.notes(), ["a", "b"], "{point:?}");
        bench.end();
    }
}

#[test]
fn while_the_breaker_is_open_new_writes_are_refused_with_the_time_until_the_next_trial() {
    let bench = Bench::new();
    bench.fake.script(Point::Upsert, [Act::Fail(full())]);
    bench.live(1, &[(1, 1.0)]);
    wait_for("the breaker to open", || {
        bench.writer.check_breaker().is_err()
    });
    let refused = bench.writer.enqueue(
        upsert(&[(2, 1.0)]),
        offer(Priority::Live, None),
        bench.reply(2),
    );
    let Err(error) = refused else {
        panic!("the breaker is open");
    };
    assert_eq!(
        (error.code, error.written),
        (Code::BreakerOpen, Some(Written::No))
    );
    assert!(error.retry_in_ms.is_some_and(|wait| wait <= 2_000.0));
    assert!(bench.writer.admit().is_err());
    // Within two seconds the storage is looked at, and what waited is the trial.
    assert_eq!(bench.told.written(1).inserted, 1);
    assert!(bench.writer.admit().is_ok());
    bench.end();
}

#[test]
fn io_errors_are_tried_again_and_only_three_in_a_row_open_the_breaker() {
    let io_error = || {
        let error = StoreError::new(Code::IoError, "the fake's disk hiccups");
        Act::Fail(error.failure(Failure::Storage))
    };
    let bench = Bench::with(&quick_to_recover());
    bench.fake.script(Point::Upsert, [io_error(), io_error()]);
    bench.live(1, &[(1, 1.0)]);
    assert_eq!(bench.told.written(1).inserted, 1);
    assert_eq!(bench.fake.calls(Point::Probe), 0);
    bench
        .fake
        .script(Point::Upsert, [io_error(), io_error(), io_error()]);
    bench.fake.script(Point::Probe, [io_error()]);
    bench.live(2, &[(2, 1.0)]);
    assert_eq!(bench.told.written(2).inserted, 1);
    bench.end();
}

#[test]
fn a_live_write_ends_the_pause_between_two_attempts() {
    let bench = Bench::with(&Options {
        retry: Retry {
            base_ms: 60_000.0,
            cap_ms: 60_000.0,
            ..options().retry
        },
        ..options()
    });
    bench.fake.script(Point::Upsert, [Act::Fail(busy())]);
    bench.backfill(1, &[(1, 1.0)]);
    wait_for("the first attempt", || {
        bench.writer.numbers.numbers().retries == 1
    });
    bench.backfill(2, &[(2, 1.0)]);
    assert_eq!(bench.fake.calls(Point::Commit), 0);
    bench.live(3, &[(3, 1.0)]);
    for id in 1..=3 {
        bench.told.written(id);
    }
    bench.end();
}

/// Options of a store whose breaker and pauses are short.
fn quick_to_recover() -> Options {
    Options {
        retry: Retry {
            base_ms: 1.0,
            cap_ms: 1.0,
            jitter_ms: 0.0,
            ..options().retry
        },
        breaker: Breaker {
            recovery_ms: 100.0,
            ..options().breaker
        },
        ..options()
    }
}

#[test]
fn a_commit_of_unknown_outcome_is_said_to_be_unknown_and_poisons_the_store() {
    let bench = Bench::new();
    let gate = bench.hold();
    let stop = Arc::<Gate>::default();
    bench.fake.script(
        Point::Commit,
        [Act::StopAndFail(stop.clone(), io_error_at_commit())],
    );
    gate.open();
    stop.wait();
    bench.live(1, &[(1, 1.0)]);
    stop.open();
    let begun = bench.told.error(HOLD);
    assert_eq!(
        (begun.code, begun.written),
        (Code::IoError, Some(Written::Unknown))
    );
    let waiting = bench.told.error(1);
    assert_eq!(
        (waiting.code, waiting.written),
        (Code::Poisoned, Some(Written::No))
    );
    let refused = bench.writer.check_poisoned();
    assert!(refused.is_err_and(|error| error.code == Code::Poisoned));
    wait_for("the event", || {
        let told = |event: &Event| matches!(event, Event::StoreError(error) if error.code == Code::IoError);
        bench.told.events().iter().any(told)
    });
    bench.end();
}

#[test]
fn a_fatal_error_of_one_write_is_not_told_of_those_that_never_began() {
    let bench = Bench::new();
    let gate = bench.hold();
    // The group fails for one command; run alone, the first commit fails for good.
    bench.fake.script(
        Point::Commit,
        [
            Act::Fail(constraint()),
            Act::Pass,
            Act::Fail(io_error_at_commit()),
        ],
    );
    bench.live(1, &[(1, 1.0)]);
    bench.live(2, &[(2, 2.0)]);
    gate.open();
    assert_eq!(bench.told.written(HOLD).inserted, 1);
    assert_eq!(bench.told.error(1).written, Some(Written::Unknown));
    let never = bench.told.error(2);
    assert_eq!(
        (never.code, never.written),
        (Code::Poisoned, Some(Written::No))
    );
    bench.end();
}

#[test]
fn a_write_accepted_while_the_store_is_poisoned_is_not_written() {
    let bench = Bench::new();
    bench
        .writer
        .poison(&StoreError::new(Code::Corrupt, "the fake is corrupt").failure(Failure::Fatal));
    // As if the check for poison had been passed before.
    let command = super::Command {
        work: upsert(&[(1, 1.0)]),
        reply: bench.reply(1),
    };
    let pushed = bench
        .writer
        .queue
        .push(Offer::of(Priority::Live, Instant::now(), 1, 1), |_| command);
    assert!(pushed.is_ok());
    assert!(bench.writer.start_thread().is_ok());
    assert_eq!(bench.told.error(1).code, Code::Poisoned);
    assert_eq!(bench.close_of(1), None);
    bench.end();
}

#[test]
fn a_panic_settles_what_was_begun_and_what_waits_and_does_not_hang_the_end() {
    for (point, written) in [
        (Point::Upsert, Written::No),
        (Point::Commit, Written::Unknown),
    ] {
        let bench = Bench::new();
        let gate = bench.hold();
        bench.fake.script(point, [Act::Pass, Act::Panic]);
        if point == Point::Commit {
            gate.open();
            bench.told.written(HOLD);
        }
        bench.live(1, &[(1, 1.0)]);
        gate.open();
        let error = bench.told.error(1);
        assert_eq!(
            (error.code, error.written),
            (Code::Poisoned, Some(written)),
            "{point:?}"
        );
        if point == Point::Upsert {
            assert_eq!(bench.told.error(HOLD).code, Code::Poisoned);
        }
        wait_for("nothing is in flight", || bench.in_flight() == 0);
        let work = upsert(&[(2, 2.0)]);
        let refused = bench
            .writer
            .enqueue(work, offer(Priority::Live, None), bench.reply(2));
        assert!(refused.is_err_and(|error| error.code == Code::Poisoned));
        bench.end();
    }
}

#[test]
fn a_panic_while_the_file_is_opened_does_not_keep_the_token() {
    let bench = Bench::new();
    bench.fake.script(Point::Open, [Act::Panic]);
    bench.live(1, &[(1, 1.0)]);
    assert_eq!(bench.told.error(1).code, Code::Poisoned);
    let held = bench.writer.token.take(Asker::Caller, Some(soon()));
    assert!(held.is_ok_and(|held| held.is_some()));
    bench.end();
}

#[test]
fn closing_writes_what_waits() {
    let bench = Bench::new();
    let gate = bench.hold();
    for id in 1..=50 {
        bench.live(id, &[(id as i64, 1.0)]);
    }
    gate.open();
    bench.writer.shut_down(soon());
    assert_eq!(bench.told.settled(), 51);
    assert!((1..=50).all(|id| bench.close_of(id).is_some()));
    let work = upsert(&[(1, 1.0)]);
    let refused = bench
        .writer
        .enqueue(work, offer(Priority::Live, None), bench.reply(99));
    assert!(refused.is_err_and(|error| error.code == Code::Closed));
    bench.end();
}

#[test]
fn closing_fails_what_its_deadline_leaves_and_ends_though_the_lock_is_taken() {
    let bench = Bench::new();
    bench.fake.set_locked(true);
    bench.live(1, &[(1, 1.0)]);
    bench.writer.shut_down(Instant::now());
    let error = bench.told.error(1);
    assert_eq!(
        (error.code, error.written),
        (Code::Closed, Some(Written::No))
    );
    bench.end();
}

#[test]
fn closing_ends_though_the_lock_is_taken_when_a_failed_group_is_to_be_run_again() {
    let bench = Bench::new();
    let gate = bench.hold();
    let stop = Arc::<Gate>::default();
    bench.fake.script(
        Point::Upsert,
        [Act::Pass, Act::StopAndFail(stop.clone(), constraint())],
    );
    bench.live(1, &[(1, 1.0)]);
    gate.open();
    stop.wait();
    bench.fake.set_locked(true);
    stop.open();
    bench.writer.shut_down(Instant::now());
    assert_eq!(bench.told.error(1).code, Code::Closed);
    assert_eq!(bench.told.error(HOLD).code, Code::Closed);
    bench.end();
}

#[test]
fn a_write_that_is_to_be_run_alone_can_be_withdrawn_while_the_lock_is_taken() {
    let bench = Bench::new();
    let gate = bench.hold();
    let stop = Arc::<Gate>::default();
    bench.fake.script(
        Point::Upsert,
        [Act::Pass, Act::StopAndFail(stop.clone(), constraint())],
    );
    let sequence = bench.live(1, &[(1, 1.0)]);
    gate.open();
    stop.wait();
    bench.fake.set_locked(true);
    stop.open();
    wait_for("the group is undone", || bench.in_flight() == 0);
    let unwanted = StoreError::new(Code::Aborted, "unwanted").not_written();
    assert!(bench.writer.withdraw(sequence, unwanted));
    bench.fake.set_locked(false);
    assert_eq!(bench.told.written(HOLD).inserted, 1);
    assert_eq!(bench.close_of(1), None);
    bench.end();
}

#[test]
fn a_flush_waits_for_what_was_accepted_before_it_and_no_more() {
    let bench = Bench::new();
    let gate = bench.hold();
    let commit = bench.fake.stop_at(Point::Commit);
    bench.writer.flush(bench.reply(1));
    gate.open();
    commit.wait();
    bench.live(2, &[(2, 2.0)]);
    let second = bench.fake.stop_at(Point::Commit);
    assert!(!bench.told.is_settled(1));
    commit.open();
    assert!(matches!(bench.told.outcome(1), Ok(Answer::Done)));
    second.wait();
    assert!(!bench.told.is_settled(2), "it came later");
    second.open();
    bench.told.written(2);
    bench.end();
}

#[test]
fn a_flush_with_nothing_to_wait_for_is_settled_at_once() {
    let bench = Bench::new();
    bench.writer.flush(bench.reply(1));
    assert!(bench.told.is_settled(1));
    bench.end();
}

#[test]
fn the_newer_of_two_writes_of_a_candle_wins_though_it_goes_first() {
    let bench = Bench::new();
    let gate = bench.hold();
    bench.backfill(1, &[(1, 1.0), (2, 1.0)]);
    bench.live(2, &[(1, 2.0)]);
    gate.open();
    let older = bench.told.written(1);
    assert_eq!((older.inserted, older.coalesced), (1, 1));
    assert_eq!(bench.told.written(2).inserted, 1);
    assert_eq!(
        (bench.close_of(1), bench.close_of(2)),
        (Some(2.0), Some(1.0))
    );
    bench.end();
}

#[test]
fn the_newer_of_two_writes_of_a_candle_wins_when_its_group_is_run_one_by_one() {
    let bench = Bench::new();
    let gate = bench.hold();
    bench.backfill(1, &[(1, 1.0)]);
    bench.live(2, &[(1, 2.0)]);
    bench.run(3, &["wrong"]);
    gate.open();
    assert_eq!(bench.told.written(1).coalesced, 1);
    bench.told.written(2);
    assert_eq!(bench.told.error(3).code, Code::Constraint);
    assert_eq!(bench.close_of(1), Some(2.0));
    bench.end();
}

#[test]
fn an_older_deletion_leaves_newer_candles_alone() {
    let bench = Bench::new();
    let gate = bench.hold();
    bench.live(1, &[(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0)]);
    bench.push(2, delete(0, 9), Priority::Backfill, None);
    bench.live(3, &[(2, 2.0), (4, 2.0)]);
    gate.open();
    assert_eq!(bench.told.written(2).deleted, 2);
    let closes: Vec<_> = (1..=4).map(|time| bench.close_of(time)).collect();
    assert_eq!(closes, [None, Some(2.0), None, Some(2.0)]);
    bench.end();
}

#[test]
fn an_older_write_does_not_bring_back_what_a_newer_deletion_removed() {
    let bench = Bench::new();
    let gate = bench.hold();
    bench.backfill(1, &[(1, 1.0), (5, 1.0)]);
    bench.push(2, delete(0, 3), Priority::Live, None);
    gate.open();
    assert_eq!(bench.told.written(1).coalesced, 1);
    assert_eq!((bench.close_of(1), bench.close_of(5)), (None, Some(1.0)));
    bench.end();
}

#[test]
fn a_full_queue_refuses_and_has_room_when_its_writes_are_told_of() {
    let bench = Bench::with(&Options {
        queue_capacity_rows: 2,
        ..options()
    });
    let gate = bench.hold();
    bench.live(1, &[(1, 1.0)]);
    let more = || {
        let work = upsert(&[(2, 2.0)]);
        bench
            .writer
            .enqueue(work, offer(Priority::Live, None), bench.reply(2))
    };
    assert!(more().is_err_and(|error| error.code == Code::QueueFull));
    gate.open();
    bench.told.written(1);
    assert!(more().is_ok(), "who is told may send the next at once");
    bench.told.written(2);
    bench.end();
}

#[test]
fn the_end_of_the_queue_is_told_when_writes_are_committed_and_when_they_are_withdrawn() {
    let bench = Bench::new();
    let drained = || {
        let events = bench.told.events();
        let drained = |event: &&Event| matches!(event, Event::Drained);
        events.iter().filter(drained).count()
    };
    bench.live(1, &[(1, 1.0)]);
    wait_for("the first commit", || drained() == 1);
    bench.fake.set_locked(true);
    let sequence = bench.live(2, &[(2, 2.0)]);
    let unwanted = StoreError::new(Code::Aborted, "unwanted");
    assert!(bench.writer.withdraw(sequence, unwanted));
    assert_eq!(drained(), 2);
    bench.fake.set_locked(false);
    bench.end();
}

#[test]
fn one_commit_tells_of_each_series_once() {
    let bench = Bench::new();
    bench.writer.want_candles(true);
    let gate = bench.hold();
    bench.live(1, &[(3, 1.0), (1, 1.0)]);
    bench.live(2, &[(2, 1.0)]);
    let work = Work::Upsert {
        timeframe: Timeframe(60),
        symbol: SYMBOL.into(),
        rows: owned(&[(60, 1.0)]),
    };
    bench.push(3, work, Priority::Live, None);
    gate.open();
    bench.told.written(3);
    let candles = || -> Vec<_> {
        let events = bench.told.events().into_iter();
        events
            .filter_map(|event| match event {
                Event::Candles(candles) => Some(candles),
                _ => None,
            })
            .collect()
    };
    wait_for("two events", || candles().len() == 2);
    let told = candles();
    assert_eq!(
        (told[0].from, told[0].to, told[0].count),
        (0, 3, 4),
        "with the write that held the thread"
    );
    assert_eq!((told[1].timeframe, told[1].to), (Timeframe(60), 60));
    bench.end();
}

#[test]
fn writes_of_many_threads_are_each_settled_once() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let bench = &bench;
            scope.spawn(move || {
                for number in 0..200_u64 {
                    let id = thread * 1_000 + number;
                    match number % 5 {
                        0 => drop(bench.run(id, &["wrong"])),
                        1 => drop(bench.backfill(id, &[(id as i64, 1.0)])),
                        _ => drop(bench.live(id, &[(id as i64, 1.0)])),
                    }
                }
            });
        }
    });
    for thread in 0..4_u64 {
        for number in 0..200_u64 {
            let id = thread * 1_000 + number;
            let outcome = bench.told.outcome(id);
            assert_eq!(outcome.is_ok(), number % 5 != 0, "{id}");
            if outcome.is_ok() {
                assert_eq!(bench.close_of(id as i64), Some(1.0), "{id}");
            }
        }
    }
    bench.end();
}

#[test]
fn a_sink_that_wants_nothing_more_does_not_hold_up_others() {
    let bench = Bench::new();
    let gone: Arc<dyn Sink> = Told::new();
    bench.writer.add_listener(gone.clone());
    bench.writer.remove_listener(&gone);
    bench.live(1, &[(1, 1.0)]);
    bench.told.written(1);
    bench.end();
}

/// What the queue says of everything it has accepted: the sum holds.
fn accounts(bench: &Bench) -> Accounts {
    let (told, _) = bench.writer.queue.numbers(Instant::now());
    let parts = [
        told.committed,
        told.coalesced,
        told.failed,
        told.queued,
        told.in_flight,
    ];
    let sum = |of: fn(&Amount) -> u64| parts.iter().map(of).sum::<u64>();
    assert_eq!(
        (told.accepted.commands, told.accepted.rows),
        (sum(|part| part.commands), sum(|part| part.rows)),
        "{told:?}"
    );
    told
}

#[test]
fn every_accepted_write_is_accounted_for_by_what_became_of_it() {
    let amount = |commands, rows| Amount { commands, rows };
    let bench = Bench::new();
    let gate = bench.hold();
    bench.backfill(1, &[(1, 1.0), (2, 1.0), (3, 1.0)]);
    bench.backfill(2, &[(3, 1.0)]);
    bench.live(3, &[(2, 2.0), (3, 2.0)]);
    let sequence = bench.live(4, &[(4, 1.0), (5, 1.0)]);
    bench.run(5, &["wrong"]);
    let unwanted = StoreError::new(Code::Aborted, "unwanted");
    assert!(bench.writer.withdraw(sequence, unwanted));
    assert_eq!(accounts(&bench).accepted, amount(6, 10));
    gate.open();
    bench.told.error(5);
    bench.told.written(1);
    bench.told.written(2);
    assert_eq!(
        accounts(&bench),
        Accounts {
            accepted: amount(6, 10),
            committed: amount(3, 4),
            coalesced: amount(1, 3),
            failed: amount(2, 3),
            withdrawn: amount(1, 2),
            queued: amount(0, 0),
            in_flight: amount(0, 0),
        }
    );
    let groups = bench.writer.numbers.numbers();
    assert_eq!(groups.commit.count, groups.groups);
    assert_eq!(groups.retries, 1, "the group was run again one by one");
    let waited = groups.waited.map(|waited| waited.count);
    assert_eq!(waited, [2, 2, 0], "each committed write once");
    bench.end();
}

#[test]
fn what_closing_gives_up_is_failed_and_withdrawn() {
    let bench = Bench::new();
    bench.fake.set_locked(true);
    bench.live(1, &[(1, 1.0)]);
    bench.backfill(2, &[(2, 1.0), (3, 1.0)]);
    bench.writer.shut_down(Instant::now());
    let told = accounts(&bench);
    assert_eq!((told.failed.commands, told.failed.rows), (2, 3));
    assert_eq!(told.withdrawn, told.failed);
    bench.end();
}

#[test]
fn a_queued_write_whose_time_is_over_counts_as_given_up_because_of_the_lock() {
    let bench = Bench::new();
    bench.fake.set_locked(true);
    let deadline = Some(Instant::now() + Duration::from_millis(5));
    bench.push(1, upsert(&[(1, 1.0)]), Priority::Live, deadline);
    bench.push(2, upsert(&[(2, 1.0)]), Priority::Live, deadline);
    bench.told.error(1);
    bench.told.error(2);
    assert_eq!(bench.writer.file_lock.numbers().timeouts, 2);
    bench.end();
}

/// Accepts a write of a job's that is settled when this returns, after `meanwhile`.
fn write_of(bench: &Bench, job: JobId, id: u64, meanwhile: impl FnOnce()) {
    let offer = Offer {
        job,
        ..offer(Priority::Live, None)
    };
    let accepted = bench
        .writer
        .enqueue(upsert(&[(id as i64, 1.0)]), offer, bench.reply(id));
    assert!(accepted.is_ok());
    meanwhile();
    bench.told.written(id);
}

#[test]
fn a_job_learns_which_of_its_writes_a_lock_has_kept() {
    let bench = Bench::new();
    let job = bench.writer.queue.add_job(Duration::from_millis(20));
    write_of(&bench, job, 1, || {});
    bench.fake.set_locked(true);
    write_of(&bench, job, 2, || {
        let since = Instant::now();
        wait_for("the lock to bar the way", || bench.writer.is_held_up());
        wait_for("the threshold", || {
            since.elapsed() > Duration::from_millis(25)
        });
        bench.fake.set_locked(false);
    });
    assert!(!bench.writer.is_held_up());
    write_of(&bench, job, 3, || {});
    let numbers = JobNumbers {
        writes: 3,
        lock_waits: 1,
        at_once: 2,
        rows: 3,
        ..JobNumbers::default()
    };
    assert_eq!(bench.writer.queue.job_numbers(job), Some(numbers));
    bench.end();
}

#[test]
fn waiting_for_room_on_the_disk_is_no_wait_for_a_lock() {
    let bench = Bench::with(&quick_to_recover());
    let job = bench.writer.queue.add_job(Duration::ZERO);
    bench.fake.script(Point::Upsert, [Act::Fail(full())]);
    write_of(&bench, job, 1, || {});
    let numbers = bench.writer.queue.job_numbers(job).unwrap_or_default();
    assert_eq!((numbers.writes, numbers.lock_waits), (1, 0));
    bench.end();
}

#[test]
fn a_probe_is_committed_in_its_turn_and_refused_while_the_breaker_is_open() {
    let bench = Bench::new();
    let probe = |id| {
        let deadline = Instant::now() + Duration::from_secs(20);
        bench.writer.ask(deadline, bench.reply(id))
    };
    assert!(probe(1).is_ok());
    assert_eq!(bench.told.written(1).inserted, 0);
    assert_eq!(bench.fake.calls(Point::Probe), 1);
    bench.fake.script(Point::Upsert, [Act::Fail(full())]);
    bench.live(2, &[(2, 1.0)]);
    wait_for("the breaker to open", || {
        bench.writer.check_breaker().is_err()
    });
    assert_eq!(probe(3).map_err(|error| error.code), Err(Code::BreakerOpen));
    bench.end();
}

#[test]
fn rows_that_a_newer_write_has_left_are_not_told_of_as_committed() {
    let bench = Bench::new();
    bench.writer.want_candles(true);
    let gate = bench.hold();
    let frame = Timeframe(60);
    let of = |candles: &[(i64, f64)]| Work::Upsert {
        timeframe: frame,
        symbol: SYMBOL.into(),
        rows: owned(candles),
    };
    bench.push(
        1,
        of(&[(1, 1.0), (2, 1.0), (9, 1.0)]),
        Priority::Backfill,
        None,
    );
    bench.push(2, of(&[(9, 1.0)]), Priority::Backfill, None);
    bench.push(3, of(&[(9, 2.0)]), Priority::Live, None);
    gate.open();
    bench.told.written(2);
    let told = || {
        let events = bench.told.events().into_iter();
        events
            .filter_map(|event| match event {
                Event::Candles(candles) if candles.timeframe == frame => Some(candles),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    wait_for("the event", || !told().is_empty());
    let told = told();
    assert_eq!((told[0].from, told[0].to, told[0].count), (1, 9, 3));
    let newest = packed(&[(9, 2.0)]);
    assert_eq!(
        told[0].newest,
        super::fingerprint(&newest, ""),
        "of the candle that is stored"
    );
    bench.end();
}

/// The events `lock-wait` and `slow-write` so far.
fn told_of_waits(bench: &Bench) -> (Vec<LockWaitEvent>, Vec<SlowWriteEvent>) {
    let (mut waits, mut slow) = (Vec::new(), Vec::new());
    for event in bench.told.events() {
        match event {
            Event::LockWait(event) => waits.push(event),
            Event::SlowWrite(event) => slow.push(event),
            _ => {}
        }
    }
    (waits, slow)
}

#[test]
fn many_waits_for_the_lock_are_one_event_that_names_the_holder() {
    let bench = Bench::new();
    bench.fake.set_locked(true);
    bench.live(1, &[(1, 1.0)]);
    bench.fake.wait_for_calls(Point::Begin, 3);
    bench.fake.set_locked(false);
    bench.told.written(1);
    for id in 2..10 {
        bench.fake.script(Point::Begin, [Act::Fail(busy())]);
        bench.live(id, &[(1, id as f64)]);
        bench.told.written(id);
    }
    assert_eq!(bench.writer.file_lock.numbers().waits, 9);
    let (waits, _) = told_of_waits(&bench);
    let [event] = &waits[..] else {
        panic!("not one event: {waits:?}");
    };
    assert_eq!((event.count, event.holder_pid), (1, Some(4_711)));
    assert!(event.total_ms > 0.0 && event.total_ms == event.longest_ms);
    bench.end();
}

#[test]
fn only_a_write_that_took_over_a_second_is_told_of_as_slow() {
    let bench = Bench::new();
    let Some(wanted) = Instant::now().checked_sub(Duration::from_secs(2)) else {
        return;
    };
    let waited = Waited {
        time: Duration::from_millis(1_500),
        attempts: 7,
    };
    let tell = |kind, wanted, sql| bench.writer.tell_if_slow(kind, wanted, waited, sql);
    tell(SlowKind::Group, Instant::now(), None);
    tell(SlowKind::Transaction, wanted, Some("BEGIN"));
    let (_, slow) = told_of_waits(&bench);
    let [event] = &slow[..] else {
        panic!("not one event: {slow:?}");
    };
    assert_eq!(
        (event.kind, event.waited_ms, event.attempts),
        (SlowKind::Transaction, 1_500.0, 7)
    );
    assert_eq!(event.sql.as_deref(), Some("BEGIN"));
    assert!(event.took_ms >= 2_000.0);
    bench.end();
}
