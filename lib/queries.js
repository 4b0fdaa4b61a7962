'use strict';

// Reads besides those of one series: the caller's own statements, and lists of all series. The ones in the background
// can be called off: their promise is rejected at once, and what still comes of them is ignored.

const { setTimeout, clearTimeout } = require('node:timers');

const args = require('./arguments');
const { LONGEST_TIMER } = require('./clock');
const { unpack } = require('./candle');
const { CandleStoreError, invalidArgument, native } = require('./errors');
const { ownStatement, rowsAsObjects } = require('./own-statement');

const MOST_ROWS = 2 ** 32 - 1;

class Queries {
  /** `minutes(table)` is the timeframe of a table, or throws. */
  constructor(nativeStore, pending, minutes) {
    this.native = nativeStore;
    this.pending = pending;
    this.minutes = minutes;
  }

  async query(sql, params, options) {
    args.checkObject('options', options);
    args.checkKeys('options', options, ['signal', 'timeoutMs', 'maxRows']);
    const most = checkMaxRows(options.maxRows);
    const statement = ownStatement(sql, params);
    const found = await this.later((id) => this.native.queryLater(statement, most, id), options);
    return rowsAsObjects(found);
  }

  latest(options) {
    const { minutes, readOnly } = this.check(options, ['readOnly']);
    return latestCandles(native(() => this.native.latest(minutes, readOnly)));
  }

  async latestLater(options) {
    const { minutes } = this.check(options, ['signal', 'timeoutMs']);
    return latestCandles(await this.later((id) => this.native.latestLater(minutes, id), options));
  }

  series(options) {
    const { minutes, counts, readOnly } = this.check(options, ['counts', 'readOnly']);
    return listOfSeries(native(() => this.native.series(minutes, counts, readOnly)));
  }

  async seriesLater(options) {
    const { minutes, counts } = this.check(options, ['counts', 'signal', 'timeoutMs']);
    return listOfSeries(await this.later((id) => this.native.seriesLater(minutes, counts, id), options));
  }

  check(options, more) {
    args.checkObject('options', options);
    args.checkKeys('options', options, ['table', ...more]);
    const { table = null, counts = true, readOnly = false } = options;
    return {
      minutes: table === null ? null : this.minutes(table),
      counts: args.checkBoolean('counts', counts),
      readOnly: args.checkBoolean('readOnly', readOnly),
    };
  }

  /** Reads in the background; `start(id)` begins that and gives what calls it off. */
  later(start, options) {
    const timeoutMs = args.checkMilliseconds('timeoutMs', options.timeoutMs);
    const signal = args.checkSignal(options.signal);
    if (signal?.aborted) throw calledOff(signal);
    const id = this.pending.nextId();
    const reading = native(() => start(id));
    const giveUp = (error) => {
      this.pending.reject(id, error);
      native(() => reading.callOff());
    };
    const abort = () => giveUp(calledOff(signal));
    const late = () =>
      giveUp(new CandleStoreError('TIMEOUT', `the read was not done within ${timeoutMs} ms`));
    const timer = Number.isNaN(timeoutMs) ? undefined : setTimeout(late, Math.min(timeoutMs, LONGEST_TIMER));
    const settled = this.pending.wait(id, () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    });
    // Last: a signal of the caller's own making may call at once, or throw.
    try {
      signal?.addEventListener('abort', abort, { once: true });
    } catch (error) {
      giveUp(error);
    }
    return settled;
  }
}

function calledOff(signal) {
  return new CandleStoreError('ABORTED', 'the read was called off by its signal', { cause: signal.reason });
}

function checkMaxRows(value) {
  if (value === undefined || value === null) return undefined;
  if (!Number.isSafeInteger(value) || value < 0) {
    throw invalidArgument(`maxRows must be a whole number from 0 on, got ${args.shown(value)}`);
  }
  return Math.min(value, MOST_ROWS);
}

function latestCandles({ minutes, symbols, candles: { values, count, clusters, odd } }) {
  const candles = unpack(values, count, clusters, odd);
  return candles.map((candle, place) => ({
    table: `candles_${minutes[place]}`,
    symbol: symbols[place],
    candle,
  }));
}

function listOfSeries({ minutes, symbols, first, last, counts }) {
  return symbols.map((symbol, place) => {
    const series = {
      table: `candles_${minutes[place]}`,
      symbol,
      first: first[place],
      last: last[place],
    };
    return Number.isNaN(counts[place]) ? series : { ...series, count: counts[place] };
  });
}

module.exports = { Queries };
