'use strict';

// The raw handles `store.db` and `store.dbReadOnly`, shaped like better-sqlite3's Database. Statements that only read
// go to readers; writes take the writing session, and BEGIN keeps it until COMMIT or ROLLBACK.

const { setTimeout, clearTimeout } = require('node:timers');

const { CandleStoreError, native } = require('./errors');
const { beginsAnew, behindRollback, firstWord } = require('./sql');
const { Statement, rowsAsObjects, statementOf } = require('./statement');

class Database {
  constructor(runner, name, readonly) {
    Object.defineProperty(this, '_runner', { value: runner, enumerable: false });
    this.name = name;
    this.readonly = readonly;
    this.memory = name === ':memory:';
  }

  get open() {
    return this._runner.isOpen();
  }

  get inTransaction() {
    return this._runner.inTransaction();
  }

  prepare(sql) {
    return new Statement(this, sql, this._runner);
  }

  exec(sql) {
    if (typeof sql !== 'string') throw new TypeError('Expected first argument to be a string');
    this._runner.script(sql);
    return this;
  }

  pragma(source, { simple = false } = {}) {
    if (typeof source !== 'string') throw new TypeError('Expected first argument to be a string');
    const result = this._runner.statement(statementOf(`PRAGMA ${source}`, []), undefined, false);
    return simple ? result.rows[0]?.[0] : rowsAsObjects(result);
  }

  /** Wraps a function so that each call of it is one transaction; a call inside another is a savepoint. */
  transaction(run) {
    if (typeof run !== 'function') throw new TypeError('Expected first argument to be a function');
    const variant = (begin) => {
      const database = this;
      return function transaction(...parameters) {
        return inTransaction(database, begin, () => run.apply(this, parameters));
      };
    };
    // Deferred ones, too, take the write lock when they begin at last: only so can they never meet SQLITE_BUSY_SNAPSHOT.
    const variants = {
      default: variant('BEGIN'),
      deferred: variant('BEGIN'),
      immediate: variant('BEGIN IMMEDIATE'),
      exclusive: variant('BEGIN EXCLUSIVE'),
    };
    for (const made of Object.values(variants)) {
      Object.defineProperties(made, {
        database: { value: this, enumerable: true },
        ...Object.fromEntries(
          Object.entries(variants).map(([key, value]) => [key, { value, enumerable: true }]),
        ),
      });
    }
    return variants.default;
  }

  /** Closes the whole store and waits for it, at most `closeDeadlineMs`. */
  close() {
    this._runner.close();
    return this;
  }
}

function inTransaction(database, begin, run) {
  const runner = database._runner;
  const nested = database.inTransaction;
  const savepoint = '`candlestore_' + runner.depth() + '`';
  runner.control(nested ? `SAVEPOINT ${savepoint}` : begin);
  runner.enter();
  try {
    const result = run();
    if (result && typeof result.then === 'function') {
      throw new TypeError('Transaction function cannot return a promise');
    }
    runner.control(nested ? `RELEASE ${savepoint}` : 'COMMIT');
    return result;
  } catch (error) {
    // SQLite itself may have ended the transaction already.
    if (database.inTransaction) {
      if (nested) {
        runner.control(`ROLLBACK TO ${savepoint}`);
        runner.control(`RELEASE ${savepoint}`);
      } else {
        runner.control('ROLLBACK');
      }
    }
    throw error;
  } finally {
    runner.leave();
  }
}

/** Runs statements of `store.db`. */
class WritingRunner {
  constructor(store, nativeStore, transaction) {
    this.store = store;
    this.native = nativeStore;
    this.transaction = transaction;
  }

  isOpen() {
    return this.native.isOpen;
  }

  inTransaction() {
    return this.transaction.open;
  }

  depth() {
    return this.transaction.depth;
  }

  enter() {
    this.transaction.depth++;
  }

  leave() {
    this.transaction.depth--;
  }

  describe(sql) {
    return native(() => this.native.describe(sql));
  }

