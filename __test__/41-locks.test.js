'use strict';

// Another process holds the write lock of the file: who waits, for how long, and what they are told.

const { python, startElsewhere } = require('./support/process.js');
const { until } = require('./support/until.js');
const { SYMBOL, TABLE, all, candle, candles, failure, newFile, open } = require('./support/store.js');

let other;
let store;

/** A store with a short patience, and another process on its file. */
async function lockable(options = { busyTimeoutMs: 100 }) {
  store = open(newFile(), options);
  store.upsertCandle(TABLE, 'X:BEFORE', candle(0));
  other = python(store.db.name);
  await other.sql('SELECT 1');
}
const lock = () => other.sql('BEGIN IMMEDIATE');
const release = () => other.sql('COMMIT');
afterEach(() => other?.end());

const SYNCHRONOUS = {
  upsertCandle: () => store.upsertCandle(TABLE, SYMBOL, candle(0)),
  upsertCandles: () => store.upsertCandles(TABLE, SYMBOL, candles(3)),
  deleteCandles: () => store.deleteCandles(TABLE, 'X:BEFORE'),
  'db.exec': () => store.db.exec('DELETE FROM candles_15'),
  'db.exec of BEGIN': () => store.db.exec('BEGIN'),
  'prepare().run': () => store.db.prepare('DELETE FROM candles_15').run(),
  'prepare().all with RETURNING': () => store.db.prepare('DELETE FROM candles_15 RETURNING time').all(),
  'db.transaction': () => store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(0)))(),
};

test('a synchronous write waits, then throws TIMEOUT that names the holder, and nothing is written', async () => {
  await lockable();
  await lock();
  let waits = store.getStats().lockWaitCount;
  for (const [name, write] of Object.entries(SYNCHRONOUS)) {
    let error = null;
    try {
      write();
    } catch (thrown) {
      error = thrown;
    }
    expect([name, error]).toEqual([
      name,
      failure({ code: 'TIMEOUT', retryable: true, written: 'no', holderPid: other.child.pid }),
    ]);
    expect(error.waitedMs).toBeGreaterThanOrEqual(100);
    expect(error.attempts).toBeGreaterThan(1);
    expect(error.message).toContain(String(other.child.pid));
    expect(error.message).toContain(store.db.name);
    expect(store.db.inTransaction).toBe(false);
    waits += 1;
    expect(store.getStats()).toMatchObject({ lockWaitCount: waits, lockTimeoutCount: waits });
  }
  await release();
  expect(all(store, 'X:BEFORE')).toEqual([candle(0)]);
  expect(all(store)).toEqual([]);
  SYNCHRONOUS.upsertCandles();
  expect(all(store)).toEqual(candles(3));
});

test('with busyTimeoutMs 0 a synchronous write does not wait', async () => {
  await lockable({ busyTimeoutMs: 0 });
  await lock();
  expect(SYNCHRONOUS.upsertCandle).toThrow(failure({ code: 'TIMEOUT', written: 'no' }));
  await release();
  SYNCHRONOUS.upsertCandle();
  expect(all(store)).toEqual([candle(0)]);
});

test('a synchronous write gets the lock when it is released in time', async () => {
  await lockable({ busyTimeoutMs: 20_000 });
  const holder = startElsewhere(
    async ({ require: load, say, hear }, file) => {
      const held = load('candlestore').openStore(file, { busyTimeoutMs: 20000 });
      held.db.exec('BEGIN');
      say('held');
      await hear();
      await new Promise((resolve) => setTimeout(resolve, 100));
      held.db.exec('COMMIT');
      await held.close();
    },
    [store.db.name],
  );
  await holder.next();
  holder.tell('release soon');
  // Blocks this thread until the other process lets go.
  SYNCHRONOUS.upsertCandle();
  expect(all(store)).toEqual([candle(0)]);
  const { lockWaitCount, lockTimeoutCount, lockWaitMeanMs, lockWaitMaxMs } = store.getStats();
  expect({ lockWaitCount, lockTimeoutCount }).toEqual({ lockWaitCount: 1, lockTimeoutCount: 0 });
  expect(lockWaitMeanMs).toBeGreaterThan(0);
  expect(lockWaitMaxMs).toBeGreaterThanOrEqual(lockWaitMeanMs);
  expect(await holder.ended).toMatchObject({ code: 0 });
});

test('queued writes wait without a limit and are committed after the release', async () => {
  await lockable({ busyTimeoutMs: 0 });
  await lock();
  let settled = 0;
  const queued = Array.from({ length: 20 }, (_, n) =>
    store.enqueueCandles(TABLE, SYMBOL, candles(10, n * 10)).finally(() => (settled += 1)),
  );
  // The writer thread is at it, and has been for a while.
  await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(0)], { timeoutMs: 200 })).rejects.toEqual(
    failure({ code: 'TIMEOUT', written: 'no', holderPid: other.child.pid }),
  );
  expect(settled).toBe(0);
  expect(store.getStats()).toMatchObject({ queuedBatches: 20, queuedRows: 200 });
  await release();
  for (const { inserted, queuedMs } of await Promise.all(queued)) {
    expect(inserted).toBe(10);
    expect(queuedMs).toBeGreaterThanOrEqual(200);
  }
  expect(all(store)).toEqual(candles(200));
  expect(store.getStats().lockWaitCount).toBeGreaterThan(0);
});

