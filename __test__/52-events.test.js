'use strict';

// Events: what is told of commits of this process, of other stores in it, and of other programs.

const { once } = require('node:events');
const { python, runElsewhere, startElsewhere } = require('./support/process.js');
const { until } = require('./support/until.js');
const { SYMBOL, TABLE, all, candle, candles, failure, newFile, open, timeOf } = require('./support/store.js');

const INSERT =
  'INSERT OR REPLACE INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES (?, ?, 1, 1, 1, ?, 1)';

let store;
let events;
beforeEach(() => {
  store = open();
  events = [];
});
const listen = (on = store) => on.on('candles', (event) => events.push(event));
const event = (symbol, from, to, count, source = 'local', table = TABLE) => ({
  table,
  symbol,
  from: timeOf(from),
  to: timeOf(to),
  count,
  source,
});
/** Events of this process. The newest candle may be told of a second time, as that of another. */
const local = () => events.filter(({ source }) => source === 'local');
const others = () => events.filter(({ source }) => source === 'other');

describe("'candles' of this process", () => {
  const WRITES = {
    upsertCandle: () => store.upsertCandle(TABLE, SYMBOL, candle(3)),
    upsertCandles: () => store.upsertCandles(TABLE, SYMBOL, [candle(3)]),
    enqueueCandles: () => store.enqueueCandles(TABLE, SYMBOL, [candle(3)]),
    'a transaction': () => store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(3)))(),
    'BEGIN and COMMIT': () => {
      store.db.exec('BEGIN');
      store.upsertCandle(TABLE, SYMBOL, candle(3));
      store.db.exec('COMMIT');
    },
    'a savepoint that is released': () =>
      store.db.transaction(() =>
        store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(3)))(),
      )(),
    'a store that shares the file': () => open(store.db.name).upsertCandle(TABLE, SYMBOL, candle(3)),
  };

  test.each(Object.entries(WRITES))('tells of %s, also right after on()', async (_, write) => {
    listen();
    await write();
    await until(() => local().length > 0);
    expect(local()).toEqual([event(SYMBOL, 3, 3, 1)]);
    // The candle can be read by whoever is told of it.
    expect(all(store)).toEqual([candle(3)]);
  });

  test('tells of a batch once, from its oldest to its newest time', async () => {
    listen();
    store.upsertCandles(TABLE, SYMBOL, [candle(5), candle(2), candle(9), candle(3)]);
    await until(() => local().length > 0);
    expect(local()).toEqual([event(SYMBOL, 2, 9, 4)]);
  });

  test('tells of each series apart', async () => {
    listen();
    store.db.transaction(() => {
      for (let n = 0; n < 5; n++) {
        store.upsertCandle(15, 'X:A', candle(n));
        store.upsertCandle(15, 'X:B', candle(n + 10));
        store.upsertCandle(60, 'X:A', candle(n + 20));
      }
    })();
    await until(() => local().length >= 3);
    expect(local()).toHaveLength(3);
    expect(local()).toEqual(
      expect.arrayContaining([
        event('X:A', 0, 4, 5),
        event('X:B', 10, 14, 5),
        event('X:A', 20, 24, 5, 'local', 'candles_60'),
      ]),
    );
  });

  test('does not tell of what is not committed: refused, rolled back, taken back to a savepoint, withdrawn, failed', async () => {
    listen();
    expect(() => store.upsertCandles(TABLE, SYMBOL, [candle(0), null])).toThrow();
    const THROW = () => {
      throw new Error('back');
    };
    expect(
      store.db.transaction(() => (store.upsertCandle(TABLE, SYMBOL, candle(0)), all(store), THROW())),
    ).toThrow();
    store.db.transaction(() => {
      expect(
        store.db.transaction(() => (store.upsertCandle(TABLE, SYMBOL, candle(1)), all(store), THROW())),
      ).toThrow();
    })();
    store.db.exec('BEGIN');
    store.upsertCandle(TABLE, SYMBOL, candle(2));
    all(store);
    await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(3)], { timeoutMs: 1 })).rejects.toThrow();
    store.db.exec('/* back */ ROLLBACK');
    store.db.exec(
      `CREATE TRIGGER picky BEFORE INSERT ON candles_15 WHEN new.close = 666 BEGIN SELECT RAISE(ABORT, 'no'); END`,
    );
    expect(() => store.upsertCandle(TABLE, SYMBOL, candle(4, { close: 666 }))).toThrow();
    await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(5, { close: 666 })])).rejects.toThrow();
    store.upsertCandle(TABLE, 'X:LAST', candle(9));
    await until(() => local().length > 0);
    expect(local()).toEqual([event('X:LAST', 9, 9, 1)]);
    expect(others()).toEqual([]);
  });

  test('is told after the answer of no write is given before it is committed', async () => {
    const seen = [];
    store.on('candles', ({ to }) => seen.push([to, store.getLastCandleTime(TABLE, SYMBOL)]));
    for (let n = 0; n < 50; n++) await store.enqueueCandles(TABLE, SYMBOL, [candle(n)]);
    await until(() => seen.length >= 50);
    for (const [to, last] of seen) expect(last).toBeGreaterThanOrEqual(to);
  });

  test('never misses the last of 2,000 writes', async () => {
    listen();
    for (let n = 0; n < 1000; n++) {
      store.enqueueCandles(TABLE, SYMBOL, [candle(0, { close: n })]);
      if (n % 10 === 0) store.upsertCandle(TABLE, 'X:SYNC', candle(n));
      if (n % 100 === 0) await new Promise(setImmediate);
    }
    await store.flush();
    await until(() => events.some(({ symbol, to }) => symbol === 'X:SYNC' && to === timeOf(990)));
    expect(events.length).toBeGreaterThan(1);
    // Of the writes of one candle in one group only the newest is written, and told of.
    expect(
      local()
        .filter(({ symbol }) => symbol === SYMBOL)
        .reduce((sum, { count }) => sum + count, 0),
    ).toBe(1000 - store.getStats().coalescedRows);
    expect(all(store)).toEqual([candle(0, { close: 999 })]);
    expect(
      local()
        .filter(({ symbol }) => symbol === 'X:SYNC')
        .reduce((sum, { count }) => sum + count, 0),
    ).toBe(100);
  });

  test('is told to each store that listens, and to none that has stopped', async () => {
    const second = open(store.db.name);
    const heard = [];
    const stopped = (told) => heard.push(told);
    listen();
    second.on('candles', stopped);
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    await until(() => events.length > 0 && heard.length > 0);
    second.off('candles', stopped);
    heard.length = 0;
    store.upsertCandle(TABLE, SYMBOL, candle(1));
    await until(() => events.some(({ to }) => to === timeOf(1)));
    await new Promise(setImmediate);
    expect(heard).toEqual([]);
    await second.close();
    store.upsertCandle(TABLE, SYMBOL, candle(2));
    await until(() => events.some(({ to }) => to === timeOf(2)));
  });

  test('works with once(), events.once() and removeAllListeners()', async () => {
    store.once('candles', (told) => events.push(told));
    const [[first]] = await Promise.all([
      once(store, 'candles'),
      store.enqueueCandles(TABLE, SYMBOL, [candle(0)]),
    ]);
    expect(first).toEqual(event(SYMBOL, 0, 0, 1));
    await store.enqueueCandles(TABLE, SYMBOL, [candle(1)]);
    listen();
    store.removeAllListeners('candles');
    await store.enqueueCandles(TABLE, SYMBOL, [candle(2)]);
    expect(events).toEqual([event(SYMBOL, 0, 0, 1)]);
    listen();
    await store.enqueueCandles(TABLE, SYMBOL, [candle(3)]);
    await until(() => events.length > 1);
  });
});

