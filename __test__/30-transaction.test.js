'use strict';

// Transactions of the caller's: db.transaction(), BEGIN and COMMIT as SQL, and what happens around them meanwhile.

const { spawnSync } = require('node:child_process');
const { setImmediate: turn } = require('node:timers/promises');
const { python, startElsewhere } = require('./support/process.js');
const {
  NOT_OPEN,
  SYMBOL,
  TABLE,
  all,
  candle,
  candles,
  failure,
  locked,
  newFile,
  open,
  sqliteFailure,
  timeOf,
} = require('./support/store.js');

let store;
beforeEach(() => {
  store = open();
});

/** What SQLite refuses because of the state that the handle is in. */
const misplaced = (message) => sqliteFailure('SQLITE_ERROR', { code: 'SQL_ERROR' }, { message });

const THROW = () => {
  throw new Error('back');
};
const committed = () => store.getCandles(TABLE, SYMBOL, 1000, null, true);

describe('db.transaction(fn)', () => {
  test('commits what upsertCandle() stored in it, as the collector does at load', () => {
    const upsert = store.db.transaction((table, symbol, list) => {
      for (const each of list) store.upsertCandle(table, symbol, each);
    });
    upsert(TABLE, SYMBOL, candles(1000));
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(timeOf(999));
    expect(store.db.inTransaction).toBe(false);
    upsert(TABLE, SYMBOL, candles(1000, 500, { close: 1 }));
    expect(all(store)).toEqual([...candles(500), ...candles(1000, 500, { close: 1 })]);
    upsert(TABLE, SYMBOL, []);
  });

  test('writes of many series and tables keep their order', () => {
    store.db.transaction(() => {
      for (let n = 0; n < 300; n++) {
        store.upsertCandle([15, 60, 240][n % 3], `X:${n % 7}`, candle(n % 10, { close: n }));
        if (n % 50 === 0) store.upsertCandles(15, 'X:0', [candle(0, { close: -n })]);
        if (n % 70 === 0) store.deleteCandles(60, 'X:1', { after: timeOf(4) });
      }
    })();
    // The same in one statement each, by plain arithmetic.
    const expected = new Map();
    for (let n = 0; n < 300; n++) {
      expected.set(`${[15, 60, 240][n % 3]} X:${n % 7} ${n % 10}`, n);
      if (n % 50 === 0) expected.set('15 X:0 0', -n);
      if (n % 70 === 0) for (let m = 5; m < 10; m++) expected.delete(`60 X:1 ${m}`);
    }
    const found = new Map();
    for (const table of [15, 60, 240])
      for (let s = 0; s < 7; s++)
        for (const each of all(store, `X:${s}`, table))
          found.set(`${table} X:${s} ${(each.time - timeOf(0)) / 900_000}`, each.close + 0);
    expect(Object.fromEntries(found)).toEqual(
      Object.fromEntries([...expected].map(([key, value]) => [key, value + 0])),
    );
  });

  test('passes parameters, this and the result through, and has the variants of better-sqlite3', () => {
    const add = store.db.transaction(function (a, b) {
      return [this, a + b, store.db.inTransaction];
    });
    const self = {};
    expect(add.call(self, 1, 2)).toEqual([self, 3, true]);
    for (const variant of ['default', 'deferred', 'immediate', 'exclusive']) {
      expect(add[variant].call(self, 1, 2)).toEqual([self, 3, true]);
      expect(store.db.inTransaction).toBe(false);
    }
    expect(add.database).toBe(store.db);
    expect(add.immediate.exclusive.deferred(1, 1)[1]).toBe(2);
    for (const wrong of [undefined, 7, 'BEGIN', {}])
      expect(() => store.db.transaction(wrong)).toThrow(TypeError);
  });

  test('rolls everything back when the function throws, and throws the very same', () => {
    store.upsertCandles(TABLE, SYMBOL, candles(2));
    const thrown = [new Error('back'), undefined, null, 0, 'text'];
    for (const what of thrown) {
      let caught = 'nothing';
      try {
        store.db.transaction(() => {
          store.upsertCandles(TABLE, SYMBOL, candles(5, 10));
          store.upsertCandle(TABLE, SYMBOL, candle(0, { close: 1 }));
          store.deleteCandles(TABLE, SYMBOL, { after: timeOf(0) });
          store.db.exec('CREATE TABLE t (a)');
          expect(all(store)).toEqual([candle(0, { close: 1 })]);
          throw what;
        })();
      } catch (error) {
        caught = error;
      }
      expect(caught).toBe(what);
      expect(store.db.inTransaction).toBe(false);
      expect(all(store)).toEqual(candles(2));
    }
    expect(store.db.prepare("SELECT name FROM sqlite_schema WHERE name = 't'").all()).toEqual([]);
  });

  test('rolls back and refuses a function that returns a promise', async () => {
    const run = store.db.transaction(async () => store.upsertCandle(TABLE, SYMBOL, candle(0)));
    expect(run).toThrow(TypeError);
    expect(store.db.inTransaction).toBe(false);
    await turn();
    expect(all(store)).toEqual([]);
    // What the async function does later is no part of any transaction.
    let later;
    const late = store.db.transaction(async () => {
      await null;
      store.upsertCandle(TABLE, SYMBOL, candle(1));
      later = store.db.inTransaction;
    });
    expect(late).toThrow(TypeError);
    await turn();
    expect(later).toBe(false);
    expect(all(store)).toEqual([candle(1)]);
  });

  test('nested is a savepoint: its throw takes back only what it did', () => {
    store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      const inner = store.db.transaction((n, fails) => {
        store.upsertCandle(TABLE, SYMBOL, candle(n));
        store.upsertCandles(TABLE, SYMBOL, [candle(n + 100)]);
        store.upsertCandle(TABLE, SYMBOL, candle(n + 200));
        const deepest = store.db.transaction(() => {
          store.upsertCandle(TABLE, SYMBOL, candle(n + 300));
          if (n === 3) THROW();
        });
        if (n === 3) expect(deepest).toThrow('back');
        else deepest();
        if (fails) THROW();
      });
      inner(1, false);
      expect(() => inner(2, true)).toThrow('back');
      inner(3, false);
      store.upsertCandle(TABLE, SYMBOL, candle(4));
      expect(store.db.inTransaction).toBe(true);
    })();
    expect(all(store)).toEqual([0, 1, 3, 4, 101, 103, 201, 203, 301].map((n) => candle(n)));
  });

  test('nested 100 deep works', () => {
    const dive = store.db.transaction((n) => {
      store.upsertCandle(TABLE, SYMBOL, candle(n));
      if (n < 100) dive(n + 1);
      if (n === 50) THROW();
    });
    expect(() => dive(0)).toThrow('back');
    expect(all(store)).toEqual([]);
  });

  test('checks a candle at its call, where the caller can catch it and go on', () => {
    store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      expect(() => store.upsertCandle(TABLE, SYMBOL, candle(1, { close: NaN }))).toThrow(
        failure({ code: 'INVALID_CANDLE' }),
      );
      expect(() => store.upsertCandle(TABLE, '', candle(1))).toThrow(failure({ code: 'INVALID_ARGUMENT' }));
      expect(() => store.upsertCandle(5, SYMBOL, candle(1))).toThrow(failure({ code: 'UNKNOWN_TABLE' }));
      expect(() => store.upsertCandles(TABLE, SYMBOL, [candle(1), null])).toThrow(
        failure({ code: 'INVALID_CANDLE' }),
      );
      store.upsertCandle(TABLE, SYMBOL, candle(2));
    })();
    expect(all(store)).toEqual([candle(0), candle(2)]);
  });

  test('of 20,000 candles with footprints is stored whole or not at all', () => {
    const footprint = Object.fromEntries(
      Array.from({ length: 20 }, (_, n) => [String(n), { bid: n, ask: n / 3 }]),
    );
    const list = candles(20_000).map((each, n) => (n % 2 ? { ...each, clusters: footprint } : each));
    const run = store.db.transaction((fails) => {
      for (const each of list) store.upsertCandle(TABLE, SYMBOL, each);
      if (fails) THROW();
    });
    expect(() => run(true)).toThrow('back');
    expect(all(store)).toEqual([]);
    run(false);
    expect(JSON.stringify(all(store)) === JSON.stringify(list)).toBe(true);
  });

  test('leaves the handle usable when its function ends the transaction itself', () => {
    expect(store.db.transaction(() => store.db.exec('ROLLBACK'))).toThrow();
    expect(store.db.inTransaction).toBe(false);
    expect(
      store.db.transaction(() => {
        store.upsertCandle(TABLE, SYMBOL, candle(0));
        store.db.exec('COMMIT');
      }),
    ).toThrow();
    expect(store.db.inTransaction).toBe(false);
    store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(1)))();
    expect(all(store)).toEqual(candles(2));
  });

  test('is not known to be committed by any other connection before its end', async () => {
    const other = python(store.db.name);
    const count = () => other.sql('SELECT count(*) FROM candles_15');
    store.db.exec('BEGIN');
    store.upsertCandles(TABLE, SYMBOL, candles(10));
    expect(await count()).toEqual([[0]]);
    store.db.exec('COMMIT');
    expect(await count()).toEqual([[10]]);
    await other.end();
  });
});

