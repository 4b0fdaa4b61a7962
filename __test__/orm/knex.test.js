'use strict';

// Knex with its better-sqlite3 client, which opens and closes the Database itself.

const path = require('node:path');
const { setImmediate: turn } = require('node:timers/promises');
const knex = require('knex');
const { knexClient, load } = require('./provider.js');
const { scratch } = require('../support/scratch.js');

const client = knexClient();
const directory = path.join(__dirname, 'migrations', 'knex');

const coded = (code) => expect.objectContaining({ name: 'SqliteError', code });

const opened = new Set();

/** Knex on a file of its own or in memory, closed after the test. */
function open(filename = ':memory:', { options, ...more } = {}) {
  const made = knex({
    client,
    connection: { filename, options },
    useNullAsDefault: true,
    migrations: { directory },
    ...more,
  });
  opened.add(made);
  return made;
}

let db;
beforeEach(async () => {
  db = open();
  await db.raw('PRAGMA foreign_keys = ON');
  await db.migrate.latest();
});
afterEach(async () => {
  for (const made of opened) await made.destroy();
  opened.clear();
});

async function fill() {
  await db('traders').insert([
    { name: 'ann', balance: 10 },
    { name: 'bob', balance: 0 },
  ]);
  await db('orders').insert([
    { trader_id: 1, symbol: 'BTC', quantity: 1 },
    { trader_id: 1, symbol: 'ETH', quantity: 2.5 },
    { trader_id: 1, symbol: 'BTC', quantity: 3 },
  ]);
}

const names = (builder = db) => builder('traders').orderBy('id').pluck('name');

describe('the connection', () => {
  test('is a Database that Knex opened', async () => {
    const connection = await db.client.acquireConnection();
    expect(connection.constructor.name).toBe('Database');
    expect(connection).toMatchObject({ open: true, memory: true, readonly: false });
    await db.client.releaseConnection(connection);
    await db.destroy();
    expect(connection.open).toBe(false);
    expect(connection).toBeInstanceOf(load().Database);
  });

  test('is read-only when asked for', async () => {
    const file = path.join(scratch(), 'knex.db');
    const writing = open(file);
    await writing.migrate.latest();
    const reading = open(file, { options: { readonly: true } });
    expect(await names(reading)).toEqual([]);
    await expect(reading('traders').insert({ name: 'ann' })).rejects.toEqual(coded('SQLITE_READONLY'));
    const warn = jest.fn();
    const nowhere = open(path.join(scratch(), 'none.db'), { options: { readonly: true }, log: { warn } });
    await expect(names(nowhere)).rejects.toEqual(coded('SQLITE_CANTOPEN'));
    expect(warn).toHaveBeenCalled();
  });
});

describe('migrations', () => {
  test('go up once, down one by one, and are listed', async () => {
    expect(await db.migrate.latest()).toEqual([1, []]);
    expect(await db.migrate.currentVersion()).toBe('2');
    expect(await db.migrate.down()).toEqual([1, ['2_orders.js']]);
    expect(await db.schema.hasTable('orders')).toBe(false);
    expect(await db.migrate.list()).toMatchObject([[{ name: '1_traders.js' }], [{ file: '2_orders.js' }]]);
    expect(await db.migrate.up()).toEqual([2, ['2_orders.js']]);
    expect(await db.migrate.rollback(undefined, true)).toEqual([2, ['2_orders.js', '1_traders.js']]);
    expect(await db.schema.hasTable('traders')).toBe(false);
  });

  test('a failed one is taken back in full', async () => {
    const source = {
      getMigrations: () => Promise.resolve(['x']),
      getMigrationName: (name) => name,
      getMigration: () => ({
        async up(trx) {
          await trx.schema.createTable('third', (table) => table.increments());
          await trx.schema.createTable('orders', (table) => table.increments());
        },
        async down() {},
      }),
    };
    const config = { migrationSource: source, disableMigrationsListValidation: true };
    const warn = jest.spyOn(db.client.logger, 'warn').mockImplementation(() => {});
    await expect(db.migrate.latest(config)).rejects.toEqual(coded('SQLITE_ERROR'));
    expect(warn).toHaveBeenCalled();
    expect(await db.schema.hasTable('third')).toBe(false);
    expect(await db('knex_migrations').pluck('name')).toEqual(['1_traders.js', '2_orders.js']);
    expect(await db('knex_migrations_lock').pluck('is_locked')).toEqual([0]);
  });
});

