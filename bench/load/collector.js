'use strict';

// The collector of a load run: the lines of the contract's collector around any db.js, given by its path, as a process
// of its own. Pages come computed instead of fetched; between two pages the event loop turns, as it does in a fetch.

const { setImmediate: turn } = require('node:timers/promises');
const { seriesOf, pagesOf } = require('./series.js');
const { summary } = require('./latency.js');

const [, , module_, share] = process.argv;
const db = require(module_);

const upsertCandles = db.db.transaction((table, symbol, candles) => {
  for (const c of candles) db.upsertCandle(table, symbol, c);
});

const ATTEMPTS = 20;

async function main() {
  const writes = [];
  const errors = [];
  let rows = 0;
  const begin = performance.now();
  for (const series of seriesOf(Number(share))) {
    for (const candles of pagesOf(series)) {
      for (let attempt = 1; ; attempt += 1) {
        const start = performance.now();
        try {
          upsertCandles(series.table, series.symbol, candles);
          writes.push(performance.now() - start);
          break;
        } catch (error) {
          errors.push(`${error.code}: ${error.message}`);
          if (attempt === ATTEMPTS) throw error;
        }
      }
      const last = db.getLastCandleTime(series.table, series.symbol);
      if (last !== candles.at(-1).time)
        throw new Error(`${series.symbol} ${series.table}: newest is ${last}, not ${candles.at(-1).time}`);
      rows += candles.length;
      await turn();
    }
  }
  const seconds = (performance.now() - begin) / 1000;
  process.send({
    rows,
    seconds,
    storeSeconds: writes.reduce((sum, ms) => sum + ms, 0) / 1000,
    writes: summary(writes),
    errors: errors.length,
    firstError: errors[0] ?? null,
    stats: db.getStats(),
    peakMiB: process.resourceUsage().maxRSS / 1024,
  });
  process.disconnect();
}

// Loaded, but the backfill begins when whoever measures is ready for it.
process.send('ready');
process.once('message', () =>
  main().catch((error) => {
    process.stderr.write(`collector: ${error.stack}\n`);
    process.exit(1);
  }),
);
