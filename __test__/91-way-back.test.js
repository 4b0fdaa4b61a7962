'use strict';

// The way back: the old db.js, on better-sqlite3 in a process of its own, uses files that candlestore made and wrote,
// and candlestore uses what the old one leaves.

const path = require('node:path');
const { openStore } = require('candlestore');
const { page, candle } = require('../bench/synthetic-exchange.js');
const { scratch } = require('./support/scratch.js');
const { openElsewhere } = require('./support/db-client.js');

const FROM = Date.UTC(2024, 0, 1);
const STEP = 15 * 60_000;
const END = Date.UTC(2026, 0, 1);
const PLAIN = 'BINANCE:BTCUSDT';
const FOOTPRINTS = 'BYBIT:ETHUSDT';
const ALL = 1_000_000;

const plain = page('BINANCE', 'BTCUSDT', 15, FROM, END, 5000).map((made) => ({ ...made, clusters: {} }));
const footprints = Array.from({ length: 300 }, (_, index) =>
  candle('BYBIT', 'ETHUSDT', 15, FROM + index * STEP, 30),
);
const changed = (candles) => candles.map((made) => ({ ...made, close: made.close + 1, tradeCount: 7 }));

let file;
beforeEach(() => {
  file = path.join(scratch(), 'cryptoflow.db');
});

/** Uses the file with candlestore and closes it, so that afterwards only the old db.js has it open. */
async function withCandlestore(work) {
  const store = openStore(file);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

async function withOld(work) {
  const old = await openElsewhere('old', file);
  const result = await work(old);
  await old.close();
  return result;
}

function writeAll(store) {
  store.upsertCandles('candles_15', PLAIN, plain);
  store.upsertCandles('candles_15', FOOTPRINTS, footprints);
  store.upsertCandles('candles_1440', PLAIN, plain.slice(0, 10));
}

const schemaOf = (store) =>
  store.db.prepare('SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name').all();

test('the old db.js reads every row of a file that candlestore made', async () => {
  await withCandlestore(writeAll);
  await withOld(async (old) => {
    for (const readOnly of [true, false]) {
      expect(await old.call('getCandles', 'candles_15', PLAIN, ALL, null, readOnly)).toEqual(plain);
      expect(await old.call('getCandles', 'candles_15', FOOTPRINTS, ALL, null, readOnly)).toEqual(footprints);
    }
    expect(await old.call('getLastCandleTime', 'candles_15', PLAIN)).toBe(plain.at(-1).time);
    expect(await old.call('getStats')).toMatchObject({ candles_15: 5300, candles_60: 0, candles_1440: 10 });
    expect(await old.pragma('integrity_check')).toEqual([{ integrity_check: 'ok' }]);
  });
});

test('what the old db.js writes into such a file is read by candlestore, with exact counts', async () => {
  await withCandlestore(writeAll);
  const more = page('BINANCE', 'BTCUSDT', 15, plain.at(-1).time + STEP, END, 1000).map((made) => ({
    ...made,
    clusters: {},
  }));
  const [one] = changed(footprints.slice(-1));
  await withOld(async (old) => {
    await old.call('upsertCandles', 'candles_15', PLAIN, [...changed(plain.slice(-500)), ...more]);
    await old.call('upsertCandle', 'candles_15', FOOTPRINTS, one);
    await old.call('upsertCandles', 'candles_240', PLAIN, plain.slice(0, 3));
  });
  await withCandlestore((store) => {
    expect(store.getCandles('candles_15', PLAIN, ALL)).toEqual([
      ...plain.slice(0, -500),
      ...changed(plain.slice(-500)),
      ...more,
    ]);
    expect(store.getCandles('candles_15', FOOTPRINTS, ALL)).toEqual([...footprints.slice(0, -1), one]);
    expect(store.getStats({ exact: true })).toMatchObject({
      candles_15: 6300,
      candles_60: 0,
      candles_240: 3,
      candles_1440: 10,
    });
  });
});

test('a file goes forth and back five times and never differs from what was written', async () => {
  const expected = new Map();
  const remember = (candles) => candles.forEach((made) => expected.set(made.time, made));
  for (let round = 0; round < 5; round += 1) {
    const first = round * 700;
    const fromCandlestore = changed(plain.slice(first, first + 1000));
    const fromOld = plain.slice(first + 500, first + 1200);
    await withCandlestore((store) => store.upsertCandles(15, PLAIN, fromCandlestore));
    remember(fromCandlestore);
    await withOld(async (old) => {
      expect(await old.call('getCandles', 'candles_15', PLAIN, ALL)).toEqual([...expected.values()]);
      await old.call('upsertCandles', 'candles_15', PLAIN, fromOld);
    });
    remember(fromOld);
    await withCandlestore((store) => {
      expect(store.getCandles(15, PLAIN, ALL)).toEqual([...expected.values()]);
      expect(store.getStats({ exact: true }).candles_15).toBe(expected.size);
    });
  }
});

test('a file of the old db.js keeps its schema under candlestore, and the old one reads what was written', async () => {
  await withOld(async (old) => {
    await old.call('upsertCandles', 'candles_15', PLAIN, plain.slice(0, 2000));
    await old.call('upsertCandles', 'candles_15', FOOTPRINTS, footprints.slice(0, 100));
  });
  const names = await withCandlestore((store) => {
    const before = schemaOf(store);
    writeAll(store);
    expect(schemaOf(store)).toEqual(before);
    return before.map(({ name }) => name);
  });
  expect(names).toContain('idx_candles_15_symbol_time');
  await withOld(async (old) => {
    expect(await old.call('getCandles', 'candles_15', PLAIN, ALL)).toEqual(plain);
    expect(await old.call('getCandles', 'candles_15', FOOTPRINTS, ALL)).toEqual(footprints);
    expect(await old.call('getStats')).toMatchObject({ candles_15: 5300, candles_1440: 10 });
    expect(await old.pragma('integrity_check')).toEqual([{ integrity_check: 'ok' }]);
  });
});
