'use strict';

// What is read equals what was written, and what cannot be stored is refused before anything is.

const {
  ALL,
  STEP,
  SYMBOL,
  TABLE,
  all,
  candle,
  candles,
  failure,
  newFile,
  open,
  timeOf,
} = require('./support/store.js');
const { python } = require('./support/process.js');

/** A generator of numbers that is the same in every run (mulberry32). */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const random = numbers(20240101);
const bits = new DataView(new ArrayBuffer(8));

/** Any finite double there is, each pattern of bits as likely as another. */
function anyDouble() {
  for (;;) {
    bits.setUint32(0, random() * 2 ** 32);
    bits.setUint32(4, random() * 2 ** 32);
    const value = bits.getFloat64(0);
    // -0 is stored as 0, everywhere.
    if (Number.isFinite(value)) return value + 0;
  }
}

const footprint = (levels) =>
  Object.fromEntries(
    Array.from({ length: levels }, (_, n) => [
      (40_000 + n / 2).toFixed(1),
      {
        bid: random() * 100,
        ask: Math.round(random() * 1e6) / 1e4,
        ...(n % 3 === 0 ? { delta: random() - 0.5, imbalance: n % 2 === 0 } : {}),
      },
    ]),
  );

/** The ways in which candles get in. */
const WAYS = {
  upsertCandle: (store, symbol, list) => list.forEach((each) => store.upsertCandle(TABLE, symbol, each)),
  upsertCandles: (store, symbol, list) => store.upsertCandles(TABLE, symbol, list),
  'transaction over upsertCandle': (store, symbol, list) =>
    store.db.transaction(() => list.forEach((each) => store.upsertCandle(TABLE, symbol, each)))(),
  enqueueCandles: (store, symbol, list) => store.enqueueCandles(TABLE, symbol, list, { atomic: false }),
};

describe.each(Object.entries(WAYS))('what %s stored', (_, write) => {
  test('is read back bit for bit, whatever doubles it holds', async () => {
    const store = open();
    const fields = [
      'open',
      'high',
      'low',
      'close',
      'volume',
      'buyVolume',
      'sellVolume',
      'delta',
      'tradeCount',
    ];
    const written = candles(500).map((each) => ({
      ...each,
      ...Object.fromEntries(fields.map((field) => [field, anyDouble()])),
    }));
    await write(store, SYMBOL, written);
    const read = all(store);
    const bitsOf = (list) =>
      Buffer.from(Float64Array.from(list.flatMap((each) => fields.map((field) => each[field]))).buffer);
    expect(bitsOf(read).equals(bitsOf(written))).toBe(true);
    expect(read).toEqual(written);
    expect(await store.readCandles({ table: TABLE, symbol: SYMBOL, limit: ALL })).toEqual(written);
  });

  test('is read back with its footprints, of any number of levels', async () => {
    const store = open();
    const levels = [0, 1, 30, 60, 0, 500, 2];
    const written = levels.map((count, n) => candle(n, { clusters: footprint(count) }));
    await write(store, SYMBOL, written);
    expect(all(store)).toEqual(written);
    expect(JSON.stringify(all(store).map((each) => each.clusters))).toBe(
      JSON.stringify(written.map((each) => each.clusters)),
    );
    expect(await store.readCandles({ table: TABLE, symbol: SYMBOL })).toEqual(written);
  });

  test('replaces what was stored for the same time, its footprint too', async () => {
    const store = open();
    await write(store, SYMBOL, [
      candle(0, { clusters: footprint(3) }),
      candle(1, { clusters: footprint(3) }),
    ]);
    const second = [candle(0, { close: 1 }), candle(1, { clusters: footprint(1) })];
    await write(store, SYMBOL, second);
    expect(all(store)).toEqual(second);
  });

  test('may hold one time twice: the later one stays', async () => {
    const store = open();
    await write(store, SYMBOL, [candle(0), candle(1), candle(0, { close: 7 })]);
    expect(all(store)).toEqual([candle(0, { close: 7 }), candle(1)]);
    expect(store.getStats().candles_15).toBe(2);
  });
});