describe('reads inside a transaction', () => {
  test('see its writes, or with readOnly the newest commit', async () => {
    store.upsertCandles(TABLE, SYMBOL, candles(2));
    store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(2));
      expect(all(store)).toEqual(candles(3));
      expect(store.getCandles(TABLE, SYMBOL, { limit: 10, readOnly: false })).toEqual(candles(3));
      expect(committed()).toEqual(candles(2));
      expect(store.getCandles(TABLE, SYMBOL, { readOnly: true })).toEqual(candles(2));
      store.upsertCandle(TABLE, SYMBOL, candle(3));
      expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(timeOf(3));
      store.upsertCandle(TABLE, SYMBOL, candle(4));
      expect(store.db.prepare('SELECT count(*) FROM candles_15').pluck().get()).toBe(5);
      expect(store.dbReadOnly.prepare('SELECT count(*) FROM candles_15').pluck().get()).toBe(2);
    })();
    expect(committed()).toEqual(candles(5));
  });

  test('in the background see the newest commit', async () => {
    store.upsertCandles(TABLE, SYMBOL, candles(2));
    store.db.exec('BEGIN');
    store.upsertCandle(TABLE, SYMBOL, candle(2));
    expect(await store.readCandles({ table: TABLE, symbol: SYMBOL })).toEqual(candles(2));
    store.db.exec('COMMIT');
    expect(await store.readCandles({ table: TABLE, symbol: SYMBOL })).toEqual(candles(3));
  });
});

