'use strict';

// The store that a run is given: what it writes is of its job's priority, withdrawn by its signal, counted, bounded, and
// waited for; everything else is the store itself.

const { setImmediate: turn } = require('node:timers/promises');

const { CandleStore } = require('candlestore');
const { gate, locker, supervise } = require('./support/supervisor.js');
const { python, runElsewhere } = require('./support/process.js');
const { until } = require('./support/until.js');
const { SYMBOL, TABLE, all, candle, candles, failure, newFile, open } = require('./support/store.js');

const NEVER = 86_400_000;
const FULL = failure({ code: 'QUEUE_FULL', retryable: true });

let other;
afterEach(async () => {
  await other?.end();
  other = null;
});

/** A store whose file's lock another process keeps until `release`. */
async function lockedStore(options) {
  const store = open(newFile(), options);
  store.db.exec('CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)');
  other = python(store.db.name);
  await other.sql('BEGIN IMMEDIATE');
  return { store, release: () => other.sql('COMMIT') };
}

/** A supervisor with a job that runs once; `done()` resolves with how it ended well, and rejects with what it failed of. */
function once(store, run, options = {}) {
  const supervised = supervise(store);
  const { supervisor, of } = supervised;
  supervisor.job('job', { everyMs: NEVER, ...options }, run);
  supervisor.start();
  const done = async () => {
    await until(() => of('job-succeeded').length + of('job-failed').length > 0);
    for (const { error } of of('job-failed')) throw error;
    return of('job-succeeded')[0];
  };
  return { ...supervised, done };
}

test.each([
  ['live', undefined],
  ['backfill', 'backfill'],
  ['maintenance', 'maintenance'],
])(
  'its queued writes have the priority of the job, unless they say otherwise: %s',
  async (name, priority) => {
    const { store, release } = await lockedStore();
    let outcome;
    const { event, done } = once(
      store,
      ({ store: own }) => {
        outcome = Promise.all([
          own.enqueueCandles(TABLE, SYMBOL, candles(2)),
          own.enqueueDelete(TABLE, 'X:Y'),
          own.enqueueWrite('INSERT INTO notes (text) VALUES (?)', ['a']),
          own.enqueueTransaction(["INSERT INTO notes (text) VALUES ('b')"]),
          own.enqueueCandles(TABLE, 'X:LIVE', candles(1), { priority: 'live' }),
          own.enqueueCandles(TABLE, 'X:BACKFILL', candles(1), { priority: 'backfill' }),
          own.enqueueCandles(TABLE, 'X:MAINTENANCE', candles(1), { priority: 'maintenance' }),
        ]);
        return outcome;
      },
      { priority },
    );
    await event('job-started', 'job');
    const batches = Object.fromEntries(
      ['live', 'backfill', 'maintenance'].map((each) => [each, store.queue[each].batches]),
    );
    expect(batches).toEqual({ live: 1, backfill: 1, maintenance: 1, [name]: 5 });
    await release();
    await outcome;
    await done();
  },
);

