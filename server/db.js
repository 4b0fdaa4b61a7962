'use strict';

// The database of the server: the exports that the collector, the API and scripts have always used, on candlestore.
// DB_PATH names another file than server/data/cryptoflow.db.

const fs = require('node:fs');
const path = require('node:path');
const { openStore } = require('candlestore');

const file = process.env.DB_PATH || path.join(__dirname, 'data', 'cryptoflow.db');
fs.mkdirSync(path.dirname(file), { recursive: true });

const store = openStore(file);

module.exports = {
  db: store.db,
  dbReadOnly: store.dbReadOnly,
  upsertCandle: (table, symbol, candle) => store.upsertCandle(table, symbol, candle),
  upsertCandles: (table, symbol, candles) => store.upsertCandles(table, symbol, candles),
  getCandles: (table, symbol, limit, before, readOnly) =>
    store.getCandles(table, symbol, limit, before, readOnly),
  getCandlesJson: (table, symbol, limit, before, readOnly) =>
    store.getCandlesJson(table, symbol, limit, before, readOnly),
  getLastCandleTime: (table, symbol) => store.getLastCandleTime(table, symbol),
  getStats: (options) => store.getStats(options),
};
