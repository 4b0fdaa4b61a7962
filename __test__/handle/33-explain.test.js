'use strict';

// explain(): the program of a statement, or its plan, without running it.

const { fails, open, openTable, refuses } = require('./support.js');

let db;
beforeEach(() => {
  db = openTable();
});

test('gives the program of a statement', () => {
  const rows = db.explain('SELECT a FROM t');
  expect(Object.keys(rows[0])).toEqual(['addr', 'opcode', 'p1', 'p2', 'p3', 'p4', 'p5', 'comment']);
  expect(rows[0]).toMatchObject({ addr: 0, opcode: 'Init' });
  expect(rows.map(({ opcode }) => opcode)).toContain('ResultRow');
});

test('gives the plan with QUERY PLAN', () => {
  db.exec('CREATE INDEX by_b ON t (b)');
  expect(db.explain('QUERY PLAN SELECT * FROM t WHERE b = 1')).toEqual([
    {
      id: expect.any(Number),
      parent: 0,
      notused: expect.any(Number),
      detail: 'SEARCH t USING INDEX by_b (b=?)',
    },
  ]);
  expect(db.explain('QUERY PLAN SELECT * FROM t')[0].detail).toBe('SCAN t');
});

test('does not run the statement', () => {
  db.explain('DELETE FROM t');
  db.explain('CREATE TABLE u (a)');
  db.explain('BEGIN');
  expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
  expect(db.inTransaction).toBe(false);
  fails(() => db.prepare('SELECT * FROM u'), 'SQLITE_ERROR', 'no such table: u');
});

test('parameters need no values', () => {
  expect(db.explain('SELECT a FROM t WHERE b = ? AND c = :c').length).toBeGreaterThan(1);
  expect(db.explain('QUERY PLAN SELECT a FROM t WHERE b = ?')[0].detail).toBe('SCAN t');
});

test.each([[undefined], [null], [7], [{}], [['SELECT 1']]])('refuses %p', (sql) => {
  refuses(() => db.explain(sql), TypeError, 'Expected first argument to be a string');
});

test('refuses what prepare() refuses', () => {
  fails(() => db.explain(''), 'SQLITE_ERROR', 'incomplete input');
  fails(() => db.explain('SELECT * FROM nowhere'), 'SQLITE_ERROR', 'no such table: nowhere');
  refuses(
    () => db.explain('SELECT 1; SELECT 2'),
    RangeError,
    'The supplied SQL string contains more than one statement',
  );
});

test('works while an iterator is open, and on a read-only database', () => {
  const iterator = db.prepare('SELECT * FROM t').iterate();
  expect(db.explain('DELETE FROM t').length).toBeGreaterThan(1);
  iterator.return();
  expect(open(db.serialize(), { readonly: true }).explain('DELETE FROM t').length).toBeGreaterThan(1);
});
