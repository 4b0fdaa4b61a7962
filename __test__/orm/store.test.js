'use strict';

// The same ORMs on an open store's db: their tables are beside the candles, and the queue goes on.

const { asc, between, eq, max, sql } = require('drizzle-orm');
const { drizzle } = require('drizzle-orm/better-sqlite3');
const { integer, real, sqliteTable, text } = require('drizzle-orm/sqlite-core');
const knex = require('knex');
const BetterSqlite3 = require('knex/lib/dialects/better-sqlite3');
const { Kysely, SqliteDialect } = require('kysely');
const { SYMBOL, TABLE, all, candle, candles, newFile, open, timeOf } = require('../support/store.js');

const coded = (code) => expect.objectContaining({ name: 'SqliteError', code });

let store;
beforeEach(() => {
  store = open(newFile());
  store.db.exec('CREATE TABLE notes (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, text TEXT UNIQUE)');
});

const notes = () => store.db.prepare('SELECT text FROM notes ORDER BY id').pluck().all();

describe('Drizzle', () => {
  const candles15 = sqliteTable('candles_15', {
    id: integer('id').primaryKey(),
    symbol: text('symbol').notNull(),
    time: integer('time', { mode: 'timestamp_ms' }).notNull(),
    open: real('open').notNull(),
    high: real('high').notNull(),
    low: real('low').notNull(),
    close: real('close').notNull(),
    volume: real('volume').notNull(),
  });
  const noted = sqliteTable('notes', {
    id: integer('id').primaryKey(),
    time: integer('time', { mode: 'timestamp_ms' }).notNull(),
    text: text('text').unique(),
  });

  let db;
  beforeEach(() => {
    db = drizzle(store.db);
  });

  test('joins its own table to the candles of the store', () => {
    store.upsertCandles(TABLE, SYMBOL, candles(10));
    db.insert(noted)
      .values({ time: new Date(timeOf(3)), text: 'news' })
      .run();
    expect(
      db
        .select({ text: noted.text, close: candles15.close, time: candles15.time })
        .from(noted)
        .innerJoin(candles15, eq(candles15.time, noted.time))
        .where(eq(candles15.symbol, SYMBOL))
        .all(),
    ).toEqual([{ text: 'news', close: candle(3).close, time: new Date(timeOf(3)) }]);
    expect(
      db
        .select({ open: candles15.open })
        .from(candles15)
        .where(between(candles15.time, new Date(timeOf(2)), new Date(timeOf(4))))
        .orderBy(asc(candles15.time))
        .values(),
    ).toEqual([2, 3, 4].map((n) => [candle(n).open]));
  });

  test('what it changes in the candles the store reads at once', () => {
    store.upsertCandles(TABLE, SYMBOL, candles(3));
    expect(all(store)).toHaveLength(3);
    db.update(candles15)
      .set({ close: 7 })
      .where(eq(candles15.time, new Date(timeOf(1))))
      .run();
    expect(all(store)).toEqual([candle(0), candle(1, { close: 7 }), candle(2)]);
    const { time, open: first, high, low, close, volume } = candle(3);
    db.insert(candles15)
      .values({ symbol: SYMBOL, time: new Date(time), open: first, high, low, close, volume })
      .run();
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBe(timeOf(3));
    expect(() => db.insert(candles15).values(db.select().from(candles15).get()).run()).toThrow(
      coded('SQLITE_CONSTRAINT_PRIMARYKEY'),
    );
    expect(() =>
      db
        .insert(candles15)
        .values({ symbol: SYMBOL, time: new Date(time), open: 1, high: 1, low: 1, close: 1, volume: 1 })
        .run(),
    ).toThrow(coded('SQLITE_CONSTRAINT_UNIQUE'));
  });

  test.each([undefined, 'immediate', 'exclusive'])(
    'a transaction (%s) holds its rows and candles of the store together',
    (behavior) => {
      const write = (fails) =>
        db.transaction(
          (tx) => {
            tx.insert(noted)
              .values({ time: new Date(timeOf(0)), text: 'both' })
              .run();
            store.upsertCandles(TABLE, SYMBOL, candles(2));
            expect(
              tx
                .select({ last: max(candles15.time) })
                .from(candles15)
                .get(),
            ).toEqual({
              last: new Date(timeOf(1)),
            });
            if (fails) tx.rollback();
          },
          { behavior },
        );
      expect(() => write(true)).toThrow('Rollback');
      expect([notes(), all(store)]).toEqual([[], []]);
      write(false);
      expect([notes(), all(store)]).toEqual([['both'], candles(2)]);
    },
  );

  test('reads on dbReadOnly see what is committed, and write nothing', () => {
    const reading = drizzle(store.dbReadOnly);
    db.transaction((tx) => {
      tx.insert(noted)
        .values({ time: new Date(0), text: 'later' })
        .run();
      expect(reading.select().from(noted).all()).toEqual([]);
    });
    expect(reading.select({ text: noted.text }).from(noted).all()).toEqual([{ text: 'later' }]);
    expect(() =>
      reading
        .insert(noted)
        .values({ time: new Date(0) })
        .run(),
    ).toThrow(coded('SQLITE_READONLY'));
    expect(reading.get(sql`SELECT count(*) AS n FROM notes`)).toEqual({ n: 1 });
  });
});

