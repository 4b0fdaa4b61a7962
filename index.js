'use strict';

const { CandleStoreError } = require('./lib/errors');
const { Database } = require('./lib/handle/database');
const { SqliteError } = require('./lib/handle/sqlite-error');
const { CandleStore, openStore } = require('./lib/store');

module.exports = { CandleStore, CandleStoreError, Database, SqliteError, openStore };
