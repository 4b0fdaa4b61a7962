'use strict';

// Kysely's SqliteDialect. Its transactions are asynchronous: they stay open across turns of the event loop.

const path = require('node:path');
const { setImmediate: turn } = require('node:timers/promises');
const {
  CamelCasePlugin,
  CompiledQuery,
  Kysely,
  Migrator,
  ParseJSONResultsPlugin,
  SqliteDialect,
  sql,
} = require('kysely');
const { jsonArrayFrom } = require('kysely/helpers/sqlite');
const { load } = require('./provider.js');
const { scratch } = require('../support/scratch.js');

const { Database } = load();

const coded = (code) => expect.objectContaining({ name: 'SqliteError', code });
const typeError = (message) => expect.objectContaining({ name: 'TypeError', message });

const opened = [];

/** Kysely on a Database of its own, both closed after the test. */
function open(file = ':memory:', { plugins, ...options } = {}) {
  const database = new Database(file, options);
  const made = new Kysely({ dialect: new SqliteDialect({ database }), plugins });
  opened.push(database);
  return { db: made, database };
}

async function createTables(kysely) {
  await kysely.schema
    .createTable('traders')
    .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .addColumn('balance', 'real', (column) => column.notNull().defaultTo(0))
    .addColumn('photo', 'blob')
    .addColumn('joined_at', 'integer')
    .execute();
  await kysely.schema
    .createTable('orders')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('trader_id', 'integer', (column) =>
      column.notNull().references('traders.id').onDelete('cascade'),
    )
    .addColumn('symbol', 'text', (column) => column.notNull())
    .addColumn('quantity', 'real', (column) => column.check(sql`quantity > 0`))
    .execute();
  await kysely.schema.createIndex('orders_symbol').on('orders').columns(['symbol', 'id']).execute();
}

let db;
let database;
beforeEach(async () => {
  ({ db, database } = open());
  await sql`PRAGMA foreign_keys = ON`.execute(db);
  await createTables(db);
});
afterEach(() => {
  for (const made of opened.splice(0)) made.close();
});

async function fill() {
  await db
    .insertInto('traders')
    .values([
      { name: 'ann', balance: 10 },
      { name: 'bob', balance: 0 },
    ])
    .execute();
  await db
    .insertInto('orders')
    .values([
      { trader_id: 1, symbol: 'BTC', quantity: 1 },
      { trader_id: 1, symbol: 'ETH', quantity: 2.5 },
      { trader_id: 1, symbol: 'BTC', quantity: 3 },
    ])
    .execute();
}

const add = (kysely, name) => kysely.insertInto('traders').values({ name }).execute();
const names = async (kysely = db) => {
  const rows = await kysely.selectFrom('traders').select('name').orderBy('id').execute();
  return rows.map((row) => row.name);
};

describe('the schema', () => {
  test('is changed and described', async () => {
    await db.schema.alterTable('orders').addColumn('note', 'text').execute();
    await db.schema.alterTable('orders').renameColumn('quantity', 'amount').execute();
    await db.schema
      .createView('btc')
      .as(db.selectFrom('orders').selectAll().where('symbol', '=', 'BTC'))
      .execute();
    const tables = await db.introspection.getTables();
    expect(tables.map(({ name, isView }) => [name, isView])).toEqual([
      ['btc', true],
      ['orders', false],
      ['traders', false],
    ]);
    expect(tables[1].columns.map((column) => column.name)).toEqual([
      'id',
      'trader_id',
      'symbol',
      'amount',
      'note',
    ]);
    expect(tables[2].columns.slice(0, 3)).toEqual([
      {
        name: 'id',
        dataType: 'INTEGER',
        isNullable: true,
        isAutoIncrementing: true,
        hasDefaultValue: false,
      },
      {
        name: 'name',
        dataType: 'TEXT',
        isNullable: false,
        isAutoIncrementing: false,
        hasDefaultValue: false,
      },
      {
        name: 'balance',
        dataType: 'REAL',
        isNullable: false,
        isAutoIncrementing: false,
        hasDefaultValue: true,
      },
    ]);
    await db.schema.dropView('btc').execute();
    await db.schema.dropTable('orders').execute();
    await db.schema.dropTable('orders').ifExists().execute();
    expect(await db.introspection.getTables()).toHaveLength(1);
  });
});

