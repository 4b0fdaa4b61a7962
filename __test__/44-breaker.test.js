'use strict';

// A disk that takes no more: the breaker opens, what was accepted waits, reads go on, and everything is written when
// there is room. The disk is full by PRAGMA max_page_count, and once really.

const { spawnSync } = require('node:child_process');

const { python, runElsewhere } = require('./support/process.js');
const { scratch } = require('./support/scratch.js');
const { until } = require('./support/until.js');
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

const SUSPENSION = { code: 'BREAKER_OPEN', retryable: true, written: 'no' };
const SUSPENDED = failure(SUSPENSION);
const RAW_SUSPENDED = sqliteFailure('SQLITE_IOERR', SUSPENSION);
const FULLNESS = { code: 'DISK_FULL', retryable: true, written: 'no', sqliteCode: 'SQLITE_FULL' };
const FULL = failure(FULLNESS);
const RAW_FULL = sqliteFailure('SQLITE_FULL', FULLNESS, { message: 'database or disk is full' });

/** A store with 100 candles whose file may not grow until `makeRoom`; `states` is what the breaker has told. */
function fullStore(options) {
  const store = open(newFile(), options);
  store.upsertCandles(TABLE, SYMBOL, candles(100));
  const told = [];
  store.on('breaker', (event) => told.push(event));
  store.db.pragma(`max_page_count = ${store.db.pragma('page_count', { simple: true })}`);
  return { store, told, makeRoom: () => store.db.pragma('max_page_count = 1000000') };
}

/** Lets `enqueue` hand over its writes while another process holds the lock, so that they are accepted together. */
async function together(store, enqueue) {
  const other = python(store.db.name);
  await other.sql('BEGIN IMMEDIATE');
  const promises = enqueue();
  const settled = Promise.allSettled(promises);
  await other.sql('COMMIT');
  await other.end();
  return settled;
}

/** Waits until the breaker is open. */
const isOpen = (told) => until(() => told.at(-1)?.state === 'open');
const BATCH = 1000;
const batch = (n, fields) => candles(BATCH, 100 + n * BATCH, fields);

/** Candles as a function of another process makes them, to whose text this is added. */
const MADE = `(count) => Array.from({ length: count }, (_, n) =>
  ({ time: 1704067200000 + n * 900000, open: n, high: n, low: n, close: n, volume: 1 }))`;

/** That everything accepted is accounted for. */
function expectSums(store) {
  const { accepted, committed, coalesced, failed, queued, inFlight } = store.queue.stats();
  for (const unit of ['commands', 'rows'])
    expect(
      [committed, coalesced, failed, queued, inFlight].reduce((sum, amount) => sum + amount[unit], 0),
    ).toBe(accepted[unit]);
}

test('a full disk opens the breaker at once; what was accepted waits and is written in its order when there is room', async () => {
  const { store, told, makeRoom } = fullStore();
  const settled = [];
  const outcomes = together(store, () =>
    Array.from({ length: 8 }, (_, n) =>
      store
        .enqueueCandles(TABLE, SYMBOL, batch(n), { priority: n % 2 ? 'backfill' : 'live' })
        .finally(() => settled.push(n)),
    ),
  );
  await isOpen(told);
  expect(told[0]).toEqual({ state: 'open', failures: 1, nextTrialMs: expect.any(Number), error: FULL });
  expect(settled).toEqual([]);
  expect(store.queue.stats()).toMatchObject({
    accepted: { commands: 8 },
    queued: { commands: 8, rows: 8 * BATCH },
    committed: { commands: 0 },
    failed: { commands: 0 },
  });
  // Reads go on.
  expect(all(store)).toEqual(candles(100));
  expect(await store.readCandles({ table: TABLE, symbol: SYMBOL })).toEqual(candles(100));
  expect(store.getStats({ exact: true })).toMatchObject({ candles_15: 100, queuedBatches: 8 });
  expect(store.db.prepare('SELECT count(*) FROM candles_15').pluck().get()).toBe(100);
  // New writes are refused, and told when to come again.
  const refused = async () => {
    store.upsertCandle(TABLE, SYMBOL, candle(0));
  };
  const rawWrites = [
    async () => store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(0)))(),
    async () => store.db.exec('BEGIN'),
  ];
  const writes = [
    ...rawWrites,
    refused,
    async () => store.upsertCandles(TABLE, SYMBOL, candles(3)),
    async () => store.deleteCandles(TABLE, SYMBOL),
    () => store.enqueueCandles(TABLE, SYMBOL, [candle(0)]),
    () => store.enqueueDelete(TABLE, SYMBOL),
    () => store.enqueueWrite('DELETE FROM candles_15'),
    () => store.enqueueTransaction(['DELETE FROM candles_15']),
  ];
  // One state lasts for at least two seconds here: all of them meet it.
  for (const write of writes) {
    const error = await write().then(
      () => null,
      (thrown) => thrown,
    );
    const isRaw = rawWrites.includes(write);
    expect(error).toEqual(isRaw ? RAW_SUSPENDED : SUSPENDED);
    const { retryInMs } = isRaw ? error.cause : error;
    expect(retryInMs).toBeGreaterThanOrEqual(0);
    expect(retryInMs).toBeLessThanOrEqual(2_000);
    expect(store.db.inTransaction).toBe(false);
  }
  expect(store.queue.stats().rejected).toBe(writes.length);
  makeRoom();
  expect((await outcomes).map(({ value }) => value?.inserted)).toEqual(Array(8).fill(BATCH));
  expect(all(store)).toEqual(candles(100 + 8 * BATCH));
  // First come first served in each priority; what has waited so long may go before its turn.
  expect(settled.filter((n) => n % 2 === 0)).toEqual([0, 2, 4, 6]);
  expect(settled.filter((n) => n % 2 === 1)).toEqual([1, 3, 5, 7]);
  await until(() => told.at(-1).state === 'closed');
  expect(told.map(({ state }) => state).slice(-3)).toEqual(['open', 'half-open', 'closed']);
  expect(store.queue.stats()).toMatchObject({
    committed: { commands: 8, rows: 8 * BATCH },
    queued: { commands: 0 },
    breaker: { state: 'closed', failures: 0, nextTrialMs: null },
  });
  expectSums(store);
  store.upsertCandle(TABLE, SYMBOL, candle(0, { close: 9 }));
});

