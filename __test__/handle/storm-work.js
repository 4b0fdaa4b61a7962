'use strict';

// What a thread does until it is cut off: one action after the other, at random. `cut()` stands wherever something may
// end in the middle: between the statements of a transaction, in an iterator's loop, in callbacks that native code calls.

const fs = require('node:fs');
const path = require('node:path');
const { ACCOUNTS, DOOMED, faultsOf } = require('./storm-ledger.js');
const { connect } = require('./storm-provider.js');

const turn = () => new Promise(setImmediate);

const COUNT_UP = `WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up LIMIT ?)
  SELECT n, n * 0.5 AS half, 'row ' || n AS text, NULL AS gone FROM up`;

/** One thread's connections and what it needs at hand. */
class Worker {
  constructor({ provider, file, name, random, cut, tally }) {
    Object.assign(this, { provider, file, name, random, cut, tally });
    this.batches = 0;
    this.commits = 0;
    this.backups = new Set();
    this.open();
  }

  open() {
    const verbose = this.random.chance(0.25) ? this.cut : undefined;
    Object.assign(this, connect(this.provider, this.file, { verbose }));
    this.insert = this.db.prepare(
      'INSERT INTO ledger (batch, place, size, note) VALUES (@batch, @place, @size, @note)',
    );
    this.move = this.db.prepare('UPDATE accounts SET balance = balance + ? WHERE id = ?');
    this.count = this.db.prepare(
      'INSERT INTO progress VALUES (?, 1) ON CONFLICT DO UPDATE SET commits = commits + 1',
    );
    this.stored = this.db.prepare('SELECT commits FROM progress WHERE name = ?').pluck();
  }

  /** The rows of one batch; `doomed` ones must never be found. */
  fill(size, doomed = false) {
    const { cut, random } = this;
    this.batches += 1;
    const batch = `${this.name}.${this.batches}`;
    for (let place = 0; place < size; place += 1) {
      this.insert.run({
        batch,
        place,
        size: doomed ? DOOMED : size,
        get note() {
          cut();
          return 'x'.repeat(random.below(200));
        },
      });
      cut();
    }
  }

  transfer() {
    const amount = this.random.below(100);
    this.move.run(-amount, 1 + this.random.below(ACCOUNTS));
    this.cut();
    this.move.run(amount, 1 + this.random.below(ACCOUNTS));
  }

  /** A whole transaction's worth of work. */
  pieces() {
    this.fill(1 + this.random.below(30));
    this.transfer();
    this.count.run(this.name);
    this.cut();
  }

  /**
   * After a commit has returned. While a thread is being terminated, calls through Node-API may return without having
   * done anything (those of better-sqlite3 13 do), so a commit counts once its handle could read it.
   */
  committed() {
    const stored = this.stored.get(this.name);
    if (stored === undefined) this.tally.unsure();
    else if (stored !== this.commits + 1) throw new Error(`commit ${this.commits + 1} is not there`);
    else this.tally.committed((this.commits += 1));
  }

  transaction(work) {
    const transaction = this.db.transaction(work);
    return this.random.pick([
      transaction,
      transaction.deferred,
      transaction.immediate,
      transaction.exclusive,
    ])();
  }

  /** The copy at `location`, a path or bytes, has to be as whole as the file. */
  inspectCopy(location) {
    const copy = this.inspect?.(location);
    if (!copy) return;
    for (const fault of faultsOf(copy)) this.tally.fault(`in a copy: ${fault}`);
    copy.close();
  }
}

class Planned extends Error {}

function mustFail(work) {
  try {
    work();
  } catch (error) {
    if (error instanceof Planned) return;
    throw error;
  }
  throw new Error('what was thrown in a transaction did not come out of it');
}

