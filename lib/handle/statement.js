'use strict';

// Statement, as better-sqlite3's public documentation describes it. What it does is in `prepared.js`.

const { Prepared } = require('./prepared');
const { FORMS } = require('./rows');

/** Given by Database#prepare(); nobody else can make a statement. */
const PRIVATE = Symbol('statement');

class Statement {
  #prepared;

  constructor(secret, parts) {
    if (secret !== PRIVATE) {
      throw new TypeError('Statements can only be constructed by the db.prepare() method');
    }
    const prepared = new Prepared(parts);
    this.#prepared = prepared;
    Object.defineProperties(this, {
      reader: { value: prepared.isReader, enumerable: true },
      readonly: { value: prepared.isReadOnly, enumerable: true },
      source: { value: parts.sql, enumerable: true },
      database: { value: parts.database, enumerable: true },
      busy: { get: () => prepared.iterator !== null, enumerable: true },
    });
  }

  run(...parameters) {
    return this.#prepared.run(parameters);
  }

  get(...parameters) {
    return this.#prepared.get(parameters);
  }

  all(...parameters) {
    return this.#prepared.all(parameters);
  }

  iterate(...parameters) {
    return this.#prepared.iterate(this, parameters);
  }

  bind(...parameters) {
    this.#prepared.bind(parameters);
    return this;
  }

  pluck(on) {
    this.#prepared.setForm('pluck', FORMS.pluck, arguments.length === 0 || on);
    return this;
  }

  expand(on) {
    this.#prepared.setForm('expand', FORMS.expand, arguments.length === 0 || on);
    return this;
  }

  raw(on) {
    this.#prepared.setForm('raw', FORMS.raw, arguments.length === 0 || on);
    return this;
  }

  safeIntegers(on) {
    this.#prepared.setSafe(arguments.length === 0 || on);
    return this;
  }

  columns() {
    return this.#prepared.columns();
  }

  toString() {
    return this.#prepared.text();
  }
}

// Whoever replaces a method of a library's class finds it as one of an object.
for (const name of Object.getOwnPropertyNames(Statement.prototype)) {
  if (name !== 'constructor') Object.defineProperty(Statement.prototype, name, { enumerable: true });
}

module.exports = { PRIVATE, Statement };
