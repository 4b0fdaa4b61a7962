'use strict';

// What is kept in memory of the candles is always the newest commit, whoever made it. That nothing of a series can have
// changed is seen by the Buffer of getCandlesJson, which then is the same object. TAIL_SECONDS lets the random writes go
// on for longer, TAIL_SEED repeats a run.

const { Worker } = require('node:worker_threads');
const { python, startElsewhere } = require('./support/process.js');
const { SYMBOL, TABLE, candle, candles, locked, newFile, open, timeOf } = require('./support/store.js');

const SECONDS = Number(process.env.TAIL_SECONDS ?? 12);
const SEED = Number(process.env.TAIL_SEED ?? Date.now() % 1_000_000);
jest.setTimeout((SECONDS + 60) * 1000);

const A = SYMBOL;
const B = 'BYBIT:ETHUSDT';
const INSERT = `INSERT OR REPLACE INTO ${TABLE} (symbol, time, open, high, low, close, volume) VALUES (?, ?, 1, 2, 0, 1.5, 3)`;
const json = (store, symbol = A, table = TABLE) => store.getCandlesJson(table, symbol, 100);
/** That a read from memory, and every form of it, is what the file holds. */
function expectTrue(store, symbol = A, table = TABLE) {
  const name = typeof table === 'number' ? `candles_${table}` : table;
  const rows = store.db
    .prepare(`SELECT time, close, volume FROM ${name} WHERE symbol = ? ORDER BY time DESC LIMIT 100`)
    .all(symbol)
    .reverse();
  const shape = ({ time, close, volume }) => ({ time, close, volume });
  for (let again = 0; again < 2; again += 1) {
    expect(store.getCandles(table, symbol, 100).map(shape)).toEqual(rows);
    expect(JSON.parse(json(store, symbol, table)).map(shape)).toEqual(rows);
  }
}

