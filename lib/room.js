'use strict';

// Callers that wait for room in a full queue (option whenFull: 'wait'), first come first served. They are tried again
// whenever something has been settled, and at a slow pace besides: another thread's writes may have made the room.
// Each job of a supervisor has a line of its own: one that has used up its share must not hold up the others.

const { setTimeout, clearTimeout } = require('node:timers');

const { aborted } = require('./arguments');
const { LONGEST_TIMER } = require('./clock');
const { CandleStoreError } = require('./errors');

const PACE_MS = 50;

class Room {
  constructor(waits) {
    this.waits = waits;
    /** Who waits, by the number of the job; 0 is nobody's. */
    this.lines = new Map();
    this.timer = null;
  }

  /**
   * Runs `attempt` now or when there is room; rejects at the deadline or when the signal says so.
   * What it uses may change as soon as this has returned, unless `own` takes it over.
   */
  async get(attempt, { signal, timeoutMs, job }, own) {
    if (!this.lines.has(job)) {
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
        const line = this.lines.get(job);
        line.delete(waiter);
        if (line.size === 0) this.lines.delete(job);
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
      const timer = Number.isNaN(timeoutMs)
        ? undefined
        : setTimeout(late, Math.min(timeoutMs, LONGEST_TIMER));
      signal?.addEventListener('abort', abort, { once: true });
      waiter.leave = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      };
      if (!this.lines.has(job)) this.lines.set(job, new Set());
      this.lines.get(job).add(waiter);
      this.pace();
    });
  }

  /** Lets in whom there is room for, in their order; of several lines one after the other. */
  retry() {
    let waiting = [...this.lines];
    while (waiting.length > 0) waiting = waiting.filter(([job, line]) => this.#letIn(job, line));
  }

  /** Lets in the first of a line; whether the next one is to be tried. */
  #letIn(job, line) {
    const [waiter] = line;
    const settle = (how, value) => {
      line.delete(waiter);
      if (line.size === 0) this.lines.delete(job);
      waiter.leave();
      waiter[how](value);
      return line.size > 0;
    };
    try {
      return settle('resolve', waiter.attempt());
    } catch (error) {
      return error.code === 'QUEUE_FULL' ? false : settle('reject', error);
    }
  }

  /** Sends away who waits in one line. */
  reject(job, makeError) {
    const line = this.lines.get(job) ?? [];
    this.lines.delete(job);
    for (const waiter of line) {
      waiter.leave();
      waiter.reject(makeError());
    }
  }

  rejectAll(makeError) {
    for (const job of [...this.lines.keys()]) this.reject(job, makeError);
    clearTimeout(this.timer);
    this.timer = null;
  }

  /** Tries again from time to time while anybody waits; this also keeps the process alive for them. */
  pace() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.retry();
      if (this.lines.size > 0) this.pace();
    }, PACE_MS);
  }
}

module.exports = { Room };
