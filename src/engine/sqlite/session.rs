//! One SQLite connection as a session that reads and writes candles. It counts what its transactions add to the
//! candle tables, so that the store knows their sizes without scanning them.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use once_cell::sync::OnceCell;
use rusqlite::hooks::{Action, Wal};
use rusqlite::{Connection, ffi, params};

use super::backup::Backup;
use super::failure::{commit_error, store_error};
use super::hold::Hold;
use super::prepared::Prepared;
use super::query;
use super::raw::{RawStatement, Running};
use super::scan::{Scan, Wanted, prepared};
use super::schema::{Nature, TableSql};
use super::space;
use super::statement;
use super::wal_index::WalIndex;
use crate::candle::{CandleSink, ReadRows, Rows, TimeRange};
use crate::engine::{
    CommitState, Committed, Interrupter, LockWait, NewestCandle, Ran, RawSession, ReadSession,
    SeriesEnds, Step, Stop, Touched, Upserted, WriteSession,
};
use crate::error::{Code, Failure, Result, StoreError};
use crate::rows::{Cell, RowSink, SqlText};
use crate::timeframe::Timeframe;
use crate::value::{Statement, StatementResult, Value};

/// A connection with the tables it knows.
pub struct Session {
    // Statements stand before the connection, because fields are dropped in this order.
    scans: Vec<Scan>,
    upserts: Vec<Option<RawStatement>>,
    updates: Vec<Option<RawStatement>>,
    begin: Option<RawStatement>,
    commit: Option<RawStatement>,
    data_version: Option<RawStatement>,
    /// The caller's own statements.
    pub(super) prepared: Prepared,
    /// A snapshot kept for the next of them.
    pub(super) hold: Hold,
    /// Copies of the database that are being made.
    pub(super) backups: HashMap<u64, Backup>,
    pub(super) connection: Connection,
    tables: Arc<[TableSql]>,
    without_rowid: Vec<bool>,
    /// Rows added less rows removed in the open transaction, by table.
    added: Arc<[AtomicI64]>,
    /// The open transaction may have changed candle tables without the counts knowing.
    uncounted: bool,
    /// What the schema says of writing, as of a version of it.
    nature: Option<(i64, Nature)>,
    /// Somebody may have changed the schema since.
    may_have_new_schema: bool,
    /// `data_version` at the last begin; this session's own commits do not change it.
    version: Option<i64>,
    foreign: bool,
    /// The size of the write-ahead log after the last commit, as SQLite told.
    log_bytes: Arc<AtomicU64>,
    /// SQLite has told of a commit since the last begin.
    has_written: Arc<AtomicBool>,
    /// Looked for when first asked for.
    pub(super) wal_index: Option<Option<WalIndex>>,
    /// The newest commit when the open transaction began.
    before: Option<CommitState>,
    /// The newest commit just after this session's last one.
    last_own: Option<CommitState>,
    touched: Vec<Touched>,
    is_utf8: OnceCell<bool>,
    /// Open savepoints of a transaction that a SAVEPOINT began: releasing the first commits it.
    pub(super) savepoints: Option<Vec<String>>,
    /// It is one caller's alone and knows nothing of candles.
    pub(super) is_alone: bool,
    pub(super) is_read_only: bool,
    pub(super) watches_log: bool,
    /// The caller has changed pragmas that reading depends on.
    pub(super) has_pragmas: bool,
    /// Whether there are temporary objects or attached databases; none when there never were.
    pub(super) has_objects: Option<bool>,
    /// The commit as of which the schema was last looked at.
    pub(super) schema_seen: Option<CommitState>,
    /// Whether there are views that tell of the session that reads them, as of a version of the schema.
    pub(super) views: Option<(i64, bool)>,
    /// How long a lock is waited for, if a pragma has set it, and if none has.
    pub(super) busy_timeout_ms: Option<f64>,
    pub(super) is_timeout_new: bool,
    pub(super) default_timeout_ms: f64,
}

/// Asks SQLite to leave the -wal and -shm files in place when the last connection closes: a reader without
/// permission to make them could not open the database (https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html#sqlitefcntlpersistwal).
pub fn keep_wal(connection: &Connection) {
    let mut on: std::os::raw::c_int = 1;
    // SAFETY: the connection is open, and SQLITE_FCNTL_PERSIST_WAL reads and writes one int.
    unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_PERSIST_WAL,
            (&raw mut on).cast(),
        );
    }
}

