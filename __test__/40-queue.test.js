'use strict';

// Writes through the queue: what they report, what fails alone, what is withdrawn, in which order they are written.

const { python } = require('./support/process.js');
const { until } = require('./support/until.js');
const { SYMBOL, TABLE, all, candle, candles, failure, newFile, open, timeOf } = require('./support/store.js');

let store;
beforeEach(() => {
  store = open();
  store.db.exec('CREATE TABLE pools (id INTEGER PRIMARY KEY, name TEXT UNIQUE, fee REAL)');
});

/** Runs `work` while another process holds the write lock of the store's file; it is released after `work`. */
async function whileLocked(work, on = store) {
  const other = python(on.db.name);
  await other.sql('BEGIN IMMEDIATE');
  try {
    return await work();
  } finally {
    await other.sql('COMMIT');
    await other.end();
  }
}

/** What becomes of promises, without waiting for those that are not settled. */
function watch(...promises) {
  const outcomes = promises.map(() => 'waiting');
  promises.forEach((promise, n) =>
    promise.then(
      () => (outcomes[n] = 'done'),
      (error) => (outcomes[n] = error.code),
    ),
  );
  return outcomes;
}

describe('enqueueCandles()', () => {
  test('says what was inserted, updated and left, and when', async () => {
    const first = await store.enqueueCandles(TABLE, SYMBOL, candles(10));
    expect(first).toEqual({
      sequence: expect.any(Number),
      inserted: 10,
      updated: 0,
      unchanged: 0,
      coalesced: 0,
      queuedMs: expect.any(Number),
      commitMs: expect.any(Number),
    });
    for (const time of [first.queuedMs, first.commitMs]) expect(time).toBeGreaterThanOrEqual(0);
    const second = await store.enqueueCandles(TABLE, SYMBOL, [
      ...candles(5),
      ...candles(10, 5, { close: 1 }),
    ]);
    expect(second).toMatchObject({ inserted: 5, updated: 5, unchanged: 5, coalesced: 0 });
    expect(second.sequence).toBeGreaterThan(first.sequence);
    expect(all(store)).toEqual([...candles(5), ...candles(10, 5, { close: 1 })]);
  });

  test('has committed when it settles: every other connection reads it', async () => {
    const other = python(store.db.name);
    for (let n = 0; n < 20; n++) {
      await store.enqueueCandles(TABLE, SYMBOL, [candle(n)]);
      expect(await other.sql('SELECT max(time) FROM candles_15')).toEqual([[timeOf(n)]]);
    }
    await other.end();
  });

  test('rejects arguments, it does not throw', async () => {
    for (const call of [
      () => store.enqueueCandles(),
      () => store.enqueueCandles(TABLE),
      () => store.enqueueCandles(TABLE, SYMBOL, [null]),
      () => store.enqueueWrite(),
      () => store.enqueueWrite(7),
      () => store.enqueueTransaction(),
      () => store.enqueueTransaction([]),
      () => store.enqueueTransaction([null]),
      () => store.enqueueTransaction([{ params: [] }]),
      () => store.enqueueDelete(),
      () => store.enqueueDelete(TABLE, SYMBOL, null),
      () => store.readCandles(),
      () => store.readCandles(null),
    ]) {
      const promise = call();
      expect(promise).toBeInstanceOf(Promise);
      await expect(promise).rejects.toEqual(
        failure({ code: expect.stringMatching(/^(INVALID_ARGUMENT|INVALID_CANDLE|UNKNOWN_TABLE)$/) }),
      );
    }
  });

  test('takes a batch of maxBatchRows and refuses a larger one, of which nothing is written', async () => {
    const small = open(newFile(), { maxBatchRows: 10 });
    await small.enqueueCandles(TABLE, SYMBOL, candles(10));
    await expect(small.enqueueCandles(TABLE, SYMBOL, candles(11, 100))).rejects.toEqual(
      failure({
        code: 'BATCH_TOO_LARGE',
        written: 'no',
        retryable: false,
        message: expect.stringContaining('10'),
      }),
    );
    await small.flush();
    expect(all(small)).toEqual(candles(10));
    // The synchronous write knows no such bound.
    small.upsertCandles(TABLE, SYMBOL, candles(100));
  });

  test('with atomic: false writes a larger one in slices and adds the results up', async () => {
    const small = open(newFile(), { maxBatchRows: 7 });
    const list = candles(100).map((each, n) =>
      n % 3 === 0 ? { ...each, clusters: { [n]: { bid: n, ask: 1 } } } : each,
    );
    await small.enqueueCandles(TABLE, SYMBOL, list.slice(0, 5), { atomic: false });
    const result = await small.enqueueCandles(TABLE, SYMBOL, list, { atomic: false });
    expect(result).toMatchObject({ inserted: 95, updated: 0, unchanged: 5, coalesced: 0 });
    expect(all(small)).toEqual(list);
  });

  test('with atomic: false still refuses a bad candle before anything is written', async () => {
    const small = open(newFile(), { maxBatchRows: 2 });
    await expect(
      small.enqueueCandles(TABLE, SYMBOL, [...candles(10), candle(10, { close: NaN })], { atomic: false }),
    ).rejects.toEqual(failure({ code: 'INVALID_CANDLE', index: 10 }));
    await small.flush();
    expect(all(small)).toEqual([]);
  });
});

