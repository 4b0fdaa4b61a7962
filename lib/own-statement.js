'use strict';

// The caller's own statements for the queue and for query(): one text and its parameters, an array or an object. Those of the
// raw handles are in `handle/`.

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

module.exports = { ownStatement, rowsAsObjects };
