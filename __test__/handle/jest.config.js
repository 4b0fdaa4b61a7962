'use strict';

module.exports = {
  rootDir: __dirname,
  testEnvironment: './environment.js',
  testMatch: ['<rootDir>/*.test.js'],
  testTimeout: 20000,
  transform: {},
};
