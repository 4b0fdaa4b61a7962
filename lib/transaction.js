'use strict';

// The open transaction of a store's caller, seen from JS: candles written in it are gathered here and handed over in
// one call before anything else happens on the handle, so that a loop over upsertCandle() is nearly as fast as
// upsertCandles(). The lease itself is the native side's. A deferred transaction takes it only when something needs it:
// one that gathers candles of one series and nothing else is a single write, and no lock is held while JS runs.

const { invalidArgument, native } = require('./errors');
const { Packed, withPacked } = require('./packed');
const { firstWord } = require('./sql');

/** Gathered rows and doubles of footprints after which they are handed over. */
const MOST_ROWS = 5_000;
const MOST_DOUBLES = 512 << 10;

/** A rollback of the whole transaction with nothing after it. */
const ENDS = /^[\s;]*rollback(?:\s+transaction)?[\s;]*$/i;
const MORE_FOLLOWS = /;\s*[^\s;]/;

class Transaction {
  constructor(nativeStore) {
    this.native = nativeStore;
    /** Whether one is open. */
    this.open = false;
    /** It is open and has no lease yet. */
    this.deferred = false;
    /** How many functions of db.transaction() are running. */
    this.depth = 0;
    // Small at first: most stores never gather.
    this.packed = new Packed(1);
    this.minutes = 0;
    this.symbol = '';
  }

  /** Adds one candle to the transaction; it is checked now and stored at the hand-over. */
  add(minutes, symbol, candle, where) {
    withPacked(
      (one) => one.add(candle, 0, where),
      (one) => {
        this.turnTo(minutes, symbol);
        this.packed.append(one);
      },
    );
  }

  /** Makes room for a candle of this series. */
  turnTo(minutes, symbol) {
    // A getter of the candle's may have ended what the candle was to become part of.
    if (!this.open)
      throw invalidArgument('the transaction ended while the candle was read; nothing was written');
    const full = this.packed.count >= MOST_ROWS || this.packed.footprints.used >= MOST_DOUBLES;
    const same = minutes === this.minutes && symbol === this.symbol;
    if (same && !full) return;
    if (this.packed.count > 0) this.handOver();
    this.minutes = minutes;
    this.symbol = symbol;
  }

  /** Opens a transaction that takes its lease when it is needed. */
  defer() {
    this.open = true;
    this.deferred = true;
  }

  /** Takes the lease and stores what was gathered. */
  handOver() {
    if (this.deferred) {
      native(() => this.native.runScript('BEGIN IMMEDIATE', false));
      this.deferred = false;
    }
    this.store();
  }

  /** Stores what was gathered: in the lease if there is one, else in a transaction of its own. */
  store() {
    const { packed } = this;
    if (packed.count === 0) return;
    const { values, count, footprints } = packed;
    const { bytes, used } = footprints;
    packed.clear();
    native(() => this.native.upsert(this.minutes, this.symbol, values, count, bytes, used));
  }

  discard() {
    this.packed.clear();
  }

  /** Ends a transaction without a lease: what it has gathered is all there is of it. */
  end(commits) {
    if (!commits) this.discard();
    this.store();
    this.open = false;
    this.deferred = false;
  }

  /** Runs something on the writing session: what was gathered comes first, unless it is being rolled back. */
  around(sql, run) {
    if (this.deferred && ENDS.test(sql)) {
      // Nobody has to be waited for to write nothing.
      this.end(false);
      return undefined;
    }
    const rollsBack = firstWord(sql) === 'rollback' && !MORE_FOLLOWS.test(sql);
    const gathered = this.packed;
    if (rollsBack) this.packed = new Packed();
    try {
      this.handOver();
      return native(run);
    } catch (error) {
      // A rollback to a savepoint that there is not has taken nothing back.
      if (rollsBack) this.packed = gathered;
      throw error;
    } finally {
      if (!this.deferred) this.open = this.native.inTransaction;
      if (!this.open) this.discard();
    }
  }
}

module.exports = { Transaction };
