'use strict';

// These tests alone, with the root's jest: npx jest -c __test__/orm/jest.config.js
// PROVIDER says whose Database they run on, see provider.js.

const { provider } = require('./provider.js');

module.exports = {
  rootDir: __dirname,
  testEnvironment: 'node',
  testMatch: ['<rootDir>/*.test.js'],
  // What only candlestore has.
  testPathIgnorePatterns: provider === 'candlestore' ? [] : ['/(readme|store|types)\\.test\\.js$'],
  testTimeout: 30000,
  transform: {},
};