test('of a candle that waited in several writes the one accepted last is stored, whatever opened in between', async () => {
  const { store, told, makeRoom } = fullStore();
  const outcomes = together(store, () => [
    store.enqueueCandles(TABLE, SYMBOL, batch(0, { close: 1 }), { priority: 'live' }),
    store.enqueueCandles(TABLE, SYMBOL, batch(0, { close: 2 }), { priority: 'backfill' }),
    store.enqueueCandles(TABLE, SYMBOL, batch(0, { close: 3 }), { priority: 'live' }),
    store.enqueueCandles(TABLE, SYMBOL, batch(0, { close: 4 }), { priority: 'backfill' }),
    store.enqueueCandles(TABLE, SYMBOL, batch(0, { close: 5 }), { priority: 'live' }),
  ]);
  await isOpen(told);
  makeRoom();
  for (const { value } of await outcomes)
    expect(value.inserted + value.updated + value.unchanged + value.coalesced).toBe(BATCH);
  expect(all(store)).toEqual([...candles(100), ...batch(0, { close: 5 })]);
  expectSums(store);
});

test('opened by a synchronous write with nothing queued it closes again with the next one, when there is room', async () => {
  const { store, told, makeRoom } = fullStore();
  expect(() => store.upsertCandles(TABLE, SYMBOL, batch(0))).toThrow(FULL);
  expect(() => store.upsertCandle(TABLE, SYMBOL, candle(0))).toThrow(SUSPENDED);
  expect(store.getStats().breaker).toBe('open');
  makeRoom();
  await until(() => told.at(-1)?.state === 'half-open');
  store.upsertCandles(TABLE, SYMBOL, batch(0));
  await until(() => told.at(-1).state === 'closed');
  expect(told.map(({ state }) => state)).toEqual(['open', 'half-open', 'closed']);
  expect(all(store)).toEqual(candles(100 + BATCH));
});

test('a failed trial opens it again, and the write that was tried is still there', async () => {
  const { store, told, makeRoom } = fullStore({ breaker: { recoveryMs: 100 } });
  const outcome = together(store, () => [store.enqueueCandles(TABLE, SYMBOL, batch(0))]);
  // Opened, tried in vain and opened again, more than once.
  await until(() => told.filter(({ state }) => state === 'open').length >= 3);
  expect(store.queue.stats()).toMatchObject({
    queued: { commands: 1, rows: BATCH },
    failed: { commands: 0 },
  });
  expect(told.map(({ state }) => state).slice(0, 5)).toEqual([
    'open',
    'half-open',
    'open',
    'half-open',
    'open',
  ]);
  makeRoom();
  expect(await outcome).toEqual([expect.objectContaining({ status: 'fulfilled' })]);
  expect(all(store)).toEqual(candles(100 + BATCH));
});

test('a db.transaction that fills the disk leaves nothing behind, and neither does a statement', async () => {
  const { store, makeRoom } = fullStore();
  const many = store.db.transaction(() => {
    for (const each of candles(12_000, 100)) store.upsertCandle(TABLE, SYMBOL, each);
  });
  expect(many).toThrow(FULL);
  expect(store.db.inTransaction).toBe(false);
  expect(many).toThrow(RAW_SUSPENDED);
  // Statements of the caller's own are let through: they may be what makes room.
  expect(() => store.db.exec('CREATE TABLE big AS SELECT zeroblob(1000000) AS b')).toThrow(RAW_FULL);
  store.db.exec('DELETE FROM candles_15 WHERE time < 0');
  makeRoom();
  await until(() => store.getStats().breaker !== 'open');
  many();
  expect(all(store)).toEqual(candles(12_100));
});

