'use strict';

// A prepared statement of the raw handle, shaped like better-sqlite3's Statement: its text, what kind it is, and
// how its parameters and rows look in JS.

const { types } = require('node:util');
const { shown } = require('./arguments');
const { invalidArgument } = require('./errors');

const { isUint8Array } = types;

/** The parameters of a statement as the native side takes them. */
function statementOf(sql, given) {
  if (typeof sql !== 'string') throw new TypeError('Expected a string of SQL');
  const positional = [];
  const names = [];
  const named = [];
  for (const parameter of given) {
    if (Array.isArray(parameter)) {
      for (const value of parameter) positional.push(checkValue(value));
    } else if (isPlainObject(parameter)) {
      for (const name of Object.keys(parameter)) {
        names.push(name);
        named.push(checkValue(parameter[name], name));
      }
    } else {
      positional.push(checkValue(parameter));
    }
  }
  return { sql, positional, names, named };
}

/** The same for a call that takes one text and its parameters, an array or an object. */
function ownStatement(sql, params) {
  if (typeof sql !== 'string') throw invalidArgument(`sql must be a string, got ${shown(sql)}`);
  return statementOf(sql, params === undefined || params === null ? [] : [params]);
}

function isPlainObject(value) {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function checkValue(value, name) {
  const kind = typeof value;
  if (kind === 'bigint' && BigInt.asIntN(64, value) !== value)
    throw invalidArgument('a bigint must fit into 64 bits');
  if (kind === 'number' || kind === 'string' || kind === 'bigint' || value == null || isUint8Array(value))
    return value;
  const which = name === undefined ? '' : ` for ${JSON.stringify(name)}`;
  const what = kind === 'object' ? (value.constructor?.name ?? 'object') : kind;
  throw invalidArgument(
    `only numbers, strings, bigints, buffers and null can be bound, got a value of type ${what}${which}`,
  );
}

/** Rows as objects, by the names of their columns. */
function rowsAsObjects({ columns, rows }) {
  return rows.map((cells) => {
    const row = {};
    for (let place = 0; place < columns.length; place++) row[columns[place]] = cells[place];
    return row;
  });
}

class Statement {
  constructor(database, sql, run) {
    if (typeof sql !== 'string') throw new TypeError('Expected first argument to be a string');
    this.database = database;
    this.source = sql;
    this.reader = false;
    this.readonly = false;
    Object.defineProperty(this, '_run', { value: run, enumerable: false });
    Object.defineProperty(this, '_mode', { value: 'objects', writable: true, enumerable: false });
    Object.defineProperty(this, '_bound', { value: undefined, writable: true, enumerable: false });
    Object.assign(this, run.describe(sql));
  }

  run(...parameters) {
    const { changes, lastInsertRowid } = this._result(parameters, 0);
    return { changes, lastInsertRowid };
  }

  get(...parameters) {
    return this._rows(parameters, 1)[0];
  }

  all(...parameters) {
    return this._rows(parameters, undefined);
  }

  *iterate(...parameters) {
    yield* this.all(...parameters);
  }

  pluck(on = true) {
    this._mode = on ? 'pluck' : 'objects';
    return this;
  }

  raw(on = true) {
    this._mode = on ? 'raw' : 'objects';
    return this;
  }

  bind(...parameters) {
    if (this._bound) throw new TypeError('The bind() method can only be invoked once per statement object');
    this._bound = parameters;
    return this;
  }

  _result(parameters, mostRows) {
    if (this._bound && parameters.length > 0) {
      throw new TypeError('This statement already has bound parameters');
    }
    return this._run.statement(statementOf(this.source, this._bound ?? parameters), mostRows, this.readonly);
  }

  _rows(parameters, mostRows) {
    if (!this.reader) {
      throw new TypeError('This statement does not return data. Use run() instead');
    }
    const result = this._result(parameters, mostRows);
    if (this._mode === 'raw') return result.rows;
    if (this._mode === 'pluck') return result.rows.map((row) => row[0]);
    return rowsAsObjects(result);
  }
}

module.exports = { Statement, ownStatement, rowsAsObjects, statementOf };
