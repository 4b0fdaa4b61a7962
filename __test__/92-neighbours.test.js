'use strict';

// Other writers and readers on the file while candlestore writes it without a pause: the old db.js on better-sqlite3
// and Python's sqlite3, each in a process of its own, each waiting at most 5 s for a lock.

const path = require('node:path');
const { setTimeout: pause } = require('node:timers/promises');
const { openStore } = require('candlestore');
const { page } = require('../bench/synthetic-exchange.js');
const { scratch } = require('./support/scratch.js');
const { run, start } = require('./support/programs.js');
const { openElsewhere } = require('./support/db-client.js');

jest.setTimeout(60_000);

const FROM = Date.UTC(2024, 0, 1);
const END = Date.UTC(2026, 0, 1);
const OURS = 'BINANCE:BTCUSDT';
const OLD = 'BYBIT:ETHUSDT';
const PYTHON = 'BITGET:SOLUSDT';
const ALL = 1_000_000;
const neighbour = path.join(__dirname, 'support', 'neighbour.py');

const candles = (exchange, pair, rows) =>
  page(exchange, pair, 15, FROM, END, rows).map((made) => ({ ...made, clusters: {} }));
const ours = candles('BINANCE', 'BTCUSDT', 20_000);
const theirs = candles('BYBIT', 'ETHUSDT', 10_000);

let store;
let file;
beforeEach(() => {
  file = path.join(scratch(), 'cryptoflow.db');
  store = openStore(file);
  store.upsertCandles(15, OURS, ours.slice(0, 1));
});
afterEach(() => store.close());

/** Writes all of ours over and over, in the ways that candlestore has, until `work` is done. */
async function whileWriting(work) {
  let done = false;
  const working = work().finally(() => {
    done = true;
  });
  let rounds = 0;
  const writing = async () => {
    do {
      for (let first = 0; first < ours.length; first += 2000) {
        const queued = [0, 500, 1000].map((offset) =>
          store.enqueueCandles(15, OURS, ours.slice(first + offset, first + offset + 500), {
            priority: offset === 0 ? 'live' : 'backfill',
          }),
        );
        store.upsertCandles(15, OURS, ours.slice(first + 1500, first + 2000));
        await Promise.all(queued);
      }
      rounds += 1;
    } while (!done);
  };
  await Promise.all([working, writing()]);
  return rounds;
}

async function integrity() {
  return store.db.pragma('integrity_check', { simple: true });
}

test('better-sqlite3 writes at the same time: no error on either side, and all rows are there', async () => {
  const old = await openElsewhere('old', file);
  await old.pragma('busy_timeout = 5000');
  const rounds = await whileWriting(async () => {
    for (let first = 0; first < theirs.length; first += 500)
      await old.call('upsertCandles', 'candles_15', OLD, theirs.slice(first, first + 500));
    for (const candle of theirs.slice(0, 100)) await old.call('upsertCandle', 'candles_15', OLD, candle);
  });
  expect(rounds).toBeGreaterThan(0);
  expect(await old.call('getCandles', 'candles_15', OURS, ALL, null, true)).toEqual(ours);
  await old.close();
  expect(store.getCandles(15, OURS, ALL)).toEqual(ours);
  expect(store.getCandles(15, OLD, ALL)).toEqual(theirs);
  expect(store.getStats({ exact: true })).toMatchObject({
    candles_15: ours.length + theirs.length,
    lockTimeoutCount: 0,
  });
  expect(await integrity()).toBe('ok');
});

test('Python writes at the same time: no error on either side, and all rows are there', async () => {
  await whileWriting(async () => {
    const { code, stdout, stderr } = await run('python3', [neighbour, 'write', file, PYTHON, 2000]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toBe(2000);
  });
  expect(store.getCandles(15, OURS, ALL)).toEqual(ours);
  const found = store.getCandles(15, PYTHON, ALL);
  expect(found.map(({ volume }) => volume)).toEqual(Array.from({ length: 2000 }, (_, n) => n / 8));
  expect(store.getStats({ exact: true })).toMatchObject({
    candles_15: ours.length + 2000,
    lockTimeoutCount: 0,
  });
  expect(await integrity()).toBe('ok');
});

test('better-sqlite3 and Python each get every small write through beside backfill that never pauses', async () => {
  const old = await openElsewhere('old', file);
  await old.pragma('busy_timeout = 5000');
  const few = theirs.slice(0, 40);
  const small = async () => {
    for (const candle of few) {
      await old.call('upsertCandle', 'candles_15', OLD, candle);
      await pause(30);
    }
  };
  let working = true;
  let batches = 0;
  const backfill = async () => {
    for (; working; batches++) {
      const first = (batches * 1000) % ours.length;
      await store.enqueueCandles(
        15,
        OURS,
        ours.slice(first, first + 1000).map((candle) => ({ ...candle, tradeCount: batches })),
        { priority: 'backfill' },
      );
    }
  };
  const streams = [backfill(), backfill(), backfill()];
  const [, python] = await Promise.all([
    small(),
    run('python3', [neighbour, 'trickle', file, PYTHON, few.length]),
  ]).finally(() => {
    working = false;
  });
  await Promise.all(streams);
  expect(python).toMatchObject({ code: 0, stderr: '', stdout: `${few.length}\n` });
  await old.close();
  expect(batches).toBeGreaterThan(0);
  expect(store.getCandles(15, OLD, ALL)).toEqual(few);
  expect(store.getCandles(15, PYTHON, ALL)).toHaveLength(few.length);
  const { failed, lockTimeouts, committed, coalesced, accepted } = store.queue.stats();
  expect({ failed, lockTimeouts }).toEqual({ failed: { commands: 0, rows: 0 }, lockTimeouts: 0 });
  expect(committed.commands + coalesced.commands).toBe(accepted.commands);
  expect(committed.rows + coalesced.rows).toBe(accepted.rows);
  expect(await integrity()).toBe('ok');
});

test("the paper trader's query in Python reads all the while", async () => {
  const reader = start('python3', [neighbour, 'read', file, OURS, 500]);
  const printed = new Promise((resolve) => reader.lines.once('line', resolve));
  await whileWriting(async () => {
    const { code } = await run('python3', [neighbour, 'write', file, PYTHON, 500]);
    expect(code).toBe(0);
    reader.child.stdin.end('stop\n');
    const { code: readerCode, stderr } = await reader.ended;
    expect({ readerCode, stderr }).toEqual({ readerCode: 0, stderr: '' });
  });
  expect(Number(await printed)).toBeGreaterThan(10);
});
