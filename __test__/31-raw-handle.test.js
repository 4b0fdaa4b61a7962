'use strict';

// The raw handles db and dbReadOnly on the caller's own tables. That results equal better-sqlite3's is in 21.

const { python } = require('./support/process.js');
const { NOT_OPEN, SYMBOL, TABLE, all, candle, misuse, open, sqliteFailure } = require('./support/store.js');

/** What SQLite refuses as SQL. */
const wrongSql = (message) =>
  sqliteFailure(
    'SQLITE_ERROR',
    { code: 'SQL_ERROR', message: expect.stringContaining(message) },
    { message },
  );

let store;
let db;
beforeEach(() => {
  store = open();
  db = store.db;
  db.exec('CREATE TABLE pools (id INTEGER PRIMARY KEY, name TEXT UNIQUE, fee REAL, data BLOB)');
});

describe('prepare()', () => {
  test('gives a statement that says what it is', () => {
    const select = db.prepare('SELECT * FROM pools');
    expect(select).toMatchObject({ source: 'SELECT * FROM pools', reader: true, readonly: true });
    expect(select.database).toBe(db);
    expect(db.prepare('DELETE FROM pools')).toMatchObject({ reader: false, readonly: false });
    expect(db.prepare('DELETE FROM pools RETURNING id')).toMatchObject({ reader: true, readonly: false });
    expect(db.prepare('SELECT 1;')).toMatchObject({ reader: true });
    expect(db.prepare('  -- comment\n SELECT 1 -- end')).toMatchObject({ reader: true });
  });

  test.each([
    ['', 'no statements'],
    ['  ; -- nothing', 'no statements'],
    ['SELECT 1; SELECT 2', 'more than one statement'],
    ['DELETE FROM pools; DELETE FROM pools', 'more than one statement'],
  ])('refuses %j as a RangeError: it contains %s', (sql, contained) => {
    expect(() => db.prepare(sql)).toThrow(
      misuse(RangeError, `The supplied SQL string contains ${contained}`),
    );
  });

  test.each([
    ['SELEC 1', 'near "SELEC": syntax error'],
    ['SELECT * FROM nowhere', 'no such table: nowhere'],
    ['SELECT nothing FROM pools', 'near "nothing": syntax error'],
    ['SELECT none FROM pools', 'no such column: none'],
    ['SELECT "a"', 'no such column: "a" - should this be a string literal in single-quotes?'],
  ])('refuses %j with what SQLite says: %s', (sql, message) => {
    expect(() => db.prepare(sql)).toThrow(wrongSql(message));
  });

  test('reads a text up to its first NUL, and refuses one that is no text', () => {
    expect(db.prepare('SELECT 7 AS seven\0; SELEC').get()).toEqual({ seven: 7 });
    expect(() => db.prepare('\0SELECT 1')).toThrow(
      misuse(RangeError, 'The supplied SQL string contains no statements'),
    );
    db.exec("INSERT INTO pools (name) VALUES ('a')\0; SELEC");
    expect(db.prepare('SELECT name FROM pools').pluck().all()).toEqual(['a']);
    for (const sql of [undefined, null, 7, {}, Symbol('s'), ['SELECT 1']]) {
      expect(() => db.prepare(sql)).toThrow(TypeError);
      expect(() => db.exec(sql)).toThrow(TypeError);
      expect(() => db.pragma(sql)).toThrow(TypeError);
    }
  });

  test('keeps working when the schema changes under it', async () => {
    const select = db.prepare('SELECT * FROM pools');
    const insert = db.prepare("INSERT INTO pools (name) VALUES ('a')");
    db.exec('ALTER TABLE pools ADD COLUMN more DEFAULT 7');
    insert.run();
    expect(select.all()).toEqual([{ id: 1, name: 'a', fee: null, data: null, more: 7 }]);
    const other = python(db.name);
    await other.sql('ALTER TABLE pools ADD COLUMN still DEFAULT 8');
    await other.end();
    expect(select.get()).toMatchObject({ more: 7, still: 8 });
    db.exec('DROP TABLE pools');
    expect(() => select.all()).toThrow(wrongSql('no such table: pools'));
    expect(() => insert.run()).toThrow(wrongSql('no such table: pools'));
  });
});