describe("'candles' of others", () => {
  test('tells of what Python commits: new candles, rewritten ones, new series', async () => {
    store.upsertCandles(TABLE, SYMBOL, candles(3));
    listen();
    const other = python(store.db.name);
    const changes = [
      [SYMBOL, 3, 1],
      [SYMBOL, 3, 2],
      ['X:NEW', 7, 1],
      [SYMBOL, 4, 1],
    ];
    for (const [symbol, n, close] of changes) {
      events = [];
      await other.sql(INSERT, symbol, timeOf(n), close);
      await until(() => events.length > 0);
      expect(events).toEqual([{ ...event(symbol, n, n, 1, 'other'), from: expect.any(Number) }]);
      expect(events[0].from).toBeLessThanOrEqual(timeOf(n));
      expect(store.getCandles(TABLE, symbol, 1)[0].close).toBe(close);
    }
    await other.end();
  });

  test('tells of what another candlestore process commits', async () => {
    listen();
    const writing = runElsewhere(
      async ({ require: load }, file) => {
        const mine = load('candlestore').openStore(file);
        await mine.enqueueCandles(60, 'X:THERE', [
          { time: 1704067200000, open: 1, high: 1, low: 1, close: 1, volume: 1 },
        ]);
        await mine.close();
      },
      [store.db.name],
    );
    await until(() => events.length > 0);
    expect(events[0]).toMatchObject({
      table: 'candles_60',
      symbol: 'X:THERE',
      to: timeOf(0),
      source: 'other',
    });
    expect(await writing).toMatchObject({ code: 0, stderr: '' });
  });

  test('does not tell of commits that change no candle', async () => {
    store.upsertCandles(TABLE, SYMBOL, candles(3));
    listen();
    const other = python(store.db.name);
    await other.sql('CREATE TABLE pools (a)');
    await other.sql('INSERT INTO pools VALUES (1)');
    await other.sql(INSERT, 'X:LAST', timeOf(0), 1);
    await until(() => events.length > 0);
    expect(events).toEqual([event('X:LAST', 0, 0, 1, 'other')]);
    await other.end();
  });

  test('never misses the last state, whoever writes', async () => {
    listen();
    const other = python(store.db.name);
    for (let n = 1; n <= 60; n++) {
      await other.sql(INSERT, 'X:PY', timeOf(n), n);
      await store.enqueueCandles(TABLE, SYMBOL, [candle(n)]);
      store.upsertCandle(TABLE, 'X:PY', candle(n, { close: -n }));
    }
    await other.sql(INSERT, 'X:PY', timeOf(60), 99);
    await until(() => others().some(({ symbol, to }) => symbol === 'X:PY' && to === timeOf(60)));
    expect(store.getCandles(TABLE, 'X:PY', 1)[0].close).toBe(99);
    await other.end();
  });

  test('goes on when another program stores what is no candle', async () => {
    const errors = [];
    store.on('store-error', (error) => errors.push(error));
    listen();
    const other = python(store.db.name);
    await other.sql(
      "INSERT INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES (x'00ff', 'soon', 'a', 'b', 'c', 'd', 'e')",
    );
    await other.sql(
      'INSERT INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES (7, 1.5, 1, 1, 1, 1, 1)',
    );
    await other.sql(INSERT, 'X:AFTER', timeOf(0), 1);
    await until(() => events.some(({ symbol }) => symbol === 'X:AFTER'));
    expect(errors).toEqual([]);
    await other.end();
  });

  test('goes on when tables are dropped and made anew by another program', async () => {
    listen();
    const other = python(store.db.name);
    await other.sql('DROP TABLE candles_60');
    await other.sql(INSERT, 'X:A', timeOf(0), 1);
    await until(() => events.some(({ symbol }) => symbol === 'X:A'));
    await other.sql('DELETE FROM candles_15');
    await other.sql(INSERT, 'X:A', timeOf(5), 1);
    await until(() => events.some(({ symbol, to }) => symbol === 'X:A' && to === timeOf(5)));
    await other.end();
  });

  test('listened to read-only works', async () => {
    const file = store.db.name;
    await store.close();
    const reading = open(file, { readOnly: true });
    listen(reading);
    const other = python(file);
    await other.sql(INSERT, 'X:A', timeOf(0), 1);
    await until(() => events.length > 0);
    expect(events).toEqual([event('X:A', 0, 0, 1, 'other')]);
    await other.end();
  });
});

