'use strict';

// Asks the database whether it takes writes, while jobs fail because it does not, and brings them back when it does. The question
// goes through the write queue as any live write does, so its answer is what a job would find.

const { setTimeout, clearTimeout } = require('node:timers');

const clock = require('../clock');

/** A question that waits for the lock is answered as soon as the lock is free; for no longer than this. */
const PATIENCE_MS = 10_000;
/** An answer that had to wait no longer says that there was nothing to wait for. */
const AT_ONCE_MS = 100;
/** A job that fails so often although the database works is left to its cool-down. */
const MOST_IN_VAIN = 3;

class DatabaseWatch {
  #inside;
  #intervalMs;
  #suspects = new Set();
  #timer = null;
  #question = null;
  /** What the last answer was. */
  #works = true;

  constructor(inside, intervalMs) {
    this.#inside = inside;
    this.#intervalMs = intervalMs;
  }

  /** Jobs have failed because of the database, and it takes no writes as far as is known. */
  get isFailing() {
    if (this.#suspects.size === 0) return false;
    return !this.#works || (this.#question !== null && this.#inside.native.isHeldUp());
  }

  /** Whether a job is run as soon as the database works. */
  has(job) {
    return this.#suspects.has(job);
  }

  /** A job has failed because of the database; its `retry()` is called when that works, from `outage.retryFrom` on. */
  add(job) {
    this.#suspects.add(job);
    this.#lookIn(0);
  }

  /** A job works again, or is not to be run any more. */
  remove(job) {
    this.#suspects.delete(job);
    if (this.#suspects.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#question?.callOff();
    this.#question = null;
    this.#works = true;
  }

  #lookIn(ms) {
    if (this.#question !== null || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#ask();
    }, ms);
  }

  async #ask() {
    let question = null;
    let waitedMs = null;
    try {
      question = this.#inside.probe(PATIENCE_MS);
      this.#question = question;
      waitedMs = await question.answer;
    } catch {
      // It takes no writes now, whatever the reason.
    }
    // Called off meanwhile.
    if (this.#question !== question) return;
    this.#question = null;
    this.#works = waitedMs !== null;
    const now = clock.now();
    for (const job of [...this.#suspects]) {
      if (!this.#works || waitedMs > AT_ONCE_MS) job.outage.inVain = 0;
      if (this.#works) this.#bringBack(job, now);
    }
    if (this.#suspects.size === 0) return;
    const soonest = Math.min(...[...this.#suspects].map((job) => job.outage.retryFrom)) - now;
    this.#lookIn(this.#works ? Math.min(Math.max(soonest, 1), this.#intervalMs) : this.#intervalMs);
  }

  #bringBack(job, now) {
    const { outage } = job;
    const isLeft = outage.inVain >= MOST_IN_VAIN;
    if (!isLeft && outage.retryFrom > now) return;
    // If it fails again it is told of again.
    this.#suspects.delete(job);
    if (isLeft) return;
    outage.inVain += 1;
    job.retry();
  }
}

module.exports = { DatabaseWatch };
