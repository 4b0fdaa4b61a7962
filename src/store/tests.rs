//! Handles on a scripted engine: synchronous writes beside the queue, leases, closing, and what one handle sees of
//! another.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::{EnqueueOptions, Format, Handle, Selection, Store};
use crate::candle::{ReadRows, TimeRange};
use crate::engine::fake::{Act, Fake, Gate, Point, busy, constraint, full, io_error_at_commit};
use crate::error::{Code, Failure, Result, StoreError, Written};
use crate::options::{Breaker, Options, Retry};
use crate::queue::Priority;
use crate::reply::{Answer, Event};
use crate::testing::{FRAME, SYMBOL, Told, options, packed, rows, statement, wait_for};
use crate::value::Value;
use crate::wanted::Wanted;
use crate::writer::{Asker, lock};

/// A store on a fake engine with one handle.
struct Bench {
    fake: Arc<Fake>,
    store: Arc<Store>,
    handle: Handle,
    told: Arc<Told>,
}

/// Longer than a test should take.
const LONG_MS: f64 = 20_000.0;

impl Bench {
    fn new() -> Self {
        Self::with(&Options {
            busy_timeout_ms: LONG_MS,
            ..options()
        })
    }

    fn with(options: &Options) -> Self {
        let fake = Fake::new(&options.timeframes);
        let store = Store::on(fake.clone(), options);
        let (handle, told) = another_handle(&store);
        Self {
            fake,
            store,
            handle,
            told,
        }
    }

    fn close_of(&self, time: i64) -> Option<f64> {
        self.fake.close_of(FRAME, SYMBOL, time)
    }

    /// Waits until a synchronous caller stands before the token.
    fn wait_for_caller(&self) {
        let token = &self.store.writer.token;
        wait_for("a caller waits", || token.is_wanted());
    }
}

/// One handle more on a store.
pub fn another_handle(store: &Arc<Store>) -> (Handle, Arc<Told>) {
    let told = Told::new();
    *lock(&store.handles) += 1;
    (Handle::new(store.clone(), told.clone()), told)
}

fn write(handle: &Handle, candles: &[(i64, f64)]) -> Result<()> {
    let values = packed(candles);
    handle.upsert(FRAME.0, SYMBOL, rows(&values)).map(|_| ())
}

fn enqueue(handle: &Handle, id: u64, candles: &[(i64, f64)]) -> u64 {
    enqueue_as(handle, id, candles, Priority::Live, None)
}

fn enqueue_as(
    handle: &Handle,
    id: u64,
    candles: &[(i64, f64)],
    priority: Priority,
    timeout_ms: Option<f64>,
) -> u64 {
    let values = packed(candles);
    let options = EnqueueOptions {
        id,
        priority,
        timeout_ms,
        job: 0,
    };
    handle
        .enqueue_upsert(FRAME.0, SYMBOL, rows(&values), options)
        .unwrap_or_else(|error| panic!("write {id} was not accepted: {error}"))
}

fn run(handle: &Handle, sql: &str) -> Result<()> {
    handle.execute(&statement(sql)).map(|_| ())
}

fn read(handle: &Handle, committed: bool) -> Result<Vec<i64>> {
    let mut found = ReadRows::default();
    handle.read_candles(FRAME.0, SYMBOL, TimeRange::ALL, 100, committed, &mut found)?;
    let times = found.values.chunks(crate::candle::ROW);
    Ok(times.map(|row| row[0] as i64).collect())
}

#[test]
fn a_synchronous_write_is_committed_when_it_returns() -> Result<()> {
    let bench = Bench::new();
    write(&bench.handle, &[(1, 1.0), (2, 2.0)])?;
    assert_eq!(
        (bench.close_of(1), bench.close_of(2)),
        (Some(1.0), Some(2.0))
    );
    assert_eq!(read(&bench.handle, false)?, [1, 2]);
    assert_eq!(bench.handle.last_time(FRAME.0, SYMBOL)?, Value::Integer(2));
    let all = bench.handle.delete(FRAME.0, SYMBOL, TimeRange::ALL)?;
    assert_eq!(all, 2);
    assert_eq!(bench.handle.last_time(FRAME.0, SYMBOL)?, Value::Null);
    Ok(())
}

