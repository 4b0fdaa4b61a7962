'use strict';

// Drizzle ORM's better-sqlite3 driver, which is handed the Database as its client.

const fs = require('node:fs');
const path = require('node:path');
const { and, asc, count, desc, eq, gt, inArray, relations, sql } = require('drizzle-orm');
const { drizzle } = require('drizzle-orm/better-sqlite3');
const { migrate } = require('drizzle-orm/better-sqlite3/migrator');
const { alias, blob, integer, numeric, real, sqliteTable, text } = require('drizzle-orm/sqlite-core');
const { load, provider } = require('./provider.js');
const { scratch } = require('../support/scratch.js');

const { Database } = load();

const migrationsFolder = path.join(__dirname, 'migrations', 'drizzle');

const traders = sqliteTable('traders', {
  id: integer('id').primaryKey({ autoIncrement: true }),
  name: text('name').notNull().unique(),
  balance: real('balance').notNull().default(0),
  invitedBy: integer('invited_by'),
});
const orders = sqliteTable('orders', {
  id: integer('id').primaryKey({ autoIncrement: true }),
  traderId: integer('trader_id').notNull(),
  symbol: text('symbol').notNull(),
  quantity: real('quantity').notNull(),
});
const samples = sqliteTable('samples', {
  id: integer('id').primaryKey(),
  seconds: integer('seconds', { mode: 'timestamp' }),
  millis: integer('millis', { mode: 'timestamp_ms' }),
  flag: integer('flag', { mode: 'boolean' }),
  bytes: blob('bytes', { mode: 'buffer' }),
  big: blob('big', { mode: 'bigint' }),
  json: text('json', { mode: 'json' }),
  jsonBlob: blob('json_blob', { mode: 'json' }),
  exact: numeric('exact', { mode: 'bigint' }),
  whole: integer('whole'),
});
const schema = {
  traders,
  orders,
  samples,
  tradersRelations: relations(traders, ({ many }) => ({ orders: many(orders) })),
  ordersRelations: relations(orders, ({ one }) => ({
    trader: one(traders, { fields: [orders.traderId], references: [traders.id] }),
  })),
};

const coded = (code) => expect.objectContaining({ name: 'SqliteError', code });

let client;
let db;
beforeEach(() => {
  client = new Database(':memory:');
  client.pragma('foreign_keys = ON');
  db = drizzle(client, { schema });
  migrate(db, { migrationsFolder });
});
afterEach(() => client.close());

/** Two traders, of whom the first has orders. */
function fill() {
  db.insert(traders)
    .values([
      { name: 'ann', balance: 10 },
      { name: 'bob', balance: 20.5, invitedBy: 1 },
    ])
    .run();
  db.insert(orders)
    .values([
      { traderId: 1, symbol: 'BTC', quantity: 1 },
      { traderId: 1, symbol: 'ETH', quantity: 2.5 },
      { traderId: 1, symbol: 'BTC', quantity: 3 },
    ])
    .run();
}

const names = () =>
  db
    .select({ name: traders.name })
    .from(traders)
    .orderBy(asc(traders.id))
    .all()
    .map((row) => row.name);

test('the ready client is taken alone, beside the schema and in the configuration', () => {
  for (const made of [drizzle(client), drizzle(client, { schema }), drizzle({ client, schema })]) {
    expect(made.$client).toBe(client);
    expect(made.get(sql`SELECT 7 AS seven`)).toEqual({ seven: 7 });
  }
});

test('a failed write leaves its client usable and says its code', () => {
  fill();
  expect(() => db.insert(traders).values({ name: 'ann' }).run()).toThrow(coded('SQLITE_CONSTRAINT_UNIQUE'));
  expect(() => db.insert(orders).values({ traderId: 9, symbol: 'X', quantity: 1 }).run()).toThrow(
    coded('SQLITE_CONSTRAINT_FOREIGNKEY'),
  );
  expect(() => db.insert(orders).values({ traderId: 1, symbol: 'X', quantity: 0 }).returning().get()).toThrow(
    coded('SQLITE_CONSTRAINT_CHECK'),
  );
  expect(() =>
    db
      .insert(traders)
      .values({ name: sql`NULL` })
      .run(),
  ).toThrow(coded('SQLITE_CONSTRAINT_NOTNULL'));
  expect(() => db.all(sql`SELECT * FROM nowhere`)).toThrow(coded('SQLITE_ERROR'));
  // What goes through db.run() is wrapped by Drizzle.
  expect(() => db.run(sql`INSERT INTO traders (name) VALUES ('ann')`)).toThrow(
    expect.objectContaining({ cause: coded('SQLITE_CONSTRAINT_UNIQUE') }),
  );
  expect(names()).toEqual(['ann', 'bob']);
});

