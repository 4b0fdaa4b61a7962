'use strict';

// Why new files have pages of 8 KiB: the same writes and reads on files of three page sizes, with footprints of 0, 30
// and 60 levels, in turns, and the median of the rounds. A file's page size is set before the store first opens it.
//   node bench/page-size.js [rounds]

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { openStore } = require('candlestore');
const { candle } = require('./synthetic-exchange');

const ROUNDS = Number(process.argv[2] ?? 5);
const PAGE_SIZES = [4096, 8192, 16384];
const SYMBOLS = 10;
const BATCH = 1_000;
const BATCHES = 30;
const START = Date.UTC(2023, 0, 1);
const STEP = 15 * 60_000;
const FOLDER = fs.mkdtempSync(path.join(os.tmpdir(), 'candlestore-page-size-'));

function batches(levels, change) {
  return Array.from({ length: BATCHES }, (_, batch) => {
    const symbol = `SYNTHETIC:S${batch % SYMBOLS}`;
    const first = Math.floor(batch / SYMBOLS) * BATCH;
    const candles = Array.from({ length: BATCH }, (_, place) => {
      const made = candle('SYNTHETIC', symbol, 15, START + (first + place) * STEP, levels);
      return { ...made, volume: made.volume + change };
    });
    return { symbol, candles };
  });
}

function seconds(work) {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start) / 1e9;
}

function measure(pageSize, levels, file) {
  const script = `import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA page_size = ${pageSize}'); c.execute('PRAGMA journal_mode = WAL')`;
  execFileSync('python3', ['-c', script, file]);
  const store = openStore(file);
  const [fresh, again] = [batches(levels, 0), batches(levels, 1)];
  const write = (list) => seconds(() => list.forEach((b) => store.upsertCandles(15, b.symbol, b.candles)));
  const rows = BATCH * BATCHES;
  const result = { fresh: rows / write(fresh) / 1e3, again: rows / write(again) / 1e3 };
  // Footprints are not parsed in this figure: the raw handle leaves them text.
  const read = store.dbReadOnly
    .prepare('SELECT * FROM candles_15 WHERE symbol = ? ORDER BY time DESC LIMIT 1000')
    .raw();
  read.all('SYNTHETIC:S1');
  result.readUs =
    (seconds(() => Array.from({ length: 20 }, (_, n) => read.all(`SYNTHETIC:S${n % SYMBOLS}`))) / 20) * 1e6;
  const one = (n) => candle('SYNTHETIC', 'SYNTHETIC:ONE', 15, START + n * STEP, levels);
  result.singleUs =
    (seconds(() => Array.from({ length: 500 }, (_, n) => store.upsertCandle(15, 'SYNTHETIC:ONE', one(n)))) /
      500) *
    1e6;
  store.db.close();
  result.fileMB = fs.statSync(file).size / 1e6;
  for (const end of ['', '-wal', '-shm']) fs.rmSync(file + end, { force: true });
  return result;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const found = new Map();
for (let round = 0; round < ROUNDS; round++) {
  for (const levels of [0, 30, 60]) {
    for (const pageSize of PAGE_SIZES) {
      const key = `${levels} levels, ${pageSize / 1024} KiB`;
      if (!found.has(key)) found.set(key, []);
      found.get(key).push(measure(pageSize, levels, path.join(FOLDER, `${round}-${levels}-${pageSize}.db`)));
    }
  }
}
fs.rmSync(FOLDER, { recursive: true });
console.log(
  `median of ${ROUNDS} rounds: thousand candles/s fresh and again, us to step through 1,000 rows, us for one candle, file MB`,
);
console.table(
  Object.fromEntries(
    [...found].map(([key, runs]) => [
      key,
      Object.fromEntries(
        Object.keys(runs[0]).map((name) => [name, Number(median(runs.map((run) => run[name])).toFixed(1))]),
      ),
    ]),
  ),
);
