'use strict';

// What the collector of the kill test fills, far more than it is given time for. An odd number of series, so that each
// is written in both ways.

const FROM = Date.UTC(2005, 0, 1);

module.exports = {
  TABLE: 'candles_15',
  MINUTES: 15,
  END: Date.UTC(2025, 0, 1),
  SERIES: ['BTCUSDT', 'ETHUSDT', 'SOLUSDT'].map((pair) => ({ exchange: 'BINANCE', pair, from: FROM })),
};
