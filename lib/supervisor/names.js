'use strict';

// Exclusive names: which of this supervisor's jobs runs by one, and which wait for it. Between processes a name is a lock of the
// database's, which dies with its process.

const { setTimeout } = require('node:timers');

const clock = require('../clock');
const { native } = require('../errors');

/** How often a name that others have is asked for. */
const PACE_MS = 100;
/** How long a name that another process has asked for is left to it. */
const LEAVE_MS = 2.5 * PACE_MS;

class Names {
  #native;
  /** Who runs by a name: `{ job, hold }`. */
  #running = new Map();
  #leftUntil = new Map();
  #waiting = [];
  #timer = null;

  constructor(nativeStore) {
    this.#native = nativeStore;
  }

  /** Takes the name of a job that is to run: null, or `{ heldBy }`. One that others of this supervisor wait for is theirs first. */
  take(job) {
    const name = job.options.exclusive;
    const running = this.#running.get(name);
    if (running) return { heldBy: running.job.name };
    const first = this.#waiting.find((waiting) => waiting.options.exclusive === name);
    if (first && first !== job) return { heldBy: first.name };
    if (this.#leftUntil.get(name) > clock.now()) return { heldBy: null };
    const { hold, heldBy } = native(() => this.#native.takeName(name));
    if (hold === 0) return { heldBy };
    this.#running.set(name, { job, hold });
    this.leave(job);
    return null;
  }

  /** A job waits: its `unblocked()` is called when it has its name, `blockedBy(heldBy)` as long as it has not. */
  wait(job) {
    this.#waiting.push(job);
    this.#look();
  }

  /** It waits no more. */
  leave(job) {
    const place = this.#waiting.indexOf(job);
    if (place >= 0) this.#waiting.splice(place, 1);
  }

  /** Its run has ended. */
  give(job) {
    const name = job.options.exclusive;
    const running = this.#running.get(name);
    if (running?.job !== job) return;
    this.#running.delete(name);
    const isWanted = this.#native.giveBack(running.hold);
    if (isWanted) this.#leftUntil.set(name, clock.now() + LEAVE_MS);
    else this.#leftUntil.delete(name);
    this.#retry(this.#waiting.filter((waiting) => waiting.options.exclusive === name));
  }

  #look() {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#retry([...this.#waiting]);
      if (this.#waiting.length > 0) this.#look();
    }, PACE_MS);
  }

  #retry(jobs) {
    for (const job of jobs) {
      // One that was unblocked before may have stopped it.
      if (!this.#waiting.includes(job)) continue;
      let taken;
      try {
        taken = this.take(job);
      } catch (error) {
        this.leave(job);
        job.unblocked(error);
        continue;
      }
      if (taken) job.blockedBy(taken.heldBy);
      else job.unblocked();
    }
  }
}

module.exports = { Names };
