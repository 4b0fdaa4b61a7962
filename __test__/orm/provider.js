'use strict';

// Whose Database the programs run on: candlestore's, or with PROVIDER=better-sqlite3 the one they were written for,
// which shows that what they expect is right.

const provider = process.env.PROVIDER ?? 'candlestore';

const providers = {
  candlestore: () => require('../..'),
  'better-sqlite3': () => {
    const Database = require('better-sqlite3');
    return { Database, SqliteError: Database.SqliteError };
  },
};

if (!Object.hasOwn(providers, provider)) {
  throw new Error(`PROVIDER is one of ${Object.keys(providers).join(', ')}, not ${provider}`);
}

/** What Knex is given as `client`. */
function knexClient() {
  if (provider === 'better-sqlite3') return 'better-sqlite3';
  const { Database } = providers.candlestore();
  return class extends require('knex/lib/dialects/better-sqlite3') {
    _driver() {
      return Database;
    }
  };
}

module.exports = { knexClient, load: providers[provider], provider };