describe('an answer is the same Buffer until something of its series can have changed', () => {
  let store;
  beforeEach(() => {
    store = open();
    store.upsertCandles(TABLE, A, candles(200));
    store.upsertCandles(TABLE, B, candles(200));
  });

  /** Whether the answers of both series are the same as before. */
  async function kept(work) {
    const before = [json(store, A), json(store, B)];
    await work();
    const same = [json(store, A) === before[0], json(store, B) === before[1]];
    expectTrue(store, A);
    expectTrue(store, B);
    return same;
  }

  const ways = {
    upsertCandle: () => store.upsertCandle(TABLE, A, candle(200)),
    enqueueCandles: () => store.enqueueCandles(TABLE, A, [candle(199, { close: 7 })]),
    deleteCandles: () => store.deleteCandles(TABLE, A, { after: timeOf(195) }),
    enqueueDelete: () => store.enqueueDelete(TABLE, A, { after: timeOf(10), before: timeOf(190) }),
    'db.transaction': () => store.db.transaction(() => store.upsertCandle(TABLE, A, candle(201)))(),
    'a delete of everything': () => store.deleteCandles(TABLE, A),
  };
  test.each(Object.keys(ways))('%s changes one series and leaves the other', async (way) => {
    expect(await kept(() => ways[way]())).toEqual([false, true]);
  });

  test('a transaction that is rolled back, and a read, change nothing', async () => {
    const undone = store.db.transaction(() => {
      store.upsertCandle(TABLE, A, candle(200));
      expect(JSON.parse(json(store)).at(-1).time).toBe(timeOf(200));
      throw new Error('back');
    });
    expect(await kept(() => expect(undone).toThrow('back'))).toEqual([true, true]);
    expect(await kept(() => store.db.prepare('SELECT 1').all())).toEqual([true, true]);
  });

  test('a savepoint that is undone leaves what was before it', () => {
    store.db.transaction(() => {
      store.upsertCandle(TABLE, A, candle(200));
      const inner = store.db.transaction(() => {
        store.upsertCandle(TABLE, B, candle(201));
        throw new Error('back');
      });
      expect(inner).toThrow('back');
    })();
    expectTrue(store, A);
    expectTrue(store, B);
    expect(store.getLastCandleTime(TABLE, B)).toBe(timeOf(199));
  });

  test('own statements on tables that are no candles leave both', async () => {
    store.db.exec('CREATE TABLE notes (text)');
    expect(await kept(() => store.enqueueWrite("INSERT INTO notes VALUES ('a')"))).toEqual([true, true]);
  });

  test('a commit of another program is seen, and what it left alone comes out as the Buffer it was', async () => {
    const other = python(store.db.name);
    expect(await kept(() => other.sql(INSERT, A, timeOf(300)))).toEqual([false, true]);
    expect(await kept(() => other.sql('PRAGMA wal_checkpoint(TRUNCATE)'))).toEqual([true, true]);
    expect(await kept(() => other.sql(INSERT, B, timeOf(300)))).toEqual([true, false]);
    await other.end();
  });

  test('a commit of a worker thread is seen, and leaves the other series', async () => {
    const work = () => {
      const { openStore } = require('candlestore');
      const { workerData } = require('node:worker_threads');
      const inside = openStore(workerData.file);
      inside.upsertCandle(workerData.table, workerData.symbol, workerData.candle);
      return inside.close();
    };
    const run = () =>
      new Promise((resolve, reject) => {
        const workerData = { file: store.db.name, table: TABLE, symbol: A, candle: candle(250) };
        new Worker(`(${work})()`, { eval: true, workerData }).on('error', reject).on('exit', resolve);
      });
    expect(await kept(run)).toEqual([false, true]);
  });

  test('VACUUM, PRAGMA, checkpoints and a log that starts over change no answer', async () => {
    for (const sql of ['VACUUM', 'PRAGMA user_version = 7', 'PRAGMA wal_checkpoint(RESTART)']) {
      store.db.exec(sql);
      expectTrue(store);
    }
    for (let round = 0; round < 30; round += 1) {
      store.upsertCandles(TABLE, B, candles(3_000, round));
      store.db.pragma('wal_checkpoint(PASSIVE)');
      expectTrue(store, B);
      store.upsertCandle(TABLE, A, candle(200 + round));
      expectTrue(store, A);
    }
  });

  test('a process that is killed while it commits leaves nothing wrong behind', async () => {
    for (let round = 0; round < 5; round += 1) {
      const writer = startElsewhere(
        ({ require: from, say }, file, table, symbol, made) => {
          const inside = from('./index.js').openStore(file);
          for (let n = 0; ; n += 1) {
            inside.upsertCandle(table, symbol, { ...made, volume: n });
            if (n % 50 === 0) say(n);
          }
        },
        [store.db.name, TABLE, A, candle(199)],
      );
      await writer.next();
      const told = await writer.next();
      expect(store.getCandles(TABLE, A, 1)[0].volume).toBeGreaterThanOrEqual(told);
      await writer.kill();
      expectTrue(store);
      store.upsertCandle(TABLE, A, candle(199, { volume: -1 }));
      expectTrue(store);
    }
  });

  test('triggers that change or ignore rows, and cascades, are seen', () => {
    store.db.exec(`CREATE TRIGGER both AFTER INSERT ON ${TABLE} WHEN new.symbol = '${A}' BEGIN
      UPDATE ${TABLE} SET close = close + 1 WHERE symbol = '${B}'; END`);
    expectTrue(store, B);
    store.upsertCandle(TABLE, A, candle(200));
    expectTrue(store, B);
    store.db.exec(`DROP TRIGGER both; CREATE TRIGGER none BEFORE INSERT ON ${TABLE} WHEN new.close > 1e6 BEGIN
      DELETE FROM ${TABLE} WHERE symbol = '${B}'; SELECT RAISE(IGNORE); END`);
    expectTrue(store, B);
    store.upsertCandle(TABLE, A, candle(201, { close: 2e6 }));
    expectTrue(store, A);
    expectTrue(store, B);
    store.db.exec(`DROP TABLE candles_60; CREATE TABLE coins (name TEXT PRIMARY KEY);
      CREATE TABLE candles_60 (id INTEGER PRIMARY KEY, symbol TEXT REFERENCES coins (name) ON DELETE CASCADE, time INTEGER,
      open REAL, high REAL, low REAL, close REAL, volume REAL, buy_volume REAL, sell_volume REAL, delta REAL,
      trade_count INTEGER, clusters TEXT, UNIQUE (symbol, time)); INSERT INTO coins VALUES ('${A}')`);
    store.upsertCandles(60, A, candles(100));
    expectTrue(store, A, 60);
    store.db.prepare('DELETE FROM coins').run();
    expect(store.getCandles(60, A)).toEqual([]);
  });

  test('a table that is a view of another, and constraints that replace rows of others, keep nothing wrong', () => {
    store.db.exec('DROP TABLE candles_240; CREATE VIEW candles_240 AS SELECT * FROM candles_60');
    store.upsertCandle(60, A, candle(0));
    expectTrue(store, A, 240);
    store.upsertCandle(60, A, candle(4));
    expect(store.getCandles(240, A).map(({ time }) => time)).toEqual([timeOf(0), timeOf(4)]);
    store.db.exec('DROP TABLE candles_1440');
    store.db.exec(`CREATE TABLE candles_1440 (symbol TEXT, time INTEGER UNIQUE ON CONFLICT REPLACE,
      open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count, clusters, UNIQUE (symbol, time))`);
    store.upsertCandle(1440, A, candle(0));
    expectTrue(store, A, 1440);
    store.upsertCandle(1440, B, candle(0));
    expect(store.getCandles(1440, A)).toEqual([]);
  });

  test('times of other programs that are no milliseconds are read as they are', async () => {
    const insert = store.db.prepare(INSERT);
    for (const time of [
      Infinity,
      -Infinity,
      1e300,
      timeOf(5) + 0.5,
      'a text',
      2n ** 63n - 1n,
      2n ** 53n + 1n,
    ])
      insert.run('X:ODD', time);
    const truth = store.db.prepare(`SELECT time FROM ${TABLE} WHERE symbol = 'X:ODD' ORDER BY time`);
    for (let again = 0; again < 3; again += 1) {
      expect(store.getCandles(TABLE, 'X:ODD', 500).map(({ time }) => time)).toEqual(truth.pluck().all());
      expect(store.getCandles(TABLE, 'X:ODD', 3)).toHaveLength(3);
      store.upsertCandle(TABLE, 'X:ODD', candle(9, { close: again }));
    }
    insert.run(B, timeOf(5) + 0.5);
    expect(store.getCandles(TABLE, B, 300)).toHaveLength(201);
    expect(store.deleteCandles(TABLE, B, { after: timeOf(5), before: timeOf(5) + 1 })).toBe(1);
    expect(store.getCandles(TABLE, B, 300)).toHaveLength(200);
  });

  test('a BEGIN behind odd white space leaves no reader in the past', () => {
    store.db.prepare(' \u000bBEGIN').run();
    expect(store.db.inTransaction).toBe(true);
    store.db.exec('ROLLBACK');
    store.upsertCandle(TABLE, A, candle(200));
    expect(json(store)).toEqual(Buffer.from(JSON.stringify(store.getCandles(TABLE, A, 100))));
    expect(store.getCandles(TABLE, A, 1)[0].time).toBe(timeOf(200));
  });

  test('a table that is dropped and made anew, and a store that is opened again, begin anew', async () => {
    store.db.exec(`DROP TABLE ${TABLE}`);
    expect(store.getCandles(TABLE, A)).toEqual([]);
    const { name } = store.db;
    await store.close();
    const again = open(name);
    expect(again.getCandles(TABLE, A)).toEqual([]);
    again.upsertCandle(TABLE, A, candle(1));
    expectTrue(again);
  });
});

