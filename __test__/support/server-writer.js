'use strict';

// A collector as the contract has it, in a process of its own: takes candles as lines of JSON and writes each line with
// one upsertCandle, then answers `ok`.
//   in  { "table", "symbol", "candle" }

const fs = require('node:fs');
const readline = require('node:readline');
const db = require('../../server/db.js');

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { table, symbol, candle } = JSON.parse(line);
  db.upsertCandle(table, symbol, candle);
  fs.writeSync(1, 'ok\n');
});
