'use strict';

// Reads candles from CSV and CSV.gz files as Binance publishes them: twelve columns, with or without a header, open
// times in milliseconds or (since 2025) microseconds; and from any file whose header names the columns it needs.
// It turns text into numbers and says what is no number. Whether the numbers make a candle is the store's decision.

const fs = require('node:fs');
const { Transform } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const zlib = require('node:zlib');
const { parse } = require('csv-parse');

const REQUIRED = ['time', 'open', 'high', 'low', 'close', 'volume'];
const NAMES = {
  time: ['open_time', 'open_time_ms', 'time', 'timestamp'],
  open: ['open'],
  high: ['high'],
  low: ['low'],
  close: ['close'],
  volume: ['volume'],
  tradeCount: ['count', 'trade_count', 'trades', 'number_of_trades'],
  buyVolume: ['taker_buy_volume', 'taker_buy_base_volume', 'taker_buy_base_asset_volume'],
};
const WITHOUT_HEADER = {
  columns: { time: 0, open: 1, high: 2, low: 3, close: 4, volume: 5, tradeCount: 8, buyVolume: 9 },
  width: 12,
};
const NUMBER = /^-?\d+(\.\d*)?(e[+-]?\d+)?$/i;
// No millisecond time before the year 5138 is as large, and no microsecond time after March 1973 is smaller.
const FIRST_MICROSECONDS = 1e14;
const LONGEST_LINE_BYTES = 64 * 1024;

/** A file that cannot be read as candles at all. */
class UnreadableFile extends Error {}

/**
 * Yields { line, candle } or { line, reason } for every line but a header and empty ones.
 * `onBytes` is told how much of the file has been read.
 */
async function* readKlines(file, { signal, onBytes = () => {} } = {}) {
  const records = open(file, signal, onBytes);
  let layout = null;
  try {
    for await (const { record, info } of records) {
      if (layout === null) {
        layout = layoutOf(record) ?? WITHOUT_HEADER;
        if (layout !== WITHOUT_HEADER) continue;
      }
      yield { line: info.lines, ...candleOf(record, layout) };
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof UnreadableFile) throw error;
    throw new UnreadableFile(error.message, { cause: error });
  }
}

function open(file, signal, onBytes) {
  const meter = new Transform({
    transform(chunk, _encoding, done) {
      onBytes(chunk.length);
      done(null, chunk);
    },
  });
  // No quotes: the files have none, and a stray one must not swallow the lines behind it.
  const parser = parse({
    bom: true,
    info: true,
    max_record_size: LONGEST_LINE_BYTES,
    quote: null,
    record_delimiter: ['\r\n', '\n'],
    relax_column_count: true,
    skip_empty_lines: true,
    trim: true,
  });
  const stages = [fs.createReadStream(file), meter];
  if (/\.gz$/i.test(file)) stages.push(zlib.createGunzip());
  // An error of any stage ends the parser with it, and whoever reads the parser is told.
  pipeline(...stages, parser, { signal }).catch(() => {});
  return parser;
}

/** The layout that a header describes; null if the line is none. */
function layoutOf(record) {
  const header = record.map((cell) => cell.toLowerCase().replace(/[^a-z]+/g, '_'));
  const columns = {};
  for (const [field, names] of Object.entries(NAMES)) {
    const column = header.findIndex((name) => names.includes(name));
    if (column >= 0) columns[field] = column;
  }
  if (Object.keys(columns).length === 0) return null;
  const absent = REQUIRED.filter((field) => !(field in columns));
  if (absent.length > 0)
    throw new UnreadableFile(
      `its header names no column for ${absent.join(', ')}: ${record.join(',').slice(0, 200)}`,
    );
  return { columns, width: record.length };
}

function candleOf(record, { columns, width }) {
  if (record.length !== width) return { reason: `${record.length} columns where ${width} are expected` };
  const candle = {};
  for (const field of REQUIRED) {
    const text = record[columns[field]];
    if (!NUMBER.test(text)) return { reason: `${field} is not a number: ${quoted(text)}` };
    candle[field] = Number(text);
  }
  if (candle.time >= FIRST_MICROSECONDS) candle.time /= 1000;
  for (const field of ['tradeCount', 'buyVolume']) {
    const text = record[columns[field]] || null;
    if (text !== null && !NUMBER.test(text)) return { reason: `${field} is not a number: ${quoted(text)}` };
    if (text !== null) candle[field] = Number(text);
  }
  if (candle.buyVolume !== undefined) {
    candle.sellVolume = candle.volume - candle.buyVolume;
    candle.delta = candle.buyVolume - candle.sellVolume;
  }
  return { candle };
}

function quoted(text) {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}

module.exports = { readKlines, UnreadableFile };
