'use strict';

// Another process holds the write lock of the file: who waits, for how long, and what they are told.

const { randomBytes } = require('node:crypto');
const fs = require('node:fs');

const { python, runElsewhere, startElsewhere } = require('./support/process.js');
const { until } = require('./support/until.js');
const { SYMBOL, TABLE, all, candle, candles, failure, locked, newFile, open } = require('./support/store.js');

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

const OF_THE_STORE = {
  upsertCandle: () => store.upsertCandle(TABLE, SYMBOL, candle(0)),
  upsertCandles: () => store.upsertCandles(TABLE, SYMBOL, candles(3)),
  deleteCandles: () => store.deleteCandles(TABLE, 'X:BEFORE'),
};
const OF_THE_HANDLE = {
  'db.exec': () => store.db.exec('DELETE FROM candles_15'),
  'db.exec of BEGIN': () => store.db.exec('BEGIN'),
  'prepare().run': () => store.db.prepare('DELETE FROM candles_15').run(),
  'prepare().all with RETURNING': () => store.db.prepare('DELETE FROM candles_15 RETURNING time').all(),
  'db.transaction': () => store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(0)))(),
};
const SYNCHRONOUS = { ...OF_THE_STORE, ...OF_THE_HANDLE };

/** Expects a write to fail for want of the lock, and gives the error that tells of the wait. */
function expectTimeout(name, holderPid) {
  let error = null;
  try {
    SYNCHRONOUS[name]();
  } catch (thrown) {
    error = thrown;
  }
  const isRaw = name in OF_THE_HANDLE;
  const facts = { code: 'TIMEOUT', retryable: true, written: 'no', holderPid };
  expect([name, error]).toEqual([name, isRaw ? locked(facts) : failure(facts)]);
  return isRaw ? error.cause : error;
}

