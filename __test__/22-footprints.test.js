'use strict';

// The text stored for a footprint is the one that JSON.stringify has for the caller's object, whichever way it took to
// the native side: packed as numbers, or as text where an object is not as plain as it looks.

const { Footprints } = require('../lib/footprint.js');
const { STEP, SYMBOL, TABLE, candle, candles, failure, open, timeOf } = require('./support/store.js');

/** A generator of whole numbers of 32 bits that is the same in every run (mulberry32). */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

const random = numbers(20240102);
const below = (limit) => random() % limit;
const part = () => random() / 2 ** 32;
const oneOf = (list) => list[below(list.length)];
const bits = new DataView(new ArrayBuffer(8));

const NUMBERS = [
  () => {
    bits.setUint32(0, random());
    bits.setUint32(4, random());
    return bits.getFloat64(0);
  },
  part,
  () => below(1e6) / 1000,
  () => below(1e6) / 1000 + below(1e6) / 1000,
  () => -below(1e9) / 10 ** below(20),
  () => Number(`${below(1e6)}e${below(640) - 330}`),
  () => 2 ** (below(2098) - 1074),
  () => below(2 ** 31) * 2 ** below(40),
  () => oneOf([0, -0, 1e21, 1e-6, 1e-7, 999999999999999900000, 5e-324, Number.MAX_VALUE, NaN, Infinity]),
];
const PRICES = [
  () => (below(1e7) / 100).toFixed(2),
  () => String(below(1e5)),
  () => String(random()),
  () => (below(1e7) / 1e8).toString(),
  () => `${part()}`,
  () => 'x'.repeat(below(40)),
  () =>
    oneOf(['', '1.0', '-1', '4294967295', '__proto__', 'toJSON', 'constructor', 'é', '€1', '😀', '\ud800']),
  () => String.fromCharCode(below(0x120)),
];

const number = () => oneOf(NUMBERS)();
/** A finite number, as nearly every level has. */
function finite() {
  for (;;) {
    const value = number();
    if (Number.isFinite(value)) return value;
  }
}

function randomFootprint() {
  const clusters = {};
  const plain = below(4) > 0;
  const value = plain ? finite : number;
  const price = plain ? oneOf(PRICES.slice(0, 6)) : () => oneOf(PRICES)();
  const more = plain ? below(3) : 0;
  for (let left = 1 + below(40); left > 0; left -= 1) {
    const level = { bid: value(), ask: value() };
    if (more > 0 || below(10) === 0) level.delta = value();
    if (more > 1) level.imbalance = oneOf([true, false, value()]);
    Object.defineProperty(clusters, price(), { value: level, enumerable: true, configurable: true });
  }
  return clusters;
}

const PRICE = '64123.45';
const LEVEL = { bid: 1.5, ask: 2.25 };
const withLevel = (level) => ({ 1: LEVEL, [PRICE]: level, z: LEVEL });
const hidden = (object, name, value) => Object.defineProperty(object, name, { value, enumerable: false });

class Level {
  constructor() {
    Object.assign(this, LEVEL);
  }
}
class Told extends Level {
  toJSON() {
    return 'told';
  }
}