describe('the numbers of a candle', () => {
  test('-0 is stored and read as 0', async () => {
    const store = open();
    const negative = candle(0, {
      open: -0,
      close: -0,
      volume: -0,
      buyVolume: -0,
      sellVolume: -0,
      delta: -0,
      tradeCount: -0,
    });
    store.upsertCandle(TABLE, SYMBOL, negative);
    await store.enqueueCandles(TABLE, SYMBOL, [{ ...negative, time: timeOf(1) }]);
    for (const { open: open_, close, volume, buyVolume, sellVolume, delta, tradeCount } of all(store))
      for (const value of [open_, close, volume, buyVolume, sellVolume, delta, tradeCount])
        expect(Object.is(value, 0)).toBe(true);
  });

  test.each([
    Number.MAX_VALUE,
    -Number.MAX_VALUE,
    Number.MIN_VALUE,
    2 ** -1074 * 3,
    Number.MAX_SAFE_INTEGER,
    2 ** 53 + 2,
    -(2 ** 63),
    2 ** 63,
    2 ** 64,
    0.1 + 0.2,
    1e21,
    123456789.12345678,
  ])('%p comes back the same in every column', (value) => {
    const store = open();
    const fields = [
      'open',
      'high',
      'low',
      'close',
      'volume',
      'buyVolume',
      'sellVolume',
      'delta',
      'tradeCount',
    ];
    const written = candle(0, Object.fromEntries(fields.map((field) => [field, value])));
    store.upsertCandle(TABLE, SYMBOL, written);
    expect(all(store)).toEqual([written]);
  });

  test('a high below the low is stored as given', () => {
    const store = open();
    store.upsertCandle(TABLE, SYMBOL, candle(0, { high: 1, low: 2 }));
    expect(all(store)).toEqual([candle(0, { high: 1, low: 2 })]);
  });

  test('falsy buyVolume, sellVolume, delta and tradeCount store 0, falsy clusters read as {}', async () => {
    const store = open();
    const falsy = [undefined, null, NaN, 0, '', false, 0n];
    const optional = ['buyVolume', 'sellVolume', 'delta', 'tradeCount', 'clusters'];
    const given = falsy.map((value, n) =>
      candle(n, Object.fromEntries(optional.map((field) => [field, value]))),
    );
    const { time, open: open_, high, low, close, volume } = candle(falsy.length);
    store.upsertCandles(TABLE, SYMBOL, [...given, { time, open: open_, high, low, close, volume }]);
    expect(all(store)).toEqual(
      candles(falsy.length + 1, 0, { buyVolume: 0, sellVolume: 0, delta: 0, tradeCount: 0, clusters: {} }),
    );
    const stored = store.db
      .prepare('SELECT DISTINCT buy_volume, trade_count, clusters FROM candles_15')
      .all();
    expect(stored).toEqual([{ buy_volume: 0, trade_count: 0, clusters: null }]);
  });

  test('a field more than the contract names is ignored', () => {
    const store = open();
    store.upsertCandle(TABLE, SYMBOL, { ...candle(0), quoteVolume: 'x', id: 7 });
    expect(all(store)).toEqual([candle(0)]);
  });
});

describe('a footprint', () => {
  test.each([
    [
      'levels that JS puts in another order',
      { b: { bid: 1, ask: 2 }, 2: { bid: 3, ask: 4 }, 1: { bid: 5, ask: 6 }, '1.0': { bid: 7, ask: 8 } },
    ],
    [
      'letters of every script, quotes and line breaks',
      { 'é€😀\u2028\n"\\': { bid: 1, ask: 2, note: '\u0000\ud800' } },
    ],
    ['numbers of every size', { 1: { bid: 1e21, ask: 5e-324 }, 2: { bid: Number.MAX_VALUE, ask: 0.1 } }],
    ['empty', {}],
    ['nested deep', JSON.parse(`${'{"a":'.repeat(500)}1${'}'.repeat(500)}`)],
    ['a megabyte', { text: 'é'.repeat(1 << 20) }],
    ['an array', [1, { bid: 2 }]],
  ])('of %s reads as the same JSON', async (_, clusters) => {
    const store = open();
    const expected = JSON.stringify(clusters);
    const given = [candle(0), candle(1, { clusters }), candle(2, { clusters: { 7: { bid: 1, ask: 2 } } })];
    store.upsertCandles(TABLE, SYMBOL, given);
    await store.enqueueCandles(60, SYMBOL, given);
    store.db.transaction(() => given.forEach((each) => store.upsertCandle(240, SYMBOL, each)))();
    for (const table of [15, 60, 240]) {
      for (const read of [all(store, SYMBOL, table), await store.readCandles({ table, symbol: SYMBOL })]) {
        expect(JSON.stringify(read[1].clusters)).toBe(expected);
        expect(read[2]).toEqual(given[2]);
        expect(read).toHaveLength(3);
      }
    }
    const [stored] = store.db.prepare('SELECT clusters FROM candles_15 WHERE time = ?').all(timeOf(1));
    expect(stored.clusters).toBe(expected);
  });

  test('is copied when it is enqueued: later changes of the object are not stored', async () => {
    const store = open();
    const given = candle(0, { clusters: { 1: { bid: 1, ask: 1 } } });
    const list = [given];
    const written = store.enqueueCandles(TABLE, SYMBOL, list);
    given.close = -1;
    given.clusters[1].bid = 99;
    list.push(candle(1));
    list.length = 0;
    await written;
    expect(all(store)).toEqual([candle(0, { clusters: { 1: { bid: 1, ask: 1 } } })]);
  });
});

