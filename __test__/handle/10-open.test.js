'use strict';

// new Database(): what it takes, what it refuses, and what an open database says of itself.

const fs = require('node:fs');
const path = require('node:path');
const util = require('node:util');
const { onlyOn } = require('./differences.js');
const { Database, SqliteError } = require('./provider.js');
const { attributes, fails, newFile, open, refuses } = require('./support.js');
const { scratch } = require('../support/scratch.js');

const NO_OPTIONS = 'Expected second argument to be an options object';

describe('the class', () => {
  test('is called with or without new', () => {
    const [file, other] = [newFile(), newFile()];
    const made = new Database(file);
    const called = Database(other);
    for (const db of [made, called]) {
      expect(db).toBeInstanceOf(Database);
      expect(db.constructor).toBe(Database);
      expect(db.open).toBe(true);
      db.close();
    }
    expect(called.name).toBe(other);
  });

  test('is a function Database with SqliteError as a property', () => {
    expect([typeof Database, Database.name, Database.length]).toEqual(['function', 'Database', 2]);
    expect(Database.SqliteError).toBe(SqliteError);
    expect(Database.prototype.constructor).toBe(Database);
  });

  test('can be extended by a class', () => {
    class Mine extends Database {
      count(table) {
        return this.prepare(`SELECT count(*) FROM ${table}`).pluck().get();
      }
    }
    const db = new Mine(':memory:');
    db.exec('CREATE TABLE t (a)');
    expect(db.count('t')).toBe(0);
    expect(db).toBeInstanceOf(Database);
    expect(db.prepare('SELECT 1').database).toBe(db);
    db.close();
  });

  test('has methods that are enumerable and replaceable on its prototype, as spies need it', () => {
    const methods = [
      'prepare',
      'transaction',
      'pragma',
      'explain',
      'backup',
      'serialize',
      'exec',
      'close',
      'defaultSafeIntegers',
      'unsafeMode',
    ];
    for (const method of methods) {
      expect([method, attributes(Database.prototype, method)]).toEqual([method, 'wec']);
      expect([method, typeof Database.prototype[method]]).toEqual([method, 'function']);
    }
  });

  test('has methods that refuse another this', () => {
    const db = open();
    for (const method of ['prepare', 'exec', 'close', 'pragma', 'serialize', 'defaultSafeIntegers']) {
      expect(() => db[method].call({}, 'SELECT 1')).toThrow(TypeError);
      expect(() => Database.prototype[method]('SELECT 1')).toThrow(TypeError);
    }
  });

  onlyOn('candlestore', 'leftOut')('has no method that would take a function of SQL', () => {
    for (const method of ['function', 'aggregate', 'table', 'loadExtension']) {
      expect(method in open()).toBe(false);
    }
  });
});

onlyOn('candlestore', 'leftOut')('a file descriptor is told to be no string', () => {
  refuses(() => new Database(0), TypeError, 'Expected first argument to be a string');
});

describe('an open database', () => {
  test('says what it is in five properties', () => {
    const file = newFile();
    const db = open(file);
    expect(Object.keys(db).sort()).toEqual(['inTransaction', 'memory', 'name', 'open', 'readonly']);
    expect({ ...db }).toEqual({
      name: file,
      open: true,
      inTransaction: false,
      readonly: false,
      memory: false,
    });
  });

  test('has properties that can be neither set nor replaced', () => {
    const db = open();
    for (const property of ['name', 'open', 'inTransaction', 'readonly', 'memory']) {
      const before = db[property];
      expect(Reflect.set(db, property, 'other')).toBe(false);
      expect(Reflect.defineProperty(db, property, { value: 'other' })).toBe(false);
      expect(Reflect.deleteProperty(db, property)).toBe(false);
      expect(db[property]).toBe(before);
    }
  });

  test('takes properties of the caller', () => {
    const db = open();
    db.mine = 7;
    expect(db.mine).toBe(7);
    expect(Object.isExtensible(db)).toBe(true);
  });

  test('is printed with its properties', () => {
    expect(util.inspect(open())).toBe(
      "Database {\n  name: ':memory:',\n  open: true,\n  inTransaction: false,\n  readonly: false,\n  memory: true\n}",
    );
  });
});

