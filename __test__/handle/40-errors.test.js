'use strict';

// SqliteError: the class, and the codes and messages of what goes wrong.

const fs = require('node:fs');
const path = require('node:path');
const { fails, attributes, newFile, open, refuses, thrown } = require('./support.js');
const { Database, SqliteError } = require('./provider.js');
const { startElsewhere } = require('../support/process.js');

const provider = path.join(__dirname, 'provider.js');

let db;
beforeEach(() => {
  db = open();
  db.exec(`
    CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL, c CHECK (c > 0), x, y, UNIQUE (x, y));
    CREATE TABLE child (parent REFERENCES t);
    CREATE TABLE named (a, CONSTRAINT positive CHECK (a > 0));
    CREATE TABLE pair (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID;
    CREATE TABLE strict (a INTEGER) STRICT;
    CREATE TRIGGER tr BEFORE DELETE ON named BEGIN SELECT RAISE(ABORT, 'not this one'); END;
    CREATE TRIGGER tf BEFORE UPDATE ON named BEGIN SELECT RAISE(FAIL, 'failed so far'); END;
    INSERT INTO t VALUES (1, 1, 1, 1, 1, 1);
    INSERT INTO named VALUES (1);
    INSERT INTO pair VALUES (1, 1)`);
});

describe('the class', () => {
  test('is an Error with message, code, name and a stack', () => {
    const error = new SqliteError('words', 'CODE');
    expect(error).toBeInstanceOf(Error);
    expect(error).toBeInstanceOf(SqliteError);
    expect([error.message, error.code, error.name]).toEqual(['words', 'CODE', 'SqliteError']);
    expect(String(error)).toBe('SqliteError: words');
    expect(error.stack).toMatch(/^SqliteError: words\n\s+at .*40-errors/);
  });

  test('has code as a property of its own that is seen, and message as errors have it', () => {
    const error = new SqliteError('words', 'CODE');
    expect(Object.keys(error)).toEqual(['code']);
    expect(attributes(error, 'code')).toBe('wec');
    expect(attributes(error, 'message')).toBe('wc');
    expect(attributes(SqliteError.prototype, 'name')).toBe('wc');
    expect(Object.hasOwn(error, 'name')).toBe(false);
    expect(JSON.stringify(error)).toBe('{"code":"CODE"}');
  });

  test('makes a text of the message', () => {
    expect(new SqliteError(7, 'CODE').message).toBe('7');
    expect(new SqliteError(undefined, 'CODE').message).toBe('undefined');
    expect(new SqliteError('', '').code).toBe('');
  });

  test.each([[undefined], [null], [7], [{}]])('refuses the code %p', (code) => {
    refuses(() => new SqliteError('words', code), TypeError, 'Expected second argument to be a string');
  });

  test('is called SqliteError and can be extended', () => {
    expect(SqliteError.name).toBe('SqliteError');
    expect(SqliteError.prototype.constructor).toBe(SqliteError);
    class Mine extends SqliteError {}
    expect(new Mine('words', 'CODE')).toBeInstanceOf(SqliteError);
    expect(new Mine('words', 'CODE').code).toBe('CODE');
  });

  test('is what the library throws, with the caller in its stack', () => {
    const error = thrown(() => db.prepare('SELEC'));
    expect(Object.getPrototypeOf(error)).toBe(SqliteError.prototype);
    expect(Object.keys(error)).toEqual(['code']);
    expect(error.stack).toMatch(/^SqliteError: near "SELEC": syntax error\n[^]*40-errors/);
  });
});

