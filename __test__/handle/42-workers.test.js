'use strict';

// Worker threads: each has databases of its own, and its end closes them.

const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { newFile, open, openTable } = require('./support.js');

const provider = path.join(__dirname, 'provider.js');
const workers = [];

/** Runs `work(provider, ...args)` in a thread; what it gives, or what `parentPort` posts, comes as messages. */
function start(work, ...args) {
  const text = `
    const { parentPort, workerData } = require('node:worker_threads');
    const result = (${work})(require(workerData.provider), parentPort, ...workerData.args);
    if (result !== undefined) parentPort.postMessage(result);`;
  const worker = new Worker(text, { eval: true, workerData: { provider, args } });
  workers.push(worker);
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  const message = new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  return { worker, exited, message };
}

afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.terminate())));

test('a thread opens, writes, reads and ends', async () => {
  const file = newFile();
  const { message, exited } = start(({ Database }, port, location) => {
    const db = new Database(location);
    db.exec('CREATE TABLE t (a); INSERT INTO t VALUES (7)');
    const row = db.prepare('SELECT a FROM t').get();
    db.close();
    return row;
  }, file);
  expect(await message).toEqual({ a: 7 });
  expect(await exited).toBe(0);
  expect(open(file).prepare('SELECT a FROM t').pluck().get()).toBe(7);
});

test('several threads and this one use one file', async () => {
  const file = newFile();
  const db = openTable(0, file);
  db.pragma('journal_mode = WAL');
  const threads = [0, 1, 2].map((id) =>
    start(
      ({ Database }, port, location, n) => {
        const own = new Database(location, { timeout: 15_000 });
        const insert = own.prepare('INSERT INTO t (a, b) VALUES (?, ?)');
        for (let i = 0; i < 50; i += 1) insert.run(`thread ${n}`, i);
        own.close();
        return n;
      },
      file,
      id,
    ),
  );
  expect(await Promise.all(threads.map(({ message }) => message))).toEqual([0, 1, 2]);
  const counts = db.prepare('SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY a').raw().all();
  expect(counts).toEqual([0, 1, 2].map((n) => [`thread ${n}`, 50]));
});

test('errors are of their classes in a thread, too', async () => {
  const { message } = start(({ Database, SqliteError }) => {
    const db = new Database(':memory:');
    const caught = (act) => {
      try {
        act();
        return null;
      } catch (error) {
        return [
          error.name,
          error.code,
          error instanceof SqliteError,
          error instanceof TypeError,
          error instanceof RangeError,
        ];
      }
    };
    return [caught(() => db.prepare('SELEC')), caught(() => db.prepare(7)), caught(() => db.prepare(''))];
  });
  expect(await message).toEqual([
    ['SqliteError', 'SQLITE_ERROR', true, false, false],
    ['TypeError', undefined, false, true, false],
    ['RangeError', undefined, false, false, true],
  ]);
});

test('a thread that ends with a database, a transaction and an iterator open leaves nothing behind', async () => {
  const file = newFile();
  openTable(3, file).close();
  const { message, exited } = start(({ Database }, port, location) => {
    const db = new Database(location);
    db.exec("BEGIN IMMEDIATE; INSERT INTO t (a) VALUES ('lost')");
    globalThis.kept = [db, db.prepare('SELECT * FROM t').iterate()];
    globalThis.kept[1].next();
    return 'open';
  }, file);
  expect(await message).toBe('open');
  expect(await exited).toBe(0);
  const db = open(file, { timeout: 0 });
  db.exec('INSERT INTO t (b) VALUES (4)');
  expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(4);
});

test('a thread that is terminated in a transaction lets its lock go', async () => {
  const file = newFile();
  openTable(3, file).close();
  const { worker, message } = start(({ Database }, port, location) => {
    const db = new Database(location);
    db.exec('BEGIN IMMEDIATE; DELETE FROM t');
    port.on('message', () => db.close());
    return 'holds';
  }, file);
  expect(await message).toBe('holds');
  await worker.terminate();
  const db = open(file, { timeout: 0 });
  expect(db.prepare('DELETE FROM t').run().changes).toBe(3);
});

test('a database of this thread goes on when threads end', async () => {
  const db = openTable();
  const iterator = db.prepare('SELECT b FROM t ORDER BY b').pluck().iterate();
  expect(iterator.next().value).toBe(1);
  const { message, exited } = start(({ Database }) =>
    new Database(':memory:').prepare('SELECT 1').pluck().get(),
  );
  expect(await message).toBe(1);
  await exited;
  expect([...iterator]).toEqual([2, 3]);
});

test('a backup runs in a thread', async () => {
  const [file, target] = [newFile(), newFile()];
  openTable(3, file).close();
  const { message } = start(
    ({ Database }, port, from, to) => {
      new Database(from).backup(to).then((result) => port.postMessage(result));
    },
    file,
    target,
  );
  expect((await message).remainingPages).toBe(0);
  expect(open(target).prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
});

test('a row can be posted to another thread', async () => {
  const { message } = start(({ Database }) => {
    const db = new Database(':memory:').defaultSafeIntegers();
    return db.prepare("SELECT 1 AS i, 1.5 AS r, 'x' AS t, NULL AS n, x'0102' AS b").get();
  });
  const row = await message;
  expect({ ...row, b: [...row.b] }).toEqual({ i: 1n, r: 1.5, t: 'x', n: null, b: [1, 2] });
});