describe('the schema', () => {
  beforeEach(fill);

  test('is described', async () => {
    expect(await db.schema.hasColumn('orders', 'symbol')).toBe(true);
    expect(await db.schema.hasColumn('orders', 'nothing')).toBe(false);
    expect(await db('traders').columnInfo()).toMatchObject({
      id: { type: 'integer', nullable: false },
      name: { type: 'varchar', maxLength: '255', nullable: false },
      balance: { type: 'float', defaultValue: "'0'" },
      photo: { type: 'blob', nullable: true },
    });
  });

  test('is altered where SQLite makes the table anew, and the rows stay', async () => {
    await db.schema.alterTable('orders', (table) => {
      table.string('note').defaultTo('none');
      table.renameColumn('quantity', 'amount');
    });
    await db.schema.alterTable('orders', (table) => table.dropForeign('trader_id'));
    await db.schema.alterTable('orders', (table) => table.string('symbol', 20).nullable().alter());
    await db.schema.alterTable('traders', (table) => table.dropColumn('photo'));
    expect(await db('orders').columnInfo('symbol')).toMatchObject({ maxLength: '20', nullable: true });
    expect(await db('orders').where({ id: 2 })).toEqual([
      { id: 2, trader_id: 1, symbol: 'ETH', amount: 2.5, note: 'none' },
    ]);
    // The foreign key is gone, and those of other tables are watched as before.
    await db('orders').insert({ trader_id: 9, amount: 1 });
    expect(await db.raw('PRAGMA foreign_keys')).toEqual([{ foreign_keys: 1 }]);
    expect(await names()).toEqual(['ann', 'bob']);
  });
});

describe('writes', () => {
  test('give the id of the row and the count of rows', async () => {
    expect(await db('traders').insert({ name: 'ann' })).toEqual([1]);
    expect(
      await db('traders').insert([
        { name: 'bob', balance: 1 },
        { name: 'eve', balance: 3 },
      ]),
    ).toEqual([3]);
    expect(await db('traders').where('id', '<', 3).update({ balance: 2 })).toBe(2);
    expect(await db('traders').where({ id: 1 }).increment('balance', 1.5)).toBe(1);
    expect(await db('traders').select('id', 'balance')).toEqual([
      { id: 1, balance: 3.5 },
      { id: 2, balance: 2 },
      { id: 3, balance: 3 },
    ]);
    expect(await db('traders').where({ name: 'none' }).del()).toBe(0);
    expect(await db('traders').del()).toBe(3);
  });

  test('many rows in chunks, as one transaction', async () => {
    const rows = Array.from({ length: 250 }, (_, n) => ({ name: `trader ${n}`, balance: n / 4 }));
    await db.batchInsert('traders', rows, 100);
    expect(await db('traders').count({ n: '*' }).sum({ sum: 'balance' }).first()).toEqual({
      n: 250,
      sum: 7781.25,
    });
    await expect(
      db.batchInsert('traders', [{ name: 'new' }, { name: 'other' }, { name: 'trader 7' }], 2),
    ).rejects.toEqual(coded('SQLITE_CONSTRAINT_UNIQUE'));
    expect(await db('traders').where({ name: 'new' })).toEqual([]);
  });

  test('RETURNING gives the rows of inserts, updates and deletes', async () => {
    expect(
      await db('traders')
        .insert([{ name: 'ann' }, { name: 'bob' }])
        .returning(['id', 'name']),
    ).toEqual([
      { id: 1, name: 'ann' },
      { id: 2, name: 'bob' },
    ]);
    expect(await db('traders').where({ id: 2 }).update({ balance: 1.5 }, ['id', 'balance'])).toEqual([
      { id: 2, balance: 1.5 },
    ]);
    expect(await db('traders').insert({ name: 'eve' }, '*')).toMatchObject([
      { id: 3, name: 'eve', photo: null },
    ]);
    expect(await names()).toEqual(['ann', 'bob', 'eve']);
  });

  test('a conflict is ignored or merged', async () => {
    await fill();
    const again = (balance) => db('traders').insert({ name: 'ann', balance }).onConflict('name');
    await again(1).ignore();
    expect(await db('traders').where({ name: 'ann' }).first('balance')).toEqual({ balance: 10 });
    await again(5).merge();
    expect(await db('traders').where({ name: 'ann' }).first('id', 'balance')).toEqual({ id: 1, balance: 5 });
    await again(7)
      .merge({ balance: db.raw('traders.balance + excluded.balance') })
      .where('traders.balance', '<', 100);
    expect(await db('traders').select('name', 'balance')).toEqual([
      { name: 'ann', balance: 12 },
      { name: 'bob', balance: 0 },
    ]);
  });
});