describe('a candle is refused by index and field, and its whole batch with it:', () => {
  const circular = {};
  circular.self = circular;
  const REFUSED = [
    ['time', undefined],
    ['time', null],
    ['time', '1704067200000'],
    ['time', NaN],
    ['time', Infinity],
    ['time', 1704067200000.5],
    ['time', 1704067200], // seconds
    ['time', 1704067200000000], // microseconds
    ['time', 0],
    ['time', -1],
    ['time', 2 ** 53],
    ['time', 1e300],
    ['time', new Date(1704067200000)],
    ['time', 1704067200000n],
    ['time', Symbol('time')],
    ['time', { valueOf: () => 1704067200000 }],
    ['time', Date.UTC(1999, 11, 31)],
    ['time', Date.UTC(2100, 0, 1)],
    ...['open', 'high', 'low', 'close', 'volume'].flatMap((field) =>
      [undefined, null, NaN, Infinity, -Infinity, '1', '', 1n, {}, [], true, false, Symbol('x'), () => 1].map(
        (value) => [field, value],
      ),
    ),
    ...['buyVolume', 'sellVolume', 'delta', 'tradeCount'].flatMap((field) =>
      [Infinity, -Infinity, '1', 1n, {}, [], true, Symbol('x')].map((value) => [field, value]),
    ),
    ['clusters', 'text'],
    ['clusters', 1],
    ['clusters', true],
    ['clusters', () => 1],
    ['clusters', Symbol('x')],
    ['clusters', 1n],
    ['clusters', circular],
    ['clusters', { 1: { bid: 1n } }],
    ['clusters', { toJSON: () => undefined }],
  ];

  test.each(REFUSED)('%s: %p', async (field, value) => {
    const store = open(':memory:');
    const batch = [candle(0), candle(1), candle(2, { [field]: value }), candle(3)];
    const refused = failure({
      code: 'INVALID_CANDLE',
      index: 2,
      field,
      table: TABLE,
      symbol: SYMBOL,
      written: 'no',
      retryable: false,
    });
    expect(() => store.upsertCandles(TABLE, SYMBOL, batch)).toThrow(refused);
    await expect(store.enqueueCandles(TABLE, SYMBOL, batch)).rejects.toEqual(refused);
    expect(() => store.upsertCandle(TABLE, SYMBOL, batch[2])).toThrow(
      failure({ code: 'INVALID_CANDLE', index: 0, field }),
    );
    // In a transaction the caller may catch the error, and the others are stored.
    store.db.transaction(() => {
      store.upsertCandle(TABLE, 'T:T', candle(0));
      expect(() => store.upsertCandle(TABLE, 'T:T', batch[2])).toThrow(
        failure({ code: 'INVALID_CANDLE', field }),
      );
      store.upsertCandle(TABLE, 'T:T', candle(1));
    })();
    expect(all(store)).toEqual([]);
    expect(all(store, 'T:T')).toEqual(candles(2));
  });

  test.each([undefined, null, 7, 'x', true, Symbol('x')])('%p in place of a candle', (value) => {
    const store = open(':memory:');
    const refused = failure({ code: 'INVALID_CANDLE', index: 1 });
    expect(() => store.upsertCandles(TABLE, SYMBOL, [candle(0), value])).toThrow(refused);
    expect(() => store.upsertCandle(TABLE, SYMBOL, value)).toThrow(
      failure({ code: 'INVALID_CANDLE', index: 0 }),
    );
    expect(all(store)).toEqual([]);
  });

  test('the message says what is wrong and how it may have come to be', () => {
    const store = open(':memory:');
    const message = (fields) => {
      try {
        store.upsertCandle(TABLE, SYMBOL, candle(0, fields));
      } catch (error) {
        return error.message;
      }
      throw new Error('stored');
    };
    expect(message({ time: 1704067200 })).toMatch(/time .*1704067200.*seconds/);
    expect(message({ time: 1704067200000000 })).toMatch(/microseconds/);
    expect(message({ close: NaN })).toMatch(/close .*finite.*NaN/);
    expect(message({ close: 'x'.repeat(1e6) }).length).toBeLessThan(500);
  });

  test('holes in an array are no candles', () => {
    const store = open(':memory:');
    // eslint-disable-next-line no-sparse-arrays
    expect(() => store.upsertCandles(TABLE, SYMBOL, [candle(0), , candle(1)])).toThrow(
      failure({ code: 'INVALID_CANDLE', index: 1 }),
    );
    expect(() => store.upsertCandles(TABLE, SYMBOL, new Array(4e9))).toThrow(
      failure({ code: 'INVALID_CANDLE', index: 0 }),
    );
    expect(all(store)).toEqual([]);
  });

  test('times at the ends of the allowed range are stored', () => {
    const store = open(':memory:');
    const times = [Date.UTC(2000, 0, 1), Date.UTC(2100, 0, 1) - 1];
    store.upsertCandles(
      TABLE,
      SYMBOL,
      times.map((time) => candle(0, { time })),
    );
    expect(all(store).map(({ time }) => time)).toEqual(times);
  });
});