describe('enqueueWrite()', () => {
  test('runs one statement on tables of the caller and says what it did', async () => {
    expect(await store.enqueueWrite('INSERT INTO pools (name, fee) VALUES (?, ?)', ['a', 0.3])).toEqual({
      sequence: expect.any(Number),
      changes: 1,
      lastInsertRowid: 1,
      queuedMs: expect.any(Number),
      commitMs: expect.any(Number),
    });
    expect(
      await store.enqueueWrite('INSERT INTO pools (name, fee) VALUES (:name, :fee) RETURNING id, name', {
        name: 'b',
        fee: 1,
      }),
    ).toMatchObject({ changes: 1, lastInsertRowid: 2, rows: [{ id: 2, name: 'b' }] });
    expect(await store.enqueueWrite('UPDATE pools SET fee = 7')).toMatchObject({ changes: 2 });
    expect(await store.enqueueWrite('DELETE FROM pools WHERE id = 99')).toMatchObject({ changes: 0 });
    expect(await store.enqueueWrite('CREATE TABLE more (a)')).toMatchObject({ changes: 0 });
    expect(store.db.prepare('SELECT name, fee FROM pools').raw().all()).toEqual([
      ['a', 7],
      ['b', 7],
    ]);
  });

  test.each([
    'BEGIN',
    'begin immediate',
    'COMMIT',
    'END',
    'ROLLBACK',
    'ROLLBACK TO x',
    'SAVEPOINT x',
    'RELEASE x',
    '/* x */ COMMIT',
    '-- x\nROLLBACK',
    ' ; COMMIT',
    '\ufeffCOMMIT',
    'PRAGMA user_version = 1',
    'pragma journal_mode = DELETE',
    "ATTACH ':memory:' AS a",
    'DETACH a',
    'VACUUM',
    "VACUUM INTO 'x'",
    'DELETE FROM pools; DELETE FROM pools',
    'DELETE FROM pools; COMMIT',
    'SELECT 1; -- a\n COMMIT',
    '',
    ' ',
    ';',
    '-- nothing',
    'SELECT 1\0',
    'EXPLAIN COMMIT; COMMIT',
  ])('refuses %j', async (sql) => {
    await expect(store.enqueueWrite(sql)).rejects.toEqual(
      failure({ code: 'INVALID_SQL', written: 'no', retryable: false }),
    );
    await expect(store.enqueueTransaction(['DELETE FROM pools', sql])).rejects.toEqual(
      failure({ code: 'INVALID_SQL' }),
    );
    // Its neighbours in one group are written.
    const outcomes = await Promise.allSettled([
      store.enqueueCandles(TABLE, SYMBOL, [candle(0)]),
      store.enqueueWrite(sql),
      store.enqueueCandles(TABLE, SYMBOL, [candle(1)]),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(all(store)).toEqual(candles(2));
    expect(store.db.pragma('user_version', { simple: true })).toBe(0);
    expect(store.db.pragma('journal_mode', { simple: true })).toBe('wal');
  });

  test.each([
    ['a bad statement', 'INSERT INTO nowhere VALUES (1)', [], 'SQL_ERROR'],
    ['a broken constraint', "INSERT INTO pools (name) VALUES ('taken')", [], 'CONSTRAINT'],
    ['OR ROLLBACK', "INSERT OR ROLLBACK INTO pools (name) VALUES ('taken')", [], 'CONSTRAINT'],
    [
      'OR FAIL half-way',
      "INSERT OR FAIL INTO pools (name) VALUES ('new'), ('taken'), ('never')",
      [],
      'CONSTRAINT',
    ],
    ['RAISE(ROLLBACK)', 'DELETE FROM guarded', [], 'CONSTRAINT'],
    ['too few parameters', 'INSERT INTO pools (name) VALUES (?)', [], 'INVALID_ARGUMENT'],
    ['a deferred constraint', 'INSERT INTO child VALUES (99)', [], 'CONSTRAINT'],
  ])('%s fails alone: its neighbours in the group are committed', async (_, sql, params, code) => {
    store.db.exec(`
      PRAGMA foreign_keys = ON;
      CREATE TABLE child (pool REFERENCES pools (id) DEFERRABLE INITIALLY DEFERRED);
      CREATE TABLE guarded (a); INSERT INTO guarded VALUES (1);
      CREATE TRIGGER guard BEFORE DELETE ON guarded BEGIN SELECT RAISE(ROLLBACK, 'guarded'); END;
      INSERT INTO pools (name) VALUES ('taken')`);
    const before = store.getStats();
    let queued;
    // All are accepted before the first is begun: they make one group.
    await whileLocked(() => {
      queued = [
        store.enqueueCandles(TABLE, SYMBOL, candles(3)),
        store.enqueueWrite("INSERT INTO pools (name) VALUES ('before')"),
        store.enqueueWrite(sql, params),
        store.enqueueWrite("INSERT INTO pools (name) VALUES ('after')"),
        store.enqueueTransaction([
          "INSERT INTO pools (name) VALUES ('x')",
          sql,
          "INSERT INTO pools (name) VALUES ('y')",
        ]),
        store.enqueueCandles(60, SYMBOL, candles(3)),
        store.enqueueDelete(TABLE, SYMBOL, { before: timeOf(1) }),
      ];
      for (const each of queued) each.catch(() => {});
    });
    const outcomes = await Promise.allSettled(queued);
    expect(outcomes.map(({ status, reason }) => reason?.code ?? status)).toEqual([
      'fulfilled',
      'fulfilled',
      code,
      'fulfilled',
      code,
      'fulfilled',
      'fulfilled',
    ]);
    expect(outcomes[2].reason).toEqual(failure({ written: 'no' }));
    expect(store.db.prepare('SELECT name FROM pools ORDER BY id').pluck().all()).toEqual([
      'taken',
      'before',
      'after',
    ]);
    expect(all(store)).toEqual(candles(2, 1));
    expect(all(store, SYMBOL, 60)).toEqual(candles(3));
    expect(store.db.prepare('SELECT count(*) FROM guarded').pluck().get()).toBe(1);
    expect(store.getStats()).toMatchObject({ candles_15: 2, candles_60: 3, failed: before.failed + 2 });
  });
});

describe('enqueueTransaction()', () => {
  test('runs all or none, and says what each did', async () => {
    const result = await store.enqueueTransaction([
      { sql: 'INSERT INTO pools (name) VALUES (?)', params: ['a'] },
      "INSERT INTO pools (name) VALUES ('b'), ('c')",
      { sql: 'UPDATE pools SET fee = :fee RETURNING id', params: { fee: 1 } },
    ]);
    expect(result).toMatchObject({ changes: 6, lastInsertRowid: 3 });
    expect(result.results.map(({ changes }) => changes)).toEqual([1, 2, 3]);
    expect(result.results[2].rows).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }]);
    await expect(
      store.enqueueTransaction([
        'DELETE FROM pools',
        "INSERT INTO pools (name) VALUES ('x')",
        'INSERT INTO nowhere VALUES (1)',
      ]),
    ).rejects.toEqual(failure({ code: 'SQL_ERROR', written: 'no' }));
    expect(store.db.prepare('SELECT count(*) FROM pools').pluck().get()).toBe(3);
  });

  test('copies what it is given: later changes are not written', async () => {
    const bytes = Buffer.from('before');
    const params = ['before'];
    const statements = [{ sql: 'INSERT INTO pools (name) VALUES (?)', params }];
    const named = { fee: 1 };
    const queued = [
      store.enqueueTransaction(statements),
      store.enqueueWrite('UPDATE pools SET fee = :fee', named),
      store.enqueueWrite('CREATE TABLE blobs AS SELECT ? AS bytes', [bytes]),
    ];
    params[0] = 'after';
    statements.push('DELETE FROM pools');
    named.fee = 2;
    bytes.fill(0);
    await Promise.all(queued);
    expect(store.db.prepare('SELECT name, fee FROM pools').get()).toEqual({ name: 'before', fee: 1 });
    expect(store.db.prepare('SELECT bytes FROM blobs').pluck().get().toString()).toBe('before');
  });
});

