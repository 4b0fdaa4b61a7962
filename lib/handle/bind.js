'use strict';

// The arguments of run(), get(), all(), iterate() and bind() become values by place, and are packed for the native side. How
// arguments are taken is better-sqlite3's public documentation, "Binding Parameters".

const { types } = require('node:util');
const { HEADER, growBytes, shared } = require('./shared');

const NULL = 0;
const REAL = 1;
const INTEGER = 2;
const TEXT = 3;
const BLOB = 4;
/** Texts up to this length are copied by letter, if these are ASCII: a call into Node costs more. */
const SHORT = 24;

const TOO_FEW = 'Too few parameter values were provided';
const TOO_MANY = 'Too many parameter values were provided';

const { hasOwnProperty } = Object.prototype;

function isPlainObject(value) {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Whether an argument names its values. */
function isNamed(value) {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !isBytes(value) &&
    isPlainObject(value)
  );
}

function isPrimitive(value) {
  return typeof value !== 'object' || value === null || isBytes(value);
}

/** A Buffer or any typed array; a detached one has no bytes. */
function isBytes(value) {
  return ArrayBuffer.isView(value) && !types.isDataView(value);
}

/** The places that each kind of parameter has in a statement. */
class Places {
  constructor(names) {
    this.count = names.length;
    this.named = [];
    this.anonymous = [];
    names.forEach((name, place) => {
      if (name === null) this.anonymous.push(place);
      else this.named.push({ name, place });
    });
    this.isPlain = this.named.length === 0;
  }

  /** Values by place, of what a caller has given: the very array if it is just that. */
  resolve(given) {
    if (this.isPlain && this.isByPlace(given)) return given;
    if (given.length === 1 && this.anonymous.length === 0 && isNamed(given[0])) {
      const values = new Array(this.count);
      this.addNamed(given[0], values);
      return values;
    }
    const values = new Array(this.count).fill(null);
    let next = 0;
    let count = 0;
    let object = null;
    const add = (value) => {
      check(value);
      if (next >= this.anonymous.length) throw new RangeError(TOO_MANY);
      values[this.anonymous[next++]] = value;
      count++;
    };
    for (const argument of given) {
      if (Array.isArray(argument)) {
        for (let at = 0, { length } = argument; at < length; at++) add(argument[at]);
      } else if (isPrimitive(argument)) {
        add(argument);
      } else if (isPlainObject(argument)) {
        if (object) throw new TypeError('You cannot specify named parameters in two different objects');
        object = argument;
        this.addNamed(argument, values);
        count += this.named.length;
      } else if (this.isPlain) {
        add(argument);
      } else {
        throw new TypeError('Named parameters can only be passed within plain objects');
      }
    }
    if (count < this.count) {
      if (!object && !this.isPlain) throw new TypeError('Missing named parameters');
      throw new RangeError(TOO_FEW);
    }
    return values;
  }

  /** Whether these are the values themselves, all of them; what can never be bound is refused. */
  isByPlace(given) {
    for (let place = 0; place < given.length; place++) {
      const value = given[place];
      const kind = typeof value;
      if (kind === 'number' || kind === 'string') continue;
      if (!isPrimitive(value)) return false;
      check(value);
    }
    if (given.length === this.count) return true;
    throw new RangeError(given.length < this.count ? TOO_FEW : TOO_MANY);
  }

  addNamed(object, values) {
    for (let at = 0; at < this.named.length; at++) {
      const { name, place } = this.named[at];
      if (!hasOwnProperty.call(object, name)) throw new RangeError(`Missing named parameter "${name}"`);
      const value = object[name];
      check(value);
      values[place] = value;
    }
  }
}

function check(value) {
  switch (typeof value) {
    case 'number':
    case 'string':
    case 'undefined':
      return;
    case 'bigint':
      if (BigInt.asIntN(64, value) === value) return;
      throw new RangeError('The bound string, buffer, or bigint is too big');
    case 'object':
      if (value === null || isBytes(value)) return;
  }
  throw new TypeError('SQLite3 can only bind numbers, strings, bigints, buffers, and null');
}

/** Packs checked values; nothing of the caller's runs meanwhile. */
function pack(values) {
  const { cells, kinds } = shared;
  let used = 0;
  for (let place = 0; place < values.length; place++) {
    const value = values[place];
    if (typeof value === 'number') {
      cells[HEADER + place] = value;
      kinds[place] = REAL;
    } else if (typeof value === 'string') {
      const length = packText(value, used);
      used += length;
      cells[HEADER + place] = length;
      kinds[place] = TEXT;
    } else if (value === null || value === undefined) {
      kinds[place] = NULL;
    } else if (typeof value === 'bigint') {
      shared.integers[HEADER + place] = value;
      kinds[place] = INTEGER;
    } else {
      const { byteLength } = value;
      if (used + byteLength > shared.bytes.length) growBytes(used + byteLength);
      if (byteLength > 0) shared.bytes.set(new Uint8Array(value.buffer, value.byteOffset, byteLength), used);
      used += byteLength;
      cells[HEADER + place] = byteLength;
      kinds[place] = BLOB;
    }
  }
  return values.length;
}

function packText(text, used) {
  const { length } = text;
  // A letter of JavaScript's takes three bytes at most.
  if (used + 3 * length > shared.bytes.length) growBytes(used + 3 * length);
  const { bytes } = shared;
  if (length <= SHORT) {
    let at = 0;
    while (at < length) {
      const letter = text.charCodeAt(at);
      if (letter > 127) break;
      bytes[used + at++] = letter;
    }
    if (at === length) return length;
  }
  return bytes.write(text, used, 'utf8');
}

/** A value that stays what it is: bytes are the caller's to change. */
function copied(value) {
  if (typeof value !== 'object' || value === null) return value;
  const { buffer, byteOffset, byteLength } = value;
  return byteLength === 0 ? Buffer.alloc(0) : Buffer.from(new Uint8Array(buffer, byteOffset, byteLength));
}

module.exports = { Places, copied, pack };
