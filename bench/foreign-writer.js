'use strict';

// Another program on the same file while it is read: a process with better-sqlite3 that commits a candle of another
// symbol of the same table so many times a second. One process serves a whole run; it is told which file to write to.
//   ForeignWriter    its other end: `begin(file, perSecond)`, `end()`, `stop()`

const { fork } = require('node:child_process');
const { once } = require('node:events');

const TABLE = 'candles_15';
const SYMBOL = 'FOREIGN:BTCUSDT';

class ForeignWriter {
  #child = null;

  /** Resolves when the first commit is made. */
  async begin(file, perSecond) {
    this.#child ??= fork(__filename, { execArgv: [] });
    await this.#ask({ file, perSecond });
  }

  /** Ends the commits; resolves to their number once the file is closed. */
  async end() {
    const { commits } = await this.#ask({});
    return commits;
  }

  stop() {
    this.#child?.kill();
  }

  async #ask(message) {
    const child = this.#child;
    child.send(message);
    const ended = new AbortController();
    try {
      const [answer] = await Promise.race([
        once(child, 'message', { signal: ended.signal }),
        once(child, 'exit', { signal: ended.signal }).then(() => {
          throw new Error('the foreign writer has ended');
        }),
      ]);
      return answer;
    } finally {
      ended.abort();
    }
  }
}

function serve() {
  const Database = require('./original/node_modules/better-sqlite3');
  let db;
  let timer;
  let commits = 0;

  function begin({ file, perSecond }) {
    db = new Database(file, { timeout: 5000 });
    const upsert = db.prepare(
      `INSERT INTO ${TABLE} (symbol, time, open, high, low, close, volume) VALUES (?, ?, 1, 1, 1, 1, ?)
       ON CONFLICT (symbol, time) DO UPDATE SET volume = excluded.volume`,
    );
    commits = 0;
    const commit = () => upsert.run(SYMBOL, Date.UTC(2025, 0, 1), (commits += 1));
    commit();
    timer = setInterval(commit, 1000 / perSecond);
    process.send({ begun: true });
  }

  function end() {
    clearInterval(timer);
    db.close();
    process.send({ commits });
  }

  process.once('disconnect', () => process.exit());
  process.on('message', (message) => (message.file ? begin(message) : end()));
}

if (require.main === module) serve();

module.exports = { ForeignWriter };
