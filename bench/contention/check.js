'use strict';

// Reads a file after a run with better-sqlite3, whoever wrote it, and compares the number of rows and every value with
// what was committed.
//   { file, stored: [{ name, rows, version?, ahead?, levels? }] }
// `rows` candles of a name, with the values of `version`; with `ahead`, only so many of them, and the others have
// those of the version before.

const Database = require('../original/node_modules/better-sqlite3');
const { Rows, TABLE, SERIES_ROWS } = require('./rows.js');
const { config, report, main } = require('./worker.js');

const COLUMNS = ['time', 'open', 'high', 'low', 'close', 'volume', 'buy_volume', 'sell_volume', 'delta'];
const FIELDS = ['time', 'open', 'high', 'low', 'close', 'volume', 'buyVolume', 'sellVolume', 'delta'];

main(async () => {
  const { file, stored } = config();
  const db = new Database(file, { readonly: true, timeout: 5000 });
  const select = db
    .prepare(
      `SELECT ${COLUMNS.join(', ')}, trade_count, clusters FROM ${TABLE} WHERE symbol = ? ORDER BY time`,
    )
    .raw();
  const result = { rows: 0, expected: 0, different: 0 };
  const found = (text) => {
    result.different += 1;
    result.first ??= text;
  };
  for (const { name, rows: count, version = 0, ahead = count, levels = 0 } of stored) {
    result.expected += count;
    const rows = new Rows(name, levels);
    for (let first = 0; first < count; first += SERIES_ROWS) {
      const symbol = rows.symbolOf(first);
      const last = Math.min(first + SERIES_ROWS, count);
      let number = first;
      for (const values of select.iterate(symbol)) {
        if (number >= last) {
          found(`${symbol} has more rows than were committed`);
          continue;
        }
        const [sent] = rows.take(number, 1, number < ahead ? version : version - 1);
        const wrong = FIELDS.findIndex((field, place) => values[place] !== sent[field]);
        if (wrong >= 0) {
          found(`${symbol} ${sent.time}: ${COLUMNS[wrong]} is ${values[wrong]}, not ${sent[FIELDS[wrong]]}`);
        } else if (values[9] !== sent.tradeCount) {
          found(`${symbol} ${sent.time}: trade_count is ${values[9]}`);
        } else if (values[10] !== (sent.clusters ? JSON.stringify(sent.clusters) : null)) {
          found(`${symbol} ${sent.time}: other clusters`);
        }
        number += 1;
      }
      if (number < last) found(`${symbol}: ${last - number} rows of ${last - first} are missing`);
    }
  }
  result.rows = db.prepare(`SELECT COUNT(*) FROM ${TABLE}`).pluck().get();
  if (result.rows !== result.expected) found(`${result.rows} rows instead of ${result.expected}`);
  result.integrity = db.pragma('integrity_check', { simple: true });
  db.close();
  report(result);
});