describe('writes', () => {
  test('report their counts and ids as bigints', async () => {
    expect(await db.insertInto('traders').values({ name: 'ann' }).executeTakeFirst()).toEqual({
      insertId: 1n,
      numInsertedOrUpdatedRows: 1n,
    });
    await add(db, 'bob');
    expect(await db.updateTable('traders').set({ balance: 2 }).executeTakeFirst()).toMatchObject({
      numUpdatedRows: 2n,
    });
    expect(await db.deleteFrom('traders').where('name', '=', 'bob').executeTakeFirst()).toEqual({
      numDeletedRows: 1n,
    });
  });

  test('many rows in one statement', async () => {
    const rows = Array.from({ length: 500 }, (_, n) => ({ name: `trader ${n}`, balance: n / 4 }));
    expect(await db.insertInto('traders').values(rows).executeTakeFirst()).toEqual({
      insertId: 500n,
      numInsertedOrUpdatedRows: 500n,
    });
    expect(
      await db
        .selectFrom('traders')
        .select(({ fn }) => [fn.countAll().as('n'), fn.sum('balance').as('sum')])
        .executeTakeFirst(),
    ).toEqual({ n: 500, sum: 31187.5 });
  });

  test('RETURNING gives the rows of inserts, updates and deletes', async () => {
    expect(
      await db
        .insertInto('traders')
        .values([{ name: 'ann' }, { name: 'bob', joined_at: 5 }])
        .returningAll()
        .execute(),
    ).toEqual([
      { id: 1, name: 'ann', balance: 0, photo: null, joined_at: null },
      { id: 2, name: 'bob', balance: 0, photo: null, joined_at: 5 },
    ]);
    expect(
      await db
        .updateTable('traders')
        .set((eb) => ({ balance: eb('balance', '+', 1.5) }))
        .where('name', '=', 'bob')
        .returning(['id', 'balance'])
        .executeTakeFirst(),
    ).toEqual({ id: 2, balance: 1.5 });
    expect(await db.deleteFrom('traders').returning('name').execute()).toEqual([
      { name: 'ann' },
      { name: 'bob' },
    ]);
    expect(await names()).toEqual([]);
  });

  test('a conflict is skipped or updates what is there', async () => {
    await fill();
    const again = (balance) => db.insertInto('traders').values({ name: 'ann', balance });
    expect(
      await again(1)
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst(),
    ).toMatchObject({ numInsertedOrUpdatedRows: 0n });
    expect(
      await again(5)
        .onConflict((conflict) =>
          conflict.column('name').doUpdateSet((eb) => ({
            balance: eb('traders.balance', '+', eb.ref('excluded.balance')),
          })),
        )
        .returning('balance')
        .execute(),
    ).toEqual([{ balance: 15 }]);
    await db.replaceInto('traders').values({ name: 'bob', balance: 7 }).execute();
    expect(await db.selectFrom('traders').select(['id', 'name', 'balance']).execute()).toEqual([
      { id: 1, name: 'ann', balance: 15 },
      { id: expect.any(Number), name: 'bob', balance: 7 },
    ]);
  });
});

