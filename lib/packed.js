'use strict';

// Where candles are packed into before they cross to the native side. One place is used again and again: memory outside
// of V8's heap makes it collect all garbage, old and new, which holds up the event loop.

const { packCandle, ROW } = require('./candle');
const { Footprints } = require('./footprint');

/** Rows for which there is room at once. */
const USUAL_ROWS = 8_192;
/** What a batch of 5,000 candles with 60 levels takes; a place that has grown beyond is not kept. */
const MOST_DOUBLES_KEPT = 2 << 20;

/** A growing place to pack candles into. Whoever adds to it must be its only user until that returns. */
class Packed {
  constructor(rows = 1024) {
    this.values = new Float64Array(Math.min(rows, USUAL_ROWS) * ROW);
    this.count = 0;
    this.footprints = new Footprints();
  }

  clear() {
    this.count = 0;
    this.footprints.clear();
  }

  /** Adds one candle, or throws. */
  add(candle, index, where) {
    if ((this.count + 1) * ROW > this.values.length) this.grow(this.count + 1);
    packCandle(this.values, this.count * ROW, this.footprints, candle, index, where);
    this.count++;
  }

  /** Adds candles from place `start` to before `end`, or throws. */
  addAll(candles, where, start = 0, end = candles.length) {
    // A sparse array may claim to be longer than memory is: more than the usual batch grows as it comes.
    const expected = this.count + Math.min(end - start, USUAL_ROWS);
    if (expected * ROW > this.values.length) this.grow(expected);
    for (let index = start; index < end; index++) this.add(candles[index], index, where);
  }

  /** Adds all rows of another place. */
  append(other) {
    const rows = this.count + other.count;
    if (rows * ROW > this.values.length) this.grow(rows);
    const start = this.count * ROW;
    for (let at = 0; at < other.count * ROW; at++) this.values[start + at] = other.values[at];
    this.footprints.append(other.footprints);
    this.count = rows;
  }

  /** The same rows in memory of their own. */
  copy() {
    const copy = new Packed(this.count);
    copy.append(this);
    return copy;
  }

  grow(rows) {
    const values = new Float64Array(Math.max(rows, (this.values.length / ROW) * 2) * ROW);
    values.set(this.values.subarray(0, this.count * ROW));
    this.values = values;
  }

  get doubles() {
    return this.values.length + this.footprints.doubles.length;
  }
}

/** The place used again and again; getters of a candle's may call the store, and then find it taken. */
let shared = new Packed();

/** Packs by `fill`, then hands to `use` what was packed; nobody may look at it after that. */
function withPacked(fill, use) {
  const packed = shared ?? new Packed();
  shared = null;
  try {
    packed.clear();
    fill(packed);
    return use(packed);
  } finally {
    if (packed.doubles <= MOST_DOUBLES_KEPT) shared = packed;
  }
}

module.exports = { Packed, withPacked };
