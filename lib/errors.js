'use strict';

// The one error class. Errors of the native side arrive as JSON in the message of a plain error.

/** Whether the same call may succeed later without any change; by code, in the order of index.d.ts. */
const CODES = {
  INVALID_ARGUMENT: false,
  INVALID_OPTION: false,
  INVALID_CANDLE: false,
  INVALID_SQL: false,
  BATCH_TOO_LARGE: false,
  OPTIONS_CONFLICT: false,
  UNKNOWN_TABLE: false,
  CLOSED: false,
  QUEUE_FULL: true,
  TIMEOUT: true,
  ABORTED: false,
  BREAKER_OPEN: true,
  CONSTRAINT: false,
  SQL_ERROR: false,
  READ_ONLY: false,
  DISK_FULL: true,
  IO_ERROR: true,
  CORRUPT: false,
  NOT_A_DATABASE: false,
  NOT_FOUND: false,
  PERMISSION: false,
  NETWORK_FILE_SYSTEM: false,
  FOREIGN_LIBRARY: false,
  SELF_DEADLOCK: false,
  SQLITE_TOO_OLD: false,
  POISONED: false,
  SQLITE_ONLY: false,
  CONNECTION_LOST: true,
};

class CandleStoreError extends Error {
  constructor(code, message, details = {}) {
    const { cause, sqliteMessage, ...facts } = details;
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.retryable = CODES[code] ?? false;
    Object.assign(this, facts);
    // For the raw handles, which give SQLite's message as it is.
    if (sqliteMessage !== undefined) Object.defineProperty(this, 'sqliteMessage', { value: sqliteMessage });
  }

  get name() {
    return 'CandleStoreError';
  }

  /** What JSON.stringify makes of it: with the message, which it leaves out of errors. */
  toJSON() {
    const { name, message } = this;
    return { name, message, ...this };
  }
}

/** The error for what the native side threw or sent. */
function fromNative(thrown) {
  const text = typeof thrown === 'string' ? thrown : thrown.message;
  let facts;
  try {
    facts = JSON.parse(text);
  } catch {
    // Not one of ours: a wrong type that slipped through to the native side.
    return new CandleStoreError('INVALID_ARGUMENT', text, { cause: thrown });
  }
  const { code, message, ...rest } = facts;
  return new CandleStoreError(code, message, rest);
}

/** Runs a native call and turns what it throws into a CandleStoreError that names the caller's line. */
function native(run) {
  try {
    return run();
  } catch (thrown) {
    throw fromNative(thrown);
  }
}

function invalidArgument(message) {
  return new CandleStoreError('INVALID_ARGUMENT', message);
}

module.exports = { CODES, CandleStoreError, fromNative, invalidArgument, native };