describe('reads', () => {
  beforeEach(fill);

  test('joins, groups, subqueries and common table expressions', async () => {
    expect(
      await db
        .with('sums', (qb) =>
          qb
            .selectFrom('orders')
            .groupBy('trader_id')
            .select(({ fn }) => ['trader_id', fn.sum('quantity').as('sum')]),
        )
        .selectFrom('traders')
        .leftJoin('sums', 'sums.trader_id', 'traders.id')
        .select(['name', 'sum'])
        .orderBy('name')
        .execute(),
    ).toEqual([
      { name: 'ann', sum: 6.5 },
      { name: 'bob', sum: null },
    ]);
    expect(
      await db
        .selectFrom('orders')
        .innerJoin('traders', 'traders.id', 'orders.trader_id')
        .where('symbol', 'in', ['BTC', 'SOL'])
        .where(({ exists, selectFrom }) => exists(selectFrom('traders').select('id').where('id', '=', 2)))
        .select(['orders.id', 'name'])
        .orderBy('orders.id', 'desc')
        .limit(1)
        .executeTakeFirstOrThrow(),
    ).toEqual({ id: 3, name: 'ann' });
    expect(await db.selectFrom('orders').selectAll().where('id', '=', 9).executeTakeFirst()).toBeUndefined();
  });

  test('rows within rows, as JSON', async () => {
    expect(
      await db
        .withPlugin(new ParseJSONResultsPlugin())
        .selectFrom('traders')
        .select((eb) => [
          'name',
          jsonArrayFrom(
            eb
              .selectFrom('orders')
              .select('orders.symbol')
              .whereRef('orders.trader_id', '=', 'traders.id')
              .orderBy('orders.id'),
          ).as('orders'),
        ])
        .execute(),
    ).toEqual([
      { name: 'ann', orders: [{ symbol: 'BTC' }, { symbol: 'ETH' }, { symbol: 'BTC' }] },
      { name: 'bob', orders: [] },
    ]);
  });

  test('a compiled query is executed again', async () => {
    const compiled = db.selectFrom('orders').select('id').where('symbol', '=', 'BTC').compile();
    for (let time = 0; time < 2; time += 1) {
      expect((await db.executeQuery(compiled)).rows).toEqual([{ id: 1 }, { id: 3 }]);
    }
    expect(
      (await db.executeQuery(CompiledQuery.raw('SELECT id FROM orders WHERE symbol = ?', ['ETH']))).rows,
    ).toEqual([{ id: 2 }]);
  });

  test('raw SQL, pragmas and plans', async () => {
    expect((await sql`SELECT ${'x'} AS x, ${1.5} AS y, ${null} AS z`.execute(db)).rows).toEqual([
      { x: 'x', y: 1.5, z: null },
    ]);
    expect((await sql`PRAGMA foreign_keys`.execute(db)).rows).toEqual([{ foreign_keys: 1 }]);
    expect((await sql`PRAGMA user_version = 7`.execute(db)).rows).toEqual([]);
    expect((await sql`PRAGMA user_version`.execute(db)).rows).toEqual([{ user_version: 7 }]);
    expect(await sql`DELETE FROM orders`.execute(db)).toMatchObject({ numAffectedRows: 3n, rows: [] });
    expect(
      await db
        .selectFrom('orders')
        .selectAll()
        .where('symbol', '=', 'BTC')
        .explain(undefined, sql`query plan`),
    ).toEqual([expect.objectContaining({ detail: expect.stringContaining('orders_symbol') })]);
  });

  test('camel case names are those of the columns', async () => {
    const camel = db.withPlugin(new CamelCasePlugin());
    expect(await camel.selectFrom('orders').select('traderId').limit(1).execute()).toEqual([{ traderId: 1 }]);
  });
});

describe('streams', () => {
  beforeEach(fill);

  const stream = () => db.selectFrom('orders').select('id').orderBy('id').stream();

  test('give each row, and what is asked meanwhile comes after the last', async () => {
    const seen = [];
    let count;
    for await (const row of stream()) {
      count ??= db
        .selectFrom('orders')
        .select('id')
        .execute()
        .then(() => seen.push('then'));
      await turn();
      seen.push(row.id);
    }
    await count;
    expect(seen).toEqual([1, 2, 3, 'then']);
  });

  test('are left early, and the database can be written at once', async () => {
    for await (const row of stream()) {
      expect(row).toEqual({ id: 1 });
      // The one connection reads still.
      expect(() => database.exec('DELETE FROM orders')).toThrow(
        typeError('This database connection is busy executing a query'),
      );
      break;
    }
    await db.deleteFrom('orders').execute();
    expect(await db.selectFrom('orders').select('id').execute()).toEqual([]);
  });

  test('end with what the loop throws', async () => {
    await expect(
      (async () => {
        for await (const row of stream()) throw new Error(`mine at ${row.id}`);
      })(),
    ).rejects.toThrow('mine at 1');
    await add(db, 'eve');
    expect(await names()).toEqual(['ann', 'bob', 'eve']);
  });
});

