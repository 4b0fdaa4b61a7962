'use strict';

// close(), and what is left of a database and its statements afterwards.

const fs = require('node:fs');
const { BUSY, CLOSED, LOCKED, newFile, open, openTable, refuses } = require('./support.js');

test('close() gives the database back, which is closed', () => {
  const db = open();
  expect(db.close()).toBe(db);
  expect(db.open).toBe(false);
});

test('close() a second time does nothing', () => {
  const db = open();
  db.close();
  expect(db.close()).toBe(db);
});

test('a closed database keeps its name and its kind', () => {
  const file = newFile();
  const db = open(file);
  db.exec('BEGIN');
  expect(db.inTransaction).toBe(true);
  db.close();
  expect({ ...db }).toEqual({
    name: file,
    open: false,
    inTransaction: false,
    readonly: false,
    memory: false,
  });
});

test('every method of a closed database says that it is not open', async () => {
  const db = openTable();
  const transaction = db.transaction(() => 1);
  db.close();
  for (const act of [
    () => db.prepare('SELECT 1'),
    () => db.exec('SELECT 1'),
    () => db.exec(''),
    () => db.pragma('user_version'),
    () => db.explain('SELECT 1'),
    () => db.serialize(),
    () => db.unsafeMode(),
    () => transaction(),
    () => transaction.immediate(),
  ]) {
    refuses(act, TypeError, CLOSED);
  }
  await expect(db.backup(newFile())).rejects.toMatchObject({ name: 'TypeError', message: CLOSED });
});

test('no transaction is made of a closed database', () => {
  const db = open();
  db.close();
  refuses(() => db.transaction(() => 1), TypeError, CLOSED);
});

test('defaultSafeIntegers() works on a closed database', () => {
  const db = open();
  db.close();
  expect(db.defaultSafeIntegers()).toBe(db);
});

test('the arguments are looked at before it is looked whether the database is open', () => {
  const db = open();
  db.close();
  refuses(() => db.prepare(7), TypeError, 'Expected first argument to be a string');
  refuses(() => db.exec(7), TypeError, 'Expected first argument to be a string');
  refuses(() => db.pragma(7), TypeError, 'Expected first argument to be a string');
  refuses(() => db.transaction(7), TypeError, 'Expected first argument to be a function');
});

test('statements of a closed database run no more', () => {
  const db = openTable();
  const select = db.prepare('SELECT * FROM t WHERE b > ?');
  const insert = db.prepare('INSERT INTO t VALUES (?, ?, ?, ?)');
  db.close();
  for (const act of [
    () => select.get(1),
    () => select.all(1),
    () => select.iterate(1),
    () => select.run(1),
    () => select.bind(1),
    () => select.columns(),
    () => insert.run(1, 2, 3, 4),
  ]) {
    refuses(act, TypeError, CLOSED);
  }
});

test('statements of a closed database still say what they are', () => {
  const db = openTable();
  const select = db.prepare('SELECT ?').bind(7);
  db.close();
  expect(select).toMatchObject({ source: 'SELECT ?', reader: true, readonly: true, busy: false });
  expect(select.database).toBe(db);
  expect(String(select)).toBe('SELECT ?');
});

test('modes of statements may be set on a closed database', () => {
  const db = openTable();
  const select = db.prepare('SELECT 1');
  db.close();
  expect(select.pluck()).toBe(select);
  expect(select.expand()).toBe(select);
  expect(select.raw()).toBe(select);
  expect(select.safeIntegers()).toBe(select);
});

test('a statement that returns no data says so even when closed', () => {
  const db = openTable();
  const insert = db.prepare("INSERT INTO t (a) VALUES ('x')");
  db.close();
  refuses(() => insert.get(), TypeError, 'This statement does not return data. Use run() instead');
  refuses(() => insert.pluck(), TypeError, 'The pluck() method is only for statements that return data');
});

test('a transaction that is open is rolled back', () => {
  const file = newFile();
  const db = openTable(1, file);
  db.exec("BEGIN; INSERT INTO t (a) VALUES ('lost')");
  db.close();
  expect(open(file).prepare('SELECT count(*) FROM t').pluck().get()).toBe(1);
});

test('an open iterator keeps the database from being closed until it has ended', () => {
  const db = openTable();
  const iterator = db.prepare('SELECT * FROM t').iterate();
  refuses(() => db.close(), TypeError, BUSY);
  expect(db.open).toBe(true);
  iterator.return();
  expect(db.close().open).toBe(false);
  expect(iterator.next()).toEqual({ value: undefined, done: true });
  expect(iterator.return()).toEqual({ value: undefined, done: true });
});

test('unsafe mode does not let a database close while an iterator is open', () => {
  const db = openTable().unsafeMode();
  const iterator = db.prepare('SELECT * FROM t').iterate();
  refuses(() => db.close(), TypeError, BUSY);
  iterator.return();
});

test('a statement that iterates refuses modes, and a mode does not wait for others', () => {
  const db = openTable();
  const busy = db.prepare('SELECT * FROM t');
  const other = db.prepare('SELECT * FROM t');
  const iterator = busy.iterate();
  refuses(() => busy.pluck(), TypeError, LOCKED);
  expect(other.pluck()).toBe(other);
  iterator.return();
});

test('the log of the last connection in WAL mode goes with it', () => {
  const file = newFile();
  const db = openTable(1, file);
  db.pragma('journal_mode = WAL');
  db.exec("INSERT INTO t (a) VALUES ('more')");
  expect(fs.existsSync(`${file}-wal`)).toBe(true);
  db.close();
  expect(fs.existsSync(`${file}-wal`)).toBe(false);
  expect(open(file, { readonly: true }).prepare('SELECT count(*) FROM t').pluck().get()).toBe(2);
});

test('a file may be removed and made anew after close()', () => {
  const file = newFile();
  openTable(1, file).close();
  fs.unlinkSync(file);
  expect(openTable(2, file).prepare('SELECT count(*) FROM t').pluck().get()).toBe(2);
});
