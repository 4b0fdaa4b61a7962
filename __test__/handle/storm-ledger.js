'use strict';

// The tables of the storm, and what of them has to be true at any moment, whoever was cut off in the middle.

const ACCOUNTS = 10;
const TOTAL = ACCOUNTS * 1000;

/** `size` of rows that are inserted to be rolled back. */
const DOOMED = -1;

const SCHEMA = `
  CREATE TABLE ledger (
    id INTEGER PRIMARY KEY, batch TEXT NOT NULL, place INTEGER NOT NULL, size INTEGER NOT NULL, note TEXT,
    UNIQUE (batch, place));
  CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
  CREATE TABLE progress (name TEXT PRIMARY KEY, commits INTEGER NOT NULL) WITHOUT ROWID;
  INSERT INTO accounts
    WITH RECURSIVE each (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM each LIMIT ${ACCOUNTS})
    SELECT id, ${TOTAL / ACCOUNTS} FROM each`;

const TORN = `SELECT batch || ': ' || count(*) || ' of ' || max(size) FROM ledger
  WHERE size <> ${DOOMED} GROUP BY batch HAVING count(*) <> max(size) OR min(size) <> max(size)`;

function* lookAt(db) {
  const integrity = db.pragma('integrity_check', { simple: true });
  if (integrity !== 'ok') yield `integrity_check: ${integrity}`;
  const doomed = db.prepare(`SELECT count(*) FROM ledger WHERE size = ${DOOMED}`).pluck().get();
  if (doomed > 0) yield `${doomed} rows that were rolled back`;
  const torn = db.prepare(TORN).pluck().all();
  if (torn.length > 0) yield `parts of transactions: ${torn.join(', ')}`;
  const total = db.prepare('SELECT sum(balance) FROM accounts').pluck().get();
  if (total !== TOTAL) yield `the accounts hold ${total} together instead of ${TOTAL}`;
}

/** What is wrong with the file, in words. Each statement sees one state of it, also while others write. */
function faultsOf(db) {
  const faults = [];
  try {
    for (const fault of lookAt(db)) faults.push(fault);
  } catch (error) {
    faults.push(`the file cannot be looked at: ${error.message}`);
  }
  return faults;
}

/** What is wrong with the commits of one who counted them: a commit that had returned has to be there. */
function commitFaultsOf(db, name, returned) {
  const stored = db.prepare('SELECT commits FROM progress WHERE name = ?').pluck().get(name) ?? 0;
  return stored === returned || stored === returned + 1
    ? []
    : [`${name} saw ${returned} commits return, and ${stored} are stored`];
}

module.exports = { ACCOUNTS, DOOMED, SCHEMA, commitFaultsOf, faultsOf };
