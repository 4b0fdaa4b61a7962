'use strict';

// Reads besides those of one series: query(), the newest candle of every series, lists of series; and how reads in the
// background are called off and get too old.

const fs = require('node:fs');
const { Worker } = require('node:worker_threads');
const { python, runElsewhere, startElsewhere } = require('./support/process.js');
const {
  STEP,
  SYMBOL,
  TABLE,
  candle,
  candles,
  failure,
  newFile,
  open,
  sqliteFailure,
  timeOf,
} = require('./support/store.js');
const { until } = require('./support/until.js');

/** What a statement gets whose transaction is no more. */
const TOO_OLD = 'SQLITE_ABORT_ROLLBACK';
/** Runs for minutes. */
const ENDLESS =
  'WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1e12) SELECT max(x) FROM n';
/** The same in a read transaction on the candles. */
const ENDLESS_READ =
  'WITH RECURSIVE n (x) AS (SELECT count(*) FROM candles_15 UNION ALL SELECT x + 1 FROM n WHERE x < 1e12) ' +
  'SELECT max(x) FROM n';
const OLD_TABLE = `CREATE TABLE candles_15 (
  id INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, time INTEGER NOT NULL, open REAL NOT NULL, high REAL NOT NULL,
  low REAL NOT NULL, close REAL NOT NULL, volume REAL NOT NULL, buy_volume REAL DEFAULT 0, sell_volume REAL DEFAULT 0,
  delta REAL DEFAULT 0, trade_count INTEGER DEFAULT 0, clusters TEXT, UNIQUE(symbol, time))`;
const OLD_INDEX = 'CREATE INDEX idx_candles_15_symbol_time ON candles_15(symbol, time)';
const OTHER = 'BYBIT:ETHUSDT';

const request = { table: TABLE, symbol: SYMBOL };
const PLACES = [
  ['a file', newFile],
  ['memory', () => ':memory:'],
];

/** Two series of 15 minutes and one of an hour. */
function filled(location = newFile(), options = {}) {
  const store = open(location, options);
  store.upsertCandles(60, SYMBOL, candles(2));
  store.upsertCandles(15, OTHER, candles(3));
  store.upsertCandles(15, SYMBOL, candles(5));
  return store;
}

const latestOf = (table, symbol, n) => ({ table, symbol, candle: candle(n) });
const seriesOf = (table, symbol, count) => ({
  table,
  symbol,
  first: timeOf(0),
  last: timeOf(count - 1),
  count,
});
const FILLED_LATEST = [
  latestOf('candles_15', SYMBOL, 4),
  latestOf('candles_15', OTHER, 2),
  latestOf('candles_60', SYMBOL, 1),
];
const FILLED_SERIES = [
  seriesOf('candles_15', SYMBOL, 5),
  seriesOf('candles_15', OTHER, 3),
  seriesOf('candles_60', SYMBOL, 2),
];

/** A file that Python has made, with the older schema and the tables of one timeframe only. */
async function oldFile(...statements) {
  const file = newFile();
  const other = python(file);
  for (const sql of ['PRAGMA journal_mode = WAL', OLD_TABLE, OLD_INDEX, ...statements]) await other.sql(sql);
  return { file, other };
}

const insert = (symbol, time) =>
  `INSERT INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES (${symbol}, ${time}, 1, 2, 1, 1, 1)`;