describe('enqueueDelete()', () => {
  test('removes a range and says how many, in its place in the order', async () => {
    const results = await Promise.all([
      store.enqueueCandles(TABLE, SYMBOL, candles(10)),
      store.enqueueDelete(TABLE, SYMBOL, { after: timeOf(2), before: timeOf(6) }),
      store.enqueueCandles(TABLE, SYMBOL, [candle(4, { close: 1 })]),
    ]);
    expect(results[1]).toEqual({
      sequence: results[0].sequence + 1,
      deleted: 3,
      queuedMs: expect.any(Number),
      commitMs: expect.any(Number),
    });
    expect(all(store)).toEqual([...candles(3), candle(4, { close: 1 }), ...candles(4, 6)]);
    expect(await store.enqueueDelete(TABLE, SYMBOL)).toMatchObject({ deleted: 8 });
  });
});

describe('a full queue', () => {
  const filled = async (options, work) => {
    const small = open(newFile(), { queueCapacityRows: 10, ...options });
    return whileLocked(() => work(small), small);
  };

  test('refuses the new write and loses none of the old, and takes again when there is room', async () => {
    let accepted;
    let small;
    await filled({}, async (made) => {
      small = made;
      accepted = [0, 1].map((n) => small.enqueueCandles(TABLE, SYMBOL, candles(5, n * 5)));
      const refused = failure({
        code: 'QUEUE_FULL',
        written: 'no',
        retryable: true,
        message: expect.stringContaining('10'),
      });
      await expect(small.enqueueCandles(TABLE, SYMBOL, [candle(50)])).rejects.toEqual(refused);
      await expect(small.enqueueWrite('DELETE FROM candles_15')).rejects.toEqual(refused);
      await expect(small.enqueueDelete(TABLE, SYMBOL)).rejects.toEqual(refused);
      expect(small.getStats()).toMatchObject({ rejected: 3, queuedRows: 10, queuedBatches: 2 });
      // Nothing stands in the way of a read.
      expect(all(small)).toEqual([]);
    });
    await Promise.all(accepted);
    await small.enqueueCandles(TABLE, SYMBOL, [candle(50)]);
    expect(all(small)).toEqual([...candles(10), candle(50)]);
  });

  test('is full by bytes, too', async () => {
    const small = open(newFile(), { queueCapacityBytes: 65_536 });
    const big = candle(1, { clusters: { text: 'x'.repeat(60_000) } });
    await whileLocked(async () => {
      const first = small.enqueueCandles(TABLE, SYMBOL, [big]);
      await expect(
        small.enqueueCandles(TABLE, SYMBOL, [candle(2, { clusters: big.clusters })]),
      ).rejects.toEqual(failure({ code: 'QUEUE_FULL' }));
      expect(small.queue.live).toMatchObject({ batches: 1, rows: 1 });
      expect(small.queue.live.bytes).toBeGreaterThan(60_000);
      first.catch(() => {});
    }, small);
    await small.flush();
    expect(all(small)).toEqual([big]);
  });

  test("with whenFull: 'wait' lets callers wait for room, in their order", async () => {
    const order = [];
    let waiting;
    let small;
    await filled({ whenFull: 'wait' }, async (made) => {
      small = made;
      waiting = Array.from({ length: 20 }, (_, n) =>
        small.enqueueCandles(TABLE, SYMBOL, candles(5, n * 5)).then(() => order.push(n)),
      );
      await until(() => small.getStats().queuedRows === 10);
    });
    await Promise.all(waiting);
    expect(order).toEqual(Array.from({ length: 20 }, (_, n) => n));
    expect(all(small)).toEqual(candles(100));
  });

  test("with whenFull: 'wait' lets go of those who give up or whose time is over, and writes nothing of theirs", async () => {
    const abort = new AbortController();
    let small;
    let first;
    await filled({ whenFull: 'wait' }, async (made) => {
      small = made;
      first = small.enqueueCandles(TABLE, SYMBOL, candles(10));
      const given = small.enqueueCandles(TABLE, 'X:A', [candle(0)], { signal: abort.signal });
      const late = small.enqueueCandles(TABLE, 'X:B', [candle(0)], { timeoutMs: 30 });
      const patient = small.enqueueCandles(TABLE, 'X:C', [candle(0)]);
      abort.abort(new Error('enough'));
      await expect(given).rejects.toEqual(
        failure({ code: 'ABORTED', written: 'no', cause: new Error('enough') }),
      );
      await expect(late).rejects.toEqual(failure({ code: 'TIMEOUT', written: 'no' }));
      first = Promise.all([first, patient]);
    });
    await first;
    expect(['X:A', 'X:B', 'X:C'].map((symbol) => all(small, symbol).length)).toEqual([0, 0, 1]);
  });

  test("with whenFull: 'wait' is left by all with CLOSED when the store is closed, or written, and nothing hangs", async () => {
    let outcomes;
    let small;
    await filled({ whenFull: 'wait' }, async (made) => {
      small = made;
      const waiting = Array.from({ length: 5 }, (_, n) =>
        small.enqueueCandles(TABLE, SYMBOL, candles(10, n * 10)),
      );
      outcomes = Promise.allSettled(waiting);
      await small.close({ deadlineMs: 50 });
    });
    for (const { status, reason } of await outcomes) {
      expect(status).toBe('rejected');
      expect(reason).toEqual(failure({ code: 'CLOSED', written: 'no' }));
    }
    expect(all(open(small.db.name, { queueCapacityRows: 10, whenFull: 'wait' }))).toEqual([]);
  });

  test('that is empty takes a batch larger than itself', async () => {
    const small = open(newFile(), { queueCapacityRows: 10 });
    await small.enqueueCandles(TABLE, SYMBOL, candles(100));
    expect(all(small)).toEqual(candles(100));
  });
});

