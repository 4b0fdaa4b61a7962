'use strict';

// How long the event loop was held up, measured in two ways: by perf_hooks, whose timer fires each millisecond (which is
// part of what it tells), and by the gaps between turns of the loop, which are exact but keep one core busy.
// Of the long gaps it tells what part the thread was waiting for a core and what part was garbage collection: on a busy
// machine neither is the store's doing. The first is known on Linux only, and up to 2 ms of it may belong to the turns
// before the gap.

const fs = require('node:fs');
const { monitorEventLoopDelay, PerformanceObserver } = require('node:perf_hooks');

const LONG_MS = 5;
const MOST = 100_000;
const LOOK_MS = 2;

const SCHEDULED = '/proc/self/schedstat';
const scheduled = fs.existsSync(SCHEDULED) ? fs.openSync(SCHEDULED) : null;
/** Used again and again: reading by name would make garbage that is not the store's. */
const room = Buffer.alloc(128);

/** Milliseconds that this thread has run and waited for a core since it began. */
function spent() {
  if (scheduled === null) return { ran: NaN, waited: NaN };
  const length = fs.readSync(scheduled, room, 0, room.length, 0);
  const [ran, waited] = room.latin1Slice(0, length).split(' ');
  return { ran: Number(ran) / 1e6, waited: Number(waited) / 1e6 };
}

class LoopWatch {
  constructor(gaps) {
    this.monitor = monitorEventLoopDelay({ resolution: 1 });
    this.longestGapMs = null;
    this.long = [];
    this.collections = [];
    this.observer = new PerformanceObserver((list) => {
      for (const { startTime, duration } of list.getEntries())
        if (duration > 1) this.collections.push({ start: startTime, ms: duration });
    });
    this.observer.observe({ entryTypes: ['gc'] });
    this.measuresGaps = gaps;
    this.running = true;
    this.monitor.enable();
    if (gaps) {
      this.longestGapMs = 0;
      this.last = performance.now();
      this.looked = this.last;
      this.spent = spent();
      this.nextTurn = () => this.turn();
      setImmediate(this.nextTurn);
    }
  }

  turn() {
    const now = performance.now();
    const gap = now - this.last;
    this.last = now;
    if (gap > this.longestGapMs) this.longestGapMs = gap;
    if (gap > LONG_MS || now - this.looked > LOOK_MS) {
      const { ran, waited } = spent();
      if (gap > LONG_MS && this.long.length < MOST)
        this.long.push({
          start: now - gap,
          ms: gap,
          ranMs: ran - this.spent.ran,
          waitedForCoreMs: waited - this.spent.waited,
        });
      this.spent = { ran, waited };
      this.last = performance.now();
      this.looked = this.last;
    }
    if (this.running) setImmediate(this.nextTurn);
  }

  async stop() {
    this.running = false;
    this.monitor.disable();
    // The observer is told of collections in a later turn.
    await new Promise((resolve) => setTimeout(resolve, 10));
    this.observer.disconnect();
    const long = this.long
      .map((gap) => ({ ...gap, collectingMs: this.collectedWithin(gap) }))
      .sort((a, b) => b.ms - a.ms);
    return {
      longestMs: this.monitor.max / 1e6,
      p99Ms: this.monitor.percentile(99) / 1e6,
      longestGapMs: this.longestGapMs,
      longestOnCoreMs: this.measuresGaps
        ? Math.max(0, ...long.map(({ ms, waitedForCoreMs }) => ms - waitedForCoreMs))
        : null,
      longestCollectionMs: Math.max(0, ...this.collections.map(({ ms }) => ms)),
      gapsOver10Ms: this.measuresGaps ? long.filter(({ ms }) => ms > 10).length : null,
      longGaps: long.slice(0, 10),
    };
  }

  collectedWithin({ start, ms }) {
    const within = this.collections.map((one) =>
      Math.max(0, Math.min(start + ms, one.start + one.ms) - Math.max(start, one.start)),
    );
    return within.reduce((total, part) => total + part, 0);
  }
}

module.exports = { LoopWatch };
