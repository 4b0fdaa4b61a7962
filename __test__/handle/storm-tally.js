'use strict';

// What is known of a thread after it was cut off: numbers in memory that outlives it, and faults it could still tell.

const { NAMES } = require('./storm-work.js');

const COMMITS = 0;
/** The action it is in, counted from 1; 0 between two. */
const INSIDE = 1;
const BUSY = 2;
/** Commits that returned, of which nothing could be read afterwards. */
const UNSURE = 3;
const BEGUN = 4;
const LENGTH = BEGUN + NAMES.length;

/** What work() tells, kept in `numbers`; `fault` hears of what must not happen. */
function tallyOf(numbers, { started, fault }) {
  return {
    started,
    fault,
    begun(action) {
      numbers[INSIDE] = action + 1;
      numbers[BEGUN + action] += 1;
    },
    done: () => (numbers[INSIDE] = 0),
    committed: (commits) => (numbers[COMMITS] = commits),
    unsure: () => (numbers[UNSURE] += 1),
    failed(error) {
      // Another connection's lock, held for longer than the timeout, is the caller's to try again.
      if (String(error.code).startsWith('SQLITE_BUSY')) numbers[BUSY] += 1;
      else fault(`${NAMES[numbers[INSIDE] - 1]}: ${error.stack}`);
    },
  };
}

const readTally = (numbers) => ({
  commits: numbers[COMMITS],
  inside: NAMES[numbers[INSIDE] - 1] ?? 'between actions',
  busy: numbers[BUSY],
  unsure: numbers[UNSURE],
  begun: Object.fromEntries(NAMES.map((name, action) => [name, numbers[BEGUN + action]])),
});

module.exports = { LENGTH, readTally, tallyOf };
