'use strict';

// safeIntegers() and defaultSafeIntegers(): integers as bigints.

const { newFile, open, openTable, refuses } = require('./support.js');

const BOOLEAN = 'Expected first argument to be a boolean';

let db;
beforeEach(() => {
  db = open();
});

test.each([
  ['0', 0n],
  ['-1', -1n],
  ['9007199254740993', 9007199254740993n],
  ['9223372036854775807', 2n ** 63n - 1n],
  ['-9223372036854775808', -(2n ** 63n)],
])('%s is read as %p', (sql, expected) => {
  const statement = db.prepare(`SELECT ${sql} AS v`).safeIntegers();
  expect(statement.get()).toEqual({ v: expected });
  expect(statement.all()).toEqual([{ v: expected }]);
  expect([...statement.iterate()]).toEqual([{ v: expected }]);
  expect(statement.pluck().get()).toBe(expected);
  expect(statement.raw().get()).toEqual([expected]);
  expect(statement.expand().get()).toEqual({ $: { v: expected } });
});

test('what is bound comes back exactly', () => {
  for (const value of [0n, 1n, -1n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
    expect(db.prepare('SELECT ?').pluck().safeIntegers().get(value)).toBe(value);
  }
});

test('only integers become bigints', () => {
  const sql = "SELECT 1.0, 'x', NULL, x'01', 2";
  expect(db.prepare(sql).raw().safeIntegers().get()).toEqual([1, 'x', null, Buffer.from([1]), 2n]);
  expect(db.prepare('SELECT ?').pluck().safeIntegers().get(1)).toBe(1);
});

test('safeIntegers() gives the statement back, and false takes it back', () => {
  const statement = db.prepare('SELECT 1 AS v');
  expect(statement.safeIntegers()).toBe(statement);
  expect(statement.get()).toEqual({ v: 1n });
  expect(statement.safeIntegers(false).get()).toEqual({ v: 1 });
  expect(statement.safeIntegers(true).get()).toEqual({ v: 1n });
});

test('is for statements without data, too: lastInsertRowid is a bigint and changes a number', () => {
  db.exec('CREATE TABLE t (a)');
  const insert = db.prepare('INSERT INTO t VALUES (1)').safeIntegers();
  expect(insert.run()).toEqual({ changes: 1, lastInsertRowid: 1n });
  expect(insert.safeIntegers(false).run()).toEqual({ changes: 1, lastInsertRowid: 2 });
});

test('defaultSafeIntegers() is for statements that are prepared afterwards', () => {
  const before = db.prepare('SELECT 1 AS v');
  expect(db.defaultSafeIntegers()).toBe(db);
  expect(before.get()).toEqual({ v: 1 });
  const after = db.prepare('SELECT 1 AS v');
  expect(after.get()).toEqual({ v: 1n });
  expect(after.safeIntegers(false).get()).toEqual({ v: 1 });
  expect(db.defaultSafeIntegers(false)).toBe(db);
  expect(db.prepare('SELECT 1 AS v').get()).toEqual({ v: 1 });
  expect(db.defaultSafeIntegers(true).prepare('SELECT 1 AS v').get()).toEqual({ v: 1n });
});

test('explain() follows the default', () => {
  db.defaultSafeIntegers();
  expect(db.explain('SELECT 1')[0].addr).toBe(0n);
});

test.each([[undefined], [null], [0], [1], ['true']])('%p is refused by both', (use) => {
  refuses(() => db.defaultSafeIntegers(use), TypeError, BOOLEAN);
  refuses(() => db.prepare('SELECT 1').safeIntegers(use), TypeError, BOOLEAN);
  expect(db.prepare('SELECT 1 AS v').get()).toEqual({ v: 1 });
});

test('bigints and numbers of a column compare as SQLite compares them', () => {
  const table = openTable(3, newFile());
  expect(table.prepare('SELECT a FROM t WHERE b = ?').pluck().all(2n)).toEqual(['row 2']);
  expect(table.prepare('SELECT a FROM t WHERE b = ?').pluck().all(2)).toEqual(['row 2']);
  expect(table.prepare('SELECT a FROM t WHERE b > ? LIMIT ?').pluck().all(1, 1)).toEqual(['row 2']);
});