/** Made anew for each use: getters count. */
const SHAPES = {
  'two numbers': () => withLevel({ bid: 1, ask: 0.1 + 0.2 }),
  'a delta': () => withLevel({ ...LEVEL, delta: -0.75 }),
  'a delta on every level': () => ({ 1: { ...LEVEL, delta: 1 }, 2: { ...LEVEL, delta: -0 } }),
  'a numeric imbalance': () => ({ 1: { ...LEVEL, delta: 1, imbalance: 1e-7 } }),
  'an imbalance that is true or false': () => ({
    1: { ...LEVEL, delta: 1, imbalance: true },
    2: { ...LEVEL, delta: 1, imbalance: false },
  }),
  'an imbalance that is null, text or not there': () => ({
    1: { ...LEVEL, delta: 1, imbalance: null },
    2: { ...LEVEL, delta: 1, imbalance: 'buy' },
    3: { ...LEVEL, delta: 1, imbalance: undefined },
  }),
  'an imbalance without a delta': () => withLevel({ ...LEVEL, imbalance: true }),
  'infinite imbalances': () => ({ 1: { ...LEVEL, delta: 1, imbalance: Infinity } }),
  'true for a delta': () => ({ 1: { ...LEVEL, delta: true } }),
  'another order': () => withLevel({ ask: 1, bid: 2 }),
  'more fields': () => withLevel({ ...LEVEL, delta: 1, imbalance: 2, trades: 3 }),
  'one field': () => ({ 1: { bid: 1 } }),
  'other fields': () => withLevel({ bid: 1, offer: 2 }),
  'no fields': () => ({ 1: {} }),
  'a price in capitals of fields': () => ({ bid: { bid: 1, ask: 2 }, ask: { bid: 3, ask: 4 } }),
  NaN: () => withLevel({ bid: NaN, ask: 1 }),
  Infinity: () => withLevel({ bid: 1, ask: -Infinity }),
  'numbers as text': () => withLevel({ bid: '1', ask: '2' }),
  'numbers as objects': () => withLevel({ bid: new Number(1), ask: 2 }),
  undefined: () => withLevel({ bid: undefined, ask: 1 }),
  'a level that is null': () => withLevel(null),
  'a level that is undefined': () => withLevel(undefined),
  'a level that is a number': () => withLevel(7),
  'a level that is text': () => withLevel('7'),
  'a level that is an array': () => withLevel([1, 2]),
  'a level that is an array with the fields': () => withLevel(Object.assign([], LEVEL)),
  'a level that is a function': () => withLevel(Object.assign(() => {}, LEVEL)),
  'a level that is a date': () => withLevel(new Date(0)),
  'a level that is nested': () => withLevel({ bid: { a: 1 }, ask: [2] }),
  'a level that is a class instance': () => withLevel(new Level()),
  'a level without a prototype': () => withLevel(Object.assign(Object.create(null), LEVEL)),
  'a level that inherits its fields': () => withLevel(Object.create(LEVEL)),
  'a level that inherits one': () => withLevel(Object.assign(Object.create({ ask: 1 }), { bid: 2 })),
  'a level whose fields are hidden': () => withLevel(hidden({ bid: 1 }, 'ask', 2)),
  'a level with more that is hidden': () => withLevel(hidden({ ...LEVEL }, 'secret', 2)),
  'a level with symbols': () => withLevel({ ...LEVEL, [Symbol('x')]: 1 }),
  'a level that was larger': () => {
    const level = { a: 1, ...LEVEL };
    delete level.a;
    return withLevel(level);
  },
  'a frozen level': () => withLevel(Object.freeze({ ...LEVEL })),
  'a level that is a proxy': () => withLevel(new Proxy({ ...LEVEL }, {})),
  'a level that is a proxy of another order': () =>
    withLevel(new Proxy({ ...LEVEL }, { ownKeys: () => ['ask', 'bid'] })),
  'a level with toJSON': () => withLevel(new Told()),
  'a level with a toJSON of its own': () => withLevel(hidden({ ...LEVEL }, 'toJSON', () => 'own')),
  'a level with a toJSON that is no function': () => withLevel({ ...LEVEL, toJSON: 1 }),
  'a level with getters': () => {
    let asked = 0;
    return withLevel({
      get bid() {
        asked += 1;
        return asked;
      },
      get ask() {
        return asked * 10;
      },
    });
  },
  'a getter that takes its neighbour away': () =>
    withLevel({
      get bid() {
        delete this.ask;
        return 1;
      },
      ask: 2,
    }),
  'a getter for a level': () => ({ 1: LEVEL, get [PRICE]() { return { bid: 3, ask: 4 }; } }), // prettier-ignore
  'prices that JSON escapes': () => ({
    'a"b': LEVEL,
    'a\\b': LEVEL,
    '\n': LEVEL,
    '\u007f': LEVEL,
    '\u0000': LEVEL,
  }),
  'prices beyond ASCII': () => ({ 'é': LEVEL, '€': LEVEL, '😀': LEVEL, '\ud83d': LEVEL, '\ude00': LEVEL, '\u2028': LEVEL }), // prettier-ignore
  'prices that are numbers': () => ({ b: LEVEL, 10: LEVEL, 9: LEVEL, 1.5: LEVEL, 4294967295: LEVEL }),
  'an empty price': () => ({ '': LEVEL }),
  'a long price': () => ({ ['9'.repeat(100_000)]: LEVEL }),
  'symbols for prices': () => ({ [Symbol('x')]: LEVEL, 1: LEVEL }),
  'hidden prices': () => hidden({ 1: LEVEL }, '2', LEVEL),
  'inherited prices': () => Object.assign(Object.create({ 2: LEVEL }), { 1: LEVEL }),
  'no prototype': () => Object.assign(Object.create(null), { 1: LEVEL }),
  'a price called __proto__': () => JSON.parse('{"__proto__":{"bid":1,"ask":2}}'),
  'a price called toJSON': () => ({ 1: LEVEL, toJSON: LEVEL }),
  toJSON: () => ({ 1: LEVEL, toJSON: () => ({ 2: LEVEL }) }),
  'a hidden toJSON': () => hidden({ 1: LEVEL }, 'toJSON', () => [1]),
  'an inherited toJSON': () => new Told(),
  'an array': () => [LEVEL, LEVEL],
  'a map': () => new Map([[1, LEVEL]]),
  'a number object': () => new Number(5),
  'a text object': () => new String('ab'),
  'a proxy': () => new Proxy({ 1: LEVEL, 2: LEVEL }, {}),
  'a proxy of an array': () => new Proxy([LEVEL], {}),
  'an empty object': () => ({}),
  'thousands of levels': () =>
    Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`${n / 8}`, { bid: n / 7, ask: -n }])),
};

