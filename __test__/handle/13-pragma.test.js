'use strict';

// pragma(): rows, one value with simple, and what it refuses.

const { BUSY, fails, newFile, open, openTable, refuses } = require('./support.js');

let db;
beforeEach(() => {
  db = openTable();
});

test('gives rows, even where there is one, and none where there is nothing to tell', () => {
  expect(db.pragma('user_version')).toEqual([{ user_version: 0 }]);
  expect(db.pragma('table_info(t)').map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd']);
  expect(db.pragma('table_info(nowhere)')).toEqual([]);
  expect(db.pragma('user_version = 5')).toEqual([]);
});

test('gives the first column of the first row with simple', () => {
  expect(db.pragma('user_version', { simple: true })).toBe(0);
  expect(db.pragma('table_info(t)', { simple: true })).toBe(0);
  expect(db.pragma('encoding', { simple: true })).toBe('UTF-8');
});

test('gives undefined with simple where there are no rows', () => {
  expect(db.pragma('user_version = 5', { simple: true })).toBeUndefined();
  expect(db.pragma('table_info(nowhere)', { simple: true })).toBeUndefined();
});

test('simple false gives rows', () => {
  expect(db.pragma('user_version', { simple: false })).toEqual([{ user_version: 0 }]);
});

test('sets what it sets', () => {
  db.pragma('user_version = 7');
  expect(db.pragma('user_version', { simple: true })).toBe(7);
  expect(db.pragma('cache_size = 500; ')).toEqual([]);
  expect(db.pragma('cache_size', { simple: true })).toBe(500);
  db.pragma('foreign_keys = OFF');
  expect(db.pragma('foreign_keys', { simple: true })).toBe(0);
});

test('tells the journal mode that was reached', () => {
  const file = open(newFile());
  expect(file.pragma('journal_mode', { simple: true })).toBe('delete');
  expect(file.pragma('journal_mode = WAL')).toEqual([{ journal_mode: 'wal' }]);
  expect(file.pragma('journal_mode', { simple: true })).toBe('wal');
  expect(file.pragma('journal_mode = DELETE', { simple: true })).toBe('delete');
  expect(db.pragma('journal_mode = WAL', { simple: true })).toBe('memory');
});

test('the defaults of a new file are those of the library', () => {
  const file = open(newFile());
  expect(file.pragma('synchronous', { simple: true })).toBe(2);
  expect(file.pragma('cache_size', { simple: true })).toBe(-16000);
  expect(file.pragma('page_size', { simple: true })).toBe(4096);
  expect(file.pragma('recursive_triggers', { simple: true })).toBe(0);
  file.pragma('journal_mode = WAL');
  file.exec('CREATE TABLE t (a)');
  expect(file.pragma('synchronous', { simple: true })).toBe(1);
  expect(file.pragma('wal_autocheckpoint', { simple: true })).toBe(1000);
});

test('wal_checkpoint tells what was copied', () => {
  const file = openTable(0, newFile());
  file.pragma('journal_mode = WAL');
  file.exec('INSERT INTO t (b) VALUES (1)');
  const [told, ...more] = file.pragma('wal_checkpoint(TRUNCATE)');
  expect([Object.keys(told), told.busy, more]).toEqual([['busy', 'log', 'checkpointed'], 0, []]);
});

test('an unknown one is no error', () => {
  expect(db.pragma('nothing_of_the_kind')).toEqual([]);
  expect(db.pragma('nothing_of_the_kind', { simple: true })).toBeUndefined();
  expect(db.pragma('nothing_of_the_kind = 7')).toEqual([]);
});

test('integers are bigints where that is the default', () => {
  db.defaultSafeIntegers();
  expect(db.pragma('user_version', { simple: true })).toBe(0n);
  expect(db.pragma('user_version')).toEqual([{ user_version: 0n }]);
});

test('several checks and results come in order', () => {
  expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
  expect(db.pragma('foreign_key_check')).toEqual([]);
  expect(db.pragma('optimize')).toEqual([]);
  expect(db.pragma('compile_options').length).toBeGreaterThan(10);
});

test.each([[undefined], [null], [7], [{}], [['user_version']]])('refuses %p as a text', (source) => {
  refuses(() => db.pragma(source), TypeError, 'Expected first argument to be a string');
});

test.each([[true], [1], ['simple'], [() => 1]])('refuses %p as options', (options) => {
  refuses(
    () => db.pragma('user_version', options),
    TypeError,
    'Expected second argument to be an options object',
  );
});

test.each([[undefined], [null], [{}]])('takes %p as options', (options) => {
  expect(db.pragma('user_version', options)).toEqual([{ user_version: 0 }]);
});

test.each([[1], [undefined], [null], ['true']])('refuses simple %p', (simple) => {
  refuses(
    () => db.pragma('user_version', { simple }),
    TypeError,
    'Expected the "simple" option to be a boolean',
  );
});

test('refuses several statements, bad ones, and none', () => {
  refuses(
    () => db.pragma('user_version; SELECT 1'),
    RangeError,
    'The supplied SQL string contains more than one statement',
  );
  fails(() => db.pragma(''), 'SQLITE_ERROR', 'incomplete input');
  fails(() => db.pragma('user_version = ='), 'SQLITE_ERROR', 'near "=": syntax error');
});

test('refuses while an iterator is open, unless in unsafe mode', () => {
  const iterator = db.prepare('SELECT * FROM t').iterate();
  refuses(() => db.pragma('user_version'), TypeError, BUSY);
  db.unsafeMode();
  expect(db.pragma('user_version', { simple: true })).toBe(0);
  db.unsafeMode(false);
  refuses(() => db.pragma('user_version'), TypeError, BUSY);
  iterator.return();
  expect(db.pragma('user_version', { simple: true })).toBe(0);
});

test('the schema cannot be made writable, unless in unsafe mode', () => {
  db.pragma('writable_schema = ON');
  fails(
    () => db.exec('DELETE FROM sqlite_master'),
    'SQLITE_ERROR',
    'table sqlite_master may not be modified',
  );
  db.unsafeMode();
  db.pragma('writable_schema = ON');
  db.exec("UPDATE sqlite_master SET sql = sql WHERE name = 't'");
  db.pragma('writable_schema = OFF');
});
