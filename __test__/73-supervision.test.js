'use strict';

// What a supervisor is for, with real processes: a job that throws or hangs costs no other a run, exclusive names hold
// across processes and die with theirs, jobs pace themselves by the locks, and after a lock or a full disk all of them
// are back at once. `npm run test:long` runs it as long as such things last.

const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { setTimeout: pause } = require('node:timers/promises');

const { locker, supervise } = require('./support/supervisor.js');
const { python, runElsewhere, startElsewhere } = require('./support/process.js');
const { scratch } = require('./support/scratch.js');
const { until } = require('./support/until.js');
const { SYMBOL, TABLE, all, candle, candles, newFile, open } = require('./support/store.js');

const LONG = process.env.LONG === '1';

/** How long jobs throw and hang, the lock is held, and the disk is full. */
const SECONDS = LONG ? { failing: 60, locked: 30, full: 30 } : { failing: 3, locked: 3, full: 3 };
/** What is promised, in milliseconds. */
const AFTER_KILL = 2_000;
const AFTER_OUTAGE = 5_000;

if (LONG) jest.setTimeout(180_000);

/** Three jobs in a process of their own: what became of the third while the first threw and the second hung. */
async function threeJobs(
  { require: load, say, until: met },
  file,
  { seconds, everyMs, options, recoveries },
) {
  const { openStore, createCollectorSupervisor } = load('candlestore');
  const store = openStore(file);
  const supervisor = createCollectorSupervisor(store, { cooldownMs: 100, maxCooldownMs: 400, ...options });
  const told = [];
  for (const name of ['job-started', 'job-failed', 'job-skipped', 'job-disabled', 'job-recovered'])
    supervisor.on(name, ({ job, cause, reason, times }) =>
      told.push({ name, at: performance.now(), job, cause, reason, times }),
    );
  let failing = true;
  let letGo;
  const hanging = new Promise((resolve) => (letGo = resolve));
  // Not so often that the highest threshold there is would be reached.
  supervisor.job('throws', { everyMs: Math.max(everyMs, (seconds * 1000) / 900) }, () => {
    if (failing) throw new Error('no answer');
  });
  supervisor.job('hangs', { everyMs, timeLimitMs: 200 }, () => failing && hanging);
  const row = { open: 1, high: 1, low: 1, close: 1, volume: 1 };
  let committed = 0;
  let slow = 0;
  supervisor.job('works', { everyMs }, async (run) => {
    const time = 1704067200000 + committed * 900000;
    const write = await run.store.enqueueCandles(15, 'X:WORKS', [{ time, ...row }]);
    committed += 1;
    // Times that pass while the disk is at its own write.
    const took = write.queuedMs + write.commitMs;
    if (took > everyMs / 2) slow += Math.ceil(took / everyMs);
  });
  // What this thread itself could not do in time is no fault of a job's.
  let stallMs = 0;
  let last = performance.now();
  const clock = setInterval(() => {
    stallMs = Math.max(stallMs, performance.now() - last);
    last = performance.now();
  }, 5);
  supervisor.start();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const { jobs } = supervisor.status();
  const health = supervisor.health();
  const times = told.filter(({ name, job }) => name === 'job-started' && job === 'works').map(({ at }) => at);
  clearInterval(clock);
  const during = told.splice(0);
  failing = false;
  letGo();
  await met(() => told.filter(({ name }) => name === 'job-recovered').length === recoveries);
  await supervisor.stop();
  const stored = store.getCandles(15, 'X:WORKS', 1_000_000).length;
  await store.close();
  say({ jobs, health, times, stallMs, during, after: told, stored, committed, slow });
}

const EVERY = 200;

