'use strict';

// Keeps the newest candles of every series of one exchange current: asks for the newest three in turn, stores them as
// they are (the open one too; it is replaced when it closes).
// Runs beside the backfill from the first moment. A series whose newest three no longer reach back to what is stored
// (the machine slept, the exchange was away) is left to the backfill again.

const { isOfStore } = require('./backfill');

const MINUTE = 60_000;
const NEWEST = 3;

class Sync {
  #bookmarks;
  #progress;
  #onBehind;

  /** `onBehind()` is called when the backfill has something to do again. */
  constructor({ bookmarks, progress, onBehind }) {
    this.#bookmarks = bookmarks;
    this.#progress = progress;
    this.#onBehind = onBehind;
  }

  /** Each series once; fails when the exchange or the database is away. */
  async round(seriesList, run) {
    const [{ exchange, client }] = seriesList;
    const { signal } = run;
    const totals = { inserted: 0, updated: 0, failed: 0 };
    const moved = [];
    // Taken before the candles: what is closed by this time is closed in every answer that follows.
    const now = await client.get(exchange.timePath, exchange.parseTime, signal);
    for (const series of seriesList) {
      if (series.refused) continue;
      try {
        const done = await this.#one(series, now, run);
        totals.inserted += done.inserted;
        totals.updated += done.updated;
        if (done.moved) moved.push(series);
      } catch (error) {
        signal.throwIfAborted();
        if (isOfStore(error)) throw error;
        totals.failed += 1;
        series.refused = !error.retryable;
        this.#progress.problem(series, error);
      }
    }
    if (moved.length > 0) await this.#bookmarks.save(moved, run);
    this.#progress.round(exchange.name, totals);
  }

  async #one(series, now, { store, signal }) {
    const { exchange, client, pair, timeframe, symbol } = series;
    const step = timeframe * MINUTE;
    const path = exchange.candlesPath({ pair, timeframe, limit: NEWEST });
    const candles = await client.get(path, exchange.parseCandles, signal);
    if (candles.length === 0) return { inserted: 0, updated: 0, moved: false };
    const { inserted, updated } = await store.enqueueCandles(timeframe, symbol, candles);

    let moved = false;
    if (series.complete) {
      if (candles[0].time > series.last + step) {
        series.complete = false;
        this.#onBehind();
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
}

module.exports = { Sync };
