'use strict';

// How far the backfill of each series has got, kept in the database beside the candles.
//
// Why not simply the newest stored candle: the sync stores the newest candles while the backfill is still years behind.
// After a kill in that moment the newest candle would say "done" and the hole behind it would stay for ever. A bookmark is
// written after the candles it speaks of, so at worst a page is fetched twice.

const MINUTE = 60_000;

class Bookmarks {
  #store;

  constructor(store) {
    this.#store = store;
  }

  /**
   * Sets `series.last` to the time of the newest candle that has nothing missing before it, back to `since`, and
   * stores a bookmark for each series that had none. A database filled by another collector has no bookmarks: there
   * the newest stored candle counts, which may have been open and is fetched again. `run` is `{ store, signal }`.
   */
  async place(seriesList, since, run) {
    await this.#makeTable(run);
    const known = this.#store.dbReadOnly.prepare(
      'SELECT first, last FROM collector_bookmarks WHERE symbol = ? AND timeframe = ?',
    );
    const fresh = [];
    for (const series of seriesList) {
      const step = series.timeframe * MINUTE;
      const start = Math.ceil(since / step) * step;
      const row = known.get(series.symbol, series.timeframe);
      if (row && start + step > row.first) {
        series.first = row.first;
        series.last = row.last;
        continue;
      }
      // No bookmark yet, or more history is wanted than it speaks of.
      const newest = row ? null : this.#store.getLastCandleTime(series.timeframe, series.symbol);
      series.first = start;
      series.last = (newest === null ? start : Math.max(newest, start)) - step;
      fresh.push(series);
    }
    // Before any candle of these series, whoever stores it.
    if (fresh.length > 0) await this.save(fresh, run, 'live');
  }

  async #makeTable({ store }) {
    // Looked at before it is changed: a start must not need the write lock where nothing differs.
    const found = this.#store.dbReadOnly
      .prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'collector_bookmarks'")
      .get();
    if (found) return;
    await store.enqueueWrite(
      'CREATE TABLE IF NOT EXISTS collector_bookmarks (symbol TEXT NOT NULL, timeframe INTEGER NOT NULL, ' +
        'first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (symbol, timeframe)) WITHOUT ROWID',
      null,
      { priority: 'live' },
    );
  }

  /** Stores where each of the series is now, by the store of a run. */
  async save(seriesList, { store, signal }, priority) {
    const sql =
      'INSERT INTO collector_bookmarks (symbol, timeframe, first, last) VALUES (?, ?, ?, ?) ' +
      'ON CONFLICT (symbol, timeframe) DO UPDATE SET first = excluded.first, last = excluded.last';
    await store.enqueueTransaction(
      seriesList.map(({ symbol, timeframe, first, last }) => ({
        sql,
        params: [symbol, timeframe, first, last],
      })),
      { signal, priority },
    );
  }
}

module.exports = { Bookmarks };