describe('BEGIN and COMMIT as SQL', () => {
  test.each([
    ['exec', (sql) => store.db.exec(sql)],
    ['prepare().run()', (sql) => store.db.prepare(sql).run()],
  ])('through %s hold across turns of the event loop', async (_, run) => {
    run('BEGIN');
    expect(store.db.inTransaction).toBe(true);
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    await turn();
    store.upsertCandles(TABLE, SYMBOL, [candle(1)]);
    await turn();
    expect(committed()).toEqual([]);
    run('SAVEPOINT a');
    store.upsertCandle(TABLE, SYMBOL, candle(2));
    await turn();
    run('ROLLBACK TO a');
    run('RELEASE a');
    store.upsertCandle(TABLE, SYMBOL, candle(3));
    run('COMMIT');
    expect(store.db.inTransaction).toBe(false);
    expect(all(store)).toEqual([candle(0), candle(1), candle(3)]);
    run('begin immediate');
    store.upsertCandle(TABLE, SYMBOL, candle(9));
    run('rollback');
    expect(store.db.inTransaction).toBe(false);
    expect(all(store)).toEqual([candle(0), candle(1), candle(3)]);
  });

  test.each([
    ['BEGIN', 'COMMIT'],
    ['begin transaction', 'end transaction'],
    ['BEGIN DEFERRED;', ' COMMIT ; '],
    ['BEGIN EXCLUSIVE', 'END'],
    ['-- comment\nBEGIN', '/* comment */ COMMIT'],
    ['SAVEPOINT outer', 'RELEASE outer'],
    ['SAVEPOINT "a b"', 'RELEASE SAVEPOINT "a b"'],
    [';;BEGIN IMMEDIATE TRANSACTION', ';COMMIT'],
  ])('%j ... %j is a transaction', (begin, end) => {
    store.db.exec(begin);
    expect(store.db.inTransaction).toBe(true);
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    expect(committed()).toEqual([]);
    store.db.exec(end);
    expect(store.db.inTransaction).toBe(false);
    expect(committed()).toEqual([candle(0)]);
  });

  test.each([
    'ROLLBACK',
    'rollback transaction',
    '/* x */ ROLLBACK',
    '-- x\nROLLBACK',
    ';ROLLBACK;',
    'SELECT 1; ROLLBACK',
  ])('%j takes everything back, also for what waits in the queue behind it', async (rollback) => {
    store.db.exec('BEGIN');
    const queued = store.enqueueCandles(TABLE, SYMBOL, candles(2));
    store.upsertCandle(TABLE, SYMBOL, candle(0, { close: 7 }));
    expect(all(store)).toHaveLength(1);
    store.upsertCandle(TABLE, SYMBOL, candle(1, { close: 7 }));
    store.db.exec(rollback);
    expect(store.db.inTransaction).toBe(false);
    expect(await queued).toMatchObject({ inserted: 2, coalesced: 0 });
    expect(all(store)).toEqual(candles(2));
  });

  test('COMMIT, ROLLBACK and RELEASE without a transaction are errors that change nothing', () => {
    for (const [sql, message] of [
      ['COMMIT', 'cannot commit - no transaction is active'],
      ['ROLLBACK', 'cannot rollback - no transaction is active'],
      ['RELEASE x', 'no such savepoint: x'],
      ['ROLLBACK TO x', 'no such savepoint: x'],
      ['END', 'cannot commit - no transaction is active'],
    ])
      expect(() => store.db.exec(sql)).toThrow(misplaced(message));
    expect(store.db.inTransaction).toBe(false);
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    expect(committed()).toEqual([candle(0)]);
  });

  test('BEGIN in a transaction is an error, and the transaction goes on', () => {
    store.db.exec('BEGIN');
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    expect(() => store.db.exec('BEGIN')).toThrow(
      misplaced('cannot start a transaction within a transaction'),
    );
    expect(store.db.inTransaction).toBe(true);
    store.db.exec('COMMIT');
    expect(all(store)).toEqual([candle(0)]);
  });

  test('a whole transaction in one script is one', () => {
    store.db.exec(`BEGIN; DELETE FROM candles_15; CREATE TABLE t (a); INSERT INTO t VALUES (1); COMMIT;`);
    expect(store.db.inTransaction).toBe(false);
    expect(() =>
      store.db.exec('BEGIN; INSERT INTO t VALUES (2); INSERT INTO nowhere VALUES (1); COMMIT'),
    ).toThrow();
    // SQLite leaves it to the caller what becomes of the transaction.
    expect(store.db.inTransaction).toBe(true);
    store.db.exec('ROLLBACK');
    expect(store.db.prepare('SELECT a FROM t').pluck().all()).toEqual([1]);
  });

  test('db.transaction() inside it is a savepoint', () => {
    store.db.exec('BEGIN');
    expect(store.db.transaction(() => (store.upsertCandle(TABLE, SYMBOL, candle(0)), THROW()))).toThrow(
      'back',
    );
    store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(1)))();
    expect(committed()).toEqual([]);
    expect(store.db.inTransaction).toBe(true);
    store.db.exec('COMMIT');
    expect(all(store)).toEqual([candle(1)]);
  });
});

