'use strict';

// Jest runs each test file in a context of its own, with a TypeError of its own and its own copy of every module. A
// program has one of each: here the library is loaded once, outside, and its errors are those that tests name.

const { TestEnvironment } = require('jest-environment-node');

class HandleEnvironment extends TestEnvironment {
  async setup() {
    await super.setup();
    Object.assign(this.global, { Error, TypeError, RangeError, handleProvider: require('./provider.js') });
  }
}

module.exports = HandleEnvironment;
