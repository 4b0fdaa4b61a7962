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
    /// Changes a candle that is there and differs; takes the parameters of `upsert`.
    pub update: String,
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

/// Volume first: it is what nearly every update of an open candle changes, so the comparison ends there.
const COMPARED: [&str; 10] = [
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
];

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
        let to_columns = |given: &dyn Fn(&str) -> String| {
            let set = |column: &&str| format!("{column} = {}", given(column));
            COLUMNS[1..].iter().map(set).collect::<Vec<_>>().join(", ")
        };
        let differs = |given: &dyn Fn(&str) -> String| {
            let differs = |column: &&str| format!("{column} IS NOT {}", given(column));
            COMPARED
                .iter()
                .map(differs)
                .collect::<Vec<_>>()
                .join(" OR ")
        };
        let excluded = |column: &str| format!("excluded.{column}");
        let parameter = |column: &str| {
            let place = COLUMNS.iter().position(|known| *known == column);
            format!("?{}", place.unwrap_or_default() + 2)
        };
        // The session may have temporary tables of the caller's, which come first where no database is named.
        let main = format!("main.{table}");
        let series = "FROM".to_owned() + " " + &main + " WHERE symbol = ?1";
        Self {
            timeframe,
            upsert: format!(
                "INSERT INTO {main} (symbol, {columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
                 ON CONFLICT (symbol, time) DO UPDATE SET {} WHERE {}",
                to_columns(&excluded),
                differs(&excluded)
            ),
            update: format!(
                "UPDATE {main} SET {} WHERE symbol = ?1 AND time = ?2 AND ({})",
                to_columns(&parameter),
                differs(&parameter)
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
            count: format!("SELECT count(*) FROM {main}"),
            delete: format!("DELETE {series} AND time < ?2 AND time > ?3"),
            exists: format!("SELECT 1 {series} AND time = ?2"),
            // A loose index scan: one seek per symbol instead of one step per row.
            symbols: format!(
                "WITH RECURSIVE series (symbol) AS (SELECT min(symbol) FROM {main} UNION ALL \
                 SELECT (SELECT min(symbol) FROM {main} WHERE symbol > series.symbol) FROM series WHERE series.symbol IS NOT NULL) \
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
        "CREATE TABLE IF NOT EXISTS main.{} (
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

/// What a schema says of writing to the candle tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nature {
    /// A write to one table may change rows of another, or of other series than it names, without SQLite telling of it.
    pub is_entangled: bool,
    /// Tables, by their place, in which candles that are known to be there are better updated than inserted again: an
    /// insertion draws a number and notes it in `sqlite_sequence` (AUTOINCREMENT), also if it ends as an update. Not where
    /// there are triggers, which tell one from the other.
    pub is_updated_first: Vec<bool>,
}

impl Nature {
    pub fn of(connection: &Connection, tables: &[TableSql]) -> rusqlite::Result<Self> {
        let has_triggers = connection
            .prepare_cached(
                "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' \
                 UNION ALL SELECT 1 FROM sqlite_temp_schema WHERE type = 'trigger'",
            )?
            .exists([])?;
        let mut nature = Self {
            is_entangled: false,
            is_updated_first: vec![false; tables.len()],
        };
        let mut objects = connection.prepare_cached(
            "SELECT name, type <> 'table' OR sql LIKE '%REPLACE%' OR sql LIKE '%RTRIM%' OR sql LIKE 'CREATE VIRTUAL%', \
             sql LIKE '%AUTOINCREMENT%' FROM sqlite_schema WHERE type IN ('table', 'view')",
        )?;
        let mut rows = objects.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(0)?.as_str().unwrap_or_default();
            let ours = tables
                .iter()
                .position(|sql| sql.table.eq_ignore_ascii_case(name));
            if let Some(place) = ours {
                nature.is_entangled |= row.get::<_, Option<bool>>(1)?.unwrap_or(true);
                nature.is_updated_first[place] =
                    !has_triggers && row.get::<_, Option<bool>>(2)?.unwrap_or(false);
            }
        }
        Ok(nature)
    }
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