describe('the queue meanwhile', () => {
  test('accepts inside a transaction and commits after it', async () => {
    let queued;
    store.db.transaction(() => {
      queued = store.enqueueCandles(TABLE, SYMBOL, candles(3));
      store.upsertCandle(TABLE, SYMBOL, candle(5));
      expect(all(store)).toEqual([candle(5)]);
    })();
    expect(await queued).toMatchObject({ inserted: 3 });
    expect(all(store)).toEqual([...candles(3), candle(5)]);
  });

  test('commits what was accepted inside a transaction that is rolled back', async () => {
    let queued;
    expect(
      store.db.transaction(() => {
        queued = store.enqueueCandles(TABLE, SYMBOL, candles(3));
        THROW();
      }),
    ).toThrow('back');
    await queued;
    expect(all(store)).toEqual(candles(3));
  });

  test('loses nothing to a savepoint that is rolled back', async () => {
    let queued;
    store.db.transaction(() => {
      queued = store.enqueueCandles(TABLE, SYMBOL, candles(3));
      const inner = store.db.transaction(() => {
        store.upsertCandles(TABLE, SYMBOL, candles(3, 0, { close: 7 }));
        store.deleteCandles(TABLE, SYMBOL);
        THROW();
      });
      expect(inner).toThrow('back');
      store.upsertCandle(TABLE, SYMBOL, candle(1, { close: 9 }));
    })();
    expect(await queued).toMatchObject({ inserted: 2, coalesced: 1 });
    expect(all(store)).toEqual([candle(0), candle(1, { close: 9 }), candle(2)]);
  });

  test('leaves alone what the transaction, accepted later, has written or deleted', async () => {
    let queued;
    store.db.transaction(() => {
      queued = store.enqueueCandles(TABLE, SYMBOL, candles(4));
      store.upsertCandle(TABLE, SYMBOL, candle(1, { close: 7 }));
      store.deleteCandles(TABLE, SYMBOL, { after: timeOf(2) });
    })();
    expect(await queued).toMatchObject({ inserted: 2, coalesced: 2 });
    expect(all(store)).toEqual([candle(0), candle(1, { close: 7 }), candle(2)]);
  });

  test('can be withdrawn from by a deadline while the transaction is open', async () => {
    store.db.exec('BEGIN');
    const late = expect(store.enqueueCandles(TABLE, SYMBOL, candles(3), { timeoutMs: 20 })).rejects.toEqual(
      failure({ code: 'TIMEOUT', written: 'no', retryable: true }),
    );
    await late;
    store.db.exec('COMMIT');
    await store.flush();
    expect(all(store)).toEqual([]);
  });
});

