'use strict';

// The store that candlestore replaces, written again from its description: better-sqlite3, a statement prepared for
// every row, INSERT OR REPLACE, rows turned into objects one by one. It is here to be compared with and to prove that
// files can go back to it. It is not part of the package and it is not made faster than it was.

const fs = require('node:fs');
const path = require('node:path');
const Database = require('better-sqlite3');

const file = process.env.DB_PATH || path.join(__dirname, '..', '..', 'server', 'data', 'cryptoflow.db');
const timeframes = [15, 60, 240, 1440];

fs.mkdirSync(path.dirname(file), { recursive: true });

const db = new Database(file);
db.pragma('journal_mode = WAL');
db.pragma('synchronous = NORMAL');
db.pragma('busy_timeout = 2000');
db.pragma('wal_autocheckpoint = 1000');

for (const tf of timeframes) {
  db.exec(`
    CREATE TABLE IF NOT EXISTS candles_${tf} (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
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
      UNIQUE(symbol, time)
    );
    CREATE INDEX IF NOT EXISTS idx_candles_${tf}_symbol_time ON candles_${tf}(symbol, time);
  `);
}

const dbReadOnly = new Database(file, { readonly: true });
dbReadOnly.pragma('busy_timeout = 2000');

let lockWaitCount = 0;

function counted(work) {
  try {
    return work();
  } catch (error) {
    if (error.code === 'SQLITE_BUSY' || error.code === 'SQLITE_BUSY_SNAPSHOT') lockWaitCount += 1;
    throw error;
  }
}

function upsertCandle(table, symbol, candle) {
  const statement = db.prepare(`
    INSERT OR REPLACE INTO ${table}
      (symbol, time, open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count, clusters)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  `);
  return counted(() =>
    statement.run(
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
    ),
  );
}

const inTransaction = db.transaction((table, symbol, candles) => {
  for (const candle of candles) upsertCandle(table, symbol, candle);
});

function upsertCandles(table, symbol, candles) {
  return inTransaction(table, symbol, candles);
}

function getCandles(table, symbol, limit = 100, before = null, readOnly = false) {
  const connection = readOnly ? dbReadOnly : db;
  const bound = before ? 'AND time < ?' : '';
  const rows = connection
    .prepare(`SELECT * FROM ${table} WHERE symbol = ? ${bound} ORDER BY time DESC LIMIT ?`)
    .all(...(before ? [symbol.toUpperCase(), before, limit] : [symbol.toUpperCase(), limit]));
  return rows.reverse().map((row) => ({
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
  }));
}

function getLastCandleTime(table, symbol) {
  const row = db
    .prepare(`SELECT time FROM ${table} WHERE symbol = ? ORDER BY time DESC LIMIT 1`)
    .get(symbol.toUpperCase());
  return row ? row.time : null;
}

function getStats() {
  const stats = {};
  for (const tf of timeframes)
    stats[`candles_${tf}`] = dbReadOnly.prepare(`SELECT COUNT(*) AS count FROM candles_${tf}`).get().count;
  return { ...stats, lockWaitCount };
}

module.exports = {
  upsertCandle,
  upsertCandles,
  getCandles,
  getLastCandleTime,
  getStats,
  db,
  dbReadOnly,
};