test('its writes are counted: rows, writes, and those that were not written', async () => {
  const store = open();
  store.db.exec('CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT UNIQUE)');
  const { done, job } = once(store, async ({ store: own }) => {
    await own.enqueueCandles(TABLE, SYMBOL, candles(5));
    await own.enqueueCandles(15, SYMBOL, candles(7, 100), { atomic: false });
    await own.enqueueWrite('INSERT INTO notes (text) VALUES (?)', ['a']);
    await own.enqueueTransaction([
      "INSERT INTO notes (text) VALUES ('b')",
      "INSERT INTO notes (text) VALUES ('c')",
    ]);
    await own.enqueueDelete(TABLE, SYMBOL, { after: candle(102).time });
    own.upsertCandle(TABLE, 'X:SYNC', candle(0));
    own.upsertCandles(TABLE, 'X:SYNC', candles(3));
    own.deleteCandles(TABLE, 'X:SYNC', { after: candle(1).time });
    const refused = [
      own.enqueueWrite('INSERT INTO notes (text) VALUES (?)', ['a']),
      own.enqueueCandles(TABLE, SYMBOL, candles(1), { signal: AbortSignal.abort() }),
    ];
    for (const { status } of await Promise.allSettled(refused)) expect(status).toBe('rejected');
    expect(() => own.upsertCandle(TABLE, SYMBOL, { time: 1 })).toThrow(failure({ code: 'INVALID_CANDLE' }));
    // By the raw handle it is the job's own affair.
    own.db.exec("INSERT INTO notes (text) VALUES ('raw')");
  });
  // What others write is not its own.
  store.upsertCandles(TABLE, 'X:OTHERS', candles(50));
  const { rows } = await done();
  expect(rows).toBe(5 + 7 + 1 + 2 + 1 + 1 + 3 + 1);
  expect(job('job')).toMatchObject({ rowsWritten: rows, lockWaits: 0, lockWaitRate: 0 });
  // What was refused for its arguments was no write.
  expect(job('job')).toMatchObject({ writes: 9, writesFailed: 1 });
});

test('a run ends when everything that it wrote is settled, though it did not wait for that', async () => {
  const { store, release } = await lockedStore();
  const { event, done, of, job } = once(store, ({ store: own }) => {
    own.enqueueCandles(TABLE, SYMBOL, candles(5));
    own.enqueueWrite("INSERT INTO notes (text) VALUES ('a')");
  });
  await event('job-started', 'job');
  await until(() => store.queue.stats().queued.commands === 2);
  await turn();
  expect(job('job').state).toBe('running');
  expect(of('job-succeeded')).toEqual([]);
  await release();
  expect(await done()).toMatchObject({ rows: 6 });
  expect(all(store)).toEqual(candles(5));
});

test('a write that nobody waits for fails the run when it fails; one whose failure the job has caught does not', async () => {
  const ended = await runElsewhere(
    async ({ require: load, say, until: met }, file) => {
      const { openStore, createCollectorSupervisor } = load('candlestore');
      const store = openStore(file);
      const supervisor = createCollectorSupervisor(store);
      const outcomes = {};
      supervisor.on('job-failed', ({ job, error, cause }) => (outcomes[job] = [error.code, cause]));
      supervisor.on('job-succeeded', ({ job }) => (outcomes[job] = 'succeeded'));
      const bad = (run) => run.store.enqueueWrite('INSERT INTO no_such_table VALUES (1)');
      const jobs = {
        'left alone': (run) => void bad(run),
        caught: async (run) => void (await bad(run).catch(() => {})),
        'caught later': async (run) => {
          const write = bad(run);
          await run.store.flush();
          await write.catch(() => {});
        },
        settled: async (run) => void (await Promise.allSettled([bad(run)])),
        thrown: (run) => bad(run),
        'caught in a try': async (run) => {
          try {
            await bad(run);
          } catch {
            // Handled.
          }
        },
      };
      for (const [name, run] of Object.entries(jobs)) supervisor.job(name, { everyMs: 86_400_000 }, run);
      supervisor.start();
      await met(() => Object.keys(outcomes).length === Object.keys(jobs).length);
      say(outcomes);
      await supervisor.stop();
      await store.close();
    },
    [newFile()],
  );
  // A rejection that nobody handled would have ended the process.
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  const failed = ['SQL_ERROR', 'job'];
  expect(ended.said[0]).toEqual({
    'left alone': failed,
    caught: 'succeeded',
    'caught later': 'succeeded',
    settled: 'succeeded',
    thrown: failed,
    'caught in a try': 'succeeded',
  });
});