describe('what the caller runs while a candle is read', () => {
  test('a getter that throws stores nothing of the batch, and the store goes on', async () => {
    const store = open();
    const bad = {
      ...candle(1),
      get close() {
        throw new Error('no close');
      },
    };
    expect(() => store.upsertCandles(TABLE, SYMBOL, [candle(0), bad])).toThrow('no close');
    await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(0), bad])).rejects.toThrow('no close');
    expect(() => store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, bad))()).toThrow('no close');
    store.upsertCandles(TABLE, SYMBOL, candles(2));
    expect(all(store)).toEqual(candles(2));
  });

  test('a getter may write into the store itself: every candle is whole', () => {
    const store = open();
    const nested = (n) => ({
      ...candle(n),
      get close() {
        store.upsertCandles(TABLE, 'X:INNER', candles(3, n, { clusters: { 1: { bid: n, ask: 0 } } }));
        store.upsertCandle(TABLE, SYMBOL, candle(n + 100));
        return candle(n).close;
      },
    });
    store.upsertCandles(TABLE, SYMBOL, [candle(0), nested(1), candle(2)]);
    store.upsertCandle(TABLE, SYMBOL, nested(3));
    expect(all(store)).toEqual([...candles(4), candle(101), candle(103)]);
    expect(all(store, 'X:INNER').map(({ time }) => time)).toEqual([1, 2, 3, 4, 5].map(timeOf));
  });

  test('a getter may write into the open transaction, of the same series and of another', () => {
    const store = open();
    const nested = (n) => ({
      ...candle(n),
      get clusters() {
        store.upsertCandle(TABLE, SYMBOL, candle(n + 100));
        store.upsertCandle(60, 'X:INNER', candle(n));
        store.upsertCandles(TABLE, SYMBOL, candles(2, n + 200));
        return {
          toJSON: () => (store.upsertCandle(TABLE, SYMBOL, candle(n + 300)), { 1: { bid: 1, ask: 1 } }),
        };
      },
    });
    store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      store.upsertCandle(TABLE, SYMBOL, nested(1));
      store.upsertCandle(TABLE, SYMBOL, candle(2));
      store.upsertCandles(TABLE, SYMBOL, [candle(3), nested(4)]);
    })();
    const own = { clusters: { 1: { bid: 1, ask: 1 } } };
    expect(all(store)).toEqual([
      candle(0),
      candle(1, own),
      candle(2),
      candle(3),
      candle(4, own),
      candle(101),
      candle(104),
      candle(201),
      candle(202),
      candle(204),
      candle(205),
      candle(301),
      candle(304),
    ]);
    expect(all(store, 'X:INNER', 60)).toEqual([candle(1), candle(4)]);
  });

  test('a getter that ends the transaction loses nothing in silence', () => {
    const store = open();
    store.db.exec('BEGIN');
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    const ending = {
      ...candle(1),
      get close() {
        store.db.exec('COMMIT');
        return 1;
      },
    };
    expect(() => store.upsertCandle(TABLE, SYMBOL, ending)).toThrow(failure({ code: 'INVALID_ARGUMENT' }));
    expect(all(store)).toEqual([candle(0)]);
  });

  test('a getter that closes the store gets CLOSED for its candle', () => {
    const store = open();
    const closing = {
      ...candle(1),
      get close() {
        store.db.close();
        return 1;
      },
    };
    expect(() => store.upsertCandle(TABLE, SYMBOL, closing)).toThrow(
      failure({ code: 'CLOSED', written: 'no' }),
    );
  });

  test('proxies, class instances and objects without a prototype are candles like any other', () => {
    const store = open();
    class Candle {
      constructor(n) {
        Object.assign(this, candle(n));
      }
    }
    class Computed {
      get time() {
        return timeOf(3);
      }
    }
    for (const field of Object.keys(candle(3)).slice(1))
      Object.defineProperty(Computed.prototype, field, { get: () => candle(3)[field] });
    const list = new Proxy(
      [
        new Proxy(candle(0), {}),
        new Candle(1),
        Object.assign(Object.create(null), candle(2)),
        new Computed(),
      ],
      {},
    );
    store.upsertCandles(TABLE, SYMBOL, list);
    expect(all(store)).toEqual(candles(4));
  });
});