describe('the path', () => {
  test('is made a file at once that has no bytes until something is written', () => {
    const file = newFile();
    const db = open(file);
    expect(fs.statSync(file).size).toBe(0);
    db.exec('CREATE TABLE t (a)');
    expect(fs.statSync(file).size).toBeGreaterThan(0);
  });

  test.each([[''], ['  '], [undefined], [null]])('%p opens a temporary database', (given) => {
    const db = given === undefined ? new Database() : open(given);
    expect(db).toMatchObject({ name: given ?? '', memory: true, readonly: false, open: true });
    db.exec('CREATE TABLE t (a)');
    expect(db.pragma('database_list')[0]).toEqual({ seq: 0, name: 'main', file: '' });
    db.close();
  });

  test(':memory: opens a database of its own each time', () => {
    const [one, other] = [open(':memory:'), open(':memory:')];
    expect(one).toMatchObject({ name: ':memory:', memory: true });
    one.exec('CREATE TABLE t (a)');
    fails(() => other.prepare('SELECT * FROM t'), 'SQLITE_ERROR', 'no such table: t');
  });

  test('is trimmed for the file, and is the name as given', () => {
    const file = newFile();
    const db = open(`  ${file}\n`);
    expect(db.name).toBe(`  ${file}\n`);
    expect(fs.existsSync(file)).toBe(true);
    expect(open('  :memory: ')).toMatchObject({ name: '  :memory: ', memory: true });
  });

  test('may be relative, and stays so in the name', () => {
    const relative = path.relative(process.cwd(), newFile());
    const db = open(relative);
    expect(db.name).toBe(relative);
    expect(fs.existsSync(path.resolve(relative))).toBe(true);
  });

  test('may have letters of any kind and quotes', () => {
    const file = path.join(scratch(), "é😀 'q' %20?x#y.db");
    const db = open(file);
    db.exec('CREATE TABLE t (a)');
    expect(fs.existsSync(file)).toBe(true);
    expect(db.pragma('database_list')[0].file).toBe(fs.realpathSync(file));
  });

  test.each([[1.5], [-1], [true], [{}], [[]], [() => 1], [Symbol('s')], [10n]])('is not %p', (given) => {
    expect(() => new Database(given)).toThrow(TypeError);
  });

  test.each([[true], [{}], [new Uint8Array(4)], [() => 1], [10n]])('%p is told to be no string', (given) => {
    refuses(() => new Database(given), TypeError, 'Expected first argument to be a string');
  });

  test('in a folder that is not there is refused', () => {
    const file = path.join(scratch(), 'missing', 'test.db');
    refuses(() => new Database(file), TypeError, 'Cannot open database because the directory does not exist');
    expect(fs.existsSync(path.dirname(file))).toBe(false);
  });

  test('of a folder cannot be opened', () => {
    fails(() => new Database(scratch()), 'SQLITE_CANTOPEN', 'unable to open database file');
  });

  test('of a file that is no database opens, and the first read tells', () => {
    const file = newFile();
    fs.writeFileSync(file, 'this is a text and not a database, however long it may be '.repeat(40));
    const db = open(file);
    fails(() => db.prepare('SELECT * FROM sqlite_master'), 'SQLITE_NOTADB', 'file is not a database');
    fails(() => db.pragma('user_version'), 'SQLITE_NOTADB', 'file is not a database');
  });
});

