'use strict';

// The candles that the comparisons write and read: ten symbols of the 15 minutes, in batches of 1,000 as a backfill
// sends them. Computed (synthetic-exchange.js), the same in every process.

const { candle } = require('./synthetic-exchange.js');

const TABLE = 'candles_15';
const STEP = 15 * 60_000;
const START = Date.UTC(2020, 0, 1);
const SYMBOLS = ['BTC', 'ETH', 'SOL', 'BNB', 'XRP', 'DOGE', 'ADA', 'LINK', 'LTC', 'FIL'].map(
  (coin) => `BINANCE:${coin}USDT`,
);
const BATCH_ROWS = 1000;

/** Batches `{ symbol, candles }` of every symbol in turn, made as they are asked for. */
function* batchesOf(rowsPerSymbol, levels = 0) {
  for (let first = 0; first < rowsPerSymbol; first += BATCH_ROWS)
    for (const symbol of SYMBOLS) {
      const [exchange, pair] = symbol.split(':');
      const rows = Math.min(BATCH_ROWS, rowsPerSymbol - first);
      const candles = Array.from({ length: rows }, (_, index) =>
        candle(exchange, pair, 15, START + (first + index) * STEP, levels),
      );
      yield { symbol, candles };
    }
}

/** The same keys, and every other value changed. */
function changed(batches) {
  return batches.map(({ symbol, candles }) => ({ symbol, candles: candles.map(changedCandle) }));
}

const more = (value) => Math.round((value + 0.5) * 1000) / 1000;

function changedCandle({ time, tradeCount, clusters, ...numbers }) {
  const made = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, more(value)]));
  return clusters === undefined
    ? { time, ...made, tradeCount: tradeCount + 1 }
    : { time, ...made, tradeCount: tradeCount + 1, clusters };
}

function writeAll(store, batches) {
  let rows = 0;
  for (const { symbol, candles } of batches) {
    store.upsertCandles(TABLE, symbol, candles);
    rows += candles.length;
  }
  return rows;
}

module.exports = { TABLE, STEP, START, SYMBOLS, batchesOf, changed, writeAll };
