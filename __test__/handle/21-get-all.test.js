'use strict';

// get() and all(): rows as objects.

const { fails, open, openTable, refuses } = require('./support.js');

const NO_DATA = 'This statement does not return data. Use run() instead';

let db;
beforeEach(() => {
  db = openTable();
});

const rows = [1, 2, 3].map((n) => ({ a: `row ${n}`, b: n, c: n + 0.5, d: Buffer.from([n]) }));
const get = (sql, ...values) => db.prepare(sql).get(...values);
const all = (sql, ...values) => db.prepare(sql).all(...values);

test('get() gives the first row', () => {
  expect(get('SELECT * FROM t ORDER BY b')).toEqual(rows[0]);
  expect(get('SELECT * FROM t ORDER BY b DESC')).toEqual(rows[2]);
});

test('get() gives undefined where there is none', () => {
  expect(get('SELECT * FROM t WHERE b > 9')).toBeUndefined();
  expect(db.prepare('SELECT * FROM t WHERE b > 9').pluck().get()).toBeUndefined();
  expect(db.prepare('SELECT * FROM t WHERE b > 9').raw().get()).toBeUndefined();
  expect(db.prepare('SELECT * FROM t WHERE b > 9').expand().get()).toBeUndefined();
});

test('all() gives every row in order, in an array', () => {
  const statement = db.prepare('SELECT * FROM t ORDER BY b');
  expect(statement.all()).toEqual(rows);
  expect(Array.isArray(statement.all())).toBe(true);
  expect(all('SELECT * FROM t WHERE b > ? ORDER BY b', 1)).toEqual(rows.slice(1));
});

test('all() gives an empty array where there is none', () => {
  expect(all('SELECT * FROM t WHERE b > 9')).toEqual([]);
});

test('rows are new each time, plain, and their properties those of any object', () => {
  const statement = db.prepare('SELECT * FROM t');
  const [first, again] = [statement.get(), statement.get()];
  expect(first).not.toBe(again);
  expect(Object.keys(first)).toEqual(['a', 'b', 'c', 'd']);
  const parent = Object.getPrototypeOf(first);
  expect(Object.getPrototypeOf(parent)).toBeNull();
  expect(first.hasOwnProperty).toBe(parent.hasOwnProperty);
  first.a = 'other';
  first.more = 1;
  delete first.b;
  expect(first).toEqual({ a: 'other', c: 1.5, d: Buffer.from([1]), more: 1 });
  expect(again).toEqual(rows[0]);
});

test.each([['get'], ['all'], ['iterate']])('%s() is refused by a statement that gives no data', (method) => {
  for (const sql of ["INSERT INTO t (a) VALUES ('x')", 'BEGIN', 'CREATE TABLE u (a)']) {
    refuses(() => db.prepare(sql)[method](), TypeError, NO_DATA);
  }
  expect(db.inTransaction).toBe(false);
  expect(get('SELECT count(*) AS n FROM t')).toEqual({ n: 3 });
});

test('get() and all() of a statement that writes write all of it', () => {
  const insert = "INSERT INTO t (a) VALUES ('x'), ('y') RETURNING a, rowid AS id";
  expect(get(insert)).toEqual({ a: 'x', id: 4 });
  expect(all(insert)).toEqual([
    { a: 'x', id: 6 },
    { a: 'y', id: 7 },
  ]);
  expect(get('SELECT count(*) AS n FROM t')).toEqual({ n: 7 });
  expect(all('DELETE FROM t RETURNING b')).toHaveLength(7);
  expect(get('DELETE FROM t RETURNING b')).toBeUndefined();
});

test('a pragma that is prepared gives rows', () => {
  expect(get('PRAGMA user_version')).toEqual({ user_version: 0 });
  expect(all('PRAGMA table_info(t)')).toHaveLength(4);
});

describe('columns', () => {
  test('of the same name: the last one counts, at the place of the first', () => {
    const row = get('SELECT 1 AS x, 2 AS y, 3 AS x');
    expect(Object.entries(row)).toEqual([
      ['x', 3],
      ['y', 2],
    ]);
  });

  test.each([
    ['constructor'],
    ['toString'],
    ['hasOwnProperty'],
    ['valueOf'],
    ['__defineGetter__'],
    ['then'],
    ['length'],
    [''],
    ['a b'],
    ['"quoted"'],
    ["it's"],
    ['é😀'],
    ['new\nline'],
    ['\\'],
    ['`${1}`'],
    ['\u2028'],
  ])('may be called %j', (name) => {
    const quoted = `"${name.replaceAll('"', '""')}"`;
    const row = get(`SELECT 7 AS ${quoted}, 8 AS b`);
    expect(Object.entries(row)).toEqual([
      [name, 7],
      ['b', 8],
    ]);
  });

  test('called __proto__ sets no prototype that is not an object, and no property', () => {
    const row = get('SELECT 7 AS __proto__, 8 AS b');
    expect(Object.keys(row)).toEqual(['b']);
    expect(Object.getPrototypeOf(Object.getPrototypeOf(row))).toBeNull();
  });

  test('called by numbers come first, as in any object', () => {
    expect(Object.keys(get('SELECT 1 AS b, 2 AS "1", 3 AS "0"'))).toEqual(['0', '1', 'b']);
  });

  test('without a name are called by their text', () => {
    expect(get("SELECT 1, 1 + 1, count(*), 'x' FROM t")).toEqual({
      1: 1,
      '1 + 1': 2,
      'count(*)': 3,
      "'x'": 'x',
    });
  });

  test('may be 2,000', () => {
    const names = Array.from({ length: 2000 }, (_, n) => `c${n}`);
    const statement = db.prepare(`SELECT ${names.map((name, n) => `${n} AS ${name}`).join(', ')}`);
    const row = statement.get();
    expect(Object.keys(row)).toEqual(names);
    expect(Object.values(row)).toEqual(names.map((_, n) => n));
    expect(statement.raw().all()).toEqual([names.map((_, n) => n)]);
    expect(statement.columns()).toHaveLength(2000);
    fails(() => get(`SELECT ${names.join(' + 1, ')}, 1`), 'SQLITE_ERROR');
  });

  test('of 15, 16, 17 and 33 come whole', () => {
    for (const count of [15, 16, 17, 33]) {
      const numbers = Array.from({ length: count }, (_, n) => n);
      const sql = `SELECT ${numbers.map((n) => `${n} AS c${n}`).join(', ')}`;
      expect(Object.values(get(sql))).toEqual(numbers);
      expect(db.prepare(sql).raw().get()).toEqual(numbers);
    }
  });
});