test('an awaited query rejects with the code, too', async () => {
  fill();
  await expect(db.insert(traders).values({ name: 'ann' })).rejects.toEqual(coded('SQLITE_CONSTRAINT_UNIQUE'));
  expect(await db.select().from(traders).where(eq(traders.name, 'bob'))).toEqual([
    { id: 2, name: 'bob', balance: 20.5, invitedBy: 1 },
  ]);
  expect(await db.$count(orders, eq(orders.symbol, 'BTC'))).toBe(2);
});

describe('migrations', () => {
  const applied = () => client.prepare('SELECT created_at FROM __drizzle_migrations').pluck().all();

  test('are applied once, and only the new ones', () => {
    expect(applied()).toEqual([1700000000000, 1700000001000]);
    migrate(db, { migrationsFolder });
    expect(applied()).toEqual([1700000000000, 1700000001000]);
  });

  test('are taken back as one when one of them fails', () => {
    const folder = path.join(scratch(), 'migrations');
    fs.cpSync(migrationsFolder, folder, { recursive: true });
    const file = path.join(folder, 'meta', '_journal.json');
    const journal = JSON.parse(fs.readFileSync(file, 'utf8'));
    for (const [n, text_] of ['CREATE TABLE third (a)', 'CREATE TABLE orders (a)'].entries()) {
      fs.writeFileSync(path.join(folder, `000${n + 2}.sql`), text_);
      journal.entries.push({ ...journal.entries[0], when: 1700000002000 + n, tag: `000${n + 2}` });
    }
    fs.writeFileSync(file, JSON.stringify(journal));
    expect(() => migrate(db, { migrationsFolder: folder })).toThrow(
      expect.objectContaining({ cause: coded('SQLITE_ERROR') }),
    );
    expect(client.inTransaction).toBe(false);
    expect(applied()).toHaveLength(2);
    expect(client.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'third'").get()).toBeUndefined();
  });
});

describe('writes', () => {
  test('one row reports its id and that it changed', () => {
    const ann = db.insert(traders).values({ name: 'ann' });
    expect(ann.run()).toEqual({ changes: 1, lastInsertRowid: 1 });
    expect(db.select().from(traders).get()).toEqual({ id: 1, name: 'ann', balance: 0, invitedBy: null });
  });

  test('many rows in one statement', () => {
    const rows = Array.from({ length: 500 }, (_, n) => ({ name: `trader ${n}`, balance: n / 4 }));
    expect(db.insert(traders).values(rows).run()).toEqual({ changes: 500, lastInsertRowid: 500 });
    expect(
      db
        .select({ n: count(), sum: sql`sum(balance)` })
        .from(traders)
        .get(),
    ).toEqual({
      n: 500,
      sum: 31187.5,
    });
  });

  test('RETURNING gives the rows as they are stored', () => {
    expect(
      db
        .insert(traders)
        .values([{ name: 'ann' }, { name: 'bob', balance: 1.5 }])
        .returning()
        .all(),
    ).toEqual([
      { id: 1, name: 'ann', balance: 0, invitedBy: null },
      { id: 2, name: 'bob', balance: 1.5, invitedBy: null },
    ]);
    expect(db.insert(traders).values({ name: 'eve' }).returning({ key: traders.id }).get()).toEqual({
      key: 3,
    });
    expect(names()).toEqual(['ann', 'bob', 'eve']);
  });

  test('a conflict is skipped or updates what is there', () => {
    fill();
    const again = (balance) => db.insert(traders).values({ name: 'ann', balance });
    expect(again(1).onConflictDoNothing().run().changes).toBe(0);
    expect(
      again(5)
        .onConflictDoUpdate({
          target: traders.name,
          set: { balance: sql`${traders.balance} + excluded.balance` },
        })
        .returning()
        .get(),
    ).toEqual({ id: 1, name: 'ann', balance: 15, invitedBy: null });
    expect(
      again(99)
        .onConflictDoUpdate({ target: traders.name, set: { balance: 99 }, setWhere: gt(traders.balance, 50) })
        .returning()
        .all(),
    ).toEqual([]);
  });

  test('updates and deletes count and return what they changed', () => {
    fill();
    const raise = db.update(orders).set({ quantity: sql`${orders.quantity} * 2` });
    expect(raise.where(eq(orders.symbol, 'BTC')).run().changes).toBe(2);
    expect(
      db.update(orders).set({ symbol: 'SOL' }).where(eq(orders.symbol, 'ETH')).returning().all(),
    ).toEqual([{ id: 2, traderId: 1, symbol: 'SOL', quantity: 2.5 }]);
    expect(
      db
        .delete(orders)
        .where(inArray(orders.id, [1, 2, 9]))
        .returning({ id: orders.id })
        .all(),
    ).toEqual([{ id: 1 }, { id: 2 }]);
    expect(db.select().from(orders).all()).toEqual([{ id: 3, traderId: 1, symbol: 'BTC', quantity: 6 }]);
    // The foreign key cascades, and only the row of the statement itself is counted.
    db.update(traders).set({ invitedBy: null }).run();
    expect(db.delete(traders).where(eq(traders.id, 1)).run().changes).toBe(1);
    expect(db.select().from(orders).all()).toEqual([]);
  });
});

describe('reads', () => {
  beforeEach(fill);

  test('joins, with columns of one name on both sides and NULL for what is not there', () => {
    expect(
      db
        .select()
        .from(traders)
        .leftJoin(orders, and(eq(orders.traderId, traders.id), eq(orders.symbol, 'ETH')))
        .orderBy(asc(traders.id))
        .all(),
    ).toEqual([
      {
        traders: { id: 1, name: 'ann', balance: 10, invitedBy: null },
        orders: { id: 2, traderId: 1, symbol: 'ETH', quantity: 2.5 },
      },
      { traders: { id: 2, name: 'bob', balance: 20.5, invitedBy: 1 }, orders: null },
    ]);
    const host = alias(traders, 'host');
    expect(
      db
        .select({ guest: traders.name, host: host.name })
        .from(traders)
        .innerJoin(host, eq(traders.invitedBy, host.id))
        .all(),
    ).toEqual([{ guest: 'bob', host: 'ann' }]);
  });

  test('groups, subqueries, common table expressions and limits', () => {
    const sums = db
      .select({ symbol: orders.symbol, sum: sql`sum(${orders.quantity})`.as('sum'), n: count().as('n') })
      .from(orders)
      .groupBy(orders.symbol);
    expect(sums.orderBy(desc(sql`sum`)).all()).toEqual([
      { symbol: 'BTC', sum: 4, n: 2 },
      { symbol: 'ETH', sum: 2.5, n: 1 },
    ]);
    const summed = db.$with('summed').as(sums);
    expect(db.with(summed).select().from(summed).where(gt(summed.n, 1)).all()).toEqual([
      { symbol: 'BTC', sum: 4, n: 2 },
    ]);
    expect(db.select().from(orders).orderBy(desc(orders.id)).limit(1).offset(1).all()).toMatchObject([
      { id: 2 },
    ]);
    expect(db.selectDistinct({ symbol: orders.symbol }).from(orders).orderBy(orders.symbol).values()).toEqual(
      [['BTC'], ['ETH']],
    );
    expect(db.select().from(orders).where(eq(orders.id, 9)).get()).toBeUndefined();
  });

  test('relations are read with their rows', () => {
    expect(
      db.query.traders
        .findMany({ with: { orders: { columns: { symbol: true }, limit: 2 } }, columns: { name: true } })
        .sync(),
    ).toEqual([
      { name: 'ann', orders: [{ symbol: 'BTC' }, { symbol: 'ETH' }] },
      { name: 'bob', orders: [] },
    ]);
    expect(db.query.orders.findFirst({ with: { trader: true }, where: eq(orders.id, 3) }).sync()).toEqual({
      id: 3,
      traderId: 1,
      symbol: 'BTC',
      quantity: 3,
      trader: { id: 1, name: 'ann', balance: 10, invitedBy: null },
    });
  });

  test('a prepared query is used again with other values and in other forms', () => {
    const bySymbol = db
      .select({ id: orders.id, quantity: orders.quantity })
      .from(orders)
      .where(eq(orders.symbol, sql.placeholder('symbol')))
      .prepare();
    expect(bySymbol.all({ symbol: 'BTC' })).toEqual([
      { id: 1, quantity: 1 },
      { id: 3, quantity: 3 },
    ]);
    expect(bySymbol.get({ symbol: 'ETH' })).toEqual({ id: 2, quantity: 2.5 });
    expect(bySymbol.values({ symbol: 'BTC' })).toEqual([
      [1, 1],
      [3, 3],
    ]);
    expect(bySymbol.all({ symbol: 'none' })).toEqual([]);
    const insert = db
      .insert(traders)
      .values({ name: sql.placeholder('name') })
      .prepare();
    expect(insert.run({ name: 'eve' })).toEqual({ changes: 1, lastInsertRowid: 3 });
    expect(insert.run({ name: 'joe' })).toEqual({ changes: 1, lastInsertRowid: 4 });
    expect(() => insert.run({ name: 'joe' })).toThrow(coded('SQLITE_CONSTRAINT_UNIQUE'));
    expect(insert.run({ name: 'kim' }).changes).toBe(1);
  });

  test('raw SQL in each form', () => {
    const symbol = 'BTC';
    expect(db.all(sql`SELECT id FROM ${orders} WHERE symbol = ${symbol}`)).toEqual([{ id: 1 }, { id: 3 }]);
    expect(db.get(sql`SELECT count(*) AS n FROM orders`)).toEqual({ n: 3 });
    expect(db.values(sql`SELECT id, symbol FROM orders WHERE id < ${3}`)).toEqual([
      [1, 'BTC'],
      [2, 'ETH'],
    ]);
    expect(db.run(sql`DELETE FROM orders WHERE symbol = ${symbol}`).changes).toBe(2);
  });

  test('what a query was built into is iterated by the client', () => {
    const { sql: source, params } = db
      .select({ id: orders.id })
      .from(orders)
      .where(gt(orders.quantity, 1))
      .toSQL();
    const seen = [];
    for (const row of client.prepare(source).iterate(...params)) {
      seen.push(row);
      break;
    }
    expect(seen).toEqual([{ id: 2 }]);
    expect(client.prepare(source).all(...params)).toHaveLength(2);
  });
});

describe('transactions', () => {
  test.each([undefined, 'deferred', 'immediate', 'exclusive'])('behaviour %s commits', (behavior) => {
    const result = db.transaction(
      (tx) => {
        expect(client.inTransaction).toBe(true);
        return tx.insert(traders).values({ name: 'ann' }).returning().get().id;
      },
      { behavior },
    );
    expect(result).toBe(1);
    expect(client.inTransaction).toBe(false);
    expect(names()).toEqual(['ann']);
  });

  test('a throw takes everything back and comes out as it is', () => {
    const mine = new Error('mine');
    expect(() =>
      db.transaction((tx) => {
        tx.insert(traders).values({ name: 'ann' }).run();
        throw mine;
      }),
    ).toThrow(mine);
    expect(() =>
      db.transaction((tx) => {
        tx.insert(traders).values({ name: 'ann' }).run();
        tx.rollback();
      }),
    ).toThrow('Rollback');
    expect(client.inTransaction).toBe(false);
    expect(names()).toEqual([]);
  });

  test('a nested one is a savepoint, of which each is kept or taken back for itself', () => {
    db.transaction((tx) => {
      tx.insert(traders).values({ name: 'outer' }).run();
      tx.transaction((inner) => {
        inner.insert(traders).values({ name: 'kept' }).run();
        expect(() =>
          inner.transaction((innermost) => {
            innermost.insert(traders).values({ name: 'lost' }).run();
            innermost.insert(traders).values({ name: 'outer' }).run();
          }),
        ).toThrow(coded('SQLITE_CONSTRAINT_UNIQUE'));
      });
    });
    expect(names()).toEqual(['outer', 'kept']);
  });

  test('one within a transaction of the client is a savepoint, too', () => {
    const outer = client.transaction(() => {
      db.transaction((tx) => tx.insert(traders).values({ name: 'ann' }).run());
      expect(client.inTransaction).toBe(true);
      throw new Error('all of it');
    });
    expect(outer).toThrow('all of it');
    expect(names()).toEqual([]);
  });

  test('an asynchronous one is refused and taken back', async () => {
    let work;
    expect(() =>
      db.transaction((tx) => {
        tx.insert(traders).values({ name: 'ann' }).run();
        work = Promise.resolve();
        return work;
      }),
    ).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        message: 'Transaction function cannot return a promise',
      }),
    );
    await work;
    expect(names()).toEqual([]);
  });
});

