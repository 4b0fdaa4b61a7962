'use strict';

// What the raw handles run their statements on: the writing session of a store (`store.db`), its read-only connection
// (`store.dbReadOnly`), or a session that one Database has to itself. A session knows what the handle is busy with, and keeps
// it in step with the native side.

const { setTimeout, clearTimeout } = require('node:timers');

const { CandleStoreError, fromNative } = require('../errors');
const { Pending, SETTLED, progressOf } = require('../pending');
const { AT, share, shared, tell } = require('./shared');
const { beginsAnew, behindRollback, firstWord } = require('../sql');
const { notOpen, ofHandle, raw } = require('./sqlite-error');

/** Kinds of statements, as the native side tells them. */
const KINDS = { reads: 0, writes: 1 };

/** Sessions that keep a snapshot: a checkpoint on any handle of this thread is not to find one. */
const KEEPING = new Set();

function letAllGo() {
  for (const session of KEEPING) session.letGo();
}

class Session {
  constructor(native, { name, readonly, memory, pending, isReadOnlySide = false, verbose = null }) {
    this.native = native;
    this.pending = pending;
    this.name = name;
    this.readonly = readonly;
    this.memory = memory;
    this.isReadOnlySide = isReadOnlySide;
    this.verbose = verbose;
    /** Which memory the native side has, and its function that runs statements: see shared.js. */
    this.version = 0;
    this.runner = null;
    this.safeIntegers = false;
    this.isUnsafe = false;
    /** The caller's function for `verbose` is running. */
    this.isBusy = false;
    /** Iterators that are not at their end. */
    this.iterators = 0;
    this.controls = new Map();
    /** A snapshot is kept for the next read. */
    this.keeps = false;
    this.letGo = () => {
      if (!this.keeps) return;
      this.keeps = false;
      KEEPING.delete(this);
      this.native.letGo();
    };
    /** Functions of transaction() that are running. */
    this.level = 0;
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

  /** Sees to it that everything written on the handle has reached its session. */
  settle() {}

  checkOpen() {
    if (this.isClosed()) throw notOpen();
  }

  checkNotBusy() {
    if (this.isBusy) throw busy();
  }

  checkNotIterating() {
    if (!this.isUnsafe) this.checkNoIterators();
  }

  checkNoIterators() {
    if (this.iterators > 0) throw busy();
  }

  prepare(sql) {
    return raw(() => this.native.prepare(sql, this.isReadOnlySide));
  }

  log(text) {
    const { verbose } = this;
    this.isBusy = true;
    try {
      verbose(text);
    } finally {
      this.isBusy = false;
    }
  }

  /** Runs a statement that controls a transaction. */
  control(sql) {
    share(this);
    let prepared = this.controls.get(sql);
    if (prepared === undefined) this.controls.set(sql, (prepared = this.prepare(sql)));
    if (this.verbose !== null) this.log(sql);
    tell(prepared.number, 0, 1, 0, 0);
    raw(() => this.run(prepared.kind, sql));
  }

  /** Runs a statement that only reads. What it keeps for the next is let go of when the caller's code has had its turn. */
  read() {
    const others = this.runner();
    if (shared.cells[AT.kept] === 1 && !this.keeps) {
      this.keeps = true;
      KEEPING.add(this);
      queueMicrotask(this.letGo);
    }
    return others;
  }

  /** Makes a step of a backup; resolves to how far it is. */
  stepBackup(number, pages) {
    const id = this.pending.nextId();
    const settled = this.pending.wait(id);
    try {
      this.native.stepBackup(number, pages, this.isReadOnlySide, id);
    } catch (thrown) {
      this.pending.reject(id, fromNative(thrown));
    }
    return settled;
  }

  /** Runs a script, one statement after the other where each is to be told of. */
  script(text) {
    if (this.verbose === null) return raw(() => this.runScript(text));
    for (let rest = text; ;) {
      const first = raw(() => this.native.firstStatement(rest, this.isReadOnlySide));
      if (!first) return undefined;
      this.log(first.sql);
      raw(() => this.runScript(first.sql));
      rest = first.rest;
    }
  }
}

function busy() {
  return new TypeError('This database connection is busy executing a query');
}

/** A session that one Database has to itself. `connect(wake)` gives its native side. */
class OwnSession extends Session {
  closed = false;
  isOpenTransaction = false;

