//! The tables: how a new one is made, and every SQL text that touches one. A new table has the columns of the
//! older schema but only one index; an existing table is used as it is.

use rusqlite::Connection;

use crate::candle::COLUMNS;
use crate::timeframe::Timeframe;

/// The SQL texts of one timeframe, made once.
pub struct TableSql {
    pub timeframe: Timeframe,
    pub table: String,
    pub upsert: String,
    /// Rows: all, below ?3, above ?4, between. Without a bound there is no comparison, so that rows whose time another
    /// program made a text are read, too. At most ?2 of them, newest first.
    pub newest_first: [String; 4],
    /// Rows inside the same bounds, oldest first.
    pub oldest_first: [String; 4],
    /// The time before which the newest ?2 rows inside the same bounds begin, from the index alone, and 1; or NULL and 0
    /// where there are not so many. There is always a row, because a statement that stands on one keeps its snapshot.
    pub start: [String; 4],
    pub last: String,
    pub count: String,
    pub delete: String,
    pub exists: String,
    pub symbols: String,
}

const BOUNDS: [&str; 4] = [
    "",
    " AND time < ?3",
    " AND time > ?4",
    " AND time < ?3 AND time > ?4",
];

impl TableSql {
    pub fn new(timeframe: Timeframe) -> Self {
        let table = timeframe.table();
        let columns = COLUMNS.join(", ");
        let sets: Vec<_> = COLUMNS[1..]
            .iter()
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        // Volume first: it is what nearly every update of an open candle changes, so the comparison ends there.
        let differ: Vec<_> = [
            "volume",
            "close",
            "high",
            "low",
            "open",
            "trade_count",
            "buy_volume",
            "sell_volume",
            "delta",
            "clusters",
        ]
        .iter()
        .map(|column| format!("{column} IS NOT excluded.{column}"))
        .collect();
        let series = "FROM".to_owned() + " " + &table + " WHERE symbol = ?1";
        Self {
            timeframe,
            upsert: format!(
                "INSERT INTO {table} (symbol, {columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
                 ON CONFLICT (symbol, time) DO UPDATE SET {} WHERE {}",
                sets.join(", "),
                differ.join(" OR ")
            ),
            newest_first: BOUNDS.map(|bounds| {
                format!("SELECT {columns} {series}{bounds} ORDER BY time DESC LIMIT ?2")
            }),
            oldest_first: BOUNDS
                .map(|bounds| format!("SELECT {columns} {series}{bounds} ORDER BY time")),
            start: BOUNDS.map(|bounds| {
                format!(
                    "SELECT time, 1 FROM (SELECT time {series}{bounds} ORDER BY time DESC LIMIT 1 OFFSET ?2) \
                     UNION ALL SELECT NULL, 0"
                )
            }),
            last: format!("SELECT max(time) {series}"),
            count: format!("SELECT count(*) FROM {table}"),
            delete: format!("DELETE {series} AND time < ?2 AND time > ?3"),
            exists: format!("SELECT 1 {series} AND time = ?2"),
            // A loose index scan: one seek per symbol instead of one step per row.
            symbols: format!(
                "WITH RECURSIVE series (symbol) AS (SELECT min(symbol) FROM {table} UNION ALL \
                 SELECT (SELECT min(symbol) FROM {table} WHERE symbol > series.symbol) FROM series WHERE series.symbol IS NOT NULL) \
                 SELECT symbol FROM series WHERE symbol IS NOT NULL"
            ),
            table,
        }
    }
}

/// The statement that makes a timeframe's table.
///
/// A rowid table, because a footprint makes rows long and WITHOUT ROWID falls off a cliff when a row passes a
/// quarter of a page; `id` is there because the older schema has it, without AUTOINCREMENT, which would cost a
/// write to `sqlite_sequence` with each row. The only index is the one that UNIQUE makes: it answers every read
/// and is narrow enough to count by.
fn create_table(timeframe: Timeframe) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
  id INTEGER PRIMARY KEY,
  symbol TEXT NOT NULL,
  time INTEGER NOT NULL,
  open REAL NOT NULL,
  high REAL NOT NULL,
  low REAL NOT NULL,
  close REAL NOT NULL,
  volume REAL NOT NULL,
  buy_volume REAL DEFAULT 0,
  sell_volume REAL DEFAULT 0,
  delta REAL DEFAULT 0,
  trade_count INTEGER DEFAULT 0,
  clusters TEXT,
  UNIQUE (symbol, time)
)",
        timeframe.table()
    )
}

/// What a look at a database file found.
pub struct Found {
    pub is_wal: bool,
    pub missing: Vec<Timeframe>,
    /// Places, in the list of timeframes, of tables that have no rowid: SQLite reports no row changes for them.
    pub without_rowid: Vec<bool>,
}

/// Whether a write to one candle table may change rows of another, or of other series than it names, without SQLite
/// telling of it.
pub fn is_entangled(connection: &Connection, tables: &[TableSql]) -> rusqlite::Result<bool> {
    let mut objects = connection.prepare_cached(
        "SELECT name, type <> 'table' OR sql LIKE '%REPLACE%' OR sql LIKE '%RTRIM%' OR sql LIKE 'CREATE VIRTUAL%' \
         FROM sqlite_schema WHERE type IN ('table', 'view')",
    )?;
    let mut rows = objects.query([])?;
    while let Some(row) = rows.next()? {
        let name = row.get_ref(0)?.as_str().unwrap_or_default();
        let is_ours = tables
            .iter()
            .any(|sql| sql.table.eq_ignore_ascii_case(name));
        if is_ours && row.get::<_, Option<bool>>(1)?.unwrap_or(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Looks at the schema without changing anything.
pub fn look(connection: &Connection, timeframes: &[Timeframe]) -> rusqlite::Result<Found> {
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let mut missing = Vec::new();
    let mut without_rowid = Vec::with_capacity(timeframes.len());
    for timeframe in timeframes {
        let mut statement = connection.prepare(
            "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
        )?;
        let mut rows = statement.query([timeframe.table()])?;
        match rows.next()? {
            Some(row) => without_rowid.push(row.get::<_, i64>(0)? != 0),
            None => {
                missing.push(*timeframe);
                without_rowid.push(false);
            }
        }
    }
    Ok(Found {
        is_wal: mode.eq_ignore_ascii_case("wal"),
        missing,
        without_rowid,
    })
}

/// Makes the tables that are missing, inside a transaction of the caller's.
pub fn create(connection: &Connection, timeframes: &[Timeframe]) -> rusqlite::Result<()> {
    timeframes
        .iter()
        .try_for_each(|timeframe| connection.execute_batch(&create_table(*timeframe)))
}
