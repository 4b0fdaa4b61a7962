//! What only SQLite does: existing files and their schemas, tables without rowids, raw statements that end
//! transactions, rows that other programs wrote, and commits of other connections.

#![expect(clippy::expect_used, reason = "a failed expectation fails the test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{PAGE_SIZE, Sqlite};
use crate::candle::{CLUSTERS, ReadRows, TimeRange};
use crate::engine::{Engine, Upserted};
use crate::error::{Code, Result, Written};
use crate::options::{Breaker, Options};
use crate::queue::Priority;
use crate::reply::Answer;
use crate::store::tests::another_handle;
use crate::store::{EnqueueOptions, Format, Handle, Selection, Store};
use crate::testing::{FRAME, SYMBOL, Told, options, packed, rows, statement, wait_for};
use crate::value::Value;
use crate::writer::Asker;

/// The schema of the system that came before.
const OLD_SCHEMA: &str = "
CREATE TABLE candles_15 (
  id INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, time INTEGER NOT NULL,
  open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL, volume REAL NOT NULL,
  buy_volume REAL DEFAULT 0, sell_volume REAL DEFAULT 0, delta REAL DEFAULT 0, trade_count INTEGER DEFAULT 0,
  clusters TEXT, UNIQUE(symbol, time));
CREATE INDEX idx_candles_15_symbol_time ON candles_15(symbol, time DESC);
CREATE TABLE candles_60 (
  symbol TEXT NOT NULL, time INTEGER NOT NULL,
  open REAL, high REAL, low REAL, close REAL, volume REAL,
  buy_volume REAL, sell_volume REAL, delta REAL, trade_count INTEGER, clusters TEXT,
  PRIMARY KEY (symbol, time)) WITHOUT ROWID;
INSERT INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES ('BINANCE:BTCUSDT', 1, 1, 1, 1, 1, 1);
INSERT INTO candles_60 (symbol, time, open, high, low, close, volume) VALUES ('BINANCE:BTCUSDT', 1, 1, 1, 1, 1, 1);
";

struct Folder {
    path: PathBuf,
    _folder: TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            path: folder.path().join("candles.db"),
            _folder: folder,
        }
    }

    /// A file as another program makes it.
    fn with(sql: &str) -> Self {
        let folder = Self::new();
        other(&folder.path)
            .execute_batch(&format!("PRAGMA journal_mode = WAL; {sql}"))
            .expect("the other program's SQL");
        folder
    }
}

/// A connection of another program.
fn other(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a connection of another program");
    connection
        .busy_timeout(crate::engine::fake::PATIENCE)
        .expect("a time-out");
    connection
}

fn number(connection: &Connection, sql: &str) -> i64 {
    connection
        .query_row(sql, [], |row| row.get(0))
        .expect("one number")
}

fn schema(connection: &Connection) -> Vec<String> {
    let mut statement = connection
        .prepare("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY name")
        .expect("the schema");
    let rows = statement.query_map([], |row| row.get(0)).expect("its rows");
    rows.collect::<rusqlite::Result<_>>().expect("texts")
}

/// A store on a file, with one handle.
struct Bench {
    store: Arc<Store>,
    handle: Handle,
    told: Arc<Told>,
    folder: Folder,
}

impl Bench {
    fn on(folder: Folder) -> Self {
        let options = Options {
            busy_timeout_ms: 20_000.0,
            ..options()
        };
        Self::with(folder, &options)
    }

    fn with(folder: Folder, options: &Options) -> Self {
        let engine = Sqlite::open_file(&folder.path, options).expect("a database file");
        let store = Store::on(Arc::new(engine), options);
        let (handle, told) = another_handle(&store);
        Self {
            store,
            handle,
            told,
            folder,
        }
    }

    fn other(&self) -> Connection {
        other(&self.folder.path)
    }

    fn write(&self, minutes: u32, candles: &[(i64, f64)]) -> Result<Upserted> {
        let values = packed(candles);
        self.handle.upsert(minutes, SYMBOL, rows(&values))
    }

    fn run(&self, sql: &str) -> Result<crate::value::StatementResult> {
        self.handle.execute(&statement(sql))
    }

