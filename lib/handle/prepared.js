'use strict';

// What a statement of a raw handle does. Its public face is `statement.js`; the two are apart because plain fields are much
// cheaper for V8 than private ones.

const { Places, copied, pack } = require('./bind');
const { StatementIterator } = require('./iterator');
const { FORMS, RowMaker } = require('./rows');
const { AT, WAYS, share, shared, shrinkBytes, tell } = require('./shared');
const { fromCall, notOpen, raw } = require('./sqlite-error');

const ALL = 2 ** 32 - 1;
const NO_OTHERS = [];

class Prepared {
  constructor({ session, sql, native, isReader = native.reader, isBound = false }) {
    this.session = session;
    this.sql = sql;
    this.native = native;
    this.number = native.number;
    this.kind = native.kind;
    this.isReader = isReader;
    this.isReadOnly = native.readonly;
    this.places = new Places(native.parameters);
    this.maker = new RowMaker();
    this.form = FORMS.flat;
    this.isSafe = session.safeIntegers;
    /** The values that bind() has given for good. */
    this.bound = isBound ? new Array(this.places.count).fill(null) : null;
    /** The iterator that is not at its end. */
    this.iterator = null;
  }

  run(parameters) {
    this.begin().checkNotIterating();
    this.start(this.values(parameters), 1, 0, 0);
    const { cells, integers } = shared;
    return {
      changes: cells[AT.changes],
      lastInsertRowid: this.isSafe ? integers[AT.wideRowid] : cells[AT.rowid],
    };
  }

  get(parameters) {
    this.checkReader();
    this.begin();
    const others = this.start(this.values(parameters), 1, this.width(), 0);
    return shared.cells[AT.rows] > 0 ? this.maker.one(others, this.form) : undefined;
  }

  all(parameters) {
    this.checkReader();
    this.begin();
    const rows = [];
    let others = this.start(this.values(parameters), ALL, this.width(), WAYS.keep);
    for (;;) {
      this.maker.addTo(rows, others, this.form);
      if (shared.cells[AT.done] === 1) return rows;
      others = this.more(ALL);
    }
  }

  iterate(statement, parameters) {
    this.checkReader();
    const session = this.begin();
    // It runs when the iterator is first asked, and bytes are the caller's to change until then.
    const values = this.values(parameters).map(copied);
    const rows = (others) => this.maker.addTo([], others, this.form);
    session.iterators++;
    this.iterator = new StatementIterator(statement, {
      session,
      start: (most) => rows(this.start(values, most, this.width(), WAYS.keep)),
      more: (most) => rows(this.more(most)),
      isDone: () => shared.cells[AT.done] === 1,
      leave: () => this.native.leave(),
      end: () => {
        this.iterator = null;
        session.iterators--;
      },
    });
    return this.iterator;
  }

  bind(parameters) {
    if (this.bound) throw new TypeError('The bind() method can only be invoked once per statement object');
    this.begin();
    this.bound = this.places.resolve(parameters).map(copied);
  }

  setForm(name, form, isOn) {
    if (!this.isReader) {
      throw new TypeError(`The ${name}() method is only for statements that return data`);
    }
    this.session.checkNotBusy();
    this.checkNotLocked();
    if (checkBoolean(isOn)) this.form = form;
    else if (this.form === form) this.form = FORMS.flat;
  }

  setSafe(isOn) {
    this.session.checkNotBusy();
    this.checkNotLocked();
    this.isSafe = checkBoolean(isOn);
  }

  columns() {
    if (!this.isReader) {
      throw new TypeError('The columns() method is only for statements that return data');
    }
    this.session.checkOpen();
    this.session.checkNotBusy();
    return raw(() => this.native.origins()).map(({ name, column, table, database, kind }) => ({
      name,
      column: column ?? null,
      table: table ?? null,
      database: database ?? null,
      type: kind ?? null,
    }));
  }

  text() {
    return this.bound === null || this.session.isClosed() ? this.sql : this.expanded(this.bound);
  }

  checkReader() {
    if (!this.isReader) throw new TypeError('This statement does not return data. Use run() instead');
  }

  checkNotLocked() {
    if (this.iterator !== null) throw new TypeError('This statement is busy executing a query');
  }

  begin() {
    const { session } = this;
    if (session.isClosed()) throw notOpen();
    session.checkNotBusy();
    this.checkNotLocked();
    return session;
  }

  /** The values for one run. */
  values(parameters) {
    if (this.bound === null) {
      const values = this.places.resolve(parameters);
      // A getter among the parameters may have done anything.
      if (values !== parameters) this.begin();
      return values;
    }
    if (parameters.length > 0) throw new TypeError('This statement already has bound parameters');
    return this.bound;
  }

  width() {
    return this.form === FORMS.pluck ? 1 : ALL;
  }

  /** Packs values where the native side finds them. */
  pack(values) {
    const { session } = this;
    share(session);
    pack(values);
    // A long text has made the memory anew.
    if (session.version !== shared.version) share(session);
    return values.length;
  }

  expanded(values) {
    const count = this.pack(values);
    return raw(() => this.native.expanded(count));
  }

  /** Runs the statement, and gives what is no number of its first rows. */
  start(values, most, width, ways) {
    const { session } = this;
    if (session.verbose !== null) session.log(this.expanded(values));
    const count = this.pack(values);
    tell(this.number, count, most, width, this.isSafe ? ways | WAYS.safe : ways);
    try {
      return this.told(session.run(this.kind, this.sql));
    } catch (thrown) {
      throw fromCall(thrown);
    } finally {
      if (shared.isLarge) shrinkBytes();
    }
  }

  more(most) {
    share(this.session);
    tell(this.number, 0, most, this.width(), this.isSafe ? WAYS.more | WAYS.safe : WAYS.more);
    try {
      return this.told(this.session.runner());
    } catch (thrown) {
      throw fromCall(thrown);
    }
  }

  told(others) {
    if (shared.cells[AT.renamed] === 1) this.maker.rename(this.native.names());
    if (this.form === FORMS.expand) {
      this.maker.tables ??= this.native.origins().map(({ table }) => table);
    }
    return others ?? NO_OTHERS;
  }
}

function checkBoolean(value) {
  if (typeof value !== 'boolean') throw new TypeError('Expected first argument to be a boolean');
  return value;
}

module.exports = { Prepared, checkBoolean };
