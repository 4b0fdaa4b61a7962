'use strict';

// run(): what it gives back, and that it writes.

const { attributes, fails, open, openTable, refuses } = require('./support.js');

let db;
beforeEach(() => {
  db = openTable();
});

const run = (sql, ...values) => db.prepare(sql).run(...values);

test('gives changes and lastInsertRowid, in this order, as plain properties', () => {
  const info = run("INSERT INTO t (a) VALUES ('x')");
  expect(Object.entries(info)).toEqual([
    ['changes', 1],
    ['lastInsertRowid', 4],
  ]);
  expect(Object.prototype.toString.call(info)).toBe('[object Object]');
  expect(attributes(info, 'changes')).toBe('wec');
  expect(attributes(info, 'lastInsertRowid')).toBe('wec');
});

test('counts every row that was changed', () => {
  expect(run('UPDATE t SET c = 0').changes).toBe(3);
  expect(run('UPDATE t SET c = 0 WHERE b > 1').changes).toBe(2);
  expect(run('UPDATE t SET c = 0 WHERE b > 9').changes).toBe(0);
  expect(run('INSERT INTO t SELECT * FROM t').changes).toBe(3);
  expect(run('DELETE FROM t').changes).toBe(6);
});

test('statements that write no rows have no changes, whatever came before', () => {
  run('UPDATE t SET c = 0');
  for (const sql of [
    'SELECT * FROM t',
    'CREATE TABLE u (a)',
    'DROP TABLE u',
    'BEGIN',
    'COMMIT',
    'PRAGMA user_version = 2',
  ]) {
    expect([sql, run(sql).changes]).toEqual([sql, 0]);
  }
});

test('lastInsertRowid is of the last insert, and stays with statements that insert nothing', () => {
  expect(run("INSERT INTO t (rowid, a) VALUES (50, 'x')").lastInsertRowid).toBe(50);
  expect(run('DELETE FROM t').lastInsertRowid).toBe(50);
  expect(run("INSERT INTO t (rowid, a) VALUES (-7, 'x')").lastInsertRowid).toBe(-7);
  expect(run('CREATE TABLE u (a)').lastInsertRowid).toBe(-7);
  expect(open().prepare('CREATE TABLE u (a)').run()).toEqual({ changes: 0, lastInsertRowid: 0 });
});

test('what a trigger writes is not in changes, nor its rowid', () => {
  db.exec(`
    CREATE TABLE log (id INTEGER PRIMARY KEY, a);
    INSERT INTO log VALUES (100, 'first');
    CREATE TRIGGER logged AFTER INSERT ON t BEGIN
      INSERT INTO log (a) VALUES (new.a), (new.a);
    END`);
  expect(run("INSERT INTO t (a) VALUES ('x')")).toEqual({ changes: 1, lastInsertRowid: 4 });
  expect(db.prepare('SELECT count(*) FROM log').pluck().get()).toBe(3);
});

test('what a trigger INSTEAD OF a view does is not in changes', () => {
  db.exec(`
    CREATE VIEW v AS SELECT a FROM t;
    CREATE TRIGGER into_v INSTEAD OF INSERT ON v BEGIN INSERT INTO t (a) VALUES (new.a); END`);
  expect(run("INSERT INTO v VALUES ('x')").changes).toBe(0);
  expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(4);
});

test('what a foreign key deletes is not in changes', () => {
  db.exec(`
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (parent REFERENCES parent ON DELETE CASCADE);
    INSERT INTO parent VALUES (1), (2);
    INSERT INTO child VALUES (1), (1), (1), (2)`);
  expect(run('DELETE FROM parent WHERE id = 1').changes).toBe(1);
  expect(db.prepare('SELECT count(*) FROM child').pluck().get()).toBe(1);
});

test('INSERT OR IGNORE and OR REPLACE count what they wrote', () => {
  db.exec('CREATE UNIQUE INDEX one ON t (b)');
  expect(run('INSERT OR IGNORE INTO t (b) VALUES (1)').changes).toBe(0);
  expect(run('INSERT OR IGNORE INTO t (b) VALUES (1), (8)').changes).toBe(1);
  expect(run('INSERT OR REPLACE INTO t (b) VALUES (1)')).toEqual({ changes: 1, lastInsertRowid: 5 });
  expect(run('INSERT INTO t (b) VALUES (1) ON CONFLICT DO UPDATE SET a = 7').changes).toBe(1);
  expect(run('INSERT INTO t (b) VALUES (1) ON CONFLICT DO NOTHING').changes).toBe(0);
});

test('a table WITHOUT ROWID leaves lastInsertRowid', () => {
  db.exec('CREATE TABLE w (k PRIMARY KEY) WITHOUT ROWID');
  expect(run("INSERT INTO w VALUES ('x')")).toEqual({ changes: 1, lastInsertRowid: 3 });
});

test('a statement that gives rows may be run, too: its first row is reached', () => {
  expect(run('SELECT * FROM t')).toEqual({ changes: 0, lastInsertRowid: 3 });
  expect(run("INSERT INTO t (a) VALUES ('x'), ('y') RETURNING a")).toEqual({
    changes: 2,
    lastInsertRowid: 5,
  });
  expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(5);
});

test('may be called again and again', () => {
  const insert = db.prepare('INSERT INTO t (b) VALUES (?)');
  for (let n = 10; n < 30; n += 1) expect(insert.run(n)).toEqual({ changes: 1, lastInsertRowid: n - 6 });
});

test('values of one run are not those of the next', () => {
  const insert = db.prepare('INSERT INTO t (a, b) VALUES (?, ?)');
  insert.run('x', 1);
  refuses(() => insert.run('y'), RangeError, 'Too few parameter values were provided');
  refuses(() => insert.run(), RangeError, 'Too few parameter values were provided');
  expect(db.prepare("SELECT count(*) FROM t WHERE a = 'y'").pluck().get()).toBe(0);
});

test('a failure changes nothing, and the statement may be run again', () => {
  db.exec('CREATE UNIQUE INDEX one ON t (b)');
  const insert = db.prepare('INSERT INTO t (b) VALUES (?), (?)');
  fails(() => insert.run(10, 1), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: t.b');
  expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
  expect(insert.run(10, 11).changes).toBe(2);
});

test('rowids beyond 2**53 are rounded, and exact as bigints', () => {
  const insert = db.prepare('INSERT INTO t (rowid, a) VALUES (?, 1)');
  expect(insert.run(2n ** 60n + 1n).lastInsertRowid).toBe(2 ** 60);
  expect(insert.safeIntegers().run(2n ** 60n + 3n)).toEqual({ changes: 1, lastInsertRowid: 2n ** 60n + 3n });
});
