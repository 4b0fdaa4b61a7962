'use strict';

const { CandleStoreError } = require('./lib/errors');
const { Database } = require('./lib/handle/database');
const { SqliteError } = require('./lib/handle/sqlite-error');
const { CandleStore, openStore } = require('./lib/store');
const { CollectorSupervisor, createCollectorSupervisor } = require('./lib/supervisor/supervisor');

module.exports = {
  CandleStore,
  CandleStoreError,
  CollectorSupervisor,
  Database,
  SqliteError,
  createCollectorSupervisor,
  openStore,
};
