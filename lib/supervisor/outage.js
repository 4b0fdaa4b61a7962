'use strict';

// The runs of a job that fail in a row: when they are too many it is disabled and cools down, twice as long after each trial
// that fails. The clock is passed in.

/** Waits before a job is run again because the database works: it may work for the question and not for the job. */
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 3000;

class Outage {
  constructor({ failureThreshold, databaseFailureThreshold, cooldownMs, maxCooldownMs }) {
    this.thresholds = { job: failureThreshold, database: databaseFailureThreshold };
    this.cooldownMs = cooldownMs;
    this.maxCooldownMs = maxCooldownMs;
    this.lastFailure = -Infinity;
    /** Its listeners have been told that it is down. */
    this.isTold = false;
    this.#reset();
  }

  #reset() {
    /** Failures in a row, and those at their end that the database caused. */
    this.failures = 0;
    this.ofDatabase = 0;
    /** The cause of the last one, and its error. */
    this.cause = null;
    this.error = null;
    /** Until when it is left alone: it is disabled. */
    this.until = null;
    this.trials = 0;
    /** Runs because the database worked, though nothing had kept it from working. */
    this.inVain = 0;
  }

  get isDisabled() {
    return this.until !== null;
  }

  /** A run has failed; true when that disables the job, or keeps it disabled. */
  failed(cause, error, now) {
    this.failures += 1;
    this.ofDatabase = cause === 'database' ? this.ofDatabase + 1 : 0;
    this.cause = cause;
    this.error = error;
    this.lastFailure = now;
    const isTooMuch = this.failures >= this.thresholds.job || this.ofDatabase >= this.thresholds.database;
    if (!this.isDisabled && !isTooMuch) return false;
    this.until = now + Math.min(this.cooldownMs * 2 ** this.trials, this.maxCooldownMs);
    this.trials += 1;
    return true;
  }

  /** From when on a job that fails because of the database may be run again if that works. */
  get retryFrom() {
    return this.lastFailure + Math.min(FIRST_RETRY_MS * 2 ** (this.ofDatabase - 1), LONGEST_RETRY_MS);
  }

  /** A run ended well. */
  succeeded() {
    this.#reset();
  }
}

module.exports = { Outage };
