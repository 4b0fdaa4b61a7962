'use strict';

// When the jobs of a supervisor run, and when they do not: options, times, triggers, limits, start and stop.

const { EventEmitter } = require('node:events');
const { setImmediate: turn, setTimeout: pause } = require('node:timers/promises');

const candlestore = require('candlestore');
const { gate, supervise } = require('./support/supervisor.js');
const { runElsewhere } = require('./support/process.js');
const { until } = require('./support/until.js');
const { SYMBOL, TABLE, all, candle, candles, failure, newFile, open } = require('./support/store.js');

const { createCollectorSupervisor } = candlestore;
const NEVER = 86_400_000;
const nothing = () => {};
const INVALID_OPTION = failure({ code: 'INVALID_OPTION' });
const INVALID_ARGUMENT = failure({ code: 'INVALID_ARGUMENT' });
/** What is no number that an option could be. */
const NO_NUMBERS = [NaN, Infinity, -1, '100', true, {}, 100n];

describe('options', () => {
  test.each([
    ['failureThreshold', 1, 1_000],
    ['databaseFailureThreshold', 1, 1_000],
    ['cooldownMs', 10, NEVER],
    ['maxCooldownMs', 60_000, NEVER],
    ['probeIntervalMs', 10, 2_000],
    ['lockWaitThresholdMs', 1, 60_000],
  ])('of a supervisor: %s is from %d to %d', (name, least, most) => {
    const store = open();
    for (const value of [least, most]) createCollectorSupervisor(store, { [name]: value });
    createCollectorSupervisor(store, { [name]: undefined });
    for (const value of [least - 1, most + 1, ...NO_NUMBERS])
      expect(() => createCollectorSupervisor(store, { [name]: value })).toThrow(
        failure({ code: 'INVALID_OPTION', message: expect.stringContaining(name) }),
      );
  });

  test('the longest cool-down is not shorter than the first, which it follows where none is given', () => {
    const store = open();
    createCollectorSupervisor(store, { cooldownMs: 700_000 });
    createCollectorSupervisor(store, { cooldownMs: 700_000, maxCooldownMs: 700_000 });
    expect(() => createCollectorSupervisor(store, { cooldownMs: 700_000, maxCooldownMs: 699_999 })).toThrow(
      INVALID_OPTION,
    );
  });

  test('the name of a leader is made of what names of exclusive jobs are', () => {
    const store = open();
    for (const leader of [undefined, null, 'x'.repeat(64), 'A.b_c:D-9'])
      createCollectorSupervisor(store, { leader });
    for (const leader of ['', 'x'.repeat(65), 'a b', '../a', 'ä', 5])
      expect(() => createCollectorSupervisor(store, { leader })).toThrow(INVALID_OPTION);
  });

  test('an unknown one is refused by its name, and so is what is no store', () => {
    const store = open();
    expect(() => createCollectorSupervisor(store, { cooldownMS: 100 })).toThrow(
      failure({ code: 'INVALID_OPTION', message: expect.stringContaining('cooldownMS') }),
    );
    for (const options of [null, 5, 'x']) expect(() => createCollectorSupervisor(store, options)).toThrow();
    for (const none of [undefined, null, {}, store.db, new EventEmitter(), 'candles.db'])
      expect(() => createCollectorSupervisor(none)).toThrow(INVALID_ARGUMENT);
  });

  test.each([
    ['everyMs', 10, NEVER],
    ['minEveryMs', 10, 100],
    ['maxEveryMs', 100, 604_800_000],
    ['timeLimitMs', 10, 604_800_000],
  ])('of a job: %s is from %d to %d', (name, least, most) => {
    const supervisor = createCollectorSupervisor(open());
    for (const value of [least, most])
      supervisor.job(`of ${value}`, { everyMs: 100, [name]: value }, nothing);
    for (const value of [least - 1, most + 1, ...NO_NUMBERS])
      expect(() => supervisor.job('refused', { everyMs: 100, [name]: value }, nothing)).toThrow(
        failure({ code: 'INVALID_OPTION', message: expect.stringContaining(name) }),
      );
    // What was refused is not there, and its name is free.
    expect(Object.keys(supervisor.status().jobs)).toEqual([`of ${least}`, `of ${most}`]);
    supervisor.job('refused', { everyMs: 100 }, nothing);
  });

  test('of a job: the others', () => {
    const supervisor = createCollectorSupervisor(open());
    const add = (name, options) => supervisor.job(name, options, nothing);
    for (const options of [
      {},
      { everyMs: undefined },
      { everyMs: 100, every: 100 },
      { everyMs: 100, priority: 'urgent' },
      { everyMs: 100, priority: null },
      ...['', 'x'.repeat(65), 'a b', 'a/b', '../a', 'ä', 'a\n', 5].map((exclusive) => ({
        everyMs: 100,
        exclusive,
      })),
    ])
      expect(() => add('refused', options)).toThrow(INVALID_OPTION);
    for (const options of [undefined, null, 100]) expect(() => add('refused', options)).toThrow();

    add('plain', { everyMs: 100 });
    expect(supervisor.status().jobs.plain).toMatchObject({
      priority: 'live',
      exclusive: null,
      everyMs: 100,
      minEveryMs: 100,
      maxEveryMs: 500,
    });
    add('rare', { everyMs: NEVER, timeLimitMs: null, exclusive: null, priority: 'maintenance' });
    expect(supervisor.status().jobs.rare).toMatchObject({
      priority: 'maintenance',
      maxEveryMs: NEVER,
      exclusive: null,
    });
    add('hourly', { everyMs: 1_000_000 });
    expect(supervisor.status().jobs.hourly.maxEveryMs).toBe(3_600_000);
    add('own', { everyMs: 100, minEveryMs: 50, maxEveryMs: 200, exclusive: 'A.b_c:D-9' });
    expect(supervisor.status().jobs.own).toMatchObject({
      exclusive: 'A.b_c:D-9',
      minEveryMs: 50,
      maxEveryMs: 200,
    });
    add('long', { everyMs: 100, exclusive: 'x'.repeat(64) });
  });

  test('a job has a name of its own and a function', () => {
    const supervisor = createCollectorSupervisor(open());
    for (const name of ['', undefined, null, 5, {}])
      expect(() => supervisor.job(name, { everyMs: 100 }, nothing)).toThrow(INVALID_ARGUMENT);
    for (const run of [undefined, null, 'run', {}])
      expect(() => supervisor.job('pools', { everyMs: 100 }, run)).toThrow(INVALID_ARGUMENT);
    expect(supervisor.job('pools', { everyMs: 100 }, nothing).name).toBe('pools');
    expect(() => supervisor.job('pools', { everyMs: 100 }, nothing)).toThrow(INVALID_ARGUMENT);
    // Names that an object has already are names like others.
    const odd = ['__proto__', 'constructor', 'toString', ' ', 'a:b/c'];
    for (const name of odd) supervisor.job(name, { everyMs: 100 }, nothing);
    const names = ['pools', ...odd];
    expect(Object.keys(supervisor.status().jobs).sort()).toEqual([...names].sort());
    expect(Object.keys(supervisor.health().checks).sort()).toEqual(
      ['database', 'leader', ...names.map((name) => `job:${name}`)].sort(),
    );
  });

  test('a store for reading only will do for jobs that do not write', async () => {
    const file = newFile();
    const writing = open(file);
    writing.upsertCandles(TABLE, SYMBOL, candles(3));
    await writing.close();
    const { supervisor, event } = supervise(open(file, { readOnly: true }));
    let read;
    supervisor.job('reads', { everyMs: NEVER }, async (run) => {
      read = await run.store.readCandles({ table: TABLE, symbol: SYMBOL });
    });
    supervisor.job('writes', { everyMs: NEVER }, (run) => run.store.upsertCandle(TABLE, SYMBOL, candle(0)));
    supervisor.start();
    await event('job-succeeded', 'reads');
    expect(read).toEqual(candles(3));
    expect(await event('job-failed', 'writes')).toMatchObject({ error: { code: 'READ_ONLY' }, cause: 'job' });
  });

  test('a supervisor is an EventEmitter and made by createCollectorSupervisor only', async () => {
    const supervisor = createCollectorSupervisor(open());
    expect(supervisor).toBeInstanceOf(EventEmitter);
    expect(supervisor).toBeInstanceOf(candlestore.CollectorSupervisor);
    const program = ({ say }, specifier) => import(specifier).then((names) => say(Object.keys(names).sort()));
    const { said } = await runElsewhere(program, [require.resolve('candlestore').replace(/js$/, 'mjs')]);
    expect(said[0]).toEqual([...Object.keys(candlestore), 'default'].sort());
  });
});