  constructor(connect, facts) {
    // The native side must not keep the session: an abandoned Database is to be collected.
    const reference = { session: null };
    super(
      connect(() => reference.session?.deref()?.take()),
      { ...facts, pending: new Pending() },
    );
    reference.session = new WeakRef(this);
  }

  /** Settles what the native side has done in the background. */
  take() {
    const { numbers, errors } = this.native.take();
    for (let at = 0; at < numbers.length; at += SETTLED) {
      const id = numbers[at];
      if (numbers[at + 1] === 1) this.pending.reject(id, fromNative(errors[numbers[at + 10]]));
      else this.pending.resolve(id, progressOf(numbers, at));
    }
  }

  isClosed() {
    return this.closed;
  }

  inTransaction() {
    return !this.closed && this.isOpenTransaction;
  }

  run(kind) {
    if (kind > KINDS.writes) letAllGo();
    try {
      if (kind === KINDS.reads) return this.read();
      const others = this.runner();
      this.isOpenTransaction = shared.cells[AT.open] === 1;
      return others;
    } catch (error) {
      this.isOpenTransaction = this.native.inTransaction;
      throw error;
    }
  }

  runScript(text) {
    letAllGo();
    try {
      this.native.runScript(text, false);
    } finally {
      this.isOpenTransaction = this.native.inTransaction;
    }
  }

  close() {
    if (this.closed) return;
    this.checkNotBusy();
    this.checkNoIterators();
    this.closed = true;
    try {
      raw(() => this.native.closeNow(0));
    } finally {
      this.take();
      this.native.end();
      this.native.unshare();
      this.pending.rejectAll(notOpen);
    }
  }
}

/** The writing session of a store, for `store.db`. */
class StoreSession extends Session {
  constructor(store, native, transaction, facts) {
    super(native, facts);
    this.store = store;
    this.transaction = transaction;
  }

  isClosed() {
    return this.store._isClosed;
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

  settle() {
    if (this.transaction.open) inWords(() => this.transaction.handOver());
  }

  run(kind, sql) {
    const { transaction } = this;
    if (kind === KINDS.reads) return transaction.open ? this.readInside() : this.read();
    if (kind === KINDS.writes) return transaction.open ? this.write() : this.runner();
    letAllGo();
    // What ends a transaction that never began does not come to the native side.
    shared.cells.fill(0, AT.rows, AT.renamed + 1);
    shared.cells[AT.done] = 1;
    return transaction.around(sql, this.runner);
  }

  /** Runs a statement that reads in the open transaction. SQLite ends it where a read fails badly enough. */
  readInside() {
    const { transaction } = this;
    transaction.handOver();
    try {
      return this.runner();
    } catch (error) {
      transaction.open = this.native.inTransaction;
      if (!transaction.open) transaction.discard();
      throw error;
    }
  }

  /** Runs a statement that writes in a transaction, and may end it by that. */
  write() {
    const { transaction } = this;
    transaction.handOver();
    let isOpen = false;
    try {
      const others = this.runner();
      isOpen = shared.cells[AT.open] === 1;
      return others;
    } catch (error) {
      isOpen = this.native.inTransaction;
      throw error;
    } finally {
      transaction.open = isOpen;
      if (!isOpen) transaction.discard();
    }
  }

  runScript(text) {
    letAllGo();
    this.transaction.around(text, () => this.native.runScript(text, false));
  }

  control(sql) {
    const { transaction } = this;
    if (sql === 'BEGIN' || sql === 'BEGIN DEFERRED') {
      raw(() => this.native.checkWritable());
      transaction.defer();
    } else if (transaction.deferred && (sql === 'COMMIT' || sql === 'ROLLBACK')) {
      inWords(() => transaction.end(sql === 'COMMIT'));
    } else {
      super.control(sql);
    }
  }

  close() {
    closeStore(this);
  }
}

/** Runs something of the store's, whose errors become those of a raw handle. */
function inWords(run) {
  try {
    return run();
  } catch (error) {
    throw error instanceof CandleStoreError ? ofHandle(error) : error;
  }
}

/**
 * The read-only connection of a store, for `store.dbReadOnly`. A transaction that stays open on it for too long is rolled back:
 * it would keep the write-ahead log from starting over.
 */
class ReadOnlySession extends Session {
  closed = false;
  timer = null;
  /** The caller's transaction was rolled back, and the caller has not ended it yet. */
  isTooOld = false;

