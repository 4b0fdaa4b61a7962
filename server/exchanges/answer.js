'use strict';

// What the three exchanges' parsers share: the error for an answer that is no answer, and the shape of a candle.
// Not here: how a request is sent and repeated (http.js) and what any one exchange's answer looks like.

/** An exchange answered, and the answer is a refusal or makes no sense. */
class ExchangeError extends Error {
  constructor(message, { code = null, retryable = false } = {}) {
    super(message);
    this.name = 'ExchangeError';
    this.code = code;
    this.retryable = retryable;
  }
}

function finite(value, exchange, field, row) {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number)) {
    throw new ExchangeError(
      `${exchange} sent a candle without a usable ${field}: ${JSON.stringify(row).slice(0, 200)}`,
    );
  }
  return number;
}

/** One candle out of a row `[time, open, high, low, close, volume, ...]`, the order all three exchanges use. */
function candleFromRow(row, exchange) {
  if (!Array.isArray(row)) {
    throw new ExchangeError(
      `${exchange} sent ${JSON.stringify(row)?.slice(0, 200)} where a candle was expected.`,
    );
  }
  const [time, open, high, low, close, volume] = row;
  return {
    time: finite(time, exchange, 'time', row),
    open: finite(open, exchange, 'open', row),
    high: finite(high, exchange, 'high', row),
    low: finite(low, exchange, 'low', row),
    close: finite(close, exchange, 'close', row),
    volume: finite(volume, exchange, 'volume', row),
    buyVolume: 0,
    sellVolume: 0,
    delta: 0,
    tradeCount: 0,
  };
}

const ascending = (candles) => candles.sort((a, b) => a.time - b.time);

module.exports = { ExchangeError, candleFromRow, finite, ascending };
