'use strict';

// Jobs that fail: when one is taken out and told of, when it is tried again, how the database that is at fault is found
// to work again, and what is said of all that meanwhile.

const { setImmediate: turn, setTimeout: pause } = require('node:timers/promises');

const { gate, supervise } = require('./support/supervisor.js');
const { python, runElsewhere } = require('./support/process.js');
const { until } = require('./support/until.js');
const { SYMBOL, TABLE, all, candle, candles, failure, newFile, open } = require('./support/store.js');

const NEVER = 86_400_000;

/** A job whose runs fail as long as `fails.with` is an error, and the supervisor that runs it. */
function failing(options, { everyMs = 10, ...jobOptions } = {}, store = open()) {
  const supervised = supervise(store, options);
  const fails = { with: new Error('no answer') };
  const run = () => {
    if (fails.with) throw fails.with;
  };
  supervised.triggered = supervised.supervisor.job('bad', { everyMs, ...jobOptions }, run);
  return { ...supervised, fails, store };
}

describe('thresholds', () => {
  test('so many failures in a row disable a job, and one success in between starts the count anew', async () => {
    const { supervisor, event, of, told, job } = supervise(open(), { failureThreshold: 3 });
    const error = new Error('no answer');
    let runs = 0;
    supervisor.job('bad', { everyMs: 10 }, () => {
      // Two fail, one does not, two fail, one does not, and then all of them.
      if ((runs += 1) % 3 !== 0 || runs === 9) throw error;
    });
    supervisor.start();
    const disabled = await event('job-disabled', 'bad');
    expect(runs).toBe(9);
    expect(of('job-failed').map(({ failuresInRow }) => failuresInRow)).toEqual([1, 2, 1, 2, 1, 2, 3]);
    expect(disabled).toMatchObject({
      severity: 'critical',
      cause: 'job',
      error,
      failuresInRow: 3,
      retryInMs: expect.any(Number),
      message: expect.stringContaining('bad'),
      advice: expect.stringMatching(/\S/),
    });
    expect(disabled.retryInMs).toBeLessThanOrEqual(60_000);
    expect(disabled.retryInMs).toBeGreaterThan(50_000);
    const { state, cause, disabledUntil, failuresInRow, nextRunAt, succeeded, failed } = job('bad');
    expect({ state, cause, failuresInRow, succeeded, failed }).toEqual({
      state: 'disabled',
      cause: 'job',
      failuresInRow: 3,
      succeeded: 2,
      failed: 7,
    });
    expect(disabledUntil - Date.now()).toBeGreaterThan(50_000);
    expect(nextRunAt).toBe(disabledUntil);
    // Its times are skipped and told of, one by one.
    await event('job-skipped', 'bad', 3);
    const skips = told.slice(told.indexOf(disabled)).filter(({ name }) => name === 'job-skipped');
    expect(skips[0]).toMatchObject({ reason: 'disabled', times: 1, heldBy: null });
    expect(skips.at(-1).sinceMs).toBeGreaterThan(skips[0].sinceMs);
    expect(of('job-started').length).toBe(9);
  });

  test('are five failures of its own, and three because of the database, unless said otherwise', async () => {
    const store = open(newFile(), { busyTimeoutMs: 0 });
    const { supervisor, event } = failing({}, {}, store);
    supervisor.job('kept out', { everyMs: 10 }, (run) => run.store.upsertCandle(TABLE, SYMBOL, candle(0)));
    const other = python(store.db.name);
    await other.sql('BEGIN IMMEDIATE');
    supervisor.start();
    expect(await event('job-disabled', 'bad')).toMatchObject({ cause: 'job', failuresInRow: 5 });
    expect(await event('job-disabled', 'kept out')).toMatchObject({ cause: 'database', failuresInRow: 3 });
    await other.end();
  });
});

