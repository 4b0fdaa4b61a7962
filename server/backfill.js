'use strict';

// Fills one series with its closed candles, page after page, from the bookmark up to now.
//
// Closed ones only: an open candle changes, and a page that waited in the queue must never overwrite what the sync
// has stored since. The newest, open candle is the sync's (sync.js).

const { CandleStoreError } = require('candlestore');

const MINUTE = 60_000;

/** The database is at fault, and the next series would fare no better. A candle it refuses is the exchange's fault. */
const isOfStore = (error) => error instanceof CandleStoreError && error.code !== 'INVALID_CANDLE';

/** It will be at fault until somebody mends it. What was called off is nobody's fault. */
const isFatal = (error) => isOfStore(error) && !error.retryable && error.code !== 'ABORTED';

class Backfill {
  #bookmarks;
  #config;
  #progress;

  constructor({ bookmarks, config, progress }) {
    this.#bookmarks = bookmarks;
    this.#config = config;
    this.#progress = progress;
  }

  /**
   * Series of one exchange, one after the other. Those that fail are left for the next run; when none was done at all, this run
   * has failed.
   */
  async exchange(seriesList, run) {
    const { signal } = run;
    let done = 0;
    let failure = null;
    for (const series of seriesList) {
      try {
        await this.series(series, run);
        done += 1;
      } catch (error) {
        signal.throwIfAborted();
        if (isOfStore(error)) throw error;
        if (error.retryable) failure ??= error;
        else series.refused = true;
        this.#progress.problem(series, error);
      }
    }
    if (failure && done === 0) throw failure;
  }

  /** One series, until no closed candle is left to fetch. */
  async series(series, run) {
    const { exchange, client, pair, timeframe, symbol } = series;
    const { store, signal } = run;
    const { pageSize } = this.#config;
    const step = timeframe * MINUTE;
    const span = exchange.pageSpanMs(timeframe, pageSize);
    const serverTime = () => client.get(exchange.timePath, exchange.parseTime, signal);

    let from = series.last + step;
    let now = await serverTime();
    for (;;) {
      if (from + step > now) now = await serverTime(); // the clock has gone on while pages came
      if (from + step > now) break;
      const to = from + span;
      const path = exchange.candlesPath({ pair, timeframe, from, to, limit: pageSize });
      const page = await client.get(path, exchange.parseCandles, signal);
      const closed = page.filter((candle) => candle.time >= from && candle.time + step <= now);

      if (closed.length > 0) {
        const { inserted } = await store.enqueueCandles(timeframe, symbol, closed);
        from = closed.at(-1).time + step;
        this.#progress.page(series, { received: closed.length, inserted, from });
      } else if (to <= now) {
        from = to; // before the listing, or an outage: nothing in this page, go on behind it
        this.#progress.page(series, { received: 0, inserted: 0, from });
      } else {
        break; // the exchange has not published its newest closed candle yet; the sync brings it
      }
      series.last = from - step;
      await this.#bookmarks.save([series], run);
    }
    series.complete = true;
    this.#progress.seriesDone(series);
  }
}

module.exports = { Backfill, isFatal, isOfStore };