test('while it is open queued writes are withdrawn by signal and time-out, flush waits for the rest, and close fails it', async () => {
  const { store, told } = fullStore();
  const control = new AbortController();
  const outcomes = together(store, () => [
    store.enqueueCandles(TABLE, SYMBOL, batch(0)),
    store.enqueueCandles(TABLE, SYMBOL, batch(1), { signal: control.signal }),
    store.enqueueCandles(TABLE, SYMBOL, batch(2), { timeoutMs: 3_000 }),
    store.enqueueCandles(TABLE, SYMBOL, batch(3), { priority: 'backfill' }),
  ]);
  await isOpen(told);
  let flushed = false;
  const flush = store.flush().then(() => (flushed = true));
  control.abort();
  await until(() => store.queue.stats().failed.commands === 2);
  expect(store.queue.stats()).toMatchObject({
    queued: { commands: 2, rows: 2 * BATCH },
    withdrawn: { commands: 2, rows: 2 * BATCH },
  });
  expect(flushed).toBe(false);
  await store.close({ deadlineMs: 50 });
  expect((await outcomes).map(({ reason }) => reason)).toEqual([
    failure({ code: 'CLOSED', written: 'no' }),
    failure({ code: 'ABORTED', written: 'no' }),
    failure({ code: 'TIMEOUT', written: 'no' }),
    failure({ code: 'CLOSED', written: 'no' }),
  ]);
  await flush;
  expect(all(open(store.db.name))).toEqual(candles(100));
});

test('flush settles when what waited behind it is written', async () => {
  const { store, told, makeRoom } = fullStore();
  const outcomes = together(store, () => [store.enqueueCandles(TABLE, SYMBOL, batch(0))]);
  await isOpen(told);
  const flush = store.flush();
  makeRoom();
  await flush;
  expect(all(store)).toEqual(candles(100 + BATCH));
  await outcomes;
});

test.each(['process.exit()', 'the end of its work', 'close()'])(
  'a process with an open breaker ends: by %s',
  async (how) => {
    const file = newFile();
    open(file).upsertCandles(TABLE, SYMBOL, candles(100));
    const ended = await runElsewhere(
      async ({ require: load, say }, inside, made, ending) => {
        const store = load('candlestore').openStore(inside, { closeDeadlineMs: 100 });
        store.db.pragma(`max_page_count = ${store.db.pragma('page_count', { simple: true })}`);
        const opened = new Promise((resolve) => store.once('breaker', resolve));
        const queued = store.enqueueCandles(15, 'X:Y', eval(made)(1000));
        queued.catch((error) => say([error.code, error.written]));
        await opened;
        if (ending === 'process.exit()') process.exit(3);
        if (ending === 'close()') await store.close();
        else store.close();
        process.exitCode = 3;
      },
      [file, MADE, how],
    );
    expect(ended).toMatchObject({ code: 3, signal: null, stderr: '' });
    expect(ended.said).toEqual(how === 'process.exit()' ? [] : [['CLOSED', 'no']]);
    expect(all(open(file), 'X:Y')).toEqual([]);
  },
);

test('worker threads on the same file share the breaker, and their writes come through as well', async () => {
  const file = newFile();
  const ended = await runElsewhere(
    async ({ require: load, say, until: met }, inside, made) => {
      const { Worker } = load('node:worker_threads');
      const rows = eval(made)(1000);
      const store = load('candlestore').openStore(inside);
      store.upsertCandles(15, 'X:MAIN', rows);
      store.db.pragma(`max_page_count = ${store.db.pragma('page_count', { simple: true })}`);
      const worker = new Worker(
        `const { parentPort, workerData } = require('node:worker_threads');
         const store = require(workerData.module).openStore(workerData.file);
         const told = [];
         store.on('breaker', ({ state }) => told.push(state));
         store.once('breaker', () => {
           try { store.upsertCandle(15, 'W:SYNC', workerData.rows[0]); } catch ({ code }) { parentPort.postMessage(code); }
         });
         const queued = store.enqueueCandles(15, 'W:QUEUED', workerData.rows);
         queued.then(async ({ inserted }) => {
           while (told.at(-1) !== 'closed') await new Promise((resolve) => setTimeout(resolve, 5));
           await store.close();
           parentPort.postMessage([inserted, told.at(-1), told[0]]);
         });`,
        { eval: true, workerData: { file: inside, rows, module: load.resolve('candlestore') } },
      );
      const messages = [];
      worker.on('message', (message) => messages.push(message));
      const exited = new Promise((resolve) => worker.once('exit', resolve));
      await met(() => messages.length > 0);
      let refused = null;
      try {
        store.upsertCandle(15, 'X:MAIN', rows[0]);
      } catch ({ code }) {
        refused = code;
      }
      store.db.pragma('max_page_count = 1000000');
      await exited;
      say([
        refused,
        messages,
        store.getCandles(15, 'W:QUEUED', 100_000).length,
        store.getCandles(15, 'W:SYNC'),
      ]);
      await store.close();
    },
    [file, MADE],
  );
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  expect(ended.said).toEqual([['BREAKER_OPEN', ['BREAKER_OPEN', [BATCH, 'closed', 'open']], BATCH, []]]);
});

