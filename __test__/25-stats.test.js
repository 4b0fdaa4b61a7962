'use strict';

// getStats(): exact after every kind of own write, and soon right after those of others.

const {
  SYMBOL,
  TABLE,
  all,
  candle,
  candles,
  failure,
  newFile,
  open,
  sqliteFailure,
  timeOf,
} = require('./support/store.js');
const { python, runElsewhere } = require('./support/process.js');
const { until } = require('./support/until.js');

const ROW = "(symbol, time, open, high, low, close, volume) VALUES ('X:RAW', ?, 1, 1, 1, 1, 1)";

let store;
beforeEach(() => {
  store = open();
  store.upsertCandles(TABLE, SYMBOL, candles(10));
  expect(store.getStats().candles_15).toBe(10);
});

/** What the store says without counting, and what there is. */
function counts() {
  const told = store.getStats().candles_15;
  const counted = store.db.prepare('SELECT count(*) FROM candles_15').pluck().get();
  return { told, counted, exact: store.getStats({ exact: true }).candles_15 };
}
const everywhere = (count) => ({ told: count, counted: count, exact: count });

const THROW = () => {
  throw new Error('back');
};

/** Each adds or removes rows; the number is what there must be afterwards, of 10 before. */
const WRITES = {
  'upsertCandle of a new one': [11, () => store.upsertCandle(TABLE, SYMBOL, candle(10))],
  'upsertCandle of a known one': [10, () => store.upsertCandle(TABLE, SYMBOL, candle(9, { close: 1 }))],
  'upsertCandle of an equal one': [10, () => store.upsertCandle(TABLE, SYMBOL, candle(9))],
  'upsertCandles, half of them known': [
    15,
    () => store.upsertCandles(TABLE, SYMBOL, candles(10, 5, { close: 1 })),
  ],
  'a batch that is refused': [
    10,
    () => expect(() => store.upsertCandles(TABLE, SYMBOL, [candle(10), null])).toThrow(),
  ],
  deleteCandles: [7, () => store.deleteCandles(TABLE, SYMBOL, { before: timeOf(3) })],
  'deleteCandles of all': [0, () => store.deleteCandles(TABLE, SYMBOL)],
  enqueueCandles: [15, () => store.enqueueCandles(TABLE, SYMBOL, candles(10, 5, { close: 1 }))],
  enqueueDelete: [7, () => store.enqueueDelete(TABLE, SYMBOL, { before: timeOf(3) })],
  'enqueueWrite of INSERT': [11, () => store.enqueueWrite(`INSERT INTO candles_15 ${ROW}`, [1])],
  'enqueueWrite of INSERT OR REPLACE': [
    10,
    () =>
      store.enqueueWrite(
        'INSERT OR REPLACE INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES (?, ?, 1, 1, 1, 1, 1)',
        [SYMBOL, timeOf(0)],
      ),
  ],
  'enqueueWrite of DELETE without WHERE': [0, () => store.enqueueWrite('DELETE FROM candles_15')],
  enqueueTransaction: [
    1,
    () =>
      store.enqueueTransaction([
        'DELETE FROM candles_15',
        { sql: `INSERT INTO candles_15 ${ROW}`, params: [1] },
      ]),
  ],
  'enqueueTransaction that fails': [
    10,
    () =>
      expect(
        store.enqueueTransaction(['DELETE FROM candles_15', 'INSERT INTO nowhere VALUES (1)']),
      ).rejects.toThrow(),
  ],
  'exec of DELETE without WHERE': [0, () => store.db.exec('DELETE FROM candles_15')],
  'exec of a script': [
    3,
    () =>
      store.db.exec(
        `DELETE FROM candles_15 WHERE time > ${timeOf(1)}; INSERT INTO candles_15 ${ROW.replace('?', '5')}; UPDATE candles_15 SET close = 3;`,
      ),
  ],
  'exec of a script that fails half-way': [
    0,
    () => expect(() => store.db.exec('DELETE FROM candles_15; INSERT INTO nowhere VALUES (1)')).toThrow(),
  ],
  'run of INSERT OR REPLACE': [
    10,
    () =>
      store.db
        .prepare(
          'INSERT OR REPLACE INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES (?, ?, 1, 1, 1, 1, 1)',
        )
        .run(SYMBOL, timeOf(0)),
  ],
  'run of UPDATE OR REPLACE': [
    9,
    () =>
      store.db.prepare('UPDATE OR REPLACE candles_15 SET time = ? WHERE time = ?').run(timeOf(0), timeOf(1)),
  ],
  'run of a statement with the name in quotes and other case': [
    0,
    () => store.db.prepare('DELETE FROM "CANDLES_15"').run(),
  ],
  'run of INSERT OR IGNORE': [
    10,
    () =>
      store.db
        .prepare(
          'INSERT OR IGNORE INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES (?, ?, 1, 1, 1, 1, 1)',
        )
        .run(SYMBOL, timeOf(0)),
  ],
  'a statement that fails after some of its rows': [
    10,
    () =>
      expect(() =>
        store.db
          .prepare(
            'INSERT OR FAIL INTO candles_15 (symbol, time, open, high, low, close, volume) SELECT symbol, time + 1, open, high, low, close, CASE WHEN time = ? THEN NULL ELSE 1 END FROM candles_15 ORDER BY time DESC',
          )
          .run(timeOf(9)),
      ).toThrow(),
  ],
  'a transaction': [11, () => store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(10)))()],
  'a transaction that is rolled back': [
    10,
    () => {
      const run = store.db.transaction(() => {
        store.upsertCandles(TABLE, SYMBOL, candles(5, 20));
        store.deleteCandles(TABLE, SYMBOL, { before: timeOf(3) });
        THROW();
      });
      expect(run).toThrow('back');
    },
  ],
  'a savepoint that is rolled back': [
    11,
    () =>
      store.db.transaction(() => {
        store.upsertCandle(TABLE, SYMBOL, candle(10));
        const inner = store.db.transaction(() => {
          store.upsertCandles(TABLE, SYMBOL, candles(5, 20));
          expect(all(store)).toHaveLength(16);
          THROW();
        });
        expect(inner).toThrow('back');
      })(),
  ],
  'a savepoint that is released': [
    16,
    () =>
      store.db.transaction(() => {
        store.upsertCandle(TABLE, SYMBOL, candle(10));
        store.db.transaction(() => store.upsertCandles(TABLE, SYMBOL, candles(5, 20)))();
      })(),
  ],
  'ROLLBACK TO and COMMIT as SQL': [
    11,
    () => {
      store.db.exec('BEGIN');
      store.upsertCandle(TABLE, SYMBOL, candle(10));
      store.db.exec('SAVEPOINT s');
      store.upsertCandle(TABLE, SYMBOL, candle(11));
      store.db.exec('DELETE FROM candles_15');
      store.db.exec('ROLLBACK TO s; COMMIT');
    },
  ],
  'INSERT OR ROLLBACK that ends the transaction': [
    10,
    () => {
      store.db.exec('BEGIN');
      store.upsertCandle(TABLE, SYMBOL, candle(10));
      expect(() =>
        store.db.exec(
          `INSERT OR ROLLBACK INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES ('${SYMBOL}', ${timeOf(0)}, 1, 1, 1, 1, 1)`,
        ),
      ).toThrow(sqliteFailure('SQLITE_CONSTRAINT_UNIQUE', { code: 'CONSTRAINT' }));
      expect(store.db.inTransaction).toBe(false);
    },
  ],
  'a trigger that deletes everything': [
    0,
    () =>
      store.db.exec(
        'CREATE TABLE x (a); CREATE TRIGGER r AFTER INSERT ON x BEGIN DELETE FROM candles_15; END; INSERT INTO x VALUES (1)',
      ),
  ],
  'a trigger that was there before and that only another table is named for': [
    0,
    () => {
      store.db.exec(
        'CREATE TABLE x (a); CREATE TRIGGER r AFTER INSERT ON x BEGIN DELETE FROM candles_15; END',
      );
      expect(store.getStats().candles_15).toBe(10);
      store.db.exec('INSERT INTO x VALUES (1)');
    },
  ],
  'a trigger that a queued write sets off': [
    0,
    async () => {
      store.db.exec(
        'CREATE TABLE x (a); CREATE TRIGGER r AFTER INSERT ON x BEGIN DELETE FROM candles_15; END',
      );
      expect(store.getStats().candles_15).toBe(10);
      await store.enqueueWrite('INSERT INTO x VALUES (?)', [1]);
    },
  ],
  'a trigger that a candle of another timeframe sets off': [
    0,
    () => {
      store.db.exec('CREATE TRIGGER r AFTER INSERT ON candles_60 BEGIN DELETE FROM candles_15; END');
      expect(store.getStats().candles_15).toBe(10);
      store.upsertCandle(60, SYMBOL, candle(0));
    },
  ],
  'REPLACE through a view': [
    10,
    () => {
      store.db.exec(
        'CREATE VIEW v AS SELECT * FROM candles_15; CREATE TRIGGER r INSTEAD OF INSERT ON v BEGIN INSERT OR REPLACE INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES (new.symbol, new.time, 1, 1, 1, 1, 1); END',
      );
      expect(store.getStats().candles_15).toBe(10);
      store.db.prepare('INSERT INTO v (symbol, time) VALUES (?, ?)').run(SYMBOL, timeOf(0));
    },
  ],
  'DROP TABLE': [undefined, () => store.db.exec('DROP TABLE candles_15')],
};

