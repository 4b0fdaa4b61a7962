'use strict';

// Whose handle is put through the storm: opens the connections of one thread on a file.
//   Database        candlestore's class
//   store.db        the handle of an open store
//   anything else   the class that a module exports; `better-sqlite3` is the one in bench/original

const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');
const ORIGINAL = path.join(ROOT, 'bench', 'original', 'node_modules', 'better-sqlite3');

function classOf(provider) {
  if (provider === 'Database') return require(ROOT).Database;
  return require(provider === 'better-sqlite3' ? ORIGINAL : provider);
}

/** { db, reader, inspect(location), close() }: two handles on the file, and one on a copy of it or on its bytes. */
function connect(provider, file, { verbose } = {}) {
  if (provider === 'store.db') return connectStore(file);
  const Database = classOf(provider);
  const db = new Database(file, { verbose });
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = NORMAL');
  const reader = new Database(file, { readonly: true });
  return {
    db,
    reader,
    inspect: (location) => new Database(location, { readonly: typeof location === 'string' }),
    close() {
      reader.close();
      db.close();
    },
  };
}

function connectStore(file) {
  const { Database, openStore } = require(ROOT);
  const store = openStore(file);
  return {
    db: store.db,
    reader: store.dbReadOnly,
    inspect: Database && ((location) => new Database(location, { readonly: typeof location === 'string' })),
    close: () => store.close(),
  };
}

module.exports = { ORIGINAL, connect };