describe('a transaction in which a write has failed late', () => {
  /** What its handle throws: the words of the trigger. */
  const raised = (message) =>
    sqliteFailure(
      'SQLITE_CONSTRAINT_TRIGGER',
      { code: 'CONSTRAINT', message: expect.stringContaining(message) },
      { message },
    );

  beforeEach(() => {
    store.db.exec(
      `CREATE TRIGGER picky BEFORE INSERT ON candles_15 WHEN new.close = 666 BEGIN SELECT RAISE(ABORT, 'not this one'); END`,
    );
  });

  test('does not commit, whoever swallows the error', () => {
    const swallowing = store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      store.upsertCandle(TABLE, SYMBOL, candle(1, { close: 666 }));
      try {
        store.getCandles(TABLE, SYMBOL);
      } catch (error) {
        expect(error).toEqual(failure({ code: 'CONSTRAINT', written: 'no', table: TABLE, symbol: SYMBOL }));
      }
    });
    expect(swallowing).toThrow(raised('not this one'));
    expect(store.db.inTransaction).toBe(false);
    expect(all(store)).toEqual([]);
  });

  test('fails at its COMMIT when nothing has handed the rows over before', () => {
    const run = store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      store.upsertCandle(TABLE, SYMBOL, candle(1, { close: 666 }));
    });
    expect(run).toThrow(raised('not this one'));
    expect(all(store)).toEqual([]);
    store.upsertCandle(TABLE, SYMBOL, candle(2));
    expect(all(store)).toEqual([candle(2)]);
  });

  test('begun as SQL refuses everything but ROLLBACK', () => {
    store.db.exec('BEGIN');
    store.upsertCandle(TABLE, SYMBOL, candle(1, { close: 666 }));
    expect(() => store.getCandles(TABLE, SYMBOL)).toThrow(failure({ code: 'CONSTRAINT' }));
    expect(() => store.db.exec('COMMIT')).toThrow(raised('not this one'));
    expect(() => store.upsertCandles(TABLE, SYMBOL, [candle(2)])).toThrow(failure({ code: 'CONSTRAINT' }));
    expect(() => store.db.exec('DELETE FROM candles_15')).toThrow(raised('not this one'));
    expect(store.db.inTransaction).toBe(true);
    store.db.exec('/* enough */ ROLLBACK');
    expect(store.db.inTransaction).toBe(false);
    store.upsertCandle(TABLE, SYMBOL, candle(2));
    expect(all(store)).toEqual([candle(2)]);
  });

  test('in a nested call is rolled back whole, and the store goes on', () => {
    const run = store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      const inner = store.db.transaction(() => {
        store.upsertCandle(TABLE, SYMBOL, candle(1, { close: 666 }));
        store.getLastCandleTime(TABLE, SYMBOL);
      });
      try {
        inner();
      } catch {
        // The caller goes on as if nothing had happened.
      }
      store.upsertCandle(TABLE, SYMBOL, candle(2));
    });
    expect(run).toThrow(raised('not this one'));
    expect(store.db.inTransaction).toBe(false);
    expect(all(store)).toEqual([]);
    store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(3)))();
    expect(all(store)).toEqual([candle(3)]);
  });

  test('because a trigger has ended it ends with that cause, and nothing after it is written on its own', () => {
    store.db.exec(
      `CREATE TRIGGER gone BEFORE INSERT ON candles_15 WHEN new.close = 667 BEGIN SELECT RAISE(ROLLBACK, 'all of it'); END`,
    );
    const run = store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      store.upsertCandle(TABLE, SYMBOL, candle(1, { close: 667 }));
      try {
        store.getCandles(TABLE, SYMBOL);
      } catch {
        // The caller goes on as if nothing had happened.
      }
      store.upsertCandle(TABLE, SYMBOL, candle(2));
      try {
        store.upsertCandles(TABLE, SYMBOL, [candle(3)]);
      } catch {
        // And once more.
      }
    });
    expect(run).toThrow(raised('all of it'));
    expect(store.db.inTransaction).toBe(false);
    expect(all(store)).toEqual([]);
    store.upsertCandle(TABLE, SYMBOL, candle(4));
    expect(all(store)).toEqual([candle(4)]);
  });
});

describe('close() inside a transaction', () => {
  test('is refused, and the transaction goes on', async () => {
    let closing;
    store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      expect(() => store.db.close()).toThrow(locked({ code: 'SELF_DEADLOCK' }));
      closing = expect(store.close()).rejects.toEqual(failure({ code: 'SELF_DEADLOCK' }));
      store.upsertCandle(TABLE, SYMBOL, candle(1));
    })();
    await closing;
    expect(store.db.open).toBe(true);
    expect(all(store)).toEqual(candles(2));
  });

  test('begun as SQL rolls it back', async () => {
    const file = store.db.name;
    store.db.exec('BEGIN');
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    await store.close();
    store = open(file);
    expect(all(store)).toEqual([]);
    store.db.exec('BEGIN');
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    store.db.close();
    store = open(file);
    expect(all(store)).toEqual([]);
  });
});

