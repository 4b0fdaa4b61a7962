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
            "query() refuses transaction control, PRAGMA, ATTACH, DETACH and VACUUM: {:?}",
            begin_of(sql)
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
        "query() runs statements that only read; use enqueueWrite() or store.db: {:?}",
        begin_of(sql)
    )))
}

/// So much of a text as a message should have.
fn begin_of(sql: &str) -> String {
    sql.chars().take(200).collect()
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

/// Whether an error says that a table is not there.
pub fn is_missing(table: &str, error: &rusqlite::Error) -> bool {
    let message = error.to_string();
    let named = message
        .split_once("no such table: ")
        .and_then(|(_, named)| {
            named
                .strip_prefix("main.")
                .unwrap_or(named)
                .strip_prefix(table)
        });
    // And not one whose name only begins so.
    named.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
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
        .prepare_cached(&series_sql(&format!("main.{table}")))
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
        .prepare_cached(&count_sql(&format!("main.{table}")))
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;
    use crate::engine::sqlite::schema;
    use crate::error::Code;
    use crate::testing::{FRAME, statement};

    const ENDLESS: &str = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1e12) SELECT max(x) FROM n";
    const OLD_SCHEMA: &str = "CREATE TABLE candles_15 (
  id INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, time INTEGER NOT NULL,
  open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL, volume REAL NOT NULL,
  buy_volume REAL DEFAULT 0, sell_volume REAL DEFAULT 0, delta REAL DEFAULT 0, trade_count INTEGER DEFAULT 0,
  clusters TEXT, UNIQUE(symbol, time));
CREATE INDEX idx_candles_15_symbol_time ON candles_15(symbol, time)";

    fn memory() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    fn new_schema() -> Connection {
        let connection = memory();
        schema::create(&connection, &[FRAME]).unwrap();
        connection
    }

    fn old_schema() -> Connection {
        let connection = memory();
        connection.execute_batch(OLD_SCHEMA).unwrap();
        connection
    }

    fn plan(connection: &Connection, sql: &str) -> Vec<String> {
        let mut explained = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        if explained.parameter_count() > 0 {
            explained.raw_bind_parameter(1, "A:B").unwrap();
        }
        let mut found = explained.raw_query();
        let mut lines = Vec::new();
        while let Some(row) = found.next().unwrap() {
            lines.push(row.get::<_, String>(3).unwrap());
        }
        lines
    }

    #[test]
    fn series_are_listed_and_counted_by_a_narrow_index_in_either_schema() {
        for connection in [new_schema(), old_schema()] {
            let table = FRAME.table();
            for sql in [
                series_sql(&format!("main.{table}")),
                count_sql(&format!("main.{table}")),
            ] {
                let plan = plan(&connection, &sql);
                let touches: Vec<_> = plan.iter().filter(|line| line.contains(&table)).collect();
                assert!(!touches.is_empty(), "{plan:?}");
                for line in touches {
                    assert!(
                        line.starts_with("SEARCH") && line.contains("COVERING INDEX"),
                        "{plan:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_function_that_writes_writes_nothing_and_the_connection_writes_again_afterwards() {
        let connection = memory();
        connection
            .execute_batch(
                "CREATE VIRTUAL TABLE words USING fts3(text);
                 INSERT INTO words VALUES ('a'); INSERT INTO words VALUES ('b')",
            )
            .unwrap();
        let optimize = statement("SELECT optimize(words) FROM words LIMIT 1");
        assert!(query_only(&connection, &optimize, None).is_err());
        connection
            .execute_batch("INSERT INTO words VALUES ('c')")
            .unwrap();
    }

    #[test]
    fn what_explain_explains_is_found_behind_comments() {
        for sql in [
            "EXPLAIN PRAGMA a",
            "explain query plan PRAGMA a",
            " /* x */ EXPLAIN -- y\n QUERY /**/ PLAN\tPRAGMA a",
            "PRAGMA a",
        ] {
            assert_eq!(explained(sql), "PRAGMA a", "{sql}");
        }
        assert_eq!(explained("SELECT 'EXPLAIN'"), "SELECT 'EXPLAIN'");
        assert_eq!(explained("ü"), "ü");
    }

    #[test]
    fn a_statement_is_ended_by_an_interrupt_and_by_a_stop_and_the_next_one_is_not() {
        let mut connection = memory();
        let endless = statement(ENDLESS);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        stop_when(
            &mut connection,
            Some(Box::new(move || {
                counted.fetch_add(1, Ordering::SeqCst) == 100
            })),
        );
        let stopped = query_only(&connection, &endless, None);
        assert!(stopped.is_err_and(|error| error.code == Code::Aborted));
        let (began, begun) = mpsc::channel();
        stop_when(
            &mut connection,
            Some(Box::new(move || {
                let _ = began.send(());
                false
            })),
        );
        let handle = connection.get_interrupt_handle();
        let other = thread::spawn(move || {
            begun.recv().unwrap();
            Interrupter::interrupt(&handle);
        });
        let interrupted = query_only(&connection, &endless, None);
        assert!(interrupted.is_err_and(|error| error.code == Code::Aborted));
        other.join().unwrap();
        // Where nothing runs an interrupt does nothing.
        connection.get_interrupt_handle().interrupt();
        stop_when(&mut connection, None);
        assert!(query_only(&connection, &statement("SELECT 1"), None).is_ok());
    }
}
