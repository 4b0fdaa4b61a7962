'use strict';

// What the collector collects and how politely: config.json beside this file, overridden by the environment.
// Where the database is (DB_PATH) is db.js's to say, where the API listens (PORT, HOST) is api.js's.
//
//   CONFIG_PATH                          another file instead of config.json
//   BINANCE_URL, BYBIT_URL, BITGET_URL   base address of an exchange
//   SYMBOLS                              e.g. BINANCE:BTCUSDT,BYBIT:ETHUSDT; replaces all symbols
//   TIMEFRAMES                           minutes, e.g. 15,60; out of 15, 60, 240, 1440
//   HISTORY_DAYS                         how far back the backfill goes, for every exchange
//   PAGE_SIZE                            candles a request of the backfill (10 to 1000)
//   SYNC_INTERVAL_MS                     how often the newest candles are asked for
//   COURTESY_DELAY_MS                    least time between two requests to one exchange
//   REQUEST_TIMEOUT_MS                   how long one request may take
//   RETRY_ATTEMPTS                       tries of one request before it counts as failed
//   RETRY_REST_MS                        rest after a failed request before its series is tried again

const fs = require('node:fs');
const path = require('node:path');

/** Timeframes in minutes that the database has tables for. */
const TIMEFRAMES = [15, 60, 240, 1440];

function wholeNumber(value, name, least, most) {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (!Number.isSafeInteger(number) || number < least || number > most) {
    throw new Error(
      `${name} is ${JSON.stringify(value)}; it must be a whole number from ${least} to ${most}.`,
    );
  }
  return number;
}

function baseAddress(value, name) {
  let url;
  try {
    url = new URL(value);
  } catch {
    throw new Error(
      `${name} is ${JSON.stringify(value)}; it must be an address such as https://example.org.`,
    );
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new Error(`${name} is ${JSON.stringify(value)}; it must begin with http:// or https://.`);
  }
  return value.replace(/\/+$/, '');
}

function timeframeList(values, name) {
  const list = Array.isArray(values) ? values : [];
  const wrong = list.find((value) => !TIMEFRAMES.includes(value));
  if (list.length === 0 || wrong !== undefined) {
    throw new Error(
      `${name} is ${JSON.stringify(values)}; it must name some of ${TIMEFRAMES.join(', ')} (minutes).`,
    );
  }
  return [...new Set(list)].sort((a, b) => a - b);
}

/** `BINANCE:BTCUSDT,...` as a map from exchange to pairs. */
function symbolsByExchange(text, known) {
  const wanted = new Map();
  for (const entry of text.split(',').map((part) => part.trim().toUpperCase())) {
    if (entry === '') continue;
    const [, exchange, pair] = entry.match(/^([A-Z]+):([A-Z0-9._-]+)$/) ?? [];
    if (!known.includes(exchange)) {
      throw new Error(
        `SYMBOLS holds ${JSON.stringify(entry)}; expected EXCHANGE:PAIR with one of ${known.join(', ')}.`,
      );
    }
    if (!wanted.has(exchange)) wanted.set(exchange, new Set());
    wanted.get(exchange).add(pair);
  }
  if (wanted.size === 0)
    throw new Error('SYMBOLS names no symbol; expected e.g. BINANCE:BTCUSDT,BYBIT:ETHUSDT.');
  return wanted;
}

function readFile(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`The configuration ${file} cannot be used: ${error.message}`, { cause: error });
  }
}

/** The configuration in force. Throws an error that names the setting and what it may be. */
function loadConfig(env = process.env) {
  const file = readFile(env.CONFIG_PATH || path.join(__dirname, 'config.json'));
  const number = (variable, value, name, least, most) =>
    env[variable] ? wholeNumber(env[variable], variable, least, most) : wholeNumber(value, name, least, most);

  const named = Object.entries(file.exchanges ?? {});
  const wanted =
    env.SYMBOLS &&
    symbolsByExchange(
      env.SYMBOLS,
      named.map(([name]) => name),
    );
  const exchanges = named.map(([name, given]) => ({
    name,
    url: baseAddress(
      env[`${name}_URL`] || given.url,
      env[`${name}_URL`] ? `${name}_URL` : `exchanges.${name}.url`,
    ),
    symbols: wanted ? [...(wanted.get(name) ?? [])] : given.symbols.map((symbol) => symbol.toUpperCase()),
    historyDays: number('HISTORY_DAYS', given.historyDays, `exchanges.${name}.historyDays`, 1, 3650),
  }));

  const timeframes = env.TIMEFRAMES ? env.TIMEFRAMES.split(',').map(Number) : file.timeframes;
  const retry = file.retry ?? {};
  return {
    exchanges: exchanges.filter((exchange) => exchange.symbols.length > 0),
    timeframes: timeframeList(timeframes, env.TIMEFRAMES ? 'TIMEFRAMES' : 'timeframes'),
    pageSize: number('PAGE_SIZE', file.pageSize, 'pageSize', 10, 1000),
    syncIntervalMs: number('SYNC_INTERVAL_MS', file.syncIntervalMs, 'syncIntervalMs', 50, 3_600_000),
    courtesyDelayMs: number('COURTESY_DELAY_MS', file.courtesyDelayMs, 'courtesyDelayMs', 0, 60_000),
    requestTimeoutMs: number('REQUEST_TIMEOUT_MS', file.requestTimeoutMs, 'requestTimeoutMs', 100, 300_000),
    retry: {
      attempts: number('RETRY_ATTEMPTS', retry.attempts, 'retry.attempts', 1, 100),
      firstDelayMs: wholeNumber(retry.firstDelayMs, 'retry.firstDelayMs', 1, 60_000),
      longestDelayMs: wholeNumber(retry.longestDelayMs, 'retry.longestDelayMs', 1, 600_000),
      longestRetryAfterMs: wholeNumber(retry.longestRetryAfterMs, 'retry.longestRetryAfterMs', 0, 3_600_000),
      restMs: number('RETRY_REST_MS', retry.restMs, 'retry.restMs', 1, 3_600_000),
    },
  };
}

module.exports = { loadConfig, TIMEFRAMES };
