'use strict';

// unsafeMode(): what it lets happen, and that it can be switched off.

const { BUSY, LOCKED, CLOSED, fails, openTable, refuses } = require('./support.js');

let db;
beforeEach(() => {
  db = openTable();
});

test('gives the database back', () => {
  expect(db.unsafeMode()).toBe(db);
  expect(db.unsafeMode(true)).toBe(db);
  expect(db.unsafeMode(false)).toBe(db);
});

test.each([[undefined], [null], [0], [1], ['true'], [{}]])('refuses %p', (use) => {
  refuses(() => db.unsafeMode(use), TypeError, 'Expected first argument to be a boolean');
});

test('lets run(), exec(), pragma() and transactions go on while an iterator is open', () => {
  db.unsafeMode();
  const insert = db.prepare('INSERT INTO t (b) VALUES (?)');
  const transaction = db.transaction(() => insert.run(6).changes);
  const iterator = db.prepare('SELECT b FROM t ORDER BY rowid').iterate();
  iterator.next();
  insert.run(4);
  db.exec('INSERT INTO t (b) VALUES (5)');
  expect(db.pragma('user_version', { simple: true })).toBe(0);
  expect(transaction()).toBe(1);
  expect([...iterator].map(({ b }) => b)).toEqual([2, 3, 4, 5, 6]);
});

test('does not let the statement that iterates run again, nor the database close', () => {
  db.unsafeMode();
  const update = db.prepare('UPDATE t SET c = 0 RETURNING b');
  const iterator = update.iterate();
  iterator.next();
  refuses(() => update.run(), TypeError, LOCKED);
  refuses(() => update.all(), TypeError, LOCKED);
  refuses(() => db.close(), TypeError, BUSY);
  iterator.return();
});

test('may be switched while an iterator is open', () => {
  const iterator = db.prepare('SELECT b FROM t').iterate();
  refuses(() => db.exec('SELECT 1'), TypeError, BUSY);
  db.unsafeMode();
  db.exec('SELECT 1');
  db.unsafeMode(false);
  refuses(() => db.exec('SELECT 1'), TypeError, BUSY);
  iterator.return();
});

test('switches SQLite’s own defence off and on', () => {
  const corrupt = 'PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = sql';
  fails(() => db.exec(corrupt), 'SQLITE_ERROR', 'table sqlite_master may not be modified');
  db.unsafeMode();
  db.exec(corrupt);
  db.unsafeMode(false);
  fails(() => db.exec(corrupt), 'SQLITE_ERROR', 'table sqlite_master may not be modified');
});

test('journal_mode = OFF is only for unsafe mode', () => {
  const before = db.pragma('journal_mode', { simple: true });
  expect(db.pragma('journal_mode = OFF', { simple: true })).toBe(before);
  db.unsafeMode();
  expect(db.pragma('journal_mode = OFF', { simple: true })).toBe('off');
});

test('is refused by a closed database, before its argument is looked at', () => {
  db.close();
  refuses(() => db.unsafeMode(), TypeError, CLOSED);
  refuses(() => db.unsafeMode(7), TypeError, CLOSED);
});