describe('cool-down', () => {
  test('is doubled after each trial that fails up to its cap, alerts once, and is as at first after a recovery', async () => {
    const { supervisor, event, of, fails, job } = failing({
      failureThreshold: 1,
      cooldownMs: 40,
      maxCooldownMs: 150,
    });
    const cooldowns = [];
    supervisor.on('job-failed', () =>
      setImmediate(() => {
        const { disabledUntil, lastRun } = job('bad');
        cooldowns.push(disabledUntil - lastRun.startedAt - lastRun.tookMs);
      }),
    );
    const near = (ms) => expect.closeTo(ms, -1.4); // within 12 ms
    supervisor.start();
    await event('job-failed', 'bad', 5);
    await until(() => cooldowns.length === 5);
    expect(cooldowns).toEqual([40, 80, 150, 150, 150].map(near));
    const began = of('job-started').map(({ at }) => at);
    [40, 80, 150, 150].forEach((ms, n) => expect(began[n + 1] - began[n]).toBeGreaterThanOrEqual(ms - 2));
    expect(of('job-disabled').length).toBe(1);
    expect(of('job-recovered')).toEqual([]);
    expect(job('bad').state).toBe('disabled');

    const error = fails.with;
    fails.with = null;
    const { downMs } = await event('job-recovered', 'bad');
    expect(downMs).toBeGreaterThanOrEqual(40 + 80 + 150 + 150 - 10);
    expect(job('bad')).toMatchObject({
      state: 'waiting',
      failuresInRow: 0,
      cause: null,
      disabledUntil: null,
    });
    await event('job-succeeded', 'bad', 3);
    expect(of('job-recovered').length).toBe(1);
    fails.with = error;
    await event('job-disabled', 'bad', 2);
    await until(() => cooldowns.length >= 6);
    expect(cooldowns[5]).toEqual(near(40));
  });

  test('after a recovery the threshold counts from the start', async () => {
    const { supervisor, event, of, fails } = failing({ failureThreshold: 3, cooldownMs: 10 });
    const error = fails.with;
    supervisor.start();
    await event('job-disabled', 'bad');
    fails.with = null;
    await event('job-recovered', 'bad');
    const failed = of('job-failed').length;
    fails.with = error;
    await event('job-disabled', 'bad', 2);
    expect(
      of('job-failed')
        .slice(failed)
        .map(({ failuresInRow }) => failuresInRow),
    ).toEqual([1, 2, 3]);
  });

  test('a disabled job whose trial hangs is hung, not tried again, and still one alert', async () => {
    const hold = gate();
    const { supervisor, event, of, job } = supervise(open(), { failureThreshold: 1, cooldownMs: 20 });
    let runs = 0;
    supervisor.job('bad', { everyMs: 10, timeLimitMs: 20 }, () => {
      if ((runs += 1) === 1) throw new Error('no answer');
      return runs === 2 ? hold.promise : null;
    });
    supervisor.start();
    await event('job-failed', 'bad', 2);
    await pause(40);
    expect(job('bad')).toMatchObject({ state: 'hung', nextRunAt: null });
    expect(runs).toBe(2);
    hold.open();
    await event('job-recovered', 'bad');
    expect(of('job-disabled').length).toBe(1);
  });

  test('a disabled job of a supervisor that is stopped and started again is not forgotten to have been alerted', async () => {
    const { supervisor, event, of, fails } = failing({ failureThreshold: 1, cooldownMs: 20 });
    supervisor.start();
    await event('job-disabled', 'bad');
    await supervisor.stop();
    supervisor.start();
    const failed = of('job-failed').length;
    await event('job-failed', 'bad', failed + 1);
    fails.with = null;
    await event('job-recovered', 'bad');
    expect(of('job-disabled').length).toBe(1);
  });
});