describe('options', () => {
  test.each([[undefined], [null], [{}], [Object.create(null)], [[]]])('may be %p', (options) => {
    expect(open(':memory:', options)).toMatchObject({ open: true, readonly: false });
  });

  test.each([[true], ['readonly'], [7], [() => 1], [0], ['']])('are not %p', (options) => {
    refuses(() => new Database(':memory:', options), TypeError, NO_OPTIONS);
  });

  test('may be inherited', () => {
    const file = newFile();
    open(file).exec('CREATE TABLE t (a)');
    expect(open(file, Object.create({ readonly: true })).readonly).toBe(true);
  });

  test.each([
    ['readonly', 1],
    ['readonly', 'true'],
    ['readonly', undefined],
    ['readonly', null],
    ['fileMustExist', 1],
    ['fileMustExist', null],
    ['fileMustExist', undefined],
  ])('%s is not %p', (option, value) => {
    refuses(
      () => new Database(newFile(), { [option]: value }),
      TypeError,
      `Expected the "${option}" option to be a boolean`,
    );
  });

  test('readOnly and memory are told to be mistakes, whatever their value', () => {
    for (const value of [true, false, undefined]) {
      refuses(
        () => new Database(newFile(), { readOnly: value }),
        TypeError,
        'Misspelled option "readOnly" should be "readonly"',
      );
      refuses(
        () => new Database(newFile(), { memory: value }),
        TypeError,
        'Option "memory" was removed in v7.0.0 (use ":memory:" filename instead)',
      );
    }
  });

  test('that are unknown are ignored', () => {
    expect(open(':memory:', { colour: 'red' }).open).toBe(true);
  });

  test('no file is made when an option is refused', () => {
    const file = newFile();
    expect(() => new Database(file, { timeout: -1 })).toThrow(TypeError);
    expect(fs.existsSync(file)).toBe(false);
  });
});

describe('readonly', () => {
  test('reads a file and refuses every write', () => {
    const file = newFile();
    open(file).exec('CREATE TABLE t (a); INSERT INTO t VALUES (1)');
    const db = open(file, { readonly: true });
    expect(db.readonly).toBe(true);
    expect(db.prepare('SELECT a FROM t').get()).toEqual({ a: 1 });
    const message = 'attempt to write a readonly database';
    const insert = db.prepare('INSERT INTO t VALUES (2)');
    fails(() => insert.run(), 'SQLITE_READONLY', message);
    fails(() => db.exec('DELETE FROM t'), 'SQLITE_READONLY', message);
    fails(() => db.exec('CREATE TABLE u (a)'), 'SQLITE_READONLY', message);
    expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(1);
  });

  test('needs a file that is there, and makes none', () => {
    const file = newFile();
    fails(() => new Database(file, { readonly: true }), 'SQLITE_CANTOPEN', 'unable to open database file');
    expect(fs.existsSync(file)).toBe(false);
  });

  test.each([[''], [':memory:'], [' '], [null]])('is refused with %p', (location) => {
    refuses(
      () => new Database(location, { readonly: true }),
      TypeError,
      'In-memory/temporary databases cannot be readonly',
    );
  });

  test('false is as if it were not given', () => {
    expect(open(':memory:', { readonly: false }).readonly).toBe(false);
  });
});

describe('fileMustExist', () => {
  test('refuses a file that is not there, and makes none', () => {
    const file = newFile();
    fails(
      () => new Database(file, { fileMustExist: true }),
      'SQLITE_CANTOPEN',
      'unable to open database file',
    );
    expect(fs.existsSync(file)).toBe(false);
  });

  test('opens one that is there for writing', () => {
    const file = newFile();
    fs.writeFileSync(file, '');
    const db = open(file, { fileMustExist: true });
    db.exec('CREATE TABLE t (a)');
    expect(db.readonly).toBe(false);
  });

  test('does not hinder a database in memory', () => {
    expect(open(':memory:', { fileMustExist: true }).open).toBe(true);
    expect(open('', { fileMustExist: true }).open).toBe(true);
  });
});