test('once the run has ended its writes are refused, and the first of them fails the job', async () => {
  const store = open();
  let own;
  const { done, of, event, job } = once(store, (run) => {
    own = run.store;
  });
  await done();
  const refused = failure({ code: 'ABORTED', written: 'no' });
  expect(() => own.upsertCandles(TABLE, SYMBOL, candles(3))).toThrow(refused);
  expect(() => own.deleteCandles(TABLE, SYMBOL)).toThrow(refused);
  await expect(own.enqueueCandles(TABLE, SYMBOL, candles(3))).rejects.toEqual(refused);
  await expect(own.enqueueCandles(TABLE, SYMBOL, candles(3))).rejects.toEqual(refused);
  expect(await event('job-failed', 'job')).toMatchObject({
    error: refused,
    cause: 'job',
    message: expect.stringMatching(/^the run of the job "job" that made this write has ended/),
  });
  expect(of('job-failed').length).toBe(1);
  expect(own.getCandles(TABLE, SYMBOL)).toEqual([]);
  expect(job('job').rowsWritten).toBe(0);
});

test('stop() lets what was written be committed', async () => {
  const { store, release } = await lockedStore();
  const { supervisor, event, of } = once(store, ({ store: own }) =>
    own.enqueueCandles(TABLE, SYMBOL, candles(3)),
  );
  await event('job-started', 'job');
  await until(() => store.queue.stats().queued.commands === 1);
  const stopped = supervisor.stop();
  await turn();
  await release();
  expect(await stopped).toEqual({ unfinished: [] });
  expect(store.getCandles(TABLE, SYMBOL)).toEqual(candles(3));
  expect(of('job-failed')).toEqual([]);
});

test('at the deadline of stop() what still waits is withdrawn, and runs that go on are named', async () => {
  const { store, release } = await lockedStore();
  const { supervisor, event } = supervise(store);
  let outcome;
  supervisor.job('writes', { everyMs: NEVER }, (run) => {
    outcome = run.store.enqueueCandles(TABLE, SYMBOL, candles(3));
    return outcome;
  });
  supervisor.job('waits', { everyMs: NEVER }, () => new Promise(() => {}));
  supervisor.start();
  await event('job-started', 'waits');
  expect(await supervisor.stop({ deadlineMs: 20 })).toEqual({ unfinished: ['waits'] });
  await expect(outcome).rejects.toEqual(failure({ code: 'ABORTED', written: 'no' }));
  await release();
  await store.flush();
  expect(store.getCandles(TABLE, SYMBOL)).toEqual([]);
});

test('its writes can be withdrawn by a signal and a time-out of their own', async () => {
  const { store, release } = await lockedStore();
  const control = new AbortController();
  let outcomes;
  const { event, done } = once(store, async ({ store: own }) => {
    outcomes = Promise.allSettled([
      own.enqueueCandles(TABLE, SYMBOL, candles(1), { signal: control.signal }),
      own.enqueueCandles(TABLE, SYMBOL, candles(1), { timeoutMs: 10 }),
      own.enqueueCandles(TABLE, SYMBOL, candles(1), { timeoutMs: 60_000, signal: control.signal }),
      own.enqueueCandles(TABLE, SYMBOL, candles(2)),
    ]);
    control.abort();
    await outcomes;
  });
  await event('job-started', 'job');
  await until(() => store.queue.stats().failed.commands === 3);
  await release();
  expect((await outcomes).map(({ value, reason }) => value?.inserted ?? reason.code)).toEqual([
    'ABORTED',
    'TIMEOUT',
    'ABORTED',
    2,
  ]);
  await done();
});