test("'candles' counts the candles that were written, not those that a newer write has replaced", async () => {
  listen();
  const other = python(store.db.name);
  await other.sql('BEGIN IMMEDIATE');
  const queued = [
    store.enqueueCandles(TABLE, SYMBOL, candles(5), { priority: 'backfill' }),
    store.enqueueCandles(TABLE, SYMBOL, candles(2, 3, { close: 1 })),
  ];
  await other.sql('COMMIT');
  const [older] = await Promise.all(queued);
  expect(older.coalesced).toBe(2);
  await until(() => local().length > 0);
  expect(local().reduce((sum, { count }) => sum + count, 0)).toBe(5);
  expect(Math.max(...local().map(({ to }) => to))).toBe(timeOf(4));
  await other.end();
});

describe("'drained'", () => {
  test('tells when the queue has become empty', async () => {
    let drained = 0;
    store.on('drained', () => (drained += 1));
    await Promise.all(
      Array.from({ length: 50 }, (_, n) => store.enqueueCandles(TABLE, SYMBOL, candles(10, n * 10))),
    );
    // It may have been empty in between, too.
    await until(() => drained > 0);
    expect(store.getStats()).toMatchObject({ queuedBatches: 0, inFlight: 0 });
    const before = drained;
    await store.enqueueWrite('DELETE FROM candles_15');
    await until(() => drained > before);
  });

  test('tells also when the last write has failed or was withdrawn', async () => {
    let drained = 0;
    store.on('drained', () => (drained += 1));
    await store.enqueueWrite('INSERT INTO nowhere VALUES (1)').catch(() => {});
    await until(() => drained === 1);
    store.db.exec('BEGIN');
    const abort = new AbortController();
    const withdrawn = store
      .enqueueCandles(TABLE, SYMBOL, [candle(0)], { signal: abort.signal })
      .catch(() => {});
    abort.abort();
    await withdrawn;
    store.db.exec('ROLLBACK');
    await until(() => drained === 2);
  });
});