describe('a write is withdrawn', () => {
  test('by its signal while another process holds the lock, and is not written', async () => {
    const abort = new AbortController();
    let queued;
    await whileLocked(async () => {
      queued = [
        store.enqueueCandles(TABLE, 'X:A', candles(3), { signal: abort.signal }),
        store.enqueueCandles(TABLE, 'X:B', candles(3)),
        store.enqueueWrite("INSERT INTO pools (name) VALUES ('a')", [], { signal: abort.signal }),
        store.enqueueTransaction(["INSERT INTO pools (name) VALUES ('b')"], { signal: abort.signal }),
        store.enqueueDelete(TABLE, 'X:B', {}, { signal: abort.signal }),
      ];
      queued.forEach((each) => each.catch(() => {}));
      abort.abort(new Error('enough'));
      for (const n of [0, 2, 3, 4])
        await expect(queued[n]).rejects.toEqual(
          failure({ code: 'ABORTED', written: 'no', retryable: false }),
        );
    });
    await queued[1];
    await store.flush();
    expect(all(store, 'X:A')).toEqual([]);
    expect(all(store, 'X:B')).toEqual(candles(3));
    expect(store.db.prepare('SELECT * FROM pools').all()).toEqual([]);
    expect(store.getStats()).toMatchObject({ withdrawn: 4, queuedBatches: 0, queuedRows: 0, inFlight: 0 });
  });

  test('by a signal that is aborted already, without being accepted', async () => {
    const before = store.getStats();
    await expect(
      store.enqueueCandles(TABLE, SYMBOL, candles(3), { signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toEqual(failure({ code: 'ABORTED', written: 'no', cause: new Error('enough') }));
    await store.flush();
    expect(all(store)).toEqual([]);
    expect(store.getStats().committed).toBe(before.committed);
  });

  test('with the reason of its signal as the cause', async () => {
    const abort = new AbortController();
    const reason = new Error('the user left');
    await whileLocked(async () => {
      const queued = store.enqueueCandles(TABLE, SYMBOL, candles(3), { signal: abort.signal });
      queued.catch(() => {});
      abort.abort(reason);
      await expect(queued).rejects.toMatchObject({ code: 'ABORTED', cause: reason });
    });
  });

  test("by AbortSignal.timeout() and by timeoutMs, within the other's lock", async () => {
    await whileLocked(async () => {
      const outcomes = await Promise.allSettled([
        store.enqueueCandles(TABLE, SYMBOL, candles(3), { signal: AbortSignal.timeout(20) }),
        store.enqueueCandles(TABLE, SYMBOL, candles(3), { timeoutMs: 20 }),
        store.enqueueCandles(TABLE, SYMBOL, candles(3), { timeoutMs: 0 }),
        store.enqueueWrite("INSERT INTO pools (name) VALUES ('a')", [], {
          timeoutMs: 20,
          priority: 'maintenance',
        }),
        store.enqueueDelete(TABLE, SYMBOL, {}, { timeoutMs: 20, priority: 'backfill' }),
      ]);
      expect(outcomes.map(({ reason }) => reason?.code)).toEqual([
        'ABORTED',
        'TIMEOUT',
        'TIMEOUT',
        'TIMEOUT',
        'TIMEOUT',
      ]);
      for (const { reason } of outcomes.slice(1)) {
        expect(reason).toEqual(failure({ written: 'no', retryable: true }));
        expect(reason.waitedMs).toBeGreaterThanOrEqual(0);
      }
    });
    await store.flush();
    expect(all(store)).toEqual([]);
  });

  test('never when it has no deadline: it waits as long as it takes', async () => {
    let queued;
    let outcomes;
    await whileLocked(async () => {
      queued = store.enqueueCandles(TABLE, SYMBOL, candles(3));
      outcomes = watch(queued);
      // Longer than a synchronous write waits.
      const impatient = store.enqueueCandles(TABLE, 'X:Y', candles(3), { timeoutMs: 300 });
      await expect(impatient).rejects.toEqual(failure({ code: 'TIMEOUT' }));
      expect(outcomes).toEqual(['waiting']);
    });
    await queued;
    expect(all(store)).toEqual(candles(3));
  });

  test('too late: an abort after the commit changes nothing', async () => {
    const abort = new AbortController();
    expect(await store.enqueueCandles(TABLE, SYMBOL, candles(3), { signal: abort.signal })).toMatchObject({
      inserted: 3,
    });
    abort.abort();
    await store.flush();
    expect(all(store)).toEqual(candles(3));
  });

  test('or written, never both, when the abort comes at any moment', async () => {
    const outcomes = [];
    for (let n = 0; n < 300; n++) {
      const abort = new AbortController();
      const queued = store.enqueueCandles(TABLE, SYMBOL, [candle(n)], { signal: abort.signal });
      outcomes.push(
        queued.then(
          () => n,
          (error) => (expect(error.code).toBe('ABORTED'), null),
        ),
      );
      if (n % 3 === 0) abort.abort();
      else if (n % 3 === 1) setImmediate(() => abort.abort());
      else queueMicrotask(() => abort.abort());
      if (n % 10 === 0) await new Promise(setImmediate);
    }
    const written = (await Promise.all(outcomes)).filter((n) => n !== null);
    expect(all(store)).toEqual(written.map((n) => candle(n)));
  });
});

describe('the order of writes', () => {
  test('of one priority is the order of acceptance', async () => {
    const done = [];
    let queued;
    await whileLocked(() => {
      queued = Array.from({ length: 50 }, (_, n) =>
        store
          .enqueueCandles(TABLE, SYMBOL, [candle(0, { close: n })])
          .then(({ sequence }) => done.push(sequence)),
      );
    });
    await Promise.all(queued);
    expect(done).toEqual([...done].sort((a, b) => a - b));
    expect(all(store)).toEqual([candle(0, { close: 49 })]);
  });

  test('lets live go before backfill, and backfill before maintenance', async () => {
    store.db.exec('CREATE TABLE seen (priority)');
    const queued = [];
    await whileLocked(() => {
      for (let n = 0; n < 5; n++)
        for (const priority of ['maintenance', 'backfill', 'live'])
          queued.push(store.enqueueWrite('INSERT INTO seen VALUES (?)', [`${priority} ${n}`], { priority }));
    });
    await Promise.all(queued);
    const seen = store.db.prepare('SELECT priority FROM seen ORDER BY rowid').pluck().all();
    expect(seen).toEqual(
      ['live', 'backfill', 'maintenance'].flatMap((priority) =>
        [0, 1, 2, 3, 4].map((n) => `${priority} ${n}`),
      ),
    );
  });

  test('shows in queue: what waits, by priority', async () => {
    expect(store.queue).toEqual(
      Object.fromEntries(
        ['live', 'backfill', 'maintenance'].map((priority) => [
          priority,
          { batches: 0, rows: 0, bytes: 0, oldestAgeMs: 0 },
        ]),
      ),
    );
    let queued;
    await whileLocked(async () => {
      queued = [
        store.enqueueCandles(TABLE, SYMBOL, candles(3)),
        store.enqueueCandles(TABLE, SYMBOL, candles(4, 10), { priority: 'backfill' }),
        store.enqueueCandles(TABLE, SYMBOL, candles(5, 20), { priority: 'backfill' }),
        store.enqueueWrite('DELETE FROM pools', [], { priority: 'maintenance' }),
      ];
      const { live, backfill, maintenance } = store.queue;
      expect([live, backfill, maintenance].map(({ batches, rows }) => [batches, rows])).toEqual([
        [1, 3],
        [2, 9],
        [1, 1],
      ]);
      await until(() => store.queue.live.oldestAgeMs > 0);
    });
    await Promise.all(queued);
    expect(store.queue.backfill).toMatchObject({ batches: 0, rows: 0, bytes: 0 });
  });

  test('keeps the newer candle when live overtakes backfill', async () => {
    let queued;
    await whileLocked(() => {
      queued = [
        store.enqueueCandles(
          TABLE,
          SYMBOL,
          candles(10, 0, { close: 1, clusters: { 1: { bid: 1, ask: 1 } } }),
          { priority: 'backfill' },
        ),
        store.enqueueCandles(TABLE, SYMBOL, candles(3, 4, { close: 2 })),
        store.enqueueCandles(TABLE, SYMBOL, [candle(5, { close: 3 })]),
      ];
    });
    const [backfill, live] = await Promise.all(queued);
    expect(live).toMatchObject({ inserted: 2, coalesced: 1 });
    expect(backfill).toMatchObject({ inserted: 7, coalesced: 3 });
    const old = { close: 1, clusters: { 1: { bid: 1, ask: 1 } } };
    expect(all(store)).toEqual([
      ...candles(4, 0, old),
      candle(4, { close: 2 }),
      candle(5, { close: 3 }),
      candle(6, { close: 2 }),
      ...candles(3, 7, old),
    ]);
  });

  test('lets backfill that was accepted later win over an older live write', async () => {
    let queued;
    await whileLocked(() => {
      queued = [
        store.enqueueCandles(TABLE, SYMBOL, [candle(0, { close: 1 })]),
        store.enqueueCandles(TABLE, SYMBOL, [candle(0, { close: 2 })], { priority: 'backfill' }),
      ];
    });
    await Promise.all(queued);
    expect(all(store)).toEqual([candle(0, { close: 2 })]);
  });

  test('keeps what a synchronous write has stored while older backfill waits', async () => {
    // A queue so full that the synchronous write comes before most of it.
    const queued = Array.from({ length: 60 }, (_, n) =>
      store.enqueueCandles(TABLE, SYMBOL, candles(2000, n * 2000, { close: 1 }), { priority: 'backfill' }),
    );
    const last = 60 * 2000 - 1;
    store.upsertCandle(TABLE, SYMBOL, candle(last, { close: 2 }));
    store.upsertCandles(TABLE, SYMBOL, [candle(last - 1, { close: 3 })]);
    store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(last - 2, { close: 4 })))();
    expect(store.getCandles(TABLE, SYMBOL, 3).map(({ close }) => close)).toEqual([4, 3, 2]);
    expect(
      store.deleteCandles(TABLE, SYMBOL, { after: timeOf(last - 4), before: timeOf(last - 2) }),
    ).toBeGreaterThanOrEqual(0);
    await Promise.all(queued);
    expect(store.getCandles(TABLE, SYMBOL, 4).map(({ time, close }) => [time, close])).toEqual([
      [timeOf(last - 4), 1],
      [timeOf(last - 2), 4],
      [timeOf(last - 1), 3],
      [timeOf(last), 2],
    ]);
    expect(store.getStats().candles_15).toBe(60 * 2000 - 1);
  });

  test('leaves out of older backfill what a later delete has removed', async () => {
    let queued;
    await whileLocked(() => {
      queued = [
        store.enqueueCandles(TABLE, SYMBOL, candles(10), { priority: 'backfill' }),
        store.enqueueDelete(TABLE, SYMBOL, { before: timeOf(5) }),
      ];
    });
    const [backfill] = await Promise.all(queued);
    expect(backfill).toMatchObject({ inserted: 5, coalesced: 5 });
    expect(all(store)).toEqual(candles(5, 5));
  });
});

describe('flush()', () => {
  test('waits for everything accepted before it, and for nothing after', async () => {
    const done = [];
    const queued = Array.from({ length: 30 }, (_, n) =>
      store
        .enqueueCandles(TABLE, SYMBOL, candles(1000, n * 1000), {
          priority: n % 2 ? 'backfill' : 'maintenance',
        })
        .then(() => done.push(n)),
    );
    await store.flush();
    expect(store.getStats().candles_15).toBe(30_000);
    // Their callers know in the same turn of the event loop.
    await new Promise(setImmediate);
    expect(done).toHaveLength(30);
    await Promise.all(queued);
  });

  test('settles when what it waits for fails or is withdrawn', async () => {
    const abort = new AbortController();
    await whileLocked(async () => {
      const withdrawn = store.enqueueCandles(TABLE, SYMBOL, candles(3), { signal: abort.signal });
      const late = store.enqueueCandles(TABLE, SYMBOL, candles(3), { timeoutMs: 20 });
      const outcomes = Promise.allSettled([withdrawn, late]);
      const flushed = store.flush();
      abort.abort();
      await outcomes;
      await flushed;
    });
    const bad = store.enqueueWrite('INSERT INTO nowhere VALUES (1)').catch(({ code }) => code);
    await store.flush();
    expect(await bad).toBe('SQL_ERROR');
  });

  test('of an empty queue settles, also where nothing was ever written', async () => {
    await store.flush();
    await open().flush();
    await open(':memory:').flush();
  });
});

test('1,000 writers of one candle each are all answered', async () => {
  const results = await Promise.all(
    Array.from({ length: 1000 }, (_, n) => store.enqueueCandles(TABLE, SYMBOL, [candle(n)])),
  );
  expect(new Set(results.map(({ sequence }) => sequence)).size).toBe(1000);
  expect(all(store)).toEqual(candles(1000));
  // They were committed in groups, which is what the queue is for.
  expect(store.getStats().groups).toBeLessThan(1000);
});

test('a caller that enqueues from the answer of a write is served', async () => {
  let count = 0;
  const next = async () => {
    await store.enqueueCandles(TABLE, SYMBOL, [candle(count)]);
    if ((count += 1) < 100) await next();
  };
  await next();
  expect(all(store)).toEqual(candles(100));
});

describe('readCandles()', () => {
  test('reads off the event loop what is committed', async () => {
    store.upsertCandles(TABLE, SYMBOL, candles(300));
    const reads = await Promise.all(
      Array.from({ length: 50 }, (_, n) => store.readCandles({ table: TABLE, symbol: SYMBOL, limit: n })),
    );
    reads.forEach((read, n) => expect(read).toEqual(candles(n, 300 - n)));
  });

  test('is given up by signal and time-out', async () => {
    const refused = failure({ code: 'ABORTED' });
    const request = { table: TABLE, symbol: SYMBOL };
    await expect(store.readCandles({ ...request, signal: AbortSignal.abort() })).rejects.toEqual(refused);
    const abort = new AbortController();
    const read = store.readCandles({ ...request, signal: abort.signal });
    abort.abort(new Error('gone'));
    await expect(read).rejects.toEqual(failure({ code: 'ABORTED', cause: new Error('gone') }));
    // One that is done in time is not harmed by its deadline.
    expect(
      await store.readCandles({ ...request, timeoutMs: 20_000, signal: new AbortController().signal }),
    ).toEqual([]);
  });

  test.each([
    { format: 'xml' },
    { format: 7 },
    { timeoutMs: -1 },
    { signal: 7 },
    { limit: -1 },
    { limit: NaN },
    { before: 'x' },
    { tabel: 15 },
  ])('refuses %j', async (wrong) => {
    await expect(store.readCandles({ table: TABLE, symbol: SYMBOL, ...wrong })).rejects.toEqual(
      failure({ code: 'INVALID_ARGUMENT' }),
    );
  });
});

describe('queue.stats()', () => {
  const amount = (commands, rows) => ({ commands, rows });

  /** What is told, if the sum holds. */
  function summed(on = store) {
    const told = on.queue.stats();
    for (const unit of ['commands', 'rows']) {
      const parts = ['committed', 'coalesced', 'failed', 'queued', 'inFlight'].map(
        (name) => told[name][unit],
      );
      expect([unit, parts.reduce((sum, part) => sum + part)]).toEqual([unit, told.accepted[unit]]);
      expect(told.withdrawn[unit]).toBeLessThanOrEqual(told.failed[unit]);
    }
    return told;
  }

  test('of a new store is all there is to know, and nothing', () => {
    const none = amount(0, 0);
    const time = { count: 0, meanMs: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 };
    expect(summed()).toEqual({
      accepted: none,
      committed: none,
      coalesced: none,
      failed: none,
      withdrawn: none,
      queued: none,
      inFlight: none,
      rejected: 0,
      groups: 0,
      retries: 0,
      rowsPerGroup: { mean: 0, max: 0 },
      commitMs: time,
      lockWaitMs: time,
      queueWaitMs: { live: time, backfill: time, maintenance: time },
      lockTimeouts: 0,
      breaker: { state: 'closed', failures: 0, nextTrialMs: null },
    });
    expect(Object.keys(store.queue)).toEqual(['live', 'backfill', 'maintenance']);
  });

  test('has every accepted write where it belongs, and a refused one beside them', async () => {
    const small = open(newFile(), { queueCapacityRows: 20 });
    const abort = new AbortController();
    let outcomes;
    await whileLocked(async () => {
      const queued = [
        small.enqueueCandles(TABLE, SYMBOL, candles(5), { priority: 'backfill' }),
        // All of it, and two of the five before it, are written by the newer one.
        small.enqueueCandles(TABLE, SYMBOL, candles(2), { priority: 'backfill' }),
        small.enqueueCandles(TABLE, SYMBOL, candles(2, 0, { close: 1 })),
        small.enqueueCandles(TABLE, SYMBOL, candles(4, 50), { signal: abort.signal }),
        small.enqueueCandles(TABLE, SYMBOL, candles(3, 60), { timeoutMs: 1 }),
        small.enqueueWrite('INSERT INTO nowhere VALUES (1)'),
        small.enqueueWrite('CREATE TABLE more (a)'),
      ];
      outcomes = Promise.allSettled(queued);
      await expect(small.enqueueCandles(TABLE, SYMBOL, candles(30, 90))).rejects.toEqual(
        failure({ code: 'QUEUE_FULL' }),
      );
      expect(summed(small)).toMatchObject({ accepted: amount(7, 18), rejected: 1 });
      abort.abort();
      await queued[4].catch(() => {});
      const told = summed(small);
      expect(told).toMatchObject({ failed: amount(2, 7), withdrawn: amount(2, 7), queued: amount(5, 11) });
      expect(told.lockTimeouts).toBe(1);
    }, small);
    expect((await outcomes).map(({ value, reason }) => reason?.code ?? value.coalesced ?? 'ran')).toEqual([
      2,
      2,
      0,
      'ABORTED',
      'TIMEOUT',
      'SQL_ERROR',
      'ran',
    ]);
    const told = summed(small);
    expect(told).toMatchObject({
      accepted: amount(7, 18),
      committed: amount(3, 6),
      coalesced: amount(1, 4),
      failed: amount(3, 8),
      withdrawn: amount(2, 7),
      queued: amount(0, 0),
      inFlight: amount(0, 0),
      rejected: 1,
    });
    // The group with the bad statement was undone and run again.
    expect(told.retries).toBeGreaterThanOrEqual(1);
    expect(told.commitMs.count).toBe(told.groups);
    expect(told.lockWaitMs.count).toBeGreaterThanOrEqual(1);
  });

  test("does not count the tries of callers that wait for room as refused, with whenFull: 'wait'", async () => {
    const small = open(newFile(), { queueCapacityRows: 10, whenFull: 'wait' });
    let queued;
    await whileLocked(async () => {
      queued = Array.from({ length: 5 }, (_, n) => small.enqueueCandles(TABLE, SYMBOL, candles(5, n * 5)));
      await until(() => small.getStats().queuedRows === 10);
      expect(summed(small)).toMatchObject({ accepted: amount(2, 10), rejected: 0 });
    }, small);
    await Promise.all(queued);
    expect(summed(small)).toMatchObject({ committed: amount(5, 25), rejected: 0 });
  });

  test('counts what closing has given up as failed', async () => {
    const file = newFile();
    const [first, second] = [open(file), open(file)];
    await whileLocked(async () => {
      const given = first.enqueueCandles(TABLE, SYMBOL, candles(3));
      const outcome = expect(given).rejects.toEqual(failure({ code: 'CLOSED', written: 'no' }));
      await first.close({ deadlineMs: 10 });
      await outcome;
      expect(summed(second)).toMatchObject({ failed: amount(1, 3), withdrawn: amount(1, 3) });
    }, second);
  });

  test('adds up at every moment while writers of every kind are at work', async () => {
    const small = open(newFile(), { queueCapacityRows: 40, groupBudgetMs: 1 });
    const other = python(small.db.name);
    const priorities = ['live', 'backfill', 'maintenance'];
    const outcomes = [];
    const note = (promise) =>
      outcomes.push(
        promise.then(
          () => 'done',
          ({ code }) => code,
        ),
      );
    for (let n = 0; n < 600; n++) {
      // Another process holds the lock a quarter of the time, in which the queue gets full; a synchronous write would
      // wait for it.
      const held = n % 40 < 10;
      if (n % 40 === 0) await other.sql('BEGIN IMMEDIATE');
      if (n % 40 === 10) await other.sql('COMMIT');
      const priority = priorities[n % 3];
      const abort = new AbortController();
      note(
        small.enqueueCandles(TABLE, SYMBOL, candles(1 + (n % 20), n % 50), {
          priority,
          signal: abort.signal,
        }),
      );
      if (n % 7 === 0) abort.abort();
      if (n % 11 === 0) note(small.enqueueWrite('INSERT INTO nowhere VALUES (1)', [], { priority }));
      if (n % 13 === 0) note(small.enqueueDelete(TABLE, SYMBOL, { before: timeOf(3) }, { priority }));
      if (n % 17 === 0) note(small.enqueueCandles(60, SYMBOL, candles(3), { priority, timeoutMs: 0 }));
      if (n % 40 === 1)
        for (const later of ['backfill', 'live'])
          note(small.enqueueCandles(TABLE, 'X:SAME', [candle(0)], { priority: later }));
      if (n % 19 === 0 && !held) small.upsertCandle(TABLE, SYMBOL, candle(n % 50));
      if (n % 23 === 0 && !held) small.db.transaction(() => small.upsertCandles(TABLE, SYMBOL, candles(3)))();
      if (n % 40 === 30) await Promise.race(outcomes.slice(-20));
      summed(small);
    }
    await other.end();
    while (small.queue.stats().queued.commands > 0) {
      summed(small);
      await new Promise(setImmediate);
    }
    const codes = await Promise.all(outcomes);
    expect(new Set(codes)).toEqual(new Set(['done', 'QUEUE_FULL', 'ABORTED', 'TIMEOUT', 'SQL_ERROR']));
    const refused = codes.filter((code) => code === 'QUEUE_FULL').length;
    const told = summed(small);
    expect(told).toMatchObject({ queued: amount(0, 0), inFlight: amount(0, 0), rejected: refused });
    expect(told.accepted.commands + refused).toBe(codes.length);
    for (const name of ['committed', 'coalesced', 'failed', 'withdrawn']) {
      expect([name, told[name].commands > 0, told[name].rows > 0]).toEqual([name, true, true]);
    }
  });

  test('is refused when the store is closed', async () => {
    const { queue } = store;
    await store.close();
    expect(() => queue.stats()).toThrow(failure({ code: 'CLOSED' }));
  });
});

describe('several writes of one candle in one group', () => {
  const at = (n, close) => candle(n, { close });
  const enqueue = (n, close, options) =>
    store.enqueueCandles(
      TABLE,
      SYMBOL,
      [].concat(n).map((one) => at(one, close)),
      options,
    );

  /** All that was accepted is told of, by commands and by rows. */
  function expectSums() {
    const { accepted, committed, coalesced, failed, queued, inFlight } = store.queue.stats();
    for (const unit of ['commands', 'rows'])
      expect(
        [committed, coalesced, failed, queued, inFlight].reduce((sum, amount) => sum + amount[unit], 0),
      ).toBe(accepted[unit]);
    return { committed: committed.rows, coalesced: coalesced.rows, failed: failed.rows };
  }

  test('stores the one accepted last, and each caller has its own result', async () => {
    const outcomes = await whileLocked(async () => Array.from({ length: 100 }, (_, n) => enqueue(0, n)));
    const results = await Promise.all(outcomes);
    expect(all(store)).toEqual([at(0, 99)]);
    expect(results.at(-1)).toMatchObject({ inserted: 1, coalesced: 0 });
    for (const result of results)
      expect(result.inserted + result.updated + result.unchanged + result.coalesced).toBe(1);
    expect(results.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 100 }, (_, n) => results[0].sequence + n),
    );
    const sums = expectSums();
    expect(sums.committed + sums.coalesced).toBe(100);
    expect(sums.coalesced).toBeGreaterThanOrEqual(98);
  });

  test('of which some overlap leaves alone only what a newer one has', async () => {
    const outcomes = await whileLocked(async () => [
      enqueue([0, 1, 2], 1),
      enqueue([2, 3], 2),
      enqueue([5], 3),
      enqueue([3, 4], 4),
      store.enqueueCandles(60, SYMBOL, [at(3, 5)]),
      store.enqueueCandles(TABLE, 'X:OTHER', [at(3, 6)]),
    ]);
    await Promise.all(outcomes);
    expect(all(store).map(({ close }) => close)).toEqual([1, 1, 2, 4, 4, 3]);
    expect([all(store, SYMBOL, 60), all(store, 'X:OTHER')]).toEqual([[at(3, 5)], [at(3, 6)]]);
    expectSums();
  });

  test('keeps to what lies between: statements, deletions, priorities', async () => {
    store.db.exec('CREATE TABLE seen (close)');
    const look = () => store.enqueueWrite('INSERT INTO seen SELECT close FROM candles_15');
    const outcomes = await whileLocked(async () => [
      enqueue(0, 1),
      enqueue(0, 2),
      look(),
      enqueue(0, 3),
      store.enqueueDelete(TABLE, SYMBOL),
      look(),
      enqueue(0, 4),
      enqueue(0, 5),
      look(),
      enqueue(0, 6, { priority: 'backfill' }),
      enqueue(0, 7),
      enqueue(1, 8, { priority: 'backfill' }),
      enqueue(1, 9),
    ]);
    await Promise.all(outcomes);
    expect(all(store).map(({ close }) => close)).toEqual([7, 9]);
    expect(store.db.prepare('SELECT close FROM seen').pluck().all()).toEqual([2, 5]);
    expectSums();
  });

  test('yields to a synchronous write and a transaction that were accepted later', async () => {
    store.upsertCandle(TABLE, 'X:BEFORE', candle(0));
    let outcomes = [];
    store.db.transaction(() => {
      // The token is taken; what is queued waits for it.
      store.getCandles(TABLE, SYMBOL);
      outcomes = [enqueue([0, 1], 1), enqueue([0, 2], 2)];
      store.upsertCandle(TABLE, SYMBOL, at(0, 3));
    })();
    store.upsertCandle(TABLE, SYMBOL, at(1, 4));
    store.deleteCandles(TABLE, SYMBOL, { after: timeOf(1) });
    await Promise.all(outcomes.concat(enqueue(2, 5)));
    const stored = all(store).map(({ time, close }) => [time, close]);
    // Whatever was committed when: each candle is as the write accepted last has left it.
    expect(stored).toEqual([
      [timeOf(0), 3],
      [timeOf(1), 4],
      [timeOf(2), 5],
    ]);
    expectSums();
  });

  test('stands when a neighbour fails, at its statement or only at COMMIT', async () => {
    store.db.exec(`
      CREATE TRIGGER picky BEFORE INSERT ON candles_15 WHEN new.close = 666 BEGIN SELECT RAISE(ROLLBACK, 'no'); END;
      CREATE TRIGGER picky2 BEFORE UPDATE ON candles_15 WHEN new.close = 666 BEGIN SELECT RAISE(ABORT, 'no'); END;
      CREATE TABLE parent (id INTEGER PRIMARY KEY);
      CREATE TABLE child (parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`);
    const { settled } = await whileLocked(async () => ({
      settled: Promise.allSettled([
        enqueue(0, 1),
        enqueue(0, 2),
        enqueue([0, 1], 666),
        enqueue(0, 3),
        store.enqueueWrite("INSERT INTO pools VALUES (1, 'a', 1)"),
        store.enqueueWrite("INSERT INTO pools VALUES (1, 'b', 1)"),
        store.enqueueWrite('INSERT INTO child VALUES (7)'),
        enqueue(1, 4),
        enqueue(1, 5),
        enqueue(2, 666),
        enqueue(2, 6),
      ]),
    }));
    const results = await settled;
    const failed = results.map(({ reason }) => reason?.code);
    // The row of close 666 at candle 0 is spared when a newer write of its group has it, but candle 1 never is alone.
    expect(failed.slice(0, 2)).toEqual([undefined, undefined]);
    expect([failed[3], failed[4], failed[5], failed[7], failed[8], failed[10]]).toEqual([
      undefined,
      undefined,
      'CONSTRAINT',
      undefined,
      undefined,
      undefined,
    ]);
    expect(all(store).map(({ close }) => close)).toEqual([3, 5, 6]);
    expect(store.db.prepare('SELECT name FROM pools').pluck().all()).toEqual(['a']);
    expectSums();
  });

  test('is not stored when it was withdrawn or too late, and the older one is', async () => {
    const control = new AbortController();
    const { settled } = await whileLocked(async () => {
      const made = [
        enqueue(0, 1),
        enqueue(0, 2, { signal: control.signal }),
        enqueue(1, 3),
        enqueue(1, 4, { timeoutMs: 10 }),
      ];
      const outcomes = Promise.allSettled(made);
      control.abort();
      await expect(made[3]).rejects.toEqual(failure({ code: 'TIMEOUT', written: 'no' }));
      return { settled: outcomes };
    });
    const results = await settled;
    expect(results.map(({ reason }) => reason?.code)).toEqual([undefined, 'ABORTED', undefined, 'TIMEOUT']);
    expect(all(store).map(({ close }) => close)).toEqual([1, 3]);
    expect(expectSums()).toEqual({ committed: 2, coalesced: 0, failed: 2 });
  });

  test('of every kind at random is what a plain map says', async () => {
    let seed = 20_240_601;
    const random = (below) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * below);
    };
    const map = new Map();
    for (let round = 0; round < 4; round++) {
      const outcomes = await whileLocked(async () => {
        const made = [];
        for (let n = 0; n < 150; n++) {
          const close = round * 1000 + n + 1;
          const priority = ['live', 'backfill', 'maintenance'][random(3)];
          const first = random(20);
          if (random(10) === 0) {
            const [after, before] = [first, first + random(6)].map(timeOf);
            made.push(store.enqueueDelete(TABLE, SYMBOL, { after, before }, { priority }));
            for (const time of [...map.keys()]) if (after < time && time < before) map.delete(time);
          } else {
            const numbers = Array.from({ length: 1 + random(5) }, (_, place) => first + place);
            made.push(enqueue(numbers, close, { priority }));
            for (const number of numbers) map.set(timeOf(number), close);
          }
        }
        return made;
      });
      await Promise.all(outcomes);
      expect(all(store).map(({ time, close }) => [time, close])).toEqual([...map].sort(([a], [b]) => a - b));
      expectSums();
    }
  });
});