describe('a second handle on the same file and thread', () => {
  let second;
  beforeEach(() => {
    second = open(store.db.name);
  });

  test('gets SELF_DEADLOCK at once where it would wait for its own thread, and nothing is written', async () => {
    const facts = { code: 'SELF_DEADLOCK', written: 'no', message: expect.stringContaining('BEGIN') };
    const [refused, refusedRaw] = [failure(facts), locked(facts)];
    store.db.exec('BEGIN');
    expect(() => second.upsertCandle(TABLE, SYMBOL, candle(0))).toThrow(refused);
    expect(() => second.upsertCandles(TABLE, SYMBOL, candles(2))).toThrow(refused);
    expect(() => second.deleteCandles(TABLE, SYMBOL)).toThrow(refused);
    expect(() => second.db.exec('DELETE FROM candles_15')).toThrow(refusedRaw);
    expect(() => second.db.transaction(() => second.upsertCandle(TABLE, SYMBOL, candle(0)))()).toThrow(
      refusedRaw,
    );
    expect(() => second.db.exec('BEGIN')).toThrow(refusedRaw);
    // Reads do not wait for anybody, and the queue waits.
    expect(all(second)).toEqual([]);
    expect(second.getStats().candles_15).toBe(0);
    expect(await second.readCandles({ table: TABLE, symbol: SYMBOL })).toEqual([]);
    const queued = second.enqueueCandles(TABLE, SYMBOL, [candle(7)]);
    store.db.exec('COMMIT');
    await queued;
    second.upsertCandle(TABLE, SYMBOL, candle(8));
    expect(all(store)).toEqual([candle(7), candle(8)]);
  });

  test("does not take part in the first one's transaction", () => {
    store.db.exec('BEGIN');
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    expect(second.db.inTransaction).toBe(false);
    expect(all(second)).toEqual([]);
    expect(() => second.db.exec('COMMIT')).toThrow();
    expect(store.db.inTransaction).toBe(true);
    store.db.exec('COMMIT');
    expect(all(second)).toEqual([candle(0)]);
  });

  test('closed while the first has a transaction open closes nothing of the first', async () => {
    store.db.exec('BEGIN');
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    await second.close();
    store.upsertCandle(TABLE, SYMBOL, candle(1));
    store.db.exec('COMMIT');
    expect(all(store)).toEqual(candles(2));
  });
});

test('a transaction on a file that nobody has opened yet waits for nothing but the lock', async () => {
  const file = newFile();
  const first = open(file);
  const other = python(file);
  await other.sql('BEGIN IMMEDIATE');
  const held = open(file).db.transaction(() => first);
  expect(held).toBeInstanceOf(Function);
  expect(first.db.inTransaction).toBe(false);
  await other.sql('COMMIT');
  expect(held()).toBe(first);
  await other.end();
});

