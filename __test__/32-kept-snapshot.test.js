'use strict';

// Reads that follow each other closely on a raw handle share a snapshot: each still sees the newest commit, whoever made it, and
// the write-ahead log is free again when the caller's code has had its turn.

const { setImmediate: turn } = require('node:timers/promises');
const { Database } = require('..');
const { python } = require('./support/process.js');
const { newFile, open } = require('./support/store.js');

const HANDLES = ['Database', 'store.db', 'store.dbReadOnly'];
const ends = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

/** A handle on a file with a table of one number. */
function handle(name) {
  const store = open(newFile());
  store.db.exec('CREATE TABLE n (value INTEGER); INSERT INTO n VALUES (0)');
  if (name !== 'Database') return { store, db: name === 'store.db' ? store.db : store.dbReadOnly };
  const db = new Database(store.db.name);
  ends.push(() => db.close());
  return { store, db };
}

describe.each(HANDLES)('%s', (name) => {
  test('reads each commit of another handle at once, in the same turn', () => {
    const { store, db } = handle(name);
    const read = db.prepare('SELECT value FROM n').pluck();
    const other = new Database(store.db.name);
    ends.push(() => other.close());
    const writers = [store.db, other].map((writer) => writer.prepare('UPDATE n SET value = ?'));
    for (let value = 1; value <= 3_000; value++) {
      for (let again = 0; again < value % 4; again++) read.get();
      writers[value % 2].run(value);
      if (read.get() !== value) expect([value, read.get()]).toEqual([value, value]);
    }
    expect(read.get()).toBe(3_000);
  });

  test('reads the commits of another process while it never gives up its turn', async () => {
    const { store, db } = handle(name);
    const read = db.prepare('SELECT value FROM n').pluck();
    const other = await python(store.db.name);
    const written = other.sql(
      'WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000) UPDATE n SET value = (SELECT max(x) FROM c)',
    );
    const deadline = Date.now() + 20_000;
    while (read.get() === 0 && Date.now() < deadline);
    expect(read.get()).toBe(2_000_000);
    await written;
    await other.end();
  });

  test('sees a table that another handle has changed', () => {
    const { store, db } = handle(name);
    const read = db.prepare('SELECT * FROM n');
    for (let count = 1; count <= 20; count++) {
      for (let again = 0; again < 3; again++) read.get();
      store.db.exec(`ALTER TABLE n ADD COLUMN c${count} DEFAULT ${count}`);
      expect(Object.values(read.get())).toHaveLength(count + 1);
    }
  });

  test('leaves the log to a checkpoint in the same turn, and to other processes after it', async () => {
    const { store, db } = handle(name);
    const read = db.prepare('SELECT value FROM n').pluck();
    const other = new Database(store.db.name);
    ends.push(() => other.close());
    for (let again = 0; again < 100; again++) read.get();
    other.exec('UPDATE n SET value = 7');
    for (let again = 0; again < 100; again++) read.get();
    expect(other.pragma('wal_checkpoint(TRUNCATE)')).toEqual([{ busy: 0, log: 0, checkpointed: 0 }]);
    other.exec('UPDATE n SET value = 8');
    for (let again = 0; again < 100; again++) read.get();
    const stranger = await python(store.db.name);
    await turn();
    expect((await stranger.sql('PRAGMA wal_checkpoint(TRUNCATE)'))[0][0]).toBe(0);
    await stranger.end();
    expect(read.get()).toBe(8);
  });
});