/** Runs the three jobs and looks at what they tell; `recovered` is who had been taken out. */
async function expectThird(options, recovered) {
  const seconds = SECONDS.failing;
  const settings = { seconds, everyMs: EVERY, options, recoveries: recovered.length };
  const ended = await runElsewhere(threeJobs, [newFile(), settings]);
  expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
  const [{ jobs, health, times, stallMs, during, after, stored, committed, slow }] = ended.said;
  const of = (name, job) => during.filter((event) => event.name === name && event.job === job);

  const skips = of('job-skipped', 'works');
  const missed = (reason) =>
    skips.filter((skip) => skip.reason === reason).reduce((sum, skip) => sum + skip.times, 0);
  const [late, running] = [missed('late'), missed('running')];
  expect(late + running).toBe(jobs.works.skipped);
  // None for another job: only the disk, at this one's own write, and what held up this thread as a whole.
  expect(running <= slow || stallMs >= EVERY / 2).toBe(true);
  expect(late === 0 || stallMs >= EVERY).toBe(true);
  expect(times.length + late + running).toBeGreaterThanOrEqual(0.9 * ((seconds * 1000) / EVERY));
  const gaps = times.slice(1).map((at, n) => at - times[n]);
  expect(Math.max(...gaps)).toBeLessThan((2 + slow) * EVERY + stallMs);
  expect(jobs.works).toMatchObject({ failed: 0, failuresInRow: 0, writesFailed: 0, availability: 1 });
  expect(stored).toBe(committed);

  // The others were what they were said to be.
  const failed = of('job-failed', 'throws');
  expect(failed.length).toBeGreaterThan(5);
  expect(new Set(failed.map(({ cause }) => cause))).toEqual(new Set(['job']));
  expect(jobs.throws).toMatchObject({ succeeded: 0, failed: failed.length });
  expect(of('job-disabled', 'throws').length).toBe(recovered.includes('throws') ? 1 : 0);
  expect(of('job-started', 'hangs').length).toBe(1);
  expect(of('job-failed', 'hangs')).toEqual([expect.objectContaining({ cause: 'hung' })]);
  expect(jobs.hangs).toMatchObject({ state: 'hung', succeeded: 0, failed: 1 });
  expect(health.status).toBe('fail');
  expect(health.checks['job:works'].status).toBe('pass');
  // And they are back.
  const back = after.filter(({ name }) => name === 'job-recovered').map(({ job }) => job);
  expect(back.sort()).toEqual(recovered);
}

test('of three jobs one throws on each run and one hangs: the third misses no run', async () => {
  await Promise.all([
    expectThird({}, ['hangs', 'throws']),
    expectThird({ failureThreshold: 1000 }, ['hangs']),
  ]);
});

/** Jobs with two exclusive names, and a line for each run and each time that could not be one. */
async function exclusiveJobs({ require: load, say, hear }, file, keeps) {
  const { spawn } = load('node:child_process');
  const { openStore, createCollectorSupervisor } = load('candlestore');
  const store = openStore(file);
  const supervisor = createCollectorSupervisor(store);
  const now = () => Number(process.hrtime.bigint() / 1000n);
  supervisor.on('job-skipped', (skip) => say({ skip, status: supervisor.status().jobs[skip.job] }));
  supervisor.job('often', { everyMs: 30, exclusive: 'pools' }, async () => {
    const from = now();
    await new Promise((resolve) => setTimeout(resolve, 15));
    say({ interval: [from, now()] });
  });
  supervisor.job('rarely', { everyMs: 86_400_000, exclusive: 'topics', timeLimitMs: null }, () => {
    say({ began: now() });
    if (!keeps) return null;
    // What it starts lives on when it is killed, and must not keep the name.
    const child = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
    say({ child: child.pid });
    return new Promise(() => {});
  });
  // What leads stays with the process that had it first, between the runs, too.
  const leader = createCollectorSupervisor(store, { leader: 'collector' });
  leader.job('leads', { everyMs: 50 }, () => say({ led: now() }));
  leader.start();
  supervisor.start();
  await hear();
  await Promise.all([leader.stop(), supervisor.stop({ deadlineMs: 0 })]);
  await store.close();
}

/** Everything a process says, sorted: its intervals, skips and begins. */
function listenTo(program) {
  const heard = { intervals: [], skips: [], led: [], began: null, child: null };
  const listen = async () => {
    for (;;) {
      const line = await program.next();
      if (line.interval) heard.intervals.push(line.interval);
      if (line.skip) heard.skips.push(line);
      if (line.began) heard.began = line.began;
      if (line.led) heard.led.push(line.led);
      if (line.child) heard.child = line.child;
    }
  };
  // It ends with the program.
  heard.ended = listen().catch(() => {});
  return heard;
}