describe('values', () => {
  test.each([
    [null, null],
    [undefined, null],
    [0, 0],
    [-1, -1],
    [1.5, 1.5],
    [2 ** 31, 2 ** 31],
    [2 ** 53 - 1, 2 ** 53 - 1],
    [-(2 ** 53), -(2 ** 53)],
    [1e300, 1e300],
    [Infinity, Infinity],
    [-Infinity, -Infinity],
    [NaN, null],
    [5n, 5],
    [2n ** 53n, 2 ** 53],
    [2n ** 63n - 1n, 2 ** 63],
    [-(2n ** 63n), -(2 ** 63)],
    ['', ''],
    ['é😀"\'\n', 'é😀"\'\n'],
    ['a\0b', 'a\0b'],
  ])('%p is bound and read as %p', (given, expected) => {
    expect(db.prepare('SELECT ? AS value').get(given)).toEqual({ value: expected });
    db.prepare('CREATE TABLE v (value)').run();
    db.prepare('INSERT INTO v VALUES (:value)').run({ value: given });
    expect(db.prepare('SELECT value FROM v').pluck().get()).toEqual(expected);
  });

  test('bytes are bound from every typed array and read as a Buffer', () => {
    const view = new Uint8Array(new Uint8Array([9, 1, 2, 3, 9]).buffer, 1, 3);
    const detached = new Uint8Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const shared = new Uint8Array(new SharedArrayBuffer(3)).fill(7);
    for (const [given, expected] of [
      [Buffer.from([1, 2, 3]), [1, 2, 3]],
      [view, [1, 2, 3]],
      [new Uint8Array(0), []],
      [detached, []],
      [shared, [7, 7, 7]],
      [new Uint8ClampedArray([1, 300]), [1, 255]],
      [new Uint32Array(new Uint8Array([9, 9, 9, 9, 1, 2, 3, 4]).buffer, 4), [1, 2, 3, 4]],
      [new Float64Array(2), Array(16).fill(0)],
      [Buffer.alloc(1 << 20, 5), Array(1 << 20).fill(5)],
    ]) {
      const read = db.prepare('SELECT ? AS value').pluck().get(given);
      expect(Buffer.isBuffer(read)).toBe(true);
      expect(read.equals(Buffer.from(expected))).toBe(true);
    }
  });

  const UNBINDABLE = misuse(TypeError, 'SQLite3 can only bind numbers, strings, bigints, buffers, and null');
  const TOO_BIG = misuse(RangeError, 'The bound string, buffer, or bigint is too big');

  test.each([
    true,
    false,
    Symbol('x'),
    () => 1,
    new Date(),
    new Map(),
    new ArrayBuffer(2),
    [[1]],
    2n ** 63n,
    -(2n ** 63n) - 1n,
    /x/,
  ])('%p is refused and nothing is written', (value) => {
    const insert = db.prepare('INSERT INTO pools (name) VALUES (?)');
    const named = db.prepare('INSERT INTO pools (name) VALUES (:name)');
    const refused = typeof value === 'bigint' ? TOO_BIG : UNBINDABLE;
    expect(() => insert.run(value)).toThrow(refused);
    expect(() => insert.run([value])).toThrow(refused);
    expect(() => named.run({ name: value })).toThrow(refused);
    expect(db.prepare('SELECT count(*) FROM pools').pluck().get()).toBe(0);
  });

  test('too few, too many and unknown parameters are refused by number or name', () => {
    const two = db.prepare('INSERT INTO pools (name, fee) VALUES (?, ?)');
    expect(() => two.run('a')).toThrow(misuse(RangeError, 'Too few parameter values were provided'));
    expect(() => two.run('a', 1, 2)).toThrow(misuse(RangeError, 'Too many parameter values were provided'));
    const named = db.prepare('INSERT INTO pools (name) VALUES (:name)');
    expect(() => named.run({ nam: 1 })).toThrow(misuse(RangeError, 'Missing named parameter "name"'));
    expect(() => named.run()).toThrow(misuse(TypeError, 'Missing named parameters'));
    expect(db.prepare('SELECT count(*) FROM pools').pluck().get()).toBe(0);
  });

  test('a getter or an array of parameters that calls the store is harmless', () => {
    const insert = db.prepare('INSERT INTO pools (name, fee) VALUES (:name, :fee)');
    const given = {
      name: 'outer',
      get fee() {
        insert.run({ name: 'inner', fee: 1 });
        store.upsertCandle(TABLE, SYMBOL, candle(0));
        return 2;
      },
    };
    insert.run(given);
    expect(db.prepare('SELECT name, fee FROM pools ORDER BY fee').raw().all()).toEqual([
      ['inner', 1],
      ['outer', 2],
    ]);
    expect(all(store)).toEqual([candle(0)]);
  });
});

