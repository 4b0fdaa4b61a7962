'use strict';

const { CandleStoreError } = require('./lib/errors');
const { CandleStore, openStore } = require('./lib/store');

module.exports = { CandleStore, CandleStoreError, openStore };
