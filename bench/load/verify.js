'use strict';

// Reads a file after a load run with better-sqlite3, whichever side wrote it, and compares every value of every row
// with what was sent.
//   verify.js <file> <share>

const Database = require('../original/node_modules/better-sqlite3');
const { seriesOf, pagesOf } = require('./series.js');

const [, , file, share] = process.argv;
const db = new Database(file, { readonly: true, timeout: 5000 });
const COLUMNS = {
  time: 'time',
  open: 'open',
  high: 'high',
  low: 'low',
  close: 'close',
  volume: 'volume',
  buy_volume: 'buyVolume',
  sell_volume: 'sellVolume',
  delta: 'delta',
  trade_count: 'tradeCount',
};

let rows = 0;
let different = 0;
let first = null;
const found = (text) => {
  different += 1;
  first ??= text;
};

for (const series of seriesOf(Number(share))) {
  const stored = db
    .prepare(
      `SELECT ${Object.keys(COLUMNS).join(', ')}, clusters FROM ${series.table} WHERE symbol = ? ORDER BY time`,
    )
    .iterate(series.symbol);
  for (const candles of pagesOf(series)) {
    for (const sent of candles) {
      const { value: row, done } = stored.next();
      if (done) {
        found(`${series.symbol} ${series.table} ${sent.time} is missing`);
        continue;
      }
      rows += 1;
      const wrong = Object.entries(COLUMNS).find(([column, field]) => row[column] !== sent[field]);
      if (wrong) found(`${series.symbol} ${series.table} ${sent.time}: ${wrong[0]} is ${row[wrong[0]]}`);
      if (row.clusters !== null) found(`${series.symbol} ${series.table} ${sent.time} has clusters`);
    }
  }
  if (!stored.next().done) found(`${series.symbol} ${series.table} has more rows than were sent`);
}

process.send({ rows, different, first, integrity: db.pragma('integrity_check', { simple: true }) });
process.disconnect();
