'use strict';

// Opening a database: what is made, what is left alone, what is refused and in which words.

const fs = require('node:fs');
const path = require('node:path');
const { CandleStore, CandleStoreError, openStore } = require('candlestore');
const { scratch } = require('./support/scratch.js');
const { run } = require('./support/programs.js');
const { runElsewhere, startElsewhere, python } = require('./support/process.js');
const {
  SYMBOL,
  TABLE,
  all,
  candle,
  candles,
  failure,
  newFile,
  open,
  sqliteFailure,
} = require('./support/store.js');

const TABLES = ['candles_15', 'candles_60', 'candles_240', 'candles_1440'];

/** What sqlite_schema holds, asked of another SQLite. */
async function schemaOf(file) {
  const other = python(file);
  const rows = await other.sql('SELECT type, name, sql FROM sqlite_schema ORDER BY rowid');
  await other.end();
  return rows;
}

/** Runs SQL in the sqlite3 of Python, to make files as other programs do. */
async function foreign(file, ...statements) {
  const other = python(file);
  for (const statement of statements) await other.sql(statement);
  await other.end();
}

const OLD_TABLE = `CREATE TABLE candles_15 (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      symbol TEXT NOT NULL, time INTEGER NOT NULL,
      open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL, volume REAL NOT NULL,
      buy_volume REAL DEFAULT 0, sell_volume REAL DEFAULT 0, delta REAL DEFAULT 0,
      trade_count INTEGER DEFAULT 0, clusters TEXT,
      UNIQUE(symbol, time)
    )`;
const OLD_SCHEMA = TABLES.flatMap((table) => [
  OLD_TABLE.replace('candles_15', table),
  `CREATE INDEX idx_${table}_symbol_time ON ${table}(symbol, time)`,
]);

describe('a new file', () => {
  test('gets the four tables of the contract, each with one index only', async () => {
    const file = newFile();
    const store = open(file);
    expect(store).toBeInstanceOf(CandleStore);
    expect(store.db.name).toBe(file);
    await store.close();
    const schema = await schemaOf(file);
    expect(schema.filter(([type]) => type === 'table').map(([, name]) => name)).toEqual(TABLES);
    expect(schema.filter(([type]) => type === 'index')).toHaveLength(TABLES.length);
    const other = python(file);
    const columns = await other.sql('SELECT name, type FROM pragma_table_info(?)', TABLE);
    expect(columns.filter(([name]) => name !== 'id')).toEqual([
      ['symbol', 'TEXT'],
      ['time', 'INTEGER'],
      ['open', 'REAL'],
      ['high', 'REAL'],
      ['low', 'REAL'],
      ['close', 'REAL'],
      ['volume', 'REAL'],
      ['buy_volume', 'REAL'],
      ['sell_volume', 'REAL'],
      ['delta', 'REAL'],
      ['trade_count', 'INTEGER'],
      ['clusters', 'TEXT'],
    ]);
    expect(await other.sql('PRAGMA journal_mode')).toEqual([['wal']]);
    await other.end();
  });

  test('is committed with synchronous NORMAL, or FULL where that is asked for', () => {
    const setting = (store) => store.db.pragma('synchronous', { simple: true });
    expect(setting(open())).toBe(1);
    expect(setting(open(newFile(), { synchronous: 'full' }))).toBe(2);
  });

  test('holds the timeframes that are asked for', async () => {
    const file = newFile();
    const store = open(file, { timeframes: [1, 5] });
    store.upsertCandle(5, SYMBOL, candle(0));
    expect(all(store, SYMBOL, 'candles_5')).toEqual([candle(0)]);
    expect(() => store.getCandles(15, SYMBOL)).toThrow(failure({ code: 'UNKNOWN_TABLE' }));
    await store.close();
    expect((await schemaOf(file)).filter(([type]) => type === 'table').map(([, name]) => name)).toEqual([
      'candles_1',
      'candles_5',
    ]);
  });

  test('may have a name with spaces, quotes, question marks and letters of any script', () => {
    const file = path.join(scratch(), `a b'"?c=1&%20 ☃.db`);
    const store = open(file);
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    expect(fs.existsSync(file)).toBe(true);
    expect(all(open(file))).toEqual([candle(0)]);
  });

  test('may be given as a relative path, which is kept when the working directory changes', () => {
    const folder = scratch();
    const before = process.cwd();
    process.chdir(folder);
    try {
      const store = open('candles.db');
      process.chdir(before);
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      expect(all(store)).toEqual([candle(0)]);
      expect(fs.existsSync(path.join(folder, 'candles.db'))).toBe(true);
    } finally {
      process.chdir(before);
    }
  });

  test('may be given as a file: URL', () => {
    const file = newFile();
    open(new (require('node:url').URL)(`file://${file}`)).upsertCandle(TABLE, SYMBOL, candle(0));
    expect(fs.existsSync(file)).toBe(true);
  });
});