    fn counts(&self, exact: bool) -> Result<Vec<u64>> {
        let counts = self.handle.stats(exact)?.counts;
        Ok(counts.into_iter().map(|(_, count)| count).collect())
    }

    /// Queues candles, statements and candles again so that they are one group.
    fn enqueue_group(&self, statements: &[&str]) -> Result<()> {
        let held = self.store.writer.token.take(Asker::Caller, None)?;
        let options = |id| EnqueueOptions {
            id,
            priority: Priority::Live,
            timeout_ms: None,
            job: 0,
        };
        let values = packed(&[(101, 1.0)]);
        self.handle
            .enqueue_upsert(FRAME.0, SYMBOL, rows(&values), options(1))?;
        let statements = statements.iter().map(|sql| statement(sql)).collect();
        self.handle.enqueue_statements(statements, options(2))?;
        let values = packed(&[(102, 1.0)]);
        self.handle
            .enqueue_upsert(FRAME.0, SYMBOL, rows(&values), options(3))?;
        drop(held);
        Ok(())
    }
}

// Files.

#[test]
fn a_new_file_has_one_index_for_each_table_and_a_write_ahead_log() {
    let bench = Bench::on(Folder::new());
    let other = bench.other();
    assert_eq!(number(&other, "PRAGMA page_size"), i64::from(PAGE_SIZE));
    let mode: String = other
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .expect("the journal mode");
    assert_eq!(mode, "wal");
    let indexes = "SELECT count(*) FROM sqlite_schema WHERE type = 'index'";
    let tables =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 'candles_%'";
    assert_eq!((number(&other, tables), number(&other, indexes)), (2, 2));
}

#[test]
fn an_existing_file_is_opened_and_written_without_a_change_of_its_schema() -> Result<()> {
    let folder = Folder::with(OLD_SCHEMA);
    let connection = other(&folder.path);
    let (before, version) = (
        schema(&connection),
        number(&connection, "PRAGMA schema_version"),
    );
    let looked = number(&connection, "PRAGMA data_version");
    let bench = Bench::on(folder);
    assert_eq!(bench.counts(true)?, [1, 1]);
    let opened = number(&connection, "PRAGMA data_version");
    assert_eq!(opened, looked, "opening and reading commits nothing");
    bench.write(15, &[(1, 2.0), (2, 2.0)])?;
    bench.write(60, &[(1, 2.0), (2, 2.0)])?;
    assert_eq!(schema(&connection), before);
    assert_eq!(number(&connection, "PRAGMA schema_version"), version);
    let kept = "SELECT id FROM candles_15 WHERE time = 1 AND close = 2";
    assert_eq!(number(&connection, kept), 1, "an update keeps the row's id");
    Ok(())
}

#[test]
fn a_new_file_is_set_up_by_many_at_the_same_instant() {
    for _ in 0..5 {
        let folder = Folder::new();
        let start = std::sync::Barrier::new(4);
        thread::scope(|scope| {
            for number in 0..4 {
                let (start, path) = (&start, &folder.path);
                scope.spawn(move || {
                    start.wait();
                    let engine = Sqlite::open_file(path, &options());
                    let written = engine.and_then(|engine| {
                        let store = Store::on(Arc::new(engine), &options());
                        let (handle, _) = another_handle(&store);
                        handle.upsert(15, SYMBOL, rows(&packed(&[(number, 1.0)])))
                    });
                    assert!(written.is_ok_and(|done| done.inserted == 1));
                });
            }
        });
        let all = "SELECT count(*) FROM candles_15";
        assert_eq!(number(&other(&folder.path), all), 4);
    }
}

#[test]
fn what_is_no_database_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    let text = "this is a text, not a database. ".repeat(100);
    std::fs::write(&folder.path, &text).expect("a text file");
    let refused = Sqlite::open_file(&folder.path, &options());
    assert!(refused.is_err_and(|error| error.code == Code::NotADatabase));
    let after = std::fs::read_to_string(&folder.path).expect("the text file");
    assert_eq!(after, text);
}

// Tables.