test('two processes with the same exclusive name never overlap, and after kill -9 of the first the second runs within 2 s', async () => {
  const file = newFile();
  const first = startElsewhere(exclusiveJobs, [file, true]);
  const one = listenTo(first);
  await until(() => one.child && one.led.length > 0);
  const second = startElsewhere(exclusiveJobs, [file, false]);
  const two = listenTo(second);
  await until(() => one.intervals.length >= 20 && two.intervals.length >= 20);
  expect([two.began, two.led]).toEqual([null, []]);

  // The second was told that it could not run, and by whom it was kept.
  const rarely = two.skips.find(({ skip }) => skip.job === 'rarely');
  expect(rarely).toMatchObject({
    skip: { job: 'rarely', reason: 'exclusive', times: 1, heldBy: first.child.pid },
    status: { state: 'blocked', nextRunAt: null },
  });
  const often = [...one.skips, ...two.skips].filter(({ skip }) => skip.job === 'often');
  expect(often.length).toBeGreaterThan(0);

  const killedAt = Number(process.hrtime.bigint() / 1000n);
  await first.kill();
  await one.ended;
  const runs = two.intervals.length;
  await until(() => two.began && two.led.length > 0 && two.intervals.length >= runs + 10);
  process.kill(one.child, 'SIGKILL');
  expect((two.began - killedAt) / 1000).toBeLessThan(AFTER_KILL);
  expect((two.led[0] - killedAt) / 1000).toBeLessThan(AFTER_KILL);
  expect((two.intervals[runs][0] - killedAt) / 1000).toBeLessThan(AFTER_KILL);
  second.tell('stop');
  expect(await second.ended).toMatchObject({ code: 0, stderr: '' });

  const intervals = [...one.intervals, ...two.intervals].sort((a, b) => a[0] - b[0]);
  for (let n = 1; n < intervals.length; n++)
    expect(intervals[n][0]).toBeGreaterThanOrEqual(intervals[n - 1][1]);
});

/** Expects changes that lead from one interval to another, each by its factor; either may have been rounded to a millisecond. */
function expectSteps(changes, from, to, factor) {
  let at = from;
  for (const { fromMs, toMs } of changes) {
    expect(fromMs).toBe(at);
    const exact = factor > 1 ? Math.min(to, at * factor) : Math.max(to, at * factor);
    expect(Math.abs(toMs - exact)).toBeLessThanOrEqual(0.5);
    at = toMs;
  }
  expect(at).toBe(to);
}

test.each([
  ['queued', (run, n) => run.store.enqueueCandles(TABLE, SYMBOL, [candle(n)])],
  ['synchronous', async (run, n) => run.store.upsertCandles(TABLE, SYMBOL, [candle(n)])],
])(
  'with 20 %% of writes made to wait the interval grows x1.5 a run to its bound, then shrinks x0.9 back: %s ones',
  async (_kind, write) => {
    const everyMs = 60;
    const maxEveryMs = 160;
    const store = open();
    const other = await locker(store.db.name);
    const { supervisor, of, event, job } = supervise(store, { lockWaitThresholdMs: 30 });
    let waiting = true;
    let next = 0;
    const rates = [];
    supervisor.on('job-interval', ({ lockWaitRate }) => rates.push(lockWaitRate));
    supervisor.job('pools', { everyMs, maxEveryMs }, async (run) => {
      // One in five finds the lock taken for a tenth of a second, as long as others are said to be there.
      for (let n = 0; n < 5; n++, next++) {
        if (waiting && n === 2) await other.holdFor(100);
        await write(run, next);
        if (waiting && n === 2) await other.released();
      }
      if (!waiting) return;
      // At its longest it stays there.
      if (job('pools').everyMs === maxEveryMs) waiting = false;
    });
    supervisor.start();
    await event('job-interval', 'pools', 3);
    expect(job('pools')).toMatchObject({ everyMs: maxEveryMs, lockWaitRate: 0.2 });
    expect(job('pools').lockWaits * 5).toBe(job('pools').writes);
    expect(supervisor.health().checks['job:pools'].status).toBe('warn');
    const slow = job('pools').why;
    await until(() => job('pools').everyMs === everyMs);
    const runs = job('pools').succeeded;
    await until(() => job('pools').succeeded > runs + 1);
    await supervisor.stop();
    const changes = of('job-interval');
    const grown = changes.findIndex(({ toMs }) => toMs === maxEveryMs) + 1;
    expectSteps(changes.slice(0, grown), everyMs, maxEveryMs, 1.5);
    expectSteps(changes.slice(grown), maxEveryMs, everyMs, 0.9);
    expect(new Set(rates.slice(0, grown))).toEqual(new Set([0.2]));
    expect(new Set(rates.slice(grown))).toEqual(new Set([0]));
    expect(job('pools').why).not.toBe(slow);
    expect(supervisor.health().status).toBe('pass');
    expect(all(store)).toEqual(candles(next));
    expect(job('pools')).toMatchObject({ rowsWritten: next, writes: next, writesFailed: 0 });
    await other.end();
  },
);

/** Rows of one write: so many that it needs room on the disk, each time. */
const ROWS = 200;

