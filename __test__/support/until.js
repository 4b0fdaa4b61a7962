'use strict';

const { setTimeout: pause } = require('node:timers/promises');

/** Waits until `condition` gives something truthy and returns it; fails after `seconds`. */
async function until(condition, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const met = await condition();
    if (met) return met;
    if (Date.now() > deadline) throw new Error(`not met within ${seconds} s: ${condition}`);
    await pause(10);
  }
}

module.exports = { until };