test.each(Object.entries(WRITES))('are exact after %s', async (name, [count, write]) => {
  await write();
  if (count === undefined) expect(store.getStats().candles_15).toBe(0);
  else expect(counts()).toEqual(everywhere(count));
  // And go on being exact.
  if (
    count !== undefined &&
    store.db.prepare("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'").pluck().get() === 0
  ) {
    store.upsertCandle(TABLE, 'X:MORE', candle(0));
    expect(counts()).toEqual(everywhere(count + 1));
  }
});

test('inside an open transaction do not count what is not committed, and are right after it', () => {
  store.db.transaction(() => {
    store.upsertCandles(TABLE, SYMBOL, candles(5, 20));
    expect(store.getStats().candles_15).toBe(10);
  })();
  expect(counts()).toEqual(everywhere(15));
});

test('hold a count for each table, the times of locks, and no key named status or timestamp', () => {
  const stats = store.getStats();
  expect(stats).toMatchObject({
    candles_15: 10,
    candles_60: 0,
    candles_240: 0,
    candles_1440: 0,
    lockWaitCount: 0,
    lockTimeoutCount: 0,
  });
  expect(stats.countsAt).toBeGreaterThan(Date.UTC(2024, 0, 1));
  expect(stats.countsAt).toBeLessThanOrEqual(Date.now());
  expect(Object.keys(stats)).not.toEqual(expect.arrayContaining(['status']));
  expect(Object.keys(stats)).not.toEqual(expect.arrayContaining(['timestamp']));
  expect(JSON.parse(JSON.stringify(stats))).toEqual(stats);
});