#[test]
fn a_synchronous_write_that_fails_is_absent_and_the_next_one_works() -> Result<()> {
    for (point, error) in [
        (Point::Upsert, constraint()),
        (Point::Upsert, full()),
        (Point::Commit, constraint()),
        (Point::Commit, full()),
    ] {
        let bench = Bench::with(&Options {
            breaker: Breaker {
                recovery_ms: 100.0,
                ..options().breaker
            },
            ..options()
        });
        bench.fake.script(point, [Act::Fail(error.clone())]);
        let refused = write(&bench.handle, &[(1, 1.0)]);
        assert!(
            refused.is_err_and(|told| (told.code, told.written) == (error.code, Some(Written::No)))
        );
        assert_eq!(bench.close_of(1), None);
        wait_for("the storage to be tried again", || {
            write(&bench.handle, &[(1, 2.0)]).is_ok()
        });
        assert_eq!(bench.close_of(1), Some(2.0));
    }
    Ok(())
}

#[test]
fn a_synchronous_write_ends_the_pause_between_two_attempts_at_a_queued_one() -> Result<()> {
    let bench = Bench::with(&Options {
        retry: Retry {
            base_ms: 60_000.0,
            cap_ms: 60_000.0,
            ..options().retry
        },
        ..options()
    });
    bench.fake.script(Point::Upsert, [Act::Fail(busy())]);
    let values = packed(&[(1, 1.0)]);
    let enqueued = EnqueueOptions {
        id: 1,
        priority: Priority::Backfill,
        timeout_ms: None,
        job: 0,
    };
    bench
        .handle
        .enqueue_upsert(FRAME.0, SYMBOL, rows(&values), enqueued)?;
    let writer = &bench.store.writer;
    wait_for("the first attempt", || {
        writer.numbers.numbers().retries == 1
    });
    // The thread is about to pause, or does; one write may come too early for it.
    wait_for("the queued write", || {
        write(&bench.handle, &[(2, 1.0)]).is_ok() && bench.close_of(1).is_some()
    });
    assert_eq!(bench.told.written(1).inserted, 1);
    Ok(())
}

#[test]
fn a_synchronous_write_waits_for_the_lock_and_then_gives_up() -> Result<()> {
    let bench = Bench::with(&Options {
        busy_timeout_ms: 5.0,
        ..options()
    });
    bench.fake.set_locked(true);
    let Err(error) = write(&bench.handle, &[(1, 1.0)]) else {
        panic!("the lock is taken");
    };
    assert_eq!(
        (error.code, error.written, error.holder_pid),
        (Code::Timeout, Some(Written::No), Some(4_711))
    );
    assert!(error.waited_ms >= Some(5.0) && error.attempts > Some(1));
    let numbers = bench.handle.stats(false)?.locks;
    assert_eq!((numbers.waits, numbers.timeouts), (1, 1));
    bench.fake.set_locked(false);
    assert_eq!(bench.close_of(1), None);
    bench
        .fake
        .script(Point::Begin, [Act::Fail(busy()), Act::Fail(busy())]);
    write(&bench.handle, &[(1, 1.0)])?;
    let numbers = bench.handle.stats(false)?.locks;
    assert_eq!((numbers.waits, numbers.timeouts), (2, 1));
    Ok(())
}

#[test]
fn a_synchronous_write_waits_while_others_open_the_file() -> Result<()> {
    let bench = Bench::new();
    bench
        .fake
        .script(Point::Open, [Act::Fail(busy()), Act::Fail(busy())]);
    write(&bench.handle, &[(1, 1.0)])
}

#[test]
fn a_panic_in_a_synchronous_write_leaves_the_store_usable_and_nothing_written() -> Result<()> {
    let bench = Bench::new();
    bench.fake.script(Point::Upsert, [Act::Panic]);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        write(&bench.handle, &[(1, 1.0)])
    }));
    assert!(panicked.is_err());
    assert_eq!(bench.close_of(1), None);
    write(&bench.handle, &[(2, 2.0)])
}

