'use strict';

// `candlestore import`: files of candles into a store, through the write queue at the priority of a backfill, so that
// whoever writes live candles into the same file meanwhile goes first.

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { SingleBar } = require('cli-progress');
const { openStore, CandleStoreError } = require('../index.js');
const { readKlines, UnreadableFile } = require('./kline-csv.js');
const { seriesOf, minutesOfTable } = require('./series-name.js');

const HELP = `Usage: candlestore import <file...> --db <path> [options]

Stores candles from CSV and CSV.gz files as Binance publishes them (twelve columns, with or without a header, times in
milliseconds or microseconds), or with a header that names open_time_ms, open, high, low, close, volume and, if known,
trade_count and taker_buy_volume. Candles that are already there are replaced.

Table and symbol are told from the file name where it looks like BTCUSDT-15m-2024-01.csv (stored as BINANCE:BTCUSDT) or
BYBIT_ETHUSDT_15m.csv.gz.

  --db <path>         database file, made if missing (default: the environment variable DB_PATH)
  --table <table>     candles_15, or 15: the timeframe in minutes
  --symbol <symbol>   BINANCE:BTCUSDT
  --strict            stop at the first line that is no candle; nothing after it is written
  --batch <rows>      candles in one transaction, 1 to 5000 (default: 5000)
  --quiet             print nothing but errors and rejected lines
  --help

Exit code: 0 every line is stored; 1 the import failed or stopped; 2 wrong usage;
3 done, but some lines were rejected; 130 interrupted.
`;
const EXIT = { done: 0, failed: 1, usage: 2, rejected: 3, interrupted: 130 };
const STORE_TIMEFRAMES = [15, 60, 240, 1440];
const LARGEST_BATCH = 5000;
const OUTSTANDING_BATCHES = 4;
const SHOWN_REJECTIONS = 20;

class UsageError extends Error {}

async function run(argv) {
  let job;
  try {
    job = jobOf(argv);
  } catch (error) {
    if (!(error instanceof UsageError) && !String(error.code).startsWith('ERR_PARSE_ARGS')) throw error;
    process.stderr.write(`${error.message}\nTry: candlestore import --help\n`);
    return EXIT.usage;
  }
  if (job.help) {
    process.stdout.write(HELP);
    return EXIT.done;
  }
  return importFiles(job);
}

/** What is to be done, checked before anything is opened. */
function jobOf(argv) {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      db: { type: 'string', default: process.env.DB_PATH },
      table: { type: 'string' },
      symbol: { type: 'string' },
      batch: { type: 'string', default: String(LARGEST_BATCH) },
      strict: { type: 'boolean', default: false },
      quiet: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return { help: true };
  if (positionals.length === 0) throw new UsageError('No file is given.');
  if (!values.db) throw new UsageError('No database is given: use --db or set DB_PATH.');
  const batch = Number(values.batch);
  if (!Number.isInteger(batch) || batch < 1 || batch > LARGEST_BATCH)
    throw new UsageError(`--batch must be a whole number from 1 to ${LARGEST_BATCH}, not ${values.batch}.`);
  const given = values.table === undefined ? null : minutesOfTable(values.table);
  if (values.table !== undefined && given === null)
    throw new UsageError(`--table must look like candles_15 or 15, not ${values.table}.`);
  const files = positionals.map((file) => {
    const named = seriesOf(file);
    const symbol = values.symbol ?? named.symbol;
    const minutes = given ?? named.minutes;
    if (!symbol || !minutes)
      throw new UsageError(
        `The name of ${file} does not tell its ${symbol ? 'timeframe' : 'symbol'}: use ${symbol ? '--table' : '--symbol'}.`,
      );
    return { file, symbol, table: `candles_${minutes}`, minutes };
  });
  return { ...values, batch, files };
}

async function importFiles(job) {
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort();
  // Once: whoever presses Ctrl-C again does not want to wait.
  process.once('SIGINT', onInterrupt);
  let store = null;
  let rejected = 0;
  try {
    const timeframes = new Set([...STORE_TIMEFRAMES, ...job.files.map(({ minutes }) => minutes)]);
    store = openStore(job.db, { timeframes: [...timeframes] });
    for (const series of job.files) {
      const tally = new Tally();
      try {
        await importFile(store, series, job, tally, interrupt.signal);
      } finally {
        report(series, tally, job.quiet);
        rejected += tally.rejected;
      }
    }
    return rejected > 0 ? EXIT.rejected : EXIT.done;
  } catch (error) {
    if (interrupt.signal.aborted) {
      process.stderr.write('Interrupted: what is counted above is stored, the rest of the file is not.\n');
      return EXIT.interrupted;
    }
    const expected =
      error instanceof StrictStop || error instanceof UnreadableFile || error instanceof CandleStoreError;
    if (!expected) throw error;
    process.stderr.write(`${error.code ? `${error.code}: ` : ''}${error.message}\n`);
    return EXIT.failed;
  } finally {
    process.removeListener('SIGINT', onInterrupt);
    await store?.close();
  }
}