describe('values', () => {
  test('each kind comes back as it was given', () => {
    const row = {
      id: 1,
      seconds: new Date(1_700_000_000_000),
      millis: new Date(1_700_000_000_123),
      flag: true,
      bytes: Buffer.from([0, 1, 254, 255]),
      big: 2n ** 90n,
      json: { a: [1, null, 'é'] },
      jsonBlob: ['x', { y: 1.5 }],
      exact: 9_007_199_254_740_991n,
      whole: -7,
    };
    db.insert(samples).values(row).run();
    const read = db.select().from(samples).get();
    expect(read).toEqual(row);
    expect(Buffer.isBuffer(read.bytes)).toBe(true);
    expect(client.prepare('SELECT seconds, millis, flag, typeof(big) AS big FROM samples').get()).toEqual({
      seconds: 1_700_000_000,
      millis: 1_700_000_000_123,
      flag: 1,
      big: 'blob',
    });
    expect(db.select().from(samples).where(eq(samples.bytes, row.bytes)).all()).toHaveLength(1);
    expect(db.select().from(samples).where(gt(samples.millis, row.seconds)).all()).toHaveLength(1);
  });

  test('NULL is null in each of them', () => {
    db.insert(samples).values({ id: 1, flag: null }).run();
    expect(db.select().from(samples).get()).toEqual({
      id: 1,
      seconds: null,
      millis: null,
      flag: null,
      bytes: null,
      big: null,
      json: null,
      jsonBlob: null,
      exact: null,
      whole: null,
    });
  });

  test('integers beyond a double are exact with safe integers', () => {
    db.run(sql`INSERT INTO samples (id, whole) VALUES (1, ${2n ** 60n + 1n})`);
    expect(db.select({ whole: samples.whole }).from(samples).get()).toEqual({ whole: 2 ** 60 });
    client.defaultSafeIntegers();
    expect(db.select({ whole: samples.whole }).from(samples).get()).toEqual({ whole: 2n ** 60n + 1n });
    expect(db.update(samples).set({ whole: 1 }).run()).toEqual({ changes: 1, lastInsertRowid: 1n });
    client.defaultSafeIntegers(false);
    expect(db.select({ whole: samples.whole }).from(samples).get()).toEqual({ whole: 1 });
  });
});

test('on a file, another handle sees what was committed and nothing before', () => {
  const file = path.join(scratch(), 'drizzle.db');
  const first = new Database(file);
  const second = new Database(file, { readonly: true });
  first.pragma('journal_mode = WAL');
  const writing = drizzle(first);
  const reading = drizzle(second);
  migrate(writing, { migrationsFolder });
  writing.transaction((tx) => {
    tx.insert(traders).values({ name: 'ann' }).run();
    expect(reading.select().from(traders).all()).toEqual([]);
  });
  expect(reading.select().from(traders).all()).toHaveLength(1);
  expect(() => reading.insert(traders).values({ name: 'bob' }).run()).toThrow(coded('SQLITE_READONLY'));
  second.close();
  first.close();
  expect(() => writing.select().from(traders).all()).toThrow(
    expect.objectContaining({ name: 'TypeError', message: 'The database connection is not open' }),
  );
});

if (provider === 'candlestore') {
  test('the library of better-sqlite3 is not loaded', () => {
    const loaded = process.report.getReport().sharedObjects;
    expect(loaded.filter((file) => file.includes('better-sqlite3'))).toEqual([]);
    expect(loaded.filter((file) => file.includes('candlestore'))).not.toEqual([]);
  });
}