describe('the cause', () => {
  const rows = candles(1);
  test.each([
    ['an error of its own', 'job', () => Promise.reject(new Error('no answer'))],
    [
      "an exchange's time-out",
      'job',
      () => Promise.reject(Object.assign(new Error('slow'), { code: 'TIMEOUT' })),
    ],
    ['a candle that is none', 'job', (run) => run.store.enqueueCandles(TABLE, SYMBOL, [{ time: 1 }])],
    ['bad SQL', 'job', (run) => run.store.enqueueWrite('INSERT INTO no_such_table VALUES (1)')],
    [
      'its own signal',
      'job',
      (run) => run.store.enqueueCandles(TABLE, SYMBOL, rows, { signal: AbortSignal.abort() }),
    ],
    [
      'the lock, synchronously',
      'database',
      async (run) => run.store.upsertCandles(TABLE, SYMBOL, rows),
      true,
    ],
    [
      'the lock, queued',
      'database',
      (run) => run.store.enqueueCandles(TABLE, SYMBOL, rows, { timeoutMs: 20 }),
      true,
    ],
    ['the lock, by the raw handle', 'database', async (run) => run.store.db.exec('BEGIN IMMEDIATE'), true],
    [
      'the lock, un-awaited',
      'database',
      (run) => void run.store.enqueueCandles(TABLE, SYMBOL, rows, { timeoutMs: 20 }),
      true,
    ],
    [
      'the lock, told in words of its own',
      'database',
      async (run) => {
        try {
          run.store.upsertCandles(TABLE, SYMBOL, rows);
        } catch (cause) {
          throw new Error('could not store', { cause });
        }
      },
      true,
    ],
  ])('of %s is %s', async (_what, cause, run, locked = false) => {
    const store = open(newFile(), { busyTimeoutMs: 10 });
    const other = python(store.db.name);
    await other.sql('SELECT 1');
    if (locked) await other.sql('BEGIN IMMEDIATE');
    const { supervisor, event } = supervise(store, { probeIntervalMs: 2_000 });
    supervisor.job('bad', { everyMs: NEVER }, run);
    supervisor.start();
    expect(await event('job-failed', 'bad')).toMatchObject({ cause });
    // Known once it was asked.
    if (locked) await until(() => supervisor.status().database === 'failing');
    else expect(supervisor.status().database).toBe('working');
    await other.end();
  });

  test('of a full disk, and of the breaker that it opens, is the database', async () => {
    const store = open();
    store.upsertCandles(TABLE, SYMBOL, candles(100));
    store.db.pragma(`max_page_count = ${store.db.pragma('page_count', { simple: true })}`);
    const { supervisor, event, of } = supervise(store, { probeIntervalMs: 20, cooldownMs: 60_000 });
    let next = 0;
    supervisor.job('bad', { everyMs: 20 }, async (run) => {
      run.store.upsertCandles(TABLE, SYMBOL, candles(1_000, 100 + next * 1_000));
      next += 1;
    });
    supervisor.start();
    await event('job-disabled', 'bad');
    expect(of('job-failed').map(({ cause, error }) => [cause, error.code])).toEqual([
      ['database', 'DISK_FULL'],
      ['database', 'BREAKER_OPEN'],
      ['database', 'BREAKER_OPEN'],
    ]);
    store.db.pragma('max_page_count = 1000000');
    await event('job-recovered', 'bad');
    await event('job-succeeded', 'bad', 2);
    expect(of('job-disabled').length).toBe(1);
    expect(supervisor.status().database).toBe('working');
    expect(all(store)).toEqual(candles(100 + next * 1_000));
  });
});

