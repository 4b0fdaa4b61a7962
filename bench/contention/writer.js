'use strict';

// One writer of a run: without pause, a transaction of 1,000 rows and four of 3, of times that it never writes twice. A
// transaction that fails is tried again, as a collector does, until it succeeds or the time is over.
//   { side, through: 'transaction' | 'enqueue', file, name, seconds }

const { Rows } = require('./rows.js');
const { SIDES, isLock } = require('./sides.js');
const { config, report, begin, main } = require('./worker.js');

const KINDS = {
  history: { rows: 1000, priority: 'backfill' },
  live: { rows: 3, priority: 'live' },
};
const TURN = ['history', 'live', 'live', 'live', 'live'];

main(async () => {
  const { side, through, file, name, seconds } = config();
  const store = SIDES[side](file);
  const rows = { history: new Rows(`${name}H`), live: new Rows(`${name}L`) };
  const written = { history: 0, live: 0 };
  const latencies = { history: [], live: [] };
  const result = { rowsInTime: 0, attempts: 0, committed: 0, locked: 0, otherErrors: 0, coalesced: 0 };
  const note = (error) => {
    result[isLock(error) ? 'locked' : 'otherErrors'] += 1;
    result.firstError ??= `${error.code}: ${error.message}`;
  };

  await begin();
  const cpuBefore = process.cpuUsage();
  const end = performance.now() + seconds * 1000;
  let over = false;
  for (let turn = 0; !over; turn += 1) {
    const kind = TURN[turn % TURN.length];
    const { rows: count, priority } = KINDS[kind];
    const first = written[kind];
    const symbol = rows[kind].symbolOf(first);
    const candles = rows[kind].take(first, count);
    const start = performance.now();
    for (let done = false; !done && !over;) {
      result.attempts += 1;
      try {
        if (through === 'enqueue') {
          result.coalesced += (await store.enqueue(symbol, candles, priority)).coalesced;
        } else {
          store.transaction(symbol, candles);
        }
        done = true;
        result.committed += 1;
        written[kind] += count;
      } catch (error) {
        note(error);
      }
      const now = performance.now();
      over = now >= end;
      if (done && !over) result.rowsInTime += count;
      // Also what the end of the time overtook: leaving the longest waits out would flatter.
      if (done || over) latencies[kind].push(now - start);
    }
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  const stats = store.stats();
  report({
    ...result,
    name,
    latencies,
    stats,
    cpuSeconds: (user + system) / 1e6,
    stored: Object.keys(rows).map((kind) => ({ name: rows[kind].name, rows: written[kind] })),
  });
  await store.close();
});
