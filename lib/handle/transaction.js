'use strict';

// Functions that run inside a transaction, as better-sqlite3's public documentation describes Database#transaction().

const BEGINS = {
  default: 'BEGIN',
  deferred: 'BEGIN DEFERRED',
  immediate: 'BEGIN IMMEDIATE',
  exclusive: 'BEGIN EXCLUSIVE',
};

/** Wraps a function so that each call of it is one transaction; a call inside another is a savepoint. */
function wrap(database, session, run) {
  const variants = {};
  for (const [name, begin] of Object.entries(BEGINS)) {
    variants[name] = function transaction(...parameters) {
      return inTransaction(session, begin, () => run.apply(this, parameters));
    };
  }
  for (const variant of Object.values(variants)) {
    for (const [name, value] of Object.entries(variants)) Object.defineProperty(variant, name, { value });
    Object.defineProperty(variant, 'database', { value: database, enumerable: true });
  }
  return variants.default;
}

function inTransaction(session, begin, run) {
  session.checkOpen();
  session.checkNotBusy();
  const isNested = session.inTransaction();
  const savepoint = `\`candlestore_${session.depth()}\``;
  session.checkNotIterating();
  session.control(isNested ? `SAVEPOINT ${savepoint}` : begin);
  session.enter();
  try {
    const result = run();
    if (result && typeof result.then === 'function') {
      throw new TypeError('Transaction function cannot return a promise');
    }
    session.checkOpen();
    session.checkNotIterating();
    session.control(isNested ? `RELEASE ${savepoint}` : 'COMMIT');
    return result;
  } catch (error) {
    // SQLite itself may have ended the transaction already.
    if (session.inTransaction()) {
      session.checkNotIterating();
      if (isNested) {
        session.control(`ROLLBACK TO ${savepoint}`);
        session.control(`RELEASE ${savepoint}`);
      } else {
        session.control('ROLLBACK');
      }
    }
    throw error;
  } finally {
    session.leave();
  }
}

module.exports = { wrap };