test.each([
  ['no memory', { tailCacheBytes: 0 }],
  ['little memory', { tailCacheBytes: 60_000 }],
  ['the default', {}],
])('hundreds of series are read right with %s', (_name, options) => {
  const store = open(newFile(), options);
  for (let round = 0; round < 2; round += 1) {
    for (let series = 0; series < 300; series += 1) {
      store.upsertCandles(TABLE, `S:${series}`, candles(20, round * 10, { volume: series + round }));
      expect(JSON.parse(json(store, `S:${series}`))).toHaveLength(20 + round * 10);
    }
    for (let series = 0; series < 300; series += 1)
      expect(store.getCandles(TABLE, `S:${series}`, 1)).toEqual([
        candle(19 + round * 10, { volume: series + round }),
      ]);
  }
});

test('a long footprint makes no room for others as long', () => {
  const store = open();
  const clusters = Object.fromEntries(
    Array.from({ length: 200_000 }, (_, n) => [`${1000.5 + n}`, { bid: 1.25, ask: 2.5 }]),
  );
  store.upsertCandle(TABLE, A, candle(0, { clusters }));
  for (const limit of [1, 5_000, 1_000_000])
    expect(JSON.parse(store.getCandlesJson(TABLE, A, limit))).toHaveLength(1);
});

