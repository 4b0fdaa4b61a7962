'use strict';

// Makes an empty database of the new schema (candlestore's) or the old one (that of bench/original/db.js), in a process
// of its own: two SQLite libraries in one process must not open the same file.
//   { file, schema: 'new' | 'old' }

const { config, report, main } = require('./worker.js');

main(async () => {
  const { file, schema } = config();
  if (schema === 'new') {
    await require('candlestore').openStore(file).close();
  } else {
    process.env.DB_PATH = file;
    const original = require('../original/db.js');
    original.dbReadOnly.close();
    original.db.close();
  }
  report({ done: true });
});