#[test]
fn synchronous_callers_go_before_the_queue() -> Result<()> {
    let bench = Bench::new();
    let held = bench.store.writer.token.take(Asker::Caller, None)?;
    let options = EnqueueOptions {
        id: 1,
        priority: Priority::Live,
        timeout_ms: None,
        job: 0,
    };
    bench
        .handle
        .enqueue_statements(vec![statement("note queue")], options)?;
    thread::scope(|scope| {
        let first = scope.spawn(|| run(&bench.handle, "note sync"));
        bench.wait_for_caller();
        drop(held);
        assert!(first.join().is_ok_and(|ran| ran.is_ok()));
    });
    assert!(bench.told.outcome(1).is_ok());
    assert_eq!(bench.fake.notes(), ["sync", "queue"]);
    Ok(())
}

#[test]
fn a_synchronous_write_keeps_its_newer_value_from_older_queued_ones() -> Result<()> {
    let bench = Bench::new();
    let held = bench.store.writer.token.take(Asker::Caller, None)?;
    enqueue(&bench.handle, 1, &[(1, 1.0), (2, 1.0)]);
    thread::scope(|scope| {
        let newer = scope.spawn(|| write(&bench.handle, &[(1, 2.0)]));
        bench.wait_for_caller();
        drop(held);
        assert!(newer.join().is_ok_and(|written| written.is_ok()));
    });
    assert_eq!(bench.told.written(1).coalesced, 1);
    assert_eq!(
        (bench.close_of(1), bench.close_of(2)),
        (Some(2.0), Some(1.0))
    );
    // And what is accepted after it is written.
    enqueue(&bench.handle, 2, &[(1, 3.0)]);
    assert_eq!(bench.told.written(2).updated, 1);
    assert_eq!(bench.close_of(1), Some(3.0));
    Ok(())
}

#[test]
fn a_synchronous_write_keeps_its_newer_value_from_a_group_that_is_put_back() {
    let bench = Bench::new();
    let stop = Arc::<Gate>::default();
    let lost = Act::StopAndFail(stop.clone(), busy());
    bench.fake.script(Point::Commit, [lost]);
    enqueue(&bench.handle, 1, &[(1, 1.0)]);
    stop.wait();
    thread::scope(|scope| {
        let newer = scope.spawn(|| write(&bench.handle, &[(1, 2.0)]));
        bench.wait_for_caller();
        stop.open();
        assert!(newer.join().is_ok_and(|written| written.is_ok()));
    });
    assert_eq!(bench.told.written(1).coalesced, 1);
    assert_eq!(bench.close_of(1), Some(2.0));
}

#[test]
fn a_synchronous_deletion_is_not_undone_by_older_queued_writes() -> Result<()> {
    let bench = Bench::new();
    let held = bench.store.writer.token.take(Asker::Caller, None)?;
    enqueue(&bench.handle, 1, &[(1, 1.0), (9, 1.0)]);
    thread::scope(|scope| {
        let range = TimeRange {
            after: 0,
            before: 5,
        };
        let handle = &bench.handle;
        let newer = scope.spawn(move || handle.delete(FRAME.0, SYMBOL, range));
        bench.wait_for_caller();
        drop(held);
        assert!(newer.join().is_ok_and(|deleted| deleted.is_ok()));
    });
    bench.told.written(1);
    assert_eq!((bench.close_of(1), bench.close_of(9)), (None, Some(1.0)));
    Ok(())
}

#[test]
fn writes_of_a_lease_are_seen_by_it_alone_until_it_commits() -> Result<()> {
    let bench = Bench::new();
    run(&bench.handle, "begin")?;
    assert!(bench.handle.in_transaction());
    write(&bench.handle, &[(1, 1.0)])?;
    assert_eq!(read(&bench.handle, false)?, [1]);
    assert_eq!(read(&bench.handle, true)?, [0; 0]);
    let (other, _) = another_handle(&bench.store);
    assert_eq!(read(&other, false)?, [0; 0]);
    run(&bench.handle, "commit")?;
    assert!(!bench.handle.in_transaction());
    assert_eq!(read(&other, false)?, [1]);
    Ok(())
}

