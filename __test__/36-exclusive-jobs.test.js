'use strict';

// Jobs with the same exclusive name, in one process: of one supervisor, of several, and of worker threads. Processes are
// in 73-supervision.

const fs = require('node:fs');
const path = require('node:path');
const { setImmediate: turn, setTimeout: pause } = require('node:timers/promises');
const { Worker } = require('node:worker_threads');

const { gate, supervise } = require('./support/supervisor.js');
const { scratch } = require('./support/scratch.js');
const { until } = require('./support/until.js');
const { failure, newFile, open } = require('./support/store.js');

const NEVER = 86_400_000;

/** Two supervised stores; each gets a job `held`, which runs until it is told to end, or `kept` from running. */
function two(first, second, names = ['pools', 'pools']) {
  const [one, other] = [supervise(first), supervise(second)];
  const hold = gate();
  one.supervisor.job('held', { everyMs: NEVER, exclusive: names[0] }, () => hold.promise);
  other.supervisor.job('kept', { everyMs: NEVER, exclusive: names[1] }, () => {});
  one.supervisor.start();
  return { one, other, hold };
}

test('of one supervisor: one at a time, the other is blocked, told so, and runs as soon as the name is free', async () => {
  const { supervisor, event, of, job } = supervise(open());
  const hold = gate();
  let running = 0;
  let most = 0;
  const run = async () => {
    most = Math.max(most, (running += 1));
    await hold.promise;
    running -= 1;
  };
  supervisor.job('one', { everyMs: NEVER, exclusive: 'pools' }, run);
  supervisor.job('two', { everyMs: NEVER, exclusive: 'pools' }, run);
  supervisor.job('three', { everyMs: NEVER, exclusive: 'POOLS' }, run);
  supervisor.job('four', { everyMs: NEVER }, run);
  supervisor.start();
  const skipped = await event('job-skipped');
  const [first, second] = skipped.job === 'two' ? ['one', 'two'] : ['two', 'one'];
  expect(skipped).toMatchObject({ job: second, reason: 'exclusive', times: 1, heldBy: first });
  await event('job-started', 'four');
  await event('job-started', 'three');
  expect(job(second)).toMatchObject({
    state: 'blocked',
    nextRunAt: null,
    blockedBy: first,
    blockedSince: expect.any(Number),
    skipped: of('job-skipped').length,
    exclusive: 'pools',
  });
  expect(of('job-started', second)).toEqual([]);
  expect(most).toBe(3);
  hold.open();
  await event('job-succeeded', second);
  expect(most).toBe(3);
  expect(job(second)).toMatchObject({ blockedBy: null, blockedSince: null });
  // Nothing is amiss with a job that is kept from running by another.
  expect(supervisor.health().status).toBe('pass');
});

test('jobs that always want to run take turns: none is kept out', async () => {
  const { supervisor, of } = supervise(open());
  const intervals = [];
  for (const name of ['one', 'two', 'three'])
    supervisor.job(name, { everyMs: 10, exclusive: 'pools' }, async () => {
      const from = performance.now();
      await pause(12);
      intervals.push([from, performance.now()]);
    });
  supervisor.start();
  await until(() => ['one', 'two', 'three'].every((name) => of('job-succeeded', name).length >= 8));
  const counts = ['one', 'two', 'three'].map((name) => of('job-succeeded', name).length);
  expect(Math.max(...counts)).toBeLessThanOrEqual(3 * Math.min(...counts));
  intervals.sort((a, b) => a[0] - b[0]);
  for (let n = 1; n < intervals.length; n++)
    expect(intervals[n][0]).toBeGreaterThanOrEqual(intervals[n - 1][1]);
});

test.each([
  [
    'two supervisors of one store',
    () => {
      const store = open();
      return [store, store];
    },
  ],
  [
    'two stores on one file',
    () => {
      const file = newFile();
      return [open(file), open(file)];
    },
  ],
  [
    'two stores on one file by different paths',
    () => {
      const file = newFile();
      const one = open(file);
      const link = path.join(scratch(), 'link');
      fs.symlinkSync(path.dirname(file), link);
      return [one, open(path.join(link, path.basename(file)))];
    },
  ],
])('of %s: one at a time', async (_which, stores) => {
  const { one, other, hold } = two(...stores());
  await one.event('job-started', 'held');
  other.supervisor.start();
  expect(await other.event('job-skipped', 'kept')).toMatchObject({
    reason: 'exclusive',
    heldBy: expect.anything(),
  });
  expect(other.of('job-started')).toEqual([]);
  hold.open();
  await other.event('job-succeeded', 'kept');
});

