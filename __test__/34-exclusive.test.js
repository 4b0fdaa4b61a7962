'use strict';

// Exclusive names, as the native side gives them: between processes and threads, and however a holder ends.

const fs = require('node:fs');
const { Worker } = require('node:worker_threads');
const { NativeStore } = require('../lib/native.js');
const { native } = require('../lib/errors.js');
const { startElsewhere } = require('./support/process.js');
const { failure, newFile } = require('./support/store.js');

const opened = new Set();
afterEach(() => {
  for (const store of opened) store.closeNow(0);
  opened.clear();
});

/** A native store on a file. */
function open(file, options = {}) {
  const store = NativeStore.open(file, JSON.stringify(options), () => {});
  opened.add(store);
  return store;
}

/** Takes the name `job` in another process, which ends when it is told a word: `exit` without closing, or else in order. */
async function takeElsewhere(file) {
  const started = startElsewhere(
    async ({ require, say, hear }, of) => {
      const store = require('./lib/native.js').NativeStore.open(of, '{}', () => {});
      say(store.takeName('job'));
      if ((await hear()) === 'exit') process.exit();
      store.closeNow(1000);
      say('closed');
    },
    [file],
  );
  expect(await started.next()).toEqual({ hold: 1, heldBy: null });
  return started;
}

const lockOf = (file) => `${file}-candlestore-job-job`;

test('a name has one holder at a time, and is free when it is given back or its store closes', () => {
  const file = newFile();
  const [one, other] = [open(file), open(file)];
  const { hold } = one.takeName('a:B.c_d-1');
  expect(hold).toBe(1);
  expect(other.takeName('a:B.c_d-1')).toEqual({ hold: 0, heldBy: process.pid });
  expect(one.takeName('another')).toEqual({ hold: 2, heldBy: null });
  expect(one.giveBack(hold)).toBe(true);
  expect(one.giveBack(hold)).toBe(false);
  expect(other.takeName('a:B.c_d-1').hold).toBe(1);
  other.closeNow(0);
  expect(one.takeName('a:B.c_d-1').hold).toBe(3);
  expect(() => native(() => other.takeName('x'))).toThrow(failure({ code: 'CLOSED' }));
});

test('a store that only reads, one in memory and a Database of its own have names, too', () => {
  const file = newFile();
  open(file).closeNow(0);
  const reading = open(file, { readOnly: true });
  expect(reading.takeName('job').hold).toBe(1);
  const alone = NativeStore.openAlone(file, null, '{}', 1000, () => {});
  opened.add(alone);
  expect(alone.takeName('job')).toEqual({ hold: 0, heldBy: process.pid });
  const [one, other] = [open(':memory:'), open(':memory:')];
  expect([one.takeName('job').hold, other.takeName('job').hold]).toEqual([1, 1]);
  expect(one.takeName('job')).toEqual({ hold: 0, heldBy: process.pid });
});

test('a process that is killed, exits without closing or closes has its names no more', async () => {
  const file = newFile();
  const store = open(file);
  const processes = [];
  for (const end of ['kill', 'exit', 'close']) {
    const started = await takeElsewhere(file);
    processes.push(started);
    expect(store.takeName('job')).toEqual({ hold: 0, heldBy: started.child.pid });
    if (end === 'kill') await started.kill();
    else started.tell(end);
    if (end === 'close') expect(await started.next()).toBe('closed');
    else await started.ended;
    expect([end, fs.existsSync(lockOf(file))]).toEqual([end, end === 'kill']);
    const { hold } = store.takeName('job');
    expect([end, hold > 0, store.giveBack(hold)]).toEqual([end, true, false]);
  }
  await Promise.all(processes.map(({ ended }) => ended));
  expect(fs.existsSync(lockOf(file))).toBe(false);
});

test('a worker that is terminated has its names no more', async () => {
  const file = newFile();
  const store = open(file);
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
     const store = require(workerData.module).NativeStore.open(workerData.file, '{}', () => {});
     parentPort.postMessage(store.takeName('job'));
     parentPort.on('message', () => store);`,
    { eval: true, workerData: { file, module: require.resolve('../lib/native.js') } },
  );
  const taken = await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  expect(taken.hold).toBe(1);
  expect(store.takeName('job')).toEqual({ hold: 0, heldBy: process.pid });
  await worker.terminate();
  expect(store.takeName('job').hold).toBe(1);
});