describe('times', () => {
  test('nothing runs before start(); then each job does once, live ones first', async () => {
    const { supervisor, of, told, job } = supervise(open());
    const ran = [];
    for (const [name, priority] of [
      ['maintenance', 'maintenance'],
      ['backfill', 'backfill'],
      ['live', 'live'],
      ['default', undefined],
    ])
      supervisor.job(name, { everyMs: NEVER, priority }, () => void ran.push(name));
    await turn();
    expect([ran, told]).toEqual([[], []]);
    expect(supervisor.status()).toMatchObject({ running: false, database: 'working' });
    expect(job('live')).toMatchObject({ state: 'stopped', nextRunAt: null, lastRun: null });
    supervisor.start();
    supervisor.start();
    expect(supervisor.status().running).toBe(true);
    await until(() => of('job-succeeded').length === 4);
    await turn();
    expect(ran.slice(0, 2).sort()).toEqual(['default', 'live']);
    expect(ran.slice(2).sort()).toEqual(['backfill', 'maintenance']);
    expect(of('job-started').map((event) => event.job)).toEqual(ran);
    const { state, lastRun, nextRunAt, runningSince } = job('live');
    expect({ state, runningSince }).toEqual({ state: 'waiting', runningSince: null });
    expect(nextRunAt - lastRun.startedAt).toBeGreaterThan(NEVER - 1_000);
    expect(nextRunAt - lastRun.startedAt).toBeLessThanOrEqual(NEVER + 1);
  });

  test('a job that is added later begins at once', async () => {
    const { supervisor, event } = supervise(open());
    supervisor.start();
    supervisor.job('late', { everyMs: NEVER }, nothing);
    await event('job-succeeded', 'late');
  });

  test('times are counted from begin to begin, however long a run takes', async () => {
    const { supervisor, event, of, job } = supervise(open());
    const everyMs = 60;
    const ahead = [];
    supervisor.job('pools', { everyMs }, () => pause(40));
    supervisor.on('job-succeeded', () => {
      setImmediate(() => ahead.push(job('pools').nextRunAt - job('pools').lastRun.startedAt));
    });
    supervisor.start();
    await event('job-started', 'pools', 8);
    const began = of('job-started').map(({ at }) => at);
    expect(Math.max(...ahead)).toBeLessThanOrEqual(everyMs + 1);
    expect(began.at(-1) - began[0]).toBeGreaterThan(6 * everyMs);
    expect(job('pools').skipped).toBe(of('job-skipped').length);
  });

  test('a job never overlaps itself: the times that its run takes are skipped, and told of', async () => {
    const { supervisor, event, of, job } = supervise(open());
    const { promise, open: end } = gate();
    let running = 0;
    let most = 0;
    supervisor.job('long', { everyMs: 15 }, async () => {
      most = Math.max(most, (running += 1));
      await promise;
      running -= 1;
    });
    supervisor.start();
    const [first, , third] = [1, 2, 3].map((nth) => event('job-skipped', 'long', nth));
    expect(await first).toMatchObject({ reason: 'running', times: 1, heldBy: null });
    const { sinceMs } = await third;
    expect(sinceMs).toBeGreaterThanOrEqual(40);
    expect(job('long')).toMatchObject({ state: 'running', runningSince: expect.any(Number), lastRun: null });
    expect(job('long').runningSince).toBeLessThanOrEqual(Date.now() - 40);
    expect(job('long').skipped).toBe(of('job-skipped').length);
    end();
    await event('job-succeeded', 'long', 3);
    expect(most).toBe(1);
  });

  test('trigger() runs a job now; during a run, right after that', async () => {
    const { supervisor, event, of, job } = supervise(open());
    let hold = gate();
    let most = 0;
    let running = 0;
    const triggered = supervisor.job('rare', { everyMs: NEVER }, async () => {
      most = Math.max(most, (running += 1));
      await hold.promise;
      running -= 1;
    });
    supervisor.start();
    await event('job-started', 'rare');
    triggered.trigger();
    triggered.trigger();
    await turn();
    expect(of('job-started').length).toBe(1);
    hold.open();
    await event('job-succeeded', 'rare', 2);
    await turn();
    await turn();
    // However often it was asked for in between, it is one run.
    expect(of('job-started').length).toBe(2);
    expect(job('rare').state).toBe('waiting');
    hold = gate();
    triggered.trigger();
    await event('job-started', 'rare', 3);
    hold.open();
    await event('job-succeeded', 'rare', 3);
    expect(most).toBe(1);
  });

  test('trigger() starts nothing that is stopped or disabled', async () => {
    const { supervisor, event, of, job } = supervise(open(), { failureThreshold: 1 });
    const bad = supervisor.job('bad', { everyMs: NEVER }, () => {
      throw new Error('bad');
    });
    bad.trigger();
    await turn();
    expect(of('job-started')).toEqual([]);
    supervisor.start();
    await event('job-disabled', 'bad');
    bad.trigger();
    await pause(20);
    expect(of('job-started').length).toBe(1);
    expect(job('bad').state).toBe('disabled');
  });

  test('a job that triggers itself in each of its runs costs another none', async () => {
    const { supervisor, of, event } = supervise(open());
    let runs = 0;
    const eager = supervisor.job('eager', { everyMs: NEVER }, () => {
      runs += 1;
      eager.trigger();
    });
    supervisor.job('other', { everyMs: 20 }, nothing);
    const stopped = new Promise((resolve) => {
      supervisor.on('job-succeeded', ({ job }) => {
        // Had it run without a pause, nothing could end it but itself.
        if (runs === 100_000) resolve(supervisor.stop());
        if (job === 'other' && of('job-succeeded', 'other').length === 5) resolve(supervisor.stop());
      });
    });
    supervisor.start();
    await stopped;
    await event('job-succeeded', 'other', 5);
    expect(runs).toBeGreaterThan(5);
  });

  test('listeners may trigger jobs, add them and stop the supervisor', async () => {
    const { supervisor, of, event, job } = supervise(open(), { failureThreshold: 1, cooldownMs: 10 });
    let bad = true;
    const first = supervisor.job('first', { everyMs: NEVER }, () => {
      if (bad) throw new Error('bad');
    });
    supervisor.on('job-failed', () => first.trigger());
    supervisor.on('job-disabled', () => {
      first.trigger();
      supervisor.job('second', { everyMs: NEVER }, nothing);
      bad = false;
    });
    supervisor.on('job-started', (started) => started.job === 'second' && first.trigger());
    supervisor.on('job-recovered', () => supervisor.stop());
    supervisor.start();
    await event('job-recovered', 'first');
    await until(() => job('first').state === 'stopped');
    expect(of('job-disabled').length).toBe(1);
    expect(of('job-failed').length).toBe(1);
    expect(of('job-succeeded', 'second').length).toBe(1);
  });

  test('times that the process could not look at are told of together', async () => {
    const { supervisor, event, of, job } = supervise(open());
    supervisor.job('pools', { everyMs: 50 }, nothing);
    supervisor.start();
    await event('job-succeeded', 'pools');
    const before = job('pools').skipped;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
    const runs = of('job-started').length;
    await event('job-started', 'pools', runs + 1);
    await turn();
    const late = of('job-skipped').filter(({ reason }) => reason === 'late');
    expect(late.length).toBe(1);
    expect(late[0]).toMatchObject({ job: 'pools', heldBy: null });
    // Eight times have come, one of them is run now, and one may have been at either end.
    expect(late[0].times).toBeGreaterThanOrEqual(6);
    expect(late[0].times).toBeLessThanOrEqual(8);
    expect(job('pools').skipped - before).toBe(late[0].times);
  });
});

