'use strict';

// The collector process: fetches the candles that config.js names and writes them through the store's write queue. Each exchange
// has a supervisor with two jobs, side by side: the sync, whose candles go first, and the backfill. Of several collectors that
// are to collect the same into one file, one does; the others stand by.
// Stops on SIGINT and SIGTERM within 1.2 s: what was accepted is committed, the rest is fetched at the next start.

const { createHash } = require('node:crypto');
const { createCollectorSupervisor, openStore } = require('candlestore');
const db = require('./db');
const { loadConfig } = require('./config');
const { HttpClient } = require('./http');
const { Progress } = require('./progress');
const { Bookmarks } = require('./bookmarks');
const { Backfill } = require('./backfill');
const { Sync } = require('./sync');
const { onStop } = require('./stop');
const { report } = require('./report');

const DAY = 86_400_000;
const STOP_WITHIN_MS = 200;
const CLOSE_WITHIN_MS = 800;
/** Intervals are no shorter than a supervisor takes. */
const LEAST_MS = 10;

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

/** What tells whether two collectors are to collect the same: exchange, symbols and timeframes. */
function purposeOf(seriesList) {
  const text = seriesList.map(({ symbol, timeframe }) => `${symbol} ${timeframe}`).join();
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
  return `${seriesList[0].exchange.name}.${hash}`;
}

/** The supervisor of an exchange. `onComplete` is called when its backfill has come to an end for the first time. */
function collect(given, { store, config, bookmarks, progress, onComplete }) {
  const seriesList = seriesOf(given, config, progress);
  const [{ exchange, client }] = seriesList;
  const restMs = Math.max(config.retry.restMs, LEAST_MS);
  const supervisor = createCollectorSupervisor(store, {
    cooldownMs: restMs,
    maxCooldownMs: 2 * restMs,
    leader: purposeOf(seriesList),
  });
  const backfill = new Backfill({ bookmarks, config, progress });
  const sync = new Sync({ bookmarks, progress, onBehind: () => backfillJob.trigger() });

  /**
   * How far back the history goes, by the exchange's own clock. Nothing is stored before the bookmarks are: the newest candle of a
   * series without one counts as the end of what is there.
   */
  let placed = null;
  const place = ({ store, signal }) => {
    const once = async () => {
      const now = await client.get(exchange.timePath, exchange.parseTime, signal);
      const since = now - given.historyDays * DAY;
      await bookmarks.place(seriesList, since, { store, signal });
      progress.begin(seriesList, now);
      return since;
    };
    placed ??= once().catch((error) => {
      placed = null;
      throw error;
    });
    return placed;
  };

  let isComplete = false;
  const backfillJob = supervisor.job(
    `backfill ${given.name}`,
    { everyMs: restMs, priority: 'backfill', timeLimitMs: null },
    async (run) => {
      const left = seriesList.filter((series) => !series.complete && !series.refused);
      if (left.length === 0) return;
      await place(run);
      await backfill.exchange(left, run);
      if (!isComplete && seriesList.every((series) => series.complete || series.refused)) {
        isComplete = true;
        onComplete();
      }
    },
  );
  const everyMs = config.syncIntervalMs;
  supervisor.job(`sync ${given.name}`, { everyMs, maxEveryMs: 2 * everyMs }, async (run) => {
    await place(run);
    await sync.round(seriesList, run);
  });
  return supervisor;
}

const said = (error) => (error.code ? `${error.message} (${error.code})` : error.message);

function main() {
  const config = loadConfig();
  // The same file as db.js, and so the same writer: this handle has the queue, which db.js does not export.
  const store = openStore(db.db.name);
  const progress = new Progress();
  const bookmarks = new Bookmarks(store);
  let behind = config.exchanges.length;
  const onComplete = () => {
    behind -= 1;
    if (behind === 0) progress.backfillDone();
  };
  const supervisors = config.exchanges.map((given) =>
    collect(given, { store, config, bookmarks, progress, onComplete }),
  );

  const stop = onStop(async () => {
    await Promise.all(supervisors.map((one) => one.stop({ deadlineMs: STOP_WITHIN_MS })));
    progress.stop();
    await store.close({ deadlineMs: CLOSE_WITHIN_MS });
    db.db.close();
  });
  const onFatal = (error) => {
    if (process.exitCode !== 1) console.error(said(error));
    process.exitCode = 1;
    stop();
  };
  progress.line(`Collecting into ${db.db.name}`);
  config.exchanges.forEach(({ name }, place) => {
    report(supervisors[place], name, progress, onFatal);
    supervisors[place].start();
  });
}

try {
  main();
} catch (error) {
  console.error(said(error));
  process.exit(1);
}