describe('the probe', () => {
  let other;
  afterEach(() => other?.end());

  /** Three jobs on a locked file, two of which fail for it, and one of its own accord. */
  async function outage(options) {
    const store = open(newFile(), { busyTimeoutMs: 5 });
    other = python(store.db.name);
    await other.sql('BEGIN IMMEDIATE');
    const supervised = supervise(store, {
      failureThreshold: 2,
      databaseFailureThreshold: 2,
      cooldownMs: 60_000,
      probeIntervalMs: 20,
      ...options,
    });
    const { supervisor, event } = supervised;
    let next = 0;
    const write = (run) => run.store.upsertCandle(TABLE, SYMBOL, candle((next += 1)));
    supervisor.job('live', { everyMs: 20 }, write);
    supervisor.job('backfill', { everyMs: NEVER, priority: 'backfill' }, (run) =>
      run.store.enqueueCandles(TABLE, 'X:B', candles(1), { timeoutMs: 10 }),
    );
    supervisor.job('own', { everyMs: 20 }, () => {
      throw new Error('no answer');
    });
    supervisor.start();
    await event('job-disabled', 'live');
    await event('job-disabled', 'own');
    await event('job-failed', 'backfill');
    return { ...supervised, store, release: () => other.sql('COMMIT') };
  }

  test('brings back what failed because of the database as soon as that works, and nothing else', async () => {
    const { supervisor, event, of, job, release } = await outage();
    await until(() => supervisor.status().database === 'failing');
    expect(job('live').disabledUntil - Date.now()).toBeGreaterThan(50_000);
    expect(supervisor.health().checks).toMatchObject({
      database: {
        status: expect.stringMatching(/warn|fail/),
        message: expect.stringMatching(/\S/),
        advice: expect.stringMatching(/\S/),
      },
      'job:live': {
        status: 'fail',
        message: expect.stringMatching(/\S/),
        advice: expect.stringMatching(/\S/),
      },
    });
    // It is tried over and over, and found not to work, without the jobs' being run.
    const runs = of('job-started').length;
    await pause(10 * 20);
    expect(of('job-started').length).toBe(runs);
    expect(supervisor.status().database).toBe('failing');
    await release();
    const released = performance.now();
    const { at } = await event('job-recovered', 'live');
    expect(at - released).toBeLessThan(5_000);
    // One that had failed, and was not disabled yet, need not wait for its time either.
    await event('job-succeeded', 'backfill');
    await turn();
    expect(supervisor.status().database).toBe('working');
    expect(supervisor.health().checks.database).toEqual({ status: 'pass', message: '', advice: '' });
    expect(job('live')).toMatchObject({ state: expect.stringMatching(/waiting|running/), failuresInRow: 0 });
    expect(job('own')).toMatchObject({ state: 'disabled', cause: 'job' });
    expect(of('job-disabled').length).toBe(2);
    expect(of('job-recovered').length).toBe(1);
  });

  test('changes nothing in the file, and is not made while nothing fails', async () => {
    const { supervisor, event, store, release } = await outage();
    await release();
    await event('job-recovered', 'live');
    await supervisor.stop();
    const version = () => other.sql('PRAGMA data_version');
    const before = await version();
    const schema = await other.sql('SELECT name FROM sqlite_schema ORDER BY name');
    const idle = supervise(store, { probeIntervalMs: 10 });
    idle.supervisor.job('reads', { everyMs: 10 }, (run) => run.store.getCandles(TABLE, SYMBOL));
    idle.supervisor.start();
    await idle.event('job-succeeded', 'reads', 8);
    expect(await version()).toEqual(before);
    expect(await other.sql('SELECT name FROM sqlite_schema ORDER BY name')).toEqual(schema);
    expect(schema.map(([name]) => name).filter((name) => !/candles_\d+|sqlite_/.test(name))).toEqual([]);
  });

  test('ends with stop(), and a supervisor that is started again finds out anew', async () => {
    const { supervisor, event, of, store, release } = await outage();
    await supervisor.stop();
    // Nothing is asked any more, and no question waits for the lock, which would keep the process alive.
    const { accepted } = store.queue.stats();
    await pause(60);
    expect(store.queue.stats()).toMatchObject({ accepted, queued: { commands: 0 } });
    await release();
    const runs = of('job-started', 'live').length;
    supervisor.start();
    await event('job-started', 'live', runs + 1);
    await event('job-recovered', 'live');
    await until(() => supervisor.status().database === 'working');
  });

  test('a job that fails by a database that works is not run without a pause, and alerts once', async () => {
    const { supervisor, event, of } = supervise(open(), {
      databaseFailureThreshold: 1,
      probeIntervalMs: 10,
    });
    supervisor.job('bad', { everyMs: 10 }, (run) =>
      run.store.enqueueCandles(TABLE, SYMBOL, candles(1), { timeoutMs: 0 }),
    );
    supervisor.start();
    await event('job-failed', 'bad');
    await pause(400);
    // It is not told how often, but that is far from each of its times, and of the probe's.
    expect(of('job-started').length).toBeLessThanOrEqual(4);
    expect(of('job-disabled').length).toBe(1);
    expect(supervisor.status().database).toBe('working');
  });
});

