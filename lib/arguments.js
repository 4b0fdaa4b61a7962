'use strict';

// Checks the arguments that most calls share: table, symbol, times, limits, options of a queued write.

const { CandleStoreError, invalidArgument } = require('./errors');

const MOST_SYMBOL_CHARACTERS = 128;
const MOST_LIMIT = 1_000_000;
/** Key of the job's number in the options of a queued write: no name that a caller could give. */
const JOB = Symbol('job');
const PRIORITIES = ['live', 'backfill', 'maintenance'];

/** Symbols already checked: collectors and servers use the same few over and over. */
const symbols = new Map();

/** The symbol as it is stored: upper-case. */
function checkSymbol(symbol) {
  const known = symbols.get(symbol);
  if (known !== undefined) return known;
  if (typeof symbol !== 'string' || symbol.length === 0) {
    throw invalidArgument(
      `symbol must be a non-empty string such as 'BINANCE:BTCUSDT', got ${shown(symbol)}`,
    );
  }
  const stored = symbol.length > MOST_SYMBOL_CHARACTERS ? symbol : symbol.toUpperCase();
  if (stored.length > MOST_SYMBOL_CHARACTERS) {
    throw invalidArgument(
      `symbol must have at most ${MOST_SYMBOL_CHARACTERS} characters, got ${symbol.length}`,
    );
  }
  if (symbol.includes('\0') || !symbol.isWellFormed()) {
    throw invalidArgument('symbol must be text without NUL characters and unpaired surrogates');
  }
  if (symbols.size >= 10_000) symbols.clear();
  symbols.set(symbol, stored);
  return stored;
}

function shown(value) {
  if (typeof value === 'string' && value.length > 64) return `${JSON.stringify(value.slice(0, 64))}...`;
  return typeof value === 'string'
    ? JSON.stringify(value)
    : typeof value === 'object'
      ? 'an object'
      : String(value);
}

/** A bound of a range of times; every falsy one means none, which is NaN to the native side. */
function checkBound(name, bound) {
  if (!bound) return NaN;
  if (typeof bound !== 'number') {
    throw invalidArgument(`${name} must be a time in milliseconds or null, got ${shown(bound)}`);
  }
  return bound;
}

function checkLimit(limit) {
  if (typeof limit !== 'number' || !(limit >= 0) || (limit !== Math.floor(limit) && limit < MOST_LIMIT)) {
    throw invalidArgument(
      `limit must be a whole number of candles from 0 to ${MOST_LIMIT}, got ${shown(limit)}`,
    );
  }
  return Math.min(limit, MOST_LIMIT);
}

/** Series to be read in one call: `{ table, symbol }` and what one of them wants otherwise than the rest. */
function checkSeries(series) {
  if (!Array.isArray(series)) {
    throw invalidArgument(`series must be an array of { table, symbol }, got ${shown(series)}`);
  }
  series.forEach((one) => checkObject('a series', one));
  series.forEach((one) => checkKeys('series', one, ['table', 'symbol', 'limit', 'before', 'after']));
  return series;
}

function checkBoolean(name, value) {
  if (typeof value !== 'boolean') throw invalidArgument(`${name} must be true or false, got ${shown(value)}`);
  return value;
}

function checkObject(name, value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidArgument(
      `${name} must be an object, got ${Array.isArray(value) ? 'an array' : shown(value)}`,
    );
  }
  return value;
}

/** Milliseconds from 0 on; absent is NaN to the native side. */
function checkMilliseconds(name, value) {
  if (value === undefined || value === null) return NaN;
  if (typeof value !== 'number' || !(value >= 0)) {
    throw invalidArgument(`${name} must be a number of milliseconds from 0 on, got ${shown(value)}`);
  }
  return value;
}

function checkSignal(signal) {
  if (signal === undefined || signal === null) return undefined;
  if (typeof signal !== 'object' || typeof signal.addEventListener !== 'function') {
    throw invalidArgument(`signal must be an AbortSignal, got ${shown(signal)}`);
  }
  return signal;
}

function checkKeys(name, given, known, error = invalidArgument) {
  for (const key of Object.keys(given)) {
    if (!known.includes(key)) throw error(`there is no ${name}.${key}; known are ${known.join(', ')}`);
  }
}

/** Options of one queued write: `{ priority, signal, timeoutMs }`. */
function checkWriteOptions(options, more = []) {
  checkObject('options', options);
  checkKeys('options', options, ['priority', 'signal', 'timeoutMs', ...more]);
  const priority = PRIORITIES.indexOf(options.priority ?? 'live');
  if (priority < 0) {
    throw invalidArgument(`priority must be ${PRIORITIES.join(', ')}, got ${shown(options.priority)}`);
  }
  return {
    priority,
    job: options[JOB] ?? 0,
    signal: checkSignal(options.signal),
    timeoutMs: checkMilliseconds('timeoutMs', options.timeoutMs),
  };
}

function aborted(signal, written) {
  return new CandleStoreError('ABORTED', 'the call was withdrawn by its signal before it began', {
    cause: signal.reason,
    ...(written ? { written } : {}),
  });
}

module.exports = {
  JOB,
  MOST_LIMIT,
  PRIORITIES,
  aborted,
  checkBoolean,
  checkBound,
  checkKeys,
  checkLimit,
  checkMilliseconds,
  checkObject,
  checkSeries,
  checkSignal,
  checkSymbol,
  checkWriteOptions,
  shown,
};
