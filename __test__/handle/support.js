'use strict';

// What nearly every test here needs: databases that are closed after the test, and errors looked at exactly.

const path = require('node:path');
const { scratch } = require('../support/scratch.js');
const { Database, SqliteError } = require('./provider.js');

const BUSY = 'This database connection is busy executing a query';
const LOCKED = 'This statement is busy executing a query';
const CLOSED = 'The database connection is not open';

const opened = [];

/** A path in a new folder where no file is yet. */
function newFile() {
  return path.join(scratch(), 'test.db');
}

/** A database that is closed after the test, in memory if no path is given. */
function open(location = ':memory:', options = undefined) {
  const db = new Database(location, options);
  opened.push(db);
  return db;
}

/** Like `open`, with a table `t (a TEXT, b INTEGER, c REAL, d BLOB)` of `rows` rows. */
function openTable(rows = 3, location = ':memory:', options = undefined) {
  const db = open(location, options);
  db.exec('CREATE TABLE t (a TEXT, b INTEGER, c REAL, d BLOB)');
  const insert = db.prepare('INSERT INTO t VALUES (?, ?, ?, ?)');
  for (let n = 1; n <= rows; n += 1) insert.run(`row ${n}`, n, n + 0.5, Buffer.from([n]));
  return db;
}

afterEach(() => {
  for (const db of opened.splice(0)) {
    // A test may have left an iterator open: then the connection ends with the process.
    try {
      db.close();
    } catch (error) {
      if (error.message !== BUSY) throw error;
    }
  }
});

/** What `act` throws, or fails if it throws nothing. */
function thrown(act) {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error(`nothing was thrown by ${act}`);
}

/** `act` throws an error of exactly this class, with this message (a text, or an expression it matches). */
function refuses(act, Class, message = /./) {
  const error = thrown(act);
  expect([error.constructor.name, error.message]).toEqual([
    Class.name,
    message instanceof RegExp ? expect.stringMatching(message) : message,
  ]);
  expect(error).toBeInstanceOf(Class);
  expect(error).toBeInstanceOf(Error);
  return error;
}

/** `act` throws a SqliteError with this code. */
function fails(act, code, message = /./) {
  const error = refuses(act, SqliteError, message);
  expect(error.code).toBe(code);
  return error;
}

/** How a property is, without its value: which of w(ritable), e(numerable), c(onfigurable) it is, or g(etter). */
function attributes(object, key) {
  const descriptor = Object.getOwnPropertyDescriptor(object, key);
  if (!descriptor) return undefined;
  const { writable, enumerable, configurable, get, set } = descriptor;
  const letters = { w: writable, e: enumerable, c: configurable, g: get, s: set };
  return Object.keys(letters)
    .filter((letter) => letters[letter])
    .join('');
}

module.exports = { BUSY, CLOSED, LOCKED, attributes, fails, newFile, open, openTable, refuses, thrown };