#[test]
fn a_lease_that_is_rolled_back_or_abandoned_leaves_nothing_and_frees_the_store() -> Result<()> {
    let bench = Bench::new();
    run(&bench.handle, "begin")?;
    write(&bench.handle, &[(1, 1.0)])?;
    run(&bench.handle, "rollback")?;
    run(&bench.handle, "begin")?;
    write(&bench.handle, &[(2, 2.0)])?;
    bench.handle.abandon_lease();
    assert!(!bench.handle.in_transaction());
    let (other, _) = another_handle(&bench.store);
    write(&other, &[(3, 3.0)])?;
    assert_eq!(read(&bench.handle, false)?, [3]);
    Ok(())
}

#[test]
fn what_is_enqueued_during_a_lease_is_written_after_it() -> Result<()> {
    let bench = Bench::new();
    run(&bench.handle, "begin")?;
    write(&bench.handle, &[(1, 1.0)])?;
    enqueue(&bench.handle, 1, &[(1, 2.0)]);
    let timeout_ms = Some(5.0);
    enqueue_as(&bench.handle, 2, &[(2, 2.0)], Priority::Live, timeout_ms);
    assert_eq!(bench.told.error(2).code, Code::Timeout);
    assert!(!bench.told.is_settled(1));
    run(&bench.handle, "commit")?;
    assert_eq!(bench.told.written(1).updated, 1);
    assert_eq!(bench.close_of(1), Some(2.0));
    assert_eq!(bench.close_of(2), None);
    Ok(())
}

#[test]
fn a_lease_keeps_its_newer_values_from_older_queued_writes_and_only_what_it_committed() -> Result<()>
{
    let bench = Bench::new();
    let (other, told) = another_handle(&bench.store);
    run(&bench.handle, "begin")?;
    enqueue(&other, 1, &[(1, 1.0), (2, 1.0), (3, 1.0)]);
    write(&bench.handle, &[(1, 2.0)])?;
    run(&bench.handle, "rollback")?;
    assert_eq!(
        told.written(1).coalesced,
        0,
        "what was undone overtakes nothing"
    );
    assert_eq!(bench.close_of(1), Some(1.0));

    run(&bench.handle, "begin")?;
    enqueue(&other, 2, &[(1, 3.0), (2, 3.0), (3, 3.0)]);
    write(&bench.handle, &[(1, 4.0)])?;
    let third = TimeRange {
        after: 2,
        before: 4,
    };
    bench.handle.delete(FRAME.0, SYMBOL, third)?;
    run(&bench.handle, "commit")?;
    assert_eq!(told.written(2).coalesced, 2);
    let closes: Vec<_> = (1..=3).map(|time| bench.close_of(time)).collect();
    assert_eq!(closes, [Some(4.0), Some(3.0), None]);
    Ok(())
}

#[test]
fn a_write_that_fails_in_a_lease_dooms_it() -> Result<()> {
    let bench = Bench::new();
    run(&bench.handle, "begin")?;
    write(&bench.handle, &[(1, 1.0)])?;
    bench.fake.script(Point::Upsert, [Act::Fail(constraint())]);
    assert!(write(&bench.handle, &[(2, 2.0)]).is_err());
    let doomed = |done: Result<()>| done.is_err_and(|error| error.code == Code::Constraint);
    assert!(doomed(write(&bench.handle, &[(3, 3.0)])));
    assert!(doomed(run(&bench.handle, "note x")));
    assert!(doomed(run(&bench.handle, "commit")));
    assert!(bench.handle.in_transaction());
    run(&bench.handle, "rollback")?;
    assert_eq!(read(&bench.handle, false)?, [0; 0]);
    write(&bench.handle, &[(1, 1.0)])
}

#[test]
fn a_statement_that_ends_the_transaction_ends_the_lease() -> Result<()> {
    let bench = Bench::new();
    run(&bench.handle, "begin")?;
    write(&bench.handle, &[(1, 1.0)])?;
    assert!(run(&bench.handle, "end").is_err());
    assert!(!bench.handle.in_transaction());
    let (other, _) = another_handle(&bench.store);
    write(&other, &[(2, 2.0)])?;
    assert_eq!(read(&bench.handle, false)?, [2]);
    Ok(())
}