describe('arguments:', () => {
  const CALLS = {
    upsertCandle: (store, table, symbol) => store.upsertCandle(table, symbol, candle(0)),
    upsertCandles: (store, table, symbol) => store.upsertCandles(table, symbol, [candle(0)]),
    deleteCandles: (store, table, symbol) => store.deleteCandles(table, symbol, {}),
    getCandles: (store, table, symbol) => store.getCandles(table, symbol),
    getLastCandleTime: (store, table, symbol) => store.getLastCandleTime(table, symbol),
    enqueueCandles: (store, table, symbol) => store.enqueueCandles(table, symbol, [candle(0)]),
    enqueueDelete: (store, table, symbol) => store.enqueueDelete(table, symbol, {}),
    readCandles: (store, table, symbol) => store.readCandles({ table, symbol }),
  };

  /** The error of a call, thrown or rejected. Argument errors of what returns promises reject, they do not throw. */
  async function refusal(name, ...parameters) {
    const store = open(':memory:');
    const asynchronous = /^(enqueue|read)/.test(name);
    let outcome;
    try {
      outcome = CALLS[name](store, ...parameters);
    } catch (error) {
      if (asynchronous) throw new Error(`${name} threw`, { cause: error });
      return error;
    }
    if (!asynchronous) throw new Error(`${name} did not throw`);
    return outcome.then(
      () => {
        throw new Error(`${name} was done`);
      },
      (error) => error,
    );
  }

  describe.each(Object.keys(CALLS))('%s', (name) => {
    test.each([
      'candles_5',
      'CANDLES_15',
      5,
      '15',
      15n,
      '',
      'candles_15; DROP TABLE candles_15',
      null,
      undefined,
      {},
      NaN,
      Symbol('t'),
      'x'.repeat(1e7),
      '__proto__',
      15.5,
    ])('refuses a table number %#', async (table) => {
      const error = await refusal(name, table, SYMBOL);
      expect(error).toEqual(failure({ code: 'UNKNOWN_TABLE' }));
      expect(error.message).toContain('candles_15');
      expect(error.message.length).toBeLessThan(500);
    });

    test.each([
      '',
      null,
      undefined,
      7,
      {},
      ['X'],
      Symbol('s'),
      'a\0b',
      '\ud800',
      'x'.repeat(129),
      'x'.repeat(1e7),
      'ŉ'.repeat(128),
      true,
    ])('refuses a symbol number %#', async (symbol) => {
      const error = await refusal(name, TABLE, symbol);
      expect(error).toEqual(failure({ code: 'INVALID_ARGUMENT' }));
      expect(error.message).toContain('symbol');
      expect(error.message.length).toBeLessThan(500);
    });
  });

  test('a symbol is stored upper-case and found in any case', () => {
    const store = open();
    store.upsertCandle(15, 'binance:btcUsdt', candle(0));
    store.upsertCandle('candles_15', 'BINANCE:BTCUSDT', candle(1));
    for (const symbol of ['BINANCE:BTCUSDT', 'binance:btcusdt', 'Binance:BtcUsdt'])
      expect(all(store, symbol)).toEqual(candles(2));
    expect(store.db.prepare('SELECT DISTINCT symbol FROM candles_15').pluck().all()).toEqual([
      'BINANCE:BTCUSDT',
    ]);
  });

  test.each([
    'x'.repeat(128),
    'O\'BRIEN:"--;/*',
    'Ä:ß',
    '日本:円',
    '😀:😀',
    '\u202e:‮',
    ' ',
    '%',
    '\n',
    'BINANCE:BTCUSDT-DEC2024',
  ])('a symbol of %p is stored', async (symbol) => {
    const store = open();
    store.upsertCandle(TABLE, symbol, candle(0));
    await store.enqueueCandles(TABLE, symbol, [candle(1)]);
    store.db.transaction(() => store.upsertCandle(TABLE, symbol, candle(2)))();
    expect(all(store, symbol)).toEqual(candles(3));
    expect(store.getLastCandleTime(TABLE, symbol)).toBe(timeOf(2));
    expect(await store.readCandles({ table: TABLE, symbol })).toEqual(candles(3));
    expect(
      store.db.prepare('SELECT count(*) FROM candles_15 WHERE symbol = ?').pluck().get(symbol.toUpperCase()),
    ).toBe(3);
  });

  test.each([
    undefined,
    null,
    {},
    'x',
    7,
    new Set(),
    { length: 1, 0: candle(0) },
    new Float64Array(11),
    new ArrayBuffer(8),
  ])('candles of %p are refused', async (list) => {
    const store = open(':memory:');
    expect(() => store.upsertCandles(TABLE, SYMBOL, list)).toThrow(failure({ code: 'INVALID_ARGUMENT' }));
    await expect(store.enqueueCandles(TABLE, SYMBOL, list)).rejects.toEqual(
      failure({ code: 'INVALID_ARGUMENT' }),
    );
  });

  test('an empty batch is done and changes nothing', async () => {
    const store = open();
    store.upsertCandles(TABLE, SYMBOL, []);
    expect(await store.enqueueCandles(TABLE, SYMBOL, [])).toMatchObject({
      inserted: 0,
      updated: 0,
      unchanged: 0,
    });
    expect(store.getStats().candles_15).toBe(0);
  });

  test('a batch of 100,000 candles is stored at once', () => {
    const store = open();
    store.upsertCandles(TABLE, SYMBOL, candles(100_000));
    expect(store.getCandles(TABLE, SYMBOL, 2)).toEqual(candles(2, 99_998));
    expect(store.getStats().candles_15).toBe(100_000);
  });
});

