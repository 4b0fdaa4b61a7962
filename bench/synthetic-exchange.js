'use strict';

// A SYNTHETIC exchange for large runs: every candle is computed, none was ever traded. A candle is a pure function of
// exchange, symbol, timeframe and time, so any process can make it, and check it, without the others.
// Started as a program it answers the REST requests of the three exchanges on loopback:
//   node bench/synthetic-exchange.js [port]

const http = require('node:http');

const MINUTE = 60_000;
const WAVES = [
  { days: 97, size: 0.3 },
  { days: 11, size: 0.08 },
  { days: 1.3, size: 0.02 },
  { days: 0.11, size: 0.005 },
];

/** A candle as the store takes it. `levels` > 0 adds a footprint of so many price levels. */
function candle(exchange, symbol, minutes, time, levels = 0) {
  const seed = hash(`${exchange}:${symbol}`);
  const random = generator(seed ^ Math.imul(minutes, 0x9e3779b1) ^ Math.imul(time / MINUTE, 0x85ebca6b));
  const open = price(seed, time);
  const close = price(seed, time + minutes * MINUTE);
  const reach = open * 0.002 * Math.sqrt(minutes / 15);
  const high = cents(Math.max(open, close) + random() * reach);
  const low = cents(Math.max(0.01, Math.min(open, close) - random() * reach));
  const volume = thousandths(random() * 40 * minutes);
  const buyVolume = thousandths(volume * (0.3 + 0.4 * random()));
  const sellVolume = thousandths(volume - buyVolume);
  const delta = thousandths(buyVolume - sellVolume);
  const tradeCount = Math.floor(random() * 900 * minutes);
  const made = { time, open, high, low, close, volume, buyVolume, sellVolume, delta, tradeCount };
  if (levels > 0) made.clusters = footprint(random, low, high, volume, levels);
  return made;
}

function footprint(random, low, high, volume, levels) {
  const clusters = {};
  const step = Math.max(0.01, (high - low) / levels);
  for (let level = 0; level < levels; level += 1) {
    clusters[(low + level * step).toFixed(2)] = {
      bid: thousandths((random() * volume) / levels),
      ask: thousandths((random() * volume) / levels),
    };
  }
  return clusters;
}

/** The price at a moment, the same for every timeframe, so that candles of all of them agree at their ends. */
function price(seed, time) {
  const base = 10 + (seed % 60_000);
  let factor = 1;
  WAVES.forEach(({ days, size }, index) => {
    factor += size * Math.sin((2 * Math.PI * time) / (days * 1440 * MINUTE) + ((seed >>> (index * 5)) % 31));
  });
  return cents(base * factor);
}

const cents = (value) => Math.round(value * 100) / 100;
const thousandths = (value) => Math.round(value * 1000) / 1000;

/** FNV-1a. */
function hash(text) {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193);
  return state >>> 0;
}

/** mulberry32: numbers in [0, 1) that follow from the seed alone. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Candles of [from, to), at most `limit` of them, oldest first. */
function page(exchange, symbol, minutes, from, to, limit) {
  const step = minutes * MINUTE;
  const candles = [];
  for (let time = Math.ceil(from / step) * step; time < to && candles.length < limit; time += step)
    candles.push(candle(exchange, symbol, minutes, time));
  return candles;
}

const UNITS = { m: 1, h: 60, H: 60, d: 1440, D: 1440 };

/** Minutes of every spelling the three use: 15m, 1h, 4H, 1Dutc, and Bybit's bare 15, 240 and D. */
function minutesOf(interval) {
  const [found, count, unit] = interval?.match(/^(\d*)([mhHdD]?)(?:utc)?$/) ?? [];
  if (!found) throw new Error(`no interval ${interval}`);
  return (Number(count) || 1) * (UNITS[unit] ?? 1);
}

const line = ({ time, open, high, low, close, volume }) => [
  String(time),
  ...[open, high, low, close, volume].map(String),
];

const ROUTES = {
  '/fapi/v1/time': () => ({ serverTime: Date.now() }),
  '/v5/market/time': () => ({ retCode: 0, retMsg: 'OK', result: {}, time: Date.now() }),
  '/api/v2/public/time': () => ({
    code: '00000',
    msg: 'success',
    requestTime: Date.now(),
    data: { serverTime: String(Date.now()) },
  }),
  '/fapi/v1/klines': (query) => {
    const minutes = minutesOf(query.get('interval'));
    return range('BINANCE', query, minutes, 'startTime', 'endTime', 500).map((made) => [
      made.time,
      ...line(made).slice(1),
      made.time + minutes * MINUTE - 1,
      String(cents(made.volume * made.close)),
      made.tradeCount,
      String(made.buyVolume),
      String(cents(made.buyVolume * made.close)),
      '0',
    ]);
  },
  '/v5/market/kline': (query) => ({
    retCode: 0,
    retMsg: 'OK',
    result: {
      symbol: query.get('symbol'),
      category: 'linear',
      list: range('BYBIT', query, minutesOf(query.get('interval')), 'start', 'end', 200)
        .map((made) => [...line(made), String(cents(made.volume * made.close))])
        .reverse(),
    },
    retExtInfo: {},
    time: Date.now(),
  }),
  '/api/v2/mix/market/candles': (query) => ({
    code: '00000',
    msg: 'success',
    requestTime: Date.now(),
    data: range('BITGET', query, minutesOf(query.get('granularity')), 'startTime', 'endTime', 100).map(
      (made) => [...line(made), String(cents(made.volume * made.close))],
    ),
  }),
};

/** What a request asks for: from its start, or the newest before its end. */
function range(exchange, query, minutes, startName, endName, usual) {
  const limit = Math.min(Number(query.get('limit')) || usual, 1000);
  const end = Math.min(Number(query.get(endName)) || Infinity, Date.now());
  const start = Number(query.get(startName)) || end - limit * minutes * MINUTE;
  return page(exchange, query.get('symbol'), minutes, start, end + 1, limit);
}

/** Answers on loopback; resolves to the server once it listens. */
function listen(port = 0) {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost');
    const answer = (status, body) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const route = ROUTES[url.pathname];
    if (!route) return answer(404, { error: `no route ${url.pathname}` });
    try {
      return answer(200, route(url.searchParams));
    } catch (error) {
      return answer(400, { error: error.message });
    }
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

module.exports = { candle, page, listen };

if (require.main === module) {
  listen(Number(process.argv[2]) || 0).then((server) => {
    process.stdout.write(`synthetic exchange on http://127.0.0.1:${server.address().port}\n`);
  });
}
