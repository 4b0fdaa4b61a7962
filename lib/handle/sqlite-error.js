'use strict';

// The error of the raw handles, with SQLite's own message and name of the result code. Where the store knows more (how long
// a lock was waited for, who holds it), that is its cause.

const { CandleStoreError, fromNative } = require('../errors');

class SqliteError extends Error {
  constructor(message, code, options) {
    if (typeof code !== 'string') throw new TypeError('Expected second argument to be a string');
    super(`${message}`, options);
    this.code = code;
  }
}
Object.defineProperty(SqliteError.prototype, 'name', {
  value: 'SqliteError',
  writable: true,
  configurable: true,
});

/** SQLite's name for what the store has refused before SQLite could. */
const NAMES = {
  TIMEOUT: 'SQLITE_BUSY',
  SELF_DEADLOCK: 'SQLITE_BUSY',
  READ_ONLY: 'SQLITE_READONLY',
  DISK_FULL: 'SQLITE_FULL',
  BREAKER_OPEN: 'SQLITE_IOERR',
  POISONED: 'SQLITE_IOERR',
  IO_ERROR: 'SQLITE_IOERR',
  CORRUPT: 'SQLITE_CORRUPT',
  NOT_A_DATABASE: 'SQLITE_NOTADB',
  NOT_FOUND: 'SQLITE_CANTOPEN',
  PERMISSION: 'SQLITE_CANTOPEN',
  FOREIGN_LIBRARY: 'SQLITE_CANTOPEN',
  NETWORK_FILE_SYSTEM: 'SQLITE_CANTOPEN',
  ABORTED: 'SQLITE_INTERRUPT',
};

function notOpen() {
  return new TypeError('The database connection is not open');
}

/** The error of a raw handle for one of the store's. */
function ofHandle(error) {
  if (error.code === 'CLOSED') return notOpen();
  if (error.code === 'INVALID_SQL' && error.sqliteCode === undefined) {
    const several = error.message.includes('more than one');
    return new RangeError(
      `The supplied SQL string contains ${several ? 'more than one statement' : 'no statements'}`,
    );
  }
  const code = error.sqliteCode ?? NAMES[error.code] ?? 'SQLITE_ERROR';
  // Programs know it by these words; how long it was waited for, and who holds it, is told by the cause.
  const message = code === 'SQLITE_BUSY' ? 'database is locked' : (error.sqliteMessage ?? error.message);
  return new SqliteError(message, code, { cause: error });
}

/** The error of a raw handle for what a native call threw; exceptions of JavaScript's own are left as they are. */
function fromCall(thrown) {
  if (thrown instanceof CandleStoreError) return ofHandle(thrown);
  // No class is asked for: the native side's errors may be of another realm.
  return thrown?.code === 'GenericFailure' ? ofHandle(fromNative(thrown)) : thrown;
}

/** Runs a native call of a raw handle. */
function raw(run) {
  try {
    return run();
  } catch (thrown) {
    throw fromCall(thrown);
  }
}

module.exports = { SqliteError, fromCall, notOpen, ofHandle, raw };