describe('a transaction that takes the lock only when it needs it', () => {
  /** Runs `work` while another process holds the write lock. */
  async function whileLocked(work) {
    const other = python(store.db.name);
    await other.sql('BEGIN IMMEDIATE');
    try {
      return await work();
    } finally {
      await other.sql('COMMIT');
      await other.end();
    }
  }
  const VARIANTS = ['default', 'deferred', 'immediate', 'exclusive'];

  test.each(VARIANTS)('%s: a throw leaves nothing, whatever was gathered or written before', (variant) => {
    for (const [first, before] of [
      [3, () => {}],
      [3, () => all(store)],
      [6_001, () => {}],
      [3, () => store.upsertCandle(60, SYMBOL, candle(0))],
      [3, () => store.upsertCandles(TABLE, 'X:OTHER', candles(3))],
    ]) {
      const stop = new Error('stop');
      const run = store.db.transaction(() => {
        for (const each of candles(first)) store.upsertCandle(TABLE, SYMBOL, each);
        before();
        expect(store.db.inTransaction).toBe(true);
        throw stop;
      });
      expect(run[variant]).toThrow(stop);
      expect(store.db.inTransaction).toBe(false);
      expect([all(store), all(store, 'X:OTHER'), all(store, SYMBOL, 60)]).toEqual([[], [], []]);
    }
    store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(0)))[variant]();
    expect(all(store)).toEqual([candle(0)]);
  });

  test('does not wait for the lock until it writes, and one that writes nothing never does', async () => {
    store = open(newFile(), { busyTimeoutMs: 0 });
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    await whileLocked(async () => {
      expect(store.db.transaction(() => 7)()).toBe(7);
      expect(() =>
        store.db.transaction(() => {
          store.upsertCandle(TABLE, SYMBOL, candle(1));
          throw new Error('stop');
        })(),
      ).toThrow('stop');
      expect(store.getStats()).toMatchObject({ lockWaitCount: 0, lockTimeoutCount: 0 });
    });
  });

  test.each([
    ['at its COMMIT', () => {}, locked],
    ['at a read', () => all(store), failure],
    ['at another series', () => store.upsertCandle(60, SYMBOL, candle(0)), failure],
    ['at a batch', () => store.upsertCandles(TABLE, SYMBOL, candles(3)), failure],
    ['at a nested call', () => store.db.transaction(() => {})(), locked],
    ['at a statement', () => store.db.prepare('DELETE FROM candles_60').run(), locked],
    ['at a delete', () => store.deleteCandles(60, SYMBOL), failure],
    [
      'at 5,001 rows',
      () => candles(5_001).forEach((each) => store.upsertCandle(TABLE, SYMBOL, each)),
      failure,
    ],
  ])('that gets TIMEOUT %s leaves nothing, and the handle is free', async (_, then, matching) => {
    store = open(newFile(), { busyTimeoutMs: 20 });
    store.upsertCandle(TABLE, 'X:BEFORE', candle(0));
    const run = store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(1));
      then();
    });
    await whileLocked(async () => {
      expect(run).toThrow(matching({ code: 'TIMEOUT', written: 'no' }));
      expect(store.db.inTransaction).toBe(false);
      expect(all(store)).toEqual([]);
    });
    expect([all(store), all(store, SYMBOL, 60)]).toEqual([[], []]);
    run();
    expect(all(store)).toContainEqual(candle(1));
  });

  test('and that goes on after such a TIMEOUT commits what it was given, all but the refused', async () => {
    store = open(newFile(), { busyTimeoutMs: 20 });
    store.upsertCandle(TABLE, 'X:BEFORE', candle(0));
    const other = python(store.db.name);
    await other.sql('BEGIN IMMEDIATE');
    store.db.exec('SELECT 1');
    store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(1));
      expect(() => store.upsertCandle(60, SYMBOL, candle(1))).toThrow(failure({ code: 'TIMEOUT' }));
      expect(store.db.inTransaction).toBe(true);
      other.child.kill('SIGKILL');
      spawnSync('sh', [
        '-c',
        `while kill -0 ${other.child.pid} 2>/dev/null && ! grep -q '^State:.Z' /proc/${other.child.pid}/status; do :; done`,
      ]);
      store.upsertCandle(TABLE, SYMBOL, candle(2));
    })();
    expect([all(store), all(store, SYMBOL, 60)]).toEqual([candles(2, 1), []]);
  });

  test('reads see its own writes in the order they were made, and with readOnly only what is committed', () => {
    store.upsertCandles(TABLE, SYMBOL, candles(2));
    store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(1, { close: 1 }));
      expect(store.getCandles(TABLE, SYMBOL, 5, null, true)).toEqual(candles(2));
      expect(store.getCandles(TABLE, SYMBOL)).toEqual([candle(0), candle(1, { close: 1 })]);
      store.upsertCandle(TABLE, SYMBOL, candle(2));
      expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(timeOf(2));
      expect(store.db.prepare('SELECT count(*) FROM candles_15').pluck().get()).toBe(3);
      expect(store.dbReadOnly.prepare('SELECT count(*) FROM candles_15').pluck().get()).toBe(2);
      store.upsertCandle(TABLE, 'X:OTHER', candle(3));
      store.upsertCandle(TABLE, SYMBOL, candle(1, { close: 2 }));
      expect(all(store, 'X:OTHER')).toEqual([candle(3)]);
      store.deleteCandles(TABLE, SYMBOL, { after: timeOf(1) });
      expect(all(store)).toEqual([candle(0), candle(1, { close: 2 })]);
    })();
    expect(all(store)).toEqual([candle(0), candle(1, { close: 2 })]);
  });

  test('keeps the order of acceptance with the queue: enqueued inside comes after what was gathered', async () => {
    let queued;
    store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(0, { close: 1 }));
      queued = store.enqueueCandles(TABLE, SYMBOL, [candle(0, { close: 2 }), candle(1)]);
    })();
    expect(await queued).toMatchObject({ inserted: 1, updated: 1 });
    expect(all(store)).toEqual([candle(0, { close: 2 }), candle(1)]);
    // And what is queued before it and commits after it leaves its candles alone.
    await whileLocked(async () => {
      queued = store.enqueueCandles(TABLE, SYMBOL, [candle(0, { close: 3 }), candle(2)], {
        priority: 'backfill',
      });
    });
    store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(0, { close: 4 })))();
    await queued;
    expect(all(store)).toEqual([candle(0, { close: 4 }), candle(1), candle(2)]);
  });

  test('is ended by no getter of a candle: it may read, write, begin and roll back', () => {
    const during = (effect) => ({
      ...candle(5),
      get close() {
        effect();
        return 55;
      },
    });
    store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(4));
      store.upsertCandle(
        TABLE,
        SYMBOL,
        during(() => expect(all(store)).toEqual([candle(4)])),
      );
      store.upsertCandle(
        TABLE,
        SYMBOL,
        during(() => store.upsertCandle(60, SYMBOL, candle(6))),
      );
      store.upsertCandle(
        TABLE,
        SYMBOL,
        during(() => store.db.transaction(() => store.upsertCandle(TABLE, 'X:IN', candle(7)))()),
      );
      store.upsertCandles(TABLE, SYMBOL, [during(() => store.upsertCandle(TABLE, SYMBOL, candle(8)))]);
    })();
    expect(all(store)).toEqual([candle(4), candle(5, { close: 55 }), candle(8)]);
    expect([all(store, SYMBOL, 60), all(store, 'X:IN')]).toEqual([[candle(6)], [candle(7)]]);
    const gone = failure({ code: 'INVALID_ARGUMENT' });
    expect(() =>
      store.db.transaction(() => {
        store.upsertCandle(TABLE, SYMBOL, candle(9));
        store.upsertCandle(
          TABLE,
          SYMBOL,
          during(() => store.db.exec('ROLLBACK')),
        );
      })(),
    ).toThrow(gone);
    expect(store.db.inTransaction).toBe(false);
    expect(all(store)).toHaveLength(3);
  });

  test.each([
    ['exec()', (sql) => store.db.exec(sql)],
    ['prepare().run()', (sql) => store.db.prepare(sql).run()],
  ])('is rolled back by %s without the lock that another has', async (_, run) => {
    store = open(newFile(), { busyTimeoutMs: 20 });
    store.upsertCandle(TABLE, 'X:BEFORE', candle(0));
    await whileLocked(async () => {
      const over = misplaced('cannot commit - no transaction is active');
      expect(() =>
        store.db.transaction(() => {
          store.upsertCandle(TABLE, SYMBOL, candle(0));
          run(' rollback transaction ;');
          expect(store.db.inTransaction).toBe(false);
        })(),
      ).toThrow(over);
      expect(store.db.inTransaction).toBe(false);
    });
    expect(all(store)).toEqual([]);
  });

  test('loses nothing to a rollback to a savepoint that there is not', () => {
    const nowhere = misplaced('no such savepoint: nowhere');
    store.db.transaction(() => {
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      expect(() => store.db.exec('ROLLBACK TO nowhere')).toThrow(nowhere);
      store.upsertCandle(TABLE, SYMBOL, candle(1));
      store.db.exec('SAVEPOINT here');
      store.upsertCandle(TABLE, SYMBOL, candle(2));
      expect(() => store.db.exec('ROLLBACK TO nowhere')).toThrow(nowhere);
      expect(() => store.db.exec('ROLLBACK TO nowhere; SELECT 1')).toThrow(nowhere);
      store.upsertCandle(TABLE, SYMBOL, candle(3));
      expect(all(store)).toEqual(candles(4));
      store.upsertCandle(TABLE, SYMBOL, candle(4));
      store.db.exec('ROLLBACK TO here');
    })();
    expect(all(store)).toEqual(candles(2));
  });

  test('of a store that is closed or only reads is refused before its function runs', async () => {
    const run = jest.fn();
    const transaction = store.db.transaction(run);
    const reading = open(store.db.name.replace('candles.db', 'none.db'));
    await reading.close();
    expect(() => reading.db.transaction(run)).toThrow(NOT_OPEN);
    await store.close();
    expect(transaction).toThrow(NOT_OPEN);
    const readOnly = open(store.db.name, { readOnly: true });
    expect(run).not.toHaveBeenCalled();
    // One that only reads is a transaction all the same.
    const inside = readOnly.db.transaction(() => [readOnly.db.inTransaction, all(readOnly).length]);
    expect(inside()).toEqual([true, 0]);
    const writes = readOnly.db.transaction(() => readOnly.db.exec('CREATE TABLE none (a)'));
    expect(writes).toThrow(sqliteFailure('SQLITE_READONLY', { code: 'READ_ONLY' }));
    expect(readOnly.db.inTransaction).toBe(false);
  });

  test('is read by another process whole or not at all, also when its process is killed at any moment', async () => {
    const reader = python(store.db.name);
    store.upsertCandle(TABLE, 'X:BEFORE', candle(0));
    for (const [symbol, many] of Object.entries({ 'X:A': 300, 'X:B': 6_000, 'X:C': 300, 'X:D': 6_000 })) {
      const writer = startElsewhere(
        async ({ require: load, say }, file, name, count) => {
          const mine = load('candlestore').openStore(file);
          const write = mine.db.transaction((close) => {
            for (let n = 0; n < count; n++)
              mine.upsertCandle(15, name, {
                time: 1704067200000 + n * 900000,
                open: 1,
                high: 1,
                low: 1,
                close,
                volume: 1,
              });
          });
          say('up');
          for (let version = 1; ; version++) write(version);
        },
        [store.db.name, symbol, many],
      );
      await writer.next();
      const look = async () => {
        const [[versions, rows]] = await reader.sql(
          'SELECT count(DISTINCT close), count(*) FROM candles_15 WHERE symbol = ?',
          symbol,
        );
        expect([
          [0, 0],
          [1, many],
        ]).toContainEqual([versions, rows]);
      };
      for (let n = 0; n < 20; n++) await look();
      await writer.kill();
      await look();
    }
    await reader.end();
    expect(store.db.pragma('integrity_check', { simple: true })).toBe('ok');
  });
});

test('a row of comments in a transaction is gone over once', () => {
  const comments = '/**/'.repeat(50_000);
  store.db.exec('BEGIN');
  store.upsertCandle(TABLE, SYMBOL, candle(0));
  store.db.exec(`${comments} SAVEPOINT a`);
  store.db.exec(`${comments} ROLLBACK`);
  expect(all(store)).toEqual([]);
});
