'use strict';

const path = require('node:path');
const { openStore } = require('candlestore');
const { startExchange } = require('../server/exchange');
const { readRecording } = require('../server/recording');
const { scratch } = require('./support/scratch.js');
const { until } = require('./support/until.js');
const { asStored } = require('./support/server-candles.js');
const { startServer } = require('./support/server-processes.js');

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;
const recording = readRecording();

let exchange;
let file;

/** Starts the collector on the exchange of the test, quick and for few days unless told otherwise. */
function collect(env) {
  return startServer('collector.js', {
    env: {
      DB_PATH: file,
      BINANCE_URL: exchange.url,
      BYBIT_URL: exchange.url,
      BITGET_URL: exchange.url,
      COURTESY_DELAY_MS: '0',
      SYNC_INTERVAL_MS: '200',
      RETRY_REST_MS: '200',
      HISTORY_DAYS: '10',
      ...env,
    },
  });
}

const recordedAs = (symbol) => symbol.replace('BITGET', 'BYBIT');

/** What the recording says of a series between two times, in the words of the store. */
function recorded(symbol, minutes, from, to) {
  const rows = recording.get(recordedAs(symbol)).candles(minutes, Infinity, from, to).map(asStored);
  if (symbol.startsWith('BINANCE')) return rows;
  return rows.map((candle) => ({ ...candle, buyVolume: 0, sellVolume: 0, delta: 0, tradeCount: 0 }));
}

/** Every closed candle that is stored, and the times between which there must be no gap. */
function stored(symbol, minutes) {
  const store = openStore(file, { readOnly: true });
  const candles = store.getCandles(minutes, symbol, 1_000_000);
  store.close();
  return candles;
}

/** The stored candles are the recorded ones, without a gap, all but the newest two (which may have been open). */
function expectAsRecorded(symbol, minutes, since) {
  const candles = stored(symbol, minutes).slice(0, -2);
  const step = minutes * MINUTE;
  expect(candles[0].time).toBeLessThan(since + step + MINUTE);
  expect(candles).toEqual(recorded(symbol, minutes, candles[0].time, candles.at(-1).time + 1));
  expect(candles.length).toBe((candles.at(-1).time - candles[0].time) / step + 1);
}

beforeEach(() => {
  file = path.join(scratch(), 'collected.db');
});
afterEach(() => exchange.close());

test('the backfill stores every closed candle of three exchanges as recorded, and says so', async () => {
  exchange = await startExchange({ speed: 1 });
  const started = Object.fromEntries(
    Object.entries(exchange.clocks).map(([name, clock]) => [name, clock.now()]),
  );
  const collector = collect({ SYMBOLS: 'BINANCE:BTCUSDT,BYBIT:SOLUSDT,BITGET:ETHUSDT', PAGE_SIZE: '300' });
  await collector.line(/^Backfill complete in \d+\.\d s$/);
  const { code, stderr } = await collector.stop();
  expect(stderr).toBe('');
  expect(code).toBe(0);

  for (const symbol of ['BINANCE:BTCUSDT', 'BYBIT:SOLUSDT', 'BITGET:ETHUSDT']) {
    for (const minutes of [15, 60, 240, 1440]) {
      expectAsRecorded(symbol, minutes, started[symbol.split(':')[0]] - 10 * DAY);
    }
  }
  expect(collector.lines).toContain('BINANCE:BTCUSDT 15m: +300 candles');
  expect(collector.lines).toContain('BITGET:ETHUSDT 15m: +299 candles');
});

