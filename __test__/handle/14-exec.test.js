'use strict';

// exec(): any number of statements, without results.

const { BUSY, fails, newFile, open, openTable, refuses } = require('./support.js');

let db;
beforeEach(() => {
  db = openTable();
});

const count = () => db.prepare('SELECT count(*) FROM t').pluck().get();

test('runs every statement and gives the database back', () => {
  expect(
    db.exec('DELETE FROM t; CREATE TABLE u (a); INSERT INTO u VALUES (1); INSERT INTO u VALUES (2)'),
  ).toBe(db);
  expect(count()).toBe(0);
  expect(db.prepare('SELECT a FROM u').pluck().all()).toEqual([1, 2]);
});

test.each([[''], [' '], [';;;'], ['-- comment'], ['/* comment */'], [' ; -- a\n ; /* b']])(
  '%j does nothing',
  (sql) => {
    expect(db.exec(sql)).toBe(db);
  },
);

test('takes comments, blanks and semicolons between statements', () => {
  db.exec(';; DELETE FROM t WHERE b = 1; -- one; DELETE FROM t\n ; /* two; */ DELETE FROM t WHERE b = 2 ;; ');
  expect(db.prepare('SELECT b FROM t').pluck().all()).toEqual([3]);
});

test('reads no further than a NUL', () => {
  db.exec('DELETE FROM t WHERE b = 1;\0 DELETE FROM t');
  expect(count()).toBe(2);
});

test('runs statements that give rows to their end', () => {
  db.exec("SELECT * FROM t; INSERT INTO t (a) VALUES ('x'), ('y') RETURNING *; PRAGMA user_version = 3");
  expect(count()).toBe(5);
  expect(db.pragma('user_version', { simple: true })).toBe(3);
});

test('parameters that nobody binds are NULL', () => {
  db.exec('INSERT INTO t VALUES (?, :b, @c, $d)');
  expect(db.prepare('SELECT * FROM t WHERE rowid = 4').get()).toEqual({ a: null, b: null, c: null, d: null });
});

test('keeps what came before a statement that fails, and leaves what comes after', () => {
  fails(
    () =>
      db.exec(
        "INSERT INTO t (a) VALUES ('kept'); INSERT INTO nowhere VALUES (1); INSERT INTO t (a) VALUES ('not')",
      ),
    'SQLITE_ERROR',
    'no such table: nowhere',
  );
  expect(db.prepare('SELECT a FROM t WHERE b IS NULL').pluck().all()).toEqual(['kept']);
});

test('keeps what came before one that fails when it runs', () => {
  db.exec('CREATE UNIQUE INDEX one ON t (b)');
  fails(
    () =>
      db.exec(
        'INSERT INTO t (b) VALUES (10); INSERT INTO t (b) VALUES (11), (10); INSERT INTO t (b) VALUES (12)',
      ),
    'SQLITE_CONSTRAINT_UNIQUE',
    'UNIQUE constraint failed: t.b',
  );
  expect(db.prepare('SELECT b FROM t WHERE b > 3').pluck().all()).toEqual([10]);
});

test('leaves a transaction open that was begun before it failed', () => {
  fails(
    () => db.exec("BEGIN; INSERT INTO t (a) VALUES ('x'); nonsense"),
    'SQLITE_ERROR',
    'near "nonsense": syntax error',
  );
  expect(db.inTransaction).toBe(true);
  db.exec('ROLLBACK');
  expect(db.inTransaction).toBe(false);
  expect(count()).toBe(3);
});

test('begins and ends transactions', () => {
  db.exec('BEGIN');
  expect(db.inTransaction).toBe(true);
  db.exec('DELETE FROM t');
  db.exec('ROLLBACK');
  expect(count()).toBe(3);
  db.exec('BEGIN; DELETE FROM t; COMMIT');
  expect(db.inTransaction).toBe(false);
  expect(count()).toBe(0);
  fails(() => db.exec('COMMIT'), 'SQLITE_ERROR', 'cannot commit - no transaction is active');
  fails(() => db.exec('ROLLBACK'), 'SQLITE_ERROR', 'cannot rollback - no transaction is active');
  fails(() => db.exec('BEGIN; BEGIN'), 'SQLITE_ERROR', 'cannot start a transaction within a transaction');
});

test.each([[undefined], [null], [7], [{}], [['SELECT 1']], [Buffer.from('SELECT 1')]])(
  'refuses %p',
  (sql) => {
    refuses(() => db.exec(sql), TypeError, 'Expected first argument to be a string');
  },
);

test('refuses while an iterator is open, unless in unsafe mode', () => {
  const iterator = db.prepare('SELECT * FROM t').iterate();
  refuses(() => db.exec('SELECT 1'), TypeError, BUSY);
  refuses(() => db.exec(''), TypeError, BUSY);
  db.unsafeMode();
  db.exec("INSERT INTO t (a) VALUES ('x')");
  iterator.return();
  expect(count()).toBe(4);
});

test('makes and attaches other databases', () => {
  db.exec("ATTACH ':memory:' AS other; CREATE TABLE other.t (z); INSERT INTO other.t VALUES (9)");
  expect(db.prepare('SELECT z FROM other.t').pluck().get()).toBe(9);
  db.exec('DETACH other');
  fails(() => db.exec('SELECT * FROM other.t'), 'SQLITE_ERROR', 'no such table: other.t');
});

test('VACUUM, ANALYZE and REINDEX run, and VACUUM INTO makes a file', () => {
  const file = newFile();
  const copy = newFile();
  const database = openTable(3, file);
  database.exec('CREATE INDEX by_b ON t (b); ANALYZE; REINDEX; VACUUM');
  database.prepare('VACUUM INTO ?').run(copy);
  expect(open(copy).prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
  fails(() => database.exec('BEGIN; VACUUM'), 'SQLITE_ERROR', 'cannot VACUUM from within a transaction');
});

test('temporary tables belong to the database that made them', () => {
  const file = newFile();
  const [one, other] = [open(file), open(file)];
  one.exec('CREATE TEMP TABLE mine (a); INSERT INTO mine VALUES (1)');
  expect(one.prepare('SELECT a FROM mine').pluck().get()).toBe(1);
  expect(one.prepare('SELECT a FROM mine').columns()[0].database).toBe('temp');
  fails(() => other.prepare('SELECT a FROM mine'), 'SQLITE_ERROR', 'no such table: mine');
});

test('ten databases may be attached', () => {
  for (let n = 0; n < 10; n += 1) db.exec(`ATTACH ':memory:' AS a${n}`);
  fails(() => db.exec("ATTACH ':memory:' AS a10"), 'SQLITE_ERROR', 'too many attached databases - max 10');
});

test('runs a long text of many statements', () => {
  const many = open();
  many.exec(
    `CREATE TABLE t (a); ${Array.from({ length: 5000 }, (_, n) => `INSERT INTO t VALUES (${n});`).join('\n')}`,
  );
  expect(many.prepare('SELECT count(*), sum(a) FROM t').raw().get()).toEqual([5000, 12_497_500]);
});

test('texts with any letters arrive as they are', () => {
  db.exec("INSERT INTO t (a) VALUES ('é😀')");
  expect(db.prepare('SELECT a FROM t WHERE rowid = 4').pluck().get()).toBe('é😀');
});