/** The two whose transactions are asynchronous, with what the tests below do in each. */
const asynchronous = {
  kysely() {
    const db = new Kysely({ dialect: new SqliteDialect({ database: store.db }) });
    return {
      db,
      note: (on, note) => on.insertInto('notes').values({ time: 0, text: note }).execute(),
      closes: (on) => on.selectFrom(TABLE).select('close').orderBy('time').execute(),
      stream: () => db.selectFrom(TABLE).select('close').orderBy('time').stream(),
      transaction: (work) => db.transaction().execute(work),
    };
  },
  knex() {
    const db = knex({
      client: class extends BetterSqlite3 {
        _driver() {}

        async acquireRawConnection() {
          return store.db;
        }

        // The store closes it.
        async destroyRawConnection() {}
      },
      connection: { filename: store.db.name },
      useNullAsDefault: true,
    });
    return {
      db,
      note: (on, note) => on('notes').insert({ time: 0, text: note }),
      closes: (on) => on(TABLE).select('close').orderBy('time'),
      stream: () => db(TABLE).select('close').orderBy('time').stream(),
      transaction: (work) => db.transaction(work),
    };
  },
};

describe.each(Object.entries(asynchronous))('%s', (name, make) => {
  let orm;
  beforeEach(() => {
    orm = make();
  });
  afterEach(() => name === 'knex' && orm.db.destroy());

  const closes = (count) => candles(count).map(({ close }) => ({ close }));
  // Another connection's view, read in the background: a few turns go by until it is there.
  const committed = async (table) => (await store.query(`SELECT count(*) AS n FROM ${table}`))[0].n;

  test('candles queued while its transaction is open are committed after it', async () => {
    const seen = [];
    let queued;
    await orm.transaction(async (trx) => {
      await orm.note(trx, 'first');
      queued = store.enqueueCandles(TABLE, SYMBOL, candles(3)).then((result) => {
        seen.push('queued');
        return result;
      });
      expect(await committed(TABLE)).toBe(0);
      expect(await orm.closes(trx)).toEqual([]);
      await orm.note(trx, 'second');
      expect(await committed('notes')).toBe(0);
      expect(store.db.inTransaction).toBe(true);
      seen.push('commits');
    });
    expect(await queued).toMatchObject({ inserted: 3 });
    expect(seen).toEqual(['commits', 'queued']);
    expect(notes()).toEqual(['first', 'second']);
    expect(await orm.closes(orm.db)).toEqual(closes(3));
  });

  test('candles queued while its transaction is open stay when it is taken back', async () => {
    let queued;
    await expect(
      orm.transaction(async (trx) => {
        await orm.note(trx, 'first');
        queued = store.enqueueCandles(TABLE, SYMBOL, candles(3));
        expect(await committed(TABLE)).toBe(0);
        await orm.note(trx, 'first');
      }),
    ).rejects.toEqual(coded('SQLITE_CONSTRAINT_UNIQUE'));
    expect(await queued).toMatchObject({ inserted: 3 });
    expect(notes()).toEqual([]);
    expect(all(store)).toEqual(candles(3));
  });

  test('synchronous writes of the store join its open transaction', async () => {
    await expect(
      orm.transaction(async (trx) => {
        store.upsertCandles(TABLE, SYMBOL, candles(2));
        expect(await orm.closes(trx)).toEqual(closes(2));
        expect(await committed(TABLE)).toBe(0);
        throw new Error('mine');
      }),
    ).rejects.toThrow('mine');
    expect(all(store)).toEqual([]);
    await orm.transaction(async (trx) => {
      await orm.note(trx, 'kept');
      store.upsertCandles(TABLE, SYMBOL, candles(2));
    });
    expect([notes(), all(store)]).toEqual([['kept'], candles(2)]);
  });

  test('two transactions and the queue in between leave everything', async () => {
    const work = (note) =>
      orm.transaction(async (trx) => {
        await orm.note(trx, note);
        expect(await committed('notes')).toBe(note === 'a' ? 0 : 1);
      });
    const [, first, , second] = await Promise.all([
      work('a'),
      store.enqueueCandles(TABLE, SYMBOL, candles(2)),
      work('b'),
      store.enqueueCandles(TABLE, SYMBOL, candles(2, 2)),
    ]);
    expect([first, second]).toMatchObject([{ inserted: 2 }, { inserted: 2 }]);
    expect(notes()).toEqual(['a', 'b']);
    expect(all(store)).toEqual(candles(4));
  });

  test('a stream of candles gives those of its beginning while more are queued', async () => {
    store.upsertCandles(TABLE, SYMBOL, candles(3));
    const seen = [];
    let queued;
    for await (const row of orm.stream()) {
      queued ??= store.enqueueCandles(TABLE, SYMBOL, candles(2, 3));
      await committed(TABLE);
      seen.push(row);
    }
    expect(seen).toEqual(closes(3));
    expect(await queued).toMatchObject({ inserted: 2 });
    expect(await orm.closes(orm.db)).toEqual(closes(5));
  });
});