describe("'lock-wait'", () => {
  test('comes once for many waits, and names the process that held the lock', async () => {
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    store.on('lock-wait', (told) => events.push(told));
    const other = python(store.db.name);
    for (let n = 1; n <= 5; n++) {
      await other.sql('BEGIN IMMEDIATE');
      const waits = store.getStats().lockWaitCount;
      const queued = store.enqueueCandles(TABLE, SYMBOL, [candle(n)]);
      // That it waits is seen only when the wait is over: another write gives up meanwhile.
      await store.enqueueCandles(TABLE, SYMBOL, [candle(99)], { timeoutMs: 20 }).catch(() => {});
      await other.sql('COMMIT');
      await queued;
      expect(store.getStats().lockWaitCount).toBeGreaterThan(waits);
    }
    await until(() => events.length > 0);
    expect(events).toEqual([
      {
        count: 1,
        totalMs: expect.any(Number),
        longestMs: expect.any(Number),
        holderPid: other.child.pid,
      },
    ]);
    expect(events[0].totalMs).toBeGreaterThan(0);
    expect(events[0].longestMs).toBe(events[0].totalMs);
    await other.end();
  });

  test('is told of a synchronous write that waited in vain, too', async () => {
    const hasty = open(newFile(), { busyTimeoutMs: 20 });
    hasty.upsertCandle(TABLE, SYMBOL, candle(0));
    hasty.on('lock-wait', (told) => events.push(told));
    const other = python(hasty.db.name);
    await other.sql('BEGIN IMMEDIATE');
    expect(() => hasty.upsertCandle(TABLE, SYMBOL, candle(1))).toThrow(failure({ code: 'TIMEOUT' }));
    await until(() => events.length > 0);
    expect(events[0]).toMatchObject({ count: 1, holderPid: other.child.pid });
    await other.end();
  });

  test('does not come where nobody waited', async () => {
    store.on('lock-wait', (told) => events.push(told));
    for (let n = 0; n < 20; n++) await store.enqueueCandles(TABLE, SYMBOL, [candle(n)]);
    expect(events).toEqual([]);
  });
});