describe('an empty file', () => {
  test.each([{}, { fileMustExist: true }])('becomes a database (%j)', (options) => {
    const file = newFile();
    fs.writeFileSync(file, '');
    const store = open(file, options);
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    expect(all(store)).toEqual([candle(0)]);
  });

  test('opened read-only is left empty and holds nothing', async () => {
    const file = newFile();
    fs.writeFileSync(file, '');
    const store = open(file, { readOnly: true });
    expect(all(store)).toEqual([]);
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBeNull();
    expect(store.getStats()).toMatchObject({ candles_15: 0, candles_60: 0, candles_240: 0, candles_1440: 0 });
    await store.close();
    expect(fs.statSync(file).size).toBe(0);
  });
});

describe('is refused with a code and words about the place:', () => {
  const refusal = (location, options) => {
    try {
      openStore(location, options);
    } catch (error) {
      return error;
    }
    throw new Error('it was opened');
  };

  test('a missing folder', () => {
    const folder = path.join(scratch(), 'nowhere');
    const error = refusal(path.join(folder, 'candles.db'));
    expect(error).toBeInstanceOf(CandleStoreError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ code: 'NOT_FOUND', retryable: false });
    expect(error.message).toContain(folder);
    expect(fs.existsSync(folder)).toBe(false);
  });

  test.each([{ fileMustExist: true }, { readOnly: true }])('a missing file with %j', (options) => {
    const file = newFile();
    expect(refusal(file, options)).toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(file),
    });
    expect(fs.readdirSync(path.dirname(file))).toEqual([]);
  });

  test('a directory', () => {
    const folder = scratch();
    expect(refusal(folder)).toMatchObject({
      code: 'NOT_A_DATABASE',
      message: expect.stringContaining('directory'),
    });
  });

  test('a file under a file', () => {
    const file = newFile();
    fs.writeFileSync(file, 'x');
    expect(refusal(path.join(file, 'candles.db'))).toMatchObject({ code: 'NOT_FOUND' });
  });

  test.each([
    ['text', 'This is no database, but it is long enough to look like one. '.repeat(100)],
    ['a few bytes', 'SQLite'],
    ['a broken header', `SQLite format 3\0${'\xff'.repeat(5000)}`],
  ])('a file of %s, which is left as it is', (_, content) => {
    const file = newFile();
    fs.writeFileSync(file, content);
    for (const options of [{}, { readOnly: true }]) {
      const error = refusal(file, options);
      expect(error).toMatchObject({ code: expect.stringMatching(/^(NOT_A_DATABASE|CORRUPT)$/) });
      expect(error.message).toContain(file);
    }
    expect(fs.readFileSync(file, 'utf8')).toBe(content);
  });

  test('a name that is too long for the file system', () => {
    expect(refusal(path.join(scratch(), 'x'.repeat(5000)))).toMatchObject({
      code: expect.stringMatching(/^(NOT_FOUND|INVALID_ARGUMENT|IO_ERROR)$/),
    });
  });

  test.each([undefined, null, '', 42, {}, [], 'a\0b', Symbol('x'), true])('a location of %p', (location) => {
    expect(refusal(location)).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test.each([null, 42, 'readOnly', [], true])('options of %p', (options) => {
    expect(refusal(':memory:', options).code).toMatch(/^INVALID_(ARGUMENT|OPTION)$/);
  });

  test('a device, and a socket', async () => {
    expect(refusal('/dev/null', { readOnly: true })).toBeInstanceOf(CandleStoreError);
    expect(refusal('/dev/null')).toBeInstanceOf(CandleStoreError);
    const socket = path.join(scratch(), 's');
    const server = require('node:net').createServer().listen(socket);
    await require('node:events').once(server, 'listening');
    expect(refusal(socket)).toBeInstanceOf(CandleStoreError);
    server.close();
  });

  test('a folder in which nothing may be written', async () => {
    const folder = scratch();
    const file = path.join(folder, 'candles.db');
    fs.mkdirSync(path.join(folder, 'inner'));
    const ended = await asNobody(
      ({ require, say }, inside) => {
        try {
          require('candlestore').openStore(inside);
        } catch ({ code, message }) {
          say({ code, message });
        }
      },
      [file],
      [folder],
    );
    expect(ended.said).toEqual([{ code: 'PERMISSION', message: expect.stringContaining(file) }]);
  });

  test('a file that may not be read', async () => {
    const file = newFile();
    await open(file).close();
    for (const name of fs.readdirSync(path.dirname(file)))
      fs.chmodSync(path.join(path.dirname(file), name), 0o000);
    const ended = await asNobody(
      ({ require, say }, inside) => {
        for (const options of [{}, { readOnly: true }]) {
          try {
            require('candlestore').openStore(inside, options);
          } catch ({ code }) {
            say(code);
          }
        }
      },
      [file],
      [path.dirname(file)],
    );
    expect(ended.said).toEqual(['PERMISSION', 'PERMISSION']);
  });
});

