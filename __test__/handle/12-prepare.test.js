'use strict';

// prepare(): which texts it takes, and what a statement says of itself.

const { fails, attributes, newFile, open, openTable, refuses } = require('./support.js');

const NONE = 'The supplied SQL string contains no statements';
const SEVERAL = 'The supplied SQL string contains more than one statement';

let db;
beforeEach(() => {
  db = openTable();
});

describe('the text', () => {
  test.each([[undefined], [null], [7], [{}], [['SELECT 1']], [Symbol('s')], [() => 'SELECT 1']])(
    'is not %p',
    (sql) => {
      refuses(() => db.prepare(sql), TypeError, 'Expected first argument to be a string');
    },
  );

  test('is not a String object, and not left out', () => {
    refuses(() => db.prepare(new String('SELECT 1')), TypeError, 'Expected first argument to be a string');
    refuses(() => db.prepare(), TypeError, 'Expected first argument to be a string');
  });

  test.each([
    [''],
    [' \n\t'],
    [';'],
    [' ; ;; '],
    ['-- comment'],
    ['/* comment */'],
    ['/* open'],
    ['\0'],
    ['\0SELECT 1'],
  ])('%j has no statement', (sql) => {
    refuses(() => db.prepare(sql), RangeError, NONE);
  });

  test.each([
    ['SELECT 1; SELECT 2'],
    ['SELECT 1;;; SELECT 2'],
    ['SELECT 1; /* then */ SELECT 2'],
    ['SELECT 1; -- then\nSELECT 2'],
    ['SELECT 1; x'],
    ['SELECT 1; -'],
    ['SELECT 1; /'],
    ['DELETE FROM t; DELETE FROM t'],
  ])('%j has more than one', (sql) => {
    refuses(() => db.prepare(sql), RangeError, SEVERAL);
    expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
  });

  test.each([
    ['SELECT 1'],
    ['SELECT 1;'],
    ['  SELECT 1 ;; ; \n\t\f\v'],
    ['-- first\nSELECT 1'],
    ['/* first */ SELECT 1; /* last */'],
    ['SELECT 1; -- last'],
    ['SELECT 1; -- last\n  -- and last'],
    ['SELECT 1; /* last'],
    ['SELECT 1; /* a; b */ -- c; d\n;'],
    [';; SELECT 1'],
    ['SELECT 1\0'],
    ['SELECT 1;\0'],
    ['SELECT 1;\0 SELECT 2'],
    ['SELECT 1 \0 this is not read'],
  ])('%j is one statement', (sql) => {
    const statement = db.prepare(sql);
    expect(statement.source).toBe(sql);
    expect(statement.get()).toEqual({ 1: 1 });
  });

  test.each([
    ['SELEC 1', 'near "SELEC": syntax error'],
    ['SELECT', 'incomplete input'],
    ['SELECT * FROM nowhere', 'no such table: nowhere'],
    ['SELECT missing FROM t', 'no such column: missing'],
    ['SELECT missing(1)', 'no such function: missing'],
    ['SELECT abs()', 'wrong number of arguments to function abs()'],
    ["SELECT 'open", 'unrecognized token: "\'open"'],
    ['INSERT INTO t VALUES (1)', 'table t has 4 columns but 1 values were supplied'],
    ['CREATE TABLE t (a)', 'table t already exists'],
    ['SELECT ?0', 'variable number must be between ?1 and ?32766'],
    ['SELECT 1 FROM t WHERE count(*)', 'misuse of aggregate function count()'],
  ])('%j fails with SQLITE_ERROR: %s', (sql, message) => {
    fails(() => db.prepare(sql), 'SQLITE_ERROR', message);
  });

  test('with an error is no matter what comes after it', () => {
    fails(() => db.prepare('SELEC 1; SELECT 2'), 'SQLITE_ERROR', 'near "SELEC": syntax error');
  });

  test('may have any letters', () => {
    expect(db.prepare('SELECT \'é😀\' AS "ü𝄞"').get()).toEqual({ 'ü𝄞': 'é😀' });
  });

  test('may be long', () => {
    const sql = `SELECT ${'1 + '.repeat(900)}0 AS a -- ${'x'.repeat(2_000_000)}`;
    const statement = db.prepare(sql);
    expect(statement.get()).toEqual({ a: 900 });
    expect(statement.source).toBe(sql);
  });

  test('further arguments are ignored', () => {
    expect(db.prepare('SELECT 1 AS a', 7, true).get()).toEqual({ a: 1 });
  });
});