test('who keeps the job of another supervisor is told by the process', async () => {
  const store = open();
  const { one, other, hold } = two(store, store);
  await one.event('job-started', 'held');
  other.supervisor.start();
  expect(await other.event('job-skipped', 'kept')).toMatchObject({ heldBy: process.pid });
  expect(other.job('kept').blockedBy).toBe(process.pid);
  hold.open();
});

test.each([
  ['files', () => [open(), open()], ['pools', 'pools']],
  ['databases in memory', () => [open(':memory:'), open(':memory:')], ['pools', 'pools']],
  [
    'names',
    () => {
      const store = open();
      return [store, store];
    },
    ['pools', 'topics'],
  ],
])('different %s do not keep each other', async (_what, stores, names) => {
  const { one, other, hold } = two(...stores(), names);
  await one.event('job-started', 'held');
  other.supervisor.start();
  await other.event('job-succeeded', 'kept');
  expect(other.of('job-skipped')).toEqual([]);
  hold.open();
});

test('in memory jobs of one store exclude each other, too', async () => {
  const store = open(':memory:');
  const { one, other, hold } = two(store, store);
  await one.event('job-started', 'held');
  other.supervisor.start();
  await other.event('job-skipped', 'kept');
  hold.open();
  await other.event('job-succeeded', 'kept');
});

test('a run that throws, or has ended after its limit, gives the name back; a hung one keeps it until it ends', async () => {
  const { supervisor, event, of, job } = supervise(open());
  const hold = gate();
  supervisor.job('throws', { everyMs: NEVER, exclusive: 'a' }, () => {
    throw new Error('bad');
  });
  supervisor.job('hangs', { everyMs: NEVER, exclusive: 'b', timeLimitMs: 20 }, () => hold.promise);
  supervisor.start();
  await event('job-failed', 'throws');
  await event('job-failed', 'hangs');
  for (const exclusive of ['a', 'b']) supervisor.job(exclusive, { everyMs: NEVER, exclusive }, () => {});
  await event('job-succeeded', 'a');
  expect(await event('job-skipped', 'b')).toMatchObject({ reason: 'exclusive', heldBy: 'hangs' });
  expect(job('b').state).toBe('blocked');
  expect(of('job-started', 'b')).toEqual([]);
  hold.open();
  await event('job-succeeded', 'b');
});

test('after stop() a name is free when the run has ended, not before; who is blocked when it stops does not run', async () => {
  const store = open();
  const { one, other, hold } = two(store, store);
  await one.event('job-started', 'held');
  other.supervisor.start();
  await other.event('job-skipped', 'kept');
  await other.supervisor.stop();
  expect(other.job('kept').state).toBe('stopped');
  await one.supervisor.stop({ deadlineMs: 10 });
  const third = supervise(store);
  third.supervisor.job('third', { everyMs: NEVER, exclusive: 'pools' }, () => {});
  third.supervisor.start();
  await third.event('job-skipped', 'third');
  expect(third.of('job-started')).toEqual([]);
  hold.open();
  await third.event('job-succeeded', 'third');
  await turn();
  expect(other.of('job-started')).toEqual([]);
});