test('tell what the queue has done', async () => {
  const before = store.getStats();
  await store.enqueueCandles(TABLE, SYMBOL, candles(10, 100));
  await expect(store.enqueueWrite('INSERT INTO nowhere VALUES (1)')).rejects.toThrow();
  const stats = store.getStats();
  expect(stats).toMatchObject({
    accepted: before.accepted + 2,
    acceptedRows: before.acceptedRows + 11,
    committed: before.committed + 1,
    committedRows: before.committedRows + 10,
    failed: before.failed + 1,
    failedRows: before.failedRows + 1,
    withdrawn: 0,
    withdrawnRows: 0,
    coalesced: 0,
    coalescedRows: 0,
    rejected: 0,
    groups: before.groups + 1,
    retries: 0,
    rowsPerGroup: 10,
    queueWaitBackfillP99Ms: 0,
    queueWaitMaintenanceP99Ms: 0,
    queuedBatches: 0,
    queuedRows: 0,
    inFlight: 0,
    inFlightRows: 0,
    breaker: 'closed',
  });
  expect(stats.commitMeanMs).toBeGreaterThan(0);
  expect(stats.commitMaxMs).toBeGreaterThanOrEqual(stats.commitP99Ms);
  expect(stats.queueWaitLiveP99Ms).toBeGreaterThan(0);
});

test('tell the same as queue.stats()', async () => {
  await Promise.all(
    ['live', 'backfill', 'maintenance'].map((priority, n) =>
      store.enqueueCandles(TABLE, SYMBOL, candles(n + 1, n * 10), { priority }),
    ),
  );
  const flat = store.getStats();
  const whole = store.queue.stats();
  const { accepted, committed, coalesced, failed, withdrawn, queued, inFlight } = whole;
  const { commitMs, lockWaitMs, queueWaitMs } = whole;
  expect(flat).toMatchObject({
    accepted: accepted.commands,
    acceptedRows: accepted.rows,
    committed: committed.commands,
    committedRows: committed.rows,
    coalesced: coalesced.commands,
    coalescedRows: coalesced.rows,
    failed: failed.commands,
    failedRows: failed.rows,
    withdrawn: withdrawn.commands,
    withdrawnRows: withdrawn.rows,
    queuedBatches: queued.commands,
    queuedRows: queued.rows,
    inFlight: inFlight.commands,
    inFlightRows: inFlight.rows,
    rejected: whole.rejected,
    groups: whole.groups,
    retries: whole.retries,
    rowsPerGroup: whole.rowsPerGroup.mean,
    commitMeanMs: commitMs.meanMs,
    commitP99Ms: commitMs.p99Ms,
    commitMaxMs: commitMs.maxMs,
    lockWaitCount: lockWaitMs.count,
    lockWaitMeanMs: lockWaitMs.meanMs,
    lockWaitP50Ms: lockWaitMs.p50Ms,
    lockWaitP99Ms: lockWaitMs.p99Ms,
    lockWaitMaxMs: lockWaitMs.maxMs,
    lockTimeoutCount: whole.lockTimeouts,
    queueWaitLiveP99Ms: queueWaitMs.live.p99Ms,
    queueWaitBackfillP99Ms: queueWaitMs.backfill.p99Ms,
    queueWaitMaintenanceP99Ms: queueWaitMs.maintenance.p99Ms,
    breaker: whole.breaker.state,
  });
  expect([queueWaitMs.live, queueWaitMs.backfill, queueWaitMs.maintenance].map(({ count }) => count)).toEqual(
    [1, 1, 1],
  );
});