test('a synchronous write waits, then throws TIMEOUT that names the holder, and nothing is written', async () => {
  await lockable();
  await lock();
  let waits = store.getStats().lockWaitCount;
  for (const name of Object.keys(SYNCHRONOUS)) {
    const error = expectTimeout(name, other.child.pid);
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

describe('a process that is stopped', () => {
  const HOLDS = {
    'inside db.transaction, after a read': (held, symbol) => {
      held.db.transaction(() => {
        held.upsertCandle(15, symbol, {
          time: 1704067200000,
          open: 1,
          high: 1,
          low: 1,
          close: 1,
          volume: 1,
        });
        held.getCandles(15, symbol);
        process.kill(process.pid, 'SIGSTOP');
      })();
    },
    'inside a queued group': async (held, symbol) => {
      const queued = Array.from({ length: 200 }, (_, n) =>
        held.enqueueWrite('INSERT INTO slow SELECT ?, count(*) FROM n a, n b WHERE a.i < b.i', [symbol + n]),
      );
      // The group is at work now, and stays so for longer than this takes.
      await new Promise((resolve) => setTimeout(resolve, 100));
      process.kill(process.pid, 'SIGSTOP');
      await Promise.all(queued);
    },
  };

  /** What every synchronous write does while another process holds the lock: it fails in time and names the holder. */
  function expectHeldBy(pid) {
    const queued = store.queue.stats().queued;
    for (const name of Object.keys(SYNCHRONOUS)) {
      expectTimeout(name, pid);
      expect(store.db.inTransaction).toBe(false);
      expect(all(store, 'X:BEFORE')).toEqual([candle(0)]);
      expect(all(store)).toEqual([]);
    }
    expect(store.queue.stats().queued).toEqual(queued);
  }

  async function expectAllCommitted(queued, rows) {
    for (const { inserted } of await Promise.all(queued)) expect(inserted).toBe(rows);
    const { accepted, committed, failed, queued: waiting, inFlight } = store.queue.stats();
    expect(committed).toEqual(accepted);
    for (const none of [failed, waiting, inFlight]) expect(none).toEqual({ commands: 0, rows: 0 });
    expect(all(store, 'X:QUEUED')).toEqual(candles(queued.length * rows));
    expect(await other.sql('PRAGMA integrity_check')).toEqual([['ok']]);
  }

  const enqueue = () =>
    Array.from({ length: 30 }, (_, n) =>
      store.enqueueCandles(TABLE, 'X:QUEUED', candles(10, n * 10), {
        priority: ['live', 'backfill', 'maintenance'][n % 3],
      }),
    );

  const stopped = (pid) => until(() => /^\d+ \(.*\) T/.test(fs.readFileSync(`/proc/${pid}/stat`, 'latin1')));

  test.each(Object.entries(HOLDS))(
    '%s fails synchronous writes, lets reads go on, and loses no queued write when it goes on',
    async (_, hold) => {
      await lockable();
      store.db.exec(
        `CREATE TABLE slow (symbol, n); CREATE TABLE n (i);
         WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 500) INSERT INTO n SELECT i FROM s`,
      );
      const holder = startElsewhere(
        `async ({ require: load, say }, file) => {
          const held = load('candlestore').openStore(file);
          await (${hold.toString().replace(/^'[^']*'/, '')})(held, 'X:HELD');
          say('done');
          await held.close();
        }`,
        [store.db.name],
      );
      const pid = holder.child.pid;
      await stopped(pid);
      const queued = enqueue();
      expectHeldBy(pid);
      expect(store.getStats()).toMatchObject({ candles_15: 1, queuedBatches: 30 });
      expect(await store.readCandles({ table: TABLE, symbol: 'X:BEFORE' })).toEqual([candle(0)]);
      holder.child.kill('SIGCONT');
      expect(await holder.next()).toBe('done');
      expect(await holder.ended).toMatchObject({ code: 0, stderr: '' });
      await expectAllCommitted(queued, 10);
      SYNCHRONOUS.upsertCandles();
      expect(all(store)).toEqual(candles(3));
    },
  );

  test('that is Python does the same, and so does one that is killed while it is stopped', async () => {
    for (const end of ['SIGCONT', 'SIGKILL']) {
      await lockable();
      const holder = python(store.db.name);
      await holder.sql('BEGIN IMMEDIATE');
      await holder.sql("DELETE FROM candles_15 WHERE symbol = 'X:BEFORE'");
      holder.child.kill('SIGSTOP');
      await stopped(holder.child.pid);
      const queued = enqueue();
      expectHeldBy(holder.child.pid);
      holder.child.kill(end);
      if (end === 'SIGCONT') {
        await holder.sql('ROLLBACK');
        await holder.end();
      }
      await expectAllCommitted(queued, 10);
      expect(all(store, 'X:BEFORE')).toEqual([candle(0)]);
      await other.end();
    }
  });

  test('while it waits for its turn holds up nobody, and neither does one that is killed there', async () => {
    await lockable({ busyTimeoutMs: 20_000 });
    await lock();
    const waiter = (symbol) =>
      startElsewhere(
        async ({ require: load, say }, file, mine) => {
          const waiting = load('candlestore').openStore(file);
          const queued = waiting.enqueueCandles(15, mine, [
            { time: 1704067200000, open: 1, high: 1, low: 1, close: 1, volume: 1 },
          ]);
          // It is in the line when an attempt of it has waited.
          await waiting.enqueueCandles(15, 'X:NEVER', [], { timeoutMs: 50 }).catch(({ code }) => say(code));
          const { inserted } = await queued;
          say(inserted);
          await waiting.close();
        },
        [store.db.name, symbol],
      );
    const waiters = ['A', 'B', 'C', 'D'].map((name) => waiter(`X:${name}`));
    for (const each of waiters) expect(await each.next()).toBe('TIMEOUT');
    const [stopping, killed, second, last] = waiters;
    stopping.child.kill('SIGSTOP');
    await stopped(stopping.child.pid);
    await killed.kill();
    const queued = enqueue();
    await release();
    for (const each of [second, last]) expect(await each.next()).toBe(1);
    store.upsertCandles(TABLE, SYMBOL, candles(3));
    await expectAllCommitted(queued, 10);
    expect(all(store, 'X:A')).toEqual([]);
    stopping.child.kill('SIGCONT');
    expect(await stopping.next()).toBe(1);
    for (const each of [stopping, second, last])
      expect(await each.ended).toMatchObject({ code: 0, stderr: '' });
    expect(['A', 'B', 'C', 'D'].map((name) => all(store, `X:${name}`).length)).toEqual([1, 0, 1, 1]);
  });
});

describe('the file in which processes line up', () => {
  const turnOf = (file) => `${file}-candlestore-turn`;

  test.each([
    ['deleted', (turn) => fs.rmSync(turn)],
    ['overwritten with rubbish', (turn) => fs.writeFileSync(turn, randomBytes(4096), { flag: 'r+' })],
    ['replaced by an empty one', (turn) => (fs.rmSync(turn), fs.writeFileSync(turn, ''))],
    ['replaced by a folder', (turn) => (fs.rmSync(turn), fs.mkdirSync(turn))],
  ])('may be %s while processes write: all of them get through', async (_, harm) => {
    await lockable({ busyTimeoutMs: 20_000 });
    const writers = ['A', 'B', 'C', 'D', 'E', 'F'].map((name) =>
      startElsewhere(
        async ({ require: load, say, hear }, file, symbol) => {
          const mine = load('candlestore').openStore(file, { busyTimeoutMs: 20000 });
          const made = (n) => ({
            time: 1704067200000 + n * 900000,
            open: 1,
            high: 1,
            low: 1,
            close: n,
            volume: 1,
          });
          say('ready');
          await hear();
          for (let n = 0; n < 100; n += 2) {
            mine.upsertCandle(15, symbol, made(n));
            await mine.enqueueCandles(15, symbol, [made(n + 1)]);
            if (n === 20) say('at work');
          }
          const { lockTimeoutCount } = mine.getStats();
          await mine.close();
          say(lockTimeoutCount);
        },
        [store.db.name, `X:${name}`],
      ),
    );
    for (const writer of writers) expect(await writer.next()).toBe('ready');
    for (const writer of writers) writer.tell('go');
    expect(await writers[0].next()).toBe('at work');
    harm(turnOf(store.db.name));
    for (const writer of writers.slice(1)) expect(await writer.next()).toBe('at work');
    // One that comes later finds what is left.
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    for (const writer of writers) {
      expect(await writer.next()).toBe(0);
      expect(await writer.ended).toMatchObject({ code: 0, stderr: '' });
    }
    for (const name of ['A', 'B', 'C', 'D', 'E', 'F'])
      expect(all(store, `X:${name}`).map(({ close }) => close)).toEqual(
        Array.from({ length: 100 }, (__, n) => n),
      );
    expect(await other.sql('PRAGMA integrity_check')).toEqual([['ok']]);
    if (fs.statSync(turnOf(store.db.name), { throwIfNoEntry: false })?.isDirectory())
      fs.rmdirSync(turnOf(store.db.name));
  });

  test('is not made by a store that only reads', async () => {
    const file = newFile();
    open(file).upsertCandle(TABLE, SYMBOL, candle(0));
    const ended = await runElsewhere(
      async ({ require: load, say }, inside, turn) => {
        const fs_ = load('node:fs');
        fs_.rmSync(turn);
        const reading = load('candlestore').openStore(inside, { readOnly: true });
        say(reading.getCandles(15, 'BINANCE:BTCUSDT').length);
        await reading.close();
        say(fs_.existsSync(turn));
      },
      [file, turnOf(file)],
    );
    expect(ended).toMatchObject({ code: 0, said: [1, false] });
  });
});

test('two stores on one file, in this thread and in workers, write at once without an end to wait for', async () => {
  const ended = await runElsewhere(
    async ({ require: load, say }, file) => {
      const { Worker } = load('node:worker_threads');
      const source = `
        const { parentPort, workerData } = require('node:worker_threads');
        const { openStore } = require(workerData.module);
        const made = (n) => ({ time: 1704067200000 + n * 900000, open: 1, high: 1, low: 1, close: n, volume: 1 });
        (async () => {
          const stores = [openStore(workerData.file, { busyTimeoutMs: 20000 }), openStore(workerData.file, { busyTimeoutMs: 20000 })];
          const queued = [];
          for (let n = 0; n < 100; n++)
            for (const [place, store] of stores.entries()) {
              const symbol = workerData.name + place;
              queued.push(store.enqueueCandles(15, symbol, [made(3 * n)]));
              store.upsertCandle(15, symbol, made(3 * n + 1));
              store.db.transaction(() => {
                store.upsertCandle(15, symbol, made(3 * n + 2));
                if (n % 10 === 0) store.getCandles(15, symbol, 1);
              })();
              if (n % 25 === 0) await queued.at(-1);
            }
          await Promise.all(queued);
          const counts = stores.map((store, place) => store.getCandles(15, workerData.name + place, 1000).length);
          await Promise.all(stores.map((store) => store.close()));
          parentPort.postMessage(counts);
        })();`;
      const counts = await Promise.all(
        ['X:A', 'X:B', 'X:C'].map(
          (name) =>
            new Promise((resolve, reject) => {
              const worker = new Worker(source, {
                eval: true,
                workerData: { file, name, module: load.resolve('candlestore') },
              });
              worker.once('message', resolve);
              worker.once('error', reject);
            }),
        ),
      );
      say(counts);
    },
    [newFile()],
  );
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  expect(ended.said).toEqual([Array(3).fill([300, 300])]);
});