/**
 * Four live jobs in a process of their own, each of which writes a series from its begin to its end, so that it comes to
 * the next rows only when the last ones are committed. They differ in how their writes wait. It says `running` when all
 * have run, makes the trouble it is told to make, says how the jobs are when it has heard the next line, ends the trouble,
 * and says what became of all of it when each job has begun and ended a run after that.
 */
async function collector({ require: load, say, hear, until: met }, file, { rows, trouble }) {
  const fs = load('node:fs');
  const path = load('node:path');
  const { openStore, createCollectorSupervisor } = load('candlestore');
  const store = openStore(file, { busyTimeoutMs: 30 });
  // Only the probe can bring back what is disabled.
  const supervisor = createCollectorSupervisor(store, { cooldownMs: 60_000 });
  const told = [];
  for (const name of ['job-started', 'job-succeeded', 'job-failed', 'job-disabled', 'job-recovered'])
    supervisor.on(name, ({ job, cause, severity, error }) =>
      told.push({ name, at: Date.now(), job, cause, severity, code: error?.code }),
    );
  const writes = {};
  const made = (first) =>
    Array.from({ length: rows }, (_, n) => ({
      time: 1704067200000 + (first * rows + n) * 900000,
      open: first,
      high: n,
      low: 0,
      close: 0.5,
      volume: 1,
    }));
  const kinds = {
    QUEUED: (inside, series, n) => inside.enqueueCandles(15, series, made(n)),
    TIMED: (inside, series, n) => inside.enqueueCandles(15, series, made(n), { timeoutMs: 50 }),
    SYNCHRONOUS: async (inside, series, n) => inside.upsertCandles(15, series, made(n)),
    LIMITED: (inside, series, n) => inside.enqueueCandles(15, series, made(n)),
  };
  for (const [kind, write] of Object.entries(kinds)) {
    writes[kind] = [];
    let next = 0;
    const options = { everyMs: 50, ...(kind === 'LIMITED' ? { timeLimitMs: 200 } : {}) };
    supervisor.job(kind, options, async (run) => {
      const written = { n: next, outcome: 'none' };
      writes[kind].push(written);
      try {
        await write(run.store, `X:${kind}`, next);
        written.outcome = 'committed';
        next += 1;
      } catch (error) {
        written.outcome = error.code ?? String(error);
        written.written = error.written;
        throw error;
      }
    });
  }
  const done = (since) =>
    Object.keys(kinds).every((kind) => {
      const began = told.find(({ name, job, at }) => name === 'job-started' && job === kind && at >= since);
      return (
        began && told.some(({ name, job, at }) => name === 'job-succeeded' && job === kind && at > began.at)
      );
    });
  supervisor.start();
  await met(() => Object.keys(kinds).every((kind) => supervisor.status().jobs[kind].succeeded >= 3));
  say('running');

  await hear();
  const ballast = path.join(path.dirname(file), 'ballast');
  if (trouble === 'full disk') {
    const { bavail, bsize } = fs.statfsSync(path.dirname(file));
    fs.writeFileSync(ballast, Buffer.alloc(bavail * bsize - 100_000));
  } else if (trouble === 'full file') {
    store.db.pragma(`max_page_count = ${store.db.pragma('page_count', { simple: true })}`);
  }
  if (trouble !== 'lock') await met(() => store.getStats().breaker === 'open');
  say('in trouble');

  await hear();
  say({ status: supervisor.status(), health: supervisor.health() });
  await hear();
  const endedAt = Date.now();
  if (trouble === 'full disk') fs.rmSync(ballast);
  if (trouble === 'full file') store.db.pragma('max_page_count = 1000000');
  await met(() => done(endedAt)).catch((error) => {
    // Started, it would keep this process alive.
    supervisor.stop({ deadlineMs: 0 });
    store.close({ deadlineMs: 0 });
    throw new Error(JSON.stringify(supervisor.status().jobs), { cause: error });
  });
  const { status, health } = { status: supervisor.status(), health: supervisor.health() };
  await supervisor.stop();
  say({ endedAt, told, writes, status, health, queue: store.queue.stats() });
  const stored = {};
  for (const kind of Object.keys(kinds))
    stored[kind] = store.getCandles(15, `X:${kind}`, 1_000_000).map(({ time, open: n }) => [time, n]);
  say({ stored, check: store.db.pragma('integrity_check', { simple: true }) });
  await store.close();
}

const REJECTIONS = ['TIMEOUT', 'ABORTED', 'BREAKER_OPEN', 'DISK_FULL'];