/** The texts stored, oldest first. */
const texts = (store, table) =>
  store.db
    .prepare(`SELECT clusters FROM candles_${table} WHERE symbol = ? ORDER BY time`)
    .all(SYMBOL)
    .map(({ clusters }) => clusters);

const between = (clusters) => [
  candle(0, { clusters: { 1: LEVEL } }),
  candle(1, { clusters }),
  candle(2, { clusters: null }),
  candle(3, { clusters: { 2: LEVEL } }),
];
const first = JSON.stringify({ 1: LEVEL });
const last = JSON.stringify({ 2: LEVEL });

/** Stores a footprint between others, in every way. */
async function stored(make) {
  const store = open(':memory:');
  store.upsertCandles(15, SYMBOL, between(make()));
  await store.enqueueCandles(60, SYMBOL, between(make()));
  store.db.transaction(() => between(make()).forEach((each) => store.upsertCandle(240, SYMBOL, each)))();
  return [15, 60, 240].map((table) => texts(store, table));
}

describe('the text stored is what JSON.stringify gives', () => {
  test.each(Object.entries(SHAPES))('for %s', async (_, make) => {
    const expected = [first, JSON.stringify(make()), null, last];
    expect(await stored(make)).toEqual([expected, expected, expected]);
  });

  test('for footprints of any numbers and prices, one after the other', async () => {
    const store = open(':memory:');
    const given = Array.from({ length: 2000 }, (_, n) => candle(n, { clusters: randomFootprint() }));
    const expected = given.map(({ clusters }) => JSON.stringify(clusters));
    store.upsertCandles(15, SYMBOL, given);
    await store.enqueueCandles(60, SYMBOL, given, { atomic: false });
    store.db.transaction(() => given.forEach((each) => store.upsertCandle(240, SYMBOL, each)))();
    for (const table of [15, 60, 240]) expect(texts(store, table)).toEqual(expected);
  });

  test.each([
    ['toJSON', { value: () => 'everybody' }],
    ['toJSON', { value: () => 'everybody', enumerable: true }],
    ['ask', { value: 5, enumerable: true }],
    ['delta', { value: 5, enumerable: true }],
  ])('when every object inherits %s, %j', async (name, property) => {
    const make = () => ({ 1: { bid: 1, ask: 2 }, 2: { bid: 3 } });
    const store = open(':memory:');
    const given = [candle(0, { clusters: make() }), candle(1, { clusters: { 1: LEVEL } })];
    let expected;
    Object.defineProperty(Object.prototype, name, { ...property, configurable: true });
    try {
      expected = given.map(({ clusters }) => JSON.stringify(clusters));
      store.upsertCandles(TABLE, SYMBOL, given);
    } finally {
      delete Object.prototype[name];
    }
    expect(texts(store, 15)).toEqual(expected);
  });
});

describe('no text is made on the JS thread', () => {
  test.each(
    [
      'two numbers',
      'a delta on every level',
      'an imbalance that is true or false',
      'prices that are numbers',
    ].map((name) => [name, SHAPES[name]]),
  )('for a footprint of %s', (_, make) => {
    expect(new Footprints().packLevels(make())).toBeGreaterThan(0);
  });
});