describe('limits', () => {
  test('a run that ignores its signal is hung: it fails once, writes nothing more, and never overlaps itself', async () => {
    const store = open();
    const { supervisor, event, of, job } = supervise(store);
    const hold = gate();
    const runs = [];
    supervisor.job('hangs', { everyMs: 20, timeLimitMs: 60 }, (run) => {
      runs.push(run);
      return runs.length === 1 ? hold.promise : null;
    });
    supervisor.start();
    const failed = await event('job-failed', 'hangs');
    expect(failed).toMatchObject({ cause: 'hung', failuresInRow: 1, error: { name: 'TimeoutError' } });
    expect(failed.tookMs).toBeGreaterThanOrEqual(59);
    const [run] = runs;
    expect(run.signal).toMatchObject({ aborted: true, reason: { name: 'TimeoutError' } });
    expect(await event('job-disabled', 'hangs')).toMatchObject({
      severity: 'critical',
      cause: 'hung',
      retryInMs: null,
      message: expect.stringContaining('hangs'),
      advice: expect.stringMatching(/\S/),
    });
    await until(() => of('job-skipped').some(({ reason }) => reason === 'hung'));
    expect(of('job-skipped').find(({ reason }) => reason === 'hung')).toMatchObject({
      times: 1,
      heldBy: null,
    });
    expect(job('hangs')).toMatchObject({ state: 'hung', nextRunAt: null, failed: 1, failuresInRow: 1 });
    expect(supervisor.health()).toMatchObject({
      status: 'fail',
      checks: { 'job:hangs': { status: 'fail', message: expect.stringMatching(/\S/) } },
    });

    const refused = failure({ code: 'ABORTED', written: 'no' });
    for (const write of [
      () => run.store.enqueueCandles(TABLE, SYMBOL, candles(3)),
      () => run.store.enqueueDelete(TABLE, SYMBOL),
      () => run.store.enqueueWrite("INSERT INTO candles_15 (symbol, time) VALUES ('X:Y', 1)"),
      () => run.store.enqueueTransaction(["INSERT INTO candles_15 (symbol, time) VALUES ('X:Y', 1)"]),
    ])
      await expect(write()).rejects.toEqual(refused);
    expect(() => run.store.upsertCandle(TABLE, SYMBOL, candle(0))).toThrow(refused);
    expect(() => run.store.upsertCandles(TABLE, SYMBOL, candles(3))).toThrow(refused);
    expect(() => run.store.deleteCandles(TABLE, SYMBOL)).toThrow(refused);
    expect(run.store.getCandles(TABLE, SYMBOL)).toEqual([]);
    expect(store.getStats({ exact: true }).candles_15).toBe(0);

    expect(runs.length).toBe(1);
    hold.open();
    const { downMs } = await event('job-recovered', 'hangs');
    expect(downMs).toBeGreaterThan(0);
    expect(of('job-failed').length).toBe(1);
    expect(job('hangs')).toMatchObject({ failed: 1, failuresInRow: 0, cause: null });
    expect(job('hangs').availability).toBeLessThan(1);
    expect(supervisor.health().status).toBe('pass');
    // What the first run still wants to write is refused for ever; another run's is not.
    await expect(run.store.enqueueCandles(TABLE, SYMBOL, candles(3))).rejects.toEqual(refused);
    expect(all(store)).toEqual([]);
  });

  test('a run that has ended by its signal is not hung, and is run again at its time', async () => {
    const { supervisor, event, of, job } = supervise(open());
    supervisor.job('slow', { everyMs: 20, timeLimitMs: 30 }, async ({ signal }) => {
      await new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
      );
    });
    supervisor.start();
    expect(await event('job-failed', 'slow')).toMatchObject({ failuresInRow: 1 });
    await event('job-failed', 'slow', 2);
    expect(of('job-disabled')).toEqual([]);
    expect(job('slow').failuresInRow).toBeGreaterThanOrEqual(2);
    expect(of('job-skipped').filter(({ reason }) => reason === 'hung')).toEqual([]);
  });

  test('a run that ends well after its limit has failed all the same', async () => {
    const { supervisor, event, job } = supervise(open());
    supervisor.job('slow', { everyMs: NEVER, timeLimitMs: 20 }, async ({ signal }) => {
      while (!signal.aborted) await pause(5);
    });
    supervisor.start();
    await event('job-failed', 'slow');
    await turn();
    expect(job('slow')).toMatchObject({
      succeeded: 0,
      failed: 1,
      lastRun: { error: { name: 'TimeoutError' } },
    });
  });

  test('a write that waits is withdrawn at the limit', async () => {
    const store = open();
    const { supervisor, event } = supervise(store);
    // Waits for this thread itself: until it has looked at the time.
    let outcome;
    store.db.exec('BEGIN IMMEDIATE');
    supervisor.job('waits', { everyMs: NEVER, timeLimitMs: 50 }, async (run) => {
      outcome = run.store.enqueueCandles(TABLE, SYMBOL, candles(3));
      await outcome;
    });
    supervisor.start();
    await event('job-failed', 'waits');
    await expect(outcome).rejects.toEqual(failure({ code: 'ABORTED', written: 'no' }));
    store.db.exec('COMMIT');
    await store.flush();
    expect(all(store)).toEqual([]);
  });
});