describe('transactions', () => {
  test('commit across turns', async () => {
    const result = await db.transaction().execute(async (trx) => {
      await add(trx, 'ann');
      await turn();
      expect(database.inTransaction).toBe(true);
      await add(trx, 'bob');
      return (await names(trx)).length;
    });
    expect(result).toBe(2);
    expect(database.inTransaction).toBe(false);
    expect(await names()).toEqual(['ann', 'bob']);
  });

  test('are taken back by a throw of the program and by a failed write', async () => {
    await expect(
      db.transaction().execute(async (trx) => {
        await add(trx, 'ann');
        await turn();
        throw new Error('mine');
      }),
    ).rejects.toThrow('mine');
    await expect(
      db.transaction().execute(async (trx) => {
        await add(trx, 'ann');
        await add(trx, 'ann');
      }),
    ).rejects.toEqual(coded('SQLITE_CONSTRAINT_UNIQUE'));
    expect(database.inTransaction).toBe(false);
    expect(await names()).toEqual([]);
  });

  test('two at once come one after the other', async () => {
    const seen = [];
    const run = (name) =>
      db.transaction().execute(async (trx) => {
        seen.push(`${name} begins`);
        await add(trx, name);
        await turn();
        expect(await names(trx)).toHaveLength(seen.length === 1 ? 1 : 2);
        seen.push(`${name} ends`);
      });
    await Promise.all([run('ann'), run('bob')]);
    expect(seen).toEqual(['ann begins', 'ann ends', 'bob begins', 'bob ends']);
    expect(await names()).toEqual(['ann', 'bob']);
  });

  test('savepoints are kept, taken back and released', async () => {
    const trx = await db.startTransaction().execute();
    await add(trx, 'ann');
    const first = await trx.savepoint('first').execute();
    await add(first, 'bob');
    const second = await first.savepoint('second').execute();
    await add(second, 'eve');
    await expect(add(second, 'ann')).rejects.toEqual(coded('SQLITE_CONSTRAINT_UNIQUE'));
    await turn();
    await second.rollbackToSavepoint('second').execute();
    await first.releaseSavepoint('first').execute();
    await trx.commit().execute();
    expect(await names()).toEqual(['ann', 'bob']);
    const lost = await db.startTransaction().execute();
    await add(lost, 'joe');
    await lost.rollback().execute();
    expect(await names()).toEqual(['ann', 'bob']);
  });

  test('of two handles on a file, the later writer is told it is busy and succeeds afterwards', async () => {
    const file = path.join(scratch(), 'kysely.db');
    const first = open(file);
    first.database.pragma('journal_mode = WAL');
    await createTables(first.db);
    const second = open(file, { timeout: 0 });
    await first.db.transaction().execute(async (trx) => {
      await add(trx, 'ann');
      await turn();
      // Readers are not kept waiting, and see what is committed.
      expect(await names(second.db)).toEqual([]);
      await expect(second.db.transaction().execute((other) => add(other, 'bob'))).rejects.toEqual(
        coded('SQLITE_BUSY'),
      );
      expect(second.database.inTransaction).toBe(false);
    });
    await second.db.transaction().execute((other) => add(other, 'bob'));
    expect(await names(first.db)).toEqual(['ann', 'bob']);
  });
});

describe('migrations', () => {
  const migrations = {
    '1-coins': {
      up: (kysely) => kysely.schema.createTable('coins').addColumn('name', 'text').execute(),
      down: (kysely) => kysely.schema.dropTable('coins').execute(),
    },
    '2-rank': {
      up: (kysely) => kysely.schema.alterTable('coins').addColumn('rank', 'integer').execute(),
      down: (kysely) => kysely.schema.alterTable('coins').dropColumn('rank').execute(),
    },
  };
  const migrator = (list = migrations) =>
    new Migrator({ db, provider: { getMigrations: () => Promise.resolve(list) } });
  const columns = () => database.pragma('table_info(coins)').map((column) => column.name);

  test('go up and down one by one and to the newest', async () => {
    expect((await migrator().migrateUp()).results).toEqual([
      { direction: 'Up', migrationName: '1-coins', status: 'Success' },
    ]);
    expect(columns()).toEqual(['name']);
    expect((await migrator().migrateToLatest()).error).toBeUndefined();
    expect(columns()).toEqual(['name', 'rank']);
    expect((await migrator().migrateToLatest()).results).toEqual([]);
    expect((await migrator().getMigrations()).map((one) => one.executedAt)).toEqual([
      expect.any(Date),
      expect.any(Date),
    ]);
    expect((await migrator().migrateDown()).results).toMatchObject([{ migrationName: '2-rank' }]);
    expect(columns()).toEqual(['name']);
  });

  test('a failed one is told with its code and not counted as done', async () => {
    const list = { ...migrations, '3-coins': migrations['1-coins'] };
    const { error, results } = await migrator(list).migrateToLatest();
    expect(error).toEqual(coded('SQLITE_ERROR'));
    expect(results.map((one) => one.status)).toEqual(['Success', 'Success', 'Error']);
    expect(await migrator(list).getMigrations()).toMatchObject([
      { executedAt: expect.any(Date) },
      { executedAt: expect.any(Date) },
      { executedAt: undefined },
    ]);
  });
});