describe.each(PLACES)('query() in %s', (_name, location) => {
  test('gives rows as db.prepare().all() does', async () => {
    const store = open(location());
    store.db.exec('CREATE TABLE kinds (n, value)');
    const values = [1, -0.5, 'text', '', null, 9007199254740993n, Buffer.from([0, 255]), Buffer.alloc(0)];
    for (const [n, value] of values.entries())
      store.db.prepare('INSERT INTO kinds VALUES (?, ?)').run(n, value);
    const sql = 'SELECT n, value, typeof(value) AS kind, 1 AS twice, 2 AS twice FROM kinds ORDER BY n';
    const rows = await store.query(sql);
    expect(rows).toEqual(store.db.prepare(sql).all());
    expect(rows).toHaveLength(values.length);
    expect(rows[0]).toEqual({ n: 0, value: 1, kind: 'real', twice: 2 });
  });

  test('takes parameters as enqueueWrite() does', async () => {
    const store = open(location());
    const shown = 'SELECT typeof(?1) AS kind, ?1 AS value';
    for (const [value, kind, back] of [
      [7, 'real', 7],
      [7n, 'integer', 7],
      ['x', 'text', 'x'],
      [Buffer.from('ab'), 'blob', Buffer.from('ab')],
      [null, 'null', null],
      [undefined, 'null', null],
      [NaN, 'null', null],
    ])
      expect(await store.query('SELECT typeof(v) AS kind, v AS value FROM (SELECT ? AS v)', [value])).toEqual(
        [{ kind, value: back }],
      );
    expect(await store.query('SELECT :a AS a, @b AS b, $c AS c', { a: 1, b: 'two', c: null })).toEqual([
      { a: 1, b: 'two', c: null },
    ]);
    expect(await store.query('SELECT 1 AS one', null)).toEqual([{ one: 1 }]);
    const argument = failure({ code: 'INVALID_ARGUMENT' });
    for (const [sql, params] of [
      [shown, []],
      ['SELECT 1', [1]],
      ['SELECT :a', { b: 1 }],
      ['SELECT ?', [{}]],
      ['SELECT ?', [2n ** 64n]],
      ['SELECT ?', [Symbol('s')]],
      [7, []],
      [undefined, []],
    ])
      await expect(store.query(sql, params)).rejects.toEqual(argument);
  });

  test('carries texts and buffers of a megabyte, and thousands of rows', async () => {
    const store = open(location());
    const text = 'ü'.repeat(1 << 19);
    const bytes = Buffer.alloc(1 << 20, 7);
    const [row] = await store.query('SELECT ? AS text, ? AS bytes', [text, bytes]);
    expect(row.text === text && bytes.equals(row.bytes)).toBe(true);
    store.upsertCandles(TABLE, SYMBOL, candles(5_000));
    const rows = await store.query('SELECT time FROM candles_15 ORDER BY time');
    expect(rows.map(({ time }) => time)).toEqual(candles(5_000).map(({ time }) => time));
  });

  test('stops at maxRows', async () => {
    const store = filled(location());
    const sql = 'SELECT time FROM candles_15 WHERE symbol = ? ORDER BY time';
    for (const [maxRows, count] of [
      [0, 0],
      [1, 1],
      [5, 5],
      [6, 5],
      [2 ** 52, 5],
      [undefined, 5],
      [null, 5],
    ])
      expect(await store.query(sql, [SYMBOL], { maxRows })).toHaveLength(count);
    // The rest is not even looked for.
    expect(await store.query(ENDLESS.replace('max(x)', 'x'), [], { maxRows: 3 })).toEqual([
      { x: 1 },
      { x: 2 },
      { x: 3 },
    ]);
    for (const maxRows of [-1, 1.5, NaN, Infinity, '1', 1n])
      await expect(store.query(sql, [SYMBOL], { maxRows })).rejects.toEqual(
        failure({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('maxRows') }),
      );
  });

  test.each([
    '',
    ' ; -- nothing',
    'SELECT 1; SELECT 2',
    'BEGIN',
    'COMMIT',
    'ROLLBACK',
    'SAVEPOINT a',
    'RELEASE a',
    '/* a */ begin',
    ' \vBEGIN',
    '\ufeffBEGIN',
    'PRAGMA user_version',
    'PRAGMA query_only = 0',
    'EXPLAIN PRAGMA cache_size = 1',
    'explain /* */ query plan\nPRAGMA cache_size = 1',
    "ATTACH ':memory:' AS other",
    'DETACH main',
    'VACUUM',
    "INSERT INTO candles_15 (symbol) VALUES ('A:B')",
    'DELETE FROM candles_15 RETURNING id',
    'WITH x AS (SELECT 1) DELETE FROM candles_15',
    'CREATE TABLE a (b)',
    'CREATE TEMP TABLE a (b)',
    'CREATE TABLE IF NOT EXISTS candles_15 (b)',
    'DROP TABLE candles_15',
    'SELECT 1\0',
  ])('refuses %j', async (sql) => {
    const store = filled(location());
    const error = await store.query(sql).catch((thrown) => thrown);
    expect(error).toEqual(failure({ code: 'INVALID_SQL' }));
    expect(error).not.toHaveProperty('written');
    expect(store.getSeries()).toEqual(FILLED_SERIES);
    expect(store.db.inTransaction).toBe(false);
  });

  test('leaves the database as it is also by functions that write', async () => {
    const store = open(location());
    store.db.exec("CREATE VIRTUAL TABLE words USING fts3(text); INSERT INTO words VALUES ('a')");
    store.db.exec("INSERT INTO words VALUES ('b')");
    const before = store.db.prepare('SELECT count(*) AS segments FROM words_segdir').get();
    expect(before).toEqual({ segments: 2 });
    await expect(store.query('SELECT optimize(words) AS done FROM words LIMIT 1')).rejects.toEqual(
      failure({ code: expect.stringMatching(/^(READ_ONLY|SQL_ERROR)$/) }),
    );
    expect(store.db.prepare('SELECT count(*) AS segments FROM words_segdir').get()).toEqual(before);
    store.db.exec("INSERT INTO words VALUES ('c')");
    expect(await store.query('SELECT count(*) AS n FROM words')).toEqual([{ n: 3 }]);
  });

  test('tells what SQLite says of a wrong statement', async () => {
    const store = open(location());
    for (const sql of ['SELEC 1', 'SELECT * FROM nowhere', 'SELECT abs(-9223372036854775808)'])
      await expect(store.query(sql)).rejects.toEqual(
        failure({ code: 'SQL_ERROR', sqliteCode: 'SQLITE_ERROR' }),
      );
  });

  test.each([[{ signal: {} }], [{ timeoutMs: -1 }], [{ limit: 1 }], [7], [null], [[]]])(
    'refuses options of %j',
    async (options) => {
      await expect(open(location()).query('SELECT 1', [], options)).rejects.toEqual(
        failure({ code: 'INVALID_ARGUMENT' }),
      );
    },
  );

  test('is interrupted by its signal, and the next read succeeds', async () => {
    const store = filled(location(), { maxReaders: 1 });
    for (let round = 0; round < 5; round++) {
      const controller = new AbortController();
      const query = store.query(ENDLESS_READ, [], { signal: controller.signal });
      const behind = store.readCandles(request);
      controller.abort(new Error('enough'));
      await expect(query).rejects.toEqual(failure({ code: 'ABORTED', cause: new Error('enough') }));
      // It has the one thread that the query had.
      expect(await behind).toEqual(candles(5));
      expect(await store.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    }
    await expect(store.query('SELECT 1', [], { signal: AbortSignal.abort() })).rejects.toEqual(
      failure({ code: 'ABORTED' }),
    );
    store.upsertCandle(TABLE, SYMBOL, candle(5));
    expect(store.getCandles(TABLE, SYMBOL)).toEqual(candles(6));
  });

  test('is interrupted when its timeoutMs is over', async () => {
    const store = filled(location(), { maxReaders: 1 });
    await expect(store.query(ENDLESS, [], { timeoutMs: 20 })).rejects.toEqual(
      failure({ code: 'TIMEOUT', retryable: true }),
    );
    expect(await store.readCandles(request)).toEqual(candles(5));
  });

  test('is interrupted when it gets older than readTimeoutMs, whatever its timeoutMs', async () => {
    const store = filled(location(), { maxReaders: 1, readTimeoutMs: 100 });
    await expect(store.query(ENDLESS, [], { timeoutMs: 60_000 })).rejects.toEqual(
      failure({ code: 'TIMEOUT', message: expect.stringContaining('readTimeoutMs (100 ms)') }),
    );
    expect(await store.readCandles(request)).toEqual(candles(5));
  });

  test('fails with CLOSED when the store is closed while it runs, and after that', async () => {
    const store = filled(location());
    const query = store.query(ENDLESS);
    const closed = failure({ code: 'CLOSED' });
    const refused = expect(query).rejects.toEqual(closed);
    await store.close({ deadlineMs: 10 });
    await refused;
    for (const call of [store.query('SELECT 1'), store.readLatest(), store.readSeries()])
      await expect(call).rejects.toEqual(closed);
    for (const call of [
      () => store.getLatest(),
      () => store.getSeries(),
      () => store.getSeries({ counts: false }),
    ])
      expect(call).toThrow(closed);
  });
});

test('query() does not see an open transaction, and in memory waits for its end', async () => {
  const sql = 'SELECT count(*) AS n FROM candles_15';
  const file = filled();
  file.db.exec('BEGIN');
  file.upsertCandle(TABLE, SYMBOL, candle(5));
  expect(await file.query(sql)).toEqual([{ n: 8 }]);
  const memory = filled(':memory:');
  memory.db.exec('BEGIN');
  memory.upsertCandle(TABLE, SYMBOL, candle(5));
  const query = memory.query(sql);
  memory.db.exec('COMMIT');
  expect(await query).toEqual([{ n: 9 }]);
});

test('what waits in memory for a transaction to end can be called off and gets too old', async () => {
  const store = filled(':memory:', { maxReaders: 1, readTimeoutMs: 100 });
  store.db.exec('BEGIN');
  const controller = new AbortController();
  const query = store.query('SELECT 1', [], { signal: controller.signal });
  const read = store.readCandles({ ...request, signal: controller.signal });
  controller.abort();
  await expect(query).rejects.toEqual(failure({ code: 'ABORTED' }));
  await expect(read).rejects.toEqual(failure({ code: 'ABORTED' }));
  await expect(store.query('SELECT 1')).rejects.toEqual(
    failure({ code: 'TIMEOUT', message: expect.stringContaining('readTimeoutMs') }),
  );
  store.db.exec('COMMIT');
  expect(await store.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('many queries called off at once leave the readers as they were', async () => {
  const store = filled(newFile(), { maxReaders: 2 });
  for (let round = 0; round < 20; round++) {
    const controller = new AbortController();
    const calls = Array.from({ length: 6 }, () => store.query(ENDLESS, [], { signal: controller.signal }));
    const wanted = store.query('SELECT count(*) AS n FROM candles_15');
    setImmediate(() => controller.abort());
    for (const { reason } of await Promise.allSettled(calls))
      expect(reason).toEqual(failure({ code: 'ABORTED' }));
    expect(await wanted).toEqual([{ n: 8 }]);
  }
});

test('another process writes while a long query runs and while it is called off', async () => {
  const store = filled();
  const controller = new AbortController();
  const query = store.query(ENDLESS_READ, [], { signal: controller.signal });
  const writer = startElsewhere(
    async ({ require, say, hear }, file, made) => {
      const other = require('candlestore').openStore(file);
      for (const one of made) {
        other.upsertCandle(15, 'BINANCE:BTCUSDT', one);
        say(one.time);
        await hear();
      }
      await other.close();
      say('closed');
    },
    [store.db.name, candles(4, 5)],
  );
  for (let n = 5; n < 9; n++) {
    expect(await writer.next()).toBe(timeOf(n));
    if (n === 6) controller.abort();
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(timeOf(n));
    writer.tell('next');
  }
  await expect(query).rejects.toEqual(failure({ code: 'ABORTED' }));
  expect(await writer.next()).toBe('closed');
  expect(await store.query('SELECT count(*) AS n FROM candles_15 WHERE symbol = ?', [SYMBOL])).toEqual([
    { n: 9 },
  ]);
});

describe('the write-ahead log', () => {
  /** Whether Python can copy the log and start it over. */
  const startsOver = async (other) => {
    const [[busy]] = await other.sql('PRAGMA wal_checkpoint(TRUNCATE)');
    return busy === 0;
  };

  test('starts over once a query in the background has got too old', async () => {
    const store = filled(newFile(), { readTimeoutMs: 2_000 });
    const other = python(store.db.name);
    await other.sql('PRAGMA busy_timeout = 0');
    const query = store.query(ENDLESS_READ);
    const refused = expect(query).rejects.toEqual(failure({ code: 'TIMEOUT' }));
    await until(async () => {
      store.upsertCandle(TABLE, SYMBOL, candle(5, { volume: Math.random() }));
      return !(await startsOver(other));
    });
    await refused;
    expect(await startsOver(other)).toBe(true);
    expect(await store.query('SELECT count(*) AS n FROM candles_15')).toEqual([{ n: 9 }]);
    await other.end();
  });

  test('starts over once a transaction on dbReadOnly has got too old', async () => {
    const store = filled(newFile(), { readTimeoutMs: 1_000 });
    const other = python(store.db.name);
    await other.sql('PRAGMA busy_timeout = 0');
    store.dbReadOnly.exec('BEGIN');
    const count = store.dbReadOnly.prepare('SELECT count(*) FROM candles_15').pluck();
    expect(count.get()).toBe(8);
    store.upsertCandle(TABLE, SYMBOL, candle(5));
    expect(count.get()).toBe(8);
    expect(await startsOver(other)).toBe(false);
    await until(() => !store.dbReadOnly.inTransaction);
    expect(await startsOver(other)).toBe(true);
    expect(() => count.get()).toThrow(
      sqliteFailure(TOO_OLD, {
        code: 'TIMEOUT',
        message: expect.stringContaining('readTimeoutMs (1000 ms)'),
      }),
    );
    await other.end();
  });
});

describe('a transaction on dbReadOnly that was rolled back because of its age', () => {
  const refused = sqliteFailure(TOO_OLD, { code: 'TIMEOUT' });
  const old = async () => {
    const store = filled(newFile(), { readTimeoutMs: 100 });
    const db = store.dbReadOnly;
    db.exec('BEGIN');
    const count = db.prepare('SELECT count(*) FROM candles_15').pluck();
    expect(count.get()).toBe(8);
    await until(() => !db.inTransaction);
    expect(() => count.get()).toThrow(refused);
    expect(() => db.exec('SAVEPOINT a')).toThrow(refused);
    expect(() => db.exec('ROLLBACK TO a')).toThrow(refused);
    return { db, count };
  };

  test.each([
    'ROLLBACK',
    ' rollback transaction;',
    '/* a */ ROLLBACK -- b',
    `${'/**/'.repeat(1000)}ROLLBACK;`,
  ])('accepts %j', async (sql) => {
    const { db, count } = await old();
    db.exec(sql);
    expect(count.get()).toBe(8);
  });

  test('accepts a prepared ROLLBACK, and one with a statement after it', async () => {
    const { db, count } = await old();
    db.prepare('ROLLBACK').run();
    expect(count.get()).toBe(8);
    const again = await old();
    again.db.exec('rollback /* a */; BEGIN');
    expect(again.db.inTransaction).toBe(true);
    again.db.exec('ROLLBACK');
  });

  test.each(['COMMIT', 'end;'])('refuses %j, which ends it all the same', async (sql) => {
    const { db, count } = await old();
    expect(() => db.exec(sql)).toThrow(refused);
    expect(count.get()).toBe(8);
  });

  test('is followed by another', async () => {
    const { db, count } = await old();
    db.exec('BEGIN');
    expect([db.inTransaction, count.get()]).toEqual([true, 8]);
    db.exec('COMMIT');
    expect(db.transaction(() => count.get())()).toBe(8);
    expect(db.inTransaction).toBe(false);
  });
});

test('a transaction on dbReadOnly that ends in time is left alone, and the next one has its own time', async () => {
  const store = filled(newFile(), { readTimeoutMs: 3_000 });
  const db = store.dbReadOnly;
  for (const sql of ['BEGIN', 'COMMIT; BEGIN', 'ROLLBACK; BEGIN', 'COMMIT']) db.exec(sql);
  expect(db.inTransaction).toBe(false);
  db.exec('BEGIN');
  db.close();
  expect(db.open).toBe(false);
});

test('a transaction left open on dbReadOnly keeps no process alive', async () => {
  const { code, stderr } = await runElsewhere(
    ({ require }, file) => {
      const store = require('candlestore').openStore(file, { readTimeoutMs: 86_400_000 });
      store.dbReadOnly.exec('BEGIN');
      store.dbReadOnly.prepare('SELECT count(*) FROM candles_15').all();
    },
    [filled().db.name],
  );
  expect([code, stderr]).toEqual([0, '']);
});

test('a process that exits in the middle of a long query ends', async () => {
  const { code, stderr } = await runElsewhere(
    ({ require }, file, sql) => {
      const store = require('candlestore').openStore(file);
      store.query(sql).catch(() => {});
      setTimeout(() => process.exit(7), 50);
    },
    [filled().db.name, ENDLESS],
  );
  expect([code, stderr]).toEqual([7, '']);
});

test('a worker thread queries, lists series, and is ended in the middle of a long query', async () => {
  const store = filled();
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
     const store = require(workerData.module).openStore(workerData.file);
     (async () => {
       const [one] = await store.query('SELECT count(*) AS n FROM candles_15');
       const told = [one, store.getSeries(), await store.readSeries(), store.getLatest(), await store.readLatest()];
       store.query(workerData.endless).catch(() => {});
       parentPort.postMessage(told);
     })();`,
    {
      eval: true,
      workerData: { file: store.db.name, endless: ENDLESS_READ, module: require.resolve('candlestore') },
    },
  );
  const told = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  expect(told).toEqual([{ n: 8 }, FILLED_SERIES, FILLED_SERIES, FILLED_LATEST, FILLED_LATEST]);
  await worker.terminate();
  expect(await store.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

describe.each(PLACES)('lists of series in %s', (_name, location) => {
  test('come from the shortest timeframe to the longest and by symbol, on either way', async () => {
    // Whatever the order of the option.
    const store = filled(location(), { timeframes: [60, 1440, 240, 15] });
    expect(store.getLatest()).toEqual(FILLED_LATEST);
    expect(await store.readLatest()).toEqual(FILLED_LATEST);
    expect(store.getSeries()).toEqual(FILLED_SERIES);
    expect(await store.readSeries()).toEqual(FILLED_SERIES);
  });

  test('can be those of one table, and without counts', async () => {
    const store = filled(location());
    const counted = [FILLED_SERIES[2]];
    const uncounted = FILLED_SERIES.map(({ count: _count, ...series }) => series);
    for (const table of ['candles_60', 60]) {
      expect(store.getLatest({ table })).toEqual([FILLED_LATEST[2]]);
      expect(await store.readLatest({ table })).toEqual([FILLED_LATEST[2]]);
      expect(store.getSeries({ table })).toEqual(counted);
      expect(await store.readSeries({ table })).toEqual(counted);
    }
    expect(store.getSeries({ counts: false })).toEqual(uncounted);
    expect(await store.readSeries({ counts: false })).toEqual(uncounted);
    expect(store.getLatest({ table: 'candles_240' })).toEqual([]);
    expect(store.getSeries({ table: 240 })).toEqual([]);
  });

  test('see the own open transaction unless readOnly, and count exactly after it', () => {
    const store = filled(location());
    store.db.exec('BEGIN');
    store.upsertCandle(TABLE, SYMBOL, candle(5));
    store.upsertCandle(1440, OTHER, candle(0));
    expect(store.getSeries()[0].count).toBe(6);
    expect(store.getLatest()).toHaveLength(4);
    expect(store.getLatest()[0].candle).toEqual(candle(5));
    // In memory there is no other connection to see what is committed.
    if (!store.db.memory) {
      expect(store.getSeries({ readOnly: true })).toEqual(FILLED_SERIES);
      expect(store.getLatest({ readOnly: true })).toEqual(FILLED_LATEST);
    }
    store.db.exec('ROLLBACK');
    expect(store.getSeries()).toEqual(FILLED_SERIES);
    expect(store.getLatest()).toEqual(FILLED_LATEST);
  });

  test('count exactly after every kind of own commit', async () => {
    const store = filled(location());
    const count = () => store.getSeries({ table: 15 })[0].count;
    expect(count()).toBe(5);
    await store.enqueueCandles(TABLE, SYMBOL, candles(10, 5));
    expect(count()).toBe(15);
    store.deleteCandles(TABLE, SYMBOL, { after: timeOf(3), before: timeOf(8) });
    expect(count()).toBe(11);
    await store.enqueueDelete(TABLE, SYMBOL, { before: timeOf(1) });
    expect(count()).toBe(10);
    await store.enqueueWrite('DELETE FROM candles_15 WHERE time = ?', [timeOf(1)]);
    expect(count()).toBe(9);
    store.db.exec(`UPDATE candles_15 SET symbol = 'A:B' WHERE time = ${timeOf(14)}`);
    expect((await store.readSeries()).map(({ symbol, count: of }) => [symbol, of])).toEqual([
      ['A:B', 1],
      [SYMBOL, 8],
      [OTHER, 2],
      [SYMBOL, 2],
    ]);
    store.db.exec('DROP TABLE candles_60');
    expect(store.getSeries()).toHaveLength(3);
    expect(await store.readLatest()).toHaveLength(3);
  });

  test('give footprints, and what foreign rows hold', () => {
    const store = open(location());
    const clusters = { 42000.5: { bid: 1, ask: 2 }, ü: { bid: 3, ask: 4 } };
    store.upsertCandle(TABLE, SYMBOL, candle(0, { clusters }));
    store.upsertCandle(TABLE, OTHER, candle(1, { clusters: { 1: { bid: 0, ask: 0 } } }));
    store.db.exec(insert("'C:D'", "'a text'"));
    store.db.exec(insert("x'4142'", 7));
    expect(store.getLatest().map(({ symbol, candle: { time, clusters: of } }) => [symbol, time, of])).toEqual(
      [
        [SYMBOL, timeOf(0), clusters],
        [OTHER, timeOf(1), { 1: { bid: 0, ask: 0 } }],
        ['C:D', 'a text', {}],
      ],
    );
    expect(store.getSeries().at(-1)).toEqual({
      table: TABLE,
      symbol: 'C:D',
      first: 'a text',
      last: 'a text',
      count: 1,
    });
  });

  test('are empty where there is nothing, and refuse wrong options', async () => {
    const store = open(location());
    expect([store.getLatest(), store.getSeries()]).toEqual([[], []]);
    for (const [options, code] of [
      [7, 'INVALID_ARGUMENT'],
      [{ limit: 1 }, 'INVALID_ARGUMENT'],
      [{ table: 'candles_7' }, 'UNKNOWN_TABLE'],
    ]) {
      for (const call of [() => store.getLatest(options), () => store.getSeries(options)])
        expect(call).toThrow(failure({ code }));
      for (const call of [store.readLatest(options), store.readSeries(options)])
        await expect(call).rejects.toEqual(failure({ code }));
    }
    expect(() => store.getSeries({ counts: 1 })).toThrow(failure({ code: 'INVALID_ARGUMENT' }));
    expect(() => store.getLatest({ readOnly: 1 })).toThrow(failure({ code: 'INVALID_ARGUMENT' }));
    const signal = AbortSignal.abort();
    await expect(store.readLatest({ signal })).rejects.toEqual(failure({ code: 'ABORTED' }));
    await expect(store.readSeries({ signal })).rejects.toEqual(failure({ code: 'ABORTED' }));
  });
});

test('counts are exact after commits of another process and of Python between two calls', async () => {
  const store = filled();
  const other = python(store.db.name);
  for (let n = 0; n < 5; n++) {
    const count = (symbol) => store.getSeries({ table: 15 }).find((series) => series.symbol === symbol).count;
    expect([count(SYMBOL), count(OTHER)]).toEqual([5 + 2 * n, 3]);
    await other.sql(insert(`'${SYMBOL}'`, timeOf(5 + 2 * n)));
    expect([count(SYMBOL), count(OTHER)]).toEqual([6 + 2 * n, 3]);
    store.upsertCandle(TABLE, SYMBOL, candle(6 + 2 * n));
  }
  await runElsewhere(
    async ({ require }, file, made) => {
      const another = require('candlestore').openStore(file);
      await another.enqueueCandles(60, 'BYBIT:ETHUSDT', made);
      await another.close();
    },
    [store.db.name, candles(4)],
  );
  expect(await store.readSeries({ table: 60 })).toEqual([
    FILLED_SERIES[2],
    { ...seriesOf('candles_60', OTHER, 4), last: timeOf(3) },
  ]);
  await other.end();
});

test('counts are exact while another thread of the process writes all the time', async () => {
  const store = filled();
  const writes = [];
  for (let n = 0; n < 200; n++) {
    writes.push(store.enqueueCandles(TABLE, SYMBOL, [candle(5 + n)]));
    const [{ count, last }] = n % 2 ? store.getSeries() : await store.readSeries();
    expect(count).toBe((last - timeOf(0)) / STEP + 1);
  }
  await Promise.all(writes);
  expect(store.getSeries()[0].count).toBe(205);
});

test('a file of the older schema that lacks a table is listed and queried read-only', async () => {
  const { file, other } = await oldFile(insert("'A:B'", timeOf(0)), insert("'A:B'", timeOf(1)));
  const store = open(file, { readOnly: true });
  const series = [seriesOf('candles_15', 'A:B', 2)];
  expect(store.getSeries()).toEqual(series);
  expect(await store.readSeries()).toEqual(series);
  expect(store.getLatest().map(({ table, symbol, candle: { time } }) => [table, symbol, time])).toEqual([
    ['candles_15', 'A:B', timeOf(1)],
  ]);
  expect(await store.readLatest()).toEqual(store.getLatest());
  expect(await store.query('SELECT count(*) AS n FROM candles_15')).toEqual([{ n: 2 }]);
  await expect(store.query('SELECT * FROM candles_60')).rejects.toEqual(failure({ code: 'SQL_ERROR' }));
  await other.sql(insert("'A:B'", timeOf(2)));
  expect(store.getSeries()).toEqual([seriesOf('candles_15', 'A:B', 3)]);
  await other.end();
});

(process.platform === 'linux' ? test : test.skip)(
  'idle readers are closed with their threads, at most maxReaders were there, and one connection stays for synchronous reads',
  async () => {
    // No writer: as long as any connection is open SQLite keeps the descriptors of closed ones.
    const file = newFile();
    await filled(file).close();
    const store = open(file, { readerIdleMs: 100, maxReaders: 2, readOnly: true });
    const connections = () =>
      fs.readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return fs.readlinkSync(`/proc/self/fd/${fd}`) === store.db.name;
        } catch {
          return false;
        }
      }).length;
    const threads = () =>
      fs
        .readdirSync('/proc/self/task')
        .filter((id) => fs.readFileSync(`/proc/self/task/${id}/comm`, 'utf8').startsWith('candlestore-rea'))
        .length;
    await until(() => threads() === 0);
    expect(connections()).toBe(0);
    const controller = new AbortController();
    const reads = Array.from({ length: 5 }, () => store.query(ENDLESS, [], { signal: controller.signal }));
    await until(() => connections() === 2);
    expect(threads()).toBe(2);
    // A synchronous read opens one more and waits for nobody.
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(timeOf(4));
    expect(connections()).toBe(3);
    controller.abort();
    await Promise.allSettled(reads);
    await until(() => threads() === 0 && connections() === 0);
    for (let n = 0; n < 3; n++) {
      expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(timeOf(4));
      expect([threads(), connections()]).toEqual([0, 1]);
    }
  },
);
