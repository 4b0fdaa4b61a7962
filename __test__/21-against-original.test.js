'use strict';

// The same random writes through the db.js being replaced, on better-sqlite3 in a process of its own, and through
// candlestore, each on a file of its own: then every read must give the same JSON.

const { openElsewhere } = require('./support/db-client.js');
const { python } = require('./support/process.js');
const { candle, newFile, open, timeOf } = require('./support/store.js');

const TABLES = ['candles_15', 'candles_60', 'candles_240', 'candles_1440'];
const SYMBOLS = ['BINANCE:BTCUSDT', 'BINANCE:BTCUSD', 'bybit:ethusdt', 'Bitget:SolUsdt', "X:O'B"];
const SPAN = 60;

/** The same numbers from 0 to 1 in every run. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function randomly(seed) {
  const random = generator(seed);
  const below = (count) => Math.floor(random() * count);
  const pick = (list) => list[below(list.length)];
  const price = () =>
    pick([
      () => Math.round(random() * 1e7) / 100,
      () => random() * 1e5,
      () => below(1000),
      () => -random(),
      () => random() * 10 ** (below(600) - 300),
      () => 0,
    ])();
  const clusters = () =>
    pick([
      () => undefined,
      () => null,
      () => ({}),
      () =>
        Object.fromEntries(
          Array.from({ length: below(40) }, () => [String(price()), { bid: price(), ask: price() }]),
        ),
      () => ({ 'é"\n': { bid: 1, ask: 2, delta: -1, imbalance: true } }),
    ])();
  const made = () => {
    const one = {
      time: timeOf(below(SPAN)),
      open: price(),
      high: price(),
      low: price(),
      close: price(),
      volume: price(),
      buyVolume: pick([price(), undefined, null, 0]),
      sellVolume: pick([price(), undefined, null, 0]),
      delta: pick([price(), undefined, NaN]),
      tradeCount: pick([below(1e6), undefined, null, 0, 1.5]),
      clusters: clusters(),
    };
    for (const field of ['buyVolume', 'delta', 'clusters']) if (random() < 0.1) delete one[field];
    return one;
  };
  return { below, made, pick, random };
}

const cased = (symbol, random) => (random() < 0.5 ? symbol.toLowerCase() : symbol);

async function compare(old, store, { below, pick, random }) {
  for (let read = 0; read < 150; read++) {
    const table = pick(TABLES);
    const symbol = cased(pick(SYMBOLS), random);
    const limit = pick([undefined, 0, 1, 5, 100, 1000]);
    const before = pick([undefined, null, 0, timeOf(below(SPAN)), timeOf(below(SPAN)) + 1, 1, 1e300]);
    const readOnly = pick([true, false]);
    // JSON has no undefined: what is sent to the other process is what is compared.
    const args = JSON.parse(JSON.stringify([table, symbol, limit ?? 100, before ?? null, readOnly]));
    const expected = JSON.stringify(await old.call('getCandles', ...args));
    expect(JSON.stringify(store.getCandles(...args))).toBe(expected);
    const [, , most, older] = args;
    const later = await store.readCandles({ table, symbol, limit: most, before: older });
    expect(JSON.stringify(later)).toBe(expected);
    expect(store.getLastCandleTime(table, symbol)).toBe(await old.call('getLastCandleTime', table, symbol));
  }
  const stats = store.getStats();
  const counts = await old.call('getStats');
  for (const table of TABLES) expect(stats[table]).toBe(counts[table]);
}

test.each([1, 2, 3])('random writes (seed %i) read as the original reads them', async (seed) => {
  const rules = randomly(seed);
  const { below, made, pick, random } = rules;
  const store = open();
  const old = await openElsewhere('old', newFile());
  for (let write = 0; write < 120; write++) {
    const [table, symbol] = [pick(TABLES), cased(pick(SYMBOLS), random)];
    if (random() < 0.5) {
      // Both get what JSON makes of the candle, as NaN and undefined do not travel.
      const one = JSON.parse(JSON.stringify(made()));
      await old.call('upsertCandle', table, symbol, one);
      const way = below(3);
      if (way === 0) store.upsertCandle(table, symbol, one);
      else if (way === 1) await store.enqueueCandles(table, symbol, [one]);
      else store.db.transaction(() => store.upsertCandle(table, symbol, one))();
    } else {
      const batch = JSON.parse(JSON.stringify(Array.from({ length: below(30) }, made)));
      await old.call('upsertCandles', table, symbol, batch);
      const way = below(3);
      if (way === 0) store.upsertCandles(table, symbol, batch);
      else if (way === 1) await store.enqueueCandles(table, symbol, batch, { priority: 'backfill' });
      else store.db.transaction(() => batch.forEach((one) => store.upsertCandle(table, symbol, one)))();
    }
  }
  await compare(old, store, rules);
  await old.close();
});

test('rows of other programs with NULL, text and odd numbers read as the original reads them', async () => {
  const rules = randomly(4);
  const values = [null, 'text', '7', '7.5', 1, 1.5, -1, 2 ** 53, 1e300, '', '0x10', ' 5 '];
  const files = [newFile(), newFile()];
  const old = await openElsewhere('old', files[0]);
  const store = open(files[1]);
  const rows = [];
  for (const table of TABLES)
    for (const symbol of SYMBOLS)
      for (let n = 0; n < 20; n++) {
        const numbers = Array.from({ length: 4 }, () => rules.pick(values));
        const prices = Array.from({ length: 5 }, () => rules.pick(values.filter((value) => value !== null)));
        const clusters = rules.pick([null, '', '{}', '{"1":{"bid":1,"ask":2}}']);
        rows.push([table, symbol.toUpperCase(), timeOf(n), ...prices, ...numbers, clusters]);
      }
  for (const file of files) {
    const other = python(file);
    await other.sql('BEGIN');
    for (const [table, ...row] of rows)
      await other.sql(
        `INSERT INTO ${table} (symbol, time, open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count, clusters) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ...row,
      );
    await other.sql('COMMIT');
    await other.end();
  }
  await compare(old, store, rules);
  await old.close();
});

test('the raw handle gives the rows and results that better-sqlite3 gives', async () => {
  const path = require('node:path');
  const { runElsewhere } = require('./support/process.js');
  // The same calls on both handles; what is thrown is compared as having been thrown only, as the words differ.
  const calls = ({ require: load, say }, module, file) => {
    const db = module === 'candlestore' ? load(module).openStore(file).db : new (load(module))(file);
    const shown = (value) =>
      JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? `${inner}n` : inner)) ?? 'undefined';
    const told = (work) => {
      let outcome;
      try {
        const value = work();
        outcome = value === db ? 'this' : shown(value);
      } catch {
        outcome = 'thrown';
      }
      say(`${work}: ${outcome}`);
    };
    told(() => db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, a, b TEXT, c REAL, UNIQUE (a))'));
    told(() => db.prepare('INSERT INTO t (a, b, c) VALUES (?, ?, ?)').run(1, 'x', 2));
    told(() => db.prepare('INSERT INTO t (a, b, c) VALUES (?, ?, ?)').run([2, 'é😀', 0.1]));
    told(() => db.prepare('INSERT INTO t (a, b, c) VALUES (:a, @b, $c)').run({ a: null, b: '', c: 5n }));
    told(() => db.prepare('INSERT INTO t (a, b, c) VALUES (?, :b, ?)').run(3, { b: 'mixed' }, 4));
    told(() => db.prepare('INSERT INTO t (a) VALUES (1)').run());
    told(() => db.prepare('INSERT INTO t (a) VALUES (?)').run());
    told(() => db.prepare('INSERT INTO t (a) VALUES (?)').run(1, 2));
    told(() => db.prepare('INSERT INTO t (a) VALUES (:a)').run({ b: 1 }));
    told(() => db.prepare('INSERT INTO t (a) VALUES (?)').run(true));
    told(() => db.prepare('INSERT INTO t (a) VALUES (?)').run(Symbol('x')));
    told(() => db.prepare('INSERT INTO t (a) VALUES (?)').run(new Date(0)));
    told(() => db.prepare('INSERT INTO t (a) VALUES (?)').run(2n ** 63n));
    told(() => db.prepare('INSERT INTO t (b) VALUES (?)').run(Buffer.from([0, 1, 255])));
    told(() => db.prepare('SELECT * FROM t').all());
    told(() => db.prepare('SELECT * FROM t WHERE id = ?').get(2));
    told(() => db.prepare('SELECT * FROM t WHERE id = ?').get(99));
    told(() => db.prepare('SELECT a, a, b AS a FROM t').all());
    told(() => db.prepare('SELECT count(*) FROM t').pluck().get());
    told(() => db.prepare('SELECT a, b FROM t').raw().all());
    told(() => [...db.prepare('SELECT id FROM t').iterate()]);
    told(() => db.prepare('SELECT ? AS x, ? AS y').bind(7, 8).get());
    told(() => db.prepare('SELECT 9223372036854775807 AS big, -9007199254740993 AS small').get());
    told(() => db.prepare('SELECT 1e999 AS i, -1e999 AS j').raw().get().map(String));
    told(() => db.prepare('UPDATE t SET c = c + 1').run().changes);
    told(() => db.prepare('UPDATE t SET c = 1 WHERE 0').run().changes);
    told(() => db.prepare('DELETE FROM t WHERE id > 3').run().changes);
    told(() => db.prepare('INSERT INTO t (a) VALUES (50) RETURNING id, a').get());
    told(() => db.prepare('INSERT INTO t (a) VALUES (51), (52) RETURNING a').all());
    told(() => db.prepare('SELECT 1').run().changes);
    told(() => db.prepare('CREATE TABLE u (a)').run().changes);
    told(() => db.prepare('INSERT INTO u VALUES (1), (2)').run().changes);
    told(() => db.prepare('DROP TABLE u').run().changes);
    told(() => db.prepare('DELETE FROM t WHERE 0').get());
    told(() => db.prepare('DELETE FROM t WHERE 0').all());
    told(() => db.prepare(''));
    told(() => db.prepare('SELECT 1; SELECT 2'));
    told(() => db.prepare('SELEC'));
    told(() => db.prepare(7));
    told(() => db.exec('INSERT INTO t (a) VALUES (60); INSERT INTO t (a) VALUES (61); -- end'));
    told(() =>
      db.exec('INSERT INTO t (a) VALUES (62); INSERT INTO t (a) VALUES (1); INSERT INTO t (a) VALUES (63)'),
    );
    told(() => db.exec(''));
    told(() =>
      db.exec(
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET b = 'a;b' WHERE id = new.id; END; INSERT INTO t (a) VALUES (70)",
      ),
    );
    told(() => db.prepare('SELECT a, b FROM t ORDER BY id').raw().all());
    told(() => db.pragma('user_version = 7'));
    told(() => db.pragma('user_version'));
    told(() => db.pragma('user_version', { simple: true }));
    told(() => db.pragma('table_info(t)').map(({ name }) => name));
    told(() => db.inTransaction);
    told(() => db.exec('BEGIN') && db.inTransaction);
    told(
      () =>
        db.exec('INSERT INTO t (a) VALUES (80)') && db.prepare('SELECT a FROM t WHERE a = 80').pluck().get(),
    );
    told(() => db.exec('ROLLBACK') && db.prepare('SELECT a FROM t WHERE a = 80').pluck().get());
    told(() => db.exec('COMMIT'));
    told(() => db.transaction((x, y) => x + y)(1, 2));
    told(() =>
      db.transaction(() => {
        db.exec('INSERT INTO t (a) VALUES (90)');
        throw new Error('x');
      })(),
    );
    told(() => db.prepare('SELECT count(*) FROM t WHERE a = 90').pluck().get());
    told(() => db.transaction(async () => {})());
    told(() => db.transaction(7));
    told(() => db.inTransaction);
    told(() => [db.readonly, db.open, db.memory]);
    told(() => db.close());
    told(() => db.open);
    told(() => db.prepare('SELECT 1'));
  };
  const original = path.join(__dirname, '..', 'bench', 'original', 'node_modules', 'better-sqlite3');
  const [theirs, ours] = await Promise.all(
    [original, 'candlestore'].map((module) => runElsewhere(calls, [module, newFile()])),
  );
  expect(theirs).toMatchObject({ code: 0, stderr: '' });
  expect(ours).toMatchObject({ code: 0, stderr: '' });
  expect(ours.said).toEqual(theirs.said);
  expect(theirs.said.length).toBeGreaterThan(60);
});

test('the candle that the helpers of the tests make is one that the original stores and reads back', async () => {
  const old = await openElsewhere('old', newFile());
  await old.call('upsertCandle', 'candles_15', 'X:Y', candle(1));
  expect(await old.call('getCandles', 'candles_15', 'X:Y')).toEqual([candle(1)]);
  await old.close();
});