/** Runs a function as a user who may write nowhere in `folders`, also where the tests run as root. */
async function asNobody(work, args, folders) {
  const root = process.getuid() === 0;
  for (const folder of folders) {
    fs.chmodSync(path.dirname(folder), 0o755);
    fs.chmodSync(folder, 0o555);
  }
  try {
    const ended = await runElsewhere(work, args, root ? { uid: 65534, gid: 65534, cwd: '/' } : {});
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    return ended;
  } finally {
    for (const folder of folders) fs.chmodSync(folder, 0o755);
  }
}

describe('opened read-only', () => {
  async function filled() {
    const file = newFile();
    const store = open(file);
    store.upsertCandles(TABLE, SYMBOL, candles(3));
    await store.close();
    return file;
  }

  test('a file is read and not written', async () => {
    const store = open(await filled(), { readOnly: true });
    expect(all(store)).toEqual(candles(3));
    expect(store.db.readonly).toBe(true);
    const refused = failure({ code: 'READ_ONLY', written: 'no' });
    expect(() => store.upsertCandle(TABLE, SYMBOL, candle(9))).toThrow(refused);
    expect(() => store.upsertCandles(TABLE, SYMBOL, [candle(9)])).toThrow(refused);
    expect(() => store.deleteCandles(TABLE, SYMBOL)).toThrow(refused);
    const refusedRaw = sqliteFailure('SQLITE_READONLY', { code: 'READ_ONLY', written: 'no' });
    expect(() => store.db.exec('DELETE FROM candles_15')).toThrow(refusedRaw);
    expect(() => store.db.transaction(() => store.upsertCandle(TABLE, SYMBOL, candle(9)))()).toThrow(refused);
    await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(9)])).rejects.toEqual(refused);
    await expect(store.enqueueWrite('DELETE FROM candles_15')).rejects.toEqual(refused);
    expect(all(store)).toEqual(candles(3));
    expect(store.getStats().candles_15).toBe(3);
  });

  test('a file in WAL mode is read when its -wal and -shm are gone', async () => {
    const file = await filled();
    for (const end of ['-wal', '-shm']) fs.rmSync(file + end, { force: true });
    expect(all(open(file, { readOnly: true }))).toEqual(candles(3));
  });

  test('a file whose folder may not be written is read as long as its -wal and -shm are there', async () => {
    const file = await filled();
    expect(fs.readdirSync(path.dirname(file)).sort()).toEqual([
      'candles.db',
      'candles.db-candlestore-turn',
      'candles.db-shm',
      'candles.db-wal',
    ]);
    for (const name of fs.readdirSync(path.dirname(file)))
      fs.chmodSync(path.join(path.dirname(file), name), 0o444);
    const ended = await asNobody(
      ({ require, say }, inside) => {
        const store = require('candlestore').openStore(inside, { readOnly: true });
        say(store.getCandles('candles_15', 'BINANCE:BTCUSDT').length);
      },
      [file],
      [path.dirname(file)],
    );
    expect(ended.said).toEqual([3]);
  });

  test('a file whose -shm cannot be made is refused in words, not with a bare error of SQLite', async () => {
    const file = await filled();
    for (const end of ['-wal', '-shm']) fs.rmSync(file + end, { force: true });
    const ended = await asNobody(
      ({ require, say }, inside) => {
        try {
          const store = require('candlestore').openStore(inside, { readOnly: true });
          say(store.getCandles('candles_15', 'BINANCE:BTCUSDT').length);
        } catch ({ code, message }) {
          say({ code, message });
        }
      },
      [file],
      [path.dirname(file)],
    );
    // Reading it would be right, too.
    if (ended.said[0] !== 3)
      expect(ended.said).toEqual([{ code: 'PERMISSION', message: expect.stringContaining('-shm') }]);
  });

  test('a table that is missing reads as empty and is not made', async () => {
    const file = newFile();
    await foreign(file, 'CREATE TABLE other (a)');
    const before = await schemaOf(file);
    const store = open(file, { readOnly: true });
    expect(all(store)).toEqual([]);
    expect(store.getLastCandleTime(TABLE, SYMBOL)).toBeNull();
    expect(store.getStats().candles_15).toBe(0);
    await expect(store.readCandles({ table: TABLE, symbol: SYMBOL })).resolves.toEqual([]);
    await store.close();
    expect(await schemaOf(file)).toEqual(before);
  });
});

