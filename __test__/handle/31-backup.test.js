'use strict';

// backup(): a copy while the database is in use.

const fs = require('node:fs');
const path = require('node:path');
const { onlyOn } = require('./differences.js');
const { CLOSED, newFile, open, openTable } = require('./support.js');
const { scratch } = require('../support/scratch.js');
const { Database, SqliteError } = require('./provider.js');

let db;
beforeEach(() => {
  db = openTable(3, newFile());
});

const rowsOf = (file) => open(file, { readonly: true }).prepare('SELECT b FROM t ORDER BY b').pluck().all();

/** Makes the database 500 pages or so. */
function grow(database) {
  database.exec('CREATE TABLE big (bytes)');
  database.prepare('INSERT INTO big VALUES (zeroblob(?))').run(2_000_000);
  return database.pragma('page_count', { simple: true });
}

async function rejection(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it was not rejected');
}

async function refused(promise, Class, message) {
  const error = await rejection(promise);
  expect([error.constructor.name, error.message]).toEqual([Class.name, message]);
  return error;
}

test('copies everything, and tells how many pages that were', async () => {
  const target = newFile();
  const pages = db.pragma('page_count', { simple: true });
  const promise = db.backup(target);
  expect(typeof promise.then).toBe('function');
  expect(await promise).toEqual({ totalPages: pages, remainingPages: 0 });
  expect(rowsOf(target)).toEqual([1, 2, 3]);
});

test('nothing has happened when it returns', async () => {
  const target = newFile();
  const promise = db.backup(target);
  expect(fs.existsSync(target)).toBe(false);
  await promise;
  expect(fs.existsSync(target)).toBe(true);
});

test('copies a database in memory, and one that is read-only', async () => {
  const [one, two] = [newFile(), newFile()];
  await openTable(2).backup(one);
  expect(rowsOf(one)).toEqual([1, 2]);
  await open(db.name, { readonly: true }).backup(two);
  expect(rowsOf(two)).toEqual([1, 2, 3]);
});

test('copies what is only in the log of WAL mode', async () => {
  const target = newFile();
  db.pragma('journal_mode = WAL');
  db.exec('INSERT INTO t (b) VALUES (9)');
  await db.backup(target);
  expect(rowsOf(target)).toEqual([1, 2, 3, 9]);
});

test('replaces what the target had', async () => {
  const target = newFile();
  openTable(5, target).close();
  await db.backup(target);
  expect(rowsOf(target)).toEqual([1, 2, 3]);
});

test('trims the name of the target', async () => {
  const target = newFile();
  await db.backup(`  ${target} `);
  expect(rowsOf(target)).toEqual([1, 2, 3]);
});

test('copies the attached database that is named', async () => {
  const target = newFile();
  db.exec("ATTACH ':memory:' AS other; CREATE TABLE other.t (b); INSERT INTO other.t VALUES (77)");
  await db.backup(target, { attached: 'other' });
  expect(rowsOf(target)).toEqual([77]);
});

