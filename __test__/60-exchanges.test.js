'use strict';

const fs = require('node:fs');
const path = require('node:path');
const binance = require('../server/exchanges/binance');
const bybit = require('../server/exchanges/bybit');
const bitget = require('../server/exchanges/bitget');
const { loadConfig } = require('../server/config');
const { scratch } = require('./support/scratch.js');

const recorded = (name) =>
  JSON.parse(fs.readFileSync(path.join(__dirname, 'fixtures/payloads', `${name}.json`)));
const times = (candles) => candles.map(({ time }) => time);
const query = (request) => Object.fromEntries(new URL(request, 'http://x').searchParams);

describe('recorded answers', () => {
  test('a candle of Binance futures has the volume that takers bought and sold, and its trades', () => {
    const [closed, open] = binance.parseCandles(recorded('binance_fapi_v1_klines_BTCUSDT_1h'));
    expect(closed).toEqual({
      time: 1786816800000,
      open: 63043.4,
      high: 63083,
      low: 63011.6,
      close: 63026.3,
      volume: 1116.068,
      buyVolume: 460.737,
      sellVolume: 1116.068 - 460.737,
      delta: 460.737 - (1116.068 - 460.737),
      tradeCount: 16911,
    });
    expect(open.time).toBe(1786820400000);
    expect(open.volume).toBe(70.64);
  });

  test('an outage in an answer of Binance stays an outage', () => {
    const candles = binance.parseCandles(recorded('binance_spot_api_v3_klines_BTCUSDT_15m_outage'));
    const steps = candles.slice(1).map(({ time }, index) => (time - candles[index].time) / 900_000);
    expect(steps).toEqual([1, 6, 1]);
  });

  test('Bybit sends the newest first and the candles come out ascending', () => {
    const body = recorded('bybit_v5_kline_linear_BTCUSDT_1h');
    expect(body.result.list.map(([time]) => Number(time))).toEqual([1786820400000, 1786816800000]);
    expect(bybit.parseCandles(body)).toEqual([
      {
        time: 1786816800000,
        open: 63044.4,
        high: 63089.6,
        low: 63000.1,
        close: 63027.8,
        volume: 385.721,
        buyVolume: 0,
        sellVolume: 0,
        delta: 0,
        tradeCount: 0,
      },
      {
        time: 1786820400000,
        open: 63027.8,
        high: 63032.3,
        low: 63027.7,
        close: 63032.3,
        volume: 4.591,
        buyVolume: 0,
        sellVolume: 0,
        delta: 0,
        tradeCount: 0,
      },
    ]);
    const days = bybit.parseCandles(recorded('bybit_v5_kline_linear_BTCUSDT_1d_202109'));
    expect(times(days)).toEqual([1632009600000, 1632096000000, 1632182400000]);
  });

  test('Bitget sends the oldest first and the candles come out ascending', () => {
    const candles = bitget.parseCandles(recorded('bitget_v2_mix_history-candles_BTCUSDT_1m_20250119'));
    expect(times(candles)).toEqual(Array.from({ length: 10 }, (_, index) => 1737292260000 + index * 60_000));
    expect(candles[0]).toMatchObject({
      open: 105191.2,
      high: 105191.2,
      low: 105108.3,
      close: 105149.9,
      volume: 226.934,
    });
  });

  test('a candle without volume is a candle', () => {
    const [candle] = bitget.parseCandles(recorded('bitget_v2_mix_candles_BTCUSDT_1m_kLineType-mark'));
    expect(candle).toMatchObject({ time: 1790785740000, close: 84319.8, volume: 0 });
  });
});

describe('answers that are no candles', () => {
  test('a refusal of Bybit in an answer with status 200 is an error, and retryable only if it may pass', () => {
    const refusal = (retCode, retMsg) => () => bybit.parseCandles({ retCode, retMsg, result: {}, time: 1 });
    expect(refusal(10001, 'Not supported symbols')).toThrow(
      /BYBIT refused: Not supported symbols \(retCode 10001\)/,
    );
    expect(refusal(10001, 'x')).toThrow(expect.objectContaining({ retryable: false, code: 10001 }));
    expect(refusal(10006, 'Too many visits!')).toThrow(expect.objectContaining({ retryable: true }));
  });

  test('a refusal of Bitget in an answer with status 200 is an error, and retryable only if it may pass', () => {
    const refusal = (code, msg) => () => bitget.parseCandles({ code, msg, data: null });
    expect(refusal('40034', 'Parameter does not exist')).toThrow(/BITGET refused: .* \(code 40034\)/);
    expect(refusal('40034', 'x')).toThrow(expect.objectContaining({ retryable: false }));
    expect(refusal('429', 'Too Many Requests')).toThrow(expect.objectContaining({ retryable: true }));
  });

  test('a refusal of Binance handed on with status 200 is an error', () => {
    expect(() => binance.parseCandles({ code: -1121, msg: 'Invalid symbol.' })).toThrow(
      /BINANCE refused: Invalid symbol/,
    );
  });

  test.each([
    ['BINANCE', binance, [[1, '1', '1', '1', 'abc', '1', 2, '1', 1, '1', '1', '0']]],
    ['BYBIT', bybit, { retCode: 0, result: { list: [['1', '1', '1', '1', '', '1', '1']] } }],
    ['BITGET', bitget, { code: '00000', data: [['1', '1', '1', '1', null, '1', '1']] }],
  ])('a candle of %s without a usable price is an error that shows it', (name, exchange, body) => {
    expect(() => exchange.parseCandles(body)).toThrow(
      new RegExp(`${name} sent a candle without a usable close: \\["?1`),
    );
  });

  test.each([
    ['BINANCE', 'null', binance],
    ['BINANCE', '"maintenance"', binance],
    ['BYBIT', '{}', bybit],
    ['BYBIT', '{"retCode":0,"result":{}}', bybit],
    ['BITGET', 'null', bitget],
    ['BITGET', '{"code":"00000","data":{}}', bitget],
  ])('%s: %s as an answer is an error of the exchange', (name, body, exchange) => {
    expect(() => exchange.parseCandles(JSON.parse(body))).toThrow(
      expect.objectContaining({ name: 'ExchangeError' }),
    );
  });
});

