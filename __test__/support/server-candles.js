'use strict';

// Candles for the tests of the server: out of the recording that the demonstration replays, so they are real ones.

const { readRecording } = require('../../server/recording.js');

let recording = null;

/** The first `count` recorded 15-minute candles of Binance BTCUSDT, as the store gives them back. */
function recordedCandles(count, symbol = 'BINANCE:BTCUSDT', minutes = 15) {
  recording ??= readRecording();
  return recording.get(symbol).candles(minutes, Infinity).slice(0, count).map(asStored);
}

/** A recorded row as the collector stores what Binance's interface makes of it. */
function asStored({ time, open, high, low, close, volume, buyVolume, trades }) {
  const sellVolume = volume - buyVolume;
  const delta = buyVolume - sellVolume;
  return {
    time,
    open,
    high,
    low,
    close,
    volume,
    buyVolume,
    sellVolume,
    delta,
    tradeCount: trades,
    clusters: {},
  };
}

module.exports = { recordedCandles, asStored };