describe('with a leader', () => {
  /** Two supervisors of one leader's name, the first of which leads; `told` is what both have said of that. */
  async function leading() {
    const file = newFile();
    const told = [];
    const make = (who) => {
      const supervised = supervise(open(file), { leader: 'collector', failureThreshold: 1 });
      supervised.supervisor.on('leading', () => told.push([who, 'leading']));
      supervised.supervisor.on('standby', ({ heldBy, error }) => told.push([who, 'standby', heldBy, error]));
      supervised.supervisor.job('job', { everyMs: 10 }, () => {});
      return supervised;
    };
    const [one, other] = [make('one'), make('other')];
    expect(one.supervisor.status()).toMatchObject({ running: false, leading: false });
    one.supervisor.start();
    await one.event('job-succeeded', 'job');
    other.supervisor.start();
    // Between the runs, too, and whatever becomes of the jobs.
    one.supervisor.job('bad', { everyMs: NEVER }, () => {
      throw new Error('no answer');
    });
    await one.event('job-disabled', 'bad');
    await one.event('job-succeeded', 'job', 15);
    expect(other.told).toEqual([]);
    return { one, other, told };
  }
  const follows = {
    running: true,
    leading: false,
    standby: { heldBy: process.pid, error: null },
    jobs: { job: { state: 'stopped', nextRunAt: null } },
  };

  test('one supervisor runs its jobs until it stops, then the other, and it gets them back no sooner than that stops', async () => {
    const { one, other, told } = await leading();
    expect(one.supervisor.status()).toMatchObject({ running: true, leading: true, standby: null });
    expect(other.supervisor.status()).toMatchObject(follows);
    expect(other.supervisor.health().status).toBe('pass');
    await one.supervisor.stop();
    await other.event('job-succeeded', 'job', 2);
    one.supervisor.start();
    const runs = one.of('job-started').length;
    await other.event('job-succeeded', 'job', 15);
    expect(one.of('job-started').length).toBe(runs);
    expect(one.supervisor.status()).toMatchObject(follows);
    await other.supervisor.stop();
    await one.event('job-started', 'job', one.of('job-started', 'job').length + 1);
    expect(told.map(([who, what]) => `${who} ${what}`)).toEqual([
      'one leading',
      'other standby',
      'other leading',
      'one standby',
      'one leading',
    ]);
  });

  test('a run that goes on keeps the other from leading until it ends', async () => {
    const { one, other } = await leading();
    const hold = gate();
    one.supervisor.job('stays', { everyMs: NEVER }, () => hold.promise);
    await one.event('job-started', 'stays');
    await one.supervisor.stop({ deadlineMs: 10 });
    await pause(300);
    expect(other.told).toEqual([]);
    hold.open();
    await other.event('job-succeeded', 'job');
  });

  test('one that stands by can be stopped, and does not lead after that; trigger() runs nothing of it', async () => {
    const { one, other } = await leading();
    const added = other.supervisor.job('added', { everyMs: 10 }, () => {});
    added.trigger();
    await turn();
    await other.supervisor.stop();
    await one.supervisor.stop();
    await pause(300);
    expect(other.told).toEqual([]);
    expect(other.supervisor.status()).toMatchObject({ running: false, leading: false });
  });

  test.each([
    ['other names', ['one', 'other'], null],
    ['a name and none', ['one', null], null],
    ["a leader's name and a job's", ['pools', null], 'pools'],
  ])('do not keep each other: %s', async (_what, leaders, exclusive) => {
    const store = open();
    for (const leader of leaders) {
      const { supervisor, event } = supervise(store, { leader });
      supervisor.job('job', { everyMs: NEVER, exclusive }, () => {});
      supervisor.start();
      await event('job-succeeded', 'job');
    }
  });
});

test('of a worker thread: its name is respected, and is free when the thread is ended in the middle of a run', async () => {
  const file = newFile();
  const store = open(file);
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
     const { openStore, createCollectorSupervisor } = require(workerData.module);
     const store = openStore(workerData.file);
     const supervisor = createCollectorSupervisor(store);
     supervisor.on('job-skipped', (skip) => parentPort.postMessage({ skip }));
     supervisor.job('in the worker', { everyMs: 86_400_000, exclusive: 'pools' }, () => {
       parentPort.postMessage('runs');
       return new Promise(() => {});
     });
     supervisor.start();`,
    { eval: true, workerData: { file, module: require.resolve('candlestore') } },
  );
  const heard = [];
  worker.on('message', (message) => heard.push(message));
  try {
    await until(() => heard.includes('runs'));
    const { supervisor, event, of } = supervise(store);
    supervisor.job('here', { everyMs: NEVER, exclusive: 'pools' }, () => {});
    supervisor.start();
    const skip = await event('job-skipped', 'here');
    expect(skip).toMatchObject({ reason: 'exclusive', heldBy: expect.anything() });
    expect(of('job-started')).toEqual([]);
    await worker.terminate();
    const ended = performance.now();
    const { at } = await event('job-started', 'here');
    expect(at - ended).toBeLessThan(2_000);
  } finally {
    await worker.terminate();
  }
});

test('a file that is closed underneath gives its names back', async () => {
  const file = newFile();
  const store = open(file);
  const { supervisor, event } = supervise(store);
  const hold = gate();
  supervisor.job('held', { everyMs: NEVER, exclusive: 'pools' }, () => hold.promise);
  supervisor.start();
  await event('job-started', 'held');
  await store.close();
  hold.open();
  await supervisor.stop();
  const again = supervise(open(file));
  again.supervisor.job('again', { everyMs: NEVER, exclusive: 'pools' }, async (run) => {
    await expect(run.store.close()).rejects.toEqual(failure({}));
  });
  again.supervisor.start();
  await again.event('job-succeeded', 'again');
});
