'use strict';

// One run of a job: it is over when its function and all its writes have ended, and `ended` resolves with what it failed of
// (`{ error }`) or with null. Its signal is aborted at its time limit, and when the supervisor stops.

const { setMaxListeners } = require('node:events');
const { setInterval, clearInterval, setTimeout, clearTimeout } = require('node:timers');

const clock = require('../clock');
const { aborted } = require('../arguments');
const { storeOfRun } = require('./job-store');
const { Writes } = require('./writes');

/** How long a run may take to end once its signal is aborted; then it hangs. */
const GRACE_MS = 1_000;
const WITHDRAWS_EVERY_MS = 200;
/** A timer that is so much too late was held up by the thread; and so long a run is given after that. */
const LATE_MS = 50;

class Run {
  #controller = new AbortController();
  #limit = null;
  #grace = null;
  #withdrawing = null;
  #withdraw;
  #onHang;
  #onLate;
  #wasLate = false;
  #given;
  #end;
  startedAt = Date.now();
  began = clock.now();
  tookMs = 0;
  writes;
  ended = new Promise((resolve) => (this.#end = resolve));
  /** The error of its time limit, and whose fault that is, once it was reached. */
  limitError = null;
  limitCause = null;
  isStopped = false;
  /** A write of it found the queue full while the database kept writes waiting. */
  wasHeldUp = false;
  isHung = false;

  /**
   * `onHang` is called when it does not end though it has reached its limit; `onLate(error)` when a write was refused because
   * the run was over.
   */
  constructor({ name, store, inside, job, timeLimitMs, onHang, onLate }) {
    const { signal } = this.#controller;
    setMaxListeners(0, signal);
    this.signal = signal;
    this.#withdraw = () => inside.withdraw(job.id, () => aborted(signal, 'no'));
    this.writes = new Writes((error) => {
      if (error?.code === 'QUEUE_FULL') this.wasHeldUp ||= inside.native.isHeldUp();
    });
    this.#onHang = onHang;
    this.#onLate = onLate;
    this.#given = Object.freeze({ job: name, signal, store: storeOfRun(store, inside, job, this) });
    if (timeLimitMs === null) return;
    const expire = () => {
      const isHeldUp = this.writes.areOpen && inside.native.isHeldUp();
      const why = isHeldUp ? ' while its writes waited for the database' : '';
      this.limitCause = isHeldUp ? 'database' : 'job';
      this.limitError = new DOMException(
        `the run has reached its limit of ${timeLimitMs} ms${why}`,
        'TimeoutError',
      );
      this.awaitEnd();
      this.#controller.abort(this.limitError);
      this.withdraw();
    };
    this.#limit = setTimeout(() => {
      // The thread was not there: what the run waits for may have come meanwhile.
      const isLate = clock.now() - this.began > timeLimitMs + LATE_MS;
      if (isLate) this.#limit = setTimeout(expire, LATE_MS);
      else expire();
    }, timeLimitMs);
  }

  /** Calls the function of the job. */
  async begin(work) {
    let failure = null;
    try {
      // Who was told that it begins may have stopped it.
      this.signal.throwIfAborted();
      await work(this.#given);
    } catch (error) {
      // A run that failed is told by its error.
      failure = { error: error ?? new Error(`the run failed with ${error}`) };
    }
    const unseen = await this.writes.settled();
    this.#clear();
    this.tookMs = clock.now() - this.began;
    this.#end(this.limitError ? { error: this.limitError } : (failure ?? unseen));
  }

  /** A write was refused because the run was over; told once. */
  late(error) {
    if (this.#wasLate) return;
    this.#wasLate = true;
    this.#onLate(error);
  }

  /** Aborted, it hangs if it does not end soon. */
  awaitEnd() {
    clearTimeout(this.#grace);
    this.#grace = setTimeout(() => {
      this.isHung = true;
      this.#onHang();
    }, GRACE_MS);
  }

  /** What it has written is left to be committed. */
  stop() {
    this.isStopped = true;
    // Nobody asks any more how long it lasts, and its timers would keep the process alive.
    this.#clear();
    this.#controller.abort(new DOMException('the supervisor stops', 'AbortError'));
    // It may have been withdrawing already.
    if (this.limitError) this.withdraw();
  }

  /** Takes back what waits of it, again and again: what had begun may have been undone, and waits again. */
  withdraw() {
    this.#withdraw();
    clearInterval(this.#withdrawing);
    this.#withdrawing = setInterval(this.#withdraw, WITHDRAWS_EVERY_MS).unref();
  }

  #clear() {
    clearTimeout(this.#limit);
    clearTimeout(this.#grace);
    clearInterval(this.#withdrawing);
  }
}

module.exports = { Run };
