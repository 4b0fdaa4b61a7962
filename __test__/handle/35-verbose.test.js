'use strict';

// verbose: every statement that runs is told, with its values.

const { newFile, open, refuses, thrown } = require('./support.js');
const { Database } = require('./provider.js');

let said;
let db;
beforeEach(() => {
  said = [];
  db = open(':memory:', { verbose: (...values) => said.push(...values) });
  db.exec('CREATE TABLE t (a, b)');
  said.length = 0;
});

test('tells what runs, not what is prepared', () => {
  const insert = db.prepare('INSERT INTO t VALUES (1, 2)');
  expect(said).toEqual([]);
  insert.run();
  insert.run();
  expect(said).toEqual(['INSERT INTO t VALUES (1, 2)', 'INSERT INTO t VALUES (1, 2)']);
});

test('has one argument, and this is undefined', () => {
  const calls = [];
  const other = open(':memory:', {
    verbose(...values) {
      calls.push([this, values]);
    },
  });
  other.exec('SELECT 1');
  expect(calls).toEqual([[undefined, ['SELECT 1']]]);
});

test('values are written into the text as SQLite writes them', () => {
  const run = (sql, ...values) => db.prepare(sql).get(...values);
  run('SELECT ?, ?, ?, ?', 1, 1.5, 2n, 0);
  run('SELECT ?, ?', "it's", null);
  run('SELECT ?, ?', Buffer.from([1, 255]), Buffer.alloc(0));
  run('SELECT :a, @a, $b', { a: 'x', b: 'é😀' });
  run('SELECT ?', NaN);
  run('SELECT ?', 2n ** 63n - 1n);
  run('SELECT ?, ?', 1e300, 0.1);
  expect(said).toEqual([
    'SELECT 1.0, 1.5, 2, 0.0',
    "SELECT 'it''s', NULL",
    "SELECT x'01ff', x''",
    "SELECT 'x', 'x', 'é😀'",
    'SELECT NULL',
    'SELECT 9223372036854775807',
    'SELECT 1.0e+300, 0.1',
  ]);
});

test('texts keep their comments and lose what is after the statement', () => {
  db.prepare(' -- before\n SELECT /* in */ 1; -- after').get();
  db.exec('  SELECT 2;;  -- between\n SELECT 3 -- last');
  expect(said).toEqual([' -- before\n SELECT /* in */ 1;', 'SELECT 2;', '-- between\n SELECT 3 -- last']);
});

test('exec() tells each statement before it runs', () => {
  expect(() => db.exec('INSERT INTO t VALUES (1, 1); INSERT INTO nowhere VALUES (1); SELECT 1')).toThrow(
    'no such table',
  );
  expect(said).toEqual(['INSERT INTO t VALUES (1, 1);']);
});

test('get, all, run and pragma are told once, iterate with its first row', () => {
  const select = db.prepare('SELECT ? AS v');
  select.get(1n);
  select.all(2n);
  select.run(3n);
  const iterator = select.iterate(4n);
  expect(said).toEqual(['SELECT 1 AS v', 'SELECT 2 AS v', 'SELECT 3 AS v']);
  iterator.next();
  expect(said.at(-1)).toBe('SELECT 4 AS v');
  iterator.next();
  iterator.return();
  db.pragma('user_version');
  db.explain('SELECT 1');
  expect(said.slice(4)).toEqual(['PRAGMA user_version', 'EXPLAIN SELECT 1']);
  select.iterate(5n).return();
  expect(said).toHaveLength(6);
});

test('transactions are told', () => {
  const inner = db.transaction(() => db.exec('INSERT INTO t VALUES (1, 1)'));
  db.transaction(() => inner())();
  expect(said[0]).toBe('BEGIN');
  expect(said[1]).toMatch(/^SAVEPOINT /);
  expect(said[2]).toBe('INSERT INTO t VALUES (1, 1)');
  expect(said[3]).toMatch(/^RELEASE /);
  expect(said[4]).toBe('COMMIT');
  expect(said).toHaveLength(5);
  said.length = 0;
  for (const variant of ['deferred', 'immediate', 'exclusive']) inner[variant]();
  expect(said.filter((sql) => sql.startsWith('BEGIN'))).toEqual([
    'BEGIN DEFERRED',
    'BEGIN IMMEDIATE',
    'BEGIN EXCLUSIVE',
  ]);
});

test('a failed transaction tells its ROLLBACK', () => {
  expect(() =>
    db.transaction(() => {
      throw new Error('mine');
    })(),
  ).toThrow('mine');
  expect(said).toEqual(['BEGIN', 'ROLLBACK']);
});

test('bound values are told each time', () => {
  const select = db.prepare('SELECT ?').bind('x');
  select.get();
  select.get();
  expect(said).toEqual(["SELECT 'x'", "SELECT 'x'"]);
});

test('what cannot be bound is not told', () => {
  expect(() => db.prepare('SELECT ?').get()).toThrow(RangeError);
  expect(said).toEqual([]);
});

test('what triggers do is not told', () => {
  db.exec('CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET b = 7; END');
  said.length = 0;
  db.prepare('INSERT INTO t VALUES (1, 2)').run();
  expect(said).toEqual(['INSERT INTO t VALUES (1, 2)']);
});

test('close(), backup() and serialize() tell nothing', async () => {
  await db.backup(newFile());
  db.serialize();
  db.close();
  expect(said).toEqual([]);
});

describe('one that throws', () => {
  let angry;
  let mine;
  beforeEach(() => {
    mine = new Error('mine');
    let on = false;
    angry = open(':memory:', {
      verbose() {
        if (on) throw mine;
      },
    });
    angry.exec('CREATE TABLE t (a)');
    on = true;
    angry.calm = () => (on = false);
  });

  test('stops the statement, whose caller gets what it threw', () => {
    const insert = angry.prepare('INSERT INTO t VALUES (1)');
    const select = angry.prepare('SELECT ? AS v');
    for (const act of [
      () => insert.run(),
      () => select.get(1),
      () => select.all(1),
      () => [...select.iterate(1)],
      () => angry.exec('INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)'),
      () => angry.pragma('user_version'),
      () => angry.transaction(() => 1)(),
    ]) {
      expect(thrown(act)).toBe(mine);
    }
    expect(select.busy).toBe(false);
    expect(angry.inTransaction).toBe(false);
    angry.calm();
    expect(angry.prepare('SELECT count(*) FROM t').pluck().get()).toBe(0);
    expect(insert.run().changes).toBe(1);
    expect(select.all(7)).toEqual([{ v: 7 }]);
  });

  test('may throw anything', () => {
    const undefinedOnce = open(':memory:', {
      verbose() {
        throw undefined;
      },
    });
    let caught = 'nothing';
    try {
      undefinedOnce.exec('SELECT 1');
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeUndefined();
  });
});

test.each([[7], ['x'], [{}], [true]])('is not %p', (verbose) => {
  refuses(
    () => new Database(':memory:', { verbose }),
    TypeError,
    'Expected the "verbose" option to be a function',
  );
});

test.each([[null], [undefined]])('may be %p', (verbose) => {
  expect(open(':memory:', { verbose }).prepare('SELECT 1 AS a').get()).toEqual({ a: 1 });
});
