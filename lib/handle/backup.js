'use strict';

// Copies a database into a file while it is in use, as better-sqlite3's public documentation describes Database#backup(). The
// native side copies one state of it, on another thread where the database is in a file.

const fs = require('node:fs/promises');
const path = require('node:path');
const { setImmediate: turn, setTimeout: pause } = require('node:timers/promises');

const { CandleStoreError } = require('../errors');
const { SqliteError, notOpen, ofHandle, raw } = require('./sqlite-error');

const PAGES = 100;
const MOST_PAGES = 2 ** 31 - 1;
/** Until a target that somebody else has locked, or a session in a transaction, is tried again, and for how long. */
const PAUSE_MS = 10;
const MOST_HELD_UP_MS = 5_000;

async function backup(session, target, options) {
  options ??= {};
  if (typeof target !== 'string') throw new TypeError('Expected first argument to be a string');
  if (typeof options !== 'object') throw new TypeError('Expected second argument to be an options object');
  const file = target.trim();
  const schema = 'attached' in options ? options.attached : 'main';
  const progress = 'progress' in options ? options.progress : null;
  if (!file) throw new TypeError('Backup filename cannot be an empty string');
  if (file === ':memory:') throw new TypeError('Invalid backup filename ":memory:"');
  if (typeof schema !== 'string') throw new TypeError('Expected the "attached" option to be a string');
  if (!schema) throw new TypeError('The "attached" option cannot be an empty string');
  if (progress !== null && progress !== undefined && typeof progress !== 'function') {
    throw new TypeError('Expected the "progress" option to be a function');
  }
  if (!(await exists(path.dirname(file)))) {
    throw new TypeError('Cannot save backup because the directory does not exist');
  }
  if (await isSame(file, session)) throw new TypeError('Cannot back a database up into its own file');
  const isNew = !(await exists(file));
  session.checkOpen();
  session.checkNotBusy();
  session.settle();
  const { isReadOnlySide, native } = session;
  let number = null;
  let isWhole = false;
  try {
    number = raw(() => native.beginBackup(schema, file, isReadOnlySide));
    const copied = await copy(session, number, progress);
    isWhole = true;
    return copied;
  } finally {
    if (number !== null) native.endBackup(number, isReadOnlySide);
    if (!isWhole && isNew) await fs.rm(file, { force: true });
  }
}

async function copy(session, number, progress) {
  // The first step copies nothing: it tells how much there is.
  let pages = 0;
  let isFirst = true;
  let heldUpMs = 0;
  for (;;) {
    await turn();
    if (session.isClosed()) throw notOpen();
    const told = await step(session, number, pages);
    const { totalPages, remainingPages } = told;
    if (remainingPages === 0 && !told.isHeldUp) return { totalPages, remainingPages };
    if (isFirst) pages = PAGES;
    isFirst = false;
    const wanted = progress?.({ totalPages, remainingPages });
    if (wanted !== undefined) {
      if (typeof wanted !== 'number' || Number.isNaN(wanted)) {
        throw new TypeError('Expected progress callback to return a number or undefined');
      }
      pages = Math.min(Math.max(Math.round(wanted), 0), MOST_PAGES);
    }
    if (!told.isHeldUp) {
      heldUpMs = 0;
      continue;
    }
    if (heldUpMs >= MOST_HELD_UP_MS) throw new SqliteError('database is locked', 'SQLITE_BUSY');
    heldUpMs += PAUSE_MS;
    await pause(PAUSE_MS);
  }
}

async function step(session, number, pages) {
  try {
    return await session.stepBackup(number, pages);
  } catch (error) {
    throw error instanceof CandleStoreError ? ofHandle(error) : error;
  }
}

const exists = (file) =>
  fs.access(file).then(
    () => true,
    () => false,
  );

async function isSame(file, session) {
  if (session.memory) return false;
  const [one, other] = await Promise.all(
    [file, session.name.trim()].map((name) => fs.stat(name).catch(() => null)),
  );
  return one !== null && other !== null && one.dev === other.dev && one.ino === other.ino;
}

module.exports = { backup };