describe('progress', () => {
  test('is told nothing done, then a hundred pages at a time, and not the end', async () => {
    const pages = grow(db);
    const seen = [];
    const result = await db.backup(newFile(), {
      progress(...values) {
        seen.push(values);
      },
    });
    expect(result).toEqual({ totalPages: pages, remainingPages: 0 });
    const expected = [];
    for (let rest = pages; rest > 0; rest -= 100)
      expected.push([{ totalPages: pages, remainingPages: rest }]);
    expect(seen).toEqual(expected);
  });

  test('is not told of what was copied with the first page of it', async () => {
    const seen = [];
    const pages = db.pragma('page_count', { simple: true });
    await db.backup(newFile(), { progress: ({ remainingPages }) => void seen.push(remainingPages) });
    expect(seen).toEqual([pages]);
  });

  test('returns how many pages come next, rounded, until it returns another number', async () => {
    const pages = grow(db);
    const seen = [];
    const rates = [10, undefined, 250.4, 0.6, Infinity];
    await db.backup(newFile(), {
      progress({ remainingPages }) {
        seen.push(pages - remainingPages);
        return rates[seen.length - 1];
      },
    });
    expect(seen).toEqual([0, 10, 20, 270, 271]);
  });

  test('pauses with 0 and with less, and goes on with more', async () => {
    const pages = grow(db);
    const seen = [];
    const rates = [0, 0, -5, 300, 0, 5000];
    await db.backup(newFile(), {
      progress({ remainingPages }) {
        seen.push(pages - remainingPages);
        return rates[seen.length - 1];
      },
    });
    expect(seen).toEqual([0, 0, 0, 0, 300, 300]);
  });

  test('turns of the event loop come between its calls', async () => {
    grow(db);
    const events = [];
    await db.backup(newFile(), {
      progress() {
        events.push('progress');
        setImmediate(() => events.push('loop'));
        return 400;
      },
    });
    expect(events.slice(0, 3)).toEqual(['progress', 'loop', 'progress']);
  });

  test.each([[NaN], ['100'], [null], [{}], [true], [10n]])('that returns %p ends it', async (value) => {
    grow(db);
    const target = newFile();
    await refused(
      db.backup(target, { progress: () => value }),
      TypeError,
      'Expected progress callback to return a number or undefined',
    );
    expect(fs.existsSync(target)).toBe(false);
    expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
  });

  test('that throws ends it with its own error, and the new file is removed', async () => {
    const target = newFile();
    const mine = new Error('mine');
    const progress = () => {
      throw mine;
    };
    expect(await rejection(db.backup(target, { progress }))).toBe(mine);
    expect(fs.existsSync(target)).toBe(false);
  });

  test('that throws leaves a file that was there as it was', async () => {
    const target = newFile();
    openTable(5, target).close();
    grow(db);
    let calls = 0;
    const progress = () => {
      calls += 1;
      if (calls === 3) throw new Error('mine');
    };
    await refused(db.backup(target, { progress }), Error, 'mine');
    expect(rowsOf(target)).toEqual([1, 2, 3, 4, 5]);
  });
});

describe('while it runs', () => {
  test('the database writes, and the copy has what was written', async () => {
    grow(db);
    const target = newFile();
    let calls = 0;
    await db.backup(target, {
      progress() {
        calls += 1;
        if (calls === 4) db.exec('INSERT INTO t (b) VALUES (8)');
        return 100;
      },
    });
    expect(rowsOf(target)).toEqual([1, 2, 3, 8]);
  });

  test('another connection writes, and it begins anew', async () => {
    const pages = grow(db);
    const target = newFile();
    const other = open(db.name);
    const seen = [];
    await db.backup(target, {
      progress({ remainingPages }) {
        seen.push(pages - remainingPages);
        if (seen.length === 4) other.exec('INSERT INTO t (b) VALUES (8)');
        return 100;
      },
    });
    expect(seen.slice(0, 6)).toEqual([0, 100, 200, 300, 100, 200]);
    expect(rowsOf(target)).toEqual([1, 2, 3, 8]);
  });

  test('an iterator may be open', async () => {
    const target = newFile();
    const iterator = db.prepare('SELECT b FROM t ORDER BY b').iterate();
    iterator.next();
    await db.backup(target);
    expect(iterator.next().value).toEqual({ b: 2 });
    iterator.return();
    expect(rowsOf(target)).toEqual([1, 2, 3]);
  });

  test('closing the database ends it, and the new file is removed', async () => {
    grow(db);
    const target = newFile();
    const progress = () => {
      if (db.open) db.close();
    };
    await refused(db.backup(target, { progress }), TypeError, CLOSED);
    expect(fs.existsSync(target)).toBe(false);
  });

  test('another may run to another target', async () => {
    grow(db);
    const targets = [newFile(), newFile()];
    await Promise.all(targets.map((target) => db.backup(target)));
    expect(targets.map(rowsOf)).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
  });

  onlyOn('candlestore', 'committed')('a write that is not committed is not in the copy', async () => {
    const target = newFile();
    db.exec('BEGIN; INSERT INTO t (b) VALUES (8)');
    await db.backup(target);
    expect(db.inTransaction).toBe(true);
    expect(rowsOf(target)).toEqual([1, 2, 3]);
    db.exec('COMMIT');
    await db.backup(target);
    expect(rowsOf(target)).toEqual([1, 2, 3, 8]);
  });

  const title =
    'a write of the database itself that is not committed: nothing is copied, and no pages are told';
  onlyOn('better-sqlite3', 'committed')(title, async () => {
    const target = newFile();
    db.exec('BEGIN; INSERT INTO t (b) VALUES (8)');
    const progress = jest.fn();
    expect(await db.backup(target, { progress })).toEqual({ totalPages: 0, remainingPages: 0 });
    expect(progress).not.toHaveBeenCalled();
    expect(fs.existsSync(target)).toBe(false);
    db.exec('COMMIT');
    await db.backup(target);
    expect(rowsOf(target)).toEqual([1, 2, 3, 8]);
  });

  test('a transaction of the database that has only read is no hindrance', async () => {
    const target = newFile();
    db.exec('BEGIN; SELECT * FROM t');
    await db.backup(target);
    expect(db.inTransaction).toBe(true);
    expect(rowsOf(target)).toEqual([1, 2, 3]);
  });
});

