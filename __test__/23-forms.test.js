'use strict';

// The forms in which candles are read: rows, columns, JSON bytes, several series in one call; on either thread.

const { openStore } = require('..');
const { newFile } = require('./support/store.js');

const SYMBOL = 'BINANCE:BTCUSDT';
const OTHER = 'BYBIT:ETHUSDT';
const START = Date.UTC(2024, 0, 1);
const STEP = 15 * 60_000;

function candle(index, more = {}) {
  const open = 100 + index;
  return {
    time: START + index * STEP,
    open,
    high: open + 2.5,
    low: open - 1.25,
    close: open + 0.1,
    volume: 10 * index,
    buyVolume: index,
    sellVolume: 2 * index,
    delta: 0 - index,
    tradeCount: index,
    ...more,
  };
}

const footprint = (index) => ({ [`${100 + index}.5`]: { bid: index, ask: 0.5 } });
const series = (count, more = () => ({})) =>
  Array.from({ length: count }, (_, index) => candle(index, more(index)));
const COLUMNS = [
  'time',
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

describe.each([
  ['a file', () => openStore(newFile())],
  ['a file without memory for what is read', () => openStore(newFile(), { tailCacheBytes: 0 })],
  ['a database in memory', () => openStore(':memory:')],
])('of %s', (_name, open) => {
  let store;

  beforeEach(() => {
    store = open();
    store.upsertCandles(
      15,
      SYMBOL,
      series(300, (index) => (index % 3 === 0 ? { clusters: footprint(index) } : {})),
    );
    store.upsertCandles(60, OTHER, series(5));
  });
  afterEach(() => store.close());

  const requests = [
    { limit: 1 },
    { limit: 10 },
    { limit: 64 },
    { limit: 299 },
    { limit: 300 },
    { limit: 301 },
    { limit: 0 },
    { limit: 100, before: START + 150 * STEP },
    { limit: 100, after: START + 250 * STEP },
    { limit: 100, after: START + 100 * STEP, before: START + 150 * STEP },
    { limit: 20, after: START + 100 * STEP, before: START + 150 * STEP },
    { limit: 5, before: START },
    { limit: 5, after: START + 299 * STEP },
  ];

  test.each(requests)('the newest candles inside a range are read in every form: %j', async (request) => {
    const rows = store.getCandles(15, SYMBOL, request);
    const inside = series(300, (index) => ({ clusters: index % 3 === 0 ? footprint(index) : {} })).filter(
      ({ time }) => time < (request.before ?? Infinity) && time > (request.after ?? -Infinity),
    );
    expect(rows).toEqual(request.limit === 0 ? [] : inside.slice(-request.limit));
    for (let time = 0; time < 2; time++) {
      expect(store.getCandles(15, SYMBOL, request)).toEqual(rows);
      expect(store.getCandlesJson(15, SYMBOL, request).toString()).toBe(JSON.stringify(rows));
      const columns = store.getCandlesColumns(15, SYMBOL, { ...request, clusters: true });
      for (const name of COLUMNS) expect([...columns[name]]).toEqual(rows.map((row) => row[name]));
      expect(columns.clusters).toEqual(rows.map((row) => row.clusters));
      const where = { table: 15, symbol: SYMBOL, ...request };
      expect(await store.readCandles(where)).toEqual(rows);
      expect(await store.readCandles({ ...where, format: 'columns', clusters: true })).toEqual(columns);
      expect((await store.readCandles({ ...where, format: 'json' })).toString()).toBe(JSON.stringify(rows));
    }
  });

  test.each(requests)(
    'the end of an answer is told its oldest time and whether there is more: %j',
    async (request) => {
      const rows = store.getCandles(15, SYMBOL, request);
      const all = store.getCandles(15, SYMBOL, { ...request, limit: 1000 });
      const page = {
        table: 'candles_15',
        symbol: SYMBOL,
        oldestTime: rows.length > 0 ? rows[0].time : null,
        hasMore: all.length > rows.length,
      };
      const suffix = (told) => `,"page":${JSON.stringify(told)}}`;
      const expected = JSON.stringify({ candles: rows, page });
      for (let time = 0; time < 2; time++) {
        const envelope = { ...request, prefix: '{"candles":', suffix };
        expect(store.getCandlesJson(15, SYMBOL, envelope).toString()).toBe(expected);
        const read = { table: 15, symbol: SYMBOL, format: 'json', ...envelope };
        expect((await store.readCandles(read)).toString()).toBe(expected);
      }
    },
  );

  test('columns are without footprints unless they are asked for, and the caller may write to them', () => {
    const columns = store.getCandlesColumns(15, SYMBOL, 10);
    expect(Object.keys(columns)).toEqual(COLUMNS);
    expect(Object.prototype.toString.call(columns.close)).toBe('[object Float64Array]');
    columns.close.fill(7);
    expect(store.getCandlesColumns(15, SYMBOL, 10).close).not.toEqual(columns.close);
  });

  test('several series are read in one call, each with what it wants of its own', async () => {
    const wanted = [
      { table: 15, symbol: SYMBOL, limit: 2 },
      { table: 'candles_60', symbol: OTHER.toLowerCase(), before: START + 3 * 15 * 60_000 },
      { table: 60, symbol: 'NOBODY:KNOWS' },
    ];
    const expected = [store.getCandles(15, SYMBOL, 2), store.getCandles(60, OTHER, 4, START + 3 * STEP), []];
    expect(expected.map(({ length }) => length)).toEqual([2, 3, 0]);
    expect(store.getCandlesOf(wanted, { limit: 4 })).toEqual(expected);
    expect(await store.readCandles({ series: wanted, limit: 4 })).toEqual(expected);
    const columns = await store.readCandles({ series: wanted, limit: 4, format: 'columns' });
    expect(columns.map(({ close }) => [...close])).toEqual(
      expected.map((rows) => rows.map(({ close }) => close)),
    );
    const json = await store.readCandles({ series: wanted, limit: 4, format: 'json', prefix: ' ' });
    expect(json.map(String)).toEqual(expected.map((rows) => ` ${JSON.stringify(rows)}`));
  });

  test('what is open in a transaction of the handle is read in every form, unless the commit is asked for', () => {
    const later = candle(300);
    const before = store.getCandlesJson(15, SYMBOL, 3);
    store.db.transaction(() => {
      store.upsertCandle(15, SYMBOL, later);
      expect(store.getCandlesColumns(15, SYMBOL, 1).time[0]).toBe(later.time);
      expect(JSON.parse(store.getCandlesJson(15, SYMBOL, 3)).at(-1).time).toBe(later.time);
      expect(store.getCandlesOf([{ table: 15, symbol: SYMBOL }], { limit: 1 })[0][0].time).toBe(later.time);
    })();
    expect(JSON.parse(before).at(-1).time).toBe(candle(299).time);
    expect(JSON.parse(store.getCandlesJson(15, SYMBOL, 1))[0].time).toBe(later.time);
  });

  test.each([
    ['an unknown option', { limit: 1, before: null, format: 'rows' }, 'INVALID_ARGUMENT'],
    ['a prefix that is no text', { prefix: 7 }, 'INVALID_ARGUMENT'],
    ['a suffix that is no text', { suffix: {} }, 'INVALID_ARGUMENT'],
    ['a suffix that tells no text', { suffix: () => 7 }, 'INVALID_ARGUMENT'],
    ['a limit below zero', { limit: -1 }, 'INVALID_ARGUMENT'],
  ])('%s is refused', async (_what, options, code) => {
    expect(() => store.getCandlesJson(15, SYMBOL, options)).toThrow(expect.objectContaining({ code }));
    const request = { table: 15, symbol: SYMBOL, ...options, format: options.format ? 'xml' : 'json' };
    await expect(store.readCandles(request)).rejects.toMatchObject({ code });
  });

  test.each([
    ['no array', {}, 'INVALID_ARGUMENT'],
    ['an array of something else', [7], 'INVALID_ARGUMENT'],
    ['an unknown table', [{ table: 7, symbol: SYMBOL }], 'UNKNOWN_TABLE'],
    ['a series without a symbol', [{ table: 15 }], 'INVALID_ARGUMENT'],
  ])('a list of series that is %s is refused', async (_what, wanted, code) => {
    expect(() => store.getCandlesOf(wanted)).toThrow(expect.objectContaining({ code }));
    await expect(store.readCandles({ series: wanted })).rejects.toMatchObject({ code });
  });

  test('a closed store reads in no form', async () => {
    await store.close();
    const closed = expect.objectContaining({ code: 'CLOSED' });
    expect(() => store.getCandlesColumns(15, SYMBOL)).toThrow(closed);
    expect(() => store.getCandlesJson(15, SYMBOL)).toThrow(closed);
    await expect(store.readCandles({ table: 15, symbol: SYMBOL, format: 'json' })).rejects.toEqual(closed);
  });
});

test('an answer that is ready is given again as the same bytes, and a new one after each commit of its series', async () => {
  const store = openStore(newFile());
  store.upsertCandles(15, SYMBOL, series(100));
  store.upsertCandles(15, OTHER, series(100));
  const read = (symbol) => store.getCandlesJson(15, symbol, 50);
  const [first, other] = [read(SYMBOL), read(OTHER)];
  expect(read(SYMBOL)).toBe(first);
  store.upsertCandle(15, SYMBOL, candle(99, { close: 1 }));
  expect(read(SYMBOL)).not.toBe(first);
  expect(JSON.parse(read(SYMBOL)).at(-1).close).toBe(1);
  expect(JSON.parse(first).at(-1).close).toBe(199.1);
  expect(read(OTHER)).toBe(other);
  const suffix = () => '!';
  const enveloped = (end) => store.getCandlesJson(15, OTHER, { limit: 50, suffix: end });
  expect(enveloped(suffix)).toBe(enveloped(suffix));
  expect(enveloped(() => '?').toString()).toBe(`${other}?`);
  await store.close();
});
