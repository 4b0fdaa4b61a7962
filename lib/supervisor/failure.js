'use strict';

// What an error that a run failed of says, and whose fault it is: the database's, when it, or what caused it, says so. Anything can be
// thrown, so nothing here may fail.

const { CandleStoreError } = require('../errors');
const { SqliteError } = require('../handle/sqlite-error');

/** Codes of a database that cannot be written or read now, or no more. */
const OF_DATABASE = new Set([
  ...['TIMEOUT', 'BREAKER_OPEN', 'DISK_FULL', 'IO_ERROR', 'CORRUPT', 'NOT_A_DATABASE', 'PERMISSION'],
  ...['POISONED', 'CLOSED', 'CONNECTION_LOST'],
]);
const OF_SQLITE = /^SQLITE_(BUSY|LOCKED|FULL|IOERR|CORRUPT|NOTADB|PROTOCOL|CANTOPEN)/;
/** So many errors are looked at: those inside of others may go round in circles. */
const MOST_ERRORS = 100;

/** `isHeldUp` tells whether the database keeps writes waiting: if not, a full queue is its job's own doing. */
function isOfDatabase(error, isHeldUp = false) {
  const seen = new Set([error]);
  try {
    for (const one of seen) {
      if (one === null || typeof one !== 'object') continue;
      if (one instanceof CandleStoreError) {
        if (OF_DATABASE.has(one.code) || (one.code === 'QUEUE_FULL' && isHeldUp)) return true;
      }
      if (one instanceof SqliteError && OF_SQLITE.test(one.code)) return true;
      const inner = Array.isArray(one.errors) ? one.errors.slice(0, MOST_ERRORS) : [];
      // What is added is come to later.
      for (const next of [one.cause, ...inner]) if (seen.size < MOST_ERRORS) seen.add(next);
    }
  } catch {
    // A getter of the error's own making.
  }
  return false;
}

function said(error) {
  try {
    return error instanceof Error ? `${error.message}` : String(error);
  } catch {
    return 'an error that cannot be shown';
  }
}

/** What to do about it. */
const ADVICE = {
  database:
    'nothing, if the database works again soon: the job then runs at once; else look at its disk, at who holds its lock (event lock-wait) and at getStats()',
  ended: 'stop the supervisor, close the store, do what the error says and open it again',
  closed:
    'the store was closed while its supervisor ran: call `await supervisor.stop()` before `store.close()`',
  job: 'fix the cause of the error; the job is tried again by itself',
  hung: 'give the signal of the run to everything that it waits for; the job runs again when this run has ended, and if it never does only a restart of the process helps',
};

function adviceFor(cause, error) {
  const isOver = cause === 'database' && error instanceof CandleStoreError && !error.retryable;
  if (isOver && error.code === 'CLOSED') return ADVICE.closed;
  return ADVICE[isOver ? 'ended' : cause];
}

module.exports = { adviceFor, isOfDatabase, said };