describe('how a run ends', () => {
  test.each([
    ['an error', new Error('bad')],
    ['undefined', undefined],
    ['null', null],
    ['text', 'bad'],
  ])('one that throws %s, at once or later, has failed', async (_what, thrown) => {
    const { supervisor, of, job } = supervise(open());
    supervisor.job('now', { everyMs: NEVER }, () => {
      throw thrown;
    });
    supervisor.job('later', { everyMs: NEVER }, () => Promise.reject(thrown));
    supervisor.start();
    await until(() => of('job-failed').length === 2);
    for (const name of ['now', 'later']) {
      expect(of('job-failed', name)[0]).toMatchObject({ cause: 'job', failuresInRow: 1 });
      expect(job(name)).toMatchObject({ state: 'waiting', succeeded: 0, failed: 1, failuresInRow: 1 });
      // null would say that it has succeeded.
      expect(job(name).lastRun.error).not.toBe(null);
      if (thrown) expect(job(name).lastRun.error).toBe(thrown);
      if (thrown) expect(of('job-failed', name)[0].error).toBe(thrown);
    }
  });

  test.each([
    ['nothing', () => undefined],
    ['a value', () => 5],
    ['a promise', async () => 'done'],
    ['another kind of promise', () => ({ then: (resolve) => setImmediate(resolve, 1) })],
  ])('one that returns %s has succeeded when that is settled', async (_what, run) => {
    const { supervisor, event, job } = supervise(open());
    supervisor.job('good', { everyMs: NEVER }, run);
    supervisor.start();
    const { tookMs, rows } = await event('job-succeeded', 'good');
    expect(rows).toBe(0);
    expect(tookMs).toBeGreaterThanOrEqual(0);
    expect(job('good').lastRun).toEqual({
      startedAt: expect.any(Number),
      tookMs: expect.any(Number),
      error: null,
      message: null,
    });
    expect(Math.abs(Date.now() - job('good').lastRun.startedAt)).toBeLessThan(10_000);
  });
});

