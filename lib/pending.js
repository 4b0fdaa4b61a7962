'use strict';

// The promises of a store that are not settled yet. While there are any, the process stays alive: Node must not end
// with accepted writes unanswered. An idle store keeps nothing alive.

// Taken from the module, not the globals: fake timers of a test framework must not stop the store.
const { setInterval, clearInterval } = require('node:timers');

const LONG = 2 ** 30;

/** Doubles of one outcome as the native side gives it: id, kind, and what there is to tell. */
const SETTLED = 11;

/** How far a copy of the database is, of an outcome. */
function progressOf(numbers, at) {
  return {
    totalPages: numbers[at + 2],
    remainingPages: numbers[at + 3],
    isHeldUp: numbers[at + 4] === 1,
  };
}

class Pending {
  constructor() {
    this.calls = new Map();
    this.lastId = 0;
    this.alive = null;
  }

  nextId() {
    return ++this.lastId;
  }

  /** A promise for the call `id`; `cleanUp` runs when it is settled. */
  wait(id, cleanUp) {
    return new Promise((resolve, reject) => {
      this.calls.set(id, { resolve, reject, cleanUp });
      // The interval's closure also keeps the store from being collected.
      this.alive ??= setInterval(() => this.calls.size, LONG);
    });
  }

  /** Takes a call out to settle it; undefined when it is settled already. */
  take(id) {
    const call = this.calls.get(id);
    if (call === undefined) return undefined;
    this.calls.delete(id);
    if (this.calls.size === 0) {
      clearInterval(this.alive);
      this.alive = null;
    }
    call.cleanUp?.();
    return call;
  }

  resolve(id, value) {
    this.take(id)?.resolve(value);
  }

  reject(id, error) {
    this.take(id)?.reject(error);
  }

  rejectAll(makeError) {
    for (const id of [...this.calls.keys()]) this.reject(id, makeError());
  }
}

module.exports = { Pending, SETTLED, progressOf };
