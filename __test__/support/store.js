'use strict';

// What nearly every test of a store needs: a file of its own, stores that are closed after the test, candles.

const path = require('node:path');
const { SqliteError, openStore } = require('candlestore');
const { scratch } = require('./scratch.js');

const TABLE = 'candles_15';
const SYMBOL = 'BINANCE:BTCUSDT';
const START = Date.UTC(2024, 0, 1);
const STEP = 15 * 60_000;
const ALL = 1_000_000;

const opened = new Set();

/** A path in a new folder where no file is yet. */
function newFile() {
  return path.join(scratch(), 'candles.db');
}

/** A store that is closed after the test, on a new file if none is given. */
function open(location = newFile(), options = {}) {
  const store = openStore(location, options);
  opened.add(store);
  return store;
}

afterEach(async () => {
  for (const store of opened) {
    if (store.db.open && store.db.inTransaction) store.db.exec('ROLLBACK');
    await store.close();
  }
  opened.clear();
});

/** The time of the n-th candle. */
const timeOf = (n) => START + n * STEP;

/** The n-th candle of a made-up series, as the store gives it back; `fields` replaces what matters to a test. */
function candle(n, fields = {}) {
  const open_ = 40_000 + n / 8;
  return {
    time: timeOf(n),
    open: open_,
    high: open_ + 20.5,
    low: open_ - 10.25,
    close: open_ + 1.01,
    volume: 12.5 + n / 1000,
    buyVolume: 7.5,
    sellVolume: 5 + n / 1000,
    delta: 2.5 - n / 1000,
    tradeCount: 100 + n,
    clusters: {},
    ...fields,
  };
}

/** Candles first, first + 1, ... as `candle` makes them. */
function candles(count, first = 0, fields = {}) {
  return Array.from({ length: count }, (_, n) => candle(first + n, fields));
}

/** Everything a store holds of a series. */
function all(store, symbol = SYMBOL, table = TABLE) {
  return store.getCandles(table, symbol, ALL);
}

/** Matches a CandleStoreError by its facts, in toThrow() and toEqual(). */
const failure = (facts) => expect.objectContaining({ name: 'CandleStoreError', ...facts });

/**
 * Matches the SqliteError of a raw handle by SQLite's name for it and by the facts of its cause, the CandleStoreError;
 * `facts` are of the SqliteError itself.
 */
const sqliteFailure = (code, cause, facts = {}) =>
  expect.objectContaining({
    constructor: SqliteError,
    name: 'SqliteError',
    code,
    cause: failure(cause),
    ...facts,
  });

/** Matches what a raw handle throws when it cannot have the lock. */
const locked = (cause) => sqliteFailure('SQLITE_BUSY', cause, { message: 'database is locked' });

/** Matches an error of one of JavaScript's own classes, by its whole message. */
const misuse = (Class, message) => expect.objectContaining({ constructor: Class, message });

/** What a raw handle and its statements throw once it is closed. */
const NOT_OPEN = misuse(TypeError, 'The database connection is not open');

module.exports = {
  ALL,
  NOT_OPEN,
  START,
  STEP,
  SYMBOL,
  TABLE,
  all,
  candle,
  candles,
  failure,
  locked,
  misuse,
  newFile,
  open,
  sqliteFailure,
  timeOf,
};