describe('room in the queue', () => {
  const CAPACITY = 1_200;

  test('a flood of one leaves room for the others: what waits of a job is its share at most', async () => {
    const { store, release } = await lockedStore({ queueCapacityRows: CAPACITY });
    const { supervisor, of } = supervise(store);
    const share = CAPACITY / 4;
    let flood;
    const stop = gate();
    supervisor.job('flood', { everyMs: NEVER, priority: 'backfill' }, ({ store: own }) => {
      flood = Promise.allSettled(
        Array.from({ length: 100 }, (_, n) => own.enqueueCandles(TABLE, 'X:FLOOD', candles(30, n * 30))),
      );
      return flood;
    });
    // The share is that of the job, not of a run's store or of a priority.
    supervisor.job('floods more', { everyMs: NEVER }, ({ store: own }) =>
      Promise.allSettled(
        ['live', 'backfill', 'maintenance'].map((priority) =>
          own.enqueueCandles(TABLE, 'X:MORE', candles(share - 10), { priority }),
        ),
      ),
    );
    let live;
    supervisor.job('live', { everyMs: NEVER }, async ({ store: own }) => {
      await stop.promise;
      live = own.enqueueCandles(TABLE, SYMBOL, candles(share));
      await live;
    });
    supervisor.start();
    await until(() => of('job-started').length === 3);
    await turn();
    expect(store.queue.backfill.rows + store.queue.live.rows + store.queue.maintenance.rows).toBe(
      2 * share - 10,
    );
    stop.open();
    await until(() => store.queue.stats().queued.rows === 3 * share - 10);
    // And for who is no job.
    const outside = store.enqueueCandles(TABLE, 'X:OUTSIDE', candles(share));
    await release();
    await Promise.all([live, outside]);
    const outcomes = await flood;
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(share / 30);
    for (const { reason } of outcomes.slice(share / 30)) expect(reason).toEqual(FULL);
    await until(() => of('job-succeeded').length === 3);
  });

  test('a synchronous write needs no room, and what is committed makes room again', async () => {
    const store = open(newFile(), { queueCapacityRows: 100 });
    const { done, job } = once(store, async ({ store: own }) => {
      own.upsertCandles(TABLE, SYMBOL, candles(500));
      for (let n = 0; n < 20; n++) await own.enqueueCandles(TABLE, SYMBOL, candles(50, 500 + n * 50));
    });
    await done();
    expect(job('job')).toMatchObject({ rowsWritten: 1_500, writesFailed: 0 });
    expect(all(store)).toEqual(candles(1_500));
  });

  test('the room is that of bytes, too', async () => {
    const { store, release } = await lockedStore({ queueCapacityBytes: 400_000 });
    let outcomes;
    const { supervisor, event } = once(store, ({ store: own }) => {
      const clusters = { note: 'x'.repeat(20_000) };
      outcomes = Promise.allSettled(
        Array.from({ length: 30 }, (_, n) => own.enqueueCandles(TABLE, SYMBOL, [candle(n, { clusters })])),
      );
      return outcomes;
    });
    await event('job-started', 'job');
    await turn();
    const { bytes } = store.queue.live;
    expect(bytes).toBeGreaterThan(150_000);
    expect(bytes).toBeLessThanOrEqual(200_000);
    await release();
    const refused = (await outcomes).filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(15);
    for (const { reason } of refused) expect(reason).toEqual(FULL);
    expect(supervisor.status().jobs.job.writesFailed).toBe(refused.length);
  });

  test("with whenFull: 'wait' more waits for its share, all of it is written, and in its order", async () => {
    const { store, release } = await lockedStore({ queueCapacityRows: 300, whenFull: 'wait' });
    const { supervisor, event } = supervise(store);
    let most = 0;
    const look = () => (most = Math.max(most, store.queue.stats().queued.rows));
    let later;
    supervisor.job('flood', { everyMs: NEVER }, async ({ store: own, signal }) => {
      const writes = Array.from({ length: 60 }, (_, n) => {
        const write = own.enqueueCandles(TABLE, SYMBOL, candles(10, n * 10, { close: n }));
        look();
        return write;
      });
      // Who waits for room can be withdrawn, too.
      const control = new AbortController();
      later = own.enqueueCandles(TABLE, SYMBOL, candles(10), { signal: control.signal });
      control.abort();
      await Promise.allSettled([later]);
      expect(signal.aborted).toBe(false);
      await Promise.all(writes.map((write) => write.finally(look)));
    });
    let live;
    supervisor.job('live', { everyMs: NEVER }, ({ store: own }) => {
      live = own.enqueueCandles(TABLE, 'X:LIVE', candles(90));
      return live;
    });
    supervisor.start();
    await event('job-started', 'live');
    await expect(later).rejects.toEqual(failure({ code: 'ABORTED' }));
    await until(() => store.queue.stats().queued.rows === 190);
    await release();
    await live;
    await event('job-succeeded', 'flood');
    expect(most).toBeLessThanOrEqual(200);
    expect(all(store)).toEqual(
      Array.from({ length: 60 }, (_, n) => candles(10, n * 10, { close: n })).flat(),
    );
  });

  test.each(['reject', 'wait'])(
    'a batch larger than the share is settled one way or the other: whenFull %s',
    async (whenFull) => {
      const store = open(newFile(), { queueCapacityRows: 300, whenFull });
      const { done } = once(store, async ({ store: own }) => {
        await Promise.allSettled([
          own.enqueueCandles(TABLE, SYMBOL, candles(10)),
          own.enqueueCandles(TABLE, SYMBOL, candles(250)),
        ]);
      });
      await done();
    },
  );
});

