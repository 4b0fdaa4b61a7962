'use strict';

const http = require('node:http');
const path = require('node:path');
const zlib = require('node:zlib');
const { openStore } = require('candlestore');
const { run } = require('./support/programs.js');
const { scratch } = require('./support/scratch.js');
const { recordedCandles } = require('./support/server-candles.js');
const { SERVER, startApi, startServer } = require('./support/server-processes.js');

const candles = recordedCandles(1200);
const footprint = { 89000.5: { bid: 1.5, ask: 2, delta: -0.5 }, 89001: { bid: 3, ask: 0 } };
let api;
let store;

const get = async (route) => {
  const response = await fetch(api.url + route);
  return { status: response.status, body: await response.json(), headers: response.headers };
};

beforeAll(async () => {
  const file = path.join(scratch(), 'data', 'api.db'); // the folder is db.js's to create
  api = await startApi(file);
  store = openStore(file);
  store.upsertCandles('candles_15', 'BINANCE:BTCUSDT', candles);
  store.upsertCandles('candles_60', 'BYBIT:ETHUSDT', candles.slice(0, 3));
  store.upsertCandles('candles_240', 'BINANCE:BTCUSDT-DEC2024', candles.slice(0, 1));
  store.upsertCandle('candles_1440', 'BINANCE:SOLUSDT', { ...candles[0], clusters: footprint });
});
afterAll(() => store.close());