/** Lets the jobs of a collector run through some trouble: all are back in time, and nothing is lost. */
async function expectBack(program, seconds, { begin, end }) {
  expect(await program.next()).toBe('running');
  await begin();
  program.tell('trouble');
  expect(await program.next()).toBe('in trouble');
  // As long as it lasts is what is promised about.
  await pause(seconds * 1000);
  program.tell('tell');
  const during = await program.next();
  await end();
  program.tell('end');
  const { endedAt, told, writes, status, health, queue } = await program.next();
  const { stored, check } = await program.next();
  expect(await program.ended).toMatchObject({ code: 0, signal: null, stderr: '' });

  // While it lasted: who failed was taken out because of the database, and who only waited did not fail.
  expect(during.status.database).toBe('failing');
  expect(during.health).toMatchObject({ status: 'fail', checks: { database: { status: 'fail' } } });
  for (const kind of ['TIMED', 'SYNCHRONOUS', 'LIMITED'])
    expect([kind, during.status.jobs[kind].state]).toEqual([kind, 'disabled']);
  for (const kind of ['TIMED', 'SYNCHRONOUS'])
    expect(during.status.jobs[kind]).toMatchObject({ cause: 'database', failuresInRow: 3 });
  expect(status.database).toBe('working');
  expect(health.status).toBe('pass');

  for (const [kind, ofKind] of Object.entries(writes)) {
    const of = (name) => told.filter((event) => event.name === name && event.job === kind);
    // One alert, one end of it; and back in time, though its cool-down would have been a minute.
    const alerts = of('job-disabled');
    expect([kind, alerts.length, of('job-recovered').length]).toEqual(
      kind === 'QUEUED' && alerts.length === 0 ? [kind, 0, 0] : [kind, 1, 1],
    );
    for (const alert of alerts) expect(alert.severity).toBe('critical');
    const began = of('job-started').find(({ at }) => at >= endedAt);
    const succeeded = of('job-succeeded').find(({ at }) => at >= began.at);
    expect([kind, succeeded.at - endedAt < AFTER_OUTAGE]).toEqual([kind, true]);
    // What was said to be committed is there, whole and once; what was refused has a code and is not.
    const committed = ofKind.filter(({ outcome }) => outcome === 'committed').map(({ n }) => n);
    expect(committed).toEqual(committed.map((_, n) => n));
    const refused = ofKind.filter(({ outcome }) => outcome !== 'committed');
    for (const { outcome, written } of refused) {
      expect([kind, REJECTIONS]).toEqual([kind, expect.arrayContaining([outcome])]);
      expect(written).toBe('no');
    }
    const rows = committed.flatMap((n) =>
      Array.from({ length: ROWS }, (_, at) => [1704067200000 + (n * ROWS + at) * 900_000, n]),
    );
    expect(stored[kind]).toEqual(rows);
    expect(status.jobs[kind]).toMatchObject({ writesFailed: refused.length });
  }
  expect(queue.queued.commands + queue.inFlight.commands).toBe(0);
  expect(check).toBe('ok');
  return during;
}

test('the lock is held by another process: live jobs run again within 5 s of its release, and nothing accepted is lost', async () => {
  const file = newFile();
  const program = startElsewhere(collector, [file, { rows: ROWS, trouble: 'lock' }]);
  const other = python(file);
  const during = await expectBack(program, SECONDS.locked, {
    begin: () => other.sql('BEGIN IMMEDIATE'),
    end: () => other.sql('COMMIT'),
  });
  // The one whose writes have no limit waits with the first of them.
  expect(during.status.jobs.QUEUED).toMatchObject({ state: 'running', failed: 0 });
  await other.end();
});

/** How a file system of its own can be mounted for one process, if it can. */
const MOUNTED = [['-rm'], ['-m']].find(
  (flags) =>
    spawnSync('unshare', [...flags, 'mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', '/tmp']).status === 0,
);
if (!MOUNTED)
  console.warn(
    '73-supervision: on a file that may not grow instead of a full disk, as unshare may not mount here',
  );

test('a full disk: live jobs run again within 5 s of there being room, and nothing accepted is lost', async () => {
  const folder = scratch();
  const file = path.join(folder, 'candles.db');
  const trouble = MOUNTED ? 'full disk' : 'full file';
  const mount = 'mount -t tmpfs -o size=64m tmpfs "$0" && exec "$@"';
  const through = MOUNTED ? ['unshare', ...MOUNTED, 'sh', '-c', mount, folder] : [];
  const program = startElsewhere(collector, [file, { rows: ROWS, trouble }], { through });
  const nothing = async () => {};
  await expectBack(program, SECONDS.full, { begin: nothing, end: nothing });
});