describe('start and stop', () => {
  test('stop() aborts the runs that go on and waits for them; nothing begins after it', async () => {
    const { supervisor, event, of, job } = supervise(open());
    let reason = null;
    supervisor.job('heeds', { everyMs: 10 }, async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      await pause(30);
      reason = signal.reason;
      throw reason;
    });
    supervisor.job('quick', { everyMs: 10 }, nothing);
    supervisor.start();
    await event('job-succeeded', 'quick', 2);
    const stopping = supervisor.stop();
    const runs = of('job-started').length;
    supervisor.job('new', { everyMs: 10 }, nothing);
    await stopping;
    expect(reason.name).toBe('AbortError');
    expect(supervisor.status().running).toBe(false);
    for (const name of ['heeds', 'quick', 'new'])
      expect(job(name)).toMatchObject({ state: 'stopped', nextRunAt: null, runningSince: null });
    // Its being stopped is no failure of the job.
    expect(of('job-failed')).toEqual([]);
    await pause(40);
    expect(of('job-started').length).toBe(runs);
    await supervisor.stop();
  });

  test('a job that is removed runs no more, is waited for, and leaves its name to another', async () => {
    const { supervisor, event, of } = supervise(open());
    const hold = gate();
    let signal;
    const first = supervisor.job('job', { everyMs: 10 }, (run) => {
      ({ signal } = run);
      return hold.promise;
    });
    supervisor.start();
    await event('job-started', 'job');
    const removed = first.remove();
    expect(signal.aborted).toBe(true);
    expect(Object.keys(supervisor.status().jobs)).toEqual(['job']);
    hold.open();
    await removed;
    expect(supervisor.status().jobs).toEqual({});
    first.trigger();
    await first.remove();
    supervisor.job('job', { everyMs: NEVER }, nothing);
    await event('job-started', 'job', 2);
    expect(of('job-skipped', 'job').every(({ reason }) => reason === 'running')).toBe(true);
  });

  test('stop() waits no longer than its deadline, and a run that goes on is not overlapped after the next start()', async () => {
    const { supervisor, event, of, job } = supervise(open());
    const hold = gate();
    let running = 0;
    let most = 0;
    supervisor.job('stays', { everyMs: 20, timeLimitMs: null }, async () => {
      most = Math.max(most, (running += 1));
      await hold.promise;
      running -= 1;
    });
    supervisor.start();
    await event('job-started', 'stays');
    await supervisor.stop({ deadlineMs: 30 });
    expect(running).toBe(1);
    supervisor.start();
    await until(() => of('job-skipped').some(({ reason }) => ['running', 'hung'].includes(reason)));
    expect(of('job-started').length).toBe(1);
    hold.open();
    await event('job-started', 'stays', 2);
    expect(most).toBe(1);
    await until(() => job('stays').succeeded > 0);
  });

  test('a run that goes on through stop() and never ends is hung after the next start()', async () => {
    const { supervisor, event, job } = supervise(open());
    const hold = gate();
    supervisor.job('stays', { everyMs: 20, timeLimitMs: 50 }, () => hold.promise);
    supervisor.start();
    await event('job-started', 'stays');
    await supervisor.stop({ deadlineMs: 10 });
    supervisor.start();
    expect(await event('job-disabled', 'stays')).toMatchObject({ cause: 'hung', retryInMs: null });
    expect(job('stays').state).toBe('hung');
    hold.open();
  });

  test('stop() refuses what is no deadline, and may be called before start() and twice', async () => {
    const { supervisor, event, of } = supervise(open());
    await supervisor.stop();
    for (const options of [{ deadlineMs: -1 }, { deadlineMs: NaN }, { deadlineMs: '5' }, { deadline: 5 }, 5])
      await expect(supervisor.stop(options)).rejects.toEqual(
        failure({ code: expect.stringMatching(/^INVALID_/) }),
      );
    supervisor.job('pools', { everyMs: 10 }, nothing);
    for (let round = 1; round <= 3; round++) {
      supervisor.start();
      await event('job-started', 'pools', of('job-started').length + 1);
      await Promise.all([supervisor.stop(), supervisor.stop({ deadlineMs: 0 })]);
    }
  });

  test('started it keeps the process alive, stopped it does not; without start() it never does', async () => {
    const ended = await runElsewhere(
      async ({ require: load, say }, file) => {
        const { openStore, createCollectorSupervisor: create } = load('candlestore');
        const store = openStore(file);
        create(store).job('never', { everyMs: 10 }, () => say('never'));
        const supervisor = create(store);
        let runs = 0;
        supervisor.job('pools', { everyMs: 50 }, async (run) => {
          await run.store.enqueueCandles(15, 'X:Y', []);
          say((runs += 1));
          if (runs === 3) supervisor.stop();
        });
        supervisor.start();
        process.once('exit', () => say('exit'));
      },
      [newFile()],
    );
    expect(ended).toMatchObject({ code: 0, stderr: '', said: [1, 2, 3, 'exit'] });
  });

  test('a run that never ends does not keep the process alive once its supervisor is stopped', async () => {
    const ended = await runElsewhere(
      async ({ require: load }, file) => {
        const { openStore, createCollectorSupervisor: create } = load('candlestore');
        const store = openStore(file);
        const supervisor = create(store);
        supervisor.job('stays', { everyMs: 86_400_000 }, () => new Promise(() => {}));
        supervisor.job('hangs', { everyMs: 86_400_000, timeLimitMs: 10 }, () => new Promise(() => {}));
        supervisor.start();
        await new Promise((resolve) => setTimeout(resolve, 50));
        await supervisor.stop({ deadlineMs: 10 });
        await store.close();
      },
      [newFile()],
      { timeout: 5_000 },
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
  });

  test('a run that stops its supervisor and waits for that does not wait for itself for ever', async () => {
    const { supervisor, event, job } = supervise(open());
    supervisor.job('last', { everyMs: 10 }, () => supervisor.stop({ deadlineMs: 50 }));
    supervisor.start();
    await event('job-started', 'last');
    await until(() => job('last').runningSince === null);
    expect(supervisor.status().running).toBe(false);
  });

  test('a listener that throws harms no job', async () => {
    const ended = await runElsewhere(
      async ({ require: load, say, until: met }, file, names) => {
        const { openStore, createCollectorSupervisor: create } = load('candlestore');
        const store = openStore(file);
        const supervisor = create(store, { failureThreshold: 1, cooldownMs: 10 });
        let uncaught = 0;
        process.on('uncaughtException', () => (uncaught += 1));
        const heard = new Set();
        for (const name of names) {
          supervisor.on(name, () => {
            throw new Error(`listener of ${name}`);
          });
          supervisor.on(name, () => heard.add(name));
        }
        let runs = 0;
        supervisor.job('odd', { everyMs: 10 }, async (run) => {
          await run.store.enqueueCandles(15, 'X:Y', [
            { time: 1704067200000 + runs * 900000, open: 1, high: 1, low: 1, close: 1, volume: 1 },
          ]);
          if ((runs += 1) % 3 === 0) throw new Error('third');
        });
        let good = 0;
        supervisor.job('good', { everyMs: 10 }, () => void (good += 1));
        supervisor.start();
        await met(() => runs > 9 && good > 9);
        const { odd } = supervisor.status().jobs;
        await supervisor.stop();
        await store.close();
        say({ succeeded: odd.succeeded > 5, failed: odd.failed >= 3 });
      },
      [
        newFile(),
        ['job-started', 'job-succeeded', 'job-failed', 'job-skipped', 'job-disabled', 'job-recovered'],
      ],
    );
    expect(ended).toMatchObject({ code: 0, said: [{ succeeded: true, failed: true }] });
  });
});
