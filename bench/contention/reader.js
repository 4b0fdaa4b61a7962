'use strict';

// One reader of a run: so many reads a second, each of the newest 1,000 candles of one of the series being written.
//   { side, file, names, seconds, perSecond }

const { setTimeout: pause } = require('node:timers/promises');
const { Rows } = require('./rows.js');
const { SIDES } = require('./sides.js');
const { config, report, begin, main } = require('./worker.js');

const LIMIT = 1000;

main(async () => {
  const { side, file, names, seconds, perSecond } = config();
  const store = SIDES[side](file);
  const symbols = names.flatMap((name) => [`${name}H`, `${name}L`]).map((name) => new Rows(name).symbolOf(0));
  const latencies = [];
  let errors = 0;
  let firstError;
  await begin();
  const start = performance.now();
  for (let number = 0; number < seconds * perSecond; number += 1) {
    // By the clock, so that a slow read makes the following ones no rarer.
    await pause(Math.max(0, start + (number * 1000) / perSecond - performance.now()));
    if (performance.now() - start > seconds * 1000) break;
    const asked = performance.now();
    try {
      const candles = store.read(symbols[number % symbols.length], LIMIT);
      latencies.push(performance.now() - asked);
      for (let place = 1; place < candles.length; place += 1)
        if (candles[place].time <= candles[place - 1].time) throw new Error('candles are not in order');
    } catch (error) {
      errors += 1;
      firstError ??= `${error.code}: ${error.message}`;
    }
  }
  report({ latencies, errors, firstError });
  await store.close();
});
