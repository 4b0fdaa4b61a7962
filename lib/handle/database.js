'use strict';

// Database, as better-sqlite3's public documentation describes it: a connection of its own to one file, or one of the handles
// of a store. Left out are functions, aggregates, virtual tables and extensions of the caller's.

const fs = require('node:fs');
const path = require('node:path');

const binding = require('../native');
const { backup } = require('./backup');
const { checkBoolean } = require('./prepared');
const { OwnSession } = require('./sessions');
const { SqliteError, raw } = require('./sqlite-error');
const { PRIVATE, Statement } = require('./statement');
const { wrap } = require('./transaction');

const SESSION = Symbol('session');
const INSPECT = Symbol.for('nodejs.util.inspect.custom');
const LONGEST = 0x7fffffff;

function Database(filename, options) {
  if (new.target === undefined) return new Database(filename, options);
  settle(this, open(filename, options));
}

const methods = {
  prepare(sql) {
    if (typeof sql !== 'string') throw new TypeError('Expected first argument to be a string');
    return prepare(this, sql);
  },

  transaction(run) {
    if (typeof run !== 'function') throw new TypeError('Expected first argument to be a function');
    const session = this[SESSION];
    session.checkOpen();
    session.checkNotBusy();
    return wrap(this, session, run);
  },

  pragma(source, options) {
    options ??= {};
    if (typeof source !== 'string') throw new TypeError('Expected first argument to be a string');
    if (typeof options !== 'object') throw new TypeError('Expected second argument to be an options object');
    const isSimple = checkOption(options, 'simple');
    const session = this[SESSION];
    session.checkOpen();
    session.checkNotBusy();
    session.checkNotIterating();
    const statement = prepare(this, `PRAGMA ${source}`, { isReader: true });
    return isSimple ? statement.pluck().get() : statement.all();
  },

  explain(source) {
    if (typeof source !== 'string') throw new TypeError('Expected first argument to be a string');
    return prepare(this, `EXPLAIN ${source}`, { isBound: true }).all();
  },

  async backup(filename, options) {
    return backup(this[SESSION], filename, options);
  },

  serialize(options) {
    options ??= {};
    if (typeof options !== 'object') throw new TypeError('Expected first argument to be an options object');
    const schema = 'attached' in options ? options.attached : 'main';
    if (typeof schema !== 'string') throw new TypeError('Expected the "attached" option to be a string');
    if (!schema) throw new TypeError('The "attached" option cannot be an empty string');
    const session = this[SESSION];
    session.checkOpen();
    session.checkNotBusy();
    session.checkNoIterators();
    session.settle();
    return raw(() => session.native.serialize(schema, session.isReadOnlySide));
  },

  exec(sql) {
    const session = this[SESSION];
    if (typeof sql !== 'string') throw new TypeError('Expected first argument to be a string');
    session.checkOpen();
    session.checkNotBusy();
    session.checkNotIterating();
    session.script(beforeNul(sql));
    return this;
  },

  close() {
    this[SESSION].close();
    return this;
  },

  defaultSafeIntegers(on) {
    const isOn = arguments.length === 0 ? true : checkBoolean(on);
    this[SESSION].safeIntegers = isOn;
    return this;
  },

  unsafeMode(on) {
    const session = this[SESSION];
    session.checkOpen();
    const isUnsafe = arguments.length === 0 ? true : checkBoolean(on);
    raw(() => session.native.setDefensive(!isUnsafe));
    session.isUnsafe = isUnsafe;
    return this;
  },
};

Object.assign(Database.prototype, methods);
for (const [symbol, value] of [
  [INSPECT, inspect],
  [Symbol.dispose ?? Symbol.for('nodejs.dispose'), dispose],
]) {
  Object.defineProperty(Database.prototype, symbol, { value, configurable: true, writable: true });
}
Object.defineProperty(Database, 'SqliteError', { value: SqliteError, enumerable: true });

function inspect() {
  return Object.assign(new (class Database {})(), this);
}

function dispose() {
  this.close();
}

/** Makes an object a Database on a session. */
function settle(database, session) {
  const getter = (get) => ({ get, enumerable: true });
  Object.defineProperties(database, {
    [SESSION]: { value: session },
    name: getter(() => session.name),
    open: getter(() => !session.isClosed()),
    inTransaction: getter(() => session.inTransaction()),
    readonly: getter(() => session.readonly),
    memory: getter(() => session.memory),
  });
  return database;
}

/** The raw handle of a store. */
function databaseOn(session) {
  return settle(Object.create(Database.prototype), session);
}

/** SQLite reads a text up to its first NUL. */
function beforeNul(sql) {
  const end = sql.indexOf('\0');
  return end < 0 ? sql : sql.slice(0, end);
}

function prepare(database, sql, modes) {
  const session = database[SESSION];
  session.checkOpen();
  session.checkNotBusy();
  return new Statement(PRIVATE, {
    session,
    database,
    sql,
    native: session.prepare(beforeNul(sql)),
    ...modes,
  });
}

function open(given, options) {
  const bytes = Buffer.isBuffer(given) ? given : null;
  const nameGiven = bytes ? ':memory:' : (given ?? '');
  options ??= {};
  if (typeof nameGiven !== 'string') throw new TypeError('Expected first argument to be a string');
  if (typeof options !== 'object') throw new TypeError('Expected second argument to be an options object');
  if ('readOnly' in options) throw new TypeError('Misspelled option "readOnly" should be "readonly"');
  if ('memory' in options) {
    throw new TypeError('Option "memory" was removed in v7.0.0 (use ":memory:" filename instead)');
  }
  const name = nameGiven.trim();
  const memory = name === '' || name === ':memory:';
  const readonly = checkOption(options, 'readonly');
  const fileMustExist = checkOption(options, 'fileMustExist');
  const timeout = 'timeout' in options ? options.timeout : 5000;
  const verbose = 'verbose' in options ? options.verbose : null;
  if (readonly && memory && !bytes) throw new TypeError('In-memory/temporary databases cannot be readonly');
  if (!Number.isInteger(timeout) || timeout < 0) {
    throw new TypeError('Expected the "timeout" option to be a positive integer');
  }
  if (timeout > LONGEST) throw new RangeError('Option "timeout" cannot be greater than 2147483647');
  if (verbose !== null && verbose !== undefined && typeof verbose !== 'function') {
    throw new TypeError('Expected the "verbose" option to be a function');
  }
  if (!memory && !fs.existsSync(path.dirname(name))) {
    throw new TypeError('Cannot open database because the directory does not exist');
  }
  const settings = {
    readOnly: readonly,
    fileMustExist,
    tailCacheBytes: 0,
  };
  const facts = { name: nameGiven, readonly, memory, verbose: verbose ?? null };
  const connect = (wake) =>
    binding.NativeStore.openAlone(name, bytes, JSON.stringify(settings), timeout, wake);
  return new OwnSession((wake) => raw(() => connect(wake)), facts);
}

function checkOption(options, key) {
  const value = key in options ? options[key] : false;
  if (typeof value !== 'boolean') throw new TypeError(`Expected the "${key}" option to be a boolean`);
  return value;
}

module.exports = { Database, databaseOn };