describe('a statement', () => {
  test.each([
    ['SELECT * FROM t', true, true],
    ['SELECT 1', true, true],
    ['VALUES (1), (2)', true, true],
    ['WITH x AS (SELECT 1) SELECT * FROM x', true, true],
    ['EXPLAIN SELECT 1', true, true],
    ['EXPLAIN QUERY PLAN DELETE FROM t', true, false],
    ['INSERT INTO t (a) VALUES (1)', false, false],
    ['UPDATE t SET a = 1', false, false],
    ['DELETE FROM t', false, false],
    ['DELETE FROM t RETURNING a', true, false],
    ['INSERT INTO t (a) VALUES (1) RETURNING *', true, false],
    ['CREATE TABLE u (a)', false, false],
    ['DROP TABLE t', false, false],
    ['BEGIN', false, true],
    ['BEGIN IMMEDIATE', false, false],
    ['COMMIT', false, true],
    ['ROLLBACK', false, true],
    ['SAVEPOINT s', false, true],
    ["ATTACH ':memory:' AS x", false, true],
    ['VACUUM', false, false],
    ['PRAGMA user_version', true, true],
    ['PRAGMA user_version = 3', false, false],
    ['PRAGMA table_info(t)', true, true],
  ])('%j has reader %p and readonly %p', (sql, reader, readonly) => {
    expect(db.prepare(sql)).toMatchObject({ reader, readonly, source: sql, busy: false });
  });

  test('has five properties of its own that can be neither set nor replaced', () => {
    const statement = db.prepare('SELECT 1');
    expect(Object.keys(statement).sort()).toEqual(['busy', 'database', 'reader', 'readonly', 'source']);
    expect(statement.database).toBe(db);
    for (const property of ['reader', 'readonly', 'source', 'database', 'busy']) {
      const before = statement[property];
      expect(Reflect.set(statement, property, 'other')).toBe(false);
      expect(Reflect.defineProperty(statement, property, { value: 'other' })).toBe(false);
      expect(Reflect.deleteProperty(statement, property)).toBe(false);
      expect(statement[property]).toBe(before);
    }
  });

  test('takes properties of the caller', () => {
    const statement = db.prepare('SELECT 1');
    statement.mine = 7;
    expect(statement.mine).toBe(7);
  });

  test('is of a class Statement that only prepare() makes', () => {
    const Statement = db.prepare('SELECT 1').constructor;
    expect(Statement.name).toBe('Statement');
    expect(db.prepare('SELECT 2')).toBeInstanceOf(Statement);
    refuses(
      () => new Statement('SELECT 1'),
      TypeError,
      'Statements can only be constructed by the db.prepare() method',
    );
  });

  test('has methods that are enumerable and replaceable on its prototype', () => {
    const { prototype } = db.prepare('SELECT 1').constructor;
    const methods = [
      'run',
      'get',
      'all',
      'iterate',
      'bind',
      'pluck',
      'expand',
      'raw',
      'safeIntegers',
      'columns',
      'toString',
    ];
    for (const method of methods) expect([method, attributes(prototype, method)]).toEqual([method, 'wec']);
  });

  test('has methods that refuse another this', () => {
    const statement = db.prepare('SELECT 1');
    for (const method of ['run', 'get', 'all', 'bind', 'pluck', 'expand', 'raw', 'columns', 'toString']) {
      refuses(() => statement[method].call({}), TypeError);
      refuses(() => (0, statement[method])(), TypeError);
      refuses(() => statement[method].call(db), TypeError);
      refuses(() => statement[method].call(Object.create(statement)), TypeError);
    }
  });

  test('is a text of its own, with bound values if there are any', () => {
    const statement = db.prepare('SELECT ?, :name, ?');
    expect(statement.toString()).toBe('SELECT ?, :name, ?');
    expect(`${statement}`).toBe('SELECT ?, :name, ?');
    statement.all(1, 2, { name: 'x' });
    expect(statement.toString()).toBe('SELECT ?, :name, ?');
    statement.bind(1.5, { name: "it's" }, Buffer.from([255]));
    expect(statement.toString()).toBe("SELECT 1.5, 'it''s', x'ff'");
  });

  test('of one text is another each time', () => {
    expect(db.prepare('SELECT 1')).not.toBe(db.prepare('SELECT 1'));
  });

  test('is made of a change to the schema, which happens when it runs', () => {
    const create = db.prepare('CREATE TABLE u (a)');
    fails(() => db.prepare('SELECT * FROM u'), 'SQLITE_ERROR', 'no such table: u');
    expect(create.run()).toEqual({ changes: 0, lastInsertRowid: 3 });
    expect(db.prepare('SELECT * FROM u').all()).toEqual([]);
    fails(() => create.run(), 'SQLITE_ERROR', 'table u already exists');
  });
});

describe('a schema that changes under a statement', () => {
  test('by the same database is seen at the next run', () => {
    const select = db.prepare('SELECT * FROM t WHERE b = 1');
    expect(Object.keys(select.get())).toEqual(['a', 'b', 'c', 'd']);
    db.exec('ALTER TABLE t ADD COLUMN e DEFAULT 7');
    expect(select.get()).toMatchObject({ a: 'row 1', e: 7 });
    expect(select.raw().get()).toHaveLength(5);
    expect(select.columns().map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd', 'e']);
    db.exec('ALTER TABLE t RENAME COLUMN a TO z');
    expect(select.raw(false).all()[0]).toMatchObject({ z: 'row 1' });
    db.exec('ALTER TABLE t DROP COLUMN z');
    expect(Object.keys([...select.iterate()][0])).toEqual(['b', 'c', 'd', 'e']);
  });

  test('by another database is seen at the next run', () => {
    const file = newFile();
    const one = openTable(1, file);
    const other = open(file);
    const select = one.prepare('SELECT * FROM t');
    expect(select.get()).not.toHaveProperty('e');
    other.exec('ALTER TABLE t ADD COLUMN e DEFAULT 7');
    expect(select.get()).toHaveProperty('e', 7);
    expect(select.all()[0]).toHaveProperty('e', 7);
  });

  test('by a table that goes makes it fail, and by one that comes back makes it run', () => {
    const select = db.prepare('SELECT * FROM t');
    const insert = db.prepare("INSERT INTO t (a) VALUES ('x')");
    db.exec('DROP TABLE t');
    fails(() => select.all(), 'SQLITE_ERROR', 'no such table: t');
    fails(() => select.get(), 'SQLITE_ERROR', 'no such table: t');
    fails(() => [...select.iterate()], 'SQLITE_ERROR', 'no such table: t');
    fails(() => insert.run(), 'SQLITE_ERROR', 'no such table: t');
    db.exec('CREATE TABLE t (a)');
    expect(insert.run()).toEqual({ changes: 1, lastInsertRowid: 1 });
    expect(select.all()).toEqual([{ a: 'x' }]);
  });
});