describe('what it refuses, by rejecting', () => {
  test.each([[undefined], [null], [7], [{}], [Buffer.from('x')]])('the target %p', (target) =>
    refused(db.backup(target), TypeError, 'Expected first argument to be a string'),
  );

  test.each([[''], ['  '], ['\n']])('the target %j', (target) =>
    refused(db.backup(target), TypeError, 'Backup filename cannot be an empty string'),
  );

  test('the target :memory:', () =>
    refused(db.backup(' :memory: '), TypeError, 'Invalid backup filename ":memory:"'));

  test.each([[true], [7], ['main'], [() => 1]])('the options %p', (options) =>
    refused(db.backup(newFile(), options), TypeError, 'Expected second argument to be an options object'),
  );

  test.each([[7], [null], [undefined], [{}]])('attached %p', (attached) =>
    refused(db.backup(newFile(), { attached }), TypeError, 'Expected the "attached" option to be a string'),
  );

  test('attached as an empty text', () =>
    refused(
      db.backup(newFile(), { attached: '' }),
      TypeError,
      'The "attached" option cannot be an empty string',
    ));

  test.each([[7], ['x'], [{}], [true]])('progress %p', (progress) =>
    refused(db.backup(newFile(), { progress }), TypeError, 'Expected the "progress" option to be a function'),
  );

  test('a folder that is not there', async () => {
    const target = path.join(scratch(), 'missing', 'copy.db');
    await refused(db.backup(target), TypeError, 'Cannot save backup because the directory does not exist');
    expect(fs.existsSync(path.dirname(target))).toBe(false);
  });

  test('an attached database that is not there', async () => {
    const error = await refused(
      db.backup(newFile(), { attached: 'nowhere' }),
      SqliteError,
      'unknown database nowhere',
    );
    expect(error.code).toBe('SQLITE_ERROR');
  });

  test('a target that is a folder', async () => {
    const error = await refused(db.backup(scratch()), SqliteError, 'unable to open database file');
    expect(error.code).toBe('SQLITE_CANTOPEN');
  });

  test('a target that is no database', async () => {
    const target = newFile();
    fs.writeFileSync(target, 'no database at all '.repeat(100));
    const error = await rejection(db.backup(target));
    expect(error).toBeInstanceOf(SqliteError);
    expect(error.code).toBe('SQLITE_NOTADB');
    expect(fs.readFileSync(target, 'utf8')).toMatch(/^no database at all/);
  });

  test('a database that is closed', async () => {
    const closed = new Database(':memory:').close();
    const target = newFile();
    await refused(closed.backup(target), TypeError, CLOSED);
    expect(fs.existsSync(target)).toBe(false);
  });
});

test.each([[undefined], [null], [{}], [{ progress: null }], [{ progress: undefined }]])(
  'the options may be %p',
  async (options) => {
    const target = newFile();
    await db.backup(target, options);
    expect(rowsOf(target)).toEqual([1, 2, 3]);
  },
);