describe('constraints', () => {
  test.each([
    ['INSERT INTO t (u, n) VALUES (1, 1)', 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: t.u'],
    [
      'INSERT INTO t (n, x, y) VALUES (1, 1, 1)',
      'SQLITE_CONSTRAINT_UNIQUE',
      'UNIQUE constraint failed: t.x, t.y',
    ],
    ['INSERT INTO t (id, n) VALUES (1, 1)', 'SQLITE_CONSTRAINT_PRIMARYKEY', 'UNIQUE constraint failed: t.id'],
    [
      'INSERT INTO pair VALUES (1, 1)',
      'SQLITE_CONSTRAINT_PRIMARYKEY',
      'UNIQUE constraint failed: pair.a, pair.b',
    ],
    ['INSERT INTO pair VALUES (NULL, 1)', 'SQLITE_CONSTRAINT_NOTNULL', 'NOT NULL constraint failed: pair.a'],
    ['INSERT INTO t (u) VALUES (2)', 'SQLITE_CONSTRAINT_NOTNULL', 'NOT NULL constraint failed: t.n'],
    ['INSERT INTO t (n, c) VALUES (1, 0)', 'SQLITE_CONSTRAINT_CHECK', 'CHECK constraint failed: c > 0'],
    ['INSERT INTO named VALUES (0)', 'SQLITE_CONSTRAINT_CHECK', 'CHECK constraint failed: positive'],
    ['INSERT INTO child VALUES (77)', 'SQLITE_CONSTRAINT_FOREIGNKEY', 'FOREIGN KEY constraint failed'],
    ['DELETE FROM named', 'SQLITE_CONSTRAINT_TRIGGER', 'not this one'],
    ['UPDATE named SET a = 2', 'SQLITE_CONSTRAINT_TRIGGER', 'failed so far'],
    [
      "INSERT INTO strict VALUES ('x')",
      'SQLITE_CONSTRAINT_DATATYPE',
      'cannot store TEXT value in INTEGER column strict.a',
    ],
    [
      'INSERT INTO child (rowid) VALUES (1), (1)',
      'SQLITE_CONSTRAINT_ROWID',
      'UNIQUE constraint failed: child.rowid',
    ],
    ["INSERT INTO t (id, n) VALUES ('x', 1)", 'SQLITE_MISMATCH', 'datatype mismatch'],
  ])('%s fails with %s', (sql, code, message) => {
    const statement = db.prepare(sql);
    fails(() => statement.run(), code, message);
    fails(() => statement.run(), code, message);
    fails(() => db.exec(sql), code, message);
    for (const act of ['all', 'get', 'run'])
      fails(() => db.prepare(`${sql} RETURNING 1`)[act](), code, message);
    fails(() => db.prepare(`${sql} RETURNING 1`).iterate().next(), code, message);
    expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(1);
    expect(db.inTransaction).toBe(false);
  });

  test('a deferred foreign key fails at COMMIT, and the transaction stays open', () => {
    db.exec(
      'CREATE TABLE later (parent REFERENCES t DEFERRABLE INITIALLY DEFERRED); BEGIN; INSERT INTO later VALUES (9)',
    );
    fails(() => db.prepare('COMMIT').run(), 'SQLITE_CONSTRAINT_FOREIGNKEY', 'FOREIGN KEY constraint failed');
    expect(db.inTransaction).toBe(true);
    db.exec('DELETE FROM later; COMMIT');
  });

  test('a statement that fails within a transaction leaves it open', () => {
    db.exec('BEGIN');
    fails(() => db.exec('INSERT INTO t (u, n) VALUES (1, 1)'), 'SQLITE_CONSTRAINT_UNIQUE');
    expect(db.inTransaction).toBe(true);
    db.exec('ROLLBACK');
  });
});

describe('SQL', () => {
  test.each([
    ['SELECT abs(-9223372036854775807 - 1)', 'SQLITE_ERROR', 'integer overflow'],
    ["SELECT json('{')", 'SQLITE_ERROR', 'malformed JSON'],
    ["SELECT 1 WHERE 'x' MATCH 'y'", 'SQLITE_ERROR', 'unable to use function MATCH in the requested context'],
    ['SELECT randomblob(1 << 30)', 'SQLITE_TOOBIG', 'string or blob too big'],
  ])('%s fails when it runs', (sql, code, message) => {
    const statement = db.prepare(sql);
    for (const act of [
      () => statement.get(),
      () => statement.all(),
      () => [...statement.iterate()],
      () => statement.run(),
    ]) {
      fails(act, code, message);
    }
  });

  test('a savepoint that is not there, a table that exists, a view that is written', () => {
    fails(() => db.exec('RELEASE nowhere'), 'SQLITE_ERROR', 'no such savepoint: nowhere');
    fails(() => db.exec('CREATE TABLE t (a)'), 'SQLITE_ERROR', 'table t already exists');
    db.exec('CREATE VIEW v AS SELECT 1 AS a');
    fails(() => db.exec('INSERT INTO v VALUES (1)'), 'SQLITE_ERROR', 'cannot modify v because it is a view');
  });

  test('messages have any letters', () => {
    fails(() => db.prepare('SELECT * FROM "é😀"'), 'SQLITE_ERROR', 'no such table: é😀');
    db.exec(`CREATE TRIGGER tu BEFORE INSERT ON pair BEGIN SELECT RAISE(ABORT, 'é😀'); END`);
    fails(() => db.exec('INSERT INTO pair VALUES (5, 5)'), 'SQLITE_CONSTRAINT_TRIGGER', 'é😀');
  });
});

describe('files', () => {
  test('a table that another statement reads cannot be dropped: SQLITE_LOCKED', () => {
    db.unsafeMode();
    const iterator = db.prepare('SELECT * FROM t').iterate();
    iterator.next();
    fails(() => db.exec('DROP TABLE child'), 'SQLITE_LOCKED', 'database table is locked');
    iterator.return();
    db.exec('DROP TABLE child');
  });

  test('a file full of nonsense after its header is SQLITE_CORRUPT', () => {
    const file = newFile();
    const made = open(file);
    made.exec('CREATE TABLE t (a)');
    made.prepare('INSERT INTO t VALUES (zeroblob(?))').run(20_000);
    made.close();
    const bytes = fs.readFileSync(file);
    bytes.fill(0xff, 4096);
    fs.writeFileSync(file, bytes);
    fails(
      () => open(file).prepare('SELECT * FROM t').all(),
      'SQLITE_CORRUPT',
      'database disk image is malformed',
    );
  });

  test('a file of which the size is limited is SQLITE_FULL', () => {
    const made = open(newFile());
    made.exec('PRAGMA max_page_count = 3; CREATE TABLE t (a)');
    const insert = made.prepare('INSERT INTO t VALUES (zeroblob(100000))');
    fails(() => insert.run(), 'SQLITE_FULL', 'database or disk is full');
    expect(made.prepare('SELECT count(*) FROM t').pluck().get()).toBe(0);
  });

  test('a file that another program removed is told of at the next write', () => {
    const file = newFile();
    const made = open(file);
    made.exec('CREATE TABLE t (a)');
    fs.unlinkSync(file);
    fails(
      () => made.exec('INSERT INTO t VALUES (1)'),
      'SQLITE_READONLY_DBMOVED',
      'attempt to write a readonly database',
    );
  });

  test.each([['DELETE'], ['WAL']])('another process that writes is SQLITE_BUSY (%s)', async (mode) => {
    const file = newFile();
    const made = open(file, { timeout: 0 });
    made.pragma(`journal_mode = ${mode}`);
    made.exec('CREATE TABLE t (a)');
    const other = startElsewhere(
      async ({ require, say, hear }, provider_, file_) => {
        const held = new (require(provider_).Database)(file_);
        held.exec('BEGIN IMMEDIATE; INSERT INTO t VALUES (1)');
        say('holds');
        await hear();
        held.exec('COMMIT');
        held.close();
        say('let go');
      },
      [provider, file],
    );
    expect(await other.next()).toBe('holds');
    const insert = made.prepare('INSERT INTO t VALUES (2)');
    fails(() => insert.run(), 'SQLITE_BUSY', 'database is locked');
    fails(() => made.exec('BEGIN IMMEDIATE'), 'SQLITE_BUSY', 'database is locked');
    expect(made.inTransaction).toBe(false);
    expect(made.prepare('SELECT count(*) FROM t').pluck().get()).toBe(0);
    other.tell('go on');
    expect(await other.next()).toBe('let go');
    expect(insert.run()).toEqual({ changes: 1, lastInsertRowid: 2 });
    await other.ended;
  });

  test('a write waits for another process as long as the timeout says', async () => {
    const file = newFile();
    const made = open(file, { timeout: 15_000 });
    made.pragma('journal_mode = WAL');
    made.exec('CREATE TABLE t (a)');
    const other = startElsewhere(
      async ({ require, say }, provider_, file_) => {
        const held = new (require(provider_).Database)(file_);
        held.exec('BEGIN IMMEDIATE; INSERT INTO t VALUES (1)');
        say('holds');
        setTimeout(() => {
          held.exec('COMMIT');
          held.close();
        }, 200);
      },
      [provider, file],
    );
    expect(await other.next()).toBe('holds');
    expect(made.prepare('INSERT INTO t VALUES (2)').run()).toEqual({ changes: 1, lastInsertRowid: 2 });
    expect((await other.ended).code).toBe(0);
  });
});

test('errors of the library that are not SQLite’s have no code', () => {
  for (const act of [
    () => db.prepare(''),
    () => db.prepare(7),
    () => db.prepare('SELECT ?').get(),
    () => new Database(7),
  ]) {
    const error = thrown(act);
    expect(error).not.toBeInstanceOf(SqliteError);
    expect(error.code).toBeUndefined();
  }
});