describe('/api/candles', () => {
  test('gives the newest candles, ascending, as they were stored', async () => {
    const { status, body } = await get('/api/candles?symbol=btcusdt&tf=15&limit=1000');
    expect(status).toBe(200);
    expect(body.candles).toEqual(candles.slice(-1000));
    expect(body).toMatchObject({
      exchange: 'BINANCE',
      symbol: 'BTCUSDT',
      oldestTime: candles.at(-1000).time,
      hasMore: true,
    });
  });

  test('before leads page by page to the oldest candle, where hasMore ends', async () => {
    const seen = [];
    let before = '';
    let more = true;
    for (let page = 0; more && page < 10; page++) {
      const { body } = await get(`/api/candles?symbol=BTCUSDT&limit=400&before=${before}`);
      seen.unshift(...body.candles);
      before = body.oldestTime;
      more = body.hasMore;
    }
    expect(seen).toEqual(candles);
  });

  test('a series may be named by symbol and exchange or by EXCHANGE:PAIR, in any case', async () => {
    const both = await get('/api/candles?exchange=bybit&symbol=ethusdt&tf=60');
    const one = await get('/api/candles?symbol=Bybit:EthUsdt&tf=60');
    expect(both.body.candles).toEqual(candles.slice(0, 3));
    expect(one.body).toEqual(both.body);
    expect(one.body).toMatchObject({ exchange: 'BYBIT', symbol: 'ETHUSDT' });
    const dash = await get('/api/candles?symbol=btcusdt-dec2024&tf=240');
    expect(dash.body.candles).toHaveLength(1);
  });

  test('clusters come as the object that was stored', async () => {
    const { body } = await get('/api/candles?symbol=solusdt&tf=1440');
    expect(body.candles[0].clusters).toEqual(footprint);
  });

  test('a series that is not there is empty and no error', async () => {
    const { status, body } = await get('/api/candles?symbol=nosuch&tf=15');
    expect(status).toBe(200);
    expect(body).toEqual({
      candles: [],
      exchange: 'BINANCE',
      symbol: 'NOSUCH',
      oldestTime: null,
      hasMore: false,
    });
  });

  test.each([
    ['', /symbol is missing/],
    ['?symbol=', /symbol is ""/],
    ['?symbol=a%20b', /symbol is "a b"/],
    ["?symbol=x'--", /symbol is "x'--"/],
    ['?symbol=%00', /symbol is/],
    ['?symbol=a&symbol=b', /symbol is \["a","b"\]/],
    ['?symbol=btcusdt&exchange=', /exchange is ""/],
    ['?symbol=bybit:btcusdt&exchange=binance', /symbol says exchange BYBIT/],
    ['?symbol=btcusdt&tf=7', /tf is "7"; expected one of 15, 60, 240, 1440/],
    ['?symbol=btcusdt&tf=', /tf is ""/],
    ['?symbol=btcusdt&limit=0', /limit is "0"; expected a whole number from 1 to 5000/],
    ['?symbol=btcusdt&limit=-1', /limit is "-1"/],
    ['?symbol=btcusdt&limit=1e300', /limit is "1e300"/],
    ['?symbol=btcusdt&limit=5001', /limit is "5001"/],
    ['?symbol=btcusdt&before=yesterday', /before is "yesterday"/],
    ['?symbol=btcusdt&before=1.5', /before is "1.5"/],
  ])('%p is refused with 400 and the reason', async (query, message) => {
    const { status, body } = await get(`/api/candles${query}`);
    expect(status).toBe(400);
    expect(body.error).toMatch(message);
    expect(body.error.length).toBeLessThan(200);
  });

  test('a symbol of thousands of characters is refused, and not repeated in the answer', async () => {
    const { status, body } = await get(`/api/candles?symbol=${'A'.repeat(5000)}`);
    expect(status).toBe(400);
    expect(body.error).toMatch(/symbol is "AAAA/);
    expect(body.error.length).toBeLessThan(200);
  });

  test('a long answer is compressed for those who can read it', async () => {
    const raw = await new Promise((resolve, reject) => {
      const headers = { 'accept-encoding': 'gzip' };
      http
        .get(`${api.url}/api/candles?symbol=btcusdt&limit=1000`, { headers }, (response) => {
          const chunks = [];
          response.on('data', (chunk) => chunks.push(chunk));
          response.on('end', () => resolve({ headers: response.headers, bytes: Buffer.concat(chunks) }));
        })
        .on('error', reject);
    });
    expect(raw.headers['content-encoding']).toBe('gzip');
    const text = zlib.gunzipSync(raw.bytes).toString();
    expect(text.length).toBeGreaterThan(2 * raw.bytes.length);
    expect(JSON.parse(text).candles).toEqual(candles.slice(-1000));
  });
});

test('/api/health says ok, when, and how many candles there are', async () => {
  const { status, body } = await get('/api/health');
  expect(status).toBe(200);
  expect(body).toMatchObject({
    status: 'ok',
    candles_15: 1200,
    candles_60: 3,
    candles_240: 1,
    candles_1440: 1,
  });
  expect(Number.isInteger(body.lockWaitCount)).toBe(true);
  expect(Math.abs(body.timestamp - Date.now())).toBeLessThan(60_000);
});

test('/api/symbols lists every symbol with its timeframes', async () => {
  const { body } = await get('/api/symbols');
  expect(body.symbols).toEqual([
    { exchange: 'BINANCE', symbol: 'BTCUSDT', timeframes: [15] },
    { exchange: 'BINANCE', symbol: 'BTCUSDT-DEC2024', timeframes: [240] },
    { exchange: 'BINANCE', symbol: 'SOLUSDT', timeframes: [1440] },
    { exchange: 'BYBIT', symbol: 'ETHUSDT', timeframes: [60] },
  ]);
});

test('the page, its script and the chart library come from the same address', async () => {
  const page = await (await fetch(`${api.url}/`)).text();
  expect(page).toContain('<title>candlestore</title>');
  const script = await fetch(`${api.url}/app.js`);
  expect(script.headers.get('content-type')).toMatch(/javascript/);
  const library = await fetch(`${api.url}/vendor/lightweight-charts.mjs`);
  expect(library.status).toBe(200);
  expect(library.headers.get('content-type')).toMatch(/javascript/);
  expect(await library.text()).toContain('createChart');
});

test('pages of other origins may read the API', async () => {
  const { headers } = await get('/api/health');
  expect(headers.get('access-control-allow-origin')).toBe('*');
});

test('what is not there is a 404 that says what there is', async () => {
  const { status, body } = await get('/api/nothing');
  expect(status).toBe(404);
  expect(body.error).toMatch(/GET \/api\/nothing.*\/api\/candles/);
});

test('a port in use is said in one sentence, with the way out, and the process ends', async () => {
  const { port } = new URL(api.url);
  const second = startServer('api.js', { env: { PORT: port, DB_PATH: path.join(scratch(), 'x.db') } });
  const { code, stderr } = await second.ended;
  expect(code).toBe(3);
  expect(stderr).toContain(`Port ${port} is in use by another program.`);
  expect(stderr).toContain('PORT=');
});

test.each(['SIGINT', 'SIGTERM'])(
  '%s ends the API with exit code 0, open connections or not',
  async (signal) => {
    const mine = await startApi(path.join(scratch(), 'x.db'));
    const agent = new http.Agent({ keepAlive: true });
    await new Promise((resolve, reject) =>
      http
        .get(`${mine.url}/api/health`, { agent }, (answer) => answer.resume().on('end', resolve))
        .on('error', reject),
    );
    const { code, stderr } = await mine.stop(signal);
    agent.destroy();
    expect(stderr).toBe('');
    expect(code).toBe(0);
  },
);

describe('the load test', () => {
  const loadtest = (...args) => run(process.execPath, [path.join(SERVER, 'loadtest.js'), ...args]);

  test('reports both routes and the lock waits, and exits with 0', async () => {
    const { code, stdout } = await loadtest(
      '--url',
      api.url,
      '--seconds',
      '1',
      '--connections',
      '5',
      '--limit',
      '100',
    );
    expect(stdout).toMatch(/\/api\/candles +[1-9]\d* answers, 0 errors, p50 [\d.]+ ms, p99 [\d.]+ ms/);
    expect(stdout).toMatch(/\/api\/health +[1-9]\d* answers, 0 errors/);
    expect(stdout).toMatch(/lockWaitCount \d+ before, \d+ after/);
    expect(code).toBe(0);
  });

  test('exits with 1 when answers are errors', async () => {
    const server = http.createServer((request, response) => {
      if (request.url === '/api/health') response.end('{"lockWaitCount":0}');
      else if (request.url === '/api/symbols') response.end('{"symbols":[]}');
      else response.writeHead(500).end('broken');
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { code, stdout } = await loadtest(
      '--url',
      `http://127.0.0.1:${server.address().port}`,
      '--seconds',
      '1',
    );
    server.closeAllConnections();
    server.close();
    expect(stdout).toMatch(/first error: 500: broken/);
    expect(code).toBe(1);
  });

  test('does not touch other machines', async () => {
    const { code, stderr } = await loadtest('--url', 'http://192.0.2.1:3000');
    expect(code).toBe(1);
    expect(stderr).toMatch(/192\.0\.2\.1:3000 is not on this machine/);
  });
});
