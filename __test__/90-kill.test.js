'use strict';

// A collector killed with -9 in the middle of a backfill, again and again on one file. CANDLESTORE_KILL_ROUNDS sets how
// often (20).

const path = require('node:path');
const { openStore } = require('candlestore');
const { page } = require('../bench/synthetic-exchange.js');
const { scratch } = require('./support/scratch.js');
const { run, start } = require('./support/programs.js');
const { SERIES, TABLE, MINUTES, END } = require('./support/kill-series.js');

const ROUNDS = Number(process.env.CANDLESTORE_KILL_ROUNDS) || 20;
const STEP = MINUTES * 60_000;
const expectedCount = (from, newest) => (newest - from) / STEP + 1;

async function look(file) {
  const { code, stdout, stderr } = await run('python3', [
    path.join(__dirname, 'support', 'look.py'),
    file,
    TABLE,
  ]);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** Runs the collector until it has acknowledged `pages` pages, kills it, and returns all that it acknowledged. */
async function collectAndKill(file, pages) {
  const collector = start(process.execPath, [path.join(__dirname, 'support', 'kill-collector.js')], {
    env: { ...process.env, DB_PATH: file },
  });
  const acknowledged = new Map();
  let seen = 0;
  const closed = new Promise((resolve) => collector.lines.once('close', resolve));
  collector.lines.on('line', (line) => {
    const [symbol, time] = line.split(' ');
    acknowledged.set(symbol, Number(time));
    seen += 1;
    if (seen === pages) collector.child.kill('SIGKILL');
  });
  const [{ signal, stderr }] = await Promise.all([collector.ended, closed]);
  expect({ signal, stderr }).toEqual({ signal: 'SIGKILL', stderr: '' });
  return acknowledged;
}

test(
  `a collector killed ${ROUNDS} times loses nothing that it was told is stored, and resumes`,
  async () => {
    const file = path.join(scratch(), 'cryptoflow.db');
    const before = new Map();
    for (let round = 0; round < ROUNDS; round += 1) {
      const acknowledged = await collectAndKill(file, 5 + ((round * 7) % 30));
      const { integrity, series } = await look(file);
      expect(integrity).toBe('ok');
      for (const { exchange, pair, from } of SERIES) {
        const symbol = `${exchange}:${pair}`;
        const { count, newest } = series[symbol];
        expect(newest).toBeGreaterThanOrEqual(acknowledged.get(symbol) ?? before.get(symbol));
        // Whole pages only, and no hole where it was killed.
        expect(count).toBe(expectedCount(from, newest));
        expect(count % 1000).toBe(0);
        expect(newest).toBeGreaterThan(before.get(symbol) ?? 0);
        before.set(symbol, newest);
      }
    }

    const store = openStore(file, { fileMustExist: true });
    for (const { exchange, pair, from } of SERIES) {
      const symbol = `${exchange}:${pair}`;
      const stored = store.getCandles(TABLE, symbol, 1_000_000);
      const sent = page(exchange, pair, MINUTES, from, END, stored.length);
      expect(stored.at(-1).time).toBe(before.get(symbol));
      const different = stored.findIndex((candle, index) =>
        Object.keys(sent[index]).some((field) => candle[field] !== sent[index][field]),
      );
      expect(different).toBe(-1);
    }
    await store.close();
  },
  10_000 + ROUNDS * 6_000,
);