describe('everything else is the store itself', () => {
  test('it is a CandleStore with everything that one has', async () => {
    const store = open();
    store.upsertCandles(TABLE, SYMBOL, candles(20));
    const { done, of } = once(store, async ({ store: own, job, signal }) => {
      expect(own).toBeInstanceOf(CandleStore);
      expect([job, signal.aborted]).toEqual(['job', false]);
      // Each method and each property of the class is there.
      for (const name of Reflect.ownKeys(CandleStore.prototype)) {
        if (name === 'constructor' || String(name).startsWith('_')) continue;
        const { get } = Object.getOwnPropertyDescriptor(CandleStore.prototype, name);
        expect([name, typeof own[name]]).toEqual([name, get ? typeof store[name] : 'function']);
      }
      expect(own.getCandles(TABLE, SYMBOL, 3)).toEqual(candles(3, 17));
      expect(own.getCandlesOf([{ table: TABLE, symbol: SYMBOL, limit: 1 }])).toEqual([candles(1, 19)]);
      expect(own.getCandlesColumns(TABLE, SYMBOL, 2).time).toEqual(
        Float64Array.of(candle(18).time, candle(19).time),
      );
      expect(JSON.parse(own.getCandlesJson(TABLE, SYMBOL, 2))).toEqual(candles(2, 18));
      expect(own.getLastCandleTime(TABLE, SYMBOL)).toBe(candle(19).time);
      expect(own.getLatest()).toEqual(store.getLatest());
      expect(own.getSeries()).toEqual(store.getSeries());
      expect(own.getStats().candles_15).toBe(20);
      expect(own.queue.stats()).toEqual(store.queue.stats());
      expect(own.queue.live.rows).toBe(0);
      expect(await own.readCandles({ table: TABLE, symbol: SYMBOL })).toEqual(candles(20));
      expect(await own.readLatest()).toEqual(store.getLatest());
      expect(await own.readSeries()).toEqual(store.getSeries());
      expect(await own.query('SELECT count(*) AS n FROM candles_15')).toEqual([{ n: 20 }]);
      await own.ready();
      await own.flush();
      expect(own.db).toBe(store.db);
      expect(own.dbReadOnly).toBe(store.dbReadOnly);
      // A transaction of the caller's is one for both.
      own.db.transaction(() => {
        own.upsertCandle(TABLE, 'X:IN', candle(0));
        expect(own.getCandles(TABLE, 'X:IN')).toEqual([candle(0)]);
        expect(store.getCandles(TABLE, 'X:IN')).toEqual([candle(0)]);
      })();
      const detached = own.getCandles;
      expect(() => detached.call(own, TABLE, SYMBOL, 1)).not.toThrow();
    });
    await done();
    expect(of('job-failed')).toEqual([]);
  });

  test('its events are those of the store', async () => {
    const store = open();
    const heard = [];
    const listener = (told) => heard.push(told.symbol);
    const { done } = once(store, async ({ store: own }) => {
      expect(own.on('candles', listener)).toBe(own);
      expect(store.listenerCount('candles')).toBe(1);
      await own.enqueueCandles(TABLE, SYMBOL, candles(1));
      await store.enqueueCandles(TABLE, 'X:OTHER', candles(1));
      await until(() => heard.includes('X:OTHER') && heard.includes(SYMBOL));
      own.off('candles', listener);
      expect(store.listenerCount('candles')).toBe(0);
      let drained = 0;
      own.once('drained', () => (drained += 1));
      store.emit('drained');
      expect(drained).toBe(1);
    });
    await done();
  });

  test('a run cannot close the store under the others', async () => {
    const store = open();
    const { done } = once(store, async ({ store: own }) => {
      await expect(own.close()).rejects.toEqual(failure({}));
      await expect(own.close({ deadlineMs: 0 })).rejects.toEqual(failure({}));
      await expect(own[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]()).rejects.toEqual(
        failure({}),
      );
    });
    await done();
    store.upsertCandle(TABLE, SYMBOL, candle(0));
  });

  test('what is wrong with a call is said as the store says it, and does not count as a wait', async () => {
    const store = open();
    const { done, job } = once(store, async ({ store: own }) => {
      await expect(own.enqueueCandles('candles_7', SYMBOL, candles(1))).rejects.toEqual(
        failure({ code: 'UNKNOWN_TABLE' }),
      );
      await expect(own.enqueueCandles(TABLE, SYMBOL, candles(1), { priority: 'urgent' })).rejects.toEqual(
        failure({ code: expect.stringMatching(/^INVALID_/) }),
      );
      await expect(own.enqueueCandles(TABLE, SYMBOL, candles(6_000))).rejects.toEqual(
        failure({ code: 'BATCH_TOO_LARGE' }),
      );
      await expect(own.enqueueWrite('COMMIT')).rejects.toEqual(failure({ code: 'INVALID_SQL' }));
    });
    await done();
    expect(job('job')).toMatchObject({ rowsWritten: 0, lockWaits: 0 });
  });

  test('the input of a write is copied before the call returns', async () => {
    const { store, release } = await lockedStore({ queueCapacityRows: 20, whenFull: 'wait' });
    const { done } = once(store, async ({ store: own }) => {
      const writes = [];
      const rows = candles(8);
      for (let n = 0; n < 5; n++) {
        for (const row of rows) row.close = n;
        writes.push(own.enqueueCandles(TABLE, `X:${n}`, rows));
      }
      for (const row of rows) row.close = -1;
      await release();
      await Promise.all(writes);
    });
    await done();
    for (let n = 0; n < 5; n++) expect(all(store, `X:${n}`)).toEqual(candles(8, 0, { close: n }));
  });
});

