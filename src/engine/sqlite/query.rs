//! Reads of the caller's own in the background, and the list of series: what may be asked, how it is ended half-way,
//! and the SQL that answers from the narrow index alone.

use rusqlite::{Connection, InterruptHandle, MAIN_DB, Row};

use super::failure::store_error;
use super::session::Session;
use super::statement::{control_kind, invalid, one_statement, owned, run, without_comments};
use crate::engine::{Interrupter, ReadSession, SeriesEnds, Stop};
use crate::error::{Result, StoreError};
use crate::timeframe::Timeframe;
use crate::value::{Statement, StatementResult};

/// Steps of SQLite's machine between two questions whether to stop: some 10 microseconds.
const STEPS: i32 = 1_000;

impl Interrupter for InterruptHandle {
    fn interrupt(&self) {
        InterruptHandle::interrupt(self);
    }
}

/// Asks `stop` while a statement runs.
pub fn stop_when(connection: &mut Connection, stop: Option<Stop>) {
    // It fails only where a connection belongs to somebody else, and ours do not.
    let _ = connection.progress_handler(STEPS, stop);
}

/// Runs one statement that only reads, and refuses every other.
pub fn query_only(
    connection: &Connection,
    given: &Statement,
    most_rows: Option<usize>,
) -> Result<StatementResult> {
    check(connection, &given.sql)
        .and_then(|()| {
            let _locked = ReadOnly::lock(connection)?;
            run(connection, given, most_rows)
        })
        .map_err(|mut error| {
            // Nothing was to be written.
            error.written = None;
            error
        })
}

fn check(connection: &Connection, sql: &str) -> Result<()> {
    // Looked at before SQLite sees it: some PRAGMAs act when they are prepared, also behind EXPLAIN.
    if control_kind(explained(sql)).is_some() {
        return Err(invalid(format!(
            "query() refuses transaction control, PRAGMA, ATTACH, DETACH and VACUUM: {sql:.1000?}"
        )));
    }
    one_statement(connection, sql)?;
    let statement = connection
        .prepare_cached(sql)
        .map_err(|error| store_error("cannot prepare the statement", &error))?;
    if statement.readonly() {
        return Ok(());
    }
    Err(invalid(format!(
        "query() runs statements that only read; use enqueueWrite() or store.db: {sql:.1000?}"
    )))
}

/// The statement behind EXPLAIN and EXPLAIN QUERY PLAN.
fn explained(sql: &str) -> &str {
    ["EXPLAIN", "QUERY", "PLAN"]
        .iter()
        .fold(without_comments(sql), |rest, word| {
            match rest.get(..word.len()) {
                Some(first) if first.eq_ignore_ascii_case(word) => {
                    without_comments(&rest[word.len()..])
                }
                _ => rest,
            }
        })
}

/// A connection that could write, as the only one of a database in memory can, and may not: a virtual table or a function
/// of one, such as optimize() of FTS, may write in a statement that reads. It may again when this is dropped.
struct ReadOnly<'a>(Option<&'a Connection>);

impl<'a> ReadOnly<'a> {
    fn lock(connection: &'a Connection) -> Result<Self> {
        let told = |error| store_error("cannot read", &error);
        if connection.is_readonly(MAIN_DB).map_err(told)? {
            return Ok(Self(None));
        }
        let locked = Self(Some(connection));
        connection
            .pragma_update(None, "query_only", true)
            .map_err(told)?;
        Ok(locked)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            // Twice, because an interrupt may come in between, and no read is interrupted more than once.
            let _ = connection
                .pragma_update(None, "query_only", false)
                .or_else(|_| connection.pragma_update(None, "query_only", false));
        }
    }
}

/// Runs several reads on one state of the database.
pub fn snapshot(
    session: &mut Session,
    read: &mut dyn FnMut(&mut dyn ReadSession) -> Result<()>,
) -> Result<()> {
    if session.in_transaction() {
        return read(session);
    }
    let told = |error| store_error("cannot read", &error);
    session.connection.execute_batch("BEGIN").map_err(told)?;
    let done = read(session);
    // Where this fails, the session is in a transaction and is not used again.
    let ended = session.connection.execute_batch("COMMIT").map_err(told);
    done.and(ended)
}

fn is_missing(table: &str, error: &rusqlite::Error) -> bool {
    error
        .to_string()
        .contains(&format!("no such table: {table}"))
}

/// One seek per symbol to list them, and one for each end.
fn series_sql(table: &str) -> String {
    let end = |order: &str| {
        format!(
            "(SELECT time FROM {table} WHERE symbol = series.symbol ORDER BY time {order} LIMIT 1)"
        )
    };
    format!(
        "WITH RECURSIVE series (symbol) AS (SELECT min(symbol) FROM {table} UNION ALL \
         SELECT (SELECT min(symbol) FROM {table} WHERE symbol > series.symbol) FROM series WHERE series.symbol IS NOT NULL) \
         SELECT symbol, {}, {} FROM series WHERE symbol IS NOT NULL",
        end("ASC"),
        end("DESC")
    )
}

fn count_sql(table: &str) -> String {
    format!("SELECT count(*) FROM {table} WHERE symbol = ?1")
}

/// Every series of a timeframe in the order of symbol.
pub fn series(connection: &Connection, timeframe: Timeframe) -> Result<Vec<SeriesEnds>> {
    let table = timeframe.table();
    // Symbols that are no text are another program's, and no series of ours.
    let ends = |row: &Row<'_>| {
        let Ok(symbol) = row.get_ref(0)?.as_str().map(str::to_owned) else {
            return Ok(None);
        };
        Ok(Some(SeriesEnds {
            symbol,
            first: owned(row.get_ref(1)?),
            last: owned(row.get_ref(2)?),
        }))
    };
    let found = connection
        .prepare_cached(&series_sql(&table))
        .and_then(|mut statement| {
            statement
                .query_map([], ends)?
                .filter_map(rusqlite::Result::transpose)
                .collect()
        });
    match found {
        Err(error) if is_missing(&table, &error) => Ok(Vec::new()),
        found => found.map_err(|error| store_error("cannot list the series", &error)),
    }
}

/// Candles of one series, counted over the index.
pub fn count_series(connection: &Connection, timeframe: Timeframe, symbol: &str) -> Result<u64> {
    let table = timeframe.table();
    let counted = connection
        .prepare_cached(&count_sql(&table))
        .and_then(|mut count| count.query_row([symbol], |row| row.get::<_, i64>(0)));
    match counted {
        Err(error) if is_missing(&table, &error) => Ok(0),
        counted => counted
            .map(i64::unsigned_abs)
            .map_err(|error| failed(&error, &table, symbol)),
    }
}

fn failed(error: &rusqlite::Error, table: &str, symbol: &str) -> StoreError {
    store_error("cannot count the candles", error).at(table, symbol)
}
