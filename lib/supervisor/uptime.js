'use strict';

// The share of the last hour in which a job worked, kept by the minute: however often it fails, it takes no more room. The clock is
// passed in.

const MINUTE_MS = 60_000;
const MINUTES = 60;

class Uptime {
  #since;
  #downSince = null;
  /** Time it was down, by minute, and which minute that is. */
  #down = new Float64Array(MINUTES + 1);
  #minutes = new Float64Array(MINUTES + 1).fill(-1);

  constructor(now) {
    this.#since = now;
  }

  get downSince() {
    return this.#downSince;
  }

  down(now) {
    this.#downSince ??= now;
  }

  /** It works; for how long it had not, or null. */
  up(now) {
    const since = this.#downSince;
    if (since === null) return null;
    this.#downSince = null;
    this.#add(since, now);
    return now - since;
  }

  #add(from, to) {
    let begin = Math.max(from, to - MINUTES * MINUTE_MS);
    while (begin < to) {
      const minute = Math.floor(begin / MINUTE_MS);
      const end = Math.min((minute + 1) * MINUTE_MS, to);
      const place = minute % this.#down.length;
      if (this.#minutes[place] !== minute) {
        this.#minutes[place] = minute;
        this.#down[place] = 0;
      }
      this.#down[place] += end - begin;
      begin = end;
    }
  }

  /** Of the last hour, or of the time since it was made. */
  share(now) {
    const from = Math.max(this.#since, now - MINUTES * MINUTE_MS);
    if (now <= from) return this.#downSince === null ? 1 : 0;
    const first = Math.floor(from / MINUTE_MS);
    let down = this.#downSince === null ? 0 : now - Math.max(this.#downSince, from);
    this.#minutes.forEach((minute, place) => {
      if (minute > first) down += this.#down[place];
      // Of the minute that the hour begins in, what is in the hour at most.
      if (minute === first) down += Math.min(this.#down[place], (first + 1) * MINUTE_MS - from);
    });
    return Math.max(0, 1 - down / (now - from));
  }
}

module.exports = { Uptime };