#[test]
fn a_table_without_rowids_is_counted_as_exactly_as_one_with() -> Result<()> {
    let bench = Bench::on(Folder::with(OLD_SCHEMA));
    assert_eq!(bench.counts(false)?, [1, 1]);
    for minutes in [15, 60] {
        let done = bench.write(minutes, &[(1, 1.0), (1, 2.0), (2, 1.0), (2, 1.0), (3, 1.0)])?;
        assert_eq!(
            (done.inserted, done.updated, done.unchanged),
            (2, 2, 1),
            "the row of the other program differs in what it left out"
        );
    }
    assert_eq!(bench.counts(false)?, [3, 3]);
    for minutes in [15, 60] {
        let range = TimeRange {
            after: 1,
            before: 3,
        };
        assert_eq!(bench.handle.delete(minutes, SYMBOL, range)?, 1);
    }
    assert_eq!(bench.counts(false)?, [2, 2]);
    assert_eq!(bench.counts(true)?, [2, 2]);
    Ok(())
}

#[test]
fn candles_that_are_there_are_updated_without_drawing_numbers_in_the_older_schema() -> Result<()> {
    let drawn = "SELECT seq FROM sqlite_sequence WHERE name = 'candles_15'";
    let bench = Bench::on(Folder::with(OLD_SCHEMA));
    let all: Vec<(i64, f64)> = (1..=50).map(|time| (time, 1.0)).collect();
    bench.write(15, &all)?;
    let before = number(&bench.other(), drawn);
    // Changed, unchanged and new ones in turns: each is what it is, however the one before was written.
    let mixed: Vec<(i64, f64)> = (1..=60)
        .map(|time| (time, if time % 7 == 3 { 1.0 } else { 2.0 }))
        .collect();
    let done = bench.write(15, &mixed)?;
    let unchanged = (1..=50).filter(|time| time % 7 == 3).count() as u64;
    assert_eq!(
        (done.inserted, done.updated, done.unchanged),
        (10, 50 - unchanged, unchanged)
    );
    assert_eq!(bench.counts(true)?, bench.counts(false)?);
    for (time, close) in mixed {
        let stored = format!("SELECT CAST(close AS INTEGER) FROM candles_15 WHERE time = {time}");
        assert_eq!(number(&bench.other(), &stored), close as i64, "{time}");
    }
    let changed: Vec<(i64, f64)> = (1..=60).map(|time| (time, 3.0)).collect();
    let between = number(&bench.other(), drawn);
    assert_eq!(bench.write(15, &changed)?.updated, 60);
    let after = number(&bench.other(), drawn);
    assert!(
        between > before && after <= between + 1,
        "{before} {between} {after}"
    );
    Ok(())
}

#[test]
fn triggers_on_insertions_see_every_candle_that_is_stored() -> Result<()> {
    let bench = Bench::on(Folder::with(&format!(
        "{OLD_SCHEMA} CREATE TABLE seen (time INTEGER);
         CREATE TRIGGER see BEFORE INSERT ON candles_15 BEGIN INSERT INTO seen VALUES (NEW.time); END;"
    )));
    let candles = |close: f64| -> Vec<(i64, f64)> { (2..=9).map(|time| (time, close)).collect() };
    bench.write(15, &candles(1.0))?;
    bench.write(15, &candles(2.0))?;
    assert_eq!(number(&bench.other(), "SELECT count(*) FROM seen"), 16);
    Ok(())
}

#[test]
fn rows_of_other_programs_are_read_as_they_are() -> Result<()> {
    let bench = Bench::on(Folder::with(OLD_SCHEMA));
    bench
        .other()
        .execute_batch(
            "INSERT INTO candles_60 (symbol, time, open, high, low, close, volume, trade_count, clusters) VALUES
             ('BINANCE:BTCUSDT', 2, NULL, 9e999, 'low', x'01', 7, 8.5, x'02'),
             ('BINANCE:BTCUSDT', 3, 1, 2, 3, 4, 5, NULL, '')",
        )
        .expect("odd rows");
    let mut found = ReadRows::default();
    let all = TimeRange {
        after: 1,
        before: 9,
    };
    bench
        .handle
        .read_candles(60, SYMBOL, all, 9, false, &mut found)?;
    assert_eq!(found.len(), 2);
    let odd: Vec<_> = found
        .odd
        .iter()
        .filter(|cell| cell.row == 0)
        .map(|cell| (cell.column, cell.value.clone()))
        .collect();
    for expected in [
        (1, Value::Null),
        (3, Value::Text("low".to_owned())),
        (4, Value::Blob(vec![1])),
        (CLUSTERS, Value::Blob(vec![2])),
    ] {
        assert!(odd.contains(&expected), "{expected:?} in {odd:?}");
    }
    assert_eq!(found.values[2], f64::INFINITY);
    assert_eq!((found.values[5], found.values[9]), (7.0, 8.5));
    Ok(())
}

