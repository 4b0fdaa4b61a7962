// Compiled by types.test.js: a Database and a store's handles are what Kysely's SqliteDialect asks for.

import { Kysely, SqliteDialect } from 'kysely';
import { Database, openStore } from '../../..';

interface Tables {
  candles_15: { symbol: string; time: number; close: number };
}

const store = openStore(':memory:');
for (const database of [new Database(':memory:'), store.db, store.dbReadOnly]) {
  const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database }) });
  void db.selectFrom('candles_15').select('close').execute();
}
