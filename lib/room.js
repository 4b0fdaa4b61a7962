'use strict';

// Callers that wait for room in a full queue (option whenFull: 'wait'), first come first served. They are tried again
// whenever something has been settled, and at a slow pace besides: another thread's writes may have made the room.

const { setTimeout, clearTimeout } = require('node:timers');

const { aborted } = require('./arguments');
const { CandleStoreError } = require('./errors');

const PACE_MS = 50;

class Room {
  constructor(waits) {
    this.waits = waits;
    this.line = [];
    this.timer = null;
  }

  /**
   * Runs `attempt` now or when there is room; rejects at the deadline or when the signal says so.
   * What it uses may change as soon as this has returned, unless `own` takes it over.
   */
  async get(attempt, { signal, timeoutMs }, own) {
    if (this.line.length === 0) {
      try {
        return attempt();
      } catch (error) {
        if (error.code !== 'QUEUE_FULL') throw error;
      }
    }
    own?.();
    return new Promise((resolve, reject) => {
      const waiter = { attempt, resolve, reject, leave: () => {} };
      const giveUp = (error) => {
        this.line.splice(this.line.indexOf(waiter), 1);
        waiter.leave();
        reject(error);
      };
      const abort = () => giveUp(aborted(signal, 'no'));
      const late = () =>
        giveUp(
          new CandleStoreError(
            'TIMEOUT',
            `the write queue had no room for this write within ${timeoutMs} ms`,
            {
              written: 'no',
              waitedMs: timeoutMs,
            },
          ),
        );
      const timer = Number.isNaN(timeoutMs) ? undefined : setTimeout(late, Math.min(timeoutMs, 2 ** 31 - 1));
      signal?.addEventListener('abort', abort, { once: true });
      waiter.leave = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      };
      this.line.push(waiter);
      this.pace();
    });
  }

  /** Lets in whom there is room for, in their order. */
  retry() {
    while (this.line.length > 0) {
      const waiter = this.line[0];
      let outcome;
      try {
        outcome = waiter.attempt();
      } catch (error) {
        if (error.code === 'QUEUE_FULL') return;
        this.line.shift();
        waiter.leave();
        waiter.reject(error);
        continue;
      }
      this.line.shift();
      waiter.leave();
      waiter.resolve(outcome);
    }
  }

  rejectAll(makeError) {
    for (const waiter of this.line.splice(0)) {
      waiter.leave();
      waiter.reject(makeError());
    }
    clearTimeout(this.timer);
    this.timer = null;
  }

  /** Tries again from time to time while anybody waits; this also keeps the process alive for them. */
  pace() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.retry();
      if (this.line.length > 0) this.pace();
    }, PACE_MS);
  }
}

module.exports = { Room };