#[test]
fn a_file_in_another_encoding_is_read_and_written_as_any_other() -> Result<()> {
    let bench = Bench::on(Folder::with(&format!(
        "PRAGMA encoding = 'UTF-16le'; {OLD_SCHEMA} UPDATE candles_15 SET clusters = '{{\"é😀\":1}}'"
    )));
    let encoding: String = bench
        .other()
        .query_row("PRAGMA encoding", [], |row| row.get(0))
        .expect("the encoding");
    assert_eq!(encoding, "UTF-16le");
    let mut found = ReadRows::default();
    bench
        .handle
        .read_candles(15, SYMBOL, TimeRange::ALL, 9, false, &mut found)?;
    assert_eq!(found.clusters, "{\"é😀\":1}");
    bench.write(15, &[(2, 2.0)])?;
    assert_eq!(bench.counts(true)?, [2, 1]);
    Ok(())
}

// Statements of the queue.

#[test]
fn a_statement_returns_rows_and_what_it_changed() -> Result<()> {
    let bench = Bench::on(Folder::with(
        "CREATE TABLE pools (name TEXT UNIQUE, size INTEGER)",
    ));
    bench.enqueue_group(&[
        "INSERT INTO pools VALUES ('a', 1), ('b', 2) RETURNING name",
        "UPDATE pools SET size = size + 1",
    ])?;
    let Ok(Answer::Ran(ran)) = bench.told.outcome(2) else {
        panic!("the statements did not run");
    };
    let name = |text: &str| vec![Value::Text(text.to_owned())];
    assert_eq!(ran.results[0].columns, ["name"]);
    assert_eq!(ran.results[0].rows, [name("a"), name("b")]);
    assert_eq!(
        (ran.results[0].changes, ran.results[0].last_insert_rowid),
        (2, 2)
    );
    assert_eq!(ran.results[1].changes, 2);
    bench.told.written(1);
    bench.told.written(3);
    Ok(())
}

#[test]
fn whatever_a_statement_does_to_the_transaction_its_neighbours_commit() -> Result<()> {
    const TABLES: &str = "
        CREATE TABLE pools (name TEXT UNIQUE);
        INSERT INTO pools VALUES ('taken');
        CREATE TRIGGER no_x BEFORE INSERT ON pools WHEN new.name = 'x'
          BEGIN SELECT RAISE(ROLLBACK, 'no x'); END;
        CREATE TABLE parents (id INTEGER PRIMARY KEY);
        CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
        PRAGMA user_version = 3;";
    for (sql, code) in [
        ("INSERT INTO pools VALUES ('taken')", Code::Constraint),
        (
            "INSERT OR ROLLBACK INTO pools VALUES ('taken')",
            Code::Constraint,
        ),
        (
            "INSERT OR FAIL INTO pools VALUES ('new'), ('taken')",
            Code::Constraint,
        ),
        ("INSERT INTO pools VALUES ('x')", Code::Constraint),
        ("INSERT INTO children VALUES (7)", Code::Constraint),
        ("INSERT INTO nowhere VALUES (1)", Code::SqlError),
        ("COMMIT", Code::InvalidSql),
        ("PRAGMA user_version = 4", Code::InvalidSql),
        ("DELETE FROM pools; DELETE FROM pools", Code::InvalidSql),
    ] {
        let bench = Bench::on(Folder::with(TABLES));
        // The option is the connection's, not the file's.
        bench.run("PRAGMA foreign_keys = ON")?;
        bench.enqueue_group(&["INSERT INTO pools VALUES ('first')", sql])?;
        assert_eq!(bench.told.written(1).inserted, 1, "{sql}");
        let error = bench.told.error(2);
        assert_eq!(
            (error.code, error.written),
            (code, Some(Written::No)),
            "{sql}"
        );
        assert_eq!(bench.told.written(3).inserted, 1, "{sql}");
        let other = bench.other();
        let pools = number(&other, "SELECT count(*) FROM pools");
        assert_eq!(pools, 1, "{sql}: all of it or nothing");
        assert_eq!(number(&other, "SELECT count(*) FROM children"), 0);
        assert_eq!(number(&other, "PRAGMA user_version"), 3);
        assert_eq!(bench.counts(false)?, bench.counts(true)?, "{sql}");
        assert_eq!(bench.counts(false)?, [2, 0], "{sql}");
        bench.told.assert_once_each();
    }
    Ok(())
}