#[test]
fn a_commit_that_fails_keeps_the_lease_until_it_is_rolled_back() -> Result<()> {
    let bench = Bench::new();
    run(&bench.handle, "begin")?;
    write(&bench.handle, &[(1, 1.0)])?;
    bench.fake.script(Point::Commit, [Act::Fail(constraint())]);
    assert!(run(&bench.handle, "commit").is_err());
    assert!(bench.handle.in_transaction());
    run(&bench.handle, "rollback")?;
    assert_eq!(bench.close_of(1), None);
    Ok(())
}

#[test]
fn a_thread_that_would_wait_for_its_own_lease_is_told_so() -> Result<()> {
    let bench = Bench::new();
    let (other, _) = another_handle(&bench.store);
    run(&bench.handle, "begin")?;
    let refused = write(&other, &[(1, 1.0)]);
    assert!(refused.is_err_and(|error| error.code == Code::SelfDeadlock));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| write(&other, &[(1, 1.0)]));
        bench.wait_for_caller();
        assert!(run(&bench.handle, "commit").is_ok());
        assert!(waiting.join().is_ok_and(|written| written.is_ok()));
    });
    assert_eq!(bench.close_of(1), Some(1.0));
    Ok(())
}

#[test]
fn waiting_for_the_lease_of_another_thread_ends_at_the_deadline_and_names_it() -> Result<()> {
    let bench = Bench::with(&Options {
        busy_timeout_ms: 5.0,
        ..options()
    });
    let (other, _) = another_handle(&bench.store);
    run(&bench.handle, "begin")?;
    let refused = thread::scope(|scope| {
        let waiting = scope.spawn(|| write(&other, &[(1, 1.0)]));
        waiting.join().ok()
    });
    let Some(Err(error)) = refused else {
        panic!("the lease is held");
    };
    assert_eq!(
        (error.code, error.written),
        (Code::Timeout, Some(Written::No))
    );
    assert!(error.message.contains("\"begin\""), "{error}");
    Ok(())
}

#[test]
fn a_poisoned_store_refuses_every_write_and_still_reads() -> Result<()> {
    let bench = Bench::new();
    write(&bench.handle, &[(1, 1.0)])?;
    bench
        .fake
        .script(Point::Commit, [Act::Fail(io_error_at_commit())]);
    let unknown = write(&bench.handle, &[(2, 2.0)]);
    assert!(unknown.is_err_and(|error| error.written == Some(Written::Unknown)));
    let poisoned = |done: Result<()>| done.is_err_and(|error| error.code == Code::Poisoned);
    assert!(poisoned(write(&bench.handle, &[(3, 3.0)])));
    assert!(poisoned(run(&bench.handle, "begin")));
    assert!(poisoned(run(&bench.handle, "note x")));
    assert_eq!(read(&bench.handle, false)?, [1]);
    let told = |event: &Event| matches!(event, Event::StoreError(_));
    assert!(bench.told.events().iter().any(told));
    Ok(())
}

#[test]
fn a_lease_of_a_store_that_was_poisoned_cannot_commit() -> Result<()> {
    let bench = Bench::new();
    run(&bench.handle, "begin")?;
    write(&bench.handle, &[(1, 1.0)])?;
    let corrupt = StoreError::new(Code::Corrupt, "the fake is corrupt").failure(Failure::Fatal);
    bench.fake.script(Point::Run, [Act::Fail(corrupt)]);
    assert!(run(&bench.handle, "note x").is_err());
    assert!(run(&bench.handle, "commit").is_err_and(|error| error.code == Code::Poisoned));
    run(&bench.handle, "rollback")?;
    assert_eq!(bench.close_of(1), None);
    Ok(())
}

