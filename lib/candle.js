'use strict';

// Candles as they cross to and from the native side: packed into rows of eleven doubles, with the footprints beside
// them. This is where a candle is checked; the native side trusts what is packed here.

const { CandleStoreError } = require('./errors');

/** Doubles in a packed row: ten numbers and the mark of the footprint. */
const ROW = 11;
/** 2000-01-01 and 2100-01-01: what is outside cannot be a candle's time in milliseconds. */
const FIRST_TIME = 946684800000;
const LAST_TIME = 4102444800000;

const REQUIRED = ['open', 'high', 'low', 'close', 'volume'];
const OPTIONAL = ['buyVolume', 'sellVolume', 'delta', 'tradeCount'];
/** Names of a candle's fields in the order of a packed row. */
const FIELDS = ['time', ...REQUIRED, ...OPTIONAL, 'clusters'];

/**
 * Packs one candle into a row of `values` that begins at `at`, or throws. Getters and toJSON() of the caller's run
 * here and may come back into the store.
 * Numbers are stored with `+ 0`, which turns -0 into 0, as every path and engine does.
 */
function packCandle(values, at, footprints, candle, index, where) {
  if (typeof candle !== 'object' || candle === null) throw invalidCandle(candle, index, where);
  const { time, open, high, low, close, volume } = candle;
  // x - x is 0 for every finite number and NaN for all else that is a number.
  if (
    !(typeof time === 'number' && time >= FIRST_TIME && time < LAST_TIME && Number.isSafeInteger(time)) ||
    !(typeof open === 'number' && open - open === 0) ||
    !(typeof high === 'number' && high - high === 0) ||
    !(typeof low === 'number' && low - low === 0) ||
    !(typeof close === 'number' && close - close === 0) ||
    !(typeof volume === 'number' && volume - volume === 0)
  ) {
    throw invalidCandle(candle, index, where);
  }
  const buyVolume = candle.buyVolume || 0;
  const sellVolume = candle.sellVolume || 0;
  const delta = candle.delta || 0;
  const tradeCount = candle.tradeCount || 0;
  if (
    !(typeof buyVolume === 'number' && buyVolume - buyVolume === 0) ||
    !(typeof sellVolume === 'number' && sellVolume - sellVolume === 0) ||
    !(typeof delta === 'number' && delta - delta === 0) ||
    !(typeof tradeCount === 'number' && tradeCount - tradeCount === 0)
  ) {
    throw invalidCandle(candle, index, where);
  }
  const { clusters } = candle;
  if (clusters) addFootprint(footprints, clusters, candle, index, where);
  values[at] = time;
  values[at + 1] = open + 0;
  values[at + 2] = high + 0;
  values[at + 3] = low + 0;
  values[at + 4] = close + 0;
  values[at + 5] = volume + 0;
  values[at + 6] = buyVolume + 0;
  values[at + 7] = sellVolume + 0;
  values[at + 8] = delta + 0;
  values[at + 9] = tradeCount + 0;
  values[at + 10] = clusters ? 1 : 0;
}

function addFootprint(footprints, clusters, candle, index, where) {
  let added = false;
  if (typeof clusters === 'object') {
    try {
      added = footprints.add(clusters);
    } catch (cause) {
      throw invalidCandle(candle, index, where, cause);
    }
  }
  if (!added) throw invalidCandle(candle, index, where);
}

/** The error for a candle that cannot be stored: which one, which field and why. */
function invalidCandle(candle, index, { table, symbol }, cause) {
  const [field, complained] = complaint(candle, cause);
  const reason = field ? `${field} ${complained}` : complained;
  const message = `candle ${index} of ${symbol} for ${table} was refused, and its whole batch with it: ${reason}`;
  return new CandleStoreError('INVALID_CANDLE', message, {
    table,
    symbol,
    index,
    field,
    reason,
    written: 'no',
    cause,
  });
}

