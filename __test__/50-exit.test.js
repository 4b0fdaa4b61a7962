'use strict';

// How stores end: closed, with their process, with their thread, forgotten; and that nothing is left behind.

const fs = require('node:fs');
const { python, runElsewhere, startElsewhere } = require('./support/process.js');
const { scratch } = require('./support/scratch.js');
const { ALL, SYMBOL, TABLE, all, candle, candles, failure, newFile, open } = require('./support/store.js');
const { openStore } = require('candlestore');

jest.setTimeout(60_000);

/** The candles of children, which know nothing of the test's helpers. */
const CHILD_CANDLE = `(n) => ({ time: ${candle(0).time} + n * 900000, open: 1, high: 1, low: 1, close: n, volume: 1 })`;
const closes = (store, symbol = SYMBOL) => all(store, symbol).map(({ close }) => close);
const upTo = (count) => Array.from({ length: count }, (_, n) => n);

/** Runs a function that gets `made`, which makes candles, besides what every child gets. */
const child = (work, args, options) => {
  const wrapped = Object.assign(() => {}, {
    toString: () => `(tools, ...args) => (${work})({ ...tools, made: ${CHILD_CANDLE} }, ...args)`,
  });
  return runElsewhere(wrapped, args, options);
};

describe('close()', () => {
  test('drains what was accepted, resolves once for all who ask, and nothing can be used afterwards', async () => {
    const file = newFile();
    const store = open(file);
    const queued = upTo(50).map((n) =>
      store.enqueueCandles(TABLE, SYMBOL, candles(100, n * 100), { priority: 'maintenance' }),
    );
    const closing = [
      store.close(),
      store.close(),
      store[Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')](),
    ];
    const closed = failure({ code: 'CLOSED' });
    // At once, although it still drains.
    await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(0)])).rejects.toEqual(
      failure({ code: 'CLOSED', written: 'no' }),
    );
    await Promise.all(closing);
    for (const { inserted } of await Promise.all(queued)) expect(inserted).toBe(100);
    await store.close();
    store.db.close();
    expect(store.db.open).toBe(false);
    for (const call of [
      () => store.upsertCandle(TABLE, SYMBOL, candle(0)),
      () => store.upsertCandles(TABLE, SYMBOL, [candle(0)]),
      () => store.upsertCandles(TABLE, SYMBOL, []) ?? store.getStats(),
      () => store.deleteCandles(TABLE, SYMBOL),
      () => store.getCandles(TABLE, SYMBOL),
      () => store.getLastCandleTime(TABLE, SYMBOL),
      () => store.getStats(),
      () => store.queue,
    ])
      expect(call).toThrow(closed);
    for (const call of [
      () => store.enqueueWrite('DELETE FROM candles_15'),
      () => store.enqueueTransaction(['DELETE FROM candles_15']),
      () => store.enqueueDelete(TABLE, SYMBOL),
      () => store.flush(),
      () => store.ready(),
      () => store.readCandles({ table: TABLE, symbol: SYMBOL }),
    ])
      await expect(call()).rejects.toEqual(closed);
    store.on('candles', () => {});
    store.removeAllListeners();
    expect(all(open(file))).toEqual(candles(5000));
  });

  test('with deadlineMs 0 settles every write, and tells the truth of each', async () => {
    const file = newFile();
    for (const company of [false, true]) {
      for (let round = 0; round < 15; round++) {
        // Another store on the file keeps the writer going after this one is closed.
        const second = company ? openStore(file) : null;
        const store = openStore(file);
        const symbol = `X:${company}${round}`;
        const queued = upTo(100).map((n) =>
          store.enqueueCandles(TABLE, symbol, candles(100, n * 100)).then(
            () => null,
            (error) => error,
          ),
        );
        for (let turns = 0; turns < round % 4; turns++) await new Promise(setImmediate);
        await store.close({ deadlineMs: 0 });
        const errors = await Promise.all(queued);
        if (second) {
          await second.flush();
          await second.close();
        }
        const reader = openStore(file);
        const stored = new Set(reader.getCandles(TABLE, symbol, ALL).map(({ time }) => time));
        await reader.close();
        errors.forEach((error, n) => {
          if (error) expect(error).toEqual(failure({ code: 'CLOSED', written: 'no' }));
          const found = candles(100, n * 100).filter(({ time }) => stored.has(time)).length;
          expect([n, found]).toEqual([n, error ? 0 : 100]);
        });
      }
    }
  });

  test('gives up at its deadline while another process holds the lock, and nothing of the rest is written', async () => {
    const file = newFile();
    const store = open(file, { closeDeadlineMs: 50 });
    const other = python(file);
    await other.sql('BEGIN IMMEDIATE');
    const queued = [
      store.enqueueCandles(TABLE, SYMBOL, candles(3)),
      store.enqueueWrite('DELETE FROM candles_15', [], { priority: 'maintenance' }),
      store.flush(),
    ].map((each) =>
      each.then(
        () => 'done',
        ({ code }) => code,
      ),
    );
    await store.close();
    expect((await Promise.all(queued)).slice(0, 2)).toEqual(['CLOSED', 'CLOSED']);
    await other.sql('COMMIT');
    await other.end();
    expect(all(open(file))).toEqual([]);
  });

  test('refused for its options leaves the store open', async () => {
    const store = open();
    for (const options of [
      { deadlineMs: -1 },
      { deadlineMs: 'x' },
      { deadlineMs: NaN },
      null,
      7,
      { deadline: 1 },
    ])
      await expect(store.close(options)).rejects.toEqual(failure({ code: 'INVALID_ARGUMENT' }));
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    expect(all(store)).toEqual([candle(0)]);
    await store.close({ deadlineMs: 1e300 });
  });

  test('and db.close() one after the other, in the same turn, answer what was accepted truly', async () => {
    const file = newFile();
    for (let round = 0; round < 20; round++) {
      const store = openStore(file);
      const symbol = `X:${round}`;
      const queued = upTo(30).map((n) =>
        store.enqueueCandles(TABLE, symbol, candles(500, n * 500)).then(
          () => 1,
          () => 0,
        ),
      );
      const closing = store.close();
      store.db.close();
      await closing;
      const written = (await Promise.all(queued)).reduce((sum, one) => sum + one, 0);
      const reader = openStore(file);
      expect(reader.getCandles(TABLE, symbol, ALL)).toHaveLength(written * 500);
      await reader.close();
      expect(written).toBe(30);
    }
  });

  test('in the same turn as a write that may wait for room leaves no promise behind', async () => {
    const store = open(newFile(), { whenFull: 'wait' });
    const queued = store.enqueueCandles(TABLE, SYMBOL, [candle(0)]);
    store.db.close();
    expect(await queued).toMatchObject({ inserted: 1 });
  });

  test('opened, used and closed in one turn, with a listener, is quiet', async () => {
    const ended = await child(
      ({ require, made }, file) => {
        for (let n = 0; n < 20; n++) {
          const store = require('candlestore').openStore(file);
          store.on('candles', () => {});
          store.once('drained', () => {});
          store.upsertCandle(15, 'X:Y', made(n));
          n % 2 ? store.close() : store.db.close();
        }
      },
      [newFile()],
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
  });
});