describe('getCandles', () => {
  let store;
  beforeEach(() => {
    store = open();
    // Written in any order, read in one.
    store.upsertCandles(TABLE, SYMBOL, [...candles(50, 50).reverse(), ...candles(50)]);
    store.upsertCandles(TABLE, 'BINANCE:BTCUSD', candles(3, 500));
    store.upsertCandles(TABLE, 'BINANCE:BTCUSDTX', candles(3, 600));
    store.upsertCandles(60, SYMBOL, candles(3, 700));
  });

  test('gives the newest 100, ascending, when nothing is asked for', () => {
    store.upsertCandles(TABLE, SYMBOL, candles(50, 100));
    expect(store.getCandles(TABLE, SYMBOL)).toEqual(candles(100, 50));
  });

  test.each([
    [0, 0],
    [1, 1],
    [99, 99],
    [100, 100],
    [101, 100],
    [1_000_000, 100],
    [1_000_001, 100],
    [2 ** 31, 100],
    [2 ** 32, 100],
    [2 ** 32 + 1, 100],
    [2 ** 53, 100],
    [1e300, 100],
    [Number.MAX_VALUE, 100],
    [-0, 0],
  ])('with a limit of %p gives the newest %p', async (limit, count) => {
    const expected = candles(count, 100 - count);
    expect(store.getCandles(TABLE, SYMBOL, limit)).toEqual(expected);
    expect(store.getCandles(TABLE, SYMBOL, limit, null, true)).toEqual(expected);
    expect(store.getCandles(TABLE, SYMBOL, { limit })).toEqual(expected);
    expect(await store.readCandles({ table: TABLE, symbol: SYMBOL, limit })).toEqual(expected);
  });

  test.each([
    -1,
    -0.5,
    0.5,
    1.5,
    NaN,
    -Infinity,
    '10',
    10n,
    null,
    true,
    [],
    Symbol('l'),
    Number.MIN_VALUE,
    -1e300,
  ])('refuses a limit of %p', async (limit) => {
    const refused = failure({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('limit') });
    expect(() => store.getCandles(TABLE, SYMBOL, limit)).toThrow(failure({ code: 'INVALID_ARGUMENT' }));
    expect(() => store.getCandles(TABLE, SYMBOL, { limit })).toThrow(refused);
    await expect(store.readCandles({ table: TABLE, symbol: SYMBOL, limit })).rejects.toEqual(refused);
  });

  test.each([null, undefined, 0, NaN, '', false, -0, 0n])(
    'takes a before of %p as no bound',
    async (before) => {
      expect(store.getCandles(TABLE, SYMBOL, 10, before)).toEqual(candles(10, 90));
      expect(store.getCandles(TABLE, SYMBOL, { limit: 10, before, after: before })).toEqual(candles(10, 90));
      expect(await store.readCandles({ table: TABLE, symbol: SYMBOL, limit: 10, before })).toEqual(
        candles(10, 90),
      );
    },
  );

  test.each([
    [timeOf(50), candles(10, 40)],
    [timeOf(50) + 1, candles(10, 41)],
    [timeOf(50) - 1, candles(10, 40)],
    [timeOf(50) + 0.5, candles(10, 41)],
    [timeOf(3), candles(3)],
    [timeOf(0), []],
    [1, []],
    [-1, []],
    [-1e300, []],
    [-Infinity, []],
    [1e300, candles(10, 90)],
    [Infinity, candles(10, 90)],
    [2 ** 63, candles(10, 90)],
  ])('with before %p gives what is older, and not what is as old', async (before, expected) => {
    expect(store.getCandles(TABLE, SYMBOL, 10, before)).toEqual(expected);
    expect(store.getCandles(TABLE, SYMBOL, { limit: 10, before })).toEqual(expected);
    expect(await store.readCandles({ table: TABLE, symbol: SYMBOL, limit: 10, before })).toEqual(expected);
  });

  test('with after gives what is newer, and not what is as new, still the newest of it', async () => {
    const range = { limit: 10, after: timeOf(50), before: timeOf(70) };
    expect(store.getCandles(TABLE, SYMBOL, range)).toEqual(candles(10, 60));
    expect(store.getCandles(TABLE, SYMBOL, { ...range, limit: 100 })).toEqual(candles(19, 51));
    expect(await store.readCandles({ table: TABLE, symbol: SYMBOL, ...range })).toEqual(candles(10, 60));
    expect(store.getCandles(TABLE, SYMBOL, { after: timeOf(70), before: timeOf(50) })).toEqual([]);
    expect(store.getCandles(TABLE, SYMBOL, { after: timeOf(97) + 0.5 })).toEqual(candles(2, 98));
  });

  test.each(['x', {}, [], 1n, true, Symbol('b')])('refuses a bound of %p', (bound) => {
    const refused = failure({ code: 'INVALID_ARGUMENT' });
    expect(() => store.getCandles(TABLE, SYMBOL, 10, bound)).toThrow(refused);
    expect(() => store.getCandles(TABLE, SYMBOL, { after: bound })).toThrow(refused);
    expect(() => store.deleteCandles(TABLE, SYMBOL, { before: bound })).toThrow(refused);
    expect(store.getStats().candles_15).toBe(106);
  });

  test('refuses an option that it does not know', () => {
    expect(() => store.getCandles(TABLE, SYMBOL, { limits: 7 })).toThrow(
      failure({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('limits') }),
    );
  });

  test('of a symbol without candles is empty', () => {
    expect(store.getCandles(TABLE, 'X:NONE')).toEqual([]);
    expect(store.getLastCandleTime(TABLE, 'X:NONE')).toBeNull();
  });

  test("gives objects of the caller's own: changing them changes nothing", () => {
    const read = all(store);
    read[0].close = -1;
    read[0].clusters.x = 1;
    read.length = 1;
    expect(all(store)).toEqual(candles(100));
  });

  test.each([8191, 8192, 8193, 50_000])(
    'of %i candles gives every one, with and without footprints',
    async (count) => {
      const symbol = `N:${count}`;
      const written = candles(count).map((each, n) =>
        n % 1000 === 7 ? { ...each, clusters: { 1: { bid: n, ask: 1 } } } : each,
      );
      store.upsertCandles(TABLE, symbol, written);
      // As text: comparing so many objects one by one takes seconds.
      expect(JSON.stringify(all(store, symbol)) === JSON.stringify(written)).toBe(true);
      const later = await store.readCandles({ table: TABLE, symbol, limit: ALL });
      expect(JSON.stringify(later) === JSON.stringify(written)).toBe(true);
    },
  );
});