describe("'slow-write'", () => {
  const SLOW_MS = 1_050;
  const pass = () => new Promise((resolve) => setTimeout(resolve, SLOW_MS));
  const slow = (told) => ({
    kind: 'transaction',
    waitedMs: expect.any(Number),
    tookMs: expect.any(Number),
    attempts: expect.any(Number),
    sql: null,
    ...told,
  });

  test('tells of a transaction that was open for long by the statement that began it', async () => {
    store.on('slow-write', (told) => events.push(told));
    store.db.exec('BEGIN IMMEDIATE -- mine');
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    await pass();
    store.db.exec('COMMIT');
    await until(() => events.length > 0);
    expect(events).toEqual([slow({ sql: 'BEGIN IMMEDIATE -- mine', attempts: 1 })]);
    expect(events[0].tookMs).toBeGreaterThanOrEqual(SLOW_MS);
    expect(events[0].waitedMs).toBeLessThan(events[0].tookMs);
  });

  test('tells of a group and of synchronous writes that waited long for another process', async () => {
    const patient = open(newFile(), { busyTimeoutMs: 20_000 });
    patient.upsertCandle(TABLE, SYMBOL, candle(0));
    patient.on('slow-write', (told) => events.push(told));
    const holder = startElsewhere(
      async ({ require: load, say, hear }, file, held) => {
        const mine = load('candlestore').openStore(file, { busyTimeoutMs: 20000 });
        for (;;) {
          if ((await hear()) === 'end') break;
          mine.db.exec('BEGIN');
          say('held');
          await hear();
          await new Promise((resolve) => setTimeout(resolve, held));
          mine.db.exec('COMMIT');
        }
        await mine.close();
      },
      [patient.db.name, SLOW_MS + 200],
    );
    const whileHeld = async (work) => {
      holder.tell('hold');
      expect(await holder.next()).toBe('held');
      // From here on it counts: what follows blocks this thread until the other process lets go.
      holder.tell('release later');
      await work();
    };
    await whileHeld(() => patient.enqueueCandles(TABLE, SYMBOL, [candle(1)]));
    await whileHeld(() => patient.upsertCandle(TABLE, SYMBOL, candle(2)));
    await whileHeld(() => patient.db.exec('DELETE FROM candles_60'));
    await until(() => events.length === 3);
    expect(events).toEqual([
      slow({ kind: 'group' }),
      slow({ kind: 'write' }),
      slow({ kind: 'write', sql: 'DELETE FROM candles_60' }),
    ]);
    for (const { waitedMs, tookMs, attempts } of events) {
      expect(waitedMs).toBeGreaterThan(1_000);
      expect(tookMs).toBeGreaterThanOrEqual(waitedMs);
      expect(attempts).toBeGreaterThan(1);
    }
    holder.tell('end');
    expect(await holder.ended).toMatchObject({ code: 0, stderr: '' });
  });

  test('does not come for writes that are done at once', async () => {
    store.on('slow-write', (told) => events.push(told));
    store.upsertCandles(TABLE, SYMBOL, candles(100));
    store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(0, { close: 1 })))();
    await store.enqueueCandles(TABLE, SYMBOL, candles(100));
    expect(events).toEqual([]);
  });
});

