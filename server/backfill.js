'use strict';

// Fills one series with its closed candles, page after page, from the bookmark up to now.
//
// Closed ones only: an open candle changes, and a page that waited in the queue must never overwrite what the sync
// has stored since. The newest, open candle is the sync's (sync.js).

const { setTimeout: sleep } = require('node:timers/promises');
const { CandleStoreError } = require('candlestore');

const MINUTE = 60_000;

/** The database is at fault, and the next series would fare no better. A candle it refuses is the exchange's fault. */
const isFatal = (error) =>
  error instanceof CandleStoreError && !error.retryable && error.code !== 'INVALID_CANDLE';

class Backfill {
  #store;
  #bookmarks;
  #config;
  #progress;

  constructor({ store, bookmarks, config, progress }) {
    this.#store = store;
    this.#bookmarks = bookmarks;
    this.#config = config;
    this.#progress = progress;
  }

  /** All series of one exchange, one after the other; those that failed again after a rest, until none is left. */
  async exchange(seriesList, signal) {
    let left = seriesList;
    while (left.length > 0) {
      const failed = [];
      for (const series of left) {
        try {
          await this.series(series, signal);
        } catch (error) {
          signal.throwIfAborted();
          if (isFatal(error)) throw error;
          if (error.retryable) failed.push(series);
          else series.refused = true;
          this.#progress.problem(series, error);
        }
      }
      left = failed;
      if (left.length > 0) await sleep(this.#config.retry.restMs, undefined, { signal });
    }
  }

  /** One series, until no closed candle is left to fetch. */
  async series(series, signal) {
    const { exchange, client, pair, timeframe, symbol } = series;
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
        const { inserted } = await this.#store.enqueueCandles(timeframe, symbol, closed, {
          priority: 'backfill',
          signal,
        });
        from = closed.at(-1).time + step;
        this.#progress.page(series, { received: closed.length, inserted, from });
      } else if (to <= now) {
        from = to; // before the listing, or an outage: nothing in this page, go on behind it
        this.#progress.page(series, { received: 0, inserted: 0, from });
      } else {
        break; // the exchange has not published its newest closed candle yet; the sync brings it
      }
      series.last = from - step;
      await this.#bookmarks.save([series], signal);
    }
    series.complete = true;
    this.#progress.seriesDone(series);
  }
}

module.exports = { Backfill, isFatal };
