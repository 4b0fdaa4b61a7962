'use strict';

// The time from one run of a job to the next: longer while its writes have to wait for the file's lock, shorter again when
// they have not, one step after each run that wrote.

const SLOWER = 1.5;
const FASTER = 0.9;
/** Above this share of writes that had to wait a job slows down; above the other of those that had not it comes back. */
const CROWDED = 0.1;
const CLEAR = 0.95;

class Pace {
  constructor({ everyMs, minEveryMs, maxEveryMs }) {
    this.everyMs = everyMs;
    this.minEveryMs = minEveryMs;
    this.maxEveryMs = maxEveryMs;
    this.rate = 0;
    this.why = 'as given';
  }

  /** After a run of so many writes, of which some had to wait and some went through at once; whether the time has changed. */
  ran({ writes, lockWaits, atOnce }) {
    if (writes === 0) return false;
    this.rate = lockWaits / writes;
    const from = this.everyMs;
    const share = `${lockWaits} of the last run's ${writes} writes had to wait for the file's lock`;
    if (this.rate > CROWDED) {
      this.everyMs = Math.min(from * SLOWER, this.maxEveryMs);
      this.why = this.everyMs === this.maxEveryMs ? `longest: ${share}` : `longer: ${share}`;
    } else if (atOnce / writes > CLEAR && from > this.minEveryMs) {
      this.everyMs = Math.max(from * FASTER, this.minEveryMs);
      this.why = this.everyMs === this.minEveryMs ? `shortest: ${share}` : `shorter again: ${share}`;
    }
    return this.everyMs !== from;
  }
}

module.exports = { Pace };