/** How a file system of its own can be mounted for one process, if it can. */
const MOUNTED = [['-rm'], ['-m']].find(
  (flags) =>
    spawnSync('unshare', [...flags, 'mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', '/tmp']).status === 0,
);
if (!MOUNTED)
  console.warn('44-breaker: SKIPPED on a really full disk, because unshare may not mount a tmpfs here');

(MOUNTED ? test : test.skip)(
  'a file system that is really full loses nothing accepted, and reads go on',
  async () => {
    const folder = scratch();
    const ended = await runElsewhere(
      async ({ require: load, say, until: met }, inside, made) => {
        const fs = load('node:fs');
        const path = load('node:path');
        const rows = eval(made)(20_000);
        const store = load('candlestore').openStore(path.join(inside, 'candles.db'));
        const states = [];
        store.on('breaker', ({ state, error }) => states.push(error ? `${state} ${error.code}` : state));
        const failed = [];
        store.on('store-error', ({ code }) => failed.push(code));
        const batchOf = (n) => rows.slice(n * 500, (n + 1) * 500);
        store.upsertCandles(15, 'X:Y', batchOf(0));
        const { bavail, bsize } = fs.statfsSync(inside);
        const ballast = path.join(inside, 'ballast');
        fs.writeFileSync(ballast, Buffer.alloc(bavail * bsize - 200_000));
        // Until it is full; so many are on their way at once.
        const queued = [];
        let accepted = 500;
        let refused = null;
        while (!refused && accepted < rows.length) {
          try {
            const writing = store.enqueueCandles(15, 'X:Y', batchOf(accepted / 500));
            writing.catch(() => {});
            await Promise.race([writing, new Promise((resolve) => setTimeout(resolve, 5))]);
            queued.push(writing);
            accepted += 500;
          } catch ({ code, retryInMs }) {
            refused = [code, retryInMs >= 0];
          }
        }
        const before = store.queue.stats();
        const read = store.getCandles(15, 'X:Y', 100_000).length;
        say([refused, states[0], before.queued.commands > 0, before.failed.commands]);
        say(read === before.committed.rows + 500 && store.getStats().candles_15 === read);
        fs.rmSync(ballast);
        const outcomes = await Promise.allSettled(queued);
        say(outcomes.filter(({ status }) => status === 'rejected').length);
        await met(() => states.at(-1) === 'closed');
        const after = store.queue.stats();
        say([after.queued.commands, after.committed.rows === accepted - 500, failed]);
        const stored = store.getCandles(15, 'X:Y', 100_000);
        say(stored.length === accepted && stored.every(({ close }, n) => close === rows[n].close));
        say(store.db.pragma('integrity_check', { simple: true }));
        await store.close();
      },
      [folder, MADE],
      {
        through: [
          'unshare',
          ...MOUNTED,
          'sh',
          '-c',
          'mount -t tmpfs -o size=6m tmpfs "$0" && exec "$@"',
          folder,
        ],
      },
    );
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(ended.said).toEqual([
      [['BREAKER_OPEN', true], 'open DISK_FULL', true, 0],
      true,
      0,
      [0, true, []],
      true,
      'ok',
    ]);
  },
);

test('a table whose largest rowid is taken is no full disk: its INSERT fails alone and the breaker stays closed', async () => {
  const store = open();
  const told = [];
  store.on('breaker', (event) => told.push(event));
  store.db.exec('CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, text)');
  await store.enqueueWrite("INSERT INTO notes VALUES (9223372036854775807, 'last')");
  const refused = store.enqueueWrite("INSERT INTO notes (text) VALUES ('one more')");
  const written = store.enqueueCandles(TABLE, SYMBOL, candles(3));
  await expect(refused).rejects.toEqual(FULL);
  await expect(written).resolves.toMatchObject({ inserted: 3 });
  expect(() => store.db.exec("INSERT INTO notes (text) VALUES ('one more')")).toThrow(RAW_FULL);
  expect(store.getStats().breaker).toBe('closed');
  expect(told).toEqual([]);
});