describe('an existing database', () => {
  test('of the older schema, with its redundant index and AUTOINCREMENT, is used and its schema stays', async () => {
    const file = newFile();
    await foreign(
      file,
      'PRAGMA journal_mode = WAL',
      ...OLD_SCHEMA,
      `INSERT INTO candles_15 (symbol, time, open, high, low, close, volume) VALUES ('BYBIT:OLD', 1704067200000, 1, 2, 0.5, 1.5, 10)`,
    );
    const before = await schemaOf(file);
    const store = open(file);
    expect(all(store, 'BYBIT:OLD')).toEqual([
      {
        time: 1704067200000,
        open: 1,
        high: 2,
        low: 0.5,
        close: 1.5,
        volume: 10,
        buyVolume: 0,
        sellVolume: 0,
        delta: 0,
        tradeCount: 0,
        clusters: {},
      },
    ]);
    store.upsertCandles(TABLE, SYMBOL, candles(10));
    const ids = () => store.db.prepare('SELECT id FROM candles_15 ORDER BY time LIMIT 10').all();
    const stored = ids();
    store.upsertCandles(TABLE, SYMBOL, candles(10, 5, { volume: 1 }));
    // A rewritten candle keeps its row, as other tables may refer to it.
    expect(ids()).toEqual(stored);
    await store.enqueueCandles(60, SYMBOL, candles(10));
    expect(all(store)).toEqual([...candles(5), ...candles(10, 5, { volume: 1 })]);
    expect(store.getStats()).toMatchObject({ candles_15: 16, candles_60: 10 });
    await store.close();
    expect(await schemaOf(file)).toEqual(before);
    const other = python(file);
    expect(await other.sql('PRAGMA integrity_check')).toEqual([['ok']]);
    await other.end();
  });

  test('whose tables have no rowid is read, written and counted', async () => {
    const file = newFile();
    await foreign(
      file,
      'PRAGMA journal_mode = WAL',
      ...TABLES.map((table) =>
        OLD_TABLE.replace('candles_15', table)
          .replace('id INTEGER PRIMARY KEY AUTOINCREMENT,', '')
          .replace('UNIQUE(symbol, time)', 'PRIMARY KEY (symbol, time)')
          .concat(' WITHOUT ROWID'),
      ),
    );
    const before = await schemaOf(file);
    const store = open(file);
    store.upsertCandles(TABLE, SYMBOL, candles(10));
    expect(store.getStats().candles_15).toBe(10);
    await expect(store.enqueueCandles(TABLE, SYMBOL, candles(10, 5, { volume: 1 }))).resolves.toMatchObject({
      inserted: 5,
      updated: 5,
      unchanged: 0,
    });
    expect(store.deleteCandles(TABLE, SYMBOL, { before: candle(3).time })).toBe(3);
    expect(all(store)).toEqual([...candles(2, 3), ...candles(10, 5, { volume: 1 })]);
    expect(store.getStats().candles_15).toBe(12);
    expect(store.getStats({ exact: true }).candles_15).toBe(12);
    await store.close();
    expect(await schemaOf(file)).toEqual(before);
  });

  test('gets only the tables that it lacks, and other tables stay', async () => {
    const file = newFile();
    await foreign(file, 'PRAGMA journal_mode = WAL', OLD_SCHEMA[0], OLD_SCHEMA[1], 'CREATE TABLE pools (a)');
    const before = await schemaOf(file);
    await open(file).close();
    const after = await schemaOf(file);
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after.filter(([type]) => type === 'table').map(([, name]) => name)).toEqual(
      expect.arrayContaining([...TABLES, 'pools']),
    );
  });

  test('that another program made in rollback mode is opened and written', async () => {
    const file = newFile();
    await foreign(file, ...OLD_SCHEMA);
    const store = open(file);
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    expect(all(store)).toEqual([candle(0)]);
  });

  test('where nothing differs is not written at all by opening, reading and closing', async () => {
    const file = newFile();
    const store = open(file);
    store.upsertCandles(TABLE, SYMBOL, candles(100));
    store.db.pragma('wal_checkpoint(TRUNCATE)');
    await store.close();
    const bytes = fs.readFileSync(file);
    const stamp = fs.statSync(file).mtimeMs;
    // A reader that keeps its snapshot open would see any later commit as a change of data_version.
    const other = python(file);
    const [[version]] = await other.sql('PRAGMA data_version');
    for (const options of [{}, { readOnly: true }, { fileMustExist: true }]) {
      const again = open(file, options);
      expect(all(again)).toHaveLength(100);
      expect(again.getStats().candles_15).toBe(100);
      await again.close();
    }
    expect(await other.sql('PRAGMA data_version')).toEqual([[version]]);
    await other.end();
    expect(fs.statSync(file).mtimeMs).toBe(stamp);
    expect(fs.readFileSync(file).equals(bytes)).toBe(true);
  });

  test('opens at once while another process holds its write lock', async () => {
    const file = newFile();
    await open(file).close();
    const other = python(file);
    await other.sql('BEGIN IMMEDIATE');
    const store = open(file, { busyTimeoutMs: 0 });
    expect(all(store)).toEqual([]);
    await other.end();
  });

  test('with a table of the same name but other columns is refused when it is used, by table and symbol', async () => {
    const file = newFile();
    await foreign(file, 'PRAGMA journal_mode = WAL', 'CREATE TABLE candles_15 (symbol, time, price)');
    const store = open(file);
    const refused = failure({ code: 'SQL_ERROR', table: TABLE, symbol: SYMBOL });
    expect(() => store.getCandles(TABLE, SYMBOL)).toThrow(refused);
    expect(() => store.upsertCandle(TABLE, SYMBOL, candle(0))).toThrow(refused);
    await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(0)])).rejects.toEqual(refused);
    store.upsertCandle(60, SYMBOL, candle(0));
    expect(all(store, SYMBOL, 60)).toEqual([candle(0)]);
  });
});