describe('writes', () => {
  test('are committed when run() returns, and say what they did', async () => {
    const other = python(db.name);
    const insert = db.prepare('INSERT INTO pools (name, fee) VALUES (?, ?)');
    expect(insert.run('a', 1)).toEqual({ changes: 1, lastInsertRowid: 1 });
    expect(await other.sql('SELECT name, fee FROM pools')).toEqual([['a', 1]]);
    expect(insert.run('b', 2)).toEqual({ changes: 1, lastInsertRowid: 2 });
    expect(db.prepare('UPDATE pools SET fee = fee * 2').run()).toMatchObject({ changes: 2 });
    expect(db.prepare('INSERT INTO pools (name) VALUES (?) RETURNING id, name').get('c')).toEqual({
      id: 3,
      name: 'c',
    });
    expect(db.prepare('DELETE FROM pools RETURNING name').pluck().all()).toEqual(['a', 'b', 'c']);
    expect(await other.sql('SELECT * FROM pools')).toEqual([]);
    await other.end();
  });

  test('that break a constraint are refused with what SQLite says, and change nothing', () => {
    db.prepare("INSERT INTO pools (name) VALUES ('a'), ('b')").run();
    expect(() => db.prepare("UPDATE pools SET name = 'c'").run()).toThrow(
      sqliteFailure(
        'SQLITE_CONSTRAINT_UNIQUE',
        {
          code: 'CONSTRAINT',
          sqliteCode: 'SQLITE_CONSTRAINT_UNIQUE',
          written: 'no',
          retryable: false,
          message: expect.stringContaining('pools.name'),
        },
        { message: 'UNIQUE constraint failed: pools.name' },
      ),
    );
    expect(db.prepare('SELECT name FROM pools ORDER BY id').pluck().all()).toEqual(['a', 'b']);
    expect(db.inTransaction).toBe(false);
  });

  test('that a deferred constraint refuses at COMMIT are rolled back, whole', () => {
    db.exec(
      'PRAGMA foreign_keys = ON; CREATE TABLE child (pool REFERENCES pools (id) DEFERRABLE INITIALLY DEFERRED)',
    );
    const orphaned = sqliteFailure(
      'SQLITE_CONSTRAINT_FOREIGNKEY',
      { code: 'CONSTRAINT' },
      { message: 'FOREIGN KEY constraint failed' },
    );
    expect(() => db.prepare('INSERT INTO child VALUES (99)').run()).toThrow(orphaned);
    expect(db.inTransaction).toBe(false);
    expect(
      db.transaction(() => {
        store.upsertCandle(TABLE, SYMBOL, candle(0));
        db.prepare('INSERT INTO child VALUES (99)').run();
      }),
    ).toThrow(orphaned);
    expect(db.inTransaction).toBe(false);
    expect(all(store)).toEqual([]);
    expect(db.prepare('SELECT count(*) FROM child').pluck().get()).toBe(0);
    store.upsertCandle(TABLE, SYMBOL, candle(1));
  });

  test('of a million characters and bytes come back whole', () => {
    const name = 'é'.repeat(1 << 20);
    const data = Buffer.alloc(1 << 20, 3);
    db.prepare('INSERT INTO pools (name, data) VALUES (?, ?)').run(name, data);
    expect(db.prepare('SELECT name, data FROM pools').get()).toEqual({ name, data });
  });
});

