'use strict';

// The exchange of the demonstration: Binance's, Bybit's and Bitget's candle interfaces on loopback, answered out of
// recorded candles. Each exchange has a clock of its own that begins part-way in the recording and runs fast, so that
// there is history to fetch and then a new candle every few seconds. At the end of the recording the clock stands still.
// Bitget's interface is fed with what Bybit recorded: no candles of Bitget's were at hand.
//
// Limits, order and the meaning of start and end are those of the real interfaces; that is the point of it.

const express = require('express');
const { readRecording } = require('./recording');

const MINUTE = 60_000;
const BINANCE_INTERVALS = { '15m': 15, '1h': 60, '4h': 240, '1d': 1440 };
const BYBIT_INTERVALS = { 15: 15, 60: 60, 240: 240, D: 1440 };
const BITGET_GRANULARITIES = { '15m': 15, '1H': 60, '4H': 240, '1Dutc': 1440 };

/** Whose recording answers for an exchange, and where its clock begins when it has not run before. */
const SOURCES = {
  BINANCE: { recordedAs: 'BINANCE', begins: Date.UTC(2026, 0, 20) },
  BYBIT: { recordedAs: 'BYBIT', begins: Date.UTC(2025, 5, 20) },
  BITGET: { recordedAs: 'BYBIT', begins: Date.UTC(2025, 5, 20) },
};

/** Market time: `speed` times as fast as ours, from `begins`, never beyond `ends`. */
class Clock {
  #begins;
  #ends;
  #speed;
  #started = performance.now();

  constructor(begins, ends, speed) {
    this.#begins = Math.min(begins, ends);
    this.#ends = ends;
    this.#speed = speed;
  }

