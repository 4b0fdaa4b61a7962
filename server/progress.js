'use strict';

// What the collector shows: a bar for each symbol on a terminal, plain lines otherwise.
// Knows nothing of how candles are fetched or stored.

const { MultiBar, Presets } = require('cli-progress');

const NAMES = { 15: '15m', 60: '1h', 240: '4h', 1440: '1d' };
const MINUTE = 60_000;

class Progress {
  #bars = null;
  #barOf = new Map();
  #started = performance.now();
  #lastProblem = new Map();

  constructor({ terminal = process.stdout.isTTY } = {}) {
    if (terminal) {
      const format = '{bar} {percentage}% | {symbol} | {value}/{total} candles';
      this.#bars = new MultiBar(
        { format, hideCursor: true, clearOnComplete: false, fps: 8 },
        Presets.shades_classic,
      );
    }
  }

  line(text) {
    if (this.#bars) this.#bars.log(`${text}\n`);
    else console.log(text);
  }

  /** The series are known, with their bookmarks, and the time now: the bars can say how much there is to do. */
  begin(seriesList, now) {
    for (const series of seriesList) {
      const total = Math.max(0, Math.floor((now - series.last) / (series.timeframe * MINUTE)) - 1);
      if (!this.#bars || total === 0) continue;
      const bar = this.#barOf.get(series.symbol);
      if (bar) bar.setTotal(bar.getTotal() + total);
      else this.#barOf.set(series.symbol, this.#bars.create(total, 0, { symbol: series.symbol }));
    }
  }

  page(series, { received, inserted, from }) {
    const step = series.timeframe * MINUTE;
    this.#barOf.get(series.symbol)?.increment(Math.round((from - series.last) / step) - 1);
    if (this.#bars || received === 0) return;
    const again = received - inserted;
    const note = again > 0 ? ` (${again} were there)` : '';
    this.line(`${series.symbol} ${NAMES[series.timeframe]}: +${inserted} candles${note}`);
  }

  seriesDone(series) {
    this.#lastProblem.delete(series);
  }

  backfillDone() {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(1);
    this.stop(); // full bars have nothing more to say; from here on the sync speaks in lines
    this.line(`Backfill complete in ${seconds} s`);
  }

  /** One round of the sync of one exchange. Silent where nothing new came: a minute without news is no news. */
  round(exchange, { inserted, updated, failed }) {
    if (inserted > 0) this.line(`${exchange} sync: +${inserted} candles, ${updated} updated`);
    if (failed === 0) this.#lastProblem.delete(exchange);
  }

  problem(series, error) {
    const then = series.refused ? ' This series is left out until the next start.' : '';
    const text = `${series.symbol} ${NAMES[series.timeframe]}: ${error.message}${then}`;
    // An exchange that is away would say the same for each series and each round.
    const key = error.name === 'RequestError' && error.status === null ? series.exchange.name : series;
    if (this.#lastProblem.get(key) === error.message) return;
    this.#lastProblem.set(key, error.message);
    this.line(text);
  }

  retry(exchange, { error, delayMs, attempt }) {
    if (attempt === 1) {
      this.line(`${exchange}: ${error.message}; next try in ${(delayMs / 1000).toFixed(1)} s`);
    }
  }

  stop() {
    this.#bars?.stop();
    this.#bars = null;
    this.#barOf.clear();
  }
}

module.exports = { Progress };