#[test]
fn a_closed_handle_refuses_everything_and_the_other_goes_on() -> Result<()> {
    let bench = Bench::new();
    let (other, _) = another_handle(&bench.store);
    bench.handle.close(LONG_MS);
    bench.handle.close(LONG_MS);
    let closed = |error: StoreError| error.code == Code::Closed;
    assert!(write(&bench.handle, &[(1, 1.0)]).is_err_and(closed));
    assert!(run(&bench.handle, "begin").is_err_and(closed));
    assert!(read(&bench.handle, false).is_err_and(closed));
    assert!(bench.handle.stats(false).is_err_and(closed));
    assert!(bench.handle.flush(1).is_err_and(closed));
    write(&other, &[(1, 1.0)])?;
    other.close(LONG_MS);
    assert!(write(&other, &[(1, 1.0)]).is_err_and(closed));
    Ok(())
}

#[test]
fn closing_writes_what_was_accepted_and_ends_an_open_lease() -> Result<()> {
    let bench = Bench::new();
    run(&bench.handle, "begin")?;
    write(&bench.handle, &[(1, 1.0)])?;
    enqueue(&bench.handle, 1, &[(2, 2.0)]);
    bench.handle.close(LONG_MS);
    assert_eq!(bench.told.written(1).inserted, 1);
    assert_eq!((bench.close_of(1), bench.close_of(2)), (None, Some(2.0)));
    Ok(())
}

#[test]
fn closing_one_of_two_handles_fails_only_its_own_writes() {
    let bench = Bench::new();
    let (other, told) = another_handle(&bench.store);
    bench.fake.set_locked(true);
    enqueue(&bench.handle, 1, &[(1, 1.0)]);
    enqueue(&other, 1, &[(2, 2.0)]);
    bench.handle.close(1.0);
    let error = bench.told.error(1);
    assert_eq!(
        (error.code, error.written),
        (Code::Closed, Some(Written::No))
    );
    assert!(!told.is_settled(1));
    bench.fake.set_locked(false);
    assert_eq!(told.written(1).inserted, 1);
    assert_eq!(bench.close_of(1), None);
}

#[test]
fn closing_tells_the_truth_of_a_write_that_has_begun() {
    let bench = Bench::new();
    let (_other, _) = another_handle(&bench.store);
    let gate = bench.fake.stop_at(Point::Commit);
    enqueue(&bench.handle, 1, &[(1, 1.0)]);
    gate.wait();
    thread::scope(|scope| {
        let (closing, closed) = mpsc::channel();
        let (handle, told) = (&bench.handle, &bench.told);
        scope.spawn(move || {
            handle.close(0.0);
            let _ = closing.send(told.is_settled(1));
        });
        wait_for("the handle is closed", || !bench.handle.is_open());
        gate.open();
        assert_eq!(closed.recv(), Ok(true), "told before the close is over");
    });
    assert_eq!(bench.told.written(1).inserted, 1);
}

#[test]
fn a_handle_that_is_dropped_is_closed() {
    let bench = Bench::new();
    let (other, _) = another_handle(&bench.store);
    drop(other);
    assert_eq!(*lock(&bench.store.handles), 1);
}

#[test]
fn a_read_in_the_background_is_settled_whatever_becomes_of_it() -> Result<()> {
    let bench = Bench::with(&Options {
        tail_cache_bytes: 0,
        ..options()
    });
    write(&bench.handle, &[(1, 1.0)])?;
    let later = |id, is_wanted: bool| {
        let wanted = Arc::<Wanted>::default();
        if !is_wanted {
            wanted.call_off(StoreError::new(Code::Aborted, "called off"));
        }
        let candles = Selection {
            minutes: FRAME.0,
            symbol: SYMBOL,
            range: TimeRange::ALL,
            limit: 9,
        };
        bench
            .handle
            .read_candles_later(candles, Format::Rows, id, wanted)
    };
    later(1, true)?;
    assert!(matches!(bench.told.outcome(1), Ok(Answer::Candles(found)) if found.len() == 1));
    bench.fake.script(Point::Read, [Act::Fail(full())]);
    later(2, true)?;
    assert_eq!(bench.told.error(2).code, Code::DiskFull);
    bench.fake.script(Point::Read, [Act::Panic]);
    later(3, true)?;
    assert_eq!(bench.told.error(3).code, Code::Poisoned);
    later(4, false)?;
    assert_eq!(bench.told.error(4).code, Code::Aborted);
    later(5, true)?;
    assert!(bench.told.outcome(5).is_ok());
    Ok(())
}

