'use strict';

// pluck(), expand() and raw(): one at a time, for every way of reading.

const { openTable, refuses } = require('./support.js');

let db;
beforeEach(() => {
  db = openTable(2);
  db.exec("CREATE TABLE u (a, z); INSERT INTO u VALUES ('ua', 'uz')");
});

const MODES = ['pluck', 'expand', 'raw'];
const read = (statement) => [statement.get(), statement.all(), [...statement.iterate()]];
const asAll = (rows) => [rows[0], rows, rows];

test('pluck() gives the first column alone', () => {
  expect(read(db.prepare('SELECT b, a FROM t ORDER BY b').pluck())).toEqual(asAll([1, 2]));
  expect(read(db.prepare('SELECT NULL AS x').pluck())).toEqual(asAll([null]));
});

test('raw() gives arrays', () => {
  const raw = db.prepare('SELECT b, a, b FROM t ORDER BY b').raw();
  expect(read(raw)).toEqual(
    asAll([
      [1, 'row 1', 1],
      [2, 'row 2', 2],
    ]),
  );
  expect(Array.isArray(raw.get())).toBe(true);
  expect(raw.get()).not.toBe(raw.get());
});

test('expand() gives an object for each table, and $ for what is of none', () => {
  const sql = 'SELECT t.a, 1 + 1 AS two, u.a, u.z AS zet, count(*) AS n FROM t, u';
  expect(read(db.prepare(sql).expand())).toEqual(
    asAll([{ t: { a: 'row 1' }, $: { two: 2, n: 2 }, u: { a: 'ua', zet: 'uz' } }]),
  );
});

test('expand() names the real table, not its alias, and the last of equal names counts', () => {
  expect(db.prepare('SELECT x.b, y.b FROM t AS x, t AS y WHERE x.b = 1 AND y.b = 2').expand().get()).toEqual({
    t: { b: 2 },
  });
});

test('expand() takes tables called as properties of every object are', () => {
  db.exec('CREATE TABLE constructor (a); INSERT INTO constructor VALUES (1)');
  const row = db.prepare('SELECT a, a AS toString FROM constructor').expand().get();
  expect(Object.entries(row)).toEqual([['constructor', { a: 1, toString: 1 }]]);
});

test('columns called __proto__ are left out by expand(), and kept by raw() and pluck()', () => {
  const statement = db.prepare('SELECT 1 AS __proto__, 2 AS b');
  expect(Object.entries(statement.expand().get().$)).toEqual([['b', 2]]);
  expect(statement.raw().get()).toEqual([1, 2]);
  expect(statement.pluck().get()).toBe(1);
});

describe.each(MODES)('%s()', (mode) => {
  test('gives the statement back and stays', () => {
    const statement = db.prepare('SELECT b FROM t ORDER BY b');
    const flat = read(statement);
    expect(statement[mode]()).toBe(statement);
    const once = read(statement);
    expect(once).not.toEqual(flat);
    expect(read(statement)).toEqual(once);
    expect(read(statement[mode]())).toEqual(once);
  });

  test('true switches on, false off', () => {
    const statement = db.prepare('SELECT b FROM t ORDER BY b');
    const flat = read(statement);
    expect(read(statement[mode](false))).toEqual(flat);
    expect(read(statement[mode](true))).toEqual(read(db.prepare('SELECT b FROM t ORDER BY b')[mode]()));
    expect(read(statement[mode](false))).toEqual(flat);
  });

  test('replaces the other modes, and off leaves another mode as it is', () => {
    const make = () => db.prepare('SELECT b FROM t ORDER BY b');
    for (const other of MODES.filter((name) => name !== mode)) {
      const expected = read(make()[mode]());
      expect(read(make()[other]()[mode]())).toEqual(expected);
      expect(read(make()[mode]()[other](false))).toEqual(expected);
      expect(read(make()[other]()[mode]()[mode](false))).toEqual(read(make()));
    }
  });

  test.each([[undefined], [null], [0], [1], ['true'], [{}]])('refuses %p', (use) => {
    const statement = db.prepare('SELECT b FROM t');
    refuses(() => statement[mode](use), TypeError, 'Expected first argument to be a boolean');
    expect(statement.get()).toEqual({ b: 1 });
  });

  test('is refused by statements without data, before its argument is looked at', () => {
    for (const use of [[], [true], [false], [7]]) {
      refuses(
        () => db.prepare('DELETE FROM t')[mode](...use),
        TypeError,
        `The ${mode}() method is only for statements that return data`,
      );
    }
  });

  test('is taken by statements that write and give data', () => {
    const rows = db.prepare('DELETE FROM t RETURNING b')[mode]().all();
    expect(rows).toHaveLength(2);
    expect(rows[0]).not.toEqual({ b: 1 });
  });

  test('makes no difference to run()', () => {
    expect(db.prepare('DELETE FROM t RETURNING b')[mode]().run()).toEqual({ changes: 2, lastInsertRowid: 1 });
  });
});
