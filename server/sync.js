'use strict';

// Keeps the newest candles of every series of one exchange current: asks for the newest three in turn, stores them as
// they are (the open one too; it is replaced when it closes), and starts over when the interval has passed.
// Runs beside the backfill from the first moment. A series whose newest three no longer reach back to what is stored
// (the machine slept, the exchange was away) is handed to the backfill again.

const { setTimeout: sleep } = require('node:timers/promises');
const { isFatal } = require('./backfill');

const MINUTE = 60_000;
const NEWEST = 3;

class Sync {
  #store;
  #bookmarks;
  #backfill;
  #config;
  #progress;
  #catchingUp = new Set();

  constructor({ store, bookmarks, backfill, config, progress }) {
    this.#store = store;
    this.#bookmarks = bookmarks;
    this.#backfill = backfill;
    this.#config = config;
    this.#progress = progress;
  }

  /** Runs until `signal` is aborted; then rejects with its reason. */
  async exchange(seriesList, signal) {
    for (;;) {
      const started = performance.now();
      await this.#round(seriesList, signal);
      const rest = this.#config.syncIntervalMs - (performance.now() - started);
      if (rest > 0) await sleep(rest, undefined, { signal });
    }
  }

  async #round(seriesList, signal) {
    const [{ exchange, client }] = seriesList;
    const totals = { inserted: 0, updated: 0, failed: 0 };
    const moved = [];
    try {
      // Taken before the candles: what is closed by this time is closed in every answer that follows.
      const now = await client.get(exchange.timePath, exchange.parseTime, signal);
      for (const series of seriesList) {
        if (series.refused) continue;
        try {
          const done = await this.#one(series, now, signal);
          totals.inserted += done.inserted;
          totals.updated += done.updated;
          if (done.moved) moved.push(series);
        } catch (error) {
          signal.throwIfAborted();
          if (isFatal(error)) throw error;
          totals.failed += 1;
          series.refused = !error.retryable;
          this.#progress.problem(series, error);
        }
      }
      if (moved.length > 0) await this.#bookmarks.save(moved, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (isFatal(error)) throw error;
      totals.failed += 1;
      this.#progress.problem(seriesList[0], error);
    }
    this.#progress.round(exchange.name, totals);
  }

  async #one(series, now, signal) {
    const { exchange, client, pair, timeframe, symbol } = series;
    const step = timeframe * MINUTE;
    const path = exchange.candlesPath({ pair, timeframe, limit: NEWEST });
    const candles = await client.get(path, exchange.parseCandles, signal);
    if (candles.length === 0) return { inserted: 0, updated: 0, moved: false };
    const { inserted, updated } = await this.#store.enqueueCandles(timeframe, symbol, candles, {
      priority: 'live',
      signal,
    });

    let moved = false;
    if (series.complete) {
      if (candles[0].time > series.last + step) {
        this.#catchUp(series, signal);
      } else {
        const closed = candles.filter((candle) => candle.time + step <= now);
        if (closed.length > 0 && closed.at(-1).time > series.last) {
          series.last = closed.at(-1).time;
          moved = true;
        }
      }
    }
    return { inserted, updated, moved };
  }

  #catchUp(series, signal) {
    series.complete = false;
    if (this.#catchingUp.has(series)) return;
    this.#catchingUp.add(series);
    this.#backfill
      .exchange([series], signal)
      .catch(() => {}) // stopping, or the database failed: then the next round fails too and says so
      .finally(() => this.#catchingUp.delete(series));
  }
}

module.exports = { Sync };
