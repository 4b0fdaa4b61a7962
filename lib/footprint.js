'use strict';

// Footprints on their way to the native side, which makes of them the very text that JSON.stringify would: doing that
// here would cost several times what all else of a candle does. What is packed are doubles, of each footprint:
//   levels > 0, fields of a level; of each level: characters of its price, its fields, the price's characters
//   or -bytes of a ready text, the text: a footprint of any other shape goes through JSON.stringify
// True and false, which an imbalance may be, are Infinity and -Infinity, which no number here is. Characters are padded
// to whole doubles. `src/footprint.rs` reads this.

/** What a level can hold to be packed, in this order; the first two must be there. */
const FIELDS = ['bid', 'ask', 'delta', 'imbalance'];
const FEWEST_FIELDS = 2;
/** To see whether somebody gave every object something to enumerate. */
const EMPTY = {};
const USUAL_DOUBLES = 1024;

/** A growing place to pack footprints into. */
class Footprints {
  constructor() {
    /** Doubles in use. */
    this.used = 0;
    this.give(0);
  }

  give(doubles) {
    const memory = new ArrayBuffer(doubles * 8);
    this.doubles = new Float64Array(memory);
    this.bytes = Buffer.from(memory);
  }

  /** Makes room for so many doubles from `at` on. */
  reserve(at, more) {
    if (at + more <= this.doubles.length) return;
    const before = this.doubles;
    this.give(Math.max(at + more, before.length * 2, USUAL_DOUBLES));
    this.doubles.set(before);
  }

  clear() {
    this.used = 0;
  }

  /** Adds a footprint, or throws what JSON.stringify does and is as before; false for one that has no JSON text. */
  add(clusters) {
    const end = this.packLevels(clusters);
    if (end > 0) {
      this.used = end;
      return true;
    }
    const text = JSON.stringify(clusters);
    if (text === undefined) return false;
    this.addText(text);
    return true;
  }

  addText(text) {
    const { used } = this;
    const length = Buffer.byteLength(text);
    const more = 1 + ((length + 7) >> 3);
    this.reserve(used, more);
    this.doubles[used] = -length;
    this.bytes.write(text, (used + 1) * 8);
    this.used += more;
  }

  /** Adds all that others are. */
  append(others) {
    const { used } = this;
    this.reserve(used, others.used);
    for (let at = 0; at < others.used; at++) this.doubles[used + at] = others.doubles[at];
    this.used += others.used;
  }

  /**
   * Packs levels that are plain objects of finite numbers (an imbalance may be true or false); 0 where something is not, or JSON.stringify might make
   * something else of it. What it would ask the caller's objects for is asked here once, in the same order.
   * @returns {number} where the footprint ends
   */
  packLevels(clusters) {
    if (clusters.toJSON !== undefined) return 0;
    const kind = Object.getPrototypeOf(clusters);
    if (kind !== Object.prototype && kind !== null) return 0;
    for (const _name in EMPTY) return 0;
    const prices = Object.keys(clusters);
    const count = prices.length;
    if (count === 0) return 0;
    let { used: at, doubles, bytes } = this;
    const head = at;
    let fields = 0;
    at += 2;
    for (let place = 0; place < count; place++) {
      const price = prices[place];
      const level = clusters[price];
      if (
        typeof level !== 'object' ||
        level === null ||
        level.toJSON !== undefined ||
        Object.getPrototypeOf(level) !== Object.prototype
      ) {
        return 0;
      }
      let named = 0;
      for (const name in level) {
        if (name !== FIELDS[named]) return 0;
        named++;
      }
      if (named !== fields) {
        if (place > 0 || named < FEWEST_FIELDS) return 0;
        fields = named;
      }
      const { length } = price;
      const more = 1 + fields + ((length + 7) >> 3);
      if (at + more > doubles.length) {
        this.reserve(at, more);
        ({ doubles, bytes } = this);
      }
      doubles[at++] = length;
      const { bid, ask } = level;
      // x - x is 0 for every finite number and NaN for all else that is a number.
      if (!(typeof bid === 'number' && bid - bid === 0 && typeof ask === 'number' && ask - ask === 0))
        return 0;
      doubles[at++] = bid;
      doubles[at++] = ask;
      if (fields > 2) {
        const { delta } = level;
        if (!(typeof delta === 'number' && delta - delta === 0)) return 0;
        doubles[at++] = delta;
      }
      if (fields > 3) {
        const { imbalance } = level;
        if (imbalance === true || imbalance === false) doubles[at++] = imbalance ? Infinity : -Infinity;
        else if (typeof imbalance === 'number' && imbalance - imbalance === 0) doubles[at++] = imbalance;
        else return 0;
      }
      const start = at * 8;
      for (let i = 0; i < length; i++) {
        const code = price.charCodeAt(i);
        // What JSON escapes, and what is more than a byte.
        if (code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c) return 0;
        bytes[start + i] = code;
      }
      at += (length + 7) >> 3;
    }
    doubles[head] = count;
    doubles[head + 1] = fields;
    return at;
  }
}

module.exports = { Footprints };
