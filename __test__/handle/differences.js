'use strict';

// Where Database differs from better-sqlite3 on purpose. A test of one side names its difference.

const { name } = require('./provider.js');

const DIFFERENCES = {
  immediate: 'a transaction that writes has the write lock from its first statement that needs it',
  leftOut: 'function, aggregate, table, loadExtension, file descriptors and nativeBinding are absent',
  storeDb: 'closing the db of a store closes the store',
  limits: 'UPDATE and DELETE take no LIMIT, because SQLite is compiled as it is published',
  committed: 'a backup begun inside a transaction copies what is committed, instead of nothing',
  dispose: 'a Database has Symbol.dispose',
  closedWhileBinding:
    'closing the database in a getter of the parameters is an error and not the end of the process',
};

/** `test` for the side that is meant, a skipped one for the other. */
function onlyOn(side, difference) {
  if (!(difference in DIFFERENCES)) throw new Error(`unknown difference ${difference}`);
  return side === name ? test : test.skip;
}

module.exports = { DIFFERENCES, onlyOn };