test('count a missing table as 0', () => {
  store.db.exec('DROP TABLE candles_60');
  expect(store.getStats()).toMatchObject({ candles_15: 10, candles_60: 0 });
  expect(store.getStats({ exact: true })).toMatchObject({ candles_15: 10, candles_60: 0 });
});

test('see what another program commits at once, as long as counting is quick', async () => {
  const other = python(store.db.name);
  for (let n = 0; n < 20; n++) {
    await other.sql(`INSERT INTO candles_15 ${ROW}`, n);
    expect(store.getStats().candles_15).toBe(11 + n);
    // Own commits between those of others.
    if (n % 3 === 0) {
      store.upsertCandle(60, SYMBOL, candle(n));
      expect(store.getStats()).toMatchObject({ candles_15: 11 + n, candles_60: n / 3 + 1 });
    }
  }
  await other.sql('DELETE FROM candles_15');
  store.upsertCandle(TABLE, SYMBOL, candle(0));
  expect(counts()).toEqual(everywhere(1));
  await other.sql('DROP TABLE candles_15');
  expect(store.getStats().candles_15).toBe(0);
  await other.end();
});

test('become right by being polled when counting takes longer than statsBudgetMs', async () => {
  const slow = open(newFile(), { statsBudgetMs: 0 });
  slow.upsertCandles(TABLE, SYMBOL, candles(10));
  expect(slow.getStats().candles_15).toBe(10);
  const other = python(slow.db.name);
  await other.sql(`INSERT INTO candles_15 ${ROW}`, 1);
  await until(() => slow.getStats().candles_15 === 11);
  await other.sql(`INSERT INTO candles_15 ${ROW}`, 2);
  expect(slow.getStats({ exact: true }).candles_15).toBe(12);
  // Own commits are counted at once all the while.
  slow.upsertCandle(TABLE, SYMBOL, candle(10));
  expect(slow.getStats().candles_15).toBe(13);
  await other.end();
});

test('are exact for own commits while the queue writes and another process writes, too', async () => {
  const writing = runElsewhere(
    ({ require: load }, file) => {
      const other = load('candlestore').openStore(file);
      for (let n = 0; n < 200; n++)
        other.upsertCandle(15, 'X:OTHER', {
          time: 1704067200000 + n * 900000,
          open: 1,
          high: 1,
          low: 1,
          close: 1,
          volume: 1,
        });
      return other.close();
    },
    [store.db.name],
  );
  const queued = [];
  for (let n = 0; n < 200; n++) {
    queued.push(store.enqueueCandles(TABLE, 'X:QUEUE', candles(10, n * 5)));
    store.upsertCandle(TABLE, 'X:SYNC', candle(n));
    // Never less than this process has committed.
    expect(store.getStats().candles_15).toBeGreaterThanOrEqual(10 + n + 1);
  }
  await Promise.all(queued);
  expect(await writing).toMatchObject({ code: 0, stderr: '' });
  const expected = 10 + 200 + (199 * 5 + 10) + 200;
  await until(() => store.getStats().candles_15 === expected);
  expect(counts()).toEqual(everywhere(expected));
});

test('of two stores on one file are the same', async () => {
  const second = open(store.db.name);
  second.upsertCandles(TABLE, 'X:Y', candles(5));
  expect(store.getStats().candles_15).toBe(15);
  expect(second.getStats().candles_15).toBe(15);
  await store.enqueueCandles(TABLE, 'X:Y', candles(10));
  expect(second.getStats().candles_15).toBe(20);
});

test.each([7, 'exact', null, { exact: 1 }, { exact: 'yes' }])('refuse options of %p', (options) => {
  expect(() => store.getStats(options)).toThrow(failure({ code: 'INVALID_ARGUMENT' }));
});

test('counts are told under their own names, in whatever order the timeframes were given', () => {
  const store = open(newFile(), { timeframes: [240, 15, 60] });
  store.upsertCandles(60, SYMBOL, candles(2));
  store.upsertCandles(240, SYMBOL, candles(3));
  expect(store.getStats()).toMatchObject({ candles_15: 0, candles_60: 2, candles_240: 3 });
});
