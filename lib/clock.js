'use strict';

// Milliseconds that only go forwards, taken at load: fake timers of a test framework must not stop the store.

const { performance } = require('node:perf_hooks');

const now = performance.now.bind(performance);

/** A timer cannot be set for longer. */
const LONGEST_TIMER = 2 ** 31 - 1;

module.exports = { LONGEST_TIMER, now };