describe('the interval', () => {
  /** Runs a job whose writes are `lines` of waiting (true) and not (false) ones, one line a run, and tells its intervals. */
  async function intervals(lines, options = {}, write) {
    const store = open();
    const holder = await locker(store.db.name);
    const { supervisor, event, of, job } = supervise(store, {
      lockWaitThresholdMs: 15,
      failureThreshold: 100,
    });
    const queue = [...lines];
    let n = 0;
    supervisor.job('job', { everyMs: 20, minEveryMs: 10, ...options }, async ({ store: own }) => {
      for (const waits of queue.shift() ?? []) {
        if (waits) await holder.holdFor(40);
        await (write ?? ((to, at) => to.enqueueCandles(TABLE, SYMBOL, [candle(at)])))(own, (n += 1));
        if (waits) await holder.released();
      }
    });
    supervisor.start();
    await event('job-succeeded', 'job', lines.length + 1);
    await supervisor.stop();
    await holder.end();
    return { changes: of('job-interval').map(({ fromMs, toMs }) => [fromMs, toMs]), status: job('job') };
  }
  const line = (writes, waiting) => Array.from({ length: writes }, (_, n) => n < waiting);

  test('stays where no more than 10 % and no less than 5 % of the writes had to wait', async () => {
    const { changes, status } = await intervals([line(10, 1), line(20, 1), line(12, 1)]);
    expect(changes).toEqual([]);
    expect(status).toMatchObject({ everyMs: 20, writes: 42, lockWaits: 3 });
    expect(status.lockWaitRate).toBeCloseTo(1 / 12);
  });

  test('grows above 10 %, shrinks below 5 % down to its bound, and a run without writes changes nothing', async () => {
    const { changes, status } = await intervals([
      line(9, 1),
      [],
      line(21, 1),
      [],
      line(1, 0),
      line(3, 0),
      line(1, 0),
      line(1, 0),
      line(1, 0),
      line(1, 0),
      line(1, 0),
      line(1, 0),
      line(1, 0),
    ]);
    expect(changes.length).toBe(11);
    changes.forEach(([from, to], n) => {
      const exact = n === 0 ? 30 : Math.max(10, from * 0.9);
      expect(Math.abs(to - exact)).toBeLessThanOrEqual(0.5);
    });
    expect(status.everyMs).toBeLessThan(12);
    expect(status.lockWaitRate).toBe(0);
    expect(status.why).toMatch(/\S/);
  });

  test('is that to the next run already, counted from the begin of the run that changed it', async () => {
    const store = open();
    const holder = await locker(store.db.name);
    const { supervisor, event, job } = supervise(store, { lockWaitThresholdMs: 15 });
    supervisor.job('job', { everyMs: 10_000 }, async ({ store: own }) => {
      await holder.holdFor(40);
      await own.enqueueCandles(TABLE, SYMBOL, candles(1));
    });
    supervisor.start();
    expect(await event('job-interval', 'job')).toMatchObject({
      fromMs: 10_000,
      toMs: 15_000,
      lockWaitRate: 1,
    });
    const { nextRunAt, lastRun } = job('job');
    expect(nextRunAt - lastRun.startedAt).toBeLessThanOrEqual(15_001);
    expect(nextRunAt - lastRun.startedAt).toBeGreaterThan(14_000);
    await holder.released();
    await holder.end();
  });

  test('takes the waits of synchronous writes and of removals for what they are', async () => {
    const kinds = [
      (own, n) => own.upsertCandle(TABLE, SYMBOL, candle(n)),
      (own, n) => own.upsertCandles(TABLE, SYMBOL, [candle(n)]),
      (own) => own.deleteCandles(TABLE, 'X:Y'),
      (own) => own.enqueueDelete(TABLE, 'X:Y'),
      (own) => own.enqueueWrite('DELETE FROM candles_15 WHERE time = 1'),
      (own) => own.enqueueTransaction(['DELETE FROM candles_15 WHERE time = 1']),
    ];
    const { changes, status } = await intervals([line(6, 6)], {}, (own, n) => kinds[n - 1](own, n));
    expect(changes).toEqual([[20, 30]]);
    expect(status).toMatchObject({ writes: 6, lockWaits: 6, lockWaitRate: 1 });
  });

  test('does not take waiting behind writes of its own process for a wait for the lock', async () => {
    const store = open();
    const { supervisor, event, of, job } = supervise(store, { lockWaitThresholdMs: 1 });
    supervisor.job('job', { everyMs: NEVER }, async ({ store: own }) => {
      const writes = Array.from({ length: 20 }, (_, n) =>
        own.enqueueCandles(TABLE, SYMBOL, candles(2_000, n * 2_000)),
      );
      await Promise.all(writes);
    });
    supervisor.start();
    await event('job-succeeded', 'job');
    expect(job('job')).toMatchObject({ lockWaits: 0, lockWaitRate: 0 });
    expect(of('job-interval')).toEqual([]);
  });
});