  constructor(store, native, limitMs, facts) {
    super(native, { ...facts, readonly: true, isReadOnlySide: true });
    this.store = store;
    this.limitMs = limitMs;
  }

  isClosed() {
    return this.closed || this.store._isClosed;
  }

  inTransaction() {
    return !this.isClosed() && this.native.readOnlyInTransaction;
  }

  run(kind, sql) {
    if (this.isTooOld && this.afterOld(sql) === '') {
      shared.cells.fill(0, AT.rows, AT.renamed + 1);
      return undefined;
    }
    if (kind > KINDS.writes) letAllGo();
    try {
      return this.read();
    } finally {
      if (kind > KINDS.writes || this.timer !== null) this.watch(sql);
    }
  }

  control(sql) {
    super.control(sql.replace(/^BEGIN .*/, 'BEGIN'));
  }

  runScript(text) {
    letAllGo();
    const rest = this.isTooOld ? this.afterOld(text) : text;
    try {
      if (rest !== '') this.native.runScript(rest, true);
    } finally {
      this.watch(rest);
    }
  }

  /** What is left to run of a text that is sent in a transaction which is no more. */
  afterOld(sql) {
    const word = firstWord(sql);
    const rest = behindRollback(sql);
    if (rest !== undefined || ['begin', 'commit', 'end'].includes(word)) this.isTooOld = false;
    if (rest !== undefined) return rest;
    if (word === 'begin') return sql;
    throw ofHandle(
      new CandleStoreError(
        'TIMEOUT',
        `the transaction on dbReadOnly was rolled back because it was open for longer than readTimeoutMs (${this.limitMs} ms): ` +
          'an old one keeps the write-ahead log from starting over; send ROLLBACK, and begin again',
        { sqliteCode: 'SQLITE_ABORT_ROLLBACK' },
      ),
    );
  }

  /** Looks whether a transaction is open now, and since when. */
  watch(sql) {
    const isOpen = this.native.readOnlyInTransaction;
    if (this.timer !== null && (!isOpen || beginsAnew(sql))) {
      clearTimeout(this.timer);
      this.timer = null;
    }
    if (isOpen) this.timer ??= setTimeout(endOld, this.limitMs, new WeakRef(this)).unref();
  }

  endOld() {
    this.timer = null;
    if (!this.inTransaction()) return;
    try {
      this.native.runScript('ROLLBACK', true);
      this.isTooOld = true;
    } catch {
      // Nobody is there to be told; the next statement on the handle is.
    }
  }

  /** Closes this handle only: the store is closed by its own close() or by db.close(). */
  close() {
    this.checkNotBusy();
    if (!this.isClosed()) this.checkNoIterators();
    if (this.inTransaction()) raw(() => this.native.runScript('ROLLBACK', true));
    this.closed = true;
  }
}

/** The same for `store.db` of a store that only reads: closing it closes the store. */
class ReadOnlyStoreSession extends ReadOnlySession {
  close() {
    closeStore(this);
  }
}

/** Closes the store of a session. */
function closeStore(session) {
  session.checkNotBusy();
  if (!session.isClosed()) session.checkNoIterators();
  inWords(() => session.store._closeNow());
}

function endOld(reference) {
  reference.deref()?.endOld();
}

module.exports = { OwnSession, ReadOnlySession, ReadOnlyStoreSession, StoreSession };
