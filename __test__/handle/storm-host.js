'use strict';

// A process of the storm whose worker threads are terminated at random moments, one after the other in each of a few
// places, while the others go on. It looks at the file after each, and at last calls process.exit() while threads are
// in the midst of their work. Prints a line of JSON before that.

const fs = require('node:fs');
const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { setTimeout: pause } = require('node:timers/promises');
const { commitFaultsOf, faultsOf } = require('./storm-ledger.js');
const { connect } = require('./storm-provider.js');
const { randomOf } = require('./storm-random.js');
const { LENGTH, readTally } = require('./storm-tally.js');

const { provider, file, name, seed, code, kills, places } = JSON.parse(process.argv[2]);
const random = randomOf(seed);
const found = [];
let started = 0;

/** A thread that has begun to work. */
async function begin() {
  started += 1;
  const thread = {
    name: `${name}.${started}`,
    numbers: new Int32Array(new SharedArrayBuffer(4 * LENGTH)),
    faults: [],
  };
  const workerData = { provider, file, name: thread.name, seed: seed + started, numbers: thread.numbers };
  thread.worker = new Worker(path.join(__dirname, 'storm-thread.js'), { workerData });
  await new Promise((resolve) => {
    thread.worker.on('message', ({ fault }) => (fault ? thread.faults.push(fault) : resolve()));
    thread.worker.on('error', (error) => {
      thread.faults.push(`a thread ended with ${error.stack}`);
      resolve();
    });
  });
  await pause(random.below(31));
  return thread;
}

async function terminateNext(db) {
  const { worker, numbers, faults, name: its } = await begin();
  await worker.terminate();
  const { commits, ...tally } = readTally(numbers);
  faults.push(...commitFaultsOf(db, its, commits), ...faultsOf(db));
  found.push({ name: its, faults, commits, ...tally });
}

async function main() {
  const { db } = connect(provider, file);
  let left = kills;
  const place = async () => {
    while (left > 0) {
      left -= 1;
      await terminateNext(db);
    }
  };
  await Promise.all(Array.from({ length: places }, place));
  const last = await Promise.all(Array.from({ length: places }, begin));
  // The last ones go on until the process has ended, so what they count is not looked at.
  found.push(...last.filter(({ faults }) => faults.length > 0).map(({ faults }) => ({ name, faults })));
  fs.writeSync(1, JSON.stringify(found));
  process.exit(code);
}

main().catch((error) => {
  fs.writeSync(2, `${error.stack}\n`);
  process.exit(1);
});
