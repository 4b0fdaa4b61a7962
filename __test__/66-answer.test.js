'use strict';

// The bytes of /api/candles: the same as if the candles were made into objects and these into JSON, in every form that
// HTTP gives them, and new as soon as anybody has written. The application runs in this process, on a store of its own.

const http = require('node:http');
const path = require('node:path');
const v8 = require('node:v8');
const vm = require('node:vm');
const zlib = require('node:zlib');
const { createHook } = require('node:async_hooks');
const { randomBytes } = require('node:crypto');
const express = require('express');
const { openStore } = require('candlestore');
const { sendJson } = require('../server/answer.js');
const { createApp } = require('../server/routes.js');
const { beforeFrom, limitFrom, page, seriesFrom } = require('../server/series.js');
const { python: pythonOn } = require('./support/process.js');
const { scratch } = require('./support/scratch.js');
const { recordedCandles } = require('./support/server-candles.js');
const { anotherProcess, python } = require('./support/server-writers.js');

/** More than any request may ask for: the recorded ones over and over, at times of their own. */
const recorded = recordedCandles(1200);
const candles = Array.from({ length: 5100 }, (_, place) => ({
  ...recorded[place % recorded.length],
  time: recorded[0].time + place * 15 * 60_000,
}));
const file = path.join(scratch(), 'answers.db');
const store = openStore(file);
const agent = new http.Agent({ keepAlive: true });
const server = http.createServer(createApp(store));

/** One request, nothing added to it and nothing made of the answer. */
function ask(route, headers = {}, { method = 'GET', to = server } = {}) {
  const { port } = to.address();
  return new Promise((resolve, reject) => {
    const request = http.request({ port, path: route, method, headers, agent }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode, headers: response.headers, bytes: Buffer.concat(chunks) }),
      );
    });
    request.on('error', reject);
    request.end();
  });
}

const GZIP = { 'accept-encoding': 'gzip' };

/** What a route has to answer, by way of objects. */
function expected(route) {
  const query = Object.fromEntries(new URL(route, 'http://localhost').searchParams);
  return JSON.stringify(page(store, seriesFrom(query), limitFrom(query.limit), beforeFrom(query.before)));
}

const listening = (one) => new Promise((resolve) => one.listen(0, '127.0.0.1', resolve));

beforeAll(async () => {
  store.upsertCandles(15, 'BINANCE:BTCUSDT', candles);
  store.upsertCandles(60, 'BYBIT:ETHUSDT', candles.slice(0, 100));
  store.upsertCandles(15, 'BINANCE:ONE_1.A-B', candles.slice(0, 1));
  store.upsertCandles(
    240,
    'BITGET:SOLUSDT',
    candles.slice(0, 300).map((candle, place) => ({
      ...candle,
      clusters: {
        [candle.low]: { bid: place / 7, ask: 2, delta: -0.5 },
        'kräftig "\u2028': { bid: 3, ask: 0 },
      },
    })),
  );
  await listening(server);
});
afterAll(async () => {
  agent.destroy();
  await new Promise((resolve) => server.close(resolve));
  await store.close();
});