test('a database in memory, and one that is opened to be read only, give the newest commit', async () => {
  const memory = open(':memory:');
  memory.upsertCandles(TABLE, A, candles(100));
  expectTrue(memory);
  memory.upsertCandle(TABLE, A, candle(100));
  expectTrue(memory);
  const file = newFile();
  const other = python(file);
  await other.sql(`CREATE TABLE ${TABLE} (symbol TEXT, time INTEGER, open, high, low, close, volume, buy_volume,
    sell_volume, delta, trade_count, clusters, UNIQUE (symbol, time))`);
  const reading = open(file, { readOnly: true });
  for (let n = 0; n < 3; n += 1) {
    await other.sql(INSERT, A, timeOf(n));
    expect(reading.getCandles(TABLE, A)).toHaveLength(n + 1);
    expect(JSON.parse(json(reading))).toHaveLength(n + 1);
    expect(reading.getCandles(60, A)).toEqual([]);
  }
  await other.end();
});

test('a journal mode that the raw handle changes is followed', () => {
  const store = open();
  store.upsertCandle(TABLE, A, candle(0));
  for (const mode of ['delete', 'wal', 'delete', 'wal']) {
    try {
      store.db.pragma(`journal_mode = ${mode}`);
    } catch (error) {
      expect(error).toEqual(locked({ code: 'TIMEOUT' }));
    }
    store.upsertCandle(TABLE, A, candle(1, { close: Math.random() }));
  }
  expectTrue(store);
}, 60_000);

// Random writes of several programs.

const SERIES = ['R:A', 'R:B', 'R:C'];

/** A program that writes what it is told to, by candlestore or by better-sqlite3. */
async function writer({ require: from, say, hear }, kind, file, table) {
  const store = kind === 'candlestore' ? from('./index.js').openStore(file) : null;
  const old = store
    ? null
    : new (from('node:module').createRequire(from.resolve('./bench/original/db.js'))('better-sqlite3'))(file);
  old?.pragma('busy_timeout = 20000');
  for (let told = await hear(); told !== 'end'; told = await hear()) {
    const { way, symbol, candles: made, from: first, to } = told;
    if (old) {
      const insert = `INSERT OR REPLACE INTO ${table} (symbol, time, open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count)
        VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0)`;
      const remove = `DELETE FROM ${table} WHERE symbol = ? AND time > ? AND time < ?`;
      old
        .transaction(() => {
          if (way % 3 === 0) old.prepare(remove).run(symbol, first, to);
          for (const c of made)
            old.prepare(insert).run(symbol, c.time, c.open, c.high, c.low, c.close, c.volume);
        })
        .immediate();
    } else if (way === 0) store.deleteCandles(table, symbol, { after: first, before: to });
    else if (way === 1) store.upsertCandles(table, symbol, made);
    else if (way === 2) await store.enqueueCandles(table, symbol, made);
    else if (way === 3)
      store.db
        .prepare(`UPDATE ${table} SET close = close + 1 WHERE symbol = ? AND time > ?`)
        .run(symbol, first);
    else
      store.db.transaction(() => {
        made.forEach((c) => store.upsertCandle(table, symbol, c));
        try {
          store.db.transaction(() => {
            store.deleteCandles(table, symbol);
            throw new Error('back');
          })();
        } catch (error) {
          if (error.message !== 'back') throw error;
        }
      })();
    say(true);
  }
  await store?.close();
  old?.close();
}

