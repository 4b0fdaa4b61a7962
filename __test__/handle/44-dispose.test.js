'use strict';

// Symbol.dispose closes a database.

const { onlyOn } = require('./differences.js');
const { BUSY, attributes, openTable, refuses } = require('./support.js');
const { Database } = require('./provider.js');

const candlestore = onlyOn('candlestore', 'dispose');

candlestore('a database has Symbol.dispose, which closes it and gives nothing', () => {
  const db = openTable();
  expect(db[Symbol.dispose]()).toBeUndefined();
  expect(db.open).toBe(false);
  expect(db[Symbol.dispose]()).toBeUndefined();
});

candlestore('Symbol.dispose is refused while an iterator is open, as close() is', () => {
  const db = openTable();
  const iterator = db.prepare('SELECT 1').iterate();
  refuses(() => db[Symbol.dispose](), TypeError, BUSY);
  iterator.return();
});

candlestore('Symbol.dispose is on the prototype and not listed', () => {
  expect(attributes(Database.prototype, Symbol.dispose)).toBe('wc');
  expect(Object.keys(openTable())).not.toContain(Symbol.dispose);
});
