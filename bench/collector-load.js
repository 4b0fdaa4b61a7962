'use strict';

// `npm run bench:collector`: a collector process stores the whole backfill of the contract (683,260 candles, in its own
// lines: a transaction over upsertCandle for a page, then getLastCandleTime) while many connections ask an API process
// for candles and health. The same run on the code being replaced is printed beside it, and afterwards every stored
// value of either is compared with what was sent.

const { fork } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { parseArgs } = require('node:util');
const { ORIGINAL } = require('./sides.js');

const MODULES = { orig: ORIGINAL, candlestore: path.join(__dirname, '..', 'server', 'db.js') };
const OPTIONS = {
  connections: { type: 'string', default: '50' },
  pause: { type: 'string', default: '100' },
  limit: { type: 'string', default: '500' },
  share: { type: 'string', default: '1' },
  only: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};
const HELP = `npm run bench:collector -- [options]
  --connections 50   keep-alive connections that ask the API
  --pause 100        milliseconds, on average, between an answer and the next question on a connection; 0: none
  --limit 500        candles asked for
  --share 1          share of the days to store, 0 to 1
  --only <side>      orig or candlestore
  --json
`;

function start(program, args, env = {}) {
  return fork(path.join(__dirname, 'load', program), args.map(String), { env: { ...process.env, ...env } });
}

/** The next message of a process, or an error if it ends without one. */
async function answer(child, name) {
  const ended = new AbortController();
  const [message] = await Promise.race([
    once(child, 'message', { signal: ended.signal }),
    once(child, 'exit', { signal: ended.signal }).then(([code, signal]) => {
      throw new Error(`the ${name} process ended with ${signal ?? code}`);
    }),
  ]).finally(() => ended.abort());
  return message;
}

async function ask(child, name) {
  child.send('go on');
  return answer(child, name);
}

const sizeOf = (file) => (fs.existsSync(file) ? fs.statSync(file).size / 1024 / 1024 : 0);

async function runSide(side, { connections, pause, limit, share }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `candlestore-load-${side}-`));
  const file = path.join(folder, 'cryptoflow.db');
  const env = { DB_PATH: file };
  const children = [];
  const begin = (...args) => {
    const child = start(...args);
    children.push(child);
    return child;
  };
  try {
    const api = begin('api.js', [MODULES[side]], env);
    const { port } = await answer(api, 'API');
    const clients = begin('clients.js', [port, connections, pause, limit]);
    const collecting = begin('collector.js', [MODULES[side], share], env);
    // What is measured is the backfill, not how processes start.
    await Promise.all([answer(clients, 'clients'), answer(collecting, 'collector')]);
    clients.send('measure');
    const collector = await ask(collecting, 'collector');
    const asked = await ask(clients, 'clients');
    const walMiB = sizeOf(`${file}-wal`);
    const served = await ask(api, 'API');
    await once(api, 'exit');
    const checked = await answer(begin('verify.js', [file, share]), 'checking');
    return { collector, asked, served, checked, walMiB, fileMiB: sizeOf(file) };
  } finally {
    for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

const ms = (value) => (value == null ? 'not told' : `${value.toFixed(value < 10 ? 2 : 0)} ms`);
const mib = (value) => `${value.toFixed(0)} MiB`;
const of = (latency) => `${ms(latency.p50)}, ${ms(latency.p99)}, ${ms(latency.longest)}`;

const LINES = {
  'candles stored': ({ collector }) => collector.rows.toLocaleString('en-US'),
  'values different from what was sent': ({ checked }) =>
    `${checked.different}${checked.first ? ` (${checked.first})` : ''}`,
  'rows read back': ({ checked }) => checked.rows.toLocaleString('en-US'),
  'integrity check': ({ checked }) => checked.integrity,
  'errors of the collector': ({ collector }) =>
    `${collector.errors}${collector.firstError ? ` (${collector.firstError})` : ''}`,
  'errors of the API': ({ asked }) => `${asked.errors}${asked.firstError ? ` (${asked.firstError})` : ''}`,
  backfill: ({ collector }) => `${collector.seconds.toFixed(1)} s`,
  'of that in the store': ({ collector }) => `${collector.storeSeconds.toFixed(1)} s`,
  'a page of 1,000: p50, p99, longest': ({ collector }) => of(collector.writes),
  '/api/candles: p50, p99, longest': ({ asked }) => of(asked.candles),
  '/api/candles: requests': ({ asked }) => asked.candles.count.toLocaleString('en-US'),
  '/api/health: p50, p99, longest': ({ asked }) => of(asked.health),
  '/api/health: requests': ({ asked }) => asked.health.count.toLocaleString('en-US'),
  'getCandles in the API: p50, p99, longest': ({ served }) => of(served.getCandles),
  'getStats in the API: p50, p99, longest': ({ served }) => of(served.getStats),
  'lockWaitCount: collector, API': ({ collector, served }) =>
    `${collector.stats.lockWaitCount}, ${served.stats.lockWaitCount}`,
  'lock wait of the collector: mean, longest': ({ collector: { stats } }) =>
    stats.lockWaitMeanMs === undefined
      ? 'not told'
      : `${ms(stats.lockWaitMeanMs)}, ${ms(stats.lockWaitMaxMs)}`,
  'peak memory: collector, API': ({ collector, served }) =>
    `${mib(collector.peakMiB)}, ${mib(served.peakMiB)}`,
  'WAL afterwards': ({ walMiB }) => mib(walMiB),
  'database file': ({ fileMiB }) => mib(fileMiB),
};

function show(results) {
  const rows = {};
  for (const [line, text] of Object.entries(LINES))
    rows[line] = Object.fromEntries(Object.entries(results).map(([side, result]) => [side, text(result)]));
  console.table(rows);
  if (results.orig && results.candlestore) {
    const { orig, candlestore } = results;
    const ratio = (pick) => (pick(orig) / pick(candlestore)).toFixed(2);
    process.stdout.write(
      `Backfill ${ratio(({ collector }) => collector.seconds)} times faster (in the store ${ratio(
        ({ collector }) => collector.storeSeconds,
      )} times).\n`,
    );
  }
}

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (values.only && !MODULES[values.only])
    throw new Error(`--only takes orig or candlestore, not ${values.only}`);
  const results = {};
  for (const side of values.only ? [values.only] : Object.keys(MODULES)) {
    if (!values.json) process.stdout.write(`${side} ...\n`);
    results[side] = await runSide(side, values);
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ options: values, results }, null, 2)}\n`);
  else show(results);
  const wrong = Object.values(results).some(
    ({ checked }) => checked.different > 0 || checked.integrity !== 'ok',
  );
  const ours = results.candlestore;
  if (wrong || (ours && ours.collector.errors + ours.asked.errors > 0)) process.exitCode = 1;
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
