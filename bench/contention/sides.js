'use strict';

// The stores that contend, in one shape: `transaction(symbol, candles)` is the collector's own line (a loop over
// upsertCandle in db.transaction), `enqueue` hands the batch to the write queue, `read` is getCandles on the
// read-only connection.
// `orig` does what bench/original/db.js does, with its pragmas and a statement prepared for every row, but leaves the
// schema of the file as it finds it: db.js would add its second index to a file of candlestore's. `cached` is the same
// with every statement prepared once, the best that better-sqlite3 can do without other SQL.

const { TABLE } = require('./rows.js');

const UPSERT = `INSERT OR REPLACE INTO ${TABLE}
  (symbol, time, open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count, clusters)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const SELECT = `SELECT * FROM ${TABLE} WHERE symbol = ? ORDER BY time DESC LIMIT ?`;

function openBetterSqlite(file, cached) {
  const Database = require('../original/node_modules/better-sqlite3');
  const db = new Database(file, { fileMustExist: true });
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = NORMAL');
  db.pragma('busy_timeout = 2000');
  db.pragma('wal_autocheckpoint = 1000');
  const dbReadOnly = new Database(file, { readonly: true });
  dbReadOnly.pragma('busy_timeout = 2000');
  const upsert = cached ? db.prepare(UPSERT) : null;
  const select = cached ? dbReadOnly.prepare(SELECT) : null;
  const upsertCandle = (symbol, candle) =>
    (upsert ?? db.prepare(UPSERT)).run(
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
  return {
    transaction: db.transaction((symbol, candles) => {
      for (const candle of candles) upsertCandle(symbol, candle);
    }),
    read: (symbol, limit) =>
      (select ?? dbReadOnly.prepare(SELECT))
        .all(symbol.toUpperCase(), limit)
        .reverse()
        .map((row) => ({
          time: row.time,
          open: row.open,
          high: row.high,
          low: row.low,
          close: row.close,
          volume: row.volume,
          buyVolume: row.buy_volume,
          sellVolume: row.sell_volume,
          delta: row.delta,
          tradeCount: row.trade_count,
          clusters: row.clusters ? JSON.parse(row.clusters) : {},
        })),
    stats: () => null,
    close() {
      dbReadOnly.close();
      db.close();
    },
  };
}

function openCandlestore(file) {
  const store = require('candlestore').openStore(file, { fileMustExist: true });
  return {
    transaction: store.db.transaction((symbol, candles) => {
      for (const candle of candles) store.upsertCandle(TABLE, symbol, candle);
    }),
    enqueue: (symbol, candles, priority) => store.enqueueCandles(TABLE, symbol, candles, { priority }),
    read: (symbol, limit) => store.getCandles(TABLE, symbol, limit, null, true),
    stats: () => store.getStats(),
    close: () => store.close(),
  };
}

const SIDES = {
  orig: (file) => openBetterSqlite(file, false),
  cached: (file) => openBetterSqlite(file, true),
  candlestore: openCandlestore,
};

/** Whether an error is a lock's that another connection held for too long. */
const isLock = (error) =>
  /^SQLITE_BUSY|^TIMEOUT$/.test(error.code) || /database is locked/.test(error.message);

module.exports = { SIDES, isLock };
