'use strict';

// What the backfill of the contract holds: seven pairs over 730 days and three Bitget pairs over 90, in four
// timeframes, 127 candles a day: 683,260 candles. Computed, so that the process which checks the file can make every
// candle again by itself.

const { page } = require('../synthetic-exchange.js');

const END = Date.UTC(2026, 0, 1);
const DAY = 86_400_000;
const TIMEFRAMES = [15, 60, 240, 1440];
const PAGE_ROWS = 1000;
const PAIRS = [
  ...['BTCUSDT', 'ETHUSDT', 'SOLUSDT', 'BNBUSDT'].map((pair) => ({ exchange: 'BINANCE', pair, days: 730 })),
  ...['BTCUSDT', 'ETHUSDT', 'SOLUSDT'].map((pair) => ({ exchange: 'BYBIT', pair, days: 730 })),
  ...['BTCUSDT', 'ETHUSDT', 'SOLUSDT'].map((pair) => ({ exchange: 'BITGET', pair, days: 90 })),
];

/** Every series, with `share` (0 to 1) of its days, the newest. */
function seriesOf(share = 1) {
  return PAIRS.flatMap(({ exchange, pair, days }) =>
    TIMEFRAMES.map((minutes) => ({
      exchange,
      pair,
      minutes,
      table: `candles_${minutes}`,
      symbol: `${exchange}:${pair}`,
      from: END - Math.max(1, Math.round(days * share)) * DAY,
      to: END,
    })),
  );
}

function* pagesOf({ exchange, pair, minutes, from, to }) {
  const step = PAGE_ROWS * minutes * 60_000;
  for (let start = from; start < to; start += step)
    yield page(exchange, pair, minutes, start, Math.min(to, start + step), PAGE_ROWS);
}

module.exports = { seriesOf, pagesOf };