#[test]
fn statements_that_change_candle_tables_are_counted() -> Result<()> {
    let bench = Bench::on(Folder::with(OLD_SCHEMA));
    bench.write(15, &[(1, 1.0), (2, 1.0), (3, 1.0)])?;
    assert_eq!(bench.counts(false)?, [3, 1]);
    for (sql, left) in [
        ("DELETE FROM candles_15 WHERE time = 1", 2),
        (
            "INSERT OR REPLACE INTO candles_15 (symbol, time, open, high, low, close, volume)
             VALUES ('BINANCE:BTCUSDT', 2, 1, 1, 1, 1, 1)",
            2,
        ),
        ("DELETE FROM candles_15", 0),
    ] {
        bench.run(sql)?;
        assert_eq!(bench.counts(true)?, [left, 1], "{sql}");
        let counts = bench.counts(false)?;
        assert_eq!(counts, [left, 1], "{sql}");
    }
    Ok(())
}

#[test]
fn changes_of_candle_tables_by_triggers_are_counted() -> Result<()> {
    const TRIGGER: &str = "
        CREATE TABLE log (time INTEGER);
        CREATE TRIGGER clear AFTER INSERT ON log BEGIN DELETE FROM candles_15; END;";
    let bench = Bench::on(Folder::with(&format!("{OLD_SCHEMA} {TRIGGER}")));
    bench.write(15, &[(1, 1.0), (2, 1.0)])?;
    assert_eq!(bench.counts(false)?, [2, 1]);
    bench.run("INSERT INTO log VALUES (1)")?;
    assert_eq!(bench.counts(true)?, [0, 1]);
    bench.write(15, &[(5, 1.0)])?;
    assert_eq!(bench.counts(true)?, [1, 1]);
    Ok(())
}

// The raw handle.

#[test]
fn a_savepoint_outside_a_transaction_begins_one_and_its_release_commits_it() -> Result<()> {
    let bench = Bench::on(Folder::with(OLD_SCHEMA));
    bench.run("SAVEPOINT a")?;
    assert!(bench.handle.in_transaction());
    bench.write(15, &[(5, 1.0)])?;
    bench.run("SAVEPOINT b")?;
    bench.write(15, &[(6, 1.0)])?;
    bench.run("ROLLBACK TO b")?;
    bench.run("RELEASE b")?;
    assert!(bench.handle.in_transaction());
    bench.run("RELEASE a")?;
    assert!(!bench.handle.in_transaction());
    let times = "SELECT group_concat(time) FROM (SELECT time FROM candles_15 ORDER BY time)";
    let found: String = bench
        .other()
        .query_row(times, [], |row| row.get(0))
        .expect("the times");
    assert_eq!(found, "1,5");
    assert_eq!(bench.counts(false)?, [2, 1]);
    Ok(())
}

