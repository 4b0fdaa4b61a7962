'use strict';

// The collector process: fetches the candles that config.js names and writes them through the store's write queue.
// The backfill of each exchange and its sync run side by side; the queue lets the sync's candles go first.
// Stops on SIGINT and SIGTERM within 1.2 s: what was accepted is committed, the rest is fetched at the next start.

const { setTimeout: sleep } = require('node:timers/promises');
const { openStore } = require('candlestore');
const db = require('./db');
const { loadConfig } = require('./config');
const { HttpClient } = require('./http');
const { Progress } = require('./progress');
const { Bookmarks } = require('./bookmarks');
const { Backfill } = require('./backfill');
const { Sync } = require('./sync');
const { onStop } = require('./stop');

const DAY = 86_400_000;
const CLOSE_WITHIN_MS = 900;

const EXCHANGES = {
  BINANCE: require('./exchanges/binance'),
  BYBIT: require('./exchanges/bybit'),
  BITGET: require('./exchanges/bitget'),
};

/** One series for each symbol and timeframe of an exchange: what backfill and sync work on. */
function seriesOf(given, config, progress) {
  const exchange = EXCHANGES[given.name];
  if (!exchange) {
    throw new Error(
      `The exchange ${given.name} is not known; known are ${Object.keys(EXCHANGES).join(', ')}.`,
    );
  }
  const client = new HttpClient({
    url: given.url,
    spacingMs: config.courtesyDelayMs,
    timeoutMs: config.requestTimeoutMs,
    retry: config.retry,
    onRetry: (event) => progress.retry(given.name, event),
  });
  return given.symbols.flatMap((pair) =>
    config.timeframes.map((timeframe) => ({
      exchange,
      client,
      pair,
      timeframe,
      symbol: `${given.name}:${pair}`,
      first: null, // where its history begins
      last: null, // the newest candle with nothing missing before it
      complete: false, // the backfill has caught up
      refused: false, // the exchange does not know it
    })),
  );
}

/** The exchange's own time; asked for until it answers, so that an exchange which is away delays only itself. */
async function serverTime({ exchange, client }, { retry }, progress, signal) {
  for (;;) {
    try {
      return await client.get(exchange.timePath, exchange.parseTime, signal);
    } catch (error) {
      signal.throwIfAborted();
      progress.line(`${exchange.name}: ${error.message}; trying again in ${retry.restMs / 1000} s`);
      await sleep(retry.restMs, undefined, { signal });
    }
  }
}

async function main(stopping) {
  const config = loadConfig();
  // The same file as db.js, and so the same writer: this handle has the queue, which db.js does not export.
  const store = openStore(db.db.name);
  const progress = new Progress();
  const { signal } = stopping;

  onStop(async () => {
    stopping.abort(new Error('The collector is stopping.'));
    progress.stop();
    await store.close({ deadlineMs: CLOSE_WITHIN_MS });
    db.db.close();
  });

  const bookmarks = new Bookmarks(store);
  const backfill = new Backfill({ store, bookmarks, config, progress });
  const sync = new Sync({ store, bookmarks, backfill, config, progress });
  progress.line(`Collecting into ${db.db.name}`);

  let behind = config.exchanges.length;
  await Promise.all(
    config.exchanges.map(async (given) => {
      const seriesList = seriesOf(given, config, progress);
      const now = await serverTime(seriesList[0], config, progress, signal);
      await bookmarks.place(seriesList, now - given.historyDays * DAY, signal);
      progress.begin(seriesList, now);
      await Promise.all([
        sync.exchange(seriesList, signal),
        backfill.exchange(seriesList, signal).then(() => {
          behind -= 1;
          if (behind === 0) progress.backfillDone();
        }),
      ]);
    }),
  );
}

const stopping = new AbortController();
main(stopping).catch((error) => {
  if (stopping.signal.aborted) return; // onStop ends the process
  console.error(error.code ? `${error.message} (${error.code})` : error.message);
  process.exit(1);
});