  statement(statement, mostRows, readonly) {
    if (readonly) {
      if (this.transaction.open) this.transaction.handOver();
      return native(() => this.native.query(statement, mostRows));
    }
    return this.transaction.around(statement.sql, () => this.native.execute(statement, mostRows));
  }

  control(sql) {
    const { transaction } = this;
    if (sql === 'BEGIN') {
      native(() => this.native.checkWritable());
      transaction.defer();
    } else if (transaction.deferred && (sql === 'COMMIT' || sql === 'ROLLBACK')) {
      transaction.end(sql === 'COMMIT');
    } else {
      transaction.around(sql, () => this.native.execute(statementOf(sql, []), 0));
    }
  }

  script(sql) {
    this.transaction.around(sql, () => this.native.executeScript(sql));
  }

  close() {
    this.store._closeNow();
  }
}

const NOTHING = { changes: 0, lastInsertRowid: 0, columns: [], rows: [] };

/**
 * Runs statements of `store.dbReadOnly`, all on one read-only connection. A transaction that stays open on it for too
 * long is rolled back: it would keep the write-ahead log from starting over.
 */
class ReadingRunner {
  constructor(store, nativeStore, limitMs) {
    this.store = store;
    this.native = nativeStore;
    this.level = 0;
    this.closed = false;
    this.limitMs = limitMs;
    this.timer = null;
    /** The caller's transaction was rolled back, and the caller has not ended it yet. */
    this.tooOld = false;
  }

  isOpen() {
    return !this.closed && this.native.isOpen;
  }

  inTransaction() {
    return this.native.readOnlyInTransaction;
  }

  depth() {
    return this.level;
  }

  enter() {
    this.level++;
  }

  leave() {
    this.level--;
  }

  describe(sql) {
    return native(() => this.native.describe(sql));
  }

  statement(statement, mostRows) {
    return this.run(statement.sql, (sql) => this.native.queryReadOnly({ ...statement, sql }, mostRows));
  }

  control(sql) {
    this.script(sql.replace(/^BEGIN .*/, 'BEGIN'));
  }

  script(sql) {
    this.run(sql, (rest) => this.native.queryScriptReadOnly(rest));
  }

  run(sql, work) {
    if (this.closed) throw new CandleStoreError('CLOSED', 'this read-only handle is closed');
    const rest = this.tooOld ? this.afterOld(sql) : sql;
    if (rest === '') return NOTHING;
    try {
      return native(() => work(rest));
    } finally {
      this.watch(rest);
    }
  }

  /** What is left to run of a text that is sent in a transaction which is no more. */
  afterOld(sql) {
    const word = firstWord(sql);
    const rest = behindRollback(sql);
    if (rest !== undefined || ['begin', 'commit', 'end'].includes(word)) this.tooOld = false;
    if (rest !== undefined) return rest;
    if (word === 'begin') return sql;
    throw new CandleStoreError(
      'TIMEOUT',
      `the transaction on dbReadOnly was rolled back because it was open for longer than readTimeoutMs (${this.limitMs} ms): ` +
        'an old one keeps the write-ahead log from starting over; send ROLLBACK, and begin again',
    );
  }

  /** Looks whether a transaction is open now, and since when. */
  watch(sql) {
    const open = this.native.readOnlyInTransaction;
    if (this.timer !== null && (!open || beginsAnew(sql))) {
      clearTimeout(this.timer);
      this.timer = null;
    }
    if (open) this.timer ??= setTimeout(endOld, this.limitMs, new WeakRef(this)).unref();
  }

  endOld() {
    this.timer = null;
    if (!this.isOpen() || !this.inTransaction()) return;
    native(() => this.native.queryScriptReadOnly('ROLLBACK'));
    this.tooOld = true;
  }

  /** Closes this handle only: the store is closed by its own close() or by db.close(). */
  close() {
    if (this.inTransaction()) this.script('ROLLBACK');
    this.closed = true;
  }
}

function endOld(reference) {
  reference.deref()?.endOld();
}

module.exports = { Database, ReadingRunner, WritingRunner };
