'use strict';

// Bybit v5 linear perpetuals, /v5/market/kline: newest first, the first row may be open. A refusal comes as a retCode
// in an answer with status 200. More candles in [start, end] than the limit: the newest are given, so a page must
// not span more than it may hold.

const { ExchangeError, ascending, candleFromRow, finite } = require('./answer');

const INTERVALS = { 15: '15', 60: '60', 240: '240', 1440: 'D' };
// Server time-out, too many visits, internal error, too many requests of this address.
const RETRYABLE = new Set([10000, 10006, 10016, 10018]);

function candlesPath({ pair, timeframe, from, to, limit }) {
  const query = new URLSearchParams({
    category: 'linear',
    symbol: pair,
    interval: INTERVALS[timeframe],
    limit,
  });
  if (from != null) query.set('start', from);
  if (to != null) query.set('end', to - 1); // inclusive here, exclusive in our words
  return `/v5/market/kline?${query}`;
}

function result(body) {
  if (typeof body?.retCode !== 'number') throw new ExchangeError('BYBIT answered without a retCode.');
  if (body.retCode !== 0) {
    throw new ExchangeError(`BYBIT refused: ${body.retMsg} (retCode ${body.retCode})`, {
      code: body.retCode,
      retryable: RETRYABLE.has(body.retCode),
    });
  }
  return body.result;
}

function parseCandles(body) {
  const list = result(body)?.list;
  if (!Array.isArray(list)) throw new ExchangeError('BYBIT did not answer with a list of candles.');
  return ascending(list.map((row) => candleFromRow(row, 'BYBIT')));
}

function parseTime(body) {
  result(body);
  return finite(body.time, 'BYBIT', 'server time', body);
}

module.exports = {
  name: 'BYBIT',
  timePath: '/v5/market/time',
  parseTime,
  candlesPath,
  parseCandles,
  /** How much time one page may span. */
  pageSpanMs: (timeframe, pageSize) => pageSize * timeframe * 60_000,
};
