'use strict';

// What a client may ask for, checked: which series (exchange, pair, timeframe), how many candles, before when.
// Used by the routes and by the live feed, so that both take and refuse the same words.

const { TIMEFRAMES } = require('./config');

const MOST_CANDLES = 5000;
const USUAL_CANDLES = 500;

/** What the client sent cannot be answered; the message tells the client why. */
class BadRequest extends Error {
  constructor(message) {
    super(message);
    this.name = 'BadRequest';
  }
}

/** What the client sent, short enough to be quoted in an answer. */
function quoted(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function word(value, name, pattern, example) {
  if (typeof value !== 'string' || !pattern.test(value)) {
    throw new BadRequest(`${name} is ${quoted(value)}; expected something like ${example}.`);
  }
  return value.toUpperCase();
}

function whole(value, name, least, most) {
  const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value;
  if (!Number.isSafeInteger(number) || number < least || number > most) {
    throw new BadRequest(`${name} is ${quoted(value)}; expected a whole number from ${least} to ${most}.`);
  }
  return number;
}

/**
 * The series that `{ symbol, exchange, tf }` names: symbol in any case, alone or as EXCHANGE:PAIR; exchange BINANCE
 * unless given; tf in minutes, 15 unless given.
 */
function seriesFrom({ symbol, exchange, tf }) {
  if (symbol === undefined) throw new BadRequest('symbol is missing; expected something like BTCUSDT.');
  const [prefix, rest] =
    typeof symbol === 'string' && symbol.includes(':') ? symbol.split(/:(.*)/s) : [undefined, symbol];
  const pair = word(rest, 'symbol', /^[a-z0-9._-]{1,64}$/i, 'BTCUSDT or BINANCE:BTCUSDT');
  const name = word(prefix ?? exchange ?? 'BINANCE', 'exchange', /^[a-z0-9_-]{1,32}$/i, 'BINANCE');
  if (prefix !== undefined && exchange != null && name !== String(exchange).toUpperCase()) {
    throw new BadRequest(
      `symbol says exchange ${name} and exchange says ${quoted(exchange)}; name one of them.`,
    );
  }
  const timeframe = tf === undefined ? TIMEFRAMES[0] : typeof tf === 'string' && tf !== '' ? Number(tf) : tf;
  if (!TIMEFRAMES.includes(timeframe)) {
    throw new BadRequest(`tf is ${quoted(tf)}; expected one of ${TIMEFRAMES.join(', ')} (minutes).`);
  }
  return {
    exchange: name,
    symbol: pair,
    tf: timeframe,
    table: `candles_${timeframe}`,
    stored: `${name}:${pair}`,
  };
}

const limitFrom = (value) => (value === undefined ? USUAL_CANDLES : whole(value, 'limit', 1, MOST_CANDLES));

/** Milliseconds; null where no bound is given. */
const beforeFrom = (value) =>
  value === undefined || value === '' ? null : whole(value, 'before', 0, Number.MAX_SAFE_INTEGER) || null;

/** The newest `limit` candles before `before`, and whether there are older ones, as JSON in bytes that may be kept. */
function pageJson(db, { table, stored }, limit, before) {
  return db.getCandlesJson(table, stored, {
    limit,
    before,
    readOnly: true,
    prefix: '{"candles":',
    suffix: restOfPage,
  });
}

/** What stands behind the candles. One function for all: bytes that are kept are told by it. */
function restOfPage({ symbol: stored, oldestTime, hasMore }) {
  const [exchange, symbol] = stored.split(':');
  return `,${JSON.stringify({ exchange, symbol, oldestTime, hasMore }).slice(1)}`;
}

/** The same, not as JSON but as an object. */
function page(db, { table, stored, exchange, symbol }, limit, before) {
  // One more than asked for: its presence says that there is more.
  const candles = db.getCandles(table, stored, limit + 1, before, true);
  const hasMore = candles.length > limit;
  if (hasMore) candles.shift();
  return { candles, exchange, symbol, oldestTime: candles.length > 0 ? candles[0].time : null, hasMore };
}

module.exports = { BadRequest, seriesFrom, limitFrom, beforeFrom, page, pageJson, quoted };
