'use strict';

// The rows of a statement one after another. They are fetched in chunks that grow, so that who stops early has read little
// ahead. In unsafe mode the caller may change meanwhile what is read, and they are fetched one by one.

const FIRST = 16;
const MOST = 1_024;

class StatementIterator {
  #work;
  #rows = [];
  #at = 0;
  #most = FIRST;
  #state = 'fresh';

  constructor(statement, work) {
    if (work === undefined) throw new TypeError('Iterators can only be made by the iterate() method');
    this.#work = work;
    Object.defineProperty(this, 'statement', { value: statement, enumerable: true });
  }

  next() {
    if (this.#at < this.#rows.length) {
      this.#work.session.checkOpen();
      this.#work.session.checkNotBusy();
      return { value: this.#rows[this.#at++], done: false };
    }
    if (this.#state === 'ended') return { value: undefined, done: true };
    this.#work.session.checkNotBusy();
    return this.#fetch() ? this.next() : this.return();
  }

  return() {
    this.#work.session.checkNotBusy();
    if (this.#state !== 'ended') {
      if (this.#state === 'open') this.#work.leave();
      this.#end();
    }
    return { value: undefined, done: true };
  }

  [Symbol.iterator]() {
    if (!(#work in this)) throw new TypeError('Illegal invocation');
    return this;
  }

  /** Whether there are more rows now. */
  #fetch() {
    if (this.#state === 'last') return false;
    const { session, start, more, isDone } = this.#work;
    const most = session.isUnsafe ? 1 : this.#most;
    try {
      this.#rows = this.#state === 'fresh' ? start(most) : more(most);
    } catch (error) {
      this.#end();
      throw error;
    }
    this.#state = isDone() ? 'last' : 'open';
    this.#at = 0;
    this.#most = Math.min(4 * this.#most, MOST);
    return this.#rows.length > 0;
  }

  #end() {
    this.#state = 'ended';
    this.#rows = [];
    this.#at = 0;
    this.#work.end();
  }
}

module.exports = { StatementIterator };