impl Session {
    pub fn new(connection: Connection, tables: Arc<[TableSql]>, without_rowid: Vec<bool>) -> Self {
        let added = tables.iter().map(|_| AtomicI64::new(0)).collect();
        Self {
            scans: tables.iter().map(|_| Scan::default()).collect(),
            upserts: tables.iter().map(|_| None).collect(),
            updates: tables.iter().map(|_| None).collect(),
            begin: None,
            commit: None,
            data_version: None,
            prepared: Prepared::default(),
            hold: Hold::default(),
            backups: HashMap::new(),
            connection,
            tables,
            without_rowid,
            added,
            uncounted: false,
            nature: None,
            may_have_new_schema: true,
            version: None,
            foreign: false,
            log_bytes: Arc::default(),
            has_written: Arc::default(),
            wal_index: None,
            before: None,
            last_own: None,
            touched: Vec::new(),
            is_utf8: OnceCell::new(),
            savepoints: None,
            is_alone: false,
            is_read_only: false,
            watches_log: false,
            has_pragmas: false,
            has_objects: None,
            schema_seen: None,
            views: None,
            busy_timeout_ms: None,
            is_timeout_new: false,
            default_timeout_ms: 0.0,
        }
    }

    /// Learns the size of the write-ahead log at each commit. SQLite's own checkpoint at a commit hangs at the same hook,
    /// so there is none any more.
    pub fn watch_log(&mut self) -> rusqlite::Result<()> {
        let page: u32 = self
            .connection
            .query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let seen = self.log_bytes.clone();
        let has_written = self.has_written.clone();
        self.watches_log = true;
        self.connection.wal_hook(Some(move |wal: &mut Wal, pages| {
            if wal.name() == c"main" {
                let bytes = u64::try_from(pages).unwrap_or(0) * u64::from(page);
                seen.store(bytes, Ordering::Relaxed);
                has_written.store(true, Ordering::Relaxed);
            }
            Ok(())
        }))
    }

    /// Counts row changes of the candle tables from here on; only a session that writes needs it.
    fn watch_changes(&mut self) -> rusqlite::Result<()> {
        let added = self.added.clone();
        let names: Vec<String> = self.tables.iter().map(|sql| sql.table.clone()).collect();
        self.connection.update_hook(Some(
            move |action: Action, database: &str, table: &str, _rowid: i64| {
                let step = match action {
                    Action::SQLITE_INSERT => 1,
                    Action::SQLITE_DELETE => -1,
                    _ => return,
                };
                if database == "main"
                    && let Some(place) = names
                        .iter()
                        .position(|name| name.eq_ignore_ascii_case(table))
                {
                    added[place].fetch_add(step, Ordering::Relaxed);
                }
            },
        ))
    }

    fn place(&self, timeframe: Timeframe) -> Result<usize> {
        self.tables
            .iter()
            .position(|sql| sql.timeframe == timeframe)
            .ok_or_else(|| {
                StoreError::new(
                    Code::UnknownTable,
                    format!("there is no table {}", timeframe.table()),
                )
                .not_written()
            })
    }

    /// Tells a full disk from a statement for which SQLite says the same.
    fn judge(&self, mut error: StoreError) -> StoreError {
        if error.code == Code::DiskFull && space::is_ample(&self.connection) {
            // It fails again whatever becomes of the disk, and must not hold up everybody behind it.
            error.failure = Failure::Permanent;
            error.message.push_str(
                "; but the disk has room, so it is the statement: SQLite says the same when the largest rowid of a table \
                 with AUTOINCREMENT is taken",
            );
        }
        error
    }

    /// A PRAGMA may end the log, and with it the memory that its index is in.
    pub(super) fn forget_wal_index(&mut self) {
        self.wal_index = None;
    }

    /// Marks the transaction as one whose changes the counts do not know.
    pub(super) fn set_uncounted(&mut self) {
        self.uncounted = true;
        // Temporary triggers have no part in the schema's version.
        self.nature = None;
        self.may_have_new_schema = true;
    }

    /// Starts counting anew; what a transaction that is over has done is forgotten, but not that others have committed.
    fn reset_counts(&mut self) {
        for added in self.added.iter() {
            added.store(0, Ordering::Relaxed);
        }
        self.uncounted = false;
        self.touched.clear();
        self.savepoints = None;
    }