describe('a process', () => {
  test.each([
    ['process.exit()', 'process.exit(7)', 7],
    ['an uncaught throw', 'setImmediate(() => { throw new Error("oops") })', 1],
    ['an unhandled rejection', 'Promise.reject(new Error("oops"))', 1],
    [
      'process.exit() in an open transaction',
      'store.db.exec("BEGIN"), store.upsertCandle(15, "X:OPEN", made(0)), process.exit(7)',
      7,
    ],
    [
      'process.exit() inside db.transaction()',
      'store.db.transaction(() => { store.upsertCandle(15, "X:OPEN", made(0)); process.exit(7); })()',
      7,
    ],
    [
      'process.exit() in the answer of a write',
      'store.enqueueCandles(15, "X:LAST", [made(0)]).then(() => process.exit(7))',
      7,
    ],
    [
      'process.exit() in an event',
      'store.on("candles", () => process.exit(7)), store.upsertCandle(15, "X:EVENT", made(0))',
      7,
    ],
  ])('that ends by %s has written what it accepted, and ends as it says', async (_, ending, code) => {
    const file = newFile();
    const work = Object.assign(() => {}, {
      toString: () => `({ require, made }, file) => {
        const store = require('candlestore').openStore(file);
        // More than can be written before the end, in groups of any kind.
        for (let n = 0; n < 50_000; n += 500) {
          const batch = Array.from({ length: 500 }, (_, m) => made(n + m));
          store.enqueueCandles(15, '${SYMBOL}', batch, { priority: n % 1000 ? 'backfill' : 'live' }).catch(() => {});
        }
        ${ending};
      }`,
    });
    const ended = await child(work, [file]);
    expect({ code: ended.code, signal: ended.signal }).toEqual({ code, signal: null });
    const store = open(file);
    const stored = closes(store);
    expect(stored).toHaveLength(50_000);
    expect(stored).toEqual(upTo(50_000));
    expect(all(store, 'X:OPEN')).toEqual([]);
    expect(store.db.pragma('integrity_check', { simple: true })).toBe('ok');
  });

  test('that is killed with -9 has everything that was answered, many times', async () => {
    const file = newFile();
    for (let round = 0; round < 10; round++) {
      const symbol = `X:${round}`;
      const writer = startElsewhere(
        async ({ require: load, say }, inside, series, first) => {
          const store = load('candlestore').openStore(inside);
          const made = (n) => ({ time: first + n * 900000, open: 1, high: 1, low: 1, close: n, volume: 1 });
          for (let n = 0; ; n += 4) {
            const queued = store.enqueueCandles(15, series, [made(n)]);
            store.upsertCandle(15, series, made(n + 1));
            store.db.transaction(() => store.upsertCandle(15, series, made(n + 2)))();
            await store.enqueueWrite('CREATE TABLE IF NOT EXISTS t (a)');
            await queued;
            await store.enqueueCandles(15, series, [made(n + 3)], { priority: 'backfill' });
            say(n + 3);
          }
        },
        [file, symbol, candle(0).time],
      );
      let answered = -1;
      for (let line = 0; line < 20 + round * 5; line++) answered = await writer.next();
      await writer.kill();
      const store = openStore(file);
      expect(closes(store, symbol).slice(0, answered + 1)).toEqual(upTo(answered + 1));
      expect(store.db.pragma('integrity_check', { simple: true })).toBe('ok');
      await store.close();
    }
  });

  test('is not kept alive by an idle store, its listeners or what it has written and read', async () => {
    const ended = await child(
      async ({ require, made }, file) => {
        const store = require('candlestore').openStore(file);
        for (const event of ['candles', 'drained', 'store-error', 'lock-wait']) store.on(event, () => {});
        store.upsertCandle(15, 'X:Y', made(0));
        await store.enqueueCandles(15, 'X:Y', [made(1)]);
        await store.readCandles({ table: 15, symbol: 'X:Y' });
        await store.flush();
        store.getStats();
        require('candlestore').openStore(':memory:');
      },
      [newFile()],
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
  });

  test('is kept alive by writes and reads that are not answered yet', async () => {
    const file = newFile();
    const other = python(file);
    await other.sql('PRAGMA journal_mode = WAL');
    const writer = startElsewhere(
      async ({ require: load, say }, inside) => {
        const store = load('candlestore').openStore(inside);
        store.readCandles({ table: 15, symbol: 'X:Y' }).then(() => say('ready'));
        await new Promise((resolve) => process.stdin.once('data', resolve));
        process.stdin.destroy();
        store
          .enqueueCandles(15, 'X:Y', [{ time: 1704067200000, open: 1, high: 1, low: 1, close: 1, volume: 1 }])
          .then(({ inserted }) => say({ inserted }));
        say('enqueued');
      },
      [file],
    );
    expect(await writer.next()).toBe('ready');
    await other.sql('BEGIN IMMEDIATE');
    writer.tell('go');
    expect(await writer.next()).toBe('enqueued');
    await other.sql('SELECT 1');
    await other.sql('COMMIT');
    expect(await writer.next()).toEqual({ inserted: 1 });
    expect(await writer.ended).toMatchObject({ code: 0, stderr: '' });
    await other.end();
  });

  test('that ends while another holds the lock gives up at the deadline, and ends', async () => {
    const file = newFile();
    await open(file).close();
    const other = python(file);
    await other.sql('BEGIN IMMEDIATE');
    const ended = await child(
      ({ require, made, say }, inside) => {
        const store = require('candlestore').openStore(inside, { closeDeadlineMs: 100 });
        store.enqueueCandles(15, 'X:Y', [made(0)]).catch(() => {});
        say('enqueued');
        process.exit(3);
      },
      [file],
    );
    expect(ended).toMatchObject({ code: 3, signal: null, said: ['enqueued'] });
    await other.sql('COMMIT');
    await other.end();
    expect(all(open(file), 'X:Y')).toEqual([]);
  });
});

describe('a worker thread', () => {
  test('terminated in the middle of its writes, many times, harms nobody', async () => {
    const file = newFile();
    const ended = await child(
      async ({ require, made, say }, inside) => {
        const { Worker } = require('node:worker_threads');
        const { openStore } = require('candlestore');
        const store = openStore(inside);
        const source = `
          const { parentPort, workerData } = require('node:worker_threads');
          const { openStore } = require(workerData.module);
          const made = ${made};
          const store = openStore(workerData.file);
          store.on('candles', () => {});
          let n = 0;
          parentPort.postMessage('started');
          (async () => {
            for (;;) {
              store.enqueueCandles(15, 'W:QUEUE', [made(n % 1000)]).catch(() => {});
              if (n % 7 === 0) store.upsertCandle(15, 'W:SYNC', made(n % 1000));
              if (n % 11 === 0) store.db.transaction(() => { store.upsertCandle(15, 'W:TX', made(n % 1000)); store.getCandles(15, 'W:TX', 3); })();
              if (n % 13 === 0) store.readCandles({ table: 15, symbol: 'W:QUEUE', limit: 1000 });
              if (n % 17 === 0) { store.db.exec('BEGIN'); store.upsertCandle(15, 'W:LEASE', made(n)); await null; store.db.exec('COMMIT'); }
              if (n % 50 === 0) await new Promise(setImmediate);
              n++;
            }
          })();`;
        for (let round = 0; round < 40; round++) {
          const worker = new Worker(source, {
            eval: true,
            workerData: { file: inside, module: require.resolve('candlestore') },
          });
          worker.on('error', (error) => say(error.message));
          await new Promise((resolve) => worker.once('message', resolve));
          for (let turns = 0; turns < round; turns++) await new Promise(setImmediate);
          await worker.terminate();
          store.upsertCandle(15, 'X:MAIN', made(round));
          await store.enqueueCandles(15, 'X:QUEUED', [made(round)]);
        }
        say(store.db.pragma('integrity_check', { simple: true }));
        await store.close();
      },
      [file],
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '', said: ['ok'] });
    const store = open(file);
    expect(closes(store, 'X:MAIN')).toEqual(upTo(40));
    expect(closes(store, 'X:QUEUED')).toEqual(upTo(40));
  });

  test('that ends with a transaction open takes it back, and nobody waits for it', async () => {
    const file = newFile();
    const ended = await child(
      async ({ require, made, say }, inside) => {
        const { Worker } = require('node:worker_threads');
        const store = require('candlestore').openStore(inside, { busyTimeoutMs: 10000 });
        const source = (ending) => `
          const { parentPort, workerData } = require('node:worker_threads');
          const store = require(workerData.module).openStore(workerData.file, { busyTimeoutMs: 10000 });
          store.db.exec('BEGIN');
          store.upsertCandle(15, 'W:OPEN', (${made})(0));
          store.getCandles(15, 'W:OPEN');
          parentPort.postMessage('open');
          ${ending}`;
        for (const ending of ['setInterval(() => {}, 1000)', 'process.exit()', 'throw new Error("x")', '']) {
          const worker = new Worker(source(ending), {
            eval: true,
            workerData: { file: inside, module: require.resolve('candlestore') },
          });
          worker.on('error', () => {});
          const exited = new Promise((resolve) => worker.once('exit', resolve));
          await new Promise((resolve) => worker.once('message', resolve));
          if (ending.startsWith('setInterval')) await worker.terminate();
          await exited;
          store.upsertCandle(15, 'X:MAIN', made(0));
          say(store.getCandles(15, 'W:OPEN').length);
        }
        await store.close();
      },
      [file],
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '', said: [0, 0, 0, 0] });
  });
});