/** A line that is no candle, with --strict. */
class StrictStop extends Error {}

/** What became of the lines of one file. */
class Tally {
  rows = 0;
  inserted = 0;
  updated = 0;
  unchanged = 0;
  coalesced = 0;
  rejected = 0;
  rejections = [];

  stored(result) {
    for (const key of ['inserted', 'updated', 'unchanged', 'coalesced']) this[key] += result[key];
  }

  reject(line, reason) {
    this.rejected += 1;
    if (this.rejections.length < SHOWN_REJECTIONS) this.rejections.push({ line, reason });
  }
}

async function importFile(store, series, job, tally, signal) {
  const bar = progressBar(series, job, tally);
  // With --strict the next batch may only be handed over when the one before is known to be good.
  const window = job.strict ? 1 : OUTSTANDING_BATCHES;
  const outstanding = new Set();
  let failure = null;
  const handOver = async (batch) => {
    const writing = storeBatch(store, series, batch, job, tally, signal)
      .catch((error) => (failure ??= error))
      .finally(() => outstanding.delete(writing));
    outstanding.add(writing);
    if (outstanding.size >= window) await Promise.race(outstanding);
    if (failure) throw failure;
  };
  let batch = [];
  try {
    for await (const { line, candle, reason } of readKlines(series.file, { signal, onBytes: bar.advance })) {
      tally.rows += 1;
      if (reason) {
        tally.reject(line, reason);
        if (job.strict) {
          await handOver(batch);
          batch = [];
          throw new StrictStop(`${series.file}: stopped at line ${line}: ${reason}`);
        }
        continue;
      }
      batch.push({ line, candle });
      if (batch.length < job.batch) continue;
      await handOver(batch);
      batch = [];
    }
    await handOver(batch);
  } catch (error) {
    throw error instanceof UnreadableFile
      ? new UnreadableFile(`${series.file} cannot be read: ${error.message}`, { cause: error })
      : error;
  } finally {
    await Promise.all(outstanding);
    bar.stop();
  }
  if (failure) throw failure;
}

/** Writes a batch; a candle that the store refuses is taken out of it, with the store's own reason. */
async function storeBatch(store, { table, symbol }, batch, { strict }, tally, signal) {
  let rows = batch;
  while (rows.length > 0) {
    const candles = rows.map(({ candle }) => candle);
    try {
      tally.stored(await store.enqueueCandles(table, symbol, candles, { priority: 'backfill', signal }));
      return;
    } catch (error) {
      if (error.code !== 'INVALID_CANDLE' || !Number.isInteger(error.index)) throw error;
      const { line } = rows[error.index];
      tally.reject(line, error.reason);
      if (strict) {
        await storeBatch(store, { table, symbol }, rows.slice(0, error.index), { strict }, tally, signal);
        throw new StrictStop(`stopped at line ${line}: ${error.reason}`, { cause: error });
      }
      rows = rows.toSpliced(error.index, 1);
    }
  }
}

function progressBar({ file, symbol, table }, { quiet }, tally) {
  const size = fs.existsSync(file) ? fs.statSync(file).size : 0;
  if (quiet || !process.stderr.isTTY || size === 0) return { advance: () => {}, stop: () => {} };
  const bar = new SingleBar({
    format: `${symbol} ${table} {bar} {percentage}% | {rows} rows`,
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
  });
  bar.start(size, 0, { rows: 0 });
  return {
    advance: (bytes) => bar.increment(bytes, { rows: tally.rows }),
    stop: () => bar.stop(),
  };
}

function report({ file, symbol, table }, tally, quiet) {
  const counts = ['inserted', 'updated', 'unchanged', 'coalesced', 'rejected']
    .filter((key) => key !== 'coalesced' || tally.coalesced > 0)
    .map((key) => `${tally[key]} ${key}`);
  if (!quiet)
    process.stdout.write(
      `${path.basename(file)} -> ${table} ${symbol}: ${tally.rows} rows, ${counts.join(', ')}\n`,
    );
  for (const { line, reason } of tally.rejections.sort((a, b) => a.line - b.line))
    process.stderr.write(`${path.basename(file)}: line ${line}: ${reason}\n`);
  const more = tally.rejected - tally.rejections.length;
  if (more > 0) process.stderr.write(`${path.basename(file)}: and ${more} more lines rejected\n`);
}

module.exports = { run };