#[test]
fn what_a_savepoint_has_undone_overtakes_nothing() -> Result<()> {
    let bench = Bench::on(Folder::new());
    let (queueing, told) = another_handle(&bench.store);
    bench.run("BEGIN")?;
    let options = EnqueueOptions {
        id: 1,
        priority: Priority::Live,
        timeout_ms: None,
        job: 0,
    };
    let values = packed(&[(1, 1.0), (2, 1.0)]);
    queueing.enqueue_upsert(15, SYMBOL, rows(&values), options)?;
    bench.write(15, &[(1, 2.0)])?;
    bench.run("SAVEPOINT inner")?;
    bench.write(15, &[(2, 2.0)])?;
    bench.run("ROLLBACK TO inner")?;
    bench.run("COMMIT")?;
    assert_eq!(told.written(1).coalesced, 1);
    let closes = "SELECT group_concat(close) FROM (SELECT close FROM candles_15 ORDER BY time)";
    let found: String = bench
        .other()
        .query_row(closes, [], |row| row.get(0))
        .expect("the closes");
    assert_eq!(found, "2.0,1.0");
    Ok(())
}

#[test]
fn every_begin_takes_the_lock_at_once() -> Result<()> {
    for begin in [
        "BEGIN",
        "BEGIN DEFERRED",
        "begin immediate",
        "BEGIN EXCLUSIVE",
        "SAVEPOINT a",
    ] {
        let bench = Bench::on(Folder::new());
        bench.run(begin)?;
        let other = bench.other();
        other
            .busy_timeout(std::time::Duration::ZERO)
            .expect("no time-out");
        assert!(other.execute_batch("BEGIN IMMEDIATE").is_err(), "{begin}");
        bench.run("ROLLBACK")?;
        assert!(other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok());
    }
    Ok(())
}

#[test]
fn a_script_runs_to_its_first_error_and_says_what_it_began() -> Result<()> {
    let bench = Bench::on(Folder::new());
    bench.handle.execute_script(
        "CREATE TABLE pools (name TEXT); INSERT INTO pools VALUES (';'); -- a comment; \n INSERT INTO pools VALUES ('b')",
    )?;
    assert_eq!(number(&bench.other(), "SELECT count(*) FROM pools"), 2);
    let failed = bench
        .handle
        .execute_script("BEGIN; INSERT INTO pools VALUES ('c'); nonsense; COMMIT");
    assert!(failed.is_err());
    assert!(bench.handle.in_transaction());
    bench.handle.execute_script("ROLLBACK")?;
    assert_eq!(number(&bench.other(), "SELECT count(*) FROM pools"), 2);
    Ok(())
}

#[test]
fn a_commit_that_a_constraint_refuses_keeps_the_transaction_open() -> Result<()> {
    let bench = Bench::on(Folder::with(
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);
         CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);",
    ));
    bench.run("PRAGMA foreign_keys = ON")?;
    bench.run("BEGIN")?;
    bench.run("INSERT INTO children VALUES (7)")?;
    let refused = bench.run("COMMIT");
    assert!(refused.is_err_and(|error| error.code == Code::Constraint));
    assert!(bench.handle.in_transaction());
    bench.run("INSERT INTO parents VALUES (7)")?;
    bench.run("COMMIT")?;
    assert_eq!(number(&bench.other(), "SELECT count(*) FROM children"), 1);
    Ok(())
}

// Other connections.

#[test]
fn counts_follow_the_commits_of_other_programs() -> Result<()> {
    let bench = Bench::on(Folder::with(OLD_SCHEMA));
    let other = bench.other();
    let insert = |time: i64| {
        let sql = format!(
            "INSERT INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES ('O:X', {time}, 1, 1, 1, 1, 1)"
        );
        other.execute_batch(&sql).expect("a row of another program");
    };
    assert_eq!(bench.counts(false)?, [1, 1]);
    insert(10);
    assert_eq!(bench.counts(true)?, [2, 1]);
    bench.write(15, &[(20, 1.0)])?;
    insert(11);
    bench.write(15, &[(21, 1.0)])?;
    assert_eq!(bench.counts(true)?, [5, 1]);
    // A transaction that is rolled back must not swallow what it has seen of others.
    insert(12);
    bench.run("BEGIN")?;
    bench.run("ROLLBACK")?;
    bench.write(15, &[(22, 1.0)])?;
    crate::testing::wait_for("the count of all", || {
        bench.counts(false).is_ok_and(|counts| counts == [7, 1])
    });
    Ok(())
}