describe('the body', () => {
  const routes = [
    ...[1, 2, 500, 999, 5000].map((limit) => `?symbol=BTCUSDT&limit=${limit}`),
    '?symbol=btcusdt',
    '?symbol=Binance:BtcUsdt&exchange=binance&tf=15&before=',
    '?symbol=BTCUSDT&before=0',
    ...[0, 1, 2, 500, 501, 5099].map((place) => `?symbol=BTCUSDT&limit=500&before=${candles[place].time}`),
    `?symbol=BTCUSDT&limit=5000&before=${candles[5000].time}`,
    `?symbol=BTCUSDT&limit=5000&before=${candles[5001].time}`,
    `?symbol=BTCUSDT&before=${Number.MAX_SAFE_INTEGER}`,
    ...[1, 99, 100, 101, 5000].map((limit) => `?symbol=bybit:ethusdt&tf=60&limit=${limit}`),
    '?symbol=one_1.a-b&limit=1',
    '?symbol=one_1.a-b&limit=2',
    ...[1, 299, 300, 301].map((limit) => `?exchange=bitget&symbol=solusdt&tf=240&limit=${limit}`),
    '?symbol=nosuch',
    '?symbol=btcusdt&tf=1440',
  ].map((query) => `/api/candles${query}`);

  test.each(routes)('of %s is that of the objects, read at first, kept, and packed', async (route) => {
    const body = expected(route);
    for (const headers of [{}, {}, GZIP, GZIP]) {
      const answer = await ask(route, headers);
      expect(answer.status).toBe(200);
      const isPacked = headers === GZIP && body.length >= 4096;
      expect(answer.headers['content-encoding']).toBe(isPacked ? 'gzip' : undefined);
      expect(answer.headers['content-length']).toBe(String(answer.bytes.length));
      const bytes = isPacked ? zlib.gunzipSync(answer.bytes) : answer.bytes;
      expect(bytes.toString() === body).toBe(true);
    }
  });

  test('of a series that is empty again is empty', async () => {
    const route = '/api/candles?symbol=gone';
    store.upsertCandles(15, 'BINANCE:GONE', candles.slice(0, 3));
    expect(JSON.parse((await ask(route)).bytes).candles).toHaveLength(3);
    store.deleteCandles(15, 'BINANCE:GONE');
    const { bytes } = await ask(route);
    expect(bytes.toString()).toBe(
      '{"candles":[],"exchange":"BINANCE","symbol":"GONE","oldestTime":null,"hasMore":false}',
    );
  });

  test('of rows of foreign programs is that of the objects', async () => {
    const writer = pythonOn(file);
    const insert =
      'INSERT INTO candles_60 (symbol, time, open, high, low, close, volume, clusters) VALUES (?, ?, ?, ?, ?, ?, ?, ?)';
    const rows = [
      [1, '{"89000.5": {"bid": 1.0, "ask": 2}, "7": {"bid": 1e3, "ask": 0.10}}'],
      ['text', ' {} '],
      [Number.MAX_VALUE, 'no JSON'],
      [0.1, '[1, 2]'],
      [2, null],
    ];
    for (const [place, [open, clusters]] of rows.entries())
      await writer.sql(insert, 'BYBIT:PYTHON', candles[place].time, open, 2, 1, 1.5, 3, clusters);
    await writer.sql(insert, 'BYBIT:TIMES', 'a time', 1, 2, 1, 1.5, 3, null);
    await writer.sql(insert, 'BYBIT:HALVES', candles[0].time + 0.5, 1, 2, 1, 1.5, 3, '{"1": {"bid": 1}}');
    await writer.end();
    for (const query of ['PYTHON&limit=1', 'PYTHON&limit=3', 'PYTHON', 'TIMES', 'HALVES', 'HALVES&limit=1']) {
      const route = `/api/candles?exchange=bybit&tf=60&symbol=${query}`;
      expect((await ask(route)).bytes.toString()).toBe(expected(route));
      expect((await ask(route)).bytes.toString()).toBe(expected(route));
    }
  });

  test.each([
    ['another process', anotherProcess],
    ['Python', python],
  ])('has what %s has written, right after it is told that it is', async (_who, start) => {
    const writer = start(file);
    const route = '/api/candles?symbol=btcusdt&limit=200';
    const known = { etag: null, gzipEtag: null };
    for (let round = 1; round <= 20; round += 1) {
      await writer.write('candles_15', 'BINANCE:BTCUSDT', [
        { ...candles.at(-1), close: round + Math.random(), volume: round },
      ]);
      const body = expected(route);
      const plain = await ask(route, known.etag ? { 'if-none-match': known.etag } : {});
      expect(plain.status).toBe(200);
      expect(plain.bytes.toString() === body).toBe(true);
      const packed = await ask(route, {
        ...GZIP,
        ...(known.gzipEtag && { 'if-none-match': known.gzipEtag }),
      });
      expect(packed.status).toBe(200);
      expect(zlib.gunzipSync(packed.bytes).toString() === body).toBe(true);
      expect(JSON.parse(body).candles.at(-1).volume).toBe(round);
      known.etag = plain.headers.etag;
      known.gzipEtag = packed.headers.etag;
    }
    await writer.end();
  });
});

describe('the headers', () => {
  const route = '/api/candles?symbol=btcusdt&limit=1000';

  test('say what the body is, and that it may be kept but is asked for again', async () => {
    const { headers } = await ask(route);
    expect(headers).toMatchObject({
      'access-control-allow-origin': '*',
      'content-type': 'application/json; charset=utf-8',
      vary: 'Accept-Encoding',
      'cache-control': 'no-cache',
    });
    expect(headers.etag).toMatch(/^"[^"]+"$/);
    expect(headers).not.toHaveProperty('x-powered-by');
    expect(headers).not.toHaveProperty('transfer-encoding');
  });

  test.each([{}, GZIP])('HEAD with %j has those of GET, and no body', async (asked) => {
    const { status, bytes, headers } = await ask(route, asked, { method: 'HEAD' });
    const ofGet = (await ask(route, asked)).headers;
    delete ofGet.date;
    expect(status).toBe(200);
    expect(bytes).toHaveLength(0);
    expect(headers).toMatchObject(ofGet);
  });

  test('of a refusal and of a failure are those of no candles', async () => {
    const closed = openStore(path.join(scratch(), 'closed.db'));
    await closed.close();
    const said = jest.spyOn(console, 'error').mockImplementation(() => {});
    const failing = http.createServer(createApp(closed));
    await listening(failing);
    const failed = await ask(route, GZIP, { to: failing });
    failing.close();
    expect(said).toHaveBeenCalledTimes(1);
    said.mockRestore();
    const refused = await ask('/api/candles?symbol=btcusdt&limit=0', GZIP);
    expect([failed.status, JSON.parse(failed.bytes).code]).toEqual([500, 'CLOSED']);
    expect(refused.status).toBe(400);
    expect(refused.bytes.toString()).toBe(
      '{"error":"limit is \\"0\\"; expected a whole number from 1 to 5000."}',
    );
    for (const { headers } of [failed, refused]) {
      expect(headers).toMatchObject({
        'access-control-allow-origin': '*',
        'content-type': 'application/json; charset=utf-8',
        vary: 'Accept-Encoding',
      });
      for (const name of ['etag', 'cache-control', 'content-encoding'])
        expect(headers).not.toHaveProperty(name);
    }
  });
});