test('killed in mid-backfill it goes on where it was and leaves no hole, though the sync had stored newer candles', async () => {
  exchange = await startExchange({ speed: 1 });
  const since = exchange.clocks.BINANCE.now() - 40 * DAY;
  const settings = { SYMBOLS: 'BINANCE:BTCUSDT', TIMEFRAMES: '15', PAGE_SIZE: '100', HISTORY_DAYS: '40' };
  const expected = 40 * 96;

  let received = 0;
  for (let round = 0; round < 3; round++) {
    const collector = collect({ ...settings, COURTESY_DELAY_MS: '20' });
    await collector.line(/BINANCE sync: \+3 candles|15m: \+/);
    await until(() => collector.lines.filter((line) => line.includes('15m: +')).length >= 4);
    await collector.stop('SIGKILL');
    received += collector.lines.filter((line) => line.includes('15m: +')).length * 100;
  }
  // It was the newest candle that was stored early, and still the middle is filled.
  const before = stored('BINANCE:BTCUSDT', 15);
  expect(exchange.clocks.BINANCE.now() - before.at(-1).time).toBeLessThan(30 * MINUTE);
  expect(before.length).toBeLessThan(expected);

  const last = collect(settings);
  await last.line(/^Backfill complete/);
  await last.stop();
  expectAsRecorded('BINANCE:BTCUSDT', 15, since);
  // It did not begin again from the start: at most a page for each kill came twice.
  const again = last.lines.filter((line) => line.includes('15m: +')).length * 100;
  expect(received + again).toBeLessThanOrEqual(expected + 4 * 100);
});

test('a second collector on the file stands by, goes on where the first was killed, and leaves no hole', async () => {
  exchange = await startExchange({ speed: 1 });
  const since = exchange.clocks.BINANCE.now() - 40 * DAY;
  const settings = { SYMBOLS: 'BINANCE:BTCUSDT', TIMEFRAMES: '15', PAGE_SIZE: '100', HISTORY_DAYS: '40' };
  const pagesOf = ({ lines }) => lines.filter((line) => line.includes('15m: +')).length;

  const first = collect({ ...settings, COURTESY_DELAY_MS: '30' });
  await until(() => pagesOf(first) >= 4);
  const second = collect(settings);
  await second.line(new RegExp(`^BINANCE stands by: process ${first.child.pid} collects it$`));
  const before = pagesOf(first);
  await until(() => pagesOf(first) >= before + 4);
  expect(pagesOf(second)).toBe(0);

  await first.stop('SIGKILL');
  await second.line(/^Backfill complete/);
  await second.stop();
  expectAsRecorded('BINANCE:BTCUSDT', 15, since);
  // It did not begin again from the start: at most the page that was on its way came twice.
  expect(pagesOf(first) + pagesOf(second)).toBeLessThanOrEqual(40 * 0.96 + 3);
});

test('an open candle is stored as it is and replaced when it closes', async () => {
  exchange = await startExchange({ speed: 900 }); // a quarter of an hour in a second
  const collector = collect({
    SYMBOLS: 'BINANCE:BTCUSDT',
    TIMEFRAMES: '15',
    HISTORY_DAYS: '1',
    SYNC_INTERVAL_MS: '50',
  });
  await collector.line(/^Backfill complete/);
  const store = openStore(file, { readOnly: true });
  const newest = () => store.getCandles(15, 'BINANCE:BTCUSDT', 1)[0];

  const states = new Map();
  const first = newest().time;
  await until(() => {
    const candle = newest();
    if (!states.has(candle.time)) states.set(candle.time, new Set());
    states.get(candle.time).add(candle.volume);
    return candle.time >= first + 3 * 15 * MINUTE;
  });
  const watched = first + 15 * MINUTE; // seen from its opening to its end
  const seen = [...states.get(watched)];
  const [final] = recorded('BINANCE:BTCUSDT', 15, watched, watched + 1);
  expect(seen.length).toBeGreaterThan(1);
  expect(seen[0]).toBeLessThan(final.volume);
  expect(store.getCandles(15, 'BINANCE:BTCUSDT', { after: watched - 1, before: watched + 1 })).toEqual([
    final,
  ]);
  store.close();
  await collector.stop();
});

test('candles missed while the collector stood still are fetched when it goes on', async () => {
  exchange = await startExchange({ speed: 1800 });
  const collector = collect({
    SYMBOLS: 'BYBIT:ETHUSDT',
    TIMEFRAMES: '15',
    HISTORY_DAYS: '1',
    SYNC_INTERVAL_MS: '100',
  });
  await collector.line(/^Backfill complete/);
  const newest = () => stored('BYBIT:ETHUSDT', 15).at(-1).time;
  await until(() => newest() > Date.UTC(2025, 5, 20));

  collector.child.kill('SIGSTOP');
  const then = exchange.clocks.BYBIT.now();
  await until(() => exchange.clocks.BYBIT.now() > then + 10 * 15 * MINUTE);
  collector.child.kill('SIGCONT');
  await until(() => {
    const candles = stored('BYBIT:ETHUSDT', 15);
    const span = (candles.at(-1).time - candles[0].time) / (15 * MINUTE) + 1;
    return candles.at(-1).time > then + 10 * 15 * MINUTE && candles.length === span;
  });
  await collector.stop();
  expectAsRecorded('BYBIT:ETHUSDT', 15, Date.UTC(2025, 5, 19));
});

