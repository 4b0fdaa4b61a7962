'use strict';

// A backfill that never pauses: the same candles again and again with changed values, so many batches of 1,000 in the
// queue at once that its writer is never idle. One batch is handed over in each turn of the event loop: a collector gets
// its pages from the network one by one, and what is to be measured is the store, not a burst of the caller's.

const { setImmediate: turn } = require('node:timers/promises');
const { TABLE } = require('./rows.js');

const BATCH = 1000;

class Feeder {
  constructor(store, rows, { count, window }) {
    Object.assign(this, { store, rows, count, window });
    this.number = 0;
    this.version = 0;
    this.inFlight = 0;
    this.committed = 0;
    this.errors = 0;
    this.firstError = undefined;
    this.coalesced = 0;
    this.latencies = [];
    this.room = null;
  }

  /** Stores every candle once. */
  async fill() {
    await this.feed(() => this.version > 0);
    await this.settled();
    this.committed = 0;
    this.latencies = [];
  }

  /** Hands over batch after batch until `over` says so. */
  async feed(over) {
    while (!over()) {
      if (this.inFlight >= this.window) await new Promise((resolve) => (this.room = resolve));
      await turn();
      this.send();
    }
  }

  send() {
    const first = this.number;
    const candles = this.rows.take(first, BATCH, this.version);
    const start = performance.now();
    this.inFlight += 1;
    this.store
      .enqueueCandles(TABLE, this.rows.symbolOf(first), candles, { priority: 'backfill' })
      .then(({ coalesced }) => {
        this.committed += BATCH;
        this.coalesced += coalesced;
        this.latencies.push(performance.now() - start);
      })
      .catch((error) => {
        this.errors += 1;
        this.firstError ??= `${error.code}: ${error.message}`;
      })
      .finally(() => {
        this.inFlight -= 1;
        this.room?.();
      });
    this.number += BATCH;
    if (this.number === this.count) {
      this.number = 0;
      this.version += 1;
    }
  }

  /** Resolves when nothing is in the queue. */
  async settled() {
    while (this.inFlight > 0) await new Promise((resolve) => (this.room = resolve));
  }

  /** What the file must hold, for `check.js`. */
  get stored() {
    return { name: this.rows.name, rows: this.count, version: this.version, ahead: this.number };
  }
}

module.exports = { Feeder };