describe('reads', () => {
  beforeEach(fill);

  test('joins, groups, subqueries and common table expressions', async () => {
    expect(
      await db('traders')
        .leftJoin('orders', 'orders.trader_id', 'traders.id')
        .groupBy('traders.id')
        .select('name')
        .sum({ sum: 'quantity' })
        .count({ n: 'orders.id' })
        .orderBy('name'),
    ).toEqual([
      { name: 'ann', sum: 6.5, n: 3 },
      { name: 'bob', sum: null, n: 0 },
    ]);
    expect(
      await db
        .with('big', db('orders').where('quantity', '>', 2))
        .select('symbol')
        .from('big')
        .whereIn('trader_id', db('traders').select('id').where({ name: 'ann' }))
        .orderBy('id', 'desc')
        .limit(1),
    ).toEqual([{ symbol: 'BTC' }]);
    expect(await db('orders').distinct('symbol').orderBy('symbol').pluck('symbol')).toEqual(['BTC', 'ETH']);
    expect(await db('orders').where({ id: 9 }).first()).toBeUndefined();
    expect(
      await db.select('id').from('orders').where({ id: 1 }).unionAll(db('orders').select('id')),
    ).toHaveLength(4);
  });

  test('raw SQL with positions and with names', async () => {
    expect(await db.raw('SELECT id FROM orders WHERE symbol = ? AND id > ?', ['BTC', 1])).toEqual([
      { id: 3 },
    ]);
    expect(await db.raw('SELECT :x AS x, :y AS y', { x: 'a', y: null })).toEqual([{ x: 'a', y: null }]);
    expect(await db.raw('PRAGMA user_version')).toEqual([{ user_version: 0 }]);
    expect(await db.raw('DELETE FROM orders WHERE symbol = ?', ['BTC'])).toEqual({
      changes: 2,
      lastInsertRowid: 3,
    });
  });

  test('a stream gives each row, and may be left early', async () => {
    const seen = [];
    for await (const row of db('orders').select('id').stream()) {
      await turn();
      seen.push(row.id);
    }
    expect(seen).toEqual([1, 2, 3]);
    for await (const row of db('orders').select('id').stream()) {
      expect(row).toEqual({ id: 1 });
      break;
    }
    expect(await db('orders').del()).toBe(3);
    const broken = db('nowhere').stream();
    const closed = new Promise((resolve) => broken.once('close', resolve));
    await expect(broken.toArray()).rejects.toEqual(coded('SQLITE_ERROR'));
    await closed;
  });
});

describe('transactions', () => {
  test('commit across turns', async () => {
    expect(
      await db.transaction(async (trx) => {
        await trx('traders').insert({ name: 'ann' });
        await turn();
        await trx('traders').insert({ name: 'bob' });
        return names(trx);
      }),
    ).toEqual(['ann', 'bob']);
    expect(await names()).toEqual(['ann', 'bob']);
  });

  test('are taken back by a throw of the program and by a failed write', async () => {
    await expect(
      db.transaction(async (trx) => {
        await trx('traders').insert({ name: 'ann' });
        await turn();
        throw new Error('mine');
      }),
    ).rejects.toThrow('mine');
    await expect(
      db.transaction(async (trx) => {
        await trx('traders').insert({ name: 'ann' });
        await trx('traders').insert({ name: 'ann' });
      }),
    ).rejects.toEqual(coded('SQLITE_CONSTRAINT_UNIQUE'));
    expect(await names()).toEqual([]);
  });

  test('are ended by hand', async () => {
    const kept = await db.transaction();
    await kept('traders').insert({ name: 'ann' });
    await turn();
    await kept.commit();
    const lost = await db.transaction();
    await lost('traders').insert({ name: 'bob' });
    await lost.rollback();
    expect(lost.isCompleted()).toBe(true);
    expect(await names()).toEqual(['ann']);
  });

  test('a nested one is a savepoint', async () => {
    await db.transaction(async (trx) => {
      await trx('traders').insert({ name: 'ann' });
      await trx.transaction((inner) => inner('traders').insert({ name: 'bob' }));
      await expect(
        trx.transaction(async (inner) => {
          await inner('traders').insert({ name: 'eve' });
          await turn();
          await inner('traders').insert({ name: 'ann' });
        }),
      ).rejects.toEqual(coded('SQLITE_CONSTRAINT_UNIQUE'));
    });
    expect(await names()).toEqual(['ann', 'bob']);
  });

  test('two at once come one after the other', async () => {
    const seen = [];
    const run = (name) =>
      db.transaction(async (trx) => {
        seen.push(`${name} begins`);
        await trx('traders').insert({ name });
        await turn();
        seen.push(`${name} ends`);
      });
    await Promise.all([run('ann'), run('bob')]);
    expect(seen).toEqual(['ann begins', 'ann ends', 'bob begins', 'bob ends']);
    expect(await names()).toEqual(['ann', 'bob']);
  });

  test('of two instances on a file, one reads while the other writes', async () => {
    const file = path.join(scratch(), 'knex.db');
    const first = open(file);
    await first.raw('PRAGMA journal_mode = WAL');
    await first.migrate.latest();
    const second = open(file);
    await second.raw('PRAGMA busy_timeout = 0');
    await first.transaction(async (trx) => {
      await trx('traders').insert({ name: 'ann' });
      await turn();
      expect(await names(second)).toEqual([]);
      await expect(second('traders').insert({ name: 'bob' })).rejects.toEqual(coded('SQLITE_BUSY'));
    });
    await second('traders').insert({ name: 'bob' });
    expect(await names(first)).toEqual(['ann', 'bob']);
  });
});

