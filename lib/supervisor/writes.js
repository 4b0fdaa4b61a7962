'use strict';

// The writes of one run that go through the queue: the run is not over before all of them are settled, and one that fails
// without anybody waiting for it makes the run fail.

const { setImmediate } = require('node:timers');

/** A promise that knows whether anybody waits for it. */
class Watched extends Promise {
  static get [Symbol.species]() {
    return Promise;
  }

  then(...handlers) {
    this.isWaitedFor = true;
    return super.then(...handlers);
  }
}

class Writes {
  #onFailure;
  #open = 0;
  #whenNone = null;
  isOver = false;
  /** Writes that failed before anybody waited for them. */
  #failed = [];

  /** `onFailure(error)` is told of each at once. */
  constructor(onFailure) {
    this.#onFailure = onFailure;
  }

  /** Takes a write; gives the promise for its caller. */
  add(write) {
    this.#open += 1;
    const watched = new Watched((resolve, reject) => {
      write.then(resolve, (error) => {
        this.#onFailure(error);
        // Who tries again at once must leave others their turns.
        if (error?.code === 'QUEUE_FULL') setImmediate(reject, error);
        else reject(error);
      });
    });
    // Not by then() of its own: this is nobody who waits for it.
    Promise.prototype.then.call(
      watched,
      () => this.#settled(),
      (error) => {
        if (!watched.isWaitedFor) this.#failed.push({ watched, error });
        this.#settled();
      },
    );
    return watched;
  }

  get areOpen() {
    return this.#open > 0;
  }

  /** Resolves when no write is open, with the first failure that nobody waited for: `{ error }`, or null. None may be added then. */
  async settled() {
    do {
      if (this.#open > 0) await new Promise((resolve) => (this.#whenNone = resolve));
      // A turn later: those who wait may be about to say so.
      if (this.#failed.length > 0) await new Promise((resolve) => setImmediate(resolve));
    } while (this.#open > 0);
    this.isOver = true;
    return this.#failed.find(({ watched }) => !watched.isWaitedFor) ?? null;
  }

  #settled() {
    this.#open -= 1;
    if (this.#open === 0) this.#whenNone?.();
  }
}

module.exports = { Writes };
