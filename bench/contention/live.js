'use strict';

// Live writes of a few candles beside a backfill that never pauses, by one process and one store, and what both do to
// its event loop. Everything is computed before the clock starts.
//   { file, seconds, levels, count, window, everyMs, liveRows, gaps }

const { setTimeout: pause } = require('node:timers/promises');
const { Feeder } = require('./feeder.js');
const { LoopWatch } = require('./loop-watch.js');
const { Rows, TABLE } = require('./rows.js');
const { config, report, main } = require('./worker.js');

const IDLE_MS = 1000;

main(async () => {
  const { file, seconds, levels, count, window, everyMs, liveRows, gaps } = config();
  const store = require('candlestore').openStore(file);
  const live = new Rows('LIVE', levels);
  const feeder = new Feeder(store, new Rows('BACKFILL', levels), { count, window });
  await feeder.fill();
  // What the machine does to an event loop that has nothing to do.
  const idleWatch = new LoopWatch(gaps);
  await pause(IDLE_MS);
  const idle = await idleWatch.stop();

  const writes = [];
  let written = 0;
  let errors = 0;
  let firstError;
  const before = store.getStats();
  const watch = new LoopWatch(gaps);
  const start = performance.now();
  const over = () => performance.now() - start >= seconds * 1000;
  const feeding = feeder.feed(over);
  const pending = [];
  const write = async () => {
    const first = written;
    written += liveRows;
    const asked = performance.now();
    try {
      const done = await store.enqueueCandles(TABLE, live.symbolOf(first), live.take(first, liveRows));
      writes.push({ ms: performance.now() - asked, queuedMs: done.queuedMs, commitMs: done.commitMs });
    } catch (error) {
      errors += 1;
      firstError ??= `${error.code}: ${error.message}`;
    }
  };
  for (let number = 0; number * everyMs < seconds * 1000; number += 1) {
    await pause(Math.max(0, start + number * everyMs - performance.now()));
    pending.push(write());
  }
  await feeding;
  const { committed } = feeder;
  const rate = committed / ((performance.now() - start) / 1000);
  const loop = await watch.stop();
  await Promise.all([...pending, feeder.settled()]);
  const stats = store.getStats();
  report({
    rate,
    latencies: writes.map(({ ms }) => ms),
    slowest: writes.sort((a, b) => b.ms - a.ms).slice(0, 5),
    loop,
    idle,
    errors: errors + feeder.errors,
    firstError: firstError ?? feeder.firstError,
    coalesced: feeder.coalesced,
    groups: stats.groups - before.groups,
    peakMiB: process.resourceUsage().maxRSS / 1024,
    stored: [
      { ...feeder.stored, levels },
      { name: 'LIVE', rows: written, levels },
    ],
  });
  await store.close();
});
