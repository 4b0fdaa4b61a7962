'use strict';

// The stores that are compared, each opened on a file of its own. They never share a file in one process: two
// SQLite libraries on one file in one process would drop each other's locks.
// All have the calls of bench/original/db.js, `close`, and `getCandlesJson`, which gives JSON of getCandles as text or
// as bytes. `options` are candlestore's.

const path = require('node:path');
const { openUsedWell } = require('./used-well.js');

const ORIGINAL = path.join(__dirname, 'original', 'db.js');

/** The code being replaced. Its file is chosen when its module is loaded, so it is loaded anew for each file. */
function openOriginal(file) {
  let original;
  withDbPath(file, () => {
    delete require.cache[ORIGINAL];
    original = require(ORIGINAL);
  });
  return {
    ...original,
    getCandlesJson: (...asked) => JSON.stringify(original.getCandles(...asked)),
    close() {
      original.dbReadOnly.close();
      original.db.close();
    },
  };
}

function withDbPath(file, work) {
  const before = process.env.DB_PATH;
  process.env.DB_PATH = file;
  try {
    work();
  } finally {
    if (before === undefined) delete process.env.DB_PATH;
    else process.env.DB_PATH = before;
  }
}

function openCandlestore(file, options) {
  return require('candlestore').openStore(file, options);
}

const SIDES = { orig: openOriginal, 'used well': openUsedWell, candlestore: openCandlestore };

/** What decides about speed and durability, asked of the open connection. */
function settingsOf(store) {
  const ask = (pragma) => store.db.pragma(pragma, { simple: true });
  return {
    sqlite: store.db.prepare('SELECT sqlite_version() AS version').get().version,
    journal_mode: ask('journal_mode'),
    synchronous: { 0: 'off', 1: 'normal', 2: 'full', 3: 'extra' }[ask('synchronous')],
    page_size: ask('page_size'),
    cache_size: ask('cache_size'),
    wal_autocheckpoint: ask('wal_autocheckpoint'),
    busy_timeout: ask('busy_timeout'),
  };
}

module.exports = { SIDES, ORIGINAL, settingsOf };
