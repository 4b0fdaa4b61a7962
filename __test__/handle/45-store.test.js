'use strict';

// The db and dbReadOnly of a store of candles are Databases.

const { onlyOn } = require('./differences.js');
const { Database, openStore } = require('./provider.js');
const { fails, newFile, refuses, thrown } = require('./support.js');

const candlestore = onlyOn('candlestore', 'storeDb');

let store;
afterEach(async () => {
  await store?.close();
  store = null;
});

candlestore('db and dbReadOnly are Databases on the file of the store', () => {
  store = openStore(newFile());
  for (const db of [store.db, store.dbReadOnly]) {
    expect(db).toBeInstanceOf(Database);
    expect(Object.keys(db).sort()).toEqual(['inTransaction', 'memory', 'name', 'open', 'readonly']);
    expect(db.prepare('SELECT 1').database).toBe(db);
  }
  expect([store.db.readonly, store.dbReadOnly.readonly]).toEqual([false, true]);
  store.db.exec('CREATE TABLE mine (a); INSERT INTO mine VALUES (1)');
  expect(store.dbReadOnly.prepare('SELECT a FROM mine').get()).toEqual({ a: 1 });
  fails(
    () => store.dbReadOnly.exec('DELETE FROM mine'),
    'SQLITE_READONLY',
    'attempt to write a readonly database',
  );
});

candlestore('closing db closes the store', () => {
  store = openStore(newFile());
  const select = store.db.prepare('SELECT 1');
  store.db.close();
  expect([store.db.open, store.dbReadOnly.open]).toEqual([false, false]);
  refuses(() => select.get(), TypeError, 'The database connection is not open');
  expect(thrown(() => store.getLastCandleTime('candles_15', 'BINANCE:BTCUSDT')).code).toBe('CLOSED');
});

candlestore('closing the store closes db', async () => {
  store = openStore(newFile());
  await store.close();
  expect([store.db.open, store.dbReadOnly.open]).toEqual([false, false]);
  refuses(() => store.db.prepare('SELECT 1'), TypeError, 'The database connection is not open');
});
