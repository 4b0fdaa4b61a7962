'use strict';

// What is compared within one process. Each entry is
//   unit      of what is counted
//   bar       the least ratio to the code replaced that is hoped for, on a file of the new and of the old schema
//   content   of the file before (files.js)
//   options   of candlestore; also: { name: options } candlestore once more, with other options
//   foreign   commits that another process makes to the same file meanwhile, a second
//   prepare   what is done outside the clock; its result is given to `run`
//   run       what is timed; tells how many units it did. `once`: it changes the file, so each round has a new copy;
//             otherwise it is repeated until there is something to measure
//   same      what every side has to give alike before anything is timed
//   floor     limit of the read that examples/read_floor.rs does beside it

const { setTimeout: pause } = require('node:timers/promises');
const { TABLE, STEP, START, SYMBOLS, batchesOf, changed, writeAll } = require('./candles.js');

const UNCACHED = { tailCacheBytes: 0 };
const MIDDLE = START + 5000 * STEP;

/** Made when first asked for, and kept. */
function once(make) {
  let made;
  return () => (made ??= make());
}

const plain = once(() => [...batchesOf(10_000)]);
const plainChanged = once(() => changed(plain()));
const withLevels = once(() => [...batchesOf(1000, 30)]);
const singles = once(() =>
  plain()
    .filter(({ symbol }) => symbol === SYMBOLS[0])
    .flatMap(({ candles }) => candles),
);

/** Batches by upsertCandles; `before` is stored already, by the same store. */
const upsert = (make, before = () => []) => ({
  prepare(store) {
    writeAll(store, before());
    return make();
  },
  run: writeAll,
});

/** The line of the collector: a loop over upsertCandle in db.transaction. */
const transaction = (make, before = () => []) => ({
  prepare(store) {
    writeAll(store, before());
    const line = store.db.transaction((table, symbol, candles) => {
      for (const made of candles) store.upsertCandle(table, symbol, made);
    });
    return { line, batches: make() };
  },
  run: (store, { line, batches }) =>
    writeAll({ upsertCandles: (table, symbol, candles) => line(table, symbol, candles) }, batches),
});

/** Every symbol in turn, once. Nothing is kept, as by a caller who has sent his answer. */
function reading(limit, before = null) {
  const read = (store, symbol) => store.getCandles(TABLE, symbol, limit, before, true);
  return {
    run(store) {
      for (const symbol of SYMBOLS) {
        const { length } = read(store, symbol);
        if (length !== limit) throw new Error(`read ${length} candles of ${symbol} instead of ${limit}`);
      }
      return SYMBOLS.length;
    },
    same: (store) => SYMBOLS.map((symbol) => read(store, symbol)),
  };
}

function readingJson(limit) {
  const read = (store, symbol) => store.getCandlesJson(TABLE, symbol, limit);
  return {
    run(store) {
      for (const symbol of SYMBOLS)
        if (read(store, symbol).length < limit) throw new Error(`too little JSON of ${symbol}`);
      return SYMBOLS.length;
    },
    same: (store) => SYMBOLS.map((symbol) => String(read(store, symbol))),
  };
}

/** Candlestore counts a large table in the background the first time. */
async function counted(store) {
  while (store.getStats()[TABLE] === 0) await pause(10);
}

const COMPARISONS = {
  'write 100,000 new, upsertCandles': {
    unit: 'candles/s',
    bar: { new: 10, old: 5.5 },
    content: 'empty',
    once: true,
    ...upsert(plain),
  },
  'write 100,000 again changed, upsertCandles': {
    unit: 'candles/s',
    bar: { new: 8.5, old: 9 },
    content: 'empty',
    once: true,
    ...upsert(plainChanged, plain),
  },
  'write 100,000 again identical, upsertCandles': {
    unit: 'candles/s',
    content: 'empty',
    once: true,
    ...upsert(plain, plain),
  },
  'write 100,000 new, db.transaction': {
    unit: 'candles/s',
    content: 'empty',
    once: true,
    ...transaction(plain),
  },
  'write 100,000 again changed, db.transaction': {
    unit: 'candles/s',
    content: 'empty',
    once: true,
    ...transaction(plainChanged, plain),
  },
  'write one candle, upsertCandle': {
    unit: 'candles/s',
    content: 'empty',
    once: true,
    prepare: singles,
    run(store, candles) {
      for (const made of candles) store.upsertCandle(TABLE, SYMBOLS[0], made);
      return candles.length;
    },
  },
  'write 10,000 new with 30 levels, upsertCandles': {
    unit: 'candles/s',
    bar: { new: 3.5, old: 2.7 },
    content: 'empty',
    once: true,
    ...upsert(withLevels),
  },
  'getCandles 1,000, not cached': {
    unit: 'calls/s',
    bar: { new: 6, old: 5.5 },
    content: 'plain',
    options: UNCACHED,
    floor: 1000,
    ...reading(1000),
  },
  'getCandles 5,000, not cached': {
    unit: 'calls/s',
    bar: { new: 6, old: 5.5 },
    content: 'plain',
    options: UNCACHED,
    floor: 5000,
    ...reading(5000),
  },
  'getCandles 1,000 older': {
    unit: 'calls/s',
    content: 'plain',
    ...reading(1000, MIDDLE),
  },
  'getCandles 1,000 with 30 levels, not cached': {
    unit: 'calls/s',
    content: 'levels',
    options: UNCACHED,
    floor: 1000,
    ...reading(1000),
  },
  'getCandles 1,000, cached': {
    unit: 'calls/s',
    bar: { new: 30, old: 30 },
    content: 'plain',
    ...reading(1000),
  },
  'getCandles 1,000, cached, 20 foreign commits/s': {
    unit: 'calls/s',
    bar: { new: 'not cached', old: 'not cached' },
    content: 'plain',
    also: { 'not cached': UNCACHED },
    foreign: 20,
    ...reading(1000),
  },
  'JSON 1,000, not cached': {
    unit: 'calls/s',
    bar: { new: 7, old: 6.5 },
    content: 'plain',
    options: UNCACHED,
    floor: 1000,
    ...readingJson(1000),
  },
  'JSON 1,000, cached': {
    unit: 'calls/s',
    bar: { new: 100, old: 100 },
    content: 'plain',
    ...readingJson(1000),
  },
  'JSON 1,000 with 30 levels, not cached': {
    unit: 'calls/s',
    bar: { new: 20, old: 20 },
    content: 'levels',
    options: UNCACHED,
    floor: 1000,
    ...readingJson(1000),
  },
  'getStats at 1,000,000 candles': {
    unit: 'calls/s',
    bar: { new: 200, old: 200 },
    content: 'million',
    prepare: counted,
    run(store) {
      store.getStats();
      return 1;
    },
    same: (store) => store.getStats()[TABLE],
  },
};

module.exports = { COMPARISONS };