describe('one file', () => {
  test('is one store, whatever path leads to it', async () => {
    const file = newFile();
    const store = open(file);
    const symlink = `${file}.symlink`;
    const hardLink = `${file}.hardlink`;
    fs.symlinkSync(file, symlink);
    fs.linkSync(file, hardLink);
    const folderLink = path.join(scratch(), 'folder');
    fs.symlinkSync(path.dirname(file), folderLink);
    const paths = [
      symlink,
      hardLink,
      path.join(folderLink, 'candles.db'),
      `${path.dirname(file)}/./candles.db`,
    ];
    const others = paths.map((other) => open(other));
    store.db.exec('BEGIN');
    // They share one writer: each would wait for this very thread.
    for (const other of others)
      expect(() => other.upsertCandle(TABLE, SYMBOL, candle(0))).toThrow(failure({ code: 'SELF_DEADLOCK' }));
    store.db.exec('COMMIT');
    others.forEach((other, n) => other.upsertCandle(TABLE, SYMBOL, candle(n)));
    expect(all(store)).toEqual(candles(paths.length));
    // SQLite names its -wal after the path it is given: through the hard link it would be another one.
    expect(fs.existsSync(`${hardLink}-wal`)).toBe(false);
  });

  test.each([
    [{ synchronous: 'full' }, 'synchronous'],
    [{ busyTimeoutMs: 1 }, 'busyTimeoutMs'],
    [{ timeframes: [15] }, 'timeframes'],
    [{ readOnly: true }, 'readOnly'],
    [{ maxBatchRows: 7 }, 'maxBatchRows'],
    [{ retry: { baseMs: 7 } }, 'retry'],
  ])(
    'opened with differing options %j is OPTIONS_CONFLICT, and the first store goes on',
    async (options, name) => {
      const file = newFile();
      const store = open(file);
      expect(() => openStore(file, options)).toThrow(
        failure({ code: 'OPTIONS_CONFLICT', message: expect.stringContaining(name) }),
      );
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      await store.close();
      expect(all(open(file, options))).toEqual([candle(0)]);
    },
  );

  test('opened twice with equal options stays open until the last store is closed', async () => {
    const file = newFile();
    const [first, second] = [open(file, { synchronous: 'normal' }), open(file)];
    await first.close();
    second.upsertCandle(TABLE, SYMBOL, candle(0));
    await second.enqueueCandles(TABLE, SYMBOL, [candle(1)]);
    expect(all(second)).toEqual(candles(2));
    expect(() => first.getCandles(TABLE, SYMBOL)).toThrow(failure({ code: 'CLOSED' }));
  });

  test('put where another was is a store of its own, also when it gets the inode of the old one', async () => {
    const source = newFile();
    const filled = open(source);
    filled.upsertCandle(TABLE, SYMBOL, candle(7));
    await filled.close();
    const file = newFile();
    // An idle store: it has opened the file but holds no connection.
    open(file);
    for (const end of ['', '-wal', '-shm']) fs.rmSync(file + end, { force: true });
    const copy = `${file}.copy`;
    fs.copyFileSync(source, copy);
    expect(all(open(copy))).toEqual([candle(7)]);
  });
});