describe('which form is sent', () => {
  const route = '/api/candles?symbol=btcusdt&limit=1000';

  test.each([
    [undefined, false],
    ['', false],
    ['gzip', true],
    ['GZIP', true],
    ['gzip, deflate, br, zstd', true],
    ['br, gzip;q=0.8', true],
    ['gzip;q=0', false],
    ['gzip;q=0.0, *', false],
    ['gzip;q=0.001', true],
    ['*', true],
    ['*;q=0', false],
    ['*;q=0, gzip', true],
    ['br', false],
    ['deflate', false],
    ['identity', false],
    ['identity;q=0.5, gzip', true],
    ['gzip;q=0.5, identity', false],
    ['gzip;q=0.5, identity;q=0', true],
    ['identity;q=0', false],
    [',;=', false],
  ])('with Accept-Encoding %p gzip is sent: %p', async (accepted, isPacked) => {
    const { status, headers, bytes } = await ask(
      route,
      accepted === undefined ? {} : { 'accept-encoding': accepted },
    );
    expect(status).toBe(200);
    expect(headers['content-encoding']).toBe(isPacked ? 'gzip' : undefined);
    expect(headers.vary).toBe('Accept-Encoding');
    expect((isPacked ? zlib.gunzipSync(bytes) : bytes).toString() === expected(route)).toBe(true);
  });

  test('a short body is sent as it is', async () => {
    const { headers } = await ask('/api/candles?symbol=btcusdt&limit=2', GZIP);
    expect(headers).not.toHaveProperty('content-encoding');
    expect(headers.vary).toBe('Accept-Encoding');
  });
});

describe('a client that has the answer already', () => {
  const route = '/api/candles?symbol=btcusdt&limit=800';
  let plain;
  let packed;

  beforeAll(async () => {
    plain = (await ask(route)).headers.etag;
    packed = (await ask(route, GZIP)).headers.etag;
  });

  test('knows it by an ETag that is the same each time, and another for each form and each body', async () => {
    expect((await ask(route)).headers.etag).toBe(plain);
    expect((await ask(route, GZIP)).headers.etag).toBe(packed);
    const others = [
      packed,
      (await ask('/api/candles?symbol=btcusdt&limit=799')).headers.etag,
      (await ask('/api/candles?symbol=nosuch')).headers.etag,
      (await ask('/api/candles?symbol=nosuch2')).headers.etag,
    ];
    expect(new Set([plain, ...others]).size).toBe(others.length + 1);
  });

  test.each([
    ['its ETag', (etag) => etag],
    ['its ETag, weakly', (etag) => `W/${etag}`],
    ['a list with it', (etag) => `"a", W/"b,c" ,${etag},"d"`],
    ['a list with it, weakly', (etag) => `"a",W/${etag}`],
    ['anything', () => '*'],
    ['anything, with spaces', () => ' * '],
  ])('and names %s gets 304 and no body, in both forms', async (_what, named) => {
    for (const [etag, headers] of [
      [plain, {}],
      [packed, GZIP],
    ])
      for (const method of ['GET', 'HEAD']) {
        const answer = await ask(route, { ...headers, 'if-none-match': named(etag) }, { method });
        expect(answer.status).toBe(304);
        expect(answer.bytes).toHaveLength(0);
        expect(answer.headers).toMatchObject({
          etag,
          vary: 'Accept-Encoding',
          'cache-control': 'no-cache',
          'access-control-allow-origin': '*',
        });
        for (const name of ['content-type', 'content-length', 'content-encoding'])
          expect(answer.headers).not.toHaveProperty(name);
      }
  });

  test('gets 304 even if it asks past the caches, as fetch does when it is given an If-None-Match', async () => {
    const { port } = server.address();
    const { status } = await fetch(`http://127.0.0.1:${port}${route}`, {
      headers: { 'accept-encoding': 'gzip', 'if-none-match': packed },
    });
    expect(status).toBe(304);
  });

  test.each([
    ['of the other form', () => packed],
    ['of nothing', () => ''],
    ['without quotes', () => plain.slice(1, -1)],
    ['cut', () => plain.slice(0, -2)],
    ['and more', () => `"${plain.slice(1, -1)} "`],
    ['* in quotes', () => '"*"'],
    ['of quotes only', () => '"""""'],
  ])('but names an ETag %s gets it again', async (_what, named) => {
    const { status, bytes } = await ask(route, { 'if-none-match': named() });
    expect(status).toBe(200);
    expect(bytes.toString() === expected(route)).toBe(true);
  });
});