    /// What the transaction that has just been committed did to the candle tables.
    pub(super) fn committed(&mut self) -> Committed {
        if self.is_alone {
            self.reset_counts();
            return Committed::default();
        }
        let committed = Committed {
            added: self
                .added
                .iter()
                .map(|added| added.load(Ordering::Relaxed))
                .collect(),
            uncounted: self.uncounted,
            foreign: std::mem::take(&mut self.foreign),
            touched: std::mem::take(&mut self.touched),
            before: self.before.take(),
            after: self.commit_state(),
            has_written: self.has_written.load(Ordering::Relaxed),
        };
        // Somebody else may have committed since.
        let number = |state: &Option<CommitState>| state.map(|state| state.number);
        let own = number(&committed.before)
            .map(|before| before.wrapping_add(u32::from(committed.has_written)));
        self.last_own = committed.after.filter(|_| number(&committed.after) == own);
        self.reset_counts();
        committed
    }

    /// Sees, inside a transaction that has the write lock, whether somebody else has committed since the last one.
    fn note_foreign(&mut self) -> Result<()> {
        // Nobody has, if the newest commit is still this session's last one; that is much quicker to see.
        if self.before.is_some() && self.before == self.last_own {
            return Ok(());
        }
        let version = self.data_version()?;
        if self.version != Some(version) {
            self.foreign = true;
            self.may_have_new_schema = true;
        }
        self.version = Some(version);
        Ok(())
    }

    /// Learns, inside a transaction that has the write lock, whether own writes change what they do not name: a candle
    /// table may be a view of another, and a constraint of another program's may replace rows of other series, of which
    /// SQLite tells nobody.
    fn note_nature(&mut self) -> Result<()> {
        let told = |error| store_error("cannot look at the tables", &error).not_written();
        if self.may_have_new_schema {
            let version: i64 = self
                .connection
                .prepare_cached("PRAGMA schema_version")
                .and_then(|mut version| version.query_row([], |row| row.get(0)))
                .map_err(told)?;
            if self.nature.as_ref().is_none_or(|(of, _)| *of != version) {
                let nature = Nature::of(&self.connection, &self.tables).map_err(told)?;
                self.nature = Some((version, nature));
            }
            self.may_have_new_schema = false;
        }
        let nature = self.nature.as_ref().map(|(_, nature)| nature);
        self.uncounted = nature.is_some_and(|nature| nature.is_entangled);
        Ok(())
    }

    fn counts_in_snapshot(
        &mut self,
        timeframes: &[Timeframe],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(i64, Vec<u64>)> {
        let told = |error| store_error("cannot count the candles", &error);
        // The snapshot is that of the first statement that reads the file.
        self.connection
            .prepare_cached("SELECT 1 FROM sqlite_schema LIMIT 1")
            .and_then(|mut first| first.exists([]))
            .map_err(told)?;
        let version = self.data_version()?;
        if !go_on() {
            return Ok((version, Vec::new()));
        }
        let count = |timeframe: &Timeframe| {
            let sql = &self.tables[self.place(*timeframe)?];
            // A table that was dropped is missed when the statement is prepared, or when one from before is run.
            let counted = self
                .connection
                .prepare_cached(&sql.count)
                .and_then(|mut count| count.query_row([], |row| row.get::<_, i64>(0)));
            match counted {
                Err(error) if is_missing(sql, &error) => Ok(0),
                counted => counted.map(i64::unsigned_abs).map_err(told),
            }
        };
        Ok((
            version,
            timeframes.iter().map(count).collect::<Result<_>>()?,
        ))
    }
}

/// Runs a statement without parameters and rows.
fn run_control(
    slot: &mut Option<RawStatement>,
    connection: &Connection,
    sql: &str,
) -> rusqlite::Result<()> {
    let mut run = prepared(slot, connection, sql)?.start();
    run.step().map(|_| ())
}

fn is_utf8(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA encoding", [], |row| {
        Ok(row.get_ref(0)?.as_str()? == "UTF-8")
    })
}

fn is_missing(sql: &TableSql, error: &rusqlite::Error) -> bool {
    query::is_missing(&sql.table, error)
}