describe('another SQLite library in the same process', () => {
  const original = path.join(__dirname, '..', 'bench', 'original', 'node_modules', 'better-sqlite3');

  test('on the same file is FOREIGN_LIBRARY, before its locks are lost; on another file it is welcome', async () => {
    const [file, another] = [newFile(), newFile()];
    const ended = await runElsewhere(
      ({ require: load, say }, module, ours, theirs) => {
        const { openStore } = load('candlestore');
        const elsewhere = new (load(module))(theirs);
        elsewhere.exec('CREATE TABLE t (a)');
        const store = openStore(ours);
        store.upsertCandle(15, 'X:Y', { time: 1704067200000, open: 1, high: 1, low: 1, close: 1, volume: 1 });
        say(store.getCandles(15, 'X:Y').length);
        try {
          openStore(theirs);
        } catch ({ code, message }) {
          say([code, message.includes(theirs)]);
        }
        // What it has written is whole: its locks and data were not touched.
        elsewhere.exec('INSERT INTO t VALUES (1)');
        elsewhere.close();
        say(openStore(theirs).getStats().candles_15);
      },
      [original, file, another],
    );
    expect(ended).toMatchObject({ code: 0, stderr: '', said: [1, ['FOREIGN_LIBRARY', true], 0] });
  });
});

