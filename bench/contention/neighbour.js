'use strict';

// A program with better-sqlite3 that writes a little into the same file: one row into a table of its own every so many
// milliseconds.
//   { file, table, everyMs, timeoutMs, seconds }

const { setTimeout: pause } = require('node:timers/promises');
const Database = require('../original/node_modules/better-sqlite3');
const { isLock } = require('./sides.js');
const { config, report, begin, main } = require('./worker.js');

main(async () => {
  const { file, table, everyMs, timeoutMs, seconds } = config();
  const db = new Database(file, { timeout: timeoutMs });
  db.exec(`CREATE TABLE IF NOT EXISTS ${table} (number INTEGER PRIMARY KEY, price REAL)`);
  const insert = db.prepare(`INSERT INTO ${table} (price) VALUES (?)`);
  const result = { locked: 0, otherErrors: 0, written: 0 };
  const latencies = [];
  await begin();
  let due = performance.now();
  const end = due + seconds * 1000;
  while (performance.now() < end) {
    const asked = performance.now();
    try {
      insert.run(asked);
      result.written += 1;
    } catch (error) {
      result[isLock(error) ? 'locked' : 'otherErrors'] += 1;
      result.firstError ??= `${error.code}: ${error.message}`;
    }
    const now = performance.now();
    latencies.push(now - asked);
    due = Math.max(due + everyMs, now);
    await pause(Math.max(0, Math.min(due, end) - performance.now()));
  }
  const name = `better-sqlite3 ${db.prepare('SELECT sqlite_version()').pluck().get()}`;
  const stored = db.prepare(`SELECT COUNT(*) FROM ${table}`).pluck().get();
  db.close();
  report({ ...result, name, latencies, stored });
});
