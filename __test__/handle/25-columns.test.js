'use strict';

// columns(): where the columns of a result come from.

const { BUSY, fails, open, openTable, refuses } = require('./support.js');

let db;
beforeEach(() => {
  db = openTable();
});

const columns = (sql) => db.prepare(sql).columns();

test('gives five properties for each column, in order', () => {
  const found = columns('SELECT a, b AS x FROM t');
  expect(Array.isArray(found)).toBe(true);
  expect(found.map((column) => Object.entries(column))).toEqual([
    [
      ['name', 'a'],
      ['column', 'a'],
      ['table', 't'],
      ['database', 'main'],
      ['type', 'TEXT'],
    ],
    [
      ['name', 'x'],
      ['column', 'b'],
      ['table', 't'],
      ['database', 'main'],
      ['type', 'INTEGER'],
    ],
  ]);
});

test('what comes from no table is null', () => {
  expect(columns('SELECT 1 + 1 AS two, count(*), NULL')).toEqual(
    ['two', 'count(*)', 'NULL'].map((name) => ({
      name,
      column: null,
      table: null,
      database: null,
      type: null,
    })),
  );
});

test('types are as they were declared, and null where none was', () => {
  db.exec('CREATE TABLE u (a, b varchar(20) NOT NULL, c  double   precision, d "my type")');
  expect(columns('SELECT * FROM u').map(({ type }) => type)).toEqual([
    null,
    'varchar(20)',
    'double   precision',
    'my type',
  ]);
});

test('tables are the real ones behind aliases, views and subselects', () => {
  db.exec(
    "CREATE VIEW v AS SELECT a AS seen FROM t; ATTACH ':memory:' AS other; CREATE TABLE other.o (z BLOB)",
  );
  expect(columns('SELECT s.seen AS x FROM v AS s')).toEqual([
    { name: 'x', column: 'a', table: 't', database: 'main', type: 'TEXT' },
  ]);
  expect(columns('SELECT z FROM o')).toEqual([
    { name: 'z', column: 'z', table: 'o', database: 'other', type: 'BLOB' },
  ]);
  expect(columns('SELECT q FROM (SELECT b AS q FROM t)')).toEqual([
    { name: 'q', column: 'b', table: 't', database: 'main', type: 'INTEGER' },
  ]);
});

test('columns of the same name are all there', () => {
  expect(columns('SELECT a, a, b AS a FROM t').map(({ name, column }) => [name, column])).toEqual([
    ['a', 'a'],
    ['a', 'a'],
    ['a', 'b'],
  ]);
});

test('rowid is a column of type INTEGER', () => {
  expect(columns('SELECT rowid FROM t')).toEqual([
    { name: 'rowid', column: 'rowid', table: 't', database: 'main', type: 'INTEGER' },
  ]);
});

test('RETURNING, pragmas and EXPLAIN have columns', () => {
  expect(columns('DELETE FROM t RETURNING b').map(({ name }) => name)).toEqual(['b']);
  expect(columns('PRAGMA user_version').map(({ name }) => name)).toEqual(['user_version']);
  expect(columns('EXPLAIN QUERY PLAN SELECT 1').map(({ name }) => name)).toEqual([
    'id',
    'parent',
    'notused',
    'detail',
  ]);
});

test('a statement without data has none', () => {
  for (const sql of ["INSERT INTO t (a) VALUES ('x')", 'CREATE TABLE u (a)', 'BEGIN']) {
    refuses(() => columns(sql), TypeError, 'The columns() method is only for statements that return data');
  }
});

test('the parameters need not be bound', () => {
  expect(columns('SELECT a FROM t WHERE b = ? AND c = :c')).toHaveLength(1);
});

test('new objects are given each time', () => {
  const select = db.prepare('SELECT a FROM t');
  const [first] = select.columns();
  first.name = 'other';
  expect(select.columns()[0].name).toBe('a');
});

test('the mode makes no difference', () => {
  const select = db.prepare('SELECT a, b FROM t');
  const before = select.columns();
  for (const mode of ['pluck', 'raw', 'expand', 'safeIntegers'])
    expect(select[mode]().columns()).toEqual(before);
});

test('a change of the schema is seen after the next run', () => {
  const select = db.prepare('SELECT * FROM t');
  db.exec('ALTER TABLE t ADD COLUMN e JSON');
  expect(select.columns()).toHaveLength(4);
  select.get();
  expect(select.columns()[4]).toEqual({ name: 'e', column: 'e', table: 't', database: 'main', type: 'JSON' });
});

test('it is refused while a query of the database is running', () => {
  const seen = [];
  const logged = open(':memory:', {
    verbose: () => {
      try {
        seen.push(select?.columns());
      } catch (error) {
        seen.push(error.message);
      }
    },
  });
  const select = logged.prepare('SELECT 1');
  select.get();
  expect(seen).toEqual([BUSY]);
  fails(() => logged.prepare('SELECT x'), 'SQLITE_ERROR', 'no such column: x');
});
