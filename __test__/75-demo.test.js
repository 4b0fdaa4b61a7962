'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { scratch } = require('./support/scratch.js');
const { until } = require('./support/until.js');
const { connect } = require('./support/server-client.js');
const { recordedCandles } = require('./support/server-candles.js');
const { startServer } = require('./support/server-processes.js');

/** The processes that `pid` has started: [{ pid, command }]. */
function childrenOf(pid) {
  const pids = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
  return pids.map((child) => ({
    pid: Number(child),
    command: fs.readFileSync(`/proc/${child}/cmdline`, 'utf8').replaceAll('\0', ' '),
  }));
}

const alive = (pid) =>
  fs.existsSync(`/proc/${pid}`) && !/\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));

test('the demonstration fills its database and serves it, survives the death of its processes, and stops at SIGINT', async () => {
  const demo = startServer('demo.js', { env: { DB_PATH: path.join(scratch(), 'demo.db') } });
  const [, url] = await demo.line(/Chart +(http:\S+\d)\//);
  await demo.line(/Candles +http:\S+\/api\/candles\?symbol=btcusdt&tf=15&limit=1000/);
  await demo.line(/collector \| Backfill complete in/, 60);

  const candles = async () =>
    (await (await fetch(`${url}/api/candles?symbol=btcusdt&tf=15&limit=1000`)).json()).candles;
  const served = await until(async () => {
    const found = await candles();
    return found.length === 1000 && found;
  });
  const recorded = new Map(recordedCandles(10_000).map((candle) => [candle.time, candle]));
  for (const candle of served.slice(0, -3)) expect(candle).toEqual(recorded.get(candle.time));

  const client = await connect(url);
  const history = await client.subscribe({ exchange: 'BINANCE', symbol: 'BTCUSDT', tf: 15 });
  await client.first(({ type, candle }) => type === 'candle' && candle.time > history.candles.at(-1).time);
  client.close();

  const first = childrenOf(demo.child.pid);
  expect(first.map(({ command }) => path.basename(command.trim())).sort()).toEqual([
    'api.js',
    'collector.js',
  ]);
  for (const { pid } of first) process.kill(pid, 'SIGKILL');
  await until(() => demo.lines.filter((line) => /collector \| Collecting into/.test(line)).length === 2);
  await until(() => demo.lines.filter((line) => /Chart +http/.test(line)).length === 2);

  const second = childrenOf(demo.child.pid);
  const { code } = await demo.stop('SIGINT');
  expect(code).toBe(0);
  expect([...first, ...second].filter(({ pid }) => alive(pid))).toEqual([]);
}, 90_000);

test('started again it goes on where it was: the clocks do not go back', async () => {
  const env = {
    DB_PATH: path.join(scratch(), 'demo.db'),
    SYMBOLS: 'BINANCE:BTCUSDT',
    HISTORY_DAYS: '1',
    DEMO_SPEED: '9000',
  };
  const clockOf = async (demo) => Date.parse(`${(await demo.line(/BINANCE is replayed from (\S+) on/))[1]}Z`);
  const one = startServer('demo.js', { env });
  const begun = await clockOf(one);
  await one.line(/collector \| Backfill complete/);
  await until(() => one.lines.filter((line) => line.includes('BINANCE sync: +')).length >= 3);
  await one.stop();
  const two = startServer('demo.js', { env });
  expect(await clockOf(two)).toBeGreaterThan(begun);
  await two.line(/collector \| Backfill complete/);
  const { code } = await two.stop();
  expect(code).toBe(0);
}, 60_000);

test('a port in use ends the demonstration with the reason instead of trying for ever', async () => {
  const http = require('node:http');
  const taken = http.createServer();
  await new Promise((resolve) => taken.listen(0, resolve));
  const { port } = taken.address();
  const demo = startServer('demo.js', {
    env: { PORT: String(port), DB_PATH: path.join(scratch(), 'demo.db') },
  });
  const { code, stderr } = await demo.ended;
  taken.close();
  expect(code).toBe(1);
  expect(stderr).toContain(`api       | Port ${port} is in use by another program.`);
});

test('a demonstration that is killed leaves no process behind', async () => {
  const demo = startServer('demo.js', { env: { DB_PATH: path.join(scratch(), 'demo.db') } });
  await demo.line(/Chart +http/);
  const children = childrenOf(demo.child.pid);
  expect(children).toHaveLength(2);
  await demo.stop('SIGKILL');
  await until(() => children.every(({ pid }) => !alive(pid)));
});

test('live, without a network, says in one sentence that no exchange can be reached', async () => {
  const nowhere = {
    BINANCE_URL: 'http://127.0.0.1:1',
    BYBIT_URL: 'http://127.0.0.1:1',
    BITGET_URL: 'http://127.0.0.1:1',
  };
  const demo = startServer('demo.js', {
    args: ['--live'],
    env: { ...nowhere, DB_PATH: path.join(scratch(), 'x.db') },
  });
  const { code, stderr } = await demo.ended;
  expect(code).toBe(1);
  expect(stderr.trim().split('\n')).toEqual([
    expect.stringMatching(
      /^None of the exchanges can be reached: .*BINANCE \(.*check the network, or use npm start/,
    ),
  ]);
});