#[test]
fn a_lock_of_another_connection_is_waited_out_and_its_holder_named() -> Result<()> {
    let bench = Bench::with(
        Folder::new(),
        &Options {
            busy_timeout_ms: 10.0,
            ..options()
        },
    );
    let other = bench.other();
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let Err(error) = bench.write(15, &[(1, 1.0)]) else {
        panic!("the lock is taken");
    };
    assert_eq!(
        (error.code, error.written),
        (Code::Timeout, Some(Written::No))
    );
    if cfg!(target_os = "linux") {
        assert_eq!(error.holder_pid, Some(std::process::id()));
    }
    bench.enqueue_group(&["CREATE TABLE IF NOT EXISTS pools (name TEXT)"])?;
    assert!(
        bench.store.writer.queue.oldest().is_some(),
        "it waits without a deadline"
    );
    other.execute_batch("ROLLBACK").expect("the end");
    for id in [1, 3] {
        assert_eq!(bench.told.written(id).inserted, 1);
    }
    assert!(bench.told.outcome(2).is_ok());
    assert_eq!(
        bench.write(15, &[(1, 1.0)])?.inserted,
        1,
        "it was not written before"
    );
    Ok(())
}

#[test]
fn a_file_that_may_not_grow_fails_writes_until_it_may_again() -> Result<()> {
    let bench = Bench::with(
        Folder::new(),
        &Options {
            breaker: Breaker {
                recovery_ms: 100.0,
                ..options().breaker
            },
            ..options()
        },
    );
    bench.write(15, &[(1, 1.0)])?;
    let pages = bench.run("PRAGMA page_count")?.rows[0][0].clone();
    let Value::Integer(pages) = pages else {
        panic!("page_count is a number");
    };
    bench.run(&format!("PRAGMA max_page_count = {}", pages + 1))?;
    let many: Vec<(i64, f64)> = (0..4_000).map(|time| (time, 0.5)).collect();
    let Err(error) = bench.write(15, &many) else {
        panic!("the file may not grow");
    };
    assert_eq!(
        (error.code, error.written),
        (Code::DiskFull, Some(Written::No))
    );
    assert_eq!(bench.counts(true)?, [1, 0]);
    bench.run("PRAGMA max_page_count = 1000000")?;
    wait_for("the breaker to let a trial through", || {
        match bench.write(15, &many) {
            Ok(done) => {
                assert_eq!(done.inserted, 3_999);
                true
            }
            Err(error) => {
                assert_eq!(error.code, Code::BreakerOpen);
                false
            }
        }
    });
    assert_eq!(bench.counts(true)?, [4_000, 0]);
    Ok(())
}

#[test]
fn the_log_is_left_in_place_when_the_last_connection_closes() -> Result<()> {
    let bench = Bench::on(Folder::new());
    bench.write(15, &[(1, 1.0)])?;
    bench.handle.close(20_000.0);
    for end in ["-wal", "-shm"] {
        let mut path = bench.folder.path.clone().into_os_string();
        path.push(end);
        assert!(Path::new(&path).exists(), "{end}");
    }
    let reader = Connection::open_with_flags(
        &bench.folder.path,
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .expect("a reader");
    assert_eq!(number(&reader, "SELECT count(*) FROM candles_15"), 1);
    Ok(())
}

#[test]
fn a_database_in_memory_is_read_on_its_one_connection() -> Result<()> {
    let engine = Sqlite::open_memory(&options())?;
    assert!(engine.open_reader().is_none());
    let store = Store::on(Arc::new(engine), &options());
    let (handle, told) = another_handle(&store);
    handle.upsert(15, SYMBOL, rows(&packed(&[(1, 1.0)])))?;
    assert_eq!(handle.last_time(15, SYMBOL)?, Value::Integer(1));
    let candles = Selection {
        minutes: 15,
        symbol: SYMBOL,
        range: TimeRange::ALL,
        limit: 9,
    };
    handle.read_candles_later(candles, Format::Rows, 1, Arc::default())?;
    assert!(matches!(told.outcome(1), Ok(Answer::Candles(found)) if found.len() == 1));
    assert_eq!(handle.stats(false)?.counts[0].1, 1);
    handle.close(20_000.0);
    Ok(())
}
