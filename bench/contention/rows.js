'use strict';

// The candles of the runs in which many write at once. A candle follows from the writer's name and a running number
// alone, so whoever checks a file afterwards can make each of them again. The objects are made once, before any clock
// starts, and used again with other times and values: making them would cost more than storing them, and a run of a
// minute may store ten million. Whoever is given them must have copied them when the call returns.

const { candle } = require('../synthetic-exchange.js');

const TABLE = 'candles_15';
const STEP = 15 * 60_000;
const START = Date.UTC(2020, 0, 1);
/** Both are multiples of a batch of 1,000 and of one of 3, so that no batch crosses from a series to the next. */
const MADE = 6000;
const SERIES_ROWS = 60_000;

class Rows {
  constructor(name, levels = 0) {
    this.name = name;
    this.made = Array.from({ length: MADE }, (_, place) =>
      candle('SYNTHETIC', name, 15, START + place * STEP, levels),
    );
    this.volumes = this.made.map(({ volume }) => volume);
  }

  symbolOf(number) {
    return `SYNTHETIC:${this.name}-${Math.floor(number / SERIES_ROWS)}`;
  }

  /** The candles from a running number on; another `version` gives the same ones with changed values. */
  take(first, count, version = 0) {
    const at = first % MADE;
    const begin = START + (first % SERIES_ROWS) * STEP;
    const added = Math.floor(first / MADE) + version;
    for (let place = 0; place < count; place += 1) {
      const one = this.made[at + place];
      one.time = begin + place * STEP;
      one.volume = this.volumes[at + place] + added;
    }
    return this.made.slice(at, at + count);
  }
}

module.exports = { Rows, TABLE, SERIES_ROWS };
