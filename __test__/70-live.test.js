'use strict';

const path = require('node:path');
const { openStore } = require('candlestore');
const { scratch } = require('./support/scratch.js');
const { until } = require('./support/until.js');
const { connect } = require('./support/server-client.js');
const { recordedCandles } = require('./support/server-candles.js');
const { startApi } = require('./support/server-processes.js');
const { anotherProcess, python } = require('./support/server-writers.js');

const SERIES = { exchange: 'BINANCE', symbol: 'BTCUSDT', tf: 15 };
const SYMBOL = 'BINANCE:BTCUSDT';
const candles = recordedCandles(2000);

let file;
let api;

beforeAll(async () => {
  file = path.join(scratch(), 'live.db');
  api = await startApi(file);
});

/** A symbol of its own for each test, with the first `count` candles stored. */
let symbols = 0;
async function series(writer, count) {
  const symbol = `TEST${(symbols += 1)}`;
  await writer.write('candles_15', `BINANCE:${symbol}`, candles.slice(0, count));
  return { named: { ...SERIES, symbol }, stored: `BINANCE:${symbol}` };
}

describe.each([
  ['another candlestore process', anotherProcess],
  ['Python', python],
])('candles written by %s', (_, writerOn) => {
  let writer;
  beforeAll(() => {
    writer = writerOn(file);
  });
  afterAll(() => writer.end());

  test('a subscriber gets the history, then the new candle', async () => {
    const { named, stored } = await series(writer, 20);
    const client = await connect(api.url);
    const history = await client.subscribe(named);
    expect(history).toMatchObject({ type: 'history', ...named, hasMore: false, oldestTime: candles[0].time });
    expect(history.candles).toEqual(candles.slice(0, 20));

    await writer.write('candles_15', stored, [candles[20]]);
    const message = await client.first(({ type }) => type === 'candle');
    expect(message).toEqual({ type: 'candle', ...named, candle: candles[20] });
    client.close();
  });

  test('an open candle that changes and closes is sent again, and the next one follows', async () => {
    const { named, stored } = await series(writer, 5);
    const client = await connect(api.url);
    await client.subscribe(named);
    const closed = { ...candles[4], close: candles[4].close + 1 };
    await writer.write('candles_15', stored, [closed, candles[5]]);
    await client.first(({ candle }) => candle?.time === candles[5].time);
    expect(client.ofType('candle').map(({ candle }) => candle)).toEqual([closed, candles[5]]);
    client.close();
  });

  test('of 1,000 updates the last value is never missed', async () => {
    const { named, stored } = await series(writer, 3);
    const client = await connect(api.url);
    await client.subscribe(named);
    const updates = Array.from({ length: 1000 }, (_, index) => ({
      ...candles[2],
      close: 1 + index,
      tradeCount: index,
    }));
    await writer.write('candles_15', stored, updates);
    await client.first(({ candle }) => candle?.close === 1000);
    expect(client.ofType('candle').at(-1).candle).toEqual(updates.at(-1));
    const values = client.ofType('candle').map(({ candle }) => candle.close);
    expect(values).toEqual([...values].sort((a, b) => a - b));
    client.close();
  });

  test('of 1,000 new candles every one arrives, the last state of each', async () => {
    const { named, stored } = await series(writer, 1);
    const client = await connect(api.url);
    await client.subscribe(named);
    const written = candles.slice(1, 1001).flatMap((candle) => [{ ...candle, close: 1 }, candle]);
    await writer.write('candles_15', stored, written);
    const latest = () => new Map(client.ofType('candle').map(({ candle }) => [candle.time, candle]));
    await until(() => latest().get(candles[1000].time)?.close === candles[1000].close);
    expect([...latest().values()]).toEqual(candles.slice(1, 1001));
    client.close();
  });

  test('no candle is missed between history and live, however they interleave', async () => {
    const { named, stored } = await series(writer, 1);
    const clients = [];
    const writing = writer.write('candles_15', stored, candles.slice(1, 400));
    let written = false;
    writing.then(() => (written = true));
    while (!written && clients.length < 40) {
      const client = await connect(api.url);
      await client.subscribe(named);
      clients.push(client);
    }
    await writing;
    for (const client of clients) {
      await client.first(
        ({ candle, candles: history }) => (candle ?? history?.at(-1))?.time === candles[399].time,
      );
      const seen = new Map(
        [...client.ofType('history')[0].candles, ...client.ofType('candle').map(({ candle }) => candle)].map(
          (candle) => [candle.time, candle],
        ),
      );
      expect([...seen.values()]).toEqual(candles.slice(0, 400));
      client.close();
    }
  });
});