describe('exec()', () => {
  test('runs every statement of a script, in order, and returns the handle', () => {
    expect(
      db.exec(`
        -- a comment; with a semicolon
        CREATE TABLE a (x); /* another ; one */
        CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO pools (name) VALUES ('a;' || new.x); END;
        INSERT INTO a VALUES ('x;y'), ('--');
        INSERT INTO a SELECT x || '!' FROM a
      `),
    ).toBe(db);
    expect(db.prepare('SELECT name FROM pools ORDER BY id').pluck().all()).toEqual([
      'a;x;y',
      'a;--',
      'a;x;y!',
      'a;--!',
    ]);
  });

  test('stops at the first statement that fails; those before it are committed', () => {
    expect(() =>
      db.exec("INSERT INTO pools (name) VALUES ('a'); SELEC; INSERT INTO pools (name) VALUES ('b')"),
    ).toThrow(wrongSql('near "SELEC": syntax error'));
    expect(db.prepare('SELECT name FROM pools').pluck().all()).toEqual(['a']);
    expect(db.inTransaction).toBe(false);
  });

  test.each(['', ' ', ';;;', '-- nothing', '/* nothing'])('of %j does nothing', (script) => {
    expect(db.exec(script)).toBe(db);
  });

  test('of a script with an unfinished string is an error, not a hang', () => {
    for (const [script, message] of [
      ["SELECT 'a", 'unrecognized token: "\'a"'],
      ['SELECT 1; SELECT "b', 'unrecognized token: ""b"'],
      ['CREATE TRIGGER t AFTER INSERT ON pools BEGIN SELECT 1;', 'incomplete input'],
    ])
      expect(() => db.exec(script)).toThrow(wrongSql(message));
  });

  test('of 10,000 statements in one transaction is done', () => {
    db.exec(`BEGIN; ${'INSERT INTO pools (fee) VALUES (1);'.repeat(10_000)} COMMIT`);
    expect(db.prepare('SELECT count(*) FROM pools').pluck().get()).toBe(10_000);
  });
});

describe('pragma()', () => {
  test('reads and sets', () => {
    expect(db.pragma('journal_mode')).toEqual([{ journal_mode: 'wal' }]);
    expect(db.pragma('journal_mode', { simple: true })).toBe('wal');
    db.pragma('user_version = 42');
    expect(db.pragma('user_version', { simple: true })).toBe(42);
    expect(db.prepare('PRAGMA user_version').pluck().get()).toBe(42);
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(db.pragma('nothing_of_the_kind')).toEqual([]);
    expect(db.pragma('nothing_of_the_kind', { simple: true })).toBeUndefined();
  });
});

describe('dbReadOnly', () => {
  test('reads what is committed and refuses to write', () => {
    db.prepare("INSERT INTO pools (name) VALUES ('a')").run();
    const { dbReadOnly } = store;
    expect(dbReadOnly).toMatchObject({ readonly: true, open: true, name: db.name });
    expect(dbReadOnly.prepare('SELECT name FROM pools').all()).toEqual([{ name: 'a' }]);
    const refused = sqliteFailure(
      'SQLITE_READONLY',
      { code: 'READ_ONLY' },
      { message: 'attempt to write a readonly database' },
    );
    expect(() => dbReadOnly.prepare('DELETE FROM pools').run()).toThrow(refused);
    expect(() => dbReadOnly.exec('DELETE FROM pools')).toThrow(refused);
    expect(() => dbReadOnly.exec('CREATE TABLE x (a)')).toThrow(refused);
    expect(dbReadOnly.inTransaction).toBe(false);
    expect(dbReadOnly.prepare('SELECT name FROM pools').pluck().all()).toEqual(['a']);
  });

  test('keeps one snapshot from BEGIN to COMMIT', () => {
    const { dbReadOnly } = store;
    const count = dbReadOnly.prepare('SELECT count(*) FROM pools').pluck();
    dbReadOnly.exec('BEGIN');
    expect(count.get()).toBe(0);
    db.prepare("INSERT INTO pools (name) VALUES ('a')").run();
    expect(count.get()).toBe(0);
    expect(dbReadOnly.inTransaction).toBe(true);
    dbReadOnly.exec('COMMIT');
    expect(dbReadOnly.inTransaction).toBe(false);
    expect(count.get()).toBe(1);
    const inner = dbReadOnly.transaction(() => {
      const before = count.get();
      db.prepare("INSERT INTO pools (name) VALUES ('b')").run();
      return [before, count.get()];
    });
    expect(inner()).toEqual([1, 1]);
    expect(count.get()).toBe(2);
  });

  test('runs scripts', () => {
    store.dbReadOnly.exec('SELECT 1; SELECT 2');
    store.dbReadOnly.exec('BEGIN; SELECT count(*) FROM pools; COMMIT');
    expect(store.dbReadOnly.inTransaction).toBe(false);
  });

  test('sees by data_version what is committed by this process and by others', async () => {
    const { dbReadOnly } = store;
    const version = () => dbReadOnly.pragma('data_version', { simple: true });
    const first = version();
    expect(version()).toBe(first);
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    const second = version();
    expect(second).not.toBe(first);
    // A read of any kind does not change it.
    all(store);
    dbReadOnly.prepare('SELECT * FROM pools').get();
    expect(version()).toBe(second);
    const other = python(db.name);
    await other.sql("INSERT INTO pools (name) VALUES ('x')");
    expect(version()).not.toBe(second);
    await other.end();
  });

  test('is closed with its store', async () => {
    const { dbReadOnly } = store;
    dbReadOnly.prepare('SELECT 1').get();
    await store.close();
    expect(dbReadOnly.open).toBe(false);
    expect(() => dbReadOnly.prepare('SELECT 1')).toThrow(NOT_OPEN);
  });
});

