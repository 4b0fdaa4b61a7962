'use strict';

// The library under test, by the environment variable PROVIDER: { Database, SqliteError, name, isCandlestore },
// and candlestore's openStore.

function load() {
  const name = process.env.PROVIDER;
  if (name === 'better-sqlite3') {
    const Database = require('better-sqlite3');
    return { Database, SqliteError: Database.SqliteError, name, isCandlestore: false };
  }
  if (name === 'candlestore') {
    const { Database, SqliteError, openStore } = require('../..');
    return { Database, SqliteError, openStore, name, isCandlestore: true };
  }
  throw new Error(`PROVIDER is better-sqlite3 or candlestore, not ${name}`);
}

module.exports = globalThis.handleProvider ?? load();
