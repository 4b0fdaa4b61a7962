'use strict';

// serialize() to a Buffer, and databases that are opened from one.

const fs = require('node:fs');
const { BUSY, fails, newFile, open, openTable, refuses, thrown } = require('./support.js');
const { Database } = require('./provider.js');

let db;
let bytes;
beforeEach(() => {
  db = openTable();
  bytes = db.serialize();
});

const values = (database) => database.prepare('SELECT b FROM t ORDER BY b').pluck().all();

describe('serialize()', () => {
  test('gives a Buffer that is a database file', () => {
    expect(Buffer.isBuffer(bytes)).toBe(true);
    expect(bytes.subarray(0, 15).toString()).toBe('SQLite format 3');
    expect(bytes).toHaveLength(db.pragma('page_count', { simple: true }) * 4096);
    const file = newFile();
    fs.writeFileSync(file, bytes);
    expect(values(open(file))).toEqual([1, 2, 3]);
  });

  test('of a file is the bytes of that file', () => {
    const file = newFile();
    const database = openTable(3, file);
    expect(database.serialize().equals(fs.readFileSync(file))).toBe(true);
  });

  test('has what is only in the log of WAL mode', () => {
    const database = openTable(1, newFile());
    database.pragma('journal_mode = WAL');
    database.exec('INSERT INTO t (b) VALUES (2)');
    const copy = database.serialize();
    // A database in memory cannot have a log, which its header says it has.
    copy[18] = 1;
    copy[19] = 1;
    expect(values(open(copy))).toEqual([1, 2]);
  });

  test('has what is not yet committed', () => {
    db.exec('BEGIN; INSERT INTO t (b) VALUES (4)');
    const copy = db.serialize();
    expect(db.inTransaction).toBe(true);
    db.exec('ROLLBACK');
    expect(values(open(copy))).toEqual([1, 2, 3, 4]);
    expect(values(db)).toEqual([1, 2, 3]);
  });

  test('is new bytes each time', () => {
    const other = db.serialize();
    expect(other.equals(bytes)).toBe(true);
    other.fill(0);
    expect(db.serialize().equals(bytes)).toBe(true);
  });

  test('of an empty database is one page', () => {
    expect(open().serialize()).toHaveLength(4096);
    expect(open(newFile()).serialize()).toHaveLength(4096);
  });

  test('takes the attached database that is named', () => {
    db.exec("ATTACH ':memory:' AS other; CREATE TABLE other.t (b); INSERT INTO other.t VALUES (77)");
    expect(values(open(db.serialize({ attached: 'other' })))).toEqual([77]);
    expect(db.serialize({ attached: 'main' }).length).toBe(bytes.length);
  });

  test('of an attached database that is not there fails', () => {
    for (const attached of ['nowhere', 'temp']) {
      expect(thrown(() => db.serialize({ attached }))).toBeInstanceOf(Error);
    }
  });

  test.each([[undefined], [null], [{}]])('takes %p as options', (options) => {
    expect(db.serialize(options).equals(bytes)).toBe(true);
  });

  test.each([[true], [7], ['main'], [() => 1]])('refuses %p as options', (options) => {
    refuses(() => db.serialize(options), TypeError, 'Expected first argument to be an options object');
  });

  test.each([[7], [null], [undefined], [{}]])('refuses attached %p', (attached) => {
    refuses(() => db.serialize({ attached }), TypeError, 'Expected the "attached" option to be a string');
  });

  test('refuses attached as an empty text', () => {
    refuses(
      () => db.serialize({ attached: '' }),
      TypeError,
      'The "attached" option cannot be an empty string',
    );
  });

  test('is refused while an iterator is open, in unsafe mode, too', () => {
    db.unsafeMode();
    const iterator = db.prepare('SELECT * FROM t').iterate();
    refuses(() => db.serialize(), TypeError, BUSY);
    iterator.return();
    expect(db.serialize().equals(bytes)).toBe(true);
  });
});

describe('a database from a Buffer', () => {
  test('is in memory, and has what was serialized', () => {
    const copy = open(bytes);
    expect(copy).toMatchObject({ name: ':memory:', memory: true, readonly: false, open: true });
    expect(values(copy)).toEqual([1, 2, 3]);
    expect(copy.prepare('SELECT * FROM t').all()).toEqual(db.prepare('SELECT * FROM t').all());
  });

  test('grows, and leaves the Buffer and the first database as they are', () => {
    const before = Buffer.from(bytes);
    const copy = open(bytes);
    const insert = copy.prepare('INSERT INTO t (b, d) VALUES (?, zeroblob(10000))');
    copy.transaction(() => {
      for (let n = 4; n <= 200; n += 1) insert.run(n);
    })();
    expect(values(copy)).toHaveLength(200);
    expect(copy.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(bytes.equals(before)).toBe(true);
    expect(values(db)).toEqual([1, 2, 3]);
    expect(values(open(copy.serialize()))).toHaveLength(200);
  });

  test('does not change with the Buffer', () => {
    const copy = open(bytes);
    bytes.fill(0);
    expect(values(copy)).toEqual([1, 2, 3]);
  });

  test('may be a part of a larger Buffer', () => {
    const large = Buffer.concat([Buffer.alloc(7, 9), bytes, Buffer.alloc(7, 9)]);
    expect(values(open(large.subarray(7, 7 + bytes.length)))).toEqual([1, 2, 3]);
  });

  test('may be readonly', () => {
    const copy = open(bytes, { readonly: true });
    expect(copy).toMatchObject({ memory: true, readonly: true });
    expect(values(copy)).toEqual([1, 2, 3]);
    fails(() => copy.exec('DELETE FROM t'), 'SQLITE_READONLY', 'attempt to write a readonly database');
    expect(copy.serialize().equals(bytes)).toBe(true);
  });

  test('takes the other options', () => {
    const said = [];
    const copy = open(bytes, { verbose: (sql) => said.push(sql), timeout: 77 });
    expect(copy.pragma('busy_timeout', { simple: true })).toBe(77);
    expect(said).toEqual(['PRAGMA busy_timeout']);
  });

  test('of no bytes is an empty one', () => {
    const empty = open(Buffer.alloc(0));
    expect(empty.prepare('SELECT count(*) FROM sqlite_master').pluck().get()).toBe(0);
    empty.exec('CREATE TABLE t (b); INSERT INTO t VALUES (1)');
    expect(values(empty)).toEqual([1]);
  });

  test('of other bytes opens, and the first read tells', () => {
    const text = open(Buffer.from('no database at all '.repeat(300)));
    fails(() => text.prepare('SELECT * FROM sqlite_master').all(), 'SQLITE_NOTADB', 'file is not a database');
  });

  test('is closed like any other', () => {
    const copy = new Database(bytes);
    expect(copy.close().open).toBe(false);
    expect(values(db)).toEqual([1, 2, 3]);
  });

  test('may be attached to, and backed up', async () => {
    const copy = open(bytes);
    copy.exec("ATTACH ':memory:' AS other; CREATE TABLE other.o AS SELECT * FROM main.t");
    expect(copy.prepare('SELECT count(*) FROM o').pluck().get()).toBe(3);
    const file = newFile();
    await copy.backup(file);
    expect(values(open(file))).toEqual([1, 2, 3]);
  });

  test('is not opened from bytes that are no Buffer', () => {
    refuses(() => new Database(new Uint8Array(bytes)), TypeError, 'Expected first argument to be a string');
    refuses(() => new Database(bytes.buffer), TypeError, 'Expected first argument to be a string');
  });
});
