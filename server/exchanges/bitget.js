'use strict';

// Bitget v2 USDT futures, /api/v2/mix/market/candles: oldest first, the last candle may be open. A refusal comes as a
// code other than "00000". One request may span 90 days at most. Its day begins at 16:00 UTC unless the granularity
// ends in "utc".

const { ExchangeError, ascending, candleFromRow, finite } = require('./answer');

const GRANULARITIES = { 15: '15m', 60: '1H', 240: '4H', 1440: '1Dutc' };
// Too many requests, request timed out, system error, service error.
const RETRYABLE = new Set(['429', '30007', '40010', '40015', '40725', '45001']);
const LONGEST_SPAN_MS = 90 * 86_400_000;

function candlesPath({ pair, timeframe, from, to, limit }) {
  const query = new URLSearchParams({
    symbol: pair,
    productType: 'usdt-futures',
    granularity: GRANULARITIES[timeframe],
    limit,
  });
  if (from != null) query.set('startTime', from);
  if (to != null) query.set('endTime', to);
  return `/api/v2/mix/market/candles?${query}`;
}

function data(body) {
  if (typeof body?.code !== 'string') throw new ExchangeError('BITGET answered without a code.');
  if (body.code !== '00000') {
    throw new ExchangeError(`BITGET refused: ${body.msg} (code ${body.code})`, {
      code: body.code,
      retryable: RETRYABLE.has(body.code),
    });
  }
  return body.data;
}

function parseCandles(body) {
  const list = data(body);
  if (!Array.isArray(list)) throw new ExchangeError('BITGET did not answer with a list of candles.');
  return ascending(list.map((row) => candleFromRow(row, 'BITGET')));
}

function parseTime(body) {
  return finite(data(body)?.serverTime, 'BITGET', 'server time', body);
}

module.exports = {
  name: 'BITGET',
  timePath: '/api/v2/public/time',
  parseTime,
  candlesPath,
  parseCandles,
  /** How much time one page may span: one candle less than the limit, so that it fits whether endTime counts or not. */
  pageSpanMs: (timeframe, pageSize) =>
    Math.min((pageSize - 1) * timeframe * 60_000, LONGEST_SPAN_MS - timeframe * 60_000),
};