describe('the feed', () => {
  let writer;
  beforeAll(() => {
    writer = anotherProcess(file);
  });
  afterAll(() => writer.end());

  test('only what was subscribed to is sent, and nothing after unsubscribe', async () => {
    const one = await series(writer, 2);
    const other = await series(writer, 2);
    const client = await connect(api.url);
    await client.subscribe(one.named);
    await writer.write('candles_15', other.stored, [candles[2]]);
    await writer.write('candles_60', one.stored, [candles[2]]);
    await client.subscribe(other.named);
    client.send({ type: 'unsubscribe', ...one.named });
    await client.subscribe(other.named); // answered after the unsubscribe was
    await writer.write('candles_15', one.stored, [candles[2]]);
    await writer.write('candles_15', other.stored, [candles[3]]);
    await client.first(({ candle }) => candle?.time === candles[3].time);
    expect(client.ofType('candle')).toEqual([{ type: 'candle', ...other.named, candle: candles[3] }]);
    client.close();
  });

  test('a series that is empty at first is sent from its first candle on', async () => {
    const named = { ...SERIES, symbol: 'EMPTY' };
    const client = await connect(api.url);
    const history = await client.subscribe(named);
    expect(history).toMatchObject({ candles: [], oldestTime: null, hasMore: false });
    await writer.write('candles_15', 'BINANCE:EMPTY', candles.slice(0, 2));
    await client.first(({ candle }) => candle?.time === candles[1].time);
    expect(client.ofType('candle').map(({ candle }) => candle)).toEqual(candles.slice(0, 2));
    client.close();
  });

  test('a subscriber that is further behind than candles are worth sending gets a new history', async () => {
    const { named, stored } = await series(writer, 1);
    const client = await connect(api.url);
    await client.subscribe(named);
    const store = openStore(file);
    const many = Array.from({ length: 5002 }, (_, index) => ({
      ...candles[1],
      time: candles[1].time + index * 900_000,
    }));
    await store.enqueueCandles(15, stored, many, { atomic: false });
    await until(() =>
      client.messages.some(
        ({ candle, candles: list }) => (candle ?? list?.at(-1))?.time === many.at(-1).time,
      ),
    );
    const held = new Map();
    for (const { candle, candles: list } of client.messages)
      for (const each of list ?? [candle]) held.set(each.time, each);
    expect(held.get(many.at(-1).time)).toMatchObject({ close: many.at(-1).close });
    await store.close();
    client.close();
  });

  test('clusters are sent as they were stored', async () => {
    const { named, stored } = await series(writer, 1);
    const client = await connect(api.url);
    await client.subscribe(named);
    const clusters = { 93000: { bid: 1, ask: 2.5 } };
    await writer.write('candles_15', stored, [{ ...candles[1], clusters }]);
    const { candle } = await client.first(({ type }) => type === 'candle');
    expect(candle).toEqual({ ...candles[1], clusters });
    client.close();
  });

  test.each([
    ['no JSON', 'hello', /not JSON: "hello"/],
    ['no object', '[]', /type is undefined/],
    ['null', 'null', /must be a JSON object/],
    ['another type', { type: 'buy', ...SERIES }, /type is "buy"; expected subscribe or unsubscribe/],
    ['no symbol', { type: 'subscribe', tf: 15 }, /symbol is missing/],
    ['an unknown timeframe', { type: 'subscribe', ...SERIES, tf: 5 }, /tf is 5; expected one of/],
    ['a symbol that is none', { type: 'subscribe', ...SERIES, symbol: { $ne: 1 } }, /symbol is/],
  ])('%s is answered with an error, and the connection goes on', async (_, message, expected) => {
    const client = await connect(api.url);
    client.send(message);
    const error = await client.first(({ type }) => type === 'error');
    expect(error.message).toMatch(expected);
    await client.subscribe(SERIES);
    client.close();
  });

  test('a message of a megabyte ends the connection, not the server', async () => {
    const client = await connect(api.url);
    const closed = new Promise((resolve) => client.socket.once('close', resolve));
    client.send('x'.repeat(1024 * 1024));
    expect(await closed).toBe(1009);
    await (await connect(api.url)).subscribe(SERIES);
  });

  test('a connection may have 100 subscriptions and no more', async () => {
    const client = await connect(api.url);
    for (let index = 0; index <= 100; index++)
      client.send({ type: 'subscribe', ...SERIES, symbol: `S${index}` });
    const error = await client.first(({ type }) => type === 'error');
    expect(error.message).toMatch(/100 subscriptions, which is the most/);
    await until(() => client.ofType('history').length === 100);
    client.close();
  });

  test('a socket that reads nothing gets the newest state alone when it reads again', async () => {
    const { named, stored } = await series(writer, 1);
    const store = openStore(file);
    // A history larger than what the connection itself can hold back: it waits in the server.
    const levels = (seed) =>
      Object.fromEntries(
        Array.from({ length: 600 }, (_, index) => [90_000 + index, { bid: seed, ask: index + 0.25 }]),
      );
    const heavy = candles.slice(1, 501).map((candle, index) => ({ ...candle, clusters: levels(index) }));
    for (let at = 0; at < heavy.length; at += 50)
      await store.enqueueCandles(15, stored, heavy.slice(at, at + 50));
    await store.close();

    const slow = await connect(api.url);
    slow.socket.pause();
    slow.send({ type: 'subscribe', ...named });
    const watcher = await connect(api.url);
    await watcher.subscribe(named);
    for (let index = 1; index <= 20; index++) {
      await writer.write('candles_15', stored, [{ ...candles[500], close: index }]);
      await watcher.first(({ candle }) => candle?.close === index);
    }
    slow.socket.resume();
    await slow.first(({ candle }) => candle?.close === 20);
    expect(slow.ofType('candle').map(({ candle }) => candle.close)).toEqual([20]);
    expect(watcher.ofType('candle')).toHaveLength(20);
    slow.close();
    watcher.close();
  }, 30_000);
});

test('a candle written by the process of the feed itself arrives, and the database is asked only while somebody is subscribed', async () => {
  const http = require('node:http');
  const { LiveFeed } = require('../server/live');
  const store = openStore(path.join(scratch(), 'own.db'));
  const server = http.createServer();
  const feed = new LiveFeed(server, store);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  expect(feed.polling).toBe(false);

  const client = await connect(url);
  await client.subscribe(SERIES);
  expect(feed.polling).toBe(true);
  store.upsertCandle('candles_15', SYMBOL, candles[0]);
  await store.enqueueCandles(15, SYMBOL, [candles[1]]);
  await client.first(({ candle }) => candle?.time === candles[1].time);
  expect(client.ofType('candle').map(({ candle }) => candle)).toEqual(candles.slice(0, 2));

  client.close();
  await until(() => feed.subscriptions === 0);
  expect(feed.polling).toBe(false);
  feed.close();
  await new Promise((resolve) => server.close(resolve));
  await store.close();
});