test('a candle that was open when the collector stopped is whole after the next start', async () => {
  exchange = await startExchange({ speed: 1800 });
  const settings = {
    SYMBOLS: 'BINANCE:BTCUSDT',
    TIMEFRAMES: '15',
    HISTORY_DAYS: '1',
    SYNC_INTERVAL_MS: '100',
  };
  const began = exchange.clocks.BINANCE.now();
  for (let run = 0; run < 3; run++) {
    const collector = collect(settings);
    await collector.line(/^Backfill complete/);
    await collector.stop();
    const then = exchange.clocks.BINANCE.now();
    await until(() => exchange.clocks.BINANCE.now() > then + 6 * 15 * MINUTE);
  }
  expectAsRecorded('BINANCE:BTCUSDT', 15, began - DAY);
});

test('a database that another collector filled is taken up after its last candle', async () => {
  exchange = await startExchange({ speed: 1 });
  const now = exchange.clocks.BINANCE.now();
  const given = recorded('BINANCE:BTCUSDT', 15, now - 10 * DAY, now - 2 * DAY);
  const open = { ...given.at(-1), close: 1 }; // it was open when that collector stopped
  const store = openStore(file);
  await store.enqueueCandles(15, 'BINANCE:BTCUSDT', [...given.slice(0, -1), open]);
  await store.close();

  const collector = collect({ SYMBOLS: 'BINANCE:BTCUSDT', TIMEFRAMES: '15' });
  await collector.line(/^Backfill complete/);
  await collector.stop();
  expectAsRecorded('BINANCE:BTCUSDT', 15, now - 10 * DAY);
  const fetched = collector.lines.map((line) => line.match(/15m: \+(\d+)/)?.[1]).filter(Boolean);
  expect(fetched.reduce((sum, count) => sum + Number(count), 0)).toBeLessThanOrEqual(2 * 96);
});

test('a symbol that the exchange does not know is named and left out; the others are collected', async () => {
  exchange = await startExchange({ speed: 1 });
  const collector = collect({ SYMBOLS: 'BYBIT:NOSUCHPAIR,BYBIT:ETHUSDT', TIMEFRAMES: '60' });
  await collector.line(/^Backfill complete/);
  await collector.line(
    /^BYBIT:NOSUCHPAIR 1h: BYBIT refused: Not supported symbols .* left out until the next start/,
  );
  await collector.stop();
  expectAsRecorded('BYBIT:ETHUSDT', 60, exchange.clocks.BYBIT.now() - 10 * DAY);
});

test('an exchange that is away delays only itself', async () => {
  exchange = await startExchange({ speed: 1 });
  const collector = collect({
    SYMBOLS: 'BINANCE:BTCUSDT,BYBIT:ETHUSDT',
    TIMEFRAMES: '60',
    BYBIT_URL: 'http://127.0.0.1:1',
    RETRY_ATTEMPTS: '1',
  });
  await collector.line(
    /^(sync|backfill) BYBIT: http:\/\/127\.0\.0\.1:1 cannot be reached: .*; trying again in 0\.\d s/,
  );
  await until(() => collector.lines.some((line) => line.startsWith('BINANCE:BTCUSDT 1h: +')));
  expect(collector.lines.some((line) => line.startsWith('Backfill complete'))).toBe(false);
  const { code } = await collector.stop('SIGTERM');
  expect(code).toBe(0);
});

test('a setting that makes no sense is named, and nothing is started', async () => {
  exchange = await startExchange({ speed: 1 });
  const { code, stderr } = await collect({ SYMBOLS: 'KRAKEN:BTCUSD' }).ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(/SYMBOLS holds "KRAKEN:BTCUSD"/);
});