describe('a listener that throws', () => {
  test('does not reach the writer: every write is answered, other listeners hear, the error is uncaught', async () => {
    const ended = await runElsewhere(
      async ({ require: load, say }, file) => {
        const mine = load('candlestore').openStore(file);
        const uncaught = [];
        process.on('uncaughtException', (error) => uncaught.push(error.message));
        const made = (n) => ({
          time: 1704067200000 + n * 900000,
          open: 1,
          high: 1,
          low: 1,
          close: n,
          volume: 1,
        });
        mine.on('candles', () => {
          throw new Error('bad listener');
        });
        mine.on('drained', () => {
          throw new Error('bad drained');
        });
        const results = await Promise.all(
          Array.from({ length: 20 }, (_, n) => mine.enqueueCandles(15, 'X:Y', [made(n)])),
        );
        mine.upsertCandle(15, 'X:Y', made(20));
        await mine.enqueueCandles(15, 'X:Y', [made(21)]);
        await new Promise((resolve) => setTimeout(resolve, 50));
        say([results.length, mine.getCandles(15, 'X:Y').length, new Set(uncaught).size]);
        await mine.close();
      },
      [store.db.name],
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '', said: [[20, 22, 2]] });
  });

  test('and that rejects harms nobody else', async () => {
    const rejections = [];
    const note = (reason) => rejections.push(reason.message);
    process.on('unhandledRejection', note);
    store.on('candles', () => Promise.reject(new Error('bad')).catch(note));
    await store.enqueueCandles(TABLE, SYMBOL, [candle(0)]);
    await until(() => rejections.length > 0);
    process.off('unhandledRejection', note);
    expect(all(store)).toEqual([candle(0)]);
  });
});

describe('a listener', () => {
  test('may call the store: write, read, run a transaction, listen and stop', async () => {
    const answers = [];
    store.on('candles', ({ symbol, to }) => {
      if (symbol !== SYMBOL) return;
      store.upsertCandle(TABLE, 'X:SYNC', candle(1));
      answers.push(store.enqueueCandles(TABLE, 'X:QUEUE', [candle(2)]));
      store.db.transaction(() => store.upsertCandle(TABLE, 'X:TX', candle(3)))();
      answers.push(store.readCandles({ table: TABLE, symbol: SYMBOL }));
      expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(to);
      store.once('drained', () => {});
      store.removeAllListeners('drained');
      events.push(to);
    });
    await store.enqueueCandles(TABLE, SYMBOL, [candle(0)]);
    await until(() => events.length > 0);
    const [written, read] = await Promise.all(answers);
    expect(written).toMatchObject({ inserted: 1 });
    expect(read).toEqual([candle(0)]);
    expect(['X:SYNC', 'X:QUEUE', 'X:TX'].map((symbol) => all(store, symbol).length)).toEqual([1, 1, 1]);
  });

  test.each(['close()', 'db.close()'])(
    'may close the store by %s; what was accepted is answered',
    async (how) => {
      const file = newFile();
      const mine = open(file);
      let closing;
      mine.on('candles', () => (closing ??= how === 'close()' ? mine.close() : mine.db.close()));
      const outcomes = await Promise.all(
        Array.from({ length: 100 }, (_, n) =>
          mine.enqueueCandles(TABLE, SYMBOL, candles(100, n * 100)).then(
            () => 'done',
            ({ code }) => code,
          ),
        ),
      );
      await closing;
      const stored = all(open(file)).length / 100;
      expect(outcomes.filter((outcome) => outcome === 'done')).toHaveLength(stored);
      expect(outcomes.every((outcome) => outcome === 'done' || outcome === 'CLOSED')).toBe(true);
    },
  );
});

test("no event is named 'error', and unknown names are harmless", async () => {
  store.on('error', () => events.push('error'));
  store.on('something', () => events.push('something'));
  store.on(Symbol('s'), () => {});
  await store.enqueueWrite('INSERT INTO nowhere VALUES (1)').catch(() => {});
  await expect(store.enqueueCandles(TABLE, SYMBOL, [null])).rejects.toEqual(
    failure({ code: 'INVALID_CANDLE' }),
  );
  await store.flush();
  expect(events).toEqual([]);
});

test('another process that listens hears of this one within the while of a poll', async () => {
  const listener = startElsewhere(
    async ({ require: load, say, hear }, file) => {
      const mine = load('candlestore').openStore(file);
      mine.on('candles', ({ to, source }) => say([to, source]));
      say('listening');
      await hear();
      await mine.close();
    },
    [store.db.name],
  );
  expect(await listener.next()).toBe('listening');
  for (let n = 0; n < 5; n++) {
    store.upsertCandle(TABLE, SYMBOL, candle(n));
    expect(await listener.next()).toEqual([timeOf(n), 'other']);
  }
  listener.tell('end');
  expect(await listener.ended).toMatchObject({ code: 0, stderr: '' });
});
