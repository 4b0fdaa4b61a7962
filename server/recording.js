'use strict';

// Recorded candles as an exchange would show them at a given moment: those closed by then, and the open one as it stood.
//
// A timeframe that was not recorded is put together from the next finer one. The open candle is the sum of the finer
// recorded candles that are closed by then (minutes, where minutes were recorded); where there are none yet, all that
// is known is its opening price. No price here was ever computed.
// What is in the files and whence: recorded/README.md.

const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');

const MINUTE = 60_000;
const STEPS = { '1m': 1, '5m': 5, '15m': 15, '1h': 60, '4h': 240, '1d': 1440 };

/** Sums of decimals without the dust of binary fractions. */
const clean = (number) => Number(number.toFixed(8));

function readRows(file) {
  const lines = zlib.gunzipSync(fs.readFileSync(file)).toString('latin1').trimEnd().split('\n').slice(1);
  return lines.map((line) => {
    const [time, open, high, low, close, volume, trades, buy] = line.split(',');
    return {
      time: Number(time),
      open: Number(open),
      high: Number(high),
      low: Number(low),
      close: Number(close),
      volume: Number(volume),
      // Where the recording does not say who bought, half of the volume stands for "unknown": a delta of 0.
      trades: Number(trades || 0),
      buyVolume: buy ? Number(buy) : clean(Number(volume) / 2),
    };
  });
}

/** One candle out of those that follow each other in it. */
function merge(parts, time) {
  return {
    time,
    open: parts[0].open,
    high: Math.max(...parts.map((part) => part.high)),
    low: Math.min(...parts.map((part) => part.low)),
    close: parts.at(-1).close,
    volume: clean(parts.reduce((sum, part) => sum + part.volume, 0)),
    trades: parts.reduce((sum, part) => sum + part.trades, 0),
    buyVolume: clean(parts.reduce((sum, part) => sum + part.buyVolume, 0)),
  };
}

/** Whole bars of `step` minutes out of the bars of `finer` minutes; a bar with a part missing is left out. */
function rollUp(rows, finer, step) {
  const bars = [];
  let parts = [];
  let time = null;
  for (const row of rows) {
    const barTime = row.time - (row.time % (step * MINUTE));
    if (barTime !== time) {
      parts = [];
      time = barTime;
    }
    parts.push(row);
    if (parts.length === step / finer) bars.push(merge(parts, time));
  }
  return bars;
}

class Series {
  /** minutes -> { rows ascending, byTime } of whole candles */
  #whole = new Map();

  constructor(recorded) {
    const finest = Math.min(...recorded.keys());
    for (const step of Object.values(STEPS).filter((minutes) => minutes >= finest)) {
      const byTime = new Map();
      for (const finer of [...this.#whole.keys()].filter((minutes) => step % minutes === 0)) {
        for (const bar of rollUp(this.#whole.get(finer).rows, finer, step)) byTime.set(bar.time, bar);
      }
      for (const row of recorded.get(step) ?? []) byTime.set(row.time, row); // what was recorded goes first
      if (byTime.size === 0) continue;
      const rows = [...byTime.values()].sort((a, b) => a.time - b.time);
      this.#whole.set(step, { rows, byTime });
    }
  }

  /** The time at which its last whole 15-minute candle closes. */
  get end() {
    return this.#whole.get(15).rows.at(-1).time + 15 * MINUTE;
  }

  /** Candles of `step` minutes with from <= time < to as they stood at `now`, ascending. */
  candles(step, now, from = 0, to = Infinity) {
    const rows = this.#whole.get(step)?.rows ?? [];
    const closed = rows.filter((row) => row.time >= from && row.time < to && row.time + step * MINUTE <= now);
    const open = this.#openCandle(step, now);
    if (open && open.time >= from && open.time < to) closed.push(open);
    return closed;
  }

  #openCandle(step, now) {
    const time = now - (now % (step * MINUTE));
    const parts = [];
    let at = time;
    for (const finer of [...this.#whole.keys()].filter((minutes) => minutes < step).reverse()) {
      for (;;) {
        const part = this.#whole.get(finer).byTime.get(at);
        if (!part || at + finer * MINUTE > now) break;
        parts.push(part);
        at += finer * MINUTE;
      }
    }
    if (parts.length > 0) return merge(parts, time);
    const first = [...this.#whole.values()].map(({ byTime }) => byTime.get(time)).find(Boolean);
    if (!first) return null;
    const { open } = first;
    return { time, open, high: open, low: open, close: open, volume: 0, trades: 0, buyVolume: 0 };
  }
}

/** `EXCHANGE:PAIR` -> Series, out of a folder of files named EXCHANGE_PAIR_TIMEFRAME.csv.gz. */
function readRecording(folder = path.join(__dirname, 'recorded')) {
  const files = new Map();
  for (const name of fs.readdirSync(folder)) {
    const [, exchange, pair, timeframe] = name.match(/^([A-Z]+)_([A-Z0-9-]+)_(\w+)\.csv\.gz$/) ?? [];
    if (!(timeframe in STEPS)) continue;
    const symbol = `${exchange}:${pair}`;
    if (!files.has(symbol)) files.set(symbol, new Map());
    files.get(symbol).set(STEPS[timeframe], readRows(path.join(folder, name)));
  }
  if (files.size === 0) throw new Error(`There are no recorded candles (*.csv.gz) in ${folder}.`);
  return new Map([...files].map(([symbol, recorded]) => [symbol, new Series(recorded)]));
}

module.exports = { readRecording };