describe('values', () => {
  test.each([
    ['NULL', null],
    ['0', 0],
    ['-1', -1],
    ['9007199254740991', 2 ** 53 - 1],
    ['9007199254740993', 2 ** 53],
    ['9223372036854775807', 2 ** 63],
    ['-9223372036854775808', -(2 ** 63)],
    ['1.5', 1.5],
    ['1e300', 1e300],
    ['9e999', Infinity],
    ['-9e999', -Infinity],
    ['9e999 - 9e999', null],
    ['0.0', 0],
    ['-0.0', -0],
    ["''", ''],
    ["'é😀'", 'é😀'],
    ["'a' || char(0) || 'b'", 'a\0b'],
    ["CAST(x'61ff62' AS TEXT)", 'a\ufffdb'],
    ["x''", Buffer.alloc(0)],
    ["x'00ff'", Buffer.from([0, 255])],
    ['zeroblob(3)', Buffer.alloc(3)],
    ['1 = 1', 1],
  ])('%s is read as %p', (sql, expected) => {
    expect(get(`SELECT ${sql} AS v`)).toEqual({ v: expected });
    expect(db.prepare(`SELECT ${sql} AS v`).pluck().all()).toEqual([expected]);
  });

  test('a BLOB is a Buffer of its own memory', () => {
    const statement = db.prepare("SELECT x'010203' AS v");
    const [{ v: one }, { v: other }] = [statement.get(), statement.get()];
    expect(Buffer.isBuffer(one)).toBe(true);
    one[0] = 9;
    expect([...other]).toEqual([1, 2, 3]);
    const empty = get("SELECT x'' AS v").v;
    expect(Buffer.isBuffer(empty)).toBe(true);
    expect(empty).toHaveLength(0);
  });

  test('a text and a blob of 1 MB come whole', () => {
    const text = 'aé😀'.repeat(150_000);
    const bytes = Buffer.alloc(1 << 20, 'candle');
    db.prepare('INSERT INTO t (a, d) VALUES (?, ?)').run(text, bytes);
    const row = get('SELECT a, d FROM t WHERE rowid = 4');
    expect(row.a === text).toBe(true);
    expect(row.d.equals(bytes)).toBe(true);
  });

  test('a column may have another type in each row', () => {
    const sql =
      "SELECT 1 AS v UNION ALL SELECT 'x' UNION ALL SELECT NULL UNION ALL SELECT 1.5 UNION ALL SELECT x'07'";
    expect(db.prepare(sql).pluck().all()).toEqual([1, 'x', null, 1.5, Buffer.from([7])]);
    expect(all(sql).map(({ v }) => v)).toEqual([1, 'x', null, 1.5, Buffer.from([7])]);
  });

  test('10,000 rows come whole', () => {
    const sql =
      'WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n LIMIT 10000) SELECT i FROM n';
    expect(all(sql).map(({ i }) => i)).toEqual(Array.from({ length: 10_000 }, (_, n) => n));
    expect(
      db
        .prepare(sql)
        .pluck()
        .all()
        .reduce((sum, i) => sum + i),
    ).toBe(49_995_000);
  });

  test('the number of rows at borders of 1,024 is right', () => {
    for (const count of [1023, 1024, 1025, 2048, 2049]) {
      const sql = `WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT ${count}) SELECT i FROM n`;
      const found = db.prepare(sql).raw().all();
      expect([found.length, found.at(-1)]).toEqual([count, [count]]);
    }
  });
});

test('a failure in the middle of all() throws, and the statement may be run again', () => {
  const statement = db.prepare('SELECT json_extract(a, ?) AS v FROM t');
  db.exec(`UPDATE t SET a = '{"x":' || b || '}'; UPDATE t SET a = 'no json' WHERE b = 3`);
  fails(() => statement.all('$.x'), 'SQLITE_ERROR', 'malformed JSON');
  expect(statement.get('$.x')).toEqual({ v: 1 });
  db.exec('DELETE FROM t WHERE b = 3');
  expect(statement.all('$.x')).toEqual([{ v: 1 }, { v: 2 }]);
});

test('statements of one database see what others wrote at once', () => {
  const select = db.prepare('SELECT count(*) AS n FROM t');
  const insert = db.prepare('INSERT INTO t (b) VALUES (?)');
  for (let n = 4; n < 8; n += 1) {
    insert.run(n);
    expect(select.get()).toEqual({ n });
  }
});

test('two databases in memory know nothing of each other', () => {
  const other = open();
  fails(() => other.prepare('SELECT * FROM t'), 'SQLITE_ERROR', 'no such table: t');
});