describe('a store that is forgotten', () => {
  test('is collected without close(); what it accepted is written and answered', async () => {
    const file = newFile();
    const ended = await child(
      async ({ require, made, say, until }, inside) => {
        const { openStore } = require('candlestore');
        const threads = () =>
          Number(/Threads:\s+(\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]);
        const fs = require('node:fs');
        const descriptors = () =>
          fs.readdirSync('/proc/self/fd').filter((fd) => {
            try {
              return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(inside);
            } catch {
              return false;
            }
          }).length;
        let answered = 0;
        let collected = 0;
        const registry = new FinalizationRegistry(() => (collected += 1));
        const before = threads();
        for (let round = 0; round < 30; round++) {
          (() => {
            const store = openStore(inside);
            registry.register(store, round);
            store.upsertCandle(15, 'X:SYNC', made(round));
            store.enqueueCandles(15, 'X:QUEUE', [made(round)]).then(() => (answered += 1));
            store.on('candles', () => {});
            if (round % 3 === 0) {
              store.db.exec('BEGIN');
              store.upsertCandle(15, 'X:OPEN', made(round));
              if (round % 2) store.getLastCandleTime(15, 'X:OPEN');
              store.db.exec('ROLLBACK');
            }
          })();
          if (round % 5 === 0) {
            await new Promise(setImmediate);
            globalThis.gc();
          }
        }
        await until(() => {
          globalThis.gc();
          return answered === 30 && collected === 30;
        });
        await until(() => descriptors() === 0 && threads() <= before);
        say({ answered, collected });
      },
      [file],
      { nodeArgs: ['--expose-gc'] },
    );
    expect(ended).toMatchObject({
      code: 0,
      signal: null,
      stderr: '',
      said: [{ answered: 30, collected: 30 }],
    });
    const store = open(file);
    expect(closes(store, 'X:SYNC')).toEqual(upTo(30));
    expect(closes(store, 'X:QUEUE')).toEqual(upTo(30));
  });

  test('with a transaction open lets go of the lock', async () => {
    const file = newFile();
    const ended = await child(
      async ({ require, made, say, until }, inside) => {
        const { openStore } = require('candlestore');
        (() => {
          const store = openStore(inside, { busyTimeoutMs: 0 });
          store.db.exec('BEGIN');
          store.upsertCandle(15, 'X:OPEN', made(0));
        })();
        const store = openStore(inside, { busyTimeoutMs: 0 });
        await new Promise(setImmediate);
        await until(() => {
          globalThis.gc();
          try {
            store.upsertCandle(15, 'X:NEXT', made(0));
            return true;
          } catch {
            return false;
          }
        });
        say(store.getCandles(15, 'X:OPEN').length);
      },
      [file],
      { nodeArgs: ['--expose-gc'] },
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '', said: [0] });
  });
});