test(`whatever several programs write, every read gives what one without memory gives (TAIL_SEED=${SEED})`, async () => {
  let state = SEED;
  const below = (count) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
  const store = open();
  const file = store.db.name;
  const truth = startElsewhere(
    async ({ require: from, say, hear }, of, table) => {
      const plain = from('./index.js').openStore(of, { tailCacheBytes: 0 });
      for (let told = await hear(); told !== 'end'; told = await hear())
        say(plain.getCandles(table, told.symbol, told.range));
      await plain.close();
    },
    [file, TABLE],
  );
  const asked = async (symbol, range) => {
    truth.tell({ symbol, range });
    return truth.next();
  };
  const writers = ['candlestore', 'old', 'candlestore'].map((kind) =>
    startElsewhere(writer, [kind, file, TABLE]),
  );
  // A counter that only grows: no read that begins after a commit was acknowledged may be behind it.
  const counter = python(file);
  let acknowledged = 0;
  let counting = true;
  const count = (async () => {
    for (let n = 1; counting; n += 1) {
      await counter.sql(INSERT.replace('3)', `${n})`), 'R:COUNT', timeOf(0));
      acknowledged = n;
    }
  })();
  const lookAtCounter = async () => {
    const least = acknowledged;
    if (least === 0) return;
    const seen = [
      store.getCandles(TABLE, 'R:COUNT', 5)[0].volume,
      JSON.parse(store.getCandlesJson(TABLE, 'R:COUNT', 5))[0].volume,
      store.getCandlesColumns(TABLE, 'R:COUNT', 5).volume[0],
      (await store.readCandles({ table: TABLE, symbol: 'R:COUNT', limit: 5 }))[0].volume,
    ];
    for (const volume of seen) expect(volume).toBeGreaterThanOrEqual(least);
  };
  const command = () => {
    const first = below(300);
    const length = 1 + below(below(4) === 0 ? 150 : 3);
    return {
      way: below(5),
      symbol: SERIES[below(SERIES.length)],
      candles: Array.from({ length }, (_, n) => candle(first + n, { close: below(1000) / 8, volume: state })),
      from: timeOf(first) - below(2),
      to: timeOf(first + below(40)),
    };
  };
  const compare = async (symbol) => {
    const range = { limit: [0, 1, 5, 63, 64, 100, 500][below(7)] };
    if (below(3) === 0) range.before = timeOf(below(320)) + below(2);
    if (below(3) === 0) range.after = timeOf(below(320)) - below(2);
    const request = { table: TABLE, symbol, ...range };
    const expected = await asked(symbol, range);
    const bytes = Buffer.from(JSON.stringify(expected));
    expect(store.getCandles(TABLE, symbol, range)).toEqual(expected);
    expect(store.getCandlesJson(TABLE, symbol, range).equals(bytes)).toBe(true);
    expect(store.getCandlesJson(TABLE, symbol, range).equals(bytes)).toBe(true);
    expect([...store.getCandlesColumns(TABLE, symbol, range).close]).toEqual(expected.map((c) => c.close));
    expect(await store.readCandles(request)).toEqual(expected);
    expect((await store.readCandles({ ...request, format: 'json' })).equals(bytes)).toBe(true);
    expect([...(await store.readCandles({ ...request, format: 'columns' })).time]).toEqual(
      expected.map((c) => c.time),
    );
    const [last] = await asked(symbol, { limit: 1 });
    expect(store.getLastCandleTime(TABLE, symbol)).toBe(last?.time ?? null);
  };
  const end = Date.now() + SECONDS * 1000;
  let rounds = 0;
  while (Date.now() < end) {
    rounds += 1;
    const working = writers.map((one) => {
      one.tell(command());
      return one.next();
    });
    const own = command();
    if (below(2) === 0) working.push(store.enqueueCandles(TABLE, own.symbol, own.candles));
    if (below(3) === 0) store.upsertCandles(TABLE, own.symbol, own.candles);
    if (below(9) === 0) store.deleteCandles(TABLE, own.symbol, { after: own.from, before: own.to });
    await lookAtCounter();
    for (const symbol of SERIES) {
      const rows = store.getCandles(TABLE, symbol, 100);
      expect(rows.every((row, n) => n === 0 || row.time > rows[n - 1].time)).toBe(true);
      expect(rows.length).toBeLessThanOrEqual(100);
    }
    await Promise.all(working);
    for (const symbol of SERIES) await compare(symbol);
    await lookAtCounter();
  }
  counting = false;
  await count;
  await counter.end();
  for (const one of [...writers, truth]) {
    one.tell('end');
    await one.ended;
  }
  expect(rounds).toBeGreaterThan(3);
});
