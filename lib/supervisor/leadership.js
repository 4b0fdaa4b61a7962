'use strict';

// Which of several supervisors with the same name, in all processes that have the database open, runs its jobs: the one that has
// the name, a lock of the database's, until it stops or its process dies. The others stand by.

const { setTimeout, clearTimeout } = require('node:timers');

const { native } = require('../errors');

/** How often a name that others have is asked for. */
const PACE_MS = 100;

class Leadership {
  #native;
  #name;
  #hold = 0;
  #timer = null;
  /** Who leads instead: `{ heldBy, error }`. */
  standby = null;

  /** `name` null: there are no others. */
  constructor(nativeStore, name) {
    this.#native = nativeStore;
    this.#name = name && `leader/${name}`;
  }

  get isHeld() {
    return this.#name === null || this.#hold !== 0;
  }

  /**
   * Calls `onLead` when it leads, at once if it may, and until then `onStandby({ heldBy, error })` whenever that changes: who leads,
   * or why nobody can tell.
   */
  seek(onLead, onStandby) {
    const answer = this.isHeld ? null : this.#take();
    if (answer === null) {
      this.standby = null;
      return onLead();
    }
    const known = this.standby;
    this.standby = answer;
    if (answer.error?.code !== 'CLOSED')
      this.#timer = setTimeout(() => this.seek(onLead, onStandby), PACE_MS);
    // Last: it may be told to leave by that.
    if (known?.heldBy !== answer.heldBy || known?.error?.code !== answer.error?.code)
      onStandby({ ...answer });
  }

  #take() {
    try {
      const { hold, heldBy } = native(() => this.#native.takeName(this.#name));
      this.#hold = hold;
      return hold === 0 ? { heldBy, error: null } : null;
    } catch (error) {
      return { heldBy: null, error };
    }
  }

  /** Stands by no more. */
  leave() {
    clearTimeout(this.#timer);
    this.standby = null;
  }

  giveUp() {
    if (this.#hold !== 0) this.#native.giveBack(this.#hold);
    this.#hold = 0;
  }
}

module.exports = { Leadership };