#[test]
fn a_batch_larger_than_allowed_and_an_unknown_table_are_refused() {
    let bench = Bench::with(&Options {
        max_batch_rows: 1,
        ..options()
    });
    let values = packed(&[(1, 1.0), (2, 2.0)]);
    let options = EnqueueOptions {
        id: 1,
        priority: Priority::Live,
        timeout_ms: None,
        job: 0,
    };
    let large = bench
        .handle
        .enqueue_upsert(FRAME.0, SYMBOL, rows(&values), options);
    assert!(large.is_err_and(|error| error.code == Code::BatchTooLarge));
    let unknown = bench.handle.upsert(7, SYMBOL, rows(&values));
    assert!(unknown.is_err_and(|error| error.code == Code::UnknownTable));
}

#[test]
fn a_store_opened_for_reading_refuses_to_write() {
    let bench = Bench::with(&Options {
        read_only: true,
        ..options()
    });
    let refused = |error: StoreError| error.code == Code::ReadOnly;
    assert!(write(&bench.handle, &[(1, 1.0)]).is_err_and(refused));
    assert!(run(&bench.handle, "begin").is_err_and(refused));
    assert!(read(&bench.handle, false).is_ok());
    assert_eq!(bench.fake.calls(Point::Open), 0, "no writer was opened");
}

#[test]
fn reading_and_asking_for_numbers_opens_no_writer() -> Result<()> {
    let bench = Bench::new();
    bench.fake.commit_of_another(FRAME, SYMBOL, 1, 1.0);
    assert_eq!(read(&bench.handle, false)?, [1]);
    let stats = bench.handle.stats(false)?;
    assert_eq!(stats.counts[0], ("candles_15".to_owned(), 1));
    bench.fake.commit_of_another(FRAME, SYMBOL, 2, 1.0);
    bench.handle.stats(true)?;
    bench.handle.close(LONG_MS);
    assert_eq!(bench.fake.calls(Point::Open), 0);
    Ok(())
}

#[test]
fn counts_include_what_was_written_in_every_way() -> Result<()> {
    let bench = Bench::new();
    let count = |exact| -> Result<u64> { Ok(bench.handle.stats(exact)?.counts[0].1) };
    assert_eq!(count(false)?, 0);
    write(&bench.handle, &[(1, 1.0)])?;
    assert_eq!(count(false)?, 1);
    enqueue(&bench.handle, 1, &[(1, 2.0), (2, 2.0)]);
    bench.told.written(1);
    assert_eq!(count(false)?, 2);
    run(&bench.handle, "begin")?;
    write(&bench.handle, &[(3, 3.0)])?;
    assert_eq!(count(false)?, 2, "not committed yet");
    run(&bench.handle, "commit")?;
    assert_eq!(count(false)?, 3);
    bench.handle.delete(FRAME.0, SYMBOL, TimeRange::ALL)?;
    assert_eq!((count(false)?, count(true)?), (0, 0));
    Ok(())
}

#[test]
fn only_commits_of_others_are_foreign_changes() -> Result<()> {
    let bench = Bench::new();
    bench.fake.commit_of_another(FRAME, SYMBOL, 1, 1.0);
    bench.handle.listen(true)?;
    assert_eq!(bench.handle.foreign_changes()?, [], "known from the start");
    write(&bench.handle, &[(2, 2.0)])?;
    for event in bench.told.events() {
        if let Event::Candles(candles) = event {
            bench.handle.own_commit(&candles);
        }
    }
    assert_eq!(bench.handle.foreign_changes()?, []);
    bench.fake.commit_of_another(FRAME, SYMBOL, 3, 1.0);
    let changes = bench.handle.foreign_changes()?;
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].from, changes[0].to), (2, 3));
    assert_eq!(bench.handle.foreign_changes()?, [], "told once");
    Ok(())
}

