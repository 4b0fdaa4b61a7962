'use strict';

// A database that is damaged or has no room: what is said, and that nothing is pretended.

const fs = require('node:fs');
const {
  SYMBOL,
  TABLE,
  all,
  candle,
  candles,
  failure,
  newFile,
  open,
  sqliteFailure,
} = require('./support/store.js');
const { python } = require('./support/process.js');
const { until } = require('./support/until.js');

/** A file of many pages of which all but the first few are overwritten. */
async function damaged() {
  const file = newFile();
  const store = open(file);
  store.upsertCandles(TABLE, SYMBOL, candles(20_000));
  store.db.pragma('wal_checkpoint(TRUNCATE)');
  await store.close();
  const size = fs.statSync(file).size;
  const descriptor = fs.openSync(file, 'r+');
  // The schema stays readable, so that the file opens.
  const kept = 8192 * 8;
  fs.writeSync(descriptor, Buffer.alloc(size - kept, 0xa5), 0, size - kept, kept);
  fs.closeSync(descriptor);
  for (const end of ['-wal', '-shm']) fs.rmSync(file + end, { force: true });
  return file;
}

test('a damaged file is reported as CORRUPT by reads, and the process lives', async () => {
  const store = open(await damaged());
  const corrupt = failure({ code: 'CORRUPT', retryable: false });
  expect(() => all(store)).toThrow(corrupt);
  await expect(store.readCandles({ table: TABLE, symbol: SYMBOL, limit: 20_000 })).rejects.toEqual(corrupt);
  expect(() => store.db.prepare('SELECT sum(close) FROM candles_15').get()).toThrow(
    sqliteFailure(
      'SQLITE_CORRUPT',
      { code: 'CORRUPT', retryable: false },
      { message: 'database disk image is malformed' },
    ),
  );
  expect(() => store.db.prepare('SELECT nothing')).toThrow(
    sqliteFailure('SQLITE_ERROR', { code: 'SQL_ERROR' }),
  );
});

test('a write that meets the damage stops all writing: POISONED for what waits and what comes, and an event', async () => {
  const store = open(await damaged());
  const events = [];
  store.on('store-error', (error) => events.push(error));
  const before = Array.from({ length: 5 }, (_, n) =>
    store.enqueueCandles(TABLE, SYMBOL, candles(2000, n * 4000, { close: 1 })).then(
      () => 'done',
      (error) => error,
    ),
  );
  const outcomes = await Promise.all(before);
  for (const outcome of outcomes)
    expect(outcome).toEqual(
      failure({
        code: expect.stringMatching(/^(CORRUPT|POISONED)$/),
        written: expect.stringMatching(/^(no|unknown)$/),
      }),
    );
  await until(() => events.length > 0);
  expect(events[0]).toEqual(failure({ code: 'CORRUPT' }));
  const poisoned = failure({ code: 'POISONED', written: 'no', retryable: false });
  expect(() => store.upsertCandle(TABLE, SYMBOL, candle(0))).toThrow(poisoned);
  expect(() => store.deleteCandles(60, SYMBOL)).toThrow(poisoned);
  await expect(store.enqueueCandles(60, SYMBOL, [candle(0)])).rejects.toEqual(poisoned);
  await expect(store.enqueueWrite('DELETE FROM candles_60')).rejects.toEqual(poisoned);
  await store.flush();
  await store.close();
});

test('a store on a full database says DISK_FULL, has written nothing of the batch, and goes on when there is room', async () => {
  const store = open(undefined, { breaker: { recoveryMs: 100 } });
  store.upsertCandles(TABLE, SYMBOL, candles(100));
  const pages = store.db.pragma('page_count', { simple: true });
  store.db.pragma(`max_page_count = ${pages + 2}`);
  const full = failure({ code: 'DISK_FULL', written: 'no', retryable: true, sqliteCode: 'SQLITE_FULL' });
  expect(() => store.upsertCandles(TABLE, SYMBOL, candles(20_000, 100))).toThrow(full);
  const transaction = store.db.transaction(() => {
    for (const each of candles(20_000, 100)) store.upsertCandle(TABLE, SYMBOL, each);
  });
  const facts = { code: 'BREAKER_OPEN', written: 'no', retryable: true };
  const suspended = failure(facts);
  expect(transaction).toThrow(sqliteFailure('SQLITE_IOERR', facts));
  expect(() => store.upsertCandle(TABLE, SYMBOL, candle(0))).toThrow(suspended);
  await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(0)])).rejects.toEqual(suspended);
  const isTried = () => store.getStats().breaker !== 'open';
  await until(isTried);
  expect(transaction).toThrow(failure({ code: 'DISK_FULL', written: 'no' }));
  expect(store.db.inTransaction).toBe(false);
  expect(all(store)).toEqual(candles(100));
  expect(store.getStats().candles_15).toBe(100);
  store.db.pragma('max_page_count = 1000000');
  await until(isTried);
  store.upsertCandles(TABLE, SYMBOL, candles(20_000, 100));
  expect(store.getStats()).toMatchObject({ candles_15: 20_100, breaker: 'closed' });
});

test('a -wal file of another database beside the file is not taken for its own', async () => {
  const [first, second] = [newFile(), newFile()];
  for (const file of [first, second]) {
    const store = open(file);
    store.upsertCandles(TABLE, SYMBOL, file === first ? candles(3) : candles(5, 100));
    store.db.pragma('wal_checkpoint(TRUNCATE)');
    store.upsertCandle(60, SYMBOL, candle(1));
    await store.close();
  }
  fs.rmSync(`${first}-shm`, { force: true });
  fs.copyFileSync(`${second}-wal`, `${first}-wal`);
  const store = open(first);
  expect(store.db.pragma('integrity_check', { simple: true })).toBe('ok');
  expect(all(store)).toEqual(candles(3));
});

test('a file that is replaced by another while its store is idle is read as what it is now, or refused', async () => {
  const [file, other] = [newFile(), newFile()];
  const store = open(file);
  store.upsertCandle(TABLE, SYMBOL, candle(0));
  await store.close();
  const source = open(other);
  source.upsertCandles(TABLE, SYMBOL, candles(3, 50));
  await source.close();
  for (const end of ['', '-wal', '-shm']) {
    fs.rmSync(file + end, { force: true });
    if (fs.existsSync(other + end)) fs.renameSync(other + end, file + end);
  }
  expect(all(open(file))).toEqual(candles(3, 50));
});

test('a process that was killed in the middle of a checkpoint leaves a file that opens whole', async () => {
  const file = newFile();
  const store = open(file);
  store.upsertCandles(TABLE, SYMBOL, candles(5000));
  // A reader in another process keeps the -wal from being emptied; copying all three is what is left by a kill.
  const other = python(file);
  await other.sql('BEGIN');
  await other.sql('SELECT count(*) FROM candles_15');
  store.upsertCandles(TABLE, SYMBOL, candles(5000, 5000));
  await other.sql('COMMIT');
  await other.end();
  await store.close();
  const copy = newFile();
  for (const end of ['', '-wal']) if (fs.existsSync(file + end)) fs.copyFileSync(file + end, copy + end);
  const again = open(copy);
  expect(all(again)).toEqual(candles(10_000));
  expect(again.db.pragma('integrity_check', { simple: true })).toBe('ok');
});