describe('requests', () => {
  const page = {
    pair: 'BTCUSDT',
    timeframe: 1440,
    from: 1_700_006_400_000,
    to: 1_700_092_800_000,
    limit: 1000,
  };

  test('each exchange is asked for its futures in its own words', () => {
    expect(query(binance.candlesPath(page))).toEqual({
      symbol: 'BTCUSDT',
      interval: '1d',
      limit: '1000',
      startTime: '1700006400000',
      endTime: '1700092799999',
    });
    expect(query(bybit.candlesPath(page))).toEqual({
      category: 'linear',
      symbol: 'BTCUSDT',
      interval: 'D',
      limit: '1000',
      start: '1700006400000',
      end: '1700092799999',
    });
    expect(query(bitget.candlesPath(page))).toEqual({
      productType: 'usdt-futures',
      symbol: 'BTCUSDT',
      granularity: '1Dutc',
      limit: '1000',
      startTime: '1700006400000',
      endTime: '1700092800000',
    });
  });

  test('a page spans no more than one answer holds, and with Bitget no more than 90 days', () => {
    expect(binance.pageSpanMs(15, 1000)).toBe(1000 * 900_000);
    expect(bybit.pageSpanMs(1440, 1000)).toBe(1000 * 86_400_000);
    expect(bitget.pageSpanMs(15, 1000)).toBe(999 * 900_000);
    for (const timeframe of [15, 60, 240, 1440]) {
      expect(bitget.pageSpanMs(timeframe, 1000)).toBeLessThanOrEqual(90 * 86_400_000);
    }
  });
});

describe('configuration', () => {
  test('the file as it is carried wants the 683,260 candles of seven pairs for two years and three for 90 days', () => {
    const { exchanges, timeframes } = loadConfig({});
    const perDay = timeframes.reduce((sum, minutes) => sum + 1440 / minutes, 0);
    const candles = exchanges.reduce(
      (sum, { symbols, historyDays }) => sum + symbols.length * historyDays * perDay,
      0,
    );
    expect(candles).toBe(683_260);
  });

  test('the environment goes before the file', () => {
    const config = loadConfig({
      SYMBOLS: 'bybit:ethusdt',
      BYBIT_URL: 'http://127.0.0.1:9/',
      HISTORY_DAYS: '3',
      TIMEFRAMES: '60,15',
      SYNC_INTERVAL_MS: '250',
    });
    expect(config.exchanges).toEqual([
      { name: 'BYBIT', url: 'http://127.0.0.1:9', symbols: ['ETHUSDT'], historyDays: 3 },
    ]);
    expect(config.timeframes).toEqual([15, 60]);
    expect(config.syncIntervalMs).toBe(250);
  });

  test.each([
    [{ HISTORY_DAYS: 'two' }, /HISTORY_DAYS is "two"; it must be a whole number from 1 to 3650/],
    [{ PAGE_SIZE: '5000' }, /PAGE_SIZE is "5000"; .* to 1000/],
    [{ TIMEFRAMES: '15,7' }, /TIMEFRAMES is \[15,7\]; it must name some of 15, 60, 240, 1440/],
    [
      { SYMBOLS: 'KRAKEN:BTCUSD' },
      /SYMBOLS holds "KRAKEN:BTCUSD"; expected EXCHANGE:PAIR with one of BINANCE, BYBIT, BITGET/,
    ],
    [{ BINANCE_URL: 'binance' }, /BINANCE_URL is "binance"; it must be an address/],
    [{ CONFIG_PATH: '/no/such/file.json' }, /configuration \/no\/such\/file\.json cannot be used/],
  ])('%p is refused by name', (env, message) => {
    expect(() => loadConfig(env)).toThrow(message);
  });

  test('another file can be named', () => {
    const file = path.join(scratch(), 'mine.json');
    const usual = JSON.parse(fs.readFileSync(path.join(__dirname, '../server/config.json')));
    fs.writeFileSync(file, JSON.stringify({ ...usual, pageSize: 77 }));
    expect(loadConfig({ CONFIG_PATH: file }).pageSize).toBe(77);
  });
});
