//! One suite of tests for every engine: SQLite in a file, SQLite in memory, and the fake. What an engine has to do
//! is said here once; what only SQLite does is tested beside it.

#![expect(clippy::expect_used, reason = "a failed expectation fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;

use tempfile::TempDir;

use super::fake::Fake;
use super::sqlite::Sqlite;
use super::{Engine, NameHold, ReadSession, Taking, Upserted, WriteSession};
use crate::candle::{CLUSTERS, ROW, ReadRows, Rows, TimeRange};
use crate::error::{Code, Failure, Result};
use crate::options::Options;
use crate::queue::Priority;
use crate::store::tests::another_handle;
use crate::store::{EnqueueOptions, Store};
use crate::testing::{FRAME, SYMBOL, options, packed, rows, statement};
use crate::timeframe::Timeframe;
use crate::value::Value;
use crate::writer::Asker;

const OTHER_FRAME: Timeframe = Timeframe(60);

/// An engine to be tested.
struct Subject {
    engine: Arc<dyn Engine>,
    options: Options,
    /// Others can open the database, too.
    shared: bool,
    _folder: Option<TempDir>,
}

impl Subject {
    fn file() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = options();
        let engine =
            Sqlite::open_file(&folder.path().join("candles.db"), &options).expect("a new database");
        Self {
            engine: Arc::new(engine),
            options,
            shared: true,
            _folder: Some(folder),
        }
    }

    fn memory() -> Self {
        let options = options();
        let engine = Sqlite::open_memory(&options).expect("a database in memory");
        Self {
            engine: Arc::new(engine),
            options,
            shared: false,
            _folder: None,
        }
    }

    fn fake() -> Self {
        let options = options();
        Self {
            engine: Fake::new(&options.timeframes),
            options,
            shared: true,
            _folder: None,
        }
    }

    fn writer(&self) -> Result<Box<dyn WriteSession>> {
        self.engine.open_writer()
    }

    fn reader(&self) -> Result<Box<dyn ReadSession>> {
        self.engine
            .open_reader()
            .expect("an engine that others can open has readers")
    }
}