#[test]
fn many_threads_writing_in_every_way_lose_nothing_and_end() {
    let bench = Bench::new();
    let rounds = 50_i64;
    thread::scope(|scope| {
        for number in 0..3_i64 {
            let store = &bench.store;
            scope.spawn(move || {
                let (handle, told) = another_handle(store);
                for round in 0..rounds {
                    let time = (number * rounds + round) * 3;
                    assert!(write(&handle, &[(time, 1.0)]).is_ok());
                    enqueue(&handle, round as u64, &[(time + 1, 1.0)]);
                    assert!(run(&handle, "begin").is_ok());
                    assert!(write(&handle, &[(time + 2, 1.0)]).is_ok());
                    assert!(run(&handle, "commit").is_ok());
                }
                handle.close(LONG_MS);
                for round in 0..rounds {
                    assert!(told.outcome(round as u64).is_ok());
                }
                told.assert_once_each();
            });
        }
    });
    let missing: Vec<i64> = (0..3 * 3 * rounds)
        .filter(|time| bench.close_of(*time).is_none())
        .collect();
    assert_eq!(missing, [0; 0]);
    let stats = bench.handle.stats(false);
    assert!(stats.is_ok_and(|stats| stats.counts[0].1 == (9 * rounds) as u64));
    wait_for("nothing is left", || {
        bench.store.writer.queue.oldest().is_none()
    });
    bench.handle.close(LONG_MS);
    assert!(
        bench
            .store
            .writer
            .token
            .take(
                Asker::Caller,
                Some(std::time::Instant::now() + Duration::from_secs(1))
            )
            .is_ok_and(|held| held.is_some()),
        "nobody keeps the token"
    );
}

#[test]
fn a_watch_that_cannot_start_leaves_no_events_being_made() -> Result<()> {
    let bench = Bench::new();
    bench.fake.script(Point::OpenReader, [Act::Fail(full())]);
    assert!(bench.handle.listen(true).is_err());
    assert!(!bench.store.writer.wants_candles());
    bench.handle.listen(true)?;
    assert!(bench.store.writer.wants_candles());
    bench.handle.close(LONG_MS);
    assert!(!bench.store.writer.wants_candles());
    Ok(())
}

#[test]
fn a_read_that_is_called_off_while_it_runs_makes_room_for_the_next() -> Result<()> {
    let bench = Bench::with(&Options {
        max_readers: 1,
        ..options()
    });
    let gate = bench.fake.stop_at(Point::Read);
    let wanted = Arc::<Wanted>::default();
    let query = |sql, id, wanted| bench.handle.query_later(statement(sql), None, id, wanted);
    query("endless", 1, wanted.clone())?;
    query("notes", 2, Arc::default())?;
    gate.wait();
    gate.open();
    wanted.call_off(StoreError::new(Code::Aborted, "not wanted any more"));
    assert_eq!(bench.told.error(1).message, "not wanted any more");
    assert!(matches!(bench.told.outcome(2), Ok(Answer::Found(found)) if found.rows.is_empty()));
    Ok(())
}

#[test]
fn closing_ends_reads_that_its_deadline_leaves() -> Result<()> {
    let bench = Bench::new();
    for id in 1..9 {
        let endless = statement("endless");
        bench
            .handle
            .query_later(endless, None, id, Arc::default())?;
    }
    bench.handle.close(1.0);
    for id in 1..9 {
        assert_eq!(bench.told.error(id).code, Code::Closed);
    }
    Ok(())
}

#[test]
fn one_handle_that_closes_ends_its_own_reads_only() -> Result<()> {
    let bench = Bench::new();
    write(&bench.handle, &[(1, 1.0)])?;
    let (other, told) = another_handle(&bench.store);
    let wanted = Arc::<Wanted>::default();
    bench
        .handle
        .query_later(statement("endless"), None, 1, wanted.clone())?;
    other.query_later(statement("endless"), None, 1, Arc::default())?;
    other.close(1.0);
    assert_eq!(told.error(1).code, Code::Closed);
    wanted.call_off(StoreError::new(Code::Aborted, "the other one"));
    assert_eq!(bench.told.error(1).message, "the other one");
    Ok(())
}
