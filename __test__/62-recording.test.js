'use strict';

const { readRecording } = require('../server/recording');
const { startExchange } = require('../server/exchange');
const binance = require('../server/exchanges/binance');
const bybit = require('../server/exchanges/bybit');
const bitget = require('../server/exchanges/bitget');

const MINUTE = 60_000;
const recording = readRecording();
const btc = recording.get('BINANCE:BTCUSDT');
const sum = (rows, field) => rows.reduce((total, row) => total + row[field], 0);

describe('recorded candles', () => {
  test('every series is ascending, without a gap in 15 minutes, and has its low below its high', () => {
    for (const series of recording.values()) {
      const rows = series.candles(15, Infinity);
      expect(rows.length).toBeGreaterThan(2000);
      rows.slice(1).forEach((row, index) => expect(row.time - rows[index].time).toBe(15 * MINUTE));
      expect(
        rows.every(
          ({ open, high, low, close }) => low <= Math.min(open, close) && high >= Math.max(open, close),
        ),
      ).toBe(true);
    }
  });

  test('four-hour candles put together from quarters agree with the recorded ones', () => {
    const from = Date.UTC(2025, 11, 6);
    const whole = btc.candles(240, Infinity, from);
    const quarters = btc.candles(15, Infinity, from);
    expect(whole.length).toBeGreaterThan(300);
    whole.forEach((bar, index) => {
      const parts = quarters.slice(index * 16, index * 16 + 16);
      expect(bar.open).toBe(parts[0].open);
      expect(bar.close).toBe(parts.at(-1).close);
      expect(bar.high).toBe(Math.max(...parts.map(({ high }) => high)));
      expect(bar.volume).toBeCloseTo(sum(parts, 'volume'), 6);
    });
  });

  test('the open candle is made of the minutes that are closed, and of nothing that is still to come', () => {
    const time = Date.UTC(2026, 0, 21, 12);
    const now = time + 7.5 * MINUTE;
    const open = btc.candles(15, now).at(-1);
    const minutes = btc.candles(1, Infinity, time, time + 7 * MINUTE);
    expect(minutes).toHaveLength(7);
    expect(open).toMatchObject({ time, open: minutes[0].open, close: minutes[6].close });
    expect(open.volume).toBeCloseTo(sum(minutes, 'volume'), 8);
    expect(open.high).toBe(Math.max(...minutes.map(({ high }) => high)));
  });

  test('where no minutes were recorded the open candle stands at its opening price', () => {
    const time = Date.UTC(2026, 0, 21, 12);
    const series = recording.get('BINANCE:ETHUSDT');
    const { open } = series.candles(15, Infinity, time, time + 1)[0];
    expect(series.candles(15, time + 10 * MINUTE).at(-1)).toMatchObject({
      time,
      open,
      high: open,
      low: open,
      close: open,
      volume: 0,
    });
  });
});

describe('the exchange on loopback', () => {
  let exchange;
  const ask = async (path, parse) => parse(await (await fetch(exchange.url + path)).json());

  beforeAll(async () => {
    exchange = await startExchange({ speed: 0.001 }); // as good as standing still
  });
  afterAll(() => exchange.close());

  test.each([
    ['BINANCE', binance],
    ['BYBIT', bybit],
    ['BITGET', bitget],
  ])(
    '%s: time, newest candles and a page are as the parsers know them',
    async (name, { timePath, parseTime, candlesPath, parseCandles }) => {
      const now = await ask(timePath, parseTime);
      expect(Math.abs(now - exchange.clocks[name].now())).toBeLessThan(MINUTE);
      for (const timeframe of [15, 60, 240, 1440]) {
        const step = timeframe * MINUTE;
        const newest = await ask(candlesPath({ pair: 'BTCUSDT', timeframe, limit: 3 }), parseCandles);
        const open = now - (now % step);
        expect(newest.map(({ time }) => time)).toEqual([open - 2 * step, open - step, open]);

        const from = open - 20 * step;
        const page = await ask(
          candlesPath({ pair: 'BTCUSDT', timeframe, from, to: from + 5 * step, limit: 1000 }),
          parseCandles,
        );
        expect(page.map(({ time }) => time)).toEqual([0, 1, 2, 3, 4].map((index) => from + index * step));
      }
    },
  );

  test('when more candles fit than are allowed, Binance gives the first and the others the last', async () => {
    const to = exchange.clocks.BINANCE.now();
    const range = (name) => ({
      pair: 'BTCUSDT',
      timeframe: 15,
      from: exchange.clocks[name].now() - 1440 * MINUTE,
      to,
      limit: 10,
    });
    const first = await ask(binance.candlesPath(range('BINANCE')), binance.parseCandles);
    expect(first[0].time - range('BINANCE').from).toBeLessThan(15 * MINUTE);
    const bybitNow = exchange.clocks.BYBIT.now();
    const last = await ask(bybit.candlesPath({ ...range('BYBIT'), to: bybitNow + 1 }), bybit.parseCandles);
    expect(bybitNow - last.at(-1).time).toBeLessThan(15 * MINUTE);
    expect(last).toHaveLength(10);
  });

  test('an answer holds no more than the real exchange gives', async () => {
    const rows = async (path, list) => list(await (await fetch(exchange.url + path)).json()).length;
    expect(await rows('/fapi/v1/klines?symbol=BTCUSDT&interval=15m&limit=9999', (body) => body)).toBe(1500);
    expect(
      await rows('/v5/market/kline?symbol=BTCUSDT&interval=15&limit=9999', (body) => body.result.list),
    ).toBe(1000);
    const bitgetPath =
      '/api/v2/mix/market/candles?symbol=BTCUSDT&productType=usdt-futures&granularity=15m&limit=9999';
    expect(await rows(bitgetPath, (body) => body.data)).toBe(1000);
  });

  test.each([
    ['BINANCE', binance],
    ['BYBIT', bybit],
    ['BITGET', bitget],
  ])('%s refuses a symbol it does not know in its own words', async (name, { candlesPath, parseCandles }) => {
    const path = candlesPath({ pair: 'NOSUCHPAIR', timeframe: 15, limit: 3 });
    await expect(ask(path, parseCandles)).rejects.toThrow(`${name} refused`);
  });
});
