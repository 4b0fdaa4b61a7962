'use strict';

// The end of a process: nothing of a database keeps it alive, and nothing of it crashes.

const path = require('node:path');
const { newFile, open, openTable } = require('./support.js');
const { runElsewhere, startElsewhere } = require('../support/process.js');

const provider = path.join(__dirname, 'provider.js');

const ENDED = { code: 0, signal: null, stderr: '' };

let file;
beforeEach(() => {
  file = newFile();
  const db = openTable(3, file);
  db.pragma('journal_mode = WAL');
  db.close();
});

test('an open database, statement, iterator and transaction do not keep a process alive', async () => {
  const ended = await runElsewhere(
    ({ require, say }, provider_, location) => {
      const { Database } = require(provider_);
      const db = new Database(location);
      const memory = new Database(':memory:');
      db.exec('BEGIN; DELETE FROM t');
      globalThis.kept = [db, memory, db.prepare('SELECT 1').iterate(), memory.prepare('SELECT 1').iterate()];
      globalThis.kept[2].next();
      say('ends');
    },
    [provider, file],
  );
  expect(ended).toMatchObject({ ...ENDED, said: ['ends'] });
  expect(open(file).prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
});

test.each([
  [
    'in a loop over rows',
    () => (db) => {
      for (const row of db.prepare('SELECT * FROM t').iterate()) if (row) process.exit(7);
    },
  ],
  [
    'in a transaction',
    () => (db) =>
      db.transaction(() => {
        db.exec('DELETE FROM t');
        process.exit(7);
      })(),
  ],
  [
    'after BEGIN',
    () => (db) => {
      db.exec('BEGIN IMMEDIATE; DELETE FROM t');
      process.exit(7);
    },
  ],
  [
    'in the progress of a backup',
    () => (db, to) => {
      db.backup(to, { progress: () => process.exit(7) });
    },
  ],
  [
    'in a getter of parameters',
    () => (db) =>
      db.prepare('SELECT :a').get({
        get a() {
          return process.exit(7);
        },
      }),
  ],
])('process.exit() %s ends with its code, and nothing is committed', async (_, make) => {
  const ended = await runElsewhere(
    ({ require }, provider_, location, to, text) => {
      const { Database } = require(provider_);
      globalThis.eval(text)()(new Database(location), to);
    },
    [provider, file, newFile(), `(${make})`],
  );
  expect(ended).toMatchObject({ ...ENDED, code: 7 });
  expect(open(file).prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
});

test('process.exit() in the verbose function ends with its code', async () => {
  const ended = await runElsewhere(
    ({ require }, provider_, location) => {
      const { Database } = require(provider_);
      new Database(location, { verbose: () => process.exit(7) }).exec('DELETE FROM t');
    },
    [provider, file],
  );
  expect(ended).toMatchObject({ ...ENDED, code: 7 });
});

test('a database may be used and closed in the last event of a process', async () => {
  const ended = await runElsewhere(
    ({ require, say }, provider_, location) => {
      const db = new (require(provider_).Database)(location);
      process.on('exit', () => {
        db.prepare('INSERT INTO t (b) VALUES (4)').run();
        db.close();
        say(db.open);
      });
    },
    [provider, file],
  );
  expect(ended).toMatchObject({ ...ENDED, said: [false] });
  expect(open(file).prepare('SELECT count(*) FROM t').pluck().get()).toBe(4);
});

test('an error that nobody catches ends a process with 1, and nothing is committed', async () => {
  const ended = await runElsewhere(
    ({ require }, provider_, location) => {
      const db = new (require(provider_).Database)(location);
      setImmediate(() =>
        db.transaction(() => {
          db.exec('DELETE FROM t');
          db.exec('INSERT INTO nowhere VALUES (1)');
        })(),
      );
    },
    [provider, file],
  );
  expect(ended.code).toBe(1);
  expect(ended.stderr).toMatch(/SqliteError: no such table: nowhere/);
  expect(ended.stderr).toMatch(/code: 'SQLITE_ERROR'/);
  expect(open(file).prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
});

test('databases that nobody holds any more are collected, with all that was open', async () => {
  const ended = await runElsewhere(
    ({ require, say }, provider_) => {
      const { Database } = require(provider_);
      for (let n = 0; n < 200; n += 1) {
        const db = new Database(':memory:');
        db.exec('CREATE TABLE t (a); INSERT INTO t VALUES (1)');
        const statement = db.prepare('SELECT * FROM t');
        statement.iterate().next();
        if (n % 2) statement.database.prepare('SELECT 1').get();
        if (n % 20 === 0) globalThis.gc();
      }
      globalThis.gc();
      say('done');
    },
    [provider],
    { nodeArgs: ['--expose-gc'] },
  );
  expect(ended).toMatchObject({ ...ENDED, said: ['done'] });
});

test('a statement keeps its database, and an iterator its statement', async () => {
  const ended = await runElsewhere(
    async ({ require, say }, provider_) => {
      const { Database } = require(provider_);
      const statement = (() => {
        const db = new Database(':memory:');
        db.exec('CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)');
        return db.prepare('SELECT a FROM t');
      })();
      const iterator = (() => statement.database.prepare('SELECT a FROM t').iterate())();
      for (let n = 0; n < 5; n += 1) {
        globalThis.gc();
        await new Promise((resolve) => setImmediate(resolve));
      }
      say([statement.all(), [...iterator]]);
    },
    [provider],
    { nodeArgs: ['--expose-gc'] },
  );
  const rows = [{ a: 1 }, { a: 2 }];
  expect(ended).toMatchObject({ ...ENDED, said: [[rows, rows]] });
});

test('a process that is killed in a transaction leaves the file as it was, and unlocked', async () => {
  const other = startElsewhere(
    async ({ require, say, hear }, provider_, location) => {
      const db = new (require(provider_).Database)(location);
      db.exec('BEGIN IMMEDIATE; DELETE FROM t');
      say('holds');
      await hear();
      db.exec('COMMIT');
    },
    [provider, file],
  );
  expect(await other.next()).toBe('holds');
  await other.kill();
  const db = open(file, { timeout: 0 });
  expect(db.prepare('DELETE FROM t').run().changes).toBe(3);
});