describe('timeout', () => {
  test('is five seconds if none is given', () => {
    expect(open().pragma('busy_timeout', { simple: true })).toBe(5000);
  });

  test.each([[0], [1], [1234], [0x7fffffff]])('may be %d ms', (timeout) => {
    expect(open(':memory:', { timeout }).pragma('busy_timeout')).toEqual([{ timeout }]);
  });

  test.each([[-1], [1.5], [NaN], [Infinity], ['5'], [null], [undefined], [5n], [true]])(
    'is not %p',
    (timeout) => {
      refuses(
        () => new Database(':memory:', { timeout }),
        TypeError,
        'Expected the "timeout" option to be a positive integer',
      );
    },
  );

  test('is at most 2147483647', () => {
    refuses(
      () => new Database(':memory:', { timeout: 0x80000000 }),
      RangeError,
      'Option "timeout" cannot be greater than 2147483647',
    );
  });
});

describe('what SQLite is built with', () => {
  const value = (sql) => open().prepare(`SELECT ${sql}`).pluck().get();

  test('foreign keys are on', () => {
    expect(open().pragma('foreign_keys', { simple: true })).toBe(1);
  });

  test('a text in double quotes is an error', () => {
    fails(
      () => value('"text"'),
      'SQLITE_ERROR',
      'no such column: "text" - should this be a string literal in single-quotes?',
    );
  });

  test.each([
    ['sqrt(9)', 3],
    ['round(log(100), 9)', 2],
    ['pow(2, 10)', 1024],
    ['floor(1.5)', 1],
    ["json_extract('[1,2,3]', '$[1]')", 2],
    ['\'{"a":{"b":5}}\' ->> \'$.a.b\'', 5],
    ["soundex('Robert')", 'R163'],
    ['percentile(1, 50)', 1],
    ["x'61' LIKE 'a'", 0],
    ["unixepoch('1970-01-02')", 86400],
  ])('has %s', (sql, expected) => {
    expect(value(sql)).toBe(expected);
  });

  test('has FTS5, FTS4, R*Tree, geopoly and dbstat', () => {
    const db = open();
    db.exec("CREATE VIRTUAL TABLE f USING fts5 (body); INSERT INTO f VALUES ('one two'), ('three')");
    expect(db.prepare("SELECT body FROM f WHERE f MATCH 'two'").all()).toEqual([{ body: 'one two' }]);
    db.exec('CREATE VIRTUAL TABLE f4 USING fts4 (body)');
    db.exec('CREATE VIRTUAL TABLE r USING rtree (id, x0, x1); INSERT INTO r VALUES (1, 0, 10)');
    expect(db.prepare('SELECT id FROM r WHERE x0 <= 5 AND x1 >= 5').pluck().all()).toEqual([1]);
    db.exec('CREATE VIRTUAL TABLE g USING geopoly()');
    expect(db.prepare('SELECT count(*) > 0 FROM dbstat').pluck().get()).toBe(1);
  });

  onlyOn('candlestore', 'limits')('DELETE with a LIMIT is a syntax error', () => {
    const db = open();
    db.exec('CREATE TABLE t (a)');
    fails(() => db.prepare('DELETE FROM t ORDER BY a DESC LIMIT 2'), 'SQLITE_ERROR', /syntax error/);
  });

  onlyOn('better-sqlite3', 'limits')('has DELETE with a LIMIT', () => {
    const db = open();
    db.exec('CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3)');
    expect(db.prepare('DELETE FROM t ORDER BY a DESC LIMIT 2').run().changes).toBe(2);
    expect(db.prepare('SELECT a FROM t').pluck().all()).toEqual([1]);
  });

  test('a path that looks like an address is not interpreted', () => {
    const before = process.cwd();
    process.chdir(scratch());
    try {
      const db = open('file:x?mode=memory');
      db.exec("ATTACH 'file:y?mode=memory' AS other; CREATE TABLE t (a); CREATE TABLE other.t (a)");
      expect(db.memory).toBe(false);
      db.close();
      expect(fs.readdirSync('.').sort()).toEqual(['file:x?mode=memory', 'file:y?mode=memory']);
    } finally {
      process.chdir(before);
    }
  });
});