describe('getLastCandleTime', () => {
  test('is the newest time, also of candles that were written out of order', () => {
    const store = open();
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBeNull();
    store.upsertCandle(TABLE, SYMBOL, candle(5));
    store.upsertCandle(TABLE, SYMBOL, candle(3));
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(timeOf(5));
    expect(store.getLastCandleTime(60, SYMBOL)).toBeNull();
  });
});

describe('deleteCandles', () => {
  test('removes what lies between its bounds, of one series only, and says how many', () => {
    const store = open();
    for (const symbol of [SYMBOL, 'X:Y']) store.upsertCandles(TABLE, symbol, candles(10));
    expect(store.deleteCandles(TABLE, SYMBOL, { after: timeOf(2), before: timeOf(5) })).toBe(2);
    expect(all(store)).toEqual([...candles(3), ...candles(5, 5)]);
    expect(store.deleteCandles(TABLE, SYMBOL, { before: timeOf(1) })).toBe(1);
    expect(store.deleteCandles(TABLE, SYMBOL, { after: timeOf(8) })).toBe(1);
    expect(store.deleteCandles(TABLE, SYMBOL, {})).toBe(6);
    expect(all(store)).toEqual([]);
    expect(all(store, 'X:Y')).toEqual(candles(10));
    expect(store.getStats().candles_15).toBe(10);
  });
});