/// Binds all of a candle but its series.
fn bind_candle<'a>(
    statement: &mut Running<'a>,
    row: &[f64],
    clusters: Option<&'a str>,
) -> rusqlite::Result<()> {
    statement.bind_integer(2, row[0] as i64)?;
    for (column, value) in row[1..9].iter().enumerate() {
        statement.bind_real(column as i32 + 3, *value)?;
    }
    let trades = row[9];
    if trades.fract() == 0.0 && trades.abs() < 9_007_199_254_740_992.0 {
        statement.bind_integer(11, trades as i64)?;
    } else {
        statement.bind_real(11, trades)?;
    }
    match clusters {
        Some(text) => statement.bind_text(12, text),
        None => statement.bind_null(12),
    }
}

/// Remembers that candles may have been changed.
fn touch(
    touched: &mut Vec<Touched>,
    timeframe: Timeframe,
    symbol: &str,
    times: RangeInclusive<i64>,
    rows: u64,
    is_deleted: bool,
) {
    if times.is_empty() {
        return;
    }
    let (from, to) = times.into_inner();
    match touched.last_mut() {
        Some(last) if last.timeframe == timeframe && &*last.symbol == symbol => {
            last.from = last.from.min(from);
            last.to = last.to.max(to);
            last.rows += rows;
            last.is_deleted |= is_deleted;
        }
        _ => touched.push(Touched {
            timeframe,
            symbol: symbol.into(),
            from,
            to,
            rows,
            is_deleted,
        }),
    }
}

impl ReadSession for Session {
    fn scan(
        &mut self,
        timeframe: Timeframe,
        symbol: &str,
        range: TimeRange,
        limit: u32,
        sink: &mut dyn CandleSink,
    ) -> Result<bool> {
        let place = self.place(timeframe)?;
        let sql = &self.tables[place];
        let told = |error| store_error("cannot read candles", &error).at(&sql.table, symbol);
        let is_utf8 = *self
            .is_utf8
            .get_or_try_init(|| is_utf8(&self.connection))
            .map_err(told)?;
        let wanted = Wanted {
            symbol,
            range,
            limit,
            is_utf8,
        };
        match self.scans[place].run(&self.connection, sql, &wanted, sink) {
            Err(error) if is_missing(sql, &error) => Ok(false),
            scanned => scanned.map_err(told),
        }
    }

    fn commit_state(&mut self) -> Option<CommitState> {
        if self.wal_index.is_none() {
            self.wal_index = Some(WalIndex::of(&self.connection).ok()?);
        }
        self.wal_index.as_ref()?.as_ref()?.state()
    }

    fn last_time(&mut self, timeframe: Timeframe, symbol: &str) -> Result<Value> {
        let place = self.place(timeframe)?;
        let sql = &self.tables[place];
        let told =
            |error| store_error("cannot read the newest time", &error).at(&sql.table, symbol);
        let newest = self
            .connection
            .prepare_cached(&sql.last)
            .and_then(|mut newest| {
                newest.query_row([symbol], |row| Ok(statement::owned(row.get_ref(0)?)))
            });
        match newest {
            Err(error) if is_missing(sql, &error) => Ok(Value::Null),
            newest => newest.map_err(told),
        }
    }

    fn counts(
        &mut self,
        timeframes: &[Timeframe],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(i64, Vec<u64>)> {
        let told = |error| store_error("cannot count the candles", &error);
        let own = self.connection.is_autocommit();
        if own {
            self.connection.execute_batch("BEGIN").map_err(told)?;
        }
        let counted = self.counts_in_snapshot(timeframes, go_on);
        if own {
            self.connection.execute_batch("COMMIT").map_err(told)?;
        }
        counted
    }

    fn data_version(&mut self) -> Result<i64> {
        let told = |error| store_error("cannot read the data version", &error);
        let version = prepared(
            &mut self.data_version,
            &self.connection,
            "PRAGMA data_version",
        );
        let mut version = version.map_err(told)?.start();
        version.step().map_err(told)?;
        match version.value(0) {
            Value::Integer(version) => Ok(version),
            _ => Ok(0),
        }
    }

    fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn raw(&mut self) -> Option<&mut dyn RawSession> {
        Some(self)
    }

    fn newest(&mut self, timeframes: &[Timeframe]) -> Result<Vec<NewestCandle>> {
        let told = |error| store_error("cannot list the series", &error);
        let mut newest = Vec::new();
        for timeframe in timeframes {
            let sql = &self.tables[self.place(*timeframe)?];
            // Symbols that are no text are another program's, and no series of ours.
            let symbols = self
                .connection
                .prepare_cached(&sql.symbols)
                .and_then(|mut statement| {
                    let text = |row: &rusqlite::Row<'_>| {
                        Ok(row.get_ref(0)?.as_str().ok().map(str::to_owned))
                    };
                    statement
                        .query_map([], text)?
                        .filter_map(rusqlite::Result::transpose)
                        .collect()
                });
            let symbols: Vec<String> = match symbols {
                Err(error) if is_missing(sql, &error) => continue,
                symbols => symbols.map_err(told)?,
            };
            for symbol in symbols {
                let mut row = ReadRows::default();
                self.read_candles(*timeframe, &symbol, TimeRange::ALL, 1, &mut row)?;
                newest.push(NewestCandle {
                    timeframe: *timeframe,
                    symbol,
                    row,
                });
            }
        }
        Ok(newest)
    }