test('readers never wait for a writer', async () => {
  await lockable({ busyTimeoutMs: 0 });
  store.upsertCandles(TABLE, SYMBOL, candles(10));
  await lock();
  await other.sql('DELETE FROM candles_15');
  const queued = store.enqueueCandles(TABLE, 'X:Y', candles(3));
  for (let n = 0; n < 50; n++) {
    expect(all(store)).toEqual(candles(10));
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(candle(9).time);
    expect(store.getCandles(TABLE, SYMBOL, 5, null, true)).toEqual(candles(5, 5));
    expect(store.getStats().candles_15).toBe(11);
    expect(store.db.prepare('SELECT count(*) FROM candles_15').pluck().get()).toBe(11);
    expect(store.dbReadOnly.prepare('SELECT count(*) FROM candles_15').pluck().get()).toBe(11);
    expect(await store.readCandles({ table: TABLE, symbol: SYMBOL })).toEqual(candles(10));
  }
  // A store that is opened meanwhile reads, too.
  const late = startElsewhere(
    ({ require: load, say }, file) => {
      const reading = load('candlestore').openStore(file, { readOnly: true });
      say(reading.getCandles('candles_15', 'BINANCE:BTCUSDT').length);
      return reading.close();
    },
    [store.db.name],
  );
  expect(await late.next()).toBe(10);
  await other.sql('ROLLBACK');
  await queued;
});

test('a synchronous write goes ahead of the queue while both wait for the lock', async () => {
  await lockable({ busyTimeoutMs: 20_000 });
  await lock();
  const queued = store.enqueueCandles(TABLE, SYMBOL, [candle(0, { close: 1 })], { priority: 'backfill' });
  await until(() => store.getStats().queuedBatches === 1);
  // Python lets go of the lock while this thread is blocked.
  other.tell({
    sql: 'SELECT 1 FROM (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n)',
    parameters: [],
  });
  other.tell({ sql: 'COMMIT', parameters: [] });
  store.upsertCandle(TABLE, SYMBOL, candle(0, { close: 2 }));
  expect(all(store)).toEqual([candle(0, { close: 2 })]);
  expect(await queued).toMatchObject({ coalesced: 1 });
  expect(all(store)).toEqual([candle(0, { close: 2 })]);
  await other.next();
  await other.next();
});

test('a process that dies with the lock in its hands holds up nobody', async () => {
  await lockable({ busyTimeoutMs: 10_000 });
  const holder = startElsewhere(
    ({ require: load, say }, file) => {
      const held = load('candlestore').openStore(file);
      held.db.exec('BEGIN');
      held.upsertCandles(15, 'X:DEAD', [
        { time: 1704067200000, open: 1, high: 1, low: 1, close: 1, volume: 1 },
      ]);
      held.getCandles(15, 'X:DEAD');
      say('held');
      setInterval(() => {}, 1000);
    },
    [store.db.name],
  );
  await holder.next();
  const queued = store.enqueueCandles(TABLE, SYMBOL, [candle(0)]);
  await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(9)], { timeoutMs: 50 })).rejects.toEqual(
    failure({ code: 'TIMEOUT', holderPid: holder.child.pid }),
  );
  await holder.kill();
  await queued;
  store.upsertCandle(TABLE, SYMBOL, candle(1));
  expect(all(store)).toEqual(candles(2));
  expect(all(store, 'X:DEAD')).toEqual([]);
});

test('three processes that write without a pause all get through, and nothing of theirs is lost', async () => {
  await lockable({ busyTimeoutMs: 20_000 });
  const writers = ['A', 'B', 'C'].map((name) =>
    startElsewhere(
      async ({ require: load, say }, file, symbol) => {
        const mine = load('candlestore').openStore(file, { busyTimeoutMs: 20000 });
        const made = (n) => ({
          time: 1704067200000 + n * 900000,
          open: 1,
          high: 1,
          low: 1,
          close: n,
          volume: 1,
        });
        for (let n = 0; n < 300; n += 3) {
          mine.upsertCandle(15, symbol, made(n));
          await mine.enqueueCandles(15, symbol, [made(n + 1)]);
          mine.db.transaction(() => mine.upsertCandle(15, symbol, made(n + 2)))();
        }
        const { lockTimeoutCount } = mine.getStats();
        await mine.close();
        say({ lockTimeoutCount });
      },
      [store.db.name, `X:${name}`],
    ),
  );
  // Python among them, whose own waits are 5 s at most.
  for (let n = 0; n < 50; n++)
    await other.sql(
      "INSERT INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES ('X:PY', ?, 1, 1, 1, 1, 1)",
      n,
    );
  for (const writer of writers) {
    expect(await writer.next()).toEqual({ lockTimeoutCount: 0 });
    expect(await writer.ended).toMatchObject({ code: 0, stderr: '' });
  }
  for (const name of ['A', 'B', 'C'])
    expect(all(store, `X:${name}`).map(({ close }) => close)).toEqual(
      Array.from({ length: 300 }, (_, n) => n),
    );
  expect(all(store, 'X:PY')).toHaveLength(50);
  expect(await other.sql('PRAGMA integrity_check')).toEqual([['ok']]);
});

test('a read transaction of another process holds up no write and no read', async () => {
  await lockable({ busyTimeoutMs: 0 });
  await other.sql('BEGIN');
  await other.sql('SELECT count(*) FROM candles_15');
  for (let n = 0; n < 100; n++) store.upsertCandles(TABLE, SYMBOL, candles(100, n * 100));
  await store.enqueueCandles(TABLE, SYMBOL, candles(10));
  expect(await other.sql('SELECT count(*) FROM candles_15')).toEqual([[1]]);
  await other.sql('COMMIT');
  expect(await other.sql('SELECT count(*) FROM candles_15')).toEqual([[10_001]]);
});
