'use strict';

// Random writes in every way and priority at once: what is stored in the end is what the order of acceptance makes.

const { SYMBOL, TABLE, all, candle, open, timeOf } = require('./support/store.js');

const PRIORITIES = ['live', 'backfill', 'maintenance'];
const TIMES = 20;

function generator(seed) {
  let state = seed;
  return (count) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  'the last accepted write of each candle is the one that stays (seed %i)',
  async (seed) => {
    const below = generator(seed);
    const store = open();
    /** What must be stored: time to close. */
    const model = new Map();
    const put = (...list) => list.forEach(({ time, close }) => model.set(time, close));
    const queued = [];
    let writes = 0;
    const one = () => candle(below(TIMES), { close: (writes += 1) });
    const priority = () => ({ priority: PRIORITIES[below(3)] });
    const enqueue = (list) => {
      put(...list);
      queued.push(store.enqueueCandles(TABLE, SYMBOL, list, priority()));
    };

    const ways = [
      () => enqueue(Array.from({ length: 1 + below(200) }, one)),
      () => enqueue([one()]),
      () => {
        const written = one();
        put(written);
        store.upsertCandle(TABLE, SYMBOL, written);
      },
      () => {
        const written = [one(), one(), one()];
        put(...written);
        store.upsertCandles(TABLE, SYMBOL, written);
      },
      () => {
        const after = below(TIMES);
        const range = { after: timeOf(after), before: timeOf(after + 1 + below(5)) };
        for (const time of [...model.keys()])
          if (time > range.after && time < range.before) model.delete(time);
        if (below(2) === 0) store.deleteCandles(TABLE, SYMBOL, range);
        else queued.push(store.enqueueDelete(TABLE, SYMBOL, range, priority()));
      },
      () => {
        const before = new Map(model);
        const fails = below(2) === 0;
        const nestedFails = below(2) === 0;
        const outside = [];
        const run = store.db.transaction(() => {
          const [first, nested, last] = [one(), one(), one()];
          store.upsertCandle(TABLE, SYMBOL, first);
          put(first);
          const waiting = [one(), one()];
          outside.push(...waiting);
          enqueue(waiting);
          try {
            store.db.transaction(() => {
              store.upsertCandle(TABLE, SYMBOL, nested);
              if (below(2) === 0) store.getLastCandleTime(TABLE, SYMBOL);
              if (nestedFails) throw new Error('back');
              put(nested);
            })();
          } catch (error) {
            if (error.message !== 'back') throw error;
          }
          store.upsertCandle(TABLE, SYMBOL, last);
          put(last);
          if (fails) throw new Error('back');
        });
        if (!fails) return run();
        expect(run).toThrow('back');
        // What was enqueued inside is accepted all the same.
        model.clear();
        before.forEach((close, time) => model.set(time, close));
        put(...outside);
      },
    ];

    for (let write = 0; write < 400; write++) {
      ways[below(ways.length)]();
      if (below(20) === 0) await new Promise(setImmediate);
    }
    await Promise.all(queued);
    const expected = [...model].sort(([a], [b]) => a - b);
    expect(all(store).map(({ time, close }) => [time, close])).toEqual(expected);
    expect(store.getStats().candles_15).toBe(expected.length);
  },
);