macro_rules! on_every_engine {
    ($($test:ident),* $(,)?) => {
        mod file {
            $(#[test] fn $test() -> super::Result<()> { super::$test(&super::Subject::file()) })*
        }
        mod memory {
            $(#[test] fn $test() -> super::Result<()> { super::$test(&super::Subject::memory()) })*
        }
        mod fake {
            $(#[test] fn $test() -> super::Result<()> { super::$test(&super::Subject::fake()) })*
        }
    };
}

on_every_engine!(
    what_is_read_is_what_was_written,
    minus_zero_is_read_as_zero,
    the_newest_candles_inside_a_range_are_read_ascending,
    series_do_not_mix,
    an_upsert_says_what_it_did,
    what_is_rolled_back_was_never_there,
    a_session_dropped_in_a_transaction_leaves_nothing,
    a_deletion_removes_what_is_between_its_ends,
    the_newest_time_of_nothing_is_null,
    every_series_is_listed_with_its_newest_candle,
    every_series_is_listed_with_its_ends_and_counted,
    counts_and_committed_changes_agree,
    a_table_that_is_not_configured_is_refused,
    a_lock_that_another_session_holds_is_transient,
    readers_see_commits_and_nothing_else,
    the_data_version_tells_of_commits_of_others_only,
    a_writer_learns_of_commits_of_others,
    random_transactions_do_what_a_map_does,
    random_writes_end_as_their_order_of_acceptance_says,
    a_name_has_one_holder_at_a_time,
    names_do_not_mix,
    a_hold_that_is_dropped_is_given_back,
    of_many_that_try_at_once_one_gets_the_name,
);

fn read(session: &mut dyn ReadSession, range: TimeRange, limit: u32) -> Result<ReadRows> {
    let mut found = ReadRows::default();
    session.read_candles(FRAME, SYMBOL, range, limit, &mut found)?;
    Ok(found)
}

fn times(found: &ReadRows) -> Vec<i64> {
    let rows = found.values.chunks(ROW);
    rows.map(|row| row[0] as i64).collect()
}

fn upsert(session: &mut dyn WriteSession, candles: &[(i64, f64)]) -> Result<Upserted> {
    session.upsert(FRAME, SYMBOL, rows(&packed(candles)))
}

/// One transaction with these candles.
fn commit(session: &mut dyn WriteSession, candles: &[(i64, f64)]) -> Result<()> {
    session.try_begin()?;
    upsert(session, candles)?;
    session.commit().map(|_| ())
}

fn what_is_read_is_what_was_written(subject: &Subject) -> Result<()> {
    let clusters = [
        r#"{"100.5":{"bid":1,"ask":2}}"#,
        "",
        r#"{"é😀":{"bid":0,"ask":0.1}}"#,
    ];
    let numbers = [
        0.1,
        f64::MIN_POSITIVE,
        f64::MAX,
        1e300,
        -1.5,
        1.0 / 3.0,
        5e-324,
        42.0,
    ];
    let mut values = Vec::new();
    for (row, text) in clusters.iter().enumerate() {
        values.push(1_700_000_000_000.0 + row as f64);
        values.extend(numbers.iter().map(|number| number * (row + 1) as f64));
        values.push(17.0 + row as f64);
        values.push(f64::from(!text.is_empty()));
    }
    let given = [clusters[0], clusters[2]].join("\n");
    let mut session = subject.writer()?;
    session.try_begin()?;
    session.upsert(FRAME, SYMBOL, Rows::new(&values, &given)?)?;
    session.commit()?;
    let found = read(session.as_mut(), TimeRange::ALL, 9)?;
    assert_eq!(found.len(), 3);
    for (row, (read, written)) in found.values.chunks(ROW).zip(values.chunks(ROW)).enumerate() {
        for column in 0..CLUSTERS {
            assert_eq!(
                read[column].to_bits(),
                written[column].to_bits(),
                "row {row}, column {column}"
            );
        }
    }
    let marks: Vec<f64> = found.values.chunks(ROW).map(|row| row[CLUSTERS]).collect();
    let units = |text: &str| text.encode_utf16().count() as f64;
    assert_eq!(marks, [units(clusters[0]), -1.0, units(clusters[2])]);
    assert_eq!(found.clusters, clusters.concat());
    assert!(found.odd.is_empty());
    Ok(())
}

fn minus_zero_is_read_as_zero(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    commit(session.as_mut(), &[(1, -0.0)])?;
    let found = read(session.as_mut(), TimeRange::ALL, 9)?;
    assert_eq!(found.values[4].to_bits(), 0.0_f64.to_bits());
    Ok(())
}

fn the_newest_candles_inside_a_range_are_read_ascending(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    commit(
        session.as_mut(),
        &[(5, 0.0), (1, 0.0), (4, 0.0), (2, 0.0), (3, 0.0)],
    )?;
    let mut times_of = |after, before, limit| -> Result<Vec<i64>> {
        let range = TimeRange { after, before };
        Ok(times(&read(session.as_mut(), range, limit)?))
    };
    assert_eq!(times_of(i64::MIN, i64::MAX, 100)?, [1, 2, 3, 4, 5]);
    assert_eq!(times_of(i64::MIN, i64::MAX, 2)?, [4, 5]);
    assert_eq!(times_of(i64::MIN, 4, 2)?, [2, 3], "the end is exclusive");
    assert_eq!(times_of(2, 5, 100)?, [3, 4], "and so is the start");
    assert_eq!(times_of(1, 5, 2)?, [3, 4], "the newest of the range");
    assert_eq!(times_of(2, i64::MAX, 1)?, [5]);
    assert_eq!(times_of(i64::MIN, i64::MAX, 0)?, [0; 0]);
    assert_eq!(times_of(5, 1, 100)?, [0; 0]);
    Ok(())
}

fn series_do_not_mix(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    commit(session.as_mut(), &[(1, 1.0)])?;
    session.try_begin()?;
    let values = packed(&[(1, 2.0), (2, 2.0)]);
    session.upsert(FRAME, "BYBIT:BTCUSDT", rows(&values))?;
    session.upsert(OTHER_FRAME, SYMBOL, rows(&values))?;
    assert_eq!(session.delete(OTHER_FRAME, SYMBOL, TimeRange::ALL)?, 2);
    session.commit()?;
    let found = read(session.as_mut(), TimeRange::ALL, 9)?;
    assert_eq!((times(&found), found.values[4]), (vec![1], 1.0));
    Ok(())
}

fn an_upsert_says_what_it_did(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    session.try_begin()?;
    let told = |inserted, updated, unchanged| Upserted {
        inserted,
        updated,
        unchanged,
    };
    let session = session.as_mut();
    assert_eq!(upsert(session, &[(1, 1.0), (2, 1.0)])?, told(2, 0, 0));
    assert_eq!(
        upsert(session, &[(1, 1.0), (2, 2.0), (3, 1.0)])?,
        told(1, 1, 1)
    );
    // The same candle twice in one batch: the later one wins.
    assert_eq!(upsert(session, &[(4, 1.0), (4, 2.0)])?, told(1, 1, 0));
    assert_eq!(upsert(session, &[])?, told(0, 0, 0));
    session.commit()?;
    let found = read(session, TimeRange::ALL, 1)?;
    assert_eq!((found.values[0], found.values[4]), (4.0, 2.0));
    Ok(())
}

fn what_is_rolled_back_was_never_there(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    commit(session.as_mut(), &[(1, 1.0)])?;
    session.try_begin()?;
    assert!(session.in_transaction());
    upsert(session.as_mut(), &[(1, 2.0), (2, 2.0)])?;
    session.delete(
        FRAME,
        SYMBOL,
        TimeRange {
            after: 0,
            before: 2,
        },
    )?;
    session.rollback();
    assert!(!session.in_transaction());
    session.rollback();
    let found = read(session.as_mut(), TimeRange::ALL, 9)?;
    assert_eq!((times(&found), found.values[4]), (vec![1], 1.0));
    session.try_begin()?;
    assert_eq!(
        session.commit()?.added,
        [0, 0],
        "undone rows are not counted"
    );
    Ok(())
}

fn a_session_dropped_in_a_transaction_leaves_nothing(subject: &Subject) -> Result<()> {
    if !subject.shared {
        return Ok(());
    }
    let mut session = subject.writer()?;
    session.try_begin()?;
    upsert(session.as_mut(), &[(1, 1.0)])?;
    drop(session);
    let mut session = subject.writer()?;
    commit(session.as_mut(), &[(2, 1.0)])?;
    assert_eq!(times(&read(session.as_mut(), TimeRange::ALL, 9)?), [2]);
    Ok(())
}

fn a_deletion_removes_what_is_between_its_ends(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    session.try_begin()?;
    upsert(session.as_mut(), &[(1, 0.0), (2, 0.0), (3, 0.0), (4, 0.0)])?;
    let range = TimeRange {
        after: 1,
        before: 4,
    };
    assert_eq!(session.delete(FRAME, SYMBOL, range)?, 2);
    assert_eq!(session.delete(FRAME, SYMBOL, range)?, 0);
    session.commit()?;
    assert_eq!(times(&read(session.as_mut(), TimeRange::ALL, 9)?), [1, 4]);
    Ok(())
}

fn the_newest_time_of_nothing_is_null(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    assert_eq!(session.last_time(FRAME, SYMBOL)?, Value::Null);
    commit(session.as_mut(), &[(7, 0.0), (3, 0.0)])?;
    assert_eq!(session.last_time(FRAME, SYMBOL)?, Value::Integer(7));
    assert_eq!(session.last_time(FRAME, "OTHER:X")?, Value::Null);
    Ok(())
}

fn every_series_is_listed_with_its_newest_candle(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    assert!(session.newest(&[FRAME, OTHER_FRAME])?.is_empty());
    session.try_begin()?;
    for (timeframe, symbol) in [(FRAME, "B:Y"), (OTHER_FRAME, "A:X"), (FRAME, "A:X")] {
        let values = packed(&[(1, 1.0), (2, 2.0)]);
        session.upsert(timeframe, symbol, rows(&values))?;
    }
    session.commit()?;
    let found = session.newest(&[FRAME, OTHER_FRAME])?;
    let series: Vec<_> = found
        .iter()
        .map(|newest| (newest.timeframe, newest.symbol.as_str(), times(&newest.row)))
        .collect();
    let two = || vec![2];
    assert_eq!(
        series,
        [
            (FRAME, "A:X", two()),
            (FRAME, "B:Y", two()),
            (OTHER_FRAME, "A:X", two())
        ]
    );
    Ok(())
}

fn counts_and_committed_changes_agree(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    session.try_begin()?;
    upsert(session.as_mut(), &[(1, 1.0), (2, 1.0), (3, 1.0)])?;
    let values = packed(&[(1, 1.0)]);
    session.upsert(OTHER_FRAME, SYMBOL, rows(&values))?;
    session.delete(
        FRAME,
        SYMBOL,
        TimeRange {
            after: 2,
            before: 9,
        },
    )?;
    let committed = session.commit()?;
    assert_eq!((committed.added, committed.uncounted), (vec![2, 1], false));
    session.try_begin()?;
    upsert(session.as_mut(), &[(1, 5.0), (2, 5.0)])?;
    let committed = session.commit()?;
    assert_eq!((committed.added, committed.uncounted), (vec![0, 0], false));
    let mut asked = false;
    let (_, counts) = session.counts(&[OTHER_FRAME, FRAME], &mut || {
        asked = true;
        true
    })?;
    assert_eq!((counts, asked), (vec![1, 2], true));
    let (_, none) = session.counts(&[FRAME], &mut || false)?;
    assert_eq!(none, [0; 0]);
    assert!(!session.in_transaction());
    Ok(())
}

fn a_table_that_is_not_configured_is_refused(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    let unknown = Timeframe(7);
    let mut found = ReadRows::default();
    let read = session.read_candles(unknown, SYMBOL, TimeRange::ALL, 1, &mut found);
    assert!(read.is_err_and(|error| error.code == Code::UnknownTable));
    session.try_begin()?;
    let written = session.upsert(unknown, SYMBOL, rows(&packed(&[(1, 1.0)])));
    assert!(written.is_err_and(|error| error.code == Code::UnknownTable));
    let deleted = session.delete(unknown, SYMBOL, TimeRange::ALL);
    assert!(deleted.is_err_and(|error| error.code == Code::UnknownTable));
    session.rollback();
    Ok(())
}

fn a_lock_that_another_session_holds_is_transient(subject: &Subject) -> Result<()> {
    if !subject.shared {
        return Ok(());
    }
    let mut holder = subject.writer()?;
    let mut waiter = subject.writer()?;
    holder.try_begin()?;
    for _ in 0..3 {
        let refused = waiter.try_begin();
        assert!(refused.is_err_and(|error| error.failure == Failure::Transient));
        assert!(!waiter.in_transaction());
    }
    upsert(holder.as_mut(), &[(1, 1.0)])?;
    holder.commit()?;
    waiter.try_begin()?;
    assert_eq!(upsert(waiter.as_mut(), &[(1, 1.0)])?.unchanged, 1);
    waiter.commit().map(|_| ())
}

fn readers_see_commits_and_nothing_else(subject: &Subject) -> Result<()> {
    if !subject.shared {
        assert!(subject.engine.open_reader().is_none());
        return Ok(());
    }
    let mut writer = subject.writer()?;
    let mut reader = subject.reader()?;
    writer.try_begin()?;
    upsert(writer.as_mut(), &[(1, 1.0)])?;
    assert_eq!(times(&read(writer.as_mut(), TimeRange::ALL, 9)?), [1]);
    assert!(read(reader.as_mut(), TimeRange::ALL, 9)?.is_empty());
    writer.commit()?;
    assert_eq!(times(&read(reader.as_mut(), TimeRange::ALL, 9)?), [1]);
    Ok(())
}

fn the_data_version_tells_of_commits_of_others_only(subject: &Subject) -> Result<()> {
    let mut writer = subject.writer()?;
    let own = writer.data_version()?;
    commit(writer.as_mut(), &[(1, 1.0)])?;
    assert_eq!(writer.data_version()?, own);
    if !subject.shared {
        return Ok(());
    }
    let mut reader = subject.reader()?;
    let (counted, _) = reader.counts(&[FRAME], &mut || true)?;
    assert_eq!(
        reader.data_version()?,
        counted,
        "nothing was committed since"
    );
    commit(writer.as_mut(), &[(2, 1.0)])?;
    let after = reader.data_version()?;
    assert_ne!(after, counted);
    writer.try_begin()?;
    upsert(writer.as_mut(), &[(3, 1.0)])?;
    writer.rollback();
    assert_eq!(reader.data_version()?, after, "a rollback is no commit");
    Ok(())
}

fn a_writer_learns_of_commits_of_others(subject: &Subject) -> Result<()> {
    if !subject.shared {
        return Ok(());
    }
    let mut own = subject.writer()?;
    let mut other = subject.writer()?;
    commit(own.as_mut(), &[(1, 1.0)])?;
    assert!(!own.foreign_commits()?);
    own.try_begin()?;
    assert!(!own.commit()?.foreign);

    commit(other.as_mut(), &[(2, 1.0)])?;
    assert!(own.foreign_commits()?);
    own.try_begin()?;
    assert!(own.commit()?.foreign, "found by the next transaction");
    assert!(!own.foreign_commits()?);
    own.try_begin()?;
    assert!(!own.commit()?.foreign, "told once");

    commit(other.as_mut(), &[(3, 1.0)])?;
    own.try_begin()?;
    own.rollback();
    assert!(own.foreign_commits()?, "a rollback does not forget it");
    own.try_begin()?;
    assert!(own.commit()?.foreign);
    Ok(())
}

/// Random numbers that are the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn candles(&mut self) -> Vec<(i64, f64)> {
        (0..self.below(6))
            .map(|_| (self.below(20) as i64, self.below(4) as f64))
            .collect()
    }

    fn range(&mut self) -> TimeRange {
        let after = self.below(20) as i64 - 1;
        TimeRange {
            after,
            before: after + self.below(8) as i64,
        }
    }
}

type Model = BTreeMap<i64, f64>;

fn remove(model: &mut Model, range: TimeRange) -> u64 {
    let before = model.len();
    model.retain(|time, _| !(range.after < *time && *time < range.before));
    (before - model.len()) as u64
}

fn state(session: &mut dyn ReadSession) -> Result<Model> {
    let found = read(session, TimeRange::ALL, 1_000)?;
    let rows = found.values.chunks(ROW);
    Ok(rows.map(|row| (row[0] as i64, row[4])).collect())
}

fn random_transactions_do_what_a_map_does(subject: &Subject) -> Result<()> {
    let mut session = subject.writer()?;
    let mut random = Random(88_172_645_463_325_252);
    let mut committed = Model::new();
    for round in 0..150 {
        let mut model = committed.clone();
        session.try_begin()?;
        for _ in 0..random.below(5) {
            if random.below(4) == 0 {
                let range = random.range();
                let deleted = session.delete(FRAME, SYMBOL, range)?;
                assert_eq!(deleted, remove(&mut model, range), "round {round}");
                continue;
            }
            let candles = random.candles();
            let mut expected = Upserted::default();
            for (time, close) in &candles {
                match model.insert(*time, *close) {
                    None => expected.inserted += 1,
                    Some(before) if before == *close => expected.unchanged += 1,
                    Some(_) => expected.updated += 1,
                }
            }
            let told = upsert(session.as_mut(), &candles)?;
            assert_eq!(told, expected, "round {round}: {candles:?}");
        }
        assert_eq!(state(session.as_mut())?, model, "round {round}");
        if random.below(3) == 0 {
            session.rollback();
        } else {
            let added = session.commit()?.added;
            assert_eq!(
                added[0],
                model.len() as i64 - committed.len() as i64,
                "round {round}"
            );
            committed = model;
        }
        assert_eq!(state(session.as_mut())?, committed, "round {round}");
    }
    Ok(())
}

/// The store as a whole: queued writes of all priorities, wrong ones among them, synchronous writes and leases. When
/// everything is settled, every candle is what the last accepted write of it says.
fn random_writes_end_as_their_order_of_acceptance_says(subject: &Subject) -> Result<()> {
    let store = Store::on(subject.engine.clone(), &subject.options);
    let (handle, told) = another_handle(&store);
    let mut random = Random(1_442_695_040_888_963_407);
    let mut model = Model::new();
    let mut id = 0;
    let mut enqueued: Vec<(u64, bool)> = Vec::new();
    let mut enqueue = |random: &mut Random, model: &mut Model| -> Result<()> {
        id += 1;
        let options = EnqueueOptions {
            id,
            priority: Priority::ALL[random.below(3) as usize],
            timeout_ms: None,
            job: 0,
        };
        let right = match random.below(40) {
            0 => {
                handle.enqueue_statements(vec![statement("no such statement")], options)?;
                false
            }
            1..=5 => {
                let range = random.range();
                handle.enqueue_delete(FRAME.0, SYMBOL, range, options)?;
                remove(model, range);
                true
            }
            _ => {
                let candles = random.candles();
                let values = packed(&candles);
                handle.enqueue_upsert(FRAME.0, SYMBOL, rows(&values), options)?;
                model.extend(candles);
                true
            }
        };
        enqueued.push((id, right));
        Ok(())
    };
    for _ in 0..300 {
        // Writes wait while a caller holds the session, and what comes next is mostly quicker than the queue's thread.
        let held = store.writer.token.take(Asker::Caller, None)?;
        for _ in 0..random.below(6) {
            enqueue(&mut random, &mut model)?;
        }
        drop(held);
        match random.below(4) {
            0 => {
                let candles = random.candles();
                handle.upsert(FRAME.0, SYMBOL, rows(&packed(&candles)))?;
                model.extend(candles);
            }
            1 => {
                let range = random.range();
                handle.delete(FRAME.0, SYMBOL, range)?;
                remove(&mut model, range);
            }
            2 => {
                let before = model.clone();
                handle.execute(&statement("begin"))?;
                let candles = random.candles();
                handle.upsert(FRAME.0, SYMBOL, rows(&packed(&candles)))?;
                model.extend(candles);
                let range = random.range();
                handle.delete(FRAME.0, SYMBOL, range)?;
                remove(&mut model, range);
                if random.below(2) == 0 {
                    handle.execute(&statement("rollback"))?;
                    model = before;
                } else {
                    enqueue(&mut random, &mut model)?;
                    handle.execute(&statement("commit"))?;
                }
            }
            _ => {}
        }
        if random.below(2) == 0 {
            let queue = &store.writer.queue;
            assert!(queue.wait_settled(queue.last_sequence(), None));
            assert_eq!(handle.read(true, |session| state(session))?, model);
        }
    }
    for (id, right) in enqueued {
        let outcome = told.outcome(id);
        assert_eq!(outcome.is_ok(), right, "{id}: {outcome:?}");
    }
    told.assert_once_each();
    let found = handle.read(true, |session| state(session))?;
    assert_eq!(found, model);
    let stats = handle.stats(false)?;
    assert_eq!(stats.counts[0].1, model.len() as u64);
    Ok(())
}

fn every_series_is_listed_with_its_ends_and_counted(subject: &Subject) -> Result<()> {
    let mut writer = subject.writer()?;
    assert_eq!(writer.series(FRAME)?, []);
    writer.try_begin()?;
    for symbol in ["B:B", "A:A"] {
        let candles = packed(&[(1, 1.0), (2, 1.0), (3, 1.0)]);
        writer.upsert(FRAME, symbol, rows(&candles))?;
    }
    writer.upsert(OTHER_FRAME, "C:C", rows(&packed(&[(7, 1.0)])))?;
    writer.commit()?;
    let mut listed = Vec::new();
    writer.snapshot(&mut |session| {
        for frame in [OTHER_FRAME, FRAME] {
            for series in session.series(frame)? {
                let count = session.count_series(frame, &series.symbol)?;
                listed.push((frame.0, series.symbol, series.first, series.last, count));
            }
        }
        Ok(())
    })?;
    let expected = |frame: u32, symbol: &str, first, last, count| {
        let [first, last] = [first, last].map(Value::Integer);
        (frame, symbol.to_owned(), first, last, count)
    };
    assert_eq!(
        listed,
        [
            expected(60, "C:C", 7, 7, 1),
            expected(15, "A:A", 1, 3, 3),
            expected(15, "B:B", 1, 3, 3),
        ]
    );
    assert!(!writer.in_transaction());
    assert_eq!(writer.count_series(FRAME, "C:C")?, 0);
    Ok(())
}

fn taken(subject: &Subject, name: &str) -> Box<dyn NameHold> {
    match subject.engine.take_name(name) {
        Ok(Taking::Taken(hold)) => hold,
        Ok(Taking::Held { by }) => panic!("{name} is held by {by:?}"),
        Err(error) => panic!("{name}: {error}"),
    }
}

fn holder(subject: &Subject, name: &str) -> Option<u32> {
    match subject.engine.take_name(name) {
        Ok(Taking::Held { by }) => by,
        Ok(Taking::Taken(_)) => panic!("{name} is free"),
        Err(error) => panic!("{name}: {error}"),
    }
}

fn a_name_has_one_holder_at_a_time(subject: &Subject) -> Result<()> {
    for _ in 0..3 {
        let hold = taken(subject, "a");
        for _ in 0..3 {
            assert_eq!(holder(subject, "a"), Some(std::process::id()));
        }
        assert!(hold.give_back(), "it was asked for");
        assert!(!taken(subject, "a").give_back(), "nobody has asked for it");
    }
    Ok(())
}

fn names_do_not_mix(subject: &Subject) -> Result<()> {
    let long = ":".repeat(64);
    let names = [
        "a", "b", "a:b", "a%3Ab", "a.b", "a_b", "a-b", "..", "../a", "/", "-", "ä", "", &long,
    ];
    let holds: Vec<_> = names.iter().map(|name| taken(subject, name)).collect();
    for name in names {
        holder(subject, name);
    }
    for hold in holds {
        assert!(hold.give_back());
    }
    Ok(())
}

fn a_hold_that_is_dropped_is_given_back(subject: &Subject) -> Result<()> {
    drop(taken(subject, "a"));
    let hold = taken(subject, "a");
    let unwound = thread::scope(|scope| {
        let holder = scope.spawn(move || {
            let _hold = hold;
            std::panic::resume_unwind(Box::new("the holder panics"));
        });
        holder.join()
    });
    assert!(unwound.is_err());
    taken(subject, "a").give_back();
    Ok(())
}

fn of_many_that_try_at_once_one_gets_the_name(subject: &Subject) -> Result<()> {
    const THREADS: u32 = 4;
    const TURNS: u32 = 100;
    let is_held = AtomicBool::new(false);
    let turns = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut own = 0;
                while own < TURNS {
                    let Ok(Taking::Taken(hold)) = subject.engine.take_name("a") else {
                        thread::yield_now();
                        continue;
                    };
                    assert!(!is_held.swap(true, SeqCst), "two have it");
                    thread::yield_now();
                    assert!(is_held.swap(false, SeqCst), "two have had it");
                    own += 1;
                    turns.fetch_add(1, SeqCst);
                    hold.give_back();
                }
            });
        }
    });
    assert_eq!(turns.load(SeqCst), THREADS * TURNS);
    Ok(())
}
