'use strict';

// `npm run bench`: candlestore beside the code it replaces, at the same durability. Both run in turns in one process,
// each on files of its own; every round measures both, and the order changes from round to round, so that whatever
// else the machine does meets both. Shown are medians, and the spread from the lowest round to the highest.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { candle } = require('./synthetic-exchange.js');
const { SIDES, settingsOf } = require('./sides.js');

const TABLE = 'candles_15';
const STEP = 15 * 60_000;
const START = Date.UTC(2024, 0, 1);
const SYMBOLS = ['BTC', 'ETH', 'SOL', 'BNB', 'XRP', 'DOGE', 'ADA', 'LINK', 'LTC', 'FIL'].map(
  (coin) => `BINANCE:${coin}USDT`,
);
const BATCH_ROWS = 1000;

/** Batches of candles of every symbol in turn, as a backfill sends them. */
function batchesOf(rowsPerSymbol, levels = 0) {
  const batches = [];
  for (let first = 0; first < rowsPerSymbol; first += BATCH_ROWS)
    for (const symbol of SYMBOLS) {
      const [exchange, pair] = symbol.split(':');
      const rows = Math.min(BATCH_ROWS, rowsPerSymbol - first);
      const candles = Array.from({ length: rows }, (_, index) =>
        candle(exchange, pair, 15, START + (first + index) * STEP, levels),
      );
      batches.push({ symbol, candles });
    }
  return batches;
}

function changed(batches) {
  return batches.map(({ symbol, candles }) => ({
    symbol,
    candles: candles.map((made) => ({ ...made, close: made.close + 0.01, volume: made.volume + 1 })),
  }));
}

const plain = batchesOf(10_000);
const plainChanged = changed(plain);
const withLevels = batchesOf(1000, 30);
const singles = plain.filter(({ symbol }) => symbol === SYMBOLS[0]).flatMap(({ candles }) => candles);

function writeAll(store, batches) {
  for (const { symbol, candles } of batches) store.upsertCandles(TABLE, symbol, candles);
}

/** The line of the contract's collector. */
function collectorLine(store) {
  return store.db.transaction((table, symbol, candles) => {
    for (const made of candles) store.upsertCandle(table, symbol, made);
  });
}

function writeThrough(transaction, batches) {
  for (const { symbol, candles } of batches) transaction(TABLE, symbol, candles);
}

const rowsOf = (batches) => batches.reduce((sum, { candles }) => sum + candles.length, 0);

/**
 * Each comparison gets a new file, filled by `prepare` outside the clock; `run` is timed and tells how many units it
 * did. Comparisons of reads warm up in `prepare`.
 */
const COMPARISONS = {
  'write fresh, upsertCandles': {
    unit: 'candles/s',
    run: (store) => (writeAll(store, plain), rowsOf(plain)),
  },
  'write again changed, upsertCandles': {
    unit: 'candles/s',
    prepare: (store) => writeAll(store, plain),
    run: (store) => (writeAll(store, plainChanged), rowsOf(plain)),
  },
  'write again identical, upsertCandles': {
    unit: 'candles/s',
    prepare: (store) => writeAll(store, plain),
    run: (store) => (writeAll(store, plain), rowsOf(plain)),
  },
  'write fresh, transaction': {
    unit: 'candles/s',
    prepare: collectorLine,
    run: (store, transaction) => (writeThrough(transaction, plain), rowsOf(plain)),
  },
  'write again changed, transaction': {
    unit: 'candles/s',
    prepare(store) {
      writeAll(store, plain);
      return collectorLine(store);
    },
    run: (store, transaction) => (writeThrough(transaction, plainChanged), rowsOf(plain)),
  },
  'write one candle, upsertCandle': {
    unit: 'candles/s',
    run(store) {
      for (const made of singles.slice(0, 5000)) store.upsertCandle(TABLE, SYMBOLS[0], made);
      return 5000;
    },
  },
  'write fresh, 30 levels': {
    unit: 'candles/s',
    run: (store) => (writeAll(store, withLevels), rowsOf(withLevels)),
  },
  'read 1000, getCandles': {
    unit: 'calls/s',
    prepare(store) {
      writeAll(store, plain);
      readEverySymbol(store, 3);
    },
    run: (store) => readEverySymbol(store, 20),
  },
  'read 1000 older, getCandles': {
    unit: 'calls/s',
    prepare(store) {
      writeAll(store, plain);
      readEverySymbol(store, 3, START + 5000 * STEP);
    },
    run: (store) => readEverySymbol(store, 20, START + 5000 * STEP),
  },
  'read 1000, 30 levels, getCandles': {
    unit: 'calls/s',
    prepare: (store) => writeAll(store, withLevels),
    run: (store) => readEverySymbol(store, 2),
  },
  'count, getStats': {
    unit: 'calls/s',
    prepare: (store) => writeAll(store, plain),
    run(store) {
      for (let i = 0; i < 100; i += 1) store.getStats();
      return 100;
    },
  },
};

