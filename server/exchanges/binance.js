'use strict';

// Binance USD-M futures, /fapi/v1/klines: oldest first, the last candle may be open. The only one of the three that
// says how much of the volume takers bought and how many trades there were.

const { ExchangeError, ascending, candleFromRow, finite } = require('./answer');

const INTERVALS = { 15: '15m', 60: '1h', 240: '4h', 1440: '1d' };

function candlesPath({ pair, timeframe, from, to, limit }) {
  const query = new URLSearchParams({ symbol: pair, interval: INTERVALS[timeframe], limit });
  if (from != null) query.set('startTime', from);
  if (to != null) query.set('endTime', to - 1); // inclusive here, exclusive in our words
  return `/fapi/v1/klines?${query}`;
}

/** Refusals normally come with a 4xx status, which http.js reports; a proxy may hand on the body with a 200. */
function refuse(body) {
  if (body && typeof body.code === 'number') {
    throw new ExchangeError(`BINANCE refused: ${body.msg} (code ${body.code})`, {
      code: body.code,
      retryable: body.code === -1003 || body.code === -1001, // too many requests; disconnected
    });
  }
}

function parseCandles(body) {
  refuse(body);
  if (!Array.isArray(body)) throw new ExchangeError('BINANCE did not answer with a list of candles.');
  return ascending(
    body.map((row) => {
      const candle = candleFromRow(row, 'BINANCE');
      candle.tradeCount = finite(row[8], 'BINANCE', 'trade count', row);
      candle.buyVolume = finite(row[9], 'BINANCE', 'taker buy volume', row);
      candle.sellVolume = candle.volume - candle.buyVolume;
      candle.delta = candle.buyVolume - candle.sellVolume;
      return candle;
    }),
  );
}

function parseTime(body) {
  refuse(body);
  return finite(body?.serverTime, 'BINANCE', 'server time', body);
}

module.exports = {
  name: 'BINANCE',
  timePath: '/fapi/v1/time',
  parseTime,
  candlesPath,
  parseCandles,
  /** How much time one page may span. */
  pageSpanMs: (timeframe, pageSize) => pageSize * timeframe * 60_000,
};