describe('a long queue', () => {
  test('of backfill advances while live writes fill every group', async () => {
    const busy = open(newFile(), { groupBudgetMs: 1 });
    let waiting = 20;
    const settled = [];
    const backfill = Array.from({ length: waiting }, (_, n) =>
      busy
        .enqueueCandles(TABLE, 'X:BACK', candles(200, n * 200), {
          priority: n % 2 ? 'maintenance' : 'backfill',
        })
        .then(() => {
          settled.push(n);
          waiting -= 1;
        }),
    );
    // More than one group is always on its way, so that the live lane is never empty.
    const stream = async (name) => {
      for (let close = 0; waiting > 0; close++)
        await busy.enqueueCandles(TABLE, `X:${name}`, candles(1_000, 0, { close }));
    };
    await Promise.all(['A', 'B', 'C', 'D', 'E', 'F'].map(stream));
    await Promise.all(backfill);
    expect(all(busy, 'X:BACK')).toEqual(candles(4_000));
    for (const odd of [0, 1]) {
      const told = settled.filter((n) => n % 2 === odd);
      expect(told).toEqual([...told].sort((a, b) => a - b));
    }
    expect(busy.queue.stats()).toMatchObject({ failed: { commands: 0 }, queued: { commands: 0 } });
  });
});