function readEverySymbol(store, times, before = null) {
  for (let i = 0; i < times; i += 1)
    for (const symbol of SYMBOLS) {
      const { length } = store.getCandles(TABLE, symbol, 1000, before, true);
      if (length !== 1000) throw new Error(`read ${length} candles of ${symbol} instead of 1000`);
    }
  return times * SYMBOLS.length;
}

/** Units per second of one side, on a new file. */
async function measure(open, comparison, folder) {
  fs.mkdirSync(folder, { recursive: true });
  const store = open(path.join(folder, 'candles.db'));
  try {
    const prepared = comparison.prepare?.(store);
    globalThis.gc?.();
    const begin = process.hrtime.bigint();
    const units = comparison.run(store, prepared);
    return units / (Number(process.hrtime.bigint() - begin) / 1e9);
  } finally {
    await store.close();
    fs.rmSync(folder, { recursive: true });
  }
}

const sorted = (values) => [...values].sort((a, b) => a - b);
const median = (values) => sorted(values)[Math.floor(values.length / 2)];

async function compare(name, rounds, folder) {
  const rates = { orig: [], candlestore: [] };
  const ratios = [];
  for (let round = 0; round < rounds; round += 1) {
    const order = round % 2 === 0 ? ['orig', 'candlestore'] : ['candlestore', 'orig'];
    for (const side of order) {
      const rate = await measure(SIDES[side], COMPARISONS[name], path.join(folder, `${side}-${round}`));
      rates[side].push(rate);
    }
    ratios.push(rates.candlestore.at(-1) / rates.orig.at(-1));
  }
  const spread = (values) => {
    const ascending = sorted(values);
    return { median: median(values), min: ascending[0], max: ascending.at(-1) };
  };
  return {
    name,
    unit: COMPARISONS[name].unit,
    orig: spread(rates.orig),
    candlestore: spread(rates.candlestore),
    ratio: spread(ratios),
  };
}

async function settings(folder) {
  const found = {};
  for (const [side, open] of Object.entries(SIDES)) {
    fs.mkdirSync(path.join(folder, side), { recursive: true });
    const store = open(path.join(folder, side, 'settings.db'));
    store.upsertCandles(TABLE, SYMBOLS[0], singles.slice(0, 1));
    found[side] = settingsOf(store);
    await store.close();
  }
  found.orig.version = `better-sqlite3 ${require('./original/node_modules/better-sqlite3/package.json').version}`;
  found.candlestore.version = `candlestore ${require('candlestore/package.json').version}`;
  return found;
}

const whole = (value) => Math.round(value).toLocaleString('en-US');
const times = (value) => value.toFixed(value < 10 ? 2 : 1);

function show({ name, unit, orig, candlestore, ratio }) {
  const rates = ({ median: middle, min, max }) => `${whole(middle)} (${whole(min)}..${whole(max)})`;
  process.stdout.write(
    `${name.padEnd(38)} ${`${times(ratio.median)} x`.padStart(8)} (${times(ratio.min)}..${times(ratio.max)})` +
      `   ${unit}: orig ${rates(orig)}, candlestore ${rates(candlestore)}\n`,
  );
}

async function main() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '7' },
      only: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(
      'npm run bench -- [--rounds 7] [--only <part of a name>] [--json]\n' +
        Object.keys(COMPARISONS)
          .map((name) => `  ${name}\n`)
          .join(''),
    );
    return;
  }
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds must be a whole number, not ${values.rounds}`);
  const names = Object.keys(COMPARISONS).filter((name) => !values.only || name.includes(values.only));
  if (names.length === 0) throw new Error(`no comparison is named like ${values.only}`);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'candlestore-bench-'));
  try {
    const both = await settings(folder);
    const results = [];
    if (!values.json) {
      process.stdout.write(
        `${os.cpus()[0].model}, ${os.cpus().length} cores, Node ${process.versions.node}\n`,
      );
      console.table(both);
      process.stdout.write(`candlestore / orig: median of ${rounds} rounds (lowest..highest)\n`);
    }
    for (const name of names) {
      const result = await compare(name, rounds, folder);
      results.push(result);
      if (!values.json) show(result);
    }
    if (values.json)
      process.stdout.write(`${JSON.stringify({ rounds, settings: both, results }, null, 2)}\n`);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