describe('what is said', () => {
  const FIELDS = [
    ...[
      'blockedSince',
      'message',
      'blockedBy',
      'state',
      'priority',
      'exclusive',
      'lastRun',
      'runningSince',
      'nextRunAt',
      'everyMs',
      'minEveryMs',
    ],
    ...[
      'maxEveryMs',
      'why',
      'succeeded',
      'failed',
      'skipped',
      'failuresInRow',
      'cause',
      'error',
      'disabledUntil',
    ],
    ...['rowsWritten', 'writes', 'lockWaits', 'writesFailed', 'lockWaitRate', 'availability'],
  ];

  test('status() has every field of every job at every time, as values that JSON can hold', async () => {
    const { supervisor, event, job } = failing({ failureThreshold: 2 });
    const look = () => {
      const { running, database, jobs } = supervisor.status();
      expect(Object.keys(supervisor.status()).sort()).toEqual([
        'database',
        'jobs',
        'leading',
        'running',
        'standby',
      ]);
      expect(typeof running).toBe('boolean');
      expect(database).toBe('working');
      expect(Object.keys(jobs.bad).sort()).toEqual([...FIELDS].sort());
      expect(jobs.bad.why).toMatch(/\S/);
      for (const value of Object.values(jobs.bad)) expect(Number.isNaN(value)).toBe(false);
      expect(Object.keys(JSON.parse(JSON.stringify(jobs.bad))).sort()).toEqual([...FIELDS].sort());
    };
    look();
    supervisor.start();
    await event('job-failed', 'bad');
    look();
    await event('job-disabled', 'bad');
    look();
    // What was given is the caller's own.
    supervisor.status().jobs.bad.failed = -1;
    delete supervisor.status().jobs.bad;
    expect(job('bad').failed).toBe(2);
    await supervisor.stop();
    look();
  });

  test('health() is pass, warn or fail by the worst job, with what is the matter and what to do', async () => {
    const { supervisor, event, of, fails } = failing({ failureThreshold: 2 }, { priority: 'backfill' });
    let wrong = null;
    supervisor.job('live', { everyMs: 10, timeLimitMs: 30 }, () => wrong);
    const pass = { status: 'pass', message: '', advice: '' };
    const not = (status) => ({
      status,
      message: expect.stringMatching(/\S/),
      advice: expect.stringMatching(/\S/),
    });
    expect(supervisor.health()).toEqual({
      status: 'pass',
      checks: { database: pass, leader: pass, 'job:bad': pass, 'job:live': pass },
    });
    const error = fails.with;
    fails.with = null;
    supervisor.start();
    await event('job-succeeded', 'bad');
    await event('job-succeeded', 'live');
    expect(supervisor.health().status).toBe('pass');
    fails.with = error;
    const first = await new Promise((resolve) =>
      supervisor.once('job-failed', () => setImmediate(() => resolve(supervisor.health()))),
    );
    expect(first).toEqual({
      status: 'warn',
      checks: { database: pass, leader: pass, 'job:bad': not('warn'), 'job:live': pass },
    });
    await event('job-disabled', 'bad');
    await turn();
    expect(supervisor.health()).toEqual({
      status: 'warn',
      checks: { database: pass, leader: pass, 'job:bad': not('warn'), 'job:live': pass },
    });
    const hold = gate();
    wrong = hold.promise;
    await event('job-failed', 'live');
    await turn();
    expect(supervisor.health()).toMatchObject({ status: 'fail', checks: { 'job:live': not('fail') } });
    wrong = null;
    hold.open();
    await event('job-recovered', 'live');
    expect(supervisor.health().checks['job:live']).toEqual(pass);
    expect(of('job-disabled', 'bad').length).toBe(1);
  });

  test('availability is the share of the time in which a job worked', async () => {
    const { supervisor, event, fails, job } = failing({ failureThreshold: 1_000 });
    const error = fails.with;
    fails.with = null;
    const made = performance.now();
    supervisor.start();
    expect(job('bad').availability).toBe(1);
    await event('job-succeeded', 'bad', 10);
    expect(job('bad').availability).toBe(1);
    fails.with = error;
    const { at: from } = await event('job-failed', 'bad');
    await event('job-failed', 'bad', 15);
    expect(job('bad').availability).toBeCloseTo((from - made) / (performance.now() - made), 1);
    const good = job('bad').succeeded;
    fails.with = null;
    const { at: to } = await event('job-succeeded', 'bad', good + 1);
    await event('job-succeeded', 'bad', good + 10);
    const expected = 1 - (to - from) / (performance.now() - made);
    expect(job('bad').availability).toBeCloseTo(expected, 1);
    expect(job('bad').availability).toBeGreaterThan(0);
    expect(job('bad').availability).toBeLessThan(1);
  });

  test('while a run hangs its job is not available, from its limit on', async () => {
    const { supervisor, event, job } = supervise(open());
    const hold = gate();
    const made = performance.now();
    supervisor.job('hangs', { everyMs: 20, timeLimitMs: 100 }, () => hold.promise);
    supervisor.start();
    const { at } = await event('job-failed', 'hangs');
    await pause(200);
    const now = performance.now();
    expect(job('hangs').availability).toBeCloseTo((at - made) / (now - made), 1);
    hold.open();
    await event('job-recovered', 'hangs');
    expect(job('hangs').availability).toBeGreaterThan(0);
  });
});