describe('values', () => {
  const read = (...columns) => db('traders').first(...columns);

  test('bytes, dates, booleans, JSON and NULLs', async () => {
    await db('traders').insert({
      name: 'ann',
      photo: Buffer.from([0, 255, 7]),
      joined_at: new Date(1_700_000_000_123),
      active: true,
      settings: JSON.stringify({ a: [1] }),
    });
    const { photo, ...rest } = await read('photo', 'joined_at', 'active', 'settings');
    expect(Buffer.isBuffer(photo)).toBe(true);
    expect([...photo]).toEqual([0, 255, 7]);
    expect(rest).toEqual({ joined_at: 1_700_000_000_123, active: 1, settings: '{"a":[1]}' });
    expect(await db('traders').where({ photo, active: true }).pluck('id')).toEqual([1]);
    await db('traders').update({ photo: null, joined_at: null, active: false, settings: undefined });
    expect(await read()).toEqual({
      id: 1,
      name: 'ann',
      balance: 0,
      photo: null,
      joined_at: null,
      active: 0,
      settings: '{"a":[1]}',
    });
  });

  test('bigints are bound exactly, and read so where safe integers are asked for', async () => {
    const big = 2n ** 60n + 1n;
    await db('traders').insert({ name: 'ann', joined_at: big });
    expect(await read('joined_at')).toEqual({ joined_at: 2 ** 60 });
    expect(await read('joined_at').options({ safeIntegers: true })).toEqual({ joined_at: big });
    const safe = open(':memory:', { options: { safeIntegers: true } });
    expect(await safe.raw('SELECT ? AS big, 1 AS one', [big])).toEqual([{ big, one: 1n }]);
    expect(await safe.raw('SELECT 1 AS one').options({ safeIntegers: false })).toEqual([{ one: 1 }]);
  });

  test('an object is stored as JSON', async () => {
    await db('traders').insert({ name: 'ann', settings: { a: [1] } });
    expect(await db('traders').pluck('settings')).toEqual(['{"a":[1]}']);
  });
});

test('errors say their code and the statement', async () => {
  await fill();
  await expect(db('traders').insert({ name: 'ann' })).rejects.toEqual(
    expect.objectContaining({
      name: 'SqliteError',
      code: 'SQLITE_CONSTRAINT_UNIQUE',
      message: expect.stringMatching(/^insert into `traders` .* - UNIQUE constraint failed: traders\.name$/),
    }),
  );
  const order = (values) => db('orders').insert({ trader_id: 1, symbol: 'X', ...values });
  await expect(order({ trader_id: 9 })).rejects.toEqual(coded('SQLITE_CONSTRAINT_FOREIGNKEY'));
  await expect(order({ id: 1 })).rejects.toEqual(coded('SQLITE_CONSTRAINT_PRIMARYKEY'));
  await expect(order({ quantity: -1 })).rejects.toEqual(coded('SQLITE_CONSTRAINT_CHECK'));
  await expect(order({ symbol: null })).rejects.toEqual(coded('SQLITE_CONSTRAINT_NOTNULL'));
  await expect(db('nowhere')).rejects.toEqual(coded('SQLITE_ERROR'));
  expect(await db('orders')).toHaveLength(3);
});
