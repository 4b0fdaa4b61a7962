'use strict';

// The store that a careful author writes with better-sqlite3, so that nobody need take the slow one for the best that
// the library can do: every statement prepared once, one transaction for a batch, INSERT .. ON CONFLICT DO UPDATE, rows
// as arrays, of which the same candles are made, and JSON into which the stored text of a footprint goes as it is.
// A file of its own has no second index and pages of 8 KiB; the tables and pages of one that is there stay as they are.
// It checks nothing and orders nobody: no queue, no waiting in line, no cache.

const Database = require('./original/node_modules/better-sqlite3');

/** How long the log grows before it is copied, as with candlestore: a fourth faster than the usual 1,000 pages. */
const LOG_BYTES = 20_000_000;
const TIMEFRAMES = [15, 60, 240, 1440];
const COLUMNS =
  'time, open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count, clusters'.split(', ');
const TABLE = (name) => `
  CREATE TABLE IF NOT EXISTS ${name} (
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
  )`;

/** The statements of one table. */
function statementsOf(db, dbReadOnly, table) {
  const changed = COLUMNS.slice(1).map((column) => `${column} = excluded.${column}`);
  const newest = `SELECT ${COLUMNS.join(', ')} FROM ${table} WHERE symbol = ?`;
  return {
    upsert: db.prepare(
      `INSERT INTO ${table} (symbol, ${COLUMNS.join(', ')}) VALUES (${'?, '.repeat(COLUMNS.length)}?)
       ON CONFLICT (symbol, time) DO UPDATE SET ${changed.join(', ')}`,
    ),
    newest: dbReadOnly.prepare(`${newest} ORDER BY time DESC LIMIT ?`).raw(),
    older: dbReadOnly.prepare(`${newest} AND time < ? ORDER BY time DESC LIMIT ?`).raw(),
    last: db.prepare(`SELECT MAX(time) FROM ${table} WHERE symbol = ?`).pluck(),
    count: dbReadOnly.prepare(`SELECT COUNT(*) FROM ${table}`).pluck(),
  };
}

function candleOf(row) {
  return {
    time: row[0],
    open: row[1],
    high: row[2],
    low: row[3],
    close: row[4],
    volume: row[5],
    buyVolume: row[6],
    sellVolume: row[7],
    delta: row[8],
    tradeCount: row[9],
    clusters: row[10] ? JSON.parse(row[10]) : {},
  };
}

// Finite numbers turn into the same text by themselves as in JSON.
const jsonOf = (row) =>
  `{"time":${row[0]},"open":${row[1]},"high":${row[2]},"low":${row[3]},"close":${row[4]},"volume":${row[5]},` +
  `"buyVolume":${row[6]},"sellVolume":${row[7]},"delta":${row[8]},"tradeCount":${row[9]},"clusters":${row[10] ?? '{}'}}`;

function openUsedWell(file) {
  const db = new Database(file);
  db.pragma('page_size = 8192'); // nothing changes where there are pages already
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = NORMAL');
  db.pragma('busy_timeout = 5000');
  db.pragma('cache_size = -16000');
  db.pragma(`wal_autocheckpoint = ${Math.round(LOG_BYTES / db.pragma('page_size', { simple: true }))}`);
  db.exec(TIMEFRAMES.map((minutes) => TABLE(`candles_${minutes}`)).join(';'));
  const dbReadOnly = new Database(file, { readonly: true });
  dbReadOnly.pragma('busy_timeout = 5000');
  dbReadOnly.pragma('cache_size = -16000');
  const tables = new Map(
    TIMEFRAMES.map((minutes) => [`candles_${minutes}`, statementsOf(db, dbReadOnly, `candles_${minutes}`)]),
  );

  function upsertCandle(table, symbol, candle) {
    return tables
      .get(table)
      .upsert.run(
        symbol.toUpperCase(),
        candle.time,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.buyVolume || 0,
        candle.sellVolume || 0,
        candle.delta || 0,
        candle.tradeCount || 0,
        candle.clusters ? JSON.stringify(candle.clusters) : null,
      );
  }

  function rowsOf(table, symbol, limit, before) {
    const { newest, older } = tables.get(table);
    return before ? older.all(symbol.toUpperCase(), before, limit) : newest.all(symbol.toUpperCase(), limit);
  }

  return {
    db,
    dbReadOnly,
    upsertCandle,
    upsertCandles: db.transaction((table, symbol, candles) => {
      for (const candle of candles) upsertCandle(table, symbol, candle);
    }),
    getCandles: (table, symbol, limit = 100, before = null) =>
      rowsOf(table, symbol, limit, before).reverse().map(candleOf),
    getCandlesJson(table, symbol, limit = 100, before = null) {
      const rows = rowsOf(table, symbol, limit, before).reverse();
      // Without footprints JSON.stringify is faster than putting the text together.
      return rows.some((row) => row[10] !== null)
        ? `[${rows.map(jsonOf).join(',')}]`
        : JSON.stringify(rows.map(candleOf));
    },
    getLastCandleTime: (table, symbol) => tables.get(table).last.get(symbol.toUpperCase()),
    getStats: () => Object.fromEntries([...tables].map(([name, { count }]) => [name, count.get()])),
    close() {
      dbReadOnly.close();
      db.close();
    },
  };
}

module.exports = { openUsedWell };