describe('the gzip form', () => {
  /** How many times something was packed or unpacked while `work` ran. */
  async function packings(work) {
    let count = 0;
    const hook = createHook({ init: (_id, type) => (count += type === 'ZLIB') }).enable();
    try {
      await work();
    } finally {
      hook.disable();
    }
    return count;
  }

  test('is made once for all who ask, first at the same time and then later', async () => {
    const route = '/api/candles?symbol=btcusdt&limit=1234';
    let answers;
    const first = async () => (answers = await Promise.all([1, 2, 3, 4].map(() => ask(route, GZIP))));
    expect(await packings(first)).toBe(1);
    expect(await packings(first)).toBe(0);
    for (const { bytes } of answers) expect(zlib.gunzipSync(bytes).toString() === expected(route)).toBe(true);
  });

  test('is not made for who has it, takes no gzip, or gets a short body', async () => {
    const route = '/api/candles?symbol=btcusdt&limit=1235';
    const { etag } = (await ask(route, GZIP)).headers;
    // Other bytes in between: what is answered then is made of the same candles, but made anew.
    const [last] = store.getCandles(15, 'BINANCE:BTCUSDT', 1);
    store.upsertCandle(15, 'BINANCE:BTCUSDT', { ...last, volume: last.volume + 1 });
    await ask(route);
    store.upsertCandle(15, 'BINANCE:BTCUSDT', last);
    expect(
      await packings(async () => {
        await ask(route, { 'accept-encoding': 'br' });
        expect((await ask(route, { ...GZIP, 'if-none-match': etag })).status).toBe(304);
        await ask('/api/candles?symbol=btcusdt&limit=1', GZIP);
      }),
    ).toBe(0);
  });

  test('is made anew after a write', async () => {
    const route = '/api/candles?symbol=btcusdt&limit=1237';
    await ask(route, GZIP);
    store.upsertCandle(15, 'BINANCE:BTCUSDT', { ...candles.at(-1), volume: 77 });
    let answer;
    expect(await packings(async () => (answer = await ask(route, GZIP)))).toBe(1);
    expect(zlib.gunzipSync(answer.bytes).toString() === expected(route)).toBe(true);
  });

  test('is made anew for no other series than the one that was written, whoever wrote', async () => {
    const writer = anotherProcess(file);
    const route = '/api/candles?symbol=btcusdt&limit=1238';
    await ask(route, GZIP);
    const written = writer.write('candles_60', 'BYBIT:ETHUSDT', [{ ...candles[0], volume: 78 }]);
    expect(await packings(async () => (await written, await ask(route, GZIP)))).toBe(0);
    await writer.end();
  });

  test('of a client that has gone away is kept for the next', async () => {
    const route = '/api/candles?symbol=btcusdt&limit=4321';
    const { port } = server.address();
    await new Promise((resolve) => {
      const request = http.get({ port, path: route, headers: GZIP });
      request.on('error', resolve);
      server.once('request', () => request.destroy(new Error('gone')));
    });
    const { status, bytes } = await ask(route, GZIP);
    expect(status).toBe(200);
    expect(zlib.gunzipSync(bytes).toString() === expected(route)).toBe(true);
  });

  test('goes when the bytes go that it was made of', async () => {
    v8.setFlagsFromString('--expose-gc');
    const collect = vm.runInNewContext('gc');
    const megabytes = () => {
      collect();
      return process.memoryUsage().arrayBuffers / 2 ** 20;
    };
    // What does not compress, so that the packed form is as large.
    const app = express().get('/', (req, res) => sendJson(req, res, randomBytes(2 ** 20)));
    const other = http.createServer(app);
    await listening(other);
    const before = megabytes();
    for (let round = 0; round < 40; round += 1) {
      const { headers, bytes } = await ask('/', GZIP, { to: other });
      expect(headers['content-encoding']).toBe('gzip');
      expect(bytes.length).toBeGreaterThan(2 ** 20);
    }
    await new Promise((resolve) => {
      agent.destroy();
      other.close(resolve);
    });
    expect(megabytes() - before).toBeLessThan(20);
  });
});
