'use strict';

const http = require('node:http');
const { HttpClient, retryAfterMs } = require('../server/http');

const RETRY = { attempts: 4, firstDelayMs: 1, longestDelayMs: 5, longestRetryAfterMs: 60_000 };
const asItIs = (body) => body;

const servers = [];

/** A server that gives the answers in turn, the last one for ever; `asked` counts. */
async function serve(...answers) {
  const server = http.createServer((request, response) => {
    const answer = answers[Math.min(server.asked, answers.length - 1)];
    server.asked += 1;
    if (answer === 'hang up') request.socket.destroy();
    else if (answer !== 'say nothing') {
      response
        .writeHead(answer.status ?? 200, answer.headers)
        .end(answer.text ?? JSON.stringify(answer.body ?? {}));
    }
  });
  server.asked = 0;
  servers.push(server);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.url = `http://127.0.0.1:${server.address().port}`;
  return server;
}

afterAll(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

function clientOf(server, options = {}) {
  const retries = [];
  const client = new HttpClient({
    url: server.url,
    timeoutMs: 5000,
    retry: RETRY,
    onRetry: (event) => retries.push(event),
    ...options,
  });
  return { client, retries };
}

test.each([
  ['a 500', { status: 500 }],
  ['a 429 without Retry-After', { status: 429 }],
  ['a 418', { status: 418 }],
  ['a broken connection', 'hang up'],
  ['half an answer', { text: '[[17868168' }],
])('%s is followed by another try', async (_, trouble) => {
  const server = await serve(trouble, trouble, { body: [1, 2] });
  const { client, retries } = clientOf(server);
  await expect(client.get('/x', asItIs)).resolves.toEqual([1, 2]);
  expect(server.asked).toBe(3);
  expect(retries.map(({ attempt }) => attempt)).toEqual([1, 2]);
});

test('a refusal that trying again does not change is not tried again', async () => {
  const server = await serve({ status: 400, body: { code: -1121, msg: 'Invalid symbol.' } });
  const { client } = clientOf(server);
  await expect(client.get('/x', asItIs)).rejects.toMatchObject({
    name: 'RequestError',
    status: 400,
    retryable: false,
    message: expect.stringContaining('Invalid symbol.'),
  });
  expect(server.asked).toBe(1);
});

test('a refusal inside an answer is tried again when the exchange says that it may pass', async () => {
  const server = await serve({ body: { busy: true } }, { body: { busy: false } });
  const { client } = clientOf(server);
  const parse = (body) => {
    if (body.busy) throw Object.assign(new Error('busy'), { retryable: true });
    return 'done';
  };
  await expect(client.get('/x', parse)).resolves.toBe('done');
});

test('after the last attempt the error tells what happened and how often it was tried', async () => {
  const server = await serve({ status: 503, text: 'down for maintenance' });
  const { client } = clientOf(server);
  await expect(client.get('/x', asItIs)).rejects.toMatchObject({
    status: 503,
    attempts: 4,
    message: expect.stringMatching(/\/x answered 503: down for maintenance/),
  });
  expect(server.asked).toBe(4);
});

test('Retry-After is waited for, and holds back every request to that exchange', async () => {
  const server = await serve({ status: 429, headers: { 'retry-after': '1' } }, { body: 'ok' });
  const { client, retries } = clientOf(server);
  const first = client.get('/x', asItIs);
  while (retries.length === 0) await new Promise(setImmediate);
  expect(retries[0].delayMs).toBe(1000);
  const second = client.get('/y', asItIs); // would be answered at once, were it sent
  expect(server.asked).toBe(1);
  await expect(Promise.race([first, second])).resolves.toBe('ok');
  await Promise.all([first, second]);
  expect(server.asked).toBe(3);
});

test('a Retry-After longer than one is ready to wait ends the tries at once', async () => {
  const server = await serve({ status: 418, headers: { 'retry-after': '86400' } });
  const { client } = clientOf(server);
  await expect(client.get('/x', asItIs)).rejects.toMatchObject({
    status: 418,
    retryAfterMs: 86_400_000,
    attempts: 1,
  });
});

test('Retry-After is understood as seconds and as a date', () => {
  const now = Date.UTC(2026, 0, 1);
  expect(retryAfterMs('7', now)).toBe(7000);
  expect(retryAfterMs('Thu, 01 Jan 2026 00:00:30 GMT', now)).toBe(30_000);
  expect(retryAfterMs('Wed, 31 Dec 2025 00:00:00 GMT', now)).toBe(0);
  expect(retryAfterMs('soon', now)).toBe(null);
  expect(retryAfterMs(null, now)).toBe(null);
});

test('silence is an error that names the address and the time-out', async () => {
  const server = await serve('say nothing');
  const { client } = clientOf(server, { timeoutMs: 50, retry: { ...RETRY, attempts: 1 } });
  await expect(client.get('/x', asItIs)).rejects.toThrow(
    `${server.url} cannot be reached: no answer within 50 ms`,
  );
});

test('an exchange that is not there is an error that names the address and the reason', async () => {
  const server = await serve({});
  await new Promise((resolve) => server.close(resolve));
  const { client } = clientOf(server, { retry: { ...RETRY, attempts: 2 } });
  await expect(client.get('/x', asItIs)).rejects.toThrow(
    new RegExp(`${server.url} cannot be reached: .*ECONNREFUSED`),
  );
});

test('stopping ends a request on its way, a wait between two tries and a wait for the turn', async () => {
  const silent = await serve('say nothing');
  const broken = await serve({ status: 500 });
  const stopping = new AbortController();
  const onItsWay = clientOf(silent).client.get('/x', asItIs, stopping.signal);
  const waiting = clientOf(broken, { retry: { ...RETRY, firstDelayMs: 60_000, longestDelayMs: 60_000 } });
  const betweenTries = waiting.client.get('/x', asItIs, stopping.signal);
  const spaced = clientOf(await serve({}), { spacingMs: 60_000 }).client;
  await spaced.get('/x', asItIs);
  const forItsTurn = spaced.get('/x', asItIs, stopping.signal);
  while (waiting.retries.length === 0 || silent.asked === 0) await new Promise(setImmediate);
  stopping.abort(new Error('stopping'));
  const ends = await Promise.allSettled([onItsWay, betweenTries, forItsTurn]);
  expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
});
