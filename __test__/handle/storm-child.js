'use strict';

// A process of the storm that works until a random moment, and then calls process.exit() right where it is: after 0 to
// 30 ms or, for half of them, at the so manieth place where it may end, which is anywhere with the same likelihood.
// Prints a line of JSON as it goes.

const fs = require('node:fs');
const { randomOf } = require('./storm-random.js');
const { LENGTH, readTally, tallyOf } = require('./storm-tally.js');
const { work } = require('./storm-work.js');

const { provider, file, name, seed, code } = JSON.parse(process.argv[2]);
const random = randomOf(seed);
const numbers = new Int32Array(LENGTH);
const faults = [];
let end = Infinity;
let cuts = random.chance(0.5) ? 1 + random.below(600) : Infinity;

process.on('exit', () => fs.writeSync(1, JSON.stringify({ name, faults, ...readTally(numbers) })));
work({
  provider,
  file,
  name,
  random,
  cut() {
    cuts -= 1;
    if (cuts === 0 || performance.now() >= end) process.exit(code);
  },
  tally: tallyOf(numbers, {
    started() {
      if (cuts === Infinity) end = performance.now() + random.below(31);
    },
    fault: (fault) => faults.push(fault),
  }),
});