const ACTIONS = {
  single(worker) {
    worker.fill(1);
  },

  transaction(worker) {
    worker.transaction(() => worker.pieces());
    worker.committed();
  },

  nested(worker) {
    worker.transaction(() => {
      worker.pieces();
      mustFail(() =>
        worker.transaction(() => {
          worker.fill(1 + worker.random.below(10), true);
          throw new Planned();
        }),
      );
    });
    worker.committed();
  },

  'thrown transaction'(worker) {
    mustFail(() =>
      worker.transaction(() => {
        worker.fill(1 + worker.random.below(10), true);
        throw new Planned();
      }),
    );
  },

  async 'BEGIN by exec'(worker) {
    const { db, random, cut } = worker;
    db.exec(random.pick(['BEGIN', 'BEGIN IMMEDIATE']));
    cut();
    const commits = random.chance(0.7);
    if (commits) worker.pieces();
    else worker.fill(1 + random.below(10), true);
    // Not with a backup of the same handle under way: that would be told of a transaction that is not committed.
    if (random.chance(0.3) && worker.backups.size === 0) await turn();
    db.exec(commits ? 'COMMIT' : 'ROLLBACK');
    if (commits) worker.committed();
  },

  async iterate(worker) {
    const { db, reader, random, cut } = worker;
    const handle = random.pick([db, reader]);
    const select = handle.prepare('SELECT * FROM ledger ORDER BY id DESC');
    if (random.chance(0.3)) select.raw();
    const most = 1 + random.below(300);
    let rows = 0;
    for (const row of select.iterate()) {
      cut();
      if (!row) throw new Error('an iterator gave no row');
      rows += 1;
      // Another handle's iterator stays open while other things run.
      if (handle === reader && rows % 50 === 0) await turn();
      if (rows === most) break;
    }
  },

  'iterator left open'({ file, provider, cut }) {
    const { reader, close } = connect(provider, file);
    const rows = reader.prepare('SELECT * FROM ledger').iterate();
    rows.next();
    cut();
    rows.return();
    return close();
  },

  read({ db, random, cut }) {
    const select = db.prepare(COUNT_UP);
    const rows = 1 + random.below(2000);
    const { length } = random.chance(0.5) ? select.all(rows) : select.raw().all(rows);
    if (length !== rows) throw new Error(`${length} rows instead of ${rows}`);
    cut();
    db.prepare('SELECT count(*) FROM ledger').pluck().get();
  },

  prune({ db, cut }) {
    db.prepare(
      `DELETE FROM ledger WHERE batch IN (SELECT batch FROM ledger WHERE id < (SELECT max(id) FROM ledger) - 800)`,
    ).run();
    cut();
  },

  async backup(worker) {
    const { db, random, cut, file, name, backups, tally } = worker;
    if (backups.size > 0) return;
    const copy = path.join(path.dirname(file), `backup-${name}.db`);
    const pages = random.pick([1, 3, 10, 10_000]);
    const backup = db
      .backup(copy, {
        progress() {
          cut();
          return pages;
        },
      })
      .then(() => {
        worker.inspectCopy(copy);
        fs.rmSync(copy);
      })
      .catch((error) => tally.failed(error))
      .finally(() => backups.delete(backup));
    backups.add(backup);
    // One that others write between its steps begins anew each time, and may never end.
    if (pages > 1000) await backup;
  },

  serialize(worker) {
    const bytes = worker.db.serialize();
    worker.cut();
    // What is in memory has no log.
    bytes[18] = bytes[19] = 1;
    worker.inspectCopy(bytes);
  },

  async reopen(worker) {
    if (worker.backups.size > 0) return;
    await worker.close();
    worker.cut();
    worker.open();
  },
};
const NAMES = Object.keys(ACTIONS);

const HAS = { backup: 'backup', serialize: 'serialize' };
const OFTEN = ['single', 'transaction', 'transaction', 'nested', 'BEGIN by exec', 'iterate', 'prune'];

/** Never ends by itself. `tally` hears what is begun, done, committed and found wrong. */
async function work(about) {
  const worker = new Worker(about);
  const { random, cut, tally } = worker;
  const names = [...NAMES, ...OFTEN].filter((name) => !HAS[name] || worker.db[HAS[name]]);
  tally.started();
  for (;;) {
    const name = random.pick(names);
    tally.begun(NAMES.indexOf(name));
    try {
      await ACTIONS[name](worker);
    } catch (error) {
      if (worker.db.open && worker.db.inTransaction) worker.db.exec('ROLLBACK');
      tally.failed(error);
    }
    tally.done();
    cut();
    if (random.chance(0.3)) await turn();
  }
}

module.exports = { NAMES, work };