describe('values', () => {
  const store = (values) =>
    db
      .insertInto('traders')
      .values({ name: 'ann', ...values })
      .execute();
  const read = (column) => db.selectFrom('traders').select(column).executeTakeFirst();

  test('bytes, numbers, texts and NULLs', async () => {
    await store({ photo: Buffer.from([0, 255, 7]), balance: -1.25, joined_at: null });
    const { photo, ...rest } = await db.selectFrom('traders').selectAll().executeTakeFirst();
    expect(Buffer.isBuffer(photo)).toBe(true);
    expect([...photo]).toEqual([0, 255, 7]);
    expect(rest).toEqual({ id: 1, name: 'ann', balance: -1.25, joined_at: null });
    expect(
      await db
        .selectFrom('traders')
        .select('id')
        .where('photo', '=', new Uint8Array([0, 255, 7]))
        .execute(),
    ).toEqual([{ id: 1 }]);
  });

  test('bigints are bound exactly and read so with safe integers', async () => {
    await store({ joined_at: 2n ** 60n + 1n });
    expect(await read('joined_at')).toEqual({ joined_at: 2 ** 60 });
    database.defaultSafeIntegers();
    expect(await read('joined_at')).toEqual({ joined_at: 2n ** 60n + 1n });
    expect(await db.updateTable('traders').set({ joined_at: 1n }).executeTakeFirst()).toMatchObject({
      numUpdatedRows: 1n,
    });
    await expect(store({ name: 'bob', joined_at: 2n ** 64n })).rejects.toThrow(
      'The bound string, buffer, or bigint is too big',
    );
  });

  test.each([
    ['a date', new Date(0)],
    ['true', true],
    ['an object', { a: 1 }],
  ])('%s is not bound', async (_, value) => {
    await expect(store({ joined_at: value })).rejects.toEqual(
      typeError('SQLite3 can only bind numbers, strings, bigints, buffers, and null'),
    );
    expect(await names()).toEqual([]);
  });
});

describe('errors', () => {
  test('say their code', async () => {
    await fill();
    await expect(add(db, 'ann')).rejects.toEqual(coded('SQLITE_CONSTRAINT_UNIQUE'));
    const order = (values) =>
      db
        .insertInto('orders')
        .values({ trader_id: 1, symbol: 'X', ...values })
        .execute();
    await expect(order({ trader_id: 9 })).rejects.toEqual(coded('SQLITE_CONSTRAINT_FOREIGNKEY'));
    await expect(order({ id: 1 })).rejects.toEqual(coded('SQLITE_CONSTRAINT_PRIMARYKEY'));
    await expect(order({ quantity: -1 })).rejects.toEqual(coded('SQLITE_CONSTRAINT_CHECK'));
    await expect(order({ symbol: null })).rejects.toEqual(coded('SQLITE_CONSTRAINT_NOTNULL'));
    await expect(db.selectFrom('nowhere').selectAll().execute()).rejects.toEqual(coded('SQLITE_ERROR'));
    expect(await db.selectFrom('orders').select('id').execute()).toHaveLength(3);
  });

  test('a destroyed instance has closed its database', async () => {
    await db.destroy();
    expect(database.open).toBe(false);
    await expect(names()).rejects.toThrow();
  });
});
