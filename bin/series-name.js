'use strict';

// Which series a file of candles holds, told from its name:
//   BTCUSDT-15m-2024-01.csv       as Binance publishes them, by month or by day
//   BYBIT_ETHUSDT_15m.csv.gz      exchange, pair and timeframe
// Only names are looked at, never files.

const path = require('node:path');

const MINUTES = { m: 1, h: 60, d: 1440, w: 10080 };
const PUBLISHED = /^(?<pair>[^-].*)-(?<tf>\d+[a-z]+)-\d{4}-\d{2}(?:-\d{2})?$/i;
const EXPORTED = /^(?<exchange>[a-z0-9]+)_(?<pair>.+)_(?<tf>\d+[a-z]+)$/i;

/** { symbol, minutes } of a file name; either is null where the name does not tell. */
function seriesOf(file) {
  const name = path.basename(file).replace(/(\.csv)?(\.gz)?$/i, '');
  const found = (name.match(PUBLISHED) ?? name.match(EXPORTED))?.groups;
  if (!found) return { symbol: null, minutes: null };
  const exchange = found.exchange ?? 'BINANCE';
  return { symbol: `${exchange}:${found.pair}`.toUpperCase(), minutes: minutesOf(found.tf) };
}

/** Minutes of `15m`, `4h`, `1d`, `1w`; null for what is no whole number of minutes, such as `1s` or a month. */
function minutesOf(timeframe) {
  const [, count, unit] = timeframe.match(/^(\d+)([a-zA-Z]+)$/) ?? [];
  return MINUTES[unit] && Number(count) > 0 ? Number(count) * MINUTES[unit] : null;
}

/** Minutes of a table given by the user, as `candles_15` or `15`; null for anything else. */
function minutesOfTable(table) {
  const [, minutes] = table.match(/^(?:candles_)?([1-9]\d{0,6})$/) ?? [];
  return minutes ? Number(minutes) : null;
}

module.exports = { seriesOf, minutesOfTable };