describe('1,000 stores', () => {
  test('opened, used and closed leave no descriptor, thread or memory behind', async () => {
    const folder = scratch();
    const ended = await child(
      async ({ require, made, say }, inside) => {
        const fs = require('node:fs');
        const { openStore } = require('candlestore');
        const status = (key) =>
          Number(new RegExp(`${key}:\\s+(\\d+)`).exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]);
        const descriptors = () => fs.readdirSync('/proc/self/fd').length;
        const one = async (n) => {
          const store = openStore(n % 10 === 0 ? ':memory:' : `${inside}/${n % 20}.db`);
          store.upsertCandle(15, 'X:Y', made(n));
          if (n % 3 === 0) await store.enqueueCandles(15, 'X:Y', [made(n)]);
          if (n % 5 === 0) await store.readCandles({ table: 15, symbol: 'X:Y' });
          if (n % 7 === 0) store.on('candles', () => {});
          if (n % 11 === 0) store.getStats();
          if (n % 13 === 0) store.dbReadOnly.prepare('SELECT 1').get();
          if (n % 2) store.db.close();
          else await store.close();
        };
        for (let n = 0; n < 200; n++) await one(n);
        globalThis.gc();
        const before = { threads: status('Threads'), descriptors: descriptors(), memory: status('VmRSS') };
        for (let n = 0; n < 1000; n++) await one(n);
        globalThis.gc();
        say({
          threads: status('Threads') - before.threads,
          descriptors: descriptors() - before.descriptors,
          grownMiB: Math.max(0, Math.round((status('VmRSS') - before.memory) / 1024)),
        });
      },
      [folder],
      { nodeArgs: ['--expose-gc'] },
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
    const [{ threads, descriptors, grownMiB }] = ended.said;
    expect(threads).toBeLessThanOrEqual(0);
    expect(descriptors).toBeLessThanOrEqual(0);
    // What 1,000 stores would leave if each left a connection's cache, or even its structures.
    expect(grownMiB).toBeLessThan(40);
  });

  test('open on one file at the same time share one writer and few descriptors', async () => {
    const file = newFile();
    const ended = await child(
      async ({ require, made, say }, inside) => {
        const fs = require('node:fs');
        const { openStore } = require('candlestore');
        const stores = Array.from({ length: 1000 }, () => openStore(inside));
        await Promise.all(stores.map((store, n) => store.enqueueCandles(15, 'X:Y', [made(n)])));
        say(stores[999].getStats().candles_15);
        const threads = fs
          .readdirSync('/proc/self/task')
          .filter((task) =>
            fs.readFileSync(`/proc/self/task/${task}/comm`, 'utf8').startsWith('candlestore-wri'),
          );
        say(threads.length);
        say(
          fs.readdirSync('/proc/self/fd').filter((fd) => {
            try {
              return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(inside);
            } catch {
              return false;
            }
          }).length < 20,
        );
        await Promise.all(stores.map((store) => store.close()));
      },
      [file],
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '', said: [1000, 1, true] });
  });

  test('that are only opened start no thread and hold no connection', async () => {
    const folder = scratch();
    const ended = await child(
      ({ require, say }, inside) => {
        const fs = require('node:fs');
        const { openStore } = require('candlestore');
        const tasks = () => fs.readdirSync('/proc/self/task').length;
        const before = tasks();
        const stores = Array.from({ length: 100 }, (_, n) => openStore(`${inside}/${n}.db`));
        // The collector's line at load.
        for (const store of stores) store.db.transaction(() => {});
        say(tasks() - before);
        say(
          fs.readdirSync('/proc/self/fd').filter((fd) => {
            try {
              return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(inside);
            } catch {
              return false;
            }
          }).length,
        );
        // Reading starts no writer.
        for (const store of stores) store.getCandles(15, 'X:Y');
        say(tasks() - before);
      },
      [folder],
    );
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '', said: [0, 0, 0] });
  });
});

test('the file can be deleted after close(), and the name used anew', async () => {
  const file = newFile();
  for (let n = 0; n < 5; n++) {
    const store = open(file);
    expect(all(store)).toEqual([]);
    store.upsertCandles(TABLE, SYMBOL, candles(3));
    await store.close();
    for (const end of ['', '-wal', '-shm']) fs.rmSync(file + end, { force: true });
  }
});