describe('while a footprint is read', () => {
  test('a getter may write others, by every way', async () => {
    const store = open(':memory:');
    const writes = [];
    const nested = (n) => ({
      1: { bid: n, ask: 0 },
      2: {
        get bid() {
          store.upsertCandle(TABLE, SYMBOL, candle(n + 100, { clusters: { 3: { bid: n, ask: 1 } } }));
          writes.push(store.enqueueCandles(60, SYMBOL, [candle(n, { clusters: { 4: { bid: n, ask: 2 } } })]));
          return n;
        },
        ask: 5,
      },
    });
    const given = [0, 1, 2, 3].map((n) => candle(n, { clusters: nested(n) }));
    store.upsertCandle(TABLE, SYMBOL, given[0]);
    store.upsertCandles(TABLE, SYMBOL, given.slice(1, 2));
    store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, given[2]))();
    await store.enqueueCandles(TABLE, SYMBOL, given.slice(3));
    await Promise.all(writes);
    const own = (n) => JSON.stringify({ 1: { bid: n, ask: 0 }, 2: { bid: n, ask: 5 } });
    const others = (n) => JSON.stringify({ 3: { bid: n, ask: 1 } });
    expect(texts(store, 15)).toEqual([...[0, 1, 2, 3].map(own), ...[0, 1, 2, 3].map(others)]);
    expect(texts(store, 60)).toEqual([0, 1, 2, 3].map((n) => JSON.stringify({ 4: { bid: n, ask: 2 } })));
  });

  test('what throws refuses the batch and leaves nothing behind for the next', () => {
    const store = open(':memory:');
    const throwing = withLevel({
      bid: 1,
      get ask() {
        throw new Error('no');
      },
    });
    const cyclic = withLevel({ bid: 1, ask: {} });
    cyclic.z = cyclic;
    for (const clusters of [throwing, cyclic, { toJSON: () => undefined }])
      expect(() => store.upsertCandles(TABLE, SYMBOL, between(clusters))).toThrow(
        failure({ code: 'INVALID_CANDLE', index: 1, field: 'clusters' }),
      );
    store.upsertCandles(TABLE, SYMBOL, between({ 9: LEVEL }));
    expect(texts(store, 15)).toEqual([first, JSON.stringify({ 9: LEVEL }), null, last]);
  });
});

describe('batches keep their own footprints', () => {
  const clusters = (n) => ({ [`${n}.5`]: { bid: n, ask: n / 8 } });
  const batch = (count, start) =>
    candles(count, start).map((each, n) => ({ ...each, clusters: clusters(start + n) }));

  test('when they wait for room while others are handed over', async () => {
    const store = open(':memory:', { queueCapacityRows: 10, whenFull: 'wait' });
    const starts = Array.from({ length: 20 }, (_, n) => n * 8);
    await Promise.all(starts.map((start) => store.enqueueCandles(TABLE, SYMBOL, batch(8, start))));
    const read = store.getCandles(TABLE, SYMBOL, 1000);
    expect(read).toEqual(batch(160, 0));
  });

  test('when they are written in slices, of which none is when the last holds a bad candle', async () => {
    const store = open(':memory:', { maxBatchRows: 7 });
    const bad = { ...candle(29), close: NaN };
    await expect(
      store.enqueueCandles(TABLE, SYMBOL, [...batch(29, 0), bad], { atomic: false }),
    ).rejects.toEqual(failure({ code: 'INVALID_CANDLE', index: 29, field: 'close' }));
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(null);
    await store.enqueueCandles(TABLE, SYMBOL, batch(30, 0), { atomic: false });
    expect(store.getCandles(TABLE, SYMBOL, 1000)).toEqual(batch(30, 0));
  });

  test('after one that was larger than any before and is not kept in memory', () => {
    const store = open(':memory:');
    const many = Array.from({ length: 150_000 }, (_, n) => ({
      ...candle(0, { clusters: clusters(n) }),
      time: timeOf(0) + n * STEP,
    }));
    store.upsertCandles(TABLE, SYMBOL, many);
    store.upsertCandles(60, SYMBOL, batch(3, 0));
    expect(store.getCandles(TABLE, SYMBOL, 2)).toEqual(many.slice(-2));
    expect(store.getCandles(60, SYMBOL)).toEqual(batch(3, 0));
  });
});