test('statements of a closed store throw that it is not open, whatever they are', async () => {
  const statements = ['SELECT 1', 'DELETE FROM pools', 'BEGIN', 'PRAGMA user_version'].map((sql) =>
    db.prepare(sql),
  );
  await store.close();
  for (const statement of statements) {
    expect(() => statement.run()).toThrow(NOT_OPEN);
    if (statement.reader) expect(() => statement.all()).toThrow(NOT_OPEN);
  }
  expect(() => db.prepare('SELECT 1')).toThrow(NOT_OPEN);
  expect(() => db.exec('BEGIN')).toThrow(NOT_OPEN);
  expect(() => db.pragma('user_version')).toThrow(NOT_OPEN);
  expect(() => db.transaction(() => {})()).toThrow(NOT_OPEN);
  expect(db.open).toBe(false);
  expect(db.inTransaction).toBe(false);
});

test('while an iterator is not at its end others read and the store writes, but the handle does not', () => {
  db.exec("INSERT INTO pools (name, fee) VALUES ('a', 1), ('b', 2), ('c', 3)");
  const busy = misuse(TypeError, 'This database connection is busy executing a query');
  const seen = [];
  for (const { id } of db.prepare('SELECT id FROM pools').iterate()) {
    seen.push(db.prepare('SELECT name FROM pools WHERE id = ?').pluck().get(id));
    expect(() => db.prepare('UPDATE pools SET fee = fee + 10 WHERE id = ?').run(id)).toThrow(busy);
    expect(() => db.exec('DELETE FROM pools')).toThrow(busy);
    expect(db.transaction(() => {})).toThrow(busy);
    store.upsertCandle(TABLE, SYMBOL, candle(id));
  }
  expect(seen).toEqual(['a', 'b', 'c']);
  expect(db.prepare('SELECT sum(fee) FROM pools').pluck().get()).toBe(6);
  expect(all(store)).toEqual([candle(1), candle(2), candle(3)]);
});

test('in unsafe mode two statements may be read and written in turns, one inside the other', () => {
  db.unsafeMode();
  db.exec("INSERT INTO pools (name, fee) VALUES ('a', 1), ('b', 2), ('c', 3)");
  const seen = [];
  for (const { id } of db.prepare('SELECT id FROM pools').iterate()) {
    seen.push(db.prepare('SELECT name FROM pools WHERE id = ?').pluck().get(id));
    db.prepare('UPDATE pools SET fee = fee + 10 WHERE id = ?').run(id);
    store.upsertCandle(TABLE, SYMBOL, candle(id));
  }
  expect(seen).toEqual(['a', 'b', 'c']);
  expect(db.prepare('SELECT sum(fee) FROM pools').pluck().get()).toBe(36);
});