function complaint(candle, cause) {
  if (typeof candle !== 'object' || candle === null)
    return [undefined, `it must be an object, got ${show(candle)}`];
  const { time } = candle;
  if (typeof time !== 'number' || !Number.isSafeInteger(time)) {
    return ['time', `must be a whole number of milliseconds since 1970 (UTC), got ${show(time)}`];
  }
  if (!(time >= FIRST_TIME && time < LAST_TIME)) {
    const seconds = time * 1000 >= FIRST_TIME && time * 1000 < LAST_TIME;
    const micros = time / 1000 >= FIRST_TIME && time / 1000 < LAST_TIME;
    const hint = seconds
      ? '; it looks like seconds, multiply by 1000'
      : micros
        ? '; it looks like microseconds'
        : '';
    return ['time', `must be milliseconds between the years 2000 and 2100, got ${time}${hint}`];
  }
  for (const field of REQUIRED) {
    if (!Number.isFinite(candle[field]))
      return [field, `must be a finite number, got ${show(candle[field])}`];
  }
  for (const field of OPTIONAL) {
    if (candle[field] && !Number.isFinite(candle[field])) {
      return [field, `must be a finite number or absent, got ${show(candle[field])}`];
    }
  }
  const why = cause ? ` that JSON can hold (${cause.message})` : '';
  return ['clusters', `must be an object${why} or absent, got ${show(candle.clusters)}`];
}

function show(value) {
  if (typeof value === 'string')
    return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return String(value);
}

/**
 * A plain object, as of a literal. V8 remembers of a literal whether its objects once lived long, and then makes all later
 * ones in the old part of its heap, which is several times slower for those that do not; of a constructor it does not.
 */
function PlainCandle(values, at, clusters) {
  this.time = values[at];
  this.open = values[at + 1];
  this.high = values[at + 2];
  this.low = values[at + 3];
  this.close = values[at + 4];
  this.volume = values[at + 5];
  this.buyVolume = values[at + 6];
  this.sellVolume = values[at + 7];
  this.delta = values[at + 8];
  this.tradeCount = values[at + 9];
  this.clusters = clusters;
}
PlainCandle.prototype = Object.prototype;

/**
 * Builds candles from packed rows, all of one shape.
 * @param {Float64Array} values packed rows; the mark of each is the length of its footprint's text or -1
 * @param {number} count rows
 * @param {string} clusters the footprints' texts one after the other
 * @param {{row: number, column: number, value: unknown}[]} odd cells that hold something else than a number
 */
function unpack(values, count, clusters, odd) {
  const candles = new Array(count);
  let start = 0;
  for (let row = 0, at = 0; row < count; row++, at += ROW) {
    const length = values[at + 10];
    const footprint = length > 0 ? parseFootprint(clusters.slice(start, (start += length))) : {};
    candles[row] = new PlainCandle(values, at, footprint);
  }
  for (const { row, column, value } of odd) {
    if (column < ROW - 1) candles[row][FIELDS[column]] = value;
  }
  return candles;
}

/**
 * Columns from one array of them, the last of which tells how long each footprint's text is.
 * @param {{values: Float64Array, count: number, clusters: string}} packed
 * @param {boolean} withClusters
 */
function unpackColumns({ values, count, clusters }, withClusters) {
  const columns = {};
  for (let place = 0; place < ROW - 1; place++) {
    columns[FIELDS[place]] = values.subarray(place * count, (place + 1) * count);
  }
  if (withClusters) {
    const lengths = values.subarray((ROW - 1) * count);
    let start = 0;
    columns.clusters = Array.from(lengths, (length) =>
      length > 0 ? parseFootprint(clusters.slice(start, (start += length))) : {},
    );
  }
  return columns;
}

/** The stored footprint; text of another program that is no JSON object reads as none. */
function parseFootprint(text) {
  try {
    const clusters = JSON.parse(text);
    return typeof clusters === 'object' && clusters !== null ? clusters : {};
  } catch {
    return {};
  }
}

module.exports = { FIELDS, ROW, packCandle, unpack, unpackColumns };