describe(':memory:', () => {
  test('is a database of its own for each store, with everything a file has', async () => {
    const [first, second] = [open(':memory:'), open(':memory:')];
    first.upsertCandles(TABLE, SYMBOL, candles(3));
    await first.enqueueCandles(TABLE, SYMBOL, [candle(3)]);
    expect(all(first)).toEqual(candles(4));
    expect(await first.readCandles({ table: TABLE, symbol: SYMBOL })).toEqual(candles(4));
    expect(first.getStats().candles_15).toBe(4);
    expect(first.getLastCandleTime(TABLE, SYMBOL)).toBe(candle(3).time);
    expect(all(second)).toEqual([]);
    expect(() =>
      first.db.transaction(() => {
        first.upsertCandle(TABLE, SYMBOL, candle(4));
        expect(all(first)).toEqual(candles(5));
        throw new Error('back');
      })(),
    ).toThrow('back');
    expect(all(first)).toEqual(candles(4));
    expect(first.db.memory).toBe(true);
    expect(fs.existsSync(':memory:')).toBe(false);
  });
});

describe('several processes that open one file at the same instant', () => {
  test.each(['missing', 'empty'])(
    'all succeed when it is %s, 100 times',
    async (what) => {
      const opener = async ({ require, say, hear }) => {
        const { openStore } = require('candlestore');
        say('ready');
        for (;;) {
          const { file, at, symbol } = await hear();
          if (!file) return;
          while (Date.now() < at);
          try {
            const store = openStore(file);
            store.upsertCandle(15, symbol, {
              time: 1704067200000,
              open: 1,
              high: 1,
              low: 1,
              close: 1,
              volume: 1,
            });
            await store.close();
            say('done');
          } catch (error) {
            say(`${error.code}: ${error.message}`);
          }
        }
      };
      const openers = [startElsewhere(opener), startElsewhere(opener), startElsewhere(opener)];
      await Promise.all(openers.map((each) => each.next()));
      const folder = scratch();
      const failures = [];
      for (let round = 0; round < 100; round++) {
        const file = path.join(folder, `${round}.db`);
        if (what === 'empty') fs.writeFileSync(file, '');
        const at = Date.now() + 5;
        openers.forEach((each, n) => each.tell({ file, at, symbol: `O:${n}` }));
        const told = await Promise.all(openers.map((each) => each.next()));
        failures.push(...told.filter((answer) => answer !== 'done'));
      }
      openers.forEach((each) => each.tell({}));
      for (const each of openers) expect(await each.ended).toMatchObject({ code: 0 });
      expect(failures).toEqual([]);
      // Every process' candle is in every file.
      const counted = await run('python3', [
        '-c',
        `import glob, json, sqlite3, sys
print(json.dumps([sqlite3.connect(name).execute("SELECT count(*) FROM candles_15").fetchone()[0] for name in glob.glob(sys.argv[1] + "/*.db")]))`,
        folder,
      ]);
      expect(JSON.parse(counted.stdout)).toEqual(Array(100).fill(openers.length));
    },
    30_000,
  );
});