    fn query_only(
        &mut self,
        statement: &Statement,
        most_rows: Option<usize>,
    ) -> Result<StatementResult> {
        query::query_only(&self.connection, statement, most_rows)
    }

    fn snapshot(&mut self, read: &mut dyn FnMut(&mut dyn ReadSession) -> Result<()>) -> Result<()> {
        query::snapshot(self, read)
    }

    fn series(&mut self, timeframe: Timeframe) -> Result<Vec<SeriesEnds>> {
        query::series(&self.connection, timeframe)
    }

    fn count_series(&mut self, timeframe: Timeframe, symbol: &str) -> Result<u64> {
        query::count_series(&self.connection, timeframe, symbol)
    }

    fn interrupter(&self) -> Box<dyn Interrupter> {
        Box::new(self.connection.get_interrupt_handle())
    }

    fn stop_when(&mut self, stop: Option<Stop>) {
        query::stop_when(&mut self.connection, stop);
    }
}

impl WriteSession for Session {
    fn try_begin(&mut self) -> Result<()> {
        if self.version.is_none() && !self.is_alone {
            self.watch_changes()
                .map_err(|error| store_error("cannot watch for changes", &error).not_written())?;
        }
        let begin = if self.is_read_only {
            "BEGIN"
        } else {
            "BEGIN IMMEDIATE"
        };
        run_control(&mut self.begin, &self.connection, begin).map_err(|error| {
            store_error("cannot begin a write transaction", &error).not_written()
        })?;
        self.reset_counts();
        if self.is_alone {
            return Ok(());
        }
        self.has_written.store(false, Ordering::Relaxed);
        self.before = self.commit_state();
        self.note_foreign()
            .and_then(|()| self.note_nature())
            .inspect_err(|_| self.rollback())
    }

    fn upsert(&mut self, timeframe: Timeframe, symbol: &str, rows: Rows<'_>) -> Result<Upserted> {
        let place = self.place(timeframe)?;
        let sql = &self.tables[place];
        let told = |error| {
            store_error("cannot store candles", &error)
                .not_written()
                .at(&sql.table, symbol)
        };
        let statement =
            prepared(&mut self.upserts[place], &self.connection, &sql.upsert).map_err(told)?;
        let (mut from, mut to) = (i64::MAX, i64::MIN);
        let before = self.added[place].load(Ordering::Relaxed);
        let total_before = self.connection.total_changes();
        let mut changed = 0;
        let mut unseen = 0;
        let is_updated_first = !self.without_rowid[place]
            && self
                .nature
                .as_ref()
                .is_some_and(|(_, nature)| nature.is_updated_first[place]);
        let mut update = if is_updated_first {
            let update = prepared(&mut self.updates[place], &self.connection, &sql.update);
            let mut update = update.map_err(told)?.start();
            update.bind_text(1, symbol).map_err(told)?;
            Some(update)
        } else {
            None
        };
        // Where the last candle was there and has been changed, so is the next, mostly.
        let mut is_likely_there = false;
        let mut run = statement.start();
        run.bind_text(1, symbol).map_err(told)?;
        for (row, clusters) in rows.iter() {
            let time = row[0] as i64;
            (from, to) = (from.min(time), to.max(time));
            if self.without_rowid[place] {
                let mut exists = self.connection.prepare_cached(&sql.exists).map_err(told)?;
                unseen += i64::from(!exists.exists(params![symbol, time]).map_err(told)?);
            }
            if is_likely_there && let Some(update) = &mut update {
                bind_candle(update, row, clusters).map_err(told)?;
                if update.execute().map_err(told)? > 0 {
                    changed += 1;
                    continue;
                }
            }
            bind_candle(&mut run, row, clusters).map_err(told)?;
            let inserted_before = self.added[place].load(Ordering::Relaxed);
            let changed_now = run.execute().map_err(told)?;
            changed += changed_now;
            is_likely_there =
                changed_now == 1 && self.added[place].load(Ordering::Relaxed) == inserted_before;
        }
        drop(update);
        drop(run);
        let touched = rows.len() as u64;
        touch(
            &mut self.touched,
            timeframe,
            symbol,
            from..=to,
            touched,
            false,
        );
        // A trigger on the table has changed more than was asked for.
        self.uncounted |= self.connection.total_changes() - total_before != changed;
        self.added[place].fetch_add(unseen, Ordering::Relaxed);
        let inserted = (self.added[place].load(Ordering::Relaxed) - before).unsigned_abs();
        Ok(Upserted {
            inserted,
            updated: changed.saturating_sub(inserted),
            unchanged: (rows.len() as u64).saturating_sub(changed),
        })
    }

