'use strict';

// A collector that is meant to be killed: the drop-in db.js (DB_PATH), pages of 1,000 for several series in turn, each
// resumed after the newest candle that is stored. Each page that is stored is acknowledged in a line on stdout, written
// at once: `<symbol> <newest time>`.

const fs = require('node:fs');
const db = require('../../server/db.js');
const { page } = require('../../bench/synthetic-exchange.js');
const { SERIES, TABLE, MINUTES, END } = require('./kill-series.js');

const STEP = MINUTES * 60_000;

const throughTransaction = db.db.transaction((table, symbol, candles) => {
  for (const c of candles) db.upsertCandle(table, symbol, c);
});

for (let turn = 0; ; turn += 1) {
  const { exchange, pair, from } = SERIES[turn % SERIES.length];
  const symbol = `${exchange}:${pair}`;
  const last = db.getLastCandleTime(TABLE, symbol);
  const candles = page(exchange, pair, MINUTES, last === null ? from : last + STEP, END, 1000);
  if (candles.length === 0) break;
  // Both ways in which collectors write.
  const write = turn % 2 === 0 ? db.upsertCandles : throughTransaction;
  write(TABLE, symbol, candles);
  fs.writeSync(1, `${symbol} ${candles.at(-1).time}\n`);
}