test('what a job has failed of is in the JSON of its status, with its message', async () => {
  const store = open();
  const { supervisor, event } = supervise(store);
  supervisor.job('sql', { everyMs: NEVER }, (run) =>
    run.store.enqueueWrite('INSERT INTO nowhere VALUES (1)'),
  );
  supervisor.job('text', { everyMs: NEVER }, () => {
    throw 'only text';
  });
  supervisor.start();
  await event('job-failed', 'sql');
  const { message } = await event('job-failed', 'text');
  expect(message).toBe('only text');
  const { jobs } = JSON.parse(JSON.stringify(supervisor.status()));
  expect(jobs.sql.error).toMatchObject({
    name: 'CandleStoreError',
    code: 'SQL_ERROR',
    message: expect.stringContaining('nowhere'),
  });
  expect(jobs.sql.lastRun.message).toBe(jobs.sql.error.message);
  expect(jobs.text).toMatchObject({ error: 'only text', message: 'only text' });
});

describe('a store that is closed underneath', () => {
  test('fails the jobs by the database, and the supervisor stops, and the process ends', async () => {
    const ended = await runElsewhere(
      async ({ require: load, say, until: met }, file) => {
        const { openStore, createCollectorSupervisor: create } = load('candlestore');
        const store = openStore(file);
        const supervisor = create(store, { probeIntervalMs: 10, databaseFailureThreshold: 2 });
        const rows = [{ time: 1704067200000, open: 1, high: 1, low: 1, close: 1, volume: 1 }];
        const told = [];
        supervisor.on('job-disabled', ({ job, cause, error }) => told.push([job, cause, error.code]));
        supervisor.job('queued', { everyMs: 10 }, (run) => run.store.enqueueCandles(15, 'X:Y', rows));
        supervisor.job('sync', { everyMs: 10 }, (run) => run.store.upsertCandles(15, 'X:Y', rows));
        supervisor.start();
        await met(() => supervisor.status().jobs.queued.succeeded > 2);
        await store.close();
        await met(() => !supervisor.status().running);
        const { database, jobs } = supervisor.status();
        say([told.length > 0, ...new Set(told.flat())]);
        say([database, jobs.queued.state, jobs.sync.state, supervisor.health().status]);
        try {
          supervisor.start();
        } catch (error) {
          say(error.code);
        }
      },
      [newFile()],
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
    expect(ended.said[0]).toEqual(expect.arrayContaining([true, 'database', 'CLOSED']));
    expect(ended.said.slice(1)).toEqual([['failing', 'stopped', 'stopped', 'fail'], 'CLOSED']);
  });

  test('while a run goes on: its writes are refused, and it can end', async () => {
    const store = open();
    const { supervisor, event } = supervise(store);
    const hold = gate();
    let outcome;
    supervisor.job('job', { everyMs: NEVER }, async (run) => {
      await hold.promise;
      outcome = run.store.enqueueCandles(TABLE, SYMBOL, candles(1));
      await outcome;
    });
    supervisor.start();
    await event('job-started', 'job');
    await store.close();
    hold.open();
    expect(await event('job-failed', 'job')).toMatchObject({
      cause: 'database',
      error: failure({ code: 'CLOSED' }),
    });
    await expect(outcome).rejects.toEqual(failure({ code: 'CLOSED', written: 'no' }));
  });
});