    fn delete(&mut self, timeframe: Timeframe, symbol: &str, range: TimeRange) -> Result<u64> {
        let place = self.place(timeframe)?;
        let sql = &self.tables[place];
        let total_before = self.connection.total_changes();
        let deleted = self
            .connection
            .prepare_cached(&sql.delete)
            .and_then(|mut delete| delete.execute(params![symbol, range.before, range.after]))
            .map_err(|error| {
                store_error("cannot delete candles", &error)
                    .not_written()
                    .at(&sql.table, symbol)
            })?;
        // Another program's times may lie between two milliseconds.
        let times = range.after..=range.before;
        touch(
            &mut self.touched,
            timeframe,
            symbol,
            times,
            deleted as u64,
            true,
        );
        self.uncounted |= self.connection.total_changes() - total_before != deleted as u64;
        if self.without_rowid[place] {
            self.added[place].fetch_sub(deleted as i64, Ordering::Relaxed);
        }
        Ok(deleted as u64)
    }

    fn run(&mut self, given: &Statement, most_rows: Option<usize>) -> Result<StatementResult> {
        statement::check_queued(&self.connection, &given.sql)?;
        statement::run_counted(self, given, most_rows).map_err(|error| self.judge(error))
    }

    fn execute(
        &mut self,
        text: &SqlText,
        params: &[Cell<'_>],
        sink: &mut dyn RowSink,
        wait: &mut LockWait<'_>,
        steps: &mut Vec<Step>,
    ) -> Result<Ran> {
        statement::execute(self, text, params, sink, wait, steps).map_err(|error| self.judge(error))
    }

    fn execute_script(
        &mut self,
        script: &str,
        wait: &mut LockWait<'_>,
        steps: &mut Vec<Step>,
    ) -> Result<()> {
        statement::execute_script(self, script, wait, steps).map_err(|error| self.judge(error))
    }

    fn commit(&mut self) -> Result<Committed> {
        run_control(&mut self.commit, &self.connection, "COMMIT")
            .map_err(|error| commit_error(&error))?;
        Ok(self.committed())
    }

    fn rollback(&mut self) {
        if !self.connection.is_autocommit() {
            self.prepared.leave_all();
            // A failure here leaves the transaction open, which the caller sees by in_transaction().
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.note_rollback();
        self.reset_counts();
    }

    fn rolls_back(&self, sql: &str) -> bool {
        statement::rolls_back(sql)
    }

    fn foreign_commits(&mut self) -> Result<bool> {
        let version = self.data_version()?;
        Ok(self.foreign || self.version != Some(version))
    }

    fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    fn rewrite(&mut self) -> Result<()> {
        let connection = &self.connection;
        connection
            .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
            // The first page is written as it was.
            .and_then(|version| connection.pragma_update(None, "user_version", version))
            .map_err(|error| cannot_write(&error))
    }

    fn probe(&mut self) -> Result<()> {
        self.try_begin()?;
        let rewritten = self.rewrite().and_then(|()| {
            let committed = self.connection.execute_batch("COMMIT");
            committed.map_err(|error| cannot_write(&error))?;
            self.committed();
            Ok(())
        });
        if rewritten.is_err() {
            self.rollback();
        }
        rewritten
    }
}

fn cannot_write(error: &rusqlite::Error) -> StoreError {
    store_error("cannot write", error).not_written()
}
