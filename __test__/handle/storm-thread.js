'use strict';

// A worker thread of storm-host.js: works until it is terminated.

const { parentPort, workerData } = require('node:worker_threads');
const { randomOf } = require('./storm-random.js');
const { tallyOf } = require('./storm-tally.js');
const { work } = require('./storm-work.js');

const { provider, file, name, seed, numbers } = workerData;
work({
  provider,
  file,
  name,
  random: randomOf(seed),
  // It is cut off from outside, wherever it is.
  cut: () => {},
  tally: tallyOf(numbers, {
    started: () => parentPort.postMessage({ started: true }),
    fault: (fault) => parentPort.postMessage({ fault }),
  }),
});