  now() {
    const passed = Math.floor((performance.now() - this.#started) * this.#speed);
    return Math.min(this.#begins + passed, this.#ends);
  }

  get ended() {
    return this.now() >= this.#ends;
  }
}

/** A whole number out of the query; `absent` if it is not given, NaN if it is not one. */
function whole(value, absent) {
  if (value === undefined) return absent;
  return /^\d+$/.test(value) ? Number(value) : NaN;
}

function binance(app, { clock, series }) {
  app.get('/fapi/v1/time', (req, res) => res.json({ serverTime: clock.now() }));
  app.get('/fapi/v1/klines', (req, res) => {
    const refuse = (code, msg) => res.status(400).json({ code, msg });
    const candlesOf = series(req.query.symbol);
    if (!candlesOf) return refuse(-1121, 'Invalid symbol.');
    const step = BINANCE_INTERVALS[req.query.interval];
    if (!step) return refuse(-1120, 'Invalid interval.');
    const start = whole(req.query.startTime, null);
    const end = whole(req.query.endTime, null);
    const limit = Math.min(whole(req.query.limit, 500), 1500);
    if (!(limit >= 1) || Number.isNaN(start) || Number.isNaN(end)) return refuse(-1130, 'Invalid data sent.');

    const found = candlesOf.candles(step, clock.now(), start ?? 0, end === null ? Infinity : end + 1);
    const given = start === null ? found.slice(-limit) : found.slice(0, limit);
    return res.json(
      given.map((candle) => [
        candle.time,
        String(candle.open),
        String(candle.high),
        String(candle.low),
        String(candle.close),
        String(candle.volume),
        candle.time + step * MINUTE - 1,
        '0', // quote volume: not part of the excerpt
        candle.trades,
        String(candle.buyVolume),
        '0',
        '0',
      ]),
    );
  });
}

function bybit(app, { clock, series }) {
  app.get('/v5/market/time', (req, res) => {
    const now = clock.now();
    const result = { timeSecond: String(Math.floor(now / 1000)), timeNano: `${now}000000` };
    res.json({ retCode: 0, retMsg: 'OK', result, retExtInfo: {}, time: now });
  });
  app.get('/v5/market/kline', (req, res) => {
    const answer = (retCode, retMsg, result) =>
      res.json({ retCode, retMsg, result, retExtInfo: {}, time: clock.now() });
    const { symbol, interval, category = 'linear' } = req.query;
    const candlesOf = series(symbol);
    const step = BYBIT_INTERVALS[interval];
    const start = whole(req.query.start, 0);
    const end = whole(req.query.end, Infinity);
    const limit = Math.min(whole(req.query.limit, 200), 1000);
    if (category !== 'linear') return answer(10001, 'Category is invalid', {});
    if (!candlesOf) return answer(10001, 'Not supported symbols', {});
    if (!step) return answer(10001, 'Invalid period!', {});
    if (!(limit >= 1) || Number.isNaN(start) || Number.isNaN(end))
      return answer(10001, 'Request parameter error.', {});

    const found = candlesOf.candles(step, clock.now(), start, end + 1);
    // With a start alone the first ones from there, else the newest up to the end; newest first in either case.
    const given =
      req.query.start !== undefined && req.query.end === undefined
        ? found.slice(0, limit)
        : found.slice(-limit);
    const list = given
      .reverse()
      .map(({ time, open, high, low, close, volume }) =>
        [time, open, high, low, close, volume, 0].map(String),
      );
    return answer(0, 'OK', { symbol, category, list });
  });
}

function bitget(app, { clock, series }) {
  const answer = (res, code, msg, data) => res.json({ code, msg, requestTime: clock.now(), data });
  app.get('/api/v2/public/time', (req, res) =>
    answer(res, '00000', 'success', { serverTime: String(clock.now()) }),
  );
  app.get('/api/v2/mix/market/candles', (req, res) => {
    const refuse = (code, msg) => answer(res.status(400), code, msg, null);
    const { symbol, productType, granularity } = req.query;
    const candlesOf = series(symbol);
    const step = BITGET_GRANULARITIES[granularity];
    const start = whole(req.query.startTime, 0);
    const end = whole(req.query.endTime, Infinity);
    const limit = Math.min(whole(req.query.limit, 100), 1000);
    if (String(productType).toLowerCase() !== 'usdt-futures')
      return refuse('40020', 'Parameter productType error');
    if (!candlesOf) return refuse('40034', `Parameter ${symbol} does not exist`);
    if (!step) return refuse('400171', 'Parameter verification failed granularity');
    if (!(limit >= 1) || Number.isNaN(start) || Number.isNaN(end))
      return refuse('40020', 'Parameter limit error');
    if (start > 0 && end - start > 90 * 1440 * MINUTE && end !== Infinity) {
      return refuse('00001', 'startTime and endTime interval cannot be greater than 90 days');
    }

    const found = candlesOf.candles(step, clock.now(), start, end).slice(-limit);
    const list = found.map(({ time, open, high, low, close, volume }) =>
      [time, open, high, low, close, volume, 0].map(String),
    );
    return answer(res, '00000', 'success', list);
  });
}

/**
 * Starts it on loopback; resolves to `{ url, clocks, close }`.
 * `speed` is how many times faster than ours its clocks run, `begins` where they begin, by exchange.
 */
async function startExchange({ port = 0, speed = 180, begins = {} } = {}) {
  const recording = readRecording();
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);

  const clocks = {};
  for (const [name, serve] of Object.entries({ BINANCE: binance, BYBIT: bybit, BITGET: bitget })) {
    const { recordedAs, begins: usual } = SOURCES[name];
    const own = [...recording].filter(([symbol]) => symbol.startsWith(`${recordedAs}:`));
    const ends = Math.min(...own.map(([, { end }]) => end));
    clocks[name] = new Clock(Math.max(usual, begins[name] ?? 0), ends, speed);
    const series = (pair) => (typeof pair === 'string' ? recording.get(`${recordedAs}:${pair}`) : undefined);
    serve(app, { clock: clocks[name], series });
  }
  app.use((req, res) =>
    res.status(404).json({ code: 404, msg: `${req.path} is not part of the recorded exchange.` }),
  );

  const server = await new Promise((resolve, reject) => {
    const listening = app.listen(port, '127.0.0.1', (error) => (error ? reject(error) : resolve(listening)));
  });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    clocks,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

module.exports = { startExchange, SOURCES };
