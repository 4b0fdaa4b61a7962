'use strict';

// Worker threads: stores on one file share one writer, whichever thread has opened them.

const fs = require('node:fs');
const { Worker } = require('node:worker_threads');
const { python } = require('./support/process.js');
const {
  SYMBOL,
  TABLE,
  all,
  candle,
  candles,
  failure,
  locked,
  newFile,
  open,
  timeOf,
} = require('./support/store.js');

jest.setTimeout(60_000);

const workers = new Set();
afterEach(async () => {
  await Promise.all([...workers].map((worker) => worker.terminate()));
  workers.clear();
});

/**
 * A worker that runs `work(store, made, hear, say)` on a store of its own on `file`: `made(n)` makes a candle, `hear()`
 * waits for a message, `say()` sends one.
 */
function startWorker(file, work, options = {}) {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { openStore } = require(workerData.module);
    const made = (n) => ({ time: workerData.first + n * 900000, open: 1, high: 1, low: 1, close: n, volume: 1 });
    const heard = [], waiting = [];
    const hear = () => new Promise((resolve) => (heard.length > 0 ? resolve(heard.shift()) : waiting.push(resolve)));
    parentPort.on('message', (message) => (waiting.length > 0 ? waiting.shift()(message) : heard.push(message)));
    const say = (message) => parentPort.postMessage(message);
    const store = openStore(workerData.file, workerData.options);
    (${work})(store, made, hear, say).then(async () => {
      await store.close();
      parentPort.close();
    });`;
  const worker = new Worker(source, {
    eval: true,
    workerData: { file, options, first: timeOf(0), module: require.resolve('candlestore') },
  });
  workers.add(worker);
  const said = [];
  const waiting = [];
  let failed = null;
  worker.on('message', (message) =>
    waiting.length > 0 ? waiting.shift().resolve(message) : said.push(message),
  );
  worker.on('error', (error) => {
    failed = error;
    waiting.splice(0).forEach(({ reject }) => reject(error));
  });
  return {
    worker,
    ended: new Promise((resolve) => worker.once('exit', resolve)),
    tell: (message) => worker.postMessage(message),
    next: () =>
      new Promise((resolve, reject) => {
        if (failed) reject(failed);
        else if (said.length > 0) resolve(said.shift());
        else waiting.push({ resolve, reject });
      }),
  };
}

const closes = (store, symbol) => all(store, symbol).map(({ close }) => close);
const upTo = (count) => Array.from({ length: count }, (_, n) => n);
const tasks = (start) =>
  fs
    .readdirSync('/proc/self/task')
    .map((task) => fs.readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim())
    .filter((name) => start.startsWith(name) || name.startsWith(start));

test('that write at the same time lose nothing and share one writer thread', async () => {
  const file = newFile();
  const store = open(file);
  const names = ['A', 'B', 'C'];
  const started = names.map(() =>
    startWorker(file, async (own, made, hear, say) => {
      const symbol = await hear();
      for (let n = 0; n < 300; n += 3) {
        own.upsertCandle(15, symbol, made(n));
        await own.enqueueCandles(15, symbol, [made(n + 1)], { priority: 'backfill' });
        own.db.transaction(() => own.upsertCandle(15, symbol, made(n + 2)))();
      }
      say(own.getStats().lockTimeoutCount);
      await hear();
    }),
  );
  started.forEach(({ tell }, n) => tell(`X:${names[n]}`));
  for (let n = 0; n < 200; n++) await store.enqueueCandles(TABLE, 'X:MAIN', candles(1, n, { close: n }));
  for (const { next } of started) expect(await next()).toBe(0);
  expect(tasks('candlestore-wri')).toHaveLength(1);
  started.forEach(({ tell }) => tell('end'));
  for (const { ended } of started) expect(await ended).toBe(0);
  for (const name of names) expect(closes(store, `X:${name}`)).toEqual(upTo(300));
  expect(closes(store, 'X:MAIN')).toEqual(upTo(200));
  expect(store.getStats().candles_15).toBe(3 * 300 + 200);
});

test('get OPTIONS_CONFLICT for options that differ from those of another thread', async () => {
  const file = newFile();
  const store = open(file);
  const started = startWorker(file, async () => {}, { synchronous: 'full' });
  // Errors cross from a worker without their fields.
  await expect(started.next()).rejects.toThrow(/open in this process with another value of synchronous/);
  store.upsertCandle(TABLE, SYMBOL, candle(0));
});

describe('while another thread has a transaction open', () => {
  const holding = async (own, made, hear, say) => {
    own.db.exec('BEGIN');
    own.upsertCandle(15, 'W:OPEN', made(0));
    say('open');
    await hear();
    own.db.exec('COMMIT');
    say('committed');
    await hear();
  };

  test('a synchronous write waits for it and is done when it is committed', async () => {
    const file = newFile();
    const store = open(file, { busyTimeoutMs: 20_000 });
    const { next, tell } = startWorker(file, holding, { busyTimeoutMs: 20_000 });
    await next();
    tell('commit');
    // Blocks this thread until the worker commits.
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    expect(all(store)).toEqual([candle(0)]);
    expect(closes(store, 'W:OPEN')).toEqual([0]);
    expect(await next()).toBe('committed');
    tell('end');
  });

  test('a synchronous write that waits in vain gets TIMEOUT, which names what holds the lock', async () => {
    const file = newFile();
    const store = open(file, { busyTimeoutMs: 50 });
    const { next, tell } = startWorker(file, holding, { busyTimeoutMs: 50 });
    await next();
    for (const [write, matching] of [
      [() => store.upsertCandle(TABLE, SYMBOL, candle(0)), failure],
      [() => store.db.exec('BEGIN'), locked],
      [() => store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(0)))(), locked],
      [() => store.deleteCandles(TABLE, SYMBOL), failure],
    ]) {
      let error = null;
      try {
        write();
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toEqual(matching({ code: 'TIMEOUT', written: 'no', retryable: true }));
      const told = matching === locked ? error.cause : error;
      expect(told.waitedMs).toBeGreaterThanOrEqual(50);
      expect(told.message).toContain('BEGIN');
    }
    // Reads see what is committed and do not wait.
    expect(all(store, 'W:OPEN')).toEqual([]);
    expect(store.getStats().candles_15).toBe(0);
    const queued = store.enqueueCandles(TABLE, SYMBOL, candles(2));
    await expect(store.enqueueCandles(TABLE, SYMBOL, candles(2), { timeoutMs: 20 })).rejects.toEqual(
      failure({ code: 'TIMEOUT', written: 'no' }),
    );
    tell('commit');
    await queued;
    expect(closes(store, 'W:OPEN')).toEqual([0]);
    tell('end');
  });

  test('close() of the other thread does not wait longer than its deadline, and does not end the transaction', async () => {
    const file = newFile();
    const store = open(file, { closeDeadlineMs: 100 });
    const { next, tell } = startWorker(file, holding, { closeDeadlineMs: 100 });
    await next();
    const queued = store.enqueueCandles(TABLE, SYMBOL, candles(2));
    const refused = expect(queued).rejects.toEqual(failure({ code: 'CLOSED', written: 'no' }));
    await store.close();
    await refused;
    tell('commit');
    expect(await next()).toBe('committed');
    tell('end');
    const again = open(file, { closeDeadlineMs: 100 });
    expect(closes(again, 'W:OPEN')).toEqual([0]);
    expect(all(again)).toEqual([]);
  });

  test('terminated, it lets go of the lock and takes its writes back', async () => {
    const file = newFile();
    const store = open(file, { busyTimeoutMs: 20_000 });
    for (let round = 0; round < 10; round++) {
      const { next, worker } = startWorker(file, holding, { busyTimeoutMs: 20_000 });
      await next();
      const queued = store.enqueueCandles(TABLE, 'X:QUEUE', [candle(round)]);
      const terminated = worker.terminate();
      if (round % 2) await terminated;
      store.upsertCandle(TABLE, SYMBOL, candle(round));
      await queued;
      await terminated;
    }
    expect(all(store)).toEqual(candles(10));
    expect(all(store, 'X:QUEUE')).toEqual(candles(10));
    expect(all(store, 'W:OPEN')).toEqual([]);
  });
});

test('that is terminated in the middle of its writes leaves whole batches and a store that goes on', async () => {
  const file = newFile();
  const store = open(file);
  for (let round = 0; round < 15; round++) {
    const { next, worker } = startWorker(file, async (own, made, hear, say) => {
      const batch = Array.from({ length: 10 }, (_, n) => made(n));
      for (let n = 0; ; n++) {
        own.enqueueCandles(15, `W:${n}`, batch).catch(() => {});
        own.enqueueCandles(60, `W:${n}`, batch, { priority: 'backfill' }).catch(() => {});
        if (n % 5 === 0) own.upsertCandles(240, `W:${n}`, batch);
        if (n % 20 === 0) await new Promise(setImmediate);
        if (n === 100) say('on the way');
      }
    });
    await next();
    await worker.terminate();
    store.upsertCandle(TABLE, SYMBOL, candle(round));
    await store.enqueueCandles(60, SYMBOL, [candle(round)]);
  }
  await store.flush();
  for (const table of [15, 60, 240])
    expect(
      store.db
        .prepare(
          `SELECT DISTINCT count(*) AS count FROM candles_${table} WHERE symbol LIKE 'W:%' GROUP BY symbol`,
        )
        .pluck()
        .all(),
    ).toEqual([10]);
  expect(all(store)).toEqual(candles(15));
  const stats = store.getStats();
  expect(store.getStats({ exact: true })).toMatchObject({
    candles_15: stats.candles_15,
    candles_60: stats.candles_60,
    candles_240: stats.candles_240,
  });
  expect(store.db.pragma('integrity_check', { simple: true })).toBe('ok');
});

test('that opens the file first and ends leaves the writer to the others', async () => {
  const file = newFile();
  const { next, tell, ended } = startWorker(file, async (own, made, hear, say) => {
    await own.enqueueCandles(15, 'W:FIRST', [made(0)]);
    say('written');
    await hear();
  });
  await next();
  const store = open(file);
  const queued = Array.from({ length: 50 }, (_, n) =>
    store.enqueueCandles(TABLE, SYMBOL, candles(100, n * 100)),
  );
  tell('end');
  await ended;
  await Promise.all(queued);
  store.upsertCandle(TABLE, 'X:Y', candle(0));
  expect(all(store)).toEqual(candles(5000));
});

test('gives numbers to writes of all threads in one order', async () => {
  const file = newFile();
  const store = open(file);
  const { next, tell } = startWorker(file, async (own, made, hear, say) => {
    const sequences = [];
    for (let n = 0; n < 100; n++) sequences.push((await own.enqueueCandles(15, 'W:W', [made(n)])).sequence);
    say(sequences);
    await hear();
  });
  const sequences = [];
  for (let n = 0; n < 100; n++)
    sequences.push((await store.enqueueCandles(TABLE, SYMBOL, [candle(n)])).sequence);
  const both = [...sequences, ...(await next())];
  expect(new Set(both).size).toBe(200);
  tell('end');
});

test('tells every thread that listens of the commits of every other, as local', async () => {
  const file = newFile();
  const store = open(file);
  const events = [];
  store.on('candles', (event) => events.push(event));
  const { next, tell } = startWorker(file, async (own, made, hear, say) => {
    own.on('candles', (event) => event.symbol === 'X:MAIN' && say(event));
    say('listening');
    await hear();
    own.upsertCandle(15, 'W:W', made(7));
    await hear();
  });
  await next();
  await store.enqueueCandles(TABLE, 'X:MAIN', [candle(3)]);
  const event = (symbol, n) => ({
    table: TABLE,
    symbol,
    from: timeOf(n),
    to: timeOf(n),
    count: 1,
    source: 'local',
  });
  expect(await next()).toEqual(event('X:MAIN', 3));
  tell('write');
  const { until } = require('./support/until.js');
  await until(() => events.some(({ symbol }) => symbol === 'W:W'));
  expect(events).toContainEqual(event('W:W', 7));
  tell('end');
});

test('and another process on the same file get along', async () => {
  const file = newFile();
  const store = open(file);
  const other = python(file);
  const { next, tell } = startWorker(file, async (own, made, hear, say) => {
    for (let n = 0; n < 200; n++) await own.enqueueCandles(15, 'W:W', [made(n)]);
    say('done');
    await hear();
  });
  for (let n = 0; n < 50; n++) {
    await other.sql(
      "INSERT INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES ('X:PY', ?, 1, 1, 1, 1, 1)",
      n,
    );
    store.upsertCandle(TABLE, SYMBOL, candle(n));
  }
  await next();
  expect(all(store)).toEqual(candles(50));
  expect(closes(store, 'W:W')).toEqual(upTo(200));
  expect(all(store, 'X:PY')).toHaveLength(50);
  await other.end();
  tell('end');
});