describe('rows of other programs', () => {
  const INSERT =
    'INSERT INTO candles_15 (symbol, time, open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count, clusters) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)';

  async function withForeign(...rows) {
    const file = newFile();
    const store = open(file);
    const other = python(file);
    for (const row of rows) await other.sql(INSERT, ...row);
    await other.end();
    return store;
  }

  test('with NULL and text where numbers belong are read as they are', async () => {
    const store = await withForeign(
      [SYMBOL, timeOf(0), 1, 2, 0.5, 1.5, 10, null, null, null, null, null],
      [SYMBOL, timeOf(1), 'abc', 2, 0.5, 1.5, 10, 'x', '7', '7.5', 'many', '{"1":{"bid":1,"ask":2}}'],
      [SYMBOL, timeOf(2), 1, 2, 0.5, 1.5, 10, 1, 2, 3, 4.5, ''],
    );
    const rest = { high: 2, low: 0.5, close: 1.5, volume: 10 };
    const expected = [
      {
        time: timeOf(0),
        open: 1,
        ...rest,
        buyVolume: null,
        sellVolume: null,
        delta: null,
        tradeCount: null,
        clusters: {},
      },
      {
        time: timeOf(1),
        open: 'abc',
        ...rest,
        buyVolume: 'x',
        sellVolume: 7,
        delta: 7.5,
        tradeCount: 'many',
        clusters: { 1: { bid: 1, ask: 2 } },
      },
      {
        time: timeOf(2),
        open: 1,
        ...rest,
        buyVolume: 1,
        sellVolume: 2,
        delta: 3,
        tradeCount: 4.5,
        clusters: {},
      },
    ];
    expect(all(store)).toEqual(expected);
    expect(await store.readCandles({ table: TABLE, symbol: SYMBOL })).toEqual(expected);
    expect(store.getCandles(TABLE, SYMBOL, 1, timeOf(2))).toEqual([expected[1]]);
  });

  test('with Infinity are read as they are', async () => {
    const file = newFile();
    const store = open(file);
    store.db.exec(
      `INSERT INTO candles_15 (symbol, time, open, high, low, close, volume, clusters) VALUES ('${SYMBOL}', ${timeOf(0)}, 1, 9e999, -9e999, 1, 1, NULL)`,
    );
    expect(all(store)).toMatchObject([{ high: Infinity, low: -Infinity, open: 1 }]);
  });

  test.each(['{', 'text', '[', '"x"', '7', 'null', '{"a":1}x'])(
    'with a footprint of %p do not make the others unreadable',
    async (text) => {
      const store = await withForeign(
        [SYMBOL, timeOf(0), 1, 2, 0.5, 1.5, 10, 1, 2, 3, 4, '{"1":{"bid":1,"ask":2}}'],
        [SYMBOL, timeOf(1), 1, 2, 0.5, 1.5, 10, 1, 2, 3, 4, text],
        [SYMBOL, timeOf(2), 1, 2, 0.5, 1.5, 10, 1, 2, 3, 4, '{"3":{"bid":3,"ask":4}}'],
      );
      expect(all(store).map(({ clusters }) => clusters)).toEqual([
        { 1: { bid: 1, ask: 2 } },
        {},
        { 3: { bid: 3, ask: 4 } },
      ]);
    },
  );

  test('with times that are no whole numbers are read, and do not hide the newest time', async () => {
    const store = await withForeign(
      [SYMBOL, timeOf(0), 1, 2, 0.5, 1.5, 10, 1, 2, 3, 4, null],
      [SYMBOL, timeOf(1) + 0.5, 1, 2, 0.5, 1.5, 10, 1, 2, 3, 4, null],
      ['X:TEXT', 'soon', 1, 2, 0.5, 1.5, 10, 1, 2, 3, 4, null],
    );
    expect(all(store).map(({ time }) => time)).toEqual([timeOf(0), timeOf(1) + 0.5]);
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(timeOf(1) + 0.5);
    expect(store.getCandles(TABLE, 'X:TEXT')).toMatchObject([{ time: 'soon' }]);
    expect(store.getLastCandleTime(TABLE, 'X:TEXT')).toBe('soon');
  });

  test('with times before 2000 and after 2100, in seconds or beyond every integer, are read in order', async () => {
    const times = [-5, 0, 1704067200, timeOf(0), 1704067200000000];
    const store = await withForeign(
      ...times.map((time) => [SYMBOL, time, 1, 2, 0.5, 1.5, 10, 1, 2, 3, 4, null]),
    );
    expect(all(store).map(({ time }) => time)).toEqual(times);
    expect(store.getCandles(TABLE, SYMBOL, 2, timeOf(0)).map(({ time }) => time)).toEqual([0, 1704067200]);
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(1704067200000000);
  });

  test('that another program commits are read at once', async () => {
    const file = newFile();
    const store = open(file);
    const other = python(file);
    for (let n = 0; n < 20; n++) {
      const {
        time,
        open: open_,
        high,
        low,
        close,
        volume,
        buyVolume,
        sellVolume,
        delta,
        tradeCount,
      } = candle(n);
      await other.sql(
        INSERT,
        SYMBOL,
        time,
        open_,
        high,
        low,
        close,
        volume,
        buyVolume,
        sellVolume,
        delta,
        tradeCount,
        null,
      );
      expect(store.getCandles(TABLE, SYMBOL, 1)).toEqual([candle(n)]);
      expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(time);
    }
    await other.sql('DELETE FROM candles_15 WHERE time > ?', timeOf(0) + STEP);
    expect(all(store)).toEqual(candles(2));
    await other.end();
  });
});
